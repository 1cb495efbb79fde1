// SPDX-License-Identifier: MIT
/* The table of guest addresses: its shapes, its corners, failures, and what its validator sees. */
#include <errno.h>
#include <string.h>

#include "base/epoch.h"
#include "check.h"
#include "memory/table.h"
#include "vmspace/memory.h"
#include "world.h"

#define PAGE	UINT64_C(0x1000)
#define MIB	(UINT64_C(1) << 20)
#define GIB	(UINT64_C(1) << 30)
#define BELOW_4 (4 * GIB)
#define RAM	VMS_SLOT_RAM
#define ROM	VMS_SLOT_ROM

static struct test_world tw;
static struct table t;
static struct table_edit e;

static int set_up(void **state)
{
	test_world_begin(&tw);
	table_init(&t, &tw.world);
	return 0;
}

static int tear_down(void **state)
{
	table_fini(&t);
	epoch_synchronize();
	test_world_end(&tw);
	return 0;
}

/* Direct memory: host addresses are 4 GiB above the guest's, times n. */
static struct table_entry direct(uint64_t n, uint64_t rights)
{
	return (struct table_entry){ .at = n * BELOW_4 | rights, .more = n << 50 };
}

static void valid(void)
{
	const char *wrong = table_validate(&t);

	if (wrong)
		broken("%s", wrong);
}

/* One edit of one range. */
static void put(uint64_t first, uint64_t last, struct table_entry value)
{
	table_edit_init(&e, &t);
	assert_ok(table_edit_set(&e, first, last, value.at ? &value : NULL));
	table_edit_publish(&e);
	valid();
}

static void take(uint64_t first, uint64_t last)
{
	put(first, last, (struct table_entry){ 0 });
}

static struct table_entry at(uint64_t gpa)
{
	uint64_t root = atomic_load(&t.root), last;
	const struct table_entry *found, *span;
	struct table_entry entry = { 0 };

	assert_true(epoch_enter());
	found = table_find(root, gpa);
	span = table_find_span(root, gpa, &last);
	assert_ptr_equal(found, span);
	assert_true(last >= gpa && (last & (PAGE - 1)) == PAGE - 1);
	for (uint64_t rights = 1; rights <= RAM; rights++) {
		bool granted = found && (found->at & (rights | ENTRY_SLOW)) == rights;

		assert_ptr_equal(table_find_direct(root, gpa, rights), granted ? found : NULL);
	}
	if (found)
		entry = *found;
	epoch_leave();
	return entry;
}

static void is_at(uint64_t gpa, struct table_entry want)
{
	struct table_entry got = at(gpa);

	assert_int_equal(got.at, want.at);
	assert_int_equal(got.more, want.more);
}

static void hole_at(uint64_t gpa)
{
	is_at(gpa, (struct table_entry){ 0 });
}

static uint64_t span_at(uint64_t gpa)
{
	uint64_t last;

	table_find_span(atomic_load(&t.root), gpa, &last);
	return last;
}

static unsigned nodes(void)
{
	return (unsigned)(t.bytes / (TABLE_ENTRIES * sizeof(struct table_entry)));
}

static unsigned root_shift(void)
{
	return atomic_load(&t.root) & 63;
}

static void is_empty(void)
{
	assert_int_equal(nodes(), 0);
	assert_int_equal(span_at(0), UINT64_MAX);
	hole_at(0);
	hole_at(UINT64_MAX);
}

/* ---- Shapes ---- */

static void an_empty_table_is_a_hole(void **state)
{
	valid();
	hole_at(0);
	hole_at(UINT64_MAX);
	assert_int_equal(span_at(5), UINT64_MAX);
	take(0, UINT64_MAX);
	is_empty();
	assert_int_equal(tw.live, 0);
}

