// SPDX-License-Identifier: MIT
/*
 * mremap.c: mremap (reference linux-mm 1.5).
 *
 *	          new address asked for?   (FIXED or DONTUNMAP)
 *	            no │                                │ yes
 *	  ┌────────────┼────────────┐                   │
 *	shrink      same size     grow          unmap the destination, then move;
 *	cut tail    nothing    in place, or     with FIXED and equal sizes mapping by
 *	                       move (MAYMOVE)   mapping, holes kept
 *
 * A move is one edit: destination replaced, source gone (or emptied, DONTUNMAP), new mapping. The
 * host moves the pages in one call; nothing is copied. Where Linux refuses a move only after it
 * has unmapped the destination, so do we; everything that we can refuse comes before the edit.
 */
#include "mman/mm.h"

#include <errno.h>
#include <sys/mman.h>

#include "space/quick.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

struct mremap_call {
	struct vms_mm *mm;
	uint64_t addr, old_len, new_len, flags, new_addr; /* lengths rounded up by check_args */
	uint64_t delta; /* between the lengths, whichever is longer */
	struct map vma; /* the mapping that holds addr; check_source */
};

static bool wants_address(const struct mremap_call *c)
{
	return c->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP);
}

static int check_args(struct mremap_call *c)
{
	uint64_t page = mm_page(c->mm), task = c->mm->pol.task_size;

	c->old_len = align_up(c->old_len, page);
	c->new_len = align_up(c->new_len, page);
	c->delta = max_u64(c->old_len, c->new_len) - min_u64(c->old_len, c->new_len);
	if (c->flags & ~(uint64_t)(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP))
		return -EINVAL;
	if (!is_aligned(c->addr, page) || c->new_len == 0 || c->new_len > task)
		return -EINVAL;
	if (!wants_address(c))
		return 0;
	if (c->new_addr > task - c->new_len || !is_aligned(c->new_addr, page) ||
	    !(c->flags & MREMAP_MAYMOVE))
		return -EINVAL;
	if ((c->flags & MREMAP_DONTUNMAP) && c->old_len != c->new_len)
		return -EINVAL;
	if (c->addr + c->old_len > c->new_addr && c->new_addr + c->new_len > c->addr)
		return -EINVAL;
	if (c->mm->space.counts.n + 2 >= (uint64_t)c->mm->pol.max_map_count - 3)
		return -ENOMEM;
	return 0;
}

/* The mapping at addr, and whether it may do what is asked. */
static int check_source(struct mremap_call *c)
{
	struct vms_mm *mm = c->mm;
	bool grows = c->new_len > c->old_len;

	mm_held(mm);
	if (!space_find(&mm->space, c->addr, &c->vma) || c->vma.start > c->addr)
		return -EFAULT;
	if (c->vma.flags & (MM_SEALED | MM_FIXED))
		return -EPERM;
	if (!grows && !wants_address(c))
		return 0;
	if (c->old_len == 0 && !(c->vma.flags & MM_SHARED))
		return -EINVAL;
	if ((c->flags & MREMAP_DONTUNMAP) && (c->vma.flags & MM_SPECIAL))
		return -EINVAL;
	/* A shrink may reach over what follows: that is only unmapped. */
	if (min_u64(c->old_len, c->new_len) > c->vma.last - c->addr + 1)
		return -EFAULT;
	if (c->new_len == c->old_len)
		return 0;
	if (c->vma.flags & MM_SPECIAL)
		return -EFAULT;
	if (!grows)
		return 0;
	if (!mm_lock_fits(mm, c->vma.flags, c->new_len - c->old_len))
		return -EAGAIN;
	if (!mm_may_expand(mm, &c->vma, (int64_t)(c->new_len - c->old_len)))
		return -ENOMEM;
	return 0;
}

/* ---- in place ---- */

static bool can_grow_here(struct mremap_call *c)
{
	struct vms_mm *mm = c->mm;
	uint64_t delta = c->new_len - c->old_len, end = c->addr + c->old_len;

	mm_held(mm);
	if (c->vma.last != end - 1 || c->old_len == 0)
		return false;
	if (delta > mm->pol.task_size || end > mm->pol.task_size - delta)
		return false;
	if (c->vma.start < mm->pol.min_addr && !(mm->pol.flags & VMS_MM_CAP_RAWIO))
		return false;
	return !mm_any_mapped(mm, end, end + delta - 1);
}

