/* SPDX-License-Identifier: MIT */
/*
 * access.h: how device models read and write guest memory (memory.h).
 *
 *	bytes	vms_read, vms_write, vms_copy, vms_fill	copies; no promise of order or of size
 *	sized	vms_load_le16 ...			1 to 8 bytes; one instruction where the guest
 *							address is aligned, whatever the buffer
 *	atomic	vms_atomic_*				one operation, with a memory order
 *	spans	vms_span_open				iovecs for system calls and DMA, with a pin
 *	rings	ring.h					a checked window for virtqueues
 *
 * All go through a port. An access takes no lock and allocates nothing; it looks the address up in
 * one table (a load or two), which is as it was before some edit or after it. Slots that touch are
 * no border for bytes and sized values. A slow slot (memory.h) is reached by its owner's calls,
 * a managed block by its object's reads and writes: what lies behind it is looked up anew. No access
 * relies on a trap.
 *
 * The guest writes meanwhile: fetch once, check what was fetched. Barriers are the caller's, but for
 * atomics. Nothing here writes a sentence to vms_last_error() but where -EINVAL or -ENOTSUP is said.
 *
 * Status, of struct vms_done and of calls that return int:
 *	0		done
 *	-ENXIO		a hole
 *	-ERANGE		outside the port, or past the end of the 64-bit space
 *	-EACCES		a right is missing: of the slot, the port, the translation
 *	-EINVAL		a size, a flag; an atomic at an address that is no multiple of its size
 *	-ENOTSUP	an atomic or a span of a slow slot or a managed block
 *	-EFAULT		the memory is gone (vms_recover_fault)
 *	-ENOMEM, -EIO and others: what the host, a slow slot, an object or a translator answered
 * `done` is the number of bytes done, on every path; the first address not done is gpa + done.
 * Length 0 is done anywhere, even in a hole.
 */
#ifndef VMSPACE_ACCESS_H
#define VMSPACE_ACCESS_H

#include <stdbool.h>
#include <sys/uio.h>

#include <vmspace/memory.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Ports ---- */

/*
 * A translator gives a port addresses of its own (an IOMMU). An access is translated whole before
 * any byte is touched. Called in a bracket, from any thread: it neither waits nor calls the library.
 */
struct vms_translator {
	/*
	 * Where [addr, addr + *len) is for this kind of access (VMS_SLOT_READ, _WRITE): *gpa, and
	 * *len cut to what is consecutive there. 0, -ENXIO (nothing), -EACCES (not so).
	 */
	int (*translate)(void *arg, uint64_t addr, uint32_t access, uint64_t *gpa, uint64_t *len);
	void *arg;
};

struct vms_port_params {
	size_t size;	 /* sizeof(struct vms_port_params) */
	uint32_t flags;	 /* 0 */
	uint32_t rights; /* VMS_SLOT_READ | VMS_SLOT_WRITE; 0: both */
	uint64_t gpa, len; /* what may be reached, after translation; len 0: all from gpa on */
	const struct vms_translator *translator; /* copied; NULL: none */
};

/*
 * vms_port_create - a way to the memory for a device. Any number of threads may use it.
 *
 * params NULL: all of it, both rights.
 * Ownership: gives one reference; holds one of the memory.
 * Returns:   0, or -EINVAL, -ERANGE, -ENOMEM
 * Since:     0.4
 */
VMS_API int vms_port_create(struct vms_memory *mem, const struct vms_port_params *params,
			    struct vms_port **port);
VMS_API struct vms_port *vms_port_ref(struct vms_port *port);
VMS_API void vms_port_unref(struct vms_port *port); /* NULL is fine */

/*
 * vms_enter, vms_leave - a bracket around many accesses, which are then cheaper: what the thread can
 * reach stays for its length. They nest. A bracket holds back the end of blocks that were unmapped,
 * of all memories, so it is short, and waits for nothing; vms_memory_synchronize() not inside one.
 *
 * Returns: enter: 0, or -ENOMEM (no thread record could be had: then no leave). Since: 0.4
 */
VMS_API int vms_enter(struct vms_port *port);
VMS_API void vms_leave(struct vms_port *port);

/* vms_check - may [gpa, gpa + len) be accessed so, whole? Returns: as vms_read_exact, untouched. */
VMS_API int vms_check(struct vms_port *port, uint64_t gpa, uint64_t len, uint32_t access);

