// SPDX-License-Identifier: MIT
/* pager_file.c: the stock pager over a file, against the file itself. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "object/content.h"
#include "pager_script.h"
#include "world.h"

#define PAGES 200
#define TAIL  1000 /* bytes of the last page, PAGES - 1, that the file has */
#define BYTES ((PAGES - 1) * P + TAIL)

static struct test_world tw;
static struct vms_arena *arena;
static struct vms_pager *pager;
static unsigned char *model; /* of what the object reads as: 2 * PAGES pages */
static int fd;

static int begin(void **state)
{
	test_world_begin(&tw);
	arena = arena_of(0);
	fd = memfd_create("pager", MFD_CLOEXEC);
	assert_true(fd >= 0);
	model = calloc(2 * PAGES, P);
	fill_pages(model, 1, 0, PAGES);
	memset(model + BYTES, 0, P - TAIL);
	assert_int_equal(pwrite(fd, model, BYTES, 0), BYTES);
	assert_ok(vms_pager_file(fd, &pager));
	return 0;
}

static int end(void **state)
{
	struct vms_arena_info info = { .size = sizeof(info) };

	vms_pager_close(pager);
	vms_arena_info(arena, &info);
	assert_int_equal(info.granted, 0);
	vms_arena_unref(arena);
	close(fd);
	free(model);
	test_world_end(&tw);
	return 0;
}

static struct vms_object *file_object(struct vms_arena *a, uint64_t key, uint32_t flags,
				      uint64_t bytes)
{
	struct vms_object_params params = { .size = sizeof(params),
					    .flags = flags,
					    .bytes = bytes };
	struct vms_object *obj;

	assert_ok(vms_object_create_paged(a, pager, key, &params, &obj));
	return obj;
}

static void reads_as(struct vms_object *obj, const unsigned char *want, uint64_t bytes)
{
	unsigned char *buf = malloc(bytes);

	assert_ok(vms_object_read(obj, 0, buf, bytes, NULL)); /* no wait is ever needed */
	assert_memory_equal(buf, want, bytes);
	free(buf);
	assert_sound(obj);
}

static uint64_t file_bytes(void)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (uint64_t)st.st_size;
}

static void file_is(const unsigned char *want, uint64_t bytes)
{
	unsigned char *buf = malloc(bytes);

	assert_int_equal(file_bytes(), bytes);
	assert_int_equal(pread(fd, buf, bytes, 0), bytes);
	assert_memory_equal(buf, want, bytes);
	free(buf);
}

static void write_both(struct vms_object *obj, uint64_t off, uint64_t len, unsigned seed)
{
	for (uint64_t i = 0; i < len; i++)
		model[off + i] = (unsigned char)(seed * 31 + i * 7 + 1);
	assert_ok(vms_object_write(obj, off, model + off, len, NULL));
}

static unsigned dirty_pages(struct vms_object *obj)
{
	struct vms_object_info info = { .size = sizeof(info) };
	struct vms_dirty_range r[64];
	unsigned pages = 0;
	size_t n = 64;
	int more;

	assert_ok(vms_object_info(obj, &info));
	assert_ok(vms_pager_query_dirty(pager, obj, 0, info.bytes, r, &n, &more));
	assert_false(more);
	for (size_t i = 0; i < n; i++)
		pages += (unsigned)(r[i].len / P);
	return pages;
}

static uint64_t granted(void)
{
	struct vms_arena_info info = { .size = sizeof(info) };

	vms_arena_info(arena, &info);
	return info.granted / P;
}

static void reads_the_file(void **state)
{
	struct vms_object *obj = file_object(arena, 0, 0, 2 * PAGES * P);
	struct vms_object *part = file_object(arena, 3 * P, 0, 4 * P);
	unsigned char b;

	reads_as(part, model + 3 * P, 4 * P);
	assert_int_equal(granted(), 4);
	reads_as(obj, model, 2 * PAGES * P);
	assert_int_equal(granted(), PAGES + 4); /* nothing for what is past the file's end */
	assert_int_equal(dirty_pages(obj), 0);
	vms_object_unref(part);
	vms_object_unref(obj);
	obj = file_object(arena, (uint64_t)-P, 0, 2 * P); /* past all files */
	assert_ok(vms_object_read(obj, P, &b, 1, NULL));
	assert_int_equal(b, 0);
	vms_object_unref(obj);
}

static void syncs(void **state)
{
	struct vms_object *obj = file_object(arena, 0, 0, BYTES);

	write_both(obj, 5, 10, 1);
	write_both(obj, 40 * P + 100, 100 * P, 2);
	write_both(obj, BYTES - 20, 20, 3);
	assert_int_equal(dirty_pages(obj), 103);
	assert_ok(vms_pager_file_sync(obj));
	assert_int_equal(dirty_pages(obj), 0);
	file_is(model, BYTES);
	assert_ok(vms_pager_file_sync(obj));
	/* Dropped and read again. */
	assert_ok(vms_arena_reclaim(arena, UINT64_MAX, &(uint64_t){ 0 }));
	assert_int_equal(granted(), 0);
	reads_as(obj, model, BYTES);
	vms_object_unref(obj);
}

/* A first write is answered inside, too. */
static void syncs_trapped(void **state)
{
	struct vms_object *obj = file_object(arena, 0, VMS_OBJECT_TRAP_DIRTY, BYTES);

	write_both(obj, 7 * P, 3 * P, 1);
	assert_int_equal(dirty_pages(obj), 3);
	assert_ok(vms_pager_file_sync(obj));
	assert_int_equal(dirty_pages(obj), 0);
	write_both(obj, 8 * P, P, 2);
	assert_ok(vms_pager_file_sync(obj));
	file_is(model, BYTES);
	vms_object_unref(obj);
}

