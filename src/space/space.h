/* SPDX-License-Identifier: MIT */
/*
 * space.h: one address space: bounds, a page size, an MMU backend, one mapping tree, and the edit.
 *
 * An edit is one transaction. It changes nothing until edit_commit(), which cannot fail:
 *
 *	edit_init → edit_unmap / edit_map / edit_update ... → edit_prepare → limits, host calls
 *	          → edit_commit                                (or edit_abort at any point)
 *
 * The host call is the commit point: the caller makes it between prepare and commit, and aborts
 * the edit if the host refuses.
 *
 * Objects: maps given to edit_map lend their object; commit takes a reference for each mapping
 * that stands afterwards and drops those of the mappings that went.
 */
#ifndef SPACE_SPACE_H
#define SPACE_SPACE_H

#include "base/lock.h"
#include "mmu/backend.h"
#include "space/map.h"
#include "space/plan.h"
#include "space/tree.h"

/*
 *	I	set at creation, then constant
 *	s	lock
 */
struct space {
	struct lock lock;
	const struct world *world;    /* [I] */
	struct map_rules rules;	      /* [I] */
	struct vms_mmu *mmu;	      /* [I] referenced */
	uint64_t first, last;	      /* [I] bounds, both included */
	uint64_t page_size;	      /* [I] */
	struct tree tree;	      /* [s] */
	struct map_counts counts;     /* [s] of all mappings */
	uint64_t edits, splits, merges; /* [s] */
};

int space_init(struct space *s, const struct world *w, const struct map_rules *rules,
	       struct vms_mmu *mmu, uint64_t first, uint64_t last, uint64_t page_size);
/* Drops the mappings (not the host's), the backend and the memory. */
void space_fini(struct space *s);

/* Tells the lock analysis what a struct hides from it: the lock is held. No code. */
static inline void space_held(struct space *s) ASSERTS_HELD(s->lock)
{
	(void)s;
}

static inline bool space_find(struct space *s, uint64_t addr, struct map *out)
	REQUIRES(s->lock)
{
	return tree_find(&s->tree, addr, out);
}

static inline bool space_find_below(struct space *s, uint64_t addr, struct map *out)
	REQUIRES(s->lock)
{
	return tree_find_below(&s->tree, addr, out);
}

/* What stands at addr, and beside it: for the quick edit (quick.h). */
static inline bool space_spot(struct space *s, uint64_t addr, struct tree_spot *spot)
	REQUIRES(s->lock)
{
	return tree_spot(&s->tree, addr, spot);
}

struct edit {
	struct space *space;
	struct plan plan;
	struct map_counts after; /* of the whole space, once prepared */
	bool done;		 /* committed or aborted */
};

/*
 * The space's lock is held from init to commit or abort. Only init says so to the compiler, which
 * cannot see that e->space is the space whose lock was taken.
 */
void edit_init(struct edit *e, struct space *s) REQUIRES(s->lock);
int edit_unmap(struct edit *e, uint64_t first, uint64_t last);
int edit_map(struct edit *e, const struct map *m);
int edit_update(struct edit *e, uint64_t first, uint64_t last,
		void (*fn)(struct map *piece, void *arg), void *arg);
int edit_prepare(struct edit *e);
void edit_commit(struct edit *e);
/* The same in two steps. In between the change stands, and the plan can still be read. Inside a change
 * of the tree that the caller began (tree.h), the caller trims the tree. */
void edit_splice(struct edit *e);
void edit_finish(struct edit *e);
void edit_abort(struct edit *e); /* after commit, or a second time: nothing */

/* NULL, or the broken invariant as a sentence: tree, counters. O(n). */
const char *space_validate(struct space *s) REQUIRES(s->lock);

#endif
