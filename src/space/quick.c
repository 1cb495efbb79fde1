// SPDX-License-Identifier: MIT
/*
 * quick.c: the edit of one stretch, without a plan.
 *
 *	before	prev | ---- at ---- | next	at: the mapping that is cut, or none
 *	after	prev | left MID right | next	left, right: what is left of it
 *
 * Only the seams of MID are looked at, as the planner would: it may join the piece or neighbour on
 * each side, the left one first.
 *
 * A move is the edit of two such stretches. The mapping that is taken from and what it is put into
 * neither overlap nor touch, so neither edit changes what the other looked at.
 *
 * Invariant: with the joins taken back, the run that is replaced is [at] by [left MID right]; a
 * join with a neighbour takes the neighbour into the run. So what is reserved for the former is
 * enough.
 */
#include "space/quick.h"

#include <errno.h>

#include "base/trace.h"
#include "object/object.h"

static inline struct map left_piece(const struct quick *q)
{
	return map_cut(q->spot->at, q->spot->at->start, q->first - 1);
}

static inline struct map right_piece(const struct quick *q)
{
	return map_cut(q->spot->at, q->last + 1, q->spot->at->last);
}

/* The piece or mapping that MID meets below; NULL: none. A piece is cut into *cut. */
static const struct map *below(const struct quick *q, struct map *cut)
{
	if (!q->left)
		return q->spot->prev;
	*cut = left_piece(q);
	return cut;
}

static const struct map *above(const struct quick *q, struct map *cut)
{
	if (!q->right)
		return q->old ? q->spot->next : q->spot->at;
	*cut = right_piece(q);
	return cut;
}

int quick_prepare(struct quick *q, struct space *s, const struct tree_spot *spot,
		  uint64_t first, uint64_t last, const struct map *mid, bool fresh)
{
	const struct map *at = spot->at;
	const struct map *side, *joined = mid;
	struct map cut, sum;
	unsigned stay;

	q->space = s;
	q->spot = spot;
	q->fresh = fresh;
	q->mid = mid;
	q->old = at && at->start <= last;
	if (q->old && !mid) {
		first = max_u64(first, at->start);
		if (last > at->last && spot->next && spot->next->start <= last)
			return QUICK_NOT;
		last = min_u64(last, at->last);
	}
	if (q->old && (first < at->start || last > at->last))
		return QUICK_NOT;
	q->first = first;
	q->last = last;
	q->left = q->old && at->start < first;
	q->right = q->old && at->last > last;
	q->join_left = q->join_right = q->apart_left = q->apart_right = false;
	if (mid) {
		side = below(q, &cut);
		if (side && map_mergeable(&s->rules, side, mid)) {
			q->join_left = true;
			sum = *side;
			map_merge(&sum, mid);
			joined = &sum;
		}
		side = above(q, &cut);
		q->join_right = side && map_mergeable(&s->rules, joined, side);
	}
	stay = q->left + (mid != NULL) + q->right;
	q->n_after = s->counts.n + stay - q->old - q->join_left - q->join_right;
	q->more = stay > q->old ? stay - q->old : 0;
	return q->more || s->tree.readers ? tree_reserve(&s->tree, 1, q->more, 3) : 0;
}

/* A join that is not just a cut taken back. */
static bool merges_left(const struct quick *q)
{
	return q->join_left && (!q->left || q->fresh);
}

static bool merges_right(const struct quick *q)
{
	return q->join_right && (!q->right || q->fresh);
}

/* Where the host can be asked, its regions are the truth (see space.c). */
static void settle(struct quick *q)
{
	struct space *s = q->space;
	uint64_t end = 0;

	if (!s->mmu || !(s->mmu->ops->caps & BACKEND_SEAMS))
		return;
	q->apart_left = merges_left(q) && backend_seam(s->mmu, q->first, &end);
	/* A region that goes on has no seam there: one question is enough. */
	q->apart_right = merges_right(q) && end <= q->last + 1 &&
			 backend_seam(s->mmu, q->last + 1, &end);
}

void quick_make_run(const struct quick *q, struct quick_run *r)
{
	struct map *cur = r->cur, cut;

	r->n_old = 0;
	if (q->join_left && !q->left)
		r->old[r->n_old++] = q->spot->prev;
	if (q->old)
		r->old[r->n_old++] = q->spot->at;
	if (q->join_right && !q->right)
		r->old[r->n_old++] = above(q, &cut);

	if (q->left && !q->join_left)
		*cur++ = left_piece(q);
	if (q->mid) {
		/* Joined first, then parted as the host says: an identity spreads to all parts. */
		*cur = q->join_left ? *below(q, &cut) : *q->mid;
		if (q->join_left)
			map_merge(cur, q->mid);
		if (q->join_right)
			map_merge(cur, above(q, &cut));
		if (q->apart_left) {
			cur[1] = map_cut(cur, q->first, cur->last);
			*cur = map_cut(cur, cur->start, q->first - 1);
			cur++;
		}
		if (q->apart_right) {
			cur[1] = map_cut(cur, q->last + 1, cur->last);
			*cur = map_cut(cur, cur->start, q->last);
			cur++;
		}
		cur++;
	}
	if (q->right && !q->join_right)
		*cur++ = right_piece(q);
	r->n_cur = (unsigned)(cur - r->cur);
}

static void trace(const struct quick *q)
{
	if (q->old && (q->fresh || !q->mid))
		TRACE(unmap, q->first, q->last, q->spot->at->prot);
	if (q->mid && q->fresh)
		TRACE(map, q->first, q->last, q->mid->prot);
	else if (q->mid)
		TRACE(change, q->first, q->last, q->mid->prot);
}

