// SPDX-License-Identifier: MIT
/*
 * space.c: random edits on a space, against a model that is too simple to be wrong.
 *
 * The model is one array of pages. A page knows what it shows and whether a mapping starts at it;
 * the list of mappings is read off the array. An edit of the model changes the pages of its ranges
 * and marks them; then every boundary next to a marked page is looked at, from left to right, and
 * taken away if the rule lets the two mappings become one.
 *
 * After each edit: the list of mappings, the counts, the references, the events (replayed on the
 * old pages they give the new ones, and none could be left out), gap search in both directions
 * against a walk over the pages, finds, and the validators of plan, tree and space.
 *
 *
 * In every other round the space has a host that keeps some of its regions apart, whatever we
 * merge: those seams must stand afterwards, and the host must be asked of each that mattered.
 *
 *	model-space [--steps N] [--seed S] [--pages P]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/epoch.h"
#include "mmu/backend.h"
#include "model.h"
#include "model_memory.h"
#include "object/object.h"
#include "space/quick.h"

#define PAGE	  UINT64_C(4096)
#define MAX_PAGES 512
#define OBJECTS	  4
#define CHANGES	  4

#define GUARDED 0x2u /* flags: placement leaves room below */

struct page {
	struct map map; /* of this page alone: off, rights and so on; start and last unused */
	bool used;
	bool first; /* a mapping starts here; also set on unused pages, where it means nothing */
	bool touched, fresh;
};

struct change {
	enum { UNMAP, MAP, UPDATE } kind;
	uint64_t from, to; /* pages, both included */
	struct map map;	   /* MAP: what to put there */
	unsigned what;	   /* UPDATE: which field */
	uint64_t value;
};

static uint64_t n_pages = 128, base;
static struct page model[MAX_PAGES], before[MAX_PAGES];
static struct vms_object *object[OBJECTS];
static struct space space;
static uint64_t quick, moves; /* edits without a plan */

/* ---- tools ---- */

/* What die() shows: the pages as the model has them. */
static void picture(void)
{
	for (uint64_t i = 0; i < n_pages; i++)
		fputc(!model[i].used ? '.' : model[i].first ? '[' : '=', stderr);
	fprintf(stderr, " %" PRIu64 " pages\n", n_pages);
}

static const struct world counting = { .alloc = model_alloc, .free = model_free };

/* ---- the face's rules ---- */

static bool may_merge(const struct map *left, const struct map *right)
{
	/* Something that depends on both, on the ident, and not symmetrically. */
	return !left->inherited || right->inherited || left->ident == right->ident;
}

static uint32_t classes(const struct map *m)
{
	return 1u | (m->prot & 2u) | (m->flags & GUARDED ? 4u : 0u) | (m->obj ? 0x80u : 0u);
}

static uint64_t guard_pages = 3;

static uint64_t guard(const struct map *m, const void *arg)
{
	return m->flags & GUARDED ? *(const uint64_t *)arg * PAGE : 0;
}

static const struct map_rules rules = {
	.may_merge = may_merge, .classes = classes, .guard = guard, .arg = &guard_pages};

/* ---- the model ---- */

static uint64_t region_start(uint64_t i)
{
	while (!model[i].first)
		i--;
	return i;
}

static uint64_t region_end(uint64_t i)
{
	while (i + 1 < n_pages && model[i + 1].used && !model[i + 1].first)
		i++;
	return i;
}

static struct map region(uint64_t start)
{
	struct map m = model[start].map;

	m.start = base + start * PAGE;
	m.last = base + region_end(start) * PAGE + (PAGE - 1);
	return m;
}

static bool same_view(const struct map *a, const struct map *b)
{
	return a->obj == b->obj && a->off == b->off && a->flags == b->flags && a->prot == b->prot &&
	       a->ceiling == b->ceiling;
}

