/* SPDX-License-Identifier: MIT */
/* objects_kit.h: objects in one line, for the tests that use many of them. */
#ifndef TESTS_OBJECTS_KIT_H
#define TESTS_OBJECTS_KIT_H

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "object/content.h"
#include "vmspace/object.h"
#include "world.h"

#define P ((uint64_t)4096)

struct fixture {
	struct test_world world;
	struct vms_arena *arena;
};

static inline struct vms_arena *arena_of(uint64_t limit)
{
	struct vms_arena_params params = { .size = sizeof(params),
					   .limit = limit,
					   .reserve = UINT64_C(1) << 32 };
	struct vms_arena *arena = NULL;

	assert_ok(vms_arena_create(&params, &arena));
	return arena;
}

static inline int begin(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	test_world_begin(&f->world);
	f->arena = arena_of(0);
	*state = f;
	return 0;
}

static inline uint64_t granted(struct vms_arena *arena)
{
	struct vms_arena_info info = { .size = sizeof(info) };

	assert_ok(vms_arena_info(arena, &info));
	return info.granted / P;
}

static inline int end(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(granted(f->arena), 0);
	vms_arena_unref(f->arena);
	test_world_end(&f->world);
	free(f);
	return 0;
}

static inline struct vms_object *anon(struct vms_arena *arena, uint64_t bytes, uint32_t flags)
{
	struct vms_object_params params = { .size = sizeof(params),
					    .flags = flags,
					    .bytes = bytes };
	struct vms_object *obj = NULL;

	assert_ok(vms_object_create(arena, &params, &obj));
	return obj;
}

static inline struct vms_object *child(struct vms_object *parent, enum vms_child_kind kind,
				       uint64_t off, uint64_t bytes, uint32_t flags)
{
	struct vms_object_params params = { .size = sizeof(params),
					    .flags = flags,
					    .bytes = bytes };
	struct vms_object *obj = NULL;

	assert_ok(vms_object_child(parent, kind, off, &params, &obj));
	return obj;
}

static inline void sound(struct vms_object *obj)
{
	int err = content_check(obj, NULL);

	if (err)
		print_message("%s\n", vms_last_error());
	assert_int_equal(err, 0);
}

static inline void put(struct vms_object *obj, uint64_t off, uint64_t len, int byte)
{
	unsigned char *buf = malloc(len);

	memset(buf, byte, len);
	assert_ok(vms_object_write(obj, off, buf, len, NULL));
	free(buf);
}

/* Every byte of [off, off + len) is this. */
static inline void is(struct vms_object *obj, uint64_t off, uint64_t len, int byte)
{
	unsigned char *buf = malloc(len + 1);

	memset(buf, byte + 1, len);
	assert_ok(vms_object_read(obj, off, buf, len, NULL));
	for (uint64_t i = 0; i < len; i++)
		if (buf[i] != (unsigned char)byte) {
			print_message("byte %#llx is %#x, not %#x\n", (unsigned long long)(off + i),
				      buf[i], byte);
			assert_int_equal(buf[i], byte);
		}
	free(buf);
}

#endif
