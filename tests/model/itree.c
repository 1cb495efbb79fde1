// SPDX-License-Identifier: MIT
/*
 * itree.c: random changes and questions on an interval tree, against an array.
 *
 * The array knows each interval and when it came in. A question's answer is right if each of its
 * nodes is in the tree and meets the range, (first, time) rises from each to the next, and there are
 * as many as the array has. Numbers lie in a few windows, at both ends of the 64-bit space too, so
 * that intervals touch, nest and are equal often.
 *
 *	model-itree [--steps N] [--seed S]
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/itree.h"
#include "model.h"

#define SLOTS 300

struct slot {
	struct itree_node node;
	uint64_t first, last, time; /* as the array knows it; time 0: not in the tree */
};

static struct slot slot[SLOTS];
static struct itree tree;
static uint64_t clock_now, live;

static uint64_t number(void)
{
	switch (rnd(4)) {
	case 0:
		return rnd(40);
	case 1:
		return UINT64_MAX - rnd(40);
	case 2:
		return (UINT64_C(1) << 32) + rnd(400);
	default:
		return (UINT64_C(1) << 63) - 500 + rnd(1000);
	}
}

/* Short ones, and now and then one over windows. */
static void interval(uint64_t *first, uint64_t *last)
{
	uint64_t n = rnd(3) ? rnd(8) : rnd(100), other;

	*first = number();
	*last = n > UINT64_MAX - *first ? UINT64_MAX : *first + n;
	if (rnd(20))
		return;
	other = number();
	*last = other;
	if (other < *first) {
		*last = *first;
		*first = other;
	}
}

static void insert(struct slot *s)
{
	interval(&s->first, &s->last);
	s->node.first = s->first;
	s->node.last = s->last;
	itree_insert(&tree, &s->node);
	s->time = ++clock_now;
	live++;
}

static void erase(struct slot *s)
{
	itree_erase(&tree, &s->node);
	memset(&s->node, 0xaa, sizeof(s->node)); /* nobody may look there any more */
	s->time = 0;
	live--;
}

static void ask(uint64_t from, uint64_t to)
{
	const struct slot *before = NULL;
	uint64_t want = 0, got = 0;

	for (unsigned i = 0; i < SLOTS; i++)
		want += slot[i].time && slot[i].first <= to && slot[i].last >= from;
	for (struct itree_node *n = itree_first(&tree, from, to); n; n = itree_next(n, from, to)) {
		const struct slot *s = (struct slot *)((char *)n - offsetof(struct slot, node));

		if (s < slot || s >= slot + SLOTS || !s->time)
			die("a node that is not in the tree");
		if (s->first > to || s->last < from)
			die("[%" PRIu64 ", %" PRIu64 "] does not meet [%" PRIu64 ", %" PRIu64 "]",
			    s->first, s->last, from, to);
		if (before && (before->first > s->first ||
			       (before->first == s->first && before->time >= s->time)))
			die("[%" PRIu64 ", ..] comes after [%" PRIu64 ", ..]", s->first,
			    before->first);
		before = s;
		got++;
	}
	if (got != want)
		die("%" PRIu64 " nodes meet [%" PRIu64 ", %" PRIu64 "], not %" PRIu64, got, from,
		    to, want);
}

static uint64_t depth(const struct itree_node *n)
{
	uint64_t l, r;

	if (!n)
		return 0;
	l = depth(n->left);
	r = depth(n->right);
	return 1 + (l > r ? l : r);
}

static uint64_t deepest;

static void one(void)
{
	struct slot *s = &slot[rnd(SLOTS)];
	/* The tree grows and shrinks in waves: empty and full are both reached. */
	bool grow = rnd(10) < (model_step / 4096 % 2 ? 8 : 2);
	uint64_t from, to;

	if (s->time ? !grow : grow) {
		if (s->time)
			erase(s);
		else
			insert(s);
		if (itree_is_empty(&tree) != (live == 0))
			die("empty with %" PRIu64 " nodes", live);
	}
	if (model_step % 4 == 0) {
		interval(&from, &to);
		ask(from, to);
	}
	if (model_step % 64 == 0) {
		if (itree_check(&tree))
			die("%s", "the validator says no");
		if (depth(tree.root) > deepest)
			deepest = depth(tree.root);
		ask(0, UINT64_MAX);
	}
}

int main(int argc, char **argv)
{
	uint64_t steps = 1000000;

	model_start("model-itree", argc, argv, &steps);
	for (model_step = 0; model_step < steps; model_step++)
		one();
	/* 300 nodes at random priorities: deeper than 60 is no accident. */
	if (deepest > 60)
		die("%" PRIu64 " levels for %d nodes", deepest, SLOTS);
	printf("model-itree: %" PRIu64 " steps, %" PRIu64 " insertions, %" PRIu64 " levels\n",
	       steps, clock_now, deepest);
	return 0;
}
