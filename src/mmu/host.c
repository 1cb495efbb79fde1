// SPDX-License-Identifier: MIT
/*
 * host.c: the window store and its MMU backend: guest memory is memory of this process.
 *
 * The window is a range of guest addresses; guest address A is host address A + delta. What the
 * space maps is mapped there at once, with the guest's rights, so that the kernel may touch it
 * too. The bytes live and die with their one mapping, and the kernel copies them on fork:
 *
 *	private anonymous	MAP_PRIVATE | MAP_ANONYMOUS
 *	a file			MAP_PRIVATE or MAP_SHARED of the file itself
 *	shared anonymous	MAP_SHARED | MAP_ANONYMOUS. Deliberately no memfd: no descriptor
 *				that the guest could see or close, no ulimit -f; a second mapping
 *				of the same pages is made by mremap with an old length of 0
 *
 * Holes are of one of two kinds:
 *
 *	reserved window		a hole is part of one inaccessible reservation. Nobody else's mmap
 *				can land inside. Adjacent holes are one host region.
 *	real holes		a hole is unmapped, guest address = host address, and a mapping
 *				that the space believes to be new never replaces anything
 *				(MAP_FIXED_NOREPLACE)
 *
 * Guest pages may be larger than the host's (16 or 64 KiB on 4 KiB). Where a file ends inside a
 * guest page, the host pages of that guest page beyond the end are anonymous zero memory, the
 * *tail*; guest pages wholly beyond the end stay mapped to the file and so raise SIGBUS:
 *
 *	      guest page          guest page          guest page
 *	|....|....|....|....|....|....|....|....|....|....|....|....|	host pages
 *	 file file file file file fi 0  tail tail  file, beyond its end
 *	                            ^ end of file
 *
 * The tail is exact for private mappings. A shared one has a tail of its own (writes beyond the
 * end are not seen by other mappings of the file), and a file that grows or shrinks while it is
 * mapped is followed by host pages, not by guest pages.
 *
 * Invariants:
 *	1 for every guest address A in [lo, hi): host address = A + delta, for the window's life
 *	2 a hole is unmapped (real holes), or private anonymous memory without rights and without a
 *	  page in it (reserved window)
 *	3 the host's rights on a guest page are those of the last map or protect of it
 *	4 every bound given to the host is a guest page's, save a tail's lower end. So a seam of the
 *	  host's regions inside a guest page separates a file and its tail, file below
 *	5 an operation that fails has left every guest page with the bytes and rights it had; or,
 *	  where the host refused to undo or to make a hole, `broken` is set, and every later change
 *	  answers -EIO
 *	6 memory outside the window that an operation borrows is given back at its end
 *	7 [one_start, one_end) lies in one region of the host, unless it is empty: the last change
 *	  succeeded as it can only inside one region. Other changes forget it. It is told instead
 *	  of asking the host where its regions meet
 *
 * Not covered by 5, because the kernel reports no more than an error: a host mprotect over several
 * regions that fails in the middle (overcommit mode 2, the region limit) has changed those before
 * it, which the space mends; and an mremap of several regions at once (6.17) that fails in the
 * middle has moved those before it.
 */
#include "mmu/host.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/range.h"

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08 /* since 6.11 */
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* since 6.13 */
#endif

#define RESERVED (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)
#define HUGE	 (UINT64_C(2) << 20)
#define MAX_HUGE (UINT64_C(16) << 30)
#define VEC	 1024 /* host pages asked of mincore at a time */

#define PARAMS_LEAST   offsetof(struct vms_mmu_host_params, budget) /* before 0.3 */
#define BUDGET_DEFAULT 32768u /* regions; half of what a process has by default */
#define BUDGET_LEAST   16u

_Static_assert(VMS_PROT_READ == PROT_READ && VMS_PROT_WRITE == PROT_WRITE &&
		       VMS_PROT_EXEC == PROT_EXEC,
	       "rights are passed to the host as they are");

static struct host *host_of(struct vms_mmu *mmu)
{
	return (struct host *)mmu; /* its first member */
}

/* ---- holes ---- */

int64_t host_cover(struct host *h, uint64_t at, uint64_t len)
{
	const struct world *w = h->world;
	int64_t got =
		w->mmap(w, at, len, PROT_NONE, RESERVED | (at ? MAP_FIXED_NOREPLACE : 0), -1, 0);

	if (got < 0 || at == 0 || (uint64_t)got == at)
		return got;
	w->munmap(w, (uint64_t)got, len); /* a kernel before 4.17 took the address as a hint */
	return -EEXIST;
}

