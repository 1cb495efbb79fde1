// SPDX-License-Identifier: MIT
/*
 * Who shows pages is told what he must know, before it happens, and no more.
 *
 * A watcher notes what it is told, and at each call looks whether the pages still are as they were
 * when it last looked: the slots, the size, that frames to be shared are not shared yet, and that
 * frames to be written back are still dirty.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "paged_kit.h"

#include "files.h"
#include "object/shown.h"
#include "store/arena.h"

#define NOTES 32
#define MAX   80 /* pages of a watcher */

/* ---- A watcher ---- */

struct told {
	bool gone;
	uint64_t first, n;
};

struct watcher {
	struct shown shown;
	struct vms_object *obj;
	struct content *c;
	uint64_t first, n; /* pages */
	struct told told[NOTES];
	unsigned notes;
	bool late; /* told after the change */
	struct seen was[MAX];
	unsigned marks[MAX];
	uint64_t npages;
};

static void note(struct watcher *w, bool gone, uint64_t first, uint64_t n) UNCHECKED_LOCKS
{
	struct told *last = w->notes ? &w->told[w->notes - 1] : NULL;

	w->late |= atomic_load(&w->c->npages) != w->npages;
	for (uint64_t page = first; page < first + n; page++) {
		struct seen *was = &w->was[page - w->first], now = see(w->c, page);

		w->late |= now.frame != was->frame || now.absent != was->absent ||
			   now.slot != was->slot;
		if (gone || !slot_is_frame(now.slot))
			continue;
		w->late |= content_own(w->c, page) != now.frame ||
			   frame_marks(w->c->arena, now.slot) != w->marks[page - w->first];
	}
	if (last && last->gone == gone && last->first + last->n == first) {
		last->n += n;
		return;
	}
	if (w->notes < NOTES)
		w->told[w->notes++] = (struct told){ gone, first, n };
}

static void watch_gone(struct shown *s, uint64_t first, uint64_t n)
{
	note((struct watcher *)s, true, first, n);
}

static void watch_read_only(struct shown *s, uint64_t first, uint64_t n)
{
	note((struct watcher *)s, false, first, n);
}

static const struct shown_ops watching = { watch_gone, watch_read_only };

/* Look at the pages as they are now. */
static void arm(struct watcher *w)
{
	lock_take(&w->c->family->lock);
	w->npages = atomic_load(&w->c->npages);
	for (uint64_t i = 0; i < w->n; i++) {
		w->was[i] = see(w->c, w->first + i);
		w->marks[i] = slot_is_frame(w->was[i].slot)
				      ? frame_marks(w->c->arena, w->was[i].slot)
				      : 0;
	}
	lock_drop(&w->c->family->lock);
}

static struct watcher *watch(struct vms_object *obj, uint64_t first, uint64_t n)
{
	struct watcher *w = calloc(1, sizeof(*w));
	struct content *c = view_of(obj)->content;

	assert_true(n <= MAX);
	w->shown.ops = &watching;
	w->obj = vms_object_ref(obj);
	w->c = c;
	w->first = first;
	w->n = n;
	lock_take(&c->family->lock);
	shown_add(c, &w->shown, first, n);
	lock_drop(&c->family->lock);
	arm(w);
	assert_sound(obj);
	return w;
}

struct span {
	uint64_t first, n; /* pages; n 0: no more of them */
};

/* The next calls were these. */
static void told(struct watcher *w, bool gone, const struct span *span)
{
	for (; span->n; span++) {
		const struct told *t = w->told;

		if (!w->notes || t->gone != gone || t->first != span->first || t->n != span->n)
			print_error("told %u times, first %d %lu+%lu, expected %d %lu+%lu\n",
				    w->notes, t->gone, (unsigned long)t->first, (unsigned long)t->n,
				    gone, (unsigned long)span->first, (unsigned long)span->n);
		assert_true(w->notes > 0);
		assert_int_equal(t->gone, gone);
		assert_int_equal(t->first, span->first);
		assert_int_equal(t->n, span->n);
		memmove(w->told, w->told + 1, --w->notes * sizeof(w->told[0]));
	}
}

#define told_gone(w, ...)      told(w, true, (const struct span[]){ __VA_ARGS__, { 0 } })
#define told_read_only(w, ...) told(w, false, (const struct span[]){ __VA_ARGS__, { 0 } })

