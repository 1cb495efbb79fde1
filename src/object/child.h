/* SPDX-License-Identifier: MIT */
/*
 * child.h: how a content becomes a copy of another one at an instant. A snapshot is one such copy;
 * a branch of a space (space/branch.c) is many at the same instant.
 *
 *	copy_prepare → copy_ready → copy_take → copy_linked
 *
 *	prepare		a new content and its view, empty: the parent knows nothing of them
 *	ready, take	under the lock of the family, with its gate closed
 *	linked		the view becomes a child of the parent's
 *
 * Between a parent's copy_take and the end of the hold nobody changes the parent: CPUs have lost
 * their right to write there, and all others want the lock, or to go inside.
 */
#ifndef OBJECT_CHILD_H
#define OBJECT_CHILD_H

#include "object/content.h"

struct copy {
	struct content *from; /* the parent's */
	struct content *to;   /* the child's: a count of the copy's own */
	uint64_t first;	      /* the parent's page that is the child's first */
	uint64_t window;      /* pages of the parent from there on that the child may see */
};

/* May a content have copies at all? 0, -EINVAL or -ENOTSUP. */
int copy_allowed(const struct content *from, enum vms_child_kind kind);
/* Sets `to`, of this size; the rest is set already. 0 or -ENOMEM. Undone by content_unref(to). */
int copy_prepare(struct copy *copy, uint32_t flags, uint64_t npages);
/*
 * Is there anything in the way? n: as many copies may come from one tree under this hold. 0,
 * -EBUSY (pinned), -ERANGE, -ENOMEM.
 */
int copy_ready(const struct copy *copy, uint32_t n) REQUIRES(copy->from->family->lock);
/* 0, or -ENOMEM with nothing changed. A copy of all of the parent cannot fail once it is ready. */
int copy_take(const struct copy *copy) REQUIRES(copy->from->family->lock);

#endif