int host_hole(struct host *h, uint64_t at, uint64_t len)
{
	const struct world *w = h->world;
	int64_t got;

	if (h->real_holes)
		return w->munmap(w, at, len);
	got = w->mmap(w, at, len, PROT_NONE, RESERVED | MAP_FIXED, -1, 0);
	return got < 0 ? (int)got : 0;
}

void host_settle(struct host *h, uint64_t at, uint64_t len)
{
	if (host_hole(h, at, len) < 0 && host_hole(h, at, len) < 0)
		h->broken = true;
}

int host_begin(struct host *h)
{
	h->one_start = h->one_end = 0;
	return h->broken ? fail(-EIO, "the host window is broken: the host refused to undo a "
				      "change")
			 : 0;
}

/* The space may be wider than the window: what lies outside is not there for the guest. */
bool host_inside(const struct host *h, uint64_t addr, uint64_t len)
{
	uint64_t size = h->hi - h->lo;

	return addr >= h->lo && len <= size && addr - h->lo <= size - len;
}

/* ---- map ---- */

static int host_flags(const struct host *h, const struct backend_map *m)
{
	int flags = m->flags & BACKEND_SHARED	   ? MAP_SHARED
		    : m->flags & BACKEND_DROPPABLE ? MAP_DROPPABLE
						   : MAP_PRIVATE;

	if (m->fd < 0)
		flags |= MAP_ANONYMOUS;
	if (m->flags & BACKEND_NORESERVE)
		flags |= MAP_NORESERVE;
	if (m->flags & BACKEND_LOCKED)
		flags |= MAP_LOCKED;
	if (m->flags & BACKEND_POPULATE)
		flags |= MAP_POPULATE;
	if (m->flags & BACKEND_STACK)
		flags |= MAP_STACK;
	if (m->flags & BACKEND_GROWSDOWN && h->mmu.ops->caps & BACKEND_GROWS)
		flags |= MAP_GROWSDOWN;
	return flags;
}

/*
 * Would the host map this file so? Only the file system or driver knows, and some kernels have
 * already taken away what stood in the range when it says no. So ask elsewhere first.
 */
static int probe_file(struct host *h, const struct backend_map *m)
{
	const struct world *w = h->world;
	uint64_t len = h->host_page;
	int flags = host_flags(h, m) & ~(MAP_LOCKED | MAP_POPULATE);
	int64_t got = w->mmap(w, 0, len, (int)m->prot, flags, m->fd, m->off);
	int err;

	if (got < 0)
		return (int)got;
	err = w->munmap(w, (uint64_t)got, len);
	if (err)
		err = w->munmap(w, (uint64_t)got, len);
	/* A file of large pages has mapped one of them, and takes it back as a whole only. */
	while (err == -EINVAL && len < MAX_HUGE) {
		len *= 2;
		err = w->munmap(w, (uint64_t)got, len);
	}
	return 0;
}

/* One mmap of the window. An error leaves it as it was. */
static int place(struct host *h, const struct backend_map *m, uint64_t at)
{
	const struct world *w = h->world;
	bool believed_hole = m->flags & BACKEND_NOREPLACE;
	bool noreplace = believed_hole && h->real_holes;
	int flags = host_flags(h, m) | (noreplace ? MAP_FIXED_NOREPLACE : MAP_FIXED);
	int64_t got = w->mmap(w, at, m->len, (int)m->prot, flags, m->fd, m->off);

	if (got == (int64_t)at)
		return 0;
	if (got >= 0) { /* as in host_cover */
		w->munmap(w, (uint64_t)got, m->len);
		return -EEXIST;
	}
	/* A late refusal may have opened the reservation. Other memory that went is lost. */
	if (!h->real_holes && host_cover(h, at, m->len) >= 0 && !believed_hole)
		h->broken = true;
	return (int)got;
}

bool host_region(struct host *h, uint64_t at, uint64_t *start, uint64_t *end)
{
	if (h->maps < 0)
		h->maps = h->world->maps_open(h->world);
	return h->maps >= 0 && h->world->region(h->world, h->maps, at, start, end) == 0;
}

/*
 * New memory becomes part of the host's region below it, unless that was moved here (and its pages
 * are numbered by where it was) or inherited. Left apart, each growth of it might cost a region.
 */
static int place_growth(struct host *h, const struct backend_map *m, uint64_t at)
{
	uint64_t start, end;
	int err = place(h, m, at);

	if (err || !h->finer || (host_region(h, at, &start, &end) && start < at))
		return err;
	/* With regions to the limit, and one over by this, the host maps nothing, but it unmaps. */
	if (host_hole(h, at, m->len) < 0 &&
	    (h->world->munmap(h->world, at, m->len) < 0 ||
	     (!h->real_holes && host_cover(h, at, m->len) < 0)))
		h->broken = true;
	return -EFAULT;
}

