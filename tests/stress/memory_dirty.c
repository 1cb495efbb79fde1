// SPDX-License-Identifier: MIT
/*
 * memory_dirty.c: no written page is missing in a log, whoever writes, edits and harvests at once.
 *
 * rounds: writers write through a port, in every way there is; an editor moves, splits, aliases and
 * replaces the slots, and discards pages. Two logs of other page sizes begin in the middle of it, and
 * for each a thread copies first all blocks (or has all set), then again and again what its log
 * gives, to a shadow of its own. Then writers and editor rest, both logs are harvested once more, and
 *
 *	1 each shadow equals the blocks, byte for byte
 *	2 the memory's validator agrees
 *
 * A third log is external: it comes and goes, and after each end its memory is taken away, so that
 * a late mark faults.
 *
 * window: one writer marks a page, and writes half of it at once: these stores find the bit set, and
 * wait in the processor for lines that the harvester has just read. Then it waits for a harvest that
 * began later, of each thread that does nothing else:
 *
 *	3 each of them has what was written last
 *
 * Arguments: seconds; "EPERM" or "ENOSYS": the host refuses membarrier so, from the beginning on.
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

#include "base/epoch.h"
#include "random.h"
#include "refuse.h"
#include "stress.h"
#include "vmspace/access.h"
#include "vmspace/fast.h"
#include "vmspace/ring.h"

#define P	UINT64_C(4096)
#define BLOCKS	3u
#define PAGES	320u /* of a block */
#define CELL	16u  /* pages: what an edit maps */
#define CELLS	64u
#define WRITERS 2u
#define LOGS	2u

static double seconds = 1.5;
static bool refused;
static struct vms_memory *mem;
static struct vms_block *block[BLOCKS];
static unsigned char *hva[BLOCKS];
static int noise; /* a file of bytes */

enum { STORES, SPANS, RINGS, EDITS, DISCARDS, HARVESTS, RUNS, ROUNDS, EXTERNALS, KINDS };
static const char *const names[KINDS] = { "stores",   "spans", "rings",	 "edits",    "discards",
					  "harvests", "runs",  "rounds", "externals" };

#if defined(__SANITIZE_THREAD__)
#define NO_TSAN __attribute__((no_sanitize_thread, noinline))
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define NO_TSAN __attribute__((no_sanitize("thread"), noinline))
#endif
#endif
#ifndef NO_TSAN
#define NO_TSAN
#define STREAMS 1 /* the host writes plainly, as a race detector sees it */
#else
#define STREAMS 0
#endif

/* Guest memory that is being written: no race detector is told. */
NO_TSAN static void copy_words(unsigned char *to, const unsigned char *from, uint64_t bytes)
{
	for (uint64_t i = 0; i < bytes; i += 8)
		*(volatile uint64_t *)(void *)(to + i) =
			*(const volatile uint64_t *)(const void *)(from + i);
}

NO_TSAN static uint64_t differs(const unsigned char *a, const unsigned char *b, uint64_t bytes)
{
	for (uint64_t i = 0; i < bytes; i += 8)
		if (*(const volatile uint64_t *)(const void *)(a + i) !=
		    *(const volatile uint64_t *)(const void *)(b + i))
			return i;
	return bytes;
}

/* ---- The stage ---- */

static void stage_begin(void)
{
	struct vms_memory_params mp = { .size = sizeof(mp) };

	uint32_t seed = 5, bytes[4096];

	for (unsigned i = 0; i < 4096; i++)
		bytes[i] = next32(&seed);
	noise = memfd_create("noise", MFD_CLOEXEC);
	assert_true(noise >= 0);
	assert_int_equal(write(noise, bytes, sizeof(bytes)), sizeof(bytes));
	atomic_store(&stop, false);
	assert_ok(vms_memory_create(&mp, &mem));
	for (unsigned i = 0; i < BLOCKS; i++) {
		struct vms_block_params p = { .size = sizeof(p),
					      .kind = VMS_BLOCK_ANON,
					      .bytes = PAGES * P };
		struct vms_block_info info = { .size = sizeof(info) };

		assert_ok(vms_block_create(mem, &p, &block[i]));
		assert_ok(vms_block_info(block[i], &info));
		hva[i] = info.hva;
	}
}

