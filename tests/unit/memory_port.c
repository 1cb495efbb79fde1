// SPDX-License-Identifier: MIT
/*
 * Ports: what they are refused, their range and rights, translators, checks without a touch, and
 * threads that can have no epoch record.
 */
#include "check.h"

#include <pthread.h>
#include <semaphore.h>

#include "access_kit.h"

static unsigned char buf[16 * 4096];

/* ---- Life ---- */

static void test_refused(void **state)
{
	struct kit *k = kit_of(state);
	static const struct vms_translator no_call;
	struct vms_port_params p = { .size = sizeof(p) };
	struct vms_port *port = NULL;

	p.size--;
	assert_int_equal(vms_port_create(k->mem, &p, &port), -EINVAL);
	p = (struct vms_port_params){ .size = sizeof(p), .flags = 1 };
	assert_int_equal(vms_port_create(k->mem, &p, &port), -EINVAL);
	p = (struct vms_port_params){ .size = sizeof(p), .rights = VMS_SLOT_EXEC };
	assert_int_equal(vms_port_create(k->mem, &p, &port), -EINVAL);
	p = (struct vms_port_params){ .size = sizeof(p), .translator = &no_call };
	assert_int_equal(vms_port_create(k->mem, &p, &port), -EINVAL);
	p = (struct vms_port_params){ .size = sizeof(p), .gpa = UINT64_MAX, .len = 2 };
	assert_int_equal(vms_port_create(k->mem, &p, &port), -ERANGE);
	test_world_fail(&k->world, 1, 1u << CALL_ALLOC, ENOMEM);
	assert_int_equal(vms_port_create(k->mem, NULL, &port), -ENOMEM);
	test_world_fail(&k->world, 0, 0, 0);
	assert_null(port);
	vms_port_unref(NULL);
}

static void test_limit(void **state)
{
	struct vms_memory_params mp = { .size = sizeof(mp), .limit = UINT64_C(1) << 32 };
	struct vms_port_params p = { .size = sizeof(p), .gpa = UINT64_C(1) << 32 };
	struct vms_port *port;
	struct vms_memory *mem;

	kit_of(state);
	assert_ok(vms_memory_create(&mp, &mem));
	assert_int_equal(vms_port_create(mem, &p, &port), -ERANGE);
	p.gpa = 0;
	p.len = (UINT64_C(1) << 32) + 1;
	assert_int_equal(vms_port_create(mem, &p, &port), -ERANGE);
	p.len--;
	assert_ok(vms_port_create(mem, &p, &port));
	assert_done(vms_read(port, UINT64_C(1) << 32, buf, 1), 0, -ERANGE);
	assert_done(vms_read(port, (UINT64_C(1) << 32) - 1, buf, 1), 0, -ENXIO);
	/* The port is what keeps the memory. */
	vms_memory_unref(mem);
	vms_port_ref(port);
	vms_port_unref(port);
	assert_done(vms_read(port, 0, buf, 1), 0, -ENXIO);
	vms_port_unref(port);
}

/* ---- Range and rights ---- */

