// SPDX-License-Identifier: MIT
/* Regions: refusals in their order, placement, life, ranges and the walk. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "space/region.h"
#include "vmspace/vmspace.h"
#include "world.h"

#define PAGE  UINT64_C(0x1000)
#define BASE  UINT64_C(0x100000)
#define PAGES 64
#define ALL   REGION_RIGHTS
#define TOP   (UINT64_MAX - (PAGES * PAGE - 1))

/* Mappings are an array, sorted. */
struct maps {
	unsigned n;
	struct {
		uint64_t first, last;
	} at[16];
};

static bool next_map(const void *arg, uint64_t from, uint64_t min, uint64_t *first, uint64_t *last)
{
	const struct maps *m = arg;

	(void)min;
	for (unsigned i = 0; i < m->n; i++) {
		if (m->at[i].last < from)
			continue;
		*first = m->at[i].first;
		*last = m->at[i].last;
		return true;
	}
	return false;
}

struct fixture {
	struct test_world world;
	struct maps maps;
	struct region_tree tree;
	uint64_t base; /* of the root, PAGES long */
};

static void open_at(struct fixture *f, uint64_t base, const uint64_t *seed)
{
	f->base = base;
	f->maps.n = 0;
	assert_ok(region_tree_init(&f->tree, &f->world.world, PAGE, base,
				   base + (PAGES * PAGE - 1), (struct taken){ next_map, &f->maps },
				   seed));
}

static int begin(void **state)
{
	static struct fixture f;

	test_world_begin(&f.world);
	open_at(&f, BASE, NULL);
	*state = &f;
	return 0;
}

static int end(void **state)
{
	struct fixture *f = *state;

	region_tree_fini(&f->tree);
	test_world_end(&f->world);
	return 0;
}

static void good(const struct fixture *f)
{
	const char *wrong = region_validate(&f->tree);

	if (wrong)
		print_error("%s\n", wrong);
	assert_null(wrong);
}

static void map(struct fixture *f, unsigned page, unsigned n)
{
	unsigned i = f->maps.n++;

	f->maps.at[i].first = f->base + page * PAGE;
	f->maps.at[i].last = f->base + (page + n) * PAGE - 1;
}

/* A child of r at this page of r; the handle is given back: the tree's reference is enough. */
static struct region *at(struct fixture *f, struct region *r, unsigned page, unsigned n)
{
	struct placement p = { .flags = PLACE_AT, .offset = page * PAGE, .size = n * PAGE };
	struct region *c;

	assert_ok(region_create(r, &p, ALL, &c));
	assert_int_equal(c->first, r->first + page * PAGE);
	assert_int_equal(c->last - c->first + 1, n * PAGE);
	region_unref(c);
	good(f);
	return c;
}

/* Where the search puts n pages, as a page of the root, or the errno. */
static int placed(struct fixture *f, struct region *r, unsigned n, struct placement p)
{
	uint64_t first = 0;
	int err;

	p.size = n * PAGE;
	err = region_place(r, &p, 0, &first);
	return err ? err : (int)((first - f->base) / PAGE);
}

/* ---- errors ---- */

