// SPDX-License-Identifier: MIT
/*
 * The arena against a naive model: which frames are held, with what count and which bytes. After
 * every step the arena's own validator runs.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#include "base/epoch.h"
#include "random.h"
#include "sanitize.h"
#include "store/arena.h"
#include "world.h"

#define MIB (UINT64_C(1) << 20)

static struct test_world tw;
static uint64_t page;

static struct vms_arena *make(uint64_t limit, uint64_t reserve)
{
	struct vms_arena_params params = { .size = sizeof(params),
					   .limit = limit,
					   .reserve = reserve };
	struct vms_arena *a;

	assert_ok(vms_arena_create(&params, &a));
	assert_ok(arena_check(a));
	return a;
}

static struct vms_arena_info info_of(struct vms_arena *a)
{
	struct vms_arena_info info = { .size = sizeof(info) };

	assert_ok(vms_arena_info(a, &info));
	return info;
}

static frame_t grant_one(struct vms_arena *a, struct arena_nook *nook, frame_t want)
{
	struct frame_list l = { 0 };

	assert_ok(arena_grant(a, nook, want, 1, &l));
	assert_int_equal(l.n, 1);
	return arena_take(a, &l);
}

static void unref_one(struct vms_arena *a, frame_t f)
{
	struct frame_batch b;

	frame_batch_init(&b, a);
	frame_unref(&b, f);
	frame_batch_end(&b);
}

/* The first byte and the last of a frame, so that the host has little to do. */
static void paint(struct vms_arena *a, frame_t f, unsigned char value)
{
	unsigned char *p = arena_addr(a, f);

	arena_touch(a, f);
	p[0] = p[page - 1] = value;
}

static bool painted(struct vms_arena *a, frame_t f, unsigned char value)
{
	const unsigned char *p = arena_addr(a, f);

	return p[0] == value && p[page - 1] == value;
}

static bool is_zero(struct vms_arena *a, frame_t f)
{
	const unsigned char *p = arena_addr(a, f);

	for (uint64_t i = 0; i < page; i++) {
		if (p[i])
			return false;
	}
	return true;
}

static uint64_t file_bytes(struct vms_arena *a)
{
	struct stat st;

	assert_ok(fstat(arena_fd(a), &st));
	return (uint64_t)st.st_blocks * 512;
}

static int set_up(void **state)
{
	page = (uint64_t)sysconf(_SC_PAGESIZE);
	test_world_begin(&tw);
	return 0;
}

static int tear_down(void **state)
{
	epoch_synchronize();
	test_world_end(&tw);
	return 0;
}

static void test_life(void **state)
{
	struct vms_arena *a = make(0, 0);
	struct vms_arena_info info = info_of(a);

	assert_int_equal(info.page_size, page);
	/* A sanitizer's shadow leaves less room. */
	assert_true(info.reserved >= UINT64_C(1) << (SANITIZED ? 36 : 40));
	assert_true(info.limit >= UINT64_C(1) << (SANITIZED ? 36 : 40));
	assert_true(info.limit <= info.reserved);
	assert_int_equal(info.granted, 0);
	assert_int_equal(info.handed_out, 0);
	assert_true(vms_arena_ref(a) == a);
	vms_arena_unref(a);
	assert_ok(arena_usable(a));
	vms_arena_unref(a);
	vms_arena_unref(NULL);
}

static void test_params(void **state)
{
	struct vms_arena_params p = { .size = sizeof(p) - 1 };
	struct vms_arena_info info = { .size = sizeof(info) - 1 };
	struct vms_arena *a = NULL;

	assert_int_equal(vms_arena_create(NULL, &a), -EINVAL);
	assert_int_equal(vms_arena_create(&p, &a), -EINVAL);
	p.size = sizeof(p);
	p.flags = 1;
	assert_int_equal(vms_arena_create(&p, &a), -EINVAL);
	p.flags = 0;
	p.reserve = (UINT64_C(1) << 44) + 1;
	assert_int_equal(vms_arena_create(&p, &a), -EINVAL);
	assert_null(a);
	a = make(1, 1);
	assert_int_equal(vms_arena_info(a, &info), -EINVAL);
	vms_arena_unref(a);
}

