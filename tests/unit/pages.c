// SPDX-License-Identifier: MIT
/*
 * pages.c: the page tree, a rule at a time. What it costs in nodes is read off the metadata that
 * the arena counts: a leaf and an inner node differ in size.
 */
#include "check.h"

#include <errno.h>

#include "base/epoch.h"
#include "fake_arena.h"
#include "object/pages.h"
#include "object/pages_node.h"
#include "world.h"

#define LEAF  ((int64_t)sizeof(struct leaf))
#define INNER ((int64_t)sizeof(struct inner))

static struct test_world world;
static struct vms_arena *arena;
static struct pages a, b, c;

static int set_up(void **state)
{
	test_world_begin(&world);
	arena = fake_arena_create(&world.world);
	pages_init(&a, arena);
	pages_init(&b, arena);
	pages_init(&c, arena);
	a.sibling = &b;
	b.sibling = &c;
	return 0;
}

static void end(struct pages *p)
{
	struct frame_batch freed;

	frame_batch_init(&freed, arena);
	pages_fini(p, &freed);
	frame_batch_end(&freed);
}

static int tear_down(void **state)
{
	end(&a);
	end(&b);
	end(&c);
	fake_arena_destroy(arena);
	epoch_synchronize();
	test_world_end(&world);
	return 0;
}

static slot_t put(struct pages *p, uint64_t index, slot_t s)
{
	assert_ok(pages_prepare(p, index, 1));
	return pages_set(p, index, s);
}

/* A new frame there. */
static frame_t give(struct pages *p, uint64_t index)
{
	struct frame_batch freed;
	frame_t f = fake_frame(arena);
	slot_t old = put(p, index, f);

	frame_batch_init(&freed, arena);
	if (slot_is_frame(old))
		frame_unref(&freed, old);
	frame_batch_end(&freed);
	return f;
}

static void fill(struct pages *p, uint64_t first, uint64_t n, slot_t mark)
{
	struct frame_batch freed;

	frame_batch_init(&freed, arena);
	assert_ok(pages_prepare_range(p, first, n));
	pages_fill(p, first, n, mark, &freed);
	frame_batch_end(&freed);
}

static void check(void)
{
	assert_ok(pages_check_family(&a));
}

static void set_and_get(void **state)
{
	frame_t f;

	assert_int_equal(pages_get(&a, 0), SLOT_EMPTY);
	assert_int_equal(pages_get(&a, PAGES_MAX - 1), SLOT_EMPTY);
	f = give(&a, 5);
	assert_int_equal(pages_get(&a, 5), f);
	assert_int_equal(pages_get(&a, 4), SLOT_EMPTY);
	assert_int_equal(pages_get(&a, 64 + 5), SLOT_EMPTY);
	assert_int_equal(arena->metadata, LEAF);
	/* A tree is as high as its pages need. */
	give(&a, 64);
	assert_int_equal(arena->metadata, 2 * LEAF + INNER);
	give(&a, 4095);
	assert_int_equal(arena->metadata, 3 * LEAF + INNER);
	give(&a, PAGES_MAX - 1);
	assert_int_equal(arena->metadata, 4 * LEAF + (8 + 7) * INNER);
	assert_int_equal(pages_get(&a, 5), f);
	assert_int_equal(put(&a, 5, SLOT_ZERO), f);
	assert_int_equal(pages_get(&a, 5), SLOT_ZERO);
	assert_int_equal(put(&a, 5, f), SLOT_ZERO);
	assert_int_equal(pages_count(&a, 0, PAGES_MAX), 4);
	check();
}

static void spans(void **state)
{
	struct page_span s;
	frame_t f = give(&a, 100);

	s = pages_span(&a, 100);
	assert_int_equal(s.n, 28);
	assert_int_equal(page_span_at(&s, 0), f);
	assert_int_equal(page_span_at(&s, 1), SLOT_EMPTY);
	s = pages_span(&a, 63);
	assert_null(s.slots);
	assert_int_equal(s.n, 1);
	s = pages_span(&a, 5000);
	assert_null(s.slots);
	assert_int_equal(s.n, PAGES_MAX - 5000);
	s = pages_span(&b, 7);
	assert_int_equal(s.n, PAGES_MAX - 7);
	assert_int_equal(s.same, SLOT_EMPTY);
}

