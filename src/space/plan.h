/* SPDX-License-Identifier: MIT */
/*
 * plan.h: the pure planner. A plan holds copies of the mappings that an edit may concern, applies
 * any number of changes to them in order, merges at the seams, and tells what will be different.
 * It touches no tree, no object and no host; only its scratch memory can fail.
 *
 *	load	copies of all mappings that overlap a range, and the neighbour on each side
 *	change	unmap, map, update, in any number and order, inside what was loaded
 *	finish	merge where a change happened; counts and events
 *
 * Loaded stretches that share a mapping become one, so no merge ever crosses two of them.
 */
#ifndef SPACE_PLAN_H
#define SPACE_PLAN_H

#include <stddef.h>

#include "base/world.h"
#include "space/map.h"

struct plan_entry {
	struct map map;
	uint8_t fresh;	 /* put here by plan_map: its bytes are new even if the value is not */
	uint8_t touched; /* a change cut, made or updated it: its seams are merged */
};

/* A stretch whose mappings are all loaded: no mapping crosses its bounds. */
struct plan_window {
	uint64_t first, last;
};

enum plan_event_kind { PLAN_WENT, PLAN_APPEARED, PLAN_CHANGED };

/*
 * One difference between before and after over [start, last], in address order, minimal:
 * neighbours of one kind that continue each other are one event. before/after are the mappings,
 * cut to the event; only the one that the kind names is meaningful, both for CHANGED.
 */
struct plan_event {
	enum plan_event_kind kind;
	struct map before, after;
};

struct plan {
	const struct world *world;
	const struct map_rules *rules;
	struct plan_entry *cur; /* what will stand there */
	size_t n, room;
	struct map *old; /* what stands there */
	size_t n_old, old_room;
	struct plan_window *win;
	size_t n_win, win_room;
	struct plan_event *ev;
	size_t n_ev, ev_room;
	struct map_counts before, after; /* of the loaded mappings */
	uint64_t splits, merges;	 /* after finish */
};

/* How the planner sees the mappings: tree_find and tree_find_below, or a model's. */
struct plan_source {
	bool (*find)(const void *arg, uint64_t addr, struct map *out);
	bool (*find_below)(const void *arg, uint64_t addr, struct map *out);
	const void *arg;
};

void plan_init(struct plan *p, const struct world *w, const struct map_rules *rules);
void plan_fini(struct plan *p);

/* Each returns 0 or -ENOMEM, after which only plan_fini may be called. plan_load is implied. */
int plan_load(struct plan *p, const struct plan_source *src, uint64_t first, uint64_t last);
int plan_unmap(struct plan *p, const struct plan_source *src, uint64_t first, uint64_t last);
int plan_map(struct plan *p, const struct plan_source *src, const struct map *m);
/* fn changes anything of the piece but start, last, obj and off (obj and off together: allowed). */
int plan_update(struct plan *p, const struct plan_source *src, uint64_t first, uint64_t last,
		void (*fn)(struct map *piece, void *arg), void *arg);
int plan_finish(struct plan *p);

/* NULL, or the broken invariant as a sentence. */
const char *plan_validate(const struct plan *p);

#endif
