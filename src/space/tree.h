/* SPDX-License-Identifier: MIT */
/*
 * tree.h: the mapping tree of a space: a B+ tree keyed by address, with the largest gap of each
 * subtree, edited in place.
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

/* Even with two slots a node, more mappings than that need more memory than there is. */
#define TREE_MAX_HEIGHT 48

/*
 * A place in the tree: at[0] is in a leaf, and its slot may be the leaf's n; above, the way to it.
 * One array of pairs: with two arrays gcc 12 at -O2 (ivopts, then ipa-modref) believes that
 * path_next() leaves the path as it was.
 */
struct tree_path {
	struct {
		struct tree_node *node;
		unsigned slot;
	} at[TREE_MAX_HEIGHT];
};

struct tree {
	const struct world *world;
	const struct map_rules *rules;
	uint64_t first, last; /* bounds, both included */
	struct tree_node *root; /* NULL: no mappings */
	unsigned height;	/* levels; 0: no mappings */
	size_t n; /* mappings */
	struct tree_node *spare; /* nodes put aside by tree_reserve, or given back */
	size_t n_spare;
	/*
	 * The way to the leaf that tree_spot or tree_replace last came to, and the addresses that
	 * lead there: an edit comes back to where its caller looked. known false: none is kept.
	 */
	bool known;
	uint64_t known_first, known_last;
	struct tree_path way;
};

void tree_init(struct tree *t, const struct world *w, const struct map_rules *rules,
	       uint64_t first, uint64_t last);
void tree_fini(struct tree *t); /* frees nodes, not objects */

/* The mapping that holds addr, or the first above it. False: none. O(log n). */
bool tree_find(const struct tree *t, uint64_t addr, struct map *out);
/* The last mapping that starts below addr. False: none. */
bool tree_find_below(const struct tree *t, uint64_t addr, struct map *out);
/* The mapping that holds addr, or the first above it, and its neighbours. Until the next change. */
struct tree_spot {
	struct map *at, *prev, *next; /* NULL: none; prev also where there is no `at` */
};
/* False: none at or above addr. */
bool tree_spot(struct tree *t, uint64_t addr, struct tree_spot *out);
/* Copies those that overlap [first, last], in order, at most `room`; how many. O(log n + that). */
size_t tree_copy(const struct tree *t, uint64_t first, uint64_t last, struct map *out, size_t room);

/*
 * Put aside the nodes that `splices` calls of tree_replace may need if each puts in at most as
 * many mappings as it takes out, but for n_more in all. 0 or -ENOMEM.
 */
int tree_reserve(struct tree *t, size_t splices, size_t n_more);
/*
 * Replace the mappings inside [first, last] by `in`, sorted, disjoint and inside [first, last].
 * No mapping may cross a bound. Reserved before; cannot fail. O(log n + mappings in and out).
 */
void tree_replace(struct tree *t, uint64_t first, uint64_t last, const struct map *in, size_t n_in);
/* After the last tree_replace of an edit: keep a few spare nodes, free the others. */
void tree_trim(struct tree *t);

/*
 * The highest (lowest) `len` free bytes inside [lo, hi], both included, that leave every guard
 * free. *addr: their start. O(log n). False: no such run.
 */
bool tree_gap_down(const struct tree *t, uint64_t lo, uint64_t hi, uint64_t len, uint64_t *addr);
bool tree_gap_up(const struct tree *t, uint64_t lo, uint64_t hi, uint64_t len, uint64_t *addr);

/* NULL, or the broken invariant as a sentence. */
const char *tree_validate(const struct tree *t);

#endif
