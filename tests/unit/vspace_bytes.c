// SPDX-License-Identifier: MIT
/*
 * Copies of bytes out of guest memory and into it, strings, and accesses of one instruction: over
 * every kind of object and state of a page, across mappings, up to what stops them, and beside
 * snapshots and edits that come at the same time.
 */
#include <pthread.h>

#include "vspace_kit.h"

static enum vms_fault_result get(struct fixture *f, uint64_t addr, void *buf, size_t len,
				 size_t *done)
{
	return vms_space_read(f->s, addr, buf, len, NULL, done);
}

static enum vms_fault_result set(struct fixture *f, uint64_t addr, const void *buf, size_t len,
				 size_t *done)
{
	return vms_space_write(f->s, addr, buf, len, NULL, done);
}

/* ---- Each state ---- */

/* What the states' makers put there, and whether a page there can be had at once. */
static const struct state {
	void (*make)(struct fixture *f);
	int byte; /* of page 0; -1: fill_pages */
	enum vms_fault_result read, write;
} states[] = {
	{ make_zero, 0, 0, 0 },
	{ make_own, 'o', 0, 0 },
	{ make_shared, 'o', 0, 0 },
	{ make_ancestor, 'o', 0, 0 },
	{ make_copy, 'c', 0, 0 },
	{ make_absent, 0, VMS_FAULT_WAIT, VMS_FAULT_WAIT },
	{ make_clean, -1, 0, 0 },
	{ make_dirty, 'd', 0, 0 },
	{ make_cleaned, 'd', 0, 0 },
	{ make_paged_zero, 0, 0, 0 },
	{ make_trapped, -1, 0, VMS_FAULT_WAIT },
	{ make_let_dirty, -1, 0, 0 },
	{ make_over_absent, 0, VMS_FAULT_WAIT, VMS_FAULT_WAIT },
	{ make_over_clean, -1, 0, 0 },
	{ make_over_zero, 0, 0, 0 },
	{ make_over_file, 'f', 0, 0 },
	{ make_host, 'h', 0, 0 },
	{ make_contiguous, 0, 0, 0 },
	{ make_pinned, 0, 0, 0 },
	{ make_slice, 's', 0, 0 },
	{ make_locked, 'l', 0, 0 },
	{ make_discarded, 0, VMS_FAULT_DISCARDED, VMS_FAULT_DISCARDED },
	{ make_failing, 0, VMS_FAULT_IO, VMS_FAULT_IO },
	{ make_detached, 0, VMS_FAULT_IO, VMS_FAULT_IO },
};

#define countof(a) (sizeof(a) / sizeof((a)[0]))

static void unmake(struct fixture *f, const struct state *st, struct vms_wait *wait)
{
	vms_wait_cancel(wait);
	unmap(f, BASE, 4 * P);
	if (st->make == make_pinned)
		assert_ok(vms_object_unpin(f->obj, 0, P));
	f->script.answer = NULL;
	drop_objects(f);
	f->script.n = 0;
}

static void wanted(const struct state *st, unsigned char *buf)
{
	if (st->byte >= 0)
		memset(buf, st->byte, P);
	else
		fill_pages(buf, 1, 0, 1);
	if (st->make == make_over_file)
		memset(buf + 1, 0, P - 1);
}

/* A copy, and each size of a load, read what the object reads; nothing is installed. */
static void each_state_read(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[4096], want[4096];

	for (size_t i = 0; i < countof(states); i++) {
		const struct state *st = &states[i];
		struct vms_wait wait;
		size_t done = 1;
		uint64_t value;

		vms_wait_init(&wait);
		memset(f->host, 'h', 4 * P);
		st->make(f);
		map(f, f->obj, BASE, 0, 4 * P, R);
		assert_int_equal(vms_space_read(f->s, BASE, buf, P, &wait, &done), st->read);
		assert_int_equal(done, st->read == VMS_FAULT_OK ? P : 0);
		wanted(st, want);
		for (unsigned size = 1; size <= 8; size *= 2) {
			uint64_t word = 0;

			memcpy(&word, want + 16, size);
			value = 77;
			assert_int_equal(vms_space_load(f->s, BASE + 16, size, &value, &wait),
					 st->read);
			assert_int_equal(value, st->read == VMS_FAULT_OK ? word : 77);
		}
		if (st->read == VMS_FAULT_OK)
			assert_memory_equal(buf, want, P);
		assert_int_equal(set(f, BASE, buf, 1, &done), VMS_FAULT_DENIED);
		assert_string_equal(picture(f, BASE, 1), ".");
		unmake(f, st, &wait);
	}
}

