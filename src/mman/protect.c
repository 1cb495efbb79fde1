// SPDX-License-Identifier: MIT
/*
 * protect.c: mprotect and mseal (reference linux-mm 1.4, 1.10), and changing flags.
 *
 * Linux changes mapping by mapping and keeps what it did when one is refused. So here: a pass
 * that looks finds how far it will get and why not further, then the part before is one edit and
 * one host call. Only where the limit of regions is near, and the answer hangs on merges on the
 * way, each mapping is an edit of its own.
 */
#include "mman/mm.h"

#include <errno.h>
#include <sys/mman.h>

#include "space/quick.h"

/* ---- flags alone ---- */

struct flags_change {
	uint32_t clear, set;
};

static void change_flags(struct map *piece, void *arg)
{
	const struct flags_change *f = arg;

	piece->flags = (piece->flags & ~f->clear) | f->set;
}

/* Would the change leave more mappings than there may be? */
static bool too_many(const struct vms_mm *mm, uint64_t after)
{
	return after > mm->space.counts.n && after > mm->pol.max_map_count;
}

/*
 * A change of [first, last], inside one mapping, is refused because the parts would be too many.
 * Linux cuts at its start, then at its end, and asks before each: what it has cut stays cut.
 */
static int refuse_parts(struct vms_mm *mm, uint64_t first, uint64_t last) REQUIRES(mm->space.lock)
{
	struct map m;

	if (mm->space.counts.n < mm->pol.max_map_count && space_find(&mm->space, first, &m) &&
	    m.start < first && m.last > last)
		mm_cut(mm, first);
	return -ENOMEM;
}

int mm_set_flags(struct vms_mm *mm, const struct map *part, uint32_t clear, uint32_t set,
		 void (*tell)(struct vms_mm *mm, const struct map *part, int how), int how)
{
	struct flags_change f = { clear, set };
	struct edit e;
	int err;

	edit_init(&e, &mm->space);
	err = edit_update(&e, part->start, part->last, change_flags, &f);
	if (!err)
		err = edit_prepare(&e);
	if (!err && too_many(mm, e.after.n)) {
		edit_abort(&e);
		return refuse_parts(mm, part->start, part->last);
	}
	if (!err) {
		if (tell != NULL)
			tell(mm, part, how);
		edit_commit(&e);
		if (part->flags & MM_GROWSDOWN)
			mm_note_growing(mm, true);
	}
	edit_abort(&e);
	return err;
}

/* ---- mprotect ---- */

struct protect {
	struct vms_mm *mm;
	uint8_t prot;
	bool growing; /* a growing mapping was among those changed, and may be in parts now */
};

static void change_prot(struct map *piece, void *arg)
{
	const struct protect *p = arg;
	const uint32_t charged = MM_ACCOUNT | MM_SHARED | MM_NORESERVE;

	if (piece->prot == p->prot)
		return;
	if (p->prot & VMS_PROT_WRITE) {
		if (!(piece->flags & charged) && !(piece->prot & VMS_PROT_WRITE))
			piece->flags |= MM_ACCOUNT;
	} else if (map_is_anon(piece) && piece->ident == 0) {
		piece->flags &= ~MM_ACCOUNT; /* nothing was written: the charge goes back */
	}
	piece->prot = p->prot;
}

/* May this part of a mapping get the new rights? `grown` sums the bytes that become data. */
static int protect_check(const struct protect *p, const struct map *part, int64_t *grown)
{
	const uint32_t charged = MM_ACCOUNT | MM_SHARED | MM_NORESERVE;
	struct vms_mm *mm = p->mm;
	struct map after = { .flags = part->flags, .prot = p->prot }; /* for its classes */
	int64_t len = (int64_t)map_len(part);

	mm_held(mm);
	if (p->prot & ~part->ceiling)
		return -EACCES;
	if (part->flags & (MM_SEALED | MM_FIXED))
		return -EPERM;
	if (part->prot == p->prot || !(p->prot & VMS_PROT_WRITE))
		return 0;
	if (!mm_may_become(mm, &after, len, *grown) && mm_may_become(mm, part, len, *grown))
		return -ENOMEM;
	if (!(part->flags & charged) && !(part->prot & VMS_PROT_WRITE) &&
	    !mm_commit_fits(mm, (uint64_t)len))
		return -ENOMEM;
	if ((mm_classes(&after) & ~mm_classes(part)) & (1u << MM_CLASS_DATA))
		*grown += len;
	return 0;
}

