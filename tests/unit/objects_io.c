// SPDX-License-Identifier: MIT
/*
 * What callers do with the bytes and the pages of objects, through the public calls: read, write,
 * the six operations, both sizes, pins, look-up, transfer. The errors of each call in the order of
 * its list, and each call with its allocations refused.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "objects_kit.h"

#include "files.h"

/* ---- Bytes ---- */

static void bytes_come_back(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 64 * P, 0);

	is(a, 0, 64 * P, 0);
	assert_int_equal(granted(f->arena), 0);
	put(a, 100, 50, 'a');
	is(a, 0, 100, 0);
	is(a, 100, 50, 'a');
	is(a, 150, P, 0);
	assert_int_equal(granted(f->arena), 1);
	put(a, P - 1, 3 * P + 2, 'b');
	is(a, 100, 50, 'a');
	is(a, P - 1, 3 * P + 2, 'b');
	is(a, 4 * P + 1, P, 0);
	assert_int_equal(granted(f->arena), 5);
	assert_ok(vms_object_read(a, 64 * P, NULL, 0, NULL));
	assert_ok(vms_object_write(a, 64 * P, NULL, 0, NULL));
	sound(a);
	vms_object_unref(a);
}

static void bytes_out_of_range_are_refused(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 2 * P, VMS_OBJECT_NO_WRITE);
	char c = 0;

	assert_int_equal(vms_object_read(a, 2 * P, &c, 1, NULL), -ERANGE);
	assert_int_equal(vms_object_read(a, UINT64_MAX, &c, 2, NULL), -ERANGE);
	assert_int_equal(vms_object_write(a, 2 * P, &c, 1, NULL), -ERANGE);
	assert_int_equal(vms_object_write(a, 2 * P - 1, &c, 1, NULL), -EACCES);
	assert_ok(vms_object_read(a, 2 * P - 1, &c, 1, NULL));
	vms_object_unref(a);
}

static void snapshots_keep_their_bytes(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 200 * P, 0), *b, *c;

	put(a, 0, 200 * P, 'a');
	b = child(a, VMS_CHILD_SNAPSHOT, 10 * P, 100 * P, 0);
	assert_int_equal(granted(f->arena), 200);
	put(a, 10 * P + 5, 10, 'x');
	assert_int_equal(granted(f->arena), 201);
	put(b, 100, 2 * P, 'y');
	is(a, 10 * P, 5, 'a');
	is(a, 10 * P + 5, 10, 'x');
	is(a, 10 * P + 15, 50 * P, 'a');
	is(b, 0, 100, 'a');
	is(b, 100, 2 * P, 'y');
	is(b, 2 * P + 100, 97 * P, 'a');
	c = child(b, VMS_CHILD_SNAPSHOT, 0, 120 * P, 0);
	is(c, 100 * P, 20 * P, 0);
	put(c, 0, 120 * P, 'z');
	is(b, 100, 2 * P, 'y');
	sound(a);
	vms_object_unref(a);
	is(b, 2 * P + 100, 97 * P, 'a');
	sound(b);
	vms_object_unref(b);
	is(c, 0, 120 * P, 'z');
	vms_object_unref(c);
}

static void a_last_holder_writes_in_place(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, P, 0), *b;

	put(a, 0, P, 'a');
	b = child(a, VMS_CHILD_SNAPSHOT, 0, P, 0);
	put(a, 0, 1, 'b');
	assert_int_equal(granted(f->arena), 2);
	put(b, 0, 1, 'c');
	assert_int_equal(granted(f->arena), 2);
	vms_object_unref(a);
	put(b, 0, 1, 'd');
	assert_int_equal(granted(f->arena), 1);
	vms_object_unref(b);
}