static void errors_in_their_order(void **state)
{
	struct fixture *f = *state;
	struct region *root = f->tree.root, *plain, *gone, *c = NULL;
	struct placement p = { .flags = PLACE_AT, .offset = 8 * PAGE, .size = 8 * PAGE };

	/* plain: pages 8 to 15, may not choose places, no EXEC; full from its page 4 on. */
	assert_ok(region_create(root, &p, VMS_PROT_READ | VMS_PROT_WRITE, &plain));
	p.offset = 32 * PAGE;
	assert_ok(region_create(root, &p, ALL, &gone));
	assert_ok(region_destroy(gone));
	map(f, 12, 4);
	map(f, 40, 2);

	enum { BELOW = PLACE_BELOW, AT = PLACE_AT };
	/* Each line breaks one rule, and many that come after it. */
	const struct {
		struct region *r;
		uint32_t rights;
		struct placement p;
		int err;
	} line[] = {
		{ gone, 16, { .size = 0 }, -EINVAL },
		{ gone, 0, { .flags = 16, .size = 0 }, -EINVAL },
		{ gone, 0, { .flags = PLACE_OVER | AT, .size = 0 }, -EINVAL },
		{ gone, 0, { .align = 3 * PAGE }, -EINVAL },
		{ gone, 0, { .align = 512 }, -EINVAL },
		{ gone, 0, { .align = UINT64_C(1) << 33 }, -EINVAL },
		{ gone, 0, { .entropy = 64 }, -EINVAL },
		{ gone, 0, { .size = 0 }, -EBUSY },
		{ gone, ALL, { .flags = AT | BELOW, .size = PAGE }, -EBUSY },
		{ plain, 4, { .size = 0 }, -EINVAL },
		{ plain, 4, { .flags = AT | BELOW, .size = 1 }, -EACCES },
		{ plain, 8, { .size = PAGE }, -EACCES },
		{ plain, 1, { .flags = AT | BELOW, .offset = 1, .size = 1 }, -EINVAL },
		{ plain, 1, { .offset = PAGE, .size = PAGE }, -EINVAL },
		{ plain, 1, { .flags = AT, .offset = 1, .size = PAGE }, -EINVAL },
		{ plain, 1, { .flags = AT, .offset = 0, .size = 1 }, -EINVAL },
		{ plain, 1, { .flags = AT, .offset = 99 * PAGE, .size = PAGE }, -EACCES },
		{ plain, 1, { .flags = BELOW, .offset = 99 * PAGE, .size = PAGE }, -EACCES },
		{ plain, 1, { .size = 9 * PAGE }, -EINVAL },
		{ plain, 1, { .size = 5 * PAGE }, -ENOSPC },
		{ plain, 1, { .size = PAGE, .align = 16 * PAGE }, -ENOSPC },
		{ root, 1, { .flags = AT, .offset = 63 * PAGE, .size = 2 * PAGE }, -EINVAL },
		{ root, 1, { .flags = AT, .offset = 64 * PAGE, .size = PAGE }, -EINVAL },
		{ root, 1, { .flags = AT, .offset = PAGE, .size = -PAGE }, -EINVAL },
		{ root, 1, { .flags = AT, .offset = -PAGE, .size = 2 * PAGE }, -EINVAL },
		{ root, 1, { .flags = BELOW, .offset = 65 * PAGE, .size = PAGE }, -EINVAL },
		{ root, 1, { .flags = BELOW, .offset = PAGE, .size = 2 * PAGE }, -EINVAL },
		{ root, 1, { .flags = BELOW, .offset = 0, .size = PAGE }, -EINVAL },
		{ root, 1, { AT, 9 * PAGE, PAGE, .align = 2 * PAGE }, -EINVAL },
		{ root, 1, { .flags = AT, .offset = 15 * PAGE, .size = PAGE }, -EEXIST },
		{ root, 1, { .flags = AT, .offset = 41 * PAGE, .size = PAGE }, -EEXIST },
		{ root, 1, { .flags = AT, .offset = 0, .size = 64 * PAGE }, -EEXIST },
		{ root, 1, { .flags = BELOW, .offset = 16 * PAGE, .size = 9 * PAGE }, -ENOSPC },
		{ root, 1, { .size = 25 * PAGE }, -ENOSPC },
		{ root, 1, { .size = 24 * PAGE }, -ENOMEM },
	};

	for (unsigned i = 0; i < sizeof(line) / sizeof(line[0]); i++) {
		/* No memory, always: it is what is missed last. */
		test_world_fail(&f->world, 1, 1u << CALL_ALLOC, ENOMEM);
		int err = region_create(line[i].r, &line[i].p, line[i].rights, &c);

		if (err != line[i].err)
			print_error("line %u: %s\n", i, vms_last_error());
		assert_int_equal(err, line[i].err);
		assert_null(c);
		good(f);
	}
	test_world_fail(&f->world, 0, 0, 0);
	region_unref(plain);
	region_unref(gone);
}

