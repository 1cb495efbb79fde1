// SPDX-License-Identifier: MIT
/*
 * A memory on /dev/kvm, with a guest that reads and writes (guest.h). One vCPU, no other thread:
 * threads.c has those.
 *
 *	real		all cases, and 50 random steps in each way of logging
 *	real N		so many
 *
 * Skips where there is no /dev/kvm, or it does not run the guest.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

#include "base/epoch.h"
#include "fake.h"
#include "guest.h"
#include "random.h"
#include "vmspace/access.h"
#include "vmspace/kvm.h"

#define P      UINT64_C(4096)
#define AT     (UINT64_C(1) << 30) /* guest addresses under test from here */
#define PAGES  96u
#define BLOCKS 3u
#define EACH   70u
#define RO     VMS_SLOT_ROM
#define RW     VMS_SLOT_RAM

#define PAGE(page) (AT + (uint64_t)(page)*P)

enum way { BITMAP, MANUAL, RING, WAYS };
static const char *const way_name[WAYS] = { "bitmap", "manual", "ring" };

static struct test_world world;
static int (*world_ioctl)(const struct world *w, int fd, unsigned long request, void *arg);
static struct guest guest;
static struct vms_memory *mem;
static struct vms_kvm *kvm;
static struct vms_block *block[BLOCKS];
static uint64_t *content[BLOCKS];
static struct vms_dirty *dirty;
static bool written[BLOCKS][EACH];
static enum way way;
static uint32_t seed = 3;

static unsigned below(unsigned n)
{
	return next32(&seed) % n;
}

/* ---- The scene ---- */

/* A KVM without manual clearing. */
static int without_manual(const struct world *w, int fd, unsigned long request, void *arg)
{
	if (request == KVM_CHECK_EXTENSION && (uintptr_t)arg == KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2)
		return 0;
	return world_ioctl(w, fd, request, arg);
}

static uint64_t *words(unsigned b, uint64_t page)
{
	return content[b] + page * P / 8;
}

/* Each page says whose it is. */
static void make_blocks(void)
{
	struct vms_block_params p = { .size = sizeof(p),
				      .kind = VMS_BLOCK_ANON,
				      .bytes = EACH * P };
	struct vms_block_info info = { .size = sizeof(info) };

	for (unsigned b = 0; b < BLOCKS; b++) {
		assert_ok(vms_block_create(mem, &p, &block[b]));
		assert_ok(vms_block_info(block[b], &info));
		content[b] = info.hva;
		for (unsigned i = 0; i < EACH; i++)
			*words(b, i) = (uint64_t)b << 32 | i;
	}
}

static int attach_as(uint32_t flags)
{
	struct vms_kvm_params p = { .size = sizeof(p), .flags = flags, .first_slot = 1 };

	return vms_kvm_attach(mem, guest.vm, &p, &kvm);
}

static void need(const char *why)
{
	if (!why)
		return;
	print_message("skipped: %s\n", why);
	guest_close(&guest);
	if (mem)
		vms_memory_unref(mem);
	mem = NULL;
	epoch_synchronize();
	test_world_end(&world);
	skip();
}

static void begin(enum way how)
{
	struct vms_memory_params p = { .size = sizeof(p),
				       .gate = { guest_enter_gate, guest_leave_gate, &guest } };

	test_world_begin(&world);
	world_ioctl = world.world.ioctl;
	if (how == BITMAP)
		world.world.ioctl = without_manual;
	way = how;
	mem = NULL;
	kvm = NULL;
	dirty = NULL;
	memset(written, 0, sizeof(written));
	need(guest_open(&guest));
	if (how == RING &&
	    ioctl(guest.vm, KVM_CHECK_EXTENSION, KVM_CAP_DIRTY_LOG_RING_ACQ_REL) <= 0)
		need("this KVM has no dirty rings");
	assert_ok(vms_memory_create(&p, &mem));
	/* Rings come before vCPUs. */
	assert_ok(attach_as(how == RING ? VMS_KVM_DIRTY_RING : 0));
	{
		const char *why = guest_start(&guest);

		if (why) {
			vms_kvm_detach(kvm);
			need(why);
		}
	}
	assert_ok(vms_kvm_vcpu_add(kvm, guest.vcpu));
	make_blocks();
}

