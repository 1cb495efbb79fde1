// SPDX-License-Identifier: MIT
/*
 * dirty.c: each allocation and each host call of a log's life fails once, and each answer of a
 * backend. What fails changes nothing: what runs goes on, no mark is lost, and the next try succeeds.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "memory/dirty.h"
#include "objects_kit.h"
#include "world.h"

#define BLOCKS 3u

static const uint64_t bytes[BLOCKS] = { 3 * P, 5000 * P, 100000 * P };

static struct test_world world;
static struct vms_memory *mem;
static struct vms_block *block[BLOCKS], *late;
static struct vms_dirty *logs[2];
static bool listening;
static char refused; /* which call of the backend says no */

static int on_start(void *arg)
{
	return refused == 's' ? -EMFILE : 0;
}

static int on_clear(void *arg, struct vms_block *b, uint64_t off, uint64_t len)
{
	return refused == 'c' ? -EMFILE : 0;
}

static const struct vms_listener_ops ops = { .size = sizeof(ops),
					     .log_start = on_start,
					     .log_clear = on_clear };

static int make_block(uint64_t size, struct vms_block **b)
{
	struct vms_block_params p = { .size = sizeof(p), .kind = VMS_BLOCK_ANON, .bytes = size };

	return vms_block_create(mem, &p, b);
}

static int begin_log(unsigned i)
{
	struct vms_dirty_params p = { .size = sizeof(p), .flags = i ? VMS_DIRTY_ALL_SET : 0 };

	return vms_dirty_start(mem, &p, &logs[i]);
}

/* The first log runs, and has marks, collected and not. */
static void set_up(void *arg)
{
	struct vms_memory_params p = { .size = sizeof(p) };

	refused = 0;
	late = NULL;
	logs[1] = NULL;
	assert_ok(vms_memory_create(&p, &mem));
	for (unsigned i = 0; i < BLOCKS; i++)
		assert_ok(make_block(bytes[i], &block[i]));
	if (listening)
		assert_ok(vms_memory_listen(mem, &ops, NULL));
	assert_ok(begin_log(0));
	for (unsigned i = 0; i < BLOCKS; i++)
		vms_dirty_mark(block[i], P, 1);
}

static void tear_down(void *arg)
{
	vms_dirty_stop(logs[1]);
	vms_dirty_stop(logs[0]);
	if (listening)
		assert_ok(vms_memory_unlisten(mem, &ops, NULL));
	for (unsigned i = 0; i < BLOCKS; i++)
		vms_block_unref(block[i]);
	vms_block_unref(late);
	vms_memory_unref(mem);
}

static uint64_t harvested;

static int count_pages(void *arg, struct vms_block *b, uint64_t off, uint64_t len)
{
	harvested += len / P;
	return 0;
}

static uint64_t pages_in(struct vms_dirty *l, struct vms_block *b)
{
	harvested = 0;
	assert_ok(vms_dirty_harvest(l, b, 0,
				    bytes[b == block[1]	  ? 1
					  : b == block[2] ? 2
							  : 0],
				    count_pages, NULL));
	return harvested;
}

static void check_first_log(void)
{
	for (unsigned i = 0; i < BLOCKS; i++)
		assert_int_equal(pages_in(logs[0], block[i]), 1);
}

static unsigned swept(struct sweep s)
{
	unsigned n;

	s.world = &world;
	s.tear_down = tear_down;
	test_world_begin(&world);
	n = sweep(&s);
	test_world_end(&world);
	return n;
}

/* ---- A second log ---- */

static int run_start(void *arg)
{
	world.fail_more = 1000; /* a membarrier is tried again */
	return begin_log(1);
}

