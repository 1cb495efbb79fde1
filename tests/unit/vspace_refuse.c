// SPDX-License-Identifier: MIT
/*
 * vspace_refuse.c: what edits of spaces over objects refuse, in which order; the ends of all
 * addresses, where they must neither refuse nor wrap; and memory that runs out.
 */
#include "vspace_pictures.h"

/* ---- what map refuses, and in which order ---- */

static void test_clash_names_both(void **state)
{
	struct vms_region *a = region_in(kit->root, 8, 2, VMS_REGION_ALL);
	struct vms_map_params p = at(3, 3, 1, R);
	struct vms_region_params rp = { .size = sizeof(rp), .len = 2 * P };
	struct vms_region *r;

	map(kit->root, 4, 1, 0, R);
	assert_int_equal(vms_map(kit->root, &p, NULL), -EEXIST);
	assert_true(says("[0x103000, 0x105fff]") && says("[0x104000, 0x104fff]"));
	p = at(9, 3, 1, R);
	assert_int_equal(vms_map(kit->root, &p, NULL), -EEXIST);
	assert_true(says("[0x109000, 0x10bfff]") && says("[0x108000, 0x109fff]"));
	p.place.flags |= VMS_PLACE_OVER;
	assert_int_equal(vms_map(kit->root, &p, NULL), -EINVAL);
	assert_true(says("[0x109000, 0x10bfff]") && says("[0x108000, 0x109fff]"));
	p = at(3, 2, 0, R);
	assert_int_equal(vms_region_create(kit->root, &p.place, &rp, &r, NULL), -EEXIST);
	assert_true(says("[0x103000, 0x104fff]") && says("[0x104000, 0x104fff]"));
	shows("....a");
	vms_region_unref(a);
}

/*
 * Each row breaks one more rule than the one below it: what is listed first in space.h wins. Rows
 * are applied from the last up to i, and row i's error is what comes.
 */
static void break_prot(struct vms_map_params *p)
{
	p->prot |= 8;
}
static void break_align(struct vms_map_params *p)
{
	p->place.align = 512;
}
static void break_off(struct vms_map_params *p)
{
	p->off |= 1;
}
static void break_wrap(struct vms_map_params *p)
{
	p->off |= align_down(UINT64_MAX, P);
	p->len = P; /* nothing does not wrap */
}
static void break_stream(struct vms_map_params *p)
{
	p->flags |= VMS_MAP_STREAM;
}
static void break_write(struct vms_map_params *p)
{
	p->prot |= W;
}
static void break_len(struct vms_map_params *p)
{
	p->len = 0;
}
static void break_region_rights(struct vms_map_params *p)
{
	p->prot |= X;
}
static void break_both(struct vms_map_params *p)
{
	p->place.flags |= VMS_PLACE_BELOW;
}
static void break_addr(struct vms_map_params *p)
{
	p->place.addr |= 1;
}
static void break_outside(struct vms_map_params *p)
{
	p->place.addr += 64 * P;
}

static void test_order_of_refusals(void **state)
{
	static const struct {
		void (*apply)(struct vms_map_params *p);
		int err;
	} rules[] = {
		{ break_prot, -EINVAL }, { break_align, -EINVAL },	   { break_off, -EINVAL },
		{ break_wrap, -ERANGE }, { break_stream, -ENOTSUP },	   { break_write, -EACCES },
		{ break_len, -EINVAL },	 { break_region_rights, -EACCES }, { break_both, -EINVAL },
		{ break_addr, -EINVAL }, { break_outside, -EINVAL },
	};
	const unsigned n = sizeof(rules) / sizeof(rules[0]);
	struct vms_object_params op = { .size = sizeof(op),
					.bytes = 4 * P,
					.flags = VMS_OBJECT_CONTIGUOUS | VMS_OBJECT_NO_WRITE };
	struct vms_region *r = region_in(kit->root, 4, 4, R | W | VMS_REGION_SPECIFIC);
	struct vms_map_params p;
	struct vms_object *obj;

	assert_ok(vms_object_create(kit->arena, &op, &obj));
	for (unsigned from = 0; from <= n; from++) {
		p = at(4, 1, 0, R);
		p.object = obj;
		for (unsigned i = n; i-- > from;)
			rules[i].apply(&p);
		if (from < n && vms_map(r, &p, NULL) != rules[from].err)
			print_message("rule %u: %s\n", from, vms_last_error());
		assert_int_equal(vms_map(r, &p, NULL), from < n ? rules[from].err : 0);
		assert_ok(vms_unmap(r, AT(4), P, 0));
	}
	/* A dead region, after all that the arguments say. */
	assert_ok(vms_region_destroy(r));
	p = at(4, 1, 0, RW), p.object = obj;
	assert_int_equal(vms_map(r, &p, NULL), -EACCES);
	p.prot = R, p.len = 0;
	assert_int_equal(vms_map(r, &p, NULL), -EBUSY);
	vms_region_unref(r);
	vms_object_unref(obj);
}

