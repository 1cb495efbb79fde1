// SPDX-License-Identifier: MIT
/*
 * Values of one size: their order of bytes, what they are refused, that a refused store stores nothing;
 * and atomics against the compiler's own on ordinary memory.
 */
#include "check.h"

#include <endian.h>
#include <pthread.h>

#include "access_kit.h"
#include "random.h"

/* ---- Sized ---- */

static int load(struct vms_port *p, unsigned bits, bool be, uint64_t gpa, uint64_t *value)
{
	uint8_t v8 = 0;
	uint16_t v16 = 0;
	uint32_t v32 = 0;
	int err;

	switch (bits) {
	case 8:
		err = vms_load8(p, gpa, &v8);
		*value = v8;
		return err;
	case 16:
		err = be ? vms_load_be16(p, gpa, &v16) : vms_load_le16(p, gpa, &v16);
		*value = v16;
		return err;
	case 32:
		err = be ? vms_load_be32(p, gpa, &v32) : vms_load_le32(p, gpa, &v32);
		*value = v32;
		return err;
	default:
		return be ? vms_load_be64(p, gpa, value) : vms_load_le64(p, gpa, value);
	}
}

static int store(struct vms_port *p, unsigned bits, bool be, uint64_t gpa, uint64_t value)
{
	switch (bits) {
	case 8:
		return vms_store8(p, gpa, (uint8_t)value);
	case 16:
		return be ? vms_store_be16(p, gpa, (uint16_t)value)
			  : vms_store_le16(p, gpa, (uint16_t)value);
	case 32:
		return be ? vms_store_be32(p, gpa, (uint32_t)value)
			  : vms_store_le32(p, gpa, (uint32_t)value);
	default:
		return be ? vms_store_be64(p, gpa, value) : vms_store_le64(p, gpa, value);
	}
}

static uint64_t cut(uint64_t value, unsigned bits)
{
	return bits == 64 ? value : value & ((UINT64_C(1) << bits) - 1);
}

/* Every size, order and alignment at gpa, against bytes. */
static void all_values(struct vms_port *p, uint64_t gpa)
{
	const uint64_t value = UINT64_C(0x8182838485868788);
	unsigned char bytes[8], around[24];
	uint64_t got;

	for (unsigned bits = 8; bits <= 64; bits *= 2)
		for (int be = 0; be < 2; be++) {
			unsigned n = bits / 8;

			assert_done(vms_fill(p, gpa - 8, 0xee, 24), 24, 0);
			assert_ok(store(p, bits, be, gpa, value));
			assert_done(vms_read_exact(p, gpa - 8, around, 24), 24, 0);
			for (unsigned i = 0; i < n; i++)
				bytes[i] = (unsigned char)(value >> 8 * (be ? n - 1 - i : i));
			assert_memory_equal(around + 8, bytes, n);
			assert_int_equal(around[7], 0xee);
			assert_int_equal(around[8 + n], 0xee);
			got = 0;
			assert_ok(load(p, bits, be, gpa, &got));
			assert_true(got == cut(value, bits));
		}
}

static void everywhere(struct kit *k, struct vms_port *p)
{
	const uint64_t base[] = { RAM + 64,	 RAM_B - 8,	   RAM + PG - 8, SLOW + 64,
				  SLOW + PG - 8, MANAGED + PG - 8, SHARED + 16,	 SHARED - 8 };

	for (unsigned i = 0; i < sizeof(base) / sizeof(base[0]); i++)
		for (unsigned odd = 0; odd < 16; odd++)
			all_values(p, base[i] + odd);
	(void)k;
}

static void test_values(void **state)
{
	struct kit *k = kit_of(state);
	/* Reaches the same, but is not plain. */
	struct vms_port *narrow = kit_port(k, 0, BEHIND, 0, NULL);

	everywhere(k, k->port);
	everywhere(k, narrow);
	assert_ok(vms_enter(k->port));
	everywhere(k, k->port);
	vms_leave(k->port);
	vms_recover_enable(true);
	everywhere(k, k->port);
	vms_recover_enable(false);
	vms_port_unref(narrow);
}

/* An aligned value of a slow slot is one call of its owner. */
static void test_slow_is_one_call(void **state)
{
	struct kit *k = kit_of(state);
	uint64_t value;

	assert_ok(vms_load_le64(k->port, SLOW + 8, &value));
	assert_int_equal(k->owner.reads, 1);
	assert_ok(vms_store_be32(k->port, SLOW + 4, 1));
	assert_int_equal(k->owner.writes, 1);
}

struct refusal {
	uint64_t gpa;
	unsigned bits;
	int load, store;
};

