// SPDX-License-Identifier: MIT
/*
 * pause.c: what a running guest notices of an edit. Its vCPU reads all the time from two pages; one
 * is a slot of ours, the other a bare slot of KVM, and in turns each shows another host page: a
 * remap, which KVM can only do by a delete and a create.
 *
 *	held out	how long the gate keeps the vCPU out of the guest for a remap, from asking
 *for it until it may go on; the peer is the same gate around the two bare ioctls exits
 *without the gate, device exits of the vCPU's reads for 1,000 remaps
 */
#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../tests/kvm/guest.h"
#include "bench.h"
#include "vmspace/kvm.h"

#define OURS	  (UINT64_C(1) << 30)
#define BARE	  (UINT64_C(2) << 30)
#define BARE_SLOT 100u
#define PAGES	  2u /* that take turns */
#define READS	  256u
#define ROUNDS	  20u

static uint64_t page;
static struct guest guest;
static struct vms_memory *mem;
static struct vms_block *block;
static struct vms_kvm *kvm;
static unsigned char *bare_pages;
static atomic_bool stop;
static atomic_ulong exits[2]; /* of our page, of the bare one */
static uint64_t asked, held;  /* ns */

static void must(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "bench-pause: %s: %d: %s\n", what, err, vms_last_error());
	exit(1);
}

static void enter(void *arg)
{
	asked = now_ns();
	guest_enter_gate(arg);
}

static void leave(void *arg)
{
	guest_leave_gate(arg);
	held = now_ns() - asked;
}

static void on_device(void *arg, uint64_t gpa, bool write, uint64_t *value)
{
	atomic_fetch_add(&exits[gpa >= BARE], 1);
}

static void *run(void *arg)
{
	struct guest_op ops[READS];

	while (!atomic_load(&stop)) {
		for (unsigned i = 0; i < READS; i++)
			ops[i] = guest_read((i % 2 ? BARE : OURS) + i / 2 * 8);
		must(guest_do(&guest, ops, READS), "the guest");
	}
	return NULL;
}

static void remap(unsigned k)
{
	struct vms_edit *edit;

	must(vms_edit_begin(mem, &edit), "edit_begin");
	must(vms_slot_map(edit, OURS, page, block, k % PAGES * page, VMS_SLOT_RAM), "slot_map");
	must(vms_edit_commit(edit), "edit_commit");
}

static void bare_slot(uint64_t len, unsigned k)
{
	struct kvm_userspace_memory_region r = {
		.slot = BARE_SLOT,
		.guest_phys_addr = BARE,
		.memory_size = len,
		.userspace_addr = (uintptr_t)bare_pages + k % PAGES * page,
	};

	must(ioctl(guest.vm, KVM_SET_USER_MEMORY_REGION, &r), "a bare ioctl");
}

static void bare_remap(unsigned k, bool gate)
{
	if (gate)
		enter(&guest);
	bare_slot(0, 0);
	bare_slot(page, k);
	if (gate)
		leave(&guest);
}

static const char *begin(bool gate)
{
	struct vms_memory_params mp = { .size = sizeof(mp) };
	struct vms_kvm_params kp = { .size = sizeof(kp), .first_slot = 1, .slots = 50 };
	struct vms_block_params bp = { .size = sizeof(bp),
				       .kind = VMS_BLOCK_ANON,
				       .bytes = PAGES * page };
	const char *why = guest_open(&guest);

	if (why)
		return why;
	if (gate)
		mp.gate = (struct vms_gate){ enter, leave, &guest };
	must(vms_memory_create(&mp, &mem), "memory_create");
	must(vms_block_create(mem, &bp, &block), "block_create");
	must(vms_kvm_attach(mem, guest.vm, &kp, &kvm), "kvm_attach");
	why = guest_start(&guest);
	if (why)
		return why;
	guest.device = on_device;
	bare_slot(page, 0);
	remap(0);
	for (unsigned i = 0; i < 2; i++)
		atomic_store(&exits[i], 0);
	atomic_store(&stop, false);
	return NULL;
}

static void end(void)
{
	vms_kvm_detach(kvm);
	vms_block_unref(block);
	vms_memory_unref(mem);
	guest_close(&guest);
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static double percentile(uint64_t *sorted, unsigned n, unsigned p)
{
	return (double)sorted[(n - 1) * p / 100];
}

static void held_out(const struct bench *b)
{
	struct figure p50 = { .unit = "ns/remap", .target = 1.05 }, p99 = { .unit = "ns/remap" };
	unsigned n = b->quick ? 100 : 1000;
	uint64_t *ours = malloc(n * sizeof(*ours)), *bare = malloc(n * sizeof(*bare));
	pthread_t thread;

	pthread_create(&thread, NULL, run, NULL);
	for (unsigned i = 0; i < ROUNDS; i++) {
		for (unsigned k = 0; k < n; k++) {
			remap(k + 1);
			ours[k] = held;
			bare_remap(k + 1, true);
			bare[k] = held;
		}
		qsort(ours, n, sizeof(*ours), by_size);
		qsort(bare, n, sizeof(*bare), by_size);
		figure_round(&p50, percentile(ours, n, 50), percentile(bare, n, 50));
		figure_round(&p99, percentile(ours, n, 99), percentile(bare, n, 99));
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	free(ours);
	free(bare);
	figure_show(b, &p50, "vCPU held out, median (peer: gate and ioctls)");
	figure_show(b, &p99, "vCPU held out, 99th of 100 (peer: gate and ioctls)");
}

static void stray_exits(const struct bench *b)
{
	struct figure f = { .unit = "exits/1000" };
	unsigned n = b->quick ? 200 : 2000;
	pthread_t thread;

	pthread_create(&thread, NULL, run, NULL);
	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned long before[2] = { atomic_load(&exits[0]), atomic_load(&exits[1]) };

		for (unsigned k = 0; k < n; k++) {
			remap(k + 1);
			bare_remap(k + 1, false);
		}
		figure_round(&f, (double)(atomic_load(&exits[0]) - before[0]) * 1000 / n,
			     (double)(atomic_load(&exits[1]) - before[1]) * 1000 / n);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	figure_show(b, &f, "device exits without a gate (peer: ioctls)");
}

int main(int argc, char **argv)
{
	struct bench b;
	const char *why;

	bench_init(&b, "pause", argc, argv);
	page = (uint64_t)sysconf(_SC_PAGESIZE);
	bare_pages = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	must(bare_pages == MAP_FAILED, "mmap");
	for (int gate = 1; gate >= 0; gate--) {
		why = begin(gate);
		if (why) {
			bench_skip(&b, "a guest's pause", why);
			return 0;
		}
		if (gate)
			held_out(&b);
		else
			stray_exits(&b);
		end();
	}
	munmap(bare_pages, PAGES * page);
	return 0;
}