static void test_map_refuses(void **state)
{
	struct vms_region *fixed = region_in(kit->root, 8, 4, R | W | X);
	struct vms_map_params p = at(0, 1, 0, R);
	uint64_t addr = 7;

	assert_int_equal(vms_map(kit->root, NULL, &addr), -EINVAL);
	p.size--;
	assert_int_equal(vms_map(kit->root, &p, &addr), -EINVAL);
	p = at(0, 1, 0, W);
	assert_int_equal(vms_map(kit->root, &p, &addr), -EINVAL);
	p = at(0, 1, 0, X);
	assert_int_equal(vms_map(kit->root, &p, &addr), -EINVAL);
	p = at(0, 1, 0, RW), p.ceiling = R;
	assert_int_equal(vms_map(kit->root, &p, &addr), -EINVAL);
	p = at(0, 1, 0, R), p.flags = 0x100;
	assert_int_equal(vms_map(kit->root, &p, &addr), -EINVAL);
	p = at(0, 1, 0, R), p.object = NULL;
	assert_int_equal(vms_map(kit->root, &p, &addr), -EINVAL);
	p = at(0, 1, 0, R), p.len = UINT64_MAX - 1;
	assert_int_equal(vms_map(kit->root, &p, &addr), -EINVAL);
	p = at(0, 1, 0, R), p.flags = VMS_MAP_POPULATE, p.place.flags |= VMS_PLACE_OVER;
	assert_int_equal(vms_map(kit->root, &p, &addr), -EINVAL);
	p = at(0, 1, 0, R), p.place.flags = VMS_PLACE_OVER;
	assert_int_equal(vms_map(kit->root, &p, &addr), -EINVAL);
	p = at(0, 1, 0, R), p.place.flags = 0;
	assert_int_equal(vms_map(kit->root, &p, &addr), -EINVAL); /* an addr without a use */
	p = at(0, 1, 0, R), p.place.addr = BASE - P;		  /* below the region */
	assert_int_equal(vms_map(kit->root, &p, &addr), -EINVAL);
	p = at(0, 1, 0, R), p.place.addr = BASE, p.place.flags = VMS_PLACE_BELOW;
	assert_int_equal(vms_map(kit->root, &p, &addr), -EINVAL);
	p = at(0, 1, 0, R), p.place.addr = 0, p.place.flags = VMS_PLACE_BELOW;
	assert_int_equal(vms_map(kit->root, &p, &addr), -EINVAL);
	p = at(8, 1, 0, R);
	assert_int_equal(vms_map(fixed, &p, &addr), -EACCES); /* it chooses its places */
	p.place = (struct vms_place){ 0 }, p.len = 5 * P;     /* more than the region */
	assert_int_equal(vms_map(fixed, &p, &addr), -EINVAL);
	p.len = 4 * P, p.place.align = UINT64_C(1) << 32;
	assert_int_equal(vms_map(fixed, &p, &addr), -ENOSPC);
	assert_int_equal(addr, 7);
	p.place.align = 0;
	assert_ok(vms_map(fixed, &p, &addr));
	assert_int_equal(addr, AT(8));
	vms_region_unref(fixed);
}

