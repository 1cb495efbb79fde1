/* SPDX-License-Identifier: MIT */
/*
 * soft.h: the soft MMU: a page table of our own, and the TLBs (tlb.h) of the threads that use it.
 *
 * It is lazy: the space fills it by faults. It may hold less than the truth, never more, and may be
 * emptied at any time. A change that takes something away (unmap, remove_write, protect, a map that
 * replaces) returns when no registered thread can still use what was there: no access that was
 * allowed by the old entry is under way, and none will be.
 *
 * Guest pages are 1 KiB to 64 KiB; n counts them. Guest addresses have 64 bits, the last page
 * included. gva is page aligned where a range starts. Rights are VMS_PROT_*. A host address is
 * where a guest page's bytes are in this process: a multiple of 1024, and of the caller's choice.
 *
 * Threads: every function may be called by any thread, also by one with a registered cpu, but not
 * between vms_tlb_begin and vms_tlb_end. They take locks of the soft MMU and no others, and call
 * nobody. Two wait for each other where they are about the same 512 pages, or by chance. In a
 * forked child, where the parent's other threads are not, nobody waits for their cpus, and
 * soft_destroy takes no notice of any; it is for the forker that no thread held a lock.
 */
#ifndef MMU_SOFT_H
#define MMU_SOFT_H

#include <stdint.h>

#include "vmspace/tlb.h"

struct soft;
struct world;

#define SOFT_PAGE_MIN UINT64_C(1024)
#define SOFT_PAGE_MAX UINT64_C(65536)

/* 0, -EINVAL (page size), -ENOMEM. */
int soft_create(const struct world *w, uint64_t page_size, struct soft **out);
/* NULL is fine. -EBUSY: a cpu is registered, nothing happened. */
int soft_destroy(struct soft *soft);

/* What to do about entries that are there already. */
enum soft_existing {
	SOFT_SKIP,    /* leave them */
	SOFT_ERROR,   /* -EEXIST, and nothing happened */
	SOFT_UPGRADE, /* same host address: rights are added; another: replaced by the new entry */
};

/*
 * Page i of the range is host[i] (soft_map), or host + i pages (soft_map_run).
 * 0, -EEXIST, -ENOMEM, or -EINVAL (empty or unaligned range, a range past the end of addresses, bad
 * host address, no or unknown rights): on error nothing happened.
 */
int soft_map(struct soft *soft, uint64_t gva, const uint64_t *host, uint64_t n, uint32_t rights,
	     enum soft_existing existing);
int soft_map_run(struct soft *soft, uint64_t gva, uint64_t host, uint64_t n, uint32_t rights,
		 enum soft_existing existing);

/* These cannot fail but for -EINVAL. Pages that have no entry are fine. */
int soft_unmap(struct soft *soft, uint64_t gva, uint64_t n);
/* Only the entries that show this host page, such as the zero page. */
int soft_unmap_shown(struct soft *soft, uint64_t gva, uint64_t n, uint64_t host);
int soft_remove_write(struct soft *soft, uint64_t gva, uint64_t n);
/* Entries get these rights, but for WRITE where they did not have it; one left with none goes. */
int soft_protect(struct soft *soft, uint64_t gva, uint64_t n, uint32_t rights);
/* Everything goes. */
void soft_empty(struct soft *soft);

/* The entry of one page. 0 or -ENOENT; -EINVAL: gva is not aligned. */
int soft_query(struct soft *soft, uint64_t gva, uint64_t *host, uint32_t *rights);
/* How many pages from gva on stand in one table node: fault-around goes no further. */
uint64_t soft_max_run(const struct soft *soft, uint64_t gva);
/* Sets bit i of bits[] where page i was looked up since its mark was last taken; takes marks. */
int soft_harvest(struct soft *soft, uint64_t gva, uint64_t n, uint64_t *bits);

/*
 * Registers the calling thread, whose accesses then go through *cpu until soft_cpu_fini, which the
 * same thread calls, or another one after its end. Neither fails.
 */
void soft_cpu_init(struct soft *soft, struct vms_cpu *cpu);
void soft_cpu_fini(struct vms_cpu *cpu);

struct soft_stats {
	uint64_t entries, nodes;
	uint64_t shot;	   /* changes that emptied TLBs */
	uint64_t barriers; /* of them or of freed nodes: had other threads take part */
	bool caches;	   /* false: the host has no membarrier, and TLBs stay empty */
};

void soft_stats(struct soft *soft, struct soft_stats *out);

/* The validator: 0, or -EINVAL and a sentence. No registered thread is in an access meanwhile. */
int soft_check(struct soft *soft);

#endif
