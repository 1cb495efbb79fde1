// SPDX-License-Identifier: MIT
/*
 * space.c: the edit of a space, as one transaction, and what a space is made of.
 *
 *	plan		what will stand there		copies; may fail, nothing happened
 *	prepare		counts to check, nodes put by	may fail, nothing happened
 *	(host call)	the caller's; may fail, nothing happened
 *	commit		references, splice, counters	cannot fail
 *
 * Invariants
 *
 *	1. The tree is valid (tree.c) and every mapping lies inside the bounds, page aligned.
 *	2. counts are the sums over the tree's mappings.
 *	3. No mapping in the tree has a planner's mark.
 *	4. Each mapping in the tree holds one reference to its object, but where the face does
 *	   (map_rules.own_ident).
 */
#include "space/space.h"

#include <assert.h>
#include <string.h>

#include "base/range.h"
#include "base/trace.h"
#include "object/object.h"

int space_init(struct space *s, const struct world *w, const struct map_rules *rules,
	       struct vms_mmu *mmu, uint64_t first, uint64_t last, uint64_t page_size)
{
	lock_init(&s->lock, LOCK_SPACE, "space");
	s->world = w;
	s->rules = *rules;
	s->mmu = vms_mmu_ref(mmu);
	s->first = first;
	s->last = last;
	s->page_size = page_size;
	tree_init(&s->tree, w, &s->rules, first, last);
	memset(&s->counts, 0, sizeof(s->counts));
	s->edits = 0;
	s->splits = 0;
	s->merges = 0;
	return 0;
}

/* The mappings one after another, by address. */
static bool next_map(const struct tree *t, uint64_t *addr, bool *end, struct map *m)
{
	if (*end || !tree_find(t, *addr, m))
		return false;
	*end = m->last == UINT64_MAX;
	*addr = m->last + 1;
	return true;
}

void space_fini(struct space *s)
{
	uint64_t addr = 0;
	bool end = false;
	struct map m;

	while (!s->rules.own_ident && next_map(&s->tree, &addr, &end, &m))
		object_unref(m.obj);
	tree_fini(&s->tree);
	vms_mmu_unref(s->mmu);
	lock_fini(&s->lock);
}

/* ---- the edit ---- */

static size_t copy_from_tree(const void *arg, uint64_t first, uint64_t last, struct map *out,
			     size_t room)
{
	return tree_copy(arg, first, last, out, room);
}

static struct plan_source source(const struct space *s)
{
	return (struct plan_source){.copy = copy_from_tree, .arg = &s->tree};
}

void edit_init(struct edit *e, struct space *s)
{
	e->space = s;
	e->done = false;
	plan_init(&e->plan, s->world, &s->rules);
	e->plan.list_seams = s->mmu && (s->mmu->ops->caps & BACKEND_SEAMS);
}

int edit_unmap(struct edit *e, uint64_t first, uint64_t last)
{
	struct plan_source src = source(e->space);

	return plan_unmap(&e->plan, &src, first, last);
}

int edit_map(struct edit *e, const struct map *m)
{
	struct plan_source src = source(e->space);

	return plan_map(&e->plan, &src, m);
}

int edit_update(struct edit *e, uint64_t first, uint64_t last,
		void (*fn)(struct map *piece, void *arg), void *arg)
{
	struct plan_source src = source(e->space);

	return plan_update(&e->plan, &src, first, last, fn, arg);
}

/* The space's counts as they will be. */
static void sum_up(struct edit *e)
{
	const struct plan *p = &e->plan;

	e->after.n = e->space->counts.n + p->after.n - p->before.n;
	for (unsigned k = 0; k < MAP_CLASSES; k++)
		e->after.bytes[k] =
			e->space->counts.bytes[k] + p->after.bytes[k] - p->before.bytes[k];
}

int edit_prepare(struct edit *e)
{
	struct plan *p = &e->plan;
	size_t splices = 0, n_more = 0, n_in = 0;
	int err = plan_finish(p);

	if (err)
		return err;
	for (size_t i = 0; i < p->n_win; i++) {
		const struct plan_window *w = &p->win[i];

		splices += w->old_n || w->cur_n;
		n_in += w->cur_n;
		n_more += w->cur_n > w->old_n ? w->cur_n - w->old_n : 0;
	}
	/* What settle() may part again. A window whose run was empty may then have one. */
	if (p->n_seam) {
		splices = p->n_win;
		n_more += p->n_seam;
		n_in += p->n_seam;
	}
	err = tree_reserve(&e->space->tree, splices, n_more, n_in);
	if (err)
		return err;
	sum_up(e);
	return 0;
}

/*
 * The host may keep regions apart that we take for one: it alone knows which pages exist, and that
 * decides (Linux's anonymous identity). Where it can be asked, its regions are the truth.
 */