static void a_page_is_one_entry(void **state)
{
	put(3 * PAGE, 4 * PAGE - 1, direct(1, RAM));
	is_at(3 * PAGE, direct(1, RAM));
	is_at(4 * PAGE - 1, direct(1, RAM));
	hole_at(3 * PAGE - 1);
	hole_at(4 * PAGE);
	assert_int_equal(span_at(3 * PAGE + 7), 4 * PAGE - 1);
	hole_at(2 * MIB);
	assert_int_equal(span_at(2 * MIB), UINT64_MAX);
	assert_int_equal(nodes(), 1);
	assert_int_equal(root_shift(), 12);
	take(3 * PAGE, 4 * PAGE - 1);
	assert_int_equal(nodes(), 0);
}

static void a_large_slot_is_few_entries(void **state)
{
	put(0, 3 * GIB - 1, direct(1, RAM));
	assert_int_equal(nodes(), 1);
	assert_int_equal(root_shift(), 30);
	is_at(3 * GIB - 1, direct(1, RAM));
	assert_int_equal(span_at(GIB), 2 * GIB - 1);
	/* A page of ROM in the middle: a node each way down, and nothing more. */
	put(GIB + 5 * PAGE, GIB + 6 * PAGE - 1, direct(2, ROM));
	assert_int_equal(nodes(), 3);
	is_at(GIB + 5 * PAGE - 1, direct(1, RAM));
	is_at(GIB + 5 * PAGE, direct(2, ROM));
	is_at(GIB + 6 * PAGE, direct(1, RAM));
	assert_int_equal(span_at(GIB), GIB + PAGE - 1);
	assert_int_equal(span_at(GIB + 2 * MIB), GIB + 4 * MIB - 1);
	/* And back. */
	put(GIB + 5 * PAGE, GIB + 6 * PAGE - 1, direct(1, RAM));
	assert_int_equal(nodes(), 1);
	assert_int_equal(span_at(GIB), 2 * GIB - 1);
}

/* Two halves that continue each other become one entry, though they came one by one. */
static void equal_neighbours_meet(void **state)
{
	put(4 * MIB, 5 * MIB - 1, direct(1, RAM));
	assert_int_equal(nodes(), 2);
	put(5 * MIB, 6 * MIB - 1, direct(1, RAM));
	assert_int_equal(nodes(), 1);
	assert_int_equal(span_at(4 * MIB), 6 * MIB - 1);
	for (uint64_t p = 0; p < 512; p++)
		put(8 * MIB + p * PAGE, 8 * MIB + (p + 1) * PAGE - 1, direct(3, ROM));
	assert_int_equal(nodes(), 1);
	assert_int_equal(span_at(8 * MIB), 10 * MIB - 1);
	/* Rights are part of what is equal. */
	put(5 * MIB, 6 * MIB - 1, direct(1, ROM));
	assert_int_equal(nodes(), 2);
}

static void the_height_follows_the_highest_address(void **state)
{
	static const struct {
		uint64_t first;
		unsigned shift;
	} high[] = {
		{ 2 * MIB - PAGE, 12 },	   { 2 * MIB, 21 },
		{ GIB - PAGE, 21 },	   { GIB, 30 },
		{ 512 * GIB, 39 },	   { UINT64_C(1) << 47, 39 },
		{ UINT64_C(1) << 48, 48 }, { (UINT64_C(1) << 57) - PAGE, 48 },
		{ UINT64_C(1) << 57, 57 }, { -PAGE, 57 },
	};

	put(0, PAGE - 1, direct(1, RAM));
	assert_int_equal(root_shift(), 12);
	for (size_t i = 0; i < sizeof(high) / sizeof(high[0]); i++) {
		put(high[i].first, high[i].first + (PAGE - 1), direct(2, RAM));
		assert_int_equal(root_shift(), high[i].shift);
		is_at(0, direct(1, RAM));
		is_at(high[i].first, direct(2, RAM));
		hole_at(PAGE);
		hole_at(high[i].first - 1);
		take(high[i].first, high[i].first + (PAGE - 1));
		assert_int_equal(root_shift(), 12);
		assert_int_equal(nodes(), 1);
		hole_at(high[i].first);
	}
	/* From high to nothing; and to a large entry, which a lower root holds 512 times. */
	put(-PAGE, UINT64_MAX, direct(2, RAM));
	put(0, 2 * MIB - 1, direct(1, RAM));
	take(-PAGE, UINT64_MAX);
	assert_int_equal(root_shift(), 12);
	is_at(2 * MIB - 1, direct(1, RAM));
	put(2 * MIB, 3 * MIB - 1, direct(1, RAM));
	assert_int_equal(root_shift(), 21);
	assert_int_equal(nodes(), 2);
	is_at(2 * MIB - 1, direct(1, RAM));
	take(0, UINT64_MAX);
	is_empty();
}

