// SPDX-License-Identifier: MIT
/*
 * size.c: the two sizes of an object: its pages, and the length of its content (stream size).
 *
 *	0 .............. stream .... npages * P
 *	bytes		 zeros	     nothing
 *
 * A shrink takes, in this order and under one hold of the lock: the entries of those who show the
 * lost pages, the size, what overlays still see of the lost pages (that never comes back), the
 * pages, whoever waits for one of them. Growing a paged object makes a run of zeros that its pager
 * has yet to hear of; nobody is asked for them.
 *
 * Lowering the stream zeroes the rest of its last page, as far as it does not read zero already.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/fail.h"
#include "base/range.h"
#include "object/look.h"
#include "object/shown.h"
#include "object/source.h"

#define BYTES_MAX (UINT64_C(1) << 62)

struct resize {
	struct content *c;
	uint64_t bytes;	   /* the new stream size */
	uint64_t was, now; /* pages */
	struct ask ask;
	struct frame_batch freed;
};

/* ---- The stream's end ---- */

/* The page that a lower stream size cuts, and from where on it is to be zero. */
static bool cut_page(const struct content *c, uint64_t bytes, uint64_t *page, uint64_t *from)
	REQUIRES(c->family->lock)
{
	*page = bytes >> c->shift;
	*from = bytes & ((UINT64_C(1) << c->shift) - 1);
	return bytes < c->stream && *from &&
	       *page < atomic_load_explicit(&c->npages, memory_order_relaxed);
}

/* Those who show no more than the stream lose what is past its new end. */
static void stream_gone(struct content *c, uint64_t bytes) REQUIRES(c->family->lock)
{
	uint64_t npages = atomic_load_explicit(&c->npages, memory_order_relaxed);
	uint64_t first = bytes >> c->shift;

	if (bytes < c->stream && first < npages)
		content_gone(c, first, npages - first);
}

static int set_stream(struct content *c, uint64_t bytes, struct ask *ask) REQUIRES(c->family->lock)
{
	uint64_t page, from;

	if (cut_page(c, bytes, &page, &from)) {
		int err = content_need_part(c, page, ask);

		if (err)
			return err;
		content_zero_part(c, page, from, UINT64_C(1) << c->shift);
	}
	stream_gone(c, bytes);
	c->stream = bytes;
	return 0;
}

int vms_object_set_stream_size(struct vms_object *obj, uint64_t bytes, struct vms_wait *wait)
{
	struct content *c;
	struct ask ask;
	int err;

	err = view_usable(obj);
	if (err)
		return err;
	c = view_of(obj)->content;
	if (bytes > view_bytes(obj))
		return fail(-ERANGE, "stream size %#" PRIx64 " is above the object's %#" PRIx64,
			    bytes, view_bytes(obj));
	if (c->kind == CONTENT_FILE || c->kind == CONTENT_HOST ||
	    view_of(obj)->kind == VMS_OBJECT_KIND_SLICE)
		return fail(-ENOTSUP, "a file, host memory or a slice has no stream size to set");
	err = view_writable(obj);
	if (err)
		return err;
	ask_init(&ask, wait);
	do {
		lock_take(&c->family->lock);
		family_wait_open(c->family);
		/* It may have shrunk since. */
		if (bytes > atomic_load_explicit(&c->npages, memory_order_relaxed) << c->shift)
			err = fail(-ERANGE, "stream size %#" PRIx64 " is above the object's",
				   bytes);
		else
			err = set_stream(c, bytes, &ask);
		lock_drop(&c->family->lock);
		if (err == ASK)
			err = ask_serve(&ask) ?: ASK;
	} while (err == ASK);
	return err;
}

/* ---- The pages ---- */

/*
 * The last page's tail. A paged content's absent page stays so: what its pager brings is the
 * pager's business. One that is there is zeroed without its
 * leave, and dirty: the caller who resizes knows.
 */
static int tail_prepare(struct resize *r) REQUIRES(r->c->family->lock)
{
	uint64_t page, from;

	if (!cut_page(r->c, r->bytes, &page, &from) || r->c->kind == CONTENT_PAGED)
		return 0;
	return content_need_part(r->c, page, &r->ask);
}

static void tail_commit(struct resize *r) REQUIRES(r->c->family->lock)
{
	struct content *c = r->c;
	uint64_t page, from;
	slot_t slot;

	family_held(c);
	if (!cut_page(c, r->bytes, &page, &from))
		return;
	content_gone(c, page, 1); /* who shows smaller pages than ours shows some past the stream */
	content_zero_part(c, page, from, UINT64_C(1) << c->shift);
	slot = pages_get(&c->pages, c->bias + page);
	if (c->kind == CONTENT_PAGED && slot_is_frame(slot))
		frame_mark(c->arena, slot, FRAME_DIRTY, FRAME_CLEANING);
}