static void test_frame(void **state)
{
	struct vms_arena *a = make(0, 64 * MIB);
	struct arena_nook nook = { 0 };
	frame_t f = grant_one(a, &nook, FRAME_NONE), g = grant_one(a, &nook, FRAME_NONE);

	assert_true(f >= FRAME_FIRST);
	assert_int_equal(g, f + 1);
	assert_true(is_zero(a, f));
	assert_true(frame_exclusive(a, f));
	frame_ref(a, f);
	assert_false(frame_exclusive(a, f));
	unref_one(a, f);
	assert_true(frame_exclusive(a, f));
	assert_int_equal(info_of(a).granted, 2 * page);

	assert_int_equal(frame_marks(a, f), 0);
	assert_int_equal(frame_mark(a, f, FRAME_DIRTY | FRAME_COLD, 0), 0);
	assert_int_equal(frame_mark(a, f, FRAME_CLEANING, FRAME_DIRTY), FRAME_DIRTY | FRAME_COLD);
	assert_int_equal(frame_marks(a, f), FRAME_CLEANING | FRAME_COLD);
	assert_false(frame_unpin(a, f));
	for (unsigned i = 0; i < 65535; i++)
		assert_true(frame_pin(a, f));
	assert_false(frame_pin(a, f));
	assert_int_equal(frame_pins(a, f), 65535);
	for (unsigned i = 0; i < 65535; i++)
		assert_true(frame_unpin(a, f));
	assert_int_equal(frame_pins(a, f), 0);

	paint(a, f, 7);
	arena_clear(a, f);
	assert_true(is_zero(a, f));
	unref_one(a, f);
	unref_one(a, g);
	arena_nook_drop(a, &nook);
	assert_ok(arena_check(a));
	assert_int_equal(info_of(a).granted, 0);
	assert_int_equal(info_of(a).cached, 2 * page);
	assert_true(arena_trim(a, UINT64_MAX) >= page);
	assert_int_equal(info_of(a).cached, 0);
	assert_ok(arena_check(a));
	vms_arena_unref(a);
}

/* Runs are aligned, do not overlap, and their numbers are given in order. */
static void test_runs(void **state)
{
	static const struct {
		uint64_t n;
		uint32_t len;
	} cases[] = { { 1, 64 },      { 64, 64 },     { 65, 128 },
		      { 1000, 1024 }, { 4096, 4096 }, { 9999, 4096 } };
	struct vms_arena *a = make(0, 256 * MIB);
	struct arena_nook nook = { 0 };
	frame_t base[6];
	uint32_t len[6];

	for (unsigned i = 0; i < 6; i++) {
		struct frame_list l = { 0 };
		struct frame_batch b;

		assert_ok(arena_run(a, cases[i].n, &base[i], &len[i]));
		assert_int_equal(len[i], cases[i].len);
		assert_int_equal(base[i] % len[i], 0);
		for (unsigned j = 0; j < i; j++)
			assert_true(base[i] + len[i] <= base[j] || base[j] + len[j] <= base[i]);
		assert_ok(arena_grant(a, &nook, base[i] + 2, len[i] - 2, &l));
		frame_batch_init(&b, a);
		for (frame_t f = base[i] + 2; l.n; f++) {
			assert_int_equal(arena_take(a, &l), f);
			frame_unref(&b, f);
		}
		frame_batch_end(&b);
		assert_ok(arena_check(a));
	}
	for (unsigned i = 0; i < 6; i++)
		arena_run_drop(a, base[i], len[i]);
	arena_trim(a, UINT64_MAX);
	assert_ok(arena_check(a));
	/* Everything came back: the same again at the same place. */
	for (unsigned i = 0; i < 6; i++) {
		frame_t again;

		assert_ok(arena_run(a, cases[i].n, &again, &len[i]));
		assert_int_equal(again, base[i]);
	}
	vms_arena_unref(a);
}

