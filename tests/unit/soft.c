// SPDX-License-Identifier: MIT
/* soft.c: the soft MMU's table and TLB: each rule of soft.h and tlb.h, one by one. */
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mmu/soft.h"
#include "mmu/soft_int.h"
#include "vmspace/vmspace.h"
#include "world.h"

#define R  VMS_PROT_READ
#define W  VMS_PROT_WRITE
#define X  VMS_PROT_EXEC
#define RW (R | W)

#define PAGES 1024u /* of host memory */

struct fixture {
	struct test_world world;
	struct soft *soft;
	struct vms_cpu cpu;
	uint64_t page;
	char *mem;
};

static struct fixture f;

static void open_with(uint64_t page)
{
	f.page = page;
	f.mem = aligned_alloc(65536, PAGES * page);
	assert_non_null(f.mem);
	for (uint64_t i = 0; i < PAGES * page; i++)
		f.mem[i] = (char)(i * 7 + i / page);
	assert_ok(soft_create(&f.world.world, page, &f.soft));
	soft_cpu_init(f.soft, &f.cpu);
}

static void shut(void)
{
	assert_ok(soft_check(f.soft));
	assert_int_equal(soft_destroy(f.soft), -EBUSY);
	soft_cpu_fini(&f.cpu);
	assert_ok(soft_destroy(f.soft));
	free(f.mem);
}

static int set_up(void **state)
{
	test_world_begin(&f.world);
	open_with(4096);
	return 0;
}

static int tear_down(void **state)
{
	shut();
	test_world_end(&f.world);
	return 0;
}

static uint64_t host(unsigned page)
{
	return (uint64_t)(uintptr_t)f.mem + page * f.page;
}

static void assert_entry(uint64_t gva, uint64_t want_host, uint32_t want_rights)
{
	uint64_t h = 0;
	uint32_t rights = 0;

	assert_ok(soft_query(f.soft, gva, &h, &rights));
	assert_int_equal(h, want_host);
	assert_int_equal(rights, want_rights);
}

static void assert_none(uint64_t gva)
{
	uint64_t h;
	uint32_t rights;

	assert_int_equal(soft_query(f.soft, gva, &h, &rights), -ENOENT);
}

static bool can(uint64_t gva, enum vms_tlb_access access)
{
	void *p = vms_tlb_begin(&f.cpu, gva, 8, access);

	if (p)
		vms_tlb_end(&f.cpu);
	else
		assert_int_equal(f.cpu.miss, gva);
	return p != NULL;
}

static struct soft_stats stats(void)
{
	struct soft_stats s;

	soft_stats(f.soft, &s);
	return s;
}

/* F50: what exists is skipped, refused or upgraded. */
static void existing(void **state)
{
	uint64_t list[3] = { host(5), host(9), host(7) };

	assert_ok(soft_map(f.soft, 0x10000, list, 3, R, SOFT_ERROR));
	assert_entry(0x10000, host(5), R);
	assert_entry(0x11000, host(9), R);
	assert_entry(0x12000, host(7), R);

	/* Any that exists: an error, and none is made; also in another node. */
	assert_int_equal(soft_map_run(f.soft, 0xe000, host(20), 3, RW, SOFT_ERROR), -EEXIST);
	assert_none(0xe000);
	assert_ok(soft_map_run(f.soft, 0x200000, host(1), 1, R, SOFT_ERROR));
	assert_int_equal(soft_map_run(f.soft, 0x1ff000, host(20), 2, RW, SOFT_ERROR), -EEXIST);
	assert_none(0x1ff000);
	assert_int_equal(stats().entries, 4);

	assert_ok(soft_map_run(f.soft, 0xf000, host(30), 5, RW, SOFT_SKIP));
	assert_entry(0xf000, host(30), RW);
	assert_entry(0x11000, host(9), R);
	assert_entry(0x13000, host(34), RW);

	/* The same address: more rights win, fewer are ignored. Another address wins. */
	assert_ok(soft_map(f.soft, 0x10000, list, 3, RW, SOFT_UPGRADE));
	assert_entry(0x11000, host(9), RW);
	assert_ok(soft_map(f.soft, 0x10000, list, 3, R, SOFT_UPGRADE));
	assert_entry(0x11000, host(9), RW);
	assert_ok(soft_map_run(f.soft, 0x11000, host(40), 1, R, SOFT_UPGRADE));
	assert_entry(0x11000, host(40), R);
}

