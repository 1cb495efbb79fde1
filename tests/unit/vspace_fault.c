// SPDX-License-Identifier: MIT
/*
 * Faults on a space over objects: for each state that a page can be in, what a read and a write of
 * it come to, which entry stands afterwards, and which counter moved; and the same with each
 * allocation refused.
 */
#include "vspace_kit.h"

enum asked { NOBODY, READ, DIRTY };

struct outcome {
	enum vms_fault_result result;
	uint32_t entry; /* rights; 0: none */
	unsigned how;	/* OK */
	enum asked asked;
};

static const struct state {
	const char *name;
	void (*make)(struct fixture *f);
	struct outcome read, write;
} states[] = {
	{ "own", make_own, { 0, RW, OWN }, { 0, RW, OWN } },
	{ "zero", make_zero, { 0, R, ZERO }, { 0, RW, FRESH } },
	{ "shared", make_shared, { 0, R, ANCESTOR }, { 0, RW, COPIED } },
	{ "ancestor's", make_ancestor, { 0, R, ANCESTOR }, { 0, RW, COPIED } },
	{ "copy", make_copy, { 0, RW, OWN }, { 0, RW, OWN } },
	{ "pager's, absent",
	  make_absent,
	  { VMS_FAULT_WAIT, 0, 0, READ },
	  { VMS_FAULT_WAIT, 0, 0, READ } },
	{ "pager's, clean", make_clean, { 0, R, OWN }, { 0, RW, OWN } },
	{ "pager's, dirty", make_dirty, { 0, RW, OWN }, { 0, RW, OWN } },
	{ "pager's, written back", make_cleaned, { 0, R, OWN }, { 0, RW, OWN } },
	{ "pager's, zero", make_paged_zero, { 0, R, ZERO }, { 0, RW, FRESH } },
	{ "trapped, clean", make_trapped, { 0, R, OWN }, { VMS_FAULT_WAIT, 0, 0, DIRTY } },
	{ "trapped, dirty", make_let_dirty, { 0, RW, OWN }, { 0, RW, OWN } },
	{ "overlay, absent",
	  make_over_absent,
	  { VMS_FAULT_WAIT, 0, 0, READ },
	  { VMS_FAULT_WAIT, 0, 0, READ } },
	{ "overlay, the root's", make_over_clean, { 0, R, ANCESTOR }, { 0, RW, COPIED } },
	{ "overlay, the root's dirty", make_over_dirty, { 0, R, ANCESTOR }, { 0, RW, COPIED } },
	{ "overlay, the root's zero", make_over_zero, { 0, R, ZERO }, { 0, RW, FRESH } },
	{ "overlay of a file", make_over_file, { 0, RW, COPIED }, { 0, RW, COPIED } },
	{ "host memory", make_host, { 0, RW, OWN }, { 0, RW, OWN } },
	{ "contiguous", make_contiguous, { 0, RW, OWN }, { 0, RW, OWN } },
	{ "pinned", make_pinned, { 0, RW, OWN }, { 0, RW, OWN } },
	{ "slice", make_slice, { 0, RW, OWN }, { 0, RW, OWN } },
	{ "discardable", make_locked, { 0, RW, OWN }, { 0, RW, OWN } },
	{ "discarded", make_discarded, { VMS_FAULT_DISCARDED }, { VMS_FAULT_DISCARDED } },
	{ "failing pager", make_failing, { VMS_FAULT_IO }, { VMS_FAULT_IO } },
	{ "no pager any more", make_detached, { VMS_FAULT_IO }, { VMS_FAULT_IO } },
};

static void check_outcome(struct fixture *f, const struct state *st, uint32_t access)
{
	const struct outcome *o = access == W ? &st->write : &st->read;
	enum vms_fault_result r;
	struct vms_wait wait;
	const void *hva = NULL;
	uint32_t rights;

	vms_wait_init(&wait);
	r = vms_fault(f->s, BASE + 5, access, 0, &wait, NULL);
	rights = entry(f, BASE, &hva);
	if (r != o->result || rights != o->entry)
		print_message("%s, %s: %s, rights %u\n", st->name, access == W ? "write" : "read",
			      vms_fault_name(r), rights);
	assert_int_equal(r, o->result);
	assert_int_equal(rights, o->entry);
	assert_int_equal(moved(f, r), 1);
	if (r == VMS_FAULT_OK) {
		assert_ptr_equal(hva, bytes_at(f->obj, 0));
		for (unsigned how = OWN; how <= FRESH; how++)
			assert_int_equal(moved(f, how), how == o->how);
	}
	if (o->asked) {
		expect(&f->script, o->asked == READ ? NOTE_READ : NOTE_DIRTY, 0, 1);
		vms_wait_cancel(&wait);
		expect(&f->script, o->asked == READ ? NOTE_CANCEL_READ : NOTE_CANCEL_DIRTY, 0, 1);
	}
}

