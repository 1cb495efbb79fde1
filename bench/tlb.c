// SPDX-License-Identifier: MIT
/*
 * tlb.c: what an access through the soft MMU's TLB costs when it hits, when it must look at the
 * page table, and what map and unmap cost.
 *
 *	load, store	of 64 bits, in 32 pages of 4 KiB that all hit, against a load or
 *			store of the same place through a pointer. The cost of one is the time of
 *			a loop of them, addresses included.
 *	chased		each load's address is the value of the one before, so that they cannot
 *			overlap: the latency of a hit
 *	refill		two pages that take the TLB entry from each other: each load looks at the
 *			table, against the raw load
 *	map + unmap	of one page, soft, with this thread alone registered, against the kernel's
 *			mmap and munmap of one page
 *	two threads	map and unmap pages of their own, far apart: the time of a pair of them all,
 *			against one thread's alone. By the wall: 0.5 is what two processors give.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/world.h"
#include "bench.h"
#include "mmu/soft.h"
#include "vmspace/vmspace.h"

#define PAGE  4096u
#define PAGES 512u
#define USED  32u /* at once: all hit, in the first level cache and TLB of the host too */
#define BASE  UINT64_C(0x7000000000)
#define RW    (VMS_PROT_READ | VMS_PROT_WRITE)

static struct soft *soft;
static struct vms_cpu *cpu;
static char *mem;
static volatile uint64_t sink;

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bench-tlb: %s failed\n", what);
	exit(1);
}

/* A page, and in it a line that no other page uses. */
static uint64_t place(uint64_t i)
{
	uint64_t p = i * 13 % USED;

	return p * PAGE + p * 64;
}

static void loads(struct figure *f, uint64_t n)
{
	struct vms_cpu *mine = cpu;
	char *raw = mem;
	uint64_t t, v, sum = 0;
	double ours, peer;

	t = cpu_ns();
	for (uint64_t i = 0; i < n; i++) {
		if (!vms_tlb_load64(mine, BASE + place(i), &v))
			must(false, "load");
		sum += v;
	}
	ours = (double)(cpu_ns() - t) / (double)n;
	t = cpu_ns();
	for (uint64_t i = 0; i < n; i++)
		sum += *(volatile uint64_t *)(raw + place(i));
	peer = (double)(cpu_ns() - t) / (double)n;
	sink = sum;
	figure_round(f, ours, peer);
}

static void stores(struct figure *f, uint64_t n)
{
	struct vms_cpu *mine = cpu;
	char *raw = mem;
	uint64_t t;
	double ours, peer;

	t = cpu_ns();
	for (uint64_t i = 0; i < n; i++)
		if (!vms_tlb_store64(mine, BASE + place(i), i))
			must(false, "store");
	ours = (double)(cpu_ns() - t) / (double)n;
	t = cpu_ns();
	for (uint64_t i = 0; i < n; i++)
		*(volatile uint64_t *)(raw + place(i)) = i;
	peer = (double)(cpu_ns() - t) / (double)n;
	figure_round(f, ours, peer);
}

/* A ring through the first level cache: page i to page i + 1, each on another line. */
static void chased(struct figure *f, uint64_t n)
{
	struct vms_cpu *mine = cpu;
	char *raw = mem;
	uint64_t t, at;
	double ours, peer;

	for (uint64_t i = 0; i < USED; i++)
		*(uint64_t *)(raw + i * PAGE + i % 64 * 64) =
			(i + 1) % USED * PAGE + (i + 1) % USED % 64 * 64;
	t = cpu_ns();
	at = 0;
	for (uint64_t i = 0; i < n; i++)
		if (!vms_tlb_load64(mine, BASE + at, &at))
			must(false, "load");
	ours = (double)(cpu_ns() - t) / (double)n;
	t = cpu_ns();
	for (uint64_t i = 0; i < n; i++)
		at = *(volatile uint64_t *)(raw + at);
	peer = (double)(cpu_ns() - t) / (double)n;
	sink = at;
	figure_round(f, ours, peer);
}

static void refill(struct figure *f, uint64_t n)
{
	struct vms_cpu *mine = cpu;
	char *raw = mem;
	uint64_t t, v, sum = 0;
	double ours, peer;

	t = cpu_ns();
	for (uint64_t i = 0; i < n; i++) {
		if (!vms_tlb_load64(mine, BASE + (i & 1) * VMS_TLB_ENTRIES * PAGE, &v))
			must(false, "load");
		sum += v;
	}
	ours = (double)(cpu_ns() - t) / (double)n;
	t = cpu_ns();
	for (uint64_t i = 0; i < n; i++)
		sum += *(volatile uint64_t *)(raw + (i & 1) * VMS_TLB_ENTRIES * PAGE);
	peer = (double)(cpu_ns() - t) / (double)n;
	sink = sum;
	figure_round(f, ours, peer);
}

