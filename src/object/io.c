// SPDX-License-Identifier: MIT
/*
 * io.c: copying bytes out of objects and into them.
 *
 * Reading what is there takes no lock. Inside an epoch section, where no frame that was found is
 * given to somebody else, the bytes are copied first; then content.seq (and the root's, below an
 * overlay) says whether a frame left a tree meanwhile. If so, the bytes may be another object's by
 * now, and are copied again. Adjacent frames are one memcpy: linear placement makes them so.
 *
 *	there?	--no-->	ask under the lock (content_need)	--> again
 *	  | yes
 *	copy, did seq move?	--yes--> again; after ROUNDS under the lock
 *
 * Writing has two halves. Under the lock: everything is there (content_need), the pages that are
 * overwritten whole and were not the object's own get fresh frames, filled before they are put in
 * place. Then the bytes for pages that were its own already are copied in place, outside the lock
 * if they are many: the writer is "inside", and whoever needs to see no half-written page waits for
 * it (content.h). What is dropped from under a writer is freed only after his section.
 *
 * Invariants:
 *	1 nothing of a write can be seen before all of it is certain
 *	2 a place that is written in place is an exclusive frame for as long as the writer is
 *	  inside, or it left the tree, and what he writes there goes with it
 *	3 a reader copies from no frame that another object may have got and written before he
 *	  looked at seq
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <sys/stat.h>

#include "base/epoch.h"
#include "base/fail.h"
#include "base/range.h"
#include "object/look.h"

#define ROUNDS 3u    /* tries without the lock */
#define PIECES 32u   /* places to write outside the lock */
#define MUCH   64u   /* fresh pages that are not filled under the lock */
#define SMALL  8192u /* bytes that are copied under the lock sooner than inside */

/* ---- Files ---- */

static const char *file_name(const struct content *c, char *buf, size_t size)
{
	if (c->world->fd_path(c->world, c->fd, buf, size) < 0)
		return "(without a path)";
	return buf;
}

int file_read(const struct content *c, uint64_t off, void *buf, uint64_t len)
{
	char name[PATH_MAX];
	unsigned char *p = buf;

	while (len) {
		int64_t got = c->world->pread(c->world, c->fd, p, len, off);

		if (got == -EINTR)
			continue;
		if (got < 0)
			return fail((int)got,
				    "cannot read %" PRIu64 " bytes at %#" PRIx64 " of %s: %s", len,
				    off, file_name(c, name, sizeof(name)), strerror((int)-got));
		if (got == 0)
			break;
		p += got;
		off += (uint64_t)got;
		len -= (uint64_t)got;
	}
	if (!len)
		return 0;
	if (off < c->stream)
		return fail(-EIO,
			    "%s ends at %#" PRIx64 " and its object at %#" PRIx64
			    ": somebody has cut it off",
			    file_name(c, name, sizeof(name)), off, c->stream);
	memset(p, 0, len);
	return 0;
}

int file_reaches(const struct content *c, uint64_t end)
{
	char name[PATH_MAX];
	struct stat st;
	int err = c->world->fstat(c->world, c->fd, &st);

	if (err)
		return fail(err, "cannot look at %s: %s", file_name(c, name, sizeof(name)),
			    strerror(-err));
	if ((uint64_t)st.st_size >= min_u64(end, c->stream))
		return 0;
	return fail(-EIO,
		    "%s ends at %#llx and its object at %#" PRIx64 ": somebody has cut it off",
		    file_name(c, name, sizeof(name)), (unsigned long long)st.st_size, c->stream);
}

int file_write(const struct content *c, uint64_t off, const void *buf, uint64_t len)
{
	char name[PATH_MAX];
	const unsigned char *p = buf;
	int err = file_reaches(c, off + len);

	if (err)
		return err;
	while (len) {
		int64_t got = c->world->pwrite(c->world, c->fd, p, len, off);

		if (got == -EINTR)
			continue;
		if (got <= 0)
			return fail(got ? (int)got : -EIO,
				    "cannot write %" PRIu64 " bytes at %#" PRIx64 " of %s: %s", len,
				    off, file_name(c, name, sizeof(name)),
				    got ? strerror((int)-got) : "nothing written");
		p += got;
		off += (uint64_t)got;
		len -= (uint64_t)got;
	}
	return 0;
}

