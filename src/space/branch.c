// SPDX-License-Identifier: MIT
/*
 * branch.c: a copy of a whole space at one instant.
 *
 *	gather		the source's mappings, and each view that they show, once	may fail
 *	prepare		regions, empty contents and views, rmaps, room in the tree	may fail
 *	instant		all families' gates, then all their locks: is anything in the
 *			way? (may fail); then every content becomes its copy
 *	install		rmaps are linked, the tree is filled				cannot fail
 *	(no lock)	an eager backend is filled; what was only needed meanwhile is dropped
 *
 * Terms:
 *	twin	a view of the source's, and what the branch has in its place
 *	copy	a content of the source's, and its snapshot. Views of one content are views of one
 *		snapshot in the branch: aliases stay aliases, and slices keep their windows.
 *
 * The source's lock is held from gather to install, so that the mappings are those of the instant.
 * The new space can be found by nobody, so it needs no lock.
 *
 * Why it is one instant. Who writes to an anonymous object or an overlay is one of:
 *
 *	a writer under its family's lock, or who is inside (content.h), with leave that he got
 *		under that lock while the gate was open
 *	a CPU, through an entry that a fault installed under that lock
 *	who has pinned pages: then there is no snapshot
 *
 * The gates are closed one after the other, each under its own lock alone. When the last one is
 * closed nobody is inside any of the families, and nobody will be: the gates stay closed though
 * their locks are free. To wait for a writer inside with several families locked would do as well,
 * but keep more callers waiting. Then all locks are taken, by rising address. From then on nobody
 * writes but CPUs. copy_take takes the right to write away from all entries of one content, and
 * returns when no CPU can use it any more; from then on, until the locks are dropped, nothing of
 * this content changes. So at the moment at which the last content loses its writers, all contents
 * are what their copies say: that is the instant. Whatever was written before in any of them is in
 * the branch, whatever is written later is not.
 *
 * Why nobody waits for ever. Whoever takes several families' locks takes them by rising address,
 * and who waits for writers inside a family holds no lock that these need: they copy bytes, and
 * want that one family's lock to leave, which is free while he waits. Several may close one gate.
 *
 * Invariants:
 *	1 after an error the source is as it was: no content has been shared, no view has a new
 *	  child
 *	2 twins are sorted by family, content, whole before slice, and view; none comes twice
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/range.h"
#include "object/child.h"
#include "space/vspace.h"

struct twin {
	struct view *from;
	struct view *to; /* with a reference; NULL: not yet */
	/* Of the first twin of its content; else `to` of that one is repeated, without a count. */
	struct copy copy;
};

struct branch {
	struct vms_space *s, *made;
	const struct world *w;
	/* The source's; the first n_rmaps of them have the branch's obj and rmap. */
	struct map *maps;
	size_t n, n_rmaps;
	struct twin *twins;
	size_t n_twins;
	uint32_t n_copies;
	bool installed; /* the made space has the rmaps */
};

/* ---- Gather ---- */

static bool is_slice(const struct view *v)
{
	return v->kind == VMS_OBJECT_KIND_SLICE;
}

/* inv. 2 */
static int compare(const struct view *l, const struct view *r)
{
	if (l == r)
		return 0;
	if (l->content->family != r->content->family)
		return l->content->family < r->content->family ? -1 : 1;
	if (l->content != r->content)
		return l->content < r->content ? -1 : 1;
	if (is_slice(l) != is_slice(r))
		return is_slice(l) ? 1 : -1;
	return l->id < r->id ? -1 : 1;
}

static int compare_views(const void *a, const void *b)
{
	return compare(*(struct view *const *)a, *(struct view *const *)b);
}

/* Is the view the twin's? For bsearch. */
static int compare_twin(const void *view, const void *twin)
{
	return compare(view, ((const struct twin *)twin)->from);
}

static struct content *content_of(const struct twin *t)
{
	return t->from->content;
}

static bool is_first_of_content(const struct branch *b, size_t i)
{
	return i == 0 || content_of(&b->twins[i - 1]) != content_of(&b->twins[i]);
}

static bool is_first_of_family(const struct branch *b, size_t i)
{
	return i == 0 || content_of(&b->twins[i - 1])->family != content_of(&b->twins[i])->family;
}

static bool is_shared(const struct map *m)
{
	return m->flags & VMS_MAP_SHARE;
}

