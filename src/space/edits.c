// SPDX-License-Identifier: MIT
/*
 * edits.c: the public calls that change a space: regions, and what is mapped in them.
 *
 * Each is: what is wrong with the arguments in themselves, then under the space's lock what is
 * wrong with them as things stand, then one change (change.c), then the lock is dropped, and what
 * went is dropped after it. Errors come in the order that space.h lists for the call.
 *
 * A handle of a region (struct vms_region) is the region; each reference of a handle is one of the
 * region and one of the space.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/fail.h"
#include "base/range.h"
#include "object/look.h"
#include "space/vspace.h"

#define RWX   ((uint32_t)(VMS_PROT_READ | VMS_PROT_WRITE | VMS_PROT_EXEC))
#define RANGE "[%#" PRIx64 ", %#" PRIx64 "]"

_Static_assert(VMS_PLACE_AT == PLACE_AT && VMS_PLACE_BELOW == PLACE_BELOW &&
		       VMS_PLACE_COMPACT == PLACE_COMPACT && VMS_PLACE_OVER == PLACE_OVER,
	       "flags of a placement");
_Static_assert(VMS_REGION_SPECIFIC == REGION_SPECIFIC && VMS_REGION_ALL == REGION_RIGHTS,
	       "rights of a region");
_Static_assert((int)VMS_PRIORITY_DEFAULT == REGION_DEFAULT && (int)VMS_PRIORITY_HIGH == REGION_HIGH,
	       "priorities");

static struct region *region_of(struct vms_region *handle)
{
	return (struct region *)handle;
}

/* What the parts below do not say: an edit found no memory. */
static int no_memory(int err, const char *what, uint64_t first, uint64_t last)
{
	if (err == -ENOMEM)
		return fail(err, "no memory for %s [%#" PRIx64 ", %#" PRIx64 "]", what, first,
			    last);
	return err;
}

/*
 * A place as the region sees it: from its start. What lies below the region is outside, so it may
 * not wrap to a place inside it.
 */
static struct placement placement_in(const struct region *r, const struct vms_place *place,
				     uint64_t size)
{
	struct placement p = { .size = size };

	if (!place)
		return p;
	p.flags = place->flags;
	p.align = place->align;
	p.entropy = place->entropy;
	p.offset = place->addr;
	if (place->flags & (PLACE_AT | PLACE_BELOW))
		p.offset -= r->first;
	if (place->flags & PLACE_BELOW && place->addr < r->first)
		p.offset &= r->page - 1;
	return p;
}

/* It is not a stretch. */
static void plan(struct vms_space *s, struct change *c) REQUIRES(s->space.lock)
{
	space_held(&c->s->space);
	change_plan(c);
}

/* After the last step of a plan: all of it, or nothing. */
static int change_finish(struct change *c, int err)
{
	if (!err)
		err = change_prepare(c);
	if (err)
		change_abort(c);
	else
		change_commit(c);
	return err;
}

/* ---- Regions ---- */

static int check_region_params(const struct vms_region_params *p, const struct placement *placement)
{
	if (!p || p->size < sizeof(*p))
		return fail(-EINVAL, "region: params of %zu bytes, need %zu", p ? p->size : 0,
			    sizeof(*p));
	if (p->flags || p->rights & ~VMS_REGION_ALL)
		return fail(-EINVAL, "region: unknown flags %#x or rights %#x", p->flags,
			    p->rights & ~VMS_REGION_ALL);
	if (placement->flags & PLACE_OVER)
		return fail(-EINVAL, "region: a region does not go over what stands there");
	return placement_check(placement);
}

int vms_region_create(struct vms_region *parent, const struct vms_place *place,
		      const struct vms_region_params *params, struct vms_region **region,
		      uint64_t *addr)
{
	struct region *r = region_of(parent), *child;
	struct placement p = placement_in(r, place, params ? params->len : 0);
	struct vms_space *s = r->space;
	int err = check_region_params(params, &p);

	if (err)
		return err;
	lock_take(&s->space.lock);
	err = region_create(r, &p, params->rights, &child);
	lock_drop(&s->space.lock);
	if (err)
		return err;
	vms_space_ref(s);
	if (addr)
		*addr = child->first;
	*region = (struct vms_region *)child;
	return 0;
}

