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
 * reader and a writer cross, even one word may be of both, and where they run side by side, some
 * are. So a live read is wrong when many words fit nothing: a page that is another's, or zeros in a
 * stripe. ThreadSanitizer's copying is byte by byte and crosses all the time: there only the byte
 * that all words have in common is checked.
 *
 * Argument: seconds.
 */
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/epoch.h"
#include "object/content.h"
#include "random.h"
#include "sanitize.h"
#include "store/arena.h"
#include "stress.h"
#include "vmspace/pager.h"

#define SHARED	 64u
#define STRIPE	 16u
#define WRITERS	 3u /* with stripes: 0 and 1 in A, 2 in B */
#define MOVED	 32u
#define A_MOVED	 (SHARED + 2 * STRIPE)
#define A_PAGES	 (A_MOVED + MOVED)
#define B_PAGES	 (MOVED + STRIPE)
#define MAGIC	 UINT64_C(0xa7)
#define TORN_MAX 64u /* words of a read; a page has 512 */
#define TORN_ANYWHERE TSAN /* see look.h */

static double seconds = 1.2;
static uint64_t P;
static struct vms_arena *arena;
static struct vms_object *A, *B;
static atomic_uint_fast64_t begun[WRITERS], ended[WRITERS]; /* numbers of writes to stripes */

enum {
	N_WRITES,
	N_READS,
	N_SNAPSHOTS,
	N_ZEROS,
	N_TRANSFERS,
	N_RESIZES,
	N_COMMITS,
	N_CHECKS,
	COUNTS
};

static const char *const count_name[] = { "writes",    "live reads", "snapshots", "zeros",
					  "transfers", "resizes",    "commits",	  "checks" };

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

/* inv. 1, of pages that words of `page` on may stand in; numbers low .. high, if high is not 0. */
static void live_within(const uint64_t *buf, uint64_t page, uint64_t n, uint64_t low, uint64_t high,
			const char *what)
{
	unsigned odd = 0;

	for (uint64_t k = 0; k < n * P / 8; k++) {
		uint64_t number = buf[k] & UINT32_MAX;

		if (fits(buf[k], page + k / (P / 8)) &&
		    (TORN_ANYWHERE || !high || (number >= low && number <= high)))
			continue;
		if (++odd <= TORN_MAX)
			continue;
		bad("%s: page %llu, word %llu is %#llx, numbers %#llx .. %#llx", what,
		    (unsigned long long)(page + k / (P / 8)), (unsigned long long)(k % (P / 8)),
		    (unsigned long long)buf[k], (unsigned long long)low, (unsigned long long)high);
		return;
	}
}

static void live_fits(const uint64_t *buf, uint64_t page, uint64_t n, const char *what)
{
	live_within(buf, page, n, 0, 0, what);
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

	must(vms_object_read(home(writer), at * P, buf, STRIPE * P, NULL), "read of a stripe");
	high = atomic_load(&begun[writer]);
	live_within(buf, at, STRIPE, low, high, "live stripe");
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
		uint64_t page = next32(&t->seed) % SHARED;

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
		uint64_t page = next32(&t->seed) % SHARED,
			 n = next32(&t->seed) % (SHARED - page) + 1;

		must(vms_object_read(A, page * P, t->buf, n * P, NULL), "read");
		live_fits(t->buf, page, n, "live");
		live_stripe(next32(&t->seed) % WRITERS, t->buf);
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
	uint64_t page = next32(&t->seed) % A_PAGES;

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
		must(vms_object_resize(s2, page * P, NULL), "resize");
	}
	unchanged(t, s, A_PAGES, "its own child's");
	if (next32(&t->seed) % 2) {
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
		uint64_t page = next32(&t->seed) % SHARED,
			 n = next32(&t->seed) % (SHARED - page) + 1;
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
		uint64_t page = next32(&t->seed) % MOVED, n = next32(&t->seed) % (MOVED - page) + 1;
		uint32_t keep = next32(&t->seed) % 4 ? 0 : VMS_TRANSFER_KEEP;
		bool to_a = next32(&t->seed) % 2;
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
		uint64_t page = next32(&t->seed) % A_PAGES, bytes = page * P;

		must(vms_object_resize(r, bytes, NULL), "shrink");
		must(vms_object_resize(r, A_PAGES * P, NULL), "grow");
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
		uint64_t page = next32(&t->seed) % (A_MOVED - 4);
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

static struct thread team[THREADS];

/* n threads for the given time, and how often each thing was done. */
static void run_threads(void *(*const *work)(void *), unsigned n)
{
	atomic_store(&stop, false);
	for (unsigned i = 0; i < n; i++)
		assert_ok(pthread_create(&team[i].thread, NULL, work[i], &team[i]));
	rest(seconds);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < n; i++)
		assert_ok(pthread_join(team[i].thread, NULL));
	print_counts(count_name, COUNTS);
	assert_int_equal(atomic_load(&failures), 0);
}

