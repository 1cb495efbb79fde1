// SPDX-License-Identifier: MIT
/* Branches of spaces: what is copied, what stays one, and what it costs. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "branch_kit.h"

#include "base/epoch.h"
#include "files.h"
#include "sanitize.h"
#include "vmspace/pager.h"

/* ---- What is copied ---- */

static void both_sides_write(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 64 * P, 0), *c = anon(f->arena, 8 * P, 0);
	struct vms_space *s = space_over(soft()), *b;

	map(s, BASE, a, 0, 64 * P, 0);
	map(s, BASE + 100 * P, c, 2 * P, 4 * P, 0);
	put(a, 0, 3 * P, 'a');
	put(c, 0, 8 * P, 'c');
	b = branch(s);
	assert_int_equal(granted(f->arena), 11);
	poke(s, BASE, 'x');
	poke(b, BASE + P, 'y');
	poke(b, BASE + 9 * P, 'z');
	put(c, 3 * P, 1, 'w');
	assert_int_equal(peek(b, BASE), 'a');
	assert_int_equal(peek(s, BASE + P), 'a');
	assert_int_equal(peek(b, BASE + P), 'y');
	assert_int_equal(peek(b, BASE + 2 * P), 'a');
	assert_int_equal(peek(s, BASE + 9 * P), 0);
	assert_int_equal(peek(b, BASE + 9 * P), 'z');
	assert_int_equal(peek(s, BASE + 101 * P), 'w');
	assert_int_equal(peek(b, BASE + 101 * P), 'c');
	/* Two copies, a page of b's own, and one for c. */
	assert_int_equal(granted(f->arena), 15);
	assert_int_equal(frames_of(a) + frames_of(c), 15);
	good(s);
	good(b);
	/* The source may go first. */
	vms_space_unref(s);
	vms_object_unref(a);
	vms_object_unref(c);
	assert_int_equal(peek(b, BASE), 'a');
	assert_int_equal(peek(b, BASE + P), 'y');
	good(b);
	vms_space_unref(b);
}

/* What a CPU could write to in the source it cannot any more; what it could read it still can. */
static void entries_are_downgraded(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 8 * P, 0);
	struct vms_space *s = space_over(soft()), *b;
	struct vms_cpu cpu;
	uint64_t v = 0;

	map(s, BASE, a, 0, 8 * P, 0);
	vms_cpu_init(s->mmu, &cpu);
	assert_int_equal(vms_fault(s, BASE, VMS_PROT_WRITE, 0, NULL, NULL), VMS_FAULT_OK);
	assert_true(vms_tlb_store64(&cpu, BASE, 7));
	b = branch(s);
	assert_false(vms_tlb_store64(&cpu, BASE, 8));
	assert_true(vms_tlb_load64(&cpu, BASE, &v));
	assert_int_equal(v, 7);
	good(s);
	assert_int_equal(vms_fault(s, BASE, VMS_PROT_WRITE, 0, NULL, NULL), VMS_FAULT_OK);
	assert_true(vms_tlb_store64(&cpu, BASE, 9));
	assert_int_equal(peek(b, BASE), 7);
	good(s);
	good(b);
	vms_cpu_fini(&cpu);
	vms_space_unref(b);
	/* Alone again: written in place. */
	assert_int_equal(vms_fault(s, BASE, VMS_PROT_WRITE, 0, NULL, NULL), VMS_FAULT_OK);
	assert_int_equal(granted(f->arena), 1);
	vms_space_unref(s);
	vms_object_unref(a);
}

struct line {
	struct vms_walk_item item;
	struct vms_mapping_info map;
};

/* Objects have other numbers in a branch: they are left out. */
static size_t describe(struct vms_space *s, struct line *line, size_t room)
{
	const size_t end = offsetof(struct vms_mapping_info, flags) + sizeof(uint32_t);
	struct vms_walk walk;
	size_t n = 0;
	int err;

	assert_ok(vms_walk_begin(&walk, vms_space_root(s), 0, HI, 0));
	for (;; n++) {
		assert_true(n < room);
		memset(&line[n], 0, sizeof(line[n]));
		line[n].map.size = sizeof(line[n].map);
		err = vms_walk_next(&walk, &line[n].item);
		if (err)
			break;
		if (line[n].item.is_mapping)
			assert_ok(vms_find(s, line[n].item.addr, &line[n].map));
		line[n].map.object_id = 0;
		/* Bytes behind the last field are nobody's. */
		memset((char *)&line[n].map + end, 0, sizeof(line[n].map) - end);
	}
	assert_int_equal(err, -ENOENT);
	vms_walk_end(&walk);
	return n;
}

