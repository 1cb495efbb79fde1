// SPDX-License-Identifier: MIT
/*
 * tree.c: the mappings of a space by address: a B+ tree whose leaves hold the mappings themselves.
 *
 *	             key    0x4fff   0x9fff            last byte under the child
 *	  inner      gap    0x1000   0x3000            largest gap under it
 *	             child    |        |
 *	         +------------+        +-------------+
 *	  leaf   key 0x2fff 0x4fff          key 0x8fff 0x9fff     last byte of the mapping
 *	         gap 0x1000 0                gap 0x3000 0         free run below it, less its guard
 *	         map 1-2    3-4              map 8-8    9-9
 *
 * The keys are the *last* bytes, so "the mapping that holds addr, or the first above it" is one
 * count of smaller keys a level and never has to look at a second leaf.
 *
 * tree_replace() is the only function that changes the tree, but for a value put in the place of
 * another of the same bytes (tree_spot). It works from the leaves up, and at each level it does the
 * same thing: a run of slots, perhaps over several nodes, is replaced by new
 * slots. If all stays in one node that is neither too full nor too empty, this is done in place and
 * only the keys and gaps above are brought up to date. Else what is kept of the first and the last
 * node of the run, the new slots, and a neighbour if they are too few, are packed into nodes anew:
 * these are the new slots of the level above.
 *
 * Looking, planning and replacing come to the same leaf one after another. So the way to it is
 * kept (tree.way), through edits that stay in that leaf, and a descent is saved where it leads.
 *
 * Values never point to nodes, nodes are given back through tree_leave() alone, and a reader without
 * the lock follows nothing but root, child, level and n (the way is for those who hold the lock): so
 * a sequence count around the change, and epochs between a node's last edit and its end, are all
 * that such readers need (tree_read.c).
 *
 * Invariants
 *
 *	1. Mappings are in address order, disjoint, and inside the bounds.
 *	2. All leaves are at one depth, `height`. The root has two children or more, unless it is a
 *	   leaf; every other node has MIN_KEYS slots or more. No mappings: no root, height 0.
 *	3. key[i] is the last byte of slot i: exact, not a bound. Unused: UINT64_MAX, so that the
 *	   count of smaller keys needs no n.
 *	4. gap[i] is the gap of mapping i, or the largest under child i. Unused: 0.
 *	5. t->n is the number of mappings, n_spare that of the nodes on the spare list. Between edits
 *	   no node waits to be retired.
 *	6. Unused child[] of inner nodes are NULL. A node's level is its distance from the leaves.
 *	7. If a way is known, it leads from the root to a leaf (its slot there means nothing), and
 *	   whatever is looked for in [known_first, known_last] is found in that leaf, or at its end
 *	   if it is the last one.
 */
#include "space/tree.h"

#include <string.h>

#include "base/range.h"
#include "space/tree_node.h"

/* ---- nodes ---- */

/* Readers come to the node by this pointer: they find it filled. */
static inline void point_to(struct tree_node **at, struct tree_node *node)
{
	__atomic_store_n(at, node, __ATOMIC_RELEASE);
}

static inline uint64_t largest_gap(const struct tree_node *node)
{
	uint64_t even = 0, odd = 0;

#pragma GCC unroll 8
	for (unsigned i = 0; i < KEYS; i += 2) {
		even = max_u64(even, node->gap[i]);
		odd = max_u64(odd, node->gap[i + 1]);
	}
	return max_u64(even, odd);
}

/* A pointer at a time, as readers see them: inv. 2 of tree_read.c. */
static void shift_children(struct tree_node *node, unsigned from, unsigned to)
{
	unsigned move = node->n - from;

	for (unsigned i = 0; to < from && i < move; i++)
		point_to(&node->child[to + i], node->child[from + i]);
	for (unsigned i = move; to > from && i-- > 0;)
		point_to(&node->child[to + i], node->child[from + i]);
	for (unsigned i = to + move; i < node->n; i++)
		point_to(&node->child[i], NULL);
}