/* Every byte of limit and reserve can be had, runs or not, and one more is refused. */
static void test_limit(void **state)
{
	struct vms_arena *a = make(0, 16 * MIB);
	struct arena_nook nook = { 0 };
	struct frame_list l = { 0 }, more = { 0 };
	uint64_t all = info_of(a).limit / page;
	uint32_t len;
	frame_t base;

	while (arena_run(a, 1, &base, &len) == 0) /* the numbers are all somebody's */
		;
	assert_ok(arena_grant(a, &nook, FRAME_NONE, all - 3, &l));
	assert_int_equal(arena_grant(a, &nook, FRAME_NONE, 4, &more), -EDQUOT);
	assert_int_equal(more.n, 0);
	assert_int_equal(arena_grant(a, &nook, FRAME_NONE, UINT64_MAX, &more), -EDQUOT);
	assert_ok(arena_check(a));
	assert_ok(arena_grant(a, &nook, FRAME_NONE, 3, &l));
	assert_int_equal(l.n, all);
	assert_ok(arena_check(a));
	assert_int_equal(arena_grant(a, &nook, FRAME_NONE, 1, &more), -EDQUOT);
	assert_int_equal(arena_grant_contiguous(a, 1, &base), -EDQUOT);
	arena_ungrant(a, &l);
	assert_int_equal(info_of(a).cached, 0); /* never touched: nothing to keep */
	assert_ok(arena_check(a));
	vms_arena_unref(a);
}

static void test_contiguous(void **state)
{
	struct vms_arena *a = make(0, 128 * MIB);
	struct arena_nook nook = { 0 };
	struct frame_batch b;
	frame_t first, second;

	grant_one(a, &nook, FRAME_NONE);
	assert_ok(arena_grant_contiguous(a, 5000, &first));
	assert_ok(arena_grant_contiguous(a, 1, &second));
	assert_true(second < first || second >= first + 5000);
	assert_ok(arena_check(a));
	assert_int_equal(arena_grant_contiguous(a, 0, &second), -EINVAL);
	assert_int_equal(info_of(a).granted, 5002 * page);
	for (frame_t f = first; f < first + 5000; f++) {
		assert_true(frame_exclusive(a, f));
		paint(a, f, (unsigned char)f);
	}
	frame_batch_init(&b, a);
	for (frame_t f = first; f < first + 5000; f++)
		frame_unref(&b, f);
	frame_batch_end(&b);
	assert_ok(arena_check(a));
	assert_true(info_of(a).cached <= 1024 * page);
	/* What is in the cache stands in the way of so many numbers: it is given back. */
	assert_ok(arena_grant_contiguous(a, 31 * 1000, &first));
	assert_true(is_zero(a, first));
	assert_int_equal(arena_grant_contiguous(a, 128 * MIB / page / 2, &second), -EDQUOT);
	assert_ok(arena_check(a));
	vms_arena_unref(a);
}

/* Memory really goes back: the file's blocks say so. */
static void test_punch(void **state)
{
	struct vms_arena *a = make(0, 128 * MIB);
	struct arena_nook nook = { 0 };
	struct frame_list l = { 0 };
	struct frame_batch b;
	frame_t *f = calloc(4096, sizeof(*f));
	uint64_t before;

	assert_ok(arena_grant(a, &nook, FRAME_NONE, 4096, &l));
	for (unsigned i = 0; i < 4096; i++)
		paint(a, f[i] = arena_take(a, &l), (unsigned char)i);
	before = file_bytes(a);
	assert_true(before >= 4096 * page);
	frame_batch_init(&b, a);
	for (unsigned i = 0; i < 4096; i += 2) /* every other: 2,048 holes */
		frame_unref(&b, f[i]);
	frame_batch_end(&b);
	assert_ok(arena_check(a));
	assert_true(info_of(a).cached <= 1024 * page);
	assert_true(file_bytes(a) <= before - 1024 * page);
	assert_true(arena_trim(a, 1) == page);
	assert_true(arena_trim(a, UINT64_MAX) > 0);
	assert_int_equal(info_of(a).cached, 0);
	assert_int_equal(file_bytes(a), 2048 * page);
	assert_ok(arena_check(a));
	for (unsigned i = 1; i < 4096; i += 2)
		assert_true(painted(a, f[i], (unsigned char)i));
	/* In order, all at once: few host calls. */
	tw.calls[CALL_FALLOCATE] = 0;
	frame_batch_init(&b, a);
	for (unsigned i = 4096; i > 0; i -= 2)
		frame_unref(&b, f[i - 1]);
	frame_batch_end(&b);
	arena_trim(a, UINT64_MAX);
	assert_int_equal(file_bytes(a), 0);
	free(f);
	vms_arena_unref(a);
}

