// SPDX-License-Identifier: MIT
/*
 * memory_review.c: where the parts of guest memory meet: who waits for whom at an end, pins against
 * discards, spans against the table.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "memory/dirty.h"
#include "require.h"
#include "vmspace/access.h"
#include "world.h"

#define PAGE	UINT64_C(4096)
#define A_WHILE 30000 /* microseconds: enough for a thread that need not wait */

static struct test_world world;
static struct vms_memory *mem;
static struct vms_port *port;

static int set_up(void **state)
{
	struct vms_memory_params p = { .size = sizeof(p) };

	test_world_begin(&world);
	assert_ok(vms_memory_create(&p, &mem));
	assert_ok(vms_port_create(mem, NULL, &port));
	return 0;
}

static int tear_down(void **state)
{
	vms_port_unref(port);
	vms_memory_unref(mem);
	test_world_end(&world);
	return 0;
}

static struct vms_block *block(struct vms_memory *m, uint64_t pages, uint32_t flags)
{
	struct vms_block_params p = {
		.size = sizeof(p), .kind = VMS_BLOCK_ANON, .flags = flags, .bytes = pages * PAGE
	};
	struct vms_block *b = NULL;

	assert_ok(vms_block_create(m, &p, &b));
	return b;
}

static struct vms_edit *edit(struct vms_memory *m)
{
	struct vms_edit *e = NULL;

	assert_ok(vms_edit_begin(m, &e));
	return e;
}

static void map(struct vms_memory *m, uint64_t page, uint64_t pages, struct vms_block *b)
{
	struct vms_edit *e = edit(m);

	assert_ok(vms_slot_map(e, page * PAGE, pages * PAGE, b, 0, VMS_SLOT_RAM));
	assert_ok(vms_edit_commit(e));
}

static int unmap(uint64_t page, uint64_t pages)
{
	struct vms_edit *e;
	int err = vms_edit_begin(mem, &e);

	if (!err)
		err = vms_slot_unmap(e, page * PAGE, pages * PAGE);
	return err ? err : vms_edit_commit(e);
}

/* ---- A release call that takes its time, in another thread ---- */

static sem_t inside, go_on;
static atomic_bool released, waited;

static void slow_release(void *arg)
{
	sem_post(&inside);
	sem_wait(&go_on);
	atomic_store(&released, true);
}

static void *unmap_all(void *arg)
{
	require(unmap(0, 1) == 0);
	return NULL;
}

static void *wait_for_all(void *arg)
{
	vms_memory_synchronize(mem);
	require(atomic_load(&released));
	atomic_store(&waited, true);
	return NULL;
}

static void test_synchronize_waits_for_others(void **state)
{
	static unsigned char memory[2 * 4096];
	void *hva = (void *)(((uintptr_t)memory + 4095) & ~UINT64_C(4095));
	struct vms_edit *e = edit(mem);
	pthread_t editor, waiter;

	atomic_store(&released, false);
	atomic_store(&waited, false);
	sem_init(&inside, 0, 0);
	sem_init(&go_on, 0, 0);
	assert_ok(vms_slot_map_host(e, 0, PAGE, hva, slow_release, NULL, VMS_SLOT_RAM));
	assert_ok(vms_edit_commit(e));
	assert_ok(pthread_create(&editor, NULL, unmap_all, NULL));
	sem_wait(&inside);
	assert_ok(pthread_create(&waiter, NULL, wait_for_all, NULL));
	usleep(A_WHILE);
	assert_false(atomic_load(&waited));
	sem_post(&go_on);
	pthread_join(editor, NULL);
	pthread_join(waiter, NULL);
	assert_true(atomic_load(&waited));
}

/* ---- Ends inside a bracket ---- */

static unsigned n_released;

static void count_release(void *arg)
{
	n_released++;
}

static struct vms_block *host_block(struct vms_memory *m)
{
	static unsigned char memory[2 * 4096];
	struct vms_block_params p = { .size = sizeof(p),
				      .kind = VMS_BLOCK_HOST,
				      .bytes = PAGE,
				      .hva = (void *)(((uintptr_t)memory + 4095) & ~UINT64_C(4095)),
				      .release = count_release };
	struct vms_block *b = NULL;

	assert_ok(vms_block_create(m, &p, &b));
	return b;
}

/* A block, a span or all of a memory ends in a bracket of another one: nobody waits there, and at
 * the bracket's end all has gone. */
static void test_ends_in_bracket(void **state)
{
	struct vms_memory_params p = { .size = sizeof(p) };

	for (int how = 0; how < 4; how++) {
		struct vms_memory *other;
		struct vms_port *way;
		struct vms_block *b;
		struct vms_pin pin;
		struct iovec iov;
		int n = 1;

		n_released = 0;
		assert_ok(vms_memory_create(&p, &other));
		assert_ok(vms_port_create(other, NULL, &way));
		b = host_block(other);
		map(other, 0, 1, b);
		assert_ok(vms_span_open(way, 0, PAGE, VMS_SLOT_READ, &iov, &n, &pin));
		if (how != 0)
			vms_span_close(&pin, 0);
		if (how != 1)
			vms_block_unref(b);
		if (how != 2)
			vms_port_unref(way);
		if (how != 3)
			vms_memory_unref(other);
		assert_ok(vms_enter(port));
		if (how == 0)
			vms_span_close(&pin, 0);
		if (how == 1)
			vms_block_unref(b);
		if (how == 2)
			vms_port_unref(way);
		if (how == 3)
			vms_memory_unref(other);
		assert_int_equal(n_released, 0);
		vms_leave(port);
		assert_int_equal(n_released, 1);
	}
}