/* Nothing else was said, and nothing too late; look again. */
static void quiet_one(struct watcher *w)
{
	if (w->notes)
		print_error("told: %d %lu+%lu\n", w->told[0].gone, (unsigned long)w->told[0].first,
			    (unsigned long)w->told[0].n);
	assert_int_equal(w->notes, 0);
	assert_false(w->late);
	assert_sound(w->obj);
	arm(w);
}

static void quiet_all(struct watcher *const *w)
{
	for (; *w; w++)
		quiet_one(*w);
}

static void unwatch_all(struct watcher *const *all)
{
	for (struct watcher *w; (w = *all); all++) {
		quiet_one(w);
		lock_take(&w->c->family->lock);
		shown_del(w->c, &w->shown);
		lock_drop(&w->c->family->lock);
		vms_object_unref(w->obj);
		free(w);
	}
}

static void drop_all(struct vms_object *const *obj)
{
	for (; *obj; obj++)
		vms_object_unref(*obj);
}

#define quiet(...)   quiet_all((struct watcher *const[]){ __VA_ARGS__, NULL })
#define unwatch(...) unwatch_all((struct watcher *const[]){ __VA_ARGS__, NULL })
#define drop(...)    drop_all((struct vms_object *const[]){ __VA_ARGS__, NULL })

/* ---- Objects in one line ---- */

static struct vms_object *object(struct vms_arena *arena, uint64_t npages, uint32_t flags)
{
	struct vms_object_params params = { .size = sizeof(params),
					    .flags = flags,
					    .bytes = npages * P };
	struct vms_object *obj;

	assert_ok(vms_object_create(arena, &params, &obj));
	return obj;
}

static void put(struct vms_object *obj, uint64_t first, uint64_t n, int byte)
{
	unsigned char *buf = malloc(n * P);

	memset(buf, byte, n * P);
	assert_ok(vms_object_write(obj, first * P, buf, n * P, NULL));
	free(buf);
}

/* ---- Snapshots and writes ---- */

static void a_snapshot_takes_the_right_to_write(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = object(f->arena, 64, 0), *s, *r;
	struct watcher *near = watch(a, 0, 16), *far = watch(a, 32, 8), *copy;

	put(a, 0, 16, 1);
	told_gone(near, { 0, 16 }); /* what was zero */
	quiet(near);
	put(a, 3, 1, 2); /* in place */
	quiet(near);
	s = child(a, VMS_CHILD_SNAPSHOT, 4, 8, 0);
	told_read_only(near, { 4, 8 });
	quiet(near);
	copy = watch(s, 0, 8);
	/* The first write of a shared page puts another frame there; of the last sharer none. */
	assert_ok(vms_object_write(a, 5 * P + 7, "x", 1, NULL));
	told_gone(near, { 5, 1 });
	quiet(near);
	put(a, 5, 1, 3);
	put(s, 1, 1, 4);
	put(a, 12, 4, 5);
	quiet(near);
	put(s, 2, 3, 6);
	told_gone(copy, { 2, 3 });
	put(a, 6, 3, 6);
	/* Through another name of the same content. */
	r = child(a, VMS_CHILD_REFERENCE, 0, 0, 0);
	assert_ok(vms_object_write(r, 9 * P, "x", 1, NULL));
	told_gone(near, { 9, 1 });
	quiet(near, far);
	put(a, 34, 1, 1);
	told_gone(far, { 34, 1 });
	drop(r);
	unwatch(copy, near, far);
	drop(s, a);
}

/* Pin and commit give a page a frame of its own; so does a long write, which is made aside. */
static void own_frames_replace_what_was_seen(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = object(f->arena, 1024, 0), *s;
	struct watcher *w = watch(a, 0, 64), *far;

	put(a, 0, 8, 1);
	told_gone(w, { 0, 8 });
	quiet(w);
	s = child(a, VMS_CHILD_SNAPSHOT, 0, 64, 0);
	told_read_only(w, { 0, 64 });
	quiet(w);
	assert_ok(vms_object_pin(a, P, 2 * P, 0, NULL));
	told_gone(w, { 1, 2 });
	assert_ok(vms_object_op(a, VMS_OBJECT_COMMIT, 2 * P, 2 * P, NULL));
	told_gone(w, { 3, 1 });
	assert_ok(vms_object_op(a, VMS_OBJECT_COMMIT, 20 * P, P, NULL));
	told_gone(w, { 20, 1 });
	quiet(w);
	assert_int_equal(vms_object_op(a, VMS_OBJECT_DECOMMIT, 0, 8 * P, NULL), -ENOTSUP);
	quiet(w);
	assert_ok(vms_object_unpin(a, P, 2 * P));
	far = watch(a, 1000, 10);
	put(a, 100, 900, 9);
	quiet(w, far);
	unwatch(far);
	far = watch(a, 990, 20);
	put(a, 0, 1000, 9);
	told_gone(w, { 0, 1 }, { 4, 16 }, { 21, 43 });
	quiet(w);
	unwatch(w, far);
	drop(s, a);
}

