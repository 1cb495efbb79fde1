// SPDX-License-Identifier: MIT
/*
 * soft_tlb.c: threads that use the soft MMU, and how an entry is taken from them.
 *
 * The taker holds the locks of the stripes of the pages and has changed the page table. It then
 *
 *	1 empties the tags of the pages in every TLB (only tags that hold one of the pages)
 *	2 has every running thread of the process execute a full barrier (membarrier)
 *	3 waits for each thread that is marked as inside on one of the pages, or out of line, until
 *	  that mark has changed
 *
 * A thread whose mark (tlb.h) the taker does not see after 2 marks itself after its barrier, so
 * that it looks at tags after 1: it finds them empty, goes out of line, and finds the new table. A
 * thread whose mark it sees is waited for. What remains is a TLB filled from the old table at the
 * same time. Who fills writes the tags first and reads the page table again after; if the entry is
 * not the same any more, it empties the tags itself. Of the two, the taker writes the table and
 * then reads tags, the filler writes tags and then reads the table: one of them sees the other. (Of
 * the three tags the filler writes the last with a fence, and the taker reads that one first: if it
 * sees it, it sees all.)
 *
 * Where the host has no membarrier nothing is ever put into a TLB. Every access then goes out of
 * line, where the mark and the look at the table are sequentially consistent, as are the taker's
 * write to the table and look at the mark: again one of them sees the other.
 *
 * Nothing between mark and unmark waits or takes a lock, so the taker may hold any lock. It does
 * not wait for itself, nor have anybody take part if only its own thread is registered. Several
 * takers at a time, of different stripes, do not disturb each other: tags are only emptied.
 *
 * Invariants:
 *	1 a tag is VMS_TLB_NONE, or the address of a page that belongs there
 *	2 while a page's stripe is not locked, a TLB whose thread is not inside holds nothing of the
 *	  page that the page table does not hold: where it has a tag, the entry has that right,
 *	  SEEN, and the host address page + addend
 *	3 a thread inside that is out of line may be anywhere in the tree: nodes that were unlinked
 *	  before are kept until it has left
 *	4 `inside` has a new value at every access out of line, so that waiting for it ends
 *	5 the list of cpus changes only with all stripes locked: who has one of them may walk it
 */
#include "mmu/soft_int.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/trace.h"

/* <linux/membarrier.h> is not everywhere. */
#define BARRIER_EXPEDITED (1 << 3)
#define BARRIER_REGISTER  (1 << 4)

#define SPINS	   200u /* before a waiter gives its processor away */
#define LAST_TAG   2u	/* that is written of an entry */
#define TURN_SHIFT 10u	/* `inside` out of line: turns << TURN_SHIFT | VMS_TLB_SLOW */

_Static_assert(sizeof(struct vms_tlb_entry) == 1u << VMS_TLB_ENTRY_SHIFT,
	       "vms_tlb_hit counts in them");
_Static_assert(offsetof(struct vms_cpu, entry) == 128 && sizeof(struct vms_cpu) % 64 == 0,
	       "what other threads write is in lines of its own");

static uint64_t tag_of(const struct vms_tlb_entry *e, unsigned k)
{
	return __atomic_load_n(&e->tag[k], __ATOMIC_SEQ_CST);
}

static void empty_tag(struct vms_tlb_entry *e, unsigned k)
{
	__atomic_store_n(&e->tag[k], VMS_TLB_NONE, __ATOMIC_RELAXED);
}

/* ---- The validator ---- */

static int check_entry(struct soft *soft, const struct vms_tlb_entry *e, unsigned i)
{
	for (unsigned k = 0; k < 3; k++) {
		uint64_t page = tag_of(e, k), entry;
		_Atomic(uint64_t) *slot;

		if (page == VMS_TLB_NONE)
			continue;
		if (!soft->caches || page & ((UINT64_C(1) << soft->shift) - 1) ||
		    (page >> soft->shift & (VMS_TLB_ENTRIES - 1)) != i)
			return fail(-EINVAL, "soft: tag %#" PRIx64 " in TLB entry %u", page, i);
		slot = soft_slot(soft, page >> soft->shift);
		entry = slot ? atomic_load_explicit(slot, memory_order_relaxed) : 0;
		if (!(entry & UINT64_C(1) << k) || !(entry & SEEN) ||
		    (entry & HOST_MASK) != page + e->addend)
			return fail(-EINVAL,
				    "soft: a TLB shows %#" PRIx64 " at %#" PRIx64
				    " for access %u, the table has %#" PRIx64,
				    page, page + e->addend, k, entry);
	}
	return 0;
}

