// SPDX-License-Identifier: MIT
/*
 * writeback.c: what the pager has to be told of, and what it has taken.
 *
 *		frame			no frame
 *	clean	no mark			ZERO
 *	dirty	FRAME_DIRTY		ZERO_DIRTY
 *	taken	FRAME_CLEANING		ZERO_CLEANING	(awaiting clean)
 *
 * A step moves all of one state to the next and leaves the others alone. So a page that was written
 * after `begin` is dirty at `end` and stays so, and one that was dropped or shrunk away is nobody's
 * business. `begin` closes the family's gate first: a writer that marked its page before and is
 * still copying would otherwise change what the pager is about to read. A pinned page may be
 * written at any moment without a word, so it stays dirty.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/fail.h"
#include "base/range.h"
#include "object/shown.h"
#include "object/source_int.h"

const struct dirty_step dirty_begin = { FRAME_DIRTY, FRAME_CLEANING, SLOT_ZERO_DIRTY,
					SLOT_ZERO_CLEANING };
const struct dirty_step dirty_end = { FRAME_CLEANING, 0, SLOT_ZERO_CLEANING, SLOT_ZERO };
const struct dirty_step dirty_back = { FRAME_CLEANING, FRAME_DIRTY, SLOT_ZERO_CLEANING,
				       SLOT_ZERO_DIRTY };

unsigned dirty_class(const struct source *s, slot_t slot, unsigned arg)
{
	if (slot_is_frame(slot))
		return frame_marks(s->content->arena, slot) & (FRAME_DIRTY | FRAME_CLEANING)
			       ? DIRTY_FRAME
			       : 0;
	return slot == SLOT_ZERO_DIRTY || slot == SLOT_ZERO_CLEANING ? DIRTY_ZERO : 0;
}

/* Class 1: this very mark. */
static unsigned is_mark(const struct source *s, slot_t slot, unsigned mark)
{
	return slot == mark;
}

/* Class 1: a frame that has the mark and may lose it. */
static unsigned may_step(const struct source *s, slot_t slot, unsigned mark)
{
	struct vms_arena *a = s->content->arena;

	return slot_is_frame(slot) && frame_marks(a, slot) & mark &&
	       !(mark == FRAME_DIRTY && frame_pins(a, slot));
}

int dirty_move(struct source *s, uint64_t first, uint64_t n, const struct dirty_step *step,
	       bool zero_only)
{
	struct pages *pages = &s->content->pages;
	uint64_t end = first + n;
	struct run r;

	for (uint64_t at = first; source_next_run(s, at, end, is_mark, step->zero_from, &r);
	     at = r.first + r.n) {
		int err = pages_prepare_range(pages, r.first, r.n);

		if (err)
			return fail(err, "no memory to mark %" PRIu64 " zero pages", r.n);
	}
	/* The same runs again: between two of them stands another mark, so that no fill takes out a
	 * node that the next one needs. */
	for (uint64_t at = first; source_next_run(s, at, end, is_mark, step->zero_from, &r);
	     at = r.first + r.n)
		pages_fill(pages, r.first, r.n, step->zero_to, NULL);
	if (zero_only)
		return 0;
	for (uint64_t at = first; source_next_run(s, at, end, may_step, step->from, &r);
	     at = r.first + r.n) {
		if (step == &dirty_begin)
			content_read_only(s->content, r.first, r.n);
		for (uint64_t i = r.first; i < r.first + r.n; i++)
			frame_mark(s->content->arena, pages_get(pages, i), step->to, step->from);
	}
	return 0;
}

/* ---- The calls ---- */

/* [off, off + len), inside the object, in pages, rounded outward. */
static int dirty_range(struct vms_pager *pager, struct vms_object *obj, uint64_t off, uint64_t len,
		       const char *what, bool aligned, struct source **s, struct page_range *r)
{
	int err = pager_source(pager, obj, s);

	if (!err && aligned)
		err = pager_aligned(*s, off, len, what);
	if (!err)
		err = view_range(obj, off, len, what, r);
	return err;
}

int vms_pager_query_dirty(struct vms_pager *pager, struct vms_object *obj, uint64_t off,
			  uint64_t len, struct vms_dirty_range *ranges, size_t *n, int *more)
{
	size_t room = n ? *n : 0, used = 0;
	struct page_range range;
	struct source *s;
	uint64_t at, end, origin;
	unsigned shift;
	struct run r;
	bool left;
	int err;

	if (!n || (room && !ranges))
		return fail(-EINVAL, "query dirty: no room given for ranges");
	err = dirty_range(pager, obj, off, len, "query dirty", /* aligned = */ false, &s, &range);
	if (err)
		return err;
	shift = s->content->shift;
	origin = view_of(obj)->at; /* a slice's own numbers */
	at = range.first;
	end = range.first + range.n;
	source_lock(s);
	err = content_range_holds(s->content, range.first, range.n);
	for (left = false; !err && source_next_run(s, at, end, dirty_class, 0, &r);
	     at = r.first + r.n) {
		left = used == room;
		if (left)
			break;
		ranges[used++] = (struct vms_dirty_range){
			.off = (r.first - origin) << shift,
			.len = r.n << shift,
			.zero = r.class == DIRTY_ZERO,
		};
	}
	source_unlock(s);
	if (err)
		return err;
	*n = used;
	if (more)
		*more = left;
	return 0;
}

static int step_range(struct vms_pager *pager, struct vms_object *obj, uint64_t off, uint64_t len,
		      uint32_t flags, const struct dirty_step *step, const char *what)
{
	struct page_range r;
	struct source *s;
	int err;

	if (flags & ~VMS_WRITEBACK_ZERO)
		return fail(-EINVAL, "%s: flags %#" PRIx32, what, flags);
	err = dirty_range(pager, obj, off, len, what, /* aligned = */ true, &s, &r);
	if (err)
		return err;
	source_lock(s);
	if (step == &dirty_begin)
		family_close(s->content->family);
	err = content_range_holds(s->content, r.first, r.n);
	if (!err && step == &dirty_begin)
		source_taken_back(s, r.first, r.n);
	if (!err)
		err = dirty_move(s, r.first, r.n, step, flags & VMS_WRITEBACK_ZERO);
	if (step == &dirty_begin)
		family_open(s->content->family);
	source_unlock(s);
	return err;
}

int vms_pager_writeback_begin(struct vms_pager *pager, struct vms_object *obj, uint64_t off,
			      uint64_t len, uint32_t flags)
{
	return step_range(pager, obj, off, len, flags, &dirty_begin, "write-back begin");
}

int vms_pager_writeback_end(struct vms_pager *pager, struct vms_object *obj, uint64_t off,
			    uint64_t len, uint32_t flags)
{
	return step_range(pager, obj, off, len, flags, &dirty_end, "write-back end");
}
