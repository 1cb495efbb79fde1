// SPDX-License-Identifier: MIT
/*
 * object.c: random operations on a tree of objects, against naive ones (naive.h).
 *
 * At least 12 objects live: anonymous, discardable, contiguous, file, host and paged ones, and
 * snapshots, overlays, slices and references of each other. After every step the answer of the
 * call, what the arena has granted, and one object's content, exact share and info are compared,
 * and the validator of its family runs; after every 64th step, all of them.
 *
 *	model-object [--steps N] [--seed S] [--trace 1]
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "naive.h"
#include "object/content.h"

#define LIVE_MIN 12
#define LIVE_MAX 16

/* An object and its naive twin. */
struct pair {
	struct vms_object *obj; /* NULL: free */
	struct naive_view *naive;
	unsigned told; /* calls of no_children */
	int fd;
	void *hva;
	uint64_t id;
};

static struct pair pairs[LIVE_MAX];
static unsigned live;
static struct vms_arena *arena;
static struct vms_pager *pager;
static struct vms_object *nothing; /* an empty object, whose holes are supplied */
static uint64_t seed = 1, step, rng;
static const char *doing = "start";
static bool tracing; /* show every step */

static uint64_t rnd(uint64_t below)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (rng >> 11) % below;
}

static __attribute__((noreturn, format(printf, 1, 2))) void die(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "model-object: --seed %" PRIu64 ", step %" PRIu64 ", %s: ", seed, step,
		doing);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n(last error: %s)\n", vms_last_error());
	exit(1);
}

static char described[256];

static __attribute__((format(printf, 1, 2))) void describe(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(described, sizeof(described), fmt, ap);
	va_end(ap);
	doing = described;
	if (tracing)
		printf("%" PRIu64 ": %s\n", step, described);
}

static unsigned index_of(const struct pair *p)
{
	return (unsigned)(p - pairs);
}

/* ---- the pager: answers inside the request ---- */

static uint8_t filled[MAX_PAGES * 65536];

static void bytes_of(const uint8_t cell[CELLS], uint8_t *page)
{
	size_t size = naive_page_size / CELLS;

	for (unsigned k = 0; k < CELLS; k++)
		memset(page + k * size, cell[k], size);
}

static void request(void *arg, struct vms_object *obj, uint64_t key, enum vms_request_kind kind,
		    uint64_t off, uint64_t len)
{
	struct naive_content *c = (struct naive_content *)(uintptr_t)key;
	uint64_t page = naive_page_size;
	int err = 0;

	if (kind == VMS_REQUEST_DIRTY) {
		err = vms_pager_dirtied(pager, obj, off, len);
		if (err)
			die("dirtied(%#" PRIx64 ", %#" PRIx64 ") = %d", off, len, err);
		return;
	}
	for (uint64_t at = off; at < off + len && !err; at += page) {
		if (c->hole[at / page]) {
			err = vms_pager_supply(pager, obj, at, page, nothing, 0);
		} else {
			bytes_of(c->backing[at / page], filled);
			err = vms_pager_supply_bytes(pager, obj, at, filled, page);
		}
	}
	if (err)
		die("supply of [%#" PRIx64 ", +%#" PRIx64 ") = %d", off, len, err);
}

/* Call until it need not wait. */
#define SETTLED(call)                                                        \
	({                                                                   \
		struct vms_wait wait;                                        \
		int got_;                                                    \
		vms_wait_init(&wait);                                        \
		while ((got_ = (call)) == VMS_WAIT) {                        \
			int e_ = vms_wait_block(&wait, INT64_C(2000000000)); \
			if (e_) {                                            \
				vms_wait_cancel(&wait);                      \
				got_ = e_;                                   \
				break;                                       \
			}                                                    \
		}                                                            \
		got_;                                                        \
	})

static void expect(int got, int want)
{
	if (got != want)
		die("answered %d, expected %d", got, want);
}

/* ---- comparing ---- */