struct vms_region *vms_region_ref(struct vms_region *region)
{
	struct region *r = region_of(region);

	if (r) {
		vms_space_ref(r->space);
		region_ref(r);
	}
	return region;
}

void vms_region_unref(struct vms_region *region)
{
	struct region *r = region_of(region);
	struct vms_space *s;

	if (!r)
		return;
	s = r->space;
	region_unref(r);
	vms_space_unref(s);
}

/* Nothing is mapped in [first, last] afterwards. */
static int unmap_all(struct vms_space *s, struct change *c, uint64_t first, uint64_t last)
	REQUIRES(s->space.lock)
{
	int err = stretch_unmap(c, s, first, last);

	if (err != QUICK_NOT)
		return err;
	plan(s, c);
	return change_finish(c, change_unmap(c, first, last));
}

static int destroy_locked(struct vms_space *s, struct change *c, struct region *r)
	REQUIRES(s->space.lock)
{
	int err = region_may_destroy(r);

	if (!err)
		err = unmap_all(s, c, r->first, r->last);
	return err ? err : region_destroy(r);
}

int vms_region_destroy(struct vms_region *region)
{
	struct region *r = region_of(region);
	struct vms_space *s = r->space;
	struct change c;
	int err;

	lock_take(&s->space.lock);
	change_begin(&c, s);
	err = destroy_locked(s, &c, r);
	lock_drop(&s->space.lock);
	change_end(&c);
	return no_memory(err, "destroying", r->first, r->last);
}

int vms_region_set_priority(struct vms_region *region, enum vms_priority priority)
{
	struct region *r = region_of(region);
	struct vms_space *s = r->space;
	bool high = priority == VMS_PRIORITY_HIGH;
	uint64_t addr = r->first;
	struct map m;
	int err;

	lock_take(&s->space.lock);
	err = region_set_priority(r, (enum region_priority)priority);
	while (!err && space_find(&s->space, addr, &m) && m.start <= r->last) {
		rmap_set_high(m.rmap, high);
		addr = m.last + 1;
		if (m.last >= r->last)
			break;
	}
	lock_drop(&s->space.lock);
	return err;
}

int vms_region_info(struct vms_region *region, struct vms_region_info *info)
{
	struct region *r = region_of(region);
	size_t size = info->size;

	if (size < sizeof(*info))
		return fail(-EINVAL, "vms_region_info: struct of %zu bytes, need %zu", size,
			    sizeof(*info));
	*info = (struct vms_region_info){
		.size = size, .addr = r->first, .len = r->last - r->first + 1, .rights = r->rights
	};
	lock_take(&r->space->space.lock);
	info->alive = !region_is_dead(r);
	info->priority = (enum vms_priority)r->priority;
	lock_drop(&r->space->space.lock);
	return 0;
}

/* ---- Map ---- */

static int check_prot(uint32_t prot)
{
	if (prot & ~RWX)
		return fail(-EINVAL, "unknown rights %#x", prot & ~RWX);
	if (prot && !(prot & VMS_PROT_READ))
		return fail(-EINVAL, "rights %#x without READ", prot);
	return 0;
}

/* The arguments in themselves. */
static int check_map_params(const struct vms_map_params *p, const struct region *r,
			    const struct placement *placement)
{
	const uint32_t known =
		VMS_MAP_FIXED_SIZE | VMS_MAP_STREAM | VMS_MAP_POPULATE | VMS_MAP_SHARE;
	int err = check_prot(p->prot);

	if (err)
		return err;
	if (p->ceiling & ~RWX || (p->ceiling && p->prot & ~p->ceiling))
		return fail(-EINVAL, "map: rights %#x under a ceiling of %#x", p->prot, p->ceiling);
	if (p->flags & ~known)
		return fail(-EINVAL, "map: unknown flags %#x", p->flags & ~known);
	err = placement_check(placement);
	if (err)
		return err;
	if (!is_aligned(p->off, r->page))
		return fail(-EINVAL, "map: offset %#" PRIx64 " is not on a page of %#" PRIx64,
			    p->off, r->page);
	if (p->len && !placement->size)
		return fail(-EINVAL, "map: %#" PRIx64 " bytes are no number of pages", p->len);
	if (p->flags & VMS_MAP_POPULATE && placement->flags & PLACE_OVER)
		return fail(-EINVAL, "map: POPULATE does not go with OVER");
	if (p->off > UINT64_MAX - placement->size)
		return fail(-ERANGE, "map: %#" PRIx64 " bytes at offset %#" PRIx64 " wrap",
			    placement->size, p->off);
	return 0;
}