static void a_clash_is_named(void **state)
{
	struct fixture *f = *state;
	struct placement p = { .flags = PLACE_AT, .offset = 0, .size = 8 * PAGE };
	uint64_t first;

	map(f, 6, 1);
	assert_int_equal(region_place(f->tree.root, &p, 1, &first), -EEXIST);
	assert_non_null(strstr(vms_last_error(), "[0x100000, 0x107fff] meets the mapping "
						 "[0x106000, 0x106fff]"));
	at(f, f->tree.root, 2, 2);
	assert_int_equal(region_place(f->tree.root, &p, 1, &first), -EEXIST);
	assert_non_null(strstr(vms_last_error(), "[0x100000, 0x107fff] meets the region "
						 "[0x102000, 0x103fff]"));
}

static void over_mappings_but_not_regions(void **state)
{
	struct fixture *f = *state;
	struct placement p = { .flags = PLACE_AT | PLACE_OVER, .size = 8 * PAGE };
	uint64_t first = 0;

	map(f, 6, 1);
	assert_ok(region_place(f->tree.root, &p, 1, &first));
	assert_int_equal(first, BASE);
	at(f, f->tree.root, 7, 4);
	assert_int_equal(region_place(f->tree.root, &p, 1, &first), -EINVAL);
	p.size = 7 * PAGE;
	assert_ok(region_place(f->tree.root, &p, 1, &first));
	p.flags = PLACE_OVER;
	assert_int_equal(region_place(f->tree.root, &p, 1, &first), -EINVAL);
}

static void bad_bounds(void **state)
{
	struct fixture *f = *state;
	struct taken maps = f->tree.maps;
	struct region_tree t;
	const struct {
		uint64_t page, first, last;
	} bad[] = {
		{ PAGE, 0, 0 },	   { PAGE, 1, PAGE - 1 }, { PAGE, 2 * PAGE, PAGE - 1 },
		{ 3, 0, 2 },	   { 1, 0, 0 },		  { 0, 0, UINT64_MAX },
		{ PAGE, 0, PAGE },
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(region_tree_init(&t, &f->world.world, bad[i].page, bad[i].first,
						  bad[i].last, maps, NULL),
				 -EINVAL);
		region_tree_fini(&t);
	}
}

/* ---- placement ---- */

static void first_fit(void **state)
{
	struct fixture *f = *state;
	struct region *root = f->tree.root, *c;
	struct placement any = { 0 }, below = { .flags = PLACE_BELOW, .offset = 20 * PAGE },
			 far = { .align = 16 * PAGE };

	/* 0123456789abcdef0123456789abcdef.. : ..CC.MM....CCC..MCCM.... */
	at(f, root, 2, 2);
	map(f, 5, 2);
	at(f, root, 11, 3);
	map(f, 16, 1);
	c = at(f, root, 17, 2);
	map(f, 19, 1);
	assert_int_equal(placed(f, root, 1, any), 0);
	assert_int_equal(placed(f, root, 3, any), 7);
	assert_int_equal(placed(f, root, 5, any), 20);
	assert_int_equal(placed(f, root, 44, any), 20);
	assert_int_equal(placed(f, root, 45, any), -ENOSPC);
	assert_int_equal(placed(f, root, 4, below), 7);
	assert_int_equal(placed(f, root, 5, below), -ENOSPC);
	below.offset = 25 * PAGE;
	assert_int_equal(placed(f, root, 5, below), 20);
	assert_int_equal(placed(f, root, 2, far), 0);
	assert_int_equal(placed(f, root, 3, far), 32);
	far.align = 1024; /* less than a page is a page */
	assert_int_equal(placed(f, root, 3, far), 7);
	assert_int_equal(placed(f, c, 2, any), 17);
	assert_int_equal(placed(f, c, 3, any), -EINVAL);
}

