// SPDX-License-Identifier: MIT
/*
 * vspace_walk.c: looking at a space: what a fault gets of a mapping and whether it still stands,
 * the thread's last mapping, cursors and walks that edits come in between of.
 */
#include "vspace_kit.h"

#include "base/epoch.h"

static unsigned refs_of(const struct vms_object *obj)
{
	return atomic_load(&obj->refs);
}

static bool get(struct fixture *f, uint64_t addr, struct map *m, uint64_t *seq)
{
	bool found = space_get(f->s, addr, m, seq);

	if (found)
		object_unref(m->obj);
	return found;
}

static void test_get(void **state)
{
	struct fixture *f = *state;
	struct map m;
	uint64_t seq;
	unsigned refs;

	make_own(f);
	assert_false(space_get(f->s, 0, &m, &seq));
	map(f, f->obj, BASE, P, 2 * P, R);
	refs = refs_of(f->obj);
	for (unsigned i = 0; i < 3; i++) { /* the second from the thread's last mapping */
		assert_true(space_get(f->s, BASE + P, &m, &seq));
		assert_int_equal(refs_of(f->obj), refs + 1);
		object_unref(m.obj);
		assert_int_equal(m.start, BASE);
		assert_int_equal(m.last, BASE + 2 * P - 1);
		assert_int_equal(m.off, P);
		assert_int_equal(m.prot, R);
	}
	assert_true(get(f, BASE - 1, &m, &seq)); /* the first above */
	assert_int_equal(m.start, BASE);
	assert_true(get(f, BASE + 2 * P - 1, &m, &seq));
	assert_false(get(f, BASE + 2 * P, &m, &seq));
	assert_int_equal(refs_of(f->obj), refs);
}

/* While the tree is being changed the lock answers. */
static void test_busy(void **state)
{
	struct fixture *f = *state;
	struct vms_mapping_info info = { .size = sizeof(info) };
	struct map m;
	uint64_t seq, was;
	bool begun;

	make_own(f);
	map(f, f->obj, BASE, 0, P, R);
	assert_true(get(f, BASE, &m, &was));
	begun = tree_change_begin(&f->s->space.tree);
	assert_true(get(f, BASE, &m, &seq));
	assert_int_equal(m.start, BASE);
	assert_ok(vms_find(f->s, BASE, &info));
	assert_int_equal(info.addr, BASE);
	seq = was;
	assert_false(space_still(f->s, BASE, &m, &seq)); /* it may not wait */
	tree_change_end(&f->s->space.tree, begun);
	assert_true(space_still(f->s, BASE, &m, &seq));
	assert_int_equal(seq, was + 2);
}

static void test_still(void **state)
{
	struct fixture *f = *state;
	struct vms_region *root = vms_space_root(f->s);
	struct map m;
	uint64_t seq, was;

	make_own(f);
	f->other = anon(f->arena, 4);
	map(f, f->obj, BASE, 0, 4 * P, RW);
	assert_true(get(f, BASE, &m, &seq));
	assert_true(space_still(f->s, BASE, &m, &seq));

	was = seq;
	map(f, f->obj, BASE + 16 * P, 0, P, R); /* elsewhere */
	assert_true(space_still(f->s, BASE, &m, &seq));
	assert_true(seq > was);

	assert_ok(vms_protect(root, BASE, 4 * P, R, 0));
	assert_false(space_still(f->s, BASE, &m, &seq));
	assert_ok(vms_protect(root, BASE, 4 * P, RW, 0));
	assert_true(space_still(f->s, BASE, &m, &seq));

	unmap(f, BASE + 3 * P, P); /* a part of it: it is another mapping */
	assert_false(space_still(f->s, BASE, &m, &seq));
	assert_true(get(f, BASE, &m, &seq));
	unmap(f, BASE, 3 * P);
	assert_false(space_still(f->s, BASE, &m, &seq));
	map(f, f->other, BASE, 0, 3 * P, RW);
	assert_false(space_still(f->s, BASE, &m, &seq));
	unmap(f, BASE, 3 * P);
	unmap(f, BASE + 16 * P, P);
	assert_false(space_still(f->s, BASE, &m, &seq)); /* nothing at all */
}

