// SPDX-License-Identifier: MIT
/*
 * Spans, borrowed spans and rings: their iovecs, what they keep and for how long, what counts as
 * written, and failures at every allocation and every owner.
 */
#include "check.h"

#include "access_kit.h"

#define RW (VMS_SLOT_READ | VMS_SLOT_WRITE)

static struct iovec iov[64];

static unsigned pins(const struct vms_block *b)
{
	return atomic_load(&b->pins);
}

/* ---- Dirty pages ---- */

static struct vms_dirty *log_start(struct kit *k)
{
	struct vms_dirty_params p = { .size = sizeof(p) };
	struct vms_dirty *log = NULL;

	assert_ok(vms_dirty_start(k->mem, &p, &log));
	return log;
}

static int add_pages(void *arg, struct vms_block *b, uint64_t off, uint64_t len)
{
	for (uint64_t at = off; at < off + len; at += PG)
		*(uint64_t *)arg |= UINT64_C(1) << at / PG;
	return 0;
}

/* Bit i: page i of the block was written since. */
static uint64_t dirty(struct vms_dirty *log, struct vms_block *b)
{
	uint64_t pages = 0;

	assert_ok(vms_dirty_harvest(log, b, 0, b->bytes, add_pages, &pages));
	return pages;
}

/* ---- Iovecs ---- */

static void test_iovecs(void **state)
{
	struct kit *k = kit_of(state);
	unsigned char *a = k->a->hva, *b = k->b->hva;
	struct vms_pin pin;
	int n = 64;

	assert_ok(vms_span_open(k->port, RAM + 5, 100, RW, iov, &n, &pin));
	assert_int_equal(n, 1);
	assert_ptr_equal(iov[0].iov_base, a + 5);
	assert_int_equal(iov[0].iov_len, 100);
	assert_int_equal(pins(k->a), 1);
	assert_int_equal(pins(k->b), 0);
	assert_ok(vms_span_close(&pin, 0));
	assert_ok(vms_span_close(&pin, 0)); /* again: nothing */
	assert_int_equal(pins(k->a), 0);

	/* Two blocks, wherever these lie. */
	n = 64;
	assert_ok(vms_span_open(k->port, RAM + PG, 4 * PG, VMS_SLOT_READ, iov, &n, &pin));
	assert_int_equal(n, a + 4 * PG == b ? 1 : 2);
	assert_ptr_equal(iov[0].iov_base, a + PG);
	if (n == 2) {
		assert_int_equal(iov[0].iov_len, 3 * PG);
		assert_ptr_equal(iov[1].iov_base, b);
		assert_int_equal(iov[1].iov_len, PG);
	}
	assert_int_equal(pins(k->a) + pins(k->b), 2);
	assert_ok(vms_span_close(&pin, 0));

	/* Two slots of one block that go on: one. Two names of a page: two. */
	kit_map(k, RAM, 2, k->a, 0, VMS_SLOT_ROM);
	n = 64;
	assert_ok(vms_span_open(k->port, RAM, 4 * PG, VMS_SLOT_READ, iov, &n, &pin));
	assert_int_equal(n, 1);
	assert_int_equal(iov[0].iov_len, 4 * PG);
	assert_ok(vms_span_close(&pin, 0));
	kit_map(k, HOLE, 1, k->a, 0, VMS_SLOT_RAM);
	kit_map(k, HOLE + PG, 1, k->a, 0, VMS_SLOT_RAM);
	n = 64;
	assert_ok(vms_span_open(k->port, HOLE, 2 * PG, RW, iov, &n, &pin));
	assert_int_equal(n, 2);
	assert_int_equal(pins(k->a), 2);
	assert_ok(vms_span_close(&pin, 0));
	/* The last byte there is. */
	n = 1;
	assert_ok(vms_span_open(k->port, UINT64_MAX, 1, RW, iov, &n, &pin));
	assert_ptr_equal(iov[0].iov_base, k->top->hva + PG - 1);
	assert_ok(vms_span_close(&pin, 1));
}