/*
 * The tail of a file mapping: [*start, *end), offsets from its beginning. False: it has none.
 * *err: the host's refusal to tell the file's size.
 */
static bool find_tail(struct host *h, const struct backend_map *m, uint64_t *start, uint64_t *end,
		      int *err)
{
	struct stat st;
	uint64_t eof;

	*err = 0;
	if (m->fd < 0 || h->page == h->host_page)
		return false;
	*err = h->world->fstat(h->world, m->fd, &st);
	if (*err || !S_ISREG(st.st_mode) || (uint64_t)st.st_size <= m->off)
		return false;
	eof = (uint64_t)st.st_size - m->off;
	*start = align_up(eof, h->host_page);
	*end = align_up(eof, h->page);
	return *start < *end && *start < m->len;
}

/* A file and its tail: two host calls, so what stood there is put aside until both are made. */
static int place_with_tail(struct host *h, const struct backend_map *m, uint64_t at, uint64_t start,
			   uint64_t end)
{
	struct backend_map tail = { .len = end - start,
				    .prot = m->prot,
				    .flags = m->flags & ~BACKEND_NOREPLACE,
				    .fd = -1 };
	bool hole = m->flags & BACKEND_NOREPLACE;
	struct journal j;
	int err;

	err = journal_begin(&j, h, at, m->len);
	if (!err && !hole)
		err = journal_stash(&j, at, m->len);
	if (err)
		return err;
	err = place(h, m, at);
	if (err && hole) {
		journal_drop(&j);
		return err; /* whose memory stands there is not ours to know */
	}
	if (!err)
		err = place(h, &tail, at + start);
	if (err)
		journal_undo(&j, at, m->len);
	else
		journal_drop(&j);
	return err;
}

static int host_map(struct vms_mmu *mmu, const struct backend_map *m)
{
	struct host *h = host_of(mmu);
	uint64_t at = m->addr + h->delta, start, end;
	int err = host_begin(h);

	if (err)
		return err;
	if (!host_inside(h, m->addr, m->len))
		return -ENOMEM;
	if (m->fd >= 0 && !(m->flags & BACKEND_NOREPLACE)) {
		err = probe_file(h, m);
		if (err)
			return err;
	}
	if (find_tail(h, m, &start, &end, &err))
		return place_with_tail(h, m, at, start, end);
	if (err)
		return err;
	return m->flags & BACKEND_GROWTH ? place_growth(h, m, at) : place(h, m, at);
}

/* ---- the other edits ---- */

static int host_unmap(struct vms_mmu *mmu, uint64_t addr, uint64_t len)
{
	struct host *h = host_of(mmu);
	int err = host_begin(h);
	uint64_t last = addr + (len - 1);

	if (err)
		return err;
	/* Outside the window there are only holes. */
	if (last < h->lo || addr > h->hi - 1)
		return 0;
	addr = max_u64(addr, h->lo);
	last = min_u64(last, h->hi - 1);
	return host_hole(h, addr + h->delta, last - addr + 1);
}

static int host_protect(struct vms_mmu *mmu, uint64_t addr, uint64_t len, uint32_t prot)
{
	struct host *h = host_of(mmu);
	int err = host_begin(h);

	if (err)
		return err;
	if (!host_inside(h, addr, len))
		return -ENOMEM;
	return h->world->mprotect(h->world, addr + h->delta, len, (int)prot);
}

static int host_advise(struct vms_mmu *mmu, uint64_t addr, uint64_t len, int advice)
{
	struct host *h = host_of(mmu);

	h->one_start = h->one_end = 0;
	if (!host_inside(h, addr, len))
		return -ENOMEM;
	return h->world->madvise(h->world, addr + h->delta, len, advice);
}

static int host_lock(struct vms_mmu *mmu, uint64_t addr, uint64_t len, int on)
{
	struct host *h = host_of(mmu);

	h->one_start = h->one_end = 0;
	if (!host_inside(h, addr, len))
		return -ENOMEM;
	if (on == 0)
		return h->world->munlock(h->world, addr + h->delta, len);
	return h->world->mlock(h->world, addr + h->delta, len, on == 2);
}

static int host_sync(struct vms_mmu *mmu, uint64_t addr, uint64_t len, int flags)
{
	struct host *h = host_of(mmu);

	if (!host_inside(h, addr, len))
		return -ENOMEM;
	return h->world->msync(h->world, addr + h->delta, len, flags);
}

