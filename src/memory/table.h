/* SPDX-License-Identifier: MIT */
/*
 * table.h: what a guest address shows, for those who access: a persistent radix table.
 *
 *	root word	node | shift of its entries		one load: all that a reader starts from.
 *								Never 0: a node of holes is there
 *	node		512 entries, each of 1 << shift bytes of guest addresses
 *	entry		hole, node of the next level, direct memory, or slow
 *
 * An entry is the same for all pages of a slot, so a slot that fills an entry of a higher level is
 * one entry there. Nothing that a reader can see ever changes: an edit copies the nodes on its way
 * and publishes another root; the old nodes are retired (base/epoch.h).
 *
 *	table_edit_init → table_edit_set ... → table_edit_publish (cannot fail) or table_edit_abort
 */
#ifndef MEMORY_TABLE_H
#define MEMORY_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/world.h"

#define TABLE_BITS    9u
#define TABLE_ENTRIES (1u << TABLE_BITS)
#define TABLE_PAGE    12u /* bits of an address below the last level's entries */
#define TABLE_TOP     57u /* the largest shift: a node of it spans more than 2^64 */

/* Low bits of entry.at. The rights are VMS_SLOT_READ, _WRITE, _EXEC. */
#define ENTRY_RIGHTS UINT64_C(7)
#define ENTRY_SLOW   UINT64_C(8)  /* no host address: `at` is offset - gpa, `more` the block */
#define ENTRY_NODE   UINT64_C(16) /* `at` is the node of the next level */
#define ENTRY_BITS   UINT64_C(0xfff)

struct table_entry {
	uint64_t at; /* direct: host address - gpa, a multiple of 4096, and the bits; 0: a hole */
	/* direct: the bit address of the page's dirty bit, less gpa >> 12: bit number 0 is the lowest
	 * bit of the 64-bit word at address 0, and so on (dirty.h) */
	uint64_t more;
};

/* Where a direct entry has gpa in this process. */
static inline void *entry_host(const struct table_entry *e, uint64_t gpa)
{
	return (void *)(uintptr_t)((e->at & ~ENTRY_BITS) + gpa);
}

struct table_node; /* begins with its entries; 64-byte aligned */

struct table {
	_Atomic(uint64_t) root; /* node | shift */
	const struct world *world;
	uint64_t bytes; /* of nodes that are in the table; [the memory's lock] */
};

struct table_edit {
	struct table *table;
	uint64_t root;		  /* 0: all is a hole */
	struct table_node *fresh; /* made by this edit: by next */
	struct table_node *stale; /* in the published table, not in this one: by next */
	int64_t bytes;		  /* more than before */
};

void table_init(struct table *t, const struct world *w);
void table_fini(struct table *t); /* nobody reads it */

void table_edit_init(struct table_edit *e, struct table *t);
/*
 * [first, last] becomes *entry: bits and rights as they are, at and more the same for every page.
 * entry NULL: a hole. 0 or -ENOMEM, after which only abort may be called.
 * => first and last + 1 are multiples of 4096. One edit at a time.
 */
int table_edit_set(struct table_edit *e, uint64_t first, uint64_t last,
		   const struct table_entry *entry);
/* The first half: readers see it. It has no host call, so it may lie inside a tree's change; then
 * publish. */
void table_edit_show(struct table_edit *e);
void table_edit_publish(struct table_edit *e);
void table_edit_abort(struct table_edit *e);

/*
 * The entry of gpa; NULL or one with at == 0: a hole. root: loaded once, acquire, in an epoch
 * section.
 */
static inline const struct table_entry *table_find(uint64_t root, uint64_t gpa)
{
	unsigned shift = root & 63;
	const struct table_entry *e = (const struct table_entry *)(uintptr_t)(root & ~UINT64_C(63));

	if (__builtin_expect(gpa >> shift >= TABLE_ENTRIES, 0))
		return NULL;
	e += gpa >> shift;
	while (e->at & ENTRY_NODE) {
		shift -= TABLE_BITS;
		e = (const struct table_entry *)(uintptr_t)(e->at & ~UINT64_C(63));
		e += gpa >> shift & (TABLE_ENTRIES - 1);
	}
	return e;
}

/*
 * The entry of gpa, if it is direct memory that grants all of `rights`, which are not 0; or NULL.
 * One test decides at each level. Only the low 6 bits of a shift count, as for the processor.
 */
static inline const struct table_entry *table_find_direct(uint64_t root, uint64_t gpa,
							  uint64_t rights)
{
	const struct table_entry *e = (const struct table_entry *)(uintptr_t)(root & ~UINT64_C(63));
	unsigned shift = (unsigned)root;
	uint64_t i = gpa >> (shift & 63);

	if (__builtin_expect(i >= TABLE_ENTRIES, 0))
		return NULL;
	e += i;
	while (__builtin_expect((e->at & (rights | ENTRY_SLOW | ENTRY_NODE)) != rights, 0)) {
		if (!(e->at & ENTRY_NODE))
			return NULL;
		shift -= TABLE_BITS;
		e = (const struct table_entry *)(uintptr_t)(e->at & ~UINT64_C(63));
		e += gpa >> (shift & 63) & (TABLE_ENTRIES - 1);
	}
	return e;
}

/* As table_find; *last: the last address that certainly has the same entry (its span). */
const struct table_entry *table_find_span(uint64_t root, uint64_t gpa, uint64_t *last);

/* NULL, or the broken invariant as a sentence. */
const char *table_validate(const struct table *t);

#endif
