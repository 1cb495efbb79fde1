// SPDX-License-Identifier: MIT
/*
 * pager_file.c: the stock pager over a host file.
 *
 * It answers inside its request call, in the thread that needs the pages, so it needs no thread of
 * its own: frames are granted, filled with pread while nothing is held, and put in place, a chunk
 * at a time. Pages past the file's end are zero and take no memory.
 *
 * Sync goes chunk by chunk too: with the gate closed the dirty pages of a chunk are copied and
 * marked as awaiting clean, all at one instant; then they are written while nothing is held. Two
 * syncs of one object take turns, or the one that copied first could write last.
 *
 * A page is clean only if reading it again would give the same bytes. Therefore what lies past the
 * stream size, which is not written, stays dirty unless it reads as zero from the file anyway.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fail.h"
#include "base/range.h"
#include "object/look.h"
#include "object/shown.h"
#include "object/source_int.h"

#define CHUNK 64u /* pages read or written at a time */

int vms_pager_file(int fd, struct vms_pager **pager)
{
	const struct world *w = world_default;
	struct vms_pager *p;
	struct stat st;
	int err;

	if (!pager)
		return fail(-EINVAL, "file pager: nowhere to put it");
	err = w->fstat(w, fd, &st);
	if (err)
		return fail(err, "descriptor %d: fstat: %s", fd, strerror(-err));
	if (!S_ISREG(st.st_mode))
		return fail(-ENOTSUP, "descriptor %d is no regular file", fd);
	p = pager_new(w);
	if (!p)
		return fail(-ENOMEM, "no memory for a pager");
	p->request = pager_file_request;
	p->at_once = true;
	p->fd = w->fd_dup(w, fd);
	if (p->fd < 0) {
		err = fail(p->fd, "descriptor %d: cannot duplicate it: %s", fd, strerror(-p->fd));
		p->fd = -1;
		pager_unref(p);
		return err;
	}
	*pager = p;
	return 0;
}

/* ---- The file ---- */

/* Where the page is in the file; past all files where the key makes it wrap. */
static uint64_t place(const struct source *s, uint64_t page)
{
	uint64_t off = page << s->content->shift;

	return off > (uint64_t)INT64_MAX - min_u64(s->key, INT64_MAX) ? INT64_MAX : s->key + off;
}

static int file_size(const struct source *s, uint64_t *size)
{
	const struct world *w = s->pager->world;
	struct stat st;
	int err = w->fstat(w, s->pager->fd, &st);

	if (err)
		return fail(err, "file pager: fstat: %s", strerror(-err));
	*size = (uint64_t)st.st_size;
	return 0;
}

/* All of it; zeros past the file's end. */
static int read_all(const struct source *s, unsigned char *buf, uint64_t len, uint64_t at)
{
	const struct world *w = s->pager->world;

	while (len > 0) {
		int64_t got = w->pread(w, s->pager->fd, buf, len, at);

		if (got == -EINTR)
			continue;
		if (got < 0)
			return fail((int)got,
				    "file pager: reading %" PRIu64 " bytes at %#" PRIx64 ": %s",
				    len, at, strerror((int)-got));
		if (got == 0) {
			memset(buf, 0, len);
			return 0;
		}
		buf += got;
		at += (uint64_t)got;
		len -= (uint64_t)got;
	}
	return 0;
}

static int write_all(const struct source *s, const unsigned char *buf, uint64_t len, uint64_t at)
{
	const struct world *w = s->pager->world;

	while (len > 0) {
		int64_t put = w->pwrite(w, s->pager->fd, buf, len, at);

		if (put == -EINTR)
			continue;
		if (put <= 0)
			return fail(put ? (int)put : -EIO,
				    "file pager: writing %" PRIu64 " bytes at %#" PRIx64 ": %s",
				    len, at, put ? strerror((int)-put) : "nothing was written");
		buf += put;
		at += (uint64_t)put;
		len -= (uint64_t)put;
	}
	return 0;
}

/* ---- Reading ---- */

/* Say which pages lie past the file's end. */
static int find_zeros(struct filling *f)
{
	const struct source *s = f->source;
	uint64_t size = 0;
	int err = file_size(s, &size);

	for (uint64_t i = 0; !err && i < f->n; i++)
		if (f->frames[i] == FRAME_NONE && place(s, f->first + i) >= size)
			f->frames[i] = FILL_ZERO;
	return err;
}

