/* SPDX-License-Identifier: MIT */
/*
 * port.h: a way to a memory, and how an access finds its bytes.
 *
 *	section_begin → look ... → touch, mark → section_end
 *
 * A section is one of the epochs; a thread that can have no record takes the memory's lock instead,
 * which publishers hold: what it looks up stays for that long too.
 */
#ifndef MEMORY_PORT_H
#define MEMORY_PORT_H

#include "memory/dirty.h"
#include "memory/memory.h"
#include "vmspace/access.h"

struct vms_port {
	struct vms_memory *mem; /* [I] with a reference */
	bool plain;		/* [I] all addresses, both rights, no translator */
	uint32_t rights;	/* [I] */
	uint64_t first, last;	/* [I] */
	struct vms_translator translator; /* [I] translate NULL: none */
	atomic_uint refs;
};

/* False: no record; the lock is held instead. */
static inline bool section_begin(struct vms_memory *mem) UNCHECKED_LOCKS
{
	if (__builtin_expect(epoch_enter(), 1))
		return true;
	lock_take(&mem->space.lock);
	return false;
}

static inline void section_end(struct vms_memory *mem, bool epoch) UNCHECKED_LOCKS
{
	if (__builtin_expect(epoch, 1))
		epoch_leave();
	else
		lock_drop(&mem->space.lock);
}

/* A stretch of a port's addresses that has one entry of the table. */
struct stretch_at {
	uint64_t gpa;	 /* after translation */
	uint64_t len;	 /* <= what was asked for */
	struct table_entry entry; /* its rights suffice */
};

/*
 * The stretch at `addr` of at most len bytes, len > 0, for this access: 0 or a status. root: loaded
 * once for the whole access. A translated access is to be checked whole first (port_check).
 */
int port_look(const struct vms_port *port, uint64_t root, uint64_t addr, uint64_t len,
	      uint32_t access, struct stretch_at *out);
/* All of [addr, addr + len) may be accessed so: 0 or the status of the first byte that may not. */
int port_check(const struct vms_port *port, uint64_t root, uint64_t addr, uint64_t len,
	       uint32_t access);

#endif
