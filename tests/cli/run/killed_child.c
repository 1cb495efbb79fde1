// SPDX-License-Identifier: MIT
/*
 * killed_child.c: a guest whose vforked children are killed while they make memory calls, at
 * random moments, for MS milliseconds.
 *
 *	killed_child MS
 *
 * Each round is a process of its own (the parent of the vforked child). After the child's death it
 * either goes on, its memory being whole, and shows that by using it; or the child died in the
 * middle of a call, and vmspace ends it by SIGKILL with a sentence, which the test counts
 * (programs.sh). Anything else, above all to hang, is wrong. With VMSPACE_CHECK=1 a round that goes
 * on has the engine's maps compared with the host's at its end.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE	   4096ul
#define PAGES	   64ul
#define MOST_DELAY 1500 /* microseconds: some tens of memory calls */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *map(void)
{
	return mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* In the memory of the parent, until somebody kills us. */
static _Noreturn void churn(void)
{
	for (;;) {
		char *p = map();

		if (p == MAP_FAILED)
			_exit(3);
		for (unsigned long i = 0; i < PAGES; i += 8)
			mprotect(p + i * PAGE, PAGE, PROT_READ);
		p[PAGE] = 1;
		p = mremap(p + PAGE, PAGE, 2 * PAGES * PAGE, MREMAP_MAYMOVE);
		if (p != MAP_FAILED)
			munmap(p, 2 * PAGES * PAGE);
	}
}

static _Noreturn void killer(int in, unsigned seed)
{
	pid_t victim;

	if (read(in, &victim, sizeof(victim)) != sizeof(victim))
		_exit(4);
	double end = now() + (double)(seed % MOST_DELAY) / 1e6;

	while (now() < end)
		;
	_exit(kill(victim, SIGKILL) != 0);
}

static _Noreturn void round_of(unsigned seed)
{
	int fds[2], st;

	if (pipe(fds) != 0)
		_exit(5);
	volatile pid_t k = fork();

	if (k == 0)
		killer(fds[0], seed);
	volatile pid_t child = vfork();

	if (child == 0) {
		pid_t me = getpid();

		if (write(fds[1], &me, sizeof(me)) != sizeof(me))
			_exit(6);
		churn();
	}
	if (waitpid(child, &st, 0) != child || !WIFSIGNALED(st) || WTERMSIG(st) != SIGKILL)
		_exit(7);
	if (waitpid(k, &st, 0) != k || st != 0)
		_exit(8);
	/* Our memory is still ours. */
	char *p = map();

	if (p == MAP_FAILED)
		_exit(9);
	memset(p, 1, PAGES * PAGE);
	if (munmap(p, PAGES * PAGE) != 0)
		_exit(10);
	child = fork();
	if (child == 0)
		_exit(0);
	_exit(waitpid(child, &st, 0) != child || st != 0 ? 11 : 0);
}

int main(int argc, char **argv)
{
	double end = now() + (argc > 1 ? atoi(argv[1]) : 1000) / 1e3;
	unsigned rounds = 0, ended = 0, seed = 20261;

	while (now() < end) {
		int st;

		seed = seed * 1103515245u + 12345u;
		fflush(stdout);
		pid_t p = fork();

		if (p == 0)
			round_of(seed >> 8);
		waitpid(p, &st, 0);
		if (WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL) {
			ended++;
		} else if (st != 0) {
			printf("round %u: status %x\n", rounds, st);
			return 1;
		}
		rounds++;
	}
	printf("%u rounds, %u ended\n", rounds, ended);
	return 0;
}