/*
 * A wait that an earlier call left linked is not waited for any more, also where this call finds
 * that it needs none: its storage may go when we return 0.
 */
static void let_go(struct vms_wait *wait)
{
	if (wait)
		vms_wait_cancel(wait);
}

/* ---- Reading ---- */

/* What is still to be read. */
struct reading {
	struct content *c;
	uint64_t off;
	unsigned char *buf;
	uint64_t len;
};

static void advance(struct reading *r, uint64_t n)
{
	r->off += n;
	r->buf += n;
	r->len -= n;
}

/* Bytes from off on that were copied: all, or up to a page that is absent. */
static uint64_t copy_out(const struct reading *r)
{
	const struct content *c = r->c;
	const uint64_t page_size = UINT64_C(1) << c->shift,
		       last = (r->off + r->len - 1) >> c->shift;
	uint64_t page = r->off >> c->shift, in = r->off & (page_size - 1), done = 0;
	struct look l;

	look_init(&l, c);
	while (page <= last) {
		struct seen s;
		uint64_t k = look_run(&l, page, last - page + 1, &s);
		uint64_t n = min_u64((k << c->shift) - in, r->len - done);

		if (s.absent)
			break;
		if (s.frame)
			bytes_copy(r->buf + done, (char *)arena_addr(c->arena, s.frame) + in, n);
		else
			memset(r->buf + done, 0, n);
		done += n;
		page += k;
		in = 0;
	}
	return done;
}

struct seqs {
	uint64_t own, low;
};

static struct seqs seqs(const struct content *c, memory_order order)
{
	struct seqs s = { .own = atomic_load_explicit(&c->seq, order) };

	if (c->below)
		s.low = atomic_load_explicit(&c->below->seq, order);
	return s;
}

/* inv. 3: the loads of the bytes come before this. */
static bool still(const struct reading *r, const struct seqs *before)
{
	const struct content *c = r->c;
	struct seqs now;

#ifdef LOOK_TSAN
	__asm__ volatile("" ::: "memory"); /* it knows no fences; x86 keeps loads in order */
#else
	atomic_thread_fence(memory_order_acquire);
#endif
	now = seqs(c, memory_order_relaxed);
	return now.own == before->own && now.low == before->low &&
	       r->off + r->len <= atomic_load_explicit(&c->npages, memory_order_relaxed)
					  << c->shift;
}

static int discarded(const struct content *c) REQUIRES(c->family->lock)
{
	return c->discarded ? fail(-ENOENT, "the object's content was discarded") : 0;
}

/* Whether a discardable content is there can only be seen under the lock; later seq tells. */
static int look_at_start(const struct content *c, struct seqs *s)
{
	int err;

	if (!(c->flags & VMS_OBJECT_DISCARDABLE)) {
		*s = seqs(c, memory_order_acquire);
		return 0;
	}
	lock_take(&c->family->lock);
	err = discarded(c);
	*s = seqs(c, memory_order_acquire);
	lock_drop(&c->family->lock);
	return err;
}

/* Copy what is there. 0, and *moved says that it was not good. */
static int read_there(struct reading *r, bool *moved)
{
	struct seqs before;
	uint64_t done;
	int err;

	*moved = true;
	if (!epoch_enter())
		return 0;
	err = look_at_start(r->c, &before);
	if (!err) {
		done = copy_out(r);
		*moved = !still(r, &before);
		if (!*moved)
			advance(r, done);
	}
	epoch_leave();
	return err;
}