/* Neighbours in the host that are two blocks: one iovec, two pins. */
static void test_merge_over_blocks(void **state)
{
	struct kit *k = kit_of(state);
	unsigned char *mem = aligned_alloc(PG, 3 * PG);
	struct vms_block_params p = {
		.size = sizeof(p), .kind = VMS_BLOCK_HOST, .bytes = PG, .hva = mem
	};
	const uint64_t at = UINT64_C(0x100000);
	struct vms_block *b[3];
	struct vms_ring ring;
	struct vms_pin pin;
	int n = 1;

	for (int i = 0; i < 3; i++) {
		p.hva = mem + (uint64_t)i * PG;
		assert_ok(vms_block_create(k->mem, &p, &b[i]));
		kit_map(k, at + (uint64_t)i * PG, 1, b[i], 0, VMS_SLOT_RAM);
	}
	assert_ok(vms_span_open(k->port, at + 1, 3 * PG - 2, RW, iov, &n, &pin));
	assert_int_equal(n, 1);
	assert_ptr_equal(iov[0].iov_base, mem + 1);
	assert_int_equal(iov[0].iov_len, 3 * PG - 2);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pins(b[i]), 1);
	assert_ok(vms_span_close(&pin, 0));
	/* A ring is of one block. */
	assert_int_equal(vms_ring_open(k->port, at + PG - 8, 16, RW, &ring), -ENOTSUP);
	assert_ok(vms_ring_open(k->port, at + PG - 8, 8, RW, &ring));
	vms_ring_close(&ring);
	/* Also borrowed ones are merged. */
	assert_ok(vms_enter(k->port));
	assert_ok(vms_span_borrow(k->port, at + 1, 3 * PG - 2, RW, iov, &n, &pin));
	assert_int_equal(n, 1);
	assert_int_equal(iov[0].iov_len, 3 * PG - 2);
	vms_leave(k->port);
	kit_unmap(k, at, 3);
	for (int i = 0; i < 3; i++) {
		assert_ok(vms_block_remove(b[i]));
		vms_block_unref(b[i]);
	}
	vms_memory_synchronize(k->mem);
	free(mem);
}

/* Defect D14: no length without a check, no pointer without a length, no array without a bound. */
static void test_refused(void **state)
{
	struct kit *k = kit_of(state);
	static const struct {
		uint64_t gpa, len;
		uint32_t rights;
		int status, borrowed;
	} row[] = {
		{ HOLE, 1, VMS_SLOT_READ, -ENXIO, -ENXIO },
		{ RAM, 6 * PG + 1, VMS_SLOT_READ, -ENXIO, -ENXIO },
		{ RAM, SIZE_MAX, VMS_SLOT_READ, -ENXIO, -ENXIO },
		{ TOP, PG + 1, VMS_SLOT_READ, -ERANGE, -ERANGE },
		{ UINT64_MAX, SIZE_MAX, VMS_SLOT_READ, -ERANGE, -ERANGE },
		{ ROM, 8, VMS_SLOT_WRITE, -EACCES, -EACCES },
		{ ROM, 8, RW, -EACCES, -EACCES },
		{ WONLY, 8, RW, -EACCES, -EACCES },
		{ SHARED, 2 * PG + 8, RW, -EACCES, -EACCES },
		{ MANAGED, 8, VMS_SLOT_READ, -ENOTSUP, -ENOTSUP },
		{ SLOW, 3 * PG, VMS_SLOT_READ, -ENOTSUP, -ENOTSUP },
		{ SLOW, 8, VMS_SLOT_READ, 0, -ENOTSUP },
		{ RAM, 8, 0, -EINVAL, -EINVAL },
		{ RAM, 8, VMS_SLOT_EXEC, -EINVAL, -EINVAL },
	};
	struct vms_pin pin;
	int n;

	assert_ok(vms_enter(k->port));
	for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		n = 64;
		assert_int_equal(vms_span_open(k->port, row[i].gpa, row[i].len, row[i].rights, iov,
					       &n, &pin),
				 row[i].status);
		if (!row[i].status)
			assert_ok(vms_span_close(&pin, 0));
		n = 64;
		assert_int_equal(vms_span_borrow(k->port, row[i].gpa, row[i].len, row[i].rights,
						 iov, &n, &pin),
				 row[i].borrowed);
	}
	vms_leave(k->port);
	n = -1;
	assert_int_equal(vms_span_open(k->port, RAM, 8, RW, iov, &n, &pin), -EINVAL);
	/* Too little room: how many there are, and nothing is written behind the room. */
	kit_map(k, HOLE, 1, k->a, 0, VMS_SLOT_RAM);
	memset(iov, 0xee, sizeof(iov));
	for (int room = 0; room < 2; room++) {
		n = room;
		assert_int_equal(vms_span_open(k->port, RAM, 7 * PG, RW, iov, &n, &pin), -ENOSPC);
		assert_in_range(n, 2, 3);
		assert_int_equal(iov[room].iov_len, 0xeeeeeeeeeeeeeeee);
		assert_ok(vms_enter(k->port));
		n = room;
		assert_int_equal(vms_span_borrow(k->port, RAM, 7 * PG, RW, iov, &n, &pin), -ENOSPC);
		assert_in_range(n, 2, 3);
		assert_int_equal(iov[room].iov_len, 0xeeeeeeeeeeeeeeee);
		vms_leave(k->port);
	}
	assert_int_equal(pins(k->a) + pins(k->b), 0);
	/* Nothing, anywhere. */
	n = 64;
	assert_ok(vms_span_open(k->port, HOLE + PG, 0, RW, iov, &n, &pin));
	assert_int_equal(n, 0);
	assert_ok(vms_span_close(&pin, SIZE_MAX));
	/* Not in a bracket. */
	assert_int_equal(vms_span_borrow(k->port, RAM, 8, RW, iov, &n, &pin), -EINVAL);
}

