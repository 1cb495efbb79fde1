// SPDX-License-Identifier: MIT
/*
 * source.c: what is asked of a pager, by whom, and who is told when it is answered. The terms and
 * the invariants are in source.h.
 *
 *	pages		 .  .  x  .  .  .  .  .		x: there already
 *	A asks 3..7		 [ A holds   )		one packet, requested once
 *	B asks 5..7		       [B rides)	nothing is requested
 *	C asks 0..7	 [C holds)			a packet of its own, to the first page there
 *	supply 3, 4		       [ A   )		answered ends are cut off
 *	A gives up		       [ B   )		the packet is B's, and nothing is told
 *	supply 6		       [ B   )		not an end: B waits on; 6 is not evicted
 *	supply 5						B is answered
 *
 * A wait's range begins where it lacks an answer and ends there: that is all there is to know, so
 * no page is counted, and answers may come twice, in any order, and for what nobody asked.
 *
 * Callbacks run with nothing held. While one runs the source counts it (`calling`): a `complete`
 * that becomes due meanwhile is called by the last of them as it returns, so that it is the pager's
 * last news of the key though nobody waits for anybody.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/fail.h"
#include "base/trace.h"
#include "object/shown.h"
#include "object/source_int.h"

static uint64_t end_of(const struct wait *w)
{
	return w->first + w->n;
}

static bool overlaps(const struct wait *w, uint64_t first, uint64_t n)
{
	return w->first < first + n && first < end_of(w);
}

/* ---- What is answered ---- */

/*
 * Class 1: lacks an answer of that kind. A page that is absent lacks no DIRTY answer: whoever wants
 * to write there has to look again.
 */
static unsigned lacking(const struct source *s, slot_t slot, unsigned kind)
{
	if (kind == VMS_REQUEST_READ)
		return slot == SLOT_EMPTY;
	if (slot_is_frame(slot))
		return !(frame_marks(s->content->arena, slot) & FRAME_DIRTY);
	return slot == SLOT_ZERO || slot == SLOT_ZERO_CLEANING;
}

static bool answered(const struct source *s, enum vms_request_kind kind, uint64_t page)
{
	return !lacking(s, pages_get(&s->content->pages, page), kind);
}

bool source_next_run(const struct source *s, uint64_t from, uint64_t end, slot_class *class,
		     unsigned arg, struct run *r)
{
	return source_next_part(s, from, end, UINT64_MAX, class, arg, r);
}

bool source_next_part(const struct source *s, uint64_t from, uint64_t end, uint64_t most,
		      slot_class *class, unsigned arg, struct run *r)
{
	r->n = 0;
	while (from < end && r->n < most) {
		struct page_span span = pages_span(&s->content->pages, from);
		uint64_t n = span.n < end - from ? span.n : end - from;

		for (uint64_t i = 0; i < n && r->n < most;) {
			unsigned this = class(s, page_span_at(&span, i), arg);
			uint64_t step = span.slots ? 1 : n;

			if (r->n && this != r->class)
				return true;
			if (this && !r->n) {
				r->first = from + i;
				r->class = this;
			}
			if (this)
				r->n += step;
			i += step;
		}
		from += n;
	}
	return r->n > 0;
}

/* ---- The list of waits ---- */

static void link_wait(struct source *s, struct wait *w) REQUIRES(s->content->family->lock)
{
	w->source = s;
	w->next = NULL;
	w->link = s->at_end;
	*s->at_end = w;
	s->at_end = &w->next;
	atomic_store_explicit(&w->state, WAIT_LINKED, memory_order_relaxed);
}

static void unlink_wait(struct source *s, struct wait *w) REQUIRES(s->content->family->lock)
{
	*w->link = w->next;
	if (w->next)
		w->next->link = w->link;
	else
		s->at_end = w->link;
}

/* The wait's storage is gone after this. */
static void finish(struct source *s, struct wait *w, int result) REQUIRES(s->content->family->lock)
{
	unlink_wait(s, w);
	wait_answer(w, result);
}