/* What overlays see of a root that shrinks. Readers of theirs look again. */
static void clip_overlays(struct content *root) REQUIRES(root->family->lock)
{
	uint64_t now = atomic_load_explicit(&root->npages, memory_order_relaxed);

	for (struct content *o = root->overlays; o; o = o->overlay_next) {
		uint64_t limit = now > o->below_at ? now - o->below_at : 0;

		if (atomic_load_explicit(&o->below_limit, memory_order_relaxed) <= limit)
			continue;
		family_held(o);
		atomic_store_explicit(&o->below_limit, limit, memory_order_release);
		content_bump(o);
	}
}

static int shrink_prepare(struct resize *r) REQUIRES(r->c->family->lock)
{
	struct content *c = r->c;
	uint64_t pinned;
	int err;

	family_held(c);
	pinned = content_pinned(c, r->now, r->was - r->now);
	if (pinned != UINT64_MAX)
		return fail(-EBUSY, "resize: page %" PRIu64 " is pinned", pinned);
	err = tail_prepare(r);
	return err ? err : content_clear_prepare(c, r->now, r->was - r->now);
}

static void shrink_commit(struct resize *r) REQUIRES(r->c->family->lock)
{
	struct content *c = r->c;

	family_held(c);
	content_gone(c, r->now, r->was - r->now);
	tail_commit(r);
	atomic_store_explicit(&c->npages, r->now, memory_order_release);
	if (atomic_load_explicit(&c->below_limit, memory_order_relaxed) > r->now)
		atomic_store_explicit(&c->below_limit, r->now, memory_order_release);
	clip_overlays(c);
	content_clear(c, r->now, r->was - r->now, SLOT_EMPTY, &r->freed);
	if (c->kind == CONTENT_PAGED)
		source_clip(c->source, r->now);
}

/* A paged content's new pages are zeros that the pager does not know. */
static int grow(struct resize *r) REQUIRES(r->c->family->lock)
{
	struct content *c = r->c;
	int err;

	family_held(c);
	if (r->now > PAGES_MAX - c->bias)
		return fail(-ERANGE, "resize: %" PRIu64 " pages are too many for this child",
			    r->now);
	if (c->kind == CONTENT_PAGED) {
		err = content_clear_prepare(c, r->was, r->now - r->was);
		if (err)
			return err;
		content_clear(c, r->was, r->now - r->was, SLOT_ZERO_DIRTY, &r->freed);
	}
	atomic_store_explicit(&c->npages, r->now, memory_order_release);
	return 0;
}

static int resize_try(struct resize *r) REQUIRES(r->c->family->lock)
{
	struct content *c = r->c;
	int err = 0;

	r->was = atomic_load_explicit(&c->npages, memory_order_relaxed);
	if (r->now < r->was) {
		err = shrink_prepare(r);
		if (!err)
			shrink_commit(r);
	} else {
		err = tail_prepare(r);
		if (!err && r->now > r->was)
			err = grow(r);
		if (!err)
			tail_commit(r);
	}
	if (err)
		return err;
	c->stream = r->bytes;
	if (c->kind == CONTENT_PAGED)
		source_modified(c->source);
	return 0;
}

int vms_object_resize(struct vms_object *obj, uint64_t bytes, struct vms_wait *wait)
{
	struct resize r = { .bytes = bytes };
	uint64_t page;
	int err;

	err = view_usable(obj);
	if (err)
		return err;
	if (!(view_of(obj)->flags & VMS_OBJECT_RESIZABLE))
		return fail(-EPERM, "the object is not resizable");
	r.c = view_of(obj)->content;
	page = UINT64_C(1) << r.c->shift;
	if (bytes > BYTES_MAX - page)
		return fail(-ERANGE, "resize: %#" PRIx64 " bytes are above %#" PRIx64, bytes,
			    BYTES_MAX - page);
	r.now = align_up(bytes, page) >> r.c->shift;
	ask_init(&r.ask, wait);
	frame_batch_init(&r.freed, r.c->arena);
	do {
		lock_take(&r.c->family->lock);
		family_wait_open(r.c->family);
		err = resize_try(&r);
		lock_drop(&r.c->family->lock);
		if (err == ASK)
			err = ask_serve(&r.ask) ?: ASK;
	} while (err == ASK);
	frame_batch_end(&r.freed);
	return err;
}