/* A long run of one mark costs two paths, whatever its length. */
static void long_marks(void **state)
{
	fill(&a, 10, UINT64_C(1) << 40, SLOT_ZERO);
	assert_int_equal(pages_get(&a, 9), SLOT_EMPTY);
	assert_int_equal(pages_get(&a, 10), SLOT_ZERO);
	assert_int_equal(pages_get(&a, 1 << 30), SLOT_ZERO);
	assert_int_equal(pages_get(&a, (UINT64_C(1) << 40) + 9), SLOT_ZERO);
	assert_int_equal(pages_get(&a, (UINT64_C(1) << 40) + 10), SLOT_EMPTY);
	assert_true(arena->metadata <= 2 * LEAF + 12 * INNER);
	check();
	fill(&a, 0, UINT64_C(1) << 41, SLOT_EMPTY);
	assert_int_equal(arena->metadata, 0);
	/* The whole space is a mark in the root. */
	fill(&a, 0, PAGES_MAX, SLOT_ZERO_DIRTY);
	assert_int_equal(arena->metadata, 0);
	assert_int_equal(pages_get(&a, PAGES_MAX - 1), SLOT_ZERO_DIRTY);
	give(&a, 12345);
	assert_int_equal(pages_get(&a, 12344), SLOT_ZERO_DIRTY);
	assert_int_equal(pages_get(&a, PAGES_MAX - 1), SLOT_ZERO_DIRTY);
	check();
	fill(&a, 12345, 1, SLOT_ZERO_DIRTY);
	assert_int_equal(arena->metadata, 0);
	assert_int_equal(pages_get(&a, 12345), SLOT_ZERO_DIRTY);
	assert_int_equal(arena->granted, 0);
}

/* Growing past a root that is one mark does not carry the mark with it. */
static void growth_keeps_marks(void **state)
{
	fill(&a, 0, 64, SLOT_ZERO);
	fill(&a, 0, 4096, SLOT_ZERO);
	assert_int_equal(pages_get(&a, 4095), SLOT_ZERO);
	assert_int_equal(pages_get(&a, 4096), SLOT_EMPTY);
	give(&a, UINT64_C(1) << 50);
	assert_int_equal(pages_get(&a, 0), SLOT_ZERO);
	assert_int_equal(pages_get(&a, 4095), SLOT_ZERO);
	assert_int_equal(pages_get(&a, 4096), SLOT_EMPTY);
	check();
	/* A tree of one leaf whose every slot is prepared can be filled as it is. */
	assert_ok(pages_prepare(&b, 0, 64));
	pages_fill(&b, 0, 64, SLOT_ZERO, NULL);
	assert_int_equal(pages_get(&b, 63), SLOT_ZERO);
	assert_int_equal(pages_get(&b, 64), SLOT_EMPTY);
	check();
}

/* Pages that go one at a time leave no node behind. */
static void nothing_is_left(void **state)
{
	static const uint64_t at[] = {0, 63, 64, 4095, 4096, 1 << 20, PAGES_MAX / 2, PAGES_MAX - 1};
	const unsigned n = sizeof(at) / sizeof(*at);

	for (unsigned i = 0; i < n; i++)
		give(&a, at[i]);
	for (unsigned i = n; i-- > 0;) {
		fill(&a, at[i], 1, SLOT_EMPTY);
		check();
	}
	assert_int_equal(arena->metadata, 0);
	for (unsigned i = 0; i < n; i++)
		give(&a, at[i]);
	for (unsigned i = 0; i < n; i++)
		fill(&a, at[i], 1, SLOT_EMPTY);
	assert_int_equal(arena->metadata, 0);
	assert_int_equal(arena->granted, 0);
}

