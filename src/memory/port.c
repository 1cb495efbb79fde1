// SPDX-License-Identifier: MIT
/*
 * port.c: ports, and how an access finds its bytes.
 *
 *	addr ─ translator ─→ gpa ─ the port's range, the port's rights ─→ table ─→ entry
 *
 * Invariants
 *
 *	1 all that an access looks up of direct memory is of one root, loaded in its section: the
 *	  slots as they stood at one moment
 *	2 a slow stretch is touched outside the section, with a count of its block. What comes behind
 *	  it is looked up anew: an access through a slow slot is as many accesses as it has pieces
 *	3 an access is translated whole before it touches anything. It is translated again piece by
 *	  piece as it goes: a translator that changes its mind meanwhile ends it there
 *	4 no sum of an address and a length is made that could pass 2^64: lengths are cut first
 *
 * What is asked first of a byte is answered first: translator, range, rights of the port, hole,
 * rights of the slot.
 */
#include "memory/port.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define ACCESS (VMS_SLOT_READ | VMS_SLOT_WRITE)

/* ---- Life ---- */

static int check_params(const struct vms_memory *mem, const struct vms_port_params *p,
			uint64_t *last)
{
	if (p->size < sizeof(*p))
		return fail(-EINVAL, "port: params of %zu bytes, need %zu", p->size, sizeof(*p));
	if (p->flags)
		return fail(-EINVAL, "port: unknown flags %#x", p->flags);
	if (p->rights & ~ACCESS)
		return fail(-EINVAL, "port: rights %#x: only READ and WRITE are", p->rights);
	if (p->translator && !p->translator->translate)
		return fail(-EINVAL, "port: a translator without translate");
	if (p->gpa > mem->space.last || (p->len && !range_last(p->gpa, p->len, last)) ||
	    (p->len && *last > mem->space.last))
		return fail(-ERANGE,
			    "port: %#" PRIx64 " bytes at %#" PRIx64
			    " pass the last address %#" PRIx64,
			    p->len, p->gpa, mem->space.last);
	return 0;
}

int vms_port_create(struct vms_memory *mem, const struct vms_port_params *params,
		    struct vms_port **out)
{
	static const struct vms_port_params all = { .size = sizeof(all) };
	const struct world *w = mem->world;
	const struct vms_port_params *p = params ? params : &all;
	struct vms_port *port;
	uint64_t last = UINT64_MAX;
	int err = check_params(mem, p, &last);

	if (err)
		return err;
	port = w->alloc(w, sizeof(*port));
	if (!port)
		return fail(-ENOMEM, "no memory for a port");
	*port = (struct vms_port){ .mem = vms_memory_ref(mem),
				   .rights = p->rights ? p->rights : ACCESS,
				   .first = p->gpa,
				   .last = last };
	if (p->translator)
		port->translator = *p->translator;
	port->plain = !p->translator && port->rights == ACCESS && p->gpa == 0 && last == UINT64_MAX;
	atomic_init(&port->refs, 1);
	*out = port;
	return 0;
}

struct vms_port *vms_port_ref(struct vms_port *port)
{
	atomic_fetch_add_explicit(&port->refs, 1, memory_order_relaxed);
	return port;
}

void vms_port_unref(struct vms_port *port)
{
	struct vms_memory *mem;

	if (!port || atomic_fetch_sub_explicit(&port->refs, 1, memory_order_acq_rel) != 1)
		return;
	mem = port->mem;
	mem->world->free(mem->world, port, sizeof(*port));
	vms_memory_unref(mem);
}

int vms_enter(struct vms_port *port)
{
	return epoch_enter_inline() ? 0 : -ENOMEM;
}

void vms_leave(struct vms_port *port)
{
	epoch_leave_inline();
	if (__builtin_expect(atomic_load_explicit(&memory_orphans, memory_order_relaxed) != NULL, 0) &&
	    !epoch_inside())
		memory_reap_orphans();
}

/* ---- Looking ---- */

static int translate(const struct vms_port *port, uint64_t addr, uint32_t access, uint64_t *gpa,
		     uint64_t *len)
{
	const struct vms_translator *t = &port->translator;
	uint64_t want = *len;
	int err = t->translate(t->arg, addr, access, gpa, len);

	if (err)
		return err < 0 ? err : -EIO;
	if (*len == 0)
		return -ENXIO;
	if (*len > want)
		*len = want;
	return 0;
}

int port_translate(const struct vms_port *port, uint64_t addr, uint32_t access, uint64_t *gpa,
		   uint64_t *len)
{
	*gpa = addr;
	if (port->translator.translate) {
		int err = translate(port, addr, access, gpa, len);

		if (err)
			return err;
	}
	if (*gpa < port->first || *gpa > port->last)
		return -ERANGE;
	if (access & ~port->rights)
		return -EACCES;
	if (*len - 1 > port->last - *gpa)
		*len = port->last - *gpa + 1;
	return 0;
}

