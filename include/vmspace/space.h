/* SPDX-License-Identifier: MIT */
/*
 * space.h: address spaces over objects (object.h).
 *
 *	space		guest addresses [lo, hi), a page size, an MMU backend (mmu.h)
 *	region		a nested span of a space, with a ceiling of rights; the root is all of it
 *	mapping		[addr, addr + len) shows an object from an offset on, with rights. It has no
 *			handle: a mapping is (space, address). Neighbours that continue each other
 *			are one.
 *	fault		what a CPU does that finds no entry in its MMU: it makes the page be there
 *
 * Addresses, offsets and lengths are bytes; ranges are half-open. The guest's page is the space's
 * own (1 to 64 KiB), the object's is the host's.
 *
 * Every call is safe from any thread. vms_find(), vms_fault() and what reads and writes bytes take
 * no lock of the space. An edit (map, unmap, protect, move, region create and destroy) does all of
 * what it says or nothing, at once against every other edit; against accesses of CPUs it is not
 * atomic: where a mapping is replaced, an access may find nothing for a moment and fault. When an
 * edit that takes something away returns, no registered CPU thread can use the old any more.
 *
 * Errors, the same for every call; each leaves a sentence in vms_last_error():
 *	-EINVAL   bad flags, misaligned, empty, wraps, outside the region, a child region in the way
 *	-EACCES   above a ceiling: the region's, the mapping's or the object's
 *	-EEXIST   the range is occupied		-ENOSPC   no free range
 *	-ENOENT   nothing is mapped there	-ERANGE   beyond the object or the region, or wraps
 *	-EBUSY    the region is dead; a hole in a range operation; in use
 *	-ENOTSUP  this kind of object, region or backend cannot do it
 *	-ENOMEM   no memory; nothing changed
 *	-EAGAIN   would have to wait, and there is no wait
 *	-ESTALE   the objects' arena belongs to the process that this one was forked from
 * Where several apply, the first in the order a call's list gives is returned.
 */
#ifndef VMSPACE_SPACE_H
#define VMSPACE_SPACE_H

#include <vmspace/mmu.h>
#include <vmspace/object.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vms_space;
struct vms_region;

/* ---- Spaces ---- */

struct vms_space_params {
	size_t size;	    /* sizeof(struct vms_space_params) */
	uint32_t flags;	    /* VMS_SPACE_*; unknown bits are refused */
	uint64_t page_size; /* a power of two, 1 to 64 KiB; 0: the host's page */
	uint64_t lo, hi;    /* bounds, page aligned; hi 0: 2^64 */
	struct vms_mmu *mmu; /* referenced; serves no other space meanwhile */
	uint64_t seed;	    /* of random placement, with VMS_SPACE_RANDOM */
	uint32_t fault_around; /* pages that one fault installs at most, 1 to 16; 0: 16 */
};

/* A placement may ask for entropy. Without it every placement is first fit. */
#define VMS_SPACE_RANDOM 0x1u

/*
 * vms_space_create - an empty space with its root region.
 *
 * Ownership: gives one reference. The last one gone, all is unmapped.
 * Returns:   0, or
 *            -EINVAL   short params, unknown flags, page size, bounds, no mmu; a backend whose
 *                      window or page size does not fit
 *            -EBUSY    the backend serves another space
 *            -ENOMEM
 * Since:     0.3
 */
VMS_API int vms_space_create(const struct vms_space_params *params, struct vms_space **space);
VMS_API struct vms_space *vms_space_ref(struct vms_space *space);
VMS_API void vms_space_unref(struct vms_space *space); /* NULL is fine */
/* The region that is all of the space. Borrowed: it lives as long as the space. Since: 0.3 */
VMS_API struct vms_region *vms_space_root(struct vms_space *space);

/* ---- Regions ---- */

/* Rights of a region are VMS_PROT_READ, _WRITE, _EXEC, and to choose addresses in it. */
#define VMS_REGION_SPECIFIC 8u
#define VMS_REGION_ALL	    15u