static void test_refused(void **state)
{
	struct kit *k = kit_of(state);
	static const struct refusal row[] = {
		{ HOLE, 8, -ENXIO, -ENXIO },
		{ HOLE, 64, -ENXIO, -ENXIO },
		{ HOLE - 2, 32, -ENXIO, -ENXIO },
		{ HOLE - 1, 16, -ENXIO, -ENXIO },
		{ HOLE + PG - 1, 16, -ENXIO, -ENXIO },
		{ ROM, 32, 0, -EACCES },
		{ ROM + 1, 32, 0, -EACCES },
		{ ROM + PG - 4, 64, 0, -EACCES },
		{ WONLY, 16, -EACCES, 0 },
		{ WONLY + 1, 64, -EACCES, 0 },
		{ WONLY - 1, 64, -EACCES, 0 },
		{ TOP, 64, 0, 0 },
		{ UINT64_MAX, 8, 0, 0 },
		{ UINT64_MAX - 1, 16, 0, 0 },
		{ UINT64_MAX, 16, -ERANGE, -ERANGE },
		{ UINT64_MAX - 6, 64, -ERANGE, -ERANGE },
		{ BEHIND - 4, 64, -ENXIO, -ENXIO },
		{ BEHIND, 64, -ENXIO, -ENXIO },
	};
	unsigned char before[64], after[64];
	uint64_t value;

	for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++)
		for (int be = 0; be < 2; be++) {
			const struct refusal *r = &row[i];
			uint64_t from = r->gpa - 32;

			if (r->gpa < RAM + 32)
				from = RAM;
			memset(before, 0, sizeof(before));
			memset(after, 0, sizeof(after));
			vms_read(k->port, from, before, 64);
			assert_int_equal(load(k->port, r->bits, be, r->gpa, &value), r->load);
			assert_int_equal(store(k->port, r->bits, be, r->gpa, 0x1122), r->store);
			vms_read(k->port, from, after, 64);
			if (r->store) /* nothing of it was stored */
				assert_memory_equal(before, after, 64);
		}
}

/* A refused load leaves the caller's value as it was. */
static void test_refused_load_keeps(void **state)
{
	struct kit *k = kit_of(state);
	uint32_t value = 0xabcdef01;

	assert_int_equal(vms_load_le32(k->port, HOLE, &value), -ENXIO);
	assert_int_equal(vms_load_be32(k->port, HOLE - 2, &value), -ENXIO);
	assert_true(value == 0xabcdef01);
}

/* ---- Atomics ---- */

static uint64_t model(enum vms_atomic_op op, uint64_t a, uint64_t b)
{
	switch (op) {
	case VMS_ATOMIC_EXCHANGE:
		return b;
	case VMS_ATOMIC_ADD:
		return a + b;
	case VMS_ATOMIC_SUB:
		return a - b;
	case VMS_ATOMIC_AND:
		return a & b;
	case VMS_ATOMIC_OR:
		return a | b;
	default:
		return a ^ b;
	}
}

static uint64_t peek(struct kit *k, uint64_t gpa, unsigned size)
{
	uint64_t v = 0;

	assert_done(vms_read_exact(k->port, gpa, &v, size), size, 0);
	return v;
}

static void test_atomics(void **state)
{
	static const int orders[] = { __ATOMIC_RELAXED, __ATOMIC_CONSUME, __ATOMIC_ACQUIRE,
				      __ATOMIC_RELEASE, __ATOMIC_ACQ_REL, __ATOMIC_SEQ_CST };
	struct kit *k = kit_of(state);
	uint64_t seed = 3, old, expected, mask;
	bool swapped;

	for (unsigned i = 0; i < 4000; i++) {
		unsigned size = 1u << i % 4;
		int order = orders[next53(&seed) % 6];
		enum vms_atomic_op op = (enum vms_atomic_op)(next53(&seed) % 6);
		uint64_t at = RAM + (next53(&seed) % (6 * PG) & ~(uint64_t)(size - 1));
		uint64_t v = next53(&seed) * 0x9e3779b97f4a7c15, was = peek(k, at, size);

		vms_recover_enable(i % 7 == 0);
		mask = size == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * size) - 1;
		assert_ok(vms_atomic_fetch(k->port, at, size, order, op, v, &old));
		assert_true(old == was);
		assert_true(peek(k, at, size) == (model(op, was, v) & mask));
		was = peek(k, at, size);
		expected = was ^ 1;
		assert_ok(vms_atomic_cas(k->port, at, size, order, &expected, v, &swapped));
		assert_false(swapped);
		assert_true(expected == was && peek(k, at, size) == was);
		assert_ok(vms_atomic_cas(k->port, at, size, order, &expected, v, &swapped));
		assert_true(swapped && expected == was && peek(k, at, size) == (v & mask));
		assert_ok(vms_atomic_load(k->port, at, size, __ATOMIC_ACQUIRE, &old));
		assert_true(old == (v & mask));
		assert_ok(vms_atomic_store(k->port, at, size, __ATOMIC_RELEASE, ~v));
		assert_true(peek(k, at, size) == (~v & mask));
	}
	vms_recover_enable(false);
}

