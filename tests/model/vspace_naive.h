/* SPDX-License-Identifier: MIT */
/*
 * vspace_naive.h: spaces that are too simple to be wrong.
 *
 * A naive space is an array of guest pages: which byte of which object a page shows, with which
 * rights, and which region it lies in, innermost. Mappings are not kept: they are runs of pages
 * that continue each other. Every call does what the public call of the same name should, and
 * answers what it should, by the lists of vmspace/space.h.
 */
#ifndef TESTS_VSPACE_NAIVE_H
#define TESTS_VSPACE_NAIVE_H

#include "naive.h"
#include "vmspace/space.h"

#define NSPACE_PAGES   256
#define NSPACE_REGIONS 64

struct nregion {
	struct nspace *space;
	struct nregion *parent; /* NULL: the root, or dead */
	bool alive;
	unsigned first, n; /* pages */
	uint32_t rights;
	enum vms_priority priority;
};

struct nmap {
	struct naive_view *view; /* NULL: a hole */
	uint64_t off;		 /* the view's byte at the page's first */
	uint32_t prot, ceiling, flags;
};

struct nspace {
	unsigned npages;
	uint64_t page, lo; /* bytes of a page; where the first one is */
	bool random, files;
	struct nmap map[NSPACE_PAGES];
	struct nregion *in[NSPACE_PAGES];
	struct nregion
		region[NSPACE_REGIONS]; /* [0]: the root; slots of dead ones are used again */
};

void nspace_init(struct nspace *s, uint64_t page, uint64_t lo, unsigned npages);

/*
 * chosen: where the library put it, or would have; taken if the place is one of those that the
 * placement allows, which for a space without randomness is one. *addr: where it should be.
 */
int nspace_region_create(struct nregion *parent, const struct vms_place *place,
			 const struct vms_region_params *params, uint64_t chosen,
			 struct nregion **region, uint64_t *addr);
int nspace_region_destroy(struct nregion *r);
int nspace_map(struct nregion *r, const struct vms_map_params *params, struct naive_view *view,
	       uint64_t chosen, uint64_t *addr);
int nspace_unmap(struct nregion *r, uint64_t addr, uint64_t len, uint32_t flags);
int nspace_protect(struct nregion *r, uint64_t addr, uint64_t len, uint32_t prot, uint32_t flags);
int nspace_move(struct nregion *r, uint64_t addr, uint64_t len, const struct vms_place *place,
		uint64_t new_len, uint64_t chosen, uint64_t *new_addr);
int nspace_region_op(struct nregion *r, enum vms_region_op op, uint64_t addr, uint64_t len);

/* A child region that lies in [first, first + n) of r, wholly or partly; NULL: none. */
struct nregion *nspace_child_at(const struct nregion *r, unsigned page);
/* Does page b continue page a, the one before it, in one mapping? */
bool nspace_joined(const struct nspace *s, unsigned a, unsigned b);
/* The first page of the mapping that page p is of, and how many it has. */
unsigned nspace_run(const struct nspace *s, unsigned p, unsigned *n);
/* What an access to the byte at addr meets. size 1: rights alone. */
enum vms_fault_result nspace_rights(const struct nspace *s, uint64_t addr, uint32_t access);
/* An access to [addr, addr + len), which lies in one guest page and one page of the object: the
 * page is there afterwards, and of a write, the object's own. */
enum vms_fault_result nspace_access(struct nspace *s, uint64_t addr, uint64_t len, uint32_t access);
/* The same by a fault, which leaves the page in the backend: what only a file has comes to memory
 * where the backend cannot show files. */
enum vms_fault_result nspace_fault(struct nspace *s, uint64_t addr, uint64_t len, uint32_t access);
/* The view at addr and the byte of it; NULL: a hole. */
struct naive_view *nspace_at(const struct nspace *s, uint64_t addr, uint64_t *off);

#endif
