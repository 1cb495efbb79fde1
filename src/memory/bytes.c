// SPDX-License-Identifier: MIT
/*
 * bytes.c: copies into guest memory, out of it, and inside it.
 *
 *	one page, direct, a plain port	entry → copy → mark: all in one function
 *	all else			stretch by stretch (port.h), upwards
 *
 * Invariants
 *
 *	1 `done` is the length of the run of bytes from the first one on that were all done. A copy
 *	  that goes downwards has done none of these until it has done all
 *	2 what was written is marked after it, before the section ends: exactly the bytes written, or
 *	  after a fault also the rest of the page that was being written
 *	3 a piece of 1, 2, 4 or 8 bytes whose guest address is a multiple of its size is one access
 *	  (touch.h)
 *
 * Which way vms_copy() goes: where the two guest ranges overlap, as they lie; else as the host
 * addresses of their first bytes lie, so two names of the same bytes may overlap.
 */
#include <errno.h>
#include <limits.h>

#include "memory/port.h"
#include "memory/touch.h"

#define PAGE	 UINT64_C(4096) /* of the table: one entry, adjacent in the host */
#define BOUNCE	 4096u
#define FILL_ONE 512u

/* ---- Touching ---- */

/* A copy that may fault, page by page. */
struct careful {
	unsigned char *to;
	const unsigned char *from; /* NULL: fill */
	int byte;
	bool down;
	uint64_t n;
	uint64_t done; /* from the end that it began at */
};

static void touch_carefully(void *arg)
{
	struct careful *c = arg;

	while (c->done < c->n) {
		uint64_t left = c->n - c->done, n = left, at = 0;

		/* A piece ends at the border of a page on either side. */
		if (c->down) {
			n = min_u64(n, (((uintptr_t)c->to + left - 1) & (PAGE - 1)) + 1);
			n = min_u64(n, (((uintptr_t)c->from + left - 1) & (PAGE - 1)) + 1);
			at = left - n;
		} else {
			at = c->done;
			n = min_u64(n, PAGE - (((uintptr_t)c->to + at) & (PAGE - 1)));
			if (c->from)
				n = min_u64(n, PAGE - (((uintptr_t)c->from + at) & (PAGE - 1)));
		}
		if (c->from)
			touch_copy(c->to + at, c->from + at, n);
		else
			touch_fill(c->to + at, c->byte, n);
		atomic_signal_fence(memory_order_seq_cst);
		c->done += n;
	}
}

/*
 * n bytes. Bytes done, from the first one on; *wrote: how many from there on may have been written.
 * guest_from, guest_to: which of the two may fault.
 */
static uint64_t touch_guarded(struct careful *c, bool guest_to, bool guest_from, uint64_t *wrote)
{
	int err = recover_run(touch_carefully, c, (struct touched){ c->to, guest_to ? c->n : 0 },
			      (struct touched){ c->from, guest_from ? c->n : 0 });

	if (!err) {
		*wrote = c->n;
		return c->n;
	}
	*wrote = c->down ? c->n : min_u64(c->n, c->done + PAGE);
	return c->down ? 0 : c->done;
}

/* One stretch of direct memory. Bytes done. */
static uint64_t touch(struct vms_memory *mem, const struct stretch_at *s, const struct move *m,
		      uint64_t at)
{
	unsigned char *host = entry_host(&s->entry, s->gpa);
	uint64_t done = s->len, wrote = done;

	if (recovering()) {
		struct careful c = { .n = s->len, .byte = m->byte };

		c.to = m->verb == MOVE_READ ? m->out + at : host;
		c.from = m->verb == MOVE_READ ? host : m->verb == MOVE_WRITE ? m->in + at : NULL;
		/* The caller's buffer may be the same memory. */
		c.down = c.from && c.to != c.from && (uintptr_t)c.to - (uintptr_t)c.from < c.n;
		done = touch_guarded(&c, m->verb != MOVE_READ, m->verb == MOVE_READ, &wrote);
	} else if (m->verb == MOVE_READ) {
		touch_copy(m->out + at, host, s->len);
	} else if (m->verb == MOVE_WRITE) {
		touch_copy(host, m->in + at, s->len);
	} else {
		touch_fill(host, m->byte, s->len);
	}
	if (m->verb != MOVE_READ)
		dirty_wrote(mem, s->entry.more, s->gpa, wrote);
	return done;
}