/* Move slots [from, n) to `to` and fit n: room is made, or closed, at `from`. */
static void shift(struct tree_node *node, unsigned from, unsigned to, bool leaf)
{
	unsigned move = node->n - from, n = to + move;

	if (from == to)
		return;
	memmove(node->key + to, node->key + from, move * sizeof(node->key[0]));
	memmove(node->gap + to, node->gap + from, move * sizeof(node->gap[0]));
	if (leaf)
		memmove(node->map + to, node->map + from, move * sizeof(node->map[0]));
	else
		shift_children(node, from, to);
	for (unsigned i = n; i < node->n; i++) {
		node->key[i] = UINT64_MAX;
		node->gap[i] = 0;
	}
	node->n = n;
}

/* Append slots [from, from + n) of src. */
static void append(struct tree_node *node, const struct tree_node *src, unsigned from, unsigned n,
		   bool leaf)
{
	unsigned to = node->n;

	memcpy(node->key + to, src->key + from, n * sizeof(node->key[0]));
	memcpy(node->gap + to, src->gap + from, n * sizeof(node->gap[0]));
	if (leaf)
		memcpy(node->map + to, src->map + from, n * sizeof(node->map[0]));
	else
		memcpy(node->child + to, src->child + from, n * sizeof(node->child[0]));
	node->n += n;
}

static inline void set_child(struct tree_node *node, unsigned i, struct tree_node *child)
{
	node->key[i] = child->key[child->n - 1];
	node->gap[i] = largest_gap(child);
	point_to(&node->child[i], child);
}

/* ---- paths ---- */

/*
 * To the mapping that holds addr, or the first above it, or the end of the last leaf. Keys are
 * exact, so what is not above the root's last key is not above that of any node on the way: only
 * the root is asked how full it is.
 */
static void descend(const struct tree *t, uint64_t addr, struct tree_path *p)
{
	struct tree_node *node = t->root;
	unsigned i = below(node, addr);
	bool above = i == node->n;

	for (unsigned level = t->height - 1; level > 0; level--) {
		i -= above;
		p->at[level].node = node;
		p->at[level].slot = i;
		node = node->child[i];
		i = above ? node->n : below(node, addr);
	}
	p->at[0].node = node;
	p->at[0].slot = i;
}

/* As descend(), by t->way, which is known from now on. */
static __attribute__((noinline)) unsigned learn_way(struct tree *t, uint64_t addr)
{
	struct tree_node *node = t->root;
	uint64_t first = 0, last = UINT64_MAX;
	unsigned i = below(node, addr);
	bool above = i == node->n;

	for (unsigned level = t->height - 1; level > 0; level--) {
		i -= above;
		t->way.at[level].node = node;
		t->way.at[level].slot = i;
		if (i > 0)
			first = node->key[i - 1] + 1;
		last = node->key[i];
		node = node->child[i];
		if (level == 1)
			fetch_leaf(node);
		i = above ? node->n : below(node, addr);
	}
	t->way.at[0].node = node;
	t->known_first = first;
	t->known_last = above ? UINT64_MAX : last;
	t->known = true;
	return i;
}

static inline bool is_known(const struct tree *t, uint64_t addr)
{
	return t->known && t->known_first <= addr && addr <= t->known_last;
}

/* The slot that descend() finds, in the leaf t->way.at[0].node. */
static inline unsigned seek(struct tree *t, uint64_t addr)
{
	if (is_known(t, addr))
		return below(t->way.at[0].node, addr);
	return learn_way(t, addr);
}

/* To the first slot of the next node at this level. False: there is none, the path stays. */
static bool path_next(const struct tree *t, struct tree_path *p, unsigned level)
{
	unsigned up = level + 1;

	while (up < t->height && p->at[up].slot + 1 == p->at[up].node->n)
		up++;
	if (up >= t->height)
		return false;
	p->at[up].slot++;
	for (; up > level; up--) {
		p->at[up - 1].node = p->at[up].node->child[p->at[up].slot];
		p->at[up - 1].slot = 0;
	}
	return true;
}

/* To the last slot of the node before it. */
static bool path_prev(const struct tree *t, struct tree_path *p, unsigned level)
{
	unsigned up = level + 1;

	while (up < t->height && p->at[up].slot == 0)
		up++;
	if (up >= t->height)
		return false;
	p->at[up].slot--;
	for (; up > level; up--) {
		p->at[up - 1].node = p->at[up].node->child[p->at[up].slot];
		p->at[up - 1].slot = p->at[up - 1].node->n - 1;
	}
	return true;
}

