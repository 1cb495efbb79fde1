// SPDX-License-Identifier: MIT
/*
 * pager.c: what is asked of a pager, and what becomes of its answers. The waits are tried without
 * threads where one is enough: a call that returns VMS_WAIT has linked its wait.
 */
#include "check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/epoch.h"
#include "object/content.h"
#include "pager_script.h"
#include "world.h"

static struct test_world tw;
static struct script script;
static struct vms_arena *arena;

static int begin(void **state)
{
	test_world_begin(&tw);
	script_begin(&script);
	arena = arena_of(0);
	return 0;
}

static int end(void **state)
{
	struct vms_arena_info info = { .size = sizeof(info) };

	vms_arena_info(arena, &info);
	assert_int_equal(info.granted, 0);
	script_end(&script);
	vms_arena_unref(arena);
	test_world_end(&tw);
	return 0;
}

/* A read of pages that has to wait. */
static void must_wait(struct vms_object *obj, bool write, uint64_t first, uint64_t n,
		      struct vms_wait *wait)
{
	unsigned char *buf = calloc(n, P);

	assert_non_null(buf);
	vms_wait_init(wait);
	assert_int_equal(write ? vms_object_write(obj, first * P, buf, n * P, wait)
			       : vms_object_read(obj, first * P, buf, n * P, wait),
			 VMS_WAIT);
	free(buf);
	assert_sound(obj);
}

static void is_waiting(struct vms_wait *wait)
{
	assert_int_equal(vms_wait_block(wait, 0), -ETIMEDOUT);
}

/* ---- Reading ---- */

static void one_page(void **state)
{
	struct vms_object *obj = paged(arena, &script, 7, 0, 4);
	struct vms_wait wait;
	unsigned char b;

	assert_int_equal(vms_object_read(obj, 2 * P + 5, &b, 1, NULL), -EAGAIN);
	expect_nothing(&script); /* without a wait nobody is asked */
	must_wait(obj, false, 2, 1, &wait);
	expect(&script, NOTE_READ, 2, 1);
	is_waiting(&wait);
	assert_int_equal(vms_wait_block(&wait, 1000), -ETIMEDOUT);
	supply(&script, obj, 1, 2, 1);
	assert_ok(vms_wait_block(&wait, -1));
	assert_ok(vms_wait_block(&wait, -1)); /* nothing is waited for */
	assert_page(obj, 1, 2);
	assert_int_equal(vms_object_read(obj, P, &b, 1, NULL), -EAGAIN);
	assert_sound(obj);
	vms_object_unref(obj);
	expect_complete(&script, 7);
}

/* The drawing in source.c. */
static void overlaps(void **state)
{
	struct vms_object *obj = paged(arena, &script, 1, 0, 16);
	struct vms_wait a, b, c;

	supply(&script, obj, 1, 2, 1);
	must_wait(obj, false, 3, 5, &a);
	expect(&script, NOTE_READ, 3, 5);
	must_wait(obj, false, 5, 3, &b);
	expect_nothing(&script);
	must_wait(obj, false, 0, 8, &c);
	expect(&script, NOTE_READ, 0, 2);
	supply(&script, obj, 1, 3, 2);
	is_waiting(&a);
	vms_wait_cancel(&a);
	assert_sound(obj);
	expect_nothing(&script);
	supply(&script, obj, 1, 6, 1);
	assert_sound(obj);
	is_waiting(&b);
	supply(&script, obj, 1, 5, 1);
	is_waiting(&b);
	supply(&script, obj, 1, 7, 1);
	assert_ok(vms_wait_block(&b, 0));
	assert_sound(obj);
	vms_wait_cancel(&c);
	expect(&script, NOTE_CANCEL_READ, 0, 2);
	for (uint64_t i = 2; i < 8; i++)
		assert_page(obj, 1, i);
	vms_object_unref(obj);
	expect_complete(&script, 1);
}

static void packet_ends_at_anothers(void **state)
{
	struct vms_object *obj = paged(arena, &script, 1, 0, 16);
	struct vms_wait a, b, c;

	must_wait(obj, false, 4, 4, &a);
	expect(&script, NOTE_READ, 4, 4);
	must_wait(obj, false, 0, 16, &b);
	expect(&script, NOTE_READ, 0, 4);
	must_wait(obj, false, 6, 10, &c); /* rides to the packet's end, and no farther */
	expect_nothing(&script);
	supply(&script, obj, 1, 6, 2);
	assert_ok(vms_wait_block(&c, 0));
	is_waiting(&a);
	must_wait(obj, false, 6, 10, &c);
	expect(&script, NOTE_READ, 8, 8);
	supply(&script, obj, 1, 0, 16);
	assert_ok(vms_wait_block(&a, 0));
	assert_ok(vms_wait_block(&b, 0));
	assert_ok(vms_wait_block(&c, 0));
	for (uint64_t i = 0; i < 16; i++)
		assert_page(obj, 1, i);
	vms_object_unref(obj);
	expect_complete(&script, 1);
}