static struct vms_region *region_in(struct vms_region *parent, uint64_t addr, uint64_t len,
				    uint32_t rights)
{
	struct vms_place at = { .flags = VMS_PLACE_AT, .addr = addr };
	struct vms_region_params p = { .size = sizeof(p), .rights = rights, .len = len };
	struct vms_region *r = NULL;

	assert_ok(vms_region_create(parent, addr ? &at : NULL, &p, &r, NULL));
	return r;
}

static void regions_and_rights(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 64 * P, 0);
	struct vms_space *s = space_over(soft()), *b, *bb;
	struct vms_region *child[20], *deep;
	struct line want[64], is[64];
	size_t n;

	for (int i = 0; i < 20; i++) /* not in order of address */
		child[i] = region_in(vms_space_root(s), BASE + (uint64_t)(i * 7 % 20) * 64 * P,
				     32 * P, i % 3 ? VMS_REGION_ALL : VMS_PROT_READ | 8u);
	deep = region_in(child[1], BASE + 7 * 64 * P + 4 * P, 8 * P, RW);
	vms_region_unref(deep);
	deep = region_in(child[1], 0, 8 * P, VMS_PROT_READ);
	assert_ok(vms_region_set_priority(child[1], VMS_PRIORITY_HIGH));
	assert_ok(try_map(child[0], BASE, a, P, 3 * P, VMS_PROT_READ, 0));
	assert_ok(try_map(child[1], BASE + 7 * 64 * P + 20 * P, a, 0, 12 * P, RW, 0));
	assert_ok(vms_protect(child[1], BASE + 7 * 64 * P + 24 * P, P, VMS_PROT_READ, 0));
	map(s, BASE + 2000 * P, a, 40 * P, 40 * P, VMS_MAP_SHARE);
	n = describe(s, want, 64);
	assert_true(n > 25);
	b = branch(s);
	good(s);
	good(b);
	assert_int_equal(describe(b, is, 64), n);
	assert_memory_equal(want, is, n * sizeof(*is));
	/* Edits go on in both, as regions and rights say. */
	assert_int_equal(vms_protect(vms_space_root(b), BASE, P, RW, 0), -EACCES);
	assert_ok(vms_unmap(vms_space_root(b), BASE + 64 * P, 100 * 64 * P, 0));
	good(b);
	assert_int_equal(describe(s, is, 64), n);
	assert_memory_equal(want, is, n * sizeof(*is));
	bb = branch(s);
	assert_ok(vms_region_destroy(child[1]));
	good(s);
	assert_int_equal(describe(bb, is, 64), n);
	assert_memory_equal(want, is, n * sizeof(*is));
	good(bb);
	for (int i = 0; i < 20; i++)
		vms_region_unref(child[i]);
	vms_region_unref(deep);
	vms_space_unref(b);
	vms_space_unref(bb);
	vms_space_unref(s);
	vms_object_unref(a);
}

static void random_placement_goes_on(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, P, 0);
	struct vms_mmu *mmu = record();
	struct vms_space_params p = { .size = sizeof(p),
				      .flags = VMS_SPACE_RANDOM,
				      .hi = HI,
				      .mmu = mmu,
				      .seed = 5,
				      .fault_around = 3 };
	struct vms_map_params m = {
		.size = sizeof(m), .prot = RW, .place = { .entropy = 20 }, .object = a, .len = P
	};
	struct vms_space *s = NULL, *b;
	uint64_t one = 0, two = 1;

	assert_ok(vms_space_create(&p, &s));
	vms_mmu_unref(mmu);
	assert_ok(vms_map(vms_space_root(s), &m, NULL));
	b = branch(s);
	assert_ok(vms_map(vms_space_root(s), &m, &one));
	assert_ok(vms_map(vms_space_root(b), &m, &two));
	assert_int_equal(one, two);
	assert_int_equal(s->around, b->around);
	vms_space_unref(s);
	vms_space_unref(b);
	vms_object_unref(a);
}