int check_cpus(struct soft *soft)
{
	for (const struct vms_cpu *cpu = soft->cpus; cpu; cpu = cpu->next) {
		if (__atomic_load_n(&cpu->inside, __ATOMIC_SEQ_CST) != VMS_TLB_NONE ||
		    cpu->soft != soft || *cpu->link != cpu)
			return fail(-EINVAL, "soft: a cpu is inside, or badly linked");
		for (unsigned i = 0; i < VMS_TLB_ENTRIES; i++) {
			int err = check_entry(soft, &cpu->entry[i], i);

			if (err)
				return err;
		}
	}
	return 0;
}

/* ---- Threads ---- */

/* An address that no other living thread has. */
static uintptr_t me(void)
{
	static _Thread_local char self;

	return (uintptr_t)&self;
}

void soft_cpu_init(struct soft *soft, struct vms_cpu *cpu)
{
	memset(cpu, 0, sizeof(*cpu));
	cpu->shift = soft->shift;
	cpu->index_shift = soft->shift - VMS_TLB_ENTRY_SHIFT;
	for (unsigned i = 0; i < 5; i++)
		cpu->mask[i] = ~((UINT64_C(1) << soft->shift) - (UINT64_C(1) << i));
	cpu->inside = VMS_TLB_NONE;
	cpu->soft = soft;
	cpu->owner = me();
	for (unsigned i = 0; i < VMS_TLB_ENTRIES; i++)
		for (unsigned k = 0; k < 3; k++)
			empty_tag(&cpu->entry[i], k);
	stripes_take(soft, ALL_STRIPES);
	cpu->next = soft->cpus;
	if (cpu->next)
		cpu->next->link = &cpu->next;
	cpu->link = &soft->cpus;
	soft->cpus = cpu;
	stripes_drop(soft, ALL_STRIPES);
}

void soft_cpu_fini(struct vms_cpu *cpu)
{
	struct soft *soft = cpu->soft;

	stripes_take(soft, ALL_STRIPES);
	*cpu->link = cpu->next;
	if (cpu->next)
		cpu->next->link = cpu->link;
	stripes_drop(soft, ALL_STRIPES);
	cpu->soft = NULL;
}

/* ---- Taking ---- */

bool soft_barrier_ready(const struct world *w)
{
	return w->membarrier(w, BARRIER_REGISTER) == 0 && w->membarrier(w, BARRIER_EXPEDITED) == 0;
}

/* Once registered the host may refuse it for want of memory alone, which ends. */
static void barrier(const struct world *w)
{
	while (w->membarrier(w, BARRIER_EXPEDITED) != 0)
		sched_yield();
}

static void empty_tags(struct vms_tlb_entry *e, const struct shot *s)
{
	for (unsigned k = LAST_TAG + 1; k--;) {
		uint64_t page = tag_of(e, k);

		if (page != VMS_TLB_NONE && page >= s->lo && page <= s->hi)
			empty_tag(e, k);
	}
}

static void empty_tlb(struct vms_cpu *cpu, const struct shot *s)
{
	uint64_t first = s->lo >> cpu->shift, more = (s->hi >> cpu->shift) - first;

	if (more >= VMS_TLB_ENTRIES)
		more = VMS_TLB_ENTRIES - 1;
	for (uint64_t i = 0; i <= more; i++)
		empty_tags(&cpu->entry[(first + i) & (VMS_TLB_ENTRIES - 1)], s);
}

