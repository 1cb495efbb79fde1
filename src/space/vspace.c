// SPDX-License-Identifier: MIT
/*
 * vspace.c: the life of a space over objects, what it tells of itself, and its validator.
 *
 * Invariants, checked by vms_space_check:
 *	1 the tree, the counts (space.c) and the regions (region.c) are valid; no mapping lies across
 *	  the bound of a region, and its rmap names the innermost region that holds it
 *	2 each mapping has an rmap of exactly its bounds, object and offset, in its content's tree
 *	  (rmap.c), and each family's trees are sound (shown.c)
 *	3 a mapping's rights lie within its ceiling, and that within its region's rights; an object
 *	  that may not be written has no mapping whose ceiling allows it
 *	4 the backend holds no entry where nothing is mapped, none with rights that the mapping
 *	  lacks, none past the object's end, and none that shows other bytes than the object does at
 *	  that page; WRITE only where the page is the object's own, and of a paged one dirty
 */
#include "space/vspace.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/range.h"
#include "object/look.h"
#include "object/place.h"

#define MIN_PAGE    1024u
#define MAX_PAGE    65536u
#define AROUND	    16u /* pages */
#define COUNT_ALIGN 128u
#define MAPPED	    0 /* the class of map_counts that counts all */

/* Granules that the validator asks the backend for, at each end of a mapping, and beside it. */
#define CHECK_INSIDE 4096u
#define CHECK_BESIDE 8u

/* ---- The rules of its mappings ---- */

/* Regions part mappings. */
static bool may_merge(const struct map *left, const struct map *right)
{
	return left->rmap->region == right->rmap->region;
}

static uint32_t classes(const struct map *m)
{
	return 1u << MAPPED;
}

static const struct map_rules rules = { .may_merge = may_merge,
					.own_ident = true,
					.classes = classes };

/*
 * The mappings as a source of taken ranges (place.h). The tree keeps the way to what is asked for:
 * an edit comes there next.
 */
static bool next_taken(const void *arg, uint64_t from, uint64_t min, uint64_t *first,
		       uint64_t *last)
{
	struct vms_space *s = (struct vms_space *)arg;
	struct tree *t = &s->space.tree;
	struct tree_spot spot;
	uint64_t gap;

	if (!tree_spot(t, from, &spot))
		return false;
	*first = spot.at->start;
	*last = spot.at->last;
	if (min > 1 && *last < t->last)
		*last = tree_gap_up(t, *last + 1, t->last, min, &gap) ? gap - 1 : t->last;
	return true;
}

/* ---- Life ---- */

static atomic_uint_fast64_t last_id;

static int check_params(const struct vms_space_params *p, uint64_t page, uint64_t last)
{
	if (p->flags & ~VMS_SPACE_RANDOM)
		return fail(-EINVAL, "space: unknown flags %#x", p->flags & ~VMS_SPACE_RANDOM);
	if (!is_pow2(page) || page < MIN_PAGE || page > MAX_PAGE)
		return fail(-EINVAL, "space: a page of %#" PRIx64 " bytes", page);
	if (p->lo > last || !is_aligned(p->lo | p->hi, page))
		return fail(-EINVAL,
			    "space: [%#" PRIx64 ", %#" PRIx64 ") is not whole pages of "
			    "%#" PRIx64,
			    p->lo, p->hi, page);
	if (p->fault_around > AROUND)
		return fail(-EINVAL, "space: a fault installs %u pages at most, not %u", AROUND,
			    p->fault_around);
	if (!p->mmu || !p->mmu->entries)
		return fail(-EINVAL, "space: %s",
			    p->mmu ? "this backend serves no objects" : "no backend");
	return 0;
}

static struct vms_space *space_alloc(const struct world *w)
{
	size_t size = sizeof(struct vms_space) + COUNT_ALIGN;
	unsigned char *block = w->alloc(w, size);
	struct vms_space *s;

	if (!block)
		return NULL;
	memset(block, 0, size);
	s = (struct vms_space *)(void *)align_up((uintptr_t)block, COUNT_ALIGN);
	s->block = block;
	return s;
}

static void space_free(struct vms_space *s, const struct world *w)
{
	w->free(w, s->block, sizeof(struct vms_space) + COUNT_ALIGN);
}

