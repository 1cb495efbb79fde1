// SPDX-License-Identifier: MIT
/*
 * What the calls on objects allow, at its edges: the first and the last byte, children that reach
 * past their parents, names of names, ends in every order, callbacks, files that somebody cuts off.
 * Each test ends with an arena that has granted nothing. What is refused stands in objects.c.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmspace/object.h>

#include "check.h"
#include "files.h"

#define MAX	   UINT64_MAX
#define CHAIN	   1000
#define countof(a) (sizeof(a) / sizeof((a)[0]))

static const enum vms_child_kind SNAPSHOT = VMS_CHILD_SNAPSHOT, LAZY = VMS_CHILD_SNAPSHOT_LAZY,
				 SLICE = VMS_CHILD_SLICE, REFERENCE = VMS_CHILD_REFERENCE;

static uint64_t P;
static struct vms_arena *arena;

static uint64_t granted(void)
{
	struct vms_arena_info info = { .size = sizeof(info) };

	assert_ok(vms_arena_info(arena, &info));
	return info.granted / P;
}

static int begin(void **state)
{
	struct vms_arena_params p = { .size = sizeof(p), .reserve = UINT64_C(1) << 30 };

	P = (uint64_t)sysconf(_SC_PAGESIZE);
	assert_ok(vms_arena_create(&p, &arena));
	return 0;
}

static int end(void **state)
{
	assert_int_equal(granted(), 0);
	vms_arena_unref(arena);
	return 0;
}

/* ---- Calls told. ---- */

struct told {
	unsigned no_children, release;
};

static void on_no_children(void *arg)
{
	((struct told *)arg)->no_children++;
}

static void on_release(void *arg)
{
	((struct told *)arg)->release++;
}

static struct vms_object_params params(uint32_t flags, uint64_t bytes, struct told *told)
{
	struct vms_object_params p = { .size = sizeof(p), .flags = flags, .bytes = bytes };

	if (told) {
		p.no_children = on_no_children;
		p.release = on_release;
		p.arg = told;
	}
	return p;
}

static struct vms_object *anon(uint64_t bytes, uint32_t flags, struct told *told)
{
	struct vms_object_params p = params(flags, bytes, told);
	struct vms_object *obj = NULL;

	assert_ok(vms_object_create(arena, &p, &obj));
	return obj;
}

static struct vms_object *child_told(struct vms_object *parent, enum vms_child_kind kind,
				     uint64_t off, uint64_t bytes, uint32_t flags,
				     struct told *told)
{
	struct vms_object_params p = params(flags, bytes, told);
	struct vms_object *obj = NULL;

	assert_ok(vms_object_child(parent, kind, off, &p, &obj));
	return obj;
}

static struct vms_object *child(struct vms_object *parent, enum vms_child_kind kind, uint64_t off,
				uint64_t bytes)
{
	return child_told(parent, kind, off, bytes, 0, NULL);
}

static struct vms_object *file(int fd)
{
	struct vms_object_params p = params(0, 0, NULL);
	struct vms_object *obj = NULL;

	assert_ok(vms_object_create_file(arena, fd, &p, &obj));
	return obj;
}

static void put(struct vms_object *obj, uint64_t off, uint64_t len, int byte)
{
	unsigned char *buf = malloc(len);

	memset(buf, byte, len);
	assert_ok(vms_object_write(obj, off, buf, len, NULL));
	free(buf);
}

static void is(struct vms_object *obj, uint64_t off, uint64_t len, int byte)
{
	unsigned char *buf = malloc(len);

	memset(buf, byte + 1, len);
	assert_ok(vms_object_read(obj, off, buf, len, NULL));
	for (uint64_t i = 0; i < len; i++)
		if (buf[i] != (unsigned char)byte) {
			print_message("at %#llx\n", (unsigned long long)(off + i));
			assert_int_equal(buf[i], byte);
		}
	free(buf);
}

static struct vms_object_info info_of(struct vms_object *obj)
{
	struct vms_object_info info = { .size = sizeof(info) };

	assert_ok(vms_object_info(obj, &info));
	return info;
}

/* ---- Edges ---- */

