// SPDX-License-Identifier: MIT
/*
 * What the calls on spaces allow, rule by rule: where things go, what becomes one mapping, what
 * faults come to, and the ends of the address space. What they refuse stands in space.c.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <vmspace/pager.h>
#include <vmspace/space.h>
#include <vmspace/tlb.h>

#include "check.h"

#define G	   UINT64_C(4096) /* the space's page */
#define LO	   UINT64_C(0x100000)
#define PAGES	   96
#define AT(page)   (LO + (page)*G)
#define BIG	   (UINT64_C(64) << 10) /* whole pages of any host */
#define R	   VMS_PROT_READ
#define W	   VMS_PROT_WRITE
#define X	   VMS_PROT_EXEC
#define countof(a) (sizeof(a) / sizeof((a)[0]))

static struct scene {
	struct vms_arena *arena;
	struct vms_mmu *mmu;
	struct vms_space *space;
	struct vms_region *root;
	struct vms_object *a, *b;
	uint64_t P;
} s;

static struct vms_object *object(uint32_t flags, uint64_t bytes)
{
	struct vms_object_params o = { .size = sizeof(o), .flags = flags, .bytes = bytes };
	struct vms_object *obj = NULL;

	assert_ok(vms_object_create(s.arena, &o, &obj));
	return obj;
}

static struct vms_space *space(uint64_t lo, uint64_t hi, uint64_t page, uint32_t flags,
			       uint64_t seed, struct vms_mmu **mmu)
{
	struct vms_mmu_soft_params m = { .size = sizeof(m), .page_size = page };
	struct vms_space_params p = { .size = sizeof(p),
				      .flags = flags,
				      .page_size = page,
				      .lo = lo,
				      .hi = hi,
				      .seed = seed };
	struct vms_space *made = NULL;

	assert_ok(vms_mmu_soft(&m, mmu));
	p.mmu = *mmu;
	assert_ok(vms_space_create(&p, &made));
	return made;
}

static int scene_begin(void **state)
{
	struct vms_arena_params a = { .size = sizeof(a), .reserve = UINT64_C(256) << 20 };

	memset(&s, 0, sizeof(s));
	s.P = (uint64_t)sysconf(_SC_PAGESIZE);
	assert_ok(vms_arena_create(&a, &s.arena));
	s.a = object(VMS_OBJECT_RESIZABLE, BIG);
	s.b = object(0, BIG);
	s.space = space(LO, LO + PAGES * G, G, 0, 0, &s.mmu);
	s.root = vms_space_root(s.space);
	return 0;
}

static int scene_end(void **state)
{
	struct vms_arena_info info = { .size = sizeof(info) };

	assert_ok(vms_space_check(s.space));
	vms_space_unref(s.space);
	vms_mmu_unref(s.mmu);
	vms_object_unref(s.a);
	vms_object_unref(s.b);
	assert_ok(vms_arena_info(s.arena, &info));
	assert_int_equal(info.granted, 0);
	vms_arena_unref(s.arena);
	return 0;
}

static struct vms_map_params params(struct vms_object *obj, uint64_t page, uint64_t n)
{
	return (struct vms_map_params){ .size = sizeof(struct vms_map_params),
					.prot = R | W,
					.place = { .flags = VMS_PLACE_AT, .addr = AT(page) },
					.object = obj,
					.len = n * G };
}

static uint64_t map_in(struct vms_region *region, const struct vms_map_params *p)
{
	uint64_t addr = 1;
	int err = vms_map(region, p, &addr);

	if (err)
		broken("map: %d: %s", err, vms_last_error());
	return addr;
}

static void map(struct vms_object *obj, uint64_t page, uint64_t n, uint64_t off)
{
	struct vms_map_params p = params(obj, page, n);

	p.off = off;
	assert_int_equal(map_in(s.root, &p), AT(page));
}

static struct vms_mapping_info found(struct vms_space *in, uint64_t addr)
{
	struct vms_mapping_info info = { .size = sizeof(info) };
	int err = vms_find(in, addr, &info);

	if (err)
		broken("nothing at %#llx: %d", (unsigned long long)addr, err);
	return info;
}

static uint64_t mappings(void)
{
	struct vms_space_info info = { .size = sizeof(info) };

	assert_ok(vms_space_info(s.space, &info));
	return info.mappings;
}