/* ---- What a span keeps ---- */

static void test_keeps(void **state)
{
	struct kit *k = kit_of(state);
	struct slow_owner other = { .err = 0 };
	unsigned char *mem = aligned_alloc(PG, PG);
	struct vms_pin pin, slow_pin;
	struct vms_edit *e = kit_edit(k);
	int n = 1;

	/* A stand-alone slot is taken away while a span of it is open. */
	assert_ok(vms_slot_map_host(e, HOLE, PG, mem, owner_release, &other, VMS_SLOT_RAM));
	assert_ok(vms_edit_commit(e));
	assert_ok(vms_span_open(k->port, HOLE, 16, RW, iov, &n, &pin));
	kit_unmap(k, HOLE, 1);
	vms_memory_synchronize(k->mem);
	assert_int_equal(other.releases, 0);
	memset(iov[0].iov_base, 1, 16);
	assert_ok(vms_span_close(&pin, 16));
	vms_memory_synchronize(k->mem);
	assert_int_equal(other.releases, 1);

	/* A slow one, too. */
	kit_map_slow(k, HOLE, 1, &slow_ops, &other);
	assert_ok(vms_span_open(k->port, HOLE, 16, RW, iov, &n, &slow_pin));
	kit_unmap(k, HOLE, 1);
	vms_memory_synchronize(k->mem);
	assert_int_equal(other.releases, 1);
	assert_ok(vms_span_close(&slow_pin, 0));
	vms_memory_synchronize(k->mem);
	assert_int_equal(other.releases, 2);

	/* A plain block is not removed meanwhile, also where nothing shows it. */
	assert_ok(vms_span_open(k->port, SHARED, 16, RW, iov, &n, &pin));
	kit_unmap(k, SHARED, 2);
	assert_int_equal(vms_block_remove(k->shared), -EBUSY);
	assert_ok(vms_span_close(&pin, 0));
	assert_ok(vms_block_remove(k->shared));
	free(mem);
}

/* The last thing that keeps a memory is a span. */
static void test_outlives_the_memory(void **state)
{
	static const struct vms_memory_params mp = { .size = sizeof(mp) };
	struct vms_range r = { 0, 2 * PG };
	struct vms_memory *mem;
	struct vms_port *port;
	struct vms_pin pin;
	int n = 1;

	kit_of(state);
	assert_ok(vms_memory_from_ranges(&mp, &r, 1, &mem));
	assert_ok(vms_port_create(mem, NULL, &port));
	vms_memory_unref(mem);
	assert_ok(vms_span_open(port, 0, 2 * PG, RW, iov, &n, &pin));
	vms_port_unref(port);
	memset(iov[0].iov_base, 1, iov[0].iov_len);
	assert_ok(vms_span_close(&pin, SIZE_MAX));
}

/* ---- What counts as written ---- */

