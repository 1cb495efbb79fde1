/* SPDX-License-Identifier: MIT */
/*
 * kvm.h: a KVM virtual machine shows the slots of a memory (memory.h).
 *
 *	vms_kvm_attach(mem, vm_fd, &params, &kvm);	// the slots that stand, and every edit after
 *	vms_kvm_vcpu_add(kvm, vcpu_fd);			// for dirty rings
 *	vms_kvm_detach(kvm);				// before vm_fd is closed
 *
 * KVM neither replaces nor resizes a slot, so the attachment keeps a table of KVM's slots of its
 * own and turns each edit into the fewest deletes and creates; changes of logging alone are flags,
 * a slot that only moves is moved. Where one of several calls takes something away, the guest could
 * see the edit half done: accesses of what goes for a moment exit as a device's. Give the memory a
 * gate (vms_memory_params) to keep vCPUs out meanwhile. An edit that only adds takes no gate.
 *
 * What the guest can do: a slot without WRITE is read-only, and writes exit as a device's. Without
 * READ it is not there at all, nor is a slow slot. KVM cannot forbid to execute.
 *
 * Logs: vms_dirty_sync() reads them. KVM counts a page as written too that the guest only read, if
 * it came to be mapped for writing. What a running vCPU wrote last may come with the next sync:
 * stop vCPUs before the last one. While a log runs, a slot goes or moves in the gate; without one
 * all of it counts as written (over_marked). KVM_EXIT_DIRTY_RING_FULL: sync, and run again.
 *
 * Huge pages need guest and host addresses that are equal modulo 2 MiB; map blocks at such offsets.
 */
#ifndef VMSPACE_KVM_H
#define VMSPACE_KVM_H

#include <vmspace/memory.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vms_kvm;

/* Disable quirk SLOT_ZAP_ALL: edits leave other slots' pages. Older kernels then enable all others
 * again: disable yours afterwards, and this one (bit 7) with them. */
#define VMS_KVM_KEEP_PAGES 0x1u
#define VMS_KVM_DIRTY_RING 0x2u /* log by rings, not bitmaps; attach before the first vCPU */

struct vms_kvm_params {
	size_t size;	    /* sizeof(struct vms_kvm_params) */
	uint32_t flags;	    /* VMS_KVM_* */
	uint32_t first_slot; /* KVM slot ids from here on are ours */
	uint32_t slots;	     /* so many of them; 0: all that KVM has from first_slot on */
	uint32_t ring_bytes; /* DIRTY_RING: of each vCPU, a power of two; 0: 64 KiB */
	/* A larger slot is split; a multiple of 2 MiB. KVM pays memory a page of slot. 0: what KVM
	 * can (2^31 - 1 pages). */
	uint64_t max_slot;
};

/*
 * vms_kvm_attach - from now on the virtual machine of vm_fd has the slots of mem.
 *
 * vm_fd:     borrowed until vms_kvm_detach(). Until then it clears dirty bitmaps by hand, where KVM
 *            can (KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2).
 * Ownership: holds a reference of mem.
 *
 * Edits return the last four of these too, and then have changed nothing; where KVM refused to go
 * back as well, the memory is broken.
 *
 * Returns:   0, or
 *            -EINVAL   params; no KVM virtual machine, or the last of the slots is taken
 *            -ENOTSUP  a managed block is shown; flags or ROM need what this KVM lacks
 *            -ERANGE   a slot at the end of the 64-bit space
 *            -ENOSPC   more slots than KVM has
 *            -ENOMEM, what KVM answered
 * Since:     0.4
 * Source:    reference guest-physical-slots 1.8, 3, 5.4
 */
VMS_API int vms_kvm_attach(struct vms_memory *mem, int vm_fd, const struct vms_kvm_params *params,
			   struct vms_kvm **kvm);
/* vms_kvm_detach - the logs are read, and KVM's slots that are ours deleted. No vCPU runs. NULL is
 * fine. Since: 0.4 */
VMS_API void vms_kvm_detach(struct vms_kvm *kvm);

/* vms_kvm_vcpu_add - a new vCPU, before it runs. Its ring is ours alone from now on. Without rings:
 * nothing to do. Returns: 0, or -ENOMEM, what mmap answered. Since: 0.4 */
VMS_API int vms_kvm_vcpu_add(struct vms_kvm *kvm, int vcpu_fd);

struct vms_kvm_info {
	size_t size;	   /* sizeof(struct vms_kvm_info), set by the caller */
	uint64_t slots;	   /* of KVM that are in use */
	uint64_t max_slots;
	uint64_t created, deleted, moved, flagged; /* calls so far */
	uint64_t over_marked; /* bytes marked dirty because a log could not be read in time */
	uint64_t ring_entries; /* harvested so far */
};
VMS_API int vms_kvm_info(struct vms_kvm *kvm, struct vms_kvm_info *info);

/*
 * vms_kvm_guest_memfd - a slot of guest_memfd: memory that only the guest reaches, as a slow slot.
 *
 * [off, off + len) of gmem_fd (KVM_CREATE_GUEST_MEMFD of the same machine; duplicated). hva: where
 * the caller has mapped it, until the slot has gone, or NULL; then accesses through ports are
 * -ENOTSUP. KVM logs no writes to it, and has none that is ROM (-ENOTSUP of the edit).
 * Returns: as vms_slot_map_slow; -EBADF. Since: 0.4
 */
VMS_API int vms_kvm_guest_memfd(struct vms_edit *edit, uint64_t gpa, uint64_t len, int gmem_fd,
				uint64_t off, void *hva);

#ifdef __cplusplus
}
#endif
#endif