static void end(void)
{
	vms_dirty_stop(dirty);
	vms_kvm_detach(kvm);
	for (unsigned i = 0; i < BLOCKS; i++)
		vms_block_unref(block[i]);
	assert_ok(vms_memory_check(mem));
	vms_memory_unref(mem);
	guest_close(&guest);
	epoch_synchronize();
	test_world_end(&world);
}

static struct vms_edit *edit(void)
{
	struct vms_edit *e;

	assert_ok(vms_edit_begin(mem, &e));
	return e;
}

static int map_one(uint64_t page, uint64_t n, unsigned b, uint64_t off, uint32_t access)
{
	struct vms_edit *e = edit();

	assert_ok(vms_slot_map(e, PAGE(page), n * P, block[b], off * P, access));
	return vms_edit_commit(e);
}

/* ---- What the guest sees ---- */

static void device_reads(void *arg, uint64_t gpa, bool write, uint64_t *value)
{
	if (!write)
		*value = UINT64_C(0xdead0000) + (gpa - AT) / P;
}

/*
 * The guest reads a word of each page, and writes one to some of them. All as the memory says.
 *
 * A page that is read is mapped for writing where that is allowed, and KVM takes it for dirty then.
 * So with a log, pages that may be written are read if they are written too.
 */
static void look(void)
{
	static uint64_t stamp;
	struct guest_op op[2 * PAGES];
	struct vms_slot_info info[PAGES];
	bool reads[PAGES], writes[PAGES];
	uint64_t exits = 0;
	uint32_t n = 0;

	for (unsigned i = 0; i < PAGES; i++) {
		if (vms_slot_find(mem, PAGE(i), &info[i]) || !info[i].hva)
			info[i] = (struct vms_slot_info){ 0 };
		writes[i] = below(2);
		reads[i] = !dirty || writes[i] || !(info[i].access & VMS_SLOT_WRITE);
		if (reads[i])
			op[n++] = guest_read(PAGE(i));
		if (writes[i])
			op[n++] = guest_write(PAGE(i) + 64, stamp + i);
	}
	guest.exits = 0;
	guest.device = device_reads;
	assert_ok(guest_do(&guest, op, n));
	n = 0;
	for (unsigned i = 0; i < PAGES; i++) {
		uint64_t want = UINT64_C(0xdead0000) + i, page = 0;
		unsigned b = 0;

		if (!reads[i])
			continue;
		if (info[i].hva) {
			while (info[i].block != block[b])
				b++;
			page = (info[i].off + PAGE(i) - info[i].gpa) / P;
			want = (uint64_t)b << 32 | page;
		} else {
			exits++;
		}
		if (op[n].value != want)
			broken("page %u: the guest sees %lx, not %lx", i, (long)op[n].value,
			       (long)want);
		n++;
		if (!writes[i])
			continue;
		n++;
		if (!info[i].hva || !(info[i].access & VMS_SLOT_WRITE)) {
			exits++;
			continue;
		}
		written[b][page] = true;
	}
	/* An alias may have been written twice; each page has one of this time's stamps. */
	for (unsigned b = 0; b < BLOCKS; b++)
		for (unsigned i = 0; i < EACH; i++)
			if (words(b, i)[8] >= stamp + PAGES)
				broken("page %u of block %u has a stamp of nobody's", i, b);
	if (guest.exits != exits)
		broken("%lu accesses were a device's, not %lu", (long)guest.exits, (long)exits);
	stamp += PAGES;
}

struct harvest {
	unsigned block;
	bool seen[EACH];
};

static int saw(void *arg, struct vms_block *b, uint64_t off, uint64_t len)
{
	struct harvest *h = arg;

	for (uint64_t i = off / P; i < (off + len) / P; i++)
		h->seen[i] = true;
	return 0;
}

/* Dirty is exactly what was written. */
static void harvest(void)
{
	assert_ok(vms_dirty_sync(dirty));
	for (unsigned b = 0; b < BLOCKS; b++) {
		struct harvest h = { b, { 0 } };

		assert_ok(vms_dirty_harvest(dirty, block[b], 0, EACH * P, saw, &h));
		for (unsigned i = 0; i < EACH; i++)
			if (h.seen[i] != written[b][i])
				broken("page %u of block %u: %s", i, b,
				       h.seen[i] ? "nobody wrote it" : "its dirty bit was lost");
	}
	memset(written, 0, sizeof(written));
}

