// SPDX-License-Identifier: MIT
/*
 * pages.c: the page tree: its nodes, how it is read and how it is changed. pages_walk.c has the
 * walks and the counts, which change nothing.
 *
 *	tree A          tree B = snapshot of A       A after a write to page 70
 *
 *	root            root                         root of A     root of B
 *	  \             /                               |              |
 *	   inner (count 2)                           inner'         inner        (copied)
 *	   |            |                            |    \        /    |
 *	 leaf 0       leaf 1                         |     leaf 0 (2)   |
 *	                                           leaf 1'            leaf 1     (copied)
 *
 * A node's level says how much it covers: 64 pages at level 0, and 64 times more at each level. The
 * root is only as high as its pages need: a tree grows at the top, where its old root becomes entry
 * 0 of a new one. Past the root's reach every page is EMPTY; so only EMPTY may stand for a whole
 * small tree, and any other mark in the root means all PAGES_MAX pages.
 *
 * Every change first makes what it will touch exclusive (prepare), which may fail and changes
 * nothing that can be seen, then writes (set, fill), which cannot. Copying a node takes a count on
 * each thing in it, so that the copy and the old node mean the same and either may go first.
 *
 * A reader goes from the root down with acquire loads and never writes. What it can come upon is
 * complete, as nodes are linked with a release store after all that is in them was written, and it
 * stays in memory until the reader's epoch section ends. A node that was copied or taken out
 * meanwhile still says what stood there before.
 *
 * Linear placement: a node made at level 1 (4,096 pages, the longest run) puts a run of adjacent
 * numbers aside at the first wish, and page i of it wishes for number base + i. A tree that is one
 * leaf keeps the run there and hands it up when it grows. The run goes with the node. Copies have
 * none: the numbers that they could wish for are held by the node they were copied from.
 *
 * Invariants, checked by pages_check (1 to 5) and pages_check_family (6):
 *
 *	1 a node of level l stands at an entry of level l + 1 or is a root; no level is above 8
 *	2 an entry is a node, or a mark below SLOT_FRAMES; so are slots, with frames
 *	3 node.frames is the number of frames below the node
 *	4 a run is at level 0 or 1, never in a copy; its length is a power of two from RUN_MIN to
 *	  RUN_MAX
 *	5 a mark other than EMPTY stands in the root only for all PAGES_MAX pages
 *	6 node.refs is the number of roots and entries that point to the node
 *
 * Nodes of nothing but one mark are left by preparations, by pages_set, and by fills elsewhere:
 * pages_fill takes out those at its two ends, and all between.
 */
#include "object/pages.h"

#include <errno.h>

#include "base/fail.h"
#include "base/range.h"
#include "object/pages_node.h"

/* ---- The validator ---- */

static int check_run(const struct page_node *node, uint64_t base)
{
	if (node->run_len == 0)
		return 0;
	if (node->copy)
		return fail(-EINVAL, "pages: the copy at %#llx has a run",
			    (unsigned long long)base);
	if (node->level > 1 || node->run_len < RUN_MIN || node->run_len > RUN_MAX ||
	    !is_pow2(node->run_len) || node->run_base < FRAME_FIRST)
		return fail(-EINVAL, "pages: run %u+%u at level %u, page %#llx", node->run_base,
			    node->run_len, node->level, (unsigned long long)base);
	return 0;
}

static int check_node(struct page_node *node, unsigned level, uint64_t base)
{
	uint64_t frames = 0;
	int err;

	if (node->level != level || node->refs == 0 || node->seen || node->alike)
		return fail(-EINVAL, "pages: node of level %u at level %u, page %#llx: count %u",
			    node->level, level, (unsigned long long)base, node->refs);
	for (unsigned i = 0; i < PAGES_FANOUT; i++) {
		if (level == 0) {
			frames += slot_is_frame(atomic_load(&leaf_of(node)->slot[i]));
			continue;
		}
		entry_t e = entry_get(&inner_of(node)->entry[i]);

		if (entry_is_mark(e))
			continue;
		err = check_node(entry_node(e), level - 1,
				 base + ((uint64_t)i << level_shift(level)));
		if (err)
			return err;
		frames += entry_node(e)->frames;
	}
	if (frames != node->frames)
		return fail(-EINVAL, "pages: level %u, page %#llx: %u frames said, %llu there",
			    level, (unsigned long long)base, node->frames,
			    (unsigned long long)frames);
	return check_run(node, base);
}

