// SPDX-License-Identifier: MIT
/*
 * vspace_edit.c: the edits of spaces over objects, one case at a time, in pictures.
 *
 * A picture has one character a page: '.' a hole, a letter an object. Upper case can be written.
 * Equal letters next to each other are one mapping, unless '|' stands between them. Unless a test
 * says otherwise, an object's page is its page in the space, so what is equal and touches goes on.
 *
 * The validator runs after each step: it compares tree, regions, reverse map and backend.
 */
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

static struct vms_space *space_over(struct vms_mmu *mmu, uint64_t lo, uint64_t hi, uint64_t page)
{
	struct vms_space_params params = {
		.size = sizeof(params), .page_size = page, .lo = lo, .hi = hi, .mmu = mmu
	};
	struct vms_space *s = NULL;

	assert_ok(vms_space_create(&params, &s));
	return s;
}

/* No lock is held: it may ask the space. */
static void count_release(void *arg)
{
	struct vms_space_info info = { .size = sizeof(info) };

	++*(unsigned *)arg;
	if (kit->space)
		assert_ok(vms_space_info(kit->space, &info));
}

static struct vms_object *counted(uint64_t bytes, uint32_t flags, unsigned *released)
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

static void begin_kit(void)
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

static void end_kit(void)
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

static int set_up(void **state)
{
	kit = calloc(1, sizeof(*kit));
	begin_kit();
	return 0;
}

static int tear_down(void **state)
{
	end_kit();
	free(kit);
	return 0;
}

/* ---- pictures ---- */

static char letter(const struct map *m)
{
	for (unsigned i = 0; i < 3; i++)
		if (m->obj == kit->obj[i])
			return (char)((m->prot & W ? 'A' : 'a') + (int)i);
	return '?';
}

static const char *drawn(void)
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

static void sound_space(struct vms_space *s)
{
	int err = vms_space_check(s);

	if (err)
		print_message("%s\n", vms_last_error());
	assert_int_equal(err, 0);
}

/* Trailing holes are left out. */
static void shows(const char *picture)
{
	assert_string_equal(drawn(), picture);
	sound_space(kit->space);
	for (unsigned i = 0; i < 3; i++)
		sound(kit->obj[i]);
}

/* ---- calls in one line; pages ---- */

static struct vms_map_params at(unsigned page, unsigned n, unsigned obj, uint32_t prot)
{
	return (struct vms_map_params){ .size = sizeof(struct vms_map_params),
					.prot = prot,
					.place = { .flags = VMS_PLACE_AT, .addr = AT(page) },
					.object = kit->obj[obj],
					.off = page * P,
					.len = n * P };
}

static void map(struct vms_region *region, unsigned page, unsigned n, unsigned obj, uint32_t prot)
{
	struct vms_map_params p = at(page, n, obj, prot);
	uint64_t addr = 0;

	assert_ok(vms_map(region, &p, &addr));
	assert_int_equal(addr, AT(page));
}

static void over(unsigned page, unsigned n, unsigned obj, uint32_t prot)
{
	struct vms_map_params p = at(page, n, obj, prot);

	p.place.flags |= VMS_PLACE_OVER;
	assert_ok(vms_map(kit->root, &p, NULL));
}

static int unmap(struct vms_region *region, unsigned page, unsigned n)
{
	return vms_unmap(region, AT(page), n * P, 0);
}

static int protect(struct vms_region *region, unsigned page, unsigned n, uint32_t prot)
{
	return vms_protect(region, AT(page), n * P, prot, 0);
}

