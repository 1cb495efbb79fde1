// SPDX-License-Identifier: MIT
/*
 * Objects above a pager: what asks it and what does not, overlays, and a random walk over a paged
 * object and its overlays beside plain arrays of bytes. The walk's pager answers from a store of
 * its own, which only a write-back changes: a dirty page that was lost, or a private one that still
 * shows the root, comes back as other bytes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "paged_kit.h"

/* ---- What asks, and what does not ---- */

static void without_a_wait_nothing_is_asked(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = paged(f->arena, &f->script, 1, 0, 8);
	char c = 0;

	assert_int_equal(vms_object_read(a, 0, &c, 1, NULL), -EAGAIN);
	assert_int_equal(vms_object_write(a, 0, &c, 1, NULL), -EAGAIN);
	assert_int_equal(vms_object_pin(a, 0, 1, 0, NULL), -EAGAIN);
	assert_int_equal(vms_object_op(a, VMS_OBJECT_COMMIT, 0, P, NULL), -EAGAIN);
	assert_int_equal(vms_object_op(a, VMS_OBJECT_PREFETCH, 0, P, NULL), -EAGAIN);
	assert_int_equal(vms_object_op(a, VMS_OBJECT_ZERO, 1, 1, NULL), -EAGAIN);
	assert_int_equal(vms_object_set_stream_size(a, 1, NULL), -EAGAIN);
	assert_ok(vms_object_op(a, VMS_OBJECT_DONT_NEED, 0, 8 * P, NULL));
	assert_int_equal(vms_object_op(a, VMS_OBJECT_DECOMMIT, 0, P, NULL), -ENOTSUP);
	expect_nothing(&f->script);
	assert_sound(a);
	vms_object_unref(a);
	expect_complete(&f->script, 1);
}

/* The next call with a wait ends what the last one left linked, also where it needs no wait. */
static void a_call_lets_go_of_the_last_ones_wait(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = paged(f->arena, &f->script, 1, 0, 8);
	struct vms_object *o = child(a, VMS_CHILD_SNAPSHOT_LAZY, 0, 8, VMS_OBJECT_RESIZABLE);
	unsigned char buf[3 * 4096] = { 0 };
	struct vms_wait wait;

	vms_wait_init(&wait);
	assert_int_equal(vms_object_read(a, 0, buf, 3 * P, &wait), VMS_WAIT);
	expect(&f->script, NOTE_READ, 0, 3);
	supply(&f->script, a, 4, 0, 1);
	assert_ok(vms_object_read(a, 0, buf, P, &wait));
	expect(&f->script, NOTE_CANCEL_READ, 1, 2);
	assert_ok(vms_wait_block(&wait, -1)); /* for nothing */
	assert_ok(vms_object_write(o, 5 * P, buf, P, NULL));
	assert_int_equal(vms_object_write(o, 6 * P + 1, buf, 1, &wait), VMS_WAIT);
	expect(&f->script, NOTE_READ, 6, 1);
	assert_ok(vms_object_write(o, 5 * P, buf, 1, &wait));
	expect(&f->script, NOTE_CANCEL_READ, 6, 1);
	vms_object_unref(o);
	vms_object_unref(a);
	expect_complete(&f->script, 1);
}

