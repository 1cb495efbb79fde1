/* SPDX-License-Identifier: MIT */
/*
 * mman_guest.h: one guest's address space for tests, with everything about it fixed, and a way to
 * say what it looks like.
 *
 * Pages are numbered from `base`. A picture names the regions in address order:
 *
 *	"rw:0-3 r:4-4 -:6-7"	three regions; after the rights, with a plus: s shared, l locked,
 *				g growing, S sealed, f foreign, F of a file
 *
 * The window is 1 GiB of guest addresses, base in its middle, mmap_base at three quarters.
 */
#ifndef TESTS_MMAN_GUEST_H
#define TESTS_MMAN_GUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>

#include "check.h"
#include "vmspace/mman.h"
#include "world.h"

#define R   PROT_READ
#define W   PROT_WRITE
#define X   PROT_EXEC
#define RW  (PROT_READ | PROT_WRITE)
#define ANY (MAP_PRIVATE | MAP_ANONYMOUS)
#define AT  (ANY | MAP_FIXED)

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#define GUARD_INSTALL 102
#define GUARD_REMOVE  103

enum guest_kind { GUEST_RECORD, GUEST_HOLES, GUEST_WINDOW };

struct guest {
	struct test_world world; /* begun by guest_make, ended by guest_drop */
	enum guest_kind kind;
	struct vms_mm_policy pol;
	struct vms_mmu *mmu;
	struct vms_mm *mm;
	uint64_t page, lo, hi, base;
};

/* page 0: the host's. guest_make asserts that it works. */
void guest_make(struct guest *g, enum guest_kind kind, uint64_t page);
/* Its policy is there and may be changed; then guest_start. */
void guest_prepare(struct guest *g, enum guest_kind kind, uint64_t page);
void guest_start(struct guest *g);
void guest_drop(struct guest *g);
const char *guest_kind_name(enum guest_kind kind);

static inline uint64_t at(const struct guest *g, int64_t page)
{
	return g->base + (uint64_t)page * g->page;
}

/* Where a page of the guest lies in this process. */
char *mem(struct guest *g, int64_t page);

/* Calls by page, asserted to work: map is private anonymous at a fixed place. */
void map(struct guest *g, int64_t page, uint64_t n, int prot);
void map_as(struct guest *g, int64_t page, uint64_t n, int prot, int flags, int fd, uint64_t off);
/* First touch: a write as the guest's processor would make it. */
void touch(struct guest *g, int64_t page);

/* The picture, in static storage (two at a time). */
const char *picture(struct guest *g);
#define looks(g, text) looks_at(g, text, __FILE__, __LINE__)
void looks_at(struct guest *g, const char *text, const char *file, int line);

/* Errors by name in messages. */
#define says(call, errno_or_value) says_at((call), (errno_or_value), #call, __FILE__, __LINE__)
void says_at(int64_t got, int64_t want, const char *call, const char *file, int line);

#endif
