// SPDX-License-Identifier: MIT
/*
 * soft_tree.c: the nodes of the soft MMU's page table, and the locks of its leaves.
 *
 * A radix tree of page numbers, nine bits a level, as high as the highest page asks: four levels
 * for 48 bits of 4 KiB pages, six for the whole 64 bits.
 *
 *	root, height 3 --> node --> node --> leaf: host address | SEEN | rights
 *	                                `--> leaf
 *
 * Each leaf belongs to one of a few *stripes*, by a hash of its number. Who has the lock of a leaf's
 * stripe may look for the leaf, link it, and change it; other threads work in other leaves at the
 * same time. A missing node above the leaves is linked by a compare-and-swap: who comes second uses
 * the other's. A change of several leaves takes their stripes' locks together, by rising address.
 *
 * Nodes are unlinked by prune() alone, which takes all locks: so a node that was found stays while
 * any lock is held. Leaves that have become empty stay linked until a stripe has more of them than
 * of others and a few; a page that is mapped and unmapped by turns costs no node each time.
 *
 * Invariants, whenever all locks are free:
 *	1 a leaf's `used` counts its slots that are not 0
 *	2 a stripe's `entries`, `leaves` and `empty` count what is linked; `nodes` all nodes
 *	3 a stripe's `leaf` is NULL or linked, under leaf_number
 *	4 an entry has a right, and a host address that is not 0
 * and always:
 *	5 a linked node stays linked while any stripe is locked; outside of prune() a slot above the
 *	  leaves changes only from 0, and the root only to a node that has the old one in slot 0
 */
#include "mmu/soft_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "base/fail.h"

#define EMPTY_FEW 2u /* empty leaves of a stripe that are kept whatever else it has */

/* ---- The validator ---- */

struct tally {
	uint64_t nodes;
	uint64_t entries[STRIPES], leaves[STRIPES], empty[STRIPES];
};

static int check_leaf(const struct node *leaf, uint64_t leaf_number, struct tally *t)
{
	unsigned used = 0, stripe = stripe_of(leaf_number);

	for (unsigned i = 0; i < NODE_SLOTS; i++) {
		uint64_t word = atomic_load_explicit(&leaf->slot[i], memory_order_relaxed);

		if (!word)
			continue;
		used++;
		if (!(word & RIGHTS) || !(word & HOST_MASK) ||
		    (word & ~(HOST_MASK | SEEN | RIGHTS)))
			return fail(-EINVAL, "soft: an entry is %#" PRIx64, word);
	}
	if (used != leaf->used)
		return fail(-EINVAL, "soft: a leaf has %u slots, counts %u", used, leaf->used);
	t->entries[stripe] += used;
	t->leaves[stripe]++;
	t->empty[stripe] += !used;
	return 0;
}

/* first: the number of its first leaf. */
static int check_node(const struct node *node, unsigned level, uint64_t first, struct tally *t)
{
	t->nodes++;
	if (!level)
		return check_leaf(node, first, t);
	for (unsigned i = 0; i < NODE_SLOTS; i++) {
		uint64_t word = atomic_load_explicit(&node->slot[i], memory_order_relaxed);
		int err;

		if (!word)
			continue;
		err = check_node(as_node(word), level - 1,
				 first + ((uint64_t)i << NODE_BITS * (level - 1)), t);
		if (err)
			return err;
	}
	return 0;
}

static int check_stripe(struct soft *soft, unsigned i, const struct tally *t)
{
	const struct stripe *s = &soft->stripe[i];

	if (s->entries != t->entries[i] || s->leaves != t->leaves[i] || s->empty != t->empty[i])
		return fail(-EINVAL,
			    "soft: stripe %u has %" PRIu64 " entries in %" PRIu64
			    " leaves, %" PRIu64 " empty; counted %" PRIu64 " in %" PRIu64
			    ", %" PRIu64,
			    i, s->entries, s->leaves, s->empty, t->entries[i], t->leaves[i],
			    t->empty[i]);
	if (s->leaf && soft_slot(soft, s->leaf_number << NODE_BITS) != s->leaf->slot)
		return fail(-EINVAL, "soft: stripe %u remembers a leaf that is not linked", i);
	return 0;
}