/* The first page of [from, end) that lacks an answer, or end. */
static uint64_t first_lacking(const struct source *s, enum vms_request_kind kind, uint64_t from,
			      uint64_t end)
{
	while (from < end) {
		struct page_span span = pages_span(&s->content->pages, from);
		uint64_t n = span.slots ? span.n : 1;

		for (uint64_t i = 0; i < n && from + i < end; i++)
			if (lacking(s, page_span_at(&span, i), kind))
				return from + i;
		from += span.n;
	}
	return end;
}

/* Cut the answered ends off. */
static void trim(struct source *s, struct wait *w) REQUIRES(s->content->family->lock)
{
	uint64_t first = first_lacking(s, w->kind, w->first, end_of(w));

	w->n -= first - w->first;
	w->first = first;
	while (w->n && answered(s, w->kind, end_of(w) - 1))
		w->n--;
}

static struct wait *packet_at(const struct source *s, enum vms_request_kind kind, uint64_t page)
	REQUIRES(s->content->family->lock)
{
	struct wait *w;

	for (w = s->waits; w; w = w->next)
		if (w->holds && w->kind == kind && overlaps(w, page, 1))
			break;
	return w;
}

/*
 * A packet whose holder has gone goes to the wait that has ridden on it longest, which from now on
 * waits for all of it. False: nobody rides there, it is nobody's.
 */
static bool hand_over(struct source *s, enum vms_request_kind kind, uint64_t first, uint64_t n,
		      bool sent) REQUIRES(s->content->family->lock)
{
	struct wait *w;

	for (w = s->waits; w; w = w->next)
		if (!w->holds && w->kind == kind && overlaps(w, first, n))
			break;
	if (!w)
		return false;
	w->holds = true;
	w->sent = sent;
	w->adopted = !sent;
	w->first = first;
	w->n = n;
	trim(s, w);
	if (w->n == 0)
		finish(s, w, 0);
	return true;
}

/* ---- Asking ---- */

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

int source_ask(struct source *s, enum vms_request_kind kind, uint64_t first, uint64_t n,
	       struct ask *ask)
{
	struct vms_wait *storage = ask->wait;
	struct wait *w, *packet;
	struct run r = { .n = 1 };

	assert_family_held(s);
	if (s->detached)
		return fail(-EBUSY, "page %" PRIu64 " is not there, and the object has no pager",
			    first);
	if (!storage) {
		if (!s->pager->at_once)
			return -EAGAIN;
		storage = &ask->own;
	}
	w = wait_of(storage);
	packet = packet_at(s, kind, first);
	if (packet) {
		n = least(n, end_of(packet) - first);
	} else {
		for (struct wait *p = s->waits; p; p = p->next)
			if (p->holds && p->kind == kind && p->first > first)
				n = least(n, p->first - first);
		source_next_run(s, first, first + n, lacking, kind, &r);
		n = r.n;
	}
	w->kind = kind;
	w->holds = !packet;
	w->sent = false;
	w->adopted = false;
	w->result = 0;
	w->first = first;
	w->n = n;
	if (packet)
		trim(s, w);
	link_wait(s, w);
	ask->kind = ASK_REQUEST;
	return ASK;
}

/* ---- Callbacks: nothing held ---- */

static void call_complete(struct source *s)
{
	struct vms_pager *pager = s->pager;

	if (!atomic_exchange_explicit(&s->completed, true, memory_order_relaxed) &&
	    pager->ops.complete)
		pager->ops.complete(pager->arg, s->key);
}

static void call_request(struct source *s, enum vms_request_kind kind, uint64_t first, uint64_t n)
{
	TRACE(pager_request, s->key, first, n);
	s->pager->request(s, kind, first, n);
}

/* A callback has returned. */
static void call_ends(struct source *s)
{
	bool complete;

	source_lock(s);
	complete = --s->calling == 0 && s->complete_due;
	if (complete)
		s->complete_due = false;
	source_unlock(s);
	if (complete)
		call_complete(s);
}

