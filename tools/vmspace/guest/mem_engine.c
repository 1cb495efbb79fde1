// SPDX-License-Identifier: MIT
/*
 * mem_engine.c: the guest's memory calls, answered by the library: a struct vms_mm over the host
 * backend with real holes, whose window is everything below our own range.
 *
 * The library reaches the host through a world of ours, which differs from the ordinary one where
 * a guest lives in the same process:
 *
 *	mmap without an address	gets one in our range, so that nothing of the library's ever stands
 *				in the guest's way, and the kernel never chooses
 *	region			asks a /proc/self/maps that is kept open, among our descriptors
 *
 * Invariants
 *	E1 What the engine says is mapped is what the host has mapped below GUEST_TASK.
 *	E2 The engine's lock is free whenever guest code runs, except from fork_begin to the end of
 *	   the fork, during which nothing else can run.
 */
#include "mem.h"

#include "../picture.h"

#include "base/world.h"
#include "vmspace/mman.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define RESERVE	      128u /* regions of the host's limit that are kept for ourselves */
#define STACK_RND     (UINT64_C(16) << 30)
#define STACK_GUARD   256u /* pages */
#define GAP_LEAST     (UINT64_C(128) << 20)
#define MMAP_RND_BITS 28
#define VEC	      65536u

static struct vms_mm *mm;

/* ---- the world ---- */

/* A window's worth of address space does not fit in our range: a hole of the guest's, for now. */
static int64_t engine_mmap(const struct world *w, uint64_t addr, uint64_t len, int prot, int flags,
			   int fd, uint64_t off)
{
	int64_t got = layout_mmap(addr, len, prot, flags, fd, off);

	if (got == -ENOMEM && addr == 0)
		got = raw6(SYS_mmap, 0, len, (uint64_t)prot, (uint64_t)flags, (uint64_t)fd, off);
	return got;
}

#ifndef PROCMAP_QUERY
struct procmap_query {
	uint64_t size, query_flags, query_addr;
	uint64_t vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
	uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
	uint64_t vma_name_addr, build_id_addr;
};
#define PROCMAP_QUERY _IOWR('f', 17, struct procmap_query)
#endif

/* The descriptor is one of ours, and may move: the library gets no number of it. */
static int engine_maps_open(const struct world *w)
{
	fdguard_room_begin();
	int fd = (int)raw3(SYS_open, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);

	fdguard_room_end();
	return fd < 0 ? fd : fdguard_adopt(FD_MAPS, fd) < 0 ? -EMFILE : 0;
}

static int engine_region(const struct world *w, int maps, uint64_t addr, uint64_t *start,
			 uint64_t *end)
{
	struct procmap_query q = {.size = sizeof(q), .query_addr = addr};
	/* A vforked child may have opened it: that was another table of descriptors. */
	if (guest.proc.fd[FD_MAPS] < 0 && engine_maps_open(w) < 0)
		return -EBADF;
	int64_t ret = raw3(SYS_ioctl, guest.proc.fd[FD_MAPS], PROCMAP_QUERY, &q);

	if (ret < 0)
		return (int)ret;
	*start = q.vma_start;
	*end = q.vma_end;
	return 0;
}

/* The library keeps no other descriptor (VMS_MM_KEEP_NO_FD). */
static void engine_fd_close(const struct world *w, int fd)
{
	fdguard_drop(FD_MAPS);
}

static struct world world;

/* ---- start ---- */

static uint64_t place_base(bool bottom_up, uint64_t stack_limit, uint64_t page)
{
	uint64_t gap = stack_limit, least = GAP_LEAST, most = GUEST_TASK / 6 * 5;
	uint64_t pad = (layout_randomize() ? STACK_RND : 0) + STACK_GUARD * HOST_PAGE;
	uint64_t rnd = layout_random(UINT64_C(1) << MMAP_RND_BITS) * HOST_PAGE;

	if (bottom_up)
		return (GUEST_TASK / 3 + rnd + page - 1) & ~(page - 1);
	if (gap < UINT64_MAX - pad)
		gap += pad;
	if (gap < least)
		gap = least;
	if (gap > most)
		gap = most;
	return (GUEST_TASK - gap - rnd) & ~(page - 1);
}