/* What cannot be in a branch. */
static const char *obstacle(const struct map *m, const struct vms_mmu *mmu)
{
	const struct content *c = view_of(m->obj)->content;

	if (is_shared(m)) {
		/* mmu NULL: the branch fails anyway */
		if (c->kind == CONTENT_FILE && mmu && !(mmu->entries->caps & ENTRIES_FILES))
			return "a file, which the branch's backend cannot show";
		return NULL;
	}
	if (c->kind == CONTENT_HOST)
		return "host memory";
	if (c->kind == CONTENT_FILE)
		return "a file";
	if (c->kind == CONTENT_PAGED)
		return "a pager's object";
	if (c->flags & VMS_OBJECT_CONTIGUOUS)
		return "a contiguous object";
	if (c->flags & VMS_OBJECT_DISCARDABLE)
		return "a discardable object";
	return NULL;
}

/* All mappings: -ENOTSUP comes before -ESTALE. */
static int may_branch(const struct branch *b, const struct vms_mmu *mmu)
{
	int err = 0;

	for (size_t i = 0; i < b->n; i++) {
		const struct map *m = &b->maps[i];
		const char *what = obstacle(m, mmu);

		if (what)
			return fail(-ENOTSUP, "branch: [%#" PRIx64 ", %#" PRIx64 "] shows %s%s",
				    m->start, m->last, what,
				    is_shared(m) ? "" : ": no snapshot without VMS_MAP_SHARE");
	}
	for (size_t i = 0; i < b->n && !err; i++)
		err = view_usable(b->maps[i].obj);
	return err;
}

static int copy_maps(struct branch *b) REQUIRES(b->s->space.lock)
{
	const struct space *s = &b->s->space;

	b->n = s->counts.n;
	if (!b->n)
		return 0;
	b->maps = b->w->alloc(b->w, b->n * sizeof(*b->maps));
	if (!b->maps)
		return fail(-ENOMEM, "branch: no memory for %zu mappings", b->n);
	tree_copy(&s->tree, s->first, s->last, b->maps, b->n);
	return 0;
}

/* Each view of the list once, in order, to its front; how many. */
static size_t sort_views(struct view **views, size_t n)
{
	size_t k = 1;

	qsort(views, n, sizeof(struct view *), compare_views);
	for (size_t i = 1; i < n; i++)
		if (views[i] != views[k - 1])
			views[k++] = views[i];
	return k;
}

static int gather_twins(struct branch *b)
{
	size_t n = 0, size = b->n * sizeof(struct view *);
	struct view **views = b->n ? b->w->alloc(b->w, size) : NULL;

	if (b->n && !views)
		return fail(-ENOMEM, "branch: no memory for the views of %zu mappings", b->n);
	for (size_t i = 0; i < b->n; i++) {
		struct view *v = view_of(b->maps[i].obj);

		if (!is_shared(&b->maps[i]) && !(n && views[n - 1] == v))
			views[n++] = v;
	}
	if (n) {
		n = sort_views(views, n);
		b->twins = b->w->alloc(b->w, n * sizeof(*b->twins));
	}
	if (b->twins) {
		b->n_twins = n;
		for (size_t i = 0; i < n; i++)
			b->twins[i] = (struct twin){ .from = views[i] };
	}
	if (views)
		b->w->free(b->w, views, size);
	if (n && !b->twins)
		return fail(-ENOMEM, "branch: no memory for the views of %zu mappings", b->n);
	return 0;
}

static const struct twin *twin_of(const struct branch *b, struct vms_object *obj)
{
	return bsearch(view_of(obj), b->twins, b->n_twins, sizeof(*b->twins), compare_twin);
}

/* ---- Prepare ---- */

/* One of the source's regions in the branch's tree, with no links but those to its parent and the
 * node above. */
static struct region *region_like(struct branch *b, const struct region *r, struct region *parent,
				  struct region *up)
{
	struct region *n = b->w->alloc(b->w, sizeof(*n));

	if (!n)
		return NULL;
	*n = (struct region){ .world = b->w,
			      .space = b->made,
			      .tree = &b->made->regions,
			      .parent = parent,
			      .up = up,
			      .first = r->first,
			      .last = r->last,
			      .page = r->page,
			      .rights = r->rights,
			      .priority = r->priority,
			      .heap = r->heap,
			      .lo = r->lo,
			      .hi = r->hi,
			      .gap = r->gap };
	atomic_init(&n->refs, 1);
	b->made->regions.n++;
	return n;
}

/*
 * The tree of regions, link by link: two walks in step, from the root down along what is not copied
 * yet, else up. Regions may be nested deeply, so not by recursion.
 */