/* ---- looking ---- */

void tree_init(struct tree *t, const struct world *w, const struct map_rules *rules, uint64_t first,
	       uint64_t last)
{
	*t = (struct tree){.world = w, .rules = rules, .first = first, .last = last};
}

static void free_under(struct tree *t, struct tree_node *node, unsigned level)
{
	for (unsigned i = 0; level > 0 && i < node->n; i++)
		free_under(t, node->child[i], level - 1);
	tree_free_node(t, node);
}

void tree_fini(struct tree *t)
{
	if (t->root)
		free_under(t, t->root, t->height - 1);
	t->root = NULL;
	t->height = 0;
	t->n = 0;
	t->known = false;
	tree_free_spare(t);
}

bool tree_find(const struct tree *t, uint64_t addr, struct map *out)
{
	const struct tree_node *node = t->root;
	unsigned i;

	if (!node)
		return false;
	/* The way is used, not learnt: who only looks need not come back. */
	if (is_known(t, addr)) {
		node = t->way.at[0].node;
		i = below(node, addr);
		if (i == node->n)
			return false;
	} else {
		i = below(node, addr);
		if (i == node->n)
			return false;
		for (unsigned level = t->height - 1; level > 0; level--) {
			node = node->child[i];
			if (level == 1)
				fetch_leaf(node);
			i = below(node, addr);
		}
	}
	*out = node->map[i];
	return true;
}

bool tree_find_below(const struct tree *t, uint64_t addr, struct map *out)
{
	struct tree_path p;
	unsigned i;

	if (!t->root || addr == 0)
		return false;
	descend(t, addr - 1, &p);
	i = p.at[0].slot;
	if (i < p.at[0].node->n && p.at[0].node->map[i].start < addr) {
		*out = p.at[0].node->map[i];
		return true;
	}
	if (i > 0)
		*out = p.at[0].node->map[i - 1];
	else if (path_prev(t, &p, 0))
		*out = p.at[0].node->map[p.at[0].slot];
	else
		return false;
	return true;
}

/* The way from level `from` up, for one who goes on from there. */
static inline void copy_way(const struct tree *t, struct tree_path *p, unsigned from)
{
	/* Not pair by pair: the halves were written a moment ago (see map_cut). */
	for (unsigned level = from; level < t->height; level++) {
		p->at[level].node = t->way.at[level].node;
		p->at[level].slot = t->way.at[level].slot;
	}
}

bool tree_spot(struct tree *t, uint64_t addr, struct tree_spot *out)
{
	struct tree_path beside;
	struct tree_node *leaf;
	unsigned i;

	*out = (struct tree_spot){NULL, NULL, NULL};
	if (!t->root)
		return false;
	i = seek(t, addr);
	leaf = t->way.at[0].node;
	if (i == leaf->n) { /* so it is the last leaf */
		out->prev = &leaf->map[i - 1];
		return false;
	}
	out->at = &leaf->map[i];
	if (i > 0) {
		out->prev = &leaf->map[i - 1];
	} else {
		copy_way(t, &beside, 1);
		if (path_prev(t, &beside, 0))
			out->prev = &beside.at[0].node->map[beside.at[0].slot];
	}
	if (i + 1 < leaf->n) {
		out->next = &leaf->map[i + 1];
	} else {
		copy_way(t, &beside, 1);
		if (path_next(t, &beside, 0))
			out->next = &beside.at[0].node->map[0];
	}
	return true;
}

size_t tree_copy(const struct tree *t, uint64_t first, uint64_t last, struct map *out, size_t room)
{
	size_t n = 0;
	struct tree_path p;

	if (!t->root)
		return 0;
	descend(t, first, &p);
	do {
		const struct tree_node *leaf = p.at[0].node;

		for (unsigned i = p.at[0].slot; i < leaf->n; i++) {
			if (n == room || leaf->map[i].start > last)
				return n;
			out[n++] = leaf->map[i];
			if (leaf->key[i] >= last)
				return n;
		}
	} while (path_next(t, &p, 0));
	return n;
}

