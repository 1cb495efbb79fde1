// SPDX-License-Identifier: MIT
/*
 * table.c: the persistent radix table. table.h says what it is for.
 *
 *	root word ─→ node, shift 21 (1 GiB)		after an edit of one page below entry 1:
 *		     [0] direct, 2 MiB
 *		     [1] node, shift 12 ─→ [0] direct	root word ─→ copy ─→ [1] copy ─→ ...
 *		     [2] hole		   [1] hole	the old two nodes are retired, all other
 *		     ...		   ...		nodes are in both tables
 *
 *	fresh	a node that this edit made: nobody else sees it, and it is changed where it is
 *	stale	a node of the published table that is not in the new one
 *	uniform	a node whose 512 entries are equal
 *
 * A change goes down from the root to the nodes at its two ends, and makes each of these fresh;
 * what lies between the ends is overwritten on the highest level that it fills. On the way up
 * uniform nodes become entries. The height is the least that reaches the highest address which is
 * mapped: so the same contents have the same nodes, whatever was done before.
 *
 * A published node that is reached through the new table is not stale yet, as each node has one
 * parent: it becomes stale when it is copied, or when what holds it is overwritten.
 *
 * Behind its entries a node has what only editors look at; a reader that is in a stale node
 * meanwhile never sees that change.
 *
 * Invariants of a published table, checked by table_validate:
 *
 *	1 the root's shift is 12 and a multiple of 9 more, 57 at most
 *	2 an entry is a hole (two zeros), or a node of the next level, or has rights; at the last
 *	  level none is a node. A slow one has its block
 *	3 no node is uniform, but for the root
 *	4 the root is no higher than it must be: not all entries but its first are holes, unless
 *	  it is of the last level; and not all of them are
 *	5 nothing is mapped behind the end of the 64-bit space
 *	6 no node is fresh
 *	7 bytes is the size of all nodes
 */
#include "memory/table.h"

#include <errno.h>
#include <string.h>

#include "base/epoch.h"

#define ALIGNED 64u

struct table_node {
	struct table_entry entry[TABLE_ENTRIES];
	union {
		struct epoch_head retired;
		struct {
			struct table_node *next;  /* of the fresh, or of the stale */
			struct table_node **link; /* what points to it; fresh alone */
		};
	};
	const struct world *world;
	void *raw; /* what was allocated: the node is aligned in it */
	bool fresh;
} __attribute__((aligned(ALIGNED)));

static struct table_node *node_at(uint64_t word)
{
	return (struct table_node *)(uintptr_t)(word & ~(uint64_t)(ALIGNED - 1));
}

static uint64_t word_of(const struct table_node *n, uint64_t bits)
{
	return (uint64_t)(uintptr_t)n | bits;
}

static unsigned shift_of(uint64_t root)
{
	return (unsigned)(root & (ALIGNED - 1));
}

/* The root of a table with nothing in it: an entry there says so for all addresses at once, and
 * readers have no other case. */
static const struct table_entry holes[TABLE_ENTRIES] __attribute__((aligned(ALIGNED)));

static uint64_t no_root(void)
{
	return (uint64_t)(uintptr_t)holes | TABLE_TOP;
}

/* The root as an edit has it: 0 for none. */
static uint64_t root_of(const struct table *t)
{
	uint64_t root = atomic_load_explicit(&t->root, memory_order_acquire);

	return root == no_root() ? 0 : root;
}

static bool is_same(const struct table_entry *a, const struct table_entry *b)
{
	return a->at == b->at && a->more == b->more;
}

/* Are all n entries *value? */
static bool is_all(const struct table_entry *entry, unsigned n, const struct table_entry *value)
{
	return n == 0 || (is_same(entry, value) && is_same(entry + n - 1, value) &&
			  memcmp(entry, entry + 1, (n - 1) * sizeof(*entry)) == 0);
}

static bool is_uniform(const struct table_node *n)
{
	return is_all(n->entry, TABLE_ENTRIES, n->entry);
}

/* Are all entries but the first holes? */
static bool is_only_first(const struct table_node *n)
{
	for (unsigned i = 1; i < TABLE_ENTRIES; i++)
		if (n->entry[i].at)
			return false;
	return true;
}

/* ---- The validator ---- */

