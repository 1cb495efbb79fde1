// SPDX-License-Identifier: MIT
/*
 * supply.c: a pager's pages come in, and leave to write on them.
 *
 *	supply		frames move from the auxiliary object to ours: both families' locks, by
 *			rising address, with the gate of the auxiliary's closed before, so that
 *			nobody writes into a frame that is ours already
 *	filling		frames of our own, filled with no lock held, then put in place (by
 *			supply_bytes and the file pager):
 *
 *			grant [lock]	a frame for each page that is absent
 *			fill		by the caller
 *			commit [lock]	each goes in where the page is absent still
 *
 *	dirtied		marks, and frames for zero pages
 *
 * The first supply wins: what is there stays, and what was brought for it is given back.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/fail.h"
#include "base/trace.h"
#include "object/look.h"
#include "object/shown.h"
#include "object/source_int.h"

#define ROOM_TRIES 32u

/* ---- Common ---- */

int source_make_room(struct vms_arena *a, int err, uint64_t n, unsigned *tries)
{
	struct vms_arena_info info = { .size = sizeof(info) };
	uint64_t left;

	if (err != -EDQUOT)
		return err;
	arena_info(a, &info);
	left = info.limit > info.granted ? (info.limit - info.granted) >> arena_page_shift(a) : 0;
	if ((*tries)++ < ROOM_TRIES && (left >= n || arena_evict(a, n - left) > 0))
		return 0;
	return fail(-ENOMEM, "%" PRIu64 " pages pass the arena's limit of %" PRIu64 " bytes", n,
		    info.limit);
}

static int takes_pages(const struct source *s, uint64_t first, uint64_t n)
	REQUIRES(s->content->family->lock)
{
	int err = content_range_holds(s->content, first, n);

	if (!err && s->detached)
		err = fail(-EBUSY, "the object is detached from its pager");
	return err;
}

/* Class 1: the slots that are EMPTY. */
static unsigned absent(const struct source *s, slot_t slot, unsigned arg)
{
	return slot == SLOT_EMPTY;
}

/* ---- Filling ---- */

int filling_init(struct filling *f, struct source *s, uint64_t first, uint64_t n)
{
	*f = (struct filling){ .source = s, .first = first, .n = n };
	if (n > SIZE_MAX / sizeof(*f->frames))
		return fail(-ENOMEM, "%" PRIu64 " pages are too many at once", n);
	f->frames = s->world->alloc(s->world, n * sizeof(*f->frames));
	if (!f->frames)
		return fail(-ENOMEM, "no memory to bring %" PRIu64 " pages", n);
	memset(f->frames, 0, n * sizeof(*f->frames));
	return 0;
}

static void give_frames_back(struct filling *f)
{
	struct frame_batch freed;

	frame_batch_init(&freed, f->source->content->arena);
	for (uint64_t i = 0; i < f->n; i++) {
		if (f->frames[i] >= FRAME_FIRST) {
			frame_unref(&freed, f->frames[i]);
			f->frames[i] = FRAME_NONE;
		}
	}
	frame_batch_end(&freed);
}

void filling_fini(struct filling *f)
{
	const struct world *w = f->source->world;

	if (!f->frames)
		return;
	give_frames_back(f);
	w->free(w, f->frames, f->n * sizeof(*f->frames));
}

/* Frames for the absent pages of one run; those known to be zero get none. */
static int grant_run(struct filling *f, const struct run *r, uint64_t npages)
	REQUIRES(f->source->content->family->lock)
{
	struct content *c = f->source->content;
	uint64_t at = r->first - f->first, end = at + r->n, n;
	struct frame_list list = { 0 };
	int err = 0;

	for (; at < end; at += n) {
		uint64_t page = f->first + at;

		n = 1;
		if (f->frames[at])
			continue;
		/* One grant for what can be adjacent: up to where runs end. */
		while (at + n < end && !f->frames[at + n] && (page + n) % RUN_MAX)
			n++;
		err = pages_prepare(&c->pages, page, n);
		if (!err)
			err = arena_grant(c->arena, &c->nook, pages_wish(&c->pages, page, npages),
					  n, &list);
		if (err)
			return err;
		for (uint64_t i = 0; i < n; i++)
			f->frames[at + i] = arena_take(c->arena, &list);
	}
	return 0;
}

static int grant(struct filling *f) REQUIRES(f->source->content->family->lock)
{
	struct source *s = f->source;
	uint64_t npages = atomic_load_explicit(&s->content->npages, memory_order_relaxed);
	struct run r;
	int err = takes_pages(f->source, f->first, f->n);

	for (uint64_t at = f->first;
	     !err && source_next_run(f->source, at, f->first + f->n, absent, 0, &r);
	     at = r.first + r.n)
		err = grant_run(f, &r, npages);
	if (err == -ENOMEM)
		fail(err, "no memory to bring %" PRIu64 " pages", f->n);
	return err;
}

