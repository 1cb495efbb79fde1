// SPDX-License-Identifier: MIT
/*
 * pager_races.c: those who wait, those who answer and those who end things, at once. Each race ends
 * with nobody waiting, nothing asked that was not expected, and every byte as some order of the
 * calls has it. Meant for ThreadSanitizer; argument: how many times each race is run.
 */
#include "check.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/world.h"
#include "object/content.h"
#include "pager_script.h"

static unsigned times = 60;
static struct vms_arena *arena;

static int begin(void **state)
{
	arena = arena_of(0);
	return 0;
}

static int end(void **state)
{
	struct vms_arena_info info = { .size = sizeof(info) };

	vms_arena_info(arena, &info);
	assert_int_equal(info.granted, 0);
	vms_arena_unref(arena);
	return 0;
}

/* A call in a thread of its own. */
struct call {
	void (*fn)(struct call *c);
	struct script *script;
	struct vms_object *obj;
	uint64_t first, n;
	unsigned seed;
	atomic_bool ready;
	int result;
	pthread_t thread;
};

static void *call_thread(void *arg)
{
	struct call *c = arg;

	c->fn(c);
	return NULL;
}

static void call_start(struct call *c)
{
	assert_int_equal(pthread_create(&c->thread, NULL, call_thread, c), 0);
}

static int call_end(struct call *c)
{
	pthread_join(c->thread, NULL);
	return c->result;
}

static void do_supply(struct call *c)
{
	unsigned char *buf = malloc(c->n * P);

	fill_pages(buf, c->seed ? c->seed : 1, c->first, c->n);
	c->result = vms_pager_supply_bytes(c->script->pager, c->obj, c->first * P, buf, c->n * P);
	free(buf);
}

static void do_dirtied(struct call *c)
{
	c->result = vms_pager_dirtied(c->script->pager, c->obj, c->first * P, c->n * P);
}

/* What is asked next does not matter: take it all back in the end. */
static void forget(struct script *s)
{
	pthread_mutex_lock(&s->mutex);
	s->n = 0;
	pthread_mutex_unlock(&s->mutex);
}

static void supply_against_detach(void **state)
{
	for (unsigned i = 0; i < times; i++) {
		struct script s;
		struct vms_object *obj;
		struct toucher t;
		struct call c;
		int touched, supplied;

		script_begin(&s);
		obj = paged(arena, &s, i, 0, 4);
		touch_start(&t, obj, false, 0, 4, 0);
		expect(&s, NOTE_READ, 0, 4);
		c = (struct call){ .fn = do_supply, .script = &s, .obj = obj, .n = 4 };
		call_start(&c);
		assert_ok(vms_pager_detach(s.pager, obj));
		supplied = call_end(&c);
		touched = touch_end(&t);
		assert_true(supplied == 0 || supplied == -EBUSY);
		assert_true(touched == 0 || touched == -EBUSY);
		if (supplied)
			assert_int_equal(touched, -EBUSY);
		expect_complete(&s, i);
		assert_sound(obj);
		vms_object_unref(obj);
		script_end(&s);
	}
}

/* 17 pages; a write parked on all of them, while they go. */
static void resize_against_a_write(void **state)
{
	for (unsigned i = 0; i < times; i++) {
		struct script s;
		struct vms_object *obj;
		struct toucher t;
		struct call c;
		int touched, answered;

		script_begin(&s);
		obj = paged(arena, &s, i, VMS_OBJECT_RESIZABLE | VMS_OBJECT_TRAP_DIRTY, 17);
		supply(&s, obj, 1, 0, 17);
		touch_start(&t, obj, true, 0, 17, 2);
		expect(&s, NOTE_DIRTY, 0, 17);
		c = (struct call){ .fn = do_dirtied, .script = &s, .obj = obj, .n = 17 };
		if (i % 2)
			call_start(&c);
		assert_ok(vms_object_resize(obj, i % 17 * P, NULL));
		answered = i % 2 ? call_end(&c) : -ERANGE;
		/* What is left of the packet is answered, or the writer would wait for it. */
		if (answered && i % 17)
			assert_ok(vms_pager_dirtied(s.pager, obj, 0, i % 17 * P));
		touched = touch_end(&t);
		if (answered)
			assert_int_equal(touched, -ERANGE);
		else
			assert_true(touched == 0 || touched == -ERANGE);
		assert_sound(obj);
		expect_nothing(&s);
		vms_object_unref(obj);
		expect_complete(&s, i);
		script_end(&s);
	}
}

