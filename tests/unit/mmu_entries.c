// SPDX-License-Identifier: MIT
/*
 * mmu_entries.c: backends as tables of entries: each rule of entries.h, for every backend that has
 * entries over bytes of this process, and what the recording one does on demand.
 */
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mmu/backend.h"
#include "vmspace/mman.h"
#include "vmspace/vmspace.h"
#include "world.h"

#define R  VMS_PROT_READ
#define W  VMS_PROT_WRITE
#define X  VMS_PROT_EXEC
#define RW (R | W)

#define PAGES 64u
#define LAST  UINT64_MAX

static struct {
	struct test_world world;
	struct vms_mmu *mmu;
	uint64_t g; /* granule */
	char *mem;
} f;

/* ---- Backends ---- */

struct backend {
	const char *name;
	uint64_t page; /* the guest's; 0: the host's */
	bool record;
	enum record_loss loss;
};

static const struct backend backends[] = {
	{ "soft", 0 },
	{ "soft, pages of 1 KiB", 1024 },
	{ "soft, pages of 64 KiB", 65536 },
	{ "recording", 0, true },
	{ "recording, pages of 1 KiB", 1024, true },
	{ "recording, pages of 64 KiB", 65536, true },
};

static uint64_t host_page(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

static void open_mmu(const struct backend *b)
{
	struct vms_mmu_soft_params p = { .size = sizeof(p), .page_size = b->page };
	uint64_t page = b->page ? b->page : host_page();

	f.g = page < host_page() ? page : host_page();
	if (b->record)
		assert_ok(vms_mmu_record(&f.mmu));
	else
		assert_ok(vms_mmu_soft(&p, &f.mmu));
	assert_ok(entries_attach(f.mmu, 0, LAST, page));
}

static void shut_mmu(void)
{
	struct vms_mmu_counts n = { .size = sizeof(n) };

	assert_ok(f.mmu->entries->check(f.mmu));
	entries_detach(f.mmu);
	assert_ok(vms_mmu_counts(f.mmu, &n));
	assert_int_equal(n.entries, 0);
	vms_mmu_unref(f.mmu);
}

static int set_up(void **state)
{
	test_world_begin(&f.world);
	f.mem = aligned_alloc(65536, PAGES * 65536);
	open_mmu(*state);
	return 0;
}

static int tear_down(void **state)
{
	shut_mmu();
	free(f.mem);
	test_world_end(&f.world);
	return 0;
}

static char *host(unsigned page)
{
	return f.mem + page * f.g;
}

static int map(uint64_t addr, unsigned page, unsigned n, uint32_t rights,
	       enum entries_existing existing)
{
	struct entries_run run = { addr, n * f.g, host(page), -1, 0, rights, false };

	return entries_map(f.mmu, &run, existing);
}

/* n granules from addr on, in the closed range that entries_ops take. */
#define AT(addr, n) f.mmu, (addr), (addr) + ((n)*f.g - 1)

static void assert_entry(uint64_t addr, unsigned page, uint32_t want)
{
	const void *hva = NULL;
	uint32_t rights = 0;

	assert_ok(f.mmu->entries->query(f.mmu, addr, &hva, &rights));
	assert_ptr_equal(hva, host(page));
	assert_int_equal(rights, want);
}

static bool there(uint64_t addr)
{
	const void *hva;
	uint32_t rights;
	int err = f.mmu->entries->query(f.mmu, addr, &hva, &rights);

	assert_true(err == 0 || err == -ENOENT);
	return !err;
}

/* ---- Rules, for each backend ---- */

static void one_space_at_a_time(void **state)
{
	const struct backend *b = *state;

	assert_int_equal(entries_attach(f.mmu, 0, LAST, host_page()), -EBUSY);
	assert_ok(map(0, 1, 1, RW, ENTRIES_ERROR));
	entries_detach(f.mmu);
	assert_false(there(0));
	if (!b->record) {
		/* Its granule is settled. */
		assert_int_equal(entries_attach(f.mmu, 0, LAST, b->page == 1024 ? 4096 : 1024),
				 -EINVAL);
		assert_non_null(strstr(vms_last_error(), "entries of"));
	}
	assert_ok(entries_attach(f.mmu, 0, LAST, b->page ? b->page : host_page()));
	assert_false(there(0));
}

static void what_exists(void **state)
{
	uint64_t a = 100 * f.g;

	assert_ok(map(a, 3, 2, R, ENTRIES_ERROR));
	/* One of them is enough, and nothing is made. */
	assert_int_equal(map(a - f.g, 10, 3, RW, ENTRIES_ERROR), -EEXIST);
	assert_false(there(a - f.g));
	assert_entry(a, 3, R);
	assert_ok(map(a - f.g, 10, 4, RW, ENTRIES_SKIP));
	assert_entry(a - f.g, 10, RW);
	assert_entry(a, 3, R);
	assert_entry(a + f.g, 4, R);
	assert_entry(a + 2 * f.g, 13, RW);
	/* The same bytes: more rights win, fewer are ignored. Others replace. */
	assert_ok(map(a, 3, 1, RW, ENTRIES_UPGRADE));
	assert_entry(a, 3, RW);
	assert_ok(map(a, 3, 1, R, ENTRIES_UPGRADE));
	assert_entry(a, 3, RW);
	assert_ok(map(a, 20, 1, R, ENTRIES_UPGRADE));
	assert_entry(a, 20, R);
}

static void shared_frames_are_not_written(void **state)
{
	struct entries_run run = { 0, f.g, host(1), -1, 0, RW | X, true };

	assert_ok(entries_map(f.mmu, &run, ENTRIES_UPGRADE));
	assert_entry(0, 1, R | X);
	entries_protect(AT(0, 1), RW);
	assert_entry(0, 1, R);
}

static void what_goes(void **state)
{
	uint64_t end = LAST - 4 * f.g + 1;

	assert_ok(map(end, 0, 4, RW, ENTRIES_ERROR));
	assert_ok(map(0, 4, 4, RW, ENTRIES_ERROR));
	/* Holes are fine; the last granule of all is one like others. */
	entries_unmap(f.mmu, LAST - f.g + 1, LAST);
	assert_false(there(LAST - f.g + 1));
	assert_entry(LAST - 2 * f.g + 1, 2, RW);
	entries_unmap(AT(f.g, 2));
	entries_unmap(AT(f.g, 2));
	assert_entry(0, 4, RW);
	assert_false(there(f.g));
	assert_false(there(2 * f.g));
	assert_entry(3 * f.g, 7, RW);
	entries_unmap(f.mmu, 0, LAST);
	assert_false(there(0));
	assert_false(there(end));
	assert_ok(map(0, 4, 4, RW, ENTRIES_ERROR));
	entries_empty(f.mmu);
	assert_false(there(0));
}

static void rights_go(void **state)
{
	assert_ok(map(0, 0, 2, RW | X, ENTRIES_ERROR));
	assert_ok(map(2 * f.g, 2, 2, R, ENTRIES_ERROR));
	assert_ok(map(4 * f.g, 4, 1, W, ENTRIES_ERROR));
	entries_remove_write(AT(f.g, 4));
	assert_entry(0, 0, RW | X);
	assert_entry(f.g, 1, R | X);
	assert_entry(2 * f.g, 2, R);
	assert_false(there(4 * f.g));
	/* All but WRITE is given by protect; WRITE is for a fault to add. */
	entries_protect(AT(0, 3), RW);
	assert_entry(0, 0, RW);
	assert_entry(f.g, 1, R);
	assert_entry(2 * f.g, 2, R);
	assert_entry(3 * f.g, 3, R);
	entries_protect(AT(2 * f.g, 1), RW | X);
	assert_entry(2 * f.g, 2, R | X);
	entries_protect(AT(0, 2), 0);
	assert_false(there(0));
	assert_false(there(f.g));
	assert_entry(2 * f.g, 2, R | X);
}

static void a_run_has_an_end(void **state)
{
	uint64_t n = f.mmu->entries->max_run(f.mmu, 0);

	assert_in_range(n, f.g, UINT64_MAX);
	assert_int_equal(n % f.g, 0);
	assert_int_equal(f.mmu->entries->max_run(f.mmu, n - f.g), f.g);
	assert_int_equal(f.mmu->entries->max_run(f.mmu, LAST - f.g + 1), f.g);
	/* Longer ones can be mapped all the same. */
	assert_ok(map(n - f.g, 0, 3, RW, ENTRIES_ERROR));
	assert_entry(n - f.g, 0, RW);
	assert_entry(n + f.g, 2, RW);
	assert_int_equal(map(n - 2 * f.g, 8, 2, RW, ENTRIES_ERROR), -EEXIST);
	assert_false(there(n - 2 * f.g));
}

static void use_is_told_where_it_is_known(void **state)
{
	const struct backend *b = *state;
	uint64_t bits = 0;

	if (b->record) {
		assert_null(f.mmu->entries->harvest);
		return;
	}
	assert_ok(map(0, 0, 4, RW, ENTRIES_ERROR));
	assert_ok(f.mmu->entries->harvest(AT(0, 4), &bits));
	assert_int_equal(bits, 0); /* unit-soft has the rest */
}

static void no_memory(void **state)
{
	assert_ok(map(0, 0, 1, RW, ENTRIES_ERROR));
	for (uint64_t n = 1;; n++) {
		int err;

		test_world_fail(&f.world, n, 1u << CALL_ALLOC, ENOMEM);
		err = map(UINT64_C(1) << 60, 1, 3, RW, ENTRIES_ERROR);
		test_world_fail(&f.world, 0, 0, 0);
		if (!err) {
			assert_in_range(n, 2, 20);
			break;
		}
		assert_int_equal(err, -ENOMEM);
		assert_false(there(UINT64_C(1) << 60));
		assert_entry(0, 0, RW);
	}
	assert_entry(UINT64_C(1) << 60, 1, RW);
}

#define THREADS 3u
#define CALLS	2000u

static void *caller(void *arg)
{
	uint64_t addr = (uint64_t)(uintptr_t)arg << 40;

	for (unsigned i = 0; i < CALLS; i++) {
		map(addr, 1, 1, RW, ENTRIES_ERROR);
		map(addr, 1, 1, RW, ENTRIES_ERROR);
		entries_remove_write(AT(addr, 1));
		entries_protect(AT(addr, 1), RW);
		entries_unmap(AT(addr, 1));
	}
	return NULL;
}

/* Every call of every thread. */
static void calls_are_counted(void **state)
{
	struct vms_mmu_counts n = { .size = sizeof(n) };
	pthread_t thread[THREADS];

	/* So that threads allocate nothing: the test's world is for one. */
	for (unsigned i = 0; i < THREADS; i++)
		assert_ok(map(((uint64_t)i << 40) + f.g, 1, 1, R, ENTRIES_ERROR));
	for (unsigned i = 0; i < THREADS; i++)
		assert_ok(pthread_create(&thread[i], NULL, caller, (void *)(uintptr_t)i));
	for (unsigned i = 0; i < THREADS; i++)
		assert_ok(pthread_join(thread[i], NULL));
	entries_empty(f.mmu);
	assert_ok(map(0, 0, 3, RW, ENTRIES_ERROR));
	assert_ok(vms_mmu_counts(f.mmu, &n));
	assert_int_equal(n.map, 2 * THREADS * CALLS + THREADS + 1);
	assert_int_equal(n.failed, THREADS * CALLS);
	assert_int_equal(n.remove_write, THREADS * CALLS);
	assert_int_equal(n.protect, THREADS * CALLS);
	assert_int_equal(n.unmap, THREADS * CALLS + 1);
	assert_int_equal(n.entries, 3);
	assert_int_equal(n.shot + n.barriers + n.move + n.query, 0);
}

/* ---- What has no window, what has no entries ---- */

static void a_guest_needs_a_window(void **state)
{
	struct vms_mmu_soft_params p = { .size = sizeof(p) };
	struct vms_mm_policy policy = { .size = sizeof(policy) };
	struct vms_mm *mm;
	struct vms_mmu *mmu;

	assert_ok(vms_mm_policy_host(&policy));
	assert_ok(vms_mmu_soft(&p, &mmu));
	assert_int_equal(vms_mm_create(&policy, mmu, &mm), -ENOTSUP);
	assert_non_null(strstr(vms_last_error(), "window"));
	assert_null(vms_mmu_host_addr(mmu, 0));
	vms_mmu_unref(mmu);
}

static void params_of_soft(void **state)
{
	struct vms_mmu_soft_params p = { .size = sizeof(p) - 1 };
	struct vms_mmu *mmu;

	assert_int_equal(vms_mmu_soft(NULL, &mmu), -EINVAL);
	assert_int_equal(vms_mmu_soft(&p, &mmu), -EINVAL);
	p.size = sizeof(p);
	p.flags = 1;
	assert_int_equal(vms_mmu_soft(&p, &mmu), -EINVAL);
	p.flags = 0;
	for (unsigned i = 0; i < 4; i++) {
		p.page_size = (uint64_t[]){ 512, 1025, 131072, UINT64_MAX }[i];
		assert_int_equal(vms_mmu_soft(&p, &mmu), -EINVAL);
	}
	p.page_size = 0;
	for (uint64_t n = 1; n <= 2; n++) {
		test_world_fail(&f.world, n, 1u << CALL_ALLOC, ENOMEM);
		assert_int_equal(vms_mmu_soft(&p, &mmu), -ENOMEM);
	}
	test_world_fail(&f.world, 0, 0, 0);
}

static void zero_page(void **state)
{
	const char *zero = mmu_zero_page();

	assert_int_equal((uintptr_t)zero % host_page(), 0);
	for (uint64_t i = 0; i < host_page(); i++)
		assert_int_equal(zero[i], 0);
	assert_ptr_equal(zero, mmu_zero_page());
}

/* ---- The recording backend, on demand ---- */

static void calls_are_kept(void **state)
{
	struct record_call c;

	assert_ok(map(f.g, 1, 2, R | X, ENTRIES_SKIP));
	assert_int_equal(map(f.g, 1, 2, R, ENTRIES_ERROR), -EEXIST);
	entries_remove_write(AT(f.g, 2));
	entries_protect(AT(2 * f.g, 1), X);
	entries_unmap(AT(f.g, 1));
	entries_empty(f.mmu);
	assert_true(record_last(f.mmu, 0, &c));
	assert_int_equal(c.kind, RECORD_EMPTY);
	assert_true(record_last(f.mmu, 1, &c));
	assert_int_equal(c.kind, RECORD_UNMAP);
	assert_int_equal(c.addr, f.g);
	assert_int_equal(c.len, f.g);
	assert_true(record_last(f.mmu, 2, &c));
	assert_int_equal(c.kind, RECORD_PROTECT);
	assert_int_equal(c.addr, 2 * f.g);
	assert_int_equal(c.prot, X);
	assert_true(record_last(f.mmu, 3, &c));
	assert_int_equal(c.kind, RECORD_REMOVE_WRITE);
	assert_int_equal(c.len, 2 * f.g);
	assert_true(record_last(f.mmu, 4, &c));
	assert_int_equal(c.result, -EEXIST);
	assert_true(record_last(f.mmu, 5, &c));
	assert_int_equal(c.kind, RECORD_MAP);
	assert_int_equal(c.result, 0);
	assert_int_equal(c.prot, R | X);
	assert_int_equal(c.flags, ENTRIES_SKIP);
	assert_false(record_last(f.mmu, 6, &c));
}

static void the_nth_map_fails_once(void **state)
{
	vms_mmu_record_fail(f.mmu, 3, ENOMEM);
	assert_ok(map(0, 0, 1, R, ENTRIES_ERROR));
	entries_unmap(AT(0, 1));
	entries_remove_write(AT(0, 1));
	assert_ok(map(0, 0, 1, R, ENTRIES_ERROR));
	assert_int_equal(map(f.g, 0, 1, R, ENTRIES_ERROR), -ENOMEM);
	assert_false(there(f.g));
	assert_entry(0, 0, R);
	assert_ok(map(f.g, 0, 1, R, ENTRIES_ERROR));
}

/* 12 granules of RW, in blocks of four, from granule 0 on; the middle block is half asked for. */
static void fill(enum record_loss loss)
{
	record_lose(f.mmu, RECORD_LOSE_NOTHING, 0);
	entries_empty(f.mmu);
	assert_ok(map(0, 0, 12, RW, ENTRIES_ERROR));
	assert_ok(map(1000 * f.g, 12, 1, RW, ENTRIES_ERROR));
	record_lose(f.mmu, loss, 4 * f.g);
}

/* One letter a granule: w RW, r R, x X, - none. */
static void assert_row(const char *want)
{
	char got[13] = { 0 };

	for (unsigned i = 0; i < 12; i++) {
		const void *hva;
		uint32_t rights = 0;

		f.mmu->entries->query(f.mmu, i * f.g, &hva, &rights);
		got[i] = rights == RW  ? 'w'
			 : rights == R ? 'r'
			 : rights == X ? 'x'
			 : rights      ? '?'
				       : '-';
	}
	assert_string_equal(got, want);
}

enum taking { UNMAP, REMOVE_WRITE, PROTECT };

static void take(enum taking how, uint64_t first, uint64_t n, uint32_t rights)
{
	if (how == UNMAP)
		entries_unmap(AT(first * f.g, n));
	else if (how == REMOVE_WRITE)
		entries_remove_write(AT(first * f.g, n));
	else
		entries_protect(AT(first * f.g, n), rights);
}

static void more_is_lost_than_asked(void **state)
{
	static const struct {
		enum record_loss loss;
		enum taking how; /* PROTECT: to X */
		unsigned first, n;
		const char *want;
	} row[] = {
		{ RECORD_LOSE_BLOCKS, UNMAP, 5, 2, "wwww----wwww" },
		{ RECORD_LOSE_BLOCKS, REMOVE_WRITE, 3, 2, "rrrrrrrrwwww" },
		{ RECORD_LOSE_BLOCKS, PROTECT, 3, 2, "---xx---wwww" },
		{ RECORD_LOSE_SPLIT, UNMAP, 5, 2, "wwww----wwww" },
		{ RECORD_LOSE_SPLIT, REMOVE_WRITE, 5, 2, "wwww----wwww" },
		{ RECORD_LOSE_SPLIT, REMOVE_WRITE, 3, 6, "----rrrr----" },
		{ RECORD_LOSE_SPLIT, REMOVE_WRITE, 4, 4, "wwwwrrrrwwww" }, /* no split */
		{ RECORD_LOSE_SPLIT, PROTECT, 3, 5, "----xxxxwwww" },
		{ RECORD_LOSE_SPLIT, PROTECT, 4, 5, "wwwwxxxx----" },
		{ RECORD_LOSE_SPLIT, PROTECT, 3, 2, "--------wwww" },
	};

	for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		fill(row[i].loss);
		take(row[i].how, row[i].first, row[i].n, X);
		assert_row(row[i].want);
	}
	assert_true(there(1000 * f.g));
	fill(RECORD_LOSE_BLOCKS);
	vms_mmu_record_fail(f.mmu, 1, ENOMEM);
	assert_int_equal(map(6 * f.g, 0, 1, RW, ENTRIES_SKIP), -ENOMEM);
	assert_row("wwww----wwww");

	for (enum taking how = UNMAP; how <= PROTECT; how++) {
		fill(RECORD_LOSE_ALL);
		take(how, 5, 1, R);
		assert_row("------------");
		assert_false(there(1000 * f.g));
	}
	record_lose(f.mmu, RECORD_LOSE_NOTHING, 0);
}

