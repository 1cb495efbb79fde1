/* SPDX-License-Identifier: MIT */
/*
 * plan.h: the pure planner. A plan holds copies of the mappings that an edit may concern, applies
 * any number of changes to them in order, merges at the seams, and tells what will be different.
 * It touches no tree, no object and no host; only its scratch memory can fail.
 *
 *	change	unmap, map, update, in any number and order; each loads first what it concerns:
 *		the mappings that overlap its range, and the neighbour that touches it on each side
 *	finish	merge where a change happened; events, counts, and the runs that differ
 *
 * Two changes that are far from each other (the two ends of a move) load two windows; nothing in
 * between is looked at. Loaded stretches that meet become one, so no merge ever crosses two.
 */
#ifndef SPACE_PLAN_H
#define SPACE_PLAN_H

#include <stddef.h>

#include "base/world.h"
#include "space/map.h"

/* An ordinary edit fits these and allocates nothing. */
#ifdef VMS_SMALL_LIMITS
#define PLAN_MAPS    2
#define PLAN_WINDOWS 1
#define PLAN_EVENTS  2
#define PLAN_SEAMS   1
#else
#define PLAN_MAPS    8
#define PLAN_WINDOWS 2
#define PLAN_EVENTS  6
#define PLAN_SEAMS   4
#endif

/*
 * A stretch whose mappings are all loaded: no mapping crosses its bounds. After finish, the run in
 * it that differs: old[old_at, +old_n) goes, cur[cur_at, +cur_n) comes, the rest stays as it is.
 */
struct plan_window {
	uint64_t first, last;
	size_t old_at, old_n;
	size_t cur_at, cur_n;
};

enum plan_event_kind { PLAN_WENT, PLAN_APPEARED, PLAN_CHANGED };

/*
 * One difference between before and after, over the bytes of the mapping that its kind names:
 *
 *	WENT		before: no longer shown here
 *	APPEARED	after: put here by plan_map, even over an equal one (its bytes are new)
 *	CHANGED		both, of one range: what plan_update did
 *
 * All WENT come first, so that replaying the list in order is right; each group is in address
 * order. The list is minimal: neighbours of one kind that continue each other are one event.
 * Splitting and merging are not events, nor is a change of ident alone; the ident in an event is
 * that of its first byte.
 */
struct plan_event {
	enum plan_event_kind kind;
	struct map before, after;
};

struct plan {
	/*
	 * Seams at addresses in [keep_first, keep_last] are not merged, whatever was touched. None
	 * after plan_init (keep_first above keep_last); the caller sets them before plan_finish.
	 */
	uint64_t keep_first, keep_last;
	/* Set before plan_finish: list the seams at which it merges, so that plan_part can undo. */
	bool list_seams;
	const struct world *world;
	const struct map_rules *rules;
	struct map *cur; /* what will stand there */
	size_t n, room;
	struct map *old; /* what stands there */
	size_t n_old, old_room;
	struct plan_window *win;
	size_t n_win, win_room;
	struct plan_event *ev;
	size_t n_ev, ev_room;
	/*
	 * How many changes were made, and of the last one, if it cut nothing: the pieces cur[at,
	 * +n_in) stand where cur[at, +n_out) stood.
	 */
	size_t n_changes;
	bool was_cut;
	size_t at, n_out, n_in;
	/* Once finished: */
	bool finished;
	struct map_counts before, after; /* of the runs that differ */
	uint64_t splits;		 /* pieces of one mapping that were not apart before */
	uint64_t merges;		 /* mappings that became part of their left neighbour */
	uint64_t *seam;			 /* where, if list_seams */
	size_t n_seam, seam_room;

	struct map cur_inline[PLAN_MAPS], old_inline[PLAN_MAPS];
	struct plan_window win_inline[PLAN_WINDOWS];
	struct plan_event ev_inline[PLAN_EVENTS];
	uint64_t seam_inline[PLAN_SEAMS];
};

/*
 * How the planner sees the mappings: a tree, or a model's array. Copies those that overlap
 * [first, last] to out, in address order, at most `room`; returns how many.
 */
struct plan_source {
	size_t (*copy)(const void *arg, uint64_t first, uint64_t last, struct map *out,
		       size_t room);
	const void *arg;
};

void plan_init(struct plan *p, const struct world *w, const struct map_rules *rules);
void plan_fini(struct plan *p); /* frees the scratch memory; a second time is harmless */

/* Each returns 0 or -ENOMEM, after which only plan_fini may be called. */
int plan_unmap(struct plan *p, const struct plan_source *src, uint64_t first, uint64_t last);
int plan_map(struct plan *p, const struct plan_source *src, const struct map *m);
/* fn changes anything of the piece but start, last, obj and off (obj and off together: allowed). */
int plan_update(struct plan *p, const struct plan_source *src, uint64_t first, uint64_t last,
		void (*fn)(struct map *piece, void *arg), void *arg);
/* Once, after the last change. */
int plan_finish(struct plan *p);

/* After finish: take back the merges at these listed seams (ascending). Cannot fail. */
void plan_part(struct plan *p, const uint64_t *seams, size_t n);

/* NULL, or the broken invariant as a sentence. Before and after finish. */
const char *plan_validate(const struct plan *p);

#endif
