// SPDX-License-Identifier: MIT
/* memory_listeners.c: see memory_listeners.h. */
#include "memory_listeners.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "model.h"
#include "model_memory.h"

#define MOST  4
#define SAW   8
#define CALLS 64

/* Which calls a listener has: all; some; as one that only watches. */
enum sort { FULL, NO_PREPARE, WATCHES, SORTS };

enum mood { FINE, REFUSES, FAILS, STUCK };

enum call { PREPARE, CANCEL, APPLY, REVERT, COMMIT, ENTER, LEAVE };

static const char *const call_name[] = { "prepare", "cancel", "apply", "revert",
					 "commit",  "enter",  "leave" };

struct listener_model {
	struct nmemory *m;
	enum sort sort;
	struct nstate shows; /* by the events */
	enum mood mood;	     /* in the next commit */
	bool wants_gate, cannot_revert;
	bool logs, refuses_log;
	struct {
		struct nblock *b;
		uint64_t off, len;
	} saw[SAW];
	unsigned n_saw;
};

static struct listener_model all[MOST];
static struct listener_model *list[MOST]; /* in the order they came */
static unsigned n_list;

/* What is expected of the commit that is under way. */
static const struct nstate *was, *is, *table; /* table: what readers see before the commit */
static bool any, in_gate;
static struct {
	enum call call;
	const struct listener_model *who;
} calls[CALLS];
static unsigned n_calls;
static const struct nstate nothing;

bool listeners_log_on;
void (*listeners_told)(struct nblock *b, uint64_t off, uint64_t len);