/* ---- Any stretches ---- */

static uint64_t slow_fill(struct vms_block *b, uint64_t off, int byte, uint64_t n, int *status)
{
	unsigned char piece[FILL_ONE];
	uint64_t done = 0;

	memset(piece, byte, sizeof(piece));
	*status = 0;
	while (done < n && !*status)
		done += slow_write(b, off + done, piece, min_u64(n - done, sizeof(piece)), status);
	return done;
}

/* A slow stretch: the section is left and there is another one afterwards. Bytes done. */
static uint64_t move_slow(struct vms_memory *mem, bool *epoch, const struct stretch_at *s,
			  const struct move *m, uint64_t at, int *status)
{
	uint64_t off, done = 0;
	struct vms_block *b = slow_take(s, &off);

	section_end(mem, *epoch);
	if (b && m->verb == MOVE_READ)
		done = slow_read(b, off, m->out + at, s->len, status);
	else if (b && m->verb == MOVE_WRITE)
		done = slow_write(b, off, m->in + at, s->len, status);
	else if (b)
		done = slow_fill(b, off, m->byte, s->len, status);
	*epoch = section_begin(mem);
	if (b)
		slow_drop(b, off, s->gpa, m->verb == MOVE_READ ? 0 : done);
	return done;
}

static uint64_t move_all(const struct vms_port *port, uint64_t addr, const struct move *m,
			 uint64_t len, int *status)
{
	struct vms_memory *mem = port->mem;
	uint32_t access = m->verb == MOVE_READ ? VMS_SLOT_READ : VMS_SLOT_WRITE;
	uint64_t room = port_room(addr, len), done = 0, root;
	bool epoch = section_begin(mem), slow = false;
	struct stretch_at s;

	root = table_root(mem);
	*status = port_translates(port, addr, len, access);
	while (!*status && done < room) {
		uint64_t n;

		*status = port_look(port, root, addr + done, room - done, access, &s);
		if (*status)
			break;
		if (s.entry.at & ENTRY_SLOW) {
			n = move_slow(mem, &epoch, &s, m, done, status);
			root = table_root(mem);
			slow = true;
		} else {
			n = touch(mem, &s, m, done);
			if (n < s.len)
				*status = -EFAULT;
		}
		done += n;
	}
	section_end(mem, epoch);
	if (slow)
		memory_reap_soon(mem);
	if (!*status && room < len)
		*status = -ERANGE;
	return done;
}

struct vms_done move_exact(struct vms_port *port, uint64_t addr, const struct move *m, uint64_t len)
{
	struct vms_done r = { 0 };

	r.done = move_all(port, addr, m, len, &r.status);
	return r;
}

/* At least a byte, or a status. */
static struct vms_done partial(struct vms_done r)
{
	if (r.done)
		r.status = 0;
	return r;
}

/* ---- One page ---- */

/*
 * The usual access: a plain port, direct memory, inside one page. The host address, in a section
 * that is to be left by epoch_close(*r); NULL: no, and no section.
 */
TOUCH_INLINE unsigned char *quick_begin(struct vms_port *port, uint64_t gpa, size_t len,
					uint32_t access, struct epoch_record **r, uint64_t *more)
{
	const struct table_entry *e;

	*r = epoch_mine();
	/* Also false for no bytes at all. */
	if (__builtin_expect(
		    len - 1 >= PAGE - (gpa & (PAGE - 1)) || !*r || !port->plain || recovering(), 0))
		return NULL;
	epoch_open(*r);
	e = table_find_direct(table_root(port->mem), gpa, access);
	if (__builtin_expect(!e, 0)) {
		epoch_close(*r);
		return NULL;
	}
	*more = e->more;
	return entry_host(e, gpa);
}

