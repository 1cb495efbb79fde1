// SPDX-License-Identifier: MIT
/*
 * The ring of events: choice, order, wrapping, writers against writers and readers, fork. Its source
 * is a part of this test, so that a writer can be held up in the middle of a slot.
 */
#include "../../src/base/trace.c"

#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "check.h"
#include "vmspace/mman.h"
#include "vmspace/trace.h"

#define SALT	UINT64_C(0x9e3779b97f4a7c15)
#define WRITERS 4u
#define EACH	(3 * VMS_TRACE_EVENTS)

/* Whose arguments belong together: a mixture shows. */
static void put(uint64_t i)
{
	TRACE(copy, i, i * SALT, ~i);
}

static bool whole(const struct vms_trace_event *e)
{
	return e->event == TRACE_copy && e->arg[1] == e->arg[0] * SALT && e->arg[2] == ~e->arg[0];
}

static void off_unless_started(void **state)
{
	struct vms_trace_event e[4];
	uint64_t cursor = 0;

	put(1);
	assert_int_equal(vms_trace_read(&cursor, e, 4), 0);
	assert_int_equal(vms_trace_start("copy"), 0);
	put(2);
	TRACE(shoot, 7, 8, 9);
	put(3);
	vms_trace_stop();
	put(4);
	assert_int_equal(vms_trace_read(&cursor, e, 4), 2);
	assert_true(whole(&e[0]) && e[0].arg[0] == 2 && whole(&e[1]) && e[1].arg[0] == 3);
	assert_true(e[1].number == e[0].number + 1 && e[1].time >= e[0].time && e[0].time != 0);
	assert_int_equal(e[0].thread, gettid());
	assert_int_equal(vms_trace_read(&cursor, e, 4), 0);
	/* From the beginning again; and gone with the next start. */
	cursor = 0;
	assert_int_equal(vms_trace_read(&cursor, e, 1), 1);
	assert_int_equal(e[0].arg[0], 2);
	assert_int_equal(vms_trace_start("shoot"), 0);
	cursor = 0;
	assert_int_equal(vms_trace_read(&cursor, e, 4), 0);
	TRACE(shoot, 7, 8, 9);
	assert_int_equal(vms_trace_start("copy,shoot"), 0);
	put(5);
	assert_int_equal(vms_trace_read(&cursor, e, 4), 2);
	assert_true(e[0].event == TRACE_shoot && e[0].arg[2] == 9 && whole(&e[1]));
	vms_trace_stop();
}

static void names_are_checked(void **state)
{
	assert_int_equal(vms_trace_start("copy,nothing"), -EINVAL);
	assert_non_null(strstr(vms_last_error(), "'nothing'"));
	assert_int_equal(vms_trace_start(""), -EINVAL);
	assert_int_equal(vms_trace_start("copy,"), -EINVAL);
	assert_int_equal(vms_trace_start("cop"), -EINVAL);
	assert_int_equal(trace_on, 0);
	for (uint32_t i = 0; i < TRACE_EVENTS; i++) {
		assert_int_equal(vms_trace_start(vms_trace_name(i)), 0);
		assert_int_equal(trace_on, UINT64_C(1) << i);
		for (unsigned a = 0; a < 3; a++)
			assert_non_null(vms_trace_arg(i, a));
	}
	vms_trace_stop();
	assert_null(vms_trace_name(TRACE_EVENTS));
	assert_null(vms_trace_arg(TRACE_EVENTS, 0));
	assert_null(vms_trace_arg(0, 3));
	assert_string_equal(vms_trace_arg(TRACE_copy, 1), "page");
}

static void the_oldest_go(void **state)
{
	static struct vms_trace_event e[2 * VMS_TRACE_EVENTS];
	uint64_t cursor = 0, more = 1000;

	assert_int_equal(vms_trace_start(NULL), 0);
	for (uint64_t i = 0; i < VMS_TRACE_EVENTS + more; i++)
		put(i);
	assert_int_equal(vms_trace_read(&cursor, e, 2 * VMS_TRACE_EVENTS), VMS_TRACE_EVENTS);
	for (uint64_t i = 0; i < VMS_TRACE_EVENTS; i++)
		assert_true(whole(&e[i]) && e[i].arg[0] == more + i);
	/* A reader that was away finds a jump in the numbers. */
	for (uint64_t i = 0; i < 2 * VMS_TRACE_EVENTS; i++)
		put(i);
	assert_int_equal(vms_trace_read(&cursor, e, 1), 1);
	assert_int_equal(e[0].arg[0], VMS_TRACE_EVENTS);
	assert_true(e[0].number + VMS_TRACE_EVENTS == cursor - 1 + VMS_TRACE_EVENTS);
	vms_trace_stop();
}

