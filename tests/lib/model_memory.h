/* SPDX-License-Identifier: MIT */
/*
 * model_memory.h: the memory of a model's world: what is out is counted, and one allocation can be
 * refused. For one thread.
 */
#ifndef TESTS_MODEL_MEMORY_H
#define TESTS_MODEL_MEMORY_H

#include "base/world.h"

struct model_memory {
	uint64_t bytes, blocks; /* that are out */
	uint64_t fail_at;	/* this allocation from now on is refused; 0: none, or done */
	uint64_t refused;	/* so far */
};

extern struct model_memory model_memory;

/* For a struct world's alloc and free. */
void *model_alloc(const struct world *w, size_t size);
void model_free(const struct world *w, void *p, size_t size);

#endif