static void close_against_a_read(void **state)
{
	for (unsigned i = 0; i < times; i++) {
		struct script s;
		struct vms_object *obj[2];
		struct toucher t[2];

		script_begin(&s);
		for (unsigned k = 0; k < 2; k++)
			obj[k] = paged(arena, &s, k, 0, 4);
		for (unsigned k = 0; k < 2; k++)
			touch_start(&t[k], obj[k], false, 0, 4, 0);
		if (i % 2)
			expect(&s, NOTE_READ, 0, 4);
		vms_pager_close(s.pager);
		s.pager = NULL;
		for (unsigned k = 0; k < 2; k++)
			assert_int_equal(touch_end(&t[k]), -EBUSY);
		forget(&s); /* asked or not */
		for (unsigned k = 0; k < 2; k++)
			vms_object_unref(obj[k]);
		script_end(&s);
	}
}

/* A reader that gives up at a bad moment, and another that does not. */
struct quitter {
	struct vms_object *obj;
	int64_t timeout;
	pthread_t thread;
};

static void *quitter(void *arg)
{
	struct quitter *q = arg;
	unsigned char buf[4 * P];
	struct vms_wait wait;

	vms_wait_init(&wait);
	if (vms_object_read(q->obj, 0, buf, 4 * P, &wait) == VMS_WAIT)
		vms_wait_block(&wait, q->timeout);
	vms_wait_cancel(&wait);
	memset(&wait, 0xee, sizeof(wait)); /* it is ours again */
	return NULL;
}

static void cancel_against_supply(void **state)
{
	for (unsigned i = 0; i < times; i++) {
		struct script s;
		struct vms_object *obj;
		struct toucher t;
		struct quitter q;
		struct call c;

		script_begin(&s);
		obj = paged(arena, &s, i, 0, 8);
		q = (struct quitter){ .obj = obj, .timeout = i % 7 * 20000 };
		assert_int_equal(pthread_create(&q.thread, NULL, quitter, &q), 0);
		touch_start(&t, obj, false, 2, 4, 0);
		c = (struct call){ .fn = do_supply, .script = &s, .obj = obj, .n = 8 };
		call_start(&c);
		assert_ok(call_end(&c));
		pthread_join(q.thread, NULL);
		assert_ok(touch_end(&t));
		assert_sound(obj);
		forget(&s);
		vms_object_unref(obj);
		expect_complete(&s, i);
		script_end(&s);
	}
}

/* Two that overlap ask for each page once, whoever is first. */
static void overlapping_waiters(void **state)
{
	for (unsigned i = 0; i < times; i++) {
		struct script s;
		struct vms_object *obj;
		struct toucher a, b;
		unsigned asked[12] = { 0 };

		script_begin(&s);
		obj = paged(arena, &s, i, 0, 12);
		touch_start(&a, obj, false, 0, 8, 0);
		touch_start(&b, obj, false, 4, 8, 0);
		for (unsigned got = 0; got < 12;) {
			struct note note = { 0 };

			pthread_mutex_lock(&s.mutex);
			while (s.n == 0)
				pthread_cond_wait(&s.more, &s.mutex);
			note = s.note[0];
			memmove(s.note, s.note + 1, --s.n * sizeof(*s.note));
			pthread_mutex_unlock(&s.mutex);
			assert_int_equal(note.kind, NOTE_READ);
			for (uint64_t p = note.off; p < note.off + note.len; p++)
				asked[p]++;
			got += (unsigned)note.len;
			for (uint64_t p = note.len; p-- > 0;)
				supply(&s, obj, 1, note.off + p, 1);
		}
		assert_ok(touch_end(&a));
		assert_ok(touch_end(&b));
		for (unsigned p = 0; p < 12; p++)
			assert_int_equal(asked[p], 1);
		assert_sound(obj);
		vms_object_unref(obj);
		expect_complete(&s, i);
		script_end(&s);
	}
}

static uint32_t word_at(const unsigned char *buf, uint64_t off)
{
	uint32_t word;

	memcpy(&word, buf + off, sizeof(word));
	return word;
}

/* n pages of one word. */
static void fill_words(unsigned char *buf, uint64_t n, uint32_t word)
{
	for (uint64_t i = 0; i < n * P; i += sizeof(word))
		memcpy(buf + i, &word, sizeof(word));
}

