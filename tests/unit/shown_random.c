// SPDX-License-Identifier: MIT
/*
 * A random walk over objects with a table of entries beside each, filled from what is there and
 * emptied by the calls that a shower of pages gets, and by these alone. Whatever happens, what
 * stands in a table must be what the object shows: a change that forgets to tell is found whatever
 * it is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "paged_kit.h"

#include "files.h"
#include "object/shown.h"
#include "random.h"
#include "store/arena.h"

#define OBJECTS 6
#define PAGES	70

struct entry {
	bool there, writes;
	frame_t frame; /* FRAME_NONE: the zero page */
};

struct table {
	struct shown shown;
	struct vms_object *obj;
	struct content *c;
	struct entry entry[PAGES];
	uint64_t gone, stopped; /* calls */
};

static uint64_t rng, total_gone, total_stopped, total_filled;

static uint64_t rnd(uint64_t below)
{
	return next53(&rng) % below;
}

static void table_gone(struct shown *s, uint64_t first, uint64_t n)
{
	struct table *t = (struct table *)s;

	for (uint64_t i = first; i < first + n; i++)
		t->entry[i].there = false;
	total_gone++;
}

static void table_read_only(struct shown *s, uint64_t first, uint64_t n)
{
	struct table *t = (struct table *)s;

	for (uint64_t i = first; i < first + n; i++)
		t->entry[i].writes = false;
	total_stopped++;
}

static const struct shown_ops table_ops = { table_gone, table_read_only };

/* Takes over the reference. */
static void table_begin(struct table *t, struct vms_object *obj)
{
	memset(t, 0, sizeof(*t));
	t->obj = obj;
	t->c = view_of(obj)->content;
	t->shown.ops = &table_ops;
	lock_take(&t->c->family->lock);
	shown_add(t->c, &t->shown, 0, PAGES);
	lock_drop(&t->c->family->lock);
}

static void table_end(struct table *t)
{
	lock_take(&t->c->family->lock);
	shown_del(t->c, &t->shown);
	lock_drop(&t->c->family->lock);
	vms_object_unref(t->obj);
}

static bool may_write(const struct content *c, uint64_t page, frame_t frame) UNCHECKED_LOCKS
{
	if (content_own(c, page) != frame || !frame)
		return false;
	return c->kind != CONTENT_PAGED ||
	       (frame_marks(c->arena, frame) & (FRAME_DIRTY | FRAME_CLEANING)) == FRAME_DIRTY;
}

/* What a backend does on a fault. */
static void table_fill(struct table *t)
{
	uint64_t first = rnd(PAGES), n = rnd(PAGES);

	lock_take(&t->c->family->lock);
	for (uint64_t i = first; i < first + n && i < PAGES; i++) {
		struct seen s = see(t->c, i);
		struct entry *e = &t->entry[i];

		if (i >= atomic_load(&t->c->npages) || s.absent)
			continue;
		*e = (struct entry){ .there = true, .frame = s.frame };
		e->writes = rnd(2) && may_write(t->c, i, s.frame);
		total_filled++;
	}
	lock_drop(&t->c->family->lock);
}

/* Does every entry show what the object shows, and write only where it may? */
static void table_check(struct table *t, uint64_t step)
{
	const char *wrong = NULL;
	uint64_t page = 0;

	lock_take(&t->c->family->lock);
	for (uint64_t i = 0; !wrong && i < PAGES; i++) {
		const struct entry *e = &t->entry[i];
		struct seen s = see(t->c, i);

		page = i;
		if (!e->there)
			continue;
		if (i >= atomic_load(&t->c->npages))
			wrong = "lies past the end";
		else if (s.absent || s.frame != e->frame)
			wrong = "shows another frame";
		else if (e->writes && !may_write(t->c, i, e->frame))
			wrong = "may still write";
	}
	lock_drop(&t->c->family->lock);
	if (wrong)
		print_error("step %lu: page %lu %s\n", (unsigned long)step, (unsigned long)page,
			    wrong);
	assert_null(wrong);
}

static void walk_transfer(struct table *dst, struct table *src)
{
	uint64_t to = rnd(PAGES), from = rnd(PAGES), n = rnd(20);
	int err = vms_object_transfer(dst->obj, to * P, n * P, src->obj, from * P,
				      rnd(2) ? VMS_TRANSFER_KEEP : 0);

	assert_true(!err || err == -ERANGE || err == -ENOTSUP);
}