/* Adjacent frames with one call. */
static int read_frames(const struct filling *f)
{
	const struct source *s = f->source;
	struct vms_arena *a = s->content->arena;
	uint64_t n;
	int err = 0;

	for (uint64_t i = 0; !err && i < f->n; i += n) {
		n = 1;
		if (f->frames[i] < FRAME_FIRST)
			continue;
		while (i + n < f->n && f->frames[i + n] == f->frames[i] + n)
			n++;
		for (uint64_t k = 0; k < n; k++)
			arena_touch(a, f->frames[i + k]);
		err = read_all(s, arena_addr(a, f->frames[i]), n << s->content->shift,
			       place(s, f->first + i));
	}
	return err;
}

static int read_chunk(struct source *s, uint64_t first, uint64_t n)
{
	struct filling f;
	int err = filling_init(&f, s, first, n);

	if (err)
		return err;
	do {
		err = find_zeros(&f);
		if (!err)
			err = filling_grant(&f);
		if (!err)
			err = read_frames(&f);
		if (!err)
			err = filling_commit(&f);
	} while (err == FILL_AGAIN);
	filling_fini(&f);
	return err;
}

/*
 * Nobody waits any longer than this call: what was not answered is failed. A chunk that there is no
 * room for is tried in halves: what is answered already may be evicted for the rest.
 */
void pager_file_request(struct source *s, enum vms_request_kind kind, uint64_t first, uint64_t n)
{
	uint64_t end = first + n, chunk = CHUNK;
	int err = 0;

	while (first < end) {
		n = min_u64(chunk, end - first);
		err = kind == VMS_REQUEST_READ ? read_chunk(s, first, n)
					       : source_dirtied(s, first, n);
		if (!err)
			first += n;
		else if (err == -ENOMEM && n > 1)
			chunk = n / 2;
		else
			break;
	}
	/* Shrunk or gone away meanwhile: whoever waits looks again. */
	if (err == -ERANGE || err == -ENOENT)
		source_fail(s, first, end - first, 0);
	else if (err)
		source_fail(s, first, end - first, err);
}

/* ---- Sync ---- */

struct sync {
	struct source *s;
	uint64_t end;	    /* page where the object, and the stream, ends */
	uint64_t stream;    /* bytes, at this chunk */
	uint64_t size;	    /* of the file, at the start or as zeros made it */
	unsigned char *buf; /* CHUNK pages */
	struct run run;	    /* what is being written */
};

static void take_turn(struct source *s) REQUIRES(s->content->family->lock)
{
	while (s->syncing)
		lock_wait(&s->content->family->lock, &s->content->family->moved);
	s->syncing = true;
}

static void end_turn(struct source *s) REQUIRES(s->content->family->lock)
{
	s->syncing = false;
	pthread_cond_broadcast(&s->content->family->moved);
}

/* The stream's last page is clean afterwards only if the rest of it reads as it is. */
static bool tail_is_lost(const struct sync *y, uint64_t page)
{
	const struct content *c = y->s->content;
	uint64_t from = y->stream & ((UINT64_C(1) << c->shift) - 1);
	const unsigned char *bytes = y->buf + ((page - y->run.first) << c->shift);

	if (!from || page != y->stream >> c->shift)
		return false;
	if (place(y->s, page) + from < y->size)
		return true;
	for (uint64_t i = from; i < UINT64_C(1) << c->shift; i++)
		if (bytes[i])
			return true;
	return false;
}

/* Copy the run's pages and mark them as awaiting clean. */
static void take_frames(struct sync *y) REQUIRES(y->s->content->family->lock)
{
	struct source *s = y->s;
	struct content *c = s->content;

	for (uint64_t i = 0; i < y->run.n; i++) {
		frame_t f = pages_get(&c->pages, y->run.first + i);

		bytes_copy(y->buf + (i << c->shift), arena_addr(c->arena, f),
			   (size_t)1 << c->shift);
		if (frame_pins(c->arena, f) || tail_is_lost(y, y->run.first + i))
			frame_mark(c->arena, f, FRAME_DIRTY, FRAME_CLEANING);
		else
			frame_mark(c->arena, f, FRAME_CLEANING, FRAME_DIRTY);
	}
}

/*
 * The next dirty run from page `at` on becomes awaiting clean. 1: y->run is it; 0: there is none.
 */