/* The end of the 64-bit space is an address like any other. */
static void the_last_byte(void **state)
{
	struct fixture *f = *state;
	struct placement p = { .flags = PLACE_AT, .offset = 63 * PAGE, .size = PAGE };
	struct region *root, *c;
	uint64_t last;

	region_tree_fini(&f->tree);
	open_at(f, TOP, NULL);
	root = f->tree.root;
	at(f, root, 0, 62);
	assert_int_equal(placed(f, root, 2, (struct placement){ 0 }), 62);
	assert_true(region_available(root, UINT64_MAX - PAGE + 1, UINT64_MAX));
	assert_ok(region_create(root, &p, ALL, &c));
	assert_int_equal(c->last, UINT64_MAX);
	good(f);
	assert_ptr_equal(region_find(root, UINT64_MAX), c);
	assert_false(region_available(root, UINT64_MAX, UINT64_MAX));
	assert_int_equal(placed(f, root, 1, (struct placement){ 0 }), 62);
	assert_int_equal(placed(f, root, 2, (struct placement){ 0 }), -ENOSPC);
	assert_ok(region_range(root, c->first, PAGE, CHILDREN_WHOLE, &last));
	assert_int_equal(last, UINT64_MAX);
	assert_int_equal(region_range(root, c->first, PAGE + 1, CHILDREN_WHOLE, &last), -EINVAL);
	region_clear(root, c->first, last);
	assert_true(region_is_dead(c));
	region_unref(c);
	map(f, 63, 1);
	assert_int_equal(placed(f, root, 1, (struct placement){ 0 }), 62);
	good(f);
}

static void all_of_the_space(void **state)
{
	struct fixture *f = *state;
	struct placement p = { .size = PAGE, .entropy = 63 };
	struct region *root, *c;
	uint64_t first = 1, seed = 7;

	region_tree_fini(&f->tree);
	assert_ok(region_tree_init(&f->tree, &f->world.world, 2, 0, UINT64_MAX, f->tree.maps,
				   &seed));
	root = f->tree.root;
	for (unsigned i = 0; i < 1000; i++) {
		assert_ok(region_create(root, &p, ALL, &c));
		region_unref(c);
	}
	good(f);
	p = (struct placement){ .flags = PLACE_BELOW, .offset = UINT64_MAX - 1, .size = 2 };
	assert_ok(region_place(root, &p, 0, &first));
	assert_int_equal(first, 0);
}

/* All candidates are met about equally often, whether there are fewer than numbers or not. */
static void entropy_is_fair(void **state)
{
	struct fixture *f = *state;
	struct placement p = { .align = 2 * PAGE, .entropy = 20 };
	unsigned met[PAGES], n = 20000, kinds;
	struct region *root;
	uint64_t seed = 1;

	region_tree_fini(&f->tree);
	open_at(f, BASE, &seed);
	root = f->tree.root;
	at(f, root, 9, 3);
	map(f, 20, 5);
	/* Free for two pages, even: 0-6, 12-18, 26-62: 4 + 4 + 19 candidates. */
	for (unsigned pass = 0; pass < 3; pass++) {
		memset(met, 0, sizeof(met));
		for (unsigned i = 0; i < n; i++)
			met[placed(f, root, 2, p)]++;
		kinds = 0;
		for (unsigned i = 0; i < PAGES; i++) {
			if (!met[i])
				continue;
			kinds++;
			assert_true(i % 2 == 0 && (i <= 6 || (i >= 12 && i <= 18) || i >= 26));
		}
		assert_int_equal(kinds, pass == 0 ? 27 : pass == 1 ? 4 : 27);
		for (unsigned i = 0; i < PAGES; i++)
			if (met[i])
				assert_in_range(met[i], n / kinds * 8 / 10, n / kinds * 12 / 10);
		p.entropy = pass == 0 ? 2 : 63;
		p.flags = pass == 0 ? 0 : PLACE_COMPACT;
	}
	/* The same seed gives the same places; without one it is first fit. */
	int a[8], b[8];

	for (unsigned i = 0; i < 16; i++) {
		if (i % 8 == 0)
			f->tree.random = 5;
		*(i < 8 ? &a[i] : &b[i - 8]) = placed(f, root, 2, p);
	}
	assert_memory_equal(a, b, sizeof(a));
	f->tree.seeded = false;
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(placed(f, root, 2, p), 0);
}