/* A wait that is used again is cancelled first; what is asked again is asked anew. */
static void cancelled_is_sent_again(void **state)
{
	struct vms_object *obj = paged(arena, &script, 1, 0, 4);
	struct vms_wait a;
	unsigned char b;

	must_wait(obj, false, 1, 2, &a);
	expect(&script, NOTE_READ, 1, 2);
	assert_int_equal(vms_object_read(obj, P, &b, 1, &a), VMS_WAIT);
	expect(&script, NOTE_CANCEL_READ, 1, 2);
	expect(&script, NOTE_READ, 1, 1);
	vms_wait_cancel(&a);
	expect(&script, NOTE_CANCEL_READ, 1, 1);
	vms_wait_cancel(&a);
	vms_object_unref(obj);
	expect_complete(&script, 1);
}

/* The last of three is left: he has it all, and gives it up. */
static void handed_on(void **state)
{
	struct vms_object *obj = paged(arena, &script, 1, 0, 8);
	struct vms_wait w[3];

	must_wait(obj, false, 0, 8, &w[0]);
	expect(&script, NOTE_READ, 0, 8);
	must_wait(obj, false, 1, 2, &w[1]);
	must_wait(obj, false, 6, 2, &w[2]);
	vms_wait_cancel(&w[0]);
	assert_sound(obj);
	vms_wait_cancel(&w[1]);
	assert_sound(obj);
	expect_nothing(&script);
	vms_wait_cancel(&w[2]);
	expect(&script, NOTE_CANCEL_READ, 0, 8);
	assert_sound(obj);
	vms_object_unref(obj);
	expect_complete(&script, 1);
}

/* ---- Failing ---- */

static void failure_is_not_sticky(void **state)
{
	static const int codes[] = { -EIO, -EBADMSG, -EBUSY, -ENOSPC, -EOVERFLOW };
	struct vms_object *obj = paged(arena, &script, 1, 0, 4);
	struct vms_wait wait;

	for (unsigned i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
		must_wait(obj, false, 0, 4, &wait);
		expect(&script, NOTE_READ, 0, 4);
		assert_ok(vms_pager_fail(script.pager, obj, 3 * P, P, codes[i]));
		assert_int_equal(vms_wait_block(&wait, 0), codes[i]);
		assert_ok(vms_wait_block(&wait, 0));
		assert_sound(obj);
	}
	must_wait(obj, false, 0, 4, &wait);
	expect(&script, NOTE_READ, 0, 4);
	supply(&script, obj, 1, 0, 4);
	assert_ok(vms_wait_block(&wait, 0));
	assert_page(obj, 1, 3);
	vms_object_unref(obj);
	expect_complete(&script, 1);
}

/* Who did not want the failed page goes on waiting, on either side of it. */
static void fail_in_the_middle(void **state)
{
	struct vms_object *obj = paged(arena, &script, 1, 0, 10);
	struct vms_wait all, low, high, mid;

	must_wait(obj, false, 0, 10, &all);
	expect(&script, NOTE_READ, 0, 10);
	must_wait(obj, false, 1, 2, &low);
	must_wait(obj, false, 7, 2, &high);
	must_wait(obj, false, 4, 3, &mid);
	assert_ok(vms_pager_fail(script.pager, obj, 4 * P, 2 * P, -EIO));
	assert_sound(obj);
	assert_int_equal(vms_wait_block(&all, 0), -EIO);
	assert_int_equal(vms_wait_block(&mid, 0), -EIO);
	is_waiting(&low);
	is_waiting(&high);
	expect_nothing(&script);
	must_wait(obj, false, 0, 10, &all);
	expect_nothing(&script); /* rides on the low one's */
	must_wait(obj, false, 4, 6, &mid);
	expect(&script, NOTE_READ, 4, 2);
	supply(&script, obj, 1, 0, 10);
	assert_ok(vms_wait_block(&low, 0));
	assert_ok(vms_wait_block(&high, 0));
	assert_ok(vms_wait_block(&all, 0));
	assert_ok(vms_wait_block(&mid, 0));
	vms_object_unref(obj);
	expect_complete(&script, 1);
}

/* ---- Supplying ---- */

static uint64_t granted(void)
{
	struct vms_arena_info info = { .size = sizeof(info) };

	vms_arena_info(arena, &info);
	return info.granted / P;
}

