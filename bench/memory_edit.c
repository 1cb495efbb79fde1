// SPDX-License-Identifier: MIT
/*
 * memory_edit.c: what changes of guest memory cost, and what it keeps.
 *
 *	edit		of the rights of one slot of n, at random, and back; nobody listens. And a
 *			page where nothing was, mapped and unmapped. A budget of 10 us an edit
 *	KVM edit	the same of a page, and of another block's part in a slot's place, with the
 *			slots in a virtual machine; the peer is the bare ioctls in another one
 *	round		of a migration, per GiB: the pages of one GiB, some of which are dirty, are
 *			taken out of the log, with a call for each run; the peer does the same with
 *			a bitmap of its own
 *	metadata	of tables and slots, per GiB of guest memory; the peer is what the host's
 *			page tables take
 *	pairs		of map and unmap of stand-alone memory: this process's memory after many of
 *			them, over that after a few
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory_kit.h"
#include "vmspace/kvm.h"

#define EDIT_BUDGET 10000.0	/* ns */
#define FAR	    (2 * GUEST) /* nothing is there */

/* ---- Edits ---- */

/* What its neighbours never have. */
static uint32_t other_access(unsigned i)
{
	return slot_access(i) & ~VMS_SLOT_WRITE;
}

static uint64_t next_random(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static double change_rights(const struct guest *g, unsigned n)
{
	uint64_t t = cpu_ns();

	for (unsigned k = 0; k < n; k += 2) {
		unsigned i = (unsigned)(next_random() % g->slots);

		guest_put(g, i, other_access(i));
		guest_put(g, i, slot_access(i));
	}
	return since(t, n);
}

static void map_page(const struct guest *g, uint64_t off)
{
	struct vms_edit *edit;

	must(vms_edit_begin(g->mem, &edit), "edit_begin");
	must(vms_slot_map(edit, FAR, page, g->block, off, VMS_SLOT_RAM), "slot_map");
	must(vms_edit_commit(edit), "edit_commit");
}

static void unmap_page(const struct guest *g)
{
	struct vms_edit *edit;

	must(vms_edit_begin(g->mem, &edit), "edit_begin");
	must(vms_slot_unmap(edit, FAR, page), "slot_unmap");
	must(vms_edit_commit(edit), "edit_commit");
}

static double map_and_unmap(const struct guest *g, unsigned n)
{
	uint64_t t = cpu_ns();

	for (unsigned k = 0; k < n; k++) {
		map_page(g, 0);
		unmap_page(g);
	}
	return since(t, n);
}

static void edits(const struct bench *b, unsigned slots)
{
	struct figure rights = { .unit = "ns/edit", .target = 1.0 };
	struct figure pair = { .unit = "ns/pair", .target = 1.0 };
	unsigned n = b->quick ? 400 : 4000;
	struct guest g;

	guest_make(&g, slots);
	for (unsigned i = 0; i < b->rounds; i++) {
		figure_round(&rights, change_rights(&g, n), EDIT_BUDGET);
		figure_round(&pair, map_and_unmap(&g, n / 2), 2 * EDIT_BUDGET);
	}
	guest_end(&g);
	figure_show(b, &rights, "edit of rights, %u slots (peer: 10 us)", slots);
	figure_show(b, &pair, "map + unmap of a page, %u slots (peer: 20 us)", slots);
}

/* ---- KVM ---- */

static int machine_new(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm = -1;

	if (kvm < 0)
		return -1;
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	close(kvm);
	return vm;
}

/* len 0: the slot goes. */
static void bare_slot(int vm, unsigned id, uint64_t gpa, uint64_t len, uint64_t off)
{
	struct kvm_userspace_memory_region r = {
		.slot = id,
		.guest_phys_addr = gpa,
		.memory_size = len,
		.userspace_addr = (uint64_t)(uintptr_t)guest_base + off,
	};

	must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &r) ? -EINVAL : 0, "the bare ioctl");
}

/* The wall's time: the kernel waits for its readers. */
static double by_wall(uint64_t t, unsigned n)
{
	return (double)(now_ns() - t) / n;
}