/* ---- Pages away ---- */

static void decommit_and_zero_tell_their_pages(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = object(f->arena, 64, 0);
	struct watcher *w, *far;

	put(a, 0, 64, 1);
	w = watch(a, 0, 16);
	far = watch(a, 16, 8);
	assert_ok(vms_object_op(a, VMS_OBJECT_DECOMMIT, 2 * P, 4 * P, NULL));
	told_gone(w, { 2, 4 });
	quiet(w);
	assert_ok(vms_object_op(a, VMS_OBJECT_ZERO, 8 * P + 1, 3 * P, NULL));
	told_gone(w, { 9, 2 }); /* the parts of 8 and 11 are zeroed in place */
	quiet(w);
	assert_ok(vms_object_op(a, VMS_OBJECT_ZERO, 3 * P, P, NULL)); /* reads zero already */
	quiet(w, far);
	assert_ok(vms_object_op(a, VMS_OBJECT_ZERO, 14 * P, 4 * P, NULL));
	told_gone(w, { 14, 2 });
	told_gone(far, { 16, 2 });
	unwatch(w, far);
	drop(a);
}

static void a_shrink_tells_before_the_size_falls(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = object(f->arena, 64, VMS_OBJECT_RESIZABLE);
	struct watcher *w, *low;

	put(a, 0, 64, 1);
	w = watch(a, 4, 72); /* past the end, as a mapping may */
	low = watch(a, 0, 8);
	assert_ok(vms_object_resize(a, 8 * P + 10, NULL));
	told_gone(w, { 9, 55 }, { 8, 1 }); /* the stream ends inside it */
	quiet(w);
	assert_ok(vms_object_resize(a, 40 * P, NULL)); /* nobody had an entry there */
	quiet(w);
	put(a, 20, 1, 1);
	told_gone(w, { 20, 1 });
	unwatch(w, low);
	drop(a);
}

static void a_discard_tells_all(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = object(f->arena, 16, VMS_OBJECT_DISCARDABLE);
	struct watcher *w;

	put(a, 0, 16, 1);
	w = watch(a, 4, 4);
	assert_int_equal(arena_evict(f->arena, 1), 16);
	told_gone(w, { 4, 4 });
	unwatch(w);
	drop(a);
}

static void a_transfer_tells_both_sides(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = object(f->arena, 32, 0), *b = object(f->arena, 32, 0);
	struct watcher *from, *to, *far;

	put(a, 0, 32, 1);
	put(b, 9, 1, 2);
	from = watch(a, 0, 16);
	far = watch(a, 16, 16);
	to = watch(b, 0, 32);
	assert_ok(vms_object_transfer(b, 8 * P, 4 * P, a, 2 * P, 0));
	told_gone(from, { 2, 4 });
	told_gone(to, { 8, 4 });
	quiet(from, to);
	put(b, 20, 1, 3);
	told_gone(to, { 20, 1 });
	quiet(to);
	/* KEEP: page 20 stays; nothing comes for 24 and on, where a has no page any more. */
	assert_ok(vms_object_op(a, VMS_OBJECT_DECOMMIT, 12 * P, 2 * P, NULL));
	told_gone(from, { 12, 2 });
	quiet(from);
	assert_ok(vms_object_transfer(b, 19 * P, 6 * P, a, 8 * P, VMS_TRANSFER_KEEP));
	told_gone(from, { 8, 6 });
	told_gone(to, { 19, 1 }, { 21, 2 });
	quiet(to);
	/* Inside one object, overlapping. */
	assert_ok(vms_object_transfer(b, 9 * P, 3 * P, b, 8 * P, 0));
	told_gone(to, { 8, 3 }, { 9, 3 });
	unwatch(from, to, far);
	drop(a, b);
}

