/* SPDX-License-Identifier: MIT */
/*
 * scene.h: a memory of three blocks attached to a machine that has KVM's rules (fake.h), and what
 * its guest wrote. The guest writes between any two calls to KVM unless it is in the gate, or
 * quiet.
 */
#ifndef TESTS_KVM_SCENE_H
#define TESTS_KVM_SCENE_H

#include "fake.h"
#include "vmspace/kvm.h"

#define P      UINT64_C(4096)
#define PAGES  96u /* of guest addresses */
#define BLOCKS 3u
#define EACH   70u /* pages of a block: not a multiple of 64 */
#define LOGS   2u
#define RO     VMS_SLOT_ROM
#define RW     VMS_SLOT_RAM

enum way { BITMAP, MANUAL, RING, WAYS };
extern const char *const way_name[WAYS];

extern struct fake_kvm machine;
extern struct vms_memory *mem;
extern struct vms_kvm *kvm;
extern struct vms_block *block[BLOCKS];
extern struct vms_dirty *log_of[LOGS];
extern bool written[LOGS][BLOCKS][EACH]; /* since that log was harvested */
extern bool gated, in_gate, quiet;
extern bool exact; /* logs have nothing that was not written */
extern enum way way;
extern uint32_t seed;

unsigned below(unsigned n);
void guest_write(uint64_t page);

int attach(void);
void detach(void);
void begin(enum way how, bool with_gate);
void end(void);

struct vms_edit *edit(void);
void map(struct vms_edit *e, uint64_t page, uint64_t n, unsigned b, uint64_t off, uint32_t access);
int map_one(uint64_t page, uint64_t n, unsigned b, uint64_t off, uint32_t access);
int unmap_one(uint64_t page, uint64_t n);
/* KVM shows what the memory shows. */
void compare(void);

struct harvest {
	unsigned log, block;
	bool seen[EACH];
};
/* For vms_dirty_harvest: arg is a struct harvest. */
int saw(void *arg, struct vms_block *b, uint64_t off, uint64_t len);
/* What the log gives is what was written; alone: without a sync. */
void harvest_alone(unsigned l);
void harvest(unsigned l);
void log_begin(unsigned l);
void log_end(unsigned l);

#endif
