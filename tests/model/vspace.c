// SPDX-License-Identifier: MIT
/*
 * vspace.c: random edits, faults, accesses and branches of a few small spaces, and changes of the
 * objects they show, against naive ones (vspace_naive.h, twins.h).
 *
 * After every step:
 *
 *	- each answer is the naive one; so are the mappings by vms_next, regions and mappings by
 *	  vms_walk, and what the space says of itself
 *	- an entry of the backend never shows other bytes than the object has, nor grants more than
 *	  the mapping does, nor writing to what others see or to a page that is not dirty
 *	- the pages that the arena has granted are those that the naive objects have
 *	- the validators agree
 *
 * A lazy backend is emptied at any moment; the recording one loses more than it was asked to, and
 * fails maps. Pagers answer at once, later (with other steps in between), or fail.
 *
 *	model-vspace [--backend record|soft|host] [--page BYTES] [--steps N] [--seed S] [--trace 1]
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "mmu/backend.h"
#include "model.h"
#include "twins.h"
#include "vmspace/tlb.h"
#include "vspace_naive.h"

#define SIDES	 3
#define LIVE_MIN 5
#define LIVE_MAX 10

enum backend { RECORD, SOFT, HOST };

/* A space and its naive twin. */
struct side {
	struct vms_space *space; /* NULL: free */
	struct vms_mmu *mmu;
	struct vms_region *handle[NSPACE_REGIONS]; /* by naive region; NULL: none */
	struct nspace n;
	struct vms_cpu *cpu; /* of the soft backend */
	bool fails;	     /* a map of the backend is about to fail */
};

static struct side sides[SIDES];
static enum backend backend;
static uint64_t page_option, cell;
static unsigned nested;
static uint8_t *scratch, *buffers[2]; /* of a step, and of one that happens in its wait */

static void do_step(void);

static const char *name_of(enum vms_fault_result r)
{
	return vms_fault_name(r);
}

/* For people. */
static const char *show(const struct side *s, uint64_t addr)
{
	static char text[200];
	uint64_t off;
	const struct naive_view *v = nspace_at(&s->n, addr, &off);
	const struct nmap *m = v ? &s->n.map[(addr - s->n.lo) / s->n.page] : NULL;

	if (!v)
		return "nothing";
	snprintf(text, sizeof(text),
		 "object %u (kind %d of %d, %" PRIu64 " bytes, stream %" PRIu64 ") off %#" PRIx64
		 " prot %u flags %u",
		 twin_index(v->user), v->kind, v->c->kind, naive_bytes(v), v->c->stream, off,
		 m->prot, m->flags);
	return text;
}

static struct side *any_side(void)
{
	unsigned i;

	do
		i = (unsigned)rnd(SIDES);
	while (!sides[i].space);
	return &sides[i];
}

static unsigned side_index(const struct side *s)
{
	return (unsigned)(s - sides);
}

/* What mappings hold changed: count, and let go of what nobody holds. */
static void recount(void)
{
	for (unsigned i = 0; i < TWINS_MAX; i++)
		twins[i].maps = 0;
	for (unsigned k = 0; k < SIDES; k++)
		for (unsigned i = 0; sides[k].space && i < sides[k].n.npages; i++)
			if (sides[k].n.map[i].view)
				((struct twin *)sides[k].n.map[i].view->user)->maps++;
	for (unsigned i = 0; i < TWINS_MAX; i++)
		if (twins[i].naive && !twins[i].obj && !twins[i].maps)
			twin_gone(&twins[i]);
}

/* ---- comparing ---- */

static uint8_t byte_at(struct nspace *n, uint64_t addr)
{
	uint8_t cells[CELLS];
	uint64_t off;
	struct naive_view *v = nspace_at(n, addr, &off);

	naive_show(v, (unsigned)(off / naive_page_size), cells);
	return cells[off % naive_page_size / cell];
}

static void check_mappings(struct side *s)
{
	struct vms_mapping_info info = { .size = sizeof(info) };
	struct vms_cursor cursor = { 0 };
	struct nspace *n = &s->n;
	unsigned count = 0, regions = 0, k, first;
	uint64_t mapped = 0;
	struct vms_space_info si = { .size = sizeof(si) };
	int err;

	for (unsigned i = 0; i < n->npages; i += k) {
		const struct nmap *m = &n->map[i];
		uint64_t addr = n->lo + i * n->page;

		k = 1;
		if (!m->view)
			continue;
		first = nspace_run(n, i, &k);
		if (first != i)
			die("the model is wrong");
		err = vms_next(s->space, &cursor, &info);
		if (err)
			die("space %u: no mapping at %#" PRIx64 ": %d", side_index(s), addr, err);
		if (info.addr != addr || info.len != k * n->page || info.off != m->off ||
		    info.object_id != ((struct twin *)m->view->user)->id || info.prot != m->prot ||
		    info.ceiling != m->ceiling || info.flags != m->flags)
			die("space %u: [%#" PRIx64 ", +%#" PRIx64 ") object %" PRIu64
			    " off %#" PRIx64 " prot %u ceiling %u flags %u, expected [%#" PRIx64
			    ", +%#" PRIx64 ") object %" PRIu64 " off %#" PRIx64
			    " prot %u ceiling %u flags %u",
			    side_index(s), info.addr, info.len, info.object_id, info.off, info.prot,
			    info.ceiling, info.flags, addr, k * n->page,
			    ((struct twin *)m->view->user)->id, m->off, m->prot, m->ceiling,
			    m->flags);
		count++;
		mapped += info.len;
	}
	err = vms_next(s->space, &cursor, &info);
	if (err != -ENOENT)
		die("space %u: a mapping too many: %d, [%#" PRIx64 ", +%#" PRIx64 ")",
		    side_index(s), err, info.addr, info.len);
	for (unsigned i = 0; i < NSPACE_REGIONS; i++)
		regions += n->region[i].alive;
	err = vms_space_info(s->space, &si);
	if (err || si.mappings != count || si.mapped != mapped || si.regions != regions ||
	    si.lo != n->lo || si.hi != n->lo + n->npages * n->page || si.page_size != n->page)
		die("space %u: info %d says %" PRIu64 " mappings of %#" PRIx64 " bytes, %" PRIu64
		    " regions; expected %u, %#" PRIx64 ", %u",
		    side_index(s), err, si.mappings, si.mapped, si.regions, count, mapped, regions);
}

struct walked {
	struct vms_walk walk;
	const struct side *s;
	uint64_t first, last; /* the window; last is included */
	bool mappings_only;
};

static void expect_item(struct walked *w, bool is_mapping, uint32_t depth, unsigned first,
			unsigned n, uint32_t rights)
{
	const struct nspace *ns = &w->s->n;
	uint64_t addr = ns->lo + first * ns->page, len = n * ns->page;
	struct vms_walk_item item;
	int err;

	if (addr > w->last || addr + (len - 1) < w->first || (w->mappings_only && !is_mapping))
		return;
	err = vms_walk_next(&w->walk, &item);
	if (err || !!item.is_mapping != is_mapping || item.depth != depth || item.addr != addr ||
	    item.len != len || item.rights != rights)
		die("space %u: the walk of [%#" PRIx64 ", %#" PRIx64
		    "] tells %d, %s depth %u [%#" PRIx64 ", +%#" PRIx64
		    ") rights %u, expected %s depth %u [%#" PRIx64 ", +%#" PRIx64 ") rights %u",
		    side_index(w->s), w->first, w->last, err,
		    item.is_mapping ? "mapping" : "region", item.depth, item.addr, item.len,
		    item.rights, is_mapping ? "mapping" : "region", depth, addr, len, rights);
}

