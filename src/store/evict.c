// SPDX-License-Identifier: MIT
/*
 * evict.c: asking objects for pages that they can spare.
 *
 * Objects stand in a ring, oldest first. One that was asked goes to the end, so that those asked
 * least recently come first the next time. An object is asked with a reference of ours and no lock
 * held, so the ring may change meanwhile: a pass takes the first again and again, as often as
 * there were objects at its start.
 */
#include "store/inside.h"

static void unlink_locked(struct vms_arena *a, struct arena_evictable *e) REQUIRES(a->lock)
{
	e->prev->next = e->next;
	e->next->prev = e->prev;
	e->prev = e->next = NULL;
	a->n_evictables--;
}

static void append_locked(struct vms_arena *a, struct arena_evictable *e) REQUIRES(a->lock)
{
	e->prev = a->evictables.prev;
	e->next = &a->evictables;
	e->prev->next = e;
	e->next->prev = e;
	a->n_evictables++;
}

void arena_evictable_add(struct vms_arena *a, struct arena_evictable *e)
{
	e->prev = e->next = NULL;
	if (!arena_alive(a))
		return;
	lock_take(&a->lock);
	append_locked(a, e);
	lock_drop(&a->lock);
}

void arena_evictable_del(struct vms_arena *a, struct arena_evictable *e)
{
	if (!arena_alive(a)) /* nobody walks the ring any more */
		return;
	lock_take(&a->lock);
	if (e->next)
		unlink_locked(a, e);
	lock_drop(&a->lock);
}

/* The first of the ring, at its end now, with a reference; NULL: it is dying. */
static struct arena_evictable *turn(struct vms_arena *a) EXCLUDES(a->lock)
{
	struct arena_evictable *e;

	lock_take(&a->lock);
	e = a->evictables.next;
	if (e == &a->evictables) {
		e = NULL;
	} else {
		unlink_locked(a, e);
		append_locked(a, e);
		if (!e->hold(e))
			e = NULL;
	}
	lock_drop(&a->lock);
	return e;
}

uint64_t arena_evict(struct vms_arena *a, uint64_t n)
{
	uint64_t got = 0;

	if (!arena_alive(a))
		return 0;
	for (unsigned pass = 0; pass < EVICT_PASSES; pass++) {
		uint64_t times;

		lock_take(&a->lock);
		times = a->n_evictables;
		lock_drop(&a->lock);
		for (; times > 0 && got < n; times--) {
			struct arena_evictable *e = turn(a);

			if (!e)
				continue;
			got += e->evict(e, n - got, pass);
			e->let_go(e);
		}
	}
	return got;
}
