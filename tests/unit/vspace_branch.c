// SPDX-License-Identifier: MIT
/* Branches of spaces: what is copied, what stays one, and what is refused. */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "branch_kit.h"

#include "files.h"
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
	assert_ok(map_at(child[0], BASE, a, P, 3 * P, VMS_PROT_READ, 0));
	assert_ok(map_at(child[1], BASE + 7 * 64 * P + 20 * P, a, 0, 12 * P, RW, 0));
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

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(both_sides_write),
		TEST(entries_are_downgraded),
		TEST(regions_and_rights),
		TEST(random_placement_goes_on),
		TEST(aliases_stay_aliases),
		TEST(slices_alone),
		TEST(overlays),
		TEST(shared_is_shared),
		TEST(children_are_told_of),
		TEST(sizes),
		TEST(empty_and_chains),
		TEST(kinds_are_refused),
		TEST(arguments),
		TEST(pinned_is_busy),
	};

	return cmocka_run_group_tests_name("vspace-branch", tests, NULL, NULL);
}