static void walk_region(struct walked *w, const struct nregion *r, uint32_t depth)
{
	const struct nspace *n = r->space;
	unsigned k;

	for (unsigned i = r->first; i < r->first + r->n; i += k) {
		const struct nregion *c = nspace_child_at(r, i);

		k = 1;
		if (c) {
			k = c->n;
			expect_item(w, false, depth, c->first, c->n, c->rights);
			walk_region(w, c, depth + 1);
		} else if (n->map[i].view) {
			nspace_run(n, i, &k);
			expect_item(w, true, depth, i, k, n->map[i].prot);
		}
	}
}

static void check_walk(struct side *s, unsigned region, uint64_t addr, uint64_t len)
{
	struct walked w = {
		.s = s, .first = addr, .last = addr + (len - 1), .mappings_only = rnd(3) == 0
	};
	struct vms_walk_item item;
	int err = vms_walk_begin(&w.walk, s->handle[region], addr, len, w.mappings_only);

	if (err)
		die("walk_begin: %d", err);
	walk_region(&w, &s->n.region[region], 1);
	err = vms_walk_next(&w.walk, &item);
	if (err != -ENOENT)
		die("space %u: the walk of [%#" PRIx64 ", +%#" PRIx64
		    ") ends with %d, %s [%#" PRIx64 ", +%#" PRIx64 ")",
		    side_index(s), addr, len, err, item.is_mapping ? "mapping" : "region",
		    item.addr, item.len);
	vms_walk_end(&w.walk);
}

static void check_handles(struct side *s)
{
	for (unsigned i = 0; i < NSPACE_REGIONS; i++) {
		struct vms_region_info info = { .size = sizeof(info) };
		const struct nregion *r = &s->n.region[i];

		if (!s->handle[i])
			continue;
		if (vms_region_info(s->handle[i], &info))
			die("region_info failed");
		if (info.addr != s->n.lo + r->first * s->n.page || info.len != r->n * s->n.page ||
		    info.rights != r->rights || info.alive != r->alive ||
		    (r->alive && info.priority != r->priority))
			die("space %u: region %u is [%#" PRIx64 ", +%#" PRIx64
			    ") rights %u alive %u priority %d",
			    side_index(s), i, info.addr, info.len, info.rights, info.alive,
			    info.priority);
	}
}

/* Copies memory that perhaps nobody may touch. */
static bool touch_host(void *window, void *ours, size_t len, bool write)
{
	struct iovec local = { .iov_base = ours, .iov_len = len };
	struct iovec remote = { .iov_base = window, .iov_len = len };
	ssize_t n = write ? process_vm_writev(getpid(), &local, 1, &remote, 1, 0)
			  : process_vm_readv(getpid(), &local, 1, &remote, 1, 0);

	return n == (ssize_t)len;
}

/* The rights that the backend grants to the cell at addr, and where its bytes are. */
static uint32_t entry_of(struct side *s, uint64_t addr, uint8_t **at)
{
	uint64_t granule = s->n.page < naive_page_size ? s->n.page : naive_page_size;
	uint64_t base = addr & ~(granule - 1);
	const void *hva = NULL;
	uint32_t rights = 0;

	if (s->mmu->entries->query(s->mmu, base, &hva, &rights))
		return 0;
	if (backend == HOST)
		hva = vms_mmu_host_addr(s->mmu, base);
	if (!hva)
		die("space %u: the entry at %#" PRIx64 " is nowhere", side_index(s), addr);
	*at = (uint8_t *)hva + (addr - base);
	return rights;
}

static bool load_cell(uint8_t *at, uint8_t *bytes)
{
	if (backend == HOST)
		return touch_host(at, bytes, cell, false);
	memcpy(bytes, at, cell);
	return true;
}

/* An entry holds no more than the truth. */
static void check_entry(struct side *s, uint64_t addr)
{
	struct naive_view *v;
	uint64_t off;
	uint8_t *at = NULL;
	uint32_t rights = entry_of(s, addr, &at), granted;

	if (!rights)
		return;
	v = nspace_at(&s->n, addr, &off);
	granted = v ? s->n.map[(addr - s->n.lo) / s->n.page].prot : 0;
	if (rights & ~granted)
		die("space %u: the entry at %#" PRIx64 " grants %u, the mapping %u", side_index(s),
		    addr, rights, granted);
	if (off >= naive_bytes(v) || v->c->discarded ||
	    !naive_present(v, (unsigned)(off / naive_page_size)))
		die("space %u: the entry at %#" PRIx64 " shows a page that is not there: %s",
		    side_index(s), addr, show(s, addr));
	if ((rights & VMS_PROT_WRITE) &&
	    (!naive_may_write_through(v, (unsigned)(off / naive_page_size)) ||
	     (v->c->kind == VMS_OBJECT_KIND_PAGED &&
	      twins_clean(v->c, v->at + (unsigned)(off / naive_page_size)))))
		die("space %u: the entry at %#" PRIx64 " grants writing to what it may not: %s: "
		    "frame %" PRIu64 " mark %d dirty %d",
		    side_index(s), addr, show(s, addr),
		    v->c->page[v->at + off / naive_page_size].frame,
		    v->c->page[v->at + off / naive_page_size].mark,
		    v->c->page[v->at + off / naive_page_size].dirty);
	if (!(rights & VMS_PROT_READ))
		return;
	if (!load_cell(at, scratch))
		die("space %u: the entry at %#" PRIx64 " cannot be read", side_index(s), addr);
	if (scratch[0] != byte_at(&s->n, addr) || memcmp(scratch, scratch + 1, cell - 1))
		die("space %u: the entry at %#" PRIx64 " shows %#x .. %#x, expected %#x",
		    side_index(s), addr, scratch[0], scratch[cell - 1], byte_at(&s->n, addr));
}

static uint64_t cells_of(const struct side *s)
{
	return s->n.npages * s->n.page / cell;
}

static void check_side(struct side *s, unsigned entries)
{
	uint64_t n = cells_of(s);

	check_mappings(s);
	check_walk(s, 0, s->n.lo, s->n.npages * s->n.page);
	for (unsigned i = 0; i < entries; i++)
		check_entry(s, s->n.lo + rnd(n) * cell);
	if (vms_space_check(s->space))
		die("space %u: the validator says: %s", side_index(s), vms_last_error());
}

static void check_everything(void)
{
	for (unsigned i = 0; i < SIDES; i++) {
		if (!sides[i].space)
			continue;
		check_side(&sides[i], 0);
		check_handles(&sides[i]);
		for (uint64_t k = 0; k < cells_of(&sides[i]); k++)
			check_entry(&sides[i], sides[i].n.lo + k * cell);
	}
	if (backend != HOST)
		twins_check_granted();
	twins_check_all();
}

/* ---- waiting ---- */

/* The wait for a batch of pages failed: some of them may be there. */
static bool wait_failed;

/*
 * Call until it need not wait. While it waits other steps happen, and now and then it is given up:
 * then the result is VMS_FAULT_WAIT.
 */
#define FAULTED(may_give_up, call)                                             \
	({                                                                     \
		struct vms_wait wait;                                          \
		enum vms_fault_result got_;                                    \
		vms_wait_init(&wait);                                          \
		wait_failed = false;                                           \
		while ((got_ = (call)) == VMS_FAULT_WAIT) {                    \
			int e_ = between(&wait, may_give_up);                  \
			if (e_) {                                              \
				wait_failed = e_ < 0;                          \
				got_ = e_ > 0 ? VMS_FAULT_WAIT : VMS_FAULT_IO; \
				break;                                         \
			}                                                      \
		}                                                              \
		describe("  %s", vms_fault_name(got_));                        \
		got_;                                                          \
	})

