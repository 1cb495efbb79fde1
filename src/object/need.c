// SPDX-License-Identifier: MIT
/*
 * need.c: having the pages that an operation is about to use.
 *
 * An operation says, under the family's lock, which pages it wants and how (content_need). What is
 * missing comes from one of four places, in this order, so that nobody waits with frames in his
 * hand:
 *
 *	1 the source	pages that a pager has yet to bring (READ), or a file (FILE)
 *	2 its leave	first writes that the pager wants to hear of (DIRTY)
 *	3 nodes		exclusive leaves, so that the slots can be set
 *	4 frames	of the arena; past its limit others must give some back (ROOM)
 *
 * 1, 2 and ROOM cannot be had under the lock: the try ends with ASK, the caller drops the lock, has
 * it served (ask_serve) and tries again from the start. Everything that was granted in a try that
 * fails goes back. Only then, when nothing can fail any more, are the new frames filled with what
 * stood there, put in place and marked. So a need never changes what anybody reads.
 *
 * Invariants:
 *	1 a try that does not return 0 holds nothing: no frame, no mark that it set
 *	2 content.seq moves after a slot lost a frame or a shared node was left for a copy, and before
 *	  the lock is dropped: from then on the old one is somebody else's to change
 *	3 after NEED_WRITE every page of the range but the fresh ones is an exclusive frame, of a
 *	  paged content a dirty one
 *	4 a frame that came from a file is put in place only where the page still shows the file
 */
#include <errno.h>
#include <inttypes.h>

#include "base/fail.h"
#include "base/range.h"
#include "base/trace.h"
#include "object/look.h"
#include "object/shown.h"
#include "object/source.h"

#define BRING_MAX 64u /* pages of a file at a time */
#define MANY	  16u /* pages */
#define TRIES_MAX 64u /* for what others take away again */

/* ---- Looking ---- */

struct seen content_see(const struct content *c, uint64_t page)
{
	struct look l;

	look_init(&l, c);
	return look_see(&l, page);
}

/* Pages from `page`, just looked at, that one mark stands for. */
static uint64_t stretch(const struct look *l, uint64_t page)
{
	const struct content *c = l->c;
	uint64_t n = l->own.n - (page - l->own_at);

	if (l->own.slots)
		return 1;
	if (l->own.same != SLOT_EMPTY || !shows_below(c, page))
		return n;
	n = min_u64(n, atomic_load_explicit(&c->below_limit, memory_order_acquire) - page);
	if (c->below->kind == CONTENT_FILE)
		return n;
	return l->low.slots ? 1 : min_u64(n, l->low.n - (page - l->low_at));
}

/* Own frames from `page` on whose numbers follow each other; the first of them is known. */
static uint64_t adjacent(struct look *l, uint64_t page, uint64_t n, frame_t frame)
{
	uint64_t k = 1;

	while (k < n && look_own(l, page + k) == frame + k) {
		uint64_t i = page + ++k - l->own_at, end = min_u64(l->own.n, i + (n - k));

		/* The rest of the leaf, without asking each time where it ends. */
		for (; l->own.slots && i < end && page_span_at(&l->own, i) == frame + k; i++)
			k++;
	}
	return k;
}

uint64_t look_run(struct look *l, uint64_t page, uint64_t n, struct seen *s)
{
	uint64_t k = 1;

	*s = look_see(l, page);
	if (s->own && s->frame)
		return adjacent(l, page, n, s->frame);
	if (s->frame) {
		while (k < n && look_see(l, page + k).frame == s->frame + k)
			k++;
		return k;
	}
	k = stretch(l, page);
	while (k < n) {
		struct seen t = look_see(l, page + k);

		if (t.frame || t.absent != s->absent)
			break;
		k += stretch(l, page + k);
	}
	return min_u64(k, n);
}

bool content_shows_below(const struct content *c, uint64_t page)
{
	return shows_below(c, page);
}

slot_t content_zero_slot(const struct content *c, uint64_t page)
{
	return shows_below(c, page) ? SLOT_ZERO : SLOT_EMPTY;
}

frame_t content_own(const struct content *c, uint64_t page)
{
	slot_t slot = pages_get(&c->pages, c->bias + page);

	return slot_is_frame(slot) && pages_exclusive(&c->pages, c->bias + page) ? slot
										 : FRAME_NONE;
}

