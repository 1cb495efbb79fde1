/* SPDX-License-Identifier: MIT */
/*
 * fake_arena.h: what page trees need of an arena, with no memory behind it: numbers, counts and
 * runs that a test can look at. Linked in place of store/arena.c; any misuse ends the test at once.
 */
#ifndef TESTS_FAKE_ARENA_H
#define TESTS_FAKE_ARENA_H

#include "store/arena.h"

#define FAKE_FRAMES (1u << 20)
#define FAKE_RUNS   4096u

struct vms_arena {
	const struct world *world;
	int64_t metadata; /* bytes of nodes that trees hold */
	uint64_t granted;
	uint32_t *count; /* by frame */
	frame_t *next;	 /* free frames, and those in a batch */
	frame_t free, fresh;
	struct {
		frame_t base;
		uint32_t len;
	} run[FAKE_RUNS];
	uint32_t runs; /* put aside now */
	frame_t run_at;
	bool no_runs; /* refuse all */
};

struct vms_arena *fake_arena_create(const struct world *w);
/* Asserts that all came back: frames, runs, nodes. */
void fake_arena_destroy(struct vms_arena *a);
/* A granted frame, count 1. */
frame_t fake_frame(struct vms_arena *a);
/* The same with the number f, if nobody holds it. For arenas that fake_frame is not used with. */
bool fake_frame_at(struct vms_arena *a, frame_t f);
/* Is the number in a run that somebody has put aside? */
bool fake_in_run(const struct vms_arena *a, frame_t f);

#endif
