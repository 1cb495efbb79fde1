// SPDX-License-Identifier: MIT
/*
 * pager_inside.c: what threads do at bad moments, made to happen: between linking a wait and
 * telling the pager, and between granting frames and putting them in place. And that the validator
 * tells.
 */
#include "check.h"

#include <errno.h>
#include <string.h>

#include "object/source_int.h"
#include "pager_script.h"
#include "world.h"

static struct test_world tw;
static struct script script;
static struct vms_arena *arena;
static struct vms_object *obj;
static struct source *source;

static int begin(void **state)
{
	test_world_begin(&tw);
	script_begin(&script);
	arena = arena_of(0);
	obj = paged(arena, &script, 1, 0, 16);
	source = view_of(obj)->content->source;
	return 0;
}

static int end(void **state)
{
	struct vms_arena_info info = { .size = sizeof(info) };

	vms_object_unref(obj);
	expect_complete(&script, 1);
	vms_arena_info(arena, &info);
	assert_int_equal(info.granted, 0);
	script_end(&script);
	vms_arena_unref(arena);
	test_world_end(&tw);
	return 0;
}

/* Linked, and the thread has not come to tell the pager yet. */
static void ask(struct vms_wait *wait, uint64_t first, uint64_t n)
{
	struct ask a;

	vms_wait_init(wait);
	ask_init(&a, wait);
	source_lock(source);
	assert_int_equal(source_ask(source, VMS_REQUEST_READ, first, n, &a), ASK);
	source_unlock(source);
	assert_int_equal(a.kind, ASK_REQUEST);
	assert_sound(obj);
}

static void is_waiting(struct vms_wait *wait)
{
	assert_int_equal(vms_wait_block(wait, 0), -ETIMEDOUT);
}

/* The answer comes in between: nobody is told. */
static void answered_before_it_is_sent(void **state)
{
	struct vms_wait a;

	ask(&a, 0, 4);
	supply(&script, obj, 1, 0, 8);
	assert_ok(source_send(&a));
	ask(&a, 8, 4);
	assert_ok(vms_pager_fail(script.pager, obj, 9 * P, P, -EIO));
	assert_int_equal(source_send(&a), -EIO);
	assert_ok(source_send(&a)); /* it is not waiting for anything */
	ask(&a, 8, 4);
	assert_ok(vms_pager_detach(script.pager, obj));
	assert_int_equal(source_send(&a), -EBUSY);
	expect_complete(&script, 1);
	/* For end(). */
	vms_object_unref(obj);
	obj = paged(arena, &script, 1, 0, 4);
}

/* Part of the answer comes in between: the rest is asked for. */
static void sends_the_rest(void **state)
{
	struct vms_wait a;

	ask(&a, 0, 8);
	supply(&script, obj, 1, 0, 2);
	supply(&script, obj, 1, 7, 1);
	assert_int_equal(source_send(&a), VMS_WAIT);
	expect(&script, NOTE_READ, 2, 5);
	assert_int_equal(source_send(&a), VMS_WAIT); /* once */
	vms_wait_cancel(&a);
	expect(&script, NOTE_CANCEL_READ, 2, 5);
}

/* Who was to tell the pager gives up, and others rely on it. */
static void told_by_who_gives_up(void **state)
{
	struct vms_wait a, b, c;

	ask(&a, 0, 10);
	ask(&b, 2, 3);
	assert_int_equal(source_send(&b), VMS_WAIT); /* rides: not its business */
	expect_nothing(&script);
	vms_wait_cancel(&a);
	expect(&script, NOTE_READ, 0, 10);
	vms_wait_cancel(&b);
	expect(&script, NOTE_CANCEL_READ, 0, 10);

	ask(&a, 0, 10);
	vms_wait_cancel(&a); /* nobody was told: nothing to take back */
	expect_nothing(&script);

	ask(&a, 0, 10);
	ask(&b, 1, 2);
	ask(&c, 8, 1);
	assert_ok(vms_pager_fail(script.pager, obj, 4 * P, P, -EIO));
	expect(&script, NOTE_READ, 0, 4);
	expect(&script, NOTE_READ, 5, 5);
	assert_int_equal(source_send(&a), -EIO);
	is_waiting(&b);
	supply(&script, obj, 1, 0, 10);
	assert_ok(vms_wait_block(&b, 0));
	assert_ok(vms_wait_block(&c, 0));
}

