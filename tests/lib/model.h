/* SPDX-License-Identifier: MIT */
/*
 * model.h: what random models share: a generator, the last steps, and an end that says how to
 * repeat it.
 */
#ifndef TESTS_MODEL_H
#define TESTS_MODEL_H

#include <stdbool.h>
#include <stdint.h>

extern uint64_t model_seed, model_step;

/* Options that each model has: --steps N, --seed S, --trace 1. Others: model_option(). */
void model_start(const char *name, int argc, char **argv, uint64_t *steps);
/* The value of --NAME, or `otherwise`. */
const char *model_option(const char *name, const char *otherwise);

uint64_t rnd(uint64_t below); /* below > 0 */
/* What is done now; the last of them are shown by die(). With --trace 1 each is printed. */
__attribute__((format(printf, 1, 2))) void describe(const char *fmt, ...);
/* The end of a run that found a difference. */
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *fmt, ...);
/* What else die() shows of a model, if set. */
extern void (*model_show)(void);
/* Dies unless they are equal. */
void expect(int got, int want);

#endif