/* A section that is open keeps a freed frame's bytes as they are. */
static void test_limbo(void **state)
{
	struct vms_arena *a = make(0, 64 * MIB);
	struct arena_nook nook = { 0 };
	frame_t f = grant_one(a, &nook, FRAME_NONE);

	paint(a, f, 9);
	assert_true(epoch_enter());
	unref_one(a, f);
	assert_int_equal(arena_trim(a, UINT64_MAX), 0);
	for (unsigned i = 0; i < 200; i++) {
		frame_t g = grant_one(a, &nook, f);

		assert_int_not_equal(g, f);
		paint(a, g, 3);
		unref_one(a, g);
	}
	assert_true(painted(a, f, 9));
	assert_ok(arena_check(a));
	epoch_leave();
	assert_int_equal(arena_trim(a, UINT64_MAX), 201 * page);
	assert_ok(arena_check(a));
	vms_arena_unref(a);
}

/* What was made ahead of a sequence is bounded, counted, and goes back with the rest. */
static void test_ahead(void **state)
{
	struct vms_arena *a = make(0, 64 * MIB);
	struct arena_nook nook = { 0 };
	frame_t f[1000];
	struct frame_batch b;
	frame_t base;
	uint32_t len;

	assert_ok(arena_run(a, 4096, &base, &len));
	for (unsigned i = 0; i < 1000; i++) {
		f[i] = grant_one(a, &nook, base + i);
		assert_int_equal(f[i], base + i);
		assert_true(is_zero(a, f[i]));
		paint(a, f[i], 1);
	}
	assert_ok(arena_check(a));
	assert_true(info_of(a).cached <= 64 * page);
	assert_true(file_bytes(a) <= (1000 + 64) * page);
	/* Pairs all over make the most of it; still bounded. */
	frame_batch_init(&b, a);
	for (unsigned i = 1000; i + 2 < 4096; i += 20) {
		frame_unref(&b, grant_one(a, &nook, base + i));
		frame_unref(&b, f[0]);
		frame_batch_end(&b);
		f[0] = grant_one(a, &nook, base + i + 1);
	}
	assert_true(info_of(a).cached <= (1024 + 256 + 64) * page);
	assert_ok(arena_check(a));
	for (unsigned i = 0; i < 1000; i++)
		frame_unref(&b, f[i]);
	frame_batch_end(&b);
	arena_run_drop(a, base, len);
	arena_nook_drop(a, &nook);
	arena_trim(a, UINT64_MAX);
	assert_ok(arena_check(a));
	assert_int_equal(info_of(a).cached, 0);
	assert_int_equal(file_bytes(a), 0);
	vms_arena_unref(a);
}

/* ---- Threads ---- */

/* Writers replace frames on a shelf and free the old ones; readers find what they were promised. */
#define SHELF  8u
#define ROUNDS (SANITIZED ? 3000u : 20000u)

struct shelf {
	struct vms_arena *a;
	_Atomic(uint64_t) spot[SHELF]; /* a frame, and in the high half what its first word is */
	atomic_bool stop;
	atomic_uint bad;
};

static void *shelf_reader(void *arg)
{
	struct shelf *s = arg;

	while (!atomic_load(&s->stop)) {
		if (!epoch_enter()) {
			atomic_fetch_add(&s->bad, 1);
			break;
		}
		for (unsigned i = 0; i < SHELF; i++) {
			uint64_t at = atomic_load(&s->spot[i]);
			const uint32_t *p = arena_addr(s->a, (frame_t)at);

			if (at && *p != at >> 32)
				atomic_fetch_add(&s->bad, 1);
		}
		epoch_leave();
	}
	return NULL;
}

static void *shelf_writer(void *arg)
{
	struct shelf *s = arg;
	struct arena_nook nook = { 0 };
	struct frame_batch b;

	frame_batch_init(&b, s->a);
	for (uint32_t i = 1; i <= ROUNDS; i++) {
		frame_t f = grant_one(s->a, &nook, FRAME_NONE);
		uint64_t old;

		arena_clear(s->a, f);
		arena_touch(s->a, f);
		*(uint32_t *)arena_addr(s->a, f) = i;
		old = atomic_exchange(&s->spot[i % SHELF], (uint64_t)i << 32 | f);
		if (old)
			frame_unref(&b, (frame_t)old);
		frame_batch_end(&b);
	}
	arena_nook_drop(s->a, &nook);
	return NULL;
}

