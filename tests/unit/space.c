// SPDX-License-Identifier: MIT
/*
 * space.c: the planner, the tree and the edit, one case at a time, in pictures.
 *
 * A picture has one character a page: '.' a hole, a letter a mapping. Upper case can be written.
 * Equal letters next to each other are one mapping, unless '|' stands between them. A letter's
 * object offset is its address, so what is equal and touches is one run of bytes.
 *
 * Events read "-2-3:B" (B went from pages 2 to 3), "+" (appeared), "~" (changed, to what it is).
 */
#include "check.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/range.h"
#include "object/object.h"
#include "space/space.h"
#include "world.h"

#define PAGE	  UINT64_C(0x1000)
#define BASE	  UINT64_C(0x100000)
#define MAX_PAGES 64

static struct vms_object letters[26]; /* only their addresses matter here */

static struct map letter(char c, unsigned from, unsigned to)
{
	return (struct map){.start = BASE + from * PAGE,
			    .last = BASE + to * PAGE + (PAGE - 1),
			    .obj = &letters[toupper(c) - 'A'],
			    .off = BASE + from * PAGE,
			    .prot = isupper(c) ? 3 : 1,
			    .ceiling = 7};
}

static char letter_of(const struct map *m)
{
	char c = (char)('A' + (m->obj - letters));

	return m->prot & 2 ? c : (char)tolower(c);
}

/* The mappings of a picture. idents: NULL, or a digit under each character, '|' included. */
static size_t parse(const char *picture, const char *idents, struct map *out)
{
	bool apart = true;
	unsigned page = 0;
	size_t n = 0;

	for (size_t i = 0; picture[i]; i++) {
		char c = picture[i];

		if (c == '|') {
			apart = true;
			continue;
		}
		if (c == '.') {
			apart = true;
		} else if (!apart && letter_of(&out[n - 1]) == c) {
			out[n - 1].last += PAGE;
		} else {
			out[n] = letter(c, page, page);
			out[n++].ident = idents ? (uint64_t)(idents[i] - '0') : 0;
			apart = false;
		}
		page++;
	}
	return n;
}

static const char *draw(const struct map *v, size_t n, unsigned pages)
{
	static char text[2 * MAX_PAGES + 1];
	unsigned page = 0;
	char *to = text;

	for (size_t i = 0; i < n; i++) {
		unsigned first = (unsigned)((v[i].start - BASE) / PAGE);

		while (page < first) {
			*to++ = '.';
			page++;
		}
		if (i && v[i - 1].last + 1 == v[i].start &&
		    letter_of(&v[i - 1]) == letter_of(&v[i]))
			*to++ = '|';
		for (; page <= (v[i].last - BASE) / PAGE; page++)
			*to++ = letter_of(&v[i]);
	}
	for (; page < pages; page++)
		*to++ = '.';
	*to = 0;
	return text;
}

/* ---- a plan over a picture ---- */

static struct map standing[MAX_PAGES];
static size_t n_standing, n_read;
static unsigned n_pages;

static size_t copy(const void *arg, uint64_t first, uint64_t last, struct map *out, size_t room)
{
	size_t n = 0;

	for (size_t i = 0; i < n_standing && n < room; i++)
		if (range_overlaps(standing[i].start, standing[i].last, first, last))
			out[n++] = standing[i];
	n_read += n;
	return n;
}

static const struct plan_source source = {.copy = copy};
static const struct map_rules no_rules;

static void *no_memory(const struct world *w, size_t size)
{
	return NULL;
}

/* An ordinary edit does not allocate: with this world it would fail. */
static const struct world no_world = {.alloc = no_memory};

static struct plan plan;
static struct test_world *tw;
static bool big; /* no ordinary edit: it may allocate */

static void begin(const char *picture, const char *idents)
{
	n_standing = parse(picture, idents, standing);
	n_pages = 0;
	for (const char *c = picture; *c; c++)
		n_pages += *c != '|';
	n_read = 0;
#ifdef VMS_SMALL_LIMITS
	big = true;
#endif
	plan_init(&plan, big ? &tw->world : &no_world, &no_rules);
}

