// SPDX-License-Identifier: MIT
/*
 * memory_dirty.c: logs of written pages: what is marked, who gets it, and what a harvest gives.
 * Marks are made by block and by the table's entries here, with no port.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "memory/dirty.h"
#include "objects_kit.h"
#include "random.h"
#include "world.h"

#define MiB (UINT64_C(1) << 20)
#define GiB (UINT64_C(1) << 30)

static struct test_world world;
static struct vms_memory *mem;
static struct vms_block *ram;  /* 1 GiB: several steps of a harvest */
static struct vms_block *tiny; /* 70 pages: a word and a bit */

static struct vms_block *block(uint64_t bytes)
{
	struct vms_block_params p = { .size = sizeof(p), .kind = VMS_BLOCK_ANON, .bytes = bytes };
	struct vms_block *b;

	assert_ok(vms_block_create(mem, &p, &b));
	return b;
}

static int set_up(void **state)
{
	struct vms_memory_params p = { .size = sizeof(p) };

	test_world_begin(&world);
	assert_ok(vms_memory_create(&p, &mem));
	ram = block(GiB);
	tiny = block(70 * P);
	return 0;
}

static int tear_down(void **state)
{
	vms_block_unref(ram);
	vms_block_unref(tiny);
	vms_memory_unref(mem);
	test_world_end(&world);
	return 0;
}

static struct vms_dirty *start(uint64_t page_size, uint32_t flags)
{
	struct vms_dirty_params p = { .size = sizeof(p), .flags = flags, .page_size = page_size };
	struct vms_dirty *log;

	assert_ok(vms_dirty_start(mem, &p, &log));
	return log;
}

static struct vms_dirty *start_external(void *bits, uint64_t bytes, uint32_t flags)
{
	struct vms_dirty_params p = { .size = sizeof(p),
				      .flags = VMS_DIRTY_EXTERNAL | flags,
				      .external = bits,
				      .external_bytes = bytes };
	struct vms_dirty *log;

	assert_ok(vms_dirty_start(mem, &p, &log));
	return log;
}

static void map(uint64_t gpa, uint64_t len, struct vms_block *b, uint64_t off)
{
	struct vms_edit *e;

	assert_ok(vms_edit_begin(mem, &e));
	assert_ok(vms_slot_map(e, gpa, len, b, off, VMS_SLOT_RAM));
	assert_ok(vms_edit_commit(e));
}

static void unmap(uint64_t gpa, uint64_t len)
{
	struct vms_edit *e;

	assert_ok(vms_edit_begin(mem, &e));
	assert_ok(vms_slot_unmap(e, gpa, len));
	assert_ok(vms_edit_commit(e));
}

/* A write through the table, as a port would do it: all under one entry. */
static void write_at(uint64_t gpa, uint64_t len)
{
	const struct table_entry *e;

	assert_true(epoch_enter());
	e = table_find(atomic_load(&mem->table.root), gpa);
	assert_non_null(e);
	assert_true(e->at != 0);
	dirty_wrote(mem, e->more, gpa, len);
	epoch_leave();
}

/* ---- Harvests as text: "first+pages " a run ---- */

static char runs[4096];
static int stop_after; /* runs; 0: never */

static int note_run(void *arg, struct vms_block *b, uint64_t off, uint64_t len)
{
	size_t n = strlen(runs);

	assert_ptr_equal(b, arg);
	snprintf(runs + n, sizeof(runs) - n, "%llu+%llu ", (unsigned long long)(off / P),
		 (unsigned long long)(len / P));
	return stop_after && --stop_after == 0 ? -ECANCELED : 0;
}

static int harvest_range(struct vms_dirty *log, struct vms_block *b, uint64_t off, uint64_t len)
{
	runs[0] = '\0';
	return vms_dirty_harvest(log, b, off, len, note_run, b);
}

static const char *harvest(struct vms_dirty *log, struct vms_block *b)
{
	assert_ok(harvest_range(log, b, 0, b->bytes));
	return runs;
}

/* ---- One log ---- */

