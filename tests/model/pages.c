// SPDX-License-Identifier: MIT
/*
 * pages.c: random changes on a family of page trees, against flat arrays.
 *
 * The index space is cut into cells: single pages, in a few windows that lie where nodes begin and
 * end, and the gaps between the windows, which hold one mark each. Changes begin and end at cells.
 * A model tree is one slot a cell. Every frame has one index for life, as in the real thing.
 *
 * After each change: the whole changed tree, span by span, its validator, its next and count; every
 * few changes all trees, the counts of all nodes and frames against what points to them, exclusive
 * pages, and sharers. Allocations fail now and then; then the tree must mean what it meant.
 *
 *	model-pages [--steps N] [--seed S]
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/epoch.h"
#include "fake_arena.h"
#include "model.h"
#include "model_memory.h"
#include "object/pages.h"
#include "vmspace/vmspace.h"

#define TREES	  8
#define MAX_CELLS 400
#define WINDOWS	  4

static struct {
	uint64_t start, n;
} cell[MAX_CELLS];
static unsigned n_cells;
static slot_t model[TREES][MAX_CELLS];
static struct pages tree[TREES];
static struct vms_arena *arena;

/* ---- a world that can refuse ---- */

static const struct world model_world = { .alloc = model_alloc, .free = model_free };

static void maybe_fail(void)
{
	model_memory.fail_at = rnd(6) ? 0 : 1 + rnd(12);
}

/* ---- checks ---- */

static slot_t random_mark(void)
{
	return rnd(3) ? SLOT_EMPTY : (slot_t)rnd(SLOT_ZERO_CLEANING + 1);
}

static void check_slots(unsigned t)
{
	uint64_t at = 0, i = 0;
	unsigned c = 0;
	struct page_span s = {0};

	while (c < n_cells) {
		if (i == s.n) {
			s = pages_span(&tree[t], at);
			i = 0;
			if (s.n == 0 || s.n > PAGES_MAX - at)
				die("tree %u: a span of %" PRIu64 " at %" PRIx64, t, s.n, at);
		}
		if (page_span_at(&s, i) != model[t][c])
			die("tree %u page %" PRIx64 ": slot %u, not %u", t, at, page_span_at(&s, i),
			    model[t][c]);
		uint64_t left = cell[c].start + cell[c].n - at;
		uint64_t n = s.slots ? 1 : s.n - i < left ? s.n - i : left;

		at += n;
		i += n;
		if (at == cell[c].start + cell[c].n)
			c++;
	}
}

static void check_walks(unsigned t)
{
	unsigned from = (unsigned)rnd(n_cells), to = from + (unsigned)rnd(n_cells - from), c;
	uint64_t first = cell[from].start + rnd(cell[from].n);
	uint64_t end = cell[to].start + cell[to].n - rnd(cell[to].n), want, n = 0;

	if (end <= first)
		return;
	for (c = from; c <= to && model[t][c] == SLOT_EMPTY; c++)
		;
	want = c > to ? end : cell[c].start > first ? cell[c].start : first;
	if (want > end)
		want = end;
	if (pages_next(&tree[t], first, end) != want)
		die("tree %u: next in [%" PRIx64 ", %" PRIx64 ") is %" PRIx64 ", not %" PRIx64, t,
		    first, end, pages_next(&tree[t], first, end), want);
	for (c = from; c <= to; c++)
		n += slot_is_frame(model[t][c]);
	if (pages_count(&tree[t], first, end - first) != n)
		die("tree %u: %" PRIu64 " frames in [%" PRIx64 ", %" PRIx64 "), not %" PRIu64, t,
		    pages_count(&tree[t], first, end - first), first, end, n);
}

static unsigned sees(unsigned c, slot_t frame)
{
	unsigned n = 0;

	for (unsigned t = 0; t < TREES; t++)
		n += model[t][c] == frame;
	return n;
}

static void count_sharers(void *arg, uint64_t sharers, uint64_t frames)
{
	uint64_t *n = arg;

	if (sharers == 0 || sharers > TREES || frames == 0)
		die("%" PRIu64 " frames with %" PRIu64 " sharers", frames, sharers);
	n[sharers] += frames;
}

static void check_sharers(unsigned t)
{
	uint64_t want[TREES + 1] = {0}, got[TREES + 1] = {0};

	for (unsigned c = 0; c < n_cells; c++)
		if (slot_is_frame(model[t][c]))
			want[sees(c, model[t][c])]++;
	pages_sharers(tree, &tree[t], count_sharers, got);
	for (unsigned i = 1; i <= TREES; i++)
		if (want[i] != got[i])
			die("tree %u: %" PRIu64 " frames have %u sharers, not %" PRIu64, t, got[i],
			    i, want[i]);
}