static void check_bytes(struct pair *p, unsigned page)
{
	static uint8_t buf[65536];
	uint8_t cell[CELLS];
	size_t size = naive_page_size / CELLS;
	int err = SETTLED(
		vms_object_read(p->obj, page * naive_page_size, buf, naive_page_size, &wait));

	if (err)
		die("reading page %u of object %u: %d", page, index_of(p), err);
	naive_show(p->naive, page, cell);
	for (unsigned k = 0; k < CELLS; k++)
		if (buf[k * size] != cell[k] ||
		    memcmp(buf + k * size, buf + k * size + 1, size - 1))
			die("object %u page %u cell %u is %#x .. %#x, expected %#x", index_of(p),
			    page, k, buf[k * size], buf[(k + 1) * size - 1], cell[k]);
}

static void check_content_of(struct pair *p)
{
	unsigned n = (unsigned)(naive_bytes(p->naive) / naive_page_size);

	if (p->naive->c->discarded)
		return;
	for (unsigned i = 0; i < n; i++)
		if (naive_present(p->naive, i))
			check_bytes(p, i);
}

static void check_share(struct pair *p)
{
	struct vms_share got[LIVE_MAX * 2], want[LIVE_MAX * 2];
	size_t n = LIVE_MAX * 2;
	unsigned m;
	int err = vms_object_share(p->obj, got, &n);

	if (err)
		die("share of object %u: %d", index_of(p), err);
	m = naive_share(p->naive, want, LIVE_MAX * 2);
	if (n != m)
		die("object %u has %zu share rows, expected %u", index_of(p), n, m);
	for (unsigned i = 0; i < m; i++)
		if (got[i].sharers != want[i].sharers || got[i].pages != want[i].pages)
			die("object %u: %" PRIu64 " pages seen by %" PRIu64 ", expected %" PRIu64
			    " by %" PRIu64,
			    index_of(p), got[i].pages, got[i].sharers, want[i].pages,
			    want[i].sharers);
}

static uint64_t id_of(const struct naive_view *v)
{
	for (unsigned i = 0; i < LIVE_MAX; i++)
		if (pairs[i].obj && pairs[i].naive == v)
			return pairs[i].id;
	return 0;
}

static void check_info(struct pair *p)
{
	struct vms_object_info info = { .size = sizeof(info) };
	const struct naive_view *v = p->naive;
	int err = vms_object_info(p->obj, &info);

	if (err)
		die("info of object %u: %d", index_of(p), err);
	if (info.bytes != naive_bytes(v) || info.children != v->nchildren || info.kind != v->kind ||
	    info.parent_id != id_of(v->parent) || info.snapshot != v->snapshot ||
	    info.pinned != v->c->pins)
		die("object %u: info says %" PRIu64 " bytes, %" PRIu64 " children, parent %" PRIu64
		    ", %" PRIu64 " pins; expected %" PRIu64 ", %u, %" PRIu64 ", %u",
		    index_of(p), info.bytes, info.children, info.parent_id, info.pinned,
		    naive_bytes(v), v->nchildren, id_of(v->parent), v->c->pins);
	if (v->kind != VMS_OBJECT_KIND_SLICE && info.stream_size != v->c->stream)
		die("object %u: stream size %" PRIu64 ", expected %" PRIu64, index_of(p),
		    info.stream_size, v->c->stream);
	if (v->kind == VMS_OBJECT_KIND_PAGED && info.modified != v->c->modified)
		die("object %u: modified %u", index_of(p), info.modified);
	if (p->told != v->told)
		die("object %u was told %u times, expected %u", index_of(p), p->told, v->told);
}

