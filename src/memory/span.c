// SPDX-License-Identifier: MIT
/*
 * span.c: guest memory as host memory, for system calls and DMA.
 *
 *	section: look at each slot → a count of each block → still the same slots? → pin
 *	left:    open the slow ones → iovecs
 *	close:   close the slow ones → mark what was written → unpin → drop the counts
 *
 *	piece	a run of guest addresses that shows consecutive bytes of one block. It has a count
 *		and a pin
 *
 * The slots are read from the tree (tree_read), which knows the blocks; the table does not. A
 * borrowed span needs no block, so it takes the table.
 *
 * Invariants
 *
 *	1 a span's pieces stood all at one moment: the tree's count was the same before the first look
 *	  and after the last block was counted. Where that cannot be had, the lock is held instead
 *	2 from pinning to close each piece has a count and a pin of its block. An open that fails
 *	  leaves neither
 *	3 no owner of a slow slot is called in a section or under a lock
 *	4 what counts as written are the first `written` bytes of a WRITE span: of each block, and by
 *	  the guest addresses as they were when the span was opened
 *	5 a pin that is closed has no pieces: to close it again does nothing
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "memory/port.h"

#define OWN   4u /* pieces in the caller's pin */
#define TRIES 4u /* without the lock */
/* Beside statuses, which are not above 0. */
#define BUSY 1 /* the slots changed while they were looked at */
#define MORE 2 /* there are more pieces than there is room for */

struct __attribute__((__may_alias__)) span {
	struct vms_memory *mem;	  /* held by the blocks */
	struct span_piece *piece; /* NULL: own */
	unsigned n, room;
	uint32_t rights;
	bool allocated;
	struct span_piece own[OWN];
};

_Static_assert(sizeof(struct span) <= sizeof(struct vms_pin), "a span fits its pin");

static struct span *span_of(struct vms_pin *pin)
{
	return (struct span *)(void *)pin;
}

static struct span_piece *pieces_of(struct span *s)
{
	return s->piece ? s->piece : s->own;
}

static bool is_slow(const struct vms_block *b)
{
	return b->kind == VMS_BLOCK_SLOW;
}

/* ---- Looking ---- */

struct looking {
	const struct vms_port *port;
	uint64_t addr, len;
	uint32_t rights;
	bool partial;
	bool locked;
	uint64_t seq; /* the tree's, at the first look */
	bool first;   /* look */
	struct span_piece *piece;
	unsigned n, room;    /* n may pass room: then none of it counts */
	int n_iov, room_iov; /* partial: n_iov stays below room_iov */
	uint64_t got;
};

/* The slot that holds gpa: 0, -ENXIO or BUSY. */
static int find_slot(struct looking *k, uint64_t gpa, struct map *m)
{
	const struct tree *t = &k->port->mem->space.tree;
	uint64_t seq = 0;
	bool found;

	if (k->locked) {
		found = tree_find(t, gpa, m);
	} else {
		enum tree_look r = tree_read(t, gpa, m, &seq);

		if (r == TREE_BUSY || (!k->first && seq != k->seq))
			return BUSY;
		k->seq = seq;
		k->first = false;
		found = r == TREE_FOUND;
	}
	return found && m->start <= gpa ? 0 : -ENXIO;
}

static unsigned char *host_at(const struct vms_block *b, uint64_t off)
{
	return is_slow(b) ? NULL : b->hva + off;
}

/* Does a piece at p go on as [off, ..) of b at gpa? */
static bool continues(const struct span_piece *p, const struct vms_block *b, uint64_t off,
		      uint64_t gpa)
{
	return p->block == b && p->off + p->len == off && p->gpa + p->len == gpa;
}

/* [gpa, gpa + len) of slot m is the next part of the span. False: no room (partial). */
static bool add(struct looking *k, const struct map *m, uint64_t gpa, uint64_t len)
{
	struct vms_block *b = block_of(m->obj);
	uint64_t off = m->off + (gpa - m->start);
	struct span_piece *last = k->n && k->n <= k->room ? &k->piece[k->n - 1] : NULL;
	bool joins = last && !is_slow(b) && !is_slow(last->block) &&
		     host_at(last->block, last->off + last->len) == host_at(b, off);

	if (last && continues(last, b, off, gpa)) {
		last->len += len;
		return true;
	}
	if (k->partial && (k->n == k->room || (!joins && k->n_iov == k->room_iov)))
		return false;
	if (k->n < k->room)
		k->piece[k->n] =
			(struct span_piece){ .block = b, .off = off, .len = len, .gpa = gpa };
	k->n++;
	k->n_iov += !joins;
	return true;
}

