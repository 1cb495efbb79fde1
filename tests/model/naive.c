// SPDX-License-Identifier: MIT
/* naive.c: see naive.h. Rules carry the row of the reference they are from. */
#include "naive.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct naive_content *naive_contents;
struct naive_view *naive_views;
uint64_t naive_page_size;
bool naive_eager;

static uint64_t last_frame;

#define P	  naive_page_size
#define CELL_SIZE (P / CELLS)

/* ---- who shares ---- */

static unsigned sharers(uint64_t frame)
{
	unsigned n = 0;

	for (struct naive_content *c = naive_contents; c; c = c->next)
		for (unsigned i = 0; i < c->npages; i++)
			if (c->page[i].frame == frame) {
				n++;
				break;
			}
	return n;
}

static int by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

uint64_t naive_frames(void)
{
	static uint64_t *frame;
	static size_t room;
	size_t n = 0;
	uint64_t distinct = 0;

	for (struct naive_content *c = naive_contents; c; c = c->next) {
		if (room < n + MAX_PAGES) {
			room = 2 * room + MAX_PAGES;
			frame = realloc(frame, room * sizeof(*frame));
		}
		for (unsigned i = 0; i < c->npages; i++)
			if (c->page[i].frame)
				frame[n++] = c->page[i].frame;
	}
	if (n)
		qsort(frame, n, sizeof(*frame), by_number);
	for (size_t i = 0; i < n; i++)
		distinct += !i || frame[i] != frame[i - 1];
	return distinct;
}

unsigned naive_share(const struct naive_view *v, struct vms_share *rows, unsigned max)
{
	unsigned used = 0;

	if (v->kind == VMS_OBJECT_KIND_SLICE || v->kind == VMS_OBJECT_KIND_REFERENCE ||
	    v->c->kind == VMS_OBJECT_KIND_HOST)
		return 0;
	for (unsigned k = 1; k <= max; k++) {
		uint64_t pages = 0;

		for (unsigned i = 0; i < v->c->npages; i++)
			if (v->c->page[i].frame && sharers(v->c->page[i].frame) == k)
				pages++;
		if (pages)
			rows[used++] = (struct vms_share){ .sharers = k, .pages = pages };
	}
	return used;
}

/* ---- life ---- */

static struct naive_content *new_content(enum vms_object_kind kind, uint32_t flags, uint64_t bytes)
{
	struct naive_content *c = calloc(1, sizeof(*c));

	c->refs = 1;
	c->kind = kind;
	c->flags = flags & ~VMS_OBJECT_NO_WRITE;
	c->npages = (unsigned)((bytes + P - 1) / P);
	c->stream = bytes;
	c->next = naive_contents;
	naive_contents = c;
	return c;
}

static void content_put(struct naive_content *c)
{
	while (c && --c->refs == 0) {
		struct naive_content *below = c->below, **p = &naive_contents;

		while (*p != c)
			p = &(*p)->next;
		*p = c->next;
		free(c);
		c = below;
	}
}

static struct naive_view *new_view(struct naive_content *c, enum vms_object_kind kind,
				   uint32_t flags, struct naive_view *parent)
{
	struct naive_view *v = calloc(1, sizeof(*v));

	v->c = c;
	v->kind = kind;
	v->flags = flags;
	v->parent = parent;
	v->next = naive_views;
	naive_views = v;
	if (parent) {
		parent->nchildren++;
		if (kind != VMS_OBJECT_KIND_SLICE)
			parent->c->children++;
	}
	return v;
}

struct naive_view *naive_create(enum vms_object_kind kind, uint32_t flags, uint64_t bytes)
{
	struct naive_content *c = new_content(kind, flags, bytes);

	if (flags & VMS_OBJECT_CONTIGUOUS)
		for (unsigned i = 0; i < c->npages; i++)
			c->page[i].frame = ++last_frame;
	return new_view(c, kind, flags, NULL);
}

void naive_drop(struct naive_view *v)
{
	struct naive_view **p = &naive_views;

	for (struct naive_view *o = naive_views; o; o = o->next) {
		if (o->parent != v)
			continue;
		o->parent = v->parent; /* F82: re-homed */
		if (o->kind != VMS_OBJECT_KIND_SLICE)
			v->c->children--;
		if (v->parent) {
			v->parent->nchildren++;
			if (o->kind != VMS_OBJECT_KIND_SLICE)
				v->parent->c->children++;
		}
	}
	if (v->parent) {
		if (v->kind != VMS_OBJECT_KIND_SLICE)
			v->parent->c->children--;
		if (--v->parent->nchildren == 0)
			v->parent->told++;
	}
	while (*p != v)
		p = &(*p)->next;
	*p = v->next;
	content_put(v->c);
	free(v);
}

