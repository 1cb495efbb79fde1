// SPDX-License-Identifier: MIT
/*
 * brk.c: the heap (reference linux-mm 1.6). It answers with the break, changed or not; it never
 * fails.
 */
#include "mman/mm.h"

#include <errno.h>

/* The heap's new bytes, [first, last]. */
static int heap_grow(struct vms_mm *mm, uint64_t first, uint64_t last) REQUIRES(mm->space.lock)
{
	struct map m = { .start = first, .last = last, .obj = mm->anon, .off = first,
			 .flags = MM_ACCOUNT | mm->def_flags,
			 .prot = VMS_PROT_READ | VMS_PROT_WRITE, .ceiling = MM_PROT_ALL };
	struct backend_map b = { .addr = first, .len = last - first + 1, .prot = m.prot, .fd = -1,
				 .flags = BACKEND_NOREPLACE };
	struct edit e;
	int err;

	if (!mm_may_expand(mm, &m, (int64_t)b.len) || !mm_commit_fits(mm, b.len) ||
	    mm->space.counts.n > mm->pol.max_map_count)
		return -ENOMEM;
	if ((m.flags & MM_LOCK_MASK) == MM_LOCKED)
		b.flags |= BACKEND_LOCKED;
	edit_init(&e, &mm->space);
	/* The first piece of heap does not become one with the program's data below it. */
	if (first == align_up(mm->brk_start, mm_page(mm)))
		e.plan.keep_first = e.plan.keep_last = first;
	err = edit_map(&e, &m);
	if (!err)
		err = edit_prepare(&e);
	if (!err)
		err = backend_map(mm->space.mmu, &b);
	if (!err && (m.flags & MM_LOCKONFAULT))
		backend_lock(mm->space.mmu, first, b.len, 2);
	if (!err)
		edit_commit(&e);
	edit_abort(&e);
	if (!err && (m.flags & MM_LOCKED))
		mm_populated(mm, first, last);
	return err;
}

static bool may_grow(struct vms_mm *mm, uint64_t brk, uint64_t old_top, uint64_t new_top) REQUIRES(mm->space.lock)
{
	uint64_t page = mm_page(mm), gap = 0;
	struct map next;

	if (new_top > mm->pol.task_size || !mm_lock_fits(mm, mm->def_flags, new_top - old_top))
		return false;
	if (old_top < mm->pol.min_addr && !(mm->pol.flags & VMS_MM_CAP_RAWIO))
		return false;
	if (!space_find(&mm->space, old_top, &next))
		return true;
	if (next.flags & MM_GROWSDOWN)
		gap = min_u64(mm->pol.stack_gap, next.start);
	/* One page stays free above the heap. */
	return new_top + page <= next.start - gap;
}

static bool set_brk(struct vms_mm *mm, uint64_t brk) REQUIRES(mm->space.lock)
{
	uint64_t page = mm_page(mm), old_top = align_up(mm->brk, page), new_top = align_up(brk, page);
	struct map m;

	if (brk < mm->brk_start || brk > mm->pol.task_size ||
	    brk - mm->brk_start > mm->pol.limit[VMS_MM_LIMIT_DATA].soft)
		return false;
	if (new_top == old_top)
		return true;
	if (new_top < old_top) {
		if (!space_find(&mm->space, new_top, &m) || m.start >= old_top)
			return false;
		return mm_unmap(mm, new_top, old_top - 1) == 0;
	}
	return may_grow(mm, brk, old_top, new_top) && heap_grow(mm, old_top, new_top - 1) == 0;
}

int64_t vms_brk(struct vms_mm *mm, uint64_t brk)
{
	int64_t result;

	mm_lock(mm);
	if (mm_catch_up(mm) == 0 && set_brk(mm, brk))
		mm->brk = brk;
	result = (int64_t)mm->brk;
	mm_unlock(mm);
	return result;
}