static void host_memory_is_itself(void **state)
{
	struct vms_object_params params = { .size = sizeof(params), .bytes = 4 * P };
	char *hva = mmap(NULL, 4 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vms_object *a, *s;
	void *at;

	assert_ok(vms_object_create_host(hva, &params, &a));
	put(a, P, 2 * P, 'h');
	assert_int_equal(hva[P], 'h');
	s = child(a, VMS_CHILD_SLICE, P, 2 * P, 0);
	is(s, 0, 2 * P, 'h');
	assert_ok(vms_object_op(s, VMS_OBJECT_ZERO, 1, P, NULL));
	assert_int_equal(hva[P], 'h');
	assert_int_equal(hva[P + 1], 0);
	assert_ok(vms_object_contiguous(s, P, P, &at));
	assert_ptr_equal(at, hva + 2 * P);
	assert_ok(vms_object_pin(a, 0, P, 1, NULL));
	assert_ok(vms_object_unpin(a, 0, P));
	assert_int_equal(vms_object_op(a, VMS_OBJECT_DECOMMIT, 0, P, NULL), -ENOTSUP);
	vms_object_unref(s);
	vms_object_unref(a);
	munmap(hva, 4 * P);
}

static struct vms_object *file_object(struct vms_arena *arena, int fd, uint64_t bytes)
{
	struct vms_object_params params = { .size = sizeof(params), .bytes = bytes };
	struct vms_object *obj = NULL;

	assert_ok(vms_object_create_file(arena, fd, &params, &obj));
	return obj;
}

static void a_file_is_read_and_written(void **state)
{
	struct fixture *f = *state;
	int fd = file_of(3 * P + 100, 'f');
	struct vms_object *a = file_object(f->arena, fd, 0);
	char c = 0;

	is(a, 0, 3 * P + 100, 'f');
	is(a, 3 * P + 100, P - 100, 0);
	put(a, P, P, 'g');
	assert_int_equal(pread(fd, &c, 1, (off_t)P), 1);
	assert_int_equal(c, 'g');
	assert_ok(vms_object_op(a, VMS_OBJECT_ZERO, P + 1, P, NULL));
	is(a, P, 1, 'g');
	is(a, P + 1, P, 0);
	assert_int_equal(vms_object_pin(a, 0, P, 0, NULL), -ENOTSUP);
	assert_int_equal(vms_object_set_stream_size(a, 5, NULL), -ENOTSUP);
	assert_ok(ftruncate(fd, (off_t)(2 * P)));
	is(a, 0, P, 'f');
	assert_int_equal(vms_object_read(a, 2 * P - 1, &c, 1, NULL), 0);
	assert_int_equal(vms_object_read(a, 2 * P, &c, 1, NULL), -EIO);
	assert_int_equal(vms_object_write(a, 2 * P, &c, 1, NULL), -EIO);
	assert_int_equal(vms_object_op(a, VMS_OBJECT_ZERO, 2 * P, 1, NULL), -EIO);
	assert_ok(vms_object_op(a, VMS_OBJECT_ZERO, P, P, NULL));
	is(a, P, P, 0);
	vms_object_unref(a);
	close(fd);
}

static void an_overlay_hides_a_file(void **state)
{
	struct fixture *f = *state;
	int fd = file_of(100 * P, 'f');
	struct vms_object *a = file_object(f->arena, fd, 0);
	struct vms_object *b = child(a, VMS_CHILD_SNAPSHOT_LAZY, P, 120 * P, 0), *c;

	is(b, 0, 99 * P, 'f');
	is(b, 99 * P, 21 * P, 0);
	assert_int_equal(granted(f->arena), 0);
	put(b, 5, 10, 'b');	    /* a part: the rest comes from the file */
	put(b, 10 * P, 5 * P, 'w'); /* whole: nothing does */
	assert_int_equal(granted(f->arena), 6);
	is(b, 0, 5, 'f');
	is(b, 5, 10, 'b');
	is(b, 15, P, 'f');
	is(b, 9 * P, P, 'f');
	is(b, 10 * P, 5 * P, 'w');
	is(a, 0, 100 * P, 'f');
	assert_ok(vms_object_op(b, VMS_OBJECT_ZERO, 20 * P + 1, 40 * P, NULL));
	is(b, 20 * P, 1, 'f');
	is(b, 20 * P + 1, 40 * P, 0);
	is(b, 60 * P + 1, P, 'f');
	assert_ok(vms_object_op(b, VMS_OBJECT_COMMIT, 0, 120 * P, NULL));
	assert_int_equal(granted(f->arena), 120);
	put(a, 90 * P, P, 'n');
	is(b, 89 * P, P, 'f');
	c = child(b, VMS_CHILD_SNAPSHOT_LAZY, 0, 120 * P, 0);
	put(c, 0, 1, 'c');
	is(b, 0, 5, 'f');
	sound(b);
	vms_object_unref(c);
	vms_object_unref(b);
	vms_object_unref(a);
	close(fd);
}

static void an_overlay_of_a_shorter_file_is_an_error(void **state)
{
	struct fixture *f = *state;
	int fd = file_of(4 * P, 'f');
	struct vms_object *a = file_object(f->arena, fd, 0);
	struct vms_object *b = child(a, VMS_CHILD_SNAPSHOT_LAZY, 0, 4 * P, 0);
	char c = 'x';

	assert_ok(ftruncate(fd, (off_t)(2 * P)));
	assert_int_equal(vms_object_read(b, 3 * P, &c, 1, NULL), -EIO);
	assert_int_equal(vms_object_write(b, 3 * P, &c, 1, NULL), -EIO);
	assert_int_equal(granted(f->arena), 0);
	assert_ok(vms_object_write(b, 0, &c, 1, NULL));
	is(b, 1, 2 * P - 1, 'f');
	vms_object_unref(b);
	vms_object_unref(a);
	close(fd);
}

/* ---- Operations ---- */

static void zero_gives_pages_back(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 300 * P, 0), *b;

	put(a, 0, 300 * P, 'a');
	assert_ok(vms_object_op(a, VMS_OBJECT_ZERO, 1, 100 * P, NULL));
	assert_int_equal(granted(f->arena), 201);
	is(a, 0, 1, 'a');
	is(a, 1, 100 * P, 0);
	is(a, 100 * P + 1, 100 * P, 'a');
	b = child(a, VMS_CHILD_SNAPSHOT, 0, 300 * P, 0);
	assert_ok(vms_object_op(a, VMS_OBJECT_ZERO, 150 * P, 150 * P, NULL));
	is(a, 150 * P, 150 * P, 0);
	is(b, 150 * P, 150 * P, 'a');
	/* Both ends in one page; a part that reads zero already costs nothing. */
	assert_ok(vms_object_op(b, VMS_OBJECT_ZERO, 200 * P + 8, 8, NULL));
	is(b, 200 * P, 8, 'a');
	is(b, 200 * P + 8, 8, 0);
	is(b, 200 * P + 16, P, 'a');
	assert_int_equal(granted(f->arena), 201);
	assert_ok(vms_object_op(b, VMS_OBJECT_ZERO, 2 * P + 8, 8, NULL));
	assert_int_equal(granted(f->arena), 201);
	assert_ok(vms_object_op(b, VMS_OBJECT_ZERO, 300 * P, 0, NULL));
	sound(a);
	vms_object_unref(b);
	vms_object_unref(a);
}

