/* SPDX-License-Identifier: MIT */
/*
 * arena.h: the store of pages that objects share: one sparse memfd, numbered by frame.
 *
 * Terms:
 *	frame	a page of the memfd; its number times the page size is its offset in the file and
 *		in the mapping. Numbers below FRAME_FIRST are never given, so that tree slots can
 *		use them as marks.
 *	granted	a frame that somebody holds. The limit and the accounting count these. Each has a
 *		count of the tree leaves that hold it: 1 means exclusive.
 *	run	an aligned stretch of 64 to 4,096 adjacent numbers that one owner has put aside,
 *		so that neighbouring pages of an object are neighbours in the file. Numbers cost
 *		no memory.
 *	cache	freed frames whose memory the host has not got back: the next grants come from it
 *		and save the host a hole and a fault. Past its bound they are punched in bulk.
 *
 * A freed frame is given again only after every epoch section that was open has ended: a reader
 * that found it just before may still be copying.
 *
 * Lock: the arena's own, rank LOCK_STORE, below every family lock. Counts of granted frames change
 * without it.
 */
#ifndef STORE_ARENA_H
#define STORE_ARENA_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/world.h"
#include "vmspace/object.h"

typedef uint32_t frame_t;

#define FRAME_NONE  0u
#define FRAME_FIRST 64u	  /* the first chunk of numbers is never given */
#define RUN_MIN	    64u	  /* frames */
#define RUN_MAX	    4096u /* frames: what one inner node of a page tree covers */

/* Marks of a granted frame; [the family's lock of its holder], atomic for readers. */
enum {
	FRAME_DIRTY = 1u << 0,	  /* paged: dirty ... */
	FRAME_CLEANING = 1u << 1, /* ... or awaiting clean; neither: clean, or not paged */
	FRAME_ALWAYS = 1u << 2,	  /* ALWAYS_NEED */
	FRAME_COLD = 1u << 3,	  /* DONT_NEED */
};

/* A list of granted frames that nobody holds yet, in the order they were asked for. */
struct frame_list {
	frame_t head, tail;
	uint64_t n;
};

/* Where an owner's next single frames come from; all zero: nowhere yet. */
struct arena_nook {
	frame_t at, end;
};

int arena_create(const struct world *w, const struct vms_arena_params *params,
		 struct vms_arena **out);
struct vms_arena *arena_ref(struct vms_arena *a);
void arena_unref(struct vms_arena *a);
/* -ESTALE with a sentence in a forked child, else 0. One load. */
int arena_usable(const struct vms_arena *a);
const struct world *arena_world(const struct vms_arena *a);
unsigned arena_page_shift(const struct vms_arena *a);
int arena_fd(const struct vms_arena *a);
void arena_info(struct vms_arena *a, struct vms_arena_info *info);

/* The frame's bytes. Valid from its grant until an epoch after its release. */
void *arena_addr(const struct vms_arena *a, frame_t f);
uint64_t arena_offset(const struct vms_arena *a, frame_t f); /* in arena_fd() */

/*
 * Put npages (rounded up to a power of two, at most RUN_MAX) adjacent numbers aside.
 * Returns 0 and *base, or -ENOMEM: a benign failure for the caller, who then grants singly.
 */
int arena_run(struct vms_arena *a, uint64_t npages, frame_t *base, uint32_t *len);
/* The owner gives its run up. Frames of it that are granted stay so; numbers come back as they are
 * freed. */
void arena_run_drop(struct vms_arena *a, frame_t base, uint32_t len);

/*
 * Append n granted frames to the list: all or nothing. want: the number that the first should
 * have and its successors the next ones, as far as these lie in a run of the caller's and are free;
 * FRAME_NONE or whatever is not free: from the cache or from *nook (never NULL).
 * Returns 0, or
 *	-EDQUOT	past the limit: room may be made by eviction, with no family lock held
 *	-ENOMEM	the host refused (the sentence says what), or out of numbers
 */