/* ---- questions ---- */

/*
 * A guest page is resident if any of its host pages is: the guest's kernel would have brought in
 * the whole page at the first touch.
 */
static int host_residency(struct vms_mmu *mmu, uint64_t addr, uint64_t len, unsigned char *vec)
{
	struct host *h = host_of(mmu);
	uint64_t at = addr + h->delta, done = 0;
	unsigned shift = (unsigned)__builtin_ctzll(h->page);
	unsigned char part[VEC];
	int err;

	if (!host_inside(h, addr, len))
		return -ENOMEM;
	if (h->page == h->host_page)
		return h->world->mincore(h->world, at, len, vec);
	memset(vec, 0, len >> shift);
	while (done < len) {
		uint64_t bytes = min_u64(len - done, VEC * h->host_page);

		err = h->world->mincore(h->world, at + done, bytes, part);
		if (err)
			return err;
		for (uint64_t i = 0; i < bytes / h->host_page; i++)
			vec[(done + i * h->host_page) >> shift] |= part[i] & 1;
		done += bytes;
	}
	return 0;
}

static bool mapped(struct host *h, uint64_t at)
{
	unsigned char vec;

	return h->world->mincore(h->world, at, h->host_page, &vec) == 0;
}

/*
 * The growing region is the only thing that the host may have in [floor, start), so "mapped" is
 * true from its beginning up: steps that double find a page below it, halving finds the page.
 */
static uint64_t host_grown(struct vms_mmu *mmu, uint64_t start, uint64_t floor)
{
	struct host *h = host_of(mmu);
	uint64_t page = h->host_page, in = start, out, step = page;

	if (!(mmu->ops->caps & BACKEND_GROWS))
		return start;
	floor = max_u64(floor, h->lo);
	if (start <= floor || !host_inside(h, start, page))
		return start;
	for (;;) { /* [in, start) is the region's */
		if (in == floor)
			return in;
		out = in - floor > step ? in - step : floor;
		if (!mapped(h, out + h->delta))
			break;
		in = out;
		step *= 2;
	}
	while (in - out > page) { /* out is not mapped, in is the region's or start */
		uint64_t mid = out + align_down((in - out) / 2, page);

		if (mapped(h, mid + h->delta))
			in = mid;
		else
			out = mid;
	}
	return in;
}

static bool host_seam(struct vms_mmu *mmu, uint64_t addr, uint64_t *end)
{
	struct host *h = host_of(mmu);
	uint64_t at = addr + h->delta, start, last;

	if (h->one_start < at && at < h->one_end) {
		*end = h->one_end - h->delta;
		return false;
	}
	if (!host_region(h, at, &start, &last))
		return false;
	*end = last - h->delta;
	return start == at;
}

/* What is kept open shows the parent's maps. */
static void host_forked(struct vms_mmu *mmu)
{
	struct host *h = host_of(mmu);

	if (h->maps >= 0)
		h->world->fd_close(h->world, h->maps);
	h->maps = -1;
	h->finer = true;
	h->one_start = h->one_end = 0;
}

static void *host_addr(struct vms_mmu *mmu, uint64_t addr)
{
	struct host *h = host_of(mmu);

	if (addr < h->lo || addr >= h->hi)
		return NULL;
	return (void *)(uintptr_t)(addr + h->delta);
}

/* ---- life ---- */

static void host_destroy(struct vms_mmu *mmu)
{
	struct host *h = host_of(mmu);

	host_forked(mmu);
	host_entries_fini(h);
	if (h->reserved_len)
		h->world->munmap(h->world, h->reserved_at, h->reserved_len);
	h->world->free(h->world, h, sizeof(*h));
}

#define OPS(more)                                                                                 \
	{                                                                                         \
		.caps = BACKEND_EAGER | BACKEND_CONTENT | (more),           \
		.map = host_map, .unmap = host_unmap, .protect = host_protect, .move = host_move, \
		.advise = host_advise, .lock = host_lock, .sync = host_sync,                      \
		.residency = host_residency, .grown = host_grown, .seam = host_seam,              \
		.forked = host_forked,                                                            \
		.host_addr = host_addr,                                                           \
	}

/* With real holes the host's regions are the guest's, and it may grow them. */
#define REAL (BACKEND_GROWS | BACKEND_SEAMS)

/* Indexed by: guard markers, kind of holes. */
enum { RESERVED_WINDOW, LARGER_PAGES, REAL_HOLES };
static const struct backend_ops host_ops[2][3] = {
	{ OPS(BACKEND_ADDS), OPS(BACKEND_GROWS), OPS(REAL) },
	{ OPS(BACKEND_GUARDS | BACKEND_ADDS), OPS(BACKEND_GUARDS | BACKEND_GROWS),
	  OPS(BACKEND_GUARDS | REAL) },
};