static void check_dirty(struct pair *p)
{
	const struct naive_content *c = p->naive->c;
	struct vms_dirty_range ranges[MAX_PAGES];
	size_t n = MAX_PAGES;
	unsigned seen[MAX_PAGES] = { 0 };
	int err, more;

	if (p->naive->kind != VMS_OBJECT_KIND_PAGED)
		return;
	err = vms_pager_query_dirty(pager, p->obj, 0, naive_bytes(p->naive), ranges, &n, &more);
	if (err || more)
		die("query of object %u: %d, more %d", index_of(p), err, more);
	for (size_t r = 0; r < n; r++)
		for (uint64_t at = ranges[r].off; at < ranges[r].off + ranges[r].len;
		     at += naive_page_size)
			seen[at / naive_page_size] = ranges[r].zero ? 2 : 1;
	for (unsigned i = 0; i < c->npages; i++) {
		unsigned want = c->page[i].frame	       ? c->page[i].dirty != NAIVE_CLEAN
				: c->page[i].mark > NAIVE_ZERO ? 2u
							       : 0u;

		if (seen[i] != want)
			die("object %u page %u: dirty %u, expected %u", index_of(p), i, seen[i],
			    want);
	}
}

static void check_pair(struct pair *p)
{
	check_content_of(p);
	check_info(p);
	check_share(p);
	check_dirty(p);
	if (content_check(p->obj, NULL))
		die("object %u: the validator says: %s", index_of(p), vms_last_error());
}

static void check_granted(void)
{
	struct vms_arena_info info = { .size = sizeof(info) };
	uint64_t want = naive_frames();

	vms_arena_info(arena, &info);
	if (info.granted != want * naive_page_size)
		die("%" PRIu64 " pages are granted, expected %" PRIu64,
		    info.granted / naive_page_size, want);
}

static void check_all(void)
{
	for (unsigned i = 0; i < LIVE_MAX; i++)
		if (pairs[i].obj)
			check_pair(&pairs[i]);
	if (arena_check(arena))
		die("the arena's validator says: %s", vms_last_error());
}

/* ---- choosing ---- */

static struct pair *any(void)
{
	unsigned i;

	do
		i = (unsigned)rnd(LIVE_MAX);
	while (!pairs[i].obj);
	return &pairs[i];
}

static struct pair *any_of(enum vms_object_kind kind)
{
	for (unsigned tries = 0; tries < 20; tries++) {
		struct pair *p = any();

		if (p->naive->kind == kind)
			return p;
	}
	return NULL;
}

static struct pair *room(void)
{
	for (unsigned i = 0; i < LIVE_MAX; i++)
		if (!pairs[i].obj)
			return &pairs[i];
	return NULL;
}

/* A range, mostly inside, of the given unit. */
static void any_range(const struct pair *p, uint64_t unit, uint64_t *off, uint64_t *len)
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
	((struct pair *)arg)->told++;
}

static uint64_t any_size(void)
{
	uint64_t bytes = rnd(MAX_PAGES + 1) * naive_page_size;

	if (bytes && rnd(4) == 0)
		bytes -= rnd(CELLS) * (naive_page_size / CELLS);
	return bytes;
}

static void add(struct pair *p, struct vms_object *obj, struct naive_view *naive)
{
	struct vms_object_info info = { .size = sizeof(info) };

	p->obj = obj;
	p->naive = naive;
	vms_object_info(obj, &info);
	p->id = info.id;
	live++;
}

static void fill_backing(struct naive_content *c, bool holes)
{
	for (unsigned i = 0; i < BACKING; i++) {
		c->hole[i] = holes && rnd(4) == 0;
		for (unsigned k = 0; k < CELLS; k++)
			c->backing[i][k] = c->hole[i] ? 0 : (uint8_t)(1 + rnd(255));
	}
}

