/* SPDX-License-Identifier: MIT */
/*
 * record.h: what the two halves of the recording backend share: record.c (a Linux guest's window)
 * and record_entries.c (a table of entries, for spaces over objects). Nobody else includes it.
 *
 * Locks: [s] the lock of the Linux guest's space, or `lock` where a space over objects is attached;
 * [L] `lock`; [I] immutable.
 */
#ifndef MMU_RECORD_H
#define MMU_RECORD_H

#include "base/lock.h"
#include "mmu/backend.h"
#include "mmu/soft.h"

struct record {
	struct vms_mmu mmu;
	uint64_t made;	   /* [s] */
	uint64_t fail_at;  /* [s] */
	uint64_t fail_map; /* [L] the n-th map of entries from now fails; 0: none */
	int fail_err;	   /* [s] */
	struct record_call ring[RECORD_KEPT]; /* [s] */

	/* Entries. */
	struct lock lock;
	struct soft *soft;     /* what is installed; changes while nobody is attached */
	uint64_t granule;      /* bytes; with soft */
	uint64_t first, last;  /* of the space that is attached */
	enum record_loss loss; /* [L] */
	uint64_t block;	       /* [L] bytes */
};

extern const struct entries_ops record_entries, record_entries_eager; /* record_entries.c */

static inline struct record *record_of(const struct vms_mmu *mmu)
{
	return (struct record *)mmu; /* its first member */
}

#endif
