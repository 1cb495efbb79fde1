// SPDX-License-Identifier: MIT
/*
 * region.c: the tree of regions.
 *
 * Each region knows its children by a treap: a search tree by address that is a heap by random
 * numbers, so that it stays shallow. A node sums up what is at and below it: first byte, last byte,
 * largest gap between neighbours. By that, the search for a place steps over runs of siblings
 * that leave no gap worth looking at.
 *
 * A region is alive until it is destroyed, alone, with a region above it or with the tree. Dead is
 * for ever: a dead region is in no tree, and only its handles keep its memory.
 *
 * Invariants:
 *  1 A child lies inside its parent, on whole pages. Siblings do not overlap, and stand in the
 *    order of their addresses.
 *  2 A child has no right that its parent lacks. The root has all.
 *  3 Every region in the tree is alive, knows its tree and its parent, and has a reference of the
 *    tree's. They are tree->n.
 *  4 The siblings' tree is a heap, and its links go both ways.
 *  5 lo, hi and gap of a node are what its own bounds and the nodes below it say.
 *  6 No mapping lies across a bound of a region.
 */
#include "space/region.h"

#include <errno.h>
#include <inttypes.h>

#include "base/fail.h"
#include "base/range.h"

#define COMPACT_BITS 8
#define MIN_ALIGN    (UINT64_C(1) << 10)
#define MAX_ALIGN    (UINT64_C(1) << 32)

#define RANGE	 "[%#" PRIx64 ", %#" PRIx64 "]"
#define SPAN(r)	 (r)->first, (r)->last

/* ---- the tree of siblings ---- */

/* Sums of the nodes below, as n would have them. */
static void sums(const struct region *n, uint64_t *lo, uint64_t *hi, uint64_t *gap)
{
	const struct region *l = n->left, *r = n->right;

	*lo = l ? l->lo : n->first;
	*hi = r ? r->hi : n->last;
	*gap = 0;
	if (l)
		*gap = max_u64(l->gap, n->first - l->hi - 1);
	if (r)
		*gap = max_u64(*gap, max_u64(r->gap, r->lo - n->last - 1));
}

static void sum_up(struct region *n)
{
	for (; n; n = n->up)
		sums(n, &n->lo, &n->hi, &n->gap);
}

/* What points at n: its parent's top, or a link of the node above. */
static struct region **link_to(struct region *n)
{
	if (!n->up)
		return &n->parent->children;
	return n->up->left == n ? &n->up->left : &n->up->right;
}

/* n takes the place of the node above it. */
static void rotate_up(struct region *n)
{
	struct region *above = n->up, **from = link_to(above), *moved;

	if (above->left == n) {
		moved = n->right;
		above->left = moved;
		n->right = above;
	} else {
		moved = n->left;
		above->right = moved;
		n->left = above;
	}
	if (moved)
		moved->up = above;
	n->up = above->up;
	above->up = n;
	*from = n;
	sums(above, &above->lo, &above->hi, &above->gap);
	sums(n, &n->lo, &n->hi, &n->gap);
}

/* n->parent is set, n has no links, and nothing overlaps it. */
static void insert(struct region *n)
{
	struct region **at = &n->parent->children;

	while (*at) {
		n->up = *at;
		at = n->first < n->up->first ? &n->up->left : &n->up->right;
	}
	*at = n;
	sum_up(n);
	while (n->up && n->up->heap < n->heap)
		rotate_up(n);
}

static void erase(struct region *n)
{
	struct region *child;

	while (n->left && n->right)
		rotate_up(n->left->heap > n->right->heap ? n->left : n->right);
	child = n->left ? n->left : n->right;
	*link_to(n) = child;
	if (child)
		child->up = n->up;
	sum_up(n->up);
	n->up = n->left = n->right = NULL;
}

static struct region *lowest(struct region *n)
{
	while (n && n->left)
		n = n->left;
	return n;
}

static struct region *next_sibling(const struct region *n)
{
	if (n->right)
		return lowest(n->right);
	while (n->up && n == n->up->right)
		n = n->up;
	return n->up;
}

/* The region after r, depth first, in the tree below top. NULL: none. */
static struct region *next_below(const struct region *r, const struct region *top)
{
	struct region *n = lowest(r->children);

