/* SPDX-License-Identifier: MIT */
/*
 * soft_int.h: what soft.c (changes), soft_tree.c (nodes and locks) and soft_tlb.c (the threads)
 * share. Nobody else includes it.
 *
 * Locks: [I] immutable, [S] the lock of the leaf's stripe, [*] written with all stripes locked,
 * read with any, [A] atomic, [E] atomic, written under the lock of the leaf's stripe, and by CPU
 * threads, which set SEEN.
 */
#ifndef MMU_SOFT_INT_H
#define MMU_SOFT_INT_H

#include <stdatomic.h>

#include "base/lock.h"
#include "base/world.h"
#include "mmu/soft.h"

#define NODE_BITS  9u
#define NODE_SLOTS (1u << NODE_BITS)

/* A leaf's slot: a host address, rights in the low bits, and SEEN. 0: no entry. */
#define RIGHTS	  UINT64_C(7)
#define SEEN	  UINT64_C(8)
#define HOST_MASK (~(SOFT_PAGE_MIN - 1))

/* The root: the node's address, its height (2 or more) in the low bits. 0: no nodes. */
#define HEIGHT UINT64_C(7)

struct node {
	struct node *next;		    /* unlinked: in the list of who unlinked it */
	unsigned used;			    /* [S] of a leaf: slots that are not 0 */
	_Atomic(uint64_t) slot[NODE_SLOTS]; /* leaf: [E]; else [A] the address of a node */
};

/* Few enough that a thread can hold them all under a checker of lock orders. */
#define STRIPE_BITS 5u
#define STRIPES	    (1u << STRIPE_BITS)
#define ALL_STRIPES UINT32_MAX

/* Every leaf belongs to one. */
struct stripe {
	struct lock lock;
	uint64_t entries;	/* [S] */
	uint64_t leaves, empty; /* [S] linked leaves; of them, without an entry */
	struct node *leaf;	/* [S] one of its leaves, or NULL */
	uint64_t leaf_number;	/* [S] the number of that one */
} __attribute__((aligned(128)));

struct soft {
	const struct world *world;	  /* [I] */
	void *block;			  /* [I] as allocated: the struct is aligned in it */
	unsigned shift;			  /* [I] */
	bool caches;			  /* [I] TLBs may hold something */
	pid_t pid;			  /* [I] of the creator */
	_Atomic(uint64_t) root;		  /* [A] */
	struct vms_cpu *cpus;		  /* [*] */
	_Atomic(uint64_t) nodes;	  /* [A] linked */
	_Atomic(uint64_t) shot, barriers; /* [A] */
	struct stripe stripe[STRIPES];
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

/* Of a leaf's number: a page's number without its last NODE_BITS. */
static inline unsigned stripe_of(uint64_t leaf_number)
{
	return (unsigned)(leaf_number * UINT64_C(0x9e3779b97f4a7c15) >> (64 - STRIPE_BITS));
}

/* The leaf slot of a page number, or NULL. By CPU threads that are inside, or with a stripe locked.
 */
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

/* ---- soft_tree.c ---- */

/* The stripes of the leaves that hold pages lo .. hi, a bit each. */
uint32_t stripes_of(uint64_t lo, uint64_t hi);
void stripes_take(struct soft *soft, uint32_t stripes);
void stripes_drop(struct soft *soft, uint32_t stripes);

/* The leaf that holds this page number, or NULL. Its stripe is locked, as for all that follow. */
struct node *leaf_find(struct soft *soft, uint64_t number);
/* The same, made if need be. NULL: no memory. */
struct node *leaf_make(struct soft *soft, uint64_t number);
/* `used` slots of the leaf's are not 0 any more, or more. */
void leaf_gained(struct soft *soft, struct node *leaf, uint64_t number, unsigned slots);
void leaf_lost(struct soft *soft, struct node *leaf, uint64_t number, unsigned slots);

/* Are there too many empty leaves in these stripes? Then prune, when they are not locked. */
bool prune_due(const struct soft *soft, uint32_t stripes);
/* Nodes without an entry go. No stripe is locked. */
void prune(struct soft *soft);

int check_tree(struct soft *soft); /* all stripes are locked */

/* ---- soft_tlb.c ---- */

bool soft_barrier_ready(const struct world *w); /* has the host a membarrier? */
/* A stripe is locked: return when no thread can use what the pages lost. */
void soft_shoot(struct soft *soft, const struct shot *s);
/* All stripes are locked: return when no thread can be in nodes that were unlinked before. */
void soft_leave_nodes(struct soft *soft);
int check_cpus(struct soft *soft); /* all stripes are locked */

#endif
