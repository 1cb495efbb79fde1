/* SPDX-License-Identifier: MIT */
/*
 * tlb.h: guest memory accesses of one CPU thread through the soft MMU, at a few instructions each.
 *
 * A CPU thread embeds a struct soft_cpu and registers it (soft.h). Its TLB is direct mapped: an
 * entry knows for one guest page where it is in this process (host = guest + addend), and has a tag
 * for each kind of access: the page's address where it is allowed, TLB_EMPTY where it is not, or
 * not yet. Whoever changes the page table empties tags of other threads' TLBs; nobody but the owner
 * writes anything else.
 *
 * An access is	mark	inside = page | TLB_IN
 *		look	does the tag for this kind hold the page?
 *		touch	the host's memory, by one instruction if it is aligned
 *		unmark	inside = 0
 *
 * Mark before look is what lets unmap wait for us; there is no fence here, the one who waits has
 * every processor take part in one. An access that finds no tag, is not aligned, or crosses a page
 * goes out of line. False, or NULL, means that the page table does not grant the access: cpu->miss
 * says where; the caller faults and tries again. An access that fails has touched nothing.
 *
 * Values are in the host's byte order. Plain loads and stores order nothing.
 *
 * A cpu is for one thread, and not for its signal handlers. A thread that leaves the middle of an
 * access by a jump (after SIGBUS, say) calls tlb_end().
 */
#ifndef MMU_TLB_H
#define MMU_TLB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define TLB_ENTRIES  256u
#define TLB_SIZE_MAX 16u /* bytes of one access */

/* Below every page's size, above every offset in an access: no address of a page has them. */
#define TLB_EMPTY UINT64_C(0x200) /* a tag's value */
#define TLB_IN	  UINT64_C(0x200) /* in `inside`: on this page */
#define TLB_SLOW  UINT64_C(0x100) /* in `inside`: out of line, on any page */

/* 1 << access is the right that it takes: VMS_PROT_READ, _WRITE, _EXEC. */
enum tlb_access {
	TLB_READ,
	TLB_WRITE,
	TLB_EXEC,
};

struct tlb_entry {
	_Atomic(uint64_t) tag[3];
	uint64_t addend; /* [owner] */
};

#define TLB_ENTRY_SHIFT 5 /* sizeof(struct tlb_entry) */
#define TLB_INDEX_MASK	((uint64_t)(TLB_ENTRIES - 1) << TLB_ENTRY_SHIFT)

struct soft;

struct soft_cpu {
	_Atomic(uint64_t) inside; /* written by the owner; 0: not inside */
	uint64_t page_mask;	  /* of a guest address: its page. Immutable, as is shift */
	unsigned index_shift;	  /* shift - TLB_ENTRY_SHIFT: the page number, in entries */
	unsigned shift;
	bool unaligned; /* the last failure of tlb_begin: not for want of a right */
	uint64_t miss;	/* guest address of the first byte that the last failure was about */
	struct tlb_entry entry[TLB_ENTRIES] __attribute__((aligned(64)));
	/* For soft_tlb.c. */
	struct soft *soft;
	struct soft_cpu *next, **link; /* under the lock of soft */
	uintptr_t owner;	       /* the thread */
	uint64_t turns;		       /* of accesses out of line */
};

void *tlb_begin_slow(struct soft_cpu *cpu, uint64_t gva, unsigned size, enum tlb_access access);
bool tlb_copy_slow(struct soft_cpu *cpu, uint64_t gva, void *value, unsigned size,
		   enum tlb_access access);

static inline void tlb_end(struct soft_cpu *cpu)
{
	atomic_store_explicit(&cpu->inside, 0, memory_order_release);
}

/* The fast half of tlb_begin: NULL says nothing, and the mark stays. */
static inline void *tlb_try(struct soft_cpu *cpu, uint64_t gva, unsigned size,
			    enum tlb_access access)
{
	uint64_t page = gva & (cpu->page_mask | (size - 1)); /* of an unaligned address: no page */
	struct tlb_entry *e =
		(void *)((char *)cpu->entry + (gva >> cpu->index_shift & TLB_INDEX_MASK));

	atomic_store_explicit(&cpu->inside, page | TLB_IN, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst);
	if (__builtin_expect(atomic_load_explicit(&e->tag[access], memory_order_relaxed) == page,
			     1))
		return (void *)(uintptr_t)(gva + e->addend);
	return NULL;
}

/*
 * Where the `size` bytes at gva are: to be used for this kind of access until tlb_end, which comes
 * soon and after neither a wait nor a lock nor another access. For read-modify-writes, fetches and
 * the like. size: 1, 2, 4, 8 or 16; gva a multiple of it.
 *
 * NULL: not granted, or not aligned (cpu->unaligned); then no tlb_end.
 */
static inline void *tlb_begin(struct soft_cpu *cpu, uint64_t gva, unsigned size,
			      enum tlb_access access)
{
	void *host = tlb_try(cpu, gva, size, access);

	if (__builtin_expect(host != NULL, 1))
		return host;
	return tlb_begin_slow(cpu, gva, size, access);
}

/* tlb_load8 .. tlb_load64, tlb_store8 .. tlb_store64. */
#define TLB_ACCESSES(bits)                                                       \
	static inline bool tlb_load##bits(struct soft_cpu *cpu, uint64_t gva,    \
					  uint##bits##_t *value)                 \
	{                                                                        \
		uint##bits##_t *host = tlb_try(cpu, gva, (bits) / 8, TLB_READ);  \
                                                                                 \
		if (__builtin_expect(host != NULL, 1)) {                         \
			*value = __atomic_load_n(host, __ATOMIC_RELAXED);        \
			tlb_end(cpu);                                            \
			return true;                                             \
		}                                                                \
		return tlb_copy_slow(cpu, gva, value, (bits) / 8, TLB_READ);     \
	}                                                                        \
                                                                                 \
	static inline bool tlb_store##bits(struct soft_cpu *cpu, uint64_t gva,   \
					   uint##bits##_t value)                 \
	{                                                                        \
		uint##bits##_t *host = tlb_try(cpu, gva, (bits) / 8, TLB_WRITE); \
                                                                                 \
		if (__builtin_expect(host != NULL, 1)) {                         \
			__atomic_store_n(host, value, __ATOMIC_RELAXED);         \
			tlb_end(cpu);                                            \
			return true;                                             \
		}                                                                \
		return tlb_copy_slow(cpu, gva, &value, (bits) / 8, TLB_WRITE);   \
	}

TLB_ACCESSES(8)
TLB_ACCESSES(16)
TLB_ACCESSES(32)
TLB_ACCESSES(64)
#undef TLB_ACCESSES

#endif
