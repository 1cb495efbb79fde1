// SPDX-License-Identifier: MIT
/*
 * guard.c: where guard markers stand (MADV_GUARD_INSTALL). They are a property of pages, not of
 * mappings: the maps do not show them, they cost no region, they move with mremap and go with
 * munmap.
 *
 * Invariant: ranges are sorted and neither overlap nor touch.
 *
 * Changes never fail: guards_reserve() made the room. Setting or clearing adds one range at most.
 */
#include "mman/mm.h"

#include <errno.h>
#include <string.h>

int guards_reserve(struct guards *g, const struct world *w, size_t more)
{
	size_t room = g->room ? g->room : 8;
	struct guard_range *v;

	if (g->n + more <= g->room)
		return 0;
	while (room < g->n + more)
		room *= 2;
	v = w->alloc(w, room * sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	if (g->n)
		memcpy(v, g->v, g->n * sizeof(*v));
	if (g->v)
		w->free(w, g->v, g->room * sizeof(*v));
	g->v = v;
	g->room = room;
	return 0;
}

void guards_fini(struct guards *g, const struct world *w)
{
	if (g->v)
		w->free(w, g->v, g->room * sizeof(*g->v));
	memset(g, 0, sizeof(*g));
}

/* The first range that ends at or above addr. */
static size_t guards_from(const struct guards *g, uint64_t addr)
{
	size_t lo = 0, hi = g->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (g->v[mid].last < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* n_out ranges at `at` are replaced by n_in. */
static void guards_splice(struct guards *g, size_t at, size_t n_out, const struct guard_range *in,
			  size_t n_in)
{
	memmove(g->v + at + n_in, g->v + at + n_out, (g->n - at - n_out) * sizeof(*g->v));
	if (n_in)
		memcpy(g->v + at, in, n_in * sizeof(*in));
	g->n = g->n - n_out + n_in;
}

void guards_clear(struct guards *g, uint64_t first, uint64_t last)
{
	size_t at = guards_from(g, first), end = at, n_in = 0;
	struct guard_range in[2];

	while (end < g->n && g->v[end].first <= last)
		end++;
	if (at == end)
		return;
	if (g->v[at].first < first)
		in[n_in++] = (struct guard_range){ g->v[at].first, first - 1 };
	if (g->v[end - 1].last > last)
		in[n_in++] = (struct guard_range){ last + 1, g->v[end - 1].last };
	guards_splice(g, at, end - at, in, n_in);
}

void guards_set(struct guards *g, uint64_t first, uint64_t last)
{
	struct guard_range in = { first, last };
	size_t at, end;

	at = end = guards_from(g, first ? first - 1 : 0);
	while (end < g->n && g->v[end].first <= last + 1) {
		in.first = min_u64(in.first, g->v[end].first);
		in.last = max_u64(in.last, g->v[end].last);
		end++;
	}
	guards_splice(g, at, end - at, &in, 1);
}

bool guards_hold(const struct guards *g, uint64_t addr)
{
	size_t at = guards_from(g, addr);

	return at < g->n && g->v[at].first <= addr;
}

size_t guards_count(const struct guards *g, uint64_t first, uint64_t last)
{
	size_t at = guards_from(g, first), n = 0;

	while (at < g->n && g->v[at++].first <= last)
		n++;
	return n;
}

void guards_move(struct guards *g, uint64_t first, uint64_t last, uint64_t to)
{
	while (guards_count(g, first, last) != 0) {
		size_t at = guards_from(g, first);
		uint64_t a = max_u64(first, g->v[at].first), b = min_u64(last, g->v[at].last);

		guards_clear(g, a, b);
		guards_set(g, to + (a - first), to + (b - first));
	}
}

const char *guards_validate(const struct guards *g)
{
	for (size_t i = 0; i < g->n; i++) {
		if (g->v[i].first > g->v[i].last)
			return "guard: a range ends before it starts";
		if (i && g->v[i - 1].last + 1 >= g->v[i].first)
			return "guard: two ranges overlap or touch";
	}
	return NULL;
}