TOUCH_INLINE bool quick_read(struct vms_port *port, uint64_t gpa, void *buf, size_t len)
{
	struct epoch_record *r;
	uint64_t more;
	const unsigned char *host = quick_begin(port, gpa, len, VMS_SLOT_READ, &r, &more);

	if (!host)
		return false;
	touch_copy(buf, host, len);
	epoch_close(r);
	return true;
}

TOUCH_INLINE bool quick_write(struct vms_port *port, uint64_t gpa, const void *buf, size_t len)
{
	struct epoch_record *r;
	uint64_t more;
	unsigned char *host = quick_begin(port, gpa, len, VMS_SLOT_WRITE, &r, &more);

	if (!host)
		return false;
	touch_copy(host, buf, len);
	dirty_wrote(port->mem, more, gpa, len);
	epoch_close(r);
	return true;
}

/* ---- The calls ---- */

struct vms_done vms_read(struct vms_port *port, uint64_t gpa, void *buf, size_t len)
{
	if (quick_read(port, gpa, buf, len))
		return (struct vms_done){ .done = len };
	return partial(move_exact(port, gpa, &(struct move){ .verb = MOVE_READ, .out = buf }, len));
}

struct vms_done vms_write(struct vms_port *port, uint64_t gpa, const void *buf, size_t len)
{
	if (quick_write(port, gpa, buf, len))
		return (struct vms_done){ .done = len };
	return partial(move_exact(port, gpa, &(struct move){ .verb = MOVE_WRITE, .in = buf }, len));
}

struct vms_done vms_read_exact(struct vms_port *port, uint64_t gpa, void *buf, size_t len)
{
	if (quick_read(port, gpa, buf, len))
		return (struct vms_done){ .done = len };
	return move_exact(port, gpa, &(struct move){ .verb = MOVE_READ, .out = buf }, len);
}

struct vms_done vms_write_exact(struct vms_port *port, uint64_t gpa, const void *buf, size_t len)
{
	if (quick_write(port, gpa, buf, len))
		return (struct vms_done){ .done = len };
	return move_exact(port, gpa, &(struct move){ .verb = MOVE_WRITE, .in = buf }, len);
}

struct vms_done vms_fill(struct vms_port *port, uint64_t gpa, int byte, size_t len)
{
	return move_exact(port, gpa, &(struct move){ .verb = MOVE_FILL, .byte = byte }, len);
}

/* ---- Inside the guest ---- */

struct copy {
	struct vms_port *port;
	uint64_t to, from, root;
	bool epoch;
};

static unsigned char *host_of(const struct stretch_at *s)
{
	return s->entry.at & ENTRY_SLOW ? NULL : entry_host(&s->entry, s->gpa);
}

/* Both are direct, and as long as each other. Bytes done. */
static uint64_t copy_direct(struct copy *c, const struct stretch_at *to,
			    const struct stretch_at *from)
{
	struct careful k = { .to = host_of(to), .from = host_of(from), .n = to->len };
	uint64_t done = k.n, wrote = done;

	if (recovering()) {
		k.down = k.to != k.from && (uintptr_t)k.to - (uintptr_t)k.from < k.n;
		done = touch_guarded(&k, true, true, &wrote);
	} else {
		touch_copy(k.to, k.from, k.n);
	}
	dirty_wrote(c->port->mem, to->entry.more, to->gpa, wrote);
	return done;
}

/* One side is slow: through a buffer of ours, outside the section. */
static uint64_t copy_slow(struct copy *c, uint64_t to, uint64_t from, uint64_t n, int *status)
{
	unsigned char piece[BOUNCE];
	struct vms_done r;

	section_end(c->port->mem, c->epoch);
	r = move_exact(c->port, from, &(struct move){ .verb = MOVE_READ, .out = piece }, n);
	*status = r.status;
	if (r.done) {
		r = move_exact(c->port, to, &(struct move){ .verb = MOVE_WRITE, .in = piece },
			       r.done);
		if (r.status)
			*status = r.status;
	}
	c->epoch = section_begin(c->port->mem);
	c->root = table_root(c->port->mem);
	return r.done;
}

