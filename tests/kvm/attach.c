// SPDX-License-Identifier: MIT
/*
 * A memory attached to a machine that has KVM's rules (fake.h), against a model of pages.
 *
 *	attach		all cases, and 2,000 random steps in each way of logging
 *	attach N	so many
 *
 * The guest writes between any two calls to KVM unless it is in the gate. After each edit the
 * machine shows, page for page, what the memory shows. What a log gives is what the guest wrote:
 * exactly, with a gate; at least, without.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

#include "base/epoch.h"
#include "fake.h"
#include "random.h"
#include "vmspace/access.h"
#include "vmspace/kvm.h"

#define P      UINT64_C(4096)
#define PAGES  96u /* of guest addresses */
#define BLOCKS 3u
#define EACH   70u /* pages of a block: not a multiple of 64 */
#define LOGS   2u
#define RO     VMS_SLOT_ROM
#define RW     VMS_SLOT_RAM

enum way { BITMAP, MANUAL, RING, WAYS };
static const char *const way_name[WAYS] = { "bitmap", "manual", "ring" };

static struct fake_kvm machine;
static struct vms_memory *mem;
static struct vms_kvm *kvm;
static struct vms_block *block[BLOCKS];
static uint64_t hva[BLOCKS];
static struct vms_dirty *log_of[LOGS];
static bool written[LOGS][BLOCKS][EACH]; /* since that log was harvested */
static bool gated, in_gate, quiet;
static bool exact; /* logs have nothing that was not written */
static enum way way;
static uint32_t seed;
static uint64_t exits;

static unsigned below(unsigned n)
{
	return next32(&seed) % n;
}

/* ---- The guest ---- */

static void guest_write(uint64_t page)
{
	struct fake_slot *s = fake_find(&machine, page * P);

	if (!fake_write(&machine, page * P + below(P), (uint8_t)page)) {
		exits++;
		return;
	}
	for (unsigned b = 0; b < BLOCKS; b++) {
		uint64_t at = s->hva + (page * P - s->gpa) - hva[b];

		for (unsigned l = 0; at < EACH * P && l < LOGS; l++)
			written[l][b][at / P] = log_of[l] != NULL;
	}
}

static void runs(struct fake_kvm *f, void *arg)
{
	if (!in_gate && !quiet)
		guest_write(below(PAGES));
}

static void enter(void *arg)
{
	assert_false(in_gate);
	in_gate = true;
	fake_leave(&machine);
}

static void leave(void *arg)
{
	assert_true(in_gate);
	in_gate = false;
}

/* ---- The scene ---- */

static void make_blocks(void)
{
	struct vms_block_params p = { .size = sizeof(p),
				      .kind = VMS_BLOCK_ANON,
				      .bytes = EACH * P };
	struct vms_block_info info = { .size = sizeof(info) };

	for (unsigned i = 0; i < BLOCKS; i++) {
		assert_ok(vms_block_create(mem, &p, &block[i]));
		assert_ok(vms_block_info(block[i], &info));
		hva[i] = (uint64_t)(uintptr_t)info.hva;
	}
}

static int attach(void)
{
	struct vms_kvm_params p = { .size = sizeof(p),
				    .flags = way == RING ? VMS_KVM_DIRTY_RING : 0,
				    .first_slot = 3 };
	int err = vms_kvm_attach(mem, FAKE_VM, &p, &kvm);

	if (!err)
		err = vms_kvm_vcpu_add(kvm, FAKE_VCPU);
	return err ? err : vms_kvm_vcpu_add(kvm, FAKE_VCPU + 1);
}

static void detach(void)
{
	vms_kvm_detach(kvm);
	kvm = NULL;
	assert_int_equal(fake_count(&machine), 0);
	assert_false(machine.manual);
	/* The machine is gone: its rings too. */
	memset(machine.ring, 0, sizeof(machine.ring));
	machine.ring_bytes = 0;
}

static void begin(enum way how, bool with_gate)
{
	struct vms_memory_params p = { .size = sizeof(p) };

	fake_begin(&machine);
	machine.no_manual = how == BITMAP;
	machine.between = runs;
	memset(written, 0, sizeof(written));
	way = how;
	gated = exact = with_gate;
	in_gate = quiet = false;
	seed = 7;
	if (gated)
		p.gate = (struct vms_gate){ enter, leave, NULL };
	assert_ok(vms_memory_create(&p, &mem));
	make_blocks();
}

static void end(void)
{
	machine.between = NULL;
	for (unsigned i = 0; i < LOGS; i++) {
		vms_dirty_stop(log_of[i]);
		log_of[i] = NULL;
	}
	if (kvm)
		detach();
	for (unsigned i = 0; i < BLOCKS; i++)
		vms_block_unref(block[i]);
	vms_memory_unref(mem);
	epoch_synchronize();
	fake_end(&machine);
}

