/* SPDX-License-Identifier: MIT */
/*
 * source.h: the side of a paged content that talks to its pager.
 *
 * Terms:
 *	wait	a caller's storage (struct vms_wait) while it waits: for what kind of answer and for
 *		which pages
 *	packet	a range that was, or is about to be, requested of the pager. It is held by exactly
 *		one wait; other waits that overlap it ride on it and send nothing.
 *	answered	a READ page: present, or failed; a DIRTY page: dirty, or failed
 *
 * A wait covers the run from its first missing page to where the missing run, the caller's range,
 * or somebody else's packet begins; so it holds at most one packet. A wait whose first page lies in
 * somebody's packet rides to that packet's end.
 *
 * A holder that gives up hands its packet to the wait that has ridden on it longest, which from then
 * on waits for all of it. A write-back that takes a dirty page back out of a DIRTY packet wakes
 * everybody there, to ask again: nobody would answer that page a second time unasked.
 *
 * Invariants, checked by source_check:
 *	1 packets of one kind never overlap
 *	2 a linked wait holds a packet or rides on one that covers its range
 *	3 no page of a packet's ends is answered (answered ends are cut off at once)
 *	4 after detach no wait is linked
 *	5 a page inside a READ packet that was answered meanwhile is not evicted
 *
 * Linked under the family's lock, sent after it: if an answer comes in between, nothing is sent.
 * Locks: everything here is [F], the lock of the paged content's family, but what is marked. The
 * pager's own lock (rank between) guards its list of sources alone.
 */
#ifndef OBJECT_SOURCE_H
#define OBJECT_SOURCE_H

#include "object/content.h"

struct source;

int source_create(const struct world *w, struct vms_pager *pager, uint64_t key, struct content *c,
		  struct source **out);
/* The content goes: `complete` is called unless that was before. Waits that are linked still, of
 * callers that gave the object up meanwhile, are answered with -EBUSY. => no lock. */
void source_destroy(struct source *s);

bool source_traps_dirty(const struct source *s);

/*
 * Pages [first, first + n) of the source's content lack an answer of that kind, the first one for
 * certain: link wait. ASK with ask->kind = ASK_REQUEST; or -EBUSY when detached; or -EAGAIN when
 * there is no wait and the pager does not answer inside its request call (else ask->own is used).
 * A wait that is linked elsewhere is cancelled first by the caller (ask_init does).
 */
int source_ask(struct source *s, enum vms_request_kind kind, uint64_t first, uint64_t n,
	       struct ask *ask);
/* Send what was linked, if it is still wanted. No lock held. 0: answered, look again; VMS_WAIT: it
 * is on its way; negative: it failed. Of a pager that answers at once it waits for whoever is
 * asking, so that VMS_WAIT is never returned. => a reference keeps the object alive. */
int source_send(struct vms_wait *wait);

/* Pages [first, first + n) changed so that waits may be answered: supplied, dirtied, zeroed. */
void source_answered(struct source *s, uint64_t first, uint64_t n);
/* The content shrank to npages: what waits beyond is woken, packets are cut. */
void source_clip(struct source *s, uint64_t npages);
/* It was written, or resized. */
void source_modified(struct source *s);
bool source_is_modified(const struct source *s);

int source_check(const struct source *s);

#endif
