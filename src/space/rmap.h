/* SPDX-License-Identifier: MIT */
/*
 * rmap.h: the reverse map: by which a mapping is found from its object's pages.
 *
 * Each mapping of a space over objects has one rmap, with exactly its bytes, in its content's tree
 * (object/shown.h). When pages change, the content tells the rmap under its family's lock, and the
 * rmap takes the entries out of the backend: it knows all that takes by itself, and no space.
 *
 * A mapping's value in the tree points to its rmap (map.rmap). Bounds, object and region of an rmap
 * never change: a mapping that is cut, or grows, gets another one. Rights are not its business.
 *
 * Life: made by a prepare, put into the content's tree before the mapping can be found, taken out
 * when it cannot be found any more and its entries have gone, then dropped. So who finds the
 * mapping in the tree while he holds the family's lock, and installs what he sees under the same
 * hold, installs nothing that stays too long: the edit that takes the mapping away passes through
 * that lock before it empties the range. And as long as there are entries, the content tells of
 * them.
 *
 * An rmap's fields may be read by who found its mapping under the lock of its family (space_still):
 * none is dropped before the edit has passed through that lock.
 */
#ifndef SPACE_RMAP_H
#define SPACE_RMAP_H

#include "mmu/backend.h"
#include "object/content.h"
#include "object/shown.h"
#include "space/map.h"

struct region;

/*
 * Under one hold of the lock a fault changes pages and shows them itself afterwards: meanwhile the
 * rmap takes no entry of theirs out, as it will be replaced. That is right where an old entry shows
 * what nobody changes under this hold, to no one who could write: a frame that others have.
 */
struct rmap_guard {
	uint64_t first, last; /* pages of the content */
	bool missed;	      /* entries were left in for these: */
	uint64_t from, to;    /* pages */
};

struct rmap {
	struct shown shown;	 /* [F] */
	struct vms_mmu *mmu;	 /* [I] */
	struct vms_object *obj;	 /* [I] a view; the mapping's reference */
	struct content *content; /* [I] of the view */
	struct region *region;	 /* [I] where the mapping lies: mappings of two never merge */
	uint64_t start, last;	 /* [I] addresses, both included */
	uint64_t off;		 /* [I] the content's byte at start: a slice's window is added */
	uint64_t view_off;	 /* [I] map.off: the view's byte at start */
	struct rmap *next;	 /* [s] among those that an edit makes or drops, or the spare */
	struct rmap_guard *guard; /* [F] the fault's, or NULL */
	bool linked;		 /* [F] in the content's tree */
	bool high;		 /* [F] counts as one of the content's high mappings, if linked */
};

/* In given memory; not linked. Takes a reference of m->obj, a view; m->off is the view's. */
void rmap_init(struct rmap *r, struct vms_mmu *mmu, struct region *region, const struct map *m);
/* rmap_init in memory of its own. NULL: none. */
struct rmap *rmap_new(const struct world *w, struct vms_mmu *mmu, struct region *region,
		      const struct map *m);
/* Of one that is not linked: m shows the same object, in the same region. */
void rmap_set_bounds(struct rmap *r, const struct map *m);
/* Drops the object, and may end it: no lock is held. NULL is fine. */
void rmap_free(const struct world *w, struct rmap *r);
/* Is it the rmap of exactly this mapping? */
static inline bool rmap_fits(const struct rmap *r, const struct map *m)
{
	return r->start == m->start && r->last == m->last && r->obj == m->obj &&
	       r->view_off == m->off;
}

/* These take the family's lock. */
void rmap_link(struct rmap *r) EXCLUDES(r->content->family->lock);
void rmap_unlink(struct rmap *r) EXCLUDES(r->content->family->lock); /* its entries have gone */
/* Wait for who installs something for this mapping right now. */
void rmap_pass(struct rmap *r) EXCLUDES(r->content->family->lock);
/* Pages that it shows are not reclaimed, or may be again. */
void rmap_set_high(struct rmap *r, bool high) EXCLUDES(r->content->family->lock);
/* The same for who has the lock. */
void rmap_link_locked(struct rmap *r) REQUIRES(r->content->family->lock);
void rmap_unlink_locked(struct rmap *r) REQUIRES(r->content->family->lock);

void rmap_guard(struct rmap *r, struct rmap_guard *g) REQUIRES(r->content->family->lock);
/* The guard's end, in the same hold: entries that were left in go now. Without one: nothing. */
void rmap_unguard(struct rmap *r) REQUIRES(r->content->family->lock);

/* The validator: 0, or -EINVAL and a sentence. m is its mapping, which stands. */
int rmap_check(struct rmap *r, const struct map *m) EXCLUDES(r->content->family->lock);

#endif