/* 0: call again; 1: given up; else what the pager failed with. */
static int between(struct vms_wait *wait, bool may_give_up)
{
	uint64_t steps = may_give_up && !nested ? rnd(3) : 0;
	int err;

	if (steps) {
		nested++;
		for (uint64_t n = steps; n; n--)
			do_step();
		nested--;
		if (rnd(6) == 0) {
			vms_wait_cancel(wait);
			return 1;
		}
	}
	err = twins_wait(wait);
	/* Who knows what stands there now. */
	return err && steps ? 1 : err;
}

/* The page of a map that the backend refuses is there all the same. */
static bool refused(struct side *s, enum vms_fault_result got)
{
	return got == VMS_FAULT_NO_MEMORY && s->fails;
}

/* ---- choosing ---- */

static struct vms_place any_place(const struct side *s, const struct nregion *r)
{
	static const uint32_t flags[] = { 0,
					  0,
					  0,
					  VMS_PLACE_COMPACT,
					  VMS_PLACE_BELOW,
					  VMS_PLACE_BELOW | VMS_PLACE_COMPACT,
					  VMS_PLACE_AT,
					  VMS_PLACE_AT,
					  VMS_PLACE_AT,
					  VMS_PLACE_AT | VMS_PLACE_BELOW,
					  16 };
	struct vms_place p = { .flags = flags[rnd(rnd(8) ? 9 : 11)] };

	if (p.flags & (VMS_PLACE_AT | VMS_PLACE_BELOW)) {
		p.addr = s->n.lo + (r->first + rnd(r->n + 1)) * s->n.page;
		if (rnd(40) == 0)
			p.addr += rnd(2) ? 512 : s->n.npages * s->n.page;
	} else if (rnd(40) == 0) {
		p.addr = s->n.lo + s->n.page;
	}
	if (rnd(6) == 0)
		p.align = UINT64_C(1) << (rnd(30) ? 10 + rnd(9) : rnd(64));
	if (rnd(4) == 0)
		p.entropy = (uint32_t)(rnd(20) ? rnd(8) : rnd(70));
	return p;
}

/* One that has a handle, dead or alive. */
static unsigned any_region(const struct side *s)
{
	unsigned i;

	if (rnd(3) == 0)
		return 0;
	do
		i = (unsigned)rnd(NSPACE_REGIONS);
	while (!s->handle[i]);
	return i;
}

/* A range, mostly in the region, mostly small, mostly aligned; mostly with something in it. */
static void any_range(const struct side *s, const struct nregion *r, uint64_t *addr, uint64_t *len)
{
	unsigned first = r->first + (unsigned)rnd(r->n), n, most = r->first + r->n - first;

	for (unsigned tries = 0; tries < 4 && !s->n.map[first].view; tries++) {
		first = r->first + (unsigned)rnd(r->n);
		most = r->first + r->n - first;
	}
	n = 1 + (unsigned)rnd(rnd(4) && most > 8 ? 8 : most);
	if (rnd(3) == 0 && s->n.map[first].view) { /* a mapping exactly */
		unsigned k, start = nspace_run(&s->n, first, &k);

		if (start >= r->first && start + k <= r->first + r->n) {
			first = start;
			n = k;
		}
	}
	*addr = s->n.lo + first * s->n.page;
	*len = n * s->n.page;
	if (rnd(30) == 0)
		*len -= 512;
	if (rnd(60) == 0)
		*len = 0;
	if (rnd(60) == 0)
		*addr += 512;
	if (rnd(60) == 0)
		*len += s->n.npages * s->n.page;
	if (rnd(100) == 0)
		*len = UINT64_MAX - rnd(3000);
}

/* An address of a cell, mostly mapped. */
static uint64_t any_cell(const struct side *s)
{
	uint64_t at = rnd(cells_of(s)) * cell;

	for (unsigned tries = 0; tries < 6 && !s->n.map[at / s->n.page].view; tries++)
		at = rnd(cells_of(s)) * cell;
	if (rnd(100) == 0)
		at += s->n.npages * s->n.page;
	return s->n.lo + at;
}

static uint32_t any_prot(void)
{
	static const uint32_t prots[] = { VMS_PROT_READ,
					  VMS_PROT_READ | VMS_PROT_WRITE,
					  VMS_PROT_READ | VMS_PROT_WRITE,
					  VMS_PROT_READ | VMS_PROT_WRITE,
					  VMS_PROT_READ | VMS_PROT_EXEC,
					  7,
					  VMS_PROT_NONE,
					  VMS_PROT_WRITE,
					  8 };

	return prots[rnd(rnd(10) ? 7 : 9)];
}

static uint32_t any_access(void)
{
	static const uint32_t accesses[] = { VMS_PROT_READ, VMS_PROT_READ, VMS_PROT_WRITE,
					     VMS_PROT_WRITE, VMS_PROT_EXEC };

	return accesses[rnd(5)];
}

/* ---- spaces ---- */

static struct vms_mmu *new_mmu(uint64_t page, uint64_t lo, uint64_t hi)
{
	struct vms_mmu *mmu = NULL;
	int err = -EINVAL;

	switch (backend) {
	case RECORD:
		err = vms_mmu_record(&mmu);
		if (!err && rnd(2))
			record_lose(mmu, (enum record_loss)rnd(4), page * 8);
		break;
	case SOFT: {
		struct vms_mmu_soft_params p = { .size = sizeof(p), .page_size = page };

		err = vms_mmu_soft(&p, &mmu);
		break;
	}
	case HOST: {
		struct vms_mmu_host_params p = {
			.size = sizeof(p), .page_size = page, .lo = lo, .hi = hi
		};

		if (rnd(2))
			p.budget = 16 + rnd(64);
		err = vms_mmu_host(&p, &mmu);
		break;
	}
	}
	if (err)
		die("no backend: %d", err);
	return mmu;
}

static void register_cpu(struct side *s)
{
	if (backend != SOFT)
		return;
	s->cpu = aligned_alloc(64, (sizeof(*s->cpu) + 63) & ~(size_t)63);
	if (vms_cpu_init(s->mmu, s->cpu))
		die("no cpu");
}

static void do_space_create(void)
{
	static const uint64_t pages[] = { 4096, 4096, 4096, 1024, 1024, 16384, 65536 };
	struct vms_space_params p = { .size = sizeof(p) };
	struct side *s = sides;
	unsigned npages = 64 + (unsigned)rnd(NSPACE_PAGES - 63);
	int err;

	while (s->space)
		s++;
	memset(s, 0, sizeof(*s));
	p.page_size = page_option ? page_option : pages[rnd(7)];
	if (backend == HOST && p.page_size < naive_page_size)
		p.page_size = naive_page_size;
	p.lo = rnd(256) * p.page_size + (UINT64_C(1) << 24);
	if (backend != HOST && rnd(3) == 0)
		p.lo = 0;
	p.hi = p.lo + npages * p.page_size;
	if (backend != HOST && rnd(3) == 0) {
		p.hi = 0;
		p.lo = -(npages * p.page_size);
	}
	if (rnd(2))
		p.flags = VMS_SPACE_RANDOM;
	p.seed = rnd(1000);
	p.fault_around = rnd(2) ? 0 : 1 + (uint32_t)rnd(16);
	describe("space %u: page %" PRIu64 " lo %#" PRIx64 " hi %#" PRIx64 " flags %u around %u",
		 side_index(s), p.page_size, p.lo, p.hi, p.flags, p.fault_around);
	s->mmu = new_mmu(p.page_size, p.lo, p.hi);
	p.mmu = s->mmu;
	err = vms_space_create(&p, &s->space);
	if (err)
		die("space_create: %d", err);
	nspace_init(&s->n, p.page_size, p.lo, npages);
	s->n.random = p.flags & VMS_SPACE_RANDOM;
	s->n.files = backend == HOST;
	register_cpu(s);
	s->handle[0] = vms_space_root(s->space);
}