uint64_t content_pinned(const struct content *c, uint64_t first, uint64_t n)
{
	uint64_t end = c->bias + first + n;

	for (uint64_t i = c->bias + first; c->pins && i < end; i++) {
		slot_t slot;

		i = pages_next(&c->pages, i, end);
		if (i == end)
			break;
		slot = pages_get(&c->pages, i);
		if (slot_is_frame(slot) && frame_pins(c->arena, slot))
			return i - c->bias;
	}
	return UINT64_MAX;
}

/* ---- Changing ---- */

/* inv. 2; release: whoever sees the new number sees the new slots. */
void content_bump(struct content *c)
{
	uint64_t seq = atomic_load_explicit(&c->seq, memory_order_relaxed);

	atomic_store_explicit(&c->seq, seq + 1, memory_order_release);
}

/* Put a frame in place, of which those who show the page were told; a frame that stood there goes. */
static void put_told(struct content *c, uint64_t page, frame_t f, struct frame_batch *freed)
	REQUIRES(c->family->lock)
{
	slot_t was = pages_set(&c->pages, c->bias + page, f);

	if (!slot_is_frame(was))
		return;
	content_bump(c);
	frame_unref(freed, was);
}

static void put(struct content *c, uint64_t page, frame_t f, struct frame_batch *freed)
	REQUIRES(c->family->lock)
{
	content_gone(c, page, 1);
	put_told(c, page, f, freed);
}

void content_install(struct content *c, uint64_t page, frame_t f, struct frame_batch *freed)
{
	if (c->kind == CONTENT_PAGED)
		frame_mark(c->arena, f, FRAME_DIRTY, FRAME_CLEANING);
	put(c, page, f, freed);
}

/* Exclusive leaves for the range; readers of leaves that are left to others look again. */
static int prepare(struct content *c, uint64_t first, uint64_t n) REQUIRES(c->family->lock)
{
	uint64_t start = c->bias + first, end = start + n;
	bool shared = false;
	int err;

	for (uint64_t i = start; !shared && i < end; i = align_down(i, PAGES_FANOUT) + PAGES_FANOUT)
		shared = !pages_path_exclusive(&c->pages, i);
	err = pages_prepare(&c->pages, start, n);
	if (shared)
		content_bump(c);
	if (err)
		return fail(err, "no memory to keep track of %" PRIu64 " pages", n);
	return 0;
}

/* ---- A try ---- */

struct
try {
	struct content *c;
	uint64_t first, end;
	enum need need;
	uint64_t skip, skip_end; /* the caller overwrites these */
	struct content_fresh *fresh;
	struct ask *ask;
};

static bool is_fresh(const struct try *t, uint64_t page)
{
	return page - t->skip < t->skip_end - t->skip;
}

/*
 * Pages that came may be evicted before all of them are there, and more than the arena's limit
 * never will be: a pager that answers at once must not keep us here for ever.
 */
static int ask_source(struct source *s, enum vms_request_kind kind, uint64_t first, uint64_t n,
		      struct ask *ask)
{
	int err;

	if (ask->pages && first <= ask->first && ask->tries++ >= TRIES_MAX)
		return fail(-ENOMEM, "page %" PRIu64 " goes as fast as it comes", first);
	ask->first = first;
	ask->pages = n;
	err = source_ask(s, kind, first, n, ask);
	if (err == -EAGAIN)
		return fail(err, "page %" PRIu64 " has to be asked for, and there is no wait",
			    first);
	return err;
}

/* 1: is all there that has to be? */
static int have_source(const struct try *t) REQUIRES(t->c->family->lock)
{
	struct content *c = t->c;
	struct seen s;
	struct look l;
	uint64_t k;

	if (c->kind != CONTENT_PAGED && !c->below)
		return 0;
	look_init(&l, c);
	for (uint64_t page = t->first; page < t->end; page += k) {
		uint64_t end = t->end;

		/* What the caller overwrites in an overlay nobody has to bring. */
		if (c->kind != CONTENT_PAGED) {
			if (is_fresh(t, page)) {
				k = t->skip_end - page;
				continue;
			}
			if (page < t->skip && t->skip < t->skip_end)
				end = t->skip;
		}
		k = look_run(&l, page, end - page, &s);
		if (!s.absent)
			continue;
		if (c->kind == CONTENT_PAGED)
			return ask_source(c->source, VMS_REQUEST_READ, page, k, t->ask);
		if (c->below->kind == CONTENT_PAGED)
			return ask_source(c->below->source, VMS_REQUEST_READ, c->below_at + page, k,
					  t->ask);
		if (t->need == NEED_READ)
			continue; /* the file is read where it is */
		t->ask->kind = ASK_FILE;
		t->ask->c = c;
		t->ask->first = page;
		t->ask->pages = k;
		return ASK;
	}
	return 0;
}

