/* SPDX-License-Identifier: MIT */
/*
 * touch.h: the instructions that touch guest memory, and nothing else that does.
 *
 * The guest and other processes change it meanwhile. So what must be one access is an atomic one,
 * relaxed; all else is a copy of which neither order nor size is promised, and which no race detector
 * is told of. The host's address is aligned as the guest's is.
 */
#ifndef MEMORY_TOUCH_H
#define MEMORY_TOUCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/range.h"

#if defined(__SANITIZE_THREAD__)
#define TOUCH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TOUCH_TSAN 1
#endif
#endif

#define TOUCH_INLINE static inline __attribute__((always_inline))

typedef uint8_t __attribute__((__may_alias__)) touch_u8;
typedef uint16_t __attribute__((__may_alias__)) touch_u16;
typedef uint32_t __attribute__((__may_alias__)) touch_u32;
typedef uint64_t __attribute__((__may_alias__)) touch_u64;

/* Is it one of the sizes that are one access here? */
TOUCH_INLINE bool touch_single(uint64_t addr, size_t n)
{
	return n <= 8 && n != 0 && (n & (n - 1)) == 0 && (addr & (n - 1)) == 0;
}

/* The value in the low bytes. => aligned */
TOUCH_INLINE uint64_t touch_load(const void *at, size_t size)
{
	switch (size) {
	case 1:
		return __atomic_load_n((const touch_u8 *)at, __ATOMIC_RELAXED);
	case 2:
		return __atomic_load_n((const touch_u16 *)at, __ATOMIC_RELAXED);
	case 4:
		return __atomic_load_n((const touch_u32 *)at, __ATOMIC_RELAXED);
	default:
		return __atomic_load_n((const touch_u64 *)at, __ATOMIC_RELAXED);
	}
}

TOUCH_INLINE void touch_store(void *at, size_t size, uint64_t value)
{
	switch (size) {
	case 1:
		__atomic_store_n((touch_u8 *)at, (uint8_t)value, __ATOMIC_RELAXED);
		break;
	case 2:
		__atomic_store_n((touch_u16 *)at, (uint16_t)value, __ATOMIC_RELAXED);
		break;
	case 4:
		__atomic_store_n((touch_u32 *)at, (uint32_t)value, __ATOMIC_RELAXED);
		break;
	default:
		__atomic_store_n((touch_u64 *)at, value, __ATOMIC_RELAXED);
	}
}

/* The same of memory of this thread's alone, wherever it lies: in `size` bytes, host's order. */
TOUCH_INLINE uint64_t own_load(const void *at, size_t size)
{
	uint8_t v1;
	uint16_t v2;
	uint32_t v4;
	uint64_t v8;

	switch (size) {
	case 1:
		memcpy(&v1, at, 1);
		return v1;
	case 2:
		memcpy(&v2, at, 2);
		return v2;
	case 4:
		memcpy(&v4, at, 4);
		return v4;
	default:
		memcpy(&v8, at, 8);
		return v8;
	}
}

TOUCH_INLINE void own_store(void *at, size_t size, uint64_t value)
{
	uint8_t v1 = (uint8_t)value;
	uint16_t v2 = (uint16_t)value;
	uint32_t v4 = (uint32_t)value;

	switch (size) {
	case 1:
		memcpy(at, &v1, 1);
		break;
	case 2:
		memcpy(at, &v2, 2);
		break;
	case 4:
		memcpy(at, &v4, 4);
		break;
	default:
		memcpy(at, &value, 8);
	}
}

#ifdef TOUCH_TSAN
__attribute__((no_sanitize("thread"), noinline, unused)) static void
touch_move(void *dst, const void *src, size_t n)
{
	volatile unsigned char *d = dst;
	const volatile unsigned char *s = src;

	if ((uintptr_t)dst - (uintptr_t)src >= n)
		for (size_t i = 0; i < n; i++)
			d[i] = s[i];
	else
		while (n--)
			d[n] = s[n];
}
__attribute__((no_sanitize("thread"), noinline, unused)) static void touch_set(void *dst, int byte,
									       size_t n)
{
	volatile unsigned char *d = dst;

	while (n--)
		*d++ = (unsigned char)byte;
}
#else
TOUCH_INLINE void touch_move(void *dst, const void *src, size_t n)
{
	memmove(dst, src, n);
}
TOUCH_INLINE void touch_set(void *dst, int byte, size_t n)
{
	memset(dst, byte, n);
}
#endif

/* A value at an odd address: its bytes, one by one or not. */
TOUCH_INLINE uint64_t odd_load(const void *at, size_t size)
{
#ifdef TOUCH_TSAN
	unsigned char bytes[8];

	touch_move(bytes, at, size);
	at = bytes;
#endif
	return own_load(at, size);
}

TOUCH_INLINE void odd_store(void *at, size_t size, uint64_t value)
{
#ifdef TOUCH_TSAN
	unsigned char bytes[8];

	own_store(bytes, size, value);
	touch_move(at, bytes, size);
#else
	own_store(at, size, value);
#endif
}

/*
 * Copies: as memmove. What is 1, 2, 4 or 8 bytes is one access on each side that is aligned, whatever
 * the other is: a caller's buffer at an odd address tears nothing in the guest.
 */
TOUCH_INLINE void touch_copy(void *dst, const void *src, size_t n)
{
	uint64_t value;

	if (n > 8 || (n & (n - 1)) != 0 || n == 0) {
		touch_move(dst, src, n);
		return;
	}
	if (((uintptr_t)src & (n - 1)) == 0)
		value = touch_load(src, n);
	else
		value = odd_load(src, n);
	if (((uintptr_t)dst & (n - 1)) == 0)
		touch_store(dst, n, value);
	else
		odd_store(dst, n, value);
}

TOUCH_INLINE void touch_fill(void *dst, int byte, size_t n)
{
	if (touch_single((uintptr_t)dst, n))
		touch_store(dst, n, UINT64_C(0x0101010101010101) * (uint8_t)byte);
	else
		touch_set(dst, byte, n);
}

#endif