/* The leaves that hold the frame, told apart by where their slots are. */
static unsigned leaves_with(unsigned c, slot_t frame)
{
	const _Atomic(slot_t) *seen[TREES];
	unsigned n = 0, k;

	for (unsigned t = 0; t < TREES; t++) {
		struct page_span s = pages_span(&tree[t], cell[c].start);

		if (page_span_at(&s, 0) != frame)
			continue;
		for (k = 0; k < n && seen[k] != s.slots; k++)
			;
		if (k == n)
			seen[n++] = s.slots;
	}
	return n;
}

static void check_family(void)
{
	uint64_t frames = 0;

	if (pages_check_family(tree))
		die("%s", vms_last_error());
	for (unsigned c = 0; c < n_cells; c++)
		for (unsigned t = 0; t < TREES; t++) {
			slot_t f = model[t][c];
			bool first = true;

			if (!slot_is_frame(f))
				continue;
			if (pages_exclusive(&tree[t], cell[c].start) != (sees(c, f) == 1))
				die("tree %u page %" PRIx64 " exclusive", t, cell[c].start);
			for (unsigned k = 0; k < t; k++)
				first &= model[k][c] != f;
			if (!first)
				continue;
			frames++;
			if (arena->count[f] != leaves_with(c, f))
				die("frame %u has count %u, and %u leaves", f, arena->count[f],
				    leaves_with(c, f));
		}
	if (frames != arena->granted)
		die("%" PRIu64 " frames are seen, %" PRIu64 " granted", frames, arena->granted);
	for (unsigned t = 0; t < TREES; t++) {
		check_slots(t);
		check_sharers(t);
	}
}

/* ---- changes ---- */

static void result(int err)
{
	if (err && err != -ENOMEM)
		die("result %d", err);
	if (err && model_memory.fail_at)
		die("no memory, and none was refused");
}

/* Cells [*from, *to] that are single pages; false: there was no such luck. */
static bool pick_pages(unsigned *from, unsigned *to)
{
	*from = *to = (unsigned)rnd(n_cells);
	if (cell[*from].n > 1)
		return false;
	for (unsigned n = rnd(3) ? 0 : (unsigned)rnd(100); n && *to + 1 < n_cells; n--) {
		if (cell[*to + 1].n > 1)
			break;
		++*to;
	}
	return true;
}

static void pick_cells(unsigned *from, unsigned *to)
{
	if (rnd(2) && pick_pages(from, to))
		return;
	*from = rnd(4) ? (unsigned)rnd(n_cells) : 0;
	*to = rnd(4) ? *from + (unsigned)rnd(n_cells - *from) : n_cells - 1;
}

static uint64_t pages_in(unsigned from, unsigned to)
{
	return cell[to].start + cell[to].n - cell[from].start;
}

static void do_set(unsigned t, struct frame_batch *freed)
{
	unsigned from, to;
	int err;

	if (!pick_pages(&from, &to))
		return;
	maybe_fail();
	err = pages_prepare(&tree[t], cell[from].start, pages_in(from, to));
	result(err);
	model_memory.fail_at = 0;
	for (unsigned c = from; !err && c <= to; c++) {
		slot_t s, old;

		if (rnd(4) == 0)
			continue;
		if (rnd(16) == 0) {
			frame_t wish = pages_wish(&tree[t], cell[c].start, rnd(10000));

			if (wish && !fake_in_run(arena, wish))
				die("a wish outside the runs");
		}
		s = rnd(3) ? fake_frame(arena) : random_mark();
		old = pages_set(&tree[t], cell[c].start, s);
		if (old != model[t][c])
			die("tree %u page %" PRIx64 ": %u stood there, not %u", t, cell[c].start,
			    old, model[t][c]);
		if (slot_is_frame(old))
			frame_unref(freed, old);
		model[t][c] = s;
	}
}

static void do_fill(unsigned t, struct frame_batch *freed)
{
	unsigned from, to;
	slot_t mark = random_mark();
	int err;

	pick_cells(&from, &to);
	maybe_fail();
	if (pages_in(from, to) < 1000 && rnd(2))
		err = pages_prepare(&tree[t], cell[from].start, pages_in(from, to));
	else
		err = pages_prepare_range(&tree[t], cell[from].start, pages_in(from, to));
	result(err);
	model_memory.fail_at = 0;
	if (err)
		return;
	pages_fill(&tree[t], cell[from].start, pages_in(from, to), mark, freed);
	for (unsigned c = from; c <= to; c++)
		model[t][c] = mark;
}

