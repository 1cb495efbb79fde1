// SPDX-License-Identifier: MIT
/*
 * rmap.c: see rmap.h. Pages of a content, told of by it, become addresses of the backend.
 *
 *	pages		first ............... last	of the rmap's node, both included
 *	addresses	   start ............. last	the mapping may begin and end inside a page,
 *							where the guest's pages are smaller
 *
 * Invariants, checked by rmap_check:
 *	1 bounds, object and offset are the mapping's
 *	2 its node is in its content's tree, and holds exactly the pages that the mapping shows
 *	3 a content's `high` is the number of linked rmaps on it that are high, and of overlays
 *	  above it whose `high` is not 0
 */
#include "space/rmap.h"

#include <errno.h>
#include <inttypes.h>

#include "base/fail.h"
#include "base/range.h"
#include "object/look.h"
#include "space/region.h"

static struct rmap *rmap_of(struct shown *s)
{
	return (struct rmap *)((char *)s - offsetof(struct rmap, shown));
}

/* The addresses of pages [first, first + n), which lie inside what is shown. */
static void addresses(const struct rmap *r, uint64_t first, uint64_t n, uint64_t *from,
		      uint64_t *to)
{
	unsigned shift = r->content->shift;
	uint64_t skew = r->off & ((UINT64_C(1) << shift) - 1);
	uint64_t at = first - r->shown.node.first;

	*from = at ? r->start + ((at << shift) - skew) : r->start;
	*to = first + (n - 1) == r->shown.node.last ? r->last
						    : r->start + (((at + n) << shift) - skew - 1);
}

/* True: the fault that makes the change takes care of the pages. */
static bool is_guarded(struct rmap_guard *g, uint64_t first, uint64_t last)
{
	if (!g || first < g->first || last > g->last)
		return false;
	g->from = g->missed ? min_u64(g->from, first) : first;
	g->to = g->missed ? max_u64(g->to, last) : last;
	g->missed = true;
	return true;
}

static void gone(struct shown *s, uint64_t first, uint64_t n)
{
	struct rmap *r = rmap_of(s);
	uint64_t from, to;

	if (is_guarded(r->guard, first, first + (n - 1)))
		return;
	addresses(r, first, n, &from, &to);
	entries_unmap(r->mmu, from, to);
}

static void read_only(struct shown *s, uint64_t first, uint64_t n)
{
	struct rmap *r = rmap_of(s);
	uint64_t from, to;

	addresses(r, first, n, &from, &to);
	entries_remove_write(r->mmu, from, to);
}

static const struct shown_ops ops = { .gone = gone, .read_only = read_only };

void rmap_init(struct rmap *r, struct vms_mmu *mmu, struct region *region, const struct map *m)
{
	const struct view *v = view_of(m->obj);

	*r = (struct rmap){ .shown.ops = &ops,
			    .mmu = mmu,
			    .obj = object_ref(m->obj),
			    .content = v->content,
			    .region = region,
			    .start = m->start,
			    .last = m->last,
			    .off = m->off + (v->at << v->content->shift),
			    .view_off = m->off,
			    .high = region->priority == REGION_HIGH };
}

struct rmap *rmap_new(const struct world *w, struct vms_mmu *mmu, struct region *region,
		      const struct map *m)
{
	struct rmap *r = w->alloc(w, sizeof(*r));

	if (r)
		rmap_init(r, mmu, region, m);
	return r;
}

void rmap_set_bounds(struct rmap *r, const struct map *m)
{
	r->start = m->start;
	r->last = m->last;
	r->off += m->off - r->view_off;
	r->view_off = m->off;
}

void rmap_free(const struct world *w, struct rmap *r)
{
	if (!r)
		return;
	object_unref(r->obj);
	w->free(w, r, sizeof(*r));
}

/*
 * The pages that are shown. A view's byte is below 2^64, so its page is below 2^54, and so is where
 * a slice begins: in pages nothing wraps, wherever past the object the mapping reaches.
 */