int vms_space_create(const struct vms_space_params *p, struct vms_space **space)
{
	const struct world *w = world_default;
	uint64_t host = (uint64_t)sysconf(_SC_PAGESIZE), page, last;
	struct vms_space *s;
	int err;

	if (!p || p->size < sizeof(*p))
		return fail(-EINVAL, "space: params of %zu bytes, need %zu", p ? p->size : 0,
			    sizeof(*p));
	page = p->page_size ? p->page_size : host;
	last = p->hi - 1; /* 0: all ones */
	err = check_params(p, page, last);
	if (err)
		return err;
	s = space_alloc(w);
	if (!s)
		return fail(-ENOMEM, "space: no memory");
	space_init(&s->space, w, &rules, NULL, p->lo, last, page);
	tree_let_read(&s->space.tree);
	err = region_tree_init(&s->regions, w, page, p->lo, last,
			       (struct taken){ next_taken, s },
			       p->flags & VMS_SPACE_RANDOM ? &p->seed : NULL);
	if (!err)
		err = entries_attach(p->mmu, p->lo, last, page);
	if (err) {
		region_tree_fini(&s->regions);
		space_fini(&s->space);
		space_free(s, w);
		return err;
	}
	s->regions.root->space = s;
	s->mmu = vms_mmu_ref(p->mmu);
	atomic_init(&s->refs, 1);
	s->id = atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1;
	s->granule = min_u64(page, host);
	s->around = (p->fault_around ? p->fault_around : AROUND) * s->granule;
	*space = s;
	return 0;
}

/* The mapping at or above *addr; *addr moves behind it. False: no more. */
static bool next_map(struct vms_space *s, uint64_t *addr, bool *end, struct map *m)
	REQUIRES(s->space.lock)
{
	if (*end || !space_find(&s->space, *addr, m))
		return false;
	*end = m->last == UINT64_MAX;
	*addr = m->last + 1;
	return true;
}

/* Nobody has a reference, so nobody faults; but objects still tell of their pages. */
static void drop_mappings(struct vms_space *s)
{
	const struct world *w = s->space.world;
	struct rmap *went = NULL, *r;
	uint64_t addr = 0;
	bool end = false;
	struct map m;

	entries_empty(s->mmu);
	lock_take(&s->space.lock);
	while (next_map(s, &addr, &end, &m)) {
		rmap_unlink(m.rmap);
		m.rmap->next = went;
		went = m.rmap;
	}
	lock_drop(&s->space.lock);
	while ((r = went)) {
		went = r->next;
		rmap_free(w, r);
	}
	while ((r = s->spare)) {
		s->spare = r->next;
		w->free(w, r, sizeof(*r));
	}
}

static void space_end(struct vms_space *s)
{
	const struct world *w = s->space.world;

	drop_mappings(s);
	entries_detach(s->mmu);
	region_tree_fini(&s->regions);
	space_fini(&s->space);
	vms_mmu_unref(s->mmu);
	space_free(s, w);
}

struct vms_space *vms_space_ref(struct vms_space *space)
{
	if (space)
		atomic_fetch_add_explicit(&space->refs, 1, memory_order_relaxed);
	return space;
}

void vms_space_unref(struct vms_space *space)
{
	/* Release pairs with the last one's acquire: it sees what the others did. */
	if (space && atomic_fetch_sub_explicit(&space->refs, 1, memory_order_acq_rel) == 1)
		space_end(space);
}

struct vms_region *vms_space_root(struct vms_space *space)
{
	return (struct vms_region *)space->regions.root;
}

/* ---- What it tells ---- */

static atomic_uint next_stripe;
/* 0: none yet */
static _Thread_local unsigned stripe __attribute__((tls_model("initial-exec")));

void count_add(struct vms_space *s, unsigned count, uint64_t n)
{
	if (!stripe)
		stripe = atomic_fetch_add_explicit(&next_stripe, 1, memory_order_relaxed) %
				 COUNT_STRIPES +
			 1;
	atomic_fetch_add_explicit(&s->counts[stripe - 1].n[count], n, memory_order_relaxed);
}

static uint64_t count_sum(const struct vms_space *s, unsigned count)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < COUNT_STRIPES; i++)
		sum += atomic_load_explicit(&s->counts[i].n[count], memory_order_relaxed);
	return sum;
}

