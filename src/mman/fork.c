// SPDX-License-Identifier: MIT
/*
 * fork.c: the bracket around the host's fork (reference linux-mm 1.15).
 *
 * The host copies the window; here the truth becomes the child's: regions marked DONTFORK are not
 * in it, memory locks are not inherited, and each region that has private pages gets an identity
 * of its own that it lends to nobody.
 *
 * The child's edits replace one mapping by one or by none, so they fit the planner's own scratch
 * and the tree's nodes: they allocate nothing and cannot fail.
 */
#include "mman/mm.h"

#include "base/fail.h"

/* Room for the guard ranges that the child may have to cut. */
static int reserve_cuts(struct vms_mm *mm) REQUIRES(mm->space.lock)
{
	uint64_t addr = 0;
	size_t cuts = 0;
	struct map m;

	if (mm->guards.n == 0)
		return 0;
	while (space_find(&mm->space, addr, &m)) {
		cuts += (m.flags & (MM_DONTFORK | MM_WIPEONFORK)) != 0;
		addr = m.last + 1;
	}
	return guards_reserve(&mm->guards, mm->space.world, cuts);
}

int vms_mm_fork_begin(struct vms_mm *mm) UNCHECKED_LOCKS
{
	int err;

	mm_lock(mm);
	err = mm_catch_up(mm);
	if (!err)
		err = reserve_cuts(mm);
	if (err) {
		mm_unlock(mm);
		return fail(err, "mm_fork_begin: no memory");
	}
	return 0;
}

void vms_mm_fork_parent(struct vms_mm *mm) UNCHECKED_LOCKS
{
	mm_unlock(mm);
}


static void inherit(struct map *piece, void *arg)
{
	struct vms_mm *mm = arg;

	piece->flags &= ~MM_LOCK_MASK;
	if (piece->flags & MM_WIPEONFORK) {
		piece->ident = 0;
		piece->inherited = 0;
	} else if (piece->ident != 0) {
		piece->ident = ++mm->last_ident;
		piece->inherited = 1;
	}
}

static void inherit_one(struct vms_mm *mm, const struct map *m) REQUIRES(mm->space.lock)
{
	struct edit e;
	int err;

	edit_init(&e, &mm->space);
	e.plan.keep_first = 0;
	e.plan.keep_last = UINT64_MAX;
	if (m->flags & MM_DONTFORK)
		err = edit_unmap(&e, m->start, m->last);
	else
		err = edit_update(&e, m->start, m->last, inherit, mm);
	if (!err)
		err = edit_prepare(&e);
	if (!err)
		edit_commit(&e);
	edit_abort(&e);
	if (m->flags & MM_DONTFORK)
		/* Nothing is there in the host either; a reserved window closes the hole. */
		backend_unmap(mm->space.mmu, m->start, map_len(m));
	if (m->flags & (MM_DONTFORK | MM_WIPEONFORK))
		guards_clear(&mm->guards, m->start, m->last);
}

void vms_mm_fork_child(struct vms_mm *mm) UNCHECKED_LOCKS
{
	uint64_t addr = 0;
	struct map m;

	/* The thread that forked held the lock; it is the only one left. */
	lock_reset_in_child(&mm->space.lock);
	mm_lock(mm);
	if (mm->space.mmu->ops->forked != NULL)
		mm->space.mmu->ops->forked(mm->space.mmu);
	while (space_find(&mm->space, addr, &m)) {
		addr = m.last + 1;
		inherit_one(mm, &m);
	}
	mm->def_flags = 0;
	mm->locked_lost = 0;
	mm_note_growing(mm, true);
	mm_unlock(mm);
}