static void blocks_end_with_the_space(void **state)
{
	entries_detach(f.mmu);
	assert_ok(entries_attach(f.mmu, 2 * f.g, 9 * f.g - 1, f.g));
	assert_ok(map(2 * f.g, 0, 7, RW, ENTRIES_ERROR));
	record_lose(f.mmu, RECORD_LOSE_BLOCKS, 4 * f.g);
	entries_unmap(AT(3 * f.g, 1));
	entries_unmap(AT(8 * f.g, 1));
	assert_row("----wwww----");
	record_lose(f.mmu, RECORD_LOSE_BLOCKS, UINT64_C(1) << 63);
	entries_protect(AT(5 * f.g, 1), R);
	assert_row("-----r------");
}

static void eager_on_demand(void **state)
{
	assert_int_equal(f.mmu->entries->caps, 0);
	record_eager(f.mmu);
	assert_int_equal(f.mmu->entries->caps, ENTRIES_EAGER);
	assert_int_not_equal(f.mmu->entries->stretch, 0);
	assert_ok(map(0, 0, 1, RW, ENTRIES_ERROR));
	vms_mmu_record_fail(f.mmu, 1, ENOMEM);
	assert_int_equal(map(f.g, 0, 1, RW, ENTRIES_ERROR), -ENOMEM);
}