/* ---- what a page shows ---- */

uint64_t naive_bytes(const struct naive_view *v)
{
	return (v->kind == VMS_OBJECT_KIND_SLICE ? v->npages : v->c->npages) * P;
}

static bool shows_below(const struct naive_content *c, unsigned i)
{
	return c->below && i < c->below_limit && !c->page[i].frame &&
	       c->page[i].mark == NAIVE_EMPTY;
}

static bool absent(const struct naive_content *c, unsigned i)
{
	if (shows_below(c, i))
		return absent(c->below, c->below_at + i);
	return c->kind == VMS_OBJECT_KIND_PAGED && !c->page[i].frame &&
	       c->page[i].mark == NAIVE_EMPTY;
}

static void show(const struct naive_content *c, unsigned i, uint8_t cell[CELLS])
{
	const struct naive_page *p = &c->page[i];

	if (shows_below(c, i))
		show(c->below, c->below_at + i, cell);
	else if (c->kind == VMS_OBJECT_KIND_FILE || c->kind == VMS_OBJECT_KIND_HOST)
		memcpy(cell, c->backing[i], CELLS);
	else if (p->frame)
		memcpy(cell, p->cell, CELLS);
	else
		memset(cell, 0, CELLS);
}

bool naive_present(const struct naive_view *v, unsigned page)
{
	return !absent(v->c, v->at + page);
}

void naive_show(const struct naive_view *v, unsigned page, uint8_t cell[CELLS])
{
	show(v->c, v->at + page, cell);
}

/* ---- making pages ---- */

/* The pager fills page i of the root, unless it was detached. */
static int fetch(struct naive_content *c, unsigned i)
{
	if (shows_below(c, i))
		return fetch(c->below, c->below_at + i);
	if (!absent(c, i))
		return 0;
	if (c->detached)
		return -EBUSY; /* F100 */
	if (c->refuse)
		return c->refuse;
	if (c->hole[i]) {
		c->page[i].mark = NAIVE_ZERO;
	} else {
		c->page[i].frame = ++last_frame;
		c->page[i].dirty = NAIVE_CLEAN;
		c->page[i].always = false;
		memcpy(c->page[i].cell, c->backing[i], CELLS);
	}
	return 0;
}

void naive_supplied(struct naive_content *c, unsigned i)
{
	if (i < c->npages && absent(c, i))
		fetch(c, i);
}

static int fetch_range(struct naive_content *c, unsigned first, unsigned n)
{
	for (unsigned i = first; i < first + n; i++)
		if (absent(c, i)) {
			int err = fetch(c, i);

			if (err)
				return err;
		}
	return 0;
}

/* A first write that wants the pager's leave cannot have it after it was detached. */
static int leave(const struct naive_content *c, unsigned first, unsigned n)
{
	if (!c->detached || !(c->flags & VMS_OBJECT_TRAP_DIRTY))
		return 0;
	for (unsigned i = first; i < first + n; i++)
		if (c->page[i].frame ? c->page[i].dirty != NAIVE_DIRTY
				     : c->page[i].mark != NAIVE_ZERO_DIRTY)
			return -EBUSY;
	return 0;
}

/* A frame of c's own at page i, with the bytes that were seen. */
static void own(struct naive_content *c, unsigned i)
{
	struct naive_page *p = &c->page[i];
	uint8_t cell[CELLS];

	if (p->frame && sharers(p->frame) == 1)
		return;
	show(c, i, cell);
	memcpy(p->cell, cell, CELLS);
	if (c->kind == VMS_OBJECT_KIND_PAGED)
		p->dirty = p->mark == NAIVE_ZERO_DIRTY	    ? NAIVE_DIRTY
			   : p->mark == NAIVE_ZERO_CLEANING ? NAIVE_CLEANING
							    : NAIVE_CLEAN;
	p->frame = ++last_frame;
	p->mark = NAIVE_EMPTY;
	p->always = false;
}

static void drop_page(struct naive_content *c, unsigned i, enum naive_mark mark)
{
	memset(&c->page[i], 0, sizeof(c->page[i]));
	c->page[i].mark = mark;
}

/* ---- ranges ---- */