static void pinned_pages_are_zeroed_in_place(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 300 * P, 0);
	void *before, *after;

	put(a, 0, 300 * P, 'a');
	assert_ok(vms_object_pin(a, 150 * P, 2 * P, 0, NULL));
	assert_ok(vms_object_contiguous(a, 150 * P, P, &before));
	assert_ok(vms_object_op(a, VMS_OBJECT_ZERO, P, 298 * P, NULL));
	is(a, P, 298 * P, 0);
	is(a, 299 * P, P, 'a');
	assert_ok(vms_object_contiguous(a, 150 * P, P, &after));
	assert_ptr_equal(before, after);
	assert_int_equal(granted(f->arena), 4);
	sound(a);
	assert_int_equal(vms_object_op(a, VMS_OBJECT_DECOMMIT, 0, 300 * P, NULL), -EBUSY);
	assert_ok(vms_object_unpin(a, 150 * P, 2 * P));
	assert_ok(vms_object_op(a, VMS_OBJECT_DECOMMIT, 0, 300 * P, NULL));
	assert_int_equal(granted(f->arena), 0);
	vms_object_unref(a);
}

static void a_contiguous_object_keeps_its_pages(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 20 * P, VMS_OBJECT_CONTIGUOUS);
	void *before, *after;

	assert_ok(vms_object_contiguous(a, 0, 20 * P, &before));
	put(a, 0, 20 * P, 'c');
	assert_ok(vms_object_op(a, VMS_OBJECT_ZERO, 3, 19 * P, NULL));
	is(a, 0, 3, 'c');
	is(a, 3, 19 * P, 0);
	is(a, 19 * P + 3, P - 3, 'c');
	assert_int_equal(vms_object_op(a, VMS_OBJECT_DECOMMIT, 0, P, NULL), -ENOTSUP);
	assert_ok(vms_object_contiguous(a, 0, 20 * P, &after));
	assert_ptr_equal(before, after);
	sound(a);
	vms_object_unref(a);
}