/* Writes are seen by the object, by nobody who had a copy, and take the entries that they must. */
static void each_state_written(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[4096], want[4096];

	for (size_t i = 0; i < countof(states); i++)
		for (size_t len = 100; len <= P; len += P - 100) {
			const struct state *st = &states[i];
			struct vms_wait wait;
			size_t done = 1;

			vms_wait_init(&wait);
			memset(f->host, 'h', 4 * P);
			st->make(f);
			map(f, f->obj, BASE, 0, 4 * P, RW);
			wanted(st, want);
			if (st->read == VMS_FAULT_OK)
				assert_int_equal(fault(f, BASE, R), VMS_FAULT_OK);
			memset(buf, 'W', len);
			assert_int_equal(vms_space_write(f->s, BASE, buf, len, &wait, &done),
					 st->write);
			assert_int_equal(done, st->write == VMS_FAULT_OK ? len : 0);
			assert_ok(vms_space_check(f->s));
			if (st->write == VMS_FAULT_OK) {
				memset(want, 'W', len);
				assert_ok(vms_object_read(f->obj, 0, buf, P, NULL));
				assert_memory_equal(buf, want, P);
				assert_int_equal(get(f, BASE, buf, P, &done), VMS_FAULT_OK);
				assert_memory_equal(buf, want, P);
			}
			if (st->write == VMS_FAULT_OK && f->other && st->make != make_slice) {
				wanted(st, want);
				assert_ok(vms_object_read(f->other, 0, buf, P, NULL));
				if (st->make == make_copy)
					memset(want, 'o', P);
				assert_memory_equal(buf, want, P);
			}
			unmake(f, st, &wait);
		}
}

static void each_state_stored(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < countof(states); i++)
		for (unsigned size = 1; size <= 8; size *= 2) {
			const struct state *st = &states[i];
			uint64_t word = UINT64_C(0x8877665544332211), old = 0, value = 0;
			uint64_t mask = size == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * size) - 1;
			struct vms_wait wait;
			int swapped = 7;

			vms_wait_init(&wait);
			st->make(f);
			map(f, f->obj, BASE, 0, 4 * P, RW);
			assert_int_equal(vms_space_store(f->s, BASE + 24, size, word, &wait),
					 st->write);
			vms_wait_cancel(&wait);
			if (st->write != VMS_FAULT_OK) {
				assert_int_equal(
					vms_space_cas(f->s, BASE, size, &old, 1, &swapped, &wait),
					st->write);
				assert_int_equal(swapped, 7);
				unmake(f, st, &wait);
				continue;
			}
			assert_ok(vms_object_read(f->obj, 24, &value, size, NULL));
			assert_int_equal(value, word & mask);
			assert_int_equal(
				vms_space_cas(f->s, BASE + 24, size, &old, 1, &swapped, NULL),
				VMS_FAULT_OK);
			assert_int_equal(swapped, 0);
			assert_int_equal(old, word & mask);
			assert_int_equal(
				vms_space_cas(f->s, BASE + 24, size, &old, 1, &swapped, NULL),
				VMS_FAULT_OK);
			assert_int_equal(swapped, 1);
			assert_int_equal(vms_space_load(f->s, BASE + 24, size, &value, NULL),
					 VMS_FAULT_OK);
			assert_int_equal(value, 1);
			unmake(f, st, &wait);
		}
}

static void words_are_aligned(void **state)
{
	struct fixture *f = *state;
	uint64_t value;

	make_zero(f);
	map(f, f->obj, BASE, 0, 4 * P, RW);
	assert_int_equal(vms_space_load(f->s, BASE + 1, 2, &value, NULL), VMS_FAULT_DENIED);
	assert_int_equal(vms_space_store(f->s, BASE + 4, 8, 0, NULL), VMS_FAULT_DENIED);
	assert_int_equal(vms_space_store(f->s, BASE, 3, 0, NULL), VMS_FAULT_DENIED);
	assert_int_equal(vms_space_store(f->s, BASE, 16, 0, NULL), VMS_FAULT_DENIED);
	assert_int_equal(vms_space_store(f->s, BASE, 0, 0, NULL), VMS_FAULT_DENIED);
	assert_int_equal(vms_space_load(f->s, BASE + 4 * P, 8, &value, NULL), VMS_FAULT_NOT_MAPPED);
	assert_int_equal(vms_space_load(f->s, UINT64_MAX, 1, &value, NULL), VMS_FAULT_NOT_MAPPED);
}

