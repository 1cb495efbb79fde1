// SPDX-License-Identifier: MIT
/*
 * walk.c: looking at a space: one mapping, the next one, and all that is in a region.
 *
 *	the thread's last mapping → the tree without the lock (tree_read.c) → the tree with the lock
 *
 * A look runs in an epoch section. What it finds stood in the tree at one moment inside the
 * section, so its object had a reference then and its memory stays until the section's end. Who
 * wants the object for longer takes a reference before that; if the last one is gone, so is the
 * mapping, and the look is repeated with the lock.
 *
 * Invariants
 *
 *	1. A thread's last mapping stood in the space of its id when the tree's count was its seq,
 *	   which is even. So it stands as long as the count is that.
 *	2. It is written and read by its thread, and by no signal handler that comes in between.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "base/epoch.h"
#include "base/fail.h"
#include "base/range.h"
#include "object/content.h"
#include "space/vspace.h"

/* ---- One look ---- */

static _Thread_local struct {
	bool busy;	/* inv. 2 */
	uint64_t space; /* id; 0: none */
	uint64_t seq;
	struct map map;
} last __attribute__((tls_model("initial-exec")));

static inline bool recall(const struct vms_space *s, uint64_t addr, struct map *out, uint64_t *seq)
{
	if (last.busy || last.space != s->id || addr < last.map.start || addr > last.map.last ||
	    last.seq != tree_seq(&s->space.tree))
		return false;
	*out = last.map;
	*seq = last.seq;
	return true;
}

static inline void remember(const struct vms_space *s, const struct map *m, uint64_t seq)
{
	if (last.busy)
		return;
	last.busy = true;
	atomic_signal_fence(memory_order_seq_cst);
	last.space = s->id;
	last.seq = seq;
	last.map = *m;
	atomic_signal_fence(memory_order_seq_cst);
	last.busy = false;
}

/* => inside an epoch section */
static inline enum tree_look look(const struct vms_space *s, uint64_t addr, struct map *out,
				  uint64_t *seq)
{
	enum tree_look found;

	if (recall(s, addr, out, seq))
		return TREE_FOUND;
	found = tree_read(&s->space.tree, addr, out, seq);
	if (found == TREE_FOUND && out->start <= addr)
		remember(s, out, *seq);
	return found;
}

static __attribute__((noinline)) bool get_locked(struct vms_space *s, uint64_t addr,
						 struct map *out, uint64_t *seq)
{
	bool found;

	lock_take(&s->space.lock);
	found = space_find(&s->space, addr, out);
	if (found)
		object_ref(out->obj);
	*seq = tree_seq(&s->space.tree);
	lock_drop(&s->space.lock);
	return found;
}

bool space_get(struct vms_space *s, uint64_t addr, struct map *out, uint64_t *seq)
{
	enum tree_look found;

	if (!epoch_enter())
		return get_locked(s, addr, out, seq);
	found = look(s, addr, out, seq);
	if (found == TREE_FOUND && !object_ref_live(out->obj))
		found = TREE_BUSY;
	epoch_leave();
	return found == TREE_BUSY ? get_locked(s, addr, out, seq) : found == TREE_FOUND;
}

/* Not with the space's lock: it comes before the family's. */
bool space_still(struct vms_space *s, uint64_t addr, const struct map *m, uint64_t *seq)
{
	enum tree_look found;
	struct map now;
	uint64_t at;

	if (tree_seq(&s->space.tree) == *seq)
		return true;
	if (!epoch_enter())
		return false;
	found = tree_read(&s->space.tree, addr, &now, &at);
	epoch_leave();
	if (found != TREE_FOUND || !map_equal(&now, m))
		return false;
	*seq = at;
	return true;
}

/* ---- Find and next ---- */

static void tell(struct vms_mapping_info *info, const struct map *m)
{
	info->addr = m->start;
	info->len = m->last - m->start + 1;
	info->off = m->off;
	info->object_id = view_of(m->obj)->id;
	info->prot = m->prot;
	info->ceiling = m->ceiling;
	info->flags = m->flags;
}

static __attribute__((noinline)) bool info_locked(struct vms_space *s, uint64_t addr, struct map *m,
						  struct vms_mapping_info *info)
{
	bool found;

	lock_take(&s->space.lock);
	found = space_find(&s->space, addr, m);
	if (found)
		tell(info, m);
	lock_drop(&s->space.lock);
	return found;
}

