// SPDX-License-Identifier: MIT
/*
 * memory.c: a guest-physical memory's life, and looking at it. The edit is in edit.c.
 *
 * Invariants, checked by vms_memory_check()
 *
 *	1 the slots are a valid space (space.c): in order, disjoint, page aligned, merged
 *	2 a slot shows a block of this memory, inside its bytes, with a right, and does not write to
 *	  one that may only be read
 *	3 a block's `shown` and `slots` are the bytes and the number of the slots that show it; a
 *	  removed one is shown by none
 *	4 the published table shows at every page what the slots say, and is valid (table.c)
 */
#include "memory/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/epoch_inline.h"
#include "memory/dirty.h"

/* ---- Slots ---- */

static uint32_t classes(const struct map *m)
{
	return 1;
}

void slot_tell(const struct map *m, struct vms_slot_info *info)
{
	struct vms_block *b = block_of(m->obj);

	*info = (struct vms_slot_info){ .gpa = m->start,
					.len = m->last - m->start + 1,
					.access = m->prot,
					.kind = b->kind,
					.block = b,
					.off = m->off,
					.hva = b->hva ? b->hva + m->off : NULL };
}

struct table_entry slot_entry(const struct map *m)
{
	struct vms_block *b = block_of(m->obj);

	if (!b->hva)
		return (struct table_entry){ .at = (m->off - m->start) | m->prot | ENTRY_SLOW,
					     .more = (uintptr_t)b };
	return (struct table_entry){ .at = ((uintptr_t)b->hva + m->off - m->start) | m->prot,
				     .more = dirty_delta(b, m->off, m->start) };
}

/* ---- Life ---- */

#define LINE (_Alignof(struct vms_memory))

void memory_hold(struct vms_memory *mem)
{
	atomic_fetch_add_explicit(&mem->holds, 1, memory_order_relaxed);
}

void memory_let_go(struct vms_memory *mem)
{
	const struct world *w = mem->world;

	if (atomic_fetch_sub_explicit(&mem->holds, 1, memory_order_acq_rel) != 1)
		return;
	table_fini(&mem->table);
	space_fini(&mem->space);
	share_end(mem);
	lock_fini(&mem->dirty_lock);
	w->free(w, mem->raw, sizeof(*mem) + LINE - 1);
}

static int check_params(const struct vms_memory_params *p, uint64_t page)
{
	if (!p || p->size < sizeof(*p))
		return fail(-EINVAL, "memory: params of %zu bytes, need %zu", p ? p->size : 0,
			    sizeof(*p));
	if (p->flags)
		return fail(-EINVAL, "memory: unknown flags %#x", p->flags);
	if (!is_aligned(p->limit, page))
		return fail(-EINVAL, "memory: limit %#" PRIx64 " is no multiple of %#" PRIx64,
			    p->limit, page);
	if (!p->gate.enter != !p->gate.leave)
		return fail(-EINVAL, "memory: a gate has enter and leave, or neither");
	return 0;
}

int vms_memory_create(const struct vms_memory_params *params, struct vms_memory **out)
{
	static const struct map_rules rules = { .classes = classes };
	const struct world *w = world_default;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct vms_memory *mem;
	unsigned char *raw;
	int err = check_params(params, page);

	if (err)
		return err;
	raw = w->alloc(w, sizeof(*mem) + LINE - 1);
	if (!raw)
		return fail(-ENOMEM, "no memory for a memory");
	mem = (void *)(raw + (-(uintptr_t)raw & (LINE - 1)));
	memset(mem, 0, sizeof(*mem));
	mem->raw = raw;
	mem->world = w;
	mem->page_size = page;
	mem->gate = params->gate;
	if (params->name)
		strncpy(mem->name, params->name, sizeof(mem->name) - 1);
	space_init(&mem->space, w, &rules, NULL, 0, params->limit - 1, page);
	tree_let_read(&mem->space.tree);
	table_init(&mem->table, w);
	dirty_init(mem);
	atomic_init(&mem->refs, 1);
	atomic_init(&mem->holds, 1);
	*out = mem;
	return 0;
}

struct vms_memory *vms_memory_ref(struct vms_memory *mem)
{
	atomic_fetch_add_explicit(&mem->refs, 1, memory_order_relaxed);
	return mem;
}

