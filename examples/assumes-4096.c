// SPDX-License-Identifier: MIT
/*
 * assumes-4096.c: a program with a bug that only shows on large pages: it takes 4096 for the page
 * size instead of asking sysconf(_SC_PAGESIZE). It is linked for pages up to 64 KiB, so it loads
 * everywhere.
 *
 *	vmspace run --page-size 4k  assumes-4096	passes
 *	vmspace run --page-size 16k assumes-4096	fails, and vmspace names the call
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096

int main(void)
{
	char *ring = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (ring == MAP_FAILED)
		return 1;
	/* A guard page above the buffer. */
	if (mprotect(ring + 2 * PAGE, PAGE, PROT_NONE) != 0) {
		printf("assumes-4096: no guard page: %s\n", strerror(errno));
		return 1;
	}
	memset(ring, 'x', 2 * PAGE);
	printf("assumes-4096: a buffer of two pages and a guard page: fine\n");
	return 0;
}
