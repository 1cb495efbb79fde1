/* SPDX-License-Identifier: MIT */
/*
 * place.h: where something of a given size may stand among what stands already.
 *
 * Terms:
 *	taken		a range where something stands; both ends are included
 *	source		answers questions about taken ranges: the children of a region, the mappings
 *			of a space, an array in a test
 *	gap		a longest run inside the bounds of the search that no source has taken
 *	candidate	an aligned address at which `size` bytes lie inside one gap
 *
 * Candidates are numbered from the lowest. First fit is candidate 0; a random placement is a
 * number drawn from as many bits as the caller likes, or from all candidates where those are fewer.
 */
#ifndef SPACE_PLACE_H
#define SPACE_PLACE_H

#include <stdbool.h>
#include <stdint.h>

struct taken {
	/*
	 * The lowest taken range whose last byte is at or above `from`. False: none.
	 * => min 1: the ranges as they are, one after the other.
	 * => min > 1: what is answered may go on over gaps of fewer than `min` bytes. So a source
	 *    that knows its large gaps steps from one to the next.
	 */
	bool (*next)(const void *arg, uint64_t from, uint64_t min, uint64_t *first, uint64_t *last);
	const void *arg;
};

struct search {
	const struct taken *by; /* sources; their ranges may overlap */
	unsigned n_by;
	uint64_t lo, hi; /* bounds, both included */
	uint64_t size;	 /* > 0 */
	uint64_t align;	 /* a power of two > 1: so the candidates can be counted */
};

#define PLACE_MAX_BITS 63

/*
 * A candidate; false: there is none. bits 0, or random NULL: the lowest. Otherwise each of the
 * first 2^bits candidates is equally likely, and *random, the state of the generator, moves on.
 */
bool place_search(const struct search *s, unsigned bits, uint64_t *random, uint64_t *addr);

/* The next number of a generator, whose state may start as anything. */
uint64_t place_random(uint64_t *state);

#endif