/* No handle is left: no port, no log, no backend. Blocks that somebody still holds outlive it. */
static void take_down(struct vms_memory *mem)
{
	struct space *s = &mem->space;
	uint64_t first = s->first, last = s->last;
	struct table_edit all;
	struct map m;

	lock_take(&s->lock);
	/* Who marks a block that it holds may look at the table meanwhile. All of it goes, so that
	 * takes no memory. */
	table_edit_init(&all, &mem->table);
	if (!table_edit_set(&all, 0, UINT64_MAX, NULL))
		table_edit_publish(&all);
	for (uint64_t addr = first; space_find(s, addr, &m); addr = m.last + 1) {
		block_of(m.obj)->shown -= m.last - m.start + 1;
		block_of(m.obj)->slots--;
		object_unref(m.obj);
		if (m.last == UINT64_MAX)
			break;
	}
	tree_fini(&s->tree);
	tree_init(&s->tree, mem->world, &s->rules, first, last);
	memset(&s->counts, 0, sizeof(s->counts));
	for (struct vms_block *b = mem->blocks; b; b = b->next)
		if (!b->removed && !(b->flags & VMS_BLOCK_STANDALONE)) {
			b->removed = true;
			object_unref(&b->object);
		}
	while (mem->listeners) {
		struct listener *l = mem->listeners;

		mem->listeners = l->next;
		mem->world->free(mem->world, l, sizeof(*l));
	}
	lock_drop(&s->lock);
}

void vms_memory_unref(struct vms_memory *mem)
{
	if (!mem || atomic_fetch_sub_explicit(&mem->refs, 1, memory_order_acq_rel) != 1)
		return;
	take_down(mem);
	if (epoch_inside())
		memory_reap(mem);
	else
		vms_memory_synchronize(mem);
	memory_let_go(mem);
}

/* ---- Blocks that ended ---- */

void memory_bury(struct vms_block *b)
{
	struct vms_memory *mem = b->mem;
	struct vms_block *top = atomic_load_explicit(&mem->dead, memory_order_relaxed);

	b->ended = epoch_now();
	do
		b->dead = top;
	while (!atomic_compare_exchange_weak_explicit(&mem->dead, &top, b, memory_order_release,
						      memory_order_relaxed));
}

/* In a release call: it may be inside the same reap() of this or another memory, or of two that wait
 * for each other. So who is in one waits for none. */
static _Thread_local unsigned releasing;

/* Free those that nobody reads; the others go back. => holds of mem, not in a bracket */
static void reap(struct vms_memory *mem)
{
	struct vms_block *all, *next, *top;

	atomic_fetch_add(&mem->reaping, 1);
	releasing++;
	all = atomic_exchange(&mem->dead, NULL);
	for (struct vms_block *b = all; b; b = next) {
		next = b->dead;
		if (epoch_passed(b->ended)) {
			block_free(b);
			continue;
		}
		top = atomic_load_explicit(&mem->dead, memory_order_relaxed);
		do
			b->dead = top;
		while (!atomic_compare_exchange_weak_explicit(
			&mem->dead, &top, b, memory_order_release, memory_order_relaxed));
	}
	releasing--;
	atomic_fetch_sub(&mem->reaping, 1);
}

/* What others took before the call is freed, or back. */
static void wait_for_reapers(struct vms_memory *mem)
{
	while (!releasing && atomic_load(&mem->reaping))
		sched_yield();
}

/*
 * Blocks of memories without a handle that ended inside a bracket of their thread: no other call
 * would free them, and in the bracket nobody may wait.
 */
_Atomic(struct vms_memory *) memory_orphans;

static void make_orphan(struct vms_memory *mem)
{
	struct vms_memory *top = atomic_load_explicit(&memory_orphans, memory_order_relaxed);

	if (atomic_exchange(&mem->orphaned, true))
		return;
	memory_hold(mem);
	do
		mem->orphan = top;
	while (!atomic_compare_exchange_weak_explicit(&memory_orphans, &top, mem,
						      memory_order_release, memory_order_relaxed));
}

void memory_reap_orphans(void)
{
	struct vms_memory *mem, *next;

	for (mem = atomic_exchange_explicit(&memory_orphans, NULL, memory_order_acquire); mem;
	     mem = next) {
		next = mem->orphan;
		atomic_exchange(&mem->orphaned, false); /* sees what they buried */
		memory_reap(mem);
		memory_let_go(mem);
	}
}

void memory_reap(struct vms_memory *mem)
{
	/* Nobody comes here any more who would try again? */
	bool last = atomic_load_explicit(&mem->refs, memory_order_acquire) == 0;

	if (epoch_inside()) {
		if (last)
			make_orphan(mem);
		return;
	}
	memory_hold(mem);
	reap(mem);
	/* Not before: the handle may have gone while we had blocks in our hands. */
	if (atomic_load_explicit(&mem->refs, memory_order_acquire) == 0)
		while (atomic_load_explicit(&mem->dead, memory_order_acquire)) {
			epoch_synchronize();
			reap(mem);
		}
	memory_let_go(mem);
}

void vms_memory_synchronize(struct vms_memory *mem)
{
	epoch_synchronize();
	memory_hold(mem);
	/* They may put back what they looked at too early. */
	wait_for_reapers(mem);
	reap(mem);
	wait_for_reapers(mem);
	memory_let_go(mem);
}

/* ---- Looking ---- */

