// SPDX-License-Identifier: MIT
/*
 * host_stretch.c: the record of what stands in a host window. See host_entries.c for what it is
 * for.
 *
 * Stretches lie in an interval tree by guest address, and in a list by age. Neighbours that go on
 * with the same bytes and rights are one, as they are one region for the host: so what stands here
 * is never split finer than what the host has.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/fail.h"
#include "base/range.h"
#include "mmu/host.h"

/* ---- The validator ---- */

static int check_shown(const struct host_line *line, const struct stretch *s, uint64_t at)
{
	char want[4] = { s->rights & VMS_PROT_READ ? 'r' : '-',
			 s->rights & VMS_PROT_WRITE ? 'w' : '-',
			 s->rights & VMS_PROT_EXEC ? 'x' : '-', 's' };

	if (memcmp(line->rights, want, sizeof(want)) != 0)
		return fail(-EINVAL, "host: %.4s is recorded at %#" PRIx64 ", the host has %s",
			    want, at, line->rights);
	return 0;
}

static int check_gap(const struct host_line *line, uint64_t at)
{
	if (memcmp(line->rights, "---", 3) != 0)
		return fail(-EINVAL, "host: nothing is recorded at %#" PRIx64 ", the host has %s",
			    at, line->rights);
	return 0;
}

/* The part of the window that this line is about. *seen: how far stretches were found. */
static int check_line(const struct host *h, const struct host_line *line, uint64_t *seen)
{
	const struct host_entries *e = &h->entries;
	uint64_t at = max_u64(line->start, e->first + h->delta) - h->delta;
	uint64_t last = min_u64(line->end - 1, e->last + h->delta) - h->delta, to;
	int err = 0;

	for (; !err && at <= last; at = to + 1) {
		const struct stretch *s = stretch_first(e, at, last);

		to = last;
		if (s && s->node.first > at) {
			to = s->node.first - 1;
			err = check_gap(line, at);
			continue;
		}
		if (!s) {
			err = check_gap(line, at);
			continue;
		}
		to = min_u64(s->node.last, last);
		err = check_shown(line, s, at);
		if (!err && s->fd >= 0 &&
		    line->off + (at + h->delta - line->start) != s->off + (at - s->node.first))
			err = fail(-EINVAL, "host: other bytes stand at %#" PRIx64, at);
		*seen += to - at + 1;
	}
	return err;
}

/* What the host has in the window is what is recorded. */
static int check_host(const struct host *h)
{
	const struct host_entries *e = &h->entries;
	uint64_t start = e->first + h->delta, last = e->last + h->delta;
	uint64_t seen = 0, recorded = 0;
	struct host_lines lines;
	struct host_line line;
	int err = 0;

	if (!host_lines_open(&lines, h->world))
		return 0; /* it does not say */
	while (!err && host_lines_next(&lines, &line) && line.start <= last)
		if (line.end > start)
			err = check_line(h, &line, &seen);
	host_lines_close(&lines);
	for (struct stretch *s = stretch_first(e, 0, UINT64_MAX); s;
	     s = stretch_next(s, 0, UINT64_MAX))
		recorded += s->node.last - s->node.first + 1;
	if (!err && seen != recorded)
		err = fail(-EINVAL,
			   "host: %" PRIu64 " bytes are recorded, of %" PRIu64 " the host has",
			   recorded, seen);
	return err;
}

static bool joins(const struct stretch *l, const struct stretch *r)
{
	uint64_t len = l->node.last - l->node.first + 1;

	return l->node.last + 1 == r->node.first && l->fd == r->fd && l->rights == r->rights &&
	       (l->fd < 0 || l->off + len == r->off) && (l->hva ? l->hva + len == r->hva : !r->hva);
}

static int check_ages(const struct host_entries *e)
{
	uint64_t n = 0;

	for (const struct stretch *s = e->oldest; s; s = s->newer, n++)
		if (n > e->n || (s->newer ? s->newer->older != s : s != e->newest))
			break;
	return n == e->n ? 0 : fail(-EINVAL, "host: the list of ages is broken");
}

