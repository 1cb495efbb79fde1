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
 * after it cannot be found any more, then freed. So who finds the mapping in the tree while he holds
 * the family's lock, and installs what he sees under the same hold, installs nothing that stays too
 * long: the edit that takes the mapping away passes through that lock before it empties the range.
 */
#ifndef SPACE_RMAP_H
#define SPACE_RMAP_H

#include "mmu/backend.h"
#include "object/content.h"
#include "object/shown.h"
#include "space/map.h"

struct region;

struct rmap {
	struct shown shown;	 /* [F] */
	struct vms_mmu *mmu;	 /* [I] */
	struct vms_object *obj;	 /* [I] a view; the mapping holds the reference */
	struct content *content; /* [I] of the view */
	struct region *region;	 /* [I] where the mapping lies: mappings of two never merge */
	uint64_t start, last;	 /* [I] addresses, both included */
	uint64_t off;		 /* [I] the content's byte at start: a slice's window is added */
	bool linked;		 /* [s] in the content's tree */
	bool high;		 /* [s] counts as one of the content's high mappings */
};

/* Not linked. NULL: no memory. m->obj is a view; off of the mapping is the view's. */
struct rmap *rmap_new(const struct world *w, struct vms_mmu *mmu, struct region *region,
		      const struct map *m);
void rmap_free(const struct world *w, struct rmap *r); /* NULL is fine */
/* Is it the rmap of exactly this mapping? */
bool rmap_fits(const struct rmap *r, const struct map *m);
/* Both take the family's lock. unlink is also what an edit passes through: see above. */
void rmap_link(struct rmap *r) EXCLUDES(r->content->family->lock);
void rmap_unlink(struct rmap *r) EXCLUDES(r->content->family->lock);
/* Wait for who installs something for this mapping right now. */
void rmap_pass(struct rmap *r) EXCLUDES(r->content->family->lock);

#endif