static int take_run(struct sync *y, uint64_t at) REQUIRES(y->s->content->family->lock)
{
	struct source *s = y->s;
	const struct content *c = s->content;
	uint64_t page_size = UINT64_C(1) << c->shift, end;
	int err = 0;

	y->stream = c->stream;
	end = (y->stream + page_size - 1) >> c->shift;
	end = min_u64(min_u64(end, y->end), atomic_load_explicit(&c->npages, memory_order_relaxed));
	if (!source_next_part(y->s, at, end, CHUNK, dirty_class, 0, &y->run))
		return 0;
	if (y->run.class == DIRTY_FRAME)
		y->run.n = min_u64(y->run.n, CHUNK);
	source_taken_back(y->s, y->run.first, y->run.n);
	if (y->run.class == DIRTY_FRAME) {
		content_read_only(y->s->content, y->run.first, y->run.n);
		take_frames(y);
	} else {
		err = dirty_move(y->s, y->run.first, y->run.n, &dirty_begin,
				 /* zero_only = */ true);
	}
	return err ? err : 1;
}

/* Zeros over what the file has there; it is made longer by its last byte alone. */
static int write_zeros(struct sync *y, uint64_t at, uint64_t end)
{
	uint64_t chunk = (uint64_t)CHUNK << y->s->content->shift;
	uint64_t there = min_u64(end, y->size);
	int err = 0;

	memset(y->buf, 0, chunk);
	for (; !err && at < there; at += chunk)
		err = write_all(y->s, y->buf, min_u64(chunk, there - at), at);
	if (!err && end > y->size) {
		err = write_all(y->s, y->buf, 1, end - 1);
		y->size = err ? y->size : end;
	}
	return err;
}

static int write_run(struct sync *y)
{
	const struct source *s = y->s;
	unsigned shift = s->content->shift;
	uint64_t first = y->run.first << shift;
	uint64_t len = min_u64(y->run.n << shift, y->stream - first);
	uint64_t at = place(s, y->run.first);

	if (at >= (uint64_t)INT64_MAX - len)
		return fail(-EFBIG, "file pager: page %" PRIu64 " is past all files", y->run.first);
	if (y->run.class == DIRTY_ZERO)
		return write_zeros(y, at, at + len);
	return write_all(s, y->buf, len, at);
}

/* Written, or not: clean, or dirty again. What was written meanwhile is dirty in any case. */
static int settle_run(struct sync *y, int err)
{
	struct source *s = y->s;
	uint64_t npages, end = y->run.first + y->run.n;
	int failed = 0;

	source_lock(y->s);
	npages = atomic_load_explicit(&s->content->npages, memory_order_relaxed);
	end = min_u64(end, npages);
	if (y->run.first < end)
		failed = dirty_move(y->s, y->run.first, end - y->run.first,
				    err ? &dirty_back : &dirty_end, y->run.class == DIRTY_ZERO);
	source_unlock(y->s);
	return err ? err : failed;
}

static int sync_from(struct sync *y, uint64_t at)
{
	int err;

	for (;; at = y->run.first + y->run.n) {
		source_lock(y->s);
		family_close(y->s->content->family);
		err = take_run(y, at);
		family_open(y->s->content->family);
		source_unlock(y->s);
		if (err != 1)
			return err;
		err = settle_run(y, write_run(y));
		if (err)
			return err;
	}
}

int vms_pager_file_sync(struct vms_object *obj)
{
	struct sync y = { 0 };
	struct page_range r;
	struct source *s;
	size_t bytes;
	int err;

	err = view_usable(obj);
	if (err)
		return err;
	s = view_of(obj)->content->source;
	if (!s || s->pager->request != pager_file_request)
		return fail(-EINVAL, "sync: the object is not filled by a file pager");
	err = view_range(obj, 0, view_bytes(obj), "sync", &r);
	if (err)
		return err;
	bytes = (size_t)CHUNK << s->content->shift;
	y.s = s;
	y.end = r.first + r.n;
	y.buf = s->world->alloc(s->world, bytes);
	if (!y.buf)
		return fail(-ENOMEM, "no memory to write pages back");
	source_lock(s);
	take_turn(s);
	source_unlock(s);
	err = file_size(s, &y.size);
	if (!err)
		err = sync_from(&y, r.first);
	source_lock(s);
	end_turn(s);
	source_unlock(s);
	s->world->free(s->world, y.buf, bytes);
	return err;
}
