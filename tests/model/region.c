// SPDX-License-Identifier: MIT
/*
 * region.c: random regions and mappings, against an array of pages that says who owns each.
 *
 * The owner of a page is the innermost region there. A place in a region is free where all its
 * pages are that region's own and none is mapped. The window lies at one end of the 64-bit space,
 * by the seed. After each step the validator runs, and every page is asked for its owner.
 *
 *	model-region [--steps N] [--seed S]
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "space/region.h"

#define PAGE  UINT64_C(0x1000)
#define PAGES 96
#define MOST  64

static struct region *owner[PAGES]; /* the innermost region */
static unsigned mapped[PAGES];	    /* the mapping's number; 0: none */
static struct region *handle[MOST]; /* of live and of dead ones */
static struct region_tree tree;
static uint64_t base, choices, placements, made, dropped;
static unsigned map_number;

/* The library's own generator, which places regions too. */
static uint64_t some(uint64_t below)
{
	return place_random(&choices) % below;
}

static unsigned page_of(uint64_t addr)
{
	return (unsigned)((addr - base) / PAGE);
}

/* One mapping after the other, or, as is allowed, on over small gaps. */
static bool next_map(const void *arg, uint64_t from, uint64_t min, uint64_t *first, uint64_t *last)
{
	unsigned p = from < base ? 0 : page_of(from), q, gap;

	(void)arg;
	while (p < PAGES && !mapped[p])
		p++;
	if (p == PAGES)
		return false;
	while (p > 0 && mapped[p - 1] == mapped[p])
		p--;
	for (q = p; q + 1 < PAGES && mapped[q + 1] == mapped[p]; q++)
		;
	while (min > PAGE && model_step % 2) {
		for (gap = 1; q + gap < PAGES && !mapped[q + gap]; gap++)
			;
		if (q + gap == PAGES || (gap - 1) * PAGE >= min)
			break;
		q += gap;
	}
	*first = base + p * PAGE;
	*last = base + q * PAGE + (PAGE - 1);
	return true;
}

static bool is_free(const struct region *r, unsigned p, unsigned n)
{
	for (unsigned i = p; i < p + n; i++)
		if (i >= PAGES || owner[i] != r || mapped[i])
			return false;
	return true;
}

/* Is the answer right: err, and where it is 0, page `got`? */
static void judge(const struct region *r, const struct placement *q, int err, uint64_t first)
{
	unsigned n = (unsigned)(q->size / PAGE), lo = page_of(r->first), hi = page_of(r->last) + 1;
	unsigned lowest = PAGES, got = err ? PAGES : page_of(first);
	uint64_t align = q->align > PAGE ? q->align : PAGE;

	if (q->flags & PLACE_AT) {
		if (err != (is_free(r, lo + page_of(base + q->offset), n) ? 0 : -EEXIST))
			die("wrong answer for a place that was asked for");
		if (!err && first != r->first + q->offset)
			die("not where it was asked for");
		return;
	}
	if (q->flags & PLACE_BELOW)
		hi = lo + page_of(base + q->offset);
	for (unsigned p = lo; p + n <= hi; p++) {
		if (!is_free(r, p, n) || (base + p * PAGE) % align)
			continue;
		if (lowest == PAGES)
			lowest = p;
		if (q->entropy && p == got)
			return;
	}
	if (err != (lowest < PAGES ? 0 : -ENOSPC))
		die("wrong about whether there is room");
	if (got != lowest)
		die(q->entropy ? "placed where it may not be" : "not the lowest place");
}

static void place(struct region *r)
{
	unsigned size = page_of(r->last) - page_of(r->first) + 1, flags = (unsigned)some(3);
	struct placement q = { .flags = flags, .size = (1 + some(size)) * PAGE };
	unsigned n, first_page;
	struct region *c = NULL;
	unsigned h = (unsigned)some(MOST);
	uint64_t first = 0;
	bool map = some(3) == 0;
	int err;

	if (some(2) && q.size > 8 * PAGE)
		q.size = (1 + some(8)) * PAGE;
	n = (unsigned)(q.size / PAGE);
	if (flags & PLACE_AT)
		q.offset = some(size - n + 1) * PAGE;
	else if (flags & PLACE_BELOW)
		q.offset = (n + some(size - n + 1)) * PAGE;
	if (!(flags & PLACE_AT)) {
		q.align = some(2) ? 0 : PAGE << some(4);
		q.entropy = some(2) ? 0 : 1 + (unsigned)some(PLACE_MAX_BITS);
	}
	if (!map && handle[h])
		return;
	if (map)
		err = region_place(r, &q, 0, &first);
	else if (!(err = region_create(r, &q, r->rights, &c)))
		first = c->first;
	judge(r, &q, err, first);
	if (err)
		return;
	made++;
	if (map)
		map_number++;
	else
		handle[h] = c;
	first_page = page_of(first);
	for (unsigned p = first_page; p < first_page + n; p++) {
		if (map)
			mapped[p] = map_number;
		else
			owner[p] = c;
	}
}