/* Where something goes. */
#define VMS_PLACE_AT	  0x1u /* at addr and nowhere else */
#define VMS_PLACE_BELOW	  0x2u /* end at or below addr */
#define VMS_PLACE_COMPACT 0x4u /* keep near the start: less entropy */
#define VMS_PLACE_OVER	  0x8u /* vms_map, vms_move, with AT: over mappings that stand there */

struct vms_place {
	uint32_t flags;	  /* VMS_PLACE_*; 0: anywhere in the region */
	uint32_t entropy; /* bits of randomness, at most 63; 0: the lowest place (first fit) */
	uint64_t addr;	  /* 0 without AT and BELOW */
	uint64_t align;	  /* of the address: a power of two, 2^10 to 2^32; 0: a page */
};

struct vms_region_params {
	size_t size;	/* sizeof(struct vms_region_params) */
	uint32_t flags; /* 0 */
	uint32_t rights; /* the ceiling of all that is mapped in it */
	uint64_t len;	/* > 0, whole pages */
};

/*
 * vms_region_create - a child region of parent. place NULL: anywhere.
 *
 * Ownership: gives one reference, which also holds the space. A handle stays valid when the region
 * dies; every call with it then returns -EBUSY.
 * Returns:   0 and *addr (may be NULL), or
 *            -EINVAL  short params, unknown flags or rights; place: flags, align, entropy
 *            -EBUSY   parent is dead
 *            -EINVAL  len 0
 *            -EACCES  rights that the parent lacks
 *            -EINVAL  AT with BELOW; an addr with neither; addr or len not page aligned
 *            -EACCES  AT or BELOW in a region without VMS_REGION_SPECIFIC
 *            -EINVAL  outside the parent; AT an address that is not aligned as asked
 *            -EEXIST  something stands there: the sentence names both ranges
 *            -ENOSPC, -ENOMEM
 * Since:     0.3
 * Source:    reference rows F2, F3, F9 to F11
 */
VMS_API int vms_region_create(struct vms_region *parent, const struct vms_place *place,
			      const struct vms_region_params *params, struct vms_region **region,
			      uint64_t *addr);
VMS_API struct vms_region *vms_region_ref(struct vms_region *region);
VMS_API void vms_region_unref(struct vms_region *region); /* the region lives on. NULL is fine */

/*
 * vms_region_destroy - the region dies, with all below it, and everything in its span is unmapped.
 *
 * Returns: 0, -EBUSY (dead), -ENOTSUP (the root dies with its space), -ENOMEM
 * Since:   0.3	Source: reference row F17
 */
VMS_API int vms_region_destroy(struct vms_region *region);

enum vms_priority { VMS_PRIORITY_DEFAULT, VMS_PRIORITY_HIGH };
/*
 * vms_region_set_priority - HIGH: what is mapped in the region or below it, now or later, is not
 * reclaimed.
 *
 * Returns: 0, -EINVAL, -EBUSY.	Since: 0.3	Source: reference rows F20, F92
 */
VMS_API int vms_region_set_priority(struct vms_region *region, enum vms_priority priority);

/* ---- Edits ---- */

#define VMS_MAP_FIXED_SIZE 0x1u /* refuse an object whose size may change */
#define VMS_MAP_STREAM	   0x2u /* accesses past the page of the stream's end are BEYOND */
#define VMS_MAP_POPULATE   0x4u /* install pages that are there already; not with OVER */
#define VMS_MAP_SHARE	   0x8u /* a branch of the space shows the same object, not a copy */

struct vms_map_params {
	size_t size;	/* sizeof(struct vms_map_params) */
	uint32_t flags; /* VMS_MAP_* */
	uint32_t prot;	/* VMS_PROT_*: WRITE and EXEC only with READ */
	/* The most that vms_protect may give: VMS_PROT_*, cut to what region and object allow.
	 * 0: all of that. */
	uint32_t ceiling;
	struct vms_place place;
	struct vms_object *object; /* the mapping holds a reference */
	uint64_t off;		   /* page aligned; may lie beyond the object's end */
	uint64_t len;		   /* > 0, rounded up to whole pages */
};