/* An upgrade to another page takes the old one from TLBs; more rights come at the next access. */
static void upgrade_reaches_tlb(void **state)
{
	uint64_t v, want;

	assert_ok(soft_map_run(f.soft, 0x10000, host(3), 1, R, SOFT_ERROR));
	assert_true(vms_tlb_load64(&f.cpu, 0x10008, &v));
	assert_false(vms_tlb_store64(&f.cpu, 0x10008, 1));
	assert_ok(soft_map_run(f.soft, 0x10000, host(4), 1, RW, SOFT_UPGRADE));
	assert_true(vms_tlb_load64(&f.cpu, 0x10008, &v));
	memcpy(&want, f.mem + 4 * f.page + 8, 8);
	assert_int_equal(v, want);
	assert_true(vms_tlb_store64(&f.cpu, 0x10008, 42));
	memcpy(&want, f.mem + 4 * f.page + 8, 8);
	assert_int_equal(want, 42);
}

/* F51, F52: a run over several nodes; holes are fine. */
static void run_and_unmap(void **state)
{
	assert_ok(soft_map_run(f.soft, 0x1fe000, host(0), 1000, RW, SOFT_ERROR));
	assert_int_equal(stats().entries, 1000);
	for (unsigned i = 0; i < 1000; i++)
		assert_entry(0x1fe000 + i * 0x1000, host(i), RW);
	assert_true(can(0x200000, VMS_TLB_WRITE));
	assert_ok(soft_unmap(f.soft, 0x200000, 2));
	assert_none(0x200000);
	assert_none(0x201000);
	assert_entry(0x1ff000, host(1), RW);
	assert_entry(0x202000, host(4), RW);
	assert_false(can(0x200000, VMS_TLB_READ));
	assert_ok(soft_check(f.soft));
	assert_ok(soft_unmap(f.soft, 0, UINT64_C(1) << 52));
	assert_int_equal(stats().entries, 0);
	assert_ok(soft_unmap(f.soft, 0x200000, 2));
	soft_empty(f.soft);
	assert_int_equal(stats().nodes, 0);
}

/* Few nodes stay without an entry, and a page that comes and goes costs none. */
static void empty_nodes_go(void **state)
{
	uint64_t before = f.world.calls[CALL_ALLOC];

	for (unsigned i = 0; i < 100; i++) {
		assert_ok(soft_map_run(f.soft, UINT64_C(1) << 40, host(0), 1, RW, SOFT_ERROR));
		assert_ok(soft_unmap(f.soft, UINT64_C(1) << 40, 1));
	}
	assert_in_range(f.world.calls[CALL_ALLOC] - before, 1, 8);
	for (uint64_t i = 0; i < 3000; i++)
		assert_ok(soft_map_run(f.soft, i << 30, host(0), 1, RW, SOFT_ERROR));
	assert_in_range(stats().nodes, 6000, 6100);
	for (uint64_t i = 0; i < 3000; i++) {
		assert_ok(soft_unmap(f.soft, i << 30, 1));
		/* A stripe keeps a few, and one for each that is used; each with the node above. */
		assert_in_range(stats().nodes, 2 * (2999 - i),
				2 * (2 * (2999 - i) + 4 * STRIPES) + 20);
	}
	assert_ok(soft_check(f.soft));
	/* All at once, too. */
	for (uint64_t i = 0; i < 3000; i++)
		assert_ok(soft_map_run(f.soft, i << 30, host(0), 1, RW, SOFT_ERROR));
	assert_ok(soft_unmap(f.soft, 0, UINT64_C(1) << 50));
	assert_in_range(stats().nodes, 0, 8 * STRIPES + 20);
	/* What is left can be used. */
	assert_ok(soft_map_run(f.soft, UINT64_C(5) << 30, host(0), 1, RW, SOFT_ERROR));
	assert_true(can(UINT64_C(5) << 30, VMS_TLB_READ));
}