/* All slots of [gpa, gpa + len): 0, a status or BUSY; *got: bytes before that. */
static int look_at_slots(struct looking *k, uint64_t gpa, uint64_t len, bool *full)
{
	uint64_t done = 0;

	while (done < len && !*full) {
		struct vms_block *b;
		struct map m;
		uint64_t n;
		int err = find_slot(k, gpa + done, &m);

		if (err)
			return err;
		if (k->rights & ~m.prot)
			return -EACCES;
		b = block_of(m.obj);
		if (!b->hva && (!is_slow(b) || k->partial))
			return -ENOTSUP;
		n = len - done;
		if (n - 1 > m.last - (gpa + done))
			n = m.last - (gpa + done) + 1;
		if (!add(k, &m, gpa + done, n)) {
			*full = true;
			return 0;
		}
		done += n;
		k->got += n;
	}
	return 0;
}

static int look(struct looking *k)
{
	uint64_t room = port_room(k->addr, k->len);
	bool full = false;
	int err;

	k->first = true;
	k->n = 0;
	k->n_iov = 0;
	k->got = 0;
	err = port_translates(k->port, k->addr, k->len, k->rights);
	while (!err && k->got < room && !full) {
		uint64_t gpa, n = room - k->got;

		err = port_translate(k->port, k->addr + k->got, k->rights, &gpa, &n);
		if (!err)
			err = look_at_slots(k, gpa, n, &full);
	}
	if (!err && room < k->len && k->got == room)
		err = -ERANGE;
	return k->partial && k->got && err < 0 ? 0 : err;
}

/* A count and a pin of each block: 0, or BUSY and none. First the pins, then the look: who unmaps
 * the block and removes it finds them. */
static int hold(struct looking *k)
{
	unsigned i;

	for (i = 0; i < k->n; i++) {
		struct vms_block *b = k->piece[i].block;

		if (!object_ref_live(&b->object))
			break;
		if (!block_pin(b)) {
			object_unref(&b->object);
			break;
		}
	}
	if (i == k->n && (k->locked || !k->n || tree_seq(&k->port->mem->space.tree) == k->seq))
		return 0;
	while (i-- > 0) {
		block_unpin(k->piece[i].block);
		object_unref(&k->piece[i].block->object);
	}
	return BUSY;
}

/* Room for what was seen, or no try that could end well. */
static int seen(struct looking *k, int err)
{
	return err ? err : k->n > k->room ? MORE : hold(k);
}

static int look_and_hold(struct looking *k) UNCHECKED_LOCKS
{
	struct vms_memory *mem = k->port->mem;
	int err = BUSY;

	for (unsigned i = 0; i < TRIES && err == BUSY && epoch_enter_inline(); i++) {
		k->locked = false;
		err = seen(k, look(k));
		epoch_leave_inline();
	}
	if (err == BUSY) {
		k->locked = true;
		lock_take(&mem->space.lock);
		err = seen(k, look(k));
		lock_drop(&mem->space.lock);
	}
	return err;
}

/* ---- Opening ---- */

static void drop_pieces(struct span *s)
{
	const struct span_piece *piece = pieces_of(s);

	for (unsigned i = 0; i < s->n; i++) {
		block_unpin(piece[i].block);
		object_unref(&piece[i].block->object);
	}
	s->n = 0;
}

static void free_pieces(struct span *s, const struct world *w)
{
	if (s->allocated)
		w->free(w, s->piece, s->room * sizeof(*s->piece));
	s->allocated = false;
	s->n = 0;
}

/* Room for n pieces. */
static int make_room(struct span *s, unsigned n, const struct world *w)
{
	free_pieces(s, w);
	s->room = n + OWN; /* there may be more by the next look */
	s->piece = w->alloc(w, s->room * sizeof(*s->piece));
	if (!s->piece)
		return -ENOMEM; /* its own, then: none */
	s->allocated = true;
	return 0;
}

static int close_slow(struct span_piece *p, uint64_t written)
{
	const struct vms_slow_ops *ops = p->block->slow;
	int err = ops->close ? ops->close(p->block->slow_arg, p->cookie, written) : 0;

	return err > 0 ? -EIO : err;
}

static int open_slow(struct span_piece *p, uint32_t rights, void **hva)
{
	const struct vms_slow_ops *ops = p->block->slow;
	int err = -ENOTSUP;

	*hva = NULL;
	if (ops->open)
		err = ops->open(p->block->slow_arg, p->off, p->len, rights, hva, &p->cookie);
	if (err > 0 || (!err && !*hva))
		err = -EIO;
	return err;
}

