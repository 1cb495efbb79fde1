// SPDX-License-Identifier: MIT
/* twins.c: see twins.h. */
#include "twins.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model.h"
#include "object/content.h"

struct twin twins[TWINS_MAX];
unsigned twins_live;
unsigned twins_pages = MAX_PAGES;
bool twins_refuse;
enum twins_answers twins_answers;
struct vms_arena *twins_arena;
struct vms_pager *twins_pager;

/* What the library tells of an object: it may end after its name in twins[] has. */
struct twin_note {
	unsigned told;
	void *hva;
	size_t len;
};

static unsigned twins_notes;
static struct vms_object *nothing; /* an empty object, whose holes are supplied */

unsigned twin_index(const struct twin *p)
{
	return (unsigned)(p - twins);
}

/* ---- the pager ---- */

static uint8_t filled[MAX_PAGES * 65536];

static bool ahead; /* the naive objects have done already what is done now */

/* What it was asked and has not answered. */
static struct asked {
	struct vms_object *obj;
	uint64_t key, off, len;
	enum vms_request_kind kind;
	bool ahead; /* when it was asked */
} asked[256];
static unsigned n_asked;

static void bytes_of(const uint8_t cell[CELLS], uint8_t *page)
{
	size_t size = naive_page_size / CELLS;

	for (unsigned k = 0; k < CELLS; k++)
		memset(page + k * size, cell[k], size);
}

/*
 * A resize may have cut the end off what was asked for, of which the pager is not told: an answer
 * past the end is -ERANGE and changes nothing. What is left of the range is answered for itself.
 */
static void answer_what_is_left(struct asked *a, const struct naive_content *c)
{
	uint64_t end = c->npages * naive_page_size;
	int err;

	if (a->off + a->len <= end)
		return;
	err = a->kind == VMS_REQUEST_DIRTY
		      ? vms_pager_dirtied(twins_pager, a->obj, a->off, a->len)
		      : vms_pager_supply_bytes(twins_pager, a->obj, a->off, filled, a->len);
	if (err != -ERANGE)
		die("an answer for [%#" PRIx64 ", +%#" PRIx64 ") of %#" PRIx64 " bytes: %d", a->off,
		    a->len, end, err);
	a->len = a->off < end ? end - a->off : 0;
}

static void answer(struct asked *a)
{
	struct naive_content *c = (struct naive_content *)(uintptr_t)a->key;
	uint64_t page = naive_page_size;
	int err = 0;

	answer_what_is_left(a, c);
	if (!a->len)
		return;
	if (a->kind == VMS_REQUEST_DIRTY) {
		err = vms_pager_dirtied(twins_pager, a->obj, a->off, a->len);
		if (err)
			die("dirtied(%#" PRIx64 ", %#" PRIx64 ") = %d", a->off, a->len, err);
		for (uint64_t at = a->off; !a->ahead && at < a->off + a->len; at += page)
			naive_dirtied(c, (unsigned)(at / page));
		return;
	}
	if (c->refuse) {
		err = vms_pager_fail(twins_pager, a->obj, a->off, a->len, c->refuse);
		if (err)
			die("fail = %d", err);
		return;
	}
	for (uint64_t at = a->off; at < a->off + a->len && !err; at += page) {
		unsigned i = (unsigned)(at / page);

		if (c->hole[i]) {
			err = vms_pager_supply(twins_pager, a->obj, at, page, nothing, 0);
		} else {
			bytes_of(c->backing[i], filled);
			err = vms_pager_supply_bytes(twins_pager, a->obj, at, filled, page);
		}
		if (!err)
			naive_supplied(c, i);
	}
	if (err)
		die("supply of [%#" PRIx64 ", +%#" PRIx64 ") = %d", a->off, a->len, err);
}

static void request(void *arg, struct vms_object *obj, uint64_t key, enum vms_request_kind kind,
		    uint64_t off, uint64_t len)
{
	struct asked a = {
		.obj = obj, .key = key, .kind = kind, .off = off, .len = len, .ahead = ahead
	};

	describe("  asked for %s of [%#" PRIx64 ", +%#" PRIx64 ")",
		 kind == VMS_REQUEST_READ ? "pages" : "leave", off, len);

	if (twins_answers == TWINS_AT_ONCE || (twins_answers == TWINS_EITHER && rnd(2))) {
		answer(&a);
		return;
	}
	if (n_asked == sizeof(asked) / sizeof(asked[0]))
		die("%u requests are open", n_asked);
	asked[n_asked++] = a;
}

