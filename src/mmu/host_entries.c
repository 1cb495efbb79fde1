// SPDX-License-Identifier: MIT
/*
 * host_entries.c: the host's page tables as the entries of a space over objects.
 *
 * The window of host.c shows, instead of memory of its own, pages of the objects' arena, of files,
 * and memory of this process, each mapped shared:
 *
 *	an arena's frames, a file	mmap of the descriptor
 *	memory of this process		a second mapping of it, by mremap with an old length of 0.
 *					The host has that for shared memory only: private memory
 *					is refused (-ENOTSUP)
 *
 * What stands is recorded in stretches, which are what the host calls regions: a change costs one
 * host call for each stretch or gap between stretches that it is about, and none where everything
 * stands as asked for. What a fault shows of an arena comes with its page table entries, so that
 * the CPU does not fault a second time for it.
 *
 *	window	|  gap   |stretch|stretch|       gap        | stretch |gap|
 *	host	|reserved| memfd | memfd |     reserved     |  file   |...|
 *
 * Regions of the host are few (vm.max_map_count, 65,530 for the process), so a window keeps to a
 * budget: past it the stretches that were added to longest ago go, and come back by faults. Where
 * others in the process have used the rest up all the same, the host refuses to make regions and to
 * split them. Then, in this order: the ballast is let go (a few regions put aside outside the
 * window), stretches are evicted, and more is taken away than was asked. Where the window is
 * reserved, a stretch can also lose its rights in place, for which the host needs nothing.
 *
 * Invariants, whenever the lock is free:
 *	1 the host shows in the window what is recorded: the bytes, with these rights; and gives no
 *	  right on what is not recorded
 *	2 stretches do not meet; two that could be one are one; the list of ages has each once
 *	3 stretch_regions() is at most the budget, or there is one stretch
 *	4 what takes away does so, whatever the host refuses. Should it refuse all of the above,
 *	  more than once, the window is `broken` and shows nothing new
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/range.h"
#include "mmu/host.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* since 5.14 */
#endif

#define TABLE	      (UINT64_C(2) << 20) /* what one page table of the host covers */
#define POPULATE_MAX  TABLE
#define STRETCH_BYTES (UINT64_C(128) << 10) /* past it little is gained */
#define BALLAST	      8u		    /* islands: 17 regions */
#define EVICT_FEW     32u		    /* stretches, where the host has no more regions */
#define EVICT_MANY    1024u
#define THIRST	      64u /* maps without ballast until it is taken again */

static struct host *host_of(const struct vms_mmu *mmu)
{
	return (struct host *)mmu; /* its first member */
}

/* ---- Ballast ---- */

static bool ballast_let_go(struct host *h)
{
	if (!h->entries.ballast.len)
		return false;
	host_ballast_drop(h, &h->entries.ballast);
	h->entries.thirst = 0;
	return true;
}

/* Real holes need none: unmapping whole regions takes no region. Without it we do as well as we
 * can. */
static void ballast_fill(struct host *h)
{
	struct host_entries *e = &h->entries;

	if (!h->real_holes && !e->ballast.len)
		host_ballast_take(h, &e->ballast, BALLAST, h->lo + h->delta, h->hi - h->lo);
}

/* ---- Taking away ---- */

/* The range shows nothing. False: the host refuses, and it is as it was. */
static bool make_hole(struct host *h, uint64_t first, uint64_t last)
{
	const struct world *w = h->world;
	uint64_t at = first + h->delta, len = last - first + 1;

	if (host_hole(h, at, len) == 0)
		return true;
	if (ballast_let_go(h) && host_hole(h, at, len) == 0)
		return true;
	if (h->real_holes)
		return host_hole(h, at, len) == 0;
	/* An old kernel may have opened the reservation before it refused. */
	return host_cover(h, at, len) >= 0 || w->mprotect(w, at, len, PROT_NONE) == 0;
}

/* As the last resort, everything. */
static void make_empty(struct host *h)
{
	struct host_entries *e = &h->entries;

	if (!make_hole(h, e->first, e->last) && !make_hole(h, e->first, e->last))
		h->broken = true;
	stretch_cut(h, e->first, e->last);
}