static void test_threads(void **state)
{
	struct vms_arena_params params = { .size = sizeof(params), .reserve = 64 * MIB };
	static struct shelf s;
	pthread_t r[2], w[2];
	struct frame_batch b;

	/* The test world counts without a lock. */
	assert_ok(arena_create(&world_host, &params, &s.a));
	for (unsigned i = 0; i < 2; i++) {
		assert_ok(pthread_create(&r[i], NULL, shelf_reader, &s));
		assert_ok(pthread_create(&w[i], NULL, shelf_writer, &s));
	}
	for (unsigned i = 0; i < 2; i++)
		pthread_join(w[i], NULL);
	atomic_store(&s.stop, true);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(r[i], NULL);
	assert_int_equal(atomic_load(&s.bad), 0);
	assert_int_equal(info_of(s.a).granted, SHELF * page);
	frame_batch_init(&b, s.a);
	for (unsigned i = 0; i < SHELF; i++)
		frame_unref(&b, (frame_t)atomic_load(&s.spot[i]));
	frame_batch_end(&b);
	assert_ok(arena_check(s.a));
	arena_trim(s.a, UINT64_MAX);
	assert_int_equal(file_bytes(s.a), 0);
	vms_arena_unref(s.a);
}

/* ---- Random operations ---- */

#define MODEL_FRAMES 6000u
#define MODEL_RUNS   4u
#define MODEL_STEPS  (SANITIZED ? 200u : 700u)

struct held {
	frame_t f;
	unsigned count;
	unsigned char value; /* 0: known to be zero, or not written */
	bool written;
};

struct model {
	struct vms_arena *a;
	struct held held[MODEL_FRAMES];
	unsigned n;
	uint64_t limit;
	struct arena_nook nook[2];
	struct {
		frame_t base;
		uint32_t len;
	} run[MODEL_RUNS];
	uint64_t seed;
};

static uint64_t rnd(struct model *m, uint64_t below)
{
	return next53(&m->seed) % below;
}

static void model_check(struct model *m)
{
	assert_ok(arena_check(m->a));
	assert_int_equal(info_of(m->a).granted, m->n * page);
	for (unsigned i = 0; i < m->n; i++) {
		const struct held *h = &m->held[i];

		if (frame_exclusive(m->a, h->f) != (h->count == 1))
			print_error("frame %u\n", h->f);
		assert_true(frame_exclusive(m->a, h->f) == (h->count == 1));
		if (h->written)
			assert_true(painted(m->a, h->f, h->value));
	}
}

static void model_hold(struct model *m, frame_t f)
{
	for (unsigned i = 0; i < m->n; i++)
		assert_int_not_equal(m->held[i].f, f);
	m->held[m->n++] = (struct held){ .f = f, .count = 1 };
}

static void model_grant(struct model *m)
{
	uint64_t n = rnd(m, 8) ? 1 + rnd(m, 40) : 1 + rnd(m, 700);
	unsigned r = (unsigned)rnd(m, MODEL_RUNS);
	frame_t want = FRAME_NONE;
	struct frame_list l = { 0 };
	int err;

	if (rnd(m, 2) && m->run[r].len)
		want = m->run[r].base + (frame_t)rnd(m, m->run[r].len);
	err = arena_grant(m->a, &m->nook[rnd(m, 2)], want, n, &l);
	if (err) {
		assert_int_equal(err, -EDQUOT);
		assert_true(m->n + n > m->limit);
		return;
	}
	assert_true(m->n + n <= m->limit);
	while (l.n) {
		frame_t f;

		if (rnd(m, 10) == 0 && l.n < 20) {
			arena_ungrant(m->a, &l);
			break;
		}
		f = arena_take(m->a, &l);
		model_hold(m, f);
		switch (rnd(m, 3)) {
		case 0:
			arena_clear(m->a, f);
			assert_true(is_zero(m->a, f));
			arena_touch(m->a, f);
			break;
		case 1:
			m->held[m->n - 1].value = (unsigned char)rnd(m, 256);
			m->held[m->n - 1].written = true;
			paint(m->a, f, m->held[m->n - 1].value);
			break;
		}
	}
}

static void model_free(struct model *m)
{
	uint64_t n = rnd(m, 8) ? rnd(m, 40) : rnd(m, m->n + 1);
	unsigned at = m->n ? (unsigned)rnd(m, m->n) : 0;
	struct frame_batch b;

	frame_batch_init(&b, m->a);
	for (; n > 0 && m->n; n--) {
		at = rnd(m, 4) ? at % m->n : (unsigned)rnd(m, m->n);
		frame_unref(&b, m->held[at].f);
		if (--m->held[at].count == 0)
			m->held[at] = m->held[--m->n];
		at++;
	}
	frame_batch_end(&b);
}