/* One object under several names and at several places is one in the branch too. */
static void aliases_stay_aliases(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 16 * P, 0);
	struct vms_object *ref = child(a, VMS_CHILD_REFERENCE, 0, 0, 0);
	struct vms_object *slice = child(a, VMS_CHILD_SLICE, 4 * P, 4 * P, 0);
	struct vms_object *inner = child(slice, VMS_CHILD_SLICE, P, 2 * P, 0);
	struct vms_space *s = space_over(soft()), *b;
	const uint64_t at[] = { BASE, BASE + 32 * P, BASE + 64 * P, BASE + 96 * P };
	unsigned char c;

	map(s, at[0], a, 0, 16 * P, 0);
	map(s, at[1], ref, 4 * P, 12 * P, 0); /* page 0 here: 4 */
	map(s, at[2], slice, 0, 8 * P, 0);    /* 4; four pages beyond */
	map(s, at[3], inner, P, 2 * P, 0);    /* 6; one beyond */
	put(a, 0, 16 * P, 'a');
	b = branch(s);
	good(b);
	put(a, 6 * P, P, 'x');
	assert_int_equal(peek(b, at[0] + 6 * P), 'a');
	poke(b, at[3], 'i');
	assert_int_equal(peek(b, at[0] + 6 * P), 'i');
	assert_int_equal(peek(b, at[1] + 2 * P), 'i');
	assert_int_equal(peek(b, at[2] + 2 * P), 'i');
	poke(b, at[1] + P, 'r');
	assert_int_equal(peek(b, at[0] + 5 * P), 'r');
	assert_int_equal(peek(b, at[2] + P), 'r');
	assert_int_equal(peek(s, at[0] + 5 * P), 'a');
	assert_int_equal(peek(s, at[3]), 'x');
	/* A window ends where it did. */
	assert_int_equal(vms_space_read(b, at[2] + 4 * P, &c, 1, NULL, NULL), VMS_FAULT_BEYOND);
	assert_int_equal(vms_space_read(b, at[3] + P, &c, 1, NULL, NULL), VMS_FAULT_BEYOND);
	good(s);
	good(b);
	assert_int_equal(frames_of(a), 18);
	vms_space_unref(s);
	vms_object_unref(a);
	vms_object_unref(ref);
	vms_object_unref(inner);
	assert_int_equal(frames_of(slice), 18);
	vms_object_unref(slice);
	assert_int_equal(peek(b, at[0] + 6 * P), 'i');
	good(b);
	vms_space_unref(b);
}

/* Names of a content of which no whole view is mapped, and none is there any more. */
static void slices_alone(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 16 * P, 0);
	struct vms_object *one = child(a, VMS_CHILD_SLICE, 0, 4 * P, 0);
	struct vms_object *two = child(a, VMS_CHILD_SLICE, 2 * P, 4 * P, 0);
	struct vms_space *s = space_over(soft()), *b;

	map(s, BASE, one, 0, 4 * P, 0);
	map(s, BASE + 4 * P, two, 0, 4 * P, 0);
	put(a, 0, 16 * P, 'a');
	vms_object_unref(a);
	b = branch(s);
	poke(b, BASE + 3 * P, 'x');
	assert_int_equal(peek(b, BASE + 5 * P), 'x');
	assert_int_equal(peek(s, BASE + 5 * P), 'a');
	good(b);
	vms_space_unref(s);
	vms_object_unref(one);
	vms_object_unref(two);
	vms_space_unref(b);
}

/* An overlay's own pages are those of the instant; where it has none, the root shows. */
static void overlays(void **state)
{
	struct fixture *f = *state;
	struct vms_object_params p = { .size = sizeof(p), .bytes = 8 * P };
	struct vms_object *file = NULL, *paged = NULL, *of, *op, *opp;
	struct vms_space *s = space_over(soft()), *b;
	struct vms_pager *pager = NULL;
	int fd = file_of(8 * P, 'f'), backing = file_of(8 * P, 'k');

	assert_ok(vms_object_create_file(f->arena, fd, &p, &file));
	assert_ok(vms_pager_file(backing, &pager));
	assert_ok(vms_object_create_paged(f->arena, pager, 0, &p, &paged));
	of = child(file, VMS_CHILD_SNAPSHOT_LAZY, P, 12 * P, 0);
	op = child(paged, VMS_CHILD_SNAPSHOT_LAZY, 2 * P, 4 * P, 0);
	opp = child(op, VMS_CHILD_SNAPSHOT_MODIFIED, P, 4 * P, 0);
	map(s, BASE, of, 0, 12 * P, 0);
	map(s, BASE + 16 * P, op, 0, 4 * P, 0);
	map(s, BASE + 32 * P, opp, 0, 4 * P, 0);
	poke(s, BASE + P, '1');
	poke(s, BASE + 16 * P, '2');
	poke(s, BASE + 32 * P, '3');
	b = branch(s);
	poke(s, BASE + P, 'x');
	poke(s, BASE + 16 * P, 'x');
	poke(s, BASE + 32 * P, 'x');
	assert_int_equal(peek(b, BASE + P), '1');
	assert_int_equal(peek(b, BASE + P + 1), 'f');
	assert_int_equal(peek(b, BASE), 'f');
	assert_int_equal(peek(b, BASE + 7 * P), 0); /* past the file */
	assert_int_equal(peek(b, BASE + 16 * P), '2');
	assert_int_equal(peek(b, BASE + 16 * P + 1), 'k');
	assert_int_equal(peek(b, BASE + 19 * P), 'k');
	assert_int_equal(peek(b, BASE + 32 * P), '3');
	assert_int_equal(peek(b, BASE + 33 * P), 'k');
	/* The root's changes show where it did before. */
	put(paged, 5 * P, 1, 'r');
	assert_int_equal(peek(b, BASE + 19 * P), 'r');
	poke(b, BASE + 19 * P, 'b');
	assert_int_equal(peek(s, BASE + 19 * P), 'r');
	good(s);
	good(b);
	sound(file);
	sound(paged);
	vms_space_unref(s);
	vms_object_unref(file);
	vms_object_unref(paged);
	vms_object_unref(of);
	vms_object_unref(op);
	vms_object_unref(opp);
	assert_int_equal(peek(b, BASE + 18 * P), 'k');
	vms_space_unref(b);
	vms_pager_close(pager);
	close(fd);
	close(backing);
}

