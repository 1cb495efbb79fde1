// SPDX-License-Identifier: MIT
/*
 * mman.c: what a memory call costs without a guest, against the bare kernel's own calls.
 *
 * Each side has a row of n adjacent mappings of four pages, alternately r-- and rw-, so that none
 * merges with its neighbours. Our side is one of
 *
 *	record	the planner and the tree alone, with the recording backend
 *	holes	the host backend with real holes: each call is a host call, too
 *	window	the host backend with a reserved window
 *
 * and the peer is the kernel, called directly on a row of the same shape. The calls:
 *
 *	replace		mmap(MAP_FIXED) of one mapping of the row by an equal one
 *	map+unmap	mmap of a page anywhere, and its munmap; the cost of the pair
 *	mprotect	of one whole mapping, to rights that its neighbours do not have
 *	split+merge	mprotect of a mapping's second page, and back; the cost of the pair
 *	madvise		MADV_DONTNEED of one untouched mapping
 *	mremap		move of a page of its own between two places with MREMAP_FIXED
 *	resize		mremap of it to two pages, and back; the cost of the pair
 *
 * The mappings are taken in a random order, the same for both sides.
 *
 * The address ranges below are far from where the kernel places what nobody asked an address for,
 * so nothing of this process lands in them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench.h"
#include "vmspace/mman.h"

#define TIB	    (UINT64_C(1) << 40)
#define WINDOW_LO   (16 * TIB)
#define WINDOW_HI   (36 * TIB)
#define OUR_ROW	    (17 * TIB)
#define KERNEL_ROW  (72 * TIB)
#define PAGES	    4 /* of one mapping */
#define RESERVATION (16 * TIB)

enum side { RECORD, HOLES, WINDOW };

static const char *const side_name[] = {"record", "holes", "window"};
static const double side_target[] = {0.12, 1.15, 0};

/* Somebody who answers memory calls: the engine, or (mm NULL) the kernel. */
struct answerer {
	struct vms_mm *mm;
	uint64_t row; /* first address of its row */
};

static uint64_t page;

static void die(const char *what, int64_t err)
{
	fprintf(stderr, "bench-mman: %s: %s\n", what, strerror((int)-err));
	exit(1);
}

static int64_t a_mmap(const struct answerer *a, uint64_t addr, uint64_t len, int prot, int flags)
{
	void *got;

	if (a->mm)
		return vms_mmap(a->mm, addr, len, (uint64_t)prot, (uint64_t)flags, -1, 0);
	got = mmap((void *)(uintptr_t)addr, len, prot, flags, -1, 0);
	return got == MAP_FAILED ? -errno : (int64_t)(uintptr_t)got;
}

static int64_t a_munmap(const struct answerer *a, uint64_t addr, uint64_t len)
{
	if (a->mm)
		return vms_munmap(a->mm, addr, len);
	return munmap((void *)(uintptr_t)addr, len) ? -errno : 0;
}

static int64_t a_mprotect(const struct answerer *a, uint64_t addr, uint64_t len, int prot)
{
	if (a->mm)
		return vms_mprotect(a->mm, addr, len, (uint64_t)prot);
	return mprotect((void *)(uintptr_t)addr, len, prot) ? -errno : 0;
}

static int64_t a_madvise(const struct answerer *a, uint64_t addr, uint64_t len, int advice)
{
	if (a->mm)
		return vms_madvise(a->mm, addr, len, advice);
	return madvise((void *)(uintptr_t)addr, len, advice) ? -errno : 0;
}

static int64_t a_mremap(const struct answerer *a, uint64_t addr, uint64_t old_len, uint64_t new_len,
			int flags, uint64_t to)
{
	void *got;

	if (a->mm)
		return vms_mremap(a->mm, addr, old_len, new_len, (uint64_t)flags, to);
	got = mremap((void *)(uintptr_t)addr, old_len, new_len, flags, (void *)(uintptr_t)to);
	return got == MAP_FAILED ? -errno : (int64_t)(uintptr_t)got;
}

/* ---- the rows ---- */

#define ANON  (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)
#define FIXED (ANON | MAP_FIXED)

static int row_prot(unsigned i)
{
	return i % 2 ? PROT_READ : PROT_READ | PROT_WRITE;
}

static uint64_t row_addr(const struct answerer *a, unsigned i)
{
	return a->row + (uint64_t)i * PAGES * page;
}