/* Each state is made anew for each access. */
static void run_state(struct fixture *f, const struct state *st, uint32_t access)
{
	st->make(f);
	map(f, f->obj, BASE, 0, 4 * P, RW);
	mark(f);
	check_outcome(f, st, access);
	assert_ok(vms_space_check(f->s));
	unmap(f, BASE, 4 * P);
	assert_string_equal(picture(f, BASE, 4), "....");
	if (st->make == make_pinned)
		assert_ok(vms_object_unpin(f->obj, 0, P));
	f->script.answer = NULL;
	drop_objects(f);
	f->script.n = 0; /* "complete" */
}

static void each_state_read(void **state)
{
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		run_state(*state, &states[i], R);
}

static void each_state_written(void **state)
{
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		run_state(*state, &states[i], W);
}

/* The read's entry gives way to the write's, and the others' views are not disturbed. */
static void read_then_written(void **state)
{
	struct fixture *f = *state;
	const void *before, *after;

	make_ancestor(f);
	map(f, f->obj, BASE, 0, 4 * P, RW);
	map(f, f->other, BASE + 16 * P, 0, 4 * P, RW);
	assert_int_equal(fault(f, BASE, R), VMS_FAULT_OK);
	assert_int_equal(fault(f, BASE + 16 * P, R), VMS_FAULT_OK);
	assert_int_equal(entry(f, BASE, &before), R);
	assert_int_equal(entry(f, BASE + 16 * P, &after), R);
	assert_ptr_equal(before, after);
	assert_int_equal(fault(f, BASE, W), VMS_FAULT_OK);
	assert_int_equal(entry(f, BASE, &after), RW);
	assert_ptr_not_equal(before, after);
	assert_int_equal(entry(f, BASE + 16 * P, &after), R);
	assert_ptr_equal(before, after);
	/* Its last sharer: now it may be written where it is. */
	assert_int_equal(fault(f, BASE + 16 * P, W), VMS_FAULT_OK);
	assert_int_equal(entry(f, BASE + 16 * P, &after), RW);
	assert_ptr_equal(before, after);
	/* A snapshot takes the right to write from both. */
	{
		struct vms_object *third = child(f->obj, VMS_CHILD_SNAPSHOT, 4);

		assert_int_equal(entry(f, BASE, &after), R);
		assert_int_equal(entry(f, BASE + 16 * P, &after), RW);
		vms_object_unref(third);
	}
}

/* Each state once more: no page of zeros is shown. */
static void eager_states(void **state)
{
	struct fixture *f = *state;

	space_end(f);
	space_begin(f, P, 16, true);
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		struct state st = states[i];

		if (st.read.how == ZERO) {
			st.read.how = FRESH;
			st.read.entry = st.make == make_paged_zero ? R : RW;
		}
		if (st.make == make_trapped)
			st.write.entry = R; /* the edit installed it */
		run_state(f, &st, R);
		run_state(f, &st, W);
	}
}

/* ---- Each allocation refused once ---- */

/* One fault with the n-th allocation refused. False: it made fewer. */
static bool refuse(struct fixture *f, const struct state *st, uint32_t access, uint64_t n)
{
	const struct outcome *o = access == W ? &st->write : &st->read;
	enum vms_fault_result r;
	const void *hva;
	bool failed;

	st->make(f);
	map(f, f->obj, BASE, 0, 4 * P, RW);
	test_world_fail(&f->world, n, 1u << CALL_ALLOC, ENOMEM);
	r = vms_fault(f->s, BASE, access, 0, NULL, NULL);
	failed = f->world.failed > 0;
	test_world_fail(&f->world, 0, 0, 0);
	/* It may do without what it was refused. */
	assert_true(r == VMS_FAULT_OK || (failed && r == VMS_FAULT_NO_MEMORY));
	assert_int_equal(entry(f, BASE, &hva), r == VMS_FAULT_OK ? o->entry : 0);
	assert_ok(vms_space_check(f->s));
	assert_int_equal(fault(f, BASE, access), VMS_FAULT_OK);
	assert_int_equal(entry(f, BASE, &hva), o->entry);
	unmap(f, BASE, 4 * P);
	if (st->make == make_pinned)
		assert_ok(vms_object_unpin(f->obj, 0, P));
	drop_objects(f);
	f->script.n = 0; /* "complete" */
	return failed;
}

static void refused(void **state)
{
	struct fixture *f = *state;
	unsigned refusals = 0;

	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		for (int k = 0; k < 2; k++) {
			const struct outcome *o = k ? &states[i].write : &states[i].read;

			if (o->result != VMS_FAULT_OK)
				continue;
			for (uint64_t n = 1; refuse(f, &states[i], k ? W : R, n); n++)
				refusals++;
		}
	assert_true(refusals >= 6);
}

static void names(void **state)
{
	assert_string_equal(vms_fault_name(VMS_FAULT_OK), "OK");
	assert_string_equal(vms_fault_name(VMS_FAULT_NO_MEMORY), "NO_MEMORY");
	assert_string_equal(vms_fault_name((enum vms_fault_result)77), "?");
	assert_string_equal(vms_fault_name((enum vms_fault_result) - 1), "?");
}

#define test(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(each_state_read), test(each_state_written),
		test(eager_states),    test(read_then_written),
		test(refused),	       test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
