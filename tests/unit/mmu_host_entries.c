// SPDX-License-Identifier: MIT
/*
 * The host backend as the entries of a space over objects: what the window shows after each call,
 * and how many host calls it took. Pictures: a letter is a page of the memfd, '.' a hole.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "mmu/host.h"
#include "random.h"
#include "require.h"
#include "sanitize.h"
#include "snap.h"
#include "window.h"

#define R  VMS_PROT_READ
#define RW (VMS_PROT_READ | VMS_PROT_WRITE)
#define RX (VMS_PROT_READ | VMS_PROT_EXEC)

#define STORE_PAGES 256u

/* The window, and a memfd that plays the arena: its page i begins with the number i. */
struct kit {
	struct window win;
	uint64_t page;
	int fd;
	unsigned char *store;
	const struct entries_ops *ops;
};

static int open_kit(void **state)
{
	struct kit *k = calloc(1, sizeof(*k));

	window_open(&k->win, *state);
	k->page = k->win.page;
	k->fd = memfd_create("store", MFD_CLOEXEC);
	assert_ok(ftruncate(k->fd, (off_t)(STORE_PAGES * k->page)));
	k->store = mmap(NULL, STORE_PAGES * k->page, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd, 0);
	assert_ptr_not_equal(k->store, MAP_FAILED);
	for (unsigned i = 0; i < STORE_PAGES; i++)
		k->store[i * k->page] = (unsigned char)i;
	k->ops = k->win.mmu->entries;
	assert_ok(k->ops->attach(k->win.mmu, k->win.lo, k->win.lo + WINDOW_PAGES * k->page - 1,
				 k->page));
	*state = k;
	return 0;
}

static int close_kit(void **state)
{
	struct kit *k = *state;

	assert_ok(k->ops->check(k->win.mmu));
	k->ops->detach(k->win.mmu);
	munmap(k->store, STORE_PAGES * k->page);
	close(k->fd);
	window_close(&k->win);
	free(k);
	return 0;
}

/* ---- The calls, by page ---- */

static struct entries_run run_of(const struct kit *k, unsigned at, unsigned n, unsigned from,
				 uint32_t rights)
{
	return (struct entries_run){ .addr = gva(&k->win, at),
				     .len = n * k->page,
				     .hva = k->store + from * k->page,
				     .fd = k->fd,
				     .off = from * k->page,
				     .rights = rights };
}

static int show(struct kit *k, unsigned at, unsigned n, unsigned from, uint32_t rights,
		enum entries_existing existing)
{
	struct entries_run run = run_of(k, at, n, from, rights);

	return k->ops->map(k->win.mmu, &run, existing);
}

static void hide(struct kit *k, unsigned at, unsigned n)
{
	k->ops->unmap(k->win.mmu, gva(&k->win, at), gva(&k->win, at + n) - 1);
}

static void protect(struct kit *k, unsigned at, unsigned n, uint32_t rights)
{
	k->ops->protect(k->win.mmu, gva(&k->win, at), gva(&k->win, at + n) - 1, rights);
}

static void read_only(struct kit *k, unsigned at, unsigned n)
{
	k->ops->remove_write(k->win.mmu, gva(&k->win, at), gva(&k->win, at + n) - 1);
}

/* How many host calls that change mappings were made since this was last asked. */
static uint64_t calls(struct kit *k)
{
	uint64_t *c = k->win.world.calls;
	uint64_t n =
		c[CALL_MMAP] + c[CALL_MUNMAP] + c[CALL_MPROTECT] + c[CALL_MREMAP] + c[CALL_MADVISE];

	c[CALL_MMAP] = c[CALL_MUNMAP] = c[CALL_MPROTECT] = c[CALL_MREMAP] = c[CALL_MADVISE] = 0;
	return n;
}

#define assert_calls(k, n) assert_int_equal(calls(k), n)

