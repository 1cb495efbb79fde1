// SPDX-License-Identifier: MIT
/* Operations on ranges of a region: what each does, and which error comes first. */
#include "vspace_kit.h"

static struct vms_region *root(struct fixture *f)
{
	return vms_space_root(f->s);
}

static int op(struct fixture *f, enum vms_region_op op, uint64_t addr, uint64_t len)
{
	return vms_region_op(root(f), op, addr, len, NULL);
}

static uint64_t granted(struct fixture *f)
{
	struct vms_arena_info i = { .size = sizeof(i) };

	assert_ok(vms_arena_info(f->arena, &i));
	return i.granted / P;
}

static const enum vms_region_op ops[] = { VMS_REGION_COMMIT,   VMS_REGION_DECOMMIT,
					  VMS_REGION_ZERO,     VMS_REGION_MAP,
					  VMS_REGION_PREFETCH, VMS_REGION_ALWAYS_NEED,
					  VMS_REGION_DONT_NEED };

static bool writes(enum vms_region_op op)
{
	return op == VMS_REGION_COMMIT || op == VMS_REGION_DECOMMIT || op == VMS_REGION_ZERO;
}

static bool avoids_children(enum vms_region_op op)
{
	return writes(op) || op == VMS_REGION_PREFETCH;
}

static void commit_and_decommit(void **state)
{
	struct fixture *f = *state;

	f->obj = anon(f->arena, 20);
	f->other = anon(f->arena, 4);
	map(f, f->obj, BASE, 0, 8 * P, RW);
	map(f, f->other, BASE + 8 * P, 0, 4 * P, VMS_PROT_NONE); /* the ceiling counts */
	map(f, f->obj, BASE + 12 * P, 12 * P, 4 * P, R);
	assert_ok(op(f, VMS_REGION_COMMIT, BASE + 6 * P, 8 * P));
	assert_int_equal(granted(f), 8);
	assert_string_equal(picture(f, BASE, 16), "......ww....rr..");
	put(f->obj, 6, 1);
	assert_ok(op(f, VMS_REGION_DECOMMIT, BASE, 7 * P));
	assert_int_equal(granted(f), 7);
	assert_string_equal(picture(f, BASE, 16), ".......w....rr..");
	assert_ok(op(f, VMS_REGION_ZERO, BASE, 16 * P));
	assert_int_equal(granted(f), 0);
	assert_string_equal(picture(f, BASE, 16), "................");
}

static void map_and_hints(void **state)
{
	struct fixture *f = *state;
	struct vms_wait wait;

	vms_wait_init(&wait);
	f->obj = anon(f->arena, 8);
	f->other = paged(f->arena, &f->script, 1, 0, 8);
	put(f->obj, 3, 1);
	supply(&f->script, f->other, 1, 0, 2);
	map(f, f->obj, BASE, 0, 8 * P, RW);
	map(f, f->other, BASE + 8 * P, 0, 8 * P, RW);
	assert_ok(op(f, VMS_REGION_MAP, BASE, 16 * P));
	assert_string_equal(picture(f, BASE, 16), "...w....rr......");
	assert_ok(op(f, VMS_REGION_DONT_NEED, BASE, 16 * P));
	assert_int_equal(vms_region_op(root(f), VMS_REGION_PREFETCH, BASE, 12 * P, &wait),
			 VMS_WAIT);
	expect(&f->script, NOTE_READ, 2, 2);
	supply(&f->script, f->other, 1, 2, 2);
	assert_ok(vms_wait_block(&wait, 0));
	assert_ok(vms_region_op(root(f), VMS_REGION_PREFETCH, BASE, 12 * P, &wait));
	assert_string_equal(picture(f, BASE, 16), "...w....rr......");
	assert_ok(vms_region_op(root(f), VMS_REGION_ALWAYS_NEED, BASE, 12 * P, &wait));
	assert_string_equal(picture(f, BASE, 16), "...w....rrrr....");
	/* Without a wait it cannot be had. What is there is kept. */
	assert_int_equal(op(f, VMS_REGION_ALWAYS_NEED, BASE, 16 * P), -EAGAIN);
	vms_object_unref(f->other);
	f->other = NULL;
	unmap(f, BASE, 16 * P);
	expect_complete(&f->script, 1);
}