static void stage_end(void)
{
	assert_ok(vms_memory_check(mem));
	for (unsigned i = 0; i < BLOCKS; i++)
		vms_block_unref(block[i]);
	vms_memory_unref(mem);
	close(noise);
	assert_int_equal(atomic_load(&failures), 0);
}

static struct vms_port *new_port(void)
{
	struct vms_port *port = NULL;

	must(vms_port_create(mem, NULL, &port), "port");
	return port;
}

/* ---- Resting ---- */

static atomic_bool rest_wanted;
static atomic_uint resting;

static void rest_if_wanted(void)
{
	if (!atomic_load_explicit(&rest_wanted, memory_order_relaxed))
		return;
	atomic_fetch_add(&resting, 1);
	while (atomic_load(&rest_wanted) && going())
		sched_yield();
	atomic_fetch_sub(&resting, 1);
}

static void have_rest(unsigned n)
{
	atomic_store(&rest_wanted, true);
	while (atomic_load(&resting) < n && going())
		sched_yield();
}

/* ---- Writers ---- */

/* Holes and ROM come and go. */
static void may_fail(int status, const char *what)
{
	if (status && status != -ENXIO && status != -EACCES)
		must(status, what);
}

static void write_span(struct vms_port *port, uint64_t gpa, size_t len, uint32_t *seed)
{
	struct iovec iov[16];
	struct vms_pin pin;
	int n = 16, err;

	err = vms_span_open(port, gpa, len, VMS_SLOT_WRITE, iov, &n, &pin);
	may_fail(err, "span");
	if (err)
		return;
	for (int i = 0; i < n; i++)
		copy_words(iov[i].iov_base, (const void *)&(uint64_t[256]){ next32(seed) },
			   iov[i].iov_len < 2048 ? iov[i].iov_len & ~(size_t)7 : 2048);
	must(vms_span_close(&pin, SIZE_MAX), "span close");
	counted(SPANS);
}

static void write_borrowed(struct vms_port *port, uint64_t gpa, size_t len, uint32_t *seed)
{
	struct iovec iov[4];
	struct vms_pin pin;
	int n = 4, err;

	must(vms_enter(port), "enter");
	err = vms_span_borrow(port, gpa, len, VMS_SLOT_WRITE, iov, &n, &pin);
	may_fail(err, "borrow");
	if (!err) {
		copy_words(iov[0].iov_base, (const void *)&(uint64_t[8]){ next32(seed) },
			   iov[0].iov_len < 64 ? iov[0].iov_len & ~(size_t)7 : 64);
		vms_span_wrote(&pin, 64);
		counted(SPANS);
	}
	vms_leave(port);
}

static void write_ring(struct vms_port *port, uint64_t gpa, uint32_t *seed)
{
	struct vms_ring ring;
	int err = vms_ring_open(port, gpa, 2 * P, VMS_SLOT_WRITE | VMS_SLOT_READ, &ring);

	if (err && err != -ENOTSUP)
		may_fail(err, "ring");
	if (err)
		return;
	for (unsigned i = 0; i < 200 && going(); i++) {
		uint32_t r = next32(seed);

		if (r & 1)
			vms_ring_store64(&ring, r % (2 * P) & ~UINT64_C(7), r);
		else
			vms_ring_store16_release(&ring, r % (2 * P) & ~UINT64_C(1), (uint16_t)r);
	}
	vms_ring_close(&ring);
	counted(RINGS);
}

static void write_fast(struct vms_port *port, uint64_t gpa, uint32_t r)
{
	struct vms_fast fast;

	must(vms_fast_init(port, &fast), "fast");
	must(vms_enter(port), "enter");
	for (unsigned i = 0; i < 4; i++) {
		may_fail(vms_fast_store_le64(&fast, (gpa & ~UINT64_C(7)) + i * 3 * P, r), "fast");
		may_fail(vms_fast_store8(&fast, gpa + i * P, (uint8_t)r), "fast");
	}
	vms_leave(port);
}