static void test_off(void **state)
{
	struct vms_dirty *log;

	vms_dirty_mark(ram, 0, P);
	assert_int_equal(atomic_load(&ram->bits[0]), 0);
	log = start(0, 0);
	assert_string_equal(harvest(log, ram), "");
	vms_dirty_mark(ram, 5 * P, 1);
	vms_dirty_stop(log);
	/* What an ended log left over is not the next one's. */
	assert_int_equal(atomic_load(&ram->bits[0]), 1 << 5);
	log = start(0, 0);
	assert_string_equal(harvest(log, ram), "");
	vms_dirty_stop(log);
	vms_dirty_stop(NULL);
}

static void test_runs(void **state)
{
	struct vms_dirty *log = start(0, 0);

	vms_dirty_mark(ram, 0, 1);
	vms_dirty_mark(ram, 3 * P - 1, 2);
	vms_dirty_mark(ram, 63 * P, 2 * P);
	vms_dirty_mark(ram, 100 * P + 5, 0);
	vms_dirty_mark(ram, 128 * P, 128 * P);
	vms_dirty_mark(ram, GiB - 1, 1);
	assert_string_equal(harvest(log, ram), "0+1 2+2 63+2 128+128 262143+1 ");
	assert_string_equal(harvest(log, ram), "");
	/* Over the border of two steps, and over all of them. */
	vms_dirty_mark(ram, DIRTY_WORDS * 64 * P - P, 2 * P);
	assert_string_equal(harvest(log, ram), "32767+2 ");
	vms_dirty_mark(ram, 0, GiB);
	assert_string_equal(harvest(log, ram), "0+262144 ");
	/* Past the end. */
	vms_dirty_mark(tiny, 69 * P, UINT64_MAX);
	vms_dirty_mark(tiny, 70 * P, P);
	vms_dirty_mark(tiny, UINT64_MAX, P);
	assert_string_equal(harvest(log, tiny), "69+1 ");
	vms_dirty_mark(tiny, 0, UINT64_MAX);
	assert_string_equal(harvest(log, tiny), "0+70 ");
	assert_string_equal(harvest(log, ram), "");
	vms_dirty_stop(log);
}

static void test_ranges(void **state)
{
	struct vms_dirty *log = start(0, 0);

	vms_dirty_mark(tiny, 0, 70 * P);
	assert_ok(harvest_range(log, tiny, 62 * P, 4 * P));
	assert_string_equal(runs, "62+4 ");
	assert_ok(harvest_range(log, tiny, 70 * P, 0));
	assert_string_equal(runs, "");
	assert_string_equal(harvest(log, tiny), "0+62 66+4 ");
	assert_int_equal(harvest_range(log, tiny, 1, P), -EINVAL);
	assert_int_equal(harvest_range(log, tiny, 0, 1), -EINVAL);
	assert_int_equal(harvest_range(log, tiny, 0, 71 * P), -ERANGE);
	assert_int_equal(harvest_range(log, tiny, 71 * P, 0), -ERANGE);
	assert_int_equal(harvest_range(log, tiny, P, UINT64_MAX - P + 1), -ERANGE);
	assert_int_equal(vms_dirty_harvest(log, NULL, 0, P, note_run, NULL), -EINVAL);
	vms_dirty_stop(log);
}

static void test_alien(void **state)
{
	struct vms_memory_params p = { .size = sizeof(p) };
	struct vms_dirty *log = start(0, 0);
	struct vms_memory *mine = mem, *other;
	struct vms_block *b;

	assert_ok(vms_memory_create(&p, &other));
	mem = other;
	b = block(P);
	mem = mine;
	assert_int_equal(harvest_range(log, b, 0, P), -EINVAL);
	vms_block_unref(b);
	vms_memory_unref(other);
	vms_dirty_stop(log);
}