/* The first supply wins, and the other's page is not lost in the arena. */
static void two_suppliers(void **state)
{
	for (unsigned i = 0; i < times; i++) {
		struct script s;
		struct vms_object *obj;
		struct call c[2];
		unsigned char one[8 * P], two[8 * P];

		script_begin(&s);
		obj = paged(arena, &s, i, 0, 8);
		for (unsigned k = 0; k < 2; k++) {
			c[k] = (struct call){
				.fn = do_supply, .script = &s, .obj = obj, .n = 8, .seed = k + 1
			};
			call_start(&c[k]);
		}
		assert_ok(call_end(&c[i % 2]));
		assert_ok(vms_object_read(obj, 0, one, 8 * P, NULL));
		assert_ok(call_end(&c[!(i % 2)]));
		assert_ok(vms_object_read(obj, 0, two, 8 * P, NULL));
		assert_memory_equal(one, two, 8 * P);
		assert_sound(obj);
		vms_object_unref(obj);
		expect_complete(&s, i);
		script_end(&s);
	}
}

/* ---- Writers that are half way ---- */

#define LONG 128 /* pages: written outside the lock, for long enough to come in between */

/* Let the call begin, and go on for a while that is different each time. */
static void amid(struct call *c, unsigned i)
{
	while (!atomic_load(&c->ready))
		;
	for (volatile unsigned spin = 0; spin < i % 64 * 512; spin++)
		;
}

static void do_write_long(struct call *c)
{
	unsigned char *buf = malloc(LONG * P);

	fill_words(buf, LONG, 2);
	atomic_store(&c->ready, true);
	c->result = vms_object_write(c->obj, 0, buf, LONG * P, NULL);
	free(buf);
}

/* A write to the auxiliary object is in what was supplied, all of it, or nothing of it. */
static void supply_against_a_write(void **state)
{
	unsigned char *buf = malloc(LONG * P), *again = malloc(LONG * P);

	for (unsigned i = 0; i < 4 * times; i++) {
		struct vms_object *obj, *aux = anon(arena, LONG);
		struct script s;
		struct call c;

		script_begin(&s);
		obj = paged(arena, &s, i, 0, LONG);
		fill_words(buf, LONG, 1);
		assert_ok(vms_object_write(aux, 0, buf, LONG * P, NULL));
		c = (struct call){ .fn = do_write_long, .obj = aux };
		call_start(&c);
		amid(&c, i);
		assert_ok(vms_pager_supply(s.pager, obj, 0, LONG * P, aux, 0));
		assert_ok(vms_object_read(obj, 0, buf, LONG * P, NULL));
		assert_ok(call_end(&c));
		assert_ok(vms_object_read(obj, 0, again, LONG * P, NULL));
		assert_memory_equal(buf, again, LONG * P); /* the writer has let go */
		for (uint64_t at = 0; at < LONG * P; at += P / 2)
			assert_int_equal(word_at(buf, at), word_at(buf, 0));
		vms_object_unref(aux);
		vms_object_unref(obj);
		expect_complete(&s, i);
		script_end(&s);
	}
	free(buf);
	free(again);
}

struct peek {
	struct vms_object *obj;
	atomic_bool done;
	pthread_t thread;
};

/* Of an object whose pages are 1 or 0. */
static void *peek(void *arg)
{
	struct peek *p = arg;
	unsigned char *buf = malloc(LONG * P);

	while (!atomic_load(&p->done)) {
		assert_ok(vms_object_read(p->obj, 0, buf, LONG * P, NULL));
		for (uint64_t at = 0; at < LONG * P; at += P / 2)
			assert_true(word_at(buf, at) <= 1);
	}
	free(buf);
	return NULL;
}