static void supply_moves(void **state)
{
	struct vms_object *obj = paged(arena, &script, 1, 0, 300), *aux = anon(arena, 400);
	unsigned char *buf = malloc(400 * P);
	struct vms_wait wait;

	/* aux: pages 10..209 are there but for 20..29; of ours 105 is there already. */
	fill_pages(buf, 3, 0, 200);
	assert_ok(vms_object_write(aux, 10 * P, buf, 200 * P, NULL));
	assert_ok(vms_object_op(aux, VMS_OBJECT_DECOMMIT, 20 * P, 10 * P, NULL));
	supply(&script, obj, 1, 105, 1);
	must_wait(obj, false, 0, 300, &wait);
	expect(&script, NOTE_READ, 0, 105);
	assert_int_equal(granted(), 191);
	assert_ok(vms_pager_supply(script.pager, obj, 0, 200 * P, aux, 10 * P));
	assert_int_equal(granted(), 190);
	assert_ok(vms_wait_block(&wait, 0));
	assert_sound(obj);
	assert_sound(aux);
	for (uint64_t i = 0; i < 200; i++) {
		assert_zero_page(aux, 10 + i);
		if (i == 105)
			assert_page(obj, 1, i);
		else if (i >= 10 && i < 20)
			assert_zero_page(obj, i);
		else
			assert_page(obj, 3, i);
	}
	/* It can be used again, and what was moved is not its any more. */
	fill_pages(buf, 5, 0, 100);
	assert_ok(vms_object_write(aux, 10 * P, buf, 100 * P, NULL));
	assert_page(obj, 3, 9);
	assert_ok(vms_pager_supply(script.pager, obj, 200 * P, 100 * P, aux, 10 * P));
	assert_sound(obj);
	fill_pages(buf, 5, 0, 1);
	assert_ok(vms_object_read(obj, 200 * P, buf + P, P, NULL));
	assert_memory_equal(buf, buf + P, P);
	free(buf);
	vms_object_unref(aux);
	vms_object_unref(obj);
	expect_complete(&script, 1);
}

/* A hole as long as an object can be takes no memory and no time. */
static void supply_of_nothing(void **state)
{
	uint64_t n = UINT64_C(1) << 40;
	struct vms_object *obj = paged(arena, &script, 1, 0, n), *aux = anon(arena, n);
	struct vms_wait wait;

	must_wait(obj, false, n - 1, 1, &wait);
	expect(&script, NOTE_READ, n - 1, 1);
	assert_ok(vms_pager_supply(script.pager, obj, 0, n * P, aux, 0));
	assert_ok(vms_wait_block(&wait, 0));
	assert_zero_page(obj, 0);
	assert_zero_page(obj, n - 1);
	assert_int_equal(granted(), 0);
	vms_object_unref(aux);
	vms_object_unref(obj);
	expect_complete(&script, 1);
}

static void first_supply_wins(void **state)
{
	struct vms_object *obj = paged(arena, &script, 1, 0, 8);

	supply(&script, obj, 1, 2, 3);
	supply(&script, obj, 2, 0, 8);
	for (uint64_t i = 0; i < 8; i++)
		assert_page(obj, i >= 2 && i < 5 ? 1 : 2, i);
	assert_int_equal(granted(), 8);
	assert_sound(obj);
	vms_object_unref(obj);
	expect_complete(&script, 1);
}

static void answer_at_once(struct script *s, struct vms_object *obj, enum vms_request_kind kind,
			   uint64_t off, uint64_t len)
{
	if (kind == VMS_REQUEST_READ)
		supply(s, obj, 9, off / P, len / P);
	else
		assert_ok(vms_pager_dirtied(s->pager, obj, off, len));
}

static void answers_from_the_request(void **state)
{
	struct vms_object *obj = paged(arena, &script, 1, VMS_OBJECT_TRAP_DIRTY, 8);
	unsigned char buf[3 * P];

	script.answer = answer_at_once;
	assert_ok(touch(obj, false, 0, 2, buf));
	fill_pages(buf, 4, 1, 3);
	assert_ok(touch(obj, true, 1, 3, buf));
	assert_page(obj, 9, 0);
	assert_page(obj, 4, 3);
	assert_sound(obj);
	vms_object_unref(obj);
	expect_complete(&script, 1);
}

/* The pager's own name for the object holds after every handle has gone. */
static void named_after_its_handles(void **state)
{
	struct vms_object *obj = paged(arena, &script, 5, 0, 8), *child;
	struct vms_object_params params = { .size = sizeof(params), .bytes = 8 * P };
	struct vms_object_params two = {.size = sizeof(two), .bytes = 2 * P};
	struct vms_object_info info = {.size = sizeof(info)};
	struct vms_object *slice;
	struct vms_wait wait;
	unsigned char b[P];

	assert_ok(vms_object_child(obj, VMS_CHILD_SNAPSHOT_LAZY, 2 * P, &params, &child));
	vms_object_unref(obj);
	must_wait(child, false, 1, 1, &wait);
	expect(&script, NOTE_READ, 3, 1);
	assert_ok(vms_object_info(script.obj, &info));
	assert_int_equal(info.bytes, 8 * P);
	assert_int_equal(info.kind, VMS_OBJECT_KIND_PAGED);
	assert_ok(vms_object_child(script.obj, VMS_CHILD_SLICE, 2 * P, &two, &slice));
	fill_pages(b, 1, 3, 1);
	assert_ok(vms_pager_supply_bytes(script.pager, slice, P, b, P)); /* a window will do */
	vms_object_unref(slice);
	assert_ok(vms_wait_block(&wait, 0));
	fill_pages(b, 1, 3, 1);
	assert_ok(vms_object_read(child, P, b, P, NULL));
	assert_sound(child);
	expect_nothing(&script);
	vms_object_unref(child);
	expect_complete(&script, 5);
}

/* ---- Writing ---- */