static void do_space_end(struct side *s)
{
	bool space_first = rnd(2);

	describe("space %u ends", side_index(s));
	if (s->cpu)
		vms_cpu_fini(s->cpu);
	free(s->cpu);
	if (space_first)
		vms_space_unref(s->space);
	for (unsigned i = 1; i < NSPACE_REGIONS; i++)
		vms_region_unref(s->handle[i]);
	if (!space_first)
		vms_space_unref(s->space);
	vms_mmu_unref(s->mmu);
	s->space = NULL;
	recount();
}

static int may_branch(const struct side *s)
{
	int err, want = 0;

	for (unsigned i = 0; i < s->n.npages; i++) {
		const struct naive_view *v = s->n.map[i].view;

		if (!v || (s->n.map[i].flags & VMS_MAP_SHARE))
			continue;
		err = naive_may_branch(v);
		if (err == -ENOTSUP)
			return err;
		if (err)
			want = err;
	}
	return want;
}

static unsigned free_twins(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < TWINS_MAX; i++)
		n += !twins[i].naive;
	return n;
}

static void do_branch(void)
{
	struct side *s = any_side(), *b = sides;
	struct vms_branch_params p = { .size = sizeof(p) };
	struct naive_content *copy_of[TWINS_MAX], *copy[TWINS_MAX];
	struct naive_view *from[TWINS_MAX];
	struct twin *to[TWINS_MAX];
	unsigned copies = 0, names = 0, k, c;
	int err, want = may_branch(s);

	while (b < sides + SIDES && b->space)
		b++;
	if (b == sides + SIDES || free_twins() < TWINS_MAX / 2)
		return;
	describe("space %u: branch of %u", side_index(b), side_index(s));
	memset(b, 0, sizeof(*b));
	b->mmu = new_mmu(s->n.page, s->n.lo, s->n.lo + s->n.npages * s->n.page);
	p.mmu = b->mmu;
	err = vms_space_branch(s->space, &p, &b->space);
	if (err) {
		vms_mmu_unref(b->mmu);
		b->space = NULL;
	}
	expect(err, want);
	if (err)
		return;
	b->n = s->n;
	b->handle[0] = vms_space_root(b->space);
	register_cpu(b);
	for (unsigned i = 0; i < NSPACE_REGIONS; i++) {
		struct nregion *r = &b->n.region[i];

		if (!r->alive)
			r->space = NULL;
		if (r->space)
			r->space = &b->n;
		if (r->parent)
			r->parent = b->n.region + (r->parent - s->n.region);
	}
	for (unsigned i = 0; i < b->n.npages; i++) {
		struct nmap *m = &b->n.map[i];

		b->n.in[i] = b->n.region + (b->n.in[i] - s->n.region);
		if (!m->view || (m->flags & VMS_MAP_SHARE))
			continue;
		for (k = 0; k < names && from[k] != m->view;)
			k++;
		if (k == names) {
			struct vms_mapping_info info = { .size = sizeof(info) };

			for (c = 0; c < copies && copy_of[c] != m->view->c;)
				c++;
			if (c == copies) {
				copy_of[copies] = m->view->c;
				copy[copies++] = NULL;
			}
			from[names] = m->view;
			to[names++] = twin_branch(m->view->user, &copy[c]);
			if (vms_find(b->space, b->n.lo + i * b->n.page, &info))
				die("nothing is mapped at %#" PRIx64, b->n.lo + i * b->n.page);
			to[k]->id = info.object_id;
		}
		m->view = to[k]->naive;
	}
	recount();
}

/* ---- regions ---- */

static bool region_room(const struct side *s)
{
	for (unsigned i = 1; i < NSPACE_REGIONS; i++)
		if (!s->n.region[i].space)
			return true;
	return false;
}

static void do_region_create(void)
{
	struct side *s = any_side();
	unsigned parent = any_region(s);
	struct nregion *r = &s->n.region[parent], *child = NULL;
	struct vms_place place = any_place(s, r);
	struct vms_region_params p = { .size = sizeof(p) };
	struct vms_region *handle = NULL;
	uint64_t addr = 1, want_addr = 1;
	bool anywhere = rnd(6) == 0;
	int err, want;

	if (!region_room(s))
		return;
	p.rights = rnd(3) ? r->rights : (uint32_t)rnd(16);
	p.len = (1 + rnd(r->n > 40 ? 40 : r->n)) * s->n.page;
	if (rnd(30) == 0)
		p.rights = (uint32_t)rnd(20);
	if (rnd(40) == 0)
		p.len = rnd(2) ? 0 : 512;
	if (rnd(60) == 0)
		p.flags = 1;
	if (rnd(100) == 0)
		p.size--;
	describe("space %u: region in %u, len %#" PRIx64 " rights %u, place %u %#" PRIx64
		 " align %#" PRIx64 " entropy %u%s",
		 side_index(s), parent, p.len, p.rights, place.flags, place.addr, place.align,
		 place.entropy, anywhere ? " (none)" : "");
	err = vms_region_create(s->handle[parent], anywhere ? NULL : &place, &p, &handle,
				rnd(8) ? &addr : NULL);
	if (!err && addr == 1) {
		struct vms_region_info info = { .size = sizeof(info) };

		vms_region_info(handle, &info);
		addr = info.addr;
	}
	want = nspace_region_create(r, anywhere ? NULL : &place, &p, addr, &child, &want_addr);
	expect(err, want);
	if (err)
		return;
	if (addr != want_addr)
		die("the region is at %#" PRIx64 ", expected %#" PRIx64, addr, want_addr);
	s->handle[child - s->n.region] = handle;
}

/* Slots of regions that are dead and have no handle can be used again. */
static void reap(struct side *s)
{
	for (unsigned i = 1; i < NSPACE_REGIONS; i++)
		if (!s->n.region[i].alive && !s->handle[i])
			s->n.region[i].space = NULL;
}

static void do_region_drop(void)
{
	struct side *s = any_side();
	unsigned i = any_region(s);

	if (!i)
		return;
	describe("space %u: the handle of region %u goes", side_index(s), i);
	vms_region_unref(s->handle[i]);
	s->handle[i] = NULL;
	reap(s);
}

static void do_region_destroy(void)
{
	struct side *s = any_side();
	unsigned i = any_region(s);

	describe("space %u: destroy region %u", side_index(s), i);
	expect(vms_region_destroy(s->handle[i]), nspace_region_destroy(&s->n.region[i]));
	reap(s);
	recount();
}

static void set_priority(struct nregion *r, enum vms_priority priority)
{
	r->priority = priority;
	for (unsigned i = 0; i < NSPACE_REGIONS; i++)
		if (r->space->region[i].alive && r->space->region[i].parent == r)
			set_priority(&r->space->region[i], priority);
}

static void do_priority(void)
{
	struct side *s = any_side();
	unsigned i = any_region(s);
	unsigned priority = (unsigned)rnd(rnd(10) ? 2 : 4);
	int err, want = priority > 1 ? -EINVAL : s->n.region[i].alive ? 0 : -EBUSY;

	describe("space %u: priority of region %u: %u", side_index(s), i, priority);
	err = vms_region_set_priority(s->handle[i], (enum vms_priority)priority);
	expect(err, want);
	if (!err)
		set_priority(&s->n.region[i], (enum vms_priority)priority);
}