static void test_map_asks_the_object(void **state)
{
	struct vms_map_params p = at(0, 1, 0, R);
	struct vms_object *resizable = anon(kit->arena, P, VMS_OBJECT_RESIZABLE);
	struct vms_object *name = child(resizable, VMS_CHILD_REFERENCE, 0, 0, 0);
	struct vms_object_params op = { .size = sizeof(op) };
	struct vms_object *file, *read_only;
	char path[] = "/tmp/vspace_edit.XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_ok(unlink(path));
	assert_ok(ftruncate(fd, (off_t)P));
	assert_ok(vms_object_create_file(kit->arena, fd, &op, &file));
	close(fd);
	op.bytes = P, op.flags = VMS_OBJECT_NO_WRITE;
	assert_ok(vms_object_create(kit->arena, &op, &read_only));

	p.flags = VMS_MAP_FIXED_SIZE, p.object = resizable;
	assert_int_equal(vms_map(kit->root, &p, NULL), -ENOTSUP);
	p.object = name; /* the other handle may resize it */
	assert_int_equal(vms_map(kit->root, &p, NULL), -ENOTSUP);
	p.flags = VMS_MAP_STREAM, p.object = file;
	assert_int_equal(vms_map(kit->root, &p, NULL), -ENOTSUP);
	p.flags = 0; /* the backend has no use for descriptors */
	assert_int_equal(vms_map(kit->root, &p, NULL), -ENOTSUP);
	p.object = read_only, p.prot = RW;
	assert_int_equal(vms_map(kit->root, &p, NULL), -EACCES);
	p.prot = R;
	assert_ok(vms_map(kit->root, &p, NULL));
	assert_int_equal(protect(kit->root, 0, 1, RW), -EACCES);
	assert_ok(protect(kit->root, 0, 1, R | X));
	sound_space(kit->space);
	vms_object_unref(resizable);
	vms_object_unref(name);
	vms_object_unref(file);
	vms_object_unref(read_only);
}

/* ---- the ends of all addresses ---- */

static void test_last_bytes(void **state)
{
	const uint64_t top = align_down(UINT64_MAX, P), half = UINT64_C(1) << 63;
	struct vms_place place = { .flags = VMS_PLACE_AT };
	struct vms_map_params p = at(0, 1, 0, RW);
	struct vms_region *root;
	struct vms_mmu *mmu;
	struct vms_space *s;
	uint64_t addr = 0;

	assert_ok(vms_mmu_record(&mmu));
	s = space_over(mmu, 0, 0, P);
	root = vms_space_root(s);
	p.off = 0, p.place.addr = top;
	assert_ok(vms_map(root, &p, NULL));
	assert_int_equal(vms_map(root, &p, NULL), -EEXIST);
	sound_space(s);
	p.len = 2 * P;
	assert_int_equal(vms_map(root, &p, NULL), -EINVAL);
	assert_ok(vms_protect(root, top, P, R, 0));
	place.addr = 0;
	assert_ok(vms_move(root, top, P, &place, P, &addr));
	assert_int_equal(addr, 0);
	sound_space(s);
	place.addr = top;
	assert_ok(vms_move(root, 0, P, &place, P, &addr));
	assert_int_equal(addr, top);
	assert_int_equal(vms_protect(root, top - P, 2 * P, R, 0), -ENOENT);
	/* All but the top page is one gap; then none is left. */
	p.place = (struct vms_place){ 0 }, p.len = top;
	assert_ok(vms_map(root, &p, &addr));
	assert_int_equal(addr, 0);
	sound_space(s);
	p.len = P;
	assert_int_equal(vms_map(root, &p, &addr), -ENOSPC);
	assert_ok(vms_unmap(root, half, half, 0));
	assert_ok(vms_map(root, &p, &addr));
	assert_int_equal(addr, half);
	sound_space(s);
	assert_ok(vms_unmap(root, 0, half, 0));
	assert_ok(vms_unmap(root, half, half, 0));
	assert_int_equal(info_of(s).mappings, 0);
	/* Two halves that go on in one object do not become one of 2^64 bytes: offsets end before.
	 */
	p.place = (struct vms_place){ .flags = VMS_PLACE_AT }, p.len = half;
	assert_ok(vms_map(root, &p, NULL));
	p.place.addr = half, p.off = half;
	assert_int_equal(vms_map(root, &p, NULL), -ERANGE); /* off + len wraps */
	p.len = half - P;
	assert_ok(vms_map(root, &p, NULL));
	assert_int_equal(info_of(s).mappings, 1);
	sound_space(s);
	vms_space_unref(s);
	vms_mmu_unref(mmu);
}