__attribute__((format(printf, 1, 2))) static const char *say(const char *fmt, ...)
{
	static char text[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return text;
}

/* ---- What they do ---- */

static void called(enum call call, const struct listener_model *l)
{
	if (n_calls == CALLS)
		die("too many calls of listeners");
	calls[n_calls].call = call;
	calls[n_calls++].who = l;
}

static void compare(struct listener_model *l, const struct vms_slot_event *ev, size_t n,
		    const struct nstate *readers)
{
	const char *wrong;

	if (!any)
		die("a listener hears of an edit that comes to nothing");
	wrong = nmemory_events_differ(l->m, was, is, ev, n);
	if (!wrong)
		wrong = nmemory_table_differs(l->m, readers, rnd(UINT64_C(1) << 40));
	if (wrong)
		die("a listener: %s", wrong);
}

/* The cells of [gpa, gpa + len): the first one; *n of them. */
static unsigned cells_of(const struct nmemory *m, const struct vms_slot_info *info, unsigned *n)
{
	unsigned i = 0;

	while (i < m->n && m->at[i] != info->gpa)
		i++;
	for (*n = 0; i + *n < m->n && m->at[i + *n] - info->gpa < info->len;)
		++*n;
	return i;
}

static void follow(struct listener_model *l, const struct vms_slot_event *ev, size_t n)
{
	for (size_t k = 0; k < n; k++) {
		const struct vms_slot_info *to = &ev[k].after;
		struct nblock *b = NULL;
		unsigned cells, first;

		if (ev[k].kind == VMS_SLOT_REMOVED)
			to = &ev[k].before;
		else
			for (unsigned i = 0; i < NBLOCKS; i++)
				if (l->m->block[i].kind && l->m->block[i].block == to->block &&
				    !l->m->block[i].released)
					b = &l->m->block[i];
		first = cells_of(l->m, to, &cells);
		for (unsigned i = first; i < first + cells; i++)
			l->shows.cell[i] =
				b ? (struct ncell){ b, to->off + l->m->at[i] - to->gpa, to->access }
				  : (struct ncell){ 0 };
	}
}

static bool shows(const struct listener_model *l, const struct nstate *s)
{
	for (unsigned i = 0; i < l->m->n; i++) {
		const struct ncell *a = &l->shows.cell[i], *b = &s->cell[i];

		if (a->b != b->b || (a->b && (a->off != b->off || a->access != b->access)))
			return false;
	}
	return true;
}

static int prepare(void *arg, const struct vms_slot_event *ev, size_t n)
{
	struct listener_model *l = arg;

	called(PREPARE, l);
	compare(l, ev, n, table);
	return l->mood == REFUSES ? LISTENER_REFUSES : 0;
}

static void cancel(void *arg, const struct vms_slot_event *ev, size_t n)
{
	called(CANCEL, arg);
}

static int needs_gate(void *arg, const struct vms_slot_event *ev, size_t n)
{
	return ((struct listener_model *)arg)->wants_gate;
}

static int apply(void *arg, const struct vms_slot_event *ev, size_t n, int gated)
{
	struct listener_model *l = arg;

	called(APPLY, l);
	compare(l, ev, n, table);
	if (!!gated != in_gate)
		die("apply: gated %d, the gate was %d", gated, in_gate);
	if (!shows(l, was))
		die("apply: what a listener has is not what stands");
	if (l->mood == FAILS)
		return LISTENER_FAILS;
	if (l->mood == STUCK)
		return 1;
	follow(l, ev, n);
	if (!shows(l, is))
		die("apply: the events do not lead to what shall stand");
	return 0;
}

static int revert(void *arg, const struct vms_slot_event *ev, size_t n, int gated)
{
	struct listener_model *l = arg;

	called(REVERT, l);
	if (!!gated != in_gate)
		die("revert: gated %d, the gate was %d", gated, in_gate);
	l->shows = *was;
	return l->cannot_revert ? LISTENER_FAILS : 0;
}

/* Blocks are small too: to ask for their pages takes the host no long time. */
static bool is_small(const struct nmemory *m)
{
	return ncells_size(m, 0, m->n) < 1000 * NPAGE;
}

static void commit(void *arg, const struct vms_slot_event *ev, size_t n)
{
	struct listener_model *l = arg;

	called(COMMIT, l);
	compare(l, ev, n, is);
	/* What went stays until all have heard of it. */
	for (size_t k = 0; k < n; k++) {
		struct vms_block_info info = { .size = sizeof(info) };

		if (ev[k].kind != VMS_SLOT_ADDED && is_small(l->m) &&
		    vms_block_info(ev[k].before.block, &info))
			die("no info on a block in commit");
	}
	for (unsigned i = 0; i < l->m->n; i++)
		if (was->cell[i].b && was->cell[i].b->released)
			die("a block was released before the listeners knew");
	if (l->sort == WATCHES)
		follow(l, ev, n);
}

static int log_start(void *arg)
{
	struct listener_model *l = arg;

	if (l->logs)
		die("log_start twice");
	if (l->refuses_log)
		return LISTENER_REFUSES;
	l->logs = true;
	return 0;
}

static void log_stop(void *arg)
{
	struct listener_model *l = arg;

	if (!l->logs)
		die("log_stop without log_start");
	l->logs = false;
	l->n_saw = 0;
}

static int log_sync(void *arg)
{
	struct listener_model *l = arg;

	for (; l->n_saw; l->n_saw--) {
		struct nblock *b = l->saw[l->n_saw - 1].b;

		/* It may have gone, and another be in its place. */
		if (!nblock_is_alive(l->m, b) || !b->block ||
		    l->saw[l->n_saw - 1].off + l->saw[l->n_saw - 1].len > b->bytes)
			continue;
		vms_dirty_mark(b->block, l->saw[l->n_saw - 1].off, l->saw[l->n_saw - 1].len);
		listeners_told(b, l->saw[l->n_saw - 1].off, l->saw[l->n_saw - 1].len);
	}
	return 0;
}

static int log_clear(void *arg, struct vms_block *block, uint64_t off, uint64_t len)
{
	if (!((struct listener_model *)arg)->logs)
		die("log_clear, and it does not log");
	return 0;
}

static const struct vms_listener_ops sorts[SORTS] = {
	[FULL] = { .size = sizeof(struct vms_listener_ops),
		   .prepare = prepare,
		   .cancel = cancel,
		   .needs_gate = needs_gate,
		   .apply = apply,
		   .revert = revert,
		   .commit = commit,
		   .log_start = log_start,
		   .log_stop = log_stop,
		   .log_sync = log_sync,
		   .log_clear = log_clear },
	[NO_PREPARE] = { .size = sizeof(struct vms_listener_ops),
			 .apply = apply,
			 .revert = revert,
			 .commit = commit },
	[WATCHES] = { .size = sizeof(struct vms_listener_ops), .commit = commit },
};

static void enter(void *arg)
{
	called(ENTER, NULL);
	if (in_gate)
		die("the gate is entered twice");
	in_gate = true;
}

static void leave(void *arg)
{
	called(LEAVE, NULL);
	if (!in_gate)
		die("the gate is left twice");
	in_gate = false;
}

const struct vms_gate listeners_gate = { enter, leave, NULL };

/* ---- What is expected of them ---- */

void listeners_expect(struct nmemory *m, const struct nstate *before, const struct nstate *after,
		      bool changes)
{
	was = table = before;
	is = after;
	any = changes;
	n_calls = 0;
	for (unsigned i = 0; i < n_list; i++) {
		struct listener_model *l = list[i];

		l->mood = rnd(20) ? FINE : rnd(2) ? REFUSES : rnd(8) ? FAILS : STUCK;
		if (l->mood == REFUSES && !sorts[l->sort].prepare)
			l->mood = FINE;
		if (l->mood >= FAILS && !sorts[l->sort].apply)
			l->mood = FINE;
		l->wants_gate = rnd(8) == 0;
		l->cannot_revert = rnd(8) == 0;
	}
}

/* The first listener in this mood, or n_list. */
static unsigned first_in(enum mood mood)
{
	unsigned i = 0;

	while (i < n_list && list[i]->mood != mood)
		i++;
	return i;
}

static unsigned first_failing(void)
{
	unsigned fails = first_in(FAILS), stuck = first_in(STUCK);

	return fails < stuck ? fails : stuck;
}

int listeners_answer(void)
{
	unsigned fails = first_failing();

	if (first_in(REFUSES) < n_list)
		return LISTENER_REFUSES;
	return fails == n_list ? 0 : list[fails]->mood == STUCK ? -EIO : LISTENER_FAILS;
}

const char *listeners_silent(void)
{
	return n_calls ? say("listeners were called, and there was no memory: %s first",
			     call_name[calls[0].call])
		       : NULL;
}

static unsigned at; /* in calls */

static bool next_is(enum call call, const struct listener_model *who)
{
	if (at < n_calls && calls[at].call == call && calls[at].who == who) {
		at++;
		return true;
	}
	return false;
}

/* Cancels of list[0 .. n), in any order. */
static bool cancelled(unsigned n)
{
	unsigned seen = 0, want = 0;

	for (unsigned i = 0; i < n; i++)
		if (sorts[list[i]->sort].cancel)
			want |= 1u << i;
	for (; at < n_calls && calls[at].call == CANCEL; at++)
		for (unsigned i = 0; i < n; i++)
			if (list[i] == calls[at].who && !(seen & 1u << i)) {
				seen |= 1u << i;
				break;
			}
	return seen == want;
}

/* The calls from the gate on. */
static const char *applied(bool gate, bool *broken)
{
	unsigned fails = first_failing();
	bool revert_failed = false;

	if (gate && !next_is(ENTER, NULL))
		return "the gate was not entered";
	for (unsigned i = 0; i < n_list && i <= fails; i++)
		if (sorts[list[i]->sort].apply && !next_is(APPLY, list[i]))
			return "apply is missing";
	if (fails < n_list) {
		for (unsigned i = fails; i-- > 0;) {
			if (!sorts[list[i]->sort].revert)
				continue;
			if (!next_is(REVERT, list[i]))
				return "revert is missing";
			revert_failed = revert_failed || list[i]->cannot_revert;
		}
		if (!cancelled(n_list))
			return "cancel is missing";
		*broken = revert_failed || list[fails]->mood == STUCK;
		return gate && !next_is(LEAVE, NULL) ? "the gate was not left" : NULL;
	}
	for (unsigned i = 0; i < n_list; i++)
		if (!next_is(COMMIT, list[i]))
			return "commit is missing";
	return gate && !next_is(LEAVE, NULL) ? "the gate was not left" : NULL;
}

const char *listeners_heard(struct nmemory *m, bool *broken)
{
	unsigned refuses = first_in(REFUSES);
	const char *wrong = NULL;
	bool gate = false;

	at = 0;
	*broken = false;
	if (any) {
		for (unsigned i = 0; i < n_list && i <= refuses && !wrong; i++)
			if (sorts[list[i]->sort].prepare && !next_is(PREPARE, list[i]))
				wrong = "prepare is missing";
		for (unsigned i = 0; i < n_list; i++)
			gate = gate || (sorts[list[i]->sort].needs_gate && list[i]->wants_gate);
		if (!wrong && refuses < n_list)
			wrong = cancelled(refuses) ? NULL : "cancel is missing";
		else if (!wrong)
			wrong = applied(gate, broken);
	}
	if (!wrong && at < n_calls)
		wrong = "a call too many";
	for (unsigned i = 0; wrong && i < n_calls; i++) {
		unsigned who = 0;

		while (who < n_list && list[who] != calls[i].who)
			who++;
		fprintf(stderr, "  call %u: %s of %u\n", i, call_name[calls[i].call], who);
	}
	for (unsigned i = 0; !wrong && !*broken && i < n_list; i++)
		if (!shows(list[i], listeners_answer() && any ? was : any ? is : &m->now))
			wrong = "a listener has not followed";
	return wrong ? say("listeners, at call %u of %u: %s", at, n_calls, wrong) : NULL;
}

const char *listeners_broken(struct nmemory *m)
{
	struct vms_memory_info info = { .size = sizeof(info) };
	struct vms_edit *edit;
	int err;

	if (vms_memory_info(m->mem, &info) || !info.broken)
		return "the memory does not say that it is broken";
	any = false;
	for (unsigned i = 0; i < 2; i++) {
		err = vms_edit_begin(m->mem, &edit);
		if (!err && i)
			err = vms_slot_unmap(edit, m->at[0], ncells_size(m, 0, 1));
		if (err)
			return "no edit of a broken memory";
		err = vms_edit_commit(edit);
		if (err != -EIO)
			return say("an edit of a broken memory: %d", err);
	}
	return NULL;
}

/* ---- Coming and going ---- */

void listeners_begin(struct nmemory *m)
{
	memset(all, 0, sizeof(all));
	n_list = 0;
	in_gate = false;
}

void listeners_end(struct nmemory *m)
{
	while (n_list) {
		struct listener_model *l = list[--n_list];

		if (vms_memory_unlisten(m->mem, &sorts[l->sort], l))
			die("unlisten");
	}
}

static const char *come(struct nmemory *m, struct listener_model *l)
{
	uint64_t refused = model_memory.refused;
	bool prepares, applies;
	int err, want = 0;

	*l = (struct listener_model){ .m = m, .sort = (enum sort)rnd(SORTS) };
	l->mood = rnd(6) ? FINE : rnd(2) ? REFUSES : FAILS;
	l->refuses_log = rnd(8) == 0;
	prepares = sorts[l->sort].prepare;
	applies = sorts[l->sort].apply;
	was = &nothing;
	is = &m->now;
	any = nmemory_events(m, was, is);
	n_calls = 0;
	table = &m->now;
	if (rnd(10) == 0)
		model_memory.fail_at = 1 + rnd(2);
	describe("listen, sort %d, mood %d", l->sort, l->mood);
	err = vms_memory_listen(m->mem, &sorts[l->sort], l);
	model_memory.fail_at = 0;
	if (any && l->mood == REFUSES && prepares)
		want = LISTENER_REFUSES;
	else if (any && l->mood == FAILS && applies)
		want = LISTENER_FAILS;
	else if (l->refuses_log && sorts[l->sort].log_start && listeners_log_on)
		want = LISTENER_REFUSES;
	if (err == -ENOMEM && model_memory.refused != refused)
		return listeners_silent();
	if (err != want)
		return say("listen: %d, expected %d", err, want);
	if (err)
		return NULL;
	list[n_list++] = l;
	return shows(l, &m->now) ? NULL : "a new listener does not know what stands";
}

const char *listeners_change(struct nmemory *m)
{
	unsigned i = (unsigned)rnd(MOST), k = 0;

	while (k < n_list && list[k] != &all[i])
		k++;
	if (k == n_list)
		return come(m, &all[i]);
	describe("unlisten");
	if (vms_memory_unlisten(m->mem, &sorts[all[i].sort], &all[i]))
		return "unlisten";
	for (n_list--; k < n_list; k++)
		list[k] = list[k + 1];
	return NULL;
}

/* ---- Logs ---- */

int listeners_log_expect(void)
{
	int answer = 0;

	for (unsigned i = 0; i < n_list; i++) {
		list[i]->refuses_log = sorts[list[i]->sort].log_start && rnd(12) == 0;
		if (list[i]->refuses_log)
			answer = LISTENER_REFUSES;
	}
	return answer;
}

const char *listeners_log_differ(void)
{
	for (unsigned i = 0; i < n_list; i++)
		if (sorts[list[i]->sort].log_start && list[i]->logs != listeners_log_on)
			return say("listener %u logs: %d", i, list[i]->logs);
	return NULL;
}

bool listeners_saw(struct nblock *b, uint64_t off, uint64_t len)
{
	for (unsigned i = 0; i < n_list; i++) {
		struct listener_model *l = list[i];

		if (!l->logs || l->n_saw == SAW)
			continue;
		l->saw[l->n_saw].b = b;
		l->saw[l->n_saw].off = off;
		l->saw[l->n_saw++].len = len;
		return true;
	}
	return false;
}