/*
 * Nothing stands in the range any more: its stretches are cut, or go whole where the host or the
 * heap refuses to split one. Ranges without stretches cost nothing.
 */
static void take_away(struct host *h, uint64_t first, uint64_t last)
{
	struct host_entries *e = &h->entries;
	struct stretch *s = stretch_first(e, first, last), *next;
	uint64_t whole_first, whole_last;

	if (!s)
		return;
	whole_first = s->node.first;
	while ((next = stretch_next(s, first, last)))
		s = next;
	whole_last = s->node.last;
	first = max_u64(first, whole_first);
	last = min_u64(last, whole_last);
	if (!stretch_reserve(h, 1) || !make_hole(h, first, last)) {
		first = whole_first;
		last = whole_last;
		if (!make_hole(h, first, last)) {
			make_empty(h);
			return;
		}
	}
	stretch_cut(h, first, last);
}

/* The n stretches that were added to longest ago. False: there is none. */
static bool evict(struct host *h, unsigned n)
{
	struct host_entries *e = &h->entries;
	bool any = e->oldest;

	for (; n && e->oldest; n--, e->evicted++)
		take_away(h, e->oldest->node.first, e->oldest->node.last);
	return any;
}

/* inv. 3 */
static void keep_budget(struct host *h)
{
	struct host_entries *e = &h->entries;

	while (stretch_regions(h) > e->budget && e->oldest != e->newest)
		evict(h, 1);
}

/* New rights for a range that lies in stretches; where the host refuses, it goes. */
static void set_rights(struct host *h, uint64_t first, uint64_t last, uint32_t rights)
{
	const struct world *w = h->world;
	uint64_t at = first + h->delta, len = last - first + 1;

	if (rights && stretch_reserve(h, 2) &&
	    (w->mprotect(w, at, len, (int)rights) == 0 ||
	     (ballast_let_go(h) && w->mprotect(w, at, len, (int)rights) == 0)))
		stretch_rights(h, first, last, rights);
	else
		take_away(h, first, last);
}

/* Entries get these rights, but for WRITE where they lack it; or (mask) keep no more than these. */
static void change(struct host *h, uint64_t first, uint64_t last, uint32_t rights, bool mask)
{
	struct host_entries *e = &h->entries;
	struct stretch *s;

	lock_take(&e->lock);
	for (uint64_t at = first; at <= last && (s = stretch_first(e, at, last));) {
		uint64_t start = max_u64(at, s->node.first), end;
		uint32_t old = s->rights, want;

		want = mask ? old & rights : rights & (old | ~(uint32_t)VMS_PROT_WRITE);
		/* As far as neighbours are to get the same. */
		do {
			end = min_u64(s->node.last, last);
			s = end < last ? stretch_first(e, end + 1, end + 1) : NULL;
		} while (s && want != old && s->rights == old);
		if (want != old)
			set_rights(h, start, end, want);
		if (end == last)
			break;
		at = end + 1;
	}
	keep_budget(h);
	lock_drop(&e->lock);
}

static void entries_protect_host(struct vms_mmu *mmu, uint64_t first, uint64_t last,
				 uint32_t rights)
{
	change(host_of(mmu), first, last, rights, false);
}

static void entries_remove_write_host(struct vms_mmu *mmu, uint64_t first, uint64_t last)
{
	change(host_of(mmu), first, last, ~(uint32_t)VMS_PROT_WRITE, true);
}

static void entries_unmap_host(struct vms_mmu *mmu, uint64_t first, uint64_t last)
{
	struct host *h = host_of(mmu);

	lock_take(&h->entries.lock);
	take_away(h, first, last);
	keep_budget(h);
	lock_drop(&h->entries.lock);
}

static void entries_empty_host(struct vms_mmu *mmu)
{
	struct host *h = host_of(mmu);

	entries_unmap_host(mmu, h->entries.first, h->entries.last);
}

/* ---- Showing ---- */

enum how {
	KEEP,  /* it stands */
	RAISE, /* the same bytes, with fewer rights */
	SHOW,  /* others, or nothing */
	FILL,  /* nothing, where a hole is real: what is not ours must not go */
};

/* A part of a run that one host call is for. */
struct part {
	uint64_t first, last;
	enum how how;
	uint32_t rights;
};

