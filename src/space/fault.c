// SPDX-License-Identifier: MIT
/*
 * fault.c: making pages be there for an access, and showing them in the backend.
 *
 *	fault(space, address, access)
 *	  find		the mapping, its rights			→ NOT_MAPPED, DENIED	(spot.h)
 *	  hold		the family's lock; it still stands	→ BEYOND, DISCARDED	(spot.h)
 *	  look		which bytes are the window
 *	  have		the page there satisfies the access	→ ask: drop all, get it, again
 *	  install	it, and what else of the window is there	→ OK
 *
 * Terms:
 *	window	the bytes of the content that one hold of the lock looks at, with the page that is
 *		asked for among them
 *	way	what is done about the window's other pages: AROUND shows those that exist, RANGE
 *		makes all of them be there, PRESENT asks for nothing, COMMIT makes own frames
 *	run	pages that one entry run shows (runs.h)
 *
 * What is shown of a page:
 *
 *	the page is			a read shows			a write makes
 *	own, nobody else sees it	it, with all rights *		it, and dirty
 *	shared, or the root's		it, not to write		a copy in its place
 *	zeros				the page of zeros, not to write	a frame of zeros
 *	  the same, ENTRIES_EAGER	a frame of zeros
 *	a pager's, not here		WAIT, and again			WAIT, perhaps once more for leave
 *	a file's, under an overlay	the file's own bytes **		a frame with the file's bytes
 *	*  of a paged content only where it is dirty
 *	** under a backend with ENTRIES_FILES; else a frame with them
 *
 * Invariants:
 *	1 what is installed was seen under the same hold of the family's lock, after spot_hold said
 *	  that the mapping stands
 *	2 an entry has WRITE only where the mapping has, and the page is the content's own exclusive
 *	  frame, of a paged content a dirty one; or memory and files that are nobody's copy
 *	3 an entry of a file's bytes is made only where the file had them at that moment
 *	4 a fault that is overtaken again and again comes through: spot.h, invariant 3. What a pager
 *	  or the arena takes away again as fast as it comes ends in NO_MEMORY (need.c).
 *
 * Under an eager backend a page that is copied for a write is shown by replacing its entry, with
 * nothing in between (struct rmap_guard); and who copies page after page has some copied ahead, as
 * many as he owns right before, so that a fault is not paid for each. At most this doubles what he
 * owns.
 *
 * Nothing here changes what anybody reads, so everything may stop at any point.
 */
#include <assert.h>
#include <errno.h>

#include "base/fail.h"
#include "base/trace.h"
#include "object/look.h"
#include "space/runs.h"
#include "space/spot.h"

#define BATCH	     16u   /* pages of an explicit range that are had at a time */
#define AHEAD	     32u   /* pages at most that are copied ahead */
#define PRESENT_RUNS 64u   /* runs, and ... */
#define PRESENT_MAX  4096u /* ... pages that exist, that are shown under one hold */

enum { ASKED = -3 }; /* beside those of spot.h: f->ask says what for */

enum way { WAY_AROUND, WAY_RANGE, WAY_PRESENT, WAY_COMMIT };

struct fault {
	/* The call. */
	struct spot spot;
	enum way way;
	uint64_t last; /* address: of what is asked for; not AROUND */
	struct ask ask;
	unsigned batch; /* pages; 1 after more could not be had */
	bool files, eager;
	uint64_t stretch; /* bytes */
	/* The window: bytes of the content, [from, to). */
	uint64_t from, to;
	/* What came of it. */
	uint64_t shown;	 /* bytes from spot.addr on that were gone through; > 0 with OK */
	uint64_t around; /* further bytes that were installed */
	unsigned how;	 /* COUNT_*: how the page that was asked for came */
	struct rmap_guard guard;
	bool brought; /* a file's page was made the overlay's for this */
};

static void fault_init(struct fault *f, struct vms_space *s, uint32_t access, enum way way,
		       struct vms_wait *wait)
{
	const struct entries_ops *ops = s->mmu->entries;

