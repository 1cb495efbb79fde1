// SPDX-License-Identifier: MIT
/*
 * table.c: random edits of a table, against an array of cells.
 *
 * The address space is cut into cells: single pages in a few windows that lie where nodes of some
 * level begin and end, and at both ends of the space; and the gaps between them. A change covers
 * some cells. Values are few, and mostly continue their neighbours, so that nodes fill up and
 * become entries.
 *
 * After each edit: every cell by its first and its last byte, spans, and the validator. Now and
 * then the table is made anew from the array, and must have as many bytes: its form has no history.
 * Allocations fail now and then; edits are aborted; an old root is kept in a section, and must mean
 * what it meant.
 *
 *	model-table [--steps N] [--seed S]
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/epoch.h"
#include "memory/table.h"
#include "model.h"
#include "vmspace/memory.h"

#define PAGE	UINT64_C(0x1000)
#define PAGES	24u /* of a window */
#define CHANGES 4u
#define CELLS	400u

static struct {
	uint64_t first, last;
} cell[CELLS];
static unsigned n_cells;
static struct table_entry model[CELLS], old_model[CELLS], next_model[CELLS];
static struct table table;
static uint64_t old_root; /* of a reader that is inside; valid if reading */
static bool reading;
static uint64_t live, fail_in, refused, aborted, rebuilt;

/* ---- A world that can refuse ---- */

static void *some_alloc(const struct world *w, size_t size)
{
	void *p;

	if (fail_in && --fail_in == 0)
		return NULL;
	p = malloc(size);
	if (p) {
		memset(p, 0xa5, size);
		live += size;
	}
	return p;
}

static void some_free(const struct world *w, void *p, size_t size)
{
	memset(p, 0x5a, size);
	live -= size;
	free(p);
}

static const struct world world = { .alloc = some_alloc, .free = some_free };

/* ---- Cells ---- */

static void cells_make(void)
{
	static const uint64_t window[] = {
		/* the middle of each */
		PAGES / 2 * PAGE,     UINT64_C(1) << 21,
		UINT64_C(1) << 22,    (UINT64_C(1) << 30) - (UINT64_C(1) << 21),
		UINT64_C(1) << 30,    UINT64_C(3) << 30,
		UINT64_C(1) << 39,    UINT64_C(1) << 48,
		UINT64_C(1) << 57,    UINT64_C(1) << 63,
		0 - PAGES / 2 * PAGE,
	};
	uint64_t next = 0;

	for (size_t w = 0; w < sizeof(window) / sizeof(window[0]); w++) {
		uint64_t first = window[w] - PAGES / 2 * PAGE;

		if (first > next) {
			cell[n_cells].first = next;
			cell[n_cells++].last = first - 1;
		}
		for (unsigned i = 0; i < PAGES; i++) {
			cell[n_cells].first = first + i * PAGE;
			cell[n_cells++].last = first + i * PAGE + (PAGE - 1);
		}
		next = first + PAGES * PAGE;
	}
	if (next != 0 || n_cells > CELLS)
		die("the cells do not end with the space");
}

static struct table_entry any_value(void)
{
	static const struct table_entry value[] = {
		{ 0 },
		{ (UINT64_C(5) << 40) | VMS_SLOT_RAM, 77 },
		{ (UINT64_C(5) << 40) | VMS_SLOT_ROM, 77 },
		{ (UINT64_C(9) << 40) | VMS_SLOT_RAM, 0 },
		{ (0 - (UINT64_C(1) << 22)) | ENTRY_SLOW | VMS_SLOT_RAM, 4096 },
	};
	unsigned n = sizeof(value) / sizeof(value[0]);

	/* Holes half of the time in every second phase: the table grows and goes. */
	return value[model_step / 1000 % 2 && rnd(2) ? 0 : rnd(n)];
}

/* ---- Checks ---- */

static void same(uint64_t root, uint64_t gpa, const struct table_entry *want)
{
	uint64_t last;
	const struct table_entry *e = table_find(root, gpa);
	uint64_t got_at = e ? e->at : 0, got_more = e ? e->more : 0;

	if (got_at != want->at || got_more != want->more)
		die("%#" PRIx64 ": %#" PRIx64 "/%" PRIu64 ", not %#" PRIx64 "/%" PRIu64, gpa,
		    got_at, got_more, want->at, want->more);
	if (table_find_span(root, gpa, &last) != e || last < gpa)
		die("%#" PRIx64 ": another span", gpa);
}