/* ---- gaps ---- */

/* The gap of m when the byte `from` is the first one after the mapping below it. */
static uint64_t gap_of(const struct tree *t, const struct map *m, uint64_t from)
{
	uint64_t run = m->start - from;
	uint64_t guard = run && t->rules->guard ? t->rules->guard(m, t->rules->arg) : 0;

	return run > guard ? run - guard : 0;
}

/* ---- replacing ---- */

/* The first byte after the mapping below the path's slot. */
static uint64_t end_of_previous(const struct tree *t, const struct tree_path *p)
{
	for (unsigned level = 0; level < t->height; level++)
		if (p->at[level].slot > 0)
			return p->at[level].node->key[p->at[level].slot - 1] + 1;
	return t->first;
}

/* Bring the slots above up to date with the node at level - 1 of the path. */
static void refresh(struct tree *t, const struct tree_path *p, unsigned level)
{
	for (; level < t->height; level++) {
		struct tree_node *node = p->at[level].node, *child = p->at[level - 1].node;
		unsigned i = p->at[level].slot;
		uint64_t key = child->key[child->n - 1], gap = largest_gap(child);

		if (node->key[i] == key && node->gap[i] == gap)
			return;
		node->key[i] = key;
		node->gap[i] = gap;
	}
}

/* The run ends before `right`; `from` will be the first byte after what stands below it. */
static void regap_successor(struct tree *t, const struct tree_path *right, uint64_t from)
{
	struct tree_path p;

	if (right->at[0].slot < right->at[0].node->n) {
		right->at[0].node->gap[right->at[0].slot] =
			gap_of(t, &right->at[0].node->map[right->at[0].slot], from);
		return;
	}
	for (unsigned level = 0; level < t->height; level++)
		p.at[level] = right->at[level];
	if (!path_next(t, &p, 0))
		return;
	p.at[0].node->gap[0] = gap_of(t, &p.at[0].node->map[0], from);
	refresh(t, &p, 1);
}

/* New slots on their way in: mappings at the leaves, a list of nodes above. */
struct incoming {
	size_t n;
	const struct map *map;
	uint64_t from; /* the first byte after the mapping below map[0] */
	struct tree_node *node;
};

/* Put the next incoming slot at i, which is in n. */
static inline void put(const struct tree *t, struct tree_node *node, unsigned i,
		       struct incoming *in, bool leaf)
{
	if (leaf) {
		node->key[i] = in->map->last;
		node->gap[i] = gap_of(t, in->map, in->from);
		node->map[i] = *in->map;
		in->from = in->map->last + 1;
		in->map++;
	} else {
		set_child(node, i, in->node);
		in->node = in->node->next;
	}
	in->n--;
}

/* Nodes being filled one after another with `total` slots, evenly or as `first` says. */
struct packer {
	struct tree *t;
	unsigned level;
	size_t total, nodes; /* still to come: slots, nodes including the current one */
	unsigned quota;	     /* of the current node */
	size_t n_out;
	struct tree_node *head, *tail;
};

static void pack_begin(struct packer *k, struct tree *t, unsigned level, size_t total,
		       unsigned first)
{
	*k = (struct packer){.t = t,
			     .level = level,
			     .total = total,
			     .nodes = (total + KEYS - 1) / KEYS,
			     .quota = first};
}

/* The node to fill; its free room by quota is what may go in. */
static struct tree_node *pack_node(struct packer *k)
{
	if (!k->tail || k->tail->n == k->quota) {
		struct tree_node *node = tree_take(k->t, k->level);

		if (k->tail) {
			k->nodes--;
			k->quota = 0;
			k->tail->next = node;
		} else {
			k->head = node;
		}
		if (k->quota == 0)
			k->quota = (unsigned)((k->total + k->nodes - 1) / k->nodes);
		k->tail = node;
		k->n_out++;
	}
	return k->tail;
}