/* Tell the pager of packets whose holders gave up before they had done so. */
static void send_adopted(struct source *s)
{
	for (;;) {
		enum vms_request_kind kind;
		uint64_t first, n;
		struct wait *w;

		source_lock(s);
		for (w = s->waits; w && !w->adopted; w = w->next)
			;
		if (w) {
			kind = w->kind;
			first = w->first;
			n = w->n;
			w->adopted = false;
			w->sent = true;
			s->calling++;
		}
		source_unlock(s);
		if (!w)
			return;
		call_request(s, kind, first, n);
		call_ends(s);
	}
}

int source_send(struct vms_wait *wait)
{
	struct wait *w = wait_of(wait);
	struct source *s = w->source;
	enum vms_request_kind kind = VMS_REQUEST_READ;
	uint64_t first = 0, n = 0;
	bool send = false;
	int result = wait_take_result(w);

	if (result != VMS_WAIT)
		return result;
	source_lock(s);
	/* Under the lock the state stands: answered meanwhile, or linked till we let go. */
	if (atomic_load_explicit(&w->state, memory_order_relaxed) != WAIT_ANSWERED && w->holds &&
	    !w->sent) {
		send = true;
		w->sent = true;
		w->adopted = false;
		kind = w->kind;
		first = w->first;
		n = w->n;
		s->calling++;
	}
	source_unlock(s);
	if (send) {
		call_request(s, kind, first, n);
		call_ends(s);
	}
	/* Somebody else's request, of a pager that needs nobody's help to answer it. */
	if (s->pager->at_once)
		return vms_wait_block(wait, -1);
	return wait_take_result(w);
}

void source_cancel(struct source *s, struct wait *w)
{
	enum vms_request_kind kind = VMS_REQUEST_READ;
	uint64_t first = 0, n = 0;
	bool tell = false;

	source_lock(s);
	if (atomic_load_explicit(&w->state, memory_order_relaxed) != WAIT_ANSWERED) {
		unlink_wait(s, w);
		if (w->holds && !hand_over(s, w->kind, w->first, w->n, w->sent) && w->sent) {
			tell = s->pager->ops.cancel;
			kind = w->kind;
			first = w->first;
			n = w->n;
		}
	}
	if (tell)
		s->calling++;
	source_unlock(s);
	if (tell) {
		unsigned shift = s->content->shift;

		TRACE(pager_cancel, s->key, first, n);
		s->pager->ops.cancel(s->pager->arg, &s->self.object, s->key, kind, first << shift,
				     n << shift);
		call_ends(s);
	}
	send_adopted(s);
}

/* ---- Answers ---- */

void source_answered(struct source *s, uint64_t first, uint64_t n)
{
	struct wait *w, *next;

	/* All of them: a packet and those who ride on it are cut at the same pages. */
	for (w = s->waits; w; w = next) {
		next = w->next;
		trim(s, w);
		if (w->n == 0)
			finish(s, w, 0);
	}
}

void source_fail(struct source *s, uint64_t first, uint64_t n, int error)
{
	struct wait *w, *next;

	TRACE(pager_fail, s->key, first, error);
	source_lock(s);
	for (w = s->waits; w; w = next) {
		next = w->next;
		if (!w->holds && overlaps(w, first, n))
			finish(s, w, error);
	}
	/*
	 * A packet that was failed in part was failed for its holder. Its other pages are still
	 * asked for, as far as somebody waits for them. Who gets them comes later on the list or
	 * does not overlap what failed.
	 */
	for (w = s->waits; w; w = next) {
		enum vms_request_kind kind = w->kind;
		uint64_t start = w->first, end = end_of(w);
		bool sent = w->sent;

		if (!w->holds || !overlaps(w, first, n)) {
			next = w->next;
			continue;
		}
		finish(s, w, error);
		if (start < first)
			hand_over(s, kind, start, first - start, sent);
		if (first + n < end)
			hand_over(s, kind, first + n, end - (first + n), sent);
		next = s->waits; /* the neighbours may be gone too */
	}
	source_unlock(s);
	send_adopted(s);
}

