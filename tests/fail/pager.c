// SPDX-License-Identifier: MIT
/*
 * pager.c: every allocation and host call of the pager's side fails in turn. A call that fails has
 * changed nothing that can be read or asked, the same call succeeds right after, and nothing leaks.
 */
#include "check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "object/content.h"
#include "pager_script.h"
#include "world.h"

#define PAGES 600

struct state {
	struct test_world world;
	struct script script;
	struct vms_arena *arena;
	struct vms_pager *pager; /* of files; else NULL */
	int fd;
	struct vms_object *obj, *aux;
	unsigned char *buf; /* PAGES pages of fill_pages(1) */
	/* The scenario. */
	void (*make)(struct state *s);
	int (*call)(struct state *s);
	void (*after)(struct state *s);	 /* what stands when it succeeded */
	void (*before)(struct state *s); /* ... and when it failed; NULL: see look() */
	/* What look() saw. */
	uint64_t granted;
	struct vms_dirty_range ranges[64];
	size_t n_ranges;
};

/* ---- The sweep ---- */

static void look(struct state *s, uint64_t *granted, struct vms_dirty_range *r, size_t *n)
{
	struct vms_arena_info info = { .size = sizeof(info) };

	*n = 0;
	memset(r, 0, 64 * sizeof(*r));
	assert_ok(vms_arena_info(s->arena, &info));
	*granted = info.granted;
	if (s->obj) {
		*n = 64;
		assert_ok(vms_pager_query_dirty(s->pager ? s->pager : s->script.pager, s->obj, 0,
						PAGES * P, r, n, NULL));
		assert_sound(s->obj);
	}
	if (s->aux)
		assert_sound(s->aux);
}

static void set_up(void *arg)
{
	struct state *s = arg;

	script_begin(&s->script);
	s->arena = arena_of(0);
	s->obj = s->aux = NULL;
	s->pager = NULL;
	s->fd = -1;
	s->make(s);
	look(s, &s->granted, s->ranges, &s->n_ranges);
}

static int run(void *arg)
{
	struct state *s = arg;

	return s->call(s);
}

static void check(void *arg, int result, bool failed)
{
	struct state *s = arg;
	struct vms_dirty_range ranges[64];
	uint64_t granted;
	size_t n;

	if (result) {
		assert_true(failed);
		look(s, &granted, ranges, &n);
		if (s->before) {
			s->before(s);
		} else {
			assert_int_equal(granted, s->granted);
			assert_int_equal(n, s->n_ranges);
			assert_memory_equal(ranges, s->ranges, sizeof(ranges));
		}
		assert_ok(s->call(s));
	}
	s->after(s);
	look(s, &granted, ranges, &n);
}

static void tear_down(void *arg)
{
	struct state *s = arg;

	vms_object_unref(s->aux);
	vms_object_unref(s->obj);
	if (s->obj && !s->pager)
		expect_complete(&s->script, 1);
	vms_pager_close(s->pager);
	script_end(&s->script);
	vms_arena_unref(s->arena);
	if (s->fd >= 0)
		close(s->fd);
}

static void sweep_of(struct state s, int err)
{
	struct sweep sw = {
		.set_up = set_up, .run = run, .check = check, .tear_down = tear_down, .err = err
	};
	struct state *at = malloc(sizeof(s));

	*at = s;
	at->buf = malloc(PAGES * P);
	fill_pages(at->buf, 1, 0, PAGES);
	test_world_begin(&at->world);
	sw.world = &at->world;
	sw.arg = at;
	sweep(&sw);
	test_world_end(&at->world);
	free(at->buf);
	free(at);
}

/* ---- Creating ---- */

static void nothing(struct state *s)
{
}

static int create(struct state *s)
{
	struct vms_object_params params = { .size = sizeof(params), .bytes = P, .name = "paged" };
	struct vms_pager_ops ops = { .size = sizeof(ops) };
	struct vms_object *obj;
	int err = vms_object_create_paged(s->arena, s->script.pager, 1, &params, &obj);

	(void)ops;
	if (err) {
		s->script.n = 0; /* born, and gone again: it may have been told */
		return err;
	}
	vms_object_unref(obj);
	expect_complete(&s->script, 1);
	return 0;
}

static int create_file(struct state *s)
{
	struct vms_pager *p;
	int err = vms_pager_file(s->fd, &p);

	if (!err)
		vms_pager_close(p);
	return err;
}

