/* SPDX-License-Identifier: MIT */
/*
 * bench.h: what every benchmark shares: options, a clock, medians, and the two ways to show a
 * figure.
 *
 * A figure compares us with a peer that does the same work: the cost of one unit with us and with
 * the peer, and their ratio, lower is better. The two take turns in short rounds within one run
 * and the ratio shown is the median of the rounds' ratios, since a machine that others use
 * changes its speed by half within minutes: only ratios mean something.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stdint.h>

#define ROUNDS_MAX 64

struct bench {
	const char *name;
	bool quick; /* all of it in less than 20 seconds */
	bool json;  /* a line of JSON for each figure */
	unsigned rounds;
};

/* Options of the command line; exits with 2 on others. */
void bench_init(struct bench *b, const char *name, int argc, char **argv);

uint64_t now_ns(void); /* by the wall */
uint64_t cpu_ns(void); /* of this process: what others do in between does not count */

/* One figure in the making: cost of one unit in each round. */
struct figure {
	const char *unit; /* such as "ns/call" */
	double target;	  /* of the ratio; 0: none */
	double ours[ROUNDS_MAX], peer[ROUNDS_MAX];
	unsigned n;
};

void figure_round(struct figure *f, double ours, double peer);
/* name: printf-like. */
void figure_show(const struct bench *b, const struct figure *f, const char *name, ...)
	__attribute__((format(printf, 3, 4)));
/* A case that this machine cannot run, with the reason. */
void bench_skip(const struct bench *b, const char *name, const char *why);

#endif
