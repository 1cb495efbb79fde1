/* SPDX-License-Identifier: MIT */
/* op.h: the answers to the operations of a script (tools/vmspace/script.h). */
#ifndef TESTS_LINUX_OP_H
#define TESTS_LINUX_OP_H

#include "script.h"

/* What Linux counts of an address space, in bytes: VmSize, VmLck, VmData and VmStk. */
struct counters {
	uint64_t total, locked, data, stack;
};

struct answer {
	int64_t ret;
	uint32_t sig, code; /* of a touch */
	uint64_t addr;	    /* of a touch; of mincore with contents: which pages are there */
	struct counters counters; /* afterwards, less the side's own regions; 0 without maps */
	bool invalid;	    /* afterwards the side's own check found it damaged: its why */
};

void answer_format(const struct op *op, const struct answer *a, char *buf, size_t size);

#endif