/* Page by page: "Aa.." is page 'A' - 'A' of the store writable, the same read-only, two holes. */
static void assert_shows(struct kit *k, unsigned at, const char *picture)
{
	assert_ok(k->ops->check(k->win.mmu));
	for (unsigned i = 0; picture[i]; i++) {
		const volatile unsigned char *p = (unsigned char *)hva(&k->win, at + i);
		bool writable = picture[i] < 'a';
		unsigned page = (unsigned)(picture[i] - (writable ? 'A' : 'a'));
		const void *where;
		uint32_t rights;

		if (picture[i] == '.') {
			win_check_hole(&k->win, at + i, 1);
			assert_int_equal(
				k->ops->query(k->win.mmu, gva(&k->win, at + i), &where, &rights),
				-ENOENT);
			continue;
		}
		assert_string_equal(host_rights((void *)p), writable ? "rw-s" : "r--s");
		assert_int_equal(p[0], page);
		assert_ok(k->ops->query(k->win.mmu, gva(&k->win, at + i), &where, &rights));
		assert_ptr_equal(where, k->store + page * k->page);
		assert_int_equal(rights, writable ? RW : R);
	}
}

static unsigned regions(struct kit *k)
{
	return host_regions(k->win.mem, WINDOW_PAGES * k->page);
}

/* ---- Showing ---- */

/* ........  →  .ABCD... → .ABCDEF. */
static void a_run_is_one_call_and_neighbours_are_one_region(void **state)
{
	struct kit *k = *state;
	unsigned gaps = k->win.variant->real_holes ? 0 : 2;

	calls(k);
	assert_ok(show(k, 1, 4, 0, RW, ENTRIES_ERROR));
	assert_calls(k, 1);
	assert_ok(show(k, 5, 2, 4, RW, ENTRIES_UPGRADE));
	assert_calls(k, 1);
	assert_shows(k, 0, ".ABCDEF.");
	assert_int_equal(regions(k), 1 + gaps);
	/* What is written here is in the store, and the other way round. */
	hva(&k->win, 3)[5] = 77;
	assert_int_equal(k->store[2 * k->page + 5], 77);
	k->store[3 * k->page + 6] = 78;
	assert_int_equal(hva(&k->win, 4)[6], 78);
	/* Again is nothing, of a part too, and with fewer rights. */
	calls(k);
	assert_ok(show(k, 1, 6, 0, RW, ENTRIES_UPGRADE));
	assert_ok(show(k, 3, 2, 2, R, ENTRIES_UPGRADE));
	assert_ok(show(k, 3, 2, 9, R, ENTRIES_SKIP));
	assert_calls(k, 0);
	assert_shows(k, 0, ".ABCDEF.");
}

static void a_gap_between_two_that_go_on_is_filled_into_one(void **state)
{
	struct kit *k = *state;

	assert_ok(show(k, 0, 2, 0, RW, ENTRIES_ERROR));
	assert_ok(show(k, 3, 2, 3, RW, ENTRIES_ERROR));
	assert_ok(show(k, 2, 1, 2, RW, ENTRIES_ERROR));
	assert_shows(k, 0, "ABCDE.");
	assert_int_equal(regions(k), k->win.variant->real_holes ? 1 : 2);
	/* The same with rights between: three regions become one. */
	read_only(k, 2, 1);
	assert_shows(k, 0, "ABcDE.");
	calls(k);
	assert_ok(show(k, 2, 1, 2, RW, ENTRIES_UPGRADE));
	assert_calls(k, 1);
	assert_shows(k, 0, "ABCDE.");
	assert_int_equal(regions(k), k->win.variant->real_holes ? 1 : 2);
}

static void existing_entries(void **state)
{
	struct kit *k = *state;

	assert_ok(show(k, 2, 2, 2, R, ENTRIES_ERROR));
	assert_int_equal(show(k, 0, 4, 10, RW, ENTRIES_ERROR), -EEXIST);
	assert_shows(k, 0, "..cd..");
	assert_ok(show(k, 0, 6, 10, RW, ENTRIES_SKIP));
	assert_shows(k, 0, "KLcdOP.");
	calls(k);
	assert_ok(show(k, 0, 6, 10, RW, ENTRIES_UPGRADE)); /* others are replaced, in one call */
	assert_calls(k, 1);
	assert_shows(k, 0, "KLMNOP.");
	read_only(k, 0, 6);
	assert_shows(k, 0, "klmnop.");
	calls(k);
	assert_ok(show(k, 1, 2, 11, RW, ENTRIES_UPGRADE)); /* the same get more rights */
	assert_calls(k, 1);
	assert_ok(show(k, 1, 2, 11, R, ENTRIES_UPGRADE)); /* and never fewer */
	assert_calls(k, 0);
	assert_shows(k, 0, "kLMnop.");
}

