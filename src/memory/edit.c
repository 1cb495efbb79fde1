// SPDX-License-Identifier: MIT
/*
 * edit.c: a list of changes of slots, and its commit. All or nothing.
 *
 *	plan		each change in order, on copies (space/plan.h)	may fail: nothing happened
 *	events		what is different; none: done
 *	table		nodes copied, filled, not published		may fail
 *	prepare		the listeners'					may refuse
 *	apply		the listeners', perhaps in the gate		may fail: taken back
 *	splice, publish	the slots, the table, the counts		cannot fail
 *	commit		the listeners'; the gate opens; the lock is dropped; what ended is freed
 *
 * A list names blocks by a count each, so that one that is mapped and replaced in the same list, or
 * lives by its slots alone, stays until the list has ended.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "memory/memory.h"

enum verb { MAP, UNMAP, PROTECT };

struct change {
	enum verb verb;
	uint64_t first, last;
	struct vms_block *block; /* MAP: with a count */
	uint64_t off;
	uint8_t access;
	bool noreplace;
};

struct vms_edit {
	struct vms_memory *mem; /* with a reference */
	const struct world *world;
	struct change *change;
	size_t n, room;
};

/* ---- The list ---- */

int vms_edit_begin(struct vms_memory *mem, struct vms_edit **out)
{
	struct vms_edit *e = mem->world->alloc(mem->world, sizeof(*e));

	if (!e)
		return fail(-ENOMEM, "no memory for an edit");
	*e = (struct vms_edit){ .mem = vms_memory_ref(mem), .world = mem->world };
	*out = e;
	return 0;
}

static void end(struct vms_edit *e)
{
	struct vms_memory *mem = e->mem;
	const struct world *w = e->world;

	for (size_t i = 0; i < e->n; i++)
		if (e->change[i].block)
			object_unref(&e->change[i].block->object);
	if (e->change)
		w->free(w, e->change, e->room * sizeof(*e->change));
	w->free(w, e, sizeof(*e));
	memory_reap_soon(mem);
	vms_memory_unref(mem);
}

struct vms_memory *edit_memory(const struct vms_edit *e)
{
	return e->mem;
}

void vms_edit_abort(struct vms_edit *e)
{
	if (e)
		end(e);
}

/* Room for one more. */
static int reserve(struct vms_edit *e)
{
	size_t room = e->room ? 2 * e->room : 8;
	struct change *more;

	if (e->n < e->room)
		return 0;
	more = e->world->alloc(e->world, room * sizeof(*more));
	if (!more)
		return fail(-ENOMEM, "no memory for an edit of %zu changes", e->n + 1);
	if (e->change) {
		memcpy(more, e->change, e->n * sizeof(*more));
		e->world->free(e->world, e->change, e->room * sizeof(*more));
	}
	e->change = more;
	e->room = room;
	return 0;
}

static int check_aligned(const struct vms_edit *e, const char *what, uint64_t gpa, uint64_t len)
{
	uint64_t page = e->mem->page_size;

	if (!len || !is_aligned(gpa | len, page))
		return fail(-EINVAL,
			    "%s: %#" PRIx64 " bytes at %#" PRIx64 ": both must be multiples of "
			    "%#" PRIx64 ", and not 0 bytes",
			    what, len, gpa, page);
	return 0;
}

static int check_limit(const struct vms_edit *e, const char *what, uint64_t gpa, uint64_t len,
		       uint64_t *last)
{
	uint64_t limit = e->mem->space.last;

	if (!range_last(gpa, len, last) || *last > limit)
		return fail(-ERANGE,
			    "%s: %#" PRIx64 " bytes at %#" PRIx64
			    " pass the last address %#" PRIx64,
			    what, len, gpa, limit);
	return 0;
}

static int check_range(const struct vms_edit *e, const char *what, uint64_t gpa, uint64_t len,
		       uint64_t *last)
{
	int err = check_aligned(e, what, gpa, len);

	return err ? err : check_limit(e, what, gpa, len, last);
}

static int check_access(const char *what, uint32_t access, uint32_t flags)
{
	if (access & ~(VMS_SLOT_RAM | flags) || !(access & VMS_SLOT_RAM))
		return fail(-EINVAL,
			    "%s: access %#x: at least one of %#x, and no other bits than %#x", what,
			    access, VMS_SLOT_RAM, VMS_SLOT_RAM | flags);
	return 0;
}

/* Add a map. The list takes over the caller's count of the block, but not on an error. */
static int add_map(struct vms_edit *e, uint64_t first, uint64_t last, struct vms_block *b,
		   uint64_t off, uint32_t access)
{
	int err = reserve(e);

	if (!err)
		e->change[e->n++] = (struct change){ .verb = MAP,
						     .first = first,
						     .last = last,
						     .block = b,
						     .off = off,
						     .access = access & VMS_SLOT_RAM,
						     .noreplace = access & VMS_SLOT_NOREPLACE };
	return err;
}

