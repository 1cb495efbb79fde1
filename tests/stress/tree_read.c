// SPDX-License-Identifier: MIT
/*
 * tree_read.c: threads that look mappings up without the lock while one changes them.
 *
 * One thread edits: it maps, unmaps, replaces values where they stand, and does two of these in one
 * edit. Each edit has a number, and what it maps has that number as its flags. Before an edit is
 * begun, the picture that it will lead to (the number of the mapping at each page) is written to a
 * ring, and its number to `begun`; after it, to `done`.
 *
 * A reader notes `done`, looks, and notes `begun`. What it found must be what one of the pictures
 * in between says, whole: the mapping at the page, or the first above the hole, with its bounds,
 * its offset and its object. So every read is a read of one moment during it.
 *
 * Each mapping's object is held by the tree alone. Readers take a reference, if it is not too late,
 * and look at the object.
 *
 * Argument: seconds.
 */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/epoch.h"
#include "object/content.h"
#include "random.h"
#include "space/quick.h"
#include "stress.h"
#include "vmspace/object.h"

#define PAGES	256u
#define READERS 3u
#define RING	4096u /* pictures */
#define PAGE	UINT64_C(0x1000)
#define LAST	(PAGES * PAGE - 1)

static double seconds = 1;
static struct space space;
static struct vms_arena *arena;
static _Atomic(uint32_t) ring[RING][PAGES]; /* 0: a hole */
static _Atomic(uint64_t) begun, done;
static atomic_ulong looks, busy, gone, stale;

static void bad_page(const char *what, uint64_t page)
{
	bad("%s: page %llu", what, (unsigned long long)page);
}

/* ---- Readers ---- */

static uint32_t at(uint64_t edit, uint64_t page)
{
	return atomic_load_explicit(&ring[edit % RING][page], memory_order_relaxed);
}

/* Does the picture say this of the page? m NULL: nothing stands there or above. */
static bool says(uint64_t edit, uint64_t page, const struct map *m)
{
	uint64_t first = page, last;
	uint32_t n;

	while (first < PAGES && !at(edit, first))
		first++;
	if (first == PAGES)
		return !m;
	if (!m)
		return false;
	n = at(edit, first);
	while (first == page && first > 0 && at(edit, first - 1) == n)
		page = --first;
	for (last = first; last + 1 < PAGES && at(edit, last + 1) == n;)
		last++;
	return m->flags == n && m->start == first * PAGE && m->last == last * PAGE + (PAGE - 1) &&
	       m->off == ((uint64_t)n << 32) + m->start;
}

static void judge(uint64_t page, const struct map *m, uint64_t from)
{
	uint64_t to = atomic_load(&begun), edit;

	for (edit = to; edit + 1 > from; edit--)
		if (says(edit, page, m))
			return;
	/* Slower than the ring is long: the pictures are others now. */
	if (atomic_load(&begun) - from + 2 >= RING)
		atomic_fetch_add(&stale, 1);
	else
		bad_page(m ? "a mapping that never stood there" : "a hole that never was", page);
}

static void *read_it(void *arg)
{
	uint32_t seed = 99 + (uint32_t)(uintptr_t)arg;
	unsigned long n = 0, n_busy = 0, n_gone = 0;

	while (going()) {
		uint64_t page = next32(&seed) % PAGES, from = atomic_load(&done), seq;
		struct vms_object *obj = NULL;
		enum tree_look found;
		struct map m;

		if (!epoch_enter()) {
			bad_page("no section", page);
			break;
		}
		found = tree_read(&space.tree, page * PAGE + next32(&seed) % PAGE, &m, &seq);
		if (found == TREE_FOUND)
			obj = object_ref_live(m.obj);
		if (found == TREE_FOUND && !obj) {
			if (tree_seq(&space.tree) == seq)
				bad_page("a mapping without its object", page);
			n_gone++;
		}
		epoch_leave();
		n++;
		if (found == TREE_BUSY) {
			n_busy++;
			continue;
		}
		judge(page, found == TREE_FOUND ? &m : NULL, from);
		if (obj) {
			if (view_of(obj)->kind != VMS_OBJECT_KIND_ANON)
				bad_page("not its object", page);
			object_unref(obj);
		}
	}
	atomic_fetch_add(&looks, n);
	atomic_fetch_add(&busy, n_busy);
	atomic_fetch_add(&gone, n_gone);
	return NULL;
}

/* ---- The one who edits ---- */

struct stretch {
	uint64_t a, b; /* pages */
	enum { PUT, TAKE, RENAME } what;
};

static struct stretch any_stretch(uint32_t *seed)
{
	struct stretch s;

	/* Mostly small: many mappings. Sometimes all: the tree shrinks to nothing. */
	s.a = next32(seed) % PAGES;
	s.b = s.a + next32(seed) % (next32(seed) % 64 ? 4 : PAGES);
	s.b = s.b < PAGES ? s.b : PAGES - 1;
	s.what = next32(seed) % 5 < 3 ? PUT : next32(seed) % 2 ? TAKE : RENAME;
	return s;
}

static void paint(uint32_t *picture, const struct stretch *s, uint32_t edit)
{
	for (uint64_t i = s->a; i <= s->b; i++)
		if (s->what == PUT || (s->what == RENAME && picture[i]))
			picture[i] = s->what == TAKE ? 0 : edit;
	for (uint64_t i = s->a; s->what == TAKE && i <= s->b; i++)
		picture[i] = 0;
}