static void test_range(void **state)
{
	struct kit *k = kit_of(state);
	/* From the middle of a page to the middle of another. */
	struct vms_port *p = kit_port(k, RAM + 0x10a, 0x2000, 0, NULL);
	uint64_t v;
	uint16_t v16;
	struct iovec iov[2];
	struct vms_pin pin;
	int n = 2;

	assert_done(vms_read(p, RAM + 0x109, buf, 1), 0, -ERANGE);
	assert_done(vms_read(p, RAM + 0x10a, buf, 0x3000), 0x2000, 0);
	assert_done(vms_write_exact(p, RAM + 0x10a, buf, 0x3000), 0x2000, -ERANGE);
	assert_done(vms_read(p, RAM + 0x210a, buf, 1), 0, -ERANGE);
	assert_int_equal(vms_load_le64(p, RAM + 0x108, &v), -ERANGE);
	assert_int_equal(vms_load_le64(p, RAM + 0x2108, &v), -ERANGE);
	assert_ok(vms_load_le16(p, RAM + 0x2108, &v16));
	assert_int_equal(vms_atomic_load(p, RAM + 0x2108, 4, __ATOMIC_RELAXED, &v), -ERANGE);
	assert_ok(vms_atomic_load(p, RAM + 0x2108, 2, __ATOMIC_RELAXED, &v));
	assert_int_equal(vms_span_open(p, RAM + 0x2100, 16, VMS_SLOT_READ, iov, &n, &pin), -ERANGE);
	assert_int_equal(vms_check(p, RAM + 0x10a, 0x2000, VMS_SLOT_READ), 0);
	assert_int_equal(vms_check(p, RAM + 0x10a, 0x2001, VMS_SLOT_READ), -ERANGE);
	assert_done(vms_copy(p, RAM + 0x110, RAM + 0x2000, 0x200), 0x10a, -ERANGE);
	assert_done(vms_fill(p, RAM + 0x2000, 0, 0x200), 0x10a, -ERANGE);
	/* Outside of the range nothing is said of holes. */
	assert_done(vms_read(p, HOLE, buf, 1), 0, -ERANGE);
	assert_done(vms_read(p, 5, buf, 0), 0, 0);
	vms_port_unref(p);
}

static void test_rights(void **state)
{
	struct kit *k = kit_of(state);
	struct vms_port *r = kit_port(k, 0, 0, VMS_SLOT_READ, NULL);
	struct vms_port *w = kit_port(k, 0, 0, VMS_SLOT_WRITE, NULL);
	struct iovec iov;
	struct vms_pin pin;
	struct vms_ring ring;
	uint32_t v;
	uint64_t old;
	int n = 1;

	assert_done(vms_read(r, RAM, buf, 8), 8, 0);
	assert_done(vms_write(r, RAM, buf, 8), 0, -EACCES);
	assert_done(vms_write(w, RAM, buf, 8), 8, 0);
	assert_done(vms_read(w, RAM, buf, 8), 0, -EACCES);
	assert_int_equal(vms_load_le32(w, RAM, &v), -EACCES);
	assert_int_equal(vms_store_le32(r, RAM, 1), -EACCES);
	assert_ok(vms_load_le32(r, RAM, &v));
	assert_ok(vms_store_le32(w, RAM, 1));
	assert_int_equal(vms_atomic_fetch(r, RAM, 4, 0, VMS_ATOMIC_ADD, 1, &old), -EACCES);
	assert_int_equal(vms_atomic_fetch(w, RAM, 4, 0, VMS_ATOMIC_ADD, 1, &old), -EACCES);
	assert_int_equal(vms_span_open(r, RAM, 8, VMS_SLOT_WRITE, &iov, &n, &pin), -EACCES);
	assert_int_equal(vms_ring_open(r, RAM, 8, VMS_SLOT_READ | VMS_SLOT_WRITE, &ring), -EACCES);
	assert_done(vms_copy(r, RAM, RAM_B, 8), 0, -EACCES);
	assert_done(vms_copy(w, RAM, RAM_B, 8), 0, -EACCES);
	vms_port_unref(r);
	vms_port_unref(w);
}

