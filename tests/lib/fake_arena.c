// SPDX-License-Identifier: MIT
#include "fake_arena.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(cond)                                                                       \
	do {                                                                              \
		if (!(cond)) {                                                            \
			fprintf(stderr, "fake arena: %s: not so: %s\n", __func__, #cond); \
			abort();                                                          \
		}                                                                         \
	} while (0)

struct vms_arena *fake_arena_create(const struct world *w)
{
	struct vms_arena *a = calloc(1, sizeof(*a));

	CHECK(a);
	a->world = w;
	a->count = calloc(FAKE_FRAMES, sizeof(*a->count));
	a->next = calloc(FAKE_FRAMES, sizeof(*a->next));
	CHECK(a->count && a->next);
	a->fresh = FRAME_FIRST;
	a->run_at = FAKE_FRAMES;
	return a;
}

void fake_arena_destroy(struct vms_arena *a)
{
	CHECK(a->granted == 0);
	CHECK(a->runs == 0);
	CHECK(a->metadata == 0);
	free(a->count);
	free(a->next);
	free(a);
}

frame_t fake_frame(struct vms_arena *a)
{
	frame_t f = a->free;

	if (f)
		a->free = a->next[f];
	else
		f = a->fresh++;
	CHECK(f < FAKE_FRAMES && a->count[f] == 0);
	a->count[f] = 1;
	a->granted++;
	return f;
}

bool fake_frame_at(struct vms_arena *a, frame_t f)
{
	CHECK(f >= FRAME_FIRST && f < FAKE_FRAMES);
	if (a->count[f])
		return false;
	a->count[f] = 1;
	a->granted++;
	return true;
}

bool fake_in_run(const struct vms_arena *a, frame_t f)
{
	for (uint32_t i = 0; i < a->runs; i++)
		if (f >= a->run[i].base && f - a->run[i].base < a->run[i].len)
			return true;
	return false;
}

/* ---- what the trees call ---- */

const struct world *arena_world(const struct vms_arena *a)
{
	return a->world;
}

void arena_count_metadata(struct vms_arena *a, int64_t bytes)
{
	a->metadata += bytes;
	CHECK(a->metadata >= 0);
}

/* Numbers of runs are never granted here, and each is given once. */
int arena_run(struct vms_arena *a, uint64_t npages, frame_t *base, uint32_t *len)
{
	uint32_t n = RUN_MIN;

	CHECK(npages > 0);
	while (n < npages && n < RUN_MAX)
		n *= 2;
	if (a->no_runs || a->runs == FAKE_RUNS || a->run_at > UINT32_MAX - 2 * RUN_MAX)
		return -ENOMEM;
	a->run_at = (a->run_at + n - 1) & ~(n - 1);
	a->run[a->runs].base = *base = a->run_at;
	a->run[a->runs].len = *len = n;
	a->runs++;
	a->run_at += n;
	return 0;
}

void arena_run_drop(struct vms_arena *a, frame_t base, uint32_t len)
{
	for (uint32_t i = 0; i < a->runs; i++) {
		if (a->run[i].base != base)
			continue;
		CHECK(a->run[i].len == len);
		a->run[i] = a->run[--a->runs];
		return;
	}
	CHECK(!"a run that was put aside");
}

void frame_ref(struct vms_arena *a, frame_t f)
{
	CHECK(f >= FRAME_FIRST && f < FAKE_FRAMES && a->count[f] > 0);
	a->count[f]++;
}

bool frame_exclusive(const struct vms_arena *a, frame_t f)
{
	CHECK(f >= FRAME_FIRST && f < FAKE_FRAMES && a->count[f] > 0);
	return a->count[f] == 1;
}

void frame_batch_init(struct frame_batch *b, struct vms_arena *a)
{
	*b = (struct frame_batch){.arena = a};
}

void frame_unref(struct frame_batch *b, frame_t f)
{
	struct vms_arena *a = b->arena;

	CHECK(f >= FRAME_FIRST && f < FAKE_FRAMES && a->count[f] > 0);
	if (--a->count[f])
		return;
	a->next[f] = b->list.head;
	b->list.head = f;
	b->list.n++;
}

void frame_batch_end(struct frame_batch *b)
{
	struct vms_arena *a = b->arena;

	while (b->list.head) {
		frame_t f = b->list.head;

		b->list.head = a->next[f];
		a->next[f] = a->free;
		a->free = f;
		a->granted--;
	}
	b->list.n = 0;
}