static int copy_regions(struct branch *b) REQUIRES(b->s->space.lock)
{
	const struct region *r = b->s->regions.root;
	struct region *n = b->made->regions.root, *up, *parent;

	b->made->regions.random = b->s->regions.random;
	b->made->regions.heap = b->s->regions.heap;
	n->priority = r->priority;
	while (r) {
		struct region **link = NULL;
		const struct region *next = NULL;

		up = n;
		parent = n->parent;
		if (r->left && !n->left) {
			next = r->left;
			link = &n->left;
		} else if (r->right && !n->right) {
			next = r->right;
			link = &n->right;
		} else if (r->children && !n->children) {
			next = r->children;
			link = &n->children;
			parent = n;
			up = NULL;
		}
		if (!next) {
			r = r->up ? r->up : r->parent;
			n = n->up ? n->up : n->parent;
			continue;
		}
		*link = region_like(b, next, parent, up);
		if (!*link)
			return fail(-ENOMEM, "branch: no memory for %zu regions", b->s->regions.n);
		n = *link;
		r = next;
	}
	return 0;
}

/* The first whole view of a content is the snapshot; further ones are other names of it. */
static int make_view(struct twin *t, bool first)
{
	const struct view *from = t->from;
	const struct vms_object_params params = { .size = sizeof(params),
						  .flags = from->flags,
						  .name = from->object.name };
	enum vms_object_kind kind = VMS_OBJECT_KIND_REFERENCE;
	int err;

	if (is_slice(from))
		kind = VMS_OBJECT_KIND_SLICE;
	else if (first)
		kind = VMS_OBJECT_KIND_ANON;
	err = view_create(content_ref(t->copy.to), kind, &params, NULL, &t->to);
	if (err) {
		t->to = NULL;
		content_unref(t->copy.to);
		return err;
	}
	t->to->snapshot = kind == VMS_OBJECT_KIND_ANON;
	t->to->at = from->at;
	t->to->npages = from->npages;
	return 0;
}

static int make_twins(struct branch *b)
{
	int err = 0;

	for (size_t i = 0; i < b->n_twins && !err; i++) {
		struct twin *t = &b->twins[i];
		struct content *from = content_of(t);
		bool first = is_first_of_content(b, i);

		t->copy = (struct copy){ .from = from, .window = UINT64_MAX };
		if (first) {
			err = copy_prepare(
				&t->copy, from->flags,
				atomic_load_explicit(&from->npages, memory_order_relaxed));
			if (err) {
				t->copy.to = NULL;
				break;
			}
			b->n_copies++;
		} else {
			t->copy.to = t[-1].copy.to;
		}
		err = make_view(t, first);
	}
	return err;
}

static int make_rmaps(struct branch *b)
{
	struct vms_space *made = b->made;
	const struct twin *t = NULL;

	for (; b->n_rmaps < b->n; b->n_rmaps++) {
		struct map *m = &b->maps[b->n_rmaps];

		if (!is_shared(m)) {
			if (!t || &t->from->object != m->obj)
				t = twin_of(b, m->obj);
			m->obj = &t->to->object;
		}
		m->rmap = rmap_new(b->w, made->mmu, region_innermost(&made->regions, m->start), m);
		if (!m->rmap)
			return fail(-ENOMEM, "branch: no memory for %zu mappings", b->n);
	}
	return 0;
}

static int prepare(struct branch *b) REQUIRES(b->s->space.lock)
{
	int err = gather_twins(b);

	if (!err)
		err = copy_regions(b);
	if (!err)
		err = make_twins(b);
	if (!err)
		err = make_rmaps(b);
	if (!err && b->n && tree_reserve(&b->made->space.tree, 1, b->n, b->n))
		err = fail(-ENOMEM, "branch: no memory for a tree of %zu mappings", b->n);
	return err;
}

/* ---- The instant ---- */

static struct family *family_of(const struct branch *b, size_t i)
{
	return content_of(&b->twins[i])->family;
}

static void close_gates(const struct branch *b)
{
	for (size_t i = 0; i < b->n_twins; i++) {
		struct family *f = family_of(b, i);

		if (!is_first_of_family(b, i))
			continue;
		lock_take(&f->lock);
		family_close(f);
		lock_drop(&f->lock);
	}
}

/* inv. 2: by rising address */
static void lock_all(const struct branch *b) UNCHECKED_LOCKS
{
	for (size_t i = 0; i < b->n_twins; i++)
		if (is_first_of_family(b, i))
			lock_take(&family_of(b, i)->lock);
}

static void open_all(const struct branch *b) UNCHECKED_LOCKS
{
	for (size_t i = b->n_twins; i-- > 0;) {
		if (!is_first_of_family(b, i))
			continue;
		family_open(family_of(b, i));
		lock_drop(&family_of(b, i)->lock);
	}
}