/* F47: only what shows one page. */
static void unmap_shown(void **state)
{
	uint64_t list[4] = { host(0), host(1), host(0), host(2) };

	assert_ok(soft_map(f.soft, 0x10000, list, 4, R, SOFT_ERROR));
	assert_true(can(0x10000, VMS_TLB_READ));
	assert_true(can(0x11000, VMS_TLB_READ));
	assert_ok(soft_unmap_shown(f.soft, 0x10000, 4, host(0)));
	assert_none(0x10000);
	assert_entry(0x11000, host(1), R);
	assert_none(0x12000);
	assert_false(can(0x10000, VMS_TLB_READ));
	assert_int_equal(soft_unmap_shown(f.soft, 0x10000, 4, 0), -EINVAL);
}

/* F48 */
static void remove_write(void **state)
{
	assert_ok(soft_map_run(f.soft, 0x10000, host(0), 4, RW | X, SOFT_ERROR));
	assert_ok(soft_map_run(f.soft, 0x14000, host(4), 1, W, SOFT_ERROR));
	for (unsigned i = 0; i < 5; i++)
		assert_true(can(0x10000 + i * 0x1000, VMS_TLB_WRITE));
	assert_ok(soft_remove_write(f.soft, 0x11000, 4));
	assert_entry(0x10000, host(0), RW | X);
	assert_entry(0x11000, host(1), R | X);
	assert_none(0x14000); /* nothing was left of it */
	assert_true(can(0x10000, VMS_TLB_WRITE));
	assert_false(can(0x11000, VMS_TLB_WRITE));
	assert_true(can(0x11000, VMS_TLB_READ));
	assert_true(can(0x11000, VMS_TLB_EXEC));
	assert_false(can(0x14000, VMS_TLB_WRITE));
}

/* F53 */
static void protect(void **state)
{
	assert_ok(soft_map_run(f.soft, 0x10000, host(0), 1, RW, SOFT_ERROR));
	assert_ok(soft_map_run(f.soft, 0x11000, host(1), 1, R, SOFT_ERROR));
	assert_true(can(0x10000, VMS_TLB_WRITE));
	assert_true(can(0x11000, VMS_TLB_READ));
	assert_ok(soft_protect(f.soft, 0xf000, 9, RW | X));
	assert_entry(0x10000, host(0), RW | X);
	assert_entry(0x11000, host(1), R | X); /* write is for the fault to add */
	assert_true(can(0x11000, VMS_TLB_EXEC));
	assert_ok(soft_protect(f.soft, 0x10000, 2, X));
	assert_entry(0x10000, host(0), X);
	assert_false(can(0x10000, VMS_TLB_READ));
	assert_false(can(0x10000, VMS_TLB_WRITE));
	assert_true(can(0x10000, VMS_TLB_EXEC));
	assert_ok(soft_protect(f.soft, 0x10000, 1, 0));
	assert_none(0x10000);
	assert_false(can(0x10000, VMS_TLB_EXEC));
	assert_int_equal(soft_protect(f.soft, 0x10000, 1, 8), -EINVAL);
}

/* F55: marks are set by look-ups, and taken from TLBs too. */
static void harvest(void **state)
{
	uint64_t bits[2] = { 0 };

	assert_ok(soft_map_run(f.soft, 0x10000, host(0), 100, RW, SOFT_ERROR));
	assert_true(can(0x10000, VMS_TLB_READ));
	assert_true(can(0x10000 + 70 * 0x1000, VMS_TLB_WRITE));
	assert_ok(soft_harvest(f.soft, 0x10000, 100, bits));
	assert_int_equal(bits[0], 1);
	assert_int_equal(bits[1], UINT64_C(1) << 6);
	memset(bits, 0, sizeof(bits));
	assert_ok(soft_harvest(f.soft, 0x10000, 100, bits));
	assert_int_equal(bits[0] | bits[1], 0);
	assert_true(can(0x10000, VMS_TLB_READ));
	assert_ok(soft_harvest(f.soft, 0x10000, 100, bits));
	assert_int_equal(bits[0], 1);
	assert_entry(0x10000, host(0), RW);
}

