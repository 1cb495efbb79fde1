// SPDX-License-Identifier: MIT
/*
 * madvise.c: madvise (reference linux-mm 1.7).
 *
 * Linux walks the mappings of the range, applies the advice to each mapped part, passes over holes
 * and says ENOMEM at the end. Advice is of four kinds:
 *
 *	flag	the mapping remembers it: it is split and merged as mprotect would
 *	content	pages go, or change: the backend does it
 *	guard	markers (guard.c), which a backend that knows them realises
 *	hint	validated; no effect that anyone can see
 */
#include "mman/mm.h"

#include <errno.h>
#include <linux/magic.h>
#include <sys/mman.h>

/* Advice that Debian 12's headers may lack. */
#define A_DONTNEED_LOCKED 24
#define A_COLLAPSE	  25
#define A_POPULATE_READ	  22
#define A_POPULATE_WRITE  23
#define A_GUARD_INSTALL	  102
#define A_GUARD_REMOVE	  103
#define A_HWPOISON	  100
#define A_SOFT_OFFLINE	  101

struct advice {
	struct vms_mm *mm;
	int kind;
};

static bool known(int advice)
{
	switch (advice) {
	case MADV_NORMAL:
	case MADV_RANDOM:
	case MADV_SEQUENTIAL:
	case MADV_WILLNEED:
	case MADV_DONTNEED:
	case MADV_FREE:
	case MADV_REMOVE:
	case MADV_DONTFORK:
	case MADV_DOFORK:
	case MADV_MERGEABLE:
	case MADV_UNMERGEABLE:
	case MADV_HUGEPAGE:
	case MADV_NOHUGEPAGE:
	case MADV_DONTDUMP:
	case MADV_DODUMP:
	case MADV_WIPEONFORK:
	case MADV_KEEPONFORK:
	case MADV_COLD:
	case MADV_PAGEOUT:
	case A_POPULATE_READ:
	case A_POPULATE_WRITE:
	case A_DONTNEED_LOCKED:
	case A_GUARD_INSTALL:
	case A_GUARD_REMOVE:
	case A_HWPOISON:
	case A_SOFT_OFFLINE:
		return true;
	default:
		return false;
	}
}

/* Sealed anonymous memory that the guest could not write to may not lose its content either. */
static bool sealed_against(const struct map *m, int kind)
{
	if (!(m->flags & (MM_SEALED | MM_FIXED)))
		return false;
	switch (kind) {
	case MADV_FREE:
	case MADV_DONTNEED:
	case A_DONTNEED_LOCKED:
	case MADV_REMOVE:
	case MADV_DONTFORK:
	case MADV_WIPEONFORK:
	case A_GUARD_INSTALL:
		/* What is not the guest's is never its to drop. */
		return (m->flags & MM_FIXED) || (map_is_anon(m) && !(m->prot & VMS_PROT_WRITE));
	default:
		return false;
	}
}

/* ---- flags ---- */

/* What the advice sets and clears. False: it is no flag advice. */
static bool flag_advice(int kind, uint32_t *clear, uint32_t *set)
{
	*clear = *set = 0;
	switch (kind) {
	case MADV_NORMAL:
		*clear = MM_RANDOM | MM_SEQUENTIAL;
		return true;
	case MADV_RANDOM:
		*clear = MM_SEQUENTIAL;
		*set = MM_RANDOM;
		return true;
	case MADV_SEQUENTIAL:
		*clear = MM_RANDOM;
		*set = MM_SEQUENTIAL;
		return true;
	case MADV_DONTFORK:
		*set = MM_DONTFORK;
		return true;
	case MADV_DOFORK:
		*clear = MM_DONTFORK;
		return true;
	case MADV_WIPEONFORK:
		*set = MM_WIPEONFORK;
		return true;
	case MADV_KEEPONFORK:
		*clear = MM_WIPEONFORK;
		return true;
	case MADV_DONTDUMP:
		*set = MM_DONTDUMP;
		return true;
	case MADV_DODUMP:
		*clear = MM_DONTDUMP;
		return true;
	case MADV_MERGEABLE:
		*set = MM_MERGEABLE;
		return true;
	case MADV_UNMERGEABLE:
		*clear = MM_MERGEABLE;
		return true;
	case MADV_HUGEPAGE:
		*clear = MM_NOHUGEPAGE;
		*set = MM_HUGEPAGE;
		return true;
	case MADV_NOHUGEPAGE:
		*clear = MM_HUGEPAGE;
		*set = MM_NOHUGEPAGE;
		return true;
	default:
		return false;
	}
}