static void test_check(void **state)
{
	struct kit *k = kit_of(state);
	const uint32_t both = VMS_SLOT_READ | VMS_SLOT_WRITE;

	assert_int_equal(vms_check(k->port, HOLE, 0, both), 0);
	assert_int_equal(vms_check(k->port, RAM, 6 * PG, both), 0);
	assert_int_equal(vms_check(k->port, RAM, 6 * PG + 1, both), -ENXIO);
	assert_int_equal(vms_check(k->port, ROM, PG, both), -EACCES);
	assert_int_equal(vms_check(k->port, ROM, 7 * PG, VMS_SLOT_READ), 0);
	assert_int_equal(vms_check(k->port, ROM, 8 * PG, VMS_SLOT_READ), -EACCES);
	assert_int_equal(vms_check(k->port, SLOW, 4 * PG, both), 0);
	assert_int_equal(vms_check(k->port, TOP, PG, both), 0);
	assert_int_equal(vms_check(k->port, TOP, PG + 1, both), -ERANGE);
	assert_int_equal(vms_check(k->port, 0, UINT64_MAX, VMS_SLOT_READ), -ENXIO);
	assert_int_equal(vms_check(k->port, RAM, 1, 0), -EINVAL);
	assert_int_equal(vms_check(k->port, RAM, 1, VMS_SLOT_EXEC), -EINVAL);
	/* Nothing was asked. */
	assert_int_equal(k->owner.reads + k->owner.writes + k->owner.opens, 0);
}

/* ---- Translators ---- */

struct tlb_entry {
	uint64_t iova, len, gpa;
	uint32_t rights;
};

struct tlb {
	const struct tlb_entry *entry;
	unsigned n, asked;
	uint64_t too_long; /* added to the answer: a translator that says too much */
	int err;	   /* instead of any answer */
};

static int translate(void *arg, uint64_t addr, uint32_t access, uint64_t *gpa, uint64_t *len)
{
	struct tlb *t = arg;

	t->asked++;
	if (t->err)
		return t->err;
	for (unsigned i = 0; i < t->n; i++) {
		const struct tlb_entry *e = &t->entry[i];

		if (addr - e->iova >= e->len)
			continue;
		if (access & ~e->rights)
			return -EACCES;
		*gpa = e->gpa + (addr - e->iova);
		if (*len > e->len - (addr - e->iova))
			*len = e->len - (addr - e->iova);
		*len += t->too_long;
		return 0;
	}
	return -ENXIO;
}

#define RW (VMS_SLOT_READ | VMS_SLOT_WRITE)

static const struct tlb_entry mappings[] = {
	{ 0x0, PG, RAM + PG, RW }, /* out of order */
	{ PG, PG, RAM, RW },
	{ 2 * PG, PG, RAM_B, VMS_SLOT_READ }, /* may only be read here */
	{ 4 * PG, PG, HOLE, RW },	      /* to a hole */
	{ 5 * PG, PG, ROM, RW },
	{ 6 * PG, 2 * PG, SLOW, RW },
	{ 0x10000, 6, RAM + 0x100, RW }, /* smaller than pages, at odd places */
	{ 0x10006, 10, RAM + 0x201, RW },
	{ UINT64_C(0x8000000000000000), PG, RAM + 2 * PG, RW },
	{ UINT64_MAX - (PG - 1), PG, RAM + 3 * PG, RW },
};