/* Who reads the auxiliary object never sees what is written to pages that have left it. */
static void moved_under_a_reader(void **state)
{
	unsigned char *one = malloc(LONG * P), *two = malloc(LONG * P);
	struct peek p = { .obj = anon(arena, LONG) };
	struct script s;

	fill_words(one, LONG, 1);
	fill_words(two, LONG, 2);
	script_begin(&s);
	assert_int_equal(pthread_create(&p.thread, NULL, peek, &p), 0);
	for (unsigned i = 0; i < 4 * times; i++) {
		struct vms_object *obj = paged(arena, &s, i, 0, LONG);

		assert_ok(vms_object_write(p.obj, 0, one, LONG * P, NULL));
		assert_ok(vms_pager_supply(s.pager, obj, 0, LONG * P, p.obj, 0));
		assert_ok(vms_object_write(obj, 0, two, LONG * P, NULL));
		vms_object_unref(obj);
		expect_complete(&s, i);
	}
	atomic_store(&p.done, true);
	pthread_join(p.thread, NULL);
	vms_object_unref(p.obj);
	script_end(&s);
	free(one);
	free(two);
}

/* What is clean after a write-back is what the pager has read between its two ends. */
static void writeback_against_a_write(void **state)
{
	unsigned char *taken = malloc(LONG * P), *is = malloc(LONG * P);
	struct script s;

	script_begin(&s);
	for (unsigned i = 0; i < 4 * times; i++) {
		struct vms_object *obj = paged(arena, &s, i, 0, LONG);
		struct vms_dirty_range r[LONG];
		size_t n = LONG;
		struct call c;

		fill_words(is, LONG, 1);
		assert_ok(vms_pager_supply_bytes(s.pager, obj, 0, is, LONG * P));
		assert_ok(vms_object_write(obj, 0, is, LONG * P, NULL));
		c = (struct call){ .fn = do_write_long, .obj = obj };
		call_start(&c);
		amid(&c, i);
		assert_ok(vms_pager_writeback_begin(s.pager, obj, 0, LONG * P, 0));
		assert_ok(vms_object_read(obj, 0, taken, LONG * P, NULL));
		assert_ok(vms_pager_writeback_end(s.pager, obj, 0, LONG * P, 0));
		assert_ok(call_end(&c));
		assert_ok(vms_object_read(obj, 0, is, LONG * P, NULL));
		assert_ok(vms_pager_query_dirty(s.pager, obj, 0, LONG * P, r, &n, NULL));
		assert_true(n <= 1);
		if (n == 0)
			assert_memory_equal(taken, is, LONG * P);
		assert_int_equal(word_at(is, 0), 2);
		vms_object_unref(obj);
		expect_complete(&s, i);
	}
	script_end(&s);
	free(taken);
	free(is);
}