static void test_params(void **state)
{
	const struct vms_dirty_params good = { .size = sizeof(good) };
	struct vms_dirty_params bad[10];
	struct vms_dirty *log = NULL, *logs[VMS_DIRTY_LOGS];
	static uint8_t bits[8];

	for (unsigned i = 0; i < 10; i++)
		bad[i] = good;
	bad[0].size--;
	bad[1].flags = 4;
	bad[2].page_size = 2048;
	bad[3].page_size = 3 * P;
	bad[4].page_size = 2 * GiB;
	bad[5].flags = VMS_DIRTY_EXTERNAL;
	bad[6].flags = VMS_DIRTY_EXTERNAL;
	bad[6].external = bits;
	bad[7] = bad[6];
	bad[7].external_bytes = 8;
	bad[7].page_size = 8192;
	bad[8].external = bits;
	bad[9].external_bytes = 8;
	/* In a bracket: what fails does not wait for it. */
	assert_true(epoch_enter());
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(vms_dirty_start(mem, &bad[i], &log), -EINVAL);
	assert_int_equal(vms_dirty_start(mem, NULL, &log), -EINVAL);
	for (unsigned i = 0; i < VMS_DIRTY_LOGS; i++)
		logs[i] = start(0, 0);
	bad[6].external_bytes = 8;
	assert_int_equal(vms_dirty_start(mem, &bad[6], &log), -EBUSY);
	epoch_leave();
	assert_null(log);
	for (unsigned i = 0; i < VMS_DIRTY_LOGS; i++)
		vms_dirty_stop(logs[i]);
}

static void test_stopped_by_fn(void **state)
{
	struct vms_dirty *log = start(0, 0);

	for (unsigned i = 0; i < 10; i++)
		vms_dirty_mark(ram, i * 40 * P, P);
	vms_dirty_mark(ram, GiB / 2, 2 * P);
	stop_after = 3;
	assert_int_equal(harvest_range(log, ram, 0, GiB), -ECANCELED);
	assert_string_equal(runs, "0+1 40+1 80+1 ");
	vms_dirty_mark(ram, 40 * P, P);
	assert_string_equal(harvest(log, ram),
			    "40+1 120+1 160+1 200+1 240+1 280+1 320+1 360+1 131072+2 ");
	/* At the last one nothing is left to be put back. */
	vms_dirty_mark(ram, 7 * P, P);
	stop_after = 1;
	assert_int_equal(harvest_range(log, ram, 0, GiB), -ECANCELED);
	assert_string_equal(harvest(log, ram), "");
	vms_dirty_stop(log);
}

static void test_page_sizes(void **state)
{
	struct vms_dirty *k64 = start(65536, 0), *m2 = start(2 * MiB, 0), *g1 = start(GiB, 0);

	assert_int_equal(harvest_range(k64, ram, P, 65536), -EINVAL);
	vms_dirty_mark(ram, 65536 + 5 * P, 1);
	vms_dirty_mark(ram, 65536 + 15 * P, P + 1);
	vms_dirty_mark(ram, 3 * MiB, P);
	vms_dirty_mark(ram, GiB - 1, 1);
	vms_dirty_mark(tiny, 65 * P, 1);
	assert_string_equal(harvest(k64, ram), "16+32 768+16 262128+16 ");
	assert_string_equal(harvest(m2, ram), "0+1024 261632+512 ");
	assert_string_equal(harvest(g1, ram), "0+262144 ");
	assert_string_equal(harvest(g1, ram), "");
	/* A page that the block's end cuts. */
	assert_ok(harvest_range(k64, tiny, 64 * P, 6 * P));
	assert_string_equal(runs, "64+6 ");
	assert_string_equal(harvest(m2, tiny), "0+70 ");
	/* A run that was not given is back, as a page of the log. */
	vms_dirty_mark(ram, 5 * MiB, P);
	vms_dirty_mark(ram, 300 * MiB, P);
	stop_after = 1;
	assert_int_equal(harvest_range(m2, ram, 0, GiB), -ECANCELED);
	assert_string_equal(runs, "1024+512 ");
	assert_string_equal(harvest(m2, ram), "76800+512 ");
	vms_dirty_stop(k64);
	vms_dirty_stop(m2);
	vms_dirty_stop(g1);
}