/* Must the pager be asked before the page, which is there, is written? */
static bool wants_leave(const struct content *c, slot_t slot)
{
	if (slot_is_frame(slot))
		return !(frame_marks(c->arena, slot) & FRAME_DIRTY);
	return slot != SLOT_ZERO_DIRTY;
}

/* 2: has the pager given leave? */
static int have_leave(const struct try *t) REQUIRES(t->c->family->lock)
{
	struct content *c = t->c;
	struct look l;

	if (c->kind != CONTENT_PAGED || t->need != NEED_WRITE || !source_traps_dirty(c->source))
		return 0;
	look_init(&l, c);
	for (uint64_t page = t->first, n; page < t->end; page += n) {
		bool wants = wants_leave(c, look_own(&l, page));

		n = stretch(&l, page);
		if (!wants)
			continue;
		n = min_u64(n, t->end - page);
		while (page + n < t->end && wants_leave(c, look_own(&l, page + n)))
			n++;
		return ask_source(c->source, VMS_REQUEST_DIRTY, page, n, t->ask);
	}
	return 0;
}

static bool is_missing(const struct content *c, slot_t slot)
{
	return !slot_is_frame(slot) || !frame_exclusive(c->arena, slot);
}

/* Is nothing missing? Then no node needs to be made exclusive either. */
static bool all_own(const struct try *t)
{
	const struct content *c = t->c;
	struct look l;
	uint64_t page = t->first;

	look_init(&l, c);
	while (page < t->end) {
		uint64_t leaf_end;

		look_own(&l, page);
		if (!l.own.slots || !pages_path_exclusive(&c->pages, c->bias + page))
			return false;
		leaf_end = min_u64(t->end, page + l.own.n);
		for (; page < leaf_end; page++)
			if (is_missing(c, look_own(&l, page)))
				return false;
	}
	return true;
}

static uint64_t missing(const struct try *t)
{
	struct look l;
	uint64_t n = 0;

	look_init(&l, t->c);
	for (uint64_t page = t->first; page < t->end; page++)
		n += is_missing(t->c, look_own(&l, page));
	return n;
}

/*
 * 4: a frame for each page that lacks one: to the caller's list for pages that he overwrites, else
 * to ours. One grant for each stretch, and a stretch ends where a run of adjacent numbers may end.
 */
static int grant(const struct try *t, struct frame_list *ours) REQUIRES(t->c->family->lock)
{
	struct content *c = t->c;
	uint64_t npages = atomic_load_explicit(&c->npages, memory_order_relaxed), n;
	struct look l;
	int err;

	look_init(&l, c);
	for (uint64_t page = t->first; page < t->end; page += n) {
		uint64_t end = t->end;
		bool fresh = is_fresh(t, page);
		frame_t want = FRAME_NONE;

		n = 1;
		if (!is_missing(c, look_own(&l, page)))
			continue;
		if (fresh)
			end = t->skip_end;
		else if (page < t->skip)
			end = min_u64(end, t->skip);
		end = min_u64(end, align_down(c->bias + page, RUN_MAX) + RUN_MAX - c->bias);
		while (page + n < end && is_missing(c, look_own(&l, page + n)))
			n++;
		if (!c->copy)
			want = pages_wish(&c->pages, c->bias + page, c->bias + npages);
		err = arena_grant(c->arena, &c->nook, want, n, fresh ? &t->fresh->frames : ours);
		if (err)
			return err;
	}
	return 0;
}

static void give_back(const struct try *t, struct frame_list *ours)
{
	arena_ungrant(t->c->arena, ours);
	if (t->fresh)
		arena_ungrant(t->c->arena, &t->fresh->frames);
}

