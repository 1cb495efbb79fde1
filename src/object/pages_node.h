/* SPDX-License-Identifier: MIT */
/*
 * pages_node.h: the nodes of a page tree, for pages.c and pages_walk.c alone. pages.c has the
 * theory.
 *
 * An entry is a number below SLOT_FRAMES, which is a mark for the whole stretch, or the address of
 * a node. Lock letters: [F] the family's lock; [F/a] written under it, read by readers without it;
 * [I] never changed once the node can be found.
 */
#ifndef OBJECT_PAGES_NODE_H
#define OBJECT_PAGES_NODE_H

#include <assert.h>

#include "base/epoch.h"
#include "object/pages.h"

typedef uintptr_t entry_t;

#define TOP_LEVEL 8u /* covers PAGES_MAX indices */
#define LEVELS	  (TOP_LEVEL + 1)

struct page_node {
	union {
		struct epoch_head retired; /* once nobody holds the node */
		struct {
			/* [F] The next node of the same stretch, and how many trees see this one:
			 * inside pages_sharers only, else 0. */
			struct page_node *alike;
			uint32_t seen;
			uint32_t frames; /* [F] below it */
			/* [F] Numbers put aside for its first run_len pages; 0: none. */
			frame_t run_base;
			uint32_t run_len;
		};
	};
	const struct world *world; /* [I] where it came from */
	uint32_t refs;		   /* [F] parents and roots */
	uint8_t level;		   /* [I] 0: a leaf */
	bool copy;		   /* [I] made from a shared node: has no run, and gets none */
};

struct leaf {
	struct page_node node;
	_Atomic(slot_t) slot[PAGES_FANOUT]; /* [F/a] */
};

struct inner {
	struct page_node node;
	_Atomic(entry_t) entry[PAGES_FANOUT]; /* [F/a] */
};

static_assert(sizeof(struct leaf) <= 300, "a page costs 16 bytes of metadata at most");

static inline struct leaf *leaf_of(struct page_node *n)
{
	return (struct leaf *)n;
}

static inline struct inner *inner_of(struct page_node *n)
{
	return (struct inner *)n;
}

static inline bool entry_is_mark(entry_t e)
{
	return e < SLOT_FRAMES;
}

static inline struct page_node *entry_node(entry_t e)
{
	return (struct page_node *)e;
}

static inline entry_t node_entry(struct page_node *n)
{
	return (entry_t)n;
}

/* As readers look: what the entry points to is complete. */
static inline entry_t entry_get(const _Atomic(entry_t) *at)
{
	return atomic_load_explicit(at, memory_order_acquire);
}

static inline void entry_put(_Atomic(entry_t) *at, entry_t e)
{
	atomic_store_explicit(at, e, memory_order_release);
}

static inline uint32_t entry_frames(entry_t e)
{
	return entry_is_mark(e) ? 0 : entry_node(e)->frames;
}

/* How many index bits are below an entry of this level; below the node itself: level_shift(l + 1).
 */
static inline unsigned level_shift(unsigned level)
{
	return level * PAGES_BITS;
}

/* How many indices a node of this level covers. */
static inline uint64_t level_span(unsigned level)
{
	return UINT64_C(1) << level_shift(level + 1);
}

static inline unsigned level_slot(unsigned level, uint64_t index)
{
	return (unsigned)(index >> level_shift(level)) % PAGES_FANOUT;
}

#endif
