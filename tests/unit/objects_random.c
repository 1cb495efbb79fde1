// SPDX-License-Identifier: MIT
/*
 * Objects at random: a walk over a family beside plain arrays of bytes, the validator after each
 * step; and threads that read while others write, copy and move, and must not see strangers' bytes.
 * OBJECTS_RANDOM_STEPS and OBJECTS_RANDOM_SEED make the walk longer or another one.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "objects_kit.h"

/* ---- Everything, at random, beside plain bytes ---- */

#define OBJECTS 10
#define PAGES	90

struct model {
	struct vms_object *obj;
	unsigned char bytes[PAGES * 4096];
	uint64_t npages;
	unsigned pins[PAGES];
	bool copy;
};

static uint64_t seed;

static uint64_t some(uint64_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % n;
}

static bool pinned(const struct model *m, uint64_t first, uint64_t n)
{
	for (uint64_t i = first; i < first + n; i++)
		if (m->pins[i])
			return true;
	return false;
}

static void random_write(struct model *m)
{
	uint64_t size = m->npages * P, off = some(size + 1), len;
	static unsigned char buf[PAGES * 4096];

	len = some(4) ? some(3 * P) : some(size + 1);
	if (len > size - off)
		len = size - off;
	for (uint64_t i = 0; i < len; i++)
		buf[i] = (unsigned char)(off + i * 7 + seed);
	assert_ok(vms_object_write(m->obj, off, buf, len, NULL));
	memcpy(m->bytes + off, buf, len);
}

static void random_zero(struct model *m)
{
	uint64_t size = m->npages * P, off = some(size + 1), len = some(size - off + 1);

	assert_ok(vms_object_op(m->obj, VMS_OBJECT_ZERO, off, len, NULL));
	memset(m->bytes + off, 0, len);
}

static void random_op(struct model *m)
{
	uint64_t first = some(m->npages + 1), n = some(m->npages - first + 1);
	int err;

	switch (some(3)) {
	case 0:
		err = vms_object_op(m->obj, VMS_OBJECT_DECOMMIT, first * P, n * P, NULL);
		if (!err)
			memset(m->bytes + first * P, 0, n * P);
		else
			assert_true(err == -ENOTSUP || (err == -EBUSY && pinned(m, first, n)));
		break;
	case 1:
		assert_ok(vms_object_op(m->obj, VMS_OBJECT_COMMIT, first * P, n * P, NULL));
		break;
	default:
		if (!n)
			break;
		if (some(2)) {
			assert_ok(vms_object_pin(m->obj, first * P, n * P, (int)some(2), NULL));
			for (uint64_t i = first; i < first + n; i++)
				m->pins[i]++;
		} else {
			bool all = true;

			for (uint64_t i = first; i < first + n; i++)
				all = all && m->pins[i];
			err = vms_object_unpin(m->obj, first * P, n * P);
			assert_int_equal(err, all ? 0 : -EBUSY);
			for (uint64_t i = first; all && i < first + n; i++)
				m->pins[i]--;
		}
	}
}

static void random_resize(struct model *m)
{
	uint64_t bytes = some(PAGES * P + 1), npages = (bytes + P - 1) / P;
	bool busy = npages < m->npages && pinned(m, npages, m->npages - npages);
	int err = vms_object_resize(m->obj, bytes, NULL);

	assert_int_equal(err, busy ? -EBUSY : 0);
	if (err)
		return;
	/* Only a lower stream zeroes a tail, and the model does not know the stream: read it. */
	if (bytes % P) {
		uint64_t tail = (npages - 1) * P;

		assert_ok(vms_object_read(m->obj, tail, m->bytes + tail, P, NULL));
	}
	if (npages < m->npages)
		memset(m->bytes + npages * P, 0, (m->npages - npages) * P);
	m->npages = npages;
}