static void pages_of(const struct rmap *r, uint64_t *first, uint64_t *last)
{
	const struct view *v = view_of(r->obj);
	unsigned shift = r->content->shift;

	*first = v->at + (r->view_off >> shift);
	*last = v->at + ((r->view_off + (r->last - r->start)) >> shift);
}

/* One high mapping more or less: an overlay keeps the root's pages too. */
static void count_high(struct content *c, bool more) REQUIRES(c->family->lock)
{
	c->high += more ? 1 : UINT64_MAX;
	if (c->below && c->high == more)
		c->below->high += more ? 1 : UINT64_MAX;
}

void rmap_guard(struct rmap *r, struct rmap_guard *g)
{
	g->missed = false;
	r->guard = g;
}

void rmap_unguard(struct rmap *r)
{
	const struct rmap_guard *g = r->guard;

	r->guard = NULL;
	if (g && g->missed)
		gone(&r->shown, g->from, g->to - g->from + 1);
}

void rmap_link_locked(struct rmap *r)
{
	struct content *c = r->content;
	uint64_t first, last;

	family_held(c);
	pages_of(r, &first, &last);
	shown_add(c, &r->shown, first, last - first + 1);
	r->linked = true;
	if (r->high)
		count_high(c, true);
}

void rmap_unlink_locked(struct rmap *r)
{
	struct content *c = r->content;

	family_held(c);
	shown_del(c, &r->shown);
	r->linked = false;
	if (r->high)
		count_high(c, false);
}

void rmap_link(struct rmap *r)
{
	lock_take(&r->content->family->lock);
	rmap_link_locked(r);
	lock_drop(&r->content->family->lock);
}

void rmap_unlink(struct rmap *r)
{
	lock_take(&r->content->family->lock);
	rmap_unlink_locked(r);
	lock_drop(&r->content->family->lock);
}

void rmap_pass(struct rmap *r)
{
	lock_take(&r->content->family->lock);
	lock_drop(&r->content->family->lock);
}

void rmap_set_high(struct rmap *r, bool high)
{
	struct content *c = r->content;

	lock_take(&c->family->lock);
	if (r->linked && high != r->high)
		count_high(c, high);
	r->high = high;
	lock_drop(&c->family->lock);
}

/* ---- the validator ---- */

static int check_locked(struct rmap *r) REQUIRES(r->content->family->lock)
{
	const struct content *c = r->content;
	uint64_t first, last, high = 0;
	bool found = false;

	pages_of(r, &first, &last);
	if (!r->linked || r->shown.node.first != first || r->shown.node.last != last)
		return fail(-EINVAL,
			    "rmap 2: the mapping at %#" PRIx64 " shows pages %#" PRIx64 " to "
			    "%#" PRIx64 ", its rmap %#" PRIx64 " to %#" PRIx64,
			    r->start, first, last, r->shown.node.first, r->shown.node.last);
	for (struct itree_node *n = itree_first(&c->shown, 0, UINT64_MAX); n;
	     n = itree_next(n, 0, UINT64_MAX)) {
		struct shown *s = (struct shown *)((char *)n - offsetof(struct shown, node));

		found |= s == &r->shown;
		high += s->ops == &ops && rmap_of(s)->high;
	}
	for (const struct content *o = c->overlays; o; o = o->overlay_next)
		high += o->high != 0;
	if (!found)
		return fail(-EINVAL,
			    "rmap 2: the mapping at %#" PRIx64 " is not in its content's "
			    "tree",
			    r->start);
	if (high != c->high)
		return fail(-EINVAL, "rmap 3: %" PRIu64 " high mappings, %" PRIu64 " counted", high,
			    c->high);
	return 0;
}

int rmap_check(struct rmap *r, const struct map *m)
{
	int err;

	if (!rmap_fits(r, m) || view_of(m->obj)->content != r->content)
		return fail(-EINVAL,
			    "rmap 1: the mapping [%#" PRIx64 ", %#" PRIx64 "] has an rmap "
			    "[%#" PRIx64 ", %#" PRIx64 "]",
			    m->start, m->last, r->start, r->last);
	lock_take(&r->content->family->lock);
	err = check_locked(r);
	lock_drop(&r->content->family->lock);
	return err;
}
