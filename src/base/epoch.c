// SPDX-License-Identifier: MIT
/*
 * epoch.c: sections, retired memory, and the epoch between them.
 *
 * There is one number, the epoch, that only grows. A reader writes the epoch of its entry into its
 * record; what is retired is stamped with the epoch of that moment. To free, a writer moves the
 * epoch on, makes every processor take part in a barrier, and looks at the records: what is stamped
 * below the oldest section's epoch can be reached by nobody. No lock: the retired are one stack
 * that is taken whole, and what must wait is put back.
 *
 * Invariants:
 *	1 a section's record holds an epoch from before its first look until after its last one
 *	2 a section that entered at epoch e sees every change made before a stamp below e: stamp and
 *	  step are read-modify-writes of one word
 *	3 `passed` only grows: every section that entered below it has ended
 *	4 a retired head is on the stack, or in the hands of one collector, or freed
 *	5 a record belongs to the thread whose address of `epoch_self` is its owner; another owner
 *	  says that fork wiped it, or that the thread is gone
 *	6 a signal handler may open sections at any point of enter and leave
 *
 * Records live in mappings that a forked child finds empty; the table of these mappings does not,
 * so the child goes on using them. What a collector held at the moment of fork is lost in the
 * child, never freed twice.
 *
 * The barrier between a reader's write and its looks is the membarrier of the writer, or where the
 * host has none a fence in each section; that is decided once, before the first record is given.
 */
#include "base/epoch.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/epoch_inline.h"
#include "base/world.h"

/* <linux/membarrier.h> is not everywhere. */
#define BARRIER_EXPEDITED (1 << 3)
#define BARRIER_REGISTER  (1 << 4)

#define CHUNKS	    16u /* each holds twice what the one before it holds */
#define COLLECT_MIN 64u /* retirements between two collections, at least */

_Thread_local struct epoch_record *epoch_self;
_Atomic(uint64_t) epoch_current = 1;
bool epoch_fences;

static _Atomic(struct epoch_record *) chunk[CHUNKS];
static _Atomic(uint64_t) passed;
static _Atomic(struct epoch_head *) retired;
static _Atomic(uint64_t) since;	 /* the last collection: retirements */
static _Atomic(uint64_t) enough; /* of them for the next one; 0: COLLECT_MIN */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool have_key;

/* ---- Records ---- */

static uintptr_t me(void)
{
	return (uintptr_t)&epoch_self;
}

static size_t chunk_bytes(unsigned i)
{
	return (size_t)sysconf(_SC_PAGESIZE) << i;
}

static size_t chunk_records(unsigned i)
{
	return chunk_bytes(i) / sizeof(struct epoch_record);
}

/* Not inside, nothing held: what a thread that ended in a section left behind. */
static void clear(struct epoch_record *r)
{
	atomic_store_explicit(&r->depth, 0, memory_order_relaxed);
	atomic_store_explicit(&r->epoch, 0, memory_order_release);
	atomic_fetch_and(&r->collecting, ~1u);
}

static void thread_ends(void *arg)
{
	struct epoch_record *r = arg;
	uintptr_t owner = me();

	if (epoch_self == r)
		epoch_self = NULL;
	clear(r);
	atomic_compare_exchange_strong(&r->owner, &owner, 0);
}

static void set_up(void)
{
	const struct world *w = world_default;

	have_key = pthread_key_create(&key, thread_ends) == 0;
	epoch_fences = EPOCH_TSAN || w->membarrier(w, BARRIER_REGISTER) < 0;
}

static struct epoch_record *chunk_add(unsigned i)
{
	const struct world *w = world_default;
	struct epoch_record *none = NULL, *r;
	size_t bytes = chunk_bytes(i);
	int64_t p =
		w->mmap(w, 0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p < 0)
		return NULL;
	if (w->madvise(w, (uint64_t)p, bytes, MADV_WIPEONFORK) < 0) {
		w->munmap(w, (uint64_t)p, bytes);
		return NULL;
	}
	r = (void *)(uintptr_t)p;
	if (atomic_compare_exchange_strong(&chunk[i], &none, r))
		return r;
	w->munmap(w, (uint64_t)p, bytes); /* another thread was first */
	return none;
}

/* A free record, or one that this thread, or a dead one at its address, once had. */
static struct epoch_record *claim(void)
{
	for (unsigned i = 0; i < CHUNKS; i++) {
		struct epoch_record *c = atomic_load_explicit(&chunk[i], memory_order_acquire);

		if (!c)
			c = chunk_add(i);
		if (!c)
			return NULL;
		for (size_t j = 0; j < chunk_records(i); j++) {
			uintptr_t owner = atomic_load_explicit(&c[j].owner, memory_order_relaxed);

			if (owner != 0 && owner != me())
				continue;
			if (owner == me() ||
			    atomic_compare_exchange_strong(&c[j].owner, &owner, me()))
				return &c[j];
		}
	}
	return NULL;
}

/* This thread's record; NULL: none to be had. */
static struct epoch_record *own_record(void)
{
	struct epoch_record *r = epoch_self;

	if (r && atomic_load_explicit(&r->owner, memory_order_relaxed) == me())
		return r;
	epoch_self = NULL;
	pthread_once(&once, set_up);
	r = have_key ? claim() : NULL;
	if (!r)
		return NULL;
	clear(r);
	if (pthread_setspecific(key, r) != 0) {
		atomic_store_explicit(&r->owner, 0, memory_order_release);
		return NULL;
	}
	epoch_self = r;
	return r;
}

/* ---- Sections ---- */

