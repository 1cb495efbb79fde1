/* SPDX-License-Identifier: MIT */
/* space_kit.h: spaces over objects in a few words, for the benchmarks that use them. */
#ifndef BENCH_SPACE_KIT_H
#define BENCH_SPACE_KIT_H

#include <stdint.h>

#include "bench.h"
#include "vmspace/space.h"
#include "vmspace/tlb.h"

#define MIB (UINT64_C(1) << 20)
#define TIB (UINT64_C(1) << 40)
#define R   VMS_PROT_READ
#define RW  (VMS_PROT_READ | VMS_PROT_WRITE)

extern uint64_t page; /* the host's, and the guests' */
extern struct vms_arena *arena;

void kit_init(const char *name);
/* Ends the program where err is not 0, or p is MAP_FAILED. */
void must(int err, const char *what);
void *must_map(void *at, uint64_t len, int prot, int flags, int fd, uint64_t off);
int must_memfd(uint64_t len, bool filled);

/* A space with its backend; cpu only with soft ones: of this thread. */
struct guest {
	struct vms_mmu *mmu;
	struct vms_space *space;
	struct vms_region *root;
	struct vms_cpu *cpu;
};
void guest_soft(struct guest *g);
/* The window is [lo, hi) of this process, with real holes. Its faults are served. */
void guest_host(struct guest *g, uint64_t lo, uint64_t hi);
void guest_end(struct guest *g);

struct vms_object *new_object(uint64_t bytes, bool committed);
/* addr 0: anywhere. Returns where. */
uint64_t put(const struct guest *g, uint64_t addr, struct vms_object *obj, uint64_t off,
	     uint64_t len, uint32_t prot);
void take(const struct guest *g, uint64_t addr, uint64_t len);
void op(struct vms_object *obj, enum vms_object_op what, uint64_t len);

/* One access through the TLB, with the faults that it takes. */
static inline void guest_load(const struct guest *g, uint64_t addr, uint64_t *value)
{
	while (!vms_tlb_load64(g->cpu, addr, value))
		must(vms_fault(g->space, addr, VMS_PROT_READ, 0, NULL, NULL), "fault");
}

static inline void guest_store(const struct guest *g, uint64_t addr, uint64_t value)
{
	while (!vms_tlb_store64(g->cpu, addr, value))
		must(vms_fault(g->space, addr, VMS_PROT_WRITE, 0, NULL, NULL), "fault");
}

#endif