/* The host's fork, not ours, copies the window: it must know. For the others it is good to know. */
static void tell_advice(struct vms_mm *mm, const struct map *part, int kind) REQUIRES(mm->space.lock)
{
	if (!(part->flags & MM_SPECIAL))
		backend_advise(mm->space.mmu, part->start, map_len(part), kind);
}

static int advise_flags(const struct advice *a, const struct map *part, uint32_t clear,
			uint32_t set)
{
	struct vms_mm *mm = a->mm;
	int err;

	mm_held(mm);
	switch (a->kind) {
	case MADV_WIPEONFORK:
		if (part->flags & (MM_SHARED | MM_FILE))
			return -EINVAL;
		break;
	case MADV_KEEPONFORK:
		if (part->flags & MM_DROPPABLE)
			return -EINVAL;
		break;
	case MADV_DODUMP:
		if (part->flags & (MM_DROPPABLE | MM_SPECIAL))
			return -EINVAL;
		break;
	case MADV_MERGEABLE:
		/* Only private memory takes the flag. */
		if ((part->flags & (MM_SHARED | MM_SPECIAL | MM_DROPPABLE)))
			return 0;
		break;
	default:
		break;
	}
	if (((part->flags & ~clear) | set) == part->flags)
		return 0;
	err = mm_set_flags(mm, part, clear, set, tell_advice, a->kind);
	return err == -ENOMEM ? -EAGAIN : err;
}

/* ---- content ---- */

/* Where a file of this file system must end, of ext4 with 4 KiB blocks; no hole is punched beyond. */
#define EXT4_LARGEST 0xffffffff000u

static uint64_t largest_file(const struct vms_object *obj)
{
	return obj->fs_type == EXT4_SUPER_MAGIC ? EXT4_LARGEST : INT64_MAX;
}

static int content_check(const struct advice *a, const struct map *part)
{
	switch (a->kind) {
	case MADV_FREE:
		if ((part->flags & MM_LOCKED) || !map_is_anon(part))
			return -EINVAL;
		return 0;
	case MADV_DONTNEED:
	case MADV_COLD:
	case MADV_PAGEOUT:
		return part->flags & MM_LOCKED ? -EINVAL : 0;
	case MADV_REMOVE:
		if ((part->flags & MM_LOCKED) || !(part->flags & (MM_FILE | MM_SHARED)))
			return -EINVAL;
		if (!(part->flags & MM_SHARED) || !(part->ceiling & VMS_PROT_WRITE))
			return -EACCES;
		return part->off + map_len(part) > largest_file(part->obj) ? -EFBIG : 0;
	case A_GUARD_INSTALL:
		return part->flags & (MM_LOCKED | MM_SPECIAL) ? -EINVAL : 0;
	case A_GUARD_REMOVE:
		return part->flags & MM_SPECIAL ? -EINVAL : 0;
	default:
		return 0;
	}
}

static int advise_guard(const struct advice *a, const struct map *part)
{
	struct vms_mm *mm = a->mm;
	int err = guards_reserve(&mm->guards, mm->space.world, 1);

	mm_held(mm);
	if (!err && a->kind == A_GUARD_INSTALL && map_is_anon(part))
		err = mm_touch(mm, part->start); /* as a first write would */
	if (!err)
		err = backend_advise(mm->space.mmu, part->start, map_len(part), a->kind);
	if (err)
		return err;
	if (a->kind == A_GUARD_INSTALL)
		guards_set(&mm->guards, part->start, part->last);
	else
		guards_clear(&mm->guards, part->start, part->last);
	return 0;
}

