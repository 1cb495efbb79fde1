// SPDX-License-Identifier: MIT
/*
 * unmap.c: munmap (reference linux-mm 1.3) and the checks that every replacement shares.
 *
 * Linux parts the mappings at the two ends of the range before it finds a reason to refuse, and does
 * not join them again. That shows in the maps, so we do it too.
 */
#include "mman/mm.h"

#include <errno.h>

#include "space/quick.h"

/* Nothing changes but that two mappings meet at addr. */
static void no_change(struct map *piece, void *arg)
{
}

void mm_cut(struct vms_mm *mm, uint64_t addr)
{
	struct edit e;
	struct map m;

	if (!space_find(&mm->space, addr, &m) || m.start >= addr)
		return;
	edit_init(&e, &mm->space);
	e.plan.keep_first = 0;
	e.plan.keep_last = UINT64_MAX;
	if (edit_update(&e, addr, m.last, no_change, NULL) == 0 && edit_prepare(&e) == 0) {
		edit_commit(&e);
		if (m.flags & MM_GROWSDOWN)
			mm_note_growing(mm, true);
	}
	edit_abort(&e);
}

void mm_part(struct vms_mm *mm, uint64_t first, uint64_t last)
{
	mm_cut(mm, first);
	mm_cut(mm, last + 1);
}

/* What is left of an unmapping that was refused at the mapping `at`. */
static int refuse(struct vms_mm *mm, uint64_t first, const struct map *at, int err)
	REQUIRES(mm->space.lock)
{
	if (at->start > first)
		mm_cut(mm, first);
	return err;
}

int mm_unmap_check(struct vms_mm *mm, uint64_t first, uint64_t last, struct under *under)
{
	const struct map *m;
	struct map later;

	under->n = 0;
	under->mapped = under->charged = 0;
	if (!space_spot(&mm->space, first, &under->spot))
		return 0;
	for (m = under->spot.at; m->start <= last; m = &later) {
		bool cut = m->start < first || m->last > last;
		uint64_t bytes = min_u64(m->last, last) - max_u64(m->start, first) + 1;

		/* Only a hole inside one mapping adds one. */
		if (m->start < first && m->last > last &&
		    mm->space.counts.n >= mm->pol.max_map_count)
			return -ENOMEM;
		if (m->flags & (MM_SEALED | MM_FIXED))
			return refuse(mm, first, m, -EPERM);
		if (cut && (m->flags & MM_WHOLE))
			return refuse(mm, first, m, -EINVAL);
		under->n++;
		under->mapped += bytes;
		if (m->flags & MM_ACCOUNT)
			under->charged += bytes;
		if (m->last >= last || !space_find(&mm->space, m->last + 1, &later))
			break;
	}
	return 0;
}

/* The edit of a range in which something stands, around the host call. */
static int unmap_edit(struct vms_mm *mm, uint64_t first, uint64_t last) REQUIRES(mm->space.lock)
{
	struct edit e;
	int err;

	edit_init(&e, &mm->space);
	err = edit_unmap(&e, first, last);
	if (!err)
		err = edit_prepare(&e);
	if (!err)
		err = backend_unmap(mm->space.mmu, first, last - first + 1);
	if (!err)
		edit_commit(&e);
	edit_abort(&e);
	return err;
}

int mm_unmap(struct vms_mm *mm, uint64_t first, uint64_t last)
{
	struct under under;
	struct quick q;
	int err = mm_unmap_check(mm, first, last, &under);

	if (err || under.n == 0)
		return err;
	err = guards_reserve(&mm->guards, mm->space.world, 1);
	if (err)
		return err;
	err = quick_prepare(&q, &mm->space, &under.spot, first, last, NULL, false);
	if (err == QUICK_NOT) {
		err = unmap_edit(mm, first, last);
	} else if (!err) {
		err = backend_unmap(mm->space.mmu, first, last - first + 1);
		if (!err)
			quick_commit(&q);
	}
	if (err)
		return err;
	guards_clear(&mm->guards, first, last);
	mm_note_growing(mm, false);
	return 0;
}

int64_t vms_munmap(struct vms_mm *mm, uint64_t addr, uint64_t len)
{
	uint64_t page = mm_page(mm), task = mm->pol.task_size;
	int err;

	if (!is_aligned(addr, page) || addr > task || len > task - addr)
		return -EINVAL;
	len = align_up(len, page);
	if (len == 0)
		return -EINVAL;
	mm_lock(mm);
	err = mm_catch_up(mm);
	if (!err)
		err = mm_unmap(mm, addr, addr + len - 1);
	mm_unlock(mm);
	return err;
}
