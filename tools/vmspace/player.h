/* SPDX-License-Identifier: MIT */
/*
 * player.h: recorded memory calls on an engine of our own, one after the other.
 *
 * The engine runs with the recording backend, so nothing of the traced program is needed. What the
 * kernel placed is placed either at the recorded address (forced) or by the engine's own rule.
 *
 * Rules
 * 1. Files are not recorded, only descriptor numbers. A mapping of offset 0 that is not fixed, or a
 *    number not seen before, is taken for a file of its own (an endless memfd); later mappings of
 *    the number for the same one.
 * 2. [stack] grows without a call. When a block shows it lower, the engine is told of an access
 *    there and must come to the same start.
 * 3. A call that failed for a reason that lies in the file (EACCES, EBADF, ...) cannot be repeated.
 */
#ifndef PLAYER_H
#define PLAYER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmspace/mman.h>

#include "tracefile.h"

#define PLAYER_TASK  0x7ffffffff000ul /* end of guest addresses */
#define PLAYER_BASE  0x7ffff7fff000ul /* where placement starts without randomisation */
#define PLAYER_FILES 4096

struct player_file {
	int fd;
	int number; /* the recorded descriptor, -1: of no call */
	uint64_t ino;
};

/* All zero but forced and mmap_base. */
struct player {
	bool forced;
	uint64_t mmap_base;
	struct vms_mm *mm;	  /* NULL before the first image */
	int fd_of[PLAYER_FILES];  /* our memfd for a recorded descriptor, 0: none yet */
	struct player_file *file; /* all of this image */
	size_t n_files;
	const char *broken; /* why it cannot go on */
	char why[256];
};

enum played { PLAYED_DONE, PLAYED_SKIPPED /* (rule 3) */, PLAYED_BROKEN };

/* A new program image: an engine with these maps. 0, or -1 and r->broken. */
int player_image(struct player *r, const struct trace_maps *maps);
/* One call; *got is the engine's answer. */
enum played player_call(struct player *r, const struct trace_call *c, int64_t *got);
/* (rule 2) */
void player_grow(struct player *r, const struct trace_maps *maps);
void player_fini(struct player *r);

/* A file of ours by its inode; NULL: none. */
const struct player_file *player_file(const struct player *r, uint64_t ino);
/* It cannot go on; -1. */
int player_cannot(struct player *r, const char *what, const char *reason);
/* Each recorded file is a descriptor of ours. */
void player_raise_descriptors(void);

#endif
