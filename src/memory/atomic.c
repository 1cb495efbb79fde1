// SPDX-License-Identifier: MIT
/*
 * atomic.c: one operation on an aligned value of direct memory, with a memory order.
 *
 *	arguments → the whole value in one stretch → rights, alignment after translation → the
 *	operation → mark, if something was stored
 *
 * The order is one of the compiler's. Where it has finer shades than we keep apart we take the
 * stronger one: what reads and writes is relaxed or sequentially consistent.
 */
#include <errno.h>

#include "memory/port.h"
#include "memory/touch.h"

enum verb { LOAD, STORE, FETCH, CAS };

struct job {
	enum verb verb;
	enum vms_atomic_op op; /* FETCH */
	unsigned size;
	int order;
	unsigned char *at;
	uint64_t value;	   /* stored, operand, desired */
	uint64_t expected; /* CAS */
	uint64_t old;	   /* what stood there: all but STORE */
	bool swapped;
};

/* ---- The operations ---- */

#define LOADS(type)                                                           \
	switch (j->order) {                                                   \
	case __ATOMIC_RELAXED:                                                \
		j->old = __atomic_load_n((const type *)at, __ATOMIC_RELAXED); \
		break;                                                        \
	case __ATOMIC_SEQ_CST:                                                \
		j->old = __atomic_load_n((const type *)at, __ATOMIC_SEQ_CST); \
		break;                                                        \
	default:                                                              \
		j->old = __atomic_load_n((const type *)at, __ATOMIC_ACQUIRE); \
	}

#define STORES(type)                                                            \
	switch (j->order) {                                                     \
	case __ATOMIC_RELAXED:                                                  \
		__atomic_store_n((type *)at, (type)j->value, __ATOMIC_RELAXED); \
		break;                                                          \
	case __ATOMIC_RELEASE:                                                  \
		__atomic_store_n((type *)at, (type)j->value, __ATOMIC_RELEASE); \
		break;                                                          \
	default:                                                                \
		__atomic_store_n((type *)at, (type)j->value, __ATOMIC_SEQ_CST); \
	}

#define FETCHES(type, o)                                                     \
	switch (j->op) {                                                     \
	case VMS_ATOMIC_EXCHANGE:                                            \
		j->old = __atomic_exchange_n((type *)at, (type)j->value, o); \
		break;                                                       \
	case VMS_ATOMIC_ADD:                                                 \
		j->old = __atomic_fetch_add((type *)at, (type)j->value, o);  \
		break;                                                       \
	case VMS_ATOMIC_SUB:                                                 \
		j->old = __atomic_fetch_sub((type *)at, (type)j->value, o);  \
		break;                                                       \
	case VMS_ATOMIC_AND:                                                 \
		j->old = __atomic_fetch_and((type *)at, (type)j->value, o);  \
		break;                                                       \
	case VMS_ATOMIC_OR:                                                  \
		j->old = __atomic_fetch_or((type *)at, (type)j->value, o);   \
		break;                                                       \
	case VMS_ATOMIC_XOR:                                                 \
		j->old = __atomic_fetch_xor((type *)at, (type)j->value, o);  \
		break;                                                       \
	}

#define CASES(type, o)                                                                \
	do {                                                                          \
		type old_ = (type)j->expected;                                        \
                                                                                      \
		j->swapped = __atomic_compare_exchange_n(                             \
			(type *)at, &old_, (type)j->value, false, o,                  \
			o == __ATOMIC_RELAXED ? __ATOMIC_RELAXED : __ATOMIC_SEQ_CST); \
		j->old = old_;                                                        \
	} while (0)

#define PERFORM(type)                                           \
	static void perform_##type(struct job *j)               \
	{                                                       \
		void *at = j->at;                               \
                                                                \
		switch (j->verb) {                              \
		case LOAD:                                      \
			LOADS(type)                             \
			break;                                  \
		case STORE:                                     \
			STORES(type)                            \
			break;                                  \
		case FETCH:                                     \
			if (j->order == __ATOMIC_RELAXED)       \
				FETCHES(type, __ATOMIC_RELAXED) \
			else                                    \
				FETCHES(type, __ATOMIC_SEQ_CST) \
			break;                                  \
		case CAS:                                       \
			if (j->order == __ATOMIC_RELAXED)       \
				CASES(type, __ATOMIC_RELAXED);  \
			else                                    \
				CASES(type, __ATOMIC_SEQ_CST);  \
			break;                                  \
		}                                               \
	}

PERFORM(touch_u8)
PERFORM(touch_u16)
PERFORM(touch_u32)
PERFORM(touch_u64)

static void perform(void *arg)
{
	struct job *j = arg;

	switch (j->size) {
	case 1:
		perform_touch_u8(j);
		break;
	case 2:
		perform_touch_u16(j);
		break;
	case 4:
		perform_touch_u32(j);
		break;
	default:
		perform_touch_u64(j);
	}
}

/* ---- An access ---- */