	spot_init(&f->spot, s, access);
	f->way = way;
	f->batch = BATCH;
	f->files = ops->caps & ENTRIES_FILES;
	f->eager = ops->caps & ENTRIES_EAGER;
	f->stretch = ops->stretch;
	f->brought = false;
	f->ask.kind = ASK_NOTHING;
	f->ask.tries = 0;
	f->ask.pages = 0;
	f->ask.wait = wait;
	if (wait)
		vms_wait_cancel(wait);
}

/* Where a pager may be asked: a wait of ours, if the caller has none. The others are spared it. */
static void ready_to_ask(struct fault *f)
{
	const struct content *c = f->spot.c;

	if (!f->ask.wait && (c->kind == CONTENT_PAGED || c->below))
		vms_wait_init(&f->ask.own);
}

static bool writes(const struct fault *f)
{
	return f->spot.access & VMS_PROT_WRITE;
}

static struct rmap *rmap_of(const struct fault *f)
{
	return f->spot.m.rmap;
}

/* The checker knows the lock by the spot's name only. */
static inline void rmap_held(const struct rmap *r) ASSERTS_HELD(r->content->family->lock)
{
	(void)r;
}

/* ---- The window ---- */

static uint64_t page_of(const struct fault *f, uint64_t off)
{
	return off >> f->spot.c->shift;
}

/* Pages from the one that is asked for to the window's end. */
static uint64_t pages_left(const struct fault *f)
{
	return page_of(f, f->to - 1) - page_of(f, f->spot.off) + 1;
}

/* Are all bytes of the content where they are for good, so that no run is too long? */
static bool is_fixed(const struct content *c)
{
	return c->kind == CONTENT_HOST || c->kind == CONTENT_FILE ||
	       (c->flags & VMS_OBJECT_CONTIGUOUS);
}

/* The aligned stretch of addresses around the fault, as far as mapping and object go. */
static void look_stretch(struct fault *f) REQUIRES(f->spot.c->family->lock)
{
	const struct spot *p = &f->spot;
	uint64_t start = align_down(p->addr, f->stretch), last = start + (f->stretch - 1);

	f->from = p->off - (p->addr - max_u64(start, p->m.start));
	f->to = p->off + min_u64(p->room - 1, last - p->addr) + 1;
}

static void look_around(struct fault *f) REQUIRES(f->spot.c->family->lock)
{
	const struct spot *p = &f->spot;
	const struct entries_ops *ops = p->s->mmu->entries;
	uint64_t n = min_u64(p->room, max_u64(p->s->around, p->s->granule));

	if (f->eager && f->stretch > p->s->granule) {
		look_stretch(f);
		return;
	}
	if (ops->max_run)
		n = min_u64(n, ops->max_run(p->s->mmu, p->addr));
	f->from = p->off;
	f->to = p->off + n;
}

static void look_range(struct fault *f) REQUIRES(f->spot.c->family->lock)
{
	const struct spot *p = &f->spot;

	f->from = p->off;
	f->to = p->off + min_u64(p->room - 1, f->last - p->addr) + 1;
	if (f->way != WAY_PRESENT && !is_fixed(p->c) && pages_left(f) > f->batch)
		f->to = (page_of(f, p->off) + f->batch) << p->c->shift;
}

/* ---- Having the page ---- */

/* Does the page read zero, with no frame for it? */
static bool is_zero(const struct seen *s)
{
	return !s->frame && !s->absent;
}

/* As it is before anything is done about it. */
static unsigned how_it_comes(const struct fault *f, const struct seen *s, bool own)
{
	if (own)
		return f->brought ? COUNT_COPIED : COUNT_OWN;
	if (is_zero(s))
		return writes(f) || f->eager ? COUNT_FRESH : COUNT_ZERO;
	return writes(f) ? COUNT_COPIED : COUNT_ANCESTOR;
}

/* 0: it is there, or fewer pages at a time may be had; else somebody must be asked. */
static int with_less(struct fault *f, int err)
{
	if (err == ASK && f->ask.kind != ASK_ROOM)
		return err;
	f->ask.kind = ASK_NOTHING;
	return 0;
}