	for (; !n && r != top; r = r->parent)
		n = next_sibling(r);
	return n;
}

struct region *region_at_or_above(const struct region *r, uint64_t addr)
{
	struct region *found = NULL, *n = r->children;

	while (n) {
		if (n->last < addr) {
			n = n->right;
		} else {
			found = n;
			n = n->left;
		}
	}
	return found;
}

struct region *region_find(const struct region *r, uint64_t addr)
{
	struct region *n = region_at_or_above(r, addr);

	return n && n->first <= addr ? n : NULL;
}

struct region *region_innermost(const struct region_tree *t, uint64_t addr)
{
	struct region *r = t->root, *n;

	if (!r || addr < r->first || addr > r->last)
		return NULL;
	while ((n = region_find(r, addr)))
		r = n;
	return r;
}

/* In the tree at n, which has a gap of min bytes: the last byte before the lowest such gap. */
static uint64_t before_gap(const struct region *n, uint64_t min)
{
	for (;;) {
		if (n->left && n->left->gap >= min) {
			n = n->left;
			continue;
		}
		if (n->left && n->first - n->left->hi - 1 >= min)
			return n->left->hi;
		if (n->right->lo - n->last - 1 >= min)
			return n->last;
		n = n->right;
	}
}

/* The children of a region as a source of taken ranges. */
static bool next_child(const void *arg, uint64_t from, uint64_t min, uint64_t *first,
		       uint64_t *last)
{
	const struct region *n = region_at_or_above(arg, from);

	if (!n)
		return false;
	*first = n->first;
	*last = n->last;
	/* All up to *last leave no gap of min bytes, and n is the node of the last of them, or
	 * above it with all that is right of n. */
	while (min > 1) {
		if (n->right) {
			if (n->right->lo - *last - 1 >= min)
				return true;
			if (n->right->gap >= min) {
				*last = before_gap(n->right, min);
				return true;
			}
			*last = n->right->hi;
		}
		while (n->up && n == n->up->right)
			n = n->up;
		n = n->up;
		if (!n || n->first - *last - 1 >= min)
			return true;
		*last = n->last;
	}
	return true;
}

/* ---- the validator ---- */

static const char *validate_one(const struct region *r, const struct region_tree *t)
{
	const struct region *p = r->parent, *after;
	uint64_t lo, hi, gap, first, last;

	if (r->tree != t || r->refs == 0)
		return "region: one in the tree is dead";
	if (!is_aligned(r->first, t->page) || !is_aligned(r->last + 1, t->page) ||
	    r->first > r->last)
		return "region: not whole pages";
	if (t->maps.next(t->maps.arg, r->first, 1, &first, &last) && first < r->first)
		return "region: a mapping lies across the start of one";
	if (t->maps.next(t->maps.arg, r->last, 1, &first, &last) && first <= r->last &&
	    last > r->last)
		return "region: a mapping lies across the end of one";
	for (const struct region *c = lowest(r->children); c; c = next_sibling(c))
		if (c->parent != r)
			return "region: a child does not know its parent";
	if (!p)
		return r == t->root && r->rights == REGION_RIGHTS ? NULL : "region: a second root";
	if (r->first < p->first || r->last > p->last)
		return "region: a child passes its parent";
	if (r->rights & ~p->rights)
		return "region: a right that the parent lacks";
	after = next_sibling(r);
	if (after && after->first <= r->last)
		return "region: siblings overlap or are out of order";
	if ((r->left && (r->left->up != r || r->left->heap > r->heap)) ||
	    (r->right && (r->right->up != r || r->right->heap > r->heap)) ||
	    (!r->up && p->children != r))
		return "region: a sibling's link or heap number is wrong";
	sums(r, &lo, &hi, &gap);
	if (lo != r->lo || hi != r->hi || gap != r->gap)
		return "region: a node sums up wrongly";
	return NULL;
}

const char *region_validate(const struct region_tree *t)
{
	const char *wrong;
	size_t n = 0;

	for (const struct region *r = t->root; r; r = next_below(r, t->root)) {
		wrong = validate_one(r, t);
		if (wrong)
			return wrong;
		n++;
	}
	return n == t->n ? NULL : "region: the number of regions is wrong";
}

/* ---- life ---- */

