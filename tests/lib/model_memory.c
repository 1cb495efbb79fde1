// SPDX-License-Identifier: MIT
/* model_memory.c: see model_memory.h. */
#include "model_memory.h"

#include <stdlib.h>

struct model_memory model_memory;

void *model_alloc(const struct world *w, size_t size)
{
	if (model_memory.fail_at && --model_memory.fail_at == 0) {
		model_memory.refused++;
		return NULL;
	}
	model_memory.bytes += size;
	model_memory.blocks++;
	return malloc(size);
}

void model_free(const struct world *w, void *p, size_t size)
{
	if (p) {
		model_memory.bytes -= size;
		model_memory.blocks--;
	}
	free(p);
}
