// SPDX-License-Identifier: MIT
/*
 * What is no memory call fails once at each allocation and host call, too: making an address space,
 * entering a foreign region, opening the fork bracket, growing at a fault, looking. What failed has
 * changed nothing, and nothing is lost at the end.
 */
#include <errno.h>
#include <string.h>

#include "mman_guest.h"

static struct guest g;
static char before[4096];

static void start(void *arg)
{
	guest_make(&g, *(const enum guest_kind *)arg, 0);
	map(&g, 0, 4, RW);
	map_as(&g, 1000, 4, RW, ANY | MAP_GROWSDOWN, -1, 0);
	for (int64_t page = 10; page < 30; page += 2) {
		map(&g, page, 1, RW);
		says(vms_madvise(g.mm, at(&g, page), g.page,
				 page % 4 ? MADV_DONTFORK : MADV_WIPEONFORK),
		     0);
		vms_madvise(g.mm, at(&g, page), g.page, GUARD_INSTALL);
	}
	strcpy(before, picture(&g));
}

static void stop(void *arg)
{
	guest_drop(&g);
}

/* An error, and all is as before; or success, as without the failure. */
static void same_or_done(void *arg, int result, bool failed)
{
	if (result != 0) {
		assert_true(failed);
		assert_string_equal(picture(&g), before);
	}
	assert_ok(vms_mm_check(g.mm));
}

static void each_kind(enum guest_kind first, int (*run)(void *arg),
		      void (*check)(void *arg, int result, bool failed))
{
	for (enum guest_kind kind = first; kind <= GUEST_WINDOW; kind++) {
		const struct sweep s = {.world = &g.world,
					.set_up = start,
					.run = run,
					.check = check,
					.tear_down = stop,
					.arg = &kind};

		sweep(&s);
	}
}

static int run_foreign(void *arg)
{
	return vms_mm_foreign(g.mm, at(&g, 50), g.page, R, VMS_MM_FOREIGN_WHOLE, "[vdso]");
}

static void test_foreign(void **state)
{
	each_kind(GUEST_RECORD, run_foreign, same_or_done);
}

/* Only the host can refuse: the nodes are there. A growth that fails is a fault that nothing
 * resolves. */
static int run_growth(void *arg)
{
	return vms_mm_fault(g.mm, at(&g, 900), VMS_PROT_READ) == VMS_MM_FAULT_NONE ? 0 : -ENOMEM;
}

static void test_growth(void **state)
{
	each_kind(GUEST_HOLES, run_growth, same_or_done);
}

static int run_fork(void *arg)
{
	int err = vms_mm_fork_begin(g.mm);

	if (!err)
		vms_mm_fork_parent(g.mm);
	return err;
}

/* Whatever came of it, the bracket is shut and calls go on. */
static void after_fork(void *arg, int result, bool failed)
{
	same_or_done(arg, result, failed);
	assert_string_equal(picture(&g), before);
	assert_ok(vms_munmap(g.mm, at(&g, 0), g.page));
}

static void test_fork(void **state)
{
	each_kind(GUEST_RECORD, run_fork, after_fork);
}

/* ---- making one ---- */

static struct vms_mm *made;

static void before_create(void *arg)
{
	guest_make(&g, *(const enum guest_kind *)arg, 0);
	vms_mm_destroy(g.mm);
	g.mm = made = NULL;
}

static int run_create(void *arg)
{
	return vms_mm_create(&g.pol, g.mmu, &made);
}

static void check_create(void *arg, int result, bool failed)
{
	assert_int_equal(result, failed ? -ENOMEM : 0);
	if (failed) {
		assert_null(made);
		assert_true(vms_last_error()[0] != '\0');
	}
}

static void after_create(void *arg)
{
	vms_mm_destroy(made);
	vms_mmu_unref(g.mmu);
	test_world_end(&g.world);
}

static void test_create(void **state)
{
	for (enum guest_kind kind = GUEST_RECORD; kind <= GUEST_WINDOW; kind++) {
		const struct sweep s = {.world = &g.world,
					.set_up = before_create,
					.run = run_create,
					.check = check_create,
					.tear_down = after_create,
					.arg = &kind};

		sweep(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create),
		cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_growth),
		cmocka_unit_test(test_fork),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