static void do_create(void)
{
	static const enum vms_object_kind kinds[] = {
		VMS_OBJECT_KIND_ANON,  VMS_OBJECT_KIND_ANON, VMS_OBJECT_KIND_ANON,
		VMS_OBJECT_KIND_FILE,  VMS_OBJECT_KIND_HOST, VMS_OBJECT_KIND_PAGED,
		VMS_OBJECT_KIND_PAGED,
	};
	enum vms_object_kind kind = kinds[rnd(sizeof(kinds) / sizeof(kinds[0]))];
	struct pair *p = room();
	struct vms_object_params params = {
		.size = sizeof(params), .bytes = any_size(), .no_children = on_no_children, .arg = p
	};
	struct naive_view *v;
	int err = 0;

	*p = (struct pair){ .fd = -1 };
	if (kind == VMS_OBJECT_KIND_ANON) {
		static const uint32_t flags[] = { 0,
						  0,
						  VMS_OBJECT_RESIZABLE,
						  VMS_OBJECT_RESIZABLE,
						  VMS_OBJECT_DISCARDABLE,
						  VMS_OBJECT_CONTIGUOUS };

		params.flags = flags[rnd(6)];
	} else if (kind == VMS_OBJECT_KIND_PAGED) {
		params.flags =
			(rnd(2) ? VMS_OBJECT_RESIZABLE : 0) | (rnd(2) ? VMS_OBJECT_TRAP_DIRTY : 0);
	} else {
		params.bytes = (1 + rnd(MAX_PAGES)) * naive_page_size;
	}
	describe("create %u kind %d flags %#x bytes %#" PRIx64, index_of(p), kind, params.flags,
		 params.bytes);
	v = naive_create(kind, params.flags, params.bytes);
	if (kind != VMS_OBJECT_KIND_ANON)
		fill_backing(v->c, kind == VMS_OBJECT_KIND_PAGED);
	for (unsigned i = 0; i < BACKING; i++)
		bytes_of(v->c->backing[i], filled + i * naive_page_size);
	switch (kind) {
	case VMS_OBJECT_KIND_FILE:
		p->fd = memfd_create("model", MFD_CLOEXEC);
		if (write(p->fd, filled, params.bytes) != (ssize_t)params.bytes)
			die("cannot write the file");
		err = vms_object_create_file(arena, p->fd, &params, &p->obj);
		close(p->fd);
		break;
	case VMS_OBJECT_KIND_HOST:
		p->hva = aligned_alloc(naive_page_size, params.bytes);
		memcpy(p->hva, filled, params.bytes);
		params.arg = p;
		err = vms_object_create_host(p->hva, &params, &p->obj);
		break;
	case VMS_OBJECT_KIND_PAGED:
		err = vms_object_create_paged(arena, pager, (uintptr_t)v->c, &params, &p->obj);
		break;
	default:
		err = vms_object_create(arena, &params, &p->obj);
	}
	expect(err, 0);
	add(p, p->obj, v);
}

/* Memory of host objects that may still be seen by slices: freed at the very end. */
static void **parked;
static size_t n_parked;

static void park(void *hva)
{
	parked = realloc(parked, (n_parked + 1) * sizeof(*parked));
	parked[n_parked++] = hva;
}

static void do_child(void)
{
	struct pair *parent = any(), *p = room();
	enum vms_child_kind kind = (enum vms_child_kind)(1 + rnd(5));
	uint64_t units = naive_bytes(parent->naive) / naive_page_size, off;
	struct vms_object_params params = { .size = sizeof(params),
					    .no_children = on_no_children,
					    .arg = p };
	struct vms_object *obj = NULL;
	struct naive_view *v = NULL;
	int want;

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
	*p = (struct pair){ .fd = -1 };
	describe("child %u kind %d of %u (kind %d) off %#" PRIx64 " bytes %#" PRIx64 " flags %#x",
		 index_of(p), kind, index_of(parent), parent->naive->kind, off, params.bytes,
		 params.flags);
	want = naive_child(parent->naive, kind, off, params.bytes, params.flags, &v);
	expect(vms_object_child(parent->obj, kind, off, &params, &obj), want);
	if (!want)
		add(p, obj, v);
}

