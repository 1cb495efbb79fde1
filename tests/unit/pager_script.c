// SPDX-License-Identifier: MIT
#include "check.h"

#include "pager_script.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "object/content.h"

#define PATIENCE 10 /* seconds: a test that waits longer has failed */

static void tell(struct script *s, enum note_kind kind, uint64_t key, uint64_t off, uint64_t len)
{
	pthread_mutex_lock(&s->mutex);
	if (s->n < SCRIPT_NOTES) /* one more than expected is enough to fail */
		s->note[s->n++] = (struct note){ kind, key, off / P, len / P };
	pthread_cond_broadcast(&s->more);
	pthread_mutex_unlock(&s->mutex);
}

/*
 * Callbacks run with nothing held: a lock of the lowest rank can be taken, which debug builds would
 * stop otherwise.
 */
static void holds_nothing(void)
{
	struct lock probe;

	lock_init(&probe, LOCK_SPACE, "probe of a callback");
	lock_take(&probe);
	lock_drop(&probe);
	lock_fini(&probe);
}

static void on_request(void *arg, struct vms_object *obj, uint64_t key, enum vms_request_kind kind,
		       uint64_t off, uint64_t len)
{
	struct script *s = arg;

	holds_nothing();
	if (s->answer) {
		s->answer(s, obj, kind, off, len);
		return;
	}
	pthread_mutex_lock(&s->mutex);
	s->obj = obj;
	pthread_mutex_unlock(&s->mutex);
	tell(s, kind == VMS_REQUEST_READ ? NOTE_READ : NOTE_DIRTY, key, off, len);
}

static void on_cancel(void *arg, struct vms_object *obj, uint64_t key, enum vms_request_kind kind,
		      uint64_t off, uint64_t len)
{
	holds_nothing();
	tell(arg, kind == VMS_REQUEST_READ ? NOTE_CANCEL_READ : NOTE_CANCEL_DIRTY, key, off, len);
}

static void on_complete(void *arg, uint64_t key)
{
	holds_nothing();
	tell(arg, NOTE_COMPLETE, key, 0, 0);
}

static void on_release(void *arg)
{
	holds_nothing();
	((struct script *)arg)->released++;
}

void script_begin(struct script *s)
{
	static const struct vms_pager_ops ops = {
		.size = sizeof(ops),
		.request = on_request,
		.cancel = on_cancel,
		.complete = on_complete,
		.release = on_release,
	};

	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->mutex, NULL);
	pthread_cond_init(&s->more, NULL);
	assert_ok(vms_pager_create(&ops, s, &s->pager));
}

void script_end(struct script *s)
{
	expect_nothing(s);
	vms_pager_close(s->pager);
	expect_nothing(s);
	assert_int_equal(s->released, 1);
	pthread_cond_destroy(&s->more);
	pthread_mutex_destroy(&s->mutex);
}

static struct note next_note(struct script *s)
{
	struct timespec until;
	struct note note = { 0 };

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE;
	pthread_mutex_lock(&s->mutex);
	while (s->n == 0 && pthread_cond_timedwait(&s->more, &s->mutex, &until) == 0)
		;
	if (s->n > 0) {
		note = s->note[0];
		memmove(s->note, s->note + 1, --s->n * sizeof(*s->note));
	}
	pthread_mutex_unlock(&s->mutex);
	return note;
}

void expect(struct script *s, enum note_kind kind, uint64_t first, uint64_t n)
{
	struct note note = next_note(s);

	assert_int_equal(note.kind, kind);
	assert_int_equal(note.off, first);
	assert_int_equal(note.len, n);
}

void expect_complete(struct script *s, uint64_t key)
{
	struct note note = next_note(s);

	assert_int_equal(note.kind, NOTE_COMPLETE);
	assert_int_equal(note.key, key);
}