static void log_begin(void)
{
	struct vms_dirty_params p = { .size = sizeof(p) };

	assert_ok(vms_dirty_start(mem, &p, &dirty));
	memset(written, 0, sizeof(written));
}

/* ---- Cases ---- */

static int slow_read(void *arg, uint64_t off, void *buf, size_t len)
{
	memset(buf, 0x5a, len);
	return 0;
}

static const struct vms_slow_ops slow_ops = { .size = sizeof(slow_ops), .read = slow_read };

static void test_kinds(void **state)
{
	struct vms_edit *e;
	struct guest_op op[] = { guest_read(PAGE(0)),	   guest_write(PAGE(0) + 8, 42),
				 guest_read(PAGE(10)),	   guest_write(PAGE(10) + 8, 43),
				 guest_read(PAGE(20) + 8), guest_write(PAGE(20), 44),
				 guest_read(PAGE(50)) };

	begin(MANUAL);
	e = edit();
	assert_ok(vms_slot_map(e, PAGE(0), 10 * P, block[0], 0, RW));
	assert_ok(vms_slot_map(e, PAGE(10), 10 * P, block[1], 0, RO));
	assert_ok(vms_slot_map_slow(e, PAGE(20), 10 * P, &slow_ops, NULL, RW));
	assert_ok(vms_edit_commit(e));
	guest.device = device_reads;
	guest.exits = 0;
	assert_ok(guest_do(&guest, op, sizeof(op) / sizeof(*op)));
	assert_int_equal(op[0].value, 0);
	assert_int_equal(words(0, 0)[1], 42);
	assert_int_equal(op[2].value, UINT64_C(1) << 32);
	assert_int_equal(words(1, 0)[1], 0); /* ROM: the write was the device's */
	assert_int_equal(op[4].value, 0xdead0000 + 20);
	assert_int_equal(op[6].value, 0xdead0000 + 50);
	assert_int_equal(guest.exits, 4);
	end();
}