int vms_memory_info(struct vms_memory *mem, struct vms_memory_info *info)
{
	struct space *s = &mem->space;

	if (!info || info->size < sizeof(*info))
		return fail(-EINVAL, "memory info: size %zu, expected %zu", info ? info->size : 0,
			    sizeof(*info));
	lock_take(&s->lock);
	*info = (struct vms_memory_info){ .size = info->size,
					  .limit = s->last,
					  .slots = s->counts.n,
					  .mapped = s->counts.bytes[0],
					  .blocks = mem->n_blocks,
					  .edits = s->edits,
					  .metadata = mem->table.bytes +
						      s->counts.n * sizeof(struct map),
					  .gated = mem->gated,
					  .broken = mem->broken };
	lock_drop(&s->lock);
	return 0;
}

int vms_slot_find(struct vms_memory *mem, uint64_t gpa, struct vms_slot_info *info)
{
	struct map m;
	bool found;

	lock_take(&mem->space.lock);
	found = space_find(&mem->space, gpa, &m) && m.start <= gpa;
	if (found)
		slot_tell(&m, info);
	lock_drop(&mem->space.lock);
	return found ? 0 : fail(-ENOENT, "nothing is mapped at %#" PRIx64, gpa);
}

int vms_slot_next(struct vms_memory *mem, struct vms_slot_cursor *cursor,
		  struct vms_slot_info *info)
{
	struct map m;
	bool found;

	if (cursor->end)
		return fail(-ENOENT, "no slot at %#" PRIx64 " or above", cursor->next);
	lock_take(&mem->space.lock);
	found = space_find(&mem->space, cursor->next, &m);
	if (found)
		slot_tell(&m, info);
	lock_drop(&mem->space.lock);
	if (!found)
		return fail(-ENOENT, "no slot at %#" PRIx64 " or above", cursor->next);
	cursor->end = m.last == UINT64_MAX;
	cursor->next = cursor->end ? m.start : m.last + 1;
	return 0;
}

/* ---- The validator ---- */

static const char *check_slot(struct vms_memory *mem, const struct map *m)
{
	const struct vms_block *b = block_of(m->obj);

	if (b->mem != mem || !is_aligned(m->off, mem->page_size) || m->off >= b->bytes ||
	    b->bytes - m->off - 1 < m->last - m->start)
		return "memory 2: a slot shows what is not in its block";
	if (!m->prot || m->prot & ~VMS_SLOT_RAM || m->flags ||
	    (m->prot & VMS_SLOT_WRITE && b->flags & VMS_BLOCK_READ))
		return "memory 2: a slot's rights";
	return NULL;
}

/* [first, last] of the table is one entry, or a hole (NULL). */
static bool table_shows(uint64_t root, uint64_t first, uint64_t last,
			const struct table_entry *want)
{
	for (uint64_t at = first, end;; at = end + 1) {
		const struct table_entry *e = table_find_span(root, at, &end);

		if (!want ? (e && e->at) : (!e || e->at != want->at || e->more != want->more))
			return false;
		if (end >= last)
			return true;
	}
}

static const char *check_all(struct vms_memory *mem) REQUIRES(mem->space.lock)
{
	uint64_t root = atomic_load_explicit(&mem->table.root, memory_order_acquire);
	const char *broken = space_validate(&mem->space);
	uint64_t addr = mem->space.first;
	struct table_entry e;
	struct map m;
	bool end = false;

	if (!broken)
		broken = table_validate(&mem->table);
	while (!broken && !end && space_find(&mem->space, addr, &m)) {
		broken = check_slot(mem, &m);
		e = slot_entry(&m);
		if (m.start > addr && !table_shows(root, addr, m.start - 1, NULL))
			return "memory 4: the table shows something in a hole";
		if (!table_shows(root, m.start, m.last, &e))
			return "memory 4: the table does not show a slot";
		end = m.last == UINT64_MAX;
		addr = m.last + 1;
	}
	if (!broken && !end && !table_shows(root, addr, UINT64_MAX, NULL))
		return "memory 4: the table shows something above the last slot";
	for (struct vms_block *b = mem->blocks; !broken && b; b = b->next) {
		uint64_t shown = 0, slots = 0;

		for (addr = 0, end = false; !end && space_find(&mem->space, addr, &m);
		     addr = m.last + 1) {
			slots += m.obj == &b->object;
			shown += m.obj == &b->object ? m.last - m.start + 1 : 0;
			end = m.last == UINT64_MAX;
		}
		if (shown != b->shown || slots != b->slots || (shown && b->removed))
			broken = "memory 3: what is shown of a block";
	}
	return broken;
}

int vms_memory_check(struct vms_memory *mem)
{
	const char *broken;

	lock_take(&mem->space.lock);
	broken = check_all(mem);
	lock_drop(&mem->space.lock);
	return broken ? fail(-EINVAL, "%s", broken) : 0;
}
