// SPDX-License-Identifier: MIT
/*
 * sized.c: values of 1, 2, 4 and 8 bytes.
 *
 *	hot	a plain port, aligned, direct: one section, one look-up, one test, one access
 *	warm	the same of a port with a range or fewer rights
 *	cold	all else: checked whole, then as bytes
 *
 * Invariants
 *
 *	1 an aligned value of direct memory is one instruction, whatever lies at its address in the
 *	  host, as the host's address is aligned as the guest's is
 *	2 a value is stored whole or not at all, as far as slots, ports and translators say; only the
 *	  owner of a slow slot or a fault can leave a part of an unaligned one
 *
 * A value in the guest's order is "raw" here.
 */
#include <errno.h>

#include "memory/port.h"
#include "memory/touch.h"

#define COLD __attribute__((noinline, cold))

/* ---- Cold ---- */

static COLD int move_cold(struct vms_port *port, uint64_t gpa, unsigned size, const struct move *m)
{
	bool epoch = section_begin(port->mem);
	int err = port_check(port, table_root(port->mem), gpa, size,
			     m->verb == MOVE_READ ? VMS_SLOT_READ : VMS_SLOT_WRITE);

	section_end(port->mem, epoch);
	return err ? err : move_exact(port, gpa, m, size).status;
}

/* ---- Hot ---- */

/* The entry, if it is direct memory with these rights, of an aligned value. => in a section */
TOUCH_INLINE const struct table_entry *find(const struct vms_port *port, uint64_t gpa,
					    unsigned size, uint32_t access)
{
	if (__builtin_expect((gpa & (size - 1)) != 0, 0))
		return NULL;
	return table_find_direct(table_root(port->mem), gpa, access);
}

/* ---- Warm ---- */

static bool in_range(const struct vms_port *port, uint64_t gpa, unsigned size, uint32_t access)
{
	return !recovering() && !port->translator.translate && (access & ~port->rights) == 0 &&
	       gpa >= port->first && gpa <= port->last && port->last - gpa >= size - 1;
}

/* `how`: the size, and whether the bytes are turned round. */
#define SWAP 16u

TOUCH_INLINE uint64_t swapped(uint64_t raw, unsigned size)
{
	return __builtin_bswap64(raw) >> (64 - 8 * size);
}

static __attribute__((noinline)) int load_warm(struct vms_port *port, uint64_t gpa, void *value,
					       unsigned how)
{
	unsigned size = how & (SWAP - 1);
	struct epoch_record *r = in_range(port, gpa, size, VMS_SLOT_READ) && epoch_enter_inline()
					 ? epoch_mine()
					 : NULL;
	const struct table_entry *e = r ? find(port, gpa, size, VMS_SLOT_READ) : NULL;
	unsigned char raw[8];
	int err = 0;

	if (e)
		own_store(raw, size, touch_load(entry_host(e, gpa), size));
	if (r)
		epoch_close(r);
	if (!e)
		err = move_cold(port, gpa, size, &(struct move){ .verb = MOVE_READ, .out = raw });
	if (!err)
		own_store(value, size,
			  how & SWAP ? swapped(own_load(raw, size), size) : own_load(raw, size));
	return err;
}

static __attribute__((noinline)) int store_warm(struct vms_port *port, uint64_t gpa, uint64_t raw,
						unsigned size)
{
	struct epoch_record *r = in_range(port, gpa, size, VMS_SLOT_WRITE) && epoch_enter_inline()
					 ? epoch_mine()
					 : NULL;
	const struct table_entry *e = r ? find(port, gpa, size, VMS_SLOT_WRITE) : NULL;
	unsigned char bytes[8];

	if (e) {
		touch_store(entry_host(e, gpa), size, raw);
		dirty_wrote(port->mem, e->more, gpa, size);
	}
	if (r)
		epoch_close(r);
	if (e)
		return 0;
	own_store(bytes, size, raw);
	return move_cold(port, gpa, size, &(struct move){ .verb = MOVE_WRITE, .in = bytes });
}

/* The hot function found something unusual: it is left, and done again. */
static __attribute__((noinline)) int load_again(struct epoch_record *r, struct vms_port *port,
						uint64_t gpa, void *value, unsigned how)
{
	epoch_close(r);
	return load_warm(port, gpa, value, how);
}

static __attribute__((noinline)) int store_again(struct epoch_record *r, struct vms_port *port,
						 uint64_t gpa, uint64_t raw, unsigned size)
{
	epoch_close(r);
	return store_warm(port, gpa, raw, size);
}

/* ---- The calls ---- */

/* Does a value of this order have its bytes turned round here? */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define LE 0u
#define BE SWAP
#else
#define LE SWAP
#define BE 0u
#endif
#define TURN(bits, order, x) ((order) ? (uint##bits##_t)swapped((x), bits / 8) : (x))

#define LOAD(name, bits, order)                                                     \
	int name(struct vms_port *port, uint64_t gpa, uint##bits##_t *value)        \
	{                                                                           \
		struct epoch_record *r = epoch_mine();                              \
		const struct table_entry *e;                                        \
		uint##bits##_t raw;                                                 \
                                                                                    \
		if (__builtin_expect(!r || !port->plain || recovering(), 0))        \
			return load_warm(port, gpa, value, bits / 8 | (order));     \
		epoch_open(r);                                                      \
		e = find(port, gpa, bits / 8, VMS_SLOT_READ);                       \
		if (__builtin_expect(!e, 0))                                        \
			return load_again(r, port, gpa, value, bits / 8 | (order)); \
		raw = (uint##bits##_t)touch_load(entry_host(e, gpa), bits / 8);     \
		epoch_close(r);                                                     \
		*value = TURN(bits, order, raw);                                    \
		return 0;                                                           \
	}

#define STORE(name, bits, order)                                             \
	int name(struct vms_port *port, uint64_t gpa, uint##bits##_t value)  \
	{                                                                    \
		struct epoch_record *r = epoch_mine();                       \
		uint##bits##_t raw = TURN(bits, order, value);               \
		const struct table_entry *e;                                 \
                                                                             \
		if (__builtin_expect(!r || !port->plain || recovering(), 0)) \
			return store_warm(port, gpa, raw, bits / 8);         \
		epoch_open(r);                                               \
		e = find(port, gpa, bits / 8, VMS_SLOT_WRITE);               \
		if (__builtin_expect(!e, 0))                                 \
			return store_again(r, port, gpa, raw, bits / 8);     \
		touch_store(entry_host(e, gpa), bits / 8, raw);              \
		dirty_wrote(port->mem, e->more, gpa, bits / 8);              \
		epoch_close(r);                                              \
		return 0;                                                    \
	}

LOAD(vms_load8, 8, 0u)
LOAD(vms_load_le16, 16, LE)
LOAD(vms_load_le32, 32, LE)
LOAD(vms_load_le64, 64, LE)
LOAD(vms_load_be16, 16, BE)
LOAD(vms_load_be32, 32, BE)
LOAD(vms_load_be64, 64, BE)
STORE(vms_store8, 8, 0u)
STORE(vms_store_le16, 16, LE)
STORE(vms_store_le32, 32, LE)
STORE(vms_store_le64, 64, LE)
STORE(vms_store_be16, 16, BE)
STORE(vms_store_be32, 32, BE)
STORE(vms_store_be64, 64, BE)
