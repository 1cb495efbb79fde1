/* SPDX-License-Identifier: MIT */
/*
 * vspace_pictures.h: edits of a space over objects in one line, and pictures of what is mapped.
 *
 * A picture has one character a page: '.' a hole, a letter an object. Upper case can be written.
 * Equal letters next to each other are one mapping, unless '|' stands between them. Unless a test
 * says otherwise, an object's page is its page in the space, so what is equal and touches goes on.
 *
 * The validator runs with each picture: it compares tree, regions, reverse map and backend.
 */
#ifndef TESTS_VSPACE_PICTURES_H
#define TESTS_VSPACE_PICTURES_H

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "mmu/backend.h"
#include "object/place.h"
#include "objects_kit.h"
#include "space/vspace.h"

#define BASE  UINT64_C(0x100000)
#define PAGES 32u
#define R     VMS_PROT_READ
#define W     VMS_PROT_WRITE
#define X     VMS_PROT_EXEC
#define RW    (R | W)
#define AT(p) (BASE + (p)*P)

struct kit {
	struct test_world world;
	struct vms_arena *arena;
	struct vms_mmu *mmu;
	struct vms_space *space;
	struct vms_region *root;
	struct vms_object *obj[3]; /* A, B, C */
	unsigned released[3];
};

static struct kit *kit; /* of the test that runs */

static inline struct vms_space *space_over(struct vms_mmu *mmu, uint64_t lo, uint64_t hi,
					   uint64_t page)
{
	struct vms_space_params params = {
		.size = sizeof(params), .page_size = page, .lo = lo, .hi = hi, .mmu = mmu
	};
	struct vms_space *s = NULL;

	assert_ok(vms_space_create(&params, &s));
	return s;
}

/* No lock is held: it may ask the space. */
static inline void count_release(void *arg)
{
	struct vms_space_info info = { .size = sizeof(info) };

	++*(unsigned *)arg;
	if (kit->space)
		assert_ok(vms_space_info(kit->space, &info));
}

static inline struct vms_object *counted(uint64_t bytes, uint32_t flags, unsigned *released)
{
	struct vms_object_params params = { .size = sizeof(params),
					    .flags = flags,
					    .bytes = bytes,
					    .release = count_release,
					    .arg = released };
	struct vms_object *obj = NULL;

	assert_ok(vms_object_create(kit->arena, &params, &obj));
	return obj;
}

static inline void begin_kit(void)
{
	test_world_begin(&kit->world);
	kit->arena = arena_of(0);
	assert_ok(vms_mmu_record(&kit->mmu));
	kit->space = space_over(kit->mmu, BASE, AT(PAGES), P);
	kit->root = vms_space_root(kit->space);
	for (unsigned i = 0; i < 3; i++) {
		kit->released[i] = 0;
		kit->obj[i] = counted(PAGES * P, 0, &kit->released[i]);
	}
}

static inline void end_kit(void)
{
	struct vms_space *s = kit->space;

	for (unsigned i = 0; i < 3; i++)
		vms_object_unref(kit->obj[i]);
	kit->space = NULL;
	vms_space_unref(s);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(kit->released[i], 1);
	vms_mmu_unref(kit->mmu);
	vms_arena_unref(kit->arena);
	test_world_end(&kit->world);
}

static inline int set_up(void **state)
{
	kit = calloc(1, sizeof(*kit));
	begin_kit();
	return 0;
}

static inline int tear_down(void **state)
{
	end_kit();
	free(kit);
	return 0;
}

/* ---- pictures ---- */

static inline char letter(const struct map *m)
{
	for (unsigned i = 0; i < 3; i++)
		if (m->obj == kit->obj[i])
			return (char)((m->prot & W ? 'A' : 'a') + (int)i);
	return '?';
}

static inline const char *drawn(void)
{
	static char text[2 * PAGES + 1];
	struct vms_space *s = kit->space;
	struct map m, before = { 0 };
	uint64_t addr = BASE;
	char *to = text;

	lock_take(&s->space.lock);
	while (space_find(&s->space, addr, &m)) {
		while (addr < m.start) {
			*to++ = '.';
			addr += P;
		}
		if (before.obj && before.last + 1 == m.start && letter(&before) == letter(&m))
			*to++ = '|';
		for (; addr <= m.last; addr += P)
			*to++ = letter(&m);
		before = m;
		if (addr > s->space.last)
			break;
	}
	lock_drop(&s->space.lock);
	*to = 0;
	return text;
}

