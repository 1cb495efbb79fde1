// SPDX-License-Identifier: MIT
/*
 * KVM refuses, memory runs out: an edit, an attachment or a log that failed left all as it was, or
 * the memory says that it is broken; and no log lost anything.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

#include "scene.h"

/* ---- Failures ---- */

static struct fake_slot before[FAKE_SLOTS];

/* Sorted by address, without ids: an undo may give a slot another number, not another place. */
static void same_slots(void)
{
	for (unsigned i = 0; i < FAKE_SLOTS; i++) {
		const struct fake_slot *s;

		if (!before[i].bytes)
			continue;
		s = fake_find(&machine, before[i].gpa);
		if (!s || s->gpa != before[i].gpa || s->bytes != before[i].bytes ||
		    s->hva != before[i].hva || s->flags != before[i].flags)
			broken("the slot at %#lx is not as it was", (long)before[i].gpa);
	}
}

/* Deletes, a move, creates, at once; log or not; with a guest that writes where it may. */
static int big_edit(void *arg)
{
	struct vms_edit *e;
	int err = vms_edit_begin(mem, &e);

	if (err)
		return err;
	err = vms_slot_map(e, 4 * P, 4 * P, block[2], 0, RW);
	if (!err)
		err = vms_slot_unmap(e, 14 * P, 2 * P);
	if (!err)
		err = vms_slot_unmap(e, 40 * P, 8 * P);
	if (!err)
		err = vms_slot_map(e, 60 * P, 8 * P, block[1], 30 * P, RW);
	if (err) {
		vms_edit_abort(e);
		return err;
	}
	return vms_edit_commit(e);
}

static bool with_log;

static void edit_set_up(void *arg)
{
	quiet = true;
	assert_ok(map_one(0, 10, 0, 0, RW));
	assert_ok(map_one(10, 10, 0, 10, RO));
	assert_ok(map_one(40, 8, 1, 30, RW));
	assert_ok(unmap_one(60, 8));
	assert_ok(attach());
	if (with_log)
		log_begin(0);
	for (unsigned i = 0; i < PAGES; i += 2)
		guest_write(i);
	memcpy(before, machine.slot, sizeof(before));
	quiet = false;
}

static void edit_check(void *arg, int result, bool failed)
{
	struct vms_memory_info info = { .size = sizeof(info) };

	assert_ok(vms_memory_info(mem, &info));
	assert_false(info.broken);
	assert_false(in_gate);
	if (result) {
		assert_int_equal(result, -ENOMEM);
		assert_true(failed);
		same_slots();
	}
	compare();
	exact = gated && !failed; /* a log that KVM did not give is over-marked */
	if (with_log)
		harvest(0);
	exact = gated;
}

static void edit_tear_down(void *arg)
{
	quiet = true;
	if (with_log)
		log_end(0);
	if (kvm)
		detach();
	quiet = false;
}

static void fail_edits(enum way how, bool gate, bool log)
{
	struct sweep s = { .world = &machine.test,
			   .set_up = edit_set_up,
			   .run = big_edit,
			   .check = edit_check,
			   .tear_down = edit_tear_down,
			   .mask = 1u << CALL_ALLOC | 1u << CALL_IOCTL };

	with_log = log;
	begin(how, gate);
	sweep(&s);
	end();
}

static void test_fail_edit(void **state)
{
	for (enum way w = 0; w < WAYS; w++)
		for (unsigned i = 0; i < 4; i++)
			fail_edits(w, i & 1, i & 2);
}

/* The undo fails too: the memory says that it is broken, and detach leaves nothing. */
static void test_broken(void **state)
{
	struct vms_memory_info info = { .size = sizeof(info) };
	unsigned n, broke = 0;

	for (n = 1;; n++) {
		int err;

		begin(BITMAP, true);
		with_log = false;
		edit_set_up(NULL);
		test_world_fail(&machine.test, n, 1u << CALL_IOCTL, EINVAL);
		machine.test.fail_more = 1000;
		err = big_edit(NULL);
		test_world_fail(&machine.test, 0, 0, 0);
		assert_ok(vms_memory_info(mem, &info));
		if (!err) {
			end();
			break;
		}
		broke += info.broken;
		if (n == 1) { /* nothing was done, so there is nothing to undo */
			assert_int_equal(err, -EINVAL);
			assert_false(info.broken);
		} else {
			assert_int_equal(err, -EIO);
			assert_true(info.broken);
			assert_int_equal(unmap_one(0, 1), -EIO);
		}
		assert_ok(vms_memory_check(mem));
		end();
	}
	assert_int_equal(broke, n - 2);
}

