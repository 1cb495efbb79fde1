/* SPDX-License-Identifier: MIT */
/*
 * memory_naive.h: a guest-physical memory as an array of cells, for the tests that compare one with
 * the library's.
 *
 *	cell	a range of guest addresses that no edit of the test cuts: a page, or many
 *	state	what each cell shows: a block, an offset, rights; or nothing
 *	run	cells that continue each other: what a slot has to be
 *
 * All that the library says follows from two states, by the one rule: for each cell of a change the
 * new state replaces the old one; slots are the maximal runs of equal (block, distance, rights),
 * events the maximal runs of equal transition, ascending.
 */
#ifndef TESTS_MEMORY_NAIVE_H
#define TESTS_MEMORY_NAIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/memory.h"
#include "vmspace/access.h"
#include "vmspace/memory.h"

#define NCELLS	40u
#define NBLOCKS 48u
#define NPAGE	UINT64_C(4096)

#define RAM VMS_SLOT_RAM
#define ROM VMS_SLOT_ROM

/* Where the cells are. */
struct nlayout {
	const char *name;
	uint64_t base; /* of the first cell */
	bool ends;     /* instead: the last cell ends with the 64-bit space */
	unsigned n;
	uint64_t size[NCELLS]; /* 0: a page */
	uint64_t limit;	       /* as in vms_memory_params */
};

/* What stands for a block. */
struct nblock {
	uint32_t kind; /* 0: free */
	bool standalone, read_only;
	struct vms_block *block; /* NULL: not seen yet */
	bool handle;		 /* we hold a reference */
	bool registered;	 /* plain, and not removed */
	uint64_t bytes, wrap;
	/* Where its bytes are: off % wrap; NULL: in the object. */
	unsigned char *mem;
	struct vms_object *object;
	bool tells; /* it has a release */
	unsigned released;
	unsigned calls; /* of a slow one's reads and writes */
};

struct ncell {
	struct nblock *b; /* NULL: a hole */
	uint64_t off;	  /* of the cell's first byte */
	uint32_t access;
};

struct nstate {
	struct ncell cell[NCELLS];
};

enum nverb { NMAP, NMAP_HOST, NMAP_SLOW, NUNMAP, NPROTECT };

/* What a listener expects to hear in a commit, and has heard. */
struct nheard {
	const struct nstate *was, *is;
	unsigned prepared, applied, committed; /* times */
	const char *wrong;		       /* the first difference */
};

struct nmemory {
	const struct nlayout *layout;
	unsigned n;
	uint64_t at[NCELLS + 1]; /* at[n]: behind the last one; may be 0 */
	struct nstate now;
	struct nblock block[NBLOCKS];
	uint64_t edits; /* that changed something */
	struct vms_memory *mem;
	struct vms_port *port;
	unsigned turn; /* the block whose counts are compared next */
	bool listens;  /* nmemory_listener does */
	struct nheard heard;
};

void nmemory_lay(struct nmemory *m, const struct nlayout *layout);
static inline uint64_t ncell_size(const struct nmemory *m, unsigned i)
{
	return m->at[i + 1] - m->at[i];
}

static inline uint64_t ncells_size(const struct nmemory *m, unsigned first, unsigned n)
{
	return m->at[first + n] - m->at[first];
}

extern const struct nlayout nlayouts[];
extern const unsigned n_nlayouts;

/* A memory, a port, and nothing in it: 0 or the library's error. */
int nmemory_begin(struct nmemory *m, const struct nlayout *layout, const struct vms_gate *gate);
/* Drops all, and sees that all was released. NULL, or a sentence. */
const char *nmemory_end(struct nmemory *m);
int nmemory_listen(struct nmemory *m);

/* Memory for blocks of the caller, readable and writable; as large as all cells and 4 MiB. */
unsigned char *nmemory_pool(void);

/* ---- Blocks ---- */

/* A plain block over [hva, hva + bytes) of the pool, or with memory of its own: NULL: refused. */
struct nblock *nblock_create(struct nmemory *m, uint32_t kind, uint32_t flags, unsigned char *hva,
			     uint64_t bytes);
/* One for map_host and map_slow over cells [first, first + n); NULL: no more room. */
struct nblock *nblock_for(struct nmemory *m, enum nverb verb, unsigned first, unsigned n,
			  unsigned char *hva);
/* Take out what nothing can show any more; synchronized: vms_memory_synchronize() was called.
 * NULL, or a sentence: released too early, too late or twice. */
const char *nblocks_sweep(struct nmemory *m, bool synchronized);
/* A free one, or NULL. */
struct nblock *nblock_new(struct nmemory *m);
uint64_t nblock_slots(const struct nmemory *m, const struct nstate *s, const struct nblock *b);
/* Is it alive by what the model knows? */
bool nblock_is_alive(const struct nmemory *m, const struct nblock *b);
void nblock_poke(struct nblock *b, uint64_t off, unsigned char byte);
unsigned char nblock_peek(const struct nblock *b, uint64_t off);
/* For map_host and map_slow: arg is the nblock. */
void nblock_release(void *arg);
extern const struct vms_slow_ops nblock_slow;
/* If set: [off, off + len) of b was written through the library, at gpa. */
extern void (*nblock_wrote)(struct nblock *b, uint64_t gpa, uint64_t off, uint64_t len);

/* ---- Changes ---- */

struct nchange {
	enum nverb verb;
	unsigned first, n; /* cells */
	struct nblock *b;
	uint64_t off;
	uint32_t access; /* with VMS_SLOT_NOREPLACE */
};

/* One change after the other: 0, or the error at which it stopped. */
int nstate_change(const struct nmemory *m, struct nstate *s, const struct nchange *c);
/* Put it into the edit: what the library's call answers. */
int nchange_ask(const struct nmemory *m, struct vms_edit *edit, const struct nchange *c);
/* For people; static storage. */
const char *nchange_text(const struct nmemory *m, const struct nchange *c);

/* ---- Comparing ---- */

/* Each: NULL, or a sentence on the first difference; static storage. */
const char *nmemory_events_differ(struct nmemory *m, const struct nstate *was,
				  const struct nstate *is, const struct vms_slot_event *ev,
				  size_t n);
size_t nmemory_events(const struct nmemory *m, const struct nstate *was, const struct nstate *is);
/* The slots, counts, blocks, and the validator. */
const char *nmemory_slots_differ(struct nmemory *m);
/* The table, by the first and last page of each cell and one between that `choice` chooses. */
const char *nmemory_table_differs(const struct nmemory *m, const struct nstate *s, uint64_t choice);
/* Bytes through the port, at one place in each of the cells: `one in every` (1: all). */
const char *nmemory_port_differs(struct nmemory *m, uint64_t choice, unsigned every);
/* All of these. */
const char *nmemory_differs(struct nmemory *m, uint64_t choice);

/* A listener that keeps m->heard; arg is m. */
extern const struct vms_listener_ops nmemory_listener;
/*
 * An edit of these changes, and what must come of it: its error, the events that nmemory_listener
 * hears if it listens, and everything that stands. *result: what the commit answered.
 */
const char *nmemory_commit(struct nmemory *m, const struct nchange *c, unsigned n, int *result);
/* What stands, for people: to stderr. */
void nstate_print(const struct nmemory *m, const struct nstate *s);

#endif
