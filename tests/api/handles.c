// SPDX-License-Identifier: MIT
/*
 * The shared library as its users have it: handles live and die, and every refusal has its errno
 * and a sentence.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmspace/mman.h>

#include "check.h"

#define GiB (UINT64_C(1) << 30)

static const struct vms_mmu_host_params good_window = {
	.size = sizeof(struct vms_mmu_host_params),
	.lo = 0,
	.hi = GiB,
};

/* The call fails with this errno, and says a sentence of its own that names what is wrong. */
#define assert_refused(call, err, word)                                                            \
	do {                                                                                       \
		/* Another sentence must stand there first. */                                     \
		assert_int_equal(vms_mmu_host(NULL, NULL), -EINVAL);                               \
		char *before = strdup(vms_last_error());                                           \
		assert_int_equal((call), -(err));                                                  \
		assert_string_not_equal(vms_last_error(), before);                                 \
		assert_non_null(strstr(vms_last_error(), word));                                   \
		free(before);                                                                      \
	} while (0)

static void the_library_is_the_header(void **state)
{
	assert_string_equal(vms_version(), VMS_VERSION);
	assert_string_equal(vms_last_error(), ""); /* nothing has failed yet */
}

static void backends_are_counted(void **state)
{
	struct vms_mmu *mmu;

	assert_ok(vms_mmu_host(&good_window, &mmu));
	assert_ptr_equal(vms_mmu_ref(mmu), mmu);
	vms_mmu_unref(mmu);
	assert_non_null(vms_mmu_host_addr(mmu, 0));
	assert_non_null(vms_mmu_host_addr(mmu, GiB - 1));
	assert_null(vms_mmu_host_addr(mmu, GiB));
	vms_mmu_unref(mmu);
	assert_ok(vms_mmu_record(&mmu));
	assert_null(vms_mmu_host_addr(mmu, 0));
	vms_mmu_unref(mmu);
	assert_null(vms_mmu_ref(NULL));
	vms_mmu_unref(NULL);
}

static void bad_windows_are_refused(void **state)
{
	struct {
		struct vms_mmu_host_params p;
		char more[8];
	} longer = { good_window, "" };
	struct vms_mmu_host_params p;
	struct vms_mmu *mmu = NULL;

	p = good_window, p.size = offsetof(struct vms_mmu_host_params, budget) - 1;
	assert_refused(vms_mmu_host(&p, &mmu), EINVAL, "bytes");
	/* A program of before 0.3 knows no budget. */
	p = good_window, p.size = offsetof(struct vms_mmu_host_params, budget), p.budget = 1;
	assert_ok(vms_mmu_host(&p, &mmu));
	vms_mmu_unref(mmu);
	mmu = NULL;
	p = good_window, p.budget = 15;
	assert_refused(vms_mmu_host(&p, &mmu), EINVAL, "budget");
	p = good_window, p.flags = 0x80;
	assert_refused(vms_mmu_host(&p, &mmu), EINVAL, "0x80");
	p = good_window, p.lo = p.hi;
	assert_refused(vms_mmu_host(&p, &mmu), EINVAL, "empty");
	p = good_window, p.lo = p.hi + 4096;
	assert_refused(vms_mmu_host(&p, &mmu), EINVAL, "empty");
	p = good_window, p.lo = 1;
	assert_refused(vms_mmu_host(&p, &mmu), EINVAL, "whole pages");
	p = good_window, p.hi--;
	assert_refused(vms_mmu_host(&p, &mmu), EINVAL, "whole pages");
	p = good_window, p.page_size = 3 * 4096;
	assert_refused(vms_mmu_host(&p, &mmu), EINVAL, "12288");
	p = good_window, p.page_size = 512;
	assert_refused(vms_mmu_host(&p, &mmu), EINVAL, "512");
	p = good_window, p.hi = UINT64_C(1) << 60;
	assert_refused(vms_mmu_host(&p, &mmu), ENOMEM, "reserve");
	p = good_window, p.hi = -(uint64_t)4096;
	assert_refused(vms_mmu_host(&p, &mmu), ENOMEM, "reserve");
	assert_null(mmu);
	/* A caller of a later release: fine as long as it asks for nothing that we lack. */
	longer.p.size = sizeof(longer);
	assert_ok(vms_mmu_host(&longer.p, &mmu));
	vms_mmu_unref(mmu);
	longer.more[7] = 1;
	assert_refused(vms_mmu_host(&longer.p, &mmu), EINVAL, "lacks");
}