static enum vms_fault_result fault(uint64_t addr, uint32_t access)
{
	return vms_fault(s.space, addr, access, 0, NULL, NULL);
}

static uint64_t word(struct vms_space *in, uint64_t addr)
{
	uint64_t value = 0;

	assert_int_equal(vms_space_load(in, addr, 8, &value, NULL), VMS_FAULT_OK);
	return value;
}

static void put(struct vms_object *obj, uint64_t off, uint64_t value)
{
	assert_ok(vms_object_write(obj, off, &value, 8, NULL));
}

/* ---- Places ---- */

/* Upstream loses the offset of a mapping that is placed below a limit. */
static void below_keeps_the_offset(void **state)
{
	struct vms_map_params p = params(s.a, 20, 2);
	uint64_t addr;

	put(s.a, 5 * G, 55);
	p.place.flags = VMS_PLACE_BELOW;
	p.off = 5 * G;
	addr = map_in(s.root, &p);
	assert_int_equal(addr, LO); /* first fit, under the limit */
	assert_int_equal(found(s.space, addr).off, 5 * G);
	assert_int_equal(word(s.space, addr), 55);
	/* F9: it may end right at the limit, and no further. */
	p.place.addr = AT(4);
	addr = map_in(s.root, &p);
	assert_int_equal(addr, AT(2));
	assert_int_equal(vms_map(s.root, &p, &addr), -ENOSPC);
}

static void first_fit(void **state)
{
	struct vms_map_params p = params(s.b, 0, 2);
	static const struct {
		uint64_t pages, align, want;
	} rows[] = {
		{ 2, 0, 0 },	  /* the lowest gap that is large enough */
		{ 3, 0, 8 },	  /* not 5: there are two pages only */
		{ 2, 0, 5 },	  /* the gap that was left out */
		{ 1, 8 * G, 16 }, /* of the address */
		{ 1, 1024, 11 },  /* less than a page is a page */
	};

	map(s.a, 2, 3, 0);
	map(s.a, 7, 1, 0);
	for (size_t i = 0; i < countof(rows); i++) {
		p.place = (struct vms_place){ .align = rows[i].align };
		p.len = rows[i].pages * G;
		assert_int_equal(map_in(s.root, &p), AT(rows[i].want));
	}
	/* Rounded up. */
	p.place.align = 0;
	p.len = G + 1;
	assert_int_equal(map_in(s.root, &p), AT(12));
	assert_int_equal(found(s.space, AT(13)).addr, AT(12));
}

static void entropy(void **state)
{
	bool seen[8] = { false };
	struct vms_mmu *mmu;
	unsigned different = 0;

	for (uint64_t seed = 0; seed < 64; seed++) {
		struct vms_space *v = space(LO, LO + PAGES * G, G, VMS_SPACE_RANDOM, seed, &mmu);
		struct vms_map_params p = params(s.a, 0, 1);
		uint64_t addr;

		p.place = (struct vms_place){ .entropy = 3 };
		addr = map_in(vms_space_root(v), &p);
		assert_true(addr >= LO && addr < AT(8)); /* one of the first 2^3 */
		different += !seen[(addr - LO) / G];
		seen[(addr - LO) / G] = true;
		vms_space_unref(v);
		vms_mmu_unref(mmu);
	}
	assert_true(different > 4);
}