static void model_step(struct model *m)
{
	unsigned r = (unsigned)rnd(m, MODEL_RUNS);

	switch (rnd(m, 12)) {
	case 0 ... 4:
		model_grant(m);
		break;
	case 5 ... 7:
		model_free(m);
		break;
	case 8:
		for (unsigned i = 0; m->n && i < 20; i++) {
			struct held *h = &m->held[rnd(m, m->n)];

			frame_ref(m->a, h->f);
			h->count++;
		}
		break;
	case 9:
		if (m->run[r].len)
			arena_run_drop(m->a, m->run[r].base, m->run[r].len);
		m->run[r].len = 0;
		if (rnd(m, 3) && arena_run(m->a, 1 + rnd(m, 5000), &m->run[r].base, &m->run[r].len))
			m->run[r].len = 0;
		break;
	case 10:
		if (rnd(m, 2))
			arena_nook_drop(m->a, &m->nook[rnd(m, 2)]);
		else
			arena_trim(m->a, rnd(m, 600) * page);
		break;
	case 11: {
		uint64_t n = 1 + rnd(m, 300);
		frame_t first;
		int err = arena_grant_contiguous(m->a, n, &first);

		if (err) {
			assert_true(err == -ENOMEM || (err == -EDQUOT && m->n + n > m->limit));
			break;
		}
		for (uint64_t i = 0; i < n; i++)
			model_hold(m, first + (frame_t)i);
		assert_true(is_zero(m->a, first));
		break;
	}
	}
}

static void model_run(uint64_t seed, uint64_t limit, uint64_t reserve)
{
	struct model *m = calloc(1, sizeof(*m));
	struct frame_batch b;

	m->seed = seed;
	m->limit = limit;
	m->a = make(limit * page, reserve);
	for (unsigned i = 0; i < MODEL_STEPS; i++) {
		model_step(m);
		if (i % 8 == 0)
			model_check(m);
		else
			assert_ok(arena_check(m->a));
	}
	frame_batch_init(&b, m->a);
	for (; m->n; m->n--) {
		while (m->held[m->n - 1].count--)
			frame_unref(&b, m->held[m->n - 1].f);
	}
	frame_batch_end(&b);
	arena_nook_drop(m->a, &m->nook[0]);
	arena_nook_drop(m->a, &m->nook[1]);
	for (unsigned i = 0; i < MODEL_RUNS; i++)
		arena_run_drop(m->a, m->run[i].base, m->run[i].len);
	arena_trim(m->a, UINT64_MAX);
	assert_ok(arena_check(m->a));
	assert_int_equal(file_bytes(m->a), 0);
	assert_int_equal(info_of(m->a).cached, 0);
	vms_arena_unref(m->a);
	free(m);
}

static void test_random(void **state)
{
	for (uint64_t seed = 1; seed <= 3; seed++) {
		model_run(seed * 7919, 5000, 64 * MIB);
		model_run(seed * 104729, 5000, 20 * MIB); /* numbers are short, too */
	}
}

/* ---- Other processes ---- */

/* Run fn in a forked child: 0 if it returned 0. */
static int in_child(int (*fn)(struct vms_arena *a), struct vms_arena *a)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(fn(a));
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int child_refused(struct vms_arena *a)
{
	struct vms_arena_info info = { .size = sizeof(info) };
	struct arena_nook nook = { 64, 128 };
	struct frame_list l = { 0 };
	struct arena_evictable e = { 0 };
	struct frame_batch b;
	uint64_t freed;
	frame_t f;
	int fds;

	if (arena_usable(a) != -ESTALE || !strstr(vms_last_error(), "forked"))
		return 1;
	if (arena_grant(a, &nook, FRAME_NONE, 1, &l) != -ESTALE ||
	    arena_grant_contiguous(a, 1, &f) != -ESTALE)
		return 2;
	if (vms_arena_reclaim(a, 1, &freed) != -ESTALE || arena_trim(a, 1) || arena_evict(a, 1))
		return 3;
	if (vms_arena_info(a, &info) || info.granted != 2 * page)
		return 4;
	/* What the end of an object does: the frames of the parent do not mind. */
	frame_batch_init(&b, a);
	frame_unref(&b, FRAME_FIRST);
	frame_batch_end(&b);
	arena_nook_drop(a, &nook);
	arena_run_drop(a, 64, 64);
	arena_evictable_add(a, &e);
	arena_evictable_del(a, &e);
	fds = open_descriptors();
	tw.calls[CALL_MMAP] = tw.calls[CALL_FALLOCATE] = 0;
	vms_arena_unref(a);
	epoch_synchronize();
	if (open_descriptors() != fds - 1 || tw.calls[CALL_FALLOCATE] || tw.live)
		return 5;
	return 0;
}