/* The mapping that holds addr or the first above it. The info may be written in any case. */
static bool info_at(struct vms_space *s, uint64_t addr, struct map *m,
		    struct vms_mapping_info *info)
{
	enum tree_look found;
	uint64_t seq;

	if (!epoch_enter())
		return info_locked(s, addr, m, info);
	found = look(s, addr, m, &seq);
	if (found == TREE_FOUND)
		tell(info, m);
	epoch_leave();
	return found == TREE_BUSY ? info_locked(s, addr, m, info) : found == TREE_FOUND;
}

static int short_info(const struct vms_mapping_info *info)
{
	return fail(-EINVAL, "mapping info: size %zu, expected %zu", info ? info->size : 0,
		    sizeof(*info));
}

int vms_find(struct vms_space *space, uint64_t addr, struct vms_mapping_info *info)
{
	struct vms_mapping_info found;
	struct map m;

	if (!info || info->size < sizeof(*info))
		return short_info(info);
	found.size = info->size;
	if (!info_at(space, addr, &m, &found) || m.start > addr)
		return fail(-ENOENT, "nothing is mapped at %#" PRIx64, addr);
	*info = found;
	return 0;
}

int vms_next(struct vms_space *space, struct vms_cursor *cursor, struct vms_mapping_info *info)
{
	struct map m;

	if (!info || info->size < sizeof(*info))
		return short_info(info);
	if (cursor->end || !info_at(space, cursor->next, &m, info))
		return fail(-ENOENT, "no mapping at %#" PRIx64 " or above", cursor->next);
	cursor->next = m.last + 1;
	cursor->end = m.last == UINT64_MAX;
	return 0;
}

/* ---- The walk ---- */

/* What is in a struct vms_walk. */
struct walk {
	struct region_walk regions;
	struct vms_space *space; /* a reference; NULL: not begun, or ended */
};

_Static_assert(sizeof(struct walk) <= sizeof(struct vms_walk), "a walk fits its public struct");
_Static_assert(_Alignof(struct walk) <= _Alignof(struct vms_walk), "and stands in it");

static struct walk *walk_of(struct vms_walk *walk)
{
	return (struct walk *)(void *)walk->opaque;
}

int vms_walk_begin(struct vms_walk *walk, struct vms_region *region, uint64_t addr, uint64_t len,
		   int mappings_only)
{
	struct region *top = (struct region *)region;
	struct walk *w = walk_of(walk);
	uint64_t end;
	bool dead;

	memset(walk, 0, sizeof(*walk));
	if (!range_last(addr, len, &end))
		return fail(-EINVAL, "walk: %#" PRIx64 " bytes at %#" PRIx64 " are no range", len,
			    addr);
	if (addr < top->first || end > top->last)
		return fail(-EINVAL,
			    "walk: [%#" PRIx64 ", %#" PRIx64 "] is not inside [%#" PRIx64
			    ", %#" PRIx64 "]",
			    addr, end, top->first, top->last);
	lock_take(&top->space->space.lock);
	dead = region_is_dead(top);
	lock_drop(&top->space->space.lock);
	if (dead)
		return fail(-EBUSY, "walk: the region [%#" PRIx64 ", %#" PRIx64 "] is dead",
			    top->first, top->last);
	region_walk_init(&w->regions, top, addr, end, mappings_only != 0);
	w->space = vms_space_ref(top->space);
	return 0;
}

int vms_walk_next(struct vms_walk *walk, struct vms_walk_item *item)
{
	struct walk *w = walk_of(walk);
	struct vms_space *s = w->space;
	struct region_item it;
	struct map m;
	int got;

	if (!s)
		return fail(-ENOENT, "walk: not begun");
	lock_take(&s->space.lock);
	got = region_walk_next(&w->regions, &it);
	if (got == 1) {
		*item = (struct vms_walk_item){ .is_mapping = it.is_map,
						.depth = (uint32_t)it.depth,
						.addr = it.first,
						.len = it.last - it.first + 1 };
		if (!it.is_map)
			item->rights = it.region->rights;
		else if (space_find(&s->space, it.first, &m))
			item->rights = m.prot;
	}
	lock_drop(&s->space.lock);
	if (got == 0)
		return fail(-ENOENT, "walk: no more");
	return got < 0 ? got : 0;
}

void vms_walk_end(struct vms_walk *walk)
{
	struct walk *w = walk_of(walk);
	struct vms_space *s = w->space;

	if (!s)
		return;
	w->space = NULL;
	region_walk_fini(&w->regions);
	vms_space_unref(s);
}
