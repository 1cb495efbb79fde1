/* SPDX-License-Identifier: MIT */
/*
 * raw.h: system calls as single instructions. They touch neither errno nor thread storage, so they
 * may be used on the guest's FS base too, and a result is the value or the negative errno.
 */
#ifndef GUEST_RAW_H
#define GUEST_RAW_H

#include <stdint.h>
#include <sys/syscall.h>

static inline int64_t raw6(long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
			   uint64_t f)
{
	register uint64_t r10 __asm__("r10") = d;
	register uint64_t r8 __asm__("r8") = e;
	register uint64_t r9 __asm__("r9") = f;
	int64_t ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

#define raw0(nr)	  raw6(nr, 0, 0, 0, 0, 0, 0)
#define raw1(nr, a)	  raw6(nr, (uint64_t)(a), 0, 0, 0, 0, 0)
#define raw2(nr, a, b)	  raw6(nr, (uint64_t)(a), (uint64_t)(b), 0, 0, 0, 0)
#define raw3(nr, a, b, c) raw6(nr, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), 0, 0, 0)
#define raw4(nr, a, b, c, d) \
	raw6(nr, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d), 0, 0)
#define raw5(nr, a, b, c, d, e) \
	raw6(nr, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d), (uint64_t)(e), 0)

#endif
