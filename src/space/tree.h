/* SPDX-License-Identifier: MIT */
/*
 * tree.h: the mapping tree of a space: a B+ tree keyed by address, with the largest gap of each
 * subtree, edited in place.
 *
 * The gap of a mapping is the free run below it, from the mapping before it (or the tree's lower
 * bound), less rules->guard of the mapping itself. So the largest gap under a node is the maximum
 * over its mappings, and the free run above the last mapping is known without the tree.
 *
 * Callers hold the space's lock, but those of tree_read(), which looks without it (tree_read.c).
 * Only tree_reserve() can fail.
 */
#ifndef SPACE_TREE_H
#define SPACE_TREE_H

#include <stdatomic.h>
#include <stddef.h>

#include "base/world.h"
#include "space/map.h"

#if defined(__SANITIZE_THREAD__)
#define TREE_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TREE_TSAN 1
#endif
#endif

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
	_Atomic(uint64_t) seq;	/* odd: the tree is being changed */
	struct tree_node *root; /* NULL: no mappings */
	unsigned height;	/* levels; 0: no mappings */
	bool readers;		/* may some look without the lock? See tree_let_read() */
	const struct world *world;
	const struct map_rules *rules;
	uint64_t first, last; /* bounds, both included */
	size_t n; /* mappings */
	struct tree_node *spare; /* nodes put aside by tree_reserve, or given back */
	size_t n_spare;
	struct tree_node *left; /* readers: nodes that have left the tree in this edit */
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

/* Before the first mapping: from now on tree_read() may be called, and nodes that leave the tree are
 * freed when nobody looks at them any more (base/epoch.h). */
void tree_let_read(struct tree *t);

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
 * many mappings as it takes out, but for n_more in all; n_in: how many they put in. 0 or -ENOMEM.
 */
int tree_reserve(struct tree *t, size_t splices, size_t n_more, size_t n_in);
/*
 * Replace the mappings inside [first, last] by `in`, sorted, disjoint and inside [first, last].
 * No mapping may cross a bound. Reserved before; cannot fail. O(log n + mappings in and out).
 */
void tree_replace(struct tree *t, uint64_t first, uint64_t last, const struct map *in, size_t n_in);
/*
 * What is changed between the two, readers see all at once. tree_replace() and tree_set() are one
 * change each, or part of the one that is begun. True: begun here, so it is to be ended here. No
 * host call in between.
 */
static inline bool tree_change_begin(struct tree *t)
{
	uint64_t seq = atomic_load_explicit(&t->seq, memory_order_relaxed);

	if (seq & 1)
		return false;
#ifdef TREE_TSAN
	atomic_store_explicit(&t->seq, seq + 1, memory_order_release);
#else
	atomic_store_explicit(&t->seq, seq + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
#endif
	return true;
}

static inline void tree_change_end(struct tree *t, bool begun)
{
	if (begun)
		atomic_store_explicit(
			&t->seq, atomic_load_explicit(&t->seq, memory_order_relaxed) + 1,
			memory_order_release);
}

/* One value of tree_spot() becomes another of the same bytes and the same guard. */
static inline void tree_set(struct tree *t, struct map *at, const struct map *value)
{
	bool begun = tree_change_begin(t);

	*at = *value;
	tree_change_end(t, begun);
}

/* After the last tree_replace of an edit: keep a few spare nodes, free the others. */
void tree_trim(struct tree *t);

/*
 * The highest (lowest) `len` free bytes inside [lo, hi], both included, that leave every guard
 * free. *addr: their start. O(log n). False: no such run.
 */
bool tree_gap_down(const struct tree *t, uint64_t lo, uint64_t hi, uint64_t len, uint64_t *addr);
bool tree_gap_up(const struct tree *t, uint64_t lo, uint64_t hi, uint64_t len, uint64_t *addr);

/* ---- Without the lock (tree_read.c) ---- */

enum tree_look {
	TREE_BUSY,  /* it is being changed: take the lock */
	TREE_NONE,  /* nothing stands at addr or above */
	TREE_FOUND, /* as tree_find */
};

/*
 * As tree_find, as the tree stood at one moment, of which *seq is the count. The object is lent
 * like its memory: as long as the section lasts; its references may be gone meanwhile.
 * => inside an epoch section.
 */
enum tree_look tree_read(const struct tree *t, uint64_t addr, struct map *out, uint64_t *seq);

/* Equal to *seq: all stands as it did then. */
static inline uint64_t tree_seq(const struct tree *t)
{
	return atomic_load_explicit(&t->seq, memory_order_acquire);
}

/* NULL, or the broken invariant as a sentence. */
const char *tree_validate(const struct tree *t);

#endif