/* Of [at, last]: up to where the same stretch or gap ends. */
static struct part look(const struct host *h, const struct entries_run *run,
			enum entries_existing existing, uint64_t at, uint64_t last)
{
	const struct stretch *s = stretch_first(&h->entries, at, last);
	struct part p = { .first = at, .last = last, .how = SHOW, .rights = run->rights };

	if (!s || s->node.first > at) {
		p.last = s ? s->node.first - 1 : last;
		p.how = h->real_holes ? FILL : SHOW;
		return p;
	}
	p.last = min_u64(last, s->node.last);
	if (existing == ENTRIES_SKIP) {
		p.how = KEEP;
	} else if (stretch_same(s, run, at)) {
		p.rights |= s->rights;
		p.how = p.rights == s->rights ? KEEP : RAISE;
	}
	return p;
}

/* Of [at, last]: up to where something else is to be done. */
static struct part next_part(const struct host *h, const struct entries_run *run,
			     enum entries_existing existing, uint64_t at, uint64_t last)
{
	struct part p = look(h, run, existing, at, last);

	while (p.last < last) {
		struct part q = look(h, run, existing, p.last + 1, last);

		if (q.how != p.how || (q.how != KEEP && q.rights != p.rights))
			break;
		p.last = q.last;
	}
	return p;
}

/* One mmap of a descriptor. */
static int show_file(struct host *h, const struct entries_run *run, const struct part *p)
{
	const struct world *w = h->world;
	uint64_t at = p->first + h->delta, len = p->last - p->first + 1;
	int flags = MAP_SHARED | (p->how == FILL ? MAP_FIXED_NOREPLACE : MAP_FIXED);
	int64_t got;

	/* Not of a file, which would be read from where it lies. */
	if (run->soon && run->hva && len <= POPULATE_MAX)
		flags |= MAP_POPULATE;
	got = w->mmap(w, at, len, (int)p->rights, flags, run->fd,
		      run->off + (p->first - run->addr));
	if (got == (int64_t)at)
		return 0;
	if (got >= 0) { /* a kernel before 4.17 took the address as a hint */
		w->munmap(w, (uint64_t)got, len);
		return -EEXIST;
	}
	return (int)got;
}

static void record(struct host *h, const struct entries_run *run, const struct part *p)
{
	stretch_cut(h, p->first, p->last);
	stretch_put(h, p->first, p->last, run, p->rights);
}

static int do_file(struct host *h, const struct entries_run *run, const struct part *p)
{
	int err = show_file(h, run, p);

	if (!err)
		record(h, run, p);
	/* An old kernel may have opened the reservation before it refused. */
	else if (!h->real_holes && host_cover(h, p->first + h->delta, p->last - p->first + 1) >= 0)
		stretch_cut(h, p->first, p->last);
	return err;
}

static int do_memory(struct host *h, const struct entries_run *run, const struct part *p)
{
	const unsigned char *hva = (const unsigned char *)run->hva + (p->first - run->addr);
	uint64_t len = p->last - p->first + 1;
	int64_t got;
	int err;

	if (p->how == FILL) { /* a hole is held by covering it */
		got = host_cover(h, p->first + h->delta, len);
		if (got < 0)
			return (int)got;
	}
	err = host_show_memory(h, p->first, len, hva, p->rights);
	record(h, run, p);
	if (err) /* a part of it may stand */
		take_away(h, p->first, p->last);
	return err;
}

/* 0, or the host's error, and the part is as it was or shows nothing. */
static int do_part(struct host *h, const struct entries_run *run, const struct part *p)
{
	const struct world *w = h->world;
	uint64_t at = p->first + h->delta, len = p->last - p->first + 1;
	int err;

	if (p->how == KEEP)
		return 0;
	if (!stretch_reserve(h, STRETCHES_NEED))
		return -ENOMEM;
	if (p->how == RAISE) {
		err = w->mprotect(w, at, len, (int)p->rights);
		if (!err)
			stretch_rights(h, p->first, p->last, p->rights);
		return err;
	}
	return run->fd >= 0 ? do_file(h, run, p) : do_memory(h, run, p);
}

