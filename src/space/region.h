/* SPDX-License-Identifier: MIT */
/*
 * region.h: the regions of a space: nested spans of addresses, each with a ceiling of rights.
 *
 * Regions hold no mappings, only bounds: which region a mapping belongs to follows from where it
 * lies. The theory and the invariants open region.c.
 *
 * Errors leave a sentence. What the errnos mean here:
 *	-EINVAL   a bad argument, or a range that is where it cannot be
 *	-EBUSY    the region is dead			-EACCES  a right that the region lacks
 *	-EEXIST   the range asked for is taken		-ENOSPC  no room
 *	-ENOTSUP  the root cannot be destroyed alone	-ENOMEM  no memory; nothing changed
 *
 * Locks: callers hold the space's lock in all calls but region_ref() and region_unref(). Letters:
 * [i] never changes, [s] the space's lock, [a] atomic.
 */
#ifndef SPACE_REGION_H
#define SPACE_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/world.h"
#include "space/place.h"

/* Rights of a region: VMS_PROT_READ, _WRITE, _EXEC, and to say where in it things go. */
#define REGION_SPECIFIC 8u
#define REGION_RIGHTS	15u

enum region_priority {
	REGION_DEFAULT,
	REGION_HIGH,
};

struct vms_space;

struct region {
	const struct world *world; /* [i] */
	struct vms_space *space;   /* [i] whose root it is, or its parent's; NULL: none */
	struct region_tree *tree;  /* [s] NULL: dead */
	struct region *parent;	   /* [s] NULL: the root, or dead */
	uint64_t first, last;	   /* [i] both included */
	uint64_t page;		   /* [i] the tree's */
	uint32_t rights;	   /* [i] the ceiling */
	enum region_priority priority; /* [s] */
	_Atomic(uint32_t) refs;	       /* [a] the tree's, and those of handles */

	struct region *children; /* [s] the top of the children's tree */
	/* [s] Among the siblings: */
	struct region *up, *left, *right;
	uint64_t heap;	 /* [i] a node's number is at least those below it */
	uint64_t lo, hi; /* first and last byte of what is at and below this node */
	uint64_t gap;	 /* bytes of the largest gap between two neighbours there */
};

struct region_tree {
	const struct world *world;
	uint64_t page;
	struct taken maps; /* the mappings of the space, whole pages */
	struct region *root;
	size_t n;	 /* live regions, the root among them */
	uint64_t heap;	 /* generator of heap numbers */
	uint64_t random; /* generator of placements */
	bool seeded;	 /* false: placement is first fit, whatever the entropy */
};

enum place_flags {
	PLACE_AT = 1,	   /* at offset, and nowhere else */
	PLACE_BELOW = 2,   /* end at or below offset */
	PLACE_COMPACT = 4, /* keep near the start: less entropy */
	PLACE_OVER = 8,	   /* mappings only, with PLACE_AT: over mappings that stand there */
};

struct placement {
	uint32_t flags;
	uint64_t offset;  /* from the start of the region; 0 without AT and BELOW */
	uint64_t size;	  /* > 0, whole pages */
	uint64_t align;	  /* of the address: a power of two, 2^10 to 2^32; 0: a page */
	unsigned entropy; /* bits, at most PLACE_MAX_BITS; 0: first fit */
};

/*
 * A tree with a root over [first, last] that has all rights. Nothing may stand outside.
 * page is a power of two > 1; seed NULL: no random placement. 0, -EINVAL or -ENOMEM.
 */
int region_tree_init(struct region_tree *t, const struct world *w, uint64_t page, uint64_t first,
		     uint64_t last, struct taken maps, const uint64_t *seed);
/* All regions die, the root too. Handles stay valid until their region_unref(). */
void region_tree_fini(struct region_tree *t);

/* What is wrong with flags, align and entropy in themselves: -EINVAL. No lock is needed. */
int placement_check(const struct placement *p);

