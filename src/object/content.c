// SPDX-License-Identifier: MIT
/*
 * content.c: families, contents and views: who lives, and who waits for whom. The terms and the
 * invariants are in content.h.
 *
 * Ends: a view's last reference gives up its count of the content, the content's last count its
 * pages and its count of the root below, the family's last content the family. Each step runs after
 * the one before it, in a loop, with no lock held in between.
 */
#include "object/content.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/epoch.h"
#include "base/fail.h"
#include "base/trace.h"
#include "object/source.h"

#define BYTES_MAX (UINT64_C(1) << 62)

static atomic_uint_fast64_t last_id;

/* ---- Families ---- */

static int family_create(const struct world *w, struct family **out)
{
	struct family *f = w->alloc(w, sizeof(*f));

	if (!f)
		return fail(-ENOMEM, "no memory for a family of objects");
	memset(f, 0, sizeof(*f));
	lock_init(&f->lock, LOCK_OBJECT, "object family");
	atomic_init(&f->refs, 1);
	atomic_init(&f->inside, 0);
	pthread_cond_init(&f->moved, NULL);
	f->world = w;
	*out = f;
	return 0;
}

static void family_unref(struct family *f)
{
	if (atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1)
		return;
	pthread_cond_destroy(&f->moved);
	lock_fini(&f->lock);
	f->world->free(f->world, f, sizeof(*f));
}

static void family_wait(struct family *f) REQUIRES(f->lock)
{
	lock_wait(&f->lock, &f->moved);
}

void family_close(struct family *f)
{
	f->gates++;
	while (atomic_load_explicit(&f->inside, memory_order_acquire))
		family_wait(f);
}

void family_open(struct family *f)
{
	if (--f->gates == 0)
		pthread_cond_broadcast(&f->moved);
}

void family_wait_open(struct family *f)
{
	while (f->gates)
		family_wait(f);
}

void family_go_inside(struct family *f)
{
	atomic_fetch_add_explicit(&f->inside, 1, memory_order_relaxed);
}

/* Release pairs with family_close: it sees the bytes. Under the lock, so that nobody who is about
 * to wait misses the call. */
void family_leave_inside(struct family *f)
{
	if (atomic_fetch_sub_explicit(&f->inside, 1, memory_order_release) != 1)
		return;
	lock_take(&f->lock);
	if (f->gates)
		pthread_cond_broadcast(&f->moved);
	lock_drop(&f->lock);
}

static void family_add(struct family *f, struct content *c) REQUIRES(f->lock)
{
	c->next = f->contents;
	c->link = &f->contents;
	if (c->next)
		c->next->link = &c->next;
	c->pages.sibling = c->next ? &c->next->pages : NULL;
	f->contents = c;
}

static void family_remove(struct family *f, struct content *c) REQUIRES(f->lock)
{
	if (c->link != &f->contents) {
		struct content *prev =
			(struct content *)((char *)c->link - offsetof(struct content, next));

		prev->pages.sibling = c->pages.sibling;
	}
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
}

/* ---- Contents ---- */

static unsigned host_page_shift(void)
{
	return (unsigned)__builtin_ctzl((unsigned long)sysconf(_SC_PAGESIZE));
}

int content_create(const struct world *w, struct vms_arena *arena, struct content *parent,
		   enum content_kind kind, uint32_t flags, uint64_t npages, struct content **out)
{
	struct content *c = w->alloc(w, sizeof(*c));
	int err;

	if (!c)
		return fail(-ENOMEM, "no memory for an object's content");
	memset(c, 0, sizeof(*c));
	if (parent) {
		c->family = parent->family;
		atomic_fetch_add_explicit(&c->family->refs, 1, memory_order_relaxed);
	} else {
		err = family_create(w, &c->family);
		if (err) {
			w->free(w, c, sizeof(*c));
			return err;
		}
	}
	c->world = w;
	c->arena = arena ? arena_ref(arena) : NULL;
	c->shift = arena ? arena_page_shift(arena) : host_page_shift();
	atomic_init(&c->refs, 1);
	c->kind = kind;
	c->flags = flags & ~VMS_OBJECT_NO_WRITE;
	atomic_init(&c->npages, npages);
	atomic_init(&c->seq, 0);
	atomic_init(&c->below_limit, 0);
	pages_init(&c->pages, arena);
	c->fd = -1;
	if (arena)
		arena_count_metadata(arena, (int64_t)sizeof(*c));
	lock_take(&c->family->lock);
	family_add(c->family, c);
	lock_drop(&c->family->lock);
	*out = c;
	return 0;
}