static void kvm_edits(const struct bench *b, unsigned slots)
{
	struct figure pair = { .unit = "ns/pair", .target = 1.05 };
	struct figure other = { .unit = "ns/edit", .target = 1.05 };
	struct vms_kvm_params params = { .size = sizeof(params) };
	int ours = machine_new(), bare = machine_new();
	unsigned n = b->quick ? 2 : 20;
	struct vms_kvm *kvm;
	struct guest g;

	if (ours < 0 || bare < 0) {
		bench_skip(b, "KVM edits", "no /dev/kvm");
		return;
	}
	guest_make(&g, slots);
	must(vms_kvm_attach(g.mem, ours, &params, &kvm), "kvm_attach");
	for (unsigned i = 0; i < slots; i++)
		bare_slot(bare, i, i * g.slot_bytes,
			  i + 1 == slots ? GUEST - i * g.slot_bytes : g.slot_bytes,
			  i * g.slot_bytes);
	for (unsigned i = 0; i < b->rounds; i++) {
		uint64_t t = now_ns();
		double cost;

		map_and_unmap(&g, n);
		cost = by_wall(t, n);
		t = now_ns();
		for (unsigned k = 0; k < n; k++) {
			bare_slot(bare, slots, FAR, page, 0);
			bare_slot(bare, slots, 0, 0, 0);
		}
		figure_round(&pair, cost, by_wall(t, n));

		map_page(&g, 0);
		bare_slot(bare, slots, FAR, page, 0);
		t = now_ns();
		for (unsigned k = 0; k < n; k++)
			map_page(&g, (k + 1) % 2 * page);
		cost = by_wall(t, n);
		t = now_ns();
		for (unsigned k = 0; k < n; k++) {
			bare_slot(bare, slots, 0, 0, 0);
			bare_slot(bare, slots, FAR, page, (k + 1) % 2 * page);
		}
		figure_round(&other, cost, by_wall(t, n));
		unmap_page(&g);
		bare_slot(bare, slots, 0, 0, 0);
	}
	vms_kvm_detach(kvm);
	guest_end(&g);
	close(ours);
	close(bare);
	figure_show(b, &pair, "KVM map + unmap, %u slots (peer: ioctls)", slots);
	figure_show(b, &other, "KVM replace, %u slots (peer: ioctls)", slots);
}

void bench_edits(const struct bench *b)
{
	edits(b, 64);
	edits(b, 4096);
	edits(b, 32764);
	kvm_edits(b, 3);
	kvm_edits(b, 509);
}

/* ---- Migration rounds ---- */

#define GIB_PAGES (GIB / 4096)

struct runs {
	uint64_t n, bytes;
};

static int count_run(void *arg, struct vms_block *block, uint64_t off, uint64_t len)
{
	struct runs *r = arg;

	(void)block;
	(void)off;
	r->n++;
	r->bytes += len;
	return 0;
}

static int (*volatile bare_run)(void *arg, struct vms_block *block, uint64_t off,
				uint64_t len) = count_run;

static void bare_round(_Atomic(uint64_t) *bits, struct runs *r)
{
	uint64_t first = 0, len = 0;

	for (uint64_t i = 0; i < GIB_PAGES / 64; i++) {
		uint64_t word = atomic_load_explicit(&bits[i], memory_order_relaxed);

		if (word)
			word = atomic_exchange(&bits[i], 0);
		while (word) {
			unsigned at = (unsigned)__builtin_ctzll(word), n;
			uint64_t rest = ~(word >> at);

			n = rest ? (unsigned)__builtin_ctzll(rest) : 64 - at;
			n = n < 64 - at ? n : 64 - at;
			if (len && first + len != i * 64 + at) {
				bare_run(r, NULL, first * 4096, len * 4096);
				len = 0;
			}
			first = len ? first : i * 64 + at;
			len += n;
			word = at + n < 64 ? word >> (at + n) << (at + n) : 0;
		}
	}
	if (len)
		bare_run(r, NULL, first * 4096, len * 4096);
}

