// SPDX-License-Identifier: MIT
/*
 * stretch.c: the quick edit of a space over objects: what a change (change.c) does, in the same
 * order, for one stretch, without a plan and without allocating.
 *
 * The run that goes and the run that comes have at most three mappings each. Their objects are two
 * at most: that of the mapping that is cut or replaced, and that of what comes, which its new
 * neighbours share. So the backend is told under one hold of the former's family, which is also how
 * the edit passes who is installing there; and what is not there any more leaves in the same hold.
 */
#include <errno.h>

#include "object/look.h"
#include "space/vspace.h"

struct work {
	struct vms_space *s;
	struct tree_spot spot;
	struct quick q;
	struct quick_run run;
	struct rmap *made[4]; /* for what comes; those that are not linked were not needed */
	unsigned n_made;
	/* Of the mapping that is cut or replaced: */
	struct rmap *at;	/* NULL: none */
	uint32_t before, after; /* rights of the stretch; after 0: or nothing stands there */
	bool went;		/* its bytes are not shown there any more */
	struct rmap *old[3];	/* of the run that goes */
};

/* ---- Memory ---- */

static bool make(struct work *w, struct region *region, struct map *m)
{
	struct rmap *r;

	space_held(&w->s->space);
	r = rmap_take(w->s);
	if (!r)
		return false;
	rmap_init(r, w->s->mmu, region, m);
	m->rmap = r;
	w->made[w->n_made++] = r;
	return true;
}

static void drop(struct change *c, struct work *w, struct rmap *r)
{
	c->drop[c->n_drop++] = r->obj;
	space_held(&w->s->space);
	rmap_put(w->s, r);
}

static void drop_unused(struct change *c, struct work *w)
{
	for (unsigned i = 0; i < w->n_made; i++)
		if (!w->made[i]->linked)
			drop(c, w, w->made[i]);
}

/* ---- Prepare ---- */

/*
 * An rmap for m, whose own is that of the mapping it was cut from or joined to. Where m is what
 * comes and its neighbours, there is one that was made for what comes alone.
 */
static bool make_fitting(struct work *w, struct map *m)
{
	if (!w->q.fresh || m->start > w->q.first || m->last < w->q.last)
		return make(w, m->rmap->region, m);
	rmap_set_bounds(w->made[0], m);
	m->rmap = w->made[0];
	return true;
}

/* What comes gets rmaps that fit. 0 or -ENOMEM. */
static int prepare(struct vms_space *s, struct work *w, uint64_t first, uint64_t last,
		   const struct map *mid, bool fresh) REQUIRES(s->space.lock)
{
	int err = quick_prepare(&w->q, &s->space, &w->spot, first, last, mid, fresh);

	if (err)
		return err;
	quick_make_run(&w->q, &w->run);
	for (unsigned i = 0; i < w->run.n_cur; i++) {
		struct map *m = &w->run.cur[i];

		if (!rmap_fits(m->rmap, m) && !make_fitting(w, m))
			return -ENOMEM;
	}
	for (unsigned i = 0; i < w->run.n_old; i++)
		w->old[i] = w->run.old[i]->rmap;
	w->at = w->q.old ? w->spot.at->rmap : NULL;
	w->before = w->q.old ? w->spot.at->prot : 0;
	w->after = mid ? mid->prot : 0;
	w->went = fresh || !mid;
	return 0;
}

/* ---- Commit ---- */

/* All that come are of one object, but for the pieces of what is cut. */
static void link_made(struct work *w)
{
	for (unsigned i = 0; i < w->run.n_cur; i++)
		if (!w->run.cur[i].rmap->linked)
			rmap_link(w->run.cur[i].rmap);
}

static bool stays(const struct work *w, const struct rmap *r)
{
	for (unsigned i = 0; i < w->run.n_cur; i++)
		if (w->run.cur[i].rmap == r)
			return true;
	return false;
}

/* Those whose family is this. */
static void unlink_old(struct change *c, struct work *w, const struct content *content)
	REQUIRES(content->family->lock)
{
	for (unsigned i = 0; i < w->run.n_old; i++) {
		struct rmap *r = w->old[i];

		if (!r || r->content->family != content->family || stays(w, r))
			continue;
		family_held(r->content);
		rmap_unlink_locked(r);
		drop(c, w, r);
		w->old[i] = NULL;
	}
}

/* The backend loses what it must, and rmaps of what went leave. */
static void take_away(struct change *c, struct work *w)
{
	uint32_t after = w->went ? 0 : w->after;
	const struct content *content;

	if (w->at && (rights_matter(w->before, after) || !stays(w, w->at))) {
		content = w->at->content;
		lock_take(&content->family->lock);
		change_rights(w->s->mmu, w->q.first, w->q.last, w->before, after);
		unlink_old(c, w, content);
		lock_drop(&content->family->lock);
	}
	for (unsigned i = 0; i < w->run.n_old; i++) {
		if (!w->old[i] || stays(w, w->old[i]))
			continue;
		content = w->old[i]->content;
		lock_take(&content->family->lock);
		unlink_old(c, w, content);
		lock_drop(&content->family->lock);
	}
}

static void commit(struct change *c, struct work *w)
{
	link_made(w);
	quick_commit_run(&w->q, &w->run);
	take_away(c, w);
	drop_unused(c, w);
}

static int finish(struct change *c, struct work *w, int err)
{
	if (err)
		drop_unused(c, w);
	else
		commit(c, w);
	return err;
}

/* ---- The three edits ---- */

static void begin(struct work *w, struct vms_space *s)
{
	w->s = s;
	w->n_made = 0;
}

int stretch_map(struct change *c, struct vms_space *s, struct region *region, struct map *m)
{
	struct work w;

	begin(&w, s);
	space_spot(&s->space, m->start, &w.spot);
	if (!make(&w, region, m))
		return -ENOMEM;
	return finish(c, &w, prepare(s, &w, m->start, m->last, m, /* fresh = */ true));
}

int stretch_unmap(struct change *c, struct vms_space *s, uint64_t first, uint64_t last)
{
	struct work w;

	begin(&w, s);
	space_spot(&s->space, first, &w.spot);
	return finish(c, &w, prepare(s, &w, first, last, NULL, /* fresh = */ false));
}

int stretch_protect(struct change *c, struct vms_space *s, const struct tree_spot *spot,
		    uint64_t first, uint64_t last, uint32_t prot)
{
	struct map mid = map_cut(spot->at, first, last);
	struct work w;

	begin(&w, s);
	w.spot = *spot;
	mid.prot = (uint8_t)prot;
	return finish(c, &w, prepare(s, &w, first, last, &mid, /* fresh = */ false));
}
