// SPDX-License-Identifier: MIT
/*
 * vspace.c: threads that do everything to one space over objects at once, on each backend.
 *
 *	pages	 0 .. 15	A, anonymous; page w is writer w's, page 2 is made read-only again
 *				and again
 *		16 .. 31	C, anonymous: page w is writer w's
 *		32 .. 39	slots: each shows one generation of an object after the other
 *		48 .. 63	B, a pager's, with leave to dirty; written back and reclaimed
 *		64 .. 127	storm: mapped, unmapped, protected and parted into regions at random
 *
 * Then, whatever the order:
 *	1 a load of a slot finds no generation that was unmapped, replaced or moved away before it
 *	  began, and none that had not begun when it ended
 *	2 while a page is read-only, between two protects, no store changes it
 *	3 what a writer stored it loads again; also in B, whose pages come and go
 *	4 a writer stores a number in A, then the same in C. A branch has, of each writer, numbers
 *	  that were there between two moments around its birth, and A's is C's or the next one: it
 *	  is of one instant. It reads the same for ever, and a store in it is seen by nobody else
 *	5 a page of B that nobody writes has the pager's bytes, or the pager failed
 *	6 mappings are told by rising address, without overlap
 *	7 in the end the validators agree, and all that was granted comes back
 *
 * Arguments: backend (record, soft, host), seconds.
 */
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/epoch.h"
#include "mmu/backend.h"
#include "random.h"
#include "store/arena.h"
#include "stress.h"
#include "vmspace/pager.h"
#include "vmspace/space.h"
#include "vmspace/tlb.h"

#define WRITERS 2u
#define SLOTS	4u
#define A_AT	0u
#define C_AT	16u
#define SLOT_AT 32u
#define B_AT	48u
#define STORM	64u
#define PAGES	128u
#define B_PAGES 16u
#define B_OWN	8u  /* page B_OWN + w of B is writer w's; nobody writes those below */
#define B_FAILS 12u /* pages from here on the pager fails now and then */
#define RW	(VMS_PROT_READ | VMS_PROT_WRITE)
#define LO	UINT64_C(0x40000000)
#define ASKED	256u

enum backend { RECORD, SOFT, HOST };

static enum backend backend = RECORD;
static double seconds = 1.2;
static uint64_t P;
static struct vms_arena *arena;
static struct vms_object *A, *C, *B, *storm;
static struct vms_pager *pager;
static struct vms_mmu *mmu;
static struct vms_space *space;
static atomic_bool pager_stop;
static atomic_uint_fast64_t begun[WRITERS], ended[WRITERS]; /* numbers of writers */
static atomic_uint_fast64_t gen_begun[SLOTS], gen_dead[SLOTS];

enum {
	N_STORES,
	N_LOADS,
	N_GENERATIONS,
	N_PROTECTS,
	N_BRANCHES,
	N_ANSWERS,
	N_CLEANED,
	N_EDITS,
	COUNTS
};
static const char *const count_name[] = { "stores",   "loads",	 "generations",	 "protects",
					  "branches", "answers", "written back", "edits" };

static uint64_t at(uint64_t page)
{
	return LO + page * P;
}

/* ---- CPUs ---- */

struct thread {
	unsigned id;
	uint32_t seed;
	pthread_t thread;
	struct vms_cpu *cpu;
	struct vms_wait wait;
};

/* Of an access to the host's window. */
static _Thread_local struct {
	sigjmp_buf env;
	volatile sig_atomic_t armed;
	struct vms_wait *wait;
	volatile enum vms_fault_result result;
} guarded;

static void on_signal(int sig, siginfo_t *si, void *context)
{
	struct vms_signal_fault fault;

	if (!guarded.armed || !vms_fault_signal(space, sig, si, context, guarded.wait, &fault)) {
		signal(sig, SIG_DFL);
		return;
	}
	if (fault.result == VMS_FAULT_OK)
		return;
	guarded.result = fault.result;
	siglongjmp(guarded.env, 1);
}

