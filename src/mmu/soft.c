// SPDX-License-Identifier: MIT
/*
 * soft.c: the page table of the soft MMU.
 *
 * A radix tree of page numbers, nine bits a level, as high as the highest page asks: four levels
 * for 48 bits of 4 KiB pages, six for the whole 64 bits. CPU threads that miss in their TLB walk it
 * with no lock; everybody else holds the lock.
 *
 *	root, height 2 --> node --> leaf: host address | SEEN | rights
 *	                     `----> leaf
 *
 * A CPU thread that uses an entry sets SEEN in it first, by a compare-and-swap. So a change that
 * takes an entry away which is not SEEN has nobody to wait for. SEEN is the accessed mark as well.
 *
 * Nodes that became empty are unlinked at once and lie in limbo until every CPU thread that might
 * walk them has left (a shoot-down says so, for whatever it was); a few are kept for the next map.
 *
 * Invariants, whenever the lock is free:
 *	1 a linked node has an entry: `used` counts its slots that are not 0, and is not 0
 *	2 an entry has a right, and a host address that is not 0
 *	3 `entries` and `nodes` count what is linked
 *	4 nodes in limbo and spare hold only zeros
 *	5 what a TLB holds for a page is in the page's entry: host address, rights, and SEEN
 *	  (soft_tlb.c)
 * and always:
 *	6 an entry that loses a right, its address or SEEN is known to be SEEN or not at the moment
 *	  it does: every write to a leaf's slot is a compare-and-swap, or finds the slot 0
 */
#include "mmu/soft_int.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/range.h"

#define SPARE_MAX 16u

/* ---- The validator ---- */

static int check_node(struct node *node, unsigned level, uint64_t *entries, uint64_t *nodes)
{
	unsigned used = 0;

	++*nodes;
	for (unsigned i = 0; i < NODE_SLOTS; i++) {
		uint64_t word = atomic_load_explicit(&node->slot[i], memory_order_relaxed);
		int err;

		if (!word)
			continue;
		used++;
		if (level) {
			err = check_node(as_node(word), level - 1, entries, nodes);
			if (err)
				return err;
			continue;
		}
		++*entries;
		if (!(word & RIGHTS) || !(word & HOST_MASK) ||
		    (word & ~(HOST_MASK | SEEN | RIGHTS)))
			return fail(-EINVAL, "soft: an entry is %#" PRIx64, word);
	}
	if (!used || used != node->used)
		return fail(-EINVAL, "soft: a node has %u slots, counts %u", used, node->used);
	return 0;
}

static int check_unlinked(const struct node *node, unsigned n)
{
	for (; node; node = node->next, n--) {
		if (n == 0 || node->used)
			return fail(-EINVAL, "soft: an unlinked node is not counted, or is in use");
		for (unsigned i = 0; i < NODE_SLOTS; i++)
			if (atomic_load_explicit(&node->slot[i], memory_order_relaxed))
				return fail(-EINVAL, "soft: an unlinked node is not empty");
	}
	return n ? fail(-EINVAL, "soft: %u unlinked nodes are missing", n) : 0;
}

int soft_check(struct soft *soft)
{
	uint64_t root, entries = 0, nodes = 0;
	int err = 0;

	lock_take(&soft->lock);
	root = atomic_load_explicit(&soft->root, memory_order_relaxed);
	if (root)
		err = check_node(as_node(root), (root & HEIGHT) - 1, &entries, &nodes);
	if (!err && (entries != soft->entries || nodes != soft->nodes))
		err = fail(-EINVAL,
			   "soft: %" PRIu64 " entries in %" PRIu64 " nodes, counted %" PRIu64
			   " in %" PRIu64,
			   entries, nodes, soft->entries, soft->nodes);
	if (!err)
		err = check_unlinked(soft->limbo, soft->n_limbo);
	if (!err)
		err = check_unlinked(soft->spare, soft->n_spare);
	if (!err)
		err = soft_check_cpus_locked(soft);
	lock_drop(&soft->lock);
	return err;
}

/* ---- Nodes ---- */

static struct node *node_new(struct soft *soft) REQUIRES(soft->lock)
{
	struct node *node = soft->spare;

