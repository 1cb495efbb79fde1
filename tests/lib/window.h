/* SPDX-License-Identifier: MIT */
/*
 * window.h: a host backend over a small window, in every variant that matters, and what tests do
 * with its memory. Pages are numbered from the window's start.
 */
#ifndef TESTS_WINDOW_H
#define TESTS_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"
#include "mmu/backend.h"
#include "world.h"

#define WINDOW_PAGES 64

struct variant {
	const char *name;
	bool real_holes;
	unsigned scale;		/* guest page in host pages */
	bool one_region_mremap; /* as in struct test_world */
	bool no_dontunmap;
};

extern const struct variant variants[];
extern const unsigned n_variants;

struct window {
	struct test_world world;
	const struct variant *variant;
	struct vms_mmu *mmu;
	uint64_t page, host_page; /* bytes */
	uint64_t lo;		  /* guest address of page 0 */
	char *mem;		  /* where it is */
};

/* A test of each variant that it applies to, which is its initial state. */
struct window_test {
	const char *name;
	CMUnitTestFunction fn;
	bool (*applies)(const struct variant *v); /* NULL: to all */
};

struct window_tests {
	const char *name;
	const struct window_test *test;
	size_t n;
	bool (*takes)(const struct variant *v); /* NULL: all variants */
	CMFixtureFunction set_up, tear_down;
};

/* For main(). */
int run_over_variants(const struct window_tests *tests);

void window_open(struct window *w, const struct variant *v);
void window_close(struct window *w);

static inline uint64_t gva(const struct window *w, unsigned page)
{
	return w->lo + page * w->page;
}

static inline char *hva(const struct window *w, unsigned page)
{
	return w->mem + page * w->page;
}

/* The backend's calls, by page. */
int win_map(struct window *w, unsigned page, unsigned n, uint32_t prot, uint32_t flags, int fd,
	    uint64_t off);
int win_anon(struct window *w, unsigned page, unsigned n); /* readable, writable, private */
int win_unmap(struct window *w, unsigned page, unsigned n);
int win_protect(struct window *w, unsigned page, unsigned n, uint32_t prot);
int win_move(struct window *w, unsigned from, unsigned n, unsigned to, unsigned new_n,
	     uint32_t flags);

/* Fill every host page with bytes that depend on seed and its number; check it. */
void win_fill(struct window *w, unsigned page, unsigned n, unsigned seed);
void win_check(struct window *w, unsigned page, unsigned n, unsigned seed);
/* As win_check of pages that were filled as from `first` on, now found at `page`. */
void win_check_moved(struct window *w, unsigned page, unsigned n, unsigned seed, unsigned first);
void win_check_zero(struct window *w, unsigned page, unsigned n);
/* A hole in this variant's sense. */
void win_check_hole(struct window *w, unsigned page, unsigned n);
/*
 * n >= 3 pages in as many regions of the host as it makes of them: two identities and what lies
 * between. Filled with seed.
 */
void win_seams(struct window *w, unsigned page, unsigned n, unsigned seed);

/* What a load or a store of one byte does: 0, SIGSEGV or SIGBUS. */
int touch_read(const void *p);
int touch_write(void *p);

/* A file of `bytes` bytes, byte i is file_byte(i); nameless. */
int file_make(uint64_t bytes);
unsigned char file_byte(uint64_t i);

#endif
