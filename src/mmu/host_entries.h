/* SPDX-License-Identifier: MIT */
/*
 * host_entries.h: the host backend of a space over objects: what stands in the window, by
 * stretches. The theory and the invariants are at the top of host_entries.c.
 *
 *	host_entries.c	the entries' operations: showing and taking away
 *	host_stretch.c	the record of stretches: joined, cut; its validator
 *	host_memory.c	showing memory of this process that has no descriptor; its maps
 *
 * Addresses here are guest addresses, and ranges include their last byte, unless said otherwise.
 */
#ifndef MMU_HOST_ENTRIES_H
#define MMU_HOST_ENTRIES_H

#include "base/itree.h"
#include "base/lock.h"
#include "mmu/entries.h"

struct host;

/* Regions of the host put aside, to be let go when it has no more. */
struct ballast {
	uint64_t at, len; /* host memory outside the window; len 0: none */
};

/* Adjacent bytes of one thing, shown with the same rights. */
struct stretch {
	struct itree_node node;	       /* guest addresses */
	struct stretch *older, *newer; /* by when it was last added to; newer also links spares */
	const unsigned char *hva;      /* where the first byte also is in this process, or NULL */
	int fd;			       /* -1: only there */
	uint64_t off;		       /* in fd */
	uint32_t rights;
};

#define STRETCHES_SPARE 16u /* kept at most */
#define STRETCHES_NEED	3u  /* that a change may take: two cut ends and a new one */

struct host_entries {
	struct lock lock;  /* LOCK_MMU; all below */
	struct itree tree; /* of stretches; no two meet */
	struct stretch *oldest, *newest;
	struct stretch *spare;
	unsigned spares;
	uint64_t n;	      /* stretches */
	uint64_t seams;	      /* places where two of them are neighbours */
	uint64_t budget;      /* [I] regions of the host, see stretch_regions() */
	uint64_t first, last; /* [I] the window */
	uint64_t evicted;     /* stretches, so far */
	struct ballast ballast;
	unsigned thirst; /* maps since the ballast went */
};

extern const struct entries_ops host_entries_ops;

/* Is a host address in the window, and whose? False also where the backend is not a host's. */
bool host_guest_addr(const struct vms_mmu *mmu, uint64_t at, uint64_t *addr);
/*
 * The host had no page for an entry at addr (SIGBUS). Why? 0: it has by now, or there is no entry;
 * with a sentence: -ERANGE: the file ends before it; -ENOMEM: no memory for a frame; or what
 * reading the file answers. May wait for the file.
 */
int host_entries_behind(struct vms_mmu *mmu, uint64_t addr);

/* Parts of the life of a host backend. */
void host_entries_init(struct host *h, uint64_t budget);
void host_entries_fini(struct host *h);

/* ---- The record (host_stretch.c); with the lock held ---- */

static inline struct stretch *stretch_of(struct itree_node *node)
{
	return (struct stretch *)node; /* its first member */
}

/* The lowest that has a byte of [first, last], and the next above it. */
static inline struct stretch *stretch_first(const struct host_entries *e, uint64_t first,
					    uint64_t last)
{
	return stretch_of(itree_first(&e->tree, first, last));
}
static inline struct stretch *stretch_next(const struct stretch *s, uint64_t first, uint64_t last)
{
	return stretch_of(itree_next(&s->node, first, last));
}

/* Does s show at `addr` what the run does? */
bool stretch_same(const struct stretch *s, const struct entries_run *run, uint64_t addr);
/* That many spare ones are there, or false: no memory. */
bool stretch_reserve(struct host *h, unsigned n);
/* Nothing is recorded in [first, last] any more. Takes a spare one where it cuts a hole into one.
 */
void stretch_cut(struct host *h, uint64_t first, uint64_t last);
/* [first, last], of which nothing is recorded, shows what `like` would show at first, with these
 * rights. Joins its neighbours. Takes a spare one. */
void stretch_put(struct host *h, uint64_t first, uint64_t last, const struct entries_run *like,
		 uint32_t rights);
/* [first, last], which lies in stretches, has these rights now. Takes two spare ones. */
void stretch_rights(struct host *h, uint64_t first, uint64_t last, uint32_t rights);
/* Regions of the host that the window takes: stretches, and where it is reserved the gaps. */
uint64_t stretch_regions(const struct host *h);
void stretch_free_all(struct host *h);
int stretch_check(struct host *h);

/* ---- Memory (host_memory.c) ---- */

/*
 * Show memory of this process at a guest address, by its second mapping. 0, the host's error, or
 * -ENOTSUP with a sentence: it is private, and so cannot be in two places.
 */
int host_show_memory(struct host *h, uint64_t addr, uint64_t len, const void *hva, uint32_t rights);
/* Would it be refused for being private? 0 or -ENOTSUP with a sentence. */
int host_may_show_memory(struct host *h, const void *hva, uint64_t len);

/* One region of this process, as its maps tell. Host addresses, half-open. */
struct host_line {
	uint64_t start, end, off;
	char rights[5];
};

struct host_lines {
	const struct world *world;
	int fd;
	uint64_t at; /* of the file: where buf begins */
	size_t used, len;
	char buf[4096];
};

/* By rising address; false: the host does not tell. What others map or unmap meanwhile may be
 * missed. */
bool host_lines_open(struct host_lines *l, const struct world *w);
bool host_lines_next(struct host_lines *l, struct host_line *out);
void host_lines_close(struct host_lines *l);

#endif
