// SPDX-License-Identifier: MIT
/*
 * map.c: counting mappings.
 */
#include "space/map.h"

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

void map_recount(const struct map_rules *rules, struct map_counts *c, const struct map *from,
		 const struct map *to)
{
	uint32_t before = rules->classes ? rules->classes(from) : 0;
	uint32_t after = rules->classes ? rules->classes(to) : 0, changed = before ^ after;
	uint64_t bytes = to->last - to->start + 1;

	for (; changed; changed &= changed - 1) {
		unsigned k = (unsigned)__builtin_ctz(changed);

		if (k < MAP_CLASSES)
			c->bytes[k] += after & (1u << k) ? bytes : -bytes;
	}
}
