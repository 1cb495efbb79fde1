// SPDX-License-Identifier: MIT
/*
 * A memory attached to a machine that has KVM's rules (scene.h), against a model of pages.
 *
 *	attach		all cases, and 2,000 random steps in each way of logging
 *	attach N	so many
 *
 * After each edit the machine shows, page for page, what the memory shows. What a log gives is what
 * the guest wrote: exactly, with a gate; at least, without.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

#include "scene.h"
#include "vmspace/access.h"

/* ---- Cases ---- */

static int none(void *arg, uint64_t off, void *buf, size_t len)
{
	return -EIO;
}

static const struct vms_slow_ops slow_ops = { .size = sizeof(slow_ops), .read = none };

static void test_shown(void **state)
{
	struct vms_edit *e;
	struct vms_kvm_info info = { .size = sizeof(info) };

	begin(BITMAP, true);
	quiet = true;
	e = edit();
	map(e, 0, 10, 0, 0, RW);
	map(e, 10, 10, 0, 10, RO);
	map(e, 20, 10, 1, 0, VMS_SLOT_WRITE); /* nobody may read it: a device's */
	assert_ok(vms_slot_map_slow(e, 40 * P, 10 * P, &slow_ops, NULL, RW));
	assert_ok(vms_edit_commit(e));
	assert_ok(attach());
	assert_int_equal(fake_count(&machine), 2);
	assert_int_equal(machine.slot[3].gpa, 0);
	assert_int_equal(machine.slot[4].flags, KVM_MEM_READONLY);
	compare();
	/* EXEC is nothing for KVM: no call. */
	e = edit();
	assert_ok(vms_slot_protect(e, 2 * P, 4 * P, VMS_SLOT_READ | VMS_SLOT_WRITE));
	assert_ok(vms_edit_commit(e));
	assert_ok(vms_kvm_info(kvm, &info));
	assert_int_equal(info.created, 2);
	assert_int_equal(info.deleted, 0);
	assert_int_equal(info.slots, 2);
	assert_int_equal(info.max_slots, FAKE_SLOTS - 3);
	/* A slot that only moves is moved. */
	e = edit();
	assert_ok(vms_slot_unmap(e, 10 * P, 10 * P));
	map(e, 60, 10, 0, 10, RO);
	assert_ok(vms_edit_commit(e));
	assert_ok(vms_kvm_info(kvm, &info));
	assert_int_equal(info.moved, 1);
	assert_int_equal(info.created, 2);
	compare();
	/* KVM has no slot at the very end. */
	assert_int_equal(map_one(UINT64_MAX / P, 1, 0, 0, RW), -ERANGE);
	compare();
	detach();
	end();
}

static void test_gate(void **state)
{
	struct vms_memory_info info = { .size = sizeof(info) };
	uint64_t n = 0;

	begin(BITMAP, true);
	assert_ok(attach());
#define GATED(call, times)                                \
	do {                                              \
		assert_ok(call);                          \
		assert_ok(vms_memory_info(mem, &info));   \
		assert_int_equal(info.gated, n += times); \
		compare();                                \
	} while (0)
	GATED(map_one(0, 20, 0, 0, RW), 0); /* only adds */
	GATED(map_one(30, 10, 1, 0, RW), 0);
	GATED(unmap_one(30, 10), 0); /* one slot, one call */
	GATED(unmap_one(5, 5), 1);   /* what stays goes for a moment */
	GATED(map_one(0, 5, 2, 0, RW), 1);
	log_begin(0);
	GATED(unmap_one(0, 5), 1); /* the log is read, then the slot goes */
	GATED(map_one(0, 5, 2, 0, RW), 0);
	end();
}

