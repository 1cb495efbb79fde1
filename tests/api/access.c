// SPDX-License-Identifier: MIT
/*
 * What a device model does with guest memory, through the shared library and the installed headers
 * alone: every call of access.h and ring.h at least once, at the borders of ranges. The full table of
 * answers stands in tests/unit/memory_bytes.c; what is refused, in memory.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmspace/access.h>
#include <vmspace/ring.h>

#include "check.h"

#define RW (VMS_SLOT_READ | VMS_SLOT_WRITE)

static uint64_t P;
static struct vms_memory *mem;
static struct vms_port *port;

#define assert_done(call, want_done, want_status)                             \
	do {                                                                  \
		struct vms_done r_ = (call);                                  \
                                                                              \
		assert_int_equal(r_.status, want_status);                     \
		assert_int_equal((long long)r_.done, (long long)(want_done)); \
	} while (0)

/* Two ranges that touch, a hole, and the last page of the 64-bit space. */
static int begin(void **state)
{
	static const struct vms_memory_params params = { .size = sizeof(params) };
	struct vms_range range[3];

	P = (uint64_t)sysconf(_SC_PAGESIZE);
	range[0] = (struct vms_range){ 0 - P, P };
	range[1] = (struct vms_range){ P, P };
	range[2] = (struct vms_range){ 0, P };
	assert_ok(vms_memory_from_ranges(&params, range, 3, &mem));
	assert_ok(vms_port_create(mem, NULL, &port));
	return 0;
}

static int end(void **state)
{
	assert_ok(vms_memory_check(mem));
	vms_port_unref(port);
	vms_memory_unref(mem);
	return 0;
}

/* The first example of everybody's: five bytes over the border, and back. */
static void test_bytes(void **state)
{
	char got[8] = "";

	assert_done(vms_write(port, P - 4, "hello", 5), 5, 0);
	assert_done(vms_read(port, P - 4, got, 5), 5, 0);
	assert_string_equal(got, "hello");
	assert_done(vms_read(port, 2 * P - 3, got, 8), 3, 0);
	assert_done(vms_read_exact(port, 2 * P - 3, got, 8), 3, -ENXIO);
	assert_done(vms_write_exact(port, 2 * P - 3, "abcdef", 6), 3, -ENXIO);
	assert_done(vms_read(port, 2 * P, got, 1), 0, -ENXIO);
	assert_done(vms_read(port, 2 * P, got, 0), 0, 0);
	assert_done(vms_write(port, UINT64_MAX, "z", 1), 1, 0);
	assert_done(vms_write_exact(port, UINT64_MAX, "zz", 2), 1, -ERANGE);
	assert_done(vms_fill(port, P - 2, 'x', 4), 4, 0);
	assert_done(vms_copy(port, P - 3, P - 4, 5), 5, 0);
	assert_done(vms_read_exact(port, P - 4, got, 6), 6, 0);
	assert_memory_equal(got, "hhexxx", 6);
	assert_int_equal(vms_check(port, 0, 2 * P, RW), 0);
	assert_int_equal(vms_check(port, 0, 2 * P + 1, RW), -ENXIO);
}

static void test_values(void **state)
{
	uint8_t v8 = 0;
	uint16_t v16 = 0;
	uint32_t v32 = 0;
	uint64_t v64 = 0;

	assert_done(vms_write(port, P - 4, "\1\2\3\4\5\6\7\10", 8), 8, 0);
	assert_ok(vms_load8(port, P + 3, &v8));
	assert_int_equal(v8, 8);
	assert_ok(vms_load_le16(port, P, &v16));
	assert_int_equal(v16, 0x0605);
	assert_ok(vms_load_be16(port, P, &v16));
	assert_int_equal(v16, 0x0506);
	assert_ok(vms_load_le32(port, P - 2, &v32));
	assert_int_equal(v32, 0x06050403);
	assert_ok(vms_load_be32(port, P, &v32));
	assert_int_equal(v32, 0x05060708);
	assert_ok(vms_load_le64(port, P - 4, &v64));
	assert_true(v64 == UINT64_C(0x0807060504030201));
	assert_ok(vms_load_be64(port, P - 4, &v64));
	assert_true(v64 == UINT64_C(0x0102030405060708));
	assert_ok(vms_store8(port, P, 0x11));
	assert_ok(vms_store_le16(port, P + 2, 0x2233));
	assert_ok(vms_store_be16(port, P + 4, 0x4455));
	assert_ok(vms_store_le32(port, P + 8, 0x66778899));
	assert_ok(vms_store_be32(port, P + 12, 0xaabbccdd));
	assert_ok(vms_store_le64(port, P + 16, UINT64_C(0x1122334455667788)));
	assert_ok(vms_store_be64(port, P - 4, UINT64_C(0x99aabbccddeeff00)));
	assert_ok(vms_load_be64(port, P + 8, &v64));
	assert_true(v64 == UINT64_C(0x99887766aabbccdd));
	assert_ok(vms_load_be64(port, P - 4, &v64));
	assert_true(v64 == UINT64_C(0x99aabbccddeeff00));
	assert_int_equal(vms_store_le16(port, 2 * P - 1, 0), -ENXIO);
	assert_int_equal(vms_load_le16(port, UINT64_MAX, &v16), -ERANGE);
	assert_ok(vms_load_le64(port, UINT64_MAX - 7, &v64));
}