int guest_mem_start(const struct guest_opts *opts, const char **reason)
{
	struct vms_mmu_host_params params = {
		.size = sizeof(params),
		.flags = VMS_MMU_REAL_HOLES,
		.hi = GUEST_TASK,
		.page_size = opts->page_size,
	};
	struct vms_mm_policy pol;
	struct vms_mmu *mmu;

	world = world_host;
	world.mmap = engine_mmap;
	world.maps_open = engine_maps_open;
	world.region = engine_region;
	world.fd_close = engine_fd_close;
	world_default = &world;
	vms_mm_policy_host(&pol);
	pol.flags |= VMS_MM_KEEP_NO_FD;
	pol.page_size = opts->page_size;
	pol.task_size = GUEST_TASK;
	pol.min_addr = (pol.min_addr + pol.page_size - 1) & ~(pol.page_size - 1);
	pol.stack_gap = STACK_GUARD * HOST_PAGE;
	pol.mmap_base = place_base((pol.flags & VMS_MM_BOTTOM_UP) != 0,
				   pol.limit[VMS_MM_LIMIT_STACK].soft, pol.page_size);
	if (pol.max_map_count > 2 * RESERVE)
		pol.max_map_count -= RESERVE;
	*reason = vms_last_error();
	int ret = vms_mmu_host(&params, &mmu);

	if (ret == 0)
		ret = vms_mm_create(&pol, mmu, &mm);
	if (ret != 0)
		*reason = vms_last_error();
	return ret;
}

/* ---- calls ---- */

/* A call of the engine's, marked for the case that a vforked child is killed in it (guest.h). */
#define MARKED(call)                      \
	({                                \
		shared_enter();           \
		__auto_type ret_ = call;  \
		shared_leave();           \
		ret_;                     \
	})

int64_t guest_mem_mmap(uint64_t addr, uint64_t len, uint64_t prot, uint64_t flags, uint64_t fd,
		       uint64_t off)
{
	return MARKED(vms_mmap(mm, addr, len, prot, flags, (int)fd, off));
}

int64_t guest_mem_munmap(uint64_t addr, uint64_t len)
{
	return MARKED(vms_munmap(mm, addr, len));
}

int64_t guest_mem_mprotect(uint64_t addr, uint64_t len, uint64_t prot)
{
	return MARKED(vms_mprotect(mm, addr, len, prot));
}

int64_t guest_mem_mremap(uint64_t addr, uint64_t old_len, uint64_t new_len, uint64_t flags,
			 uint64_t new_addr)
{
	return MARKED(vms_mremap(mm, addr, old_len, new_len, flags, new_addr));
}

int64_t guest_mem_brk(uint64_t brk)
{
	return MARKED(vms_brk(mm, brk));
}

int64_t guest_mem_madvise(uint64_t addr, uint64_t len, int advice)
{
	return MARKED(vms_madvise(mm, addr, len, advice));
}

int64_t guest_mem_msync(uint64_t addr, uint64_t len, int flags)
{
	return MARKED(vms_msync(mm, addr, len, flags));
}

/* In pieces, as far as the vector can be written. */
int64_t guest_mem_mincore(uint64_t addr, uint64_t len, uint64_t vec)
{
	static unsigned char piece[VEC];
	uint64_t page = guest.opts.page_size;

	if ((addr & (page - 1)) != 0)
		return -EINVAL;
	if (addr >= HOST_TASK || len > HOST_TASK - addr)
		return -ENOMEM;
	do {
		uint64_t n = len > VEC * page ? VEC * page : len;
		size_t filled = 0;
		int64_t ret = MARKED(vms_mincore(mm, addr, n, piece, &filled));

		if (user_write(vec, piece, filled) != 0)
			return -EFAULT;
		if (ret < 0)
			return ret;
		vec += filled;
		addr += n;
		len -= n;
	} while (len > 0);
	return 0;
}

