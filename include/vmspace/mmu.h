/* SPDX-License-Identifier: MIT */
/*
 * mmu.h: MMU backends, which realise what a space says is mapped.
 *
 * A backend owns nothing: the space is the truth, the backend holds what is installed.
 *
 *	host		the host's own page tables, through one window of this process:
 *			guest address A is host address base + A. Eager: after every call
 *			the window equals the truth, so the kernel may touch it too.
 *	soft		a page table of our own, for guests whose memory accesses go through the
 *			inline functions of tlb.h. Lazy: faults fill it. For spaces over objects
 *			(space.h) only.
 *	recording	installs nothing and counts calls; for tests, planning and replay.
 *
 * Ownership: vms_mmu_host(), vms_mmu_soft() and vms_mmu_record() give one reference; a space that
 * uses the backend takes its own. A backend serves one space at a time.
 */
#ifndef VMSPACE_MMU_H
#define VMSPACE_MMU_H

#include <vmspace/vmspace.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vms_mmu;

/*
 * The window is [lo, hi) in guest addresses.
 *
 * Default: one inaccessible reservation of hi - lo bytes is made, and holes are given back to
 * it, so that nobody else's mmap can land inside; each hole costs one host region.
 * VMS_MMU_REAL_HOLES: guest address = host address, holes are really unmapped, nothing is
 * reserved. For a process that has the range to itself (`vmspace run`).
 */
#define VMS_MMU_REAL_HOLES 0x1u

struct vms_mmu_host_params {
	size_t size;	/* sizeof(struct vms_mmu_host_params) */
	uint32_t flags; /* VMS_MMU_*; unknown bits are refused */
	uint64_t lo;	/* first guest address of the window, host page aligned */
	uint64_t hi;	/* its exclusive end */
	uint64_t page_size; /* guest page size; 0: the host's. A multiple of the host's */
	/*
	 * Since 0.3; a struct that ends before it is fine. Of a space over objects: the most regions
	 * of the host that the window may take, at least 16; 0: 32,768. The process has
	 * vm.max_map_count of them, 65,530 by default. Past it what was installed longest ago goes,
	 * and comes back by faults.
	 */
	uint64_t budget;
};

/*
 * vms_mmu_host - a backend over the host's page tables.
 *
 * It serves a Linux guest's space (mman.h), or a space over objects (space.h). Of the latter, memory
 * that the caller owns (vms_object_create_host) can be shown only if it is shared (MAP_SHARED, a
 * memfd): the host has private memory in one place only.
 *
 * Cost:      one mmap, whatever the size of the window (none with VMS_MMU_REAL_HOLES).
 * Returns:   0, or
 *            -EINVAL  short or unknown params, unaligned or empty window, page size that is no
 *                     power of two or below the host's, a budget below 16
 *            -ENOMEM  no memory, or no room for the window (RLIMIT_AS)
 * Since:     0.1
 */
VMS_API int vms_mmu_host(const struct vms_mmu_host_params *params, struct vms_mmu **mmu);

/*
 * vms_mmu_host_addr - where guest address `addr` lies in this process.
 *
 * NULL if outside the window, or if the backend is not a host backend. Whether something is
 * mapped there is for the space to say.
 * Since:     0.1
 */
VMS_API void *vms_mmu_host_addr(struct vms_mmu *mmu, uint64_t addr);

struct vms_mmu_soft_params {
	size_t size;	    /* sizeof(struct vms_mmu_soft_params) */
	uint32_t flags;	    /* 0 */
	uint64_t page_size; /* guest page size, a power of two, 1 to 64 KiB; 0: the host's page */
};

/*
 * vms_mmu_soft - a page table in this process, for guest pages of 1 KiB to 64 KiB.
 *
 * It has entries for granules: the smaller of guest page and host page. Threads that access guest
 * memory register a struct vms_cpu (tlb.h). In a forked child it can only be given back.
 *
 * Threads:   faults on addresses that are not close to each other do not wait for one another.
 * Cost:      8 bytes a granule, in nodes of 512; a few hundred nodes may be kept while empty.
 * Returns:   0, or
 *            -EINVAL  short params, unknown flags, page size
 *            -ENOMEM
 * Since:     0.3
 */
VMS_API int vms_mmu_soft(const struct vms_mmu_soft_params *params, struct vms_mmu **mmu);

/*
 * vms_mmu_record - a backend that installs nothing, counts, and keeps the last calls. Of a space
 * over objects it keeps what would be installed.
 *
 * Returns:   0 or -ENOMEM.	Since: 0.1
 */
VMS_API int vms_mmu_record(struct vms_mmu **mmu);

/* How often a space called its backend, by kind. */
struct vms_mmu_counts {
	size_t size; /* sizeof(struct vms_mmu_counts), set by the caller */
	uint64_t map, unmap, protect, move, advise, lock, sync, query;
	uint64_t failed; /* calls that returned an error, of any kind */
	/* Since 0.3; left alone in a struct that ends before them. */
	uint64_t remove_write;
	uint64_t entries;	   /* granules installed now, where the backend has entries */
	uint64_t shot;		   /* calls that emptied TLBs of CPU threads */
	uint64_t barriers;	   /* of them, or for freed nodes: had other threads take part */
};

/*
 * vms_mmu_counts - copy the counters. Of calls that other threads make at the same time some may be
 * in it.
 *
 * Returns: 0 or -EINVAL (short struct).	Since: 0.1
 */
VMS_API int vms_mmu_counts(const struct vms_mmu *mmu, struct vms_mmu_counts *counts);

/* vms_mmu_ref, vms_mmu_unref - references; NULL is fine. Since: 0.1 */
VMS_API struct vms_mmu *vms_mmu_ref(struct vms_mmu *mmu);
VMS_API void vms_mmu_unref(struct vms_mmu *mmu);

#ifdef __cplusplus
}
#endif
#endif