static enum vms_fault_result through_window(struct thread *t, uint64_t addr, uint64_t *value,
					    bool write)
{
	uint64_t *host = vms_mmu_host_addr(mmu, addr);

	guarded.wait = &t->wait;
	if (sigsetjmp(guarded.env, 0)) {
		guarded.armed = 0;
		return guarded.result;
	}
	guarded.armed = 1;
	if (write)
		__atomic_store_n(host, *value, __ATOMIC_RELAXED);
	else
		*value = __atomic_load_n(host, __ATOMIC_RELAXED);
	guarded.armed = 0;
	return VMS_FAULT_OK;
}

static enum vms_fault_result through_tlb(struct thread *t, uint64_t addr, uint64_t *value,
					 bool write)
{
	enum vms_fault_result r = VMS_FAULT_OK;

	while (r == VMS_FAULT_OK && !(write ? vms_tlb_store64(t->cpu, addr, *value)
					    : vms_tlb_load64(t->cpu, addr, value)))
		r = vms_fault(space, addr, write ? VMS_PROT_WRITE : VMS_PROT_READ, 0, &t->wait,
			      NULL);
	return r;
}

static enum vms_fault_result once(struct thread *t, uint64_t addr, uint64_t *value, bool write)
{
	if (backend == SOFT)
		return through_tlb(t, addr, value, write);
	if (backend == HOST)
		return through_window(t, addr, value, write);
	/* Faults and entries all the same. */
	if (next32(&t->seed) % 2)
		vms_fault(space, addr, write ? VMS_PROT_WRITE : VMS_PROT_READ, 0, NULL, NULL);
	return write ? vms_space_store(space, addr, 8, *value, &t->wait)
		     : vms_space_load(space, addr, 8, value, &t->wait);
}

/* An access of 8 bytes, waited for. */
static enum vms_fault_result reach(struct thread *t, uint64_t addr, uint64_t *value, bool write)
{
	enum vms_fault_result r;

	while ((r = once(t, addr, value, write)) == VMS_FAULT_WAIT) {
		int err = vms_wait_block(&t->wait, INT64_C(20000000000));

		if (err == -ETIMEDOUT)
			bad("what was waited for did not come");
		if (err) {
			vms_wait_cancel(&t->wait);
			return VMS_FAULT_IO;
		}
	}
	counted(write ? N_STORES : N_LOADS);
	return r;
}

static bool load(struct thread *t, uint64_t addr, uint64_t *value)
{
	enum vms_fault_result r = reach(t, addr, value, false);

	if (r != VMS_FAULT_OK)
		bad("a load of page %d: %s: %s", (int)((addr - LO) / P), vms_fault_name(r),
		    vms_last_error());
	return r == VMS_FAULT_OK;
}

static bool store(struct thread *t, uint64_t addr, uint64_t value)
{
	enum vms_fault_result r = reach(t, addr, &value, true);

	if (r != VMS_FAULT_OK)
		bad("a store to page %d: %s: %s", (int)((addr - LO) / P), vms_fault_name(r),
		    vms_last_error());
	return r == VMS_FAULT_OK;
}

/* ---- Writers, who also read ---- */

/* inv. 1 */
static void look_at_slot(struct thread *t)
{
	unsigned slot = next32(&t->seed) % SLOTS;
	uint64_t low = atomic_load(&gen_dead[slot]), value = 0, high;
	enum vms_fault_result r =
		reach(t, at(SLOT_AT + slot + (next32(&t->seed) % 2 ? SLOTS : 0)), &value, false);

	high = atomic_load(&gen_begun[slot]);
	if (r == VMS_FAULT_NOT_MAPPED)
		return;
	if (r != VMS_FAULT_OK)
		bad("slot %u: %s", slot, vms_fault_name(r));
	else if (value <= low || value > high)
		bad("slot %u shows generation %llu, not %llu .. %llu", slot,
		    (unsigned long long)value, (unsigned long long)low + 1,
		    (unsigned long long)high);
}

