/* SPDX-License-Identifier: MIT */
/*
 * pages.h: which frame a page of an object is: a persistent radix tree.
 *
 * Terms:
 *	index	the number of a page, 0 .. PAGES_MAX - 1
 *	slot	what stands at an index: a frame of the arena, or a mark
 *	leaf	64 slots; an inner node has 64 entries, each a node, or a mark that stands for the
 *		whole stretch below it: a long run of one mark costs two paths
 *	shared	a node whose count is above 1, or that lies under one: it is never changed. A
 *		change first copies the shared part of its path.
 *
 * A snapshot is one more count on the root. So a look-up costs the height of the tree however many
 * snapshots there were, a page's last holder finds it exclusive without asking anybody, and nothing
 * has to be merged when a holder goes.
 *
 * Readers (inside an epoch section) call pages_span and nothing else; they see each slot as it was
 * at some moment. Everything else wants the family's lock. Nodes are freed by epoch.
 *
 * The tree holds one count of each frame in a leaf.
 */
#ifndef OBJECT_PAGES_H
#define OBJECT_PAGES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/arena.h"

#define PAGES_FANOUT 64u
#define PAGES_BITS   6u
#define PAGES_MAX    (UINT64_C(1) << 54) /* indices: 9 levels */

typedef uint32_t slot_t;
/* Below SLOT_FRAMES: marks. What EMPTY means is the object's affair. */
enum {
	SLOT_EMPTY = 0,
	SLOT_ZERO,	    /* known to be zero (hides what lies below; paged: clean) */
	SLOT_ZERO_DIRTY,    /* paged: zero, and the pager does not know */
	SLOT_ZERO_CLEANING, /* paged: zero, awaiting clean */
	SLOT_FRAMES = 16,
};
static inline bool slot_is_frame(slot_t s)
{
	return s >= SLOT_FRAMES;
}

struct page_node;

struct pages {
	struct vms_arena *arena; /* [I] */
	_Atomic(uintptr_t) root; /* an entry: empty, a mark, or a node that knows its level */
	struct pages *sibling;	 /* the next tree of the family, for pages_sharers */
};

void pages_init(struct pages *p, struct vms_arena *arena);
/* Drop everything. */
void pages_fini(struct pages *p, struct frame_batch *freed);

/* What stands from an index on: n >= 1 indices; slots[i] for the i-th, or `same` where NULL. */
struct page_span {
	uint64_t n;
	const _Atomic(slot_t) *slots;
	slot_t same;
};
/* => inside an epoch section, or under the family's lock. O(height). */
struct page_span pages_span(const struct pages *p, uint64_t index);
static inline slot_t page_span_at(const struct page_span *s, uint64_t i)
{
	return s->slots ? atomic_load_explicit(&s->slots[i], memory_order_acquire) : s->same;
}
slot_t pages_get(const struct pages *p, uint64_t index);

/* ---- Changes: all under the family's lock ---- */

/*
 * Make single slots of [first, first + n) changeable: exclusive leaves exist for all of them.
 * Changes no slot's meaning. 0, or -ENOMEM with nothing visible changed (and what was prepared in
 * this tree before is void). Preparations of several ranges add up; they hold until the lock is
 * dropped, the tree is shared, or a fill: it ends those of its range, of the leaves at its two
 * ends, and of ranges for fills with another mark.
 */
int pages_prepare(struct pages *p, uint64_t first, uint64_t n);
/* Make one pages_fill of just this range possible: exclusive paths at the two ends, room to the
 * height. The same results. */
int pages_prepare_range(struct pages *p, uint64_t first, uint64_t n);

/* => the index is prepared. The tree takes over the caller's count of a frame; the slot that stood
 * there is returned, with its count. Cannot fail. */
slot_t pages_set(struct pages *p, uint64_t index, slot_t slot);
/*
 * => the range is prepared: itself by pages_prepare_range, or it and perhaps more by pages_prepare.
 * Every slot becomes the mark; counts of frames go to *freed. Cannot fail; costs the nodes that go.
 * A tree of nothing but EMPTY has no nodes afterwards.
 */
void pages_fill(struct pages *p, uint64_t first, uint64_t n, slot_t mark,
		struct frame_batch *freed);
/*
 * dst, which is empty, becomes a snapshot of src's [first, first + n), at the same indices; empty
 * outside. 0, or -ENOMEM with nothing changed. O(height), and the slots at the two ends.
 */
int pages_share(struct pages *dst, const struct pages *src, uint64_t first, uint64_t n);
/* The same of all of src, which cannot fail where pages_may_share said that n such calls may come.
 * O(1). */
bool pages_may_share(const struct pages *src, uint32_t n);
void pages_share_all(struct pages *dst, const struct pages *src);

/* Is the frame at index (a frame stands there) seen through this tree alone? */
bool pages_exclusive(const struct pages *p, uint64_t index);
/* Is every node on the path to index this tree's alone? Then frames' own counts decide. */
bool pages_path_exclusive(const struct pages *p, uint64_t index);

/*
 * Linear placement: the number that a new frame at index should have, so that neighbours are
 * neighbours, as arena_grant wants it; FRAME_NONE: no wish. Puts a run aside on first use below
 * a tree that never was a copy. npages: the object's size, so that small ones take small runs.
 * => the index is prepared.
 */
frame_t pages_wish(struct pages *p, uint64_t index, uint64_t npages);

/* ---- Walks and counts: under the family's lock ---- */

/* The first index at or after `first` and below `end` whose slot is not EMPTY, or `end`. Skips
 * empty stretches in O(height). */
uint64_t pages_next(const struct pages *p, uint64_t first, uint64_t end);
/* Frames in [first, first + n): from the nodes' counts, O(height). */
uint64_t pages_count(const struct pages *p, uint64_t first, uint64_t n);

/*
 * How many trees of a family (first and its siblings) see each frame that `tree` sees:
 * fn(arg, sharers, frames), several times for one count. Uses counters inside the nodes and frames:
 * O(distinct nodes of the family), no allocation.
 */
void pages_sharers(struct pages *first, const struct pages *tree,
		   void (*fn)(void *arg, uint64_t sharers, uint64_t frames), void *arg);

/* The validators, of one tree and of a family (first and its siblings): 0, or -EINVAL with a
 * sentence. Under the family's lock. */
int pages_check(const struct pages *p);
int pages_check_family(const struct pages *first);

#endif
