// SPDX-License-Identifier: MIT
#include "bench.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void bench_init(struct bench *b, const char *name, int argc, char **argv)
{
	*b = (struct bench){.name = name};
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--quick") == 0) {
			b->quick = true;
		} else if (strcmp(argv[i], "--json") == 0) {
			b->json = true;
		} else {
			fprintf(stderr, "usage: %s [--quick] [--json]\n", argv[0]);
			exit(2);
		}
	}
	b->rounds = b->quick ? 15 : ROUNDS_MAX - 1;
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!b->json)
		printf("%s: ratios are ours over the peer's, lower is better\n"
		       "  %-44s %10s %10s %7s  %s\n",
		       name, "case", "ours", "peer", "ratio", "target");
}

static uint64_t read_clock(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t now_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

uint64_t cpu_ns(void)
{
	return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

void figure_round(struct figure *f, double ours, double peer)
{
	if (f->n == ROUNDS_MAX)
		return;
	f->ours[f->n] = ours;
	f->peer[f->n++] = peer;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(const double *v, unsigned n)
{
	double sorted[ROUNDS_MAX];

	memcpy(sorted, v, n * sizeof(*v));
	qsort(sorted, n, sizeof(*sorted), by_value);
	return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

void figure_show(const struct bench *b, const struct figure *f, const char *name, ...)
{
	double ratios[ROUNDS_MAX], ours, peer, ratio;
	char text[128], target[48] = "";
	va_list ap;

	va_start(ap, name);
	vsnprintf(text, sizeof(text), name, ap);
	va_end(ap);
	if (f->n == 0)
		return;
	for (unsigned i = 0; i < f->n; i++)
		ratios[i] = f->ours[i] / f->peer[i];
	ours = median(f->ours, f->n);
	peer = median(f->peer, f->n);
	ratio = median(ratios, f->n);
	if (b->json) {
		if (f->target > 0)
			snprintf(target, sizeof(target), "%g", f->target);
		printf("{\"bench\":\"%s\",\"case\":\"%s\",\"ours\":%.1f,\"peer\":%.1f,"
		       "\"unit\":\"%s\",\"ratio\":%.4f,\"target\":%s}\n",
		       b->name, text, ours, peer, f->unit, ratio, f->target > 0 ? target : "null");
		return;
	}
	if (f->target > 0)
		snprintf(target, sizeof(target), "%.2f %s", f->target,
			 ratio <= f->target ? "met" : "MISSED");
	printf("  %-44s %10.1f %10.1f %7.3f  %s  %s\n", text, ours, peer, ratio, f->unit, target);
}

void bench_skip(const struct bench *b, const char *name, const char *why)
{
	fprintf(stderr, "%s: %s: skipped: %s\n", b->name, name, why);
}