int port_translates(const struct vms_port *port, uint64_t addr, uint64_t len, uint32_t access)
{
	uint64_t room = port_room(addr, len), gpa;

	if (!port->translator.translate)
		return 0;
	for (uint64_t done = 0, n; done < room; done += n) {
		int err;

		n = room - done;
		err = port_translate(port, addr + done, access, &gpa, &n);
		if (err)
			return err;
	}
	return room < len ? -ERANGE : 0;
}

int port_look(const struct vms_port *port, uint64_t root, uint64_t addr, uint64_t len,
	      uint32_t access, struct stretch_at *out)
{
	const struct table_entry *e, *next;
	uint64_t gpa, last;
	int err = port_translate(port, addr, access, &gpa, &len);

	if (err)
		return err;
	e = table_find_span(root, gpa, &last);
	if (!e || !e->at)
		return -ENXIO;
	if (access & ~e->at)
		return -EACCES;
	/* A slot is many entries where it does not fill one of a higher level. */
	while (len - 1 > last - gpa) {
		uint64_t at = last + 1;

		next = table_find_span(root, at, &last);
		if (!next || next->at != e->at || next->more != e->more) {
			len = at - gpa;
			break;
		}
	}
	*out = (struct stretch_at){ .gpa = gpa, .len = len, .entry = *e };
	return 0;
}

uint64_t port_reach(const struct vms_port *port, uint64_t root, uint64_t addr, uint64_t len,
		    uint32_t access, int *status)
{
	uint64_t room = port_room(addr, len), done = 0;
	struct stretch_at s;

	for (; done < room; done += s.len) {
		*status = port_look(port, root, addr + done, room - done, access, &s);
		if (*status)
			return done;
	}
	*status = room < len ? -ERANGE : 0;
	return done;
}

int port_check(const struct vms_port *port, uint64_t root, uint64_t addr, uint64_t len,
	       uint32_t access)
{
	int status;

	port_reach(port, root, addr, len, access, &status);
	return status;
}

int vms_check(struct vms_port *port, uint64_t gpa, uint64_t len, uint32_t access)
{
	bool epoch;
	int err;

	if (!access || access & ~ACCESS)
		return fail(-EINVAL, "check: access %#x: READ, WRITE or both", access);
	epoch = section_begin(port->mem);
	err = port_check(port, table_root(port->mem), gpa, len, access);
	section_end(port->mem, epoch);
	return err;
}

/* ---- Slow stretches ---- */

struct vms_block *slow_take(const struct stretch_at *s, uint64_t *off)
{
	struct vms_block *b = (struct vms_block *)(uintptr_t)s->entry.more;

	*off = (s->entry.at & ~ENTRY_BITS) + s->gpa;
	return object_ref_live(&b->object) ? b : NULL;
}

void slow_drop(struct vms_block *b, uint64_t off, uint64_t gpa, uint64_t written)
{
	if (written && b->bits)
		dirty_wrote(b->mem, dirty_delta(b, off, gpa), gpa, written);
	object_unref(&b->object);
}

/* What an owner of a slow slot may answer. */
static int answered(int err)
{
	return err > 0 ? -EIO : err;
}

static int slow_piece(struct vms_block *b, uint64_t off, void *out, const void *in, uint64_t n)
{
	const struct vms_slow_ops *ops = b->slow;

	if (b->kind == VMS_BLOCK_OBJECT)
		return answered(out ? vms_object_read(b->content, off, out, n, NULL)
				    : vms_object_write(b->content, off, in, n, NULL));
	if (out ? !ops->read : !ops->write)
		return fail(-ENOTSUP, "the slow slot's owner has no %s", out ? "read" : "write");
	return answered(out ? ops->read(b->slow_arg, off, out, n)
			    : ops->write(b->slow_arg, off, in, n));
}

/*
 * An object does all or nothing, and one page that is not there fails what lies before it as well.
 * So then it is asked page by page. A slow slot's owner is asked once.
 */
static uint64_t slow_all(struct vms_block *b, uint64_t off, unsigned char *out,
			 const unsigned char *in, uint64_t n, int *status)
{
	const uint64_t page = b->mem->page_size;
	uint64_t done = 0, here;

	*status = slow_piece(b, off, out, in, n);
	if (!*status)
		return n;
	if (b->kind != VMS_BLOCK_OBJECT || (off & (page - 1)) + n <= page)
		return 0;
	for (; done < n; done += here) {
		here = min_u64(n - done, page - ((off + done) & (page - 1)));
		*status = slow_piece(b, off + done, out ? out + done : NULL, in ? in + done : NULL,
				     here);
		if (*status)
			break;
	}
	return done;
}

uint64_t slow_read(struct vms_block *b, uint64_t off, void *buf, uint64_t n, int *status)
{
	return slow_all(b, off, buf, NULL, n, status);
}

uint64_t slow_write(struct vms_block *b, uint64_t off, const void *buf, uint64_t n, int *status)
{
	return slow_all(b, off, NULL, buf, n, status);
}