int filling_grant(struct filling *f)
{
	struct vms_arena *a = f->source->content->arena;
	unsigned tries = 0;
	int err;

	do {
		source_lock(f->source);
		err = grant(f);
		source_unlock(f->source);
		if (!err)
			return 0;
		give_frames_back(f);
		err = source_make_room(a, err, f->n, &tries);
	} while (!err);
	return err;
}

/* 0, FILL_AGAIN, or an error: nothing has changed. */
static int prepare_commit(struct filling *f) REQUIRES(f->source->content->family->lock)
{
	struct content *c = f->source->content;
	struct run r;
	int err = takes_pages(f->source, f->first, f->n);

	for (uint64_t at = f->first;
	     !err && source_next_run(f->source, at, f->first + f->n, absent, 0, &r);
	     at = r.first + r.n) {
		for (uint64_t i = r.first; i < r.first + r.n; i++)
			if (!f->frames[i - f->first])
				return FILL_AGAIN;
		err = pages_prepare(&c->pages, r.first, r.n);
		if (err)
			fail(err, "no memory to keep track of %" PRIu64 " pages", r.n);
	}
	return err;
}

int filling_commit(struct filling *f)
{
	struct source *s = f->source;
	struct content *c = s->content;
	int err;

	TRACE(pager_supply, s->key, f->first, f->n);
	source_lock(f->source);
	err = prepare_commit(f);
	for (uint64_t i = 0; !err && i < f->n; i++) {
		uint64_t page = f->first + i;

		if (!f->frames[i] || pages_get(&c->pages, page) != SLOT_EMPTY)
			continue;
		pages_set(&c->pages, page, f->frames[i] == FILL_ZERO ? SLOT_ZERO : f->frames[i]);
		f->frames[i] = FRAME_NONE;
	}
	if (!err)
		source_answered(f->source, f->first, f->n);
	source_unlock(f->source);
	if (err == FILL_AGAIN)
		give_frames_back(f);
	return err;
}

/* ---- Supply by copy ---- */

static void copy_in(const struct filling *f, const unsigned char *buf)
{
	struct content *c = f->source->content;

	for (uint64_t i = 0; i < f->n; i++) {
		if (f->frames[i] < FRAME_FIRST)
			continue;
		arena_touch(c->arena, f->frames[i]);
		memcpy(arena_addr(c->arena, f->frames[i]), buf + (i << c->shift),
		       (size_t)1 << c->shift);
	}
}

int vms_pager_supply_bytes(struct vms_pager *pager, struct vms_object *obj, uint64_t off,
			   const void *buf, uint64_t len)
{
	struct page_range r;
	struct filling f;
	struct source *s;
	int err;

	err = pager_source(pager, obj, &s);
	if (!err)
		err = pager_aligned(s, off, len, "supply");
	if (!err)
		err = view_range(obj, off, len, "supply", &r);
	if (err || !len)
		return err;
	err = filling_init(&f, s, r.first, r.n);
	if (err)
		return err;
	do {
		err = filling_grant(&f);
		if (!err) {
			copy_in(&f, buf);
			err = filling_commit(&f);
		}
	} while (err == FILL_AGAIN);
	filling_fini(&f);
	return err;
}

/* ---- Supply by moving ---- */

struct move {
	struct source *to;
	struct content *from;
	uint64_t first, from_first, n;
	struct vms_object *aux;
	struct frame_batch freed;
};

/* May pages be taken out of it, apart from who else sees them? */
static int is_auxiliary(const struct content *from, const struct content *to)
{
	if (from->kind != CONTENT_ANON ||
	    (from->flags & (VMS_OBJECT_DISCARDABLE | VMS_OBJECT_CONTIGUOUS)))
		return fail(-ENOTSUP, "supply: the source is not plain anonymous memory");
	if (from->arena != to->arena)
		return fail(-ENOTSUP, "supply: the source is of another arena");
	return 0;
}

static int is_child(const struct view *v)
{
	if (v->kind != VMS_OBJECT_KIND_ANON || v->content->copy)
		return fail(-EBUSY, "supply: the source is a child");
	return 0;
}