/* What is wrong with the arguments of a map alone; the limit is looked at last. */
static int check_map(const struct vms_edit *e, uint64_t gpa, uint64_t len, uint32_t access)
{
	int err = check_access("map", access, VMS_SLOT_NOREPLACE);

	return err ? err : check_aligned(e, "map", gpa, len);
}

int vms_slot_map(struct vms_edit *e, uint64_t gpa, uint64_t len, struct vms_block *b, uint64_t off,
		 uint32_t access)
{
	uint64_t last = 0, end_off;
	int err = check_access("map", access, VMS_SLOT_NOREPLACE);

	if (err)
		return err;
	if (!b || b->mem != e->mem)
		return fail(-EINVAL, "map: %s", b ? "the block is another memory's" : "no block");
	if (!is_aligned(off, e->mem->page_size))
		return fail(-EINVAL, "map: offset %#" PRIx64 " is no multiple of %#" PRIx64, off,
			    e->mem->page_size);
	err = check_range(e, "map", gpa, len, &last);
	if (err)
		return err;
	if (!range_last(off, len, &end_off) || end_off >= b->bytes)
		return fail(-ERANGE,
			    "map: %#" PRIx64 " bytes from %#" PRIx64
			    " leave block '%s' of %#" PRIx64,
			    len, off, b->name, b->bytes);
	if (access & VMS_SLOT_WRITE && b->flags & VMS_BLOCK_READ)
		return fail(-EACCES, "map: block '%s' may only be read", b->name);
	if (b->removed)
		return fail(-EBUSY, "map: block '%s' was removed", b->name);
	err = add_map(e, gpa, last, b, off, access);
	if (!err)
		object_ref(&b->object);
	return err;
}

int vms_slot_map_host(struct vms_edit *e, uint64_t gpa, uint64_t len, void *hva,
		      void (*release)(void *arg), void *arg, uint32_t access)
{
	struct vms_block_params p = { .size = sizeof(p),
				      .flags = VMS_BLOCK_STANDALONE,
				      .kind = VMS_BLOCK_HOST,
				      .bytes = len,
				      .hva = hva,
				      .release = release,
				      .arg = arg };
	struct vms_block *b;
	uint64_t last = 0, hva_last;
	int err = check_map(e, gpa, len, access);

	if (!err && (!hva || !is_aligned((uintptr_t)hva, e->mem->page_size) ||
		     !range_last((uintptr_t)hva, len, &hva_last)))
		err = fail(-EINVAL, "map: host memory at %p is not page aligned, or wraps", hva);
	if (!err)
		err = check_limit(e, "map", gpa, len, &last);
	if (!err)
		err = reserve(e);
	if (!err)
		err = block_create(e->mem, &p, &b);
	return err ? err : add_map(e, gpa, last, b, 0, access);
}

int vms_slot_map_slow(struct vms_edit *e, uint64_t gpa, uint64_t len,
		      const struct vms_slow_ops *ops, void *arg, uint32_t access)
{
	struct vms_block *b;
	uint64_t last = 0;
	int err = check_map(e, gpa, len, access);

	if (!err && (!ops || ops->size < sizeof(*ops)))
		err = fail(-EINVAL, "slow slot: ops of %zu bytes, need %zu", ops ? ops->size : 0,
			   sizeof(*ops));
	if (!err)
		err = check_limit(e, "map", gpa, len, &last);
	if (!err)
		err = reserve(e);
	if (!err)
		err = block_create_slow(e->mem, len, ops, arg, &b);
	return err ? err : add_map(e, gpa, last, b, 0, access);
}

int vms_slot_unmap(struct vms_edit *e, uint64_t gpa, uint64_t len)
{
	uint64_t last = 0;
	int err = check_range(e, "unmap", gpa, len, &last);

	if (!err)
		err = reserve(e);
	if (!err)
		e->change[e->n++] = (struct change){ .verb = UNMAP, .first = gpa, .last = last };
	return err;
}

int vms_slot_protect(struct vms_edit *e, uint64_t gpa, uint64_t len, uint32_t access)
{
	uint64_t last = 0;
	int err = check_access("protect", access, 0);

	if (!err)
		err = check_range(e, "protect", gpa, len, &last);
	if (!err)
		err = reserve(e);
	if (!err)
		e->change[e->n++] = (struct change){
			.verb = PROTECT, .first = gpa, .last = last, .access = (uint8_t)access
		};
	return err;
}

/* ---- Planning ---- */

/* What a walk over the pieces of a range finds. */
struct pieces {
	uint64_t first, n; /* the first one's start; bytes */
	uint64_t last;	   /* the first one's */
	bool any;
	uint8_t access;			 /* to be given; 0: look only */
	const struct vms_block *refuses; /* may only be read */
};