static void pack_slots(struct packer *k, const struct tree_node *src, unsigned from, unsigned n)
{
	while (n) {
		struct tree_node *node = pack_node(k);
		unsigned some = k->quota - node->n < n ? k->quota - node->n : n;

		append(node, src, from, some, k->level == 0);
		k->total -= some;
		from += some;
		n -= some;
	}
}

static void pack_incoming(struct packer *k, struct incoming *in)
{
	while (in->n) {
		struct tree_node *node = pack_node(k);

		put(k->t, node, node->n++, in, k->level == 0);
		k->total--;
	}
}

/*
 * Where a full node is split: in the middle, but at its edge when the new slots came there, since
 * the next ones will come there too (placement goes down, heaps go up). 0: evenly.
 */
static unsigned split_at(size_t total, unsigned kept_left, unsigned kept_right)
{
	if (total <= KEYS || total > KEYS + MIN_KEYS)
		return 0;
	if (kept_left == 0)
		return MIN_KEYS;
	if (kept_right == 0)
		return (unsigned)total - MIN_KEYS;
	return 0;
}

/*
 * Replace slots at a level that do not fit in place: those from the left path's slot, up to and
 * not including the right path's, and pack what is kept with the new ones. The paths may move to
 * a neighbour that is taken in. `in` becomes the new slots of the level above.
 */
static void repack(struct tree *t, struct tree_path *left, struct tree_path *right, unsigned level,
		   struct incoming *in)
{
	/* Copies of what is kept: the nodes themselves go, and may be taken again at once. */
	struct tree_node before, low, high, after;
	struct packer k;
	struct tree_path p;
	bool leaf = level == 0;
	size_t total;

	before.n = low.n = high.n = after.n = 0;
	append(&low, left->at[level].node, 0, left->at[level].slot, leaf);
	append(&high, right->at[level].node, right->at[level].slot,
	       right->at[level].node->n - right->at[level].slot, leaf);
	total = low.n + in->n + high.n;
	if (total < MIN_KEYS) {
		if (path_next(t, right, level))
			append(&after, right->at[level].node, 0, right->at[level].node->n, leaf);
		else if (path_prev(t, left, level))
			append(&before, left->at[level].node, 0, left->at[level].node->n, leaf);
		total += before.n + after.n;
	}

	p = *left;
	while (p.at[level].node != right->at[level].node) {
		tree_leave(t, p.at[level].node);
		path_next(t, &p, level);
	}
	tree_leave(t, p.at[level].node);

	pack_begin(&k, t, level, total, split_at(total, low.n, high.n));
	/* Two that are joined into one that is nearly full would be split by the next edit. */
	if (before.n + after.n && total > KEYS - MIN_KEYS && total >= 2 * MIN_KEYS)
		k.nodes = 2;
	pack_slots(&k, &before, 0, before.n);
	pack_slots(&k, &low, 0, low.n);
	pack_incoming(&k, in);
	pack_slots(&k, &high, 0, high.n);
	pack_slots(&k, &after, 0, after.n);
	*in = (struct incoming){.n = k.n_out, .node = k.head};
}

/* The new nodes of the top level: one of them is the root, or a level is put above them. */
static void set_root(struct tree *t, struct incoming *in)
{
	while (in->n > 1) {
		struct packer k;

		pack_begin(&k, t, t->height, in->n, 0);
		pack_incoming(&k, in);
		*in = (struct incoming){.n = k.n_out, .node = k.head};
		t->height++;
	}
	point_to(&t->root, in->node);
	if (!t->root)
		t->height = 0;
}

/* A root with one child, or with nothing, is none. */
static void lower_root(struct tree *t)
{
	while (t->height > 1 && t->root->n == 1) {
		struct tree_node *child = t->root->child[0];

		tree_leave(t, t->root);
		point_to(&t->root, child);
		t->height--;
	}
	if (t->root && t->root->n == 0) {
		tree_leave(t, t->root);
		point_to(&t->root, NULL);
		t->height = 0;
	}
}

/* An edit stayed in the node at this level of the way: inv. 7. */
static void keep_way(struct tree *t, unsigned level)
{
	const struct tree_node *leaf = t->way.at[0].node;

	if (level > 0 || !t->root)
		t->known = false;
	else if (t->known_last != UINT64_MAX)
		t->known_last = leaf->key[leaf->n - 1];
}

