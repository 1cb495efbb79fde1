// SPDX-License-Identifier: MIT
/*
 * Every refusal of the calls on guest-physical memory and its ports, in the order in which each
 * call's list in memory.h and access.h gives its errors. Where two errors that stand next to each
 * other in a list can apply at once, a row has both and the earlier one must win ("A before B").
 * After each row the scene is as it was.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmspace/access.h>
#include <vmspace/memory.h>

#include "check.h"

#define R	   VMS_SLOT_READ
#define W	   VMS_SLOT_WRITE
#define RAM	   VMS_SLOT_RAM
#define ROM	   VMS_SLOT_ROM
#define NO	   VMS_SLOT_NOREPLACE
#define MAX	   UINT64_MAX
#define BAD	   0x80000000u
#define PAGES	   16 /* of each block */
#define LIMIT	   256
#define countof(a) (sizeof(a) / sizeof((a)[0]))

/*
 *	pages	  0 ..   7	hole
 *		  8 ..  15	PLAIN from 0, RAM
 *		 16 ..  19	PLAIN from 8, ROM
 *		 20 ..  23	READER, ROM
 *		 32 ..  35	slow, RAM
 *		255		PLAIN from 0, RAM: the last page
 */
enum who { PLAIN, READER, GONE, ALIEN, NOBODY };

static struct scene {
	uint64_t P;
	unsigned char *host;
	struct vms_memory *mem, *other;
	struct vms_block *block[NOBODY + 1];
	struct vms_port *port;
	unsigned released;
} s;

static void released(void *arg)
{
	++*(unsigned *)arg;
}

static int slow_read(void *arg, uint64_t off, void *buf, size_t len)
{
	memset(buf, 's', len);
	return 0;
}

/* It cannot be written. */
static const struct vms_slow_ops slow = { .size = sizeof(slow), .read = slow_read };

static struct vms_block *host_block(struct vms_memory *mem, uint32_t flags)
{
	struct vms_block_params p = { .size = sizeof(p),
				      .kind = VMS_BLOCK_HOST,
				      .flags = flags,
				      .bytes = PAGES * s.P,
				      .hva = s.host };
	struct vms_block *b;

	assert_ok(vms_block_create(mem, &p, &b));
	return b;
}

