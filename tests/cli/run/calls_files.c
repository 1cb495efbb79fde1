// SPDX-License-Identifier: MIT
/* calls_files.c: descriptors and /proc/self. */
#include "calls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

void case_fds(void)
{
	struct stat st;
	int open_now = 0, dup_fails = 0;

	for (int fd = 3; fd < 5000; fd++)
		if (fcntl(fd, F_GETFD) >= 0 || fstat(fd, &st) == 0 || close(fd) == 0)
			open_now++;
	printf("open %d\n", open_now);
	struct rlimit r;

	getrlimit(RLIMIT_NOFILE, &r);
	int top = r.rlim_cur > 5000 ? 5000 : (int)r.rlim_cur;

	for (int fd = 3; fd < top; fd++)
		if (dup2(1, fd) != fd)
			dup_fails++;
	printf("dup2 failed %d\n", dup_fails);
	printf("close_range %ld\n", syscall(SYS_close_range, 3, ~0u, 0));
	open_now = 0;
	for (int fd = 3; fd < top; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			open_now++;
	printf("open %d\n", open_now);
	printf("still able: %d\n", system("exit 4") >> 8);
	printf("wrong order %ld errno %d\n", syscall(SYS_close_range, 9, 3, 0), errno);
	printf("flags %ld errno %d\n", syscall(SYS_close_range, 3, ~0u, 64), errno);
	r.rlim_cur = 8;
	setrlimit(RLIMIT_NOFILE, &r);
	fflush(stdout);
	printf("low limit: %d\n", system("exit 5") >> 8);
}

static int count_maps(FILE *f, int *mine, int *bad)
{
	char line[512];
	unsigned long start, end, last = 0;
	int n = 0, sees_stack = 0;

	*mine = *bad = 0;
	while (fgets(line, sizeof(line), f) != NULL) {
		char perms[5];

		if (sscanf(line, "%lx-%lx %4s", &start, &end, perms) != 3 || start >= end ||
		    start < last)
			(*bad)++;
		last = end;
		n++;
		if (start <= (unsigned long)count_maps && (unsigned long)count_maps < end &&
		    perms[2] == 'x')
			(*mine)++;
		if (start <= (unsigned long)&line && (unsigned long)&line < end)
			sees_stack = 1;
		if (strstr(line, "vmspace") != NULL && strstr(line, self) == NULL)
			(*bad)++;
	}
	*mine += sees_stack * 10;
	return n;
}

void case_procfs(void)
{
	static const char *const ways[] = { "/proc/self/maps", "/proc/thread-self/maps", NULL,
					    "/proc/self/task/../maps" };
	char path[64], buf[4096], buf2[4096];
	int mine, bad;

	for (int i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "/proc/%d/maps", getpid());
		FILE *f = fopen(ways[i] != NULL ? ways[i] : path, "r");

		if (f == NULL) {
			printf("way %d: errno %d\n", i, errno);
			continue;
		}
		int n = count_maps(f, &mine, &bad);

		rewind(f);
		int again = count_maps(f, &mine, &bad);

		printf("way %d: some %d same %d mine %d bad %d\n", i, n > 5, n == again, mine, bad);
		fclose(f);
	}
	int d = open("/proc/self", O_RDONLY | O_DIRECTORY);
	int fd = openat(d, "maps", O_RDONLY);
	FILE *f = fdopen(fd, "r");

	count_maps(f, &mine, &bad);
	printf("openat: mine %d bad %d writable %zd\n", mine, bad, write(fd, "x", 1));
	ssize_t n = readlink("/proc/self/exe", buf, sizeof(buf) - 1);

	buf[n > 0 ? n : 0] = 0;
	printf("exe %d\n", strcmp(buf, self) == 0);
	n = readlinkat(d, "exe", buf, 5);
	printf("cut %zd %.5s\n", n, buf);
	struct stat a, b;

	stat(self, &a);
	fd = open("/proc/self/exe", O_RDONLY);
	fstat(fd, &b);
	printf("opened exe %d\n", a.st_ino == b.st_ino && a.st_dev == b.st_dev);
	fd = openat(d, "exe", O_RDONLY);
	fstat(fd, &b);
	printf("openat exe %d\n", a.st_ino == b.st_ino && a.st_dev == b.st_dev);
	memset(&b, 0, sizeof(b));
	stat("/proc/self/exe", &b);
	printf("stat exe %d\n", a.st_ino == b.st_ino && a.st_dev == b.st_dev);
	lstat("/proc/self/exe", &b);
	printf("lstat exe %d\n", S_ISLNK(b.st_mode));
	fd = open("/proc/self/auxv", O_RDONLY);
	n = read(fd, buf, sizeof(buf));
	unsigned long *v = (unsigned long *)buf, found = 0;

	for (ssize_t i = 0; i + 2 <= n / 8; i += 2)
		if (v[i] == AT_ENTRY || v[i] == AT_BASE || v[i] == AT_SYSINFO_EHDR ||
		    v[i] == AT_PAGESZ || v[i] == AT_EXECFN || v[i] == AT_PHDR)
			found += v[i + 1] == getauxval(v[i]);
	printf("auxv %ld right %lu\n", n % 16, found);
	fd = open("/proc/self/cmdline", O_RDONLY);
	n = read(fd, buf, sizeof(buf));
	printf("cmdline %d %s\n", strcmp(buf, self) == 0, n > 0 ? buf + strlen(buf) + 1 : "");
	fd = open("/proc/self/comm", O_RDONLY);
	n = read(fd, buf2, sizeof(buf2));
	printf("comm %.*s", n > 0 ? (int)n : 0, buf2);
	fd = open("/proc/self/environ", O_RDONLY);
	n = read(fd, buf, sizeof(buf));
	printf("environ %d\n", n > 0 && environ[0] != NULL && strcmp(buf, environ[0]) == 0);
}