static inline void sound_space(struct vms_space *s)
{
	int err = vms_space_check(s);

	if (err)
		print_message("%s\n", vms_last_error());
	assert_int_equal(err, 0);
}

/* Trailing holes are left out. */
static inline void shows(const char *picture)
{
	assert_string_equal(drawn(), picture);
	sound_space(kit->space);
	for (unsigned i = 0; i < 3; i++)
		sound(kit->obj[i]);
}

/* ---- calls in one line; pages ---- */

static inline struct vms_map_params at(unsigned page, unsigned n, unsigned obj, uint32_t prot)
{
	return (struct vms_map_params){ .size = sizeof(struct vms_map_params),
					.prot = prot,
					.place = { .flags = VMS_PLACE_AT, .addr = AT(page) },
					.object = kit->obj[obj],
					.off = page * P,
					.len = n * P };
}

static inline void map(struct vms_region *region, unsigned page, unsigned n, unsigned obj,
		       uint32_t prot)
{
	struct vms_map_params p = at(page, n, obj, prot);
	uint64_t addr = 0;

	assert_ok(vms_map(region, &p, &addr));
	assert_int_equal(addr, AT(page));
}

static inline void over(unsigned page, unsigned n, unsigned obj, uint32_t prot)
{
	struct vms_map_params p = at(page, n, obj, prot);

	p.place.flags |= VMS_PLACE_OVER;
	assert_ok(vms_map(kit->root, &p, NULL));
}

static inline int unmap(struct vms_region *region, unsigned page, unsigned n)
{
	return vms_unmap(region, AT(page), n * P, 0);
}

static inline int protect(struct vms_region *region, unsigned page, unsigned n, uint32_t prot)
{
	return vms_protect(region, AT(page), n * P, prot, 0);
}

static inline struct vms_region *region_in(struct vms_region *parent, unsigned page, unsigned n,
					   uint32_t rights)
{
	struct vms_region_params params = { .size = sizeof(params),
					    .rights = rights,
					    .len = n * P };
	struct vms_place place = { .flags = VMS_PLACE_AT, .addr = AT(page) };
	struct vms_region *r = NULL;
	uint64_t addr = 0;

	assert_ok(vms_region_create(parent, &place, &params, &r, &addr));
	assert_int_equal(addr, AT(page));
	return r;
}

static inline bool says(const char *part)
{
	if (strstr(vms_last_error(), part))
		return true;
	print_message("\"%s\" lacks \"%s\"\n", vms_last_error(), part);
	return false;
}

static inline struct vms_space_info info_of(struct vms_space *s)
{
	struct vms_space_info info = { .size = sizeof(info) };

	assert_ok(vms_space_info(s, &info));
	return info;
}

/* ---- entries, as a fault would install them ---- */

static inline void install(unsigned page, unsigned obj, uint32_t rights)
{
	struct content *c = view_of(kit->obj[obj])->content;
	struct entries_run run = { .addr = AT(page), .len = P, .fd = -1, .rights = rights };
	struct place p;

	put(kit->obj[obj], page * P, 1, 1);
	lock_take(&c->family->lock);
	p = content_where(c, page);
	run.hva = p.hva;
	run.fd = p.fd;
	run.off = p.off;
	assert_ok(entries_map(kit->mmu, &run, ENTRIES_UPGRADE));
	lock_drop(&c->family->lock);
}

/* The rights of the entry; 0: none. */
static inline uint32_t entry(unsigned page)
{
	const void *hva;
	uint32_t rights;

	return kit->mmu->entries->query(kit->mmu, AT(page), &hva, &rights) ? 0 : rights;
}

static inline uint64_t backend_calls(void)
{
	struct vms_mmu_counts c = { .size = sizeof(c) };

	assert_ok(vms_mmu_counts(kit->mmu, &c));
	return c.map + c.unmap + c.protect;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
