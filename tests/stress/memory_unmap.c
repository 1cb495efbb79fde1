// SPDX-License-Identifier: MIT
/*
 * memory_unmap.c: what release() gives back is touched by nobody.
 *
 * A changer shows regions of its own memory as stand-alone slots, and takes them away again, by an
 * unmap, by another slot in their place, or by an edit that maps the same host memory anew. Readers
 * and writers go through ports meanwhile: bytes, sized values, atomics, copies, spans that they hold
 * for a while, borrowed spans, rings. All that is shown, and all that is written, is bytes below
 * 0x80.
 *
 * A region whose release came is filled with 0xee, or made inaccessible, waits for a while, and is
 * shown again.
 *
 *	1 no reader finds a byte of 0x80 or above, and none faults
 *	2 a region that waits stays as it was filled
 *	3 each slot has one release, and none before it was taken away
 *	4 after vms_memory_synchronize() all that was taken away before has been released, but for
 *	  what a span holds
 *	5 in the end nothing is mapped, and all has been released
 *
 * Arguments: seconds; "EPERM" or "ENOSYS": the host refuses membarrier so.
 */
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "random.h"
#include "refuse.h"
#include "stress.h"
#include "vmspace/access.h"
#include "vmspace/fast.h"
#include "vmspace/ring.h"

#define P	UINT64_C(4096)
#define REGIONS 48u
#define PAGES	4u /* of a region */
#define CELLS	24u
#define BYTES	(PAGES * P)
#define BAD	0xee
#define READERS 3u

enum state { FREE, SHOWN, TAKEN, RELEASED, WAITING };

struct region {
	unsigned char *at;
	_Atomic(int) state;
	unsigned since; /* WAITING: the changer's step */
	bool shut;	/* no access at all, rather than filled */
};

static double seconds = 2;
static struct vms_memory *mem;
static struct region region[REGIONS];
static struct region *cell[CELLS]; /* what stands there; NULL: a hole */
static atomic_bool spans;	   /* may be opened */
static atomic_uint open_spans;

enum { ACCESSES, SPANS, RINGS, MAPS, UNMAPS, REPLACES, RELEASES, KINDS };
static const char *const names[KINDS] = { "accesses", "spans",	  "rings",   "maps",
					  "unmaps",   "replaces", "releases" };

#if defined(__SANITIZE_THREAD__)
#define NO_TSAN __attribute__((no_sanitize_thread, noinline))
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define NO_TSAN __attribute__((no_sanitize("thread"), noinline))
#endif
#endif
#ifndef NO_TSAN
#define NO_TSAN
#endif

/* Are all bytes below 0x80? Of guest memory: no race detector is told. */
NO_TSAN static bool good(const void *p, size_t n)
{
	const volatile unsigned char *at = p;

	for (size_t i = 0; i < n; i += 8)
		if (at[i] & 0x80)
			return false;
	return true;
}

static void see(const void *p, size_t n, const char *what)
{
	if (!good(p, n))
		bad("%s: a byte of what was given back", what);
}

/* ---- Readers and writers ---- */

static void may_fail(int status, const char *what)
{
	if (status && status != -ENXIO)
		must(status, what);
}

static void use_span(struct vms_port *port, uint64_t gpa, uint32_t *seed)
{
	uint32_t rights = VMS_SLOT_READ | (next32(seed) & 1 ? VMS_SLOT_WRITE : 0);
	struct iovec iov[8];
	struct vms_pin pin;
	int n = 8, err;

	atomic_fetch_add(&open_spans, 1);
	err = atomic_load(&spans) ? vms_span_open(port, gpa, 2 * BYTES, rights, iov, &n, &pin)
				  : -ENXIO;
	may_fail(err, "span");
	if (!err) {
		for (unsigned turn = 0; turn < 4; turn++) {
			for (int i = 0; i < n; i++)
				see(iov[i].iov_base, iov[i].iov_len, "span");
			if (rights & VMS_SLOT_WRITE)
				memset(iov[0].iov_base, 0x11, 8);
			if (next32(seed) % 16 == 0)
				sched_yield();
		}
		must(vms_span_close(&pin, 8), "span close");
		counted(SPANS);
	}
	atomic_fetch_sub(&open_spans, 1);
}

static void use_ring(struct vms_port *port, uint64_t gpa, uint32_t *seed)
{
	struct vms_ring ring;
	uint64_t v;
	int err;

	atomic_fetch_add(&open_spans, 1);
	err = atomic_load(&spans) ? vms_ring_open(port, gpa, P, VMS_SLOT_RAM & ~4u, &ring) : -ENXIO;
	if (err != -ENOTSUP)
		may_fail(err, "ring");
	if (!err) {
		for (unsigned i = 0; i < 50; i++) {
			uint64_t off = next32(seed) % P & ~UINT64_C(7);

			if (vms_ring_load64(&ring, off, &v))
				see(&v, 8, "ring");
			vms_ring_store64(&ring, off, UINT64_C(0x2222222222222222));
		}
		vms_ring_close(&ring);
		counted(RINGS);
	}
	atomic_fetch_sub(&open_spans, 1);
}

