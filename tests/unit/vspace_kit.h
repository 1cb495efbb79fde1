/* SPDX-License-Identifier: MIT */
/*
 * vspace_kit.h: a space over the recording backend, objects whose page 0 is in one of the states a
 * page can be in, and what stands in the backend, for the tests of faults and copies.
 *
 * At the end the validator compares the space's entries with what the objects show.
 */
#ifndef TESTS_VSPACE_KIT_H
#define TESTS_VSPACE_KIT_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "maps.h"
#include "mmu/record.h"
#include "pager_script.h"
#include "space/vspace.h"
#include "store/arena.h"
#include "world.h"

#define BASE ((uint64_t)0x100000)
#define R    VMS_PROT_READ
#define W    VMS_PROT_WRITE
#define RW   (R | W)

struct fixture {
	struct test_world world;
	bool counted; /* the world is in use */
	struct script script;
	struct vms_arena *arena;
	struct vms_mmu *mmu;
	struct vms_space *s;
	struct vms_object *obj, *other; /* of a case; NULL: none */
	unsigned char *host;		/* 4 pages */
	struct vms_space_info before;
};

static inline struct vms_space_info info(const struct fixture *f)
{
	struct vms_space_info i = { .size = sizeof(i) };

	assert_ok(vms_space_info(f->s, &i));
	return i;
}

static inline void space_begin(struct fixture *f, uint64_t page_size, uint32_t around, bool eager)
{
	struct vms_space_params p = { .size = sizeof(p),
				      .page_size = page_size,
				      .lo = 0x10000,
				      .hi = UINT64_C(1) << 46,
				      .fault_around = around };

	assert_ok(vms_mmu_record(&f->mmu));
	if (eager)
		record_eager(f->mmu);
	p.mmu = f->mmu;
	assert_ok(vms_space_create(&p, &f->s));
	f->before = info(f);
}

static inline void space_end(struct fixture *f)
{
	int err = vms_space_check(f->s);

	if (err)
		print_message("%s\n", vms_last_error());
	assert_ok(err);
	vms_space_unref(f->s);
	vms_mmu_unref(f->mmu);
}

static inline int begin_in(void **state, bool counted)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->counted = counted;
	if (counted)
		test_world_begin(&f->world);
	script_begin(&f->script);
	f->arena = arena_of(0);
	f->host = mmap(NULL, 4 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(f->host != MAP_FAILED);
	space_begin(f, P, 16, false);
	*state = f;
	return 0;
}

static inline int begin(void **state)
{
	return begin_in(state, true);
}

/* For tests with threads: the counting world is for one. */
static inline int begin_threads(void **state)
{
	return begin_in(state, false);
}

static inline void drop_objects(struct fixture *f)
{
	vms_object_unref(f->other);
	vms_object_unref(f->obj);
	f->obj = f->other = NULL;
}

static inline int end(void **state)
{
	struct fixture *f = *state;

	space_end(f);
	drop_objects(f);
	script_end(&f->script);
	vms_arena_unref(f->arena);
	munmap(f->host, 4 * P);
	if (f->counted)
		test_world_end(&f->world);
	free(f);
	return 0;
}

static inline void map_flags(struct fixture *f, struct vms_object *obj, uint64_t addr, uint64_t off,
			     uint64_t len, uint32_t prot, uint32_t flags)
{
	int err = map_at(vms_space_root(f->s), addr, obj, off, len, prot, flags);

	if (err)
		print_message("map: %s\n", vms_last_error());
	assert_ok(err);
}

static inline void map(struct fixture *f, struct vms_object *obj, uint64_t addr, uint64_t off,
		       uint64_t len, uint32_t prot)
{
	map_flags(f, obj, addr, off, len, prot, 0);
}

static inline void unmap(struct fixture *f, uint64_t addr, uint64_t len)
{
	assert_ok(vms_unmap(vms_space_root(f->s), addr, len, 0));
}

/* ---- What stands afterwards ---- */

/* The rights of the entry at addr; 0: none. */
static inline uint32_t entry(const struct fixture *f, uint64_t addr, const void **hva)
{
	uint32_t rights = 0;

	if (f->mmu->entries->query(f->mmu, addr, hva, &rights))
		return 0;
	return rights;
}

