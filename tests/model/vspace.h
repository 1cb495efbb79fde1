/* SPDX-License-Identifier: MIT */
/*
 * vspace.h: a few small spaces and their naive twins, for the parts of their model.
 *
 *	vspace_side.c	a space beside its twin: comparing the two, and choosing something in them
 *	vspace_edits.c	what changes a space: its life, branches, regions, mappings
 *	vspace_access.c	what uses one: faults, bytes, CPUs; and what befalls its backend
 *	vspace.c	which step is next
 */
#ifndef TESTS_VSPACE_H
#define TESTS_VSPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "mmu/backend.h"
#include "vmspace/tlb.h"
#include "vspace_naive.h"

#define SIDES 3

enum backend { RECORD, SOFT, HOST };

/* A space and its naive twin. */
struct side {
	struct vms_space *space; /* NULL: free */
	struct vms_mmu *mmu;
	struct vms_region *handle[NSPACE_REGIONS]; /* by naive region; NULL: none */
	struct nspace n;
	struct vms_cpu *cpu; /* of the soft backend */
	bool fails;	     /* a map of the backend is about to fail */
};

extern struct side sides[SIDES];
extern enum backend backend;
extern uint64_t page_option, cell;    /* bytes; 0: any page */
extern unsigned nested;		      /* in steps that happen while another one waits */
extern uint8_t *scratch, *buffers[2]; /* of a step, and of one that happens in its wait */

/* ---- vspace_side.c ---- */

/* What stands at addr, for people. */
const char *show(const struct side *s, uint64_t addr);
struct side *any_side(void);
unsigned side_index(const struct side *s);
/* What mappings hold changed: count, and let go of what nobody holds. */
void recount(void);

uint64_t cells_of(const struct side *s);
uint8_t byte_at(struct nspace *n, uint64_t addr);
void check_walk(struct side *s, unsigned region, uint64_t addr, uint64_t len);
void check_entry(struct side *s, uint64_t addr);
/* The mappings, the whole walk, so many entries, the validator. */
void check_side(struct side *s, unsigned entries);
void check_everything(void);
/* The rights that the backend grants to the cell at addr, and where its bytes are. */
uint32_t entry_of(struct side *s, uint64_t addr, uint8_t **at);
/* Copies memory that perhaps nobody may touch. */
bool touch_host(void *window, void *ours, size_t len, bool write);

struct vms_place any_place(const struct side *s, const struct nregion *r);
unsigned any_region(const struct side *s);
void any_range(const struct side *s, const struct nregion *r, uint64_t *addr, uint64_t *len);
uint64_t any_cell(const struct side *s);
uint32_t any_prot(void);
uint32_t any_access(void);

/* ---- vspace_edits.c ---- */

unsigned free_twins(void);
void do_space_create(void);
void do_space_end(struct side *s);
void do_branch(void);
void do_region_create(void);
void do_region_destroy(void);
void do_region_drop(void);
void do_priority(void);
void do_map(void);
void do_unmap(void);
void do_protect(void);
void do_move(void);
void do_region_op(void);

/* ---- vspace_access.c ---- */

void do_fault(void);
void do_fault_range(void);
void do_prepare(void);
void do_read(void);
void do_write(void);
void do_string(void);
void do_word(void);
void do_cpu(void);
void do_tlb(void);
void do_trouble(void);
void do_look(void);

/* ---- vspace.c ---- */

void do_step(void);

#endif
