// SPDX-License-Identifier: MIT
/*
 * guest.c: what bench-run runs bare and under `vmspace run`, where a script of the machine would
 * measure its interpreter instead.
 *
 *	guest mmap N	N times: map 64 KiB, write to each page, unmap
 *	guest brk N	N times: grow the heap by 64 KiB, write to each page, shrink it again
 *	guest arena N	N times: what a malloc's arena does: reserve, open part by part, trim
 *	guest calls N	N system calls that only pass through
 *	guest read N	N reads of one byte, which may block and so run on the guest's own mask
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE  4096
#define CHUNK (64 * 1024)
#define ARENA (1024 * 1024)

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void touch(char *p, size_t len)
{
	for (size_t i = 0; i < len; i += PAGE)
		*(volatile char *)(p + i) = 1;
}

static void do_mmap(void)
{
	char *p = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		fail("mmap");
	touch(p, CHUNK);
	if (munmap(p, CHUNK))
		fail("munmap");
}

static void do_brk(void)
{
	char *top = sbrk(CHUNK);

	if (top == (void *)-1)
		fail("sbrk");
	touch(top, CHUNK);
	if (sbrk(-CHUNK) == (void *)-1)
		fail("sbrk");
}

static void do_arena(void)
{
	char *p = mmap(NULL, ARENA, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		fail("mmap");
	for (size_t at = 0; at < ARENA; at += CHUNK) {
		if (mprotect(p + at, CHUNK, PROT_READ | PROT_WRITE))
			fail("mprotect");
		touch(p + at, CHUNK);
	}
	if (madvise(p, ARENA / 2, MADV_DONTNEED))
		fail("madvise");
	if (munmap(p, ARENA))
		fail("munmap");
}

static void do_call(void)
{
	if (syscall(SYS_getppid) < 0)
		fail("getppid");
}

static int zero;

static void do_read(void)
{
	char c;

	if (read(zero, &c, 1) != 1)
		fail("read");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} modes[] = {{"mmap", do_mmap},
		     {"brk", do_brk},
		     {"arena", do_arena},
		     {"calls", do_call},
		     {"read", do_read}};
	long n = argc == 3 ? atol(argv[2]) : 0;

	zero = open("/dev/zero", O_RDONLY);
	for (size_t m = 0; n > 0 && m < sizeof(modes) / sizeof(modes[0]); m++) {
		if (strcmp(argv[1], modes[m].name) != 0)
			continue;
		for (long i = 0; i < n; i++)
			modes[m].run();
		return 0;
	}
	fprintf(stderr, "usage: guest mmap|brk|arena|calls|read N\n");
	return 2;
}
