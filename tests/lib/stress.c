// SPDX-License-Identifier: MIT
/* stress.c: see stress.h. */
#include "stress.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "vmspace/vmspace.h"

atomic_bool stop;
atomic_uint failures;
atomic_uint_fast64_t counts[STRESS_COUNTS];

void bad(const char *format, ...)
{
	char text[256];
	va_list args;

	if (atomic_fetch_add(&failures, 1) < 8) {
		va_start(args, format);
		vsnprintf(text, sizeof(text), format, args);
		va_end(args);
		fprintf(stderr, "  %s\n", text);
	}
	atomic_store(&stop, true);
}

void must(int err, const char *what)
{
	if (err)
		bad("%s: %d: %s", what, err, vms_last_error());
}

void print_counts(const char *const *name, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		printf("%s %" PRIuFAST64 "%s", name[i], atomic_load(&counts[i]),
		       i + 1 < n ? ", " : "\n");
}

void rest(double seconds)
{
	struct timespec t = { .tv_sec = (time_t)seconds };

	t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
	nanosleep(&t, NULL);
}