/*
 * vms_map - show a range of an object.
 *
 * With AT and OVER the mappings that stand there are replaced in the same edit; child regions never
 * are. Under a host backend pages that are there are installed at once.
 *
 * Returns:   0 and *addr (may be NULL), or
 *            -EINVAL   prot; short params, flags, align, entropy; off not aligned; len rounds past
 *                      2^64; POPULATE with OVER
 *            -ERANGE   off + len wraps
 *            -ENOTSUP  FIXED_SIZE and the object may be resized; STREAM of a file, host memory or
 *                      contiguous object; a file object under a backend that is not the host's
 *                      (map an object of vms_pager_file(), or a SNAPSHOT_LAZY of the file);
 *                      under the host backend, a host object of private memory
 *            -EACCES   the object may not be written
 *            then as vms_region_create; -EINVAL also: OVER without AT, OVER a child region
 * Since:     0.3
 * Source:    reference rows F4 to F11, F33
 */
VMS_API int vms_map(struct vms_region *region, const struct vms_map_params *params, uint64_t *addr);

#define VMS_NO_CHILDREN 0x1u /* -EINVAL where a child region is touched */

/*
 * vms_unmap - nothing is shown in the range afterwards. Child regions that lie wholly inside die.
 *
 * Returns: 0, or -EINVAL (flags; len 0, addr not aligned, wraps, outside the region), -EBUSY,
 *          -EINVAL (a child region partly inside), -ENOMEM. len is rounded up. Holes are fine.
 * Since:   0.3	Source: reference row F13
 */
VMS_API int vms_unmap(struct vms_region *region, uint64_t addr, uint64_t len, uint32_t flags);

/*
 * vms_protect - new rights for all that is mapped in the range. In child regions they may only be
 * reduced.
 *
 * Returns: 0, or -EINVAL (prot, flags, range), -EBUSY, -EINVAL (a child and NO_CHILDREN), -ENOENT
 *          (a hole: the sentence says where), -EACCES (above a mapping's ceiling, or more in a
 *          child region), -ENOMEM. len is rounded up.
 * Since:   0.3	Source: reference rows F15, F29
 */
VMS_API int vms_protect(struct vms_region *region, uint64_t addr, uint64_t len, uint32_t prot,
			uint32_t flags);

/*
 * vms_move - what is mapped at [addr, addr + len) stands at another place of the same region
 * afterwards, with new_len bytes: fewer, or, of one mapping, more of the same object.
 *
 * place as for vms_map; NULL: anywhere. Old and new range may not overlap.
 * Returns: 0 and *new_addr, or -EINVAL (range, place, new_len 0; longer, and not one mapping;
 *          overlap; a child region is touched), -EBUSY, -ENOENT (a hole), -ERANGE (off wraps), then
 *          as vms_map's placement, -ENOMEM
 * Since:   0.3
 */
VMS_API int vms_move(struct vms_region *region, uint64_t addr, uint64_t len,
		     const struct vms_place *place, uint64_t new_len, uint64_t *new_addr);

enum vms_region_op {
	VMS_REGION_COMMIT = 1, /* the objects have pages of their own, and they are installed */
	VMS_REGION_DECOMMIT,
	VMS_REGION_ZERO,
	VMS_REGION_MAP, /* install the pages that are there */
	VMS_REGION_PREFETCH,
	VMS_REGION_ALWAYS_NEED, /* ... and install */
	VMS_REGION_DONT_NEED,
};

/*
 * vms_region_op - an operation on what is mapped in the range, mapping by mapping. Not atomic: it
 * stops at the first error and keeps what was done. COMMIT, DECOMMIT and ZERO need a ceiling that
 * allows writing, whatever the rights are now.
 *
 * Returns: 0, VMS_WAIT, or -EINVAL (op; addr or len not aligned, len 0), -ERANGE (outside the
 *          region), -EBUSY (dead), -EINVAL (COMMIT, DECOMMIT, ZERO, PREFETCH: a child region),
 *          -EBUSY (a hole), -EACCES (ceiling), and what vms_object_op returns
 * Since:   0.3	Source: reference rows F16, F35, F36
 */
VMS_API int vms_region_op(struct vms_region *region, enum vms_region_op op, uint64_t addr,
			  uint64_t len, struct vms_wait *wait);

