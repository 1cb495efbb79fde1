/* SPDX-License-Identifier: MIT */
/*
 * mman.h: the address space of a Linux guest process.
 *
 * A struct vms_mm answers mmap, munmap, mprotect, mremap, brk and their relatives as Linux does:
 * the same errno in the same order of checks, the same placement, the same merging of regions as
 * /proc/self/maps shows it. What differs between guests (page size, limits, direction) is data in
 * struct vms_mm_policy.
 *
 *	guest calls	return what the guest sees: a value >= 0 or the guest's -errno. Arguments
 *			are raw, hostile ones included.
 *	vms_mm_*	are for the emulator that owns the guest: 0 or a negative errno of its own
 *			with a sentence in vms_last_error().
 *
 * Threads: every call may be made from any thread; each takes the space's lock.
 * Blocking: only in the host's memory calls. Cost: O(log regions) and at most one host call
 * for each contiguous change, unless said otherwise.
 */
#ifndef VMSPACE_MMAN_H
#define VMSPACE_MMAN_H

#include <vmspace/mmu.h>
#include <vmspace/vmspace.h>

#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vms_mm;

#define VMS_LIMIT_INFINITY UINT64_MAX

/* A resource limit in bytes, as setrlimit(2) has it. */
struct vms_mm_limit {
	uint64_t soft, hard;
};

enum vms_mm_resource {
	VMS_MM_LIMIT_AS,      /* all mapped bytes */
	VMS_MM_LIMIT_DATA,    /* private writable bytes and the heap */
	VMS_MM_LIMIT_STACK,   /* size of one growing region */
	VMS_MM_LIMIT_MEMLOCK, /* locked bytes */
	VMS_MM_LIMITS
};

/* vms_mm_policy.flags */
#define VMS_MM_BOTTOM_UP    0x01u /* legacy placement: lowest gap from mmap_base upwards */
#define VMS_MM_CAP_IPC_LOCK 0x02u /* the guest may lock beyond its limit */
#define VMS_MM_CAP_RAWIO    0x04u /* the guest may map below min_addr */
#define VMS_MM_OVERCOMMIT   0x08u /* vm.overcommit_memory is 1: never refuse by size */

#define VMS_MM_KEEP_NO_FD   0x20u /* see below */

/*
 * Regions of one file merge only if they show one open file. To know that, a mm keeps a duplicate
 * of each descriptor that is mapped. With VMS_MM_KEEP_NO_FD it keeps none (closing a duplicate
 * would drop the process's fcntl(2) locks on the file) and takes the same inode for the same open
 * file; end-of-file faults are then the host's to report.
 */

/*
 * What one guest's Linux is like. Fill it with vms_mm_policy_host() and change what differs.
 * Addresses and sizes in bytes.
 */
struct vms_mm_policy {
	size_t size;	     /* sizeof(struct vms_mm_policy) */
	uint32_t flags;	     /* VMS_MM_*; unknown bits are refused */
	uint32_t max_map_count; /* regions; the guest's vm.max_map_count */
	uint64_t page_size;  /* guest page size, a power of two, 4096 or more */
	uint64_t min_addr;   /* lowest address a guest without privilege may map */
	uint64_t hint_min;   /* lower hints are raised to it, placement and growth stay above; */
			     /* min_addr if that is higher. Linux: its security module's minimum */
	uint64_t task_size;  /* exclusive end of guest addresses */
	uint64_t mmap_base;  /* where placement starts: downwards, or upwards with BOTTOM_UP */
	uint64_t stack_gap;  /* bytes kept free below a growing region; Linux: 256 pages */
	uint64_t huge_size;  /* large-page alignment of big requests: 2 MiB, 0 for none */
	uint64_t commit_max; /* largest single commitment (RAM and swap), as overcommit mode 0 */
	struct vms_mm_limit limit[VMS_MM_LIMITS];
	uint64_t huge_fs[8]; /* statfs(2) types of file systems whose big mappings are aligned */
};

/*
 * vms_mm_policy_host - the policy of this process on this machine.
 *
 * Page size, limits, capabilities, max_map_count, overcommit and large pages as they are now;
 * task_size and mmap_base as an x86-64 process without randomisation has them.
 * Returns:   0.	Since: 0.1
 */
VMS_API int vms_mm_policy_host(struct vms_mm_policy *policy);

/*
 * vms_mm_create - an empty guest address space.
 *
 * Ownership: *mm is the caller's, ended by vms_mm_destroy(). The policy is copied, the backend is
 *            referenced; it must cover [0, task_size) or the part the guest will use.
 * Returns:   0, or
 *            -EINVAL  short policy, unknown flag, page size no power of two or below 4096,
 *                     bounds that are unaligned or cross
 *            -ENOTSUP a backend without a window: vms_mmu_soft
 *            -ENOMEM
 * Since:     0.1
 */