static void test_translator(void **state)
{
	struct kit *k = kit_of(state);
	struct tlb tlb = { mappings, sizeof(mappings) / sizeof(mappings[0]) };
	const struct vms_translator t = { translate, &tlb };
	struct vms_port *p = kit_port(k, 0, 0, 0, &t);
	unsigned char *ram = k->a->hva;
	struct iovec iov[4];
	struct vms_pin pin;
	uint64_t v;
	int n = 4;

	for (int i = 0; i < 2 * (int)PG; i++)
		buf[i] = kit_byte(i);
	assert_done(vms_write_exact(p, 0, buf, 2 * PG), 2 * PG, 0);
	assert_memory_equal(ram + PG, buf, PG);
	assert_memory_equal(ram, buf + PG, PG);
	assert_ok(vms_load_le64(p, PG - 4, &v)); /* half of it each side */
	assert_memory_equal(&v, buf + PG - 4, 8);
	/* Whole first: a missing or refused part leaves all untouched. */
	memset(buf, 0xdd, 4 * PG);
	assert_done(vms_write(p, PG, buf, 2 * PG), 0, -EACCES);
	assert_done(vms_write_exact(p, PG, buf, 3 * PG), 0, -EACCES);
	assert_done(vms_read(p, PG, buf, 3 * PG), 0, -ENXIO);
	assert_done(vms_fill(p, PG, 0xdd, 2 * PG), 0, -EACCES);
	assert_done(vms_copy(p, PG, 0, 3 * PG), 0, -EACCES);
	assert_done(vms_recv(p, PG, 0, 2 * PG, -1), 0, -EACCES);
	assert_int_equal(vms_store_le64(p, 2 * PG - 4, 1), -EACCES);
	for (uint64_t i = 0; i < PG; i++)
		assert_int_equal(ram[i], kit_byte(PG + i));
	/* A hole behind the translation is a hole as ever. */
	assert_done(vms_read(p, 4 * PG, buf, 8), 0, -ENXIO);
	assert_done(vms_write(p, 5 * PG, buf, 8), 0, -EACCES);
	assert_done(vms_write(p, 6 * PG, buf, 2 * PG), 2 * PG, 0);
	assert_int_equal(k->owner.bytes[2 * PG - 1], 0xdd);
	assert_int_equal(vms_check(p, 0, 2 * PG, RW), 0);
	assert_int_equal(vms_check(p, 0, 3 * PG, RW), -EACCES);
	/* Spans follow the translation, merged where the host's memory goes on. */
	assert_ok(vms_span_open(p, 0, 2 * PG, VMS_SLOT_READ, iov, &n, &pin));
	assert_int_equal(n, 2);
	assert_ptr_equal(iov[0].iov_base, ram + PG);
	assert_ptr_equal(iov[1].iov_base, ram);
	assert_ok(vms_span_close(&pin, 0));
	n = 4;
	assert_int_equal(vms_span_open(p, 0, 4 * PG, VMS_SLOT_READ, iov, &n, &pin), -ENXIO);
	vms_port_unref(p);
}

/* Defects D11 and D13: sums that wrap, and logs in the wrong space. */
static void test_translator_edges(void **state)
{
	struct kit *k = kit_of(state);
	struct tlb tlb = { mappings, sizeof(mappings) / sizeof(mappings[0]) };
	const struct vms_translator t = { translate, &tlb };
	struct vms_port *p = kit_port(k, 0, 0, 0, &t);
	struct vms_port *narrow = kit_port(k, RAM, PG, 0, &t);
	const uint64_t high = UINT64_C(0x8000000000000000);
	struct vms_ring ring;
	uint64_t v;

	/* The last byte that can be named, and past it: nothing is touched. */
	assert_done(vms_write(p, UINT64_MAX, "x", 1), 1, 0);
	assert_int_equal(k->a->hva[4 * PG - 1], 'x');
	assert_done(vms_write(p, UINT64_MAX, "yz", 2), 0, -ERANGE);
	assert_int_equal(k->a->hva[4 * PG - 1], 'x');
	assert_done(vms_write(p, 8, buf, SIZE_MAX), 0, -EACCES);
	/* A translator that answers with more than it was asked for. */
	tlb.too_long = UINT64_MAX - PG;
	assert_done(vms_read(p, 0, buf, PG), PG, 0);
	tlb.too_long = 0;
	/* Values and atomics across pieces that are no pages. */
	kit_pattern(k->a->hva, PG, 0);
	assert_ok(vms_load_le64(p, 0x10000, &v));
	assert_memory_equal(&v, k->a->hva + 0x100, 6);
	assert_memory_equal((char *)&v + 6, k->a->hva + 0x201, 2);
	assert_int_equal(vms_atomic_load(p, 0x10000, 8, __ATOMIC_RELAXED, &v), -EINVAL);
	assert_int_equal(vms_atomic_load(p, 0x10008, 8, __ATOMIC_RELAXED, &v), -EINVAL);
	assert_ok(vms_atomic_load(p, 0x10000, 4, __ATOMIC_RELAXED, &v));
	/* A ring at an odd address after all. */
	assert_int_equal(vms_ring_open(p, 0x10006, 4, VMS_SLOT_READ, &ring), -EINVAL);
	assert_non_null(strstr(vms_last_error(), "odd"));
	/* Copies downwards in such pieces. */
	assert_done(vms_copy(p, 0x10001, 0x10000, 15), 15, 0);
	assert_int_equal(k->a->hva[0x101], kit_byte(0x100));
	assert_int_equal(k->a->hva[0x201], kit_byte(0x105));
	assert_int_equal(k->a->hva[0x202], kit_byte(0x201));
	/* The port's range is one of addresses after translation. */
	assert_done(vms_read(narrow, PG, buf, PG), PG, 0);
	assert_done(vms_read(narrow, 0, buf, 8), 0, -ERANGE);
	assert_done(vms_read(narrow, PG, buf, 2 * PG), 0, -ERANGE);
	/* What the translator answers of its own. */
	tlb.err = -ENOSPC;
	assert_done(vms_read(p, 0, buf, 8), 0, -ENOSPC);
	assert_int_equal(vms_ring_open(p, 0, 8, VMS_SLOT_READ, &ring), -ENOTSUP);
	tlb.err = 1;
	assert_done(vms_read(p, 0, buf, 8), 0, -EIO);
	tlb.err = 0;
	assert_done(vms_read(p, high + 1, buf, 8), 8, 0);
	vms_port_unref(p);
	vms_port_unref(narrow);
}