/* Whatever way it was made, the same contents have the same nodes. */
static void the_form_has_no_history(void **state)
{
	uint64_t bytes;

	put(GIB, 2 * GIB - 1, direct(1, RAM));
	put(GIB + 7 * PAGE, GIB + 8 * PAGE - 1, direct(4, ROM));
	bytes = t.bytes;
	put(0, UINT64_MAX, direct(9, ROM));
	take(2 * GIB, UINT64_MAX);
	take(0, GIB - 1);
	put(GIB, 2 * GIB - 1, direct(1, RAM));
	put(GIB + 7 * PAGE, GIB + 9 * PAGE - 1, direct(4, ROM));
	put(GIB + 8 * PAGE, GIB + 9 * PAGE - 1, direct(1, RAM));
	assert_int_equal(t.bytes, bytes);
	assert_int_equal(root_shift(), 30);
}

static void the_last_byte_is_a_byte(void **state)
{
	put(0, UINT64_MAX, direct(1, RAM));
	assert_int_equal(nodes(), 1);
	is_at(UINT64_MAX, direct(1, RAM));
	assert_int_equal(span_at(UINT64_MAX), UINT64_MAX);
	put(-PAGE, UINT64_MAX, direct(2, RAM));
	is_at(UINT64_MAX, direct(2, RAM));
	is_at(-PAGE, direct(2, RAM));
	is_at(-PAGE - 1, direct(1, RAM));
	assert_int_equal(span_at(-PAGE), UINT64_MAX);
	assert_int_equal(span_at(-PAGE - 1), -PAGE - 1);
	assert_int_equal(nodes(), 6);
	take(0, -PAGE - 1);
	is_at(UINT64_MAX, direct(2, RAM));
	hole_at(-PAGE - 1);
	take(-PAGE, UINT64_MAX);
	assert_int_equal(nodes(), 0);
}

static void slow_entries_are_entries(void **state)
{
	struct table_entry slow = { .at = (0 - 4 * MIB) | ENTRY_SLOW | RAM, .more = 0x1000 };

	put(4 * MIB, 12 * MIB - 1, slow);
	is_at(7 * MIB, slow);
	assert_int_equal(at(7 * MIB).at + 7 * MIB, 3 * MIB | ENTRY_SLOW | RAM);
	assert_int_equal(nodes(), 1);
}

/* ---- Edits ---- */

static void many_changes_are_one(void **state)
{
	struct table_entry a = direct(1, RAM), b = direct(2, ROM);

	put(0, MIB - 1, a);
	table_edit_init(&e, &t);
	assert_ok(table_edit_set(&e, GIB, GIB + MIB - 1, &a));
	assert_ok(table_edit_set(&e, 0, PAGE - 1, &b));
	assert_ok(table_edit_set(&e, GIB + PAGE, GIB + 2 * PAGE - 1, NULL));
	/* Nobody sees it yet. */
	is_at(0, a);
	hole_at(GIB);
	table_edit_publish(&e);
	valid();
	is_at(0, b);
	is_at(PAGE, a);
	is_at(GIB, a);
	hole_at(GIB + PAGE);
	is_at(GIB + 2 * PAGE, a);
}

