// SPDX-License-Identifier: MIT
/*
 * pages.c: every allocation of a page tree's calls fails in turn. No slot has changed then, the
 * same call can be made right after, and nothing is lost.
 */
#include "check.h"

#include <errno.h>
#include <string.h>

#include "base/epoch.h"
#include "fake_arena.h"
#include "object/pages.h"
#include "world.h"

#define FAR (PAGES_MAX - 1000)

struct state {
	struct test_world world;
	struct vms_arena *arena;
	struct pages a, b;
	int (*calls)(struct state *s);
	uint64_t digest[2];
};

/* What a tree says, however it says it: over its longest runs of one slot. */
static uint64_t digest(const struct pages *p)
{
	const uint64_t odd = UINT64_C(0x9e3779b97f4a7c15);
	uint64_t sum = 0, at = 0, start = 0;
	slot_t last = pages_get(p, 0);

	while (at < PAGES_MAX) {
		struct page_span s = pages_span(p, at);

		for (uint64_t i = 0; i < (s.slots ? s.n : 1); i++) {
			if (page_span_at(&s, i) == last)
				continue;
			sum = (sum + start) * odd + last;
			start = at + i;
			last = page_span_at(&s, i);
		}
		at += s.n;
	}
	return (sum + start) * odd + last;
}

/* ---- the calls ---- */

static int prepare_one(struct state *s)
{
	return pages_prepare(&s->a, 70, 1);
}

static int prepare_far(struct state *s)
{
	return pages_prepare(&s->a, FAR - 100, 1);
}

static int prepare_many(struct state *s)
{
	return pages_prepare(&s->a, 3000, 8000);
}

static int prepare_empty(struct state *s)
{
	struct frame_batch freed;

	frame_batch_init(&freed, s->arena);
	pages_fini(&s->a, &freed);
	frame_batch_end(&freed);
	s->digest[0] = digest(&s->a);
	return pages_prepare(&s->a, 1 << 20, 1);
}

static int prepare_range(struct state *s)
{
	return pages_prepare_range(&s->a, 70, FAR);
}

static int prepare_range_inside(struct state *s)
{
	return pages_prepare_range(&s->a, 100, 50);
}

static int share_part(struct state *s)
{
	struct frame_batch freed;

	frame_batch_init(&freed, s->arena);
	pages_fini(&s->b, &freed);
	frame_batch_end(&freed);
	s->digest[1] = digest(&s->b);
	return pages_share(&s->b, &s->a, 100, FAR);
}

/* ---- the sweep ---- */

static void set_up(void *arg)
{
	struct state *s = arg;

	s->arena = fake_arena_create(&s->world.world);
	pages_init(&s->a, s->arena);
	pages_init(&s->b, s->arena);
	s->a.sibling = &s->b;
	assert_ok(pages_prepare_range(&s->a, 5000, 1 << 30));
	pages_fill(&s->a, 5000, 1 << 30, SLOT_ZERO, NULL);
	for (uint64_t i = 0; i < 400; i++) {
		uint64_t at = i < 300 ? i : FAR + i;

		assert_ok(pages_prepare(&s->a, at, 1));
		pages_set(&s->a, at, fake_frame(s->arena));
	}
	assert_ok(pages_share(&s->b, &s->a, 0, PAGES_MAX));
	s->digest[0] = digest(&s->a);
	s->digest[1] = digest(&s->b);
}

static int run(void *arg)
{
	struct state *s = arg;

	return s->calls(s);
}

static void check(void *arg, int result, bool failed)
{
	struct state *s = arg;

	assert_int_equal(result, failed ? -ENOMEM : 0);
	if (result || s->calls != share_part) {
		assert_int_equal(digest(&s->a), s->digest[0]);
		assert_int_equal(digest(&s->b), s->digest[1]);
	}
	assert_ok(pages_check_family(&s->a));
	if (result)
		assert_ok(s->calls(s));
	if (s->calls == share_part)
		assert_int_equal(pages_count(&s->b, 0, PAGES_MAX), 200);
	assert_ok(pages_check_family(&s->a));
	assert_int_equal(digest(&s->a), s->digest[0]);
}

static void tear_down(void *arg)
{
	struct state *s = arg;
	struct frame_batch freed;

	frame_batch_init(&freed, s->arena);
	pages_fini(&s->a, &freed);
	pages_fini(&s->b, &freed);
	frame_batch_end(&freed);
	fake_arena_destroy(s->arena); /* asserts that all came back */
	epoch_synchronize();
}

static void swept(int (*calls)(struct state *s), unsigned at_least)
{
	static struct state s;
	struct sweep sw = {.world = &s.world,
			   .set_up = set_up,
			   .run = run,
			   .check = check,
			   .tear_down = tear_down,
			   .arg = &s};

	memset(&s, 0, sizeof(s));
	s.calls = calls;
	test_world_begin(&s.world);
	assert_true(sweep(&sw) >= at_least);
	test_world_end(&s.world);
}

#define SWEEP(name, at_least)                 \
	static void test_##name(void **state) \
	{                                     \
		swept(name, at_least);        \
	}
SWEEP(prepare_one, 9)
SWEEP(prepare_far, 9)
SWEEP(prepare_many, 130)
SWEEP(prepare_empty, 4)
SWEEP(prepare_range, 15)
SWEEP(prepare_range_inside, 9)
SWEEP(share_part, 15)

/* A preparation that fails leaves no heap of empty leaves. */
static void no_heap_is_left(void **state)
{
	static struct state s;
	struct pages p;

	test_world_begin(&s.world);
	s.arena = fake_arena_create(&s.world.world);
	pages_init(&p, s.arena);
	test_world_fail(&s.world, 5000, 1u << CALL_ALLOC, ENOMEM);
	assert_int_equal(pages_prepare(&p, 17, UINT64_C(1) << 50), -ENOMEM);
	assert_int_equal(s.arena->metadata, 0);
	assert_ok(pages_check(&p));
	fake_arena_destroy(s.arena);
	epoch_synchronize();
	test_world_end(&s.world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_prepare_one),   cmocka_unit_test(test_prepare_far),
		cmocka_unit_test(test_prepare_many),  cmocka_unit_test(test_prepare_empty),
		cmocka_unit_test(test_prepare_range), cmocka_unit_test(test_prepare_range_inside),
		cmocka_unit_test(test_share_part),    cmocka_unit_test(no_heap_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
