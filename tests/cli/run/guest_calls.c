// SPDX-License-Identifier: MIT
/*
 * guest_calls.c: a guest that does what is hard to get right when somebody stands between a
 * program and its kernel (calls.h).
 *
 *	guest_calls CASE
 *
 *	calls_signals.c	calls_faults.c	calls_process.c	calls_exec.c	calls_files.c
 *	calls_memory.c	calls_entry.c
 */
#include "calls.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

char *self;

volatile sig_atomic_t hits, last_sig;

void on_signal(int sig)
{
	hits++;
	last_sig = sig;
}

void handle(int sig, void (*fn)(int), int flags)
{
	struct sigaction a;

	memset(&a, 0, sizeof(a));
	a.sa_handler = fn;
	a.sa_flags = flags;
	sigaction(sig, &a, NULL);
}

void show_status(const char *what, int st)
{
	if (WIFSIGNALED(st))
		printf("%s: killed by %d\n", what, WTERMSIG(st));
	else
		printf("%s: exit %d\n", what, WEXITSTATUS(st));
}

int wait_for(pid_t p)
{
	int st = -1;

	while (waitpid(p, &st, 0) < 0 && errno == EINTR)
		;
	return st;
}

static const struct {
	const char *name;
	void (*fn)(void);
} cases[] = {
	{ "eintr", case_eintr },
	{ "masks", case_masks },
	{ "suspend", case_suspend_full },
	{ "sigsys", case_sigsys },
	{ "segv", case_segv },
	{ "altstack", case_altstack },
	{ "deaths", case_deaths },
	{ "vfork", case_vfork },
	{ "spawn", case_spawn },
	{ "clone", case_clone },
	{ "fork", case_fork },
	{ "storm", case_storm },
	{ "fds", case_fds },
	{ "procfs", case_procfs },
	{ "exec", case_exec },
	{ "inherited", case_inherited },
	{ "memory", case_memory },
	{ "efault", case_efault },
	{ "shm", case_shm },
	{ "vectors", case_vectors },
};

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOFBF, 65536);
	self = argv[0];
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (argc > 1 && strcmp(argv[1], cases[i].name) == 0) {
			cases[i].fn();
			return 0;
		}
	fprintf(stderr, "usage: guest_calls CASE\n");
	return 2;
}