/*
 * The page reads zero: its neighbours in the stretch that do so too get their frames with it, which
 * costs no copy. Where memory is short the page alone will do.
 */
static int have_stretch(struct fault *f, uint64_t page) REQUIRES(f->spot.c->family->lock)
{
	struct content *c = f->spot.c;
	uint64_t first = page_of(f, f->from), end = page_of(f, f->to - 1) + 1, k;
	struct look l;
	struct seen s;
	int err;

	family_held(c);
	look_init(&l, c);
	for (;; first += k) {
		k = look_run(&l, first, end - first, &s);
		if (first + k > page)
			break;
	}
	if (k == 1)
		return 0;
	err = content_need(c, first, k, writes(f) ? NEED_WRITE : NEED_OWN, NULL, &f->ask);
	return with_less(f, err);
}

/*
 * The page, which others see, is about to be copied, and pages right before it are own ones
 * already: then so will those behind it be.
 */
static int have_ahead(struct fault *f, uint64_t page) REQUIRES(f->spot.c->family->lock)
{
	struct content *c = f->spot.c;
	uint64_t end = page_of(f, f->to - 1) + 1, before = 0, n = 1;
	struct runs r;
	slot_t slot;
	int err;

	family_held(c);
	runs_init(&r, c);
	for (; before < AHEAD && before < page; before++) {
		slot = look_own(&r.l, page - before - 1);
		if (!slot_is_frame(slot) || !runs_writable(&r, page - before - 1, slot))
			break;
	}
	for (; n < before && page + n < end; n++) {
		slot = look_own(&r.l, page + n);
		if (!slot_is_frame(slot) || runs_writable(&r, page + n, slot))
			break;
	}
	if (n == 1)
		return 0;
	err = content_need(c, page, n, NEED_WRITE, NULL, &f->ask);
	return with_less(f, err);
}

/*
 * Pages to be read: what the backend cannot show as it is gets frames: zeros where it is eager, and
 * a file's pages where it knows no files.
 */
static int have_to_read(struct fault *f, uint64_t first, uint64_t n)
	REQUIRES(f->spot.c->family->lock)
{
	struct content *c = f->spot.c;
	uint64_t k;
	struct look l;
	struct seen s;
	int err;

	family_held(c);
	err = content_need(c, first, n, NEED_READ, NULL, &f->ask);
	if (f->files && !f->eager)
		return err;
	look_init(&l, c);
	for (uint64_t at = first; !err && at < first + n; at += k) {
		k = look_run(&l, at, first + n - at, &s);
		if (s.frame || (s.absent ? f->files : !f->eager))
			continue;
		err = content_need(c, at, k, NEED_OWN, NULL, &f->ask);
		look_init(&l, c); /* nodes may have been copied */
	}
	return err;
}

static int have_pages(struct fault *f, uint64_t page, uint64_t n) REQUIRES(f->spot.c->family->lock)
{
	struct content *c = f->spot.c;

	family_held(c);
	if (f->way == WAY_COMMIT)
		return content_need(c, page, n, NEED_OWN, NULL, &f->ask);
	if (writes(f))
		return content_need(c, page, n, NEED_WRITE, NULL, &f->ask);
	return have_to_read(f, page, n);
}

static int have(struct fault *f) REQUIRES(f->spot.c->family->lock)
{
	struct content *c = f->spot.c;
	uint64_t page = page_of(f, f->spot.off), n;
	struct seen s;
	int err = 0;

	family_held(c);
	f->how = COUNT_OWN;
	if (c->kind == CONTENT_HOST || c->kind == CONTENT_FILE || f->way == WAY_PRESENT)
		return SPOT_HERE;
	ready_to_ask(f);
	s = content_see(c, page);
	f->how = how_it_comes(f, &s, s.frame && content_own(c, page) == s.frame);
	n = f->way == WAY_AROUND ? 1 : pages_left(f);
	if (f->way == WAY_AROUND && is_zero(&s) && c->kind == CONTENT_ANON &&
	    (f->eager || (writes(f) && f->stretch)))
		err = have_stretch(f, page);
	else if (f->way == WAY_AROUND && f->eager && writes(f) && s.frame &&
		 f->how == COUNT_COPIED && c->kind == CONTENT_ANON)
		err = have_ahead(f, page);
	if (!err)
		err = have_pages(f, page, n);
	if (err && n > 1 && !with_less(f, err)) {
		/* Perhaps one page can be had where so many cannot. */
		f->batch = 1;
		look_range(f);
		err = have_pages(f, page, 1);
	}
	if (!err)
		return SPOT_HERE;
	return err == ASK ? ASKED : (int)spot_result(err);
}

