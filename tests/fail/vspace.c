// SPDX-License-Identifier: MIT
/*
 * Each call on spaces over objects, again and again, with the 1st, 2nd, ... n-th allocation, host
 * call or map of the backend failing. A call that ends with an error has changed nothing: mappings,
 * regions, bytes, what each object is charged, what the arena has granted. One that ends well has
 * done what it does when nothing fails: that was written down in a first run. After an error the
 * same call is made again and succeeds. vms_space_check agrees after each step: the backend never
 * has more than the space grants. Each round gives back all it took.
 *
 * KEEPS: the call may have got pages, and no content has changed. PREFIX: it works page by page,
 * and keeps what was done before the error. Some calls ask nobody for anything, and so cannot fail:
 * then there is nothing to sweep.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

#include "base/epoch.h"
#include "files.h"
#include "mmu/backend.h"
#include "object/content.h"
#include "store/arena.h"
#include "vmspace/pager.h"
#include "vmspace/space.h"
#include "world.h"

#define countof(a) (sizeof(a) / sizeof((a)[0]))
#define LEN	   200u /* pages of most objects: four leaves */
#define RW	   (VMS_PROT_READ | VMS_PROT_WRITE)
#define BASE	   UINT64_C(0x1000000)
#define END	   (BASE + UINT64_C(0x4000000))
#define AT(page)   (BASE + (page)*P)

static struct test_world tw;
static uint64_t P;
static unsigned char *buf; /* LEN pages */

enum who {
	A,  /* anonymous, RESIZABLE; pages 0..3, 62..66, 130 */
	S,  /* a snapshot of A; page 1 written since */
	B,  /* anonymous, a family of its own; pages 10..12 and 70 */
	BS, /* a slice of B: pages 8..27 */
	F,  /* a file of 8 pages */
	O,  /* SNAPSHOT_LAZY of F; page 2 written */
	G,  /* filled by a file pager; pages 0..3 there, 1 dirty */
	GO, /* SNAPSHOT_LAZY of G */
	ALL
};

enum backend { SOFT, RECORD, HOST, BACKENDS };
static const char *const backend_name[BACKENDS] = { "soft", "record", "host" };

struct facts {
	uint64_t total, owned, bytes, children;
	uint64_t digest;
};

struct line {
	struct vms_walk_item item;
	struct vms_mapping_info map;
};

#define LINES 48u

struct state {
	struct line line[LINES];
	size_t n;
	uint64_t mappings, mapped, regions;
	struct facts obj[ALL];
	uint64_t granted;
};

enum { KEEPS = 1, PREFIX = 2 };

struct scenario {
	const char *name;
	int (*run)(void);
	unsigned flags;
};

static struct stage {
	enum backend backend;
	struct vms_arena *arena;
	struct vms_pager *pager;
	struct vms_object *obj[ALL];
	struct vms_mmu *mmu, *second; /* second: of what a scenario makes */
	struct vms_space *space, *made;
	struct vms_region *child, *inner, *made_region;
	int fd, backing;
	size_t live;
	const struct scenario *sc;
	struct state before, after;
	bool done; /* `after` is known */
	unsigned errors, fine;
} s;

/* ---- The scene ---- */

static void put(enum who who, uint64_t first, uint64_t n, int byte)
{
	memset(buf, byte, n * P);
	assert_ok(vms_object_write(s.obj[who], first * P, buf, n * P, NULL));
}

static struct vms_object_params params(uint32_t flags, uint64_t npages)
{
	return (struct vms_object_params){ .size = sizeof(struct vms_object_params),
					   .flags = flags,
					   .bytes = npages * P,
					   .name = "n" };
}

static void anon(enum who who, uint32_t flags)
{
	struct vms_object_params p = params(flags, LEN);

	assert_ok(vms_object_create(s.arena, &p, &s.obj[who]));
}

static void child(enum who who, enum who parent, enum vms_child_kind kind, uint64_t first,
		  uint64_t n)
{
	struct vms_object_params p = params(0, n);

	assert_ok(vms_object_child(s.obj[parent], kind, first * P, &p, &s.obj[who]));
}

