// SPDX-License-Identifier: MIT
/*
 * space-sandbox.c: a guest's memory as an emulator has it: an object, a space over it, a CPU whose
 * stores go through a TLB and fault, and a branch in which the guest goes on differently.
 */
#include <stdio.h>
#include <string.h>
#include <vmspace/space.h>
#include <vmspace/tlb.h>

#define BASE 0x10000

static struct vms_cpu cpu;

/* One store of the guest; what the MMU does not grant yet, a fault does, or nobody. */
static int store(struct vms_space *space, uint64_t addr, uint64_t value)
{
	enum vms_fault_result r = VMS_FAULT_OK;

	while (r == VMS_FAULT_OK && !vms_tlb_store64(&cpu, addr, value))
		r = vms_fault(space, cpu.miss, VMS_PROT_WRITE, 0, NULL, NULL);
	printf("store at %#x: %s\n", (unsigned)addr, vms_fault_name(r));
	return r == VMS_FAULT_OK ? 0 : -1;
}

static int make_space(struct vms_object *obj, struct vms_mmu *mmu, struct vms_space **space)
{
	struct vms_space_params where = { .size = sizeof(where), .mmu = mmu, .page_size = 4096 };
	struct vms_map_params map = { .size = sizeof(map),
				      .prot = VMS_PROT_READ | VMS_PROT_WRITE,
				      .place = { .flags = VMS_PLACE_AT, .addr = BASE },
				      .object = obj,
				      .len = 65536 };
	int err = vms_space_create(&where, space);

	return err ? err : vms_map(vms_space_root(*space), &map, NULL);
}

static void show(const char *name, struct vms_space *space)
{
	uint64_t value = 0;

	if (vms_space_load(space, BASE, 8, &value, NULL) == VMS_FAULT_OK)
		printf("%s: %d\n", name, (int)value);
}

int main(void)
{
	struct vms_mmu_soft_params soft = { .size = sizeof(soft), .page_size = 4096 };
	struct vms_branch_params branch = { .size = sizeof(branch) };
	struct vms_object_params what = { .size = sizeof(what), .bytes = 65536 };
	struct vms_arena_params arena_params = { .size = sizeof(arena_params) };
	struct vms_space *space = NULL, *other = NULL;
	struct vms_mmu *mmu[2] = { NULL, NULL };
	struct vms_arena *arena = NULL;
	struct vms_object *obj = NULL;
	int err = vms_arena_create(&arena_params, &arena);

	if (!err)
		err = vms_object_create(arena, &what, &obj);
	for (int i = 0; i < 2 && !err; i++)
		err = vms_mmu_soft(&soft, &mmu[i]);
	if (!err)
		err = make_space(obj, mmu[0], &space);
	if (!err && !vms_cpu_init(mmu[0], &cpu)) {
		store(space, BASE, 1);
		branch.mmu = mmu[1];
		err = vms_space_branch(space, &branch, &other);
		store(space, BASE, 2);	   /* copies: the branch still sees 1 */
		store(space, BASE - 8, 3); /* nothing is mapped there */
		vms_cpu_fini(&cpu);
	}
	if (!err) {
		show("space", space);
		show("branch", other);
	} else {
		fprintf(stderr, "space-sandbox: %s\n", vms_last_error());
	}
	vms_space_unref(other);
	vms_space_unref(space);
	vms_mmu_unref(mmu[0]);
	vms_mmu_unref(mmu[1]);
	vms_object_unref(obj);
	vms_arena_unref(arena);
	return err ? 1 : 0;
}
