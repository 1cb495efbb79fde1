/* SPDX-License-Identifier: MIT */
/*
 * inside.h: what the files of the arena share. Nobody else includes it.
 *
 *	arena.c		life, growing, granting, the validator
 *	numbers.c	which numbers are free: chunks, runs, nooks
 *	frames.c	counts, pins and marks of granted frames
 *	cache.c		freed frames: waiting for readers, cached, punched
 *	evict.c		asking objects for pages
 *
 * Locks: [I] immutable, [L] the arena's lock, [A] atomic, written under the lock, [F] atomic, free.
 */
#ifndef STORE_INSIDE_H
#define STORE_INSIDE_H

#include <stdatomic.h>

#include "base/epoch.h"
#include "base/lock.h"
#include "base/range.h"
#include "store/arena.h"

#define CHUNK	       64u   /* frames */
#define STRETCH	       4096u /* frames: 64 chunks */
#define STRETCH_CHUNKS (STRETCH / CHUNK)
#define ORDERS	       7u /* runs of 1, 2, 4, ... 64 chunks */
#define CHUNK_OWNED    0x80u
#define CHUNK_USED     0x7fu
/* Numbers are 32 bits, and so is one past the end of each chunk. */
#define FRAMES_MAX ((UINT64_C(1) << 32) - STRETCH)

/* The high byte of an entry's marks; FRAME_DIRTY and the others are the low one. */
enum {
	STATE_FREE = 0 << 8,   /* the number is nobody's; the entry is 0 but for BACKED */
	STATE_LISTED = 1 << 8, /* granted, in a frame_list */
	STATE_HELD = 2 << 8,   /* granted, counted */
	STATE_FREED = 3 << 8,  /* in a batch, waiting for readers, or cached */
	STATE = 3 << 8,
	BACKED = 4 << 8,  /* the host may have memory for it */
	WRITTEN = 8 << 8, /* its bytes may be other than zero */
	MARKS = 0xff,
};

struct entry {
	_Atomic(uint32_t) count; /* HELD: tree leaves; LISTED, FREED: the next frame of the list */
	_Atomic(uint16_t) pins;
	_Atomic(uint16_t) marks;
};

/* Freed frames that readers may still look at, and the epoch they wait for. */
struct limbo {
	struct frame_list list;
	uint64_t epoch;
};

struct vms_arena {
	const struct world *world; /* [I] */
	_Atomic(uint64_t) refs;	   /* [F] */
	uint8_t *base;		   /* [I] of frame 0 */
	struct entry *entries;	   /* [I] of every number; zero where never used */
	uint8_t *chunks;	   /* [L] CHUNK_OWNED and how many numbers are taken */
	uint64_t *taken; /* [L] of each stretch: chunks that are owned or have numbers taken */
	/* [I] 1 in the process that made the arena; fork leaves the child a 0. */
	const _Atomic(uint64_t) *alive;
	unsigned page_shift;	 /* [I] */
	int fd;			 /* [I] */
	uint64_t fd_dev, fd_ino; /* [I] of fd, for a child that wants to know whether it still is */
	uint64_t frames;	 /* [I] numbers there are */
	uint64_t limit;		 /* [I] frames that may be granted */
	uint64_t step;		 /* [I] frames by which the file grows */
	uint64_t table_bytes;	 /* [I] */

	struct lock lock;
	_Atomic(uint64_t) mapped;  /* [A] frames that the file has and that are mapped */
	_Atomic(uint64_t) granted; /* [A] frames */
	_Atomic(uint64_t) freed;   /* [A] frames in limbo and cache, and being punched */
	_Atomic(uint64_t) ahead;   /* [A] free numbers that are BACKED */
	uint32_t low[ORDERS];	   /* [L] no stretch below has room for a run of this order */
	uint64_t steal;		   /* [L] where the search for any free number goes on: a chunk */
	struct limbo young, old;   /* [L] freed frames: since the last turn, and before */
	uint64_t settle_at;	   /* [L] limbo's length at which to look again */
	struct frame_list cache;   /* [L] newest first */
	uint64_t cache_max;	   /* [L] frames; CACHE_MAX, more after the host refused */
	struct arena_evictable evictables; /* [L] the head of a ring, oldest first */
	uint64_t n_evictables;		   /* [L] */

