// SPDX-License-Identifier: MIT
/*
 * How far a fault reaches: rights and ends, neighbours, lengths, waits in the middle, pages of other
 * sizes than the host's, eager backends, and backends without memory.
 */
#include <pthread.h>

#include "vspace_kit.h"

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
	assert_ok(vms_object_op(f->obj, VMS_OBJECT_ZERO, 20 * P, 8 * P, NULL));
	assert_int_equal(fault(f, BASE + 22 * P, R), VMS_FAULT_OK);
	assert_string_equal(picture(f, BASE + 16 * P, 16), "w.....r........r");
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

struct editor {
	struct fixture *f;
	atomic_bool stop;
};

/* The mapping is parted and joined without end: each time it is another one. */
static void *edit_without_end(void *arg)
{
	struct editor *e = arg;

	while (!atomic_load(&e->stop)) {
		assert_ok(vms_protect(vms_space_root(e->f->s), BASE, 2 * P, R, 0));
		assert_ok(vms_protect(vms_space_root(e->f->s), BASE, 2 * P, RW, 0));
	}
	return NULL;
}

/* A fault comes through, however often it is overtaken. */
static void beside_edits_without_end(void **state)
{
	struct fixture *f = *state;
	struct editor e = { .f = f };
	unsigned char buf[64] = { 0 };
	pthread_t thread;

	f->obj = anon(f->arena, 64);
	map(f, f->obj, BASE, 0, 64 * P, RW);
	assert_ok(pthread_create(&thread, NULL, edit_without_end, &e));
	for (unsigned i = 0; i < 3000; i++) {
		uint64_t at = BASE + (2 + i % 62) * P;

		assert_int_equal(fault(f, at, i % 3 ? W : R), VMS_FAULT_OK);
		assert_int_equal(vms_space_write(f->s, at + 8, buf, 64, NULL, NULL), VMS_FAULT_OK);
		assert_int_equal(vms_space_prepare(f->s, at, 2 * P > BASE + 64 * P - at ? P : 2 * P,
						   W, NULL, NULL),
				 VMS_FAULT_OK);
	}
	atomic_store(&e.stop, true);
	pthread_join(thread, NULL);
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

#define test(name)    cmocka_unit_test_setup_teardown(name, begin, end)
#define threads(name) cmocka_unit_test_setup_teardown(name, begin_threads, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
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
		threads(beside_edits_without_end),
		test(small_guest_pages),
		test(large_guest_pages),
		test(eager_stretch),
		test(eager_short_of_memory),
		test(backend_without_memory),
		test(prepare_crosses),
		test(fill_what_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