#define RANGES 8
static void dirty_is(struct vms_object *obj, unsigned n, ...)
{
	struct vms_object_info info = { .size = sizeof(info) };
	struct vms_dirty_range r[RANGES];
	size_t got = RANGES;
	va_list ap;
	int more;

	assert_ok(vms_object_info(obj, &info));
	assert_ok(vms_pager_query_dirty(script.pager, obj, 0, info.bytes, r, &got, &more));
	assert_false(more);
	assert_int_equal(got, n);
	va_start(ap, n);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(r[i].off / P, va_arg(ap, int));
		assert_int_equal(r[i].len / P, va_arg(ap, int));
		assert_int_equal(r[i].zero, va_arg(ap, int));
	}
	va_end(ap);
}

static void put(struct vms_object *obj, unsigned seed, uint64_t first, uint64_t n)
{
	unsigned char *buf = malloc(n * P);

	fill_pages(buf, seed, first, n);
	assert_ok(vms_object_write(obj, first * P, buf, n * P, NULL));
	free(buf);
}

static int wb_begin(struct vms_object *obj, uint64_t first, uint64_t n, uint32_t flags)
{
	return vms_pager_writeback_begin(script.pager, obj, first * P, n * P, flags);
}

static int wb_end(struct vms_object *obj, uint64_t first, uint64_t n, uint32_t flags)
{
	return vms_pager_writeback_end(script.pager, obj, first * P, n * P, flags);
}

static void silent_dirty(void **state)
{
	struct vms_object *obj = paged(arena, &script, 1, 0, 16);
	struct vms_wait wait;

	assert_int_equal(vms_pager_modified(script.pager, obj, 0), 0);
	must_wait(obj, true, 2, 4, &wait); /* the pages first, whole as they are to be written */
	expect(&script, NOTE_READ, 2, 4);
	supply(&script, obj, 1, 0, 16);
	assert_ok(vms_wait_block(&wait, 0));
	dirty_is(obj, 0);
	assert_ok(vms_object_op(obj, VMS_OBJECT_COMMIT, 0, 16 * P, NULL));
	dirty_is(obj, 0);
	put(obj, 2, 2, 4);
	put(obj, 2, 8, 1);
	dirty_is(obj, 2, 2, 4, 0, 8, 1, 0);
	assert_int_equal(vms_pager_modified(script.pager, obj, 0), 1);
	assert_int_equal(vms_pager_modified(script.pager, obj, 1), 1);
	assert_int_equal(vms_pager_modified(script.pager, obj, 0), 0);

	assert_ok(wb_begin(obj, 0, 16, 0));
	dirty_is(obj, 2, 2, 4, 0, 8, 1, 0); /* awaiting clean */
	put(obj, 3, 3, 1);
	assert_ok(wb_end(obj, 0, 4, 0));
	dirty_is(obj, 2, 3, 3, 0, 8, 1, 0);
	assert_ok(wb_end(obj, 0, 16, 0));
	dirty_is(obj, 1, 3, 1, 0);
	assert_ok(wb_end(obj, 0, 16, 0)); /* nothing to end */
	dirty_is(obj, 1, 3, 1, 0);
	assert_sound(obj);
	vms_object_unref(obj);
	expect_complete(&script, 1);
}

/* Who has a page pinned may write to it at any time. */
static void pinned_stays_dirty(void **state)
{
	struct vms_object *obj = paged(arena, &script, 1, 0, 8);

	supply(&script, obj, 1, 0, 8);
	put(obj, 2, 0, 8);
	assert_ok(vms_object_pin(obj, 2 * P, 3 * P, 1, NULL));
	assert_ok(wb_begin(obj, 0, 8, 0));
	assert_ok(wb_end(obj, 0, 8, 0));
	dirty_is(obj, 1, 2, 3, 0);
	assert_ok(vms_object_unpin(obj, 2 * P, 3 * P));
	dirty_is(obj, 1, 2, 3, 0);
	assert_ok(wb_begin(obj, 0, 8, 0));
	assert_ok(vms_object_pin(obj, 3 * P, P, 1, NULL)); /* writes again */
	assert_ok(wb_end(obj, 0, 8, 0));
	dirty_is(obj, 1, 3, 1, 0);
	assert_ok(vms_object_unpin(obj, 3 * P, P));
	assert_sound(obj);
	vms_object_unref(obj);
	expect_complete(&script, 1);
}

static void trapped_dirty(void **state)
{
	struct vms_object *obj = paged(arena, &script, 1, VMS_OBJECT_TRAP_DIRTY, 16);
	struct vms_wait a, b;

	supply(&script, obj, 1, 0, 16);
	must_wait(obj, true, 2, 4, &a);
	expect(&script, NOTE_DIRTY, 2, 4);
	must_wait(obj, true, 4, 6, &b); /* rides to 5 */
	expect_nothing(&script);
	assert_ok(vms_pager_dirtied(script.pager, obj, 2 * P, 2 * P));
	is_waiting(&a);
	assert_ok(vms_pager_dirtied(script.pager, obj, 4 * P, 2 * P));
	assert_ok(vms_wait_block(&a, 0));
	assert_ok(vms_wait_block(&b, 0));
	dirty_is(obj, 1, 2, 4, 0);
	put(obj, 2, 2, 4); /* no more questions */
	must_wait(obj, true, 4, 6, &b);
	expect(&script, NOTE_DIRTY, 6, 4);
	assert_ok(vms_pager_fail(script.pager, obj, 9 * P, P, -ENOSPC));
	assert_int_equal(vms_wait_block(&b, 0), -ENOSPC);
	assert_page(obj, 2, 5);
	assert_page(obj, 1, 6);

	/* Awaiting clean traps again. */
	assert_ok(wb_begin(obj, 2, 2, 0));
	must_wait(obj, true, 3, 2, &a);
	expect(&script, NOTE_DIRTY, 3, 1);
	assert_ok(wb_end(obj, 2, 2, 0));
	dirty_is(obj, 1, 4, 2, 0);
	is_waiting(&a);
	assert_ok(vms_pager_dirtied(script.pager, obj, 3 * P, P));
	assert_ok(vms_wait_block(&a, 0));
	dirty_is(obj, 1, 3, 3, 0);
	put(obj, 4, 3, 2);
	assert_page(obj, 4, 4);
	assert_sound(obj);
	vms_object_unref(obj);
	expect_complete(&script, 1);
}