static void check_start(void *arg, int result, bool failed)
{
	assert_int_equal(result != 0, failed);
	if (result) {
		assert_true(result == -ENOMEM || result == -EPERM);
		assert_null(logs[1]);
		for (unsigned i = 0; i < BLOCKS; i++)
			assert_null(block[i]->log[1]);
		assert_true(atomic_load(&mem->logging) & LOGGING_ON);
		assert_ok(begin_log(1));
	}
	check_first_log();
	for (unsigned i = 0; i < BLOCKS; i++)
		assert_int_equal(pages_in(logs[1], block[i]), bytes[i] / P);
}

static void test_start(void **state)
{
	struct sweep s = { .set_up = set_up, .run = run_start, .check = check_start };

	assert_true(swept(s) >= 4);
	listening = true;
	assert_true(swept(s) >= 4);
	listening = false;
}

/* ---- A block that comes while two logs run ---- */

static void set_up_two(void *arg)
{
	set_up(arg);
	assert_ok(begin_log(1));
}

static int run_block(void *arg)
{
	return make_block(bytes[1], &late);
}

static void check_block(void *arg, int result, bool failed)
{
	if (result) {
		assert_true(failed);
		assert_null(late);
		assert_ok(run_block(NULL));
	}
	vms_dirty_mark(late, 7 * P, P);
	harvested = 0;
	assert_ok(vms_dirty_harvest(logs[0], late, 0, bytes[1], count_pages, NULL));
	assert_int_equal(harvested, 1);
	harvested = 0;
	assert_ok(vms_dirty_harvest(logs[1], late, 0, bytes[1], count_pages, NULL));
	assert_int_equal(harvested, bytes[1] / P);
	check_first_log();
}

static void test_block(void **state)
{
	struct sweep s = { .set_up = set_up_two, .run = run_block, .check = check_block };

	assert_true(swept(s) >= 4);
}

/* ---- A harvest over several steps ---- */

static int run_harvest(void *arg)
{
	world.fail_more = 1000;
	harvested = 0;
	for (unsigned i = 0; i < 4; i++)
		vms_dirty_mark(block[2], i * DIRTY_WORDS * 64 * P + 9 * P, P);
	return vms_dirty_harvest(logs[0], block[2], 0, bytes[2], count_pages, NULL);
}

static void check_harvest(void *arg, int result, bool failed)
{
	uint64_t first = harvested;

	assert_int_equal(result, failed ? -EPERM : 0);
	/* 4 in steps of their own, and one from the beginning. */
	assert_int_equal(first + pages_in(logs[0], block[2]), 5);
	assert_int_equal(pages_in(logs[0], block[0]), 1);
	assert_int_equal(pages_in(logs[0], block[1]), 1);
}

static void test_harvest(void **state)
{
	struct sweep s = { .set_up = set_up,
			   .run = run_harvest,
			   .check = check_harvest,
			   .mask = 1u << CALL_MEMBARRIER,
			   .err = EPERM };

	if (epoch_needs_fences())
		skip();
	assert_int_equal(swept(s), 4);
}

/* ---- A backend that says no ---- */

static void test_backend(void **state)
{
	listening = true;
	test_world_begin(&world);
	set_up(NULL);
	refused = 'c';
	assert_int_equal(run_harvest(NULL), -EMFILE);
	assert_int_equal(harvested, 0);
	refused = 0;
	assert_int_equal(pages_in(logs[0], block[2]), 5);
	/* The second log does not ask. */
	refused = 's';
	assert_ok(begin_log(1));
	vms_dirty_stop(logs[1]);
	vms_dirty_stop(logs[0]);
	logs[1] = NULL;
	assert_int_equal(begin_log(1), -EMFILE);
	assert_null(logs[1]);
	assert_int_equal(atomic_load(&mem->logging) & (LOGGING_ON | LOGGING_EXTERNAL), 0);
	refused = 0;
	assert_ok(begin_log(0));
	tear_down(NULL);
	test_world_end(&world);
	listening = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_start),
		cmocka_unit_test(test_block),
		cmocka_unit_test(test_harvest),
		cmocka_unit_test(test_backend),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