static bool same_identity(const struct map *a, const struct map *b)
{
	return a->ident == b->ident && a->inherited == b->inherited;
}

static bool naive_mergeable(const struct map *l, const struct map *r)
{
	uint64_t len = r->start - l->start;

	return l->obj == r->obj && l->off + len == r->off && l->flags == r->flags &&
	       l->prot == r->prot && l->ceiling == r->ceiling &&
	       (l->ident == r->ident || !l->ident || !r->ident) && may_merge(l, r);
}

static void apply_update(const struct change *c, struct map *m)
{
	switch (c->what) {
	case 0:
		m->prot = (uint8_t)(c->value & 7);
		break;
	case 1:
		m->flags = (uint32_t)(c->value & 3);
		break;
	case 2:
		m->ident = c->value % 3;
		m->inherited = m->ident ? (c->value >> 4) & 1 : 0;
		break;
	case 3:
		m->ceiling = (uint8_t)(c->value & 1 ? 7 : 5);
		break;
	case 4: /* another object, the offset moves along */
		m->obj = object[c->value % OBJECTS];
		m->off += (c->value >> 8) % 3 * PAGE;
		break;
	default: /* touches, and changes nothing */
		break;
	}
}

static void model_change(const struct change *c)
{
	for (uint64_t i = c->from; i <= c->to; i++) {
		struct page *p = &model[i];

		switch (c->kind) {
		case UNMAP:
			p->used = false;
			break;
		case MAP:
			p->used = true;
			p->map = c->map;
			p->map.off += (i - c->from) * PAGE;
			p->first = false;
			p->fresh = true;
			p->touched = true;
			break;
		case UPDATE:
			if (p->used)
				apply_update(c, &p->map);
			p->touched = p->used;
			break;
		}
		if (!p->used) {
			p->touched = p->fresh = false;
			p->first = true;
		}
	}
	model[c->from].first = true;
	if (c->to + 1 < n_pages)
		model[c->to + 1].first = true;
}

/* Seams of pages from keep_from to keep_to stay. */
static void model_merge(uint64_t keep_from, uint64_t keep_to)
{
	for (uint64_t i = 1; i < n_pages; i++) {
		uint64_t left, end;
		struct map l, r;

		if (!model[i].first || !model[i].used || !model[i - 1].used ||
		    !(model[i].touched || model[i - 1].touched) || (keep_from <= i && i <= keep_to))
			continue;
		left = region_start(i - 1);
		end = region_end(i);
		l = region(left);
		r = region(i);
		if (!naive_mergeable(&l, &r))
			continue;
		model[i].first = false;
		if (!l.ident)
			l = r;
		for (uint64_t k = left; k <= end; k++) {
			model[k].map.ident = l.ident;
			model[k].map.inherited = l.inherited;
		}
	}
}

/* ---- a host that has its own opinion of regions ---- */

static bool asked[MAX_PAGES], apart[MAX_PAGES];
static uint64_t n_apart;

static bool host_seam(struct vms_mmu *mmu, uint64_t addr, uint64_t *end)
{
	uint64_t i = (addr - base) / PAGE;

	asked[i] = true;
	*end = addr;
	apart[i] = rnd(3) == 0;
	n_apart += apart[i];
	return apart[i];
}

static const struct backend_ops host_ops = {.caps = BACKEND_SEAMS, .seam = host_seam};
static struct vms_mmu host = {.ops = &host_ops};

/* What the host kept apart is apart. A merge of what stood side by side must have been asked of. */
static void model_part(void)
{
	for (uint64_t i = 1; i < n_pages; i++) {
		bool merged = model[i].used && model[i - 1].used && !model[i].first;

		if (space.mmu && merged && before[i].used && before[i - 1].used &&
		    before[i].first && !model[i].fresh && !model[i - 1].fresh && !asked[i])
			die("the host was not asked of the seam at page %" PRIu64, i);
		if (apart[i])
			model[i].first = true;
	}
}