static void forget(uint64_t key, const struct asked *which)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < n_asked; i++) {
		const struct asked *a = &asked[i];

		if (a->key != key || (which && (a->kind != which->kind || a->off != which->off)))
			asked[kept++] = *a;
	}
	n_asked = kept;
}

static void cancelled(void *arg, struct vms_object *obj, uint64_t key, enum vms_request_kind kind,
		      uint64_t off, uint64_t len)
{
	struct asked a = { .kind = kind, .off = off };

	forget(key, &a);
}

static void completed(void *arg, uint64_t key)
{
	forget(key, NULL);
}

void twins_answer(void)
{
	/* An answer may bring a question. */
	for (unsigned turns = 0; n_asked; turns++) {
		struct asked a = asked[0];

		if (turns > 1000)
			die("the pager is asked for ever");
		memmove(asked, asked + 1, --n_asked * sizeof(asked[0]));
		answer(&a);
	}
}

/* Call until it need not wait. */
#define SETTLED(call)                                 \
	({                                            \
		struct vms_wait wait;                 \
		int got_;                             \
		vms_wait_init(&wait);                 \
		while ((got_ = (call)) == VMS_WAIT) { \
			int e_ = twins_wait(&wait);   \
			if (e_) {                     \
				got_ = e_;            \
				break;                \
			}                             \
		}                                     \
		got_;                                 \
	})

int twins_wait(struct vms_wait *wait)
{
	int err;

	twins_answer();
	err = vms_wait_block(wait, INT64_C(2000000000));
	if (err == -ETIMEDOUT)
		die("what was waited for did not come");
	if (err)
		vms_wait_cancel(wait);
	return err;
}

/* ---- comparing ---- */

static void check_bytes(struct twin *p, unsigned page)
{
	static uint8_t buf[65536];
	uint8_t cell[CELLS];
	size_t size = naive_page_size / CELLS;
	int err = SETTLED(
		vms_object_read(p->obj, page * naive_page_size, buf, naive_page_size, &wait));

	if (err)
		die("reading page %u of object %u: %d", page, twin_index(p), err);
	naive_show(p->naive, page, cell);
	for (unsigned k = 0; k < CELLS; k++)
		if (buf[k * size] != cell[k] ||
		    memcmp(buf + k * size, buf + k * size + 1, size - 1))
			die("object %u page %u cell %u is %#x .. %#x, expected %#x", twin_index(p),
			    page, k, buf[k * size], buf[(k + 1) * size - 1], cell[k]);
}

static void check_content_of(struct twin *p)
{
	unsigned n = (unsigned)(naive_bytes(p->naive) / naive_page_size);

	if (p->naive->c->discarded)
		return;
	for (unsigned i = 0; i < n; i++)
		if (naive_present(p->naive, i))
			check_bytes(p, i);
}

static void check_share(struct twin *p)
{
	struct vms_share got[2 * TWINS_MAX], want[2 * TWINS_MAX];
	size_t n = 2 * TWINS_MAX;
	unsigned m;
	int err = vms_object_share(p->obj, got, &n);

	if (err)
		die("share of object %u: %d", twin_index(p), err);
	m = naive_share(p->naive, want, 2 * TWINS_MAX);
	if (n != m)
		die("object %u has %zu share rows, expected %u", twin_index(p), n, m);
	for (unsigned i = 0; i < m; i++)
		if (got[i].sharers != want[i].sharers || got[i].pages != want[i].pages)
			die("object %u: %" PRIu64 " pages seen by %" PRIu64 ", expected %" PRIu64
			    " by %" PRIu64,
			    twin_index(p), got[i].pages, got[i].sharers, want[i].pages,
			    want[i].sharers);
}

static uint64_t id_of(const struct naive_view *v)
{
	return v ? ((struct twin *)v->user)->id : 0;
}

