/* SPDX-License-Identifier: MIT */
/*
 * tlb.h: guest memory accesses of one CPU thread through the soft MMU (vms_mmu_soft), at a few
 * instructions each, inline.
 *
 *	struct vms_cpu cpu;				// large: not on a small stack
 *
 *	vms_cpu_init(mmu, &cpu);
 *	while (!vms_tlb_load32(&cpu, addr, &value))
 *		if (vms_fault(space, cpu.miss, VMS_PROT_READ, 0, &wait, NULL) != VMS_FAULT_OK)
 *			...				// signal to the guest, wait, ...
 *	vms_cpu_fini(&cpu);
 *
 * A thread registers a cpu, which holds a TLB. An access finds its page there, or goes out of line
 * to the backend's page table. False, or NULL, means that the table does not grant it: then it has
 * touched nothing, and cpu->miss is the first address that is missing; fault and try again. An edit
 * that takes a page or a right away, in any thread, returns when no access that it forbids is under
 * way or can begin.
 *
 * Sizes are bytes; values are in the host's byte order. Plain loads and stores order nothing; an
 * aligned one is one instruction, others are made of bytes.
 *
 * A cpu is for the thread that registered it, and not for its signal handlers. A thread that leaves
 * the middle of an access by a jump (after SIGBUS, say) calls vms_tlb_end(). In a forked child no
 * cpu of the parent may be used.
 *
 * How it works. The TLB is direct mapped. An entry knows for one guest page where it is in this
 * process (host = guest + addend), and has a tag for each kind of access: the page's address where
 * it is allowed, VMS_TLB_NONE where it is not, or not yet. Whoever changes the page table empties
 * tags of other threads' TLBs; nobody but the owner writes anything else.
 *
 * An access is	mark	inside = page
 *		look	does the tag for this kind hold the page?
 *		touch	the host's memory, by one instruction if it is aligned
 *		unmark	inside = VMS_TLB_NONE
 *
 * Mark before look is what lets an edit wait for us; there is no fence here, the one who waits has
 * every processor take part in one.
 */
#ifndef VMSPACE_TLB_H
#define VMSPACE_TLB_H

#include <stdbool.h>

#include <vmspace/mmu.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VMS_TLB_ENTRIES 256u

/* Below every page's size, above every offset in an access: no address of a page has them. */
#define VMS_TLB_NONE UINT64_C(0x200) /* no page: a tag, or `inside` */
#define VMS_TLB_SLOW UINT64_C(0x100) /* in `inside`: out of line, on any page */

/* 1 << access is the right that it takes: VMS_PROT_READ, _WRITE, _EXEC. */
enum vms_tlb_access {
	VMS_TLB_READ,
	VMS_TLB_WRITE,
	VMS_TLB_EXEC,
};

/* Private. */
struct vms_tlb_entry {
	uint64_t tag[3];
	uint64_t addend;
};

#define VMS_TLB_ENTRY_SHIFT 5 /* sizeof(struct vms_tlb_entry) */
#define VMS_TLB_INDEX_MASK  ((uint64_t)(VMS_TLB_ENTRIES - 1) << VMS_TLB_ENTRY_SHIFT)

struct soft;

/* miss and unaligned are for the owner to read; all else is private to this header and the library.
 * 8 KiB and a little; every byte of it is the library's between init and fini. */
struct vms_cpu {
	uint64_t miss;	/* guest address of the first byte that the last failure was about */
	bool unaligned; /* the last failure of vms_tlb_begin: not for want of a right */

	unsigned shift;
	unsigned index_shift; /* shift - VMS_TLB_ENTRY_SHIFT: the page number, in entries */
	uint64_t inside;      /* the page of the access that is made; VMS_TLB_NONE: none */
	uint64_t mask[5];     /* by log2 of the size: of an aligned address its page, else no page */
	struct vms_mmu *mmu;
	struct soft *soft;
	struct vms_cpu *next, **link;
	uintptr_t owner; /* the thread */
	uint64_t turns;	 /* of accesses out of line */
	uint64_t spare;
	struct vms_tlb_entry entry[VMS_TLB_ENTRIES];
};

/*
 * vms_cpu_init - register the calling thread's cpu with a soft backend.
 *
 * *cpu is written whole; best 64-byte aligned, and alone in its cache lines. It must not move.
 * Ownership: holds a reference of the backend.
 * Blocking:  as an edit of the backend does.
 * Returns:   0, or -ENOTSUP (not a backend of vms_mmu_soft)
 * Since:     0.3
 */
VMS_API int vms_cpu_init(struct vms_mmu *mmu, struct vms_cpu *cpu);