static void operations_are_refused_in_order(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 4 * P, VMS_OBJECT_NO_WRITE);
	struct vms_object *b = anon(f->arena, 4 * P, 0), *c;

	assert_int_equal(vms_object_op(a, 0, 9 * P, 1, NULL), -EINVAL);
	assert_int_equal(vms_object_op(a, 7, 9 * P, 1, NULL), -EINVAL);
	assert_int_equal(vms_object_op(a, VMS_OBJECT_DECOMMIT, 9 * P + 1, P, NULL), -EINVAL);
	assert_int_equal(vms_object_op(a, VMS_OBJECT_DECOMMIT, 4 * P, P, NULL), -ERANGE);
	assert_int_equal(vms_object_op(a, VMS_OBJECT_ZERO, 4 * P, 1, NULL), -ERANGE);
	assert_int_equal(vms_object_op(a, VMS_OBJECT_ZERO, 0, 1, NULL), -EACCES);
	assert_int_equal(vms_object_op(a, VMS_OBJECT_PREFETCH, UINT64_MAX, 2, NULL), -ERANGE);
	assert_int_equal(vms_object_op(a, VMS_OBJECT_COMMIT, 4 * P + 1, 0, NULL), -ERANGE);
	assert_int_equal(vms_object_op(a, VMS_OBJECT_COMMIT, UINT64_MAX, 2, NULL), -ERANGE);
	assert_int_equal(vms_object_op(a, VMS_OBJECT_DONT_NEED, 0, 5 * P, NULL), -ERANGE);
	assert_ok(vms_object_op(a, VMS_OBJECT_DONT_NEED, 0, 4 * P, NULL));
	assert_ok(vms_object_op(a, VMS_OBJECT_ALWAYS_NEED, 0, 4 * P, NULL));
	c = child(b, VMS_CHILD_SNAPSHOT, 0, 4 * P, 0);
	assert_int_equal(vms_object_op(b, VMS_OBJECT_DECOMMIT, 0, P, NULL), -ENOTSUP);
	assert_int_equal(vms_object_op(c, VMS_OBJECT_DECOMMIT, 0, P, NULL), -ENOTSUP);
	vms_object_unref(c);
	c = child(b, VMS_CHILD_SLICE, P, 2 * P, 0);
	put(b, 0, 4 * P, 'b');
	assert_int_equal(vms_object_op(c, VMS_OBJECT_DECOMMIT, P, 2 * P, NULL), -ERANGE);
	assert_ok(vms_object_op(c, VMS_OBJECT_DECOMMIT, P, P, NULL));
	is(b, 2 * P, P, 0);
	assert_int_equal(granted(f->arena), 3);
	vms_object_unref(c);
	vms_object_unref(b);
	vms_object_unref(a);
}

static void commit_makes_pages_and_is_trimmed(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 1000 * P, 0), *b;

	assert_ok(vms_object_op(a, VMS_OBJECT_COMMIT, 10 * P - 1, 2, NULL));
	assert_int_equal(granted(f->arena), 2);
	assert_ok(vms_object_op(a, VMS_OBJECT_COMMIT, 0, 5000 * P, NULL));
	assert_int_equal(granted(f->arena), 1000);
	b = child(a, VMS_CHILD_SNAPSHOT, 0, 1000 * P, 0);
	assert_ok(vms_object_op(b, VMS_OBJECT_PREFETCH, 0, 1000 * P, NULL));
	assert_int_equal(granted(f->arena), 1000);
	assert_ok(vms_object_op(b, VMS_OBJECT_COMMIT, 0, 10 * P, NULL));
	assert_int_equal(granted(f->arena), 1010);
	is(b, 0, 1000 * P, 0);
	sound(a);
	vms_object_unref(b);
	vms_object_unref(a);
}

static void a_limit_refuses_and_changes_nothing(void **state)
{
	struct vms_arena *arena = arena_of(10 * P);
	struct vms_object *a = anon(arena, 100 * P, 0), *d;
	char *buf = calloc(20, P);

	put(a, 0, 5 * P, 'a');
	assert_int_equal(vms_object_write(a, P, buf, 20 * P, NULL), -ENOMEM);
	is(a, 0, 5 * P, 'a');
	assert_int_equal(granted(arena), 5);
	assert_int_equal(vms_object_op(a, VMS_OBJECT_COMMIT, 0, 20 * P, NULL), -ENOMEM);
	sound(a);
	/* A discardable object makes room. */
	d = anon(arena, 5 * P, VMS_OBJECT_DISCARDABLE);
	put(d, 0, 5 * P, 'd');
	put(a, 5 * P, 5 * P, 'b');
	assert_int_equal(granted(arena), 10);
	assert_int_equal(vms_object_read(d, 0, buf, 1, NULL), -ENOENT);
	assert_int_equal(vms_object_write(d, 0, buf, 1, NULL), -ENOENT);
	assert_int_equal(vms_object_pin(d, 0, 1, 0, NULL), -ENOENT);
	assert_int_equal(vms_object_op(d, VMS_OBJECT_COMMIT, 0, 1, NULL), -ENOENT);
	assert_ok(vms_object_op(d, VMS_OBJECT_ZERO, 0, 1, NULL));
	vms_object_unref(d);
	vms_object_unref(a);
	vms_arena_unref(arena);
	free(buf);
}

