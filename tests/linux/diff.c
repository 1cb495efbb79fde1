// SPDX-License-Identifier: MIT
/*
 * diff.c: the comparison and the shrinker (diff.h).
 *
 * The lead performs an operation and shows its maps, from which the next one is drawn. The follower
 * performs them in batches, which saves the switches between processes. Comparison is by operation
 * all the same, since each leaves its answer and its maps.
 */
#include <stdlib.h>
#include <string.h>

#include "diff.h"

#define BATCH	  32u
#define PEEK_MOST 512u /* pages of one region to look into */

struct batch {
	struct op op[BATCH];
	struct answer answer[2][BATCH];
	struct maps maps[2][BATCH];
	size_t n;
};

static void batch_free(struct batch *b)
{
	for (size_t i = 0; i < BATCH; i++) {
		maps_free(&b->maps[0][i]);
		maps_free(&b->maps[1][i]);
	}
}

void difference_free(struct difference *x)
{
	maps_free(&x->maps[0]);
	maps_free(&x->maps[1]);
	memset(x, 0, sizeof(*x));
}

static bool answers_equal(const struct diff *d, const struct op *op, const struct answer *a,
			  const struct answer *b)
{
	/* A side without contents cannot know what a touch read. */
	if (a->ret != b->ret && (op->kind != OP_TOUCH || d->contents)) {
		return false;
	}
	/* mincore: nor what is there; and a larger page is there if a part of it is. */
	if (a->addr != b->addr &&
	    (op->kind != OP_MINCORE || (d->contents && d->page == 4096))) {
		return false;
	}
	return a->sig == b->sig && a->code == b->code && a->invalid == b->invalid;
}

static bool counters_equal(const struct counters *a, const struct counters *b)
{
	return a->total == b->total && a->locked == b->locked && a->data == b->data &&
	       a->stack == b->stack;
}

/* Compare what both did; 1 and *x at the first difference. */
static int compare(struct diff *d, const struct batch *b, size_t first, struct difference *x)
{
	for (size_t i = 0; i < b->n; i++) {
		const char *what = NULL;

		if (!answers_equal(d, &b->op[i], &b->answer[0][i], &b->answer[1][i])) {
			what = "answer";
		} else if (!maps_equal(&b->maps[0][i], &b->maps[1][i])) {
			what = "maps";
		} else if (!counters_equal(&b->answer[0][i].counters, &b->answer[1][i].counters)) {
			what = "counters";
		}
		if (what != NULL) {
			x->step = first + i;
			x->what = what;
			x->answer[0] = b->answer[0][i];
			x->answer[1] = b->answer[1][i];
			maps_copy(&x->maps[0], &b->maps[0][i]);
			maps_copy(&x->maps[1], &b->maps[1][i]);
			return 1;
		}
		d->calls++;
		d->by_kind[b->op[i].kind]++;
		d->failed_by_kind[b->op[i].kind] +=
			b->answer[1][i].ret < 0 || b->answer[1][i].sig != 0;
	}
	return 0;
}

/* Look into every region through both sides. */
static int compare_contents(struct diff *d, const struct batch *b, size_t first,
			    struct difference *x)
{
	static struct guest_peek peek[2][GUEST_PEEKS];
	const struct maps *maps = &b->maps[0][b->n - 1];

	for (size_t i = 0; i < maps->n; i++) {
		const struct map_line *l = &maps->line[i];
		size_t n = (l->end - l->start) / 4096;

		n = n < PEEK_MOST ? n : PEEK_MOST;
		if (d->lead->peek(d->lead, l->start, n, peek[0]) != 0 ||
		    d->follow->peek(d->follow, l->start, n, peek[1]) != 0) {
			return -1;
		}
		for (size_t j = 0; j < n; j++) {
			if (peek[0][j].value == peek[1][j].value &&
			    peek[0][j].sig == peek[1][j].sig &&
			    peek[0][j].code == peek[1][j].code) {
				continue;
			}
			x->step = first + b->n - 1;
			x->what = "contents";
			x->addr = l->start + j * 4096;
			x->peek[0] = peek[0][j];
			x->peek[1] = peek[1][j];
			maps_copy(&x->maps[0], maps);
			maps_copy(&x->maps[1], &b->maps[1][b->n - 1]);
			return 1;
		}
	}
	return 0;
}