/* ---- Taking away ---- */

static void unmap(void **state)
{
	struct kit *k = *state;

	hide(k, 0, WINDOW_PAGES);
	calls(k);
	hide(k, 0, WINDOW_PAGES);
	assert_calls(k, 0);
	assert_ok(show(k, 1, 6, 0, RW, ENTRIES_ERROR));
	calls(k);
	hide(k, 3, 2);
	assert_calls(k, 1);
	assert_shows(k, 0, ".AB..EF.");
	hide(k, 3, 2);
	assert_calls(k, 0);
	assert_ok(show(k, 10, 2, 9, R, ENTRIES_ERROR));
	calls(k);
	hide(k, 2, 9); /* two cut, one whole */
	assert_calls(k, 1);
	assert_shows(k, 0, ".A.........k.");
	hide(k, 0, WINDOW_PAGES);
	assert_shows(k, 0, "............");
	assert_int_equal(regions(k), k->win.variant->real_holes ? 0 : 1);
}

static void rights(void **state)
{
	struct kit *k = *state;

	assert_ok(show(k, 0, 4, 0, RW, ENTRIES_ERROR));
	assert_ok(show(k, 4, 2, 4, R, ENTRIES_ERROR));
	assert_ok(show(k, 7, 2, 7, RW, ENTRIES_ERROR));
	calls(k);
	read_only(k, 1, 2);
	assert_calls(k, 1);
	assert_shows(k, 0, "AbcDef.HI.");
	read_only(k, 1, 2);
	assert_calls(k, 0);
	/* WRITE is never given by protect. */
	protect(k, 0, 9, RW);
	assert_calls(k, 0);
	assert_shows(k, 0, "AbcDef.HI.");
	read_only(k, 0, 9);
	assert_calls(k, 3); /* A, D and HI */
	assert_shows(k, 0, "abcdef.hi.");
	protect(k, 2, 3, RX);
	assert_calls(k, 1);
	assert_string_equal(host_rights(hva(&k->win, 3)), "r-xs");
	protect(k, 0, 9, R);
	assert_calls(k, 1);
	assert_shows(k, 0, "abcdef.hi.");
	protect(k, 1, 7, 0);
	assert_shows(k, 0, "a.......i.");
	k->ops->empty(k->win.mmu);
	assert_shows(k, 0, "..........");
}

/* ---- Files, memory ---- */

static void files(void **state)
{
	struct kit *k = *state;
	int fd = file_make(4 * k->page);
	struct entries_run run = {
		.addr = gva(&k->win, 2), .len = 3 * k->page, .fd = fd, .off = k->page, .rights = RW
	};
	const void *where = &run;
	uint32_t got;

	assert_ok(k->ops->map(k->win.mmu, &run, ENTRIES_ERROR));
	assert_ok(k->ops->query(k->win.mmu, gva(&k->win, 3), &where, &got));
	assert_null(where);
	for (unsigned i = 0; i < 3 * k->page; i += 131)
		assert_int_equal((unsigned char)hva(&k->win, 2)[i], file_byte(k->page + i));
	assert_ok(ftruncate(fd, (off_t)(2 * k->page)));
	assert_int_equal(touch_read(hva(&k->win, 2)), 0);
	assert_int_equal(touch_read(hva(&k->win, 3)), SIGBUS);
	hide(k, 2, 3);
	assert_shows(k, 0, "......");
	close(fd);
	/* What the host does not map is an error, and nothing stands there. */
	assert_ok(show(k, 2, 2, 2, R, ENTRIES_ERROR));
	fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	run.fd = fd;
	assert_int_equal(k->ops->map(k->win.mmu, &run, ENTRIES_UPGRADE), -EACCES);
	assert_shows(k, 0, "......");
	close(fd);
}