/* ---- Above a pager ---- */

static void a_supply_tells_whoever_showed_the_source(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = paged(f->arena, &f->script, 1, 0, 32);
	struct vms_object *aux = anon(f->arena, 32);
	struct watcher *root, *from, *far;

	put(aux, 0, 4, 1);
	root = watch(a, 0, 32);
	from = watch(aux, 0, 16);
	far = watch(aux, 16, 4);
	assert_ok(vms_pager_supply(f->script.pager, a, 8 * P, 6 * P, aux, 0));
	told_gone(from, { 0, 6 });
	quiet(from, root); /* absent pages nobody shows */
	supply(&f->script, a, 1, 20, 4);
	quiet(root);
	unwatch(from, far, root);
	drop(aux, a);
	expect_complete(&f->script, 1);
}

/* Pages of the root that an overlay shows: told to both, but not where the overlay has its own. */
static void what_a_root_loses_its_overlays_lose(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = paged(f->arena, &f->script, 1, VMS_OBJECT_RESIZABLE, 32);
	struct vms_object *o = child(a, VMS_CHILD_SNAPSHOT_LAZY, 4, 20, 0), *oo;
	struct watcher *root, *over, *tail, *second;

	supply(&f->script, a, 1, 0, 32);
	put(o, 6, 2, 1); /* hides the root's 10 and 11 */
	root = watch(a, 0, 32);
	over = watch(o, 0, 16);
	tail = watch(o, 16, 4);
	put(o, 3, 1, 2);
	told_gone(over, { 3, 1 });
	quiet(over, root);
	oo = child(o, VMS_CHILD_SNAPSHOT_LAZY, 2, 10, 0);
	told_read_only(over, { 2, 10 });
	quiet(over);
	second = watch(oo, 0, 10);
	/* A write of the root is seen by all, in place. */
	put(a, 5, 1, 3);
	quiet(root, over);
	/* Zero: the root's frames go. */
	assert_ok(vms_object_op(a, VMS_OBJECT_ZERO, 6 * P, 10 * P, NULL));
	told_gone(root, { 6, 10 });
	told_gone(over, { 2, 1 }, { 4, 2 }, { 8, 4 });
	told_gone(second, { 0, 1 }, { 2, 2 }, { 6, 4 });
	quiet(root, over, second, tail);
	/* What was zero gets a frame. */
	put(a, 12, 1, 4);
	told_gone(root, { 12, 1 });
	told_gone(over, { 8, 1 });
	told_gone(second, { 6, 1 });
	quiet(root, over, second);
	assert_ok(vms_object_resize(a, 21 * P, NULL));
	told_gone(root, { 21, 11 });
	told_gone(tail, { 17, 3 });
	unwatch(tail, second, over, root);
	drop(oo, o, a);
	expect_complete(&f->script, 1);
}

static void eviction_and_detach_tell_what_they_drop(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = paged(f->arena, &f->script, 1, 0, 16), *o;
	struct watcher *root, *over, *far;

	supply(&f->script, a, 1, 0, 16);
	put(a, 3, 1, 1); /* dirty: stays */
	o = child(a, VMS_CHILD_SNAPSHOT_LAZY, 0, 16, 0);
	root = watch(a, 0, 8);
	far = watch(a, 12, 4);
	over = watch(o, 0, 16);
	assert_int_equal(arena_evict(f->arena, 6), 6);
	told_gone(root, { 0, 3 }, { 4, 3 });
	told_gone(over, { 0, 3 }, { 4, 3 });
	quiet(root, over, far);
	assert_ok(vms_pager_detach(f->script.pager, a));
	told_gone(root, { 7, 1 });
	told_gone(far, { 12, 4 });
	told_gone(over, { 7, 9 });
	unwatch(root, far, over);
	drop(o, a);
	expect_complete(&f->script, 1);
}

