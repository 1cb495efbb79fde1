// SPDX-License-Identifier: MIT
/*
 * soft.c: threads that access guest memory while others take it from them.
 *
 * Each changer owns half of the guest's pages and all of the host pages that it shows there, two
 * for each. What is mapped holds bytes of 0x01 .. 0x7f; what is not mapped holds CANARY. CPU
 * threads load and store everywhere, of every size, also across pages, and store such bytes only.
 *
 *	1 no load finds a canary's byte: what unmap, empty or a replacing map took is not read
 *	2 canaries stay: nor is it written
 *	3 after remove_write, protect: no byte changes
 *	4 a changer's own accesses see its own changes at once
 *	5 in the end the validator agrees
 *
 * The changers read and write the host pages plainly, so ThreadSanitizer sees an access that comes
 * too late even where the bytes do not tell. All of it with TLBs and, where a host refuses
 * membarrier, without.
 *
 * Argument: seconds.
 */
#include "check.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/world.h"
#include "mmu/soft.h"
#include "random.h"
#include "stress.h"
#include "vmspace/vmspace.h"

#define CPUS	 2u
#define CHANGERS 2u
#define HALF	 24u /* guest pages of a changer */
#define PAGE	 1024u
#define CANARY	 0xee
#define RW	 (VMS_PROT_READ | VMS_PROT_WRITE)

static double seconds = 1;
static struct soft *soft;
static unsigned char *mem; /* page p of set s: number p * 2 + s */
static atomic_ulong hits, misses, changes;

static void bad_at(const char *what, uint64_t at)
{
	bad("%s: %#llx", what, (unsigned long long)at);
}

/* A changer's pages: up to the last address, or half of them before a table node's end. */
static uint64_t base_of(unsigned changer)
{
	return changer ? ((uint64_t)changer << 40) - HALF / 2 * PAGE : 0 - (uint64_t)HALF * PAGE;
}

/* ---- CPUs ---- */

/* All of one size; false: missing. */
static bool load(struct vms_cpu *cpu, uint64_t gva, unsigned size, uint64_t *v)
{
	uint8_t v8 = 0;
	uint16_t v16 = 0;
	uint32_t v32 = 0;
	bool ok;

	*v = 0;
	switch (size) {
	case 1:
		ok = vms_tlb_load8(cpu, gva, &v8);
		*v = v8;
		return ok;
	case 2:
		ok = vms_tlb_load16(cpu, gva, &v16);
		*v = v16;
		return ok;
	case 4:
		ok = vms_tlb_load32(cpu, gva, &v32);
		*v = v32;
		return ok;
	}
	return vms_tlb_load64(cpu, gva, v);
}

static bool store(struct vms_cpu *cpu, uint64_t gva, unsigned size, uint64_t v)
{
	switch (size) {
	case 1:
		return vms_tlb_store8(cpu, gva, (uint8_t)v);
	case 2:
		return vms_tlb_store16(cpu, gva, (uint16_t)v);
	case 4:
		return vms_tlb_store32(cpu, gva, (uint32_t)v);
	}
	return vms_tlb_store64(cpu, gva, v);
}

static void *cpu_main(void *arg)
{
	struct vms_cpu *cpu = aligned_alloc(64, sizeof(*cpu));
	uint32_t seed = 77 + (uint32_t)(uintptr_t)arg;
	uint64_t hit = 0, miss = 0;

	soft_cpu_init(soft, cpu);
	while (going()) {
		/* Many on a few pages: hits; the rest anywhere. */
		uint64_t around =
			base_of(next32(&seed) % CHANGERS) + next32(&seed) % (HALF - 2) * PAGE;

		for (unsigned i = 0; i < 200; i++) {
			uint32_t r = next32(&seed);
			unsigned size = 1u << (r & 3);
			uint64_t gva = around + (r >> 4) % (2 * PAGE), v;
			bool ok;

			if (r & 0x80000000)
				gva &= ~(uint64_t)(size - 1);
			if (r & 4) {
				v = (next32(&seed) & 0x7e7e7e7e) * UINT64_C(0x100000001);
				ok = store(cpu, gva, size, v | UINT64_C(0x0101010101010101));
			} else {
				ok = load(cpu, gva, size, &v);
				if (ok && (v & UINT64_C(0x8080808080808080)))
					bad_at("a load found a canary", gva);
			}
			hit += ok;
			miss += !ok;
		}
		if (next32(&seed) % 64 == 0) {
			soft_cpu_fini(cpu);
			soft_cpu_init(soft, cpu);
		}
	}
	soft_cpu_fini(cpu);
	free(cpu);
	atomic_fetch_add(&hits, hit);
	atomic_fetch_add(&misses, miss);
	return NULL;
}