/* The iovecs, of which there are as many as were counted. An error: what was opened is closed. */
static int fill(struct span *s, struct iovec *iov, int *iovcnt)
{
	struct span_piece *piece = pieces_of(s);
	unsigned char *end = NULL; /* of the iovec before, if it is direct */
	int n = 0;

	for (unsigned i = 0; i < s->n; i++) {
		struct span_piece *p = &piece[i];
		void *at = host_at(p->block, p->off);
		int err = at ? 0 : open_slow(p, s->rights, &at);

		if (err) {
			while (i-- > 0)
				if (is_slow(piece[i].block))
					close_slow(&piece[i], 0);
			return err;
		}
		if (end && at == end)
			iov[n - 1].iov_len += p->len;
		else
			iov[n++] = (struct iovec){ .iov_base = at, .iov_len = p->len };
		end = is_slow(p->block) ? NULL : (unsigned char *)at + p->len;
	}
	*iovcnt = n;
	return 0;
}

int span_take(struct vms_port *port, uint64_t addr, uint64_t len, uint32_t rights, unsigned flags,
	      struct span_piece *piece, unsigned room, struct iovec *iov, int *iovcnt,
	      struct vms_pin *pin, uint64_t *got)
{
	const struct world *w = port->mem->world;
	struct span *s = span_of(pin);
	struct looking k = { .port = port,
			     .addr = addr,
			     .len = len,
			     .rights = rights,
			     .partial = flags & SPAN_PARTIAL,
			     .room_iov = *iovcnt };
	int err;

	s->mem = port->mem;
	s->rights = rights;
	s->allocated = false;
	s->n = 0;
	s->piece = piece;
	s->room = piece ? room : OWN;
	do {
		k.piece = pieces_of(s);
		k.room = s->room;
		err = look_and_hold(&k);
	} while (err == MORE && !(err = make_room(s, k.n, w)));
	if (!err) {
		s->n = k.n;
		if (k.n_iov > *iovcnt) {
			err = -ENOSPC;
			*iovcnt = k.n_iov;
		} else {
			err = fill(s, iov, iovcnt);
		}
		if (err)
			drop_pieces(s);
	}
	if (err)
		free_pieces(s, w);
	*got = err ? 0 : k.got;
	return err;
}

static int check(const char *what, uint32_t rights, const int *iovcnt)
{
	if (!rights || rights & ~(VMS_SLOT_READ | VMS_SLOT_WRITE))
		return fail(-EINVAL, "%s: rights %#x: READ, WRITE or both", what, rights);
	if (*iovcnt < 0)
		return fail(-EINVAL, "%s: room for %d iovecs", what, *iovcnt);
	return 0;
}

static int refused(const char *what, int err, uint64_t gpa, size_t len)
{
	if (err == -ENOTSUP)
		fail(err,
		     "%s: there is managed memory, or slow memory that its owner does not open, "
		     "in %#zx bytes at %#llx",
		     what, len, (unsigned long long)gpa);
	return err;
}

int vms_span_open(struct vms_port *port, uint64_t gpa, size_t len, uint32_t rights,
		  struct iovec *iov, int *iovcnt, struct vms_pin *pin)
{
	uint64_t got;
	int err = check("span", rights, iovcnt);

	if (err)
		return err;
	if (len == 0) {
		*iovcnt = 0;
		span_of(pin)->n = 0;
		span_of(pin)->allocated = false;
		return 0;
	}
	err = span_take(port, gpa, len, rights, 0, NULL, 0, iov, iovcnt, pin, &got);
	if (err)
		memory_reap_soon(port->mem);
	return refused("span", err, gpa, len);
}

/* ---- Closing ---- */

int vms_span_close(struct vms_pin *pin, size_t written)
{
	struct span *s = span_of(pin);
	struct vms_memory *mem = s->mem;
	uint64_t left = s->rights & VMS_SLOT_WRITE ? written : 0;
	int status = 0;

	if (!s->n)
		return 0;
	/* The last block may be all that keeps the memory. */
	memory_hold(mem);
	for (unsigned i = 0; i < s->n; i++) {
		struct span_piece *p = &pieces_of(s)[i];
		uint64_t n = min_u64(left, p->len);
		int err = is_slow(p->block) ? close_slow(p, n) : 0;

		if (n && p->block->bits)
			dirty_wrote(mem, dirty_delta(p->block, p->off, p->gpa), p->gpa, n);
		if (!status)
			status = err;
		left -= n;
	}
	drop_pieces(s);
	free_pieces(s, mem->world);
	memory_reap_soon(mem);
	memory_let_go(mem);
	return status;
}

