/* SPDX-License-Identifier: MIT */
/*
 * memory_logs.h: the logs of written pages of a model's memory, and for each the pages that are in
 * it. The model says which bytes were written (nblock_wrote).
 */
#ifndef TESTS_MEMORY_LOGS_H
#define TESTS_MEMORY_LOGS_H

#include "memory_naive.h"

void logs_begin(struct nmemory *m);
void logs_end(struct nmemory *m);
void logs_new_block(struct nmemory *m, struct nblock *b);
/* After blocks may have gone. */
void logs_forget(struct nmemory *m);
/* A log starts, stops, is harvested; something is marked. waits: it may wait for brackets to end.
 * NULL, or a sentence. */
const char *logs_step(struct nmemory *m, bool waits);

#endif