VMS_API int vms_mm_create(const struct vms_mm_policy *policy, struct vms_mmu *mmu,
			  struct vms_mm **mm);

/* vms_mm_destroy - unmap all that the guest mapped and free. NULL is fine. Since: 0.1 */
VMS_API void vms_mm_destroy(struct vms_mm *mm);

/*
 * vms_mm_foreign - enter a region that stands in the host already and is not ours to realise:
 * the vdso, a code page of the emulator. It never merges.
 *
 * flags:     VMS_MM_FOREIGN_FIXED: the guest can neither unmap, move, protect nor replace a part
 *            of it (such calls answer EINVAL or EPERM as Linux does for sealed mappings);
 *            VMS_MM_FOREIGN_WHOLE: it may go or move as a whole, splitting is EINVAL (Linux's
 *            [vvar] and [vdso]).
 * name:      shown in the maps, copied; NULL for none.
 * Returns:   0, -EINVAL (unaligned, outside the bounds, unknown flag), -EEXIST (overlap),
 *            -ENOMEM.
 * Since:     0.1
 */
#define VMS_MM_FOREIGN_FIXED 0x1u
#define VMS_MM_FOREIGN_WHOLE 0x2u
VMS_API int vms_mm_foreign(struct vms_mm *mm, uint64_t addr, uint64_t len, unsigned prot,
			   unsigned flags, const char *name);

/*
 * vms_mm_set_brk - set where the heap starts; the break stands there.
 * vms_mm_set_stack - the region that holds `addr` is shown as [stack].
 *
 * Returns:   0 or -EINVAL (outside the bounds).	Since: 0.1
 */
VMS_API int vms_mm_set_brk(struct vms_mm *mm, uint64_t start);
VMS_API int vms_mm_set_stack(struct vms_mm *mm, uint64_t addr);

/* vms_mm_set_limit - what setrlimit(2) changes. Since: 0.1 */
VMS_API int vms_mm_set_limit(struct vms_mm *mm, enum vms_mm_resource which,
			     struct vms_mm_limit limit);

/* ---- guest calls: Linux 6.18 x86-64 semantics, reference linux-mm 1.1 to 1.8 ---- */

/* `fd` is a descriptor of this process; the file stays mapped when it is closed. */
VMS_API int64_t vms_mmap(struct vms_mm *mm, uint64_t addr, uint64_t len, uint64_t prot,
			 uint64_t flags, int fd, uint64_t off);
VMS_API int64_t vms_munmap(struct vms_mm *mm, uint64_t addr, uint64_t len);
VMS_API int64_t vms_mprotect(struct vms_mm *mm, uint64_t addr, uint64_t len, uint64_t prot);
VMS_API int64_t vms_mremap(struct vms_mm *mm, uint64_t addr, uint64_t old_len, uint64_t new_len,
			   uint64_t flags, uint64_t new_addr);
VMS_API int64_t vms_brk(struct vms_mm *mm, uint64_t brk);
VMS_API int64_t vms_madvise(struct vms_mm *mm, uint64_t addr, uint64_t len, int advice);
VMS_API int64_t vms_msync(struct vms_mm *mm, uint64_t addr, uint64_t len, int flags);
/*
 * `vec` is the caller's, one byte a guest page of the rounded-up range; *filled (may be NULL) says
 * how many were set, also on -ENOMEM. The check of the guest's own vector pointer (EFAULT) is the
 * caller's.
 */
VMS_API int64_t vms_mincore(struct vms_mm *mm, uint64_t addr, uint64_t len, unsigned char *vec,
			    size_t *filled);
VMS_API int64_t vms_mlock(struct vms_mm *mm, uint64_t addr, uint64_t len);
VMS_API int64_t vms_mlock2(struct vms_mm *mm, uint64_t addr, uint64_t len, int flags);
VMS_API int64_t vms_munlock(struct vms_mm *mm, uint64_t addr, uint64_t len);
VMS_API int64_t vms_mlockall(struct vms_mm *mm, int flags);
VMS_API int64_t vms_munlockall(struct vms_mm *mm);
VMS_API int64_t vms_mseal(struct vms_mm *mm, uint64_t addr, uint64_t len, uint64_t flags);

/* ---- faults ---- */

