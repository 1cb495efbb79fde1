/* SPDX-License-Identifier: MIT */
/* check.h: cmocka with what it needs before it, and asserts that our tests share. */
#ifndef TESTS_CHECK_H
#define TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#undef fail /* ours is base/fail.h's */

#define assert_ok(call) assert_int_equal((call), 0)

/* The test fails, and says this. */
#define broken(...)                                 \
	do {                                        \
		print_error("ERROR: " __VA_ARGS__); \
		print_error("\n");                  \
		_fail(__FILE__, __LINE__);          \
	} while (0)

#endif
