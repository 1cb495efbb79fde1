// SPDX-License-Identifier: MIT
/*
 * mlock.c: mlock, mlock2, munlock, mlockall, munlockall (reference linux-mm 1.8).
 *
 * "Locked" is an attribute of a mapping, counted against RLIMIT_MEMLOCK. Locking also populates;
 * when that fails the mapping stays locked, and the call says so with an error, as Linux does.
 */
#include "mman/mm.h"

#include <errno.h>
#include <sys/mman.h>

/* The host's own lock is an effort, not a truth: its limit is the process's. */
static void tell_lock(struct vms_mm *mm, const struct map *part, int on) REQUIRES(mm->space.lock)
{
	backend_lock(mm->space.mmu, part->start, map_len(part), on);
}

static int host_lock_kind(uint32_t set)
{
	return set == 0 ? 0 : set & MM_LOCKONFAULT ? 2 : 1;
}

/* Set or clear the lock of one mapping's part; some kinds never lock. */
static int lock_part(struct vms_mm *mm, const struct map *part, uint32_t set, bool tell)
	REQUIRES(mm->space.lock)
{
	if ((part->flags & MM_LOCK_MASK) == set ||
	    (part->flags & (MM_SPECIAL | MM_DROPPABLE)))
		return 0;
	return mm_set_flags(mm, part, MM_LOCK_MASK, set, tell ? tell_lock : NULL,
			    host_lock_kind(set));
}

/* Can every page of this part be had? */
static bool can_populate(const struct vms_mm *mm, const struct map *part)
{
	uint64_t size;

	if (part->prot == VMS_PROT_NONE)
		return false;
	if ((part->flags & (MM_FILE | MM_SHARED)) && object_size(part->obj, &size) == 0 &&
	    part->off + (map_len(part) - mm_page(mm)) >= size)
		return false;
	return guards_count(&mm->guards, part->start, part->last) == 0;
}

/*
 * Linux sets all flags first, then populates, from the start to the first page that it cannot, and not
 * at all if it met a hole. A host whose regions decide ours is given the range as it is, so that it does
 * the same; another is told of each part.
 */
static int lock_range(struct vms_mm *mm, uint64_t first, uint64_t last, uint32_t set)
	REQUIRES(mm->space.lock)
{
	bool at_once = (mm->space.mmu->ops->caps & BACKEND_SEAMS) &&
		       mm_bytes(mm, first, last, MM_SPECIAL) == 0;
	uint64_t addr = first;

	if (at_once)
		backend_lock(mm->space.mmu, first, last - first + 1, host_lock_kind(set));
	for (;;) {
		struct map part;
		int err;

		if (!mm_part_at(mm, addr, last, &part))
			return -ENOMEM;
		err = lock_part(mm, &part, set, !at_once);
		if (err)
			return err;
		if (part.last == last)
			return 0;
		addr = part.last + 1;
	}
}

/* What populating the locked range answers; it stops at the first page that cannot be. */
static int lock_populate(struct vms_mm *mm, uint64_t first, uint64_t last)
	REQUIRES(mm->space.lock)
{
	uint64_t addr = first;
	struct map m;

	while (space_find(&mm->space, addr, &m) && m.start <= last) {
		struct map part = map_cut(&m, max_u64(addr, m.start), min_u64(m.last, last));

		if (!(part.flags & (MM_LOCKONFAULT | MM_SPECIAL))) {
			if (part.prot == VMS_PROT_NONE)
				return -ENOMEM;
			mm_populated(mm, part.start, part.last);
			if (!can_populate(mm, &part))
				return -ENOMEM;
		}
		if (part.last == last)
			break;
		addr = part.last + 1;
	}
	return 0;
}

static int64_t do_lock(struct vms_mm *mm, uint64_t addr, uint64_t len, uint32_t set)
{
	uint64_t page = mm_page(mm), last;
	int err;

	len = align_up(len + (addr & (page - 1)), page);
	addr = align_down(addr, page);
	last = addr + len - 1;
	mm_lock(mm);
	err = mm_catch_up(mm);
	if (!err && set != 0) {
		uint64_t had = len != 0 && last >= addr ? mm_bytes(mm, addr, last, MM_LOCKED) : 0;

		if (!mm_may_lock_at_all(mm))
			err = -EPERM;
		else if (len > mm->pol.task_size && !(mm->pol.flags & VMS_MM_CAP_IPC_LOCK))
			err = -ENOMEM;
		else if (!mm_lock_fits(mm, MM_LOCKED, len - had))
			err = -ENOMEM;
	}
	if (!err && len != 0) {
		if (addr + len < addr)
			err = -EINVAL; /* also when it ends just where addresses do */
		else
			err = lock_range(mm, addr, last, set);
		if (!err && set != 0)
			err = lock_populate(mm, addr, last);
	}
	mm_unlock(mm);
	return err;
}