static void test_placement(void **state)
{
	struct vms_map_params p = at(0, 2, 0, R);
	uint64_t addr = 0;

	map(kit->root, 0, 1, 0, R);
	map(kit->root, 2, 1, 1, R);
	map(kit->root, 5, 1, 1, R);
	p.place = (struct vms_place){ 0 };
	assert_ok(vms_map(kit->root, &p, &addr)); /* the first gap that is large enough */
	assert_int_equal(addr, AT(3));
	p.len = 1;
	assert_ok(vms_map(kit->root, &p, &addr));
	assert_int_equal(addr, AT(1));
	p.place.align = 8 * P;
	assert_ok(vms_map(kit->root, &p, &addr));
	assert_int_equal(addr, AT(8));
	p.place = (struct vms_place){ .flags = VMS_PLACE_BELOW, .addr = AT(8) };
	p.off = 5 * P, p.len = 2 * P; /* the offset is kept */
	assert_ok(vms_map(kit->root, &p, &addr));
	assert_int_equal(addr, AT(6));
	assert_int_equal(vms_map(kit->root, &p, &addr), -ENOSPC);
	lock_take(&kit->space->space.lock);
	struct map m;
	assert_true(space_find(&kit->space->space, AT(6), &m) && m.off == 5 * P);
	lock_drop(&kit->space->space.lock);
	sound_space(kit->space);
}

/* What lies below a region is not what lies at its end, where addresses wrap. */
static void test_below_a_high_region(void **state)
{
	const uint64_t half = UINT64_C(1) << 63;
	struct vms_region_params rp = { .size = sizeof(rp), .rights = VMS_REGION_ALL, .len = half };
	struct vms_place place = { .flags = VMS_PLACE_AT, .addr = half };
	struct vms_map_params p = at(0, 1, 0, R);
	struct vms_region *r;
	struct vms_mmu *mmu;
	struct vms_space *s;
	uint64_t addr;

	assert_ok(vms_mmu_record(&mmu));
	s = space_over(mmu, 0, 0, P);
	assert_ok(vms_region_create(vms_space_root(s), &place, &rp, &r, &addr));
	p.place.flags = VMS_PLACE_BELOW;
	for (p.place.addr = 0; p.place.addr <= half; p.place.addr += half / 2)
		assert_int_equal(vms_map(r, &p, &addr), -EINVAL);
	p.place.addr = half + P;
	assert_ok(vms_map(r, &p, &addr));
	assert_int_equal(addr, half);
	vms_region_unref(r);
	vms_space_unref(s);
	vms_mmu_unref(mmu);
}

/* A seed says where things go, and an edit that failed changes nothing of that. */
static void test_random_places(void **state)
{
	struct vms_space_params sp = {
		.size = sizeof(sp), .flags = VMS_SPACE_RANDOM, .hi = 4096 * P, .seed = 5
	};
	struct vms_map_params p = at(0, 1, 0, R);
	struct vms_space *s[2];
	uint64_t addr[2], first = 0;
	bool differ = false;

	p.place = (struct vms_place){ .entropy = 10 };
	for (unsigned i = 0; i < 2; i++) {
		assert_ok(vms_mmu_record(&sp.mmu));
		assert_ok(vms_space_create(&sp, &s[i]));
		vms_mmu_unref(sp.mmu);
	}
	for (unsigned k = 0; k < 8; k++) {
		test_world_fail(&kit->world, 1, 1u << CALL_ALLOC, ENOMEM);
		if (k == 0)
			assert_int_equal(vms_map(vms_space_root(s[1]), &p, NULL), -ENOMEM);
		test_world_fail(&kit->world, 0, 0, 0);
		for (unsigned i = 0; i < 2; i++)
			assert_ok(vms_map(vms_space_root(s[i]), &p, &addr[i]));
		assert_true(addr[0] == addr[1]);
		differ |= k && addr[0] != first + k * P;
		first = k ? first : addr[0];
	}
	assert_true(differ);
	for (unsigned i = 0; i < 2; i++)
		vms_space_unref(s[i]);
}

/* ---- memory runs out ---- */

static char before[2 * PAGES + 1];
static struct vms_space_info info_before;
static struct vms_region *child_region;
static unsigned scenario;