static void in_regions(void **state)
{
	struct vms_place place = { .flags = VMS_PLACE_AT, .addr = AT(9) };
	struct vms_region_params rp = { .size = sizeof(rp),
					.rights = R | VMS_REGION_SPECIFIC,
					.len = 8 * G };
	struct vms_region_info info = { .size = sizeof(info) };
	struct vms_map_params p = params(s.b, 0, 1);
	struct vms_region *child, *any;
	uint64_t addr;

	assert_ok(vms_region_create(s.root, &place, &rp, &child, &addr));
	assert_int_equal(addr, AT(9));
	/* Alignment is of the address, not of the place in the region. */
	p.prot = R;
	p.place = (struct vms_place){ .align = 8 * G };
	assert_int_equal(map_in(child, &p), AT(16));
	p.place = (struct vms_place){ 0 };
	assert_int_equal(map_in(child, &p), AT(9));
	/* The region's rights cut the ceiling. */
	assert_int_equal(found(s.space, AT(9)).ceiling, R);
	/* The parent's search goes round it. */
	p.len = 16 * G;
	assert_int_equal(map_in(s.root, &p), AT(17));
	rp.len = 3 * G;
	assert_ok(vms_region_create(s.root, NULL, &rp, &any, &addr));
	assert_int_equal(addr, LO);
	/* F17: its span is free again. */
	assert_ok(vms_region_destroy(child));
	assert_int_equal(
		vms_find(s.space, AT(9),
			 &(struct vms_mapping_info){ .size = sizeof(struct vms_mapping_info) }),
		-ENOENT);
	p = params(s.b, 9, 8);
	assert_int_equal(map_in(s.root, &p), AT(9));
	/* The handle's end does not end the region. */
	vms_region_unref(any);
	p = params(s.b, 1, 1);
	assert_int_equal(vms_map(s.root, &p, NULL), -EEXIST);
	assert_ok(vms_region_info(child, &info));
	assert_int_equal(info.alive, 0);
	vms_region_unref(child);
}

/* ---- What becomes one mapping (F33) ---- */

static void merging(void **state)
{
	struct vms_map_params p;

	map(s.b, 4, 2, 4 * G);
	assert_int_equal(mappings(), 1);
	map(s.b, 6, 2, 6 * G); /* to the right */
	map(s.b, 2, 2, 2 * G); /* to the left */
	assert_int_equal(mappings(), 1);
	assert_int_equal(found(s.space, AT(7)).addr, AT(2));
	assert_int_equal(found(s.space, AT(7)).len, 6 * G);
	map(s.b, 10, 1, 10 * G);
	map(s.b, 8, 2, 8 * G); /* between two */
	assert_int_equal(mappings(), 1);
	/* each condition alone keeps them apart */
	map(s.a, 11, 1, 11 * G); /* the object */
	assert_int_equal(mappings(), 2);
	map(s.b, 12, 1, 12 * G); /* not neighbours of its like */
	assert_int_equal(mappings(), 3);
	map(s.b, 13, 1, 14 * G); /* the offset */
	assert_int_equal(mappings(), 4);
	p = params(s.b, 14, 1); /* the flags */
	p.off = 15 * G;
	p.flags = VMS_MAP_SHARE;
	map_in(s.root, &p);
	assert_int_equal(mappings(), 5);
	p = params(s.b, 15, 1); /* the rights */
	p.off = 16 * G;
	p.flags = VMS_MAP_SHARE;
	p.prot = R;
	map_in(s.root, &p);
	assert_int_equal(mappings(), 6);
	p = params(s.b, 16, 1); /* the ceiling */
	p.off = 17 * G;
	p.flags = VMS_MAP_SHARE;
	p.prot = R;
	p.ceiling = R;
	map_in(s.root, &p);
	assert_int_equal(mappings(), 7);
	/* POPULATE is not part of what a mapping is. */
	p = params(s.b, 1, 1);
	p.off = G;
	p.flags = VMS_MAP_POPULATE;
	map_in(s.root, &p);
	assert_int_equal(mappings(), 7);
	assert_int_equal(found(s.space, AT(1)).flags, 0);
}

static void regions_part_mappings(void **state)
{
	struct vms_place place = { .flags = VMS_PLACE_AT, .addr = AT(4) };
	struct vms_region_params rp = { .size = sizeof(rp),
					.rights = VMS_REGION_ALL,
					.len = 4 * G };
	struct vms_map_params p = params(s.b, 4, 4);
	struct vms_region *child;

	assert_ok(vms_region_create(s.root, &place, &rp, &child, NULL));
	map(s.b, 2, 2, 2 * G);
	p.off = 4 * G;
	map_in(child, &p);
	map(s.b, 8, 2, 8 * G);
	assert_int_equal(mappings(), 3);
	vms_region_unref(child);
}