int pages_check(const struct pages *p)
{
	entry_t root = entry_get(&p->root);

	if (entry_is_mark(root))
		return 0;
	if (entry_node(root)->level > TOP_LEVEL)
		return fail(-EINVAL, "pages: a root of level %u", entry_node(root)->level);
	return check_node(entry_node(root), entry_node(root)->level, 0);
}

/* Count in `seen` how often a node is pointed to; below it once. */
static void count_pointers(entry_t e)
{
	struct page_node *node = entry_node(e);

	if (entry_is_mark(e) || node->seen++)
		return;
	for (unsigned i = 0; node->level && i < PAGES_FANOUT; i++)
		count_pointers(entry_get(&inner_of(node)->entry[i]));
}

/* Compare, and put `seen` back to 0. */
static int compare_pointers(entry_t e, int err)
{
	struct page_node *node = entry_node(e);

	if (entry_is_mark(e) || !node->seen)
		return err;
	if (node->seen != node->refs && !err)
		err = fail(-EINVAL, "pages: a node of level %u has count %u, and %u point to it",
			   node->level, node->refs, node->seen);
	node->seen = 0;
	for (unsigned i = 0; node->level && i < PAGES_FANOUT; i++)
		err = compare_pointers(entry_get(&inner_of(node)->entry[i]), err);
	return err;
}

int pages_check_family(const struct pages *first)
{
	int err = 0;

	for (const struct pages *p = first; p && !err; p = p->sibling)
		err = pages_check(p);
	if (err)
		return err;
	for (const struct pages *p = first; p; p = p->sibling)
		count_pointers(entry_get(&p->root));
	for (const struct pages *p = first; p; p = p->sibling)
		err = compare_pointers(entry_get(&p->root), err);
	return err;
}

/* ---- Nodes ---- */

static size_t node_size(unsigned level)
{
	return level ? sizeof(struct inner) : sizeof(struct leaf);
}

/* A node of nothing but one mark; nobody points to it yet, but its count is the one to come. */
static struct page_node *node_new(const struct pages *p, unsigned level, slot_t mark)
{
	const struct world *w = arena_world(p->arena);
	struct page_node *node = w->alloc(w, node_size(level));

	if (!node)
		return NULL;
	*node = (struct page_node){.world = w, .refs = 1, .level = (uint8_t)level};
	for (unsigned i = 0; i < PAGES_FANOUT; i++) {
		if (level)
			atomic_init(&inner_of(node)->entry[i], mark);
		else
			atomic_init(&leaf_of(node)->slot[i], mark);
	}
	arena_count_metadata(p->arena, (int64_t)node_size(level));
	return node;
}

/* No reader can have it, or none any more. */
static void node_free(struct epoch_head *head)
{
	struct page_node *node = (struct page_node *)head;

	node->world->free(node->world, node, node_size(node->level));
}

/* Nobody points to the node any more. What its slots say stays, for readers. */
static void node_retire(const struct pages *p, struct page_node *node)
{
	if (node->run_len)
		arena_run_drop(p->arena, node->run_base, node->run_len);
	arena_count_metadata(p->arena, -(int64_t)node_size(node->level));
	epoch_retire(&node->retired, node_free);
}

/* One that points to e is gone. As deep as the tree is high. */
static void drop(const struct pages *p, entry_t e, struct frame_batch *freed)
{
	struct page_node *node = entry_node(e);

	if (entry_is_mark(e) || --node->refs)
		return;
	for (unsigned i = 0; i < PAGES_FANOUT; i++) {
		if (node->level) {
			drop(p, entry_get(&inner_of(node)->entry[i]), freed);
		} else {
			slot_t s =
				atomic_load_explicit(&leaf_of(node)->slot[i], memory_order_relaxed);

			if (slot_is_frame(s))
				frame_unref(freed, s);
		}
	}
	node_retire(p, node);
}

/* The same as the old node; all below is held by both. NULL: no memory, nothing changed. */
static struct page_node *node_copy(const struct pages *p, struct page_node *old)
{
	struct page_node *node;