/* The tree is as low again as its pages allow. */
static void shrinks(void **state)
{
	give(&a, 3);
	give(&a, UINT64_C(1) << 50);
	fill(&a, 64, PAGES_MAX - 64, SLOT_EMPTY);
	assert_int_equal(arena->metadata, LEAF);
	assert_int_equal(pages_count(&a, 0, PAGES_MAX), 1);
	check();
}

/* Fills that were prepared together do not take the ground from each other. */
static void fills_together(void **state)
{
	struct frame_batch freed;

	frame_batch_init(&freed, arena);
	give(&a, 0);
	assert_ok(pages_prepare_range(&a, 10, 5));
	assert_ok(pages_prepare_range(&a, 64, 64));
	pages_fill(&a, 10, 5, SLOT_ZERO, &freed);
	pages_fill(&a, 64, 64, SLOT_ZERO, &freed);
	assert_int_equal(pages_get(&a, 127), SLOT_ZERO);
	assert_int_equal(pages_get(&a, 128), SLOT_EMPTY);
	assert_ok(pages_prepare_range(&a, 64, 64));
	assert_ok(pages_prepare_range(&a, 4096, 1));
	pages_fill(&a, 64, 64, SLOT_EMPTY, &freed);
	pages_fill(&a, 4096, 1, SLOT_EMPTY, &freed);
	assert_int_equal(arena->metadata, LEAF);
	check();
	frame_batch_end(&freed);
}

static void sharing(void **state)
{
	frame_t f[3];
	int64_t before;

	for (unsigned i = 0; i < 3; i++)
		f[i] = give(&a, i * 64);
	assert_true(pages_exclusive(&a, 64));
	before = arena->metadata;
	assert_ok(pages_share(&b, &a, 0, PAGES_MAX));
	assert_int_equal(arena->metadata, before);
	assert_int_equal(arena->count[f[1]], 1);
	assert_false(pages_path_exclusive(&a, 64));
	assert_false(pages_exclusive(&b, 64));
	assert_true(pages_path_exclusive(&b, PAGES_MAX - 1));

	/* A write copies one path; the frame beside it is seen through two leaves. */
	give(&b, 65);
	assert_int_equal(arena->metadata, before + LEAF + INNER);
	assert_int_equal(arena->count[f[1]], 2);
	assert_int_equal(arena->count[f[0]], 1);
	assert_true(pages_exclusive(&b, 65));
	assert_false(pages_exclusive(&b, 64));
	assert_true(pages_path_exclusive(&b, 64));
	assert_false(pages_path_exclusive(&b, 0));
	assert_int_equal(pages_get(&a, 65), SLOT_EMPTY);
	check();

	/* The last holder has it for itself. */
	end(&a);
	assert_true(pages_exclusive(&b, 64));
	assert_true(pages_exclusive(&b, 0));
	assert_int_equal(arena->count[f[1]], 1);
	assert_int_equal(arena->granted, 4);
	check();
}

static void share_of_a_part(void **state)
{
	frame_t f[4] = {give(&a, 10), give(&a, 20), give(&a, 5000), give(&a, 100000)};

	assert_ok(pages_share(&b, &a, 11, 5000 - 11));
	assert_int_equal(pages_count(&b, 0, PAGES_MAX), 1);
	assert_int_equal(pages_get(&b, 20), f[1]);
	end(&b);
	assert_ok(pages_share(&b, &a, 20, 100000 - 20));
	assert_int_equal(pages_get(&b, 10), SLOT_EMPTY);
	assert_int_equal(pages_get(&b, 20), f[1]);
	assert_int_equal(pages_get(&b, 5000), f[2]);
	assert_int_equal(pages_get(&b, 100000), SLOT_EMPTY);
	assert_int_equal(arena->count[f[0]], 1);
	assert_int_equal(arena->count[f[1]], 2);
	check();
	/* None of it. */
	assert_ok(pages_share(&c, &a, 21, 10));
	assert_int_equal(pages_next(&c, 0, PAGES_MAX), PAGES_MAX);
	assert_ok(pages_share(&c, &a, UINT64_C(1) << 53, 10));
	assert_ok(pages_share(&c, &a, 20, 0));
	assert_int_equal(pages_next(&c, 0, PAGES_MAX), PAGES_MAX);
	/* A stretch of the mark that is everywhere. */
	fill(&a, 0, PAGES_MAX, SLOT_ZERO);
	assert_ok(pages_share(&c, &a, 64, 64));
	assert_int_equal(pages_next(&c, 0, PAGES_MAX), 64);
	assert_int_equal(pages_get(&c, 127), SLOT_ZERO);
	assert_int_equal(pages_get(&c, 128), SLOT_EMPTY);
	check();
}