static void rights_and_merging(void **state)
{
	map(s.b, 0, 9, 0);
	assert_ok(vms_protect(s.root, AT(3), 3 * G, R, 0));
	assert_int_equal(mappings(), 3);
	assert_int_equal(found(s.space, AT(4)).off, 3 * G);
	assert_ok(vms_protect(s.root, AT(3), G, R | W, 0));
	assert_int_equal(mappings(), 3);
	assert_int_equal(found(s.space, AT(3)).len, 4 * G);
	assert_ok(vms_protect(s.root, AT(0), 9 * G, R | W, 0));
	assert_int_equal(mappings(), 1);
	/* F13: holes are fine; the ends stay. D9 */
	assert_ok(vms_unmap(s.root, AT(4), 1, 0));
	assert_int_equal(mappings(), 2);
	assert_int_equal(found(s.space, AT(8)).addr, AT(5));
	assert_int_equal(found(s.space, AT(8)).off, 5 * G);
	assert_ok(vms_unmap(s.root, AT(3), 3 * G, 0));
	assert_ok(vms_unmap(s.root, AT(0), PAGES * G, 0));
	assert_int_equal(mappings(), 0);
}

static void moving(void **state)
{
	struct vms_place place = { .flags = VMS_PLACE_AT, .addr = AT(20) };
	uint64_t addr;

	put(s.b, 2 * G, 22);
	put(s.b, 4 * G, 44);
	map(s.b, 0, 4, 0);
	assert_int_equal(word(s.space, AT(2)), 22);
	/* a part of it, and more than it had */
	assert_ok(vms_move(s.root, AT(1), 2 * G, &place, 4 * G, &addr));
	assert_int_equal(addr, AT(20));
	assert_int_equal(word(s.space, AT(21)), 22);
	assert_int_equal(word(s.space, AT(23)), 44);
	assert_int_equal(fault(AT(1), R), VMS_FAULT_NOT_MAPPED);
	assert_int_equal(fault(AT(3), R), VMS_FAULT_OK);
	/* back to where it continues what is there */
	place.addr = AT(1);
	assert_ok(vms_move(s.root, AT(20), 4 * G, &place, 2 * G, &addr));
	assert_int_equal(mappings(), 1);
	assert_int_equal(found(s.space, AT(0)).len, 4 * G);
	assert_int_equal(fault(AT(22), R), VMS_FAULT_NOT_MAPPED);
}

/* ---- Faults ---- */

static void outcomes(void **state)
{
	struct vms_map_params p = params(s.a, 10, 1);
	uint64_t done = 0;

	map(s.a, 0, 20 - 10, BIG - 2 * s.P);
	assert_int_equal(fault(LO - 1, R), VMS_FAULT_NOT_MAPPED);
	assert_int_equal(fault(AT(12), R), VMS_FAULT_NOT_MAPPED);
	assert_int_equal(fault(0, R), VMS_FAULT_NOT_MAPPED);
	assert_int_equal(fault(UINT64_MAX, W), VMS_FAULT_NOT_MAPPED);
	p.prot = R;
	map_in(s.root, &p);
	assert_int_equal(fault(AT(10), W), VMS_FAULT_DENIED);
	assert_int_equal(fault(AT(10), X), VMS_FAULT_DENIED);
	assert_int_equal(fault(AT(10), R), VMS_FAULT_OK);
	assert_int_equal(fault(AT(0), R), VMS_FAULT_OK);
	if (2 * s.P < 10 * G) {
		assert_int_equal(fault(LO + 2 * s.P - 1, W), VMS_FAULT_OK);
		assert_int_equal(fault(LO + 2 * s.P, R), VMS_FAULT_BEYOND);
	}
	/* F38: the end of the object ends it, without an error. */
	assert_int_equal(vms_fault(s.space, AT(0), R, 10 * G, NULL, &done), VMS_FAULT_OK);
	assert_true(done > 0 && done <= 2 * s.P);
	/* The object grows: the same mapping shows it. */
	assert_ok(vms_object_resize(s.a, 2 * BIG, NULL));
	assert_int_equal(fault(AT(9), R), VMS_FAULT_OK);
	/* and shrinks */
	assert_ok(vms_object_resize(s.a, BIG, NULL));
	assert_ok(vms_protect(s.root, AT(0), G, VMS_PROT_NONE, 0));
	assert_int_equal(fault(AT(0), R), VMS_FAULT_DENIED);
}