void expect_nothing(struct script *s)
{
	pthread_mutex_lock(&s->mutex);
	if (s->n)
		print_error("unexpected: kind %d, pages %lu+%lu\n", (int)s->note[0].kind,
			    (unsigned long)s->note[0].off, (unsigned long)s->note[0].len);
	assert_int_equal(s->n, 0);
	pthread_mutex_unlock(&s->mutex);
}

struct vms_arena *arena_of(uint64_t limit)
{
	struct vms_arena_params params = { .size = sizeof(params),
					   .limit = limit * P,
					   .reserve = UINT64_C(1) << 32 };
	struct vms_arena *a;

	assert_ok(vms_arena_create(&params, &a));
	return a;
}

struct vms_object *paged(struct vms_arena *a, struct script *s, uint64_t key, uint32_t flags,
			 uint64_t npages)
{
	struct vms_object_params params = { .size = sizeof(params),
					    .flags = flags,
					    .bytes = npages * P };
	struct vms_object *obj;

	assert_ok(vms_object_create_paged(a, s->pager, key, &params, &obj));
	return obj;
}

struct vms_object *anon(struct vms_arena *a, uint64_t npages)
{
	struct vms_object_params params = { .size = sizeof(params), .bytes = npages * P };
	struct vms_object *obj;

	assert_ok(vms_object_create(a, &params, &obj));
	return obj;
}

void fill_pages(unsigned char *buf, unsigned seed, uint64_t first, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		memset(buf + i * P, (int)(seed + (first + i) % 199 + 1) & 0xff, P);
		memcpy(buf + i * P, &(uint64_t){ first + i }, sizeof(uint64_t));
	}
}

void supply(struct script *s, struct vms_object *obj, unsigned seed, uint64_t first, uint64_t n)
{
	unsigned char *buf = malloc(n * P);

	assert_non_null(buf);
	fill_pages(buf, seed, first, n);
	assert_ok(vms_pager_supply_bytes(s->pager, obj, first * P, buf, n * P));
	free(buf);
}

void assert_page(struct vms_object *obj, unsigned seed, uint64_t page)
{
	unsigned char want[P], is[P];

	fill_pages(want, seed, page, 1);
	assert_ok(vms_object_read(obj, page * P, is, P, NULL));
	assert_memory_equal(is, want, P);
}

void assert_zero_page(struct vms_object *obj, uint64_t page)
{
	unsigned char want[P] = { 0 }, is[P];

	assert_ok(vms_object_read(obj, page * P, is, P, NULL));
	assert_memory_equal(is, want, P);
}

void assert_sound(struct vms_object *obj)
{
	int err = content_check(obj, NULL);

	if (err)
		print_error("%s\n", vms_last_error());
	assert_ok(err);
}

int touch(struct vms_object *obj, bool write, uint64_t first, uint64_t n, void *buf)
{
	struct vms_wait wait;
	int r;

	vms_wait_init(&wait);
	do {
		r = write ? vms_object_write(obj, first * P, buf, n * P, &wait)
			  : vms_object_read(obj, first * P, buf, n * P, &wait);
		if (r != VMS_WAIT)
			break;
		r = vms_wait_block(&wait, PATIENCE * INT64_C(1000000000));
	} while (!r);
	vms_wait_cancel(&wait);
	return r;
}

static void *toucher(void *arg)
{
	struct toucher *t = arg;

	t->result = touch(t->obj, t->write, t->first, t->n, t->buf);
	return NULL;
}

void touch_start(struct toucher *t, struct vms_object *obj, bool write, uint64_t first, uint64_t n,
		 unsigned seed)
{
	*t = (struct toucher){ .obj = obj, .write = write, .first = first, .n = n, .seed = seed };
	t->buf = malloc(n * P);
	assert_non_null(t->buf);
	if (write)
		fill_pages(t->buf, seed, first, n);
	assert_int_equal(pthread_create(&t->thread, NULL, toucher, t), 0);
}

int touch_end(struct toucher *t)
{
	pthread_join(t->thread, NULL);
	free(t->buf);
	return t->result;
}