/* touch: load from it in between, so that its going has a TLB to empty. */
static void map_unmap(struct figure *f, uint64_t n, bool touch)
{
	uint64_t t, v, gva = BASE + (UINT64_C(1) << 32);
	double ours, peer;

	t = cpu_ns();
	for (uint64_t i = 0; i < n; i++) {
		must(!soft_map_run(soft, gva, (uint64_t)(uintptr_t)mem, 1, RW, SOFT_ERROR), "map");
		if (touch)
			must(vms_tlb_load64(cpu, gva, &v), "load");
		must(!soft_unmap(soft, gva, 1), "unmap");
	}
	ours = (double)(cpu_ns() - t) / (double)n;
	t = cpu_ns();
	for (uint64_t i = 0; i < n; i++) {
		char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			       0);

		must(p != MAP_FAILED, "mmap");
		if (touch)
			sink = *(volatile char *)p;
		must(!munmap(p, PAGE), "munmap");
	}
	peer = (double)(cpu_ns() - t) / (double)n;
	figure_round(f, ours, peer);
}

/* ---- Two threads ---- */

static atomic_uint ready;

struct pairs {
	uint64_t gva, n;
	unsigned threads;
};

static void *pairs_main(void *arg)
{
	const struct pairs *p = arg;
	struct vms_cpu *mine = aligned_alloc(64, sizeof(*mine));

	must(mine, "memory");
	soft_cpu_init(soft, mine);
	atomic_fetch_add(&ready, 1);
	while (atomic_load(&ready) < p->threads)
		;
	for (uint64_t i = 0; i < p->n; i++) {
		uint64_t gva = p->gva + i % 64 * PAGE;

		must(!soft_map_run(soft, gva, (uint64_t)(uintptr_t)mem, 1, RW, SOFT_ERROR), "map");
		must(!soft_unmap(soft, gva, 1), "unmap");
	}
	soft_cpu_fini(mine);
	free(mine);
	return NULL;
}

static double pairs_run(uint64_t n, unsigned threads)
{
	struct pairs p[2];
	pthread_t thread[2];
	uint64_t t = now_ns();

	atomic_store(&ready, 0);
	for (unsigned i = 0; i < threads; i++) {
		p[i] = (struct pairs){ BASE + (((uint64_t)i + 2) << 32), n, threads };
		must(!pthread_create(&thread[i], NULL, pairs_main, &p[i]), "thread");
	}
	for (unsigned i = 0; i < threads; i++)
		must(!pthread_join(thread[i], NULL), "thread");
	return (double)(now_ns() - t) / (double)(n * threads);
}

static void two_threads(struct figure *f, uint64_t n)
{
	double two = pairs_run(n, 2);

	figure_round(f, two, pairs_run(n, 1));
}

int main(int argc, char **argv)
{
	struct figure load = { "ns/load" }, store = { "ns/store" }, chase = { "ns/load" },
		      fill = { "ns/load" }, map = { "ns/pair", 0.12 }, touched = { "ns/pair" },
		      two = { "ns/pair", 0.556 };
	struct bench b;
	uint64_t n;

	bench_init(&b, "tlb", argc, argv);
	n = b.quick ? 500000 : 5000000;
	mem = aligned_alloc(PAGE, PAGES * PAGE);
	cpu = aligned_alloc(64, sizeof(*cpu));
	must(mem && cpu, "memory");
	for (uint64_t i = 0; i < PAGES * PAGE; i++)
		mem[i] = (char)i;
	must(!soft_create(&world_host, PAGE, &soft), "create");
	soft_cpu_init(soft, cpu);
	must(!soft_map_run(soft, BASE, (uint64_t)(uintptr_t)mem, PAGES, RW, SOFT_ERROR), "map");
	for (unsigned i = 0; i < b.rounds; i++) {
		stores(&store, n);
		loads(&load, n);
		chased(&chase, n);
		refill(&fill, n / 8);
		map_unmap(&map, n / 100, false);
		map_unmap(&touched, n / 100, true);
		two_threads(&two, n / 5);
	}
	figure_show(&b, &load, "load, hit");
	figure_show(&b, &store, "store, hit");
	figure_show(&b, &chase, "load, hit, chased");
	figure_show(&b, &fill, "load, looked up in the table");
	figure_show(&b, &map, "map + unmap of one page");
	figure_show(&b, &touched, "map + load + unmap of one page");
	figure_show(&b, &two, "map + unmap, two threads against one");
	soft_cpu_fini(cpu);
	soft_destroy(soft);
	free(mem);
	free(cpu);
	return 0;
}
