/* SPDX-License-Identifier: MIT */
/*
 * kvm.h: an attachment of a memory to a virtual machine of KVM. See vmspace/kvm.h.
 *
 *	kvm_slots.c	which slots KVM has, and plans for it
 *	kvm.c		attach and detach; a commit's plan, executed, undone
 *	kvm_log.c	what the guest wrote: bitmaps or rings
 *
 * All of it is under the memory's lock, but for `rings`, where vCPUs come at any time.
 */
#ifndef MEMORY_KVM_H
#define MEMORY_KVM_H

#include <stdatomic.h>

#include "memory/kvm_abi.h"
#include "memory/kvm_slots.h"
#include "memory/memory.h"
#include "vmspace/kvm.h"

/* A vCPU's ring, mapped. */
struct kvm_ring {
	struct kvm_ring *next;
	struct kvm_dirty_gfn *entry;
	uint32_t at; /* the next one to be read */
};

struct vms_kvm {
	struct vms_memory *mem;	   /* [I] with a reference */
	const struct world *world; /* [I] */
	int fd;			   /* [I] the machine's */
	uint32_t first_slot;	   /* [I] KVM's number of our id 0 */
	bool readonly, manual;	   /* [I] KVM_CAP_READONLY_MEM; bits stay until they are cleared */
	struct kvm_slots slots;
	struct kvm_plan plan; /* from prepare to commit or cancel */
	bool logging, joined;
	uint32_t ring_bytes;		  /* [I] 0: bitmaps */
	_Atomic(struct kvm_ring *) rings; /* by next; they only come */
	/* What was taken from a ring that is not reset yet: room for one ring. */
	struct kvm_dirty_gfn *taken;
	uint32_t n_taken;
	uint64_t created, deleted, moved, flagged, over_marked, ring_entries;
};

/* KVM logs what is written to it. */
static inline bool kvm_is_loggable(const struct kvm_slot *s)
{
	return !(s->back.flags & (KVM_SLOT_ROM | KVM_SLOT_GUEST));
}

/* KVM_SET_USER_MEMORY_REGION: bytes 0: delete. */
int kvm_set(struct vms_kvm *k, const struct kvm_slot *s, uint64_t gpa, uint64_t bytes, bool logged);

/* ---- kvm_log.c ---- */

/* The slots that are to come get what logging takes. 0 or -ENOMEM. */
int kvm_log_prepare(struct vms_kvm *k, struct kvm_slot *comes);
/* Slots are about to go. True: what they know was given to the logs, and as nobody runs that is
 * all. A slot that moves keeps what it knows, but for what a processor has not told yet. */
bool kvm_log_last(struct vms_kvm *k, struct kvm_slot *goes, bool gated);
/* It has gone or moved, and what was written last may be lost: all of it was written. */
void kvm_log_over_mark(struct vms_kvm *k, const struct kvm_slot *s);
/* The rings have nothing left that names slots that went. */
void kvm_log_purge(struct vms_kvm *k);

int kvm_log_start(void *arg);
void kvm_log_stop(void *arg);
int kvm_log_sync(void *arg);
int kvm_log_clear(void *arg, struct vms_block *block, uint64_t off, uint64_t len);

int kvm_rings_begin(struct vms_kvm *k, uint32_t bytes);
void kvm_rings_end(struct vms_kvm *k);

#endif