/* inv. 5 */
static void look_at_pager(struct thread *t)
{
	uint64_t page = next32(&t->seed) % B_PAGES, value = 0;
	enum vms_fault_result r;

	if (page >= B_OWN && page < B_FAILS)
		return;
	r = reach(t, at(B_AT + page), &value, false);
	if (r == VMS_FAULT_IO && page >= B_FAILS)
		return;
	if (r != VMS_FAULT_OK || value != page + 1000)
		bad("page %llu of B: %s, %llu", (unsigned long long)page, vms_fault_name(r),
		    (unsigned long long)value);
}

/* inv. 3 */
static void same(struct thread *t, uint64_t page, uint64_t number)
{
	uint64_t value = 0;

	if (load(t, at(page), &value) && value != number)
		bad("page %llu has %llu, but %llu was stored", (unsigned long long)page,
		    (unsigned long long)value, (unsigned long long)number);
}

static void *writer_thread(void *arg)
{
	struct thread *t = arg;
	unsigned w = t->id;

	for (uint64_t number = 1; going(); number++) {
		uint64_t value = number;

		atomic_store(&begun[w], number);
		if (!store(t, at(A_AT + w), number) || !store(t, at(C_AT + w), number))
			break;
		atomic_store(&ended[w], number);
		same(t, A_AT + w, number);
		same(t, C_AT + w, number);
		look_at_slot(t);
		look_at_pager(t);
		if (number % 4 == 0 && store(t, at(B_AT + B_OWN + w), number))
			same(t, B_AT + B_OWN + w, number);
		if (w == 0) {
			enum vms_fault_result r = reach(t, at(A_AT + 2), &value, true);

			if (r != VMS_FAULT_OK && r != VMS_FAULT_DENIED)
				bad("the protected page: %s", vms_fault_name(r));
		}
	}
	return NULL;
}

/* ---- Generations ---- */

static int show_at(struct vms_object *obj, uint64_t page, uint32_t place, uint64_t n,
		   uint32_t flags)
{
	struct vms_map_params p = { .size = sizeof(p),
				    .flags = flags,
				    .prot = RW,
				    .place = { .flags = VMS_PLACE_AT | place, .addr = at(page) },
				    .object = obj,
				    .len = n * P };

	return vms_map(vms_space_root(space), &p, NULL);
}

/* It shows in the slot from now on; or, by and by, beside it. */
static void *mapper_thread(void *arg)
{
	struct thread *t = arg;
	struct vms_region *root = vms_space_root(space);
	bool there[SLOTS] = { false };

	while (going()) {
		unsigned slot = next32(&t->seed) % SLOTS;
		struct vms_object_params p = { .size = sizeof(p), .bytes = P };
		uint64_t gen = atomic_load(&gen_begun[slot]) + 1, from = at(SLOT_AT + slot),
			 beside = from + SLOTS * P;
		struct vms_place there_instead = { .flags = VMS_PLACE_AT, .addr = beside };
		struct vms_object *obj = NULL;

		must(vms_object_create(arena, &p, &obj), "create");
		must(vms_object_write(obj, 0, &gen, 8, NULL), "write");
		atomic_store(&gen_begun[slot], gen);
		if (there[slot] && next32(&t->seed) % 2) {
			must(vms_unmap(root, from, P, 0), "unmap");
			atomic_store(&gen_dead[slot], gen - 1);
		}
		must(show_at(obj, SLOT_AT + slot, VMS_PLACE_OVER, 1, 0), "map");
		atomic_store(&gen_dead[slot], gen - 1);
		there[slot] = true;
		vms_object_unref(obj);
		if (next32(&t->seed) % 4 == 0) {
			must(vms_move(root, from, P, &there_instead, P, NULL), "move");
			must(vms_unmap(root, beside, P, 0), "unmap");
			atomic_store(&gen_dead[slot], gen);
			there[slot] = false;
		}
		counted(N_GENERATIONS);
	}
	return NULL;
}

/* ---- Rights (inv. 2) ---- */

