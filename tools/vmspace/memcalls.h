/* SPDX-License-Identifier: MIT */
/* memcalls.h: the system calls that are about memory, by number. */
#ifndef MEMCALLS_H
#define MEMCALLS_H

#include <stdbool.h>
#include <stdint.h>

/* Its name; NULL for another call, or, when asked for, for one that never changes the map. */
const char *memory_call(uint64_t nr, bool changes_map);

#endif