int stretch_check(struct host *h)
{
	const struct host_entries *e = &h->entries;
	uint64_t n = 0, seams = 0;
	struct stretch *s, *next;
	int err = itree_check(&e->tree);

	if (err)
		return err;
	for (s = stretch_first(e, 0, UINT64_MAX); s; s = next, n++) {
		next = stretch_next(s, 0, UINT64_MAX);
		if (s->node.first < e->first || s->node.last > e->last || !s->rights ||
		    !is_aligned(s->node.first, h->host_page) ||
		    !is_aligned(s->node.last + 1, h->host_page))
			return fail(-EINVAL, "host: a stretch [%#" PRIx64 ", %#" PRIx64 "]",
				    s->node.first, s->node.last);
		if (next && next->node.first <= s->node.last)
			return fail(-EINVAL, "host: two stretches meet at %#" PRIx64,
				    next->node.first);
		if (next && joins(s, next))
			return fail(-EINVAL, "host: two stretches could be one at %#" PRIx64,
				    next->node.first);
		seams += next && next->node.first == s->node.last + 1;
	}
	if (n != e->n || seams != e->seams)
		return fail(-EINVAL,
			    "host: %" PRIu64 " stretches, %" PRIu64 " seams, counted %" PRIu64
			    " and %" PRIu64,
			    n, seams, e->n, e->seams);
	if (stretch_regions(h) > e->budget && e->n > 1)
		return fail(-EINVAL, "host: %" PRIu64 " regions, the budget is %" PRIu64,
			    stretch_regions(h), e->budget);
	err = check_ages(e);
	return err ? err : check_host(h);
}

/* ---- Spare ones ---- */

bool stretch_reserve(struct host *h, unsigned n)
{
	struct host_entries *e = &h->entries;

	while (e->spares < n) {
		struct stretch *s = h->world->alloc(h->world, sizeof(*s));

		if (!s)
			return false;
		s->newer = e->spare;
		e->spare = s;
		e->spares++;
	}
	return true;
}

/* => stretch_reserve said so */
static struct stretch *take_spare(struct host_entries *e)
{
	struct stretch *s = e->spare;

	e->spare = s->newer;
	e->spares--;
	return s;
}

static void give_spare(struct host *h, struct stretch *s)
{
	struct host_entries *e = &h->entries;

	if (e->spares == STRETCHES_SPARE) {
		h->world->free(h->world, s, sizeof(*s));
		return;
	}
	s->newer = e->spare;
	e->spare = s;
	e->spares++;
}

void stretch_free_all(struct host *h)
{
	struct host_entries *e = &h->entries;
	struct stretch *s;

	while ((s = stretch_of(e->tree.root))) {
		itree_erase(&e->tree, &s->node);
		h->world->free(h->world, s, sizeof(*s));
	}
	while (e->spares)
		h->world->free(h->world, take_spare(e), sizeof(*s));
	e->oldest = e->newest = NULL;
	e->n = e->seams = 0;
}

/* ---- Places in tree and list ---- */

/* Is something recorded right before or after? */
static uint64_t neighbours(const struct host_entries *e, const struct stretch *s)
{
	uint64_t before = s->node.first - 1, after = s->node.last + 1;

	return (s->node.first && stretch_first(e, before, before)) +
	       (after && stretch_first(e, after, after));
}

static void tree_add(struct host *h, struct stretch *s)
{
	struct host_entries *e = &h->entries;

	e->seams += neighbours(e, s);
	itree_insert(&e->tree, &s->node);
	e->n++;
}

static void tree_del(struct host *h, struct stretch *s)
{
	struct host_entries *e = &h->entries;

	itree_erase(&e->tree, &s->node);
	e->seams -= neighbours(e, s);
	e->n--;
}

