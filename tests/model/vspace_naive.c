// SPDX-License-Identifier: MIT
/* vspace_naive.c: see vspace_naive.h. */
#include "vspace_naive.h"

#include <errno.h>
#include <string.h>

#define RWX (VMS_PROT_READ | VMS_PROT_WRITE | VMS_PROT_EXEC)

void nspace_init(struct nspace *s, uint64_t page, uint64_t lo, unsigned npages)
{
	memset(s, 0, sizeof(*s));
	s->page = page;
	s->lo = lo;
	s->npages = npages;
	s->region[0] = (struct nregion){
		.space = s, .alive = true, .n = npages, .rights = VMS_REGION_ALL
	};
	for (unsigned i = 0; i < npages; i++)
		s->in[i] = &s->region[0];
}

/* ---- arithmetic ---- */

static uint64_t start_of(const struct nregion *r)
{
	return r->space->lo + r->first * r->space->page;
}

static unsigned page_of(const struct nspace *s, uint64_t addr)
{
	return (unsigned)((addr - s->lo) / s->page);
}

/* Up to whole pages; 0 for what would be 2^64 or more, and for 0. */
static uint64_t up(const struct nspace *s, uint64_t len)
{
	return (len + s->page - 1) & ~(s->page - 1);
}

static bool inside(const struct nregion *r, uint64_t addr, uint64_t len)
{
	uint64_t rel = addr - start_of(r), size = r->n * r->space->page;

	return addr >= start_of(r) && rel <= size && len <= size - rel;
}

/* -EINVAL of unmap, protect and move. Rounds len. */
static int check_range(const struct nregion *r, uint64_t addr, uint64_t *len)
{
	if (!*len || addr % r->space->page)
		return -EINVAL;
	*len = up(r->space, *len);
	if (!*len || !inside(r, addr, *len))
		return -EINVAL;
	return 0;
}

static bool bad_prot(uint32_t prot)
{
	return (prot & ~RWX) ||
	       ((prot & (VMS_PROT_WRITE | VMS_PROT_EXEC)) && !(prot & VMS_PROT_READ));
}

/* ---- looking ---- */

static bool is_below(const struct nregion *r, const struct nregion *above)
{
	for (; r; r = r->parent)
		if (r == above)
			return true;
	return false;
}

struct nregion *nspace_child_at(const struct nregion *r, unsigned page)
{
	struct nregion *at = r->space->in[page];

	if (at == r || !is_below(at, r))
		return NULL;
	while (at->parent != r)
		at = at->parent;
	return at;
}

static bool touches_child(const struct nregion *r, unsigned first, unsigned n)
{
	for (unsigned i = first; i < first + n; i++)
		if (r->space->in[i] != r)
			return true;
	return false;
}

bool nspace_joined(const struct nspace *s, unsigned a, unsigned b)
{
	const struct nmap *x = &s->map[a], *y = &s->map[b];

	return x->view && x->view == y->view && x->off + s->page == y->off && x->off < y->off &&
	       x->prot == y->prot && x->ceiling == y->ceiling && x->flags == y->flags &&
	       s->in[a] == s->in[b];
}

unsigned nspace_run(const struct nspace *s, unsigned p, unsigned *n)
{
	unsigned end = p + 1;

	while (p && nspace_joined(s, p - 1, p))
		p--;
	while (end < s->npages && nspace_joined(s, end - 1, end))
		end++;
	*n = end - p;
	return p;
}

static bool has_hole(const struct nspace *s, unsigned first, unsigned n)
{
	for (unsigned i = first; i < first + n; i++)
		if (!s->map[i].view)
			return true;
	return false;
}

static bool one_mapping(const struct nspace *s, unsigned first, unsigned n)
{
	for (unsigned i = first + 1; i < first + n; i++)
		if (!nspace_joined(s, i - 1, i))
			return false;
	return s->map[first].view != NULL;
}

/* ---- placement (F3, F9 to F11) ---- */

