// SPDX-License-Identifier: MIT
/*
 * Faults on a space over objects: for each state that a page can be in, what a read and a write of
 * it come to, which entry stands afterwards, and which counter moved. Then windows, lengths, ends,
 * waits, and what happens where memory is refused.
 *
 * The backend is the recording one: lazy unless a test says otherwise. After each test the space's
 * validator compares its entries with what the objects show.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
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
	struct script script;
	struct vms_arena *arena;
	struct vms_mmu *mmu;
	struct vms_space *s;
	struct vms_object *obj, *other; /* of a case; NULL: none */
	unsigned char *host;		/* 4 pages */
	struct vms_space_info before;
};

static struct vms_space_info info(const struct fixture *f)
{
	struct vms_space_info i = { .size = sizeof(i) };

	assert_ok(vms_space_info(f->s, &i));
	return i;
}

static void space_begin(struct fixture *f, uint64_t page_size, uint32_t around, bool eager)
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

static void space_end(struct fixture *f)
{
	int err = vms_space_check(f->s);

	if (err)
		print_message("%s\n", vms_last_error());
	assert_ok(err);
	vms_space_unref(f->s);
	vms_mmu_unref(f->mmu);
}

static int begin(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	test_world_begin(&f->world);
	script_begin(&f->script);
	f->arena = arena_of(0);
	f->host = mmap(NULL, 4 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(f->host != MAP_FAILED);
	space_begin(f, P, 16, false);
	*state = f;
	return 0;
}

static void drop_objects(struct fixture *f)
{
	vms_object_unref(f->other);
	vms_object_unref(f->obj);
	f->obj = f->other = NULL;
}

static int end(void **state)
{
	struct fixture *f = *state;

	space_end(f);
	drop_objects(f);
	script_end(&f->script);
	vms_arena_unref(f->arena);
	munmap(f->host, 4 * P);
	test_world_end(&f->world);
	free(f);
	return 0;
}

static void map_flags(struct fixture *f, struct vms_object *obj, uint64_t addr, uint64_t off,
		      uint64_t len, uint32_t prot, uint32_t flags)
{
	struct vms_map_params p = { .size = sizeof(p),
				    .flags = flags,
				    .prot = prot,
				    .place = { .flags = VMS_PLACE_AT, .addr = addr },
				    .object = obj,
				    .off = off,
				    .len = len };
	int err = vms_map(vms_space_root(f->s), &p, NULL);

	if (err)
		print_message("map: %s\n", vms_last_error());
	assert_ok(err);
}

static void map(struct fixture *f, struct vms_object *obj, uint64_t addr, uint64_t off,
		uint64_t len, uint32_t prot)
{
	map_flags(f, obj, addr, off, len, prot, 0);
}

static void unmap(struct fixture *f, uint64_t addr, uint64_t len)
{
	assert_ok(vms_unmap(vms_space_root(f->s), addr, len, 0));
}

/* ---- What stands afterwards ---- */

/* The rights of the entry at addr; 0: none. */
static uint32_t entry(const struct fixture *f, uint64_t addr, const void **hva)
{
	uint32_t rights = 0;

	if (f->mmu->entries->query(f->mmu, addr, hva, &rights))
		return 0;
	return rights;
}

/* Entries [addr, addr + n pages) as letters: '.' none, 'r', 'w'. */
static const char *picture(const struct fixture *f, uint64_t addr, unsigned n)
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
static const void *bytes_at(struct vms_object *obj, uint64_t page)
{
	struct content *c = view_of(obj)->content;
	struct seen s;

	if (c->kind == CONTENT_HOST)
		return c->hva + page * P;
	s = content_see(c, page + view_of(obj)->at);
	return s.frame ? arena_addr(c->arena, s.frame) : mmu_zero_page();
}

static uint64_t counter(const struct vms_space_info *i, unsigned which)
{
	const uint64_t n[] = { i->ok,	     i->wait,	i->not_mapped, i->denied, i->beyond,
			       i->discarded, i->io,	i->no_memory,  i->own,	  i->ancestor,
			       i->zero,	     i->copied, i->fresh,      i->around, i->again };

	assert_true(which < sizeof(n) / sizeof(n[0]));
	return n[which];
}

/* By how much the counter has moved since the last mark. */
static uint64_t moved(const struct fixture *f, unsigned which)
{
	struct vms_space_info now = info(f);

	return counter(&now, which) - counter(&f->before, which);
}

static void mark(struct fixture *f)
{
	f->before = info(f);
}

static enum vms_fault_result fault(struct fixture *f, uint64_t addr, uint32_t access)
{
	return vms_fault(f->s, addr, access, 0, NULL, NULL);
}

/* ---- States of a page ---- */

static struct vms_object *child(struct vms_object *parent, enum vms_child_kind kind,
				uint64_t npages)
{
	struct vms_object_params params = { .size = sizeof(params), .bytes = npages * P };
	struct vms_object *obj;

	assert_ok(vms_object_child(parent, kind, 0, &params, &obj));
	return obj;
}

static void put(struct vms_object *obj, uint64_t page, int byte)
{
	unsigned char buf[4096];

	memset(buf, byte, sizeof(buf));
	assert_ok(vms_object_write(obj, page * P, buf, sizeof(buf), NULL));
}

static struct vms_object *anon_flags(struct fixture *f, uint32_t flags)
{
	struct vms_object_params params = { .size = sizeof(params),
					    .flags = flags,
					    .bytes = 4 * P };
	struct vms_object *obj;

	assert_ok(vms_object_create(f->arena, &params, &obj));
	return obj;
}

static void make_zero(struct fixture *f)
{
	f->obj = anon(f->arena, 4);
}

static void make_own(struct fixture *f)
{
	make_zero(f);
	put(f->obj, 0, 'o');
}

/* Seen by a snapshot, too. */
static void make_shared(struct fixture *f)
{
	make_own(f);
	f->other = child(f->obj, VMS_CHILD_SNAPSHOT, 4);
}

/* The page of a snapshot's parent. */
static void make_ancestor(struct fixture *f)
{
	make_own(f);
	f->other = f->obj;
	f->obj = child(f->other, VMS_CHILD_SNAPSHOT, 4);
}

/* A snapshot's own copy. */
static void make_copy(struct fixture *f)
{
	make_ancestor(f);
	put(f->obj, 0, 'c');
}

static void make_absent(struct fixture *f)
{
	f->obj = paged(f->arena, &f->script, 1, 0, 4);
}

static void make_clean(struct fixture *f)
{
	make_absent(f);
	supply(&f->script, f->obj, 1, 0, 1);
}

static void make_dirty(struct fixture *f)
{
	make_clean(f);
	put(f->obj, 0, 'd');
}

/* Dirty once, and written back. */
static void make_cleaned(struct fixture *f)
{
	make_dirty(f);
	assert_ok(vms_pager_writeback_begin(f->script.pager, f->obj, 0, P, 0));
	assert_ok(vms_pager_writeback_end(f->script.pager, f->obj, 0, P, 0));
}

static void supply_zeros(struct fixture *f, struct vms_object *obj)
{
	struct vms_object *empty = anon(f->arena, 4);

	assert_ok(vms_pager_supply(f->script.pager, obj, 0, P, empty, 0));
	vms_object_unref(empty);
}

static void make_paged_zero(struct fixture *f)
{
	make_absent(f);
	supply_zeros(f, f->obj);
}

static void make_trapped(struct fixture *f)
{
	f->obj = paged(f->arena, &f->script, 1, VMS_OBJECT_TRAP_DIRTY, 4);
	supply(&f->script, f->obj, 1, 0, 1);
}

static void make_let_dirty(struct fixture *f)
{
	make_trapped(f);
	assert_ok(vms_pager_dirtied(f->script.pager, f->obj, 0, P));
}

static void overlay_of(struct fixture *f)
{
	f->other = f->obj;
	f->obj = child(f->other, VMS_CHILD_SNAPSHOT_LAZY, 4);
}

static void make_over_absent(struct fixture *f)
{
	make_absent(f);
	overlay_of(f);
}

static void make_over_clean(struct fixture *f)
{
	make_clean(f);
	overlay_of(f);
}

/* What an overlay shows of its root never writes, however dirty the root is. */
static void make_over_dirty(struct fixture *f)
{
	make_dirty(f);
	overlay_of(f);
}

static void make_over_zero(struct fixture *f)
{
	make_paged_zero(f);
	overlay_of(f);
}

static void make_over_file(struct fixture *f)
{
	struct vms_object_params params = { .size = sizeof(params) };
	int fd = memfd_create("fault", MFD_CLOEXEC);

	assert_ok(ftruncate(fd, 4 * P));
	assert_int_equal(pwrite(fd, "f", 1, 0), 1);
	assert_ok(vms_object_create_file(f->arena, fd, &params, &f->obj));
	close(fd);
	overlay_of(f);
}

static void make_host(struct fixture *f)
{
	struct vms_object_params params = { .size = sizeof(params), .bytes = 4 * P };

	assert_ok(vms_object_create_host(f->host, &params, &f->obj));
}

static void make_contiguous(struct fixture *f)
{
	f->obj = anon_flags(f, VMS_OBJECT_CONTIGUOUS);
}

static void make_pinned(struct fixture *f)
{
	make_zero(f);
	assert_ok(vms_object_pin(f->obj, 0, P, 0, NULL));
}

static void make_slice(struct fixture *f)
{
	struct vms_object_params params = { .size = sizeof(params), .bytes = 2 * P };

	make_zero(f);
	put(f->obj, 1, 's');
	f->other = f->obj;
	assert_ok(vms_object_child(f->other, VMS_CHILD_SLICE, P, &params, &f->obj));
}

static void make_locked(struct fixture *f)
{
	f->obj = anon_flags(f, VMS_OBJECT_DISCARDABLE);
	assert_ok(vms_object_lock(f->obj, NULL));
	put(f->obj, 0, 'l');
}

static void make_discarded(struct fixture *f)
{
	make_locked(f);
	assert_ok(vms_object_unlock(f->obj));
	assert_true(arena_evict(f->arena, 1) > 0);
}

static void make_failing(struct fixture *f);
static void make_detached(struct fixture *f)
{
	make_absent(f);
	assert_ok(vms_pager_detach(f->script.pager, f->obj));
	expect_complete(&f->script, 1);
}

/* Of the expectations: enum vms_fault_result or, past it, how the page came; as counter() has it. */
enum { OWN = 8, ANCESTOR, ZERO, COPIED, FRESH, AROUND, AGAIN };
enum asked { NOBODY, READ, DIRTY };

struct outcome {
	enum vms_fault_result result;
	uint32_t entry; /* rights; 0: none */
	unsigned how;	/* OK */
	enum asked asked;
};

static const struct state {
	const char *name;
	void (*make)(struct fixture *f);
	struct outcome read, write;
} states[] = {
	{ "own", make_own, { 0, RW, OWN }, { 0, RW, OWN } },
	{ "zero", make_zero, { 0, R, ZERO }, { 0, RW, FRESH } },
	{ "shared", make_shared, { 0, R, ANCESTOR }, { 0, RW, COPIED } },
	{ "ancestor's", make_ancestor, { 0, R, ANCESTOR }, { 0, RW, COPIED } },
	{ "copy", make_copy, { 0, RW, OWN }, { 0, RW, OWN } },
	{ "pager's, absent",
	  make_absent,
	  { VMS_FAULT_WAIT, 0, 0, READ },
	  { VMS_FAULT_WAIT, 0, 0, READ } },
	{ "pager's, clean", make_clean, { 0, R, OWN }, { 0, RW, OWN } },
	{ "pager's, dirty", make_dirty, { 0, RW, OWN }, { 0, RW, OWN } },
	{ "pager's, written back", make_cleaned, { 0, R, OWN }, { 0, RW, OWN } },
	{ "pager's, zero", make_paged_zero, { 0, R, ZERO }, { 0, RW, FRESH } },
	{ "trapped, clean", make_trapped, { 0, R, OWN }, { VMS_FAULT_WAIT, 0, 0, DIRTY } },
	{ "trapped, dirty", make_let_dirty, { 0, RW, OWN }, { 0, RW, OWN } },
	{ "overlay, absent",
	  make_over_absent,
	  { VMS_FAULT_WAIT, 0, 0, READ },
	  { VMS_FAULT_WAIT, 0, 0, READ } },
	{ "overlay, the root's", make_over_clean, { 0, R, ANCESTOR }, { 0, RW, COPIED } },
	{ "overlay, the root's dirty", make_over_dirty, { 0, R, ANCESTOR }, { 0, RW, COPIED } },
	{ "overlay, the root's zero", make_over_zero, { 0, R, ZERO }, { 0, RW, FRESH } },
	{ "overlay of a file", make_over_file, { 0, RW, COPIED }, { 0, RW, COPIED } },
	{ "host memory", make_host, { 0, RW, OWN }, { 0, RW, OWN } },
	{ "contiguous", make_contiguous, { 0, RW, OWN }, { 0, RW, OWN } },
	{ "pinned", make_pinned, { 0, RW, OWN }, { 0, RW, OWN } },
	{ "slice", make_slice, { 0, RW, OWN }, { 0, RW, OWN } },
	{ "discardable", make_locked, { 0, RW, OWN }, { 0, RW, OWN } },
	{ "discarded", make_discarded, { VMS_FAULT_DISCARDED }, { VMS_FAULT_DISCARDED } },
	{ "failing pager", make_failing, { VMS_FAULT_IO }, { VMS_FAULT_IO } },
	{ "no pager any more", make_detached, { VMS_FAULT_IO }, { VMS_FAULT_IO } },
};

static void fail_request(struct script *s, struct vms_object *obj, enum vms_request_kind kind,
			 uint64_t off, uint64_t len)
{
	assert_ok(vms_pager_fail(s->pager, obj, off, len, -EIO));
}

static void make_failing(struct fixture *f)
{
	f->script.answer = fail_request;
	make_absent(f);
}

static void check_outcome(struct fixture *f, const struct state *st, uint32_t access)
{
	const struct outcome *o = access == W ? &st->write : &st->read;
	enum vms_fault_result r;
	struct vms_wait wait;
	const void *hva = NULL;
	uint32_t rights;

	vms_wait_init(&wait);
	r = vms_fault(f->s, BASE + 5, access, 0, &wait, NULL);
	rights = entry(f, BASE, &hva);
	if (r != o->result || rights != o->entry)
		print_message("%s, %s: %s, rights %u\n", st->name, access == W ? "write" : "read",
			      vms_fault_name(r), rights);
	assert_int_equal(r, o->result);
	assert_int_equal(rights, o->entry);
	assert_int_equal(moved(f, r), 1);
	if (r == VMS_FAULT_OK) {
		assert_ptr_equal(hva, bytes_at(f->obj, 0));
		for (unsigned how = OWN; how <= FRESH; how++)
			assert_int_equal(moved(f, how), how == o->how);
	}
	if (o->asked) {
		expect(&f->script, o->asked == READ ? NOTE_READ : NOTE_DIRTY, 0, 1);
		vms_wait_cancel(&wait);
		expect(&f->script, o->asked == READ ? NOTE_CANCEL_READ : NOTE_CANCEL_DIRTY, 0, 1);
	}
}

/* Each state is made anew for each access. */
static void run_state(struct fixture *f, const struct state *st, uint32_t access)
{
	st->make(f);
	map(f, f->obj, BASE, 0, 4 * P, RW);
	mark(f);
	check_outcome(f, st, access);
	assert_ok(vms_space_check(f->s));
	unmap(f, BASE, 4 * P);
	assert_string_equal(picture(f, BASE, 4), "....");
	if (st->make == make_pinned)
		assert_ok(vms_object_unpin(f->obj, 0, P));
	f->script.answer = NULL;
	drop_objects(f);
	f->script.n = 0; /* "complete" */
}

static void each_state_read(void **state)
{
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		run_state(*state, &states[i], R);
}

static void each_state_written(void **state)
{
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		run_state(*state, &states[i], W);
}

/* The read's entry gives way to the write's, and the others' views are not disturbed. */
static void read_then_written(void **state)
{
	struct fixture *f = *state;
	const void *before, *after;

	make_ancestor(f);
	map(f, f->obj, BASE, 0, 4 * P, RW);
	map(f, f->other, BASE + 16 * P, 0, 4 * P, RW);
	assert_int_equal(fault(f, BASE, R), VMS_FAULT_OK);
	assert_int_equal(fault(f, BASE + 16 * P, R), VMS_FAULT_OK);
	assert_int_equal(entry(f, BASE, &before), R);
	assert_int_equal(entry(f, BASE + 16 * P, &after), R);
	assert_ptr_equal(before, after);
	assert_int_equal(fault(f, BASE, W), VMS_FAULT_OK);
	assert_int_equal(entry(f, BASE, &after), RW);
	assert_ptr_not_equal(before, after);
	assert_int_equal(entry(f, BASE + 16 * P, &after), R);
	assert_ptr_equal(before, after);
	/* Its last sharer: now it may be written where it is. */
	assert_int_equal(fault(f, BASE + 16 * P, W), VMS_FAULT_OK);
	assert_int_equal(entry(f, BASE + 16 * P, &after), RW);
	assert_ptr_equal(before, after);
	/* A snapshot takes the right to write from both. */
	{
		struct vms_object *third = child(f->obj, VMS_CHILD_SNAPSHOT, 4);

		assert_int_equal(entry(f, BASE, &after), R);
		assert_int_equal(entry(f, BASE + 16 * P, &after), RW);
		vms_object_unref(third);
	}
}

/* ---- Rights, holes and ends ---- */

static void rights_decide(void **state)
{
	struct fixture *f = *state;
	const void *hva;

	make_own(f);
	map(f, f->obj, BASE, 0, 4 * P, R);
	assert_int_equal(fault(f, BASE, W), VMS_FAULT_DENIED);
	assert_int_equal(fault(f, BASE, VMS_PROT_EXEC), VMS_FAULT_DENIED);
	assert_int_equal(fault(f, BASE, 0), VMS_FAULT_DENIED);
	assert_int_equal(fault(f, BASE, RW), VMS_FAULT_DENIED);
	assert_int_equal(fault(f, BASE, 8), VMS_FAULT_DENIED);
	assert_int_equal(fault(f, BASE - 1, R), VMS_FAULT_NOT_MAPPED);
	assert_int_equal(fault(f, BASE + 4 * P, R), VMS_FAULT_NOT_MAPPED);
	assert_int_equal(fault(f, 0, R), VMS_FAULT_NOT_MAPPED);
	assert_int_equal(fault(f, UINT64_MAX, R), VMS_FAULT_NOT_MAPPED);
	assert_int_equal(moved(f, VMS_FAULT_DENIED), 5);
	assert_int_equal(moved(f, VMS_FAULT_NOT_MAPPED), 4);
	assert_string_equal(picture(f, BASE, 4), "....");
	assert_int_equal(fault(f, BASE, R), VMS_FAULT_OK);
	assert_int_equal(entry(f, BASE, &hva), R);
	/* Rights that are added are had by a fault. */
	assert_ok(vms_protect(vms_space_root(f->s), BASE, 4 * P, RW | VMS_PROT_EXEC, 0));
	assert_int_equal(fault(f, BASE, W), VMS_FAULT_OK);
	assert_int_equal(entry(f, BASE, &hva), RW | VMS_PROT_EXEC);
	assert_int_equal(fault(f, BASE + P, VMS_PROT_EXEC), VMS_FAULT_OK);
	assert_int_equal(entry(f, BASE + P, &hva), R | VMS_PROT_EXEC);
	assert_ok(vms_protect(vms_space_root(f->s), BASE, 4 * P, VMS_PROT_NONE, 0));
	assert_int_equal(fault(f, BASE, R), VMS_FAULT_DENIED);
	assert_string_equal(picture(f, BASE, 4), "....");
}

static void ends_of_objects(void **state)
{
	struct fixture *f = *state;
	struct vms_object_params params = { .size = sizeof(params),
					    .flags = VMS_OBJECT_RESIZABLE,
					    .bytes = 4 * P };

	assert_ok(vms_object_create(f->arena, &params, &f->obj));
	map(f, f->obj, BASE, 2 * P, 4 * P, RW);		/* half of it beyond */
	map(f, f->obj, BASE + 8 * P, 9 * P, 2 * P, RW); /* all of it */
	assert_int_equal(fault(f, BASE + P, W), VMS_FAULT_OK);
	assert_int_equal(fault(f, BASE + 2 * P, R), VMS_FAULT_BEYOND);
	assert_int_equal(fault(f, BASE + 2 * P, W), VMS_FAULT_BEYOND);
	assert_int_equal(fault(f, BASE + 8 * P, R), VMS_FAULT_BEYOND);
	assert_int_equal(moved(f, VMS_FAULT_BEYOND), 3);
	assert_ok(vms_object_resize(f->obj, 10 * P, NULL));
	assert_int_equal(fault(f, BASE + 2 * P, W), VMS_FAULT_OK);
	assert_int_equal(fault(f, BASE + 8 * P, W), VMS_FAULT_OK);
	assert_int_equal(fault(f, BASE + 9 * P, R), VMS_FAULT_BEYOND);
	assert_string_equal(picture(f, BASE, 4), ".ww.");
	assert_ok(vms_object_resize(f->obj, 3 * P, NULL));
	assert_string_equal(picture(f, BASE, 4), "....");
	assert_string_equal(picture(f, BASE + 8 * P, 2), "..");
	assert_int_equal(fault(f, BASE + P, R), VMS_FAULT_BEYOND);
}

static void ends_of_streams(void **state)
{
	struct fixture *f = *state;
	uint64_t done;

	f->obj = anon(f->arena, 8);
	for (uint64_t i = 0; i < 8; i++)
		put(f->obj, i, 1);
	map_flags(f, f->obj, BASE, P, 6 * P, RW, VMS_MAP_STREAM);
	map_flags(f, f->obj, BASE + 16 * P, 6 * P, 2 * P, RW, VMS_MAP_STREAM);
	map(f, f->obj, BASE + 32 * P, 0, 8 * P, RW);
	assert_ok(vms_object_set_stream_size(f->obj, 4 * P + 1, NULL));
	assert_int_equal(fault(f, BASE + 3 * P, W), VMS_FAULT_OK);
	assert_int_equal(fault(f, BASE + 4 * P, R), VMS_FAULT_BEYOND);
	assert_int_equal(fault(f, BASE + 16 * P, R), VMS_FAULT_BEYOND); /* starts past it */
	assert_int_equal(fault(f, BASE + 36 * P, R), VMS_FAULT_OK);
	/* Neither fault-around nor a length goes past it. */
	assert_int_equal(fault(f, BASE, R), VMS_FAULT_OK);
	assert_string_equal(picture(f, BASE, 6), "wwww..");
	assert_int_equal(vms_fault(f->s, BASE + 2 * P, W, 4 * P, NULL, &done), VMS_FAULT_OK);
	assert_int_equal(done, 2 * P);
	/* What was shown goes when the stream's end comes down, and a mapping that starts past it shows
	 * when it goes up. */
	assert_ok(vms_object_set_stream_size(f->obj, 2 * P, NULL));
	assert_string_equal(picture(f, BASE + P, 5), ".....");
	assert_int_equal(fault(f, BASE + P, R), VMS_FAULT_BEYOND);
	assert_ok(vms_object_set_stream_size(f->obj, 8 * P, NULL));
	assert_int_equal(fault(f, BASE + 17 * P, R), VMS_FAULT_OK);
}

/* ---- Around ---- */

static void around_what_exists(void **state)
{
	struct fixture *f = *state;
	uint64_t done;

	f->obj = anon(f->arena, 40);
	for (uint64_t i = 0; i < 40; i++)
		if (i % 4 != 3)
			put(f->obj, i, 1);
	map(f, f->obj, BASE, 0, 40 * P, RW);
	assert_int_equal(vms_fault(f->s, BASE + P + 3, R, 0, NULL, &done), VMS_FAULT_OK);
	assert_string_equal(picture(f, BASE, 20), ".ww.www.www.www.w...");
	assert_int_equal(done, 2 * P - 3); /* to the first gap */
	assert_int_equal(moved(f, AROUND), 11);
	assert_int_equal(moved(f, OWN), 1);
	/* The mapping's end, and the object's. */
	unmap(f, BASE + 38 * P, 2 * P);
	assert_int_equal(fault(f, BASE + 36 * P, W), VMS_FAULT_OK);
	assert_string_equal(picture(f, BASE + 32 * P, 8), "....ww..");
	/* No page is made, and zeros are not shown unasked. */
	assert_int_equal(fault(f, BASE + 35 * P, R), VMS_FAULT_OK);
	assert_string_equal(picture(f, BASE + 32 * P, 8), "...rww..");
	assert_int_equal(fault(f, BASE + 31 * P, R), VMS_FAULT_OK);
	assert_string_equal(picture(f, BASE + 28 * P, 8), "...r...r");
}

/* Only pages that are as writable as the first. */
static void around_the_alike(void **state)
{
	struct fixture *f = *state;

	f->obj = anon(f->arena, 16);
	for (uint64_t i = 0; i < 16; i++)
		put(f->obj, i, 1);
	f->other = child(f->obj, VMS_CHILD_SNAPSHOT, 16);
	for (uint64_t i = 0; i < 16; i += 2)
		put(f->obj, i, 2);
	map(f, f->obj, BASE, 0, 16 * P, RW);
	assert_int_equal(fault(f, BASE, R), VMS_FAULT_OK);
	assert_string_equal(picture(f, BASE, 16), "w.w.w.w.w.w.w.w.");
	assert_int_equal(fault(f, BASE + P, R), VMS_FAULT_OK);
	assert_string_equal(picture(f, BASE, 16), "wrwrwrwrwrwrwrwr");
	assert_int_equal(fault(f, BASE + 3 * P, W), VMS_FAULT_OK);
	assert_string_equal(picture(f, BASE, 16), "wrwwwrwrwrwrwrwr");
}

static void around_as_asked(void **state)
{
	struct fixture *f = *state;

	space_end(f);
	space_begin(f, P, 3, false);
	f->obj = anon(f->arena, 16);
	for (uint64_t i = 0; i < 16; i++)
		put(f->obj, i, 1);
	map(f, f->obj, BASE, 0, 16 * P, RW);
	assert_int_equal(fault(f, BASE + P, R), VMS_FAULT_OK);
	assert_string_equal(picture(f, BASE, 8), ".www....");
	assert_int_equal(moved(f, AROUND), 2);
	space_end(f);
	space_begin(f, P, 1, false);
	map(f, f->obj, BASE, 0, 16 * P, RW);
	assert_int_equal(fault(f, BASE + P, R), VMS_FAULT_OK);
	assert_string_equal(picture(f, BASE, 8), ".w......");
	assert_int_equal(moved(f, AROUND), 0);
}

/* A pager's clean pages are not made writable beside a dirty one. */
static void around_dirty(void **state)
{
	struct fixture *f = *state;

	f->obj = paged(f->arena, &f->script, 1, 0, 8);
	supply(&f->script, f->obj, 1, 0, 6);
	put(f->obj, 4, 3);
	map(f, f->obj, BASE, 0, 8 * P, RW);
	assert_int_equal(fault(f, BASE, W), VMS_FAULT_OK);
	assert_string_equal(picture(f, BASE, 8), "w...w...");
	assert_int_equal(fault(f, BASE + P, R), VMS_FAULT_OK);
	assert_string_equal(picture(f, BASE, 8), "wrrrwr..");
	/* Write-back takes the right away, and the next write is told of. */
	assert_ok(vms_pager_writeback_begin(f->script.pager, f->obj, 0, 8 * P, 0));
	assert_string_equal(picture(f, BASE, 8), "rrrrrr..");
	assert_int_equal(fault(f, BASE + 4 * P, W), VMS_FAULT_OK);
	assert_ok(vms_pager_writeback_end(f->script.pager, f->obj, 0, 8 * P, 0));
	assert_string_equal(picture(f, BASE, 8), "rrrrwr..");
	vms_object_unref(f->obj);
	f->obj = NULL;
	unmap(f, BASE, 8 * P);
	expect_complete(&f->script, 1);
}

/* ---- Lengths ---- */

static void a_length_makes_pages(void **state)
{
	struct fixture *f = *state;
	uint64_t done;

	f->obj = anon(f->arena, 64);
	put(f->obj, 2, 1);
	put(f->obj, 60, 1);
	map(f, f->obj, BASE, 0, 64 * P, RW);
	assert_int_equal(vms_fault(f->s, BASE + 1, R, 4 * P, NULL, &done), VMS_FAULT_OK);
	assert_int_equal(done, 4 * P);
	assert_string_equal(picture(f, BASE, 8), "rrwrr...");
	assert_int_equal(moved(f, ZERO), 1);
	assert_int_equal(moved(f, AROUND), 4);
	mark(f);
	assert_int_equal(vms_fault(f->s, BASE + P, W, 40 * P, NULL, &done), VMS_FAULT_OK);
	assert_int_equal(done, 40 * P);
	assert_string_equal(picture(f, BASE, 44), "rwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww...");
	assert_int_equal(moved(f, FRESH), 1);
	assert_int_equal(moved(f, AROUND), 39);
	/* Nothing beyond, though a page is there. */
	assert_int_equal(vms_fault(f->s, BASE + 59 * P, R, P, NULL, &done), VMS_FAULT_OK);
	assert_int_equal(done, P);
	assert_string_equal(picture(f, BASE + 56 * P, 8), "...r....");
}

static void a_length_ends_quietly(void **state)
{
	struct fixture *f = *state;
	uint64_t done = 1;

	f->obj = anon(f->arena, 20);
	map(f, f->obj, BASE, 0, 24 * P, RW); /* 4 pages beyond the object */
	map(f, f->obj, BASE + 24 * P, 0, 4 * P, R);
	assert_int_equal(vms_fault(f->s, BASE + 3, W, 30 * P, NULL, &done), VMS_FAULT_OK);
	assert_int_equal(done, 20 * P - 3);
	assert_int_equal(vms_fault(f->s, BASE + 20 * P, R, P, NULL, &done), VMS_FAULT_BEYOND);
	assert_int_equal(done, 0);
	assert_int_equal(vms_fault(f->s, BASE + 24 * P, R, 30 * P, NULL, &done), VMS_FAULT_OK);
	assert_int_equal(done, 4 * P);
	assert_int_equal(vms_fault(f->s, BASE + 24 * P, R, UINT64_MAX, NULL, &done), VMS_FAULT_OK);
	assert_int_equal(done, 4 * P);
	assert_int_equal(vms_fault(f->s, BASE + 28 * P, R, P, NULL, &done), VMS_FAULT_NOT_MAPPED);
	assert_int_equal(vms_fault(f->s, BASE + 24 * P, W, P, NULL, &done), VMS_FAULT_DENIED);
	assert_int_equal(done, 0);
}

/* An error in the middle keeps what was made, and says how far it came. */
static void a_length_waits(void **state)
{
	struct fixture *f = *state;
	struct vms_wait wait;
	uint64_t done;

	vms_wait_init(&wait);
	f->obj = paged(f->arena, &f->script, 1, 0, 40);
	supply(&f->script, f->obj, 1, 0, 20);
	map(f, f->obj, BASE, 0, 40 * P, RW);
	assert_int_equal(vms_fault(f->s, BASE + P, W, 39 * P, &wait, &done), VMS_FAULT_WAIT);
	assert_int_equal(done, 16 * P);
	assert_string_equal(picture(f, BASE, 24), ".wwwwwwwwwwwwwwww.......");
	expect(&f->script, NOTE_READ, 20, 13);
	supply(&f->script, f->obj, 1, 20, 20);
	assert_ok(vms_wait_block(&wait, 0));
	assert_int_equal(vms_fault(f->s, BASE + P, W, 39 * P, &wait, &done), VMS_FAULT_OK);
	assert_int_equal(done, 39 * P);
	assert_int_equal(moved(f, VMS_FAULT_WAIT), 1);
	vms_object_unref(f->obj);
	f->obj = NULL;
	unmap(f, BASE, 40 * P);
	expect_complete(&f->script, 1);
}

static void fixed_bytes_at_once(void **state)
{
	struct fixture *f = *state;
	struct vms_mmu_counts counts = { .size = sizeof(counts) };
	uint64_t done, maps;

	make_host(f);
	map(f, f->obj, BASE, P, 3 * P, RW);
	assert_ok(vms_mmu_counts(f->mmu, &counts));
	maps = counts.map;
	assert_int_equal(vms_fault(f->s, BASE + 1, R, 0, NULL, &done), VMS_FAULT_OK);
	assert_int_equal(done, 3 * P - 1);
	assert_string_equal(picture(f, BASE, 4), "www.");
	assert_ok(vms_mmu_counts(f->mmu, &counts));
	assert_int_equal(counts.map, maps + 1);
	f->other = anon_flags(f, VMS_OBJECT_CONTIGUOUS);
	map(f, f->other, BASE + 8 * P, 0, 4 * P, RW);
	assert_int_equal(fault(f, BASE + 9 * P, R), VMS_FAULT_OK);
	assert_string_equal(picture(f, BASE + 8 * P, 4), ".www");
	assert_ok(vms_mmu_counts(f->mmu, &counts));
	assert_int_equal(counts.map, maps + 2);
}

/* ---- Waiting ---- */

/* READ, then leave to dirty, then the page: each after its own wait. */
static void waits_twice(void **state)
{
	struct fixture *f = *state;
	struct vms_wait wait;

	vms_wait_init(&wait);
	f->obj = paged(f->arena, &f->script, 1, VMS_OBJECT_TRAP_DIRTY, 4);
	map(f, f->obj, BASE, 0, 4 * P, RW);
	assert_int_equal(vms_fault(f->s, BASE + P, W, 0, &wait, NULL), VMS_FAULT_WAIT);
	expect(&f->script, NOTE_READ, 1, 1);
	assert_int_equal(vms_wait_block(&wait, 0), -ETIMEDOUT);
	supply(&f->script, f->obj, 1, 0, 2);
	assert_ok(vms_wait_block(&wait, 0));
	assert_int_equal(vms_fault(f->s, BASE + P, W, 0, &wait, NULL), VMS_FAULT_WAIT);
	expect(&f->script, NOTE_DIRTY, 1, 1);
	assert_string_equal(picture(f, BASE, 4), "....");
	assert_ok(vms_pager_dirtied(f->script.pager, f->obj, P, P));
	assert_ok(vms_wait_block(&wait, 0));
	assert_int_equal(vms_fault(f->s, BASE + P, W, 0, &wait, NULL), VMS_FAULT_OK);
	assert_string_equal(picture(f, BASE, 4), ".w..");
	assert_int_equal(fault(f, BASE, R), VMS_FAULT_OK);
	assert_string_equal(picture(f, BASE, 4), "rw..");
	/* Without a wait it cannot be had, and nobody is asked. */
	assert_int_equal(fault(f, BASE, W), VMS_FAULT_IO);
	drop_objects(f);
	unmap(f, BASE, 4 * P);
	expect_complete(&f->script, 1);
}

static void supply_at_once(struct script *s, struct vms_object *obj, enum vms_request_kind kind,
			   uint64_t off, uint64_t len)
{
	unsigned char buf[4096] = { 7 };

	for (; len; off += P, len -= P)
		assert_ok(vms_pager_supply_bytes(s->pager, obj, off, buf, P));
}

/* A pager that answers in its request makes nobody wait; the fault looks everything up again. */
static void pager_at_once(void **state)
{
	struct fixture *f = *state;
	struct vms_wait wait;

	vms_wait_init(&wait);
	f->script.answer = supply_at_once;
	make_absent(f);
	map(f, f->obj, BASE, 0, 4 * P, R);
	assert_int_equal(vms_fault(f->s, BASE + P, R, 0, &wait, NULL), VMS_FAULT_OK);
	assert_string_equal(picture(f, BASE, 4), ".r..");
	assert_int_equal(moved(f, AGAIN), 1);
	drop_objects(f);
	unmap(f, BASE, 4 * P);
	expect_complete(&f->script, 1);
}

static struct fixture *unmapping;

static void unmap_at_once(struct script *s, struct vms_object *obj, enum vms_request_kind kind,
			  uint64_t off, uint64_t len)
{
	unmap(unmapping, BASE, 2 * P);
	supply_at_once(s, obj, kind, off, len);
}

/* What was looked up before a wait is not believed after it. */
static void unmapped_meanwhile(void **state)
{
	struct fixture *f = *state;
	struct vms_wait wait;

	vms_wait_init(&wait);
	unmapping = f;
	f->script.answer = unmap_at_once;
	make_absent(f);
	map(f, f->obj, BASE, 0, 4 * P, R);
	assert_int_equal(vms_fault(f->s, BASE + P, R, 0, &wait, NULL), VMS_FAULT_NOT_MAPPED);
	assert_string_equal(picture(f, BASE, 4), "....");
	f->script.answer = supply_at_once;
	drop_objects(f);
	assert_int_equal(vms_fault(f->s, BASE + 2 * P, R, 0, &wait, NULL), VMS_FAULT_OK);
	unmap(f, BASE, 4 * P);
	expect_complete(&f->script, 1);
}

/* ---- Other page sizes ---- */

static void small_guest_pages(void **state)
{
	struct fixture *f = *state;
	uint64_t k = 1024, done;
	const void *hva, *first;

	space_end(f);
	space_begin(f, k, 4, false);
	f->obj = anon(f->arena, 4);
	put(f->obj, 1, 9);
	/* The mapping's start is the object's byte 3 KiB: pages of the two do not fit. */
	map(f, f->obj, BASE + k, 3 * k, 9 * k, RW);
	assert_int_equal(vms_fault(f->s, BASE + 2 * k + 5, R, 0, NULL, &done), VMS_FAULT_OK);
	assert_int_equal(done, 4 * k - 5); /* one content page: four of the guest's */
	for (uint64_t i = 2; i < 6; i++) {
		assert_int_equal(entry(f, BASE + i * k, &hva), RW);
		assert_ptr_equal(hva, (const char *)bytes_at(f->obj, 1) + (i - 2) * k);
	}
	assert_int_equal(entry(f, BASE + 6 * k, &hva), 0);
	assert_int_equal(entry(f, BASE + k, &hva), 0);
	/* A page of zeros, in the middle. */
	assert_int_equal(fault(f, BASE + 7 * k, R), VMS_FAULT_OK);
	assert_int_equal(entry(f, BASE + 7 * k, &hva), R);
	assert_ptr_equal(hva, (const char *)mmu_zero_page() + k);
	assert_int_equal(entry(f, BASE + 6 * k, &hva), 0);
	/* The last bytes of page 0. */
	assert_int_equal(vms_fault(f->s, BASE + k, W, 3 * k, NULL, &done), VMS_FAULT_OK);
	assert_int_equal(done, 3 * k);
	assert_int_equal(entry(f, BASE + k, &first), RW);
	assert_ptr_equal(first, (const char *)bytes_at(f->obj, 0) + 3 * k);
	/* A change of the object takes all that show it. */
	assert_ok(vms_object_op(f->obj, VMS_OBJECT_DECOMMIT, P, P, NULL));
	assert_int_equal(entry(f, BASE + 3 * k, &hva), 0);
	assert_int_equal(entry(f, BASE + k, &hva), RW);
}

static void large_guest_pages(void **state)
{
	struct fixture *f = *state;
	uint64_t done;

	space_end(f);
	space_begin(f, 65536, 0, false);
	f->obj = anon(f->arena, 20);
	put(f->obj, 3, 1);
	put(f->obj, 5, 1);
	map(f, f->obj, 0x100000, 0, 0x20000, RW);
	assert_int_equal(fault(f, 0x100000 + 3 * P + 1, W), VMS_FAULT_OK);
	assert_string_equal(picture(f, 0x100000, 32), "...w.w..........................");
	/* The object ends inside the second page. */
	assert_int_equal(vms_fault(f->s, 0x110000, W, 65536, NULL, &done), VMS_FAULT_OK);
	assert_int_equal(done, 4 * P);
	assert_int_equal(fault(f, 0x110000 + 4 * P, R), VMS_FAULT_BEYOND);
	assert_string_equal(picture(f, 0x100000, 32), "...w.w..........wwww............");
}

/* ---- An eager backend ---- */

/* Whose entries cannot wait for a fault: zeros become frames, a stretch at a time. */
static void eager_stretch(void **state)
{
	struct fixture *f = *state;
	uint64_t at = 0x200000;

	space_end(f);
	space_begin(f, P, 16, true);
	f->obj = anon(f->arena, 64);
	put(f->obj, 18, 1);
	map(f, f->obj, at, 0, 64 * P, RW);
	mark(f);
	assert_string_equal(picture(f, at + 16 * P, 16), "..w.............");
	assert_int_equal(fault(f, at + 25 * P, R), VMS_FAULT_OK);
	assert_string_equal(picture(f, at + 16 * P, 20), "..wwwwwwwwwwwwww....");
	assert_int_equal(moved(f, FRESH), 1);
	assert_int_equal(fault(f, at + 16 * P, W), VMS_FAULT_OK);
	assert_string_equal(picture(f, at + 12 * P, 24), "....wwwwwwwwwwwwwwww....");
	/* At the ends of a mapping. */
	unmap(f, at + 60 * P, 4 * P);
	assert_int_equal(fault(f, at + 50 * P, R), VMS_FAULT_OK);
	assert_string_equal(picture(f, at + 44 * P, 20), "....wwwwwwwwwwww....");
}

static void eager_short_of_memory(void **state)
{
	struct fixture *f = *state;
	uint64_t at = 0x200000;
	struct vms_arena *small;

	space_end(f);
	space_begin(f, P, 16, true);
	small = arena_of(3);
	f->obj = anon(small, 64);
	map(f, f->obj, at, 0, 64 * P, RW);
	assert_int_equal(fault(f, at + 3 * P, R), VMS_FAULT_OK);
	assert_int_equal(fault(f, at + 5 * P, W), VMS_FAULT_OK);
	assert_string_equal(picture(f, at, 16), "...w.w..........");
	assert_int_equal(fault(f, at + 20 * P, W), VMS_FAULT_OK);
	assert_int_equal(fault(f, at + 21 * P, W), VMS_FAULT_NO_MEMORY);
	assert_int_equal(fault(f, at + 21 * P, R), VMS_FAULT_NO_MEMORY);
	assert_int_equal(moved(f, VMS_FAULT_NO_MEMORY), 2);
	vms_arena_unref(small);
}

/* Each state once more: no page of zeros is shown. */
static void eager_states(void **state)
{
	struct fixture *f = *state;

	space_end(f);
	space_begin(f, P, 16, true);
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		struct state st = states[i];

		if (st.read.how == ZERO) {
			st.read.how = FRESH;
			st.read.entry = st.make == make_paged_zero ? R : RW;
		}
		if (st.make == make_trapped)
			st.write.entry = R; /* the edit installed it */
		run_state(f, &st, R);
		run_state(f, &st, W);
	}
}