/* ---- edits ---- */

/* What an edit that places something has answered, and where it is now. */
static void expect_at(int err, int want, uint64_t addr, uint64_t want_addr)
{
	expect(err, want);
	if (!err && addr != want_addr)
		die("it is at %#" PRIx64 ", expected %#" PRIx64, addr, want_addr);
	recount();
}

static void do_map(void)
{
	struct side *s = any_side();
	unsigned in = any_region(s);
	struct nregion *r = &s->n.region[in];
	struct twin *t = twin_any();
	struct vms_map_params p = { .size = sizeof(p), .object = t->obj };
	uint64_t addr = 1, want_addr = 1, size = naive_bytes(t->naive) / s->n.page + 1;
	int err, want;

	p.place = any_place(s, r);
	p.prot = any_prot();
	p.off = rnd(size) * s->n.page;
	p.len = (1 + rnd(rnd(3) ? 8 : size + 3)) * s->n.page;
	if (rnd(3) == 0 && (p.place.flags & VMS_PLACE_AT)) {
		p.place.flags |= VMS_PLACE_OVER;
	} else if (rnd(4) == 0) { /* next to what is there, continuing it */
		unsigned i = (unsigned)rnd(s->n.npages - 1), beside;
		const struct nmap *m = &s->n.map[i];

		for (unsigned tries = 0; tries < 8 && (!m->view || m[1].view); tries++) {
			i = (unsigned)rnd(s->n.npages - 1);
			m = &s->n.map[i];
		}
		beside = (unsigned)(s->n.in[i + 1] - s->n.region);
		if (s->handle[beside]) { /* perhaps on the other side of a region's edge */
			in = beside;
			r = &s->n.region[in];
		}
		if (m->view && ((struct twin *)m->view->user)->obj) {
			t = m->view->user;
			p.object = t->obj;
			p.off = m->off + s->n.page;
			p.prot = m->prot;
			p.flags = m->flags;
			p.place = (struct vms_place){ .flags = VMS_PLACE_AT,
						      .addr = s->n.lo + (i + 1) * s->n.page };
			p.len = s->n.page * (1 + rnd(3));
		}
	}
	if (!p.flags) {
		p.flags = rnd(3) ? 0 : (uint32_t)rnd(rnd(10) ? 16 : 18);
		if (rnd(3)) /* mostly what can be mapped and branched */
			p.flags = (p.flags & ~(VMS_MAP_FIXED_SIZE | VMS_MAP_SHARE)) |
				  (naive_may_branch(t->naive) != -ENOTSUP ? 0 : VMS_MAP_SHARE);
	}
	if (rnd(4) == 0)
		p.ceiling = p.prot | VMS_PROT_READ | (uint32_t)rnd(8);
	if (rnd(80) == 0)
		p.ceiling = (uint32_t)rnd(9);
	if (rnd(60) == 0)
		p.off = -(rnd(6) * s->n.page);
	if (rnd(60) == 0)
		p.off += 512;
	if (rnd(40) == 0)
		p.len -= 512;
	if (rnd(80) == 0)
		p.len = rnd(2) ? 0 : UINT64_MAX - rnd(2000);
	if (rnd(200) == 0)
		p.size--;
	describe("space %u: map in %u: object %u off %#" PRIx64 " len %#" PRIx64
		 " prot %u ceiling %u flags %u place %u %#" PRIx64 " align %#" PRIx64 " entropy %u",
		 side_index(s), in, twin_index(t), p.off, p.len, p.prot, p.ceiling, p.flags,
		 p.place.flags, p.place.addr, p.place.align, p.place.entropy);
	err = vms_map(s->handle[in], &p, &addr);
	want = nspace_map(r, &p, t->naive, addr, &want_addr);
	expect_at(err, want, addr, want_addr);
}

static void do_unmap(void)
{
	struct side *s = any_side();
	unsigned in = any_region(s);
	uint64_t addr, len;
	uint32_t flags = rnd(4) ? 0 : (uint32_t)rnd(rnd(10) ? 2 : 4);

	any_range(s, &s->n.region[in], &addr, &len);
	describe("space %u: unmap in %u: [%#" PRIx64 ", +%#" PRIx64 ") flags %u", side_index(s), in,
		 addr, len, flags);
	expect(vms_unmap(s->handle[in], addr, len, flags),
	       nspace_unmap(&s->n.region[in], addr, len, flags));
	reap(s);
	recount();
}

static void do_protect(void)
{
	struct side *s = any_side();
	unsigned in = any_region(s);
	uint64_t addr, len;
	uint32_t prot = any_prot(), flags = rnd(4) ? 0 : (uint32_t)rnd(rnd(10) ? 2 : 4);

	any_range(s, &s->n.region[in], &addr, &len);
	describe("space %u: protect in %u: [%#" PRIx64 ", +%#" PRIx64 ") prot %u flags %u",
		 side_index(s), in, addr, len, prot, flags);
	expect(vms_protect(s->handle[in], addr, len, prot, flags),
	       nspace_protect(&s->n.region[in], addr, len, prot, flags));
}

static void do_move(void)
{
	struct side *s = any_side();
	unsigned in = any_region(s);
	struct nregion *r = &s->n.region[in];
	struct vms_place place = any_place(s, r);
	bool anywhere = rnd(4) == 0;
	uint64_t addr, len, new_len, got = 1, at = 1;
	int err, want;

	any_range(s, r, &addr, &len);
	new_len = rnd(2) ? len : (1 + rnd(10)) * s->n.page - (rnd(10) ? 0 : 512);
	if (rnd(40) == 0)
		new_len = rnd(2) ? 0 : -rnd(3000);
	if (rnd(2) && (place.flags & VMS_PLACE_AT))
		place.flags |= VMS_PLACE_OVER;
	describe("space %u: move in %u: [%#" PRIx64 ", +%#" PRIx64 ") new len %#" PRIx64
		 " place %u %#" PRIx64 " align %#" PRIx64 " entropy %u%s",
		 side_index(s), in, addr, len, new_len, place.flags, place.addr, place.align,
		 place.entropy, anywhere ? " (none)" : "");
	err = vms_move(s->handle[in], addr, len, anywhere ? NULL : &place, new_len, &got);
	want = nspace_move(r, addr, len, anywhere ? NULL : &place, new_len, got, &at);
	if (!r->alive && err == -EBUSY) /* what the list does not tell apart */
		return;
	expect_at(err, want, got, at);
}

/* ---- operations on ranges ---- */

static void do_region_op(void)
{
	struct side *s = any_side();
	unsigned in = any_region(s);
	enum vms_region_op op = (enum vms_region_op)(rnd(40) ? 1 + rnd(7) : rnd(9));
	uint64_t addr, len;
	struct vms_wait wait;
	int err, want;

	any_range(s, &s->n.region[in], &addr, &len);
	describe("space %u: op %d in %u: [%#" PRIx64 ", +%#" PRIx64 ")", side_index(s), op, in,
		 addr, len);
	if (s->fails) { /* how far it came would not be told */
		vms_mmu_record_fail(s->mmu, 0, ENOMEM);
		s->fails = false;
	}
	vms_wait_init(&wait);
	while ((err = vms_region_op(s->handle[in], op, addr, len, &wait)) == VMS_WAIT) {
		err = twins_wait(&wait);
		if (err)
			break;
	}
	want = nspace_region_op(&s->n.region[in], op, addr, len);
	expect(err, want);
}