static struct vms_object *anon(uint64_t npages)
{
	struct vms_object_params p = { .size = sizeof(p), .bytes = npages * P };
	struct vms_object *obj = NULL;

	assert_ok(vms_object_create(arena, &p, &obj));
	return obj;
}

static void everything_at_once(void **state)
{
	A = anon(A_PAGES);
	B = anon(B_PAGES);
	for (unsigned w = 0; w < WRITERS; w++)
		write_stripe(&team[w], w);
	atomic_store(&resized, snapshot(A, A_PAGES, VMS_OBJECT_RESIZABLE));
	run_threads(body, THREADS);
	check(A);
	check(B);
	assert_int_equal(atomic_load(&failures), 0);
	vms_object_unref(A);
	vms_object_unref(B);
	vms_object_unref(atomic_load(&resized));
	for (unsigned i = 0; i < COUNTS; i++)
		assert_true(counts[i] > 0); /* nobody stood still */
}

/* ---- Under a limit ---- */

/*
 * More content than the arena may hold: an object of a file pager, an overlay of another file, a
 * discardable cache, and somebody who takes back what can be taken.
 *
 *	6 a page of the paged object is as its file, or as its only writer left it
 *	7 what a lock says is there is there; what it says was discarded reads zero
 *	8 -ENOMEM is the only refusal, and changes nothing
 */
#define PAGED 96u
#define LIMIT 48u /* pages */
#define CACHE 8u

static struct {
	struct vms_arena *arena;
	struct vms_pager *pager;
	struct vms_object *paged, *file, *over, *cache;
	atomic_uint_fast64_t written[PAGED]; /* number of the last write that has ended */
	atomic_uint_fast64_t refused, discarded, reclaimed;
} tight;

static bool refused(int err, const char *what)
{
	if (err == -ENOMEM) {
		atomic_fetch_add(&tight.refused, 1);
		return true;
	}
	must(err, what);
	return err != 0;
}

/* inv. 6 and 8. Writes the odd pages; the even ones are the file's for ever. */
static void *paged_writer(void *arg)
{
	struct thread *t = arg;

	for (uint64_t number = 1; going(); number++) {
		uint64_t page = (next32(&t->seed) % PAGED) | 1, was = tight.written[page];

		if (refused(vms_object_read(tight.paged, page * P, t->buf, P, NULL), "read back")) {
			must(vms_pager_file_sync(tight.paged), "sync"); /* clean pages can go */
			continue;
		}
		still_fits(t->buf, page, 1, "paged");
		if ((t->buf[0] & UINT32_MAX) != was)
			bad("paged: page %llu has number %#llx, not %llu", (unsigned long long)page,
			    (unsigned long long)t->buf[0], (unsigned long long)was);
		fill(t->buf, 1, page, 1, number);
		if (refused(vms_object_write(tight.paged, page * P, t->buf, P, NULL), "write"))
			continue;
		atomic_store(&tight.written[page], number);
		counted(N_WRITES);
	}
	return NULL;
}