/*
 * From the leaves up, as long as a level does not fit in place.
 * => left->at[0].slot is the first of the run, right->at[0].slot the one after it.
 */
static void splice(struct tree *t, struct tree_path *left, struct tree_path *right, struct incoming *in)
{
	for (unsigned level = 0; level < t->height; level++) {
		struct tree_node *node = left->at[level].node;
		unsigned a = left->at[level].slot, b;

		if (level > 0)
			right->at[level].slot++;
		b = right->at[level].slot;
		if (node == right->at[level].node) {
			size_t total = node->n - (b - a) + in->n;

			if (total <= KEYS && (total >= MIN_KEYS || level + 1 == t->height)) {
				shift(node, b, a + (unsigned)in->n, level == 0);
				for (unsigned i = a; in->n; i++)
					put(t, node, i, in, level == 0);
				if (level + 1 == t->height)
					lower_root(t);
				else
					refresh(t, left, level + 1);
				keep_way(t, level);
				return;
			}
		}
		t->known = false;
		repack(t, left, right, level, in);
	}
	set_root(t, in);
	lower_root(t);
}

/* The mappings from the left path's slot to before the right path's. */
static size_t count_run(const struct tree *t, const struct tree_path *left, const struct tree_path *right)
{
	struct tree_path p;
	size_t n = 0;

	if (left->at[0].node == right->at[0].node)
		return right->at[0].slot - left->at[0].slot;
	for (p = *left; p.at[0].node != right->at[0].node; path_next(t, &p, 0))
		n += p.at[0].node->n - p.at[0].slot;
	return n + right->at[0].slot;
}

/*
 * Does the run that begins at the left path end in the same leaf? Then the right path is to the
 * slot after it. False: perhaps not.
 */
static bool ends_in_leaf(const struct tree *t, const struct tree_path *left, uint64_t last,
			 struct tree_path *right)
{
	const struct tree_node *leaf = left->at[0].node;
	unsigned end = left->at[0].slot;

	while (end < leaf->n && leaf->map[end].start <= last)
		end++;
	if (end == leaf->n && last > t->known_last)
		return false;
	right->at[0].node = left->at[0].node;
	right->at[0].slot = end;
	copy_way(t, right, 1);
	return true;
}

/* Another value in the place of one that has the same bytes and the same guard. */
static bool swap(const struct tree *t, struct tree_node *leaf, unsigned i, const struct map *in)
{
	const struct map *m = &leaf->map[i];

	if (m->start != in->start || m->last != in->last ||
	    (t->rules->guard &&
	     t->rules->guard(m, t->rules->arg) != t->rules->guard(in, t->rules->arg)))
		return false;
	leaf->map[i] = *in;
	return true;
}

static void replace(struct tree *t, uint64_t first, uint64_t last, const struct map *in, size_t n_in)
{
	struct incoming incoming = {.n = n_in, .map = in};
	struct tree_path *left = &t->way, right;

	if (!t->root) {
		if (n_in == 0)
			return;
		point_to(&t->root, tree_take(t, 0));
		t->height = 1;
	}
	left->at[0].slot = seek(t, first);
	if (!ends_in_leaf(t, left, last, &right)) {
		descend(t, last, &right);
		/* Past the mapping that ends at last; a leaf that only begins after the run is not
		 * in it.
		 */
		if (right.at[0].slot < right.at[0].node->n &&
		    right.at[0].node->map[right.at[0].slot].start <= last)
			right.at[0].slot++;
		if (right.at[0].slot == 0 && right.at[0].node != left->at[0].node &&
		    path_prev(t, &right, 0))
			right.at[0].slot = right.at[0].node->n;
	} else if (n_in == 1 && right.at[0].slot == left->at[0].slot + 1 &&
		   swap(t, left->at[0].node, left->at[0].slot, in)) {
		return;
	}

	t->n = t->n - count_run(t, left, &right) + n_in;
	incoming.from = end_of_previous(t, left);
	if (n_in == 0 || right.at[0].slot == 0 ||
	    right.at[0].node->key[right.at[0].slot - 1] != in[n_in - 1].last)
		regap_successor(t, &right, n_in ? in[n_in - 1].last + 1 : incoming.from);
	splice(t, left, &right, &incoming);
}