/* Taking a shared subtree away touches nothing in it. */
static void fill_of_a_shared_subtree(void **state)
{
	frame_t f = 0;

	for (unsigned i = 0; i < 4096; i++)
		f = give(&a, 4096 + i);
	assert_ok(pages_share(&b, &a, 0, PAGES_MAX));
	fill(&b, 4096, 4096, SLOT_ZERO);
	assert_int_equal(arena->count[f], 1);
	assert_int_equal(pages_count(&b, 0, PAGES_MAX), 0);
	assert_int_equal(pages_get(&b, 5000), SLOT_ZERO);
	assert_int_equal(pages_count(&a, 0, PAGES_MAX), 4096);
	assert_int_equal(arena->granted, 4096);
	check();
	fill(&a, 0, PAGES_MAX, SLOT_EMPTY);
	assert_int_equal(arena->granted, 0);
}

static void walks(void **state)
{
	give(&a, 7);
	give(&a, 4096 * 3);
	fill(&a, 1 << 20, 1 << 19, SLOT_ZERO);
	assert_int_equal(pages_next(&a, 0, PAGES_MAX), 7);
	assert_int_equal(pages_next(&a, 7, PAGES_MAX), 7);
	assert_int_equal(pages_next(&a, 8, PAGES_MAX), 4096 * 3);
	assert_int_equal(pages_next(&a, 8, 4096 * 3), 4096 * 3);
	assert_int_equal(pages_next(&a, 8, 100), 100);
	assert_int_equal(pages_next(&a, 4096 * 3 + 1, PAGES_MAX), 1 << 20);
	assert_int_equal(pages_next(&a, (1 << 20) + 77, PAGES_MAX), (1 << 20) + 77);
	assert_int_equal(pages_next(&a, 3 << 19, PAGES_MAX), PAGES_MAX);
	assert_int_equal(pages_next(&b, 3, 3), 3);
	assert_int_equal(pages_count(&a, 0, PAGES_MAX), 2);
	assert_int_equal(pages_count(&a, 7, 1), 1);
	assert_int_equal(pages_count(&a, 8, 4096 * 3 - 8), 0);
	assert_int_equal(pages_count(&a, 8, 4096 * 3 - 7), 1);
	assert_int_equal(pages_count(&a, 8, 0), 0);
}

static void placement(void **state)
{
	frame_t f;

	/* A leaf's run goes up with the tree. */
	assert_ok(pages_prepare(&a, 3, 1));
	f = pages_wish(&a, 3, 1 << 18);
	assert_true(fake_in_run(arena, f));
	assert_int_equal((f - 3) % RUN_MAX, 0);
	give(&a, 3);
	assert_ok(pages_prepare(&a, 4095, 1));
	assert_int_equal(pages_wish(&a, 4095, 1 << 18), f - 3 + 4095);
	assert_int_equal(arena->runs, 1);
	give(&a, 4095);
	assert_ok(pages_prepare(&a, 4096, 1));
	assert_int_not_equal(pages_wish(&a, 4096, 1 << 18), 0);
	assert_int_equal(arena->runs, 2);
	check();

	/* A copy has none, and the run stays where the node is. */
	assert_ok(pages_share(&b, &a, 0, PAGES_MAX));
	give(&b, 8);
	assert_int_equal(pages_wish(&b, 8, 1 << 18), FRAME_NONE);
	assert_int_equal(arena->runs, 2);
	end(&b);
	assert_ok(pages_prepare(&a, 9, 1));
	assert_int_equal(pages_wish(&a, 9, 1 << 18), f - 3 + 9);
	check();

	/* Small objects take small runs; one that has grown takes another. */
	assert_ok(pages_prepare(&c, 0, 1));
	assert_int_not_equal(pages_wish(&c, 0, 10), 0);
	assert_int_equal(arena->run[2].len, 64);
	assert_ok(pages_prepare(&c, 200, 1));
	assert_int_not_equal(pages_wish(&c, 200, 300), 0);
	assert_int_equal(arena->runs, 3);
	assert_int_equal(arena->run[2].len, 512);
	arena->no_runs = true;
	assert_ok(pages_prepare(&c, 600, 1));
	assert_int_equal(pages_wish(&c, 600, 1000), FRAME_NONE);
	assert_int_not_equal(pages_wish(&c, 200, 1000), FRAME_NONE);
	check();
	end(&a);
	end(&c);
	assert_int_equal(arena->runs, 0);
}

