/* SPDX-License-Identifier: MIT */
/*
 * fake.h: a virtual machine of KVM that is an ordinary struct: its slots, by KVM's rules, its dirty
 * logs and rings, and a guest that writes when it is told to. What KVM refuses, it refuses with the
 * same error; tests/kvm/real.c asks both and compares.
 *
 * It lies behind a world: ioctls to FAKE_VM and FAKE_VCPU come here, through test_world's counts
 * and failures; everything else goes to the host.
 */
#ifndef TESTS_KVM_FAKE_H
#define TESTS_KVM_FAKE_H

#include "memory/kvm_abi.h"
#include "world.h"

#define FAKE_VM	   0x7f000001
#define FAKE_VCPU  0x7f000002 /* and the one after it */
#define FAKE_SLOTS 512u
#define FAKE_RING  4096u /* entries at most */

struct fake_slot {
	uint64_t gpa, bytes, hva; /* bytes 0: none */
	uint32_t flags;
	int gmem_fd;
	uint64_t gmem_off;
	uint8_t *dirty, *writable; /* a byte a page; dirty NULL: does not log */
};

struct fake_kvm {
	struct test_world test;
	struct world world; /* test's, but for ioctl and mmap */
	struct fake_slot slot[FAKE_SLOTS];
	uint32_t slots; /* that KVM has; FAKE_SLOTS */
	bool manual, no_readonly, no_manual, no_ring;
	uint64_t quirks; /* disabled */
	uint32_t ring_bytes;
	struct fake_ring {
		struct kvm_dirty_gfn *entry;
		uint32_t at, reset; /* the next to be written; to be reset */
	} ring[2];
	/* The processor tells of a page when the vCPU leaves the guest: by its address. */
	bool late;
	uint64_t told_late[64];
	unsigned n_late;
	uint64_t created, deleted, moved, flagged, got, cleared;
	/* Called before each call that changes slots, and after each: a guest that runs meanwhile.
	 */
	void (*between)(struct fake_kvm *f, void *arg);
	void *arg;
};

void fake_begin(struct fake_kvm *f);
void fake_end(struct fake_kvm *f); /* asserts that no slot is left */

/* As KVM_SET_USER_MEMORY_REGION; gmem_fd -1: none. */
int fake_set(struct fake_kvm *f, uint32_t id, uint32_t flags, uint64_t gpa, uint64_t bytes,
	     uint64_t hva, int gmem_fd, uint64_t gmem_off);
/* The slot that holds gpa, or NULL. */
struct fake_slot *fake_find(struct fake_kvm *f, uint64_t gpa);
/* The vCPU leaves the guest. */
void fake_leave(struct fake_kvm *f);
/* The guest writes a byte. False: it exits as a device's. */
bool fake_write(struct fake_kvm *f, uint64_t gpa, uint8_t value);
unsigned fake_count(const struct fake_kvm *f);

#endif
