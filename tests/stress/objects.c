// SPDX-License-Identifier: MIT
/*
 * objects.c: threads that do everything to two families of objects at once.
 *
 * What is written says who wrote it, when, and to which page, in each of its 64-bit words:
 *
 *	word	= magic, writer, page, number of the write (rising for a writer)
 *
 *	A	[ shared: 64 pages | stripe of writer 0 | stripe of writer 1 | moved: 32 pages ]
 *	B	[ moved: 32 pages | stripe of writer 2 ]
 *
 *	shared	single whole pages, by anybody; whole pages are zeroed, too
 *	stripe	16 pages in one write, by its writer alone
 *	moved	transferred between A and B all the time
 *
 * Then, whatever the order:
 *	1 a live read finds in each word zero (shared, moved) or a word for that very page; in a
 *	  stripe one whose number lies between the last write that had ended before the read began
 *	  and the last that had begun when it ended
 *	2 a snapshot has one word all over each page, and one number all over each stripe; between
 *	  the same two numbers of the moments around its birth
 *	3 a snapshot reads the same for ever, whoever writes, ends or snapshots around it; and a
 *	  snapshot of it starts as it is
 *	4 what a shrink took reads zero after growing
 *	5 in the end the validators agree, and all that was granted comes back
 *
 * Bytes of a live read may be of two writes (object.h promises no more): where the copies of a
 * reader and a writer cross, even one word may be of both. So a word that fits nothing is fine
 * between two words of different writes. ThreadSanitizer's copying is byte by byte and crosses
 * all the time: there only the bytes that all words have in common are checked.
 *
 * Argument: seconds.
 */
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/epoch.h"
#include "object/content.h"
#include "object/look.h" /* LOOK_TSAN */
#include "store/arena.h"

#define SHARED	64u
#define STRIPE	16u
#define WRITERS 3u /* with stripes: 0 and 1 in A, 2 in B */
#define MOVED	32u
#define A_MOVED (SHARED + 2 * STRIPE)
#define A_PAGES (A_MOVED + MOVED)
#define B_PAGES (MOVED + STRIPE)
#define MAGIC	UINT64_C(0xa7)
#ifdef LOOK_TSAN
#define TORN_ANYWHERE true
#else
#define TORN_ANYWHERE false
#endif

static double seconds = 1.2;
static uint64_t P;
static struct vms_arena *arena;
static struct vms_object *A, *B;
static atomic_bool stop;
static atomic_uint failures;
static atomic_uint_fast64_t begun[WRITERS], ended[WRITERS]; /* numbers of writes to stripes */
static atomic_uint_fast64_t counts[8];

enum { N_WRITES, N_READS, N_SNAPSHOTS, N_ZEROS, N_TRANSFERS, N_RESIZES, N_COMMITS, N_CHECKS };

static const char *const count_name[] = { "writes",    "live reads", "snapshots", "zeros",
					  "transfers", "resizes",    "commits",	  "checks" };

static void counted(unsigned what)
{
	atomic_fetch_add_explicit(&counts[what], 1, memory_order_relaxed);
}

/* cmocka's asserts are for its own thread. */
__attribute__((format(printf, 1, 2))) static void bad(const char *format, ...)
{
	char text[256];
	va_list args;

	if (atomic_fetch_add(&failures, 1) < 8) {
		va_start(args, format);
		vsnprintf(text, sizeof(text), format, args);
		va_end(args);
		fprintf(stderr, "  %s\n", text);
	}
	atomic_store(&stop, true);
}

static bool going(void)
{
	return !atomic_load_explicit(&stop, memory_order_relaxed);
}

static void must(int err, const char *what)
{
	if (err)
		bad("%s: %d: %s", what, err, vms_last_error());
}