/* A sync either has the write or leaves it for the next one. */
static void sync_against_a_write(void **state)
{
	struct vms_object_params params = { .size = sizeof(params), .bytes = LONG * P };
	unsigned char *buf = malloc(LONG * P);
	struct vms_pager *pager;
	struct vms_object *obj;
	struct call c;
	int fd = memfd_create("races", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_ok(vms_pager_file(fd, &pager));
	assert_ok(vms_object_create_paged(arena, pager, 0, &params, &obj));
	for (unsigned i = 0; i < 4 * times; i++) {
		fill_words(buf, LONG, 1);
		assert_ok(vms_object_write(obj, 0, buf, LONG * P, NULL));
		c = (struct call){ .fn = do_write_long, .obj = obj };
		call_start(&c);
		amid(&c, i);
		assert_ok(vms_pager_file_sync(obj));
		assert_ok(call_end(&c));
		assert_ok(vms_pager_file_sync(obj));
		assert_int_equal(pread(fd, buf, LONG * P, 0), LONG * P);
		for (uint64_t at = 0; at < LONG * P; at += 64)
			assert_int_equal(word_at(buf, at), 2);
	}
	vms_object_unref(obj);
	vms_pager_close(pager);
	close(fd);
	free(buf);
}

/* ---- Ends ---- */

static atomic_bool go;

static void do_unref(struct call *c)
{
	while (!atomic_load(&go))
		;
	vms_object_unref(c->obj);
}

static void close_against_the_end(void **state)
{
	enum { N = 3 };

	for (unsigned i = 0; i < 2 * times; i++) {
		struct script s;
		struct call c[N];

		script_begin(&s);
		atomic_store(&go, false);
		for (unsigned k = 0; k < N; k++)
			c[k] = (struct call){ .fn = do_unref, .obj = paged(arena, &s, k, 0, 4) };
		for (unsigned k = 0; k < N; k++)
			call_start(&c[k]);
		atomic_store(&go, true);
		vms_pager_close(s.pager);
		s.pager = NULL;
		for (unsigned k = 0; k < N; k++)
			call_end(&c[k]);
		forget(&s); /* those that ended first said so */
		script_end(&s);
	}
}

/* ---- All at once ---- */

/*
 * Page i only ever holds fill_pages(1) of it, so whatever is read is known; whoever writes writes
 * that. Readers and writers, a pager that answers in pieces, fails and takes its time, somebody who
 * takes pages back, and somebody who writes back.
 */
#define PAGES 96
struct fair {
	struct script script;
	struct vms_arena *arena;
	struct vms_object *obj, *overlay;
	atomic_bool done, closed;
	atomic_uint failed, reads, writes;
};

static unsigned chance(unsigned *seed, unsigned n)
{
	*seed = *seed * 1103515245u + 12345u;
	return *seed / 65536u % n;
}

/* Cut a request in three, and bring the middle first. */
static void serve_read(struct fair *f, const struct note *note, unsigned *seed)
{
	uint64_t a = chance(seed, (unsigned)note->len + 1),
		 b = chance(seed, (unsigned)note->len + 1);
	uint64_t lo = a < b ? a : b, hi = a < b ? b : a;
	struct vms_object *obj = f->obj;

	if (chance(seed, 10) == 0) {
		assert_ok(vms_pager_fail(f->script.pager, obj, note->off * P, note->len * P, -EIO));
		return;
	}
	if (hi > lo)
		supply(&f->script, obj, 1, note->off + lo, hi - lo);
	if (lo)
		supply(&f->script, obj, 1, note->off, lo);
	if (hi < note->len)
		supply(&f->script, obj, 1, note->off + hi, note->len - hi);
}

/* A page that was asked for as it was answered may be gone again by now: nobody waits for it. */
static void serve_dirty(struct fair *f, const struct note *note, unsigned *seed)
{
	if (chance(seed, 10) == 0) {
		assert_ok(vms_pager_fail(f->script.pager, f->obj, note->off * P, note->len * P,
					 -ENOSPC));
		return;
	}
	for (uint64_t i = note->len; i-- > 0;) {
		int r = vms_pager_dirtied(f->script.pager, f->obj, (note->off + i) * P, P);

		assert_true(r == 0 || r == -ENOENT);
	}
}

static void *server(void *arg)
{
	struct fair *f = arg;
	struct script *s = &f->script;
	unsigned seed = 7;

	for (;;) {
		struct note note = { 0 };

		pthread_mutex_lock(&s->mutex);
		while (s->n == 0 && !atomic_load(&f->closed))
			pthread_cond_wait(&s->more, &s->mutex);
		if (s->n > 0) {
			note = s->note[0];
			memmove(s->note, s->note + 1, --s->n * sizeof(*s->note));
		}
		pthread_mutex_unlock(&s->mutex);
		if (!note.kind)
			return NULL;
		if (note.kind == NOTE_READ)
			serve_read(f, &note, &seed);
		else if (note.kind == NOTE_DIRTY)
			serve_dirty(f, &note, &seed);
	}
}

/* One access that is as patient as chance has it. */
static int access_once(struct vms_object *obj, bool write, uint64_t first, uint64_t n,
		       unsigned char *buf, unsigned *seed)
{
	struct vms_wait wait;
	int r;

	vms_wait_init(&wait);
	for (;;) {
		r = write ? vms_object_write(obj, first * P, buf, n * P, &wait)
			  : vms_object_read(obj, first * P, buf, n * P, &wait);
		if (r != VMS_WAIT)
			break;
		r = vms_wait_block(&wait, chance(seed, 4) ? INT64_C(10000000000) : 30000);
		if (r)
			break;
	}
	vms_wait_cancel(&wait);
	return r;
}

struct visitor {
	struct fair *fair;
	unsigned seed;
	pthread_t thread;
};

static void *visitor(void *arg)
{
	struct visitor *v = arg;
	struct fair *f = v->fair;
	unsigned char *buf = malloc(PAGES * P), *want = malloc(PAGES * P);

	fill_pages(want, 1, 0, PAGES);
	while (!atomic_load(&f->done)) {
		uint64_t first = chance(&v->seed, PAGES);
		uint64_t n = 1 + chance(&v->seed, 12);
		bool write = chance(&v->seed, 3) == 0, low = !write && chance(&v->seed, 2);
		int r;

		if (n > PAGES - first)
			n = PAGES - first;
		memcpy(buf, want + first * P, n * P);
		r = access_once(low ? f->overlay : f->obj, write, first, n, buf, &v->seed);
		if (r == -EIO || r == -ENOSPC || r == -ETIMEDOUT)
			continue;
		assert_ok(r);
		assert_memory_equal(buf, want + first * P, n * P);
		atomic_fetch_add(write ? &f->writes : &f->reads, 1);
	}
	free(buf);
	free(want);
	return NULL;
}

static void *cleaner(void *arg)
{
	struct fair *f = arg;
	unsigned seed = 3;

	while (!atomic_load(&f->done)) {
		uint64_t first = chance(&seed, PAGES), n = 1 + chance(&seed, PAGES), freed;
		struct vms_dirty_range r[16];
		size_t count = 16;

		if (n > PAGES - first)
			n = PAGES - first;
		assert_ok(vms_pager_writeback_begin(f->script.pager, f->obj, first * P, n * P, 0));
		assert_ok(vms_pager_query_dirty(f->script.pager, f->obj, 0, PAGES * P, r, &count,
						NULL));
		if (chance(&seed, 2))
			assert_ok(vms_pager_writeback_end(f->script.pager, f->obj, first * P, n * P,
							  0));
		assert_ok(vms_arena_reclaim(f->arena, chance(&seed, 40) * P, &freed));
		assert_ok(content_check(f->obj, NULL));
	}
	return NULL;
}

static void fair_of(uint32_t flags)
{
	struct vms_object_params params = { .size = sizeof(params), .bytes = PAGES * P };
	struct visitor v[3];
	pthread_t pager, clean;
	struct fair f = { 0 };

	script_begin(&f.script);
	f.arena = arena;
	f.obj = paged(arena, &f.script, 1, flags, PAGES);
	assert_ok(vms_object_child(f.obj, VMS_CHILD_SNAPSHOT_LAZY, 0, &params, &f.overlay));
	assert_int_equal(pthread_create(&pager, NULL, server, &f), 0);
	assert_int_equal(pthread_create(&clean, NULL, cleaner, &f), 0);
	for (unsigned i = 0; i < 3; i++) {
		v[i] = (struct visitor){ .fair = &f, .seed = i + 1 };
		assert_int_equal(pthread_create(&v[i].thread, NULL, visitor, &v[i]), 0);
	}
	while (atomic_load(&f.reads) < 5 * times || atomic_load(&f.writes) < times)
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	atomic_store(&f.done, true);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(v[i].thread, NULL);
	pthread_join(clean, NULL);
	pthread_mutex_lock(&f.script.mutex);
	atomic_store(&f.closed, true);
	pthread_cond_broadcast(&f.script.more);
	pthread_mutex_unlock(&f.script.mutex);
	pthread_join(pager, NULL);
	expect_nothing(&f.script);
	assert_sound(f.obj);
	vms_object_unref(f.overlay);
	vms_object_unref(f.obj);
	expect_complete(&f.script, 1);
	script_end(&f.script);
}

static void everything(void **state)
{
	fair_of(0);
}

static void everything_trapped(void **state)
{
	fair_of(VMS_OBJECT_TRAP_DIRTY);
}

/* ---- The file pager ---- */

/*
 * Each writer has pages of its own and counts them up; readers see no page go back; a small arena
 * evicts all the time, and two threads sync. In the end the file has each page's last count.
 */
#define FILE_PAGES 128
#define GROUP	   16 /* pages that are written at once */
struct files {
	struct vms_object *obj;
	struct vms_arena *arena;
	atomic_bool done;
	atomic_uint last[FILE_PAGES];
	int fd;
};

struct user {
	struct files *files;
	unsigned index, seed;
	pthread_t thread;
};

static void *file_writer(void *arg)
{
	struct user *u = arg;
	struct files *f = u->files;
	unsigned char *words = malloc(GROUP * P);

	for (unsigned i = 1; i <= 4 * times; i++) {
		uint64_t page = GROUP * (u->index + 2 * chance(&u->seed, FILE_PAGES / GROUP / 2));

		fill_words(words, GROUP, i);
		/* Whole pages, or not: the rest of a page must come from the file. */
		if (chance(&u->seed, 2)) {
			assert_ok(vms_object_write(f->obj, page * P, words, GROUP * P, NULL));
		} else {
			assert_ok(vms_object_write(f->obj, page * P, words, P + 4, NULL));
			assert_ok(vms_object_write(f->obj, page * P + P + 4, words,
						   (GROUP - 1) * P - 4, NULL));
		}
		for (unsigned k = 0; k < GROUP; k++)
			atomic_store(&f->last[page + k], i);
		if (i % 4 == 0)
			nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
	}
	free(words);
	return NULL;
}

static void *file_reader(void *arg)
{
	struct user *u = arg;
	struct files *f = u->files;
	unsigned char buf[4 * P];

	while (!atomic_load(&f->done)) {
		uint64_t first = chance(&u->seed, FILE_PAGES - 3), n = 1 + chance(&u->seed, 4);
		uint32_t least[4], is;

		for (uint64_t i = 0; i < n; i++)
			least[i] = atomic_load(&f->last[first + i]);
		assert_ok(vms_object_read(f->obj, first * P, buf, n * P, NULL));
		for (uint64_t i = 0; i < n; i++) {
			memcpy(&is, buf + i * P, 4);
			assert_true(is >= least[i]);
		}
	}
	return NULL;
}

static void *file_syncer(void *arg)
{
	struct user *u = arg;
	struct files *f = u->files;
	uint64_t freed;

	while (!atomic_load(&f->done)) {
		assert_ok(vms_pager_file_sync(f->obj));
		assert_ok(vms_arena_reclaim(f->arena, chance(&u->seed, 30) * P, &freed));
	}
	return NULL;
}

/* A disk that is in no hurry: what two syncs write may arrive in any order. */
static int64_t slow_pwrite(const struct world *w, int fd, const void *buf, uint64_t len,
			   uint64_t off)
{
	static atomic_uint turn;

	if (atomic_fetch_add(&turn, 1) % 3 == 0)
		nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
	return world_host.pwrite(&world_host, fd, buf, len, off);
}

static void file_pager(void **state)
{
	static struct world slow;
	static void *(*const job[])(void *) = { file_writer, file_writer, file_reader,
						file_reader, file_syncer, file_syncer };
	enum { JOBS = sizeof(job) / sizeof(*job) };
	struct vms_object_params params = { .size = sizeof(params), .bytes = FILE_PAGES * P };
	struct files f = { .arena = arena_of(FILE_PAGES + 8) };
	struct vms_pager *pager;
	struct user u[JOBS];
	uint32_t word;

	f.fd = memfd_create("races", MFD_CLOEXEC);
	assert_true(f.fd >= 0);
	assert_int_equal(ftruncate(f.fd, FILE_PAGES * P), 0);
	slow = world_host;
	slow.pwrite = slow_pwrite;
	world_default = &slow;
	assert_ok(vms_pager_file(f.fd, &pager));
	world_default = &world_host;
	assert_ok(vms_object_create_paged(f.arena, pager, 0, &params, &f.obj));
	for (unsigned i = 0; i < JOBS; i++) {
		u[i] = (struct user){ .files = &f, .index = i & 1, .seed = i };
		assert_int_equal(pthread_create(&u[i].thread, NULL, job[i], &u[i]), 0);
	}
	for (unsigned i = 0; i < JOBS; i++) {
		pthread_join(u[i].thread, NULL);
		atomic_store(&f.done, i >= 1);
	}
	assert_ok(vms_pager_file_sync(f.obj));
	for (unsigned i = 0; i < FILE_PAGES; i++) {
		for (unsigned k = 0; k < P; k += P - 4) {
			assert_int_equal(pread(f.fd, &word, 4, (off_t)(i * P + k)), 4);
			assert_int_equal(word, atomic_load(&f.last[i]));
		}
	}
	assert_sound(f.obj);
	vms_object_unref(f.obj);
	vms_pager_close(pager);
	vms_arena_unref(f.arena);
	close(f.fd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(supply_against_detach),	 TEST(resize_against_a_write),
		TEST(close_against_a_read),	 TEST(cancel_against_supply),
		TEST(overlapping_waiters),	 TEST(two_suppliers),
		TEST(supply_against_a_write),	 TEST(moved_under_a_reader),
		TEST(writeback_against_a_write), TEST(sync_against_a_write),
		TEST(close_against_the_end),	 TEST(everything),
		TEST(everything_trapped),	 TEST(file_pager),
	};

	if (argc > 1)
		times = (unsigned)strtoul(argv[1], NULL, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