static void check(uint64_t root, const struct table_entry *want)
{
	for (unsigned i = 0; i < n_cells; i++) {
		uint64_t size = cell[i].last - cell[i].first, last;

		same(root, cell[i].first, &want[i]);
		same(root, cell[i].last, &want[i]);
		same(root, cell[i].first + (size ? rnd(size) : 0), &want[i]);
		/* All cells of a span are equal. */
		table_find_span(root, cell[i].first, &last);
		for (unsigned k = i; k < n_cells && cell[k].first <= last; k++)
			if (want[k].at != want[i].at || want[k].more != want[i].more)
				die("%#" PRIx64 ": a span over a border", cell[i].first);
	}
}

static void valid(void)
{
	const char *broken = table_validate(&table);

	if (broken)
		die("%s", broken);
}

/* The same from nothing: as many nodes, as high. */
static void check_form(void)
{
	struct table_edit e;
	struct table other;

	table_init(&other, &world);
	table_edit_init(&e, &other);
	for (unsigned i = 0; i < n_cells; i++)
		if (model[i].at && table_edit_set(&e, cell[i].first, cell[i].last, &model[i]))
			die("no memory");
	table_edit_publish(&e);
	if (other.bytes != table.bytes ||
	    (atomic_load(&other.root) & 63) != (atomic_load(&table.root) & 63))
		die("%" PRIu64 " bytes, %" PRIu64 " when made anew", table.bytes, other.bytes);
	table_fini(&other);
	rebuilt++;
}

/* ---- Steps ---- */

static void leave(void)
{
	if (!reading)
		return;
	check(old_root, old_model);
	epoch_leave();
	reading = false;
}

static void one(void)
{
	struct table_edit e;
	unsigned n = 1 + (unsigned)rnd(CHANGES);
	int err = 0;

	if (!reading && rnd(20) == 0 && epoch_enter()) {
		reading = true;
		old_root = atomic_load(&table.root);
		memcpy(old_model, model, sizeof(model));
	}
	memcpy(next_model, model, sizeof(model));
	table_edit_init(&e, &table);
	for (unsigned k = 0; k < n && !err; k++) {
		unsigned a = (unsigned)rnd(n_cells);
		unsigned b = a + (unsigned)rnd(rnd(8) ? 6 : n_cells);
		struct table_entry v = any_value();

		b = b < n_cells ? b : n_cells - 1;
		describe("[%#" PRIx64 ", %#" PRIx64 "] %#" PRIx64, cell[a].first, cell[b].last,
			 v.at);
		fail_in = rnd(30) ? 0 : 1 + rnd(4);
		err = table_edit_set(&e, cell[a].first, cell[b].last, v.at ? &v : NULL);
		if (err && (err != -ENOMEM || fail_in))
			die("%d", err);
		fail_in = 0;
		for (unsigned i = a; i <= b; i++)
			next_model[i] = v;
	}
	refused += err != 0;
	if (err || rnd(10) == 0) {
		table_edit_abort(&e);
		aborted++;
	} else {
		table_edit_publish(&e);
		memcpy(model, next_model, sizeof(model));
	}
	valid();
	check(atomic_load(&table.root), model);
	if (rnd(16) == 0)
		leave();
	if (model_step % 64 == 0)
		check_form();
	if (model_step % 1024 == 0 && !reading) {
		epoch_synchronize();
		if (live < table.bytes || live > table.bytes + table.bytes / 50)
			die("%" PRIu64 " bytes live, the table has %" PRIu64, live, table.bytes);
	}
}

int main(int argc, char **argv)
{
	uint64_t steps = 10000;

	model_start("model-table", argc, argv, &steps);
	cells_make();
	table_init(&table, &world);
	for (model_step = 0; model_step < steps; model_step++)
		one();
	leave();
	table_fini(&table);
	epoch_synchronize();
	if (live)
		die("%" PRIu64 " bytes lost", live);
	printf("model-table: %" PRIu64 " steps, %" PRIu64 " refused, %" PRIu64 " aborted, %" PRIu64
	       " made anew\n",
	       steps, refused, aborted, rebuilt);
	return 0;
}