/* The host has no regions, perhaps: make room. False: nothing is left to give. */
static bool make_room(struct host *h, unsigned *round)
{
	switch ((*round)++) {
	case 0:
		if (ballast_let_go(h))
			return true;
		(*round)++;
		/* fallthrough */
	case 1:
		return evict(h, EVICT_FEW);
	case 2:
		return evict(h, EVICT_MANY);
	default:
		return false;
	}
}

/* The ballast went for somebody. It comes back at the cost of what is oldest. */
static void quench(struct host *h)
{
	struct host_entries *e = &h->entries;

	if (h->real_holes || e->ballast.len || ++e->thirst < THIRST)
		return;
	e->thirst = 0;
	ballast_fill(h);
	if (!e->ballast.len && e->n > EVICT_FEW && evict(h, EVICT_FEW))
		ballast_fill(h);
}

static int show(struct host *h, const struct entries_run *run, enum entries_existing existing)
{
	uint64_t last = run->addr + (run->len - 1);
	bool opportune = existing == ENTRIES_SKIP;
	unsigned round = 0;
	int err;

	for (uint64_t at = run->addr;;) {
		struct part p = next_part(h, run, existing, at, last);

		/*
		 * What is shown because it happens to be there drives nothing out: least of all the
		 * page that the same fault has just shown, which would fault for ever.
		 */
		if (opportune && p.how != KEEP && stretch_regions(h) + 2 > h->entries.budget)
			return -ENOMEM;
		err = do_part(h, run, &p);
		if (err == -ENOMEM && opportune)
			return err;
		if (err == -ENOMEM && make_room(h, &round)) {
			at = run->addr; /* what was there or was shown may have been evicted */
			continue;
		}
		if (err || p.last == last)
			break;
		at = p.last + 1;
	}
	if (!err)
		return 0;
	/* Nothing happened, but that entries are gone. */
	take_away(h, run->addr, last);
	return err;
}

static int refused(const struct entries_run *run, int err)
{
	if (err == -EEXIST)
		return fail(-ENOMEM,
			    "memory that is not the space's stands at [%#" PRIx64 ", +%#" PRIx64
			    ")",
			    run->addr, run->len);
	if (err == -ENOTSUP)
		return err; /* with a sentence */
	return fail(err, "the host does not show [%#" PRIx64 ", +%#" PRIx64 "): %s", run->addr,
		    run->len, strerror(-err));
}

static int entries_map_host(struct vms_mmu *mmu, const struct entries_run *run,
			    enum entries_existing existing)
{
	struct host *h = host_of(mmu);
	struct host_entries *e = &h->entries;
	int err;

	lock_take(&e->lock);
	if (h->broken) {
		err = fail(-EIO, "the host window is broken: the host refused to take away");
	} else if (existing == ENTRIES_ERROR &&
		   stretch_first(e, run->addr, run->addr + (run->len - 1))) {
		err = -EEXIST;
	} else {
		err = show(h, run, existing);
		if (err)
			err = refused(run, err);
		keep_budget(h);
		quench(h);
	}
	lock_drop(&e->lock);
	return err;
}

/* ---- Questions ---- */

static int entries_query_host(struct vms_mmu *mmu, uint64_t addr, const void **hva,
			      uint32_t *rights)
{
	struct host *h = host_of(mmu);
	const struct stretch *s;

	lock_take(&h->entries.lock);
	s = stretch_first(&h->entries, addr, addr);
	if (s) {
		*hva = s->hva ? s->hva + (addr - s->node.first) : NULL;
		*rights = s->rights;
	}
	lock_drop(&h->entries.lock);
	return s ? 0 : -ENOENT;
}

bool host_guest_addr(const struct vms_mmu *mmu, uint64_t at, uint64_t *addr)
{
	const struct host *h = host_of(mmu);

	if (!mmu->entries || mmu->entries->map != entries_map_host ||
	    !host_inside(h, at - h->delta, 1))
		return false;
	*addr = at - h->delta;
	return true;
}

