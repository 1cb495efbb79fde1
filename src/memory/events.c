// SPDX-License-Identifier: MIT
/*
 * events.c: what is different between two lists of slots, as runs of addresses.
 *
 * Both lists are walked together. Each step takes the longest stretch in which neither list begins
 * or ends a slot:
 *
 *	before	|   A   |       |  B  |
 *	after	    |     A     |  C  |
 *	steps	|---|---|-------|-----|
 *		 went  =  added  changed
 *
 * In a list no two neighbours continue each other, so no two steps are one event.
 */
#include "memory/memory.h"

#include "base/range.h"

static bool is_same(const struct map *a, const struct map *b)
{
	return a->obj == b->obj && a->off - a->start == b->off - b->start && a->prot == b->prot;
}

/* Cut [*first, *last], which starts in or before m, where m begins or ends. True: m shows it. */
static bool limit(const struct map *m, uint64_t first, uint64_t *last)
{
	if (!m)
		return false;
	if (m->start > first) {
		*last = min_u64(*last, m->start - 1);
		return false;
	}
	*last = min_u64(*last, m->last);
	return true;
}

static void tell(struct vms_slot_event *ev, const struct map *was, const struct map *is,
		 uint64_t first, uint64_t last)
{
	struct map cut;

	*ev = (struct vms_slot_event){ .kind = !was  ? VMS_SLOT_ADDED
					       : !is ? VMS_SLOT_REMOVED
						     : VMS_SLOT_CHANGED };
	if (was) {
		cut = map_cut(was, first, last);
		slot_tell(&cut, &ev->before);
	}
	if (is) {
		cut = map_cut(is, first, last);
		slot_tell(&cut, &ev->after);
	}
}

size_t events_between(const struct map *before, size_t n_before, const struct map *after,
		      size_t n_after, struct vms_slot_event *events, size_t room)
{
	const struct map *before_end = before + n_before, *after_end = after + n_after;
	uint64_t first = 0, last = 0;
	size_t n = 0;

	while (before < before_end || after < after_end) {
		const struct map *was = before < before_end ? before : NULL;
		const struct map *is = after < after_end ? after : NULL;

		/* What is shown at or above `first` begins here. */
		first = max_u64(
			first, min_u64(was ? was->start : UINT64_MAX, is ? is->start : UINT64_MAX));
		last = UINT64_MAX;
		if (!limit(was, first, &last))
			was = NULL;
		if (!limit(is, first, &last))
			is = NULL;
		if (!(was && is && is_same(was, is))) {
			if (n < room)
				tell(&events[n], was, is, first, last);
			n++;
		}
		if (was && was->last == last)
			before++;
		if (is && is->last == last)
			after++;
		first = last + 1;
	}
	return n;
}
