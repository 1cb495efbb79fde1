/* SPDX-License-Identifier: MIT */
/*
 * shown.h: who shows a content's pages to somebody else, by entries of his own: a mapping, whose
 * backend has installed frames. A content knows no addresses; it only tells those who show a range
 * that their entries there are about to be wrong.
 *
 *	gone		entries of these pages must go: a frame leaves its page, or what was zero or
 *			the root's gets a frame of its own
 *	read_only	entries of these pages may stay but must not write any more: a snapshot is
 *			about to share the frames, or a write-back to read them
 *
 * Told before the change, under the lock of the content's family: when the call returns nobody
 * reaches the old frame through the entries any more (or writes to it), and only then the page
 * changes and the frame may become somebody else's. More pages may be told of than change, never
 * fewer. Pages beyond the content's end are nobody's entries.
 *
 * An overlay shows pages of its root. When one of these goes, those who show the overlay there are
 * told too, unless the overlay has a page of its own that hides it.
 *
 * What those who show must keep to:
 *
 *	1 they hold a count of the content as long as they are in its tree
 *	2 they put an entry in under the family's lock, from what they see under the same hold of it.
 *	  A look before, without the lock, is worth nothing: the call may come between the look and
 *	  the entry, and finds nothing to take out.
 *	3 an entry writes only where content_own has the frame and, of a paged content, the frame is
 *	  dirty: after content_need with NEED_WRITE. What an overlay shows of its root never writes.
 *	4 the two calls cannot fail, take no lock that comes before the family's (no space's), and
 *	  neither add nor take out anything here
 *
 * Invariants, checked by shown_check:
 *	1 each content's tree is sound
 *	2 a family's `shown` is the number of nodes in its contents' trees
 */
#ifndef OBJECT_SHOWN_H
#define OBJECT_SHOWN_H

#include "object/content.h"

struct shown;

/* Pages [first, first + n) of the content, n >= 1, all inside what is shown. */
struct shown_ops {
	void (*gone)(struct shown *s, uint64_t first, uint64_t n);
	void (*read_only)(struct shown *s, uint64_t first, uint64_t n);
};

/* In the caller's struct. */
struct shown {
	struct itree_node node; /* pages of the content; see shown_add */
	const struct shown_ops *ops;
};

/* From now on s is told of pages [first, first + n) of c, n >= 1; they may lie beyond its end. Not
 * told of what was before: s has no entries yet. */
void shown_add(struct content *c, struct shown *s, uint64_t first, uint64_t n)
	REQUIRES(c->family->lock);
void shown_del(struct content *c, struct shown *s) REQUIRES(c->family->lock);

/* ---- For those who change pages ---- */

void shown_tell_gone(struct content *c, uint64_t first, uint64_t n) REQUIRES(c->family->lock);
void shown_tell_read_only(struct content *c, uint64_t first, uint64_t n) REQUIRES(c->family->lock);

/* The pages are about to change. Before the first change, when nothing can fail any more. */
static inline void content_gone(struct content *c, uint64_t first, uint64_t n)
	REQUIRES(c->family->lock)
{
	if (c->family->shown)
		shown_tell_gone(c, first, n);
}

/* The frames of the pages are about to be shared or read. */
static inline void content_read_only(struct content *c, uint64_t first, uint64_t n)
	REQUIRES(c->family->lock)
{
	if (c->family->shown)
		shown_tell_read_only(c, first, n);
}

/* The validator: 0, or -EINVAL with a sentence. */
int shown_check(const struct family *f) REQUIRES(f->lock);

#endif