/* A new frame of a page that reads zero. */
static void fill_zero(const struct content *c, frame_t f, slot_t slot)
{
	struct vms_arena *a = c->arena;

	arena_clear(a, f);
	arena_touch(a, f); /* from now on it is written without telling */
	if (slot == SLOT_ZERO_DIRTY && c->kind == CONTENT_PAGED)
		frame_mark(a, f, FRAME_DIRTY, 0);
	if (slot == SLOT_ZERO_CLEANING)
		frame_mark(a, f, FRAME_CLEANING, 0);
}

/* Adjacent pages whose new frames are adjacent and get the bytes of adjacent ones. */
struct copies {
	uint64_t page, n;
	frame_t to, from;
};

static void fill_copies(const struct content *c, const struct copies *k)
{
	struct vms_arena *a = c->arena;

	TRACE(copy, (uintptr_t)c, k->page, k->n);
	if (arena_copy(a, k->to, k->from, k->n))
		return;
	for (uint64_t i = 0; i < k->n; i++)
		arena_touch(a, k->to + (frame_t)i);
	bytes_copy(arena_addr(a, k->to), arena_addr(a, k->from), k->n << c->shift);
}

static void put_copies(struct content *c, struct copies *k, struct frame_batch *freed)
	REQUIRES(c->family->lock)
{
	if (!k->n)
		return;
	fill_copies(c, k);
	content_gone(c, k->page, k->n);
	for (uint64_t i = 0; i < k->n; i++)
		put_told(c, k->page + i, k->to + (frame_t)i, freed);
	k->n = 0;
}

/* Nothing fails from here on: our frames take their places. */
static void put_frames(const struct try *t, struct frame_list *ours) REQUIRES(t->c->family->lock)
{
	struct content *c = t->c;
	struct frame_batch freed; /* shared ones lose a count: none is freed here */
	struct copies k = { .n = 0 };
	struct look l;

	family_held(c);
	frame_batch_init(&freed, c->arena);
	look_init(&l, c);
	for (uint64_t page = t->first; ours->n; page++) {
		struct seen s;
		frame_t f;

		if (is_fresh(t, page)) {
			page = t->skip_end - 1;
			continue;
		}
		if (!is_missing(c, look_own(&l, page)))
			continue;
		s = look_see(&l, page);
		f = arena_take(c->arena, ours);
		if (!s.frame) {
			fill_zero(c, f, s.slot);
			put(c, page, f, &freed);
			continue;
		}
		if (page != k.page + k.n || f != k.to + k.n || s.frame != k.from + k.n)
			put_copies(c, &k, &freed);
		if (!k.n)
			k = (struct copies){ .page = page, .to = f, .from = s.frame };
		k.n++;
	}
	put_copies(c, &k, &freed);
	frame_batch_end(&freed);
}

static void mark_dirty(const struct try *t) REQUIRES(t->c->family->lock)
{
	struct content *c = t->c;
	struct look l;

	look_init(&l, c);
	for (uint64_t page = t->first; page < t->end; page++) {
		slot_t slot = look_own(&l, page);

		if (slot_is_frame(slot) && !(frame_marks(c->arena, slot) & FRAME_DIRTY))
			frame_mark(c->arena, slot, FRAME_DIRTY, FRAME_CLEANING);
	}
	source_modified(c->source);
}

/*
 * More than the arena may ever grant at once is refused before nodes are made for it: a sparse
 * object may be of any size, and its tree must not eat the host's memory first.
 */
static int can_ever_be(const struct try *t)
{
	uint64_t n = t->end - t->first;
	struct vms_arena_info info = { .size = sizeof(info) };

	if (n < MANY)
		return 0;
	arena_info(t->c->arena, &info);
	if (n <= info.limit >> arena_page_shift(t->c->arena))
		return 0;
	return fail(-ENOMEM, "%" PRIu64 " pages pass the arena's limit of %" PRIu64 " bytes", n,
		    info.limit);
}

static int no_room(const struct try *t, uint64_t n)
{
	t->ask->kind = ASK_ROOM;
	t->ask->c = t->c;
	t->ask->n = n;
	return ASK;
}