int64_t guest_mem_mlock2(uint64_t addr, uint64_t len, int flags)
{
	return MARKED(flags == 0 ? vms_mlock(mm, addr, len) : vms_mlock2(mm, addr, len, flags));
}

int64_t guest_mem_munlock(uint64_t addr, uint64_t len)
{
	return MARKED(vms_munlock(mm, addr, len));
}

int64_t guest_mem_mlockall(int flags)
{
	return MARKED(vms_mlockall(mm, flags));
}

int64_t guest_mem_munlockall(void)
{
	return MARKED(vms_munlockall(mm));
}

int64_t guest_mem_mseal(uint64_t addr, uint64_t len, uint64_t flags)
{
	return MARKED(vms_mseal(mm, addr, len, flags));
}

int guest_mem_foreign(uint64_t addr, uint64_t len, unsigned prot, const char *name)
{
	return vms_mm_foreign(mm, addr, len, prot, VMS_MM_FOREIGN_WHOLE, name);
}

int guest_mem_set_brk(uint64_t start)
{
	return vms_mm_set_brk(mm, start);
}

void guest_mem_set_stack(uint64_t addr)
{
	vms_mm_set_stack(mm, addr);
}

void guest_mem_set_limit(int resource, uint64_t soft, uint64_t hard)
{
	struct vms_mm_limit l = {soft == RLIM_INFINITY ? VMS_LIMIT_INFINITY : soft,
				 hard == RLIM_INFINITY ? VMS_LIMIT_INFINITY : hard};

	static const int of[VMS_MM_LIMITS] = {[VMS_MM_LIMIT_AS] = RLIMIT_AS,
					      [VMS_MM_LIMIT_DATA] = RLIMIT_DATA,
					      [VMS_MM_LIMIT_STACK] = RLIMIT_STACK,
					      [VMS_MM_LIMIT_MEMLOCK] = RLIMIT_MEMLOCK};

	for (unsigned i = 0; i < VMS_MM_LIMITS; i++)
		if (of[i] == resource)
			MARKED(vms_mm_set_limit(mm, (enum vms_mm_resource)i, l));
}

/* Marked from here to the end of the fork: nothing of the engine may be used between. */
int guest_mem_fork_begin(void)
{
	shared_enter();
	int ret = vms_mm_fork_begin(mm);

	if (ret != 0)
		shared_leave();
	return ret;
}

void guest_mem_fork_parent(void)
{
	vms_mm_fork_parent(mm);
	shared_leave();
}

void guest_mem_fork_child(void)
{
	vms_mm_fork_child(mm);
	shared_leave();
}

bool guest_mem_next(uint64_t *cursor, struct guest_mem_region *r)
{
	static struct vms_mm_region region = {.size = sizeof(region)};
	uint64_t at = *cursor;

	if (MARKED(vms_mm_next(mm, &at, &region)) != 0)
		return false;
	r->start = region.start;
	r->end = region.end;
	return MARKED(vms_mm_maps_line(mm, cursor, r->line, sizeof(r->line))) > 0;
}

bool guest_mem_valid(const char **why)
{
	if (vms_mm_check(mm) == 0)
		return true;
	*why = vms_last_error();
	return false;
}

void guest_mem_picture(FILE *out, bool colour)
{
	picture_draw(out, mm, colour);
}

bool guest_mem_stats(char *buf, size_t size)
{
	struct vms_mm_info i = {.size = sizeof(i)};

	if (vms_mm_info(mm, &i) != 0)
		return false;
	snprintf(buf, size,
		 "%llu regions, %llu KiB mapped, heap %llu KiB, %llu edits, %llu splits, %llu "
		 "merges",
		 (unsigned long long)i.regions, (unsigned long long)i.total >> 10,
		 (unsigned long long)(i.brk - i.brk_start) >> 10, (unsigned long long)i.edits,
		 (unsigned long long)i.splits, (unsigned long long)i.merges);
	return true;
}
