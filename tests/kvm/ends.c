// SPDX-License-Identifier: MIT
/*
 * ends.c: what a machine still shows when an edit could neither go on nor back, and what it says to
 * somebody who clears the log on his own.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

#include "fake.h"
#include "vmspace/kvm.h"

#define P UINT64_C(4096)

static struct fake_kvm machine;
static struct vms_memory *mem;
static struct vms_kvm *kvm;
static unsigned released;

static int set_up(void **state)
{
	struct vms_memory_params p = { .size = sizeof(p) };
	struct vms_kvm_params kp = { .size = sizeof(kp) };

	fake_begin(&machine);
	assert_ok(vms_memory_create(&p, &mem));
	assert_ok(vms_kvm_attach(mem, FAKE_VM, &kp, &kvm));
	return 0;
}

static int tear_down(void **state)
{
	vms_kvm_detach(kvm);
	vms_memory_unref(mem);
	fake_end(&machine);
	return 0;
}

static void count_release(void *arg)
{
	released++;
}

static unsigned char *pages(void)
{
	static unsigned char memory[9 * 4096];

	return (void *)(((uintptr_t)memory + P - 1) & ~(P - 1));
}

static struct vms_edit *edit(void)
{
	struct vms_edit *e = NULL;

	assert_ok(vms_edit_begin(mem, &e));
	return e;
}

static void map(struct vms_edit *e, uint64_t page, uint64_t n)
{
	assert_ok(vms_slot_map_host(e, page * P, n * P, pages() + page * P, count_release, NULL,
				    VMS_SLOT_RAM));
}

/* The block of a slot that KVM does not give up stays, for the log too, until the end. */
static void test_broken_keeps_blocks(void **state)
{
	struct vms_dirty_params dp = { .size = sizeof(dp) };
	struct vms_memory_info info = { .size = sizeof(info) };
	struct vms_dirty *log;
	struct vms_edit *e = edit();

	released = 0;
	map(e, 0, 1);
	assert_ok(vms_edit_commit(e));
	assert_ok(vms_dirty_start(mem, &dp, &log));
	e = edit();
	map(e, 2, 1);
	map(e, 4, 1);
	/* The second one is not created, and the first one not deleted again. */
	machine.test.fail_mask = 1u << CALL_IOCTL;
	machine.test.fail_err = EIO;
	machine.test.fail_at = 2;
	machine.test.fail_more = 1;
	assert_int_equal(vms_edit_commit(e), -EIO);
	assert_int_equal(machine.test.failed, 2);
	machine.test.fail_at = 0;
	assert_ok(vms_memory_info(mem, &info));
	assert_true(info.broken);
	vms_memory_synchronize(mem);
	assert_int_equal(released, 1);
	assert_true(fake_write(&machine, 2 * P, 1));
	assert_ok(vms_dirty_sync(log));
	vms_dirty_stop(log);
	assert_int_equal(released, 1);
	vms_kvm_detach(kvm);
	kvm = NULL;
	assert_int_equal(released, 2);
	assert_int_equal(fake_count(&machine), 0);
}

static void test_external_log_is_cleared(void **state)
{
	unsigned char bits[1] = { 0 };
	struct vms_dirty_params dp = { .size = sizeof(dp),
				       .flags = VMS_DIRTY_EXTERNAL,
				       .external = bits,
				       .external_bytes = 1 };
	struct vms_dirty *log;
	struct vms_edit *e = edit();

	assert_true(machine.manual);
	map(e, 0, 8);
	assert_ok(vms_edit_commit(e));
	assert_ok(vms_dirty_start(mem, &dp, &log));
	for (unsigned i = 0; i < 3; i++) {
		assert_true(fake_write(&machine, 5 * P, 1));
		assert_true(fake_write(&machine, 7 * P, 1));
		assert_ok(vms_dirty_sync(log));
		assert_int_equal(bits[0], 1 << 5 | 1 << 7);
		bits[0] = 0;
		assert_ok(vms_dirty_sync(log));
		assert_int_equal(bits[0], 0);
	}
	/* What is not cleared comes again; nothing is lost. */
	assert_true(fake_write(&machine, 3 * P, 1));
	test_world_fail(&machine.test, 2, 1u << CALL_IOCTL, EIO);
	assert_int_equal(vms_dirty_sync(log), -EIO);
	test_world_fail(&machine.test, 0, 0, 0);
	assert_int_equal(bits[0], 1 << 3);
	bits[0] = 0;
	assert_ok(vms_dirty_sync(log));
	assert_int_equal(bits[0], 1 << 3);
	vms_dirty_stop(log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_broken_keeps_blocks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_external_log_is_cleared, set_up, tear_down),
	};

	if (sysconf(_SC_PAGESIZE) != (long)P)
		return 77; /* skipped: made of pages of 4096 bytes */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