/* ---- The backend refuses ---- */

static void backend_without_memory(void **state)
{
	struct fixture *f = *state;
	uint64_t done;

	f->obj = anon(f->arena, 16);
	for (uint64_t i = 0; i < 16; i += 2)
		put(f->obj, i, 1);
	map(f, f->obj, BASE, 0, 16 * P, RW);
	vms_mmu_record_fail(f->mmu, 1, ENOMEM);
	assert_int_equal(fault(f, BASE, R), VMS_FAULT_OK); /* the page alone did */
	vms_mmu_record_fail(f->mmu, 2, ENOMEM);
	assert_int_equal(fault(f, BASE + P, W), VMS_FAULT_OK);
	unmap(f, BASE, 16 * P);
	map(f, f->obj, BASE, 0, 16 * P, RW);
	vms_mmu_record_fail(f->mmu, 3, ENOMEM); /* a neighbour's */
	assert_int_equal(fault(f, BASE + 4 * P, R), VMS_FAULT_OK);
	assert_string_equal(picture(f, BASE, 16), "....w.w.........");
	vms_mmu_record_fail(f->mmu, 3, ENOMEM);
	assert_int_equal(vms_fault(f->s, BASE + 8 * P, R, 8 * P, NULL, &done), VMS_FAULT_OK);
	assert_int_equal(done, 8 * P);
}

