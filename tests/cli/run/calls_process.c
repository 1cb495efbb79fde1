// SPDX-License-Identifier: MIT
/* calls_process.c: fork, vfork, posix_spawn and clone. */
#include "calls.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void case_vfork(void)
{
	volatile int x = 0;
	pid_t c = vfork();

	if (c == 0) {
		x = 7;
		execl("/nonexistent/program", "x", (char *)NULL);
		_exit(errno);
	}
	show_status("exec fails", wait_for(c));
	printf("x %d\n", x);
	c = vfork();
	if (c == 0) {
		pid_t d = vfork();

		if (d == 0) {
			x++;
			execl("/bin/true", "true", (char *)NULL);
			_exit(9);
		}
		int st;

		waitpid(d, &st, 0);
		x += WEXITSTATUS(st) == 0 ? 10 : 100;
		pid_t e = vfork();

		if (e == 0) {
			x += 1000;
			kill(getpid(), SIGKILL);
		}
		waitpid(e, &st, 0);
		x += WIFSIGNALED(st) ? 10000 : 0;
		/* A real fork inside a vforked child. */
		pid_t f = fork();

		if (f == 0) {
			x = 0;
			_exit(5);
		}
		waitpid(f, &st, 0);
		x += WEXITSTATUS(st) * 100000;
		_exit(0);
	}
	show_status("nested", wait_for(c));
	printf("x %d\n", x);
	/* Limits are the child's own, though memory is shared. */
	c = vfork();
	if (c == 0) {
		struct rlimit tight = { 1 << 20, 1 << 20 };

		setrlimit(RLIMIT_AS, &tight);
		_exit(mmap(NULL, 16 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
				      MAP_FAILED
			      ? 3
			      : 4);
	}
	show_status("limited", wait_for(c));
	printf("unlimited %d\n", mmap(NULL, 16 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1,
				      0) != MAP_FAILED);
	for (int i = 0; i < 200; i++) {
		c = vfork();
		if (c == 0)
			_exit(i & 127);
		int st = wait_for(c);

		if (WEXITSTATUS(st) != (i & 127))
			printf("wrong status %d\n", i);
	}
}

void case_spawn(void)
{
	char *args[] = { (char *)"x", NULL };
	pid_t p;

	printf("missing %d\n", posix_spawn(&p, "/no/such/file", NULL, NULL, args, environ));
	printf("directory %d\n", posix_spawn(&p, "/tmp", NULL, NULL, args, environ));
	printf("no program %d\n", posix_spawn(&p, "/etc/passwd", NULL, NULL, args, environ));
	posix_spawn_file_actions_t fa;

	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
	posix_spawnattr_t at;
	sigset_t def;

	posix_spawnattr_init(&at);
	sigfillset(&def);
	posix_spawnattr_setsigdefault(&at, &def);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGDEF);
	handle(SIGUSR1, on_signal, 0);
	printf("echo %d\n", posix_spawn(&p, "/bin/echo", &fa, &at, args, environ));
	show_status("echo", wait_for(p));
	raise(SIGUSR1);
	printf("handler kept: hits %d\n", hits);
	printf("system %d\n", system("exit 3") >> 8);
	FILE *f = popen("echo from popen; echo second", "r");
	char line[64];

	while (fgets(line, sizeof(line), f) != NULL)
		fputs(line, stdout);
	printf("pclose %d\n", pclose(f));
}

static int in_clone(void *arg)
{
	*(int *)arg += 1;
	return getppid() > 0 ? 42 : 43;
}

void case_clone(void)
{
	static char stack[65536] __attribute__((aligned(16)));
	int v = 5;

	pid_t c = clone(in_clone, stack + sizeof(stack), SIGCHLD, &v);

	show_status("own stack", wait_for(c));
	printf("v %d\n", v);
	c = clone(in_clone, stack + sizeof(stack), SIGCHLD | CLONE_VM | CLONE_VFORK, &v);
	show_status("shared", wait_for(c));
	printf("v %d\n", v);
	pid_t ptid = 0;

	c = (pid_t)syscall(SYS_clone, CLONE_PARENT_SETTID | SIGCHLD, 0, &ptid, 0, 0);
	if (c == 0)
		_exit(6);
	printf("ptid %d\n", ptid == c);
	show_status("raw", wait_for(c));
	long r = syscall(SYS_clone, CLONE_SIGHAND | SIGCHLD, 0, 0, 0, 0);

	printf("bad flags %ld errno %d\n", r, errno);
}

static void on_child(int sig)
{
	int st, e = errno;

	if (hits++ < 3) {
		pid_t c = fork();

		if (c == 0)
			_exit(0);
	}
	while (waitpid(-1, &st, WNOHANG) > 0)
		;
	errno = e;
}

void case_fork(void)
{
	handle(SIGCHLD, on_child, SA_RESTART);
	for (int i = 0; i < 20; i++) {
		pid_t c = fork();

		if (c == 0)
			_exit(0);
	}
	struct timespec t = { 0, 20000000 };

	while (hits < 3) /* each of the first makes a child more, which is the next hit */
		nanosleep(&t, NULL);
	signal(SIGCHLD, SIG_DFL);
	while (wait(NULL) > 0)
		;
	printf("left %d\n", errno);
}
