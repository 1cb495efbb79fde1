// SPDX-License-Identifier: MIT
/*
 * space_speed.c: what the engine costs without a host: nanoseconds for each operation on a space of
 * n mappings, adjacent, of alternating rights, and on one with a hole beside each mapping.
 *
 *	space-speed [N ...]		default: 10 1000 30000 1000000
 *
 * Times are the best of a few rounds, on random addresses unless said otherwise.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "object/object.h"
#include "random.h"
#include "space/quick.h"

#define PAGE   UINT64_C(4096)
#define BASE   (UINT64_C(1) << 32)
#define ROUNDS 10

static uint64_t allocs;

static void *counting_alloc(const struct world *w, size_t size)
{
	allocs++;
	return malloc(size);
}

static void counting_free(const struct world *w, void *p, size_t size)
{
	free(p);
}

static const struct world counting = {.alloc = counting_alloc, .free = counting_free};

static uint32_t classes(const struct map *m)
{
	return 1u | m->prot;
}

static uint64_t guard(const struct map *m, const void *arg)
{
	return m->flags & 1 ? 256 * PAGE : 0;
}

static const struct map_rules rules = {.classes = classes, .guard = guard};

static struct space space;
static struct vms_object *object;
static uint64_t rng = 88172645463325252u, n, stride, sink;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void must(int err)
{
	if (err) {
		fprintf(stderr, "space-speed: an edit failed: %d\n", err);
		exit(1);
	}
}

static void map(uint64_t first, uint64_t last, uint8_t prot) REQUIRES(space.lock)
{
	struct map m = {.start = first,
			.last = last,
			.obj = object,
			.off = first,
			.prot = prot,
			.ceiling = 7};
	struct edit e;

	edit_init(&e, &space);
	must(edit_map(&e, &m));
	must(edit_prepare(&e));
	edit_commit(&e);
}

static void unmap(uint64_t first, uint64_t last) REQUIRES(space.lock)
{
	struct edit e;

	edit_init(&e, &space);
	must(edit_unmap(&e, first, last));
	must(edit_prepare(&e));
	edit_commit(&e);
}

static void set_prot(struct map *m, void *arg)
{
	m->prot = *(const uint8_t *)arg;
}

static void protect(uint64_t first, uint64_t last, uint8_t prot) REQUIRES(space.lock)
{
	struct edit e;

	edit_init(&e, &space);
	must(edit_update(&e, first, last, set_prot, &prot));
	must(edit_prepare(&e));
	edit_commit(&e);
}

/* ---- what is measured: `count` operations each ---- */

static uint64_t slot(void)
{
	return BASE + next53(&rng) % n * stride;
}

static void look_up(uint64_t count) REQUIRES(space.lock)
{
	struct map m;

	for (uint64_t i = 0; i < count; i++) {
		space_find(&space, slot() + 100, &m);
		sink += m.start;
	}
}

/* As space_find, and nothing else: what making the addresses costs. */
static void nothing(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		sink += slot();
}

/* All of one mapping gets rights that no neighbour has, and its own again. */
static void protect_whole(uint64_t count) REQUIRES(space.lock)
{
	for (uint64_t i = 0; i < count; i += 2) {
		uint64_t a = slot();
		uint8_t prot = (a - BASE) / stride & 1 ? 3 : 1;

		protect(a, a + 2 * PAGE - 1, 7);
		protect(a, a + 2 * PAGE - 1, prot);
	}
}

/* The same by the quick edit. */
static void protect_quick(uint64_t count) REQUIRES(space.lock)
{
	for (uint64_t i = 0; i < count; i += 2) {
		uint64_t a = slot();

		for (unsigned k = 0; k < 2; k++) {
			struct tree_spot spot;
			struct quick q;
			struct map m;

			if (!space_spot(&space, a, &spot))
				must(-1);
			m = *spot.at;
			m.prot ^= 4;
			must(quick_prepare(&q, &space, &spot, m.start, m.last, &m, false));
			quick_commit(&q);
		}
	}
}

/* Half of a mapping is split off, and merged again. */
static void protect_half(uint64_t count) REQUIRES(space.lock)
{
	for (uint64_t i = 0; i < count; i += 2) {
		uint64_t a = slot();
		uint8_t prot = (a - BASE) / stride & 1 ? 3 : 1;

		protect(a + PAGE, a + 2 * PAGE - 1, 7);
		protect(a + PAGE, a + 2 * PAGE - 1, prot);
	}
}