static void shared_is_shared(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 8 * P, 0), *d;
	struct vms_space *s = space_over(soft()), *b;
	struct vms_mapping_info one = { .size = sizeof(one) }, two = { .size = sizeof(two) };

	d = anon(f->arena, 8 * P, VMS_OBJECT_DISCARDABLE);
	map(s, BASE, a, 0, 4 * P, VMS_MAP_SHARE);
	map(s, BASE + 8 * P, a, 0, 4 * P, 0); /* the same, copied here */
	map(s, BASE + 16 * P, d, 0, 8 * P, VMS_MAP_SHARE);
	b = branch(s);
	poke(s, BASE, 's');
	assert_int_equal(peek(b, BASE), 's');
	poke(b, BASE + P, 'b');
	assert_int_equal(peek(s, BASE + P), 'b');
	assert_int_equal(peek(s, BASE + 9 * P), 'b');
	assert_int_equal(peek(b, BASE + 9 * P), 0);
	poke(b, BASE + 16 * P, 'd');
	assert_int_equal(peek(s, BASE + 16 * P), 'd');
	assert_ok(vms_find(s, BASE, &one));
	assert_ok(vms_find(b, BASE, &two));
	assert_int_equal(one.object_id, two.object_id);
	assert_ok(vms_find(b, BASE + 8 * P, &two));
	assert_int_not_equal(one.object_id, two.object_id);
	/* A branch of the branch shares it too, and tells what it is told. */
	vms_space_unref(s);
	s = branch(b);
	poke(b, BASE + 2 * P, 'z');
	assert_int_equal(peek(s, BASE + 2 * P), 'z');
	good(s);
	good(b);
	vms_space_unref(b);
	vms_space_unref(s);
	vms_object_unref(a);
	vms_object_unref(d);
}

static unsigned told;

static void count_told(void *arg)
{
	assert_ptr_equal(arg, &told);
	told++;
}

static void children_are_told_of(void **state)
{
	struct fixture *f = *state;
	struct vms_object_params p = { .size = sizeof(p),
				       .bytes = 4 * P,
				       .no_children = count_told,
				       .arg = &told,
				       .name = "heap" };
	struct vms_space *s = space_over(soft()), *b;
	struct vms_object *a = NULL;
	struct view *v;
	struct map m;

	told = 0;
	assert_ok(vms_object_create(f->arena, &p, &a));
	map(s, BASE, a, 0, 4 * P, 0);
	b = branch(s);
	assert_int_equal(children(a), 1);
	assert_true(tree_find(&b->space.tree, BASE, &m));
	v = view_of(m.obj);
	assert_string_equal(v->object.name, "heap");
	assert_true(v->snapshot);
	assert_int_equal(told, 0);
	vms_space_unref(b);
	assert_int_equal(told, 1);
	assert_int_equal(children(a), 0);
	vms_space_unref(s);
	vms_object_unref(a);
}

/* Sizes are those of the instant. */
static void sizes(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 8 * P, VMS_OBJECT_RESIZABLE);
	struct vms_space *s = space_over(soft()), *b;
	unsigned char c;

	map(s, BASE, a, 0, 16 * P, VMS_MAP_STREAM);
	put(a, 0, 8 * P, 'a');
	assert_ok(vms_object_resize(a, 4 * P + 5, NULL));
	b = branch(s);
	assert_ok(vms_object_resize(a, 12 * P, NULL));
	assert_int_equal(peek(s, BASE + 11 * P), 0);
	assert_int_equal(peek(b, BASE + 4 * P), 'a');
	assert_int_equal(vms_space_read(b, BASE + 5 * P, &c, 1, NULL, NULL), VMS_FAULT_BEYOND);
	assert_ok(vms_object_resize(a, P, NULL));
	assert_int_equal(peek(b, BASE + 3 * P), 'a');
	good(s);
	good(b);
	vms_space_unref(s);
	vms_object_unref(a);
	vms_space_unref(b);
}

