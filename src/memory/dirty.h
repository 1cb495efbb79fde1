/* SPDX-License-Identifier: MIT */
/*
 * dirty.h: which pages were written.
 *
 *	writer		store; is logging on? → is the page's bit set? → set it
 *	collector	exchange the word for 0 → barrier on every processor → the bits go to each log
 *	harvest		collect, take the bits of the range out of this log, have the backends trap
 *			these pages again; then the pages are read
 *
 * The writer has no fence between its store and its looks: the collector's barrier (membarrier)
 * stands in for it. A writer that saw the bit set did its store before the barrier, so who reads the
 * page after the barrier sees it. A writer that saw `logging` off did its store before the barrier of
 * vms_dirty_start(). Where the host refuses membarrier, `logging` says FENCED all the time: writers
 * put a fence behind the store, and look again.
 */
#ifndef MEMORY_DIRTY_H
#define MEMORY_DIRTY_H

#include "memory/memory.h"

/* For table_entry.more: the bit address of block offset off, less gpa >> 12. */
static inline uint64_t dirty_delta(const struct vms_block *b, uint64_t off, uint64_t gpa)
{
	return b->bits ? ((uint64_t)(uintptr_t)b->bits << 3) + (off >> DIRTY_SHIFT) -
				 (gpa >> DIRTY_SHIFT)
		       : 0;
}

/* Out of line: pages of direct memory [gpa, gpa + len) that have one entry were written. `more` is
 * the entry's. logging is not 0. => the block stays: a section, a lock, a pin. */
void dirty_mark_entry(struct vms_memory *mem, uint64_t more, uint64_t gpa, uint64_t len);

/* Is it one page, and marked already? Then a writer has nothing to do if `logging` is just ON. */
static inline bool dirty_is_marked(uint64_t more, uint64_t gpa, uint64_t len)
{
	uint64_t bit = more + (gpa >> DIRTY_SHIFT);
	const _Atomic(uint64_t) *word = (const _Atomic(uint64_t) *)(uintptr_t)(bit >> 6 << 3);

	return (gpa ^ (gpa + len - 1)) >> DIRTY_SHIFT == 0 &&
	       atomic_load_explicit(word, memory_order_relaxed) >> (bit & 63) & 1;
}

/* After a store of len bytes, all under one entry. */
static inline void dirty_wrote(struct vms_memory *mem, uint64_t more, uint64_t gpa, uint64_t len)
{
	uint32_t logging;

	atomic_signal_fence(memory_order_seq_cst);
	logging = atomic_load_explicit(&mem->logging, memory_order_relaxed);
	if (__builtin_expect(logging == 0, 1))
		return;
	if (logging != LOGGING_ON || !dirty_is_marked(more, gpa, len))
		dirty_mark_entry(mem, more, gpa, len);
}

/* A memory is new: its lock, and `logging`. */
void dirty_init(struct vms_memory *mem);
/* A block comes while logs run: give it theirs. 0 or -ENOMEM. And when it is freed. */
int dirty_block_begin(struct vms_memory *mem, struct vms_block *b) REQUIRES(mem->space.lock);
void dirty_block_end(struct vms_block *b);
/* All is written, by a block offset; marks external logs too, by the slots that show it. => as
 * dirty_mark_entry; the memory's lock may be held. */
void dirty_mark_block(struct vms_block *b, uint64_t off, uint64_t len);

/* A bitmap of zeros, which takes no memory before it is touched if it is large. NULL: none to be
 * had. */
void *dirty_bits_make(const struct world *w, uint64_t bytes);
void dirty_bits_free(const struct world *w, void *bits, uint64_t bytes); /* NULL is fine */

/* ---- Between dirty.c and dirty_harvest.c ---- */

struct vms_dirty {
	struct epoch_head retired;  /* first: freed when nobody looks at it any more */
	const struct world *world;  /* [I] */
	struct vms_memory *mem;	    /* [I] with a reference */
	unsigned index;		    /* [I] in mem->log, block->log */
	uint32_t flags;		    /* [I] VMS_DIRTY_* */
	uint64_t group;		    /* [I] pages of 4096 bytes that are one of the log's */
	_Atomic(uint8_t) *external; /* [I] the caller's; NULL: ours, a bitmap a block */
	uint64_t external_bytes;    /* [I] */
	bool seen;		    /* [dirty's lock] it was in mem->log */
};

/* A collector's step: so many words, of which there is one barrier. */
#define DIRTY_WORDS 512u

/*
 * What was marked in the n words from word `at` on goes to the logs of the block. n <= DIRTY_WORDS.
 * 0, or -EPERM: the host refuses membarrier, which it granted once; nothing is lost.
 */
int dirty_collect(struct vms_memory *mem, struct vms_block *b, uint64_t at, uint64_t n)
	REQUIRES(mem->dirty_lock);

#endif