bool span_is_one(const struct vms_pin *pin, struct vms_block **b, uint64_t *off, uint64_t *gpa)
{
	const struct span *s = (const struct span *)(const void *)pin;
	const struct span_piece *p = s->piece ? s->piece : s->own;

	if (s->n != 1 || is_slow(p->block))
		return false;
	*b = p->block;
	*off = p->off;
	*gpa = p->gpa;
	return true;
}

/* ---- Borrowing ---- */

struct borrowed {
	uint64_t more, gpa, len;
};

#define MARKS 9u /* as access.h says */

struct __attribute__((__may_alias__)) loan {
	struct vms_memory *mem;
	uint64_t n;
	struct borrowed mark[MARKS]; /* of a WRITE span */
};

_Static_assert(sizeof(struct loan) <= sizeof(struct vms_pin), "a loan fits its pin");

/* A stretch more. */
static int lend(struct loan *l, const struct stretch_at *s, uint32_t rights)
{
	struct borrowed *last = l->n ? &l->mark[l->n - 1] : NULL;

	if (!(rights & VMS_SLOT_WRITE))
		return 0;
	if (last && last->more == s->entry.more && last->gpa + last->len == s->gpa) {
		last->len += s->len;
		return 0;
	}
	if (l->n == MARKS)
		return -ENOTSUP;
	l->mark[l->n++] = (struct borrowed){ s->entry.more, s->gpa, s->len };
	return 0;
}

/* The iovecs as far as there is room; *n: how many there are. */
static void lend_iov(const struct stretch_at *s, struct iovec *iov, int room, int *n,
		     unsigned char **end)
{
	unsigned char *at = entry_host(&s->entry, s->gpa);

	if (*n && at == *end) {
		if (*n <= room)
			iov[*n - 1].iov_len += s->len;
	} else {
		if (*n < room)
			iov[*n] = (struct iovec){ .iov_base = at, .iov_len = s->len };
		++*n;
	}
	*end = at + s->len;
}

static int borrow(struct vms_port *port, uint64_t gpa, size_t len, uint32_t rights,
		  struct iovec *iov, int *iovcnt, struct loan *l)
{
	uint64_t root = table_root(port->mem), room = port_room(gpa, len);
	unsigned char *end = NULL;
	int err = port_translates(port, gpa, len, rights), n = 0;
	struct stretch_at s;

	for (uint64_t done = 0; !err && done < room; done += s.len) {
		err = port_look(port, root, gpa + done, room - done, rights, &s);
		if (!err && s.entry.at & ENTRY_SLOW)
			err = -ENOTSUP;
		if (!err)
			err = lend(l, &s, rights);
		if (!err)
			lend_iov(&s, iov, *iovcnt, &n, &end);
	}
	if (!err && room < len)
		err = -ERANGE;
	if (!err && n > *iovcnt)
		err = -ENOSPC;
	if (!err || err == -ENOSPC)
		*iovcnt = n;
	return err;
}

int vms_span_borrow(struct vms_port *port, uint64_t gpa, size_t len, uint32_t rights,
		    struct iovec *iov, int *iovcnt, struct vms_pin *pin)
{
	struct loan *l = (struct loan *)(void *)pin;
	int err = check("borrow", rights, iovcnt);

	if (err)
		return err;
	if (!epoch_inside())
		return fail(-EINVAL, "borrow: not in a bracket (vms_enter)");
	l->mem = port->mem;
	l->n = 0;
	err = borrow(port, gpa, len, rights, iov, iovcnt, l);
	if (err)
		l->n = 0;
	if (err == -ENOTSUP)
		fail(err,
		     "borrow: slow or managed memory, or more than %u slots, in %#zx bytes at "
		     "%#llx",
		     MARKS, len, (unsigned long long)gpa);
	return err;
}

void vms_span_wrote(const struct vms_pin *pin, size_t written)
{
	const struct loan *l = (const struct loan *)(const void *)pin;
	uint64_t left = written;

	for (uint64_t i = 0; i < l->n && left; i++) {
		const struct borrowed *m = &l->mark[i];
		uint64_t n = min_u64(left, m->len);

		dirty_wrote(l->mem, m->more, m->gpa, n);
		left -= n;
	}
}
