// SPDX-License-Identifier: MIT
/*
 * memory_tear.c: threads that read and write guest memory while slots are replaced under them.
 *
 * A word is 8 bytes: one 16-bit number four times over. It is stored by aligned accesses of every
 * family: values, atomics, copies of 8 bytes from odd buffers, rings. Whoever reads a word sees all of
 * one store, or it was torn. Counters are fetched and added to through two names: in the end they are
 * as high as all say they added.
 *
 * The editor maps, replaces, unmaps, protects, and takes stand-alone blocks away for good; their
 * memory is poisoned when they are released. A reader that saw the poison, or half a word, has found a
 * defect.
 *
 * Argument: seconds.
 */
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/epoch.h"
#include "random.h"
#include "stress.h"
#include "vmspace/access.h"
#include "vmspace/ring.h"

#define PAGES	12u
#define PAGE	UINT64_C(0x1000)
#define COUNTER UINT64_C(0x100000)	     /* a page that is never unmapped, but moved */
#define POISON	UINT64_C(0xdeaddeaddeaddeae) /* no four equal numbers */
#define BLOCKS	64u
#define WORKERS 3u

enum { LOADS, STORES, COPIES, SPANS, RINGS, ADDS, HOLES, EDITS, GONE, HAMMERED, NAMES };

static const char *const names[NAMES] = { "loads", "stores", "copies", "spans",	   "rings",
					  "adds",  "holes",  "edits",  "released", "hammered" };

static struct vms_memory *mem;
static struct vms_port *port;
static atomic_ulong added;

/* ---- Blocks that come and go ---- */

struct home {
	unsigned char *at;
	atomic_bool taken;
};

static struct home home[BLOCKS];

static void poison(void *arg)
{
	struct home *h = arg;

	for (uint64_t i = 0; i < PAGE; i += 8)
		__atomic_store_n((uint64_t *)(void *)(h->at + i), POISON, __ATOMIC_RELAXED);
	counted(GONE);
	atomic_store(&h->taken, false);
}

static struct home *fresh_home(void)
{
	for (unsigned i = 0; i < BLOCKS; i++) {
		bool no = false;

		if (!atomic_compare_exchange_strong(&home[i].taken, &no, true))
			continue;
		for (uint64_t at = 0; at < PAGE; at += 8)
			__atomic_store_n((uint64_t *)(void *)(home[i].at + at), 0,
					 __ATOMIC_RELAXED);
		return &home[i];
	}
	return NULL;
}

/* ---- Words ---- */

static uint64_t word_of(uint16_t n)
{
	return n * UINT64_C(0x0001000100010001);
}

static void judge(uint64_t word, const char *how)
{
	if (word == POISON)
		bad("%s: memory that was released", how);
	else if (word != word_of((uint16_t)word))
		bad("%s: a torn word %#llx", how, (unsigned long long)word);
}

static bool missed(int status)
{
	if (status == -ENXIO || status == -EACCES) {
		counted(HOLES);
		return true;
	}
	if (status)
		bad("status %d", status);
	return status != 0;
}

static bool missed_done(struct vms_done r, size_t want)
{
	if (missed(r.status))
		return true;
	if (r.done != want)
		bad("%zu of %zu bytes, status 0", r.done, want);
	return r.done != want;
}

/* ---- Workers ---- */

/* Mostly one of a few words, so that they meet. */
static uint64_t any_word(uint32_t *seed)
{
	uint64_t page = next32(seed) % (next32(seed) % 2 ? 2 : PAGES);

	return page * PAGE + next32(seed) % (next32(seed) % 4 ? 2 : 512) * 8;
}

static void load(uint64_t gpa, uint32_t *seed)
{
	unsigned char odd[16];
	uint64_t word = 0;
	int err = 0;

	switch (next32(seed) % 4) {
	case 0:
		err = vms_load_le64(port, gpa, &word);
		break;
	case 1:
		err = vms_atomic_load(port, gpa, 8, __ATOMIC_ACQUIRE, &word);
		break;
	case 2:
		/* Defect D4: 8 bytes to an odd address. */
		if (missed_done(vms_read(port, gpa, odd + 1, 8), 8))
			return;
		memcpy(&word, odd + 1, 8);
		break;
	default:
		if (missed_done(vms_read_exact(port, gpa, &word, 8), 8))
			return;
	}
	if (missed(err))
		return;
	judge(word, "load");
	counted(LOADS);
}

static void store(uint64_t gpa, uint32_t *seed)
{
	uint64_t word = word_of((uint16_t)next32(seed)), old;
	unsigned char odd[16];
	bool swapped;
	int err = 0;

	switch (next32(seed) % 5) {
	case 0:
		err = vms_store_le64(port, gpa, word);
		break;
	case 1:
		err = vms_atomic_store(port, gpa, 8, __ATOMIC_RELEASE, word);
		break;
	case 2:
		memcpy(odd + 3, &word, 8);
		if (missed_done(vms_write_exact(port, gpa, odd + 3, 8), 8))
			return;
		break;
	case 3:
		if (missed_done(vms_fill(port, gpa, (int)(next32(seed) & 255), 8), 8))
			return;
		break;
	default:
		old = word_of(0);
		err = vms_atomic_cas(port, gpa, 8, __ATOMIC_SEQ_CST, &old, word, &swapped);
		if (!err)
			judge(old, "cas");
	}
	if (!missed(err))
		counted(STORES);
}

