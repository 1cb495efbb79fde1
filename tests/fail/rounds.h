/* SPDX-License-Identifier: MIT */
/*
 * rounds.h: a scenario again and again, each time on a new stage, with the 1st, 2nd, ... n-th of
 * what it asks for failing.
 *
 *	1 The scenario is rehearsed with nothing failing: what is seen then is what it does.
 *	2 One that ends with an error has changed nothing. Made again it succeeds.
 *	3 One that ends well, at once or then, has done what it does.
 *	4 The validators agree after each call.
 *	5 Each round gives back all it took.
 */
#ifndef TESTS_FAIL_ROUNDS_H
#define TESTS_FAIL_ROUNDS_H

#include "cast.h"

enum {
	KEEPS = 1,  /* it may have got pages; no content has changed */
	PREFIX = 2, /* it works page by page, and keeps what was done before the error */
};

struct scenario {
	const char *name;
	int (*run)(void);
	unsigned flags;
};

/* What stands on the stage beside the cast, and how its calls can fail. */
struct play {
	const char *over; /* for messages, after a scenario's name */
	const struct scenario *scenario;
	size_t n;
	void (*set_up)(void);
	void (*tear_down)(void);
	void (*sound)(void);
	bool (*made)(void); /* does anything stand that a scenario makes? */
	/* Each way to fail: rounds_world(), rounds_fail(). The number of rounds with a failure. */
	unsigned (*fail)(void);
	/*
	 * What is seen beside the cast, in view_size bytes, and the number of differences, which
	 * are printed. NULL: nothing.
	 */
	size_t view_size;
	void (*look)(void *view);
	unsigned (*differs)(const void *want, const void *now);
	bool spares; /* what a KEEPS has got for nothing may be there in the end, or not */
};

/* Asserts that more than at_least of the failures were errors of the calls. */
void rounds_play(const struct play *play, unsigned at_least);

/* One way to fail: the n-th of something is armed to fail; has it? Disarmed then. */
unsigned rounds_fail(void (*arm)(uint64_t n), bool (*failed)(void));
/* The n-th call of the kinds in mask fails with -err, and `more` after it. */
unsigned rounds_world(int err, uint32_t mask, uint64_t more);

#endif