	if (node) {
		soft->spare = node->next;
		soft->n_spare--;
	} else {
		node = soft->world->alloc(soft->world, sizeof(*node));
		if (!node)
			return NULL;
		memset(node, 0, sizeof(*node));
	}
	soft->nodes++;
	return node;
}

/* It is empty, and linked no more. */
static void node_gone(struct soft *soft, struct node *node) REQUIRES(soft->lock)
{
	soft->nodes--;
	node->next = soft->limbo;
	soft->limbo = node;
	soft->n_limbo++;
}

void soft_drain_locked(struct soft *soft)
{
	struct node *node;

	while ((node = soft->limbo)) {
		soft->limbo = node->next;
		soft->n_limbo--;
		if (soft->n_spare == SPARE_MAX) {
			soft->world->free(soft->world, node, sizeof(*node));
			continue;
		}
		node->next = soft->spare;
		soft->spare = node;
		soft->n_spare++;
	}
}

static void free_list(const struct world *w, struct node *node)
{
	struct node *next;

	for (; node; node = next) {
		next = node->next;
		w->free(w, node, sizeof(*node));
	}
}

static void free_tree(const struct world *w, struct node *node, unsigned level)
{
	for (unsigned i = 0; level && i < NODE_SLOTS; i++) {
		uint64_t word = atomic_load_explicit(&node->slot[i], memory_order_relaxed);

		if (word)
			free_tree(w, as_node(word), level - 1);
	}
	w->free(w, node, sizeof(*node));
}

/* The tree reaches this page number. False: no memory; what was added is a chain of full worth. */
static bool grow(struct soft *soft, uint64_t number) REQUIRES(soft->lock)
{
	uint64_t root = atomic_load_explicit(&soft->root, memory_order_relaxed);
	unsigned height = root & HEIGHT;

	if (!root) {
		struct node *node = node_new(soft);

		if (!node)
			return false;
		for (height = 1; number >> NODE_BITS * height;)
			height++;
		atomic_store(&soft->root, (uintptr_t)node | height);
		return true;
	}
	for (; number >> NODE_BITS * height; height++) {
		struct node *node = node_new(soft);

		if (!node)
			return false;
		/* The old root stands for the lowest numbers. */
		atomic_store_explicit(&node->slot[0], root & ~HEIGHT, memory_order_relaxed);
		node->used = 1;
		root = (uintptr_t)node | (height + 1);
		atomic_store(&soft->root, root);
	}
	return true;
}

/* The leaf that holds this page number, made if need be. NULL: no memory; empty nodes may stand. */
static struct node *leaf_make(struct soft *soft, uint64_t number) REQUIRES(soft->lock)
{
	struct node *node;
	unsigned level;
	uint64_t word;

	if (!grow(soft, number))
		return NULL;
	word = atomic_load_explicit(&soft->root, memory_order_relaxed);
	node = as_node(word);
	for (level = (word & HEIGHT) - 1; level; level--) {
		_Atomic(uint64_t) *slot =
			&node->slot[number >> NODE_BITS * level & (NODE_SLOTS - 1)];

		word = atomic_load_explicit(slot, memory_order_relaxed);
		if (!word) {
			struct node *child = node_new(soft);

			if (!child)
				return NULL;
			node->used++;
			word = (uintptr_t)child;
			atomic_store(slot, word);
		}
		node = as_node(word);
	}
	return node;
}

/* ---- Changing what is there ---- */

struct change {
	uint64_t keep;	/* bits of an entry that stay; no right among them: the entry goes */
	uint64_t add;	/* bits that entries get */
	uint64_t shown; /* only entries with this host address; 0: all */
	uint64_t first; /* with bits: the range's first page number */
	uint64_t *bits; /* or NULL: where entries were SEEN */
	struct shot shot;
	unsigned shift;
};

static const struct change change_remove = { 0 };

static void lost(struct shot *shot, uint64_t page)
{
	if (!shot->any) {
		*shot = (struct shot){ true, page, page };
		return;
	}
	shot->lo = min_u64(shot->lo, page);
	shot->hi = max_u64(shot->hi, page);
}