static void test_all_set(void **state)
{
	struct vms_dirty *all = start(0, VMS_DIRTY_ALL_SET), *log = start(0, 0);
	struct vms_block *late = block(3 * P);

	assert_string_equal(harvest(all, ram), "0+262144 ");
	assert_string_equal(harvest(all, tiny), "0+70 ");
	assert_string_equal(harvest(all, tiny), "");
	assert_string_equal(harvest(all, late), "0+3 ");
	assert_string_equal(harvest(log, ram), "");
	assert_string_equal(harvest(log, late), "");
	vms_dirty_mark(late, 0, P);
	assert_string_equal(harvest(log, late), "0+1 ");
	assert_string_equal(harvest(all, late), "0+1 ");
	vms_dirty_stop(all);
	vms_dirty_stop(log);
	vms_block_unref(late);
}

/* ---- Several ---- */

static void test_two(void **state)
{
	struct vms_dirty *a = start(0, 0), *b;

	vms_dirty_mark(tiny, P, P);
	b = start(0, 0);
	vms_dirty_mark(tiny, 3 * P, P);
	assert_string_equal(harvest(b, tiny), "3+1 ");
	vms_dirty_mark(tiny, 3 * P, P);
	vms_dirty_mark(tiny, 5 * P, P);
	assert_string_equal(harvest(a, tiny), "1+1 3+1 5+1 ");
	assert_string_equal(harvest(a, tiny), "");
	assert_string_equal(harvest(b, tiny), "3+1 5+1 ");
	vms_dirty_mark(tiny, 9 * P, P);
	vms_dirty_stop(a);
	assert_string_equal(harvest(b, tiny), "9+1 ");
	vms_dirty_stop(b);
}

static void test_limit(void **state)
{
	struct vms_dirty_params p = { .size = sizeof(p) };
	struct vms_dirty *log[VMS_DIRTY_LOGS], *more;

	for (unsigned i = 0; i < VMS_DIRTY_LOGS; i++)
		log[i] = start(0, 0);
	assert_int_equal(vms_dirty_start(mem, &p, &more), -EBUSY);
	vms_dirty_stop(log[1]);
	log[1] = start(0, 0);
	assert_int_equal(vms_dirty_start(mem, &p, &more), -EBUSY);
	vms_dirty_mark(tiny, 0, P);
	for (unsigned i = 0; i < VMS_DIRTY_LOGS; i++) {
		assert_string_equal(harvest(log[i], tiny), "0+1 ");
		vms_dirty_stop(log[i]);
	}
}

/* An ended log gives its bitmaps back, also those of blocks that came and went. */
static void test_memory_back(void **state)
{
	size_t live = world.live_bytes;
	struct vms_dirty *log = start(0, 0);
	struct vms_block *late = block(P), *large = block(GiB);

	assert_non_null(late->log[0]);
	assert_non_null(large->log[0]);
	assert_ok(vms_block_remove(late));
	vms_block_unref(late);
	vms_memory_synchronize(mem);
	vms_dirty_stop(log);
	assert_null(ram->log[0]);
	assert_null(tiny->log[0]);
	assert_null(large->log[0]);
	assert_ok(vms_block_remove(large));
	vms_block_unref(large);
	vms_memory_synchronize(mem);
	assert_int_equal(world.live_bytes, live);
}

/* A log holds the memory. */
static void test_holds(void **state)
{
	struct vms_memory_params p = { .size = sizeof(p) };
	struct vms_memory *mine = mem;
	struct vms_dirty *log;
	struct vms_block *b;

	assert_ok(vms_memory_create(&p, &mem));
	b = block(2 * P);
	log = start(0, 0);
	vms_memory_unref(mem);
	vms_dirty_mark(b, P, 1);
	assert_string_equal(harvest(log, b), "1+1 ");
	vms_dirty_stop(log);
	vms_block_unref(b);
	mem = mine;
}

/* ---- By the table ---- */