/* ---- life ---- */

static void death_reaches_all_below(void **state)
{
	struct fixture *f = *state;
	struct placement p = { .size = 8 * PAGE };
	struct region *a, *b, *c;

	assert_ok(region_create(f->tree.root, &p, ALL, &a));
	p.size = 4 * PAGE;
	assert_ok(region_create(a, &p, 3, &b));
	p.size = PAGE;
	assert_ok(region_create(b, &p, 1, &c));
	assert_ptr_equal(region_innermost(&f->tree, BASE), c);
	assert_ptr_equal(region_innermost(&f->tree, BASE + PAGE), b);
	assert_ptr_equal(region_innermost(&f->tree, BASE + 63 * PAGE), f->tree.root);
	assert_null(region_innermost(&f->tree, BASE + 64 * PAGE));
	assert_null(region_innermost(&f->tree, BASE - 1));
	assert_int_equal(f->tree.n, 4);
	assert_ok(region_destroy(a));
	good(f);
	assert_int_equal(f->tree.n, 1);
	assert_true(region_is_dead(a) && region_is_dead(b) && region_is_dead(c));
	assert_int_equal(region_destroy(a), -EBUSY);
	assert_int_equal(region_set_priority(b, REGION_HIGH), -EBUSY);
	assert_null(region_find(a, BASE));
	assert_false(region_available(a, BASE, BASE + PAGE - 1));
	assert_int_equal(c->last - c->first, PAGE - 1); /* its bounds can still be asked for */
	assert_int_equal(region_destroy(f->tree.root), -ENOTSUP);
	/* The span is free again. */
	at(f, f->tree.root, 0, 64);
	region_unref(a);
	region_unref(b);
	region_unref(c);
	region_unref(NULL);
}

static void handles_outlive_the_tree(void **state)
{
	struct fixture *f = *state;
	struct placement p = { .size = PAGE };
	struct region *root = region_ref(f->tree.root), *c;

	assert_ok(region_create(root, &p, ALL, &c));
	region_tree_fini(&f->tree);
	assert_true(region_is_dead(root) && region_is_dead(c));
	assert_int_equal(region_create(root, &p, ALL, &c), -EBUSY);
	region_unref(root);
	region_unref(c);
}

/* Each as large as its parent: nothing may recurse. */
static void very_deep(void **state)
{
	struct fixture *f = *state;
	struct placement p = { .size = PAGES * PAGE };
	struct region *r = f->tree.root, *c;

	for (unsigned i = 0; i < 20000; i++) {
		assert_ok(region_create(r, &p, ALL, &c));
		region_unref(c);
		r = c;
	}
	good(f);
	assert_ptr_equal(region_innermost(&f->tree, BASE), r);
	assert_ok(region_set_priority(f->tree.root, REGION_HIGH));
	assert_int_equal(r->priority, REGION_HIGH);
	assert_ok(region_destroy(region_find(f->tree.root, BASE)));
	assert_int_equal(f->tree.n, 1);
}

static void priority_is_inherited(void **state)
{
	struct fixture *f = *state;
	struct region *a = at(f, f->tree.root, 0, 8), *b = at(f, a, 0, 4), *c;

	assert_int_equal(b->priority, REGION_DEFAULT);
	assert_int_equal(region_set_priority(a, (enum region_priority)2), -EINVAL);
	assert_ok(region_set_priority(a, REGION_HIGH));
	assert_int_equal(b->priority, REGION_HIGH);
	assert_int_equal(f->tree.root->priority, REGION_DEFAULT);
	c = at(f, b, 1, 1);
	assert_int_equal(c->priority, REGION_HIGH);
	assert_ok(region_set_priority(b, REGION_DEFAULT));
	assert_int_equal(c->priority, REGION_DEFAULT);
	assert_int_equal(a->priority, REGION_HIGH);
}