/* Dirty, written back, and clean again before the rest of the packet is answered. */
static void taken_back(void **state)
{
	struct vms_object *obj = paged(arena, &script, 1, VMS_OBJECT_TRAP_DIRTY, 16);
	struct vms_wait a, b;

	supply(&script, obj, 1, 0, 16);
	must_wait(obj, true, 0, 10, &a);
	expect(&script, NOTE_DIRTY, 0, 10);
	must_wait(obj, true, 8, 1, &b);
	assert_ok(vms_pager_dirtied(script.pager, obj, 4 * P, P));
	assert_ok(wb_begin(obj, 6, 2, 0)); /* takes nothing back */
	is_waiting(&a);
	assert_ok(wb_begin(obj, 3, 2, 0));
	assert_sound(obj);
	assert_ok(vms_wait_block(&a, 0)); /* both look again */
	assert_ok(vms_wait_block(&b, 0));
	must_wait(obj, true, 0, 10, &a);
	expect(&script, NOTE_DIRTY, 0, 10);
	assert_ok(vms_pager_dirtied(script.pager, obj, 0, 10 * P));
	assert_ok(vms_wait_block(&a, 0));
	put(obj, 2, 0, 10);
	vms_object_unref(obj);
	expect_complete(&script, 1);
}

static void zero_pages(void **state)
{
	struct vms_object *obj = paged(arena, &script, 1, VMS_OBJECT_TRAP_DIRTY, 300);
	struct vms_object *aux = anon(arena, 300);
	struct vms_wait wait;

	assert_ok(vms_pager_supply(script.pager, obj, 0, 300 * P, aux, 0));
	dirty_is(obj, 0);
	assert_int_equal(granted(), 0);
	must_wait(obj, true, 4, 2, &wait);
	expect(&script, NOTE_DIRTY, 4, 2);
	assert_ok(vms_pager_dirtied(script.pager, obj, 4 * P, 2 * P));
	assert_ok(vms_wait_block(&wait, 0));
	assert_int_equal(granted(), 2);
	assert_zero_page(obj, 4);
	assert_zero_page(obj, 5);
	dirty_is(obj, 1, 4, 2, 0);
	put(obj, 2, 4, 2);
	assert_ok(wb_begin(obj, 0, 300, VMS_WRITEBACK_ZERO)); /* of these none is zero */
	assert_ok(wb_end(obj, 0, 300, VMS_WRITEBACK_ZERO));
	dirty_is(obj, 1, 4, 2, 0);
	assert_sound(obj);
	vms_object_unref(aux);
	vms_object_unref(obj);
	expect_complete(&script, 1);
}

/* A zero page gets zeros, also in a frame that was something else before. */
static void zeros_in_used_frames(void **state)
{
	struct vms_object *obj = paged(arena, &script, 1, VMS_OBJECT_TRAP_DIRTY, 200);
	struct vms_object *aux = anon(arena, 200);

	supply(&script, obj, 1, 0, 100);
	assert_ok(vms_pager_dirtied(script.pager, obj, 0, 100 * P));
	assert_ok(vms_object_op(obj, VMS_OBJECT_ZERO, 0, 100 * P, NULL));
	assert_ok(wb_begin(obj, 0, 100, VMS_WRITEBACK_ZERO));
	assert_ok(wb_end(obj, 0, 100, VMS_WRITEBACK_ZERO));
	epoch_synchronize();
	assert_int_equal(granted(), 0);
	assert_ok(vms_pager_supply(script.pager, obj, 100 * P, 100 * P, aux, 0));
	assert_ok(vms_pager_dirtied(script.pager, obj, 0, 200 * P));
	for (uint64_t i = 0; i < 200; i++)
		assert_zero_page(obj, i);
	assert_sound(obj);
	vms_object_unref(aux);
	vms_object_unref(obj);
	expect_complete(&script, 1);
}

