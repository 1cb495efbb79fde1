// SPDX-License-Identifier: MIT
/*
 * block.c: a block's birth, its counts, and its end.
 *
 *	create → (shown, pinned, ...) → removed → count 0: ended → nobody reads it: block_free
 *
 * The memory of a block has one of four owners: us (ANON, SHARED, FILE: block_host.c), the caller
 * (HOST), an object (OBJECT), or somebody behind an ops table (SLOW).
 *
 * An object's pages have one address for life if it is contiguous or host memory: its block is
 * direct, and pins them, so that nothing moves or empties them. Else it is managed: the pages come
 * and go, and only the object's own reads and writes reach them.
 *
 * Invariants:
 *	1 a block is on mem->blocks from its birth until block_free, and has a hold of mem as long
 *	2 a plain block that is not removed has a count for its registration
 *	3 a direct block has hva, else it has content (managed) or slow
 *	4 all but SLOW have dirty bits, one for each 4096 bytes, 8-byte aligned
 *	5 READ is set where nobody may write: slots of the block have no WRITE
 */
#include "memory/block.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/fail.h"
#include "base/range.h"
#include "base/trace.h"
#include "memory/dirty.h"
#include "memory/memory.h"
#include "object/content.h"

#define BYTES_MAX (UINT64_C(1) << 62)

static atomic_uint_fast64_t last_id;

/* ---- What callers ask for ---- */

#define FLAGS_MEMORY                                                              \
	(VMS_BLOCK_THP | VMS_BLOCK_NO_THP | VMS_BLOCK_LOCK | VMS_BLOCK_PREALLOC | \
	 VMS_BLOCK_DONTDUMP | VMS_BLOCK_DONTFORK)

static uint32_t flags_of(uint32_t kind)
{
	switch (kind) {
	case VMS_BLOCK_ANON:
		return FLAGS_MEMORY | VMS_BLOCK_HUGETLB | VMS_BLOCK_MERGE | VMS_BLOCK_STANDALONE;
	case VMS_BLOCK_SHARED:
		return FLAGS_MEMORY | VMS_BLOCK_HUGETLB | VMS_BLOCK_STANDALONE;
	case VMS_BLOCK_FILE:
		return FLAGS_MEMORY | VMS_BLOCK_PRIVATE | VMS_BLOCK_READ | VMS_BLOCK_MERGE |
		       VMS_BLOCK_STANDALONE;
	case VMS_BLOCK_HOST:
		return VMS_BLOCK_READ | VMS_BLOCK_STANDALONE;
	default:
		return VMS_BLOCK_STANDALONE;
	}
}

static int check_flags(const struct vms_block_params *p)
{
	uint32_t alien = p->flags & ~flags_of(p->kind);

	if (alien)
		return fail(-EINVAL, "block: flags %#x do not fit kind %u", alien, p->kind);
	if (p->flags & VMS_BLOCK_THP && p->flags & (VMS_BLOCK_NO_THP | VMS_BLOCK_HUGETLB))
		return fail(-EINVAL, "block: THP with NO_THP or HUGETLB");
	if (p->flags & VMS_BLOCK_HUGETLB && p->flags & (VMS_BLOCK_NO_THP | VMS_BLOCK_MERGE))
		return fail(-EINVAL, "block: HUGETLB with NO_THP or MERGE");
	if (p->flags & VMS_BLOCK_MERGE && p->kind == VMS_BLOCK_FILE &&
	    !(p->flags & VMS_BLOCK_PRIVATE))
		return fail(-EINVAL, "block: MERGE of a shared file");
	if (p->huge_page && (!(p->flags & VMS_BLOCK_HUGETLB) || !is_pow2(p->huge_page)))
		return fail(-EINVAL,
			    "block: huge_page %#" PRIx64 " without HUGETLB, or no power of two",
			    p->huge_page);
	return 0;
}

static int check_numa(const struct vms_block_params *p)
{
	if (p->numa > VMS_NUMA_INTERLEAVE)
		return fail(-EINVAL, "block: unknown NUMA policy %u", p->numa);
	if (p->numa && (p->kind == VMS_BLOCK_HOST || p->kind == VMS_BLOCK_OBJECT))
		return fail(-EINVAL, "block: a NUMA policy for memory that is not the block's own");
	if (p->numa && p->node > 63)
		return fail(-EINVAL, "block: NUMA node %u is above 63", p->node);
	return 0;
}

