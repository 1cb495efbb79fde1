/* SPDX-License-Identifier: MIT */
/*
 * mm.h: one Linux guest's address space, seen from inside.
 *
 * The truth is the space's mapping tree. What is added here is Linux: the meaning of a mapping's
 * flags, the limits, the heap, guard markers.
 *
 * Invariants (vms_mm_check verifies them)
 *	1. Everything lies in [0, task_size) and is aligned to the guest's page.
 *	2. A private anonymous mapping shows mm->anon; its offset is its address at birth, so
 *	   neighbours that were born as neighbours continue each other.
 *	3. An ident is held only by mappings whose private pages may exist.
 *	4. counts.bytes[] are the sums that the limits are about (MM_CLASS_*).
 *	5. A guard marker lies in a mapping.
 */
#ifndef MMAN_MM_H
#define MMAN_MM_H

#include <stdbool.h>

#include "base/range.h"
#include "object/object.h"
#include "space/space.h"
#include "vmspace/mman.h"

/* map.flags: all take part in "equal enough to merge". */
#define MM_SHARED	0x00000001u /* made MAP_SHARED, also when it can never be written */
#define MM_NORESERVE	0x00000002u
#define MM_ACCOUNT	0x00000004u /* its bytes were charged as a commitment */
#define MM_LOCKED	0x00000008u
#define MM_LOCKONFAULT	0x00000010u
#define MM_GROWSDOWN	0x00000020u
#define MM_NOHUGEPAGE	0x00000040u
#define MM_HUGEPAGE	0x00000080u
#define MM_DONTFORK	0x00000100u
#define MM_WIPEONFORK	0x00000200u
#define MM_DONTDUMP	0x00000400u
#define MM_SEQUENTIAL	0x00000800u
#define MM_RANDOM	0x00001000u
#define MM_MERGEABLE	0x00002000u
#define MM_DROPPABLE	0x00004000u
#define MM_SEALED	0x00008000u
#define MM_SPECIAL	0x00010000u /* foreign: never merges, never grows */
#define MM_WHOLE	0x00020000u /* foreign: may not be split */
#define MM_FIXED	0x00040000u /* foreign: may not change at all */
#define MM_FILE		0x00080000u /* shows a file: not anonymous */
#define MM_SYNC		0x00100000u /* made with MAP_SYNC: no effect but that it merges with its like */

#define MM_LOCK_MASK (MM_LOCKED | MM_LOCKONFAULT)

/* map_counts.bytes[] */
enum { MM_CLASS_TOTAL, MM_CLASS_LOCKED, MM_CLASS_DATA, MM_CLASS_STACK };

#define MM_PROT_ALL (VMS_PROT_READ | VMS_PROT_WRITE | VMS_PROT_EXEC)

/* Guard markers: address ranges, sorted, disjoint, never touching (guard.c). */
struct guards {
	struct guard_range {
		uint64_t first, last;
	} *v;
	size_t n, room;
};

#define MM_GROWING 4

struct vms_mm {
	struct space space;	   /* its lock guards everything below */
	struct vms_mm_policy pol;  /* limits change, the rest is constant */
	struct vms_object *anon;   /* [I] all private anonymous memory */
	struct vms_object *files;  /* open files that are mapped */
	struct guards guards;
	uint64_t brk_start, brk;
	uint64_t stack;		   /* an address in [stack]; 0: none */
	uint64_t last_ident;	   /* idents given so far */
	uint32_t def_flags;	   /* MM_LOCK_MASK bits that new mappings get */
	uint64_t locked_lost;	   /* bytes that lost their lock and still count: mremap's DONTUNMAP */
	/*
	 * Mappings that the host may have let grow: the last byte of each, and the bytes they had
	 * when they were looked for. n_growing past the array: look at all mappings. mm.c
	 */
	uint64_t growing[MM_GROWING], growing_bytes;
	size_t n_growing;
};

static inline void mm_lock(struct vms_mm *mm) ACQUIRES(mm->space.lock)
{
	lock_take(&mm->space.lock);
}

static inline void mm_unlock(struct vms_mm *mm) RELEASES(mm->space.lock)
{
	lock_drop(&mm->space.lock);
}

/* Tells the lock analysis what a call's struct hides from it: the lock is held. No code. */
static inline void mm_held(struct vms_mm *mm) ASSERTS_HELD(mm->space.lock)
{
	(void)mm;
}

static inline uint64_t mm_page(const struct vms_mm *mm)
{
	return mm->pol.page_size;
}

/* The lowest address that placement gives. */
static inline uint64_t mm_lowest(const struct vms_mm *mm)
{
	return align_up(max_u64(mm->pol.min_addr, mm->pol.hint_min), mm->pol.page_size);
}

static inline uint64_t map_len(const struct map *m)
{
	return m->last - m->start + 1;
}

/* Private memory without a file behind it. */
static inline bool map_is_anon(const struct map *m)
{
	return !(m->flags & (MM_SHARED | MM_FILE | MM_SPECIAL));
}

/* Writes make private pages. */
static inline bool map_is_private(const struct map *m)
{
	return !(m->flags & (MM_SHARED | MM_SPECIAL));
}

uint32_t mm_classes(const struct map *m);

/* ---- limits (mm.c): all in bytes ---- */