static void growth(void **state)
{
	struct vms_object *obj = paged(arena, &script, 1, VMS_OBJECT_RESIZABLE, 4);

	assert_ok(vms_object_resize(obj, 1000 * P, NULL));
	assert_int_equal(vms_pager_modified(script.pager, obj, 1), 1);
	dirty_is(obj, 1, 4, 996, 1);
	assert_zero_page(obj, 4);
	assert_zero_page(obj, 999);
	supply(&script, obj, 1, 2, 10); /* ignored from 4 on */
	assert_page(obj, 1, 3);
	assert_zero_page(obj, 4);
	put(obj, 2, 500, 2);
	dirty_is(obj, 3, 4, 496, 1, 500, 2, 0, 502, 498, 1);
	assert_ok(wb_begin(obj, 0, 1000, VMS_WRITEBACK_ZERO));
	put(obj, 2, 100, 1);
	dirty_is(obj, 5, 4, 96, 1, 100, 1, 0, 101, 399, 1, 500, 2, 0, 502, 498, 1);
	assert_ok(wb_end(obj, 0, 1000, VMS_WRITEBACK_ZERO));
	dirty_is(obj, 2, 100, 1, 0, 500, 2, 0);
	assert_sound(obj);
	assert_ok(wb_begin(obj, 0, 1000, 0));
	assert_ok(wb_end(obj, 0, 1000, 0));
	dirty_is(obj, 0);
	assert_page(obj, 2, 501);
	assert_zero_page(obj, 502);
	assert_ok(vms_object_resize(obj, 2 * P, NULL));
	assert_ok(vms_object_resize(obj, 4 * P, NULL));
	dirty_is(obj, 1, 2, 2, 1);
	assert_zero_page(obj, 3);
	assert_sound(obj);
	vms_object_unref(obj);
	expect_complete(&script, 1);
}

static void query_goes_on(void **state)
{
	struct vms_object *obj = paged(arena, &script, 1, 0, 64);
	struct vms_dirty_range r[3];
	size_t n = 3, total = 0;
	uint64_t at = 0;
	int more = 1;

	supply(&script, obj, 1, 0, 64);
	for (uint64_t i = 0; i < 64; i += 2)
		put(obj, 2, i, 1);
	while (more) {
		n = 3;
		assert_ok(vms_pager_query_dirty(script.pager, obj, at, 64 * P - at, r, &n, &more));
		assert_true(n > 0);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(r[i].off, (total + i) * 2 * P);
		total += n;
		at = r[n - 1].off + r[n - 1].len;
	}
	assert_int_equal(total, 32);
	n = 3; /* rounded outward */
	assert_ok(vms_pager_query_dirty(script.pager, obj, 3 * P + 1, P, r, &n, NULL));
	assert_int_equal(n, 1);
	assert_int_equal(r[0].off, 4 * P);
	n = 0;
	assert_ok(vms_pager_query_dirty(script.pager, obj, 0, 64 * P, NULL, &n, &more));
	assert_true(n == 0 && more);
	vms_object_unref(obj);
	expect_complete(&script, 1);
}

static void shrink_wakes(void **state)
{
	struct vms_object *obj = paged(arena, &script, 1, VMS_OBJECT_RESIZABLE, 16);
	unsigned char buf[4 * P];
	struct vms_wait a, b, c;

	must_wait(obj, false, 10, 4, &a);
	expect(&script, NOTE_READ, 10, 4);
	must_wait(obj, false, 4, 4, &b);
	expect(&script, NOTE_READ, 4, 4);
	must_wait(obj, false, 0, 3, &c);
	expect(&script, NOTE_READ, 0, 3);
	assert_ok(vms_object_resize(obj, 6 * P, NULL));
	assert_sound(obj);
	assert_ok(vms_wait_block(&a, 0));
	assert_int_equal(vms_object_read(obj, 10 * P, buf, P, &a), -ERANGE);
	is_waiting(&b); /* its other pages are on their way */
	is_waiting(&c);
	supply(&script, obj, 1, 4, 2);
	assert_ok(vms_wait_block(&b, 0));
	assert_int_equal(vms_object_read(obj, 4 * P, buf, 4 * P, &b), -ERANGE);
	is_waiting(&c);
	supply(&script, obj, 1, 0, 3);
	assert_ok(vms_wait_block(&c, 0));
	vms_object_unref(obj);
	expect_complete(&script, 1);
}

/* ---- Ending ---- */