/* In the order of the header. */
static void errors(void **state)
{
	struct fixture *f = *state;
	struct vms_place at = { .flags = VMS_PLACE_AT };
	struct vms_region_params params = { .size = sizeof(params),
					    .rights = VMS_REGION_ALL,
					    .len = 64 * P };
	struct vms_region *region, *inner;
	uint64_t base;

	at.addr = BASE;
	assert_ok(vms_region_create(root(f), &at, &params, &region, &base));
	params.len = 4 * P;
	at.addr = BASE + 32 * P;
	assert_ok(vms_region_create(region, &at, &params, &inner, &base));
	f->obj = anon(f->arena, 64);
	map(f, f->obj, BASE + 128 * P, 0, 8 * P, RW);
	assert_int_equal(op(f, 0, BASE + 1, 0), -EINVAL);
	assert_int_equal(op(f, 8, BASE, P), -EINVAL);
	assert_int_equal(op(f, -1, BASE, P), -EINVAL);
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		assert_int_equal(vms_region_op(region, ops[i], BASE, 0, NULL), -EINVAL);
		assert_int_equal(vms_region_op(region, ops[i], BASE + 1, P, NULL), -EINVAL);
		assert_int_equal(vms_region_op(region, ops[i], BASE, P + 1, NULL), -EINVAL);
		assert_int_equal(vms_region_op(region, ops[i], BASE - P, P, NULL), -ERANGE);
		assert_int_equal(vms_region_op(region, ops[i], BASE, 65 * P, NULL), -ERANGE);
		assert_int_equal(vms_region_op(region, ops[i], BASE, 0 - P, NULL), -ERANGE);
		/* A hole; the child's span is one, where it may be reached into. */
		assert_int_equal(vms_region_op(region, ops[i], BASE, P, NULL), -EBUSY);
		assert_int_equal(vms_region_op(region, ops[i], BASE + 32 * P, P, NULL),
				 avoids_children(ops[i]) ? -EINVAL : -EBUSY);
		assert_int_equal(vms_region_op(region, ops[i], BASE + 31 * P, 2 * P, NULL),
				 avoids_children(ops[i]) ? -EINVAL : -EBUSY);
	}
	{
		struct vms_map_params p = { .size = sizeof(p),
					    .prot = R,
					    .ceiling = R,
					    .place = { .flags = VMS_PLACE_AT },
					    .object = f->obj,
					    .len = 4 * P };

		p.place.addr = BASE;
		assert_ok(vms_map(region, &p, NULL));
	}
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		assert_int_equal(vms_region_op(region, ops[i], BASE, 4 * P, NULL),
				 writes(ops[i]) ? -EACCES : 0);
		/* A hole at the end: the beginning was done. */
		assert_int_equal(vms_region_op(root(f), ops[i], BASE + 132 * P, 8 * P, NULL),
				 -EBUSY);
	}
	assert_string_equal(picture(f, BASE + 128 * P, 10), "..........");
	assert_int_equal(op(f, VMS_REGION_COMMIT, BASE + 132 * P, 8 * P), -EBUSY);
	assert_string_equal(picture(f, BASE + 128 * P, 10), "....wwww..");
	/* The object's own answers. */
	assert_int_equal(op(f, VMS_REGION_ZERO, BASE + 128 * P, 8 * P), 0);
	map(f, f->obj, BASE + 160 * P, 60 * P, 8 * P, RW);
	assert_int_equal(op(f, VMS_REGION_ZERO, BASE + 160 * P, 8 * P), -ERANGE);
	assert_ok(op(f, VMS_REGION_COMMIT, BASE + 160 * P, 8 * P));
	assert_string_equal(picture(f, BASE + 160 * P, 8), "wwww....");
	assert_ok(vms_region_destroy(region));
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		assert_int_equal(vms_region_op(region, ops[i], BASE, P, NULL), -EBUSY);
		assert_int_equal(vms_region_op(region, ops[i], BASE - P, P, NULL), -ERANGE);
	}
	vms_region_unref(inner);
	vms_region_unref(region);
}

static void without_memory(void **state)
{
	struct fixture *f = *state;
	struct vms_arena *small = arena_of(2);

	f->obj = anon(small, 8);
	map(f, f->obj, BASE, 0, 8 * P, RW);
	assert_int_equal(op(f, VMS_REGION_COMMIT, BASE, 8 * P), -ENOMEM);
	assert_int_equal(op(f, VMS_REGION_COMMIT, BASE, 2 * P), 0);
	vms_mmu_record_fail(f->mmu, 1, ENOMEM);
	assert_int_equal(op(f, VMS_REGION_MAP, BASE, 2 * P), -ENOMEM);
	assert_ok(op(f, VMS_REGION_MAP, BASE, 2 * P));
	assert_string_equal(picture(f, BASE, 4), "ww..");
	vms_arena_unref(small);
}

#define test(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(commit_and_decommit),
		test(map_and_hints),
		test(errors),
		test(without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