static int attach_run(void *arg)
{
	return attach();
}

static void attach_set_up(void *arg)
{
	quiet = way == RING; /* vCPUs come later */
	assert_ok(map_one(0, 10, 0, 0, RW));
	assert_ok(map_one(10, 10, 0, 10, RO));
	assert_ok(map_one(40, 8, 1, 30, RW));
	log_begin(0);
}

static void attach_check(void *arg, int result, bool failed)
{
	if (result && !kvm) {
		assert_int_equal(fake_count(&machine), 0);
		assert_false(machine.manual);
		machine.ring_bytes = 0;
	} else {
		compare();
		if (!result) { /* else there is no ring */
			guest_write(4);
			harvest(0);
		}
	}
}

static void test_fail_attach(void **state)
{
	struct sweep s = { .world = &machine.test,
			   .set_up = attach_set_up,
			   .run = attach_run,
			   .check = attach_check,
			   .tear_down = edit_tear_down,
			   .mask = 1u << CALL_ALLOC | 1u << CALL_IOCTL | 1u << CALL_MMAP };

	with_log = true;
	for (enum way w = 0; w < WAYS; w++) {
		begin(w, true);
		sweep(&s);
		end();
	}
}

/* Beginning a log, and reading it: what fails loses nothing. */
static void log_set_up(void *arg)
{
	attach_set_up(NULL);
	quiet = true;
	assert_ok(attach());
	log_end(0);
}

static int log_run(void *arg)
{
	struct vms_dirty_params p = { .size = sizeof(p) };
	int err = vms_dirty_start(mem, &p, &log_of[0]);
	int synced;

	if (err) {
		log_of[0] = NULL;
		return err;
	}
	memset(written, 0, sizeof(written));
	for (unsigned i = 0; i < PAGES; i += 3)
		guest_write(i);
	synced = vms_dirty_sync(log_of[0]);
	for (unsigned i = 0; i < PAGES; i += 5)
		guest_write(i);
	return synced;
}

static void log_check(void *arg, int result, bool failed)
{
	for (unsigned i = 0; i < FAKE_SLOTS && !log_of[0]; i++)
		assert_null(machine.slot[i].dirty);
	if (log_of[0])
		harvest(0);
}

static void log_tear_down(void *arg)
{
	log_end(0);
	detach();
}

static void test_fail_log(void **state)
{
	struct sweep s = { .world = &machine.test,
			   .set_up = log_set_up,
			   .run = log_run,
			   .check = log_check,
			   .tear_down = log_tear_down,
			   .mask = 1u << CALL_ALLOC | 1u << CALL_IOCTL };

	for (enum way w = 0; w < WAYS; w++) {
		begin(w, true);
		sweep(&s);
		end();
	}
}

/* An undo makes a slot again. KVM knows nothing of it: what was read of the old one is not cleared
 * in the new one, as a log that began since would lose it. */
static void test_undone_bits(void **state)
{
	struct vms_edit *e;

	begin(MANUAL, true);
	quiet = true;
	assert_ok(map_one(0, 64, 0, 0, RW));
	assert_ok(attach());
	log_begin(0);
	guest_write(3);
	assert_ok(vms_dirty_sync(log_of[0]));
	e = edit();
	map(e, 10, 1, 1, 0, RW);
	test_world_fail(&machine.test, 3, 1u << CALL_IOCTL, EINVAL); /* read, delete, create */
	assert_int_equal(vms_edit_commit(e), -EINVAL);
	test_world_fail(&machine.test, 0, 0, 0);
	log_of[1] = NULL;
	{
		struct vms_dirty_params p = { .size = sizeof(p) };

		assert_ok(vms_dirty_start(mem, &p, &log_of[1]));
	}
	guest_write(3);
	harvest_alone(0);
	harvest(1);
	end();
}

/* A harvest of a part clears that part, and what is left is cleared by the next. */
static void test_parts(void **state)
{
	struct harvest h = { 0 };

	begin(MANUAL, true);
	quiet = true;
	assert_ok(map_one(0, EACH, 0, 0, RW));
	assert_ok(attach());
	log_begin(0);
	for (unsigned i = 3; i < EACH; i += 8)
		guest_write(i);
	assert_ok(vms_dirty_sync(log_of[0]));
	assert_ok(vms_dirty_harvest(log_of[0], block[0], 16 * P, 24 * P, saw, &h));
	for (unsigned i = 3; i < EACH; i += 8)
		assert_int_equal(machine.slot[3].dirty[i], i < 16 || i >= 40);
	assert_ok(vms_dirty_harvest(log_of[0], block[0], 0, 16 * P, saw, &h));
	assert_ok(vms_dirty_harvest(log_of[0], block[0], 40 * P, (EACH - 40) * P, saw, &h));
	for (unsigned i = 0; i < EACH; i++) {
		assert_int_equal(machine.slot[3].dirty[i], 0);
		assert_int_equal(h.seen[i], i % 8 == 3);
	}
	memset(written, 0, sizeof(written));
	harvest(0);
	end();
}

