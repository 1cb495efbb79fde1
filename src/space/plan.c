// SPDX-License-Identifier: MIT
/*
 * plan.c: what an edit will do, computed on copies.
 *
 *	old	AAAAAAAABBBB....CCCC		copies, never changed
 *	cur	AAAAAAAABBBB....CCCC		the same, then each change in turn:
 *
 *	cut at both ends of the range, then splice what is between the cuts
 *
 *	cur	AAAA|aaaa|BBBB....CCCC		update of four: two cuts at most, all thirteen
 *						relations of two ranges are these two cuts
 *	finish	AAAA|aaaaBBBB....CCCC		a joined B, if the rule lets them
 *
 * A seam is the place where two mappings touch. A change touches the pieces that it makes or
 * updates, and the seams of those pieces: at these and at no other place mappings are joined, from
 * left to right. So a pair that a fault or a fork left apart stays apart until an edit comes there.
 *
 * Invariants
 *
 *	1. old and cur are each in address order and disjoint.
 *	2. Windows are in address order and disjoint. Every mapping in old and cur lies inside one.
 *	3. A window reaches at least one byte past every change made in it, on both sides: the
 *	   mappings at its bounds that a change could be joined to are loaded, as a whole.
 *	4. Until finish, a piece that is not FRESH lies inside one mapping of old. One that is not
 *	   TOUCHED either shows what old shows there.
 *	5. Once finished no mapping has a mark, outside the runs of the windows old and cur are
 *	   equal, and the counts are those of the runs.
 *	6. The events lead from old to cur, in the order that plan.h promises.
 */
#include "space/plan.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/range.h"

/* map.mark, while the plan is made */
#define FRESH	0x1u /* made by plan_map, or cut from such */
#define TOUCHED 0x2u /* made or updated: its two seams are looked at */
#define CUT	0x4u /* its start was inside a mapping */

/* ---- scratch memory ---- */

static void use_inline(struct plan *p)
{
	p->cur = p->cur_inline;
	p->room = PLAN_MAPS;
	p->old = p->old_inline;
	p->old_room = PLAN_MAPS;
	p->win = p->win_inline;
	p->win_room = PLAN_WINDOWS;
	p->ev = p->ev_inline;
	p->ev_room = PLAN_EVENTS;
	p->seam = p->seam_inline;
	p->seam_room = PLAN_SEAMS;
	p->n_seam = 0;
	p->n = p->n_old = p->n_win = p->n_ev = 0;
}

void plan_init(struct plan *p, const struct world *w, const struct map_rules *rules)
{
	/* Not the inline arrays: clearing them would cost more than an edit. */
	memset(p, 0, offsetof(struct plan, cur_inline));
	p->world = w;
	p->rules = rules;
	p->keep_first = UINT64_MAX;
	use_inline(p);
}

void plan_fini(struct plan *p)
{
	const struct world *w = p->world;

	if (p->cur != p->cur_inline)
		w->free(w, p->cur, p->room * sizeof(*p->cur));
	if (p->old != p->old_inline)
		w->free(w, p->old, p->old_room * sizeof(*p->old));
	if (p->win != p->win_inline)
		w->free(w, p->win, p->win_room * sizeof(*p->win));
	if (p->ev != p->ev_inline)
		w->free(w, p->ev, p->ev_room * sizeof(*p->ev));
	if (p->seam != p->seam_inline)
		w->free(w, p->seam, p->seam_room * sizeof(*p->seam));
	use_inline(p);
}

/* A bigger array with the same n elements, in place of `from`; NULL: no memory, from stays. */
static void *grown(struct plan *p, void *from, const void *inlined, size_t n, size_t *room,
		   size_t need, size_t size)
{
	const struct world *w = p->world;
	size_t want = *room;
	void *to;

	while (want < need) {
		if (want > SIZE_MAX / 2 / size)
			return NULL;
		want *= 2;
	}
	to = w->alloc(w, want * size);
	if (!to)
		return NULL;
	memcpy(to, from, n * size);
	if (from != inlined)
		w->free(w, from, *room * size);
	*room = want;
	return to;
}