struct range {
	struct naive_content *c;
	unsigned first, n; /* pages, outward */
	uint64_t off, end; /* bytes in the content */
};

static int range_of(const struct naive_view *v, uint64_t off, uint64_t len, struct range *r)
{
	uint64_t bytes = naive_bytes(v);

	if (off > bytes || len > bytes - off)
		return -ERANGE;
	r->c = v->c;
	r->off = off + v->at * P;
	r->end = r->off + len;
	r->first = (unsigned)(r->off / P);
	r->n = len ? (unsigned)((r->end + P - 1) / P) - r->first : 0;
	return 0;
}

static bool has_bytes_elsewhere(const struct naive_content *c)
{
	return c->kind == VMS_OBJECT_KIND_FILE || c->kind == VMS_OBJECT_KIND_HOST;
}

/* Does [off, end) cover page i? */
static bool whole(const struct range *r, unsigned i)
{
	return r->off <= i * P && (i + 1) * P <= r->end;
}

static void set_cells(uint8_t cell[CELLS], const struct range *r, unsigned i, uint8_t value)
{
	for (unsigned k = 0; k < CELLS; k++) {
		uint64_t at = i * P + k * CELL_SIZE;

		if (at >= r->off && at < r->end)
			cell[k] = value;
	}
}

int naive_read(struct naive_view *v, uint64_t off, uint64_t len)
{
	struct range r;
	int err = range_of(v, off, len, &r);

	if (err)
		return err;
	if (!len)
		return 0;
	if (r.c->discarded)
		return -ENOENT;
	return fetch_range(r.c, r.first, r.n);
}

int naive_write(struct naive_view *v, uint64_t off, uint64_t len, uint8_t value)
{
	struct range r;
	int err = range_of(v, off, len, &r);

	if (err)
		return err;
	if (v->flags & VMS_OBJECT_NO_WRITE)
		return -EACCES;
	if (!len)
		return 0;
	if (r.c->discarded)
		return -ENOENT;
	if (has_bytes_elsewhere(r.c)) {
		for (unsigned i = r.first; i < r.first + r.n; i++)
			set_cells(r.c->backing[i], &r, i, value);
		return 0;
	}
	/* What will be overwritten wholly need not be fetched, but by the paged object itself. */
	for (unsigned i = r.first; i < r.first + r.n; i++)
		if (r.c->kind == VMS_OBJECT_KIND_PAGED || !whole(&r, i)) {
			err = fetch_range(r.c, i, 1);
			if (err)
				return err;
		}
	err = leave(r.c, r.first, r.n);
	if (err)
		return err;
	for (unsigned i = r.first; i < r.first + r.n; i++) {
		own(r.c, i);
		set_cells(r.c->page[i].cell, &r, i, value);
		if (r.c->kind == VMS_OBJECT_KIND_PAGED)
			r.c->page[i].dirty = NAIVE_DIRTY;
	}
	if (r.n && r.c->kind == VMS_OBJECT_KIND_PAGED)
		r.c->modified = true;
	return 0;
}

int naive_touch(struct naive_view *v, uint64_t off, uint64_t len, bool write)
{
	struct range r;
	int err = range_of(v, off, len, &r);

	if (err)
		return err;
	if (r.c->discarded)
		return -ENOENT;
	err = fetch_range(r.c, r.first, r.n);
	if (err || !write || has_bytes_elsewhere(r.c))
		return err;
	err = leave(r.c, r.first, r.n);
	if (err)
		return err;
	for (unsigned i = r.first; i < r.first + r.n; i++) {
		own(r.c, i);
		if (r.c->kind == VMS_OBJECT_KIND_PAGED)
			r.c->page[i].dirty = NAIVE_DIRTY;
	}
	if (r.c->kind == VMS_OBJECT_KIND_PAGED)
		r.c->modified = true;
	return 0;
}

void naive_bring(struct naive_view *v, uint64_t off)
{
	unsigned i = (unsigned)(off / P) + v->at;

	if (shows_below(v->c, i) && v->c->below->kind == VMS_OBJECT_KIND_FILE)
		own(v->c, i);
}

bool naive_may_write_through(const struct naive_view *v, unsigned page)
{
	const struct naive_content *c = v->c;
	const struct naive_page *p = &c->page[v->at + page];

	if (has_bytes_elsewhere(c))
		return true;
	/* An eager space may have copied it already, or given the zeros a frame. */
	if (naive_eager)
		return c->kind == VMS_OBJECT_KIND_PAGED || p->frame ||
		       !shows_below(c, v->at + page);
	if (!p->frame || sharers(p->frame) > 1)
		return false;
	return c->kind != VMS_OBJECT_KIND_PAGED || p->dirty == NAIVE_DIRTY;
}