static void do_unmap(unsigned from, unsigned to)
{
	assert_ok(plan_unmap(&plan, &source, BASE + from * PAGE, BASE + to * PAGE + (PAGE - 1)));
	assert_null(plan_validate(&plan));
}

static void do_map(char c, unsigned from, unsigned to)
{
	struct map m = letter(c, from, to);

	assert_ok(plan_map(&plan, &source, &m));
	assert_null(plan_validate(&plan));
}

static void flip(struct map *m, void *arg)
{
	m->prot = *(const uint8_t *)arg;
}

static void do_protect(uint8_t prot, unsigned from, unsigned to)
{
	assert_ok(plan_update(&plan, &source, BASE + from * PAGE, BASE + to * PAGE + (PAGE - 1),
			      flip, &prot));
	assert_null(plan_validate(&plan));
}

static const char *draw_events(void)
{
	static char text[1024];
	size_t at = 0;

	text[0] = 0;
	for (size_t i = 0; i < plan.n_ev; i++) {
		const struct plan_event *e = &plan.ev[i];
		const struct map *m = e->kind == PLAN_WENT ? &e->before : &e->after;

		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%c%d-%d:%c", i ? " " : "",
				       e->kind == PLAN_WENT	  ? '-'
				       : e->kind == PLAN_APPEARED ? '+'
								  : '~',
				       (int)((m->start - BASE) / PAGE),
				       (int)((m->last - BASE) / PAGE), letter_of(m));
	}
	return text;
}

/* What will stand there: in the windows cur, elsewhere what stands. */
static const char *outcome(void)
{
	struct map after[MAX_PAGES];
	size_t n = 0, c = 0;

	for (size_t i = 0, w = 0; i < n_standing || c < plan.n;) {
		uint64_t next = c < plan.n ? plan.cur[c].start : UINT64_MAX;

		while (w < plan.n_win && i < n_standing && plan.win[w].last < standing[i].start)
			w++;
		if (i < n_standing && w < plan.n_win && plan.win[w].first <= standing[i].start)
			i++; /* loaded: cur has what became of it */
		else if (i < n_standing && standing[i].start < next)
			after[n++] = standing[i++];
		else
			after[n++] = plan.cur[c++];
	}
	return draw(after, n, n_pages);
}

static void finish(const char *picture, const char *events)
{
	assert_ok(plan_finish(&plan));
	assert_null(plan_validate(&plan));
	assert_string_equal(outcome(), picture);
	assert_string_equal(draw_events(), events);
}

static void end(void)
{
	plan_fini(&plan);
	plan_fini(&plan); /* harmless */
}

/* ---- the planner ---- */

static void test_map_grows_neighbour(void **state)
{
	begin("AA.B...CC", NULL);
	do_map('A', 2, 2);
	finish("AAAB...CC", "+2-2:A");
	assert_int_equal(plan.merges, 1);
	assert_int_equal(plan.splits, 0);
	assert_int_equal(plan.after.n - plan.before.n, 0);
	end();
}

static void test_map_fills_gap(void **state)
{
	begin("AA..AA", NULL);
	do_map('A', 2, 3);
	finish("AAAAAA", "+2-3:A");
	assert_int_equal(plan.merges, 2);
	assert_int_equal(plan.before.n - plan.after.n, 1);
	end();
}

static void test_unmap_middle(void **state)
{
	begin("AAAAAA", NULL);
	do_unmap(2, 3);
	finish("AA..AA", "-2-3:A");
	assert_int_equal(plan.splits, 1);
	end();
	begin("AAAAAA", NULL);
	do_unmap(3, 5);
	finish("AAA...", "-3-5:A");
	assert_int_equal(plan.splits, 0); /* it became shorter, it is not two */
	end();
}

static void test_protect(void **state)
{
	begin("AAAAAA", NULL);
	do_protect(1, 2, 3);
	finish("AAaaAA", "~2-3:a");
	assert_int_equal(plan.splits, 2);
	assert_int_equal(plan.merges, 0);
	end();
	begin("AAaaAA", NULL);
	do_protect(3, 2, 3);
	finish("AAAAAA", "~2-3:A");
	assert_int_equal(plan.merges, 2);
	end();
	begin("AA.aB", NULL);
	do_protect(1, 0, 4);
	finish("aa.ab", "~0-1:a ~4-4:b");
	end();
}

