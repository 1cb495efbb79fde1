/* SPDX-License-Identifier: MIT */
/*
 * map.h: a mapping, and the rules by which a face uses mappings.
 *
 * A mapping is an immutable value: [start, last] shows an object from `off` on, with rights. It is
 * addressed by (space, address); there is no handle. A protection range is a mapping of its own.
 */
#ifndef SPACE_MAP_H
#define SPACE_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/range.h"

struct vms_object;
struct rmap;

struct map {
	uint64_t start, last;	/* bytes, both included, page aligned */
	struct vms_object *obj; /* referenced by the tree (own_ident: by the rmap), lent in copies */
	uint64_t off;		/* the object's byte at start */
	union {
		uint64_t ident;	   /* merge identity; 0: none yet (merges with any) */
		struct rmap *rmap; /* own_ident: what stands for it in its object (rmap.h) */
	};
	uint32_t flags;		/* the face's own; part of what must be equal to merge */
	uint8_t prot;		/* VMS_PROT_* */
	uint8_t ceiling;	/* the most that prot may become */
	uint8_t inherited;	/* ident came from a forked parent; judged by may_merge alone */
	uint8_t mark;		/* the planner's own, 0 everywhere else */
};

#define MAP_CLASSES 8

/* What a face decides. All are pure functions of their arguments. */
struct map_rules {
	/*
	 * May two neighbours become one? Asked only when they touch, show consecutive bytes of
	 * one object, agree in flags, prot and ceiling, and their idents are equal or one is 0.
	 * NULL: yes.
	 */
	bool (*may_merge)(const struct map *left, const struct map *right);
	/* Bit k set: the mapping's bytes count in map_counts.bytes[k]. NULL: none. */
	uint32_t (*classes)(const struct map *m);
	/* Bytes below the mapping that placement must leave free. NULL: none. */
	uint64_t (*guard)(const struct map *m, const void *arg);
	const void *arg; /* for guard */
	/*
	 * The identity is the face's own: it is not compared, may_merge decides, and whoever puts
	 * mappings into the tree gives each its own (change.c). The face also holds the references
	 * of objects.
	 */
	bool own_ident;
};

/* Sums modulo 2^64: one mapping of the whole 64-bit space counts 0 bytes. */
struct map_counts {
	uint64_t n; /* mappings */
	uint64_t bytes[MAP_CLASSES];
};

/* The small questions are inline: an edit asks them a dozen times. */

/* Equal as values, identity included. */
static inline bool map_equal(const struct map *a, const struct map *b)
{
	return a->start == b->start && a->last == b->last && a->obj == b->obj && a->off == b->off &&
	       a->ident == b->ident && a->flags == b->flags && a->prot == b->prot &&
	       a->ceiling == b->ceiling && a->inherited == b->inherited;
}

/* Does right continue left: touching, consecutive bytes, equal rights and flags? Not ident. */
static inline bool map_continues(const struct map *left, const struct map *right)
{
	/* A left that ends at the last byte of the space has no right: start 0 is never above it.
	 */
	return left->last + 1 == right->start && left->prot == right->prot &&
	       left->start < right->start && left->obj == right->obj &&
	       left->off + (right->start - left->start) == right->off &&
	       left->flags == right->flags && left->ceiling == right->ceiling;
}

/* Do two neighbours become one? The whole merge rule: continues, ident, may_merge. */
static inline bool map_mergeable(const struct map_rules *rules, const struct map *left,
				 const struct map *right)
{
	return map_continues(left, right) &&
	       (rules->own_ident || left->ident == right->ident || left->ident == 0 ||
		right->ident == 0) &&
	       (!rules->may_merge || rules->may_merge(left, right));
}

/* left grows over right and takes an ident that it lacks (with its inherited mark). */
static inline void map_merge(struct map *left, const struct map *right)
{
	left->last = right->last;
	if (left->ident == 0) {
		left->ident = right->ident;
		left->inherited = right->inherited;
	}
}

/*
 * The part of m inside [start, last], which it overlaps: the object offset follows. Field by field:
 * to copy what was written in smaller pieces a moment ago costs more than to make it again.
 */
static inline struct map map_cut(const struct map *m, uint64_t start, uint64_t last)
{
	uint64_t from = max_u64(m->start, start);

	return (struct map){.start = from,
			    .last = min_u64(m->last, last),
			    .obj = m->obj,
			    .off = m->off + (from - m->start),
			    .ident = m->ident,
			    .flags = m->flags,
			    .prot = m->prot,
			    .ceiling = m->ceiling,
			    .inherited = m->inherited,
			    .mark = m->mark};
}

/* Add m to the counts, or take it out. */
void map_count(const struct map_rules *rules, struct map_counts *c, const struct map *m);
void map_uncount(const struct map_rules *rules, struct map_counts *c, const struct map *m);
/* `to` of the same bytes comes in the place of `from`. */
void map_recount(const struct map_rules *rules, struct map_counts *c, const struct map *from,
		 const struct map *to);

#endif