static void detach(void **state)
{
	struct vms_object *obj = paged(arena, &script, 3, VMS_OBJECT_TRAP_DIRTY, 16), *child;
	struct vms_object_params params = { .size = sizeof(params), .bytes = 16 * P };
	struct vms_wait r, w;
	unsigned char b[P];

	supply(&script, obj, 1, 0, 8);
	assert_ok(vms_pager_dirtied(script.pager, obj, 2 * P, 2 * P));
	put(obj, 2, 2, 2);
	assert_ok(vms_object_child(obj, VMS_CHILD_SNAPSHOT_LAZY, 0, &params, &child));
	put(child, 5, 1, 1);
	assert_ok(wb_begin(obj, 3, 1, 0));
	must_wait(obj, false, 9, 1, &r);
	expect(&script, NOTE_READ, 9, 1);
	must_wait(obj, true, 0, 1, &w);
	expect(&script, NOTE_DIRTY, 0, 1);
	assert_ok(vms_pager_detach(script.pager, obj));
	expect_complete(&script, 3);
	assert_int_equal(vms_wait_block(&r, 0), -EBUSY);
	assert_int_equal(vms_wait_block(&w, 0), -EBUSY);
	assert_sound(obj);
	assert_page(obj, 2, 2);
	assert_page(obj, 2, 3);
	assert_page(child, 5, 1);
	assert_int_equal(vms_object_read(obj, 0, b, P, &r), -EBUSY);
	assert_int_equal(vms_object_read(child, 0, b, P, &r), -EBUSY);
	assert_int_equal(vms_pager_supply_bytes(script.pager, obj, 0, b, P), -EBUSY);
	assert_int_equal(vms_pager_dirtied(script.pager, obj, 2 * P, P), -ENOENT);
	put(obj, 3, 2, 1); /* dirty already */
	assert_int_equal(vms_object_write(obj, 3 * P, b, P, &w), -EBUSY);
	assert_ok(wb_end(obj, 0, 16, 0));
	dirty_is(obj, 1, 2, 1, 0);
	assert_ok(vms_pager_detach(script.pager, obj));
	assert_int_equal(granted(), 3);
	vms_object_unref(child);
	vms_object_unref(obj);
	expect_nothing(&script);
}

static void detaches_itself(struct script *s, struct vms_object *obj, enum vms_request_kind kind,
			    uint64_t off, uint64_t len)
{
	assert_ok(vms_pager_detach(s->pager, obj));
	expect_nothing(s); /* we are still talking */
}

static void detach_from_the_request(void **state)
{
	struct vms_object *obj = paged(arena, &script, 3, 0, 16);
	unsigned char b[P];

	script.answer = detaches_itself;
	assert_int_equal(touch(obj, false, 0, 1, b), -EBUSY);
	expect_complete(&script, 3);
	vms_object_unref(obj);
}

static void close_pager(void **state)
{
	struct vms_object *a = paged(arena, &script, 1, 0, 4), *b = paged(arena, &script, 2, 0, 4);
	struct vms_wait wait;
	unsigned char byte;

	supply(&script, a, 1, 0, 2);
	put(a, 2, 0, 1);
	must_wait(b, false, 0, 1, &wait);
	expect(&script, NOTE_READ, 0, 1);
	vms_pager_close(script.pager);
	script.pager = NULL;
	assert_int_equal(vms_wait_block(&wait, 0), -EBUSY);
	assert_page(a, 2, 0);
	assert_int_equal(vms_object_read(a, P, &byte, 1, &wait), -EBUSY);
	vms_object_unref(a);
	assert_int_equal(script.released, 0);
	vms_object_unref(b);
	assert_int_equal(script.released, 1);
}

/* ---- Giving back ---- */

static uint64_t reclaim(uint64_t pages)
{
	uint64_t before = granted(), freed;

	assert_ok(vms_arena_reclaim(arena, pages * P, &freed));
	return before - granted();
}

static void only_clean_pages_go(void **state)
{
	struct vms_object *obj = paged(arena, &script, 1, 0, 300);
	struct vms_wait wait;

	supply(&script, obj, 1, 0, 200);
	put(obj, 2, 10, 10);
	assert_ok(wb_begin(obj, 10, 5, 0));
	assert_ok(vms_object_pin(obj, 30 * P, 10 * P, 0, NULL));
	assert_ok(vms_object_op(obj, VMS_OBJECT_ALWAYS_NEED, 50 * P, 10 * P, NULL));
	must_wait(obj, false, 195, 20, &wait);
	expect(&script, NOTE_READ, 200, 15);
	supply(&script, obj, 1, 205, 5); /* inside the packet: stays */
	assert_int_equal(reclaim(100000), 170);
	assert_sound(obj);
	for (uint64_t i = 10; i < 60; i++)
		if (i < 20 || (i >= 30 && i < 40) || i >= 50)
			assert_page(obj, i < 20 ? 2 : 1, i);
	supply(&script, obj, 1, 200, 5);
	supply(&script, obj, 1, 210, 5);
	assert_ok(vms_wait_block(&wait, 0));
	must_wait(obj, false, 195, 20, &wait); /* what was not in the packet went */
	expect(&script, NOTE_READ, 195, 5);
	vms_wait_cancel(&wait);
	expect(&script, NOTE_CANCEL_READ, 195, 5);
	assert_ok(vms_object_unpin(obj, 30 * P, 10 * P));
	vms_object_unref(obj);
	expect_complete(&script, 1);
}

