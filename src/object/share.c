// SPDX-License-Identifier: MIT
/*
 * share.c: who has how much: info, exact shares, and the validator of a family.
 *
 * A frame's count says how many leaves hold it, not how many objects see it: a leaf may be shared
 * itself. So sharers are counted on demand, over the family's nodes (pages_sharers).
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/fail.h"
#include "object/shown.h"
#include "object/source.h"

/* pages[k]: how many pages are seen by k objects; k is at most the family's number of contents. */
struct histogram {
	uint64_t *pages;
	uint64_t n;
};

static uint64_t family_size(const struct family *f) REQUIRES(f->lock)
{
	uint64_t n = 0;

	for (const struct content *c = f->contents; c; c = c->next)
		n++;
	return n;
}

static void add_to_histogram(void *arg, uint64_t sharers, uint64_t frames)
{
	struct histogram *h = arg;

	h->pages[sharers] += frames;
}

static void add_owned(void *arg, uint64_t sharers, uint64_t frames)
{
	if (sharers == 1)
		*(uint64_t *)arg += frames;
}

/* Names of another object's pages have none of their own. */
static bool has_share(const struct view *v)
{
	return v->content->arena && v->kind != VMS_OBJECT_KIND_SLICE &&
	       v->kind != VMS_OBJECT_KIND_REFERENCE;
}

static int rows_of(const struct histogram *h, struct vms_share *rows, size_t *n)
{
	size_t room = *n, used = 0;

	for (uint64_t k = 1; k < h->n; k++) {
		if (!h->pages[k])
			continue;
		if (used < room)
			rows[used] = (struct vms_share){ .sharers = k, .pages = h->pages[k] };
		used++;
	}
	*n = used;
	return used > room ? fail(-EOVERFLOW, "share: %zu rows, room for %zu", used, room) : 0;
}

int vms_object_share(struct vms_object *obj, struct vms_share *rows, size_t *n)
{
	struct view *v = view_of(obj);
	struct content *c;
	struct histogram h;
	size_t size;
	int err;

	err = view_usable(obj);
	if (err)
		return err;
	if (!n || (!rows && *n))
		return fail(-EINVAL, "share: no room for the rows");
	if (!has_share(v)) {
		*n = 0;
		return 0;
	}
	c = v->content;
	lock_take(&c->family->lock);
	h.n = family_size(c->family) + 1;
	size = h.n * sizeof(*h.pages);
	h.pages = c->world->alloc(c->world, size);
	if (!h.pages) {
		lock_drop(&c->family->lock);
		return fail(-ENOMEM, "no memory to count the sharers of %" PRIu64 " objects", h.n);
	}
	memset(h.pages, 0, size);
	pages_sharers(&c->family->contents->pages, &c->pages, add_to_histogram, &h);
	lock_drop(&c->family->lock);
	err = rows_of(&h, rows, n);
	c->world->free(c->world, h.pages, size);
	return err;
}

int vms_object_info(struct vms_object *obj, struct vms_object_info *info)
{
	struct view *v = view_of(obj);
	uint64_t owned = 0;
	struct content *c;
	int err;

	err = view_usable(obj);
	if (err)
		return err;
	if (!info || info->size < sizeof(*info))
		return fail(-EINVAL, "object info: size %zu, expected %zu", info ? info->size : 0,
			    sizeof(*info));
	c = v->content;
	*info = (struct vms_object_info){ .size = info->size };
	info->id = v->id;
	info->kind = v->kind;
	info->flags = v->flags;
	info->snapshot = v->snapshot;
	info->bytes = view_bytes(obj);
	info->name = v->object.name ? v->object.name : "";
	lock_take(&c->family->lock);
	info->parent_id = v->parent ? v->parent->id : 0;
	info->stream_size = v->kind == VMS_OBJECT_KIND_SLICE ? info->bytes : c->stream;
	info->children = v->nchildren;
	info->pinned = c->pins;
	info->modified = c->source ? source_is_modified(c->source) : 0;
	if (has_share(v)) {
		info->total = pages_count(&c->pages, 0, PAGES_MAX) << c->shift;
		pages_sharers(&c->family->contents->pages, &c->pages, add_owned, &owned);
		info->owned = owned << c->shift;
	}
	lock_drop(&c->family->lock);
	return 0;
}

/* ---- The validator ---- */

