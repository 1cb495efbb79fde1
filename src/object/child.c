// SPDX-License-Identifier: MIT
/*
 * child.c: snapshots, overlays, slices and references of an object.
 *
 *	parent is		SNAPSHOT	SNAPSHOT_LAZY	SNAPSHOT_MODIFIED
 *	anonymous, snapshot	share the tree	share the tree	share the tree
 *	paged or file		-ENOTSUP	overlay		overlay
 *	overlay			-ENOTSUP	share the tree and hang off the same root
 *
 * Sharing a tree is what makes an instant: the gate is closed, so that no writer is half way, and
 * from then on neither side changes a shared node. An overlay of an overlay could show later
 * changes of the upper one by its contract (LAZY); it does not, which is one rule less.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/fail.h"
#include "base/range.h"
#include "object/look.h"
#include "object/shown.h"

struct birth {
	struct view *pv;    /* the parent's view */
	struct content *pc; /* ... and content */
	uint64_t off;	    /* first page, in pc */
	uint64_t window;    /* pages of the parent from there on that the child may see */
	uint64_t npages;    /* the child's size */
	const struct vms_object_params *params;
};

static bool is_slice(const struct view *v)
{
	return v->kind == VMS_OBJECT_KIND_SLICE;
}

static int may_copy(const struct birth *b, enum vms_child_kind kind)
{
	const struct content *pc = b->pc;
	bool root = pc->kind == CONTENT_PAGED || pc->kind == CONTENT_FILE;

	if (pc->flags & VMS_OBJECT_CONTIGUOUS)
		return fail(-EINVAL, "a contiguous object has no snapshots");
	if (pc->kind == CONTENT_HOST)
		return fail(-ENOTSUP, "host memory has no snapshots");
	if ((root || pc->below) && kind == VMS_CHILD_SNAPSHOT)
		return fail(-ENOTSUP, "above a pager or a file there is no SNAPSHOT: take "
				      "SNAPSHOT_LAZY or SNAPSHOT_MODIFIED");
	if (is_slice(b->pv) && !root)
		return fail(-ENOTSUP,
			    "a slice has no snapshots, but of a pager's or file's object");
	return 0;
}

/* The child hangs off the root: it shows there what its own tree lacks. */
static void hang(const struct birth *b, struct content *c, struct content *root, uint64_t at,
		 uint64_t limit) REQUIRES(b->pc->family->lock)
{
	if (!limit)
		return; /* nothing to inherit: zeros, and the root need not live for them */
	c->below = content_ref(root);
	c->below_at = at;
	atomic_store_explicit(&c->below_limit, limit, memory_order_release);
	c->overlay_next = root->overlays;
	c->overlay_link = &root->overlays;
	if (c->overlay_next)
		c->overlay_next->overlay_link = &c->overlay_next;
	root->overlays = c;
}

/* What of the parent the child can see now, in pages. */
static uint64_t seen_pages(const struct birth *b)
{
	uint64_t size = atomic_load_explicit(&b->pc->npages, memory_order_relaxed);
	uint64_t there = b->off < size ? size - b->off : 0;

	return min_u64(min_u64(there, b->window), b->npages);
}

/* c, new and empty, becomes a copy at this instant. */
static int share_tree(const struct birth *b, struct content *c) REQUIRES(b->pc->family->lock)
{
	struct content *pc = b->pc;
	uint64_t n = seen_pages(b), limit, pinned;
	int err;

	pinned = content_pinned(b->pc, b->off, n);
	if (pinned != UINT64_MAX)
		return fail(-EBUSY, "snapshot: page %" PRIu64 " of the parent is pinned", pinned);
	if (n && pages_next(&pc->pages, pc->bias + b->off, pc->bias + b->off + n) <
			 pc->bias + b->off + n) {
		if (b->npages > PAGES_MAX - pc->bias - b->off)
			return fail(-ERANGE,
				    "snapshot: page %" PRIu64 " of the root, +%" PRIu64
				    ", is too far",
				    pc->bias + b->off, b->npages);
		content_read_only(b->pc, b->off, n);
		err = pages_share(&c->pages, &pc->pages, pc->bias + b->off, n);
		if (err)
			return fail(err, "no memory for a snapshot of %" PRIu64 " pages", n);
		c->bias = pc->bias + b->off;
	}
	limit = atomic_load_explicit(&pc->below_limit, memory_order_relaxed);
	if (pc->below && b->off < limit)
		hang(b, c, pc->below, pc->below_at + b->off, min_u64(n, limit - b->off));
	return 0;
}

static int make_copy(const struct birth *b, struct content *c)
{
	struct content *pc = b->pc;
	int err = 0;

	c->copy = true;
	c->stream = b->params->bytes;
	lock_take(&b->pc->family->lock);
	if (pc->kind == CONTENT_PAGED || pc->kind == CONTENT_FILE) {
		hang(b, c, pc, b->off, seen_pages(b));
	} else {
		family_close(b->pc->family);
		err = share_tree(b, c);
		family_open(b->pc->family);
	}
	lock_drop(&b->pc->family->lock);
	return err;
}