/* ---- Showing it ---- */

/* Bytes [from, to) of the content in one entry run; `at` shows the first of them. */
static int show(struct fault *f, uint64_t from, uint64_t to, struct entries_run *at,
		enum entries_existing existing)
{
	const struct spot *p = &f->spot;

	at->addr = p->addr + (from - p->off);
	at->len = to - from;
	return entries_map(p->s->mmu, at, existing);
}

static uint32_t without_write(uint32_t rights)
{
	return rights & ~VMS_PROT_WRITE;
}

/* A page of zeros is shown for each page. */
static int show_zeros(struct fault *f, uint64_t from, uint64_t to, enum entries_existing existing)
{
	const uint64_t size = UINT64_C(1) << f->spot.c->shift;
	int err = 0;

	for (uint64_t end; !err && from < to; from = end) {
		struct entries_run at = {
			.hva = (const char *)mmu_zero_page() + (from & (size - 1)),
			.fd = -1,
			.rights = without_write(f->spot.m.prot),
			.immutable = true,
		};

		end = min_u64(to, align_down(from, size) + size);
		err = show(f, from, end, &at, existing);
	}
	return err;
}

static int show_frames(struct fault *f, const struct run *run, uint64_t from, uint64_t to,
		       enum entries_existing existing)
{
	const struct content *c = f->spot.c;
	uint64_t in = from - (run->first << c->shift);
	uint32_t rights = f->spot.m.prot;
	struct entries_run at = {
		.hva = (const char *)arena_addr(c->arena, run->seen.frame) + in,
		.fd = arena_fd(c->arena),
		.off = arena_offset(c->arena, run->seen.frame) + in,
		.rights = run->own ? rights : without_write(rights),
		/* Until the others are gone; the root's frames are the root's to write. */
		.immutable = run->seen.own && !run->own && c->kind != CONTENT_PAGED,
		.soon = f->way != WAY_PRESENT,
	};

	return show(f, from, to, &at, existing);
}

/*
 * inv. 3: bytes of `file` from `off` on, as many of [from, to) as it has now. -EIO: it has been cut
 * off before the first.
 */
static int show_file(struct fault *f, const struct content *file, uint64_t off, uint32_t rights,
		     uint64_t from, uint64_t *to, enum entries_existing existing)
{
	struct entries_run at = { .fd = file->fd, .off = off, .rights = rights };
	int err = file_reaches(file, off + (*to - from));

	if (err && *to - from > f->spot.s->granule) {
		*to = from + f->spot.s->granule;
		err = file_reaches(file, off + 1);
	}
	return err ? err : show(f, from, *to, &at, existing);
}

/* The run, as far as the window has it. *to: where what was shown ends. -ENOENT: it is not there. */
static int show_run(struct fault *f, const struct run *run, uint64_t from, uint64_t *to,
		    enum entries_existing existing)
{
	const struct content *c = f->spot.c;
	uint64_t start = max_u64(from, run->first << c->shift);

	*to = min_u64(*to, (run->first + run->n) << c->shift);
	if (run->seen.frame)
		return show_frames(f, run, start, *to, existing);
	if (!run->seen.absent)
		return show_zeros(f, start, *to, existing);
	if (!f->files || !c->below || c->below->kind != CONTENT_FILE)
		return -ENOENT;
	return show_file(f, c->below, (c->below_at << c->shift) + start,
			 without_write(f->spot.m.prot), start, to, existing);
}

/* ---- Installing ---- */

static int installed(int err)
{
	return err ? (int)spot_result(err) : VMS_FAULT_OK;
}

