// SPDX-License-Identifier: MIT
/* The memory of a Linux guest process, in a window of this one: map, write, protect, look. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <vmspace/mman.h>

int main(void)
{
	/* The guest's addresses are [0, 4 GiB). Nobody else's mmap lands in the window. */
	struct vms_mmu_host_params window = { .size = sizeof(window), .lo = 0, .hi = 1ull << 32 };
	struct vms_mm_policy policy;
	struct vms_mmu *mmu;
	struct vms_mm *mm;
	int64_t at;

	vms_mm_policy_host(&policy); /* like this machine's Linux, only smaller */
	policy.task_size = window.hi;
	policy.mmap_base = 0x80000000;
	if (vms_mmu_host(&window, &mmu) || vms_mm_create(&policy, mmu, &mm)) {
		fprintf(stderr, "%s\n", vms_last_error());
		return 1;
	}

	/* What the guest's system calls are answered with. A failure is the guest's own -errno. */
	at = vms_mmap(mm, 0, 3 * policy.page_size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	strcpy(vms_mmu_host_addr(mmu, at), "hello from the guest");
	vms_mprotect(mm, at + policy.page_size, policy.page_size, PROT_READ);

	puts(vms_mmu_host_addr(mmu, at));
	fflush(stdout);
	vms_mm_maps(mm, fileno(stdout));

	vms_mm_destroy(mm);
	vms_mmu_unref(mmu);
	return 0;
}