/* ---- faults ---- */

/* Can its bytes be told without asking anybody? */
static bool is_there(const struct side *s, uint64_t addr)
{
	uint64_t off;
	const struct naive_view *v = nspace_at(&s->n, addr, &off);

	return v && off < naive_bytes(v) && naive_present(v, (unsigned)(off / naive_page_size));
}

static void do_fault(void)
{
	struct side *s = any_side();
	uint64_t addr = any_cell(s), at = addr + rnd(cell);
	uint32_t access = any_access();
	enum vms_fault_result got, want;
	uint8_t *where;

	describe("space %u: fault at %#" PRIx64 " access %u", side_index(s), at, access);
	got = FAULTED(true, vms_fault(s->space, at, access, 0, &wait, NULL));
	if (got == VMS_FAULT_WAIT)
		return;
	want = nspace_fault(&s->n, addr, cell, access);
	if (refused(s, got) && want == VMS_FAULT_OK)
		return;
	if (got != want)
		die("the fault says %s, expected %s: %s", name_of(got), name_of(want),
		    show(s, addr));
	if (got == VMS_FAULT_OK && !s->fails && !(entry_of(s, addr, &where) & access))
		die("after the fault the access would fault again");
}

static void do_fault_range(void)
{
	struct side *s = any_side();
	uint64_t addr = any_cell(s), len = (1 + rnd(24)) * cell * (rnd(2) ? 1 : 4), done = 0;
	uint32_t access = any_access();
	enum vms_fault_result got, want;

	describe("space %u: fault at %#" PRIx64 " len %#" PRIx64 " access %u", side_index(s), addr,
		 len, access);
	got = FAULTED(false, vms_fault(s->space, addr, access, len, &wait, &done));
	if (done > len || (got == VMS_FAULT_OK && !done))
		die("%s, and %#" PRIx64 " bytes", name_of(got), done);
	for (uint64_t at = 0; at < done; at += cell) {
		want = nspace_fault(&s->n, addr + at, cell, access);
		if (want != VMS_FAULT_OK)
			die("%s, and %#" PRIx64 " bytes; but at %#" PRIx64 " is %s", name_of(got),
			    done, addr + at, name_of(want));
	}
	if (got == VMS_FAULT_OK || (wait_failed && is_there(s, addr + done)))
		return;
	want = nspace_fault(&s->n, addr + done, cell, access);
	if (got != want && !refused(s, got))
		die("the fault says %s at %#" PRIx64 ", expected %s", name_of(got), addr + done,
		    name_of(want));
}

/* The kernel may touch what was prepared. */
static void do_prepare(void)
{
	struct side *s = any_side();
	uint64_t addr = any_cell(s), len = (1 + rnd(24)) * cell, done = 0;
	uint32_t access = any_access();
	enum vms_fault_result got, want;

	describe("space %u: prepare %#" PRIx64 " len %#" PRIx64 " access %u", side_index(s), addr,
		 len, access);
	got = FAULTED(false, vms_space_prepare(s->space, addr, len, access, &wait, &done));
	if (done > len || (got == VMS_FAULT_OK) != (done == len))
		die("%s, and %#" PRIx64 " bytes", name_of(got), done);
	for (uint64_t at = 0; at < done; at += cell) {
		uint8_t *where = NULL;

		want = nspace_fault(&s->n, addr + at, cell, access);
		if (want != VMS_FAULT_OK)
			die("%#" PRIx64 " bytes are prepared; but at %#" PRIx64 " is %s", done,
			    addr + at, name_of(want));
		if (backend == HOST && (!(entry_of(s, addr + at, &where) & access) ||
					!touch_host(where, scratch, cell, false)))
			die("%#" PRIx64 " is not prepared", addr + at);
	}
	if (got == VMS_FAULT_OK || (wait_failed && is_there(s, addr + done)))
		return;
	want = nspace_fault(&s->n, addr + done, cell, access);
	if (got != want && !refused(s, got))
		die("%s at %#" PRIx64 ", expected %s", name_of(got), addr + done, name_of(want));
}

/* ---- bytes ---- */

static void poke(struct side *s, uint64_t addr, uint8_t value)
{
	uint64_t off;
	struct naive_view *v = nspace_at(&s->n, addr, &off);

	naive_poke(v, off, value);
}

/*
 * What stopped a copy at addr + done is what an access there meets; before it all went well. Of a
 * write, value is what each cell gets, and it gets it before the next one is come to: a page that
 * is copied for the next one may show this one.
 */
static void expect_stop(struct side *s, uint64_t addr, uint64_t len, uint64_t done,
			enum vms_fault_result got, const uint8_t *value)
{
	uint32_t access = value ? VMS_PROT_WRITE : VMS_PROT_READ;
	uint64_t start = addr & ~(cell - 1);
	enum vms_fault_result want;

	if (done > len || (got == VMS_FAULT_OK) != (done == len))
		die("%s, and %#" PRIx64 " of %#" PRIx64 " bytes", name_of(got), done, len);
	for (uint64_t i = 0; done && i < done + (addr - start); i += cell) {
		want = nspace_access(&s->n, start + i, cell, access);
		if (want != VMS_FAULT_OK)
			die("%#" PRIx64 " bytes were copied, but at %#" PRIx64 " is %s", done,
			    start + i, name_of(want));
		if (value)
			poke(s, start + i, *value);
	}
	if (got == VMS_FAULT_OK)
		return;
	want = nspace_access(&s->n, (addr + done) & ~(cell - 1), cell, access);
	if (got != want && !refused(s, got))
		die("%s at %#" PRIx64 ", expected %s: %s", name_of(got), addr + done, name_of(want),
		    show(s, addr + done));
}

static void do_read(void)
{
	struct side *s = any_side();
	uint8_t *buf = buffers[nested];
	uint64_t addr = any_cell(s) + (rnd(2) ? 0 : rnd(cell));
	size_t len = 1 + (size_t)rnd(12 * cell), done = 0;
	enum vms_fault_result got;

	describe("space %u: read %#" PRIx64 " len %#zx", side_index(s), addr, len);
	got = FAULTED(true, vms_space_read(s->space, addr, buf, len, &wait, &done));
	if (got == VMS_FAULT_WAIT) /* what was copied before other steps is past */
		return;
	expect_stop(s, addr, len, done, got, NULL);
	for (size_t i = 0; i < done; i++)
		if (buf[i] != byte_at(&s->n, addr + i))
			die("byte %#" PRIx64 " is %#x, expected %#x", addr + i, buf[i],
			    byte_at(&s->n, addr + i));
}

static void do_write(void)
{
	struct side *s = any_side();
	uint8_t *buf = buffers[nested];
	uint64_t addr = any_cell(s);
	size_t len = rnd(2) ? cell : (size_t)(1 + rnd(12)) * cell, done = 0;
	uint8_t value = (uint8_t)rnd(256);
	enum vms_fault_result got;

	describe("space %u: write %#" PRIx64 " len %#zx value %#x", side_index(s), addr, len,
		 value);
	memset(buf, value, len);
	/* Of more than one cell, others would see the first while we wait for the last. */
	got = FAULTED(len == cell, vms_space_write(s->space, addr, buf, len, &wait, &done));
	if (got == VMS_FAULT_WAIT) /* what was copied before other steps is past */
		return;
	expect_stop(s, addr, len, done, got, &value);
}