/* Bytes that stay where they are: the whole window at once, or the first granule of it. */
static int install_fixed(struct fault *f) REQUIRES(f->spot.c->family->lock)
{
	const struct spot *p = &f->spot;
	const struct content *c = p->c;
	uint64_t to = f->to;
	int err;

	if (c->kind == CONTENT_FILE && !f->files)
		return installed(fail(-ENOTSUP, "a file is shown by a host backend alone"));
	do {
		struct entries_run at = { .hva = c->hva + p->off, .fd = -1, .rights = p->m.prot };

		if (c->kind == CONTENT_FILE)
			err = show_file(f, c, p->off,
					c->fd_writable ? p->m.prot : without_write(p->m.prot),
					p->off, &to, ENTRIES_UPGRADE);
		else
			err = show(f, p->off, to, &at, ENTRIES_UPGRADE);
		f->shown = to - p->off;
		to = p->off + p->s->granule;
	} while (err == -ENOMEM && f->shown > p->s->granule);
	f->around = f->shown - p->s->granule;
	return installed(err);
}

/* The run that holds the page that is asked for; or, where there is no room for that, the page. */
static int install_first(struct fault *f, struct runs *r, struct run *run)
	REQUIRES(f->spot.c->family->lock)
{
	struct rmap *rmap = rmap_of(f);
	const struct content *c = f->spot.c;
	uint64_t page = page_of(f, f->spot.off), end = page_of(f, f->to - 1) + 1, to = f->to;
	uint64_t first = page_of(f, f->from);
	int err;

	if (writes(f) && first == page)
		runs_next_written(r, first, end - first, run);
	else
		runs_next(r, first, end - first, run);
	while (run->first + run->n <= page) {
		first = run->first + run->n;
		runs_next(r, first, end - first, run);
	}
	/* Zeros are shown only where they are asked for. */
	if (f->way == WAY_AROUND && is_zero(&run->seen)) {
		run->first = page;
		run->n = 1;
	}
	rmap_held(rmap);
	if (f->guard.from < run->first || f->guard.to >= run->first + run->n)
		rmap_unguard(rmap); /* the run does not replace them all */
	err = show_run(f, run, f->from, &to, ENTRIES_UPGRADE);
	f->shown = to - f->spot.off;
	f->around = to - max_u64(f->from, run->first << c->shift) - f->spot.s->granule;
	f->guard.missed &= err != 0;
	rmap_unguard(rmap);
	if (err != -ENOMEM)
		return err;
	runs_next(r, page, 1, run);
	to = f->spot.off + f->spot.s->granule;
	f->shown = f->spot.s->granule;
	f->around = 0;
	return show_run(f, run, f->spot.off, &to, ENTRIES_UPGRADE);
}

static slot_t slot_at(const _Atomic(slot_t) *slots, uint64_t i)
{
	return atomic_load_explicit(&slots[i], memory_order_relaxed);
}

/* Slots from i on, below n, that are no frames: four at a time, as they mostly are. */
static uint64_t skip_marks(const _Atomic(slot_t) *slots, uint64_t i, uint64_t n)
{
	static_assert((SLOT_FRAMES & (SLOT_FRAMES - 1)) == 0, "marks together are no frame");

	while (i + 4 <= n && !slot_is_frame(slot_at(slots, i) | slot_at(slots, i + 1) |
					    slot_at(slots, i + 2) | slot_at(slots, i + 3)))
		i += 4;
	while (i < n && !slot_is_frame(slot_at(slots, i)))
		i++;
	return i;
}

/* The first page of [at, end) that may have a frame. */
static uint64_t next_frame(struct runs *r, uint64_t at, uint64_t end)
{
	if (r->c->below)
		return min_u64(at, end);
	while (at < end) {
		uint64_t start, n, i;

		look_own(&r->l, at);
		start = r->l.own_at;
		n = min_u64(r->l.own.n, end - start);
		i = r->l.own.slots ? skip_marks(r->l.own.slots, at - start, n) : n;
		if (i < n)
			return start + i;
		at = start + n;
	}
	return end;
}