static void test_detach(void **state)
{
	struct vms_kvm_info info = { .size = sizeof(info) };
	struct guest_op op[2] = { guest_read(PAGE(0)), guest_read(PAGE(30)) };
	struct kvm_userspace_memory_region r = { .slot = 1,
						 .guest_phys_addr = PAGE(0),
						 .memory_size = PAGES * P };

	begin(MANUAL);
	assert_ok(map_one(0, 20, 0, 0, RW));
	assert_ok(map_one(30, 20, 1, 0, RW));
	log_begin();
	look();
	assert_ok(vms_kvm_info(kvm, &info));
	assert_int_equal(info.slots, 2);
	assert_true(info.max_slots >= 31);
	vms_kvm_detach(kvm);
	harvest(); /* detach has read the log first */
	guest.exits = 0;
	assert_ok(guest_do(&guest, op, 2));
	assert_int_equal(guest.exits, 2);
	/* Somebody else's slot fits over all of it. */
	r.userspace_addr = (uintptr_t)mmap(NULL, PAGES * P, PROT_READ | PROT_WRITE,
					   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_int_equal(ioctl(guest.vm, KVM_SET_USER_MEMORY_REGION, &r), 0);
	/* Where our ids begin: an id is taken, and what stands there too. */
	assert_int_equal(attach_as(0), -EINVAL);
	r.memory_size = 0;
	assert_int_equal(ioctl(guest.vm, KVM_SET_USER_MEMORY_REGION, &r), 0);
	munmap((void *)(uintptr_t)r.userspace_addr, PAGES * P);
	assert_ok(attach_as(0));
	look();
	end();
}

static void test_no_machine(void **state)
{
	struct vms_kvm *k;
	struct vms_kvm_params p = { .size = sizeof(p) };

	begin(MANUAL);
	assert_int_equal(vms_kvm_attach(mem, guest.kvm, &p, &k), -EINVAL);
	assert_int_equal(vms_kvm_attach(mem, guest.vcpu, &p, &k), -EINVAL);
	assert_int_equal(vms_kvm_attach(mem, -1, &p, &k), -EINVAL);
	assert_int_equal(vms_kvm_attach(mem, 0, &p, &k), -EINVAL);
	/* Rings come too late. */
	p.flags = VMS_KVM_DIRTY_RING;
	assert_true(vms_kvm_attach(mem, guest.vm, &p, &k) < 0);
	end();
}

static void test_keep_pages(void **state)
{
	int quirks;

	begin(MANUAL);
	quirks = ioctl(guest.vm, KVM_CHECK_EXTENSION, KVM_CAP_DISABLE_QUIRKS2);
	vms_kvm_detach(kvm);
	if (quirks > 0 && quirks & 1 << 7) {
		assert_ok(attach_as(VMS_KVM_KEEP_PAGES));
		assert_ok(map_one(0, 20, 0, 0, RW));
		assert_ok(map_one(30, 20, 1, 0, RW));
		log_begin();
		look();
		assert_ok(map_one(5, 2, 2, 0, RO));
		look();
		harvest();
	} else {
		assert_int_equal(attach_as(VMS_KVM_KEEP_PAGES), -ENOTSUP);
		assert_ok(attach_as(0));
	}
	end();
}

/* Huge pages need equal offsets in 2 MiB: a block that starts a huge page can be given them. */
static void test_congruent(void **state)
{
	struct vms_block_params p = { .size = sizeof(p),
				      .kind = VMS_BLOCK_ANON,
				      .bytes = UINT64_C(8) << 20 };
	struct vms_slot_info info;
	struct vms_block *big;
	struct vms_edit *e;

	begin(MANUAL);
	assert_ok(vms_block_create(mem, &p, &big));
	e = edit();
	assert_ok(vms_slot_map(e, AT, p.bytes, big, 0, RW));
	assert_ok(vms_edit_commit(e));
	assert_ok(vms_slot_find(mem, AT, &info));
	assert_int_equal((AT ^ (uintptr_t)info.hva) & ((2 << 20) - 1), 0);
	vms_block_unref(big);
	end();
}

struct gmem {
	uint64_t size, flags, reserved[6];
};
#define CREATE_GUEST_MEMFD    _IOWR(KVMIO, 0xd4, struct gmem)
#define CAP_GUEST_MEMFD	      234
#define CAP_GUEST_MEMFD_FLAGS 244

static void test_guest_memfd(void **state)
{
	struct gmem g = { .size = 32 * P, .flags = 3 }; /* may be mapped; shared at first */
	struct guest_op op[] = { guest_write(PAGE(0) + 8, 7), guest_read(PAGE(4)),
				 guest_read(PAGE(8)), guest_read(PAGE(12)) };
	struct vms_port *port;
	struct vms_edit *e;
	uint64_t *at, seen;
	int fd;

	begin(MANUAL);
	fd = ioctl(guest.vm, KVM_CHECK_EXTENSION, CAP_GUEST_MEMFD) > 0 &&
			     ioctl(guest.vm, KVM_CHECK_EXTENSION, CAP_GUEST_MEMFD_FLAGS) == 3
		     ? ioctl(guest.vm, CREATE_GUEST_MEMFD, &g)
		     : -1;
	if (fd < 0) {
		end();
		print_message("skipped: this KVM has no guest_memfd that can be mapped\n");
		skip();
	}
	at = mmap(NULL, g.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(at != MAP_FAILED);
	e = edit();
	assert_int_equal(vms_kvm_guest_memfd(e, PAGE(0), 16 * P, fd, 1, at), -EINVAL);
	assert_int_equal(vms_kvm_guest_memfd(e, PAGE(0), 16 * P, -1, 0, at), -EBADF);
	assert_ok(vms_kvm_guest_memfd(e, PAGE(0), 16 * P, fd, 16 * P, at + 16 * P / 8));
	assert_ok(vms_slot_map(e, PAGE(16), 4 * P, block[0], 0, RW));
	assert_ok(vms_edit_commit(e));
	at[20 * P / 8] = 1234;
	guest.exits = 0;
	assert_ok(guest_do(&guest, op, 2));
	assert_int_equal(op[1].value, 1234);
	assert_int_equal(at[16 * P / 8 + 1], 7);
	assert_int_equal(guest.exits, 0);
	/* A log: KVM keeps none of it, and does not mind. */
	log_begin();
	/* Cut in two: each part shows its part of the file. */
	at[24 * P / 8] = 24;
	at[28 * P / 8] = 28;
	e = edit();
	assert_ok(vms_slot_unmap(e, PAGE(4), P));
	assert_ok(vms_slot_unmap(e, PAGE(8), P));
	assert_ok(vms_edit_commit(e));
	assert_ok(guest_do(&guest, op, 4));
	assert_int_equal(guest.exits, 2);
	assert_int_equal(op[3].value, 28);
	/* Ports reach it where the file is mapped. */
	assert_ok(vms_port_create(mem, NULL, &port));
	assert_ok(vms_load_le64(port, PAGE(12), &seen));
	assert_int_equal(seen, 28);
	assert_ok(vms_store_le64(port, PAGE(12), 29));
	assert_int_equal(at[28 * P / 8], 29);
	vms_port_unref(port);
	vms_dirty_stop(dirty);
	dirty = NULL;
	e = edit();
	assert_ok(vms_slot_unmap(e, PAGE(0), 16 * P));
	assert_ok(vms_edit_commit(e));
	close(fd);
	munmap(at, g.size);
	end();
}

/* ---- Random edits ---- */

static void change(struct vms_edit *e)
{
	unsigned at = below(PAGES), n = 1 + below(below(3) ? 8 : PAGES), b = below(BLOCKS);
	unsigned off = below(2) ? at % 30 : below(EACH);
	struct vms_slot_info info;

	n = n < PAGES - at ? n : PAGES - at;
	switch (below(6)) {
	case 0:
		assert_ok(vms_slot_unmap(e, PAGE(at), n * P));
		break;
	case 1:
		if (vms_slot_find(mem, PAGE(at), &info))
			break;
		at = below(PAGES);
		if (at + info.len / P > PAGES)
			break;
		assert_ok(vms_slot_unmap(e, info.gpa, info.len));
		assert_ok(vms_slot_map(e, PAGE(at), info.len, info.block, info.off, info.access));
		break;
	default:
		n = n < EACH - off ? n : EACH - off;
		assert_ok(vms_slot_map(e, PAGE(at), n * P, block[b], off * P, below(4) ? RW : RO));
	}
}

static unsigned steps = 50;

static void test_random(void **state)
{
	struct vms_kvm_info info = { .size = sizeof(info) };

	for (enum way w = 0; w < WAYS; w++) {
		begin(w);
		for (unsigned i = 0; i < steps; i++) {
			struct vms_edit *e = edit();

			for (unsigned k = 1 + below(3); k > 0; k--)
				change(e);
			assert_ok(vms_edit_commit(e));
			look();
			switch (below(8)) {
			case 0:
				if (!dirty)
					log_begin();
				break;
			case 1:
				if (dirty && below(8) == 0) {
					vms_dirty_stop(dirty);
					dirty = NULL;
				}
				break;
			case 2:
			case 3:
				if (dirty)
					harvest();
			}
		}
		if (dirty)
			harvest();
		assert_ok(vms_kvm_info(kvm, &info));
		print_message("%s: %lu created, %lu deleted, %lu moved, %lu flagged, %lu ring "
			      "entries\n",
			      way_name[w], (long)info.created, (long)info.deleted, (long)info.moved,
			      (long)info.flagged, (long)info.ring_entries);
		assert_true(info.moved > 0 && info.flagged > 0);
		assert_int_equal(info.over_marked, 0);
		assert_int_equal(info.ring_entries > 0, w == RING);
		end();
	}
}

/* ---- Failures ---- */

static int fail_run(void *arg)
{
	struct vms_edit *e;
	int err = vms_edit_begin(mem, &e);

	if (err)
		return err;
	err = vms_slot_map(e, PAGE(4), 4 * P, block[2], 0, RW);
	if (!err)
		err = vms_slot_unmap(e, PAGE(40), 8 * P);
	if (!err)
		err = vms_slot_map(e, PAGE(60), 8 * P, block[1], 30 * P, RW);
	if (err) {
		vms_edit_abort(e);
		return err;
	}
	return vms_edit_commit(e);
}

static void fail_set_up(void *arg)
{
	assert_ok(map_one(0, 20, 0, 0, RW));
	assert_ok(map_one(20, 4, 0, 20, RO));
	assert_ok(map_one(40, 8, 1, 30, RW));
	look();
}

static void fail_check(void *arg, int result, bool failed)
{
	assert_true(!result || (failed && result == -EPERM));
	look(); /* the old state, or the new one, as the memory says */
	if (!dirty || !failed)
		return;
	/* Nothing is lost; what KVM did not tell counts as written. */
	assert_ok(vms_dirty_sync(dirty));
	for (unsigned b = 0; b < BLOCKS; b++) {
		struct harvest h = { b, { 0 } };

		assert_ok(vms_dirty_harvest(dirty, block[b], 0, EACH * P, saw, &h));
		for (unsigned i = 0; i < EACH; i++)
			if (written[b][i] && !h.seen[i])
				broken("page %u of block %u was lost", i, b);
	}
	memset(written, 0, sizeof(written));
}

static void fail_tear_down(void *arg)
{
	struct vms_edit *e = edit();

	assert_ok(vms_slot_unmap(e, AT, PAGES * P));
	assert_ok(vms_edit_commit(e));
	if (dirty)
		harvest();
}

static void test_fail(void **state)
{
	struct sweep s = { .world = &world,
			   .set_up = fail_set_up,
			   .run = fail_run,
			   .check = fail_check,
			   .tear_down = fail_tear_down,
			   .mask = 1u << CALL_IOCTL,
			   .err = EPERM };

	for (enum way w = 0; w < WAYS; w++)
		for (int log = 0; log < 2; log++) {
			begin(w);
			if (log)
				log_begin();
			sweep(&s);
			end();
		}
}

/* ---- KVM's rules, and what the fake takes them to be ---- */

static struct fake_kvm fake;

static void test_rules(void **state)
{
	static const uint32_t flags[] = { 0, 0, 0, 1, 2, 3, 8, 1u << 31 };
	unsigned done = 0;
	unsigned char *host;

	begin(BITMAP);
	vms_kvm_detach(kvm);
	kvm = NULL;
	end();
	need(guest_open(&guest));
	host = mmap(NULL, 64 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(&fake, 0, sizeof(fake));
	fake.slots = 8;
	for (unsigned i = 0; i < 5000; i++) {
		struct kvm_userspace_memory_region r = {
			.slot = 1 + below(6),
			.flags = flags[below(8)],
			.guest_phys_addr = PAGE(below(24)) + (below(20) ? 0 : 0x10),
			.memory_size = below(4) ? (1 + below(8)) * P : 0,
			.userspace_addr = (uintptr_t)host + below(3) * 8 * P + (below(20) ? 0 : 8),
		};
		const struct fake_slot *was = &fake.slot[r.slot];
		int real, mine;

		if (was->bytes && below(2)) { /* nearly what it is */
			r.memory_size = was->bytes;
			r.userspace_addr = was->hva;
			if (below(2))
				r.flags = was->flags ^ (below(2) ? 1 : 0);
		}
		if (below(100) == 0)
			r.guest_phys_addr = UINT64_MAX - P + 1;
		mine = fake_set(&fake, r.slot, r.flags, r.guest_phys_addr, r.memory_size,
				r.userspace_addr, -1, 0);
		real = ioctl(guest.vm, KVM_SET_USER_MEMORY_REGION, &r) < 0 ? -errno : 0;
		if (mine != real)
			broken("slot %u, flags %x, %llx bytes at %llx: KVM says %d, the fake %d",
			       r.slot, r.flags, (long long)r.memory_size,
			       (long long)r.guest_phys_addr, real, mine);
		done += !real;
	}
	print_message(
		"%u of 5000 calls were taken: %lu creates, %lu deletes, %lu moves, %lu flags\n",
		done, (long)fake.created, (long)fake.deleted, (long)fake.moved, (long)fake.flagged);
	for (unsigned i = 0; i < 8; i++)
		if (fake.slot[i].bytes)
			fake_set(&fake, i, 0, 0, 0, 0, -1, 0);
	munmap(host, 64 * P);
	guest_close(&guest);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),	   cmocka_unit_test(test_detach),
		cmocka_unit_test(test_no_machine), cmocka_unit_test(test_keep_pages),
		cmocka_unit_test(test_congruent),  cmocka_unit_test(test_guest_memfd),
		cmocka_unit_test(test_random),	   cmocka_unit_test(test_fail),
		cmocka_unit_test(test_rules),
	};

	if (argc > 1)
		steps = (unsigned)strtoul(argv[1], NULL, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