/* ---- Faults ---- */

enum vms_fault_result {
	VMS_FAULT_OK,	      /* the page is there: access again */
	VMS_FAULT_WAIT,	      /* a pager was asked: wait on *wait, then fault again */
	VMS_FAULT_NOT_MAPPED, /* nothing stands at the address */
	VMS_FAULT_DENIED,     /* the mapping does not grant the access */
	VMS_FAULT_BEYOND,     /* past the end of the object, or of its stream (VMS_MAP_STREAM) */
	VMS_FAULT_DISCARDED,  /* the object was discarded and not locked since */
	VMS_FAULT_IO,	      /* the pager or the file failed; vms_last_error() says how */
	VMS_FAULT_NO_MEMORY,
};
/* "OK", "WAIT" and so on. */
VMS_API const char *vms_fault_name(enum vms_fault_result result);

/*
 * vms_fault - make the page at addr be there for an access.
 *
 * access:    one of VMS_PROT_READ, _WRITE, _EXEC.
 * len:       0: one page, and up to fault_around - 1 existing ones behind it may be installed too.
 *            Else exactly [addr, addr + len) is asked for, absent pages are produced, and *done
 *            tells how many bytes from addr on are there, more than 0 with VMS_FAULT_OK. The end
 *            of a mapping, of its rights or of its object ends it without an error.
 * wait:      NULL: instead of VMS_FAULT_WAIT the result is VMS_FAULT_IO, and -EAGAIN the sentence.
 * done:      may be NULL.
 * Blocking:  only for memory.	Locks: the object family's.
 * Cost:      a look-up, and what the page takes.
 * Since:     0.3
 * Source:    reference rows F37 to F44
 */
VMS_API enum vms_fault_result vms_fault(struct vms_space *space, uint64_t addr, uint32_t access,
					uint64_t len, struct vms_wait *wait, uint64_t *done);

/* What an access that raised a signal was. */
struct vms_signal_fault {
	uint64_t addr;	 /* guest address */
	uint32_t access; /* one of VMS_PROT_READ, _WRITE, _EXEC */
	enum vms_fault_result result;
};

/*
 * vms_fault_signal - the part of a SIGSEGV or SIGBUS handler that is the space's: this thread has
 * accessed the window of the host backend, and the host had no entry for it.
 *
 * The library installs no handler. The caller's one (SA_SIGINFO, on a stack of 32 KiB or more)
 * gives its three arguments. Where 1 is returned and fault->result is VMS_FAULT_OK the handler
 * returns, and the access is done again. VMS_FAULT_WAIT: a pager was asked; the handler waits on
 * *wait and returns, or leaves it to others. Anything else is the guest's to hear of: a SIGSEGV, or
 * a SIGBUS for BEYOND.
 *
 * The access must come from the guest's code, or the caller's own: the fault takes locks of the
 * library. So no address of the window goes into a call of the library as a buffer, nor is the
 * window touched in a callback that holds a lock which a pager's callback takes; and code that is
 * interrupted so may not be in the middle of malloc().
 *
 * Returns:   1: handled, and *fault says how; 0: not an access, or not to the space, or its backend
 *            is not the host's: for the handler that stood there before. errno stays.
 * Since:     0.3
 */
VMS_API int vms_fault_signal(struct vms_space *space, int sig, const void *siginfo,
			     const void *ucontext, struct vms_wait *wait,
			     struct vms_signal_fault *fault);

/*
 * vms_space_prepare - make [addr, addr + len) safe for the kernel to touch through the host backend
 * until the next change of the mappings or the objects there: read(2) into a guest buffer does not
 * fault into us.
 *
 * Returns:   as vms_fault; *done as there. Anything but OK: the range is safe up to *done.
 * Since:     0.3
 */
VMS_API enum vms_fault_result vms_space_prepare(struct vms_space *space, uint64_t addr,
						uint64_t len, uint32_t access,
						struct vms_wait *wait, uint64_t *done);

/* ---- Bytes ---- */

/*
 * vms_space_read, vms_space_write - copy bytes out of or into guest memory, across mappings, as an
 * access with the mappings' rights would.
 *
 * Returns:   VMS_FAULT_OK: all done; else what stopped it at addr + *done; the bytes before were
 *            copied. done may be NULL.
 * Since:     0.3
 */