static void look_at(struct map *piece, void *arg)
{
	struct pieces *p = arg;

	if (!p->any) {
		p->first = piece->start;
		p->last = piece->last;
	}
	p->any = true;
	p->n += piece->last - piece->start + 1;
	if (p->access & VMS_SLOT_WRITE && block_of(piece->obj)->flags & VMS_BLOCK_READ)
		p->refuses = block_of(piece->obj);
	if (p->access)
		piece->prot = p->access;
}

/* The slot that the first piece was cut from, as it would stand. */
static void make_whole(const struct plan *plan, struct pieces *p)
{
	size_t i = 0, k;

	while (plan->cur[i].start != p->first)
		i++;
	for (k = i; k > 0 && map_continues(&plan->cur[k - 1], &plan->cur[k]); k--)
		;
	p->first = plan->cur[k].start;
	for (k = i; k + 1 < plan->n && map_continues(&plan->cur[k], &plan->cur[k + 1]); k++)
		;
	p->last = plan->cur[k].last;
}

static int plan_map_slot(struct edit *edit, const struct change *c)
{
	struct map m = { .start = c->first,
			 .last = c->last,
			 .obj = &c->block->object,
			 .off = c->off,
			 .prot = c->access,
			 .ceiling = VMS_SLOT_RAM };
	struct pieces there = { 0 };
	int err = 0;

	if (c->noreplace)
		err = edit_update(edit, c->first, c->last, look_at, &there);
	if (err)
		return err;
	if (there.any) {
		make_whole(&edit->plan, &there);
		return fail(-EEXIST,
			    "map: [%#" PRIx64 ", %#" PRIx64 "] overlaps the slot [%#" PRIx64
			    ", %#" PRIx64 "]",
			    c->first, c->last, there.first, there.last);
	}
	if (c->block->removed)
		return fail(-EBUSY, "map: block '%s' was removed", c->block->name);
	return edit_map(edit, &m);
}

static int plan_protect(struct edit *edit, const struct change *c)
{
	struct pieces p = { .access = c->access };
	int err = edit_update(edit, c->first, c->last, look_at, &p);

	if (err)
		return err;
	if (p.n != c->last - c->first + 1)
		return fail(-ENOENT, "protect: there is a hole in [%#" PRIx64 ", %#" PRIx64 "]",
			    c->first, c->last);
	if (p.refuses)
		return fail(-EACCES, "protect: block '%s' may only be read", p.refuses->name);
	return 0;
}

static int plan_all(struct edit *edit, const struct vms_edit *e)
{
	int err = 0;

	for (size_t i = 0; !err && i < e->n; i++) {
		const struct change *c = &e->change[i];

		switch (c->verb) {
		case MAP:
			err = plan_map_slot(edit, c);
			break;
		case UNMAP:
			err = edit_unmap(edit, c->first, c->last);
			break;
		case PROTECT:
			err = plan_protect(edit, c);
			break;
		}
	}
	return err ? err : edit_prepare(edit);
}

/* ---- The commit ---- */

#define EVENTS 8 /* of an ordinary edit: no allocation */

struct commit {
	struct vms_memory *mem;
	struct edit edit;
	struct table_edit table;
	struct vms_slot_event *ev;
	size_t n, room;
	bool has_table, gated;
	struct vms_slot_event few[EVENTS];
};

static size_t list_events(const struct plan *p, struct vms_slot_event *ev, size_t room)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_win; i++) {
		const struct plan_window *w = &p->win[i];
		size_t left = n < room ? room - n : 0;

		n += events_between(p->old + w->old_at, w->old_n, p->cur + w->cur_at, w->cur_n,
				    left ? ev + n : NULL, left);
	}
	return n;
}

static int make_events(struct commit *c)
{
	const struct world *w = c->mem->world;
	size_t n = list_events(&c->edit.plan, c->few, EVENTS);

	c->n = n;
	if (n <= EVENTS)
		return 0;
	c->ev = w->alloc(w, n * sizeof(*c->ev));
	if (!c->ev) {
		c->ev = c->few;
		return fail(-ENOMEM, "no memory for %zu events", n);
	}
	c->room = n;
	list_events(&c->edit.plan, c->ev, n);
	return 0;
}

/* A slot's entry is the same for all its pages, so that of an event's part is the slot's. */
static int make_table(struct commit *c)
{
	int err = 0;

	table_edit_init(&c->table, &c->mem->table);
	c->has_table = true;
	for (size_t i = 0; !err && i < c->n; i++) {
		const struct vms_slot_event *ev = &c->ev[i];
		const struct vms_slot_info *info =
			ev->kind == VMS_SLOT_REMOVED ? &ev->before : &ev->after;
		struct table_entry e = { 0 };

		if (ev->kind != VMS_SLOT_REMOVED)
			e = slot_entry(&(struct map){ .start = info->gpa,
						      .last = info->gpa + (info->len - 1),
						      .obj = &info->block->object,
						      .off = info->off,
						      .prot = (uint8_t)info->access });
		err = table_edit_set(&c->table, info->gpa, info->gpa + (info->len - 1),
				     ev->kind == VMS_SLOT_REMOVED ? NULL : &e);
	}
	return err ? fail(err, "no memory for the table of %zu changes", c->n) : 0;
}

