/* SPDX-License-Identifier: MIT */
/*
 * access_kit.h: a memory with slots of every kind, and a port to it. After check.h.
 *
 *	0x0000	RAM	4 pages of A		0x8000	SLOW	2 pages, an array of ours
 *	0x4000	RAM	2 pages of B		0xa000	MANAGED	2 pages of an object
 *	0x6000	-	a hole			0xc000	SHARED	2 pages
 *	0x7000	ROM	1 page			0xe000	WONLY	1 page that may only be written
 *						0xf000	ALIAS	page 0 of A once more, RAM
 *	0x10000	-	a hole
 *	TOP	RAM	1 page, the last one of the 64-bit space
 *
 * Pages are 4096 bytes here; elsewhere the tests skip.
 */
#ifndef TESTS_ACCESS_KIT_H
#define TESTS_ACCESS_KIT_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "memory/port.h"
#include "vmspace/ring.h"
#include "world.h"

#define RAM	UINT64_C(0)
#define RAM_B	UINT64_C(0x4000)
#define HOLE	UINT64_C(0x6000)
#define ROM	UINT64_C(0x7000)
#define SLOW	UINT64_C(0x8000)
#define MANAGED UINT64_C(0xa000)
#define SHARED	UINT64_C(0xc000)
#define WONLY	UINT64_C(0xe000)
#define ALIAS	UINT64_C(0xf000)
#define BEHIND	UINT64_C(0x10000) /* a hole to TOP */
#define TOP	UINT64_C(0xfffffffffffff000)
#define PG	UINT64_C(0x1000)

/* A slow slot's owner: an array, and what it was asked. */
struct slow_owner {
	unsigned char bytes[2 * 4096];
	unsigned reads, writes, opens, closes, releases;
	size_t closed; /* `written` of the last close */
	int err;       /* answered instead of the access */
	int close_err;
	uint64_t fail_from; /* offsets from here on are refused with -EIO; 0: none */
};

static inline int owner_refuses(const struct slow_owner *s, uint64_t off, size_t len)
{
	if (s->err)
		return s->err;
	return s->fail_from && off + len > s->fail_from ? -EIO : 0;
}

static inline int owner_read(void *arg, uint64_t off, void *buf, size_t len)
{
	struct slow_owner *s = arg;
	int err = owner_refuses(s, off, len);

	s->reads++;
	if (!err)
		memcpy(buf, s->bytes + off, len);
	return err;
}

static inline int owner_write(void *arg, uint64_t off, const void *buf, size_t len)
{
	struct slow_owner *s = arg;
	int err = owner_refuses(s, off, len);

	s->writes++;
	if (!err)
		memcpy(s->bytes + off, buf, len);
	return err;
}

static inline int owner_open(void *arg, uint64_t off, size_t len, uint32_t rights, void **hva,
			     void **cookie)
{
	struct slow_owner *s = arg;
	int err = owner_refuses(s, off, len);

	if (err)
		return err;
	s->opens++;
	*hva = s->bytes + off;
	*cookie = s;
	return 0;
}

static inline int owner_close(void *arg, void *cookie, size_t written)
{
	struct slow_owner *s = arg;

	if (cookie != s)
		abort();
	s->closes++;
	s->closed = written;
	return s->close_err;
}

static inline void owner_release(void *arg)
{
	((struct slow_owner *)arg)->releases++;
}

static const struct vms_slow_ops slow_ops = { .size = sizeof(slow_ops),
					      .read = owner_read,
					      .write = owner_write,
					      .open = owner_open,
					      .close = owner_close,
					      .release = owner_release };

static const struct vms_slow_ops deaf_ops = { .size = sizeof(deaf_ops), .release = owner_release };

struct kit {
	struct test_world world;
	struct vms_memory *mem;
	struct vms_port *port;
	struct vms_arena *arena;
	struct vms_object *object;
	struct vms_block *a, *b, *rom, *managed, *shared, *wonly, *top;
	struct slow_owner owner;
};

static inline struct vms_block *kit_block(struct kit *k, uint32_t kind, uint64_t pages,
					  struct vms_object *object)
{
	struct vms_block_params p = {
		.size = sizeof(p), .kind = kind, .bytes = pages * PG, .object = object
	};
	struct vms_block *b = NULL;

	assert_ok(vms_block_create(k->mem, &p, &b));
	return b;
}

static inline struct vms_edit *kit_edit(struct kit *k)
{
	struct vms_edit *e = NULL;

	assert_ok(vms_edit_begin(k->mem, &e));
	return e;
}

static inline void kit_map(struct kit *k, uint64_t gpa, uint64_t pages, struct vms_block *b,
			   uint64_t page, uint32_t access)
{
	struct vms_edit *e = kit_edit(k);

	assert_ok(vms_slot_map(e, gpa, pages * PG, b, page * PG, access));
	assert_ok(vms_edit_commit(e));
}

static inline void kit_map_slow(struct kit *k, uint64_t gpa, uint64_t pages,
				const struct vms_slow_ops *ops, struct slow_owner *owner)
{
	struct vms_edit *e = kit_edit(k);

	assert_ok(vms_slot_map_slow(e, gpa, pages * PG, ops, owner, VMS_SLOT_RAM));
	assert_ok(vms_edit_commit(e));
}

