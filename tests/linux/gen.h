/* SPDX-License-Identifier: MIT */
/*
 * gen.h: seeded random operations for the differential test.
 *
 * The generator looks at the regions as they stand, so that most arguments hit something, and mixes
 * valid, boundary and hostile ones. Equal seeds and equal maps give equal operations.
 *
 * It never asks for what would only burn the machine: populating or locking more than a few MiB, or
 * touching the bare child's own area.
 */
#ifndef TESTS_LINUX_GEN_H
#define TESTS_LINUX_GEN_H

#include "side.h"

struct gen {
	uint64_t state; /* of the random numbers */
	uint64_t page;	/* page size of the guest; arguments are mostly multiples */
	uint64_t mmap_base;
	uint64_t wall;	/* 0, or: so many regions may be beside ours */
	bool contents;	/* contents are compared too: leave out what makes them undefined */
	unsigned step;	/* of this sequence */
	unsigned taste; /* what this sequence likes to do; drawn at its start */
};

void gen_start(struct gen *g, uint64_t seed, uint64_t mmap_base, uint64_t page, bool contents,
	       bool wall);
void gen_next(struct gen *g, const struct maps *maps, struct op *op);

/*
 * Make the arguments such that a kernel with 4 KiB pages answers as one with larger ones would:
 * what is rounded to pages must be a multiple of the guest's. No change with 4 KiB.
 */
void gen_round(struct op *op, uint64_t page);

#endif