static void do_string(void)
{
	struct side *s = any_side();
	uint8_t *buf = buffers[nested];
	uint64_t addr = any_cell(s) + (rnd(2) ? 0 : rnd(cell));
	size_t len = 1 + (size_t)rnd(12 * cell), done = 0;
	enum vms_fault_result got;

	describe("space %u: string %#" PRIx64 " len %#zx", side_index(s), addr, len);
	got = FAULTED(true, vms_space_read_string(s->space, addr, (char *)buf, len, &wait, &done));
	if (got == VMS_FAULT_WAIT) /* what was copied before other steps is past */
		return;
	if (got == VMS_FAULT_OK && done < len && done && !buf[done - 1])
		len = done;
	expect_stop(s, addr, len, done, got, NULL);
	for (size_t i = 0; i < done; i++) {
		if (buf[i] != byte_at(&s->n, addr + i))
			die("byte %#" PRIx64 " is %#x, expected %#x", addr + i, buf[i],
			    byte_at(&s->n, addr + i));
		if (!buf[i] && i + 1 < done)
			die("the string goes on after its end");
	}
}

static bool is_of_file(const struct side *s, uint64_t addr)
{
	uint64_t off;
	const struct naive_view *v = nspace_at(&s->n, addr, &off);

	return v && v->c->kind == VMS_OBJECT_KIND_FILE;
}

/* One word; then the rest of its cell, so that a cell has one value again. */
static void do_word(void)
{
	struct side *s = any_side();
	uint8_t *buf = buffers[nested];
	uint64_t addr = any_cell(s), at;
	unsigned size = 1u << rnd(4), what = (unsigned)rnd(3);
	uint64_t mask = size == 8 ? UINT64_MAX : (UINT64_C(1) << size * 8) - 1, word = 0, old = 0;
	uint8_t value = (uint8_t)rnd(256);
	enum vms_fault_result got = VMS_FAULT_OK, want;
	int swapped = 1;
	bool hit = true;

	at = addr + rnd(cell / size) * size;
	if (rnd(20) == 0 && size > 1) /* a byte is aligned anywhere, also past the cell */
		at++;
	describe("space %u: %s %u bytes at %#" PRIx64 " value %#x", side_index(s),
		 what == 0   ? "load"
		 : what == 1 ? "store"
			     : "cas",
		 size, at, value);
	memset(&word, value, 8);
	if (what == 0) {
		got = FAULTED(true, vms_space_load(s->space, at, size, &old, &wait));
	} else if (what == 1) {
		got = FAULTED(true, vms_space_store(s->space, at, size, word, &wait));
	} else {
		if (is_there(s, addr) && rnd(3))
			memset(&old, byte_at(&s->n, addr), 8);
		old &= mask;
		got = FAULTED(false, vms_space_cas(s->space, at, size, &old, word & mask, &swapped,
						   &wait));
	}
	if (got == VMS_FAULT_WAIT)
		return;
	want = at % size ? VMS_FAULT_DENIED
			 : nspace_access(&s->n, addr, cell, what ? VMS_PROT_WRITE : VMS_PROT_READ);
	/* Where the address is no multiple, nothing is said of what else is wrong there. */
	if (at % size && got != VMS_FAULT_OK)
		return;
	if (refused(s, got) && want == VMS_FAULT_OK)
		return;
	if (what == 2 && got == VMS_FAULT_DENIED && is_of_file(s, addr))
		return; /* a file's bytes are not in this process */
	if (got != want)
		die("%s, expected %s: %s", name_of(got), name_of(want), show(s, addr));
	if (got != VMS_FAULT_OK)
		return;
	memset(&word, byte_at(&s->n, addr), 8);
	if (what == 0 && old != (word & mask))
		die("loaded %#" PRIx64 ", expected %#" PRIx64, old, word & mask);
	if (what == 2) {
		hit = swapped;
		if (!hit && old != (word & mask))
			die("cas found %#" PRIx64 ", expected %#" PRIx64, old, word & mask);
		if (hit && old != (word & mask))
			die("cas swapped %#" PRIx64 ", but there stood %#" PRIx64, old,
			    word & mask);
	}
	if (what == 0 || !hit)
		return;
	got = vms_space_read(s->space, addr, buf, cell, NULL, NULL);
	if (nspace_rights(&s->n, addr, VMS_PROT_READ) != VMS_FAULT_OK)
		return;
	if (got != VMS_FAULT_OK)
		die("what was written cannot be read: %s", name_of(got));
	for (size_t i = 0; i < cell; i++)
		if (buf[i] != (i - (at - addr) < size ? value : (uint8_t)word))
			die("byte %zu of the cell is %#x", i, buf[i]);
	memset(buf, value, cell);
	got = vms_space_write(s->space, addr, buf, cell, NULL, NULL);
	if (got != VMS_FAULT_OK)
		die("the cell cannot be written: %s", name_of(got));
	poke(s, addr, value);
}

/* A CPU: through the entries, and faults where they grant nothing. */
static void do_cpu(void)
{
	struct side *s = any_side();
	uint8_t *buf = buffers[nested];
	uint64_t addr = any_cell(s);
	bool write = rnd(2);
	uint32_t access = write ? VMS_PROT_WRITE : VMS_PROT_READ;
	uint8_t value = (uint8_t)rnd(256), *at = NULL;
	enum vms_fault_result got, want;

	describe("space %u: cpu %s at %#" PRIx64 " value %#x", side_index(s),
		 write ? "stores" : "loads", addr, value);
	for (unsigned tries = 0; !(entry_of(s, addr, &at) & access); tries++) {
		if (tries > 20)
			die("it faults for ever");
		got = FAULTED(true, vms_fault(s->space, addr, access, 0, &wait, NULL));
		if (got == VMS_FAULT_WAIT)
			return;
		want = nspace_fault(&s->n, addr, cell, access);
		if (refused(s, got) && want == VMS_FAULT_OK)
			return;
		if (got != want)
			die("the fault says %s, expected %s: %s", name_of(got), name_of(want),
			    show(s, addr));
		if (got != VMS_FAULT_OK)
			return;
	}
	check_entry(s, addr);
	if (!write)
		return;
	memset(buf, value, cell);
	if (backend != HOST)
		memcpy(at, buf, cell);
	else if (!touch_host(at, buf, cell, true))
		die("the window cannot be written");
	poke(s, addr, value);
}

/* A TLB grants no more than the truth. */
static void check_granted(struct side *s, uint64_t addr, bool write)
{
	uint64_t off = 0;
	struct naive_view *v = nspace_at(&s->n, addr, &off);
	unsigned page = (unsigned)(off / naive_page_size);

	if (nspace_rights(&s->n, addr, write ? VMS_PROT_WRITE : VMS_PROT_READ) != VMS_FAULT_OK ||
	    off >= naive_bytes(v) || v->c->discarded || !naive_present(v, page) ||
	    (write && !naive_may_write_through(v, page)))
		die("the TLB grants the access: %s", show(s, addr));
}