bool epoch_enter_first(void)
{
	struct epoch_record *r = own_record();

	if (!r)
		return false;
	epoch_open(r);
	return true;
}

bool epoch_enter(void)
{
	return epoch_enter_inline();
}

void epoch_leave(void)
{
	epoch_leave_inline();
}

/* ---- The epoch ---- */

uint64_t epoch_now(void)
{
	/* Not a load: invariant 2. */
	return atomic_fetch_add_explicit(&epoch_current, 0, memory_order_acq_rel);
}

bool epoch_needs_fences(void)
{
	pthread_once(&once, set_up);
	return epoch_fences;
}

bool epoch_barrier(void)
{
#if EPOCH_TSAN
	return true;
#else
	const struct world *w = world_default;

	pthread_once(&once, set_up);
	atomic_thread_fence(memory_order_seq_cst);
	if (epoch_fences || w->membarrier(w, BARRIER_EXPEDITED) == 0)
		return true;
	/* A forked child of an old kernel must register again. */
	return w->membarrier(w, BARRIER_REGISTER) == 0 && w->membarrier(w, BARRIER_EXPEDITED) == 0;
#endif
}

/* Move on, look at the records, and raise `passed`, which it returns. */
static uint64_t advance(void)
{
	uint64_t oldest = atomic_fetch_add(&epoch_current, 1) + 1, was;

	if (!epoch_barrier())
		return atomic_load_explicit(&passed, memory_order_acquire);
	for (unsigned i = 0; i < CHUNKS; i++) {
		struct epoch_record *c = atomic_load_explicit(&chunk[i], memory_order_acquire);

		for (size_t j = 0; c && j < chunk_records(i); j++) {
#if EPOCH_TSAN
			/* Write to it, so that the reader's exchange is before or after us. */
			uint64_t e = atomic_fetch_add(&c[j].epoch, 0);
#else
			uint64_t e = atomic_load_explicit(&c[j].epoch, memory_order_acquire);
#endif
			if (e != 0 && e < oldest)
				oldest = e;
		}
	}
	was = atomic_load_explicit(&passed, memory_order_acquire);
	while (was < oldest &&
	       !atomic_compare_exchange_weak_explicit(&passed, &was, oldest, memory_order_acq_rel,
						      memory_order_acquire))
		;
	return was < oldest ? oldest : was;
}

bool epoch_passed(uint64_t epoch)
{
	return epoch < atomic_load_explicit(&passed, memory_order_acquire) || epoch < advance();
}

/* ---- Retired memory ---- */

static void push(struct epoch_head *first, struct epoch_head *last)
{
	struct epoch_head *top = atomic_load_explicit(&retired, memory_order_relaxed);

	do
		last->next = top;
	while (!atomic_compare_exchange_weak_explicit(&retired, &top, first, memory_order_release,
						      memory_order_relaxed));
}

/* Free what can be freed; r: this thread's record, or NULL. */
static void collect(struct epoch_record *r)
{
	struct epoch_head *all, *next, *keep = NULL, *keep_last = NULL, *gone = NULL;
	uint64_t done, left = 0;

	/* A free function that retires: its head waits for the next collection. */
	if (r && atomic_load_explicit(&r->collecting, memory_order_relaxed) & 1)
		return;
	if (!atomic_load_explicit(&retired, memory_order_relaxed))
		return;
	if (r)
		atomic_fetch_add(&r->collecting, 1);
	atomic_store_explicit(&since, 0, memory_order_relaxed);
	all = atomic_exchange_explicit(&retired, NULL, memory_order_acquire);
	done = advance();
	for (; all; all = next) {
		next = all->next;
		if (all->epoch < done) {
			all->next = gone;
			gone = all;
			continue;
		}
		if (!keep_last)
			keep_last = all;
		all->next = keep;
		keep = all;
		left++;
	}
	if (keep)
		push(keep, keep_last);
	/* As many again before the next try: each is looked at a bounded number of times. */
	atomic_store_explicit(&enough, left > COLLECT_MIN ? left : COLLECT_MIN,
			      memory_order_relaxed);
	for (; gone; gone = next) {
		next = gone->next;
		gone->free(gone);
	}
	if (r)
		atomic_fetch_add(&r->collecting, 1);
}

void epoch_retire(struct epoch_head *head, void (*free)(struct epoch_head *head))
{
	uint64_t limit;

	head->free = free;
	head->epoch = epoch_now();
	push(head, head);
	limit = atomic_load_explicit(&enough, memory_order_relaxed);
	if (atomic_fetch_add_explicit(&since, 1, memory_order_relaxed) + 1 >=
	    (limit ? limit : COLLECT_MIN))
		collect(own_record());
}

void epoch_poll(void)
{
	collect(own_record());
}

/* Wait until everybody who holds retired heads now has freed them or put them back. */
static void wait_for_collectors(const struct epoch_record *mine)
{
	for (unsigned i = 0; i < CHUNKS; i++) {
		struct epoch_record *c = atomic_load_explicit(&chunk[i], memory_order_acquire);

		for (size_t j = 0; c && j < chunk_records(i); j++) {
			unsigned turn = atomic_load(&c[j].collecting);

			if (&c[j] == mine || !(turn & 1))
				continue;
			while (atomic_load(&c[j].collecting) == turn)
				sched_yield();
		}
	}
}

void epoch_synchronize(void)
{
	struct epoch_record *r = own_record();
	uint64_t e = epoch_now();

	while (!epoch_passed(e))
		sched_yield();
	/* Those who took heads before may put back some that have passed meanwhile. */
	wait_for_collectors(r);
	collect(r);
	wait_for_collectors(r);
}
