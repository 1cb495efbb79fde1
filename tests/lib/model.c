// SPDX-License-Identifier: MIT
/* model.c: see model.h. */
#include "model.h"
#include "random.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmspace/vmspace.h"

#define KEPT  24
#define WIDTH 240

uint64_t model_seed = 1, model_step;
void (*model_show)(void);

static const char *name;
static int n_args;
static char **args;
static uint64_t state;
static bool tracing;
static char done[KEPT][WIDTH];
static uint64_t n_done;

const char *model_option(const char *option, const char *otherwise)
{
	for (int i = 1; i + 1 < n_args; i += 2)
		if (!strncmp(args[i], "--", 2) && !strcmp(args[i] + 2, option))
			otherwise = args[i + 1]; /* the last one wins */
	return otherwise;
}

void model_start(const char *model, int argc, char **argv, uint64_t *steps)
{
	const char *value;

	name = model;
	n_args = argc;
	args = argv;
	value = model_option("steps", NULL);
	if (value)
		*steps = strtoull(value, NULL, 0);
	value = model_option("seed", NULL);
	if (value)
		model_seed = strtoull(value, NULL, 0);
	tracing = model_option("trace", NULL) != NULL;
	state = model_seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	if (tracing)
		setvbuf(stdout, NULL, _IOLBF, 0);
}

uint64_t rnd(uint64_t below)
{
	return next53(&state) % below;
}

void describe(const char *fmt, ...)
{
	char *line = done[n_done++ % KEPT];
	int n = snprintf(line, WIDTH, "%" PRIu64 ": ", model_step);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line + n, WIDTH - (size_t)n, fmt, ap);
	va_end(ap);
	if (tracing)
		puts(line);
}

void die(const char *fmt, ...)
{
	va_list ap;

	for (uint64_t i = n_done > KEPT ? n_done - KEPT : 0; i < n_done; i++)
		fprintf(stderr, "  %s\n", done[i % KEPT]);
	fprintf(stderr, "%s: step %" PRIu64 ": ", name, model_step);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n(last error: %s)\n", vms_last_error());
	if (model_show)
		model_show();
	fprintf(stderr, "repeat:");
	for (int i = 0; i < n_args; i++)
		if (strcmp(args[i], "--trace"))
			fprintf(stderr, " %s", args[i]);
		else
			i++;
	if (!model_option("seed", NULL))
		fprintf(stderr, " --seed %" PRIu64, model_seed);
	fputc('\n', stderr);
	exit(1);
}

void expect(int got, int want)
{
	if (got != want)
		die("answered %d, expected %d", got, want);
}
