/* SPDX-License-Identifier: MIT */
/*
 * epoch.h: memory that readers may still look at is freed later.
 *
 * Terms:
 *	section		what a reader does between epoch_enter and epoch_leave: it may follow
 *			pointers that others take away meanwhile. Sections nest. A section takes
 *			no lock and never waits, so it is short.
 *	retire		hand over memory that nobody can reach any more; its free function runs
 *			when every section that was open then has ended
 *	record		one a thread: is it inside, and since which epoch. It registers itself at
 *			the first section and is given back when the thread ends.
 *
 * There is no thread behind this: retired memory is freed inside later calls of epoch_retire and
 * epoch_poll. The reader pays a store each way; the writer pays a membarrier a batch. Where the
 * host refuses membarrier, readers pay a fence instead.
 *
 * After fork the child has one thread and no sections: its records start empty.
 */
#ifndef BASE_EPOCH_H
#define BASE_EPOCH_H

#include <stdbool.h>
#include <stdint.h>

/* Embedded in what is retired. */
struct epoch_head {
	struct epoch_head *next;
	void (*free)(struct epoch_head *head);
	uint64_t epoch;
};

/* Returns false when no record could be had (no memory): the caller takes the lock instead. */
bool epoch_enter(void);
void epoch_leave(void);

/*
 * Never fails and never waits. head->free runs with no lock of this file held, in this or another
 * thread, possibly before epoch_retire returns; it may retire more.
 * => the caller may hold any lock that head->free does not take.
 */
void epoch_retire(struct epoch_head *head, void (*free)(struct epoch_head *head));
/* Free what can be freed now. */
void epoch_poll(void);
/* Wait until every section that is open now has ended, and free all that was retired before.
 * => not inside a section, no lock held that a section's owner may wait for. */
void epoch_synchronize(void);

/* The current epoch, and: have all sections that were open at that epoch ended? For users that keep
 * lists of their own (the arena's frames). */
uint64_t epoch_now(void);
bool epoch_passed(uint64_t epoch);

/*
 * The barrier by itself, for protocols of their own: what any thread of the process did before, in
 * its program's order, is done before this returns, and is seen by who looks afterwards. False: the
 * host refuses what it granted before, and nothing was done.
 */
bool epoch_barrier(void);
/* The host has no such barrier: epoch_barrier() is only the caller's own fence, and true; who relies
 * on it from the other side fences too. Decided once. */
bool epoch_needs_fences(void);

#endif
