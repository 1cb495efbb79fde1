/* SPDX-License-Identifier: MIT */
/* require.h: an assert for where cmocka's do not reach: children, threads, handlers of signals. */
#ifndef TESTS_REQUIRE_H
#define TESTS_REQUIRE_H

#include <stdio.h>
#include <unistd.h>

#include "vmspace/vmspace.h"

/* Else the process ends. */
#define require(cond)                                                                  \
	do {                                                                           \
		if (!(cond)) {                                                         \
			fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #cond, \
				vms_last_error());                                     \
			_exit(1);                                                      \
		}                                                                      \
	} while (0)

#endif
