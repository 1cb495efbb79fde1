// SPDX-License-Identifier: MIT
/*
 * A guest that runs while its slots change.
 *
 *	threads		0.4 seconds of each
 *	threads S	S seconds of each
 *
 *	tear	two pages always show the same page of a block, and are changed at once. With a
 *		gate no read of the guest finds a hole, or one of them changed alone
 *	copy	what the guest writes is copied, harvest by harvest, while slots come, go and
 *		move. In the end the copy is the memory: no write was lost, with a gate or without
 *	inside	the thread that commits is the vCPU's own, in a device's access
 *
 * Skips where there is no /dev/kvm, or it does not run the guest.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "check.h"

#include "guest.h"
#include "memory/kvm_abi.h"
#include "random.h"
#include "stress.h"
#include "vmspace/kvm.h"

#define P      UINT64_C(4096)
#define AT     (UINT64_C(1) << 30)
#define PAGES  64u
#define BLOCKS 2u
#define EACH   600u
#define RW     VMS_SLOT_RAM

#define PAGE(page) (AT + (uint64_t)(page)*P)

enum way { BITMAP, RING, WAYS }; /* a bitmap is cleared by hand where KVM can */
static const char *const way_name[WAYS] = { "bitmap", "ring" };

static double seconds = 0.4;
static struct guest guest;
static struct vms_memory *mem;
static struct vms_kvm *kvm;
static struct vms_block *block[BLOCKS];
static unsigned char *content[BLOCKS], *copied[BLOCKS];
static struct vms_dirty *dirty;
static bool with_gate;

/* ---- The scene ---- */

static void need(const char *why)
{
	if (!why)
		return;
	print_message("skipped: %s\n", why);
	if (kvm)
		vms_kvm_detach(kvm);
	vms_memory_unref(mem);
	guest_close(&guest);
	skip();
}

static void begin(enum way way, bool gate)
{
	struct vms_kvm_params kp = { .size = sizeof(kp),
				     .flags = way == RING ? VMS_KVM_DIRTY_RING : 0,
				     .first_slot = 1,
				     .ring_bytes = way == RING ? 4096 : 0 };
	struct vms_memory_params mp = { .size = sizeof(mp) };
	struct vms_block_params bp = { .size = sizeof(bp),
				       .kind = VMS_BLOCK_ANON,
				       .bytes = EACH * P };
	struct vms_block_info info = { .size = sizeof(info) };

	mem = NULL;
	kvm = NULL;
	dirty = NULL;
	with_gate = gate;
	need(guest_open(&guest));
	if (way == RING &&
	    ioctl(guest.vm, KVM_CHECK_EXTENSION, KVM_CAP_DIRTY_LOG_RING_ACQ_REL) <= 0)
		need("this KVM has no dirty rings");
	if (gate)
		mp.gate = (struct vms_gate){ guest_enter_gate, guest_leave_gate, &guest };
	assert_ok(vms_memory_create(&mp, &mem));
	assert_ok(vms_kvm_attach(mem, guest.vm, &kp, &kvm));
	need(guest_start(&guest));
	assert_ok(vms_kvm_vcpu_add(kvm, guest.vcpu));
	for (unsigned b = 0; b < BLOCKS; b++) {
		assert_ok(vms_block_create(mem, &bp, &block[b]));
		assert_ok(vms_block_info(block[b], &info));
		content[b] = info.hva;
		memset(content[b], 0, EACH * P);
		copied[b] = malloc(EACH * P);
		for (unsigned i = 0; i < EACH; i++)
			memcpy(content[b] + i * P, &(uint64_t){ (uint64_t)b << 32 | i }, 8);
	}
	atomic_store(&stop, false);
}

static void end(void)
{
	vms_dirty_stop(dirty);
	vms_kvm_detach(kvm);
	for (unsigned b = 0; b < BLOCKS; b++) {
		vms_block_unref(block[b]);
		free(copied[b]);
	}
	vms_memory_unref(mem);
	guest_close(&guest);
	assert_int_equal(atomic_load(&failures), 0);
}

static struct vms_edit *edit(void)
{
	struct vms_edit *e;

	assert_ok(vms_edit_begin(mem, &e));
	return e;
}

static pthread_t start(void *(*body)(void *))
{
	pthread_t t;

	assert_ok(pthread_create(&t, NULL, body, NULL));
	return t;
}