struct told {
	uint64_t off[100], len[100];
	unsigned n;
	int stop;
	char *start;
};

static int tell(void *arg, uint64_t off, void *hva, uint64_t len)
{
	struct told *t = arg;

	t->off[t->n] = off;
	t->len[t->n++] = len;
	t->start = hva;
	return t->stop;
}

/* What is far more than there can be is refused before it costs anything. */
static void sizes_beyond_all_memory(void **state)
{
	struct fixture *f = *state;
	uint64_t huge = (UINT64_C(1) << 62) - P;
	struct vms_object *a = anon(f->arena, huge, VMS_OBJECT_RESIZABLE);
	struct vms_arena_info info = { .size = sizeof(info) };
	struct told t = { 0 };
	char c = 1;

	assert_int_equal(vms_object_pin(a, 0, huge, 1, NULL), -ENOMEM);
	assert_ok(vms_object_write(a, huge - 1, &c, 1, NULL));
	assert_ok(vms_object_write(a, 0, &c, 1, NULL));
	assert_int_equal(vms_object_pin(a, 0, huge, 1, NULL), -ENOMEM);
	assert_ok(vms_object_lookup(a, 0, huge, tell, &t));
	assert_int_equal(t.n, 2);
	assert_ok(vms_object_op(a, VMS_OBJECT_ZERO, 1, huge - 1, NULL));
	assert_ok(vms_object_op(a, VMS_OBJECT_DECOMMIT, 0, huge, NULL));
	assert_ok(vms_object_write(a, huge - 1, &c, 1, NULL));
	assert_ok(vms_object_transfer(a, 0, huge, a, 0, 0));
	is(a, huge - 1, 1, 1);
	assert_ok(vms_object_resize(a, 0, NULL));
	assert_ok(vms_object_resize(a, huge, NULL));
	is(a, huge - 1, 1, 0);
	assert_ok(vms_arena_info(f->arena, &info));
	assert_true(info.metadata < 1 << 20);
	sound(a);
	vms_object_unref(a);
}

/* ---- Sizes ---- */

static void sizes_follow(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 100 * P, VMS_OBJECT_RESIZABLE), *b;
	struct vms_object *fixed = anon(f->arena, P, 0);
	struct vms_object_info info = { .size = sizeof(info) };

	assert_int_equal(vms_object_resize(fixed, UINT64_MAX, NULL), -EPERM);
	assert_int_equal(vms_object_resize(a, UINT64_MAX, NULL), -ERANGE);
	put(a, 0, 100 * P, 'a');
	b = child(a, VMS_CHILD_SNAPSHOT, 0, 100 * P, 0);
	assert_ok(vms_object_resize(a, 50 * P + 10, NULL));
	assert_ok(vms_object_info(a, &info));
	assert_int_equal(info.bytes, 51 * P);
	assert_int_equal(info.stream_size, 50 * P + 10);
	is(a, 0, 50 * P + 10, 'a');
	is(a, 50 * P + 10, P - 10, 0);
	is(b, 0, 100 * P, 'a');
	assert_ok(vms_object_resize(a, 100 * P, NULL));
	is(a, 51 * P, 49 * P, 0);
	assert_ok(vms_object_pin(a, 60 * P, P, 0, NULL));
	assert_int_equal(vms_object_resize(a, 60 * P, NULL), -EBUSY);
	assert_ok(vms_object_resize(a, 61 * P, NULL));
	assert_ok(vms_object_unpin(a, 60 * P, P));
	assert_ok(vms_object_resize(a, 0, NULL));
	assert_ok(vms_object_resize(a, 3 * P, NULL));
	is(a, 0, 3 * P, 0);
	sound(a);
	vms_object_unref(fixed);
	vms_object_unref(b);
	vms_object_unref(a);
}

static void streams_end(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 3 * P, 0);
	struct vms_object_info info = { .size = sizeof(info) };

	put(a, 0, 3 * P, 'a');
	assert_int_equal(vms_object_set_stream_size(a, 3 * P + 1, NULL), -ERANGE);
	assert_ok(vms_object_set_stream_size(a, P + 7, NULL));
	is(a, 0, P + 7, 'a');
	is(a, P + 7, P - 7, 0);
	is(a, 2 * P, P, 'a');
	assert_ok(vms_object_set_stream_size(a, 3 * P, NULL));
	is(a, 0, P + 7, 'a');
	assert_ok(vms_object_info(a, &info));
	assert_int_equal(info.stream_size, 3 * P);
	vms_object_unref(a);
}

