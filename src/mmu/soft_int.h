/* SPDX-License-Identifier: MIT */
/*
 * soft_int.h: what soft.c (the table) and soft_tlb.c (the threads) share. Nobody else includes it.
 *
 * Locks: [I] immutable, [L] the lock, [A] atomic, written under the lock, [E] atomic, also written
 * by CPU threads, which set SEEN.
 */
#ifndef MMU_SOFT_INT_H
#define MMU_SOFT_INT_H

#include "base/lock.h"
#include "base/world.h"
#include "mmu/soft.h"

#define NODE_BITS  9u
#define NODE_SLOTS (1u << NODE_BITS)

/* A leaf's slot: a host address, rights in the low bits, and SEEN. 0: no entry. */
#define RIGHTS	  UINT64_C(7)
#define SEEN	  UINT64_C(8)
#define HOST_MASK (~(SOFT_PAGE_MIN - 1))

/* The root: the node's address, its height in the low bits. 0: the table is empty. */
#define HEIGHT UINT64_C(7)

struct node {
	struct node *next;		    /* [L] in limbo or spare */
	unsigned used;			    /* [L] slots that are not 0 */
	_Atomic(uint64_t) slot[NODE_SLOTS]; /* leaf: [E], else [A] the address of a node */
};

struct soft {
	const struct world *world; /* [I] */
	unsigned shift;		   /* [I] */
	bool caches;		   /* [I] TLBs may hold something */
	pid_t pid;		   /* [I] of the creator */
	struct lock lock;
	_Atomic(uint64_t) root;	    /* [A] */
	struct soft_cpu *cpus;	    /* [L] */
	struct node *limbo, *spare; /* [L] */
	unsigned n_limbo, n_spare;  /* [L] */
	uint64_t entries, nodes;    /* [L] nodes: linked */
	uint64_t shot, barriers;    /* [L] */
};

/* Pages lo .. hi (addresses of pages) whose entries were SEEN and have lost something. */
struct shot {
	bool any;
	uint64_t lo, hi;
};

static inline struct node *as_node(uint64_t word)
{
	return (struct node *)(uintptr_t)(word & ~HEIGHT);
}

/* The leaf slot of a page number, or NULL. By CPU threads that are inside, or under the lock. */
static inline _Atomic(uint64_t) *soft_slot(struct soft *soft, uint64_t number)
{
	uint64_t word = atomic_load(&soft->root);
	unsigned level = word & HEIGHT;

	if (level == 0 || number >> NODE_BITS * level)
		return NULL;
	while (level--) {
		_Atomic(uint64_t) *slot =
			&as_node(word)->slot[number >> NODE_BITS * level & (NODE_SLOTS - 1)];

		if (level == 0)
			return slot;
		word = atomic_load(slot);
		if (!word)
			return NULL;
	}
	return NULL;
}

/* soft_tlb.c */
bool soft_barrier_ready(const struct world *w); /* has the host a membarrier? */
void soft_shoot_locked(struct soft *soft, const struct shot *s) REQUIRES(soft->lock);
int soft_check_cpus_locked(struct soft *soft) REQUIRES(soft->lock);

/* soft.c: nobody can be in a node of limbo any more. */
void soft_drain_locked(struct soft *soft) REQUIRES(soft->lock);

#endif