static void test_entries(void **state)
{
	struct vms_dirty *log = start(0, 0);

	map(GiB, 64 * P, ram, 128 * P);
	map(7 * P, 3 * P, tiny, 67 * P);
	write_at(GiB + 5, 1);
	write_at(GiB + 3 * P - 1, 2);
	write_at(9 * P + 4095, 1);
	assert_string_equal(harvest(log, ram), "128+1 130+2 ");
	assert_string_equal(harvest(log, tiny), "69+1 ");
	/* A store to the last page of the 64-bit space. */
	map(UINT64_MAX - 2 * P + 1, 2 * P, tiny, 0);
	write_at(UINT64_MAX, 1);
	write_at(UINT64_MAX - 2 * P + 1, 2 * P);
	assert_string_equal(harvest(log, tiny), "0+2 ");
	vms_dirty_stop(log);
}

/* A mark stays with the block, whatever becomes of the slots. */
static void test_moves(void **state)
{
	struct vms_dirty *log = start(0, 0);

	map(0, 16 * P, ram, 0);
	write_at(5 * P, 8);
	map(64 * P, 16 * P, ram, 0);
	unmap(0, 16 * P);
	write_at(70 * P, 8);
	map(64 * P, 8 * P, ram, 100 * P);
	write_at(69 * P, 8);
	unmap(64 * P, 16 * P);
	assert_string_equal(harvest(log, ram), "5+2 105+1 ");
	vms_dirty_stop(log);
}

/* ---- External ---- */

static void test_external(void **state)
{
	uint8_t bits[9], want[9] = { 0 };
	struct vms_dirty *log;

	memset(bits, 0, sizeof(bits));
	log = start_external(bits, 8, 0);
	map(0, 8 * P, ram, 0);
	map(16 * P, 8 * P, ram, 4 * P);
	map(60 * P, 70 * P, tiny, 0);
	write_at(P, 1);
	write_at(6 * P, 2 * P);
	want[0] = 0xc2;
	assert_memory_equal(bits, want, 9);
	/* By block: pages 3, 4, 5 of ram stand at 3 to 5, and 4, 5 at 16, 17 too. */
	vms_dirty_mark(ram, 3 * P + 1, 2 * P);
	want[0] |= 0x38;
	want[2] = 0x03;
	assert_memory_equal(bits, want, 9);
	/* What lies past the log's end is not logged. */
	write_at(62 * P, 4 * P);
	vms_dirty_mark(tiny, 0, 70 * P);
	want[7] = 0xf0;
	assert_memory_equal(bits, want, 9);
	assert_int_equal(harvest_range(log, ram, 0, P), -EINVAL);
	vms_dirty_stop(log);
	memset(bits, 0, sizeof(bits));
	memset(want, 0, sizeof(want));
	write_at(P, 1);
	vms_dirty_mark(ram, 0, P);
	assert_memory_equal(bits, want, 9);
	/* Beside one of ours: each its own; all that stands is set. */
	log = start(0, 0);
	write_at(2 * P, 1);
	{
		struct vms_dirty *ext = start_external(bits, 9, VMS_DIRTY_ALL_SET);

		want[0] = 0xff;
		want[2] = 0xff;
		want[7] = 0xf0;
		want[8] = 0xff;
		assert_memory_equal(bits, want, 9);
		memset(bits, 0, sizeof(bits));
		memset(want, 0, sizeof(want));
		write_at(4 * P, 1);
		vms_dirty_stop(ext);
	}
	want[0] = 0x10;
	assert_memory_equal(bits, want, 9);
	assert_string_equal(harvest(log, ram), "2+1 4+1 ");
	vms_dirty_stop(log);
}

