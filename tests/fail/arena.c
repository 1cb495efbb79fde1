// SPDX-License-Identifier: MIT
/*
 * Every allocation and host call of the arena fails once: what was held is held with its bytes,
 * what was asked for is had or not at all, the arena's own validator agrees, and nothing leaks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

#include "base/epoch.h"
#include "store/arena.h"
#include "world.h"

#define MIB (UINT64_C(1) << 20)
#define N   3000u /* frames of a grant, more than the cache keeps */

static struct test_world tw;
static uint64_t page;
static unsigned errors_seen; /* runs whose result was an error: the sweep must see some */

struct stage {
	struct vms_arena *a;
	struct arena_nook nook;
	struct frame_list l;
	frame_t kept, f[N];
	unsigned n; /* of f that are held */
	int64_t pages;
	int (*run)(struct stage *s);
};

static struct vms_arena_params params(uint64_t reserve)
{
	return (struct vms_arena_params){ .size = sizeof(struct vms_arena_params),
					  .reserve = reserve };
}

static void hold(struct stage *s)
{
	while (s->l.n) {
		frame_t f = arena_take(s->a, &s->l);
		unsigned char *p = arena_addr(s->a, f);

		arena_clear(s->a, f);
		assert_int_equal(p[0] | p[page - 1], 0);
		arena_touch(s->a, f);
		p[0] = p[page - 1] = 7;
		s->f[s->n++] = f;
	}
}

static void release(struct stage *s)
{
	struct frame_batch b;

	frame_batch_init(&b, s->a);
	while (s->n)
		frame_unref(&b, s->f[--s->n]);
	frame_batch_end(&b);
}

/* ---- Creating ---- */

static void none(void *arg)
{
	struct stage *s = arg;

	s->pages = mapped_pages();
}

static int create(void *arg)
{
	struct stage *s = arg;
	struct vms_arena_params p = params(64 * MIB);

	s->a = NULL;
	return vms_arena_create(&p, &s->a);
}

static void check_created(void *arg, int result, bool failed)
{
	struct stage *s = arg;

	errors_seen += result < 0;
	if (result == 0) {
		assert_ok(arena_check(s->a));
		return;
	}
	assert_true(failed);
	assert_null(s->a);
	assert_true(strlen(vms_last_error()) > 0);
	assert_int_equal(tw.live, 0);
	assert_int_equal(open_descriptors(), tw.fds_before);
	assert_int_equal(mapped_pages(), s->pages);
}

static void drop(void *arg)
{
	struct stage *s = arg;

	vms_arena_unref(s->a);
	epoch_synchronize();
}

static void test_create(void **state)
{
	static struct stage s;
	struct sweep sw = { .world = &tw,
			    .set_up = none,
			    .run = create,
			    .check = check_created,
			    .tear_down = drop,
			    .arg = &s };

	/* What libc and the epochs map at first is not the arena's. */
	assert_ok(create(&s));
	drop(&s);
	errors_seen = 0;
	assert_true(sweep(&sw) >= 7);
	assert_true(errors_seen >= 7);
	sw.err = EMFILE;
	sweep(&sw);
}

/* ---- Using ---- */

/* One held frame with bytes, some in the cache. */
static void set_up(void *arg)
{
	struct stage *s = arg;
	struct vms_arena_params p = params(256 * MIB);

	assert_ok(vms_arena_create(&p, &s->a));
	s->nook = (struct arena_nook){ 0 };
	s->l = (struct frame_list){ 0 };
	s->n = 0;
	assert_ok(arena_grant(s->a, &s->nook, FRAME_NONE, 101, &s->l));
	hold(s);
	s->kept = s->f[--s->n];
	release(s);
	epoch_synchronize();
	s->pages = mapped_pages();
}

static int run(void *arg)
{
	struct stage *s = arg;

	return s->run(s);
}

static void check(void *arg, int result, bool failed)
{
	struct stage *s = arg;
	struct vms_arena_info info = { .size = sizeof(info) };
	const unsigned char *p = arena_addr(s->a, s->kept);

	errors_seen += result < 0;
	if (result < 0) {
		assert_true(failed);
		assert_int_equal(result, -ENOMEM);
		assert_int_equal(mapped_pages(), s->pages);
	}
	assert_ok(arena_check(s->a));
	assert_ok(vms_arena_info(s->a, &info));
	assert_int_equal(info.granted, (1 + s->n + s->l.n) * page);
	assert_true(frame_exclusive(s->a, s->kept));
	assert_true(p[0] == 7 && p[page - 1] == 7);
	/* It still works: the same again, everything back. */
	assert_ok(arena_grant(s->a, &s->nook, FRAME_NONE, N - s->n - s->l.n, &s->l));
	hold(s);
	assert_int_equal(s->n, N);
	release(s);
	arena_trim(s->a, UINT64_MAX);
	assert_ok(arena_check(s->a));
	assert_ok(vms_arena_info(s->a, &info));
	assert_int_equal(info.granted, page);
	assert_int_equal(info.cached, 0);
}