static void *paged_reader(void *arg)
{
	struct thread *t = arg;

	while (going()) {
		uint64_t page = next32(&t->seed) % (PAGED - 8), n = next32(&t->seed) % 8 + 1;

		if (refused(vms_object_read(tight.paged, page * P, t->buf, n * P, NULL), "read"))
			continue;
		live_fits(t->buf, page, n, "paged");
		for (uint64_t i = (page & 1); i < n; i += 2) {
			fill(t->buf2, 0, page + i, 1, 0);
			if (memcmp(t->buf2, t->buf + i * P / 8, P))
				bad("paged: page %llu is not its file's",
				    (unsigned long long)(page + i));
		}
		counted(N_READS);
	}
	return NULL;
}

/* An overlay's own pages hold some of what there is; zero gives them back. */
static void *overlay_writer(void *arg)
{
	struct thread *t = arg;

	for (uint64_t number = 1; going(); number++) {
		uint64_t page = next32(&t->seed) % 16, at = page * P + 8;
		uint64_t word = word_of(3, page, number);

		if (refused(vms_object_write(tight.over, at, &word, 8, NULL), "write above"))
			continue;
		must(vms_object_read(tight.over, page * P, t->buf, P, NULL), "read above");
		if (t->buf[1] != word || t->buf[0] != word_of(0, page, 0) ||
		    t->buf[P / 8 - 1] != word_of(0, page, 0))
			bad("overlay: page %llu is wrong", (unsigned long long)page);
		if (number % 16)
			continue;
		must(vms_object_resize(tight.over, 0, NULL), "resize");
		must(vms_object_resize(tight.over, PAGED * P, NULL), "resize");
		/* Nothing of the file shows any more: another one. */
		vms_object_unref(tight.over);
		do {
			struct vms_object_params p = { .size = sizeof(p),
						       .flags = VMS_OBJECT_RESIZABLE,
						       .bytes = PAGED * P };

			must(vms_object_child(tight.file, VMS_CHILD_SNAPSHOT_LAZY, 0, &p,
					      &tight.over),
			     "overlay");
		} while (0);
		counted(N_SNAPSHOTS);
	}
	return NULL;
}

/* inv. 7. */
static void *cache_user(void *arg)
{
	struct thread *t = arg;

	for (uint64_t number = 1; going(); number++) {
		int discarded = 0;

		must(vms_object_lock(tight.cache, &discarded), "lock");
		must(vms_object_read(tight.cache, 0, t->buf, CACHE * P, NULL), "read of the cache");
		if (discarded)
			atomic_fetch_add(&tight.discarded, 1);
		for (uint64_t k = 0; discarded && k < CACHE * P / 8; k++)
			if (t->buf[k]) {
				bad("cache: discarded, but not zero");
				break;
			}
		if (!discarded)
			still_fits(t->buf, 0, CACHE, "cache");
		fill(t->buf, 5, 0, CACHE, number);
		if (!refused(vms_object_write(tight.cache, 0, t->buf, CACHE * P, NULL), "fill")) {
			must(vms_object_read(tight.cache, 0, t->buf2, CACHE * P, NULL),
			     "read back");
			if (memcmp(t->buf, t->buf2, CACHE * P))
				bad("cache: what is locked has changed");
		}
		must(vms_object_unlock(tight.cache), "unlock");
		counted(N_COMMITS);
		if (number % 4 == 0)
			usleep(50); /* for those who want its pages */
	}
	return NULL;
}

static void *reclaimer(void *arg)
{
	struct thread *t = arg;

	while (going()) {
		uint64_t freed = 0, page = next32(&t->seed) % (PAGED - 4);

		must(vms_arena_reclaim(tight.arena, next32(&t->seed) % 16 * P, &freed), "reclaim");
		atomic_fetch_add(&tight.reclaimed, freed / P);
		must(vms_object_op(tight.paged, VMS_OBJECT_DONT_NEED, page * P, 4 * P, NULL),
		     "hint");
		if (next32(&t->seed) % 8 == 0)
			must(vms_pager_file_sync(tight.paged), "sync");
		if (next32(&t->seed) % 64 == 0)
			check(tight.paged);
	}
	return NULL;
}

static int file_of(uint64_t npages)
{
	int fd = memfd_create("stress-objects", MFD_CLOEXEC);
	uint64_t *buf = malloc(npages * P);

	assert_true(fd >= 0);
	fill(buf, 0, 0, npages, 0);
	assert_int_equal(pwrite(fd, buf, npages * P, 0), (ssize_t)(npages * P));
	free(buf);
	return fd;
}