static int check_place(const struct vms_place *p, uint32_t allowed)
{
	if (p->flags & ~allowed)
		return -EINVAL;
	if (p->align &&
	    ((p->align & (p->align - 1)) || p->align < 1024 || p->align > UINT64_C(1) << 32))
		return -EINVAL;
	if (p->entropy > 63)
		return -EINVAL;
	if ((p->flags & VMS_PLACE_OVER) && !(p->flags & VMS_PLACE_AT))
		return -EINVAL;
	return 0;
}

static bool is_free(const struct nregion *r, unsigned first, unsigned n)
{
	for (unsigned i = first; i < first + n; i++)
		if (r->space->in[i] != r || r->space->map[i].view)
			return false;
	return true;
}

/*
 * The errors that come after "the region is dead". From `chosen`, see the header. Whether somebody
 * stands there is left to the caller with OVER.
 */
static int place(const struct nregion *r, const struct vms_place *p, uint64_t len, uint32_t rights,
		 uint64_t chosen, uint64_t *addr)
{
	const struct nspace *s = r->space;
	uint64_t align = p->align > s->page ? p->align : s->page, lowest = 0, count = 0, index = 0;
	unsigned n, end = r->first + r->n;
	bool known = false;

	if (!len)
		return -EINVAL;
	if (rights & ~r->rights)
		return -EACCES;
	if ((p->flags & VMS_PLACE_AT) && (p->flags & VMS_PLACE_BELOW))
		return -EINVAL;
	if (p->addr && !(p->flags & (VMS_PLACE_AT | VMS_PLACE_BELOW)))
		return -EINVAL;
	if (p->addr % s->page || len % s->page)
		return -EINVAL;
	if ((p->flags & (VMS_PLACE_AT | VMS_PLACE_BELOW)) && !(r->rights & VMS_REGION_SPECIFIC))
		return -EACCES;
	if (p->flags & VMS_PLACE_AT) {
		if (!inside(r, p->addr, len) || p->addr % align)
			return -EINVAL;
		*addr = p->addr;
		n = (unsigned)(len / s->page);
		if (p->flags & VMS_PLACE_OVER)
			return touches_child(r, page_of(s, p->addr), n) ? -EINVAL : 0;
		return is_free(r, page_of(s, p->addr), n) ? 0 : -EEXIST;
	}
	if (len > r->n * s->page)
		return -EINVAL;
	n = (unsigned)(len / s->page);
	if (p->flags & VMS_PLACE_BELOW) {
		if (!inside(r, p->addr, 0) || p->addr - start_of(r) < len)
			return -EINVAL;
		end = page_of(s, p->addr);
	}
	for (unsigned i = r->first; i + n <= end; i++) {
		uint64_t at = s->lo + i * s->page;

		if (at % align || !is_free(r, i, n))
			continue;
		if (!count)
			lowest = at;
		if (at == chosen) {
			known = true;
			index = count;
		}
		count++;
	}
	if (!count)
		return -ENOSPC;
	*addr = lowest;
	if (s->random && known && index >> p->entropy == 0)
		*addr = chosen;
	return 0;
}

/* ---- regions ---- */

int nspace_region_create(struct nregion *parent, const struct vms_place *p,
			 const struct vms_region_params *params, uint64_t chosen,
			 struct nregion **region, uint64_t *addr)
{
	static const struct vms_place anywhere;
	struct nspace *s = parent->space;
	struct nregion *r = NULL;
	int err;