static void with_fd(struct state *s)
{
	s->fd = memfd_create("fail", MFD_CLOEXEC);
	assert_true(s->fd >= 0);
	assert_int_equal(pwrite(s->fd, s->buf, PAGES * P, 0), PAGES * P);
}

static void creating(void **state)
{
	sweep_of((struct state){ .make = nothing, .call = create, .after = nothing }, ENOMEM);
	sweep_of((struct state){ .make = with_fd, .call = create_file, .after = nothing }, EMFILE);
}

/* ---- Supply ---- */

static void with_object(struct state *s)
{
	s->obj = paged(s->arena, &s->script, 1, VMS_OBJECT_TRAP_DIRTY, PAGES);
	supply(&s->script, s->obj, 2, 70, 3);
}

static void with_aux(struct state *s)
{
	with_object(s);
	s->aux = anon(s->arena, 2 * PAGES);
	/* Holes at both ends, in the middle, and none at the end of a leaf. */
	assert_ok(vms_object_write(s->aux, 10 * P, s->buf + 10 * P, 90 * P, NULL));
	assert_ok(vms_object_write(s->aux, 300 * P, s->buf + 300 * P, 84 * P, NULL));
}

static int supply_by_copy(struct state *s)
{
	return vms_pager_supply_bytes(s->script.pager, s->obj, 5 * P, s->buf + 5 * P, 500 * P);
}

static void copied(struct state *s)
{
	for (uint64_t i = 5; i < 505; i += i < 80 ? 1 : 20)
		assert_page(s->obj, i >= 70 && i < 73 ? 2 : 1, i);
}

static int supply_by_move(struct state *s)
{
	return vms_pager_supply(s->script.pager, s->obj, 0, PAGES * P, s->aux, 0);
}

static void not_moved(struct state *s)
{
	struct vms_object_info info = { .size = sizeof(info) };

	assert_ok(vms_object_info(s->aux, &info));
	assert_int_equal(info.total, 174 * P);
	assert_page(s->aux, 1, 10);
	assert_page(s->aux, 1, 383);
	assert_ok(vms_object_info(s->obj, &info));
	assert_int_equal(info.total, 3 * P);
}

static void moved(struct state *s)
{
	for (uint64_t i = 0; i < PAGES; i++) {
		if (i >= 70 && i < 73)
			assert_page(s->obj, 2, i);
		else if ((i >= 10 && i < 100) || (i >= 300 && i < 384))
			assert_page(s->obj, 1, i);
		else
			assert_zero_page(s->obj, i);
	}
	for (uint64_t i = 0; i < PAGES; i += 7)
		assert_zero_page(s->aux, i);
}

static void supplying(void **state)
{
	sweep_of((struct state){ .make = with_object, .call = supply_by_copy, .after = copied },
		 ENOMEM);
	sweep_of((struct state){ .make = with_aux,
				 .call = supply_by_move,
				 .after = moved,
				 .before = not_moved },
		 ENOMEM);
}

/* ---- Dirt ---- */

static void with_zeros(struct state *s)
{
	with_object(s);
	s->aux = anon(s->arena, 2 * PAGES);
	assert_ok(vms_pager_supply(s->script.pager, s->obj, 0, PAGES * P, s->aux, 0));
}

static int dirty_all(struct state *s)
{
	return vms_pager_dirtied(s->script.pager, s->obj, 0, 200 * P);
}

static void all_dirty(struct state *s)
{
	struct vms_dirty_range r;
	size_t n = 1;
	int more;

	assert_ok(vms_pager_query_dirty(s->script.pager, s->obj, 0, PAGES * P, &r, &n, &more));
	assert_true(n == 1 && !more);
	assert_int_equal(r.len, 200 * P);
	assert_false(r.zero);
	assert_zero_page(s->obj, 3);
	assert_page(s->obj, 2, 71);
}

static void with_growth(struct state *s)
{
	s->obj = paged(s->arena, &s->script, 1, VMS_OBJECT_RESIZABLE, 100);
	assert_ok(vms_object_resize(s->obj, 64 * 64 * 64 * 3 * P, NULL));
	assert_ok(vms_object_write(s->obj, 300 * P, s->buf, 5 * P, NULL));
}

/* Inside long stretches of one mark: nodes are needed. */
static int begin_some(struct state *s)
{
	return vms_pager_writeback_begin(s->script.pager, s->obj, 110 * P, 64 * 64 * 5 * P, 0);
}

