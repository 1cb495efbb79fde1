// SPDX-License-Identifier: MIT
/*
 * tree_read.c: the mapping tree without the lock, one thread, one case at a time. Threads against
 * each other: tests/stress/tree_read.c; against tree_find at every step: tests/model/space.c.
 */
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/epoch.h"
#include "objects_kit.h"
#include "space/space.h"

#define FAR 200u /* mappings: several levels */

static const struct map_rules no_rules;

static struct map page_map(uint64_t i)
{
	return (struct map){ .start = 2 * i * P, .last = 2 * i * P + (P - 1), .off = i };
}

static void add(struct tree *t, uint64_t i)
{
	struct map m = page_map(i);

	assert_ok(tree_reserve(t, 1, 1, 1));
	tree_replace(t, m.start, m.last, &m, 1);
	tree_trim(t);
}

static void take_out(struct tree *t, uint64_t i)
{
	struct map m = page_map(i);

	assert_ok(tree_reserve(t, 1, 0, 0));
	tree_replace(t, m.start, m.last, NULL, 0);
	tree_trim(t);
}

static void check_whole(struct tree *t, uint64_t n)
{
	uint64_t seq;
	struct map m;

	assert_true(epoch_enter());
	for (uint64_t i = 0; i < n; i++) {
		struct map want = page_map(i);

		assert_int_equal(tree_read(t, want.last, &m, &seq), TREE_FOUND);
		assert_true(map_equal(&m, &want));
		assert_int_equal(seq, tree_seq(t));
		if (i == 0)
			continue;
		assert_int_equal(tree_read(t, want.start - 1, &m, &seq), TREE_FOUND);
		assert_true(map_equal(&m, &want));
	}
	assert_int_equal(tree_read(t, 2 * n * P, &m, &seq), TREE_NONE);
	assert_int_equal(tree_read(t, UINT64_MAX, &m, &seq), TREE_NONE);
	epoch_leave();
	assert_null(tree_validate(t));
}

static void test_grow_and_shrink(void **state)
{
	struct fixture *f = *state;
	struct tree t;

	tree_init(&t, &f->world.world, &no_rules, 0, UINT64_MAX);
	tree_let_read(&t);
	for (uint64_t i = 0; i < FAR; i++) {
		check_whole(&t, i);
		add(&t, i);
	}
	for (uint64_t i = FAR; i-- > 0;) {
		take_out(&t, i);
		check_whole(&t, i);
	}
	tree_fini(&t);
}

static void test_the_last_byte(void **state)
{
	struct fixture *f = *state;
	struct map all = { .start = 0, .last = UINT64_MAX, .off = 7 }, m;
	struct tree t;
	uint64_t seq;

	tree_init(&t, &f->world.world, &no_rules, 0, UINT64_MAX);
	tree_let_read(&t);
	assert_ok(tree_reserve(&t, 1, 1, 1));
	tree_replace(&t, 0, UINT64_MAX, &all, 1);
	assert_true(epoch_enter());
	assert_int_equal(tree_read(&t, UINT64_MAX, &m, &seq), TREE_FOUND);
	assert_true(map_equal(&m, &all));
	epoch_leave();
	tree_fini(&t);
}

/* Readers see nothing of a change that is not done, and are sent to the lock. */
static void test_busy(void **state)
{
	struct fixture *f = *state;
	uint64_t seq = 99, before;
	struct tree_spot spot;
	struct map m, value;
	struct tree t;
	bool begun;

	tree_init(&t, &f->world.world, &no_rules, 0, UINT64_MAX);
	tree_let_read(&t);
	add(&t, 0);
	before = tree_seq(&t);
	assert_true(epoch_enter());

	begun = tree_change_begin(&t);
	assert_true(begun);
	assert_false(tree_change_begin(&t));
	add(&t, 1); /* part of the change that is begun: it does not end it */
	assert_int_equal(tree_read(&t, 0, &m, &seq), TREE_BUSY);
	assert_int_equal(seq, 99);
	tree_change_end(&t, begun);
	assert_int_equal(tree_seq(&t), before + 2);
	assert_int_equal(tree_read(&t, 0, &m, &seq), TREE_FOUND);
	assert_int_equal(seq, before + 2);

	assert_true(tree_spot(&t, 0, &spot));
	value = *spot.at;
	value.prot = 1;
	tree_set(&t, spot.at, &value);
	assert_int_not_equal(tree_seq(&t), seq);
	assert_int_equal(tree_read(&t, 0, &m, &seq), TREE_FOUND);
	assert_int_equal(m.prot, 1);
	epoch_leave();
	tree_fini(&t);
}

/* Who did not ask for readers has none: the lock it is. */
static void test_no_readers(void **state)
{
	struct fixture *f = *state;
	struct tree t;
	struct map m;
	uint64_t seq;

	tree_init(&t, &f->world.world, &no_rules, 0, UINT64_MAX);
	add(&t, 0);
	assert_true(epoch_enter());
	assert_int_equal(tree_read(&t, 0, &m, &seq), TREE_BUSY);
	epoch_leave();
	tree_fini(&t);
}