static int advise_part(const struct advice *a, const struct map *part)
{
	uint32_t clear, set;
	int err;

	if (sealed_against(part, a->kind))
		return -EPERM;
	if (flag_advice(a->kind, &clear, &set))
		return advise_flags(a, part, clear, set);
	err = content_check(a, part);
	if (err)
		return err;
	switch (a->kind) {
	case A_GUARD_INSTALL:
	case A_GUARD_REMOVE:
		return advise_guard(a, part);
	case MADV_DONTNEED:
	case A_DONTNEED_LOCKED:
	case MADV_FREE:
	case MADV_REMOVE:
		return backend_advise(a->mm->space.mmu, part->start, map_len(part), a->kind);
	default:
		/* A hint: what the host makes of it changes nothing that the guest can see. */
		if (!(part->flags & MM_SPECIAL))
			backend_advise(a->mm->space.mmu, part->start, map_len(part), a->kind);
		return 0;
	}
}

/* ---- populate: stops at the first thing it cannot do ---- */

static int populate(const struct advice *a, uint64_t first, uint64_t last)
{
	struct vms_mm *mm = a->mm;
	bool write = a->kind == A_POPULATE_WRITE;
	uint64_t addr = first, size;

	mm_held(mm);
	for (;;) {
		struct map part;
		int err;

		if (!mm_part_at(mm, addr, last, &part))
			return -ENOMEM;
		if (part.flags & MM_SPECIAL)
			return -EINVAL;
		if (!(part.prot & (write ? VMS_PROT_WRITE : VMS_PROT_READ)))
			return -EINVAL;
		/* A guard marker ends it, after the pages before it: those give the region its identity. */
		if (write && !guards_hold(&mm->guards, part.start))
			mm_touch(mm, part.start);
		if (mm->space.mmu->ops->caps & BACKEND_CONTENT) {
			err = backend_advise(mm->space.mmu, part.start, map_len(&part), a->kind);
			if (err)
				return err;
		}
		if (guards_count(&mm->guards, part.start, part.last) != 0)
			return -EFAULT;
		if (!(mm->space.mmu->ops->caps & BACKEND_CONTENT) &&
		    (part.flags & (MM_FILE | MM_SHARED)) && object_size(part.obj, &size) == 0 &&
		    part.off + (map_len(&part) - mm_page(mm)) >= size)
			return -EFAULT; /* a page past the end */
		if (part.last == last)
			return 0;
		addr = part.last + 1;
	}
}

/* ---- the walk ---- */

static int walk(const struct advice *a, uint64_t first, uint64_t last)
{
	struct vms_mm *mm = a->mm;
	uint64_t addr = first;
	int hole = 0, err;
	struct map m;

	mm_held(mm);
	for (;;) {
		struct map part;

		if (!space_find(&mm->space, addr, &m))
			return -ENOMEM;
		if (m.start > addr) {
			hole = -ENOMEM;
			addr = m.start;
			if (addr > last)
				return hole;
		}
		part = map_cut(&m, addr, min_u64(m.last, last));
		err = advise_part(a, &part);
		if (err)
			return err;
		if (part.last == last)
			return hole;
		addr = part.last + 1;
	}
}

int64_t vms_madvise(struct vms_mm *mm, uint64_t addr, uint64_t len, int advice)
{
	struct advice a = { mm, advice };
	uint64_t rounded = align_up(len, mm_page(mm));
	int err;

	if (!known(advice) || !is_aligned(addr, mm_page(mm)) || (len != 0 && rounded == 0) ||
	    addr + rounded < addr)
		return -EINVAL;
	if (rounded == 0)
		return 0;
	if (advice == A_HWPOISON || advice == A_SOFT_OFFLINE)
		return -EPERM;
	mm_lock(mm);
	err = mm_catch_up(mm);
	if (!err)
		err = advice == A_POPULATE_READ || advice == A_POPULATE_WRITE ?
			      populate(&a, addr, addr + rounded - 1) :
			      walk(&a, addr, addr + rounded - 1);
	mm_unlock(mm);
	return err;
}