/* Make array `a` hold `need` elements; false: no memory. */
#define RESERVE(p, a, a_room, need) ((need) <= (p)->a_room || reserve_##a((p), (need)))

#define DEFINE_RESERVE(a, n, a_room)                                                             \
	static __attribute__((noinline)) bool reserve_##a(struct plan *p, size_t need)           \
	{                                                                                        \
		void *to = grown(p, p->a, p->a##_inline, p->n, &p->a_room, need, sizeof(*p->a)); \
                                                                                                 \
		if (to)                                                                          \
			p->a = to;                                                               \
		return to != NULL;                                                               \
	}
DEFINE_RESERVE(cur, n, room)
DEFINE_RESERVE(old, n_old, old_room)
DEFINE_RESERVE(win, n_win, win_room)
DEFINE_RESERVE(ev, n_ev, ev_room)
DEFINE_RESERVE(seam, n_seam, seam_room)

/* ---- loading ---- */

/* The first of v that ends at or above addr; n if none. */
static size_t find(const struct map *v, size_t n, uint64_t addr)
{
	size_t at = 0;

	while (n > 8) {
		size_t half = n / 2;

		if (v[at + half - 1].last < addr) {
			at += half;
			n -= half;
		} else {
			n = half;
		}
	}
	for (; n && v[at].last < addr; n--)
		at++;
	return at;
}

/* The first window that ends at or above addr. Windows are few, or were made in address order. */
static size_t find_window(const struct plan *p, uint64_t addr)
{
	size_t at = 0, n = p->n_win;

	while (n) {
		size_t half = n / 2;

		if (p->win[at + half].last < addr) {
			at += half + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	return at;
}

/*
 * Load all mappings that overlap [first, last], where no window is; *lo and *hi grow to include
 * them. They are read behind the end of old, put in their place in cur, then in old.
 */
static int load_part(struct plan *p, const struct plan_source *src, uint64_t first, uint64_t last,
		     uint64_t *lo, uint64_t *hi)
{
	size_t base = p->n_old, room, n, at, old_at;
	uint64_t from = first;

	do {
		if (!RESERVE(p, old, old_room, p->n_old + 1))
			return -ENOMEM;
		room = p->old_room - p->n_old;
		n = src->copy(src->arg, from, last, p->old + p->n_old, room);
		p->n_old += n;
		from = n ? p->old[p->n_old - 1].last + 1 : from;
	} while (n == room && p->old[p->n_old - 1].last < last);

	n = p->n_old - base;
	if (n == 0)
		return 0;
	if (!RESERVE(p, cur, room, p->n + n))
		return -ENOMEM;
	*lo = min_u64(*lo, p->old[base].start);
	*hi = max_u64(*hi, p->old[p->n_old - 1].last);

	at = find(p->cur, p->n, first);
	memmove(p->cur + at + n, p->cur + at, (p->n - at) * sizeof(*p->cur));
	memcpy(p->cur + at, p->old + base, n * sizeof(*p->cur));
	p->n += n;

	old_at = find(p->old, base, first);
	if (old_at < base) {
		memmove(p->old + old_at + n, p->old + old_at, (base - old_at) * sizeof(*p->old));
		memcpy(p->old + old_at, p->cur + at, n * sizeof(*p->old));
	}
	return 0;
}

/*
 * Make one window hold [first, last] and a byte on each side.
 *
 *	1. the windows in the way: [i, j)
 *	2. load what is between them and outside of them; no mapping crosses a window's bounds,
 *	   so what is loaded lies beside them
 *	3. one window in their place
 */
static int load(struct plan *p, const struct plan_source *src, uint64_t first, uint64_t last)
{
	uint64_t a = first ? first - 1 : 0;
	uint64_t b = last < UINT64_MAX ? last + 1 : last;
	uint64_t lo = a, hi = b, pos = a;
	size_t i = find_window(p, a), j;
	bool open = true; /* [pos, b] is still to be loaded */

	if (i < p->n_win && p->win[i].first <= a && b <= p->win[i].last)
		return 0;
	if ((i == p->n_win || b < p->win[i].first) && !RESERVE(p, win, win_room, p->n_win + 1))
		return -ENOMEM;

	for (j = i; j < p->n_win && p->win[j].first <= b; j++) {
		if (pos < p->win[j].first) {
			int err = load_part(p, src, pos, p->win[j].first - 1, &lo, &hi);

			if (err)
				return err;
		}
		lo = min_u64(lo, p->win[j].first);
		hi = max_u64(hi, p->win[j].last);
		open = p->win[j].last < b;
		pos = p->win[j].last + 1;
	}
	if (open) {
		int err = load_part(p, src, pos, b, &lo, &hi);

		if (err)
			return err;
	}

	memmove(p->win + i + 1, p->win + j, (p->n_win - j) * sizeof(*p->win));
	p->n_win = p->n_win - (j - i) + 1;
	p->win[i] = (struct plan_window){.first = lo, .last = hi};
	return 0;
}

/* ---- changes ---- */

/*
 * Let no piece cross the left edge of addr; the index of the first piece at or above it.
 * => there is room for one more.
 */
static size_t cut(struct plan *p, uint64_t addr)
{
	size_t i = find(p->cur, p->n, addr);
	struct map whole;

	if (i == p->n || p->cur[i].start >= addr)
		return i;
	p->was_cut = true;
	whole = p->cur[i];
	memmove(p->cur + i + 1, p->cur + i, (p->n - i) * sizeof(*p->cur));
	p->n++;
	p->cur[i] = map_cut(&whole, whole.start, addr - 1);
	p->cur[i + 1] = map_cut(&whole, addr, whole.last);
	p->cur[i + 1].mark |= CUT;
	return i + 1;
}

/*
 * Load and cut: the pieces inside [first, last] are cur[*i, *j). If there are none there was no
 * cut, so there is room for one then.
 */
static int open_range(struct plan *p, const struct plan_source *src, uint64_t first, uint64_t last,
		      size_t *i, size_t *j)
{
	int err = load(p, src, first, last);

	if (err)
		return err;
	if (!RESERVE(p, cur, room, p->n + 2))
		return -ENOMEM;
	*i = cut(p, first);
	*j = last == UINT64_MAX ? p->n : cut(p, last + 1);
	p->n_changes++;
	p->at = *i;
	p->n_out = p->n_in = *j - *i;
	return 0;
}

int plan_unmap(struct plan *p, const struct plan_source *src, uint64_t first, uint64_t last)
{
	size_t i, j;
	int err = open_range(p, src, first, last, &i, &j);

	if (err)
		return err;
	memmove(p->cur + i, p->cur + j, (p->n - j) * sizeof(*p->cur));
	p->n -= j - i;
	p->n_in = 0;
	return 0;
}

int plan_map(struct plan *p, const struct plan_source *src, const struct map *m)
{
	size_t i, j;
	int err = open_range(p, src, m->start, m->last, &i, &j);

	if (err)
		return err;
	if (j != i + 1)
		memmove(p->cur + i + 1, p->cur + j, (p->n - j) * sizeof(*p->cur));
	p->n = p->n - (j - i) + 1;
	p->cur[i] = *m;
	p->cur[i].mark = FRESH | TOUCHED;
	p->n_in = 1;
	return 0;
}

int plan_update(struct plan *p, const struct plan_source *src, uint64_t first, uint64_t last,
		void (*fn)(struct map *piece, void *arg), void *arg)
{
	size_t i, j;
	int err = open_range(p, src, first, last, &i, &j);

	if (err)
		return err;
	for (; i < j; i++) {
		struct map *m = &p->cur[i];
		uint64_t start = m->start, end = m->last;
		uint8_t mark = m->mark;

		fn(m, arg);
		assert(m->start == start && m->last == end);
		(void)start;
		(void)end;
		m->mark = mark | TOUCHED;
	}
	return 0;
}

/* ---- events ---- */

/* Append, or let the last event grow. */
static int tell(struct plan *p, enum plan_event_kind kind, const struct map *before,
		const struct map *after)
{
	struct plan_event *e = p->n_ev ? &p->ev[p->n_ev - 1] : NULL;

	if (e && e->kind == kind && (!before || map_continues(&e->before, before)) &&
	    (!after || map_continues(&e->after, after))) {
		if (before)
			e->before.last = before->last;
		if (after)
			e->after.last = after->last;
		return 0;
	}
	if (!RESERVE(p, ev, ev_room, p->n_ev + 1))
		return -ENOMEM;
	e = &p->ev[p->n_ev++];
	e->kind = kind;
	if (before)
		e->before = *before;
	if (after) {
		e->after = *after;
		e->after.mark = 0;
	}
	return 0;
}

/* What of old no piece shows any more. A FRESH piece shows something else, whatever its value. */
static int tell_went(struct plan *p)
{
	size_t c = 0;

	for (size_t o = 0; o < p->n_old; o++) {
		const struct map *m = &p->old[o];
		uint64_t pos = m->start;
		bool rest = true; /* [pos, m->last] is not accounted for */

		for (; rest && c < p->n && p->cur[c].start <= m->last; c++) {
			const struct map *piece = &p->cur[c];

			if ((piece->mark & FRESH) && piece->last > m->last)
				break; /* it may cover the next one too */
			if (piece->mark & FRESH)
				continue;
			if (pos < piece->start) {
				struct map gone = map_cut(m, pos, piece->start - 1);
				int err = tell(p, PLAN_WENT, &gone, NULL);

				if (err)
					return err;
			}
			rest = piece->last < m->last;
			pos = piece->last + 1;
		}
		if (rest) {
			struct map gone = map_cut(m, pos, m->last);
			int err = tell(p, PLAN_WENT, &gone, NULL);

			if (err)
				return err;
		}
	}
	return 0;
}

/* Do two values of one range differ in what an event tells? Not ident. */
static bool differs(const struct map *a, const struct map *b)
{
	return a->obj != b->obj || a->off != b->off || a->flags != b->flags || a->prot != b->prot ||
	       a->ceiling != b->ceiling;
}

static int tell_came(struct plan *p)
{
	for (size_t c = 0; c < p->n; c++) {
		const struct map *piece = &p->cur[c];
		int err = 0;

		if (piece->mark & FRESH) {
			err = tell(p, PLAN_APPEARED, NULL, piece);
		} else if (piece->mark & TOUCHED) {
			size_t o = find(p->old, p->n_old, piece->start);
			struct map was = map_cut(&p->old[o], piece->start, piece->last);

			if (differs(&was, piece))
				err = tell(p, PLAN_CHANGED, &was, piece);
		}
		if (err)
			return err;
	}
	return 0;
}

/* ---- finishing ---- */

/*
 * Did the cut at the start of cur[i] leave another piece of the same mapping standing before it?
 * `before` is the start of the last piece below cur[i] that was not FRESH.
 */
static bool is_split(const struct plan *p, size_t i, bool any, uint64_t before)
{
	const struct map *piece = &p->cur[i];

	return any && (piece->mark & (CUT | FRESH)) == CUT &&
	       before >= p->old[find(p->old, p->n_old, piece->start)].start;
}

/* Is the seam below `m` one that the caller wants to stay? */
static bool is_kept(const struct plan *p, const struct map *m)
{
	return p->keep_first <= m->start && m->start <= p->keep_last;
}

/* Join at the seams that a change touched, left to right, and take the marks off. */
static void merge(struct plan *p)
{
	unsigned left = 0; /* the mark of the piece that ends at the seam */
	uint64_t before = 0;
	bool any = false;
	size_t out = 0;

	for (size_t i = 0; i < p->n; i++) {
		unsigned right = p->cur[i].mark;
		bool split = is_split(p, i, any, before);

		if (!(right & FRESH)) {
			any = true;
			before = p->cur[i].start;
		}
		if (out && ((left | right) & TOUCHED) && !is_kept(p, &p->cur[i]) &&
		    map_mergeable(p->rules, &p->cur[out - 1], &p->cur[i])) {
			map_merge(&p->cur[out - 1], &p->cur[i]);
			if (!(right & CUT) || ((left ^ right) & FRESH)) {
				p->merges++;
				if (p->list_seams)
					p->seam[p->n_seam++] = p->cur[i].start;
			}
		} else {
			if (out != i)
				p->cur[out] = p->cur[i];
			p->cur[out++].mark = 0;
			p->splits += split;
		}
		left = right;
	}
	p->n = out;
}

/* In each window, the run that differs, and its counts. */
static void compare(struct plan *p)
{
	size_t o = 0, c = 0;

	for (size_t i = 0; i < p->n_win; i++) {
		struct plan_window *w = &p->win[i];
		size_t o_end = o, c_end = c, o_next, c_next;

		while (o_end < p->n_old && p->old[o_end].last <= w->last)
			o_end++;
		while (c_end < p->n && p->cur[c_end].last <= w->last)
			c_end++;
		o_next = o_end;
		c_next = c_end;

		while (o < o_end && c < c_end && map_equal(&p->old[o], &p->cur[c])) {
			o++;
			c++;
		}
		while (o < o_end && c < c_end &&
		       map_equal(&p->old[o_end - 1], &p->cur[c_end - 1])) {
			o_end--;
			c_end--;
		}
		w->old_at = o;
		w->old_n = o_end - o;
		w->cur_at = c;
		w->cur_n = c_end - c;
		for (; o < o_end; o++)
			map_count(p->rules, &p->before, &p->old[o]);
		for (; c < c_end; c++)
			map_count(p->rules, &p->after, &p->cur[c]);
		o = o_next;
		c = c_next;
	}
}

/*
 * The common edit, in a few steps: one change that put, dropped or replaced one whole mapping, and
 * joins nobody. What it gives is what the long way would give. False: it is not one.
 */
static bool finish_one(struct plan *p)
{
	struct plan_window *w = &p->win[0];
	struct map *cur = p->cur + p->at, *old = p->old + p->at;
	size_t n_out = p->n_out, n_in = p->n_in;
	bool fresh;

	if (p->n_changes != 1 || p->was_cut || p->n_win != 1 || n_out > 1 || n_in > 1 ||
	    p->ev_room < 2)
		return false;
	if (n_in) {
		if (p->at > 0 && !is_kept(p, cur) && map_mergeable(p->rules, cur - 1, cur))
			return false;
		if (p->at + 1 < p->n && !is_kept(p, cur + 1) &&
		    map_mergeable(p->rules, cur, cur + 1))
			return false;
	}
	fresh = n_in && (cur->mark & FRESH);
	if (n_in)
		cur->mark = 0;
	if (n_out && (fresh || !n_in))
		p->ev[p->n_ev++] = (struct plan_event){.kind = PLAN_WENT, .before = *old};
	if (fresh)
		p->ev[p->n_ev++] = (struct plan_event){.kind = PLAN_APPEARED, .after = *cur};
	else if (n_in && n_out && differs(old, cur))
		p->ev[p->n_ev++] = (struct plan_event){PLAN_CHANGED, *old, *cur};
	if (n_in && n_out && map_equal(old, cur))
		n_in = n_out = 0;
	*w = (struct plan_window){w->first, w->last, p->at, n_out, p->at, n_in};
	if (n_out)
		map_count(p->rules, &p->before, old);
	if (n_in)
		map_count(p->rules, &p->after, cur);
	return true;
}

int plan_finish(struct plan *p)
{
	int err;

	assert(!p->finished);
	if (finish_one(p)) {
		p->finished = true;
		return 0;
	}
	err = tell_went(p);
	if (!err)
		err = tell_came(p);
	if (err)
		return err;
	if (p->list_seams && !RESERVE(p, seam, seam_room, p->n))
		return -ENOMEM;
	merge(p);
	compare(p);
	p->finished = true;
	return 0;
}

void plan_part(struct plan *p, const uint64_t *seams, size_t n)
{
	/* There is room: every seam was one between two pieces before. */
	for (size_t i = 0; i < n; i++)
		p->cur[cut(p, seams[i])].mark = 0;
	p->merges -= n;
	memset(&p->before, 0, sizeof(p->before));
	memset(&p->after, 0, sizeof(p->after));
	compare(p);
}

/* ---- the validator ---- */

static const char *validate_order(const struct plan *p, const struct map *v, size_t n)
{
	size_t w = 0;

	for (size_t i = 0; i < n; i++) {
		if (v[i].start > v[i].last || (i && v[i - 1].last >= v[i].start))
			return "plan 1: mappings out of order or overlapping";
		while (w < p->n_win && p->win[w].last < v[i].start)
			w++;
		if (w == p->n_win || v[i].start < p->win[w].first || p->win[w].last < v[i].last)
			return "plan 2: a mapping outside the windows or across a bound";
	}
	return NULL;
}

static const char *validate_pieces(const struct plan *p)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct map *m = &p->cur[i];
		size_t o = find(p->old, p->n_old, m->start);
		struct map was;

		if (m->mark & FRESH)
			continue;
		if (o == p->n_old || m->start < p->old[o].start || p->old[o].last < m->last)
			return "plan 4: a piece that is not fresh lies in no old mapping";
		was = map_cut(&p->old[o], m->start, m->last);
		if (!(m->mark & TOUCHED) && !map_equal(&was, m))
			return "plan 4: an untouched piece differs from the old mapping";
	}
	return NULL;
}

static const char *validate_runs(const struct plan *p)
{
	struct map_counts before = {0}, after = {0};
	size_t o = 0, c = 0;

	for (size_t i = 0; i <= p->n_win; i++) {
		const struct plan_window *w = i < p->n_win ? &p->win[i] : NULL;
		size_t o_end = w ? w->old_at : p->n_old, c_end = w ? w->cur_at : p->n;

		if (o_end - o != c_end - c)
			return "plan 5: old and cur differ outside the runs";
		for (; o < o_end; o++, c++)
			if (!map_equal(&p->old[o], &p->cur[c]))
				return "plan 5: old and cur differ outside the runs";
		if (!w)
			break;
		for (; o < w->old_at + w->old_n; o++)
			map_count(p->rules, &before, &p->old[o]);
		for (; c < w->cur_at + w->cur_n; c++)
			map_count(p->rules, &after, &p->cur[c]);
	}
	for (c = 0; c < p->n; c++)
		if (p->cur[c].mark)
			return "plan 5: a mark is left";
	if (memcmp(&before, &p->before, sizeof(before)) || memcmp(&after, &p->after, sizeof(after)))
		return "plan 5: the counts are not those of the runs";
	return NULL;
}

static const char *validate_events(const struct plan *p)
{
	for (size_t i = 1; i < p->n_ev; i++) {
		const struct plan_event *a = &p->ev[i - 1], *b = &p->ev[i];
		const struct map *ma = a->kind == PLAN_WENT ? &a->before : &a->after;
		const struct map *mb = b->kind == PLAN_WENT ? &b->before : &b->after;

		if (a->kind != PLAN_WENT && b->kind == PLAN_WENT)
			return "plan 6: a WENT after the others";
		if ((a->kind == PLAN_WENT) == (b->kind == PLAN_WENT) && ma->last >= mb->start)
			return "plan 6: events out of address order";
	}
	return NULL;
}

const char *plan_validate(const struct plan *p)
{
	const char *broken;

	for (size_t i = 0; i < p->n_win; i++)
		if (p->win[i].first > p->win[i].last ||
		    (i && p->win[i - 1].last >= p->win[i].first))
			return "plan 2: windows out of order or overlapping";
	broken = validate_order(p, p->old, p->n_old);
	if (!broken)
		broken = validate_order(p, p->cur, p->n);
	if (!broken && !p->finished)
		broken = validate_pieces(p);
	if (!broken && p->finished)
		broken = validate_runs(p);
	if (!broken)
		broken = validate_events(p);
	return broken;
}
