// SPDX-License-Identifier: MIT
/*
 * mm.c: a guest's address space comes and goes; its limits; what "equal" means for Linux.
 */
#include "mman/mm.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fail.h"

/* ---- the rules that the planner asks ---- */

/*
 * Reference linux-mm 1.14: an identity that came from a forked parent is not lent to a neighbour
 * that has none; equal identities always may merge.
 */
static bool linux_may_merge(const struct map *left, const struct map *right)
{
	if ((left->flags | right->flags) & MM_SPECIAL)
		return false;
	if (left->ident == right->ident)
		return true;
	return !(left->ident ? left->inherited : right->inherited);
}

uint32_t mm_classes(const struct map *m)
{
	uint32_t classes = 1u << MM_CLASS_TOTAL;

	if (m->flags & MM_GROWSDOWN)
		classes |= 1u << MM_CLASS_STACK;
	else if ((m->prot & VMS_PROT_WRITE) && !(m->flags & MM_SHARED))
		classes |= 1u << MM_CLASS_DATA;
	if (m->flags & MM_LOCKED)
		classes |= 1u << MM_CLASS_LOCKED;
	return classes;
}

/* ---- coming and going ---- */

static int policy_check(const struct vms_mm_policy *pol)
{
	const uint32_t known = VMS_MM_BOTTOM_UP | VMS_MM_CAP_IPC_LOCK | VMS_MM_CAP_RAWIO |
			       VMS_MM_OVERCOMMIT | VMS_MM_KEEP_NO_FD;
	uint64_t p;

	if (pol == NULL || pol->size != sizeof(*pol))
		return fail(-EINVAL, "mm_create: the policy's size is not that of this release");
	p = pol->page_size;
	if (pol->flags & ~known)
		return fail(-EINVAL, "mm_create: unknown policy flags %#x", pol->flags & ~known);
	if (!is_pow2(p) || p < 4096)
		return fail(-EINVAL, "mm_create: page size %lu is no power of two from 4096 up",
			    (unsigned long)p);
	if (!is_aligned(pol->min_addr, p) || !is_aligned(pol->task_size, p) ||
	    !is_aligned(pol->mmap_base, p) || !is_aligned(pol->stack_gap, p))
		return fail(-EINVAL, "mm_create: a bound is no multiple of the page size");
	if (pol->min_addr >= pol->task_size || pol->mmap_base > pol->task_size)
		return fail(-EINVAL, "mm_create: bounds cross: min %#lx, base %#lx, end %#lx",
			    (unsigned long)pol->min_addr, (unsigned long)pol->mmap_base,
			    (unsigned long)pol->task_size);
	if (pol->huge_size && (!is_pow2(pol->huge_size) || pol->huge_size < p))
		return fail(-EINVAL, "mm_create: large-page size %#lx is no power of two",
			    (unsigned long)pol->huge_size);
	return 0;
}

int vms_mm_create(const struct vms_mm_policy *policy, struct vms_mmu *mmu, struct vms_mm **out)
{
	const struct world *w = world_default;
	struct map_rules rules = { linux_may_merge, mm_classes, NULL, NULL };
	struct vms_mm *mm;
	int err = policy_check(policy);

	if (err)
		return err;
	if (mmu == NULL)
		return fail(-EINVAL, "mm_create: no backend");
	if (mmu->ops == NULL)
		return fail(-ENOTSUP, "mm_create: this backend has no window for a Linux guest");
	mm = w->alloc(w, sizeof(*mm));
	if (mm == NULL)
		return fail(-ENOMEM, "mm_create: no memory");
	memset(mm, 0, sizeof(*mm));
	mm->pol = *policy;
	err = object_create(w, OBJECT_ANON, NULL, &mm->anon);
	if (err)
		goto free_mm;
	err = space_init(&mm->space, w, &rules, mmu, 0, policy->task_size - 1, policy->page_size);
	if (err)
		goto free_anon;
	*out = mm;
	return 0;

free_anon:
	object_unref(mm->anon);
free_mm:
	w->free(w, mm, sizeof(*mm));
	return fail(err, "mm_create: no memory");
}

