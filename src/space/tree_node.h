/* SPDX-License-Identifier: MIT */
/*
 * tree_node.h: a node of the mapping tree, for the files that walk it. Its rules are in tree.c.
 */
#ifndef SPACE_TREE_NODE_H
#define SPACE_TREE_NODE_H

#include <stddef.h>

#include "base/epoch.h"
#include "space/tree.h"

/* Who reads without the lock reads what may be half written, and finds out: tree_read.c. A race
 * detector is not told of it. */
#ifdef TREE_TSAN
#define UNWATCHED __attribute__((no_sanitize("thread")))
#else
#define UNWATCHED
#endif

#ifdef VMS_SMALL_LIMITS
#define KEYS	 4
#define MIN_KEYS 2
#else
#define KEYS	 16
#define MIN_KEYS 3 /* well below a half, so that map and unmap in turn do not split and join */
#endif

#define CACHE_LINE 64

struct tree_node {
	uint64_t key[KEYS];
	union {
		uint64_t gap[KEYS];
		/* Out of the tree, with those behind it by next. Readers may still look at the
		 * rest of the node; no reader looks at gaps. */
		struct {
			struct epoch_head head;
			const struct world *world;
		} retired;
	};
	union {
		struct tree_node *child[KEYS];
		struct map map[KEYS];
	};
	unsigned n;
	unsigned level; /* 0: a leaf. Never changes once the node is in a tree */
	struct tree_node *next; /* on the spare list, or among the new nodes of a splice */
	void *block;		/* as allocated; the node is the first cache line in it */
};

/* ---- Nodes that are not in the tree (tree_spare.c) ---- */

/* An empty node. There is one: tree_reserve() saw to it. */
struct tree_node *tree_take(struct tree *t, unsigned level);
/* A node is in the tree no more. */
void tree_leave(struct tree *t, struct tree_node *node);
/* At the end of the tree, when nobody reads it. */
void tree_free_node(const struct tree *t, struct tree_node *node);
void tree_free_spare(struct tree *t);

/* ---- Looking ---- */

/* How many slots end below addr: the slot that holds addr, or the first above it. */
static inline UNWATCHED unsigned below(const struct tree_node *node, uint64_t addr)
{
	unsigned even = 0, odd = 0; /* two sums: neither waits for the other */

#pragma GCC unroll 8
	for (unsigned i = 0; i < KEYS; i += 2) {
		even += node->key[i] < addr;
		odd += node->key[i + 1] < addr;
	}
	return even + odd;
}

/*
 * A leaf is about to be searched: ask for all of it now, not for a value once its key is found. Of
 * a tree larger than the caches a call then waits for memory once, not twice or three times.
 */
static inline UNWATCHED void fetch_leaf(const struct tree_node *leaf)
{
	const char *p = (const char *)leaf->gap; /* the keys are read at once */

	for (size_t at = offsetof(struct tree_node, gap); at <= offsetof(struct tree_node, n);
	     at += CACHE_LINE, p += CACHE_LINE)
		__builtin_prefetch(p);
}

#endif
