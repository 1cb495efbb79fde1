// SPDX-License-Identifier: MIT
/*
 * transfer.c: one object's pages become another's.
 *
 *	src	. A B . C s		after:	. . . . . .
 *	dst	x . y z . .			. A B . C s'
 *
 * A frame that src has alone moves (A, B, C). One that a snapshot shares stays with the snapshot
 * and dst gets a copy (s'). What dst had goes, or with KEEP stays while src's page goes.
 *
 * Both families are locked, by rising address, with both gates closed: no writer is half way in a
 * page that moves. Everything that can fail is done first:
 *
 *	1 room to note the frames of src's range
 *	2 exclusive leaves wherever src or dst has a page, or dst will get one
 *	3 frames for the copies
 *
 * Then src's frames are taken out, all of them before the first is put in: the ranges may overlap.
 *
 * Invariants:
 *	1 between take and put a frame is in the note and in no tree
 *	2 both contents' seq moves before the locks are dropped: whoever reads without the lock looks
 *	  again
 */
#include <errno.h>
#include <inttypes.h>

#include "base/fail.h"
#include "base/range.h"
#include "object/look.h"
#include "object/shown.h"

struct note {
	uint64_t page; /* of the range */
	frame_t frame;
};

struct transfer {
	struct content *dst, *src;
	uint64_t to, from, n; /* pages */
	bool keep;
	struct note *note;
	uint64_t notes, room;	  /* used, and allocated */
	struct frame_list copies; /* for shared frames */
	struct frame_batch freed;
	struct ask ask;
};

/* ---- Both locks ---- */

/* Closing one gate may wait, and drop its lock: the other one stays closed, and both are looked at
 * again. */
static void lock_both(struct transfer *t) UNCHECKED_LOCKS
{
	struct family *a = t->dst->family, *b = t->src->family;

	if (a > b) {
		a = t->src->family;
		b = t->dst->family;
	}
	lock_take(&a->lock);
	family_close(a);
	if (a == b)
		return;
	lock_take(&b->lock);
	family_close(b);
}

static void drop_both(struct transfer *t) UNCHECKED_LOCKS
{
	struct family *a = t->dst->family, *b = t->src->family;

	family_open(a);
	if (a != b)
		family_open(b);
	lock_drop(&a->lock);
	if (a != b)
		lock_drop(&b->lock);
}

/* ---- What can fail ---- */

static int may_transfer(const struct content *c)
{
	if (c->kind != CONTENT_ANON || c->below)
		return fail(-ENOTSUP, "transfer: only between anonymous objects, and not above a "
				      "pager or a file");
	if (c->flags & (VMS_OBJECT_CONTIGUOUS | VMS_OBJECT_DISCARDABLE))
		return fail(-ENOTSUP, "transfer: not of contiguous or discardable objects");
	return 0;
}

static int not_pinned(const struct content *c, uint64_t first, uint64_t n) UNCHECKED_LOCKS
{
	uint64_t pinned = content_pinned(c, first, n);

	if (pinned != UINT64_MAX)
		return fail(-EBUSY, "transfer: page %" PRIu64 " is pinned", pinned);
	return 0;
}

/* The next page of the range that c has something at, counted in the range; n: none. */
static uint64_t next_page(const struct content *c, uint64_t first, uint64_t at, uint64_t n)
{
	uint64_t base = c->bias + first;

	return at < n ? pages_next(&c->pages, base + at, base + n) - base : n;
}

/* Exclusive leaves of c for the stretch of the range that lies in one leaf of c. */
static int prepare_leaf(struct content *c, uint64_t first, uint64_t at, uint64_t n)
{
	int err = pages_prepare(&c->pages, c->bias + first + at, n);

	return err ? fail(err, "no memory to keep track of moved pages") : 0;
}

/* From page `at` of the range to where its leaf in c ends, or the range. */
static uint64_t leaf_part(const struct content *c, uint64_t first, uint64_t at, uint64_t n)
{
	uint64_t index = c->bias + first + at;

	return min_u64(align_down(index, PAGES_FANOUT) + PAGES_FANOUT - index, n - at);
}