void naive_poke(struct naive_view *v, uint64_t off, uint8_t value)
{
	uint64_t at = v->at * P + off;
	struct naive_content *c = v->c;

	if (has_bytes_elsewhere(c)) {
		c->backing[at / P][at % P / CELL_SIZE] = value;
		return;
	}
	own(c, (unsigned)(at / P));
	c->page[at / P].cell[at % P / CELL_SIZE] = value;
}

void naive_dirtied(struct naive_content *c, unsigned i)
{
	if (i >= c->npages || absent(c, i))
		return;
	own(c, i); /* zero pages get memory */
	c->page[i].dirty = NAIVE_DIRTY;
}

/* Bytes [off, end) of the content read zero (F67). Everything needed is there. */
static void zero(const struct range *r)
{
	struct naive_content *c = r->c;

	for (unsigned i = r->first; i < r->first + r->n; i++) {
		struct naive_page *p = &c->page[i];

		if (whole(r, i) && !p->pins && !(c->flags & VMS_OBJECT_CONTIGUOUS)) {
			drop_page(c, i,
				  c->kind == VMS_OBJECT_KIND_PAGED ? NAIVE_ZERO_DIRTY
				  : c->below && i < c->below_limit ? NAIVE_ZERO
								   : NAIVE_EMPTY);
			continue;
		}
		/* Reads zero already: no memory for it. */
		if (!p->frame && !shows_below(c, i))
			continue;
		own(c, i);
		set_cells(p->cell, r, i, 0);
		if (c->kind == VMS_OBJECT_KIND_PAGED)
			p->dirty = NAIVE_DIRTY;
	}
}

static int op_zero(const struct range *r)
{
	struct naive_content *c = r->c;
	int err;

	if (has_bytes_elsewhere(c)) {
		for (unsigned i = r->first; i < r->first + r->n; i++)
			set_cells(c->backing[i], r, i, 0);
		return 0;
	}
	for (unsigned i = r->first; i < r->first + r->n; i++) {
		/* Whole pages need not be known, but where the pager wants to be asked first. */
		if (whole(r, i) && !(c->flags & VMS_OBJECT_TRAP_DIRTY))
			continue;
		err = fetch_range(c, i, 1);
		if (err)
			return err;
	}
	for (unsigned i = r->first; i < r->first + r->n; i++) {
		if (!whole(r, i) && !c->page[i].frame) /* nothing to change */
			continue;
		err = leave(c, i, 1);
		if (err)
			return err;
	}
	zero(r);
	if (r->n && c->kind == VMS_OBJECT_KIND_PAGED)
		c->modified = true;
	return 0;
}

static bool may_decommit(const struct naive_content *c)
{
	return c->kind == VMS_OBJECT_KIND_ANON && !c->copy && !c->children &&
	       !(c->flags & VMS_OBJECT_CONTIGUOUS);
}

static int op_decommit(const struct range *r)
{
	struct naive_content *c = r->c;

	for (unsigned i = r->first; i < r->first + r->n; i++)
		if (c->page[i].pins)
			return -EBUSY;
	for (unsigned i = r->first; i < r->first + r->n; i++)
		drop_page(c, i, NAIVE_EMPTY);
	return 0;
}

static int op_commit(const struct range *r)
{
	int err;

	if (r->c->discarded)
		return -ENOENT;
	if (has_bytes_elsewhere(r->c))
		return 0;
	err = fetch_range(r->c, r->first, r->n);
	if (err)
		return err;
	for (unsigned i = r->first; i < r->first + r->n; i++)
		own(r->c, i);
	return 0;
}

/* F78: on a copy the hint reaches what it still inherits of a pager's object. */
static int op_hint(const struct range *r, bool always)
{
	int err = 0;

	if (always)
		err = fetch_range(r->c, r->first, r->n);
	if (err)
		return err;
	for (unsigned i = r->first; i < r->first + r->n; i++) {
		struct naive_content *c = r->c;
		unsigned k = i;

		if (shows_below(c, i)) {
			k = c->below_at + i;
			c = c->below;
		}
		if (c->kind != VMS_OBJECT_KIND_PAGED)
			continue;
		if (always)
			own(c, k); /* zeros get memory, to carry it */
		if (!c->page[k].frame)
			continue;
		c->page[k].always |= always; /* sticky */
	}
	return 0;
}