static int end_some(struct state *s)
{
	return vms_pager_writeback_end(s->script.pager, s->obj, 150 * P, 64 * 64 * 4 * P, 0);
}

static void with_begun(struct state *s)
{
	with_growth(s);
	assert_ok(begin_some(s));
}

static void some_clean(struct state *s)
{
	struct vms_dirty_range r[4];
	size_t n = 4;

	assert_ok(vms_pager_query_dirty(s->script.pager, s->obj, 0, 64 * 64 * 64 * 3 * P, r, &n,
					NULL));
	assert_int_equal(n, 2);
	assert_int_equal(r[0].len, 50 * P);
	assert_int_equal(r[1].off, (150 + 64 * 64 * 4) * P);
}

static void dirt(void **state)
{
	sweep_of((struct state){ .make = with_zeros, .call = dirty_all, .after = all_dirty },
		 ENOMEM);
	sweep_of((struct state){ .make = with_growth, .call = begin_some, .after = nothing },
		 ENOMEM);
	sweep_of((struct state){ .make = with_begun, .call = end_some, .after = some_clean },
		 ENOMEM);
}

/* ---- Files ---- */

static void with_file(struct state *s)
{
	struct vms_object_params params = { .size = sizeof(params),
					    .bytes = PAGES * P,
					    .flags = VMS_OBJECT_RESIZABLE };

	with_fd(s);
	assert_ok(vms_pager_file(s->fd, &s->pager));
	assert_ok(vms_object_create_paged(s->arena, s->pager, 0, &params, &s->obj));
}

static int read_file(struct state *s)
{
	unsigned char *is = malloc(PAGES * P);
	int err = vms_object_read(s->obj, 0, is, PAGES * P, NULL);

	if (!err)
		assert_memory_equal(is, s->buf, PAGES * P);
	free(is);
	return err;
}

static void file_read_or_not(struct state *s)
{
	assert_int_equal(s->n_ranges, 0);
}

static void with_dirt(struct state *s)
{
	with_file(s);
	for (uint64_t i = 0; i < 5; i++)
		assert_ok(vms_object_write(s->obj, i * 100 * P, s->buf, 70 * P, NULL));
	assert_ok(vms_object_op(s->obj, VMS_OBJECT_ZERO, 480 * P, 50 * P, NULL));
	assert_ok(vms_object_resize(s->obj, (PAGES + 100) * P, NULL));
}

static int sync_file(struct state *s)
{
	return vms_pager_file_sync(s->obj);
}

/* Some is written; what was not is dirty still. Every clean page is in the file. */
static void synced_in_part(struct state *s)
{
	struct vms_dirty_range r[64];
	unsigned char is[P], file[P];
	size_t n = 64, k = 0;

	assert_ok(vms_pager_query_dirty(s->pager, s->obj, 0, (PAGES + 100) * P, r, &n, NULL));
	assert_true(n > 0);
	for (uint64_t i = 0; i < PAGES + 100; i++) {
		while (k < n && i * P >= r[k].off + r[k].len)
			k++;
		if (k < n && i * P >= r[k].off)
			continue;
		assert_ok(vms_object_read(s->obj, i * P, is, P, NULL));
		assert_int_equal(pread(s->fd, file, P, (off_t)(i * P)), P);
		assert_memory_equal(is, file, P);
	}
}

static void synced(struct state *s)
{
	struct vms_dirty_range r;
	unsigned char is[P], file[P];
	size_t n = 1;

	assert_ok(vms_pager_query_dirty(s->pager, s->obj, 0, (PAGES + 100) * P, &r, &n, NULL));
	assert_int_equal(n, 0);
	for (uint64_t i = 0; i < PAGES + 100; i++) {
		assert_ok(vms_object_read(s->obj, i * P, is, P, NULL));
		assert_int_equal(pread(s->fd, file, P, (off_t)(i * P)), P);
		assert_memory_equal(is, file, P);
	}
}

static void files(void **state)
{
	sweep_of((struct state){ .make = with_file,
				 .call = read_file,
				 .after = nothing,
				 .before = file_read_or_not },
		 EIO);
	sweep_of((struct state){ .make = with_dirt,
				 .call = sync_file,
				 .after = synced,
				 .before = synced_in_part },
		 ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(creating),
		cmocka_unit_test(supplying),
		cmocka_unit_test(dirt),
		cmocka_unit_test(files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