void source_taken_back(struct source *s, uint64_t first, uint64_t n)
{
	struct wait *w, *next;
	struct run r;

	for (w = s->waits; w; w = w->next) {
		uint64_t from = w->first > first ? w->first : first;
		uint64_t end = least(end_of(w), first + n);

		if (w->kind != VMS_REQUEST_DIRTY || from >= end)
			continue;
		/* All of the overlap lacks an answer still: nothing of it is taken back. */
		if (source_next_run(s, from, end, lacking, w->kind, &r) && r.n == end - from)
			continue;
		w->result = 1; /* a mark for the second round */
	}
	for (w = s->waits; w; w = w->next) {
		if (!w->result || !w->holds)
			continue;
		for (struct wait *rider = s->waits; rider; rider = rider->next)
			if (rider->kind == w->kind && overlaps(rider, w->first, w->n))
				rider->result = 1;
	}
	for (w = s->waits; w; w = next) {
		next = w->next;
		if (w->result)
			finish(s, w, 0);
	}
}

void source_clip(struct source *s, uint64_t npages)
{
	struct wait *w, *next;

	assert_family_held(s);
	for (w = s->waits; w; w = next) {
		next = w->next;
		if (end_of(w) <= npages)
			continue;
		w->n = w->first < npages ? npages - w->first : 0;
		if (w->n)
			trim(s, w);
		if (w->n == 0)
			finish(s, w, 0);
	}
	if (s->hand >= npages)
		s->hand = 0;
}

/* ---- Asked of a source ---- */

bool source_traps_dirty(const struct source *s)
{
	return s->content->flags & VMS_OBJECT_TRAP_DIRTY;
}

void source_modified(struct source *s)
{
	atomic_store_explicit(&s->modified, true, memory_order_relaxed);
}

bool source_is_modified(const struct source *s)
{
	return atomic_load_explicit(&s->modified, memory_order_relaxed);
}

/* ---- Life ---- */

int source_create(const struct world *w, struct vms_pager *pager, uint64_t key, struct content *c,
		  struct source **out)
{
	struct source *s;
	bool closed;

	s = w->alloc(w, sizeof(*s));
	if (!s)
		return fail(-ENOMEM, "no memory for the pager side of an object");
	memset(s, 0, sizeof(*s));
	s->world = w;
	s->pager = pager;
	s->content = c;
	s->key = key;
	s->at_end = &s->waits;
	atomic_init(&s->completed, false);
	atomic_init(&s->modified, false);
	s->self.object.world = w;
	atomic_init(&s->self.object.refs, 1);
	s->self.object.kind = OBJECT_VIEW;
	s->self.object.fd = -1;
	s->self.content = c;
	s->self.kind = VMS_OBJECT_KIND_PAGED;
	s->self.flags = c->flags;
	*out = s; /* close and reclaim find it through the content from here on */

	lock_take(&pager->lock);
	closed = pager->closed;
	if (!closed) {
		atomic_fetch_add_explicit(&pager->refs, 1, memory_order_relaxed);
		s->next = pager->sources;
		s->link = &pager->sources;
		if (s->next)
			s->next->link = &s->next;
		pager->sources = s;
	}
	lock_drop(&pager->lock);
	if (closed) {
		*out = NULL;
		w->free(w, s, sizeof(*s));
		return fail(-EBUSY, "the pager is closed");
	}
	arena_count_metadata(c->arena, (int64_t)sizeof(*s));
	reclaim_register(s);
	return 0;
}

static void answer_all(struct source *s, int error) REQUIRES(s->content->family->lock)
{
	while (s->waits)
		finish(s, s->waits, error);
}

/* Class 1: what an object without a pager gives up. */
static unsigned droppable(const struct source *s, slot_t slot, unsigned arg)
{
	struct vms_arena *a = s->content->arena;

	if (!slot_is_frame(slot))
		return slot == SLOT_ZERO;
	return !(frame_marks(a, slot) & (FRAME_DIRTY | FRAME_CLEANING)) && !frame_pins(a, slot);
}