/* At the front there are pages that show a file: read them there. */
static int read_below(struct reading *r)
{
	const struct content *c = r->c;
	uint64_t page = r->off >> c->shift, last = (r->off + r->len - 1) >> c->shift, n, k;
	struct seen s;
	struct look l;
	bool again;
	int err;

	lock_take(&c->family->lock);
	look_init(&l, c);
	k = look_run(&l, page, last - page + 1, &s);
	lock_drop(&c->family->lock);
	if (!s.absent)
		return 0;
	n = min_u64(((page + k) << c->shift) - r->off, r->len);
	err = file_read(c->below, (c->below_at << c->shift) + r->off, r->buf, n);
	if (err)
		return err;
	/* One that has its own page now may have had it before the file was last written. */
	lock_take(&c->family->lock);
	look_init(&l, c);
	again = look_run(&l, page, k, &s) < k || !s.absent;
	lock_drop(&c->family->lock);
	if (!again)
		advance(r, n);
	return 0;
}

/*
 * Under the lock: ask for what is missing. After too many rounds that brought nothing: for one page
 * alone, as more may never be there at once under the arena's limit, and copy it here.
 */
static int read_locked(struct reading *r, bool hard, struct ask *ask)
{
	struct content *c = r->c;
	uint64_t first = r->off >> c->shift, n = ((r->off + r->len - 1) >> c->shift) - first + 1;
	int err;

	lock_take(&c->family->lock);
	err = content_range_holds(c, first, n);
	if (!err)
		err = discarded(c);
	if (!err)
		err = content_need(c, first, hard ? 1 : n, NEED_READ, NULL, ask);
	if (!err && hard)
		advance(r, copy_out(r)); /* up to what a file shows */
	lock_drop(&c->family->lock);
	return err;
}

static int read_pages(struct reading *r, struct vms_wait *wait)
{
	struct ask ask;
	bool moved = false;
	int err;

	let_go(wait);
	err = read_there(r, &moved);
	if (err || !r->len)
		return err;
	ask_init(&ask, wait);
	for (unsigned round = moved; r->len;) {
		uint64_t left = r->len;

		err = read_locked(r, round >= ROUNDS, &ask);
		if (err == ASK)
			err = ask_serve(&ask);
		if (!err && r->len && r->c->below && r->c->below->kind == CONTENT_FILE)
			err = read_below(r);
		if (!err && r->len)
			err = read_there(r, &moved);
		if (err)
			return err;
		round = r->len < left ? 0 : round + 1;
	}
	return 0;
}

int vms_object_read(struct vms_object *obj, uint64_t off, void *buf, size_t len,
		    struct vms_wait *wait)
{
	struct page_range range;
	struct reading r;
	int err;

	err = view_usable(obj);
	if (!err)
		err = view_range(obj, off, len, "read", &range);
	if (err || !len)
		return err;
	r = (struct reading){ .c = range.content, .off = range.off, .buf = buf, .len = len };
	switch (r.c->kind) {
	case CONTENT_HOST:
		bytes_copy(buf, r.c->hva + r.off, len);
		return 0;
	case CONTENT_FILE:
		return file_read(r.c, r.off, buf, len);
	case CONTENT_ANON:
	case CONTENT_PAGED:
		break;
	}
	return read_pages(&r, wait);
}

/* ---- Writing ---- */

struct piece {
	unsigned char *dst;
	const unsigned char *src;
	uint64_t len;
};

struct writing {
	struct content *c;
	uint64_t off;
	const unsigned char *buf;
	uint64_t len;
	uint64_t first, n; /* its pages */
	struct frame_batch freed;
	bool hurried;		    /* somebody was faster than a write aside */
	struct piece piece[PIECES]; /* to be written in place */
	unsigned pieces;
	uint64_t bytes; /* of them */
};

static void copy_pieces(const struct writing *w)
{
	for (unsigned i = 0; i < w->pieces; i++)
		bytes_copy(w->piece[i].dst, w->piece[i].src, w->piece[i].len);
}