/* F56: destroy is for when nobody uses it; empty works at any time. */
static void empty(void **state)
{
	assert_ok(soft_map_run(f.soft, 0x10000, host(0), 600, RW, SOFT_ERROR));
	assert_ok(soft_map_run(f.soft, 0xffff000000000000, host(0), 1, RW, SOFT_ERROR));
	assert_true(can(0x10000, VMS_TLB_WRITE));
	soft_empty(f.soft);
	assert_false(can(0x10000, VMS_TLB_WRITE));
	assert_int_equal(stats().entries, 0);
	assert_int_equal(stats().nodes, 0);
	assert_ok(
		soft_map_run(f.soft, 0x10000, host(0), 600, RW, SOFT_ERROR)); /* left for the end */
}

/* F57 */
static void max_run(void **state)
{
	assert_int_equal(soft_max_run(f.soft, 0), 512);
	assert_int_equal(soft_max_run(f.soft, 0x1000), 511);
	assert_int_equal(soft_max_run(f.soft, 0x1ff000), 1);
	assert_int_equal(soft_max_run(f.soft, 0xfffffffffffff000), 1);
}

static void bad_arguments(void **state)
{
	uint64_t list[2] = { host(0), host(1) + 8 };
	uint64_t last = 0xfffffffffffff000;
	struct soft *soft;

	assert_int_equal(soft_create(&f.world.world, 512, &soft), -EINVAL);
	assert_int_equal(soft_create(&f.world.world, 131072, &soft), -EINVAL);
	assert_int_equal(soft_create(&f.world.world, 3072, &soft), -EINVAL);
	assert_int_equal(soft_map(f.soft, 0x1000, list, 2, R, SOFT_ERROR), -EINVAL);
	assert_int_equal(soft_map_run(f.soft, 0x1000, 0, 2, R, SOFT_ERROR), -EINVAL);
	assert_int_equal(soft_map_run(f.soft, 0x1400, host(0), 1, R, SOFT_ERROR), -EINVAL);
	assert_int_equal(soft_map_run(f.soft, 0x1000, host(0), 0, R, SOFT_ERROR), -EINVAL);
	assert_int_equal(soft_map_run(f.soft, 0x1000, host(0), 1, 0, SOFT_ERROR), -EINVAL);
	assert_int_equal(soft_map_run(f.soft, 0x1000, host(0), 1, 8, SOFT_ERROR), -EINVAL);
	assert_int_equal(soft_map_run(f.soft, 0x1000, host(0), 1, R, SOFT_UPGRADE + 1), -EINVAL);
	assert_int_equal(soft_map_run(f.soft, last, host(0), 2, R, SOFT_ERROR), -EINVAL);
	assert_int_equal(soft_map_run(f.soft, 0, host(0), UINT64_MAX >> 12, R, SOFT_ERROR),
			 -EINVAL);
	assert_int_equal(soft_unmap(f.soft, last, 2), -EINVAL);
	assert_int_equal(soft_unmap(f.soft, last, UINT64_MAX), -EINVAL);
	assert_int_equal(soft_unmap(f.soft, 0x1001, 1), -EINVAL);
	assert_int_equal(stats().entries, 0);
}

/* Every size at every place of three pages that are not neighbours in the host, with one missing.
 */