int naive_op(struct naive_view *v, enum vms_object_op op, uint64_t off, uint64_t len)
{
	struct range r;
	int err;

	if (op == VMS_OBJECT_DECOMMIT && (off % P || len % P))
		return -EINVAL;
	if (op == VMS_OBJECT_COMMIT && off <= naive_bytes(v) && len > naive_bytes(v) - off)
		len = naive_bytes(v) - off; /* F65: trimmed */
	err = range_of(v, off, len, &r);
	if (err)
		return err;
	if ((op == VMS_OBJECT_ZERO || op == VMS_OBJECT_DECOMMIT) &&
	    (v->flags & VMS_OBJECT_NO_WRITE))
		return -EACCES;
	if (op == VMS_OBJECT_DECOMMIT && !may_decommit(v->c))
		return -ENOTSUP;
	if (!len && op != VMS_OBJECT_DECOMMIT)
		return 0;
	switch (op) {
	case VMS_OBJECT_ZERO:
		return op_zero(&r);
	case VMS_OBJECT_DECOMMIT:
		return op_decommit(&r);
	case VMS_OBJECT_COMMIT:
		return op_commit(&r);
	case VMS_OBJECT_PREFETCH:
		return fetch_range(r.c, r.first, r.n);
	case VMS_OBJECT_ALWAYS_NEED:
		return op_hint(&r, true);
	case VMS_OBJECT_DONT_NEED:
		return op_hint(&r, false);
	}
	return -EINVAL;
}

/* ---- sizes ---- */

/* Where the stream ends inside a page, the rest of it is zero. */
static void zero_tail(struct naive_content *c, uint64_t from)
{
	struct range r = { .c = c, .off = from, .end = (from + P - 1) / P * P };

	if (r.off == r.end)
		return;
	r.first = (unsigned)(from / P);
	r.n = 1;
	if (!c->page[r.first].frame && !shows_below(c, r.first))
		return;
	zero(&r);
	if (c->kind == VMS_OBJECT_KIND_PAGED)
		c->modified = true;
}

int naive_resize(struct naive_view *v, uint64_t bytes)
{
	struct naive_content *c = v->c;
	unsigned npages = (unsigned)((bytes + P - 1) / P), old = c->npages;

	if (!(v->flags & VMS_OBJECT_RESIZABLE))
		return -EPERM;
	for (unsigned i = npages; i < old; i++)
		if (c->page[i].pins)
			return -EBUSY;
	if (bytes < c->stream && bytes % P && bytes / P < old) {
		unsigned page = (unsigned)(bytes / P);

		/* F62. What a pager has yet to bring is its own affair. */
		if (c->kind != VMS_OBJECT_KIND_PAGED) {
			int err = fetch(c, page);

			if (err)
				return err;
		}
		if (!absent(c, page))
			zero_tail(c, bytes);
	}
	for (unsigned i = npages; i < old; i++)
		drop_page(c, i, NAIVE_EMPTY);
	c->npages = npages;
	if (c->below_limit > npages)
		c->below_limit = npages;
	for (struct naive_content *o = naive_contents; o; o = o->next)
		if (o->below == c && o->below_at + o->below_limit > npages)
			o->below_limit = npages > o->below_at ? npages - o->below_at : 0;
	if (c->kind == VMS_OBJECT_KIND_PAGED) {
		for (unsigned i = old; i < npages; i++)
			c->page[i].mark = NAIVE_ZERO_DIRTY; /* F106 */
		c->modified = true;
	}
	c->stream = bytes;
	return 0;
}

int naive_stream(struct naive_view *v, uint64_t bytes)
{
	struct naive_content *c = v->c;

	if (bytes > naive_bytes(v))
		return -ERANGE;
	if (has_bytes_elsewhere(c) || v->kind == VMS_OBJECT_KIND_SLICE)
		return -ENOTSUP;
	if (v->flags & VMS_OBJECT_NO_WRITE)
		return -EACCES;
	if (bytes < c->stream) {
		int err = 0;

		if (bytes % P)
			err = fetch_range(c, (unsigned)(bytes / P), 1);
		if (!err && bytes % P && c->page[bytes / P].frame)
			err = leave(c, (unsigned)(bytes / P), 1);
		if (err)
			return err;
		zero_tail(c, bytes);
	}
	c->stream = bytes;
	return 0;
}