static void tight_up(int fd, int below)
{
	struct vms_arena_params where = { .size = sizeof(where),
					  .limit = LIMIT * P,
					  .reserve = UINT64_C(1) << 28 };
	struct vms_object_params p = { .size = sizeof(p), .bytes = PAGED * P };

	memset(&tight, 0, sizeof(tight));
	assert_ok(vms_arena_create(&where, &tight.arena));
	assert_ok(vms_pager_file(fd, &tight.pager));
	assert_ok(vms_object_create_paged(tight.arena, tight.pager, 0, &p, &tight.paged));
	assert_ok(vms_object_create_file(tight.arena, below, &p, &tight.file));
	p.flags = VMS_OBJECT_RESIZABLE;
	assert_ok(vms_object_child(tight.file, VMS_CHILD_SNAPSHOT_LAZY, 0, &p, &tight.over));
	p.flags = VMS_OBJECT_DISCARDABLE;
	p.bytes = CACHE * P;
	assert_ok(vms_object_create(tight.arena, &p, &tight.cache));
}

/* What was written is in the file after the last sync. */
static void in_the_file(int fd)
{
	uint64_t word;

	must(vms_pager_file_sync(tight.paged), "last sync");
	for (uint64_t page = 0; page < PAGED; page++) {
		assert_int_equal(pread(fd, &word, 8, (off_t)(page * P)), 8);
		if ((word & UINT32_MAX) != tight.written[page])
			bad("file: page %llu has %#llx, not number %llu", (unsigned long long)page,
			    (unsigned long long)word, (unsigned long long)tight.written[page]);
	}
}

static void tight_down(void)
{
	struct vms_arena_info info = { .size = sizeof(info) };

	vms_object_unref(tight.paged);
	vms_object_unref(tight.over);
	vms_object_unref(tight.file);
	vms_object_unref(tight.cache);
	vms_pager_close(tight.pager);
	epoch_synchronize();
	assert_ok(arena_check(tight.arena));
	assert_ok(vms_arena_info(tight.arena, &info));
	assert_int_equal(info.granted, 0);
	vms_arena_unref(tight.arena);
}

static void more_than_there_is_room_for(void **state)
{
	static void *(*const work[])(void *) = { paged_writer,	 paged_reader, paged_reader,
						 overlay_writer, cache_user,   reclaimer };
	int fd = file_of(PAGED), below = file_of(PAGED);

	tight_up(fd, below);
	run_threads(work, sizeof(work) / sizeof(work[0]));
	print_message("refused %llu, discarded %llu, reclaimed %llu pages\n",
		      (unsigned long long)tight.refused, (unsigned long long)tight.discarded,
		      (unsigned long long)tight.reclaimed);
	in_the_file(fd);
	check(tight.paged);
	check(tight.over);
	check(tight.cache);
	assert_int_equal(atomic_load(&failures), 0);
	assert_true(tight.reclaimed > 0);
	tight_down();
	close(fd);
	close(below);
}

static int begin(void **state)
{
	struct vms_arena_params p = { .size = sizeof(p), .reserve = UINT64_C(1) << 30 };

	P = (uint64_t)sysconf(_SC_PAGESIZE);
	assert_ok(vms_arena_create(&p, &arena));
	atomic_store(&failures, 0);
	for (unsigned i = 0; i < COUNTS; i++)
		counts[i] = 0;
	for (unsigned i = 0; i < THREADS; i++) {
		team[i].id = i;
		team[i].seed = 0x9e3779b9u * (i + 1);
		team[i].buf = malloc(A_PAGES * P);
		team[i].buf2 = malloc(A_PAGES * P);
	}
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
	for (unsigned i = 0; i < THREADS; i++) {
		free(team[i].buf);
		free(team[i].buf2);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(everything_at_once, begin, end),
		cmocka_unit_test_setup_teardown(more_than_there_is_room_for, begin, end),
	};

	if (argc > 1)
		seconds = strtod(argv[1], NULL);
	return cmocka_run_group_tests_name("stress-objects", tests, NULL, NULL);
}