/* ---- Preparing, filling ---- */

static void prepare_crosses(void **state)
{
	struct fixture *f = *state;
	uint64_t done;

	f->obj = anon(f->arena, 40);
	f->other = anon(f->arena, 40);
	map(f, f->obj, BASE, 0, 20 * P, RW);
	map(f, f->other, BASE + 20 * P, 0, 20 * P, RW);
	map(f, f->obj, BASE + 40 * P, 30 * P, 2 * P, R);
	assert_int_equal(vms_space_prepare(f->s, BASE + 3, 39 * P, W, NULL, &done), VMS_FAULT_OK);
	assert_int_equal(done, 39 * P);
	assert_string_equal(picture(f, BASE, 42), "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww..");
	assert_int_equal(vms_space_prepare(f->s, BASE + 39 * P + 1, 2 * P, W, NULL, &done),
			 VMS_FAULT_DENIED);
	assert_int_equal(done, P - 1);
	assert_int_equal(vms_space_prepare(f->s, BASE + 41 * P, 2 * P, R, NULL, &done),
			 VMS_FAULT_NOT_MAPPED);
	assert_int_equal(done, P);
	assert_int_equal(vms_space_prepare(f->s, BASE, 0, R, NULL, &done), VMS_FAULT_OK);
	assert_int_equal(done, 0);
	assert_int_equal(vms_space_prepare(f->s, 1, UINT64_MAX, R, NULL, &done),
			 VMS_FAULT_NOT_MAPPED);
	assert_int_equal(moved(f, VMS_FAULT_OK), 0); /* not a CPU's */
}