/* Further pages of the window that exist and may be written as the first may. */
static void install_others(struct fault *f, struct runs *r, const struct run *first)
	REQUIRES(f->spot.c->family->lock)
{
	const struct content *c = f->spot.c;
	uint64_t at = page_of(f, f->from), end = page_of(f, f->to - 1) + 1;
	struct run run;

	if (at == first->first)
		at += first->n;
	for (at = next_frame(r, at, end); at < end; at = next_frame(r, at + run.n, end)) {
		uint64_t to = f->to;

		if (at == first->first) {
			run.n = first->n;
			continue;
		}
		runs_next(r, at, end - at, &run);
		if (!run.seen.frame || run.own != first->own)
			continue;
		/* Benign failure: the page faults for itself. */
		if (show_run(f, &run, f->from, &to, ENTRIES_SKIP))
			return;
		f->around += to - max_u64(f->from, at << c->shift);
	}
}

static int install_around(struct fault *f) REQUIRES(f->spot.c->family->lock)
{
	struct runs r;
	struct run first;
	int err;

	runs_init(&r, f->spot.c);
	err = install_first(f, &r, &first);
	if (!err)
		install_others(f, &r, &first);
	return installed(err);
}

/* All of the window, which is there. What was shown before an error stays. */
static int install_range(struct fault *f) REQUIRES(f->spot.c->family->lock)
{
	const struct spot *p = &f->spot;
	uint64_t at = page_of(f, p->off), end = page_of(f, f->to - 1) + 1, to;
	struct runs r;
	struct run run;
	int err;

	runs_init(&r, p->c);
	err = install_first(f, &r, &run);
	if (err)
		return installed(err);
	for (to = p->off + f->shown; to < f->to; to = p->off + f->shown) {
		at = page_of(f, to);
		runs_next(&r, at, end - at, &run);
		to = f->to;
		if (show_run(f, &run, p->off + f->shown, &to, ENTRIES_UPGRADE))
			break; /* the next window starts there, and says what is wrong */
		f->shown = to - p->off;
	}
	f->around = f->shown - p->s->granule;
	return VMS_FAULT_OK;
}

/* What of the window exists, gaps aside; some of it under one hold. */
static int install_present(struct fault *f) REQUIRES(f->spot.c->family->lock)
{
	const struct spot *p = &f->spot;
	uint64_t at = page_of(f, p->off), end = page_of(f, f->to - 1) + 1, pages = 0;
	unsigned runs = 0;
	struct runs r;
	struct run run;
	int err = 0;

	runs_init(&r, p->c);
	for (; at < end && runs < PRESENT_RUNS && pages < PRESENT_MAX; at += run.n) {
		uint64_t to = f->to;

		runs_next(&r, at, min_u64(end - at, PRESENT_MAX), &run);
		if (!run.seen.frame && !(run.seen.absent && f->files))
			continue;
		err = show_run(f, &run, p->off, &to, ENTRIES_UPGRADE);
		if (err == -ENOMEM)
			break;
		runs++;
		pages += run.n;
	}
	f->shown = (at < end ? max_u64(at << p->c->shift, p->off) : f->to) - p->off;
	f->around = 0;
	return err == -ENOMEM ? VMS_FAULT_NO_MEMORY : VMS_FAULT_OK;
}

static int install(struct fault *f) REQUIRES(f->spot.c->family->lock)
{
	if (f->spot.c->kind == CONTENT_HOST || f->spot.c->kind == CONTENT_FILE)
		return install_fixed(f);
	if (f->way == WAY_PRESENT || f->way == WAY_COMMIT)
		return install_present(f);
	return f->way == WAY_AROUND ? install_around(f) : install_range(f);
}

/* ---- The steps ---- */

/*
 * Pages that this fault replaces the entries of itself: a write's new page takes the place of zeros,
 * or of a frame that others have, which nobody changes under this hold. So the backend changes
 * once. Where a page is several entries, more is shown than what is replaced.
 */