static void zero_asks_only_where_it_must(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = paged(f->arena, &f->script, 1, 0, 8);
	struct vms_object *t = paged(f->arena, &f->script, 2, VMS_OBJECT_TRAP_DIRTY, 8);
	struct vms_wait wait;

	vms_wait_init(&wait);
	/* Whole pages: silently. */
	assert_ok(vms_object_op(a, VMS_OBJECT_ZERO, P, 4 * P, NULL));
	expect_nothing(&f->script);
	assert_zero_page(a, 1);
	assert_zero_page(a, 4);
	/* With a trap the pages come first, then the leave. */
	assert_int_equal(vms_object_op(t, VMS_OBJECT_ZERO, P, 4 * P, &wait), VMS_WAIT);
	expect(&f->script, NOTE_READ, 1, 4);
	supply(&f->script, t, 7, 1, 4);
	assert_ok(vms_wait_block(&wait, -1));
	assert_int_equal(vms_object_op(t, VMS_OBJECT_ZERO, P, 4 * P, &wait), VMS_WAIT);
	expect(&f->script, NOTE_DIRTY, 1, 4);
	assert_page(t, 7, 2);
	assert_ok(vms_pager_dirtied(f->script.pager, t, P, 4 * P));
	assert_ok(vms_wait_block(&wait, -1));
	assert_ok(vms_object_op(t, VMS_OBJECT_ZERO, P, 4 * P, &wait));
	assert_zero_page(t, 1);
	assert_zero_page(t, 4);
	expect_nothing(&f->script);
	assert_sound(a);
	assert_sound(t);
	vms_object_unref(a);
	expect_complete(&f->script, 1);
	vms_object_unref(t);
	expect_complete(&f->script, 2);
}

static void pins_and_hints_hold_against_reclaim(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = paged(f->arena, &f->script, 1, 0, 8), *o;
	struct vms_wait wait;
	uint64_t freed;
	char c;

	vms_wait_init(&wait);
	o = child(a, VMS_CHILD_SNAPSHOT_LAZY, 0, 8, VMS_OBJECT_RESIZABLE);
	supply(&f->script, a, 3, 0, 8);
	assert_ok(vms_object_pin(a, 0, P, 0, &wait));
	assert_ok(vms_object_op(a, VMS_OBJECT_ALWAYS_NEED, P, P, &wait));
	/* Through an overlay it reaches the root's page; not where the overlay has its own. */
	assert_ok(vms_object_write(o, 3 * P, "x", 1, &wait));
	assert_ok(vms_object_op(o, VMS_OBJECT_ALWAYS_NEED, 2 * P, 2 * P, &wait));
	assert_ok(vms_arena_reclaim(f->arena, 100 * P, &freed));
	assert_page(a, 3, 0);
	assert_page(a, 3, 1);
	assert_page(a, 3, 2);
	assert_int_equal(vms_object_read(a, 3 * P, &c, 1, NULL), -EAGAIN);
	assert_int_equal(vms_object_read(o, 4 * P, &c, 1, NULL), -EAGAIN);
	assert_ok(vms_object_read(o, 3 * P, &c, 1, NULL));
	assert_int_equal(c, 'x');
	assert_ok(vms_object_unpin(a, 0, P));
	assert_ok(vms_arena_reclaim(f->arena, 100 * P, &freed));
	assert_int_equal(vms_object_read(a, 0, &c, 1, NULL), -EAGAIN);
	assert_sound(a);
	vms_object_unref(o);
	vms_object_unref(a);
	expect_complete(&f->script, 1);
}

static void an_overlay_asks_the_root(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = paged(f->arena, &f->script, 1, VMS_OBJECT_TRAP_DIRTY, 8);
	struct vms_object *o = child(a, VMS_CHILD_SNAPSHOT_MODIFIED, 2, 6, VMS_OBJECT_RESIZABLE);
	unsigned char buf[4 * 4096];
	struct vms_wait wait;

	vms_wait_init(&wait);
	fill_pages(buf, 9, 0, 4);
	/* Whole pages need nothing; and never the root's leave. */
	assert_ok(vms_object_write(o, 0, buf, 2 * P, NULL));
	expect_nothing(&f->script);
	assert_page(o, 9, 0);
	/* A part needs the rest, at the root's place. */
	assert_int_equal(vms_object_write(o, 3 * P + 1, buf, 1, &wait), VMS_WAIT);
	expect(&f->script, NOTE_READ, 5, 1);
	supply(&f->script, a, 4, 5, 1);
	assert_ok(vms_wait_block(&wait, -1));
	assert_ok(vms_object_write(o, 3 * P + 1, buf, 1, &wait));
	assert_page(a, 4, 5);
	/* Past the root's end, and zeroed, nothing is asked. */
	assert_ok(vms_object_op(o, VMS_OBJECT_ZERO, 4 * P, P, NULL));
	assert_zero_page(o, 4);
	expect_nothing(&f->script);
	assert_sound(a);
	vms_object_unref(o);
	vms_object_unref(a);
	expect_complete(&f->script, 1);
}