/* ---- an edit ---- */

static struct change random_change(void)
{
	struct change c = {.kind = rnd(16) < 4 ? UNMAP : rnd(12) < 6 ? MAP : UPDATE};
	uint64_t len = rnd(4) ? 1 + rnd(6) : 1 + rnd(n_pages);

	c.from = rnd(n_pages);
	c.to = c.from + len - 1 < n_pages ? c.from + len - 1 : n_pages - 1;
	if (rnd(20) == 0)
		c.from = 0;
	if (rnd(20) == 0)
		c.to = n_pages - 1;
	c.what = (unsigned)rnd(6);
	c.value = rnd(UINT64_C(1) << 40);
	if (rnd(3)) { /* likely to be equal to its neighbours */
		c.map.obj = object[rnd(2)];
		c.map.off = UINT64_C(0x100000) + c.from * PAGE;
		c.map.prot = rnd(3) ? 3 : 1;
		c.map.ceiling = 7;
		c.map.ident = rnd(3);
	} else {
		c.map.obj = object[rnd(OBJECTS)];
		c.map.off = rnd(8) * PAGE - 4 * PAGE; /* wraps at times */
		c.map.prot = (uint8_t)rnd(8);
		c.map.ceiling = rnd(2) ? 7 : 5;
		c.map.flags = (uint32_t)rnd(4);
		c.map.ident = rnd(4);
	}
	c.map.inherited = c.map.ident ? rnd(2) : 0;
	return c;
}

static void update_fn(struct map *m, void *arg)
{
	apply_update(arg, m);
}

static int edit_change(struct edit *e, struct change *c)
{
	uint64_t first = base + c->from * PAGE, last = base + c->to * PAGE + (PAGE - 1);
	struct map m = c->map;

	switch (c->kind) {
	case UNMAP:
		return edit_unmap(e, first, last);
	case MAP:
		m.start = first;
		m.last = last;
		m.mark = (uint8_t)rnd(8); /* of no meaning to the planner */
		return edit_map(e, &m);
	case UPDATE:
		return edit_update(e, first, last, update_fn, c);
	}
	return -1;
}

/* ---- comparing ---- */

static void check_list(void) REQUIRES(space.lock)
{
	static struct map got[MAX_PAGES];
	uint64_t last = base + n_pages * PAGE - 1, refs[OBJECTS] = {0};
	size_t n = tree_copy(&space.tree, base, last, got, MAX_PAGES), at = 0;
	struct map_counts sum = {0};

	for (uint64_t i = 0; i < n_pages; i = region_end(i) + 1) {
		struct map want;

		while (i < n_pages && !model[i].used)
			i++;
		if (i == n_pages)
			break;
		want = region(i);
		if (at == n)
			die("a mapping is missing at page %" PRIu64, i);
		if (got[at].start != want.start || got[at].last != want.last ||
		    !same_view(&got[at], &want) || !same_identity(&got[at], &want))
			die("mapping %zu is %#" PRIx64 "-%#" PRIx64 " ident %" PRIu64
			    ", the model has %#" PRIx64 "-%#" PRIx64 " ident %" PRIu64,
			    at, got[at].start, got[at].last, got[at].ident, want.start, want.last,
			    want.ident);
		at++;
		sum.n++;
		for (unsigned k = 0; k < MAP_CLASSES; k++)
			if (classes(&want) >> k & 1)
				sum.bytes[k] += want.last - want.start + 1;
		for (unsigned k = 0; k < OBJECTS; k++)
			refs[k] += want.obj == object[k];
	}
	if (at != n || n != space.tree.n)
		die("%zu mappings, the model has %zu, the tree says %zu", n, at, space.tree.n);
	if (memcmp(&sum, &space.counts, sizeof(sum)))
		die("the counts differ");
	for (unsigned k = 0; k < OBJECTS; k++)
		if (object[k] && atomic_load(&object[k]->refs) != 1 + refs[k])
			die("object %u has %u references, the model %" PRIu64, k,
			    atomic_load(&object[k]->refs), 1 + refs[k]);
}

