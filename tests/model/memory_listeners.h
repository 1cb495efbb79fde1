/* SPDX-License-Identifier: MIT */
/*
 * memory_listeners.h: listeners of a model's memory. Each keeps what the events tell it, and some
 * of them refuse, fail, or cannot go back. Also the gate.
 */
#ifndef TESTS_MEMORY_LISTENERS_H
#define TESTS_MEMORY_LISTENERS_H

#include <errno.h>

#include "memory_naive.h"

#define LISTENER_REFUSES (-EDOM)
#define LISTENER_FAILS	 (-EXDEV)

extern const struct vms_gate listeners_gate;

void listeners_begin(struct nmemory *m);
void listeners_end(struct nmemory *m); /* none listens any more */
/* One comes or goes. NULL, or a sentence. */
const char *listeners_change(struct nmemory *m);

/* An edit is about to be committed. any: it changes something. Chooses what each will do. */
void listeners_expect(struct nmemory *m, const struct nstate *was, const struct nstate *is,
		      bool any);
/* What the commit of an edit that changes something must answer. */
int listeners_answer(void);
/* Afterwards: were they called as they must? *broken: the memory is. */
const char *listeners_heard(struct nmemory *m, bool *broken);
/* Afterwards, instead: none was called. */
const char *listeners_silent(void);
/* A broken memory says so, to all who want to change it. */
const char *listeners_broken(struct nmemory *m);

/* Does a log of written pages run? */
extern bool listeners_log_on;
/* The first log is about to start: what the listeners will answer, if there are such as log. */
int listeners_log_expect(void);
/* All of them log, or none, as listeners_log_on says. */
const char *listeners_log_differ(void);
/* One of them has seen a write to the block, and tells at the next sync. False: none logs. */
bool listeners_saw(struct nblock *b, uint64_t off, uint64_t len);
/* Called when it has told. */
extern void (*listeners_told)(struct nblock *b, uint64_t off, uint64_t len);

#endif
