/* SPDX-License-Identifier: MIT */
/*
 * range.h: arithmetic on addresses that cannot overflow, written once.
 *
 * At the API a range is (start, length), half-open. Inside, a range is its first and its last byte,
 * both included, so that the last byte of the 64-bit space is an ordinary byte. A range is never
 * empty.
 */
#ifndef BASE_RANGE_H
#define BASE_RANGE_H

#include <stdbool.h>
#include <stdint.h>

/* The last byte of [start, start + len). False if the range is empty or passes the 64-bit end. */
static inline bool range_last(uint64_t start, uint64_t len, uint64_t *last)
{
	if (len == 0 || start > UINT64_MAX - (len - 1))
		return false;
	*last = start + (len - 1);
	return true;
}

static inline bool range_overlaps(uint64_t a, uint64_t a_last, uint64_t b, uint64_t b_last)
{
	return a <= b_last && b <= a_last;
}

static inline bool is_pow2(uint64_t x)
{
	return x != 0 && (x & (x - 1)) == 0;
}

/* `align` is a power of two. */
static inline uint64_t align_down(uint64_t x, uint64_t align)
{
	return x & ~(align - 1);
}

static inline bool is_aligned(uint64_t x, uint64_t align)
{
	return (x & (align - 1)) == 0;
}

/* Rounds up; wraps to 0 past the end, as Linux's PAGE_ALIGN does: the callers check for it. */
static inline uint64_t align_up(uint64_t x, uint64_t align)
{
	return (x + (align - 1)) & ~(align - 1);
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

#endif