/* What an edit made and took again costs nothing. */
static void an_edit_keeps_only_what_it_needs(void **state)
{
	struct table_entry a = direct(1, RAM);
	size_t live;

	put(0, MIB - 1, a);
	table_edit_init(&e, &t);
	live = tw.live;
	for (unsigned i = 0; i < 1000; i++) {
		assert_ok(table_edit_set(&e, GIB * (i + 1), GIB * (i + 1) + PAGE - 1, &a));
		assert_ok(table_edit_set(&e, GIB * (i + 1), GIB * (i + 1) + PAGE - 1, NULL));
		assert_in_range(tw.live, live, live + 4);
	}
	table_edit_publish(&e);
	valid();
	assert_int_equal(nodes(), 1);
}

static void an_aborted_edit_was_not(void **state)
{
	struct table_entry a = direct(1, RAM), b = direct(2, ROM);
	uint64_t root;
	size_t live;

	put(0, 3 * MIB - 1, a);
	put(GIB, GIB + PAGE - 1, b);
	root = atomic_load(&t.root);
	live = tw.live;
	table_edit_init(&e, &t);
	assert_ok(table_edit_set(&e, PAGE, GIB + MIB - 1, &b));
	assert_ok(table_edit_set(&e, 0, UINT64_MAX, NULL));
	assert_ok(table_edit_set(&e, -PAGE, UINT64_MAX, &a));
	table_edit_abort(&e);
	assert_int_equal(atomic_load(&t.root), root);
	assert_int_equal(tw.live, live);
	valid();
	is_at(2 * MIB, a);
	is_at(GIB, b);
	/* Its nodes may go stale again. */
	take(0, UINT64_MAX);
}

/* A reader that began before sees the table as it was, whole, until it ends. */
static void an_old_reader_sees_the_old_table(void **state)
{
	uint64_t root;
	size_t live;

	put(0, 3 * MIB - 1, direct(1, RAM));
	assert_true(epoch_enter());
	root = atomic_load(&t.root);
	live = tw.live;
	put(0, 3 * MIB - 1, direct(2, RAM));
	take(0, UINT64_MAX);
	epoch_poll();
	assert_true(tw.live >= live);
	assert_int_equal(table_find(root, 5)->at, direct(1, RAM).at);
	assert_int_equal(table_find(root, 3 * MIB - 1)->at, direct(1, RAM).at);
	hole_at(5);
	epoch_leave();
	epoch_synchronize();
	assert_int_equal(tw.live, 0);
}

/* ---- Failures ---- */

static const struct {
	uint64_t first, last, n;
} change[] = {
	{ 5 * PAGE, 2 * MIB + PAGE - 1, 3 }, { GIB - PAGE, 3 * GIB - 1, 0 }, { 0, 7 * PAGE - 1, 2 },
	{ -4 * PAGE, UINT64_MAX, 4 },	     { 2 * MIB, UINT64_MAX, 0 },
};
static uint64_t root_before;

static void some_slots(void *arg)
{
	(void)arg;
	put(0, 8 * MIB - 1, direct(1, RAM));
	put(GIB, 2 * GIB - 1, direct(2, RAM));
	put(GIB + PAGE, GIB + 2 * PAGE - 1, direct(3, ROM));
	root_before = atomic_load(&t.root);
}

static int run_changes(void *arg)
{
	int err = 0;

	(void)arg;
	table_edit_init(&e, &t);
	for (size_t i = 0; i < sizeof(change) / sizeof(change[0]) && !err; i++) {
		struct table_entry v = direct(change[i].n, RAM);

		err = table_edit_set(&e, change[i].first, change[i].last, change[i].n ? &v : NULL);
	}
	if (err)
		table_edit_abort(&e);
	else
		table_edit_publish(&e);
	return err;
}

static void judge_changes(void *arg, int result, bool failed)
{
	(void)arg;
	valid();
	assert_int_equal(result, failed ? -ENOMEM : 0);
	assert_int_equal(atomic_load(&t.root) == root_before, failed);
	is_at(7 * PAGE, failed ? direct(1, RAM) : direct(3, RAM));
	is_at(GIB + PAGE, failed ? direct(3, ROM) : (struct table_entry){ 0 });
	is_at(2 * PAGE, failed ? direct(1, RAM) : direct(2, RAM));
}

static void all_gone(void *arg)
{
	(void)arg;
	take(0, UINT64_MAX);
	epoch_synchronize();
	assert_int_equal(tw.live, 0);
}