/* One for each thread. */
static uint32_t next(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

/* ---- Words ---- */

static uint64_t word_of(unsigned writer, uint64_t page, uint64_t number)
{
	return MAGIC << 56 | (uint64_t)writer << 48 | page << 32 | (number & UINT32_MAX);
}

static bool fits(uint64_t w, uint64_t page)
{
	if (TORN_ANYWHERE)
		return w >> 56 == MAGIC || w >> 56 == 0;
	return w == 0 || (w >> 56 == MAGIC && (w >> 32 & 0xffff) == page);
}

static void fill(uint64_t *buf, unsigned writer, uint64_t page, uint64_t n, uint64_t number)
{
	for (uint64_t i = 0; i < n; i++)
		for (uint64_t k = 0; k < P / 8; k++)
			buf[i * P / 8 + k] = word_of(writer, page + i, number);
}

/* Who wrote the word, and when. */
static uint64_t write_of(uint64_t w)
{
	return w & ~(UINT64_C(0xffff) << 32);
}

/* May word k of n be of two writes? */
static bool is_seam(const uint64_t *buf, uint64_t k, uint64_t n)
{
	return k == 0 || k + 1 == n || write_of(buf[k - 1]) != write_of(buf[k + 1]);
}

/* inv. 1, of pages that words of `page` on may stand in. */
static void live_fits(const uint64_t *buf, uint64_t page, uint64_t n, const char *what)
{
	for (uint64_t k = 0; k < n * P / 8; k++) {
		if (fits(buf[k], page + k / (P / 8)) || is_seam(buf, k, n * P / 8))
			continue;
		bad("%s: page %llu, word %llu is %#llx", what,
		    (unsigned long long)(page + k / (P / 8)), (unsigned long long)(k % (P / 8)),
		    (unsigned long long)buf[k]);
		return;
	}
}

/* inv. 2: one word all over each page, that fits. */
static void still_fits(const uint64_t *buf, uint64_t page, uint64_t n, const char *what)
{
	for (uint64_t i = 0; i < n; i++) {
		const uint64_t *w = buf + i * P / 8;

		if (w[0] && (w[0] >> 56 != MAGIC || (w[0] >> 32 & 0xffff) != page + i))
			bad("%s: page %llu begins with %#llx", what, (unsigned long long)(page + i),
			    (unsigned long long)w[0]);
		for (uint64_t k = 1; k < P / 8; k++) {
			if (w[k] == w[0])
				continue;
			bad("%s: page %llu: word %llu is %#llx, the first %#llx", what,
			    (unsigned long long)(page + i), (unsigned long long)k,
			    (unsigned long long)w[k], (unsigned long long)w[0]);
			return;
		}
	}
}

/* ---- Stripes ---- */

static uint64_t stripe_at(unsigned writer)
{
	return writer == 2 ? MOVED : SHARED + writer * STRIPE;
}

static struct vms_object *home(unsigned writer)
{
	return writer == 2 ? B : A;
}

/* inv. 2 of a stripe: one number, low .. high. */
static void stripe_fits(const uint64_t *buf, unsigned writer, uint64_t low, uint64_t high)
{
	uint64_t number = buf[0] & UINT32_MAX;

	for (uint64_t i = 0; i < STRIPE; i++) {
		uint64_t w = buf[i * P / 8];

		if (w == word_of(writer, stripe_at(writer) + i, number))
			continue;
		bad("snapshot: stripe %u: page %llu begins with %#llx, the first with %#llx",
		    writer, (unsigned long long)i, (unsigned long long)w,
		    (unsigned long long)buf[0]);
		return;
	}
	if (number < low || number > high)
		bad("snapshot: stripe %u has number %llu, not %llu .. %llu", writer,
		    (unsigned long long)number, (unsigned long long)low, (unsigned long long)high);
}

/* inv. 1 of a stripe. */
static void live_stripe(unsigned writer, uint64_t *buf)
{
	uint64_t low = atomic_load(&ended[writer]), high, at = stripe_at(writer);
	const uint64_t n = STRIPE * P / 8;

	must(vms_object_read(home(writer), at * P, buf, STRIPE * P, NULL), "read of a stripe");
	high = atomic_load(&begun[writer]);
	live_fits(buf, at, STRIPE, "live stripe");
	for (uint64_t k = 0; !TORN_ANYWHERE && k < n; k++) {
		uint64_t number = buf[k] & UINT32_MAX;

		if ((buf[k] >> 48 & 0xff) == writer && number >= low && number <= high)
			continue;
		if (is_seam(buf, k, n))
			continue;
		bad("live: stripe %u, word %llu is %#llx, not of %#llx .. %#llx", writer,
		    (unsigned long long)k, (unsigned long long)buf[k], (unsigned long long)low,
		    (unsigned long long)high);
		return;
	}
}

/* ---- Threads ---- */

struct thread {
	unsigned id;
	uint32_t seed;
	pthread_t thread;
	uint64_t *buf, *buf2; /* A_PAGES each */
};

static void write_stripe(struct thread *t, unsigned writer)
{
	uint64_t number = atomic_load(&ended[writer]) + 1;

	fill(t->buf, writer, stripe_at(writer), STRIPE, number);
	atomic_store(&begun[writer], number);
	must(vms_object_write(home(writer), stripe_at(writer) * P, t->buf, STRIPE * P, NULL),
	     "write of a stripe");
	atomic_store(&ended[writer], number);
	counted(N_WRITES);
}

static void *writer_thread(void *arg)
{
	struct thread *t = arg;

	for (uint64_t number = 1; going(); number++) {
		uint64_t page = next(&t->seed) % SHARED;

		write_stripe(t, t->id);
		if (t->id == 2)
			continue;
		fill(t->buf, t->id, page, 1, number);
		must(vms_object_write(A, page * P, t->buf, P, NULL), "write of a page");
		counted(N_WRITES);
	}
	return NULL;
}

static void *reader_thread(void *arg)
{
	struct thread *t = arg;

	while (going()) {
		uint64_t page = next(&t->seed) % SHARED, n = next(&t->seed) % (SHARED - page) + 1;

		must(vms_object_read(A, page * P, t->buf, n * P, NULL), "read");
		live_fits(t->buf, page, n, "live");
		live_stripe(next(&t->seed) % WRITERS, t->buf);
		must(vms_object_read(A, A_MOVED * P, t->buf, MOVED * P, NULL), "read, moved");
		live_fits(t->buf, 0, MOVED, "live, moved in A");
		must(vms_object_read(B, 0, t->buf, MOVED * P, NULL), "read, moved");
		live_fits(t->buf, 0, MOVED, "live, moved in B");
		counted(N_READS);
	}
	return NULL;
}

static struct vms_object *snapshot(struct vms_object *of, uint64_t npages, uint32_t flags)
{
	struct vms_object_params p = { .size = sizeof(p), .flags = flags, .bytes = npages * P };
	struct vms_object *obj = NULL;

	int err = vms_object_child(of, VMS_CHILD_SNAPSHOT, 0, &p, &obj);

	if (err == -EBUSY) /* a page is pinned at this moment */
		return NULL;
	must(err, "snapshot");
	counted(N_SNAPSHOTS);
	return obj;
}

static void unchanged(struct thread *t, struct vms_object *obj, uint64_t npages, const char *what)
{
	must(vms_object_read(obj, 0, t->buf2, npages * P, NULL), "read of a snapshot");
	if (memcmp(t->buf, t->buf2, npages * P))
		bad("%s: a snapshot has changed", what);
}

/* inv. 2 and 3, on a snapshot of A. */
static void snapshot_a(struct thread *t)
{
	uint64_t low[2], high[2];
	struct vms_object *s, *s2;
	uint64_t page = next(&t->seed) % A_PAGES;

	for (unsigned w = 0; w < 2; w++)
		low[w] = atomic_load(&ended[w]);
	s = snapshot(A, A_PAGES, 0);
	for (unsigned w = 0; w < 2; w++)
		high[w] = atomic_load(&begun[w]);
	if (!s)
		return;
	must(vms_object_read(s, 0, t->buf, A_PAGES * P, NULL), "read of a snapshot");
	still_fits(t->buf, 0, A_MOVED, "snapshot of A");
	still_fits(t->buf + A_MOVED * P / 8, 0, MOVED, "snapshot of A, moved");
	for (unsigned w = 0; w < 2; w++)
		stripe_fits(t->buf + stripe_at(w) * P / 8, w, low[w], high[w]);
	s2 = snapshot(s, A_PAGES, VMS_OBJECT_RESIZABLE);
	if (s2) {
		unchanged(t, s2, A_PAGES, "its own");
		must(vms_object_write(s2, page * P + 1, "other", 5, NULL), "write of a snapshot");
		must(vms_object_op(s2, VMS_OBJECT_ZERO, page * P / 2, P, NULL), "zero");
		must(vms_object_resize(s2, page * P), "resize");
	}
	unchanged(t, s, A_PAGES, "its own child's");
	if (next(&t->seed) % 2) {
		vms_object_unref(s2);
		unchanged(t, s, A_PAGES, "an end's");
		vms_object_unref(s);
	} else {
		vms_object_unref(s);
		vms_object_unref(s2);
	}
}

static void snapshot_b(struct thread *t)
{
	uint64_t low = atomic_load(&ended[2]), high;
	struct vms_object *s = snapshot(B, B_PAGES, 0);

	high = atomic_load(&begun[2]);
	if (!s)
		return;
	must(vms_object_read(s, 0, t->buf, B_PAGES * P, NULL), "read of a snapshot");
	still_fits(t->buf, 0, B_PAGES, "snapshot of B");
	stripe_fits(t->buf + stripe_at(2) * P / 8, 2, low, high);
	unchanged(t, s, B_PAGES, "B's");
	vms_object_unref(s);
}

static void check(struct vms_object *obj)
{
	must(content_check(obj, NULL), "content_check");
	counted(N_CHECKS);
}

static void *snapper_thread(void *arg)
{
	struct thread *t = arg;

	for (unsigned i = 0; going(); i++) {
		snapshot_a(t);
		snapshot_b(t);
		if (i % 16 == 0)
			check(i % 32 ? A : B);
	}
	return NULL;
}

static void *zeroer_thread(void *arg)
{
	struct thread *t = arg;
	struct vms_object_info info = { .size = sizeof(info) };
	struct vms_share rows[16];

	while (going()) {
		uint64_t page = next(&t->seed) % SHARED, n = next(&t->seed) % (SHARED - page) + 1;
		size_t k = 16;
		int err;

		must(vms_object_op(A, VMS_OBJECT_ZERO, page * P, n * P, NULL), "zero");
		counted(N_ZEROS);
		must(vms_object_op(A, VMS_OBJECT_COMMIT, page * P, n * P, NULL), "commit");
		must(vms_object_op(B, VMS_OBJECT_COMMIT, 0, B_PAGES * P, NULL), "commit");
		counted(N_COMMITS);
		err = vms_object_op(A, VMS_OBJECT_DECOMMIT, page * P, n * P, NULL);
		if (err != -ENOTSUP) /* there is a snapshot at this moment */
			must(err, "decommit");
		must(vms_object_pin(A, page * P, P, 0, NULL), "pin");
		must(vms_object_unpin(A, page * P, P), "unpin");
		must(vms_object_info(A, &info), "info");
		must(vms_object_share(A, rows, &k), "share");
	}
	return NULL;
}

/* Whole pages from A to B and back, with fresh ones now and then. */
static void *mover_thread(void *arg)
{
	struct thread *t = arg;

	for (uint64_t number = 1; going(); number++) {
		uint64_t page = next(&t->seed) % MOVED, n = next(&t->seed) % (MOVED - page) + 1;
		uint32_t keep = next(&t->seed) % 4 ? 0 : VMS_TRANSFER_KEEP;
		bool to_a = next(&t->seed) % 2;
		uint64_t at = (A_MOVED + page) * P;

		if (number % 4 == 0) {
			fill(t->buf, 7, page, 1, number);
			must(vms_object_write(to_a ? A : B, to_a ? at : page * P, t->buf, P, NULL),
			     "write");
		}
		if (to_a)
			must(vms_object_transfer(A, at, n * P, B, page * P, keep), "transfer");
		else
			must(vms_object_transfer(B, page * P, n * P, A, at, keep), "transfer");
		counted(N_TRANSFERS);
	}
	return NULL;
}

static bool all_zero(const uint64_t *buf, uint64_t n)
{
	for (uint64_t k = 0; k < n; k++)
		if (buf[k])
			return false;
	return true;
}

/* inv. 4, with a reader beside. The object is a child in A's family. */
static _Atomic(struct vms_object *) resized;

static void *resizer_thread(void *arg)
{
	struct thread *t = arg;
	struct vms_object *r = atomic_load(&resized);

	while (going()) {
		uint64_t page = next(&t->seed) % A_PAGES, bytes = page * P;

		must(vms_object_resize(r, bytes), "shrink");
		must(vms_object_resize(r, A_PAGES * P), "grow");
		must(vms_object_read(r, bytes, t->buf, (A_PAGES - page) * P, NULL), "read");
		if (!all_zero(t->buf, (A_PAGES - page) * P / 8))
			bad("what a shrink took from page %llu on is back",
			    (unsigned long long)page);
		fill(t->buf, 6, page, 1, 1);
		must(vms_object_write(r, bytes, t->buf, P, NULL), "write");
		counted(N_RESIZES);
	}
	return NULL;
}

static void *resized_reader_thread(void *arg)
{
	struct thread *t = arg;
	struct vms_object *r = atomic_load(&resized);

	while (going()) {
		uint64_t page = next(&t->seed) % (A_MOVED - 4);
		int err = vms_object_read(r, page * P, t->buf, 4 * P, NULL);

		if (err == -ERANGE)
			continue;
		must(err, "read of a resized object");
		live_fits(t->buf, page, 4, "resized");
		counted(N_READS);
	}
	return NULL;
}

/* ---- The test ---- */

static void *(*const body[])(void *) = {
	writer_thread,	       writer_thread, writer_thread,  reader_thread,
	snapper_thread,	       zeroer_thread, mover_thread,   resizer_thread,
	resized_reader_thread, reader_thread, snapper_thread,
};
#define THREADS (sizeof(body) / sizeof(body[0]))

static struct vms_object *anon(uint64_t npages)
{
	struct vms_object_params p = { .size = sizeof(p), .bytes = npages * P };
	struct vms_object *obj = NULL;

	assert_ok(vms_object_create(arena, &p, &obj));
	return obj;
}

static void everything_at_once(void **state)
{
	static struct thread t[THREADS];
	struct timespec rest = { .tv_sec = (time_t)seconds,
				 .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9) };

	A = anon(A_PAGES);
	B = anon(B_PAGES);
	for (unsigned i = 0; i < THREADS; i++) {
		t[i].id = i;
		t[i].seed = 0x9e3779b9u * (i + 1);
		t[i].buf = malloc(A_PAGES * P);
		t[i].buf2 = malloc(A_PAGES * P);
	}
	for (unsigned w = 0; w < WRITERS; w++)
		write_stripe(&t[w], w);
	atomic_store(&resized, snapshot(A, A_PAGES, VMS_OBJECT_RESIZABLE));
	assert_int_equal(atomic_load(&failures), 0);
	for (unsigned i = 0; i < THREADS; i++)
		assert_ok(pthread_create(&t[i].thread, NULL, body[i], &t[i]));
	while (going() && (rest.tv_sec || rest.tv_nsec)) {
		nanosleep(&rest, NULL);
		break;
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < THREADS; i++)
		assert_ok(pthread_join(t[i].thread, NULL));
	for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		print_message("%s %llu%s", count_name[i], (unsigned long long)counts[i],
			      i + 1 < sizeof(counts) / sizeof(counts[0]) ? ", " : "\n");
	assert_int_equal(atomic_load(&failures), 0);
	check(A);
	check(B);
	vms_object_unref(A);
	vms_object_unref(B);
	vms_object_unref(atomic_load(&resized));
	for (unsigned i = 0; i < THREADS; i++) {
		free(t[i].buf);
		free(t[i].buf2);
	}
	/* Nobody stood still. */
	for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		assert_true(counts[i] > 0);
}

static int begin(void **state)
{
	struct vms_arena_params p = { .size = sizeof(p), .reserve = UINT64_C(1) << 30 };

	P = (uint64_t)sysconf(_SC_PAGESIZE);
	assert_ok(vms_arena_create(&p, &arena));
	return 0;
}

static int end(void **state)
{
	struct vms_arena_info info = { .size = sizeof(info) };

	epoch_synchronize();
	assert_ok(arena_check(arena));
	assert_ok(vms_arena_info(arena, &info));
	assert_int_equal(info.granted, 0);
	vms_arena_unref(arena);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(everything_at_once, begin, end),
	};

	if (argc > 1)
		seconds = strtod(argv[1], NULL);
	return cmocka_run_group_tests_name("stress-objects", tests, NULL, NULL);
}
