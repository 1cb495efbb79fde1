// SPDX-License-Identifier: MIT
/*
 * Threads share one guest. Each has a range of its own, changes and checks its memory there; one
 * looks at the maps; one maps memory of the process, which must never land in the window.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmspace/mman.h>

#include "check.h"
#include "random.h"

#define WORKERS 3
#define PAGES	32 /* of one worker */
#define STEPS	1500
#define WINDOW	(UINT64_C(64) << 20)
#define RW	(PROT_READ | PROT_WRITE)

static struct vms_mmu *mmu;
static struct vms_mm *mm;
static uint64_t page;
static atomic_bool stop;
static atomic_int wrong; /* the line of an expectation that failed; asserts do not work in threads */

#define expect(cond) ((cond) ? (void)0 : atomic_store(&wrong, __LINE__))

/* What a worker knows of its pages: 0 hole, else the byte that fills it. */
struct worker {
	uint64_t base;
	uint32_t seed;
	unsigned char byte[PAGES];
	bool writable[PAGES];
};

static char *host(const struct worker *w, unsigned i)
{
	return vms_mmu_host_addr(mmu, w->base + i * page);
}

static void fill(struct worker *w, unsigned first, unsigned n)
{
	for (unsigned i = first; i < first + n; i++) {
		w->byte[i] = (unsigned char)(1 + next32(&w->seed) % 255);
		w->writable[i] = true;
		memset(host(w, i), w->byte[i], page);
	}
}

static bool all_mapped(const struct worker *w, unsigned first, unsigned n)
{
	for (unsigned i = first; i < first + n; i++)
		if (!w->byte[i])
			return false;
	return true;
}

static void step(struct worker *w)
{
	unsigned n = 1 + next32(&w->seed) % (PAGES / 2), first = next32(&w->seed) % (PAGES / 2 + 1);
	uint64_t addr = w->base + first * page;
	unsigned to = first >= n ? next32(&w->seed) % (first - n + 1) : PAGES;
	unsigned kind = next32(&w->seed) % 4;

	if (first + n > PAGES)
		n = PAGES - first;
	if (kind == 0) {
		expect(vms_mmap(mm, addr, n * page, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
				-1, 0) == (int64_t)addr);
		fill(w, first, n);
	} else if (kind == 1) {
		expect(vms_munmap(mm, addr, n * page) == 0);
		memset(w->byte + first, 0, n);
	} else if (kind == 2) {
		bool can = all_mapped(w, first, n), write = next32(&w->seed) & 1;
		int64_t r = vms_mprotect(mm, addr, n * page, write ? RW : PROT_READ);

		expect(r == (can ? 0 : -ENOMEM));
		for (unsigned i = first; i < first + n && w->byte[i]; i++)
			w->writable[i] = write;
	} else if (to < PAGES && all_mapped(w, first, n)) {
		/* Linux since 6.17 moves several mappings at once. */
		expect(vms_mremap(mm, addr, n * page, n * page, MREMAP_MAYMOVE | MREMAP_FIXED,
				  w->base + to * page) == (int64_t)(w->base + to * page));
		memmove(w->byte + to, w->byte + first, n);
		memmove(w->writable + to, w->writable + first, n * sizeof(bool));
		memset(w->byte + first, 0, n);
	}
	for (unsigned i = 0; i < PAGES; i++) {
		if (!w->byte[i])
			continue;
		expect((unsigned char)host(w, i)[page - 1] == w->byte[i]);
		if (w->writable[i])
			host(w, i)[0] = (char)w->byte[i];
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;

	for (unsigned i = 0; i < STEPS; i++)
		step(w);
	return NULL;
}

static void *look(void *arg)
{
	struct vms_mm_region r = { .size = sizeof(r) };
	struct vms_mm_info info = { .size = sizeof(info) };

	while (!atomic_load(&stop)) {
		uint64_t cursor = 0, last = 0;

		while (vms_mm_next(mm, &cursor, &r) == 0) {
			/* It may reach below the last one: it has grown since. */
			expect(r.end > last && r.end > r.start && r.end == cursor);
			last = r.end;
		}
		expect(vms_mm_info(mm, &info) == 0 && info.total <= WORKERS * PAGES * page);
		usleep(100);
	}
	return NULL;
}

static void *intrude(void *arg)
{
	char *lo = vms_mmu_host_addr(mmu, 0), *hi = lo + WINDOW;
	uint32_t seed = 99;

	while (!atomic_load(&stop)) {
		/* Where a worker is just now: a hint that the kernel takes if nothing is there. */
		char *hint =
			lo + ((1 + next32(&seed) % WORKERS) << 20) + next32(&seed) % PAGES * page;
		size_t len = page << next32(&seed) % 4;
		char *p = mmap(hint, len, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		expect(p != MAP_FAILED && (p + len <= lo || p >= hi));
		p[0] = p[len - page] = 1;
		munmap(p, len);
	}
	return NULL;
}

static void threads_share_a_guest(void **state)
{
	struct vms_mmu_host_params window = { .size = sizeof(window), .lo = 0, .hi = WINDOW };
	struct worker worker[WORKERS];
	pthread_t t[WORKERS], looker, intruder;
	struct vms_mm_policy policy;

	page = (uint64_t)sysconf(_SC_PAGESIZE);
	assert_ok(vms_mm_policy_host(&policy));
	policy.task_size = policy.mmap_base = WINDOW;
	assert_ok(vms_mmu_host(&window, &mmu));
	assert_ok(vms_mm_create(&policy, mmu, &mm));
	for (unsigned i = 0; i < WORKERS; i++)
		worker[i] = (struct worker){ .base = (1 + i) << 20, .seed = 17 + i };
	assert_ok(pthread_create(&looker, NULL, look, NULL));
	assert_ok(pthread_create(&intruder, NULL, intrude, NULL));
	for (unsigned i = 0; i < WORKERS; i++)
		assert_ok(pthread_create(&t[i], NULL, work, &worker[i]));
	for (unsigned i = 0; i < WORKERS; i++)
		assert_ok(pthread_join(t[i], NULL));
	atomic_store(&stop, true);
	assert_ok(pthread_join(looker, NULL));
	assert_ok(pthread_join(intruder, NULL));
	assert_int_equal(atomic_load(&wrong), 0);
	assert_ok(vms_mm_check(mm));
	vms_mm_destroy(mm);
	vms_mmu_unref(mmu);
}

int main(void)
{
	static const struct CMUnitTest tests[] = { cmocka_unit_test(threads_share_a_guest) };

	return cmocka_run_group_tests_name("mmu-threads", tests, NULL, NULL);
}