/*
 * vms_cpu_fini - end it. By the same thread, or by another one after its end.
 *
 * Since: 0.3
 */
VMS_API void vms_cpu_fini(struct vms_cpu *cpu);

/* Out of line halves of what follows. Since: 0.3 */
VMS_API void *vms_tlb_begin_slow(struct vms_cpu *cpu, uint64_t addr, unsigned size,
				 enum vms_tlb_access access);
VMS_API bool vms_tlb_load_slow(struct vms_cpu *cpu, uint64_t addr, unsigned size, uint64_t *value);
VMS_API bool vms_tlb_store_slow(struct vms_cpu *cpu, uint64_t addr, unsigned size, uint64_t value);

/* vms_tlb_end - what vms_tlb_begin gave is not used any more. Since: 0.3 */
static inline void vms_tlb_end(struct vms_cpu *cpu)
{
	__atomic_store_n(&cpu->inside, VMS_TLB_NONE, __ATOMIC_RELEASE);
}

/* Private: mark and look. False says nothing, and the mark stays. */
static inline bool vms_tlb_hit(struct vms_cpu *cpu, uint64_t addr, unsigned size,
			       enum vms_tlb_access access, void **host)
{
	uint64_t page = addr & cpu->mask[__builtin_ctz(size)];
	struct vms_tlb_entry *e =
		(struct vms_tlb_entry *)(void *)((char *)cpu->entry +
						 (addr >> cpu->index_shift & VMS_TLB_INDEX_MASK));

	__atomic_store_n(&cpu->inside, page, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	*host = (void *)(uintptr_t)(addr + e->addend);
	return __builtin_expect(__atomic_load_n(&e->tag[access], __ATOMIC_RELAXED) == page, 1);
}

/*
 * vms_tlb_begin - where the `size` bytes at addr are in this process: to be used for this kind of
 * access until vms_tlb_end, which comes soon, and after neither a wait nor a lock nor another
 * access nor a call of the library. For read-modify-writes, fetches and the like.
 *
 * size:    1, 2, 4, 8 or 16.
 * Returns: NULL: not granted (cpu->miss), or addr is not a multiple of size (cpu->unaligned); then
 *          no vms_tlb_end.
 * Since:   0.3
 */
static inline void *vms_tlb_begin(struct vms_cpu *cpu, uint64_t addr, unsigned size,
				  enum vms_tlb_access access)
{
	void *host;

	if (vms_tlb_hit(cpu, addr, size, access, &host))
		return host;
	return vms_tlb_begin_slow(cpu, addr, size, access);
}

/*
 * vms_tlb_load8 .. vms_tlb_load64, vms_tlb_store8 .. vms_tlb_store64 - one access at any address,
 * also across pages: all of it is done, or nothing.
 *
 * Returns: false: not granted (cpu->miss).
 * Cost:    about 2 ns where the TLB has the page; 15 to 25 ns where the table has it.
 * Since:   0.3
 */
#define VMS_TLB_ACCESSES(bits)								\
	static inline bool vms_tlb_load##bits(struct vms_cpu *cpu, uint64_t addr,	\
					      uint##bits##_t *value)			\
	{										\
		uint64_t slow; /* so that *value need not be in memory */		\
		void *host;								\
											\
		if (vms_tlb_hit(cpu, addr, (bits) / 8, VMS_TLB_READ, &host)) {		\
			*value = __atomic_load_n((uint##bits##_t *)host, __ATOMIC_RELAXED);\
			vms_tlb_end(cpu);						\
			return true;							\
		}									\
		if (!vms_tlb_load_slow(cpu, addr, (bits) / 8, &slow))			\
			return false;							\
		*value = (uint##bits##_t)slow;						\
		return true;								\
	}										\
											\
	static inline bool vms_tlb_store##bits(struct vms_cpu *cpu, uint64_t addr,	\
					       uint##bits##_t value)			\
	{										\
		void *host;								\
											\
		if (vms_tlb_hit(cpu, addr, (bits) / 8, VMS_TLB_WRITE, &host)) {		\
			__atomic_store_n((uint##bits##_t *)host, value, __ATOMIC_RELAXED);\
			vms_tlb_end(cpu);						\
			return true;							\
		}									\
		return vms_tlb_store_slow(cpu, addr, (bits) / 8, value);		\
	}

VMS_TLB_ACCESSES(8)
VMS_TLB_ACCESSES(16)
VMS_TLB_ACCESSES(32)
VMS_TLB_ACCESSES(64)
#undef VMS_TLB_ACCESSES

#ifdef __cplusplus
}
#endif
#endif