/* The object and what is asked of it. */
static int check_object(const struct vms_space *s, const struct vms_map_params *p)
{
	const struct content *c = view_of(p->object)->content;

	if (p->flags & VMS_MAP_FIXED_SIZE && c->flags & VMS_OBJECT_RESIZABLE)
		return fail(-ENOTSUP, "map: the object's size may change");
	if (p->flags & VMS_MAP_STREAM && (c->kind == CONTENT_FILE || c->kind == CONTENT_HOST ||
					  c->flags & VMS_OBJECT_CONTIGUOUS))
		return fail(-ENOTSUP, "map: STREAM of a file, host memory or contiguous object");
	if (c->kind == CONTENT_FILE && !(s->mmu->entries->caps & ENTRIES_FILES))
		return fail(-ENOTSUP, "map: this backend shows no descriptors: map an object of "
				      "vms_pager_file(), or a SNAPSHOT_LAZY of the file");
	if (c->kind == CONTENT_HOST && s->mmu->entries->admit) {
		int err = s->mmu->entries->admit(s->mmu,
						 c->hva + (view_of(p->object)->at << c->shift),
						 view_bytes(p->object));

		if (err)
			return err;
	}
	if (p->prot & VMS_PROT_WRITE)
		return view_writable(p->object);
	return 0;
}

/* The most that its rights may become. */
static uint32_t ceiling_of(const struct region *r, const struct vms_map_params *p)
{
	const struct view *v = view_of(p->object);
	uint32_t ceiling = (p->ceiling ? p->ceiling : RWX) & r->rights;

	if (v->flags & VMS_OBJECT_NO_WRITE ||
	    (v->content->kind == CONTENT_FILE && !v->content->fd_writable))
		ceiling &= ~VMS_PROT_WRITE;
	return ceiling;
}

static int map_locked(struct vms_space *s, struct change *c, struct region *r,
		      const struct vms_map_params *p, const struct placement *placement,
		      struct map *m) REQUIRES(s->space.lock)
{
	uint64_t random = s->regions.random;
	int err = region_place(r, placement, p->prot, &m->start);

	if (err)
		return err;
	m->last = m->start + (placement->size - 1);
	err = stretch_map(c, s, r, m);
	if (err == QUICK_NOT) {
		plan(s, c);
		err = change_finish(c, change_map(c, r, m));
	}
	if (err)
		s->regions.random = random; /* not even what comes next */
	return err;
}

/* Install what is there. What cannot be installed now is installed by a fault. */
static void fill(struct vms_space *s, uint64_t first, uint64_t last, bool populate)
{
	uint64_t done;

	if (populate || s->mmu->entries->caps & ENTRIES_EAGER)
		space_fill(s, first, last, FILL_PRESENT, NULL, &done);
}

int vms_map(struct vms_region *region, const struct vms_map_params *p, uint64_t *addr)
{
	struct region *r = region_of(region);
	struct vms_space *s = r->space;
	struct placement placement;
	struct change c;
	struct map m;
	int err;

	if (!p || p->size < sizeof(*p))
		return fail(-EINVAL, "map: params of %zu bytes, need %zu", p ? p->size : 0,
			    sizeof(*p));
	placement = placement_in(r, &p->place, align_up(p->len, r->page));
	err = check_map_params(p, r, &placement);
	if (!err)
		err = view_usable(p->object);
	if (!err)
		err = check_object(s, p);
	if (err)
		return err;
	m = (struct map){ .obj = p->object,
			  .off = p->off,
			  .flags = p->flags & ~VMS_MAP_POPULATE,
			  .prot = (uint8_t)p->prot,
			  .ceiling = (uint8_t)ceiling_of(r, p) };

	lock_take(&s->space.lock);
	change_begin(&c, s);
	err = map_locked(s, &c, r, p, &placement, &m);
	lock_drop(&s->space.lock);
	change_end(&c);
	if (err)
		return no_memory(err, "mapping", m.start, m.start + (placement.size - 1));
	if (addr)
		*addr = m.start;
	fill(s, m.start, m.last, p->flags & VMS_MAP_POPULATE);
	return 0;
}