int vms_space_info(struct vms_space *s, struct vms_space_info *info)
{
	size_t size = info->size;

	if (size < sizeof(*info))
		return fail(-EINVAL, "vms_space_info: struct of %zu bytes, need %zu", size,
			    sizeof(*info));
	*info = (struct vms_space_info){ .size = size,
					 .lo = s->space.first,
					 .hi = s->space.last + 1,
					 .page_size = s->space.page_size };
	lock_take(&s->space.lock);
	info->mappings = s->space.counts.n;
	info->mapped = s->space.counts.bytes[MAPPED];
	info->regions = s->regions.n;
	info->edits = s->space.edits;
	info->splits = s->space.splits;
	info->merges = s->space.merges;
	lock_drop(&s->space.lock);
	info->wait = count_sum(s, COUNT_RESULT + VMS_FAULT_WAIT);
	info->not_mapped = count_sum(s, COUNT_RESULT + VMS_FAULT_NOT_MAPPED);
	info->denied = count_sum(s, COUNT_RESULT + VMS_FAULT_DENIED);
	info->beyond = count_sum(s, COUNT_RESULT + VMS_FAULT_BEYOND);
	info->discarded = count_sum(s, COUNT_RESULT + VMS_FAULT_DISCARDED);
	info->io = count_sum(s, COUNT_RESULT + VMS_FAULT_IO);
	info->no_memory = count_sum(s, COUNT_RESULT + VMS_FAULT_NO_MEMORY);
	info->own = count_sum(s, COUNT_OWN);
	info->ancestor = count_sum(s, COUNT_ANCESTOR);
	info->zero = count_sum(s, COUNT_ZERO);
	info->copied = count_sum(s, COUNT_COPIED);
	info->fresh = count_sum(s, COUNT_FRESH);
	/* Each came in one of these ways, so it is not counted twice. */
	info->ok = info->own + info->ancestor + info->zero + info->copied + info->fresh;
	info->around = count_sum(s, COUNT_AROUND);
	info->again = count_sum(s, COUNT_AGAIN);
	return 0;
}

const char *vms_fault_name(enum vms_fault_result result)
{
	static const char *const names[] = {
		[VMS_FAULT_OK] = "OK",
		[VMS_FAULT_WAIT] = "WAIT",
		[VMS_FAULT_NOT_MAPPED] = "NOT_MAPPED",
		[VMS_FAULT_DENIED] = "DENIED",
		[VMS_FAULT_BEYOND] = "BEYOND",
		[VMS_FAULT_DISCARDED] = "DISCARDED",
		[VMS_FAULT_IO] = "IO",
		[VMS_FAULT_NO_MEMORY] = "NO_MEMORY",
	};

	return (unsigned)result < sizeof(names) / sizeof(names[0]) ? names[result] : "?";
}

/* ---- The validator ---- */

/* An entry of a page that the content has: is it what the content shows there? */
static int check_entry(const struct content *c, const struct map *m, uint64_t addr, const void *hva,
		       uint32_t rights) REQUIRES(c->family->lock)
{
	uint64_t in_view = m->off + (addr - m->start), byte = m->rmap->off + (addr - m->start);
	uint64_t in_page = byte & ((UINT64_C(1) << c->shift) - 1);
	struct place p;

	if (rights & ~(uint32_t)m->prot)
		return fail(-EINVAL,
			    "space 4: the entry at %#" PRIx64 " has rights %#x, the "
			    "mapping %#x",
			    addr, rights, m->prot);
	if (in_view >= view_bytes(m->obj) || c->discarded)
		return fail(-EINVAL,
			    "space 4: an entry at %#" PRIx64 ", past the object's end or "
			    "discarded",
			    addr);
	p = content_where(c, byte >> c->shift);
	if (p.store == PLACE_ABSENT)
		return fail(-EINVAL, "space 4: an entry at %#" PRIx64 " of an absent page", addr);
	if (rights & VMS_PROT_WRITE && !p.own)
		return fail(-EINVAL,
			    "space 4: the entry at %#" PRIx64 " writes to a page that is "
			    "not the object's own",
			    addr);
	if (rights & VMS_PROT_WRITE && c->kind == CONTENT_PAGED &&
	    !(frame_marks(c->arena, content_own(c, byte >> c->shift)) & FRAME_DIRTY))
		return fail(-EINVAL,
			    "space 4: the entry at %#" PRIx64 " writes to a page that is clean",
			    addr);
	if (hva && p.store == PLACE_ZERO && hva != (const char *)mmu_zero_page() + in_page)
		return fail(-EINVAL,
			    "space 4: the entry at %#" PRIx64 " shows something, the "
			    "object zeros",
			    addr);
	if (hva && p.hva && hva != (const char *)p.hva + in_page)
		return fail(-EINVAL,
			    "space 4: the entry at %#" PRIx64 " shows other bytes than "
			    "the object",
			    addr);
	return 0;
}