/* ---- At random ---- */

#define PAGES	 40u
#define OVERLAYS 5u

struct layer {
	struct vms_object *obj;
	uint64_t npages, stream;
	unsigned char bytes[PAGES * 4096]; /* the root's; an overlay's where it is private */
	/* Overlays: */
	bool private[PAGES];
	uint64_t at, limit;
};

static struct {
	struct script *script;
	struct vms_arena *arena;
	unsigned char store[PAGES * 4096]; /* the pager's */
	struct layer root, over[OVERLAYS];
	uint64_t seed;
} walk;

static uint64_t some(uint64_t n)
{
	walk.seed = walk.seed * 6364136223846793005u + 1442695040888963407u;
	return (walk.seed >> 33) % n;
}

static void answer(struct script *s, struct vms_object *obj, enum vms_request_kind kind,
		   uint64_t off, uint64_t len)
{
	/* In two pieces now and then. */
	uint64_t half = some(3) || len == P ? len : P;

	for (uint64_t at = off; at < off + len; at += half) {
		uint64_t n = at + half > off + len ? off + len - at : half;

		if (kind == VMS_REQUEST_READ)
			assert_ok(vms_pager_supply_bytes(s->pager, obj, at, walk.store + at, n));
		else
			assert_ok(vms_pager_dirtied(s->pager, obj, at, n));
	}
}

/* Waits as long as it says so. */
#define WAITING(call)                                         \
	({                                                    \
		struct vms_wait wait;                         \
		int result_;                                  \
		vms_wait_init(&wait);                         \
		while ((result_ = (call)) == VMS_WAIT)        \
			assert_ok(vms_wait_block(&wait, -1)); \
		result_;                                      \
	})

static void model_page(const struct layer *l, uint64_t page, unsigned char *out)
{
	if (l == &walk.root || l->private[page])
		memcpy(out, l->bytes + page * P, P);
	else if (page < l->limit)
		memcpy(out, walk.root.bytes + (l->at + page) * P, P);
	else
		memset(out, 0, P);
}

static void model_write(struct layer *l, uint64_t off, const unsigned char *buf, uint64_t len)
{
	for (uint64_t page = off / P; len && page <= (off + len - 1) / P; page++) {
		if (l == &walk.root || l->private[page])
			continue;
		model_page(l, page, l->bytes + page * P);
		l->private[page] = true;
	}
	if (buf)
		memcpy(l->bytes + off, buf, len);
	else
		memset(l->bytes + off, 0, len);
}

static struct layer *some_layer(void)
{
	struct layer *l = &walk.over[some(OVERLAYS)];

	return some(3) && l->obj ? l : &walk.root;
}

static void step_write(struct layer *l)
{
	uint64_t size = l->npages * P, off = some(size + 1), len = some(some(4) ? 3 * P : size + 1);
	static unsigned char buf[PAGES * 4096];

	if (len > size - off)
		len = size - off;
	for (uint64_t i = 0; i < len; i++)
		buf[i] = (unsigned char)(walk.seed + i * 5);
	assert_ok(WAITING(vms_object_write(l->obj, off, buf, len, &wait)));
	model_write(l, off, buf, len);
}