/* ---- Unmap ---- */

static int check_flags(uint32_t flags)
{
	return flags & ~VMS_NO_CHILDREN
		       ? fail(-EINVAL, "unknown flags %#x", flags & ~VMS_NO_CHILDREN)
		       : 0;
}

static int unmap_locked(struct vms_space *s, struct change *c, struct region *r, uint64_t addr,
			uint64_t len, uint32_t flags, uint64_t *last) REQUIRES(s->space.lock)
{
	int err = region_range(r, addr, len,
			       flags & VMS_NO_CHILDREN ? CHILDREN_NONE : CHILDREN_WHOLE, last);

	if (!err)
		err = unmap_all(s, c, addr, *last);
	if (!err)
		region_clear(r, addr, *last);
	return err;
}

int vms_unmap(struct vms_region *region, uint64_t addr, uint64_t len, uint32_t flags)
{
	struct region *r = region_of(region);
	struct vms_space *s = r->space;
	uint64_t last = addr;
	struct change c;
	int err = check_flags(flags);

	if (err)
		return err;
	lock_take(&s->space.lock);
	change_begin(&c, s);
	err = unmap_locked(s, &c, r, addr, len, flags, &last);
	lock_drop(&s->space.lock);
	change_end(&c);
	return no_memory(err, "unmapping", addr, last);
}

/* ---- Protect ---- */

/* Holes first, wherever they are; then the ceilings. */
static int may_protect(struct vms_space *s, const struct region *r, uint64_t first, uint64_t last,
		       uint32_t prot) REQUIRES(s->space.lock)
{
	struct map m, above = { 0 };
	bool denied = false;

	for (uint64_t at = first;; at = m.last + 1) {
		if (!space_find(&s->space, at, &m) || m.start > at)
			return fail(-ENOENT, "protect: nothing is mapped at %#" PRIx64, at);
		if (!denied && (prot & ~(uint32_t)m.ceiling ||
				(m.rmap->region != r && prot & ~(uint32_t)m.prot))) {
			denied = true;
			above = m;
		}
		if (m.last >= last)
			break;
	}
	if (!denied)
		return 0;
	if (prot & ~(uint32_t)above.ceiling)
		return fail(-EACCES, "protect: rights %#x are above %#x, the ceiling of " RANGE,
			    prot, above.ceiling, above.start, above.last);
	return fail(-EACCES,
		    "protect: " RANGE " lies in a child region: rights %#x may only be "
		    "reduced, not %#x",
		    above.start, above.last, above.prot, prot);
}

struct rights {
	uint8_t prot;
	bool more; /* some mapping has more than before */
};

static void set_prot(struct map *piece, void *arg)
{
	struct rights *rights = arg;

	rights->more |= rights->prot & ~piece->prot;
	piece->prot = rights->prot;
}

static int protect_locked(struct vms_space *s, struct change *c, struct region *r, uint64_t addr,
			  uint64_t len, struct rights *rights, uint32_t flags, uint64_t *last)
	REQUIRES(s->space.lock)
{
	int err = region_range(r, addr, len, flags & VMS_NO_CHILDREN ? CHILDREN_NONE : CHILDREN_ANY,
			       last);
	struct tree_spot spot;

	if (!err)
		err = may_protect(s, r, addr, *last, rights->prot);
	if (err)
		return err;
	if (space_spot(&s->space, addr, &spot) && spot.at->last >= *last) {
		rights->more = rights->prot & ~spot.at->prot;
		err = stretch_protect(c, s, &spot, addr, *last, rights->prot);
		if (err != QUICK_NOT)
			return err;
	}
	plan(s, c);
	return change_finish(c, change_update(c, addr, *last, set_prot, rights));
}

int vms_protect(struct vms_region *region, uint64_t addr, uint64_t len, uint32_t prot,
		uint32_t flags)
{
	struct region *r = region_of(region);
	struct vms_space *s = r->space;
	struct rights rights = { .prot = (uint8_t)prot };
	uint64_t last = addr;
	struct change c;
	int err = check_prot(prot);

	if (!err)
		err = check_flags(flags);
	if (err)
		return err;
	lock_take(&s->space.lock);
	change_begin(&c, s);
	err = protect_locked(s, &c, r, addr, len, &rights, flags, &last);
	lock_drop(&s->space.lock);
	change_end(&c);
	if (!err && rights.more)
		fill(s, addr, last, false);
	return no_memory(err, "protecting", addr, last);
}