/* F40: neither side of a snapshot sees the other's writes. */
static void copy_on_write(void **state)
{
	struct vms_object_params o = { .size = sizeof(o), .bytes = BIG };
	struct vms_object *snap = NULL;

	put(s.b, 0, 1);
	map(s.b, 0, 1, 0);
	assert_int_equal(vms_space_store(s.space, AT(0), 8, 2, NULL), VMS_FAULT_OK);
	assert_ok(vms_object_child(s.b, VMS_CHILD_SNAPSHOT, 0, &o, &snap));
	map(snap, 4, 1, 0);
	assert_int_equal(word(s.space, AT(4)), 2);
	assert_int_equal(word(s.space, AT(0)), 2);
	assert_int_equal(vms_space_store(s.space, AT(0), 8, 3, NULL), VMS_FAULT_OK);
	assert_int_equal(word(s.space, AT(4)), 2);
	assert_int_equal(vms_space_store(s.space, AT(4), 8, 4, NULL), VMS_FAULT_OK);
	assert_int_equal(word(s.space, AT(0)), 3);
	assert_int_equal(word(s.space, AT(4)), 4);
	vms_object_unref(snap); /* F24: the mapping holds it */
	assert_int_equal(word(s.space, AT(4)), 4);
}

/* F7 */
static void stream(void **state)
{
	struct vms_map_params p = params(s.a, 0, 8);

	p.flags = VMS_MAP_STREAM;
	map_in(s.root, &p);
	map(s.a, 16, 8, 0);
	assert_ok(vms_object_set_stream_size(s.a, 3 * G + 5, NULL));
	assert_int_equal(fault(AT(3), W), VMS_FAULT_OK);
	if (s.P == G) {
		assert_int_equal(fault(AT(4), R), VMS_FAULT_BEYOND);
		assert_int_equal(fault(AT(4), W), VMS_FAULT_BEYOND);
	}
	assert_int_equal(fault(AT(20), R), VMS_FAULT_OK); /* not asked for here */
	assert_int_equal(found(s.space, AT(4)).flags, VMS_MAP_STREAM);
	/* it follows the stream, both ways, entries and all */
	assert_ok(vms_object_set_stream_size(s.a, 8 * G, NULL));
	assert_int_equal(fault(AT(7), W), VMS_FAULT_OK);
	assert_ok(vms_object_set_stream_size(s.a, 0, NULL));
	assert_int_equal(fault(AT(0), R), VMS_FAULT_BEYOND);
	assert_int_equal(fault(AT(16), R), VMS_FAULT_OK);
}

/* What stood in a TLB while the stream was longer. */
static void stream_and_tlb(void **state)
{
	static struct vms_cpu cpu;
	struct vms_map_params p = params(s.a, 0, 8);
	uint64_t value = 0;

	p.flags = VMS_MAP_STREAM;
	map_in(s.root, &p);
	assert_ok(vms_cpu_init(s.mmu, &cpu));
	assert_int_equal(fault(AT(7), W), VMS_FAULT_OK);
	assert_true(vms_tlb_store64(&cpu, AT(7), 7));
	assert_ok(vms_object_set_stream_size(s.a, 0, NULL));
	assert_false(vms_tlb_load64(&cpu, AT(7), &value));
	assert_int_equal(fault(AT(7), R), VMS_FAULT_BEYOND);
	vms_cpu_fini(&cpu);
}

static void discarded(void **state)
{
	struct vms_object *d = object(VMS_OBJECT_DISCARDABLE, BIG);
	int gone = 0;

	map(d, 0, 2, 0);
	assert_int_equal(vms_space_store(s.space, AT(0), 8, 9, NULL), VMS_FAULT_OK);
	assert_ok(vms_arena_reclaim(s.arena, UINT64_MAX, NULL));
	assert_int_equal(fault(AT(0), R), VMS_FAULT_DISCARDED);
	assert_int_equal(fault(AT(1), W), VMS_FAULT_DISCARDED);
	assert_ok(vms_object_lock(d, &gone));
	assert_int_equal(gone, 1);
	assert_int_equal(word(s.space, AT(0)), 0);
	assert_ok(vms_object_unlock(d));
	vms_object_unref(d);
}

