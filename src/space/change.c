// SPDX-License-Identifier: MIT
/*
 * change.c: one edit of a space over objects: tree, reverse map and backend, as one transaction.
 * The order of a commit, and why, is in vspace.h and rmap.h.
 *
 * The plan says which mappings go (old) and which come (cur). Each that comes needs an rmap of
 * exactly its bounds:
 *
 *	old	AAAAAAAAAAAABBBB	rmaps a, b
 *	cur	AAAA    AAAABBBB	unmap of the middle: two fresh ones; b fits still
 *	cur	AAAAaaaaAAAABBBB	protect of the middle: three fresh ones
 *	cur	aaaaaaaaaaaaBBBB	protect of all of A: a fits still
 *
 * Invariants, between prepare and commit:
 *	1 each mapping that comes has an rmap of its bounds: one of an old mapping of the same run,
 *	  or a fresh one; and no two have the same
 *	2 no fresh rmap is linked; all are on `fresh`, those that nobody needs too
 */
#include <errno.h>

#include "space/vspace.h"

/* Memory of rmaps that a space keeps: an edit of one stretch needs up to three. */
#define SPARE_RMAPS 16u

/* ---- Memory of rmaps ---- */

struct rmap *rmap_take(struct vms_space *s)
{
	const struct world *w = s->space.world;
	struct rmap *r = s->spare;

	if (!r)
		return w->alloc(w, sizeof(*r));
	s->spare = r->next;
	s->n_spare--;
	return r;
}

void rmap_put(struct vms_space *s, struct rmap *r)
{
	if (s->n_spare == SPARE_RMAPS) {
		s->space.world->free(s->space.world, r, sizeof(*r));
		return;
	}
	r->next = s->spare;
	s->spare = r;
	s->n_spare++;
}

static struct rmap *make_rmap(struct change *c, struct region *region, const struct map *m)
{
	struct rmap *r;

	space_held(&c->s->space);
	r = rmap_take(c->s);
	if (!r)
		return NULL;
	rmap_init(r, c->s->mmu, region, m);
	r->next = c->fresh;
	c->fresh = r;
	return r;
}

/* r is not linked any more, or never was. Its object is dropped at the end. */
static void drop_rmap(struct change *c, struct rmap *r)
{
	space_held(&c->s->space);
	if (c->n_drop == CHANGE_DROPS) {
		r->next = c->went;
		c->went = r;
		return;
	}
	c->drop[c->n_drop++] = r->obj;
	rmap_put(c->s, r);
}

/* ---- Planning ---- */

void change_begin(struct change *c, struct vms_space *s)
{
	c->s = s;
	c->fresh = c->went = NULL;
	c->n_drop = 0;
}

void change_plan(struct change *c)
{
	edit_init(&c->edit, &c->s->space);
}

void change_init(struct change *c, struct vms_space *s)
{
	change_begin(c, s);
	edit_init(&c->edit, &s->space);
}

int change_map(struct change *c, struct region *region, const struct map *m)
{
	struct map fresh = *m;

	fresh.rmap = make_rmap(c, region, m);
	return fresh.rmap ? edit_map(&c->edit, &fresh) : -ENOMEM;
}

int change_unmap(struct change *c, uint64_t first, uint64_t last)
{
	return edit_unmap(&c->edit, first, last);
}

int change_update(struct change *c, uint64_t first, uint64_t last,
		  void (*fn)(struct map *piece, void *arg), void *arg)
{
	return edit_update(&c->edit, first, last, fn, arg);
}

/*
 * A piece has the rmap of the mapping that it was cut from, or of the leftmost one that it was
 * joined from; that fits where its bounds are still the same.
 */
int change_prepare(struct change *c)
{
	struct plan *p = &c->edit.plan;
	int err = edit_prepare(&c->edit);

	for (size_t i = 0; i < p->n_win && !err; i++) {
		struct map *m = p->cur + p->win[i].cur_at;

		for (size_t k = 0; k < p->win[i].cur_n && !err; k++, m++) {
			if (rmap_fits(m->rmap, m))
				continue;
			m->rmap = make_rmap(c, m->rmap->region, m);
			err = m->rmap ? 0 : -ENOMEM;
		}
	}
	return err;
}

/* ---- The commit ---- */

static void link_fresh(const struct plan *p)
{
	for (size_t i = 0; i < p->n_win; i++) {
		const struct map *m = p->cur + p->win[i].cur_at;

		for (size_t k = 0; k < p->win[i].cur_n; k++, m++)
			if (!m->rmap->linked)
				rmap_link(m->rmap);
	}
}

/* Who was installing for one of the old mappings has finished when this returns. */
static void pass_old(const struct plan *p)
{
	const struct family *passed = NULL;

	for (size_t i = 0; i < p->n_win; i++) {
		const struct map *m = p->old + p->win[i].old_at;

		for (size_t k = 0; k < p->win[i].old_n; k++, m++) {
			if (m->rmap->content->family == passed)
				continue;
			rmap_pass(m->rmap);
			passed = m->rmap->content->family;
		}
	}
}

void change_rights(struct vms_mmu *mmu, uint64_t first, uint64_t last, uint32_t before,
		   uint32_t after)
{
	if (!rights_matter(before, after))
		return;
	if (after)
		entries_protect(mmu, first, last, after);
	else
		entries_unmap(mmu, first, last);
}

static void tell_backend(struct vms_mmu *mmu, const struct plan *p)
{
	for (size_t i = 0; i < p->n_ev; i++) {
		const struct map *before = &p->ev[i].before, *after = &p->ev[i].after;

		switch (p->ev[i].kind) {
		case PLAN_WENT:
			change_rights(mmu, before->start, before->last, before->prot, 0);
			break;
		case PLAN_CHANGED:
			change_rights(mmu, after->start, after->last, before->prot, after->prot);
			break;
		case PLAN_APPEARED:
			break; /* by faults */
		}
	}
}

/* An old mapping's rmap that fits still is in a mapping with the same start. */
static void unlink_went(struct change *c, const struct plan *p)
{
	for (size_t i = 0; i < p->n_win; i++) {
		const struct plan_window *w = &p->win[i];
		const struct map *old = p->old + w->old_at, *cur = p->cur + w->cur_at;
		size_t at = 0;

		for (size_t k = 0; k < w->old_n; k++, old++) {
			while (at < w->cur_n && cur[at].start < old->start)
				at++;
			if (at < w->cur_n && cur[at].rmap == old->rmap)
				continue;
			rmap_unlink(old->rmap);
			drop_rmap(c, old->rmap);
		}
	}
}

/* Those that were made and not needed: a neighbour was joined to them. */
static void drop_unused(struct change *c)
{
	struct rmap *r;

	while ((r = c->fresh)) {
		c->fresh = r->next;
		if (!r->linked)
			drop_rmap(c, r);
	}
}

void change_commit(struct change *c)
{
	const struct plan *p = &c->edit.plan;

	link_fresh(p);
	edit_splice(&c->edit);
	pass_old(p);
	tell_backend(c->s->mmu, p);
	unlink_went(c, p);
	drop_unused(c);
	edit_finish(&c->edit);
}

void change_abort(struct change *c)
{
	edit_abort(&c->edit);
	drop_unused(c);
}

void change_end(struct change *c)
{
	struct rmap *r;

	while (c->n_drop)
		object_unref(c->drop[--c->n_drop]);
	while ((r = c->went)) {
		c->went = r->next;
		rmap_free(c->s->space.world, r);
	}
}
