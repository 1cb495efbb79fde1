// SPDX-License-Identifier: MIT
/*
 * reclaim.c: clean pages of a paged object are given back when the arena wants room: its pager has
 * them still. Never what is pinned, dirty or awaiting clean, always needed, or inside a packet: who
 * waits for a range finds all of it when its last page comes. And nothing of an object that is
 * mapped, or whose overlay is, where memory has high priority (content.high).
 *
 * A hand goes round the object, so that what was just brought goes last. An overlay that shows a
 * page of ours finds it absent, and asks.
 */
#include "base/trace.h"
#include "object/shown.h"
#include "object/source_int.h"

enum { PASS_COLD = 0, PASS_CLEAN = 2 };

static unsigned evictable(const struct source *s, slot_t slot, unsigned pass)
{
	struct vms_arena *a = s->content->arena;
	unsigned marks;

	if (!slot_is_frame(slot))
		return 0;
	marks = frame_marks(a, slot);
	if (marks & (FRAME_DIRTY | FRAME_CLEANING | FRAME_ALWAYS) || frame_pins(a, slot))
		return 0;
	return pass == PASS_CLEAN || marks & FRAME_COLD;
}

/* The first part of the run that is in no wait's range; r->n 0: none of it is. */
static void leave_packets(const struct source *s, struct run *r) REQUIRES(s->content->family->lock)
{
	const struct wait *w = s->waits;

	while (w && r->n) {
		uint64_t end = r->first + r->n, past = w->first + w->n;

		if (w->first >= end || past <= r->first) {
			w = w->next;
		} else if (w->first > r->first) {
			r->n = w->first - r->first;
		} else {
			r->first = past < end ? past : end;
			r->n = end - r->first;
			w = s->waits; /* others may begin the run now */
		}
	}
}

/* Up to n pages of [from, end). */
static uint64_t evict_range(struct source *s, uint64_t from, uint64_t end, uint64_t n,
			    unsigned pass, struct frame_batch *freed)
	REQUIRES(s->content->family->lock)
{
	struct pages *pages = &s->content->pages;
	uint64_t done = 0;
	struct run r;

	for (; done < n && source_next_part(s, from, end, n - done, evictable, pass, &r);
	     from = r.first + r.n) {
		leave_packets(s, &r);
		if (r.n > n - done)
			r.n = n - done;
		/* Benign failure: the pages stay. (Nobody shares a paged tree: it cannot fail.) */
		if (!r.n || pages_prepare_range(pages, r.first, r.n))
			continue;
		content_gone(s->content, r.first, r.n);
		content_bump(s->content);
		pages_fill(pages, r.first, r.n, SLOT_EMPTY, freed);
		done += r.n;
		s->hand = r.first + r.n;
	}
	return done;
}

static uint64_t evict(struct arena_evictable *e, uint64_t n, unsigned pass)
{
	struct content *c = (struct content *)((char *)e - offsetof(struct content, evictable));
	struct source *s = c->source;
	struct frame_batch freed;
	uint64_t done, hand, end;

	if (pass != PASS_COLD && pass != PASS_CLEAN)
		return 0;
	frame_batch_init(&freed, c->arena);
	source_lock(s);
	end = c->high ? 0 : atomic_load_explicit(&c->npages, memory_order_relaxed);
	hand = s->hand < end ? s->hand : 0;
	done = evict_range(s, hand, end, n, pass, &freed);
	done += evict_range(s, 0, hand, n - done, pass, &freed);
	source_unlock(s);
	TRACE(pager_evict, s->key, done, 0);
	frame_batch_end(&freed);
	arena_count_evicted(c->arena, done);
	return done;
}

void reclaim_register(struct source *s)
{
	struct content *c = s->content;

	c->evictable.evict = evict;
	c->evictable.hold = content_hold;
	c->evictable.let_go = content_let_go;
	arena_evictable_add(c->arena, &c->evictable);
}

void reclaim_unregister(struct source *s)
{
	arena_evictable_del(s->content->arena, &s->content->evictable);
}
