// SPDX-License-Identifier: MIT
/*
 * tree.c: the mappings of a space by address. For now one sorted array: simple and right.
 */
#include "space/tree.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/range.h"

struct tree_node {
	size_t room;
	struct map map[];
};

static size_t node_size(size_t room)
{
	return sizeof(struct tree_node) + room * sizeof(struct map);
}

void tree_init(struct tree *t, const struct world *w, const struct map_rules *rules, uint64_t first,
	       uint64_t last)
{
	*t = (struct tree){.world = w, .rules = rules, .first = first, .last = last};
}

void tree_fini(struct tree *t)
{
	if (t->root)
		t->world->free(t->world, t->root, node_size(t->root->room));
	t->root = NULL;
	t->n = 0;
}

/* The first that ends at or above addr; n if none. */
static size_t position(const struct tree *t, uint64_t addr)
{
	size_t at = 0, n = t->n;

	while (n) {
		size_t half = n / 2;

		if (t->root->map[at + half].last < addr) {
			at += half + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	return at;
}

bool tree_find(const struct tree *t, uint64_t addr, struct map *out)
{
	size_t at = position(t, addr);

	if (at < t->n)
		*out = t->root->map[at];
	return at < t->n;
}

bool tree_find_below(const struct tree *t, uint64_t addr, struct map *out)
{
	size_t at = position(t, addr);

	if (at < t->n && t->root->map[at].start < addr)
		at++;
	if (at > 0)
		*out = t->root->map[at - 1];
	return at > 0;
}

size_t tree_copy(const struct tree *t, uint64_t first, uint64_t last, struct map *out, size_t room)
{
	size_t n = 0;

	for (size_t at = position(t, first);
	     n < room && at < t->n && t->root->map[at].start <= last; at++)
		out[n++] = t->root->map[at];
	return n;
}

int tree_reserve(struct tree *t, size_t splices, size_t n_new)
{
	size_t room = t->root ? t->root->room : 0;
	struct tree_node *bigger;

	if (t->n + n_new <= room)
		return 0;
	room = (t->n + n_new) * 2;
	bigger = t->world->alloc(t->world, node_size(room));
	if (!bigger)
		return -ENOMEM;
	bigger->room = room;
	if (t->root) {
		memcpy(bigger->map, t->root->map, t->n * sizeof(struct map));
		t->world->free(t->world, t->root, node_size(t->root->room));
	}
	t->root = bigger;
	return 0;
}

void tree_replace(struct tree *t, uint64_t first, uint64_t last, const struct map *in, size_t n_in)
{
	size_t from = position(t, first), to = from;

	while (to < t->n && t->root->map[to].start <= last)
		to++;
	memmove(t->root->map + from + n_in, t->root->map + to, (t->n - to) * sizeof(struct map));
	memcpy(t->root->map + from, in, n_in * sizeof(struct map));
	t->n = t->n - (to - from) + n_in;
}

void tree_trim(struct tree *t)
{
}

/* The free run below mapping i (i == n: below the upper bound), less its guard. False: none. */
static bool free_below(const struct tree *t, size_t i, uint64_t *from, uint64_t *to)
{
	uint64_t guard = 0;

	if (i > 0 && t->root->map[i - 1].last >= t->last)
		return false;
	*from = i > 0 ? t->root->map[i - 1].last + 1 : t->first;
	*to = t->last;
	if (i < t->n) {
		const struct map *m = &t->root->map[i];

		guard = t->rules->guard ? t->rules->guard(m, t->rules->arg) : 0;
		if (m->start <= *from || m->start - *from <= guard)
			return false;
		*to = m->start - 1 - guard;
	}
	return true;
}

static bool fits(uint64_t from, uint64_t to, uint64_t lo, uint64_t hi, uint64_t len, bool down,
		 uint64_t *addr)
{
	from = max_u64(from, lo);
	to = min_u64(to, hi);
	if (from > to || to - from < len - 1)
		return false;
	*addr = down ? to - (len - 1) : from;
	return true;
}

bool tree_gap_down(const struct tree *t, uint64_t lo, uint64_t hi, uint64_t len, uint64_t *addr)
{
	uint64_t from, to;

	for (size_t i = t->n + 1; len && i-- > 0;)
		if (free_below(t, i, &from, &to) && fits(from, to, lo, hi, len, true, addr))
			return true;
	return false;
}

bool tree_gap_up(const struct tree *t, uint64_t lo, uint64_t hi, uint64_t len, uint64_t *addr)
{
	uint64_t from, to;

	for (size_t i = 0; len && i <= t->n; i++)
		if (free_below(t, i, &from, &to) && fits(from, to, lo, hi, len, false, addr))
			return true;
	return false;
}

const char *tree_validate(const struct tree *t)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct map *m = &t->root->map[i];

		if (m->start > m->last || m->start < t->first || m->last > t->last)
			return "tree 1: a mapping outside the bounds";
		if (i && m[-1].last >= m->start)
			return "tree 1: mappings out of order or overlapping";
	}
	return NULL;
}