static int three_regions(void *arg)
{
	struct fixture *f = arg;
	struct placement p = { .size = 8 * PAGE, .entropy = 4 };
	struct region *a, *b;
	int err = region_create(f->tree.root, &p, ALL, &a);

	if (err)
		return err;
	p.size = PAGE;
	err = region_create(a, &p, ALL, &b);
	region_unref(a);
	if (err)
		return err;
	region_unref(b);
	err = region_create(f->tree.root, &p, ALL, &b);
	if (!err)
		region_unref(b);
	return err;
}

static void no_memory(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = 3, random;
	struct region_tree t;

	region_tree_fini(&f->tree);
	test_world_fail(&f->world, 1, 1u << CALL_ALLOC, ENOMEM);
	assert_int_equal(region_tree_init(&t, &f->world.world, PAGE, 0, PAGE - 1,
					  (struct taken){ next_map, &f->maps }, NULL),
			 -ENOMEM);
	region_tree_fini(&t);
	for (unsigned n = 1; n <= 4; n++) {
		test_world_fail(&f->world, 0, 0, 0);
		open_at(f, BASE, &seed);
		test_world_fail(&f->world, n, 1u << CALL_ALLOC, ENOMEM);
		assert_int_equal(three_regions(f), n <= 3 ? -ENOMEM : 0);
		assert_int_equal(f->tree.n, n);
		good(f);
		if (n == 1) {
			/* Not even the generator has moved. */
			random = f->tree.random;
			assert_int_equal(random, seed);
		}
		region_tree_fini(&f->tree);
	}
	test_world_fail(&f->world, 0, 0, 0);
	open_at(f, BASE, NULL);
}

/* ---- ranges ---- */

static void ranges(void **state)
{
	struct fixture *f = *state;
	struct region *root = f->tree.root, *a, *gone;
	uint64_t last = 0;

	a = region_ref(at(f, root, 4, 4));
	at(f, a, 1, 1);
	at(f, root, 8, 4);
	at(f, root, 20, 2);
	gone = region_ref(at(f, root, 40, 2));
	assert_ok(region_destroy(gone));

	const struct {
		const struct region *r;
		unsigned page;
		uint64_t size;
		int whole, none, any;
	} line[] = {
		{ root, 0, 0, -EINVAL, -EINVAL, -EINVAL },
		{ root, 0, UINT64_MAX, -EINVAL, -EINVAL, -EINVAL },
		{ root, 0, 65 * PAGE, -EINVAL, -EINVAL, -EINVAL },
		{ root, 64, PAGE, -EINVAL, -EINVAL, -EINVAL },
		{ a, 3, PAGE, -EINVAL, -EINVAL, -EINVAL },
		{ gone, 40, 0, -EINVAL, -EINVAL, -EINVAL },
		{ gone, 39, PAGE, -EINVAL, -EINVAL, -EINVAL },
		{ gone, 40, PAGE, -EBUSY, -EBUSY, -EBUSY },
		{ root, 0, 4 * PAGE, 0, 0, 0 },
		{ root, 0, 3 * PAGE + 1, 0, 0, 0 },
		{ root, 0, 4 * PAGE + 1, -EINVAL, -EINVAL, 0 },
		{ root, 4, 4 * PAGE, 0, -EINVAL, 0 },
		{ root, 4, 7 * PAGE + 1, 0, -EINVAL, 0 },
		{ root, 4, 7 * PAGE, -EINVAL, -EINVAL, 0 },
		{ root, 5, 7 * PAGE, -EINVAL, -EINVAL, 0 },
		{ root, 5, PAGE, -EINVAL, -EINVAL, 0 },
		{ root, 12, 8 * PAGE, 0, 0, 0 },
		{ root, 0, 64 * PAGE, 0, -EINVAL, 0 },
		{ a, 4, PAGE, 0, 0, 0 },
		{ a, 5, PAGE, 0, -EINVAL, 0 },
	};

	for (unsigned i = 0; i < sizeof(line) / sizeof(line[0]); i++) {
		uint64_t first = BASE + line[i].page * PAGE;

		assert_int_equal(region_range(line[i].r, first, line[i].size, CHILDREN_WHOLE, &last),
				 line[i].whole);
		assert_int_equal(region_range(line[i].r, first, line[i].size, CHILDREN_NONE, &last),
				 line[i].none);
		assert_int_equal(region_range(line[i].r, first, line[i].size, CHILDREN_ANY, &last),
				 line[i].any);
	}
	assert_int_equal(region_range(root, BASE + 1, PAGE, CHILDREN_ANY, &last), -EINVAL);
	assert_ok(region_range(root, BASE + 4 * PAGE, 7 * PAGE + 1, CHILDREN_WHOLE, &last));
	assert_int_equal(last, BASE + 12 * PAGE - 1);
	region_clear(root, BASE + 4 * PAGE, last);
	good(f);
	assert_true(region_is_dead(a));
	assert_int_equal(f->tree.n, 2);
	assert_ptr_equal(region_at_or_above(root, BASE), region_find(root, BASE + 20 * PAGE));
	region_unref(a);
	region_unref(gone);
}