/* inv. 6. True: the entry is gone. */
static bool change_entry(_Atomic(uint64_t) *slot, uint64_t number, struct change *c)
{
	uint64_t old = atomic_load_explicit(slot, memory_order_relaxed), new;

	do {
		if (!old || (c->shown && (old & HOST_MASK) != c->shown))
			return false;
		new = (old & c->keep) | c->add;
		if (!(new &RIGHTS))
			new = 0;
		if (new == old)
			return false;
	} while (!atomic_compare_exchange_weak(slot, &old, new));
	if ((old & SEEN) && (old & ~new)) {
		lost(&c->shot, number << c->shift);
		if (c->bits) {
			uint64_t i = number - c->first;

			c->bits[i / 64] |= UINT64_C(1) << i % 64;
		}
	}
	return !new;
}

/* Page numbers lo .. hi, which overlap those of the node, which begin at `first`. */
static void change_node(struct soft *soft, struct node *node, unsigned level, uint64_t first,
			uint64_t lo, uint64_t hi, struct change *c) REQUIRES(soft->lock)
{
	unsigned shift = NODE_BITS * level;
	uint64_t last = first + ((uint64_t)NODE_SLOTS << shift) - 1;
	unsigned from = (unsigned)((max_u64(lo, first) - first) >> shift);
	unsigned to = (unsigned)((min_u64(hi, last) - first) >> shift);

	for (unsigned i = from; i <= to; i++) {
		uint64_t number = first + ((uint64_t)i << shift);
		uint64_t word = atomic_load_explicit(&node->slot[i], memory_order_relaxed);

		if (!word)
			continue;
		if (!level) {
			if (change_entry(&node->slot[i], number, c)) {
				node->used--;
				soft->entries--;
			}
			continue;
		}
		change_node(soft, as_node(word), level - 1, number, lo, hi, c);
		if (as_node(word)->used)
			continue;
		atomic_store(&node->slot[i], 0);
		node->used--;
		node_gone(soft, as_node(word));
	}
}

/* Also takes away the empty nodes of the range. */
static void change_locked(struct soft *soft, uint64_t lo, uint64_t hi, struct change *c)
	REQUIRES(soft->lock)
{
	uint64_t root = atomic_load_explicit(&soft->root, memory_order_relaxed);
	unsigned height = root & HEIGHT;

	c->shift = soft->shift;
	if (root && !(lo >> NODE_BITS * height))
		change_node(soft, as_node(root), height - 1, 0, lo, hi, c);
	if (root && !as_node(root)->used) {
		atomic_store(&soft->root, 0);
		node_gone(soft, as_node(root));
	}
	soft_shoot_locked(soft, &c->shot);
}

/* Page numbers of a range; false: not a range of pages. */
static bool numbers(const struct soft *soft, uint64_t gva, uint64_t n, uint64_t *lo, uint64_t *hi)
{
	*lo = gva >> soft->shift;
	return is_aligned(gva, UINT64_C(1) << soft->shift) && range_last(*lo, n, hi) &&
	       *hi <= UINT64_MAX >> soft->shift;
}

static int change(struct soft *soft, uint64_t gva, uint64_t n, struct change *c)
{
	uint64_t lo, hi;

	if (!numbers(soft, gva, n, &lo, &hi))
		return fail(-EINVAL, "soft: %" PRIu64 " pages at %#" PRIx64 " are no range", n,
			    gva);
	c->first = lo;
	lock_take(&soft->lock);
	change_locked(soft, lo, hi, c);
	lock_drop(&soft->lock);
	return 0;
}

int soft_unmap(struct soft *soft, uint64_t gva, uint64_t n)
{
	struct change c = change_remove;

	return change(soft, gva, n, &c);
}

int soft_unmap_shown(struct soft *soft, uint64_t gva, uint64_t n, uint64_t host)
{
	struct change c = change_remove;

	if (!host || host & ~HOST_MASK)
		return fail(-EINVAL, "soft: %#" PRIx64 " is no host page", host);
	c.shown = host;
	return change(soft, gva, n, &c);
}