static struct vms_region *region_in(struct vms_region *parent, unsigned page, unsigned n,
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

static bool says(const char *part)
{
	if (strstr(vms_last_error(), part))
		return true;
	print_message("\"%s\" lacks \"%s\"\n", vms_last_error(), part);
	return false;
}

static struct vms_space_info info_of(struct vms_space *s)
{
	struct vms_space_info info = { .size = sizeof(info) };

	assert_ok(vms_space_info(s, &info));
	return info;
}

/* ---- entries, as a fault would install them ---- */

static void install(unsigned page, unsigned obj, uint32_t rights)
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
static uint32_t entry(unsigned page)
{
	const void *hva;
	uint32_t rights;

	return kit->mmu->entries->query(kit->mmu, AT(page), &hva, &rights) ? 0 : rights;
}

static uint64_t backend_calls(void)
{
	struct vms_mmu_counts c = { .size = sizeof(c) };

	assert_ok(vms_mmu_counts(kit->mmu, &c));
	return c.map + c.unmap + c.protect;
}

/* ---- life ---- */

static void test_create_refuses(void **state)
{
	const struct vms_space_params good = {
		.size = sizeof(good), .page_size = P, .lo = BASE, .hi = AT(4), .mmu = kit->mmu
	};
	struct vms_space *s = NULL;
	struct vms_space_params p;

	assert_int_equal(vms_space_create(NULL, &s), -EINVAL);
	p = good, p.size--;
	assert_int_equal(vms_space_create(&p, &s), -EINVAL);
	p = good, p.flags = 2;
	assert_int_equal(vms_space_create(&p, &s), -EINVAL);
	for (uint64_t page = 512; page; page = page == 512 ? 3000 : page == 3000 ? 131072 : 0) {
		p = good, p.page_size = page;
		assert_int_equal(vms_space_create(&p, &s), -EINVAL);
	}
	p = good, p.lo++;
	assert_int_equal(vms_space_create(&p, &s), -EINVAL);
	p = good, p.hi = p.lo;
	assert_int_equal(vms_space_create(&p, &s), -EINVAL);
	p = good, p.fault_around = 17;
	assert_int_equal(vms_space_create(&p, &s), -EINVAL);
	p = good, p.mmu = NULL;
	assert_int_equal(vms_space_create(&p, &s), -EINVAL);
	assert_int_equal(vms_space_create(&good, &s), -EBUSY);
	assert_null(s);
}

static void test_info(void **state)
{
	struct vms_space_info i = info_of(kit->space);
	struct vms_region *r;

	assert_true(i.lo == BASE && i.hi == AT(PAGES) && i.page_size == P);
	assert_true(i.mappings == 0 && i.mapped == 0 && i.regions == 1);
	map(kit->root, 0, 4, 0, R);
	assert_ok(unmap(kit->root, 1, 1));
	r = region_in(kit->root, 8, 4, 0);
	i = info_of(kit->space);
	assert_true(i.mappings == 2 && i.mapped == 3 * P && i.regions == 2);
	assert_true(i.edits == 2 && i.splits == 1 && i.merges == 0);
	i.size--;
	assert_int_equal(vms_space_info(kit->space, &i), -EINVAL);
	vms_region_unref(r);
	assert_string_equal(vms_fault_name(VMS_FAULT_NO_MEMORY), "NO_MEMORY");
	assert_string_equal(vms_fault_name((enum vms_fault_result)99), "?");
}

/* A handle of a region keeps the space. */
static void test_region_holds_space(void **state)
{
	struct vms_region *r, *root;
	struct vms_mmu *mmu;
	struct vms_space *s;
	struct vms_region_info info = { .size = sizeof(info) };

	assert_ok(vms_mmu_record(&mmu));
	s = space_over(mmu, 0, 16 * P, P);
	vms_mmu_unref(mmu);
	assert_ok(vms_region_create(
		vms_space_root(s), NULL,
		&(struct vms_region_params){ .size = sizeof(struct vms_region_params),
					     .rights = VMS_REGION_ALL,
					     .len = P },
		&r, NULL));
	root = vms_region_ref(vms_space_root(s));
	vms_space_unref(s);
	assert_ok(vms_region_info(r, &info));
	assert_true(info.alive && info.addr == 0 && info.len == P);
	vms_region_unref(r);
	assert_ok(vms_region_info(root, &info));
	assert_true(info.alive && info.len == 16 * P && info.rights == VMS_REGION_ALL);
	vms_region_unref(root);
}

/* ---- map and unmap ---- */

static void test_map_joins_and_unmap_splits(void **state)
{
	map(kit->root, 0, 2, 0, RW);
	map(kit->root, 4, 2, 0, RW);
	shows("AA..AA");
	map(kit->root, 2, 2, 0, RW);
	shows("AAAAAA");
	map(kit->root, 6, 2, 1, RW);
	map(kit->root, 8, 2, 1, R);
	shows("AAAAAABBbb");
	assert_ok(unmap(kit->root, 1, 1));
	shows("A.AAAABBbb");
	assert_ok(unmap(kit->root, 3, 6)); /* cuts two, takes one whole */
	shows("A.A......b");
	assert_ok(unmap(kit->root, 0, PAGES)); /* holes are fine */
	shows("");
	assert_ok(unmap(kit->root, 0, PAGES));
}

static void test_what_does_not_continue_stays_apart(void **state)
{
	struct vms_map_params p = at(2, 2, 0, R);

	map(kit->root, 0, 2, 0, R);
	p.off += P;
	assert_ok(vms_map(kit->root, &p, NULL)); /* other offset */
	p = at(4, 2, 0, R), p.off += P, p.flags = VMS_MAP_SHARE;
	assert_ok(vms_map(kit->root, &p, NULL)); /* other flags */
	p = at(6, 2, 0, R), p.off += P, p.flags = VMS_MAP_SHARE, p.ceiling = R;
	assert_ok(vms_map(kit->root, &p, NULL)); /* other ceiling */
	shows("aa|aa|aa|aa");
}

static void test_over_several(void **state)
{
	map(kit->root, 0, 4, 0, RW);
	map(kit->root, 5, 2, 1, RW);
	map(kit->root, 8, 4, 2, RW);
	shows("AAAA.BB.CCCC");
	over(2, 8, 1, RW);
	shows("AABBBBBBBBCC");
	over(2, 8, 1, RW); /* the same again: new bytes all the same */
	shows("AABBBBBBBBCC");
	over(0, 12, 0, R);
	shows("aaaaaaaaaaaa");
	over(0, 2, 0, RW);
	shows("AAaaaaaaaaaa");
	over(0, 2, 0, R); /* joins */
	shows("aaaaaaaaaaaa");
}

static void test_regions_part_mappings(void **state)
{
	struct vms_region *a = region_in(kit->root, 4, 4, VMS_REGION_ALL);
	struct vms_region *b = region_in(kit->root, 8, 4, VMS_REGION_ALL);
	struct vms_region *c = region_in(a, 6, 2, VMS_REGION_ALL);

	map(kit->root, 0, 4, 0, RW);
	map(a, 4, 2, 0, RW);
	map(c, 6, 2, 0, RW);
	map(b, 8, 4, 0, RW);
	map(kit->root, 12, 4, 0, RW);
	shows("AAAA|AA|AA|AAAA|AAAA");
	assert_ok(protect(kit->root, 0, 16, R));
	shows("aaaa|aa|aa|aaaa|aaaa");
	/* A region does not know what its parent maps, nor its sibling. */
	assert_int_equal(unmap(b, 7, 2), -EINVAL);
	assert_int_equal(unmap(b, 12, 1), -EINVAL);
	assert_ok(vms_region_destroy(a));
	shows("aaaa....aaaa|aaaa");
	vms_region_unref(a);
	vms_region_unref(b);
	vms_region_unref(c);
}

static void test_unmap_and_children(void **state)
{
	struct vms_region *a = region_in(kit->root, 4, 4, VMS_REGION_ALL);
	struct vms_region *b = region_in(a, 5, 1, VMS_REGION_ALL);
	struct vms_region_info info = { .size = sizeof(info) };
	struct vms_map_params p;

	map(kit->root, 0, 4, 0, R);
	map(a, 4, 1, 0, R);
	map(b, 5, 1, 0, R);
	map(a, 6, 1, 1, R);
	shows("aaaa|a|ab");
	assert_int_equal(unmap(kit->root, 2, 4), -EINVAL);
	assert_true(says("[0x104000, 0x107fff]"));
	assert_int_equal(unmap(kit->root, 6, 4), -EINVAL);
	assert_int_equal(vms_unmap(kit->root, AT(2), 8 * P, VMS_NO_CHILDREN), -EINVAL);
	assert_int_equal(vms_unmap(kit->root, AT(2), P, 2), -EINVAL);
	assert_int_equal(vms_unmap(kit->root, AT(2), 0, 0), -EINVAL);
	assert_int_equal(vms_unmap(kit->root, AT(2) + 1, P, 0), -EINVAL);
	assert_int_equal(vms_unmap(kit->root, BASE - P, 2 * P, 0), -EINVAL);
	assert_int_equal(vms_unmap(kit->root, AT(2), UINT64_MAX - 1, 0), -EINVAL);
	assert_ok(vms_unmap(kit->root, AT(3), 1, VMS_NO_CHILDREN)); /* rounded up */
	shows("aaa.a|ab");
	assert_ok(unmap(kit->root, 2, 8));
	shows("aa");
	assert_ok(vms_region_info(a, &info));
	assert_false(info.alive);
	assert_ok(vms_region_info(b, &info));
	assert_false(info.alive);
	assert_int_equal(info_of(kit->space).regions, 1);
	assert_int_equal(unmap(b, 5, 1), -EBUSY);
	assert_int_equal(protect(b, 5, 1, R), -EBUSY);
	assert_int_equal(vms_region_destroy(b), -EBUSY);
	assert_int_equal(vms_region_set_priority(b, VMS_PRIORITY_HIGH), -EBUSY);
	assert_int_equal(vms_move(b, AT(5), P, NULL, P, NULL), -EBUSY);
	p = at(5, 1, 0, R);
	assert_int_equal(vms_map(b, &p, NULL), -EBUSY);
	vms_region_unref(a);
	vms_region_unref(b);
}

static void test_destroy(void **state)
{
	struct vms_region *a = region_in(kit->root, 4, 8, VMS_REGION_ALL);
	struct vms_region *b = region_in(a, 5, 4, VMS_REGION_ALL);
	struct vms_map_params p = at(5, 1, 0, R);

	map(kit->root, 0, 4, 0, R);
	map(a, 4, 1, 0, R);
	map(b, 5, 4, 0, R);
	map(kit->root, 12, 2, 0, R);
	assert_int_equal(vms_region_destroy(kit->root), -ENOTSUP);
	assert_ok(vms_region_destroy(a));
	shows("aaaa........aa");
	assert_int_equal(vms_region_destroy(a), -EBUSY);
	assert_int_equal(vms_map(b, &p, NULL), -EBUSY);
	assert_int_equal(info_of(kit->space).regions, 1);
	map(kit->root, 4, 8, 0, R); /* the room is the parent's again */
	shows("aaaaaaaaaaaaaa");
	vms_region_unref(a);
	vms_region_unref(b);
}

/* ---- what map refuses, and in which order ---- */

static void test_clash_names_both(void **state)
{
	struct vms_region *a = region_in(kit->root, 8, 2, VMS_REGION_ALL);
	struct vms_map_params p = at(3, 3, 1, R);
	struct vms_region_params rp = { .size = sizeof(rp), .len = 2 * P };
	struct vms_region *r;

	map(kit->root, 4, 1, 0, R);
	assert_int_equal(vms_map(kit->root, &p, NULL), -EEXIST);
	assert_true(says("[0x103000, 0x105fff]") && says("[0x104000, 0x104fff]"));
	p = at(9, 3, 1, R);
	assert_int_equal(vms_map(kit->root, &p, NULL), -EEXIST);
	assert_true(says("[0x109000, 0x10bfff]") && says("[0x108000, 0x109fff]"));
	p.place.flags |= VMS_PLACE_OVER;
	assert_int_equal(vms_map(kit->root, &p, NULL), -EINVAL);
	assert_true(says("[0x109000, 0x10bfff]") && says("[0x108000, 0x109fff]"));
	p = at(3, 2, 0, R);
	assert_int_equal(vms_region_create(kit->root, &p.place, &rp, &r, NULL), -EEXIST);
	assert_true(says("[0x103000, 0x104fff]") && says("[0x104000, 0x104fff]"));
	shows("....a");
	vms_region_unref(a);
}

/*
 * Each row breaks one more rule than the one below it: what is listed first in space.h wins. Rows
 * are applied from the last up to i, and row i's error is what comes.
 */
static void break_prot(struct vms_map_params *p)
{
	p->prot |= 8;
}
static void break_align(struct vms_map_params *p)
{
	p->place.align = 512;
}
static void break_off(struct vms_map_params *p)
{
	p->off |= 1;
}
static void break_wrap(struct vms_map_params *p)
{
	p->off |= align_down(UINT64_MAX, P);
	p->len = P; /* nothing does not wrap */
}
static void break_stream(struct vms_map_params *p)
{
	p->flags |= VMS_MAP_STREAM;
}
static void break_write(struct vms_map_params *p)
{
	p->prot |= W;
}
static void break_len(struct vms_map_params *p)
{
	p->len = 0;
}
static void break_region_rights(struct vms_map_params *p)
{
	p->prot |= X;
}
static void break_both(struct vms_map_params *p)
{
	p->place.flags |= VMS_PLACE_BELOW;
}
static void break_addr(struct vms_map_params *p)
{
	p->place.addr |= 1;
}
static void break_outside(struct vms_map_params *p)
{
	p->place.addr += 64 * P;
}

static void test_order_of_refusals(void **state)
{
	static const struct {
		void (*apply)(struct vms_map_params *p);
		int err;
	} rules[] = {
		{ break_prot, -EINVAL }, { break_align, -EINVAL },	   { break_off, -EINVAL },
		{ break_wrap, -ERANGE }, { break_stream, -ENOTSUP },	   { break_write, -EACCES },
		{ break_len, -EINVAL },	 { break_region_rights, -EACCES }, { break_both, -EINVAL },
		{ break_addr, -EINVAL }, { break_outside, -EINVAL },
	};
	const unsigned n = sizeof(rules) / sizeof(rules[0]);
	struct vms_object_params op = { .size = sizeof(op),
					.bytes = 4 * P,
					.flags = VMS_OBJECT_CONTIGUOUS | VMS_OBJECT_NO_WRITE };
	struct vms_region *r = region_in(kit->root, 4, 4, R | W | VMS_REGION_SPECIFIC);
	struct vms_map_params p;
	struct vms_object *obj;

	assert_ok(vms_object_create(kit->arena, &op, &obj));
	for (unsigned from = 0; from <= n; from++) {
		p = at(4, 1, 0, R);
		p.object = obj;
		for (unsigned i = n; i-- > from;)
			rules[i].apply(&p);
		if (from < n && vms_map(r, &p, NULL) != rules[from].err)
			print_message("rule %u: %s\n", from, vms_last_error());
		assert_int_equal(vms_map(r, &p, NULL), from < n ? rules[from].err : 0);
		assert_ok(vms_unmap(r, AT(4), P, 0));
	}
	/* A dead region, after all that the arguments say. */
	assert_ok(vms_region_destroy(r));
	p = at(4, 1, 0, RW), p.object = obj;
	assert_int_equal(vms_map(r, &p, NULL), -EACCES);
	p.prot = R, p.len = 0;
	assert_int_equal(vms_map(r, &p, NULL), -EBUSY);
	vms_region_unref(r);
	vms_object_unref(obj);
}

static void test_map_refuses(void **state)
{
	struct vms_region *fixed = region_in(kit->root, 8, 4, R | W | X);
	struct vms_map_params p = at(0, 1, 0, R);
	uint64_t addr = 7;

	assert_int_equal(vms_map(kit->root, NULL, &addr), -EINVAL);
	p.size--;
	assert_int_equal(vms_map(kit->root, &p, &addr), -EINVAL);
	p = at(0, 1, 0, W);
	assert_int_equal(vms_map(kit->root, &p, &addr), -EINVAL);
	p = at(0, 1, 0, X);
	assert_int_equal(vms_map(kit->root, &p, &addr), -EINVAL);
	p = at(0, 1, 0, RW), p.ceiling = R;
	assert_int_equal(vms_map(kit->root, &p, &addr), -EINVAL);
	p = at(0, 1, 0, R), p.flags = 0x100;
	assert_int_equal(vms_map(kit->root, &p, &addr), -EINVAL);
	p = at(0, 1, 0, R), p.object = NULL;
	assert_int_equal(vms_map(kit->root, &p, &addr), -EINVAL);
	p = at(0, 1, 0, R), p.len = UINT64_MAX - 1;
	assert_int_equal(vms_map(kit->root, &p, &addr), -EINVAL);
	p = at(0, 1, 0, R), p.flags = VMS_MAP_POPULATE, p.place.flags |= VMS_PLACE_OVER;
	assert_int_equal(vms_map(kit->root, &p, &addr), -EINVAL);
	p = at(0, 1, 0, R), p.place.flags = VMS_PLACE_OVER;
	assert_int_equal(vms_map(kit->root, &p, &addr), -EINVAL);
	p = at(0, 1, 0, R), p.place.flags = 0;
	assert_int_equal(vms_map(kit->root, &p, &addr), -EINVAL); /* an addr without a use */
	p = at(0, 1, 0, R), p.place.addr = BASE - P;		  /* below the region */
	assert_int_equal(vms_map(kit->root, &p, &addr), -EINVAL);
	p = at(0, 1, 0, R), p.place.addr = BASE, p.place.flags = VMS_PLACE_BELOW;
	assert_int_equal(vms_map(kit->root, &p, &addr), -EINVAL);
	p = at(0, 1, 0, R), p.place.addr = 0, p.place.flags = VMS_PLACE_BELOW;
	assert_int_equal(vms_map(kit->root, &p, &addr), -EINVAL);
	p = at(8, 1, 0, R);
	assert_int_equal(vms_map(fixed, &p, &addr), -EACCES); /* it chooses its places */
	p.place = (struct vms_place){ 0 }, p.len = 5 * P;     /* more than the region */
	assert_int_equal(vms_map(fixed, &p, &addr), -EINVAL);
	p.len = 4 * P, p.place.align = UINT64_C(1) << 32;
	assert_int_equal(vms_map(fixed, &p, &addr), -ENOSPC);
	assert_int_equal(addr, 7);
	p.place.align = 0;
	assert_ok(vms_map(fixed, &p, &addr));
	assert_int_equal(addr, AT(8));
	vms_region_unref(fixed);
}

static void test_map_asks_the_object(void **state)
{
	struct vms_map_params p = at(0, 1, 0, R);
	struct vms_object *resizable = anon(kit->arena, P, VMS_OBJECT_RESIZABLE);
	struct vms_object *name = child(resizable, VMS_CHILD_REFERENCE, 0, 0, 0);
	struct vms_object_params op = { .size = sizeof(op) };
	struct vms_object *file, *read_only;
	char path[] = "/tmp/vspace_edit.XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_ok(unlink(path));
	assert_ok(ftruncate(fd, (off_t)P));
	assert_ok(vms_object_create_file(kit->arena, fd, &op, &file));
	close(fd);
	op.bytes = P, op.flags = VMS_OBJECT_NO_WRITE;
	assert_ok(vms_object_create(kit->arena, &op, &read_only));

	p.flags = VMS_MAP_FIXED_SIZE, p.object = resizable;
	assert_int_equal(vms_map(kit->root, &p, NULL), -ENOTSUP);
	p.object = name; /* the other handle may resize it */
	assert_int_equal(vms_map(kit->root, &p, NULL), -ENOTSUP);
	p.flags = VMS_MAP_STREAM, p.object = file;
	assert_int_equal(vms_map(kit->root, &p, NULL), -ENOTSUP);
	p.flags = 0; /* the backend has no use for descriptors */
	assert_int_equal(vms_map(kit->root, &p, NULL), -ENOTSUP);
	p.object = read_only, p.prot = RW;
	assert_int_equal(vms_map(kit->root, &p, NULL), -EACCES);
	p.prot = R;
	assert_ok(vms_map(kit->root, &p, NULL));
	assert_int_equal(protect(kit->root, 0, 1, RW), -EACCES);
	assert_ok(protect(kit->root, 0, 1, R | X));
	sound_space(kit->space);
	vms_object_unref(resizable);
	vms_object_unref(name);
	vms_object_unref(file);
	vms_object_unref(read_only);
}

/* ---- ceilings and protect ---- */

static void test_ceilings(void **state)
{
	struct vms_region *r = region_in(kit->root, 8, 8, R | W | VMS_REGION_SPECIFIC);
	struct vms_map_params p = at(0, 2, 0, R);

	p.ceiling = RW;
	assert_ok(vms_map(kit->root, &p, NULL));
	assert_int_equal(protect(kit->root, 0, 1, R | X), -EACCES);
	assert_true(says("[0x100000, 0x101fff]"));
	assert_ok(protect(kit->root, 0, 1, RW));
	shows("Aa");
	map(r, 8, 2, 1, R); /* the region's */
	assert_int_equal(protect(r, 8, 1, R | X), -EACCES);
	assert_ok(protect(r, 8, 1, RW));
	shows("Aa......Bb");
	/* Through the parent: only less. */
	assert_int_equal(protect(kit->root, 8, 2, RW), -EACCES);
	assert_true(says("[0x109000, 0x109fff]"));
	assert_ok(protect(kit->root, 8, 2, R));
	shows("Aa......bb");
	assert_ok(protect(kit->root, 8, 2, 0));
	assert_int_equal(protect(kit->root, 8, 2, R), -EACCES);
	assert_ok(protect(r, 8, 2, RW));
	assert_int_equal(vms_protect(kit->root, AT(8), P, 0, VMS_NO_CHILDREN), -EINVAL);
	assert_int_equal(vms_region_create(r, NULL,
					   &(struct vms_region_params){
						   .size = sizeof(struct vms_region_params),
						   .rights = R | X,
						   .len = P },
					   &(struct vms_region *){ NULL }, NULL),
			 -EACCES);
	vms_region_unref(r);
}

static void test_protect(void **state)
{
	struct vms_map_params p = at(4, 2, 0, R);

	map(kit->root, 0, 4, 0, RW);
	assert_ok(protect(kit->root, 1, 2, R));
	shows("AaaA");
	assert_ok(protect(kit->root, 1, 2, RW));
	shows("AAAA");
	assert_ok(protect(kit->root, 0, 4, RW)); /* nothing to do */
	shows("AAAA");
	p.ceiling = R;
	assert_ok(vms_map(kit->root, &p, NULL));
	/* The hole comes before the ceiling, though it lies behind it; nothing was changed. */
	assert_int_equal(protect(kit->root, 0, 8, RW), -ENOENT);
	assert_true(says("0x106000"));
	assert_int_equal(protect(kit->root, 0, 6, RW), -EACCES);
	assert_int_equal(protect(kit->root, 6, 1, R), -ENOENT);
	shows("AAAAaa");
	assert_int_equal(protect(kit->root, 0, 1, 8), -EINVAL);
	assert_int_equal(protect(kit->root, 0, 1, W), -EINVAL);
	assert_int_equal(vms_protect(kit->root, AT(0), P, R, 2), -EINVAL);
	assert_int_equal(vms_protect(kit->root, AT(0), 0, R, 0), -EINVAL);
	assert_int_equal(vms_protect(kit->root, AT(0) + 1, P, R, 0), -EINVAL);
	assert_ok(vms_protect(kit->root, AT(0), P + 1, R, 0)); /* rounded up */
	shows("aaAAaa");
}

/* ---- what the backend is told ---- */

static void test_backend_loses(void **state)
{
	uint64_t calls;

	map(kit->root, 0, 8, 0, RW);
	for (unsigned i = 0; i < 8; i++)
		install(i, 0, RW);
	calls = backend_calls();
	assert_ok(protect(kit->root, 0, 8, RW)); /* the same */
	assert_ok(protect(kit->root, 0, 2, R));
	assert_int_equal(backend_calls(), calls + 1);
	assert_true(entry(0) == R && entry(1) == R && entry(2) == RW);
	/* WRITE comes by faults alone, so there is nothing to tell. */
	assert_ok(protect(kit->root, 0, 2, RW));
	assert_int_equal(backend_calls(), calls + 1);
	assert_true(entry(0) == R && entry(2) == RW);
	assert_ok(protect(kit->root, 0, 1, R | W | X));
	assert_true(entry(0) == (R | X));
	assert_ok(protect(kit->root, 4, 2, 0));
	assert_true(!entry(4) && !entry(5) && entry(6) == RW);
	calls = backend_calls();
	assert_ok(protect(kit->root, 4, 2, R)); /* nothing is there */
	assert_int_equal(backend_calls(), calls);
	assert_ok(unmap(kit->root, 6, 1));
	assert_true(entry(3) == RW && !entry(6) && entry(7) == RW);
	assert_int_equal(backend_calls(), calls + 1);
	over(3, 1, 1, RW);
	assert_true(!entry(3) && entry(2) == RW);
	shows("A|AABaa.A");
}

static void test_objects_tell(void **state)
{
	map(kit->root, 0, 8, 0, RW);
	for (unsigned i = 0; i < 8; i++)
		install(i, 0, RW);
	assert_ok(unmap(kit->root, 3, 1));
	assert_ok(vms_object_op(kit->obj[0], VMS_OBJECT_DECOMMIT, 2 * P, 3 * P, NULL));
	assert_true(entry(1) == RW && !entry(2) && !entry(3) && !entry(4) && entry(5) == RW);
	sound_space(kit->space);
	vms_object_unref(child(kit->obj[0], VMS_CHILD_SNAPSHOT, 0, PAGES * P, 0));
	assert_true(entry(0) == R && entry(7) == R);
	shows("AAA.AAAA");
}

/* Guest pages smaller than the object's: a mapping may begin and end inside a page of it. */
static void test_small_guest_pages(void **state)
{
	const uint64_t G = 1024;
	struct vms_map_params p = at(0, 1, 0, RW);
	struct content *c = view_of(kit->obj[0])->content;
	struct entries_run run = { .len = G, .fd = -1, .rights = RW };
	struct vms_mmu *mmu;
	struct vms_space *s;
	const void *hva;
	uint32_t rights;

	assert_ok(vms_mmu_record(&mmu));
	s = space_over(mmu, 0, 64 * G, G);
	put(kit->obj[0], 0, 4 * P, 1);
	p.off = 3 * G, p.len = 6 * G, p.place.addr = 2 * G; /* object bytes 3 G to 9 G */
	assert_ok(vms_map(vms_space_root(s), &p, NULL));
	sound_space(s);
	lock_take(&c->family->lock);
	for (unsigned i = 0; i < 6; i++) {
		run.addr = (2 + i) * G;
		run.hva = (char *)content_where(c, (3 + i) / 4).hva + (3 + i) % 4 * G;
		assert_ok(entries_map(mmu, &run, ENTRIES_UPGRADE));
	}
	lock_drop(&c->family->lock);
	sound_space(s);
	assert_ok(vms_object_op(kit->obj[0], VMS_OBJECT_DECOMMIT, P, P, NULL));
	for (unsigned i = 0; i < 6; i++) /* page 1 of the object: guest pages 3 to 6 of it */
		assert_int_equal(mmu->entries->query(mmu, (2 + i) * G, &hva, &rights),
				 i >= 1 && i < 5 ? -ENOENT : 0);
	sound_space(s);
	assert_ok(vms_unmap(vms_space_root(s), 4 * G, G, 0));
	sound_space(s);
	vms_space_unref(s);
	vms_mmu_unref(mmu);
}

/* ---- objects ---- */

static void test_released_with_the_last_mapping(void **state)
{
	unsigned released = 0;
	struct vms_map_params p = at(0, 4, 0, RW);

	p.object = counted(4 * P, 0, &released);
	assert_ok(vms_map(kit->root, &p, NULL));
	vms_object_unref(p.object);
	assert_ok(unmap(kit->root, 1, 1));
	assert_ok(protect(kit->root, 2, 1, R));
	assert_ok(unmap(kit->root, 0, 1));
	assert_ok(vms_move(kit->root, AT(3), P, NULL, P, NULL));
	over(2, 1, 1, RW);
	assert_int_equal(released, 0);
	assert_ok(unmap(kit->root, 0, 1)); /* where the move put it */
	assert_int_equal(released, 1);

	p.object = counted(4 * P, 0, &released);
	p.place.addr = AT(8);
	assert_ok(vms_map(kit->root, &p, NULL));
	vms_object_unref(p.object);
	over(6, 8, 1, RW);
	assert_int_equal(released, 2);
	shows("..B...BBBBBBBB");
}

/* More go at once than a change keeps in its own arrays. */
static void test_many_released_at_once(void **state)
{
	unsigned released = 0;

	for (unsigned i = 0; i < PAGES; i++) {
		struct vms_map_params p = at(i, 1, 0, R);

		p.object = counted(P, 0, &released);
		assert_ok(vms_map(kit->root, &p, NULL));
		vms_object_unref(p.object);
	}
	assert_int_equal(info_of(kit->space).mappings, PAGES);
	assert_ok(unmap(kit->root, 0, PAGES - 1));
	assert_int_equal(released, PAGES - 1);
	assert_ok(unmap(kit->root, 0, PAGES));
	assert_int_equal(released, PAGES);
	sound_space(kit->space);
}

static void test_priority(void **state)
{
	const struct content *a = view_of(kit->obj[0])->content;
	const struct content *b = view_of(kit->obj[1])->content;
	struct vms_region *r = region_in(kit->root, 4, 8, VMS_REGION_ALL), *c;
	struct vms_region_info info = { .size = sizeof(info) };

	map(kit->root, 0, 4, 0, R);
	map(r, 4, 4, 0, R);
	assert_int_equal(a->high, 0);
	assert_int_equal(vms_region_set_priority(r, (enum vms_priority)2), -EINVAL);
	assert_ok(vms_region_set_priority(r, VMS_PRIORITY_HIGH));
	assert_ok(vms_region_info(r, &info));
	assert_int_equal(info.priority, VMS_PRIORITY_HIGH);
	assert_int_equal(a->high, 1);
	c = region_in(r, 8, 4, VMS_REGION_ALL); /* later, and below */
	map(c, 8, 4, 1, R);
	assert_true(a->high == 1 && b->high == 1);
	assert_ok(unmap(kit->root, 0, 4));
	assert_ok(unmap(r, 5, 1));
	assert_true(a->high == 2 && b->high == 1);
	sound_space(kit->space);
	assert_ok(vms_region_set_priority(c, VMS_PRIORITY_DEFAULT));
	assert_true(a->high == 2 && b->high == 0);
	sound_space(kit->space);
	assert_ok(vms_region_destroy(r));
	assert_true(a->high == 0 && b->high == 0);
	vms_region_unref(r);
	vms_region_unref(c);
}

static void test_high_is_not_discarded(void **state)
{
	struct vms_object *cache = anon(kit->arena, P, VMS_OBJECT_DISCARDABLE);
	struct vms_map_params p = at(0, 1, 0, R);
	uint64_t freed;

	put(cache, 0, P, 1);
	assert_ok(vms_region_set_priority(kit->root, VMS_PRIORITY_HIGH));
	p.object = cache;
	assert_ok(vms_map(kit->root, &p, NULL));
	assert_ok(vms_arena_reclaim(kit->arena, P, &freed));
	assert_int_equal(granted(kit->arena), 1);
	assert_ok(vms_region_set_priority(kit->root, VMS_PRIORITY_DEFAULT));
	assert_ok(vms_arena_reclaim(kit->arena, P, &freed));
	assert_int_equal(granted(kit->arena), 0);
	vms_object_unref(cache);
}

/* ---- move ---- */

static void test_move(void **state)
{
	struct vms_place place = { .flags = VMS_PLACE_AT, .addr = AT(12) };
	uint64_t addr = 0;

	map(kit->root, 0, 4, 0, RW);
	map(kit->root, 4, 2, 1, R);
	install(2, 0, RW);
	assert_ok(vms_move(kit->root, AT(2), 4 * P, &place, 4 * P, &addr));
	assert_int_equal(addr, AT(12));
	assert_false(entry(2));
	shows("AA..........AAbb");
	/* Back: it joins what it left. */
	place.addr = AT(2);
	assert_ok(vms_move(kit->root, AT(12), 4 * P, &place, 3 * P, NULL)); /* and shorter */
	shows("AAAAb");
	assert_ok(vms_move(kit->root, AT(0), 2 * P, NULL, 6 * P, &addr)); /* longer */
	assert_int_equal(addr, AT(5));
	shows("..AAbAAAAAA");
}

static void test_move_over(void **state)
{
	struct vms_place place = { .flags = VMS_PLACE_AT, .addr = AT(6) };

	map(kit->root, 0, 4, 0, RW);
	map(kit->root, 5, 8, 1, RW);
	assert_int_equal(vms_move(kit->root, AT(0), 4 * P, &place, 4 * P, NULL), -EEXIST);
	place.flags |= VMS_PLACE_OVER;
	assert_ok(vms_move(kit->root, AT(0), 4 * P, &place, 4 * P, NULL));
	shows(".....BAAAABBB");
}

static void test_move_refuses(void **state)
{
	struct vms_region *r = region_in(kit->root, 16, 2, VMS_REGION_ALL);
	struct vms_place place = { .flags = VMS_PLACE_AT, .addr = AT(3) };
	struct vms_map_params p = at(20, 1, 0, R);

	map(kit->root, 0, 4, 0, R);
	map(kit->root, 4, 2, 1, R);
	assert_int_equal(vms_move(kit->root, AT(0), 4 * P, &place, 4 * P, NULL), -EINVAL);
	assert_true(says("[0x100000, 0x103fff]") && says("[0x103000, 0x106fff]"));
	assert_int_equal(vms_move(kit->root, AT(0), 6 * P, NULL, 8 * P, NULL), -EINVAL);
	assert_int_equal(vms_move(kit->root, AT(0), 4 * P, NULL, 0, NULL), -EINVAL);
	assert_int_equal(vms_move(kit->root, AT(0), 0, NULL, P, NULL), -EINVAL);
	assert_int_equal(vms_move(kit->root, AT(0) + 1, P, NULL, P, NULL), -EINVAL);
	assert_int_equal(vms_move(kit->root, AT(5), 2 * P, NULL, P, NULL), -ENOENT);
	assert_int_equal(vms_move(kit->root, AT(15), 4 * P, NULL, P, NULL), -EINVAL);
	place.addr = AT(16);
	assert_int_equal(vms_move(kit->root, AT(0), P, &place, P, NULL), -EEXIST);
	place.align = 3;
	assert_int_equal(vms_move(kit->root, AT(0), P, &place, P, NULL), -EINVAL);
	assert_int_equal(vms_move(kit->root, AT(0), P, NULL, PAGES * P, NULL), -ENOSPC);
	p.off = align_down(UINT64_MAX - 2 * P, P);
	assert_ok(vms_map(kit->root, &p, NULL));
	assert_int_equal(vms_move(kit->root, AT(20), P, NULL, 4 * P, NULL), -ERANGE);
	shows("aaaabb..............a");
	vms_region_unref(r);
}

/* ---- the ends of all addresses ---- */

static void test_last_bytes(void **state)
{
	const uint64_t top = align_down(UINT64_MAX, P), half = UINT64_C(1) << 63;
	struct vms_place place = { .flags = VMS_PLACE_AT };
	struct vms_map_params p = at(0, 1, 0, RW);
	struct vms_region *root;
	struct vms_mmu *mmu;
	struct vms_space *s;
	uint64_t addr = 0;

	assert_ok(vms_mmu_record(&mmu));
	s = space_over(mmu, 0, 0, P);
	root = vms_space_root(s);
	p.off = 0, p.place.addr = top;
	assert_ok(vms_map(root, &p, NULL));
	assert_int_equal(vms_map(root, &p, NULL), -EEXIST);
	sound_space(s);
	p.len = 2 * P;
	assert_int_equal(vms_map(root, &p, NULL), -EINVAL);
	assert_ok(vms_protect(root, top, P, R, 0));
	place.addr = 0;
	assert_ok(vms_move(root, top, P, &place, P, &addr));
	assert_int_equal(addr, 0);
	sound_space(s);
	place.addr = top;
	assert_ok(vms_move(root, 0, P, &place, P, &addr));
	assert_int_equal(addr, top);
	assert_int_equal(vms_protect(root, top - P, 2 * P, R, 0), -ENOENT);
	/* All but the top page is one gap; then none is left. */
	p.place = (struct vms_place){ 0 }, p.len = top;
	assert_ok(vms_map(root, &p, &addr));
	assert_int_equal(addr, 0);
	sound_space(s);
	p.len = P;
	assert_int_equal(vms_map(root, &p, &addr), -ENOSPC);
	assert_ok(vms_unmap(root, half, half, 0));
	assert_ok(vms_map(root, &p, &addr));
	assert_int_equal(addr, half);
	sound_space(s);
	assert_ok(vms_unmap(root, 0, half, 0));
	assert_ok(vms_unmap(root, half, half, 0));
	assert_int_equal(info_of(s).mappings, 0);
	/* Two halves that go on in one object: one mapping of 2^64 bytes would have no length. */
	p.place = (struct vms_place){ .flags = VMS_PLACE_AT }, p.len = half;
	assert_ok(vms_map(root, &p, NULL));
	p.place.addr = half, p.off = half;
	assert_int_equal(vms_map(root, &p, NULL), -ERANGE); /* off + len wraps */
	p.len = half - P;
	assert_ok(vms_map(root, &p, NULL));
	assert_int_equal(info_of(s).mappings, 1);
	sound_space(s);
	vms_space_unref(s);
	vms_mmu_unref(mmu);
}

static void test_placement(void **state)
{
	struct vms_map_params p = at(0, 2, 0, R);
	uint64_t addr = 0;

	map(kit->root, 0, 1, 0, R);
	map(kit->root, 2, 1, 1, R);
	map(kit->root, 5, 1, 1, R);
	p.place = (struct vms_place){ 0 };
	assert_ok(vms_map(kit->root, &p, &addr)); /* the first gap that is large enough */
	assert_int_equal(addr, AT(3));
	p.len = 1;
	assert_ok(vms_map(kit->root, &p, &addr));
	assert_int_equal(addr, AT(1));
	p.place.align = 8 * P;
	assert_ok(vms_map(kit->root, &p, &addr));
	assert_int_equal(addr, AT(8));
	p.place = (struct vms_place){ .flags = VMS_PLACE_BELOW, .addr = AT(8) };
	p.off = 5 * P, p.len = 2 * P; /* the offset is kept */
	assert_ok(vms_map(kit->root, &p, &addr));
	assert_int_equal(addr, AT(6));
	assert_int_equal(vms_map(kit->root, &p, &addr), -ENOSPC);
	lock_take(&kit->space->space.lock);
	struct map m;
	assert_true(space_find(&kit->space->space, AT(6), &m) && m.off == 5 * P);
	lock_drop(&kit->space->space.lock);
	sound_space(kit->space);
}

/* ---- memory runs out ---- */

static char before[2 * PAGES + 1];
static struct vms_space_info info_before;
static struct vms_region *child_region;
static unsigned scenario;

static void sweep_set_up(void *arg)
{
	/* Nothing that earlier edits left may help. */
	begin_kit();
	child_region = region_in(kit->root, 10, 10, VMS_REGION_ALL);
	map(kit->root, 0, 6, 0, RW);
	map(kit->root, 6, 2, 1, R);
	map(kit->root, 8, 1, 0, R);
	for (unsigned i = 10; i < 20; i++)
		map(child_region, i, 1, i % 3, R);
	strcpy(before, drawn());
	info_before = info_of(kit->space);
	while (kit->space->spare) {
		struct rmap *r = kit->space->spare;

		kit->space->spare = r->next;
		kit->world.world.free(&kit->world.world, r, sizeof(*r));
	}
	kit->space->n_spare = 0;
}

static int sweep_run(void *arg)
{
	struct vms_map_params p;
	struct vms_region *r;
	int err;

	switch (scenario) {
	case 0:
		p = at(20, 1, 2, R);
		return vms_map(kit->root, &p, NULL);
	case 1:
		p = at(2, 5, 2, R), p.place.flags |= VMS_PLACE_OVER;
		return vms_map(kit->root, &p, NULL);
	case 2:
		return unmap(kit->root, 2, 2);
	case 3:
		return unmap(kit->root, 0, PAGES);
	case 4:
		return protect(kit->root, 2, 2, R);
	case 5:
		return protect(kit->root, 1, 8, 0);
	case 6:
		return vms_move(kit->root, AT(1), 7 * P,
				&(struct vms_place){ VMS_PLACE_AT, 0, AT(22), 0 }, 6 * P, NULL);
	case 7:
		return vms_region_destroy(child_region);
	case 8:
		err = vms_region_create(
			child_region, NULL,
			&(struct vms_region_params){ .size = sizeof(struct vms_region_params),
						     .len = P },
			&r, NULL);
		if (err == -ENOSPC) /* it is full: in the root */
			err = vms_region_create(
				kit->root, NULL,
				&(struct vms_region_params){
					.size = sizeof(struct vms_region_params), .len = P },
				&r, NULL);
		if (!err)
			vms_region_unref(r);
		return err;
	default:
		return -1;
	}
}

static void sweep_check(void *arg, int result, bool failed)
{
	struct vms_space_info i = info_of(kit->space);

	if (failed) {
		assert_int_equal(result, -ENOMEM);
		assert_string_not_equal(vms_last_error(), "");
		assert_string_equal(drawn(), before);
		assert_true(i.edits == info_before.edits && i.regions == info_before.regions &&
			    i.mappings == info_before.mappings && i.mapped == info_before.mapped);
	} else {
		assert_ok(result);
	}
	shows(drawn());
}

static void sweep_tear_down(void *arg)
{
	vms_region_unref(child_region);
	end_kit();
}

static void test_no_memory(void **state)
{
	end_kit();
	for (scenario = 0; scenario < 9; scenario++) {
		struct sweep s = { .world = &kit->world,
				   .set_up = sweep_set_up,
				   .run = sweep_run,
				   .check = sweep_check,
				   .tear_down = sweep_tear_down,
				   .mask = 1u << CALL_ALLOC };

		assert_true(sweep(&s) >= 1);
	}
	begin_kit();
}

static void test_create_no_memory(void **state)
{
	struct vms_space_params params = { .size = sizeof(params) };
	struct vms_space *s = NULL;
	unsigned failures = 0;
	int err;

	assert_ok(vms_mmu_record(&params.mmu));
	for (unsigned n = 1;; n++) {
		test_world_fail(&kit->world, n, 1u << CALL_ALLOC, ENOMEM);
		err = vms_space_create(&params, &s);
		test_world_fail(&kit->world, 0, 0, 0);
		if (!err)
			break;
		assert_int_equal(err, -ENOMEM);
		failures++;
	}
	assert_true(failures >= 2);
	vms_space_unref(s);
	vms_mmu_unref(params.mmu);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_create_refuses),
		TEST(test_info),
		TEST(test_region_holds_space),
		TEST(test_map_joins_and_unmap_splits),
		TEST(test_what_does_not_continue_stays_apart),
		TEST(test_over_several),
		TEST(test_regions_part_mappings),
		TEST(test_unmap_and_children),
		TEST(test_destroy),
		TEST(test_clash_names_both),
		TEST(test_order_of_refusals),
		TEST(test_map_refuses),
		TEST(test_map_asks_the_object),
		TEST(test_ceilings),
		TEST(test_protect),
		TEST(test_backend_loses),
		TEST(test_objects_tell),
		TEST(test_small_guest_pages),
		TEST(test_released_with_the_last_mapping),
		TEST(test_many_released_at_once),
		TEST(test_priority),
		TEST(test_high_is_not_discarded),
		TEST(test_move),
		TEST(test_move_over),
		TEST(test_move_refuses),
		TEST(test_last_bytes),
		TEST(test_placement),
		TEST(test_no_memory),
		TEST(test_create_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