static void every_access(void **state)
{
	static const uint64_t pages[] = { 1024, 2048, 4096, 16384, 65536 };

	for (unsigned p = 0; p < 5; p++) {
		char image[32], *at;
		uint64_t base, list[2];

		shut();
		open_with(pages[p]);
		/* The last page of the addresses, and the first. */
		base = 0 - f.page;
		list[0] = host(8);
		list[1] = host(3);
		assert_ok(soft_map(f.soft, base, list, 1, RW, SOFT_ERROR));
		assert_ok(soft_map(f.soft, 0, list + 1, 1, RW, SOFT_ERROR));
		assert_ok(soft_check(f.soft));
		for (int off = -12; off <= 4; off++) {
			uint64_t gva = (uint64_t)(int64_t)off, v64, want = 0;
			uint32_t v32;
			uint16_t v16;
			uint8_t v8;

			for (int i = 0; i < 16; i++) {
				at = off + i < 0 ? f.mem + 9 * f.page + off + i
						 : f.mem + 3 * f.page + off + i;
				image[i] = *at = (char)(off * 16 + i * 3 + 1);
			}
			assert_true(vms_tlb_load64(&f.cpu, gva, &v64));
			assert_memory_equal(&v64, image, 8);
			assert_true(vms_tlb_load32(&f.cpu, gva, &v32));
			assert_memory_equal(&v32, image, 4);
			assert_true(vms_tlb_load16(&f.cpu, gva, &v16));
			assert_memory_equal(&v16, image, 2);
			assert_true(vms_tlb_load8(&f.cpu, gva, &v8));
			assert_memory_equal(&v8, image, 1);
			for (unsigned size = 1; size <= 8; size *= 2) {
				bool ok;

				v64 = UINT64_C(0x1122334455667788) * size + (uint64_t)off;
				v32 = (uint32_t)v64;
				v16 = (uint16_t)v64;
				v8 = (uint8_t)v64;
				ok = size == 8	 ? vms_tlb_store64(&f.cpu, gva, v64)
				     : size == 4 ? vms_tlb_store32(&f.cpu, gva, v32)
				     : size == 2 ? vms_tlb_store16(&f.cpu, gva, v16)
						 : vms_tlb_store8(&f.cpu, gva, v8);
				assert_true(ok);
				memcpy(image,
				       size == 8   ? (void *)&v64
				       : size == 4 ? (void *)&v32
				       : size == 2 ? (void *)&v16
						   : (void *)&v8,
				       size);
				for (int i = 0; i < 16; i++) {
					at = off + i < 0 ? f.mem + 9 * f.page + off + i
							 : f.mem + 3 * f.page + off + i;
					assert_int_equal(*at, image[i]);
				}
			}
			/* Half of it is missing: not a byte is touched. */
			assert_ok(soft_remove_write(f.soft, 0, 1));
			memcpy(&want, f.mem + 9 * f.page - 8, 8);
			if (off < 0 && off > -8) {
				assert_false(vms_tlb_store64(&f.cpu, gva, 0));
				assert_int_equal(f.cpu.miss, 0);
				memcpy(&v64, f.mem + 9 * f.page - 8, 8);
				assert_int_equal(v64, want);
			}
			assert_ok(soft_map(f.soft, 0, list + 1, 1, RW, SOFT_UPGRADE));
		}
		assert_ok(soft_check(f.soft));
	}
}

static void begin(void **state)
{
	uint64_t *p;

	assert_ok(soft_map_run(f.soft, 0x10000, host(0), 1, R, SOFT_ERROR));
	assert_null(vms_tlb_begin(&f.cpu, 0x10004, 8, VMS_TLB_READ));
	assert_true(f.cpu.unaligned);
	assert_null(vms_tlb_begin(&f.cpu, 0x10008, 8, VMS_TLB_WRITE));
	assert_false(f.cpu.unaligned);
	assert_int_equal(f.cpu.miss, 0x10008);
	for (int i = 0; i < 2; i++) { /* from the table, from the TLB */
		p = vms_tlb_begin(&f.cpu, 0x10010, 16, VMS_TLB_READ);
		assert_ptr_equal(p, f.mem + 16);
		assert_int_not_equal(f.cpu.inside, VMS_TLB_NONE);
		vms_tlb_end(&f.cpu);
		assert_int_equal(f.cpu.inside, VMS_TLB_NONE);
	}
}