static void test_written(void **state)
{
	struct kit *k = kit_of(state);
	struct vms_dirty *log = log_start(k);
	struct vms_pin pin;
	int n = 64;

	/* Not before it is closed; then the bytes that are said to be written. */
	assert_ok(vms_span_open(k->port, RAM + PG + 5, 4 * PG, RW, iov, &n, &pin));
	assert_int_equal(dirty(log, k->a), 0);
	assert_ok(vms_span_close(&pin, PG - 5));
	assert_int_equal(dirty(log, k->a), 2);
	n = 64;
	assert_ok(vms_span_open(k->port, RAM + PG + 5, 4 * PG, RW, iov, &n, &pin));
	assert_ok(vms_span_close(&pin, PG - 4));
	assert_int_equal(dirty(log, k->a), 6);
	assert_int_equal(dirty(log, k->b), 0);
	n = 64;
	assert_ok(vms_span_open(k->port, RAM + PG + 5, 4 * PG, RW, iov, &n, &pin));
	assert_ok(vms_span_close(&pin, SIZE_MAX));
	assert_int_equal(dirty(log, k->a), 0xe);
	assert_int_equal(dirty(log, k->b), 3);
	/* Of a span to read nothing. */
	n = 64;
	assert_ok(vms_span_open(k->port, RAM, 4 * PG, VMS_SLOT_READ, iov, &n, &pin));
	assert_ok(vms_span_close(&pin, SIZE_MAX));
	assert_int_equal(dirty(log, k->a), 0);
	/* The block is what was written to, wherever the slot has gone. */
	n = 64;
	assert_ok(vms_span_open(k->port, RAM_B, PG, VMS_SLOT_WRITE, iov, &n, &pin));
	kit_map(k, RAM_B, 1, k->b, 1, VMS_SLOT_RAM);
	assert_ok(vms_span_close(&pin, 1));
	assert_int_equal(dirty(log, k->b), 1);
	vms_dirty_stop(log);
}

static void test_borrowed_written(void **state)
{
	struct kit *k = kit_of(state);
	struct vms_dirty *log = log_start(k);
	struct vms_pin pin;
	int n = 64;

	assert_ok(vms_enter(k->port));
	assert_ok(vms_span_borrow(k->port, RAM + 3 * PG, 2 * PG, RW, iov, &n, &pin));
	assert_int_equal(dirty(log, k->a), 0);
	/* It moves away; the block that was lent is what is written. */
	kit_map(k, RAM + 3 * PG, 1, k->b, 1, VMS_SLOT_ROM);
	memset(iov[0].iov_base, 3, 8);
	vms_span_wrote(&pin, 8);
	assert_int_equal(dirty(log, k->a), 8);
	assert_int_equal(dirty(log, k->b), 0);
	vms_span_wrote(&pin, PG + 1);
	assert_int_equal(dirty(log, k->a), 8);
	assert_int_equal(dirty(log, k->b), 1);
	vms_leave(k->port);
	vms_dirty_stop(log);
}

/* More slots than a pin can tell apart: to read, any number; to write, refused. */
static void test_borrowed_many(void **state)
{
	struct kit *k = kit_of(state);
	const uint64_t at = UINT64_C(0x100000);
	struct vms_pin pin;
	int n = 64;

	for (unsigned i = 0; i < 10; i++)
		kit_map(k, at + i * PG, 1, i % 2 ? k->a : k->b, i / 2 % 2, VMS_SLOT_RAM);
	assert_ok(vms_enter(k->port));
	assert_ok(vms_span_borrow(k->port, at, 10 * PG, VMS_SLOT_READ, iov, &n, &pin));
	assert_int_equal(n, 10);
	n = 64;
	assert_int_equal(vms_span_borrow(k->port, at, 10 * PG, RW, iov, &n, &pin), -ENOTSUP);
	vms_span_wrote(&pin, SIZE_MAX); /* of nothing */
	n = 64;
	assert_ok(vms_span_borrow(k->port, at, 9 * PG, RW, iov, &n, &pin));
	assert_int_equal(n, 9);
	vms_leave(k->port);
}

/* ---- Slow slots ---- */