/* A page of its own, with free pages on both sides: here, and the place it moves to. */
static uint64_t loose(const struct answerer *a)
{
	return a->row - 64 * page;
}

static uint64_t elsewhere(const struct answerer *a)
{
	return a->row - 32 * page;
}

static void row_make(const struct answerer *a, unsigned n)
{
	int64_t got = 0;

	for (unsigned i = 0; i < n && got >= 0; i++)
		got = a_mmap(a, row_addr(a, i), PAGES * page, row_prot(i), FIXED);
	if (got >= 0)
		got = a_mmap(a, loose(a), page, PROT_READ, FIXED);
	if (got < 0)
		die("making a row", got);
}

static void row_drop(const struct answerer *a, unsigned n)
{
	a_munmap(a, loose(a), 64 * page);
	a_munmap(a, a->row, (uint64_t)n * PAGES * page);
}

/* ---- the calls ---- */

static int64_t do_replace(const struct answerer *a, unsigned i)
{
	return a_mmap(a, row_addr(a, i), PAGES * page, row_prot(i), FIXED);
}

static int64_t do_map_unmap(const struct answerer *a, unsigned i)
{
	int64_t at = a_mmap(a, 0, page, PROT_NONE, ANON);

	return at < 0 ? at : a_munmap(a, (uint64_t)at, page);
}

static int64_t do_mprotect(const struct answerer *a, unsigned i)
{
	int64_t err = a_mprotect(a, row_addr(a, i), PAGES * page, row_prot(i) | PROT_EXEC);

	return err ? err : a_mprotect(a, row_addr(a, i), PAGES * page, row_prot(i));
}

static int64_t do_split(const struct answerer *a, unsigned i)
{
	int64_t err = a_mprotect(a, row_addr(a, i) + page, page, PROT_NONE);

	return err ? err : a_mprotect(a, row_addr(a, i) + page, page, row_prot(i));
}

static int64_t do_madvise(const struct answerer *a, unsigned i)
{
	return a_madvise(a, row_addr(a, i), PAGES * page, MADV_DONTNEED);
}

static int64_t do_mremap(const struct answerer *a, unsigned i)
{
	const int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
	int64_t got = a_mremap(a, loose(a), page, page, flags, elsewhere(a));

	return got < 0 ? got : a_mremap(a, elsewhere(a), page, page, flags, loose(a));
}

static int64_t do_resize(const struct answerer *a, unsigned i)
{
	int64_t got = a_mremap(a, loose(a), page, 2 * page, 0, 0);

	return got < 0 ? got : a_mremap(a, loose(a), 2 * page, page, 0, 0);
}

static const struct {
	const char *name;
	int64_t (*run)(const struct answerer *a, unsigned i);
	double units; /* that one run is */
	const char *unit;
} calls[] = {
	{"replace", do_replace, 1, "ns/call"},	 {"map+unmap", do_map_unmap, 1, "ns/pair"},
	{"mprotect", do_mprotect, 2, "ns/call"}, {"split+merge", do_split, 1, "ns/pair"},
	{"madvise", do_madvise, 1, "ns/call"},	 {"mremap", do_mremap, 2, "ns/call"},
	{"resize", do_resize, 1, "ns/pair"},
};

#define CALLS (sizeof(calls) / sizeof(calls[0]))

/* ns of one unit, over `reps` runs on mappings in the given order. */
static double measure(const struct answerer *a, size_t call, const unsigned *order, unsigned reps)
{
	uint64_t start = cpu_ns();
	int64_t err = 0;

	for (unsigned k = 0; k < reps && err >= 0; k++)
		err = calls[call].run(a, order[k]);
	if (err < 0)
		die(calls[call].name, err);
	return (double)(cpu_ns() - start) / (reps * calls[call].units);
}

static void compare(const struct bench *b, const struct answerer *us, enum side side, unsigned n)
{
	const struct answerer kernel = {NULL, KERNEL_ROW};
	unsigned reps = 400, *order = malloc(reps * sizeof(*order));

	if (!order)
		die("memory", -ENOMEM);
	for (size_t c = 0; c < CALLS; c++) {
		struct figure f = {.unit = calls[c].unit, .target = side_target[side]};

		for (unsigned r = 0; r <= b->rounds; r++) {
			double ours, peer;

			for (unsigned k = 0; k < reps; k++)
				order[k] = (unsigned)random() % n;
			ours = measure(us, c, order, reps);
			peer = measure(&kernel, c, order, reps);
			if (r > 0) /* the first warms up */
				figure_round(&f, ours, peer);
		}
		figure_show(b, &f, "%s %s n=%u", side_name[side], calls[c].name, n);
	}
	free(order);
}