/* ---- Across mappings ---- */

static void across_mappings(void **state)
{
	struct fixture *f = *state;
	unsigned char *buf = malloc(40 * P), *back = malloc(40 * P);
	size_t done;

	f->obj = anon(f->arena, 8);
	f->other = anon(f->arena, 40);
	map(f, f->obj, BASE, 4 * P, 4 * P, RW);
	map(f, f->other, BASE + 4 * P, 0, 20 * P, RW);
	map(f, f->obj, BASE + 24 * P, 0, 4 * P, RW);
	map(f, f->other, BASE + 28 * P, 0, P, R);
	for (size_t i = 0; i < 40 * P; i++)
		buf[i] = (unsigned char)(i * 7 + i / P);
	assert_int_equal(set(f, BASE + 5, buf, 28 * P - 5, &done), VMS_FAULT_OK);
	assert_int_equal(done, 28 * P - 5);
	assert_int_equal(get(f, BASE + 5, back, 28 * P - 5, &done), VMS_FAULT_OK);
	assert_memory_equal(buf, back, 28 * P - 5);
	assert_ok(vms_object_read(f->obj, 0, back, 4 * P, NULL));
	assert_memory_equal(buf + 24 * P - 5, back, 4 * P);
	assert_ok(vms_object_read(f->other, 0, back, 20 * P, NULL));
	assert_memory_equal(buf + 4 * P - 5, back, 20 * P);
	/* What stops it, and where. */
	assert_int_equal(set(f, BASE + 27 * P + 9, buf, 2 * P, &done), VMS_FAULT_DENIED);
	assert_int_equal(done, P - 9);
	assert_int_equal(get(f, BASE + 27 * P + 9, back, 3 * P, &done), VMS_FAULT_NOT_MAPPED);
	assert_int_equal(done, 2 * P - 9);
	assert_memory_equal(back, buf, P - 9);
	assert_int_equal(get(f, BASE, back, 0, &done), VMS_FAULT_OK);
	assert_int_equal(done, 0);
	assert_int_equal(get(f, BASE - 1, back, 1, &done), VMS_FAULT_NOT_MAPPED);
	assert_int_equal(get(f, UINT64_MAX, back, P, &done), VMS_FAULT_NOT_MAPPED);
	assert_string_equal(picture(f, BASE, 28), "............................");
	free(buf);
	free(back);
}

static void to_the_objects_end(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[3 * 4096] = { 0 };
	size_t done;

	f->obj = anon(f->arena, 2);
	map(f, f->obj, BASE, 0, 4 * P, RW);
	assert_int_equal(set(f, BASE + P / 2, buf, 2 * P, &done), VMS_FAULT_BEYOND);
	assert_int_equal(done, P + P / 2);
	assert_int_equal(get(f, BASE + P, buf, 2 * P, &done), VMS_FAULT_BEYOND);
	assert_int_equal(done, P);
	assert_int_equal(get(f, BASE + 3 * P, buf, 1, &done), VMS_FAULT_BEYOND);
	assert_int_equal(done, 0);
}

/* The last byte of all addresses. */
static void to_the_last_address(void **state)
{
	struct fixture *f = *state;
	struct vms_space_params p = { .size = sizeof(p), .page_size = P };
	unsigned char buf[64];
	size_t done;

	space_end(f);
	assert_ok(vms_mmu_record(&f->mmu));
	p.mmu = f->mmu;
	assert_ok(vms_space_create(&p, &f->s));
	f->obj = anon(f->arena, 2);
	map(f, f->obj, 0 - 2 * P, 0, 2 * P, RW);
	assert_int_equal(set(f, 0 - (uint64_t)32, buf, 64, &done), VMS_FAULT_NOT_MAPPED);
	assert_int_equal(done, 32);
	assert_int_equal(set(f, 0 - (uint64_t)32, "abcdefghijklmnopqrstuvwxyz012345", 32, &done),
			 VMS_FAULT_OK);
	assert_int_equal(get(f, 0 - (uint64_t)32, buf, 32, &done), VMS_FAULT_OK);
	assert_memory_equal(buf, "abcdefghijklmnopqrstuvwxyz012345", 32);
	assert_int_equal(vms_space_read_string(f->s, 0 - (uint64_t)4, (char *)buf, 64, NULL, &done),
			 VMS_FAULT_NOT_MAPPED);
	assert_int_equal(done, 4);
	assert_memory_equal(buf, "2345", 4);
	assert_int_equal(fault(f, UINT64_MAX, W), VMS_FAULT_OK);
	assert_int_equal(vms_space_prepare(f->s, 0 - 2 * P, 2 * P, W, NULL, NULL), VMS_FAULT_OK);
}