static void test_refused(void **state)
{
	struct vms_kvm_params p = { .size = sizeof(p) };
	struct vms_kvm *k;

	begin(MANUAL, true);
	quiet = true;
	assert_ok(map_one(0, 10, 0, 0, RO));
	assert_int_equal(vms_kvm_attach(mem, FAKE_VM, NULL, &k), -EINVAL);
	p.size--;
	assert_int_equal(vms_kvm_attach(mem, FAKE_VM, &p, &k), -EINVAL);
	p.size++;
	p.flags = 4;
	assert_int_equal(vms_kvm_attach(mem, FAKE_VM, &p, &k), -EINVAL);
	p.flags = 0;
	p.first_slot = FAKE_SLOTS;
	assert_int_equal(vms_kvm_attach(mem, FAKE_VM, &p, &k), -EINVAL);
	p.first_slot = 1;
	p.slots = FAKE_SLOTS;
	assert_int_equal(vms_kvm_attach(mem, FAKE_VM, &p, &k), -EINVAL);
	p.slots = 0;
	p.max_slot = 1 << 20;
	assert_int_equal(vms_kvm_attach(mem, FAKE_VM, &p, &k), -EINVAL);
	p.max_slot = 0;
	p.ring_bytes = 65536;
	assert_int_equal(vms_kvm_attach(mem, FAKE_VM, &p, &k), -EINVAL);
	p.flags = VMS_KVM_DIRTY_RING;
	p.ring_bytes = 12288;
	assert_int_equal(vms_kvm_attach(mem, FAKE_VM, &p, &k), -EINVAL);
	p.ring_bytes = 1 << 20;
	assert_int_equal(vms_kvm_attach(mem, FAKE_VM, &p, &k), -EINVAL);
	p.ring_bytes = 0;
	machine.no_ring = true;
	assert_int_equal(vms_kvm_attach(mem, FAKE_VM, &p, &k), -ENOTSUP);
	p.flags = 0;
	machine.no_readonly = true;
	assert_int_equal(vms_kvm_attach(mem, FAKE_VM, &p, &k), -ENOTSUP);
	machine.no_readonly = false;
	assert_int_equal(vms_kvm_attach(mem, 0, &p, &k), -EINVAL); /* no machine */
	p.slots = 1;
	p.flags = VMS_KVM_KEEP_PAGES;
	assert_ok(vms_kvm_attach(mem, FAKE_VM, &p, &k));
	assert_int_equal(machine.quirks, 1 << 7);
	assert_int_equal(map_one(20, 1, 0, 0, RW), -ENOSPC);
	assert_ok(vms_memory_check(mem));
	vms_kvm_detach(k);
	vms_kvm_detach(NULL);
	end();
}

static void test_managed(void **state)
{
	struct vms_object_params op = { .size = sizeof(op), .bytes = 16 * P };
	struct vms_arena_params ap = { .size = sizeof(ap) };
	struct vms_block_params p = { .size = sizeof(p), .kind = VMS_BLOCK_OBJECT };
	struct vms_arena *arena;
	struct vms_object *obj;
	struct vms_block *b;
	struct vms_edit *e;

	begin(MANUAL, true);
	quiet = true;
	assert_ok(vms_arena_create(&ap, &arena));
	assert_ok(vms_object_create(arena, &op, &obj));
	p.object = obj;
	assert_ok(vms_block_create(mem, &p, &b));
	assert_ok(attach());
	e = edit();
	assert_ok(vms_slot_map(e, 0, 16 * P, b, 0, RW));
	assert_int_equal(vms_edit_commit(e), -ENOTSUP);
	detach();
	e = edit();
	assert_ok(vms_slot_map(e, 0, 16 * P, b, 0, RW));
	assert_ok(vms_edit_commit(e));
	assert_int_equal(attach(), -ENOTSUP);
	kvm = NULL;
	assert_ok(unmap_one(0, 16));
	vms_block_unref(b);
	vms_object_unref(obj);
	vms_arena_unref(arena);
	end();
}

