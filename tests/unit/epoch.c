// SPDX-License-Identifier: MIT
/* Sections and retired memory: one thread, many, threads that end, forked children. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#include "base/epoch.h"
#include "world.h"

#define CANARY UINT64_C(0x1122334455667788)

struct thing {
	struct epoch_head head;
	uint64_t canary;
	bool again; /* its free function retires another */
};

static atomic_uint freed;

static struct thing *thing_new(void)
{
	struct thing *t = malloc(sizeof(*t));

	*t = (struct thing){ .canary = CANARY };
	return t;
}

static void thing_free(struct epoch_head *head)
{
	struct thing *t = (struct thing *)head;

	if (t->again)
		epoch_retire(&thing_new()->head, thing_free);
	t->canary = 0;
	atomic_fetch_add(&freed, 1);
	free(t);
}

static void retire_new(void)
{
	epoch_retire(&thing_new()->head, thing_free);
}

/* Run fn in a forked child: 0 if it returned 0. */
static int in_child(int (*fn)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(fn());
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int reset(void **state)
{
	epoch_synchronize();
	atomic_store(&freed, 0);
	return 0;
}

/* ---- One thread ---- */

static void test_section(void **state)
{
	assert_true(epoch_enter());
	retire_new();
	epoch_poll();
	assert_int_equal(atomic_load(&freed), 0);
	assert_true(epoch_enter());
	epoch_leave();
	epoch_poll();
	assert_int_equal(atomic_load(&freed), 0);
	epoch_leave();
	epoch_poll();
	assert_int_equal(atomic_load(&freed), 1);
	epoch_leave(); /* one too many: nothing */
	assert_true(epoch_enter());
	retire_new();
	epoch_poll();
	assert_int_equal(atomic_load(&freed), 1);
	epoch_leave();
}

static void test_stamps(void **state)
{
	uint64_t e = epoch_now();

	assert_true(epoch_passed(e));
	assert_true(epoch_enter());
	e = epoch_now();
	assert_false(epoch_passed(e));
	assert_false(epoch_passed(e + 1));
	epoch_leave();
	assert_true(epoch_passed(e));
	assert_true(epoch_now() >= e);
}

/* Nobody polls: retiring alone frees, but for a bounded rest. */
static void test_bounded(void **state)
{
	for (unsigned i = 0; i < 10000; i++)
		retire_new();
	assert_true(atomic_load(&freed) >= 10000 - 128);
	epoch_synchronize();
	assert_int_equal(atomic_load(&freed), 10000);
}

static void test_free_retires(void **state)
{
	for (unsigned i = 0; i < 200; i++) {
		struct thing *t = thing_new();

		t->again = true;
		epoch_retire(&t->head, thing_free);
	}
	epoch_synchronize();
	epoch_synchronize();
	assert_int_equal(atomic_load(&freed), 400);
}

/* ---- Many ---- */

#define READERS 4u
#define SHELF	16u

static _Atomic(struct thing *) shelf[SHELF];
static atomic_bool stop;
static atomic_uint bad;

static void *reader(void *arg)
{
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		if (!epoch_enter()) {
			atomic_fetch_add(&bad, 1);
			break;
		}
		for (unsigned i = 0; i < SHELF; i++) {
			struct thing *t = atomic_load_explicit(&shelf[i], memory_order_acquire);

			if (t && t->canary != CANARY)
				atomic_fetch_add(&bad, 1);
		}
		epoch_leave();
	}
	return NULL;
}

static void *writer(void *arg)
{
	unsigned rounds = *(unsigned *)arg;

	for (unsigned i = 0; i < rounds; i++) {
		struct thing *old = atomic_exchange(&shelf[i % SHELF], thing_new());

		if (old)
			epoch_retire(&old->head, thing_free);
		if (i % 1000 == 0)
			epoch_synchronize();
	}
	return NULL;
}

static int crowd(void)
{
	pthread_t r[READERS], w[2];
	unsigned rounds = 20000;

	atomic_store(&stop, false);
	for (unsigned i = 0; i < READERS; i++)
		pthread_create(&r[i], NULL, reader, NULL);
	for (unsigned i = 0; i < 2; i++)
		pthread_create(&w[i], NULL, writer, &rounds);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(w[i], NULL);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(r[i], NULL);
	for (unsigned i = 0; i < SHELF; i++) {
		struct thing *t = atomic_exchange(&shelf[i], NULL);

		if (t)
			epoch_retire(&t->head, thing_free);
	}
	epoch_synchronize();
	return atomic_load(&bad) != 0 || atomic_load(&freed) != 2 * rounds;
}

static void test_threads(void **state)
{
	assert_int_equal(crowd(), 0);
}

/* More threads at once than one page has records for, then again: records come back. */
#define MANY 150u

static sem_t in, out;

static void *sleeper(void *arg)
{
	bool ok = epoch_enter();

	sem_post(&in);
	while (sem_wait(&out))
		;
	epoch_leave();
	return ok ? NULL : arg;
}