static void lend(struct map *piece, void *arg)
{
	const struct map *from = arg;

	piece->ident = from->ident;
	piece->inherited = from->inherited;
}

/* Growing up to a region without identity joins it, even if ours was inherited: the one exception. */
static int lend_to_next(struct mremap_call *c, struct edit *e, struct map *more)
{
	struct vms_mm *mm = c->mm;
	struct map next;

	mm_held(mm);
	if (!space_find(&mm->space, more->last + 1, &next) || next.ident != 0 ||
	    !map_continues(more, &next))
		return 0;
	return edit_update(e, next.start, next.last, lend, more);
}

/* As the next one, of a mapping that was inherited. */
static int grow_inherited(struct mremap_call *c, struct map *more)
{
	struct vms_mm *mm = c->mm;
	struct edit e;
	int err;

	mm_held(mm);
	edit_init(&e, &mm->space);
	err = edit_map(&e, more);
	if (!err)
		err = lend_to_next(c, &e, more);
	if (!err)
		err = edit_prepare(&e);
	if (!err)
		err = backend_move(mm->space.mmu, c->addr, c->old_len, c->addr, c->new_len, 0);
	if (!err)
		edit_commit(&e);
	edit_abort(&e);
	return err;
}

/* Ordinary private anonymous memory: some backends had rather map the new part than resize. */
static int grow_in_host(struct mremap_call *c, const struct map *more)
{
	struct vms_mmu *mmu = c->mm->space.mmu;
	struct backend_map b = { .addr = more->start, .len = map_len(more), .prot = more->prot,
				 .flags = BACKEND_NOREPLACE | BACKEND_GROWTH, .fd = -1 };
	int err = -EFAULT;

	if (more->flags & MM_NORESERVE)
		b.flags |= BACKEND_NORESERVE;
	if ((mmu->ops->caps & BACKEND_ADDS) && !(more->flags & ~(MM_NORESERVE | MM_ACCOUNT)))
		err = backend_map(mmu, &b);
	if (err == -EFAULT)
		err = backend_move(mmu, c->addr, c->old_len, c->addr, c->new_len, 0);
	return err;
}

/* The edit and the host call of growing in place. */
static int grow_edit(struct mremap_call *c, const struct map *more)
{
	struct vms_mm *mm = c->mm;
	struct tree_spot spot;
	struct quick q;
	int err;

	mm_held(mm);
	space_spot(&mm->space, more->start, &spot);
	/* Into a hole, so it never takes a plan. */
	err = quick_prepare(&q, &mm->space, &spot, more->start, more->last, more,
			    /* fresh = */ true);
	if (!err)
		err = grow_in_host(c, more);
	if (!err)
		quick_commit(&q);
	return err;
}

static int grow_here(struct mremap_call *c)
{
	struct vms_mm *mm = c->mm;
	uint64_t delta = c->new_len - c->old_len;
	struct map more = c->vma;
	int err;

	mm_held(mm);
	if ((more.flags & MM_ACCOUNT) && !mm_commit_fits(mm, delta))
		return -ENOMEM;
	more.start = c->vma.last + 1;
	more.last = c->vma.last + delta;
	more.off = c->vma.off + map_len(&c->vma);
	err = more.inherited ? grow_inherited(c, &more) : grow_edit(c, &more);
	if (!err && (more.flags & MM_LOCKED))
		mm_populated(mm, more.start, more.last);
	return err;
}

/* ---- moving ---- */

/* What Linux checks once the destination is free. */
static int check_move(struct mremap_call *c)
{
	struct vms_mm *mm = c->mm;
	uint64_t charge = c->flags & MREMAP_DONTUNMAP ? c->new_len : c->delta;

	mm_held(mm);
	if (mm->space.counts.n >= (uint64_t)mm->pol.max_map_count - 3)
		return -ENOMEM;
	if ((c->vma.flags & MM_WHOLE) &&
	    (c->vma.start != c->addr || c->vma.last != c->addr + c->old_len - 1))
		return -EINVAL;
	/* Linux charges the difference of a shrink too. */
	if ((c->vma.flags & MM_ACCOUNT) && !mm_commit_fits(mm, charge))
		return -ENOMEM;
	return 0;
}