static void test_nothing_changes(void **state)
{
	begin("AAAAAA", NULL);
	do_protect(3, 2, 3);
	finish("AAAAAA", "");
	assert_int_equal(plan.splits, 0);
	assert_int_equal(plan.merges, 0);
	assert_int_equal(plan.win[0].old_n, 0);
	assert_int_equal(plan.win[0].cur_n, 0);
	end();
	begin("..AA..", NULL);
	do_unmap(0, 1);
	finish("..AA..", "");
	end();
}

static void test_replace_by_equal(void **state)
{
	/* The bytes are new, though no mapping differs. */
	begin("AAAAAA", NULL);
	do_map('A', 2, 3);
	finish("AAAAAA", "-2-3:A +2-3:A");
	assert_int_equal(plan.win[0].old_n, 0);
	end();
}

/* The same for one whole mapping: nothing is left to do for the tree. */
static void test_whole_by_equal(void **state)
{
	begin("B.AA.C", NULL);
	do_map('A', 2, 3);
	finish("B.AA.C", "-2-3:A +2-3:A");
	assert_int_equal(plan.win[0].old_n, 0);
	assert_int_equal(plan.win[0].cur_n, 0);
	assert_int_equal(plan.before.n, 0);
	end();
	begin("B.AA.C", NULL);
	do_protect(3, 2, 3);
	finish("B.AA.C", "");
	assert_int_equal(plan.win[0].old_n, 0);
	end();
	begin("BAAC", NULL);
	do_protect(1, 1, 2);
	finish("BaaC", "~1-2:a");
	assert_int_equal(plan.win[0].old_at, 1);
	assert_int_equal(plan.win[0].old_n, 1);
	assert_int_equal(plan.win[0].cur_n, 1);
	end();
}

/* Merges that the host did not make are taken back, at the seams that it has. */
static void test_part(void **state)
{
	uint64_t seam = BASE + 2 * PAGE;

	begin("AA.A", NULL);
	plan.list_seams = true;
	do_map('A', 2, 2);
	finish("AAAA", "+2-2:A");
	assert_int_equal(plan.merges, 2);
	assert_int_equal(plan.n_seam, 2);
	assert_int_equal(plan.seam[0], BASE + 2 * PAGE);
	assert_int_equal(plan.seam[1], BASE + 3 * PAGE);
	plan_part(&plan, &seam, 1);
	assert_null(plan_validate(&plan));
	assert_string_equal(outcome(), "AA|AA");
	assert_int_equal(plan.merges, 1);
	assert_int_equal(plan.after.n - plan.before.n, 0);
	end();
}

static void test_replace_many(void **state)
{
	begin("ABCD.E", NULL);
	do_map('F', 1, 4);
	finish("AFFFFE", "-1-1:B -2-2:C -3-3:D +1-4:F");
	end();
}

static void test_untouched_pair_stays(void **state)
{
	begin("AA|AA.B", NULL);
	do_protect(1, 5, 5);
	finish("AA|AA.b", "~5-5:b");
	end();
	begin("AA|AA.B", NULL);
	do_map('A', 4, 4);
	finish("AA|AAAB", "+4-4:A");
	end();
	/* The seam beyond what it joined is not looked at either. */
	begin("A.AA|AA", NULL);
	do_map('A', 1, 1);
	finish("AAAA|AA", "+1-1:A");
	end();
	/* But one between two updated pieces is. */
	begin("AA|AA", NULL);
	do_protect(1, 0, 3);
	finish("aaaa", "~0-3:a");
	end();
}

static void test_ident(void **state)
{
	/* Two identities never become one: the new piece joins the left one. */
	begin("A.A", "1.2");
	do_map('A', 1, 1);
	finish("AA|A", "+1-1:A");
	assert_int_equal(plan.cur[0].ident, 1);
	end();
	/* One that has none takes the right one's. */
	begin("..A", "..2");
	do_map('A', 0, 1);
	finish("AAA", "+0-1:A");
	assert_int_equal(plan.cur[0].ident, 2);
	end();
	/* None, none, one. */
	begin("A.A", "0.2");
	do_map('A', 1, 1);
	finish("AAA", "+1-1:A");
	assert_int_equal(plan.cur[0].ident, 2);
	end();
}