static void do_drop(struct pair *p)
{
	describe("drop %u", index_of(p));
	if (p->hva)
		park(p->hva);
	naive_drop(p->naive);
	vms_object_unref(p->obj);
	p->obj = NULL;
	live--;
}

static void do_write(void)
{
	static uint8_t buf[(MAX_PAGES + 1) * 65536];
	struct pair *p = any();
	uint64_t off, len;
	uint8_t value = (uint8_t)rnd(256);
	int want;

	any_range(p, naive_page_size / CELLS, &off, &len);
	describe("write %u off %#" PRIx64 " len %#" PRIx64 " value %#x", index_of(p), off, len,
		 value);
	memset(buf, value, len);
	want = naive_write(p->naive, off, len, value);
	expect(SETTLED(vms_object_write(p->obj, off, buf, len, &wait)), want);
}

static void do_read(void)
{
	static uint8_t buf[(MAX_PAGES + 1) * 65536];
	struct pair *p = any();
	uint64_t off, len;

	any_range(p, naive_page_size / CELLS, &off, &len);
	describe("read %u off %#" PRIx64 " len %#" PRIx64, index_of(p), off, len);
	expect(SETTLED(vms_object_read(p->obj, off, buf, len, &wait)),
	       naive_read(p->naive, off, len));
}

static void do_op(void)
{
	struct pair *p = any();
	enum vms_object_op op = (enum vms_object_op)(1 + rnd(6));
	uint64_t off, len;

	any_range(p,
		  op == VMS_OBJECT_ZERO || rnd(10) == 0 ? naive_page_size / CELLS : naive_page_size,
		  &off, &len);
	describe("op %d on %u off %#" PRIx64 " len %#" PRIx64, op, index_of(p), off, len);
	expect(SETTLED(vms_object_op(p->obj, op, off, len, &wait)),
	       naive_op(p->naive, op, off, len));
}

static void do_resize(void)
{
	struct pair *p = any();
	uint64_t bytes = any_size();

	describe("resize %u to %#" PRIx64, index_of(p), bytes);
	expect(SETTLED(vms_object_resize(p->obj, bytes, &wait)), naive_resize(p->naive, bytes));
}

static void do_stream(void)
{
	struct pair *p = any();
	uint64_t bytes = rnd((MAX_PAGES + 1) * CELLS) * (naive_page_size / CELLS);

	describe("stream size of %u to %#" PRIx64, index_of(p), bytes);
	expect(SETTLED(vms_object_set_stream_size(p->obj, bytes, &wait)),
	       naive_stream(p->naive, bytes));
}

static void do_pin(void)
{
	struct pair *p = any();
	bool writing = rnd(2);
	uint64_t off, len;

	any_range(p, naive_page_size, &off, &len);
	describe("pin %u off %#" PRIx64 " len %#" PRIx64, index_of(p), off, len);
	expect(SETTLED(vms_object_pin(p->obj, off, len, writing, &wait)),
	       naive_pin(p->naive, off, len, writing));
}

static void do_unpin(void)
{
	struct pair *p = any();
	uint64_t off, len;

	any_range(p, naive_page_size, &off, &len);
	if (rnd(2)) /* all of one page */
		len = naive_page_size;
	describe("unpin %u off %#" PRIx64 " len %#" PRIx64, index_of(p), off, len);
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
	struct pair *dst = any(), *src = any();
	uint32_t flags = rnd(3) ? 0 : VMS_TRANSFER_KEEP;
	uint64_t off, len, src_off;

	any_range(dst, rnd(20) ? naive_page_size : naive_page_size / CELLS, &off, &len);
	src_off = rnd(naive_bytes(src->naive) / naive_page_size + 1) * naive_page_size;
	describe("transfer to %u off %#" PRIx64 " len %#" PRIx64 " from %u off %#" PRIx64
		 " flags %u",
		 index_of(dst), off, len, index_of(src), src_off, flags);
	expect(vms_object_transfer(dst->obj, off, len, src->obj, src_off, flags),
	       naive_transfer(dst->naive, off, len, src->naive, src_off, flags));
}

