/* SPDX-License-Identifier: MIT */
/*
 * vspace.h: what stands behind the public handle of a space over objects (vmspace/space.h).
 *
 *	vspace.c	life, information, the validator
 *	rmap.c		the reverse map
 *	change.c	the edit: what a commit does to tree, reverse map and backend, in which order
 *	stretch.c	the same without a plan, for what almost every edit is
 *	edits.c		map, unmap, protect, move, and the calls on regions
 *	spot.c		finding a mapping for an access, and holding it still
 *	runs.c		what is on an object's pages, in pieces that a backend can be shown
 *	fault.c		the fault, and populating
 *	signal.c	the fault of a SIGSEGV or SIGBUS
 *	bytes.c		read, write, strings, one-instruction accesses
 *	range.c		operations on ranges
 *	walk.c		find, next, walk
 *	branch.c	a copy of a whole space
 *	dump.c		for people and programs
 *
 * Lock letters: [I] never changes, [s] space.lock, [A] atomic.
 */
#ifndef SPACE_VSPACE_H
#define SPACE_VSPACE_H

#include "space/quick.h"
#include "space/region.h"
#include "space/rmap.h"
#include "space/space.h"
#include "vmspace/space.h"

#define COUNT_STRIPES 16u

/* What faults count; each thread in a stripe of its own, as far as there are enough. */
enum count {
	COUNT_RESULT, /* + enum vms_fault_result */
	COUNT_OWN = COUNT_RESULT + (int)VMS_FAULT_NO_MEMORY + 1,
	COUNT_ANCESTOR,
	COUNT_ZERO,
	COUNT_COPIED,
	COUNT_FRESH,
	COUNT_AROUND,
	COUNT_AGAIN,
	COUNTS,
};

struct counts {
	_Atomic(uint64_t) n[COUNTS];
} __attribute__((aligned(128)));

struct vms_space {
	/* Lock, tree, edit. Its `mmu` is NULL: that one is a Linux guest's window. Its maps have an
	 * rmap, an obj that is a view, and VMS_MAP_* as flags (POPULATE aside). */
	struct space space;
	struct vms_mmu *mmu;	    /* [I] referenced; entries != NULL, attached */
	struct region_tree regions; /* [s] */
	struct rmap *spare;	    /* [s] memory of rmaps, by .next: edits take it from here */
	unsigned n_spare;	    /* [s] */
	atomic_uint refs;
	uint64_t id;	  /* [I] unique in the process, never reused: caches of threads */
	uint64_t granule; /* [I] bytes: the smaller of guest page and host page */
	uint64_t around;  /* [I] bytes that a fault may install */
	void *block;	  /* [I] as allocated: counts are aligned */
	struct counts counts[COUNT_STRIPES]; /* [A] */
};

void count_add(struct vms_space *s, unsigned count, uint64_t n);

/* ---- Edits (change.c) ---- */

/*
 * One transaction on a space over objects, as struct edit is one on its tree:
 *
 *	change_init → change_unmap, change_map, change_update in any number and order
 *	            → change_prepare → change_commit  (or change_abort at any point before)
 *	            → (the space's lock is dropped) → change_end
 *
 * The space's lock is held from init to commit or abort. Prepare may fail, commit cannot. Commit, in
 * this order:
 *
 *	1 rmaps of what comes are linked
 *	2 the tree is spliced
 *	3 the families of what went, and of what changed its rights, are passed: who was installing
 *	  has finished, and who comes later finds the new tree
 *	4 the backend loses what went, and the rights that were taken (an event each)
 *	5 rmaps of what went are unlinked: as long as there were entries the objects told of them
 *	6 objects and rmaps that went are dropped (change_end, no lock is held: ends may call back)
 *
 * An eager backend is filled by the caller after the lock is dropped (space_fill).
 */
#define CHANGE_DROPS 4u /* a stretch drops no more */

struct change {
	struct vms_space *s;
	struct edit edit;
	struct rmap *fresh; /* made for this change, not linked; by .next */
	struct rmap *went;  /* to be dropped at the end; by .next */
	/* Of the first ones that went, the object alone: the memory is with the space again. */
	struct vms_object *drop[CHANGE_DROPS];
	unsigned n_drop;
};