/* The mapping below `to`, and the one from `end` on, as they are once the destination is free. */
static bool touches_below(struct vms_mm *mm, uint64_t to, struct map *below)
	REQUIRES(mm->space.lock)
{
	if (!space_find_below(&mm->space, to, below) || below->last < to - 1)
		return false;
	*below = map_cut(below, below->start, to - 1);
	return true;
}

static bool touches_above(struct vms_mm *mm, uint64_t end, struct map *above)
	REQUIRES(mm->space.lock)
{
	if (!space_find(&mm->space, end, above) || above->start > end)
		return false;
	*above = map_cut(above, end, above->last);
	return true;
}

/*
 * Linux joins what moves with its new neighbours before it takes the source away. If one of them is
 * the rest of the source's own mapping, an identity from the other spreads to all of that.
 */
static int spread_ident(struct mremap_call *c, struct edit *e, const struct map *moved)
{
	struct vms_mm *mm = c->mm;
	const struct map_rules *rules = &mm->space.rules;
	struct map joined = *moved, side;
	bool own = false;

	mm_held(mm);
	if (c->vma.ident != 0 || !map_is_private(&c->vma))
		return 0;
	if (touches_below(mm, moved->start, &side) && map_mergeable(rules, &side, &joined)) {
		own = side.start >= c->vma.start && side.last <= c->vma.last;
		e->plan.keep_first = e->plan.keep_last = c->vma.start;
		map_merge(&side, &joined);
		joined = side;
	}
	if (touches_above(mm, moved->last + 1, &side) && map_mergeable(rules, &joined, &side)) {
		if (side.start >= c->vma.start && side.last <= c->vma.last) {
			own = true;
			e->plan.keep_first = e->plan.keep_last = c->vma.last + 1;
		}
		map_merge(&joined, &side);
	}
	if (own && joined.ident != 0)
		return edit_update(e, c->vma.start, c->vma.last, lend, &joined);
	e->plan.keep_first = UINT64_MAX;
	e->plan.keep_last = 0;
	return 0;
}

static int move_edit(struct mremap_call *c, struct edit *e, const struct map *moved)
{
	int err;

	mm_held(c->mm);
	err = spread_ident(c, e, moved);
	if (!err && !(c->flags & MREMAP_DONTUNMAP) && c->old_len != 0)
		err = edit_unmap(e, c->addr, c->addr + c->old_len - 1);
	if (!err)
		err = edit_map(e, moved);
	return err ? err : edit_prepare(e);
}

/* The ordinary move, without a plan: QUICK_NOT, 0 or an error. */
static int move_quick(struct mremap_call *c, const struct map *moved)
{
	struct vms_mm *mm = c->mm;
	struct quick_move q;
	int err;

	mm_held(mm);
	if ((c->flags & MREMAP_DONTUNMAP) || c->old_len == 0)
		return QUICK_NOT;
	err = quick_move_prepare(&q, &mm->space, c->addr, c->addr + c->old_len - 1, moved);
	if (!err)
		err = backend_move(mm->space.mmu, c->addr, c->old_len, moved->start, c->new_len, 0);
	if (!err)
		quick_move_commit(&q);
	return err;
}

static int move_planned(struct mremap_call *c, const struct map *moved)
{
	struct vms_mm *mm = c->mm;
	struct edit e;
	int err;

	mm_held(mm);
	edit_init(&e, &mm->space);
	err = move_edit(c, &e, moved);
	if (!err)
		err = backend_move(mm->space.mmu, c->addr, c->old_len, moved->start, c->new_len,
				   (uint32_t)(c->flags & MREMAP_DONTUNMAP));
	if (!err)
		edit_commit(&e);
	edit_abort(&e);
	return err;
}

struct emptied {
	bool whole; /* all its pages have left: it is as if never touched */
};

static void emptied(struct map *piece, void *arg)
{
	const struct emptied *how = arg;

	piece->flags &= ~MM_LOCK_MASK;
	if (how->whole) {
		piece->ident = 0;
		piece->inherited = 0;
	}
}

/*
 * DONTUNMAP: the mapping that holds the source loses its lock, as a whole, and is not joined with
 * neighbours that never had one. It may have joined the moved one just before.
 *
 * => replaces one mapping by one, so it allocates nothing and cannot fail.
 */