/* Mappings that have the rights already are left alone: they are not joined with their like. */
static int change_parts(struct protect *p, struct edit *e, uint64_t first, uint64_t last)
{
	struct vms_mm *mm = p->mm;
	uint64_t addr = first;
	struct map m;

	mm_held(mm);
	while (space_find(&mm->space, addr, &m) && m.start <= last) {
		struct map part = map_cut(&m, max_u64(addr, m.start), min_u64(m.last, last));

		if (part.prot != p->prot) {
			int err = edit_update(e, part.start, part.last, change_prot, p);

			p->growing |= (part.flags & MM_GROWSDOWN) != 0;
			if (err)
				return err;
		}
		if (part.last == last)
			break;
		addr = part.last + 1;
	}
	return 0;
}

/*
 * The host refused, perhaps after it had changed the first of its regions (at their limit it cannot
 * cut the last). The rights are still those of our mappings; to say so again joins what was cut.
 */
static void put_rights_back(struct vms_mm *mm, uint64_t first, uint64_t last)
	REQUIRES(mm->space.lock)
{
	struct map m;

	while (first <= last && space_find(&mm->space, first, &m) && m.start <= last) {
		uint64_t start = max_u64(first, m.start), end = min_u64(m.last, last);

		backend_protect(mm->space.mmu, start, end - start + 1, m.prot);
		if (end == last)
			break;
		first = end + 1;
	}
}

static int protect_apply(struct protect *p, uint64_t first, uint64_t last)
{
	struct vms_mm *mm = p->mm;
	struct edit e;
	int err;

	mm_held(mm);
	edit_init(&e, &mm->space);
	err = change_parts(p, &e, first, last);
	if (!err)
		err = edit_prepare(&e);
	if (!err && too_many(mm, e.after.n)) {
		edit_abort(&e);
		return refuse_parts(mm, first, last);
	}
	if (!err && e.plan.n_ev != 0) {
		err = backend_protect(mm->space.mmu, first, last - first + 1, p->prot);
		if (err)
			put_rights_back(mm, first, last);
	}
	if (!err) {
		edit_commit(&e);
		if (p->growing)
			mm_note_growing(mm, true);
	}
	edit_abort(&e);
	return err;
}

/* Locked private memory that becomes writable is written to at once. */
static bool populates(const struct protect *p, const struct map *part)
{
	return (p->prot & VMS_PROT_WRITE) && !(part->prot & VMS_PROT_WRITE) &&
	       (part->flags & (MM_LOCKED | MM_SHARED)) == MM_LOCKED;
}

static int protect_range(struct protect *p, uint64_t first, uint64_t last)
{
	struct vms_mm *mm = p->mm;
	bool near_limit = mm->space.counts.n + 2 > mm->pol.max_map_count;
	uint64_t addr = first, pending = first; /* [pending, addr) is checked and not changed yet */
	int64_t grown = 0;
	int err = 0, err2 = 0;

	mm_held(mm);
	for (;;) {
		struct map part;
		bool populate;

		err = mm_part_at(mm, addr, last, &part) ? protect_check(p, &part, &grown)
							: -ENOMEM;
		if (err)
			break;
		addr = part.last + 1;
		populate = populates(p, &part);
		if (near_limit || populate) {
			err2 = protect_apply(p, pending, part.last);
			if (err2)
				return err2;
			pending = addr;
			grown = 0;
		}
		if (populate)
			mm_populated(mm, part.start, part.last);
		if (part.last == last)
			break;
	}
	if (pending < addr)
		err2 = protect_apply(p, pending, addr - 1);
	return err2 ? err2 : err;
}