static void *write_many(void *arg)
{
	uint64_t from = (uint64_t)(uintptr_t)arg << 32;

	for (uint64_t i = 0; i < EACH; i++)
		put(from + i);
	return NULL;
}

static atomic_bool done;

/* Whole events, numbers that rise, and each writer's own in its order. */
static void *read_many(void *arg)
{
	struct vms_trace_event e[64];
	uint64_t cursor = 0, number = 0, last[WRITERS + 1] = {0}, *seen = arg;
	bool more = true;

	while (more) {
		size_t n;

		more = !atomic_load(&done);
		while ((n = vms_trace_read(&cursor, e, 64)) != 0) {
			for (size_t i = 0; i < n; i++) {
				uint64_t who = e[i].arg[0] >> 32;

				if (!whole(&e[i]) || e[i].number < number || who == 0 ||
				    who > WRITERS || e[i].arg[0] <= last[who])
					return (void *)1;
				last[who] = e[i].arg[0];
				number = e[i].number + 1;
				++*seen;
			}
		}
	}
	return NULL;
}

static void no_event_is_seen_in_part(void **state)
{
	pthread_t writer[WRITERS], reader[2];
	uint64_t seen[2] = {0};
	void *wrong;

	atomic_store(&done, false);
	assert_int_equal(vms_trace_start("copy"), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&reader[i], NULL, read_many, &seen[i]), 0);
	for (unsigned i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&writer[i], NULL, write_many,
						(void *)(uintptr_t)(i + 1)), 0);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(writer[i], NULL);
	atomic_store(&done, true);
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(reader[i], &wrong);
		assert_null(wrong);
		/* The last ring is there when the writers have ended, but for what was given up. */
		assert_true(seen[i] > VMS_TRACE_EVENTS / 2);
	}
	vms_trace_stop();
}

/* (invariant 1) */
static void a_slot_has_one_writer(void **state)
{
	static struct vms_trace_event e[VMS_TRACE_EVENTS];
	uint64_t n, cursor = 0;
	struct slot *held;

	assert_int_equal(vms_trace_start("copy"), 0);
	for (uint64_t i = 0; i < VMS_TRACE_EVENTS; i++)
		put(i);
	/* Somebody began the next event and was held up; the others go round the ring. */
	n = atomic_fetch_add(&head, 1);
	held = &ring[n & (SLOTS - 1)];
	atomic_store(&held->word, 2 * n + 1);
	for (uint64_t i = 0; i < VMS_TRACE_EVENTS + 10; i++)
		put(1000 + i);
	assert_int_equal(held->word, 2 * n + 1);
	assert_int_equal(vms_trace_read(&cursor, e, VMS_TRACE_EVENTS), VMS_TRACE_EVENTS - 1);
	for (size_t i = 0; i < VMS_TRACE_EVENTS - 1; i++)
		assert_true(whole(&e[i]));
	/* It ends at last: its event is too old to be seen, and its slot is as good as any. */
	atomic_store(&held->word, 2 * n + 2);
	cursor = 0;
	assert_int_equal(vms_trace_read(&cursor, e, VMS_TRACE_EVENTS), VMS_TRACE_EVENTS - 1);
	/* One that was held up before it began finds a later event there. */
	for (uint64_t i = 0; i < VMS_TRACE_EVENTS; i++)
		put(i);
	n = atomic_load(&head);
	atomic_store(&ring[n & (SLOTS - 1)].word, 2 * (n + SLOTS) + 2);
	put(1);
	assert_int_equal(ring[n & (SLOTS - 1)].word, 2 * (n + SLOTS) + 2);
	atomic_store(&ring[n & (SLOTS - 1)].word, 0);
	vms_trace_stop();
}

static volatile sig_atomic_t laps;