static void walk_child(struct table *to, struct table *from, struct vms_arena *arena)
{
	struct vms_object_params params = { .size = sizeof(params),
					    .flags = VMS_OBJECT_RESIZABLE,
					    .bytes = PAGES * P };
	enum vms_child_kind kind = rnd(2) ? VMS_CHILD_SNAPSHOT_LAZY : VMS_CHILD_REFERENCE;
	struct vms_object *obj;

	if (to == from)
		return;
	if (rnd(5) == 0) {
		assert_ok(vms_object_create(arena, &params, &obj));
	} else {
		if (kind == VMS_CHILD_REFERENCE)
			params.bytes = 0;
		assert_ok(vms_object_child(from->obj, kind,
					   kind == VMS_CHILD_REFERENCE ? 0 : rnd(20) * P, &params,
					   &obj));
	}
	table_end(to);
	table_begin(to, obj);
}

/* t[0] is the paged one, and stays. */
static void walk_step(struct table *t, struct vms_arena *arena, struct vms_pager *pager)
{
	static const enum vms_object_op op[] = { VMS_OBJECT_ZERO, VMS_OBJECT_DECOMMIT,
						 VMS_OBJECT_COMMIT, VMS_OBJECT_PREFETCH };
	static unsigned char buf[PAGES * 4096];
	struct table *a = &t[rnd(OBJECTS)], *b = &t[1 + rnd(OBJECTS - 1)];
	uint64_t first = rnd(PAGES), n = 1 + rnd(rnd(4) ? 4 : 40), all = view_bytes(a->obj) / P;
	int err = 0;

	if (first >= all)
		first = 0;
	if (n > all - first)
		n = all - first;
	switch (rnd(11)) {
	case 0:
	case 1:
		memset(buf, (int)rnd(256), n * P);
		err = vms_object_write(a->obj, first * P, buf, n * P, NULL);
		break;
	case 2:
		if (n)
			err = vms_object_write(a->obj, first * P + 9, buf, n * P - 9, NULL);
		break;
	case 3:
	case 4:
		err = vms_object_op(a->obj, op[rnd(4)], first * P, n * P, NULL);
		break;
	case 5:
		err = vms_object_resize(a->obj, (rnd(3) ? PAGES : rnd(PAGES)) * P + rnd(2), NULL);
		break;
	case 6:
	case 7:
		walk_child(b, a, arena);
		break;
	case 8:
		walk_transfer(a, b);
		break;
	case 9:
		arena_evict(arena, rnd(30));
		break;
	default:
		all = view_bytes(t[0].obj) / P;
		if (rnd(3) == 0) {
			err = vms_pager_file_sync(t[0].obj);
		} else {
			err = vms_pager_writeback_begin(pager, t[0].obj, 0, all * P, 0);
			assert_ok(err);
			if (rnd(2))
				err = vms_pager_writeback_end(pager, t[0].obj, 0, all * P, 0);
		}
	}
	/* PAGES + 1 byte is one page too many for the tables. */
	if (view_bytes(a->obj) > PAGES * P)
		assert_ok(vms_object_resize(a->obj, PAGES * P, NULL));
	assert_true(!err || err == -ENOTSUP);
}

static void tables_follow_whatever_happens(void **state)
{
	struct fixture *f = *state;
	const char *steps = getenv("SHOWN_STEPS"), *from = getenv("SHOWN_SEED");
	struct vms_object_params params = { .size = sizeof(params),
					    .flags = VMS_OBJECT_RESIZABLE,
					    .bytes = PAGES * P };
	uint64_t n = steps ? strtoull(steps, NULL, 0) : 6000;
	struct table *t = calloc(OBJECTS, sizeof(*t));
	int fd = file_of(PAGES * P, 5);
	struct vms_pager *pager;
	struct vms_object *obj;

	rng = (from ? strtoull(from, NULL, 0) : 1) * UINT64_C(0x9e3779b97f4a7c15) + 1;
	assert_ok(vms_pager_file(fd, &pager));
	assert_ok(vms_object_create_paged(f->arena, pager, 0, &params, &obj));
	table_begin(&t[0], obj);
	for (unsigned i = 1; i < OBJECTS; i++) {
		assert_ok(vms_object_create(f->arena, &params, &obj));
		table_begin(&t[i], obj);
	}
	for (uint64_t step = 0; step < n; step++) {
		walk_step(t, f->arena, pager);
		for (unsigned i = 0; i < OBJECTS; i++) {
			table_check(&t[i], step);
			table_fill(&t[i]);
			if (step % 16 == 0)
				assert_sound(t[i].obj);
		}
	}
	/* It did meet what it is about. */
	assert_true(total_gone > n / 10 && total_stopped > n / 50 && total_filled > n);
	assert_ok(vms_pager_detach(pager, t[0].obj));
	for (unsigned i = 0; i < OBJECTS; i++) {
		table_check(&t[i], n);
		table_end(&t[i]);
	}
	vms_pager_close(pager);
	close(fd);
	free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(tables_follow_whatever_happens, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