static void test_atomics_refused(void **state)
{
	struct kit *k = kit_of(state);
	uint64_t v = 7;
	bool swapped = false;

	/* ROM: a load needs no more than READ. */
	assert_ok(vms_atomic_load(k->port, ROM, 8, __ATOMIC_SEQ_CST, &v));
	assert_int_equal(vms_atomic_store(k->port, ROM, 8, __ATOMIC_SEQ_CST, 1), -EACCES);
	assert_int_equal(vms_atomic_fetch(k->port, ROM, 8, __ATOMIC_SEQ_CST, VMS_ATOMIC_OR, 0, &v),
			 -EACCES);
	assert_int_equal(vms_atomic_cas(k->port, ROM, 8, __ATOMIC_SEQ_CST, &v, 0, &swapped),
			 -EACCES);
	/* A store needs no more than WRITE. */
	assert_ok(vms_atomic_store(k->port, WONLY, 4, __ATOMIC_RELAXED, 1));
	assert_int_equal(vms_atomic_load(k->port, WONLY, 4, __ATOMIC_RELAXED, &v), -EACCES);
	assert_int_equal(
		vms_atomic_fetch(k->port, WONLY, 4, __ATOMIC_RELAXED, VMS_ATOMIC_ADD, 1, &v),
		-EACCES);

	assert_int_equal(vms_atomic_load(k->port, HOLE, 8, __ATOMIC_SEQ_CST, &v), -ENXIO);
	for (unsigned size = 2; size <= 8; size *= 2)
		for (unsigned odd = 1; odd < size; odd++) {
			/* Over pages, slots or neither: it is the address that is wrong. */
			assert_int_equal(vms_atomic_load(k->port, RAM_B - size + odd, size,
							 __ATOMIC_SEQ_CST, &v),
					 -EINVAL);
			assert_int_equal(
				vms_atomic_load(k->port, HOLE + odd, size, __ATOMIC_SEQ_CST, &v),
				-EINVAL);
		}
	for (unsigned size = 0; size < 20; size++)
		if (size != 1 && size != 2 && size != 4 && size != 8)
			assert_int_equal(vms_atomic_load(k->port, RAM, size, __ATOMIC_SEQ_CST, &v),
					 -EINVAL);
	assert_int_equal(vms_atomic_load(k->port, RAM, 8, __ATOMIC_RELEASE, &v), -EINVAL);
	assert_int_equal(vms_atomic_load(k->port, RAM, 8, 99, &v), -EINVAL);
	assert_int_equal(vms_atomic_store(k->port, RAM, 8, __ATOMIC_ACQUIRE, v), -EINVAL);
	assert_int_equal(
		vms_atomic_fetch(k->port, RAM, 8, __ATOMIC_SEQ_CST, (enum vms_atomic_op)6, 0, &v),
		-EINVAL);
	assert_int_equal(vms_atomic_load(k->port, SLOW, 8, __ATOMIC_SEQ_CST, &v), -ENOTSUP);
	assert_non_null(strstr(vms_last_error(), "slow"));
	assert_int_equal(vms_atomic_store(k->port, MANAGED, 8, __ATOMIC_SEQ_CST, v), -ENOTSUP);
	assert_int_equal(k->owner.reads + k->owner.writes, 0);
	/* The last value there is. */
	assert_ok(vms_atomic_store(k->port, UINT64_MAX - 7, 8, __ATOMIC_SEQ_CST, 5));
	assert_true(peek(k, UINT64_MAX - 7, 8) == 5);
}

/* Through two names of one word, by two threads. */
#define ADDS 20000u

static void *add_many(void *arg)
{
	struct kit *k = arg;
	uint64_t old;

	for (unsigned i = 0; i < ADDS; i++)
		if (vms_atomic_fetch(k->port, ALIAS + 8, 8, __ATOMIC_RELAXED, VMS_ATOMIC_ADD, 1,
				     &old))
			return arg;
	return NULL;
}

static void test_atomics_are(void **state)
{
	struct kit *k = kit_of(state);
	uint64_t seen;
	pthread_t t;
	void *bad;

	assert_done(vms_fill(k->port, RAM, 0, 64), 64, 0);
	assert_int_equal(pthread_create(&t, NULL, add_many, k), 0);
	for (unsigned i = 0; i < ADDS; i++) {
		bool swapped = false;

		assert_ok(vms_atomic_load(k->port, RAM + 8, 8, __ATOMIC_RELAXED, &seen));
		while (!swapped)
			assert_ok(vms_atomic_cas(k->port, RAM + 8, 8, __ATOMIC_ACQ_REL, &seen,
						 seen + 1, &swapped));
	}
	pthread_join(t, &bad);
	assert_null(bad);
	assert_true(peek(k, RAM + 8, 8) == 2 * ADDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_values, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_slow_is_one_call, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_refused, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_refused_load_keeps, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_atomics, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_atomics_refused, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_atomics_are, kit_begin, kit_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