static void *protector_thread(void *arg)
{
	struct thread *t = arg;
	struct vms_region *root = vms_space_root(space);

	while (going()) {
		uint64_t before = 0, after = 0;

		must(vms_protect(root, at(A_AT + 2), P, VMS_PROT_READ, 0), "protect");
		if (load(t, at(A_AT + 2), &before)) {
			for (unsigned i = next32(&t->seed) % 8; i; i--)
				sched_yield();
			if (load(t, at(A_AT + 2), &after) && before != after)
				bad("a page changed from %llu to %llu while it was read-only",
				    (unsigned long long)before, (unsigned long long)after);
		}
		must(vms_protect(root, at(A_AT + 2), P, RW, 0), "protect");
		counted(N_PROTECTS);
		for (unsigned i = next32(&t->seed) % 8; i; i--)
			sched_yield();
	}
	return NULL;
}

/* ---- Branches (inv. 4) ---- */

static struct vms_mmu *new_mmu(void)
{
	struct vms_mmu_host_params host = {
		.size = sizeof(host), .lo = LO, .hi = at(PAGES), .page_size = P
	};
	struct vms_mmu_soft_params soft = { .size = sizeof(soft), .page_size = P };
	struct vms_mmu *m = NULL;

	must(backend == SOFT   ? vms_mmu_soft(&soft, &m)
	     : backend == HOST ? vms_mmu_host(&host, &m)
			       : vms_mmu_record(&m),
	     "backend");
	return m;
}

static uint64_t peek(struct vms_space *s, uint64_t page)
{
	uint64_t value = 0;
	enum vms_fault_result r = vms_space_load(s, at(page), 8, &value, NULL);

	if (r != VMS_FAULT_OK)
		bad("page %llu of a branch: %s", (unsigned long long)page, vms_fault_name(r));
	return value;
}

static void check_branch(struct thread *t, struct vms_space *b, const uint64_t low[WRITERS],
			 const uint64_t high[WRITERS])
{
	for (unsigned w = 0; w < WRITERS; w++) {
		uint64_t a = peek(b, A_AT + w), c = peek(b, C_AT + w);

		if (a < low[w] || a > high[w] || (a != c && a != c + 1))
			bad("a branch has %llu and %llu of writer %u, between %llu and %llu",
			    (unsigned long long)a, (unsigned long long)c, w,
			    (unsigned long long)low[w], (unsigned long long)high[w]);
		must(vms_space_store(b, at(A_AT + 5), 8, a, NULL), "store in a branch");
		sched_yield();
		if (a != peek(b, A_AT + w) || c != peek(b, C_AT + w))
			bad("a branch has changed");
	}
	must((int)peek(space, A_AT + 5), "a branch's store outside it");
}

static void *brancher_thread(void *arg)
{
	struct thread *t = arg;

	while (going()) {
		struct vms_branch_params p = { .size = sizeof(p), .mmu = new_mmu() };
		uint64_t low[WRITERS], high[WRITERS];
		struct vms_space *b = NULL, *b2 = NULL;

		for (unsigned w = 0; w < WRITERS; w++)
			low[w] = atomic_load(&ended[w]);
		must(vms_space_branch(space, &p, &b), "branch");
		for (unsigned w = 0; w < WRITERS; w++)
			high[w] = atomic_load(&begun[w]);
		vms_mmu_unref(p.mmu);
		if (!b)
			break;
		check_branch(t, b, low, high);
		if (next32(&t->seed) % 4 == 0) {
			p.mmu = new_mmu();
			must(vms_space_branch(b, &p, &b2), "branch of a branch");
			vms_mmu_unref(p.mmu);
			must(vms_space_check(b), "check of a branch");
			vms_space_unref(b);
			for (unsigned w = 0; b2 && w < WRITERS; w++)
				if (peek(b2, A_AT + w) < low[w] || peek(b2, A_AT + w) > high[w])
					bad("a branch of a branch is another");
			b = b2;
		}
		vms_space_unref(b);
		counted(N_BRANCHES);
	}
	return NULL;
}

/* ---- The pager ---- */