static int finish_batch(struct diff *d, struct batch *b, size_t first, struct difference *x)
{
	int r;

	if (b->n == 0) {
		return 0;
	}
	if (d->follow->run(d->follow, b->op, b->n, b->answer[1], b->maps[1]) != 0) {
		return -1;
	}
	r = compare(d, b, first, x);
	if (r == 0 && d->contents) {
		r = compare_contents(d, b, first, x);
	}
	if (d->tick != NULL) {
		d->tick(d);
	}
	return r;
}

static int reset(struct diff *d)
{
	return d->follow->reset(d->follow) != 0 || d->lead->reset(d->lead) != 0 ? -1 : 0;
}

int diff_random(struct diff *d, uint64_t seed, size_t steps, struct script *s, struct difference *x)
{
	static const struct maps nothing;
	struct batch b = { .n = 0 };
	struct gen g;
	int r = reset(d);

	s->n = 0;
	gen_start(&g, seed, d->follow->mmap_base, d->page, d->contents, d->wall);
	while (r == 0 && s->n < steps) {
		const struct maps *now =
			s->n == 0 ? &nothing : &b.maps[0][b.n == 0 ? BATCH - 1 : b.n - 1];
		struct op op;

		gen_next(&g, now, &op);
		script_add(s, &op);
		b.op[b.n] = op;
		r = d->lead->run(d->lead, &op, 1, &b.answer[0][b.n], &b.maps[0][b.n]);
		b.n++;
		if (r == 0 && (b.n == BATCH || s->n == steps)) {
			r = finish_batch(d, &b, s->n - b.n, x);
			b.n = 0;
		}
	}
	batch_free(&b);
	return r;
}

int diff_script(struct diff *d, const struct script *s, struct difference *x)
{
	/* Contents are looked at after every operation: scripts are short. */
	size_t most = d->contents && s->n < 200 ? 1 : BATCH;
	struct batch b = { .n = 0 };
	int r = reset(d);

	for (size_t i = 0; r == 0 && i < s->n; i += b.n) {
		b.n = s->n - i < most ? s->n - i : most;
		memcpy(b.op, s->op + i, b.n * sizeof(b.op[0]));
		r = d->lead->run(d->lead, b.op, b.n, b.answer[0], b.maps[0]);
		if (r == 0) {
			r = finish_batch(d, &b, i, x);
		}
	}
	batch_free(&b);
	return r;
}

/* ---- shrinking ---- */

/* Does the candidate still differ? Then it becomes *s, cut after the difference. */
static int try(struct diff *d, struct script *s, const struct script *candidate,
	       struct difference *x)
{
	struct difference now = { 0 };
	int r = diff_script(d, candidate, &now);

	if (r == 1) {
		s->n = 0;
		for (size_t i = 0; i <= now.step; i++) {
			script_add(s, &candidate->op[i]);
		}
		difference_free(x);
		*x = now;
	} else {
		difference_free(&now);
	}
	return r;
}

static int drop_some(struct diff *d, struct script *s, struct difference *x)
{
	struct script c = { 0 };
	int r = 0;

	for (size_t chunk = s->n / 2; chunk > 0 && r >= 0; chunk /= 2) {
		for (size_t at = 0; at < s->n && r >= 0;) {
			c.n = 0;
			for (size_t i = 0; i < s->n; i++) {
				if (i < at || i >= at + chunk) {
					script_add(&c, &s->op[i]);
				}
			}
			r = try(d, s, &c, x);
			if (r == 0) {
				at += chunk;
			}
		}
	}
	script_free(&c);
	return r < 0 ? -1 : 0;
}