/* A part of what one entry of the table shows. */
static void test_external_large(void **state)
{
	static uint8_t bits[4 * 64], want[4 * 64];
	struct vms_dirty *ext = start_external(bits, sizeof(bits), 0);

	map(2 * MiB, 6 * MiB, ram, 2 * MiB);
	vms_dirty_mark(ram, 3 * MiB + 1, 2);
	want[3 * 32] = 1;
	assert_memory_equal(bits, want, sizeof(bits));
	/* From inside one entry into the next. */
	vms_dirty_mark(ram, 4 * MiB - P, 2 * P);
	want[4 * 32 - 1] = 0x80;
	want[4 * 32] = 1;
	assert_memory_equal(bits, want, sizeof(bits));
	/* What is not shown, up to what is. */
	vms_dirty_mark(ram, MiB, MiB);
	assert_memory_equal(bits, want, sizeof(bits));
	vms_dirty_mark(ram, MiB, MiB + P);
	want[2 * 32] = 1;
	assert_memory_equal(bits, want, sizeof(bits));
	vms_dirty_stop(ext);
	unmap(2 * MiB, 6 * MiB);
}

/* Of a managed block, whose entry is slow. */
static void test_external_managed(void **state)
{
	struct vms_arena *arena = arena_of(0);
	struct vms_object *obj = anon(arena, 8 * P, 0);
	struct vms_block_params p = { .size = sizeof(p), .kind = VMS_BLOCK_OBJECT, .object = obj };
	struct vms_dirty *log, *ext;
	struct vms_block *b, *other;
	uint8_t bits[2] = { 0 };

	assert_ok(vms_block_create(mem, &p, &b));
	assert_ok(vms_block_create(mem, &p, &other));
	assert_null(b->hva);
	map(2 * P, 4 * P, b, 3 * P);
	map(8 * P, 8 * P, other, 0);
	log = start(0, 0);
	ext = start_external(bits, 2, 0);
	vms_dirty_mark(b, 5 * P, P);
	assert_int_equal(bits[0], 0x10);
	vms_dirty_mark(b, 0, 3 * P);
	vms_dirty_mark(b, 7 * P, P);
	assert_int_equal(bits[0], 0x10);
	assert_int_equal(bits[1], 0);
	assert_string_equal(harvest(log, b), "0+3 5+1 7+1 ");
	assert_string_equal(harvest(log, other), "");
	vms_dirty_stop(log);
	vms_dirty_stop(ext);
	unmap(0, 16 * P);
	assert_ok(vms_block_remove(b));
	assert_ok(vms_block_remove(other));
	vms_block_unref(b);
	vms_block_unref(other);
	vms_memory_synchronize(mem);
	vms_object_unref(obj);
	vms_arena_unref(arena);
}

/* ---- Backends ---- */

static char told[1024];
static int refuse; /* the letter that is refused with -EIO */

static int tell(char what, uint64_t first, uint64_t n)
{
	size_t at = strlen(told);

	if (n)
		snprintf(told + at, sizeof(told) - at, "%c%llu+%llu ", what,
			 (unsigned long long)first, (unsigned long long)n);
	else
		snprintf(told + at, sizeof(told) - at, "%c ", what);
	return refuse == what ? -EIO : 0;
}

static int on_start(void *arg)
{
	return tell('[', 0, 0);
}

static void on_stop(void *arg)
{
	tell(']', 0, 0);
}

static int on_sync(void *arg)
{
	vms_dirty_mark(tiny, 11 * P, P);
	return tell('s', 0, 0);
}

static int on_clear(void *arg, struct vms_block *b, uint64_t off, uint64_t len)
{
	return tell('c', off / P, len / P);
}

static const struct vms_listener_ops ops = { .size = sizeof(ops),
					     .log_start = on_start,
					     .log_stop = on_stop,
					     .log_sync = on_sync,
					     .log_clear = on_clear };

static int note_told(void *arg, struct vms_block *b, uint64_t off, uint64_t len)
{
	return tell('r', off / P, len / P) == 0 ? note_run(b, b, off, len) : 0;
}