	/* A count that would wrap is as good as no memory: it takes a TiB of trees. */
	for (unsigned i = 0; old->level && i < PAGES_FANOUT; i++) {
		entry_t e = entry_get(&inner_of(old)->entry[i]);

		if (!entry_is_mark(e) && entry_node(e)->refs == UINT32_MAX)
			return NULL;
	}
	node = node_new(p, old->level, SLOT_EMPTY);
	if (!node)
		return NULL;
	node->copy = true;
	node->frames = old->frames;
	for (unsigned i = 0; i < PAGES_FANOUT; i++) {
		if (old->level) {
			entry_t e = entry_get(&inner_of(old)->entry[i]);

			if (!entry_is_mark(e))
				entry_node(e)->refs++;
			atomic_init(&inner_of(node)->entry[i], e);
		} else {
			slot_t s =
				atomic_load_explicit(&leaf_of(old)->slot[i], memory_order_relaxed);

			if (slot_is_frame(s))
				frame_ref(p->arena, s);
			atomic_init(&leaf_of(node)->slot[i], s);
		}
	}
	return node;
}

/* Is every entry this one mark? */
static bool is_uniform(struct page_node *node, slot_t *mark)
{
	if (node->frames)
		return false;
	for (unsigned i = 0; i < PAGES_FANOUT; i++) {
		entry_t e = node->level ? entry_get(&inner_of(node)->entry[i])
					: atomic_load_explicit(&leaf_of(node)->slot[i],
							       memory_order_relaxed);

		if (!entry_is_mark(e) || (i && e != *mark))
			return false;
		*mark = (slot_t)e;
	}
	return true;
}

/* ---- Life, and reading ---- */

void pages_init(struct pages *p, struct vms_arena *arena)
{
	p->arena = arena;
	p->sibling = NULL;
	atomic_init(&p->root, SLOT_EMPTY);
}

void pages_fini(struct pages *p, struct frame_batch *freed)
{
	entry_t root = entry_get(&p->root);

	entry_put(&p->root, SLOT_EMPTY);
	drop(p, root, freed);
}

struct page_span pages_span(const struct pages *p, uint64_t index)
{
	entry_t e = entry_get(&p->root);
	struct page_node *node = entry_node(e);
	uint64_t span = PAGES_MAX;
	unsigned level = LEVELS;

	if (!entry_is_mark(e)) {
		level = node->level;
		span = level_span(level);
		if (index >= span)
			return (struct page_span){.n = PAGES_MAX - index, .same = SLOT_EMPTY};
		for (; level; level--) {
			e = entry_get(&inner_of(node)->entry[level_slot(level, index)]);
			span = level_span(level - 1);
			if (entry_is_mark(e))
				break;
			node = entry_node(e);
		}
		if (level == 0)
			return (struct page_span){
				.n = PAGES_FANOUT - index % PAGES_FANOUT,
				.slots = &leaf_of(node)->slot[index % PAGES_FANOUT],
			};
	}
	return (struct page_span){.n = span - (index & (span - 1)), .same = (slot_t)e};
}

slot_t pages_get(const struct pages *p, uint64_t index)
{
	struct page_span s = pages_span(p, index);

	return page_span_at(&s, 0);
}

/* ---- Prepare ---- */

/*
 * Nodes of one mark, one below the other, from level `top` down to `low` on the way to index. NULL:
 * no memory, nothing changed.
 */
static struct page_node *chain_new(const struct pages *p, unsigned top, unsigned low,
				   uint64_t index, slot_t mark)
{
	struct page_node *node, *below = NULL;

	for (unsigned level = low; level <= top; level++) {
		node = node_new(p, level, mark);
		if (!node) {
			drop(p, node_entry(below), NULL); /* holds no frames */
			return NULL;
		}
		if (below)
			atomic_init(&inner_of(node)->entry[level_slot(level, index)],
				    node_entry(below));
		below = node;
	}
	return below;
}

/* A run is used at level 1; a leaf that was alone had it till now. */
static void run_up(struct page_node *node, struct page_node *below)
{
	if (node->level != 1 || below->refs != 1 || !below->run_len)
		return;
	node->run_base = below->run_base;
	node->run_len = below->run_len;
	below->run_len = 0;
}

/* The root, a node, becomes entry 0 of new ones until it has this level. 0 or -ENOMEM. */
static int grow(struct pages *p, unsigned level)
{
	struct page_node *old = entry_node(entry_get(&p->root)), *top, *node;

	if (old->level >= level)
		return 0;
	top = chain_new(p, level, old->level + 1u, 0, SLOT_EMPTY);
	if (!top)
		return -ENOMEM;
	for (node = top;; node = entry_node(entry_get(&inner_of(node)->entry[0]))) {
		node->frames = old->frames;
		if (node->level == old->level + 1)
			break;
	}
	atomic_init(&inner_of(node)->entry[0], node_entry(old));
	run_up(node, old);
	entry_put(&p->root, node_entry(top));
	return 0;
}