/* Without the lock, as nobody changes anything, the same is found. */
static void check_read(uint64_t addr, bool has, const struct map *want)
{
	enum tree_look found;
	struct map m;
	uint64_t seq;

	if (!space.tree.readers)
		return;
	if (!epoch_enter())
		die("no epoch section");
	found = tree_read(&space.tree, addr, &m, &seq);
	epoch_leave();
	if (found != (has ? TREE_FOUND : TREE_NONE) || seq != tree_seq(&space.tree))
		die("read %#" PRIx64 ": %d", addr, (int)found);
	if (has && !map_equal(&m, want))
		die("read %#" PRIx64 ": got %#" PRIx64, addr, m.start);
}

static void check_find(void) REQUIRES(space.lock)
{
	uint64_t i = rnd(n_pages), addr = base + i * PAGE + rnd(PAGE), k;
	struct map m, want;
	bool has;

	for (k = i; k < n_pages && !model[k].used; k++)
		;
	has = space_find(&space, addr, &m);
	if (has != (k < n_pages))
		die("find %#" PRIx64 ": %d", addr, has);
	if (has) {
		want = region(region_start(k));
		if (want.start != m.start || want.last != m.last)
			die("find %#" PRIx64 ": got %#" PRIx64, addr, m.start);
	}
	check_read(addr, has, &m);
	/* The last that starts below addr: page i itself counts if addr is not its first byte. */
	k = i + (addr != base + i * PAGE);
	while (k > 0 && !(model[k - 1].used && model[k - 1].first))
		k--;
	has = space_find_below(&space, addr, &m);
	if (has != (k > 0))
		die("find below %#" PRIx64 ": %d", addr, has);
	if (has && m.start != base + (k - 1) * PAGE)
		die("find below %#" PRIx64 ": got %#" PRIx64, addr, m.start);
}

/* The pages that placement may use, as runs of bytes, each clipped to [lo, hi]. */
static void check_gaps(void)
{
	bool usable[MAX_PAGES];
	uint64_t lo = base, hi = base + n_pages * PAGE - 1,
		 len = (1 + rnd(rnd(4) ? 8 : n_pages)) * PAGE;
	uint64_t low = 0, high = 0, got;
	bool found = false, has;

	if (rnd(2)) {
		lo += rnd(n_pages) * PAGE;
		hi -= rnd(n_pages) * PAGE;
	}
	if (rnd(8) == 0) { /* any byte will do */
		lo += rnd(PAGE);
		hi -= rnd(PAGE);
		len -= rnd(PAGE);
	}
	if (rnd(50) == 0)
		lo = 0;
	if (rnd(50) == 0)
		hi = UINT64_MAX;

	for (uint64_t i = 0; i < n_pages; i++)
		usable[i] = !model[i].used;
	for (uint64_t i = 0; i < n_pages; i++) {
		if (!model[i].used || !model[i].first || !(model[i].map.flags & GUARDED))
			continue;
		for (uint64_t k = 1; k <= guard_pages && k <= i && !model[i - k].used; k++)
			usable[i - k] = false;
	}
	for (uint64_t i = 0, end; i < n_pages; i = end + 1) {
		uint64_t from, to;

		for (end = i; end + 1 < n_pages && usable[end] == usable[end + 1]; end++)
			;
		if (!usable[i])
			continue;
		/* A run ends where a guard begins below a mapping, or at one. */
		from = base + i * PAGE;
		to = base + end * PAGE + (PAGE - 1);
		from = from > lo ? from : lo;
		to = to < hi ? to : hi;
		if (from > to || to - from < len - 1)
			continue;
		if (!found)
			low = from;
		high = to - (len - 1);
		found = true;
	}

	has = tree_gap_down(&space.tree, lo, hi, len, &got);
	if (has != found || (has && got != high))
		die("gap down %#" PRIx64 " in [%#" PRIx64 ", %#" PRIx64 "]: %d %#" PRIx64
		    ", the model has %d %#" PRIx64,
		    len, lo, hi, has, has ? got : 0, found, high);
	has = tree_gap_up(&space.tree, lo, hi, len, &got);
	if (has != found || (has && got != low))
		die("gap up %#" PRIx64 " in [%#" PRIx64 ", %#" PRIx64 "]: %d %#" PRIx64
		    ", the model has %d %#" PRIx64,
		    len, lo, hi, has, has ? got : 0, found, low);
}

