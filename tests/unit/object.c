// SPDX-License-Identifier: MIT
/* Objects: identity, counting, names, and every allocation and host call failing once. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "check.h"
#include "object/object.h"
#include "window.h" /* file_make */
#include "world.h"

static int begin(void **state)
{
	struct test_world *tw = calloc(1, sizeof(*tw));

	test_world_begin(tw);
	*state = tw;
	return 0;
}

static int end(void **state)
{
	test_world_end(*state);
	free(*state);
	return 0;
}

static struct vms_object *file_object(struct test_world *tw, int fd, bool keep,
				      struct vms_object **list)
{
	struct vms_object *obj = NULL;

	assert_ok(object_file(&tw->world, fd, keep, list, &obj));
	return obj;
}

static void names_and_sizes(void **state)
{
	struct test_world *tw = *state;
	struct vms_object *a, *b, *c;
	uint64_t size;

	assert_ok(object_create(&tw->world, OBJECT_ANON, NULL, &a));
	assert_null(a->name);
	assert_ok(object_size(a, &size));
	assert_int_equal(size, UINT64_MAX);
	assert_ok(object_create(&tw->world, OBJECT_FOREIGN, "[vdso]", &b));
	assert_string_equal(b->name, "[vdso]");
	assert_ok(object_create(&tw->world, OBJECT_SHARED, NULL, &c));
	c->size = 12345;
	assert_ok(object_size(c, &size));
	assert_int_equal(size, 12345);
	object_unref(a);
	object_unref(b);
	object_unref(c);
	object_unref(NULL);
}

static void shared_memory_looks_like_linux_has_it(void **state)
{
	struct test_world *tw = *state;
	struct vms_object *a, *b;

	assert_ok(object_create(&tw->world, OBJECT_SHARED, NULL, &a));
	assert_ok(object_create(&tw->world, OBJECT_SHARED, NULL, &b));
	assert_string_equal(a->name, "/dev/zero (deleted)");
	assert_int_equal(major(a->dev), 0);
	assert_int_equal(minor(a->dev), 1);
	assert_int_not_equal(a->ino, 0);
	assert_int_not_equal(a->ino, b->ino);
	object_unref(a);
	object_unref(b);
}

static void one_open_file_is_one_object(void **state)
{
	struct test_world *tw = *state;
	struct vms_object *list = NULL, *a, *b, *c;
	int fd = open("/proc/self/exe", O_RDONLY), again = open("/proc/self/exe", O_RDONLY);
	int copy = dup(fd);
	struct stat st;
	uint64_t size;

	assert_ok(fstat(fd, &st));
	a = file_object(tw, fd, true, &list);
	assert_int_equal(a->dev, st.st_dev);
	assert_int_equal(a->ino, st.st_ino);
	assert_int_equal(a->name[0], '/');
	b = file_object(tw, copy, true, &list);
	assert_ptr_equal(a, b);
	c = file_object(tw, again, true, &list);
	assert_ptr_not_equal(a, c);
	/* It lives on when the descriptors are gone. */
	close(fd);
	close(copy);
	assert_ok(object_size(a, &size));
	assert_int_equal(size, st.st_size);
	assert_ptr_equal(file_object(tw, again, true, &list), c);
	object_unref(a);
	object_unref(b);
	object_unref(c);
	assert_ptr_equal(list, c);
	object_unref(c);
	assert_null(list);
	close(again);
}

static void without_a_duplicate_the_inode_decides(void **state)
{
	struct test_world *tw = *state;
	struct vms_object *list = NULL, *a, *b, *c;
	int fd = open("/proc/self/exe", O_RDONLY), again = open("/proc/self/exe", O_RDONLY);
	int other = file_make(100), fds = open_descriptors();
	uint64_t size;

	a = file_object(tw, fd, false, &list);
	b = file_object(tw, again, false, &list);
	c = file_object(tw, other, false, &list);
	assert_ptr_equal(a, b);
	assert_ptr_not_equal(a, c);
	assert_int_equal(open_descriptors(), fds);
	assert_int_equal(object_size(a, &size), -EBADF);
	object_unref(a);
	object_unref(b);
	object_unref(c);
	assert_null(list);
	close(fd);
	close(again);
	close(other);
}

static void a_host_that_cannot_compare_falls_back_to_the_inode(void **state)
{
	struct test_world *tw = *state;
	struct vms_object *list = NULL, *a, *b;
	int fd = open("/proc/self/exe", O_RDONLY), again = open("/proc/self/exe", O_RDONLY);

	a = file_object(tw, fd, true, &list);
	test_world_fail(tw, 1, 1u << CALL_FD_SAME, EPERM);
	b = file_object(tw, again, true, &list);
	assert_int_equal(tw->failed, 1);
	assert_ptr_equal(a, b);
	object_unref(a);
	object_unref(b);
	close(fd);
	close(again);
}

static void devices_have_no_size(void **state)
{
	struct test_world *tw = *state;
	struct vms_object *list = NULL, *a;
	int fd = open("/dev/zero", O_RDWR);
	uint64_t size;

	a = file_object(tw, fd, true, &list);
	assert_true(S_ISCHR(a->mode));
	assert_ok(object_size(a, &size));
	assert_int_equal(size, UINT64_MAX);
	object_unref(a);
	close(fd);
}

/* ---- everything fails once ---- */

struct stage {
	struct test_world *tw;
	struct vms_object *list, *other, *obj;
	int fd;
};

static void set_up(void *arg)
{
	struct stage *s = arg;

	s->obj = NULL;
	s->other = file_object(s->tw, s->fd, true, &s->list);
}

static int run(void *arg)
{
	struct stage *s = arg;
	int fd = open("/proc/self/exe", O_RDONLY);
	int err = object_file(&s->tw->world, fd, true, &s->list, &s->obj);

	close(fd);
	return err;
}

static void check(void *arg, int result, bool failed)
{
	struct stage *s = arg;

	if (result == 0) { /* a name and a type that are not to be had are no failure */
		assert_ptr_equal(s->list, s->obj);
		object_unref(s->obj);
	} else {
		assert_true(failed);
		assert_null(s->obj);
	}
	assert_ptr_equal(s->list, s->other);
}

static void tear_down(void *arg)
{
	struct stage *s = arg;

	object_unref(s->other);
	assert_null(s->list);
	assert_int_equal(s->tw->live, 0);
	assert_int_equal(open_descriptors(), s->tw->fds_before + 1);
}

static void every_call_fails_once(void **state)
{
	struct stage s = { .tw = *state, .fd = file_make(10) };
	struct sweep sw = { .world = *state,
			    .set_up = set_up,
			    .run = run,
			    .check = check,
			    .tear_down = tear_down,
			    .arg = &s };

	/* fstat, path, object, its name, file system, duplicate */
	assert_int_equal(sweep(&sw), 6);
	close(s.fd);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, begin, end)
		T(names_and_sizes),
		T(shared_memory_looks_like_linux_has_it),
		T(one_open_file_is_one_object),
		T(without_a_duplicate_the_inode_decides),
		T(a_host_that_cannot_compare_falls_back_to_the_inode),
		T(devices_have_no_size),
		T(every_call_fails_once),
	};

	return cmocka_run_group_tests_name("object", tests, NULL, NULL);
}