static void a_write_back_takes_the_right_to_write(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = paged(f->arena, &f->script, 1, 0, 32), *o;
	struct watcher *root, *over, *far;

	supply(&f->script, a, 1, 0, 32);
	put(a, 2, 3, 1);
	put(a, 8, 2, 1);
	put(a, 20, 1, 1);
	assert_ok(vms_object_pin(a, 3 * P, P, 1, NULL));
	o = child(a, VMS_CHILD_SNAPSHOT_LAZY, 0, 32, 0);
	root = watch(a, 0, 16);
	far = watch(a, 16, 16);
	over = watch(o, 0, 32);
	assert_ok(vms_pager_writeback_begin(f->script.pager, a, 0, 16 * P, 0));
	told_read_only(root, { 2, 1 }, { 4, 1 }, { 8, 2 }); /* 3 is pinned, and stays dirty */
	quiet(root);
	put(a, 8, 1, 2); /* dirty again, in place */
	assert_ok(vms_pager_writeback_end(f->script.pager, a, 0, 16 * P, 0));
	quiet(root, far, over);
	assert_ok(vms_object_unpin(a, 3 * P, P));
	unwatch(root, far, over);
	drop(o, a);
	expect_complete(&f->script, 1);
}

static void an_answer_of_dirtied_tells_of_zero_pages(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = paged(f->arena, &f->script, 1, VMS_OBJECT_TRAP_DIRTY, 16);
	struct vms_object *hole = anon(f->arena, 16), *o;
	struct watcher *root, *over;

	assert_ok(vms_pager_supply(f->script.pager, a, 0, 8 * P, hole, 0)); /* zeros */
	supply(&f->script, a, 1, 8, 8);
	o = child(a, VMS_CHILD_SNAPSHOT_LAZY, 0, 16, 0);
	root = watch(a, 0, 16);
	over = watch(o, 0, 16);
	assert_ok(vms_pager_dirtied(f->script.pager, a, 6 * P, 4 * P));
	told_gone(root, { 6, 2 }); /* 8 and 9 keep their frames */
	told_gone(over, { 6, 2 });
	unwatch(root, over);
	drop(hole, o, a);
	expect_complete(&f->script, 1);
}

/* ---- Above a file ---- */

static void a_page_of_a_file_becomes_the_overlays(void **state)
{
	struct fixture *f = *state;
	struct vms_object_params params = { .size = sizeof(params) };
	int fd = file_of(16 * P, 7);
	struct vms_object *file, *o;
	struct watcher *over, *root;

	assert_ok(vms_object_create_file(f->arena, fd, &params, &file));
	o = child(file, VMS_CHILD_SNAPSHOT_LAZY, 0, 16, 0);
	over = watch(o, 0, 16);
	root = watch(file, 0, 16);
	assert_ok(vms_object_write(o, 5 * P + 1, "x", 1, NULL));
	told_gone(over, { 5, 1 }); /* it was the file's page until now */
	quiet(over);
	put(o, 8, 2, 1);
	told_gone(over, { 8, 2 });
	unwatch(over, root);
	drop(o, file);
	close(fd);
}

static void a_sync_takes_the_right_to_write(void **state)
{
	struct fixture *f = *state;
	int fd = file_of(16 * P, 7);
	struct vms_pager *pager;
	struct vms_object_params params = { .size = sizeof(params), .bytes = 16 * P };
	struct vms_object *a;
	struct watcher *w, *far;

	assert_ok(vms_pager_file(fd, &pager));
	assert_ok(vms_object_create_paged(f->arena, pager, 0, &params, &a));
	put(a, 2, 2, 1);
	put(a, 9, 1, 1);
	w = watch(a, 0, 8);
	far = watch(a, 10, 4);
	assert_ok(vms_pager_file_sync(a));
	told_read_only(w, { 2, 2 });
	unwatch(w, far);
	drop(a);
	vms_pager_close(pager);
	close(fd);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(a_snapshot_takes_the_right_to_write),
		TEST(own_frames_replace_what_was_seen),
		TEST(decommit_and_zero_tell_their_pages),
		TEST(a_shrink_tells_before_the_size_falls),
		TEST(a_discard_tells_all),
		TEST(a_transfer_tells_both_sides),
		TEST(a_supply_tells_whoever_showed_the_source),
		TEST(what_a_root_loses_its_overlays_lose),
		TEST(eviction_and_detach_tell_what_they_drop),
		TEST(a_write_back_takes_the_right_to_write),
		TEST(an_answer_of_dirtied_tells_of_zero_pages),
		TEST(a_page_of_a_file_becomes_the_overlays),
		TEST(a_sync_takes_the_right_to_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