static void write_once(struct vms_port *port, uint32_t *seed)
{
	uint32_t r = next32(seed);
	uint64_t gpa = r % (CELLS * CELL * P), v, other = next32(seed) % (CELLS * CELL * P);
	unsigned char buf[3000];

	switch (next32(seed) % 64) {
	case 0:
		memset(buf, (int)r, sizeof(buf));
		may_fail(vms_write(port, gpa, buf, sizeof(buf)).status, "write");
		break;
	case 1:
		may_fail(vms_fill(port, gpa, (int)(r >> 8), 5000).status, "fill");
		break;
	case 2:
		may_fail(vms_copy(port, gpa, other, 300).status, "copy");
		break;
	case 3:
		write_span(port, gpa & ~UINT64_C(7), 6000, seed);
		break;
	case 4:
		write_borrowed(port, gpa & ~UINT64_C(7), 64, seed);
		break;
	case 5:
		may_fail(vms_atomic_fetch(port, gpa & ~UINT64_C(7), 8, __ATOMIC_RELAXED,
					  VMS_ATOMIC_ADD, r | 1, &v),
			 "atomic");
		break;
	case 6:
		may_fail(vms_store_be32(port, gpa, r), "store");
		break;
	case 9:
		write_fast(port, gpa, r);
		break;
	case 8:
		if (STREAMS)
			may_fail(vms_recv(port, gpa, noise, 5000, r % 8192).status, "recv");
		break;
	case 7:
		if (r % 16 == 0)
			write_ring(port, gpa & ~(P - 1), seed);
		break;
	default:
		may_fail(vms_store_le64(port, gpa & ~UINT64_C(7), r), "store");
		break;
	}
}

static void *writer_main(void *arg)
{
	struct vms_port *port = new_port();
	uint32_t seed = 1 + (uint32_t)(uintptr_t)arg;

	while (going()) {
		rest_if_wanted();
		for (unsigned i = 0; i < 64; i++)
			write_once(port, &seed);
		atomic_fetch_add_explicit(&counts[STORES], 64, memory_order_relaxed);
	}
	vms_port_unref(port);
	return NULL;
}

/* ---- The editor ---- */

static void edit_once(uint32_t *seed)
{
	uint64_t cell = next32(seed) % CELLS, other = next32(seed) % CELLS;
	uint64_t n = 1 + next32(seed) % (CELLS - cell < 4 ? CELLS - cell : 4);
	uint64_t off = next32(seed) % (PAGES - n * CELL + 1) * P;
	struct vms_block *b = block[next32(seed) % BLOCKS];
	struct vms_edit *e;

	must(vms_edit_begin(mem, &e), "edit");
	switch (next32(seed) % 8) {
	case 0:
		must(vms_slot_unmap(e, cell * CELL * P, n * CELL * P), "unmap");
		break;
	case 1: /* a part of what stands becomes something else */
		must(vms_slot_map(e, cell * CELL * P + 3 * P, 5 * P, b, off, VMS_SLOT_RAM), "map");
		break;
	case 2: /* a move */
		must(vms_slot_unmap(e, cell * CELL * P, n * CELL * P), "unmap");
		must(vms_slot_map(e, other * CELL * P, n * CELL * P, b, off, VMS_SLOT_RAM), "map");
		break;
	case 3:
		must(vms_slot_map(e, cell * CELL * P, n * CELL * P, b, off, VMS_SLOT_ROM), "map");
		break;
	default:
		must(vms_slot_map(e, cell * CELL * P, n * CELL * P, b, off, VMS_SLOT_RAM), "map");
		break;
	}
	must(vms_edit_commit(e), "commit");
	counted(EDITS);
}

static void *editor_main(void *arg)
{
	uint32_t seed = 4711;

	while (going()) {
		int err;

		rest_if_wanted();
		for (unsigned i = 0; i < 8; i++)
			edit_once(&seed);
		err = vms_discard(mem, next32(&seed) % (CELLS * CELL) * P, P, NULL, NULL);
		if (err && err != -ENXIO && err != -EBUSY)
			must(err, "discard");
		if (!err)
			counted(DISCARDS);
		if (next32(&seed) % 4 == 0)
			sched_yield();
	}
	return NULL;
}

/* ---- A log that comes and goes ---- */

static void *external_main(void *arg)
{
	const uint64_t bytes = CELLS * CELL / 8 / 2; /* half of the guest */

	while (going()) {
		void *bits =
			mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		struct vms_dirty_params p = { .size = sizeof(p),
					      .flags = VMS_DIRTY_EXTERNAL,
					      .external = bits,
					      .external_bytes = bytes };
		struct vms_dirty *log = NULL;

		must(vms_dirty_start(mem, &p, &log), "external start");
		rest(0.001);
		vms_dirty_mark(block[0], 0, 20 * P);
		vms_dirty_stop(log);
		munmap(bits, P);
		counted(EXTERNALS);
	}
	return NULL;
}