void vms_mm_destroy(struct vms_mm *mm)
{
	const struct world *w;
	uint64_t addr = 0;
	struct map m;

	if (mm == NULL)
		return;
	w = mm->space.world;
	mm_lock(mm);
	while (space_find(&mm->space, addr, &m)) {
		if (!(m.flags & MM_SPECIAL))
			backend_unmap(mm->space.mmu, m.start, map_len(&m));
		addr = m.last + 1;
	}
	mm_unlock(mm);
	space_fini(&mm->space);
	object_unref(mm->anon);
	guards_fini(&mm->guards, w);
	w->free(w, mm, sizeof(*mm));
}

/* Enter what the host has already. 0 or -ENOMEM. */
static int note_mapping(struct vms_mm *mm, const struct map *m) REQUIRES(mm->space.lock)
{
	struct edit e;
	int err;

	edit_init(&e, &mm->space);
	err = edit_map(&e, m);
	if (!err)
		err = edit_prepare(&e);
	if (!err)
		edit_commit(&e);
	edit_abort(&e);
	return err;
}

int vms_mm_foreign(struct vms_mm *mm, uint64_t addr, uint64_t len, unsigned prot, unsigned flags,
		   const char *name)
{
	struct map m = { .start = addr, .prot = (uint8_t)prot, .ceiling = MM_PROT_ALL,
			 .flags = MM_SPECIAL };
	int err;

	if (!is_aligned(addr | len, mm_page(mm)) || !range_last(addr, len, &m.last) ||
	    m.last >= mm->pol.task_size)
		return fail(-EINVAL, "mm_foreign: %#lx+%#lx is unaligned or outside [0, %#lx)",
			    (unsigned long)addr, (unsigned long)len,
			    (unsigned long)mm->pol.task_size);
	if ((flags & ~(VMS_MM_FOREIGN_FIXED | VMS_MM_FOREIGN_WHOLE)) || (prot & ~MM_PROT_ALL))
		return fail(-EINVAL, "mm_foreign: unknown flags %#x or rights %#x", flags, prot);
	if (flags & VMS_MM_FOREIGN_FIXED)
		m.flags |= MM_FIXED;
	if (flags & VMS_MM_FOREIGN_WHOLE)
		m.flags |= MM_WHOLE;
	err = object_create(mm->space.world, OBJECT_FOREIGN, name, &m.obj);
	if (err)
		return fail(err, "mm_foreign: no memory");
	mm_lock(mm);
	if (mm_any_mapped(mm, m.start, m.last)) {
		struct map old;

		space_find(&mm->space, m.start, &old);
		err = fail(-EEXIST, "mm_foreign: %#lx-%#lx overlaps the mapping %#lx-%#lx",
			   (unsigned long)m.start, (unsigned long)m.last + 1,
			   (unsigned long)old.start, (unsigned long)old.last + 1);
	} else {
		err = note_mapping(mm, &m);
		if (err)
			fail(err, "mm_foreign: no memory");
	}
	mm_unlock(mm);
	object_unref(m.obj);
	return err;
}

int vms_mm_set_brk(struct vms_mm *mm, uint64_t start)
{
	if (start >= mm->pol.task_size)
		return fail(-EINVAL, "mm_set_brk: %#lx is outside [0, %#lx)", (unsigned long)start,
			    (unsigned long)mm->pol.task_size);
	mm_lock(mm);
	mm->brk_start = mm->brk = start;
	mm_unlock(mm);
	return 0;
}

int vms_mm_set_stack(struct vms_mm *mm, uint64_t addr)
{
	if (addr >= mm->pol.task_size)
		return fail(-EINVAL, "mm_set_stack: %#lx is outside [0, %#lx)", (unsigned long)addr,
			    (unsigned long)mm->pol.task_size);
	mm_lock(mm);
	mm->stack = addr;
	mm_unlock(mm);
	return 0;
}

