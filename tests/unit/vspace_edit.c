// SPDX-License-Identifier: MIT
/* vspace_edit.c: the edits of spaces over objects, one case at a time, in pictures. */
#include "vspace_pictures.h"

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

/* An overlay's high mappings keep the pages of its root. */
static void test_priority_of_overlays(void **state)
{
	struct vms_object_params op = { .size = sizeof(op) };
	struct vms_map_params p = at(0, 1, 0, R);
	struct vms_object *file, *lazy;
	const struct content *root;
	char path[] = "/tmp/vspace_edit.XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_ok(unlink(path));
	assert_ok(ftruncate(fd, (off_t)(4 * P)));
	assert_ok(vms_object_create_file(kit->arena, fd, &op, &file));
	close(fd);
	root = view_of(file)->content;
	lazy = child(file, VMS_CHILD_SNAPSHOT_LAZY, 0, 4 * P, 0);
	assert_ok(vms_region_set_priority(kit->root, VMS_PRIORITY_HIGH));
	p.object = lazy;
	assert_ok(vms_map(kit->root, &p, NULL));
	p.place.addr = AT(2);
	assert_ok(vms_map(kit->root, &p, NULL));
	assert_true(view_of(lazy)->content->high == 2 && root->high == 1);
	sound_space(kit->space);
	assert_ok(unmap(kit->root, 0, 1));
	assert_int_equal(root->high, 1);
	assert_ok(vms_region_set_priority(kit->root, VMS_PRIORITY_DEFAULT));
	assert_int_equal(root->high, 0);
	vms_object_unref(lazy);
	vms_object_unref(file);
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
		TEST(test_ceilings),
		TEST(test_protect),
		TEST(test_backend_loses),
		TEST(test_objects_tell),
		TEST(test_small_guest_pages),
		TEST(test_released_with_the_last_mapping),
		TEST(test_many_released_at_once),
		TEST(test_priority),
		TEST(test_priority_of_overlays),
		TEST(test_high_is_not_discarded),
		TEST(test_move),
		TEST(test_move_over),
		TEST(test_move_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
