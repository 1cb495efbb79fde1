/* SPDX-License-Identifier: MIT */
/*
 * memory_kit.h: guest memory of 8 GiB in n slots, three ways: ours, as bare host memory, and by
 * rust-vmm's vm-memory; and the walks through it.
 *
 * The host memory is a memfd of 1 GiB that stands 8 times in a row in one host range: so 8 GiB take
 * as many page tables and miss as many caches as real ones, and 1 GiB of memory. Guest address 0 is
 * the start of the range, for all three ways.
 */
#ifndef BENCH_MEMORY_KIT_H
#define BENCH_MEMORY_KIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench.h"
#include "vmspace/access.h"

#define MIB   (UINT64_C(1) << 20)
#define GIB   (UINT64_C(1) << 30)
#define GUEST (8 * GIB)

extern uint64_t page;	       /* the host's */
extern char *guest_base;       /* the host address of guest address 0 */
extern volatile uint64_t sink; /* where loops put what they must not lose */

void kit_init(const char *name);
/* Ends the program where err is not 0. */
void must(int err, const char *what);
__attribute__((noreturn)) void die(const char *what);
/* ns of CPU time since t, over n. */
double since(uint64_t t, double n);

/* ---- Ours ---- */

struct guest {
	struct vms_memory *mem;
	struct vms_block *block;
	struct vms_port *port;
	unsigned slots;
	uint64_t slot_bytes; /* of each; the last has the rest */
};

/* n slots that touch, of alternating rights: none merges. */
void guest_make(struct guest *g, unsigned slots);
void guest_end(struct guest *g);
uint32_t slot_access(unsigned i);
/* One edit: slot i, with these rights. */
void guest_put(const struct guest *g, unsigned i, uint32_t access);

/* ---- Walks ---- */

/* Addresses i * stride, i at random from [0, mask]. bench/vm-memory has the same. */
struct walk {
	uint64_t x, mask, stride;
};

/* 32 places that are in all caches, in as many slots as there are; and 8 GiB. */
struct walk walk_hot(void);
struct walk walk_random(void);

/* value: what the next address waits for; 0 in value. */
static inline uint64_t walk_next(struct walk *w, uint64_t value)
{
	w->x = w->x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407) + value;
	return (w->x >> 30 & w->mask) * w->stride;
}

/* ---- vm-memory ---- */

struct peer;

/* False: it is not there; the reason was said. */
bool peer_init(const struct bench *b);
/* The same regions as g has slots; log: with bitmaps too. */
struct peer *peer_make(const struct guest *g, bool log);

struct peer_region {
	uint64_t gpa, len;
	void *hva;
};

extern struct peer_calls {
	struct peer *(*new)(const struct peer_region *regions, size_t n, bool log);
	void (*free)(struct peer *peer);
	uint64_t (*load)(const struct peer *peer, struct walk *w, uint64_t n, bool chain);
	uint64_t (*store)(const struct peer *peer, struct walk *w, uint64_t n, bool log);
	bool (*read)(const struct peer *peer, uint64_t gpa, void *buf, size_t len);
	bool (*write)(const struct peer *peer, uint64_t gpa, const void *buf, size_t len);
} peer_call;

/* memory_edit.c, memory_kvm.c: parts of the program. */
void bench_edits(const struct bench *b);
void bench_rounds(const struct bench *b);
void bench_upkeep(const struct bench *b);

#endif
