/* SPDX-License-Identifier: MIT */
/* support.h: what this build of the library, and the host it runs on, can do. */
#ifndef VMSPACE_SUPPORT_H
#define VMSPACE_SUPPORT_H

#include <vmspace/vmspace.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The build. */
#define VMS_BUILD_PROBES  0x1u /* static probes (sys/sdt.h) */
#define VMS_BUILD_RECOVER 0x2u /* vms_recover_fault() knows this processor */

/* The host. */
#define VMS_HOST_MEMFD	     0x1u   /* memfd_create and seals: arenas, shared blocks */
#define VMS_HOST_MEMBARRIER  0x2u   /* readers and writers need no fences */
#define VMS_HOST_USERFAULTFD 0x4u   /* for this user, faults of the kernel included */
#define VMS_HOST_POPULATE    0x8u   /* MADV_POPULATE_WRITE (5.14) */
#define VMS_HOST_GUARDS	     0x10u  /* MADV_GUARD_INSTALL (6.13) */
#define VMS_HOST_KVM	     0x100u /* /dev/kvm opens and speaks version 12 */
#define VMS_HOST_KVM_ROM     0x200u /* KVM_CAP_READONLY_MEM */
#define VMS_HOST_KVM_LOG     0x400u /* KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 */
#define VMS_HOST_KVM_RING    0x800u /* KVM_CAP_DIRTY_LOG_RING or _ACQ_REL */
#define VMS_HOST_KVM_GMEM    0x1000u /* KVM_CAP_GUEST_MEMFD */

struct vms_support {
	size_t size;	      /* sizeof(struct vms_support), set by the caller */
	uint32_t build, host; /* VMS_BUILD_*, VMS_HOST_* */
	uint64_t page_size;   /* P */
	uint64_t huge_page;   /* the default size of huge pages in bytes; 0: none */
	uint64_t huge_free;   /* how many of these the pool has free */
	uint32_t thp;	      /* transparent huge pages: 0 never, 1 where asked for, 2 always */
	uint32_t nodes;	      /* of memory (NUMA) */
	uint64_t max_maps;    /* regions that a process may have (vm.max_map_count); 0: unknown */
	uint64_t lock_limit;  /* bytes that may be locked (RLIMIT_MEMLOCK); UINT64_MAX: all */
	uint32_t kvm_slots;   /* of a virtual machine */
};

/*
 * vms_support - ask. Opens and closes files in /proc, /sys and /dev, so a program that gives up its
 * rights asks before. What cannot be found out is 0.
 *
 * Returns: 0, or -EINVAL (short struct). Since: 0.4
 */
VMS_API int vms_support(struct vms_support *support);

#ifdef __cplusplus
}
#endif
#endif