static void tally(void *arg, uint64_t sharers, uint64_t frames)
{
	((uint64_t *)arg)[sharers] += frames;
}

static void sharers(void **state)
{
	uint64_t n[4] = {0};

	for (unsigned i = 0; i < 1000; i++)
		give(&a, i);
	assert_ok(pages_share(&b, &a, 0, PAGES_MAX));
	assert_ok(pages_share(&c, &b, 100, PAGES_MAX - 100));
	give(&a, 500);		       /* its own; b and c keep the old one */
	fill(&b, 600, 10, SLOT_EMPTY); /* a and c */
	pages_sharers(&a, &a, tally, n);
	assert_int_equal(n[1], 1);
	assert_int_equal(n[2], 100 + 10);
	assert_int_equal(n[3], 1000 - 111);
	n[1] = n[2] = n[3] = 0;
	pages_sharers(&a, &c, tally, n);
	assert_int_equal(n[1], 0);
	assert_int_equal(n[2], 10 + 1);
	assert_int_equal(n[3], 900 - 11);
	check();
}

/* A root that became another tree's lower node counts for both. */
static void sharers_of_roots_of_two_heights(void **state)
{
	uint64_t n[4] = {0};

	for (unsigned i = 0; i < 10; i++)
		give(&a, i);
	assert_ok(pages_share(&b, &a, 0, PAGES_MAX));
	give(&b, 1 << 20);
	pages_sharers(&a, &b, tally, n);
	assert_int_equal(n[1], 1);
	assert_int_equal(n[2], 10);
	n[1] = n[2] = 0;
	pages_sharers(&a, &a, tally, n);
	assert_int_equal(n[1], 0);
	assert_int_equal(n[2], 10);
	check();
}

/* The validators see what is wrong. */
static void checks_find(void **state)
{
	struct page_node *root;

	give(&a, 1);
	give(&a, 64);
	root = entry_node(entry_get(&a.root));
	root->frames++;
	assert_int_equal(pages_check(&a), -EINVAL);
	root->frames--;
	root->refs++;
	assert_ok(pages_check(&a));
	assert_int_equal(pages_check_family(&a), -EINVAL);
	root->refs--;
	root->run_len = 100;
	assert_int_equal(pages_check(&a), -EINVAL);
	root->run_len = 0;
	root->level = 2;
	assert_int_equal(pages_check(&a), -EINVAL);
	root->level = 1;
	check();
}

/* Below the 16 bytes of metadata a page, with the arena's 8 for the frame. */
static void dense(void **state)
{
	for (unsigned i = 0; i < 1 << 16; i++)
		give(&a, i);
	assert_true((double)arena->metadata / (1 << 16) <= 8.0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(set_and_get),     TEST(spans),
		TEST(long_marks),      TEST(growth_keeps_marks),
		TEST(nothing_is_left), TEST(shrinks),
		TEST(fills_together),  TEST(sharing),
		TEST(share_of_a_part), TEST(fill_of_a_shared_subtree),
		TEST(walks),	       TEST(placement),
		TEST(sharers),	       TEST(sharers_of_roots_of_two_heights),
		TEST(checks_find),     TEST(dense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