static void random_child(struct model *all, struct model *m, struct vms_arena *arena)
{
	uint64_t first = some(m->npages + 1), n = some(PAGES + 1), seen;
	struct vms_object_params params = { .size = sizeof(params),
					    .flags = VMS_OBJECT_RESIZABLE,
					    .bytes = n * P };
	struct model *c = &all[some(OBJECTS)];
	struct vms_object *obj;
	int err;

	if (c == m)
		return;
	seen = n < m->npages - first ? n : m->npages - first;
	err = vms_object_child(m->obj, VMS_CHILD_SNAPSHOT, first * P, &params, &obj);
	assert_int_equal(err, pinned(m, first, seen) ? -EBUSY : 0);
	if (err)
		return;
	for (uint64_t i = 0; i < c->npages; i++)
		while (c->pins[i]) {
			assert_ok(vms_object_unpin(c->obj, i * P, P));
			c->pins[i]--;
		}
	vms_object_unref(c->obj);
	memset(c, 0, sizeof(*c));
	c->obj = obj;
	c->npages = n;
	memcpy(c->bytes, m->bytes + first * P, seen * P);
	/* Now and then somebody without relations. */
	if (some(4) == 0) {
		vms_object_unref(c->obj);
		memset(c, 0, sizeof(*c));
		c->obj = anon(arena, n * P, VMS_OBJECT_RESIZABLE);
		c->npages = n;
	}
}

static void random_transfer(struct model *all, struct model *dst)
{
	struct model *src = some(3) ? &all[some(OBJECTS)] : dst;
	uint64_t to = some(dst->npages + 1), from = some(src->npages + 1), n, least;
	static unsigned char moved[PAGES * 4096];
	int err;

	least = dst->npages - to < src->npages - from ? dst->npages - to : src->npages - from;
	n = some(least + 1);
	err = vms_object_transfer(dst->obj, to * P, n * P, src->obj, from * P, 0);
	if (pinned(dst, to, n) || pinned(src, from, n)) {
		assert_int_equal(err, n ? -EBUSY : 0);
		return;
	}
	assert_ok(err);
	memcpy(moved, src->bytes + from * P, n * P);
	memset(src->bytes + from * P, 0, n * P);
	memcpy(dst->bytes + to * P, moved, n * P);
}

static void random_step(struct model *all, struct vms_arena *arena)
{
	struct model *m = &all[some(OBJECTS)];

	switch (some(10)) {
	case 0:
	case 1:
	case 2:
	case 3:
		random_write(m);
		break;
	case 4:
		random_zero(m);
		break;
	case 5:
		random_op(m);
		break;
	case 6:
		random_resize(m);
		break;
	case 7:
	case 8:
		random_child(all, m, arena);
		break;
	default:
		random_transfer(all, m);
	}
}

static void random_walk(void **state)
{
	struct fixture *f = *state;
	struct model *all = calloc(OBJECTS, sizeof(*all));
	static unsigned char buf[PAGES * 4096];
	const char *steps = getenv("OBJECTS_RANDOM_STEPS"), *from = getenv("OBJECTS_RANDOM_SEED");
	uint64_t n = steps ? strtoull(steps, NULL, 0) : 3000;

	seed = from ? strtoull(from, NULL, 0) : 1;
	for (unsigned i = 0; i < OBJECTS; i++) {
		all[i].npages = PAGES;
		all[i].obj = anon(f->arena, PAGES * P, VMS_OBJECT_RESIZABLE);
	}
	for (uint64_t step = 0; step < n; step++) {
		random_step(all, f->arena);
		for (unsigned i = 0; i < OBJECTS; i++) {
			struct model *m = &all[i];

			sound(m->obj);
			memset(buf, 0xee, m->npages * P);
			assert_ok(vms_object_read(m->obj, 0, buf, m->npages * P, NULL));
			if (memcmp(buf, m->bytes, m->npages * P)) {
				print_message("step %llu: object %u differs\n",
					      (unsigned long long)step, i);
				assert_memory_equal(buf, m->bytes, m->npages * P);
			}
		}
	}
	for (unsigned i = 0; i < OBJECTS; i++)
		vms_object_unref(all[i].obj);
	free(all);
}

/* ---- Threads ---- */

#define RACE_PAGES 100

struct race {
	struct vms_object *a, *b;
	atomic_int stop;
	atomic_uint rounds, bad;
};

/* Each page is of one byte all over, whatever happens, as single pages are written whole. */
static void *race_reader(void *arg)
{
	struct race *r = arg;
	unsigned char buf[4096 * 8];
	uint64_t at = 0;

	while (!atomic_load(&r->stop)) {
		struct vms_object *obj = at++ % 2 ? r->a : r->b;

		if (vms_object_read(obj, at % (RACE_PAGES - 8) * P, buf, sizeof(buf), NULL))
			atomic_fetch_add(&r->bad, 1);
		atomic_fetch_add(&r->rounds, 1);
	}
	return NULL;
}

