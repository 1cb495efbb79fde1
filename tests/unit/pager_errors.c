// SPDX-License-Identifier: MIT
/*
 * pager_errors.c: every error of the pager's calls, in the order of their tables: a row that has
 * several mistakes gets the error that stands first. A refused call changes nothing.
 */
#include "check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "object/content.h"
#include "pager_script.h"
#include "world.h"

static struct test_world tw;
static struct script script, other;
static struct vms_arena *arena, *other_arena;

/* The cast. Each has 8 pages. */
enum who {
	PLAIN,	  /* paged: 0..3 there, 1 dirty, 2 awaiting clean */
	TRAPPED,  /* paged, TRAP_DIRTY: 0..3 there, 3 zero */
	DETACHED, /* paged, TRAP_DIRTY: detached with page 1 dirty */
	OVERLAY,  /* of PLAIN */
	FOREIGN,  /* another pager's */
	ANON,	  /* 0..3 there */
	ABROAD,	  /* anonymous, in another arena */
	CACHE,	  /* discardable */
	PARENT,	  /* anonymous, with ... */
	CHILD,	  /* ... a snapshot */
	SLICED,	  /* anonymous, with ... */
	SLICE,	  /* ... a slice */
	PINNED,	  /* anonymous, page 7 pinned */
	SEALED,	  /* anonymous, NO_WRITE */
	CAST
};
static struct vms_object *cast[CAST];

static struct vms_object *child_of(struct vms_object *parent, enum vms_child_kind kind)
{
	struct vms_object_params params = { .size = sizeof(params), .bytes = 8 * P };
	struct vms_object *child;

	assert_ok(vms_object_child(parent, kind, 0, &params, &child));
	return child;
}

static struct vms_object *anon_with(struct vms_arena *a, uint32_t flags)
{
	struct vms_object_params params = { .size = sizeof(params),
					    .bytes = 8 * P,
					    .flags = flags };
	struct vms_object *obj;
	unsigned char buf[4 * P];

	assert_ok(vms_object_create(a, &params, &obj));
	fill_pages(buf, 3, 0, 4);
	if (!(flags & VMS_OBJECT_NO_WRITE))
		assert_ok(vms_object_write(obj, 0, buf, 4 * P, NULL));
	return obj;
}

static struct vms_object *paged_with(struct script *s, uint64_t key, uint32_t flags)
{
	struct vms_object *obj = paged(arena, s, key, flags, 8);
	struct vms_object *aux = anon(arena, 8);

	supply(s, obj, 1, 0, 3);
	if (flags)
		assert_ok(vms_pager_supply(s->pager, obj, 3 * P, P, aux, 0));
	else
		supply(s, obj, 1, 3, 1);
	vms_object_unref(aux);
	return obj;
}

static int begin(void **state)
{
	struct vms_object *o;
	unsigned char b = 1;

	test_world_begin(&tw);
	script_begin(&script);
	script_begin(&other);
	arena = arena_of(0);
	other_arena = arena_of(0);
	o = cast[PLAIN] = paged_with(&script, 1, 0);
	assert_ok(vms_object_write(o, 2 * P, &b, 1, NULL));
	assert_ok(vms_pager_writeback_begin(script.pager, o, 0, 8 * P, 0));
	assert_ok(vms_object_write(o, P, &b, 1, NULL));
	cast[TRAPPED] = paged_with(&script, 2, VMS_OBJECT_TRAP_DIRTY);
	o = cast[DETACHED] = paged_with(&script, 3, VMS_OBJECT_TRAP_DIRTY);
	assert_ok(vms_pager_dirtied(script.pager, o, P, P));
	assert_ok(vms_pager_detach(script.pager, o));
	expect_complete(&script, 3);
	cast[OVERLAY] = child_of(cast[PLAIN], VMS_CHILD_SNAPSHOT_LAZY);
	cast[FOREIGN] = paged_with(&other, 4, 0);
	cast[ANON] = anon_with(arena, 0);
	cast[ABROAD] = anon_with(other_arena, 0);
	cast[CACHE] = anon_with(arena, VMS_OBJECT_DISCARDABLE);
	cast[PARENT] = anon_with(arena, 0);
	cast[CHILD] = child_of(cast[PARENT], VMS_CHILD_SNAPSHOT);
	cast[SLICED] = anon_with(arena, 0);
	cast[SLICE] = child_of(cast[SLICED], VMS_CHILD_SLICE);
	cast[PINNED] = anon_with(arena, 0);
	assert_ok(vms_object_pin(cast[PINNED], 7 * P, P, 0, NULL));
	cast[SEALED] = anon_with(arena, VMS_OBJECT_NO_WRITE);
	return 0;
}