VMS_API enum vms_fault_result vms_space_read(struct vms_space *space, uint64_t addr, void *buf,
					     size_t len, struct vms_wait *wait, size_t *done);
VMS_API enum vms_fault_result vms_space_write(struct vms_space *space, uint64_t addr,
					      const void *buf, size_t len, struct vms_wait *wait,
					      size_t *done);
/*
 * vms_space_read_string - copy up to and with the first NUL, at most len bytes.
 *
 * Returns:   VMS_FAULT_OK with *done the string's length with its NUL, or len where there is none;
 *            else what stopped it, *done the bytes before.
 * Since:     0.3
 */
VMS_API enum vms_fault_result vms_space_read_string(struct vms_space *space, uint64_t addr,
						    char *buf, size_t len, struct vms_wait *wait,
						    size_t *done);

/*
 * vms_space_load, vms_space_store, vms_space_cas - one aligned access of 1, 2, 4 or 8 bytes, in the
 * host's byte order, in one instruction; load is acquire, store is release, cas both.
 *
 * cas: *expected becomes what stood there where it was not *expected; *swapped says whether.
 * Returns:   as vms_fault; VMS_FAULT_DENIED also where addr is not a multiple of size.
 * Since:     0.3
 */
VMS_API enum vms_fault_result vms_space_load(struct vms_space *space, uint64_t addr, unsigned size,
					     uint64_t *value, struct vms_wait *wait);
VMS_API enum vms_fault_result vms_space_store(struct vms_space *space, uint64_t addr,
					      unsigned size, uint64_t value, struct vms_wait *wait);
VMS_API enum vms_fault_result vms_space_cas(struct vms_space *space, uint64_t addr, unsigned size,
					    uint64_t *expected, uint64_t desired, int *swapped,
					    struct vms_wait *wait);

/* ---- Branches ---- */

struct vms_branch_params {
	size_t size;	     /* sizeof(struct vms_branch_params) */
	uint32_t flags;	     /* 0 */
	struct vms_mmu *mmu; /* of the new space */
};

/*
 * vms_space_branch - a copy of the whole space at one instant: regions, mappings, and a snapshot of
 * every object that is mapped, copied on write. What is mapped with VMS_MAP_SHARE is shared.
 *
 * Mappings of one object show one snapshot, through slices and references too. Above a pager or a
 * file it is a SNAPSHOT_MODIFIED: what comes from there may still change. Snapshots are children of
 * what they were taken of. Of the new regions only the root has a handle; vms_walk tells of all.
 *
 * Blocking:  for writers that are in the middle of copying bytes into one of the objects.
 * Cost:      grows with mappings and objects, not with their pages.
 * Returns:   0, or
 *            -EINVAL   params; a backend that does not fit
 *            -ENOTSUP  paged, file, host, contiguous or discardable objects mapped without
 *                      VMS_MAP_SHARE, or a file with it that the new backend cannot show: the
 *                      sentence names the mapping
 *            -EBUSY    the backend serves another space; a page is pinned
 *            -ENOMEM, -ESTALE
 * Since:     0.3
 */
VMS_API int vms_space_branch(struct vms_space *space, const struct vms_branch_params *params,
			     struct vms_space **branch);

/* ---- Asking ---- */

struct vms_mapping_info {
	size_t size; /* sizeof(struct vms_mapping_info), set by the caller */
	uint64_t addr, len;
	uint64_t off;	     /* the object's byte at addr */
	uint64_t object_id;  /* vms_object_info.id */
	uint32_t prot, ceiling;
	uint32_t flags; /* VMS_MAP_*, POPULATE aside */
};

/*
 * vms_find - the mapping that holds addr.
 *
 * Cost:    O(log n); no lock.
 * Returns: 0, -EINVAL (short struct), -ENOENT.	Since: 0.3
 */