/* Is a byte of the file there? */
static int behind_file(const struct host *h, int fd, uint64_t off)
{
	struct stat st;
	int64_t got;
	char byte;
	int err = h->world->fstat(h->world, fd, &st);

	if (!err && off >= (uint64_t)st.st_size)
		return fail(-ERANGE, "the file ends at %#" PRIx64 ", %#" PRIx64 " is shown",
			    (uint64_t)st.st_size, off);
	got = err ? err : h->world->pread(h->world, fd, &byte, 1, off);
	if (got == 1)
		return 0;
	err = got < 0 ? (int)got : -EIO;
	return fail(err, "the file cannot be read at %#" PRIx64 ": %s", off, strerror(-err));
}

int host_entries_behind(struct vms_mmu *mmu, uint64_t addr)
{
	struct host *h = host_of(mmu);
	uint64_t page = align_down(addr, h->host_page);
	const struct stretch *s;
	int err = 0;

	lock_take(&h->entries.lock);
	s = stretch_first(&h->entries, page, page);
	if (s && !s->hva)
		err = behind_file(h, s->fd, s->off + (page - s->node.first));
	else if (s &&
		 h->world->madvise(h->world, page + h->delta, h->host_page, MADV_POPULATE_READ))
		err = fail(-ENOMEM, "the host has no memory for the page at %#" PRIx64, page);
	lock_drop(&h->entries.lock);
	return err;
}

static int entries_admit_host(struct vms_mmu *mmu, const void *hva, uint64_t len)
{
	struct host *h = host_of(mmu);
	int err;

	lock_take(&h->entries.lock);
	err = host_may_show_memory(h, hva, len);
	lock_drop(&h->entries.lock);
	return err;
}

static uint64_t entries_max_run_host(struct vms_mmu *mmu, uint64_t addr)
{
	return TABLE - (addr & (TABLE - 1)); /* guest and host agree modulo TABLE */
}

static int entries_check_host(struct vms_mmu *mmu)
{
	struct host *h = host_of(mmu);
	int err;

	lock_take(&h->entries.lock);
	err = h->broken ? fail(-EINVAL, "host: the window is broken") : stretch_check(h);
	lock_drop(&h->entries.lock);
	return err;
}

/* ---- Life ---- */

void host_entries_init(struct host *h, uint64_t budget)
{
	struct host_entries *e = &h->entries;

	lock_init(&e->lock, LOCK_MMU, "host entries");
	e->budget = budget;
	e->first = h->lo;
	e->last = h->hi - 1;
	h->mmu.entries = &host_entries_ops;
}

void host_entries_fini(struct host *h)
{
	struct host_entries *e = &h->entries;

	if (h->real_holes) /* else the reservation goes as a whole */
		take_away(h, e->first, e->last);
	stretch_free_all(h);
	host_ballast_drop(h, &e->ballast);
	lock_fini(&e->lock);
}

static int entries_attach_host(struct vms_mmu *mmu, uint64_t first, uint64_t last,
			       uint64_t page_size)
{
	struct host *h = host_of(mmu);

	if (page_size < h->host_page)
		return fail(-EINVAL,
			    "the host's pages are of %" PRIu64
			    " bytes: it cannot serve pages of %" PRIu64,
			    h->host_page, page_size);
	if (first < h->lo || last > h->hi - 1)
		return fail(-EINVAL,
			    "the space [%#" PRIx64 ", %#" PRIx64 "] leaves the window [%#" PRIx64
			    ", %#" PRIx64 ")",
			    first, last, h->lo, h->hi);
	lock_take(&h->entries.lock);
	ballast_fill(h);
	lock_drop(&h->entries.lock);
	return 0;
}

static void entries_detach_host(struct vms_mmu *mmu)
{
	struct host *h = host_of(mmu);

	entries_empty_host(mmu);
	lock_take(&h->entries.lock);
	host_ballast_drop(h, &h->entries.ballast);
	lock_drop(&h->entries.lock);
}

const struct entries_ops host_entries_ops = {
	.caps = ENTRIES_EAGER | ENTRIES_FILES,
	.stretch = STRETCH_BYTES,
	.attach = entries_attach_host,
	.detach = entries_detach_host,
	.map = entries_map_host,
	.unmap = entries_unmap_host,
	.remove_write = entries_remove_write_host,
	.protect = entries_protect_host,
	.empty = entries_empty_host,
	.query = entries_query_host,
	.max_run = entries_max_run_host,
	.check = entries_check_host,
	.admit = entries_admit_host,
};