static void guard(struct fault *f) REQUIRES(f->spot.c->family->lock)
{
	uint64_t page = page_of(f, f->spot.off);
	struct rmap *rmap = rmap_of(f);

	f->guard = (struct rmap_guard){ .first = page, .last = page };
	if (f->eager) {
		f->guard.first = page_of(f, f->from);
		f->guard.last = page_of(f, f->to - 1);
	}
	rmap_held(rmap);
	if (f->way == WAY_AROUND && writes(f) &&
	    f->spot.s->granule == UINT64_C(1) << f->spot.c->shift)
		rmap_guard(rmap, &f->guard);
}

static void unguard(struct fault *f) REQUIRES(f->spot.c->family->lock)
{
	struct rmap *rmap = rmap_of(f);

	rmap_held(rmap);
	rmap_unguard(rmap);
}

static int under_lock(struct fault *f)
{
	int r = spot_hold(&f->spot, writes(f) || f->eager || f->way == WAY_COMMIT);

	if (r == SPOT_HERE) {
		if (f->way == WAY_AROUND)
			look_around(f);
		else
			look_range(f);
		guard(f);
		r = have(f);
		if (r == SPOT_HERE)
			r = install(f);
		unguard(f);
	}
	lock_drop(&f->spot.c->family->lock);
	return r;
}

static int serve(struct fault *f)
{
	int err;

	f->brought |= f->ask.kind == ASK_FILE;
	err = ask_serve(&f->ask);
	if (err < 0 && f->way == WAY_RANGE && f->batch > 1) {
		/* What a later page of the batch fails with is not the first one's answer. */
		f->batch = 1;
		err = 0;
	}
	return err ? (int)spot_result(err) : SPOT_AGAIN;
}

/* One window, until it is shown or something stands in the way. */
static enum vms_fault_result one_window(struct fault *f, uint64_t addr)
{
	struct vms_space *s = f->spot.s;
	int r;

	for (;;) {
		r = spot_find(&f->spot, addr);
		if (r == SPOT_HERE)
			r = under_lock(f);
		spot_leave(&f->spot);
		if (r == ASKED)
			r = serve(f);
		if (r != SPOT_AGAIN)
			return (enum vms_fault_result)r;
		count_add(s, COUNT_AGAIN, 1);
	}
}

/* The next window is a new piece of work. */
static void fault_next(struct fault *f)
{
	f->spot.overtaken = 0;
	f->ask.tries = 0;
	f->ask.pages = 0;
	f->brought = false;
}

static void count_result(struct fault *f, enum vms_fault_result r)
{
	struct vms_space *s = f->spot.s;

	count_add(s, r == VMS_FAULT_OK ? f->how : COUNT_RESULT + (unsigned)r, 1);
	if (r != VMS_FAULT_OK)
		return;
	if (f->around)
		count_add(s, COUNT_AROUND, f->around / s->granule);
}

/* ---- The calls ---- */

static bool is_access(uint32_t access)
{
	return access == VMS_PROT_READ || access == VMS_PROT_WRITE || access == VMS_PROT_EXEC;
}

static bool ends_range(enum vms_fault_result r)
{
	return r == VMS_FAULT_NOT_MAPPED || r == VMS_FAULT_DENIED || r == VMS_FAULT_BEYOND;
}

/* Can the rest of the mapping be left out? */
static bool is_skipped(const struct fault *f, enum vms_fault_result r)
{
	return ends_range(r) || (r == VMS_FAULT_DISCARDED && f->way == WAY_PRESENT);
}

/* Window by window, to the end of what the first mapping was when it was first seen. */
static enum vms_fault_result fault_range(struct fault *f, uint64_t addr, uint64_t len,
					 uint64_t *done)
{
	struct vms_space *s = f->spot.s;
	uint64_t at = align_down(addr, s->granule), around = 0, end;
	enum vms_fault_result r;
	unsigned how = COUNT_OWN;
	bool first = true;

	f->last = len - 1 > UINT64_MAX - addr ? UINT64_MAX : addr + (len - 1);
	f->last |= s->granule - 1;
	for (;; first = false) {
		r = one_window(f, at);
		if (r != VMS_FAULT_OK)
			break;
		if (first)
			how = f->how;
		around += f->around + (first ? 0 : s->granule);
		end = at + (f->shown - 1); /* the last byte that is there */
		f->last = min_u64(f->last, f->spot.m.last);
		*done = min_u64(end - addr + 1, len);
		if (end >= f->last)
			break;
		at = end + 1;
		fault_next(f);
	}
	if (!first && ends_range(r))
		r = VMS_FAULT_OK;
	f->how = how;
	f->around = around;
	return r;
}