/* A page that was there when frames were granted is gone when they are put in place. */
static void filled_again(void **state)
{
	struct filling f;
	uint64_t freed;

	supply(&script, obj, 1, 2, 2);
	assert_ok(filling_init(&f, source, 0, 8));
	assert_ok(filling_grant(&f));
	assert_true(f.frames[1] && !f.frames[2] && !f.frames[3] && f.frames[4]);
	assert_ok(vms_arena_reclaim(arena, UINT64_MAX, &freed));
	assert_int_equal(filling_commit(&f), FILL_AGAIN);
	assert_sound(obj);
	assert_ok(filling_grant(&f));
	for (unsigned i = 0; i < 8; i++) {
		assert_true(f.frames[i] >= FRAME_FIRST);
		arena_touch(arena, f.frames[i]);
		fill_pages(arena_addr(arena, f.frames[i]), 3, i, 1);
	}
	supply(&script, obj, 1, 6, 1); /* and the other way round: it came meanwhile */
	assert_ok(filling_commit(&f));
	filling_fini(&f);
	for (unsigned i = 0; i < 8; i++)
		assert_page(obj, i == 6 ? 1 : 3, i);
	assert_sound(obj);
	/* Detached or shrunk meanwhile: nothing goes in. */
	assert_ok(filling_init(&f, source, 8, 8));
	assert_ok(filling_grant(&f));
	source->detached = true;
	assert_int_equal(filling_commit(&f), -EBUSY);
	source->detached = false;
	filling_fini(&f);
}

static void no_objects_after_close(void **state)
{
	struct vms_object_params params = { .size = sizeof(params), .bytes = P };
	struct vms_pager *pager = script.pager;
	struct vms_object *more;

	vms_pager_close(pager); /* lives on, as obj does */
	script.pager = NULL;
	assert_int_equal(vms_object_create_paged(arena, pager, 2, &params, &more), -EBUSY);
	vms_object_unref(obj);
	assert_int_equal(script.released, 1);
	/* For end(). */
	script_begin(&script);
	obj = paged(arena, &script, 1, 0, 4);
}

static int look(void)
{
	int err;

	source_lock(source);
	err = source_check(source);
	source_unlock(source);
	return err;
}

static void the_validator_tells(void **state)
{
	struct vms_wait a, b;
	struct wait *w = wait_of(&a), *rider = wait_of(&b);

	supply(&script, obj, 1, 0, 2);
	ask(&a, 2, 6);
	ask(&b, 4, 2);
	assert_ok(look());
	w->first = 1; /* inv. 3 */
	assert_int_equal(look(), -EINVAL);
	w->first = 2;
	w->n = 0;
	assert_int_equal(look(), -EINVAL);
	w->n = 15; /* beyond the end */
	assert_int_equal(look(), -EINVAL);
	w->n = 6;
	rider->holds = true; /* inv. 1 */
	assert_int_equal(look(), -EINVAL);
	rider->holds = false;
	w->holds = false; /* inv. 2 */
	assert_int_equal(look(), -EINVAL);
	w->holds = true;
	rider->n = 5; /* past its packet */
	assert_int_equal(look(), -EINVAL);
	rider->n = 2;
	source->detached = true; /* inv. 4 */
	assert_int_equal(look(), -EINVAL);
	source->detached = false;
	atomic_store(&w->state, WAIT_ANSWERED);
	assert_int_equal(look(), -EINVAL);
	atomic_store(&w->state, WAIT_LINKED);
	assert_ok(look());
	vms_wait_cancel(&b);
	vms_wait_cancel(&a);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(answered_before_it_is_sent), TEST(sends_the_rest),
		TEST(told_by_who_gives_up),	  TEST(filled_again),
		TEST(no_objects_after_close),	  TEST(the_validator_tells),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