static void strings(void **state)
{
	struct fixture *f = *state;
	char buf[2000];
	size_t done;

	f->obj = anon(f->arena, 2);
	map(f, f->obj, BASE, 0, 2 * P, RW);
	memset(buf, 'x', sizeof(buf));
	assert_int_equal(set(f, BASE + P - 1000, buf, 1999, &done), VMS_FAULT_OK);
	memset(buf, '#', sizeof(buf));
	assert_int_equal(
		vms_space_read_string(f->s, BASE + P - 1000, buf, sizeof(buf), NULL, &done),
		VMS_FAULT_OK);
	assert_int_equal(done, 2000);
	assert_int_equal(strlen(buf), 1999);
	/* Nothing behind the NUL is touched. */
	memset(buf, '#', sizeof(buf));
	assert_int_equal(vms_space_read_string(f->s, BASE + P + 997, buf, sizeof(buf), NULL, &done),
			 VMS_FAULT_OK);
	assert_int_equal(done, 3);
	assert_memory_equal(buf, "xx\0#", 4);
	/* No NUL in so many bytes. */
	assert_int_equal(vms_space_read_string(f->s, BASE + P, buf, 10, NULL, &done), VMS_FAULT_OK);
	assert_int_equal(done, 10);
	assert_int_equal(vms_space_read_string(f->s, BASE + P, buf, 0, NULL, &done), VMS_FAULT_OK);
	assert_int_equal(done, 0);
	/* A NUL right before a hole, and none. */
	assert_int_equal(set(f, BASE + 2 * P - 3, "ab", 3, &done), VMS_FAULT_OK);
	assert_int_equal(vms_space_read_string(f->s, BASE + 2 * P - 3, buf, 100, NULL, &done),
			 VMS_FAULT_OK);
	assert_int_equal(done, 3);
	assert_int_equal(set(f, BASE + 2 * P - 1, "c", 1, &done), VMS_FAULT_OK);
	assert_int_equal(vms_space_read_string(f->s, BASE + 2 * P - 3, buf, 100, NULL, &done),
			 VMS_FAULT_NOT_MAPPED);
	assert_int_equal(done, 3);
	assert_memory_equal(buf, "abc", 3);
}

/* ---- Pagers ---- */

/* The whole absent run is asked for at once, and what was there before it is copied. */
static void asks_for_the_run(void **state)
{
	struct fixture *f = *state;
	unsigned char *buf = malloc(8 * P);
	struct vms_wait wait;
	size_t done;

	vms_wait_init(&wait);
	f->obj = paged(f->arena, &f->script, 1, 0, 8);
	supply(&f->script, f->obj, 1, 0, 2);
	supply(&f->script, f->obj, 1, 6, 1);
	map(f, f->obj, BASE, 0, 8 * P, RW);
	assert_int_equal(vms_space_read(f->s, BASE + P, buf, 6 * P, &wait, &done), VMS_FAULT_WAIT);
	assert_int_equal(done, P);
	expect(&f->script, NOTE_READ, 2, 4);
	assert_int_equal(vms_space_write(f->s, BASE + P, buf, 6 * P, &wait, &done), VMS_FAULT_WAIT);
	assert_int_equal(done, P);
	expect(&f->script, NOTE_CANCEL_READ, 2, 4);
	expect(&f->script, NOTE_READ, 2, 4);
	supply(&f->script, f->obj, 1, 2, 4);
	assert_ok(vms_wait_block(&wait, 0));
	memset(buf, 'w', 6 * P);
	assert_int_equal(vms_space_write(f->s, BASE + P, buf, 6 * P, &wait, &done), VMS_FAULT_OK);
	assert_int_equal(done, 6 * P);
	assert_int_equal(vms_pager_modified(f->script.pager, f->obj, 0), 1);
	vms_object_unref(f->obj);
	f->obj = NULL;
	unmap(f, BASE, 8 * P);
	expect_complete(&f->script, 1);
	free(buf);
}

