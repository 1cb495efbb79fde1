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
#include "object/child.h"

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

static bool is_root(const struct content *c)
{
	return c->kind == CONTENT_PAGED || c->kind == CONTENT_FILE;
}

/* ---- Copies ---- */

int copy_allowed(const struct content *from, enum vms_child_kind kind)
{
	if (from->flags & VMS_OBJECT_CONTIGUOUS)
		return fail(-EINVAL, "a contiguous object has no snapshots");
	if (from->kind == CONTENT_HOST)
		return fail(-ENOTSUP, "host memory has no snapshots");
	if ((is_root(from) || from->below) && kind == VMS_CHILD_SNAPSHOT)
		return fail(-ENOTSUP, "above a pager or a file there is no SNAPSHOT: take "
				      "SNAPSHOT_LAZY or SNAPSHOT_MODIFIED");
	return 0;
}

int copy_prepare(struct copy *copy, uint32_t flags, uint64_t npages)
{
	const struct content *from = copy->from;
	int err = content_create(from->world, from->arena, copy->from, CONTENT_ANON, flags, npages,
				 &copy->to);

	if (!err)
		copy->to->copy = true;
	return err;
}

/* What of the parent the child can see now, in pages. */
static uint64_t seen_pages(const struct copy *copy)
{
	uint64_t size = atomic_load_explicit(&copy->from->npages, memory_order_relaxed);
	uint64_t there = copy->first < size ? size - copy->first : 0;

	return min_u64(min_u64(there, copy->window),
		       atomic_load_explicit(&copy->to->npages, memory_order_relaxed));
}

/* The index in the parent's tree of the child's first page, and of what is behind its last. */
static void indices(const struct copy *copy, uint64_t *first, uint64_t *end)
{
	*first = copy->from->bias + copy->first;
	*end = *first + seen_pages(copy);
}

static bool has_pages(const struct copy *copy)
{
	uint64_t first, end;

	indices(copy, &first, &end);
	return first < end && pages_next(&copy->from->pages, first, end) < end;
}

int copy_ready(const struct copy *copy, uint32_t n)
{
	const struct content *from = copy->from;
	uint64_t npages = atomic_load_explicit(&copy->to->npages, memory_order_relaxed);
	uint64_t first, end, pinned;

	family_held(from);
	if (is_root(from))
		return 0;
	pinned = content_pinned(from, copy->first, seen_pages(copy));
	if (pinned != UINT64_MAX)
		return fail(-EBUSY, "snapshot: page %" PRIu64 " of the parent is pinned", pinned);
	if (!has_pages(copy))
		return 0;
	indices(copy, &first, &end);
	if (npages > PAGES_MAX - first)
		return fail(-ERANGE,
			    "snapshot: page %" PRIu64 " of the root, +%" PRIu64 ", is too far",
			    first, npages);
	if (!pages_may_share(&from->pages, n))
		return fail(-ENOMEM, "too many snapshots of the same pages");
	return 0;
}

/* The child hangs off the root: it shows there what its own tree lacks. */
static void hang(struct content *c, struct content *root, uint64_t at, uint64_t limit)
	REQUIRES(root->family->lock)
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

/* Of a whole parent there is nothing to cut off, so no node to copy. */
static int share_tree(const struct copy *copy) REQUIRES(copy->from->family->lock)
{
	struct content *from = copy->from, *to = copy->to;
	uint64_t first, end, size = atomic_load_explicit(&from->npages, memory_order_relaxed);
	int err = 0;

	indices(copy, &first, &end);
	content_read_only(copy->from, copy->first, end - first);
	if (copy->first == 0 && end - first == size)
		pages_share_all(&to->pages, &from->pages);
	else
		err = pages_share(&to->pages, &from->pages, first, end - first);
	if (err)
		return fail(err, "no memory for a snapshot of %" PRIu64 " pages", end - first);
	to->bias = first;
	return 0;
}

int copy_take(const struct copy *copy)
{
	struct content *from = copy->from, *to = copy->to;
	uint64_t n = seen_pages(copy), limit;
	int err = 0;

	family_held(from);
	if (is_root(from)) {
		hang(to, from, copy->first, n);
		return 0;
	}
	if (has_pages(copy))
		err = share_tree(copy);
	limit = atomic_load_explicit(&from->below_limit, memory_order_relaxed);
	if (!err && from->below && copy->first < limit) {
		family_held(from->below); /* one family */
		hang(to, from->below, from->below_at + copy->first,
		     min_u64(n, limit - copy->first));
	}
	return err;
}

/* ---- Snapshots and overlays ---- */

static int may_copy(const struct birth *b, enum vms_child_kind kind)
{
	int err = copy_allowed(b->pc, kind);

	if (!err && is_slice(b->pv) && !is_root(b->pc))
		err = fail(-ENOTSUP, "a slice has no snapshots, but of a pager's or file's object");
	if (!err && (b->pc->flags & VMS_OBJECT_DISCARDABLE))
		err = fail(-ENOTSUP, "a discardable object has no children");
	return err;
}

/* The copy, and its view becomes the parent's child. A root's writers are let be: it is shown, not
 * copied. */
static int take_one(const struct birth *b, const struct copy *copy, struct view *v)
{
	struct family *f = b->pc->family;
	bool close = !is_root(b->pc);
	int err;

	lock_take(&f->lock);
	family_held(copy->from);
	if (close)
		family_close(f);
	err = copy_ready(copy, 1);
	if (!err)
		err = copy_take(copy);
	if (!err)
		view_adopt(b->pv, v);
	if (close)
		family_open(f);
	lock_drop(&f->lock);
	return err;
}

static int copy_child(const struct birth *b, enum vms_child_kind kind, struct view **out)
{
	struct copy copy = { .from = b->pc, .first = b->off, .window = b->window };
	struct view *v;
	int err;

	err = may_copy(b, kind);
	if (!err)
		err = copy_prepare(&copy, b->params->flags, b->npages);
	if (err)
		return err;
	copy.to->stream = b->params->bytes;
	err = view_create(copy.to, VMS_OBJECT_KIND_ANON, b->params, NULL, &v);
	if (err) {
		content_unref(copy.to);
		return err;
	}
	v->snapshot = true;
	err = take_one(b, &copy, v);
	if (err) {
		copy.to->release = NULL; /* the caller has no object that could be released */
		object_unref(&v->object);
		return err;
	}
	*out = v;
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