/* ---- the walk ---- */

/* Checks the next item: "R4.1" is a region at page 4, depth 1; "M" a mapping; "" the end. */
static void step(struct fixture *f, struct region_walk *w, const char *want)
{
	struct region_item item;
	char got[32] = "";
	int r = region_walk_next(w, &item);

	if (r == 1)
		snprintf(got, sizeof(got), "%c%u.%zu", item.is_map ? 'M' : 'R',
			 (unsigned)((item.first - f->base) / PAGE), item.depth);
	assert_string_equal(got, want);
	assert_true(r == (*want ? 1 : 0));
	if (r == 1 && item.is_map)
		assert_ptr_equal(item.region, region_innermost(&f->tree, item.first));
}

static void steps(struct fixture *f, struct region *top, unsigned from, unsigned last, bool maps,
		  const char *want)
{
	struct region_walk w;
	char name[16];
	int n;

	region_walk_init(&w, top, f->base + from * PAGE, f->base + last * PAGE, maps);
	for (; sscanf(want, "%15s%n", name, &n) == 1; want += n)
		step(f, &w, name);
	step(f, &w, "");
	step(f, &w, "");
	region_walk_fini(&w);
}

static void a_tree_to_walk(struct fixture *f)
{
	struct region *a;

	/* Root: M1-2, A4-11 (AA4-7 (M4), M9, AB10-11), B12-13, M60-63. */
	a = at(f, f->tree.root, 4, 8);
	at(f, a, 0, 4);
	at(f, a, 6, 2);
	at(f, f->tree.root, 12, 2);
	map(f, 1, 2);
	map(f, 4, 1);
	map(f, 9, 1);
	map(f, 60, 4);
}

static void walks(void **state)
{
	struct fixture *f = *state;
	struct region *root, *a;

	/* The second time at the end of the 64-bit space. */
	for (unsigned i = 0; i < 2; i++) {
		a_tree_to_walk(f);
		root = f->tree.root;
		a = region_find(root, f->base + 4 * PAGE);
		steps(f, root, 0, 63, false, "M1.1 R4.1 R4.2 M4.3 M9.2 R10.2 R12.1 M60.1");
		steps(f, root, 0, 63, true, "M1.1 M4.3 M9.2 M60.1");
		steps(f, root, 2, 9, false, "M1.1 R4.1 R4.2 M4.3 M9.2");
		steps(f, root, 3, 3, false, "");
		steps(f, root, 5, 5, false, "R4.1 R4.2");
		steps(f, root, 8, 13, false, "R4.1 M9.2 R10.2 R12.1");
		steps(f, root, 63, 63, false, "M60.1");
		steps(f, root, 9, 8, false, "");
		steps(f, a, 0, 63, false, "R4.1 M4.2 M9.1 R10.1");
		region_tree_fini(&f->tree);
		open_at(f, TOP, NULL);
	}
}

