// SPDX-License-Identifier: MIT
/*
 * pages_walk.c: the next page of a tree, how many it has, and who else sees them. Nothing here
 * changes a tree; pages.c has the theory.
 *
 * pages_sharers goes through the stretches of the index space from the top down, with a list of all
 * distinct nodes that the family has for the stretch, each with the number of trees that see it. A
 * tree sees at most one node of a stretch, so what a node gives to its children is its own number,
 * and a child's number is the sum over its parents. Where one node is alone on the list, nobody
 * else can have what is below it, and the walk need not go down (at index 0, where roots of lower
 * levels join in further down, it may have to). The list hangs in the nodes.
 */
#include "object/pages.h"

#include "base/range.h"
#include "object/pages_node.h"

/* ---- Next ---- */

/* The first index in [first, last] below e, which starts at base, that is not EMPTY; or PAGES_MAX.
 */
static uint64_t next_below(entry_t e, unsigned level, uint64_t base, uint64_t first, uint64_t last)
{
	struct page_node *node = entry_node(e);

	if (entry_is_mark(e))
		return e == SLOT_EMPTY ? PAGES_MAX : max_u64(first, base);
	for (uint64_t i = (max_u64(first, base) - base) >> level_shift(level);
	     i < PAGES_FANOUT && base + (i << level_shift(level)) <= last; i++) {
		uint64_t at = base + (i << level_shift(level));
		uint64_t found;

		if (level)
			found = next_below(entry_get(&inner_of(node)->entry[i]), level - 1, at,
					   first, last);
		else
			found = atomic_load(&leaf_of(node)->slot[i]) == SLOT_EMPTY ? PAGES_MAX : at;
		if (found < PAGES_MAX)
			return found;
	}
	return PAGES_MAX;
}

uint64_t pages_next(const struct pages *p, uint64_t first, uint64_t end)
{
	entry_t root = entry_get(&p->root);
	unsigned level = entry_is_mark(root) ? TOP_LEVEL : entry_node(root)->level;

	if (first >= end || first >= level_span(level))
		return end;
	return min_u64(next_below(root, level, 0, first, end - 1), end);
}

/* ---- Count ---- */

static uint64_t count_below(entry_t e, unsigned level, uint64_t base, uint64_t first, uint64_t last)
{
	struct page_node *node = entry_node(e);
	uint64_t n = 0;

	if (entry_is_mark(e))
		return 0;
	if (first <= base && base + level_span(level) - 1 <= last)
		return node->frames;
	for (uint64_t i = (max_u64(first, base) - base) >> level_shift(level);
	     i < PAGES_FANOUT && base + (i << level_shift(level)) <= last; i++) {
		if (level)
			n += count_below(entry_get(&inner_of(node)->entry[i]), level - 1,
					 base + (i << level_shift(level)), first, last);
		else
			n += slot_is_frame(atomic_load(&leaf_of(node)->slot[i]));
	}
	return n;
}

uint64_t pages_count(const struct pages *p, uint64_t first, uint64_t n)
{
	entry_t root = entry_get(&p->root);

	if (n == 0 || entry_is_mark(root) || first >= level_span(entry_node(root)->level))
		return 0;
	return count_below(root, entry_node(root)->level, 0, first, first + n - 1);
}

/* ---- Sharers ---- */

struct sharers {
	struct pages *family;
	unsigned lowest; /* level of a root in the family */
	void (*fn)(void *arg, uint64_t sharers, uint64_t frames);
	void *arg;
};

/* So many more trees see e: put it on the list of its stretch. */
static void list_add(struct page_node **list, entry_t e, uint32_t seen)
{
	struct page_node *node = entry_node(e);

	if (entry_is_mark(e))
		return;
	if (!node->seen) {
		node->alike = *list;
		*list = node;
	}
	node->seen += seen;
}

/* The roots of this level: they begin the stretch at index 0. */
static void list_add_roots(struct page_node **list, const struct pages *family, unsigned level)
{
	for (const struct pages *p = family; p; p = p->sibling) {
		entry_t root = entry_get(&p->root);

		if (!entry_is_mark(root) && entry_node(root)->level == level)
			list_add(list, root, 1);
	}
}

static void list_end(struct page_node *list)
{
	while (list) {
		struct page_node *next = list->alike;

		list->alike = NULL;
		list->seen = 0;
		list = next;
	}
}

/* A frame's leaves are all on the list: the frame stands at one index in all its trees. */
static void leaf_sharers(const struct sharers *s, struct page_node *list, struct page_node *mine)
{
	for (unsigned i = 0; i < PAGES_FANOUT; i++) {
		slot_t frame = atomic_load(&leaf_of(mine)->slot[i]);
		uint64_t seen = 0;

		if (!slot_is_frame(frame))
			continue;
		for (struct page_node *n = list; n; n = n->alike)
			if (atomic_load(&leaf_of(n)->slot[i]) == frame)
				seen += n->seen;
		s->fn(s->arg, seen, 1);
	}
}

/* list: all nodes of a stretch; mine: the tree's node among them, or its root, if that is of a
 * lower level and so below none of them. */
static void stretch_sharers(const struct sharers *s, struct page_node *list, unsigned level,
			    uint64_t base, entry_t mine, unsigned mine_level)
{
	struct page_node *node = entry_node(mine);

	if (level == mine_level && !list->alike && (base || level <= s->lowest)) {
		if (node->frames)
			s->fn(s->arg, node->seen, node->frames);
		return;
	}
	if (level == 0) {
		leaf_sharers(s, list, node);
		return;
	}
	for (unsigned i = 0; i < PAGES_FANOUT; i++) {
		struct page_node *below = NULL;
		entry_t e = mine;

		if (level == mine_level)
			e = entry_get(&inner_of(node)->entry[i]);
		else if (i)
			break;
		if (entry_is_mark(e))
			continue;
		for (struct page_node *n = list; n; n = n->alike)
			list_add(&below, entry_get(&inner_of(n)->entry[i]), n->seen);
		if (base == 0 && i == 0)
			list_add_roots(&below, s->family, level - 1);
		stretch_sharers(s, below, level - 1, base + ((uint64_t)i << level_shift(level)), e,
				level == mine_level ? level - 1 : mine_level);
		list_end(below);
	}
}

void pages_sharers(struct pages *first, const struct pages *tree,
		   void (*fn)(void *arg, uint64_t sharers, uint64_t frames), void *arg)
{
	struct sharers s = {.family = first, .lowest = TOP_LEVEL, .fn = fn, .arg = arg};
	entry_t root = entry_get(&tree->root);
	struct page_node *list = NULL;
	unsigned top = 0;

	if (entry_is_mark(root))
		return;
	for (const struct pages *p = first; p; p = p->sibling) {
		entry_t e = entry_get(&p->root);

		if (entry_is_mark(e))
			continue;
		if (entry_node(e)->level > top)
			top = entry_node(e)->level;
		if (entry_node(e)->level < s.lowest)
			s.lowest = entry_node(e)->level;
	}
	list_add_roots(&list, first, top);
	stretch_sharers(&s, list, top, 0, root, entry_node(root)->level);
	list_end(list);
}