static void nothing_at_the_end_is_fine(void **state)
{
	struct vms_object *a = anon(2 * P, VMS_OBJECT_RESIZABLE, NULL), *empty = anon(0, 0, NULL);
	struct vms_object *b = anon(2 * P, 0, NULL);

	for (int i = VMS_OBJECT_COMMIT; i <= VMS_OBJECT_DONT_NEED; i++) {
		assert_ok(vms_object_op(a, (enum vms_object_op)i, 2 * P, 0, NULL));
		assert_ok(vms_object_op(empty, (enum vms_object_op)i, 0, 0, NULL));
	}
	assert_ok(vms_object_read(a, 2 * P, NULL, 0, NULL));
	assert_ok(vms_object_write(a, 2 * P, NULL, 0, NULL));
	assert_ok(vms_object_read(empty, 0, NULL, 0, NULL));
	assert_ok(vms_object_lookup(a, 2 * P, 0, NULL, NULL));
	assert_ok(vms_object_transfer(a, 2 * P, 0, b, 2 * P, 0));
	assert_ok(vms_object_set_stream_size(a, 2 * P, NULL));
	assert_ok(vms_object_set_stream_size(a, 0, NULL));
	assert_ok(vms_object_resize(a, 0, NULL));
	assert_ok(vms_object_read(a, 0, NULL, 0, NULL));
	assert_int_equal(info_of(a).bytes, 0);
	vms_object_unref(a);
	vms_object_unref(b);
	vms_object_unref(empty);
	vms_object_unref(NULL);
}

static void sizes_round_up(void **state)
{
	static const struct {
		uint64_t pages, bytes; /* pages * P + bytes */
	} row[] = { { 0, 0 }, { 0, 1 }, { 1, 0 }, { 1, 1 }, { 3, 4095 } };

	for (unsigned i = 0; i < countof(row); i++) {
		uint64_t bytes = row[i].pages * P + row[i].bytes;
		struct vms_object *a = anon(bytes, VMS_OBJECT_RESIZABLE, NULL);

		assert_int_equal(info_of(a).bytes, (bytes + P - 1) / P * P);
		assert_int_equal(info_of(a).stream_size, bytes);
		assert_ok(vms_object_resize(a, bytes + 7, NULL));
		assert_int_equal(info_of(a).bytes, (bytes + 7 + P - 1) / P * P);
		assert_int_equal(info_of(a).stream_size, bytes + 7);
		vms_object_unref(a);
	}
}

/* The largest object: its last bytes are as good as its first, and cost no more. */
static void the_largest_object_works(void **state)
{
	const uint64_t size = (UINT64_C(1) << 62) - P;
	struct vms_object *a = anon(size, VMS_OBJECT_RESIZABLE, NULL), *s, *t;
	unsigned char byte = 0;

	put(a, size - 2 * P, 2 * P, 'z');
	put(a, 0, 1, 'a');
	assert_int_equal(granted(), 3);
	assert_int_equal(vms_object_read(a, size - 1, &byte, 2, NULL), -ERANGE);
	s = child(a, SNAPSHOT, 0, size);
	t = child(a, SNAPSHOT, size - P, 2 * P);
	put(a, size - 1, 1, 'Z');
	is(s, size - P, P, 'z');
	is(t, 0, P, 'z');
	is(t, P, P, 0);
	is(a, size - 1, 1, 'Z');
	is(a, size / 2, 3 * P, 0);
	assert_ok(vms_object_op(a, VMS_OBJECT_ZERO, 1, size - 2, NULL));
	is(a, 0, 1, 'a');
	is(a, 1, P, 0);
	is(a, size - P, P - 1, 0);
	is(a, size - 1, 1, 'Z');
	/* All of it at once can never be, and costs nothing to refuse. */
	assert_int_equal(vms_object_pin(s, 0, size, 0, NULL), -ENOMEM);
	assert_int_equal(vms_object_pin(s, P, size - P, 1, NULL), -ENOMEM);
	is(s, size - P, P, 'z');
	assert_ok(vms_object_resize(a, P, NULL));
	assert_ok(vms_object_resize(a, size, NULL));
	is(a, size - P, P, 0);
	vms_object_unref(a);
	vms_object_unref(s);
	vms_object_unref(t);
}

