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

#include "base/epoch_inline.h"
#include "memory/dirty.h"
#include "memory/memory.h"
#include "vmspace/access.h"

struct vms_port {
	struct vms_memory *mem;		  /* [I] with a reference */
	bool plain;			  /* [I] all addresses, both rights, no translator */
	uint32_t rights;		  /* [I] */
	uint64_t first, last;		  /* [I] */
	struct vms_translator translator; /* [I] translate NULL: none */
	atomic_uint refs;
};

/* False: no record; the lock is held instead. */
static inline bool section_begin(struct vms_memory *mem) UNCHECKED_LOCKS
{
	if (__builtin_expect(epoch_enter_inline(), 1))
		return true;
	lock_take(&mem->space.lock);
	return false;
}

static inline void section_end(struct vms_memory *mem, bool epoch) UNCHECKED_LOCKS
{
	if (__builtin_expect(epoch, 1))
		epoch_leave_inline();
	else
		lock_drop(&mem->space.lock);
}

static inline uint64_t table_root(const struct vms_memory *mem)
{
	return atomic_load_explicit(&mem->table.root, memory_order_acquire);
}

/* A stretch of a port's addresses that has one entry of the table. */
struct stretch_at {
	uint64_t gpa;		  /* after translation */
	uint64_t len;		  /* <= what was asked for */
	struct table_entry entry; /* its rights suffice */
};

/*
 * Where `addr` leads: through the translator, inside the port's range, with the port's rights. *len
 * is cut to what is consecutive there; it is not 0. 0 or a status.
 */
int port_translate(const struct vms_port *port, uint64_t addr, uint32_t access, uint64_t *gpa,
		   uint64_t *len);
/* The same of all of [addr, addr + len), if there is a translator: an access is translated whole
 * before any byte of it is touched. */
int port_translates(const struct vms_port *port, uint64_t addr, uint64_t len, uint32_t access);

/*
 * The stretch at `addr` of at most len bytes, len > 0, for this access: 0 or a status. root: loaded
 * once for the whole access.
 */
int port_look(const struct vms_port *port, uint64_t root, uint64_t addr, uint64_t len,
	      uint32_t access, struct stretch_at *out);
/*
 * How many bytes from `addr` on may be accessed so, at most len; *status: why not more, 0 if they
 * all may.
 */
uint64_t port_reach(const struct vms_port *port, uint64_t root, uint64_t addr, uint64_t len,
		    uint32_t access, int *status);
/* All of [addr, addr + len) may be accessed so: 0 or the status of the first byte that may not. */
int port_check(const struct vms_port *port, uint64_t root, uint64_t addr, uint64_t len,
	       uint32_t access);

/* The bytes from addr on, at most len, that lie below 2^64. */
static inline uint64_t port_room(uint64_t addr, uint64_t len)
{
	return len && len - 1 > UINT64_MAX - addr ? UINT64_MAX - addr + 1 : len;
}

/* ---- Slow stretches ---- */

/*
 * The block of a slow stretch, with a count, and where in it the stretch is; NULL: it has ended
 * meanwhile, so the table is another by now. => in the section that found it
 */
struct vms_block *slow_take(const struct stretch_at *s, uint64_t *off);
/* Bytes done of n, and the status if these are not all. => nothing held */
uint64_t slow_read(struct vms_block *b, uint64_t off, void *buf, uint64_t n, int *status);
uint64_t slow_write(struct vms_block *b, uint64_t off, const void *buf, uint64_t n, int *status);
/* Mark what was written, if anything was, and drop the count. => in a section */
void slow_drop(struct vms_block *b, uint64_t off, uint64_t gpa, uint64_t written);

/* ---- Bytes, for other files (bytes.c) ---- */

enum move_verb { MOVE_READ, MOVE_WRITE, MOVE_FILL };

struct move {
	enum move_verb verb;
	unsigned char *out;	 /* READ */
	const unsigned char *in; /* WRITE */
	int byte;		 /* FILL */
};

/* All len bytes, else the status says why not. */
struct vms_done move_exact(struct vms_port *port, uint64_t addr, const struct move *m,
			   uint64_t len);

/* ---- Spans, for other files (span.c) ---- */

#define SPAN_PARTIAL 1u /* as much as there is and has room, of direct memory; at least a byte */

struct span_piece {
	struct vms_block *block; /* with a count and a pin */
	uint64_t off, len, gpa;
	void *cookie; /* of a slow slot's open */
};

/*
 * Pin [addr, addr + len). With PARTIAL: no more than fits `piece` and iov, *got says how much, and
 * nothing is allocated: `piece` has `room`. Else piece NULL: the pin's own.
 */
int span_take(struct vms_port *port, uint64_t addr, uint64_t len, uint32_t rights, unsigned flags,
	      struct span_piece *piece, unsigned room, struct iovec *iov, int *iovcnt,
	      struct vms_pin *pin, uint64_t *got);
/* A span that is one piece of one direct block: that, and where it is; false: it is not. */
bool span_is_one(const struct vms_pin *pin, struct vms_block **b, uint64_t *off, uint64_t *gpa);

/* ---- Faults (recover.c) ---- */

extern _Atomic(bool) recover_on __attribute__((visibility("hidden")));

/* Bytes of the host that a touch may fault in. */
struct touched {
	const void *at;
	uint64_t n;
};

static inline bool recovering(void)
{
	return __builtin_expect(atomic_load_explicit(&recover_on, memory_order_relaxed), 0);
}

/* fn(arg), which touches these two; 0, or -EFAULT: it was left at a fault in one of them. */
int recover_run(void (*fn)(void *arg), void *arg, struct touched a, struct touched b);

#endif