/* F20, F92 */
static void priority(void **state)
{
	struct vms_place place = { .flags = VMS_PLACE_AT, .addr = AT(0) };
	struct vms_region_params rp = { .size = sizeof(rp),
					.rights = VMS_REGION_ALL,
					.len = 4 * G };
	struct vms_object *d = object(VMS_OBJECT_DISCARDABLE, BIG);
	struct vms_map_params p = params(d, 0, 1);
	struct vms_region *region;

	assert_ok(vms_region_create(s.root, &place, &rp, &region, NULL));
	map_in(region, &p);
	assert_ok(vms_region_set_priority(region, VMS_PRIORITY_HIGH));
	assert_int_equal(vms_space_store(s.space, AT(0), 8, 9, NULL), VMS_FAULT_OK);
	assert_ok(vms_arena_reclaim(s.arena, UINT64_MAX, NULL));
	assert_int_equal(word(s.space, AT(0)), 9);
	assert_ok(vms_region_set_priority(region, VMS_PRIORITY_DEFAULT));
	assert_ok(vms_arena_reclaim(s.arena, UINT64_MAX, NULL));
	assert_int_equal(fault(AT(0), R), VMS_FAULT_DISCARDED);
	assert_ok(vms_unmap(s.root, AT(0), 4 * G, 0)); /* with its region */
	assert_int_equal(vms_region_destroy(region), -EBUSY);
	vms_region_unref(region);
	vms_object_unref(d);
}

static struct {
	struct vms_pager *pager;
	struct vms_object *obj;
	uint64_t off, len;
	unsigned asked, cancelled;
} pager;

static void request(void *arg, struct vms_object *obj, uint64_t key, enum vms_request_kind kind,
		    uint64_t off, uint64_t len)
{
	pager.asked++;
	pager.obj = obj;
	pager.off = off;
	pager.len = len;
}

static void cancel(void *arg, struct vms_object *obj, uint64_t key, enum vms_request_kind kind,
		   uint64_t off, uint64_t len)
{
	pager.cancelled++;
}

static void waiting(void **state)
{
	static const struct vms_pager_ops ops = { .size = sizeof(ops),
						  .request = request,
						  .cancel = cancel };
	static unsigned char page[65536] = { 42 };
	struct vms_object_params o = { .size = sizeof(o), .bytes = BIG };
	struct vms_object *paged = NULL;
	struct vms_wait wait;

	memset(&pager, 0, sizeof(pager));
	assert_ok(vms_pager_create(&ops, NULL, &pager.pager));
	assert_ok(vms_object_create_paged(s.arena, pager.pager, 7, &o, &paged));
	map(paged, 0, 2, 0);
	/* no wait: nothing is asked */
	assert_int_equal(fault(AT(0), R), VMS_FAULT_IO);
	assert_non_null(strstr(vms_last_error(), "wait"));
	assert_int_equal(pager.asked, 0);
	vms_wait_init(&wait);
	assert_int_equal(vms_fault(s.space, AT(0), R, 0, &wait, NULL), VMS_FAULT_WAIT);
	assert_int_equal(pager.asked, 1);
	assert_int_equal(vms_wait_block(&wait, 0), -ETIMEDOUT);
	/* given up */
	vms_wait_cancel(&wait);
	assert_int_equal(pager.cancelled, 1);
	/* answered */
	assert_int_equal(vms_fault(s.space, AT(0), R, 0, &wait, NULL), VMS_FAULT_WAIT);
	assert_ok(vms_pager_supply_bytes(pager.pager, pager.obj, pager.off, page, s.P));
	assert_ok(vms_wait_block(&wait, -1));
	assert_int_equal(vms_fault(s.space, AT(0), R, 0, &wait, NULL), VMS_FAULT_OK);
	assert_int_equal(word(s.space, AT(0)), 42);
	/* F39: what stands there after the wait is another matter */
	if (s.P == G) {
		assert_int_equal(vms_fault(s.space, AT(1), R, 0, &wait, NULL), VMS_FAULT_WAIT);
		assert_ok(vms_unmap(s.root, AT(1), G, 0));
		assert_ok(vms_pager_fail(pager.pager, pager.obj, pager.off, s.P, -EIO));
		assert_int_equal(vms_wait_block(&wait, -1), -EIO);
		assert_int_equal(vms_fault(s.space, AT(1), R, 0, &wait, NULL),
				 VMS_FAULT_NOT_MAPPED);
	}
	assert_ok(vms_unmap(s.root, LO, PAGES * G, 0));
	vms_object_unref(paged);
	vms_pager_close(pager.pager);
}