/* ---- Bytes ---- */

struct vms_done {
	size_t done; /* bytes */
	int status;
};

/*
 * vms_read, vms_write - copy as much as there is. At least one byte, or a status: a hole behind
 * the first byte ends the copy with status 0 and done < len.
 * vms_read_exact, vms_write_exact - all of it, else the status says why not; the `done` bytes before
 * were copied.
 *
 * buf may be guest memory. Cost: a memcpy a run of slots that touch in the host.
 * Since: 0.4	Source: reference guest-memory-access 1.6
 */
VMS_API struct vms_done vms_read(struct vms_port *port, uint64_t gpa, void *buf, size_t len);
VMS_API struct vms_done vms_write(struct vms_port *port, uint64_t gpa, const void *buf, size_t len);
VMS_API struct vms_done vms_read_exact(struct vms_port *port, uint64_t gpa, void *buf, size_t len);
VMS_API struct vms_done vms_write_exact(struct vms_port *port, uint64_t gpa, const void *buf,
					size_t len);

/* vms_copy - guest to guest, all of it, as memmove by host address: two aliases of one block may
 * overlap. A range that overlaps itself through several slots, or a slow one, is copied by pieces
 * upwards or downwards as its guest addresses say; downwards, `done` is 0 until all is done.
 * vms_fill - all bytes become `byte`. Since: 0.4 */
VMS_API struct vms_done vms_copy(struct vms_port *port, uint64_t to, uint64_t from, size_t len);
VMS_API struct vms_done vms_fill(struct vms_port *port, uint64_t gpa, int byte, size_t len);

/*
 * vms_recv, vms_send - from a descriptor into the guest, from the guest into a descriptor: one
 * readv or writev after another, into the guest's own memory. Repeated after EINTR. What arrived is
 * contiguous: it ends at the first short transfer, at the end of the stream (status 0), or at an
 * error, which is the status only when nothing was done before. _exact: until len bytes are done;
 * the end of the stream is -ENODATA there. off: of the file (preadv, pwritev), or -1: the
 * descriptor's own position. Blocking: as the descriptor does. Not inside a bracket. Since: 0.4
 */
VMS_API struct vms_done vms_recv(struct vms_port *port, uint64_t gpa, int fd, size_t len,
				 int64_t off);
VMS_API struct vms_done vms_send(struct vms_port *port, uint64_t gpa, int fd, size_t len,
				 int64_t off);
VMS_API struct vms_done vms_recv_exact(struct vms_port *port, uint64_t gpa, int fd, size_t len,
				       int64_t off);
VMS_API struct vms_done vms_send_exact(struct vms_port *port, uint64_t gpa, int fd, size_t len,
				       int64_t off);

/* ---- Sized ---- */

/* Since: 0.4. An unaligned value is made of bytes, and may be seen half written. */
VMS_API int vms_load8(struct vms_port *port, uint64_t gpa, uint8_t *value);
VMS_API int vms_load_le16(struct vms_port *port, uint64_t gpa, uint16_t *value);
VMS_API int vms_load_le32(struct vms_port *port, uint64_t gpa, uint32_t *value);
VMS_API int vms_load_le64(struct vms_port *port, uint64_t gpa, uint64_t *value);
VMS_API int vms_load_be16(struct vms_port *port, uint64_t gpa, uint16_t *value);
VMS_API int vms_load_be32(struct vms_port *port, uint64_t gpa, uint32_t *value);
VMS_API int vms_load_be64(struct vms_port *port, uint64_t gpa, uint64_t *value);
VMS_API int vms_store8(struct vms_port *port, uint64_t gpa, uint8_t value);
VMS_API int vms_store_le16(struct vms_port *port, uint64_t gpa, uint16_t value);
VMS_API int vms_store_le32(struct vms_port *port, uint64_t gpa, uint32_t value);
VMS_API int vms_store_le64(struct vms_port *port, uint64_t gpa, uint64_t value);
VMS_API int vms_store_be16(struct vms_port *port, uint64_t gpa, uint16_t value);
VMS_API int vms_store_be32(struct vms_port *port, uint64_t gpa, uint32_t value);
VMS_API int vms_store_be64(struct vms_port *port, uint64_t gpa, uint64_t value);