/* The memory of the arena is not in the child at all. */
static int child_not_mapped(struct vms_arena *a)
{
	unsigned char vec;

	return !(mincore(arena_addr(a, FRAME_FIRST), page, &vec) == -1 && errno == ENOMEM);
}

static void test_fork(void **state)
{
	struct vms_arena *a = make(0, 64 * MIB);
	struct arena_nook nook = { 0 };
	frame_t f = grant_one(a, &nook, FRAME_NONE), g = grant_one(a, &nook, FRAME_NONE);

	paint(a, f, 5);
	assert_int_equal(f, FRAME_FIRST);
	assert_int_equal(in_child(child_not_mapped, a), 0);
	assert_int_equal(in_child(child_refused, a), 0);
	assert_ok(arena_usable(a));
	assert_true(painted(a, f, 5));
	assert_true(frame_exclusive(a, f));
	unref_one(a, f);
	unref_one(a, g);
	assert_ok(arena_check(a));
	vms_arena_unref(a);
}

static int child_file_limit(struct vms_arena *a)
{
	struct rlimit rl = { 20 * page << 10, 20 * page << 10 };
	struct arena_nook nook = { 0 };
	struct frame_list l = { 0 };

	a = make(0, 0);
	setrlimit(RLIMIT_FSIZE, &rl);
	/* Less than a step is left: then it grows by less, and further not at all. */
	if (arena_grant(a, &nook, FRAME_NONE, 20 * 1024 - 64, &l))
		return 1;
	if (arena_grant(a, &nook, FRAME_NONE, 1, &l) != -ENOMEM)
		return 2;
	if (!strstr(vms_last_error(), "ulimit -f"))
		return 3;
	if (arena_check(a) || l.n != 20 * 1024 - 64)
		return 4;
	return 0;
}

static int child_space_limit(struct vms_arena *a)
{
	struct rlimit rl = { UINT64_C(8) << 30, RLIM_INFINITY };
	struct vms_arena_params params = { .size = sizeof(params) };

	setrlimit(RLIMIT_AS, &rl);
	if (vms_arena_create(&params, &a) != -ENOMEM)
		return 1;
	if (!strstr(vms_last_error(), "ulimit -v"))
		return 2;
	params.reserve = UINT64_C(1) << 30;
	if (vms_arena_create(&params, &a))
		return 3;
	if (arena_check(a))
		return 4;
	vms_arena_unref(a);
	/* Enough for less than the default: then it is less, but what was asked for is not cut. */
	rl.rlim_cur = UINT64_C(300) << 30;
	if (setrlimit(RLIMIT_AS, &rl))
		return 5;
	params.reserve = UINT64_C(1) << 40;
	if (vms_arena_create(&params, &a) != -ENOMEM)
		return 6;
	params.reserve = 0;
	if (vms_arena_create(&params, &a) || arena_check(a))
		return 7;
	return info_of(a).limit == UINT64_C(256) << 30 ? 0 : 8;
}

static void test_ulimit(void **state)
{
	assert_int_equal(in_child(child_file_limit, NULL), 0);
	/* The sanitizers' own shadow is far beyond any limit. */
	if (!SANITIZED)
		assert_int_equal(in_child(child_space_limit, NULL), 0);
}

/* ---- Eviction ---- */

struct sheep {
	struct arena_evictable e;
	struct vms_arena *a;
	frame_t f[8];
	unsigned n, refs, asked;
	bool dying;
	unsigned pass; /* gives its frames in this one */
};

static bool sheep_hold(struct arena_evictable *e)
{
	struct sheep *s = (struct sheep *)e;

	s->refs += !s->dying;
	return !s->dying;
}

