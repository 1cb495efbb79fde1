// SPDX-License-Identifier: MIT
/*
 * Every refusal of the calls that edit a space: one table for each, in the order in which the
 * call's list in space.h gives its errors. A row says what is asked of the scene and what must come
 * of it. Where two errors that stand next to each other in a list can apply at once, a row has both
 * and the earlier one must win ("A before B"). After each row the scene is as it was.
 *
 * What is allowed stands in space_use.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmspace/pager.h>
#include <vmspace/space.h>

#include "check.h"

#define G	   UINT64_C(4096) /* the space's page */
#define LO	   UINT64_C(0x100000)
#define PAGES	   96
#define AT(page)   (LO + (page)*G)
#define BIG	   (UINT64_C(64) << 10) /* whole pages of any host */
#define MAX	   UINT64_MAX
#define BAD	   0x80000000u
#define R	   VMS_PROT_READ
#define W	   VMS_PROT_WRITE
#define X	   VMS_PROT_EXEC
#define countof(a) (sizeof(a) / sizeof((a)[0]))

/*
 *	pages	 0 ..  3	hole
 *		 4 ..  7	ANON, RW
 *		 8 ..  9	hole
 *		10 .. 11	ANON_RO, R: no more is allowed
 *		12 .. 13	ANON, RW, ceiling RW
 *		32 .. 47	OUTER, all rights; in it
 *			33 .. 34	ANON, R, ceiling RWX
 *			40 .. 43	INNER, R and SPECIFIC; in it
 *				40		ANON, R
 *		48 .. 51	PLAIN, RWX without SPECIFIC
 *		52 .. 53	POOR, no rights but SPECIFIC
 *		56 .. 59	DEAD was here
 */
enum where { ROOT, OUTER, INNER, PLAIN, POOR, DEAD, WHERES };
enum who { ANON, ANON_RO, RES, CONTIG, FILE_OBJ, HOST, NOBODY };

static struct scene {
	struct vms_arena *arena;
	struct vms_object *obj[NOBODY + 1];
	struct vms_mmu *mmu;
	struct vms_space *space;
	struct vms_region *region[WHERES];
	void *host;
} s;

static void map(enum where where, enum who who, uint64_t page, uint64_t n, uint32_t prot,
		uint32_t ceiling)
{
	struct vms_map_params p = { .size = sizeof(p),
				    .prot = prot,
				    .ceiling = ceiling,
				    .place = { .flags = VMS_PLACE_AT, .addr = AT(page) },
				    .object = s.obj[who],
				    .len = n * G };
	uint64_t addr;

	assert_ok(vms_map(s.region[where], &p, &addr));
	assert_int_equal(addr, AT(page));
}

static void region(enum where parent, enum where child, uint64_t page, uint64_t n, uint32_t rights)
{
	struct vms_place place = { .flags = VMS_PLACE_AT, .addr = AT(page) };
	struct vms_region_params p = { .size = sizeof(p), .rights = rights, .len = n * G };

	assert_ok(vms_region_create(s.region[parent], &place, &p, &s.region[child], NULL));
}