/* ---- Discards and pins ---- */

static int (*host_madvise)(const struct world *w, uint64_t addr, uint64_t len, int advice);
static pthread_t opener;
static atomic_bool opened;
static bool opened_meanwhile;
static struct vms_pin pin;

static void *open_span(void *arg)
{
	struct iovec iov;
	int n = 1;

	require(vms_span_open(port, 0, PAGE, VMS_SLOT_RAM & ~VMS_SLOT_EXEC, &iov, &n, &pin) == 0);
	atomic_store(&opened, true);
	return NULL;
}

static int slow_madvise(const struct world *w, uint64_t addr, uint64_t len, int advice)
{
	if (advice == MADV_DONTNEED) {
		require(pthread_create(&opener, NULL, open_span, NULL) == 0);
		usleep(A_WHILE);
		opened_meanwhile = atomic_load(&opened);
	}
	return host_madvise(w, addr, len, advice);
}

/* What is pinned keeps its pages: no span is opened between a discard's look and its deed. */
static void test_pin_in_discard(void **state)
{
	struct vms_block *b = block(mem, 4, 0);
	struct vms_block_info info = { .size = sizeof(info) };
	uint64_t freed;

	map(mem, 0, 4, b);
	host_madvise = world.world.madvise;
	world.world.madvise = slow_madvise;
	atomic_store(&opened, false);
	assert_ok(vms_discard(mem, 0, 4 * PAGE, &freed, NULL));
	world.world.madvise = host_madvise;
	pthread_join(opener, NULL);
	assert_false(opened_meanwhile);
	assert_true(atomic_load(&opened));
	assert_ok(vms_block_info(b, &info));
	assert_int_equal(info.pins, 1);
	assert_int_equal(vms_discard(mem, 0, PAGE, &freed, NULL), -EBUSY);
	vms_span_close(&pin, 0);
	assert_ok(vms_discard(mem, 0, PAGE, &freed, NULL));
	vms_block_unref(b);
}

/* An owner's answer that is no errno does not reach who asked. */
static int odd_discard(void *arg, uint64_t off, uint64_t len, uint64_t *freed)
{
	return 1;
}

static void test_odd_discard(void **state)
{
	static const struct vms_slow_ops odd = { .size = sizeof(odd), .discard = odd_discard };
	struct vms_edit *e = edit(mem);
	uint64_t freed, skipped;

	assert_ok(vms_slot_map_slow(e, 0, PAGE, &odd, NULL, VMS_SLOT_RAM));
	assert_ok(vms_edit_commit(e));
	assert_int_equal(vms_discard(mem, 0, PAGE, &freed, &skipped), -EIO);
	assert_int_equal(freed, 0);
}

/* ---- What spans and accesses see of an edit ---- */

static void (*host_free)(const struct world *w, void *p, size_t size);
static unsigned looks, backwards;
static bool looking;

/* In the middle of a commit: who saw the new slots in a span does not read by the old ones after. */
static void look_at_both(void)
{
	uint64_t page = 700;
	struct iovec iov;
	struct vms_pin p;
	uint8_t byte;
	int n = 1;

	if (vms_span_open(port, page * PAGE, 1, VMS_SLOT_READ, &iov, &n, &p) == -ENXIO)
		backwards += vms_load8(port, page * PAGE, &byte) == 0;
	else
		vms_span_close(&p, 0);
	looks++;
}

static void looking_free(const struct world *w, void *p, size_t size)
{
	if (looking) {
		looking = false;
		look_at_both();
		looking = true;
	}
	host_free(w, p, size);
}

static void test_span_then_access(void **state)
{
	struct vms_block *b = block(mem, 1400, 0);
	struct vms_edit *e = edit(mem);

	for (uint64_t i = 0; i < 1400; i += 2)
		assert_ok(vms_slot_map(e, i * PAGE, PAGE, b, i * PAGE, VMS_SLOT_RAM));
	assert_ok(vms_edit_commit(e));
	looks = backwards = 0;
	host_free = world.world.free;
	world.world.free = looking_free;
	e = edit(mem);
	assert_ok(vms_slot_unmap(e, 0, 1400 * PAGE));
	looking = true;
	assert_ok(vms_edit_commit(e));
	looking = false;
	world.world.free = host_free;
	assert_true(looks > 0);
	assert_int_equal(backwards, 0);
	vms_block_unref(b);
}

/* ---- The struct itself ---- */

static void test_alignment(void **state)
{
	assert_int_equal((uintptr_t)mem % _Alignof(struct vms_memory), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_synchronize_waits_for_others, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_ends_in_bracket, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_pin_in_discard, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_odd_discard, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_span_then_access, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_alignment, set_up, tear_down),
	};

	if (sysconf(_SC_PAGESIZE) != (long)PAGE)
		return 77; /* skipped: made of pages of 4096 bytes */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