static void use_borrowed(struct vms_port *port, uint64_t gpa)
{
	struct iovec iov[4];
	struct vms_pin pin;
	int n = 4, err;

	must(vms_enter(port), "enter");
	err = vms_span_borrow(port, gpa, 256, VMS_SLOT_READ, iov, &n, &pin);
	may_fail(err, "borrow");
	for (unsigned turn = 0; !err && turn < 8; turn++)
		for (int i = 0; i < n; i++)
			see(iov[i].iov_base, iov[i].iov_len, "borrowed");
	vms_leave(port);
}

static void access_once(struct vms_port *port, uint32_t *seed)
{
	uint64_t gpa = next32(seed) % (CELLS * BYTES - 64) & ~UINT64_C(7), v = 0, old;
	unsigned char buf[4 * P];
	struct vms_done d;

	switch (next32(seed) % 32) {
	case 0:
		use_span(port, gpa, seed);
		break;
	case 1:
		if (next32(seed) % 8 == 0)
			use_ring(port, gpa & ~(P - 1), seed);
		break;
	case 2:
		use_borrowed(port, gpa);
		break;
	case 3:
		d = vms_read(port, gpa, buf, sizeof(buf));
		may_fail(d.status, "read");
		see(buf, d.done, "read");
		break;
	case 4:
		memset(buf, 0x33, sizeof(buf));
		may_fail(vms_write(port, gpa, buf, sizeof(buf)).status, "write");
		break;
	case 5:
		may_fail(vms_fill(port, gpa, 0x44, 300).status, "fill");
		break;
	case 6:
		may_fail(vms_copy(port, gpa, next32(seed) % (CELLS * BYTES), 1000).status, "copy");
		break;
	case 7:
		may_fail(vms_atomic_fetch(port, gpa, 8, __ATOMIC_SEQ_CST, VMS_ATOMIC_EXCHANGE,
					  UINT64_C(0x5555555555555555), &old),
			 "exchange");
		break;
	case 8:
	case 9:
		may_fail(vms_store_le64(port, gpa, UINT64_C(0x6666666666666666)), "store");
		break;
	default:
		may_fail(vms_load_le64(port, gpa, &v), "load");
		see(&v, 8, "load");
		break;
	}
}

static void *reader_main(void *arg)
{
	uint32_t seed = 3 + (uint32_t)(uintptr_t)arg;
	struct vms_port *port = NULL;

	must(vms_port_create(mem, NULL, &port), "port");
	while (going()) {
		/* Now and then in a bracket, with no span that waits in it. */
		for (unsigned i = 0; going() && i < 100; i++)
			access_once(port, &seed);
		if (next32(&seed) % 4 == 0) {
			uint64_t v = 0, at = next32(&seed) % (CELLS * BYTES / 2) & ~UINT64_C(7);
			struct vms_fast fast;

			must(vms_fast_init(port, &fast), "fast");
			must(vms_enter(port), "enter");
			for (unsigned i = 0; i < 20; i++) {
				may_fail(vms_load_le64(port, at + i * 8 * 13, &v), "load");
				see(&v, 8, "load");
				v = 0;
				may_fail(vms_fast_load_le64(&fast, at + i * 2048, &v), "fast");
				see(&v, 8, "fast");
				may_fail(vms_fast_store8(&fast, at + i * 1024, 0x77), "fast");
			}
			vms_leave(port);
		}
		atomic_fetch_add_explicit(&counts[ACCESSES], 100, memory_order_relaxed);
	}
	vms_port_unref(port);
	return NULL;
}

/* ---- The changer ---- */

static unsigned step;

static void on_release(void *arg)
{
	struct region *r = arg;
	int was = TAKEN;

	if (!atomic_compare_exchange_strong(&r->state, &was, RELEASED))
		bad("a release in state %d", was);
	counted(RELEASES);
}

static void make_good(struct region *r)
{
	memset(r->at, 0x5a, BYTES);
}

/* From now on nobody may touch it. */
static void shut(struct region *r, uint32_t *seed)
{
	r->shut = next32(seed) % 4 == 0;
	memset(r->at, BAD, BYTES);
	if (r->shut)
		must(mprotect(r->at, BYTES, PROT_NONE), "mprotect");
	r->since = step;
	atomic_store(&r->state, WAITING);
}

static void reopen(struct region *r)
{
	if (r->shut)
		must(mprotect(r->at, BYTES, PROT_READ | PROT_WRITE), "mprotect");
	for (uint64_t i = 0; i < BYTES; i++)
		if (r->at[i] != BAD) {
			bad("a write to what was given back");
			break;
		}
	atomic_store(&r->state, FREE);
}

