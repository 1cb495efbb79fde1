// SPDX-License-Identifier: MIT
/*
 * host_move.c: moving and resizing memory inside the window, by mremap.
 *
 * Two things make it more than one call.
 *
 * Seams. What is one mapping to the space may be several regions to the host (a private region
 * gets an identity at its first page, and two identities never become one; a file and its tail
 * are two). mremap that resizes, and any mremap before Linux 6.17, refuses a range of several
 * regions with EFAULT. So the quick way is tried first, one call for all; at EFAULT the slow way
 * goes region by region, and finds where a region ends by halving: it moves a part, the rest
 * follows, and parts of one region join again where they arrive.
 *
 * Reservations. mremap leaves its source unmapped, and anybody's mmap could land there before it
 * is reserved again. So in a reserved window memory moves with MREMAP_DONTUNMAP, which leaves an
 * empty region behind, a *ghost*, and the ghost is replaced by reservation.
 *
 *	quick	   one mremap, with growth (reserved window: through memory outside)
 *	slow	1 put aside what stands at the destination
 *		2 move region by region, noting each piece
 *		3 grow in place at the destination
 *		  an error in 1 to 3: all pieces go back, the last first
 *		4 make the source a hole
 *
 * What has to be undone may have failed because the host's regions are used up, and undoing needs
 * some for a moment. So whatever takes several steps holds a little ballast, a few regions outside
 * the window, until it has succeeded or is undone.
 *
 * Invariants:
 *	1 a piece is in the journal exactly if its bytes are at `to`; a piece with `to` 0 is a
 *	  hole that was covered to see that it is one
 *	2 room for a piece is there before the host moves it, so noting it cannot fail
 *	3 memory outside the window is unmapped by us only as far as it is ours: where something
 *	  was moved out of it a ghost stands, or nothing is touched any more
 */
#include "mmu/host.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/range.h"
#include "base/trace.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define TO (MREMAP_MAYMOVE | MREMAP_FIXED)

static int remap(struct host *h, uint64_t from, uint64_t len, uint64_t new_len, int flags,
		 uint64_t to)
{
	int64_t got = h->world->mremap(h->world, from, len, new_len, flags, to);

	return got < 0 ? (int)got : 0;
}

/* Move, leaving a ghost or a reservation behind. */
static int shift(struct host *h, uint64_t from, uint64_t len, uint64_t to)
{
	int err = remap(h, from, len, len, TO | MREMAP_DONTUNMAP, to);

	if (err != -EINVAL)
		return err;
	/* An old kernel, or memory of a device: cover the gap at once. */
	err = remap(h, from, len, len, TO, to);
	if (!err && host_cover(h, from, len) < 0 && host_cover(h, from, len) < 0)
		h->broken = true;
	return err;
}

/*
 * Memory outside the window, inaccessible. Where holes are real the host may well find room for it
 * in one, but not in the range that the operation is about.
 */
static int64_t borrow(struct host *h, uint64_t len, uint64_t avoid, uint64_t avoid_len)
{
	uint64_t last = avoid + (avoid_len - 1);
	int64_t got = host_cover(h, 0, len), again;

	if (got < 0 || !range_overlaps((uint64_t)got, (uint64_t)got + (len - 1), avoid, last))
		return got;
	/* While this one is in the way the next is somewhere else. */
	again = borrow(h, len, avoid, avoid_len);
	h->world->munmap(h->world, (uint64_t)got, len);
	return again;
}

/* ---- ballast ---- */

int host_ballast_take(struct host *h, struct ballast *b, unsigned n, uint64_t avoid,
		      uint64_t avoid_len)
{
	const struct world *w = h->world;
	uint64_t len = (2 * n + 1) * h->host_page;
	int64_t got = borrow(h, len, avoid, avoid_len);
	int err;

	*b = (struct ballast){ 0 };
	if (got < 0)
		return (int)got;
	for (unsigned i = 0; i < n; i++) {
		err = w->mprotect(w, (uint64_t)got + (2 * i + 1) * h->host_page, h->host_page,
				  PROT_READ);
		if (err) {
			w->munmap(w, (uint64_t)got, len);
			return err;
		}
	}
	*b = (struct ballast){ .at = (uint64_t)got, .len = len };
	return 0;
}