int check_tree(struct soft *soft)
{
	uint64_t root = atomic_load_explicit(&soft->root, memory_order_relaxed);
	struct tally t = { 0 };
	int err = 0;

	if (root)
		err = check_node(as_node(root), (root & HEIGHT) - 1, 0, &t);
	for (unsigned i = 0; !err && i < STRIPES; i++)
		err = check_stripe(soft, i, &t);
	if (!err && t.nodes != atomic_load(&soft->nodes))
		err = fail(-EINVAL, "soft: %" PRIu64 " nodes, counted %" PRIu64,
			   atomic_load(&soft->nodes), t.nodes);
	return err;
}

/* ---- Locks ---- */

uint32_t stripes_of(uint64_t lo, uint64_t hi)
{
	uint64_t first = lo >> NODE_BITS, n = (hi >> NODE_BITS) - first;
	uint32_t stripes = 0;

	if (n >= 4 * STRIPES)
		return ALL_STRIPES;
	for (uint64_t i = 0; i <= n; i++)
		stripes |= UINT32_C(1) << stripe_of(first + i);
	return stripes;
}

void stripes_take(struct soft *soft, uint32_t stripes) UNCHECKED_LOCKS
{
	for (; stripes; stripes &= stripes - 1)
		lock_take(&soft->stripe[__builtin_ctz(stripes)].lock);
}

void stripes_drop(struct soft *soft, uint32_t stripes) UNCHECKED_LOCKS
{
	for (; stripes; stripes &= stripes - 1)
		lock_drop(&soft->stripe[__builtin_ctz(stripes)].lock);
}

/* ---- Finding and making ---- */

static struct node *node_new(struct soft *soft)
{
	struct node *node = soft->world->alloc(soft->world, sizeof(*node));

	if (node)
		memset(node, 0, sizeof(*node));
	return node;
}

/* Link the node where *expected stands. False: *expected is what stands there now. */
static bool link_node(struct soft *soft, _Atomic(uint64_t) *slot, uint64_t *expected,
		      struct node *node, unsigned height)
{
	if (atomic_compare_exchange_strong(slot, expected, (uintptr_t)node | height)) {
		atomic_fetch_add_explicit(&soft->nodes, 1, memory_order_relaxed);
		return true;
	}
	soft->world->free(soft->world, node, sizeof(*node));
	return false;
}

/* The root when it reaches this page number. 0: no memory. */
static uint64_t grow(struct soft *soft, uint64_t number)
{
	uint64_t root = atomic_load(&soft->root);

	while (!root || number >> NODE_BITS * (root & HEIGHT)) {
		unsigned height = root ? (unsigned)(root & HEIGHT) + 1 : 2;
		struct node *node = node_new(soft);

		if (!node)
			return 0;
		while (!root && number >> NODE_BITS * height)
			height++;
		/* The old root stands for the lowest numbers. */
		atomic_store_explicit(&node->slot[0], root & ~HEIGHT, memory_order_relaxed);
		if (link_node(soft, &soft->root, &root, node, height))
			root = (uintptr_t)node | height;
	}
	return root;
}

static struct stripe *stripe_at(struct soft *soft, uint64_t number)
{
	return &soft->stripe[stripe_of(number >> NODE_BITS)];
}

static struct node *remember(struct stripe *stripe, uint64_t number, struct node *leaf)
{
	stripe->leaf = leaf;
	stripe->leaf_number = number >> NODE_BITS;
	return leaf;
}

static bool remembered(const struct stripe *stripe, uint64_t number)
{
	return stripe->leaf && stripe->leaf_number == number >> NODE_BITS;
}

struct node *leaf_find(struct soft *soft, uint64_t number)
{
	struct stripe *stripe = stripe_at(soft, number);
	_Atomic(uint64_t) *slot;