static void set_up_objects(void)
{
	struct vms_object_params p = params(0, 0);

	anon(A, VMS_OBJECT_RESIZABLE);
	put(A, 0, 4, 'a');
	put(A, 62, 5, 'b');
	put(A, 130, 1, 'c');
	child(S, A, VMS_CHILD_SNAPSHOT, 0, LEN);
	put(S, 1, 1, 's');
	anon(B, 0);
	put(B, 10, 3, 'x');
	put(B, 70, 1, 'y');
	child(BS, B, VMS_CHILD_SLICE, 8, 20);
	assert_ok(vms_object_create_file(s.arena, s.fd, &p, &s.obj[F]));
	child(O, F, VMS_CHILD_SNAPSHOT_LAZY, 0, 8);
	put(O, 2, 1, 'o');
	assert_ok(vms_pager_file(s.backing, &s.pager));
	p = params(VMS_OBJECT_RESIZABLE, 8);
	assert_ok(vms_object_create_paged(s.arena, s.pager, 0, &p, &s.obj[G]));
	assert_ok(vms_object_read(s.obj[G], 0, buf, 4 * P, NULL));
	put(G, 1, 1, 'g');
	child(GO, G, VMS_CHILD_SNAPSHOT_LAZY, 0, 4);
}

static int make_mmu(enum backend backend, struct vms_mmu **mmu)
{
	struct vms_mmu_soft_params soft = { .size = sizeof(soft) };
	struct vms_mmu_host_params host = { .size = sizeof(host), .lo = BASE, .hi = END };

	switch (backend) {
	case SOFT:
		return vms_mmu_soft(&soft, mmu);
	case RECORD:
		return vms_mmu_record(mmu);
	default:
		return vms_mmu_host(&host, mmu);
	}
}

static int make_space(struct vms_mmu *mmu, struct vms_space **space)
{
	struct vms_space_params p = { .size = sizeof(p), .lo = BASE, .hi = END, .mmu = mmu };

	return vms_space_create(&p, space);
}

static int map_in(struct vms_region *r, uint64_t addr, enum who who, uint64_t first, uint64_t n,
		  uint32_t place, uint32_t flags)
{
	struct vms_map_params p = { .size = sizeof(p),
				    .flags = flags,
				    .prot = RW,
				    .place = { .flags = place, .addr = place ? addr : 0 },
				    .object = s.obj[who],
				    .off = first * P,
				    .len = n * P };

	return vms_map(r, &p, NULL);
}

static int map(uint64_t page, enum who who, uint64_t first, uint64_t n, uint32_t flags)
{
	return map_in(vms_space_root(s.space), AT(page), who, first, n, VMS_PLACE_AT, flags);
}

static int region_in(struct vms_region *parent, uint64_t page, uint64_t n, struct vms_region **r)
{
	struct vms_place at = { .flags = VMS_PLACE_AT, .addr = AT(page) };
	struct vms_region_params p = { .size = sizeof(p),
				       .rights = RW | VMS_REGION_SPECIFIC,
				       .len = n * P };

	return vms_region_create(parent, &at, &p, r, NULL);
}

static void protect(uint64_t page, uint64_t n, uint32_t prot)
{
	assert_ok(vms_protect(vms_space_root(s.space), AT(page), n * P, prot, 0));
}

/*
 *	page	0	A, in three mappings: 20..29 may only be read
 *		300	S
 *		600	BS; beside it at 620 B from 28 on
 *		700	a region, with B in it, and a region in that, with A in it
 *		800	O	820	GO	840	G (shared)	860	B (shared)
 */