/* Step 3 for one thread. */
static void wait_outside(struct vms_cpu *cpu, const struct shot *s)
{
	uint64_t mark = __atomic_load_n(&cpu->inside, __ATOMIC_SEQ_CST);
	uint64_t page = mark & cpu->mask[0];

	if (mark == VMS_TLB_NONE)
		return;
	if (!(mark & VMS_TLB_SLOW) && !(s->any && page >= s->lo && page <= s->hi))
		return;
	for (unsigned spins = 0; __atomic_load_n(&cpu->inside, __ATOMIC_ACQUIRE) == mark;)
		if (++spins > SPINS)
			sched_yield();
}

static void leave(struct soft *soft, const struct shot *s)
{
	unsigned others = 0;

	for (struct vms_cpu *cpu = soft->cpus; cpu; cpu = cpu->next) {
		if (s->any && soft->caches)
			empty_tlb(cpu, s);
		others += cpu->owner != me();
	}
	if (s->any)
		TRACE(shoot, s->lo, s->hi + ((UINT64_C(1) << soft->shift) - 1), others);
	/* In a forked child there are no others: what they were doing stays as it was. */
	if (!others || soft->pid != getpid())
		return;
	atomic_fetch_add_explicit(&soft->barriers, 1, memory_order_relaxed);
	if (soft->caches)
		barrier(soft->world);
	for (struct vms_cpu *cpu = soft->cpus; cpu; cpu = cpu->next)
		if (cpu->owner != me())
			wait_outside(cpu, s);
}

void soft_shoot(struct soft *soft, const struct shot *s)
{
	atomic_fetch_add_explicit(&soft->shot, 1, memory_order_relaxed);
	leave(soft, s);
}

void soft_leave_nodes(struct soft *soft)
{
	leave(soft, &(struct shot){ 0 });
}

/* ---- Accesses out of line ---- */

static void fill(struct vms_cpu *cpu, uint64_t page, _Atomic(uint64_t) *slot, uint64_t entry)
{
	struct vms_tlb_entry *e = &cpu->entry[page >> cpu->shift & (VMS_TLB_ENTRIES - 1)];

	e->addend = (entry & HOST_MASK) - page;
	for (unsigned k = 0; k < 3; k++) {
		uint64_t tag = entry & UINT64_C(1) << k ? page : VMS_TLB_NONE;

		if (k != LAST_TAG)
			__atomic_store_n(&e->tag[k], tag, __ATOMIC_RELAXED);
		else
			__atomic_store_n(&e->tag[k], tag, __ATOMIC_SEQ_CST);
	}
	if (atomic_load(slot) == entry)
		return;
	for (unsigned k = 0; k < 3; k++)
		empty_tag(e, k);
}

/* Marked out of line: where gva is, or NULL. */
static char *look_up(struct vms_cpu *cpu, uint64_t gva, enum vms_tlb_access access)
{
	_Atomic(uint64_t) *slot = soft_slot(cpu->soft, gva >> cpu->shift);
	uint64_t entry = slot ? atomic_load(slot) : 0;

	do {
		if (!(entry & UINT64_C(1) << access)) {
			cpu->miss = gva;
			cpu->unaligned = false;
			return NULL;
		}
		if (entry & SEEN)
			break;
	} while (!atomic_compare_exchange_weak(slot, &entry, entry | SEEN));
	entry |= SEEN;
	if (cpu->soft->caches)
		fill(cpu, gva & cpu->mask[0], slot, entry);
	return (char *)(uintptr_t)(entry & HOST_MASK) + (gva & ~cpu->mask[0]);
}

static void mark_slow(struct vms_cpu *cpu)
{
	uint64_t mark = ++cpu->turns << TURN_SHIFT | VMS_TLB_SLOW;

	if (cpu->soft->caches) {
		/* As in line: the taker has us take part in a barrier. */
		__atomic_store_n(&cpu->inside, mark, __ATOMIC_RELAXED);
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
	} else {
		/* Before the looks at the table: this is all there is. */
		__atomic_exchange_n(&cpu->inside, mark, __ATOMIC_SEQ_CST);
	}
}