static void empty_and_chains(void **state)
{
	struct fixture *f = *state;
	struct vms_space *s = space_over(soft()), *chain[12];
	struct vms_object *a;

	chain[0] = branch(s);
	good(chain[0]);
	vms_space_unref(chain[0]);
	a = anon(f->arena, 600 * P, 0);
	map(s, BASE, a, 0, 600 * P, 0);
	chain[0] = s;
	for (int i = 1; i < 12; i++) {
		chain[i] = branch(chain[i - 1]);
		poke(chain[i], BASE + (uint64_t)i * 50 * P, 'a' + i);
	}
	for (int i = 1; i < 12; i++)
		for (int k = 1; k < 12; k++)
			assert_int_equal(peek(chain[k], BASE + (uint64_t)i * 50 * P),
					 i <= k ? 'a' + i : 0);
	assert_int_equal(frames_of(a), 11);
	for (int i = 0; i < 12; i += 2)
		vms_space_unref(chain[i]);
	assert_int_equal(peek(chain[11], BASE + 500 * P), 'a' + 10);
	assert_int_equal(frames_of(a), granted(f->arena));
	for (int i = 1; i < 12; i += 2) {
		good(chain[i]);
		vms_space_unref(chain[i]);
	}
	assert_int_equal(granted(f->arena), 0);
	vms_object_unref(a);
}

/* ---- What is refused ---- */

static void refused(struct vms_space *s, int want, const char *what)
{
	struct vms_space *b = (void *)&b;
	int err = branch_to(s, soft(), &b);

	if (err != want || !strstr(vms_last_error(), what))
		print_message("%d, not %d: %s\n", err, want, vms_last_error());
	assert_int_equal(err, want);
	assert_non_null(strstr(vms_last_error(), what));
	assert_ptr_equal(b, &b);
	good(s);
}

static void kinds_are_refused(void **state)
{
	struct fixture *f = *state;
	struct vms_object_params p = { .size = sizeof(p), .bytes = 4 * P };
	struct vms_object *a = anon(f->arena, 4 * P, 0), *obj[4] = { NULL };
	struct vms_space *s = space_over(soft()), *b = NULL;
	struct vms_pager *pager = NULL;
	int fd = file_of(4 * P, 'f');
	void *hva = mmap(NULL, 4 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(hva != MAP_FAILED);
	assert_ok(vms_pager_file(fd, &pager));
	assert_ok(vms_object_create_paged(f->arena, pager, 0, &p, &obj[0]));
	assert_ok(vms_object_create_host(hva, &p, &obj[1]));
	obj[2] = anon(f->arena, 4 * P, VMS_OBJECT_CONTIGUOUS);
	obj[3] = anon(f->arena, 4 * P, VMS_OBJECT_DISCARDABLE);
	map(s, BASE, a, 0, 4 * P, 0);
	poke(s, BASE, 'a');
	for (int i = 0; i < 4; i++) {
		map(s, BASE + 8 * P, obj[i], 0, P, VMS_MAP_SHARE);
		map(s, BASE + 0x10000, obj[i], 0, P, 0);
		refused(s, -ENOTSUP, "[0x110000, 0x110fff]");
		assert_int_equal(children(a), 0);
		assert_int_equal(children(obj[i]), 0);
		assert_ok(vms_unmap(vms_space_root(s), BASE + 0x10000, P, 0));
		b = branch(s);
		good(b);
		vms_space_unref(b);
		assert_ok(vms_unmap(vms_space_root(s), BASE + 8 * P, P, 0));
	}
	for (int i = 0; i < 4; i++)
		vms_object_unref(obj[i]);
	vms_space_unref(s);
	vms_object_unref(a);
	vms_pager_close(pager);
	close(fd);
	munmap(hva, 4 * P);
}

static void arguments(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 4 * P, 0);
	struct vms_object *d = anon(f->arena, 4 * P, VMS_OBJECT_DISCARDABLE);
	struct vms_space *s = space_over(soft()), *b = NULL;
	struct vms_mmu_soft_params small = { .size = sizeof(small), .page_size = 1024 };
	struct vms_mmu *mmu = soft(), *other = NULL;
	struct vms_branch_params p = { .size = sizeof(p), .mmu = mmu };

	map(s, BASE, a, 0, 4 * P, 0);
	p.size--;
	assert_int_equal(vms_space_branch(s, &p, &b), -EINVAL);
	assert_int_equal(vms_space_branch(s, NULL, &b), -EINVAL);
	p.size++;
	p.flags = 1;
	assert_int_equal(vms_space_branch(s, &p, &b), -EINVAL);
	p.flags = 0;
	p.mmu = NULL;
	assert_int_equal(vms_space_branch(s, &p, &b), -EINVAL);
	assert_ok(vms_mmu_soft(&small, &other));
	p.mmu = other;
	assert_int_equal(vms_space_branch(s, &p, &b), -EINVAL);
	vms_mmu_unref(other);
	p.mmu = s->mmu;
	assert_int_equal(vms_space_branch(s, &p, &b), -EBUSY);
	/* What cannot be copied is said first. */
	map(s, BASE + 8 * P, d, 0, P, 0);
	assert_int_equal(vms_space_branch(s, &p, &b), -ENOTSUP);
	assert_ok(vms_unmap(vms_space_root(s), BASE + 8 * P, P, 0));
	p.mmu = mmu;
	assert_null(b);
	assert_ok(vms_space_branch(s, &p, &b));
	vms_mmu_unref(mmu);
	vms_space_unref(b);
	vms_space_unref(s);
	vms_object_unref(a);
	vms_object_unref(d);
}