static void fill_what_is_there(void **state)
{
	struct fixture *f = *state;
	uint64_t done, big = UINT64_C(1) << 36;

	f->obj = anon(f->arena, big / P);
	f->other = anon(f->arena, 8);
	put(f->obj, 0, 1);
	put(f->obj, 5, 1);
	put(f->obj, 9000000, 1);
	put(f->other, 1, 1);
	map(f, f->obj, BASE, 0, big, RW);
	map(f, f->other, BASE + big + 3 * P, 0, 4 * P, VMS_PROT_NONE);
	map(f, f->other, BASE + big + 9 * P, 0, 20 * P, R);
	assert_int_equal(space_fill(f->s, BASE + P, BASE + big + 64 * P, FILL_PRESENT, NULL, &done),
			 VMS_FAULT_OK);
	assert_int_equal(done, big + 63 * P + 1);
	assert_string_equal(picture(f, BASE, 8), ".....w..");
	assert_string_equal(picture(f, BASE + 8999999 * P, 3), ".w.");
	assert_string_equal(picture(f, BASE + big, 16), "..........r.....");
	assert_int_equal(space_fill(f->s, BASE, BASE + 3 * P - 1, FILL_READ, NULL, NULL),
			 VMS_FAULT_OK);
	assert_string_equal(picture(f, BASE, 8), "wrr..w..");
	assert_int_equal(space_fill(f->s, BASE + P, BASE + 2 * P - 1, FILL_WRITE, NULL, NULL),
			 VMS_FAULT_OK);
	assert_string_equal(picture(f, BASE, 8), "wwr..w..");
	assert_int_equal(space_fill(f->s, BASE + 2 * P, BASE + 4 * P - 1, FILL_COMMIT, NULL, NULL),
			 VMS_FAULT_OK);
	assert_string_equal(picture(f, BASE, 8), "wwww.w..");
	unmap(f, BASE, big);
}