static struct vms_object *new_object(void)
{
	struct vms_object_params params = { .size = sizeof(params), .bytes = PAGE };
	struct vms_object *obj;

	if (vms_object_create(arena, &params, &obj))
		abort();
	return obj;
}

/* A renamed piece shows another object, at an offset that tells its number. */
struct rename {
	uint32_t edit;
	struct vms_object *obj;
};

static void rename_piece(struct map *m, void *arg)
{
	struct rename *r = arg;

	m->flags = r->edit;
	m->obj = r->obj;
	m->off = ((uint64_t)r->edit << 32) + m->start;
}

static struct map fresh(const struct stretch *s, uint32_t edit, struct vms_object *obj)
{
	struct map m = { .start = s->a * PAGE,
			 .last = s->b * PAGE + (PAGE - 1),
			 .obj = obj,
			 .prot = 1,
			 .ceiling = 7 };
	struct rename r = { edit, obj };

	rename_piece(&m, &r);
	return m;
}

static int change(struct edit *e, const struct stretch *s, uint32_t edit, struct vms_object *obj)
{
	struct map m = fresh(s, edit, obj);
	struct rename r = { edit, obj };

	switch (s->what) {
	case PUT:
		return edit_map(e, &m);
	case TAKE:
		return edit_unmap(e, m.start, m.last);
	case RENAME:
		return edit_update(e, m.start, m.last, rename_piece, &r);
	}
	return -1;
}

/* The quick edit, where it fits: it has its own ways of changing the tree. */
static bool do_quickly(const struct stretch *s, uint32_t edit, struct vms_object *obj)
	REQUIRES(space.lock)
{
	struct map m = fresh(s, edit, obj);
	struct tree_spot spot;
	struct quick q;

	space_spot(&space, m.start, &spot);
	if (s->what == RENAME && (!spot.at || spot.at->start > m.start || spot.at->last < m.last))
		return false;
	if (quick_prepare(&q, &space, &spot, m.start, m.last, s->what == TAKE ? NULL : &m,
			  s->what == PUT))
		return false;
	atomic_store(&begun, edit);
	quick_commit(&q);
	return true;
}

static void one_edit(uint32_t *picture, uint32_t edit, uint32_t *seed) REQUIRES(space.lock)
{
	struct stretch s[2];
	unsigned n = 1 + next32(seed) % 2;
	struct vms_object *obj = new_object();
	struct edit e;

	for (unsigned i = 0; i < n; i++) {
		s[i] = any_stretch(seed);
		if (i == 1 && s[0].a <= s[1].b && s[1].a <= s[0].b)
			n = 1;
		else
			paint(picture, &s[i], edit);
	}
	for (uint64_t i = 0; i < PAGES; i++)
		atomic_store_explicit(&ring[edit % RING][i], picture[i], memory_order_relaxed);
	if (n > 1 || next32(seed) % 2 || !do_quickly(&s[0], edit, obj)) {
		edit_init(&e, &space);
		for (unsigned i = 0; i < n; i++)
			if (change(&e, &s[i], edit, obj))
				abort();
		if (edit_prepare(&e))
			abort();
		atomic_store(&begun, edit);
		edit_commit(&e);
	}
	atomic_store(&done, edit);
	object_unref(obj); /* the tree's references are the last ones */
}

static const char *edit_it(uint64_t *edits)
{
	static uint32_t picture[PAGES];
	struct timespec t0, now;
	const char *broken = NULL;
	uint32_t seed = 4711, edit = 0;

	clock_gettime(CLOCK_MONOTONIC, &t0);
	do {
		lock_take(&space.lock);
		for (unsigned i = 0; i < 64 && going(); i++)
			one_edit(picture, ++edit, &seed);
		broken = space_validate(&space);
		lock_drop(&space.lock);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (!broken && going() &&
		 (double)(now.tv_sec - t0.tv_sec) + (double)(now.tv_nsec - t0.tv_nsec) / 1e9 <
			 seconds);
	*edits = edit;
	return broken;
}

int main(int argc, char **argv)
{
	static const struct map_rules rules;
	struct vms_arena_params params = { .size = sizeof(params), .reserve = UINT64_C(1) << 30 };
	pthread_t reader[READERS];
	const char *broken;
	uint64_t edits = 0;

	if (argc > 1)
		seconds = atof(argv[1]);
	if (vms_arena_create(&params, &arena) ||
	    space_init(&space, world_default, &rules, NULL, 0, LAST, PAGE))
		return 2;
	tree_let_read(&space.tree);
	for (uintptr_t i = 0; i < READERS; i++)
		if (pthread_create(&reader[i], NULL, read_it, (void *)i))
			return 2;
	broken = edit_it(&edits);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(reader[i], NULL);
	space_fini(&space);
	vms_arena_unref(arena);
	epoch_synchronize();
	if (broken)
		fprintf(stderr, "  %s\n", broken);
	printf("tree_read: %llu edits, %lu looks (%lu busy, %lu too late, %lu too slow)\n",
	       (unsigned long long)edits, looks, busy, gone, stale);
	return broken || failures ? 1 : 0;
}