/* No lock is needed. A handle of a dead region may be held, and is useless. */
struct region *region_ref(struct region *r);
void region_unref(struct region *r); /* NULL: nothing */
static inline bool region_is_dead(const struct region *r)
{
	return !r->tree;
}

/*
 * A child of r with these rights. *child is a reference. Errors are looked for in this order:
 *	-EINVAL unknown rights or flags, align, entropy; -EBUSY; -EINVAL size 0; -EACCES rights;
 *	-EINVAL AT with BELOW; -EINVAL an offset with neither; -EINVAL not whole pages;
 *	-EACCES AT or BELOW in a region without REGION_SPECIFIC; -EINVAL outside r;
 *	-EINVAL AT a place that is not aligned; -EEXIST; -ENOSPC; -ENOMEM
 */
int region_create(struct region *r, const struct placement *p, uint32_t rights,
		  struct region **child);
/*
 * Where a mapping with these rights may stand in r: the same answers in the same order, and
 * -EINVAL for PLACE_OVER without PLACE_AT (a bad flag), and over a child region.
 */
int region_place(struct region *r, const struct placement *p, uint32_t rights, uint64_t *first);
/* r and all below it die. => the mappings in its span are gone. 0, -EBUSY, -ENOTSUP (the root). */
int region_destroy(struct region *r);
/* What region_destroy() would say. */
int region_may_destroy(const struct region *r);

enum region_children {
	CHILDREN_WHOLE, /* each lies inside the range: unmap */
	CHILDREN_NONE,	/* none is touched: overwrite, commit; and "not the children" */
	CHILDREN_ANY,	/* may be cut: protect, hints */
};

/*
 * Is this a range for an operation on r? size is rounded up to pages. In this order: -EINVAL empty,
 * not on a page, past 2^64, outside r; -EBUSY; -EINVAL a child in the way.
 */
int region_range(const struct region *r, uint64_t first, uint64_t size, enum region_children how,
		 uint64_t *last);
/* The children inside [first, last], which region_range() found whole, die. Cannot fail. */
void region_clear(struct region *r, uint64_t first, uint64_t last);

/* The child of r that holds addr, or the first above it. NULL: none, or r is dead. */
struct region *region_at_or_above(const struct region *r, uint64_t addr);
/* The child of r that holds addr. NULL: none. */
struct region *region_find(const struct region *r, uint64_t addr);
/* The innermost region that holds addr. NULL: addr is outside the root. */
struct region *region_innermost(const struct region_tree *t, uint64_t addr);
/* Is [first, last] inside r, and free of children and mappings? */
bool region_available(const struct region *r, uint64_t first, uint64_t last);

/* Of r and all below it, now and later. 0, -EINVAL or -EBUSY. */
int region_set_priority(struct region *r, enum region_priority priority);

/*
 * A walk over what is in r and touches [from, last]: depth first, a region before what is in it.
 * Between two steps the lock may be dropped and anything may change: the walk goes on at the next
 * address, so it sees what was put in above it and not what was put in below.
 */
struct region_walk {
	struct region *top;
	uint64_t from, last; /* the window */
	bool maps_only;
	/* What comes next starts at next or above, and at next it is at least this deep. */
	uint64_t next;
	size_t depth;
	bool done;
};

struct region_item {
	struct region *region; /* lent; of a mapping: the region that holds it */
	bool is_map;
	uint64_t first, last;
	size_t depth; /* 1: a child of the walk's region, or a mapping right in it */
};

void region_walk_init(struct region_walk *w, struct region *top, uint64_t from, uint64_t last,
		      bool maps_only); /* takes a reference */
/* 1: an item, 0: the end, -EBUSY: the walk's region is dead. */
int region_walk_next(struct region_walk *w, struct region_item *item);
void region_walk_fini(struct region_walk *w);

/* NULL, or the broken invariant as a sentence. */
const char *region_validate(const struct region_tree *t);

#endif