	if (!p)
		p = &anywhere;
	if (params->size < sizeof(*params) || params->flags || (params->rights & ~VMS_REGION_ALL))
		return -EINVAL;
	err = check_place(p, VMS_PLACE_AT | VMS_PLACE_BELOW | VMS_PLACE_COMPACT);
	if (err)
		return err;
	if (!parent->alive)
		return -EBUSY;
	err = place(parent, p, params->len, params->rights, chosen, addr);
	if (err)
		return err;
	for (unsigned i = 1; i < NSPACE_REGIONS && !r; i++)
		if (!s->region[i].space)
			r = &s->region[i];
	if (!r)
		return -ENOMEM; /* the caller sees to it that there is one */
	*r = (struct nregion){ .space = s,
			       .parent = parent,
			       .alive = true,
			       .first = page_of(s, *addr),
			       .n = (unsigned)(params->len / s->page),
			       .rights = params->rights,
			       .priority = parent->priority };
	for (unsigned i = r->first; i < r->first + r->n; i++)
		s->in[i] = r;
	*region = r;
	return 0;
}

static void kill(struct nregion *r)
{
	struct nspace *s = r->space;

	for (unsigned i = 0; i < NSPACE_REGIONS; i++)
		if (s->region[i].alive && s->region[i].parent == r)
			kill(&s->region[i]);
	for (unsigned i = r->first; i < r->first + r->n; i++) {
		s->in[i] = r->parent;
		s->map[i] = (struct nmap){ 0 };
	}
	r->alive = false;
	r->parent = NULL;
}

int nspace_region_destroy(struct nregion *r)
{
	if (!r->alive)
		return -EBUSY;
	if (!r->parent)
		return -ENOTSUP;
	kill(r);
	return 0;
}

/* ---- edits ---- */

static bool no_stream(const struct naive_content *c)
{
	return c->kind == VMS_OBJECT_KIND_FILE || c->kind == VMS_OBJECT_KIND_HOST ||
	       (c->flags & VMS_OBJECT_CONTIGUOUS);
}

int nspace_map(struct nregion *r, const struct vms_map_params *q, struct naive_view *view,
	       uint64_t chosen, uint64_t *addr)
{
	struct nspace *s = r->space;
	uint32_t ceiling = q->ceiling ? q->ceiling : RWX;
	uint64_t len = up(s, q->len);
	int err;

	if (bad_prot(q->prot) || q->size < sizeof(*q) || (q->flags & ~15u) || (q->ceiling & ~RWX) ||
	    (q->prot & ~ceiling))
		return -EINVAL;
	err = check_place(&q->place, 15);
	if (err)
		return err;
	if (q->off % s->page || (q->len && !len))
		return -EINVAL;
	if ((q->flags & VMS_MAP_POPULATE) && (q->place.flags & VMS_PLACE_OVER))
		return -EINVAL;
	if (len && q->off + len < q->off)
		return -ERANGE;
	if ((q->flags & VMS_MAP_FIXED_SIZE) && (view->c->flags & VMS_OBJECT_RESIZABLE))
		return -ENOTSUP;
	if ((q->flags & VMS_MAP_STREAM) && no_stream(view->c))
		return -ENOTSUP;
	if (view->c->kind == VMS_OBJECT_KIND_FILE && !s->files)
		return -ENOTSUP;
	if ((q->prot & VMS_PROT_WRITE) && (view->flags & VMS_OBJECT_NO_WRITE))
		return -EACCES;
	if (!r->alive)
		return -EBUSY;
	if (view->flags & VMS_OBJECT_NO_WRITE)
		ceiling &= ~VMS_PROT_WRITE;
	err = place(r, &q->place, len, q->prot, chosen, addr);
	if (err)
		return err;
	for (uint64_t at = 0; at < len; at += s->page)
		s->map[page_of(s, *addr + at)] =
			(struct nmap){ .view = view,
				       .off = q->off + at,
				       .prot = q->prot,
				       .ceiling = ceiling & r->rights,
				       .flags = q->flags & ~VMS_MAP_POPULATE };
	return 0;
}

/* An unmap or a protect of these pages, as far as both are refused alike. */
static int check_edit(struct nregion *r, uint64_t addr, uint64_t len, uint32_t flags,
		      unsigned *first, unsigned *n)
{
	int err = (flags & ~VMS_NO_CHILDREN) ? -EINVAL : check_range(r, addr, &len);

	if (err)
		return err;
	if (!r->alive)
		return -EBUSY;
	*first = page_of(r->space, addr);
	*n = (unsigned)(len / r->space->page);
	return (flags & VMS_NO_CHILDREN) && touches_child(r, *first, *n) ? -EINVAL : 0;
}