struct content *content_ref(struct content *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

bool content_hold(struct arena_evictable *e)
{
	struct content *c = (struct content *)((char *)e - offsetof(struct content, evictable));
	unsigned refs = atomic_load_explicit(&c->refs, memory_order_relaxed);

	do {
		if (!refs)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		&c->refs, &refs, refs + 1, memory_order_acquire, memory_order_relaxed));
	return true;
}

void content_let_go(struct arena_evictable *e)
{
	content_unref((struct content *)((char *)e - offsetof(struct content, evictable)));
}

/* The pages of a contiguous content are pinned to their places by nothing but its life. */
static void drop_pages(struct content *c, struct frame_batch *freed)
{
	struct family *f = c->family;

	lock_take(&f->lock);
	family_remove(f, c);
	if (c->overlay_link) {
		*c->overlay_link = c->overlay_next;
		if (c->overlay_next)
			c->overlay_next->overlay_link = c->overlay_link;
	}
	if (c->arena)
		pages_fini(&c->pages, freed);
	lock_drop(&f->lock);
}

/* All of a content but its count of the root below, which is returned. */
static struct content *content_end(struct content *c)
{
	void (*release)(void *arg) = c->release;
	void *release_arg = c->release_arg;
	struct content *below = c->below;
	const struct world *w = c->world;
	struct frame_batch freed;

	if (c->flags & VMS_OBJECT_DISCARDABLE)
		arena_evictable_del(c->arena, &c->evictable);
	if (c->source)
		source_destroy(c->source);
	if (c->arena)
		frame_batch_init(&freed, c->arena);
	drop_pages(c, &freed);
	if (c->arena) {
		frame_batch_end(&freed);
		arena_nook_drop(c->arena, &c->nook);
		arena_count_metadata(c->arena, -(int64_t)sizeof(*c));
	}
	if (c->fd >= 0)
		w->fd_close(w, c->fd);
	family_unref(c->family);
	if (c->arena)
		arena_unref(c->arena);
	w->free(w, c, sizeof(*c));
	if (release)
		release(release_arg);
	return below;
}