static struct {
	pthread_mutex_t lock;
	struct asked {
		struct vms_object *obj;
		enum vms_request_kind kind;
		uint64_t off, len;
	} asked[ASKED];
	unsigned n;
	uint64_t word[B_PAGES]; /* the first of each page, as it is behind */
	uint32_t seed;
} behind = { .lock = PTHREAD_MUTEX_INITIALIZER, .seed = 77 };

static void answer(const struct asked *a, bool fails)
{
	static const size_t most = 65536;
	unsigned char *page = calloc(1, most);

	for (uint64_t off = a->off; off < a->off + a->len; off += P) {
		uint64_t i = off / P;

		if (a->kind == VMS_REQUEST_DIRTY) {
			int err = vms_pager_dirtied(pager, a->obj, off, P);

			if (err != -ENOENT) /* it is absent again */
				must(err, "dirtied");
		} else if (fails && i >= B_FAILS) {
			must(vms_pager_fail(pager, a->obj, off, P, -EIO), "fail");
		} else {
			pthread_mutex_lock(&behind.lock);
			memcpy(page, &behind.word[i], 8);
			pthread_mutex_unlock(&behind.lock);
			must(vms_pager_supply_bytes(pager, a->obj, off, page, P), "supply");
		}
		counted(N_ANSWERS);
	}
	free(page);
}

static void request(void *arg, struct vms_object *obj, uint64_t key, enum vms_request_kind kind,
		    uint64_t off, uint64_t len)
{
	struct asked a = { .obj = obj, .kind = kind, .off = off, .len = len };
	bool later;

	pthread_mutex_lock(&behind.lock);
	/* Within a signal handler no malloc: all of them later. */
	later = (backend == HOST || next32(&behind.seed) % 2) && behind.n < ASKED;
	if (later)
		behind.asked[behind.n++] = a;
	pthread_mutex_unlock(&behind.lock);
	if (!later)
		answer(&a, false);
}

static void cancel(void *arg, struct vms_object *obj, uint64_t key, enum vms_request_kind kind,
		   uint64_t off, uint64_t len)
{
	unsigned kept = 0;

	pthread_mutex_lock(&behind.lock);
	for (unsigned i = 0; i < behind.n; i++)
		if (behind.asked[i].kind != kind || behind.asked[i].off != off)
			behind.asked[kept++] = behind.asked[i];
	behind.n = kept;
	pthread_mutex_unlock(&behind.lock);
}

/* Dirty pages go behind: what is stored meanwhile makes them dirty again. */
static void write_back(uint64_t i)
{
	uint64_t word = 0;

	must(vms_pager_writeback_begin(pager, B, i * P, P, 0), "begin");
	if (vms_object_read(B, i * P, &word, 8, NULL)) /* absent */
		return;
	pthread_mutex_lock(&behind.lock);
	behind.word[i] = word;
	pthread_mutex_unlock(&behind.lock);
	must(vms_pager_writeback_end(pager, B, i * P, P, 0), "end");
	counted(N_CLEANED);
}

static void *pager_thread(void *arg)
{
	struct thread *t = arg;

	while (!atomic_load(&pager_stop)) {
		struct asked a = { 0 };

		pthread_mutex_lock(&behind.lock);
		if (behind.n) {
			a = behind.asked[0];
			memmove(behind.asked, behind.asked + 1,
				--behind.n * sizeof(behind.asked[0]));
		}
		pthread_mutex_unlock(&behind.lock);
		if (a.obj)
			answer(&a, next32(&t->seed) % 4 == 0);
		else if (next32(&t->seed) % 4 == 0)
			write_back(B_OWN + next32(&t->seed) % WRITERS);
		else
			sched_yield();
	}
	return NULL;
}

/* ---- Edits anywhere, losses, looks ---- */

static void allowed(int err, const char *what)
{
	switch (err) {
	case 0:
	case -EEXIST:
	case -ENOSPC:
	case -EINVAL:
	case -EBUSY:
	case -ENOENT:
	case -EACCES:
		counted(N_EDITS);
		return;
	default:
		must(err, what);
	}
}

