/* SPDX-License-Identifier: MIT */
/*
 * quick.h: the quick edit, for the change that almost every call is: one stretch, inside one
 * mapping or inside a hole, gets one new mapping, other values, or nothing.
 *
 *	space_spot → quick_prepare → limits, host calls → quick_commit
 *
 * It comes to what the planner would come to (edit_map, edit_update, edit_unmap of the stretch),
 * and it is prepared and committed in the same way, but it looks only at the spot. Nothing needs
 * undoing between prepare and commit. The caller holds the lock from space_spot on and changes
 * nothing.
 *
 * A move is two of them that know nothing of each other: one stretch goes, and another place gets
 * a mapping.
 *
 *	quick_move_prepare → limits, host calls → quick_move_commit
 */
#ifndef SPACE_QUICK_H
#define SPACE_QUICK_H

#include "space/space.h"

struct quick {
	struct space *space;
	const struct tree_spot *spot;
	uint64_t first, last;  /* the stretch; of an unmapping, what is mapped of it */
	bool old, left, right; /* is a mapping cut or replaced; does a piece stay below, above */
	bool fresh;
	bool join_left, join_right;   /* with the piece that stays, or else the neighbour */
	bool apart_left, apart_right; /* ... which the host does not: commit */
	const struct map *mid;	      /* lent by the caller until the commit */
	uint64_t n_after; /* mappings of the space afterwards */
	unsigned more;	  /* mappings more than before, if nothing is joined */
};

enum { QUICK_NOT = 1 };

/*
 * spot: of `first`. mid: what will stand there, NULL for nothing; lent until the commit. fresh: it
 * shows new bytes, as edit_map, else it is the old mapping with other values, as edit_update.
 * Returns 0, -ENOMEM, or QUICK_NOT: it takes a plan.
 */
int quick_prepare(struct quick *q, struct space *s, const struct tree_spot *spot,
		  uint64_t first, uint64_t last, const struct map *mid, bool fresh)
	REQUIRES(s->lock);
/* The commits ask for the same lock. The compiler cannot see that q->space is the space it saw. */
void quick_commit(struct quick *q);

/* What goes, lent until the tree changes, and what comes; each in address order. */
struct quick_run {
	const struct map *old[3];
	struct map cur[3];
	unsigned n_old, n_cur;
};

/*
 * For a face whose mappings have identities of their own (map_rules.own_ident): what the commit
 * would do, and the commit of it, after each of run->cur got its identity.
 */
void quick_make_run(const struct quick *q, struct quick_run *run);
void quick_commit_run(struct quick *q, const struct quick_run *run);

struct quick_move {
	struct tree_spot from_spot, to_spot;
	struct quick from, to;
};

/*
 * [first, last], mapped by one mapping, goes; mid comes, as edit_map. Returns as quick_prepare;
 * QUICK_NOT also where the mapping that is taken from reaches or touches the place of mid.
 */
int quick_move_prepare(struct quick_move *q, struct space *s, uint64_t first, uint64_t last,
		       const struct map *mid) REQUIRES(s->lock);
void quick_move_commit(struct quick_move *q);

#endif