static bool page_equals(const struct page *p, const struct map *m, uint64_t page)
{
	struct map want = *m;

	want.off += base + page * PAGE - m->start;
	return p->used && same_view(&p->map, &want);
}

static void page_set(struct page *p, const struct map *m, uint64_t page)
{
	p->used = true;
	p->map = *m;
	p->map.off += base + page * PAGE - m->start;
}

/* model: after the changes, with its fresh marks. before: the pages before the edit. */
static void check_events(const struct plan *plan)
{
	static struct page replay[MAX_PAGES];

	memcpy(replay, before, sizeof(replay));
	for (size_t i = 0; i < plan->n_ev; i++) {
		const struct plan_event *e = &plan->ev[i], *prev = i ? e - 1 : NULL;
		const struct map *m = e->kind == PLAN_WENT ? &e->before : &e->after;

		if (e->kind == PLAN_CHANGED &&
		    (e->before.start != e->after.start || e->before.last != e->after.last))
			die("event %zu changes a range into another", i);
		if (prev && prev->kind == e->kind &&
		    (e->kind == PLAN_APPEARED || map_continues(&prev->before, &e->before)) &&
		    (e->kind == PLAN_WENT || map_continues(&prev->after, &e->after)))
			die("event %zu continues the one before it", i);
		for (uint64_t k = (m->start - base) / PAGE; k <= (m->last - base) / PAGE; k++) {
			struct page *p = &replay[k];

			switch (e->kind) {
			case PLAN_WENT:
				if (!page_equals(p, &e->before, k))
					die("event %zu: WENT at page %" PRIu64 ": not there", i, k);
				if (model[k].used && !model[k].fresh)
					die("event %zu: page %" PRIu64 " did not go", i, k);
				p->used = false;
				break;
			case PLAN_APPEARED:
				if (p->used || !model[k].fresh)
					die("event %zu: page %" PRIu64 " did not appear", i, k);
				page_set(p, &e->after, k);
				break;
			case PLAN_CHANGED:
				if (!page_equals(p, &e->before, k) || model[k].fresh)
					die("event %zu: CHANGED at page %" PRIu64, i, k);
				if (page_equals(p, &e->after, k))
					die("event %zu: page %" PRIu64 " did not change", i, k);
				page_set(p, &e->after, k);
				break;
			}
		}
	}
	for (uint64_t k = 0; k < n_pages; k++) {
		if (replay[k].used != model[k].used ||
		    (replay[k].used && !same_view(&replay[k].map, &model[k].map)))
			die("the events do not lead to page %" PRIu64, k);
	}
}

static void check_valid(const char *broken)
{
	if (broken)
		die("%s", broken);
}

/* ---- one step ---- */

/* A change that the quick edit likes: of one mapping, whole or in part, or of a hole. */
static struct change random_near(void)
{
	struct change c = random_change();
	uint64_t i = rnd(n_pages), a = region_start(i), b = region_end(i);

	c.from = rnd(3) ? a : a + rnd(b - a + 1);
	c.to = rnd(3) ? b : c.from + rnd(b - c.from + 1);
	if (rnd(2)) /* as random_change: it may continue its neighbours */
		c.map.off = UINT64_C(0x100000) + c.from * PAGE;
	return c;
}