static void do_lock(void)
{
	struct pair *p = any();
	int got = 0, want = 0;

	describe("lock or unlock %u", index_of(p));
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
	naive_reclaim();
	expect(vms_arena_reclaim(arena, UINT64_MAX, &freed), 0);
}

static void do_pager(void)
{
	struct pair *p = any_of(VMS_OBJECT_KIND_PAGED);
	bool end = rnd(2);
	uint64_t off, len;
	int got;

	if (!p)
		return;
	if (rnd(50) == 0) {
		describe("detach %u", index_of(p));
		expect(vms_pager_detach(pager, p->obj), naive_detach(p->naive));
		return;
	}
	if (rnd(10) == 0) {
		describe("reset modified of %u", index_of(p));
		expect(vms_pager_modified(pager, p->obj, 1), p->naive->c->modified);
		p->naive->c->modified = false;
		return;
	}
	any_range(p, naive_page_size, &off, &len);
	describe("write-back %s of %u off %#" PRIx64 " len %#" PRIx64, end ? "end" : "begin",
		 index_of(p), off, len);
	got = end ? vms_pager_writeback_end(pager, p->obj, off, len, 0)
		  : vms_pager_writeback_begin(pager, p->obj, off, len, 0);
	expect(got, naive_writeback(p->naive, off, len, end));
}

static void do_step(void)
{
	unsigned dice = (unsigned)rnd(100);

	if (live < LIVE_MIN || (live < LIVE_MAX && dice < 6)) {
		if (live && rnd(3))
			do_child();
		else
			do_create();
	} else if (dice < 12) {
		do_drop(any());
	} else if (dice < 40) {
		do_write();
	} else if (dice < 46) {
		do_read();
	} else if (dice < 66) {
		do_op();
	} else if (dice < 71) {
		do_resize();
	} else if (dice < 74) {
		do_stream();
	} else if (dice < 78) {
		do_pin();
	} else if (dice < 84) {
		do_unpin();
	} else if (dice < 91) {
		do_transfer();
	} else if (dice < 94) {
		do_lock();
	} else if (dice < 95) {
		do_reclaim();
	} else {
		do_pager();
	}
}

int main(int argc, char **argv)
{
	struct vms_arena_params arena_params = { .size = sizeof(arena_params),
						 .reserve = UINT64_C(1) << 36 };
	struct vms_pager_ops ops = { .size = sizeof(ops), .request = request };
	struct vms_object_params params = { .size = sizeof(params), .flags = VMS_OBJECT_RESIZABLE };
	uint64_t steps = 100000;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--steps"))
			steps = strtoull(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--trace"))
			tracing = true;
		else if (!strcmp(argv[i], "--seed"))
			seed = strtoull(argv[i + 1], NULL, 0);
	}
	rng = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	naive_page_size = (uint64_t)sysconf(_SC_PAGESIZE);
	params.bytes = naive_page_size;
	if (vms_arena_create(&arena_params, &arena) || vms_pager_create(&ops, NULL, &pager) ||
	    vms_object_create(arena, &params, &nothing))
		die("cannot start");
	for (step = 1; step <= steps; step++) {
		do_step();
		check_granted();
		if (live)
			check_pair(any());
		if (step % 64 == 0)
			check_all();
	}
	for (unsigned i = 0; i < LIVE_MAX; i++)
		if (pairs[i].obj)
			do_drop(&pairs[i]);
	doing = "end";
	check_granted();
	vms_object_unref(nothing);
	vms_pager_close(pager);
	if (arena_check(arena))
		die("the arena's validator says: %s", vms_last_error());
	vms_arena_unref(arena);
	for (size_t i = 0; i < n_parked; i++)
		free(parked[i]);
	free(parked);
	printf("model-object: %" PRIu64 " steps, seed %" PRIu64 ", no difference\n", steps, seed);
	return 0;
}