static const char *check_entry(const struct table_entry *e, unsigned shift)
{
	if (e->at == 0)
		return e->more ? "table: a hole is not zero" : NULL;
	if (e->at & ENTRY_NODE) {
		if (shift == TABLE_PAGE)
			return "table: a node below the last level";
		if (e->more || (e->at & (ALIGNED - 1)) != ENTRY_NODE)
			return "table: a node's entry says more";
		return NULL;
	}
	if (!(e->at & ENTRY_RIGHTS) || (e->at & ENTRY_BITS & ~(ENTRY_RIGHTS | ENTRY_SLOW)))
		return "table: an entry has no rights, or unknown bits";
	return e->at & ENTRY_SLOW && !e->more ? "table: a slow entry has no block" : NULL;
}

static const char *check_node(const struct table_node *n, unsigned shift, uint64_t *bytes)
{
	const char *broken = NULL;

	*bytes += sizeof(*n);
	if (n->fresh)
		return "table: a published node is fresh";
	for (unsigned i = 0; i < TABLE_ENTRIES && !broken; i++) {
		const struct table_entry *e = &n->entry[i];

		if (shift == TABLE_TOP && e->at && i >> (64 - shift))
			return "table: something behind the end of the space";
		broken = check_entry(e, shift);
		if (broken || !(e->at & ENTRY_NODE))
			continue;
		broken = check_node(node_at(e->at), shift - TABLE_BITS, bytes);
		if (!broken && is_uniform(node_at(e->at)))
			broken = "table: a node of equal entries";
	}
	return broken;
}

const char *table_validate(const struct table *t)
{
	uint64_t root = root_of(t), bytes = 0;
	unsigned shift = shift_of(root);
	const char *broken;

	if (!root)
		return t->bytes ? "table: bytes of no nodes" : NULL;
	if (shift < TABLE_PAGE || shift > TABLE_TOP || (shift - TABLE_PAGE) % TABLE_BITS)
		return "table: the root's shift is none";
	broken = check_node(node_at(root), shift, &bytes);
	if (broken)
		return broken;
	if (is_only_first(node_at(root)) && (shift > TABLE_PAGE || !node_at(root)->entry[0].at))
		return "table: the root is higher than it must be";
	return bytes == t->bytes ? NULL : "table: bytes of other nodes than there are";
}

/* ---- Nodes ---- */

/* A fresh one; its entries are for the caller. */
static struct table_node *node_new(struct table_edit *e)
{
	const struct world *w = e->table->world;
	unsigned char *raw = w->alloc(w, sizeof(struct table_node) + ALIGNED - 1);
	struct table_node *n;

	if (!raw)
		return NULL;
	n = (void *)(raw + (-(uintptr_t)raw & (ALIGNED - 1)));
	n->world = w;
	n->raw = raw;
	n->fresh = true;
	n->next = e->fresh;
	n->link = &e->fresh;
	if (n->next)
		n->next->link = &n->next;
	e->fresh = n;
	e->bytes += (int64_t)sizeof(*n);
	return n;
}

static void node_free(struct table_node *n)
{
	n->world->free(n->world, n->raw, sizeof(*n) + ALIGNED - 1);
}

static void free_retired(struct epoch_head *head)
{
	node_free((struct table_node *)((char *)head - offsetof(struct table_node, retired)));
}

/* The edit has it no more: not what is below it. */
static void node_drop(struct table_edit *e, struct table_node *n)
{
	e->bytes -= (int64_t)sizeof(*n);
	if (!n->fresh) {
		n->next = e->stale;
		e->stale = n;
		return;
	}
	*n->link = n->next;
	if (n->next)
		n->next->link = n->link;
	node_free(n);
}

/* A node goes, with all below; its entries are of 1 << shift bytes. */
static void drop(struct table_edit *e, struct table_node *n, unsigned shift)
{
	for (unsigned i = 0; shift > TABLE_PAGE && i < TABLE_ENTRIES; i++)
		if (n->entry[i].at & ENTRY_NODE)
			drop(e, node_at(n->entry[i].at), shift - TABLE_BITS);
	node_drop(e, n);
}

/* n, or a fresh copy in its place. NULL: no memory. */
static struct table_node *own(struct table_edit *e, struct table_node *n)
{
	struct table_node *copy;

	if (n->fresh)
		return n;
	copy = node_new(e);
	if (!copy)
		return NULL;
	memcpy(copy->entry, n->entry, sizeof(copy->entry));
	node_drop(e, n);
	return copy;
}