static void check_info(struct twin *p)
{
	struct vms_object_info info = { .size = sizeof(info) };
	const struct naive_view *v = p->naive;
	int err = vms_object_info(p->obj, &info);

	if (err)
		die("info of object %u: %d", twin_index(p), err);
	if (info.bytes != naive_bytes(v) || info.children != v->nchildren || info.kind != v->kind ||
	    info.parent_id != id_of(v->parent) || info.snapshot != v->snapshot ||
	    info.pinned != v->c->pins)
		die("object %u: info says %" PRIu64 " bytes, %" PRIu64 " children, parent %" PRIu64
		    ", %" PRIu64 " pins; expected %" PRIu64 ", %u, %" PRIu64 ", %u",
		    twin_index(p), info.bytes, info.children, info.parent_id, info.pinned,
		    naive_bytes(v), v->nchildren, id_of(v->parent), v->c->pins);
	if (v->kind != VMS_OBJECT_KIND_SLICE && info.stream_size != v->c->stream)
		die("object %u: stream size %" PRIu64 ", expected %" PRIu64, twin_index(p),
		    info.stream_size, v->c->stream);
	if (v->kind == VMS_OBJECT_KIND_PAGED && info.modified != v->c->modified)
		die("object %u: modified %u", twin_index(p), info.modified);
	if (p->note->told != v->told)
		die("object %u was told %u times, expected %u", twin_index(p), p->note->told,
		    v->told);
}

/* 0: clean or absent, 1: dirty, 2: dirty and zero. False: no paged object. */
static bool dirty_pages(struct twin *p, unsigned seen[MAX_PAGES])
{
	struct vms_dirty_range ranges[MAX_PAGES];
	size_t n = MAX_PAGES;
	int err, more;

	memset(seen, 0, MAX_PAGES * sizeof(seen[0]));
	if (p->naive->kind != VMS_OBJECT_KIND_PAGED)
		return false;
	err = vms_pager_query_dirty(twins_pager, p->obj, 0, naive_bytes(p->naive), ranges, &n,
				    &more);
	if (err || more)
		die("query of object %u: %d, more %d", twin_index(p), err, more);
	for (size_t r = 0; r < n; r++)
		for (uint64_t at = ranges[r].off; at < ranges[r].off + ranges[r].len;
		     at += naive_page_size)
			seen[at / naive_page_size] = ranges[r].zero ? 2 : 1;
	return true;
}

/* What failed in the middle may have dirtied pages without changing them. */
static void adopt_dirty(void)
{
	for (unsigned k = 0; k < TWINS_MAX; k++) {
		unsigned seen[MAX_PAGES];

		if (!twins[k].obj || !dirty_pages(&twins[k], seen))
			continue;
		for (unsigned i = 0; i < twins[k].naive->c->npages; i++)
			if (seen[i] == 1 && twins[k].naive->c->page[i].frame &&
			    twins[k].naive->c->page[i].dirty == NAIVE_CLEAN)
				twins[k].naive->c->page[i].dirty = NAIVE_DIRTY;
	}
}

bool twins_clean(const struct naive_content *c, unsigned page)
{
	for (unsigned i = 0; i < TWINS_MAX; i++) {
		unsigned seen[MAX_PAGES];

		if (twins[i].obj && twins[i].naive->c == c && dirty_pages(&twins[i], seen))
			return seen[page] != 1;
	}
	return false;
}

static void check_dirty(struct twin *p)
{
	const struct naive_content *c = p->naive->c;
	unsigned seen[MAX_PAGES];

	if (!dirty_pages(p, seen))
		return;
	for (unsigned i = 0; i < c->npages; i++) {
		unsigned want = c->page[i].frame	       ? c->page[i].dirty != NAIVE_CLEAN
				: c->page[i].mark > NAIVE_ZERO ? 2u
							       : 0u;

		if (seen[i] != want)
			die("object %u page %u: dirty %u, expected %u", twin_index(p), i, seen[i],
			    want);
	}
}

void twin_check(struct twin *p)
{
	check_content_of(p);
	check_info(p);
	if (!naive_eager) {
		check_share(p);
		check_dirty(p);
	}
	if (content_check(p->obj, NULL))
		die("object %u: the validator says: %s", twin_index(p), vms_last_error());
}

void twins_check_granted(void)
{
	struct vms_arena_info info = { .size = sizeof(info) };
	uint64_t want = naive_frames();

	vms_arena_info(twins_arena, &info);
	if (naive_eager)
		return;
	if (info.granted != want * naive_page_size)
		die("%" PRIu64 " pages are granted, expected %" PRIu64,
		    info.granted / naive_page_size, want);
}

void twins_check_all(void)
{
	for (unsigned i = 0; i < TWINS_MAX; i++)
		if (twins[i].obj)
			twin_check(&twins[i]);
	if (arena_check(twins_arena))
		die("the arena's validator says: %s", vms_last_error());
}