static int end(void **state)
{
	assert_ok(vms_object_unpin(cast[PINNED], 7 * P, P));
	for (unsigned i = CAST; i-- > 0;)
		vms_object_unref(cast[i]);
	expect_complete(&other, 4);
	expect_complete(&script, 2);
	expect_complete(&script, 1);
	script_end(&other);
	script_end(&script);
	vms_arena_unref(other_arena);
	vms_arena_unref(arena);
	test_world_end(&tw);
	return 0;
}

/* All that a refused call could have changed. */
struct facts {
	uint64_t granted, dirty[CAST], infos[CAST][3];
	struct vms_dirty_range ranges[CAST][8];
	unsigned char first[CAST];
};

static void look(struct facts *f)
{
	struct vms_arena_info a = { .size = sizeof(a) };

	memset(f, 0, sizeof(*f));
	assert_ok(vms_arena_info(arena, &a));
	f->granted = a.granted;
	for (unsigned i = 0; i < CAST; i++) {
		struct vms_object_info info = { .size = sizeof(info) };
		size_t n = 8;

		assert_ok(content_check(cast[i], NULL));
		assert_ok(vms_object_info(cast[i], &info));
		f->infos[i][0] = info.total;
		f->infos[i][1] = info.owned;
		f->infos[i][2] = info.modified;
		vms_object_read(cast[i], 0, &f->first[i], 1, NULL);
		if (!vms_pager_query_dirty(script.pager, cast[i], 0, 8 * P, f->ranges[i], &n, NULL))
			f->dirty[i] = n;
	}
	expect_nothing(&script);
	expect_nothing(&other);
}

static struct facts before;

static void unchanged(unsigned row, int is, int want)
{
	struct facts after;

	if (is != want)
		print_error("row %u: %d, expected %d\n", row, is, want);
	assert_int_equal(is, want);
	look(&after);
	assert_memory_equal(&before, &after, sizeof(before));
}

#define ROWS(t) (sizeof(t) / sizeof(*(t)))

static void supply_errors(void **state)
{
	static const struct {
		enum who obj;
		uint64_t off, len;
		enum who src;
		uint64_t src_off;
		int want;
	} t[] = {
		{ PLAIN, 1, 9 * P, PLAIN, 0, -EINVAL }, /* misaligned, before all else */
		{ PLAIN, 0, 9 * P + 1, PLAIN, 0, -EINVAL },
		{ PLAIN, 0, 9 * P, PLAIN, 8, -EINVAL },
		{ FOREIGN, 0, 9 * P, ANON, 0, -EINVAL },
		{ OVERLAY, 0, P, ANON, 0, -EINVAL },
		{ ANON, 0, P, ANON, 0, -EINVAL },
		{ PLAIN, 0, 9 * P, ABROAD, 0, -ERANGE },
		{ PLAIN, 8 * P, P, ABROAD, 0, -ERANGE },
		{ PLAIN, 0, -P, ABROAD, 0, -ERANGE },
		{ PLAIN, 4 * P, P, ABROAD, 8 * P, -ERANGE },
		{ PLAIN, 4 * P, P, ABROAD, -P, -ERANGE },
		{ PLAIN, 4 * P, P, PLAIN, 0, -ENOTSUP },
		{ PLAIN, 4 * P, P, FOREIGN, 0, -ENOTSUP },
		{ PLAIN, 4 * P, P, CACHE, 0, -ENOTSUP },
		{ DETACHED, 4 * P, P, ABROAD, 0, -ENOTSUP },
		{ PLAIN, 4 * P, P, SEALED, 0, -EACCES },
		{ PLAIN, 4 * P, P, CHILD, 0, -EBUSY },
		{ PLAIN, 4 * P, P, OVERLAY, 0, -EBUSY },
		{ PLAIN, 4 * P, P, PARENT, 0, -EBUSY },
		{ PLAIN, 4 * P, P, SLICE, 0, -EBUSY },
		{ PLAIN, 4 * P, P, SLICED, 0, -EBUSY },
		{ PLAIN, 4 * P, P, PINNED, 0, -EBUSY },
		{ DETACHED, 4 * P, P, ANON, 0, -EBUSY },
	};

	look(&before);
	for (unsigned i = 0; i < ROWS(t); i++)
		unchanged(i,
			  vms_pager_supply(script.pager, cast[t[i].obj], t[i].off, t[i].len,
					   cast[t[i].src], t[i].src_off),
			  t[i].want);
}

/* Calls with a range and nothing else; arg is the flags or the error code. */
struct row {
	enum who obj;
	uint64_t off, len;
	int64_t arg;
	int want;
};

