/* SPDX-License-Identifier: MIT */
/*
 * spot.h: an address that is worked at: its mapping, found without the space's lock, and what of a
 * content the mapping shows there. Faults and copies of bytes stand on it.
 *
 *	spot_find	the mapping, and its rights		NOT_MAPPED, DENIED
 *	spot_hold	the family's lock: does the mapping	AGAIN
 *			still stand, and how far does what	BEYOND, DISCARDED
 *			it shows reach?
 *	...		what is seen now is shown by this mapping as long as the lock is held
 *	spot_leave	the references go
 *
 * Invariants:
 *	1 between find and leave the object has a reference, and so its content and family live
 *	2 under a hold that said HERE no edit of the mapping is beyond its splice and past its walk
 *	  through the family's lock (rmap.h): what is put into the backend under this hold is taken
 *	  out by whoever changes the mapping
 *	3 who was overtaken by edits too often looks up under the space's lock and keeps it until
 *	  leave: nobody can overtake him then. So every fault comes through, whatever others do. The
 *	  space's lock comes before the family's, and nothing is asked of anybody while it is held.
 *
 * The result of a step is an enum vms_fault_result that ends the call, or one of the two below.
 */
#ifndef SPACE_SPOT_H
#define SPACE_SPOT_H

#include "space/vspace.h"

enum {
	SPOT_HERE = -1,	 /* go on */
	SPOT_AGAIN = -2, /* from the look-up */
};

struct spot {
	struct vms_space *s;
	uint32_t access; /* VMS_PROT_*: all of them are wanted */
	unsigned overtaken;
	bool locked; /* the space's lock is held until leave */
	bool held;   /* m.obj has a reference of ours */
	uint64_t addr;
	struct map m; /* its numbers stay after leave; NOT_MAPPED: the first above, if `above` */
	bool above;
	uint64_t seq;
	struct content *c;
	/* Under the family's lock: */
	uint64_t off;  /* the content's byte at addr */
	uint64_t room; /* bytes from addr to the first end: of mapping, size or stream; > 0 */
};

static inline void spot_init(struct spot *p, struct vms_space *s, uint32_t access)
{
	p->s = s;
	p->access = access;
	p->overtaken = 0;
	p->locked = p->held = false;
}

/* => nothing is held; leave must follow. */
int spot_find(struct spot *p, uint64_t addr);
/*
 * Work at another address of the mapping that was found: inside [m.start, m.last].
 */
static inline void spot_move(struct spot *p, uint64_t addr)
{
	p->addr = addr;
}
/* writes: waits until no gate is closed, as a writer must. The lock is held on return, whatever the
 * result is. */
int spot_hold(struct spot *p, bool writes) ACQUIRES(p->c->family->lock);
void spot_leave(struct spot *p);

/* What the answer of an object's call, which is not 0, means to a fault. */
enum vms_fault_result spot_result(int err);

#endif
