/* SPDX-License-Identifier: MIT */
/*
 * host.h: what the parts of the host backend share: host.c (the window) and host_move.c (moving
 * memory inside it), of which the theory is at the top of host.c; and host_entries.c with its files
 * (host_entries.h), which shows objects in the same window.
 *
 * Addresses here are host addresses unless they are called guest.
 */
#ifndef MMU_HOST_H
#define MMU_HOST_H

#include <stddef.h>

#include "mmu/backend.h"
#include "mmu/host_entries.h"

struct host {
	struct vms_mmu mmu;
	const struct world *world;	    /* [I] */
	bool real_holes;		    /* [I] */
	bool broken;			    /* see invariant 5 */
	bool finer;			    /* memory was moved or inherited: see place_growth() */
	uint64_t lo, hi;		    /* [I] guest addresses, half-open */
	uint64_t delta;			    /* [I] host address less guest address, modulo 2^64 */
	uint64_t page;			    /* [I] the guest's; a multiple of host_page */
	uint64_t host_page;		    /* [I] */
	uint64_t reserved_at, reserved_len; /* [I] the reservation; 0 with real holes */
	int maps;			    /* this process's maps, once asked; else -1 */
	uint64_t one_start, one_end;	    /* see invariant 7 */
	struct host_entries entries;	    /* instead, for a space over objects */
};

/* One stretch of memory that went from one place to another. */
struct piece {
	uint64_t from, to, len; /* to 0: a hole that is covered */
};

#define JOURNAL_FEW 16

/* The pieces moved so far, in order, so that they can go back. */
struct journal {
	struct host *host;
	struct piece *v; /* few, or allocated */
	size_t n, room;
	struct piece few[JOURNAL_FEW];
	uint64_t stash_at, stash_len; /* memory outside the window, 0 for none */
	struct ballast ballast;
};

/*
 * Before a change of the window's [at, at + len) in several steps. An error: the host has no
 * regions left to undo with, and there is nothing to drop.
 */
int journal_begin(struct journal *j, struct host *h, uint64_t at, uint64_t len);
/*
 * Put what stands in the window's [at, at + len) aside. On failure all is back.
 * After it, either journal_drop (the old bytes are not needed any more) or journal_undo.
 */
int journal_stash(struct journal *j, uint64_t at, uint64_t len);
/*
 * Move back all pieces, the last first. Without a stash [at, at + len) was a hole and is one again;
 * with one, it is the range that was stashed.
 */
void journal_undo(struct journal *j, uint64_t at, uint64_t len);
void journal_drop(struct journal *j);

/* New inaccessible memory over nothing at `at`, or (at 0) where the host likes: its address. */
int64_t host_cover(struct host *h, uint64_t at, uint64_t len);
/* Make the range a hole: 0 or the host's error, and then nothing changed. */
int host_hole(struct host *h, uint64_t at, uint64_t len);
/* The same after the point of no return: ask twice, then say that the window is broken. */
void host_settle(struct host *h, uint64_t at, uint64_t len);

/* The host's region that holds `at`. False: there is none, or the host cannot tell. */
bool host_region(struct host *h, uint64_t at, uint64_t *start, uint64_t *end);

/*
 * n islands of other rights in one stretch outside [avoid, avoid + avoid_len): 2n + 1 regions of the
 * host, to be let go where something has to be undone or taken away, and the host refuses because
 * there are no more. 0 or the host's error. Dropping none is fine.
 */
int host_ballast_take(struct host *h, struct ballast *b, unsigned n, uint64_t avoid,
		      uint64_t avoid_len);
void host_ballast_drop(struct host *h, struct ballast *b);

bool host_inside(const struct host *h, uint64_t addr, uint64_t len); /* guest address */
/* First thing in every change: -EIO and a sentence if the window is broken, else 0. */
int host_begin(struct host *h);

int host_move(struct vms_mmu *mmu, uint64_t addr, uint64_t old_len, uint64_t new_addr,
	      uint64_t new_len, uint32_t flags);

#endif