int64_t vms_mlock(struct vms_mm *mm, uint64_t addr, uint64_t len)
{
	return do_lock(mm, addr, len, MM_LOCKED);
}

int64_t vms_mlock2(struct vms_mm *mm, uint64_t addr, uint64_t len, int flags)
{
	if (flags & ~MLOCK_ONFAULT)
		return -EINVAL;
	return do_lock(mm, addr, len, MM_LOCKED | (flags & MLOCK_ONFAULT ? MM_LOCKONFAULT : 0u));
}

int64_t vms_munlock(struct vms_mm *mm, uint64_t addr, uint64_t len)
{
	return do_lock(mm, addr, len, 0);
}

/* The end of the stretch of mappings from m on that has no hole and nothing foreign in it. */
static uint64_t stretch_last(struct vms_mm *mm, const struct map *m) REQUIRES(mm->space.lock)
{
	uint64_t last = m->last;
	struct map next;

	while (space_find(&mm->space, last + 1, &next) && next.start == last + 1 &&
	       !(next.flags & MM_SPECIAL))
		last = next.last;
	return last;
}

static void tell_each(struct vms_mm *mm, uint64_t first, uint64_t last, int on)
	REQUIRES(mm->space.lock)
{
	struct map m;

	while (first <= last && space_find(&mm->space, first, &m)) {
		tell_lock(mm, &m, on);
		first = m.last + 1;
	}
}

/*
 * Linux sets all flags first and then populates, each mapping for itself. Only neighbours lend each
 * other an identity, so it is enough to set the flags of a stretch at once; where that ends at a page
 * that cannot be had, its mappings are populated one by one.
 */
static void tell_all(struct vms_mm *mm, int on) REQUIRES(mm->space.lock)
{
	uint64_t addr = 0;
	struct map m;

	while (space_find(&mm->space, addr, &m)) {
		uint64_t last = m.last;

		if (!(m.flags & MM_SPECIAL)) {
			last = stretch_last(mm, &m);
			if (backend_lock(mm->space.mmu, m.start, last - m.start + 1, on) < 0)
				tell_each(mm, m.start, last, on);
		}
		addr = last + 1;
	}
}

static void lock_all(struct vms_mm *mm, uint32_t set) REQUIRES(mm->space.lock)
{
	bool at_once = mm->space.mmu->ops->caps & BACKEND_SEAMS;
	uint64_t addr = 0;
	struct map m;

	if (at_once)
		tell_all(mm, host_lock_kind(set));
	while (space_find(&mm->space, addr, &m)) {
		lock_part(mm, &m, set, !at_once);
		addr = m.last + 1;
	}
}

int64_t vms_mlockall(struct vms_mm *mm, int flags)
{
	uint32_t set = MM_LOCKED;
	int err;

	if (flags == 0 || (flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) ||
	    flags == MCL_ONFAULT)
		return -EINVAL;
	if (flags & MCL_ONFAULT)
		set |= MM_LOCKONFAULT;
	mm_lock(mm);
	err = mm_catch_up(mm);
	if (!err && !mm_may_lock_at_all(mm))
		err = -EPERM;
	if (!err && (flags & MCL_CURRENT) && !(mm->pol.flags & VMS_MM_CAP_IPC_LOCK) &&
	    mm->space.counts.bytes[MM_CLASS_TOTAL] > mm->pol.limit[VMS_MM_LIMIT_MEMLOCK].soft)
		err = -ENOMEM;
	if (!err) {
		mm->def_flags = flags & MCL_FUTURE ? set : 0;
		if (flags & MCL_CURRENT) {
			lock_all(mm, set);
			mm_populated(mm, 0, mm->pol.task_size - 1);
		}
	}
	mm_unlock(mm);
	return err;
}

int64_t vms_munlockall(struct vms_mm *mm)
{
	int err;

	mm_lock(mm);
	err = mm_catch_up(mm);
	if (!err) {
		mm->def_flags = 0;
		lock_all(mm, 0);
	}
	mm_unlock(mm);
	return err;
}