/* ---- Ends ---- */

static void last_byte(void **state)
{
	struct vms_mmu *mmu;
	struct vms_space *v = space((uint64_t)-8 * G, 0, G, 0, 0, &mmu);
	struct vms_region *root = vms_space_root(v);
	struct vms_map_params p = params(s.b, 0, 2);
	struct vms_mapping_info info = { .size = sizeof(info) };
	struct vms_cursor cursor = { 0 };
	uint64_t value = 0;
	size_t done = 0;
	char bytes[32];

	p.place.addr = (uint64_t)-2 * G;
	assert_int_equal(map_in(root, &p), (uint64_t)-2 * G);
	assert_int_equal(vms_fault(v, UINT64_MAX, W, 0, NULL, NULL), VMS_FAULT_OK);
	assert_int_equal(vms_space_store(v, UINT64_MAX, 1, 0x5a, NULL), VMS_FAULT_OK);
	assert_int_equal(vms_space_load(v, UINT64_MAX - 7, 8, &value, NULL), VMS_FAULT_OK);
	assert_int_equal(value >> 56, 0x5a);
	/* behind it is nothing */
	assert_int_equal(vms_space_read(v, UINT64_MAX - 7, bytes, 16, NULL, &done),
			 VMS_FAULT_NOT_MAPPED);
	assert_int_equal(done, 8);
	assert_ok(vms_next(v, &cursor, &info));
	assert_int_equal(info.len, 2 * G);
	assert_int_equal(vms_next(v, &cursor, &info), -ENOENT);
	assert_ok(vms_protect(root, (uint64_t)-1 * G, G, R, 0));
	assert_int_equal(vms_space_store(v, UINT64_MAX, 1, 1, NULL), VMS_FAULT_DENIED);
	p.place = (struct vms_place){ .flags = VMS_PLACE_BELOW, .addr = (uint64_t)-2 * G };
	assert_int_equal(map_in(root, &p), (uint64_t)-8 * G);
	assert_ok(vms_unmap(root, (uint64_t)-1 * G, G, 0));
	assert_int_equal(vms_find(v, UINT64_MAX, &info), -ENOENT);
	assert_ok(vms_space_check(v));
	vms_space_unref(v);
	vms_mmu_unref(mmu);
}

/* Offsets near 2^64, also through a slice, whose window is added. */
static void far_offsets(void **state)
{
	struct vms_object_params o = { .size = sizeof(o), .bytes = BIG / 2 };
	struct vms_map_params p = params(s.b, 0, 2);
	struct vms_object *slice = NULL;

	assert_ok(vms_object_child(s.b, VMS_CHILD_SLICE, BIG / 2, &o, &slice));
	p.off = (uint64_t)-4 * G;
	map_in(s.root, &p);
	p.object = slice;
	p.place.addr = AT(4);
	map_in(s.root, &p);
	assert_int_equal(fault(AT(0), R), VMS_FAULT_BEYOND);
	assert_int_equal(fault(AT(5), R), VMS_FAULT_BEYOND);
	p.place.addr = AT(8);
	p.off = BIG / 2;
	map_in(s.root, &p);
	assert_int_equal(fault(AT(8), R), VMS_FAULT_BEYOND); /* of the slice */
	/* What happens to the object does not reach pages that only seem to be its own. */
	put(s.b, 0, 1);
	assert_ok(vms_object_op(s.b, VMS_OBJECT_ZERO, 0, BIG, NULL));
	assert_ok(vms_space_check(s.space));
	vms_object_unref(slice);
}

