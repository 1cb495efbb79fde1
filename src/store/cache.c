// SPDX-License-Identifier: MIT
/*
 * cache.c: what becomes of freed frames.
 *
 *	batch ──▶ young ──▶ old ──▶ cache ──▶ the next grant
 *	            limbo              └────▶ punched, the number is free
 *
 * In limbo they wait until every section that was open when they were freed has ended. The frames
 * of one list share one stamp, the newest, so two lists suffice: while the old one waits, the
 * young one fills.
 *
 * Invariants:
 *	1 every frame of young, old and cache is FREED and on one of them, once; a list's n is its
 *	  length; together they are `freed`
 *	2 nothing is on the young list with a stamp of 0
 *	3 a frame of the cache without WRITTEN has only zero bytes
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "base/fail.h"
#include "store/inside.h"

#define SETTLE_MIN 64u /* frames in limbo that are worth a look at the epochs */

void limbo_settle_locked(struct vms_arena *a)
{
	while (limbo_length(a)) {
		if (a->old.list.n && !epoch_passed(a->old.epoch))
			break;
		list_splice(a, &a->cache, &a->old.list);
		a->old = a->young;
		a->young = (struct limbo){ 0 };
	}
	/* A reader that stays long must not cost every call a look. */
	a->settle_at = limbo_length(a) + SETTLE_MIN;
}

void limbo_add_locked(struct vms_arena *a, struct frame_list *l)
{
	counter_sub(&a->granted, l->n);
	counter_add(&a->freed, l->n);
	a->young.epoch = epoch_now();
	list_splice(a, &a->young.list, l);
	if (limbo_length(a) >= a->settle_at)
		limbo_settle_locked(a);
}

/* ---- Giving memory back ---- */

static struct frame_list merge(struct vms_arena *a, struct frame_list x, struct frame_list y)
{
	struct frame_list out = { 0 };

	if (x.n && y.n && x.tail < y.head) {
		list_splice(a, &y, &x);
		return y;
	}
	while (x.n && y.n)
		list_append(a, &out, x.head < y.head ? list_pop(a, &x) : list_pop(a, &y));
	if (x.n == 0)
		x = y;
	list_splice(a, &x, &out);
	return x;
}

/* By number. Frames are mostly freed in order: rising runs are merged as they are. */
static struct frame_list sort(struct vms_arena *a, struct frame_list l)
{
	struct frame_list bins[40] = { { 0 } }, all = { 0 };

	while (l.n) {
		struct frame_list run = { 0 };
		unsigned i;

		do
			list_append(a, &run, list_pop(a, &l));
		while (l.n && l.head > run.tail);
		for (i = 0; i + 1 < 40 && bins[i].n; i++) {
			run = merge(a, run, bins[i]);
			bins[i] = (struct frame_list){ 0 };
		}
		bins[i] = merge(a, run, bins[i]);
	}
	for (unsigned i = 0; i < 40; i++)
		all = merge(a, all, bins[i]);
	return all;
}

/* Adjacent frames at the head of l, which is sorted. */
static uint64_t adjacent(const struct vms_arena *a, const struct frame_list *l)
{
	frame_t f = l->head;
	uint64_t n = 1;

	for (; n < l->n && list_next(a, f) == f + 1; n++)
		f++;
	return n;
}

/*
 * Punch the frames of l, which is in nobody's hands but ours. Those that the host gave up go to
 * *gone, the others to *kept. Returns how many had memory and have none now.
 */
static uint64_t punch(struct vms_arena *a, struct frame_list l, struct frame_list *gone,
		      struct frame_list *kept)
{
	const struct world *w = a->world;
	uint64_t got = 0;

	l = sort(a, l);
	while (l.n) {
		uint64_t n = adjacent(a, &l);
		int err = w->fallocate(w, a->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				       arena_offset(a, l.head), n << a->page_shift);

		while (n-- > 0) {
			frame_t f = list_pop(a, &l);

			if (err) { /* part of it may have gone: nothing is known of the bytes */
				entry_set_marks(a, f, STATE_FREED | BACKED | WRITTEN);
				list_append(a, kept, f);
				continue;
			}
			got += (entry_marks(a, f) & BACKED) != 0;
			list_append(a, gone, f);
		}
	}
	atomic_fetch_add_explicit(&a->punched, got, memory_order_relaxed);
	return got;
}