static void test_keep_seams(void **state)
{
	begin("AA..AA", NULL);
	plan.keep_first = plan.keep_last = BASE + 2 * PAGE;
	do_map('A', 2, 3);
	finish("AA|AAAA", "+2-3:A");
	end();
}

static void test_move(void **state)
{
	/* Two windows: what lies between is not read. */
	begin("AAA.BCDEFGH..", NULL);
	do_map('X', 11, 12);
	do_unmap(0, 1);
	finish("..A.BCDEFGHXX", "-0-1:A +11-12:X");
	assert_int_equal(plan.n_win, 2);
	assert_int_equal(n_read, 2); /* A, and H that touches X */
	end();
	/* Overlapping ranges, in order: the later wins. */
	begin("AAAAAA", NULL);
	do_map('B', 0, 3);
	do_map('C', 2, 4);
	finish("BBCCCA", "-0-4:A +0-1:B +2-4:C");
	end();
	begin("AAAAAA", NULL);
	do_map('B', 0, 3);
	do_unmap(1, 2);
	do_protect(1, 3, 5);
	finish("B..baa", "-0-3:A +0-0:B +3-3:b ~4-5:a");
	end();
}

static void test_windows_join(void **state)
{
	big = true;
	begin("A.B.C.D.E", NULL);
	do_map('X', 1, 1);
	do_map('X', 7, 7);
	assert_int_equal(plan.n_win, 2);
	do_map('X', 3, 5);
	assert_int_equal(plan.n_win, 1);
	finish("AXBXXXDXE", "-4-4:C +1-1:X +3-5:X +7-7:X");
	end();
}

/* Every range against one mapping, in all thirteen relations and more. */
static void test_all_relations(void **state)
{
	static const char *pictures[] = {"....AAAA....", "..BBAAAACC..", "aaaaAAAAaaaa",
					 "..AA.AA.AA..", "A.A.A.A.A.A."};

	big = true;
	for (unsigned k = 0; k < sizeof(pictures) / sizeof(*pictures); k++)
		for (unsigned i = 0; i < 12; i++)
			for (unsigned j = i; j < 12; j++) {
				char want[16];

				strcpy(want, pictures[k]);
				begin(want, NULL);
				do_unmap(i, j);
				memset(want + i, '.', j - i + 1);
				assert_ok(plan_finish(&plan));
				assert_string_equal(outcome(), want);
				end();

				strcpy(want, pictures[k]);
				begin(want, NULL);
				do_map('A', i, j);
				memset(want + i, 'A', j - i + 1);
				assert_ok(plan_finish(&plan));
				assert_string_equal(outcome(), want);
				end();

				strcpy(want, pictures[k]);
				begin(want, NULL);
				do_protect(1, i, j);
				for (unsigned p = i; p <= j; p++)
					want[p] = (char)tolower(want[p]);
				assert_ok(plan_finish(&plan));
				assert_string_equal(outcome(), want);
				end();
			}
}

/* ---- the tree ---- */

static void test_tree_shrinks(void **state)
{
	const uint64_t n = 10000;
	struct map m = letter('A', 0, 0);
	struct tree t;
	size_t most;

	tree_init(&t, &tw->world, &no_rules, 0, UINT64_MAX);
	for (uint64_t i = 0; i < n; i++) {
		m.start = BASE + i * 2 * PAGE;
		m.last = m.start + (PAGE - 1);
		assert_ok(tree_reserve(&t, 1, 1, 1));
		tree_replace(&t, m.start, m.last, &m, 1);
		tree_trim(&t);
	}
	assert_null(tree_validate(&t));
	assert_int_equal(t.n, n);
	assert_true(t.height >= 4);
	most = tw->live;
	/* Appended in order, as a heap grows, nodes are well filled. */
	assert_true(most - t.n_spare <= n / 2);
#ifndef VMS_SMALL_LIMITS
	assert_true(most - t.n_spare <= n / 12 + n / 100 + 10);
#endif

	/* All but the last, in one go; then that. */
	assert_ok(tree_reserve(&t, 1, 0, 0));
	tree_replace(&t, 0, m.start - 1, NULL, 0);
	tree_trim(&t);
	assert_null(tree_validate(&t));
	assert_int_equal(t.n, 1);
	assert_int_equal(t.height, 1);
	assert_true(tw->live <= 3);
	tree_replace(&t, 0, UINT64_MAX, NULL, 0);
	assert_null(tree_validate(&t));
	assert_int_equal(t.height, 0);
	tree_fini(&t);
	assert_int_equal(tw->live, 0);
}

