// SPDX-License-Identifier: MIT
#include "window.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "snap.h"

const struct variant variants[] = {
	{ "reserved", false, 1 },
	{ "reserved, mremap of one region", false, 1, .one_region_mremap = true },
	{ "reserved, no DONTUNMAP", false, 1, .one_region_mremap = true, .no_dontunmap = true },
	{ "real holes", true, 1 },
	{ "real holes, mremap of one region", true, 1, .one_region_mremap = true },
	{ "reserved, 16K", false, 4 },
	{ "reserved, 64K, mremap of one region", false, 16, .one_region_mremap = true },
	{ "real holes, 16K", true, 4 },
	{ "real holes, 64K, mremap of one region", true, 16, .one_region_mremap = true },
};
const unsigned n_variants = sizeof(variants) / sizeof(variants[0]);

/* Free memory far below where mmap places things by itself. */
static uint64_t find_room(uint64_t len)
{
	char *p = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *q;

	assert_ptr_not_equal(p, MAP_FAILED);
	munmap(p, len);
	p = (char *)(((uintptr_t)p - (UINT64_C(16) << 30)) & ~UINT64_C(0xffffff));
	q = mmap(p, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	assert_ptr_equal(p, q);
	munmap(p, len);
	return (uintptr_t)p;
}

int run_over_variants(const struct window_tests *tests)
{
	struct CMUnitTest *all = calloc(n_variants * tests->n, sizeof(*all));
	char(*name)[96] = calloc(n_variants * tests->n, sizeof(*name));
	size_t n = 0;
	int failed;

	if (!all || !name)
		return 1;
	for (size_t i = 0; i < n_variants * tests->n; i++) {
		const struct variant *v = &variants[i / tests->n];
		const struct window_test *t = &tests->test[i % tests->n];

		if ((tests->takes && !tests->takes(v)) || (t->applies && !t->applies(v)))
			continue;
		snprintf(name[n], sizeof(name[n]), "%s: %s", v->name, t->name);
		all[n] = (struct CMUnitTest){ .name = name[n],
					      .test_func = t->fn,
					      .setup_func = tests->set_up,
					      .teardown_func = tests->tear_down,
					      .initial_state = (void *)(uintptr_t)v };
		n++;
	}
	failed = _cmocka_run_group_tests(tests->name, all, n, NULL, NULL);
	free(name);
	free(all);
	return failed;
}

void window_open(struct window *w, const struct variant *v)
{
	struct vms_mmu_host_params params = { .size = sizeof(params) };

	test_world_begin(&w->world);
	w->world.one_region_mremap = v->one_region_mremap;
	w->world.no_dontunmap = v->no_dontunmap;
	w->variant = v;
	w->host_page = (uint64_t)sysconf(_SC_PAGESIZE);
	w->page = v->scale * w->host_page;
	w->lo = v->real_holes ? find_room(WINDOW_PAGES * w->page) : UINT64_C(0x7654) << 20;
	params.flags = v->real_holes ? VMS_MMU_REAL_HOLES : 0;
	params.lo = w->lo;
	params.hi = w->lo + WINDOW_PAGES * w->page;
	params.page_size = w->page;
	assert_ok(vms_mmu_host(&params, &w->mmu));
	w->mem = vms_mmu_host_addr(w->mmu, w->lo);
	assert_non_null(w->mem);
}

void window_close(struct window *w)
{
	/* With real holes the space unmaps; the test stands in for it. */
	if (w->variant->real_holes)
		munmap(w->mem, WINDOW_PAGES * w->page);
	vms_mmu_unref(w->mmu);
	test_world_end(&w->world);
}

int win_map(struct window *w, unsigned page, unsigned n, uint32_t prot, uint32_t flags, int fd,
	    uint64_t off)
{
	struct backend_map m = { .addr = gva(w, page),
				 .len = n * w->page,
				 .prot = prot,
				 .flags = flags,
				 .fd = fd,
				 .off = off };

	return backend_map(w->mmu, &m);
}

int win_anon(struct window *w, unsigned page, unsigned n)
{
	return win_map(w, page, n, VMS_PROT_READ | VMS_PROT_WRITE, 0, -1, 0);
}

int win_unmap(struct window *w, unsigned page, unsigned n)
{
	return backend_unmap(w->mmu, gva(w, page), n * w->page);
}

int win_protect(struct window *w, unsigned page, unsigned n, uint32_t prot)
{
	return backend_protect(w->mmu, gva(w, page), n * w->page, prot);
}

int win_move(struct window *w, unsigned from, unsigned n, unsigned to, unsigned new_n,
	     uint32_t flags)
{
	return backend_move(w->mmu, gva(w, from), n * w->page, gva(w, to), new_n * w->page, flags);
}

static unsigned char pattern(unsigned seed, uint64_t host_page_no)
{
	return (unsigned char)(1 + (seed * 131 + host_page_no * 29) % 255);
}

void win_fill(struct window *w, unsigned page, unsigned n, unsigned seed)
{
	uint64_t scale = w->variant->scale;

	for (uint64_t i = page * scale; i < (page + n) * scale; i++)
		memset(w->mem + i * w->host_page, pattern(seed, i), w->host_page);
}

void win_check_moved(struct window *w, unsigned page, unsigned n, unsigned seed, unsigned first)
{
	uint64_t scale = w->variant->scale;

	for (uint64_t i = 0; i < n * scale; i++) {
		unsigned char *p = (unsigned char *)w->mem + (page * scale + i) * w->host_page;

		assert_int_equal(p[0], pattern(seed, first * scale + i));
		assert_int_equal(p[w->host_page - 1], p[0]);
	}
}

void win_check(struct window *w, unsigned page, unsigned n, unsigned seed)
{
	win_check_moved(w, page, n, seed, page);
}

void win_check_zero(struct window *w, unsigned page, unsigned n)
{
	const char *p = hva(w, page);

	for (uint64_t i = 0; i < n * w->page; i++)
		assert_int_equal(p[i], 0);
}

void win_check_hole(struct window *w, unsigned page, unsigned n)
{
	char *p = hva(w, page), *last = p + (n * w->page - 1);

	assert_true(host_all_rights(p, n * w->page, w->variant->real_holes ? "" : "---p"));
	assert_int_equal(touch_read(p), SIGSEGV);
	assert_int_equal(touch_read(last), SIGSEGV);
}

void win_seams(struct window *w, unsigned page, unsigned n, unsigned seed)
{
	assert_ok(win_anon(w, page, 1));
	win_fill(w, page, 1, seed);
	assert_ok(win_anon(w, page + n - 1, 1));
	win_fill(w, page + n - 1, 1, seed);
	assert_ok(win_anon(w, page + 1, n - 2));
	win_fill(w, page, n, seed);
	/* That the kernel still does so is what makes these tests mean something. */
	assert_true(host_regions(hva(w, page), n * w->page) > 1);
}

static sigjmp_buf touched;

static void on_fault(int sig)
{
	siglongjmp(touched, sig);
}

static int touch(volatile char *p, bool write)
{
	struct sigaction act = { .sa_handler = on_fault }, segv, bus;
	int sig;

	sigaction(SIGSEGV, &act, &segv);
	sigaction(SIGBUS, &act, &bus);
	sig = sigsetjmp(touched, 1);
	if (sig == 0) {
		if (write)
			*p = *p;
		else
			(void)*p;
	}
	sigaction(SIGSEGV, &segv, NULL);
	sigaction(SIGBUS, &bus, NULL);
	return sig;
}

int touch_read(const void *p)
{
	return touch((volatile char *)p, false);
}

int touch_write(void *p)
{
	return touch(p, true);
}

unsigned char file_byte(uint64_t i)
{
	return (unsigned char)(1 + (i / 512 * 7 + i) % 251);
}

int file_make(uint64_t bytes)
{
	char path[] = "/tmp/vmspace-test-XXXXXX";
	unsigned char *buf = malloc(bytes + 1);
	int fd = mkstemp(path);

	assert_true(fd >= 0 && buf);
	unlink(path);
	for (uint64_t i = 0; i < bytes; i++)
		buf[i] = file_byte(i);
	assert_int_equal(write(fd, buf, bytes), bytes);
	free(buf);
	return fd;
}