/* Sizes of FILE and OBJECT are checked where their ends are known. */
static int check_bytes(const struct vms_memory *mem, const struct vms_block_params *p)
{
	uint64_t unit = max_u64(mem->page_size, p->huge_page), last;
	bool to_end = p->kind == VMS_BLOCK_FILE || p->kind == VMS_BLOCK_OBJECT;

	if (!is_aligned(p->bytes, unit) || (!p->bytes && !to_end))
		return fail(-EINVAL, "block: %#" PRIx64 " bytes: no multiple of %#" PRIx64,
			    p->bytes, unit);
	if (p->bytes > BYTES_MAX)
		return fail(-ERANGE, "block: %#" PRIx64 " bytes are above 2^62", p->bytes);
	if (p->kind == VMS_BLOCK_FILE && !is_aligned(p->fd_off, mem->page_size))
		return fail(-EINVAL, "block: file offset %#" PRIx64 " is not page aligned",
			    p->fd_off);
	if (p->kind == VMS_BLOCK_HOST &&
	    (!p->hva || !is_aligned((uintptr_t)p->hva, mem->page_size) ||
	     !range_last((uintptr_t)p->hva, p->bytes, &last)))
		return fail(-EINVAL, "block: host memory at %p is not page aligned, or wraps",
			    p->hva);
	return 0;
}

static int check_params(const struct vms_memory *mem, const struct vms_block_params *p)
{
	int err;

	if (!p || p->size < sizeof(*p))
		return fail(-EINVAL, "block: params of %zu bytes, need %zu", p ? p->size : 0,
			    sizeof(*p));
	if (p->kind < VMS_BLOCK_ANON || p->kind > VMS_BLOCK_OBJECT)
		return fail(-EINVAL, "block: unknown kind %u", p->kind);
	if (p->release && p->kind != VMS_BLOCK_HOST)
		return fail(-EINVAL, "block: a release call is for host memory alone");
	err = check_flags(p);
	if (!err)
		err = check_numa(p);
	return err ? err : check_bytes(mem, p);
}

/* ---- Objects ---- */

static bool object_is_direct(const struct content *c)
{
	return c->kind == CONTENT_HOST || c->flags & VMS_OBJECT_CONTIGUOUS;
}

static int object_attach(struct vms_block *b, struct vms_object *obj)
{
	uint64_t size;
	void *hva;
	int err = obj ? view_usable(obj) : fail(-EINVAL, "block: no object");

	if (err)
		return err;
	size = view_bytes(obj);
	if (!b->bytes)
		b->bytes = size;
	if (!size || b->bytes > size)
		return fail(-ERANGE, "block: %#" PRIx64 " bytes of an object of %#" PRIx64,
			    b->bytes, size);
	if (view_of(obj)->flags & VMS_OBJECT_NO_WRITE)
		b->flags |= VMS_BLOCK_READ;
	if (object_is_direct(view_of(obj)->content)) {
		err = vms_object_pin(obj, 0, b->bytes, !(b->flags & VMS_BLOCK_READ), NULL);
		if (err)
			return err;
		err = vms_object_contiguous(obj, 0, b->bytes, &hva);
		if (err) {
			vms_object_unpin(obj, 0, b->bytes);
			return err;
		}
		b->hva = hva;
	}
	b->content = vms_object_ref(obj);
	return 0;
}

static void object_detach(struct vms_block *b)
{
	if (!b->content)
		return;
	if (b->hva)
		vms_object_unpin(b->content, 0, b->bytes);
	vms_object_unref(b->content);
}

/* ---- Dirty bits ---- */

static int bits_make(struct vms_block *b)
{
	b->bits = dirty_bits_make(b->object.world, block_bits_bytes(b));
	if (!b->bits)
		return fail(-ENOMEM, "no memory for the dirty bits of a block: %" PRIu64 " KiB",
			    block_bits_bytes(b) >> 10);
	return 0;
}

static void bits_free(struct vms_block *b)
{
	dirty_bits_free(b->object.world, (void *)b->bits, block_bits_bytes(b));
}

/* ---- Birth and end ---- */

static void end(struct vms_object *obj)
{
	memory_bury(block_of(obj));
}

static int block_new(struct vms_memory *mem, enum vms_block_kind kind, uint32_t flags,
		     uint64_t bytes, const char *name, struct vms_block **out)
{
	const struct world *w = mem->world;
	struct vms_block *b = w->alloc(w, sizeof(*b));

	if (!b)
		return fail(-ENOMEM, "no memory for a block");
	memset(b, 0, sizeof(*b));
	b->object.world = w;
	atomic_init(&b->object.refs, flags & VMS_BLOCK_STANDALONE ? 1 : 2);
	b->object.kind = OBJECT_BLOCK;
	b->object.fd = -1;
	b->object.end = end;
	b->mem = mem;
	b->id = atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1;
	b->kind = kind;
	b->flags = flags;
	b->bytes = bytes;
	b->page_size = mem->page_size;
	b->fd = -1;
	if (name)
		strncpy(b->name, name, sizeof(b->name) - 1);
	*out = b;
	return 0;
}

/* Let go of all but the hold of the memory. => not on mem->blocks */
static void scrap(struct vms_block *b)
{
	const struct world *w = b->object.world;

	bits_free(b);
	block_host_unmap(b);
	object_detach(b);
	w->free(w, b, sizeof(*b));
}

static int link_up(struct vms_block *b)
{
	struct vms_memory *mem = b->mem;
	int err;

	lock_take(&mem->space.lock);
	err = dirty_block_begin(mem, b);
	if (!err) {
		b->next = mem->blocks;
		b->link = &mem->blocks;
		if (b->next)
			b->next->link = &b->next;
		mem->blocks = b;
		mem->n_blocks++;
		memory_hold(mem);
	}
	lock_drop(&mem->space.lock);
	return err;
}