/* ---- Brackets ---- */

static void free_it(struct epoch_head *head)
{
	*(bool *)(head + 1) = true;
}

static void test_bracket(void **state)
{
	struct kit *k = kit_of(state);
	struct {
		struct epoch_head head;
		bool freed;
	} thing = { .freed = false };

	assert_ok(vms_enter(k->port));
	assert_ok(vms_enter(k->port));
	epoch_retire(&thing.head, free_it);
	assert_done(vms_read(k->port, RAM, buf, 8), 8, 0);
	vms_leave(k->port);
	epoch_poll();
	assert_false(thing.freed);
	vms_leave(k->port);
	epoch_synchronize();
	assert_true(thing.freed);
}

/* What is unmapped in a bracket stays readable to nobody, but its memory waits for the bracket. */
static void test_bracket_holds_blocks(void **state)
{
	struct kit *k = kit_of(state);
	struct slow_owner other = { .err = 0 };

	kit_map_slow(k, HOLE, 1, &slow_ops, &other);
	assert_ok(vms_enter(k->port));
	kit_unmap(k, HOLE, 1);
	assert_done(vms_read(k->port, HOLE, buf, 1), 0, -ENXIO);
	/* Also what takes counts of slow blocks meanwhile frees nothing here. */
	assert_done(vms_read(k->port, SLOW, buf, 1), 1, 0);
	assert_int_equal(other.releases, 0);
	vms_leave(k->port);
	vms_memory_synchronize(k->mem);
	assert_int_equal(other.releases, 1);
}

/* ---- Threads without a record ---- */

#define THREADS 200u

static struct kit *shared_kit;
static sem_t arrived, go;
static const char *broken;

#define want(cond)                      \
	do {                            \
		if (!(cond) && !broken) \
			broken = #cond; \
	} while (0)

static bool is(struct vms_done r, size_t done, int status)
{
	return r.done == done && r.status == status;
}