/* The TLB is used at all, and a page that shares an index with another one is not taken for it. */
static void tlb_is_used(void **state)
{
	struct vms_tlb_entry *e = &f.cpu.entry[0x10];
	uint64_t other = 0x10000 + VMS_TLB_ENTRIES * 0x1000, v, want;

	assert_ok(soft_map_run(f.soft, 0x10000, host(0), 1, R, SOFT_ERROR));
	assert_ok(soft_map_run(f.soft, other, host(1), 1, RW, SOFT_ERROR));
	assert_int_equal(e->tag[VMS_TLB_READ], VMS_TLB_NONE);
	assert_true(vms_tlb_load64(&f.cpu, 0x10000, &v));
	assert_int_equal(e->tag[VMS_TLB_READ], 0x10000);
	assert_int_equal(e->tag[VMS_TLB_WRITE], VMS_TLB_NONE);
	assert_true(vms_tlb_load64(&f.cpu, other, &v));
	memcpy(&want, f.mem + f.page, 8);
	assert_int_equal(v, want);
	assert_int_equal(e->tag[VMS_TLB_WRITE], other);
	/* The other's going leaves it. */
	assert_ok(soft_unmap(f.soft, 0x10000, 1));
	assert_int_equal(e->tag[VMS_TLB_WRITE], other);
	/* A range larger than the TLB. */
	assert_ok(soft_unmap(f.soft, 0, 0x10000));
	assert_int_equal(e->tag[VMS_TLB_WRITE], VMS_TLB_NONE);
}

/* Nobody is troubled for entries that no thread looked up, nor for one thread alone. */
static void quiet(void **state)
{
	uint64_t before = f.world.calls[CALL_MEMBARRIER];

	assert_ok(soft_map_run(f.soft, 0x10000, host(0), 4, RW, SOFT_ERROR));
	assert_ok(soft_unmap(f.soft, 0x10000, 4));
	assert_int_equal(stats().shot, 0);
	assert_ok(soft_map_run(f.soft, 0x10000, host(0), 4, RW, SOFT_ERROR));
	assert_true(can(0x10000, VMS_TLB_READ));
	assert_ok(soft_unmap(f.soft, 0x11000, 3));
	assert_int_equal(stats().shot, 0);
	assert_ok(soft_unmap(f.soft, 0x10000, 1));
	assert_int_equal(stats().shot, 1);
	assert_int_equal(stats().barriers, 0);
	assert_int_equal(f.world.calls[CALL_MEMBARRIER], before);
}

/* The validator sees what it is for. */
static void validator(void **state)
{
	struct vms_tlb_entry *e = &f.cpu.entry[0x10];
	_Atomic(uint64_t) *slot;
	uint64_t v, entry;

	assert_ok(soft_map_run(f.soft, 0x10000, host(0), 1, R, SOFT_ERROR));
	assert_true(vms_tlb_load64(&f.cpu, 0x10000, &v));
	assert_ok(soft_check(f.soft));
	e->tag[VMS_TLB_WRITE] = 0x10000;
	assert_int_equal(soft_check(f.soft), -EINVAL);
	e->tag[VMS_TLB_WRITE] = VMS_TLB_NONE;
	e->addend += 0x1000;
	assert_int_equal(soft_check(f.soft), -EINVAL);
	e->addend -= 0x1000;
	f.cpu.entry[0x11].tag[VMS_TLB_READ] = 0x10000;
	assert_int_equal(soft_check(f.soft), -EINVAL);
	f.cpu.entry[0x11].tag[VMS_TLB_READ] = VMS_TLB_NONE;
	slot = soft_slot(f.soft, 0x10);
	entry = atomic_load(slot);
	atomic_store(slot, entry & ~SEEN);
	assert_int_equal(soft_check(f.soft), -EINVAL);
	atomic_store(slot, entry & ~RIGHTS);
	assert_int_equal(soft_check(f.soft), -EINVAL);
	atomic_store(slot, 0);
	assert_int_equal(soft_check(f.soft), -EINVAL);
	atomic_store(slot, entry);
	assert_ok(soft_check(f.soft));
}

/* A host without membarrier: nothing stays in a TLB, all else is the same. */
static void without_membarrier(void **state)
{
	uint64_t v, want;

	shut();
	test_world_fail(&f.world, 1, 1u << CALL_MEMBARRIER, ENOSYS);
	open_with(4096);
	test_world_fail(&f.world, 0, 0, 0);
	assert_false(stats().caches);
	assert_ok(soft_map_run(f.soft, 0x10000, host(0), 1, RW, SOFT_ERROR));
	assert_true(vms_tlb_load64(&f.cpu, 0x10000, &v));
	memcpy(&want, f.mem, 8);
	assert_int_equal(v, want);
	assert_int_equal(f.cpu.entry[0x10].tag[VMS_TLB_READ], VMS_TLB_NONE);
	assert_true(vms_tlb_store64(&f.cpu, 0x10000, 99));
	assert_ok(soft_unmap(f.soft, 0x10000, 1));
	assert_false(vms_tlb_load64(&f.cpu, 0x10000, &v));
}