/* => the memory's lock, as perform() */
static int prepare(struct commit *c, const struct vms_edit *e)
{
	int err;

	space_held(&c->mem->space);
	if (c->mem->broken)
		return fail(-EIO, "the memory is broken: a backend could not follow an edit");
	err = plan_all(&c->edit, e);
	if (err == -ENOMEM)
		err = fail(err, "no memory for an edit of %zu changes", e->n);
	if (!err)
		err = make_events(c);
	if (err || !c->n)
		return err;
	err = make_table(c);
	if (!err)
		err = listeners_prepare(c->mem, c->ev, c->n);
	return err ? err : listeners_apply(c->mem, c->ev, c->n, &c->gated);
}

static void count_shown(struct commit *c)
{
	const struct plan *p = &c->edit.plan;

	for (size_t i = 0; i < p->n_win; i++) {
		const struct plan_window *w = &p->win[i];

		for (size_t k = 0; k < w->old_n; k++)
			block_of(p->old[w->old_at + k].obj)->slots--;
		for (size_t k = 0; k < w->cur_n; k++)
			block_of(p->cur[w->cur_at + k].obj)->slots++;
	}
	for (size_t i = 0; i < c->n; i++) {
		const struct vms_slot_event *ev = &c->ev[i];

		if (ev->kind != VMS_SLOT_ADDED)
			ev->before.block->shown -= ev->before.len;
		if (ev->kind != VMS_SLOT_REMOVED)
			ev->after.block->shown += ev->after.len;
	}
}

static void perform(struct commit *c)
{
	struct tree *tree = &c->mem->space.tree;
	bool begun;

	space_held(&c->mem->space);
	/* Spans read the tree, all else the table: who saw the new slots in one sees them in both. */
	begun = tree_change_begin(tree);
	table_edit_show(&c->table);
	edit_splice(&c->edit);
	tree_change_end(tree, begun);
	tree_trim(tree);
	table_edit_publish(&c->table);
	count_shown(c);
	listeners_commit(c->mem, c->ev, c->n);
	listeners_leave(c->mem, c->gated);
	edit_finish(&c->edit);
}

int vms_edit_commit(struct vms_edit *e)
{
	struct vms_memory *mem = e->mem;
	struct commit c = { .mem = mem };
	int err;

	c.ev = c.few;
	lock_take(&mem->space.lock);
	edit_init(&c.edit, &mem->space);
	err = prepare(&c, e);
	if (!err && c.n) {
		perform(&c);
	} else {
		if (c.has_table)
			table_edit_abort(&c.table);
		edit_abort(&c.edit);
	}
	lock_drop(&mem->space.lock);
	if (c.ev != c.few)
		mem->world->free(mem->world, c.ev, c.room * sizeof(*c.ev));
	end(e);
	return err;
}

/* ---- A memory of ranges ---- */

static int map_range(struct vms_edit *e, const struct vms_range *r)
{
	struct vms_block_params p = { .size = sizeof(p),
				      .flags = VMS_BLOCK_STANDALONE,
				      .kind = VMS_BLOCK_ANON,
				      .bytes = r->len };
	struct vms_block *b;
	uint64_t last = 0;
	int err = check_limit(e, "map", r->gpa, r->len, &last);

	if (!err)
		err = reserve(e);
	if (!err)
		err = block_create(e->mem, &p, &b);
	return err ? err : add_map(e, r->gpa, last, b, 0, VMS_SLOT_RAM | VMS_SLOT_NOREPLACE);
}

int vms_memory_from_ranges(const struct vms_memory_params *params, const struct vms_range *ranges,
			   size_t n, struct vms_memory **out)
{
	struct vms_memory *mem;
	struct vms_edit *e = NULL;
	int err = vms_memory_create(params, &mem);

	if (err)
		return err;
	err = vms_edit_begin(mem, &e);
	if (!err) {
		for (size_t i = 0; !err && i < n; i++)
			err = check_aligned(e, "map", ranges[i].gpa, ranges[i].len);
		for (size_t i = 0; !err && i < n; i++)
			err = map_range(e, &ranges[i]);
		if (err)
			vms_edit_abort(e);
		else
			err = vms_edit_commit(e);
	}
	if (err)
		vms_memory_unref(mem);
	else
		*out = mem;
	return err;
}