/* False: the quick edit does not fit, and nothing happened. */
static bool quick_step(struct change *c) REQUIRES(space.lock)
{
	uint64_t first = base + c->from * PAGE, last = base + c->to * PAGE + (PAGE - 1);
	struct tree_spot spot;
	struct quick q;
	struct map m;
	int err;

	space_spot(&space, first, &spot);
	if (c->kind == UPDATE) {
		if (!spot.at || spot.at->start > first || spot.at->last < last)
			return false;
		m = map_cut(spot.at, first, last);
		apply_update(c, &m);
	} else if (c->kind == MAP) {
		m = c->map;
		m.start = first;
		m.last = last;
	}
	err = quick_prepare(&q, &space, &spot, first, last, c->kind == UNMAP ? NULL : &m,
			    c->kind == MAP);
	if (err == QUICK_NOT)
		return false;
	if (err)
		die("quick_prepare failed");
	quick++;
	if (rnd(16) == 0)
		return true; /* nothing to undo */
	memset(asked, 0, sizeof(asked));
	memset(apart, 0, sizeof(apart));
	n_apart = 0;
	quick_commit(&q);
	if (q.n_after + n_apart != space.counts.n)
		die("the quick edit said %" PRIu64 " mappings, not %" PRIu64, q.n_after + n_apart,
		    space.counts.n);
	model_change(c);
	model_merge(UINT64_MAX, 0);
	model_part();
	return true;
}

/* A mapping or a part of it goes elsewhere: the first change unmaps it, the second maps. */
static bool move_step(struct change *from, struct change *to) REQUIRES(space.lock)
{
	uint64_t first = base + from->from * PAGE, last = base + from->to * PAGE + (PAGE - 1);
	struct map m = to->map;
	struct quick_move q;
	uint64_t n_after;
	int err;

	from->kind = UNMAP;
	to->kind = MAP;
	m.start = base + to->from * PAGE;
	m.last = base + to->to * PAGE + (PAGE - 1);
	err = quick_move_prepare(&q, &space, first, last, &m);
	if (err == QUICK_NOT)
		return false;
	if (err)
		die("quick_move_prepare failed");
	moves++;
	n_after = q.from.n_after + q.to.n_after - space.counts.n;
	if (rnd(16) == 0)
		return true; /* nothing to undo */
	memset(asked, 0, sizeof(asked));
	memset(apart, 0, sizeof(apart));
	n_apart = 0;
	quick_move_commit(&q);
	if (n_after + n_apart != space.counts.n)
		die("the quick move said %" PRIu64 " mappings, not %" PRIu64, n_after + n_apart,
		    space.counts.n);
	model_change(from);
	model_change(to);
	model_merge(UINT64_MAX, 0);
	model_part();
	return true;
}

static void planned_step(struct change *change, unsigned n) REQUIRES(space.lock)
{
	uint64_t keep_from = UINT64_MAX, keep_to = 0;
	bool abort = rnd(16) == 0;
	struct edit e;

	edit_init(&e, &space);
	if (rnd(8) == 0) {
		keep_from = rnd(n_pages);
		keep_to = keep_from + rnd(8);
		e.plan.keep_first = base + keep_from * PAGE;
		e.plan.keep_last = keep_to < n_pages ? base + keep_to * PAGE : UINT64_MAX;
	}
	for (unsigned i = 0; i < n; i++) {
		if (edit_change(&e, &change[i]))
			die("change %u failed", i);
		check_valid(plan_validate(&e.plan));
		model_change(&change[i]);
	}
	if (edit_prepare(&e))
		die("prepare failed");
	check_valid(plan_validate(&e.plan));
	check_events(&e.plan);
	if (abort) {
		edit_abort(&e);
		memcpy(model, before, sizeof(before[0]) * n_pages);
	} else {
		struct map_counts after = e.after;

		memset(asked, 0, sizeof(asked));
		memset(apart, 0, sizeof(apart));
		n_apart = 0;
		edit_commit(&e);
		edit_abort(&e); /* allowed, and nothing */
		after.n += n_apart;
		if (memcmp(&after, &space.counts, sizeof(after)))
			die("the counts are not what prepare said");
		model_merge(keep_from, keep_to);
		model_part();
	}
}

