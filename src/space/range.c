// SPDX-License-Identifier: MIT
/*
 * range.c: operations on what is mapped in a range, mapping by mapping.
 *
 *	check the range once	then	lock, find the next mapping, reference its object, unlock
 *					the object's operation, nothing held
 *					install, where the operation says so
 *
 * Between two mappings anything may change: the position is an address, and what stands there is
 * found again. So the call is not atomic; it keeps what it did.
 *
 * Invariant: every byte below the position was mapped when it was come to, and the operation was
 * done on all of the mapping's part of the range then.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/fail.h"
#include "space/vspace.h"

struct range_op {
	struct vms_space *s;
	struct region *region;
	enum vms_region_op op;
	uint64_t at, last; /* what is left */
	struct vms_wait *wait;
	/* The next piece: [at, end] shows the object from off on. */
	struct vms_object *obj; /* a reference */
	uint64_t off, end;
};

/* What each operation is. */
static const struct kind {
	const char *name;
	bool children; /* it may reach into child regions */
	bool writes;   /* only where the ceiling allows writing */
	bool installs;
	bool asks; /* the object does something */
	enum vms_object_op op;
} kinds[] = {
	[VMS_REGION_COMMIT] = { "commit", false, true, true, true, VMS_OBJECT_COMMIT },
	[VMS_REGION_DECOMMIT] = { "decommit", false, true, false, true, VMS_OBJECT_DECOMMIT },
	[VMS_REGION_ZERO] = { "zero", false, true, false, true, VMS_OBJECT_ZERO },
	[VMS_REGION_MAP] = { "map", true, false, true, false, 0 },
	[VMS_REGION_PREFETCH] = { "prefetch", false, false, false, true, VMS_OBJECT_PREFETCH },
	[VMS_REGION_ALWAYS_NEED] = { "always need", true, false, true, true,
				     VMS_OBJECT_ALWAYS_NEED },
	[VMS_REGION_DONT_NEED] = { "don't need", true, false, false, true, VMS_OBJECT_DONT_NEED },
};

static bool is_op(enum vms_region_op op)
{
	return (unsigned)op < sizeof(kinds) / sizeof(kinds[0]) && kinds[op].name;
}

static int check_range(const struct range_op *o, uint64_t addr, uint64_t len, uint64_t *last)
{
	const struct region *r = o->region;

	if (!len || !is_aligned(addr | len, o->s->space.page_size))
		return fail(-EINVAL, "%s: %#" PRIx64 " bytes at %#" PRIx64 " are not whole pages",
			    kinds[o->op].name, len, addr);
	if (!range_last(addr, len, last) || addr < r->first || *last > r->last)
		return fail(-ERANGE,
			    "%s: [%#" PRIx64 ", +%#" PRIx64 ") leaves the region [%#" PRIx64
			    ", %#" PRIx64 "]",
			    kinds[o->op].name, addr, len, r->first, r->last);
	return 0;
}

/* -EBUSY: the region is dead. -EINVAL: a child region is in the way. */
static int check_region(const struct range_op *o)
{
	uint64_t last;

	return region_range(o->region, o->at, o->last - o->at + 1,
			    kinds[o->op].children ? CHILDREN_ANY : CHILDREN_NONE, &last);
}

/* The mapping at the position, and what of it is in the range. */
static int find_piece(struct range_op *o) REQUIRES(o->s->space.lock)
{
	const char *name = kinds[o->op].name;
	struct map m;
	int err = check_region(o);

	if (err)
		return err;
	if (!tree_find(&o->s->space.tree, o->at, &m) || m.start > o->at)
		return fail(-EBUSY, "%s: nothing is mapped at %#" PRIx64, name, o->at);
	if (kinds[o->op].writes && !(m.ceiling & VMS_PROT_WRITE))
		return fail(-EACCES, "%s: the mapping at %#" PRIx64 " may never be written", name,
			    o->at);
	o->obj = object_ref(m.obj);
	o->off = m.off + (o->at - m.start);
	o->end = min_u64(m.last, o->last);
	return 0;
}

static int next_piece(struct range_op *o)
{
	int err;

	lock_take(&o->s->space.lock);
	err = find_piece(o);
	lock_drop(&o->s->space.lock);
	return err;
}

/* What is there is shown. It asks nobody, so it does not wait. */
static int install(const struct range_op *o)
{
	if (space_fill(o->s, o->at, o->end, FILL_PRESENT, NULL, NULL) == VMS_FAULT_NO_MEMORY)
		return fail(-ENOMEM, "%s: the backend has no memory", kinds[o->op].name);
	return 0;
}

static int do_piece(struct range_op *o)
{
	const struct kind *kind = &kinds[o->op];
	int err = 0;

	if (kind->asks)
		err = vms_object_op(o->obj, kind->op, o->off, o->end - o->at + 1, o->wait);
	object_unref(o->obj);
	if (!err && kind->installs)
		err = install(o);
	return err;
}

int vms_region_op(struct vms_region *region, enum vms_region_op op, uint64_t addr, uint64_t len,
		  struct vms_wait *wait)
{
	struct range_op o = {
		.region = (struct region *)region, .op = op, .at = addr, .wait = wait
	};
	int err;

	o.s = o.region->space;
	if (!is_op(op))
		return fail(-EINVAL, "region: unknown operation %d", (int)op);
	err = check_range(&o, addr, len, &o.last);
	if (err)
		return err;
	for (;; o.at = o.end + 1) {
		err = next_piece(&o);
		if (!err)
			err = do_piece(&o);
		if (err || o.end == o.last)
			return err;
	}
}