/* The common call: the range is the mapping at the spot, or a part of it. */
static int protect_one(struct protect *p, const struct tree_spot *spot, uint64_t first,
		       uint64_t last)
{
	struct vms_mm *mm = p->mm;
	struct map part = map_cut(spot->at, first, last);
	struct map after = map_cut(spot->at, first, last); /* quicker than a copy: see map_cut */
	struct quick q;
	int64_t grown = 0;
	int err;

	mm_held(mm);
	err = protect_check(p, &part, &grown);
	if (err || part.prot == p->prot)
		return err;
	change_prot(&after, p);
	err = quick_prepare(&q, &mm->space, spot, first, last, &after, /* fresh = */ false);
	if (err)
		return err;
	if (too_many(mm, q.n_after))
		return refuse_parts(mm, first, last);
	err = backend_protect(mm->space.mmu, first, last - first + 1, p->prot);
	if (err) {
		put_rights_back(mm, first, last);
		return err;
	}
	quick_commit(&q);
	if (part.flags & MM_GROWSDOWN)
		mm_note_growing(mm, true);
	if (populates(p, &part))
		mm_populated(mm, first, last);
	return 0;
}

static int protect_locked(struct protect *p, uint64_t first, uint64_t last, uint64_t grows)
{
	struct vms_mm *mm = p->mm;
	struct tree_spot spot;
	int err;

	mm_held(mm);
	err = mm_catch_up(mm);
	if (err)
		return err;
	if (!space_spot(&mm->space, first, &spot) || spot.at->start > last)
		return -ENOMEM;
	if (grows & PROT_GROWSDOWN) {
		first = spot.at->start;
		if (!(spot.at->flags & MM_GROWSDOWN))
			return -EINVAL;
	} else if (spot.at->start > first) {
		return -ENOMEM;
	} else if (grows & PROT_GROWSUP) {
		return -EINVAL; /* no region of this machine grows up */
	}
	if (last <= spot.at->last)
		return protect_one(p, &spot, first, last);
	return protect_range(p, first, last);
}

int64_t vms_mprotect(struct vms_mm *mm, uint64_t addr, uint64_t len, uint64_t prot)
{
	uint64_t grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
	struct protect p = { .mm = mm, .prot = prot & MM_PROT_ALL };
	int err;

	prot &= ~(uint64_t)(PROT_GROWSDOWN | PROT_GROWSUP);
	if (grows == (PROT_GROWSDOWN | PROT_GROWSUP) || !is_aligned(addr, mm_page(mm)))
		return -EINVAL;
	if (len == 0)
		return 0;
	len = align_up(len, mm_page(mm));
	if (addr + len <= addr)
		return -ENOMEM;
	if (prot & ~(uint64_t)(MM_PROT_ALL | 0x8 /* PROT_SEM */))
		return -EINVAL;
	mm_lock(mm);
	err = protect_locked(&p, addr, addr + len - 1, grows);
	mm_unlock(mm);
	return err;
}

/* ---- mseal ---- */

int64_t vms_mseal(struct vms_mm *mm, uint64_t addr, uint64_t len, uint64_t flags)
{
	uint64_t last, rounded = align_up(len, mm_page(mm));
	struct map m;
	int err;

	if (flags != 0 || !is_aligned(addr, mm_page(mm)) || (len && !rounded) ||
	    addr + rounded < addr)
		return -EINVAL;
	if (rounded == 0)
		return 0;
	last = addr + rounded - 1;
	mm_lock(mm);
	err = mm_catch_up(mm);
	if (!err && !mm_all_mapped(mm, addr, last))
		err = -ENOMEM;
	while (!err && addr <= last && space_find(&mm->space, addr, &m)) {
		struct map part = map_cut(&m, addr, min_u64(m.last, last));

		if (!(part.flags & (MM_SEALED | MM_FIXED)))
			err = mm_set_flags(mm, &part, 0, MM_SEALED, NULL, 0);
		addr = part.last + 1;
	}
	mm_unlock(mm);
	return err;
}