static int may_move(const struct move *m) REQUIRES(m->to->content->family->lock)
	REQUIRES(m->from->family->lock)
{
	int err = takes_pages(m->to, m->first, m->n);

	if (!err)
		err = content_range_holds(m->from, m->from_first, m->n);
	if (err)
		return err;
	if (m->from->children || view_of(m->aux)->nchildren)
		return fail(-EBUSY, "supply: the source has children");
	if (m->from->pins)
		return fail(-EBUSY, "supply: a page of the source is pinned");
	return 0;
}

/* The next stretch of the auxiliary's range from `at` on (relative): frames, or a hole. */
static uint64_t stretch(const struct move *m, uint64_t at, bool *frames)
	REQUIRES(m->from->family->lock)
{
	const struct pages *pages = &m->from->pages;
	uint64_t index = m->from->bias + m->from_first, n;

	*frames = slot_is_frame(pages_get(pages, index + at));
	if (!*frames)
		return pages_next(pages, index + at, index + m->n) - (index + at);
	for (n = 1; at + n < m->n && slot_is_frame(pages_get(pages, index + at + n)); n++)
		;
	return n;
}

/* Everything that can fail. */
static int prepare_move(struct move *m) REQUIRES(m->to->content->family->lock)
	REQUIRES(m->from->family->lock)
{
	struct pages *to = &m->to->content->pages;
	uint64_t n;
	int err = 0;

	for (uint64_t at = 0; !err && at < m->n; at += n) {
		uint64_t first = m->first + at;
		struct run r;
		bool frames;

		n = stretch(m, at, &frames);
		if (frames) {
			err = pages_prepare(to, first, n);
			continue;
		}
		for (uint64_t i = first;
		     !err && source_next_run(m->to, i, first + n, absent, 0, &r); i = r.first + r.n)
			err = pages_prepare_range(to, r.first, r.n);
	}
	if (!err)
		err = pages_prepare_range(&m->from->pages, m->from->bias + m->from_first, m->n);
	if (err)
		fail(err, "no memory to move %" PRIu64 " pages", m->n);
	return err;
}

static void move_frames(struct move *m, uint64_t at, uint64_t n)
	REQUIRES(m->to->content->family->lock) REQUIRES(m->from->family->lock)
{
	struct content *to = m->to->content;

	for (uint64_t i = at; i < at + n; i++) {
		frame_t f = pages_get(&m->from->pages, m->from->bias + m->from_first + i);

		if (pages_get(&to->pages, m->first + i) != SLOT_EMPTY)
			continue;
		/* A count for the new tree; the old one's goes with the fill below. */
		frame_ref(to->arena, f);
		frame_mark(to->arena, f, 0,
			   FRAME_DIRTY | FRAME_CLEANING | FRAME_ALWAYS | FRAME_COLD);
		pages_set(&to->pages, m->first + i, f);
	}
}

/* Frames first: a fill ends what was prepared at its two ends. */
static void commit_move(struct move *m) REQUIRES(m->to->content->family->lock)
	REQUIRES(m->from->family->lock)
{
	struct pages *to = &m->to->content->pages;
	uint64_t n;
	bool frames;

	content_gone(m->from, m->from_first, m->n); /* absent pages of `to` nobody shows */
	for (uint64_t at = 0; at < m->n; at += n) {
		n = stretch(m, at, &frames);
		if (frames)
			move_frames(m, at, n);
	}
	for (uint64_t at = 0; at < m->n; at += n) {
		uint64_t end = m->first + at;
		struct run r;

		n = stretch(m, at, &frames);
		end += n;
		for (uint64_t i = m->first + at;
		     !frames && source_next_run(m->to, i, end, absent, 0, &r); i = r.first + r.n)
			pages_fill(to, r.first, r.n, SLOT_ZERO, &m->freed);
	}
	pages_fill(&m->from->pages, m->from->bias + m->from_first, m->n, SLOT_EMPTY, &m->freed);
	content_bump(m->from);
	source_answered(m->to, m->first, m->n);
}

static void lock_both(struct lock *a, struct lock *b) UNCHECKED_LOCKS
{
	lock_take(a < b ? a : b);
	lock_take(a < b ? b : a);
}

static int move_pages(struct move *m) UNCHECKED_LOCKS
{
	struct family *from = m->from->family, *to = m->to->content->family;
	int err;

	lock_take(&from->lock);
	family_close(from);
	lock_drop(&from->lock);

	TRACE(pager_supply, m->to->key, m->first, m->n);
	lock_both(&from->lock, &to->lock);
	err = may_move(m);
	if (!err && m->n)
		err = prepare_move(m);
	if (!err && m->n)
		commit_move(m);
	family_open(from);
	lock_drop(&to->lock);
	lock_drop(&from->lock);
	return err;
}

