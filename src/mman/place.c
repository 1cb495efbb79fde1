// SPDX-License-Identifier: MIT
/*
 * place.c: where a mapping goes (reference linux-mm 1.1 M7 to M9 and M11, 1.2, 1.13).
 *
 *	fixed	exactly there
 *	hint	there if the whole range is free and no growing region's gap is touched
 *	else	the highest gap below mmap_base (the lowest above it for bottom-up guests, and for
 *		MAP_32BIT), and when there is none the lowest from the legacy base up
 *
 * A request that large pages could serve (private anonymous memory without a hint, a multiple of
 * huge_size; or a file on a file system that asks for it) is first tried with huge_size more, and
 * moved up inside to the offset's own alignment. So an aligned hole of just the right size is not
 * reused: that is Linux.
 */
#include "mman/mm.h"

#include <errno.h>
#include <sys/stat.h>

/* MAP_32BIT's range. */
#define LOW_FIRST 0x40000000u
#define LOW_LAST  0x7fffffffu

/* Where bottom-up placement starts when top-down finds nothing. */
static uint64_t legacy_base(const struct vms_mm *mm)
{
	return align_up(mm->pol.task_size / 3, mm_page(mm));
}

/* Where the bytes begin that a growing mapping keeps free below itself. */
static uint64_t gap_start(const struct vms_mm *mm, const struct map *m)
{
	return m->start - (m->flags & MM_GROWSDOWN ? min_u64(mm->pol.stack_gap, m->start) : 0);
}

/* Is [addr, addr + len) free, its distance to a growing region above included? */
static bool hint_fits(struct vms_mm *mm, uint64_t addr, uint64_t len) REQUIRES(mm->space.lock)
{
	struct map above;

	if (addr > mm->pol.task_size - len)
		return false;
	return !space_find(&mm->space, addr, &above) || addr + len <= gap_start(mm, &above);
}

/*
 * The highest free run in [lo, hi]. If the mapping above it grows and the run reaches into its gap,
 * the search goes on below that gap: also when there are mappings inside the gap, with room between
 * them. That is Linux, and why the tree's own notion of guards is not used.
 */
static bool gap_down(struct vms_mm *mm, uint64_t lo, uint64_t hi, uint64_t len, uint64_t *addr)
	REQUIRES(mm->space.lock)
{
	struct map above;

	while (tree_gap_down(&mm->space.tree, lo, hi, len, addr)) {
		uint64_t end = *addr + len;

		if (!space_find(&mm->space, end, &above) || gap_start(mm, &above) >= end)
			return true;
		if (gap_start(mm, &above) <= lo)
			return false;
		hi = gap_start(mm, &above) - 1;
	}
	return false;
}

/* The lowest; upwards Linux goes on above the growing mapping. */
static bool gap_up(struct vms_mm *mm, uint64_t lo, uint64_t hi, uint64_t len, uint64_t *addr)
	REQUIRES(mm->space.lock)
{
	struct map above;

	while (tree_gap_up(&mm->space.tree, lo, hi, len, addr)) {
		if (!space_find(&mm->space, *addr, &above) ||
		    !(above.flags & MM_GROWSDOWN) ||
		    gap_start(mm, &above) >= *addr + len - 1)
			return true;
		if (above.last >= hi)
			return false;
		lo = above.last + 1;
	}
	return false;
}

static bool search_up(struct vms_mm *mm, const struct place *p, uint64_t len, uint64_t *addr) REQUIRES(mm->space.lock)
{
	uint64_t lo, hi, hint;

	if (p->low) {
		lo = LOW_FIRST;
		hi = min_u64(LOW_LAST, mm->pol.task_size - 1);
	} else {
		lo = mm->pol.flags & VMS_MM_BOTTOM_UP ? mm->pol.mmap_base : legacy_base(mm);
		hi = mm->pol.task_size - 1;
	}
	if (len > hi + 1)
		return false;
	hint = p->hint;
	if (hint != 0 && hint <= hi + 1 - len && hint_fits(mm, hint, len)) {
		*addr = hint;
		return true;
	}
	return gap_up(mm, max_u64(lo, mm_lowest(mm)), hi, len, addr);
}

/* One try for `len` bytes, hint first. */
static bool search(struct vms_mm *mm, const struct place *p, uint64_t len, uint64_t *addr) REQUIRES(mm->space.lock)
{
	if (len > mm->pol.task_size)
		return false;
	if (!p->low && !(mm->pol.flags & VMS_MM_BOTTOM_UP)) {
		if (p->hint != 0 && hint_fits(mm, p->hint, len)) {
			*addr = p->hint;
			return true;
		}
		if (mm->pol.mmap_base > mm_lowest(mm) &&
		    gap_down(mm, mm_lowest(mm), mm->pol.mmap_base - 1, len, addr))
			return true;
	}
	return search_up(mm, p, len, addr);
}

/* The large-page rule. False: it does not apply, or there is no such gap. */
static bool search_huge(struct vms_mm *mm, const struct place *p, uint64_t *addr) REQUIRES(mm->space.lock)
{
	uint64_t size = mm->pol.huge_size, off = p->off, first_huge, shift;

	if (size == 0)
		return false;
	if (p->anon_private) {
		if (p->hint != 0 || !is_aligned(p->len, size))
			return false;
		off = 0;
	} else if (!p->huge_file) {
		return false;
	}
	/* Offsets are signed in Linux: at their very end this wraps, and the rule applies. */
	first_huge = align_up(off, size);
	if ((int64_t)(off + p->len) <= (int64_t)first_huge || off + p->len - first_huge < size)
		return false;
	if (p->len > UINT64_MAX - size || off + p->len + size < off ||
	    !search(mm, p, p->len + size, addr))
		return false;
	if (*addr == p->hint)
		return true;
	shift = (off - *addr) & (size - 1);
	if (shift == 0 && !(mm->pol.flags & VMS_MM_BOTTOM_UP))
		shift = size;
	*addr += shift;
	return true;
}

int64_t mm_place(struct vms_mm *mm, const struct place *p)
{
	uint64_t addr = p->hint;

	if (p->len > mm->pol.task_size)
		return -ENOMEM;
	/* Linux takes such a fixed address for an error on its way and hands it out as one. */
	if (p->fixed && addr > (uint64_t)-4096)
		return (int64_t)addr;
	if (!p->fixed && !search_huge(mm, p, &addr) && !search(mm, p, p->len, &addr))
		return -ENOMEM;
	if (addr > mm->pol.task_size - p->len)
		return -ENOMEM;
	if (!is_aligned(addr, mm_page(mm)))
		return -EINVAL;
	if (addr < mm->pol.min_addr && !(mm->pol.flags & VMS_MM_CAP_RAWIO))
		return -EPERM;
	return (int64_t)addr;
}

bool mm_huge_file(const struct vms_mm *mm, const struct vms_object *obj)
{
	for (size_t i = 0; i < sizeof(mm->pol.huge_fs) / sizeof(mm->pol.huge_fs[0]); i++)
		if (mm->pol.huge_fs[i] != 0 && mm->pol.huge_fs[i] == obj->fs_type)
			return S_ISREG(obj->mode);
	return false;
}