/* ---- Each allocation refused once ---- */

/* One fault with the n-th allocation refused. False: it made fewer. */
static bool refuse(struct fixture *f, const struct state *st, uint32_t access, uint64_t n)
{
	const struct outcome *o = access == W ? &st->write : &st->read;
	enum vms_fault_result r;
	const void *hva;
	bool failed;

	st->make(f);
	map(f, f->obj, BASE, 0, 4 * P, RW);
	test_world_fail(&f->world, n, 1u << CALL_ALLOC, ENOMEM);
	r = vms_fault(f->s, BASE, access, 0, NULL, NULL);
	failed = f->world.failed > 0;
	test_world_fail(&f->world, 0, 0, 0);
	/* It may do without what it was refused. */
	assert_true(r == VMS_FAULT_OK || (failed && r == VMS_FAULT_NO_MEMORY));
	assert_int_equal(entry(f, BASE, &hva), r == VMS_FAULT_OK ? o->entry : 0);
	assert_ok(vms_space_check(f->s));
	assert_int_equal(fault(f, BASE, access), VMS_FAULT_OK);
	assert_int_equal(entry(f, BASE, &hva), o->entry);
	unmap(f, BASE, 4 * P);
	if (st->make == make_pinned)
		assert_ok(vms_object_unpin(f->obj, 0, P));
	drop_objects(f);
	f->script.n = 0; /* "complete" */
	return failed;
}

