// SPDX-License-Identifier: MIT
/*
 * run.c: what `vmspace run` costs a whole process: the time from fork to wait, bare and under it,
 * in turns.
 *
 *	cpu	scripts that compute: hardly any call, so the start is the cost
 *	alloc	programs that do little else than get and give back memory
 *	calls	programs that do nothing but system calls; the price of catching one, without target
 *	start	an empty program
 *
 * The time is the processor's, of the child and its children: what other people do on this machine
 * in between does not count.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define ARGS 8

static const char perl_cpu[] = "my ($s, %h) = (0); for my $i (1 .. 600000) {"
			       " $s = ($s * 31 + $i) % 65521; $h{$s % 1000} .= 'x' if $i % 7 == 0 }"
			       " print scalar(keys %h), \"\\n\";";
static const char python_cpu[] = "s = 0\nd = {}\nfor i in range(600000):\n"
				 "    s = (s * 31 + i) % 65521\n    d[s % 1000] = i\nprint(s)\n";
static const char perl_alloc[] = "my @a; for my $i (1 .. 400) { push @a, 'x' x 300000;"
				 " shift @a if @a > 20 } print scalar(@a), \"\\n\";";
static const char python_alloc[] = "a = []\nfor i in range(1500):\n"
				   "    a.append(bytearray(300000))\n"
				   "    if len(a) > 20: a.pop(0)\nprint(len(a))\n";

static const struct program {
	const char *name;
	const char *argv[ARGS]; /* argv[0] NULL: the guest of this folder */
	double target;
} programs[] = {
	{"start true", {"/bin/true"}, 0},
	{"cpu perl", {"/usr/bin/perl", "-e", perl_cpu}, 1.15},
	{"cpu python3", {"/usr/bin/python3", "-c", python_cpu}, 1.15},
	{"alloc perl", {"/usr/bin/perl", "-e", perl_alloc}, 2.0},
	{"alloc python3", {"/usr/bin/python3", "-c", python_alloc}, 2.0},
	{"alloc mmap+touch+munmap", {NULL, "mmap", "2000"}, 2.0},
	{"alloc brk+touch+shrink", {NULL, "brk", "2000"}, 2.0},
	{"alloc arenas", {NULL, "arena", "120"}, 2.0},
	{"calls getppid", {NULL, "calls", "50000"}, 0},
	{"calls read", {NULL, "read", "25000"}, 0},
};

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/* Milliseconds of processor time of one run; negative: it did not end well. */
static double run_once(char *const argv[])
{
	struct rusage use;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		dup2(null, 0);
		dup2(null, 1);
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || wait4(pid, &status, 0, &use) != pid || status != 0)
		return -1;
	return (seconds(use.ru_utime) + seconds(use.ru_stime)) * 1e3;
}

static void compare(const struct bench *b, const struct program *p)
{
	struct figure f = {.unit = "ms/run", .target = p->target};
	char *argv[ARGS + 3] = {(char *)VMSPACE, (char *)"run"};
	unsigned rounds = b->quick ? 3 : 15;

	for (unsigned i = 0; i < ARGS && (i == 0 || p->argv[i]); i++)
		argv[2 + i] = (char *)(p->argv[i] ? p->argv[i] : GUEST);
	for (unsigned r = 0; r <= rounds; r++) {
		double bare = run_once(argv + 2), ours = bare < 0 ? -1 : run_once(argv);

		if (ours < 0) {
			bench_skip(b, p->name,
				   bare < 0 ? "it does not run bare on this machine"
					    : "it does not run under vmspace run");
			return;
		}
		if (r > 0) /* the first warms the caches */
			figure_round(&f, ours, bare);
	}
	figure_show(b, &f, "%s", p->name);
}

int main(int argc, char **argv)
{
	struct bench b;

	bench_init(&b, "run", argc, argv);
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
		compare(&b, &programs[i]);
	return 0;
}