static void tend(uint32_t *seed)
{
	for (unsigned i = 0; i < REGIONS; i++) {
		if (atomic_load(&region[i].state) == RELEASED)
			shut(&region[i], seed);
		else if (atomic_load(&region[i].state) == WAITING && step - region[i].since > 8)
			reopen(&region[i]);
	}
}

static struct region *free_region(uint32_t *seed)
{
	for (unsigned i = 0; i < 2 * REGIONS; i++) {
		struct region *r = &region[next32(seed) % REGIONS];

		if (atomic_load(&r->state) == FREE)
			return r;
	}
	return NULL;
}

/* It goes by the commit that follows. Its release may come before that returns. */
static void going_away(unsigned c)
{
	if (cell[c])
		atomic_store(&cell[c]->state, TAKEN);
	cell[c] = NULL;
}

static void show(struct vms_edit *e, unsigned c, struct region *r)
{
	make_good(r);
	must(vms_slot_map_host(e, c * BYTES, BYTES, r->at, on_release, r, VMS_SLOT_RAM), "map");
	atomic_store(&r->state, SHOWN);
	cell[c] = r;
}

static void change_once(uint32_t *seed)
{
	unsigned c = next32(seed) % CELLS, n = 1 + next32(seed) % 3;
	struct vms_edit *e;

	must(vms_edit_begin(mem, &e), "edit");
	for (; c < CELLS && n > 0; c++, n--) {
		struct region *r = free_region(seed);
		bool stood = cell[c] != NULL;

		if (next32(seed) % 3 == 0 || !r) {
			/* In two parts: the first one does not end it. */
			if (next32(seed) & 1)
				must(vms_slot_unmap(e, c * BYTES, P), "unmap");
			must(vms_slot_unmap(e, c * BYTES, BYTES), "unmap");
			going_away(c);
			counted(UNMAPS);
			continue;
		}
		going_away(c);
		show(e, c, r);
		counted(stood ? REPLACES : MAPS);
	}
	must(vms_edit_commit(e), "commit");
}

/* Nobody holds a span: then all that was taken has come back. */
static void check_synchronize(void)
{
	atomic_store(&spans, false);
	while (atomic_load(&open_spans) > 0)
		sched_yield();
	vms_memory_synchronize(mem);
	for (unsigned i = 0; i < REGIONS; i++)
		if (atomic_load(&region[i].state) == TAKEN)
			bad("not released after synchronize");
	atomic_store(&spans, true);
}

static void *changer_main(void *arg)
{
	uint32_t seed = 77;

	while (going()) {
		step++;
		change_once(&seed);
		tend(&seed);
		if (next32(&seed) % 64 == 0)
			check_synchronize();
		if (next32(&seed) % 8 == 0)
			sched_yield();
	}
	return NULL;
}

static void test(void **state)
{
	struct vms_memory_params p = { .size = sizeof(p) };
	pthread_t thread[READERS + 1];
	struct vms_memory_info info = { .size = sizeof(info) };
	struct vms_edit *e;
	uint32_t seed = 1;

	assert_ok(vms_memory_create(&p, &mem));
	for (unsigned i = 0; i < REGIONS; i++) {
		region[i].at = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_true(region[i].at != MAP_FAILED);
	}
	atomic_store(&spans, true);
	for (unsigned i = 0; i < READERS + 1; i++)
		assert_ok(pthread_create(&thread[i], NULL, i < READERS ? reader_main : changer_main,
					 (void *)(uintptr_t)i));
	rest(seconds);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < READERS + 1; i++)
		assert_ok(pthread_join(thread[i], NULL));
	print_counts(names, KINDS);
	assert_ok(vms_memory_check(mem));
	assert_ok(vms_edit_begin(mem, &e));
	assert_ok(vms_slot_unmap(e, 0, CELLS * BYTES));
	for (unsigned c = 0; c < CELLS; c++)
		going_away(c);
	assert_ok(vms_edit_commit(e));
	vms_memory_synchronize(mem);
	assert_ok(vms_memory_info(mem, &info));
	assert_int_equal(info.slots, 0);
	assert_int_equal(info.blocks, 0);
	for (unsigned i = 0; i < 20; i++, step++)
		tend(&seed);
	for (unsigned i = 0; i < REGIONS; i++) {
		assert_int_equal(atomic_load(&region[i].state), FREE);
		munmap(region[i].at, BYTES);
	}
	vms_memory_unref(mem);
	assert_int_equal(atomic_load(&failures), 0);
	assert_true(atomic_load(&counts[ACCESSES]) > 0 && atomic_load(&counts[RELEASES]) > 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test) };

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "EPERM") == 0)
			refuse_membarrier(EPERM);
		else if (strcmp(argv[i], "ENOSYS") == 0)
			refuse_membarrier(ENOSYS);
		else
			seconds = atof(argv[i]);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