static void test_slow(void **state)
{
	struct kit *k = kit_of(state);
	struct slow_owner other = { .err = 0 };
	struct vms_pin pin;
	int n = 64;

	/* Direct, slow, slow of another owner. */
	kit_map(k, ROM, 1, k->rom, 0, VMS_SLOT_RAM);
	kit_map_slow(k, MANAGED, 2, &slow_ops, &other);
	assert_ok(vms_span_open(k->port, ROM, 4 * PG, RW, iov, &n, &pin));
	assert_int_equal(n, 3);
	assert_ptr_equal(iov[1].iov_base, k->owner.bytes);
	assert_int_equal(iov[1].iov_len, 2 * PG);
	assert_ptr_equal(iov[2].iov_base, other.bytes);
	assert_int_equal(iov[2].iov_len, PG);
	k->owner.close_err = -EPIPE;
	assert_int_equal(vms_span_close(&pin, PG + 10), -EPIPE);
	assert_int_equal(k->owner.closed, 10);
	assert_int_equal(other.closes, 1);
	assert_int_equal(other.closed, 0);
	k->owner.close_err = 0;
	/* The second one refuses: the first is closed, nothing is pinned. */
	other.err = -ENOMEDIUM;
	n = 64;
	assert_int_equal(vms_span_open(k->port, ROM, 4 * PG, RW, iov, &n, &pin), -ENOMEDIUM);
	assert_int_equal(k->owner.opens, 2);
	assert_int_equal(k->owner.closes, 2);
	assert_int_equal(pins(k->rom), 0);
	/* Too little room is told before anybody is asked. */
	n = 2;
	assert_int_equal(vms_span_open(k->port, ROM, 4 * PG, RW, iov, &n, &pin), -ENOSPC);
	assert_int_equal(n, 3);
	assert_int_equal(k->owner.opens, 2);
	/* An owner without open. */
	kit_map_slow(k, HOLE, 1, &deaf_ops, &other);
	n = 64;
	assert_int_equal(vms_span_open(k->port, HOLE, 8, RW, iov, &n, &pin), -ENOTSUP);
	kit_unmap(k, HOLE, 1);
	kit_unmap(k, MANAGED, 2);
	vms_memory_synchronize(k->mem);
	assert_int_equal(other.releases, 2);
}

/* ---- Many blocks, and no memory for them ---- */

#define MANY UINT64_C(0x200000)

struct many {
	struct kit *k;
	struct vms_pin pin;
	int n;
};

static void many_up(void *arg)
{
	struct many *m = arg;

	for (unsigned i = 0; i < 40; i++)
		kit_map(m->k, MANY + i * PG, 1, i % 2 ? m->k->a : m->k->b, i / 2 % 2, VMS_SLOT_RAM);
}

static int many_run(void *arg)
{
	struct many *m = arg;

	m->n = 64;
	return vms_span_open(m->k->port, MANY, 40 * PG, RW, iov, &m->n, &m->pin);
}

static void many_check(void *arg, int result, bool failed)
{
	struct many *m = arg;

	assert_int_equal(result, failed ? -ENOMEM : 0);
	assert_int_equal(pins(m->k->a) + pins(m->k->b), failed ? 0 : 40);
	if (result)
		return;
	assert_int_equal(m->n, 40);
	for (unsigned i = 0; i < 40; i++)
		assert_ptr_equal(iov[i].iov_base,
				 (i % 2 ? m->k->a : m->k->b)->hva + i / 2 % 2 * PG);
	assert_ok(vms_span_close(&m->pin, SIZE_MAX));
	assert_int_equal(pins(m->k->a) + pins(m->k->b), 0);
}

static void many_down(void *arg)
{
	struct many *m = arg;

	kit_unmap(m->k, MANY, 40);
}

static void test_many(void **state)
{
	struct kit *k = kit_of(state);
	struct many m = { .k = k };
	struct sweep s = { .world = &k->world,
			   .set_up = many_up,
			   .run = many_run,
			   .check = many_check,
			   .tear_down = many_down,
			   .arg = &m,
			   .mask = 1u << CALL_ALLOC };

	assert_int_equal(sweep(&s), 1);
}

/* Up to four blocks take no memory; nor does any other access. */
static void test_no_allocation(void **state)
{
	struct kit *k = kit_of(state);
	unsigned char bytes[64];
	uint64_t before, v;
	struct vms_ring ring;
	struct vms_pin pin;
	int n = 64;

	kit_map(k, HOLE, 1, k->rom, 0, VMS_SLOT_RAM);
	kit_map(k, HOLE + PG, 1, k->shared, 0, VMS_SLOT_RAM);
	before = k->world.calls[CALL_ALLOC];
	assert_ok(vms_span_open(k->port, RAM, 8 * PG, RW, iov, &n, &pin));
	assert_ok(vms_span_close(&pin, SIZE_MAX));
	assert_ok(vms_ring_open(k->port, RAM, 64, RW, &ring));
	vms_ring_close(&ring);
	assert_done(vms_read(k->port, RAM_B - 32, bytes, 64), 64, 0);
	assert_done(vms_copy(k->port, SLOW, RAM, 64), 64, 0);
	assert_ok(vms_load_le64(k->port, RAM_B - 4, &v));
	assert_int_equal(k->world.calls[CALL_ALLOC], before);
}

