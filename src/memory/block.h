/* SPDX-License-Identifier: MIT */
/*
 * block.h: guest RAM with identity. See vmspace/memory.h for what callers see.
 *
 *	count	one each for: handles, slots in the tree, edits that name it, pins; and one for its
 *		registration, if it is plain and not removed
 *	ended	the count is 0: nobody can reach it any more but readers in sections that are open.
 *		It waits in mem->dead until these have passed (memory_reap)
 *
 * A block's host memory, if it is direct, stays where it is until it is freed: so an entry of the
 * table, an old reader, or a mapping that somebody found in an epoch section can use it.
 *
 * Its dirty bits are one bit for each 4096 bytes, 64-bit words, where somebody marked and nobody has
 * collected yet; dirty.h distributes them to the logs. Reserved at birth: untouched they take no
 * memory. OBJECT blocks have them too, SLOW ones do not.
 */
#ifndef MEMORY_BLOCK_H
#define MEMORY_BLOCK_H

#include <stdatomic.h>
#include <stddef.h>

#include "object/object.h"
#include "vmspace/memory.h"

#define DIRTY_SHIFT 12u

struct vms_block {
	struct vms_object object; /* kind OBJECT_BLOCK; first: a slot's map.obj is the block */
	struct vms_memory *mem;	  /* [I] with a hold */
	struct vms_block *next, **link; /* [memory's lock] of mem->blocks: all that are not freed */
	uint64_t id;			/* [I] */
	enum vms_block_kind kind;	/* [I] */
	uint32_t flags;			/* [I] VMS_BLOCK_* */
	uint64_t bytes;			/* [I] */
	unsigned char *hva;		/* [I] direct; NULL: managed or slow */
	uint64_t page_size;		/* [I] of the host pages */
	int fd;				/* [I] SHARED, FILE: ours; else -1 */
	uint64_t fd_off;		/* [I] */
	unsigned char *reserved;	/* [I] the mapping that hva lies in; NULL: not ours */
	uint64_t reserved_bytes;	/* [I] */
	int numa_mode;			/* [I] MPOL_*; MPOL_DEFAULT: none was asked for */
	uint64_t numa_nodes;		/* [I] bit mask */
	struct vms_object *content;	/* [I] OBJECT: with a reference; direct: and all pages pinned */
	const struct vms_slow_ops *slow; /* [I] SLOW */
	void *slow_arg;			 /* [I] */
	void (*release)(void *arg);	 /* [I] HOST */
	void *arg;			 /* [I] */
	atomic_bool removed;		 /* [memory's lock to change] */
	uint64_t shown;			 /* [memory's lock] bytes of slots */
	_Atomic(uint64_t) slots;	 /* [memory's lock to change] that show it */
	atomic_uint pins;		 /* spans that are open, and PINS_DISCARD */
	_Atomic(uint64_t) *bits;	 /* [I] dirty; NULL: SLOW */
	/* [dirty's lock, but for the array's words] by running log; NULL: not a log that is ours */
	uint64_t *log[VMS_DIRTY_LOGS];
	struct vms_block *dead; /* ended, and the epoch of that */
	uint64_t ended;
	char name[32]; /* [I] */
};

static inline struct vms_block *block_of(struct vms_object *obj)
{
	return (struct vms_block *)obj;
}

/*
 * A discard looks whether there are pins and keeps new ones out in one step: else a device could be
 * given pages that go at once.
 */
#define PINS_DISCARD (1u << 31)

/* False: a discard is under way. It holds the memory's lock. */
static inline bool block_pin(struct vms_block *b)
{
	if (!(atomic_fetch_add(&b->pins, 1) & PINS_DISCARD))
		return true;
	atomic_fetch_sub(&b->pins, 1);
	return false;
}

static inline void block_unpin(struct vms_block *b)
{
	atomic_fetch_sub(&b->pins, 1);
}

/* False: it is pinned. => the memory's lock, until the end of it */
static inline bool block_discard_begin(struct vms_block *b)
{
	unsigned none = 0;

	return atomic_compare_exchange_strong(&b->pins, &none, PINS_DISCARD);
}

static inline void block_discard_end(struct vms_block *b)
{
	atomic_fetch_sub(&b->pins, PINS_DISCARD);
}

/* Bytes of a dirty bitmap: whole 64-bit words. */
static inline uint64_t block_bits_bytes(const struct vms_block *b)
{
	uint64_t pages = ((b->bytes - 1) >> DIRTY_SHIFT) + 1;

	return (pages + 63) / 64 * 8;
}

/*
 * block.c: a block on mem->blocks, with one count (the caller's), and one more for its registration
 * if it is plain. block_create checks params as vms_block_create does.
 */
int block_create(struct vms_memory *mem, const struct vms_block_params *params,
		 struct vms_block **block);
int block_create_slow(struct vms_memory *mem, uint64_t bytes, const struct vms_slow_ops *ops,
		      void *arg, struct vms_block **block);
/* Free it and call its release. => ended, nobody reads it, no lock held. */
void block_free(struct vms_block *b);

/*
 * block_host.c: host memory for a direct block that is ours, by b->kind, flags and params. ANON and
 * SHARED have b->bytes; a FILE's 0 become those to its end. Sets hva, page_size, fd, fd_off,
 * reserved. 0 or the error of vms_block_create, and nothing is left.
 */
int block_host_map(struct vms_block *b, const struct vms_block_params *params);
void block_host_unmap(struct vms_block *b); /* of one without: nothing */
/*
 * Discard [off, off + len) of a direct block, page aligned: the host call that its kind takes.
 * *freed is set on every path; what is not freed is skipped. A kind or a host that cannot is no
 * error: all is skipped.
 */
int block_host_discard(struct vms_block *b, uint64_t off, uint64_t len, uint64_t *freed);
/* Bytes that take memory; UINT64_MAX: the host does not tell. */
uint64_t block_host_resident(const struct vms_block *b);

#endif
