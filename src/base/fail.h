/* SPDX-License-Identifier: MIT */
/*
 * fail.h: a code for the program, a sentence for the person.
 *
 * fail() stores the sentence in a fixed buffer of the thread, so that it cannot fail itself, and
 * returns the code: return fail(-EINVAL, "map: %#lx is not page aligned", addr).
 * Hot paths and guest errno results set no sentence.
 */
#ifndef BASE_FAIL_H
#define BASE_FAIL_H

int fail(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3), cold));

#endif