VMS_API int vms_find(struct vms_space *space, uint64_t addr, struct vms_mapping_info *info);
/* How far vms_next has come. All zero: nothing yet. */
struct vms_cursor {
	uint64_t next; /* the address to go on at; a caller may set it */
	uint32_t end;  /* not 0: behind the last byte of all */
};
/*
 * vms_next - the mapping that holds cursor->next, or the first above it; the cursor moves behind it.
 * Stable across edits: goes on at the next address whatever was changed between two calls.
 *
 * Cost:    as vms_find.
 * Returns: 0, -EINVAL (short struct), -ENOENT (no more).	Since: 0.3
 */
VMS_API int vms_next(struct vms_space *space, struct vms_cursor *cursor,
		     struct vms_mapping_info *info);

struct vms_region_info {
	size_t size;	 /* sizeof(struct vms_region_info), set by the caller */
	uint64_t addr, len; /* len 0: all 2^64 bytes */
	uint32_t rights;
	uint32_t alive; /* 1, or 0: dead */
	enum vms_priority priority;
};
/* vms_region_info - Returns: 0, -EINVAL (short struct). Since: 0.3	Source: reference row F21 */
VMS_API int vms_region_info(struct vms_region *region, struct vms_region_info *info);

/* What vms_walk tells of: a region before what is in it. */
struct vms_walk_item {
	uint32_t is_mapping;
	uint32_t depth; /* 1: right in the region that is walked */
	uint64_t addr, len;
	uint32_t rights; /* of the region, or prot of the mapping */
};
struct vms_walk {
	uint64_t opaque[12];
};
/*
 * vms_walk_begin, vms_walk_next, vms_walk_end - what is in a region and touches [addr, addr + len),
 * depth first. Nothing is held between two steps: later ones see what was changed above.
 *
 * mappings_only: no regions.
 * Returns: begin: 0, -EINVAL, -EBUSY. next: 0, -ENOENT (the end), -EBUSY (the region died).
 * Since:   0.3	Source: reference row F18
 */
VMS_API int vms_walk_begin(struct vms_walk *walk, struct vms_region *region, uint64_t addr,
			   uint64_t len, int mappings_only);
VMS_API int vms_walk_next(struct vms_walk *walk, struct vms_walk_item *item);
VMS_API void vms_walk_end(struct vms_walk *walk);

struct vms_space_info {
	size_t size; /* sizeof(struct vms_space_info), set by the caller */
	uint64_t lo, hi, page_size;
	uint64_t mappings, mapped; /* mapped: bytes, modulo 2^64 */
	uint64_t regions;	   /* the root among them */
	uint64_t edits, splits, merges;
	/* Faults by result ... */
	uint64_t ok, wait, not_mapped, denied, beyond, discarded, io, no_memory;
	/* ... and how the page of an OK one came: */
	uint64_t own;	   /* the object's own page was there */
	uint64_t ancestor; /* read: shown from an ancestor */
	uint64_t zero;	   /* read: the zero page */
	uint64_t copied;   /* write: a copy of it */
	uint64_t fresh;	   /* a new page of zeros */
	uint64_t around;   /* further pages that were installed */
	uint64_t again;	   /* looked up again, because something had changed or was waited for */
};
/* vms_space_info - copy the counters. Returns: 0 or -EINVAL (short struct). Since: 0.3 */
VMS_API int vms_space_info(struct vms_space *space, struct vms_space_info *info);

enum vms_dump_format { VMS_DUMP_TEXT, VMS_DUMP_JSON };
/*
 * vms_space_dump - write regions, mappings and objects to a descriptor.
 *
 * Blocking:  as the descriptor does; nothing is held meanwhile.
 * Returns:   0, -EINVAL, -ENOMEM, or what write(2) answered
 * Since:     0.3
 */
VMS_API int vms_space_dump(struct vms_space *space, enum vms_dump_format format, int fd);

/*
 * vms_space_check - the validator, for tests: every invariant of the space, its regions, and what
 * its backend holds, which is never more than the space grants. Under a soft backend no CPU thread
 * is in an access meanwhile.
 *
 * Returns: 0, or -EINVAL with a sentence.	Cost: grows with everything.	Since: 0.3
 */
VMS_API int vms_space_check(struct vms_space *space);

#ifdef __cplusplus
}
#endif
#endif
