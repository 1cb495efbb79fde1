// SPDX-License-Identifier: MIT
/*
 * space.c: what edits, look-ups and faults of spaces over objects cost, against the kernel's own.
 *
 * Rows: n adjacent mappings of four pages of one object, alternately r-- and rw-, so that none
 * merges; the kernel has a row of the same shape. Mappings are taken in a random order, the same
 * for both sides. The soft backend, this thread alone registered.
 *
 *	look-up		vms_find() of an address in one of them, or of each page in order; the peer
 *			is a budget of 60 ns
 *	map+unmap	a page anywhere, and gone again; the cost of the pair
 *	protect		one whole mapping, to rights that its neighbours do not have, or back
 *	... of 1,000,000	the same; the peer is ours with 1,000
 *
 * Faults:
 *
 *	TLB hit		a load of 64 bits in 32 pages that all hit; the peer is a budget of 2 ns, or
 *			the raw load
 *	zero fill	vms_fault() of a page of a new object, in frames that another object left;
 *			the peer is memset of a page and 150 ns
 *	two threads	of them, and of faults on pages that are there (16 at a time), each in a
 *			mapping and an object of its own; cost by the wall; the peer is one thread
 *
 * The host backend, with real holes:
 *
 *	map+unmap	of 64 KiB that are there, against mmap(MAP_SHARED | MAP_POPULATE) and
 *			munmap of a memfd
 *	first touch	window: of anonymous memory of a Linux guest's space; arena: of an object's
 *			page, by SIGSEGV; against the kernel's anonymous memory
 *	copy on write	first store to each page of an object after a snapshot, by SIGSEGV, into
 *			frames that an earlier snapshot left; against the kernel's first store to
 *			a private mapping of a file that has been read
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "space_kit.h"
#include "vmspace/mman.h"

#define PAGES	   4u /* of a mapping in a row */
#define OUR_ROW	   (8 * TIB)
#define KERNEL_ROW (72 * TIB)
#define FINDS	   60.0	 /* ns */
#define HIT	   2.0	 /* ns */
#define FAULT	   150.0 /* ns, beyond clearing the page */

/* ---- rows ---- */

struct row {
	unsigned n;
	unsigned *order; /* of taking its mappings */
	unsigned at;
	struct guest g;
	struct vms_object *obj;
	struct vms_object *loose; /* what is mapped anywhere */
	unsigned turn;		  /* protect: how often all have had one */
};

static uint32_t row_prot(unsigned i)
{
	return i % 2 ? R : RW;
}

/* What its neighbours never have. */
static uint32_t other_prot(unsigned i)
{
	return row_prot(i) | VMS_PROT_EXEC;
}

static uint64_t row_addr(unsigned i)
{
	return (uint64_t)i * PAGES * page;
}

static void shuffle(unsigned *order, unsigned n)
{
	uint64_t seed = 88172645463325252u;

	for (unsigned i = 0; i < n; i++)
		order[i] = i;
	for (unsigned i = n; i > 1; i--) {
		unsigned j, tmp;

		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		j = (unsigned)(seed % i);
		tmp = order[i - 1];
		order[i - 1] = order[j];
		order[j] = tmp;
	}
}

static void row_make(struct row *r, unsigned n)
{
	*r = (struct row){ .n = n, .order = malloc(n * sizeof(*r->order)) };
	shuffle(r->order, n);
	guest_soft(&r->g);
	r->obj = new_object(row_addr(n), false);
	r->loose = new_object(page, false);
	for (unsigned i = 0; i < n; i++)
		put(&r->g, OUR_ROW + row_addr(i), r->obj, row_addr(i), PAGES * page, row_prot(i));
}

static void row_end(struct row *r)
{
	guest_end(&r->g);
	vms_object_unref(r->obj);
	vms_object_unref(r->loose);
	free(r->order);
}

static unsigned next_of(struct row *r)
{
	unsigned i = r->order[r->at++];

	if (r->at == r->n) {
		r->at = 0;
		r->turn++;
	}
	return i;
}

static double find(struct row *r, unsigned calls)
{
	struct vms_mapping_info info = { .size = sizeof(info) };
	uint64_t t = cpu_ns();

	for (unsigned k = 0; k < calls; k++)
		must(vms_find(r->g.space, OUR_ROW + row_addr(next_of(r)) + page, &info), "find");
	return (double)(cpu_ns() - t) / calls;
}

