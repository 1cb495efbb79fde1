/* SPDX-License-Identifier: MIT */
/*
 * cast.h: objects of every kind, made anew for each round of a sweep, and what is seen of them:
 * sizes, charges, bytes, and what their arenas have granted.
 */
#ifndef TESTS_FAIL_CAST_H
#define TESTS_FAIL_CAST_H

#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmspace/object.h"
#include "vmspace/pager.h"
#include "world.h"

#define countof(a) (sizeof(a) / sizeof((a)[0]))
#define LEN	   200u /* pages of most objects: four leaves */

enum who {
	A,  /* anonymous, RESIZABLE; pages 0..3, 62..66, 130 */
	S,  /* a snapshot of A; page 1 written since */
	B,  /* anonymous, a family of its own; pages 10..12 and 70 */
	F,  /* a file of 8 pages */
	O,  /* RESIZABLE, SNAPSHOT_LAZY of F; page 2 written */
	G,  /* filled by a file pager; pages 0..3 there, 1 dirty */
	GO, /* SNAPSHOT_LAZY of G */
	/* A test may have more: */
	S2, /* RESIZABLE, a snapshot of S from page 62 on, 70 pages */
	D,  /* DISCARDABLE; pages 0..2 */
	E,  /* anonymous, of an arena that has granted nothing; 1 GiB */
	BS, /* a slice of B: pages 8..27 */
	ALL
};

struct cast {
	struct vms_arena *arena, *other; /* other: of E */
	struct vms_pager *pager;
	struct vms_object *obj[ALL]; /* NULL: not in this test */
	int fd, backing;	     /* of F and of G */
	size_t live;		     /* allocations that were there before it */
};

extern struct cast cast;
extern struct test_world tw;
extern uint64_t P;
extern unsigned char *buf; /* LEN pages */

/* Around a test. */
int cast_begin(void **state);
int cast_end(void **state);

/* The first seven; and in the end all, with the assertion that nothing was lost. */
void cast_set_up(void);
void cast_tear_down(void);

struct vms_object_params params(uint32_t flags, uint64_t npages);
void put(enum who who, uint64_t first, uint64_t n, int byte);
void anon(struct vms_arena *arena, enum who who, uint32_t flags, uint64_t npages);
void child(enum who who, enum who parent, enum vms_child_kind kind, uint32_t flags, uint64_t first,
	   uint64_t n);

struct facts {
	uint64_t total, owned, pinned, bytes, stream, children;
	uint64_t digest;
};

struct sight {
	struct facts obj[ALL];
	uint64_t granted[2]; /* pages */
};

void cast_look(struct sight *to);
/* How many differences there are; each is printed. charges, content: these count too. */
unsigned cast_differs(const struct sight *want, const struct sight *now, bool charges,
		      bool content);
/* The validators agree. */
void cast_sound(void);

#endif