/* ---- Files ---- */

static int file_object(struct fixture *f, uint64_t npages)
{
	struct vms_object_params params = { .size = sizeof(params) };
	int fd = memfd_create("bytes", MFD_CLOEXEC);

	assert_ok(ftruncate(fd, (off_t)(npages * P)));
	assert_ok(vms_object_create_file(f->arena, fd, &params, &f->obj));
	return fd;
}

/* What an overlay has not written it reads where the file has it, and takes no memory for it. */
static void over_a_file(void **state)
{
	struct fixture *f = *state;
	int fd = file_object(f, 8);
	char buf[16] = "";
	uint64_t value;
	size_t done;

	assert_int_equal(pwrite(fd, "from the file", 14, 3 * P), 14);
	overlay_of(f);
	map(f, f->obj, BASE, 0, 4 * P, RW);
	assert_int_equal(get(f, BASE + 3 * P, buf, 14, &done), VMS_FAULT_OK);
	assert_string_equal(buf, "from the file");
	assert_int_equal(vms_space_load(f->s, BASE + 3 * P, 1, &value, NULL), VMS_FAULT_OK);
	assert_int_equal(value, 'f');
	assert_false(content_see(view_of(f->obj)->content, 3).frame);
	assert_int_equal(vms_space_store(f->s, BASE + 3 * P + 8, 1, 'F', NULL), VMS_FAULT_OK);
	assert_true(content_see(view_of(f->obj)->content, 3).frame);
	assert_int_equal(vms_space_read_string(f->s, BASE + 3 * P + 5, buf, 16, NULL, &done),
			 VMS_FAULT_OK);
	assert_string_equal(buf, "theFfile");
	assert_int_equal(pread(fd, buf, 14, 3 * P), 14);
	assert_string_equal(buf, "from the file");
	/* Somebody cuts the file off. */
	assert_ok(ftruncate(fd, 2 * P));
	assert_int_equal(get(f, BASE + P, buf, 1, &done), VMS_FAULT_OK);
	assert_int_equal(get(f, BASE + 2 * P, buf, 1, &done), VMS_FAULT_IO);
	assert_int_equal(get(f, BASE + 3 * P, buf, 1, &done), VMS_FAULT_OK);
	close(fd);
}

/* ---- At the same time ---- */

struct race {
	struct fixture *f;
	atomic_bool stop;
	unsigned char seen; /* a half-written page */
	uint64_t done, refused;
};

/* Whole pages of one byte, again and again. */
static void *writer(void *arg)
{
	struct race *r = arg;
	unsigned char buf[4096];

	for (unsigned char i = 1; !atomic_load(&r->stop); i = (unsigned char)(i + 1)) {
		memset(buf, i, P);
		if (set(r->f, BASE, buf, P, NULL) == VMS_FAULT_OK)
			r->done++;
		else
			r->refused++;
	}
	return NULL;
}

/* A snapshot never has half of a write. */
static void beside_snapshots(void **state)
{
	struct fixture *f = *state;
	struct race r = { .f = f };
	unsigned char buf[4096];
	pthread_t thread;

	f->obj = anon(f->arena, 4);
	map(f, f->obj, BASE, 0, 4 * P, RW);
	assert_ok(pthread_create(&thread, NULL, writer, &r));
	for (unsigned i = 0; i < 2000; i++) {
		struct vms_object *copy = child(f->obj, VMS_CHILD_SNAPSHOT, 4);

		assert_ok(vms_object_read(copy, 0, buf, P, NULL));
		for (unsigned k = 1; k < P; k++)
			assert_int_equal(buf[k], buf[0]);
		vms_object_unref(copy);
	}
	atomic_store(&r.stop, true);
	pthread_join(thread, NULL);
	assert_true(r.done > 0);
	assert_int_equal(r.refused, 0);
}