static struct region *region_alloc(struct region_tree *t, uint64_t first, uint64_t last,
				   uint32_t rights)
{
	struct region *r = t->world->alloc(t->world, sizeof(*r));

	if (!r) {
		fail(-ENOMEM, "region: no memory for the region " RANGE, first, last);
		return NULL;
	}
	*r = (struct region){ .world = t->world,
			      .tree = t,
			      .first = first,
			      .last = last,
			      .page = t->page,
			      .rights = rights,
			      .refs = 1,
			      .heap = place_random(&t->heap) };
	t->n++;
	return r;
}

struct region *region_ref(struct region *r)
{
	r->refs++;
	return r;
}

void region_unref(struct region *r)
{
	if (r && --r->refs == 0)
		r->world->free(r->world, r, sizeof(*r));
}

/* r has no children and is no one's child. */
static void die(struct region *r)
{
	r->tree->n--;
	r->tree = NULL;
	r->parent = NULL;
	region_unref(r);
}

/* r and all below it, from the leaves up; a guest may nest them deeply, so not by recursion. */
static void kill_all(struct region *r)
{
	struct region *n = r, *above;
	bool last;

	do {
		while (n->children)
			n = n->children;
		above = n->parent;
		last = n == r;
		if (above)
			erase(n);
		die(n);
		n = above;
	} while (!last);
}

int region_tree_init(struct region_tree *t, const struct world *w, uint64_t page, uint64_t first,
		     uint64_t last, struct taken maps, const uint64_t *seed)
{
	*t = (struct region_tree){ .world = w, .page = page, .maps = maps };
	if (!is_pow2(page) || page == 1 || first > last || !is_aligned(first | (last + 1), page))
		return fail(-EINVAL, "region: " RANGE " is not whole pages of %#" PRIx64, first,
			    last, page);
	if (seed) {
		t->random = *seed;
		t->seeded = true;
	}
	t->root = region_alloc(t, first, last, REGION_RIGHTS);
	return t->root ? 0 : -ENOMEM;
}

void region_tree_fini(struct region_tree *t)
{
	if (t->root)
		kill_all(t->root);
	t->root = NULL;
}

static int dead(const struct region *r)
{
	return fail(-EBUSY, "region: " RANGE " is dead", SPAN(r));
}

int region_may_destroy(const struct region *r)
{
	if (region_is_dead(r))
		return dead(r);
	if (!r->parent)
		return fail(-ENOTSUP, "region: the root lives as long as its space");
	return 0;
}

int region_destroy(struct region *r)
{
	int err = region_may_destroy(r);

	if (!err)
		kill_all(r);
	return err;
}

int region_set_priority(struct region *r, enum region_priority priority)
{
	if (priority != REGION_DEFAULT && priority != REGION_HIGH)
		return fail(-EINVAL, "region: there is no priority %d", (int)priority);
	if (region_is_dead(r))
		return dead(r);
	for (struct region *n = r; n; n = next_below(n, r))
		n->priority = priority;
	return 0;
}

/* ---- placement ---- */

/* The child or mapping in [first, last] that is lowest, as a sentence. 0: there is none. */
static int clash(const struct region *r, uint64_t first, uint64_t last, bool over_maps)
{
	const struct region *c = region_at_or_above(r, first);
	const struct taken *maps = &r->tree->maps;
	uint64_t a, b;

	if (c && c->first <= last)
		return fail(over_maps ? -EINVAL : -EEXIST,
			    "region: " RANGE " meets the region " RANGE, first, last, SPAN(c));
	if (!over_maps && maps->next(maps->arg, first, 1, &a, &b) && a <= last)
		return fail(-EEXIST, "region: " RANGE " meets the mapping " RANGE, first, last, a,
			    b);
	return 0;
}

int placement_check(const struct placement *p)
{
	if (p->flags & ~(uint32_t)(PLACE_AT | PLACE_BELOW | PLACE_COMPACT | PLACE_OVER) ||
	    (p->flags & PLACE_OVER && !(p->flags & PLACE_AT)))
		return fail(-EINVAL, "region: bad placement flags %#x", p->flags);
	if (p->align && (!is_pow2(p->align) || p->align < MIN_ALIGN || p->align > MAX_ALIGN))
		return fail(-EINVAL, "region: bad alignment %#" PRIx64, p->align);
	if (p->entropy > PLACE_MAX_BITS)
		return fail(-EINVAL, "region: %u bits of entropy are too many", p->entropy);
	return 0;
}

