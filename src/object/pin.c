// SPDX-License-Identifier: MIT
/*
 * pin.c: pages that stay where they are, and telling where pages are.
 *
 * A pin is a count on a frame, at most 65,535; the content knows their sum, so that nobody has to
 * look for pins where there are none. A pinned frame is exclusive from the pin on: a snapshot of
 * its page is refused, so nothing can make it shared.
 *
 * Host memory does not move: its pins need no count.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/fail.h"
#include "base/range.h"
#include "object/look.h"

#define BATCH	 32u	/* runs that are told of at a time */
#define PINS_MAX 65535u /* of a frame */

static int range_given(const char *what, uint64_t len)
{
	return len ? 0 : fail(-EINVAL, "%s: the length is 0", what);
}

static int no_file(const char *what, const struct content *c)
{
	if (c->kind == CONTENT_FILE)
		return fail(-ENOTSUP, "%s: a file's pages have no place of their own", what);
	return 0;
}

/* ---- Pins ---- */

/* Pin each page, which is an exclusive frame; or none. */
static int pin_all(struct content *c, uint64_t first, uint64_t n) REQUIRES(c->family->lock)
{
	struct look l;
	uint64_t i;

	look_init(&l, c);
	for (i = 0; i < n; i++)
		if (!frame_pin(c->arena, look_own(&l, first + i)))
			break;
	if (i == n) {
		c->pins += n;
		return 0;
	}
	for (uint64_t k = 0; k < i; k++)
		frame_unpin(c->arena, look_own(&l, first + k));
	return fail(-EPERM, "page %" PRIu64 " is pinned too often", first + i);
}

/* Is a count full? Told before anybody is asked for other pages of the range. */
static int room_for_pins(const struct content *c, uint64_t first, uint64_t n)
	REQUIRES(c->family->lock)
{
	uint64_t end = first + n;

	if (c->pins < PINS_MAX)
		return 0;
	for (uint64_t page = content_pinned(c, first, n); page < end;
	     page = content_pinned(c, page + 1, end - page - 1))
		if (frame_pins(c->arena, pages_get(&c->pages, c->bias + page)) == PINS_MAX)
			return fail(-EPERM, "page %" PRIu64 " is pinned too often", page);
	return 0;
}

static int pin_try(struct content *c, const struct page_range *r, enum need need, struct ask *ask)
	REQUIRES(c->family->lock)
{
	int err = content_range_holds(c, r->first, r->n);

	if (!err && c->discarded)
		err = fail(-ENOENT, "the object's content was discarded");
	if (!err)
		err = room_for_pins(c, r->first, r->n);
	if (!err)
		err = content_need(c, r->first, r->n, need, NULL, ask);
	return err ? err : pin_all(c, r->first, r->n);
}

int vms_object_pin(struct vms_object *obj, uint64_t off, uint64_t len, int writing,
		   struct vms_wait *wait)
{
	struct page_range r;
	struct content *c;
	struct ask ask;
	int err;

	err = view_usable(obj);
	if (!err)
		err = range_given("pin", len);
	if (!err)
		err = view_range(obj, off, len, "pin", &r);
	if (!err)
		err = no_file("pin", r.content);
	if (!err && writing)
		err = view_writable(obj);
	if (err || r.content->kind == CONTENT_HOST)
		return err;
	c = r.content;
	ask_init(&ask, wait);
	do {
		lock_take(&c->family->lock);
		family_wait_open(c->family);
		err = pin_try(c, &r, writing ? NEED_WRITE : NEED_OWN, &ask);
		lock_drop(&c->family->lock);
		if (err == ASK)
			err = ask_serve(&ask) ?: ASK;
	} while (err == ASK);
	return err;
}

static int unpin_all(struct content *c, uint64_t first, uint64_t n) REQUIRES(c->family->lock)
{
	struct look l;

	look_init(&l, c);
	for (uint64_t i = 0; i < n; i++) {
		slot_t slot = look_own(&l, first + i);

		if (!slot_is_frame(slot) || !frame_pins(c->arena, slot))
			return fail(-EBUSY, "unpin: page %" PRIu64 " is not pinned", first + i);
	}
	for (uint64_t i = 0; i < n; i++)
		frame_unpin(c->arena, look_own(&l, first + i));
	c->pins -= n;
	return 0;
}

int vms_object_unpin(struct vms_object *obj, uint64_t off, uint64_t len)
{
	struct page_range r;
	int err;

	err = view_usable(obj);
	if (!err)
		err = range_given("unpin", len);
	if (!err)
		err = view_range(obj, off, len, "unpin", &r);
	if (!err)
		err = no_file("unpin", r.content);
	if (err || r.content->kind == CONTENT_HOST)
		return err;
	lock_take(&r.content->family->lock);
	err = content_range_holds(r.content, r.first, r.n);
	if (!err)
		err = unpin_all(r.content, r.first, r.n);
	lock_drop(&r.content->family->lock);
	return err;
}