static void finish(pthread_t t)
{
	atomic_store(&stop, true);
	pthread_join(t, NULL);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- Tear ---- */

#define X    PAGE(3)
#define Y    PAGE(20)
#define HOLE UINT64_MAX

static uint64_t reads, holes, torn;

static void *read_both(void *arg)
{
	struct guest_op op[3 * 100];

	while (going()) {
		for (unsigned i = 0; i < 300; i += 3) {
			op[i] = guest_read(X);
			op[i + 1] = guest_read(Y);
			op[i + 2] = guest_read(X);
		}
		must(guest_do(&guest, op, 300), "guest");
		for (unsigned i = 0; i < 300; i += 3) {
			uint64_t a = op[i].value, b = op[i + 1].value, c = op[i + 2].value;

			reads++;
			if (a == HOLE || b == HOLE || c == HOLE)
				holes++;
			else if (a >> 32 >= BLOCKS || (uint32_t)a >= EACH || b >> 32 >= BLOCKS ||
				 (uint32_t)b >= EACH)
				bad("the guest read %lx and %lx: no page's", (long)a, (long)b);
			else if (a == c && a != b)
				torn++;
		}
	}
	return NULL;
}

/* Both pages together: never the same page of a block twice in a row, nor soon again. */
static void show_both(unsigned n)
{
	struct vms_edit *e = edit();
	struct vms_block *b = block[n / EACH % BLOCKS];

	assert_ok(vms_slot_map(e, X, P, b, n % EACH * P, RW));
	assert_ok(vms_slot_map(e, Y, P, b, n % EACH * P, RW));
	assert_ok(vms_edit_commit(e));
}

static void tear(bool gate)
{
	struct vms_edit *e;
	pthread_t t;
	double until;
	unsigned n = 0;

	begin(BITMAP, gate);
	reads = holes = torn = 0;
	e = edit();
	assert_ok(vms_slot_map(e, AT, PAGES * P, block[0], 0, RW));
	assert_ok(vms_edit_commit(e));
	show_both(n++);
	t = start(read_both);
	for (until = now() + seconds; now() < until || n < 20;)
		show_both(n++);
	finish(t);
	print_message("%s: %u edits, %lu reads, %lu found a hole, %lu one page alone\n",
		      gate ? "gate" : "no gate", n, (long)reads, (long)holes, (long)torn);
	assert_true(reads > 0);
	if (gate)
		assert_true(holes == 0 && torn == 0 && guest.exits == 0);
	end();
}

static void test_tear_gate(void **state)
{
	tear(true);
}

static void test_tear_no_gate(void **state)
{
	tear(false);
}

/* ---- Copy ---- */

static uint64_t writes;

static void sync_full(void *arg)
{
	must(vms_dirty_sync(dirty), "sync of a full ring");
}

static void *write_always(void *arg)
{
	struct guest_op op[256];
	uint32_t seed = 5;

	while (going()) {
		for (unsigned i = 0; i < 256; i++)
			op[i] = guest_write(PAGE(next32(&seed) % PAGES) + 8 +
						    next32(&seed) % 500 * 8,
					    ++writes);
		must(guest_do(&guest, op, 256), "guest");
	}
	return NULL;
}

static int copy(void *arg, struct vms_block *b, uint64_t off, uint64_t len)
{
	unsigned i = b == block[1];

	memcpy(copied[i] + off, content[i] + off, len);
	counted(0);
	return 0;
}

static void copy_dirty(void)
{
	assert_ok(vms_dirty_sync(dirty));
	for (unsigned b = 0; b < BLOCKS; b++)
		assert_ok(vms_dirty_harvest(dirty, block[b], 0, EACH * P, copy, NULL));
}

static void random_edit(uint32_t *seed)
{
	struct vms_edit *e = edit();

	for (unsigned k = 1 + next32(seed) % 3; k > 0; k--) {
		unsigned at = next32(seed) % PAGES, n = 1 + next32(seed) % 12;
		unsigned off = next32(seed) % (EACH - 12);
		struct vms_slot_info info;

		n = n < PAGES - at ? n : PAGES - at;
		if (next32(seed) % 5 == 0) {
			assert_ok(vms_slot_unmap(e, PAGE(at), n * P));
		} else if (next32(seed) % 5 == 0 && !vms_slot_find(mem, PAGE(at), &info)) {
			at = next32(seed) % PAGES;
			if (at + info.len / P > PAGES)
				continue;
			assert_ok(vms_slot_unmap(e, info.gpa, info.len));
			assert_ok(vms_slot_map(e, PAGE(at), info.len, info.block, info.off,
					       info.access));
		} else {
			assert_ok(vms_slot_map(e, PAGE(at), n * P, block[next32(seed) % BLOCKS],
					       off * P, next32(seed) % 8 ? RW : VMS_SLOT_ROM));
		}
	}
	assert_ok(vms_edit_commit(e));
}

static void copy_while(enum way way, bool gate)
{
	struct vms_dirty_params p = { .size = sizeof(p) };
	struct vms_kvm_info info = { .size = sizeof(info) };
	unsigned edits = 0, harvests = 0, lost = 0;
	uint32_t seed = 11;
	pthread_t t;
	double until;

	begin(way, gate);
	writes = 0;
	atomic_store(&counts[0], 0);
	guest.full = sync_full;
	random_edit(&seed);
	assert_ok(vms_dirty_start(mem, &p, &dirty));
	t = start(write_always);
	for (unsigned b = 0; b < BLOCKS; b++)
		memcpy(copied[b], content[b], EACH * P);
	for (until = now() + seconds; now() < until || edits < 20 || harvests < 3; edits++) {
		random_edit(&seed);
		if (next32(&seed) % 3 == 0) {
			copy_dirty();
			harvests++;
		}
	}
	finish(t);
	copy_dirty();
	for (unsigned b = 0; b < BLOCKS; b++)
		for (unsigned i = 0; i < EACH; i++)
			if (memcmp(copied[b] + i * P, content[b] + i * P, P))
				lost++;
	assert_ok(vms_kvm_info(kvm, &info));
	print_message("%s, %s: %u edits, %u harvests, %lu writes, %lu runs copied, %lu bytes "
		      "over-marked, %lu ring entries; %u pages lost\n",
		      way_name[way], gate ? "gate" : "no gate", edits, harvests, (long)writes,
		      (long)atomic_load(&counts[0]), (long)info.over_marked,
		      (long)info.ring_entries, lost);
	assert_int_equal(lost, 0);
	assert_int_equal(info.over_marked > 0, !gate);
	assert_true(writes > 0);
	end();
}

static void test_copy_gate(void **state)
{
	copy_while(BITMAP, true);
}

static void test_copy_no_gate(void **state)
{
	copy_while(BITMAP, false);
}

static void test_copy_ring_gate(void **state)
{
	copy_while(RING, true);
}

static void test_copy_ring_no_gate(void **state)
{
	copy_while(RING, false);
}

/* ---- Inside ---- */

/* A device's access shows another page in the middle of what stands: that takes the gate. */
static void map_from_inside(void *arg, uint64_t gpa, bool write, uint64_t *value)
{
	struct vms_edit *e;

	must(vms_edit_begin(mem, &e), "begin");
	must(vms_slot_map(e, PAGE(5), P, block[1], *value * P, RW), "map");
	must(vms_edit_commit(e), "commit");
}

static void test_inside(void **state)
{
	struct vms_memory_info info = { .size = sizeof(info) };
	struct guest_op op[] = { guest_read(PAGE(5)), guest_write(PAGE(PAGES), 7),
				 guest_read(PAGE(5)), guest_write(PAGE(PAGES), 9),
				 guest_read(PAGE(5)) };
	struct vms_edit *e;

	begin(BITMAP, true);
	e = edit();
	assert_ok(vms_slot_map(e, AT, PAGES * P, block[0], 0, RW));
	assert_ok(vms_edit_commit(e));
	guest.device = map_from_inside;
	assert_ok(guest_do(&guest, op, 5));
	assert_int_equal(op[0].value, 5);
	assert_int_equal(op[2].value, UINT64_C(1) << 32 | 7);
	assert_int_equal(op[4].value, UINT64_C(1) << 32 | 9);
	assert_int_equal(guest.exits, 2);
	assert_ok(vms_memory_info(mem, &info));
	assert_int_equal(info.gated, 2);
	end();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tear_gate),      cmocka_unit_test(test_tear_no_gate),
		cmocka_unit_test(test_copy_gate),      cmocka_unit_test(test_copy_no_gate),
		cmocka_unit_test(test_copy_ring_gate), cmocka_unit_test(test_copy_ring_no_gate),
		cmocka_unit_test(test_inside),
	};

	if (argc > 1)
		seconds = strtod(argv[1], NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