int vms_mm_set_limit(struct vms_mm *mm, enum vms_mm_resource which, struct vms_mm_limit limit)
{
	if ((unsigned)which >= VMS_MM_LIMITS || limit.soft > limit.hard)
		return fail(-EINVAL, "mm_set_limit: no such limit, or soft above hard");
	mm_lock(mm);
	mm->pol.limit[which] = limit;
	mm_unlock(mm);
	return 0;
}

/* ---- limits: Linux counts pages, so a limit is its whole pages ---- */

static uint64_t limit_bytes(const struct vms_mm *mm, enum vms_mm_resource which)
{
	uint64_t soft = mm->pol.limit[which].soft;

	return soft == VMS_LIMIT_INFINITY ? soft : align_down(soft, mm_page(mm));
}

bool mm_may_lock_at_all(const struct vms_mm *mm)
{
	return mm->pol.limit[VMS_MM_LIMIT_MEMLOCK].soft != 0 || (mm->pol.flags & VMS_MM_CAP_IPC_LOCK);
}

bool mm_lock_fits(const struct vms_mm *mm, uint32_t flags, uint64_t len)
{
	if (!(flags & MM_LOCKED) || (mm->pol.flags & VMS_MM_CAP_IPC_LOCK))
		return true;
	return mm->space.counts.bytes[MM_CLASS_LOCKED] + mm->locked_lost + len <=
	       limit_bytes(mm, VMS_MM_LIMIT_MEMLOCK);
}

bool mm_may_expand(const struct vms_mm *mm, const struct map *like, int64_t len)
{
	return mm_may_become(mm, like, len, 0);
}

bool mm_may_become(const struct vms_mm *mm, const struct map *like, int64_t len, int64_t grown)
{
	const uint64_t *bytes = mm->space.counts.bytes;
	uint64_t data;

	if (bytes[MM_CLASS_TOTAL] + (uint64_t)len > limit_bytes(mm, VMS_MM_LIMIT_AS))
		return false;
	if (!(mm_classes(like) & (1u << MM_CLASS_DATA)))
		return true;
	data = bytes[MM_CLASS_DATA] + (uint64_t)(len + grown);
	if (data <= limit_bytes(mm, VMS_MM_LIMIT_DATA))
		return true;
	/* Reference M24: a soft limit of exactly 0 is not enforced up to the hard one. */
	return mm->pol.limit[VMS_MM_LIMIT_DATA].soft == 0 &&
	       data <= align_down(mm->pol.limit[VMS_MM_LIMIT_DATA].hard, mm_page(mm));
}

bool mm_commit_fits(const struct vms_mm *mm, uint64_t len)
{
	return (mm->pol.flags & VMS_MM_OVERCOMMIT) || len <= mm->pol.commit_max;
}

/* ---- mappings that the host lets grow ---- */

void mm_note_growing(struct vms_mm *mm, bool moved)
{
	uint64_t bytes = mm->space.counts.bytes[MM_CLASS_STACK], addr = 0;
	struct map m;

	if (!(mm->space.mmu->ops->caps & BACKEND_GROWS) || (bytes == mm->growing_bytes && !moved))
		return;
	mm->growing_bytes = bytes;
	mm->n_growing = 0;
	while (bytes != 0 && space_find(&mm->space, addr, &m)) {
		if (m.flags & MM_GROWSDOWN) {
			if (mm->n_growing < MM_GROWING)
				mm->growing[mm->n_growing] = m.last;
			mm->n_growing++;
		}
		addr = m.last + 1;
	}
}

int mm_map_growth(struct vms_mm *mm, const struct map *m, uint64_t start, uint64_t len)
{
	struct backend_map b = { .addr = start, .len = len, .prot = m->prot, .fd = -1,
				 .flags = BACKEND_GROWSDOWN | BACKEND_NOREPLACE };
	int err;

	if (m->flags & MM_NOHUGEPAGE)
		b.flags |= BACKEND_STACK;
	if (m->flags & MM_NORESERVE)
		b.flags |= BACKEND_NORESERVE;
	if ((m->flags & MM_LOCK_MASK) == MM_LOCKED)
		b.flags |= BACKEND_LOCKED;
	err = backend_map(mm->space.mmu, &b);
	if (!err && (m->flags & MM_LOCKONFAULT))
		backend_lock(mm->space.mmu, start, len, 2);
	return err;
}