/* ---- Atomics ---- */

/*
 * Values in the host's byte order, in the low `size` bytes; size 1, 2, 4 or 8. order: an
 * __ATOMIC_* of the compiler. A load needs READ alone (ROM is fine), a store WRITE, the others both.
 * Returns: a status. Since: 0.4
 */
enum vms_atomic_op {
	VMS_ATOMIC_EXCHANGE,
	VMS_ATOMIC_ADD,
	VMS_ATOMIC_SUB,
	VMS_ATOMIC_AND,
	VMS_ATOMIC_OR,
	VMS_ATOMIC_XOR,
};
VMS_API int vms_atomic_load(struct vms_port *port, uint64_t gpa, unsigned size, int order,
			    uint64_t *value);
VMS_API int vms_atomic_store(struct vms_port *port, uint64_t gpa, unsigned size, int order,
			     uint64_t value);
/* *old: what stood there before. */
VMS_API int vms_atomic_fetch(struct vms_port *port, uint64_t gpa, unsigned size, int order,
			     enum vms_atomic_op op, uint64_t operand, uint64_t *old);
/* *expected becomes what stood there; *swapped: whether desired was stored. */
VMS_API int vms_atomic_cas(struct vms_port *port, uint64_t gpa, unsigned size, int order,
			   uint64_t *expected, uint64_t desired, bool *swapped);

/* ---- Spans ---- */

/* A span's hold: the caller's storage, which must not move. */
struct vms_pin {
	uint64_t opaque[32];
};

/*
 * vms_span_open - [gpa, gpa + len) as iovecs, one for each run that is contiguous in the host.
 *
 * in *iovcnt: room; out: how many. The memory stays, whatever is unmapped, until vms_span_close();
 * blocks of open spans cannot be removed or discarded. Through a span nothing is checked and
 * nothing seen: the bytes count as written when it is closed.
 * rights:    VMS_SLOT_READ, VMS_SLOT_WRITE or both
 * Cost:      a count a block. Allocates where there are more than 4 blocks. A slow slot's open.
 * Returns:   0, or a status (nothing is pinned then); -ENOSPC: *iovcnt is how many it takes
 * Since:     0.4
 */
VMS_API int vms_span_open(struct vms_port *port, uint64_t gpa, size_t len, uint32_t rights,
			  struct iovec *iov, int *iovcnt, struct vms_pin *pin);
/* vms_span_close - written: bytes from the span's start on that may have changed, of a WRITE span;
 * SIZE_MAX: all. Returns: 0, or what a slow slot's close answered: all else is closed. Since: 0.4 */
VMS_API int vms_span_close(struct vms_pin *pin, size_t written);

/*
 * vms_span_borrow - the same inside a bracket, with nothing to give back: the iovecs are good until
 * vms_leave(). Direct memory only. vms_span_wrote() says what was written through it, before the
 * bracket ends; pin is for that alone.
 *
 * Returns:   as vms_span_open; also -EINVAL: not in a bracket; -ENOTSUP: to write, more than 9 slots
 * Since:     0.4
 */
VMS_API int vms_span_borrow(struct vms_port *port, uint64_t gpa, size_t len, uint32_t rights,
			    struct iovec *iov, int *iovcnt, struct vms_pin *pin);
/* written: as for vms_span_close. As often as one likes. Since: 0.4 */
VMS_API void vms_span_wrote(const struct vms_pin *pin, size_t written);

/* ---- Faults ---- */

/*
 * vms_recover_fault - for the caller's own handler of SIGBUS and SIGSEGV, with SA_SIGINFO.
 *
 * True: the fault was made by a byte, sized or atomic access of the library to memory whose backing
 * is gone (a truncated file, a memory error): the handler returns, and the access answers -EFAULT.
 * `done` counts the bytes before the 4 KiB page that faulted.
 * False: it is somebody else's. Off until vms_recover_enable(true), as it costs each access some
 * nanoseconds. On x86-64 and aarch64; elsewhere always false. Async-signal-safe.
 * Since: 0.4
 */
VMS_API bool vms_recover_fault(int sig, void *siginfo, void *ucontext);
VMS_API void vms_recover_enable(bool on);

#ifdef __cplusplus
}
#endif
#endif