static void empty_source(struct mremap_call *c)
{
	struct vms_mm *mm = c->mm;
	struct emptied how;
	struct edit e;
	struct map m, after;

	mm_held(mm);
	if (!space_find(&mm->space, c->addr, &m))
		return;
	how.whole = m.start == c->addr && m.last == c->addr + c->old_len - 1;
	after = m;
	emptied(&after, &how);
	if (map_equal(&after, &m))
		return;
	edit_init(&e, &mm->space);
	e.plan.keep_first = m.start;
	e.plan.keep_last = m.last + 1;
	if (edit_update(&e, m.start, m.last, emptied, &how) == 0 && edit_prepare(&e) == 0) {
		edit_commit(&e);
		/* Linux goes on counting what it unlocks in passing. */
		if (m.flags & MM_LOCKED)
			mm->locked_lost += map_len(&m);
	}
	edit_abort(&e);
}

static int64_t move(struct mremap_call *c, uint64_t to)
{
	struct vms_mm *mm = c->mm;
	uint64_t keep = min_u64(c->old_len, c->new_len);
	struct map moved = c->vma;
	int err;

	mm_held(mm);
	moved.start = to;
	moved.last = to + c->new_len - 1;
	moved.off = c->vma.off + (c->addr - c->vma.start);
	if (map_is_anon(&c->vma) && c->vma.ident == 0)
		moved.off = to; /* nothing was written: born anew where it goes */
	err = guards_reserve(&mm->guards, mm->space.world,
			     3 + guards_count(&mm->guards, c->addr, c->addr + c->old_len));
	if (err)
		return err;
	err = move_quick(c, &moved);
	if (err == QUICK_NOT)
		err = move_planned(c, &moved);
	if (err)
		return err;
	guards_clear(&mm->guards, to, moved.last);
	if (keep < c->old_len)
		guards_clear(&mm->guards, c->addr + keep, c->addr + c->old_len - 1);
	if (keep)
		guards_move(&mm->guards, c->addr, c->addr + keep - 1, to);
	if (c->flags & MREMAP_DONTUNMAP)
		empty_source(c);
	mm_note_growing(mm, true);
	if ((moved.flags & MM_LOCKED) && c->new_len > c->old_len)
		mm_populated(mm, to + c->old_len, moved.last);
	return (int64_t)to;
}

/* Where it goes, or why it may not. Nothing has changed. */
static int64_t place_moved(struct mremap_call *c)
{
	struct vms_mm *mm = c->mm;
	struct place p = {
		.hint = wants_address(c) ? c->new_addr : 0,
		.len = c->new_len,
		.off = c->vma.off + (c->addr - c->vma.start),
		.fixed = c->flags & MREMAP_FIXED,
		.anon_private = map_is_anon(&c->vma),
	};
	int64_t to;
	int err;

	mm_held(mm);
	if (c->vma.flags & MM_FILE)
		p.huge_file = mm_huge_file(mm, c->vma.obj);
	to = mm_place(mm, &p);
	if (to < 0)
		return to;
	err = check_move(c);
	return err ? err : to;
}

/* The old range does not end in the address space: munmap of its tail is refused. */
static bool reaches_over_end(const struct mremap_call *c)
{
	uint64_t task = c->mm->pol.task_size;

	return c->old_len > task || c->addr > task - c->old_len;
}

/* FIXED and smaller: the destination goes, then the tail of the source, then the rest moves. */
static int64_t shrink_to(struct mremap_call *c)
{
	struct vms_mm *mm = c->mm;
	int64_t to;
	int err;

	mm_held(mm);
	err = mm_unmap(mm, c->new_addr, c->new_addr + c->new_len - 1);
	/* A length that wraps hides that the destination overlaps the source. */
	if (!err && !mm_any_mapped(mm, c->addr, c->addr))
		err = -EFAULT;
	if (!err && reaches_over_end(c))
		err = -EINVAL;
	if (!err)
		err = mm_unmap(mm, c->addr + c->new_len, c->addr + c->old_len - 1);
	if (err)
		return err;
	c->old_len = c->new_len;
	if (!space_find(&mm->space, c->addr, &c->vma) || c->vma.start > c->addr)
		return -EFAULT;
	to = place_moved(c);
	return to < 0 ? to : move(c, (uint64_t)to);
}