int soft_remove_write(struct soft *soft, uint64_t gva, uint64_t n)
{
	struct change c = { .keep = ~(uint64_t)(1u << TLB_WRITE) };

	return change(soft, gva, n, &c);
}

int soft_protect(struct soft *soft, uint64_t gva, uint64_t n, uint32_t rights)
{
	struct change c = { .keep = ~RIGHTS | rights, .add = rights & ~(1u << TLB_WRITE) };

	if (rights & ~RIGHTS)
		return fail(-EINVAL, "soft: rights %#x", rights);
	return change(soft, gva, n, &c);
}

int soft_harvest(struct soft *soft, uint64_t gva, uint64_t n, uint64_t *bits)
{
	struct change c = { .keep = ~SEEN, .bits = bits };

	return change(soft, gva, n, &c);
}

void soft_empty(struct soft *soft)
{
	struct change c = change_remove;

	lock_take(&soft->lock);
	change_locked(soft, 0, UINT64_MAX >> soft->shift, &c);
	lock_drop(&soft->lock);
}

/* ---- Mapping ---- */

/* What a map says: host addresses one by one, or the first of a run. */
struct pages_shown {
	const uint64_t *host;
	uint64_t run;
	uint32_t rights;
	enum soft_existing existing;
};

static uint64_t shown_entry(const struct soft *soft, const struct pages_shown *p, uint64_t i)
{
	return (p->host ? p->host[i] : p->run + (i << soft->shift)) | p->rights;
}

static bool host_ok(uint64_t host)
{
	return host && !(host & ~HOST_MASK);
}

static bool shown_ok(const struct soft *soft, const struct pages_shown *p, uint64_t n)
{
	uint64_t last;

	if (!p->rights || p->rights & ~RIGHTS || (unsigned)p->existing > SOFT_UPGRADE)
		return false;
	if (!p->host)
		return host_ok(p->run) && n <= UINT64_MAX >> soft->shift &&
		       range_last(p->run, n << soft->shift, &last);
	for (uint64_t i = 0; i < n; i++)
		if (!host_ok(p->host[i]))
			return false;
	return true;
}

static bool any_entry(struct soft *soft, uint64_t lo, uint64_t hi) REQUIRES(soft->lock)
{
	for (uint64_t number = lo;; number++) {
		_Atomic(uint64_t) *slot = soft_slot(soft, number);

		if (slot && atomic_load_explicit(slot, memory_order_relaxed))
			return true;
		if (!slot)
			number |= NODE_SLOTS - 1; /* no leaf */
		if (number >= hi)
			return false;
	}
}

static void map_entry(struct soft *soft, struct node *leaf, uint64_t number, uint64_t entry,
		      enum soft_existing existing, struct shot *shot) REQUIRES(soft->lock)
{
	_Atomic(uint64_t) *slot = &leaf->slot[number & (NODE_SLOTS - 1)];
	uint64_t old = atomic_load_explicit(slot, memory_order_relaxed), new;

	if (!old) {
		atomic_store(slot, entry);
		leaf->used++;
		soft->entries++;
		return;
	}
	if (existing == SOFT_SKIP)
		return;
	do
		new = ((old ^ entry) & HOST_MASK) ? entry : old | entry;
	while (!atomic_compare_exchange_weak(slot, &old, new));
	if ((old & SEEN) && (old & ~new))
		lost(shot, number << soft->shift);
}

static int map_locked(struct soft *soft, uint64_t lo, uint64_t hi, const struct pages_shown *p)
	REQUIRES(soft->lock)
{
	struct shot shot = { 0 };
	struct node *leaf = NULL;

	if (p->existing == SOFT_ERROR && any_entry(soft, lo, hi))
		return -EEXIST;
	/* Prepare. */
	for (uint64_t number = lo;; number++) {
		if (!leaf_make(soft, number)) {
			struct change none = { .keep = UINT64_MAX };

			change_locked(soft, lo, hi, &none);
			return -ENOMEM;
		}
		number |= NODE_SLOTS - 1;
		if (number >= hi)
			break;
	}
	/* Commit. */
	for (uint64_t number = lo;; number++) {
		if (!leaf || !(number & (NODE_SLOTS - 1)))
			leaf = leaf_make(soft, number);
		map_entry(soft, leaf, number, shown_entry(soft, p, number - lo), p->existing,
			  &shot);
		if (number == hi)
			break;
	}
	if (shot.any)
		soft_shoot_locked(soft, &shot);
	return 0;
}