/* ---- Rings ---- */

static void test_ring(void **state)
{
	struct kit *k = kit_of(state);
	struct vms_ring ring, zero = { 0 };
	unsigned char *at = k->a->hva + 0x102;
	uint8_t v8 = 0;
	uint16_t v16 = 0;
	uint32_t v32 = 0;
	uint64_t v64 = 0;

	assert_ok(vms_ring_open(k->port, RAM + 0x102, 64, RW, &ring));
	assert_true(vms_ring_store16(&ring, 0, 0x1122));
	assert_int_equal(at[0], 0x22);
	assert_int_equal(at[1], 0x11);
	assert_true(vms_ring_store32(&ring, 2, 0x33445566));
	assert_int_equal(at[2], 0x66);
	assert_true(vms_ring_store64_release(&ring, 6, UINT64_C(0x8877665544332211)));
	assert_int_equal(at[6], 0x11);
	assert_true(vms_ring_store8(&ring, 63, 9));
	assert_true(vms_ring_load8(&ring, 63, &v8) && v8 == 9);
	assert_true(vms_ring_load16_acquire(&ring, 0, &v16) && v16 == 0x1122);
	assert_true(vms_ring_load32(&ring, 2, &v32) && v32 == 0x33445566);
	assert_true(vms_ring_load64(&ring, 6, &v64) && v64 == UINT64_C(0x8877665544332211));
	/* Outside, over the end, not aligned in the guest. */
	assert_false(vms_ring_load8(&ring, 64, &v8));
	assert_false(vms_ring_load8(&ring, UINT64_MAX, &v8));
	assert_false(vms_ring_load64(&ring, 62, &v64));
	assert_false(vms_ring_load16(&ring, 63, &v16));
	assert_false(vms_ring_load16(&ring, 1, &v16));
	assert_false(vms_ring_load32(&ring, 4, &v32));
	assert_false(vms_ring_store64(&ring, 0, 1));
	assert_false(vms_ring_store64(&ring, UINT64_MAX - 3, 1));
	/* The slot moves away: the ring stays where it was. */
	kit_unmap(k, RAM, 4);
	assert_true(vms_ring_load16(&ring, 0, &v16) && v16 == 0x1122);
	vms_ring_close(&ring);
	assert_false(vms_ring_load16(&ring, 0, &v16));
	vms_ring_close(&ring);
	vms_ring_close(&zero);

	assert_ok(vms_ring_open(k->port, ROM, 64, VMS_SLOT_READ, &ring));
	assert_true(vms_ring_load16(&ring, 0, &v16));
	assert_false(vms_ring_store16(&ring, 0, 1));
	vms_ring_close(&ring);
	assert_int_equal(vms_ring_open(k->port, RAM_B + 1, 8, RW, &ring), -EINVAL);
	assert_int_equal(vms_ring_open(k->port, RAM_B, 0, RW, &ring), -EINVAL);
	assert_int_equal(vms_ring_open(k->port, HOLE - 8, 16, RW, &ring), -ENXIO);
	assert_int_equal(vms_ring_open(k->port, SLOW, 16, RW, &ring), -ENOTSUP);
	assert_int_equal(vms_ring_open(k->port, MANAGED, 16, RW, &ring), -ENOTSUP);
	assert_int_equal(k->owner.opens, k->owner.closes);
}

/* A ring keeps its port, and marks what is written through it, each page by itself. */
static void test_ring_marks(void **state)
{
	struct kit *k = kit_of(state);
	struct vms_port *port = kit_port(k, RAM, 6 * PG, 0, NULL);
	struct vms_dirty *log;
	struct vms_ring ring;

	assert_ok(vms_ring_open(port, RAM + 0x800, 3 * PG, RW, &ring));
	vms_port_unref(port);
	assert_true(vms_ring_store32(&ring, 0, 1)); /* nobody logs */
	log = log_start(k);
	assert_int_equal(dirty(log, k->a), 0);
	assert_true(vms_ring_store32(&ring, 0, 1));
	assert_int_equal(dirty(log, k->a), 1);
	assert_true(vms_ring_store8(&ring, 0x800, 1));
	assert_true(vms_ring_store64_release(&ring, 3 * PG - 8, 1));
	assert_int_equal(dirty(log, k->a), 2 | 8);
	assert_int_equal(dirty(log, k->a), 0);
	vms_ring_close(&ring); /* it says nothing more */
	assert_int_equal(dirty(log, k->a), 0);
	vms_dirty_stop(log);
}