/* The stretches at to + at and from + at, cut to the same length of at most n. */
static int copy_look(const struct copy *c, uint64_t at, uint64_t n, struct stretch_at *to,
		     struct stretch_at *from)
{
	int err = port_look(c->port, c->root, c->from + at, n, VMS_SLOT_READ, from);

	if (!err)
		err = port_look(c->port, c->root, c->to + at, n, VMS_SLOT_WRITE, to);
	if (err)
		return err;
	to->len = from->len = min_u64(to->len, from->len);
	return 0;
}

static uint64_t copy_piece(struct copy *c, uint64_t at, struct stretch_at *to,
			   struct stretch_at *from, int *status)
{
	uint64_t done;

	if (!host_of(to) || !host_of(from)) {
		to->len = from->len = min_u64(to->len, BOUNCE);
		return copy_slow(c, c->to + at, c->from + at, to->len, status);
	}
	done = copy_direct(c, to, from);
	if (done < to->len)
		*status = -EFAULT;
	return done;
}

static uint64_t copy_up(struct copy *c, uint64_t n, int *status)
{
	struct stretch_at to, from;
	uint64_t done = 0;

	while (!*status && done < n) {
		*status = copy_look(c, done, n - done, &to, &from);
		if (!*status)
			done += copy_piece(c, done, &to, &from, status);
	}
	return done;
}

/* From the end, in pieces that lie in one page on both sides. */
static uint64_t copy_down(struct copy *c, uint64_t n, int *status)
{
	struct stretch_at to, from;
	uint64_t left = n;

	while (!*status && left) {
		uint64_t here = min_u64(((c->to + (left - 1)) & (PAGE - 1)) + 1,
					((c->from + (left - 1)) & (PAGE - 1)) + 1);

		here = min_u64(here, left);
		/* A translator may know smaller pieces: the last of them. */
		while (!(*status = copy_look(c, left - here, here, &to, &from)) && to.len < here)
			here -= to.len;
		if (*status || copy_piece(c, left - here, &to, &from, status) < here)
			break;
		left -= here;
	}
	return left ? 0 : n;
}

/* n bytes from and to there may be accessed. Downwards? */
static bool goes_down(const struct copy *c, uint64_t n)
{
	struct stretch_at to, from;
	const unsigned char *a, *b;

	if (c->to - c->from < n || c->from - c->to < n)
		return c->to > c->from;
	if (copy_look(c, 0, n, &to, &from))
		return false;
	a = host_of(&to);
	b = host_of(&from);
	return a && b && a > b && (uintptr_t)a - (uintptr_t)b < n;
}

static uint64_t copy_all(struct copy *c, uint64_t len, int *status)
{
	struct stretch_at to, from;
	uint64_t n;
	int why;

	*status = port_translates(c->port, c->from, len, VMS_SLOT_READ);
	if (!*status)
		*status = port_translates(c->port, c->to, len, VMS_SLOT_WRITE);
	if (*status)
		return 0;
	n = min_u64(port_room(c->from, len), port_room(c->to, len));
	if (!copy_look(c, 0, n, &to, &from) && to.len == len && host_of(&to) && host_of(&from))
		return copy_piece(c, 0, &to, &from, status);
	/* Both sides as far as there is anything; then the direction is that of what is copied. */
	n = port_reach(c->port, c->root, c->from, len, VMS_SLOT_READ, &why);
	n = port_reach(c->port, c->root, c->to, n, VMS_SLOT_WRITE, status);
	if (!*status)
		*status = why;
	if (n) {
		int err = 0;
		uint64_t done = goes_down(c, n) ? copy_down(c, n, &err) : copy_up(c, n, &err);

		if (err)
			*status = err;
		n = done;
	}
	return n;
}

struct vms_done vms_copy(struct vms_port *port, uint64_t to, uint64_t from, size_t len)
{
	struct copy c = { .port = port, .to = to, .from = from };
	struct vms_done r = { 0 };

	if (!len)
		return r;
	c.epoch = section_begin(port->mem);
	c.root = table_root(port->mem);
	r.done = copy_all(&c, len, &r.status);
	section_end(port->mem, c.epoch);
	return r;
}