void tree_replace(struct tree *t, uint64_t first, uint64_t last, const struct map *in, size_t n_in)
{
	bool begun = tree_change_begin(t);

	replace(t, first, last, in, n_in);
	tree_change_end(t, begun);
}

/* ---- the validator ---- */

/* What one walk in address order knows. */
struct walk {
	const struct tree *t;
	uint64_t from; /* the first byte after the mapping before */
	bool end;      /* that mapping ended at the last byte of all */
	size_t n;
};

static const char *validate_leaf(struct walk *w, const struct tree_node *leaf)
{
	for (unsigned i = 0; i < leaf->n; i++) {
		const struct map *m = &leaf->map[i];

		if (m->start > m->last || w->end || m->start < w->from || m->last > w->t->last)
			return "tree 1: a mapping out of order, overlapping or outside the bounds";
		if (leaf->key[i] != m->last)
			return "tree 3: the key of a mapping is not its last byte";
		if (leaf->gap[i] != gap_of(w->t, m, w->from))
			return "tree 4: the gap of a mapping is wrong";
		w->from = m->last + 1;
		w->end = m->last == UINT64_MAX;
		w->n++;
	}
	return NULL;
}

static const char *validate_node(struct walk *w, const struct tree_node *node, unsigned level)
{
	bool root = node == w->t->root;

	if (node->n > KEYS || node->n < (root ? (level ? 2 : 1) : MIN_KEYS))
		return "tree 2: a node that is too full or too empty";
	for (unsigned i = node->n; i < KEYS; i++)
		if (node->key[i] != UINT64_MAX || node->gap[i])
			return "tree 3: an unused slot with a key or a gap";
	if (node->level != level)
		return "tree 6: a node of another level";
	if (level == 0)
		return validate_leaf(w, node);
	for (unsigned i = node->n; i < KEYS; i++)
		if (node->child[i])
			return "tree 6: an unused slot with a child";
	for (unsigned i = 0; i < node->n; i++) {
		const struct tree_node *child = node->child[i];
		const char *broken = validate_node(w, child, level - 1);

		if (broken)
			return broken;
		if (node->key[i] != child->key[child->n - 1])
			return "tree 3: the key of a child is not its last byte";
		if (node->gap[i] != largest_gap(child))
			return "tree 4: the gap of a child is not the largest under it";
	}
	return NULL;
}

static const char *validate_way(const struct tree *t)
{
	const struct tree_node *node = t->root, *leaf = t->way.at[0].node;
	uint64_t first = 0, last = UINT64_MAX;
	bool is_last = true;

	if (!node)
		return "tree 7: a way is known in an empty tree";
	for (unsigned level = t->height; level-- > 0; node = node->child[t->way.at[level].slot]) {
		unsigned i = t->way.at[level].slot;

		if (node != t->way.at[level].node || (level > 0 && i >= node->n))
			return "tree 7: the known way is not one from the root";
		if (level == 0)
			break;
		if (i > 0)
			first = node->key[i - 1] + 1;
		is_last = is_last && i + 1 == node->n;
	}
	if (!is_last)
		last = leaf->key[leaf->n - 1];
	if (t->known_first < first || t->known_last > last)
		return "tree 7: the known way does not lead to all that it should";
	return NULL;
}

const char *tree_validate(const struct tree *t)
{
	struct walk w = {.t = t, .from = t->first};
	const char *broken;
	size_t spare = 0;

	if ((t->root == NULL) != (t->height == 0) || t->height > TREE_MAX_HEIGHT)
		return "tree 2: the height does not fit the root";
	broken = t->root ? validate_node(&w, t->root, t->height - 1) : NULL;
	if (broken)
		return broken;
	broken = t->known ? validate_way(t) : NULL;
	if (broken)
		return broken;
	for (const struct tree_node *node = t->spare; node; node = node->next)
		spare++;
	if (w.n != t->n || spare != t->n_spare || t->left)
		return "tree 5: the number of mappings or of spare nodes is wrong";
	return NULL;
}