/* ---- All other writes are marked, too ---- */

static void test_writes_are_marked(void **state)
{
	struct kit *k = kit_of(state);
	struct vms_dirty *log = log_start(k);
	unsigned char bytes[3 * 4096] = { 1 };
	uint64_t old = 0;
	bool swapped;

	for (int recover = 0; recover < 2; recover++) {
		vms_recover_enable(recover);
		assert_done(vms_write(k->port, RAM + PG - 1, bytes, 2), 2, 0);
		assert_int_equal(dirty(log, k->a), 3);
		assert_done(vms_write_exact(k->port, RAM + 3 * PG, bytes, 3 * PG), 3 * PG, 0);
		assert_int_equal(dirty(log, k->a), 8);
		assert_int_equal(dirty(log, k->b), 3);
		/* Exactly what was written before the hole. */
		assert_done(vms_write(k->port, HOLE - 1, bytes, 2), 1, 0);
		assert_int_equal(dirty(log, k->b), 2);
		assert_done(vms_fill(k->port, RAM + PG, 0, PG), PG, 0);
		assert_int_equal(dirty(log, k->a), 2);
		assert_done(vms_copy(k->port, RAM + 2 * PG, RAM, 8), 8, 0);
		assert_int_equal(dirty(log, k->a), 4);
		assert_done(vms_copy(k->port, RAM + PG + 8, RAM + PG, 4 * PG), 4 * PG, 0);
		assert_int_equal(dirty(log, k->a), 0xe);
		assert_int_equal(dirty(log, k->b), 3);
		assert_ok(vms_store_le32(k->port, RAM + PG, 1));
		assert_int_equal(dirty(log, k->a), 2);
		assert_ok(vms_store_be64(k->port, RAM + PG - 4, 1));
		assert_int_equal(dirty(log, k->a), 3);
		assert_ok(vms_atomic_store(k->port, RAM + PG, 4, __ATOMIC_RELAXED, 1));
		assert_int_equal(dirty(log, k->a), 2);
		assert_ok(vms_atomic_fetch(k->port, RAM, 4, __ATOMIC_RELAXED, VMS_ATOMIC_OR, 0,
					   &old));
		assert_int_equal(dirty(log, k->a), 1);
		old = 99; /* not what stands there: nothing is stored */
		assert_ok(
			vms_atomic_cas(k->port, RAM + PG, 4, __ATOMIC_RELAXED, &old, 2, &swapped));
		assert_int_equal(dirty(log, k->a), 0);
		assert_ok(
			vms_atomic_cas(k->port, RAM + PG, 4, __ATOMIC_RELAXED, &old, 1, &swapped));
		assert_int_equal(dirty(log, k->a), 2);
		/* Through another name: the block's page. */
		assert_ok(vms_store8(k->port, ALIAS + 5, 1));
		assert_int_equal(dirty(log, k->a), 1);
		/* Reads and refused writes: nothing. */
		assert_done(vms_read(k->port, RAM, bytes, 3 * PG), 3 * PG, 0);
		assert_done(vms_write(k->port, ROM, bytes, 8), 0, -EACCES);
		assert_int_equal(vms_store_le64(k->port, HOLE - 4, 1), -ENXIO);
		assert_int_equal(dirty(log, k->a) | dirty(log, k->b) | dirty(log, k->rom), 0);
		/* Managed memory. */
		assert_done(vms_write(k->port, MANAGED + PG + 9, bytes, 8), 8, 0);
		assert_int_equal(dirty(log, k->managed), 2);
	}
	vms_recover_enable(false);
	vms_dirty_stop(log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_iovecs, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_merge_over_blocks, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_refused, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_keeps, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_outlives_the_memory, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_written, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_borrowed_written, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_borrowed_many, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_slow, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_many, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_no_allocation, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_ring, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_ring_marks, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_writes_are_marked, kit_begin, kit_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