static void sweep_set_up(void *arg)
{
	/* Nothing that earlier edits left may help. */
	begin_kit();
	child_region = region_in(kit->root, 10, 10, VMS_REGION_ALL);
	map(kit->root, 0, 6, 0, RW);
	map(kit->root, 6, 2, 1, R);
	map(kit->root, 8, 1, 0, R);
	for (unsigned i = 10; i < 20; i++)
		map(child_region, i, 1, i % 3, R);
	strcpy(before, drawn());
	info_before = info_of(kit->space);
	while (kit->space->spare) {
		struct rmap *r = kit->space->spare;

		kit->space->spare = r->next;
		kit->world.world.free(&kit->world.world, r, sizeof(*r));
	}
	kit->space->n_spare = 0;
}

static int sweep_run(void *arg)
{
	struct vms_map_params p;
	struct vms_region *r;
	int err;

	switch (scenario) {
	case 0:
		p = at(20, 1, 2, R);
		return vms_map(kit->root, &p, NULL);
	case 1:
		p = at(2, 5, 2, R), p.place.flags |= VMS_PLACE_OVER;
		return vms_map(kit->root, &p, NULL);
	case 2:
		return unmap(kit->root, 2, 2);
	case 3:
		return unmap(kit->root, 0, PAGES);
	case 4:
		return protect(kit->root, 2, 2, R);
	case 5:
		return protect(kit->root, 1, 8, 0);
	case 6:
		return vms_move(kit->root, AT(1), 7 * P,
				&(struct vms_place){ VMS_PLACE_AT, 0, AT(22), 0 }, 6 * P, NULL);
	case 7:
		return vms_region_destroy(child_region);
	case 8:
		err = vms_region_create(
			child_region, NULL,
			&(struct vms_region_params){ .size = sizeof(struct vms_region_params),
						     .len = P },
			&r, NULL);
		if (err == -ENOSPC) /* it is full: in the root */
			err = vms_region_create(
				kit->root, NULL,
				&(struct vms_region_params){
					.size = sizeof(struct vms_region_params), .len = P },
				&r, NULL);
		if (!err)
			vms_region_unref(r);
		return err;
	default:
		return -1;
	}
}

static void sweep_check(void *arg, int result, bool failed)
{
	struct vms_space_info i = info_of(kit->space);

	if (failed) {
		assert_int_equal(result, -ENOMEM);
		assert_string_not_equal(vms_last_error(), "");
		assert_string_equal(drawn(), before);
		assert_true(i.edits == info_before.edits && i.regions == info_before.regions &&
			    i.mappings == info_before.mappings && i.mapped == info_before.mapped);
	} else {
		assert_ok(result);
	}
	shows(drawn());
}

static void sweep_tear_down(void *arg)
{
	vms_region_unref(child_region);
	end_kit();
}

static void test_no_memory(void **state)
{
	end_kit();
	for (scenario = 0; scenario < 9; scenario++) {
		struct sweep s = { .world = &kit->world,
				   .set_up = sweep_set_up,
				   .run = sweep_run,
				   .check = sweep_check,
				   .tear_down = sweep_tear_down,
				   .mask = 1u << CALL_ALLOC };

		assert_true(sweep(&s) >= 1);
	}
	begin_kit();
}

static void test_create_no_memory(void **state)
{
	struct vms_space_params params = { .size = sizeof(params) };
	struct vms_space *s = NULL;
	unsigned failures = 0;
	int err;

	assert_ok(vms_mmu_record(&params.mmu));
	for (unsigned n = 1;; n++) {
		test_world_fail(&kit->world, n, 1u << CALL_ALLOC, ENOMEM);
		err = vms_space_create(&params, &s);
		test_world_fail(&kit->world, 0, 0, 0);
		if (!err)
			break;
		assert_int_equal(err, -ENOMEM);
		failures++;
	}
	assert_true(failures >= 2);
	vms_space_unref(s);
	vms_mmu_unref(params.mmu);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_clash_names_both),	TEST(test_order_of_refusals),
		TEST(test_map_refuses),		TEST(test_map_asks_the_object),
		TEST(test_last_bytes),		TEST(test_placement),
		TEST(test_below_a_high_region), TEST(test_random_places),
		TEST(test_no_memory),		TEST(test_create_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
