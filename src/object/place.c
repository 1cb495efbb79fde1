// SPDX-License-Identifier: MIT
/* place.c: see place.h. */
#include "object/place.h"

static struct place in_file(const struct content *c, uint64_t page, bool own)
{
	return (struct place){
		.store = PLACE_FILE, .own = own, .fd = c->fd, .off = page << c->shift
	};
}

static struct place in_arena(const struct content *c, frame_t f, bool own)
{
	return (struct place){ .store = PLACE_ARENA,
			       .own = own,
			       .fd = arena_fd(c->arena),
			       .off = arena_offset(c->arena, f),
			       .hva = arena_addr(c->arena, f) };
}

struct place content_where(const struct content *c, uint64_t page)
{
	struct seen s;

	if (c->kind == CONTENT_HOST)
		return (struct place){ .store = PLACE_HOST,
				       .own = true,
				       .fd = -1,
				       .hva = c->hva + (page << c->shift) };
	if (c->kind == CONTENT_FILE)
		return in_file(c, page, true);
	s = content_see(c, page);
	if (s.frame)
		return in_arena(c, s.frame, s.own && pages_exclusive(&c->pages, c->bias + page));
	if (s.absent && c->below && c->below->kind == CONTENT_FILE)
		return in_file(c->below, c->below_at + page, false);
	return (struct place){ .store = s.absent ? PLACE_ABSENT : PLACE_ZERO, .fd = -1 };
}