/* A child of a child of ... may not stand further from the root than pages have numbers. */
static void children_end_somewhere(void **state)
{
	const uint64_t size = (UINT64_C(1) << 62) - P;
	struct vms_object_params p = params(0, size, NULL);
	struct vms_object *a = anon(size, 0, NULL), *b;
	unsigned depth = 0;
	int err;

	for (;; depth++) {
		put(a, size - P, P, 'x');
		b = NULL;
		err = vms_object_child(a, SNAPSHOT, size - P, &p, &b);
		if (err)
			break;
		is(b, 0, P, 'x');
		vms_object_unref(a);
		a = b;
		assert_true(depth < 100000);
	}
	assert_int_equal(err, -ERANGE);
	assert_true(depth > 2);
	assert_null(b);
	is(a, size - P, P, 'x');
	vms_object_unref(a);
}

/* ---- Children beyond the parent ---- */

static void children_reach_past_their_parents(void **state)
{
	struct vms_object *a = anon(4 * P, VMS_OBJECT_RESIZABLE, NULL), *over, *behind, *far;

	put(a, 0, 4 * P, 'a');
	over = child(a, SNAPSHOT, 3 * P, 4 * P);
	behind = child(a, SNAPSHOT, 4 * P, 4 * P);
	far = child(a, SNAPSHOT, MAX - 8 * P + 1, 8 * P - 1);
	is(over, 0, P, 'a');
	is(over, P, 3 * P, 0);
	is(behind, 0, 4 * P, 0);
	is(far, 0, 8 * P, 0);
	/* What the parent gets later is not theirs. */
	assert_ok(vms_object_resize(a, 16 * P, NULL));
	put(a, 4 * P, 8 * P, 'b');
	is(over, P, 3 * P, 0);
	is(behind, 0, 4 * P, 0);
	put(behind, 0, 1, 'c');
	put(far, 8 * P - 1, 1, 'd');
	put(over, P, P, 'e');
	is(a, 4 * P, 8 * P, 'b');
	vms_object_unref(over);
	vms_object_unref(behind);
	vms_object_unref(far);
	vms_object_unref(a);
}

/* A view of a file that a parent loses stays lost. */
static void what_was_inherited_never_grows(void **state)
{
	int fd = file_of(8 * P, 'f');
	struct vms_object *f = file(fd), *top, *next;

	top = child_told(f, LAZY, 0, 8 * P, VMS_OBJECT_RESIZABLE, NULL);
	is(top, 0, 8 * P, 'f');
	assert_ok(vms_object_resize(top, 3 * P, NULL));
	assert_ok(vms_object_resize(top, 8 * P, NULL));
	is(top, 0, 3 * P, 'f');
	is(top, 3 * P, 5 * P, 0);
	next = child(top, LAZY, P, 16 * P);
	is(next, 0, 2 * P, 'f');
	is(next, 2 * P, 14 * P, 0);
	vms_object_unref(top);
	is(next, 0, 2 * P, 'f');
	vms_object_unref(f);
	put(next, P, 1, 'x');
	is(next, P + 1, P - 1, 'f');
	vms_object_unref(next);
	close(fd);
}

/* ---- Names of names ---- */

/* End n objects, first to last or last to first. */
static void drop(struct vms_object **obj, unsigned n, bool backwards)
{
	for (unsigned i = 0; i < n; i++)
		vms_object_unref(obj[backwards ? n - 1 - i : i]);
}