/* As somebody who walks through memory: each page of a mapping, then of the next one. */
static double find_in_order(const struct row *r, unsigned calls)
{
	struct vms_mapping_info info = { .size = sizeof(info) };
	uint64_t t = cpu_ns(), end = row_addr(r->n), at = 0;

	for (unsigned k = 0; k < calls; k++, at = at + page < end ? at + page : 0)
		must(vms_find(r->g.space, OUR_ROW + at, &info), "find");
	return (double)(cpu_ns() - t) / calls;
}

static double map_unmap(struct row *r, unsigned calls)
{
	uint64_t t = cpu_ns();

	for (unsigned k = 0; k < calls; k++)
		take(&r->g, put(&r->g, 0, r->loose, 0, page, RW), page);
	return (double)(cpu_ns() - t) / calls;
}

static double protect(struct row *r, unsigned calls)
{
	uint64_t t = cpu_ns();

	for (unsigned k = 0; k < calls; k++) {
		unsigned turn = r->turn, i = next_of(r);
		uint32_t prot = turn % 2 ? row_prot(i) : other_prot(i);

		must(vms_protect(r->g.root, OUR_ROW + row_addr(i), PAGES * page, prot, 0),
		     "protect");
	}
	return (double)(cpu_ns() - t) / calls;
}