static void counts_know_their_size(void **state)
{
	struct vms_mmu_counts n = { .size = sizeof(n) };
	struct vms_mmu *mmu;

	assert_ok(vms_mmu_record(&mmu));
	assert_ok(vms_mmu_counts(mmu, &n));
	assert_int_equal(n.map, 0);
	n.size = 8;
	assert_refused(vms_mmu_counts(mmu, &n), EINVAL, "8 bytes");
	vms_mmu_unref(mmu);
}

static struct vms_mm_policy small_policy(void)
{
	struct vms_mm_policy p;

	assert_ok(vms_mm_policy_host(&p));
	p.task_size = GiB;
	p.mmap_base = GiB / 2;
	return p;
}

static void a_guest_lives_and_dies(void **state)
{
	struct vms_mm_policy policy = small_policy();
	struct vms_mm_info info = { .size = sizeof(info) };
	struct vms_mmu *mmu;
	struct vms_mm *mm;
	int64_t addr;
	char *p;

	assert_ok(vms_mmu_host(&good_window, &mmu));
	assert_ok(vms_mm_create(&policy, mmu, &mm));
	vms_mmu_unref(mmu); /* the mm has its own reference */
	addr = vms_mmap(mm, 0, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			0);
	assert_true(addr > 0);
	p = vms_mmu_host_addr(mmu, (uint64_t)addr);
	memset(p, 1, 3 * 4096);
	assert_ok(vms_mprotect(mm, (uint64_t)addr, 4096, PROT_READ));
	assert_ok(vms_mm_info(mm, &info));
	assert_int_equal(info.regions, 2);
	assert_int_equal(info.total, 3 * 4096);
	assert_ok(vms_mm_check(mm));
	vms_mm_destroy(mm);
	vms_mm_destroy(NULL);
}

static void bad_policies_are_refused(void **state)
{
	struct vms_mm_policy good = small_policy(), p;
	struct vms_mm *mm = NULL;
	struct vms_mmu *mmu;

	assert_ok(vms_mmu_record(&mmu));
	p = good, p.size--;
	assert_refused(vms_mm_create(&p, mmu, &mm), EINVAL, "size");
	p = good, p.flags |= 0x40000000;
	assert_refused(vms_mm_create(&p, mmu, &mm), EINVAL, "0x40000000");
	p = good, p.page_size = 12288;
	assert_refused(vms_mm_create(&p, mmu, &mm), EINVAL, "12288");
	p = good, p.page_size = 2048;
	assert_refused(vms_mm_create(&p, mmu, &mm), EINVAL, "2048");
	p = good, p.mmap_base++;
	assert_refused(vms_mm_create(&p, mmu, &mm), EINVAL, "multiple");
	p = good, p.mmap_base = p.task_size + 4096;
	assert_refused(vms_mm_create(&p, mmu, &mm), EINVAL, "cross");
	assert_refused(vms_mm_create(&good, NULL, &mm), EINVAL, "backend");
	assert_refused(vms_mm_create(NULL, mmu, &mm), EINVAL, "size");
	assert_null(mm);
	vms_mmu_unref(mmu);
}