/* ---- pins ---- */

int naive_pin(struct naive_view *v, uint64_t off, uint64_t len, bool writing)
{
	struct range r;
	int err;

	if (!len)
		return -EINVAL;
	err = range_of(v, off, len, &r);
	if (err)
		return err;
	if (r.c->kind == VMS_OBJECT_KIND_FILE)
		return -ENOTSUP;
	if (writing && (v->flags & VMS_OBJECT_NO_WRITE))
		return -EACCES;
	if (r.c->kind == VMS_OBJECT_KIND_HOST)
		return 0;
	if (r.c->discarded)
		return -ENOENT;
	err = fetch_range(r.c, r.first, r.n);
	if (!err && writing)
		err = leave(r.c, r.first, r.n);
	if (err)
		return err;
	for (unsigned i = r.first; i < r.first + r.n; i++) {
		own(r.c, i);
		r.c->page[i].pins++;
		r.c->pins++;
		if (writing && r.c->kind == VMS_OBJECT_KIND_PAGED) {
			r.c->page[i].dirty = NAIVE_DIRTY;
			r.c->modified = true;
		}
	}
	return 0;
}

int naive_unpin(struct naive_view *v, uint64_t off, uint64_t len)
{
	struct range r;
	int err;

	if (!len)
		return -EINVAL;
	err = range_of(v, off, len, &r);
	if (err)
		return err;
	if (r.c->kind == VMS_OBJECT_KIND_FILE)
		return -ENOTSUP;
	if (r.c->kind == VMS_OBJECT_KIND_HOST)
		return 0;
	for (unsigned i = r.first; i < r.first + r.n; i++)
		if (!r.c->page[i].pins)
			return -EBUSY;
	for (unsigned i = r.first; i < r.first + r.n; i++) {
		r.c->page[i].pins--;
		r.c->pins--;
	}
	return 0;
}

/* ---- children ---- */

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static int copy_child(struct naive_view *parent, enum vms_child_kind kind, unsigned off,
		      uint64_t window, uint64_t bytes, uint32_t flags, struct naive_view **child)
{
	struct naive_content *pc = parent->c, *c;
	bool root = pc->kind == VMS_OBJECT_KIND_PAGED || pc->kind == VMS_OBJECT_KIND_FILE;
	unsigned npages = (unsigned)((bytes + P - 1) / P);
	unsigned there = off < pc->npages ? pc->npages - off : 0;
	unsigned n = least(least(there, window > MAX_PAGES ? MAX_PAGES : (unsigned)window), npages);

	if (pc->flags & VMS_OBJECT_CONTIGUOUS)
		return -EINVAL;
	if (pc->kind == VMS_OBJECT_KIND_HOST)
		return -ENOTSUP;
	if ((root || pc->below) && kind == VMS_CHILD_SNAPSHOT)
		return -ENOTSUP;
	if (parent->kind == VMS_OBJECT_KIND_SLICE && !root)
		return -ENOTSUP;
	if (pc->flags & VMS_OBJECT_DISCARDABLE)
		return -ENOTSUP;
	for (unsigned i = 0; !root && i < n; i++)
		if (pc->page[off + i].pins)
			return -EBUSY;
	c = new_content(VMS_OBJECT_KIND_ANON, flags, bytes);
	c->copy = true;
	if (root) {
		if (n) {
			c->below = pc;
			c->below_at = off;
			c->below_limit = n;
			pc->refs++;
		}
	} else {
		for (unsigned i = 0; i < n; i++)
			c->page[i] = pc->page[off + i];
		if (pc->below && off < pc->below_limit && n) {
			c->below = pc->below;
			c->below_at = pc->below_at + off;
			c->below_limit = least(n, pc->below_limit - off);
			c->below->refs++;
		}
	}
	/* A mark that hides the root hides nothing where there is none. */
	for (unsigned i = 0; i < c->npages; i++)
		if (!c->below && c->page[i].mark == NAIVE_ZERO)
			c->page[i].mark = NAIVE_EMPTY;
	*child = new_view(c, VMS_OBJECT_KIND_ANON, flags, parent);
	(*child)->snapshot = true;
	return 0;
}