static void a_paused_walk(void **state)
{
	struct fixture *f = *state;
	struct region *root = f->tree.root, *a;
	struct region_walk w;
	struct region_item item;

	a_tree_to_walk(f);
	region_walk_init(&w, root, f->base, f->base + 63 * PAGE, false);
	step(f, &w, "M1.1");
	/* What comes in behind the walk is not seen, even if it reaches ahead of it. */
	f->maps.at[0].last = f->base + 4 * PAGE - 1;
	at(f, root, 0, 1);
	step(f, &w, "R4.1");
	step(f, &w, "R4.2");
	/* A dead sub-tree goes on in the parent; what comes in ahead is seen. */
	a = region_find(root, f->base + 4 * PAGE);
	memmove(&f->maps.at[1], &f->maps.at[3], sizeof(f->maps.at[0]));
	f->maps.n = 2;
	assert_ok(region_destroy(a));
	at(f, root, 5, 2);
	step(f, &w, "R5.1");
	step(f, &w, "R12.1");
	at(f, region_find(root, f->base + 12 * PAGE), 0, 2);
	step(f, &w, "R12.2");
	step(f, &w, "M60.1");
	step(f, &w, "");
	region_walk_fini(&w);

	a = region_find(root, f->base + 12 * PAGE);
	region_walk_init(&w, a, f->base, f->base + 63 * PAGE, false);
	assert_ok(region_destroy(a));
	assert_int_equal(region_walk_next(&w, &item), -EBUSY);
	region_walk_fini(&w);
}

/* ---- the validator ---- */

static void the_validator_sees(void **state)
{
	struct fixture *f = *state;
	struct region *root = f->tree.root, *a = at(f, root, 2, 4), *b = at(f, root, 8, 4), *top,
		      *low;
	struct region_tree *t = &f->tree;

#define SEES(what, wrong)                                                                          \
	do {                                                                                       \
		__typeof__(what) was = (what);                                                     \
		(what) = (wrong);                                                                  \
		assert_non_null(region_validate(t));                                               \
		(what) = was;                                                                      \
		good(f);                                                                           \
	} while (0)
	at(f, a, 0, 1);
	SEES(a->first, a->first + 1);
	SEES(a->last, b->first + PAGE - 1);
	SEES(b->last, root->last + PAGE);
	SEES(a->last, a->first - 1);
	SEES(a->rights, 1);
	SEES(root->rights, 7);
	SEES(a->tree, NULL);
	SEES(a->parent, b);
	SEES(t->n, 3);
	top = root->children;
	SEES(top->gap, top->gap + 1);
	SEES(top->lo, 0);
	SEES(top->hi, 0);
	SEES(top->heap, 0);
	low = top == a ? b : a;
	SEES(low->up, NULL);
	map(f, 1, 2);
	assert_non_null(region_validate(t));
	f->maps.n = 0;
	map(f, 5, 2);
	assert_non_null(region_validate(t));
	f->maps.n = 0;
	map(f, 3, 3);
	good(f);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		CASE(errors_in_their_order),
		CASE(a_clash_is_named),
		CASE(over_mappings_but_not_regions),
		CASE(bad_bounds),
		CASE(first_fit),
		CASE(the_last_byte),
		CASE(all_of_the_space),
		CASE(entropy_is_fair),
		CASE(death_reaches_all_below),
		CASE(handles_outlive_the_tree),
		CASE(very_deep),
		CASE(priority_is_inherited),
		CASE(no_memory),
		CASE(ranges),
		CASE(walks),
		CASE(a_paused_walk),
		CASE(the_validator_sees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