static void set_up_space(void)
{
	struct vms_region *root;

	assert_ok(make_mmu(s.backend, &s.mmu));
	assert_ok(make_mmu(s.backend, &s.second));
	assert_ok(make_space(s.mmu, &s.space));
	root = vms_space_root(s.space);
	assert_ok(map(0, A, 0, LEN, 0));
	protect(20, 10, VMS_PROT_READ);
	assert_ok(map(300, S, 0, LEN, 0));
	assert_ok(map(600, BS, 0, 20, 0));
	assert_ok(map(620, B, 28, 20, 0));
	assert_ok(region_in(root, 700, 64, &s.child));
	assert_ok(region_in(s.child, 732, 16, &s.inner));
	assert_ok(map_in(s.child, AT(704), B, 8, 8, VMS_PLACE_AT, 0));
	assert_ok(map_in(s.inner, AT(734), A, 0, 8, VMS_PLACE_AT, 0));
	assert_ok(map(800, O, 0, 8, 0));
	assert_ok(map(820, GO, 0, 4, 0));
	assert_ok(map(840, G, 0, 8, VMS_MAP_SHARE));
	assert_ok(map(860, B, 0, 16, VMS_MAP_SHARE));
}

/* ---- What is seen ---- */

static uint64_t digest(struct vms_object *obj, uint64_t len)
{
	uint64_t h = 1469598103934665603u;
	const uint64_t *w = (const uint64_t *)(const void *)buf;

	assert_ok(vms_object_read(obj, 0, buf, len, NULL));
	for (uint64_t i = 0; i < len / 8; i++)
		h = (h ^ w[i]) * 1099511628211u;
	return h;
}

static uint64_t granted(void)
{
	struct vms_arena_info info = { .size = sizeof(info) };

	assert_ok(vms_arena_info(s.arena, &info));
	return info.granted / P;
}

/* Regions and mappings in order; numbers of objects as who they are. */
static size_t list(struct vms_space *space, struct line *line)
{
	struct vms_walk walk;
	size_t n = 0;
	int err;

	assert_ok(vms_walk_begin(&walk, vms_space_root(space), BASE, END - BASE, 0));
	for (;; n++) {
		assert_true(n < LINES);
		err = vms_walk_next(&walk, &line[n].item);
		if (err)
			break;
		line[n].map.size = sizeof(line[n].map);
		if (line[n].item.is_mapping)
			assert_ok(vms_find(space, line[n].item.addr, &line[n].map));
		for (int i = 0; i < ALL; i++) {
			struct vms_object_info info = { .size = sizeof(info) };

			assert_ok(vms_object_info(s.obj[i], &info));
			if (info.id == line[n].map.object_id)
				line[n].map.object_id = UINT64_MAX - (uint64_t)i;
		}
	}
	memset(&line[n], 0, sizeof(line[n]));
	assert_int_equal(err, -ENOENT);
	vms_walk_end(&walk);
	return n;
}

/* Charges first: reading may bring pages of G. */
static void look(struct state *st)
{
	struct vms_space_info info = { .size = sizeof(info) };

	memset(st, 0, sizeof(*st));
	st->granted = granted();
	st->n = list(s.space, st->line);
	assert_ok(vms_space_info(s.space, &info));
	st->mappings = info.mappings;
	st->mapped = info.mapped;
	st->regions = info.regions;
	for (int i = 0; i < ALL; i++) {
		struct vms_object_info o = { .size = sizeof(o) };

		assert_ok(vms_object_info(s.obj[i], &o));
		st->obj[i] = (struct facts){ .total = o.total / P,
					     .owned = o.owned / P,
					     .bytes = o.bytes,
					     .children = o.children };
	}
	for (int i = 0; i < ALL; i++) /* the other pages of G are not there yet */
		st->obj[i].digest = digest(s.obj[i], i == G ? 4 * P : st->obj[i].bytes);
}

static void print_lines(const char *what, const struct state *st)
{
	for (size_t i = 0; i < st->n; i++) {
		const struct line *l = &st->line[i];

		print_message("    %s: %u %s page %lld +%llu rights %u object %lld off %llu\n",
			      what, l->item.depth, l->item.is_mapping ? "map" : "region",
			      (long long)((l->item.addr - BASE) / P),
			      (unsigned long long)(l->item.len / P), l->item.rights,
			      (long long)(UINT64_MAX - l->map.object_id),
			      (unsigned long long)(l->map.off / P));
	}
}