/*
 * The host grows by its own pages: of the guest's page that it reached, it may hold the upper part
 * alone. Whatever falls into the rest grows it further, so a guest cannot tell; but before anything
 * else is done to the page it is completed, as one that grows too. -EEXIST: it has grown meanwhile.
 */
static int complete_page(struct vms_mm *mm, const struct map *m, uint64_t grown)
	REQUIRES(mm->space.lock)
{
	return grown == m->start ? 0 : mm_map_growth(mm, m, m->start, grown - m->start);
}

/* One mapping, found by its last byte. */
static int catch_up_one(struct vms_mm *mm, uint64_t last) REQUIRES(mm->space.lock)
{
	struct map m, below;
	uint64_t grown, start, floor = 0;
	struct edit e;
	int err;

	if (!space_find(&mm->space, last, &m) || !(m.flags & MM_GROWSDOWN))
		return 0;
	if (space_find_below(&mm->space, m.start, &below))
		floor = below.last + 1;
	grown = backend_grown(mm->space.mmu, m.start, floor);
	start = align_down(grown, mm_page(mm));
	if (start >= m.start || start < floor)
		return 0;
	m.off -= m.start - start;
	m.last = m.start - 1;
	m.start = start;
	edit_init(&e, &mm->space);
	/* It grows, it does not merge with what it reaches. */
	e.plan.keep_first = e.plan.keep_last = start;
	err = edit_map(&e, &m);
	if (!err)
		err = edit_prepare(&e);
	while (!err && (err = complete_page(mm, &m, grown)) == -EEXIST) {
		uint64_t now = max_u64(backend_grown(mm->space.mmu, grown, start), start);

		err = now < grown ? 0 : -ENOMEM;
		grown = now;
	}
	if (!err)
		edit_commit(&e);
	edit_abort(&e);
	mm->growing_bytes = mm->space.counts.bytes[MM_CLASS_STACK];
	return err;
}

int mm_catch_up(struct vms_mm *mm)
{
	uint64_t addr = 0;
	struct map m;
	int err = 0;

	if (mm->n_growing == 0)
		return 0;
	if (mm->n_growing <= MM_GROWING) {
		for (size_t i = 0; i < mm->n_growing && !err; i++)
			err = catch_up_one(mm, mm->growing[i]);
		return err;
	}
	while (!err && space_find(&mm->space, addr, &m)) {
		if (m.flags & MM_GROWSDOWN)
			err = catch_up_one(mm, m.last);
		addr = m.last + 1;
	}
	return err;
}

/* ---- small questions ---- */

bool mm_any_mapped(struct vms_mm *mm, uint64_t first, uint64_t last)
{
	struct map m;

	return space_find(&mm->space, first, &m) && m.start <= last;
}

bool mm_part_at(struct vms_mm *mm, uint64_t addr, uint64_t last, struct map *part)
{
	struct map m;

	if (!space_find(&mm->space, addr, &m) || m.start > addr)
		return false;
	*part = map_cut(&m, addr, min_u64(m.last, last));
	return true;
}

bool mm_all_mapped(struct vms_mm *mm, uint64_t first, uint64_t last)
{
	struct map m;

	while (space_find(&mm->space, first, &m) && m.start <= first) {
		if (m.last >= last)
			return true;
		first = m.last + 1;
	}
	return false;
}

uint64_t mm_bytes(struct vms_mm *mm, uint64_t first, uint64_t last, uint32_t flag)
{
	uint64_t addr = first, sum = 0;
	struct map m;

	while (space_find(&mm->space, addr, &m) && m.start <= last) {
		if (flag == 0 || (m.flags & flag))
			sum += min_u64(m.last, last) - max_u64(m.start, first) + 1;
		if (m.last >= last)
			break;
		addr = m.last + 1;
	}
	return sum;
}