void content_unref(struct content *c)
{
	while (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
		c = content_end(c);
}

/* ---- Views ---- */

int params_flags(const struct vms_object_params *params, uint32_t allowed)
{
	if (!params || params->size < sizeof(*params))
		return fail(-EINVAL, "object params: size %zu, expected %zu",
			    params ? params->size : 0, sizeof(*params));
	if (params->flags & ~allowed)
		return fail(-EINVAL, "object params: flags %#" PRIx32 " are not for this kind",
			    params->flags & ~allowed);
	if ((params->flags & VMS_OBJECT_RESIZABLE) &&
	    (params->flags & (VMS_OBJECT_NO_WRITE | VMS_OBJECT_CONTIGUOUS)))
		return fail(-EINVAL, "object params: RESIZABLE does not go with NO_WRITE or "
				     "CONTIGUOUS");
	return 0;
}

int params_pages(uint64_t bytes, unsigned shift, uint64_t *npages)
{
	uint64_t page = UINT64_C(1) << shift;

	if (bytes > BYTES_MAX - page)
		return fail(-ERANGE, "object params: size %#" PRIx64 " is above %#" PRIx64, bytes,
			    BYTES_MAX - page);
	*npages = (bytes + page - 1) >> shift;
	return 0;
}

static void view_end(struct vms_object *obj);

int view_create(struct content *c, enum vms_object_kind kind,
		const struct vms_object_params *params, struct view *parent, struct view **out)
{
	const struct world *w = c->world;
	bool names = kind == VMS_OBJECT_KIND_SLICE || kind == VMS_OBJECT_KIND_REFERENCE;
	struct view *v = w->alloc(w, sizeof(*v));
	size_t name_size = params->name ? strlen(params->name) + 1 : 0;
	char *name = NULL;

	if (v && name_size) {
		name = w->alloc(w, name_size);
		if (!name) {
			w->free(w, v, sizeof(*v));
			v = NULL;
		}
	}
	if (!v)
		return fail(-ENOMEM, "no memory for an object");
	memset(v, 0, sizeof(*v));
	if (name)
		memcpy(name, params->name, name_size);
	v->object.world = w;
	atomic_init(&v->object.refs, 1);
	v->object.kind = OBJECT_VIEW;
	v->object.fd = -1;
	v->object.name = name;
	v->object.name_size = name_size;
	v->object.end = view_end;
	v->content = c;
	v->kind = kind;
	v->flags = params->flags;
	v->id = atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1;
	v->no_children = params->no_children;
	v->arg = params->arg;
	if (names) {
		v->release = params->release;
	} else {
		c->release = params->release;
		c->release_arg = params->arg;
	}
	if (parent) {
		lock_take(&c->family->lock);
		view_adopt(parent, v);
		lock_drop(&c->family->lock);
	}
	TRACE(object_create, (uintptr_t)&v->object, OBJECT_VIEW, v->id);
	*out = v;
	return 0;
}

void view_adopt(struct view *parent, struct view *child)
{
	child->parent = parent;
	child->sibling = NULL;
	child->link = NULL;
	if (!parent)
		return;
	child->sibling = parent->children;
	child->link = &parent->children;
	if (child->sibling)
		child->sibling->link = &child->sibling;
	parent->children = child;
	parent->nchildren++;
	if (child->kind != VMS_OBJECT_KIND_SLICE)
		parent->content->children++;
}

static void view_free(struct epoch_head *head)
{
	struct view *v = (struct view *)((char *)head - offsetof(struct view, retired));

	v->object.world->free(v->object.world, v, sizeof(*v));
}

/*
 * The last reference went: the children become the parent's. A parent that has none left is told;
 * the callback and its argument are taken under the lock, since the parent may end meanwhile: it
 * holds its parameters' memory no longer than its caller does.
 * The view's own memory stays for those who found it without a lock and look at its count.
 */
static void view_end(struct vms_object *obj)
{
	struct view *v = view_of(obj);
	const struct world *w = obj->world;
	struct content *c = v->content;
	struct family *f = c->family;
	void (*told)(void *arg) = NULL;
	void *told_arg = NULL;
	struct view *child;

	TRACE(object_free, (uintptr_t)obj, OBJECT_VIEW, v->id);
	lock_take(&f->lock);
	while ((child = v->children)) {
		v->children = child->sibling;
		if (child->kind != VMS_OBJECT_KIND_SLICE)
			c->children--;
		view_adopt(v->parent, child);
	}
	if (v->parent) {
		*v->link = v->sibling;
		if (v->sibling)
			v->sibling->link = v->link;
		if (v->kind != VMS_OBJECT_KIND_SLICE)
			v->parent->content->children--;
		if (--v->parent->nchildren == 0) {
			told = v->parent->no_children;
			told_arg = v->parent->arg;
		}
	}
	lock_drop(&f->lock);
	if (told)
		told(told_arg);
	content_unref(c);
	if (v->release)
		v->release(v->arg);
	if (obj->name)
		w->free(w, obj->name, obj->name_size);
	obj->name = NULL;
	epoch_retire(&v->retired, view_free);
}

int view_usable(struct vms_object *obj)
{
	struct content *c;

	if (!obj || obj->kind != OBJECT_VIEW)
		return fail(-EINVAL, "this object has no pages");
	c = view_of(obj)->content;
	return c->arena ? arena_usable(c->arena) : 0;
}

uint64_t view_bytes(const struct vms_object *obj)
{
	const struct view *v = (const struct view *)obj;
	const struct content *c = v->content;
	uint64_t npages = v->kind == VMS_OBJECT_KIND_SLICE
				  ? v->npages
				  : atomic_load_explicit(&c->npages, memory_order_acquire);

	return npages << c->shift;
}

int view_range(struct vms_object *obj, uint64_t off, uint64_t len, const char *what,
	       struct page_range *r)
{
	struct view *v = view_of(obj);
	struct content *c = v->content;
	uint64_t bytes = view_bytes(obj), page = UINT64_C(1) << c->shift;

	if (off > bytes || len > bytes - off)
		return fail(-ERANGE,
			    "%s: [%#" PRIx64 ", +%#" PRIx64 ") leaves the object [0, %#" PRIx64 ")",
			    what, off, len, bytes);
	r->content = c;
	r->off = off + (v->at << c->shift);
	r->first = r->off >> c->shift;
	r->n = len ? ((r->off + len + page - 1) >> c->shift) - r->first : 0;
	return 0;
}

int content_range_holds(const struct content *c, uint64_t first, uint64_t n)
{
	uint64_t npages = atomic_load_explicit(&c->npages, memory_order_relaxed);

	if (first > npages || n > npages - first)
		return fail(-ERANGE,
			    "pages [%" PRIu64 ", +%" PRIu64 ") leave the object, which has %" PRIu64
			    " now",
			    first, n, npages);
	return 0;
}

/* ---- Creating, by kind ---- */

/* The first check of every call that creates in an arena. */
static int arena_given(struct vms_arena *arena)
{
	return arena ? arena_usable(arena) : fail(-EINVAL, "an object needs an arena");
}

/* A content of its own and its view; undone as a whole. Takes c's count. */
static int whole_view(struct content *c, enum vms_object_kind kind,
		      const struct vms_object_params *params, struct vms_object **obj)
{
	struct view *v;
	int err = view_create(c, kind, params, NULL, &v);

	if (err) {
		content_unref(c);
		return err;
	}
	*obj = &v->object;
	return 0;
}

/* A contiguous content gets all its pages now. The frames first: a size above the arena's limit
 * must not cost a tree for it. */
static int fill_contiguous(struct content *c)
{
	uint64_t n = atomic_load_explicit(&c->npages, memory_order_relaxed);
	struct frame_batch freed;
	frame_t first;
	int err;

	if (!n)
		return 0;
	lock_take(&c->family->lock);
	err = arena_grant_contiguous(c->arena, n, &first);
	if (!err) {
		err = pages_prepare(&c->pages, 0, n);
		if (err)
			err = fail(err, "no memory to keep track of %" PRIu64 " pages", n);
		frame_batch_init(&freed, c->arena);
		for (uint64_t i = 0; i < n; i++) {
			arena_touch(c->arena, first + (frame_t)i);
			if (err)
				frame_unref(&freed, first + (frame_t)i);
			else
				pages_set(&c->pages, i, first + (frame_t)i);
		}
		frame_batch_end(&freed);
	}
	lock_drop(&c->family->lock);
	if (err == -EDQUOT)
		err = fail(-ENOMEM, "%" PRIu64 " pages pass the arena's limit", n);
	return err;
}

int vms_object_create(struct vms_arena *arena, const struct vms_object_params *params,
		      struct vms_object **obj)
{
	struct content *c;
	uint64_t npages = 0;
	int err;

	err = arena_given(arena);
	if (!err)
		err = params_flags(params, VMS_OBJECT_RESIZABLE | VMS_OBJECT_DISCARDABLE |
						   VMS_OBJECT_CONTIGUOUS | VMS_OBJECT_NO_WRITE);
	if (!err)
		err = params_pages(params->bytes, arena_page_shift(arena), &npages);
	if (!err)
		err = content_create(arena_world(arena), arena, NULL, CONTENT_ANON, params->flags,
				     npages, &c);
	if (err)
		return err;
	c->stream = params->bytes;
	if (params->flags & VMS_OBJECT_DISCARDABLE)
		discard_register(c);
	if (params->flags & VMS_OBJECT_CONTIGUOUS) {
		err = fill_contiguous(c);
		if (err) {
			content_unref(c);
			return err;
		}
	}
	return whole_view(c, VMS_OBJECT_KIND_ANON, params, obj);
}

/* What a file object needs of its file. */
static int file_facts(const struct world *w, int fd, uint64_t *bytes, bool *writable)
{
	struct stat st;
	int err, flags;

	err = w->fstat(w, fd, &st);
	if (err)
		return fail(err, "descriptor %d: fstat: %s", fd, strerror(-err));
	if (!S_ISREG(st.st_mode))
		return fail(-ENOTSUP, "descriptor %d is no regular file", fd);
	flags = w->fd_flags(w, fd);
	if (flags < 0)
		return fail(flags, "descriptor %d: flags: %s", fd, strerror(-flags));
	*bytes = (uint64_t)st.st_size;
	*writable = (flags & O_ACCMODE) != O_RDONLY;
	return 0;
}

int vms_object_create_file(struct vms_arena *arena, int fd, const struct vms_object_params *params,
			   struct vms_object **obj)
{
	struct vms_object_params sized;
	uint64_t npages = 0, bytes = 0;
	bool writable = false;
	const struct world *w;
	struct content *c;
	int err;

	err = arena_given(arena);
	if (!err)
		err = params_flags(params, VMS_OBJECT_NO_WRITE);
	if (!err)
		err = file_facts(arena_world(arena), fd, &bytes, &writable);
	if (err)
		return err;
	w = arena_world(arena);
	sized = *params;
	if (!sized.bytes)
		sized.bytes = bytes;
	err = params_pages(sized.bytes, arena_page_shift(arena), &npages);
	if (!err)
		err = content_create(w, arena, NULL, CONTENT_FILE, params->flags, npages, &c);
	if (err)
		return err;
	c->stream = sized.bytes;
	c->fd_writable = writable;
	c->fd = w->fd_dup(w, fd);
	if (c->fd < 0) {
		err = fail(c->fd, "descriptor %d: cannot duplicate it: %s", fd, strerror(-c->fd));
		c->fd = -1;
		content_unref(c);
		return err;
	}
	return whole_view(c, VMS_OBJECT_KIND_FILE, &sized, obj);
}

int vms_object_create_host(void *hva, const struct vms_object_params *params,
			   struct vms_object **obj)
{
	const struct world *w = world_default;
	unsigned shift = host_page_shift();
	uint64_t mask = (UINT64_C(1) << shift) - 1, npages = 0;
	struct content *c;
	int err;

	err = params_flags(params, VMS_OBJECT_NO_WRITE);
	if (err)
		return err;
	if (!params->bytes || (params->bytes & mask) || ((uintptr_t)hva & mask) || !hva)
		return fail(-EINVAL, "host memory: %p, %#" PRIx64 " bytes: not page aligned", hva,
			    params->bytes);
	if (params->bytes > UINTPTR_MAX - (uintptr_t)hva)
		return fail(-ERANGE, "host memory: %p, %#" PRIx64 " bytes: wraps", hva,
			    params->bytes);
	err = params_pages(params->bytes, shift, &npages);
	if (!err)
		err = content_create(w, NULL, NULL, CONTENT_HOST, params->flags, npages, &c);
	if (err)
		return err;
	c->stream = params->bytes;
	c->hva = hva;
	return whole_view(c, VMS_OBJECT_KIND_HOST, params, obj);
}

int vms_object_create_paged(struct vms_arena *arena, struct vms_pager *pager, uint64_t key,
			    const struct vms_object_params *params, struct vms_object **obj)
{
	struct content *c;
	uint64_t npages = 0;
	int err;

	err = arena_given(arena);
	if (!err)
		err = params_flags(params, VMS_OBJECT_RESIZABLE | VMS_OBJECT_TRAP_DIRTY);
	if (!err && !pager)
		err = fail(-EINVAL, "a paged object needs a pager");
	if (!err)
		err = params_pages(params->bytes, arena_page_shift(arena), &npages);
	if (!err)
		err = content_create(arena_world(arena), arena, NULL, CONTENT_PAGED, params->flags,
				     npages, &c);
	if (err)
		return err;
	c->stream = params->bytes;
	err = source_create(arena_world(arena), pager, key, c, &c->source);
	if (err) {
		content_unref(c);
		return err;
	}
	return whole_view(c, VMS_OBJECT_KIND_PAGED, params, obj);
}

struct vms_object *vms_object_ref(struct vms_object *obj)
{
	return object_ref(obj);
}

void vms_object_unref(struct vms_object *obj)
{
	object_unref(obj);
}