	_Atomic(int64_t) metadata; /* [F] bytes */
	_Atomic(uint64_t) evicted; /* [F] pages */
	_Atomic(uint64_t) punched; /* [F] frames whose memory the host got back, so far */
	struct epoch_head retired;
};

static inline bool arena_alive(const struct vms_arena *a)
{
	return atomic_load_explicit(a->alive, memory_order_relaxed) != 0;
}

static inline unsigned entry_marks(const struct vms_arena *a, frame_t f)
{
	return atomic_load_explicit(&a->entries[f].marks, memory_order_relaxed);
}

/* => the caller is the only one who changes this frame's marks. */
static inline void entry_set_marks(struct vms_arena *a, frame_t f, unsigned marks)
{
	atomic_store_explicit(&a->entries[f].marks, (uint16_t)marks, memory_order_relaxed);
}

static inline bool number_is_free(const struct vms_arena *a, uint64_t n)
{
	return (entry_marks(a, (frame_t)n) & STATE) == STATE_FREE;
}

static inline uint64_t counter(const _Atomic(uint64_t) *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

static inline void counter_add(_Atomic(uint64_t) *c, uint64_t n)
{
	atomic_store_explicit(c, counter(c) + n, memory_order_relaxed);
}

static inline void counter_sub(_Atomic(uint64_t) *c, uint64_t n)
{
	atomic_store_explicit(c, counter(c) - n, memory_order_relaxed);
}

/* Lists are linked through the count of their frames. */
static inline frame_t list_next(const struct vms_arena *a, frame_t f)
{
	return atomic_load_explicit(&a->entries[f].count, memory_order_relaxed);
}

static inline void list_link(struct vms_arena *a, frame_t f, frame_t next)
{
	atomic_store_explicit(&a->entries[f].count, next, memory_order_relaxed);
}

void list_append(struct vms_arena *a, struct frame_list *l, frame_t f);
frame_t list_pop(struct vms_arena *a, struct frame_list *l);
/* All of `from`, which is empty then, before what is on l. */
void list_splice(struct vms_arena *a, struct frame_list *l, struct frame_list *from);

/* numbers.c */
void numbers_init(struct vms_arena *a);
/* A free number becomes LISTED. */
void number_take_locked(struct vms_arena *a, frame_t f) REQUIRES(a->lock);
/* The number of a frame whose memory the host has got back is nobody's again. */
void number_give_locked(struct vms_arena *a, frame_t f) REQUIRES(a->lock);
/* The next free number of the nook, or of a new chunk; FRAME_NONE: there is no free chunk. */
frame_t number_of_nook_locked(struct vms_arena *a, struct arena_nook *nook) REQUIRES(a->lock);
/* Any number that is free, wherever; FRAME_NONE: all are taken. Slow: the last resort. */
frame_t number_any_locked(struct vms_arena *a) REQUIRES(a->lock);
/* n adjacent numbers of free chunks, not yet taken. */
frame_t numbers_adjacent_locked(struct vms_arena *a, uint64_t n) REQUIRES(a->lock);
/*
 * The caller has f, whose chunk's next numbers may be wanted soon: take up to n - 1 of these while
 * the host makes their pages, then put them back, BACKED. How many frames, with f, are adjacent.
 */
uint64_t numbers_ahead_locked(struct vms_arena *a, frame_t f, uint64_t n) REQUIRES(a->lock);
void numbers_made_locked(struct vms_arena *a, frame_t f, uint64_t n) REQUIRES(a->lock);
int numbers_check(struct vms_arena *a, uint64_t *granted, uint64_t *freed);

/* cache.c */
#define CACHE_MAX   1024u /* frames; or: */
#define CACHE_SHARE 8u	  /* one for so many that are granted */
/* Freed frames that readers may have found. */
void limbo_add_locked(struct vms_arena *a, struct frame_list *l) REQUIRES(a->lock);
/* Cache those that no reader can look at any more. */
void limbo_settle_locked(struct vms_arena *a) REQUIRES(a->lock);
static inline uint64_t limbo_length(const struct vms_arena *a)
{
	return a->young.list.n + a->old.list.n;
}
/* Too much in the cache? Then give it back. */
void cache_bound(struct vms_arena *a) EXCLUDES(a->lock);
int cache_check(struct vms_arena *a, uint64_t freed);

#endif