static void same(const char *when, const struct state *want, const struct state *now, bool charges,
		 bool content)
{
	unsigned bad = 0;

	if (want->n != now->n || memcmp(want->line, now->line, want->n * sizeof(*want->line)) ||
	    want->mappings != now->mappings || want->mapped != now->mapped ||
	    want->regions != now->regions) {
		print_lines("expected", want);
		print_lines("is", now);
		bad++;
	}
	for (int i = 0; i < ALL; i++) {
		struct facts a = want->obj[i], b = now->obj[i];

		if (!charges)
			a.total = a.owned = b.total = b.owned = 0;
		if (!content)
			a.digest = b.digest = 0;
		if (memcmp(&a, &b, sizeof(a)) == 0)
			continue;
		print_message(
			"    object %d: total %llu, %llu; owned %llu, %llu; bytes %llu, %llu; "
			"children %llu, %llu; digest %llx, %llx\n",
			i, (unsigned long long)a.total, (unsigned long long)b.total,
			(unsigned long long)a.owned, (unsigned long long)b.owned,
			(unsigned long long)a.bytes, (unsigned long long)b.bytes,
			(unsigned long long)a.children, (unsigned long long)b.children,
			(unsigned long long)a.digest, (unsigned long long)b.digest);
		bad++;
	}
	if (charges && want->granted != now->granted) {
		print_message("    granted %llu, expected %llu\n", (unsigned long long)now->granted,
			      (unsigned long long)want->granted);
		bad++;
	}
	if (bad)
		print_message("  %s over %s, %s\n", s.sc->name, backend_name[s.backend], when);
	assert_int_equal(bad, 0);
}

static void check_space(struct vms_space *space)
{
	int err = vms_space_check(space);

	if (err)
		print_message("  %s over %s: %s\n", s.sc->name, backend_name[s.backend],
			      vms_last_error());
	assert_int_equal(err, 0);
}

static void sound(void)
{
	check_space(s.space);
	if (s.made)
		check_space(s.made);
	for (int i = 0; i < ALL; i++) {
		int err = content_check(s.obj[i], NULL);

		if (err)
			print_message("  %s: object %d: %s\n", s.sc->name, i, vms_last_error());
		assert_int_equal(err, 0);
	}
	assert_ok(arena_check(s.arena));
}

/* ---- One round ---- */

static void set_up(void)
{
	struct vms_arena_params p = { .size = sizeof(p), .reserve = UINT64_C(512) << 20 };

	s.live = tw.live;
	s.made = NULL;
	s.made_region = NULL;
	s.fd = file_of(8 * P, 'f');
	s.backing = file_of(8 * P, 'k');
	assert_ok(vms_arena_create(&p, &s.arena));
	set_up_objects();
	set_up_space();
	look(&s.before);
	look(&s.before); /* what reading brings is there now */
}

static void print_result(const char *when, int err)
{
	print_message("  %s over %s, %s: %d: %s\n", s.sc->name, backend_name[s.backend], when, err,
		      vms_last_error());
}

static void check(int result, bool failed)
{
	bool content = !(s.sc->flags & PREFIX), charges = !(s.sc->flags & (KEEPS | PREFIX));
	struct state now;

	sound();
	look(&now);
	if (result) {
		if (!failed || (result != -ENOMEM && result != -EIO))
			print_result("with a failure", result);
		assert_true(failed);
		assert_true(result == -ENOMEM || result == -EIO);
		assert_null(s.made);
		assert_null(s.made_region);
		s.errors++;
		same("after an error", &s.before, &now, charges, content);
		result = s.sc->run();
		if (result)
			print_result("again", result);
		assert_int_equal(result, 0);
		sound();
		look(&now);
	} else {
		s.fine++;
	}
	if (!s.done)
		s.after = now;
	s.done = true;
	/* What has been got for nothing, or installed on the way, may be there or not. */
	same("at the end", &s.after, &now, charges, true);
}