static inline void kit_unmap(struct kit *k, uint64_t gpa, uint64_t pages)
{
	struct vms_edit *e = kit_edit(k);

	assert_ok(vms_slot_unmap(e, gpa, pages * PG));
	assert_ok(vms_edit_commit(e));
}

static inline struct vms_port *kit_port(struct kit *k, uint64_t gpa, uint64_t len, uint32_t rights,
					const struct vms_translator *t)
{
	struct vms_port_params p = {
		.size = sizeof(p), .gpa = gpa, .len = len, .rights = rights, .translator = t
	};
	struct vms_port *port = NULL;

	assert_ok(vms_port_create(k->mem, &p, &port));
	return port;
}

static inline int kit_begin(void **state)
{
	static const struct vms_memory_params params = { .size = sizeof(params) };
	struct vms_arena_params ap = { .size = sizeof(ap), .reserve = UINT64_C(1) << 24 };
	struct vms_object_params op = { .size = sizeof(op), .bytes = 2 * PG };
	struct kit *k;

	if (sysconf(_SC_PAGESIZE) != 4096) {
		*state = NULL;
		return 0;
	}
	k = calloc(1, sizeof(*k));
	assert_non_null(k);
	*state = k;
	test_world_begin(&k->world);
	assert_ok(vms_memory_create(&params, &k->mem));
	assert_ok(vms_port_create(k->mem, NULL, &k->port));
	assert_ok(vms_arena_create(&ap, &k->arena));
	assert_ok(vms_object_create(k->arena, &op, &k->object));
	k->a = kit_block(k, VMS_BLOCK_ANON, 4, NULL);
	k->b = kit_block(k, VMS_BLOCK_ANON, 2, NULL);
	k->rom = kit_block(k, VMS_BLOCK_ANON, 1, NULL);
	k->managed = kit_block(k, VMS_BLOCK_OBJECT, 2, k->object);
	k->shared = kit_block(k, VMS_BLOCK_SHARED, 2, NULL);
	k->wonly = kit_block(k, VMS_BLOCK_ANON, 1, NULL);
	k->top = kit_block(k, VMS_BLOCK_ANON, 1, NULL);
	kit_map(k, RAM, 4, k->a, 0, VMS_SLOT_RAM);
	kit_map(k, RAM_B, 2, k->b, 0, VMS_SLOT_RAM);
	kit_map(k, ROM, 1, k->rom, 0, VMS_SLOT_ROM);
	kit_map_slow(k, SLOW, 2, &slow_ops, &k->owner);
	kit_map(k, MANAGED, 2, k->managed, 0, VMS_SLOT_RAM);
	kit_map(k, SHARED, 2, k->shared, 0, VMS_SLOT_RAM);
	kit_map(k, WONLY, 1, k->wonly, 0, VMS_SLOT_WRITE);
	kit_map(k, ALIAS, 1, k->a, 0, VMS_SLOT_RAM);
	kit_map(k, TOP, 1, k->top, 0, VMS_SLOT_RAM);
	return 0;
}

/* Nothing is pinned or counted that should not be: the memory and all blocks go. */
static inline int kit_end(void **state)
{
	struct kit *k = *state;
	struct vms_block **each[] = { &k->a,	  &k->b,     &k->rom, &k->managed,
				      &k->shared, &k->wonly, &k->top };

	if (!k)
		return 0;
	/* A test that failed in a bracket must not hang here. */
	while (epoch_inside()) {
		print_error("a bracket is open\n");
		epoch_leave();
	}
	vms_recover_enable(false);
	assert_ok(vms_memory_check(k->mem));
	for (unsigned i = 0; i < sizeof(each) / sizeof(each[0]); i++) {
		assert_int_equal(atomic_load(&(*each[i])->pins), 0);
		vms_block_unref(*each[i]);
	}
	vms_port_unref(k->port);
	vms_memory_unref(k->mem);
	assert_int_equal(k->owner.releases, 1);
	vms_object_unref(k->object);
	vms_arena_unref(k->arena);
	test_world_end(&k->world);
	free(k);
	return 0;
}

#define kit_of(state)                                             \
	({                                                        \
		if (!*(state))                                    \
			skip(); /* pages are not of 4096 bytes */ \
		(struct kit *)*(state);                           \
	})

/* Bytes that tell their place. */
static inline unsigned char kit_byte(uint64_t i)
{
	return (unsigned char)(i * 7 + (i >> 8) * 13 + 1);
}

static inline void kit_pattern(unsigned char *p, uint64_t n, uint64_t from)
{
	for (uint64_t i = 0; i < n; i++)
		p[i] = kit_byte(from + i);
}

#define assert_done(call, want_done, want_status)                             \
	do {                                                                  \
		struct vms_done r_ = (call);                                  \
                                                                              \
		assert_int_equal(r_.status, want_status);                     \
		assert_int_equal((long long)r_.done, (long long)(want_done)); \
	} while (0)

#endif
