// SPDX-License-Identifier: MIT
/*
 * sync.c: msync and mincore (reference linux-mm 1.8).
 */
#include "mman/mm.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static int sync_range(struct vms_mm *mm, uint64_t first, uint64_t last, int flags) REQUIRES(mm->space.lock)
{
	uint64_t addr = first;
	int hole = 0, err;
	struct map m;

	for (;;) {
		struct map part;

		if (!space_find(&mm->space, addr, &m))
			return -ENOMEM;
		if (m.start > addr) {
			if (flags == MS_ASYNC)
				return -ENOMEM;
			hole = -ENOMEM;
			addr = m.start;
			if (addr > last)
				return hole;
		}
		if ((flags & MS_INVALIDATE) && (m.flags & MM_LOCKED))
			return -EBUSY;
		part = map_cut(&m, addr, min_u64(m.last, last));
		if ((flags & MS_SYNC) && (part.flags & MM_FILE) && (part.flags & MM_SHARED)) {
			err = backend_sync(mm->space.mmu, part.start, map_len(&part), flags);
			if (err)
				return err;
		}
		if (part.last == last)
			return hole;
		addr = part.last + 1;
	}
}

int64_t vms_msync(struct vms_mm *mm, uint64_t addr, uint64_t len, int flags)
{
	uint64_t rounded = align_up(len, mm_page(mm));
	int err;

	if ((flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) || !is_aligned(addr, mm_page(mm)) ||
	    ((flags & MS_ASYNC) && (flags & MS_SYNC)))
		return -EINVAL;
	if (addr + rounded < addr)
		return -ENOMEM;
	if (rounded == 0)
		return 0;
	mm_lock(mm);
	err = mm_catch_up(mm);
	if (!err)
		err = sync_range(mm, addr, addr + rounded - 1, flags);
	mm_unlock(mm);
	return err;
}

/* Residency of [first, last] as far as it is mapped; *filled counts the guest pages. */
static int residency(struct vms_mm *mm, uint64_t first, uint64_t last, unsigned char *vec,
		     size_t *filled) REQUIRES(mm->space.lock)
{
	uint64_t addr = first, page = mm_page(mm);

	for (;;) {
		struct map part;
		int err;

		if (!mm_part_at(mm, addr, last, &part))
			return -ENOMEM;
		err = backend_residency(mm->space.mmu, part.start, map_len(&part), vec + *filled);
		if (err)
			return err;
		*filled += map_len(&part) / page;
		if (part.last == last)
			return 0;
		addr = part.last + 1;
	}
}

int64_t vms_mincore(struct vms_mm *mm, uint64_t addr, uint64_t len, unsigned char *vec,
		    size_t *filled)
{
	size_t n = 0;
	int err = 0;

	if (filled != NULL)
		*filled = 0;
	if (!is_aligned(addr, mm_page(mm)))
		return -EINVAL;
	if (addr > mm->pol.task_size || len > mm->pol.task_size - addr)
		return -ENOMEM;
	len = align_up(len, mm_page(mm));
	if (len == 0)
		return 0;
	mm_lock(mm);
	err = mm_catch_up(mm);
	if (!err)
		err = residency(mm, addr, addr + len - 1, vec, &n);
	mm_unlock(mm);
	if (filled != NULL)
		*filled = n;
	return err;
}