/* Mappings of one space are not found in another, nor those of one that has ended. */
static void test_last_mapping(void **state)
{
	struct fixture *f = *state, second = *f;
	struct map m;
	uint64_t seq;

	make_own(f);
	second.obj = NULL;
	space_begin(&second, P, 16, false);
	map(f, f->obj, BASE, 0, P, R);
	map(&second, f->obj, BASE, P, 2 * P, RW);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(get(f, BASE, &m, &seq));
		assert_int_equal(m.prot, R);
		assert_true(get(&second, BASE, &m, &seq));
		assert_int_equal(m.prot, RW);
	}
	space_end(&second);
	for (unsigned i = 0; i < 4; i++) { /* likely in the memory of the one that ended */
		space_begin(&second, P, 16, false);
		assert_false(get(&second, BASE, &m, &seq));
		map(&second, f->obj, BASE + P, 0, P, R);
		assert_true(get(&second, BASE + P, &m, &seq));
		assert_int_equal(m.start, BASE + P);
		space_end(&second);
	}
	unmap(f, BASE, P);
	assert_false(get(f, BASE, &m, &seq));
}

/* A cursor can be behind the last byte of all. */
static void test_next_to_the_end(void **state)
{
	struct fixture *f = *state;
	struct vms_space_params p = { .size = sizeof(p), .lo = 0, .hi = 0 };
	struct vms_mapping_info info = { .size = sizeof(info) };
	struct vms_cursor cursor = { 0 };
	struct fixture g = *f;

	make_own(f);
	assert_ok(vms_mmu_record(&g.mmu));
	p.mmu = g.mmu;
	assert_ok(vms_space_create(&p, &g.s));
	assert_int_equal(vms_next(g.s, &cursor, &info), -ENOENT);
	map(&g, f->obj, 0, 0, P, R);
	map(&g, f->obj, 8 * P, 0, P, R);
	map(&g, f->obj, UINT64_MAX - P + 1, 0, P, R);
	for (unsigned turn = 0; turn < 2; turn++) {
		cursor = (struct vms_cursor){ 0 };
		assert_ok(vms_next(g.s, &cursor, &info));
		assert_int_equal(info.addr, 0);
		assert_int_equal(cursor.next, P);
		assert_ok(vms_next(g.s, &cursor, &info));
		assert_int_equal(info.addr, 8 * P);
		assert_ok(vms_next(g.s, &cursor, &info));
		assert_int_equal(info.addr, UINT64_MAX - P + 1);
		assert_int_equal(info.len, P);
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(vms_next(g.s, &cursor, &info), -ENOENT);
	}
	/* What goes and comes in between: the cursor stays where it is. */
	cursor = (struct vms_cursor){ 0 };
	assert_ok(vms_next(g.s, &cursor, &info));
	unmap(&g, 8 * P, P);
	map(&g, f->obj, 4 * P, 0, 2 * P, R);
	unmap(&g, 0, P);
	assert_ok(vms_next(g.s, &cursor, &info));
	assert_int_equal(info.addr, 4 * P);
	cursor = (struct vms_cursor){ .next = 5 * P + 7 }; /* inside one: that one */
	assert_ok(vms_next(g.s, &cursor, &info));
	assert_int_equal(info.addr, 4 * P);
	info.size = sizeof(info) - 1;
	assert_int_equal(vms_next(g.s, &cursor, &info), -EINVAL);
	space_end(&g);
}

static struct vms_region *region_at(struct vms_region *parent, uint64_t addr, uint64_t len)
{
	struct vms_place place = { .flags = VMS_PLACE_AT, .addr = addr };
	struct vms_region_params params = { .size = sizeof(params),
					    .rights = VMS_REGION_ALL,
					    .len = len };
	struct vms_region *r;

	assert_ok(vms_region_create(parent, &place, &params, &r, NULL));
	return r;
}

static void map_in(struct fixture *f, struct vms_region *r, uint64_t addr, uint32_t prot)
{
	assert_ok(map_at(r, addr, f->obj, 0, P, prot, 0));
}

static void step_to(struct vms_walk *w, uint32_t is_mapping, uint32_t depth, uint64_t addr,
		    uint64_t len, uint32_t rights)
{
	struct vms_walk_item item;

	assert_ok(vms_walk_next(w, &item));
	assert_int_equal(item.is_mapping, is_mapping);
	assert_int_equal(item.depth, depth);
	assert_int_equal(item.addr, addr);
	assert_int_equal(item.len, len);
	assert_int_equal(item.rights, rights);
}

/*
 *	root	. M [a: M [b: M ] M ] M
 */