/* ---- Pins and places ---- */

static void pins_are_counted(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 4 * P, 0);
	struct vms_object_info info = { .size = sizeof(info) };

	assert_int_equal(vms_object_pin(a, 9 * P, 0, 0, NULL), -EINVAL);
	assert_int_equal(vms_object_pin(a, 4 * P, 1, 0, NULL), -ERANGE);
	assert_int_equal(vms_object_unpin(a, 9 * P, 0), -EINVAL);
	assert_int_equal(vms_object_unpin(a, 4 * P, 1), -ERANGE);
	assert_int_equal(vms_object_unpin(a, 0, 1), -EBUSY);
	for (unsigned i = 0; i < 65535; i++)
		assert_ok(vms_object_pin(a, P, 1, 0, NULL));
	assert_int_equal(vms_object_pin(a, 0, 3 * P, 0, NULL), -EPERM);
	assert_ok(vms_object_info(a, &info));
	assert_int_equal(info.pinned, 65535);
	assert_int_equal(vms_object_unpin(a, 0, 2 * P), -EBUSY);
	for (unsigned i = 0; i < 65535; i++)
		assert_ok(vms_object_unpin(a, P, 1));
	assert_int_equal(vms_object_unpin(a, P, 1), -EBUSY);
	sound(a);
	vms_object_unref(a);
}

static void lookup_tells_of_own_pages(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 300 * P, 0), *s, *b;
	struct told t = { 0 };
	void *hva;

	put(a, 10 * P, 10 * P, 'a');
	put(a, 70 * P, 100 * P, 'b');
	assert_ok(vms_object_lookup(a, 0, 300 * P, tell, &t));
	assert_int_equal(t.n, 2);
	assert_int_equal(t.off[0], 10 * P);
	assert_int_equal(t.len[0], 10 * P);
	assert_int_equal(t.off[1], 70 * P);
	assert_int_equal(t.len[1], 100 * P);
	assert_int_equal(t.start[0], 'b');
	s = child(a, VMS_CHILD_SLICE, 5 * P, 100 * P, 0);
	t.n = 0;
	t.stop = 7;
	assert_int_equal(vms_object_lookup(s, 6 * P + 5, 80 * P, tell, &t), 7);
	assert_int_equal(t.n, 1);
	assert_int_equal(t.off[0], 6 * P + 5);
	assert_int_equal(t.len[0], 9 * P - 5);
	assert_int_equal(vms_object_lookup(s, 100 * P, 1, tell, &t), -ERANGE);
	vms_object_unref(s);
	assert_int_equal(vms_object_contiguous(a, 0, 0, &hva), -EINVAL);
	assert_int_equal(vms_object_contiguous(a, 400 * P + 1, P, &hva), -EINVAL);
	assert_int_equal(vms_object_contiguous(a, 300 * P, P, &hva), -ERANGE);
	assert_int_equal(vms_object_contiguous(a, 0, 11 * P, &hva), -ENOENT);
	assert_ok(vms_object_contiguous(a, 70 * P, 100 * P, &hva));
	b = child(a, VMS_CHILD_SNAPSHOT, 0, 300 * P, 0);
	t.n = 0;
	t.stop = 0;
	assert_ok(vms_object_lookup(a, 0, 300 * P, tell, &t));
	assert_int_equal(t.n, 0);
	assert_int_equal(vms_object_contiguous(a, 70 * P, P, &hva), -ENOENT);
	vms_object_unref(b);
	vms_object_unref(a);
}

/* ---- Transfer ---- */