int naive_child(struct naive_view *parent, enum vms_child_kind kind, uint64_t off, uint64_t bytes,
		uint32_t flags, struct naive_view **child)
{
	struct naive_content *pc = parent->c;
	bool slice = parent->kind == VMS_OBJECT_KIND_SLICE;
	unsigned npages = (unsigned)((bytes + P - 1) / P), at, end;
	uint64_t window =
		slice ? (off / P < parent->npages ? parent->npages - off / P : 0) : MAX_PAGES;

	if ((flags & VMS_OBJECT_RESIZABLE) && (flags & VMS_OBJECT_NO_WRITE))
		return -EINVAL;
	if (off % P)
		return -EINVAL;
	at = (unsigned)(off / P) + parent->at;
	switch (kind) {
	case VMS_CHILD_SNAPSHOT:
	case VMS_CHILD_SNAPSHOT_LAZY:
	case VMS_CHILD_SNAPSHOT_MODIFIED:
		return copy_child(parent, kind, at, window, bytes, flags, child);
	case VMS_CHILD_SLICE:
		if (flags & VMS_OBJECT_RESIZABLE)
			return -EINVAL;
		end = slice ? parent->at + parent->npages : pc->npages;
		if (at > end || npages > end - at)
			return -EINVAL;
		if (pc->flags & (VMS_OBJECT_DISCARDABLE | VMS_OBJECT_RESIZABLE))
			return -ENOTSUP;
		pc->refs++;
		*child = new_view(pc, VMS_OBJECT_KIND_SLICE, flags, parent);
		(*child)->at = at;
		(*child)->npages = npages;
		return 0;
	case VMS_CHILD_REFERENCE:
		if (off || bytes)
			return -EINVAL;
		if (pc->flags & (VMS_OBJECT_CONTIGUOUS | VMS_OBJECT_DISCARDABLE))
			return -ENOTSUP;
		if (pc->kind == VMS_OBJECT_KIND_HOST || slice)
			return -ENOTSUP;
		if ((flags & VMS_OBJECT_RESIZABLE) && !(parent->flags & VMS_OBJECT_RESIZABLE))
			return -ENOTSUP;
		pc->refs++;
		*child = new_view(pc, VMS_OBJECT_KIND_REFERENCE, flags, parent);
		return 0;
	}
	return -EINVAL;
}

int naive_may_branch(const struct naive_view *v)
{
	const struct naive_content *c = v->c;

	if (c->kind != VMS_OBJECT_KIND_ANON ||
	    (c->flags & (VMS_OBJECT_CONTIGUOUS | VMS_OBJECT_DISCARDABLE)))
		return -ENOTSUP;
	return c->pins ? -EBUSY : 0;
}

int naive_branch(struct naive_view *v, struct naive_content **copy, struct naive_view **twin)
{
	struct naive_content *pc = v->c, *c = *copy;
	int err = naive_may_branch(v);

	if (err)
		return err;
	if (!c) {
		c = new_content(VMS_OBJECT_KIND_ANON, pc->flags, pc->npages * P);
		c->stream = pc->stream;
		c->copy = true;
		memcpy(c->page, pc->page, sizeof(c->page));
		if (pc->below && pc->below_limit) {
			c->below = pc->below;
			c->below_at = pc->below_at;
			c->below_limit = pc->below_limit;
			c->below->refs++;
		}
		for (unsigned i = 0; i < c->npages; i++)
			if (!c->below && c->page[i].mark == NAIVE_ZERO)
				c->page[i].mark = NAIVE_EMPTY;
		*copy = c;
	} else {
		c->refs++;
	}
	*twin = new_view(c, v->kind, v->flags, v);
	(*twin)->at = v->at;
	(*twin)->npages = v->npages;
	return 0;
}

/* ---- transfer (F71, F70 with KEEP) ---- */

static int may_transfer(const struct naive_content *c)
{
	if (c->kind != VMS_OBJECT_KIND_ANON || c->below ||
	    (c->flags & (VMS_OBJECT_CONTIGUOUS | VMS_OBJECT_DISCARDABLE)))
		return -ENOTSUP;
	return 0;
}