/* Many at once, into one place, and taken out one by one from both sides. */
static void test_tree_bulk(void **state)
{
	static struct map many[5000];
	const unsigned n = 5000;
	struct tree t;
	struct map m;

	for (unsigned i = 0; i < n; i++) {
		many[i] = letter('A', 0, 0);
		many[i].start = BASE + i * 2 * PAGE;
		many[i].last = many[i].start + (PAGE - 1);
	}
	tree_init(&t, &tw->world, &no_rules, 0, UINT64_MAX);
	assert_ok(tree_reserve(&t, 1, 2, 2));
	tree_replace(&t, many[0].start, many[0].last, many, 1);
	tree_replace(&t, many[n - 1].start, many[n - 1].last, &many[n - 1], 1);
	assert_ok(tree_reserve(&t, 1, n - 2, n - 2));
	tree_replace(&t, many[1].start, many[n - 2].last, &many[1], n - 2);
	assert_null(tree_validate(&t));
	assert_int_equal(t.n, n);
	for (unsigned i = 0, lo = 0, hi = n; lo < hi; i++) {
		const struct map *gone = i & 1 ? &many[--hi] : &many[lo++];

		tree_replace(&t, gone->start, gone->last, NULL, 0);
		if (i % 100 == 0)
			assert_null(tree_validate(&t));
		assert_int_equal(tree_find(&t, 0, &m), lo < hi);
		if (lo < hi)
			assert_int_equal(m.start, many[lo].start);
	}
	assert_int_equal(t.n, 0);
	tree_fini(&t);
	assert_int_equal(tw->live, 0);
}

/* What is put aside grows with the splices, not with their square. */
static void test_tree_reserve(void **state)
{
	struct map m = letter('A', 0, 0);
	struct tree t;

	tree_init(&t, &tw->world, &no_rules, 0, UINT64_MAX);
	for (unsigned i = 0; i < 1000; i++) {
		m.start = BASE + i * 2 * PAGE;
		m.last = m.start + (PAGE - 1);
		assert_ok(tree_reserve(&t, 1, 1, 1));
		tree_replace(&t, m.start, m.last, &m, 1);
	}
	tree_trim(&t);
	assert_ok(tree_reserve(&t, 2, 2, 2)); /* a move: no more than is kept anyway */
	tree_trim(&t);
	assert_true(t.n_spare >= 2 * t.height);
	assert_ok(tree_reserve(&t, 1000, 0, 0));
	assert_true(t.n_spare <= 4 * t.height + 10);
	assert_ok(tree_reserve(&t, 100, 100, 100));
	assert_true(t.n_spare <= 200 * (t.height + 6));
	/* A hundred mappings in the holes need no more than that. */
	for (unsigned i = 0; i < 100; i++) {
		m.start = BASE + (i * 20 + 1) * PAGE;
		m.last = m.start + (PAGE - 1);
		tree_replace(&t, m.start, m.last, &m, 1);
	}
	assert_null(tree_validate(&t));
	assert_int_equal(t.n, 1100);
	tree_fini(&t);
	assert_int_equal(tw->live, 0);
}

static uint64_t big_guard(const struct map *m, const void *arg)
{
	return m->flags ? *(const uint64_t *)arg : 0;
}