static bool is_below(const struct region *r, const struct region *top)
{
	while (r && r != top)
		r = r->parent;
	return r != NULL;
}

/* All that r has in these pages goes, as the array sees it. */
static void forget(struct region *top, struct region *to, unsigned p, unsigned q)
{
	for (; p <= q; p++) {
		mapped[p] = 0;
		if (is_below(owner[p], top))
			owner[p] = to;
	}
}

static void destroy(struct region *r)
{
	struct region *parent = r->parent;

	if (!parent) {
		if (region_destroy(r) != -ENOTSUP)
			die("the root was destroyed");
		return;
	}
	forget(r, parent, page_of(r->first), page_of(r->last));
	if (region_destroy(r))
		die("a live region was not destroyed");
	dropped++;
}

/* Is a child of r in the pages, and is one cut? A child is above the owner and right below r. */
static void unmap(struct region *r)
{
	unsigned lo = page_of(r->first), size = page_of(r->last) - lo + 1;
	unsigned p = lo + (unsigned)some(size), q = p + (unsigned)some(lo + size - p);
	bool any = false, cut = false;
	uint64_t last;

	for (unsigned i = p; i <= q; i++) {
		const struct region *c = owner[i];

		while (c != r && c->parent != r)
			c = c->parent;
		any = any || c != r;
		cut = cut || (c != r && (page_of(c->first) < p || page_of(c->last) > q));
	}
	if (region_range(r, base + p * PAGE, (q - p + 1) * PAGE, CHILDREN_NONE, &last) !=
	    (any ? -EINVAL : 0))
		die("wrong about children in a range");
	if (region_range(r, base + p * PAGE, (q - p + 1) * PAGE, CHILDREN_WHOLE, &last) !=
	    (cut ? -EINVAL : 0))
		die("wrong about children that a range cuts");
	if (cut)
		return;
	for (unsigned i = p; i <= q; i++) {
		mapped[i] = 0;
		owner[i] = r;
	}
	region_clear(r, base + p * PAGE, last);
	/* A mapping cut in the middle is two. */
	map_number++;
	for (unsigned i = q + 1; q + 1 < PAGES && p > 0 && mapped[i] && mapped[i] == mapped[p - 1];) {
		unsigned old = mapped[i];

		for (; i < PAGES && mapped[i] == old; i++)
			mapped[i] = map_number;
		break;
	}
	dropped++;
}

/* The walk meets every region and mapping once, in order, and says whose each mapping is. */
static void walk(void)
{
	size_t regions = 1, maps = 0, want = 0, depth = 0;
	uint64_t first = 0;
	struct region_walk w;
	struct region_item item;

	for (unsigned p = 0; p < PAGES; p++)
		want += mapped[p] && (p == 0 || mapped[p - 1] != mapped[p]);
	region_walk_init(&w, tree.root, 0, UINT64_MAX, false);
	while (region_walk_next(&w, &item) == 1) {
		if (depth && (item.first < first || (item.first == first && item.depth <= depth)))
			die("the walk goes back");
		if (item.is_map && item.region != owner[page_of(item.first)])
			die("the walk is wrong about whose a mapping is");
		first = item.first;
		depth = item.depth;
		regions += !item.is_map;
		maps += item.is_map;
	}
	region_walk_fini(&w);
	if (regions != tree.n || maps != want)
		die("the walk missed something");
}

static void one(void)
{
	unsigned h = (unsigned)some(MOST);
	struct region *r = handle[h] ? handle[h] : tree.root;
	const char *wrong;

	if (region_is_dead(r)) {
		if (region_destroy(r) != -EBUSY)
			die("a dead region was destroyed");
		region_unref(r);
		handle[h] = NULL;
	} else if (some(3)) {
		place(r);
	} else if (some(3)) {
		unmap(r);
	} else {
		destroy(r);
	}
	wrong = region_validate(&tree);
	if (wrong)
		die("%s", wrong);
	for (unsigned p = 0; p < PAGES; p++)
		if (region_innermost(&tree, base + p * PAGE + some(PAGE)) != owner[p])
			die("wrong about whose a page is");
	if (model_step % 16 == 0)
		walk();
}

int main(int argc, char **argv)
{
	uint64_t steps = 100000;

	model_start("model-region", argc, argv, &steps);
	choices = placements = model_seed;
	base = model_seed % 2 ? UINT64_MAX - (PAGES * PAGE - 1) : 0;
	if (region_tree_init(&tree, &world_host, PAGE, base, base + (PAGES * PAGE - 1),
			     (struct taken){ next_map, NULL }, &placements))
		die("no tree");
	for (unsigned p = 0; p < PAGES; p++)
		owner[p] = tree.root;
	for (model_step = 0; model_step < steps; model_step++)
		one();
	region_tree_fini(&tree);
	for (unsigned h = 0; h < MOST; h++)
		region_unref(handle[h]);
	if (!made || !dropped)
		die("nothing was done");
	printf("model-region: %" PRIu64 " steps, %" PRIu64 " made, %" PRIu64 " dropped\n", steps,
	       made, dropped);
	return 0;
}