/* One that is more than there is room for is copied now, under the lock. */
static void note_piece(struct writing *w, unsigned char *dst, const unsigned char *src,
		       uint64_t len)
{
	struct piece *last = w->pieces ? &w->piece[w->pieces - 1] : NULL;

	if (last && last->dst + last->len == dst && last->src + last->len == src) {
		last->len += len;
	} else if (w->pieces < PIECES) {
		w->piece[w->pieces++] = (struct piece){ .dst = dst, .src = src, .len = len };
	} else {
		bytes_copy(dst, src, len);
		return;
	}
	w->bytes += len;
}

/* Adjacent exclusive frames, for pages from `page` on; none yet: n 0. */
struct own_run {
	uint64_t page, n;
	frame_t frame;
};

static bool note_run(struct writing *w, const struct own_run *run)
{
	const unsigned shift = w->c->shift;
	uint64_t start = run->page << shift, from = max_u64(start, w->off);
	uint64_t to = min_u64(start + (run->n << shift), w->off + w->len);
	unsigned char *dst = arena_addr(w->c->arena, run->frame);

	if (w->pieces == PIECES)
		return false;
	w->piece[w->pieces++] = (struct piece){ .dst = dst + (from - start),
						.src = w->buf + (from - w->off),
						.len = to - from };
	w->bytes += to - from;
	return true;
}

/*
 * The way of most writes: every page is there and nobody else's, in few runs. Then nothing is
 * missing, and one walk notes all places. False: not so, and nothing is noted.
 */
static bool all_in_place(struct writing *w) REQUIRES(w->c->family->lock)
{
	struct content *c = w->c;
	uint64_t page = w->first, end = w->first + w->n;
	struct own_run run = { .n = 0 };
	bool own = c->kind == CONTENT_ANON;

	while (own && page < end) {
		struct page_span span = pages_span(&c->pages, c->bias + page);
		uint64_t n = min_u64(span.n, end - page);

		own = span.slots && pages_path_exclusive(&c->pages, c->bias + page);
		for (uint64_t i = 0; own && i < n; i++) {
			slot_t slot = page_span_at(&span, i);

			own = slot_is_frame(slot) && frame_exclusive(c->arena, slot);
			if (own && run.n && slot != run.frame + run.n) {
				own = note_run(w, &run);
				run.n = 0;
			}
			if (!run.n++)
				run = (struct own_run){ .page = page + i, .n = 1, .frame = slot };
		}
		page += n;
	}
	if (own)
		own = note_run(w, &run);
	if (!own) {
		w->pieces = 0;
		w->bytes = 0;
	}
	return own;
}

/* The pages that the write covers whole. */
static void whole_pages(const struct writing *w, struct content_fresh *fresh)
{
	const unsigned shift = w->c->shift;
	const uint64_t mask = (UINT64_C(1) << shift) - 1;
	uint64_t end = (w->off + w->len) >> shift;

	*fresh = (struct content_fresh){ .first = (w->off + mask) >> shift };
	if (end > fresh->first)
		fresh->n = end - fresh->first;
}

/* Everything is there: fill and place the fresh frames, note what is written in place. */
static void place(struct writing *w, struct content_fresh *fresh) REQUIRES(w->c->family->lock)
{
	struct content *c = w->c;
	const uint64_t size = UINT64_C(1) << c->shift;
	struct look l;

	family_held(c);
	look_init(&l, c);
	for (uint64_t page = w->first; page < w->first + w->n; page++) {
		uint64_t start = page << c->shift, from = max_u64(start, w->off);
		uint64_t to = min_u64(start + size, w->off + w->len);
		const unsigned char *src = w->buf + (from - w->off);
		slot_t slot = look_own(&l, page);
		unsigned char *dst;

		if (!slot_is_frame(slot) || !frame_exclusive(c->arena, slot)) {
			frame_t f = arena_take(c->arena, &fresh->frames);

			arena_touch(c->arena, f);
			memcpy(arena_addr(c->arena, f), src, size);
			content_install(c, page, f, &w->freed);
			continue;
		}
		dst = arena_addr(c->arena, slot);
		note_piece(w, dst + (from - start), src, to - from);
	}
}

