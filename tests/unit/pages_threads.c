// SPDX-License-Identifier: MIT
/*
 * pages_threads.c: readers look pages up in two trees, with no lock, while a writer changes and
 * shares them, lets them grow and takes them away. A frame's number tells the only index that it
 * may be seen at. What else can go wrong is for the sanitizers to see.
 */
#include "check.h"

#include <pthread.h>

#include "base/epoch.h"
#include "fake_arena.h"
#include "object/pages.h"
#include "random.h"
#include "world.h"

#define READERS	 2
#define NEAR	 8192u /* indices that are written */
#define FAR	 (UINT64_C(1) << 40)
#define VERSIONS 64u /* frames that an index may have */
#define STEPS	 20000

static struct test_world world;
static struct vms_arena *arena;
static struct pages tree[2];
static atomic_bool over;
static atomic_uint wrong, frames_seen, started;

static bool may_stand(slot_t s, uint64_t index)
{
	return slot_is_frame(s) ? (s - FRAME_FIRST) / VERSIONS == index % FAR
				: s == SLOT_EMPTY || s == SLOT_ZERO;
}

static void *read_pages(void *arg)
{
	uint64_t rng = (uintptr_t)arg * 77 + 1;

	atomic_fetch_add(&started, 1);
	while (!atomic_load(&over)) {
		uint64_t r = next53(&rng), index = r / 16 % NEAR + (r & 2 ? FAR : 0);
		struct page_span s;

		if (!epoch_enter()) {
			atomic_fetch_add(&wrong, 1);
			break;
		}
		s = pages_span(&tree[r & 1], index);
		for (uint64_t i = 0; i < s.n && i < 64; i++) {
			slot_t slot = page_span_at(&s, i);

			if (!may_stand(slot, index + i))
				atomic_fetch_add(&wrong, 1);
			if (slot_is_frame(slot))
				atomic_fetch_add_explicit(&frames_seen, 1, memory_order_relaxed);
		}
		epoch_leave();
	}
	return NULL;
}

static void put(struct pages *p, uint64_t index, uint64_t version, struct frame_batch *freed)
{
	frame_t f = (frame_t)(FRAME_FIRST + index % FAR * VERSIONS + version);
	slot_t old;

	if (!fake_frame_at(arena, f))
		return;
	assert_ok(pages_prepare(p, index, 1));
	old = pages_set(p, index, f);
	if (slot_is_frame(old))
		frame_unref(freed, old);
}

static void write_pages(uint64_t *rng)
{
	uint64_t r = next53(rng);
	struct pages *p = &tree[r & 1];
	uint64_t index = r / 2 % NEAR, n = 1 + r / 8192 % 1000;
	struct frame_batch freed;

	frame_batch_init(&freed, arena);
	switch (next53(rng) % 16) {
	case 0: /* a snapshot */
		pages_fini(p, &freed);
		assert_ok(pages_share(p, &tree[!(r & 1)], r % 3 ? 0 : index, FAR * 2));
		break;
	case 1:
		assert_ok(pages_prepare_range(p, index, n));
		pages_fill(p, index, n, r % 3 ? SLOT_EMPTY : SLOT_ZERO, &freed);
		break;
	case 2: /* low again */
		assert_ok(pages_prepare_range(p, NEAR, FAR + NEAR));
		pages_fill(p, NEAR, FAR + NEAR, SLOT_EMPTY, &freed);
		break;
	case 3:
		put(p, index + FAR, r / 8192 % VERSIONS, &freed);
		break;
	default:
		put(p, index, r / 8192 % VERSIONS, &freed);
	}
	frame_batch_end(&freed);
}

static void readers_and_a_writer(void **state)
{
	pthread_t reader[READERS];
	struct frame_batch freed;
	uint64_t rng = 12345;

	test_world_begin(&world);
	arena = fake_arena_create(&world.world);
	pages_init(&tree[0], arena);
	pages_init(&tree[1], arena);
	tree[0].sibling = &tree[1];
	for (uintptr_t i = 0; i < READERS; i++)
		assert_ok(pthread_create(&reader[i], NULL, read_pages, (void *)(i + 1)));
	while (atomic_load(&started) < READERS)
		;
	for (unsigned i = 0; i < STEPS; i++) {
		write_pages(&rng);
		if (i % 1000 == 0)
			assert_ok(pages_check_family(tree));
	}
	atomic_store(&over, true);
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(reader[i], NULL);
	assert_int_equal(atomic_load(&wrong), 0);
	assert_true(atomic_load(&frames_seen) > 0);
	frame_batch_init(&freed, arena);
	pages_fini(&tree[0], &freed);
	pages_fini(&tree[1], &freed);
	frame_batch_end(&freed);
	fake_arena_destroy(arena);
	epoch_synchronize();
	test_world_end(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(readers_and_a_writer)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