int naive_transfer(struct naive_view *dst, uint64_t off, uint64_t len, struct naive_view *src,
		   uint64_t src_off, uint32_t flags)
{
	struct naive_page moved[MAX_PAGES];
	struct range d, s;
	int err;

	if (flags & ~VMS_TRANSFER_KEEP)
		return -EINVAL;
	if (off % P || len % P || src_off % P)
		return -EINVAL;
	if ((dst->flags | src->flags) & VMS_OBJECT_NO_WRITE)
		return -EACCES;
	if (range_of(dst, off, len, &d) || range_of(src, src_off, len, &s))
		return -ERANGE;
	err = may_transfer(d.c);
	if (!err)
		err = may_transfer(s.c);
	if (err)
		return err;
	for (unsigned i = 0; i < d.n; i++)
		if (d.c->page[d.first + i].pins || s.c->page[s.first + i].pins)
			return -EBUSY;
	if (d.c == s.c && d.first == s.first)
		return 0;
	memcpy(moved, &s.c->page[s.first], s.n * sizeof(moved[0]));
	for (unsigned i = 0; i < s.n; i++)
		if (moved[i].frame && sharers(moved[i].frame) > 1)
			moved[i].frame = ++last_frame; /* copied */
	for (unsigned i = 0; i < s.n; i++)
		drop_page(s.c, s.first + i, NAIVE_EMPTY);
	for (unsigned i = 0; i < d.n; i++)
		if (!((flags & VMS_TRANSFER_KEEP) && d.c->page[d.first + i].frame))
			d.c->page[d.first + i] = moved[i];
	return 0;
}

/* ---- discardable ---- */

int naive_lock(struct naive_view *v, bool must_hold, int *discarded)
{
	struct naive_content *c = v->c;

	if (!(c->flags & VMS_OBJECT_DISCARDABLE))
		return -ENOTSUP;
	if (must_hold && c->discarded)
		return -EPERM;
	*discarded = c->discarded;
	c->discarded = false;
	c->locks++;
	return 0;
}

int naive_unlock(struct naive_view *v)
{
	if (!(v->c->flags & VMS_OBJECT_DISCARDABLE))
		return -ENOTSUP;
	if (!v->c->locks)
		return -EBUSY;
	v->c->locks--;
	return 0;
}

/* All that may go goes. */
void naive_reclaim(void)
{
	for (struct naive_content *c = naive_contents; c; c = c->next) {
		bool any = false;

		if (c->high)
			continue;
		for (unsigned i = 0; i < c->npages; i++) {
			struct naive_page *p = &c->page[i];

			any |= p->frame != 0;
			if (c->kind == VMS_OBJECT_KIND_PAGED && p->frame &&
			    p->dirty == NAIVE_CLEAN && !p->pins && !p->always)
				drop_page(c, i, NAIVE_EMPTY);
		}
		if ((c->flags & VMS_OBJECT_DISCARDABLE) && any && !c->locks && !c->pins) {
			for (unsigned i = 0; i < c->npages; i++)
				drop_page(c, i, NAIVE_EMPTY);
			c->discarded = true;
		}
	}
}

/* ---- pager ---- */

int naive_detach(struct naive_view *v)
{
	struct naive_content *c = v->c;

	if (c->kind != VMS_OBJECT_KIND_PAGED)
		return -EINVAL;
	if (c->detached)
		return 0;
	c->detached = true;
	for (unsigned i = 0; i < c->npages; i++)
		if ((c->page[i].frame && c->page[i].dirty == NAIVE_CLEAN && !c->page[i].pins) ||
		    c->page[i].mark == NAIVE_ZERO)
			drop_page(c, i, NAIVE_EMPTY);
	return 0;
}

int naive_writeback(struct naive_view *v, uint64_t off, uint64_t len, bool end)
{
	struct naive_content *c = v->c;
	struct range r;
	int err;

	if (c->kind != VMS_OBJECT_KIND_PAGED || v->kind == VMS_OBJECT_KIND_SLICE)
		return -EINVAL;
	err = range_of(v, off, len, &r);
	if (err)
		return err;
	for (unsigned i = r.first; i < r.first + r.n; i++) {
		struct naive_page *p = &c->page[i];

		if (!end && p->frame && p->dirty == NAIVE_DIRTY && !p->pins)
			p->dirty = NAIVE_CLEANING;
		if (!end && p->mark == NAIVE_ZERO_DIRTY)
			p->mark = NAIVE_ZERO_CLEANING;
		if (!end &&
		    ((p->frame && p->dirty == NAIVE_CLEANING) || p->mark == NAIVE_ZERO_CLEANING)) {
			show(c, i, c->backing[i]); /* the pager writes it away now */
			c->hole[i] = false;
		}
		if (end && p->frame && p->dirty == NAIVE_CLEANING)
			p->dirty = NAIVE_CLEAN;
		if (end && p->mark == NAIVE_ZERO_CLEANING)
			p->mark = NAIVE_ZERO;
	}
	return 0;
}