/* ---- Move ---- */

struct move {
	struct change c;
	struct region *r;
	uint64_t first, last; /* what is taken */
	struct placement to;
	uint64_t to_first, to_last;
};

/* The source: all mapped, none of it in a child, and one mapping where more is wanted. */
static int check_source(struct vms_space *s, struct move *mv, uint64_t len) REQUIRES(s->space.lock)
{
	uint64_t at = mv->first;
	int err = region_range(mv->r, mv->first, len, CHILDREN_NONE, &mv->last);
	bool longer;
	struct map m;

	if (err)
		return err;
	longer = mv->to.size - 1 > mv->last - mv->first;
	for (;; at = m.last + 1) {
		bool found = space_find(&s->space, at, &m) && m.start <= at;

		if (longer && (!found || m.last < mv->last))
			return fail(-EINVAL,
				    "move: " RANGE " becomes longer, and is not one "
				    "mapping",
				    mv->first, mv->last);
		if (!found)
			return fail(-ENOENT, "move: nothing is mapped at %#" PRIx64, at);
		if (m.last >= mv->last)
			break;
	}
	if (longer && m.off + (mv->first - m.start) > UINT64_MAX - mv->to.size)
		return fail(-ERANGE, "move: %#" PRIx64 " bytes at offset %#" PRIx64 " wrap",
			    mv->to.size, m.off + (mv->first - m.start));
	return 0;
}

/* Each mapping's part of the first bytes, as many as go, at its new address. */
static int plan_move(struct vms_space *s, struct move *mv) REQUIRES(s->space.lock)
{
	uint64_t at = mv->first, to = mv->to_first, end;
	int err = change_unmap(&mv->c, mv->first, mv->last);
	struct map m, part;

	for (end = min_u64(mv->last, mv->first + (mv->to.size - 1)); !err; at = m.last + 1) {
		space_find(&s->space, at, &m);
		part = map_cut(&m, at, end);
		part.start = to;
		part.last = to + (min_u64(m.last, end) - at);
		if (m.last >= end)
			part.last = mv->to_last;
		err = change_map(&mv->c, mv->r, &part);
		to = part.last + 1;
		if (m.last >= end)
			break;
	}
	return err;
}

static int move_locked(struct vms_space *s, struct move *mv, uint64_t len) REQUIRES(s->space.lock)
{
	uint64_t random = s->regions.random;
	int err = check_source(s, mv, len);

	if (!err)
		err = region_place(mv->r, &mv->to, 0, &mv->to_first);
	if (err)
		return err;
	mv->to_last = mv->to_first + (mv->to.size - 1);
	plan(s, &mv->c);
	err = change_finish(&mv->c, plan_move(s, mv));
	if (err)
		s->regions.random = random;
	return err;
}

int vms_move(struct vms_region *region, uint64_t addr, uint64_t len, const struct vms_place *place,
	     uint64_t new_len, uint64_t *new_addr)
{
	struct region *r = region_of(region);
	struct vms_space *s = r->space;
	struct move mv = { .r = r, .first = addr };
	uint64_t last, to_last;
	int err;

	mv.to = placement_in(r, place, align_up(new_len, r->page));
	err = placement_check(&mv.to);
	if (err)
		return err;
	if (!mv.to.size)
		return fail(-EINVAL, "move: to %#" PRIx64 " bytes", new_len);
	if (mv.to.flags & PLACE_AT && range_last(addr, align_up(len, r->page), &last) &&
	    range_last(place->addr, mv.to.size, &to_last) &&
	    range_overlaps(addr, last, place->addr, to_last))
		return fail(-EINVAL, "move: " RANGE " and " RANGE " overlap", addr, last,
			    place->addr, to_last);
	lock_take(&s->space.lock);
	change_begin(&mv.c, s);
	err = move_locked(s, &mv, len);
	lock_drop(&s->space.lock);
	change_end(&mv.c);
	if (err)
		return no_memory(err, "moving", addr, mv.last);
	if (new_addr)
		*new_addr = mv.to_first;
	fill(s, mv.to_first, mv.to_last, false);
	return 0;
}