static void tear_down(void)
{
	vms_region_unref(s.made_region);
	vms_space_unref(s.made);
	vms_region_unref(s.child);
	vms_region_unref(s.inner);
	vms_space_unref(s.space);
	vms_mmu_unref(s.mmu);
	vms_mmu_unref(s.second);
	for (int i = 0; i < ALL; i++)
		vms_object_unref(s.obj[i]);
	vms_pager_close(s.pager);
	assert_int_equal(granted(), 0);
	epoch_synchronize();
	assert_ok(arena_check(s.arena));
	vms_arena_unref(s.arena);
	epoch_synchronize();
	assert_int_equal(tw.live, s.live);
	close(s.fd);
	close(s.backing);
	assert_int_equal(open_descriptors(), tw.fds_before);
}

/* ---- The scenarios: spaces and regions ---- */

static int create(void)
{
	return make_space(s.second, &s.made);
}

/* Nothing is left of a backend that could not be made. */
static int create_backend(void)
{
	struct vms_mmu *mmu = NULL;
	int err = make_mmu(s.backend, &mmu);

	if (!err)
		err = make_space(mmu, &s.made);
	vms_mmu_unref(mmu);
	return err;
}

static int create_region(void)
{
	struct vms_region_params p = { .size = sizeof(p), .rights = RW, .len = 8 * P };

	return vms_region_create(s.child, NULL, &p, &s.made_region, NULL);
}

static int destroy_region(void)
{
	return vms_region_destroy(s.child);
}

static int destroy_inner(void)
{
	return vms_region_destroy(s.inner);
}

static int set_priority(void)
{
	return vms_region_set_priority(s.child, VMS_PRIORITY_HIGH);
}

/* ---- Edits ---- */

static int map_apart(void)
{
	return map(900, B, 5, 10, 0);
}

static int map_anywhere(void)
{
	return map_in(s.child, 0, A, 60, 10, 0, 0);
}

static int map_merging(void)
{
	return map(640, B, 48, 20, 0);
}

static int map_over(void)
{
	return map_in(vms_space_root(s.space), AT(10), B, 0, 320, VMS_PLACE_AT | VMS_PLACE_OVER, 0);
}

static int map_over_middle(void)
{
	return map_in(vms_space_root(s.space), AT(350), G, 0, 8, VMS_PLACE_AT | VMS_PLACE_OVER, 0);
}

static int map_populate(void)
{
	return map(900, A, 0, LEN, VMS_MAP_POPULATE);
}

static int unmap(uint64_t page, uint64_t n)
{
	return vms_unmap(vms_space_root(s.space), AT(page), n * P, 0);
}

static int unmap_middle(void)
{
	return unmap(320, 10);
}

static int unmap_several(void)
{
	return unmap(5, 607);
}

static int unmap_regions(void)
{
	return unmap(690, 100);
}

static int unmap_nothing(void)
{
	return unmap(2000, 100);
}

static int protect_middle(void)
{
	return vms_protect(vms_space_root(s.space), AT(340), 8 * P, VMS_PROT_READ, 0);
}

static int protect_none(void)
{
	return vms_protect(vms_space_root(s.space), AT(300), LEN * P, 0, 0);
}

static int protect_merging(void)
{
	return vms_protect(vms_space_root(s.space), AT(20), 10 * P, RW, 0);
}

static int protect_several(void)
{
	return vms_protect(vms_space_root(s.space), AT(10), 30 * P, VMS_PROT_READ, 0);
}

static int move(uint64_t page, uint64_t n, uint64_t to, uint32_t flags, uint64_t new_n)
{
	struct vms_place at = { .flags = VMS_PLACE_AT | flags, .addr = AT(to) };

	return vms_move(vms_space_root(s.space), AT(page), n * P, &at, new_n * P, NULL);
}

static int move_part(void)
{
	return move(10, 30, 1000, 0, 30);
}

static int move_over(void)
{
	return move(310, 20, 605, VMS_PLACE_OVER, 20);
}

static int move_and_grow(void)
{
	return move(300, LEN, 1000, 0, 2 * LEN);
}

static int move_and_shrink(void)
{
	return move(0, LEN, 1000, 0, 22);
}

