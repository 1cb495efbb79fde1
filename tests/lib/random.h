/* SPDX-License-Identifier: MIT */
/*
 * random.h: numbers that look random, the same from the same seed, which is not 0. Each thread has
 * a seed of its own.
 */
#ifndef TESTS_RANDOM_H
#define TESTS_RANDOM_H

#include <stdint.h>

static inline uint32_t next32(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

/* In [0, 2^53). */
static inline uint64_t next53(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed >> 11;
}

#endif
