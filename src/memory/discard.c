// SPDX-License-Identifier: MIT
/*
 * discard.c: guest memory that is given back.
 *
 *	slot → may it? → the pages go → marked dirty → listeners hear of it → the next slot
 *
 * Direct memory goes under the memory's lock, so that no edit takes the slot away meanwhile; at
 * most STEP bytes at a time, so that edits need not wait for all of it. The owner of an object or of
 * a slow slot may wait for others, so it is called with nothing held but a count of the block.
 *
 * Invariants:
 *	1 freed + skipped = the bytes from the start on that were looked at, on every path
 *	2 a page that was discarded is marked dirty before anybody is told, also where the host
 *	  failed in the middle of it
 */
#include <errno.h>
#include <inttypes.h>

#include "memory/dirty.h"
#include "memory/memory.h"

#define STEP (UINT64_C(256) << 20)

struct discard {
	struct vms_memory *mem;
	uint64_t at, last;
	uint64_t freed, skipped;
};

/* [off, off + len) of a block, as far as it is whole host pages, has gone, or some of it may have.
 */
static void tell(struct vms_memory *mem, struct vms_block *b, uint64_t off, uint64_t len)
	REQUIRES(mem->space.lock)
{
	uint64_t from = align_up(off, b->page_size), to = align_down(off + len, b->page_size);

	if (from >= to)
		return;
	dirty_mark_block(b, from, to - from);
	listeners_discard(mem, b, from, to - from);
}

static int fail_pinned(const struct discard *d)
{
	return fail(-EBUSY, "discard: a span pins the block at %#" PRIx64, d->at);
}

static int discard_direct(const struct discard *d, struct vms_block *b, uint64_t off, uint64_t len,
			  uint64_t *freed)
{
	int err;

	space_held(&d->mem->space);
	if (!block_discard_begin(b))
		return fail_pinned(d);
	err = block_host_discard(b, off, len, freed);
	if (err || *freed)
		tell(d->mem, b, off, len);
	block_discard_end(b);
	return err;
}

/* A pager may have to be asked. */
static int zero_object(struct vms_object *obj, uint64_t off, uint64_t len, uint64_t *freed)
{
	struct vms_wait wait;
	int err;

	vms_wait_init(&wait);
	while ((err = vms_object_op(obj, VMS_OBJECT_ZERO, off, len, &wait)) == VMS_WAIT)
		vms_wait_block(&wait, -1);
	*freed = err ? 0 : len;
	return err;
}

static int ask_owner(const struct vms_block *b, uint64_t off, uint64_t len, uint64_t *freed)
{
	int err;

	if (b->content)
		err = zero_object(b->content, off, len, freed);
	else if (b->slow->discard)
		err = b->slow->discard(b->slow_arg, off, len, freed);
	else
		return 0;
	*freed = min_u64(*freed, len);
	if (err > 0)
		return fail(-EIO, "discard: the owner of a slow slot answered %d", err);
	return err == -ENOTSUP ? 0 : err;
}

static int discard_by_owner(struct vms_memory *mem, struct vms_block *b, uint64_t off, uint64_t len,
			    uint64_t *freed)
{
	int err = ask_owner(b, off, len, freed);

	if (!err && !*freed)
		return 0;
	lock_take(&mem->space.lock);
	tell(mem, b, off, len);
	lock_drop(&mem->space.lock);
	return err;
}

/* How much of the slot is next, no huge page cut. (A slot has less than 2^64 bytes, as a block.) */
static uint64_t next_part(const struct discard *d, const struct map *m, uint64_t off)
{
	const struct vms_block *b = block_of(m->obj);
	uint64_t len = min_u64(m->last, d->last) - d->at + 1, step = max_u64(STEP, b->page_size);

	return len > step ? align_down(off + step, b->page_size) - off : len;
}

/* The slot at d->at: *len bytes of it are done with, *freed of these discarded. */
static int discard_some(struct discard *d, uint64_t *len, uint64_t *freed)
{
	struct vms_memory *mem = d->mem;
	struct vms_block *b = NULL;
	struct map m;
	uint64_t off = 0;
	int err = 0;

	lock_take(&mem->space.lock);
	if (!space_find(&mem->space, d->at, &m) || m.start > d->at) {
		lock_drop(&mem->space.lock);
		return fail(-ENXIO, "discard: nothing is mapped at %#" PRIx64, d->at);
	}
	off = m.off + (d->at - m.start);
	*len = next_part(d, &m, off);
	if (m.prot & VMS_SLOT_WRITE) {
		b = block_of(m.obj);
		if (b->hva)
			err = discard_direct(d, b, off, *len, freed);
		else if (atomic_load_explicit(&b->pins, memory_order_relaxed))
			err = fail_pinned(d);
		else
			vms_block_ref(b);
	}
	lock_drop(&mem->space.lock);
	if (err || !b || b->hva)
		return err;
	err = discard_by_owner(mem, b, off, *len, freed);
	vms_block_unref(b);
	return err;
}

static int discard_all(struct discard *d)
{
	for (;;) {
		uint64_t len = 0, freed = 0;
		int err = discard_some(d, &len, &freed);

		d->freed += freed;
		if (err)
			return err;
		d->skipped += len - freed;
		if (d->last - d->at < len)
			return 0;
		d->at += len;
	}
}

int vms_discard(struct vms_memory *mem, uint64_t gpa, uint64_t len, uint64_t *freed,
		uint64_t *skipped)
{
	struct discard d = { .mem = mem, .at = gpa };
	int err;

	if (!len || !is_aligned(gpa | len, mem->page_size))
		err = fail(-EINVAL,
			   "discard: [%#" PRIx64 ", +%#" PRIx64 ") is empty or not page aligned",
			   gpa, len);
	else if (!range_last(gpa, len, &d.last))
		err = fail(-ERANGE, "discard: [%#" PRIx64 ", +%#" PRIx64 ") wraps", gpa, len);
	else
		err = discard_all(&d);
	if (freed)
		*freed = d.freed;
	if (skipped)
		*skipped = d.skipped;
	return err;
}