void host_ballast_drop(struct host *h, struct ballast *b)
{
	/* Benign failure: memory outside the window stays behind. */
	if (b->len && h->world->munmap(h->world, b->at, b->len) < 0)
		h->world->munmap(h->world, b->at, b->len);
	b->len = 0;
}

/* ---- the journal ---- */

static void journal_init(struct journal *j, struct host *h)
{
	j->host = h;
	j->v = j->few;
	j->n = 0;
	j->room = JOURNAL_FEW;
	j->stash_at = j->stash_len = 0;
	j->ballast = (struct ballast){ 0 };
}

int journal_begin(struct journal *j, struct host *h, uint64_t at, uint64_t len)
{
	journal_init(j, h);
	return host_ballast_take(h, &j->ballast, 4, at, len);
}

static int journal_room(struct journal *j)
{
	const struct world *w = j->host->world;
	struct piece *v;

	if (j->n < j->room)
		return 0;
	v = w->alloc(w, 2 * j->room * sizeof(*v));
	if (!v)
		return -ENOMEM;
	memcpy(v, j->v, j->n * sizeof(*v));
	if (j->v != j->few)
		w->free(w, j->v, j->room * sizeof(*v));
	j->v = v;
	j->room *= 2;
	return 0;
}

void journal_drop(struct journal *j)
{
	const struct world *w = j->host->world;

	host_ballast_drop(j->host, &j->ballast);
	/* Benign failure, as there. */
	if (j->stash_len && w->munmap(w, j->stash_at, j->stash_len) < 0)
		w->munmap(w, j->stash_at, j->stash_len);
	if (j->v != j->few)
		w->free(w, j->v, j->room * sizeof(*j->v));
	journal_init(j, j->host);
}

/* One region, or a part of one, to `to`; noted. */
static int carry_piece(struct journal *j, uint64_t from, uint64_t len, uint64_t to, bool ghost)
{
	struct host *h = j->host;
	int err = journal_room(j);

	if (err)
		return err;
	err = ghost ? shift(h, from, len, to) : remap(h, from, len, len, TO, to);
	if (!err)
		j->v[j->n++] = (struct piece){ .from = from, .to = to, .len = len };
	return err;
}

/* A guest page that the host has in two regions, file below and tail above. */
static int carry_page(struct journal *j, uint64_t from, uint64_t to, bool ghost)
{
	struct host *h = j->host;
	uint64_t len = h->page;
	int err;

	do {
		len -= h->host_page;
		if (len == 0)
			return -EFAULT;
		err = carry_piece(j, from, len, to, ghost);
	} while (err == -EFAULT);
	if (err)
		return err;
	return carry_piece(j, from + len, h->page - len, to + len, ghost);
}

/* All of [from, from + len), which is mapped throughout, region by region. */
static int carry(struct journal *j, uint64_t from, uint64_t len, uint64_t to, bool ghost)
{
	uint64_t page = j->host->page;

	while (len) {
		uint64_t part = len;
		int err;

		while ((err = carry_piece(j, from, part, to, ghost)) == -EFAULT && part > page)
			part = align_up(part / 2, page);
		if (err == -EFAULT && page > j->host->host_page)
			err = carry_page(j, from, to, ghost);
		if (err)
			return err;
		from += part;
		to += part;
		len -= part;
	}
	return 0;
}

/* Is a page of the range unmapped? Where the host cannot tell, perhaps. */
static bool has_hole(struct host *h, uint64_t at, uint64_t len)
{
	unsigned char vec[512];
	uint64_t most = sizeof(vec) * h->host_page;

	if (!h->real_holes)
		return false;
	for (; len > most; at += most, len -= most)
		if (h->world->mincore(h->world, at, most, vec) < 0)
			return true;
	return h->world->mincore(h->world, at, len, vec) < 0;
}

