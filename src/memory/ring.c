// SPDX-License-Identifier: MIT
/*
 * ring.c: the out-of-line half of rings: a span of one piece, and its place in the dirty bits.
 *
 * A store through a ring marks by the block and by the guest address that the ring was opened at,
 * wherever the slot has gone meanwhile: the span keeps the block.
 */
#include "vmspace/ring.h"

#include <errno.h>

#include "memory/port.h"

int vms_ring_open(struct vms_port *port, uint64_t gpa, uint64_t len, uint32_t rights,
		  struct vms_ring *ring)
{
	struct vms_block *b;
	struct iovec iov;
	int n = 1, err;
	uint64_t off;

	*ring = (struct vms_ring){ 0 };
	if (!len || gpa & 1)
		return fail(-EINVAL, "ring: %#llx bytes at %#llx: none, or at an odd address",
			    (unsigned long long)len, (unsigned long long)gpa);
	err = vms_span_open(port, gpa, len, rights, &iov, &n, &ring->pin);
	if (err == -ENOSPC)
		return fail(-ENOTSUP, "ring: %#llx bytes at %#llx are not contiguous",
			    (unsigned long long)len, (unsigned long long)gpa);
	if (err)
		return err;
	if (!span_is_one(&ring->pin, &b, &off, &ring->gpa)) {
		vms_span_close(&ring->pin, 0);
		return fail(-ENOTSUP, "ring: %#llx bytes at %#llx are not of one direct block",
			    (unsigned long long)len, (unsigned long long)gpa);
	}
	if (ring->gpa & 1) {
		vms_span_close(&ring->pin, 0);
		return fail(-EINVAL, "ring: %#llx is translated to an odd address",
			    (unsigned long long)gpa);
	}
	ring->base = iov.iov_base;
	ring->logging = (const uint32_t *)&port->mem->logging;
	ring->dirty = dirty_delta(b, off, ring->gpa);
	ring->writable = rights & VMS_SLOT_WRITE;
	ring->port = vms_port_ref(port);
	ring->len = len;
	return 0;
}

void vms_ring_close(struct vms_ring *ring)
{
	struct vms_port *port = ring->port;

	if (!ring->len)
		return;
	ring->len = 0;
	ring->port = NULL;
	vms_span_close(&ring->pin, 0); /* stores have marked what they wrote */
	vms_port_unref(port);
}

void vms_ring_mark(struct vms_ring *ring, uint64_t off, unsigned size)
{
	dirty_mark_entry(ring->port->mem, ring->dirty, ring->gpa + off, size);
}