bool mm_may_lock_at_all(const struct vms_mm *mm);
/* Would `len` more bytes with these flags keep to RLIMIT_MEMLOCK? */
bool mm_lock_fits(const struct vms_mm *mm, uint32_t flags, uint64_t len);
/* Would `len` more bytes of a mapping like this keep to RLIMIT_AS and RLIMIT_DATA? */
bool mm_may_expand(const struct vms_mm *mm, const struct map *like, int64_t len);
/* The same while `grown` bytes that are mapped have become data and are not counted yet. */
bool mm_may_become(const struct vms_mm *mm, const struct map *like, int64_t len, int64_t grown);
/* May `len` bytes be committed? */
bool mm_commit_fits(const struct vms_mm *mm, uint64_t len);

/*
 * The host lets growing mappings grow by itself; bring the truth up to date first thing in every
 * call. 0 or -ENOMEM (then the truth lags, and the call must fail).
 */
int mm_catch_up(struct vms_mm *mm) REQUIRES(mm->space.lock);
/* After an edit that may have made, moved or dropped a growing mapping. `moved`: look anyway. */
void mm_note_growing(struct vms_mm *mm, bool moved) REQUIRES(mm->space.lock);

/* The host's part of growing m: what comes below it. 0, or the host's refusal. */
int mm_map_growth(struct vms_mm *mm, const struct map *m, uint64_t start, uint64_t len)
	REQUIRES(mm->space.lock);

/* The part of addr's mapping from addr up to `last`; false: addr is not mapped. */
bool mm_part_at(struct vms_mm *mm, uint64_t addr, uint64_t last, struct map *part)
	REQUIRES(mm->space.lock);
/* Is every byte of [first, last] mapped? */
bool mm_all_mapped(struct vms_mm *mm, uint64_t first, uint64_t last) REQUIRES(mm->space.lock);
/* Bytes of [first, last] that are mapped with `flag`; 0: mapped at all. */
uint64_t mm_bytes(struct vms_mm *mm, uint64_t first, uint64_t last, uint32_t flag)
	REQUIRES(mm->space.lock);
bool mm_any_mapped(struct vms_mm *mm, uint64_t first, uint64_t last) REQUIRES(mm->space.lock);

/* ---- placement (place.c) ---- */

struct place {
	uint64_t hint;	    /* page aligned address, or 0 */
	uint64_t len;
	uint64_t off;	    /* file offset, for large-page alignment */
	bool fixed;	    /* exactly at hint */
	bool low;	    /* MAP_32BIT */
	bool huge_file;	    /* the file's file system aligns big mappings */
	bool anon_private;  /* private anonymous */
};
/* Does the file system of this object want big mappings aligned? */
bool mm_huge_file(const struct vms_mm *mm, const struct vms_object *obj);
/* The address, or a negative errno, with Linux's checks of it. */
int64_t mm_place(struct vms_mm *mm, const struct place *p) REQUIRES(mm->space.lock);

/* ---- pieces that several calls share ---- */

/* What stands in a range. */
struct under {
	size_t n;		  /* mappings */
	uint64_t mapped, charged; /* bytes of them, and of those with MM_ACCOUNT */
	struct tree_spot spot;	  /* the first, if there is one; until the next change */
};

/*
 * munmap's body (unmap.c) on a checked range: 0, -EPERM sealed, -EINVAL may not split, -ENOMEM.
 * mm_unmap_check tells whether it would be refused, without doing it, and what it would unmap.
 */
int mm_unmap_check(struct vms_mm *mm, uint64_t first, uint64_t last, struct under *under)
	REQUIRES(mm->space.lock);
int mm_unmap(struct vms_mm *mm, uint64_t first, uint64_t last) REQUIRES(mm->space.lock);
/* Part the mapping that holds addr there; nothing is told to the host. */
void mm_cut(struct vms_mm *mm, uint64_t addr) REQUIRES(mm->space.lock);
/* Part the mappings at both ends of the range, as a replacement does that is refused late. */
void mm_part(struct vms_mm *mm, uint64_t first, uint64_t last) REQUIRES(mm->space.lock);

/*
 * Change the flags of one mapping's part (protect.c). `tell` (may be NULL) passes it on to the host,
 * which may decline: the truth does not hang on it. 0 or -ENOMEM when the parts would be too many.
 */
int mm_set_flags(struct vms_mm *mm, const struct map *part, uint32_t clear, uint32_t set,
		 void (*tell)(struct vms_mm *mm, const struct map *part, int how), int how)
	REQUIRES(mm->space.lock);

/* Private pages come into being in this mapping: give it an identity if it has none (fault.c). */
int mm_touch(struct vms_mm *mm, uint64_t addr) REQUIRES(mm->space.lock);
/* As populating does to the mapping at addr: a private writable one is touched. */
void mm_populated(struct vms_mm *mm, uint64_t first, uint64_t last) REQUIRES(mm->space.lock);

/* ---- guard markers (guard.c) ---- */

/* Room for one more range, so that the change after it cannot fail. 0 or -ENOMEM. */
int guards_reserve(struct guards *g, const struct world *w, size_t more);
void guards_set(struct guards *g, uint64_t first, uint64_t last);
void guards_clear(struct guards *g, uint64_t first, uint64_t last);
bool guards_hold(const struct guards *g, uint64_t addr);
/* How many ranges lie, wholly or in part, in [first, last]. */
size_t guards_count(const struct guards *g, uint64_t first, uint64_t last);
/* Those in [first, last] go to the same places from `to` on; needs 2 + guards_count reserved. */
void guards_move(struct guards *g, uint64_t first, uint64_t last, uint64_t to);
void guards_fini(struct guards *g, const struct world *w);
/* NULL, or what is wrong. */
const char *guards_validate(const struct guards *g);

#endif