static void test_backends(void **state)
{
	struct vms_dirty_params p = { .size = sizeof(p) };
	struct vms_dirty *a, *b;

	assert_ok(vms_memory_listen(mem, &ops, NULL));
	told[0] = '\0';
	refuse = '[';
	assert_int_equal(vms_dirty_start(mem, &p, &a), -EIO);
	assert_null(ram->log[0]);
	assert_int_equal(atomic_load(&mem->logging) & LOGGING_ON, 0);
	refuse = 0;
	a = start(0, 0);
	b = start(0, 0);
	assert_string_equal(told, "[ [ ");
	told[0] = '\0';
	assert_ok(vms_dirty_sync(a));
	vms_dirty_mark(tiny, 20 * P, P);
	vms_dirty_mark(tiny, 68 * P, P);
	runs[0] = '\0';
	assert_ok(vms_dirty_harvest(b, tiny, 0, 70 * P, note_told, NULL));
	/* Trapped again before anything is read. */
	assert_string_equal(told, "s c11+58 r11+1 r20+1 r68+1 ");
	told[0] = '\0';
	refuse = 'c';
	assert_int_equal(harvest_range(a, tiny, 0, 70 * P), -EIO);
	assert_string_equal(told, "c11+58 ");
	assert_string_equal(runs, "");
	refuse = 's';
	assert_int_equal(vms_dirty_sync(b), -EIO);
	refuse = 0;
	assert_string_equal(harvest(a, tiny), "11+1 20+1 68+1 ");
	/* A run of an earlier step is in hand when a later one fails: both go back. */
	vms_dirty_mark(ram, 5 * P, P);
	vms_dirty_mark(ram, DIRTY_WORDS * 64 * P + 5 * P, P);
	told[0] = '\0';
	assert_string_equal(harvest(b, ram), "5+1 32773+1 ");
	assert_string_equal(told, "c5+1 c32773+1 ");
	vms_dirty_mark(ram, 9 * P, P);
	assert_string_equal(harvest(a, ram), "5+1 9+1 32773+1 ");
	told[0] = '\0';
	vms_dirty_stop(a);
	assert_string_equal(told, "");
	vms_dirty_stop(b);
	assert_string_equal(told, "] ");
	assert_ok(vms_memory_unlisten(mem, &ops, NULL));
}

/* ---- The barrier ---- */

/* Granted when the process began and refused later: nothing is lost, and the caller hears of it. */
static void test_barrier_refused(void **state)
{
	struct vms_dirty_params p = { .size = sizeof(p) };
	struct vms_dirty *log, *other;

	if (epoch_needs_fences())
		skip();
	log = start(0, 0);
	vms_dirty_mark(tiny, 3 * P, P);
	test_world_fail(&world, 1, 1u << CALL_MEMBARRIER, EPERM);
	world.fail_more = 1000;
	assert_int_equal(harvest_range(log, tiny, 0, 70 * P), -EPERM);
	assert_int_equal(vms_dirty_start(mem, &p, &other), -EPERM);
	/* With nothing to collect none is needed. */
	assert_int_equal(harvest_range(log, ram, 0, GiB), 0);
	test_world_fail(&world, 0, 0, 0);
	assert_string_equal(harvest(log, tiny), "3+1 ");
	vms_dirty_stop(log);
}

/* ---- Against sets of pages ---- */

#define BLOCKS 3u

static const uint64_t model_pages[BLOCKS] = { 70, 3 * 4096, 100000 };
static const unsigned model_shifts[] = { 0, 1, 4, 9, 18 };

struct model_log {
	struct vms_dirty *log;
	unsigned shift;	     /* pages of the log are 1 << shift of ours */
	bool *dirty[BLOCKS]; /* a page of the log */
};

struct expect {
	const bool *dirty;
	uint64_t at, end; /* pages of the log */
	uint64_t pages;	  /* of the block */
	unsigned shift;
	int left; /* runs until it says stop */
};

static int expect_run(void *arg, struct vms_block *b, uint64_t off, uint64_t len)
{
	struct expect *x = arg;
	uint64_t first, end;

	while (x->at < x->end && !x->dirty[x->at])
		x->at++;
	first = x->at;
	while (x->at < x->end && x->dirty[x->at])
		x->at++;
	assert_true(first < x->at);
	end = x->at << x->shift < x->pages ? x->at << x->shift : x->pages;
	assert_int_equal(off, (first << x->shift) * P);
	assert_int_equal(len, (end - (first << x->shift)) * P);
	return --x->left == 0 ? 7 : 0;
}

