// SPDX-License-Identifier: MIT
/*
 * fault.c: what an access does, growth, and anonymous identity (reference linux-mm 1.11, 1.12,
 * 1.14).
 *
 *	1 find	nothing there, but a growing region above		→ grow it, or MAPERR
 *	2 guard	a guard marker						→ MAPERR
 *	3 right	missing							→ ACCERR
 *	4 file	a page wholly past the end				→ ADRERR
 *	5 write to private memory: the region gets its identity
 */
#include "mman/mm.h"

#include <errno.h>

/* Flags in which compatible neighbours may differ and still lend their identity: none of ours. */
static bool lends_ident(const struct map *from, const struct map *to)
{
	return from->ident != 0 && !from->inherited && from->obj == to->obj &&
	       from->flags == to->flags;
}

static void set_ident(struct map *piece, void *arg)
{
	piece->ident = *(const uint64_t *)arg;
	piece->inherited = 0;
}

int mm_touch(struct vms_mm *mm, uint64_t addr)
{
	struct map m, near;
	uint64_t ident = 0;
	struct edit e;
	int err;

	/* A host that can be asked where its regions meet knows better than we could. */
	if (mm->space.mmu->ops->caps & BACKEND_SEAMS)
		return 0;
	if (!space_find(&mm->space, addr, &m) || m.start > addr || m.ident != 0 ||
	    !map_is_private(&m))
		return 0;
	/* The neighbour above is asked first, then the one below. */
	if (m.last != UINT64_MAX && space_find(&mm->space, m.last + 1, &near) &&
	    near.start == m.last + 1 && near.off == m.off + map_len(&m) && lends_ident(&near, &m))
		ident = near.ident;
	else if (space_find_below(&mm->space, m.start, &near) && near.last + 1 == m.start &&
		 near.off + map_len(&near) == m.off && lends_ident(&near, &m))
		ident = near.ident;
	if (ident == 0)
		ident = mm->last_ident + 1;
	edit_init(&e, &mm->space);
	/* A fault never merges. */
	e.plan.keep_first = 0;
	e.plan.keep_last = UINT64_MAX;
	err = edit_update(&e, m.start, m.last, set_ident, &ident);
	if (!err)
		err = edit_prepare(&e);
	if (!err) {
		edit_commit(&e);
		mm->last_ident = max_u64(mm->last_ident, ident);
	}
	edit_abort(&e);
	return err;
}

void mm_populated(struct vms_mm *mm, uint64_t first, uint64_t last)
{
	uint64_t addr = first;
	struct map m;

	while (space_find(&mm->space, addr, &m) && m.start <= last) {
		/* A guard marker on the first page ends it before a page is made. */
		if ((m.prot & VMS_PROT_WRITE) && map_is_private(&m) &&
		    !(m.flags & MM_LOCKONFAULT) &&
		    !guards_hold(&mm->guards, max_u64(first, m.start)))
			mm_touch(mm, m.start);
		if (m.last >= last)
			break;
		addr = m.last + 1;
	}
}

/* Does nothing stand in the way of `m` down to `addr`? */
static bool has_room(struct vms_mm *mm, const struct map *m, uint64_t addr)
	REQUIRES(mm->space.lock)
{
	struct map below;

	if (addr < mm_lowest(mm))
		return false;
	if (!space_find_below(&mm->space, m->start, &below))
		return true;
	if (below.last >= addr)
		return false;
	return (below.flags & MM_GROWSDOWN) || below.prot == VMS_PROT_NONE ||
	       addr - (below.last + 1) >= mm->pol.stack_gap;
}

/* Do the limits let it? */
static bool may_grow(struct vms_mm *mm, const struct map *m, uint64_t addr)
	REQUIRES(mm->space.lock)
{
	uint64_t stack = mm->pol.limit[VMS_MM_LIMIT_STACK].soft, more = m->start - addr;

	return more <= m->off && mm_may_expand(mm, m, (int64_t)more) &&
	       m->last - addr + 1 <= stack && mm_lock_fits(mm, m->flags, more) &&
	       mm_commit_fits(mm, more);
}

static int grow(struct vms_mm *mm, struct map *m, uint64_t addr) REQUIRES(mm->space.lock)
{
	struct map more = *m;
	struct edit e;
	int err;

	if (!has_room(mm, m, addr))
		return -ENOMEM;
	/* Linux makes the identity before it asks the limits, and keeps it when they refuse. */
	err = mm_touch(mm, m->start);
	if (err)
		return err;
	space_find(&mm->space, m->start, m);
	if (!may_grow(mm, m, addr))
		return -ENOMEM;
	more = *m;
	more.off -= m->start - addr;
	more.start = addr;
	more.last = m->start - 1;
	edit_init(&e, &mm->space);
	/* It grows, it does not merge with what it reaches. */
	e.plan.keep_first = e.plan.keep_last = addr;
	err = edit_map(&e, &more);
	if (!err)
		err = edit_prepare(&e);
	if (!err)
		err = mm_map_growth(mm, m, addr, m->start - addr);
	if (!err) {
		edit_commit(&e);
		mm_note_growing(mm, false);
	}
	edit_abort(&e);
	if (!err)
		space_find(&mm->space, addr, m);
	return err;
}

/* Is the guest page of `addr` wholly past the end of what m shows? */
static bool past_end(struct vms_mm *mm, const struct map *m, uint64_t addr) REQUIRES(mm->space.lock)
{
	uint64_t size;

	if (!(m->flags & (MM_FILE | MM_SHARED)) || object_size(m->obj, &size) != 0)
		return false;
	return m->off + (align_down(addr, mm_page(mm)) - m->start) >= size;
}

static enum vms_mm_fault fault_locked(struct vms_mm *mm, uint64_t addr, unsigned access)
	REQUIRES(mm->space.lock)
{
	struct map m;
	bool allowed;

	if (mm_catch_up(mm) || !space_find(&mm->space, addr, &m))
		return VMS_MM_FAULT_MAPERR;
	if (m.start > addr) {
		if (!(m.flags & MM_GROWSDOWN) ||
		    grow(mm, &m, align_down(addr, mm_page(mm))) != 0)
			return VMS_MM_FAULT_MAPERR;
	}
	/* x86: any right lets read; only its own lets write or execute. */
	if (access & VMS_PROT_WRITE)
		allowed = m.prot & VMS_PROT_WRITE;
	else if (access & VMS_PROT_EXEC)
		allowed = m.prot & VMS_PROT_EXEC;
	else
		allowed = m.prot != VMS_PROT_NONE;
	if (!allowed)
		return VMS_MM_FAULT_ACCERR;
	if (guards_hold(&mm->guards, addr))
		return VMS_MM_FAULT_MAPERR;
	/* Linux makes ready for the private page before it finds that the file has none. */
	if (access & VMS_PROT_WRITE)
		mm_touch(mm, addr);
	if (past_end(mm, &m, addr))
		return VMS_MM_FAULT_ADRERR;
	return VMS_MM_FAULT_NONE;
}

enum vms_mm_fault vms_mm_fault(struct vms_mm *mm, uint64_t addr, unsigned access)
{
	enum vms_mm_fault result;

	if (addr >= mm->pol.task_size)
		return VMS_MM_FAULT_MAPERR;
	mm_lock(mm);
	result = fault_locked(mm, addr, access);
	mm_unlock(mm);
	return result;
}