static int copy_child(const struct birth *b, enum vms_child_kind kind, struct view **out)
{
	struct content *c;
	int err;

	err = may_copy(b, kind);
	if (err)
		return err;
	if (b->pc->flags & VMS_OBJECT_DISCARDABLE)
		return fail(-ENOTSUP, "a discardable object has no children");
	err = content_create(b->pc->world, b->pc->arena, b->pc, CONTENT_ANON, b->params->flags,
			     b->npages, &c);
	if (err)
		return err;
	err = make_copy(b, c);
	if (!err)
		err = view_create(c, VMS_OBJECT_KIND_ANON, b->params, b->pv, out);
	if (err) {
		content_unref(c);
		return err;
	}
	(*out)->snapshot = true;
	return 0;
}

/* Another view of the parent's content, with its count. */
static int view_child(const struct birth *b, enum vms_object_kind kind, struct view **out)
{
	struct content *c = content_ref(b->pc);
	int err = view_create(c, kind, b->params, b->pv, out);

	if (err)
		content_unref(c);
	return err;
}

static int slice_child(const struct birth *b, struct view **out)
{
	uint64_t size = atomic_load_explicit(&b->pc->npages, memory_order_relaxed);
	int err;

	if (is_slice(b->pv))
		size = b->pv->at + b->pv->npages;
	if (b->off > size || b->npages > size - b->off)
		return fail(-EINVAL,
			    "slice: pages [%" PRIu64 ", +%" PRIu64 ") leave the parent's %" PRIu64,
			    b->off, b->npages, size);
	if (b->pc->flags & (VMS_OBJECT_DISCARDABLE | VMS_OBJECT_RESIZABLE))
		return fail(-ENOTSUP, "a slice of an object that may be resized or discarded");
	err = view_child(b, VMS_OBJECT_KIND_SLICE, out);
	if (err)
		return err;
	(*out)->at = b->off;
	(*out)->npages = b->npages;
	return 0;
}

static int reference_child(const struct birth *b, uint64_t off, struct view **out)
{
	if (off || b->params->bytes)
		return fail(-EINVAL, "a reference is the whole object: offset and size must be 0");
	if (b->pc->flags & (VMS_OBJECT_CONTIGUOUS | VMS_OBJECT_DISCARDABLE))
		return fail(-ENOTSUP, "a reference of a contiguous or discardable object");
	if (b->pc->kind == CONTENT_HOST || is_slice(b->pv))
		return fail(-ENOTSUP, "a reference of host memory or of a slice");
	if ((b->params->flags & VMS_OBJECT_RESIZABLE) && !(b->pv->flags & VMS_OBJECT_RESIZABLE))
		return fail(-ENOTSUP, "a resizable reference of an object that is not");
	return view_child(b, VMS_OBJECT_KIND_REFERENCE, out);
}

/* Whatever the parent is. */
static int args_check(const struct birth *b, enum vms_child_kind kind, uint64_t off)
{
	uint32_t allowed = VMS_OBJECT_NO_WRITE;

	if (kind < VMS_CHILD_SNAPSHOT || kind > VMS_CHILD_REFERENCE)
		return fail(-EINVAL, "child: unknown kind %d", (int)kind);
	if (off & ((UINT64_C(1) << b->pc->shift) - 1))
		return fail(-EINVAL, "child: offset %#" PRIx64 " is not page aligned", off);
	if (kind != VMS_CHILD_SLICE)
		allowed |= VMS_OBJECT_RESIZABLE;
	return params_flags(b->params, allowed);
}

int vms_object_child(struct vms_object *parent, enum vms_child_kind kind, uint64_t off,
		     const struct vms_object_params *params, struct vms_object **child)
{
	struct birth b = { .pv = view_of(parent), .params = params, .window = UINT64_MAX };
	struct view *v;
	int err;

	err = view_usable(parent);
	if (err)
		return err;
	b.pc = b.pv->content;
	err = args_check(&b, kind, off);
	if (!err)
		err = params_pages(params->bytes, b.pc->shift, &b.npages);
	if (err)
		return err;
	if (params->bytes > UINT64_MAX - off)
		return fail(-ERANGE, "child: [%#" PRIx64 ", +%#" PRIx64 ") wraps", off,
			    params->bytes);
	b.off = (off >> b.pc->shift) + b.pv->at;
	if (is_slice(b.pv)) {
		uint64_t rel = off >> b.pc->shift;

		b.window = rel < b.pv->npages ? b.pv->npages - rel : 0;
	}
	switch (kind) {
	case VMS_CHILD_SNAPSHOT:
	case VMS_CHILD_SNAPSHOT_LAZY:
	case VMS_CHILD_SNAPSHOT_MODIFIED:
		err = copy_child(&b, kind, &v);
		break;
	case VMS_CHILD_SLICE:
		err = slice_child(&b, &v);
		break;
	case VMS_CHILD_REFERENCE:
		err = reference_child(&b, off, &v);
		break;
	default: /* args_check */
		return -EINVAL;
	}
	if (!err)
		*child = &v->object;
	return err;
}
