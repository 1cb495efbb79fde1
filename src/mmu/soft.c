// SPDX-License-Identifier: MIT
/*
 * soft.c: changes of the soft MMU's page table. Where its nodes and locks are is in soft_tree.c,
 * the threads that use it are in soft_tlb.c.
 *
 * CPU threads that miss in their TLB walk the table with no lock. Everybody else locks the stripes
 * of the leaves that he changes, and holds them until nobody can use what he took away: so who
 * finds nothing to take away any more knows that nobody uses it.
 *
 * A CPU thread that uses an entry sets SEEN in it first, by a compare-and-swap. So a change that
 * takes an entry away which is not SEEN has nobody to wait for. SEEN is the accessed mark as well.
 *
 * Invariants:
 *	1 what a TLB holds for a page is in the page's entry while its stripe is not locked: host
 *	  address, rights, and SEEN (soft_tlb.c)
 *	2 an entry that loses a right, its address or SEEN is known to be SEEN or not at the moment
 *	  it does: every write to a leaf's slot is a compare-and-swap, or finds the slot 0
 */
#include "mmu/soft_int.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/range.h"

/* ---- The validator ---- */

int soft_check(struct soft *soft)
{
	int err;

	stripes_take(soft, ALL_STRIPES);
	err = check_tree(soft);
	if (!err)
		err = check_cpus(soft);
	stripes_drop(soft, ALL_STRIPES);
	return err;
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

/* inv. 2. True: the entry is gone. */
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

static void change_leaf(struct soft *soft, struct node *leaf, uint64_t lo, uint64_t hi,
			struct change *c)
{
	unsigned gone = 0;

	for (uint64_t number = lo;; number++) {
		gone += change_entry(&leaf->slot[number & (NODE_SLOTS - 1)], number, c);
		if (number == hi)
			break;
	}
	leaf_lost(soft, leaf, lo, gone);
}

/* Page numbers lo .. hi, which overlap those of the node, which begin at `first`. */
static void change_node(struct soft *soft, struct node *node, unsigned level, uint64_t first,
			uint64_t lo, uint64_t hi, struct change *c)
{
	unsigned shift = NODE_BITS * level, from, to;
	uint64_t last = first + ((uint64_t)NODE_SLOTS << shift) - 1;

	lo = max_u64(lo, first);
	hi = min_u64(hi, last);
	if (!level) {
		change_leaf(soft, node, lo, hi, c);
		return;
	}
	from = (unsigned)((lo - first) >> shift);
	to = (unsigned)((hi - first) >> shift);
	for (unsigned i = from; i <= to; i++) {
		uint64_t word = atomic_load(&node->slot[i]);

		if (word)
			change_node(soft, as_node(word), level - 1, first + ((uint64_t)i << shift),
				    lo, hi, c);
	}
}

/* The stripes of lo .. hi are locked. */
static void change_locked(struct soft *soft, uint64_t lo, uint64_t hi, struct change *c)
{
	c->shift = soft->shift;
	if (lo >> NODE_BITS == hi >> NODE_BITS) {
		struct node *leaf = leaf_find(soft, lo);

		if (leaf)
			change_leaf(soft, leaf, lo, hi, c);
	} else {
		uint64_t root = atomic_load(&soft->root);
		unsigned height = root & HEIGHT;

		if (root && !(lo >> NODE_BITS * height))
			change_node(soft, as_node(root), height - 1, 0, lo, hi, c);
	}
	if (c->shot.any)
		soft_shoot(soft, &c->shot);
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
	uint32_t stripes;
	bool due;

	if (!numbers(soft, gva, n, &lo, &hi))
		return fail(-EINVAL, "soft: %" PRIu64 " pages at %#" PRIx64 " are no range", n,
			    gva);
	c->first = lo;
	stripes = stripes_of(lo, hi);
	stripes_take(soft, stripes);
	change_locked(soft, lo, hi, c);
	due = prune_due(soft, stripes);
	stripes_drop(soft, stripes);
	if (due)
		prune(soft);
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
	struct change c = { .keep = ~(uint64_t)(1u << VMS_TLB_WRITE) };

	return change(soft, gva, n, &c);
}

int soft_protect(struct soft *soft, uint64_t gva, uint64_t n, uint32_t rights)
{
	struct change c = { .keep = ~RIGHTS | rights, .add = rights & ~(1u << VMS_TLB_WRITE) };

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

	stripes_take(soft, ALL_STRIPES);
	change_locked(soft, 0, UINT64_MAX >> soft->shift, &c);
	stripes_drop(soft, ALL_STRIPES);
	prune(soft);
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

/* One of the leaf's of lo .. hi: the last that is asked for. */
static uint64_t last_here(uint64_t number, uint64_t hi)
{
	return min_u64(number | (NODE_SLOTS - 1), hi);
}

static bool any_entry(struct soft *soft, uint64_t lo, uint64_t hi)
{
	for (uint64_t number = lo;; number++) {
		uint64_t last = last_here(number, hi);
		struct node *leaf = leaf_find(soft, number);

		for (; leaf && leaf->used && number <= last; number++)
			if (atomic_load_explicit(&leaf->slot[number & (NODE_SLOTS - 1)],
						 memory_order_relaxed))
				return true;
		number = last;
		if (number == hi)
			return false;
	}
}

/* True: there was none. */
static bool map_entry(_Atomic(uint64_t) *slot, uint64_t page, uint64_t entry,
		      enum soft_existing existing, struct shot *shot)
{
	uint64_t old = atomic_load_explicit(slot, memory_order_relaxed), new;

	if (!old) {
		/* Nothing is taken from anybody: the bytes come first, and that is all. */
		atomic_store_explicit(slot, entry, memory_order_release);
		return true;
	}
	if (existing == SOFT_SKIP)
		return false;
	do
		new = ((old ^ entry) & HOST_MASK) ? entry : old | entry;
	while (!atomic_compare_exchange_weak(slot, &old, new));
	if ((old & SEEN) && (old & ~new))
		lost(shot, page);
	return false;
}

/* Pages lo .. hi of one leaf. */
static void map_leaf(struct soft *soft, struct node *leaf, uint64_t base, uint64_t lo, uint64_t hi,
		     const struct pages_shown *p, struct shot *shot)
{
	unsigned fresh = 0;

	for (uint64_t number = lo;; number++) {
		fresh += map_entry(&leaf->slot[number & (NODE_SLOTS - 1)], number << soft->shift,
				   shown_entry(soft, p, number - base), p->existing, shot);
		if (number == hi)
			break;
	}
	leaf_gained(soft, leaf, lo, fresh);
}

/* The stripes of lo .. hi are locked. */
static int map_locked(struct soft *soft, uint64_t lo, uint64_t hi, const struct pages_shown *p)
{
	struct shot shot = { 0 };

	if (p->existing == SOFT_ERROR && any_entry(soft, lo, hi))
		return -EEXIST;
	/* Prepare. */
	for (uint64_t number = lo;; number++) {
		if (!leaf_make(soft, number))
			return -ENOMEM;
		number = last_here(number, hi);
		if (number == hi)
			break;
	}
	/* Commit. */
	for (uint64_t number = lo;; number++) {
		uint64_t last = last_here(number, hi);

		map_leaf(soft, leaf_find(soft, number), lo, number, last, p, &shot);
		number = last;
		if (number == hi)
			break;
	}
	if (shot.any)
		soft_shoot(soft, &shot);
	return 0;
}

static int map(struct soft *soft, uint64_t gva, uint64_t n, const struct pages_shown *p)
{
	uint64_t lo, hi;
	uint32_t stripes;
	int err;

	if (!numbers(soft, gva, n, &lo, &hi) || !shown_ok(soft, p, n))
		return fail(-EINVAL, "soft: map: %" PRIu64 " pages at %#" PRIx64 ", rights %#x", n,
			    gva, p->rights);
	stripes = stripes_of(lo, hi);
	stripes_take(soft, stripes);
	err = map_locked(soft, lo, hi, p);
	stripes_drop(soft, stripes);
	if (err == -ENOMEM)
		prune(soft);
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
	uint64_t number = gva >> soft->shift, entry = 0;
	uint32_t stripes = stripes_of(number, number);
	struct node *leaf;

	if (!is_aligned(gva, UINT64_C(1) << soft->shift))
		return -EINVAL;
	stripes_take(soft, stripes);
	leaf = leaf_find(soft, number);
	if (leaf)
		entry = atomic_load_explicit(&leaf->slot[number & (NODE_SLOTS - 1)],
					     memory_order_relaxed);
	stripes_drop(soft, stripes);
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
	*out = (struct soft_stats){ .nodes = atomic_load(&soft->nodes),
				    .shot = atomic_load(&soft->shot),
				    .barriers = atomic_load(&soft->barriers),
				    .caches = soft->caches };
	for (unsigned i = 0; i < STRIPES; i++) {
		stripes_take(soft, UINT32_C(1) << i);
		out->entries += soft->stripe[i].entries;
		stripes_drop(soft, UINT32_C(1) << i);
	}
}

/* ---- Life ---- */

int soft_create(const struct world *w, uint64_t page_size, struct soft **out)
{
	const uintptr_t align = _Alignof(struct soft);
	struct soft *soft;
	void *block;

	if (!is_pow2(page_size) || page_size < SOFT_PAGE_MIN || page_size > SOFT_PAGE_MAX)
		return fail(-EINVAL, "soft: a page of %" PRIu64 " bytes", page_size);
	block = w->alloc(w, sizeof(*soft) + align);
	if (!block)
		return fail(-ENOMEM, "soft: no memory");
	soft = (void *)(((uintptr_t)block + align - 1) & ~(align - 1));
	memset(soft, 0, sizeof(*soft));
	soft->world = w;
	soft->block = block;
	soft->pid = getpid();
	soft->shift = (unsigned)__builtin_ctzll(page_size);
	soft->caches = soft_barrier_ready(w);
	for (unsigned i = 0; i < STRIPES; i++)
		lock_init(&soft->stripe[i].lock, LOCK_MMU, "soft MMU");
	*out = soft;
	return 0;
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

int soft_destroy(struct soft *soft)
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
	for (unsigned i = 0; i < STRIPES; i++)
		lock_fini(&soft->stripe[i].lock);
	w->free(w, soft->block, sizeof(*soft) + _Alignof(struct soft));
	return 0;
}