/* 3 and 4 of one page, as faults need it: the same steps, without looking again at each. */
static int have_frame(const struct try *t) REQUIRES(t->c->family->lock)
{
	struct content *c = t->c;
	uint64_t page = t->first, index = c->bias + page;
	struct frame_list ours = { 0 };
	frame_t want = FRAME_NONE;
	struct frame_batch freed; /* as in put_frames */
	struct look l;
	struct seen s;
	bool ready;
	frame_t f;
	int err;

	family_held(c);
	look_init(&l, c);
	s = look_see(&l, page);
	ready = l.own.slots && pages_path_exclusive(&c->pages, index);
	err = ready ? 0 : prepare(c, page, 1);
	/* A leaf that was left to others has left them its frames, too. */
	if (err || !is_missing(c, s.slot))
		return err;
	if (!c->copy)
		want = pages_wish(&c->pages, index,
				  c->bias + atomic_load_explicit(&c->npages, memory_order_relaxed));
	err = arena_grant(c->arena, &c->nook, want, 1, &ours);
	if (err)
		return err == -EDQUOT ? no_room(t, 1) : err;
	f = arena_take(c->arena, &ours);
	if (s.frame)
		fill_copies(c, &(struct copies){ .page = page, .n = 1, .to = f, .from = s.frame });
	else
		fill_zero(c, f, s.slot);
	frame_batch_init(&freed, c->arena);
	put(c, page, f, &freed);
	frame_batch_end(&freed);
	return 0;
}

/* 3 and 4. */
static int have_frames(const struct try *t) REQUIRES(t->c->family->lock)
{
	struct content *c = t->c;
	struct frame_list ours = { 0 };
	int err;

	family_held(c);
	if (all_own(t))
		return 0;
	err = can_ever_be(t);
	if (!err)
		err = prepare(c, t->first, t->end - t->first);
	if (err)
		return err;
	err = grant(t, &ours);
	if (err) {
		give_back(t, &ours);
		return err == -EDQUOT ? no_room(t, missing(t)) : err;
	}
	put_frames(t, &ours);
	return 0;
}

int content_need(struct content *c, uint64_t first, uint64_t n, enum need need,
		 struct content_fresh *fresh, struct ask *ask)
{
	struct try t = {
		.c = c, .first = first, .end = first + n, .need = need, .fresh = fresh, .ask = ask
	};
	int err;

	family_held(t.c);
	if (fresh && need == NEED_WRITE) {
		t.skip = fresh->first;
		t.skip_end = fresh->first + fresh->n;
	}
	err = have_source(&t);
	if (err || need == NEED_READ || !n)
		return err;
	err = have_leave(&t);
	if (!err)
		err = n == 1 && !fresh ? have_frame(&t) : have_frames(&t);
	if (!err && need == NEED_WRITE && c->kind == CONTENT_PAGED)
		mark_dirty(&t);
	return err;
}

int content_leave(struct content *c, uint64_t first, uint64_t n, struct ask *ask)
{
	struct try t = { .c = c, .first = first, .end = first + n, .need = NEED_WRITE, .ask = ask };
	int err;

	family_held(t.c);
	if (!source_traps_dirty(c->source))
		return 0;
	err = have_source(&t);
	return err ? err : have_leave(&t);
}

/* ---- Parts of a page ---- */

/* For good: what an overlay shows of its root is the root's to change. */
static bool reads_zero(const struct content *c, uint64_t page)
{
	struct seen s = content_see(c, page);

	return !s.frame && !s.absent && (s.own || !shows_below(c, page));
}

int content_need_part(struct content *c, uint64_t page, struct ask *ask)
{
	return reads_zero(c, page) ? 0 : content_need(c, page, 1, NEED_WRITE, NULL, ask);
}

int content_part_ready(struct content *c, uint64_t page, struct ask *ask)
{
	int err;

	if (reads_zero(c, page))
		return 0;
	err = content_need(c, page, 1, NEED_READ, NULL, ask);
	return err || c->kind != CONTENT_PAGED ? err : content_leave(c, page, 1, ask);
}

void content_zero_part(struct content *c, uint64_t page, uint64_t from, uint64_t to)
{
	slot_t slot = pages_get(&c->pages, c->bias + page);

	if (slot_is_frame(slot))
		bytes_zero((char *)arena_addr(c->arena, slot) + from, to - from);
}

/* ---- Serving ---- */

void ask_init(struct ask *ask, struct vms_wait *wait)
{
	ask->kind = ASK_NOTHING;
	ask->wait = wait;
	ask->tries = 0;
	ask->pages = 0;
	if (wait)
		vms_wait_cancel(wait);
	else
		vms_wait_init(&ask->own);
}