/* Entries [addr, addr + n pages) as letters: '.' none, 'r', 'w'. */
static inline const char *picture(const struct fixture *f, uint64_t addr, unsigned n)
{
	static char text[80];
	const void *hva;

	for (unsigned i = 0; i < n; i++) {
		uint32_t rights = entry(f, addr + i * P, &hva);

		text[i] = !rights ? '.' : rights & W ? 'w' : 'r';
	}
	text[n] = '\0';
	return text;
}

/* What the content has at its page: a frame's bytes, the page of zeros, or the host's memory. */
static inline const void *bytes_at(struct vms_object *obj, uint64_t page)
{
	struct content *c = view_of(obj)->content;
	struct seen s;

	if (c->kind == CONTENT_HOST)
		return c->hva + page * P;
	s = content_see(c, page + view_of(obj)->at);
	return s.frame ? arena_addr(c->arena, s.frame) : mmu_zero_page();
}

static inline uint64_t counter(const struct vms_space_info *i, unsigned which)
{
	const uint64_t n[] = { i->ok,	     i->wait,	i->not_mapped, i->denied, i->beyond,
			       i->discarded, i->io,	i->no_memory,  i->own,	  i->ancestor,
			       i->zero,	     i->copied, i->fresh,      i->around, i->again };

	assert_true(which < sizeof(n) / sizeof(n[0]));
	return n[which];
}

/* Counters, as counter() numbers them; before these, enum vms_fault_result. */
enum { OWN = 8, ANCESTOR, ZERO, COPIED, FRESH, AROUND, AGAIN };

/* By how much the counter has moved since the last mark. */
static inline uint64_t moved(const struct fixture *f, unsigned which)
{
	struct vms_space_info now = info(f);

	return counter(&now, which) - counter(&f->before, which);
}

static inline void mark(struct fixture *f)
{
	f->before = info(f);
}

static inline enum vms_fault_result fault(struct fixture *f, uint64_t addr, uint32_t access)
{
	return vms_fault(f->s, addr, access, 0, NULL, NULL);
}

/* ---- States of a page ---- */

static inline struct vms_object *child(struct vms_object *parent, enum vms_child_kind kind,
				       uint64_t npages)
{
	struct vms_object_params params = { .size = sizeof(params), .bytes = npages * P };
	struct vms_object *obj;

	assert_ok(vms_object_child(parent, kind, 0, &params, &obj));
	return obj;
}

static inline void put(struct vms_object *obj, uint64_t page, int byte)
{
	unsigned char buf[4096];

	memset(buf, byte, sizeof(buf));
	assert_ok(vms_object_write(obj, page * P, buf, sizeof(buf), NULL));
}

static inline struct vms_object *anon_flags(struct fixture *f, uint32_t flags)
{
	struct vms_object_params params = { .size = sizeof(params),
					    .flags = flags,
					    .bytes = 4 * P };
	struct vms_object *obj;

	assert_ok(vms_object_create(f->arena, &params, &obj));
	return obj;
}

static inline void make_zero(struct fixture *f)
{
	f->obj = anon(f->arena, 4);
}

static inline void make_own(struct fixture *f)
{
	make_zero(f);
	put(f->obj, 0, 'o');
}

/* Seen by a snapshot, too. */
static inline void make_shared(struct fixture *f)
{
	make_own(f);
	f->other = child(f->obj, VMS_CHILD_SNAPSHOT, 4);
}

/* The page of a snapshot's parent. */
static inline void make_ancestor(struct fixture *f)
{
	make_own(f);
	f->other = f->obj;
	f->obj = child(f->other, VMS_CHILD_SNAPSHOT, 4);
}

/* A snapshot's own copy. */
static inline void make_copy(struct fixture *f)
{
	make_ancestor(f);
	put(f->obj, 0, 'c');
}

static inline void make_absent(struct fixture *f)
{
	f->obj = paged(f->arena, &f->script, 1, 0, 4);
}

static inline void make_clean(struct fixture *f)
{
	make_absent(f);
	supply(&f->script, f->obj, 1, 0, 1);
}

static inline void make_dirty(struct fixture *f)
{
	make_clean(f);
	put(f->obj, 0, 'd');
}