static void step_zero(struct layer *l)
{
	uint64_t size = l->npages * P, off = some(size + 1), len = some(size - off + 1);

	assert_ok(WAITING(vms_object_op(l->obj, VMS_OBJECT_ZERO, off, len, &wait)));
	/* A partial end that reads zero already shows the root still: do not write it. */
	for (uint64_t page = off / P; len && page <= (off + len - 1) / P; page++) {
		uint64_t from = page * P < off ? off : page * P;
		uint64_t to = (page + 1) * P > off + len ? off + len : (page + 1) * P;

		if (l == &walk.root || l->private[page] || page < l->limit)
			model_write(l, from, NULL, to - from);
	}
}

static void step_op(struct layer *l)
{
	static const enum vms_object_op ops[] = { VMS_OBJECT_COMMIT, VMS_OBJECT_PREFETCH,
						  VMS_OBJECT_ALWAYS_NEED, VMS_OBJECT_DONT_NEED };
	enum vms_object_op op = ops[some(4)];
	uint64_t first = some(l->npages + 1), n = some(l->npages - first + 1);

	assert_ok(WAITING(vms_object_op(l->obj, op, first * P, n * P, &wait)));
	for (uint64_t i = first; op == VMS_OBJECT_COMMIT && l != &walk.root && i < first + n; i++)
		if (!l->private[i]) {
			model_page(l, i, l->bytes + i * P);
			l->private[i] = true;
		}
}

/* Pages alone: what an unaligned end does to a page that is absent is its pager's affair. */
static void step_resize(struct layer *l)
{
	uint64_t npages = some(PAGES + 1);

	assert_ok(vms_object_resize(l->obj, npages * P, NULL));
	for (uint64_t i = npages; i < PAGES; i++) {
		memset(l->bytes + i * P, 0, P);
		l->private[i] = false;
	}
	l->npages = npages;
	l->stream = npages * P;
	if (l->limit > npages)
		l->limit = npages;
	for (unsigned i = 0; l == &walk.root && i < OVERLAYS; i++) {
		struct layer *o = &walk.over[i];
		uint64_t limit = npages > o->at ? npages - o->at : 0;

		if (o->limit > limit)
			o->limit = limit;
	}
}

static void step_stream(struct layer *l)
{
	uint64_t bytes = some(l->npages * P + 1);

	assert_ok(WAITING(vms_object_set_stream_size(l->obj, bytes, &wait)));
	if (bytes < l->stream && bytes % P) {
		uint64_t page = bytes / P;

		if (l == &walk.root || l->private[page] || page < l->limit)
			model_write(l, bytes, NULL, P - bytes % P);
	}
	l->stream = bytes;
}

static void step_writeback(void)
{
	struct vms_dirty_range range[PAGES];
	struct vms_pager *pager = walk.script->pager;
	struct vms_object *obj = walk.root.obj;
	size_t n = PAGES;
	int more = 0;

	assert_ok(vms_pager_query_dirty(pager, obj, 0, walk.root.npages * P, range, &n, &more));
	assert_int_equal(more, 0);
	for (size_t i = 0; i < n; i++) {
		uint32_t flags = range[i].zero ? VMS_WRITEBACK_ZERO : 0;

		assert_ok(vms_pager_writeback_begin(pager, obj, range[i].off, range[i].len, flags));
		assert_ok(vms_object_read(obj, range[i].off, walk.store + range[i].off,
					  range[i].len, NULL));
		assert_ok(vms_pager_writeback_end(pager, obj, range[i].off, range[i].len, flags));
	}
}

static void step_child(void)
{
	struct layer *c = &walk.over[some(OVERLAYS)], *l = some_layer();
	uint64_t first = some(l->npages + 1), npages = some(PAGES + 1), seen;

	if (c == l)
		return;
	vms_object_unref(c->obj);
	memset(c, 0, sizeof(*c));
	c->obj = child(l->obj, VMS_CHILD_SNAPSHOT_LAZY + (int)some(2), first, npages,
		       VMS_OBJECT_RESIZABLE);
	c->npages = npages;
	c->stream = npages * P;
	seen = npages < l->npages - first ? npages : l->npages - first;
	if (l == &walk.root) {
		c->at = first;
		c->limit = seen;
		return;
	}
	for (uint64_t i = 0; i < seen; i++) {
		c->private[i] = l->private[first + i];
		if (c->private[i])
			memcpy(c->bytes + i * P, l->bytes + (first + i) * P, P);
	}
	c->at = l->at + first;
	c->limit = l->limit > first ? l->limit - first : 0;
	if (c->limit > seen)
		c->limit = seen;
}