static void test_records(void **state)
{
	int64_t pages = 0;

	sem_init(&in, 0, 0);
	sem_init(&out, 0, 0);
	for (unsigned round = 0; round < 3; round++) {
		pthread_t t[MANY];
		void *result;

		for (unsigned i = 0; i < MANY; i++)
			assert_ok(pthread_create(&t[i], NULL, sleeper, &t));
		for (unsigned i = 0; i < MANY; i++)
			sem_wait(&in);
		atomic_store(&freed, 0);
		retire_new();
		epoch_poll();
		assert_int_equal(atomic_load(&freed), 0);
		for (unsigned i = 0; i < MANY; i++)
			sem_post(&out);
		for (unsigned i = 0; i < MANY; i++) {
			assert_ok(pthread_join(t[i], &result));
			assert_null(result);
		}
		epoch_synchronize();
		assert_int_equal(atomic_load(&freed), 1);
		if (round == 1)
			pages = mapped_pages();
	}
	assert_true(mapped_pages() <= pages + 64); /* stacks that libc keeps come and go */
}

static void *dies_inside(void *arg)
{
	return epoch_enter() ? NULL : arg;
}

static void test_dies_inside(void **state)
{
	pthread_t t;

	assert_ok(pthread_create(&t, NULL, dies_inside, NULL));
	pthread_join(t, NULL);
	retire_new();
	epoch_synchronize();
	assert_int_equal(atomic_load(&freed), 1);
}

/* ---- Forked children ---- */

static int child_fresh(void)
{
	/* The parent's sections, ours too, are not here. */
	unsigned before = atomic_load(&freed);

	epoch_leave();
	retire_new();
	epoch_synchronize();
	if (atomic_load(&freed) < before + 1)
		return 1;
	if (!epoch_enter())
		return 2;
	before = atomic_load(&freed);
	retire_new();
	epoch_poll();
	if (atomic_load(&freed) != before)
		return 3;
	epoch_leave();
	epoch_synchronize();
	if (atomic_load(&freed) != before + 1)
		return 4;
	atomic_store(&freed, 0);
	return crowd() ? 5 : 0;
}

static void test_fork(void **state)
{
	assert_true(epoch_enter());
	retire_new();
	assert_int_equal(in_child(child_fresh), 0);
	epoch_poll();
	assert_int_equal(atomic_load(&freed), 0);
	epoch_leave();
	epoch_poll();
	assert_int_equal(atomic_load(&freed), 1);
}

/* ---- Hosts that refuse; these run before anything is decided in this process ---- */

static struct test_world tw;

static int child_no_membarrier(void)
{
	test_world_begin(&tw);
	test_world_fail(&tw, 1, 1u << CALL_MEMBARRIER, ENOSYS);
	tw.fail_more = UINT64_MAX;
	return crowd();
}

static void test_no_membarrier(void **state)
{
	assert_int_equal(in_child(child_no_membarrier), 0);
}

static int child_no_records(void)
{
	test_world_begin(&tw);
	for (unsigned i = 0; i < 2; i++) {
		test_world_fail(&tw, 1, i ? 1u << CALL_MADVISE : 1u << CALL_MMAP, ENOMEM);
		if (epoch_enter())
			return 1;
		if (tw.failed != 1)
			return 2;
		epoch_leave();
	}
	/* Retiring never fails: without a record it waits for a better time. */
	test_world_fail(&tw, 1, 1u << CALL_MMAP, ENOMEM);
	tw.fail_more = 100000;
	for (unsigned i = 0; i < 1000; i++)
		retire_new();
	test_world_fail(&tw, 0, 0, 0);
	epoch_synchronize();
	if (atomic_load(&freed) != 1000)
		return 3;
	return epoch_enter() ? 0 : 4;
}

static void test_no_records(void **state)
{
	assert_int_equal(in_child(child_no_records), 0);
}

/* A barrier that fails later frees nothing too early, and nothing for ever. */
static void test_barrier_fails(void **state)
{
	uint64_t e = epoch_now();
	bool passed;

	test_world_begin(&tw);
	test_world_fail(&tw, 1, 1u << CALL_MEMBARRIER, EPERM);
	tw.fail_more = 1000;
	passed = epoch_passed(e);
	assert_true(passed == (tw.failed == 0)); /* no membarrier in use: nothing failed */
	retire_new();
	epoch_poll();
	assert_int_equal(atomic_load(&freed), passed ? 1 : 0);
	test_world_fail(&tw, 0, 0, 0);
	assert_true(epoch_passed(e));
	epoch_synchronize();
	assert_int_equal(atomic_load(&freed), 1);
	test_world_end(&tw);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_membarrier),
		cmocka_unit_test(test_no_records),
		cmocka_unit_test_setup(test_section, reset),
		cmocka_unit_test_setup(test_stamps, reset),
		cmocka_unit_test_setup(test_bounded, reset),
		cmocka_unit_test_setup(test_free_retires, reset),
		cmocka_unit_test_setup(test_threads, reset),
		cmocka_unit_test_setup(test_records, reset),
		cmocka_unit_test_setup(test_dies_inside, reset),
		cmocka_unit_test_setup(test_fork, reset),
		cmocka_unit_test_setup(test_barrier_fails, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