/* A CPU with a TLB: a word is loaded, or a cell stored word by word. */
static void do_tlb(void)
{
	struct side *s = any_side();
	uint64_t addr = any_cell(s), word = 0, same = 0, at = addr + rnd(cell / 8) * 8;
	bool write = rnd(2);
	uint32_t access = write ? VMS_PROT_WRITE : VMS_PROT_READ;
	enum vms_fault_result got, want;

	if (!s->cpu)
		return;
	memset(&word, (int)rnd(256), 8);
	describe("space %u: tlb %s at %#" PRIx64 " value %#x", side_index(s),
		 write ? "stores" : "loads", at, (unsigned)(word & 255));
	for (unsigned tries = 0;
	     !(write ? vms_tlb_store64(s->cpu, at, word) : vms_tlb_load64(s->cpu, at, &same));
	     tries++) {
		if (tries > 20 || s->cpu->miss != at)
			die("it faults for ever, now at %#" PRIx64, s->cpu->miss);
		got = FAULTED(true, vms_fault(s->space, at, access, 0, &wait, NULL));
		if (got == VMS_FAULT_WAIT)
			return;
		want = nspace_fault(&s->n, addr, cell, access);
		if (got != want)
			die("the fault says %s, expected %s: %s", name_of(got), name_of(want),
			    show(s, addr));
		if (got != VMS_FAULT_OK)
			return;
	}
	check_granted(s, addr, write);
	if (!write) {
		memset(&word, byte_at(&s->n, addr), 8);
		if (same != word)
			die("the TLB shows %#" PRIx64 ", expected %#" PRIx64, same, word);
		return;
	}
	for (uint64_t i = 0; i < cell; i += 8)
		if (!vms_tlb_store64(s->cpu, addr + i, word))
			die("the right to write has gone");
	poke(s, addr, (uint8_t)word);
}

static void do_trouble(void)
{
	struct side *s = any_side();
	uint64_t n = cells_of(s), first = rnd(n);

	s->fails = false;
	switch (rnd(backend == RECORD ? 4 : 2)) {
	case 0:
		describe("space %u: the backend is emptied", side_index(s));
		s->mmu->entries->empty(s->mmu);
		break;
	case 1: {
		uint64_t granule = s->n.page < naive_page_size ? s->n.page : naive_page_size;
		uint64_t a = s->n.lo + (first * cell & ~(granule - 1));

		describe("space %u: the backend loses %#" PRIx64, side_index(s), a);
		s->mmu->entries->unmap(s->mmu, a, a + granule - 1);
		break;
	}
	case 2:
		describe("space %u: how the backend loses entries", side_index(s));
		record_lose(s->mmu, (enum record_loss)rnd(4), s->n.page << rnd(5));
		break;
	default:
		describe("space %u: a map of the backend will fail", side_index(s));
		vms_mmu_record_fail(s->mmu, 1 + rnd(3), ENOMEM);
		s->fails = true;
		return;
	}
	vms_mmu_record_fail(s->mmu, 0, ENOMEM);
}

static void do_look(void)
{
	struct side *s = any_side();
	unsigned i = (unsigned)rnd(s->n.npages), k, first, in = any_region(s);
	struct vms_mapping_info info = { .size = sizeof(info) };
	uint64_t addr = s->n.lo + i * s->n.page + rnd(s->n.page), len;
	struct nregion *r = &s->n.region[in];
	struct vms_walk walk;
	int err;

	describe("space %u: look at %#" PRIx64 ", walk %u", side_index(s), addr, in);
	err = vms_find(s->space, addr, &info);
	expect(err, s->n.map[i].view ? 0 : -ENOENT);
	if (!err) {
		first = nspace_run(&s->n, i, &k);
		if (info.addr != s->n.lo + first * s->n.page || info.len != k * s->n.page ||
		    info.off != s->n.map[first].off)
			die("found [%#" PRIx64 ", +%#" PRIx64 ") off %#" PRIx64, info.addr,
			    info.len, info.off);
	}
	if (!r->alive) {
		err = vms_walk_begin(&walk, s->handle[in], s->n.lo + r->first * s->n.page,
				     s->n.page, 0);
		expect(err, -EBUSY);
		return;
	}
	first = r->first + (unsigned)rnd(r->n);
	len = (1 + rnd(r->first + r->n - first)) * s->n.page;
	check_walk(s, in, s->n.lo + first * s->n.page, len);
}

/* ---- steps ---- */

static void do_reclaim(void)
{
	if (nested) /* a page that somebody waits to write stays */
		return;
	for (struct naive_content *c = naive_contents; c; c = c->next)
		c->high = false;
	for (unsigned k = 0; k < SIDES; k++)
		for (unsigned i = 0; sides[k].space && i < sides[k].n.npages; i++) {
			struct naive_view *v = sides[k].n.map[i].view;

			if (v && sides[k].n.in[i]->priority == VMS_PRIORITY_HIGH) {
				v->c->high = true;
				if (v->c->below)
					v->c->below->high = true;
			}
		}
	twin_reclaim();
}

static void do_object(void)
{
	unsigned dice = (unsigned)rnd(10);

	if (twins_live < LIVE_MIN || (twins_live < LIVE_MAX && dice == 0)) {
		if (free_twins() < 8)
			return;
		twins_pages = rnd(3) ? 10 : MAX_PAGES;
		if (twins_live && rnd(3))
			twin_child();
		else
			twin_create();
	} else if (dice == 1) {
		twin_drop(twin_any());
	} else {
		twin_change();
	}
}

static void do_step(void)
{
	static void (*const actions[])(void) = {
		do_map,	      do_map,	    do_map,	      do_map,	      do_map,
		do_unmap,     do_unmap,	    do_protect,	      do_protect,     do_move,
		do_region_op, do_region_op, do_region_create, do_region_drop, do_fault,
		do_fault,     do_fault,	    do_fault_range,   do_prepare,     do_read,
		do_write,     do_write,	    do_string,	      do_word,	      do_word,
		do_cpu,	      do_tlb,	    do_cpu,	      do_tlb,	      do_cpu,
		do_cpu,	      do_look,	    do_object,	      do_object,      do_object,
		do_object,    do_object,    do_object,	      do_object,      do_trouble,
	};
	unsigned dice = (unsigned)rnd(1000);

	if (twins_live < LIVE_MIN)
		do_object();
	else if (dice < 6 && !nested)
		do_branch();
	else if (dice < 12)
		do_region_destroy();
	else if (dice < 22)
		do_priority();
	else if (dice < 32)
		do_reclaim();
	else
		actions[rnd(sizeof(actions) / sizeof(actions[0]))]();
}

/* Spaces come and go only between steps: a fault in one may be under way. */
static void do_spaces(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SIDES; i++)
		n += sides[i].space != NULL;
	if (!n || (n < SIDES && rnd(400) == 0))
		do_space_create();
	else if (n > 1 && rnd(n == SIDES ? 200 : 800) == 0)
		do_space_end(any_side());
}

int main(int argc, char **argv)
{
	const char *name;
	uint64_t steps = 20000;

	model_start("model-vspace", argc, argv, &steps);
	name = model_option("backend", "record");
	page_option = strtoull(model_option("page", "0"), NULL, 0);
	backend = !strcmp(name, "soft") ? SOFT : !strcmp(name, "host") ? HOST : RECORD;
	twins_answers = TWINS_EITHER;
	twins_refuse = backend != HOST;
	naive_eager = backend == HOST;
	twins_begin();
	cell = naive_page_size / CELLS;
	scratch = malloc(naive_page_size);
	buffers[0] = malloc(64 * naive_page_size);
	buffers[1] = malloc(64 * naive_page_size);
	for (model_step = 1; model_step <= steps; model_step++) {
		struct side *s;

		do_spaces();
		do_step();
		if (backend != HOST)
			twins_check_granted();
		s = any_side();
		check_side(s, 8);
		if (twins_live)
			twin_check(twin_any());
		if (model_step % 64 == 0)
			check_everything();
	}
	for (unsigned i = 0; i < SIDES; i++)
		if (sides[i].space)
			do_space_end(&sides[i]);
	twins_end();
	free(scratch);
	free(buffers[0]);
	free(buffers[1]);
	printf("model-vspace: %" PRIu64 " steps, backend %s, seed %" PRIu64 ", no difference\n",
	       steps, name, model_seed);
	return 0;
}
