// SPDX-License-Identifier: MIT
/* spot.c: see spot.h. */
#include "space/spot.h"

#include <errno.h>

#define OVERTAKEN_MAX 8u

/* Until leave; the analysis cannot follow a lock that is sometimes held. */
static bool find_locked(struct spot *p) UNCHECKED_LOCKS
{
	lock_take(&p->s->space.lock);
	p->locked = true;
	if (!tree_find(&p->s->space.tree, p->addr, &p->m))
		return false;
	object_ref(p->m.obj);
	return true;
}

static void unlock(struct spot *p) UNCHECKED_LOCKS
{
	p->locked = false;
	lock_drop(&p->s->space.lock);
}

int spot_find(struct spot *p, uint64_t addr)
{
	p->addr = addr;
	if (p->overtaken < OVERTAKEN_MAX)
		p->held = space_get(p->s, addr, &p->m, &p->seq);
	else
		p->held = find_locked(p);
	p->above = p->held;
	if (!p->held || p->m.start > addr)
		return VMS_FAULT_NOT_MAPPED;
	if (!p->m.prot || (p->m.prot & p->access) != p->access)
		return VMS_FAULT_DENIED;
	if (view_usable(p->m.obj))
		return VMS_FAULT_IO;
	p->c = view_of(p->m.obj)->content;
	return SPOT_HERE;
}

/* In the view: where what the mapping may show ends. */
static uint64_t end_of_view(const struct spot *p) REQUIRES(p->c->family->lock)
{
	const struct content *c = p->c;
	const struct view *v = view_of(p->m.obj);
	uint64_t end = view_bytes(p->m.obj), stream, at = v->at << c->shift;

	if (!(p->m.flags & VMS_MAP_STREAM))
		return end;
	stream = align_up(c->stream, p->s->granule);
	return min_u64(end, stream > at ? stream - at : 0);
}

int spot_hold(struct spot *p, bool writes)
{
	uint64_t off, end;

	lock_take(&p->c->family->lock);
	if (writes)
		family_wait_open(p->c->family);
	if (!p->locked && !space_still(p->s, p->addr, &p->m, &p->seq)) {
		p->overtaken++;
		return SPOT_AGAIN;
	}
	off = p->m.off + (p->addr - p->m.start);
	end = end_of_view(p);
	if (off >= end)
		return VMS_FAULT_BEYOND;
	if (p->c->discarded)
		return VMS_FAULT_DISCARDED;
	p->room = min_u64(end - off - 1, p->m.last - p->addr) + 1;
	p->off = off + (view_of(p->m.obj)->at << p->c->shift);
	return SPOT_HERE;
}

void spot_leave(struct spot *p)
{
	/* The lock first: the object's end calls others. */
	if (p->locked)
		unlock(p);
	if (p->held)
		object_unref(p->m.obj);
	p->held = false;
}

enum vms_fault_result spot_result(int err)
{
	switch (err) {
	case 0:
		return VMS_FAULT_OK;
	case VMS_WAIT:
		return VMS_FAULT_WAIT;
	case -ENOMEM:
		return VMS_FAULT_NO_MEMORY;
	default:
		return VMS_FAULT_IO;
	}
}