static void run(const struct row *t, unsigned n,
		int (*call)(struct vms_object *obj, uint64_t off, uint64_t len, int64_t arg))
{
	look(&before);
	for (unsigned i = 0; i < n; i++)
		unchanged(i, call(cast[t[i].obj], t[i].off, t[i].len, t[i].arg), t[i].want);
}

static int supply_bytes(struct vms_object *obj, uint64_t off, uint64_t len, int64_t arg)
{
	static const unsigned char buf[8 * 4096];

	return vms_pager_supply_bytes(script.pager, obj, off, buf, len);
}

static int fails(struct vms_object *obj, uint64_t off, uint64_t len, int64_t arg)
{
	return vms_pager_fail(script.pager, obj, off, len, (int)arg);
}

static int dirtied(struct vms_object *obj, uint64_t off, uint64_t len, int64_t arg)
{
	return vms_pager_dirtied(script.pager, obj, off, len);
}

static int query(struct vms_object *obj, uint64_t off, uint64_t len, int64_t arg)
{
	struct vms_dirty_range r[4];
	size_t n = 4;

	return vms_pager_query_dirty(script.pager, obj, off, len, arg == 1 ? NULL : r,
				     arg == 2 ? NULL : &n, NULL);
}

static int wb_begin(struct vms_object *obj, uint64_t off, uint64_t len, int64_t arg)
{
	return vms_pager_writeback_begin(script.pager, obj, off, len, (uint32_t)arg);
}

static int wb_end(struct vms_object *obj, uint64_t off, uint64_t len, int64_t arg)
{
	return vms_pager_writeback_end(script.pager, obj, off, len, (uint32_t)arg);
}

static void range_errors(void **state)
{
	static const struct row bytes[] = {
		{ PLAIN, 1, 9 * P, 0, -EINVAL },    { PLAIN, 0, 9 * P - 1, 0, -EINVAL },
		{ FOREIGN, 0, 9 * P, 0, -EINVAL },  { OVERLAY, 0, P, 0, -EINVAL },
		{ ANON, 0, P, 0, -EINVAL },	    { PLAIN, 0, 9 * P, 0, -ERANGE },
		{ DETACHED, P, 8 * P, 0, -ERANGE }, { PLAIN, -P, P, 0, -ERANGE },
		{ DETACHED, 4 * P, P, 0, -EBUSY },  { PLAIN, 0, 4 * P, 0, 0 },
		{ PLAIN, 8 * P, 0, 0, 0 },
	};
	static const struct row fail[] = {
		{ PLAIN, 1, 9 * P, -EIO, -EINVAL }, { FOREIGN, 0, 9 * P, -EIO, -EINVAL },
		{ OVERLAY, 0, P, -EIO, -EINVAL },   { PLAIN, 0, 9 * P, -ENOMEM, -EINVAL },
		{ PLAIN, 0, 9 * P, 0, -EINVAL },    { PLAIN, 0, 9 * P, EIO, -EINVAL },
		{ PLAIN, 0, 9 * P, -EIO, -ERANGE }, { PLAIN, 9 * P, 0, -EIO, -ERANGE },
		{ PLAIN, 0, 8 * P, -EOVERFLOW, 0 }, { DETACHED, 0, 8 * P, -EIO, 0 },
	};
	static const struct row dirty[] = {
		{ TRAPPED, 1, 9 * P, 0, -EINVAL },   { FOREIGN, 0, 9 * P, 0, -EINVAL },
		{ OVERLAY, 0, P, 0, -EINVAL },	     { TRAPPED, 0, 9 * P, 0, -ERANGE },
		{ PLAIN, 0, 9 * P, 0, -ERANGE },     { TRAPPED, 0, 5 * P, 0, -ENOENT },
		{ PLAIN, 3 * P, 2 * P, 0, -ENOENT }, { DETACHED, P, P, 0, -ENOENT },
		{ PLAIN, 0, P, 0, -ENOTSUP },	     { TRAPPED, 8 * P, 0, 0, 0 },
	};
	static const struct row ask[] = {
		{ FOREIGN, 0, 9 * P, 0, -EINVAL }, { OVERLAY, 0, P, 0, -EINVAL },
		{ ANON, 0, P, 0, -EINVAL },	   { PLAIN, 0, 9 * P, 1, -EINVAL },
		{ PLAIN, 0, 9 * P, 2, -EINVAL },   { PLAIN, 1, 8 * P, 0, -ERANGE },
		{ PLAIN, 1, -P, 0, -ERANGE },	   { PLAIN, 1, 2, 0, 0 },
		{ DETACHED, 0, 8 * P, 0, 0 },
	};
	static const struct row step[] = {
		{ PLAIN, 1, 9 * P, 0, -EINVAL },   { PLAIN, 0, 9 * P, 2, -EINVAL },
		{ FOREIGN, 0, 9 * P, 0, -EINVAL }, { OVERLAY, 0, P, 0, -EINVAL },
		{ PLAIN, 0, 9 * P, 0, -ERANGE },   { PLAIN, 9 * P, 0, 1, -ERANGE },
		{ PLAIN, 0, 8 * P, 1, 0 },	   { TRAPPED, 0, 8 * P, 0, 0 },
	};

	run(bytes, ROWS(bytes), supply_bytes);
	run(fail, ROWS(fail), fails);
	run(dirty, ROWS(dirty), dirtied);
	run(ask, ROWS(ask), query);
	run(step, ROWS(step), wb_begin);
	run(step, ROWS(step), wb_end);
}