/*
 * As carry, but real holes may be inside. mremap must not see them: since 6.17 it may pass over
 * them, and what then comes back is not a hole.
 */
static int carry_some(struct journal *j, uint64_t from, uint64_t len, uint64_t to)
{
	struct host *h = j->host;
	uint64_t unit = len > h->page ? h->page : h->host_page, half;
	int64_t got;
	int err = journal_room(j);

	if (err)
		return err;
	err = has_hole(h, from, len) ? -EFAULT : carry_piece(j, from, len, to, true);
	if (err != -EFAULT)
		return err;
	got = host_cover(h, from, len);
	if (got >= 0) { /* nothing was there: undoing makes a hole of the cover */
		j->v[j->n++] = (struct piece){ .from = from, .to = 0, .len = len };
		return 0;
	}
	if (got != -EEXIST)
		return (int)got;
	if (len == h->host_page)
		return err;
	half = align_up(len / 2, unit);
	err = carry_some(j, from, half, to);
	return err ? err : carry_some(j, from + half, len - half, to + half);
}

int journal_stash(struct journal *j, uint64_t at, uint64_t len)
{
	int64_t got = borrow(j->host, len, at, len);
	int err;

	if (got < 0) {
		journal_drop(j);
		return (int)got;
	}
	j->stash_at = (uint64_t)got;
	j->stash_len = len;
	err = carry_some(j, at, len, j->stash_at);
	if (err)
		journal_undo(j, at, len);
	return err;
}

static void put_back(struct host *h, const struct piece *p)
{
	/* A ghost stays where the piece was: the window's is replaced, the stash's dropped. */
	if (p->to == 0)
		host_settle(h, p->from, p->len);
	else if (shift(h, p->to, p->len, p->from) < 0 && shift(h, p->to, p->len, p->from) < 0)
		h->broken = true;
}

void journal_undo(struct journal *j, uint64_t at, uint64_t len)
{
	struct host *h = j->host;
	size_t i = j->n;

	TRACE(host_undo, at, len, i);
	host_ballast_drop(h, &j->ballast);
	/*
	 * Stashed pieces came first, so they return last, and over what the others left: together
	 * they are all of the destination. Without them it was a hole.
	 */
	for (; i > 0; i--)
		put_back(h, &j->v[i - 1]);
	if (!j->stash_len)
		host_settle(h, at, len);
	j->n = 0;
	journal_drop(j);
}

/* ---- growing in place ---- */

/* Grow the region that ends at `end` by `more`, which is a hole. from: in that region. */
static int extend(struct host *h, uint64_t from, uint64_t end, uint64_t more)
{
	struct ballast ballast = { 0 };
	int err = 0;

	/*
	 * The host grows into unmapped memory only, so the reservation has to be open for a moment.
	 * If somebody's mmap lands there just then, ours fails and cannot be closed.
	 */
	if (!h->real_holes) {
		err = host_ballast_take(h, &ballast, 1, end, more);
		if (!err)
			err = h->world->munmap(h->world, end, more);
		if (err) {
			host_ballast_drop(h, &ballast);
			return err;
		}
	}
	err = remap(h, from, end - from, end - from + more, 0, 0);
	host_ballast_drop(h, &ballast);
	if (err && !h->real_holes && host_cover(h, end, more) < 0 && host_cover(h, end, more) < 0)
		h->broken = true;
	return err;
}

/*
 * The last guest page is a file and its tail: the file is what grows. So the tail steps aside,
 * the file grows through where it was, and the tail returns on top of it.
 */
