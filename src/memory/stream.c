// SPDX-License-Identifier: MIT
/*
 * stream.c: from a descriptor into guest memory and back, by the host's readv and writev on that
 * memory itself.
 *
 *	batch	as much as one call of the host is given: a pinned span of direct memory, at most
 *		BATCH bytes in IOVECS pieces
 *	piece	slow and managed memory: at most BOUNCE bytes through a buffer of ours
 *
 * Invariants
 *
 *	1 what was moved is contiguous, in the guest and in the stream: after a call of the host that
 *	  moved less than it was given, nothing is moved behind it but by the exact forms, which go on
 *	  where it stopped
 *	2 `done` counts what the host said it moved, on every path; what it read into slow memory
 *	  that refused it is lost to both, and not counted
 *	3 nothing is held but pins while the host is at it
 *	4 a batch is marked by what the host says it wrote; by all of it where the host failed in a way
 *	  that may have written
 */
#include <errno.h>
#include <limits.h>

#include "memory/port.h"

#define BATCH  (UINT64_C(16) << 20)
#define IOVECS 64
#define PIECES 64u
#define BOUNCE 8192u

struct stream {
	struct vms_port *port;
	const struct world *w;
	uint64_t gpa;
	int fd;
	int64_t off; /* of the file, at the first byte; -1: none */
	bool in;     /* into the guest */
};

static uint32_t access_of(const struct stream *s)
{
	return s->in ? VMS_SLOT_WRITE : VMS_SLOT_READ;
}

/* One call of the host, for the bytes from `done` on: what it moved, or a negative errno. */
static int64_t host(const struct stream *s, const struct iovec *iov, int n, uint64_t done)
{
	int64_t off = s->off < 0 ? -1 : s->off + (int64_t)done, r;

	do
		r = s->in ? s->w->readv(s->w, s->fd, iov, n, off)
			  : s->w->writev(s->w, s->fd, iov, n, off);
	while (r == -EINTR);
	return r;
}

/* Errors that say that the host did nothing; after any other it may have written a part. */
static bool did_nothing(int64_t err)
{
	return err == -EAGAIN || err == -EBADF || err == -EINVAL || err == -ESPIPE ||
	       err == -EISDIR;
}

/* What a batch came to: bytes moved of those it was given, and the status if that was an error. */
struct moved {
	uint64_t given, done;
	int status;
};

static struct moved batch(const struct stream *s, uint64_t done, uint64_t len)
{
	struct span_piece piece[PIECES];
	struct iovec iov[IOVECS];
	struct moved m = { 0 };
	struct vms_pin pin;
	int n = IOVECS;
	int64_t r;

	m.status = span_take(s->port, s->gpa + done, min_u64(len, BATCH), access_of(s),
			     SPAN_PARTIAL, piece, PIECES, iov, &n, &pin, &m.given);
	if (m.status)
		return m;
	r = host(s, iov, n, done);
	m.done = r > 0 ? (uint64_t)r : 0;
	m.status = r < 0 ? (int)r : 0;
	vms_span_close(&pin, r < 0 && !did_nothing(r) ? SIZE_MAX : m.done);
	return m;
}

/* The same through a buffer. */
static struct moved bounce(const struct stream *s, uint64_t done, uint64_t len)
{
	unsigned char buf[BOUNCE];
	struct iovec iov = { .iov_base = buf };
	struct moved m = { .given = min_u64(len, BOUNCE) };
	struct vms_done r = { .done = m.given };
	int64_t n;

	if (!s->in)
		r = move_exact(s->port, s->gpa + done,
			       &(struct move){ .verb = MOVE_READ, .out = buf }, m.given);
	m.status = r.status;
	iov.iov_len = r.done;
	if (!r.done)
		return m;
	n = host(s, &iov, 1, done);
	if (n < 0)
		m.status = (int)n;
	else if ((uint64_t)n < r.done)
		m.status = 0; /* short: what lies behind was not asked for */
	m.done = n > 0 ? (uint64_t)n : 0;
	if (s->in && m.done) {
		r = move_exact(s->port, s->gpa + done,
			       &(struct move){ .verb = MOVE_WRITE, .in = buf }, m.done);
		m.done = r.done;
		if (r.status)
			m.status = r.status;
	}
	return m;
}

/* Slow or managed memory begins at `done`: how much of it there is in one stretch. */
static uint64_t slow_room(const struct stream *s, uint64_t done, uint64_t len, int *status)
{
	struct vms_memory *mem = s->port->mem;
	bool epoch = section_begin(mem);
	struct stretch_at at = { 0 };

	*status = port_look(s->port, table_root(mem), s->gpa + done, len, access_of(s), &at);
	section_end(mem, epoch);
	return at.len;
}

static struct moved step(const struct stream *s, uint64_t done, uint64_t len)
{
	struct moved m = batch(s, done, len);

	if (m.status != -ENOTSUP || m.given)
		return m;
	len = slow_room(s, done, len, &m.status);
	return m.status ? m : bounce(s, done, len);
}

static int check(const struct stream *s, uint64_t len)
{
	bool epoch;
	int err;

	if (s->off < -1 || (s->off >= 0 && len > (uint64_t)INT64_MAX - (uint64_t)s->off))
		return fail(-EINVAL, "stream: %llu bytes at offset %lld of a file",
			    (unsigned long long)len, (long long)s->off);
	if (!s->port->translator.translate)
		return 0;
	epoch = section_begin(s->port->mem);
	err = port_translates(s->port, s->gpa, len, access_of(s));
	section_end(s->port->mem, epoch);
	return err;
}

static struct vms_done stream(struct vms_port *port, uint64_t gpa, int fd, uint64_t len,
			      int64_t off, bool in, bool exact)
{
	struct stream s = {
		.port = port, .w = port->mem->world, .gpa = gpa, .fd = fd, .off = off, .in = in
	};
	struct vms_done r = { 0 };
	uint64_t room = port_room(gpa, len);

	if (!len)
		return r;
	r.status = check(&s, len);
	while (!r.status && r.done < room) {
		struct moved m = step(&s, r.done, room - r.done);

		r.done += m.done;
		r.status = m.status;
		if (m.status || m.done == m.given)
			continue;
		/* Short. */
		if (!exact)
			return r;
		if (!m.done)
			r.status = -ENODATA;
	}
	if (!r.status && room < len)
		r.status = -ERANGE;
	if (!exact && r.done)
		r.status = 0;
	return r;
}

struct vms_done vms_recv(struct vms_port *port, uint64_t gpa, int fd, size_t len, int64_t off)
{
	return stream(port, gpa, fd, len, off, true, false);
}

struct vms_done vms_send(struct vms_port *port, uint64_t gpa, int fd, size_t len, int64_t off)
{
	return stream(port, gpa, fd, len, off, false, false);
}

struct vms_done vms_recv_exact(struct vms_port *port, uint64_t gpa, int fd, size_t len, int64_t off)
{
	return stream(port, gpa, fd, len, off, true, true);
}

struct vms_done vms_send_exact(struct vms_port *port, uint64_t gpa, int fd, size_t len, int64_t off)
{
	return stream(port, gpa, fd, len, off, false, true);
}