static void grows(void **state)
{
	struct vms_object *obj = file_object(arena, 0, VMS_OBJECT_RESIZABLE, BYTES);

	assert_ok(vms_object_resize(obj, 300 * P + 10, NULL));
	reads_as(obj, model, 301 * P);
	write_both(obj, 250 * P, 3 * P, 1);
	assert_ok(vms_pager_file_sync(obj));
	file_is(model, 300 * P + 10);
	assert_int_equal(dirty_pages(obj), 0);
	/* Zeros in the middle are written. */
	assert_ok(vms_object_op(obj, VMS_OBJECT_ZERO, 10 * P, 100 * P, NULL));
	memset(model + 10 * P, 0, 100 * P);
	assert_ok(vms_pager_file_sync(obj));
	file_is(model, 300 * P + 10);
	reads_as(obj, model, 301 * P);
	vms_object_unref(obj);
}

/* What the file has past the stream is nobody's to change, and what is not written stays dirty. */
static void keeps_past_the_stream(void **state)
{
	struct vms_object *obj = file_object(arena, 0, 0, BYTES);
	unsigned char *file = malloc(BYTES);

	memcpy(file, model, BYTES);
	assert_ok(vms_object_set_stream_size(obj, 50 * P + 100, NULL));
	memset(model + 50 * P + 100, 0, P - 100);
	write_both(obj, 49 * P, 3 * P, 1);
	memcpy(file + 49 * P, model + 49 * P, P + 100);
	assert_ok(vms_pager_file_sync(obj));
	file_is(file, BYTES);
	assert_true(dirty_pages(obj) >= 2);
	assert_ok(vms_arena_reclaim(arena, UINT64_MAX, &(uint64_t){ 0 }));
	reads_as(obj, model, 52 * P);
	vms_object_unref(obj);
	free(file);
}

static void evicts_and_reads_again(void **state)
{
	struct vms_arena *small = arena_of(70);
	struct vms_object *obj = file_object(small, 0, 0, BYTES);

	reads_as(obj, model, BYTES); /* more than the arena holds */
	for (unsigned i = 0; i < 3; i++)
		write_both(obj, (i * 60 + 3) * P + i, 2 * P, i);
	reads_as(obj, model, BYTES);
	assert_ok(vms_pager_file_sync(obj));
	file_is(model, BYTES);
	reads_as(obj, model, BYTES);
	vms_object_unref(obj);
	vms_arena_unref(small);
}

static void after_close(void **state)
{
	struct vms_object *obj = file_object(arena, 0, 0, BYTES);
	unsigned char b;

	write_both(obj, 5 * P, P, 1);
	vms_pager_close(pager);
	pager = NULL;
	assert_int_equal(vms_object_read(obj, 0, &b, 1, NULL), -EBUSY);
	assert_ok(vms_object_read(obj, 5 * P, &b, 1, NULL));
	assert_ok(vms_pager_file_sync(obj)); /* nothing is lost */
	file_is(model, BYTES);
	vms_object_unref(obj);
}

static void overlays_ask_too(void **state)
{
	struct vms_object *obj = file_object(arena, 0, 0, BYTES), *child, *again;
	struct vms_object_params params = { .size = sizeof(params), .bytes = 20 * P };

	assert_ok(vms_object_child(obj, VMS_CHILD_SNAPSHOT_LAZY, 5 * P, &params, &child));
	vms_object_unref(obj);
	reads_as(child, model + 5 * P, 20 * P);
	memset(model + 6 * P, 7, 100);
	assert_ok(vms_object_write(child, P, model + 6 * P, 100, NULL));
	reads_as(child, model + 5 * P, 20 * P);
	assert_ok(vms_object_child(child, VMS_CHILD_SNAPSHOT_LAZY, 0, &params, &again));
	vms_object_unref(child);
	reads_as(again, model + 5 * P, 20 * P);
	vms_object_unref(again);
}

/* Errors of the host reach whoever reads, and a failed sync leaves dirt. */
static void host_errors(void **state)
{
	struct vms_object *obj = file_object(arena, 0, 0, BYTES);
	unsigned char buf[P];

	test_world_fail(&tw, 1, 1u << CALL_PREAD, EIO);
	assert_int_equal(vms_object_read(obj, 0, buf, P, NULL), -EIO);
	test_world_fail(&tw, 1, 1u << CALL_PREAD, EINTR);
	assert_ok(vms_object_read(obj, 0, buf, P, NULL));
	assert_memory_equal(buf, model, P);
	write_both(obj, 5 * P, P, 1);
	write_both(obj, 90 * P, P, 1);
	test_world_fail(&tw, 2, 1u << CALL_PWRITE, ENOSPC);
	assert_int_equal(vms_pager_file_sync(obj), -ENOSPC);
	assert_int_equal(dirty_pages(obj), 1);
	test_world_fail(&tw, 1, 1u << CALL_PWRITE, EINTR);
	assert_ok(vms_pager_file_sync(obj));
	test_world_fail(&tw, 0, 0, 0);
	assert_int_equal(dirty_pages(obj), 0);
	file_is(model, BYTES);
	vms_object_unref(obj);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reads_the_file),	     TEST(syncs),
		TEST(syncs_trapped),	     TEST(grows),
		TEST(keeps_past_the_stream), TEST(evicts_and_reads_again),
		TEST(after_close),	     TEST(overlays_ask_too),
		TEST(host_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