static void an_owner_is_told_what_is_wrong(void **state)
{
	struct vms_mm_policy policy = small_policy();
	struct vms_mm_region region = { .size = 8 };
	struct vms_mm_info info = { .size = 8 };
	struct vms_mm_limit backwards = { .soft = 2, .hard = 1 };
	uint64_t cursor = 0;
	struct vms_mmu *mmu;
	struct vms_mm *mm;

	assert_ok(vms_mmu_record(&mmu));
	assert_ok(vms_mm_create(&policy, mmu, &mm));
	assert_ok(vms_mm_foreign(mm, 0x100000, 0x2000, PROT_READ, 0, "[vvar]"));
	assert_refused(vms_mm_foreign(mm, 0x101000, 0x2000, PROT_READ, 0, NULL), EEXIST,
		       "0x100000");
	assert_refused(vms_mm_foreign(mm, 0x100001, 0x2000, PROT_READ, 0, NULL), EINVAL,
		       "unaligned");
	assert_refused(vms_mm_foreign(mm, GiB, 0x2000, PROT_READ, 0, NULL), EINVAL, "outside");
	assert_refused(vms_mm_foreign(mm, 0x200000, 0x2000, PROT_READ, 0x80, NULL), EINVAL,
		       "0x80");
	assert_refused(vms_mm_set_brk(mm, GiB), EINVAL, "outside");
	assert_refused(vms_mm_set_stack(mm, GiB), EINVAL, "outside");
	assert_refused(vms_mm_set_limit(mm, VMS_MM_LIMITS, backwards), EINVAL, "limit");
	assert_refused(vms_mm_set_limit(mm, VMS_MM_LIMIT_AS, backwards), EINVAL, "limit");
	assert_int_equal(vms_mm_next(mm, &cursor, &region), -EINVAL);
	assert_int_equal(vms_mm_info(mm, &info), -EINVAL);
	region.size = sizeof(region);
	assert_ok(vms_mm_next(mm, &cursor, &region));
	assert_string_equal(region.name, "[vvar]");
	assert_int_equal(vms_mm_next(mm, &cursor, &region), -ENOENT);
	vms_mm_destroy(mm);
	vms_mmu_unref(mmu);
}

/* Guests ask for anything. They get an errno, and no sentence. */
static void guests_set_no_sentence(void **state)
{
	struct vms_mm_policy policy = small_policy();
	struct vms_mmu *mmu;
	struct vms_mm *mm;
	char *before;

	assert_ok(vms_mmu_record(&mmu));
	assert_ok(vms_mm_create(&policy, mmu, &mm));
	assert_int_equal(vms_mmu_host(NULL, NULL), -EINVAL);
	before = strdup(vms_last_error());
	assert_int_equal(vms_munmap(mm, 1, 1), -EINVAL);
	assert_int_equal(vms_mmap(mm, 0, 0, 0, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), -EINVAL);
	assert_int_equal(vms_mmap(mm, 0, 4096, 0, MAP_PRIVATE, -1, 0), -EBADF);
	assert_int_equal(vms_mprotect(mm, 0x5000, 4096, PROT_READ), -ENOMEM);
	assert_int_equal(vms_mremap(mm, 0x5000, 4096, 8192, 0, 0), -EFAULT);
	assert_string_equal(vms_last_error(), before);
	free(before);
	vms_mm_destroy(mm);
	vms_mmu_unref(mmu);
}

/* The guest's addresses are wider than the window: it is told so, and we live. */
static void a_window_may_be_too_narrow(void **state)
{
	struct vms_mm_policy policy = small_policy();
	struct vms_mmu_host_params narrow = good_window;
	struct vms_mmu *mmu;
	struct vms_mm *mm;
	uint64_t addr = 0x40000000 - 0x100000;

	narrow.hi = 0x100000;
	assert_ok(vms_mmu_host(&narrow, &mmu));
	assert_ok(vms_mm_create(&policy, mmu, &mm));
	assert_int_equal(vms_mmap(mm, addr, 4096, PROT_READ,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
			 -ENOMEM);
	assert_int_equal(vms_mmap(mm, 0x20000, 4096, PROT_READ,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
			 0x20000);
	assert_ok(vms_munmap(mm, 0x10000, policy.task_size - 0x10000));
	assert_ok(vms_mm_check(mm));
	vms_mm_destroy(mm);
	vms_mmu_unref(mmu);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_library_is_the_header),
		cmocka_unit_test(backends_are_counted),
		cmocka_unit_test(bad_windows_are_refused),
		cmocka_unit_test(counts_know_their_size),
		cmocka_unit_test(a_guest_lives_and_dies),
		cmocka_unit_test(bad_policies_are_refused),
		cmocka_unit_test(an_owner_is_told_what_is_wrong),
		cmocka_unit_test(guests_set_no_sentence),
		cmocka_unit_test(a_window_may_be_too_narrow),
	};

	return cmocka_run_group_tests_name("handles", tests, NULL, NULL);
}
