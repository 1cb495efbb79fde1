/* SPDX-License-Identifier: MIT */
/* paged_kit.h: objects above a scripted pager in one line, for the tests that use many of them. */
#ifndef TESTS_PAGED_KIT_H
#define TESTS_PAGED_KIT_H

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "object/content.h"
#include "pager_script.h"
#include "world.h"

struct fixture {
	struct test_world world;
	struct script script;
	struct vms_arena *arena;
};

static inline int begin(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	test_world_begin(&f->world);
	script_begin(&f->script);
	f->arena = arena_of(0);
	*state = f;
	return 0;
}

static inline int end(void **state)
{
	struct fixture *f = *state;

	script_end(&f->script);
	vms_arena_unref(f->arena);
	test_world_end(&f->world);
	free(f);
	return 0;
}

static inline struct vms_object *child(struct vms_object *parent, enum vms_child_kind kind,
				       uint64_t first, uint64_t npages, uint32_t flags)
{
	struct vms_object_params params = { .size = sizeof(params),
					    .flags = flags,
					    .bytes = npages * P };
	struct vms_object *obj = NULL;

	assert_ok(vms_object_child(parent, kind, first * P, &params, &obj));
	return obj;
}

/* What a content shows on a page; nothing past its end. */
static inline struct seen see(const struct content *c, uint64_t page)
{
	return page < atomic_load(&c->npages) ? content_see(c, page) : (struct seen){ 0 };
}

#endif