/* ---- Changers ---- */

struct changer {
	unsigned number;
	uint32_t seed;
	struct vms_cpu *cpu;
	int shown[HALF]; /* set, or -1 */
	bool writable[HALF];
};

static unsigned char *host(const struct changer *c, unsigned page, int set)
{
	return mem + ((c->number * HALF + page) * 2 + (unsigned)set) * PAGE;
}

static uint64_t gva_of(const struct changer *c, unsigned page)
{
	return base_of(c->number) + (uint64_t)page * PAGE;
}

static void check_canary(const struct changer *c, unsigned page, int set)
{
	const unsigned char *p = host(c, page, set);

	for (unsigned i = 0; i < PAGE; i++)
		if (p[i] != CANARY)
			bad_at("a store after unmap", gva_of(c, page) + i);
}

/* It is shown no more. */
static void gone(struct changer *c, unsigned page)
{
	unsigned char v;

	if (c->shown[page] < 0)
		return;
	memset(host(c, page, c->shown[page]), CANARY, PAGE);
	c->shown[page] = -1;
	if (vms_tlb_load8(c->cpu, gva_of(c, page), &v))
		bad_at("a load of its own after unmap", gva_of(c, page));
}

static void show(struct changer *c, unsigned page, unsigned n)
{
	uint64_t list[HALF];
	int set[HALF];
	bool write = next32(&c->seed) % 4;

	for (unsigned i = 0; i < n; i++) {
		set[i] = c->shown[page + i] < 0 ? (int)(next32(&c->seed) & 1) : !c->shown[page + i];
		check_canary(c, page + i, set[i]);
		memset(host(c, page + i, set[i]), 1 + (int)(page + i), PAGE);
		list[i] = (uint64_t)(uintptr_t)host(c, page + i, set[i]);
	}
	if (soft_map(soft, gva_of(c, page), list, n, write ? RW : VMS_PROT_READ, SOFT_UPGRADE))
		bad_at("map", gva_of(c, page));
	for (unsigned i = 0; i < n; i++) {
		/* Replaced: nobody reads or writes what was there. */
		if (c->shown[page + i] >= 0)
			memset(host(c, page + i, c->shown[page + i]), CANARY, PAGE);
		c->shown[page + i] = set[i];
		c->writable[page + i] = write;
	}
}

static void still(struct changer *c, unsigned page, unsigned n)
{
	unsigned char copy[PAGE], *p;

	for (unsigned i = page; i < page + n; i++) {
		if (c->shown[i] < 0)
			continue;
		p = host(c, i, c->shown[i]);
		memcpy(copy, p, PAGE);
		if (i == page && next32(&c->seed) % 8 == 0)
			sched_yield();
		if (memcmp(copy, p, PAGE))
			bad_at("a store after write was removed", gva_of(c, i));
		if (vms_tlb_store8(c->cpu, gva_of(c, i), 1))
			bad_at("a store of its own after write was removed", gva_of(c, i));
		c->writable[i] = false;
	}
}