static int move_anywhere(void)
{
	uint64_t addr;

	return vms_move(vms_space_root(s.space), AT(600), 40 * P, NULL, 40 * P, &addr);
}

/* ---- Operations on ranges ---- */

static int op(enum vms_region_op what, uint64_t page, uint64_t n)
{
	return vms_region_op(vms_space_root(s.space), what, AT(page), n * P, NULL);
}

static int op_commit(void)
{
	return op(VMS_REGION_COMMIT, 310, 100);
}

static int op_decommit(void)
{
	return op(VMS_REGION_DECOMMIT, 622, 10);
}

static int op_zero(void)
{
	return op(VMS_REGION_ZERO, 0, LEN);
}

static int op_zero_several(void)
{
	return op(VMS_REGION_ZERO, 602, 30);
}

static int op_map(void)
{
	return op(VMS_REGION_MAP, 0, LEN);
}

static int op_prefetch(void)
{
	return op(VMS_REGION_PREFETCH, 840, 8);
}

static int op_always_need(void)
{
	return op(VMS_REGION_ALWAYS_NEED, 840, 8);
}

static int op_dont_need(void)
{
	return op(VMS_REGION_DONT_NEED, 840, 8);
}

/* ---- Faults ---- */

static int errno_of(enum vms_fault_result r)
{
	switch (r) {
	case VMS_FAULT_OK:
		return 0;
	case VMS_FAULT_NO_MEMORY:
		return -ENOMEM;
	case VMS_FAULT_IO:
		return -EIO;
	default:
		print_message("  %s: %s: %s\n", s.sc->name, vms_fault_name(r), vms_last_error());
		return -EINVAL;
	}
}

static int fault(uint64_t page, uint32_t access, uint64_t n)
{
	uint64_t done = 0;
	enum vms_fault_result r =
		vms_fault(s.space, AT(page) + 8, access, n ? n * P - 8 : 0, NULL, &done);

	if (r == VMS_FAULT_OK)
		assert_true(done > 0);
	return errno_of(r);
}

static int fault_zero(void)
{
	return fault(10, VMS_PROT_READ, 0);
}

static int fault_own(void)
{
	return fault(610, VMS_PROT_READ, 0);
}

static int fault_fresh(void)
{
	return fault(10, VMS_PROT_WRITE, 0);
}

static int fault_copy(void)
{
	return fault(302, VMS_PROT_WRITE, 0);
}

static int fault_in_place(void)
{
	return fault(301, VMS_PROT_WRITE, 0);
}

static int fault_file(void)
{
	return fault(803, VMS_PROT_READ, 0);
}

static int fault_copy_up(void)
{
	return fault(804, VMS_PROT_WRITE, 0);
}

static int fault_paged(void)
{
	return fault(845, VMS_PROT_READ, 0);
}

static int fault_paged_write(void)
{
	return fault(846, VMS_PROT_WRITE, 0);
}

static int fault_above_paged(void)
{
	return fault(822, VMS_PROT_WRITE, 0);
}

static int fault_range_read(void)
{
	return fault(300, VMS_PROT_READ, LEN);
}

static int fault_range_write(void)
{
	return fault(340, VMS_PROT_WRITE, 40);
}

static int fault_all(void)
{
	int err = 0;

	for (uint64_t i = 0; i < LEN && !err; i++)
		err = fault(300 + i, VMS_PROT_WRITE, 0);
	return err;
}

static int prepare(void)
{
	uint64_t done;

	return errno_of(vms_space_prepare(s.space, AT(602), 30 * P, VMS_PROT_WRITE, NULL, &done));
}

/* ---- Bytes ---- */

static int copy_out(void)
{
	return errno_of(vms_space_read(s.space, AT(300) + 5, buf, 100 * P, NULL, NULL));
}

static int copy_out_paged(void)
{
	return errno_of(vms_space_read(s.space, AT(843) + 5, buf, 4 * P, NULL, NULL));
}

static int copy_out_file(void)
{
	return errno_of(vms_space_read(s.space, AT(800) + 5, buf, 7 * P, NULL, NULL));
}