/* ---- Where pages are ---- */

struct run {
	uint64_t first, n; /* pages of the content */
	unsigned char *hva;
};

/* The pages from `page` on that are there, exclusive and adjacent. 0: the page itself is not. */
static uint64_t own_run(struct look *l, uint64_t page, uint64_t end, frame_t *frame)
{
	const struct content *c = l->c;
	uint64_t n = 0;

	*frame = FRAME_NONE;
	for (; page + n < end; n++) {
		slot_t slot = look_own(l, page + n);

		if (!slot_is_frame(slot) || !frame_exclusive(c->arena, slot) ||
		    (n && slot != *frame + n))
			break;
		/* One look a leaf, and one at the start. */
		if ((!n || (c->bias + page + n) % PAGES_FANOUT == 0) &&
		    !pages_path_exclusive(&c->pages, c->bias + page + n))
			break;
		if (!n)
			*frame = slot;
	}
	return n;
}

/* Up to BATCH runs of [*at, end); *at: where to go on. */
static unsigned find_runs(const struct content *c, uint64_t *at, uint64_t end, struct run *run)
	REQUIRES(c->family->lock)
{
	uint64_t npages = atomic_load_explicit(&c->npages, memory_order_relaxed), n;
	unsigned runs = 0;
	struct look l;
	frame_t frame;

	look_init(&l, c);
	end = min_u64(end, npages);
	while (runs < BATCH && *at < end) {
		*at = pages_next(&c->pages, c->bias + *at, c->bias + end) - c->bias;
		if (*at == end)
			break;
		n = own_run(&l, *at, end, &frame);
		if (n)
			run[runs++] = (struct run){ .first = *at,
						    .n = n,
						    .hva = arena_addr(c->arena, frame) };
		*at += n ? n : 1;
	}
	if (*at >= end)
		*at = UINT64_MAX;
	return runs;
}

/* The caller's range, and what to add to its offsets for the content's. */
struct told {
	const struct content *c;
	uint64_t off, end, delta; /* bytes */
	int (*fn)(void *arg, uint64_t off, void *hva, uint64_t len);
	void *arg;
};

static int tell(const struct told *t, const struct run *run)
{
	uint64_t start = (run->first << t->c->shift) - t->delta;
	uint64_t end = start + (run->n << t->c->shift), from = max_u64(start, t->off);

	return t->fn(t->arg, from, run->hva + (from - start), min_u64(end, t->end) - from);
}

static int tell_runs(const struct told *t, const struct page_range *r)
{
	uint64_t at = r->first, end = r->first + r->n;
	struct run run[BATCH];
	int err = 0;

	while (!err && at < end) {
		unsigned n;

		lock_take(&t->c->family->lock);
		n = find_runs(t->c, &at, end, run);
		lock_drop(&t->c->family->lock);
		for (unsigned i = 0; !err && i < n; i++)
			err = tell(t, &run[i]);
	}
	return err;
}

int vms_object_lookup(struct vms_object *obj, uint64_t off, uint64_t len,
		      int (*fn)(void *arg, uint64_t off, void *hva, uint64_t len), void *arg)
{
	struct told t = { .off = off, .end = off + len, .fn = fn, .arg = arg };
	struct page_range r;
	int err;

	err = view_usable(obj);
	if (!err)
		err = view_range(obj, off, len, "lookup", &r);
	if (!err)
		err = no_file("lookup", r.content);
	if (err || !len)
		return err;
	if (r.content->kind == CONTENT_HOST)
		return fn(arg, off, r.content->hva + r.off, len);
	t.c = r.content;
	t.delta = r.off - off;
	return tell_runs(&t, &r);
}

int vms_object_contiguous(struct vms_object *obj, uint64_t off, uint64_t len, void **hva)
{
	struct page_range r;
	struct content *c;
	struct look l;
	frame_t frame;
	uint64_t n;
	int err;

	err = view_usable(obj);
	if (err)
		return err;
	c = view_of(obj)->content;
	if (!len || ((off | len) & ((UINT64_C(1) << c->shift) - 1)))
		return fail(-EINVAL,
			    "contiguous: [%#" PRIx64 ", +%#" PRIx64
			    ") is empty or not page aligned",
			    off, len);
	err = view_range(obj, off, len, "contiguous", &r);
	if (!err)
		err = no_file("contiguous", c);
	if (err)
		return err;
	if (c->kind == CONTENT_HOST) {
		*hva = c->hva + r.off;
		return 0;
	}
	lock_take(&c->family->lock);
	err = content_range_holds(c, r.first, r.n);
	look_init(&l, c);
	n = err ? 0 : own_run(&l, r.first, r.first + r.n, &frame);
	lock_drop(&c->family->lock);
	if (err)
		return err;
	if (n < r.n)
		return fail(-ENOENT, "page %" PRIu64 " is not there, shared, or somewhere else",
			    r.first + n);
	*hva = arena_addr(c->arena, frame);
	return 0;
}
