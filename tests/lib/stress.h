/* SPDX-License-Identifier: MIT */
/*
 * stress.h: what threads against each other share: when to stop, what went wrong, and how often each
 * of them did its work.
 */
#ifndef TESTS_STRESS_H
#define TESTS_STRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define STRESS_COUNTS 16u

extern atomic_bool stop;
extern atomic_uint failures;
extern atomic_uint_fast64_t counts[STRESS_COUNTS];

static inline bool going(void)
{
	return !atomic_load_explicit(&stop, memory_order_relaxed);
}

/*
 * cmocka's asserts are for its own thread. This prints the first few failures, counts all, and stops
 * everybody.
 */
__attribute__((format(printf, 1, 2))) void bad(const char *format, ...);
/* The call `what` has answered err: bad() unless it is 0. */
void must(int err, const char *what);

static inline void counted(unsigned what)
{
	atomic_fetch_add_explicit(&counts[what], 1, memory_order_relaxed);
}

/* One line: each of the n counts after its name. */
void print_counts(const char *const *name, unsigned n);

void rest(double seconds);

#endif
