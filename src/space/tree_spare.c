// SPDX-License-Identifier: MIT
/*
 * tree_spare.c: the nodes of a mapping tree that are not in it: put aside before an edit, so that it
 * cannot fail, and given back by it.
 *
 *	tree_reserve → spare → tree_take → in the tree → tree_leave → spare             no readers
 *	                                                            → left → retired    readers
 *
 * A node that a reader may have come to cannot be taken again, nor freed, before the reader has
 * left. So with readers more nodes are put aside: none of those that an edit gives back helps it.
 */
#include <assert.h>
#include <errno.h>

#include "space/tree.h"
#include "space/tree_node.h"

#define NODE_BLOCK (sizeof(struct tree_node) + CACHE_LINE - 1)

static struct tree_node *node_alloc(const struct tree *t)
{
	char *block = t->world->alloc(t->world, NODE_BLOCK);
	struct tree_node *node;

	if (!block)
		return NULL;
	node = (struct tree_node *)(block + (-(uintptr_t)block & (CACHE_LINE - 1)));
	node->block = block;
	return node;
}

void tree_free_node(const struct tree *t, struct tree_node *node)
{
	t->world->free(t->world, node->block, NODE_BLOCK);
}

static void put_by(struct tree *t, struct tree_node *node)
{
	node->next = t->spare;
	t->spare = node;
	t->n_spare++;
}

static struct tree_node *pop_spare(struct tree *t)
{
	struct tree_node *node = t->spare;

	t->spare = node->next;
	t->n_spare--;
	return node;
}

void tree_leave(struct tree *t, struct tree_node *node)
{
	if (!t->readers) {
		put_by(t, node);
		return;
	}
	node->next = t->left;
	t->left = node;
}

static void free_retired(struct epoch_head *head)
{
	struct tree_node *node = (struct tree_node *)((char *)head -
						      offsetof(struct tree_node, retired.head));
	const struct world *w = node->retired.world;

	while (node) {
		struct tree_node *next = node->next;

		w->free(w, node->block, NODE_BLOCK);
		node = next;
	}
}

/* Those who came in before this moment may look at them. */
static void retire(struct tree *t)
{
	struct tree_node *node = t->left;

	t->left = NULL;
	node->retired.world = t->world;
	epoch_retire(&node->retired.head, free_retired);
}

struct tree_node *tree_take(struct tree *t, unsigned level)
{
	struct tree_node *node;

	assert(t->spare);
	node = pop_spare(t);
	node->next = NULL;
	node->n = 0;
	node->level = level;
	for (unsigned i = 0; i < KEYS; i++) {
		node->key[i] = UINT64_MAX;
		node->gap[i] = 0;
	}
	for (unsigned i = 0; level > 0 && i < KEYS; i++)
		node->child[i] = NULL;
	return node;
}

void tree_let_read(struct tree *t)
{
	assert(!t->root);
	t->readers = true;
}

/* ---- reserving ---- */

/* A tree of n mappings is never higher: inv. 2. */
static unsigned max_height(size_t n)
{
	unsigned height = 1;

	for (n /= 2; n >= MIN_KEYS; n /= MIN_KEYS)
		height++;
	return height;
}

/*
 * What replacing may need beyond the nodes that it gives back. A level that has k slots more than
 * before needs k / KEYS nodes more, rounded up, and these are the slots more of the next level; the
 * root may split. Rounding up costs each splice that grows at most one node a level.
 */
static size_t nodes_needed(const struct tree *t, size_t splices, size_t n_more)
{
	size_t growing = splices < n_more ? splices : n_more, need = 0, more = n_more, levels;

	if (n_more == 0)
		return 0;
	if (t->height <= 1 && t->n + n_more <= KEYS)
		return t->root == NULL;
	if (growing == 1 && n_more <= KEYS && t->root)
		return t->height + 1;
	levels = max_height(t->n + n_more);
	/* With so few, a splice gives the root one slot more, and the tree one level. */
	if (n_more <= KEYS && levels > t->height + growing)
		levels = t->height + growing;
	for (; levels > 0; levels--) {
		more = more / KEYS + growing;
		need += more;
	}
	return need + 1;
}

/*
 * What replacing may take if nothing that it gives back is taken again: each splice, at each level,
 * packs what comes in with what is kept of two nodes. A tree of one leaf is changed where it is, but
 * a splice may have emptied it before the next.
 */
static size_t nodes_taken(const struct tree *t, size_t splices, size_t n_more, size_t n_in)
{
	size_t growing = splices < n_more ? splices : n_more, need = 0;
	size_t levels = max_height(t->n + n_more);

	if (t->height <= 1 && t->n + n_more <= KEYS)
		return splices + 1;
	if (n_more <= KEYS && levels > t->height + growing)
		levels = t->height + growing;
	if (levels < t->height)
		levels = t->height;
	for (; levels > 0; levels--) {
		n_in = n_in / KEYS + 3 * splices;
		need += n_in;
	}
	return need + 1;
}

int tree_reserve(struct tree *t, size_t splices, size_t n_more, size_t n_in)
{
	size_t need = t->readers ? nodes_taken(t, splices, n_more, n_in)
				 : nodes_needed(t, splices, n_more);

	while (t->n_spare < need) {
		struct tree_node *node = node_alloc(t);

		if (!node)
			return -ENOMEM;
		put_by(t, node);
	}
	return 0;
}

/*
 * What the edits of a face reserve, a move with its two splices too: so in turns they allocate
 * nothing. A tree of one leaf needs less.
 */
void tree_trim(struct tree *t)
{
	size_t keep = t->height <= 1 ? t->height + 1 : 2 * (t->height + 3) + 1;

	if (t->readers) {
		keep = nodes_taken(t, 2, 4, 6);
		if (t->left)
			retire(t);
	}
	while (t->n_spare > keep)
		tree_free_node(t, pop_spare(t));
}

void tree_free_spare(struct tree *t)
{
	if (t->left)
		retire(t);
	while (t->spare)
		tree_free_node(t, pop_spare(t));
}
