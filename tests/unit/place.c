// SPDX-License-Identifier: MIT
/* Where a page is, for every kind of content. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "object/place.h"
#include "objects_kit.h"

static struct place where(struct vms_object *obj, uint64_t page)
{
	struct content *c = view_of(obj)->content;
	struct place p;

	lock_take(&c->family->lock);
	p = content_where(c, page);
	lock_drop(&c->family->lock);
	return p;
}

static void in_the_arena(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 4 * P, 0), *b;
	struct place p, q;
	char byte = 0;

	assert_int_equal(where(a, 1).store, PLACE_ZERO);
	put(a, P, P, 'x');
	p = where(a, 1);
	assert_int_equal(p.store, PLACE_ARENA);
	assert_true(p.own);
	assert_int_equal(*(char *)p.hva, 'x');
	assert_int_equal(pread(p.fd, &byte, 1, (off_t)p.off), 1); /* the same byte by descriptor */
	assert_int_equal(byte, 'x');
	b = child(a, VMS_CHILD_SNAPSHOT, P, 3 * P, 0);
	q = where(b, 0);
	assert_ptr_equal(q.hva, p.hva);
	assert_false(q.own);
	assert_false(where(a, 1).own);
	put(b, 0, 1, 'y');
	assert_ptr_not_equal(where(b, 0).hva, p.hva);
	assert_ptr_equal(where(a, 1).hva, p.hva);
	assert_true(where(a, 1).own); /* the last who sees it */
	vms_object_unref(b);
	vms_object_unref(a);
}

static void in_a_file_and_above_it(void **state)
{
	struct fixture *f = *state;
	struct vms_object_params params = { .size = sizeof(params), .bytes = 4 * P };
	int fd = memfd_create("place", MFD_CLOEXEC);
	struct vms_object *file, *over;
	struct place p;

	assert_int_equal(ftruncate(fd, (off_t)(4 * P)), 0);
	assert_ok(vms_object_create_file(f->arena, fd, &params, &file));
	over = child(file, VMS_CHILD_SNAPSHOT_LAZY, P, 4 * P, 0);
	p = where(file, 2);
	assert_int_equal(p.store, PLACE_FILE);
	assert_int_equal(p.off, 2 * P);
	assert_true(p.own);
	p = where(over, 1); /* shows page 2 of the file, which others write */
	assert_int_equal(p.store, PLACE_FILE);
	assert_int_equal(p.off, 2 * P);
	assert_false(p.own);
	assert_int_equal(where(over, 3).store, PLACE_ZERO); /* past the file */
	put(over, P, 1, 'z');
	assert_int_equal(where(over, 1).store, PLACE_ARENA);
	vms_object_unref(over);
	vms_object_unref(file);
	close(fd);
}

static void in_the_callers_memory(void **state)
{
	struct vms_object_params params = { .size = sizeof(params), .bytes = 2 * P };
	char *mem = aligned_alloc(P, 2 * P);
	struct vms_object *obj;
	struct place p;

	(void)state;
	assert_ok(vms_object_create_host(mem, &params, &obj));
	p = where(obj, 1);
	assert_int_equal(p.store, PLACE_HOST);
	assert_ptr_equal(p.hva, mem + P);
	assert_int_equal(p.fd, -1);
	vms_object_unref(obj);
	free(mem);
}

static void ignore(void *arg, struct vms_object *obj, uint64_t key, enum vms_request_kind kind,
		   uint64_t off, uint64_t len)
{
	(void)arg, (void)obj, (void)key, (void)kind, (void)off, (void)len;
}

static void at_a_pagers(void **state)
{
	struct fixture *f = *state;
	struct vms_object_params params = { .size = sizeof(params), .bytes = 2 * P };
	struct vms_pager_ops ops = { .size = sizeof(ops), .request = ignore };
	struct vms_object *obj, *over;
	struct vms_pager *pager;
	char page[P];

	assert_ok(vms_pager_create(&ops, NULL, &pager));
	assert_ok(vms_object_create_paged(f->arena, pager, 1, &params, &obj));
	over = child(obj, VMS_CHILD_SNAPSHOT_LAZY, 0, 2 * P, 0);
	assert_int_equal(where(obj, 0).store, PLACE_ABSENT);
	assert_int_equal(where(over, 0).store, PLACE_ABSENT);
	memset(page, 'p', P);
	assert_ok(vms_pager_supply_bytes(pager, obj, 0, page, P));
	assert_true(where(obj, 0).own);
	assert_ptr_equal(where(over, 0).hva, where(obj, 0).hva);
	assert_false(where(over, 0).own);
	vms_object_unref(over);
	vms_object_unref(obj);
	vms_pager_close(pager);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(in_the_arena, begin, end),
		cmocka_unit_test_setup_teardown(in_a_file_and_above_it, begin, end),
		cmocka_unit_test_setup_teardown(in_the_callers_memory, begin, end),
		cmocka_unit_test_setup_teardown(at_a_pagers, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