enum vms_mm_fault {
	VMS_MM_FAULT_NONE,   /* the access is allowed; the mapping may have grown for it */
	VMS_MM_FAULT_MAPERR, /* SIGSEGV, si_code 1: nothing mapped, guard marker, growth refused */
	VMS_MM_FAULT_ACCERR, /* SIGSEGV, si_code 2: a right is missing */
	VMS_MM_FAULT_ADRERR, /* SIGBUS, si_code 2: a page of a file wholly past its end */
};

/*
 * vms_mm_fault - what an access of one byte at `addr` does.
 *
 * access is VMS_PROT_READ, _WRITE or _EXEC. Grows a MAP_GROWSDOWN region where Linux would, and
 * notes that a private region was written, which region identity depends on (reference linux-mm
 * 1.14). An emulator over the recording backend calls it for each first touch of a page; over the
 * host backend only for faults that the host reported.
 * Since:     0.1
 */
VMS_API enum vms_mm_fault vms_mm_fault(struct vms_mm *mm, uint64_t addr, unsigned access);

/* ---- fork ---- */

/*
 * The bracket around the host's fork(2) of the process that holds the window: begin before it,
 * then parent in the parent (also when fork failed) or child in the child. The child drops
 * what MADV_DONTFORK says, and all locks of memory. Nothing else of this mm may be called between.
 * Returns:   begin: 0, or -ENOMEM: then do not fork, the bracket is not open.
 * Since:     0.1
 */
VMS_API int vms_mm_fork_begin(struct vms_mm *mm);
VMS_API void vms_mm_fork_parent(struct vms_mm *mm);
VMS_API void vms_mm_fork_child(struct vms_mm *mm);

/* ---- looking ---- */

/* vms_mm_region.flags */
#define VMS_MM_SHARED	 0x01u
#define VMS_MM_ANON	 0x02u /* no file: anonymous, private or shared */
#define VMS_MM_LOCKED	 0x04u
#define VMS_MM_GROWSDOWN 0x08u
#define VMS_MM_SEALED	 0x10u
#define VMS_MM_FOREIGN	 0x20u
#define VMS_MM_HEAP	 0x40u
#define VMS_MM_STACK	 0x80u

struct vms_mm_region {
	size_t size;	     /* sizeof(struct vms_mm_region), set by the caller */
	uint64_t start, end; /* guest addresses, half-open */
	uint64_t off;	     /* offset in the file, as the maps show it */
	uint64_t dev, ino;   /* of the file; 0 for anonymous memory */
	uint32_t prot;	     /* VMS_PROT_* */
	uint32_t flags;	     /* VMS_MM_* above */
	char name[256];	     /* path or [name], empty for none; cut at 255 bytes */
};

/*
 * vms_mm_next - the region that holds *cursor, or the first above it.
 *
 * Sets *cursor to the region's end. Stable across edits: start at 0, go on until -ENOENT.
 * Returns:   0, -ENOENT (no more), -EINVAL (short region).	Since: 0.1
 */
VMS_API int vms_mm_next(struct vms_mm *mm, uint64_t *cursor, struct vms_mm_region *region);

/*
 * vms_mm_maps_line - the region that holds *cursor, or the first above it, as its line of
 * /proc/self/maps, newline included, NUL ended.
 *
 * Returns:   the length, 0 when there is no more, -ERANGE if buf is too short.	Since: 0.1
 */
VMS_API ssize_t vms_mm_maps_line(struct vms_mm *mm, uint64_t *cursor, char *buf, size_t size);

/* vms_mm_maps - write all lines to `fd`. Returns: 0 or write(2)'s negative errno. Since: 0.1 */
VMS_API int vms_mm_maps(struct vms_mm *mm, int fd);

/* Counters, in bytes unless said. */
struct vms_mm_info {
	size_t size;	   /* sizeof(struct vms_mm_info), set by the caller */
	uint64_t regions;  /* number of them */
	uint64_t total;	   /* mapped */
	uint64_t locked;   /* locked */
	uint64_t data;	   /* private and writable, not growing */
	uint64_t stack;	   /* growing regions */
	uint64_t brk_start, brk; /* the heap */
	uint64_t edits;	   /* committed changes, a number */
	uint64_t splits, merges; /* of regions, numbers */
};
VMS_API int vms_mm_info(struct vms_mm *mm, struct vms_mm_info *info);

/*
 * vms_mm_check - verify every invariant of the structures (tree order, gaps, counters).
 *
 * For tests and for the suspicious. Cost: O(regions).
 * Returns:   0, or -EINVAL and a sentence that names the invariant.	Since: 0.1
 */
VMS_API int vms_mm_check(struct vms_mm *mm);

#ifdef __cplusplus
}
#endif
#endif
