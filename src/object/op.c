// SPDX-License-Identifier: MIT
/*
 * op.c: operations on ranges: commit, decommit, zero, prefetch and the two hints.
 *
 * What makes pages (commit, prefetch, ALWAYS_NEED) goes chunk by chunk and keeps what it got. What
 * takes them away (decommit, zero) is prepared as a whole and then done at once:
 *
 *	kind			whole pages become	and where that hides something below
 *	anonymous		EMPTY			ZERO
 *	paged			ZERO_DIRTY: the pager has yet to hear of it
 *	contiguous, pinned	the same frame, with zeros in it
 *
 * A stretch without pinned pages is one fill of the tree. Leaves with a pinned page are done slot
 * by slot. A fill may take out leaves at its two ends, so the stretches between pinned leaves end
 * where leaves end: what was prepared in a pinned leaf stays.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "base/fail.h"
#include "base/range.h"
#include "object/look.h"
#include "object/shown.h"
#include "object/source.h"

#define CHUNK	   256u /* pages at a time, where progress is kept */
#define ZERO_BYTES 65536u

struct op {
	struct content *c;
	uint64_t off, len;   /* bytes of the content */
	uint64_t first, end; /* its pages, rounded outward */
	enum vms_object_op op;
	bool sourced; /* a pager's pages were all there once */
	struct ask ask;
	struct frame_batch freed;
};

static int discarded(const struct content *c) REQUIRES(c->family->lock)
{
	return c->discarded ? fail(-ENOENT, "the object's content was discarded") : 0;
}

/* ---- Pages away ---- */

/*
 * The next stretch of [at, end) to be cleared: up to a leaf with a pinned page, or what the range
 * has of such a leaf. Returns its end.
 */
static uint64_t next_stretch(const struct content *c, uint64_t at, uint64_t end, bool *pinned)
	REQUIRES(c->family->lock)
{
	uint64_t page = content_pinned(c, at, end - at), leaf;

	*pinned = false;
	if (page == UINT64_MAX)
		return end;
	leaf = align_down(c->bias + page, PAGES_FANOUT);
	if (leaf > c->bias + at)
		return leaf - c->bias;
	*pinned = true;
	return min_u64(end, leaf + PAGES_FANOUT - c->bias);
}

int content_clear_prepare(struct content *c, uint64_t first, uint64_t n)
{
	uint64_t end = first + n, next;
	int err = 0;

	for (uint64_t at = first; !err && at < end; at = next) {
		bool pinned;

		next = next_stretch(c, at, end, &pinned);
		if (pinned)
			err = pages_prepare(&c->pages, c->bias + at, next - at);
		else
			err = pages_prepare_range(&c->pages, c->bias + at, next - at);
	}
	content_bump(c);
	if (err)
		return fail(err, "no memory to clear %" PRIu64 " pages", n);
	return 0;
}

static void zero_frame(struct content *c, frame_t f)
{
	bytes_zero(arena_addr(c->arena, f), (size_t)1 << c->shift);
	if (c->kind == CONTENT_PAGED)
		frame_mark(c->arena, f, FRAME_DIRTY, FRAME_CLEANING);
}

static void clear_slots(struct content *c, uint64_t first, uint64_t end, slot_t mark,
			struct frame_batch *freed) REQUIRES(c->family->lock)
{
	for (uint64_t page = first; page < end; page++) {
		slot_t slot = pages_get(&c->pages, c->bias + page);

		if (slot_is_frame(slot) && frame_pins(c->arena, slot)) {
			zero_frame(c, slot);
			continue;
		}
		slot = pages_set(&c->pages, c->bias + page, mark);
		if (slot_is_frame(slot))
			frame_unref(freed, slot);
	}
}

void content_clear(struct content *c, uint64_t first, uint64_t n, slot_t mark,
		   struct frame_batch *freed)
{
	uint64_t end = first + n, next;

	for (uint64_t at = first; at < end; at = next) {
		bool pinned;

		next = next_stretch(c, at, end, &pinned);
		if (pinned)
			clear_slots(c, at, next, mark, freed);
		else
			pages_fill(&c->pages, c->bias + at, next - at, mark, freed);
	}
	content_bump(c);
}