static void slices_of_slices(void **state)
{
	for (int backwards = 0; backwards < 2; backwards++) {
		struct told told[4] = { { 0 } };
		struct vms_object *o[4];

		o[0] = anon(16 * P, 0, &told[0]);
		o[1] = child_told(o[0], SLICE, 2 * P, 12 * P, 0, &told[1]);
		o[2] = child_told(o[1], SLICE, 3 * P, 6 * P, 0, &told[2]);
		o[3] = child_told(o[2], SLICE, 6 * P, 0, 0, &told[3]); /* empty, at the end */
		put(o[2], 0, P, 's');
		is(o[0], 5 * P, P, 's');
		is(o[1], 3 * P, P, 's');
		put(o[0], 10 * P, P, 'e');
		is(o[2], 5 * P, P, 'e');
		assert_ok(vms_object_op(o[2], VMS_OBJECT_DECOMMIT, 5 * P, P, NULL));
		is(o[0], 10 * P, P, 0);
		assert_int_equal(info_of(o[2]).bytes, 6 * P);
		assert_int_equal(info_of(o[2]).total, 0);
		assert_int_equal(info_of(o[0]).total, P);
		assert_int_equal(info_of(o[0]).children, 1);
		assert_int_equal(granted(), 1);
		drop(o, 4, backwards);
		assert_int_equal(granted(), 0);
		for (unsigned i = 0; i < 4; i++)
			assert_int_equal(told[i].release, 1);
	}
}

static void references_of_references(void **state)
{
	for (int backwards = 0; backwards < 2; backwards++) {
		struct told told[4] = { { 0 } };
		struct vms_object *o[4];

		o[0] = anon(4 * P, VMS_OBJECT_RESIZABLE, &told[0]);
		o[1] = child_told(o[0], REFERENCE, 0, 0, VMS_OBJECT_RESIZABLE, &told[1]);
		o[2] = child_told(o[1], REFERENCE, 0, 0, VMS_OBJECT_RESIZABLE, &told[2]);
		o[3] = child_told(o[2], REFERENCE, 0, 0, 0, &told[3]);
		put(o[3], 3 * P, P, 'r');
		assert_ok(vms_object_resize(o[2], 8 * P, NULL));
		for (unsigned i = 0; i < 4; i++) {
			is(o[i], 3 * P, P, 'r');
			assert_int_equal(info_of(o[i]).bytes, 8 * P);
			assert_int_equal(info_of(o[i]).total, i ? 0 : P);
		}
		assert_int_equal(vms_object_resize(o[3], 0, NULL), -EPERM);
		drop(o, 3, backwards);
		is(o[3], 3 * P, P, 'r'); /* a name keeps what it names */
		assert_int_equal(granted(), 1);
		vms_object_unref(o[3]);
		assert_int_equal(granted(), 0);
		for (unsigned i = 0; i < 4; i++)
			assert_int_equal(told[i].release, 1);
	}
}