void change_init(struct change *c, struct vms_space *s) REQUIRES(s->space.lock);
/* Each returns 0 or -ENOMEM; then change_abort. m->rmap is not looked at; m->obj is lent. */
int change_map(struct change *c, struct region *region, const struct map *m);
int change_unmap(struct change *c, uint64_t first, uint64_t last);
/* fn changes prot alone. */
int change_update(struct change *c, uint64_t first, uint64_t last,
		  void (*fn)(struct map *piece, void *arg), void *arg);
int change_prepare(struct change *c);
void change_commit(struct change *c);
void change_abort(struct change *c);
/* Must the backend hear of new rights for what is mapped somewhere? */
static inline bool rights_matter(uint32_t before, uint32_t after)
{
	/* Without rights there were no entries. WRITE is only ever given by a write fault. */
	return before && (before & ~after || after & ~before & ~(uint32_t)VMS_PROT_WRITE);
}
/* It hears of them: it may lose entries, and gets no WRITE. after 0: nothing may be there. */
void change_rights(struct vms_mmu *mmu, uint64_t first, uint64_t last, uint32_t before,
		   uint32_t after);
/* After commit or abort, and after the space's lock was dropped. */
void change_end(struct change *c) EXCLUDES(c->s->space.lock);

/* Memory of an rmap from the space's own few, or new; and back. NULL: none. */
struct rmap *rmap_take(struct vms_space *s) REQUIRES(s->space.lock);
void rmap_put(struct vms_space *s, struct rmap *r) REQUIRES(s->space.lock);

/*
 * The same for what almost every edit is (quick.h): one stretch, inside one mapping or inside a
 * hole, gets one new mapping, other rights, or nothing (stretch.c).
 *
 *	change_begin → stretch_map, _unmap or _protect → (the lock is dropped) → change_end
 *
 * Each does all of it: 0; or -ENOMEM or QUICK_NOT, and nothing happened. QUICK_NOT: it takes a plan:
 * go on with change_plan, and as after change_init.
 */
void change_begin(struct change *c, struct vms_space *s);
void change_plan(struct change *c) REQUIRES(c->s->space.lock);
int stretch_map(struct change *c, struct vms_space *s, struct region *region, struct map *m)
	REQUIRES(s->space.lock);
int stretch_unmap(struct change *c, struct vms_space *s, uint64_t first, uint64_t last)
	REQUIRES(s->space.lock);
/* spot: of first, in a mapping that reaches to last or further, and may have these rights. */
int stretch_protect(struct change *c, struct vms_space *s, const struct tree_spot *spot,
		    uint64_t first, uint64_t last, uint32_t prot) REQUIRES(s->space.lock);

/* ---- Filling (fault.c) ---- */

enum fill {
	FILL_PRESENT, /* install what is there; gaps are skipped */
	FILL_READ,    /* make it readable: asks pagers */
	FILL_WRITE,   /* make it writable: copies, grants */
	FILL_COMMIT,  /* pages of the objects' own, not dirtied; then as PRESENT */
};

/*
 * Install pages of [first, last] into the backend, mapping by mapping, as far as rights and sizes
 * allow. *done: bytes from first on that were gone through. No lock is held.
 */
enum vms_fault_result space_fill(struct vms_space *s, uint64_t first, uint64_t last, enum fill how,
				 struct vms_wait *wait, uint64_t *done);

/* ---- Looking (walk.c) ---- */

/*
 * The mapping that holds addr or the first above it, without the space's lock; its object comes
 * with a reference, which the caller drops. *seq: for space_still.
 */
bool space_get(struct vms_space *s, uint64_t addr, struct map *out, uint64_t *seq);
/*
 * Does the mapping still stand as it was got? Called under the family's lock: if so, what is
 * installed under this hold of it is taken out by whoever changes the mapping (rmap.h).
 */
bool space_still(struct vms_space *s, uint64_t addr, const struct map *m, uint64_t *seq);

#endif