int vms_pager_supply(struct vms_pager *pager, struct vms_object *obj, uint64_t off, uint64_t len,
		     struct vms_object *src, uint64_t src_off)
{
	struct page_range to, from;
	struct move m;
	struct source *s;
	int err;

	err = pager_source(pager, obj, &s);
	if (!err)
		err = view_usable(src);
	if (!err)
		err = pager_aligned(s, off | src_off, len, "supply");
	if (!err)
		err = view_range(obj, off, len, "supply", &to);
	if (!err)
		err = view_range(src, src_off, len, "supply, source", &from);
	if (!err)
		err = is_auxiliary(from.content, s->content);
	if (!err)
		err = view_writable(src);
	if (!err)
		err = is_child(view_of(src));
	if (err)
		return err;
	m = (struct move){ .to = s,
			   .from = from.content,
			   .first = to.first,
			   .from_first = from.first,
			   .n = to.n,
			   .aux = src };
	frame_batch_init(&m.freed, s->content->arena);
	err = move_pages(&m);
	frame_batch_end(&m.freed);
	return err;
}

/* ---- Dirtied ---- */

/* Class 1: a page that the answer gives memory; 2: absent. */
static unsigned wants_frame(const struct source *s, slot_t slot, unsigned arg)
{
	if (slot == SLOT_EMPTY)
		return 2;
	return slot == SLOT_ZERO || slot == SLOT_ZERO_CLEANING;
}

/* Frames for the zero pages, in order; everything is prepared. */
static int prepare_dirtied(struct source *s, uint64_t first, uint64_t n, struct frame_list *list)
	REQUIRES(s->content->family->lock)
{
	struct content *c = s->content;
	uint64_t npages = atomic_load_explicit(&c->npages, memory_order_relaxed);
	struct run r;
	int err = content_range_holds(s->content, first, n);

	if (err)
		return err;
	if (s->detached)
		return fail(-ENOENT, "dirtied: the object is detached from its pager");
	for (uint64_t at = first; source_next_run(s, at, first + n, wants_frame, 0, &r);
	     at = r.first + r.n)
		if (r.class == 2)
			return fail(-ENOENT, "dirtied: page %" PRIu64 " is absent", r.first);
	if (!source_traps_dirty(s))
		return fail(-ENOTSUP, "dirtied: the object's first writes are not asked for");
	for (uint64_t at = first; source_next_run(s, at, first + n, wants_frame, 0, &r);
	     at = r.first + r.n) {
		err = pages_prepare(&c->pages, r.first, r.n);
		if (err)
			return fail(err, "no memory to keep track of %" PRIu64 " pages", r.n);
		err = arena_grant(c->arena, &c->nook, pages_wish(&c->pages, r.first, npages), r.n,
				  list);
		if (err)
			return err;
	}
	return 0;
}

static void commit_dirtied(struct source *s, uint64_t first, uint64_t n, struct frame_list *list)
	REQUIRES(s->content->family->lock)
{
	struct content *c = s->content;

	for (uint64_t page = first; page < first + n; page++) {
		slot_t slot = pages_get(&c->pages, page);

		if (slot == SLOT_ZERO_DIRTY)
			continue;
		if (!slot_is_frame(slot)) {
			slot = arena_take(c->arena, list);
			arena_clear(c->arena, slot);
			arena_touch(c->arena, slot);
			content_gone(s->content, page, 1);
			pages_set(&c->pages, page, slot);
		}
		frame_mark(c->arena, slot, FRAME_DIRTY, FRAME_CLEANING);
	}
	source_answered(s, first, n);
}

int source_dirtied(struct source *s, uint64_t first, uint64_t n)
{
	struct vms_arena *a = s->content->arena;
	struct frame_list list = { 0 };
	unsigned tries = 0;
	int err;

	TRACE(pager_dirtied, s->key, first, n);
	do {
		source_lock(s);
		err = prepare_dirtied(s, first, n, &list);
		if (!err)
			commit_dirtied(s, first, n, &list);
		source_unlock(s);
		if (!err)
			return 0;
		arena_ungrant(a, &list);
		err = source_make_room(a, err, n, &tries);
	} while (!err);
	return err;
}

int vms_pager_dirtied(struct vms_pager *pager, struct vms_object *obj, uint64_t off, uint64_t len)
{
	struct page_range r;
	struct source *s;
	int err;

	err = pager_source(pager, obj, &s);
	if (!err)
		err = pager_aligned(s, off, len, "dirtied");
	if (!err)
		err = view_range(obj, off, len, "dirtied", &r);
	if (err)
		return err;
	return source_dirtied(s, r.first, r.n);
}