/* The lowest level, at least `low`, whose first node has this index. */
static unsigned level_for(uint64_t index, unsigned low)
{
	while (index >= level_span(low))
		low++;
	return low;
}

/*
 * Make the nodes on the way to index, down to level `low`, exclusive. 0, or -ENOMEM: no slot has
 * changed.
 */
static int own_path(struct pages *p, uint64_t index, unsigned low)
{
	_Atomic(entry_t) *at = &p->root;
	entry_t e = entry_get(at);
	unsigned top = e == SLOT_EMPTY ? level_for(index, low) : TOP_LEVEL;
	struct page_node *node;

	if (!entry_is_mark(e)) {
		if (grow(p, level_for(index, low)))
			return -ENOMEM;
		e = entry_get(at);
	}
	while (!entry_is_mark(e)) {
		node = entry_node(e);
		if (node->refs > 1) {
			struct page_node *copy = node_copy(p, node);

			if (!copy)
				return -ENOMEM;
			entry_put(at, node_entry(copy));
			node->refs--;
			node = copy;
		}
		if (node->level == low)
			return 0;
		at = &inner_of(node)->entry[level_slot(node->level, index)];
		e = entry_get(at);
		top = node->level - 1u;
	}
	node = chain_new(p, top, low, index, (slot_t)e);
	if (!node)
		return -ENOMEM;
	entry_put(at, node_entry(node));
	return 0;
}

/* Take out the nodes on the way to index that are one mark, as far as they are exclusive. */
static void prune(struct pages *p, uint64_t index)
{
	struct page_node *path[LEVELS];
	entry_t e = entry_get(&p->root);
	unsigned n = 0;
	slot_t mark;

	if (entry_is_mark(e) || index >= level_span(entry_node(e)->level))
		return;
	while (!entry_is_mark(e) && entry_node(e)->refs == 1) {
		path[n++] = entry_node(e);
		if (entry_node(e)->level == 0)
			break;
		e = entry_get(&inner_of(path[n - 1])->entry[level_slot(path[n - 1]->level, index)]);
	}
	for (; n > 1 && is_uniform(path[n - 1], &mark); n--) {
		struct page_node *above = path[n - 2];

		entry_put(&inner_of(above)->entry[level_slot(above->level, index)], mark);
		drop(p, node_entry(path[n - 1]), NULL);
	}
}

/*
 * Take away what the root does not need: itself, if it is one mark, and (lower) levels of nothing
 * but entry 0. No frame goes. Fills that were prepared together with the one just done have nothing
 * to do past a lower root if their mark is EMPTY; for another mark it must stay.
 */
static void shrink(struct pages *p, bool lower)
{
	for (;;) {
		entry_t e = entry_get(&p->root), child;
		struct page_node *root = entry_node(e);
		slot_t mark;

		if (entry_is_mark(e))
			return;
		if (is_uniform(root, &mark) && (mark == SLOT_EMPTY || root->level == TOP_LEVEL)) {
			entry_put(&p->root, mark);
			drop(p, e, NULL);
			return;
		}
		if (!lower || root->level == 0 || root->run_len)
			return;
		for (unsigned i = 1; i < PAGES_FANOUT; i++)
			if (entry_get(&inner_of(root)->entry[i]) != SLOT_EMPTY)
				return;
		child = entry_get(&inner_of(root)->entry[0]);
		if (entry_is_mark(child) || entry_node(child)->refs == UINT32_MAX)
			return;
		entry_node(child)->refs++;
		entry_put(&p->root, child);
		drop(p, e, NULL);
	}
}

int pages_prepare(struct pages *p, uint64_t first, uint64_t n)
{
	const uint64_t start = align_down(first, PAGES_FANOUT);

	for (uint64_t i = start; i < first + n; i += PAGES_FANOUT) {
		if (!own_path(p, i, 0))
			continue;
		/* What was made for nothing goes again: it may be very much. */
		for (uint64_t k = start; k <= i; k += PAGES_FANOUT)
			prune(p, k);
		shrink(p, true);
		return -ENOMEM;
	}
	return 0;
}