static struct vms_edit *edit(void)
{
	struct vms_edit *e;

	assert_ok(vms_edit_begin(mem, &e));
	return e;
}

static void map(struct vms_edit *e, uint64_t page, uint64_t n, unsigned b, uint64_t off,
		uint32_t access)
{
	assert_ok(vms_slot_map(e, page * P, n * P, block[b], off * P, access));
}

static int map_one(uint64_t page, uint64_t n, unsigned b, uint64_t off, uint32_t access)
{
	struct vms_edit *e = edit();

	map(e, page, n, b, off, access);
	return vms_edit_commit(e);
}

static int unmap_one(uint64_t page, uint64_t n)
{
	struct vms_edit *e = edit();

	assert_ok(vms_slot_unmap(e, page * P, n * P));
	return vms_edit_commit(e);
}

/* KVM shows what the memory shows. */
static void compare(void)
{
	for (uint64_t page = 0; page < PAGES; page++) {
		const struct fake_slot *s = fake_find(&machine, page * P);
		struct vms_slot_info info;
		bool shown = vms_slot_find(mem, page * P, &info) == 0 && info.hva &&
			     info.access & VMS_SLOT_READ;

		if (shown != (s != NULL))
			broken("page %lu: KVM shows %s", (long)page, s ? "a slot" : "nothing");
		if (!shown)
			continue;
		if (s->hva - s->gpa != (uint64_t)(uintptr_t)info.hva - info.gpa)
			broken("page %lu: KVM shows something else", (long)page);
		if (!(s->flags & KVM_MEM_READONLY) != !!(info.access & VMS_SLOT_WRITE))
			broken("page %lu: KVM has other rights", (long)page);
	}
	if (vms_memory_check(mem))
		broken("%s", vms_last_error());
}

/* ---- Logs ---- */

struct harvest {
	unsigned log, block;
	bool seen[EACH];
};

static int saw(void *arg, struct vms_block *b, uint64_t off, uint64_t len)
{
	struct harvest *h = arg;

	assert_ptr_equal(b, block[h->block]);
	for (uint64_t i = off / P; i < (off + len) / P; i++)
		h->seen[i] = true;
	return 0;
}

/* What the log gives is what was written. */
static void harvest_alone(unsigned l)
{
	for (unsigned b = 0; b < BLOCKS; b++) {
		struct harvest h = { l, b, { 0 } };

		assert_ok(vms_dirty_harvest(log_of[l], block[b], 0, EACH * P, saw, &h));
		for (unsigned i = 0; i < EACH; i++) {
			if (written[l][b][i] && !h.seen[i])
				broken("log %u lost page %u of block %u", l, i, b);
			if (exact && h.seen[i] && !written[l][b][i])
				broken("log %u has page %u of block %u: nobody wrote it", l, i, b);
			written[l][b][i] = false;
		}
	}
}

static void harvest(unsigned l)
{
	fake_leave(&machine);
	assert_ok(vms_dirty_sync(log_of[l]));
	harvest_alone(l);
}

static void log_begin(unsigned l)
{
	struct vms_dirty_params p = { .size = sizeof(p) };
	bool was_quiet = quiet;

	/* What KVM still has of before is the older log's; it would be too much for this one. */
	for (unsigned other = 0; other < LOGS; other++)
		if (log_of[other])
			harvest(other);
	quiet = true; /* what is written before the call returns may be in the log */
	fake_leave(&machine);
	assert_ok(vms_dirty_start(mem, &p, &log_of[l]));
	quiet = was_quiet;
	memset(written[l], 0, sizeof(written[l]));
}

static void log_end(unsigned l)
{
	vms_dirty_stop(log_of[l]);
	log_of[l] = NULL;
	memset(written[l], 0, sizeof(written[l]));
}

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

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shown),
		cmocka_unit_test(test_gate),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_managed),
		cmocka_unit_test(test_guest_memfd),
		cmocka_unit_test(test_random_gate),
		cmocka_unit_test(test_random_no_gate),
		cmocka_unit_test(test_fail_edit),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_fail_attach),
		cmocka_unit_test(test_fail_log),
		cmocka_unit_test(test_fail_clear),
		cmocka_unit_test(test_undone_bits),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_stale_entries),
		cmocka_unit_test(test_fail_reset),
		cmocka_unit_test(test_fail_guest_memfd),
	};

	if (argc > 1)
		steps = (unsigned)strtoul(argv[1], NULL, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