static void object_errors(void **state)
{
	look(&before);
	unchanged(0, vms_pager_detach(script.pager, cast[FOREIGN]), -EINVAL);
	unchanged(1, vms_pager_detach(script.pager, cast[OVERLAY]), -EINVAL);
	unchanged(2, vms_pager_detach(script.pager, cast[ANON]), -EINVAL);
	unchanged(3, vms_pager_detach(script.pager, cast[DETACHED]), 0);
	unchanged(4, vms_pager_modified(script.pager, cast[FOREIGN], 1), -EINVAL);
	unchanged(5, vms_pager_modified(script.pager, cast[OVERLAY], 1), -EINVAL);
	unchanged(6, vms_pager_file_sync(cast[PLAIN]), -EINVAL);
	unchanged(7, vms_pager_file_sync(cast[ANON]), -EINVAL);
}

static void nop_request(void *arg, struct vms_object *obj, uint64_t key, enum vms_request_kind kind,
			uint64_t off, uint64_t len)
{
}

static void creation_errors(void **state)
{
	struct vms_pager_ops ops = { .size = sizeof(ops), .request = nop_request };
	struct vms_object_params params = { .size = sizeof(params), .bytes = 8 * P };
	struct vms_pager *pager = NULL;
	struct vms_object *obj = NULL;
	int pipes[2];

	look(&before);
	unchanged(0, vms_pager_create(NULL, NULL, &pager), -EINVAL);
	ops.size--;
	unchanged(1, vms_pager_create(&ops, NULL, &pager), -EINVAL);
	ops.size = sizeof(ops);
	ops.request = NULL;
	unchanged(2, vms_pager_create(&ops, NULL, &pager), -EINVAL);
	unchanged(3, vms_pager_file(-1, &pager), -EBADF);
	assert_int_equal(pipe(pipes), 0);
	unchanged(4, vms_pager_file(pipes[0], &pager), -ENOTSUP);
	close(pipes[0]);
	close(pipes[1]);
	assert_null(pager);
	unchanged(5, vms_object_create_paged(arena, NULL, 1, &params, &obj), -EINVAL);
	params.flags = VMS_OBJECT_DISCARDABLE;
	params.bytes = UINT64_MAX;
	unchanged(6, vms_object_create_paged(arena, script.pager, 1, &params, &obj), -EINVAL);
	params.flags = 0;
	unchanged(7, vms_object_create_paged(arena, script.pager, 1, &params, &obj), -ERANGE);
	vms_pager_close(NULL);
	assert_null(obj);
}

/* The child has none of the parent's pages, and is told so. */
static void in_a_forked_child(void **state)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct vms_object *o = cast[TRAPPED];

		alarm(20);
		bool all = supply_bytes(o, 0, P, 0) == -ESTALE && fails(o, 0, P, -EIO) == -ESTALE &&
			   dirtied(o, 0, P, 0) == -ESTALE && query(o, 0, P, 0) == -ESTALE &&
			   wb_begin(o, 0, P, 0) == -ESTALE && wb_end(o, 0, P, 0) == -ESTALE &&
			   vms_pager_detach(script.pager, o) == -ESTALE &&
			   vms_pager_modified(script.pager, o, 0) == -ESTALE;

		/* Ending things works, as far as the child can see. */
		for (unsigned i = CAST; i-- > 0;)
			if (i != FOREIGN)
				vms_object_unref(cast[i]);
		vms_pager_close(other.pager);
		vms_object_unref(cast[FOREIGN]);
		vms_pager_close(script.pager);
		_exit(all && script.released == 1 && other.released == 1 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(supply_errors),   TEST(range_errors),	TEST(object_errors),
		TEST(creation_errors), TEST(in_a_forked_child),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
