// SPDX-License-Identifier: MIT
/*
 * space.c: every allocation of an edit fails in turn. Whatever fails, the space is as it was, the
 * same edit can be made right after, and nothing is lost.
 */
#include "check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "object/object.h"
#include "space/quick.h"
#include "world.h"

#define PAGE   UINT64_C(0x1000)
#define BASE   UINT64_C(0x100000)
#define MAPS   400 /* of two pages each (the first and last: three), a hole above each */
#define AT(i)  (BASE + (uint64_t)(i)*4 * PAGE)
#define OBJECT 2

struct state {
	struct test_world world;
	struct space space;
	struct vms_object *object[OBJECT];
	int (*changes)(struct state *s, struct edit *e);
	struct map *before;
	size_t n_before, n_after;
	struct map_counts counts_before;
	unsigned refs_before[OBJECT];
};

static uint32_t classes(const struct map *m)
{
	return 1u | m->prot;
}

static const struct map_rules rules = {.classes = classes};

static int put(struct state *s, struct edit *e, uint64_t addr, uint64_t len, unsigned object)
{
	struct map m = {.start = addr,
			.last = addr + len - 1,
			.obj = s->object[object],
			.off = addr,
			.prot = 3,
			.ceiling = 7};

	return edit_map(e, &m);
}

/* ---- the edits ---- */

static void read_only(struct map *m, void *arg)
{
	m->prot = 1;
}

/* One range over everything: the arrays of the plan grow, and so do the events. */
static int protect_all(struct state *s, struct edit *e)
{
	return edit_update(e, BASE + PAGE, AT(MAPS) - 3 * PAGE - 1, read_only, NULL);
}

/* Many windows, and a hundred mappings more: the tree needs nodes. */
static int map_in_holes(struct state *s, struct edit *e)
{
	int err = 0;

	for (unsigned i = 0; !err && i < 100; i++)
		err = put(s, e, AT(i * 3) + 3 * PAGE, PAGE, 1);
	return err;
}

/* As a move over an occupied place does. */
static int move(struct state *s, struct edit *e)
{
	int err = put(s, e, AT(300) + PAGE, 8 * PAGE, 1);

	return err ? err : edit_unmap(e, AT(10) + PAGE, AT(20) + PAGE - 1);
}

/* Split, split again, and all away in the end. */
static int rub_out(struct state *s, struct edit *e)
{
	int err = protect_all(s, e);

	for (unsigned i = 0; !err && i < 50; i++)
		err = edit_update(e, AT(i), AT(i) + PAGE - 1, read_only, NULL);
	return err ? err : edit_unmap(e, 0, UINT64_MAX);
}

/* A tree from nothing. */
static int refill(struct state *s, struct edit *e)
{
	int err = edit_unmap(e, 0, UINT64_MAX);

	for (unsigned i = 0; !err && i < 300; i++)
		err = put(s, e, AT(i), 3 * PAGE, i & 1);
	return err;
}

/* ---- the sweep ---- */

/* The move without a plan: out of the middle of one mapping, into the middle of another. */
static int quick_move(struct state *s) REQUIRES(s->space.lock)
{
	struct quick_move q;
	struct map m = {.start = AT(MAPS - 1) + PAGE,
			.last = AT(MAPS - 1) + 2 * PAGE - 1,
			.obj = s->object[1],
			.prot = 1};
	int err = quick_move_prepare(&q, &s->space, AT(0) + PAGE, AT(0) + 2 * PAGE - 1, &m);

	if (!err) {
		uint64_t asked = s->world.calls[CALL_ALLOC];

		assert_int_equal(q.from.more + q.to.more, 1 + 2);
		s->n_after = s->space.counts.n + 3;
		quick_move_commit(&q);
		assert_int_equal(s->world.calls[CALL_ALLOC], asked);
	}
	return err;
}

static int edit(struct state *s)
{
	struct edit e;
	int err;

	if (s->changes == NULL) {
		lock_take(&s->space.lock);
		err = quick_move(s);
		lock_drop(&s->space.lock);
		return err;
	}
	lock_take(&s->space.lock);
	edit_init(&e, &s->space);
	err = s->changes(s, &e);
	if (!err)
		err = edit_prepare(&e);
	if (!err) {
		/* From here on nothing may fail, so nothing may even ask. */
		uint64_t asked = s->world.calls[CALL_ALLOC];

		s->n_after = e.after.n;
		edit_commit(&e);
		assert_int_equal(s->world.calls[CALL_ALLOC], asked);
	}
	edit_abort(&e);
	lock_drop(&s->space.lock);
	return err;
}