static int extend_past_tail(struct host *h, uint64_t end, uint64_t more)
{
	const struct world *w = h->world;
	uint64_t room = h->page - h->host_page, len = room, aside;
	struct ballast ballast;
	int64_t got;
	int err = host_ballast_take(h, &ballast, 2, end, more);

	if (err)
		return err;
	got = borrow(h, room, end, more);
	if (got < 0) {
		host_ballast_drop(h, &ballast);
		return (int)got;
	}
	aside = (uint64_t)got;
	/* The longest end of the page that is one region is the tail. */
	while ((err = remap(h, end - len, len, len, TO, aside)) == -EFAULT && len > h->host_page)
		len -= h->host_page;
	if (err) {
		w->munmap(w, aside, room);
		host_ballast_drop(h, &ballast);
		return err;
	}
	if (len < room)
		w->munmap(w, aside + len, room - len);
	err = extend(h, end - len - h->host_page, end - len, len + more);
	host_ballast_drop(h, &ballast);
	/* Its place is unmapped, or covered by extend that failed, or the file's. */
	if (remap(h, aside, len, len, TO, end - len) < 0 &&
	    remap(h, aside, len, len, TO, end - len) < 0)
		h->broken = true;
	return err;
}

/*
 * A reservation need not be opened for shared memory: a second mapping of it, made outside, has
 * the pages that are wanted. -EINVAL: it is private.
 */
static int extend_shared(struct host *h, uint64_t end, uint64_t more)
{
	const struct world *w = h->world;
	uint64_t page = h->host_page;
	int64_t copy = w->mremap(w, end - page, 0, page + more, MREMAP_MAYMOVE, 0);
	int err;

	if (copy < 0)
		return (int)copy;
	err = remap(h, (uint64_t)copy + page, more, more, TO, end);
	/* After the move the rest of the copy is not ours any more. */
	w->munmap(w, (uint64_t)copy, err ? page + more : page);
	return err;
}

static int grow(struct host *h, uint64_t end, uint64_t more)
{
	int err = -EINVAL;

	if (!h->real_holes)
		err = extend_shared(h, end, more);
	/* A guest page cannot hold the seam of two identities, so it is one region, or has a tail.
	 */
	if (err == -EINVAL) {
		err = extend(h, end - h->page, end, more);
		if (!err) { /* in its place a region grows as a whole, or not at all */
			h->one_start = end - h->page;
			h->one_end = end + more;
		}
	}
	if (err == -EFAULT && h->page > h->host_page)
		err = extend_past_tail(h, end, more);
	return err;
}

/* ---- moving ---- */

struct move {
	struct host *host;
	uint64_t from, len;   /* the source */
	uint64_t to, new_len; /* the destination */
	bool keep;	      /* DONTUNMAP: the source stays, empty */
	bool into_hole;	      /* the destination is believed to be one */
};

/* Through memory outside, since MREMAP_DONTUNMAP and growth exclude each other. */
static int move_growing(const struct move *m)
{
	struct host *h = m->host;
	struct ballast ballast;
	uint64_t aside;
	int64_t got;
	int err = host_ballast_take(h, &ballast, 2, m->to, m->new_len);

	if (err)
		return err;
	got = borrow(h, m->len, m->to, m->new_len);
	if (got < 0) {
		host_ballast_drop(h, &ballast);
		return (int)got;
	}
	aside = (uint64_t)got;
	err = shift(h, m->from, m->len, aside);
	if (err) {
		h->world->munmap(h->world, aside, m->len);
		host_ballast_drop(h, &ballast);
		return err;
	}
	err = remap(h, aside, m->len, m->new_len, TO, m->to);
	host_ballast_drop(h, &ballast);
	if (err && remap(h, aside, m->len, m->len, TO, m->from) < 0 &&
	    remap(h, aside, m->len, m->len, TO, m->from) < 0)
		h->broken = true;
	return err;
}

