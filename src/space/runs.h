/* SPDX-License-Identifier: MIT */
/*
 * runs.h: what is on a content's pages, in the pieces that a backend can be shown.
 *
 *	run	pages that one entry run shows: adjacent frames alike in who may write them, pages of
 *		zeros, or pages that are absent
 *
 * Under one hold of the family's lock, during which no node is copied or taken out (look.h). Not
 * for host memory and files, whose bytes are where they are.
 */
#ifndef SPACE_RUNS_H
#define SPACE_RUNS_H

#include "object/look.h"

/* A walk; the pages may be asked for in any order. */
struct runs {
	const struct content *c;
	struct look l;
	uint64_t leaf; /* the leaf that was last asked for, + 1 */
	bool leaf_own;
};

struct run {
	uint64_t first, n; /* pages of the content */
	struct seen seen;  /* of the first */
	/* An entry may write: the frames are the content's own, nobody else's, and of a paged content
	 * dirty. */
	bool own;
};

void runs_init(struct runs *r, const struct content *c);
/* May an entry write to this frame, which stands in the content's own slot of the page? */
bool runs_writable(struct runs *r, uint64_t page, frame_t frame);
/* The run that starts at the page, at most n pages. */
void runs_next(struct runs *r, uint64_t page, uint64_t n, struct run *run);
/* The same where content_need has just made the first page one that may be written. */
void runs_next_written(struct runs *r, uint64_t page, uint64_t n, struct run *run);

#endif