static void pinned_is_busy(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 4 * P, 0), *c = anon(f->arena, 4 * P, 0);
	struct vms_space *s = space_over(soft()), *b;
	struct vms_cpu cpu;

	map(s, BASE, a, 0, 4 * P, 0);
	map(s, BASE + 8 * P, c, 0, 4 * P, 0);
	poke(s, BASE, 'a');
	poke(s, BASE + 8 * P, 'c');
	vms_cpu_init(s->mmu, &cpu);
	for (int i = 0; i < 2; i++) {
		struct vms_object *pin = i ? a : c;

		assert_int_equal(vms_fault(s, BASE, VMS_PROT_WRITE, 0, NULL, NULL), VMS_FAULT_OK);
		assert_ok(vms_object_pin(pin, 0, P, 1, NULL));
		refused(s, -EBUSY, "pinned");
		assert_int_equal(children(a), 0);
		assert_int_equal(children(c), 0);
		/* Not even rights have gone. */
		assert_true(vms_tlb_store64(&cpu, BASE, (uint64_t)i));
		vms_object_unpin(pin, 0, P);
	}
	vms_cpu_fini(&cpu);
	b = branch(s);
	vms_space_unref(b);
	vms_space_unref(s);
	vms_object_unref(a);
	vms_object_unref(c);
}

/* ---- Windows of the host ---- */

static struct vms_space *window(void)
{
	struct vms_mmu_host_params p = { .size = sizeof(p), .hi = UINT64_C(64) << 20 };
	struct vms_mmu *mmu = NULL;
	struct vms_space_params sp = { .size = sizeof(sp), .hi = UINT64_C(64) << 20 };
	struct vms_space *s = NULL;

	assert_ok(vms_mmu_host(&p, &mmu));
	sp.mmu = mmu;
	assert_ok(vms_space_create(&sp, &s));
	vms_mmu_unref(mmu);
	return s;
}

static uint32_t rights_at(struct vms_space *s, uint64_t addr)
{
	const void *hva = NULL;
	uint32_t rights = 0;

	return s->mmu->entries->query(s->mmu, addr, &hva, &rights) ? 0 : rights;
}

static volatile unsigned char *at_host(struct vms_space *s, uint64_t addr)
{
	return vms_mmu_host_addr(s->mmu, addr);
}

/* What was there can be read at once in the branch; who writes first, faults. */
static void host_windows(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 64 * P, 0);
	struct vms_mmu_host_params p = { .size = sizeof(p), .hi = UINT64_C(64) << 20 };
	struct vms_space *s = window(), *b = NULL;
	struct vms_mmu *mmu = NULL;

	map(s, BASE, a, 0, 64 * P, 0);
	put(a, 0, 40 * P, 'a');
	assert_int_equal(vms_fault(s, BASE, VMS_PROT_WRITE, 0, NULL, NULL), VMS_FAULT_OK);
	*at_host(s, BASE) = 'w';
	assert_ok(vms_mmu_host(&p, &mmu));
	assert_ok(branch_to(s, mmu, &b));
	assert_int_equal(rights_at(s, BASE) & VMS_PROT_WRITE, 0);
	for (uint64_t i = 0; i < 40; i++) {
		assert_int_equal(rights_at(b, BASE + i * P), VMS_PROT_READ);
		assert_int_equal(*at_host(b, BASE + i * P), i ? 'a' : 'w');
	}
	assert_int_equal(vms_fault(s, BASE, VMS_PROT_WRITE, 0, NULL, NULL), VMS_FAULT_OK);
	*at_host(s, BASE) = 'x';
	assert_int_equal(vms_fault(b, BASE + P, VMS_PROT_WRITE, 0, NULL, NULL), VMS_FAULT_OK);
	*at_host(b, BASE + P) = 'y';
	assert_int_equal(*at_host(b, BASE), 'w');
	assert_int_equal(peek(b, BASE), 'w');
	assert_int_equal(peek(s, BASE + P), 'a');
	assert_int_equal(peek(b, BASE + P), 'y');
	good(s);
	good(b);
	vms_space_unref(s);
	assert_int_equal(*at_host(b, BASE), 'w');
	good(b);
	vms_space_unref(b);
	vms_object_unref(a);
}