static void refused(void **state)
{
	struct fixture *f = *state;
	unsigned refusals = 0;

	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		for (int k = 0; k < 2; k++) {
			const struct outcome *o = k ? &states[i].write : &states[i].read;

			if (o->result != VMS_FAULT_OK)
				continue;
			for (uint64_t n = 1; refuse(f, &states[i], k ? W : R, n); n++)
				refusals++;
		}
	assert_true(refusals >= 6);
}

static void names(void **state)
{
	assert_string_equal(vms_fault_name(VMS_FAULT_OK), "OK");
	assert_string_equal(vms_fault_name(VMS_FAULT_NO_MEMORY), "NO_MEMORY");
	assert_string_equal(vms_fault_name((enum vms_fault_result)77), "?");
	assert_string_equal(vms_fault_name((enum vms_fault_result) - 1), "?");
}

#define test(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(each_state_read),
		test(each_state_written),
		test(read_then_written),
		test(rights_decide),
		test(ends_of_objects),
		test(ends_of_streams),
		test(around_what_exists),
		test(around_the_alike),
		test(around_as_asked),
		test(around_dirty),
		test(a_length_makes_pages),
		test(a_length_ends_quietly),
		test(a_length_waits),
		test(fixed_bytes_at_once),
		test(waits_twice),
		test(pager_at_once),
		test(unmapped_meanwhile),
		test(small_guest_pages),
		test(large_guest_pages),
		test(eager_stretch),
		test(eager_short_of_memory),
		test(eager_states),
		test(backend_without_memory),
		test(prepare_crosses),
		test(fill_what_is_there),
		test(refused),
		test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