static int check_params(const struct vms_mmu_host_params *p, uint64_t host_page, uint64_t page)
{
	if (!p || p->size < PARAMS_LEAST)
		return fail(-EINVAL, "vms_mmu_host: params of %zu bytes, need %zu", p ? p->size : 0,
			    PARAMS_LEAST);
	for (const char *c = (const char *)p + sizeof(*p); c < (const char *)p + p->size; c++)
		if (*c)
			return fail(-EINVAL, "vms_mmu_host: params set what this version lacks");
	if (p->flags & ~VMS_MMU_REAL_HOLES)
		return fail(-EINVAL, "vms_mmu_host: unknown flags %#x",
			    p->flags & ~VMS_MMU_REAL_HOLES);
	if (p->lo >= p->hi)
		return fail(-EINVAL, "vms_mmu_host: the window [%#lx, %#lx) is empty",
			    (unsigned long)p->lo, (unsigned long)p->hi);
	if (!is_aligned(p->lo, host_page) || !is_aligned(p->hi, host_page))
		return fail(-EINVAL,
			    "vms_mmu_host: the window [%#lx, %#lx) is not of whole pages "
			    "of %lu bytes",
			    (unsigned long)p->lo, (unsigned long)p->hi, (unsigned long)host_page);
	if (p->size >= sizeof(*p) && p->budget && p->budget < BUDGET_LEAST)
		return fail(-EINVAL, "vms_mmu_host: a budget of %lu regions, need %u",
			    (unsigned long)p->budget, BUDGET_LEAST);
	if (!is_pow2(page) || page < host_page)
		return fail(-EINVAL,
			    "vms_mmu_host: page size %lu is no power of two of at least "
			    "%lu, the host's",
			    (unsigned long)page, (unsigned long)host_page);
	return 0;
}

int vms_mmu_host(const struct vms_mmu_host_params *params, struct vms_mmu **mmu)
{
	const struct world *w = world_default;
	uint64_t host_page = (uint64_t)sysconf(_SC_PAGESIZE), page = host_page, len;
	uint64_t budget = BUDGET_DEFAULT;
	struct host *h;
	unsigned kind = RESERVED_WINDOW;
	bool guards;
	int64_t at;
	int err;

	if (params && params->size >= PARAMS_LEAST && params->page_size)
		page = params->page_size;
	if (params && params->size >= sizeof(*params) && params->budget)
		budget = params->budget;
	err = check_params(params, host_page, page);
	if (err)
		return err;
	h = w->alloc(w, sizeof(*h));
	if (!h)
		return fail(-ENOMEM, "no memory for a host backend");
	memset(h, 0, sizeof(*h));
	h->mmu.world = h->world = w;
	atomic_init(&h->mmu.refs, 1);
	h->maps = -1;
	h->real_holes = params->flags & VMS_MMU_REAL_HOLES;
	h->lo = params->lo;
	h->hi = params->hi;
	h->page = page;
	h->host_page = host_page;
	if (!h->real_holes) {
		/* Guest and host agree modulo a large page, so that both can have large ones. */
		len = h->hi - h->lo;
		at = len > UINT64_MAX / 2 ? -ENOMEM
					  : w->mmap(w, 0, len + HUGE, PROT_NONE, RESERVED, -1, 0);
		if (at < 0) {
			w->free(w, h, sizeof(*h));
			return fail(-ENOMEM, "cannot reserve a window of %#lx bytes: %s",
				    (unsigned long)len, strerror((int)-at));
		}
		h->reserved_at = (uint64_t)at;
		h->reserved_len = len + HUGE;
		h->delta = h->reserved_at + ((h->lo - h->reserved_at) & (HUGE - 1)) - h->lo;
	}
	/* No bytes are advised: the host only says whether it knows the advice. */
	guards = w->madvise(w, h->lo + h->delta, 0, MADV_GUARD_INSTALL) == 0;
	/*
	 * Beside a reservation nothing can grow: the space grows the region. Over real holes the host
	 * does, by its own pages; the space completes a larger one that was reached.
	 */
	if (h->real_holes)
		kind = page == host_page ? REAL_HOLES : LARGER_PAGES;
	h->mmu.ops = &host_ops[guards][kind];
	host_entries_init(h, budget);
	h->mmu.destroy = host_destroy;
	*mmu = &h->mmu;
	return 0;
}
