// SPDX-License-Identifier: MIT
/*
 * memory_fast.c: inline accesses against the calls they stand for: the same answer, the same bytes
 * and the same marks at every kind of address, while slots change too.
 */
#include "check.h"

#include "access_kit.h"
#include "random.h"
#include "vmspace/fast.h"

static unsigned marked; /* pages that a harvest gave */

static int count(void *arg, struct vms_block *block, uint64_t off, uint64_t len)
{
	marked += (unsigned)(len / PG);
	return 0;
}

static int load(const struct vms_fast *f, struct vms_port *p, unsigned size, uint64_t gpa,
		uint64_t *value)
{
	uint8_t v8 = 0;
	uint16_t v16 = 0;
	uint32_t v32 = 0;
	int err;

	*value = 0;
	switch (size) {
	case 1:
		err = f ? vms_fast_load8(f, gpa, &v8) : vms_load8(p, gpa, &v8);
		*value = v8;
		return err;
	case 2:
		err = f ? vms_fast_load_le16(f, gpa, &v16) : vms_load_le16(p, gpa, &v16);
		*value = v16;
		return err;
	case 4:
		err = f ? vms_fast_load_le32(f, gpa, &v32) : vms_load_le32(p, gpa, &v32);
		*value = v32;
		return err;
	default:
		return f ? vms_fast_load_le64(f, gpa, value) : vms_load_le64(p, gpa, value);
	}
}

static int store(const struct vms_fast *f, unsigned size, uint64_t gpa, uint64_t value)
{
	switch (size) {
	case 1:
		return vms_fast_store8(f, gpa, (uint8_t)value);
	case 2:
		return vms_fast_store_le16(f, gpa, (uint16_t)value);
	case 4:
		return vms_fast_store_le32(f, gpa, (uint32_t)value);
	default:
		return vms_fast_store_le64(f, gpa, value);
	}
}

/* What a store of the call would answer, without storing anything else than stands there. */
static int answer_of_store(struct vms_port *p, unsigned size, uint64_t gpa)
{
	return size - 1 > UINT64_MAX - gpa ? -ERANGE : vms_check(p, gpa, size, VMS_SLOT_WRITE);
}

static void all_sizes(struct kit *k, const struct vms_fast *f, uint64_t gpa, uint64_t value)
{
	for (unsigned size = 1; size <= 8; size *= 2) {
		uint64_t mask = size == 8 ? UINT64_MAX : (UINT64_C(1) << size * 8) - 1, got, want;
		int err = answer_of_store(k->port, size, gpa);

		if (err) {
			assert_int_not_equal(store(f, size, gpa, value), 0);
		} else {
			assert_ok(store(f, size, gpa, value));
			if (vms_check(k->port, gpa, size, VMS_SLOT_READ) == 0) {
				assert_ok(load(NULL, k->port, size, gpa, &got));
				assert_true(got == (value & mask));
			}
		}
		err = load(NULL, k->port, size, gpa, &want);
		assert_int_equal(load(f, k->port, size, gpa, &got), err);
		assert_true(err || got == want);
	}
}

static void test_every_kind_of_address(void **state)
{
	static const uint64_t base[] = { RAM,	 RAM_B, HOLE,  ROM,    SLOW,   MANAGED,
					 SHARED, WONLY, ALIAS, BEHIND, TOP - 8 };
	struct kit *k = kit_of(state);
	struct vms_fast f;
	uint64_t value = UINT64_C(0x8182838485868788);

	assert_ok(vms_fast_init(k->port, &f));
	assert_ok(vms_enter(k->port));
	for (unsigned i = 0; i < sizeof(base) / sizeof(base[0]); i++)
		for (uint64_t at = 0; at < 24; at++) {
			all_sizes(k, &f, base[i] + at, ++value);
			all_sizes(k, &f, base[i] + PG - 12 + at, ++value);
		}
	for (uint64_t at = 0; at < 16; at++)
		all_sizes(k, &f, UINT64_MAX - at, ++value);
	vms_leave(k->port);
}

static void test_ports_that_it_refuses(void **state)
{
	struct kit *k = kit_of(state);
	struct vms_port *narrow = kit_port(k, 0, 4 * PG, 0, NULL);
	struct vms_port *reader = kit_port(k, 0, 0, VMS_SLOT_READ, NULL);
	struct vms_fast f;

	assert_int_equal(vms_fast_init(narrow, &f), -ENOTSUP);
	assert_int_equal(vms_fast_init(reader, &f), -ENOTSUP);
	vms_port_unref(narrow);
	vms_port_unref(reader);
}

static void test_marks(void **state)
{
	struct vms_dirty_params params = { .size = sizeof(params) };
	struct kit *k = kit_of(state);
	struct vms_dirty *log;
	struct vms_fast f;

	assert_ok(vms_fast_init(k->port, &f));
	assert_ok(vms_dirty_start(k->mem, &params, &log));
	assert_ok(vms_enter(k->port));
	assert_ok(vms_fast_store_le32(&f, RAM + PG, 1));
	assert_ok(vms_fast_store8(&f, RAM + 4 * PG - 1, 1)); /* page 3 of A */
	assert_ok(vms_fast_store_le64(&f, ALIAS + 8, 1));    /* page 0 of A */
	assert_ok(vms_fast_store_le16(&f, SHARED + PG, 1));
	vms_leave(k->port);
	marked = 0;
	assert_ok(vms_dirty_harvest(log, k->a, 0, 4 * PG, count, NULL));
	assert_int_equal(marked, 3);
	marked = 0;
	assert_ok(vms_dirty_harvest(log, k->shared, 0, 2 * PG, count, NULL));
	assert_int_equal(marked, 1);
	marked = 0;
	assert_ok(vms_dirty_harvest(log, k->b, 0, 2 * PG, count, NULL));
	assert_int_equal(marked, 0);
	vms_dirty_stop(log);
}

/* The table grows, shrinks and is replaced under one struct vms_fast. */
static void test_edits_between(void **state)
{
	struct kit *k = kit_of(state);
	uint32_t seed = 7, got;
	struct vms_fast f;

	assert_ok(vms_fast_init(k->port, &f));
	for (unsigned i = 0; i < 300; i++) {
		uint64_t gpa = (uint64_t)(next32(&seed) % 64) << (12 + next32(&seed) % 46);

		if (gpa < BEHIND || gpa >= TOP)
			continue;
		kit_map(k, gpa, 1, k->b, next32(&seed) % 2, VMS_SLOT_RAM);
		assert_ok(vms_enter(k->port));
		assert_ok(vms_fast_store_le32(&f, gpa + 4 * (i % 512), i));
		assert_ok(vms_load_le32(k->port, gpa + 4 * (i % 512), &got));
		assert_int_equal(got, i);
		vms_leave(k->port);
		if (i % 3 == 0) {
			kit_unmap(k, gpa, 1);
			assert_ok(vms_enter(k->port));
			assert_int_equal(vms_fast_load_le32(&f, gpa, &got), -ENXIO);
			vms_leave(k->port);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_every_kind_of_address, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_ports_that_it_refuses, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_marks, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_edits_between, kit_begin, kit_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