static void host_memory_is_given_back_once(void **state)
{
	unsigned char *hva =
		mmap(NULL, 8 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(hva, MAP_FAILED);
	for (int backwards = 0; backwards < 2; backwards++) {
		struct told told = { 0 };
		struct vms_object_params p = params(0, 8 * P, &told);
		struct vms_object *o[4];
		void *at = NULL;

		assert_ok(vms_object_create_host(hva, &p, &o[0]));
		o[1] = child(o[0], SLICE, 2 * P, 4 * P);
		o[2] = child(o[1], SLICE, P, 2 * P);
		o[3] = vms_object_ref(o[2]);
		put(o[2], 0, P, 'h');
		assert_int_equal(hva[3 * P], 'h');
		hva[4 * P] = 'i';
		is(o[2], P, 1, 'i');
		assert_ok(vms_object_contiguous(o[2], 0, 2 * P, &at));
		assert_ptr_equal(at, hva + 3 * P);
		assert_ok(vms_object_pin(o[2], 0, P, 1, NULL));
		assert_ok(vms_object_unpin(o[2], 0, P));
		for (unsigned i = 0; i < 4; i++) {
			assert_int_equal(told.release, 0);
			vms_object_unref(o[backwards ? 3 - i : i]);
		}
		assert_int_equal(told.release, 1);
		hva[4 * P] = 0;
	}
	munmap(hva, 8 * P);
}

/* ---- Who is told that the last child has gone ---- */

static void parents_are_told(void **state)
{
	struct told told = { 0 };
	struct vms_object *a = anon(4 * P, 0, &told), *c[5];

	put(a, 0, 4 * P, 'a');
	c[0] = child(a, SNAPSHOT, 0, P);
	c[1] = child(a, SLICE, 0, P);
	c[2] = child(a, REFERENCE, 0, 0);
	assert_int_equal(info_of(a).children, 3);
	drop(c, 2, false);
	assert_int_equal(told.no_children, 0);
	vms_object_unref(c[2]);
	assert_int_equal(told.no_children, 1);
	assert_int_equal(info_of(a).children, 0);
	/* And again, as often as it becomes true. */
	c[0] = child(a, SNAPSHOT, 0, P);
	assert_int_equal(told.no_children, 1);
	vms_object_unref(c[0]);
	assert_int_equal(told.no_children, 2);
	/* Without children nobody tells. */
	assert_int_equal(told.release, 0);
	vms_object_unref(a);
	assert_int_equal(told.no_children, 2);
	assert_int_equal(told.release, 1);
}

/* A middle object's children become its parent's, which counts them. */
static void children_find_a_new_parent(void **state)
{
	struct told top = { 0 }, mid = { 0 };
	struct vms_object *a = anon(4 * P, 0, &top), *b, *c[3];
	uint64_t id = info_of(a).id;

	put(a, 0, P, 'a');
	b = child_told(a, SNAPSHOT, 0, 4 * P, 0, &mid);
	c[0] = child(b, SNAPSHOT, 0, 4 * P);
	c[1] = child(b, SLICE, 0, P);
	c[2] = child(b, REFERENCE, 0, 0);
	assert_int_equal(info_of(a).children, 1);
	assert_int_equal(info_of(b).children, 3);
	assert_int_equal(info_of(c[0]).parent_id, info_of(b).id);
	vms_object_unref(b);
	assert_int_equal(mid.no_children, 0);
	assert_int_equal(mid.release, 0); /* its content lives: it has names */
	assert_int_equal(info_of(a).children, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(info_of(c[i]).parent_id, id);
	vms_object_unref(c[2]);
	vms_object_unref(c[1]);
	assert_int_equal(mid.release, 1);
	assert_int_equal(top.no_children, 0);
	is(c[0], 0, P, 'a');
	vms_object_unref(c[0]);
	assert_int_equal(top.no_children, 1);
	/* Orphans have no parent, and nobody is told. */
	c[0] = child(a, SNAPSHOT, 0, P);
	vms_object_unref(a);
	assert_int_equal(info_of(c[0]).parent_id, 0);
	assert_int_equal(top.release, 1);
	vms_object_unref(c[0]);
	assert_int_equal(top.no_children, 1);
}

/* The callback may use the object, and end it. */
struct ender {
	struct vms_object *obj;
	unsigned calls;
};

static void end_it(void *arg)
{
	struct ender *e = arg;

	e->calls++;
	assert_int_equal(info_of(e->obj).children, 0);
	put(e->obj, 0, 1, 'n');
	vms_object_unref(e->obj);
}

static void the_callback_may_call(void **state)
{
	struct ender e = { 0 };
	struct vms_object_params p = params(0, P, NULL);
	struct vms_object *s;

	p.no_children = end_it;
	p.arg = &e;
	assert_ok(vms_object_create(arena, &p, &e.obj));
	s = child(e.obj, SNAPSHOT, 0, P);
	vms_object_unref(s);
	assert_int_equal(e.calls, 1);
	assert_int_equal(granted(), 0);
}

/* ---- Discardable ---- */

static void discarded_content_reads_zero_after_a_lock(void **state)
{
	struct vms_object *a = anon(4 * P, VMS_OBJECT_DISCARDABLE, NULL);
	uint64_t freed = 0;
	int gone = 7;
	char byte;

	put(a, 0, P, 'd');
	assert_ok(vms_object_lock(a, &gone));
	assert_int_equal(gone, 0);
	assert_ok(vms_object_try_lock(a));
	assert_ok(vms_object_unlock(a));
	assert_ok(vms_arena_reclaim(arena, MAX, &freed));
	is(a, 0, P, 'd'); /* still locked once */
	assert_ok(vms_object_unlock(a));
	assert_ok(vms_object_pin(a, 0, P, 0, NULL));
	assert_ok(vms_arena_reclaim(arena, MAX, &freed));
	is(a, 0, P, 'd');
	assert_ok(vms_object_unpin(a, 0, P));
	assert_ok(vms_arena_reclaim(arena, MAX, &freed));
	assert_true(freed >= P);
	assert_int_equal(granted(), 0);
	assert_int_equal(vms_object_read(a, 0, &byte, 1, NULL), -ENOENT);
	/* Decommit and zero have nothing to do, and do it. */
	assert_ok(vms_object_op(a, VMS_OBJECT_DECOMMIT, 0, 4 * P, NULL));
	assert_ok(vms_object_op(a, VMS_OBJECT_ZERO, 1, P, NULL));
	assert_int_equal(vms_object_read(a, 0, &byte, 1, NULL), -ENOENT);
	assert_int_equal(vms_object_try_lock(a), -EPERM);
	assert_ok(vms_object_lock(a, &gone));
	assert_int_equal(gone, 1);
	is(a, 0, 4 * P, 0);
	put(a, 0, P, 'D');
	assert_ok(vms_object_lock(a, &gone));
	assert_int_equal(gone, 0);
	is(a, 0, P, 'D');
	vms_object_unref(a); /* locked: no matter */
}

/* ---- Files ---- */

/* Somebody cuts the file off under us: an error, never a signal. */
static void a_file_may_be_cut_off(void **state)
{
	int fd = file_of(8 * P, 'f');
	struct vms_object *f = file(fd), *o = child(f, LAZY, 0, 8 * P), *o2;
	struct vms_object *s = child(f, SLICE, 4 * P, 4 * P);
	unsigned char *buf = calloc(8, P);
	struct vms_object_info before;

	put(o, 5 * P, P, 'o');
	assert_ok(ftruncate(fd, (off_t)(3 * P + 10)));
	before = info_of(o);
	is(f, 0, 3 * P + 10, 'f');
	assert_int_equal(vms_object_read(f, 3 * P, buf, P, NULL), -EIO);
	assert_int_equal(vms_object_read(f, 0, buf, 8 * P, NULL), -EIO);
	assert_int_equal(vms_object_read(f, 7 * P, buf, 1, NULL), -EIO);
	assert_int_equal(vms_object_read(s, 0, buf, 1, NULL), -EIO);
	/* Above it: what is its own is there, what is lost is an error. */
	is(o, 0, 3 * P, 'f');
	is(o, 5 * P, P, 'o');
	assert_int_equal(vms_object_read(o, 4 * P, buf, P, NULL), -EIO);
	assert_int_equal(vms_object_read(o, 0, buf, 8 * P, NULL), -EIO);
	assert_int_equal(vms_object_write(o, 4 * P + 1, buf, 1, NULL), -EIO);
	assert_int_equal(vms_object_op(o, VMS_OBJECT_COMMIT, 4 * P, P, NULL), -EIO);
	assert_int_equal(vms_object_op(o, VMS_OBJECT_ZERO, 4 * P + 1, 1, NULL), -EIO);
	assert_int_equal(vms_object_pin(o, 6 * P, P, 0, NULL), -EIO);
	assert_int_equal(vms_object_op(o, VMS_OBJECT_PREFETCH, 4 * P, P, NULL), 0);
	assert_int_equal(info_of(o).total, before.total);
	assert_int_equal(granted(), 1);
	/* Whole pages need nothing of the file. */
	put(o, 6 * P, P, 'w');
	assert_ok(vms_object_op(o, VMS_OBJECT_ZERO, 7 * P, P, NULL));
	is(o, 5 * P, P, 'o');
	is(o, 6 * P, P, 'w');
	is(o, 7 * P, P, 0);
	o2 = child(o, LAZY, 4 * P, 4 * P);
	assert_int_equal(vms_object_read(o2, 0, buf, 1, NULL), -EIO);
	is(o2, P, P, 'o');
	/* It comes back with its file. */
	assert_ok(ftruncate(fd, (off_t)(8 * P)));
	is(o2, 0, P, 0);
	is(o, 4 * P, P, 0);
	put(o, 4 * P + 1, 1, 'b');
	is(o, 4 * P, 1, 0);
	is(o2, 0, P, 0);
	vms_object_unref(f);
	vms_object_unref(o);
	vms_object_unref(s);
	vms_object_unref(o2);
	free(buf);
	close(fd);
}

/* A write to what was cut off is told too: it must not make the file long again behind its owner's
 * back. */
static void a_cut_off_file_is_not_written(void **state)
{
	int fd = file_of(4 * P, 'f');
	struct vms_object *f = file(fd);

	assert_ok(ftruncate(fd, (off_t)P));
	assert_int_equal(vms_object_write(f, 2 * P, "x", 1, NULL), -EIO);
	assert_int_equal(vms_object_op(f, VMS_OBJECT_ZERO, P, P, NULL), -EIO);
	assert_int_equal(lseek(fd, 0, SEEK_END), (off_t)P);
	put(f, P - 1, 1, 'y');
	is(f, P - 1, 1, 'y');
	vms_object_unref(f);
	close(fd);
}

/* ---- Long chains ---- */

static void end_chain(struct vms_object **o, unsigned order)
{
	for (unsigned i = 0; i < CHAIN; i++) {
		unsigned k = i;

		if (order == 1)
			k = CHAIN - 1 - i;
		else if (order == 2) /* inward from both ends */
			k = i % 2 ? CHAIN - 1 - i / 2 : i / 2;
		vms_object_unref(o[k]);
	}
}

static void long_chains(void **state)
{
	static const enum vms_child_kind kind[] = { VMS_CHILD_SNAPSHOT, VMS_CHILD_SLICE,
						    VMS_CHILD_REFERENCE };
	static struct vms_object *o[CHAIN];

	for (unsigned k = 0; k < countof(kind); k++) {
		bool snap = kind[k] == SNAPSHOT;

		for (unsigned order = 0; order < 3; order++) {
			o[0] = anon(CHAIN * P, 0, NULL);
			put(o[0], 0, P, 'r');
			for (unsigned i = 1; i < CHAIN; i++) {
				o[i] = child(o[i - 1], kind[k], 0,
					     kind[k] == REFERENCE ? 0 : CHAIN * P);
				put(o[i], i * P, P, (int)(i % 250 + 1));
			}
			is(o[CHAIN - 1], 0, P, 'r');
			is(o[CHAIN - 1], P, P, 2);
			is(o[CHAIN / 2], 7 * P, P, 8);
			is(o[CHAIN / 2], (CHAIN - 1) * P, P, snap ? 0 : (CHAIN - 1) % 250 + 1);
			assert_int_equal(granted(), CHAIN);
			end_chain(o, order);
			assert_int_equal(granted(), 0);
		}
	}
}

/* A chain of overlays over one file. */
static void long_chains_of_overlays(void **state)
{
	static struct vms_object *o[CHAIN];
	int fd = file_of(2 * P, 'f');

	for (unsigned order = 0; order < 3; order++) {
		o[0] = file(fd);
		for (unsigned i = 1; i < CHAIN; i++) {
			o[i] = child(o[i - 1], i % 2 ? LAZY : VMS_CHILD_SNAPSHOT_MODIFIED, 0,
				     CHAIN * P);
			put(o[i], (i + 2) % CHAIN * P, P, (int)(i % 250 + 1));
		}
		is(o[CHAIN - 1], 3 * P, P, 2);
		end_chain(o, order);
		assert_int_equal(granted(), 0);
	}
	close(fd);
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(nothing_at_the_end_is_fine),
		T(sizes_round_up),
		T(the_largest_object_works),
		T(children_end_somewhere),
		T(children_reach_past_their_parents),
		T(what_was_inherited_never_grows),
		T(slices_of_slices),
		T(references_of_references),
		T(host_memory_is_given_back_once),
		T(parents_are_told),
		T(children_find_a_new_parent),
		T(the_callback_may_call),
		T(discarded_content_reads_zero_after_a_lock),
		T(a_file_may_be_cut_off),
		T(a_cut_off_file_is_not_written),
		T(long_chains),
		T(long_chains_of_overlays),
	};

	return cmocka_run_group_tests_name("objects_use", tests, NULL, NULL);
}