static void tear_down(void *arg)
{
	struct stage *s = arg;
	struct stat st;

	s->f[s->n++] = s->kept;
	release(s);
	arena_nook_drop(s->a, &s->nook);
	arena_trim(s->a, UINT64_MAX);
	assert_ok(fstat(arena_fd(s->a), &st));
	assert_int_equal(st.st_blocks, 0);
	vms_arena_unref(s->a);
	epoch_synchronize();
}

/* runs: at least so many have a failure, errors: end with an error. */
static void sweep_run(int (*fn)(struct stage *s), unsigned runs, unsigned errors)
{
	static const int errs[] = { ENOMEM, EINVAL, EPERM };
	static struct stage s;
	struct sweep sw = { .world = &tw,
			    .set_up = set_up,
			    .run = run,
			    .check = check,
			    .tear_down = tear_down,
			    .arg = &s };

	s.run = fn;
	for (unsigned i = 0; i < 3; i++) {
		errors_seen = 0;
		sw.err = errs[i];
		assert_true(sweep(&sw) >= runs);
		assert_true(errors_seen >= errors);
	}
}

/* Past what is mapped: the file grows. */
static int grow(struct stage *s)
{
	uint32_t len;
	frame_t base;

	/* Runs are numbers alone: nothing can fail. */
	for (unsigned i = 0; i < 5; i++)
		assert_ok(arena_run(s->a, RUN_MAX, &base, &len));
	return arena_grant(s->a, &s->nook, base, 200, &s->l);
}

/* What was taken of the cache before the file had to grow goes back there. */
static int grow_late(struct stage *s)
{
	uint32_t len;
	frame_t base = 0;

	for (unsigned i = 0; i < 3; i++)
		assert_ok(arena_run(s->a, RUN_MAX, &base, &len));
	assert_int_equal((base + len) * page % (64 * MIB), 0); /* the end of a step */
	assert_ok(arena_run(s->a, RUN_MAX, &base, &len));
	return arena_grant(s->a, &s->nook, base - 150, 300, &s->l);
}

/* More than one step. */
static int contiguous(struct stage *s)
{
	struct frame_batch b;
	frame_t first;
	int err = arena_grant_contiguous(s->a, 20000, &first);

	if (err)
		return err;
	frame_batch_init(&b, s->a);
	for (frame_t f = first; f < first + 20000; f++)
		frame_unref(&b, f);
	frame_batch_end(&b);
	return 0;
}

/* In sequence: the host is asked for pages ahead, and may refuse. */
static int sequence(struct stage *s)
{
	uint32_t len;
	frame_t base;

	assert_ok(arena_run(s->a, 64, &base, &len));
	for (unsigned i = 0; i < 40; i++) {
		assert_ok(arena_grant(s->a, &s->nook, base + i, 1, &s->l));
		hold(s);
		assert_int_equal(s->f[s->n - 1], base + i);
	}
	arena_run_drop(s->a, base, len);
	return 0;
}

/* Freeing cannot fail; what the host does not take back stays cached, and clean when used again. */
static int free_many(struct stage *s)
{
	int err = arena_grant(s->a, &s->nook, FRAME_NONE, N, &s->l);

	if (err)
		return err;
	hold(s);
	release(s);
	err = arena_grant(s->a, &s->nook, FRAME_NONE, N / 2, &s->l);
	if (!err)
		hold(s);
	return err;
}

static int trim(struct stage *s)
{
	uint64_t freed = UINT64_MAX;
	int err = vms_arena_reclaim(s->a, UINT64_MAX, &freed);

	assert_ok(err);
	assert_true(freed <= 100 * page);
	return 0;
}

static void test_grow(void **state)
{
	sweep_run(grow, 5, 5); /* limit, size, map, two advices */
	sweep_run(grow_late, 5, 5);
	sweep_run(sequence, 3, 0);
}

static void test_contiguous(void **state)
{
	/* A failed try gives the cache back and tries again. */
	sweep_run(contiguous, 5, 0);
}

static void test_freeing(void **state)
{
	sweep_run(free_many, 1, 0);
	sweep_run(trim, 1, 0);
}

static int begin(void **state)
{
	page = (uint64_t)sysconf(_SC_PAGESIZE);
	test_world_begin(&tw);
	assert_true(epoch_enter()); /* its record is not the arena's */
	epoch_leave();
	return 0;
}

static int end(void **state)
{
	epoch_synchronize();
	test_world_end(&tw);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_create, begin, end),
		cmocka_unit_test_setup_teardown(test_grow, begin, end),
		cmocka_unit_test_setup_teardown(test_contiguous, begin, end),
		cmocka_unit_test_setup_teardown(test_freeing, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
