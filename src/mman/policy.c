// SPDX-License-Identifier: MIT
/*
 * policy.c: what the Linux under us is like, for a guest that shall see the same.
 */
#include "mman/mm.h"

#include <limits.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/fail.h"

/* x86-64: the end of user addresses, and the least and the most room above mmap_base. */
#define TASK_SIZE   0x7ffffffff000u
#define GAP_LEAST   (128u << 20)
#define STACK_GUARD 256u /* pages */
/* Room that a randomised stack needs; counted without randomisation too, as the kernel does. */
#define XFS_MAGIC   0x58465342u
#define BTRFS_MAGIC 0x9123683eu

/* A number from a file of /proc or /sys; `otherwise` where there is none. */
static uint64_t read_number(const char *path, uint64_t otherwise)
{
	FILE *f = fopen(path, "re");
	unsigned long long v;
	int got;

	if (f == NULL)
		return otherwise;
	got = fscanf(f, "%llu", &v);
	fclose(f);
	return got == 1 ? v : otherwise;
}

/*
 * Does this kernel know transparent large pages? Whether they are switched on does not matter to
 * placement. /proc tells it too, where /sys is not mounted.
 */
static bool knows_large_pages(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	bool known = false;
	char line[128];

	if (f == NULL)
		return false;
	while (!known && fgets(line, sizeof(line), f) != NULL)
		known = strncmp(line, "AnonHugePages:", 14) == 0;
	fclose(f);
	return known;
}

static bool have_capability(unsigned cap)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data) != 0)
		return false;
	return data[cap / 32].effective & (1u << (cap % 32));
}

static struct vms_mm_limit host_limit(int which)
{
	struct rlimit r;
	struct vms_mm_limit l = { VMS_LIMIT_INFINITY, VMS_LIMIT_INFINITY };

	if (getrlimit((__rlimit_resource_t)which, &r) == 0) {
		if (r.rlim_cur != RLIM_INFINITY)
			l.soft = r.rlim_cur;
		if (r.rlim_max != RLIM_INFINITY)
			l.hard = r.rlim_max;
	}
	return l;
}

/* Where the kernel starts placing: below the stack's limit and its guard, within bounds. */
static uint64_t mmap_base(uint64_t task_size, uint64_t stack_limit, uint64_t page)
{
	uint64_t guard = STACK_GUARD * page, most = task_size / 6 * 5, gap = stack_limit;

	if (gap <= UINT64_MAX - guard)
		gap += guard;
	gap = min_u64(max_u64(gap, GAP_LEAST), most);
	return align_down(task_size - gap, page);
}

/*
 * What the kernel makes of a hint at the bottom. The sysctl tells who may map there; the security
 * module has a minimum of its own, told nowhere.
 */
static uint64_t hint_min(uint64_t page)
{
	void *p = mmap((void *)page, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		       -1, 0);
	uint64_t addr = (uint64_t)(uintptr_t)p;

	if (p == MAP_FAILED)
		return 65536;
	munmap(p, page);
	/* Far from the hint: something lies there, and nothing was learned. */
	return addr <= 1u << 20 ? addr : 65536;
}

int vms_mm_policy_host(struct vms_mm_policy *pol)
{
	static const int limits[VMS_MM_LIMITS] = { RLIMIT_AS, RLIMIT_DATA, RLIMIT_STACK,
						   RLIMIT_MEMLOCK };
	struct sysinfo si;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	memset(pol, 0, sizeof(*pol));
	pol->size = sizeof(*pol);
	pol->page_size = page;
	pol->min_addr = align_up(read_number("/proc/sys/vm/mmap_min_addr", 65536), page);
	pol->hint_min = hint_min(page);
	pol->task_size = align_down(TASK_SIZE, page);
	pol->max_map_count = (uint32_t)read_number("/proc/sys/vm/max_map_count", 65530);
	pol->stack_gap = STACK_GUARD * page;
	if (knows_large_pages())
		pol->huge_size = read_number("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size",
					     2u << 20);
	pol->huge_fs[0] = EXT4_SUPER_MAGIC;
	pol->huge_fs[1] = XFS_MAGIC;
	pol->huge_fs[2] = BTRFS_MAGIC;
	for (int i = 0; i < VMS_MM_LIMITS; i++)
		pol->limit[i] = host_limit(limits[i]);
	if (pol->limit[VMS_MM_LIMIT_STACK].soft == VMS_LIMIT_INFINITY) {
		pol->flags |= VMS_MM_BOTTOM_UP;
		pol->mmap_base = align_up(pol->task_size / 3, page);
	} else {
		pol->mmap_base = mmap_base(pol->task_size, pol->limit[VMS_MM_LIMIT_STACK].soft,
					   page);
	}
	pol->commit_max = VMS_LIMIT_INFINITY;
	if (sysinfo(&si) == 0)
		pol->commit_max = ((uint64_t)si.totalram + si.totalswap) * si.mem_unit;
	if (read_number("/proc/sys/vm/overcommit_memory", 0) == 1)
		pol->flags |= VMS_MM_OVERCOMMIT;
	if (have_capability(CAP_IPC_LOCK))
		pol->flags |= VMS_MM_CAP_IPC_LOCK;
	if (have_capability(CAP_SYS_RAWIO))
		pol->flags |= VMS_MM_CAP_RAWIO;
	return 0;
}