/* What whole pages become that read zero; above a root the marks may reach past what it shows. */
static slot_t cleared(const struct content *c, uint64_t first)
{
	return c->kind == CONTENT_PAGED ? SLOT_ZERO_DIRTY : content_zero_slot(c, first);
}

/* Does nothing of the pages have to change, as there are none and nothing shows through? */
static bool is_clear(const struct content *c, uint64_t first, uint64_t end)
	REQUIRES(c->family->lock)
{
	return c->kind == CONTENT_ANON && !content_shows_below(c, first) &&
	       pages_next(&c->pages, c->bias + first, c->bias + end) == c->bias + end;
}

/* ---- Zero ---- */

/* The parts of the range: bytes at its two ends, whole pages between. */
struct parts {
	uint64_t head, head_from, head_to; /* a page, and bytes in it; from == to: none */
	uint64_t tail, tail_to;		   /* from 0; to == 0: none */
	uint64_t first, end;		   /* whole pages */
};

static void split(const struct op *o, struct parts *p)
{
	const unsigned shift = o->c->shift;
	const uint64_t size = UINT64_C(1) << shift, to = o->off + o->len;

	*p = (struct parts){ .first = o->first, .end = to >> shift, .tail = to >> shift };
	p->tail_to = to & (size - 1);
	if (o->off & (size - 1)) {
		p->head = p->first++;
		p->head_from = o->off & (size - 1);
		p->head_to = size;
		if (p->tail_to && p->tail == p->head) { /* all in one page */
			p->head_to = p->tail_to;
			p->tail_to = 0;
		}
	}
	if (p->end < p->first)
		p->end = p->first;
}

/* Everything of a zero that can fail. */
static int zero_prepare(struct op *o, const struct parts *p) REQUIRES(o->c->family->lock)
{
	struct content *c = o->c;
	int err = 0;

	family_held(c);
	/* All that others may refuse comes before the first frame or mark changes hands. */
	if (p->head_to)
		err = content_part_ready(c, p->head, &o->ask);
	if (!err && p->tail_to)
		err = content_part_ready(c, p->tail, &o->ask);
	if (!err && p->first < p->end && c->kind == CONTENT_PAGED)
		err = content_leave(c, p->first, p->end - p->first, &o->ask);
	if (!err && p->head_to)
		err = content_need_part(c, p->head, &o->ask);
	if (!err && p->tail_to)
		err = content_need_part(c, p->tail, &o->ask);
	if (err || (c->flags & VMS_OBJECT_CONTIGUOUS) || is_clear(c, p->first, p->end))
		return err;
	err = content_clear_prepare(c, p->first, p->end - p->first);
	/* The parts were prepared before the fill's two ends: they keep their frames. */
	return err;
}

static void zero_commit(struct op *o, const struct parts *p) REQUIRES(o->c->family->lock)
{
	struct content *c = o->c;

	family_held(c);
	if (p->head_to)
		content_zero_part(c, p->head, p->head_from, p->head_to);
	if (p->tail_to)
		content_zero_part(c, p->tail, 0, p->tail_to);
	if (c->flags & VMS_OBJECT_CONTIGUOUS) {
		for (uint64_t page = p->first; page < p->end; page++)
			zero_frame(c, pages_get(&c->pages, page));
	} else if (p->first < p->end && !is_clear(c, p->first, p->end)) {
		content_gone(c, p->first, p->end - p->first);
		content_clear(c, p->first, p->end - p->first, cleared(c, p->first), &o->freed);
	}
	if (c->kind == CONTENT_PAGED) {
		source_modified(c->source);
		source_answered(c->source, o->first, o->end - o->first);
	}
}

static int zero_try(struct op *o) REQUIRES(o->c->family->lock)
{
	struct parts p;
	int err;

	split(o, &p);
	err = zero_prepare(o, &p);
	if (!err)
		zero_commit(o, &p);
	return err;
}

static int zero_file(const struct content *c, uint64_t off, uint64_t len)
{
	static const char zeros[ZERO_BYTES];
	int err = file_reaches(c, off + len);

	/* A hole where the file can have one; a tail past the file's end reads zero as it is. */
	if (err || !c->world->fallocate(c->world, c->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					off, len))
		return err;
	while (!err && len) {
		uint64_t n = min_u64(len, sizeof(zeros));

		err = file_write(c, off, zeros, n);
		off += n;
		len -= n;
	}
	return err;
}

