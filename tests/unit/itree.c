// SPDX-License-Identifier: MIT
/* The interval tree: its corners, and that its validator sees each damage. */
#include <errno.h>

#include "base/itree.h"
#include "check.h"

#define N 64

static struct itree_node node_of(uint64_t first, uint64_t last)
{
	return (struct itree_node){ .first = first, .last = last };
}

/* The nodes that meet [from, to] are these, in this order; NULL ends them. */
static void meet(const struct itree *t, uint64_t from, uint64_t to, ...)
{
	struct itree_node *n = itree_first(t, from, to), *want;
	va_list ap;

	va_start(ap, to);
	while ((want = va_arg(ap, struct itree_node *))) {
		assert_ptr_equal(n, want);
		n = itree_next(n, from, to);
	}
	va_end(ap);
	assert_null(n);
}

static void empty_has_nothing(void **state)
{
	struct itree t = { 0 };

	(void)state;
	assert_true(itree_is_empty(&t));
	meet(&t, 0, UINT64_MAX, NULL);
	assert_ok(itree_check(&t));
}

static void both_ends_are_inside(void **state)
{
	struct itree_node a = node_of(10, 19), b = node_of(20, 20), c = node_of(22, 30);
	struct itree t = { 0 };

	(void)state;
	itree_insert(&t, &c);
	itree_insert(&t, &a);
	itree_insert(&t, &b);
	assert_ok(itree_check(&t));
	meet(&t, 0, 9, NULL);
	meet(&t, 0, 10, &a, NULL);
	meet(&t, 19, 20, &a, &b, NULL);
	meet(&t, 20, 20, &b, NULL);
	meet(&t, 21, 21, NULL);
	meet(&t, 20, 22, &b, &c, NULL);
	meet(&t, 30, 30, &c, NULL);
	meet(&t, 31, UINT64_MAX, NULL);
	meet(&t, 0, UINT64_MAX, &a, &b, &c, NULL);
}

static void the_whole_space(void **state)
{
	struct itree_node all = node_of(0, UINT64_MAX), low = node_of(0, 0),
			  high = node_of(UINT64_MAX, UINT64_MAX);
	struct itree t = { 0 };

	(void)state;
	itree_insert(&t, &high);
	itree_insert(&t, &all);
	itree_insert(&t, &low);
	assert_ok(itree_check(&t));
	meet(&t, 0, 0, &all, &low, NULL);
	meet(&t, 1, 1, &all, NULL);
	meet(&t, UINT64_MAX, UINT64_MAX, &all, &high, NULL);
	meet(&t, 0, UINT64_MAX, &all, &low, &high, NULL);
	itree_erase(&t, &all);
	meet(&t, 1, UINT64_MAX - 1, NULL);
	meet(&t, 0, UINT64_MAX, &low, &high, NULL);
}

/* Equal ones come in the order of insertion, whatever their addresses and who goes between. */
static void equal_ones_keep_their_order(void **state)
{
	static struct itree_node n[N];
	struct itree t = { 0 };
	struct itree_node *at;

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		n[i * 37 % N] = node_of(5, 5 + i % 3);
		itree_insert(&t, &n[i * 37 % N]);
		assert_ok(itree_check(&t));
	}
	at = itree_first(&t, 5, 5);
	for (unsigned i = 0; i < N; i++, at = itree_next(at, 5, 5))
		assert_ptr_equal(at, &n[i * 37 % N]);
	assert_null(at);
	for (unsigned i = 0; i < N; i += 2) {
		itree_erase(&t, &n[i * 37 % N]);
		assert_ok(itree_check(&t));
	}
	at = itree_first(&t, 5, 5);
	for (unsigned i = 1; i < N; i += 2, at = itree_next(at, 5, 5))
		assert_ptr_equal(at, &n[i * 37 % N]);
	assert_null(at);
	for (unsigned i = 1; i < N; i += 2)
		itree_erase(&t, &n[i * 37 % N]);
	assert_true(itree_is_empty(&t));
}

/* A node that was taken out goes in again with another interval. */
static void a_node_is_used_again(void **state)
{
	struct itree_node a = node_of(1, 2), b = node_of(3, 4);
	struct itree t = { 0 };

	(void)state;
	itree_insert(&t, &a);
	itree_insert(&t, &b);
	itree_erase(&t, &a);
	a.first = 100;
	a.last = 200;
	itree_insert(&t, &a);
	assert_ok(itree_check(&t));
	meet(&t, 0, 50, &b, NULL);
	meet(&t, 150, 150, &a, NULL);
}

/* What a long interval far on the left has left behind must not slow or hide anything. */
static void greatest_falls_again(void **state)
{
	static struct itree_node n[N];
	struct itree_node far = node_of(0, 1000000);
	struct itree t = { 0 };

	(void)state;
	itree_insert(&t, &far);
	for (unsigned i = 0; i < N; i++) {
		n[i] = node_of(10 * i, 10 * i + 4);
		itree_insert(&t, &n[i]);
	}
	meet(&t, 5000, 5000, &far, NULL);
	itree_erase(&t, &far);
	assert_ok(itree_check(&t));
	assert_int_equal(t.root->greatest, 10 * (N - 1) + 4);
	meet(&t, 5000, 5000, NULL);
	meet(&t, 4, 10, &n[0], &n[1], NULL);
	meet(&t, 5, 9, NULL);
}

static void damage_is_seen(void **state)
{
	static struct itree_node n[N];
	struct itree t = { 0 };
	struct itree_node *root, *low;

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		n[i] = node_of(10 * i, 10 * i + 9);
		itree_insert(&t, &n[i]);
	}
	root = t.root;
	assert_ok(itree_check(&t));
	root->parent = &n[0]; /* 1 */
	assert_int_equal(itree_check(&t), -EINVAL);
	root->parent = NULL;
	low = root->left ? root->left : root->right;
	low->parent = low;
	assert_int_equal(itree_check(&t), -EINVAL);
	low->parent = root;
	n[7].first = 100; /* 2: [100, 79] */
	assert_int_equal(itree_check(&t), -EINVAL);
	n[7].first = 59; /* 3: before n[6] */
	assert_int_equal(itree_check(&t), -EINVAL);
	n[7].first = 70;
	root->greatest++; /* 5 */
	assert_int_equal(itree_check(&t), -EINVAL);
	root->greatest--;
	assert_ok(itree_check(&t));
}

/* 4: the same two nodes, the other way round. */
static void a_wrong_turn_is_seen(void **state)
{
	struct itree_node a = node_of(0, 1), b = node_of(2, 3);
	struct itree_node *top, *below;
	struct itree t = { 0 };

	(void)state;
	itree_insert(&t, &a);
	itree_insert(&t, &b);
	assert_ok(itree_check(&t));
	below = t.root;
	top = below == &a ? &b : &a;
	t.root = top;
	top->parent = NULL;
	below->parent = top;
	below->left = NULL;
	below->right = NULL;
	if (top == &a)
		a.right = &b;
	else
		b.left = &a;
	a.greatest = top == &a ? 3 : 1;
	b.greatest = 3;
	assert_int_equal(itree_check(&t), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_has_nothing),
		cmocka_unit_test(both_ends_are_inside),
		cmocka_unit_test(the_whole_space),
		cmocka_unit_test(equal_ones_keep_their_order),
		cmocka_unit_test(a_node_is_used_again),
		cmocka_unit_test(greatest_falls_again),
		cmocka_unit_test(damage_is_seen),
		cmocka_unit_test(a_wrong_turn_is_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