/* What was noted is written: under the lock, or outside it if it is much. */
static void write_noted(struct writing *w) RELEASES(w->c->family->lock)
{
	struct family *f = w->c->family;
	bool inside = w->bytes > SMALL && epoch_enter();

	if (inside)
		family_go_inside(w->c->family);
	else
		copy_pieces(w);
	lock_drop(&w->c->family->lock);
	if (inside) {
		copy_pieces(w);
		family_leave_inside(f);
		epoch_leave();
	}
}

/* May it be written at all now? The lock is held on return. */
static int write_start(struct writing *w) ACQUIRES(w->c->family->lock)
{
	const struct content *c = w->c;
	int err;

	lock_take(&w->c->family->lock);
	family_held(c);
	family_wait_open(w->c->family);
	err = content_range_holds(c, w->first, w->n);
	return err ? err : discarded(c);
}

/* ---- Writing much ---- */

/*
 * Many fresh frames are not filled under the lock: the host makes their memory as they are filled.
 * They are taken aside, filled with nothing held, and put in place in a second hold. What was not
 * fresh must still be the object's own then, or all is given back and tried the ordinary way. What
 * has become its own meanwhile is replaced, but for pinned pages, which get the bytes.
 */
struct aside {
	uint64_t page;
	frame_t frame;
};

/* NULL: no memory; then it is done under the lock. */
static struct aside *take_aside(struct writing *w, struct content_fresh *fresh)
	REQUIRES(w->c->family->lock)
{
	struct content *c = w->c;
	uint64_t n = fresh->frames.n, k = 0;
	struct aside *a = c->world->alloc(c->world, n * sizeof(*a));
	struct look l;

	look_init(&l, c);
	for (uint64_t page = fresh->first; a && k < n; page++) {
		slot_t slot = look_own(&l, page);

		if (slot_is_frame(slot) && frame_exclusive(c->arena, slot))
			continue;
		a[k++] = (struct aside){ .page = page,
					 .frame = arena_take(c->arena, &fresh->frames) };
	}
	return a;
}

static void fill_aside(const struct writing *w, const struct aside *a, uint64_t n)
{
	const struct content *c = w->c;
	uint64_t k;

	for (uint64_t i = 0; i < n; i += k) {
		for (k = 0; i + k < n && a[i + k].page == a[i].page + k &&
			    a[i + k].frame == a[i].frame + k;
		     k++)
			arena_touch(c->arena, a[i + k].frame);
		memcpy(arena_addr(c->arena, a[i].frame),
		       w->buf + ((a[i].page << c->shift) - w->off), k << c->shift);
	}
}

/* Is every page that got no frame an exclusive one still? 0, ASK for no, or -ENOMEM. */
static int still_own(struct writing *w, const struct aside *a, uint64_t n)
	REQUIRES(w->c->family->lock)
{
	struct content *c = w->c;
	uint64_t k = 0;
	struct look l;
	int err;

	family_held(c);
	err = pages_prepare(&c->pages, c->bias + w->first, w->n);
	content_bump(c);
	if (err)
		return fail(err, "no memory to keep track of %" PRIu64 " pages", w->n);
	look_init(&l, c);
	for (uint64_t page = w->first; page < w->first + w->n; page++) {
		slot_t slot = look_own(&l, page);

		if (k < n && a[k].page == page)
			k++;
		else if (!slot_is_frame(slot) || !frame_exclusive(c->arena, slot))
			return ASK;
	}
	return 0;
}

