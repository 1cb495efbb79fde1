/* SPDX-License-Identifier: MIT */
/*
 * place.h: where the bytes of a page are, for whoever shows or reads them.
 *
 * The one question that every user of content asks, answered by store. It allocates nothing and
 * asks nobody: a page that a pager has yet to bring is ABSENT.
 */
#ifndef OBJECT_PLACE_H
#define OBJECT_PLACE_H

#include "object/content.h"

enum place_store {
	PLACE_ZERO,   /* nowhere: it reads as zero */
	PLACE_ABSENT, /* a pager must be asked */
	PLACE_ARENA,
	PLACE_FILE, /* the content's own file, or the one below an overlay */
	PLACE_HOST, /* the caller's memory */
};

struct place {
	enum place_store store;
	bool own;     /* no other object sees this page now: it may be written here */
	int fd;	      /* ARENA, FILE; else -1 */
	uint64_t off; /* bytes, in fd */
	void *hva;    /* ARENA, HOST; else NULL */
};

/* Page `page` of c, which is below its size. Good for as long as the lock is held. */
struct place content_where(const struct content *c, uint64_t page) REQUIRES(c->family->lock);

#endif
