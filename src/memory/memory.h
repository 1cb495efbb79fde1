/* SPDX-License-Identifier: MIT */
/*
 * memory.h: a guest-physical memory: a space whose mappings are slots, a table for those who
 * access, and who listens.
 *
 *	edit	plan (space/) → events, table (copies) → listeners prepare → gate → apply
 *		→ splice, publish → listeners commit → what went is dropped, after the lock
 *
 * A slot is a struct map: obj the block (block.h), off its offset, prot the access, flags 0.
 *
 * Two counts: `refs` are handles of users, ports, logs and backends; the last one gone, all slots
 * and registrations go. `holds` keep the struct: one for all refs together, one a block.
 *
 * Lock order: mem->space.lock → mem->dirty_lock → an object's family ... The gate and listeners run
 * under mem->space.lock.
 */
#ifndef MEMORY_MEMORY_H
#define MEMORY_MEMORY_H

#include "base/epoch.h"
#include "base/fail.h"
#include "base/lock.h"
#include "memory/block.h"
#include "memory/table.h"
#include "space/space.h"

/* mem->logging. 0: nobody logs, and a write has nothing more to do. */
#define LOGGING_ON	 1u /* somebody does */
#define LOGGING_FENCED	 2u /* the host has no membarrier: fence, and look again (dirty.h) */
#define LOGGING_EXTERNAL 4u /* somebody wants bits by guest address, at once */

struct listener {
	struct listener *next;
	const struct vms_listener_ops *ops;
	void *arg;
};

struct vms_memory {
	/* What every access reads; on lines of their own. */
	struct table table __attribute__((aligned(64)));
	_Atomic(uint32_t) logging;

	struct space space __attribute__((aligned(64))); /* its lock is the memory's */
	const struct world *world;			 /* [I] */
	atomic_uint refs, holds;
	uint64_t page_size;		    /* [I] P */
	struct vms_gate gate;		    /* [I] */
	struct listener *listeners;	    /* [lock] in the order they came */
	struct vms_block *blocks;	    /* [lock] that are not freed, by next */
	uint64_t n_blocks;		    /* [lock] */
	uint64_t gated;			    /* [lock] */
	bool broken;			    /* [lock] */
	_Atomic(struct vms_block *) dead;   /* ended, not freed; by dead */
	atomic_uint reaping;		    /* threads that have taken `dead` and free of it */
	atomic_bool orphaned;		    /* on the list of those that end later (memory.c) */
	struct vms_memory *orphan;	    /* by this */
	void *raw;			    /* [I] what was allocated: the struct is aligned in it */
	struct lock dirty_lock;		    /* LOCK_OBJECT; dirty.c */
	/* [lock and dirty_lock to change; either to read, or a section for external ones] */
	_Atomic(struct vms_dirty *) log[VMS_DIRTY_LOGS];
	struct share_table *imported;	    /* [I] share.c; NULL: not imported */
	char name[32];			    /* [I] */
};

/* Does any log run? => the lock, or the dirty lock */
static inline bool memory_is_logged(const struct vms_memory *mem)
{
	for (unsigned i = 0; i < VMS_DIRTY_LOGS; i++)
		if (atomic_load_explicit(&mem->log[i], memory_order_relaxed))
			return true;
	return false;
}

/* Frees blocks that ended and that nobody can read any more. In a bracket: a later call does, if
 * there is none the end of the bracket. => no lock */
void memory_reap(struct vms_memory *mem);
static inline void memory_reap_soon(struct vms_memory *mem)
{
	if (atomic_load_explicit(&mem->dead, memory_order_relaxed))
		memory_reap(mem);
}
/* A bracket ended: memories that ended in it go. */
extern _Atomic(struct vms_memory *) memory_orphans __attribute__((visibility("hidden")));
void memory_reap_orphans(void);
/* A block's count fell to 0. Any lock may be held. */
void memory_bury(struct vms_block *b);
void memory_hold(struct vms_memory *mem);
void memory_let_go(struct vms_memory *mem);

/* share.c: the memory ends. */
void share_end(struct vms_memory *mem);

/* The slot m as callers see it. */
void slot_tell(const struct map *m, struct vms_slot_info *info);
/* Its table entry. */
struct table_entry slot_entry(const struct map *m);

/* Of whom the edit is. */
struct vms_memory *edit_memory(const struct vms_edit *e);

/* ---- What an edit comes to (events.c; pure) ---- */

/*
 * The maximal runs of equal transition between two sorted lists of maps of the same span. Writes at
 * most `room` events; returns how many there are. What is equal (object, distance, rights) is none.
 */
size_t events_between(const struct map *before, size_t n_before, const struct map *after,
		      size_t n_after, struct vms_slot_event *events, size_t room);

/* ---- Listeners (listen.c) ---- */

/* prepare; on an error those prepared are told cancel. */
int listeners_prepare(struct vms_memory *mem, const struct vms_slot_event *ev, size_t n)
	REQUIRES(mem->space.lock);
void listeners_cancel(struct vms_memory *mem, const struct vms_slot_event *ev, size_t n)
	REQUIRES(mem->space.lock);
/* The gate if it is asked for, and apply; on an error those applied are told revert, and the
 * memory may be broken afterwards. *gated: leave it after the publication (listeners_leave). */
int listeners_apply(struct vms_memory *mem, const struct vms_slot_event *ev, size_t n, bool *gated)
	REQUIRES(mem->space.lock);
void listeners_leave(struct vms_memory *mem, bool gated) REQUIRES(mem->space.lock);
void listeners_commit(struct vms_memory *mem, const struct vms_slot_event *ev, size_t n)
	REQUIRES(mem->space.lock);
int listeners_log_start(struct vms_memory *mem) REQUIRES(mem->space.lock);
void listeners_log_stop(struct vms_memory *mem) REQUIRES(mem->space.lock);
int listeners_log_sync(struct vms_memory *mem) REQUIRES(mem->space.lock);
int listeners_log_clear(struct vms_memory *mem, struct vms_block *b, uint64_t off, uint64_t len)
	REQUIRES(mem->space.lock);
void listeners_discard(struct vms_memory *mem, struct vms_block *b, uint64_t off, uint64_t len)
	REQUIRES(mem->space.lock);

#endif