/* ---- choosing ---- */

struct twin *twin_any(void)
{
	unsigned i;

	do
		i = (unsigned)rnd(TWINS_MAX);
	while (!twins[i].obj);
	return &twins[i];
}

struct twin *twin_any_of(enum vms_object_kind kind)
{
	for (unsigned tries = 0; tries < 20; tries++) {
		struct twin *p = twin_any();

		if (p->naive->kind == kind)
			return p;
	}
	return NULL;
}

struct twin *twin_room(void)
{
	for (unsigned i = 0; i < TWINS_MAX; i++)
		if (!twins[i].naive)
			return &twins[i];
	return NULL;
}

/* A range, mostly inside, of the given unit. */
static void any_range(const struct twin *p, uint64_t unit, uint64_t *off, uint64_t *len)
{
	uint64_t units = naive_bytes(p->naive) / unit;

	*off = rnd(units + 1) * unit;
	*len = rnd(units - *off / unit + 1) * unit;
	if (rnd(20) == 0)
		*len += unit; /* perhaps beyond */
	if (rnd(2) && *len > 2 * naive_page_size)
		*len = 2 * naive_page_size;
}

/* ---- operations ---- */

static void on_no_children(void *arg)
{
	struct twin_note *note = arg;

	note->told++;
}

static void on_release(void *arg)
{
	struct twin_note *note = arg;

	if (note->hva)
		munmap(note->hva, note->len);
	free(note);
	twins_notes--;
}

static struct vms_object_params params_of(struct twin *p)
{
	p->note = calloc(1, sizeof(*p->note));
	twins_notes++;
	return (struct vms_object_params){ .size = sizeof(struct vms_object_params),
					   .no_children = on_no_children,
					   .release = on_release,
					   .arg = p->note };
}

static uint64_t any_size(void)
{
	uint64_t bytes = rnd(twins_pages + 1) * naive_page_size;

	if (bytes && rnd(4) == 0)
		bytes -= rnd(CELLS) * (naive_page_size / CELLS);
	return bytes;
}

static void add(struct twin *p, struct vms_object *obj, struct naive_view *naive)
{
	struct vms_object_info info = { .size = sizeof(info) };

	p->obj = obj;
	p->naive = naive;
	naive->user = p;
	vms_object_info(obj, &info);
	p->id = info.id;
	twins_live++;
}

static void fill_backing(struct naive_content *c, bool holes)
{
	for (unsigned i = 0; i < BACKING; i++) {
		c->hole[i] = holes && rnd(4) == 0;
		for (unsigned k = 0; k < CELLS; k++)
			c->backing[i][k] = c->hole[i] ? 0 : (uint8_t)(1 + rnd(255));
	}
}

