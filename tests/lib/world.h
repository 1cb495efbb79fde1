/* SPDX-License-Identifier: MIT */
/*
 * world.h: a world for tests: the real host, but every call is counted and a chosen one fails.
 *
 * Only one stands at a time: test_world_begin() makes it world_default (also after a test that
 * failed in the middle), test_world_end() puts the
 * real host back and asserts that nothing was lost: allocations are balanced, and no descriptor
 * is open that was not before.
 */
#ifndef TESTS_WORLD_H
#define TESTS_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/world.h"

enum world_call {
	CALL_ALLOC,
	CALL_MMAP,
	CALL_MUNMAP,
	CALL_MPROTECT,
	CALL_MREMAP,
	CALL_MADVISE,
	CALL_MSYNC,
	CALL_MINCORE,
	CALL_MLOCK,
	CALL_MUNLOCK,
	CALL_FSTAT,
	CALL_FS_TYPE,
	CALL_FD_SEALS,
	CALL_FD_FLAGS,
	CALL_FD_DUP,
	CALL_FD_SAME,
	CALL_FD_PATH,
	CALL_REGION,
	CALL_MEMFD,
	CALL_FD_ADD_SEALS,
	CALL_FTRUNCATE,
	CALL_FALLOCATE,
	CALL_PREAD,
	CALL_PWRITE,
	CALL_READV,
	CALL_WRITEV,
	CALL_MBIND,
	CALL_IOCTL,
	CALL_RLIMIT,
	CALL_MEMBARRIER,
	WORLD_CALLS
};

#define EVERY_CALL (~0u)

struct test_world {
	struct world world;
	uint64_t calls[WORLD_CALLS];
	size_t live; /* allocations not freed */
	size_t live_bytes;
	/* The fail_at-th call of the kinds in fail_mask fails, and the fail_more after it. */
	uint64_t fail_at; /* 0: none; counts down */
	uint64_t fail_more;
	uint32_t fail_mask; /* bit: enum world_call */
	int fail_err;	    /* > 0; allocations just give NULL */
	uint64_t failed;    /* calls made to fail */
	/* The host as older kernels are. */
	bool one_region_mremap; /* an mremap of several regions is EFAULT (before 6.17) */
	bool no_dontunmap;	/* MREMAP_DONTUNMAP is EINVAL (before 5.7) */
	bool no_noreplace;	/* MAP_FIXED_NOREPLACE is a hint (before 4.17) */
	int fds_before;
};

void test_world_begin(struct test_world *tw);
void test_world_end(struct test_world *tw);
/* From now on, the n-th call of the kinds in mask fails with -err; n 0: none. */
void test_world_fail(struct test_world *tw, uint64_t n, uint32_t mask, int err);

int open_descriptors(void);
int64_t mapped_pages(void); /* of this process, as statm says */

/*
 * sweep - run a scenario again and again: the 1st, 2nd, ... n-th call of the kinds in mask fails,
 * until it passes untouched. Asserts that at least one run had a failure.
 *
 *	set_up		makes the state, with nothing failing
 *	run		what may fail: returns its result
 *	check		judges result and state, with nothing failing; failed: a call was refused
 *	tear_down	ends the state
 *
 * Returns the number of runs in which a call failed.
 */
struct sweep {
	struct test_world *world;
	void (*set_up)(void *arg);
	int (*run)(void *arg);
	void (*check)(void *arg, int result, bool failed);
	void (*tear_down)(void *arg);
	void *arg;
	uint32_t mask; /* 0: every kind */
	int err;       /* 0: ENOMEM */
};
unsigned sweep(const struct sweep *s);

#endif