static void every_allocation_may_fail(void **state)
{
	struct sweep s = { .world = &tw,
			   .set_up = some_slots,
			   .run = run_changes,
			   .check = judge_changes,
			   .tear_down = all_gone,
			   .mask = 1u << CALL_ALLOC };

	assert_in_range(sweep(&s), 5, 100);
}

/* ---- The validator ---- */

static void damaged(struct table_entry *entry, struct table_entry damage, const char *what)
{
	struct table_entry was = *entry;
	const char *said;

	*entry = damage;
	said = table_validate(&t);
	*entry = was;
	if (!said || !strstr(said, what))
		broken("%s: %s", what, said ? said : "nothing seen");
	valid();
}

static void the_validator_sees_damage(void **state)
{
	uint64_t root;
	struct table empty;
	struct table_entry *top, *leaf;
	size_t node = TABLE_ENTRIES * sizeof(struct table_entry);

	put(0, PAGE - 1, direct(1, RAM));
	put(4 * MIB, 6 * MIB - 1, direct(2, RAM));
	root = atomic_load(&t.root);
	assert_int_equal(root_shift(), 21);
	top = (struct table_entry *)(uintptr_t)(root & ~UINT64_C(63));
	assert_true(top[0].at & ENTRY_NODE);
	leaf = (struct table_entry *)(uintptr_t)(top[0].at & ~UINT64_C(63));

	damaged(&top[1], (struct table_entry){ .more = 1 }, "a hole is not zero");
	damaged(&leaf[1], top[0], "below the last level");
	damaged(&top[0], (struct table_entry){ top[0].at, 1 }, "says more");
	damaged(&top[0], (struct table_entry){ top[0].at | RAM, 0 }, "says more");
	damaged(&top[1], (struct table_entry){ BELOW_4, 0 }, "no rights");
	damaged(&top[1], (struct table_entry){ BELOW_4 | RAM | 0x100, 0 }, "unknown bits");
	damaged(&top[1], (struct table_entry){ ENTRY_SLOW | RAM, 0 }, "no block");
	damaged(&leaf[0], (struct table_entry){ 0 }, "equal entries");
	damaged(&top[2], (struct table_entry){ 0 }, "higher than it must be");
	damaged(&top[0], (struct table_entry){ 0 }, "other nodes than there are");

	atomic_store(&t.root, root + 1);
	assert_non_null(strstr(table_validate(&t), "shift"));
	table_init(&empty, &tw.world);
	atomic_store(&t.root, atomic_load(&empty.root));
	assert_non_null(strstr(table_validate(&t), "bytes"));
	atomic_store(&t.root, root);
	t.bytes += node;
	assert_non_null(strstr(table_validate(&t), "bytes"));
	t.bytes -= node;

	put(-PAGE, UINT64_MAX, direct(1, RAM));
	top = (struct table_entry *)(uintptr_t)(atomic_load(&t.root) & ~UINT64_C(63));
	damaged(&top[128], direct(1, RAM), "behind the end");
	/* A fresh node is one that is still an edit's. */
	table_edit_init(&e, &t);
	assert_ok(table_edit_set(&e, 0, PAGE - 1, NULL));
	root = atomic_load(&t.root);
	atomic_store(&t.root, e.root);
	assert_non_null(strstr(table_validate(&t), "fresh"));
	atomic_store(&t.root, root);
	table_edit_abort(&e);
	valid();
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(an_empty_table_is_a_hole),
		T(a_page_is_one_entry),
		T(a_large_slot_is_few_entries),
		T(equal_neighbours_meet),
		T(the_height_follows_the_highest_address),
		T(the_form_has_no_history),
		T(the_last_byte_is_a_byte),
		T(slow_entries_are_entries),
		T(many_changes_are_one),
		T(an_edit_keeps_only_what_it_needs),
		T(an_aborted_edit_was_not),
		T(an_old_reader_sees_the_old_table),
		T(every_allocation_may_fail),
		T(the_validator_sees_damage),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
