/* SPDX-License-Identifier: MIT */
/*
 * fast.h: sized accesses of guest memory inline, for those to whom the call in access.h is dear.
 *
 *	vms_fast_init(port, &fast);		// once; a port of all addresses, without a translator
 *	vms_enter(port);
 *	vms_fast_load_le32(&fast, gpa, &v);	// as vms_load_le32, in any number
 *	vms_leave(port);
 *
 * Only inside a bracket: that is what keeps the table and the memory for as long as an access looks.
 * What the inline part does not decide (a hole, ROM, a slow slot, an unaligned address) goes to the
 * call of access.h, so results are the same; but memory whose backing is gone raises SIGBUS here, as
 * vms_recover_fault() knows nothing of these accesses. Who compiles this header into a program
 * depends on the table's layout: build and library must be of one minor release.
 *
 * How it looks an address up. The root is a node and the shift of its entries. A node has 512
 * entries; an entry is a hole (0), a node of the next level, or memory: what to add to the guest
 * address, with rights in the low bits, and where the dirty bit is, which only marks need.
 */
#ifndef VMSPACE_FAST_H
#define VMSPACE_FAST_H

#include <vmspace/access.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Private to this header and the library. */
struct vms_fast {
	const uint64_t *root;
	const uint32_t *logging; /* non-zero: writes are to be marked */
	struct vms_port *port;
};

struct vms_fast_entry {
	uint64_t at, more;
};

#define VMS_FAST_LEVEL	    9u
#define VMS_FAST_ENTRIES    512u
#define VMS_FAST_SLOW	    UINT64_C(8)
#define VMS_FAST_NODE	    UINT64_C(16)
#define VMS_FAST_ROOT_SHIFT UINT64_C(63)
#define VMS_FAST_BITS	    UINT64_C(0xfff)

/*
 * vms_fast_init - ready to use with the port, which must stay; nothing is held, nothing to undo.
 *
 * Returns: 0, or -ENOTSUP: the port has a range, less than both rights, or a translator. Since: 0.4
 */
VMS_API int vms_fast_init(struct vms_port *port, struct vms_fast *fast);
/* Out of line half of a store. Since: 0.4 */
VMS_API void vms_fast_mark(struct vms_port *port, uint64_t more, uint64_t gpa, unsigned size);

/* Private: the host address of `size` aligned bytes that grant `right`, or NULL. */
static inline void *vms_fast_at(const struct vms_fast *fast, uint64_t gpa, unsigned size,
				uint64_t right, uint64_t *more)
{
	uint64_t root = __atomic_load_n(fast->root, __ATOMIC_ACQUIRE);
	unsigned shift = (unsigned)root; /* its low 6 bits */
	uint64_t i = gpa >> (shift & VMS_FAST_ROOT_SHIFT);
	const struct vms_fast_entry *e =
		(const struct vms_fast_entry *)(uintptr_t)(root & ~VMS_FAST_ROOT_SHIFT);

	if (__builtin_expect(i >= VMS_FAST_ENTRIES || gpa & (size - 1), 0))
		return NULL;
	e += i;
	while (__builtin_expect((e->at & (right | VMS_FAST_SLOW | VMS_FAST_NODE)) != right, 0)) {
		if (!(e->at & VMS_FAST_NODE))
			return NULL;
		shift -= VMS_FAST_LEVEL;
		e = (const struct vms_fast_entry *)(uintptr_t)(e->at & ~VMS_FAST_ROOT_SHIFT);
		e += gpa >> (shift & VMS_FAST_ROOT_SHIFT) & (VMS_FAST_ENTRIES - 1);
	}
	*more = e->more;
	return (void *)(uintptr_t)((e->at & ~VMS_FAST_BITS) + gpa);
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define VMS_FAST_LE16(x) (x)
#define VMS_FAST_LE32(x) (x)
#define VMS_FAST_LE64(x) (x)
#else
#define VMS_FAST_LE16(x) __builtin_bswap16(x)
#define VMS_FAST_LE32(x) __builtin_bswap32(x)
#define VMS_FAST_LE64(x) __builtin_bswap64(x)
#endif
#define VMS_FAST_LE8(x) (x)

/*
 * vms_fast_load8, vms_fast_load_le16, _le32, _le64, and vms_fast_store8, _le16, _le32, _le64: as
 * vms_load8 and so on. Since: 0.4
 */
#define VMS_FAST_ACCESS(bits, name)                                                               \
	typedef uint##bits##_t __attribute__((__may_alias__)) vms_fast_u##bits;                   \
	static inline int vms_fast_load##name(const struct vms_fast *fast, uint64_t gpa,          \
					      uint##bits##_t *value)                              \
	{                                                                                         \
		uint64_t more;                                                                    \
		void *at = vms_fast_at(fast, gpa, bits / 8, VMS_SLOT_READ, &more);                \
                                                                                                  \
		if (__builtin_expect(!at, 0))                                                     \
			return vms_load##name(fast->port, gpa, value);                            \
		*value = VMS_FAST_LE##bits(__atomic_load_n((vms_fast_u##bits *)at,                \
							   __ATOMIC_RELAXED));                    \
		return 0;                                                                         \
	}                                                                                         \
	static inline int vms_fast_store##name(const struct vms_fast *fast, uint64_t gpa,         \
					       uint##bits##_t value)                              \
	{                                                                                         \
		uint64_t more;                                                                    \
		void *at = vms_fast_at(fast, gpa, bits / 8, VMS_SLOT_WRITE, &more);               \
                                                                                                  \
		if (__builtin_expect(!at, 0))                                                     \
			return vms_store##name(fast->port, gpa, value);                           \
		__atomic_store_n((vms_fast_u##bits *)at, VMS_FAST_LE##bits(value),                \
				 __ATOMIC_RELAXED);                                               \
		__atomic_signal_fence(__ATOMIC_SEQ_CST);                                          \
		if (__builtin_expect(__atomic_load_n(fast->logging, __ATOMIC_RELAXED), 0))        \
			vms_fast_mark(fast->port, more, gpa, bits / 8);                           \
		return 0;                                                                         \
	}

VMS_FAST_ACCESS(8, 8)
VMS_FAST_ACCESS(16, _le16)
VMS_FAST_ACCESS(32, _le32)
VMS_FAST_ACCESS(64, _le64)

#ifdef __cplusplus
}
#endif
#endif