/* The kernel's row: PROT_* are VMS_PROT_*. */
static void kernel_row(unsigned n, bool make)
{
	char *row = (char *)KERNEL_ROW;

	for (unsigned i = 0; make && i < n; i++)
		must_map(row + row_addr(i), PAGES * page, (int)row_prot(i),
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	if (!make)
		munmap(row, row_addr(n));
}

static double kernel_map_unmap(unsigned calls)
{
	uint64_t t = cpu_ns();

	for (unsigned k = 0; k < calls; k++)
		munmap(must_map(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
				0),
		       page);
	return (double)(cpu_ns() - t) / calls;
}

/* r: only its order. */
static double kernel_protect(struct row *r, unsigned calls)
{
	char *row = (char *)KERNEL_ROW;
	uint64_t t = cpu_ns();

	for (unsigned k = 0; k < calls; k++) {
		unsigned turn = r->turn, i = next_of(r);
		int prot = (int)(turn % 2 ? row_prot(i) : other_prot(i));

		must(mprotect(row + row_addr(i), PAGES * page, prot) ? -errno : 0, "mprotect");
	}
	return (double)(cpu_ns() - t) / calls;
}

static void rows(const struct bench *b)
{
	static const unsigned size[] = { 10, 1000, 30000 };
	unsigned calls = b->quick ? 3000 : 20000;

	for (unsigned s = 0; s < 3; s++) {
		struct figure finds = { .unit = "ns/call", .target = size[s] == 30000 ? 1.0 : 0 };
		struct figure walks = finds;
		struct figure maps = { .unit = "ns/pair", .target = 0.12 };
		struct figure prots = { .unit = "ns/call", .target = 0.12 };
		struct row us, kernel;

		row_make(&us, size[s]);
		kernel = us;
		kernel_row(size[s], true);
		protect(&us, size[s]);
		kernel_protect(&kernel, size[s]);
		for (unsigned i = 0; i < b->rounds; i++) {
			figure_round(&finds, find(&us, calls * 4), FINDS);
			figure_round(&walks, find_in_order(&us, calls * 4), FINDS);
			/* find() has moved on in the row: both sides do the same again. */
			kernel.at = us.at;
			kernel.turn = us.turn;
			figure_round(&maps, map_unmap(&us, calls), kernel_map_unmap(calls));
			figure_round(&prots, protect(&us, calls), kernel_protect(&kernel, calls));
		}
		kernel_row(size[s], false);
		figure_show(b, &finds, "look-up n=%u (peer: 60 ns)", size[s]);
		figure_show(b, &walks, "look-up in order n=%u (peer: 60 ns)", size[s]);
		figure_show(b, &maps, "soft map+unmap n=%u", size[s]);
		figure_show(b, &prots, "soft protect n=%u", size[s]);
		row_end(&us);
	}
}

static void million(const struct bench *b)
{
	struct figure finds = { .unit = "ns/call", .target = 2 }, maps = finds, prots = finds;
	unsigned calls = b->quick ? 5000 : 50000;
	struct row large, small;

	row_make(&small, 1000);
	row_make(&large, 1000000);
	for (unsigned i = 0; i < b->rounds; i++) {
		figure_round(&finds, find(&large, calls), find(&small, calls));
		figure_round(&maps, map_unmap(&large, calls), map_unmap(&small, calls));
		figure_round(&prots, protect(&large, calls), protect(&small, calls));
	}
	figure_show(b, &finds, "look-up n=1000000 (peer: n=1000)");
	figure_show(b, &maps, "soft map+unmap n=1000000 (peer: n=1000)");
	figure_show(b, &prots, "soft protect n=1000000 (peer: n=1000)");
	row_end(&large);
	row_end(&small);
}

/* ---- hits and soft faults ---- */

#define USED 32u /* pages at once: all hit */

static uint64_t place(uint64_t i)
{
	uint64_t p = i * 13 % USED;

	return p * page + p * 64;
}

static void hits(const struct bench *b)
{
	struct figure cost = { .unit = "ns/load", .target = 1.0 }, raw = { .unit = "ns/load" };
	unsigned n = b->quick ? 500000 : 5000000;
	char *mem = must_map(NULL, USED * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);
	struct vms_object *obj = new_object(USED * page, true);
	volatile uint64_t sink;
	struct guest g;
	uint64_t at;

	guest_soft(&g);
	at = put(&g, 0, obj, 0, USED * page, RW);
	memset(mem, 1, USED * page);
	for (unsigned i = 0; i < b->rounds; i++) {
		struct vms_cpu *cpu = g.cpu;
		uint64_t sum = 0, v, t = cpu_ns();
		double ours, peer;

		for (uint64_t k = 0; k < n; k++) {
			if (!vms_tlb_load64(cpu, at + place(k), &v))
				guest_load(&g, at + place(k), &v);
			sum += v;
		}
		ours = (double)(cpu_ns() - t) / n;
		t = cpu_ns();
		for (uint64_t k = 0; k < n; k++)
			sum += *(volatile uint64_t *)(mem + place(k));
		peer = (double)(cpu_ns() - t) / n;
		sink = sum;
		(void)sink;
		figure_round(&cost, ours, HIT);
		figure_round(&raw, ours, peer);
	}
	figure_show(b, &cost, "soft TLB hit (peer: 2 ns)");
	figure_show(b, &raw, "soft TLB hit (peer: a raw load)");
	guest_end(&g);
	vms_object_unref(obj);
	munmap(mem, USED * page);
}

#define FILLED (2 * MIB) /* fewer frames than an arena keeps when they are freed */
#define AGAIN  4u	 /* times in a round */
#define THERE  (16 * MIB)
#define LONG   200u /* times: two threads must come to be on two processors */

/* A fault every n pages. */
static void fault_all(const struct guest *g, uint64_t at, uint64_t len, unsigned n)
{
	const uint64_t step = n * page;

	/* From the top: in order an arena takes frames that continue each other, which are new. */
	for (uint64_t off = len; off > 0; off -= step)
		must(vms_fault(g->space, at + off - step, VMS_PROT_WRITE, 0, NULL, NULL), "fault");
}

static double clear_all(char *mem, uint64_t len)
{
	uint64_t t = cpu_ns();

	for (uint64_t off = 0; off < len; off += page) {
		memset(mem + off, 0, page);
		__asm__ volatile("" : : "r"(mem) : "memory");
	}
	return (double)(cpu_ns() - t) / (double)(len / page);
}

static void zero_fill(const struct bench *b)
{
	struct figure f = { .unit = "ns/fault", .target = 1.0 };
	struct vms_object *obj = new_object(FILLED, true);
	int fd = must_memfd(FILLED, true);
	char *mem = must_map(NULL, FILLED, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct guest g;

	guest_soft(&g);
	clear_all(mem, FILLED);
	for (unsigned i = 0; i < b->rounds; i++) {
		double ours = 0, peer = 0;

		for (unsigned k = 0; k < AGAIN; k++) {
			uint64_t t, at;

			vms_object_unref(obj); /* its frames are kept, and come again */
			obj = new_object(FILLED, false);
			at = put(&g, 0, obj, 0, FILLED, RW);
			t = cpu_ns();
			fault_all(&g, at, FILLED, 1);
			ours += (double)(cpu_ns() - t) / (double)(FILLED / page);
			peer += clear_all(mem, FILLED) + FAULT;
			take(&g, at, FILLED);
		}
		figure_round(&f, ours / AGAIN, peer / AGAIN);
	}
	figure_show(b, &f, "soft zero-fill fault (peer: clearing + 150 ns)");
	guest_end(&g);
	vms_object_unref(obj);
	munmap(mem, FILLED);
	close(fd);
}

struct faulter {
	const struct guest *g;
	uint64_t at;
	pthread_barrier_t *start;
	bool there; /* its pages */
	uint64_t began, ended;
};

/* Mapping and unmapping is a hundredth of it. */
static void *fault_main(void *arg)
{
	struct faulter *f = arg;
	const uint64_t len = f->there ? THERE : FILLED;
	struct vms_object *obj = new_object(len, f->there);

	pthread_barrier_wait(f->start);
	f->began = now_ns();
	for (unsigned k = 0; k < LONG; k++) {
		put(f->g, f->at, obj, 0, len, RW);
		fault_all(f->g, f->at, len, f->there ? 16 : 1);
		take(f->g, f->at, len);
		if (f->there)
			continue;
		vms_object_unref(obj);
		obj = new_object(FILLED, false);
	}
	f->ended = now_ns();
	vms_object_unref(obj);
	return NULL;
}

/* ns by the wall of one page, when n threads take theirs at once, each in objects of its own. */
static double fault_together(const struct guest *g, unsigned n, bool there)
{
	uint64_t began = UINT64_MAX, ended = 0;
	struct faulter f[2];
	pthread_barrier_t start;
	pthread_t thread[2];

	pthread_barrier_init(&start, NULL, n);
	for (unsigned i = 0; i < n; i++) {
		f[i] = (struct faulter){ g, OUR_ROW + i * TIB, &start, there, 0, 0 };
		must(-pthread_create(&thread[i], NULL, fault_main, &f[i]), "thread");
	}
	for (unsigned i = 0; i < n; i++)
		pthread_join(thread[i], NULL);
	pthread_barrier_destroy(&start);
	for (unsigned i = 0; i < n; i++) {
		began = f[i].began < began ? f[i].began : began;
		ended = f[i].ended > ended ? f[i].ended : ended;
	}
	return (double)(ended - began) / (double)(n * LONG * ((there ? THERE : FILLED) / page));
}

static void two_threads(const struct bench *b, bool there)
{
	struct figure f = { .unit = "ns/page", .target = 1 / 1.8 };
	struct guest g;

	guest_soft(&g);
	fault_together(&g, 2, there);
	for (unsigned i = 0; i < b->rounds; i++) {
		double both = fault_together(&g, 2, there);

		figure_round(&f, both, fault_together(&g, 1, there));
	}
	figure_show(b, &f,
		    there ? "two threads faulting on pages that are there (peer: one)"
			  : "two threads zero-filling (peer: one)");
	guest_end(&g);
}

/* ---- the host backend ---- */

#define WINDOW_LO (16 * TIB)
#define WINDOW_HI (17 * TIB)
#define EDITED	  (UINT64_C(64) << 10)

static double touch(char *mem, uint64_t len)
{
	uint64_t t = cpu_ns();

	for (uint64_t off = 0; off < len; off += page)
		*(volatile char *)(mem + off) = 1;
	return (double)(cpu_ns() - t) / (double)(len / page);
}

static void host_edits(const struct bench *b)
{
	struct figure f = { .unit = "ns/pair", .target = 1.15 };
	unsigned calls = b->quick ? 2000 : 20000;
	struct vms_object *obj = new_object(EDITED, true);
	int fd = must_memfd(EDITED, true);
	struct guest g;

	guest_host(&g, WINDOW_LO, WINDOW_HI);
	for (unsigned i = 0; i < b->rounds; i++) {
		uint64_t t = cpu_ns();
		double ours;

		for (unsigned k = 0; k < calls; k++) {
			put(&g, WINDOW_LO + MIB, obj, 0, EDITED, RW);
			take(&g, WINDOW_LO + MIB, EDITED);
		}
		ours = (double)(cpu_ns() - t) / calls;
		t = cpu_ns();
		for (unsigned k = 0; k < calls; k++)
			munmap(must_map((char *)KERNEL_ROW, EDITED, PROT_READ | PROT_WRITE,
					MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, 0),
			       EDITED);
		figure_round(&f, ours, (double)(cpu_ns() - t) / calls);
	}
	figure_show(b, &f, "host map+unmap of 64 KiB that are there");
	guest_end(&g);
	vms_object_unref(obj);
	close(fd);
}

static char *anonymous(uint64_t len)
{
	char *p = must_map(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	madvise(p, len, MADV_NOHUGEPAGE);
	return p;
}

/* A Linux guest's space over the same kind of window. */
static struct vms_mm *linux_guest(struct vms_mmu **mmu)
{
	struct vms_mmu_host_params params = { .size = sizeof(params),
					      .flags = VMS_MMU_REAL_HOLES,
					      .lo = 2 * WINDOW_LO,
					      .hi = 2 * WINDOW_HI };
	struct vms_mm_policy policy;
	struct vms_mm *mm;

	vms_mm_policy_host(&policy);
	policy.min_addr = params.lo;
	policy.task_size = params.hi;
	policy.mmap_base = params.hi - 256 * page;
	policy.flags &= ~VMS_MM_BOTTOM_UP;
	must(vms_mmu_host(&params, mmu), "host mmu");
	must(vms_mm_create(&policy, *mmu, &mm), "mm");
	return mm;
}

static void first_touches(const struct bench *b)
{
	struct figure window = { .unit = "ns/page", .target = 1.15 }, own = { .unit = "ns/page" };
	struct vms_mmu *mmu;
	struct vms_mm *mm = linux_guest(&mmu);
	struct guest g;

	guest_host(&g, WINDOW_LO, WINDOW_HI);
	for (unsigned i = 0; i < b->rounds; i++) {
		char *kernel = anonymous(FILLED);
		double bare = touch(kernel, FILLED);
		int64_t at = vms_mmap(mm, 0, FILLED, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		struct vms_object *obj = new_object(FILLED, false);
		char *mem;

		must(at < 0 ? (int)at : 0, "vms_mmap");
		mem = (char *)vms_mmu_host_addr(mmu, (uint64_t)at);
		must((int)vms_madvise(mm, (uint64_t)at, FILLED, MADV_NOHUGEPAGE), "vms_madvise");
		figure_round(&window, touch(mem, FILLED), bare);
		vms_munmap(mm, (uint64_t)at, FILLED);

		/* Memory that the host has to find, as the peer's. */
		must(vms_arena_reclaim(arena, UINT64_MAX, NULL), "reclaim");
		put(&g, WINDOW_LO + MIB, obj, 0, FILLED, RW);
		figure_round(&own, touch((char *)WINDOW_LO + MIB, FILLED), bare);
		take(&g, WINDOW_LO + MIB, FILLED);
		vms_object_unref(obj);
		munmap(kernel, FILLED);
	}
	figure_show(b, &window, "first touch in window memory");
	figure_show(b, &own, "first touch in arena memory, by SIGSEGV");
	guest_end(&g);
	vms_mm_destroy(mm);
	vms_mmu_unref(mmu);
}

static void copy_on_write(const struct bench *b)
{
	struct figure f = { .unit = "ns/page", .target = 1.15 };
	struct vms_object_params params = { .size = sizeof(params), .bytes = FILLED };
	struct vms_object *obj = new_object(FILLED, true), *child;
	int fd = must_memfd(FILLED, true);
	struct guest g;

	guest_host(&g, WINDOW_LO, WINDOW_HI);
	put(&g, WINDOW_LO + MIB, obj, 0, FILLED, RW);
	touch((char *)WINDOW_LO + MIB, FILLED);
	for (unsigned i = 0; i <= b->rounds; i++) {
		char *kernel = must_map(NULL, FILLED, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
		volatile char sum = 0;
		double ours;

		must(vms_object_child(obj, VMS_CHILD_SNAPSHOT, 0, &params, &child), "snapshot");
		for (uint64_t off = 0; off < FILLED; off += page)
			sum = (char)(sum + ((volatile char *)WINDOW_LO)[MIB + off] +
				     ((volatile char *)kernel)[off]);
		ours = touch((char *)WINDOW_LO + MIB, FILLED);
		if (i > 0) /* the first finds its frames nowhere */
			figure_round(&f, ours, touch(kernel, FILLED));
		vms_object_unref(child);
		munmap(kernel, FILLED);
	}
	figure_show(b, &f, "host copy-on-write fault");
	guest_end(&g);
	vms_object_unref(obj);
	close(fd);
}

int main(int argc, char **argv)
{
	struct bench b;

	bench_init(&b, "space", argc, argv);
	kit_init("bench-space");
	rows(&b);
	hits(&b);
	zero_fill(&b);
	two_threads(&b, false);
	two_threads(&b, true);
	host_edits(&b);
	first_touches(&b);
	copy_on_write(&b);
	million(&b);
	vms_arena_unref(arena);
	return 0;
}