static void node_fill(struct table_node *n, const struct table_entry *entry)
{
	const unsigned some = 32;

	if (!entry->at) {
		memset(n->entry, 0, sizeof(n->entry));
		return;
	}
	for (unsigned i = 0; i < some; i++)
		n->entry[i] = *entry;
	for (unsigned i = some; i < TABLE_ENTRIES; i += some)
		memcpy(&n->entry[i], n->entry, some * sizeof(*entry));
}

/* A fresh node that means what the entry means. NULL: no memory. */
static struct table_node *node_below(struct table_edit *e, const struct table_entry *entry)
{
	struct table_node *n;

	if (entry->at & ENTRY_NODE)
		return own(e, node_at(entry->at));
	n = node_new(e);
	if (n)
		node_fill(n, entry);
	return n;
}

/* ---- Changes ---- */

static unsigned index_of(uint64_t gpa, unsigned shift)
{
	return (unsigned)(gpa >> shift) & (TABLE_ENTRIES - 1);
}

/* What [first, last] takes of the i-th entry of a node, from its start; all of it? */
struct part {
	uint64_t a, b;
	bool whole;
};

static struct part part_of(unsigned i, unsigned shift, uint64_t first, uint64_t last)
{
	const uint64_t mask = (UINT64_C(1) << shift) - 1;
	struct part p = { .a = i == index_of(first, shift) ? first & mask : 0,
			  .b = i == index_of(last, shift) ? last & mask : mask };

	p.whole = p.a == 0 && p.b == mask;
	return p;
}

/*
 * Is all of a node *value already, but for [first, last]? Entries are of 1 << shift bytes; address
 * bits above the node's are not looked at.
 */
static bool is_rest(const struct table_node *n, unsigned shift, uint64_t first, uint64_t last,
		    const struct table_entry *value)
{
	const unsigned end[] = { index_of(first, shift), index_of(last, shift) };

	if (!is_all(n->entry, end[0], value) ||
	    !is_all(n->entry + end[1] + 1, TABLE_ENTRIES - 1 - end[1], value))
		return false;
	for (unsigned k = 0; k < 2; k++) {
		const struct table_entry *entry = &n->entry[end[k]];
		struct part p = part_of(end[k], shift, first, last);

		if (p.whole || is_same(entry, value))
			continue;
		if (!(entry->at & ENTRY_NODE) ||
		    !is_rest(node_at(entry->at), shift - TABLE_BITS, p.a, p.b, value))
			return false;
	}
	return true;
}

/* [first, last] of a fresh node, likewise, becomes *value. 0 or -ENOMEM. */
static int set_in(struct table_edit *e, struct table_node *n, unsigned shift, uint64_t first,
		  uint64_t last, const struct table_entry *value)
{
	const unsigned to = index_of(last, shift);

	for (unsigned i = index_of(first, shift); i <= to; i++) {
		struct table_entry *entry = &n->entry[i];
		struct part p = part_of(i, shift, first, last);
		struct table_node *below;

		if (is_same(entry, value))
			continue;
		if (!p.whole && entry->at & ENTRY_NODE)
			p.whole = is_rest(node_at(entry->at), shift - TABLE_BITS, p.a, p.b, value);
		if (p.whole) {
			if (entry->at & ENTRY_NODE)
				drop(e, node_at(entry->at), shift - TABLE_BITS);
			*entry = *value;
			continue;
		}
		below = node_below(e, entry);
		if (!below)
			return -ENOMEM;
		*entry = (struct table_entry){ .at = word_of(below, ENTRY_NODE) };
		if (set_in(e, below, shift - TABLE_BITS, p.a, p.b, value))
			return -ENOMEM;
	}
	return 0;
}

/* Make the root high enough for `last`. 0 or -ENOMEM. */
static int grow(struct table_edit *e, uint64_t last)
{
	static const struct table_entry hole;
	unsigned shift = e->root ? shift_of(e->root) : TABLE_PAGE;
	struct table_node *n, *old = node_at(e->root);

	if (!old) {
		while (last >> shift >= TABLE_ENTRIES)
			shift += TABLE_BITS;
		n = node_new(e);
		if (!n)
			return -ENOMEM;
		node_fill(n, &hole);
		e->root = word_of(n, shift);
	}
	while (last >> shift >= TABLE_ENTRIES) {
		n = node_new(e);
		if (!n)
			return -ENOMEM;
		node_fill(n, &hole);
		if (is_uniform(old)) {
			n->entry[0] = old->entry[0];
			node_drop(e, old);
		} else {
			n->entry[0].at = word_of(old, ENTRY_NODE);
		}
		old = n;
		shift += TABLE_BITS;
		e->root = word_of(n, shift);
	}
	return 0;
}