/* The sizes of the instant; they decide what is seen of the parent. */
static int all_ready(const struct branch *b) UNCHECKED_LOCKS
{
	int err = 0;

	for (size_t i = 0; i < b->n_twins && !err; i++) {
		const struct copy *copy = &b->twins[i].copy;

		if (!is_first_of_content(b, i))
			continue;
		atomic_store_explicit(
			&copy->to->npages,
			atomic_load_explicit(&copy->from->npages, memory_order_relaxed),
			memory_order_release);
		copy->to->stream = copy->from->stream;
		err = copy_ready(copy, b->n_copies);
	}
	return err;
}

static void take_all(const struct branch *b) UNCHECKED_LOCKS
{
	for (size_t i = 0; i < b->n_twins; i++) {
		const struct twin *t = &b->twins[i];

		if (is_first_of_content(b, i)) {
			int err = copy_take(&t->copy);

			assert(!err);
			(void)err;
		}
		view_adopt(t->from, t->to);
	}
}

static int instant(const struct branch *b)
{
	int err;

	close_gates(b);
	lock_all(b);
	err = all_ready(b);
	if (!err)
		take_all(b);
	open_all(b);
	return err;
}

/* ---- Install, and the end ---- */

static void install(struct branch *b)
{
	struct space *space = &b->made->space;

	for (size_t i = 0; i < b->n; i++) {
		rmap_link(b->maps[i].rmap);
		map_count(&space->rules, &space->counts, &b->maps[i]);
	}
	if (b->n)
		tree_replace(&space->tree, b->maps[0].start, b->maps[b->n - 1].last, b->maps, b->n);
	tree_trim(&space->tree);
	b->installed = true;
}

/* What was only needed meanwhile; after an error, that is all. No lock is held: objects may end. */
static void let_go(struct branch *b)
{
	for (size_t i = 0; i < b->n_rmaps && !b->installed; i++)
		rmap_free(b->w, b->maps[i].rmap);
	for (size_t i = 0; i < b->n_twins; i++) {
		struct twin *t = &b->twins[i];

		if (t->to)
			object_unref(&t->to->object);
	}
	/* The source's views may have gone: its lock is free. */
	for (size_t i = b->n_twins; i-- > 0;) {
		struct content *to = b->twins[i].copy.to;

		if (to && (i == 0 || b->twins[i - 1].copy.to != to))
			content_unref(to);
	}
	if (b->twins)
		b->w->free(b->w, b->twins, b->n_twins * sizeof(*b->twins));
	if (b->maps)
		b->w->free(b->w, b->maps, b->n * sizeof(*b->maps));
	if (!b->installed)
		vms_space_unref(b->made);
}

/* The new space, empty. */
static int make_space(struct branch *b, const struct vms_branch_params *p)
{
	const struct vms_space *s = b->s;
	const struct vms_space_params params = { .size = sizeof(params),
						 .flags = s->regions.seeded ? VMS_SPACE_RANDOM : 0,
						 .page_size = s->space.page_size,
						 .lo = s->space.first,
						 .hi = s->space.last + 1,
						 .mmu = p->mmu,
						 .fault_around =
							 (uint32_t)(s->around / s->granule) };

	return vms_space_create(&params, &b->made);
}

/* The source's lock is held throughout. made_err: why there is no new space; said if nothing else
 * is in the way. */
static int run(struct branch *b, int made_err) REQUIRES(b->s->space.lock)
{
	int err = copy_maps(b);

	if (!err)
		err = may_branch(b, b->made ? b->made->mmu : NULL);
	if (!err)
		err = made_err;
	if (!err)
		err = prepare(b);
	if (!err)
		err = instant(b);
	if (!err)
		install(b);
	return err;
}

int vms_space_branch(struct vms_space *space, const struct vms_branch_params *params,
		     struct vms_space **branch)
{
	struct branch b = { .s = space, .w = space->space.world };
	uint64_t done;
	int err;

	if (!params || params->size < sizeof(*params))
		return fail(-EINVAL, "branch: params of %zu bytes, need %zu",
			    params ? params->size : 0, sizeof(*params));
	if (params->flags)
		return fail(-EINVAL, "branch: unknown flags %#" PRIx32, params->flags);
	err = make_space(&b, params);
	if (err == -EINVAL)
		return err;
	if (b.made)
		b.w = b.made->space.world;
	lock_take(&b.s->space.lock);
	err = run(&b, err);
	lock_drop(&b.s->space.lock);
	let_go(&b);
	if (err)
		return err;
	/* What is not installed now is when it is touched. */
	if (b.made->mmu->entries->caps & ENTRIES_EAGER)
		space_fill(b.made, b.made->space.first, b.made->space.last, FILL_PRESENT, NULL,
			   &done);
	*branch = b.made;
	return 0;
}