static void walk_step(void)
{
	uint64_t freed;

	switch (some(10)) {
	case 0:
	case 1:
	case 2:
		step_write(some_layer());
		break;
	case 3:
		step_zero(some_layer());
		break;
	case 4:
		step_op(some_layer());
		break;
	case 5:
		step_resize(some_layer());
		break;
	case 6:
		step_stream(some_layer());
		break;
	case 7:
		step_writeback();
		break;
	case 8:
		assert_ok(vms_arena_reclaim(walk.arena, some(PAGES) * P, &freed));
		break;
	default:
		step_child();
	}
}

static void compare(const struct layer *l, uint64_t step)
{
	static unsigned char got[PAGES * 4096], want[4096];

	if (!l->obj)
		return;
	assert_sound(l->obj);
	/* Not always all of it: then pages stay absent. */
	for (uint64_t page = some(4) ? some(l->npages + 1) : 0; page < l->npages; page++) {
		assert_ok(WAITING(vms_object_read(l->obj, page * P, got, P, &wait)));
		model_page(l, page, want);
		if (memcmp(got, want, P)) {
			print_message("step %llu: page %llu of %s differs\n",
				      (unsigned long long)step, (unsigned long long)page,
				      l == &walk.root ? "the root" : "an overlay");
			assert_memory_equal(got, want, P);
		}
		if (some(4) == 0)
			break;
	}
}

static void random_walk(struct fixture *f, uint32_t flags, uint64_t first_seed)
{
	const char *steps = getenv("OBJECTS_PAGED_STEPS"), *from = getenv("OBJECTS_PAGED_SEED");
	uint64_t n = steps ? strtoull(steps, NULL, 0) : 2000;

	memset(&walk, 0, sizeof(walk));
	walk.seed = from ? strtoull(from, NULL, 0) : first_seed;
	walk.script = &f->script;
	walk.arena = f->arena;
	f->script.answer = answer;
	for (size_t i = 0; i < sizeof(walk.store); i++)
		walk.store[i] = (unsigned char)(i / P * 3 + i);
	memcpy(walk.root.bytes, walk.store, sizeof(walk.store));
	walk.root.obj = paged(f->arena, &f->script, 5, VMS_OBJECT_RESIZABLE | flags, PAGES);
	walk.root.npages = PAGES;
	walk.root.stream = PAGES * P;
	for (uint64_t i = 0; i < n; i++) {
		walk_step();
		compare(&walk.root, i);
		for (unsigned k = 0; k < OVERLAYS; k++)
			compare(&walk.over[k], i);
	}
	vms_object_unref(walk.root.obj);
	for (unsigned k = 0; k < OVERLAYS; k++)
		vms_object_unref(walk.over[k].obj);
	expect_complete(&f->script, 5);
}

static void a_walk_above_a_pager(void **state)
{
	random_walk(*state, 0, 1);
}

static void a_walk_above_a_pager_that_traps(void **state)
{
	random_walk(*state, VMS_OBJECT_TRAP_DIRTY, 2);
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(without_a_wait_nothing_is_asked), T(a_call_lets_go_of_the_last_ones_wait),
		T(zero_asks_only_where_it_must),    T(pins_and_hints_hold_against_reclaim),
		T(an_overlay_asks_the_root),	    T(a_walk_above_a_pager),
		T(a_walk_above_a_pager_that_traps),
	};

	if (sysconf(_SC_PAGESIZE) != (long)P) {
		printf("skipped: the host's pages are not 4 KiB\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