/* Dirty once, and written back. */
static inline void make_cleaned(struct fixture *f)
{
	make_dirty(f);
	assert_ok(vms_pager_writeback_begin(f->script.pager, f->obj, 0, P, 0));
	assert_ok(vms_pager_writeback_end(f->script.pager, f->obj, 0, P, 0));
}

static inline void supply_zeros(struct fixture *f, struct vms_object *obj)
{
	struct vms_object *empty = anon(f->arena, 4);

	assert_ok(vms_pager_supply(f->script.pager, obj, 0, P, empty, 0));
	vms_object_unref(empty);
}

static inline void make_paged_zero(struct fixture *f)
{
	make_absent(f);
	supply_zeros(f, f->obj);
}

static inline void make_trapped(struct fixture *f)
{
	f->obj = paged(f->arena, &f->script, 1, VMS_OBJECT_TRAP_DIRTY, 4);
	supply(&f->script, f->obj, 1, 0, 1);
}

static inline void make_let_dirty(struct fixture *f)
{
	make_trapped(f);
	assert_ok(vms_pager_dirtied(f->script.pager, f->obj, 0, P));
}

static inline void overlay_of(struct fixture *f)
{
	f->other = f->obj;
	f->obj = child(f->other, VMS_CHILD_SNAPSHOT_LAZY, 4);
}

static inline void make_over_absent(struct fixture *f)
{
	make_absent(f);
	overlay_of(f);
}

static inline void make_over_clean(struct fixture *f)
{
	make_clean(f);
	overlay_of(f);
}

/* What an overlay shows of its root never writes, however dirty the root is. */
static inline void make_over_dirty(struct fixture *f)
{
	make_dirty(f);
	overlay_of(f);
}

static inline void make_over_zero(struct fixture *f)
{
	make_paged_zero(f);
	overlay_of(f);
}

static inline void make_over_file(struct fixture *f)
{
	struct vms_object_params params = { .size = sizeof(params) };
	int fd = memfd_create("fault", MFD_CLOEXEC);

	assert_ok(ftruncate(fd, 4 * P));
	assert_int_equal(pwrite(fd, "f", 1, 0), 1);
	assert_ok(vms_object_create_file(f->arena, fd, &params, &f->obj));
	close(fd);
	overlay_of(f);
}

static inline void make_host(struct fixture *f)
{
	struct vms_object_params params = { .size = sizeof(params), .bytes = 4 * P };

	assert_ok(vms_object_create_host(f->host, &params, &f->obj));
}

static inline void make_contiguous(struct fixture *f)
{
	f->obj = anon_flags(f, VMS_OBJECT_CONTIGUOUS);
}

static inline void make_pinned(struct fixture *f)
{
	make_zero(f);
	assert_ok(vms_object_pin(f->obj, 0, P, 0, NULL));
}

static inline void make_slice(struct fixture *f)
{
	struct vms_object_params params = { .size = sizeof(params), .bytes = 2 * P };

	make_zero(f);
	put(f->obj, 1, 's');
	f->other = f->obj;
	assert_ok(vms_object_child(f->other, VMS_CHILD_SLICE, P, &params, &f->obj));
}

static inline void make_locked(struct fixture *f)
{
	f->obj = anon_flags(f, VMS_OBJECT_DISCARDABLE);
	assert_ok(vms_object_lock(f->obj, NULL));
	put(f->obj, 0, 'l');
}

static inline void make_discarded(struct fixture *f)
{
	make_locked(f);
	assert_ok(vms_object_unlock(f->obj));
	assert_true(arena_evict(f->arena, 1) > 0);
}

static inline void make_detached(struct fixture *f)
{
	make_absent(f);
	assert_ok(vms_pager_detach(f->script.pager, f->obj));
	expect_complete(&f->script, 1);
}

static inline void fail_request(struct script *s, struct vms_object *obj,
				enum vms_request_kind kind, uint64_t off, uint64_t len)
{
	assert_ok(vms_pager_fail(s->pager, obj, off, len, -EIO));
}

static inline void make_failing(struct fixture *f)
{
	f->script.answer = fail_request;
	make_absent(f);
}

#endif