/* ---- Decommit ---- */

static int decommit_try(struct op *o) REQUIRES(o->c->family->lock)
{
	struct content *c = o->c;
	uint64_t pinned;
	int err;

	family_held(c);
	if (c->children)
		return fail(-ENOTSUP, "decommit: the object has children");
	pinned = content_pinned(c, o->first, o->end - o->first);
	if (pinned != UINT64_MAX)
		return fail(-EBUSY, "decommit: page %" PRIu64 " is pinned", pinned);
	if (is_clear(c, o->first, o->end))
		return 0;
	err = content_clear_prepare(c, o->first, o->end - o->first);
	if (err)
		return err;
	content_gone(c, o->first, o->end - o->first);
	content_clear(c, o->first, o->end - o->first, SLOT_EMPTY, &o->freed);
	return 0;
}

static int may_decommit(const struct content *c)
{
	if (c->copy)
		return fail(-ENOTSUP, "decommit: the object is a snapshot");
	if (c->kind != CONTENT_ANON)
		return fail(-ENOTSUP, "decommit: only of anonymous memory");
	if (c->flags & VMS_OBJECT_CONTIGUOUS)
		return fail(-ENOTSUP, "decommit: the object is contiguous");
	return 0;
}

/* ---- Pages here ---- */

/* A hint on the pages that belong to a pager: our own, or those of the root that still show. */
static void hint(struct content *c, uint64_t first, uint64_t end, unsigned mark)
	REQUIRES(c->family->lock)
{
	struct look l;
	struct seen s;
	uint64_t k;

	look_init(&l, c);
	for (uint64_t page = first; page < end; page += k) {
		k = look_run(&l, page, end - page, &s);
		if (!s.frame || (s.own && c->kind != CONTENT_PAGED))
			continue;
		for (uint64_t i = 0; i < k; i++)
			frame_mark(c->arena, s.frame + (frame_t)i, mark,
				   mark == FRAME_ALWAYS ? FRAME_COLD : 0);
	}
}

/*
 * A pager's zeros need no memory, and none is reclaimed. But they may get some at any time, to be
 * shown, and a page that has memory must carry its mark: so what is always needed gets it now. In
 * an overlay the root's page does.
 */
static int have_zeros(struct op *o, uint64_t first, uint64_t end) REQUIRES(o->c->family->lock)
{
	struct content *c = o->c, *owner = c->kind == CONTENT_PAGED ? c : c->below;
	uint64_t at = c->kind == CONTENT_PAGED ? 0 : c->below_at, k;
	struct look l;
	struct seen s;
	int err = 0;

	family_held(owner);
	look_init(&l, c);
	for (uint64_t page = first; !err && page < end; page += k) {
		k = look_run(&l, page, end - page, &s);
		if (s.frame)
			continue;
		if (c != owner) { /* zeros of ours, of nobody and of the root may be adjacent */
			k = 1;
			if (s.own || !content_shows_below(c, page))
				continue;
		}
		err = content_need(owner, at + page, k, NEED_OWN, NULL, &o->ask);
		look_init(&l, c); /* nodes may have been copied */
	}
	return err;
}

static bool has_pager(const struct content *c)
{
	return c->kind == CONTENT_PAGED || (c->below && c->below->kind == CONTENT_PAGED);
}

/* Pages [first, end) now, of [first, all). */
static int make_try(struct op *o, uint64_t first, uint64_t end, uint64_t all)
	REQUIRES(o->c->family->lock)
{
	enum need need = o->op == VMS_OBJECT_COMMIT ? NEED_OWN : NEED_READ;
	int err = 0;

	if (o->op == VMS_OBJECT_COMMIT)
		err = discarded(o->c);
	/* A pager is asked for all that is missing, not for our chunk of it. */
	if (!err && !o->sourced) {
		err = content_need(o->c, first, all - first, NEED_READ, NULL, &o->ask);
		o->sourced = !err;
	}
	if (!err && o->op != VMS_OBJECT_PREFETCH)
		err = content_need(o->c, first, end - first, need, NULL, &o->ask);
	if (err || o->op != VMS_OBJECT_ALWAYS_NEED)
		return err;
	err = have_zeros(o, first, end);
	if (!err)
		hint(o->c, first, end, FRAME_ALWAYS);
	return err;
}