/* Two objects of one family whose bytes never mix: a has only 1, 2 and 0, b only 128 and more. */
static void *race_own_bytes(void *arg)
{
	struct race *r = arg;
	unsigned char buf[4096 * 8];
	uint64_t at = 0;

	while (!atomic_load(&r->stop)) {
		at++;
		if (vms_object_read(r->a, at % (RACE_PAGES - 8) * P, buf, sizeof(buf), NULL))
			atomic_fetch_add(&r->bad, 1);
		for (unsigned i = 0; i < sizeof(buf); i += 64)
			if (buf[i] > 2)
				atomic_fetch_add(&r->bad, 1);
	}
	return NULL;
}

/* Many fresh pages at once, while others write, copy and pin there. */
static int race_much(struct race *r, unsigned i)
{
	static const unsigned char ones[RACE_PAGES * 4096] = { 1 };
	int err;

	err = vms_object_pin(r->a, 50 * P, 3 * P, 0, NULL);
	if (err)
		return err == -EPERM ? 0 : err;
	err = vms_object_unpin(r->a, 50 * P, 3 * P);
	if (!err)
		err = vms_object_op(r->a, VMS_OBJECT_ZERO, 0, RACE_PAGES * P, NULL);
	return err ? err : vms_object_write(r->a, 1, ones, RACE_PAGES * P - 1, NULL);
}

static void *race_writer(void *arg)
{
	struct race *r = arg;
	unsigned char buf[4096 * 8];

	for (unsigned i = 0; i < 1500; i++) {
		struct vms_object_params params = { .size = sizeof(params),
						    .bytes = RACE_PAGES * P };
		struct vms_object *s;
		int err;

		memset(buf, i % 2 + 1, sizeof(buf));
		if (vms_object_write(r->a, i % (RACE_PAGES - 8) * P, buf, i % 5 ? P : sizeof(buf),
				     NULL))
			atomic_fetch_add(&r->bad, 1);
		if (i % 7 == 0 && vms_object_op(r->a, VMS_OBJECT_ZERO, i % RACE_PAGES * P, P, NULL))
			atomic_fetch_add(&r->bad, 1);
		if (i % 16 == 0 && race_much(r, i))
			atomic_fetch_add(&r->bad, 1);
		/* A copy writes its own bytes and goes. */
		err = vms_object_child(r->a, VMS_CHILD_SNAPSHOT, 0, &params, &s);
		if (err) {
			if (err != -EBUSY) /* pinned by the other one */
				atomic_fetch_add(&r->bad, 1);
			continue;
		}
		memset(buf, 128 + i % 100, sizeof(buf));
		if (vms_object_write(r->a, i % 40 * P, "\1", 1, NULL) ||
		    vms_object_write(s, i % 32 * P, buf, sizeof(buf), NULL) ||
		    vms_object_write(s, i % 40 * P, buf, 100, NULL))
			atomic_fetch_add(&r->bad, 1);
		if (i % 3 == 0 && vms_object_transfer(r->b, 0, RACE_PAGES * P, s, 0, 0))
			atomic_fetch_add(&r->bad, 1);
		vms_object_unref(s);
	}
	return NULL;
}

static void readers_see_no_strangers_bytes(void **state)
{
	struct race r = { 0 };
	struct vms_arena *arena;
	pthread_t reader, own, writer, other;

	/* The test world is for one thread. */
	world_default = &world_host;
	arena = arena_of(0);
	r.a = anon(arena, RACE_PAGES * P, 0);
	r.b = anon(arena, RACE_PAGES * P, 0);
	pthread_create(&reader, NULL, race_reader, &r);
	pthread_create(&own, NULL, race_own_bytes, &r);
	pthread_create(&writer, NULL, race_writer, &r);
	pthread_create(&other, NULL, race_writer, &r);
	pthread_join(writer, NULL);
	pthread_join(other, NULL);
	atomic_store(&r.stop, 1);
	pthread_join(reader, NULL);
	pthread_join(own, NULL);
	assert_int_equal(atomic_load(&r.bad), 0);
	assert_true(atomic_load(&r.rounds) > 0);
	sound(r.a);
	sound(r.b);
	vms_object_unref(r.a);
	vms_object_unref(r.b);
	vms_arena_unref(arena);
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(random_walk),
		cmocka_unit_test(readers_see_no_strangers_bytes),
	};

	if (sysconf(_SC_PAGESIZE) != (long)P) {
		printf("skipped: the host's pages are not 4 KiB\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
