/* SPDX-License-Identifier: MIT */
/*
 * guest.h: the smallest guest on /dev/kvm that reads and writes where it is told to.
 *
 * It runs in 64-bit mode at CPL 3, which even a KVM without hardware below it runs natively. Code,
 * tables and orders are in 2 MiB at guest address 0, KVM's slot 0. Up to GUEST_TOP a guest's
 * virtual address is its physical one.
 */
#ifndef TESTS_KVM_GUEST_H
#define TESTS_KVM_GUEST_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmspace/memory.h"

#define GUEST_SYSTEM (UINT64_C(2) << 20)
#define GUEST_TOP    (UINT64_C(4) << 30)
#define GUEST_OPS    1024u /* at once */

/* One access of 8 bytes. */
struct guest_op {
	uint64_t addr;
	uint64_t write; /* or read */
	uint64_t value; /* written, or seen */
	uint64_t spare;
};

struct guest {
	int kvm, vm, vcpu;
	struct kvm_run *run;
	uint64_t run_bytes;
	unsigned char *system;
	/* An access that nobody answers: *value for a read. May be NULL: reads give ~0. */
	void (*device)(void *arg, uint64_t gpa, bool write, uint64_t *value);
	/* The vCPU's dirty ring is full. */
	void (*full)(void *arg);
	void *arg;
	uint64_t exits; /* accesses that nobody answered */

	/* The gate. */
	pthread_mutex_t lock;
	pthread_cond_t change;
	pthread_t thread; /* that runs it */
	bool inside;	  /* in KVM_RUN */
	bool paused;
};

/* A machine without a vCPU. NULL, or why there is none: a reason to skip. */
const char *guest_open(struct guest *g);
/* Its vCPU. NULL or a reason to skip. */
const char *guest_start(struct guest *g);
void guest_close(struct guest *g);

/* Do these, in order: 0, or what KVM answered, or -EIO: the guest stopped otherwise. */
int guest_do(struct guest *g, struct guest_op *ops, uint32_t n);
static inline struct guest_op guest_read(uint64_t addr)
{
	return (struct guest_op){ .addr = addr };
}
static inline struct guest_op guest_write(uint64_t addr, uint64_t value)
{
	return (struct guest_op){ .addr = addr, .write = 1, .value = value };
}

/* A gate for vms_memory_params: out of KVM_RUN by a signal; arg: the guest. */
void guest_enter_gate(void *arg);
void guest_leave_gate(void *arg);

#endif