static int scene_begin(void **state)
{
	struct vms_arena_params a = { .size = sizeof(a), .reserve = UINT64_C(256) << 20 };
	struct vms_object_params o = { .size = sizeof(o), .bytes = BIG };
	struct vms_space_params p = {
		.size = sizeof(p), .page_size = G, .lo = LO, .hi = LO + PAGES * G
	};
	int fd = memfd_create("space", MFD_CLOEXEC);

	memset(&s, 0, sizeof(s));
	assert_ok(vms_arena_create(&a, &s.arena));
	assert_ok(vms_object_create(s.arena, &o, &s.obj[ANON]));
	o.flags = VMS_OBJECT_NO_WRITE;
	assert_ok(vms_object_create(s.arena, &o, &s.obj[ANON_RO]));
	o.flags = VMS_OBJECT_RESIZABLE;
	assert_ok(vms_object_create(s.arena, &o, &s.obj[RES]));
	o.flags = VMS_OBJECT_CONTIGUOUS;
	assert_ok(vms_object_create(s.arena, &o, &s.obj[CONTIG]));
	o.flags = 0;
	assert_true(fd >= 0);
	assert_ok(ftruncate(fd, BIG));
	assert_ok(vms_object_create_file(s.arena, fd, &o, &s.obj[FILE_OBJ]));
	close(fd);
	s.host = mmap(NULL, BIG, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(s.host, MAP_FAILED);
	assert_ok(vms_object_create_host(s.host, &o, &s.obj[HOST]));
	assert_ok(vms_mmu_record(&s.mmu));
	p.mmu = s.mmu;
	assert_ok(vms_space_create(&p, &s.space));
	s.region[ROOT] = vms_space_root(s.space);
	region(ROOT, OUTER, 32, 16, VMS_REGION_ALL);
	region(OUTER, INNER, 40, 4, R | VMS_REGION_SPECIFIC);
	region(ROOT, PLAIN, 48, 4, R | W | X);
	region(ROOT, POOR, 52, 2, VMS_REGION_SPECIFIC);
	region(ROOT, DEAD, 56, 4, VMS_REGION_ALL);
	assert_ok(vms_region_destroy(s.region[DEAD]));
	map(ROOT, ANON, 4, 4, R | W, 0);
	map(ROOT, ANON_RO, 10, 2, R, 0);
	map(ROOT, ANON, 12, 2, R | W, R | W);
	map(OUTER, ANON, 33, 2, R, 0);
	map(INNER, ANON, 40, 1, R, 0);
	return 0;
}

static int scene_end(void **state)
{
	for (int i = OUTER; i < WHERES; i++)
		vms_region_unref(s.region[i]);
	vms_space_unref(s.space);
	vms_mmu_unref(s.mmu);
	for (int i = 0; i < NOBODY; i++)
		vms_object_unref(s.obj[i]);
	vms_arena_unref(s.arena);
	munmap(s.host, BIG);
	return 0;
}

/* ---- What must not change ---- */

struct seen {
	unsigned n;
	struct vms_mapping_info mapping[32];
	uint64_t regions, edits;
	struct vms_region_info region[WHERES];
};

static void look(struct seen *seen)
{
	struct vms_space_info info = { .size = sizeof(info) };
	struct vms_cursor cursor = { 0 };

	memset(seen, 0, sizeof(*seen));
	for (;; seen->n++) {
		seen->mapping[seen->n].size = sizeof(struct vms_mapping_info);
		if (vms_next(s.space, &cursor, &seen->mapping[seen->n]))
			break;
	}
	assert_ok(vms_space_info(s.space, &info));
	seen->regions = info.regions;
	for (int i = 0; i < WHERES; i++) {
		seen->region[i].size = sizeof(struct vms_region_info);
		assert_ok(vms_region_info(s.region[i], &seen->region[i]));
	}
	assert_ok(vms_space_check(s.space));
}

static void unchanged(const struct seen *before, const char *name)
{
	struct seen now;

	look(&now);
	if (memcmp(before, &now, sizeof(now)))
		broken("%s: the space has changed", name);
}

static void judge(const char *name, int got, int want)
{
	if (got != want)
		broken("%s: %d, expected %d (%s)", name, got, want, vms_last_error());
	if (got && !vms_last_error()[0])
		broken("%s: no sentence", name);
}

/* ---- Spaces ---- */

static void create(void **state)
{
	static const struct {
		const char *name;
		struct vms_space_params p;
		int want;
	} rows[] = {
		{ "short", { .size = sizeof(struct vms_space_params) - 1 }, -EINVAL },
		{ "flags", { .flags = BAD }, -EINVAL },
		{ "page size, no power of two", { .page_size = 3 * 1024 }, -EINVAL },
		{ "page size, too small", { .page_size = 512 }, -EINVAL },
		{ "page size, too large", { .page_size = 128 * 1024 }, -EINVAL },
		{ "lo not aligned", { .lo = 512 }, -EINVAL },
		{ "hi not aligned", { .hi = LO + 512 }, -EINVAL },
		{ "empty", { .lo = LO, .hi = LO }, -EINVAL },
		{ "upside down", { .lo = LO + G, .hi = LO }, -EINVAL },
		{ "fault around", { .fault_around = 17 }, -EINVAL },
	};
	struct vms_space *space = NULL;
	struct vms_mmu *mmu;
	int err;

	assert_ok(vms_mmu_record(&mmu));
	for (size_t i = 0; i < countof(rows); i++) {
		struct vms_space_params p = rows[i].p;

		p.mmu = mmu;
		if (!p.size)
			p.size = sizeof(p);
		if (!p.page_size)
			p.page_size = G;
		judge(rows[i].name, vms_space_create(&p, &space), rows[i].want);
		assert_null(space);
	}
	struct vms_space_params p = { .size = sizeof(p), .page_size = G, .hi = LO };

	judge("no backend", vms_space_create(&p, &space), -EINVAL);
	judge("NULL", vms_space_create(NULL, &space), -EINVAL);
	p.mmu = s.mmu;
	judge("the backend is used", vms_space_create(&p, &space), -EBUSY);
	p.flags = BAD;
	judge("flags before used", vms_space_create(&p, &space), -EINVAL);
	p.flags = 0;
	p.mmu = mmu;
	assert_ok(vms_space_create(&p, &space));
	vms_space_unref(space);
	err = vms_space_create(&p, &space); /* the backend is free again */
	assert_ok(err);
	vms_space_unref(space);
	vms_mmu_unref(mmu);
	vms_space_unref(NULL);
	vms_region_unref(NULL);
}

/* ---- Placement: the same list for regions and mappings ---- */

struct place_row {
	const char *name;
	enum where where;
	struct vms_place place;
	uint64_t len;
	uint32_t rights;
	int want;
	bool maps_alone; /* not of regions */
};

#define PLACED(page)                                    \
	{                                               \
		.flags = VMS_PLACE_AT, .addr = AT(page) \
	}

static const struct place_row place_rows[] = {
	{ "unknown flag", ROOT, { .flags = 0x10 }, G, R, -EINVAL },
	{ "align, no power of two", ROOT, { .align = 3 * 1024 }, G, R, -EINVAL },
	{ "align, too small", ROOT, { .align = 512 }, G, R, -EINVAL },
	{ "align, too large", ROOT, { .align = UINT64_C(1) << 33 }, G, R, -EINVAL },
	{ "entropy", ROOT, { .entropy = 64 }, G, R, -EINVAL },
	{ "OVER without AT", ROOT, { .flags = VMS_PLACE_OVER }, G, R, -EINVAL },
	{ "flag before dead", DEAD, { .flags = 0x10 }, G, R, -EINVAL },
	{ "align before dead", DEAD, { .align = 512 }, G, R, -EINVAL },
	{ "dead", DEAD, { 0 }, G, R, -EBUSY },
	{ "dead before len 0", DEAD, { 0 }, 0, R, -EBUSY },
	{ "dead before rights", DEAD, { 0 }, G, R | W, -EBUSY },
	{ "len 0", ROOT, { 0 }, 0, R, -EINVAL },
	{ "len 0 before rights", INNER, { 0 }, 0, R | W, -EINVAL },
	{ "rights", INNER, { 0 }, G, R | W, -EACCES },
	{ "rights: none to give", POOR, { 0 }, G, R, -EACCES },
	{ "rights before AT with BELOW",
	  INNER,
	  { .flags = VMS_PLACE_AT | VMS_PLACE_BELOW, .addr = AT(43) },
	  G,
	  R | W,
	  -EACCES },
	{ "AT with BELOW",
	  ROOT,
	  { .flags = VMS_PLACE_AT | VMS_PLACE_BELOW, .addr = AT(2) },
	  G,
	  R,
	  -EINVAL },
	{ "addr with neither", ROOT, { .addr = AT(2) }, G, R, -EINVAL },
	{ "addr not aligned", ROOT, { .flags = VMS_PLACE_AT, .addr = AT(2) + 1 }, G, R, -EINVAL },
	{ "BELOW not aligned",
	  ROOT,
	  { .flags = VMS_PLACE_BELOW, .addr = AT(2) + 512 },
	  G,
	  R,
	  -EINVAL },
	{ "addr not aligned before SPECIFIC",
	  PLAIN,
	  { .flags = VMS_PLACE_AT, .addr = AT(48) + 1 },
	  G,
	  R,
	  -EINVAL },
	{ "AT without SPECIFIC", PLAIN, PLACED(49), G, R, -EACCES },
	{ "BELOW without SPECIFIC",
	  PLAIN,
	  { .flags = VMS_PLACE_BELOW, .addr = AT(50) },
	  G,
	  R,
	  -EACCES },
	{ "SPECIFIC before outside", PLAIN, PLACED(2), G, R, -EACCES },
	{ "outside, below", OUTER, PLACED(31), G, R, -EINVAL },
	{ "outside, above", OUTER, PLACED(48), G, R, -EINVAL },
	{ "outside, partly", OUTER, PLACED(47), 2 * G, R, -EINVAL },
	{ "outside, wraps", ROOT, { .flags = VMS_PLACE_AT, .addr = -G }, 2 * G, R, -EINVAL },
	{ "larger than the region", INNER, { 0 }, 5 * G, R, -EINVAL },
	{ "BELOW above the end",
	  OUTER,
	  { .flags = VMS_PLACE_BELOW, .addr = AT(49) },
	  G,
	  R,
	  -EINVAL },
	{ "BELOW less than the length",
	  OUTER,
	  { .flags = VMS_PLACE_BELOW, .addr = AT(33) },
	  2 * G,
	  R,
	  -EINVAL },
	{ "AT not aligned as asked",
	  ROOT,
	  { .flags = VMS_PLACE_AT, .addr = AT(1), .align = 2 * G },
	  G,
	  R,
	  -EINVAL },
	{ "not aligned as asked before occupied",
	  ROOT,
	  { .flags = VMS_PLACE_AT, .addr = AT(5), .align = 2 * G },
	  G,
	  R,
	  -EINVAL },
	{ "over a mapping", ROOT, PLACED(7), 2 * G, R, -EEXIST },
	{ "over a region", ROOT, PLACED(31), 2 * G, R, -EEXIST },
	{ "in a child region", ROOT, PLACED(36), G, R, -EEXIST },
	{ "no room below", ROOT, { .flags = VMS_PLACE_BELOW, .addr = AT(13) }, 5 * G, R, -ENOSPC },
	{ "no room", OUTER, { 0 }, 6 * G, R, -ENOSPC },
	{ "no room for the alignment", OUTER, { .align = UINT64_C(1) << 32 }, G, R, -ENOSPC },
	{ "OVER a region",
	  ROOT,
	  { .flags = VMS_PLACE_AT | VMS_PLACE_OVER, .addr = AT(31) },
	  2 * G,
	  R,
	  -EINVAL,
	  true },
	{ "OVER inside a region",
	  ROOT,
	  { .flags = VMS_PLACE_AT | VMS_PLACE_OVER, .addr = AT(36) },
	  G,
	  R,
	  -EINVAL,
	  true },
};

static void region_create(void **state)
{
	struct vms_region_params good = { .size = sizeof(good), .rights = R, .len = G }, p;
	struct vms_region *r = NULL;
	struct seen before;

	look(&before);
	for (size_t i = 0; i < countof(place_rows); i++) {
		const struct place_row *row = &place_rows[i];

		if (row->maps_alone)
			continue;
		p = good;
		p.len = row->len;
		p.rights = row->rights;
		judge(row->name, vms_region_create(s.region[row->where], &row->place, &p, &r, NULL),
		      row->want);
		assert_null(r);
		unchanged(&before, row->name);
	}
	p = good;
	p.size--;
	judge("short", vms_region_create(s.region[DEAD], NULL, &p, &r, NULL), -EINVAL);
	p = good;
	p.flags = 1;
	judge("flags", vms_region_create(s.region[DEAD], NULL, &p, &r, NULL), -EINVAL);
	p = good;
	p.rights = 16;
	judge("unknown rights", vms_region_create(s.region[DEAD], NULL, &p, &r, NULL), -EINVAL);
	p = good;
	p.len = G + 1;
	judge("len not aligned", vms_region_create(s.region[ROOT], NULL, &p, &r, NULL), -EINVAL);
	p.len = MAX;
	judge("len past 2^64", vms_region_create(s.region[ROOT], NULL, &p, &r, NULL), -EINVAL);
	judge("no params", vms_region_create(s.region[ROOT], NULL, NULL, &r, NULL), -EINVAL);
	p = good;
	struct vms_place over = { .flags = VMS_PLACE_AT | VMS_PLACE_OVER, .addr = AT(0) };
	judge("OVER is for mappings", vms_region_create(s.region[ROOT], &over, &p, &r, NULL),
	      -EINVAL);
	assert_null(r);
	unchanged(&before, "region_create");
}

/* ---- Map ---- */

struct map_row {
	const char *name;
	enum where where;
	enum who who;
	struct vms_map_params p;
	int want;
};

static const struct map_row map_rows[] = {
	{ "WRITE without READ", ROOT, ANON, { .prot = W, .len = G }, -EINVAL },
	{ "EXEC without READ", ROOT, ANON, { .prot = X, .len = G }, -EINVAL },
	{ "unknown rights", ROOT, ANON, { .prot = 8, .len = G }, -EINVAL },
	{ "unknown ceiling", ROOT, ANON, { .prot = R, .ceiling = 8 | R, .len = G }, -EINVAL },
	{ "unknown flags", ROOT, ANON, { .flags = 0x10, .prot = R, .len = G }, -EINVAL },
	{ "offset not aligned", ROOT, ANON, { .prot = R, .off = 512, .len = G }, -EINVAL },
	{ "offset not aligned before dead",
	  DEAD,
	  ANON,
	  { .prot = R, .off = 512, .len = G },
	  -EINVAL },
	/* D5 */
	{ "len rounds past 2^64", ROOT, ANON, { .prot = R, .len = MAX }, -EINVAL },
	{ "len rounds past 2^64 before the offset wraps",
	  ROOT,
	  ANON,
	  { .prot = R, .off = -G, .len = MAX },
	  -EINVAL },
	{ "POPULATE with OVER",
	  ROOT,
	  ANON,
	  { .flags = VMS_MAP_POPULATE,
	    .prot = R,
	    .len = G,
	    .place = { .flags = VMS_PLACE_AT | VMS_PLACE_OVER, .addr = AT(0) } },
	  -EINVAL },
	/* D6 */
	{ "offset wraps", ROOT, ANON, { .prot = R, .off = -G, .len = 2 * G }, -ERANGE },
	{ "offset wraps before FIXED_SIZE",
	  ROOT,
	  RES,
	  { .flags = VMS_MAP_FIXED_SIZE, .prot = R, .off = -G, .len = 2 * G },
	  -ERANGE },
	{ "FIXED_SIZE of a resizable one",
	  ROOT,
	  RES,
	  { .flags = VMS_MAP_FIXED_SIZE, .prot = R, .len = G },
	  -ENOTSUP },
	{ "STREAM of a file",
	  ROOT,
	  FILE_OBJ,
	  { .flags = VMS_MAP_STREAM, .prot = R, .len = G },
	  -ENOTSUP },
	{ "STREAM of host memory",
	  ROOT,
	  HOST,
	  { .flags = VMS_MAP_STREAM, .prot = R, .len = G },
	  -ENOTSUP },
	{ "STREAM of a contiguous one",
	  ROOT,
	  CONTIG,
	  { .flags = VMS_MAP_STREAM, .prot = R, .len = G },
	  -ENOTSUP },
	{ "a file, and no host backend", ROOT, FILE_OBJ, { .prot = R, .len = G }, -ENOTSUP },
	{ "not supported before not writable",
	  ROOT,
	  FILE_OBJ,
	  { .flags = VMS_MAP_STREAM, .prot = R | W, .len = G },
	  -ENOTSUP },
	{ "not supported before dead", DEAD, FILE_OBJ, { .prot = R, .len = G }, -ENOTSUP },
	{ "not writable", ROOT, ANON_RO, { .prot = R | W, .len = G }, -EACCES },
	{ "not writable before dead", DEAD, ANON_RO, { .prot = R | W, .len = G }, -EACCES },
	{ "dead before len 0", DEAD, ANON, { .prot = R }, -EBUSY },
};

static void map_refused(void **state)
{
	uint64_t addr = 77;
	struct seen before;

	look(&before);
	for (size_t i = 0; i < countof(map_rows); i++) {
		struct vms_map_params p = map_rows[i].p;

		p.size = sizeof(p);
		p.object = s.obj[map_rows[i].who];
		judge(map_rows[i].name, vms_map(s.region[map_rows[i].where], &p, &addr),
		      map_rows[i].want);
		unchanged(&before, map_rows[i].name);
	}
	for (size_t i = 0; i < countof(place_rows); i++) {
		const struct place_row *row = &place_rows[i];
		struct vms_map_params p = { .size = sizeof(p),
					    .prot = row->rights,
					    .place = row->place,
					    .object = s.obj[ANON],
					    .len = row->len };

		judge(row->name, vms_map(s.region[row->where], &p, &addr), row->want);
		unchanged(&before, row->name);
	}
	struct vms_map_params p = {
		.size = sizeof(p) - 1, .prot = R, .object = s.obj[ANON], .len = G
	};

	judge("short", vms_map(s.region[DEAD], &p, &addr), -EINVAL);
	judge("no params", vms_map(s.region[DEAD], NULL, &addr), -EINVAL);
	p.size++;
	p.object = NULL;
	judge("no object", vms_map(s.region[ROOT], &p, &addr), -EINVAL);
	assert_int_equal(addr, 77);
	unchanged(&before, "map");
}

/* ---- Unmap, protect ---- */

struct range_row {
	const char *name;
	enum where where;
	uint64_t addr, len;
	uint32_t flags, prot;
	int unmap, protect; /* 0: that call allows it, and is not made */
};

static const struct range_row range_rows[] = {
	{ "flags", ROOT, AT(4), G, 2, R, -EINVAL, -EINVAL },
	{ "flags before dead", DEAD, AT(56), G, 2, R, -EINVAL, -EINVAL },
	{ "len 0", ROOT, AT(4), 0, 0, R, -EINVAL, -EINVAL },
	{ "addr not aligned", ROOT, AT(4) + 1, G, 0, R, -EINVAL, -EINVAL },
	{ "len rounds past 2^64", ROOT, AT(4), MAX, 0, R, -EINVAL, -EINVAL },
	{ "wraps", ROOT, AT(4), -G, 0, R, -EINVAL, -EINVAL },
	{ "outside, below", ROOT, LO - G, 2 * G, 0, R, -EINVAL, -EINVAL },
	{ "outside, above", ROOT, AT(PAGES - 1), 2 * G, 0, R, -EINVAL, -EINVAL },
	{ "outside the region", OUTER, AT(4), G, 0, R, -EINVAL, -EINVAL },
	{ "outside before dead", DEAD, AT(4), G, 0, R, -EINVAL, -EINVAL },
	{ "dead", DEAD, AT(56), G, 0, R, -EBUSY, -EBUSY },
	{ "a child, partly, at its start", ROOT, AT(31), 2 * G, 0, R, -EINVAL, -ENOENT },
	{ "a child, partly, at its end", ROOT, AT(47), 2 * G, 0, R, -EINVAL, -ENOENT },
	{ "a child, inside it", ROOT, AT(36), G, 0, R, -EINVAL, -ENOENT },
	{ "a child's child, partly", OUTER, AT(39), 2 * G, 0, R, -EINVAL, -ENOENT },
	{ "a child, and NO_CHILDREN", ROOT, AT(32), 16 * G, VMS_NO_CHILDREN, R, -EINVAL, -EINVAL },
	{ "NO_CHILDREN before a hole", ROOT, AT(8), 30 * G, VMS_NO_CHILDREN, R, -EINVAL, -EINVAL },
	{ "WRITE without READ", ROOT, AT(4), G, 0, W, 0, -EINVAL },
	{ "unknown rights", ROOT, AT(4), G, 0, 8, 0, -EINVAL },
	{ "rights before dead", DEAD, AT(56), G, 0, W, -EBUSY, -EINVAL },
	{ "a hole at the start", ROOT, AT(3), 2 * G, 0, R, 0, -ENOENT },
	{ "a hole at the end", ROOT, AT(7), 2 * G, 0, R, 0, -ENOENT },
	{ "a hole in the middle", ROOT, AT(7), 4 * G, 0, R, 0, -ENOENT },
	{ "nothing at all", ROOT, AT(0), G, 0, R, 0, -ENOENT },
	{ "above the object's ceiling", ROOT, AT(10), G, 0, R | W, 0, -EACCES },
	{ "above the mapping's ceiling", ROOT, AT(12), G, 0, R | X, 0, -EACCES },
	{ "above the second mapping's ceiling", ROOT, AT(10), 4 * G, 0, R | W, 0, -EACCES },
	{ "above the region's ceiling", INNER, AT(40), G, 0, R | W, 0, -EACCES },
	{ "a hole before a ceiling", ROOT, AT(10), 5 * G, 0, R | W, 0, -ENOENT },
	/* D3 */
	{ "more in a child", ROOT, AT(33), 2 * G, 0, R | W, 0, -EACCES },
	{ "more in a child's child", ROOT, AT(40), G, 0, R | X, 0, -EACCES },
};

static void ranges_refused(void **state)
{
	struct seen before;

	look(&before);
	for (size_t i = 0; i < countof(range_rows); i++) {
		const struct range_row *r = &range_rows[i];

		if (r->unmap)
			judge(r->name, vms_unmap(s.region[r->where], r->addr, r->len, r->flags),
			      r->unmap);
		unchanged(&before, r->name);
		if (r->protect)
			judge(r->name,
			      vms_protect(s.region[r->where], r->addr, r->len, r->prot, r->flags),
			      r->protect);
		unchanged(&before, r->name);
	}
}

/* ---- Move ---- */

static const struct move_row {
	const char *name;
	enum where where;
	uint64_t addr, len;
	struct vms_place place;
	uint64_t new_len;
	int want;
} move_rows[] = {
	{ "len 0", ROOT, AT(4), 0, { 0 }, G, -EINVAL },
	{ "not aligned", ROOT, AT(4) + 1, G, { 0 }, G, -EINVAL },
	{ "outside", OUTER, AT(4), G, { 0 }, G, -EINVAL },
	{ "place", ROOT, AT(4), G, { .flags = 0x10 }, G, -EINVAL },
	{ "align", ROOT, AT(4), G, { .align = 512 }, G, -EINVAL },
	{ "new len 0", ROOT, AT(4), G, { 0 }, 0, -EINVAL },
	{ "longer, and two mappings", ROOT, AT(10), 4 * G, { 0 }, 5 * G, -EINVAL },
	{ "overlap", ROOT, AT(4), 2 * G, PLACED(5), 2 * G, -EINVAL },
	{ "overlap with what grows", ROOT, AT(4), G, PLACED(2), 3 * G, -EINVAL },
	{ "a child region in the source", ROOT, AT(31), 3 * G, { 0 }, 3 * G, -EINVAL },
	{ "new len 0 before dead", DEAD, AT(56), G, { 0 }, 0, -EINVAL },
	{ "dead", DEAD, AT(56), G, { 0 }, G, -EBUSY },
	{ "a hole", ROOT, AT(7), 2 * G, { 0 }, 2 * G, -ENOENT },
	{ "nothing", ROOT, AT(0), G, { 0 }, G, -ENOENT },
	{ "a hole before no room", ROOT, AT(0), G, { 0 }, G *PAGES, -EINVAL },
	{ "outside, the new place", ROOT, AT(4), G, PLACED(PAGES), G, -EINVAL },
	{ "AT without SPECIFIC", PLAIN, AT(48), G, PLACED(49), G, -ENOENT },
	{ "occupied", ROOT, AT(4), G, PLACED(10), G, -EEXIST },
	{ "occupied by a region", ROOT, AT(4), G, PLACED(36), G, -EEXIST },
	{ "OVER a region",
	  ROOT,
	  AT(4),
	  G,
	  { .flags = VMS_PLACE_AT | VMS_PLACE_OVER, .addr = AT(36) },
	  G,
	  -EINVAL },
	{ "no room", ROOT, AT(4), G, { 0 }, 64 * G, -ENOSPC },
};

static void move_refused(void **state)
{
	uint64_t addr = 77;
	struct seen before;

	look(&before);
	for (size_t i = 0; i < countof(move_rows); i++) {
		const struct move_row *r = &move_rows[i];

		judge(r->name,
		      vms_move(s.region[r->where], r->addr, r->len, &r->place, r->new_len, &addr),
		      r->want);
		unchanged(&before, r->name);
	}
	assert_int_equal(addr, 77);
}

/* ---- Operations on ranges ---- */

static const struct op_row {
	const char *name;
	enum where where;
	enum vms_region_op op;
	uint64_t addr, len;
	int want;
} op_rows[] = {
	{ "unknown", ROOT, (enum vms_region_op)0, AT(4), G, -EINVAL },
	{ "unknown, above", ROOT, (enum vms_region_op)8, AT(4), G, -EINVAL },
	{ "not aligned", ROOT, VMS_REGION_COMMIT, AT(4) + 1, G, -EINVAL },
	{ "len not aligned", ROOT, VMS_REGION_MAP, AT(4), G + 1, -EINVAL },
	{ "len 0", ROOT, VMS_REGION_COMMIT, AT(4), 0, -EINVAL },
	{ "len 0 before outside", ROOT, VMS_REGION_COMMIT, AT(PAGES), 0, -EINVAL },
	{ "outside", ROOT, VMS_REGION_COMMIT, AT(PAGES), G, -ERANGE },
	{ "outside, wraps", ROOT, VMS_REGION_COMMIT, AT(4), -G, -ERANGE },
	{ "outside before dead", DEAD, VMS_REGION_COMMIT, AT(4), G, -ERANGE },
	{ "dead", DEAD, VMS_REGION_COMMIT, AT(56), G, -EBUSY },
	{ "commit, a child", ROOT, VMS_REGION_COMMIT, AT(33), G, -EINVAL },
	{ "decommit, a child", ROOT, VMS_REGION_DECOMMIT, AT(33), G, -EINVAL },
	{ "zero, a child", ROOT, VMS_REGION_ZERO, AT(33), G, -EINVAL },
	{ "prefetch, a child", ROOT, VMS_REGION_PREFETCH, AT(33), G, -EINVAL },
	{ "a hole", ROOT, VMS_REGION_COMMIT, AT(0), G, -EBUSY },
	{ "map, a hole", ROOT, VMS_REGION_MAP, AT(0), G, -EBUSY },
	{ "map, a hole at the end", ROOT, VMS_REGION_MAP, AT(7), 2 * G, -EBUSY },
	{ "map, a hole in a child", ROOT, VMS_REGION_MAP, AT(36), G, -EBUSY },
	{ "commit: ceiling", ROOT, VMS_REGION_COMMIT, AT(10), G, -EACCES },
	{ "decommit: ceiling", ROOT, VMS_REGION_DECOMMIT, AT(10), G, -EACCES },
	{ "zero: ceiling", ROOT, VMS_REGION_ZERO, AT(10), G, -EACCES },
	{ "zero: the region's ceiling", INNER, VMS_REGION_ZERO, AT(40), G, -EACCES },
};

static void ops_refused(void **state)
{
	struct seen before;

	look(&before);
	for (size_t i = 0; i < countof(op_rows); i++) {
		const struct op_row *r = &op_rows[i];

		judge(r->name, vms_region_op(s.region[r->where], r->op, r->addr, r->len, NULL),
		      r->want);
		unchanged(&before, r->name);
	}
	/* Reading what is only read, and hints, need no ceiling; some go into children. */
	assert_ok(vms_region_op(s.region[ROOT], VMS_REGION_PREFETCH, AT(10), G, NULL));
	assert_ok(vms_region_op(s.region[ROOT], VMS_REGION_MAP, AT(33), 2 * G, NULL));
	assert_ok(vms_region_op(s.region[ROOT], VMS_REGION_DONT_NEED, AT(40), G, NULL));
	assert_ok(vms_region_op(s.region[ROOT], VMS_REGION_ALWAYS_NEED, AT(40), G, NULL));
}

/* ---- Handles of the dead, and the root ---- */

static void dead_handles(void **state)
{
	struct vms_region_info info = { .size = sizeof(info) };
	struct vms_walk walk;

	judge("destroy", vms_region_destroy(s.region[DEAD]), -EBUSY);
	judge("priority", vms_region_set_priority(s.region[DEAD], VMS_PRIORITY_HIGH), -EBUSY);
	judge("unknown priority before dead",
	      vms_region_set_priority(s.region[DEAD], (enum vms_priority)7), -EINVAL);
	judge("walk", vms_walk_begin(&walk, s.region[DEAD], AT(56), G, 0), -EBUSY);
	assert_ok(vms_region_info(s.region[DEAD], &info));
	assert_int_equal(info.alive, 0);
	assert_int_equal(info.addr, AT(56));
	assert_int_equal(info.len, 4 * G);
	info.size--;
	judge("short info", vms_region_info(s.region[DEAD], &info), -EINVAL);
	/* D4 */
	judge("destroy the root", vms_region_destroy(s.region[ROOT]), -ENOTSUP);
	/* Where it was something else may be, which the handle does not reach. */
	map(ROOT, ANON, 56, 4, R, 0);
	judge("unmap", vms_unmap(s.region[DEAD], AT(56), G, 0), -EBUSY);
	judge("protect", vms_protect(s.region[DEAD], AT(56), G, R, 0), -EBUSY);
	judge("op", vms_region_op(s.region[DEAD], VMS_REGION_MAP, AT(56), G, NULL), -EBUSY);
	/* Those below die with it, and handles outlive the space. */
	assert_ok(vms_region_destroy(s.region[OUTER]));
	judge("destroy the child", vms_region_destroy(s.region[INNER]), -EBUSY);
}

static void asking(void **state)
{
	struct vms_mapping_info m = { .size = sizeof(m) - 1 };
	struct vms_space_info i = { .size = sizeof(i) - 1 };
	struct vms_cursor cursor = { 0 };

	judge("short", vms_find(s.space, AT(4), &m), -EINVAL);
	judge("short before absent", vms_find(s.space, AT(0), &m), -EINVAL);
	judge("short", vms_next(s.space, &cursor, &m), -EINVAL);
	judge("short", vms_space_info(s.space, &i), -EINVAL);
	m.size++;
	judge("absent", vms_find(s.space, AT(0), &m), -ENOENT);
	judge("absent, outside", vms_find(s.space, 0, &m), -ENOENT);
	judge("absent, outside", vms_find(s.space, MAX, &m), -ENOENT);
	cursor.next = AT(41);
	judge("no more", vms_next(s.space, &cursor, &m), -ENOENT);
	assert_ok(vms_find(s.space, AT(5) + 17, &m));
	assert_int_equal(m.addr, AT(4));
	assert_int_equal(m.len, 4 * G);
	for (int r = 0; r <= VMS_FAULT_NO_MEMORY; r++)
		assert_non_null(vms_fault_name((enum vms_fault_result)r));
	assert_string_equal(vms_fault_name(VMS_FAULT_OK), "OK");
	assert_string_equal(vms_fault_name(VMS_FAULT_NO_MEMORY), "NO_MEMORY");
	assert_non_null(vms_fault_name((enum vms_fault_result)99));
}

#define IN_SCENE(test) cmocka_unit_test_setup_teardown(test, scene_begin, scene_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCENE(create),	  IN_SCENE(region_create), IN_SCENE(map_refused),
		IN_SCENE(ranges_refused), IN_SCENE(move_refused),  IN_SCENE(ops_refused),
		IN_SCENE(dead_handles),	  IN_SCENE(asking),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
