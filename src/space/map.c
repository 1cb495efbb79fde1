// SPDX-License-Identifier: MIT
/*
 * map.c: what can be said of one mapping, or of two that are neighbours.
 */
#include "space/map.h"

#include "base/range.h"

bool map_equal(const struct map *a, const struct map *b)
{
	return a->start == b->start && a->last == b->last && a->obj == b->obj && a->off == b->off &&
	       a->ident == b->ident && a->flags == b->flags && a->prot == b->prot &&
	       a->ceiling == b->ceiling && a->inherited == b->inherited;
}

bool map_continues(const struct map *left, const struct map *right)
{
	/* A left that ends at the last byte of the space has no right: start 0 is never above it.
	 */
	return left->last + 1 == right->start && left->start < right->start &&
	       left->obj == right->obj && left->off + (right->start - left->start) == right->off &&
	       left->flags == right->flags && left->prot == right->prot &&
	       left->ceiling == right->ceiling;
}

bool map_mergeable(const struct map_rules *rules, const struct map *left, const struct map *right)
{
	return map_continues(left, right) &&
	       (left->ident == right->ident || left->ident == 0 || right->ident == 0) &&
	       (!rules->may_merge || rules->may_merge(left, right));
}

void map_merge(struct map *left, const struct map *right)
{
	left->last = right->last;
	if (left->ident == 0) {
		left->ident = right->ident;
		left->inherited = right->inherited;
	}
}

struct map map_cut(const struct map *m, uint64_t start, uint64_t last)
{
	struct map part = *m;

	part.start = max_u64(m->start, start);
	part.last = min_u64(m->last, last);
	part.off = m->off + (part.start - m->start);
	return part;
}

/* sign: 1, or UINT64_MAX for -1. */
static inline void count(const struct map_rules *rules, struct map_counts *c, const struct map *m,
			 uint64_t sign)
{
	uint32_t classes = rules->classes ? rules->classes(m) : 0;
	uint64_t bytes = (m->last - m->start + 1) * sign;

	c->n += sign;
	for (; classes; classes &= classes - 1) {
		unsigned k = (unsigned)__builtin_ctz(classes);

		if (k < MAP_CLASSES)
			c->bytes[k] += bytes;
	}
}

void map_count(const struct map_rules *rules, struct map_counts *c, const struct map *m)
{
	count(rules, c, m, 1);
}

void map_uncount(const struct map_rules *rules, struct map_counts *c, const struct map *m)
{
	count(rules, c, m, UINT64_MAX);
}