/* Words of one page, and of several. */
static void copy(uint64_t gpa, uint32_t *seed)
{
	uint64_t to = any_word(seed), words[600];
	struct vms_done r;

	if (next32(seed) % 4 == 0) {
		/* As many as there are: what was done is words, whole ones by the slots' borders. */
		r = vms_read(port, gpa, words, sizeof(words));
		if (r.status && missed(r.status))
			return;
		if (r.done % 8)
			bad("a copy ended in the middle of a word: %zu", r.done);
	} else if (!missed_done(vms_copy(port, to, gpa, 8), 8)) {
		counted(COPIES);
	}
}

static void span(uint64_t gpa, uint32_t *seed)
{
	uint64_t word = word_of((uint16_t)next32(seed));
	const uint32_t rights = VMS_SLOT_READ | VMS_SLOT_WRITE;
	struct vms_ring ring;
	struct iovec iov[4];
	struct vms_pin pin;
	int n = 4, err;

	if (next32(seed) % 2) {
		err = vms_ring_open(port, gpa, 8, rights, &ring);
		if (missed(err))
			return;
		if (!vms_ring_store64(&ring, 0, word) || !vms_ring_load64(&ring, 0, &word))
			bad("a ring refuses its only word");
		judge(word, "ring");
		vms_ring_close(&ring);
		counted(RINGS);
		return;
	}
	err = vms_span_open(port, gpa & ~(PAGE - 1), 2 * PAGE, rights, iov, &n, &pin);
	if (missed(err))
		return;
	for (int i = 0; i < n; i++) {
		uint64_t *at = (uint64_t *)iov[i].iov_base + (gpa & (PAGE - 1)) / 8;

		judge(__atomic_load_n(at, __ATOMIC_RELAXED), "span");
		__atomic_store_n(at, word, __ATOMIC_RELAXED);
	}
	err = vms_span_close(&pin, SIZE_MAX);
	if (err)
		bad("a span's end: %d", err);
	counted(SPANS);
}

static void *work(void *arg)
{
	uint32_t seed = 7 + 1000 * (uint32_t)(uintptr_t)arg;
	uint64_t old;

	while (going()) {
		uint64_t gpa = any_word(&seed);
		bool bracket = next32(&seed) % 8 == 0;

		if (bracket && vms_enter(port))
			bad("no bracket");
		for (unsigned i = 0; i < 8 && going(); i++) {
			switch (next32(&seed) % 8) {
			case 0:
			case 1:
				store(gpa, &seed);
				break;
			case 2:
				copy(gpa, &seed);
				break;
			case 3:
				span(gpa, &seed);
				break;
			case 4:
				/* Through two names of the counter's page. */
				if (vms_atomic_fetch(port, COUNTER + (i & 1) * PAGE, 8,
						     __ATOMIC_RELAXED, VMS_ATOMIC_ADD, 1, &old))
					bad("the counter is gone");
				atomic_fetch_add(&added, 1);
				counted(ADDS);
				break;
			default:
				load(gpa, &seed);
			}
			gpa = any_word(&seed);
		}
		if (bracket)
			vms_leave(port);
	}
	return NULL;
}

/* Two that do nothing else, on words of the counter's page: one writes from odd buffers, one reads. */
static void *hammer(void *arg)
{
	unsigned char odd[2][17];
	uint64_t word;

	for (unsigned i = 0; i < 2; i++) {
		word = word_of(i ? 0xa5c3 : 0x3c5a);
		memcpy(odd[i] + 1, &word, 8);
		memcpy(odd[i] + 9, &word, 8);
	}
	for (unsigned i = 0; going(); i++) {
		uint64_t at = COUNTER + 64 + 8 * (i / 2 % 2);

		if (vms_write(port, at, odd[i & 1] + 1, 8).done != 8 ||
		    vms_copy(port, at + 64, at, 8).done != 8)
			bad("the counter is gone");
		counted(HAMMERED);
	}
	return NULL;
}

static void *watch(void *arg)
{
	uint64_t word;

	must(vms_store_le64(port, COUNTER + 64, 0) | vms_store_le64(port, COUNTER + 72, 0), "zero");
	must(vms_store_le64(port, COUNTER + 128, 0) | vms_store_le64(port, COUNTER + 136, 0),
	     "zero");
	for (unsigned i = 0; going(); i++) {
		if (vms_load_le64(port, COUNTER + 64 + 8 * (i & 1) + 64 * (i >> 1 & 1), &word))
			bad("the counter is gone");
		judge(word, "watch");
	}
	return NULL;
}