static void test_gaps(void **state)
{
	uint64_t guard = 3 * PAGE, addr = 0;
	const struct map_rules rules = {.guard = big_guard, .arg = &guard};
	struct map a = letter('A', 4, 5), b = letter('B', 8, 9);
	struct tree t;

	b.flags = 1; /* wants three pages below it: its gap has but two */
	tree_init(&t, &tw->world, &rules, BASE, BASE + 16 * PAGE - 1);
	assert_true(tree_gap_up(&t, 0, UINT64_MAX, 16 * PAGE, &addr));
	assert_int_equal(addr, BASE);
	assert_false(tree_gap_up(&t, 0, UINT64_MAX, 16 * PAGE + 1, &addr));
	assert_false(tree_gap_down(&t, 0, UINT64_MAX, 0, &addr));
	assert_false(tree_gap_down(&t, BASE + PAGE, BASE, 1, &addr));
	assert_false(tree_gap_down(&t, 0, BASE - 1, 1, &addr));

	assert_ok(tree_reserve(&t, 2, 2, 2));
	tree_replace(&t, a.start, a.last, &a, 1);
	tree_replace(&t, b.start, b.last, &b, 1);
	/* ....AA--BB...... */
	assert_true(tree_gap_down(&t, BASE, BASE + 10 * PAGE - 1, PAGE, &addr));
	assert_int_equal(addr, BASE + 3 * PAGE);
	assert_true(tree_gap_up(&t, BASE + 4 * PAGE, UINT64_MAX, PAGE, &addr));
	assert_int_equal(addr, BASE + 10 * PAGE);
	assert_true(tree_gap_down(&t, BASE, UINT64_MAX, 6 * PAGE, &addr));
	assert_int_equal(addr, BASE + 10 * PAGE);
	assert_false(tree_gap_down(&t, BASE, UINT64_MAX, 6 * PAGE + 1, &addr));
	assert_true(tree_gap_down(&t, BASE + 5, BASE + 20, 16, &addr));
	assert_int_equal(addr, BASE + 5);
	assert_false(tree_gap_down(&t, BASE + 5, BASE + 20, 17, &addr));
	tree_fini(&t);
}

/* ---- the edit ---- */

static struct space space;
static struct vms_object *object;

static void space_begin(uint64_t first, uint64_t last) ACQUIRES(space.lock)
{
	assert_ok(space_init(&space, &tw->world, &no_rules, NULL, first, last, PAGE));
	assert_ok(object_create(&tw->world, OBJECT_ANON, NULL, &object));
	lock_take(&space.lock);
}

static void space_end(void) RELEASES(space.lock)
{
	assert_null(space_validate(&space));
	lock_drop(&space.lock);
	space_fini(&space);
	assert_int_equal(atomic_load(&object->refs), 1);
	object_unref(object);
	assert_int_equal(tw->live, 0);
}

static void space_map(uint64_t first, uint64_t last, uint8_t prot) REQUIRES(space.lock)
{
	struct map m = {.start = first, .last = last, .obj = object, .off = first, .prot = prot};
	struct edit e;

	edit_init(&e, &space);
	assert_ok(edit_map(&e, &m));
	assert_ok(edit_prepare(&e));
	edit_commit(&e);
	edit_abort(&e); /* nothing */
	assert_null(space_validate(&space));
}

static void space_unmap(uint64_t first, uint64_t last) REQUIRES(space.lock)
{
	struct edit e;

	edit_init(&e, &space);
	assert_ok(edit_unmap(&e, first, last));
	assert_ok(edit_prepare(&e));
	edit_commit(&e);
	assert_null(space_validate(&space));
}

static void test_references_and_counters(void **state)
{
	space_begin(0, UINT64_MAX);
	space_map(BASE, BASE + 8 * PAGE - 1, 3);
	assert_int_equal(atomic_load(&object->refs), 2);
	space_map(BASE + 2 * PAGE, BASE + 4 * PAGE - 1, 1);
	assert_int_equal(atomic_load(&object->refs), 4);
	assert_int_equal(space.counts.n, 3);
	assert_int_equal(space.splits, 1);
	space_map(BASE + 2 * PAGE, BASE + 4 * PAGE - 1, 3);
	assert_int_equal(atomic_load(&object->refs), 2);
	assert_int_equal(space.counts.n, 1);
	assert_int_equal(space.merges, 2);
	assert_int_equal(space.edits, 3);
	space_unmap(0, UINT64_MAX);
	assert_int_equal(atomic_load(&object->refs), 1);
	assert_int_equal(space.counts.n, 0);
	space_end();
}