/* The lowest level whose node around index is not all inside [first, last], or LEVELS. */
static unsigned cut_level(uint64_t index, uint64_t first, uint64_t last)
{
	unsigned level = 0;

	for (; level < LEVELS; level++) {
		uint64_t base = index & ~(level_span(level) - 1);

		if (base < first || base + level_span(level) - 1 > last)
			break;
	}
	return level;
}

int pages_prepare_range(struct pages *p, uint64_t first, uint64_t n)
{
	uint64_t last = first + n - 1;
	unsigned level;

	if (n == 0)
		return 0;
	level = cut_level(first, first, last);
	if (level < LEVELS && own_path(p, first, level))
		return -ENOMEM;
	level = cut_level(last, first, last);
	if (level < LEVELS && own_path(p, last, level))
		return -ENOMEM;
	return 0;
}

/* ---- Change ---- */

/* Only readers look meanwhile. They see what was written to a frame before it came here. */
static slot_t slot_replace(_Atomic(slot_t) *at, slot_t slot)
{
	slot_t old = atomic_load_explicit(at, memory_order_relaxed);

	atomic_store_explicit(at, slot, memory_order_release);
	return old;
}

slot_t pages_set(struct pages *p, uint64_t index, slot_t slot)
{
	struct page_node *path[LEVELS], *node = entry_node(entry_get(&p->root));
	unsigned n = 0;
	slot_t old;

	for (;;
	     node = entry_node(entry_get(&inner_of(node)->entry[level_slot(node->level, index)]))) {
		assert(!entry_is_mark(node_entry(node)) && node->refs == 1);
		path[n++] = node;
		if (node->level == 0)
			break;
	}
	old = slot_replace(&leaf_of(node)->slot[index % PAGES_FANOUT], slot);
	if (slot_is_frame(old) != slot_is_frame(slot))
		while (n--)
			path[n]->frames += slot_is_frame(slot) ? 1u : -1u;
	return old;
}

struct fill {
	const struct pages *p;
	uint64_t first, last; /* [first, last] */
	slot_t mark;
	struct frame_batch *freed;
};

/* Fill what the node, which is exclusive and starts at base, has of the range. */
static void fill_leaf(const struct fill *f, struct page_node *node, uint64_t base)
{
	uint64_t from = max_u64(f->first, base) - base;
	uint64_t to = min_u64(f->last - base, PAGES_FANOUT - 1);

	for (uint64_t i = from; i <= to; i++) {
		slot_t old = slot_replace(&leaf_of(node)->slot[i], f->mark);

		if (slot_is_frame(old)) {
			frame_unref(f->freed, old);
			node->frames--;
		}
	}
}

static void fill_node(const struct fill *f, struct page_node *node, uint64_t base)
{
	unsigned shift = level_shift(node->level);
	uint64_t from = (max_u64(f->first, base) - base) >> shift;
	uint64_t to = min_u64((f->last - base) >> shift, PAGES_FANOUT - 1);

	assert(node->refs == 1);
	if (node->level == 0) {
		fill_leaf(f, node, base);
		return;
	}
	for (uint64_t i = from; i <= to; i++) {
		_Atomic(entry_t) *at = &inner_of(node)->entry[i];
		entry_t e = entry_get(at);
		uint64_t start = base + (i << shift);
		uint32_t before = entry_frames(e);
		slot_t mark = f->mark;

		if (start < f->first || start + (UINT64_C(1) << shift) - 1 > f->last) {
			/* A mark that is cut was not prepared, unless it is the same. */
			assert(!entry_is_mark(e) || e == f->mark);
			if (entry_is_mark(e))
				continue;
			fill_node(f, entry_node(e), start);
			if (!is_uniform(entry_node(e), &mark)) {
				node->frames -= before - entry_frames(e);
				continue;
			}
		}
		entry_put(at, mark);
		drop(f->p, e, f->freed);
		node->frames -= before;
	}
}