/* What can be said of the placement without looking at what stands in r. */
static int judge(const struct region *r, const struct placement *p, uint32_t rights)
{
	bool at = p->flags & PLACE_AT, below = p->flags & PLACE_BELOW, outside;
	uint64_t end = r->last - r->first; /* of r, from its start; the last byte */
	int err = placement_check(p);

	if (err)
		return err;
	if (region_is_dead(r))
		return dead(r);
	if (p->size == 0)
		return fail(-EINVAL, "region: nothing to place");
	if (rights & ~r->rights)
		return fail(-EACCES, "region: rights %#x in " RANGE ", which has %#x", rights,
			    SPAN(r), r->rights);
	if (at && below)
		return fail(-EINVAL, "region: both a place and a limit");
	if (!at && !below && p->offset)
		return fail(-EINVAL, "region: a place without a use: %#" PRIx64, p->offset);
	if (!is_aligned(p->offset | p->size, r->tree->page))
		return fail(-EINVAL, "region: %#" PRIx64 " bytes at %#" PRIx64 " are not whole pages",
			    p->size, r->first + p->offset);
	if ((at || below) && !(r->rights & REGION_SPECIFIC))
		return fail(-EACCES, "region: " RANGE " chooses its places itself", SPAN(r));
	if (below)
		outside = p->size > p->offset || p->offset - 1 > end;
	else
		outside = p->offset > end || p->size - 1 > end - p->offset;
	if (outside)
		return fail(-EINVAL,
			    "region: %#" PRIx64 " bytes %s %#" PRIx64 " are not inside " RANGE,
			    p->size, below ? "below" : "at", r->first + p->offset, SPAN(r));
	if (at && p->align && !is_aligned(r->first + p->offset, p->align))
		return fail(-EINVAL, "region: %#" PRIx64 " is not aligned to %#" PRIx64,
			    r->first + p->offset, p->align);
	return 0;
}

int region_place(struct region *r, const struct placement *p, uint32_t rights, uint64_t *first)
{
	unsigned bits = p->entropy;
	int err = judge(r, p, rights);

	if (err)
		return err;
	if (p->flags & PLACE_AT) {
		*first = r->first + p->offset;
		return clash(r, *first, *first + (p->size - 1), p->flags & PLACE_OVER);
	}

	struct taken by[] = { { next_child, r }, r->tree->maps };
	struct search s = { .by = by,
			    .n_by = 2,
			    .lo = r->first,
			    .hi = r->last,
			    .size = p->size,
			    .align = max_u64(p->align, r->tree->page) };

	if (p->flags & PLACE_BELOW)
		s.hi = r->first + (p->offset - 1);
	if (p->flags & PLACE_COMPACT && bits > COMPACT_BITS)
		bits = COMPACT_BITS;
	if (!place_search(&s, bits, r->tree->seeded ? &r->tree->random : NULL, first))
		return fail(-ENOSPC, "region: no room for %#" PRIx64 " bytes in " RANGE, p->size,
			    s.lo, s.hi);
	return 0;
}

int region_create(struct region *r, const struct placement *p, uint32_t rights,
		  struct region **child)
{
	struct region_tree *t = r->tree;
	uint64_t random = t ? t->random : 0, first;
	struct region *c;
	int err;

	if (rights & ~REGION_RIGHTS || p->flags & PLACE_OVER)
		return fail(-EINVAL, "region: bad rights %#x or flags %#x", rights, p->flags);
	err = region_place(r, p, rights, &first);
	if (err)
		return err;
	c = region_alloc(t, first, first + (p->size - 1), rights);
	if (!c) {
		t->random = random; /* nothing changed, not even what comes next */
		return -ENOMEM;
	}
	c->parent = r;
	c->space = r->space;
	c->priority = r->priority;
	insert(c);
	*child = region_ref(c);
	return 0;
}

/* ---- ranges ---- */