int nspace_unmap(struct nregion *r, uint64_t addr, uint64_t len, uint32_t flags)
{
	struct nspace *s = r->space;
	unsigned first, n;
	int err = check_edit(r, addr, len, flags, &first, &n);

	if (err)
		return err;
	for (unsigned i = first; i < first + n; i++) {
		struct nregion *c = nspace_child_at(r, i);

		if (c && (c->first < first || c->first + c->n > first + n))
			return -EINVAL;
	}
	for (unsigned i = first; i < first + n; i++) {
		struct nregion *c = nspace_child_at(r, i);

		if (c)
			kill(c);
		s->map[i] = (struct nmap){ 0 };
	}
	return 0;
}

int nspace_protect(struct nregion *r, uint64_t addr, uint64_t len, uint32_t prot, uint32_t flags)
{
	struct nspace *s = r->space;
	unsigned first, n;
	int err = bad_prot(prot) ? -EINVAL : check_edit(r, addr, len, flags, &first, &n);

	if (err)
		return err;
	if (has_hole(s, first, n))
		return -ENOENT;
	for (unsigned i = first; i < first + n; i++)
		if ((prot & ~s->map[i].ceiling) || (s->in[i] != r && (prot & ~s->map[i].prot)))
			return -EACCES;
	for (unsigned i = first; i < first + n; i++)
		s->map[i].prot = prot;
	return 0;
}

int nspace_move(struct nregion *r, uint64_t addr, uint64_t len, const struct vms_place *p,
		uint64_t new_len, uint64_t chosen, uint64_t *new_addr)
{
	static const struct vms_place anywhere;
	static struct nmap moved[NSPACE_PAGES];
	struct nspace *s = r->space;
	unsigned first, n, new_n;
	int err;

	if (!p)
		p = &anywhere;
	err = check_range(r, addr, &len);
	if (!err)
		err = check_place(p, 15);
	if (err)
		return err;
	if (!up(s, new_len))
		return -EINVAL;
	new_len = up(s, new_len);
	/* A range that would go on past 2^64 is no range yet: the placement refuses it later. */
	if ((p->flags & VMS_PLACE_AT) && p->addr + (new_len - 1) >= p->addr &&
	    (p->addr - addr < len || addr - p->addr < new_len))
		return -EINVAL;
	if (!r->alive)
		return -EBUSY;
	first = page_of(s, addr);
	n = (unsigned)(len / s->page);
	if (touches_child(r, first, n) || (new_len > len && !one_mapping(s, first, n)))
		return -EINVAL;
	if (has_hole(s, first, n))
		return -ENOENT;
	if (new_len > len && s->map[first].off + new_len < new_len)
		return -ERANGE;
	err = place(r, p, new_len, 0, chosen, new_addr);
	if (err)
		return err;
	new_n = (unsigned)(new_len / s->page);
	for (unsigned i = 0; i < new_n; i++) {
		moved[i] = s->map[first + (i < n ? i : 0)];
		if (i >= n)
			moved[i].off += i * s->page;
	}
	memset(&s->map[first], 0, n * sizeof(s->map[0]));
	memcpy(&s->map[page_of(s, *new_addr)], moved, new_n * sizeof(moved[0]));
	return 0;
}

/* ---- accesses ---- */

struct naive_view *nspace_at(const struct nspace *s, uint64_t addr, uint64_t *off)
{
	const struct nmap *m;

	if (addr < s->lo || page_of(s, addr) >= s->npages)
		return NULL;
	m = &s->map[page_of(s, addr)];
	*off = m->off + (addr - s->lo) % s->page;
	return m->view;
}

enum vms_fault_result nspace_rights(const struct nspace *s, uint64_t addr, uint32_t access)
{
	uint64_t off;