static void one_step(void) REQUIRES(space.lock)
{
	struct change change[CHANGES];
	unsigned n = rnd(3) ? 1 : 1 + (unsigned)rnd(CHANGES);
	bool near = rnd(4) == 0;

	memcpy(before, model, sizeof(before[0]) * n_pages);
	for (uint64_t i = 0; i < n_pages; i++)
		model[i].touched = model[i].fresh = false;
	if (near && rnd(3) == 0)
		n = 2;
	for (unsigned i = 0; i < n; i++)
		change[i] = i <= 1 && near ? random_near() : random_change();

	if (!near || !(n == 2 ? move_step(&change[0], &change[1]) : quick_step(&change[0])))
		planned_step(change, n);
	check_valid(space_validate(&space));
	check_list();
	check_find();
	check_gaps();
	check_gaps();
}

static void round_of(uint64_t steps, uint64_t where, uint64_t pages)
{
	n_pages = pages;
	base = where;
	guard_pages = rnd(4) ? rnd(5) : n_pages * 2;
	memset(model, 0, sizeof(model));
	for (uint64_t i = 0; i < n_pages; i++)
		model[i].first = true;
	for (unsigned k = 1; k < OBJECTS; k++)
		if (object_create(&counting, OBJECT_ANON, NULL, &object[k]))
			die("no object");
	atomic_store(&host.refs, 2); /* ours and the space's: it is never destroyed */
	if (space_init(&space, &counting, &rules, rnd(2) ? &host : NULL, base,
		       base + n_pages * PAGE - 1, PAGE))
		die("no space");
	if (rnd(2))
		tree_let_read(&space.tree);
	lock_take(&space.lock);
	for (uint64_t end = model_step + steps; model_step < end; model_step++)
		one_step();
	lock_drop(&space.lock);
	space_fini(&space);
	for (unsigned k = 1; k < OBJECTS; k++) {
		if (atomic_load(&object[k]->refs) != 1)
			die("object %u keeps references", k);
		object_unref(object[k]);
	}
	epoch_synchronize(); /* nodes wait for their readers */
	if (model_memory.bytes || model_memory.blocks)
		die("%" PRIu64 " bytes in %" PRIu64 " blocks were not freed", model_memory.bytes,
		    model_memory.blocks);
}

int main(int argc, char **argv)
{
	uint64_t steps = 200000, pages = 0;

	model_start("model-space", argc, argv, &steps);
	model_show = picture;
	pages = strtoull(model_option("pages", "0"), NULL, 0);
	if (pages > MAX_PAGES || pages == 1) {
		fprintf(stderr, "model-space: --pages must be from 2 to %d\n", MAX_PAGES);
		return 2;
	}
	printf("model-space: seed %" PRIu64 ", %" PRIu64 " steps\n", model_seed, steps);
	fflush(stdout);
	while (model_step < steps) {
		uint64_t n = pages ? pages : rnd(4) ? 64 + rnd(193) : 2 + rnd(16);
		uint64_t where = rnd(3) == 0   ? 0
				 : rnd(2) == 0 ? UINT64_MAX - n * PAGE + 1
					       : rnd(UINT64_C(1) << 35) * PAGE;

		round_of(steps - model_step < 5000 ? steps - model_step : 5000, where, n);
	}
	printf("model-space: %" PRIu64 " steps, %" PRIu64 " of them quick, %" PRIu64
	       " quick moves, no difference\n",
	       model_step, quick, moves);
	return 0;
}