static void unlink(struct vms_block *b)
{
	struct vms_memory *mem = b->mem;

	lock_take(&mem->space.lock);
	*b->link = b->next;
	if (b->next)
		b->next->link = b->link;
	mem->n_blocks--;
	lock_drop(&mem->space.lock);
}

/* The block's memory, by its kind. */
static int attach(struct vms_block *b, const struct vms_block_params *p)
{
	switch (b->kind) {
	case VMS_BLOCK_HOST:
		b->hva = p->hva;
		return 0;
	case VMS_BLOCK_OBJECT:
		return object_attach(b, p->object);
	default:
		return block_host_map(b, p);
	}
}

int block_create(struct vms_memory *mem, const struct vms_block_params *p, struct vms_block **out)
{
	struct vms_block *b = NULL;
	int err = check_params(mem, p);

	if (!err)
		err = block_new(mem, p->kind, p->flags, p->bytes, p->name, &b);
	if (err)
		return err;
	err = attach(b, p);
	if (!err)
		err = bits_make(b);
	if (!err)
		err = link_up(b);
	if (err) {
		scrap(b);
		return err;
	}
	/* Not before: it is not called where we fail. */
	b->release = p->release;
	b->arg = p->arg;
	TRACE(object_create, (uintptr_t)b, OBJECT_BLOCK, b->id);
	*out = b;
	return 0;
}

int block_create_slow(struct vms_memory *mem, uint64_t bytes, const struct vms_slow_ops *ops,
		      void *arg, struct vms_block **out)
{
	struct vms_block *b = NULL;
	int err = block_new(mem, VMS_BLOCK_SLOW, VMS_BLOCK_STANDALONE, bytes, NULL, &b);

	if (err)
		return err;
	b->slow = ops;
	b->slow_arg = arg;
	err = link_up(b);
	if (err) {
		scrap(b);
		return err;
	}
	b->release = ops->release;
	b->arg = arg;
	TRACE(object_create, (uintptr_t)b, OBJECT_BLOCK, b->id);
	*out = b;
	return 0;
}

void block_free(struct vms_block *b)
{
	struct vms_memory *mem = b->mem;
	void (*release)(void *arg) = b->release;
	void *arg = b->arg;

	unlink(b);
	dirty_block_end(b);
	scrap(b);
	if (release)
		release(arg);
	memory_let_go(mem);
}

/* ---- Handles ---- */

int vms_block_create(struct vms_memory *mem, const struct vms_block_params *params,
		     struct vms_block **block)
{
	memory_reap_soon(mem);
	return block_create(mem, params, block);
}

struct vms_block *vms_block_ref(struct vms_block *block)
{
	object_ref(&block->object);
	return block;
}

void vms_block_unref(struct vms_block *block)
{
	struct vms_memory *mem;

	if (!block)
		return;
	/* The block may end here, and the memory with it. */
	mem = block->mem;
	memory_hold(mem);
	object_unref(&block->object);
	memory_reap_soon(mem);
	memory_let_go(mem);
}

int vms_block_remove(struct vms_block *block)
{
	struct vms_memory *mem = block->mem;
	unsigned pins;
	int err = 0;

	if (block->flags & VMS_BLOCK_STANDALONE)
		return fail(-ENOTSUP, "block %" PRIu64 " is stand-alone: it ends with its slots",
			    block->id);
	lock_take(&mem->space.lock);
	pins = atomic_load_explicit(&block->pins, memory_order_relaxed);
	if (block->removed)
		err = fail(-EBUSY, "block %" PRIu64 " is removed already", block->id);
	else if (block->slots || pins)
		err = fail(-EBUSY,
			   "block %" PRIu64 ": %" PRIu64 " slots show it, and %u spans are open",
			   block->id, block->slots, pins);
	else
		block->removed = true;
	lock_drop(&mem->space.lock);
	if (err)
		return err;
	object_unref(&block->object); /* not the last: the caller's is left */
	memory_reap_soon(mem);
	return 0;
}

/* ---- Asking ---- */

int vms_block_info(struct vms_block *block, struct vms_block_info *info)
{
	if (!info || info->size < sizeof(*info))
		return fail(-EINVAL, "block info: size %zu, expected %zu", info ? info->size : 0,
			    sizeof(*info));
	*info = (struct vms_block_info){
		.size = info->size,
		.id = block->id,
		.kind = block->kind,
		.flags = block->flags,
		.bytes = block->bytes,
		.hva = block->hva,
		.fd = block->fd,
		.fd_off = block->fd_off,
		.page_size = block->page_size,
		.slots = atomic_load_explicit(&block->slots, memory_order_relaxed),
		.pins = atomic_load_explicit(&block->pins, memory_order_relaxed) & ~PINS_DISCARD,
		.resident = block_host_resident(block),
	};
	memcpy(info->name, block->name, sizeof(info->name));
	return 0;
}