	if (!nspace_at(s, addr, &off))
		return VMS_FAULT_NOT_MAPPED;
	return s->map[page_of(s, addr)].prot & access ? VMS_FAULT_OK : VMS_FAULT_DENIED;
}

enum vms_fault_result nspace_access(struct nspace *s, uint64_t addr, uint64_t len, uint32_t access)
{
	enum vms_fault_result result = nspace_rights(s, addr, access);
	uint64_t off, stream, granule;
	struct naive_view *v;

	if (result != VMS_FAULT_OK)
		return result;
	v = nspace_at(s, addr, &off);
	granule = s->page < naive_page_size ? s->page : naive_page_size;
	stream = (v->c->stream + granule - 1) / granule * granule;
	if (off >= naive_bytes(v))
		return VMS_FAULT_BEYOND;
	if ((s->map[page_of(s, addr)].flags & VMS_MAP_STREAM) &&
	    v->at * naive_page_size + off >= stream)
		return VMS_FAULT_BEYOND;
	switch (naive_touch(v, off, len, access == VMS_PROT_WRITE)) {
	case 0:
		return VMS_FAULT_OK;
	case -ENOENT:
		return VMS_FAULT_DISCARDED;
	default:
		return VMS_FAULT_IO;
	}
}

enum vms_fault_result nspace_fault(struct nspace *s, uint64_t addr, uint64_t len, uint32_t access)
{
	enum vms_fault_result result = nspace_access(s, addr, len, access);
	struct naive_view *v;
	uint64_t off = 0;

	if (result != VMS_FAULT_OK || s->files)
		return result;
	v = nspace_at(s, addr, &off);
	naive_bring(v, off);
	return result;
}

/* ---- operations on ranges (F16) ---- */

/* The run of pages from `first` on, at most n, that are one mapping. */
static unsigned run_from(const struct nspace *s, unsigned first, unsigned n)
{
	unsigned k = 1;

	while (k < n && nspace_joined(s, first + k - 1, first + k))
		k++;
	return k;
}

int nspace_region_op(struct nregion *r, enum vms_region_op op, uint64_t addr, uint64_t len)
{
	static const enum vms_object_op object_op[] = {
		[VMS_REGION_COMMIT] = VMS_OBJECT_COMMIT,
		[VMS_REGION_DECOMMIT] = VMS_OBJECT_DECOMMIT,
		[VMS_REGION_ZERO] = VMS_OBJECT_ZERO,
		[VMS_REGION_PREFETCH] = VMS_OBJECT_PREFETCH,
		[VMS_REGION_ALWAYS_NEED] = VMS_OBJECT_ALWAYS_NEED,
		[VMS_REGION_DONT_NEED] = VMS_OBJECT_DONT_NEED,
	};
	struct nspace *s = r->space;
	bool writes = op == VMS_REGION_COMMIT || op == VMS_REGION_DECOMMIT || op == VMS_REGION_ZERO;
	unsigned first, n, k;

	if (op < VMS_REGION_COMMIT || op > VMS_REGION_DONT_NEED || addr % s->page ||
	    len % s->page || !len)
		return -EINVAL;
	if (!inside(r, addr, len))
		return -ERANGE;
	if (!r->alive)
		return -EBUSY;
	first = page_of(s, addr);
	n = (unsigned)(len / s->page);
	if ((writes || op == VMS_REGION_PREFETCH) && touches_child(r, first, n))
		return -EINVAL;
	for (unsigned i = first; i < first + n; i += k) {
		const struct nmap *m = &s->map[i];
		int err;

		k = run_from(s, i, first + n - i);
		if (!m->view)
			return -EBUSY;
		if (writes && !(m->ceiling & VMS_PROT_WRITE))
			return -EACCES;
		if (op == VMS_REGION_MAP)
			continue;
		err = naive_op(m->view, object_op[op], m->off, k * s->page);
		if (err)
			return err;
	}
	return 0;
}