/* A whole ring of events, whatever the thread was in the middle of. */
static void lap(int sig)
{
	(void)sig;
	for (uint64_t i = 0; i < VMS_TRACE_EVENTS + 1; i++)
		put(i << 32 | (uint64_t)laps);
	laps++;
}

static void a_signal_may_come_within_an_event(void **state)
{
	const struct itimerval soon = {.it_value = {.tv_usec = 300}};
	struct sigaction act = {.sa_handler = lap, .sa_flags = SA_RESTART};
	struct vms_trace_event e[256];
	time_t end = time(NULL) + 4;
	size_t n;

	assert_int_equal(sigaction(SIGALRM, &act, NULL), 0);
	assert_int_equal(vms_trace_start("copy"), 0);
	/* Sanitizers hold signals back; then it is the time that ends it. */
	while (laps < 100 && time(NULL) < end) {
		uint64_t cursor = 0;
		int before = laps;

		setitimer(ITIMER_REAL, &soon, NULL);
		for (uint64_t i = 0; laps == before && time(NULL) < end; i++)
			put(i);
		while ((n = vms_trace_read(&cursor, e, 256)) != 0)
			for (size_t i = 0; i < n; i++)
				assert_true(whole(&e[i]));
	}
	vms_trace_stop();
	signal(SIGALRM, SIG_DFL);
}

static void a_child_writes_its_own(void **state)
{
	struct vms_trace_event e[4];
	uint64_t cursor = 0;
	int status = -1;
	pid_t child;

	assert_int_equal(vms_trace_start("copy"), 0);
	put(1);
	child = fork();
	if (child == 0) {
		put(2);
		_exit(vms_trace_read(&cursor, e, 4) == 2 && e[1].arg[0] == 2 &&
			      e[1].thread == (uint32_t)getpid()
			      ? 0
			      : 1);
	}
	assert_true(child > 0 && waitpid(child, &status, 0) == child);
	assert_int_equal(status, 0);
	assert_int_equal(vms_trace_read(&cursor, e, 4), 1);
	vms_trace_stop();
}

/* What an edit does is there, by name. */
static void edits_are_told(void **state)
{
	struct vms_mm_policy policy = {.size = sizeof(policy)};
	struct vms_trace_event e[64];
	uint64_t cursor = 0, at = 0x10000000;
	bool mapped = false, changed = false, gone = false, split = false, merged = false;
	struct vms_mmu *mmu;
	struct vms_mm *mm;
	size_t n;

	vms_mm_policy_host(&policy);
	assert_int_equal(vms_mmu_record(&mmu), 0);
	assert_int_equal(vms_mm_create(&policy, mmu, &mm), 0);
	vms_mmu_unref(mmu);
	assert_int_equal(vms_trace_start(NULL), 0);
	assert_int_equal(vms_mmap(mm, at, 3 * 65536, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
			 (int64_t)at);
	assert_int_equal(vms_mprotect(mm, at + 65536, 65536, 1), 0);
	assert_int_equal(vms_mprotect(mm, at + 65536, 65536, 3), 0);
	assert_int_equal(vms_munmap(mm, at, 65536), 0);
	vms_trace_stop();
	n = vms_trace_read(&cursor, e, 64);
	for (size_t i = 0; i < n; i++) {
		mapped = mapped || (e[i].event == TRACE_map && e[i].arg[0] == at && e[i].arg[2] == 3);
		changed = changed || (e[i].event == TRACE_change && e[i].arg[0] == at + 65536 &&
				      e[i].arg[1] == at + 2 * 65536 - 1 && e[i].arg[2] == 1);
		split = split || (e[i].event == TRACE_split && e[i].arg[2] == 2);
		merged = merged || (e[i].event == TRACE_merge && e[i].arg[2] == 2);
		gone = gone || (e[i].event == TRACE_unmap && e[i].arg[0] == at);
	}
	assert_true(mapped && changed && gone && split && merged);
	vms_mm_destroy(mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(off_unless_started),
		cmocka_unit_test(names_are_checked),
		cmocka_unit_test(the_oldest_go),
		cmocka_unit_test(no_event_is_seen_in_part),
		cmocka_unit_test(a_slot_has_one_writer),
		cmocka_unit_test(a_signal_may_come_within_an_event),
		cmocka_unit_test(a_child_writes_its_own),
		cmocka_unit_test(edits_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