/* FIXED or DONTUNMAP: the destination goes first. */
static int64_t move_to(struct mremap_call *c)
{
	struct vms_mm *mm = c->mm;
	uint64_t dst_last = c->new_addr + c->new_len - 1;
	struct under under;
	int64_t to = 0;
	int err = 0;

	mm_held(mm);
	if (c->old_len > c->new_len)
		return shrink_to(c);
	if (c->flags & MREMAP_FIXED) {
		err = mm_unmap_check(mm, c->new_addr, dst_last, &under);
		if (!err && c->addr == c->new_addr) {
			/* A duplicate onto its source, which so goes first. */
			err = mm_unmap(mm, c->new_addr, dst_last);
			return err ? err : -EFAULT;
		}
		if (err)
			return err;
	}
	/* Near the limit of regions the answer hangs on how many there are without it, or with it parted. */
	if ((c->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) == MREMAP_FIXED &&
	    mm->space.counts.n + 4 >= (uint64_t)mm->pol.max_map_count) {
		err = mm_unmap(mm, c->new_addr, dst_last);
		if (err)
			return err;
	}
	if (c->flags & MREMAP_DONTUNMAP) {
		/* The limits are asked for the whole length: what goes must have gone by then. */
		if (c->flags & MREMAP_FIXED)
			err = mm_unmap(mm, c->new_addr, dst_last);
		if (err)
			return err;
		if (!mm_may_expand(mm, &c->vma, (int64_t)c->old_len))
			to = -ENOMEM;
	}
	if (to == 0)
		to = place_moved(c);
	if (to >= 0)
		return move(c, (uint64_t)to);
	/* Linux has unmapped the destination by the time it refuses this. */
	if (c->flags & MREMAP_FIXED)
		mm_unmap(mm, c->new_addr, dst_last);
	return to;
}

/* FIXED, equal sizes: every mapping of the range goes to its place in the new range. */
static int64_t move_each(struct mremap_call *c)
{
	uint64_t addr = c->addr, end = c->addr + c->old_len, delta = c->new_addr - c->addr;
	struct vms_mm *mm = c->mm;
	struct mremap_call one = *c;
	int64_t result = -EFAULT, r;
	struct map m;

	mm_held(mm);
	while (addr < end && space_find(&mm->space, addr, &m) && m.start < end) {
		if (addr == c->addr && m.start > addr)
			return -EFAULT;
		one.addr = max_u64(m.start, addr);
		one.new_addr = one.addr + delta;
		one.old_len = one.new_len = min_u64(m.last + 1, end) - one.addr;
		r = check_source(&one);
		if (!r)
			r = move_to(&one);
		if (r < 0)
			return r;
		if (addr == c->addr)
			result = r;
		addr = one.addr + one.old_len;
	}
	return result;
}

static int64_t mremap_locked(struct mremap_call *c)
{
	struct vms_mm *mm = c->mm;
	int64_t err;

	mm_held(mm);
	err = mm_catch_up(mm);
	if (!err)
		err = check_args(c);
	if (err)
		return err;
	if ((c->flags & MREMAP_FIXED) && c->old_len == c->new_len)
		return move_each(c);
	err = check_source(c);
	if (err)
		return err;
	if (wants_address(c))
		return move_to(c);
	if (c->new_len < c->old_len) {
		if (reaches_over_end(c))
			return -EINVAL;
		err = mm_unmap(mm, c->addr + c->new_len, c->addr + c->old_len - 1);
		return err ? err : (int64_t)c->addr;
	}
	if (c->new_len == c->old_len)
		return (int64_t)c->addr;
	if (can_grow_here(c)) {
		err = grow_here(c);
		return err ? err : (int64_t)c->addr;
	}
	if (!(c->flags & MREMAP_MAYMOVE))
		return -ENOMEM;
	err = place_moved(c);
	return err < 0 ? err : move(c, (uint64_t)err);
}

int64_t vms_mremap(struct vms_mm *mm, uint64_t addr, uint64_t old_len, uint64_t new_len,
		   uint64_t flags, uint64_t new_addr)
{
	struct mremap_call c = { .mm = mm, .addr = addr, .old_len = old_len, .new_len = new_len,
				 .flags = flags, .new_addr = new_addr };
	int64_t result;

	mm_lock(mm);
	result = mremap_locked(&c);
	mm_unlock(mm);
	return result;
}