static void pages_move(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 300 * P, 0), *b = anon(f->arena, 300 * P, 0), *s;

	put(a, 0, 100 * P, 'a');
	put(b, 0, 300 * P, 'b');
	assert_ok(vms_object_transfer(b, 50 * P, 200 * P, a, 0, 0));
	is(b, 0, 50 * P, 'b');
	is(b, 50 * P, 100 * P, 'a');
	is(b, 150 * P, 100 * P, 0);
	is(b, 250 * P, 50 * P, 'b');
	is(a, 0, 300 * P, 0);
	assert_int_equal(granted(f->arena), 200);
	sound(a);
	sound(b);
	/* Shared ones are copied. */
	s = child(b, VMS_CHILD_SNAPSHOT, 0, 300 * P, 0);
	assert_ok(vms_object_transfer(a, 0, 60 * P, b, 0, 0));
	is(a, 0, 50 * P, 'b');
	is(a, 50 * P, 10 * P, 'a');
	is(b, 0, 60 * P, 0);
	is(s, 0, 50 * P, 'b');
	assert_int_equal(granted(f->arena), 260);
	/* Within one family, and back. */
	assert_ok(vms_object_transfer(b, 0, 60 * P, s, 0, 0));
	is(b, 0, 50 * P, 'b');
	is(s, 0, 60 * P, 0);
	sound(b);
	vms_object_unref(s);
	/* KEEP. */
	put(a, 250 * P, 10 * P, 'k');
	put(b, 250 * P, 50 * P, 'n');
	assert_ok(vms_object_transfer(a, 250 * P, 50 * P, b, 250 * P, VMS_TRANSFER_KEEP));
	is(a, 250 * P, 10 * P, 'k');
	is(a, 260 * P, 40 * P, 'n');
	is(b, 250 * P, 50 * P, 0);
	sound(a);
	sound(b);
	vms_object_unref(a);
	vms_object_unref(b);
}

static void pages_move_over_themselves(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 100 * P, 0);

	put(a, 0, 10 * P, '1');
	put(a, 10 * P, 10 * P, '2');
	assert_ok(vms_object_transfer(a, 5 * P, 20 * P, a, 0, 0));
	is(a, 0, 5 * P, 0);
	is(a, 5 * P, 10 * P, '1');
	is(a, 15 * P, 10 * P, '2');
	assert_ok(vms_object_transfer(a, 0, 20 * P, a, 10 * P, 0));
	is(a, 0, 5 * P, '1');
	is(a, 5 * P, 10 * P, '2');
	is(a, 15 * P, 80 * P, 0);
	assert_ok(vms_object_transfer(a, 0, 20 * P, a, 0, 0));
	is(a, 0, 5 * P, '1');
	assert_int_equal(granted(f->arena), 15);
	sound(a);
	vms_object_unref(a);
}

static void transfers_are_refused_in_order(void **state)
{
	struct fixture *f = *state;
	struct vms_arena *other = arena_of(0);
	struct vms_object *a = anon(f->arena, 4 * P, 0), *b = anon(f->arena, 4 * P, 0);
	struct vms_object *no = anon(f->arena, 4 * P, VMS_OBJECT_NO_WRITE);
	struct vms_object *far = anon(other, 4 * P, 0);
	struct vms_object *run = anon(f->arena, 4 * P, VMS_OBJECT_CONTIGUOUS);

	assert_int_equal(vms_object_transfer(no, 1, P, no, 9 * P, 2), -EINVAL);
	assert_int_equal(vms_object_transfer(no, 1, P, no, 9 * P, 0), -EINVAL);
	assert_int_equal(vms_object_transfer(no, 9 * P, P, a, 0, 0), -EACCES);
	assert_int_equal(vms_object_transfer(a, 9 * P, P, no, 0, 0), -EACCES);
	assert_int_equal(vms_object_transfer(a, 4 * P, P, run, 0, 0), -ERANGE);
	assert_int_equal(vms_object_transfer(a, 0, P, run, 4 * P, 0), -ERANGE);
	assert_int_equal(vms_object_transfer(a, 0, P, run, 0, 0), -ENOTSUP);
	assert_int_equal(vms_object_transfer(a, 0, P, far, 0, 0), -ENOTSUP);
	put(a, 0, P, 'a');
	assert_ok(vms_object_pin(b, 0, P, 0, NULL));
	assert_int_equal(vms_object_transfer(b, 0, P, a, 0, 0), -EBUSY);
	assert_int_equal(vms_object_transfer(a, 0, P, b, 0, 0), -EBUSY);
	assert_ok(vms_object_transfer(b, P, P, a, 0, 0));
	assert_ok(vms_object_unpin(b, 0, P));
	is(b, P, P, 'a');
	vms_object_unref(run);
	vms_object_unref(far);
	vms_object_unref(no);
	vms_object_unref(b);
	vms_object_unref(a);
	vms_arena_unref(other);
}

/* ---- Failures ---- */

struct scene {
	struct fixture *f;
	struct vms_object *a, *b;
	int what;
};

static void scene_up(void *arg)
{
	struct scene *s = arg;

	s->a = anon(s->f->arena, 200 * P, VMS_OBJECT_RESIZABLE);
	put(s->a, 0, 100 * P, 'a');
	s->b = child(s->a, VMS_CHILD_SNAPSHOT, 0, 200 * P, VMS_OBJECT_RESIZABLE);
}