static void settle(struct edit *e)
{
	struct plan *p = &e->plan;
	uint64_t end = 0;
	size_t n = 0;

	/* A seam inside the region that was last told of is none. */
	for (size_t i = 0; i < p->n_seam; i++)
		if (p->seam[i] >= end && backend_seam(e->space->mmu, p->seam[i], &end))
			p->seam[n++] = p->seam[i];
	if (n) {
		plan_part(p, p->seam, n);
		sum_up(e);
	}
}

/* What a debugging person may want to see of an edit. */
static void trace(const struct space *s, const struct plan *p)
{
	size_t went = 0, came = 0;

	for (size_t i = 0; i < p->n_win; i++) {
		went += p->win[i].old_n;
		came += p->win[i].cur_n;
	}
	TRACE(edit_commit, (uintptr_t)s, went, came);
	for (size_t i = 0; i < p->n_ev; i++) {
		const struct map *before = &p->ev[i].before, *after = &p->ev[i].after;

		switch (p->ev[i].kind) {
		case PLAN_WENT:
			TRACE(unmap, before->start, before->last, before->prot);
			break;
		case PLAN_APPEARED:
			TRACE(map, after->start, after->last, after->prot);
			break;
		case PLAN_CHANGED:
			TRACE(change, after->start, after->last, after->prot);
			break;
		}
	}
	if (p->splits)
		TRACE(split, p->win[0].first, p->win[p->n_win - 1].last, p->splits);
	if (p->merges)
		TRACE(merge, p->win[0].first, p->win[p->n_win - 1].last, p->merges);
}

/* Mapping k of the run keeps the reference that the old mapping in its place held. */
static bool same_object(const struct plan *p, const struct plan_window *w, size_t k)
{
	return k < w->old_n && k < w->cur_n &&
	       p->old[w->old_at + k].obj == p->cur[w->cur_at + k].obj;
}

static void take_references(const struct plan *p)
{
	for (size_t i = 0; i < p->n_win; i++) {
		const struct plan_window *w = &p->win[i];

		for (size_t k = 0; k < w->cur_n; k++)
			if (!same_object(p, w, k) && p->cur[w->cur_at + k].obj)
				object_ref(p->cur[w->cur_at + k].obj);
	}
}

static void drop_references(const struct plan *p)
{
	for (size_t i = 0; i < p->n_win; i++) {
		const struct plan_window *w = &p->win[i];

		for (size_t k = 0; k < w->old_n; k++)
			if (!same_object(p, w, k))
				object_unref(p->old[w->old_at + k].obj);
	}
}

static void splice(struct tree *t, const struct plan *p)
{
	bool begun = tree_change_begin(t);

	for (size_t i = 0; i < p->n_win; i++) {
		const struct plan_window *w = &p->win[i];
		const struct map *old = p->old + w->old_at, *cur = p->cur + w->cur_at;
		uint64_t first = UINT64_MAX, last = 0;

		if (w->old_n) {
			first = old[0].start;
			last = old[w->old_n - 1].last;
		}
		if (w->cur_n) {
			first = min_u64(first, cur[0].start);
			last = max_u64(last, cur[w->cur_n - 1].last);
		}
		if (w->old_n || w->cur_n)
			tree_replace(t, first, last, cur, w->cur_n);
	}
	tree_change_end(t, begun);
	if (begun)
		tree_trim(t); /* else who began: it may call the host */
}

void edit_splice(struct edit *e)
{
	struct space *s = e->space;
	const struct plan *p = &e->plan;

	assert(p->finished && !e->done);
	settle(e);
	if (!s->rules.own_ident)
		take_references(p);
	splice(&s->tree, p);
	s->counts = e->after;
	s->edits++;
	s->splits += p->splits;
	s->merges += p->merges;
	trace(s, p);
	e->done = true;
}

void edit_finish(struct edit *e)
{
	/* Last: dropping an object may close its file. */
	if (!e->space->rules.own_ident)
		drop_references(&e->plan);
	plan_fini(&e->plan);
}

void edit_commit(struct edit *e)
{
	edit_splice(e);
	edit_finish(e);
}

void edit_abort(struct edit *e)
{
	if (e->done)
		return;
	TRACE(edit_abort, (uintptr_t)e->space, 0, 0);
	plan_fini(&e->plan);
	e->done = true;
}

/* ---- the validator ---- */

const char *space_validate(struct space *s)
{
	const char *broken = tree_validate(&s->tree);
	struct map_counts sum = {0};
	uint64_t addr = 0;
	bool end = false;
	struct map m;

	if (broken)
		return broken;
	while (next_map(&s->tree, &addr, &end, &m)) {
		if (m.start < s->first || m.last > s->last)
			return "space 1: a mapping outside the bounds";
		if (!is_aligned(m.start, s->page_size) || !is_aligned(m.last + 1, s->page_size))
			return "space 1: a mapping that is not page aligned";
		if (m.mark)
			return "space 3: a planner's mark in the tree";
		map_count(&s->rules, &sum, &m);
	}
	if (memcmp(&sum, &s->counts, sizeof(sum)))
		return "space 2: the counts are not the sums of the mappings";
	return NULL;
}