/* ---- The editor ---- */

static void one_edit(uint32_t *seed, struct vms_block *plain, struct vms_block *counter)
{
	struct vms_edit *e;

	must(vms_edit_begin(mem, &e), "begin");
	for (unsigned i = next32(seed) % 3; i < 3; i++) {
		uint64_t page = next32(seed) % PAGES;
		struct home *h;

		switch (next32(seed) % 6) {
		case 0:
		case 1:
			h = fresh_home();
			if (h)
				must(vms_slot_map_host(e, page * PAGE, PAGE, h->at, poison, h,
						       VMS_SLOT_RAM),
				     "map host");
			break;
		case 2:
			must(vms_slot_map(e, page * PAGE, (PAGES - page) * PAGE, plain,
					  next32(seed) % (page + 1) * PAGE, VMS_SLOT_RAM),
			     "map");
			break;
		case 3:
			must(vms_slot_map(e, page * PAGE, PAGE, plain, page * PAGE,
					  next32(seed) % 2 ? VMS_SLOT_ROM : VMS_SLOT_RAM),
			     "map ROM");
			break;
		case 4:
			must(vms_slot_unmap(e, page * PAGE, PAGE), "unmap");
			break;
		default:
			/* The counter's two names are replaced by themselves, with other rights. */
			must(vms_slot_map(e, COUNTER, PAGE, counter, 0,
					  next32(seed) % 2 ? VMS_SLOT_RAM
							   : VMS_SLOT_READ | VMS_SLOT_WRITE),
			     "counter");
			must(vms_slot_map(e, COUNTER + PAGE, PAGE, counter, 0, VMS_SLOT_RAM),
			     "counter");
		}
	}
	must(vms_edit_commit(e), "commit");
	counted(EDITS);
}

static struct vms_block *block(uint64_t pages)
{
	struct vms_block_params p = { .size = sizeof(p),
				      .kind = VMS_BLOCK_ANON,
				      .bytes = pages * PAGE };
	struct vms_block *b = NULL;

	must(vms_block_create(mem, &p, &b), "block");
	return b;
}

int main(int argc, char **argv)
{
	static const struct vms_memory_params params = { .size = sizeof(params) };
	double seconds = argc > 1 ? atof(argv[1]) : 1;
	struct vms_block *plain, *counter;
	struct timespec t0, now;
	pthread_t thread[WORKERS + 2];
	struct vms_edit *e;
	uint32_t seed = 99;
	uint64_t total = 0;

	if (sysconf(_SC_PAGESIZE) != (long)PAGE)
		return 77;
	for (unsigned i = 0; i < BLOCKS; i++) {
		home[i].at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				  -1, 0);
		if (home[i].at == MAP_FAILED)
			return 2;
	}
	must(vms_memory_create(&params, &mem), "memory");
	must(vms_port_create(mem, NULL, &port), "port");
	plain = block(PAGES);
	counter = block(1);
	must(vms_edit_begin(mem, &e), "begin");
	must(vms_slot_map(e, 0, PAGES * PAGE, plain, 0, VMS_SLOT_RAM), "map");
	must(vms_slot_map(e, COUNTER, PAGE, counter, 0, VMS_SLOT_RAM), "map");
	must(vms_slot_map(e, COUNTER + PAGE, PAGE, counter, 0, VMS_SLOT_RAM), "map");
	must(vms_edit_commit(e), "commit");
	for (uintptr_t i = 0; i < WORKERS; i++)
		if (pthread_create(&thread[i], NULL, work, (void *)i))
			return 2;
	if (pthread_create(&thread[WORKERS], NULL, hammer, NULL) ||
	    pthread_create(&thread[WORKERS + 1], NULL, watch, NULL))
		return 2;
	clock_gettime(CLOCK_MONOTONIC, &t0);
	do {
		for (unsigned i = 0; i < 32 && going(); i++)
			one_edit(&seed, plain, counter);
		must(vms_memory_check(mem), "check");
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (going() &&
		 (double)(now.tv_sec - t0.tv_sec) + (double)(now.tv_nsec - t0.tv_nsec) / 1e9 <
			 seconds);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < WORKERS + 2; i++)
		pthread_join(thread[i], NULL);
	must(vms_atomic_load(port, COUNTER, 8, __ATOMIC_SEQ_CST, &total), "the sum");
	if (total != atomic_load(&added))
		bad("%llu were added, there are %llu", (unsigned long long)atomic_load(&added),
		    (unsigned long long)total);
	must(vms_memory_check(mem), "check");
	vms_block_unref(plain);
	vms_block_unref(counter);
	vms_port_unref(port);
	vms_memory_unref(mem);
	for (unsigned i = 0; i < BLOCKS; i++)
		if (atomic_load(&home[i].taken))
			bad("a block was never released");
	printf("memory_tear: ");
	print_counts(names, NAMES);
	return failures ? 1 : 0;
}