/* Past the limit: others give back what is missing. */
static int make_room(struct ask *ask)
{
	struct vms_arena *a = ask->c->arena;
	struct vms_arena_info info = { .size = sizeof(info) };
	uint64_t free;

	arena_info(a, &info);
	free = info.limit > info.granted ? (info.limit - info.granted) >> arena_page_shift(a) : 0;
	if (free >= ask->n && ask->tries++ < TRIES_MAX)
		return 0;
	if (ask->tries++ < TRIES_MAX && arena_evict(a, ask->n - min_u64(free, ask->n)) > 0)
		return 0;
	return fail(-ENOMEM,
		    "%" PRIu64 " pages pass the arena's limit of %" PRIu64
		    " bytes, and nothing can be evicted",
		    ask->n, info.limit);
}

/* Read the pages of the overlay that the frames are for, adjacent ones at once. */
static int read_frames(const struct ask *ask, const frame_t *frame, uint64_t n)
{
	const struct content *c = ask->c;
	uint64_t at = (c->below_at + ask->first) << c->shift, k;
	int err = 0;

	for (uint64_t i = 0; !err && i < n; i += k) {
		for (k = 1; i + k < n && frame[i + k] == frame[i] + k; k++)
			;
		err = file_read(c->below, at + (i << c->shift), arena_addr(c->arena, frame[i]),
				k << c->shift);
	}
	return err;
}

/* inv. 4. Those that are not wanted any more stay in frame[]. */
static int put_read(const struct ask *ask, frame_t *frame, uint64_t n)
	REQUIRES(ask->c->family->lock)
{
	struct content *c = ask->c;
	uint64_t npages = atomic_load_explicit(&c->npages, memory_order_relaxed);
	int err;

	family_held(c);
	err = prepare(c, ask->first, n);
	for (uint64_t i = 0; !err && i < n; i++) {
		uint64_t page = ask->first + i;

		if (page >= npages || !shows_below(c, page) ||
		    pages_get(&c->pages, c->bias + page) != SLOT_EMPTY)
			continue;
		content_gone(c, page, 1);
		pages_set(&c->pages, c->bias + page, frame[i]);
		frame[i] = FRAME_NONE;
	}
	return err;
}

/* Pages of the file below become the overlay's own. */
static int bring(struct ask *ask)
{
	struct content *c = ask->c;
	uint64_t n = min_u64(ask->pages, BRING_MAX);
	struct frame_list list = { 0 };
	frame_t frame[BRING_MAX];
	struct frame_batch freed;
	int err;

	lock_take(&c->family->lock);
	err = arena_grant(c->arena, &c->nook, FRAME_NONE, n, &list);
	lock_drop(&c->family->lock);
	if (err == -EDQUOT) {
		ask->n = n;
		return make_room(ask);
	}
	if (err)
		return err;
	for (uint64_t i = 0; i < n; i++) {
		frame[i] = arena_take(c->arena, &list);
		arena_touch(c->arena, frame[i]);
	}
	err = read_frames(ask, frame, n);
	if (!err) {
		lock_take(&ask->c->family->lock);
		err = put_read(ask, frame, n);
		lock_drop(&ask->c->family->lock);
	}
	frame_batch_init(&freed, c->arena);
	for (uint64_t i = 0; i < n; i++)
		if (frame[i])
			frame_unref(&freed, frame[i]);
	frame_batch_end(&freed);
	return err;
}

/* inv. 1 of source.h: a wait is never left linked but by VMS_WAIT. */
static int send_request(struct ask *ask)
{
	struct vms_wait *wait = ask->wait ? ask->wait : &ask->own;
	int err = source_send(wait);

	if (err != VMS_WAIT || ask->wait)
		return err;
	vms_wait_cancel(wait);
	return fail(-EAGAIN, "the pager has yet to answer, and there is no wait to wait with");
}

int ask_serve(struct ask *ask)
{
	enum ask_kind kind = ask->kind;

	ask->kind = ASK_NOTHING;
	switch (kind) {
	case ASK_ROOM:
		return make_room(ask);
	case ASK_FILE:
		return bring(ask);
	case ASK_REQUEST:
		return send_request(ask);
	case ASK_NOTHING:
		break;
	}
	return 0;
}