static int map(struct soft *soft, uint64_t gva, uint64_t n, const struct pages_shown *p)
{
	uint64_t lo, hi;
	int err;

	if (!numbers(soft, gva, n, &lo, &hi) || !shown_ok(soft, p, n))
		return fail(-EINVAL, "soft: map: %" PRIu64 " pages at %#" PRIx64 ", rights %#x", n,
			    gva, p->rights);
	lock_take(&soft->lock);
	err = map_locked(soft, lo, hi, p);
	lock_drop(&soft->lock);
	return err;
}

int soft_map(struct soft *soft, uint64_t gva, const uint64_t *host, uint64_t n, uint32_t rights,
	     enum soft_existing existing)
{
	struct pages_shown p = { .host = host, .rights = rights, .existing = existing };

	return map(soft, gva, n, &p);
}

int soft_map_run(struct soft *soft, uint64_t gva, uint64_t host, uint64_t n, uint32_t rights,
		 enum soft_existing existing)
{
	struct pages_shown p = { .run = host, .rights = rights, .existing = existing };

	return map(soft, gva, n, &p);
}

/* ---- Looking ---- */

int soft_query(struct soft *soft, uint64_t gva, uint64_t *host, uint32_t *rights)
{
	_Atomic(uint64_t) *slot;
	uint64_t entry = 0;

	if (!is_aligned(gva, UINT64_C(1) << soft->shift))
		return -EINVAL;
	lock_take(&soft->lock);
	slot = soft_slot(soft, gva >> soft->shift);
	if (slot)
		entry = atomic_load_explicit(slot, memory_order_relaxed);
	lock_drop(&soft->lock);
	if (!entry)
		return -ENOENT;
	*host = entry & HOST_MASK;
	*rights = (uint32_t)(entry & RIGHTS);
	return 0;
}

uint64_t soft_max_run(const struct soft *soft, uint64_t gva)
{
	return NODE_SLOTS - (gva >> soft->shift & (NODE_SLOTS - 1));
}

void soft_stats(struct soft *soft, struct soft_stats *out)
{
	lock_take(&soft->lock);
	*out = (struct soft_stats){ soft->entries, soft->nodes, soft->shot, soft->barriers,
				    soft->caches };
	lock_drop(&soft->lock);
}

/* ---- Life ---- */

int soft_create(const struct world *w, uint64_t page_size, struct soft **out)
{
	struct soft *soft;

	if (!is_pow2(page_size) || page_size < SOFT_PAGE_MIN || page_size > SOFT_PAGE_MAX)
		return fail(-EINVAL, "soft: a page of %" PRIu64 " bytes", page_size);
	soft = w->alloc(w, sizeof(*soft));
	if (!soft)
		return fail(-ENOMEM, "soft: no memory");
	memset(soft, 0, sizeof(*soft));
	soft->world = w;
	soft->pid = getpid();
	soft->shift = (unsigned)__builtin_ctzll(page_size);
	soft->caches = soft_barrier_ready(w);
	lock_init(&soft->lock, LOCK_MMU, "soft MMU");
	*out = soft;
	return 0;
}

int soft_destroy(struct soft *soft) UNCHECKED_LOCKS
{
	const struct world *w;
	uint64_t root;

	if (!soft)
		return 0;
	if (soft->cpus && soft->pid == getpid())
		return fail(-EBUSY, "soft: a thread is still registered");
	w = soft->world;
	root = atomic_load_explicit(&soft->root, memory_order_relaxed);
	if (root)
		free_tree(w, as_node(root), (root & HEIGHT) - 1);
	free_list(w, soft->limbo);
	free_list(w, soft->spare);
	lock_fini(&soft->lock);
	w->free(w, soft, sizeof(*soft));
	return 0;
}
