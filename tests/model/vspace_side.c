// SPDX-License-Identifier: MIT
/* vspace_side.c: a space beside its naive twin: comparing the two, and choosing something in them.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "model.h"
#include "twins.h"
#include "vspace.h"

struct side sides[SIDES];
enum backend backend;
uint64_t page_option, cell;
unsigned nested;
uint8_t *scratch, *buffers[2];

/* For people. */
const char *show(const struct side *s, uint64_t addr)
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

struct side *any_side(void)
{
	unsigned i;

	do
		i = (unsigned)rnd(SIDES);
	while (!sides[i].space);
	return &sides[i];
}

unsigned side_index(const struct side *s)
{
	return (unsigned)(s - sides);
}

/* What mappings hold changed: count, and let go of what nobody holds. */
void recount(void)
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

uint8_t byte_at(struct nspace *n, uint64_t addr)
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

void check_walk(struct side *s, unsigned region, uint64_t addr, uint64_t len)
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
bool touch_host(void *window, void *ours, size_t len, bool write)
{
	struct iovec local = { .iov_base = ours, .iov_len = len };
	struct iovec remote = { .iov_base = window, .iov_len = len };
	ssize_t n = write ? process_vm_writev(getpid(), &local, 1, &remote, 1, 0)
			  : process_vm_readv(getpid(), &local, 1, &remote, 1, 0);

	return n == (ssize_t)len;
}

/* The rights that the backend grants to the cell at addr, and where its bytes are. */
uint32_t entry_of(struct side *s, uint64_t addr, uint8_t **at)
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
void check_entry(struct side *s, uint64_t addr)
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

uint64_t cells_of(const struct side *s)
{
	return s->n.npages * s->n.page / cell;
}

void check_side(struct side *s, unsigned entries)
{
	uint64_t n = cells_of(s);

	check_mappings(s);
	check_walk(s, 0, s->n.lo, s->n.npages * s->n.page);
	for (unsigned i = 0; i < entries; i++)
		check_entry(s, s->n.lo + rnd(n) * cell);
	if (vms_space_check(s->space))
		die("space %u: the validator says: %s", side_index(s), vms_last_error());
}

void check_everything(void)
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

/* ---- choosing ---- */

struct vms_place any_place(const struct side *s, const struct nregion *r)
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
unsigned any_region(const struct side *s)
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
void any_range(const struct side *s, const struct nregion *r, uint64_t *addr, uint64_t *len)
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
uint64_t any_cell(const struct side *s)
{
	uint64_t at = rnd(cells_of(s)) * cell;

	for (unsigned tries = 0; tries < 6 && !s->n.map[at / s->n.page].view; tries++)
		at = rnd(cells_of(s)) * cell;
	if (rnd(100) == 0)
		at += s->n.npages * s->n.page;
	return s->n.lo + at;
}

uint32_t any_prot(void)
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

uint32_t any_access(void)
{
	static const uint32_t accesses[] = { VMS_PROT_READ, VMS_PROT_READ, VMS_PROT_WRITE,
					     VMS_PROT_WRITE, VMS_PROT_EXEC };

	return accesses[rnd(5)];
}
