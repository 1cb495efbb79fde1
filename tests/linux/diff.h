/* SPDX-License-Identifier: MIT */
/*
 * diff.h: run two sides through the same operations and find where they first disagree.
 */
#ifndef TESTS_LINUX_DIFF_H
#define TESTS_LINUX_DIFF_H

#include "gen.h"
#include "side.h"

struct diff {
	struct side *lead, *follow; /* lead goes first, one operation at a time */
	bool contents;
	bool wall; /* sequences begin with a fill */
	uint64_t page;
	uint64_t calls; /* compared so far, over all sequences */
	uint64_t by_kind[OP_KINDS], failed_by_kind[OP_KINDS];
	void (*tick)(struct diff *d); /* called now and then; may be NULL */
};

/* The first difference of a run. */
struct difference {
	size_t step;		 /* index of the operation */
	const char *what;	 /* "answer", "maps", "counters" or "contents" */
	struct answer answer[2]; /* of lead, of follow */
	struct maps maps[2];
	uint64_t addr; /* of contents */
	struct guest_peek peek[2];
};
void difference_free(struct difference *d);
void difference_print(FILE *f, const struct diff *d, const struct script *s,
		      const struct difference *x);

/*
 * All return 0: no difference, 1: *x says which, -1: a side broke (its why).
 * diff_random makes up to `steps` operations from the seed and leaves them in *s.
 */
int diff_random(struct diff *d, uint64_t seed, size_t steps, struct script *s,
		struct difference *x);
int diff_script(struct diff *d, const struct script *s, struct difference *x);

/* Drop operations and simplify arguments while some difference remains. */
int diff_shrink(struct diff *d, struct script *s, struct difference *x);

#endif
