/* SPDX-License-Identifier: MIT */
/*
 * entries.h: a backend as a space over objects sees it: a table of entries, each of which shows a
 * granule of guest addresses somebody's bytes, with rights.
 *
 * It may hold less than the truth, never more. A space puts entries in from faults (and, where it
 * is EAGER, after edits), and takes them out before what they show goes. Everything that takes away
 * cannot fail, may take away more than was said, and returns when no registered CPU thread can use
 * the old any more. So after an edit is committed nothing can fail.
 *
 * Callers hold an object family's lock, a space's, both, or none; a backend takes locks of rank
 * LOCK_MMU and below, and calls nobody. Several threads call at once.
 *
 * addr, len, first, last: guest addresses, whole granules; last is included. A granule is the
 * smaller of guest page and host page. Rights are VMS_PROT_*.
 */
#ifndef MMU_ENTRIES_H
#define MMU_ENTRIES_H

#include <stdbool.h>
#include <stdint.h>

#include "vmspace/mmu.h"

/* What to do where an entry is already. */
enum entries_existing {
	ENTRIES_SKIP,	 /* leave it; of the rest, -ENOMEM: no more than fits without making room */
	ENTRIES_ERROR,	 /* -EEXIST, and nothing happened */
	ENTRIES_UPGRADE, /* same bytes: rights are added; others: replaced */
};

/* Adjacent bytes shown at adjacent addresses. */
struct entries_run {
	uint64_t addr, len;
	const void *hva; /* of the first byte, in this process; NULL: only the descriptor has it */
	int fd;		 /* -1: only hva has it; else the same bytes are at `off` of fd */
	uint64_t off;
	uint32_t rights;
	/* The frames cannot change as long as this entry stands: others share them. Such an entry
	 * never writes to them; a backend may let the host copy on write (see private). */
	bool immutable;
	/* It is about to be accessed: a backend may do now what the first access would cost. */
	bool soon;
};

/* entries_ops.caps */
#define ENTRIES_EAGER 0x1u /* the space fills it after edits; zero pages become frames first */
#define ENTRIES_FILES 0x2u /* maps descriptors: a file object may be shown */

struct entries_ops {
	uint32_t caps;
	/* What a fault asks for at once where that costs no copy: bytes, a power of two; 0: no more
	 * than what is there. */
	uint64_t stretch;
	/* A space [first, last] with this page size begins to use it, alone: 0, -EINVAL, -EBUSY,
	 * -ENOMEM. Ends: it is empty. */
	int (*attach)(struct vms_mmu *mmu, uint64_t first, uint64_t last, uint64_t page_size);
	void (*detach)(struct vms_mmu *mmu);
	/* 0, -EEXIST, -ENOMEM, or what the host answered, with a sentence: of memory without a
	 * descriptor -ENOTSUP (see admit). On error nothing happened but that entries may have gone. */
	int (*map)(struct vms_mmu *mmu, const struct entries_run *run,
		   enum entries_existing existing);
	void (*unmap)(struct vms_mmu *mmu, uint64_t first, uint64_t last);
	void (*remove_write)(struct vms_mmu *mmu, uint64_t first, uint64_t last);
	/* Entries get these rights, but for WRITE where they did not have it; or they go. */
	void (*protect)(struct vms_mmu *mmu, uint64_t first, uint64_t last, uint32_t rights);
	/* Everything goes. */
	void (*empty)(struct vms_mmu *mmu);
	/* The entry of the granule at addr: its rights and, of hva, where known. -ENOENT: none. */
	int (*query)(struct vms_mmu *mmu, uint64_t addr, const void **hva, uint32_t *rights);
	/* Bytes from addr to the end of what one table node holds: fault-around stops there. */
	uint64_t (*max_run)(struct vms_mmu *mmu, uint64_t addr);
	/* Bit i: granule i from first on was used since this was last asked. NULL: cannot tell. */
	int (*harvest)(struct vms_mmu *mmu, uint64_t first, uint64_t last, uint64_t *bits);
	/* The validator: 0, or -EINVAL and a sentence. */
	int (*check)(struct vms_mmu *mmu);
	/* Could memory of this process that has no descriptor be shown? 0, or -ENOTSUP with a
	 * sentence. NULL: all. */
	int (*admit)(struct vms_mmu *mmu, const void *hva, uint64_t len);
	/* Fills in what it counts itself: entries, shot, barriers. NULL: nothing. */
	void (*stat)(const struct vms_mmu *mmu, struct vms_mmu_counts *counts);
};

/*
 * Counting wrappers (mmu.c): the only way a space calls what has one. attach fails with -ENOTSUP
 * where the backend has no entries, and with -EBUSY where a space is attached.
 */
int entries_attach(struct vms_mmu *mmu, uint64_t first, uint64_t last, uint64_t page_size);
void entries_detach(struct vms_mmu *mmu);
int entries_map(struct vms_mmu *mmu, const struct entries_run *run, enum entries_existing existing);
void entries_unmap(struct vms_mmu *mmu, uint64_t first, uint64_t last);
void entries_remove_write(struct vms_mmu *mmu, uint64_t first, uint64_t last);
void entries_protect(struct vms_mmu *mmu, uint64_t first, uint64_t last, uint32_t rights);
void entries_empty(struct vms_mmu *mmu); /* counts as an unmap */

/* P bytes of zeros, P-aligned: what a read of nothing is shown. Never with WRITE. */
const void *mmu_zero_page(void);

#endif
