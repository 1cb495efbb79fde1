/* SPDX-License-Identifier: MIT */
/*
 * kvm_slots.h: which slots KVM has, and which calls bring it from there to what a memory shows.
 *
 * Nothing here calls KVM: kvm.c does, and says so by kvm_slots_put and kvm_slots_take. So the table
 * is what KVM has at any moment, in the middle of a plan too, and a plan is undone by looking.
 *
 *	plan	slots to delete, slots to move, slots to create; to be done in this order
 *
 * KVM neither cuts nor grows a slot, nor changes what it shows: a slot that a change meets goes,
 * and what is left of it comes back. What no change meets stays, even where it continues another.
 *
 * Invariants of the table:
 *	1. no two slots meet, and none has the id of another
 *	2. a slot is whole pages, at most `max` bytes, and ends below 2^64
 *	3. `used` has the bits of the slots that stand; while there is a plan, those of the slots to
 *	   come in place of those of the slots to go
 */
#ifndef MEMORY_KVM_SLOTS_H
#define MEMORY_KVM_SLOTS_H

#include "base/itree.h"
#include "base/world.h"

struct vms_block;

/* Flags of a slot: KVM's own numbers. */
#define KVM_SLOT_ROM   2u /* KVM_MEM_READONLY */
#define KVM_SLOT_GUEST 4u /* KVM_MEM_GUEST_MEMFD: has no dirty log, cannot move */

/* What KVM shall show from some address on. */
struct kvm_back {
	struct vms_block *block; /* NULL: nothing */
	uint64_t off;
	uint64_t hva; /* of off */
	uint32_t flags;
};

/* Changes are sorted, do not meet, and change each of their pages. */
struct kvm_change {
	uint64_t gpa, len;
	struct kvm_back show;
};

enum kvm_slot_fate { KVM_SLOT_STAYS, KVM_SLOT_GOES, KVM_SLOT_GOES_FOR_SURE, KVM_SLOT_MOVES };

struct kvm_slot {
	struct itree_node by_gpa; /* guest addresses */
	struct itree_node by_hva; /* host addresses; not with KVM_SLOT_GUEST */
	struct kvm_back back;	  /* of its first byte */
	struct kvm_slot *next;	  /* in a plan's list */
	uint64_t other;		  /* MOVES: where it goes, then where it came from */
	uint64_t *bits;		  /* kvm_log.c's */
	uint32_t id;
	enum kvm_slot_fate fate;
	bool stands; /* KVM has it */
	bool went;   /* MOVES: it is where it goes */
	bool logged; /* with KVM_MEM_LOG_DIRTY_PAGES */
};

struct kvm_slots {
	const struct world *world;
	struct itree by_gpa, by_hva;
	struct kvm_slot **by_id; /* n_ids of them, of slots that stand or stood; NULL: not kept */
	uint64_t *used;		 /* bits of ids, from 0 */
	uint32_t n_ids;
	uint32_t low; /* all words of `used` below it are full */
	uint32_t n_used;
	uint64_t page, max;
};

static inline uint64_t kvm_slot_gpa(const struct kvm_slot *s)
{
	return s->by_gpa.first;
}

static inline uint64_t kvm_slot_len(const struct kvm_slot *s)
{
	return s->by_gpa.last - s->by_gpa.first + 1;
}

static inline struct kvm_slot *kvm_slot_of_gpa(struct itree_node *node)
{
	return (struct kvm_slot *)node;
}

static inline struct kvm_slot *kvm_slot_of_hva(struct itree_node *node)
{
	return (struct kvm_slot *)((char *)node - offsetof(struct kvm_slot, by_hva));
}

#define for_each_kvm_slot(s, t, first, last)                                 \
	for (s = kvm_slot_of_gpa(itree_first(&(t)->by_gpa, first, last)); s; \
	     s = kvm_slot_of_gpa(itree_next(&s->by_gpa, first, last)))

/* Ids 0 to n_ids - 1. max: a multiple of 2 MiB, or of the page where that is larger. 0 or -ENOMEM.
 */
int kvm_slots_init(struct kvm_slots *t, const struct world *w, uint32_t n_ids, uint64_t page,
		   uint64_t max, bool by_id);
/* Frees the slots too. bits must be gone. */
void kvm_slots_fini(struct kvm_slots *t);

/* KVM has the slot now; has it no longer. */
void kvm_slots_put(struct kvm_slots *t, struct kvm_slot *s);
void kvm_slots_take(struct kvm_slots *t, struct kvm_slot *s);
/* KVM has it at `other` now, and `other` is where it was. */
void kvm_slots_moved(struct kvm_slots *t, struct kvm_slot *s);

struct kvm_plan {
	struct kvm_slot *goes, *moves, *comes; /* by next; each list by rising address */
	uint32_t n_goes, n_moves, n_comes;
	bool overlaps; /* a move's new place meets its old one */
};

/*
 * The fewest calls: slots that changes meet go; pieces of them that no change meets come back,
 * joined with what changes show where that continues, and split at max. A slot that comes elsewhere
 * as it was is moved, where all that stood there goes. New ids are the lowest.
 *
 * Returns: 0, -ENOMEM, or -ENOSPC: not enough ids; then there is no plan.
 */
int kvm_plan_make(struct kvm_slots *t, const struct kvm_change *changes, size_t n,
		  struct kvm_plan *plan);
/* The plan is done, or undone, or given up: what KVM does not have is freed, with its bits. */
void kvm_plan_end(struct kvm_slots *t, struct kvm_plan *plan);

/* Bytes of a slot's bitmap: whole 64-bit words. */
static inline uint64_t kvm_slot_bits_bytes(const struct kvm_slots *t, const struct kvm_slot *s)
{
	return (kvm_slot_len(s) / t->page + 63) / 64 * 8;
}
void kvm_slot_free_bits(const struct kvm_slots *t, struct kvm_slot *s);

/* The validator: NULL, or the broken invariant. */
const char *kvm_slots_validate(const struct kvm_slots *t);

#endif
