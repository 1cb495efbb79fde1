// SPDX-License-Identifier: MIT
/* shown.c: telling those who show pages. What for, and the rules, are in shown.h. */
#include "object/shown.h"

#include <errno.h>
#include <inttypes.h>

#include "base/fail.h"
#include "base/range.h"

static struct shown *shown_of(struct itree_node *node)
{
	return (struct shown *)((char *)node - offsetof(struct shown, node));
}

void shown_add(struct content *c, struct shown *s, uint64_t first, uint64_t n)
{
	s->node.first = first;
	s->node.last = first + (n - 1);
	itree_insert(&c->shown, &s->node);
	c->family->shown++;
}

void shown_del(struct content *c, struct shown *s)
{
	itree_erase(&c->shown, &s->node);
	c->family->shown--;
}

/*
 * s shows pages [from, to] of an overlay whose root's pages there are about to go. Only where the
 * overlay has nothing of its own, stretch by stretch: [start, at) is empty so far.
 */
static void tell_inherited(const struct content *o, struct shown *s, uint64_t from, uint64_t to)
{
	uint64_t start = from, at = from, k;

	for (; at <= to; at += k) {
		struct page_span span = pages_span(&o->pages, o->bias + at);

		k = span.slots ? 1 : min_u64(span.n, to - at + 1);
		if (page_span_at(&span, 0) == SLOT_EMPTY)
			continue;
		if (at > start)
			s->ops->gone(s, start, at - start);
		start = at + k;
	}
	if (at > start)
		s->ops->gone(s, start, at - start);
}

/* Pages [first, last] of o's root are about to go. */
static void tell_overlay(const struct content *o, uint64_t first, uint64_t last)
{
	uint64_t limit = atomic_load_explicit(&o->below_limit, memory_order_relaxed), from, to;

	if (!limit || itree_is_empty(&o->shown) || last < o->below_at)
		return;
	from = max_u64(first, o->below_at) - o->below_at;
	to = min_u64(last - o->below_at, limit - 1);
	if (from > to)
		return;
	for (struct itree_node *n = itree_first(&o->shown, from, to); n;
	     n = itree_next(n, from, to))
		tell_inherited(o, shown_of(n), max_u64(from, n->first), min_u64(to, n->last));
}

/* Those who show pages [first, last] of c itself. */
static void tell_own(const struct content *c, uint64_t first, uint64_t last, bool gone)
{
	for (struct itree_node *n = itree_first(&c->shown, first, last); n;
	     n = itree_next(n, first, last)) {
		struct shown *s = shown_of(n);
		uint64_t from = max_u64(first, n->first), k = min_u64(last, n->last) - from + 1;

		if (gone)
			s->ops->gone(s, from, k);
		else
			s->ops->read_only(s, from, k);
	}
}

void shown_tell_gone(struct content *c, uint64_t first, uint64_t n)
{
	uint64_t last = first + (n - 1);

	if (!n)
		return;
	tell_own(c, first, last, true);
	for (const struct content *o = c->overlays; o; o = o->overlay_next)
		tell_overlay(o, first, last);
}

/* Nobody writes through an overlay to its root: those who show it have nothing to lose. */
void shown_tell_read_only(struct content *c, uint64_t first, uint64_t n)
{
	if (n)
		tell_own(c, first, first + (n - 1), false);
}

int shown_check(const struct family *f)
{
	uint64_t count = 0;

	for (const struct content *c = f->contents; c; c = c->next) {
		int err = itree_check(&c->shown);

		if (err)
			return err; /* 1 */
		for (struct itree_node *n = itree_first(&c->shown, 0, UINT64_MAX); n;
		     n = itree_next(n, 0, UINT64_MAX))
			count++;
	}
	if (count != f->shown)
		return fail(-EINVAL, "shown: %" PRIu64 " in the trees, %" PRIu64 " counted", count,
			    f->shown); /* 2 */
	return 0;
}