static bool order_fits(enum verb verb, int order)
{
	switch (order) {
	case __ATOMIC_RELAXED:
	case __ATOMIC_SEQ_CST:
		return true;
	case __ATOMIC_CONSUME:
	case __ATOMIC_ACQUIRE:
		return verb != STORE;
	case __ATOMIC_RELEASE:
		return verb != LOAD;
	case __ATOMIC_ACQ_REL:
		return verb == FETCH || verb == CAS;
	default:
		return false;
	}
}

static int check(const struct job *j, uint64_t gpa)
{
	if (!is_pow2(j->size) || j->size > 8)
		return fail(-EINVAL, "atomic: size %u is none of 1, 2, 4, 8", j->size);
	if (gpa & (j->size - 1))
		return fail(-EINVAL, "atomic: %#llx is no multiple of %u", (unsigned long long)gpa,
			    j->size);
	if (!order_fits(j->verb, j->order))
		return fail(-EINVAL, "atomic: memory order %d does not fit", j->order);
	if (j->verb == FETCH && (unsigned)j->op > VMS_ATOMIC_XOR)
		return fail(-EINVAL, "atomic: unknown operation %d", (int)j->op);
	return 0;
}

static uint32_t access_of(enum verb verb)
{
	return verb == LOAD    ? VMS_SLOT_READ
	       : verb == STORE ? VMS_SLOT_WRITE
			       : VMS_SLOT_READ | VMS_SLOT_WRITE;
}

/* An aligned value lies in one page: for a plain port one look is enough. => in a section */
static int look(const struct vms_port *port, uint64_t gpa, const struct job *j,
		struct stretch_at *s)
{
	uint64_t root = table_root(port->mem);
	uint32_t access = access_of(j->verb);
	const struct table_entry *e;
	int err;

	if (port->plain) {
		e = table_find(root, gpa);
		if (!e || !e->at)
			return -ENXIO;
		*s = (struct stretch_at){ .gpa = gpa, .len = j->size, .entry = *e };
		return access & ~e->at ? -EACCES : 0;
	}
	err = port_look(port, root, gpa, j->size, access, s);
	if (err || s->len == j->size)
		return err;
	/* The port ends, or its translator knows smaller pieces. */
	err = port_check(port, root, gpa, j->size, access);
	return err ? err : -EINVAL;
}

/* => in a section */
static int in_section(struct vms_port *port, uint64_t gpa, struct job *j)
{
	struct stretch_at s;
	int err = look(port, gpa, j, &s);

	if (err)
		return err;
	if (s.gpa & (j->size - 1))
		return -EINVAL;
	if (s.entry.at & ENTRY_SLOW)
		return -ENOTSUP;
	j->at = entry_host(&s.entry, s.gpa);
	if (!recovering())
		perform(j);
	else
		err = recover_run(perform, j, (struct touched){ j->at, j->size },
				  (struct touched){ 0 });
	if (!err && (j->verb == STORE || j->verb == FETCH || j->swapped))
		dirty_wrote(port->mem, s.entry.more, s.gpa, j->size);
	return err;
}

static int atomic_access(struct vms_port *port, uint64_t gpa, struct job *j)
{
	int err = check(j, gpa);
	bool epoch;

	if (err)
		return err;
	epoch = section_begin(port->mem);
	err = in_section(port, gpa, j);
	section_end(port->mem, epoch);
	if (err == -ENOTSUP)
		return fail(err, "atomic: %#llx is slow or managed memory",
			    (unsigned long long)gpa);
	if (err == -EINVAL)
		return fail(err, "atomic: %#llx is translated to pieces or out of alignment",
			    (unsigned long long)gpa);
	return err;
}

int vms_atomic_load(struct vms_port *port, uint64_t gpa, unsigned size, int order, uint64_t *value)
{
	struct job j = { .verb = LOAD, .size = size, .order = order };
	int err = atomic_access(port, gpa, &j);

	if (!err)
		*value = j.old;
	return err;
}

int vms_atomic_store(struct vms_port *port, uint64_t gpa, unsigned size, int order, uint64_t value)
{
	struct job j = { .verb = STORE, .size = size, .order = order, .value = value };

	return atomic_access(port, gpa, &j);
}

int vms_atomic_fetch(struct vms_port *port, uint64_t gpa, unsigned size, int order,
		     enum vms_atomic_op op, uint64_t operand, uint64_t *old)
{
	struct job j = { .verb = FETCH, .op = op, .size = size, .order = order, .value = operand };
	int err = atomic_access(port, gpa, &j);

	if (!err && old)
		*old = j.old;
	return err;
}

int vms_atomic_cas(struct vms_port *port, uint64_t gpa, unsigned size, int order,
		   uint64_t *expected, uint64_t desired, bool *swapped)
{
	struct job j = {
		.verb = CAS, .size = size, .order = order, .value = desired, .expected = *expected
	};
	int err = atomic_access(port, gpa, &j);

	if (err)
		return err;
	*expected = j.old;
	*swapped = j.swapped;
	return 0;
}
