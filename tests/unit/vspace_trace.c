// SPDX-License-Identifier: MIT
/* What a space over objects tells of itself in the ring of events. */
#include "base/trace.h"
#include "vmspace/trace.h"
#include "vspace_kit.h"

static uint64_t cursor;

static void start(void)
{
	assert_ok(vms_trace_start(NULL));
	cursor = 0;
}

/* The next event of that name has these arguments (SOME: any). */
#define SOME UINT64_C(0xabcdef)
static void told(enum trace_event event, uint64_t a, uint64_t b, uint64_t c)
{
	struct vms_trace_event e;

	do {
		bool more = vms_trace_read(&cursor, &e, 1) == 1;

		if (!more)
			print_message("no event %s\n", trace_event_name(event));
		assert_true(more);
	} while (e.event != event);
	assert_true(a == SOME || e.arg[0] == a);
	assert_true(b == SOME || e.arg[1] == b);
	assert_true(c == SOME || e.arg[2] == c);
}

static void faults_and_copies(void **state)
{
	struct fixture *f = *state;

	make_shared(f);
	map(f, f->obj, BASE, 0, 4 * P, RW);
	start();
	assert_int_equal(fault(f, BASE + 5, R), VMS_FAULT_OK);
	assert_int_equal(fault(f, BASE, W), VMS_FAULT_OK);
	assert_int_equal(fault(f, BASE - P, R), VMS_FAULT_NOT_MAPPED);
	vms_trace_stop();
	told(TRACE_fault, BASE + 5, R, VMS_FAULT_OK);
	told(TRACE_copy, (uintptr_t)view_of(f->obj)->content, 0, 1);
	told(TRACE_fault, BASE, W, VMS_FAULT_OK);
	told(TRACE_fault, BASE - P, R, VMS_FAULT_NOT_MAPPED);
}

static void requests(void **state)
{
	struct fixture *f = *state;
	struct vms_wait wait;

	vms_wait_init(&wait);
	make_absent(f);
	map(f, f->obj, BASE, 0, 4 * P, R);
	start();
	assert_int_equal(vms_fault(f->s, BASE + P, R, 0, &wait, NULL), VMS_FAULT_WAIT);
	vms_trace_stop();
	told(TRACE_pager_request, 1, 1, 1);
	told(TRACE_fault, BASE + P, R, VMS_FAULT_WAIT);
	expect(&f->script, NOTE_READ, 1, 1);
	vms_wait_cancel(&wait);
	expect(&f->script, NOTE_CANCEL_READ, 1, 1);
	unmap(f, BASE, 4 * P);
	drop_objects(f);
	expect_complete(&f->script, 1);
}

static void edits(void **state)
{
	struct fixture *f = *state;

	make_zero(f);
	start();
	map(f, f->obj, BASE, 0, 4 * P, RW);
	assert_ok(vms_protect(vms_space_root(f->s), BASE + P, P, R, 0));
	assert_ok(vms_protect(vms_space_root(f->s), BASE + P, P, RW, 0));
	unmap(f, BASE, 4 * P);
	vms_trace_stop();
	told(TRACE_map, BASE, BASE + 4 * P - 1, RW);
	told(TRACE_change, BASE + P, BASE + 2 * P - 1, R);
	told(TRACE_split, SOME, SOME, 2);
	told(TRACE_merge, SOME, SOME, 2);
	told(TRACE_unmap, BASE, BASE + 4 * P - 1, SOME);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(faults_and_copies, begin, end),
		cmocka_unit_test_setup_teardown(requests, begin, end),
		cmocka_unit_test_setup_teardown(edits, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