/* ---- Followers: a log and a shadow each ---- */

struct follower {
	struct vms_dirty *log;
	unsigned char *shadow[BLOCKS];
	bool all_set;
	uint64_t runs;
	pthread_t thread;
};

static struct follower follower[LOGS];
static atomic_bool round_over;

static int follow_run(void *arg, struct vms_block *b, uint64_t off, uint64_t len)
{
	struct follower *f = arg;

	for (unsigned i = 0; i < BLOCKS; i++)
		if (b == block[i])
			copy_words(f->shadow[i] + off, hva[i] + off, len);
	f->runs++;
	counted(RUNS);
	/* Now and then it has had enough: what it was not given stays. */
	return off / P % 61 == 7 ? 1 : 0;
}

/* Was there anything? */
static bool follow(struct follower *f)
{
	uint64_t before = f->runs;

	must(vms_dirty_sync(f->log), "sync");
	for (unsigned i = 0; i < BLOCKS; i++) {
		int err = vms_dirty_harvest(f->log, block[i], 0, PAGES * P, follow_run, f);

		if (err < 0)
			must(err, "harvest");
	}
	counted(HARVESTS);
	return f->runs != before;
}

static void *follower_main(void *arg)
{
	struct follower *f = arg;

	for (unsigned i = 0; !f->all_set && i < BLOCKS; i++)
		copy_words(f->shadow[i], hva[i], PAGES * P);
	while (going() && !atomic_load(&round_over))
		if (!follow(f))
			sched_yield();
	return NULL;
}

static void compare(const struct follower *f)
{
	for (unsigned i = 0; i < BLOCKS; i++) {
		uint64_t at = differs(f->shadow[i], hva[i], PAGES * P);

		if (at < PAGES * P)
			bad("log %u lost page %u of block %u", (unsigned)(f - follower),
			    (unsigned)(at / P), i);
	}
}

static void one_round(uint32_t *seed, double length)
{
	static const uint64_t page_size[LOGS] = { 4096, 65536 };

	atomic_store(&round_over, false);
	for (unsigned l = 0; l < LOGS; l++) {
		struct vms_dirty_params p = { .size = sizeof(p), .page_size = page_size[l] };

		follower[l].all_set = next32(seed) & 1;
		p.flags = follower[l].all_set ? VMS_DIRTY_ALL_SET : 0;
		must(vms_dirty_start(mem, &p, &follower[l].log), "start");
		assert_ok(pthread_create(&follower[l].thread, NULL, follower_main, &follower[l]));
	}
	rest(length);
	have_rest(WRITERS + 1);
	atomic_store(&round_over, true);
	for (unsigned l = 0; l < LOGS; l++)
		assert_ok(pthread_join(follower[l].thread, NULL));
	for (unsigned l = 0; going() && l < LOGS; l++) {
		/* It may have had enough in between. */
		while (follow(&follower[l]))
			;
		compare(&follower[l]);
	}
	for (unsigned l = 0; l < LOGS; l++)
		vms_dirty_stop(follower[l].log);
	atomic_store(&rest_wanted, false);
	counted(ROUNDS);
}

static void rounds(void **state)
{
	pthread_t thread[WRITERS + 2];
	uint32_t seed = 99;

	stage_begin();
	for (unsigned l = 0; l < LOGS; l++)
		for (unsigned i = 0; i < BLOCKS; i++)
			follower[l].shadow[i] = calloc(PAGES, P);
	for (unsigned i = 0; i < CELLS; i++)
		edit_once(&seed);
	for (unsigned i = 0; i < WRITERS + 2; i++)
		assert_ok(pthread_create(&thread[i], NULL,
					 i < WRITERS	? writer_main
					 : i == WRITERS ? editor_main
							: external_main,
					 (void *)(uintptr_t)i));
	for (unsigned n = (unsigned)(seconds / 2 / 0.04); going() && n > 0; n--)
		one_round(&seed, n % 4 ? 0.03 : 0.003);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < WRITERS + 2; i++)
		assert_ok(pthread_join(thread[i], NULL));
	print_counts(names, KINDS);
	for (unsigned l = 0; l < LOGS; l++)
		for (unsigned i = 0; i < BLOCKS; i++)
			free(follower[l].shadow[i]);
	stage_end();
	assert_true(atomic_load(&counts[STORES]) > 0 && atomic_load(&counts[EDITS]) > 0);
	assert_true(atomic_load(&counts[RUNS]) > 0 && atomic_load(&counts[ROUNDS]) > 0);
}