static void memory_of_this_process(void **state)
{
	struct kit *k = *state;
	unsigned char *shared =
		mmap(NULL, 6 * k->page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned char *private =
		mmap(NULL, 2 * k->page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct entries_run run = {
		.addr = gva(&k->win, 1), .len = 6 * k->page, .hva = shared, .fd = -1, .rights = R
	};
	const void *where;
	uint32_t got;

	/* Three regions of the host. */
	assert_ok(mprotect(shared + 2 * k->page, 2 * k->page, PROT_READ));
	assert_ok(k->ops->map(k->win.mmu, &run, ENTRIES_ERROR));
	for (unsigned i = 0; i < 6; i++)
		assert_string_equal(host_rights(hva(&k->win, 1 + i)), "r--s");
	shared[5 * k->page] = 99;
	assert_int_equal(hva(&k->win, 6)[0], 99);
	assert_ok(k->ops->query(k->win.mmu, gva(&k->win, 4), &where, &got));
	assert_ptr_equal(where, shared + 3 * k->page);
	run.rights = RW;
	assert_ok(k->ops->map(k->win.mmu, &run, ENTRIES_UPGRADE));
	hva(&k->win, 3)[1] = 98;
	assert_int_equal(shared[2 * k->page + 1], 98);
	assert_ok(k->ops->check(k->win.mmu));
	hide(k, 2, 3);
	win_check_hole(&k->win, 2, 3);
	assert_int_equal(hva(&k->win, 6)[0], 99);
	/* Private memory is in one place only; and what is partly private shows nothing. */
	run.hva = private;
	run.len = k->page;
	assert_int_equal(k->ops->map(k->win.mmu, &run, ENTRIES_UPGRADE), -ENOTSUP);
	assert_non_null(strstr(vms_last_error(), "private"));
	win_check_hole(&k->win, 1, 1);
	assert_ptr_not_equal(mmap(shared + k->page, k->page, PROT_READ,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
			     MAP_FAILED);
	run.hva = shared;
	run.len = 2 * k->page;
	assert_int_equal(k->ops->map(k->win.mmu, &run, ENTRIES_UPGRADE), -ENOTSUP);
	win_check_hole(&k->win, 1, 2);
	k->ops->empty(k->win.mmu);
	munmap(shared, 6 * k->page);
	munmap(private, 2 * k->page);
}

static bool has_real_holes(const struct variant *v)
{
	return v->real_holes;
}

static void others_memory_is_never_replaced(void **state)
{
	struct kit *k = *state;
	char *p = mmap(hva(&k->win, 3), k->win.host_page, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	assert_ptr_equal(p, hva(&k->win, 3));
	*p = 77;
	for (int old_kernel = 0; old_kernel < 2; old_kernel++) {
		k->win.world.no_noreplace = old_kernel;
		assert_ok(show(k, 0, 2, 0, RW, ENTRIES_ERROR));
		assert_int_equal(show(k, 1, 4, 1, RW, ENTRIES_UPGRADE), -ENOMEM);
		assert_int_equal(*p, 77);
		hide(k, 0, 2);
	}
	munmap(p, k->win.host_page);
}

/* ---- Budget ---- */

static void past_the_budget_the_oldest_goes(void **state)
{
	struct kit *k = *state;
	struct host_entries *e = &((struct host *)k->win.mmu)->entries;
	bool real = k->win.variant->real_holes;
	const void *where;
	uint32_t got;

	e->budget = 16;
	for (unsigned i = 0; i < 30; i++) {
		assert_ok(show(k, 2 * i, 1, i, RW, ENTRIES_ERROR));
		assert_ok(k->ops->check(k->win.mmu));
		assert_true(regions(k) <= 16);
		/* The newest are there: of a reserved window each takes two regions. */
		for (unsigned j = i < 7 ? 0 : i - 6; j <= i; j++)
			assert_ok(k->ops->query(k->win.mmu, gva(&k->win, 2 * j), &where, &got));
	}
	assert_int_equal(e->n, real ? 16 : 7);
	/* A stretch that is cut by rights needs more: others go. */
	k->ops->empty(k->win.mmu);
	assert_ok(show(k, 0, 63, 0, RW, ENTRIES_ERROR));
	for (unsigned i = 1; i < 63; i += 2) {
		assert_ok(show(k, i, 1, i, RW, ENTRIES_UPGRADE));
		read_only(k, i, 1);
		assert_ok(k->ops->check(k->win.mmu));
		assert_true(regions(k) <= 16);
		assert_string_equal(host_rights(hva(&k->win, i)), "r--s");
	}
	assert_true(e->evicted > 0);
}

/* ---- Anything, against a model ---- */

struct model {
	int from[WINDOW_PAGES]; /* page of the store, -1: nothing */
	uint32_t rights[WINDOW_PAGES];
	/* Where the last call met entries: what stands there if they were evicted meanwhile. */
	int other[WINDOW_PAGES];
	uint32_t other_rights[WINDOW_PAGES];
};

/* One random call; the model holds what may stand at most, and, if nothing failed, what stands. */
static void random_step(struct kit *k, struct model *m, uint32_t *seed)
{
	static const uint32_t some[] = { R, RW, RX, RW };
	unsigned at = next32(seed) % WINDOW_PAGES;
	unsigned n = 1 + next32(seed) % (next32(seed) % 4 ? 6 : WINDOW_PAGES);
	/* Mostly pages that go on with their neighbours. */
	unsigned from = (next32(seed) % 3) * 64 + at;
	uint32_t prot = some[next32(seed) % 4];
	enum entries_existing existing;
	bool any = false;
	int err;

	for (unsigned i = 0; i < WINDOW_PAGES; i++)
		m->other[i] = -1;
	n = n > WINDOW_PAGES - at ? WINDOW_PAGES - at : n;
	switch (next32(seed) % 8) {
	case 0:
		hide(k, at, n);
		for (unsigned i = at; i < at + n; i++)
			m->from[i] = -1;
		return;
	case 1:
		read_only(k, at, n);
		for (unsigned i = at; i < at + n; i++)
			m->rights[i] &= ~(uint32_t)VMS_PROT_WRITE;
		return;
	case 2:
		protect(k, at, n, prot);
		for (unsigned i = at; i < at + n; i++)
			m->rights[i] = prot & (m->rights[i] | ~(uint32_t)VMS_PROT_WRITE);
		return;
	default:
		break;
	}
	existing = next32(seed) % 3;
	for (unsigned i = at; i < at + n; i++)
		any |= m->from[i] >= 0;
	err = show(k, at, n, from, prot, existing);
	if (existing == ENTRIES_SKIP && err == -ENOMEM &&
	    (k->win.world.failed || ((struct host *)k->win.mmu)->entries.budget == 16))
		err = 0; /* not all of it stands */
	for (unsigned i = at; i < at + n; i++) {
		int page = (int)(from + (i - at));
		bool same = m->from[i] == page;

		if (k->win.world.failed && err && err != -EEXIST) {
			m->from[i] = -1;
			continue;
		}
		if (!err) {
			m->other[i] = page;
			m->other_rights[i] = prot;
		}
		if (m->from[i] >= 0 && existing != ENTRIES_UPGRADE)
			continue;
		if (existing == ENTRIES_ERROR && any && err)
			continue;
		m->from[i] = page;
		m->rights[i] = prot | (same ? m->rights[i] : 0);
	}
	if (!k->win.world.failed)
		assert_int_equal(err, existing == ENTRIES_ERROR && any ? -EEXIST : 0);
}

/* What stands is in the model. lossy: but not all that is in the model stands; it forgets. */
static void compare(struct kit *k, struct model *m, bool lossy)
{
	assert_ok(k->ops->check(k->win.mmu));
	for (unsigned i = 0; i < WINDOW_PAGES; i++) {
		const void *where;
		uint32_t got;
		int err = k->ops->query(k->win.mmu, gva(&k->win, i), &where, &got);

		if (err) {
			assert_true(lossy || m->from[i] < 0);
			m->from[i] = -1;
			continue;
		}
		if (lossy && m->other[i] >= 0 &&
		    where == k->store + (unsigned)m->other[i] * k->page &&
		    got == m->other_rights[i]) {
			m->from[i] = m->other[i];
			m->rights[i] = got;
		}
		assert_true(m->from[i] >= 0);
		assert_ptr_equal(where, k->store + (unsigned)m->from[i] * k->page);
		assert_int_equal(got, m->rights[i]);
		assert_int_equal(*(unsigned char *)hva(&k->win, i), m->from[i]);
	}
}

static void model_init(struct model *m)
{
	for (unsigned i = 0; i < WINDOW_PAGES; i++)
		m->from[i] = -1;
}

static void random_calls(void **state)
{
	struct kit *k = *state;
	uint32_t seed = 2463534242u;
	struct model m;

	model_init(&m);
	for (unsigned step = 0; step < 2500; step++) {
		random_step(k, &m, &seed);
		compare(k, &m, false);
	}
	/* The same with a small budget. */
	((struct host *)k->win.mmu)->entries.budget = 16;
	for (unsigned step = 0; step < 1500; step++) {
		random_step(k, &m, &seed);
		compare(k, &m, true);
		assert_true(regions(k) <= 16 || ((struct host *)k->win.mmu)->entries.n == 1);
	}
}

/* As before, but host calls and allocations fail, one or several at a time. */
static void random_failures(void **state)
{
	struct kit *k = *state;
	struct test_world *w = &k->win.world;
	uint32_t seed = 88172645u;
	uint64_t failed = 0;
	struct model m;

	model_init(&m);
	for (unsigned step = 0; step < 3000; step++) {
		w->failed = 0;
		test_world_fail(w, 1 + next32(&seed) % 3, EVERY_CALL, ENOMEM);
		w->fail_more = next32(&seed) % 3;
		random_step(k, &m, &seed);
		failed += w->failed;
		w->fail_at = 0;
		if (((struct host *)k->win.mmu)->broken) {
			/* Only where the host refused everything that was tried. */
			assert_true(w->failed >= 3);
			assert_int_equal(show(k, 0, 1, 0, R, ENTRIES_UPGRADE), -EIO);
			((struct host *)k->win.mmu)->broken = false;
			munmap(k->win.mem, WINDOW_PAGES * k->page);
			if (!k->win.variant->real_holes)
				assert_int_equal((uintptr_t)mmap(k->win.mem, WINDOW_PAGES * k->page,
								 PROT_NONE,
								 MAP_PRIVATE | MAP_ANONYMOUS |
									 MAP_NORESERVE | MAP_FIXED,
								 -1, 0),
						 (uintptr_t)k->win.mem);
			k->ops->empty(k->win.mmu);
			model_init(&m);
		}
		w->failed = 0;
		compare(k, &m, true);
	}
	assert_true(failed > 500);
}

/* ---- The wall ---- */

/* Regions of this process that are not ours. */
struct others {
	char *mem;
	uint64_t page, n, made;
};

static void others_open(struct others *o)
{
	o->page = (uint64_t)sysconf(_SC_PAGESIZE);
	o->n = UINT64_C(1) << 17;
	o->mem = mmap(NULL, o->n * o->page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		      -1, 0);
	o->made = 1;
}

/* Use up what is left. */
static bool others_fill(struct others *o)
{
	while (o->made < o->n && mprotect(o->mem + o->made * o->page, o->page, PROT_READ) == 0)
		o->made += 2;
	return o->made < o->n;
}

static void others_give(struct others *o, unsigned islands)
{
	for (; islands && o->made > 1; islands--) {
		o->made -= 2;
		mprotect(o->mem + o->made * o->page, o->page, PROT_NONE);
	}
}

/* Refused only where the window has nothing left to give. Counts what was shown. */
static void show_at_wall(struct kit *k, unsigned at, unsigned n, unsigned *shown)
{
	const struct host_entries *e = &((struct host *)k->win.mmu)->entries;
	int err = show(k, at, n, at, RW, ENTRIES_UPGRADE);

	require(err == 0 || (err == -ENOMEM && e->n == 0 && !e->ballast.len));
	for (unsigned i = at; !err && i < at + n; i++)
		require(*(volatile unsigned char *)hva(&k->win, i) == (unsigned char)i);
	*shown += !err;
}

static void at_the_wall(struct kit *k)
{
	struct others others;
	unsigned shown = 0;

	for (unsigned i = 0; i < 60; i += 2)
		show_at_wall(k, i, 1, &shown);
	require(shown == 30);
	others_open(&others);
	require(others.mem != MAP_FAILED);
	require(others_fill(&others));
	require(mprotect(others.mem + others.made * others.page, others.page, PROT_READ) < 0);
	/* New entries, cuts by unmap and by rights, again and again; the others take what we leave.
	 */
	for (unsigned round = 0; round < 400; round++) {
		unsigned at = round * 7 % 60;

		others_fill(&others);
		if (round % 4 == 0)
			others_give(&others, 40);
		show_at_wall(k, at, 1, &shown);
		others_fill(&others);
		show_at_wall(k, 20, 9, &shown);
		others_fill(&others);
		read_only(k, 22 + round % 5, 1);
		others_fill(&others);
		hide(k, 24, 1);
		require(k->ops->query(k->win.mmu, gva(&k->win, 24), &(const void *){ NULL },
				      &(uint32_t){ 0 }) == -ENOENT);
		require(touch_read(hva(&k->win, 24)) == SIGSEGV);
		protect(k, 21, 1, R);
		require(touch_write(hva(&k->win, 21)) == SIGSEGV);
		if (round % 50 == 49 || round < 4)
			require(k->ops->check(k->win.mmu) == 0);
	}
	require(shown > 200);
	require(!((struct host *)k->win.mmu)->broken);
	require(((struct host *)k->win.mmu)->entries.evicted > 0);
	/* The others go, and all is well again. */
	require(munmap(others.mem, others.n * others.page) == 0);
	shown = 0;
	for (unsigned i = 0; i < 256; i++) {
		hide(k, i * 2 % 60, 1);
		show_at_wall(k, i * 2 % 60, 1, &shown);
	}
	require(shown == 256);
	require(k->ops->check(k->win.mmu) == 0);
	require(k->win.variant->real_holes || ((struct host *)k->win.mmu)->entries.ballast.len > 0);
	for (unsigned i = 0; i < 60; i += 2)
		require(host_rights(hva(&k->win, i))[0] == 'r');
}

static void the_wall(void **state)
{
	struct kit *k = *state;
	pid_t pid;
	int status;

#if TSAN
	skip(); /* the race detector needs regions of the host itself */
#endif
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL); /* cmocka's is for its own process */
		at_the_wall(k);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void what_does_not_fit(void **state)
{
	struct kit *k = *state;
	struct vms_mmu *mmu = k->win.mmu;
	uint64_t lo = k->win.lo, last = lo + WINDOW_PAGES * k->page - 1;

	assert_int_equal(k->ops->attach(mmu, lo, last, k->win.host_page / 2), -EINVAL);
	assert_int_equal(k->ops->attach(mmu, lo, last + 1, k->page), -EINVAL);
	assert_int_equal(k->ops->attach(mmu, lo - 1, last, k->page), -EINVAL);
	for (uint64_t a = lo; a < last; a += k->page) {
		uint64_t run = k->ops->max_run(mmu, a);

		assert_true(run > 0 && run <= UINT64_C(2) << 20);
	}
	assert_true(k->ops->caps == (ENTRIES_EAGER | ENTRIES_FILES));
}

/* One of each kind of holes, and larger guest pages. */
static bool is_used(const struct variant *v)
{
	return !strcmp(v->name, "reserved") || !strcmp(v->name, "real holes") ||
	       !strcmp(v->name, "reserved, 16K");
}

static const struct window_test tests[] = {
#define T(fn)		  { #fn, fn, NULL }
#define T_IF(applies, fn) { #fn, fn, applies }
	T(a_run_is_one_call_and_neighbours_are_one_region),
	T(a_gap_between_two_that_go_on_is_filled_into_one),
	T(existing_entries),
	T(unmap),
	T(rights),
	T(files),
	T(memory_of_this_process),
	T_IF(has_real_holes, others_memory_is_never_replaced),
	T(past_the_budget_the_oldest_goes),
	T(random_calls),
	T(random_failures),
	T(the_wall),
	T(what_does_not_fit),
};

int main(void)
{
	static const struct window_tests all = { .name = "mmu-host-entries",
						 .test = tests,
						 .n = sizeof(tests) / sizeof(tests[0]),
						 .takes = is_used,
						 .set_up = open_kit,
						 .tear_down = close_kit };

	return run_over_variants(&all);
}