static int prepare_trees(struct transfer *t)
{
	uint64_t k;
	int err = 0;

	family_held(t->src);
	family_held(t->dst);
	for (uint64_t at = next_page(t->src, t->from, 0, t->n); !err && at < t->n;
	     at = next_page(t->src, t->from, at + k, t->n)) {
		k = leaf_part(t->src, t->from, at, t->n);
		err = prepare_leaf(t->src, t->from, at, k);
		if (!err)
			err = prepare_leaf(t->dst, t->to, at, k);
	}
	for (uint64_t at = next_page(t->dst, t->to, 0, t->n); !err && at < t->n;
	     at = next_page(t->dst, t->to, at + k, t->n)) {
		k = leaf_part(t->dst, t->to, at, t->n);
		err = prepare_leaf(t->dst, t->to, at, k);
	}
	content_bump(t->src);
	content_bump(t->dst);
	return err;
}

/* The notes' room: outside the locks first, and again if more pages came meanwhile. */
static int make_room(struct transfer *t)
{
	const struct world *w = t->src->world;
	uint64_t frames = pages_count(&t->src->pages, t->src->bias + t->from, t->n);

	if (frames <= t->room)
		return 0;
	if (t->note)
		w->free(w, t->note, t->room * sizeof(*t->note));
	t->room = 0;
	t->note = frames <= SIZE_MAX / sizeof(*t->note) ? w->alloc(w, frames * sizeof(*t->note))
							: NULL;
	if (!t->note)
		return fail(-ENOMEM, "no memory to move %" PRIu64 " pages", frames);
	t->room = frames;
	return 0;
}

/* Frames for what others share with src. */
static int grant_copies(struct transfer *t)
{
	struct content *src = t->src, *dst = t->dst;
	uint64_t shared = 0;
	struct look l;
	int err;

	look_init(&l, src);
	for (uint64_t at = next_page(src, t->from, 0, t->n); at < t->n;
	     at = next_page(src, t->from, at + 1, t->n)) {
		slot_t slot = look_own(&l, t->from + at);

		shared += slot_is_frame(slot) && !frame_exclusive(src->arena, slot);
	}
	if (!shared)
		return 0;
	err = arena_grant(dst->arena, &dst->nook, FRAME_NONE, shared, &t->copies);
	if (err != -EDQUOT)
		return err;
	t->ask.kind = ASK_ROOM;
	t->ask.c = dst;
	t->ask.n = shared;
	return ASK;
}

/* ---- What cannot ---- */

/* Those who show the pages, first. KEEP changes dst only where it has no page and src has one. */
static void tell(struct transfer *t)
{
	struct content *src = t->src, *dst = t->dst;

	family_held(src);
	family_held(dst);
	content_gone(src, t->from, t->n);
	if (!t->keep)
		content_gone(dst, t->to, t->n);
	if (!t->keep || !dst->family->shown)
		return;
	for (uint64_t at = next_page(src, t->from, 0, t->n); at < t->n;
	     at = next_page(src, t->from, at + 1, t->n))
		if (!slot_is_frame(pages_get(&dst->pages, dst->bias + t->to + at)))
			content_gone(dst, t->to + at, 1);
}

/* A frame of src's slot that is nobody else's. */
static frame_t alone(struct transfer *t, slot_t slot)
{
	struct vms_arena *a = t->src->arena;
	frame_t f;

	if (frame_exclusive(a, slot))
		return slot;
	f = arena_take(a, &t->copies);
	arena_touch(a, f);
	memcpy(arena_addr(a, f), arena_addr(a, slot), (size_t)1 << t->src->shift);
	frame_unref(&t->freed, slot);
	return f;
}

static void take(struct transfer *t)
{
	struct content *src = t->src;

	for (uint64_t at = next_page(src, t->from, 0, t->n); at < t->n;
	     at = next_page(src, t->from, at + 1, t->n)) {
		slot_t slot = pages_set(&src->pages, src->bias + t->from + at, SLOT_EMPTY);

		if (slot_is_frame(slot))
			t->note[t->notes++] = (struct note){ .page = at, .frame = alone(t, slot) };
	}
}

