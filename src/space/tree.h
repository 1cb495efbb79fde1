/* SPDX-License-Identifier: MIT */
/*
 * tree.h: the mapping tree of a space: a B+ tree keyed by address, about 16 keys a node, with the
 * largest gap of each subtree, edited in place.
 *
 * The gap of a mapping is the free run below it, from the mapping before it (or the tree's lower
 * bound), less rules->guard of the mapping itself. So the largest gap under a node is the maximum
 * over its mappings, and the free run above the last mapping is known without the tree.
 *
 * Callers hold the space's lock. Only tree_reserve() can fail.
 */
#ifndef SPACE_TREE_H
#define SPACE_TREE_H

#include <stddef.h>

#include "base/world.h"
#include "space/map.h"

struct tree_node;

struct tree {
	const struct world *world;
	const struct map_rules *rules;
	uint64_t first, last; /* bounds, both included */
	struct tree_node *root;
	unsigned height;
	size_t n; /* mappings */
	struct tree_node *spare; /* nodes put aside by tree_reserve */
	size_t n_spare;
};

void tree_init(struct tree *t, const struct world *w, const struct map_rules *rules,
	       uint64_t first, uint64_t last);
void tree_fini(struct tree *t); /* frees nodes, not objects */

/* The mapping that holds addr, or the first above it. False: none. O(log n). */
bool tree_find(const struct tree *t, uint64_t addr, struct map *out);
/* The last mapping that starts below addr. False: none. */
bool tree_find_below(const struct tree *t, uint64_t addr, struct map *out);

/* Put aside the nodes that replacing any run by n_new mappings may need. 0 or -ENOMEM. */
int tree_reserve(struct tree *t, size_t n_new);
/*
 * Replace the run of mappings that overlap [first, last] by `in`, which lies inside the run's
 * bounds and free neighbourhood, sorted and disjoint. Needs tree_reserve(t, n_in); cannot fail.
 */
void tree_replace(struct tree *t, uint64_t first, uint64_t last, const struct map *in, size_t n_in);

/*
 * The highest (lowest) `len` free bytes inside [lo, hi], both included, that leave every guard
 * free. *addr: their start. O(log n). False: no such run.
 */
bool tree_gap_down(const struct tree *t, uint64_t lo, uint64_t hi, uint64_t len, uint64_t *addr);
bool tree_gap_up(const struct tree *t, uint64_t lo, uint64_t hi, uint64_t len, uint64_t *addr);

/* NULL, or the broken invariant as a sentence. */
const char *tree_validate(const struct tree *t);

#endif