/* => the family's lock, here and below */
static int check_slots(const struct content *c, uint64_t *frames, uint64_t *pins)
{
	uint64_t end = PAGES_MAX, npages = atomic_load(&c->npages);
	bool paged = c->kind == CONTENT_PAGED;

	for (uint64_t i = pages_next(&c->pages, 0, end); i < end;
	     i = pages_next(&c->pages, i + 1, end)) {
		slot_t slot = pages_get(&c->pages, i);
		unsigned marks;

		if (i < c->bias || i - c->bias >= npages)
			return fail(-EINVAL, "invariant 2: a slot at index %" PRIu64, i);
		if (!slot_is_frame(slot)) {
			if (!paged && !(c->copy && slot == SLOT_ZERO))
				return fail(-EINVAL, "invariant 3: mark %u at page %" PRIu64, slot,
					    i - c->bias);
			continue;
		}
		(*frames)++;
		*pins += frame_pins(c->arena, slot);
		if (frame_pins(c->arena, slot) && !pages_exclusive(&c->pages, i))
			return fail(-EINVAL, "invariant 6: page %" PRIu64 " is pinned and shared",
				    i - c->bias);
		marks = frame_marks(c->arena, slot) & (FRAME_DIRTY | FRAME_CLEANING);
		if (marks && (!paged || marks == (FRAME_DIRTY | FRAME_CLEANING)))
			return fail(-EINVAL, "invariant 9: marks %#x at page %" PRIu64, marks,
				    i - c->bias);
	}
	return 0;
}

static bool is_contiguous(const struct content *c)
{
	frame_t first = pages_get(&c->pages, 0);

	for (uint64_t i = 0; i < atomic_load(&c->npages); i++)
		if (pages_get(&c->pages, i) != first + (frame_t)i)
			return false;
	return true;
}

static int check_content(struct content *c)
{
	uint64_t frames = 0, pins = 0;
	struct content *o;
	int err;

	if (c->below) {
		for (o = c->below->overlays; o && o != c; o = o->overlay_next)
			;
		if (!o || c->below->family != c->family || !atomic_load(&c->below->refs))
			return fail(-EINVAL, "invariant 1: an overlay that its root does not know");
	}
	if (atomic_load(&c->below_limit) > atomic_load(&c->npages))
		return fail(-EINVAL, "invariant 4: the root shows past the end");
	if (!c->arena)
		return 0;
	err = pages_check(&c->pages);
	if (!err)
		err = check_slots(c, &frames, &pins);
	if (!err && c->source)
		err = source_check(c->source);
	if (err)
		return err;
	if (frames != pages_count(&c->pages, 0, PAGES_MAX))
		return fail(-EINVAL, "invariant 2: %" PRIu64 " frames were counted", frames);
	if ((c->flags & VMS_OBJECT_CONTIGUOUS) && !is_contiguous(c))
		return fail(-EINVAL, "invariant 5: a contiguous object has a hole");
	if (pins != c->pins)
		return fail(-EINVAL, "invariant 6: %" PRIu64 " pins on pages, %" PRIu64 " counted",
			    pins, c->pins);
	if (c->discarded && (frames || c->locks))
		return fail(-EINVAL, "invariant 7: discarded, with pages or locked");
	return 0;
}

/* Pages that k objects see each are counted k times over the family. */
static int check_shares(const struct family *f, uint64_t *distinct) REQUIRES(f->lock)
{
	struct histogram h = { .n = family_size(f) + 1 };
	size_t size = h.n * sizeof(*h.pages);
	int err = 0;

	h.pages = f->world->alloc(f->world, size);
	if (!h.pages)
		return fail(-ENOMEM, "no memory to check shares");
	memset(h.pages, 0, size);
	for (struct content *c = f->contents; c; c = c->next)
		if (c->arena)
			pages_sharers(&f->contents->pages, &c->pages, add_to_histogram, &h);
	for (uint64_t k = 1; !err && k < h.n; k++) {
		if (h.pages[k] % k)
			err = fail(-EINVAL,
				   "invariant 8: %" PRIu64 " pages seen by %" PRIu64
				   " do not divide",
				   h.pages[k], k);
		*distinct += h.pages[k] / k;
	}
	f->world->free(f->world, h.pages, size);
	return err;
}

int content_check(struct vms_object *any, uint64_t *frames)
{
	struct family *f = view_of(any)->content->family;
	uint64_t distinct = 0;
	int err = 0;

	lock_take(&f->lock);
	for (struct content *c = f->contents; c && !err; c = c->next)
		err = check_content(c);
	if (!err)
		err = shown_check(f);
	if (!err)
		err = check_shares(f, &distinct);
	lock_drop(&f->lock);
	if (frames)
		*frames = distinct;
	return err;
}