enum vms_fault_result vms_fault(struct vms_space *s, uint64_t addr, uint32_t access, uint64_t len,
				struct vms_wait *wait, uint64_t *done)
{
	enum vms_fault_result r;
	uint64_t there = 0;
	struct fault f;

	fault_init(&f, s, access, len ? WAY_RANGE : WAY_AROUND, wait);
	if (!is_access(access)) {
		fail(-EINVAL, "fault: access %#x is not one of READ, WRITE and EXEC", access);
		r = VMS_FAULT_DENIED;
	} else if (len) {
		r = fault_range(&f, addr, len, &there);
	} else {
		r = one_window(&f, align_down(addr, s->granule));
		if (r == VMS_FAULT_OK)
			there = f.shown - (addr & (s->granule - 1));
	}
	count_result(&f, r);
	TRACE(fault, addr, access, r);
	if (done)
		*done = there;
	return r;
}

/*
 * All of [first, last], mapping after mapping. skip: holes, rights that lack and ends of objects are
 * gone over, else they end it. *done: bytes gone through, modulo 2^64.
 */
static enum vms_fault_result walk(struct fault *f, uint64_t first, uint64_t last, bool skip,
				  uint64_t *done)
{
	const struct map *m = &f->spot.m;
	uint64_t at = align_down(first, f->spot.s->granule), end;
	enum vms_fault_result r;

	f->last = last;
	for (;; at = end + 1) {
		*done = at > first ? at - first : 0;
		r = one_window(f, at);
		if (r == VMS_FAULT_OK)
			end = at + (f->shown - 1);
		else if (!skip || !is_skipped(f, r))
			return r;
		else if (r != VMS_FAULT_NOT_MAPPED)
			end = m->last;
		else
			end = f->spot.above ? m->start - 1 : last;
		if (end >= last)
			break;
		fault_next(f);
	}
	*done = last - first + 1;
	return VMS_FAULT_OK;
}

enum vms_fault_result vms_space_prepare(struct vms_space *s, uint64_t addr, uint64_t len,
					uint32_t access, struct vms_wait *wait, uint64_t *done)
{
	enum vms_fault_result r = VMS_FAULT_OK;
	uint64_t there = 0, last;
	struct fault f;

	fault_init(&f, s, access, WAY_RANGE, wait);
	if (!is_access(access)) {
		fail(-EINVAL, "prepare: access %#x is not one of READ, WRITE and EXEC", access);
		r = VMS_FAULT_DENIED;
	} else if (len) {
		last = len - 1 > UINT64_MAX - addr ? UINT64_MAX : addr + (len - 1);
		r = walk(&f, addr, last | (s->granule - 1), false, &there);
		there = min_u64(there, len);
		/* What lies past the last address is nowhere. */
		if (r == VMS_FAULT_OK && last - addr != len - 1)
			r = VMS_FAULT_NOT_MAPPED;
	}
	if (done)
		*done = there;
	return r;
}

enum vms_fault_result space_fill(struct vms_space *s, uint64_t first, uint64_t last, enum fill how,
				 struct vms_wait *wait, uint64_t *done)
{
	static const enum way way[] = {
		[FILL_PRESENT] = WAY_PRESENT,
		[FILL_READ] = WAY_RANGE,
		[FILL_WRITE] = WAY_RANGE,
		[FILL_COMMIT] = WAY_COMMIT,
	};
	uint64_t there = 0;
	enum vms_fault_result r;
	struct fault f;

	fault_init(&f, s, how == FILL_WRITE ? VMS_PROT_WRITE : VMS_PROT_READ, way[how], wait);
	r = walk(&f, first, last, true, &there);
	if (done)
		*done = there;
	return r;
}