static void model_harvest(struct model_log *m, struct vms_block **b, uint32_t *rng)
{
	unsigned i = next32(rng) % BLOCKS;
	uint64_t n = ((model_pages[i] - 1) >> m->shift) + 1, first = next32(rng) % n;
	uint64_t end = next32(rng) % 4 ? n : first + 1 + next32(rng) % (n - first);
	uint64_t off = (first << m->shift) * P, last = (end << m->shift) * P;
	struct expect x = { .dirty = m->dirty[i],
			    .at = first,
			    .end = end,
			    .pages = model_pages[i],
			    .shift = m->shift,
			    .left = next32(rng) % 4 ? -1 : 1 + (int)(next32(rng) % 8) };
	int err;

	if (last > b[i]->bytes)
		last = b[i]->bytes;
	err = vms_dirty_harvest(m->log, b[i], off, last - off, expect_run, &x);
	assert_int_equal(err, x.left == 0 ? 7 : 0);
	if (x.left != 0)
		while (x.at < x.end)
			assert_false(x.dirty[x.at++]);
	memset(m->dirty[i] + first, 0, x.at - first);
}

static void model_toggle(struct model_log *m, uint32_t *rng)
{
	bool all = next32(rng) % 4 == 0;

	if (m->log) {
		vms_dirty_stop(m->log);
		m->log = NULL;
		return;
	}
	m->shift = model_shifts[next32(rng) % 5];
	m->log = start(P << m->shift, all ? VMS_DIRTY_ALL_SET : 0);
	for (unsigned i = 0; i < BLOCKS; i++)
		memset(m->dirty[i], all, model_pages[i]);
}

static void test_random(void **state)
{
	struct model_log logs[VMS_DIRTY_LOGS] = { 0 };
	struct vms_block *b[BLOCKS];
	uint32_t rng = 20261122;

	for (unsigned i = 0; i < BLOCKS; i++) {
		b[i] = block(model_pages[i] * P);
		for (unsigned j = 0; j < VMS_DIRTY_LOGS; j++)
			logs[j].dirty[i] = calloc(model_pages[i], 1);
	}
	for (unsigned step = 0; step < 4000; step++) {
		struct model_log *m = &logs[next32(&rng) % VMS_DIRTY_LOGS];
		unsigned what = next32(&rng) % 16;

		if (what == 0) {
			model_toggle(m, &rng);
		} else if (what < 4 && m->log) {
			model_harvest(m, b, &rng);
		} else {
			unsigned i = next32(&rng) % BLOCKS;
			uint64_t first = next32(&rng) % model_pages[i];
			uint64_t n = 1 + next32(&rng) % (next32(&rng) % 8 ? 3 : 5000);

			n = n < model_pages[i] - first ? n : model_pages[i] - first;
			vms_dirty_mark(b[i], first * P, n * P);
			for (unsigned j = 0; j < VMS_DIRTY_LOGS; j++)
				for (uint64_t p = first; logs[j].log && p < first + n; p++)
					logs[j].dirty[i][p >> logs[j].shift] = true;
		}
	}
	for (unsigned j = 0; j < VMS_DIRTY_LOGS; j++)
		vms_dirty_stop(logs[j].log);
	for (unsigned i = 0; i < BLOCKS; i++) {
		vms_block_unref(b[i]);
		for (unsigned j = 0; j < VMS_DIRTY_LOGS; j++)
			free(logs[j].dirty[i]);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_off),
		TEST(test_runs),
		TEST(test_ranges),
		TEST(test_alien),
		TEST(test_params),
		TEST(test_stopped_by_fn),
		TEST(test_page_sizes),
		TEST(test_all_set),
		TEST(test_two),
		TEST(test_limit),
		TEST(test_memory_back),
		TEST(test_holds),
		TEST(test_entries),
		TEST(test_moves),
		TEST(test_external),
		TEST(test_external_large),
		TEST(test_external_managed),
		TEST(test_backends),
		TEST(test_barrier_refused),
		TEST(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