/* A pager's zeros get memory to be shown with, and none of what is always needed goes again. */
static void zeros_that_are_needed_stay(void **state)
{
	struct vms_object *obj = paged(arena, &script, 1, 0, 6), *aux = anon(arena, 6), *o;
	struct vms_object_params params = { .size = sizeof(params), .bytes = 4 * P };
	char c;

	assert_ok(vms_pager_supply(script.pager, obj, 0, 6 * P, aux, 0));
	assert_ok(vms_object_child(obj, VMS_CHILD_SNAPSHOT_LAZY, 2 * P, &params, &o));
	assert_ok(vms_object_op(obj, VMS_OBJECT_ALWAYS_NEED, 0, P, NULL));
	assert_ok(vms_object_write(o, P, "x", 1, NULL));
	/* The overlay's page 0 is the root's 2, its 1 is its own, and 2 is the root's 4. */
	assert_ok(vms_object_op(o, VMS_OBJECT_ALWAYS_NEED, 0, 3 * P, NULL));
	assert_int_equal(granted(), 4);
	assert_ok(vms_object_op(obj, VMS_OBJECT_COMMIT, 0, 6 * P, NULL));
	assert_int_equal(granted(), 7);
	assert_int_equal(reclaim(100), 3);
	for (uint64_t i = 0; i < 6; i++)
		if (i % 2)
			assert_int_equal(vms_object_read(obj, i * P, &c, 1, NULL), -EAGAIN);
		else
			assert_zero_page(obj, i);
	assert_sound(obj);
	assert_sound(o);
	vms_object_unref(o);
	vms_object_unref(aux);
	vms_object_unref(obj);
	expect_complete(&script, 1);
}

/* DONT_NEED first, and before anything else. */
static void cold_pages_go_first(void **state)
{
	struct vms_object *obj = paged(arena, &script, 1, 0, 100);

	supply(&script, obj, 1, 0, 100);
	assert_ok(vms_object_op(obj, VMS_OBJECT_DONT_NEED, 40 * P, 10 * P, NULL));
	assert_int_equal(reclaim(10), 10);
	for (uint64_t i = 0; i < 100; i++)
		if (i < 40 || i >= 50)
			assert_page(obj, 1, i);
	assert_int_equal(reclaim(5), 5);
	assert_sound(obj);
	vms_object_unref(obj);
	expect_complete(&script, 1);
}

static void supplies_past_the_limit(void **state)
{
	struct vms_arena *small = arena_of(64);
	struct vms_object *obj = paged(small, &script, 1, 0, 1000);
	unsigned char *buf = calloc(65, P);

	for (uint64_t i = 0; i < 1000; i += 50)
		supply(&script, obj, 1, i, 50); /* each evicts the one before */
	assert_sound(obj);
	assert_page(obj, 1, 999);
	put(obj, 2, 960, 40);
	assert_int_equal(vms_pager_supply_bytes(script.pager, obj, 0, buf, 25 * P), -ENOMEM);
	supply(&script, obj, 1, 0, 24);
	assert_page(obj, 2, 999);
	assert_sound(obj);
	free(buf);
	vms_object_unref(obj);
	vms_arena_unref(small);
	expect_complete(&script, 1);
}

/* ---- Many ---- */

static void many_requests(void **state)
{
	enum { N = 257 };
	struct vms_object *obj = paged(arena, &script, 1, 0, 2 * N);
	struct vms_wait *wait = calloc(N, sizeof(*wait));

	for (unsigned i = 0; i < N; i++)
		must_wait(obj, false, 2 * i, 1, &wait[i]);
	for (unsigned i = 0; i < N; i++)
		expect(&script, NOTE_READ, 2 * i, 1);
	for (unsigned i = N; i-- > 0;) {
		supply(&script, obj, 1, 2 * i, 1);
		assert_ok(vms_wait_block(&wait[i], 0));
	}
	free(wait);
	vms_object_unref(obj);
	expect_complete(&script, 1);
}

static void long_commit(void **state)
{
	struct vms_object *obj = paged(arena, &script, 1, 0, 555);
	struct vms_wait wait;
	uint64_t done = 0;
	int r;

	vms_wait_init(&wait);
	while ((r = vms_object_op(obj, VMS_OBJECT_COMMIT, 0, 555 * P, &wait)) == VMS_WAIT) {
		uint64_t n = done ? 555 - done : script.note[0].len;

		expect(&script, NOTE_READ, done, n);
		for (uint64_t i = 0; i < n; i++)
			supply(&script, obj, 1, done + i, 1);
		done += n;
		assert_ok(vms_wait_block(&wait, 0));
	}
	assert_ok(r);
	assert_int_equal(done, 555);
	assert_int_equal(granted(), 555);
	dirty_is(obj, 0);
	vms_object_unref(obj);
	expect_complete(&script, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_page),
		TEST(overlaps),
		TEST(packet_ends_at_anothers),
		TEST(cancelled_is_sent_again),
		TEST(handed_on),
		TEST(failure_is_not_sticky),
		TEST(fail_in_the_middle),
		TEST(supply_moves),
		TEST(supply_of_nothing),
		TEST(first_supply_wins),
		TEST(answers_from_the_request),
		TEST(named_after_its_handles),
		TEST(silent_dirty),
		TEST(pinned_stays_dirty),
		TEST(trapped_dirty),
		TEST(taken_back),
		TEST(zero_pages),
		TEST(zeros_in_used_frames),
		TEST(growth),
		TEST(query_goes_on),
		TEST(shrink_wakes),
		TEST(detach),
		TEST(detach_from_the_request),
		TEST(close_pager),
		TEST(only_clean_pages_go),
		TEST(zeros_that_are_needed_stay),
		TEST(cold_pages_go_first),
		TEST(supplies_past_the_limit),
		TEST(many_requests),
		TEST(long_commit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