static int copy_in(void)
{
	memset(buf, 'w', 30 * P);
	return errno_of(vms_space_write(s.space, AT(605) + 5, buf, 30 * P, NULL, NULL));
}

static int copy_in_page(void)
{
	memset(buf, 'w', P);
	return errno_of(vms_space_write(s.space, AT(363), buf, P, NULL, NULL));
}

static int copy_in_small(void)
{
	return errno_of(vms_space_write(s.space, AT(302) + 5, "hello", 5, NULL, NULL));
}

static int read_string(void)
{
	size_t done;

	return errno_of(
		vms_space_read_string(s.space, AT(303) + 5, (char *)buf, 2 * P, NULL, &done));
}

static int load(void)
{
	uint64_t v;

	return errno_of(vms_space_load(s.space, AT(846), 8, &v, NULL));
}

static int store(void)
{
	return errno_of(vms_space_store(s.space, AT(303), 8, 0x1234, NULL));
}

static int cas(void)
{
	uint64_t expected = 0;
	int swapped = 0;

	return errno_of(vms_space_cas(s.space, AT(310), 8, &expected, 5, &swapped, NULL));
}

/* ---- Branches ---- */

static int branch(void)
{
	struct vms_branch_params p = { .size = sizeof(p), .mmu = s.second };

	return vms_space_branch(s.space, &p, &s.made);
}

static int dump(void)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC), err;

	assert_true(fd >= 0);
	err = vms_space_dump(s.space, VMS_DUMP_TEXT, fd);
	if (!err)
		err = vms_space_dump(s.space, VMS_DUMP_JSON, fd);
	close(fd);
	return err;
}

static const struct scenario scenarios[] = {
	{ "create", create },
	{ "create with a backend", create_backend },
	{ "create a region", create_region },
	{ "destroy a region", destroy_region },
	{ "destroy an inner region", destroy_inner },
	{ "set a priority", set_priority },
	{ "map apart", map_apart },
	{ "map anywhere", map_anywhere },
	{ "map, merging", map_merging },
	{ "map over several", map_over },
	{ "map over a middle", map_over_middle },
	{ "map and populate", map_populate },
	{ "unmap a middle", unmap_middle },
	{ "unmap several", unmap_several },
	{ "unmap regions", unmap_regions },
	{ "unmap nothing", unmap_nothing },
	{ "protect a middle", protect_middle },
	{ "protect from all", protect_none },
	{ "protect, merging", protect_merging },
	{ "protect several", protect_several },
	{ "move a part", move_part },
	{ "move over", move_over },
	{ "move and grow", move_and_grow },
	{ "move and shrink", move_and_shrink },
	{ "move anywhere", move_anywhere },
	{ "commit", op_commit, PREFIX },
	{ "decommit", op_decommit, PREFIX },
	{ "zero", op_zero, PREFIX },
	{ "zero several", op_zero_several, PREFIX },
	{ "install", op_map, PREFIX },
	{ "prefetch", op_prefetch, KEEPS },
	{ "always need", op_always_need, KEEPS },
	{ "don't need", op_dont_need },
	{ "fault, zeros", fault_zero, KEEPS },
	{ "fault, own", fault_own, KEEPS },
	{ "fault, fresh", fault_fresh, KEEPS },
	{ "fault, copy", fault_copy, KEEPS },
	{ "fault, in place", fault_in_place, KEEPS },
	{ "fault, file", fault_file, KEEPS },
	{ "fault, copy up", fault_copy_up, KEEPS },
	{ "fault, paged", fault_paged, KEEPS },
	{ "fault, paged, write", fault_paged_write, KEEPS },
	{ "fault, above paged", fault_above_paged, KEEPS },
	{ "fault, range", fault_range_read, KEEPS },
	{ "fault, range, write", fault_range_write, KEEPS },
	{ "fault, all", fault_all, KEEPS },
	{ "prepare", prepare, KEEPS },
	{ "read", copy_out },
	{ "read, paged", copy_out_paged, KEEPS },
	{ "read, file", copy_out_file },
	{ "write", copy_in, PREFIX },
	{ "write a page", copy_in_page },
	{ "write, copy", copy_in_small },
	{ "read a string", read_string },
	{ "load", load, KEEPS },
	{ "store", store },
	{ "compare and swap", cas },
	{ "branch", branch },
	{ "dump", dump },
};