static void sheep_let_go(struct arena_evictable *e)
{
	((struct sheep *)e)->refs--;
}

static uint64_t sheep_evict(struct arena_evictable *e, uint64_t n, unsigned pass)
{
	struct sheep *s = (struct sheep *)e;
	struct frame_batch b;
	uint64_t got = 0;

	assert_int_equal(s->refs, 1);
	s->asked++;
	frame_batch_init(&b, s->a);
	for (; pass == s->pass && s->n && got < n; got++)
		frame_unref(&b, s->f[--s->n]);
	frame_batch_end(&b);
	arena_count_evicted(s->a, got);
	return got;
}

static void test_evict(void **state)
{
	struct vms_arena *a = make(0, 64 * MIB);
	struct arena_nook nook = { 0 };
	struct sheep s[4];
	uint64_t freed = 0;

	for (unsigned i = 0; i < 4; i++) {
		s[i] = (struct sheep){
			.e = { .evict = sheep_evict, .hold = sheep_hold, .let_go = sheep_let_go },
			.a = a,
			.n = 8,
			.pass = i == 0 ? 2 : 1
		};
		for (unsigned j = 0; j < 8; j++)
			paint(a, s[i].f[j] = grant_one(a, &nook, FRAME_NONE), 1);
		arena_evictable_add(a, &s[i].e);
	}
	s[1].dying = true;
	assert_int_equal(arena_evict(a, 3), 3); /* the oldest that gives in pass 1 */
	assert_int_equal(s[2].n, 5);
	assert_int_equal(s[3].n, 8);
	/* 3 are cached; 5 more than s[2] and s[3] have: s[0] gives its in the last pass. */
	assert_ok(vms_arena_reclaim(a, 18 * page, &freed));
	assert_int_equal(freed, 18 * page);
	assert_int_equal(s[2].n + s[3].n + s[0].n, 24 - 18);
	assert_int_equal(s[1].n, 8);
	assert_int_equal(s[1].asked, 0);
	assert_int_equal(info_of(a).evicted, 18);
	arena_evictable_del(a, &s[3].e);
	s[1].dying = false;
	assert_ok(vms_arena_reclaim(a, UINT64_MAX, &freed));
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(s[i].n, 0);
		assert_int_equal(s[i].refs, 0);
		arena_evictable_del(a, &s[i].e);
	}
	assert_int_equal(info_of(a).granted, s[3].n * page);
	assert_int_equal(arena_evict(a, 1), 0);
	assert_ok(arena_check(a));
	vms_arena_unref(a);
}

/* More than the cache keeps: part of it is punched while it is evicted, and counts too. */
#define FLOCK 3000u

struct flock {
	struct arena_evictable e;
	struct vms_arena *a;
	frame_t f[FLOCK];
	unsigned n;
};

static bool flock_hold(struct arena_evictable *e)
{
	(void)e;
	return true;
}

static void flock_let_go(struct arena_evictable *e)
{
	(void)e;
}

static uint64_t flock_evict(struct arena_evictable *e, uint64_t n, unsigned pass)
{
	struct flock *s = (struct flock *)e;
	struct frame_batch b;
	uint64_t got = 0;

	(void)pass;
	frame_batch_init(&b, s->a);
	for (; s->n && got < n; got++)
		frame_unref(&b, s->f[--s->n]);
	frame_batch_end(&b);
	return got;
}

static void test_reclaim_counts_all(void **state)
{
	struct vms_arena *a = make(0, 64 * MIB);
	static struct flock s;
	struct arena_nook nook = { 0 };
	uint64_t freed = 0;

	s = (struct flock){
		.e = { .evict = flock_evict, .hold = flock_hold, .let_go = flock_let_go },
		.a = a,
		.n = FLOCK
	};
	for (unsigned j = 0; j < FLOCK; j++)
		paint(a, s.f[j] = grant_one(a, &nook, FRAME_NONE), 1);
	arena_evictable_add(a, &s.e);
	assert_ok(vms_arena_reclaim(a, FLOCK * page, &freed));
	assert_int_equal(freed, FLOCK * page);
	arena_evictable_del(a, &s.e);
	assert_ok(arena_check(a));
	vms_arena_unref(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_life, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_params, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_frame, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_runs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_limit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_contiguous, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_punch, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_limbo, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_fork, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_ulimit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_evict, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_reclaim_counts_all, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_ahead, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_threads, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_random, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
