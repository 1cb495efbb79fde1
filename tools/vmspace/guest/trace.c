// SPDX-License-Identifier: MIT
/*
 * trace.c: `--trace FILE`: every memory call with its answer, in the format of tracefile.h.
 *
 * One file a process: FILE for the program that was started, FILE.PID for each process it makes.
 * A line is written when its call has been answered, so what is in the file has happened, however
 * the process ends. A block of maps stands at the start of each image, after every 64 calls, and
 * at the end.
 *
 * A vforked child runs in its parent's memory: its calls are its parent's until it executes
 * something.
 */
#include "guest.h"
#include "mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define BLOCK_EVERY 64

static void put(const char *text, size_t len)
{
	if (guest.proc.fd[FD_TRACE] < 0 || quiet_write(guest.proc.fd[FD_TRACE], text, len) == 0)
		return;
	say("the trace cannot be written any more");
	fdguard_drop(FD_TRACE);
}

void trace_open(bool fresh)
{
	char path[PATH_MAX + 16];
	int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (fresh ? O_TRUNC : 0);

	if (guest.opts.trace == NULL)
		return;
	if (guest.opts.child)
		snprintf(path, sizeof(path), "%s.%d", guest.opts.trace, guest.proc.pid);
	else
		snprintf(path, sizeof(path), "%s", guest.opts.trace);
	fdguard_drop(FD_TRACE);
	fdguard_room_begin();
	int fd = (int)raw3(SYS_open, path, flags, 0644);

	fdguard_room_end();
	if (fd < 0 || fdguard_adopt(FD_TRACE, fd) < 0)
		say("%s: the trace cannot be written", path);
}

/* One line of /proc/self/maps in the trace's terms. */
static int format_region(char *out, size_t size, const char *line)
{
	char range[64], perms[8], off[24], name[64] = "";

	if (sscanf(line, "%63s %7s %23s %*s %*s %63s", range, perms, off, name) < 3)
		return 0;
	return snprintf(out, size, "M %s %s %s %s\n", range, perms, off,
			name[0] == 0	 ? "-"
			: name[0] == '[' ? name
					 : "file");
}

void trace_block(void)
{
	static struct guest_mem_region r;
	static char text[32768];
	uint64_t cursor = 0;
	size_t n = 0;

	if (guest.proc.fd[FD_TRACE] < 0)
		return;
	while (guest_mem_next(&cursor, &r)) {
		n += (size_t)format_region(text + n, sizeof(text) - n, r.line);
		if (n > sizeof(text) - 512) {
			put(text, n);
			n = 0;
		}
	}
	if (layout_vsyscall != NULL)
		n += (size_t)format_region(text + n, sizeof(text) - n, layout_vsyscall);
	n += (size_t)snprintf(text + n, sizeof(text) - n, "E\n");
	put(text, n);
}

void trace_image(const char *name)
{
	char line[128];

	if (guest.proc.fd[FD_TRACE] < 0)
		return;
	put(line, (size_t)snprintf(line, sizeof(line), "# %.100s\n", name));
	trace_block();
}

void trace_call(const char *name, const uint64_t *a, int64_t ret)
{
	static unsigned since;
	char line[256];
	int n;

	if (guest.proc.fd[FD_TRACE] < 0)
		return;
	n = snprintf(line, sizeof(line), "C %s %llx %llx %llx %llx %llx %llx = ", name,
		     (unsigned long long)a[0], (unsigned long long)a[1], (unsigned long long)a[2],
		     (unsigned long long)a[3], (unsigned long long)a[4], (unsigned long long)a[5]);
	if (ret < 0 && ret > -4096)
		n += snprintf(line + n, sizeof(line) - (size_t)n, "%lld\n", (long long)ret);
	else
		n += snprintf(line + n, sizeof(line) - (size_t)n, "%llx\n",
			      (unsigned long long)ret);
	put(line, (size_t)n);
	if (++since % BLOCK_EVERY == 0)
		trace_block();
}