	if (remembered(stripe, number))
		return stripe->leaf;
	slot = soft_slot(soft, number & ~(uint64_t)(NODE_SLOTS - 1));
	if (!slot)
		return NULL;
	return remember(stripe, number,
			(struct node *)(void *)((char *)slot - offsetof(struct node, slot)));
}

/* Empty nodes may stand afterwards, also on failure. */
struct node *leaf_make(struct soft *soft, uint64_t number)
{
	struct stripe *stripe = stripe_at(soft, number);
	struct node *node;
	unsigned level;
	uint64_t word;

	if (remembered(stripe, number))
		return stripe->leaf;
	word = grow(soft, number);
	if (!word)
		return NULL;
	node = as_node(word);
	for (level = (word & HEIGHT) - 1; level; level--) {
		_Atomic(uint64_t) *slot =
			&node->slot[number >> NODE_BITS * level & (NODE_SLOTS - 1)];

		word = atomic_load(slot);
		if (!word) {
			struct node *child = node_new(soft);

			if (!child)
				return NULL;
			if (link_node(soft, slot, &word, child, 0)) {
				word = (uintptr_t)child;
				/* A leaf is linked by who has its stripe. */
				stripe->leaves += level == 1;
				stripe->empty += level == 1;
			}
		}
		node = as_node(word);
	}
	return remember(stripe, number, node);
}

void leaf_gained(struct soft *soft, struct node *leaf, uint64_t number, unsigned slots)
{
	struct stripe *stripe = stripe_at(soft, number);

	stripe->entries += slots;
	stripe->empty -= slots && !leaf->used;
	leaf->used += slots;
}

void leaf_lost(struct soft *soft, struct node *leaf, uint64_t number, unsigned slots)
{
	struct stripe *stripe = stripe_at(soft, number);

	stripe->entries -= slots;
	leaf->used -= slots;
	stripe->empty += slots && !leaf->used;
}

/* ---- Pruning ---- */

bool prune_due(const struct soft *soft, uint32_t stripes)
{
	for (; stripes; stripes &= stripes - 1) {
		const struct stripe *s = &soft->stripe[__builtin_ctz(stripes)];

		if (s->empty > EMPTY_FEW + s->leaves / 2)
			return true;
	}
	return false;
}

/* Unlink what is empty below this node; is it empty itself now? */
static bool prune_node(struct soft *soft, struct node *node, unsigned level, uint64_t first,
		       struct node **gone)
{
	bool empty = true;

	if (!level) {
		struct stripe *stripe = &soft->stripe[stripe_of(first)];

		if (node->used)
			return false;
		stripe->leaves--;
		stripe->empty--;
		return true;
	}
	for (unsigned i = 0; i < NODE_SLOTS; i++) {
		uint64_t word = atomic_load_explicit(&node->slot[i], memory_order_relaxed);

		if (!word)
			continue;
		if (!prune_node(soft, as_node(word), level - 1,
				first + ((uint64_t)i << NODE_BITS * (level - 1)), gone)) {
			empty = false;
			continue;
		}
		atomic_store(&node->slot[i], 0);
		as_node(word)->next = *gone;
		*gone = as_node(word);
	}
	return empty;
}

void prune(struct soft *soft)
{
	struct node *gone = NULL, *next;
	uint64_t root, n = 0;

	stripes_take(soft, ALL_STRIPES);
	for (unsigned i = 0; i < STRIPES; i++)
		soft->stripe[i].leaf = NULL;
	root = atomic_load_explicit(&soft->root, memory_order_relaxed);
	if (root && prune_node(soft, as_node(root), (root & HEIGHT) - 1, 0, &gone)) {
		atomic_store(&soft->root, 0);
		as_node(root)->next = gone;
		gone = as_node(root);
	}
	if (gone)
		soft_leave_nodes(soft);
	for (; gone; gone = next, n++) {
		next = gone->next;
		soft->world->free(soft->world, gone, sizeof(*gone));
	}
	atomic_fetch_sub_explicit(&soft->nodes, n, memory_order_relaxed);
	stripes_drop(soft, ALL_STRIPES);
}