void twin_create(void)
{
	static const enum vms_object_kind kinds[] = {
		VMS_OBJECT_KIND_ANON,  VMS_OBJECT_KIND_ANON, VMS_OBJECT_KIND_ANON,
		VMS_OBJECT_KIND_FILE,  VMS_OBJECT_KIND_HOST, VMS_OBJECT_KIND_PAGED,
		VMS_OBJECT_KIND_PAGED,
	};
	enum vms_object_kind kind = kinds[rnd(sizeof(kinds) / sizeof(kinds[0]))];
	struct twin *p = twin_room();
	struct vms_object_params params;
	struct naive_view *v;
	int err = 0, fd;

	*p = (struct twin){ 0 };
	params = params_of(p);
	params.bytes = any_size();
	if (kind == VMS_OBJECT_KIND_ANON) {
		static const uint32_t flags[] = { 0,
						  0,
						  VMS_OBJECT_RESIZABLE,
						  VMS_OBJECT_RESIZABLE,
						  VMS_OBJECT_DISCARDABLE,
						  VMS_OBJECT_CONTIGUOUS };

		params.flags = flags[rnd(6)];
		if (naive_eager && params.flags == VMS_OBJECT_DISCARDABLE)
			params.flags = 0;
	} else if (kind == VMS_OBJECT_KIND_PAGED) {
		params.flags =
			(rnd(2) ? VMS_OBJECT_RESIZABLE : 0) | (rnd(2) ? VMS_OBJECT_TRAP_DIRTY : 0);
	} else {
		params.bytes = (1 + rnd(twins_pages)) * naive_page_size;
	}
	describe("create %u kind %d flags %#x bytes %#" PRIx64, twin_index(p), kind, params.flags,
		 params.bytes);
	v = naive_create(kind, params.flags, params.bytes);
	if (kind != VMS_OBJECT_KIND_ANON)
		fill_backing(v->c, kind == VMS_OBJECT_KIND_PAGED);
	for (unsigned i = 0; i < BACKING; i++)
		bytes_of(v->c->backing[i], filled + i * naive_page_size);
	switch (kind) {
	case VMS_OBJECT_KIND_FILE:
		fd = memfd_create("model", MFD_CLOEXEC);
		if (write(fd, filled, params.bytes) != (ssize_t)params.bytes)
			die("cannot write the file");
		err = vms_object_create_file(twins_arena, fd, &params, &p->obj);
		close(fd);
		break;
	case VMS_OBJECT_KIND_HOST:
		p->note->len = params.bytes;
		p->note->hva = mmap(NULL, params.bytes, PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (p->note->hva == MAP_FAILED)
			die("no memory");
		memcpy(p->note->hva, filled, params.bytes);
		err = vms_object_create_host(p->note->hva, &params, &p->obj);
		break;
	case VMS_OBJECT_KIND_PAGED:
		err = vms_object_create_paged(twins_arena, twins_pager, (uintptr_t)v->c, &params,
					      &p->obj);
		break;
	default:
		err = vms_object_create(twins_arena, &params, &p->obj);
	}
	expect(err, 0);
	add(p, p->obj, v);
}

void twin_child(void)
{
	struct twin *parent = twin_any(), *p = twin_room();
	enum vms_child_kind kind = (enum vms_child_kind)(1 + rnd(5));
	uint64_t units = naive_bytes(parent->naive) / naive_page_size, off;
	struct vms_object_params params;
	struct vms_object *obj = NULL;
	struct naive_view *v = NULL;
	int want;

	/* An eager backend may give the overlay its own zeros, before somebody writes below. */
	if (naive_eager &&
	    (parent->naive->c->kind == VMS_OBJECT_KIND_PAGED ||
	     (parent->naive->c->below && parent->naive->c->below->kind == VMS_OBJECT_KIND_PAGED)) &&
	    kind < VMS_CHILD_SLICE)
		kind = VMS_CHILD_SNAPSHOT;
	*p = (struct twin){ 0 };
	params = params_of(p);
	off = rnd(3) ? 0 : rnd(units + 2) * naive_page_size;
	if (rnd(40) == 0)
		off += 512;
	params.bytes = rnd(2) ? naive_bytes(parent->naive) : any_size();
	if (kind == VMS_CHILD_REFERENCE && rnd(8)) {
		off = 0;
		params.bytes = 0;
	}
	if (kind == VMS_CHILD_SLICE && rnd(8) && off <= units * naive_page_size)
		params.bytes = rnd(units - off / naive_page_size + 1) * naive_page_size;
	params.flags = (rnd(3) ? 0 : VMS_OBJECT_RESIZABLE) | (rnd(10) ? 0 : VMS_OBJECT_NO_WRITE);
	describe("child %u kind %d of %u (kind %d) off %#" PRIx64 " bytes %#" PRIx64 " flags %#x",
		 twin_index(p), kind, twin_index(parent), parent->naive->kind, off, params.bytes,
		 params.flags);
	want = naive_child(parent->naive, kind, off, params.bytes, params.flags, &v);
	expect(vms_object_child(parent->obj, kind, off, &params, &obj), want);
	if (!want)
		add(p, obj, v);
	else
		on_release(p->note);
}

void twin_drop(struct twin *p)
{
	describe("drop %u", twin_index(p));
	if (p->obj)
		twins_live--;
	vms_object_unref(p->obj);
	p->obj = NULL;
	if (!p->maps)
		twin_gone(p);
}

void twin_gone(struct twin *p)
{
	naive_drop(p->naive);
	p->naive = NULL;
}

struct twin *twin_branch(struct twin *p, struct naive_content **copy)
{
	struct twin *h = twin_room();
	int err;

	if (!h)
		die("too many objects for the model");
	*h = (struct twin){ 0 };
	err = naive_branch(p->naive, copy, &h->naive);
	if (err)
		die("object %u cannot be branched: %d", twin_index(p), err);
	h->naive->user = h;
	return h;
}

static void do_write(void)
{
	static uint8_t buf[(MAX_PAGES + 1) * 65536];
	struct twin *p = twin_any();
	uint64_t off, len;
	uint8_t value = (uint8_t)rnd(256);
	int want;

	any_range(p, naive_page_size / CELLS, &off, &len);
	describe("write %u off %#" PRIx64 " len %#" PRIx64 " value %#x", twin_index(p), off, len,
		 value);
	memset(buf, value, len);
	want = naive_write(p->naive, off, len, value);
	expect(SETTLED(vms_object_write(p->obj, off, buf, len, &wait)), want);
}

static void do_read(void)
{
	static uint8_t buf[(MAX_PAGES + 1) * 65536];
	struct twin *p = twin_any();
	uint64_t off, len;

	any_range(p, naive_page_size / CELLS, &off, &len);
	describe("read %u off %#" PRIx64 " len %#" PRIx64, twin_index(p), off, len);
	expect(SETTLED(vms_object_read(p->obj, off, buf, len, &wait)),
	       naive_read(p->naive, off, len));
}

static void do_op(void)
{
	struct twin *p = twin_any();
	enum vms_object_op op = (enum vms_object_op)(1 + rnd(6));
	uint64_t off, len;

	any_range(p,
		  op == VMS_OBJECT_ZERO || rnd(10) == 0 ? naive_page_size / CELLS : naive_page_size,
		  &off, &len);
	describe("op %d on %u off %#" PRIx64 " len %#" PRIx64, op, twin_index(p), off, len);
	expect(SETTLED(vms_object_op(p->obj, op, off, len, &wait)),
	       naive_op(p->naive, op, off, len));
}

static void do_resize(void)
{
	struct twin *p = twin_any();
	uint64_t bytes = any_size();

	describe("resize %u to %#" PRIx64, twin_index(p), bytes);
	expect(SETTLED(vms_object_resize(p->obj, bytes, &wait)), naive_resize(p->naive, bytes));
}

static void do_stream(void)
{
	struct twin *p = twin_any();
	uint64_t bytes = rnd((twins_pages + 1) * CELLS) * (naive_page_size / CELLS);

	describe("stream size of %u to %#" PRIx64, twin_index(p), bytes);
	expect(SETTLED(vms_object_set_stream_size(p->obj, bytes, &wait)),
	       naive_stream(p->naive, bytes));
}

static void do_pin(void)
{
	struct twin *p = twin_any();
	bool writing = rnd(2);
	uint64_t off, len;

	any_range(p, naive_page_size, &off, &len);
	describe("pin %u off %#" PRIx64 " len %#" PRIx64, twin_index(p), off, len);
	expect(SETTLED(vms_object_pin(p->obj, off, len, writing, &wait)),
	       naive_pin(p->naive, off, len, writing));
}

static void do_unpin(void)
{
	struct twin *p = twin_any();
	uint64_t off, len;

	any_range(p, naive_page_size, &off, &len);
	if (rnd(2)) /* all of one page */
		len = naive_page_size;
	describe("unpin %u off %#" PRIx64 " len %#" PRIx64, twin_index(p), off, len);
	do {
		int want = naive_unpin(p->naive, off, len);

		expect(vms_object_unpin(p->obj, off, len), want);
		if (want || p->naive->kind == VMS_OBJECT_KIND_HOST ||
		    p->naive->c->kind == VMS_OBJECT_KIND_HOST)
			break;
	} while (rnd(4));
}

static void do_transfer(void)
{
	struct twin *dst = twin_any(), *src = twin_any();
	uint32_t flags = rnd(3) || naive_eager ? 0 : VMS_TRANSFER_KEEP;
	uint64_t off, len, src_off;

	any_range(dst, rnd(20) ? naive_page_size : naive_page_size / CELLS, &off, &len);
	src_off = rnd(naive_bytes(src->naive) / naive_page_size + 1) * naive_page_size;
	describe("transfer to %u off %#" PRIx64 " len %#" PRIx64 " from %u off %#" PRIx64
		 " flags %u",
		 twin_index(dst), off, len, twin_index(src), src_off, flags);
	expect(vms_object_transfer(dst->obj, off, len, src->obj, src_off, flags),
	       naive_transfer(dst->naive, off, len, src->naive, src_off, flags));
}

static void do_lock(void)
{
	struct twin *p = twin_any();
	int got = 0, want = 0;

	describe("lock or unlock %u", twin_index(p));
	switch (rnd(4)) {
	case 0:
		expect(vms_object_lock(p->obj, &got), naive_lock(p->naive, false, &want));
		if (got != want)
			die("discarded: %d, expected %d", got, want);
		break;
	case 1:
		expect(vms_object_try_lock(p->obj), naive_lock(p->naive, true, &want));
		break;
	default:
		expect(vms_object_unlock(p->obj), naive_unlock(p->naive));
	}
}

static void do_reclaim(void)
{
	uint64_t freed;

	describe("reclaim");
	expect(vms_arena_reclaim(twins_arena, UINT64_MAX, &freed), 0);
	naive_reclaim();
	for (unsigned i = 0; naive_eager && i < TWINS_MAX; i++) {
		struct naive_view *v = twins[i].naive;
		int err;

		if (!twins[i].obj || !(v->c->flags & VMS_OBJECT_DISCARDABLE))
			continue;
		err = vms_object_try_lock(twins[i].obj);
		v->c->discarded = err == -EPERM;
		if (!err)
			vms_object_unlock(twins[i].obj);
	}
}

static void do_pager(void)
{
	struct twin *p = twin_any_of(VMS_OBJECT_KIND_PAGED);
	bool end = rnd(2);
	uint64_t off, len;
	int got;

	if (!p)
		return;
	if (rnd(50) == 0) {
		describe("detach %u", twin_index(p));
		expect(vms_pager_detach(twins_pager, p->obj), naive_detach(p->naive));
		return;
	}
	if (twins_refuse && rnd(4) == 0) {
		p->naive->c->refuse = p->naive->c->refuse ? 0 : rnd(2) ? -EIO : -ENOSPC;
		describe("the pager of %u: %d", twin_index(p), p->naive->c->refuse);
		return;
	}
	if (rnd(10) == 0) {
		describe("reset modified of %u", twin_index(p));
		expect(vms_pager_modified(twins_pager, p->obj, 1), p->naive->c->modified);
		p->naive->c->modified = false;
		return;
	}
	any_range(p, naive_page_size, &off, &len);
	describe("write-back %s of %u off %#" PRIx64 " len %#" PRIx64, end ? "end" : "begin",
		 twin_index(p), off, len);
	got = end ? vms_pager_writeback_end(twins_pager, p->obj, off, len, 0)
		  : vms_pager_writeback_begin(twins_pager, p->obj, off, len, 0);
	expect(got, naive_writeback(p->naive, off, len, end));
}

void twin_change(void)
{
	unsigned dice = (unsigned)rnd(83);
	bool before = ahead;

	ahead = true;
	if (dice < 28)
		do_write();
	else if (dice < 34)
		do_read();
	else if (dice < 54)
		do_op();
	else if (dice < 59)
		do_resize();
	else if (dice < 62)
		do_stream();
	else if (dice < 66)
		do_pin();
	else if (dice < 72)
		do_unpin();
	else if (dice < 79)
		do_transfer();
	else if (dice < 82)
		do_lock();
	else
		do_pager();
	ahead = before;
	if (twins_refuse)
		adopt_dirty();
}

void twin_reclaim(void)
{
	do_reclaim();
}

void twins_begin(void)
{
	struct vms_arena_params arena_params = { .size = sizeof(arena_params),
						 .reserve = UINT64_C(1) << 36 };
	struct vms_pager_ops ops = {
		.size = sizeof(ops), .request = request, .cancel = cancelled, .complete = completed
	};
	struct vms_object_params params = { .size = sizeof(params), .flags = VMS_OBJECT_RESIZABLE };

	naive_page_size = (uint64_t)sysconf(_SC_PAGESIZE);
	params.bytes = naive_page_size;
	if (vms_arena_create(&arena_params, &twins_arena) ||
	    vms_pager_create(&ops, NULL, &twins_pager) ||
	    vms_object_create(twins_arena, &params, &nothing))
		die("cannot start");
}

void twins_end(void)
{
	for (unsigned i = 0; i < TWINS_MAX; i++)
		if (twins[i].obj)
			twin_drop(&twins[i]);
	describe("end");
	twins_check_granted();
	vms_object_unref(nothing);
	vms_pager_close(twins_pager);
	if (arena_check(twins_arena))
		die("the arena's validator says: %s", vms_last_error());
	vms_arena_unref(twins_arena);
	if (twins_notes)
		die("%u objects never said that they had gone", twins_notes);
}