/* What dst has at the range goes, but for KEEP. */
static void empty(struct transfer *t)
{
	struct content *dst = t->dst;

	for (uint64_t at = next_page(dst, t->to, 0, t->n); at < t->n;
	     at = next_page(dst, t->to, at + 1, t->n)) {
		slot_t slot = pages_set(&dst->pages, dst->bias + t->to + at, SLOT_EMPTY);

		if (slot_is_frame(slot))
			frame_unref(&t->freed, slot);
	}
}

static void give(struct transfer *t)
{
	struct content *dst = t->dst;

	for (uint64_t i = 0; i < t->notes; i++) {
		uint64_t index = dst->bias + t->to + t->note[i].page;

		if (t->keep && slot_is_frame(pages_get(&dst->pages, index)))
			frame_unref(&t->freed, t->note[i].frame);
		else
			pages_set(&dst->pages, index, t->note[i].frame);
	}
}

/* Take out the nodes that are empty now; whatever cannot be had for that is no harm. */
static void tidy(struct transfer *t)
{
	struct content *src = t->src;

	if (src == t->dst || !t->n)
		return;
	if (!pages_prepare_range(&src->pages, src->bias + t->from, t->n))
		pages_fill(&src->pages, src->bias + t->from, t->n, SLOT_EMPTY, &t->freed);
}

/* ---- The call ---- */

static int try(struct transfer *t)
{
	int err;

	family_held(t->dst);
	family_held(t->src);
	err = content_range_holds(t->dst, t->to, t->n);
	if (!err)
		err = content_range_holds(t->src, t->from, t->n);
	if (!err)
		err = not_pinned(t->dst, t->to, t->n);
	if (!err)
		err = not_pinned(t->src, t->from, t->n);
	if (err || (t->dst == t->src && t->to == t->from)) /* onto itself */
		return err;
	err = make_room(t);
	if (!err)
		err = prepare_trees(t);
	if (!err)
		err = grant_copies(t);
	if (err)
		return err;
	tell(t);
	take(t);
	if (!t->keep)
		empty(t);
	give(t);
	tidy(t);
	content_bump(t->src);
	content_bump(t->dst);
	return 0;
}

static int transfer(struct transfer *t)
{
	const struct world *w = t->src->world;
	int err;

	ask_init(&t->ask, NULL);
	frame_batch_init(&t->freed, t->src->arena);
	do {
		lock_both(t);
		err = try(t);
		drop_both(t);
		if (err == ASK)
			err = ask_serve(&t->ask) ?: ASK;
	} while (err == ASK);
	frame_batch_end(&t->freed);
	if (t->note)
		w->free(w, t->note, t->room * sizeof(*t->note));
	return err;
}

int vms_object_transfer(struct vms_object *dst, uint64_t off, uint64_t len, struct vms_object *src,
			uint64_t src_off, uint32_t flags)
{
	struct page_range to, from;
	struct transfer t = { .keep = flags & VMS_TRANSFER_KEEP };
	int err;

	err = view_usable(dst);
	if (!err)
		err = view_usable(src);
	if (err)
		return err;
	if (flags & ~VMS_TRANSFER_KEEP)
		return fail(-EINVAL, "transfer: unknown flags %#" PRIx32, flags);
	if ((off | len | src_off) & ((UINT64_C(1) << view_of(dst)->content->shift) - 1))
		return fail(-EINVAL,
			    "transfer: [%#" PRIx64 ", +%#" PRIx64 ") from %#" PRIx64
			    " is not page aligned",
			    off, len, src_off);
	err = view_writable(dst);
	if (!err)
		err = view_writable(src);
	if (!err)
		err = view_range(dst, off, len, "transfer to", &to);
	if (!err)
		err = view_range(src, src_off, len, "transfer from", &from);
	if (!err)
		err = may_transfer(to.content);
	if (!err)
		err = may_transfer(from.content);
	if (!err && to.content->arena != from.content->arena)
		err = fail(-ENOTSUP, "transfer: the objects are of two arenas");
	if (err || !len)
		return err;
	t.dst = to.content;
	t.src = from.content;
	t.to = to.first;
	t.from = from.first;
	t.n = to.n;
	return transfer(&t);
}
