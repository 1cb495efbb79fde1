// SPDX-License-Identifier: MIT
/*
 * object.c: random operations on a tree of objects, against naive ones (twins.h, naive.h).
 *
 * At least 12 objects live: anonymous, discardable, contiguous, file, host and paged ones, and
 * snapshots, overlays, slices and references of each other. After every step the answer of the
 * call, what the arena has granted, and one object's content, exact share and info are compared,
 * and the validator of its family runs; after every 64th step, all of them.
 *
 *	model-object [--steps N] [--seed S] [--trace 1]
 */
#include <inttypes.h>
#include <stdio.h>

#include "model.h"
#include "twins.h"

#define LIVE_MIN 12
#define LIVE_MAX TWINS_MAX

static void do_step(void)
{
	unsigned dice = (unsigned)rnd(100);

	if (twins_live < LIVE_MIN || (twins_live < LIVE_MAX && dice < 6)) {
		if (twins_live && rnd(3))
			twin_child();
		else
			twin_create();
	} else if (dice < 12) {
		twin_drop(twin_any());
	} else if (dice < 13) {
		twin_reclaim();
	} else {
		twin_change();
	}
}

int main(int argc, char **argv)
{
	uint64_t steps = 100000;

	model_start("model-object", argc, argv, &steps);
	twins_answers = TWINS_EITHER;
	twins_refuse = true;
	twins_begin();
	for (model_step = 1; model_step <= steps; model_step++) {
		do_step();
		twins_check_granted();
		if (twins_live)
			twin_check(twin_any());
		if (model_step % 64 == 0)
			twins_check_all();
	}
	twins_end();
	printf("model-object: %" PRIu64 " steps, seed %" PRIu64 ", no difference\n", steps,
	       model_seed);
	return 0;
}