/* Give back all but the newest `keep` frames of the cache; returns frames. */
static uint64_t cache_shrink(struct vms_arena *a, uint64_t keep) EXCLUDES(a->lock)
{
	struct frame_list some = { 0 }, gone = { 0 }, kept = { 0 };
	uint64_t got;

	lock_take(&a->lock);
	if (a->cache.n <= keep) {
		lock_drop(&a->lock);
		return 0;
	}
	while (some.n < keep)
		list_append(a, &some, list_pop(a, &a->cache));
	{
		struct frame_list rest = a->cache;

		a->cache = some;
		some = rest;
	}
	lock_drop(&a->lock);
	got = punch(a, some, &gone, &kept);
	lock_take(&a->lock);
	counter_sub(&a->freed, gone.n);
	while (gone.n)
		number_give_locked(a, list_pop(a, &gone));
	list_splice(a, &a->cache, &kept);
	/* Where the host refuses, not every call must ask it again. */
	a->cache_max = max_u64(CACHE_MAX, a->cache.n > CACHE_MAX / 2 ? 2 * a->cache.n : 0);
	lock_drop(&a->lock);
	return got;
}

/*
 * Who branches, writes and drops the branch frees as many frames as he will want next: then a frame
 * that is kept costs a copy where a new one costs the host's fault as well. So the bound grows with
 * what is granted.
 */
void cache_bound(struct vms_arena *a)
{
	uint64_t max = max_u64(CACHE_MAX, counter(&a->granted) / CACHE_SHARE);
	bool over;

	lock_take(&a->lock);
	over = a->cache.n > max_u64(max, a->cache_max);
	lock_drop(&a->lock);
	if (over)
		cache_shrink(a, max / 2);
}

uint64_t arena_trim(struct vms_arena *a, uint64_t bytes)
{
	uint64_t want =
		(bytes >> a->page_shift) + ((bytes & ((UINT64_C(1) << a->page_shift) - 1)) != 0);
	uint64_t got = 0, have, n;

	if (!arena_alive(a))
		return 0;
	/* Again, because chunks that get free leave the cache what was made ahead in them. */
	do {
		lock_take(&a->lock);
		limbo_settle_locked(a);
		have = a->cache.n;
		lock_drop(&a->lock);
		n = cache_shrink(a, want - got < have ? have - (want - got) : 0);
		got += n;
	} while (n > 0 && got < want);
	return got << a->page_shift;
}

/* ---- The validator's part ---- */

static int check_list(const struct vms_arena *a, const struct frame_list *l, const char *name)
{
	frame_t f = l->head, last = FRAME_NONE;

	for (uint64_t i = 0; i < l->n; i++) {
		if (f < FRAME_FIRST || f >= counter(&a->mapped))
			return fail(-EINVAL, "arena: frame %u on the %s list", f, name);
		if ((entry_marks(a, f) & STATE) != STATE_FREED)
			return fail(-EINVAL, "arena: frame %u of the %s list is not freed", f,
				    name);
		last = f;
		f = list_next(a, f);
	}
	if (last != l->tail || (l->n == 0 && l->head))
		return fail(-EINVAL, "arena: the %s list ends with %u, not %u", name, last,
			    l->tail);
	return 0;
}

int cache_check(struct vms_arena *a, uint64_t freed)
{
	uint64_t n = a->cache.n + limbo_length(a);
	int err;

	err = check_list(a, &a->cache, "cache");
	if (!err)
		err = check_list(a, &a->young.list, "young");
	if (!err)
		err = check_list(a, &a->old.list, "old");
	if (err)
		return err;
	/* Each list has its n frames; were one on two of them, fewer would be marked freed. */
	if (freed != n || freed != counter(&a->freed))
		return fail(-EINVAL,
			    "arena: %" PRIu64 " frames freed, %" PRIu64 " listed, %" PRIu64
			    " counted",
			    freed, n, counter(&a->freed));
	if (a->young.list.n && a->young.epoch == 0)
		return fail(-EINVAL, "arena: frames in limbo without a stamp");
	return 0;
}
