// SPDX-License-Identifier: MIT
/*
 * discard.c: discardable objects: caches whose content may go while nobody has locked it.
 *
 *	unlocked --lock--> locked --unlock--> unlocked --reclaim--> discarded --lock--> locked
 *
 * An object that has no pages has nothing to lose and is not discarded.
 */
#include <errno.h>

#include "base/fail.h"
#include "object/shown.h"

static bool may_discard(const struct content *c) REQUIRES(c->family->lock)
{
	return !c->locks && !c->pins && !c->high && !c->discarded &&
	       !atomic_load_explicit(&c->family->inside, memory_order_acquire);
}

static uint64_t discard(struct arena_evictable *e, uint64_t n, unsigned pass)
{
	struct content *c = (struct content *)((char *)e - offsetof(struct content, evictable));
	struct frame_batch freed;
	uint64_t count = 0;

	if (pass != 1)
		return 0;
	frame_batch_init(&freed, c->arena);
	lock_take(&c->family->lock);
	if (may_discard(c)) {
		count = pages_count(&c->pages, 0, PAGES_MAX);
		if (count) {
			content_gone(c, 0, atomic_load_explicit(&c->npages, memory_order_relaxed));
			content_bump(c);
			pages_fini(&c->pages, &freed);
			c->discarded = true;
		}
	}
	lock_drop(&c->family->lock);
	frame_batch_end(&freed);
	return count;
}

void discard_register(struct content *c)
{
	c->evictable.evict = discard;
	c->evictable.hold = content_hold;
	c->evictable.let_go = content_let_go;
	arena_evictable_add(c->arena, &c->evictable);
}

static int discardable(struct vms_object *obj, struct content **c)
{
	int err = view_usable(obj);

	if (err)
		return err;
	*c = view_of(obj)->content;
	if (!((*c)->flags & VMS_OBJECT_DISCARDABLE))
		return fail(-ENOTSUP, "the object is not discardable");
	return 0;
}

int vms_object_lock(struct vms_object *obj, int *discarded)
{
	struct content *c;
	int err = discardable(obj, &c);

	if (err)
		return err;
	lock_take(&c->family->lock);
	c->locks++;
	if (discarded)
		*discarded = c->discarded;
	c->discarded = false;
	lock_drop(&c->family->lock);
	return 0;
}

int vms_object_try_lock(struct vms_object *obj)
{
	struct content *c;
	int err = discardable(obj, &c);

	if (err)
		return err;
	lock_take(&c->family->lock);
	if (c->discarded)
		err = fail(-EPERM, "the object's content was discarded");
	else
		c->locks++;
	lock_drop(&c->family->lock);
	return err;
}

int vms_object_unlock(struct vms_object *obj)
{
	struct content *c;
	int err = discardable(obj, &c);

	if (err)
		return err;
	lock_take(&c->family->lock);
	if (!c->locks)
		err = fail(-EBUSY, "the object is not locked");
	else
		c->locks--;
	lock_drop(&c->family->lock);
	return err;
}
