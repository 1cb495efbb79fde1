// SPDX-License-Identifier: MIT
/*
 * say.c: sentences for the person who runs vmspace.
 *
 * They go to descriptor 2 only while it is still the file that it was when this program started:
 * a guest may close it and get a database under that number. We keep no copy of stderr: that would
 * hold a pipe open whose reader waits for the guest to close it. Only a report that was asked for
 * at the end needs one.
 */
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

static struct stat stderr_then;
static bool stderr_known;

void say_init(void)
{
	stderr_known = raw2(SYS_fstat, 2, &stderr_then) == 0;
}

void say_keep(void)
{
	int fd = (int)raw3(SYS_fcntl, 2, F_DUPFD_CLOEXEC, 0);

	if (fd >= 0)
		fdguard_adopt(FD_ERR, fd);
}

int quiet_write(int fd, const void *buf, size_t len)
{
	const char *p = buf;
	uint64_t pending = 0, noise;

	while (len > 0) {
		int64_t n = raw3(SYS_write, fd, p, len);

		if (n == -EPIPE || n == -EFBIG) {
			/* Signals are blocked here (G1): take back the one that was just sent. */
			struct timespec now = {0, 0};

			noise = SIGBIT(n == -EPIPE ? SIGPIPE : SIGXFSZ);
			if (raw2(SYS_rt_sigpending, &pending, 8) == 0 && (pending & noise) != 0)
				raw4(SYS_rt_sigtimedwait, &noise, 0, &now, 8);
		}
		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

void say_text(const char *text, size_t len)
{
	struct stat now;
	int fd = guest.proc.fd[FD_ERR] >= 0 ? guest.proc.fd[FD_ERR] : 2;

	if (fd != 2)
		;
	else if (!stderr_known || raw2(SYS_fstat, 2, &now) != 0 ||
		 now.st_dev != stderr_then.st_dev || now.st_ino != stderr_then.st_ino ||
		 now.st_rdev != stderr_then.st_rdev)
		return;
	quiet_write(fd, text, len);
}

void say(const char *fmt, ...)
{
	char line[1024] = "vmspace: ";
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(line + 9, sizeof(line) - 10, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	size_t len = 9 + (size_t)n;

	if (len > sizeof(line) - 2)
		len = sizeof(line) - 2;
	line[len++] = '\n';
	say_text(line, len);
}