/* One value for another: nothing of the tree's own changes. */
static bool is_swap(const struct quick *q)
{
	const struct map_rules *rules = &q->space->rules;

	return q->old && q->mid && !q->left && !q->right && !q->join_left && !q->join_right &&
	       (!rules->guard ||
		rules->guard(q->spot->at, rules->arg) == rules->guard(q->mid, rules->arg));
}

static void swap(struct quick *q, const struct map *mid)
{
	struct space *s = q->space;
	struct map *at = q->spot->at;
	struct vms_object *went = NULL;

	map_recount(&s->rules, &s->counts, at, mid);
	if (at->obj != mid->obj && !s->rules.own_ident) {
		went = at->obj;
		if (mid->obj)
			object_ref(mid->obj);
	}
	tree_set(&s->tree, at, mid);
	object_unref(went); /* last: it may close a file */
}

static void replace(struct quick *q, const struct quick_run *r)
{
	struct space *s = q->space;
	bool refs = !s->rules.own_ident;
	uint64_t lo = UINT64_MAX, hi = 0;
	struct vms_object *went[3];
	unsigned n_went = 0, splits, merges;

	if (q->mid && !q->fresh)
		splits = (q->left && !q->join_left) + (q->right && !q->join_right);
	else
		splits = q->left && q->right && !q->join_right;
	merges = (unsigned)(merges_left(q) + merges_right(q) - q->apart_left - q->apart_right);
	if (splits)
		TRACE(split, q->first, q->last, splits);
	if (merges)
		TRACE(merge, q->first, q->last, merges);
	s->splits += splits;
	s->merges += merges;

	for (unsigned i = 0; i < r->n_old; i++) {
		map_uncount(&s->rules, &s->counts, r->old[i]);
		if (refs && (i >= r->n_cur || r->old[i]->obj != r->cur[i].obj))
			went[n_went++] = r->old[i]->obj;
	}
	for (unsigned i = 0; i < r->n_cur; i++) {
		map_count(&s->rules, &s->counts, &r->cur[i]);
		if (refs && (i >= r->n_old || r->old[i]->obj != r->cur[i].obj) && r->cur[i].obj)
			object_ref(r->cur[i].obj);
	}
	if (r->n_old) {
		lo = r->old[0]->start;
		hi = r->old[r->n_old - 1]->last;
	}
	if (r->n_cur) {
		lo = min_u64(lo, r->cur[0].start);
		hi = max_u64(hi, r->cur[r->n_cur - 1].last);
	}
	if (lo <= hi)
		tree_replace(&s->tree, lo, hi, r->cur, r->n_cur);
	/* Last: dropping an object may close its file. */
	while (n_went)
		object_unref(went[--n_went]);
}

/* Everything but what is done once an edit. */
static void apply(struct quick *q)
{
	struct quick_run r;

	trace(q);
	if (is_swap(q)) {
		swap(q, q->mid);
		return;
	}
	settle(q);
	quick_make_run(q, &r);
	replace(q, &r);
}

void quick_commit(struct quick *q)
{
	struct space *s = q->space;

	TRACE(edit_commit, (uintptr_t)s, q->old, q->left + (q->mid != NULL) + q->right);
	s->edits++;
	apply(q);
	tree_trim(&s->tree);
}

void quick_commit_run(struct quick *q, const struct quick_run *run)
{
	struct space *s = q->space;

	TRACE(edit_commit, (uintptr_t)s, run->n_old, run->n_cur);
	s->edits++;
	trace(q);
	if (is_swap(q))
		swap(q, &run->cur[0]);
	else
		replace(q, run);
	tree_trim(&s->tree);
}

/* ---- a move ---- */

/* Does m reach or touch [first, last]? */
static bool meets(const struct map *m, uint64_t first, uint64_t last)
{
	return (first == 0 || m->last >= first - 1) && (m->start == 0 || m->start - 1 <= last);
}

int quick_move_prepare(struct quick_move *q, struct space *s, uint64_t first, uint64_t last,
		       const struct map *mid)
{
	int err;

	if (!space_spot(s, first, &q->from_spot) || q->from_spot.at->start > first ||
	    q->from_spot.at->last < last || meets(q->from_spot.at, mid->start, mid->last))
		return QUICK_NOT;
	space_spot(s, mid->start, &q->to_spot);
	err = quick_prepare(&q->from, s, &q->from_spot, first, last, NULL, /* fresh = */ false);
	if (!err)
		err = quick_prepare(&q->to, s, &q->to_spot, mid->start, mid->last, mid,
				    /* fresh = */ true);
	if (!err && ((q->from.more && q->to.more) || s->tree.readers))
		err = tree_reserve(&s->tree, 2, q->from.more + q->to.more, 6);
	return err;
}

/*
 * What comes first: it holds the object while the other lets it go. The mapping that is taken from
 * is none of those that it changes, but may lie elsewhere in the tree now.
 */
void quick_move_commit(struct quick_move *q)
{
	struct space *s = q->from.space;

	space_held(s);
	TRACE(edit_commit, (uintptr_t)s, q->from.old + q->to.old,
	      q->from.left + q->from.right + q->to.left + 1 + q->to.right);
	s->edits++;
	apply(&q->to);
	space_spot(s, q->from.first, &q->from_spot);
	apply(&q->from);
	tree_trim(&s->tree);
}