static void drop_clean(struct source *s, struct frame_batch *freed)
	REQUIRES(s->content->family->lock)
{
	struct content *c = s->content;
	uint64_t end = atomic_load_explicit(&c->npages, memory_order_relaxed);
	struct run r;

	content_bump(s->content);
	for (uint64_t at = 0; source_next_run(s, at, end, droppable, 0, &r); at = r.first + r.n) {
		/* Benign failure, of long runs of zeros alone: they are read still. */
		if (pages_prepare_range(&c->pages, r.first, r.n))
			continue;
		content_gone(s->content, r.first, r.n);
		pages_fill(&c->pages, r.first, r.n, SLOT_EMPTY, freed);
	}
}

void source_detach(struct source *s, bool tell)
{
	struct frame_batch freed;
	bool complete = false;

	TRACE(pager_detach, s->key, 0, 0);
	frame_batch_init(&freed, s->content->arena);
	source_lock(s);
	if (!s->detached) {
		s->detached = true;
		answer_all(s, -EBUSY);
		drop_clean(s, &freed);
		complete = tell && !s->calling;
		s->complete_due = tell && s->calling;
	}
	if (!tell) { /* the pager is closed: no more news of anything */
		s->complete_due = false;
		atomic_store_explicit(&s->completed, true, memory_order_relaxed);
	}
	source_unlock(s);
	frame_batch_end(&freed);
	if (complete)
		call_complete(s);
}

void source_destroy(struct source *s)
{
	struct vms_pager *pager = s->pager;
	const struct world *w = s->world;

	reclaim_unregister(s);
	lock_take(&pager->lock);
	if (s->link) {
		*s->link = s->next;
		if (s->next)
			s->next->link = s->link;
	}
	lock_drop(&pager->lock);
	/* A caller that gave the object up while it waited: its storage must not point here. */
	source_lock(s);
	answer_all(s, -EBUSY);
	source_unlock(s);
	call_complete(s);
	arena_count_metadata(s->content->arena, -(int64_t)sizeof(*s));
	w->free(w, s, sizeof(*s));
	pager_unref(pager);
}

/* ---- The validator ---- */

static int check_wait(const struct source *s, const struct wait *w)
	REQUIRES(s->content->family->lock)
{
	uint32_t state = atomic_load_explicit(&w->state, memory_order_relaxed);
	const struct wait *o;

	if (w->source != s || (state != WAIT_LINKED && state != WAIT_SLEEPING) || w->n == 0)
		return fail(-EINVAL, "source: a wait in state %" PRIu32 " on the list", state);
	if (answered(s, w->kind, w->first) || answered(s, w->kind, end_of(w) - 1))
		return fail(-EINVAL, "source: an end of [%" PRIu64 ", +%" PRIu64 ") is answered",
			    w->first, w->n);
	for (o = s->waits; o; o = o->next) {
		if (o == w || o->kind != w->kind || !o->holds || !overlaps(o, w->first, w->n))
			continue;
		if (w->holds)
			return fail(-EINVAL, "source: two packets overlap at page %" PRIu64,
				    w->first);
		if (o->first <= w->first && end_of(w) <= end_of(o))
			break;
	}
	if (!w->holds && !o)
		return fail(-EINVAL, "source: [%" PRIu64 ", +%" PRIu64 ") rides on nothing",
			    w->first, w->n);
	return 0;
}

int source_check(const struct source *s)
{
	uint64_t npages = atomic_load_explicit(&s->content->npages, memory_order_relaxed);

	assert_family_held(s);
	if (s->detached && s->waits)
		return fail(-EINVAL, "source: detached, and somebody waits");
	for (const struct wait *w = s->waits; w; w = w->next) {
		int err = check_wait(s, w);

		if (!err && end_of(w) > npages)
			err = fail(-EINVAL, "source: a wait beyond the object's end");
		if (err)
			return err;
	}
	return 0;
}