static void test_walk(void **state)
{
	struct fixture *f = *state;
	struct vms_region *root = vms_space_root(f->s), *a, *b;
	struct vms_walk_item item;
	struct vms_walk w;

	make_own(f);
	a = region_at(root, BASE + 2 * P, 8 * P);
	b = region_at(a, BASE + 4 * P, 2 * P);
	map_in(f, root, BASE, R);
	map_in(f, a, BASE + 2 * P, RW);
	map_in(f, b, BASE + 4 * P, R);
	map_in(f, a, BASE + 9 * P, R);
	map_in(f, root, BASE + 10 * P, RW);

	assert_ok(vms_walk_begin(&w, root, BASE, 16 * P, 0));
	step_to(&w, 1, 1, BASE, P, R);
	step_to(&w, 0, 1, BASE + 2 * P, 8 * P, VMS_REGION_ALL);
	step_to(&w, 1, 2, BASE + 2 * P, P, RW);
	step_to(&w, 0, 2, BASE + 4 * P, 2 * P, VMS_REGION_ALL);
	step_to(&w, 1, 3, BASE + 4 * P, P, R);
	step_to(&w, 1, 2, BASE + 9 * P, P, R);
	step_to(&w, 1, 1, BASE + 10 * P, P, RW);
	assert_int_equal(vms_walk_next(&w, &item), -ENOENT);
	assert_int_equal(vms_walk_next(&w, &item), -ENOENT);
	vms_walk_end(&w);
	vms_walk_end(&w);
	assert_int_equal(vms_walk_next(&w, &item), -ENOENT);

	assert_ok(vms_walk_begin(&w, a, BASE + 5 * P, 5 * P, 1)); /* mappings; a window in a */
	step_to(&w, 1, 1, BASE + 9 * P, P, R);
	assert_int_equal(vms_walk_next(&w, &item), -ENOENT);
	vms_walk_end(&w);

	/* Paused: what comes in above is seen, what goes is not, and the walk goes on above. */
	assert_ok(vms_walk_begin(&w, root, BASE, 16 * P, 0));
	step_to(&w, 1, 1, BASE, P, R);
	step_to(&w, 0, 1, BASE + 2 * P, 8 * P, VMS_REGION_ALL);
	step_to(&w, 1, 2, BASE + 2 * P, P, RW);
	step_to(&w, 0, 2, BASE + 4 * P, 2 * P, VMS_REGION_ALL);
	assert_ok(vms_region_destroy(b));
	map_in(f, root, BASE + P, R);
	map_in(f, a, BASE + 7 * P, R);
	step_to(&w, 1, 2, BASE + 7 * P, P, R);
	assert_ok(vms_region_destroy(a));
	step_to(&w, 1, 1, BASE + 10 * P, P, RW);
	assert_int_equal(vms_walk_next(&w, &item), -ENOENT);
	vms_walk_end(&w);
	vms_region_unref(b);
	vms_region_unref(a);
}

static void test_walk_refused(void **state)
{
	struct fixture *f = *state;
	struct vms_region *root = vms_space_root(f->s), *a;
	struct vms_walk_item item;
	struct vms_walk w;

	make_own(f);
	a = region_at(root, BASE, 4 * P);
	map_in(f, a, BASE, R);
	assert_int_equal(vms_walk_begin(&w, a, BASE, 0, 0), -EINVAL);
	assert_int_equal(vms_walk_begin(&w, a, UINT64_MAX, 2, 0), -EINVAL);
	assert_int_equal(vms_walk_begin(&w, a, BASE, 4 * P + 1, 0), -EINVAL);
	vms_walk_end(&w); /* of one that did not begin: nothing */
	assert_ok(vms_walk_begin(&w, a, BASE, 4 * P, 0));
	assert_ok(vms_region_destroy(a));
	assert_int_equal(vms_walk_next(&w, &item), -EBUSY);
	vms_walk_end(&w);
	assert_int_equal(vms_walk_begin(&w, a, BASE, 4 * P, 0), -EBUSY);
	vms_region_unref(a);
}

/* A walk holds its space. */
static void test_walk_alone(void **state)
{
	struct fixture *f = *state, g = *f;
	struct vms_walk w;

	make_own(f);
	space_begin(&g, P, 16, false);
	map(&g, f->obj, BASE, 0, P, R);
	assert_ok(vms_walk_begin(&w, vms_space_root(g.s), BASE, P, 0));
	vms_space_unref(g.s);
	vms_mmu_unref(g.mmu);
	step_to(&w, 1, 1, BASE, P, R);
	vms_walk_end(&w);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_get),
		TEST(test_busy),
		TEST(test_still),
		TEST(test_last_mapping),
		TEST(test_next_to_the_end),
		TEST(test_walk),
		TEST(test_walk_refused),
		TEST(test_walk_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