/* ---- Window ---- */

struct watcher {
	struct vms_dirty *log;
	_Atomic(uint64_t) begun, done;
	_Atomic(uint64_t) seen;
	pthread_t thread;
};

static struct watcher watcher[LOGS];
static unsigned watchers;
static const uint64_t page = 5 * P;

static int watch_run(void *arg, struct vms_block *b, uint64_t off, uint64_t len)
{
	struct watcher *w = arg;
	uint64_t copy[P / 8];

	/* First what is written last. */
	copy_words((void *)copy, hva[0] + page + P / 2 - 8, 8);
	atomic_store_explicit(&w->seen, copy[0], memory_order_relaxed);
	copy_words((void *)copy, hva[0] + page, P);
	return 0;
}

static void *watcher_main(void *arg)
{
	struct watcher *w = arg;

	while (going()) {
		uint64_t n = atomic_fetch_add(&w->begun, 1) + 1;

		must(vms_dirty_harvest(w->log, block[0], 0, 64 * P, watch_run, w), "harvest");
		atomic_store_explicit(&w->done, n, memory_order_release);
		/* There are more threads than processors. */
		sched_yield();
	}
	return NULL;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void watch_one(struct vms_port *port, uint64_t v)
{
	uint64_t begun[LOGS], buf[P / 16];

	for (unsigned i = 0; i < P / 16; i++)
		buf[i] = v;
	must(vms_store_le64(port, page + P - 8, v), "store");
	for (unsigned i = 0; i < v % 1024; i++)
		__asm__ volatile("");
	must(vms_write_exact(port, page, buf, sizeof(buf)).status, "write");
	for (unsigned l = 0; l < watchers; l++)
		begun[l] = atomic_load(&watcher[l].begun);
	for (unsigned l = 0; l < watchers; l++) {
		struct watcher *w = &watcher[l];

		for (unsigned i = 1;
		     going() && atomic_load_explicit(&w->done, memory_order_acquire) <= begun[l];
		     i++)
			if (i % 32 == 0)
				sched_yield();
		if (going() && atomic_load(&w->seen) != v)
			bad("log %u of %u: write %llu lost", l, watchers, (unsigned long long)v);
	}
}

static void watch(unsigned n, double length)
{
	struct vms_dirty_params p = { .size = sizeof(p) };
	struct vms_port *port;
	struct vms_edit *e;
	uint64_t v = 0;

	stage_begin();
	watchers = n;
	must(vms_edit_begin(mem, &e), "edit");
	must(vms_slot_map(e, 0, PAGES * P, block[0], 0, VMS_SLOT_RAM), "map");
	must(vms_edit_commit(e), "commit");
	port = new_port();
	for (unsigned l = 0; l < n; l++) {
		atomic_store(&watcher[l].seen, 0);
		must(vms_dirty_start(mem, &p, &watcher[l].log), "start");
		assert_ok(pthread_create(&watcher[l].thread, NULL, watcher_main, &watcher[l]));
	}
	for (double end = now() + length; going() && now() < end;)
		watch_one(port, ++v);
	atomic_store(&stop, true);
	for (unsigned l = 0; l < n; l++) {
		assert_ok(pthread_join(watcher[l].thread, NULL));
		vms_dirty_stop(watcher[l].log);
	}
	vms_port_unref(port);
	printf("  %u logs: %llu writes watched\n", n, (unsigned long long)v);
	assert_true(v > 0);
	stage_end();
}

static void window(void **state)
{
	for (unsigned n = 1; n <= LOGS; n++)
		watch(n, seconds / 4);
}

/* ---- A host without membarrier ---- */

static void fences(void **state)
{
	if (refused)
		assert_true(epoch_needs_fences());
	printf("  %s\n", epoch_needs_fences() ? "fences" : "membarrier");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fences),
		cmocka_unit_test(rounds),
		cmocka_unit_test(window),
	};

	for (int i = 1; i < argc; i++) {
		int err = strcmp(argv[i], "EPERM") == 0	   ? EPERM
			  : strcmp(argv[i], "ENOSYS") == 0 ? ENOSYS
							   : 0;

		if (err) {
			refuse_membarrier(err);
			refused = true;
		} else {
			seconds = atof(argv[i]);
		}
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
