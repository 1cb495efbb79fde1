// SPDX-License-Identifier: MIT
/*
 * tree_gap.c: the highest and the lowest free run of a length, by the gaps that the nodes keep
 * (tree.c, inv. 4). It only looks.
 */
#include "base/range.h"
#include "space/tree.h"
#include "space/tree_node.h"

struct gap_search {
	uint64_t lo, hi; /* inside the tree's bounds */
	uint64_t len;
	uint64_t top; /* the highest start that ends inside hi */
	uint64_t addr;
};

/* Bounds and top; false: no room for it even if all were free. */
static bool gap_begin(const struct tree *t, struct gap_search *s, uint64_t lo, uint64_t hi,
		      uint64_t len)
{
	s->lo = max_u64(lo, t->first);
	s->hi = min_u64(hi, t->last);
	s->len = len;
	if (len == 0 || s->lo > s->hi || s->hi - s->lo < len - 1)
		return false;
	s->top = s->hi - (len - 1);
	return true;
}

/* Is there room in [from, to]? */
static bool gap_fits(struct gap_search *s, uint64_t from, uint64_t to, bool down)
{
	from = max_u64(from, s->lo);
	to = min_u64(to, s->hi);
	if (from > to || to - from < s->len - 1)
		return false;
	s->addr = down ? to - (s->len - 1) : from;
	return true;
}

/* The free run above the last mapping. */
static bool gap_above(const struct tree *t, struct gap_search *s, bool down)
{
	uint64_t last;

	if (!t->root)
		return gap_fits(s, t->first, t->last, down);
	last = t->root->key[t->root->n - 1];
	return last < t->last && gap_fits(s, last + 1, t->last, down);
}

/*
 * Under the node, whose first free byte is `from`. A slot is entered only if its largest gap is
 * long enough; then only the slots that hold lo and hi, one of each a level, can disappoint.
 */
static bool gap_down(const struct tree_node *node, unsigned level, uint64_t from,
		     struct gap_search *s)
{
	unsigned i = below(node, s->hi);

	i = i < node->n ? i + 1 : node->n;
	while (i-- > 0) {
		uint64_t start = i ? node->key[i - 1] + 1 : from;

		if (node->gap[i] >= s->len && start <= s->top &&
		    (level ? gap_down(node->child[i], level - 1, start, s)
			   : gap_fits(s, start, start + (node->gap[i] - 1), true)))
			return true;
		if (start <= s->lo)
			return false;
	}
	return false;
}

static bool gap_up(const struct tree_node *node, unsigned level, uint64_t from,
		   struct gap_search *s)
{
	for (unsigned i = below(node, s->lo); i < node->n; i++) {
		uint64_t start = i ? node->key[i - 1] + 1 : from;

		if (start > s->top)
			return false;
		if (node->gap[i] >= s->len &&
		    (level ? gap_up(node->child[i], level - 1, start, s)
			   : gap_fits(s, start, start + (node->gap[i] - 1), false)))
			return true;
	}
	return false;
}

bool tree_gap_down(const struct tree *t, uint64_t lo, uint64_t hi, uint64_t len, uint64_t *addr)
{
	struct gap_search s;
	bool found = gap_begin(t, &s, lo, hi, len) &&
		     (gap_above(t, &s, true) ||
		      (t->root && gap_down(t->root, t->height - 1, t->first, &s)));

	if (found)
		*addr = s.addr;
	return found;
}

bool tree_gap_up(const struct tree *t, uint64_t lo, uint64_t hi, uint64_t len, uint64_t *addr)
{
	struct gap_search s;
	bool found = gap_begin(t, &s, lo, hi, len) &&
		     ((t->root && gap_up(t->root, t->height - 1, t->first, &s)) ||
		      gap_above(t, &s, false));

	if (found)
		*addr = s.addr;
	return found;
}
