/* SPDX-License-Identifier: MIT */
/*
 * look.h: walking a content's pages one after the other, and the small tools of those who do.
 *
 * A look remembers the tree nodes it stands on, so that a step costs a load and no descent. It is
 * good for as long as the nodes are: inside one epoch section, or under one hold of the family's
 * lock as long as no node is copied or taken out (pages_set keeps it good, preparing does not).
 */
#ifndef OBJECT_LOOK_H
#define OBJECT_LOOK_H

#include <string.h>

#include "object/content.h"

#if defined(__SANITIZE_THREAD__)
#define LOOK_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LOOK_TSAN 1
#endif
#endif

/*
 * Copy bytes that somebody may be writing at this moment, or write such as somebody may be reading:
 * two calls on one object at once. What is torn is read again (content.seq) or was the callers'
 * choice; a race detector is not told of it.
 */
#ifdef LOOK_TSAN
__attribute__((no_sanitize("thread"), noinline, unused)) static void
bytes_copy(void *dst, const void *src, size_t n)
{
	volatile unsigned char *d = dst;
	const volatile unsigned char *s = src;

	while (n--)
		*d++ = *s++;
}
__attribute__((no_sanitize("thread"), noinline, unused)) static void bytes_zero(void *dst, size_t n)
{
	volatile unsigned char *d = dst;

	while (n--)
		*d++ = 0;
}
#else
static inline void bytes_copy(void *dst, const void *src, size_t n)
{
	memcpy(dst, src, n);
}
static inline void bytes_zero(void *dst, size_t n)
{
	memset(dst, 0, n);
}
#endif

struct look {
	const struct content *c;
	struct page_span own, low;
	uint64_t own_at, low_at; /* the page of c where the span starts */
};

static inline void look_init(struct look *l, const struct content *c)
{
	*l = (struct look){ .c = c };
}

/* The slot of c itself. */
static inline slot_t look_own(struct look *l, uint64_t page)
{
	if (page - l->own_at >= l->own.n) {
		l->own = pages_span(&l->c->pages, l->c->bias + page);
		l->own_at = page;
	}
	return page_span_at(&l->own, page - l->own_at);
}

/* The slot of the paged root that shows at the page. */
static inline slot_t look_low(struct look *l, uint64_t page)
{
	const struct content *c = l->c;

	if (page - l->low_at >= l->low.n) {
		l->low = pages_span(&c->below->pages, c->below->bias + c->below_at + page);
		l->low_at = page;
	}
	return page_span_at(&l->low, page - l->low_at);
}

static inline bool shows_below(const struct content *c, uint64_t page)
{
	return c->below && page < atomic_load_explicit(&c->below_limit, memory_order_acquire);
}

static inline struct seen look_see(struct look *l, uint64_t page)
{
	const struct content *c = l->c;
	struct seen s = { .slot = look_own(l, page), .frame = FRAME_NONE };

	s.own = s.slot != SLOT_EMPTY;
	if (slot_is_frame(s.slot)) {
		s.frame = s.slot;
	} else if (s.slot != SLOT_EMPTY) {
		/* a mark: zeros */
	} else if (c->kind == CONTENT_PAGED) {
		s.absent = true;
	} else if (shows_below(c, page)) {
		if (c->below->kind == CONTENT_FILE) {
			s.absent = true;
		} else {
			slot_t low = look_low(l, page);

			s.frame = slot_is_frame(low) ? low : FRAME_NONE;
			s.absent = low == SLOT_EMPTY;
		}
	}
	return s;
}

/* The checker knows the lock by one name only; c is another name of what has it. */
static inline void family_held(const struct content *c) ASSERTS_HELD(c->family->lock)
{
	(void)c;
}

/*
 * What is seen at the page, and for how many pages on it is the same: adjacent frames, zeros, or
 * absent. 1 .. n.
 */
uint64_t look_run(struct look *l, uint64_t page, uint64_t n, struct seen *s);

/* 0, or -EACCES with a sentence. */
int view_writable(const struct vms_object *obj);

/* What zeroing part of the page needs; nothing if it reads zero. 0, ASK or an error. */
int content_need_part(struct content *c, uint64_t page, struct ask *ask) REQUIRES(c->family->lock);
/* The same as far as others are asked for it: nobody but the arena can refuse it after that. */
int content_part_ready(struct content *c, uint64_t page, struct ask *ask) REQUIRES(c->family->lock);
/* Zero bytes [from, to) of a page, which content_need_part prepared. */
void content_zero_part(struct content *c, uint64_t page, uint64_t from, uint64_t to)
	REQUIRES(c->family->lock);
/* A writer's leave for whole pages of a PAGED content without frames for them: they are there, and
 * dirty where the pager traps. 0, ASK or an error. */
int content_leave(struct content *c, uint64_t first, uint64_t n, struct ask *ask)
	REQUIRES(c->family->lock);
/*
 * Give whole pages back: each becomes the mark, but pinned ones, which get zeros. Prepare may fail
 * with -ENOMEM, then nothing can, under the same hold of the lock with nothing else prepared after.
 * Who clears tells those who show the pages before (content_gone).
 */
int content_clear_prepare(struct content *c, uint64_t first, uint64_t n) REQUIRES(c->family->lock);
void content_clear(struct content *c, uint64_t first, uint64_t n, slot_t mark,
		   struct frame_batch *freed) REQUIRES(c->family->lock);
/* The first pinned page of the range, or UINT64_MAX. */
uint64_t content_pinned(const struct content *c, uint64_t first, uint64_t n)
	REQUIRES(c->family->lock);

/* The bytes of a file: all, or a sentence. Past the content's stream they are zero. */
int file_read(const struct content *c, uint64_t off, void *buf, uint64_t len);
/* A file that somebody has cut off before `end` is not made longer by us: 0 or -EIO. */
int file_reaches(const struct content *c, uint64_t end);
int file_write(const struct content *c, uint64_t off, const void *buf, uint64_t len);

#endif