static int scene_begin(void **state)
{
	struct vms_memory_params p = { .size = sizeof(p) };
	struct vms_edit *e;

	memset(&s, 0, sizeof(s));
	s.P = (uint64_t)sysconf(_SC_PAGESIZE);
	s.host =
		mmap(NULL, PAGES * s.P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(s.host, MAP_FAILED);
	p.limit = LIMIT * s.P;
	assert_ok(vms_memory_create(&p, &s.mem));
	assert_ok(vms_memory_create(&p, &s.other));
	s.block[PLAIN] = host_block(s.mem, 0);
	s.block[READER] = host_block(s.mem, VMS_BLOCK_READ);
	s.block[GONE] = host_block(s.mem, 0);
	s.block[ALIEN] = host_block(s.other, 0);
	assert_ok(vms_block_remove(s.block[GONE]));
	assert_ok(vms_edit_begin(s.mem, &e));
	assert_ok(vms_slot_map(e, 8 * s.P, 8 * s.P, s.block[PLAIN], 0, RAM));
	assert_ok(vms_slot_map(e, 16 * s.P, 4 * s.P, s.block[PLAIN], 8 * s.P, ROM));
	assert_ok(vms_slot_map(e, 20 * s.P, 4 * s.P, s.block[READER], 0, ROM));
	assert_ok(vms_slot_map_slow(e, 32 * s.P, 4 * s.P, &slow, NULL, RAM));
	assert_ok(vms_slot_map(e, 255 * s.P, s.P, s.block[PLAIN], 0, RAM));
	assert_ok(vms_edit_commit(e));
	assert_ok(vms_port_create(s.mem, NULL, &s.port));
	return 0;
}

static int scene_end(void **state)
{
	vms_port_unref(s.port);
	for (unsigned i = 0; i < NOBODY; i++)
		vms_block_unref(s.block[i]);
	vms_memory_unref(s.mem);
	vms_memory_unref(s.other);
	munmap(s.host, PAGES * s.P);
	return 0;
}

/* ---- What must not change ---- */

struct seen {
	struct vms_memory_info info;
	struct vms_slot_info slot[16];
	unsigned n;
};

static void look(struct seen *seen)
{
	struct vms_slot_cursor cursor = { 0 };

	memset(seen, 0, sizeof(*seen));
	seen->info.size = sizeof(seen->info);
	vms_memory_synchronize(s.mem);
	assert_ok(vms_memory_info(s.mem, &seen->info));
	while (seen->n < countof(seen->slot) &&
	       !vms_slot_next(s.mem, &cursor, &seen->slot[seen->n]))
		seen->n++;
	assert_ok(vms_memory_check(s.mem));
}

static void unchanged(const struct seen *before, const char *name)
{
	struct seen now;

	look(&now);
	if (memcmp(before, &now, sizeof(now)))
		broken("%s: the memory has changed", name);
}

static void judge(const char *name, int got, int want)
{
	if (got != want)
		broken("%s: %d, expected %d (%s)", name, got, want, vms_last_error());
	if (got && !vms_last_error()[0])
		broken("%s: no sentence", name);
}

/* ---- Memories ---- */

static void nothing(void *arg)
{
}

static void memories(void **state)
{
	struct vms_memory_params good = { .size = sizeof(good) }, p;
	struct vms_memory_info info = { .size = sizeof(info) - 1 };
	struct vms_memory *mem = NULL;
	const uint64_t P = s.P;

	judge("NULL", vms_memory_create(NULL, &mem), -EINVAL);
	p = good;
	p.size--;
	judge("short", vms_memory_create(&p, &mem), -EINVAL);
	p = good;
	p.flags = BAD;
	judge("flags", vms_memory_create(&p, &mem), -EINVAL);
	p = good;
	p.limit = P + 1;
	judge("limit", vms_memory_create(&p, &mem), -EINVAL);
	p = good;
	p.gate.enter = nothing;
	judge("half a gate", vms_memory_create(&p, &mem), -EINVAL);
	assert_null(mem);
	judge("info, short", vms_memory_info(s.mem, &info), -EINVAL);
	judge("info, NULL", vms_memory_info(s.mem, NULL), -EINVAL);
	info.size++;
	assert_ok(vms_memory_info(s.mem, &info));
	assert_int_equal(info.limit, LIMIT * P - 1);
	assert_int_equal(info.slots, 5);
	assert_int_equal(info.mapped, 21 * P);
	assert_int_equal(info.edits, 1);
	assert_int_equal(info.broken, 0);
	vms_memory_unref(NULL);
	vms_block_unref(NULL);
	vms_port_unref(NULL);
	vms_edit_abort(NULL);
	vms_dirty_stop(NULL);
}

static void from_ranges(void **state)
{
	const uint64_t P = s.P;
	struct vms_memory_params p = { .size = sizeof(p), .limit = 64 * P };
	const struct {
		const char *name;
		struct vms_range r[3];
		int want;
	} rows[] = {
		{ "len 0", { { 0, P }, { P, 0 }, { 2 * P, P } }, -EINVAL },
		{ "gpa not aligned", { { 0, P }, { P + 1, P }, { 4 * P, P } }, -EINVAL },
		{ "len not aligned", { { 0, P + 1 }, { 4 * P, P }, { 8 * P, P } }, -EINVAL },
		{ "not aligned before the limit",
		  { { 64 * P, P }, { 4 * P, P - 1 }, { 8 * P, P } },
		  -EINVAL },
		{ "the limit", { { 63 * P, 2 * P }, { 0, P }, { P, P } }, -ERANGE },
		{ "wraps", { { 0, P }, { 0 - P, 2 * P }, { P, P } }, -ERANGE },
		{ "the limit before an overlap",
		  { { 0, 2 * P }, { P, P }, { 63 * P, 2 * P } },
		  -ERANGE },
		{ "overlap", { { 0, 4 * P }, { 8 * P, P }, { 3 * P, P } }, -EEXIST },
		{ "equal", { { 4 * P, P }, { 0, P }, { 4 * P, P } }, -EEXIST },
		{ "they touch, in any order", { { 4 * P, P }, { 0, 4 * P }, { 5 * P, P } }, 0 },
	};

	for (size_t i = 0; i < countof(rows); i++) {
		struct vms_memory_info info = { .size = sizeof(info) };
		struct vms_memory *mem = NULL;

		judge(rows[i].name, vms_memory_from_ranges(&p, rows[i].r, 3, &mem), rows[i].want);
		if (rows[i].want) {
			assert_null(mem);
			continue;
		}
		assert_ok(vms_memory_info(mem, &info));
		assert_int_equal(info.slots, 3); /* a block each */
		assert_int_equal(info.blocks, 3);
		assert_int_equal(info.mapped, 6 * P);
		vms_memory_unref(mem);
	}
	struct vms_memory *mem = NULL;
	struct vms_slot_cursor cursor = { 0 };
	struct vms_slot_info slot;

	p.flags = BAD;
	judge("flags before ranges", vms_memory_from_ranges(&p, rows[7].r, 3, &mem), -EINVAL);
	p.flags = 0;
	assert_ok(vms_memory_from_ranges(&p, NULL, 0, &mem));
	judge("none", vms_slot_next(mem, &cursor, &slot), -ENOENT);
	vms_memory_unref(mem);
}

/* ---- Blocks: what tests/unit/memory_block.c does not say ---- */

static void blocks(void **state)
{
	struct vms_block_info info = { .size = sizeof(info) - 1 };

	judge("shown", vms_block_remove(s.block[PLAIN]), -EBUSY);
	judge("removed", vms_block_remove(s.block[GONE]), -EBUSY);
	judge("info, short", vms_block_info(s.block[PLAIN], &info), -EINVAL);
	judge("info, NULL", vms_block_info(s.block[PLAIN], NULL), -EINVAL);
	info.size++;
	assert_ok(vms_block_info(s.block[PLAIN], &info));
	assert_int_equal(info.slots, 3);
	assert_int_equal(info.kind, VMS_BLOCK_HOST);
	assert_ptr_equal(info.hva, s.host);
	assert_int_equal(info.fd, -1);
}

/* ---- Edits ---- */

struct row {
	const char *name;
	uint64_t gpa, len; /* in pages, but for what is added to them */
	int64_t gpa_more, len_more;
	enum who who;
	uint64_t off;
	int64_t off_more;
	uint32_t access;
	int want;
};

static void map(void **state)
{
	static const struct row rows[] = {
		{ "access: none", 0, 1, 0, 0, PLAIN, 0, 0, 0, -EINVAL },
		{ "access: NOREPLACE alone", 0, 1, 0, 0, PLAIN, 0, 0, NO, -EINVAL },
		{ "access: unknown", 0, 1, 0, 0, PLAIN, 0, 0, 8 | RAM, -EINVAL },
		{ "no block", 0, 1, 0, 0, NOBODY, 0, 0, RAM, -EINVAL },
		{ "another memory's block", 0, 1, 0, 0, ALIEN, 0, 0, RAM, -EINVAL },
		{ "len 0", 0, 0, 0, 0, PLAIN, 0, 0, RAM, -EINVAL },
		{ "len", 0, 1, 0, 1, PLAIN, 0, 0, RAM, -EINVAL },
		{ "gpa", 0, 1, 1, 0, PLAIN, 0, 0, RAM, -EINVAL },
		{ "off", 0, 1, 0, 0, PLAIN, 0, 512, RAM, -EINVAL },
		{ "off before the limit", 255, 2, 0, 0, PLAIN, 0, 512, RAM, -EINVAL },
		{ "len before the block's end", 0, 17, 0, 1, PLAIN, 0, 0, RAM, -EINVAL },
		{ "another memory's before its end", 0, 17, 0, 0, ALIEN, 0, 0, RAM, -EINVAL },
		{ "the limit", 255, 2, 0, 0, PLAIN, 0, 0, RAM, -ERANGE },
		{ "above the limit", 256, 1, 0, 0, PLAIN, 0, 0, RAM, -ERANGE },
		{ "the block's end", 0, 2, 0, 0, PLAIN, 15, 0, RAM, -ERANGE },
		{ "behind the block", 0, 1, 0, 0, PLAIN, 16, 0, RAM, -ERANGE },
		{ "the end before the rights", 0, 17, 0, 0, READER, 0, 0, RAM, -ERANGE },
		{ "rights", 0, 1, 0, 0, READER, 0, 0, RAM, -EACCES },
		{ "rights, W", 0, 1, 0, 0, READER, 0, 0, W, -EACCES },
		{ "removed", 0, 1, 0, 0, GONE, 0, 0, RAM, -EBUSY },
		{ "the end before removed", 0, 1, 0, 0, GONE, 16, 0, RAM, -ERANGE },
	};
	const uint64_t P = s.P;
	struct vms_edit *e;
	struct seen before;

	look(&before);
	assert_ok(vms_edit_begin(s.mem, &e));
	for (size_t i = 0; i < countof(rows); i++) {
		const struct row *r = &rows[i];

		judge(r->name,
		      vms_slot_map(e, r->gpa * P + (uint64_t)r->gpa_more,
				   r->len * P + (uint64_t)r->len_more, s.block[r->who],
				   r->off * P + (uint64_t)r->off_more, r->access),
		      r->want);
	}
	judge("wraps", vms_slot_map(e, 0 - P, 2 * P, s.block[PLAIN], 0, RAM), -ERANGE);
	judge("off wraps", vms_slot_map(e, 0, 2 * P, s.block[PLAIN], 0 - P, RAM), -ERANGE);
	assert_ok(vms_edit_commit(e)); /* none of them is in it */
	unchanged(&before, "map");
}

static void map_host_and_slow(void **state)
{
	const uint64_t P = s.P;
	struct vms_slow_ops short_ops = slow;
	struct vms_edit *e;
	struct seen before;
	unsigned n = 0;

	short_ops.size--;
	look(&before);
	assert_ok(vms_edit_begin(s.mem, &e));
	judge("host: access", vms_slot_map_host(e, 0, P, s.host, released, &n, 0), -EINVAL);
	judge("host: flags", vms_slot_map_host(e, 0, P, s.host, released, &n, RAM | 8), -EINVAL);
	judge("host: len", vms_slot_map_host(e, 0, 1, s.host, released, &n, RAM), -EINVAL);
	judge("host: gpa", vms_slot_map_host(e, 1, P, s.host, released, &n, RAM), -EINVAL);
	judge("host: hva", vms_slot_map_host(e, 0, P, s.host + 1, released, &n, RAM), -EINVAL);
	judge("host: no hva", vms_slot_map_host(e, 0, P, NULL, released, &n, RAM), -EINVAL);
	judge("host: hva wraps",
	      vms_slot_map_host(e, 0, 2 * P, (void *)(uintptr_t)(0 - P), released, &n, RAM),
	      -EINVAL);
	judge("host: hva before the limit",
	      vms_slot_map_host(e, 255 * P, 2 * P, s.host + 1, released, &n, RAM), -EINVAL);
	judge("host: the limit", vms_slot_map_host(e, 255 * P, 2 * P, s.host, released, &n, RAM),
	      -ERANGE);
	judge("slow: access", vms_slot_map_slow(e, 0, P, &slow, NULL, NO), -EINVAL);
	judge("slow: len", vms_slot_map_slow(e, 0, 0, &slow, NULL, RAM), -EINVAL);
	judge("slow: no ops", vms_slot_map_slow(e, 0, P, NULL, NULL, RAM), -EINVAL);
	judge("slow: short ops", vms_slot_map_slow(e, 0, P, &short_ops, NULL, RAM), -EINVAL);
	judge("slow: short ops before the limit",
	      vms_slot_map_slow(e, 256 * P, P, &short_ops, NULL, RAM), -EINVAL);
	judge("slow: the limit", vms_slot_map_slow(e, 256 * P, P, &slow, NULL, RAM), -ERANGE);
	assert_ok(vms_edit_commit(e));
	unchanged(&before, "host and slow");
	assert_int_equal(n, 0); /* not when the call fails */

	assert_ok(vms_edit_begin(s.mem, &e));
	assert_ok(vms_slot_map_host(e, 0, P, s.host, released, &n, RAM));
	vms_edit_abort(e);
	unchanged(&before, "aborted");
	assert_int_equal(n, 1);
	assert_ok(vms_edit_begin(s.mem, &e));
	assert_ok(vms_slot_map_host(e, 0, P, s.host, released, &n, RAM));
	assert_ok(vms_slot_protect(e, 4 * P, P, ROM));
	judge("fails", vms_edit_commit(e), -ENOENT);
	unchanged(&before, "failed");
	assert_int_equal(n, 2);
}

static void unmap_and_protect(void **state)
{
	static const struct {
		const char *name;
		uint64_t gpa, len; /* pages */
		int64_t gpa_more, len_more;
		int want;
	} rows[] = {
		{ "len 0", 8, 0, 0, 0, -EINVAL },
		{ "gpa", 8, 1, 1, 0, -EINVAL },
		{ "len", 8, 1, 0, -1, -EINVAL },
		{ "the limit", 255, 2, 0, 0, -ERANGE },
		{ "len before the limit", 256, 1, 0, 1, -EINVAL },
	};
	const uint64_t P = s.P;
	struct vms_edit *e;
	struct seen before;

	look(&before);
	assert_ok(vms_edit_begin(s.mem, &e));
	for (size_t i = 0; i < countof(rows); i++) {
		uint64_t gpa = rows[i].gpa * P + (uint64_t)rows[i].gpa_more;
		uint64_t len = rows[i].len * P + (uint64_t)rows[i].len_more;

		judge(rows[i].name, vms_slot_unmap(e, gpa, len), rows[i].want);
		judge(rows[i].name, vms_slot_protect(e, gpa, len, ROM), rows[i].want);
	}
	judge("wraps", vms_slot_unmap(e, P, 0 - P), -ERANGE);
	judge("protect: none", vms_slot_protect(e, 8 * P, P, 0), -EINVAL);
	judge("protect: NOREPLACE", vms_slot_protect(e, 8 * P, P, RAM | NO), -EINVAL);
	judge("protect: flags before the limit", vms_slot_protect(e, 256 * P, P, 8), -EINVAL);
	assert_ok(vms_edit_commit(e));
	unchanged(&before, "unmap and protect");
}

/* One change, and what the commit answers. */
static void commits(void **state)
{
	const uint64_t P = s.P;
	struct vms_edit *e;
	struct seen before;

	look(&before);
#define COMMIT(name, want, ...)                        \
	do {                                           \
		assert_ok(vms_edit_begin(s.mem, &e));  \
		__VA_ARGS__;                           \
		judge(name, vms_edit_commit(e), want); \
		unchanged(&before, name);              \
	} while (0)
	COMMIT("nothing", 0, (void)e);
	COMMIT("what stands", 0, assert_ok(vms_slot_map(e, 8 * P, 8 * P, s.block[PLAIN], 0, RAM));
	       assert_ok(vms_slot_protect(e, 16 * P, 8 * P, ROM));
	       assert_ok(vms_slot_unmap(e, 0, 8 * P)));
	COMMIT("NOREPLACE", -EEXIST,
	       assert_ok(vms_slot_map(e, 0, 9 * P, s.block[PLAIN], 0, RAM | NO)));
	COMMIT("NOREPLACE, over the same", -EEXIST,
	       assert_ok(vms_slot_map(e, 8 * P, P, s.block[PLAIN], 0, RAM | NO)));
	COMMIT("NOREPLACE, host", -EEXIST,
	       assert_ok(vms_slot_map_host(e, 255 * P, P, s.host, NULL, NULL, RAM | NO)));
	COMMIT("a hole", -ENOENT, assert_ok(vms_slot_protect(e, 7 * P, 2 * P, RAM)));
	COMMIT("a hole behind", -ENOENT, assert_ok(vms_slot_protect(e, 16 * P, 9 * P, ROM)));
	COMMIT("rights", -EACCES, assert_ok(vms_slot_protect(e, 16 * P, 8 * P, RAM)));
	COMMIT("a hole before rights", -ENOENT, assert_ok(vms_slot_protect(e, 20 * P, 8 * P, RAM)));
	COMMIT("the first change that fails", -EEXIST, assert_ok(vms_slot_unmap(e, 8 * P, P));
	       assert_ok(vms_slot_map(e, 9 * P, P, s.block[PLAIN], 0, RAM | NO));
	       assert_ok(vms_slot_protect(e, 0, P, ROM)));
	struct vms_block *b = host_block(s.mem, 0);

	look(&before);
	assert_ok(vms_edit_begin(s.mem, &e));
	assert_ok(vms_slot_map(e, 0, P, b, 0, RAM));
	assert_ok(vms_block_remove(b));
	judge("removed since", vms_edit_commit(e), -EBUSY);
	assert_ok(vms_edit_begin(s.mem, &e));
	judge("removed", vms_slot_map(e, 8 * P, P, b, 0, RAM | NO), -EBUSY);
	vms_edit_abort(e);
	unchanged(&before, "removed");
	vms_block_unref(b);
#undef COMMIT
}

/* ---- Looking ---- */

static void looking(void **state)
{
	const uint64_t P = s.P;
	struct vms_slot_cursor cursor = { 0 };
	struct vms_slot_info slot;

	judge("a hole", vms_slot_find(s.mem, 7 * P, &slot), -ENOENT);
	judge("between", vms_slot_find(s.mem, 24 * P, &slot), -ENOENT);
	judge("past the limit", vms_slot_find(s.mem, MAX, &slot), -ENOENT);
	assert_ok(vms_slot_find(s.mem, 16 * P - 1, &slot));
	assert_int_equal(slot.gpa, 8 * P);
	assert_int_equal(slot.len, 8 * P);
	assert_int_equal(slot.access, RAM);
	assert_int_equal(slot.kind, VMS_BLOCK_HOST);
	assert_ptr_equal(slot.block, s.block[PLAIN]);
	assert_int_equal(slot.off, 0);
	assert_ptr_equal(slot.hva, s.host);
	assert_ok(vms_slot_find(s.mem, 33 * P, &slot));
	assert_int_equal(slot.kind, VMS_BLOCK_SLOW);
	assert_null(slot.hva);
	for (unsigned i = 0; i < 5; i++)
		assert_ok(vms_slot_next(s.mem, &cursor, &slot));
	assert_int_equal(slot.gpa, 255 * P);
	for (unsigned i = 0; i < 2; i++)
		judge("the end", vms_slot_next(s.mem, &cursor, &slot), -ENOENT);
}

/* ---- Listeners, logs ---- */

static int refuses(void *arg, const struct vms_slot_event *ev, size_t n)
{
	return -EDOM;
}

static void listeners(void **state)
{
	struct vms_listener_ops ops = { .size = sizeof(ops), .prepare = refuses };
	struct vms_edit *e;
	struct seen before;

	judge("NULL", vms_memory_listen(s.mem, NULL, NULL), -EINVAL);
	ops.size--;
	judge("short", vms_memory_listen(s.mem, &ops, NULL), -EINVAL);
	ops.size++;
	assert_int_equal(vms_memory_listen(s.mem, &ops, NULL), -EDOM);
	judge("does not listen", vms_memory_unlisten(s.mem, &ops, NULL), -ENOENT);
	ops.prepare = NULL;
	assert_ok(vms_memory_listen(s.mem, &ops, NULL));
	judge("another arg", vms_memory_unlisten(s.mem, &ops, &ops), -ENOENT);
	ops.prepare = refuses;
	look(&before);
	assert_ok(vms_edit_begin(s.mem, &e));
	assert_ok(vms_slot_unmap(e, 8 * s.P, s.P));
	assert_int_equal(vms_edit_commit(e), -EDOM);
	unchanged(&before, "refused");
	assert_ok(vms_memory_unlisten(s.mem, &ops, NULL));
}

static int give(void *arg, struct vms_block *block, uint64_t off, uint64_t len)
{
	++*(unsigned *)arg;
	return 0;
}

static void logs(void **state)
{
	const uint64_t P = s.P;
	unsigned char bytes[8];
	const struct {
		const char *name;
		struct vms_dirty_params p;
	} rows[] = {
		{ "short", { .size = sizeof(struct vms_dirty_params) - 1 } },
		{ "flags", { .flags = BAD } },
		{ "page: no power of two", { .page_size = 3 * P } },
		{ "page: small", { .page_size = P / 2 } },
		{ "page: large", { .page_size = UINT64_C(2) << 30 } },
		{ "external: no memory", { .flags = VMS_DIRTY_EXTERNAL } },
		{ "external: no bytes", { .flags = VMS_DIRTY_EXTERNAL, .external = bytes } },
		{ "external: page",
		  { .flags = VMS_DIRTY_EXTERNAL,
		    .external = bytes,
		    .external_bytes = 8,
		    .page_size = 8192 } },
		{ "memory, not external", { .external = bytes, .external_bytes = 8 } },
	};
	struct vms_dirty_params p;
	struct vms_dirty *log[VMS_DIRTY_LOGS] = { NULL }, *more = NULL;
	unsigned n = 0;

	for (size_t i = 0; i < countof(rows); i++) {
		p = rows[i].p;
		if (!p.size)
			p.size = sizeof(p);
		judge(rows[i].name, vms_dirty_start(s.mem, &p, &more), -EINVAL);
		assert_null(more);
	}
	p = (struct vms_dirty_params){ .size = sizeof(p), .page_size = 2 * P };
	for (unsigned i = 0; i < VMS_DIRTY_LOGS; i++) {
		if (i == 1)
			p = (struct vms_dirty_params){ .size = sizeof(p),
						       .flags = VMS_DIRTY_EXTERNAL,
						       .external = bytes,
						       .external_bytes = 8 };
		assert_ok(vms_dirty_start(s.mem, &p, &log[i]));
	}
	judge("one too many", vms_dirty_start(s.mem, &p, &more), -EBUSY);
	p.flags = BAD;
	judge("flags before too many", vms_dirty_start(s.mem, &p, &more), -EINVAL);
	assert_null(more);
	assert_ok(vms_dirty_sync(log[0]));
	judge("external", vms_dirty_harvest(log[1], s.block[PLAIN], 0, 2 * P, give, &n), -EINVAL);
	judge("another's", vms_dirty_harvest(log[0], s.block[ALIEN], 0, 2 * P, give, &n), -EINVAL);
	judge("no block", vms_dirty_harvest(log[0], NULL, 0, 2 * P, give, &n), -EINVAL);
	judge("off", vms_dirty_harvest(log[0], s.block[PLAIN], P, 2 * P, give, &n), -EINVAL);
	judge("len", vms_dirty_harvest(log[0], s.block[PLAIN], 0, P, give, &n), -EINVAL);
	judge("past the end", vms_dirty_harvest(log[0], s.block[PLAIN], 0, 18 * P, give, &n),
	      -ERANGE);
	judge("off wraps", vms_dirty_harvest(log[0], s.block[PLAIN], 0 - 2 * P, 4 * P, give, &n),
	      -ERANGE);
	judge("len before the end", vms_dirty_harvest(log[0], s.block[PLAIN], 0, 17 * P, give, &n),
	      -EINVAL);
	assert_ok(vms_dirty_harvest(log[0], s.block[PLAIN], 0, PAGES * P, give, &n));
	assert_int_equal(n, 0);
	vms_dirty_mark(s.block[PLAIN], P, 1);
	assert_ok(vms_dirty_harvest(log[0], s.block[PLAIN], 0, PAGES * P, give, &n));
	assert_int_equal(n, 1);
	for (unsigned i = 0; i < VMS_DIRTY_LOGS; i++)
		vms_dirty_stop(log[i]);
}

/* ---- Ports ---- */

static void ports(void **state)
{
	const uint64_t P = s.P;
	static const struct vms_translator no_calls;
	const struct {
		const char *name;
		struct vms_port_params p;
		int want;
	} rows[] = {
		{ "short", { .size = sizeof(struct vms_port_params) - 1 }, -EINVAL },
		{ "flags", { .flags = BAD }, -EINVAL },
		{ "rights", { .rights = RAM }, -EINVAL },
		{ "an empty translator", { .translator = &no_calls }, -EINVAL },
		{ "rights before the limit", { .rights = 8, .gpa = LIMIT * P }, -EINVAL },
		{ "past the limit", { .gpa = LIMIT * P }, -ERANGE },
		{ "the limit", { .gpa = P, .len = LIMIT * P }, -ERANGE },
		{ "wraps", { .gpa = P, .len = MAX }, -ERANGE },
	};
	struct vms_port *port = NULL;

	for (size_t i = 0; i < countof(rows); i++) {
		struct vms_port_params p = rows[i].p;

		if (!p.size)
			p.size = sizeof(p);
		judge(rows[i].name, vms_port_create(s.mem, &p, &port), rows[i].want);
		assert_null(port);
	}
}

/* Statuses of accesses: no sentence is asked for. */
static void accesses(void **state)
{
	const uint64_t P = s.P;
	struct vms_port_params p = { .size = sizeof(p), .rights = R, .gpa = 4 * P, .len = 8 * P };
	const struct {
		const char *name;
		uint64_t gpa;
		int load, store, atomic; /* of 4 bytes; one that changes */
	} rows[] = {
		{ "RAM", 9 * P, 0, 0, 0 },
		{ "ROM", 16 * P, 0, -EACCES, -EACCES },
		{ "a hole", 4 * P, -ENXIO, -ENXIO, -ENXIO },
		{ "into a hole", 24 * P - 2, -ENXIO, -EACCES, -EINVAL },
		{ "into ROM", 16 * P - 2, 0, -EACCES, -EINVAL },
		{ "slow", 32 * P, 0, -ENOTSUP, -ENOTSUP },
		{ "past the limit", LIMIT * P, -ENXIO, -ENXIO, -ENXIO },
		{ "the last bytes of all", MAX - 3, -ENXIO, -ENXIO, -ENXIO },
		{ "past all", MAX - 1, -ENXIO, -ENXIO, -EINVAL },
	};
	struct vms_port *narrow;
	unsigned char buf[64];
	struct vms_done done;
	struct iovec iov[2];
	struct vms_pin pin;
	uint32_t v;
	uint64_t old;
	int n = 2;

	for (size_t i = 0; i < countof(rows); i++) {
		if (vms_load_le32(s.port, rows[i].gpa, &v) != rows[i].load)
			broken("%s: load: %d", rows[i].name,
			       vms_load_le32(s.port, rows[i].gpa, &v));
		if (vms_store_le32(s.port, rows[i].gpa, 5) != rows[i].store)
			broken("%s: store: %d", rows[i].name,
			       vms_store_le32(s.port, rows[i].gpa, 5));
		int err = vms_atomic_fetch(s.port, rows[i].gpa, 4, __ATOMIC_SEQ_CST, VMS_ATOMIC_ADD,
					   1, &old);
		if (err != rows[i].atomic)
			broken("%s: atomic: %d", rows[i].name, err);
	}
	judge("atomic: size", vms_atomic_load(s.port, 8 * P, 3, __ATOMIC_RELAXED, &old), -EINVAL);
	judge("atomic: order", vms_atomic_load(s.port, 8 * P, 4, 99, &old), -EINVAL);
	assert_int_equal(vms_check(s.port, 24 * P - 2, 4, R), -ENXIO);
	assert_int_equal(vms_check(s.port, 16 * P - 2, 4, W), -EACCES);
	assert_int_equal(vms_check(s.port, 16 * P - 2, 4, R), 0);
	done = vms_read(s.port, 24 * P - 2, buf, 4);
	assert_true(done.done == 2 && done.status == 0);
	done = vms_read_exact(s.port, 24 * P - 2, buf, 4);
	assert_true(done.done == 2 && done.status == -ENXIO);
	done = vms_read(s.port, 24 * P, buf, 4);
	assert_true(done.done == 0 && done.status == -ENXIO);
	done = vms_write_exact(s.port, 16 * P - 2, buf, 4);
	assert_true(done.done == 2 && done.status == -EACCES);
	done = vms_read_exact(s.port, 0, buf, 0); /* nothing, in a hole */
	assert_true(done.done == 0 && done.status == 0);
	judge("span: slow", vms_span_open(s.port, 32 * P, P, R, iov, &n, &pin), -ENOTSUP);
	judge("span: rights", vms_span_open(s.port, 8 * P, P, 8, iov, &n, &pin), -EINVAL);
	assert_int_equal(vms_span_open(s.port, 24 * P, P, R, iov, &n, &pin), -ENXIO);
	assert_int_equal(vms_span_open(s.port, 16 * P, P, W, iov, &n, &pin), -EACCES);

	assert_ok(vms_port_create(s.mem, &p, &narrow));
	assert_int_equal(vms_load_le32(narrow, 8 * P, &v), 0);
	assert_int_equal(vms_load_le32(narrow, 4 * P, &v), -ENXIO);
	assert_int_equal(vms_load_le32(narrow, 12 * P, &v), -ERANGE);
	assert_int_equal(vms_load_le32(narrow, 12 * P - 2, &v), -ERANGE);
	assert_int_equal(vms_load_le32(narrow, 0, &v), -ERANGE);
	assert_int_equal(vms_store_le32(narrow, 8 * P, 1), -EACCES);
	assert_int_equal(vms_store_le32(narrow, 0, 1), -ERANGE);
	vms_port_unref(narrow);
}

static void discards(void **state)
{
	const uint64_t P = s.P;
	uint64_t freed = 1, skipped = 1;

	judge("len 0", vms_discard(s.mem, 8 * P, 0, &freed, &skipped), -EINVAL);
	assert_true(freed == 0 && skipped == 0);
	judge("gpa", vms_discard(s.mem, 8 * P + 1, P, NULL, NULL), -EINVAL);
	judge("len", vms_discard(s.mem, 8 * P, P - 1, NULL, NULL), -EINVAL);
	judge("a hole", vms_discard(s.mem, 0, P, NULL, NULL), -ENXIO);
	judge("a hole behind ROM", vms_discard(s.mem, 20 * P, 8 * P, &freed, &skipped), -ENXIO);
	assert_true(freed == 0 && skipped == 4 * P);
}

static void sharing(void **state)
{
	struct vms_memory_params p = { .size = sizeof(p) };
	struct vms_shared shares[4] = { { .len = s.P, .fd = -1 } };
	struct vms_memory *mem = NULL;
	uint64_t gpa;
	size_t n = 4;

	judge("export: not a file's", vms_memory_export(s.mem, shares, &n), -ENOTSUP);
	judge("import: flags", vms_memory_import(&p, BAD, shares, 1, &mem), -EINVAL);
	judge("import: descriptor", vms_memory_import(&p, 0, shares, 1, &mem), -EBADF);
	judge("find user", vms_memory_find_user(s.mem, 0, &gpa, NULL), -ENOENT);
	assert_null(mem);
}

#define test(name) cmocka_unit_test_setup_teardown(name, scene_begin, scene_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(memories),
		test(from_ranges),
		test(blocks),
		test(map),
		test(map_host_and_slow),
		test(unmap_and_protect),
		test(commits),
		test(looking),
		test(listeners),
		test(logs),
		test(ports),
		test(accesses),
		test(discards),
		test(sharing),
	};

	return cmocka_run_group_tests_name("api-memory", tests, NULL, NULL);
}