static void without_record(struct kit *k)
{
	struct tlb tlb = { mappings, sizeof(mappings) / sizeof(mappings[0]) };
	const struct vms_translator t = { translate, &tlb };
	struct vms_port_params pp = { .size = sizeof(pp), .translator = &t };
	unsigned char bytes[64];
	struct vms_port *iommu;
	struct iovec iov[4];
	struct vms_ring ring;
	struct vms_pin pin;
	struct vms_edit *e;
	uint64_t old;
	uint32_t v;
	int n = 4;

	memset(bytes, 0x31, sizeof(bytes));
	want(vms_enter(k->port) == -ENOMEM);
	want(is(vms_write(k->port, RAM + 3, bytes, 64), 64, 0));
	want(is(vms_read_exact(k->port, RAM_B - 8, bytes, 64), 64, 0));
	want(is(vms_write_exact(k->port, HOLE - 8, bytes, 64), 8, -ENXIO));
	want(is(vms_write(k->port, SLOW + 3, bytes, 64), 64, 0));
	want(is(vms_fill(k->port, MANAGED - 8, 1, 64), 64, 0));
	want(is(vms_copy(k->port, RAM, RAM + 16, 5 * PG), 5 * PG, 0));
	want(is(vms_copy(k->port, SLOW, SLOW + 5, 4 * PG - 5), 4 * PG - 5, 0));
	want(vms_store_le32(k->port, RAM + 4, 0x12345678) == 0);
	want(vms_load_be32(k->port, RAM + 4, &v) == 0 && v == 0x78563412);
	want(vms_load_le32(k->port, SLOW + 2, &v) == 0);
	want(vms_load_le32(k->port, HOLE, &v) == -ENXIO);
	want(vms_atomic_fetch(k->port, RAM + 8, 8, 5, VMS_ATOMIC_ADD, 1, &old) == 0);
	want(vms_check(k->port, ROM, PG, VMS_SLOT_READ) == 0);
	want(vms_span_open(k->port, RAM, 3 * PG, RW, iov, &n, &pin) == 0 && n == 1);
	want(vms_span_close(&pin, 100) == 0);
	n = 4;
	want(vms_span_borrow(k->port, RAM, 8, RW, iov, &n, &pin) == -EINVAL);
	want(vms_ring_open(k->port, RAM, 256, RW, &ring) == 0);
	want(vms_ring_store32(&ring, 8, 1));
	vms_ring_close(&ring);
	want(vms_port_create(k->mem, &pp, &iommu) == 0);
	want(is(vms_write_exact(iommu, PG - 32, bytes, 64), 64, 0));
	vms_port_unref(iommu);
	/* The lock was given back each time. */
	want(vms_edit_begin(k->mem, &e) == 0 && vms_slot_unmap(e, HOLE, PG) == 0);
	want(vms_edit_commit(e) == 0);
}

static void *one_thread(void *arg)
{
	bool has = epoch_enter();

	if (has)
		epoch_leave();
	else
		without_record(shared_kit);
	*(bool *)arg = has;
	sem_post(&arrived);
	sem_wait(&go); /* so that its record is not free */
	return NULL;
}

static void test_no_record(void **state)
{
	static pthread_t thread[THREADS];
	static bool has[THREADS];
	struct kit *k = kit_of(state);
	pthread_attr_t attr;
	unsigned n = 0, without = 0;

	shared_kit = k;
	sem_init(&arrived, 0, 0);
	sem_init(&go, 0, 0);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 512 << 10);
	/* The object's pages are there: its arena, too, would ask the host for more. */
	assert_done(vms_fill(k->port, MANAGED, 1, 2 * PG), 2 * PG, 0);
	/* Records come by the page: the page that is there fills up, and there is no other. */
	test_world_fail(&k->world, 1, 1u << CALL_MMAP, ENOMEM);
	k->world.fail_more = UINT64_MAX;
	for (; n < THREADS && without < 3; n++) {
		assert_int_equal(pthread_create(&thread[n], &attr, one_thread, &has[n]), 0);
		sem_wait(&arrived);
		without += !has[n];
	}
	test_world_fail(&k->world, 0, 0, 0);
	for (unsigned i = 0; i < n; i++)
		sem_post(&go);
	for (unsigned i = 0; i < n; i++)
		pthread_join(thread[i], NULL);
	if (broken)
		print_error("without a record: %s\n", broken);
	assert_null(broken);
	assert_int_equal(without, 3);
	sem_destroy(&arrived);
	sem_destroy(&go);
	pthread_attr_destroy(&attr);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_refused, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_limit, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_range, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_rights, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_check, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_translator, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_translator_edges, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_bracket, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_bracket_holds_blocks, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_no_record, kit_begin, kit_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
