/* SPDX-License-Identifier: MIT */
/*
 * ring.h: a window on guest memory for virtqueues and other rings: translated once, then checked
 * loads and stores at the cost of a compare, inline.
 *
 *	struct vms_ring used;
 *
 *	vms_ring_open(port, gpa, 4 + 8 * num, VMS_SLOT_READ | VMS_SLOT_WRITE, &used);
 *	vms_ring_store32(&used, 4 + 8 * i, id);
 *	vms_ring_store16_release(&used, 2, idx);
 *	vms_ring_close(&used);
 *
 * A ring is a pinned span of one piece: the guest's memory stays while it is open, wherever the guest
 * has moved it. Offsets are bytes. Values are little-endian in the guest, as virtio 1 has them. An
 * access returns false, and does nothing, when it does not lie inside the ring or is not aligned.
 * Stores mark the page dirty, after the store.
 */
#ifndef VMSPACE_RING_H
#define VMSPACE_RING_H

#include <vmspace/access.h>

#ifdef __cplusplus
extern "C" {
#endif

/* All but len is private to this header and the library. */
struct vms_ring {
	uint64_t len; /* bytes; 0: closed */
	uint8_t *base;
	const uint32_t *logging; /* non-zero: somebody logs */
	uint64_t dirty;		 /* a page's dirty bit is there, plus its number */
	bool writable;
	struct vms_port *port;
	uint64_t gpa; /* after translation */
	struct vms_pin pin;
};

/*
 * vms_ring_open - [gpa, gpa + len), aligned to 2 at least, contiguous in one direct block.
 *
 * Ownership: holds the port and the block until vms_ring_close().
 * Returns:   0, or a status (access.h); -EINVAL also: gpa is odd; -ENOTSUP also: more than one piece
 * Since:     0.4
 */
VMS_API int vms_ring_open(struct vms_port *port, uint64_t gpa, uint64_t len, uint32_t rights,
			  struct vms_ring *ring);
VMS_API void vms_ring_close(struct vms_ring *ring); /* a closed or zeroed one: nothing */
/* Out of line half of a store. Since: 0.4 */
VMS_API void vms_ring_mark(struct vms_ring *ring, uint64_t off, unsigned size);

/* Private: may [off, off + size) be accessed? base is aligned as gpa is. */
static inline bool vms_ring_ok(const struct vms_ring *ring, uint64_t off, unsigned size)
{
	return __builtin_expect(off < ring->len && ring->len - off >= size &&
					(((uintptr_t)ring->base + off) & (size - 1)) == 0,
				1);
}

/* Private: after a store, which does not cross a page. 1: logs of the library's own alone, and then a
 * bit that is set is enough. */
static inline void vms_ring_wrote(struct vms_ring *ring, uint64_t off, unsigned size)
{
	uint32_t logging;
	uint64_t bit;

	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	logging = __atomic_load_n(ring->logging, __ATOMIC_RELAXED);
	if (__builtin_expect(!logging, 1))
		return;
	bit = ring->dirty + ((ring->gpa + off) >> 12);
	if (logging != 1 || !(__atomic_load_n((const uint64_t *)(uintptr_t)(bit >> 6 << 3),
					      __ATOMIC_RELAXED) >>
				      (bit & 63) &
			      1))
		vms_ring_mark(ring, off, size);
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define VMS_RING_LE16(x) (x)
#define VMS_RING_LE32(x) (x)
#define VMS_RING_LE64(x) (x)
#else
#define VMS_RING_LE16(x) __builtin_bswap16(x)
#define VMS_RING_LE32(x) __builtin_bswap32(x)
#define VMS_RING_LE64(x) __builtin_bswap64(x)
#endif

#define VMS_RING_ACCESS(bits)                                                                     \
	typedef uint##bits##_t __attribute__((__may_alias__)) vms_ring_u##bits;                   \
	static inline bool vms_ring_load##bits(const struct vms_ring *ring, uint64_t off,         \
					       uint##bits##_t *value)                             \
	{                                                                                         \
		if (!vms_ring_ok(ring, off, bits / 8))                                            \
			return false;                                                             \
		*value = VMS_RING_LE##bits(__atomic_load_n(                                       \
			(const vms_ring_u##bits *)(const void *)(ring->base + off),               \
			__ATOMIC_RELAXED));                                                       \
		return true;                                                                      \
	}                                                                                         \
	static inline bool vms_ring_load##bits##_acquire(const struct vms_ring *ring,             \
							 uint64_t off, uint##bits##_t *value)     \
	{                                                                                         \
		if (!vms_ring_ok(ring, off, bits / 8))                                            \
			return false;                                                             \
		*value = VMS_RING_LE##bits(__atomic_load_n(                                       \
			(const vms_ring_u##bits *)(const void *)(ring->base + off),               \
			__ATOMIC_ACQUIRE));                                                       \
		return true;                                                                      \
	}                                                                                         \
	static inline bool vms_ring_store##bits(struct vms_ring *ring, uint64_t off,              \
						uint##bits##_t value)                             \
	{                                                                                         \
		if (!vms_ring_ok(ring, off, bits / 8) || !ring->writable)                         \
			return false;                                                             \
		__atomic_store_n((vms_ring_u##bits *)(void *)(ring->base + off),                  \
				 VMS_RING_LE##bits(value), __ATOMIC_RELAXED);                     \
		vms_ring_wrote(ring, off, bits / 8);                                              \
		return true;                                                                      \
	}                                                                                         \
	static inline bool vms_ring_store##bits##_release(struct vms_ring *ring, uint64_t off,    \
							  uint##bits##_t value)                   \
	{                                                                                         \
		if (!vms_ring_ok(ring, off, bits / 8) || !ring->writable)                         \
			return false;                                                             \
		__atomic_store_n((vms_ring_u##bits *)(void *)(ring->base + off),                  \
				 VMS_RING_LE##bits(value), __ATOMIC_RELEASE);                     \
		vms_ring_wrote(ring, off, bits / 8);                                              \
		return true;                                                                      \
	}

#define VMS_RING_LE8(x) (x)
VMS_RING_ACCESS(8)
VMS_RING_ACCESS(16)
VMS_RING_ACCESS(32)
VMS_RING_ACCESS(64)

#ifdef __cplusplus
}
#endif
#endif