/* Placed by a search in the highest gap below all mappings; then unmapped. */
static void map_unmap(uint64_t count) REQUIRES(space.lock)
{
	uint64_t addr = 0;

	for (uint64_t i = 0; i < count; i++) {
		if (!tree_gap_down(&space.tree, 0, BASE - 1, 4 * PAGE, &addr))
			must(-1);
		map(addr, addr + 4 * PAGE - 1, 3);
		unmap(addr, addr + 4 * PAGE - 1);
	}
}

/* One mapping goes and comes back. */
static void unmap_map(uint64_t count) REQUIRES(space.lock)
{
	for (uint64_t i = 0; i < count; i++) {
		uint64_t a = slot();

		unmap(a, a + 2 * PAGE - 1);
		map(a, a + 2 * PAGE - 1, (a - BASE) / stride & 1 ? 3 : 1);
	}
}

/* All holes are too small but those below and above. */
static void gap(uint64_t count) REQUIRES(space.lock)
{
	uint64_t addr = 0, end = BASE + n * stride;

	for (uint64_t i = 0; i < count; i++) {
		uint64_t hi = slot() + stride;

		if (!tree_gap_down(&space.tree, 0, hi < end ? hi : end - 1, 64 * PAGE, &addr))
			must(-1);
		sink += addr;
	}
}

static void reserve_page(uint64_t count) REQUIRES(space.lock)
{
	for (uint64_t i = 0; i < count; i++) {
		map(UINT64_C(1) << 46, (UINT64_C(1) << 46) + PAGE - 1, 0);
		unmap(UINT64_C(1) << 46, (UINT64_C(1) << 46) + PAGE - 1);
	}
}

static void reserve_16_tib(uint64_t count) REQUIRES(space.lock)
{
	for (uint64_t i = 0; i < count; i++) {
		map(UINT64_C(1) << 46, (UINT64_C(1) << 46) + (UINT64_C(1) << 44) - 1, 0);
		unmap(UINT64_C(1) << 46, (UINT64_C(1) << 46) + (UINT64_C(1) << 44) - 1);
	}
}

static double measure(void (*fn)(uint64_t count), uint64_t count)
{
	double best = 1e18;

	for (int i = 0; i < ROUNDS; i++) {
		double start = now(), took;

		fn(count);
		took = (now() - start) / (double)count;
		best = took < best ? took : best;
	}
	return best;
}

static void one_size(uint64_t size, uint64_t hole) UNCHECKED_LOCKS
{
	uint64_t before;
	double start;

	n = size;
	stride = (2 + hole) * PAGE;
	must(space_init(&space, &counting, &rules, NULL, 0, (UINT64_C(1) << 47) - 1, PAGE));
	lock_take(&space.lock);
	start = now();
	for (uint64_t i = n; i-- > 0;)
		map(BASE + i * stride, BASE + i * stride + 2 * PAGE - 1, i & 1 ? 3 : 1);
	printf("%8" PRIu64 " %s  height %u  fill %4.0f", n, hole ? "holes   " : "adjacent",
	       space.tree.height, (now() - start) / (double)n);
	printf("  find %3.0f", measure(look_up, 1000000) - measure(nothing, 1000000));
	printf("  protect %3.0f  quick %3.0f  split+join %3.0f", measure(protect_whole, 200000),
	       measure(protect_quick, 200000), measure(protect_half, 200000));
	before = allocs;
	printf("  gap+map+unmap %3.0f", measure(map_unmap, 100000));
	printf(" (%.2f allocs)", (double)(allocs - before) / (100000.0 * ROUNDS));
	before = allocs;
	printf("  unmap+map %3.0f", measure(unmap_map, 100000));
	printf(" (%.2f allocs)", (double)(allocs - before) / (100000.0 * ROUNDS));
	printf("  gap %3.0f", measure(gap, 100000));
	printf("  page %3.0f  16TiB %3.0f\n", measure(reserve_page, 100000),
	       measure(reserve_16_tib, 100000));
	fflush(stdout);
	if (space_validate(&space))
		must(-1);
	lock_drop(&space.lock);
	space_fini(&space);
}

int main(int argc, char **argv)
{
	static const uint64_t sizes[] = {10, 1000, 30000, 1000000};

	must(object_create(&counting, OBJECT_ANON, NULL, &object));
	printf("ns each; \"protect\", \"quick\" and \"split+join\" are one edit each, the pairs "
	       "two\n");
	for (int i = 0; i < (argc > 1 ? argc - 1 : 4); i++) {
		uint64_t size = argc > 1 ? strtoull(argv[i + 1], NULL, 0) : sizes[i];

		if (size == 0 || size > 100000000) {
			fprintf(stderr, "space-speed: %s: from 1 to 100000000 mappings\n",
				argv[i + 1]);
			return 2;
		}
		one_size(size, 0);
		one_size(size, 1);
	}
	object_unref(object);
	return 0;
}