/* Chunk by chunk; what a shrink took away meanwhile is not wanted any more. */
static int make_pages(struct op *o)
{
	struct content *c = o->c;
	uint64_t at = o->first;
	int err = 0;

	/* Only a pager's pages can be missing to a reader. */
	if (o->op != VMS_OBJECT_COMMIT && !has_pager(c))
		return 0;
	while (!err && at < o->end) {
		uint64_t end, all;

		lock_take(&c->family->lock);
		family_held(o->c);
		family_wait_open(c->family);
		all = min_u64(o->end, atomic_load_explicit(&c->npages, memory_order_relaxed));
		end = o->op == VMS_OBJECT_PREFETCH ? all : min_u64(all, at + CHUNK);
		if (at >= end) {
			lock_drop(&c->family->lock);
			break;
		}
		err = make_try(o, at, end, all);
		lock_drop(&c->family->lock);
		if (err == ASK)
			err = ask_serve(&o->ask);
		else
			at = end;
	}
	return err;
}

/* ---- The call ---- */

static int run(struct op *o)
{
	struct content *c = o->c;
	int err;

	if (o->op == VMS_OBJECT_COMMIT || o->op == VMS_OBJECT_PREFETCH ||
	    o->op == VMS_OBJECT_ALWAYS_NEED)
		return make_pages(o);
	frame_batch_init(&o->freed, c->arena);
	do {
		lock_take(&c->family->lock);
		family_held(o->c);
		family_wait_open(c->family);
		err = content_range_holds(c, o->first, o->end - o->first);
		if (!err && o->op == VMS_OBJECT_DONT_NEED)
			hint(c, o->first, o->end, FRAME_COLD);
		else if (!err)
			err = o->op == VMS_OBJECT_ZERO ? zero_try(o) : decommit_try(o);
		lock_drop(&c->family->lock);
		if (err == ASK)
			err = ask_serve(&o->ask) ?: ASK;
	} while (err == ASK);
	frame_batch_end(&o->freed);
	return err;
}

/* Objects without pages of ours: only the bytes matter. */
static int run_foreign(const struct content *c, enum vms_object_op op, uint64_t off, uint64_t len)
{
	if (op != VMS_OBJECT_ZERO)
		return 0;
	if (c->kind == CONTENT_FILE)
		return zero_file(c, off, len);
	bytes_zero(c->hva + off, len);
	return 0;
}

int vms_object_op(struct vms_object *obj, enum vms_object_op op, uint64_t off, uint64_t len,
		  struct vms_wait *wait)
{
	struct page_range r;
	struct op o;
	uint64_t mask, bytes;
	int err;

	err = view_usable(obj);
	if (err)
		return err;
	mask = (UINT64_C(1) << view_of(obj)->content->shift) - 1;
	if (op < VMS_OBJECT_COMMIT || op > VMS_OBJECT_DONT_NEED)
		return fail(-EINVAL, "op: unknown operation %d", (int)op);
	if (op == VMS_OBJECT_DECOMMIT && ((off | len) & mask))
		return fail(-EINVAL, "decommit: [%#" PRIx64 ", +%#" PRIx64 ") is not page aligned",
			    off, len);
	bytes = view_bytes(obj);
	if (op == VMS_OBJECT_COMMIT && len <= UINT64_MAX - off && off <= bytes)
		len = min_u64(len, bytes - off);
	err = view_range(obj, off, len, "op", &r);
	if (!err && (op == VMS_OBJECT_ZERO || op == VMS_OBJECT_DECOMMIT))
		err = view_writable(obj);
	if (!err && op == VMS_OBJECT_DECOMMIT)
		err = may_decommit(r.content);
	if (err || (!len && op != VMS_OBJECT_DECOMMIT))
		return err;
	if (r.content->kind == CONTENT_HOST || r.content->kind == CONTENT_FILE)
		return run_foreign(r.content, op, r.off, len);
	o.c = r.content;
	o.off = r.off;
	o.len = len;
	o.first = r.first;
	o.end = r.first + r.n;
	o.op = op;
	o.sourced = !has_pager(o.c);
	ask_init(&o.ask, wait);
	return run(&o);
}