static void test_abort(void **state)
{
	struct map m = {.start = BASE, .last = BASE + PAGE - 1};
	struct edit e;

	space_begin(0, UINT64_MAX);
	m.obj = object;
	edit_init(&e, &space);
	assert_ok(edit_map(&e, &m));
	assert_ok(edit_prepare(&e));
	assert_int_equal(e.after.n, 1);
	edit_abort(&e);
	edit_abort(&e);
	assert_int_equal(space.counts.n, 0);
	assert_int_equal(space.edits, 0);
	assert_int_equal(atomic_load(&object->refs), 1);
	space_end();
}

/* The very first and the very last byte are ordinary ones. */
static void test_ends_of_the_space(void **state)
{
	const uint64_t top = UINT64_MAX - (PAGE - 1);
	uint64_t addr;
	struct map m;

	space_begin(0, UINT64_MAX);
	assert_true(tree_gap_down(&space.tree, 0, UINT64_MAX, PAGE, &addr));
	assert_int_equal(addr, top);
	space_map(top, UINT64_MAX, 3);
	space_map(0, PAGE - 1, 3);
	assert_true(space_find(&space, UINT64_MAX, &m));
	assert_int_equal(m.start, top);
	assert_true(space_find(&space, PAGE, &m));
	assert_int_equal(m.last, UINT64_MAX);
	assert_true(space_find_below(&space, UINT64_MAX, &m));
	assert_int_equal(m.start, top);
	assert_true(space_find_below(&space, top, &m));
	assert_int_equal(m.start, 0);
	assert_false(space_find_below(&space, 0, &m));
	assert_true(tree_gap_down(&space.tree, 0, UINT64_MAX, UINT64_MAX - 2 * PAGE + 1, &addr));
	assert_int_equal(addr, PAGE);
	assert_false(tree_gap_up(&space.tree, 0, UINT64_MAX, UINT64_MAX - 2 * PAGE + 2, &addr));

	/* The last page does not continue in the first, though off and address wrap. */
	assert_int_equal(space.counts.n, 2);
	space_map(PAGE, top - 1, 3);
	assert_int_equal(space.counts.n, 1);
	assert_false(tree_gap_up(&space.tree, 0, UINT64_MAX, 1, &addr));
	assert_true(space_find(&space, 0, &m));
	assert_int_equal(m.start, 0);
	assert_int_equal(m.last, UINT64_MAX);
	space_unmap(top, UINT64_MAX);
	assert_false(space_find(&space, top, &m));
	space_unmap(0, PAGE - 1);
	assert_int_equal(space.counts.n, 1);
	space_unmap(0, UINT64_MAX);
	assert_int_equal(space.counts.n, 0);
	space_end();
}

/* What 16 TiB cost is what a page costs: the same allocations, one mapping. */
static void test_length_is_free(void **state)
{
	uint64_t allocs[2];

	for (int i = 0; i < 2; i++) {
		uint64_t len = i ? UINT64_C(1) << 44 : PAGE, before;

		space_begin(0, (UINT64_C(1) << 47) - 1);
		before = tw->calls[CALL_ALLOC];
		space_map(UINT64_C(1) << 45, (UINT64_C(1) << 45) + len - 1, 0);
		allocs[i] = tw->calls[CALL_ALLOC] - before;
		assert_int_equal(space.tree.n, 1);
		space_end();
	}
	assert_int_equal(allocs[0], 1);
	assert_int_equal(allocs[1], 1);
}

static int set_up(void **state)
{
	static struct test_world world;

	tw = &world;
	big = false;
	test_world_begin(tw);
	return 0;
}

static int tear_down(void **state)
{
	test_world_end(tw);
	return 0;
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_map_grows_neighbour),
		TEST(test_map_fills_gap),
		TEST(test_unmap_middle),
		TEST(test_protect),
		TEST(test_nothing_changes),
		TEST(test_replace_by_equal),
		TEST(test_whole_by_equal),
		TEST(test_part),
		TEST(test_replace_many),
		TEST(test_untouched_pair_stays),
		TEST(test_ident),
		TEST(test_keep_seams),
		TEST(test_move),
		TEST(test_windows_join),
		TEST(test_all_relations),
		TEST(test_tree_shrinks),
		TEST(test_tree_bulk),
		TEST(test_tree_reserve),
		TEST(test_gaps),
		TEST(test_references_and_counters),
		TEST(test_abort),
		TEST(test_ends_of_the_space),
		TEST(test_length_is_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