static void place_aside(struct writing *w, const struct aside *a, uint64_t n)
	REQUIRES(w->c->family->lock)
{
	struct content *c = w->c;
	const uint64_t size = UINT64_C(1) << c->shift;
	uint64_t k = 0;
	struct look l;

	family_held(c);
	look_init(&l, c);
	for (uint64_t page = w->first; page < w->first + w->n; page++) {
		uint64_t start = page << c->shift, from = max_u64(start, w->off);
		uint64_t to = min_u64(start + size, w->off + w->len);
		slot_t slot = look_own(&l, page);
		bool ours = k < n && a[k].page == page;

		if (ours && !(slot_is_frame(slot) && frame_pins(c->arena, slot))) {
			content_install(c, page, a[k++].frame, &w->freed);
			continue;
		}
		if (ours)
			frame_unref(&w->freed, a[k++].frame);
		note_piece(w, (unsigned char *)arena_addr(c->arena, slot) + (from - start),
			   w->buf + (from - w->off), to - from);
	}
}

/* ASK: somebody was faster, try the ordinary way. */
static int write_aside(struct writing *w, const struct aside *a, uint64_t n)
{
	int err;

	fill_aside(w, a, n);
	err = write_start(w);
	if (!err)
		err = still_own(w, a, n);
	if (!err)
		place_aside(w, a, n);
	write_noted(w);
	for (uint64_t i = 0; err && i < n; i++)
		frame_unref(&w->freed, a[i].frame);
	return err;
}

static int write_try(struct writing *w, struct ask *ask)
{
	struct content *c = w->c;
	struct content_fresh fresh;
	struct aside *a = NULL;
	uint64_t n;
	int err = write_start(w);

	whole_pages(w, &fresh);
	family_held(c);
	if (!err)
		err = content_need(c, w->first, w->n, NEED_WRITE, &fresh, ask);
	n = fresh.frames.n;
	if (!err && n >= MUCH && c->kind == CONTENT_ANON && !w->hurried)
		a = take_aside(w, &fresh);
	if (!err && !a)
		place(w, &fresh);
	write_noted(w);
	if (!a)
		return err;
	w->hurried = true;
	err = write_aside(w, a, n);
	c->world->free(c->world, a, n * sizeof(*a));
	return err;
}

static int write_pages(struct writing *w, struct vms_wait *wait)
{
	struct ask ask;
	bool done;
	int err;

	let_go(wait);
	err = write_start(w);
	done = err || all_in_place(w);
	write_noted(w);
	if (done)
		return err;
	ask_init(&ask, wait);
	frame_batch_init(&w->freed, w->c->arena);
	do {
		err = write_try(w, &ask);
		if (err == ASK)
			err = ask_serve(&ask) ?: ASK; /* nothing to serve: just again */
	} while (err == ASK);
	frame_batch_end(&w->freed);
	return err;
}

int view_writable(const struct vms_object *obj)
{
	const struct view *v = (const struct view *)obj;

	if (v->flags & VMS_OBJECT_NO_WRITE)
		return fail(-EACCES, "this handle of the object may not write");
	if (v->content->kind == CONTENT_FILE && !v->content->fd_writable)
		return fail(-EACCES, "the object's file was not opened for writing");
	return 0;
}

int vms_object_write(struct vms_object *obj, uint64_t off, const void *buf, size_t len,
		     struct vms_wait *wait)
{
	struct page_range r;
	struct writing w;
	int err;

	err = view_usable(obj);
	if (!err)
		err = view_range(obj, off, len, "write", &r);
	if (!err)
		err = view_writable(obj);
	if (err || !len)
		return err;
	switch (r.content->kind) {
	case CONTENT_HOST:
		bytes_copy(r.content->hva + r.off, buf, len);
		return 0;
	case CONTENT_FILE:
		return file_write(r.content, r.off, buf, len);
	case CONTENT_ANON:
	case CONTENT_PAGED:
		break;
	}
	w.c = r.content;
	w.off = r.off;
	w.buf = buf;
	w.len = len;
	w.first = r.first;
	w.n = r.n;
	w.hurried = false;
	w.pieces = 0;
	w.bytes = 0;
	return write_pages(&w, wait);
}