void *vms_tlb_begin_slow(struct vms_cpu *cpu, uint64_t gva, unsigned size,
			 enum vms_tlb_access access)
{
	char *host;

	if (gva & (size - 1)) {
		vms_tlb_end(cpu);
		cpu->miss = gva;
		cpu->unaligned = true;
		return NULL;
	}
	mark_slow(cpu);
	host = look_up(cpu, gva, access);
	if (!host)
		vms_tlb_end(cpu);
	return host;
}

static void copy_bytes(char *host, char *value, uint64_t n, enum vms_tlb_access access)
{
	for (uint64_t i = 0; i < n; i++) {
		if (access == VMS_TLB_WRITE)
			__atomic_store_n(host + i, value[i], __ATOMIC_RELAXED);
		else
			value[i] = __atomic_load_n(host + i, __ATOMIC_RELAXED);
	}
}

static void copy_aligned(void *host, void *value, unsigned size, enum vms_tlb_access access)
{
	bool store = access == VMS_TLB_WRITE;

	switch (size) {
	case 1:
		copy_bytes(host, value, 1, access);
		break;
	case 2:
		if (store)
			__atomic_store_n((uint16_t *)host, *(uint16_t *)value, __ATOMIC_RELAXED);
		else
			*(uint16_t *)value = __atomic_load_n((uint16_t *)host, __ATOMIC_RELAXED);
		break;
	case 4:
		if (store)
			__atomic_store_n((uint32_t *)host, *(uint32_t *)value, __ATOMIC_RELAXED);
		else
			*(uint32_t *)value = __atomic_load_n((uint32_t *)host, __ATOMIC_RELAXED);
		break;
	default:
		if (store)
			__atomic_store_n((uint64_t *)host, *(uint64_t *)value, __ATOMIC_RELAXED);
		else
			*(uint64_t *)value = __atomic_load_n((uint64_t *)host, __ATOMIC_RELAXED);
	}
}

/* Load or store `size` bytes (1, 2, 4 or 8): all of them or, where a page is missing, none. */
static bool copy_slow(struct vms_cpu *cpu, uint64_t gva, void *value, unsigned size,
		      enum vms_tlb_access access)
{
	uint64_t here = ~cpu->mask[0] + 1 - (gva & ~cpu->mask[0]); /* bytes on gva's page */
	char *host, *rest = NULL;

	mark_slow(cpu);
	host = look_up(cpu, gva, access);
	/* Past the last page comes page 0. */
	if (host && here < size)
		rest = look_up(cpu, gva + here, access);
	if (!host || (here < size && !rest)) {
		vms_tlb_end(cpu);
		return false;
	}
	if (!(gva & (size - 1))) {
		copy_aligned(host, value, size, access);
	} else {
		copy_bytes(host, value, here < size ? here : size, access);
		if (rest)
			copy_bytes(rest, (char *)value + here, size - here, access);
	}
	vms_tlb_end(cpu);
	return true;
}

union sized {
	uint8_t v8;
	uint16_t v16;
	uint32_t v32;
	uint64_t v64;
};

bool vms_tlb_load_slow(struct vms_cpu *cpu, uint64_t addr, unsigned size, uint64_t *value)
{
	union sized v;

	if (!copy_slow(cpu, addr, &v, size, VMS_TLB_READ))
		return false;
	switch (size) {
	case 1:
		*value = v.v8;
		break;
	case 2:
		*value = v.v16;
		break;
	case 4:
		*value = v.v32;
		break;
	default:
		*value = v.v64;
	}
	return true;
}

bool vms_tlb_store_slow(struct vms_cpu *cpu, uint64_t addr, unsigned size, uint64_t value)
{
	union sized v;

	switch (size) {
	case 1:
		v.v8 = (uint8_t)value;
		break;
	case 2:
		v.v16 = (uint16_t)value;
		break;
	case 4:
		v.v32 = (uint32_t)value;
		break;
	default:
		v.v64 = value;
	}
	return copy_slow(cpu, addr, &v, size, VMS_TLB_WRITE);
}