/* What an unmap has taken away is written by nobody after it has returned. */
static void beside_edits(void **state)
{
	struct fixture *f = *state;
	struct race r = { .f = f };
	unsigned char before[4096], after[4096];
	pthread_t thread;

	f->obj = anon(f->arena, 4);
	assert_ok(pthread_create(&thread, NULL, writer, &r));
	for (unsigned i = 0; i < 1000; i++) {
		map(f, f->obj, BASE, 0, 4 * P, RW);
		assert_ok(vms_object_read(f->obj, 0, before, P, NULL));
		unmap(f, BASE, 4 * P);
		assert_ok(vms_object_read(f->obj, 0, before, P, NULL));
		for (unsigned k = 0; k < 10; k++) {
			assert_ok(vms_object_read(f->obj, 0, after, P, NULL));
			assert_memory_equal(before, after, P);
		}
	}
	atomic_store(&r.stop, true);
	pthread_join(thread, NULL);
	assert_true(r.done + r.refused > 0);
}

#define COUNTERS 20000u

static void *counter_thread(void *arg)
{
	struct fixture *f = arg;
	uint64_t old = 0;
	int swapped;

	for (unsigned i = 0; i < COUNTERS; i++)
		do
			assert_int_equal(
				vms_space_cas(f->s, BASE + 8, 8, &old, old + 1, &swapped, NULL),
				VMS_FAULT_OK);
		while (!swapped);
	return NULL;
}

/* No store is lost beside snapshots that make the page be copied. */
static void counts_are_exact(void **state)
{
	struct fixture *f = *state;
	pthread_t thread[2];
	uint64_t value, last = 0;

	make_zero(f);
	map(f, f->obj, BASE, 0, 4 * P, RW);
	for (unsigned i = 0; i < 2; i++)
		assert_ok(pthread_create(&thread[i], NULL, counter_thread, f));
	for (unsigned i = 0; i < 500; i++) {
		struct vms_object *copy = child(f->obj, VMS_CHILD_SNAPSHOT, 4);

		assert_ok(vms_object_read(copy, 8, &value, 8, NULL));
		assert_true(value >= last);
		last = value;
		vms_object_unref(copy);
	}
	for (unsigned i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(vms_space_load(f->s, BASE + 8, 8, &value, NULL), VMS_FAULT_OK);
	assert_int_equal(value, 2 * COUNTERS);
}

/* ---- Each allocation refused once ---- */

static bool refuse(struct fixture *f, const struct state *st, uint64_t n)
{
	unsigned char buf[4096], want[4096];
	enum vms_fault_result r;
	struct vms_wait wait;
	bool failed;
	size_t done;

	vms_wait_init(&wait);
	memset(f->host, 'h', 4 * P);
	st->make(f);
	map(f, f->obj, BASE, 0, 4 * P, RW);
	wanted(st, want);
	memset(buf, 'W', 100);
	test_world_fail(&f->world, n, 1u << CALL_ALLOC, ENOMEM);
	r = set(f, BASE, buf, 100, &done);
	failed = f->world.failed > 0;
	test_world_fail(&f->world, 0, 0, 0);
	assert_true(r == VMS_FAULT_OK || (failed && r == VMS_FAULT_NO_MEMORY));
	assert_int_equal(done, r == VMS_FAULT_OK ? 100 : 0);
	if (r == VMS_FAULT_OK)
		memset(want, 'W', 100);
	assert_int_equal(get(f, BASE, buf, P, NULL), VMS_FAULT_OK);
	assert_memory_equal(buf, want, P);
	assert_ok(vms_space_check(f->s));
	unmake(f, st, &wait);
	return failed;
}

static void refused(void **state)
{
	unsigned refusals = 0;

	for (size_t i = 0; i < countof(states); i++)
		for (uint64_t n = 1; !states[i].write && refuse(*state, &states[i], n); n++)
			refusals++;
	assert_true(refusals >= 5);
}

#define test(name)    cmocka_unit_test_setup_teardown(name, begin, end)
#define threads(name) cmocka_unit_test_setup_teardown(name, begin_threads, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(each_state_read),	   test(each_state_written),
		test(each_state_stored),   test(words_are_aligned),
		test(across_mappings),	   test(to_the_objects_end),
		test(to_the_last_address), test(strings),
		test(asks_for_the_run),	   test(over_a_file),
		threads(beside_snapshots), threads(beside_edits),
		threads(counts_are_exact), test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
