// SPDX-License-Identifier: MIT
/*
 * itree.c: a treap. Each node has a priority that is a hash of its address: no random numbers are
 * kept or drawn, and the tree has the shape that it would have if the nodes had been inserted by
 * falling priority, whatever the order of insertions was.
 *
 * Insert hangs the node in as a leaf and turns it up; erase turns it down until it has one child at
 * most, and takes it out. `greatest` is kept right by each turn and along the way to the root.
 *
 * Invariants, checked by itree_check:
 *	1 a node's parent has it as a child; the root has no parent
 *	2 first <= last
 *	3 in order, `first` does not fall
 *	4 a node's priority is above those of its children
 *	5 greatest is the greatest `last` of the node and its children's greatest
 */
#include "base/itree.h"

#include <errno.h>
#include <inttypes.h>

#include "base/fail.h"

/* A bijection (each step is one), so that two nodes never have the same. */
static uint64_t priority(const struct itree_node *node)
{
	uint64_t x = (uintptr_t)node;

	x ^= x >> 32;
	x *= UINT64_C(0x9e3779b97f4a7c15);
	x ^= x >> 29;
	x *= UINT64_C(0xd6e8feb86659fd93);
	x ^= x >> 32;
	return x;
}

/* inv. 5 at one node: what it should be. */
static uint64_t greatest_at(const struct itree_node *node)
{
	uint64_t greatest = node->last;

	if (node->left && node->left->greatest > greatest)
		greatest = node->left->greatest;
	if (node->right && node->right->greatest > greatest)
		greatest = node->right->greatest;
	return greatest;
}

/* inv. 5 from a node up, after something below it or its own interval went. */
static void settle(struct itree_node *node)
{
	for (; node; node = node->parent)
		node->greatest = greatest_at(node);
}

/* Who points at the node. */
static struct itree_node **place_of(struct itree *t, const struct itree_node *node)
{
	if (!node->parent)
		return &t->root;
	return node->parent->left == node ? &node->parent->left : &node->parent->right;
}

/*
 * Turn a node up over its parent:
 *
 *	    p			 n
 *	  n   c		->	a   p
 *	 a b			   b c		and its mirror image
 */
static void turn_up(struct itree *t, struct itree_node *n)
{
	struct itree_node *p = n->parent, **place = place_of(t, p), *b;

	if (p->left == n) {
		b = n->right;
		p->left = b;
		n->right = p;
	} else {
		b = n->left;
		p->right = b;
		n->left = p;
	}
	if (b)
		b->parent = p;
	n->parent = p->parent;
	p->parent = n;
	*place = n;
	n->greatest = p->greatest; /* the same nodes are below */
	p->greatest = greatest_at(p);
}

void itree_insert(struct itree *t, struct itree_node *node)
{
	struct itree_node **place = &t->root, *parent = NULL;

	node->left = NULL;
	node->right = NULL;
	node->greatest = node->last;
	while (*place) {
		parent = *place;
		if (parent->greatest < node->last)
			parent->greatest = node->last;
		place = node->first < parent->first ? &parent->left : &parent->right;
	}
	node->parent = parent;
	*place = node;
	while (node->parent && priority(node->parent) < priority(node))
		turn_up(t, node);
}

void itree_erase(struct itree *t, struct itree_node *node)
{
	struct itree_node *child;

	while (node->left && node->right)
		turn_up(t, priority(node->left) > priority(node->right) ? node->left : node->right);
	child = node->left ? node->left : node->right;
	*place_of(t, node) = child;
	if (child)
		child->parent = node->parent;
	settle(node->parent);
	node->parent = NULL;
	node->left = NULL;
	node->right = NULL;
}

static bool reaches(const struct itree_node *subtree, uint64_t from)
{
	return subtree && subtree->greatest >= from;
}

/*
 * The first node of the subtree, which reaches `from`, whose interval does. If it begins past `to`,
 * so do all after it.
 */
static struct itree_node *leftmost(struct itree_node *node, uint64_t from, uint64_t to)
{
	for (;;) {
		if (reaches(node->left, from))
			node = node->left;
		else if (node->last >= from)
			return node->first <= to ? node : NULL;
		else if (node->first > to)
			return NULL;
		else
			node = node->right; /* inv. 5: who else reaches it? */
	}
}

struct itree_node *itree_first(const struct itree *t, uint64_t from, uint64_t to)
{
	return reaches(t->root, from) ? leftmost(t->root, from, to) : NULL;
}

struct itree_node *itree_next(const struct itree_node *node, uint64_t from, uint64_t to)
{
	if (reaches(node->right, from))
		return leftmost(node->right, from, to);
	for (struct itree_node *p = node->parent; p; node = p, p = p->parent) {
		if (p->right == node)
			continue; /* it came before */
		if (p->first > to)
			return NULL;
		if (p->last >= from)
			return p;
		if (reaches(p->right, from))
			return leftmost(p->right, from, to);
	}
	return NULL;
}

/* ---- The validator ---- */

static int check_node(const struct itree_node *n)
{
	if ((n->left && n->left->parent != n) || (n->right && n->right->parent != n))
		return fail(-EINVAL,
			    "itree: a child of [%" PRIu64 ", %" PRIu64 "] has another parent",
			    n->first, n->last); /* 1 */
	if (n->first > n->last)
		return fail(-EINVAL, "itree: [%" PRIu64 ", %" PRIu64 "] ends before it begins",
			    n->first, n->last); /* 2 */
	if ((n->left && priority(n->left) >= priority(n)) ||
	    (n->right && priority(n->right) >= priority(n)))
		return fail(-EINVAL, "itree: [%" PRIu64 ", %" PRIu64 "] is below its child",
			    n->first, n->last); /* 4 */
	if (n->greatest != greatest_at(n))
		return fail(-EINVAL,
			    "itree: [%" PRIu64 ", %" PRIu64
			    "] says that its subtree ends at %" PRIu64,
			    n->first, n->last, n->greatest); /* 5 */
	return 0;
}

/* In order, by the parents, each checked before it is followed. */
int itree_check(const struct itree *t)
{
	const struct itree_node *node = t->root, *from = NULL, *last = NULL;

	if (node && node->parent)
		return fail(-EINVAL, "itree: the root has a parent"); /* 1 */
	while (node) {
		const struct itree_node *came = from;

		if (came == node->parent) { /* down */
			int err = check_node(node);

			if (err)
				return err;
			from = node;
			if (node->left) {
				node = node->left;
				continue;
			}
		}
		if (came == node->parent || came == node->left) {
			if (last && last->first > node->first)
				return fail(-EINVAL, "itree: %" PRIu64 " stands before %" PRIu64,
					    last->first, node->first); /* 3 */
			last = node;
			from = node;
			if (node->right) {
				node = node->right;
				continue;
			}
		}
		from = node;
		node = node->parent;
	}
	return 0;
}
