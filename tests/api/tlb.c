// SPDX-License-Identifier: MIT
/* tlb.c: a CPU thread's accesses by the public headers alone: what is refused, and who lives. */
#include "check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmspace/tlb.h>

static struct vms_mmu *soft_mmu(uint64_t page_size)
{
	struct vms_mmu_soft_params p = { .size = sizeof(p), .page_size = page_size };
	struct vms_mmu *mmu = NULL;

	assert_ok(vms_mmu_soft(&p, &mmu));
	return mmu;
}

static struct vms_cpu *new_cpu(void)
{
	struct vms_cpu *cpu = aligned_alloc(64, sizeof(*cpu));

	assert_non_null(cpu);
	return cpu;
}

static void only_soft_backends_have_cpus(void **state)
{
	struct vms_cpu *cpu = new_cpu();
	struct vms_mmu *mmu;

	assert_ok(vms_mmu_record(&mmu));
	assert_int_equal(vms_cpu_init(mmu, cpu), -ENOTSUP);
	assert_non_null(strstr(vms_last_error(), "not a soft backend"));
	vms_mmu_unref(mmu);
	free(cpu);
}

/* Nothing is mapped: each access misses, says where, and touches nothing. */
static void misses(void **state)
{
	static const uint64_t pages[] = { 0, 1024, 4096, 65536 };

	for (unsigned i = 0; i < 4; i++) {
		struct vms_mmu *mmu = soft_mmu(pages[i]);
		struct vms_cpu *cpu = new_cpu();
		uint8_t v8 = 1;
		uint16_t v16 = 2;
		uint32_t v32 = 3;
		uint64_t v64 = 4;

		assert_ok(vms_cpu_init(mmu, cpu));
		assert_false(vms_tlb_load8(cpu, 0, &v8));
		assert_int_equal(cpu->miss, 0);
		assert_false(vms_tlb_load16(cpu, 0x1ffff, &v16)); /* across pages */
		assert_int_equal(cpu->miss, 0x1ffff);
		assert_false(vms_tlb_load32(cpu, 0x10004, &v32));
		assert_int_equal(cpu->miss, 0x10004);
		assert_false(vms_tlb_load64(cpu, UINT64_MAX, &v64));
		assert_int_equal(cpu->miss, UINT64_MAX);
		assert_true(v8 == 1 && v16 == 2 && v32 == 3 && v64 == 4);
		assert_false(vms_tlb_store8(cpu, 8, 0));
		assert_false(vms_tlb_store16(cpu, 16, 0));
		assert_false(vms_tlb_store32(cpu, 32, 0));
		assert_false(vms_tlb_store64(cpu, 64, 0));
		assert_int_equal(cpu->miss, 64);
		assert_null(vms_tlb_begin(cpu, 0x1000, 16, VMS_TLB_EXEC));
		assert_int_equal(cpu->miss, 0x1000);
		assert_false(cpu->unaligned);
		assert_null(vms_tlb_begin(cpu, 0x1008, 16, VMS_TLB_READ));
		assert_true(cpu->unaligned);
		vms_cpu_fini(cpu);
		vms_mmu_unref(mmu);
		free(cpu);
	}
}

/* A cpu holds the backend: a leak checker, or a use after free, tells. */
static void a_cpu_holds_its_backend(void **state)
{
	struct vms_mmu *mmu = soft_mmu(0);
	struct vms_cpu *one = new_cpu(), *two = new_cpu();
	uint64_t v;

	assert_ok(vms_cpu_init(mmu, one));
	assert_ok(vms_cpu_init(mmu, two));
	vms_mmu_unref(mmu);
	assert_false(vms_tlb_load64(one, 0x1000, &v));
	vms_cpu_fini(one);
	assert_false(vms_tlb_load64(two, 0x1000, &v));
	vms_cpu_fini(two);
	free(one);
	free(two);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_soft_backends_have_cpus),
		cmocka_unit_test(misses),
		cmocka_unit_test(a_cpu_holds_its_backend),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