/* -EFAULT: the source is several regions, nothing changed. */
static int move_quick(const struct move *m)
{
	struct host *h = m->host;
	uint64_t len = min_u64(m->len, m->new_len);
	int64_t got;
	int err;

	if (!h->real_holes) {
		if (m->new_len > m->len)
			err = move_growing(m);
		else
			err = shift(h, m->from, len, m->to);
		if (!err && !m->keep)
			host_settle(h, m->from, m->len);
		return err;
	}
	if (m->into_hole) { /* what the space does not know is not replaced */
		got = host_cover(h, m->to, m->new_len);
		if (got < 0)
			return (int)got;
	}
	err = remap(h, m->from, len, m->new_len, TO | (m->keep ? MREMAP_DONTUNMAP : 0), m->to);
	if (err && m->into_hole)
		host_settle(h, m->to, m->new_len);
	if (!err && len < m->len)
		host_settle(h, m->from + len, m->len - len);
	return err;
}

static int move_slow(const struct move *m)
{
	struct host *h = m->host;
	uint64_t len = min_u64(m->len, m->new_len), more = m->new_len - len;
	bool ghost = m->keep || !h->real_holes;
	bool into_hole = m->into_hole;
	struct journal j;
	int64_t got = -EEXIST;
	int err = journal_begin(&j, h, m->to, m->new_len);

	if (err)
		return err;
	if (h->real_holes) /* a hole is held by covering it */
		got = host_cover(h, m->to, m->new_len);
	if (got >= 0)
		into_hole = true;
	else if (h->real_holes && (into_hole || got != -EEXIST))
		err = (int)got;
	if (err) {
		journal_drop(&j);
		return err;
	}
	if (!into_hole)
		err = journal_stash(&j, m->to, m->new_len);
	if (err)
		return err;
	err = carry(&j, m->from, len, m->to, ghost);
	TRACE(host_seams, m->from, len, j.n);
	if (!err && more) {
		err = host_hole(h, m->to + len, more);
		if (!err)
			err = grow(h, m->to + len, more);
	}
	if (err) {
		journal_undo(&j, m->to, m->new_len);
		return err;
	}
	host_ballast_drop(h, &j.ballast);
	if (ghost && !m->keep)
		host_settle(h, m->from, m->len);
	else if (len < m->len)
		host_settle(h, m->from + len, m->len - len);
	journal_drop(&j);
	return 0;
}

/* A second mapping of shared pages: they are not moved, so one call does it. */
static int duplicate(const struct move *m)
{
	struct host *h = m->host;
	bool cover = h->real_holes && m->into_hole;
	int64_t got = cover ? host_cover(h, m->to, m->new_len) : 0;
	int err;

	if (got < 0)
		return (int)got;
	err = remap(h, m->from, 0, m->new_len, TO, m->to);
	if (err && cover)
		host_settle(h, m->to, m->new_len);
	return err;
}

int host_move(struct vms_mmu *mmu, uint64_t addr, uint64_t old_len, uint64_t new_addr,
	      uint64_t new_len, uint32_t flags)
{
	struct host *h = (struct host *)mmu; /* its first member */
	struct move m = { .host = h,
			  .from = addr + h->delta,
			  .len = old_len,
			  .to = new_addr + h->delta,
			  .new_len = new_len,
			  .keep = flags & MREMAP_DONTUNMAP,
			  .into_hole = flags & BACKEND_NOREPLACE };
	int err = host_begin(h);

	if (err)
		return err;
	if (!host_inside(h, addr, old_len) || !host_inside(h, new_addr, new_len))
		return -ENOMEM;
	if (addr == new_addr && !m.keep && old_len) {
		if (new_len < old_len)
			return host_hole(h, m.from + new_len, old_len - new_len);
		return new_len > old_len ? grow(h, m.from + old_len, new_len - old_len) : 0;
	}
	if (m.keep && old_len != new_len)
		return -EINVAL;
	if (addr < new_addr + new_len && new_addr < addr + old_len)
		return -EINVAL;
	if (old_len == 0)
		return duplicate(&m);
	err = move_quick(&m);
	if (err == -EFAULT)
		err = move_slow(&m);
	h->finer |= !err;
	return err;
}