/* Simpler arguments: 1 when something became simpler. */
static int simplify(struct diff *d, struct script *s, struct difference *x)
{
	struct script c = { 0 };
	int changed = 0, r = 0;

	for (size_t i = 0; i < s->n && r >= 0; i++) {
		for (unsigned arg = 0; arg < 6 && r >= 0; arg++) {
			uint64_t v = i < s->n ? s->op[i].a[arg] : 0;
			uint64_t simpler[] = { 0,	v & -d->page, v & (v - 1),
					       d->page, 2 * d->page,  v / 2 & -d->page };

			for (size_t k = 0; k < sizeof(simpler) / sizeof(*simpler); k++) {
				if (i >= s->n || s->op[i].a[arg] != v || simpler[k] >= v) {
					continue;
				}
				/* An address or flag is simpler with less bits, not when halved. */
				if (k >= 3 &&
				    !(arg == 1 || (arg == 2 && s->op[i].kind == OP_MREMAP))) {
					continue;
				}
				if (op_is_choice(s->op[i].kind, arg)) {
					continue;
				}
				c.n = 0;
				for (size_t j = 0; j < s->n; j++) {
					script_add(&c, &s->op[j]);
				}
				c.op[i].a[arg] = simpler[k];
				gen_round(&c.op[i], d->page);
				if (c.op[i].a[arg] >= v) {
					continue;
				}
				r = try(d, s, &c, x);
				changed |= r == 1;
				if (r < 0) {
					break;
				}
			}
		}
	}
	script_free(&c);
	return r < 0 ? -1 : changed;
}

int diff_shrink(struct diff *d, struct script *s, struct difference *x)
{
	void (*tick)(struct diff *) = d->tick;
	uint64_t calls = d->calls;
	size_t before;
	int r;

	d->tick = NULL;
	do {
		before = s->n;
		r = drop_some(d, s, x);
	} while (r == 0 && s->n < before);
	for (int round = 0; r == 0 && round < 4; round++) {
		r = simplify(d, s, x);
		if (r <= 0) {
			break;
		}
		r = drop_some(d, s, x);
	}
	d->tick = tick;
	d->calls = calls;
	return r;
}

/* ---- telling ---- */

void difference_print(FILE *f, const struct diff *d, const struct script *s,
		      const struct difference *x)
{
	const struct side *side[2] = { d->lead, d->follow };
	char line[256];

	for (size_t i = 0; i <= x->step && i < s->n; i++) {
		op_format(&s->op[i], d->follow->mmap_base, line, sizeof(line));
		fprintf(f, "%s%s\n", line, i == x->step ? "\t# <- here" : "");
	}
	fprintf(f, "# difference in the %s\n", x->what);
	for (int k = 0; k < 2; k++) {
		if (strcmp(x->what, "contents") == 0) {
			fprintf(f, "# %s: page %lx holds %lx, signal %u code %u\n", side[k]->name,
				x->addr, x->peek[k].value, x->peek[k].sig, x->peek[k].code);
		} else {
			const struct counters *n = &x->answer[k].counters;

			answer_format(&s->op[x->step], &x->answer[k], line, sizeof(line));
			fprintf(f, "# %s: %s%s%s\n", side[k]->name, line,
				x->answer[k].invalid ? ", and is damaged: " : "",
				x->answer[k].invalid ? side[k]->why : "");
			fprintf(f, "#   total %lx, locked %lx, data %lx, stack %lx\n", n->total,
				n->locked, n->data, n->stack);
		}
	}
	for (int k = 0; k < 2; k++) {
		fprintf(f, "# maps of %s:\n", side[k]->name);
		maps_print(f, &x->maps[k], &x->maps[1 - k], d->follow->mmap_base);
	}
}
