// SPDX-License-Identifier: MIT
/*
 * Each call on spaces over objects, with the 1st, 2nd, ... n-th allocation, host call or map of the
 * backend failing: rounds.h. Mappings and regions do not change either when a call fails, and
 * vms_space_check agrees after each: the backend never has more than the space grants.
 *
 * Some calls ask nobody for anything, and so cannot fail: then there is nothing to sweep.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

#include "mmu/backend.h"
#include "rounds.h"
#include "vmspace/space.h"

#define RW	 (VMS_PROT_READ | VMS_PROT_WRITE)
#define BASE	 UINT64_C(0x1000000)
#define END	 (BASE + UINT64_C(0x4000000))
#define AT(page) (BASE + (page)*P)

enum backend { SOFT, RECORD, HOST, BACKENDS };
static const char *const backend_name[BACKENDS] = { "soft", "record", "host" };

struct line {
	struct vms_walk_item item;
	struct vms_mapping_info map;
};

#define LINES 48u

/* What is seen of the space. */
struct view {
	struct line line[LINES];
	size_t n;
	uint64_t mappings, mapped, regions;
};

static struct {
	enum backend backend;
	struct vms_mmu *mmu, *second; /* second: of what a scenario makes */
	struct vms_space *space, *made;
	struct vms_region *child, *inner, *made_region;
} s;

/* ---- The scene ---- */

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
				    .object = cast.obj[who],
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
static void set_up(void)
{
	struct vms_region *root;

	child(BS, B, VMS_CHILD_SLICE, 0, 8, 20);
	s.made = NULL;
	s.made_region = NULL;
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

			if (!cast.obj[i])
				continue;
			assert_ok(vms_object_info(cast.obj[i], &info));
			if (info.id == line[n].map.object_id)
				line[n].map.object_id = UINT64_MAX - (uint64_t)i;
		}
	}
	memset(&line[n], 0, sizeof(line[n]));
	assert_int_equal(err, -ENOENT);
	vms_walk_end(&walk);
	return n;
}

static void look(void *to)
{
	struct vms_space_info info = { .size = sizeof(info) };
	struct view *v = to;

	memset(v, 0, sizeof(*v));
	v->n = list(s.space, v->line);
	assert_ok(vms_space_info(s.space, &info));
	v->mappings = info.mappings;
	v->mapped = info.mapped;
	v->regions = info.regions;
}

static void print_lines(const char *what, const struct view *v)
{
	for (size_t i = 0; i < v->n; i++) {
		const struct line *l = &v->line[i];

		print_message("    %s: %u %s page %lld +%llu rights %u object %lld off %llu\n",
			      what, l->item.depth, l->item.is_mapping ? "map" : "region",
			      (long long)((l->item.addr - BASE) / P),
			      (unsigned long long)(l->item.len / P), l->item.rights,
			      (long long)(UINT64_MAX - l->map.object_id),
			      (unsigned long long)(l->map.off / P));
	}
}

static unsigned differs(const void *a, const void *b)
{
	const struct view *want = a, *now = b;

	if (want->n == now->n && !memcmp(want->line, now->line, want->n * sizeof(*want->line)) &&
	    want->mappings == now->mappings && want->mapped == now->mapped &&
	    want->regions == now->regions)
		return 0;
	print_lines("expected", want);
	print_lines("is", now);
	return 1;
}

static void check_space(struct vms_space *space)
{
	int err = vms_space_check(space);

	if (err)
		print_message("  over %s: %s\n", backend_name[s.backend], vms_last_error());
	assert_int_equal(err, 0);
}

static void sound(void)
{
	check_space(s.space);
	if (s.made)
		check_space(s.made);
}

static bool is_made(void)
{
	return s.made || s.made_region;
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
		print_message("  %s: %s\n", vms_fault_name(r), vms_last_error());
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

/* ---- Ways to fail ---- */

/* The recording backend refuses the n-th map. */
static void arm_maps(uint64_t n)
{
	vms_mmu_record_fail(s.mmu, n, ENOMEM);
}

static bool map_failed(void)
{
	struct vms_mmu_counts counts = { .size = sizeof(counts) };

	assert_ok(vms_mmu_counts(s.mmu, &counts));
	vms_mmu_record_fail(s.mmu, 0, 0);
	return counts.failed != 0;
}

/*
 * Some calls try again: from the n-th on, all fail. (A host that refuses for ever to take a page
 * out of a window leaves nothing to be done.)
 */
static unsigned every_way(void)
{
	unsigned rounds = rounds_world(ENOMEM, EVERY_CALL, 0);

	rounds += rounds_world(EIO, EVERY_CALL & ~(1u << CALL_ALLOC), 0);
	rounds +=
		rounds_world(ENOMEM, s.backend == HOST ? 1u << CALL_ALLOC : EVERY_CALL, UINT64_MAX);
	if (s.backend == RECORD)
		rounds += rounds_fail(arm_maps, map_failed);
	return rounds;
}

static void every_failure(void **state)
{
	char over[32];
	/* What has been installed on the way may be there or not. */
	struct play play = { .over = over,
			     .scenario = scenarios,
			     .n = countof(scenarios),
			     .set_up = set_up,
			     .tear_down = tear_down,
			     .sound = sound,
			     .made = is_made,
			     .fail = every_way,
			     .view_size = sizeof(struct view),
			     .look = look,
			     .differs = differs,
			     .spares = true };

	snprintf(over, sizeof(over), " over %s", backend_name[s.backend]);
	rounds_play(&play, 200);
}

/* The backend's name. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_failure, cast_begin, cast_end),
	};

	for (unsigned i = 0; i < BACKENDS; i++)
		if (argc == 2 && !strcmp(argv[1], backend_name[i])) {
			s.backend = (enum backend)i;
			return cmocka_run_group_tests_name(argv[1], tests, NULL, NULL);
		}
	fprintf(stderr, "usage: %s soft|record|host\n", argv[0]);
	return 2;
}