/* A file is shown by a window of the host alone. */
static void shared_file(void **state)
{
	struct fixture *f = *state;
	struct vms_object_params op = { .size = sizeof(op) };
	struct vms_mmu_host_params p = { .size = sizeof(p), .hi = UINT64_C(64) << 20 };
	struct vms_space *s = window(), *b = NULL;
	struct vms_object *file = NULL;
	struct vms_mmu *mmu = NULL;
	int fd = file_of(4 * P, 'f');

	assert_ok(vms_object_create_file(f->arena, fd, &op, &file));
	map(s, BASE, file, 0, 4 * P, VMS_MAP_SHARE);
	refused(s, -ENOTSUP, "[0x100000, 0x103fff] shows a file, which");
	assert_ok(vms_mmu_host(&p, &mmu));
	assert_ok(branch_to(s, mmu, &b));
	poke(s, BASE, 'x');
	assert_int_equal(peek(b, BASE), 'x');
	good(b);
	assert_ok(vms_unmap(vms_space_root(s), BASE, 4 * P, 0));
	map(s, BASE + 8 * P, file, 0, P, 0);
	refused(s, -ENOTSUP, "[0x108000, 0x108fff] shows a file: no snapshot");
	vms_space_unref(s);
	vms_space_unref(b);
	vms_object_unref(file);
	close(fd);
}

static void forked_child(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 4 * P, 0);
	struct vms_space *s = space_over(record()), *b = NULL;
	int status;
	pid_t pid;

	map(s, BASE, a, 0, 4 * P, 0);
	pid = fork();
	if (!pid)
		_exit(branch_to(s, record(), &b) == -ESTALE && !b ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	vms_space_unref(s);
	vms_object_unref(a);
}

/* ---- What it costs ---- */

static uint64_t allocations(struct fixture *f, struct vms_space *s)
{
	struct vms_mmu *mmu = soft();
	uint64_t before;
	struct vms_branch_params p = { .size = sizeof(p), .mmu = mmu };
	struct vms_space *b = NULL;

	epoch_synchronize();
	before = f->world.calls[CALL_ALLOC];
	assert_ok(vms_space_branch(s, &p, &b));
	before = f->world.calls[CALL_ALLOC] - before;
	vms_mmu_unref(mmu);
	vms_space_unref(b);
	return before;
}

static void pages_cost_nothing(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 20000 * P, 0);
	struct vms_space *s = space_over(record());
	uint64_t few, many;

	map(s, BASE, a, 0, 20000 * P, 0);
	few = allocations(f, s);
	put(a, 0, 20000 * P, 'a');
	many = allocations(f, s);
	assert_int_equal(few, many);
	vms_space_unref(s);
	vms_object_unref(a);
}

/* More families than a small list of locks has room for, and a tree of some levels. */
static void many(void **state)
{
#if TSAN
	enum { FAMILIES = 50, MAPS = 5000 }; /* its deadlock detector knows 64 locks a thread */
#else
	enum { FAMILIES = 300, MAPS = 5000 };
#endif
	struct fixture *f = *state;
	struct vms_space *s = space_over(record()), *b;
	struct vms_object *obj[FAMILIES];

	for (int i = 0; i < FAMILIES; i++) {
		obj[i] = anon(f->arena, 4 * P, 0);
		put(obj[i], 0, 1, i);
	}
	for (int i = 0; i < MAPS; i++)
		map(s, BASE + (uint64_t)i * 2 * P, obj[i % FAMILIES], 0, P, 0);
	b = branch(s);
	for (int i = 0; i < FAMILIES; i++)
		put(obj[i], 0, 1, i + 1);
	for (int i = 0; i < MAPS; i++)
		assert_int_equal(peek(b, BASE + (uint64_t)i * 2 * P), (i % FAMILIES) & 0xff);
	good(b);
	poke(b, BASE, 'x');
	assert_int_equal(peek(b, BASE + FAMILIES * 2 * P), 'x');
	vms_space_unref(s);
	good(b);
	vms_space_unref(b);
	for (int i = 0; i < FAMILIES; i++)
		vms_object_unref(obj[i]);
}

/* ---- Failing allocations ---- */

static struct {
	struct fixture *f;
	struct vms_space *s, *b;
	struct vms_object *a, *c, *ref, *slice;
	struct vms_mmu *mmu;
	uint64_t before;
	unsigned errors;
} fs;