/* A huge reservation and its end, against one page's with the same engine. */
static void reserve(const struct bench *b, const struct answerer *us, enum side side)
{
	/* Over the host the kernel's own price for such a size is in it. */
	struct figure f = {.unit = "ns/pair", .target = side == RECORD ? 1.25 : 0};

	for (unsigned r = 0; r <= b->rounds; r++) {
		double cost[2];

		for (unsigned big = 0; big < 2; big++) {
			uint64_t len = big ? RESERVATION : page, start = cpu_ns();
			unsigned reps = 200;

			for (unsigned k = 0; k < reps; k++) {
				int64_t at = a_mmap(us, 0, len, PROT_NONE, ANON);

				if (at < 0)
					die("a reservation of 16 TiB", at);
				a_munmap(us, (uint64_t)at, len);
			}
			cost[big] = (double)(cpu_ns() - start) / reps;
		}
		if (r > 0)
			figure_round(&f, cost[1], cost[0]);
	}
	figure_show(b, &f, "%s reserve 16 TiB (peer: 1 page)", side_name[side]);
}

/* ---- our side ---- */

static void engine_make(struct answerer *us, struct vms_mmu **mmu, enum side side)
{
	struct vms_mmu_host_params params = {.size = sizeof(params),
					     .flags = side == HOLES ? VMS_MMU_REAL_HOLES : 0,
					     .lo = WINDOW_LO,
					     .hi = WINDOW_HI};
	struct vms_mm_policy policy;
	int err;

	vms_mm_policy_host(&policy);
	policy.min_addr = WINDOW_LO;
	policy.task_size = WINDOW_HI;
	policy.mmap_base = WINDOW_HI - 256 * page;
	policy.flags &= ~VMS_MM_BOTTOM_UP;
	err = side == RECORD ? vms_mmu_record(mmu) : vms_mmu_host(&params, mmu);
	if (!err)
		err = vms_mm_create(&policy, *mmu, &us->mm);
	if (err) {
		fprintf(stderr, "bench-mman: %s\n", vms_last_error());
		exit(1);
	}
	us->row = OUR_ROW;
}

static void engine_drop(struct answerer *us, struct vms_mmu *mmu)
{
	if (vms_mm_check(us->mm) != 0) {
		fprintf(stderr, "bench-mman: %s\n", vms_last_error());
		exit(1);
	}
	vms_mm_destroy(us->mm);
	vms_mmu_unref(mmu);
}

static bool range_free(uint64_t lo, uint64_t hi)
{
	void *got =
		mmap((void *)(uintptr_t)lo, hi - lo, PROT_NONE, FIXED | MAP_FIXED_NOREPLACE, -1, 0);

	if (got == MAP_FAILED)
		return false;
	munmap(got, hi - lo);
	return (uintptr_t)got == lo;
}

int main(int argc, char **argv)
{
	static const unsigned sizes[] = {10, 1000, 30000};
	struct bench b;

	bench_init(&b, "mman", argc, argv);
	page = (uint64_t)sysconf(_SC_PAGESIZE);
	if (!range_free(WINDOW_LO, WINDOW_HI) ||
	    !range_free(KERNEL_ROW - 64 * page, KERNEL_ROW + TIB)) {
		bench_skip(&b, "all", "the address ranges are not free (an address-space limit?)");
		return 0;
	}
	for (enum side side = RECORD; side <= WINDOW; side++) {
		for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
			const struct answerer kernel = {NULL, KERNEL_ROW};
			struct answerer us = {0};
			struct vms_mmu *mmu;

			engine_make(&us, &mmu, side);
			if (s == 0)
				reserve(&b, &us, side);
			row_make(&us, sizes[s]);
			row_make(&kernel, sizes[s]);
			compare(&b, &us, side, sizes[s]);
			row_drop(&kernel, sizes[s]);
			engine_drop(&us, mmu);
		}
	}
	return 0;
}