bool region_available(const struct region *r, uint64_t first, uint64_t last)
{
	const struct region *c;
	uint64_t a, b;

	if (region_is_dead(r) || first > last || first < r->first || last > r->last)
		return false;
	c = region_at_or_above(r, first);
	return !(c && c->first <= last) &&
	       !(r->tree->maps.next(r->tree->maps.arg, first, 1, &a, &b) && a <= last);
}

int region_range(const struct region *r, uint64_t first, uint64_t size, enum region_children how,
		 uint64_t *last)
{
	const struct region *c;

	/* A size that wraps when it is rounded up is 0, and no range. */
	if (!is_aligned(first, r->page) || !range_last(first, align_up(size, r->page), last))
		return fail(-EINVAL, "region: %#" PRIx64 " bytes at %#" PRIx64 " are no range",
			    size, first);
	if (first < r->first || *last > r->last)
		return fail(-EINVAL, "region: " RANGE " is not inside " RANGE, first, *last,
			    SPAN(r));
	if (region_is_dead(r))
		return dead(r);
	if (how == CHILDREN_ANY)
		return 0;
	/* Only the first and the last child that it touches can be cut. */
	c = region_at_or_above(r, first);
	if (c && c->first <= *last && c->first >= first && how == CHILDREN_WHOLE) {
		c = region_find(r, *last);
		if (!c || c->last <= *last)
			return 0;
	}
	if (c && c->first <= *last)
		return fail(-EINVAL, "region: " RANGE " %s the region " RANGE, first, *last,
			    how == CHILDREN_NONE ? "meets" : "cuts", SPAN(c));
	return 0;
}

void region_clear(struct region *r, uint64_t first, uint64_t last)
{
	struct region *c;

	while ((c = region_at_or_above(r, first)) && c->first <= last)
		kill_all(c);
}

/* ---- the walk ---- */

void region_walk_init(struct region_walk *w, struct region *top, uint64_t from, uint64_t last,
		      bool maps_only)
{
	*w = (struct region_walk){ .top = region_ref(top),
				   .from = from,
				   .last = last,
				   .maps_only = maps_only };
}

void region_walk_fini(struct region_walk *w)
{
	region_unref(w->top);
	w->top = NULL;
	w->done = true;
}

/* Has the walk not passed what starts here at this depth? */
static bool is_ahead(const struct region_walk *w, uint64_t first, size_t depth)
{
	return first > w->next || (first == w->next && depth >= w->depth);
}

/* All that starts below `addr` is behind, and so is what starts there above `depth`. */
static void pass(struct region_walk *w, uint64_t addr, size_t depth)
{
	w->next = addr;
	w->depth = depth;
}

/*
 * From the top down again at each step: nothing is remembered that a change could take away. `at`
 * is where the walk is, r the innermost region there so far.
 */
int region_walk_next(struct region_walk *w, struct region_item *item)
{
	struct region *r = w->top, *c;
	size_t depth = 1; /* of what is right in r */
	uint64_t at, a = 0, b = 0;

	if (w->done)
		return 0;
	if (region_is_dead(r))
		return dead(r);
	at = max_u64(max_u64(w->from, w->next), r->first);
	while (at <= min_u64(w->last, w->top->last)) {
		bool map = r->tree->maps.next(r->tree->maps.arg, at, 1, &a, &b) && a <= r->last;

		c = region_at_or_above(r, at);
		if (c && (!map || c->first <= a)) {
			if (c->first > w->last)
				break;
			if (is_ahead(w, c->first, depth)) {
				pass(w, c->first, depth + 1);
				if (!w->maps_only) {
					*item = (struct region_item){ c, false, SPAN(c), depth };
					return 1;
				}
			}
			at = max_u64(at, c->first);
			r = c;
			depth++;
			continue;
		}
		if (map && a > w->last)
			break;
		if (map && is_ahead(w, a, depth)) {
			*item = (struct region_item){ r, true, a, b, depth };
			w->done = b == UINT64_MAX;
			pass(w, b + 1, 0);
			return 1;
		}
		/* Past a mapping that came in behind the walk, or past all of r. */
		if (!map) {
			if (r == w->top)
				break;
			b = r->last;
			r = r->parent;
			depth--;
		}
		if (b == UINT64_MAX)
			break;
		at = b + 1;
	}
	w->done = true;
	return 0;
}