static void fail_set_up(void *arg)
{
	struct vms_region *r;

	fs.a = anon(fs.f->arena, 100 * P, VMS_OBJECT_RESIZABLE);
	fs.c = anon(fs.f->arena, 100 * P, 0);
	fs.ref = child(fs.a, VMS_CHILD_REFERENCE, 0, 0, 0);
	fs.slice = child(fs.c, VMS_CHILD_SLICE, 10 * P, 20 * P, 0);
	fs.s = space_over(soft());
	r = region_in(vms_space_root(fs.s), BASE + 1000 * P, 64 * P, RW | VMS_REGION_SPECIFIC);
	vms_region_unref(region_in(r, BASE + 1040 * P, 8 * P, RW));
	map(fs.s, BASE, fs.a, 0, 100 * P, 0);
	map(fs.s, BASE + 200 * P, fs.ref, 5 * P, 10 * P, 0);
	map(fs.s, BASE + 300 * P, fs.slice, 0, 30 * P, 0);
	assert_ok(try_map(r, BASE + 1000 * P, fs.c, 0, 30 * P, RW, 0));
	vms_region_unref(r);
	for (uint64_t i = 0; i < 90; i += 3)
		poke(fs.s, BASE + i * P, (int)i);
	poke(fs.s, BASE + 303 * P, 's');
	fs.before = granted(fs.f->arena);
	fs.mmu = soft();
	fs.b = NULL;
}

static int fail_run(void *arg)
{
	struct vms_branch_params p = { .size = sizeof(p), .mmu = fs.mmu };

	return vms_space_branch(fs.s, &p, &fs.b);
}

static void fail_check(void *arg, int err, bool failed)
{
	good(fs.s);
	assert_int_equal(granted(fs.f->arena), fs.before);
	if (err) {
		assert_int_equal(err, -ENOMEM);
		assert_true(failed);
		assert_null(fs.b);
		fs.errors++;
		assert_int_equal(children(fs.a), 1); /* ref */
		assert_int_equal(children(fs.c), 1);
		assert_int_equal(frames_of(fs.a) + frames_of(fs.c), fs.before);
		assert_ok(fail_run(NULL)); /* the backend is free again, too */
	}
	good(fs.b);
	assert_int_equal(children(fs.a), 2);
	assert_int_equal(peek(fs.b, BASE + 33 * P), 33);
	assert_int_equal(peek(fs.b, BASE + 1013 * P), 's');
}

static void fail_tear_down(void *arg)
{
	vms_space_unref(fs.b);
	vms_mmu_unref(fs.mmu);
	vms_space_unref(fs.s);
	vms_object_unref(fs.a);
	vms_object_unref(fs.c);
	vms_object_unref(fs.ref);
	vms_object_unref(fs.slice);
	epoch_synchronize();
	assert_int_equal(granted(fs.f->arena), 0);
}

static void every_allocation_fails(void **state)
{
	struct sweep sw = { .set_up = fail_set_up,
			    .run = fail_run,
			    .check = fail_check,
			    .tear_down = fail_tear_down };

	fs.f = *state;
	fs.errors = 0;
	sw.world = &fs.f->world;
	sweep(&sw);
	assert_true(fs.errors > 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(both_sides_write, begin, end),
		cmocka_unit_test_setup_teardown(entries_are_downgraded, begin, end),
		cmocka_unit_test_setup_teardown(regions_and_rights, begin, end),
		cmocka_unit_test_setup_teardown(random_placement_goes_on, begin, end),
		cmocka_unit_test_setup_teardown(aliases_stay_aliases, begin, end),
		cmocka_unit_test_setup_teardown(slices_alone, begin, end),
		cmocka_unit_test_setup_teardown(overlays, begin, end),
		cmocka_unit_test_setup_teardown(shared_is_shared, begin, end),
		cmocka_unit_test_setup_teardown(children_are_told_of, begin, end),
		cmocka_unit_test_setup_teardown(sizes, begin, end),
		cmocka_unit_test_setup_teardown(empty_and_chains, begin, end),
		cmocka_unit_test_setup_teardown(kinds_are_refused, begin, end),
		cmocka_unit_test_setup_teardown(arguments, begin, end),
		cmocka_unit_test_setup_teardown(pinned_is_busy, begin, end),
		cmocka_unit_test_setup_teardown(host_windows, begin, end),
		cmocka_unit_test_setup_teardown(shared_file, begin, end),
		cmocka_unit_test_setup_teardown(forked_child, begin, end),
		cmocka_unit_test_setup_teardown(pages_cost_nothing, begin, end),
		cmocka_unit_test_setup_teardown(many, begin, end),
		cmocka_unit_test_setup_teardown(every_allocation_fails, begin, end),
	};

	return cmocka_run_group_tests_name("vspace-branch", tests, NULL, NULL);
}
