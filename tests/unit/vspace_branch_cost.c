// SPDX-License-Identifier: MIT
/* Branches of spaces: what one costs, and one for which there is no memory. */
#include <errno.h>

#include "branch_kit.h"

#include "base/epoch.h"
#include "sanitize.h"

/* ---- What it costs ---- */

static uint64_t allocations(struct fixture *f, struct vms_space *s)
{
	struct vms_mmu *mmu = soft();
	uint64_t before;
	struct vms_branch_params p = { .size = sizeof(p), .mmu = mmu };
	struct vms_space *b = NULL;

	epoch_synchronize();
	before = f->world.calls[CALL_ALLOC];
	assert_ok(vms_space_branch(s, &p, &b));
	before = f->world.calls[CALL_ALLOC] - before;
	vms_mmu_unref(mmu);
	vms_space_unref(b);
	return before;
}

static void pages_cost_nothing(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 20000 * P, 0);
	struct vms_space *s = space_over(record());
	uint64_t few, many;

	map(s, BASE, a, 0, 20000 * P, 0);
	few = allocations(f, s);
	put(a, 0, 20000 * P, 'a');
	many = allocations(f, s);
	assert_int_equal(few, many);
	vms_space_unref(s);
	vms_object_unref(a);
}

/* More families than a small list of locks has room for, and a tree of some levels. */
static void many(void **state)
{
	/* The race detector's deadlock detector knows 64 locks a thread. */
	enum { FAMILIES = TSAN ? 50 : 300, MAPS = 5000 };
	struct fixture *f = *state;
	struct vms_space *s = space_over(record()), *b;
	struct vms_object *obj[FAMILIES];

	for (int i = 0; i < FAMILIES; i++) {
		obj[i] = anon(f->arena, 4 * P, 0);
		put(obj[i], 0, 1, i);
	}
	for (int i = 0; i < MAPS; i++)
		map(s, BASE + (uint64_t)i * 2 * P, obj[i % FAMILIES], 0, P, 0);
	b = branch(s);
	for (int i = 0; i < FAMILIES; i++)
		put(obj[i], 0, 1, i + 1);
	for (int i = 0; i < MAPS; i++)
		assert_int_equal(peek(b, BASE + (uint64_t)i * 2 * P), (i % FAMILIES) & 0xff);
	good(b);
	poke(b, BASE, 'x');
	assert_int_equal(peek(b, BASE + FAMILIES * 2 * P), 'x');
	vms_space_unref(s);
	good(b);
	vms_space_unref(b);
	for (int i = 0; i < FAMILIES; i++)
		vms_object_unref(obj[i]);
}

/* ---- Failing allocations ---- */

static struct {
	struct fixture *f;
	struct vms_space *s, *b;
	struct vms_object *a, *c, *ref, *slice;
	struct vms_mmu *mmu;
	uint64_t before;
	unsigned errors;
} fs;

static void fail_set_up(void *arg)
{
	struct vms_region *r;

	fs.a = anon(fs.f->arena, 100 * P, VMS_OBJECT_RESIZABLE);
	fs.c = anon(fs.f->arena, 100 * P, 0);
	fs.ref = child(fs.a, VMS_CHILD_REFERENCE, 0, 0, 0);
	fs.slice = child(fs.c, VMS_CHILD_SLICE, 10 * P, 20 * P, 0);
	fs.s = space_over(soft());
	r = region_in(vms_space_root(fs.s), BASE + 1000 * P, 64 * P, RW | VMS_REGION_SPECIFIC);
	vms_region_unref(region_in(r, BASE + 1040 * P, 8 * P, RW));
	map(fs.s, BASE, fs.a, 0, 100 * P, 0);
	map(fs.s, BASE + 200 * P, fs.ref, 5 * P, 10 * P, 0);
	map(fs.s, BASE + 300 * P, fs.slice, 0, 30 * P, 0);
	assert_ok(map_at(r, BASE + 1000 * P, fs.c, 0, 30 * P, RW, 0));
	vms_region_unref(r);
	for (uint64_t i = 0; i < 90; i += 3)
		poke(fs.s, BASE + i * P, (int)i);
	poke(fs.s, BASE + 303 * P, 's');
	fs.before = granted(fs.f->arena);
	fs.mmu = soft();
	fs.b = NULL;
}

static int fail_run(void *arg)
{
	struct vms_branch_params p = { .size = sizeof(p), .mmu = fs.mmu };

	return vms_space_branch(fs.s, &p, &fs.b);
}

static void fail_check(void *arg, int err, bool failed)
{
	good(fs.s);
	assert_int_equal(granted(fs.f->arena), fs.before);
	if (err) {
		assert_int_equal(err, -ENOMEM);
		assert_true(failed);
		assert_null(fs.b);
		fs.errors++;
		assert_int_equal(children(fs.a), 1); /* ref */
		assert_int_equal(children(fs.c), 1);
		assert_int_equal(frames_of(fs.a) + frames_of(fs.c), fs.before);
		assert_ok(fail_run(NULL)); /* the backend is free again, too */
	}
	good(fs.b);
	assert_int_equal(children(fs.a), 2);
	assert_int_equal(peek(fs.b, BASE + 33 * P), 33);
	assert_int_equal(peek(fs.b, BASE + 1013 * P), 's');
}

static void fail_tear_down(void *arg)
{
	vms_space_unref(fs.b);
	vms_mmu_unref(fs.mmu);
	vms_space_unref(fs.s);
	vms_object_unref(fs.a);
	vms_object_unref(fs.c);
	vms_object_unref(fs.ref);
	vms_object_unref(fs.slice);
	epoch_synchronize();
	assert_int_equal(granted(fs.f->arena), 0);
}

static void every_allocation_fails(void **state)
{
	struct sweep sw = { .set_up = fail_set_up,
			    .run = fail_run,
			    .check = fail_check,
			    .tear_down = fail_tear_down };

	fs.f = *state;
	fs.errors = 0;
	sw.world = &fs.f->world;
	sweep(&sw);
	assert_true(fs.errors > 15);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(pages_cost_nothing),
		TEST(many),
		TEST(every_allocation_fails),
	};

	return cmocka_run_group_tests_name("vspace-branch-cost", tests, NULL, NULL);
}