static int check_granules(struct vms_space *s, const struct map *m, uint64_t from, uint64_t n)
	REQUIRES(s->space.lock)
{
	const struct content *c = m->rmap->content;
	const void *hva;
	uint32_t rights;
	int err = 0;

	lock_take(&c->family->lock);
	for (uint64_t i = 0; i < n && !err; i++) {
		uint64_t addr = from + i * s->granule;

		hva = NULL;
		if (s->mmu->entries->query(s->mmu, addr, &hva, &rights) == 0)
			err = check_entry(c, m, addr, hva, rights);
	}
	lock_drop(&c->family->lock);
	return err;
}

/* All granules of a small mapping, those at its ends of a large one. */
static int check_inside(struct vms_space *s, const struct map *m) REQUIRES(s->space.lock)
{
	uint64_t n = (m->last - m->start) / s->granule + 1;
	int err;

	if (n <= 2 * CHECK_INSIDE)
		return check_granules(s, m, m->start, n);
	err = check_granules(s, m, m->start, CHECK_INSIDE);
	if (err)
		return err;
	return check_granules(s, m, m->last + 1 - CHECK_INSIDE * s->granule, CHECK_INSIDE);
}

/* Nothing is mapped in [first, last]. */
static int check_hole(struct vms_space *s, uint64_t first, uint64_t last) REQUIRES(s->space.lock)
{
	uint64_t n = (last - first) / s->granule + 1;
	const void *hva;
	uint32_t rights;

	for (uint64_t i = 0; i < n; i++) {
		if (i == CHECK_BESIDE && n > 2 * CHECK_BESIDE)
			i = n - CHECK_BESIDE;
		if (s->mmu->entries->query(s->mmu, first + i * s->granule, &hva, &rights) == 0)
			return fail(-EINVAL,
				    "space 4: an entry at %#" PRIx64 ", where nothing is "
				    "mapped",
				    first + i * s->granule);
	}
	return 0;
}

static int check_map(struct vms_space *s, const struct map *m, const struct family **seen)
	REQUIRES(s->space.lock)
{
	struct region *r = region_innermost(&s->regions, m->start);
	struct family *f;
	int err;

	if (!m->rmap || !m->obj || m->obj->kind != OBJECT_VIEW)
		return fail(-EINVAL, "space 2: the mapping at %#" PRIx64 " has no rmap or object",
			    m->start);
	if (m->rmap->region != r || m->rmap->mmu != s->mmu ||
	    m->rmap->high != (r->priority == REGION_HIGH))
		return fail(-EINVAL,
			    "space 1: the rmap at %#" PRIx64 " is of another region, "
			    "backend or priority",
			    m->start);
	if (m->prot & ~m->ceiling || m->ceiling & ~r->rights)
		return fail(-EINVAL,
			    "space 3: at %#" PRIx64 " rights %#x, ceiling %#x, region "
			    "%#x",
			    m->start, m->prot, m->ceiling, r->rights);
	if (m->ceiling & VMS_PROT_WRITE && view_writable(m->obj))
		return fail(-EINVAL, "space 3: the ceiling at %#" PRIx64 " is above the object's",
			    m->start);
	err = rmap_check(m->rmap, m);
	if (err)
		return err;
	f = m->rmap->content->family;
	if (f == *seen)
		return 0;
	*seen = f;
	lock_take(&f->lock);
	err = shown_check(f);
	lock_drop(&f->lock);
	return err;
}

static int check_locked(struct vms_space *s) REQUIRES(s->space.lock)
{
	bool query = s->mmu->entries->query != NULL, end = false;
	const struct family *seen = NULL;
	const char *broken = space_validate(&s->space);
	uint64_t addr = 0, hole = s->space.first;
	struct map m;
	int err;

	if (!broken)
		broken = region_validate(&s->regions);
	if (broken)
		return fail(-EINVAL, "%s", broken);
	while (next_map(s, &addr, &end, &m)) {
		err = check_map(s, &m, &seen);
		if (!err && query && hole < m.start)
			err = check_hole(s, hole, m.start - 1);
		if (!err && query)
			err = check_inside(s, &m);
		if (err)
			return err;
		hole = m.last + 1;
		end |= m.last == s->space.last;
	}
	if (query && !end)
		return check_hole(s, hole, s->space.last);
	return 0;
}

int vms_space_check(struct vms_space *s)
{
	int err;

	lock_take(&s->space.lock);
	err = check_locked(s);
	lock_drop(&s->space.lock);
	if (!err && s->mmu->entries->check)
		err = s->mmu->entries->check(s->mmu);
	return err;
}