static void set_up(void *arg)
{
	struct state *s = arg;

	for (unsigned i = 0; i < OBJECT; i++)
		assert_ok(object_create(&s->world.world, OBJECT_ANON, NULL, &s->object[i]));
	assert_ok(space_init(&s->space, &s->world.world, &rules, NULL, 0, UINT64_MAX, PAGE));
	lock_take(&s->space.lock);
	for (unsigned i = 0; i < MAPS; i++) {
		struct edit e;

		edit_init(&e, &s->space);
		assert_ok(put(s, &e, AT(i), (i % (MAPS - 1) ? 2 : 3) * PAGE, 0));
		assert_ok(edit_prepare(&e));
		edit_commit(&e);
	}
	s->n_before = tree_copy(&s->space.tree, 0, UINT64_MAX, s->before, MAPS);
	assert_int_equal(s->n_before, MAPS);
	s->counts_before = s->space.counts;
	for (unsigned i = 0; i < OBJECT; i++)
		s->refs_before[i] = atomic_load(&s->object[i]->refs);
	lock_drop(&s->space.lock);
}

static int run(void *arg)
{
	return edit(arg);
}

static void check_unchanged(struct state *s) REQUIRES(s->space.lock)
{
	static struct map now[MAPS + 1];
	size_t n = tree_copy(&s->space.tree, 0, UINT64_MAX, now, MAPS + 1);

	assert_int_equal(n, s->n_before);
	for (size_t i = 0; i < n; i++)
		assert_true(map_equal(&now[i], &s->before[i]));
	assert_memory_equal(&s->space.counts, &s->counts_before, sizeof(s->counts_before));
	assert_int_equal(s->space.edits, MAPS);
	for (unsigned i = 0; i < OBJECT; i++)
		assert_int_equal(atomic_load(&s->object[i]->refs), s->refs_before[i]);
}

static void check(void *arg, int result, bool failed)
{
	struct state *s = arg;

	lock_take(&s->space.lock);
	assert_int_equal(result, failed ? -ENOMEM : 0);
	assert_null(space_validate(&s->space));
	if (failed)
		check_unchanged(s);
	lock_drop(&s->space.lock);
	if (failed)
		assert_ok(edit(s));
	lock_take(&s->space.lock);
	assert_null(space_validate(&s->space));
	assert_int_equal(s->space.counts.n, s->n_after);
	lock_drop(&s->space.lock);
}

static void tear_down(void *arg)
{
	struct state *s = arg;

	space_fini(&s->space);
	for (unsigned i = 0; i < OBJECT; i++) {
		assert_int_equal(atomic_load(&s->object[i]->refs), 1);
		object_unref(s->object[i]);
	}
	assert_int_equal(s->world.live, 0);
}

static void sweep_edit(int (*changes)(struct state *s, struct edit *e), unsigned at_least)
{
	static struct map before[MAPS];
	static struct state s;
	struct sweep sw = {.world = &s.world,
			   .set_up = set_up,
			   .run = run,
			   .check = check,
			   .tear_down = tear_down,
			   .arg = &s};

	memset(&s, 0, sizeof(s));
	s.before = before;
	s.changes = changes;
	test_world_begin(&s.world);
	assert_true(sweep(&sw) >= at_least);
	test_world_end(&s.world);
}

static void test_protect_all(void **state)
{
	sweep_edit(protect_all, 8);
}

static void test_map_in_holes(void **state)
{
	sweep_edit(map_in_holes, 8);
}

static void test_move(void **state)
{
	sweep_edit(move, 2);
}

static void test_quick_move(void **state)
{
	sweep_edit(NULL, 1);
}

static void test_rub_out(void **state)
{
	sweep_edit(rub_out, 8);
}

static void test_refill(void **state)
{
	sweep_edit(refill, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_protect_all), cmocka_unit_test(test_map_in_holes),
		cmocka_unit_test(test_move),	    cmocka_unit_test(test_rub_out),
		cmocka_unit_test(test_refill),	    cmocka_unit_test(test_quick_move),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