/* Make the root, which is no hole, no higher than it must be. 0 or -ENOMEM. */
static int shrink(struct table_edit *e)
{
	struct table_node *n = node_at(e->root);
	unsigned shift = shift_of(e->root);

	while (shift > TABLE_PAGE && is_only_first(n)) {
		struct table_entry first = n->entry[0];

		shift -= TABLE_BITS;
		if (!(first.at & ENTRY_NODE)) {
			/* All of a lower root would be this: the node itself becomes that. */
			n = own(e, n);
			if (!n)
				return -ENOMEM;
			node_fill(n, &first);
			break;
		}
		node_drop(e, n);
		n = node_at(first.at);
	}
	e->root = word_of(n, shift);
	return 0;
}

int table_edit_set(struct table_edit *e, uint64_t first, uint64_t last,
		   const struct table_entry *entry)
{
	const struct table_entry value = entry ? *entry : (struct table_entry){ 0 };
	struct table_node *n;
	unsigned shift;

	if (value.at) {
		if (grow(e, last))
			return -ENOMEM;
	} else if (!e->root) {
		return 0;
	}
	shift = shift_of(e->root);
	/* Behind the root's reach all is a hole. */
	if (first >> shift >= TABLE_ENTRIES)
		return 0;
	if (last >> shift >= TABLE_ENTRIES)
		last = ((uint64_t)TABLE_ENTRIES << shift) - 1;
	n = node_at(e->root);
	if (!value.at && is_rest(n, shift, first, last, &value)) {
		drop(e, n, shift);
		e->root = 0;
		return 0;
	}
	n = own(e, n);
	if (!n)
		return -ENOMEM;
	e->root = word_of(n, shift);
	if (set_in(e, n, shift, first, last, &value))
		return -ENOMEM;
	return value.at ? 0 : shrink(e);
}

/* ---- Edits ---- */

void table_init(struct table *t, const struct world *w)
{
	atomic_init(&t->root, no_root());
	t->world = w;
	t->bytes = 0;
}

static void free_below(struct table_node *n)
{
	for (unsigned i = 0; i < TABLE_ENTRIES; i++)
		if (n->entry[i].at & ENTRY_NODE)
			free_below(node_at(n->entry[i].at));
	node_free(n);
}

void table_fini(struct table *t)
{
	uint64_t root = root_of(t);

	if (root)
		free_below(node_at(root));
	atomic_store_explicit(&t->root, no_root(), memory_order_relaxed);
	t->bytes = 0;
}

void table_edit_init(struct table_edit *e, struct table *t)
{
	*e = (struct table_edit){
		.table = t,
		.root = root_of(t),
	};
}

void table_edit_show(struct table_edit *e)
{
	for (struct table_node *n = e->fresh; n; n = n->next)
		n->fresh = false;
	atomic_store_explicit(&e->table->root, e->root ? e->root : no_root(), memory_order_release);
}

void table_edit_publish(struct table_edit *e)
{
	struct table_node *next;

	table_edit_show(e);
	e->table->bytes += (uint64_t)e->bytes;
	for (struct table_node *n = e->stale; n; n = next) {
		next = n->next;
		epoch_retire(&n->retired, free_retired);
	}
}

void table_edit_abort(struct table_edit *e)
{
	struct table_node *next;

	for (struct table_node *n = e->fresh; n; n = next) {
		next = n->next;
		node_free(n);
	}
}

/* ---- Looking ---- */

const struct table_entry *table_find_span(uint64_t root, uint64_t gpa, uint64_t *last)
{
	unsigned shift = shift_of(root);
	const struct table_entry *e;

	*last = UINT64_MAX;
	if (gpa >> shift >= TABLE_ENTRIES)
		return NULL;
	e = &node_at(root)->entry[gpa >> shift];
	while (e->at & ENTRY_NODE) {
		shift -= TABLE_BITS;
		e = &node_at(e->at)->entry[index_of(gpa, shift)];
	}
	if (root == no_root())
		return e;
	*last = gpa | ((UINT64_C(1) << shift) - 1);
	return e;
}