/* A reader that stands still: in a section of its own thread. */
struct reader {
	pthread_t thread;
	pthread_barrier_t in, out;
};

static void *stand_still(void *arg)
{
	struct reader *r = arg;
	bool entered = epoch_enter();

	pthread_barrier_wait(&r->in);
	pthread_barrier_wait(&r->out);
	if (entered)
		epoch_leave();
	return NULL;
}

static void reader_enters(struct reader *r)
{
	pthread_barrier_init(&r->in, NULL, 2);
	pthread_barrier_init(&r->out, NULL, 2);
	assert_ok(pthread_create(&r->thread, NULL, stand_still, r));
	pthread_barrier_wait(&r->in);
}

static void reader_leaves(struct reader *r)
{
	pthread_barrier_wait(&r->out);
	pthread_join(r->thread, NULL);
	pthread_barrier_destroy(&r->in);
	pthread_barrier_destroy(&r->out);
}

/* What has left the tree is neither freed nor used again while a section is open. */
static void test_nodes_wait(void **state)
{
	struct fixture *f = *state;
	struct reader reader;
	struct tree t;
	size_t live;

	tree_init(&t, &f->world.world, &no_rules, 0, UINT64_MAX);
	tree_let_read(&t);
	for (uint64_t i = 0; i < FAR; i++)
		add(&t, i);
	epoch_synchronize();
	live = f->world.live;
	reader_enters(&reader);
	for (uint64_t i = FAR; i-- > 0;)
		take_out(&t, i);
	epoch_poll();
	assert_true(f->world.live + 2 >= live); /* spare nodes are not in the tree */
	reader_leaves(&reader);
	epoch_synchronize();
	assert_true(f->world.live < live / 2);
	tree_fini(&t);
	epoch_synchronize();
}

/* No memory: the tree is as it was, and an edit that was prepared needs none. */
static void test_reserve(void **state)
{
	struct fixture *f = *state;
	struct map many[FAR], m = page_map(FAR);
	struct tree t;

	tree_init(&t, &f->world.world, &no_rules, 0, UINT64_MAX);
	tree_let_read(&t);
	for (uint64_t i = 0; i < FAR; i++) {
		add(&t, i);
		many[i] = page_map(i);
		many[i].prot = 1;
	}
	for (uint64_t n = 1;; n++) {
		int err;

		test_world_fail(&f->world, n, 1u << CALL_ALLOC, ENOMEM);
		err = tree_reserve(&t, 3, FAR, 2 * FAR);
		test_world_fail(&f->world, 0, 0, 0);
		check_whole(&t, FAR);
		if (!err)
			break;
		assert_int_equal(err, -ENOMEM);
	}
	tree_trim(&t);
	/* Every mapping in the place of another, at once; then all go, and one comes. */
	assert_ok(tree_reserve(&t, 1, 0, FAR));
	test_world_fail(&f->world, 1, 1u << CALL_ALLOC, ENOMEM);
	tree_replace(&t, many[0].start, many[FAR - 1].last, many, FAR);
	test_world_fail(&f->world, 0, 0, 0);
	tree_trim(&t);
	assert_ok(tree_reserve(&t, 2, 1, 1));
	test_world_fail(&f->world, 1, 1u << CALL_ALLOC, ENOMEM);
	tree_replace(&t, many[0].start, many[FAR - 1].last, NULL, 0);
	tree_replace(&t, m.start, m.last, &m, 1);
	test_world_fail(&f->world, 0, 0, 0);
	tree_trim(&t);
	assert_null(tree_validate(&t));
	assert_int_equal(t.n, 1);
	tree_fini(&t);
}

static unsigned released;

static void release(void *arg)
{
	released++;
}

/* The last reference gone, all is given up at once but the memory where the count is. */
static void test_object_that_ends(void **state)
{
	struct fixture *f = *state;
	struct vms_object_params params = { .size = sizeof(params),
					    .flags = VMS_OBJECT_RESIZABLE,
					    .bytes = P,
					    .name = "short-lived",
					    .release = release };
	struct reader reader;
	struct vms_object *obj;
	size_t before = f->world.live;

	released = 0;
	assert_ok(vms_object_create(f->arena, &params, &obj));
	reader_enters(&reader);
	assert_ptr_equal(object_ref_live(obj), obj);
	object_unref(obj);
	assert_int_equal(released, 0);
	object_unref(obj);
	assert_int_equal(released, 1);
	assert_null(object_ref_live(obj));
	epoch_poll();
	assert_null(object_ref_live(obj));
	assert_int_equal(f->world.live, before + 1);
	reader_leaves(&reader);
	epoch_synchronize();
	assert_int_equal(f->world.live, before);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_grow_and_shrink),  TEST(test_the_last_byte), TEST(test_busy),
		TEST(test_no_readers),	     TEST(test_nodes_wait),    TEST(test_reserve),
		TEST(test_object_that_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