/* All prepared before the first is filled. */
static void do_fills(unsigned t, struct frame_batch *freed)
{
	unsigned from[3], to[3];
	slot_t mark = random_mark();

	maybe_fail();
	for (unsigned i = 0; i < 3; i++) {
		int err;

		pick_cells(&from[i], &to[i]);
		err = pages_prepare_range(&tree[t], cell[from[i]].start, pages_in(from[i], to[i]));
		result(err);
		if (err)
			return;
	}
	model_memory.fail_at = 0;
	for (unsigned i = 0; i < 3; i++) {
		pages_fill(&tree[t], cell[from[i]].start, pages_in(from[i], to[i]), mark, freed);
		for (unsigned c = from[i]; c <= to[i]; c++)
			model[t][c] = mark;
	}
}

static void do_fini(unsigned t, struct frame_batch *freed)
{
	pages_fini(&tree[t], freed);
	for (unsigned c = 0; c < n_cells; c++)
		model[t][c] = SLOT_EMPTY;
}

static void do_share(unsigned t, struct frame_batch *freed)
{
	unsigned src = (unsigned)rnd(TREES), from, to;
	int err;

	if (src == t)
		return;
	do_fini(t, freed);
	pick_cells(&from, &to);
	maybe_fail();
	err = pages_share(&tree[t], &tree[src], cell[from].start, pages_in(from, to));
	result(err);
	model_memory.fail_at = 0;
	for (unsigned c = from; !err && c <= to; c++)
		model[t][c] = model[src][c];
}

static void one_step(void)
{
	unsigned t = (unsigned)rnd(TREES);
	struct frame_batch freed;

	frame_batch_init(&freed, arena);
	arena->no_runs = rnd(8) == 0;
	switch (rnd(16)) {
	case 0:
		do_fini(t, &freed);
		break;
	case 1:
	case 2:
		do_share(t, &freed);
		break;
	case 3:
	case 4:
		do_fill(t, &freed);
		break;
	case 5:
		do_fills(t, &freed);
		break;
	default:
		do_set(t, &freed);
	}
	frame_batch_end(&freed);
	if (pages_check(&tree[t]))
		die("%s", vms_last_error());
	check_slots(t);
	check_walks(t);
	if (model_step % 16 == 0)
		check_family();
}

/* ---- a round ---- */

static void add_cells(uint64_t end, bool single)
{
	uint64_t at = n_cells ? cell[n_cells - 1].start + cell[n_cells - 1].n : 0;

	while (at < end && n_cells < MAX_CELLS - 2) {
		cell[n_cells].start = at;
		cell[n_cells].n = single ? 1 : end - at;
		at += cell[n_cells++].n;
	}
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void lay_out(void)
{
	uint64_t where[WINDOWS];

	where[0] = 0;
	for (unsigned i = 1; i < WINDOWS; i++) {
		unsigned bits = 6 * (1 + (unsigned)rnd(9));

		/* Around a place where a node of some level ends. */
		where[i] = ((1 + rnd(rnd(2) ? 1 : 63)) << bits) - rnd(60);
		if (where[i] > PAGES_MAX - 100)
			where[i] = PAGES_MAX - 1 - rnd(90);
	}
	qsort(where, WINDOWS, sizeof(*where), by_value);
	n_cells = 0;
	for (unsigned i = 0; i < WINDOWS; i++) {
		uint64_t end = where[i] + 1 + rnd(90);

		add_cells(where[i], false);
		add_cells(end < PAGES_MAX ? end : PAGES_MAX, true);
	}
	add_cells(PAGES_MAX, false);
}

static void round_of(uint64_t steps)
{
	struct frame_batch freed;

	lay_out();
	arena = fake_arena_create(&model_world);
	memset(model, 0, sizeof(model));
	for (unsigned t = 0; t < TREES; t++) {
		pages_init(&tree[t], arena);
		tree[t].sibling = t + 1 < TREES ? &tree[t + 1] : NULL;
	}
	for (uint64_t end = model_step + steps; model_step < end; model_step++)
		one_step();
	check_family();
	frame_batch_init(&freed, arena);
	for (unsigned t = 0; t < TREES; t++)
		do_fini(t, &freed);
	frame_batch_end(&freed);
	fake_arena_destroy(arena);
	epoch_synchronize();
	if (model_memory.bytes)
		die("%" PRIu64 " bytes were not freed", model_memory.bytes);
}

int main(int argc, char **argv)
{
	uint64_t steps = 60000;

	model_start("model-pages", argc, argv, &steps);
	printf("model-pages: seed %" PRIu64 ", %" PRIu64 " steps\n", model_seed, steps);
	fflush(stdout);
	while (model_step < steps)
		round_of(steps - model_step < 500 ? steps - model_step : 500);
	printf("model-pages: %" PRIu64 " steps, %" PRIu64 " refused allocations, no difference\n",
	       model_step, model_memory.refused);
	return 0;
}