static void age_add(struct host_entries *e, struct stretch *s, struct stretch *after)
{
	s->older = after;
	s->newer = after ? after->newer : e->oldest;
	*(s->newer ? &s->newer->older : &e->newest) = s;
	*(after ? &after->newer : &e->oldest) = s;
}

static void age_del(struct host_entries *e, struct stretch *s)
{
	*(s->newer ? &s->newer->older : &e->newest) = s->older;
	*(s->older ? &s->older->newer : &e->oldest) = s->newer;
}

uint64_t stretch_regions(const struct host *h)
{
	const struct host_entries *e = &h->entries;

	return h->real_holes ? e->n : 2 * e->n + 1 - e->seams;
}

/* ---- Changes ---- */

bool stretch_same(const struct stretch *s, const struct entries_run *run, uint64_t addr)
{
	uint64_t in = addr - s->node.first, from = addr - run->addr;

	if (s->fd != run->fd)
		return false;
	if (s->fd >= 0)
		return s->off + in == run->off + from;
	return s->hva + in == (const unsigned char *)run->hva + from;
}

/* s begins at `first` now, which lies in it. */
static void advance(struct stretch *s, uint64_t first)
{
	uint64_t by = first - s->node.first;

	s->node.first = first;
	s->off += by;
	if (s->hva)
		s->hva += by;
}

void stretch_cut(struct host *h, uint64_t first, uint64_t last)
{
	struct host_entries *e = &h->entries;
	struct stretch *s, *right;

	while ((s = stretch_first(e, first, last))) {
		bool before = s->node.first<first, behind = s->node.last> last;

		tree_del(h, s);
		if (before && behind) {
			right = take_spare(e);
			*right = *s;
			advance(right, last + 1);
			age_add(e, right, s);
			tree_add(h, right);
		}
		if (before) {
			s->node.last = first - 1;
		} else if (behind) {
			advance(s, last + 1);
		} else {
			age_del(e, s);
			give_spare(h, s);
			continue;
		}
		tree_add(h, s);
	}
}

static void absorb(struct host *h, struct stretch *s)
{
	tree_del(h, s);
	age_del(&h->entries, s);
	give_spare(h, s);
}

/* New, and the youngest; neighbours that it goes on with become part of it. */
static void place(struct host *h, struct stretch *s)
{
	struct host_entries *e = &h->entries;
	uint64_t before = s->node.first - 1, after = s->node.last + 1;
	struct stretch *l = s->node.first ? stretch_first(e, before, before) : NULL;
	struct stretch *r = after ? stretch_first(e, after, after) : NULL;

	if (l && joins(l, s)) {
		s->node.first = l->node.first;
		s->off = l->off;
		s->hva = l->hva;
		absorb(h, l);
	}
	if (r && joins(s, r)) {
		s->node.last = r->node.last;
		absorb(h, r);
	}
	tree_add(h, s);
	age_add(e, s, e->newest);
}

void stretch_put(struct host *h, uint64_t first, uint64_t last, const struct entries_run *like,
		 uint32_t rights)
{
	struct stretch *s = take_spare(&h->entries);
	uint64_t in = first - like->addr;

	*s = (struct stretch){ .node = { .first = first, .last = last },
			       .hva = like->hva ? (const unsigned char *)like->hva + in : NULL,
			       .fd = like->fd,
			       .off = like->fd >= 0 ? like->off + in : 0,
			       .rights = rights };
	place(h, s);
}

void stretch_rights(struct host *h, uint64_t first, uint64_t last, uint32_t rights)
{
	struct host_entries *e = &h->entries;
	uint64_t to;

	for (uint64_t at = first; at <= last; at = to + 1) {
		const struct stretch *s = stretch_first(e, at, at);
		struct stretch new = *s;

		to = min_u64(s->node.last, last);
		advance(&new, at);
		new.node.last = to;
		new.rights = rights;
		stretch_cut(h, at, to);
		s = take_spare(e);
		*(struct stretch *)s = new;
		place(h, (struct stretch *)s);
	}
}