static void *changer_main(void *arg)
{
	struct changer c = { .number = (unsigned)(uintptr_t)arg };
	unsigned long done = 0;

	c.seed = 1 + c.number;
	c.cpu = aligned_alloc(64, sizeof(*c.cpu));
	soft_cpu_init(soft, c.cpu);
	for (unsigned i = 0; i < HALF; i++)
		c.shown[i] = -1;
	for (; going(); done++) {
		unsigned page = next32(&c.seed) % HALF;
		unsigned n = 1 + next32(&c.seed) % (HALF - page);
		uint64_t bits[1];

		n = n > 6 && next32(&c.seed) % 4 ? 6 : n;
		switch (next32(&c.seed) % 12) {
		default:
			show(&c, page, n);
			/* Let the others find it. */
			if (next32(&c.seed) % 16 == 0)
				sched_yield();
			for (uint32_t i = next32(&c.seed) % 2048; i; i--)
				atomic_signal_fence(memory_order_seq_cst);
			break;
		case 0:
		case 1:
		case 2:
			soft_unmap(soft, gva_of(&c, page), n);
			for (unsigned i = page; i < page + n; i++)
				gone(&c, i);
			break;
		case 3:
		case 4:
			soft_remove_write(soft, gva_of(&c, page), n);
			still(&c, page, n);
			break;
		case 5:
			soft_protect(soft, gva_of(&c, page), n, VMS_PROT_READ);
			still(&c, page, n);
			break;
		case 6:
			soft_harvest(soft, gva_of(&c, page), n, bits);
			break;
		case 7: /* all at once, also what the other one shows */
			if (next32(&c.seed) % 16 == 0) {
				soft_empty(soft);
				for (unsigned i = 0; i < HALF; i++)
					gone(&c, i);
			}
			break;
		}
	}
	soft_unmap(soft, gva_of(&c, 0), HALF);
	for (unsigned i = 0; i < HALF; i++) {
		gone(&c, i);
		check_canary(&c, i, 0);
		check_canary(&c, i, 1);
	}
	soft_cpu_fini(c.cpu);
	free(c.cpu);
	atomic_fetch_add(&changes, done);
	return NULL;
}

/* ---- The run ---- */

static int no_membarrier(const struct world *w, int command)
{
	return -38;
}

static void run(const struct world *w, bool caches)
{
	pthread_t thread[CPUS + CHANGERS];
	struct soft_stats stats;

	mem = aligned_alloc(PAGE, CHANGERS * HALF * 2 * PAGE);
	memset(mem, CANARY, CHANGERS * HALF * 2 * PAGE);
	atomic_store(&stop, false);
	atomic_store(&hits, 0);
	atomic_store(&misses, 0);
	atomic_store(&changes, 0);
	assert_ok(soft_create(w, PAGE, &soft));
	for (unsigned i = 0; i < CPUS + CHANGERS; i++)
		assert_ok(pthread_create(&thread[i], NULL, i < CPUS ? cpu_main : changer_main,
					 (void *)(uintptr_t)(i < CPUS ? i : i - CPUS)));
	rest(seconds / 2);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < CPUS + CHANGERS; i++)
		assert_ok(pthread_join(thread[i], NULL));
	soft_stats(soft, &stats);
	printf("  %lu accesses, %lu missed, %lu changes, %llu shot, %llu barriers\n",
	       atomic_load(&hits), atomic_load(&misses), atomic_load(&changes),
	       (unsigned long long)stats.shot, (unsigned long long)stats.barriers);
	assert_int_equal(atomic_load(&failures), 0);
	if (caches != stats.caches)
		printf("  this host has no membarrier\n");
	assert_true(atomic_load(&hits) > 0 && stats.shot > 0 && stats.barriers > 0);
	assert_int_equal(stats.entries, 0);
	assert_ok(soft_check(soft));
	assert_ok(soft_destroy(soft));
	free(mem);
}

static void with_tlbs(void **state)
{
	run(&world_host, true);
}

static void without(void **state)
{
	struct world w = world_host;

	w.membarrier = no_membarrier;
	run(&w, false);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_tlbs),
		cmocka_unit_test(without),
	};

	if (argc > 1)
		seconds = atof(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