/* What happens when nothing fails; and twice, so that what the first one brings into being (a
 * thread's records) is there. */
static void rehearse(void)
{
	for (int i = 0; i < 2; i++) {
		int err;

		set_up();
		s.done = false;
		err = s.sc->run();
		if (err)
			print_result("rehearsed", err);
		assert_int_equal(err, 0);
		check(0, false);
		tear_down();
	}
}

/* The n-th call fails, and `more` after it. */
static unsigned world_fails(int err, uint32_t mask, uint64_t more)
{
	unsigned runs = 0;

	for (uint64_t n = 1;; n++) {
		bool failed;
		int result;

		set_up();
		test_world_fail(&tw, n, mask, err);
		tw.fail_more = more;
		result = s.sc->run();
		failed = tw.failed != 0;
		test_world_fail(&tw, 0, 0, 0);
		check(result, failed);
		tear_down();
		if (!failed)
			return runs;
		runs++;
	}
}

static uint64_t failed_maps(struct vms_mmu *mmu)
{
	struct vms_mmu_counts counts = { .size = sizeof(counts) };

	assert_ok(vms_mmu_counts(mmu, &counts));
	return counts.failed;
}

/* The recording backend refuses the n-th map. */
static unsigned maps_fail(void)
{
	unsigned runs = 0;

	for (uint64_t n = 1;; n++) {
		bool failed;
		int err;

		set_up();
		vms_mmu_record_fail(s.mmu, n, ENOMEM);
		err = s.sc->run();
		failed = failed_maps(s.mmu) != 0;
		vms_mmu_record_fail(s.mmu, 0, 0);
		check(err, failed);
		tear_down();
		if (!failed)
			return runs;
		runs++;
	}
}

static void every_failure(void **state)
{
	unsigned rounds = 0, errors = 0;

	for (unsigned i = 0; i < countof(scenarios); i++) {
		s.sc = &scenarios[i];
		s.errors = s.fine = 0;
		rehearse();
		rounds += world_fails(ENOMEM, EVERY_CALL, 0);
		rounds += world_fails(EIO, EVERY_CALL & ~(1u << CALL_ALLOC), 0);
		/* Some calls try again: from the n-th on, all fail. (A host that refuses for ever
		 * to take a page out of a window leaves nothing to be done.) */
		rounds += world_fails(ENOMEM, s.backend == HOST ? 1u << CALL_ALLOC : EVERY_CALL,
				      UINT64_MAX);
		if (s.backend == RECORD)
			rounds += maps_fail();
		errors += s.errors;
		if (getenv("VERBOSE"))
			print_message("%-28s %3u errors, %3u fine\n", s.sc->name, s.errors, s.fine);
	}
	print_message("%s: %zu scenarios, %u failures, %u of them errors\n",
		      backend_name[s.backend], countof(scenarios), rounds, errors);
	assert_true(errors > 200);
}

static int begin(void **state)
{
	P = (uint64_t)sysconf(_SC_PAGESIZE);
	buf = malloc(LEN * P);
	test_world_begin(&tw);
	assert_true(epoch_enter()); /* its record is not the objects' */
	epoch_leave();
	return 0;
}

static int end(void **state)
{
	epoch_synchronize();
	test_world_end(&tw);
	free(buf);
	return 0;
}

/* The backend's name. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_failure, begin, end),
	};

	for (unsigned i = 0; i < BACKENDS; i++)
		if (argc == 2 && !strcmp(argv[1], backend_name[i])) {
			s.backend = (enum backend)i;
			return cmocka_run_group_tests_name(argv[1], tests, NULL, NULL);
		}
	fprintf(stderr, "usage: %s soft|record|host\n", argv[0]);
	return 2;
}