/* ---- The table ---- */

struct rule {
	const char *name;
	CMUnitTestFunction run;
};

int main(void)
{
#define RULE(name)          \
	{                   \
#name, name \
	}
	static const struct rule rules[] = {
		RULE(one_space_at_a_time),
		RULE(what_exists),
		RULE(shared_frames_are_not_written),
		RULE(what_goes),
		RULE(rights_go),
		RULE(a_run_has_an_end),
		RULE(use_is_told_where_it_is_known),
		RULE(no_memory),
		RULE(calls_are_counted),
	};
	static const struct rule once[] = {
		RULE(a_guest_needs_a_window),
		RULE(params_of_soft),
		RULE(zero_page),
		RULE(calls_are_kept),
		RULE(the_nth_map_fails_once),
		RULE(more_is_lost_than_asked),
		RULE(blocks_end_with_the_space),
		RULE(eager_on_demand),
	};
	enum {
		BACKENDS = sizeof(backends) / sizeof(backends[0]),
		RULES = sizeof(rules) / sizeof(rules[0]),
		ONCE = sizeof(once) / sizeof(once[0]),
	};
	static char names[BACKENDS * RULES][80];
	static struct CMUnitTest tests[BACKENDS * RULES + ONCE];
	unsigned n = 0;

	for (unsigned b = 0; b < BACKENDS; b++) {
		for (unsigned i = 0; i < RULES; i++, n++) {
			snprintf(names[n], sizeof(names[n]), "%s (%s)", rules[i].name,
				 backends[b].name);
			tests[n] = (struct CMUnitTest){ names[n], rules[i].run, set_up, tear_down,
							(void *)(uintptr_t)&backends[b] };
		}
	}
	for (unsigned i = 0; i < ONCE; i++, n++)
		tests[n] = (struct CMUnitTest){ once[i].name, once[i].run, set_up, tear_down,
						(void *)(uintptr_t)&backends[3] };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