/* Slots of guest_memfd, which need no KVM that has it: any file will do here. */
static void test_guest_memfd(void **state)
{
	const struct fake_slot *s;
	unsigned char *at;
	struct vms_port *port;
	struct vms_edit *e;
	uint64_t freed = 0;
	uint16_t value;
	int fd;

	begin(MANUAL, true);
	quiet = true;
	fd = memfd_create("guest", 0);
	assert_ok(ftruncate(fd, 32 * P));
	at = mmap(NULL, 32 * P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ok(attach());
	e = edit();
	assert_int_equal(vms_kvm_guest_memfd(e, 0, 8 * P, fd, 8, at), -EINVAL);
	assert_int_equal(vms_kvm_guest_memfd(e, 0, 8 * P, fd, 0, at + 8), -EINVAL);
	assert_int_equal(vms_kvm_guest_memfd(e, 0, 0, fd, 0, at), -EINVAL);
	assert_int_equal(vms_kvm_guest_memfd(e, 0, 8 * P, -1, 0, at), -EBADF);
	assert_ok(vms_kvm_guest_memfd(e, 0, 8 * P, fd, 16 * P, at + 16 * P));
	assert_ok(vms_kvm_guest_memfd(e, 20 * P, 8 * P, fd, 0, NULL));
	assert_ok(vms_edit_commit(e));
	s = fake_find(&machine, 0);
	assert_true(s && s->flags == KVM_MEM_GUEST_MEMFD && s->gmem_off == 16 * P);
	assert_true(s->hva == (uintptr_t)at + 16 * P && s->gmem_fd >= 0 && s->gmem_fd != fd);
	log_begin(0);
	/* Parts keep their offsets; those that stay come back, as KVM cuts none. */
	assert_ok(unmap_one(2, 1));
	s = fake_find(&machine, 3 * P);
	assert_true(s && s->gpa == 3 * P && s->bytes == 5 * P && s->gmem_off == 19 * P);
	assert_true(s->hva == (uintptr_t)at + 19 * P && !s->dirty);
	assert_null(fake_find(&machine, 2 * P));
	/* It cannot be ROM, and is no move. */
	e = edit();
	assert_ok(vms_slot_protect(e, 3 * P, P, RO));
	assert_int_equal(vms_edit_commit(e), -ENOTSUP);
	/* Ports, where it is mapped. */
	assert_ok(vms_port_create(mem, NULL, &port));
	assert_ok(vms_store_le16(port, 3 * P, 0x1234));
	assert_int_equal(at[19 * P], 0x34);
	assert_ok(vms_load_le16(port, 3 * P, &value));
	assert_int_equal(value, 0x1234);
	assert_int_equal(vms_store_le16(port, 20 * P, 1), -ENOTSUP);
	assert_int_equal(vms_load_le16(port, 20 * P, &value), -ENOTSUP);
	vms_port_unref(port);
	assert_ok(vms_discard(mem, 3 * P, P, &freed, NULL));
	assert_int_equal(freed, P);
	assert_int_equal(at[19 * P], 0);
	assert_ok(unmap_one(0, 30));
	munmap(at, 32 * P);
	close(fd);
	end();
}

/* ---- Random edits and a guest that writes ---- */

static void change(struct vms_edit *e)
{
	unsigned at = below(PAGES), n = 1 + below(below(3) ? 8 : PAGES), b = below(BLOCKS);
	unsigned off = below(2) ? at % 30 : below(EACH);
	struct vms_slot_info info;

	n = n < PAGES - at ? n : PAGES - at;
	switch (below(6)) {
	case 0:
		assert_ok(vms_slot_unmap(e, at * P, n * P));
		break;
	case 1: /* a slot that stands moves; it may have been cut already */
		if (vms_slot_find(mem, at * P, &info) || !info.hva)
			break;
		at = below(PAGES);
		n = (unsigned)(info.len / P);
		if (at + n > PAGES || info.off + info.len > EACH * P)
			break;
		assert_ok(vms_slot_unmap(e, info.gpa, info.len));
		assert_ok(vms_slot_map(e, at * P, info.len, info.block, info.off, info.access));
		break;
	default:
		n = n < EACH - off ? n : EACH - off;
		map(e, at, n, b, off, below(4) ? RW : RO);
	}
}

static void step(void)
{
	unsigned l = below(LOGS);
	struct vms_edit *e;

	switch (below(12)) {
	case 0:
		if (!log_of[l])
			log_begin(l);
		break;
	case 1:
		if (log_of[l] && below(4) == 0)
			log_end(l);
		break;
	case 2:
	case 3:
		if (log_of[l])
			harvest(l);
		break;
	case 4:
		if (log_of[l])
			assert_ok(vms_dirty_sync(log_of[l]));
		break;
	case 5:
		if (below(8))
			break;
		quiet = true; /* no vCPU runs */
		fake_leave(&machine);
		detach();
		for (unsigned i = 0; i < LOGS; i++)
			if (log_of[i])
				harvest(i);
		assert_ok(attach());
		quiet = false;
		break;
	case 6:
	case 7:
	case 8:
		for (unsigned i = below(20); i > 0; i--)
			guest_write(below(PAGES));
		break;
	default:
		e = edit();
		for (unsigned i = 1 + below(3); i > 0; i--)
			change(e);
		assert_ok(vms_edit_commit(e));
		compare();
	}
}

static unsigned steps = 2000;

static void random_steps(enum way how, bool with_gate, bool late)
{
	struct vms_kvm_info info = { .size = sizeof(info) };

	begin(how, with_gate);
	machine.late = late;
	assert_ok(attach());
	for (unsigned i = 0; i < steps; i++)
		step();
	for (unsigned i = 0; i < LOGS; i++)
		if (log_of[i])
			harvest(i);
	assert_ok(vms_kvm_info(kvm, &info));
	print_message(
		"%s: %lu created, %lu deleted, %lu moved, %lu flagged, %lu reads, %lu clears, "
		"%lu bytes over-marked\n",
		way_name[how], (long)machine.created, (long)machine.deleted, (long)machine.moved,
		(long)machine.flagged, (long)machine.got, (long)machine.cleared,
		(long)info.over_marked);
	assert_true(machine.moved > 0 && machine.flagged > 0);
	assert_true(how != MANUAL || machine.cleared > 0);
	if (with_gate)
		assert_int_equal(info.over_marked, 0);
	else
		assert_true(info.over_marked > 0);
	end();
}

static void test_random_gate(void **state)
{
	for (enum way w = 0; w < WAYS; w++)
		for (int late = 0; late < 2; late++)
			random_steps(w, true, late);
}

static void test_random_no_gate(void **state)
{
	for (enum way w = 0; w < WAYS; w++)
		for (int late = 0; late < 2; late++)
			random_steps(w, false, late);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shown),	       cmocka_unit_test(test_gate),
		cmocka_unit_test(test_refused),	       cmocka_unit_test(test_managed),
		cmocka_unit_test(test_guest_memfd),    cmocka_unit_test(test_random_gate),
		cmocka_unit_test(test_random_no_gate),
	};

	if (argc > 1)
		steps = (unsigned)strtoul(argv[1], NULL, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