/* What a ring says of a slot that went is not taken for the one that has its id now. */
static void test_stale_entries(void **state)
{
	begin(RING, false);
	quiet = true;
	assert_ok(map_one(0, 10, 0, 0, RW));
	assert_ok(attach());
	log_begin(0);
	guest_write(2); /* the late one: told when the slot is gone, so all of it is marked */
	quiet = false;
	assert_ok(unmap_one(0, 10));
	quiet = true;
	for (unsigned i = 0; i < 10; i++)
		written[0][0][i] = true;
	exact = true;
	assert_ok(map_one(20, 10, 1, 0, RW)); /* has the id */
	guest_write(21);
	harvest(0);
	end();
}

static int guest_run(void *arg)
{
	struct vms_edit *e;
	int err = vms_edit_begin(mem, &e);

	if (err)
		return err;
	err = vms_kvm_guest_memfd(e, 0, 8 * P, *(int *)arg, 0, NULL);
	vms_edit_abort(e);
	return err;
}

static void guest_check(void *arg, int result, bool failed)
{
	assert_int_equal(result, failed ? -ENOMEM : 0);
}

static void nothing(void *arg)
{
}

static void test_fail_guest_memfd(void **state)
{
	int fd = memfd_create("guest", 0);
	struct sweep s = { .world = &machine.test,
			   .set_up = nothing,
			   .run = guest_run,
			   .check = guest_check,
			   .tear_down = nothing,
			   .arg = &fd,
			   .mask = 1u << CALL_ALLOC | 1u << CALL_FD_DUP };

	begin(BITMAP, true);
	sweep(&s);
	end();
	close(fd);
}

/* Rings that KVM does not reset: their pages do not trap, so they count until it does. */
static void test_fail_reset(void **state)
{
	begin(RING, true);
	quiet = true;
	assert_ok(map_one(0, 10, 0, 0, RW));
	assert_ok(map_one(20, 10, 1, 0, RW));
	assert_ok(attach());
	log_begin(0);
	guest_write(2);
	guest_write(3); /* in the other ring */
	test_world_fail(&machine.test, 1, 1u << CALL_IOCTL, EIO);
	assert_int_equal(vms_dirty_sync(log_of[0]), -EIO);
	test_world_fail(&machine.test, 0, 0, 0);
	written[0][0][2] = written[0][0][3] = false;
	exact = false;
	harvest_alone(0);
	guest_write(2);
	guest_write(3);
	harvest(0);
	/* And when a slot is to go: all of it, as the second ring was not read. */
	guest_write(2);
	guest_write(3);
	test_world_fail(&machine.test, 1, 1u << CALL_IOCTL, EIO);
	assert_ok(unmap_one(0, 10));
	test_world_fail(&machine.test, 0, 0, 0);
	assert_ok(map_one(40, 10, 2, 0, RW));
	harvest(0);
	end();
}

/* KVM refuses to clear: what was not cleared comes again, nothing is lost. */
static void test_fail_clear(void **state)
{
	struct harvest h = { 0 };

	begin(MANUAL, false);
	quiet = true;
	assert_ok(map_one(0, 64, 0, 0, RW));
	assert_ok(attach());
	log_begin(0);
	guest_write(3);
	guest_write(40);
	assert_ok(vms_dirty_sync(log_of[0]));
	test_world_fail(&machine.test, 1, 1u << CALL_IOCTL, EINTR);
	vms_dirty_harvest(log_of[0], block[0], 0, EACH * P, saw, &h);
	assert_int_equal(machine.test.failed, 1);
	test_world_fail(&machine.test, 0, 0, 0);
	guest_write(3);
	harvest(0);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fail_edit),   cmocka_unit_test(test_broken),
		cmocka_unit_test(test_fail_attach), cmocka_unit_test(test_fail_log),
		cmocka_unit_test(test_fail_clear),  cmocka_unit_test(test_undone_bits),
		cmocka_unit_test(test_parts),	    cmocka_unit_test(test_stale_entries),
		cmocka_unit_test(test_fail_reset),  cmocka_unit_test(test_fail_guest_memfd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