static void small_and_large_pages(void **state)
{
	static const uint64_t sizes[] = { 1024, 4096, 16384, 65536 };

	for (size_t i = 0; i < countof(sizes); i++) {
		uint64_t page = sizes[i];
		struct vms_mmu *mmu;
		struct vms_space *v = space(1 << 20, (1 << 20) + 16 * page, page, 0, 0, &mmu);
		struct vms_map_params p = params(s.a, 0, 0);

		p.place = (struct vms_place){ 0 };
		p.len = 4 * page;
		assert_int_equal(map_in(vms_space_root(v), &p), 1 << 20);
		assert_int_equal(vms_space_store(v, (1 << 20) + page / 2, 8, page, NULL),
				 VMS_FAULT_OK);
		assert_int_equal(vms_fault(v, 1 << 20, R, 0, NULL, NULL), VMS_FAULT_OK);
		assert_int_equal(word(v, (1 << 20) + page / 2), page);
		assert_ok(vms_protect(vms_space_root(v), 1 << 20, page, R, 0));
		assert_int_equal(vms_space_store(v, 1 << 20, 8, 1, NULL), VMS_FAULT_DENIED);
		if (page * 2 <= BIG)
			assert_int_equal(vms_space_store(v, (1 << 20) + page, 8, 1, NULL),
					 VMS_FAULT_OK);
		assert_ok(vms_space_check(v));
		vms_space_unref(v);
		vms_mmu_unref(mmu);
	}
}

/* ---- Bytes ---- */

static void bytes(void **state)
{
	char text[64];
	size_t done = 0;
	uint64_t value = 0;
	int swapped = -1;

	map(s.a, 0, 1, 0);
	map(s.b, 1, 1, 0); /* another mapping */
	assert_int_equal(vms_space_write(s.space, AT(1) - 4, "acrossit", 9, NULL, &done),
			 VMS_FAULT_OK);
	assert_int_equal(done, 9);
	assert_ok(vms_object_read(s.b, 0, text, 5, NULL));
	assert_string_equal(text, "ssit");
	assert_int_equal(vms_space_read_string(s.space, AT(1) - 4, text, 64, NULL, &done),
			 VMS_FAULT_OK);
	assert_int_equal(done, 9);
	assert_string_equal(text, "acrossit");
	assert_int_equal(vms_space_read_string(s.space, AT(1) - 4, text, 3, NULL, &done),
			 VMS_FAULT_OK);
	assert_int_equal(done, 3);
	/* stopped in the middle */
	assert_int_equal(vms_space_write(s.space, AT(2) - 4, "too long", 8, NULL, &done),
			 VMS_FAULT_NOT_MAPPED);
	assert_int_equal(done, 4);
	assert_int_equal(vms_space_read(s.space, AT(2) - 4, text, 8, NULL, &done),
			 VMS_FAULT_NOT_MAPPED);
	assert_int_equal(done, 4);
	assert_memory_equal(text, "too ", 4);
	/* one access */
	assert_int_equal(vms_space_store(s.space, AT(0), 4, UINT64_C(0x1122334455), NULL),
			 VMS_FAULT_OK);
	assert_int_equal(vms_space_load(s.space, AT(0), 8, &value, NULL), VMS_FAULT_OK);
	assert_int_equal(value, 0x22334455);
	assert_int_equal(vms_space_load(s.space, AT(0) + 1, 2, &value, NULL), VMS_FAULT_DENIED);
	value = 1;
	assert_int_equal(vms_space_cas(s.space, AT(0), 4, &value, 7, &swapped, NULL), VMS_FAULT_OK);
	assert_int_equal(swapped, 0);
	assert_int_equal(value, 0x22334455);
	assert_int_equal(vms_space_cas(s.space, AT(0), 4, &value, 7, &swapped, NULL), VMS_FAULT_OK);
	assert_int_equal(swapped, 1);
	assert_int_equal(word(s.space, AT(0)), 7);
	assert_ok(vms_protect(s.root, AT(0), G, R, 0));
	assert_int_equal(vms_space_cas(s.space, AT(0), 4, &value, 7, &swapped, NULL),
			 VMS_FAULT_DENIED);
}

#define IN_SCENE(test) cmocka_unit_test_setup_teardown(test, scene_begin, scene_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCENE(below_keeps_the_offset),
		IN_SCENE(first_fit),
		IN_SCENE(entropy),
		IN_SCENE(in_regions),
		IN_SCENE(merging),
		IN_SCENE(regions_part_mappings),
		IN_SCENE(rights_and_merging),
		IN_SCENE(moving),
		IN_SCENE(outcomes),
		IN_SCENE(copy_on_write),
		IN_SCENE(stream),
		IN_SCENE(stream_and_tlb),
		IN_SCENE(discarded),
		IN_SCENE(priority),
		IN_SCENE(waiting),
		IN_SCENE(last_byte),
		IN_SCENE(far_offsets),
		IN_SCENE(small_and_large_pages),
		IN_SCENE(bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