int arena_grant(struct vms_arena *a, struct arena_nook *nook, frame_t want, uint64_t n,
		struct frame_list *list);
/* n adjacent frames, for a contiguous object; each granted, count 1, zero. Same errors. */
int arena_grant_contiguous(struct vms_arena *a, uint64_t n, frame_t *first);
/* The first of the list, count 1, no marks, no pins; never fails while list->n > 0. */
frame_t arena_take(struct vms_arena *a, struct frame_list *list);
/* Put a whole list back. */
void arena_ungrant(struct vms_arena *a, struct frame_list *list);
/* Give up an owner's nook. */
void arena_nook_drop(struct vms_arena *a, struct arena_nook *nook);

/* Make the bytes of an exclusive frame zero; nothing to do where they are known to be. */
void arena_clear(struct vms_arena *a, frame_t f);
/* The bytes of an exclusive frame are about to be written, other than by arena_clear. Called once
 * before a frame just taken is written or shown; cheap. */
void arena_touch(struct vms_arena *a, frame_t f);

/*
 * Have the host copy the bytes of n frames from `from` on to those from f on, which were just taken
 * and not touched: it makes their pages without clearing them first, and without a fault for each.
 * False where that does not pay or is refused: the caller copies.
 */
bool arena_copy(struct vms_arena *a, frame_t f, frame_t from, uint64_t n);

/* Counts. unref at 1 frees the frame; a batch frees many with one lock. */
void frame_ref(struct vms_arena *a, frame_t f);
bool frame_exclusive(const struct vms_arena *a, frame_t f); /* count is 1 */
struct frame_batch {
	struct vms_arena *arena;
	struct frame_list list;
};
void frame_batch_init(struct frame_batch *b, struct vms_arena *a);
void frame_unref(struct frame_batch *b, frame_t f); /* no lock, no host call */
void frame_batch_end(struct frame_batch *b);	    /* releases what dropped to 0 */

/* Pins: false when the count would pass 65,535 (or below 0). */
bool frame_pin(struct vms_arena *a, frame_t f);
bool frame_unpin(struct vms_arena *a, frame_t f);
unsigned frame_pins(const struct vms_arena *a, frame_t f);
/* Marks: set those of `set`, clear those of `clear`; the old ones. */
unsigned frame_mark(struct vms_arena *a, frame_t f, unsigned set, unsigned clear);
unsigned frame_marks(const struct vms_arena *a, frame_t f);

/* Give the host back up to `bytes` of the cache; how many bytes it got. */
uint64_t arena_trim(struct vms_arena *a, uint64_t bytes);
/* Bookkeeping that others do for this arena's objects: for info. */
void arena_count_metadata(struct vms_arena *a, int64_t bytes);
void arena_count_evicted(struct vms_arena *a, uint64_t pages);

/*
 * Objects that can give pages back register with their arena; arena_evict asks them in turn, oldest
 * first, until n pages have been released or each was asked once. With no lock held.
 */
struct arena_evictable {
	struct arena_evictable *prev, *next;
	/* Release up to n pages: how many. Called with a reference taken by `hold`. */
	uint64_t (*evict)(struct arena_evictable *e, uint64_t n, unsigned pass);
	bool (*hold)(struct arena_evictable *e); /* [arena lock]; false: it is dying */
	void (*let_go)(struct arena_evictable *e);
};
#define EVICT_PASSES 3u /* 0: cold pages; 1: unlocked discardables; 2: any clean page */
void arena_evictable_add(struct vms_arena *a, struct arena_evictable *e);
void arena_evictable_del(struct vms_arena *a, struct arena_evictable *e);
uint64_t arena_evict(struct vms_arena *a, uint64_t n);

/* The validator: 0, or -EINVAL with a sentence. For tests; nobody else may be inside. */
int arena_check(struct vms_arena *a);

#endif
