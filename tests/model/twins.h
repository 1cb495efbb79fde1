/* SPDX-License-Identifier: MIT */
/*
 * twins.h: objects, each with its naive twin (naive.h), and random operations on both. Every one
 * compares the answers.
 */
#ifndef TESTS_TWINS_H
#define TESTS_TWINS_H

#include <stdbool.h>
#include <stdint.h>

#include "naive.h"
#include "vmspace/pager.h"

#ifndef TWINS_MAX
#define TWINS_MAX 16
#endif

struct twin_note;

struct twin {
	struct vms_object *obj;	  /* NULL: no handle */
	struct naive_view *naive; /* NULL: free */
	unsigned maps;		  /* what else holds it: it lives on without a handle */
	struct twin_note *note;
	uint64_t id;
};

extern struct twin twins[TWINS_MAX];
extern unsigned twins_live;  /* that have handles */
extern unsigned twins_pages; /* the most that an object gets */
extern bool twins_refuse;    /* pagers fail some pages */

/* When the pager answers. */
enum twins_answers { TWINS_AT_ONCE, TWINS_LATER, TWINS_EITHER };
extern enum twins_answers twins_answers;

extern struct vms_arena *twins_arena;
extern struct vms_pager *twins_pager;

void twins_begin(void);
void twins_end(void); /* drops all handles */

unsigned twin_index(const struct twin *p);
struct twin *twin_any(void);			     /* with a handle; there is one */
struct twin *twin_any_of(enum vms_object_kind kind); /* perhaps NULL */
struct twin *twin_room(void);			     /* NULL: none */

void twin_create(void);
void twin_child(void);
void twin_drop(struct twin *p); /* the handle */
void twin_gone(struct twin *p); /* nobody holds it any more */
void twin_change(void);		/* any operation on the contents */
void twin_reclaim(void);
/* What a branch has for p, as naive_branch(). Nobody has a handle of it. */
struct twin *twin_branch(struct twin *p, struct naive_content **copy);

/* The pager answers all that it was asked. */
void twins_answer(void);
/* It does, and the wait is over: 0: call again, or what the pager failed with. */
int twins_wait(struct vms_wait *wait);

/* Does the library say that a page of a pager's object is clean? False also if it cannot be asked.
 */
bool twins_clean(const struct naive_content *c, unsigned page);

void twin_check(struct twin *p);
void twins_check_all(void);
void twins_check_granted(void);

#endif