void pages_fill(struct pages *p, uint64_t first, uint64_t n, slot_t mark, struct frame_batch *freed)
{
	struct fill f = {
		.p = p, .first = first, .last = first + n - 1, .mark = mark, .freed = freed};
	entry_t root = entry_get(&p->root);

	if (n == 0)
		return;
	if (n == PAGES_MAX) {
		entry_put(&p->root, mark);
		drop(p, root, freed);
		return;
	}
	if (entry_is_mark(root)) {
		assert(root == mark);
		return;
	}
	/* Past the root's reach all is EMPTY. */
	if (mark == SLOT_EMPTY) {
		uint64_t reach = level_span(entry_node(root)->level);

		if (first >= reach)
			return;
		f.last = min_u64(f.last, reach - 1);
		if (first == 0 && f.last == reach - 1) {
			entry_put(&p->root, SLOT_EMPTY);
			drop(p, root, freed);
			return;
		}
	}
	assert(f.last < level_span(entry_node(root)->level));
	fill_node(&f, entry_node(root), 0);
	shrink(p, mark == SLOT_EMPTY);
}

/* ---- Share ---- */

int pages_share(struct pages *dst, const struct pages *src, uint64_t first, uint64_t n)
{
	struct pages part = {.arena = dst->arena};
	entry_t root = entry_get(&src->root);
	uint64_t end = first + n, reach = PAGES_MAX;
	struct frame_batch freed;
	int err = 0;

	if (!entry_is_mark(root)) {
		reach = level_span(entry_node(root)->level);
		if (entry_node(root)->refs == UINT32_MAX)
			return -ENOMEM;
	}
	if (root == SLOT_EMPTY || n == 0 || first >= reach)
		return 0;
	if (!entry_is_mark(root))
		entry_node(root)->refs++;
	atomic_init(&part.root, root);
	/* All of it, less what is outside. */
	frame_batch_init(&freed, dst->arena);
	if (first > 0)
		err = pages_prepare_range(&part, 0, first);
	if (!err && end < reach)
		err = pages_prepare_range(&part, end, reach - end);
	if (err) {
		pages_fini(&part, &freed);
	} else {
		pages_fill(&part, 0, first, SLOT_EMPTY, &freed);
		if (end < reach)
			pages_fill(&part, end, reach - end, SLOT_EMPTY, &freed);
	}
	frame_batch_end(&freed);
	if (!err)
		entry_put(&dst->root, entry_get(&part.root));
	return err;
}

bool pages_may_share(const struct pages *src, uint32_t n)
{
	entry_t root = entry_get(&src->root);

	return entry_is_mark(root) || entry_node(root)->refs <= UINT32_MAX - n;
}

void pages_share_all(struct pages *dst, const struct pages *src)
{
	entry_t root = entry_get(&src->root);

	if (!entry_is_mark(root))
		entry_node(root)->refs++;
	entry_put(&dst->root, root);
}

bool pages_path_exclusive(const struct pages *p, uint64_t index)
{
	entry_t e = entry_get(&p->root);

	if (entry_is_mark(e) || index >= level_span(entry_node(e)->level))
		return true;
	while (!entry_is_mark(e)) {
		struct page_node *node = entry_node(e);

		if (node->refs > 1)
			return false;
		if (node->level == 0)
			return true;
		e = entry_get(&inner_of(node)->entry[level_slot(node->level, index)]);
	}
	return true;
}

bool pages_exclusive(const struct pages *p, uint64_t index)
{
	return pages_path_exclusive(p, index) && frame_exclusive(p->arena, pages_get(p, index));
}

/* ---- Placement ---- */

/* The node whose run is used for index: at level 1, or a root that is a leaf. */
static struct page_node *run_node(const struct pages *p, uint64_t index)
{
	struct page_node *node = entry_node(entry_get(&p->root));

	while (node->level > 1)
		node = entry_node(
			entry_get(&inner_of(node)->entry[level_slot(node->level, index)]));
	return node;
}

frame_t pages_wish(struct pages *p, uint64_t index, uint64_t npages)
{
	struct page_node *node = run_node(p, index);
	uint64_t start = align_down(index, RUN_MAX), at = index - start;

	assert(node->refs == 1);
	if (node->copy)
		return FRAME_NONE;
	if (at >= node->run_len) {
		/* The first use, or the object has grown past what it had put aside. */
		uint64_t want = npages > start ? min_u64(npages - start, RUN_MAX) : 0;
		frame_t base;
		uint32_t len;

		if (arena_run(p->arena, max_u64(want, at + 1), &base, &len))
			return FRAME_NONE;
		if (node->run_len)
			arena_run_drop(p->arena, node->run_base, node->run_len);
		node->run_base = base;
		node->run_len = len;
	}
	return node->run_base + (frame_t)at;
}
