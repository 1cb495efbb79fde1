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

#endif