static void storm_op(struct thread *t, struct vms_region *root, uint64_t page, uint64_t n)
{
	enum vms_region_op op = (enum vms_region_op)(1 + next32(&t->seed) % 7);
	int err = vms_region_op(root, op, at(page), n * P, NULL);

	if (err != -ENOTSUP) /* decommit, and there is a branch at this moment */
		allowed(err, "op");
}

static void *storm_thread(void *arg)
{
	struct thread *t = arg;
	struct vms_region *root = vms_space_root(space), *child = NULL;

	while (going()) {
		uint64_t page = STORM + next32(&t->seed) % 56, n = 1 + next32(&t->seed) % 8,
			 value = 3;
		struct vms_place place = { .flags = VMS_PLACE_AT, .addr = at(page) };
		struct vms_region_params p = { .size = sizeof(p),
					       .rights = VMS_REGION_ALL,
					       .len = n * P };

		switch (next32(&t->seed) % 8) {
		case 0:
			if (child) {
				allowed(vms_region_destroy(child), "destroy");
				vms_region_unref(child);
				child = NULL;
			}
			allowed(vms_region_create(root, &place, &p, &child, NULL), "region");
			break;
		case 1:
		case 2:
			allowed(show_at(storm, page, VMS_PLACE_OVER, n, 0), "map");
			break;
		case 3:
			allowed(show_at(storm, page, 0, n, VMS_MAP_POPULATE), "map");
			break;
		case 4:
			allowed(vms_unmap(root, at(page), n * P, 0), "unmap");
			break;
		case 5:
			allowed(vms_protect(root, at(page), n * P,
					    next32(&t->seed) % 2 ? VMS_PROT_READ : RW, 0),
				"protect");
			break;
		case 6:
			storm_op(t, root, page, n);
			break;
		default:
			reach(t, at(page), &value, next32(&t->seed) % 2);
		}
	}
	vms_region_unref(child);
	return NULL;
}

/* inv. 6 */
static void look_around(void)
{
	struct vms_mapping_info info = { .size = sizeof(info) };
	struct vms_cursor cursor = { 0 };
	struct vms_walk_item item;
	struct vms_walk walk;
	uint64_t above = 0;

	while (!vms_next(space, &cursor, &info)) {
		if (info.addr + info.len <= above || info.addr < LO ||
		    info.addr + info.len > at(PAGES) || !info.len)
			bad("a mapping at %#llx, +%#llx after %#llx", (unsigned long long)info.addr,
			    (unsigned long long)info.len, (unsigned long long)above);
		above = info.addr + info.len;
	}
	must(vms_walk_begin(&walk, vms_space_root(space), LO, PAGES * P, 0), "walk");
	while (!vms_walk_next(&walk, &item))
		;
	vms_walk_end(&walk);
	if (vms_find(space, at(B_AT + 1), &info) || info.addr != at(B_AT))
		bad("B is not found");
}

static void *trouble_thread(void *arg)
{
	struct thread *t = arg;

	while (going()) {
		uint64_t freed;

		switch (next32(&t->seed) % 8) {
		case 0:
			mmu->entries->empty(mmu);
			break;
		case 1:
		case 2:
			must(vms_arena_reclaim(arena, UINT64_MAX, &freed), "reclaim");
			break;
		case 3:
			if (backend != SOFT) /* whose validator wants CPUs to stand still */
				must(vms_space_check(space), "check");
			break;
		default:
			look_around();
		}
		sched_yield();
	}
	return NULL;
}

/* ---- The test ---- */

static void *(*const work[])(void *) = { writer_thread,	   writer_thread,   mapper_thread,
					 protector_thread, brancher_thread, storm_thread,
					 trouble_thread,   pager_thread };
#define THREADS (sizeof(work) / sizeof(work[0]))

