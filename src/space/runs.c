// SPDX-License-Identifier: MIT
/* runs.c: see runs.h. */
#include "space/runs.h"

void runs_init(struct runs *r, const struct content *c)
{
	r->c = c;
	look_init(&r->l, c);
	r->leaf = 0;
	r->leaf_own = false;
}

bool runs_writable(struct runs *r, uint64_t page, frame_t frame)
{
	const struct content *c = r->c;
	uint64_t leaf = (c->bias + page) / PAGES_FANOUT + 1;

	if (!frame_exclusive(c->arena, frame))
		return false;
	if (c->kind == CONTENT_PAGED && !(frame_marks(c->arena, frame) & FRAME_DIRTY))
		return false;
	if (leaf != r->leaf) {
		r->leaf = leaf;
		r->leaf_own = pages_path_exclusive(&c->pages, c->bias + page);
	}
	return r->leaf_own;
}

void runs_next(struct runs *r, uint64_t page, uint64_t n, struct run *run)
{
	uint64_t k = 1;

	run->first = page;
	run->n = look_run(&r->l, page, n, &run->seen);
	run->own = run->seen.own && run->seen.frame && runs_writable(r, page, run->seen.frame);
	if (!run->seen.own || !run->seen.frame)
		return;
	while (k < run->n && runs_writable(r, page + k, run->seen.frame + (frame_t)k) == run->own)
		k++;
	run->n = k;
}

void runs_next_written(struct runs *r, uint64_t page, uint64_t n, struct run *run)
{
	const struct content *c = r->c;
	slot_t slot = look_own(&r->l, page);
	uint64_t k = 1;

	r->leaf = (c->bias + page) / PAGES_FANOUT + 1;
	r->leaf_own = true;
	while (k < n && look_own(&r->l, page + k) == slot + k &&
	       runs_writable(r, page + k, slot + (frame_t)k))
		k++;
	*run = (struct run){ .first = page,
			     .n = k,
			     .seen = { .frame = slot, .own = true, .slot = slot },
			     .own = true };
}