static void test_atomics(void **state)
{
	uint64_t v = 0, old = 0;
	bool swapped = false;

	assert_ok(vms_atomic_store(port, 8, 4, __ATOMIC_RELEASE, 5));
	assert_ok(vms_atomic_fetch(port, 8, 4, __ATOMIC_ACQ_REL, VMS_ATOMIC_ADD, 3, &old));
	assert_int_equal(old, 5);
	assert_ok(vms_atomic_cas(port, 8, 4, __ATOMIC_SEQ_CST, &v, 1, &swapped));
	assert_false(swapped);
	assert_int_equal(v, 8);
	assert_ok(vms_atomic_cas(port, 8, 4, __ATOMIC_SEQ_CST, &v, 1, &swapped));
	assert_true(swapped);
	assert_ok(vms_atomic_load(port, 8, 4, __ATOMIC_ACQUIRE, &v));
	assert_int_equal(v, 1);
	assert_int_equal(vms_atomic_load(port, 9, 4, __ATOMIC_ACQUIRE, &v), -EINVAL);
	assert_int_equal(vms_atomic_load(port, P - 2, 4, __ATOMIC_ACQUIRE, &v), -EINVAL);
}

static void test_spans(void **state)
{
	struct vms_pin pin, loan;
	struct iovec iov[2];
	char got[4];
	int n = 2;

	assert_ok(vms_span_open(port, P - 2, 4, RW, iov, &n, &pin));
	assert_in_range(n, 1, 2);
	memset(iov[0].iov_base, 'a', iov[0].iov_len);
	if (n == 2)
		memset(iov[1].iov_base, 'b', iov[1].iov_len);
	assert_ok(vms_span_close(&pin, SIZE_MAX));
	assert_done(vms_read_exact(port, P - 2, got, 4), 4, 0);
	assert_memory_equal(got, n == 2 ? "aabb" : "aaaa", 4);
	assert_ok(vms_enter(port));
	n = 1;
	assert_ok(vms_span_borrow(port, 16, 16, VMS_SLOT_WRITE, iov, &n, &loan));
	memset(iov[0].iov_base, 'c', 16);
	vms_span_wrote(&loan, 16);
	vms_leave(port);
	assert_done(vms_read_exact(port, 28, got, 4), 4, 0);
	assert_memory_equal(got, "cccc", 4);
}

static void test_rings(void **state)
{
	struct vms_ring ring;
	uint16_t v16 = 0;
	uint32_t v32 = 0;

	assert_ok(vms_ring_open(port, 0x100, 64, RW, &ring));
	assert_true(vms_ring_store32(&ring, 4, 0x01020304));
	assert_true(vms_ring_store16_release(&ring, 2, 7));
	assert_true(vms_ring_load16_acquire(&ring, 2, &v16));
	assert_int_equal(v16, 7);
	assert_false(vms_ring_load32(&ring, 62, &v32));
	assert_false(vms_ring_store32(&ring, 64, 1));
	vms_ring_close(&ring);
	assert_ok(vms_load_le32(port, 0x104, &v32));
	assert_int_equal(v32, 0x01020304);
	assert_int_equal(vms_ring_open(port, 2 * P - 8, 16, RW, &ring), -ENXIO);
}

static void test_streams(void **state)
{
	int fd = memfd_create("stream", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "0123456789", 10), 10);
	assert_done(vms_recv(port, P - 5, fd, 100, 0), 10, 0);
	assert_done(vms_recv_exact(port, P - 5, fd, 100, 0), 10, -ENODATA);
	assert_done(vms_send_exact(port, P - 3, fd, 6, -1), 6, 0);
	assert_done(vms_recv_exact(port, 0, fd, 6, 10), 6, 0);
	assert_done(vms_send(port, 2 * P - 1, fd, 6, 0), 1, 0);
	assert_done(vms_send(port, 2 * P, fd, 6, 0), 0, -ENXIO);
	close(fd);
}

/* An IOMMU of one page, turned by 16 bytes. */
static int turn(void *arg, uint64_t addr, uint32_t access, uint64_t *gpa, uint64_t *len)
{
	if (addr >= 64)
		return -ENXIO;
	*gpa = addr < 16 ? addr + 48 : addr - 16;
	if (*len > (addr < 16 ? 16 : 64) - addr)
		*len = (addr < 16 ? 16 : 64) - addr;
	return 0;
}

static void test_translated(void **state)
{
	static const struct vms_translator t = { .translate = turn };
	struct vms_port_params p = { .size = sizeof(p), .len = 64, .translator = &t };
	char got[64], want[64];
	struct vms_port *iommu;

	assert_ok(vms_port_create(mem, &p, &iommu));
	for (int i = 0; i < 64; i++)
		want[i] = (char)i;
	assert_done(vms_write_exact(iommu, 0, want, 64), 64, 0);
	assert_done(vms_read_exact(port, 0, got, 64), 64, 0);
	assert_memory_equal(got, want + 16, 48);
	assert_memory_equal(got + 48, want, 16);
	/* Whole or not at all. */
	assert_done(vms_write(iommu, 32, want, 64), 0, -ENXIO);
	assert_done(vms_read_exact(port, 16, got, 16), 16, 0);
	assert_memory_equal(got, want + 32, 16);
	vms_port_unref(iommu);
}

static void test_nobodys_fault(void **state)
{
	vms_recover_enable(true);
	assert_false(vms_recover_fault(7, NULL, NULL));
	vms_recover_enable(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_bytes, begin, end),
		cmocka_unit_test_setup_teardown(test_values, begin, end),
		cmocka_unit_test_setup_teardown(test_atomics, begin, end),
		cmocka_unit_test_setup_teardown(test_spans, begin, end),
		cmocka_unit_test_setup_teardown(test_rings, begin, end),
		cmocka_unit_test_setup_teardown(test_streams, begin, end),
		cmocka_unit_test_setup_teardown(test_translated, begin, end),
		cmocka_unit_test_setup_teardown(test_nobodys_fault, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
