/* SPDX-License-Identifier: MIT */
/*
 * itree.h: an interval tree whose nodes lie in the caller's structs.
 *
 * Terms:
 *	interval	[first, last], both inclusive, so that it may reach 2^64 - 1
 *	meets		two intervals meet when they have a number in common
 *	greatest	the greatest `last` in a node's subtree: a subtree whose greatest is below
 *			`from` has nothing that meets [from, to]
 *
 * Equal intervals may stand in it any number of times. Nothing is allocated and nothing fails. The
 * caller's lock guards all of it.
 *
 * Cost: a change is O(log n) expected. All k nodes that meet an interval cost O(log n) for the
 * first and at most O(log n) for each further one, O(1) where they are neighbours.
 */
#ifndef BASE_ITREE_H
#define BASE_ITREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct itree_node {
	uint64_t first, last; /* the caller's; never changed while it is in a tree */
	uint64_t greatest;
	struct itree_node *parent, *left, *right;
};

/* All zero is an empty tree. */
struct itree {
	struct itree_node *root;
};

static inline bool itree_is_empty(const struct itree *t)
{
	return !t->root;
}

/* => first <= last, and the node is in no tree. */
void itree_insert(struct itree *t, struct itree_node *node);
/* => the node is in this tree. */
void itree_erase(struct itree *t, struct itree_node *node);

/*
 * The nodes that meet [from, to], by rising `first`, equal ones in the order of their insertion:
 *
 *	for (n = itree_first(t, from, to); n; n = itree_next(n, from, to))
 *
 * The tree must not change between two steps.
 */
struct itree_node *itree_first(const struct itree *t, uint64_t from, uint64_t to);
struct itree_node *itree_next(const struct itree_node *node, uint64_t from, uint64_t to);

/* The validator: 0, or -EINVAL with a sentence. */
int itree_check(const struct itree *t);

#endif
