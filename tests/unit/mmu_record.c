// SPDX-License-Identifier: MIT
/* The recording backend, and the counters that all backends share. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "mmu/backend.h"
#include "world.h"

struct stage {
	struct test_world tw;
	struct vms_mmu *mmu;
};

static int begin(void **state)
{
	struct stage *s = calloc(1, sizeof(*s));

	test_world_begin(&s->tw);
	assert_ok(vms_mmu_record(&s->mmu));
	*state = s;
	return 0;
}

static int end(void **state)
{
	struct stage *s = *state;

	vms_mmu_unref(s->mmu);
	test_world_end(&s->tw);
	free(s);
	return 0;
}

static void calls_are_kept(void **state)
{
	struct vms_mmu *mmu = ((struct stage *)*state)->mmu;
	struct backend_map m = { .addr = 0x1000, .len = 0x2000, .prot = 3, .flags = 0x42,
				 .fd = 9, .off = 0x7000 };
	struct record_call c;
	unsigned char vec[1];

	assert_false(record_last(mmu, 0, &c));
	assert_ok(backend_map(mmu, &m));
	assert_true(record_last(mmu, 0, &c));
	assert_false(record_last(mmu, 1, &c));
	assert_int_equal(c.kind, RECORD_MAP);
	assert_int_equal(c.addr, 0x1000);
	assert_int_equal(c.len, 0x2000);
	assert_int_equal(c.prot, 3);
	assert_int_equal(c.flags, 0x42);
	assert_int_equal(c.fd, 9);
	assert_int_equal(c.off, 0x7000);
	assert_ok(backend_unmap(mmu, 0x1000, 0x1000));
	assert_ok(backend_protect(mmu, 0x1000, 0x1000, 5));
	assert_ok(backend_move(mmu, 0x1000, 0x1000, 0x8000, 0x3000, 4));
	assert_ok(backend_advise(mmu, 0x1000, 0x1000, 12));
	assert_ok(backend_lock(mmu, 0x1000, 0x1000, 2));
	assert_ok(backend_sync(mmu, 0x1000, 0x1000, 4));
	assert_ok(backend_residency(mmu, 0x1000, 0x1000, vec));
	assert_int_equal(backend_grown(mmu, 0x5000, 0), 0x5000);
	for (unsigned i = 0; i < 8; i++) {
		assert_true(record_last(mmu, i, &c));
		assert_int_equal(c.kind, RECORD_RESIDENCY - i);
		assert_int_equal(c.addr, 0x1000);
		assert_int_equal(c.result, 0);
	}
	assert_true(record_last(mmu, 4, &c));
	assert_int_equal(c.new_addr, 0x8000);
	assert_int_equal(c.new_len, 0x3000);
	assert_int_equal(c.flags, 4);
}

static void the_ring_forgets(void **state)
{
	struct vms_mmu *mmu = ((struct stage *)*state)->mmu;
	struct record_call c;

	for (uint64_t i = 0; i < 3 * RECORD_KEPT + 5; i++)
		assert_ok(backend_unmap(mmu, i << 12, 0x1000));
	for (uint64_t i = 0; i < RECORD_KEPT; i++) {
		assert_true(record_last(mmu, (unsigned)i, &c));
		assert_int_equal(c.addr, (3 * RECORD_KEPT + 4 - i) << 12);
	}
	assert_false(record_last(mmu, RECORD_KEPT, &c));
}

static void calls_are_counted(void **state)
{
	struct vms_mmu *mmu = ((struct stage *)*state)->mmu;
	struct vms_mmu_counts n = { .size = sizeof(n) };
	unsigned char vec[1];

	for (int i = 0; i < 2; i++)
		assert_ok(backend_unmap(mmu, 0x1000, 0x1000));
	assert_ok(backend_residency(mmu, 0x1000, 0x1000, vec));
	backend_grown(mmu, 0x1000, 0);
	vms_mmu_record_fail(mmu, 1, ENOMEM);
	assert_int_equal(backend_protect(mmu, 0x1000, 0x1000, 1), -ENOMEM);
	assert_ok(vms_mmu_counts(mmu, &n));
	assert_int_equal(n.size, sizeof(n));
	assert_int_equal(n.map, 0);
	assert_int_equal(n.unmap, 2);
	assert_int_equal(n.protect, 1);
	assert_int_equal(n.query, 2);
	assert_int_equal(n.failed, 1);
	/* A program of 0.1 has a shorter struct: nothing behind it is touched. */
	n = (struct vms_mmu_counts){ .size = offsetof(struct vms_mmu_counts, remove_write),
				     .remove_write = 77,
				     .barriers = 78 };
	assert_ok(vms_mmu_counts(mmu, &n));
	assert_int_equal(n.unmap, 2);
	assert_int_equal(n.failed, 1);
	assert_int_equal(n.remove_write, 77);
	assert_int_equal(n.barriers, 78);
	n.size--;
	assert_int_equal(vms_mmu_counts(mmu, &n), -EINVAL);
}

static void the_nth_call_fails_once(void **state)
{
	struct vms_mmu *mmu = ((struct stage *)*state)->mmu;
	struct record_call c;

	vms_mmu_record_fail(mmu, 3, EAGAIN);
	assert_ok(backend_unmap(mmu, 0x1000, 0x1000));
	assert_ok(backend_lock(mmu, 0x1000, 0x1000, 1));
	assert_int_equal(backend_move(mmu, 0x1000, 1, 0x2000, 1, 0), -EAGAIN);
	assert_true(record_last(mmu, 0, &c));
	assert_int_equal(c.result, -EAGAIN);
	assert_ok(backend_move(mmu, 0x1000, 1, 0x2000, 1, 0));
	vms_mmu_record_fail(mmu, 1, EAGAIN);
	vms_mmu_record_fail(mmu, 0, 0);
	assert_ok(backend_unmap(mmu, 0x1000, 0x1000));
}

static void references(void **state)
{
	struct stage *s = *state;

	assert_null(vms_mmu_ref(NULL));
	vms_mmu_unref(NULL);
	assert_ptr_equal(vms_mmu_ref(s->mmu), s->mmu);
	vms_mmu_unref(s->mmu);
	assert_ok(backend_unmap(s->mmu, 0x1000, 0x1000)); /* still there */
	assert_null(vms_mmu_host_addr(s->mmu, 0x1000));
}

static void no_memory(void **state)
{
	struct stage *s = *state;
	struct vms_mmu *other = NULL;

	test_world_fail(&s->tw, 1, 1u << CALL_ALLOC, ENOMEM);
	assert_int_equal(vms_mmu_record(&other), -ENOMEM);
	assert_null(other);
	assert_non_null(strstr(vms_last_error(), "memory"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, begin, end)
		T(calls_are_kept), T(the_ring_forgets), T(calls_are_counted),
		T(the_nth_call_fails_once), T(references), T(no_memory),
	};

	return cmocka_run_group_tests_name("mmu-record", tests, NULL, NULL);
}