/* A child of fork has none of the threads that were inside, and does not wait for them. */
static atomic_int inside_step;

static void *stay_inside(void *arg)
{
	struct vms_cpu *cpu = arg;
	struct timespec t = { 0, 1000000 };

	soft_cpu_init(f.soft, cpu);
	assert_non_null(vms_tlb_begin(cpu, 0x10000, 8, VMS_TLB_READ));
	atomic_store(&inside_step, 1);
	while (atomic_load(&inside_step) == 1)
		nanosleep(&t, NULL);
	vms_tlb_end(cpu);
	soft_cpu_fini(cpu);
	return NULL;
}

static void forked_child(void **state)
{
	struct vms_cpu *cpu = aligned_alloc(64, sizeof(*cpu));
	struct timespec t = { 0, 1000000 };
	pthread_t thread;
	int status;
	pid_t pid;

	assert_ok(soft_map_run(f.soft, 0x10000, host(0), 2, RW, SOFT_ERROR));
	atomic_store(&inside_step, 0);
	assert_ok(pthread_create(&thread, NULL, stay_inside, cpu));
	while (!atomic_load(&inside_step))
		nanosleep(&t, NULL);
	pid = fork();
	if (pid == 0) {
		alarm(20);
		soft_unmap(f.soft, 0x10000, 1);
		soft_empty(f.soft);
		_exit(soft_destroy(f.soft) ? 1 : 0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	atomic_store(&inside_step, 2);
	assert_ok(pthread_join(thread, NULL));
	assert_int_equal(status, 0);
	assert_entry(0x10000, host(0), RW);
	free(cpu);
}

/* ---- every allocation refused in turn ---- */

static void sweep_set_up(void *arg)
{
	open_with(4096);
	assert_ok(soft_map_run(f.soft, 0x10000, host(0), 2, R, SOFT_ERROR));
}

/* Two new leaves, a higher tree, an entry that stands. */
static int sweep_run(void *arg)
{
	int err = soft_map_run(f.soft, 0xfffffffffffc0000, host(0), 1, RW, SOFT_ERROR);

	return err ? err : soft_map_run(f.soft, 0x11000, host(8), 900, RW, SOFT_UPGRADE);
}

static void sweep_check(void *arg, int result, bool failed)
{
	assert_int_equal(result, failed ? -ENOMEM : 0);
	assert_ok(soft_check(f.soft));
	assert_entry(0x10000, host(0), R);
	assert_entry(0x11000, failed ? host(1) : host(8), failed ? R : RW);
	if (failed)
		assert_none(0x12000);
	/* With memory it works, as far as it had not yet. */
	result = sweep_run(NULL);
	assert_true(result == 0 || result == -EEXIST);
}

static void sweep_tear_down(void *arg)
{
	shut();
}

static void refused(void **state)
{
	struct sweep s = { &f.world,	sweep_set_up,	 sweep_run,
			   sweep_check, sweep_tear_down, .mask = 1u << CALL_ALLOC };
	struct soft *soft;

	test_world_fail(&f.world, 1, 1u << CALL_ALLOC, ENOMEM);
	assert_int_equal(soft_create(&f.world.world, 4096, &soft), -ENOMEM);
	test_world_fail(&f.world, 0, 0, 0);
	shut();
	assert_in_range(sweep(&s), 8, 20);
	open_with(4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		TEST(existing),
		TEST(upgrade_reaches_tlb),
		TEST(empty_nodes_go),
		TEST(run_and_unmap),
		TEST(unmap_shown),
		TEST(remove_write),
		TEST(protect),
		TEST(harvest),
		TEST(empty),
		TEST(max_run),
		TEST(bad_arguments),
		TEST(every_access),
		TEST(begin),
		TEST(tlb_is_used),
		TEST(quiet),
		TEST(validator),
		TEST(without_membarrier),
		TEST(refused),
		TEST(forked_child),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