static int scene_run(void *arg)
{
	struct scene *s = arg;
	static unsigned char buf[100 * 4096];

	memset(buf, 'n', sizeof(buf));
	switch (s->what) {
	case 0:
		return vms_object_write(s->b, 90 * P + 1, buf, 20 * P, NULL);
	case 6: /* much */
		return vms_object_write(s->b, 20 * P + 1, buf, 100 * P, NULL);
	case 1:
		return vms_object_op(s->b, VMS_OBJECT_ZERO, 10 * P + 1, 80 * P, NULL);
	case 2:
		return vms_object_resize(s->b, 50 * P + 1, NULL);
	case 3:
		return vms_object_transfer(s->a, 150 * P, 50 * P, s->b, 60 * P, 0);
	case 4:
		return vms_object_set_stream_size(s->b, 5, NULL);
	default:
		return vms_object_pin(s->b, 20 * P, 10 * P, 1, NULL);
	}
}

/* As before the call, or as after it. */
static void scene_check(void *arg, int result, bool failed)
{
	struct scene *s = arg;
	bool done = result == 0;

	if (result && result != -ENOMEM)
		print_message("%d: %s\n", result, vms_last_error());
	assert_true(result == 0 || result == -ENOMEM);
	assert_true(done || failed);
	sound(s->a);
	is(s->a, 0, 100 * P, 'a');
	switch (s->what) {
	case 0:
		is(s->b, 90 * P, 1, 'a');
		is(s->b, 90 * P + 1, 9 * P, done ? 'n' : 'a');
		is(s->b, 100 * P, 10 * P, done ? 'n' : 0);
		break;
	case 6:
		is(s->b, 20 * P, 1, 'a');
		is(s->b, 20 * P + 1, 79 * P, done ? 'n' : 'a');
		is(s->b, 100 * P, 20 * P, done ? 'n' : 0);
		break;
	case 1:
		is(s->b, 10 * P, 1, 'a');
		is(s->b, 10 * P + 1, 80 * P, done ? 0 : 'a');
		break;
	case 2:
		if (!done)
			is(s->b, 0, 100 * P, 'a');
		else
			is(s->b, 50 * P + 1, P - 1, 0);
		break;
	case 3:
		is(s->b, 0, 60 * P, 'a');
		is(s->b, 60 * P, 40 * P, done ? 0 : 'a');
		is(s->a, 150 * P, 40 * P, done ? 'a' : 0);
		break;
	case 4:
		is(s->b, 5, P - 5, done ? 0 : 'a');
		break;
	default:
		is(s->b, 0, 100 * P, 'a');
		if (done)
			assert_ok(vms_object_unpin(s->b, 20 * P, 10 * P));
	}
}

static void scene_down(void *arg)
{
	struct scene *s = arg;

	vms_object_unref(s->a);
	vms_object_unref(s->b);
	assert_int_equal(granted(s->f->arena), 0);
}

static void refusals_change_nothing(void **state)
{
	struct scene s = { .f = *state };

	for (s.what = 0; s.what < 7; s.what++)
		sweep(&(struct sweep){ .world = &s.f->world,
				       .set_up = scene_up,
				       .run = scene_run,
				       .check = scene_check,
				       .tear_down = scene_down,
				       .arg = &s,
				       .mask = 1u << CALL_ALLOC });
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(bytes_come_back),
		T(bytes_out_of_range_are_refused),
		T(snapshots_keep_their_bytes),
		T(a_last_holder_writes_in_place),
		T(host_memory_is_itself),
		T(a_file_is_read_and_written),
		T(an_overlay_hides_a_file),
		T(an_overlay_of_a_shorter_file_is_an_error),
		T(zero_gives_pages_back),
		T(pinned_pages_are_zeroed_in_place),
		T(a_contiguous_object_keeps_its_pages),
		T(operations_are_refused_in_order),
		T(commit_makes_pages_and_is_trimmed),
		T(a_limit_refuses_and_changes_nothing),
		T(sizes_beyond_all_memory),
		T(sizes_follow),
		T(streams_end),
		T(pins_are_counted),
		T(lookup_tells_of_own_pages),
		T(pages_move),
		T(pages_move_over_themselves),
		T(transfers_are_refused_in_order),
		T(refusals_change_nothing),
	};

	if (sysconf(_SC_PAGESIZE) != (long)P) {
		printf("skipped: the host's pages are not 4 KiB\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