static void *run(void *arg)
{
	struct thread *t = arg;
	void *r;

	vms_wait_init(&t->wait);
	if (backend == SOFT) {
		t->cpu = aligned_alloc(64, (sizeof(*t->cpu) + 63) & ~(size_t)63);
		must(vms_cpu_init(mmu, t->cpu), "cpu");
	}
	r = work[t->id](t);
	if (t->cpu)
		vms_cpu_fini(t->cpu);
	free(t->cpu);
	return r;
}

static struct vms_object *anon(uint64_t npages)
{
	struct vms_object_params p = { .size = sizeof(p), .bytes = npages * P };
	struct vms_object *obj;

	assert_ok(vms_object_create(arena, &p, &obj));
	return obj;
}

static void set_up(void)
{
	static const struct vms_pager_ops ops = { .size = sizeof(ops),
						  .request = request,
						  .cancel = cancel };
	struct vms_arena_params ap = { .size = sizeof(ap), .reserve = UINT64_C(1) << 30 };
	struct vms_object_params op = { .size = sizeof(op),
					.flags = VMS_OBJECT_TRAP_DIRTY,
					.bytes = B_PAGES * P };
	struct vms_space_params sp = {
		.size = sizeof(sp), .page_size = P, .lo = LO, .hi = LO + PAGES * P
	};

	P = (uint64_t)sysconf(_SC_PAGESIZE);
	op.bytes = B_PAGES * P;
	sp.page_size = P;
	sp.hi = at(PAGES);
	for (uint64_t i = 0; i < B_PAGES; i++)
		behind.word[i] = i + 1000;
	assert_ok(vms_arena_create(&ap, &arena));
	A = anon(16);
	C = anon(16);
	storm = anon(64);
	assert_ok(vms_pager_create(&ops, NULL, &pager));
	assert_ok(vms_object_create_paged(arena, pager, 1, &op, &B));
	mmu = new_mmu();
	sp.mmu = mmu;
	assert_ok(vms_space_create(&sp, &space));
	assert_ok(show_at(A, A_AT, 0, 16, 0));
	assert_ok(show_at(C, C_AT, 0, 16, 0));
	assert_ok(show_at(B, B_AT, 0, B_PAGES, VMS_MAP_SHARE));
}

static void tear_down(void)
{
	struct vms_arena_info info = { .size = sizeof(info) };

	if (vms_space_check(space))
		bad("in the end: %s", vms_last_error());
	vms_space_unref(space);
	vms_mmu_unref(mmu);
	vms_object_unref(A);
	vms_object_unref(C);
	vms_object_unref(storm);
	vms_object_unref(B);
	vms_pager_close(pager);
	epoch_synchronize();
	assert_ok(arena_check(arena));
	assert_ok(vms_arena_info(arena, &info));
	assert_int_equal(info.granted, 0);
	vms_arena_unref(arena);
}

static void everything_at_once(void **state)
{
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER };
	static struct thread team[THREADS];

	set_up();
	if (backend == HOST) { /* cmocka has handlers of its own until here */
		sigaction(SIGSEGV, &sa, NULL);
		sigaction(SIGBUS, &sa, NULL);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		team[i].id = i;
		team[i].seed = 0x9e3779b9u * (i + 1);
		assert_ok(pthread_create(&team[i].thread, NULL, run, &team[i]));
	}
	rest(seconds);
	atomic_store(&stop, true);
	/* The pager is the last one: others may wait for it. */
	for (unsigned i = 0; i < THREADS; i++) {
		if (work[i] == pager_thread)
			atomic_store(&pager_stop, true);
		pthread_join(team[i].thread, NULL);
	}
	print_counts(count_name, COUNTS);
	for (unsigned i = 0; i < COUNTS; i++)
		assert_true(counts[i] > 0);
	tear_down();
	assert_int_equal(atomic_load(&failures), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(everything_at_once) };

	if (argc > 1)
		backend = !strcmp(argv[1], "soft")   ? SOFT
			  : !strcmp(argv[1], "host") ? HOST
						     : RECORD;
	if (argc > 2)
		seconds = strtod(argv[2], NULL);
	return cmocka_run_group_tests_name("stress-vspace", tests, NULL, NULL);
}