/* dirty: pages of the GiB; all of them, or so many at random. */
static void round_of(const struct bench *b, const struct guest *g, struct vms_dirty *log,
		     unsigned dirty)
{
	_Atomic(uint64_t) *bits = calloc(GIB_PAGES / 64, sizeof(*bits));
	struct figure f = { .unit = "ns/GiB" };

	for (unsigned i = 0; i < b->rounds; i++) {
		struct runs ours = { 0 }, bare = { 0 };
		double cost;
		uint64_t t;

		for (uint64_t k = 0; k < dirty; k++) {
			uint64_t p = dirty == GIB_PAGES ? k : next_random() % GIB_PAGES;

			must(vms_store8(g->port, p * 4096, 0), "store");
			atomic_fetch_or_explicit(&bits[p / 64], UINT64_C(1) << p % 64,
						 memory_order_relaxed);
		}
		t = cpu_ns();
		must(vms_dirty_harvest(log, g->block, 0, GIB, count_run, &ours), "harvest");
		cost = since(t, 1);
		t = cpu_ns();
		bare_round(bits, &bare);
		figure_round(&f, cost, since(t, 1));
		must(ours.bytes == bare.bytes ? 0 : -EFAULT, "as many pages");
	}
	free(bits);
	figure_show(b, &f, "migration round, %u dirty pages (peer: bitmap)", dirty);
}

void bench_rounds(const struct bench *b)
{
	struct vms_dirty_params params = { .size = sizeof(params) };
	struct vms_dirty *log;
	struct guest g;

	guest_make(&g, 3);
	must(vms_dirty_start(g.mem, &params, &log), "dirty_start");
	round_of(b, &g, log, 0);
	round_of(b, &g, log, 256);
	round_of(b, &g, log, 16384);
	round_of(b, &g, log, GIB_PAGES);
	vms_dirty_stop(log);
	guest_end(&g);
}

/* ---- Bookkeeping ---- */

static void metadata(const struct bench *b, unsigned slots)
{
	struct vms_memory_info info = { .size = sizeof(info) };
	struct figure f = { .unit = "bytes/GiB" };
	struct guest g;

	guest_make(&g, slots);
	must(vms_memory_info(g.mem, &info), "info");
	figure_round(&f, (double)info.metadata / (GUEST / GIB), (double)(GIB / page * 8));
	guest_end(&g);
	figure_show(b, &f, "metadata, %u slots (peer: page tables)", slots);
}

/* What is not the guest's: that is shared memory. */
static double resident(void)
{
	unsigned long total, here = 0, shared = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%lu %lu %lu", &total, &here, &shared) != 3)
		die("statm");
	fclose(f);
	return (double)(here - shared) * (double)page;
}

static void pairs(const struct guest *g, unsigned n, char *memory)
{
	for (unsigned k = 0; k < n; k++) {
		struct vms_edit *edit;

		must(vms_edit_begin(g->mem, &edit), "edit_begin");
		must(vms_slot_map_host(edit, FAR + k % 64 * page, page, memory, NULL, NULL,
				       VMS_SLOT_RAM),
		     "slot_map_host");
		must(vms_edit_commit(edit), "edit_commit");
		must(vms_edit_begin(g->mem, &edit), "edit_begin");
		must(vms_slot_unmap(edit, FAR + k % 64 * page, page), "slot_unmap");
		must(vms_edit_commit(edit), "edit_commit");
	}
}

static void constant(const struct bench *b)
{
	struct figure memory = { .unit = "bytes", .target = 1.05 }, cost = { .unit = "ns/pair" };
	unsigned n = b->quick ? 100000 : 1000000;
	struct guest g;
	double before;
	uint64_t t;

	guest_make(&g, 3);
	pairs(&g, n / 100, guest_base);
	before = resident();
	t = cpu_ns();
	pairs(&g, n, guest_base);
	figure_round(&cost, since(t, n), 2 * EDIT_BUDGET);
	figure_round(&memory, resident(), before);
	guest_end(&g);
	figure_show(b, &memory, "memory after %u pairs (peer: after %u)", n + n / 100, n / 100);
	figure_show(b, &cost, "stand-alone map + unmap (peer: 20 us)");
}

void bench_upkeep(const struct bench *b)
{
	metadata(b, 1);
	metadata(b, 509);
	metadata(b, 32764);
	constant(b);
}
