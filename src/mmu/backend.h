/* SPDX-License-Identifier: MIT */
/*
 * backend.h: what a space asks of an MMU backend.
 *
 * Every operation either does all of what it says or returns a negative errno and has done
 * nothing (protect, advise and lock excepted, which say so). The caller holds the space's lock
 * and has checked the range: page aligned, inside the bounds, not empty, free of overflow.
 * Operations may enter the host kernel; they call nobody back and wait for no other thread.
 *
 * addr, len: guest addresses, bytes.
 */
#ifndef MMU_BACKEND_H
#define MMU_BACKEND_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/world.h"
#include "mmu/entries.h"
#include "vmspace/mmu.h"

/* backend_map.flags */
#define BACKEND_SHARED	   0x01u /* else private */
#define BACKEND_NORESERVE  0x02u
#define BACKEND_GROWSDOWN  0x04u /* the host may let it grow by itself: see grown() */
#define BACKEND_LOCKED	   0x08u
#define BACKEND_POPULATE   0x10u /* prefault; failure to do so is silent */
#define BACKEND_STACK	   0x20u /* no large pages */
#define BACKEND_NOREPLACE  0x40u /* the caller believes the range is a hole: -EEXIST if not */
#define BACKEND_DROPPABLE  0x80u
/* It continues the private anonymous memory below: -EFAULT if the host would keep the two apart. */
#define BACKEND_GROWTH	   0x100u

struct backend_map {
	uint64_t addr, len;
	uint32_t prot;	/* VMS_PROT_* */
	uint32_t flags; /* BACKEND_* */
	int fd;		/* -1: anonymous memory, new and zero */
	uint64_t off;	/* file offset of addr */
};

/* backend_ops.caps */
#define BACKEND_EAGER	0x1u /* always equal to the truth */
#define BACKEND_CONTENT 0x2u /* holds bytes: contents, residency and end of file mean something */
#define BACKEND_GROWS	0x4u /* lets GROWSDOWN mappings grow by itself: ask grown() first */
#define BACKEND_GUARDS	0x8u /* knows guard markers */
#define BACKEND_SEAMS	0x10u /* can tell where its own regions meet: see seam() */
#define BACKEND_ADDS	0x20u /* anonymous memory grows in place better by map: BACKEND_GROWTH */

struct backend_ops {
	uint32_t caps;
	/* Replace whatever stands in the range, atomically. */
	int (*map)(struct vms_mmu *mmu, const struct backend_map *m);
	/* Holes inside are fine. */
	int (*unmap)(struct vms_mmu *mmu, uint64_t addr, uint64_t len);
	/*
	 * The whole range is mapped. Where it fails the rights of a part may have changed; the
	 * caller knows the old ones and asks for them again, which takes nothing.
	 */
	int (*protect)(struct vms_mmu *mmu, uint64_t addr, uint64_t len, uint32_t prot);
	/*
	 * Move or resize, as mremap with old_len -> new_len: the source is one mapping in the
	 * space's eyes (the host may have split it finer). new_addr == addr: in place. flags:
	 * MREMAP_DONTUNMAP; BACKEND_NOREPLACE, as for map, of the destination. old_len 0: a second
	 * mapping of the same shared pages. Whatever stood at the destination is replaced; it may
	 * not overlap the source (-EINVAL).
	 *
	 * With BACKEND_ADDS private anonymous memory grows in place better by map of the new part:
	 * to grow a region the host backend has to open its reservation for a moment.
	 */
	int (*move)(struct vms_mmu *mmu, uint64_t addr, uint64_t old_len, uint64_t new_addr,
		    uint64_t new_len, uint32_t flags);
	/* The host's madvise advice, on a range that is one mapping. May have been done in part. */
	int (*advise)(struct vms_mmu *mmu, uint64_t addr, uint64_t len, int advice);
	/* on: 0 unlock, 1 lock and populate, 2 lock on fault. May have been done in part. */
	int (*lock)(struct vms_mmu *mmu, uint64_t addr, uint64_t len, int on);
	int (*sync)(struct vms_mmu *mmu, uint64_t addr, uint64_t len, int flags);
	/* One byte a guest page, as mincore(2). */
	int (*residency)(struct vms_mmu *mmu, uint64_t addr, uint64_t len, unsigned char *vec);
	/*
	 * Where the host's mapping that was made GROWSDOWN at `start` begins now, at or below it and
	 * above `floor` (the end of the mapping below): `start` if it did not grow.
	 */
	uint64_t (*grown)(struct vms_mmu *mmu, uint64_t start, uint64_t floor);
	/*
	 * With BACKEND_SEAMS: do two of the host's regions meet at addr? False also if unknown; else
	 * *end: where the region that holds addr ends, so that no seam lies before it.
	 */
	bool (*seam)(struct vms_mmu *mmu, uint64_t addr, uint64_t *end);
	/* This process is a forked child now. NULL: nothing to do. */
	void (*forked)(struct vms_mmu *mmu);
	void *(*host_addr)(struct vms_mmu *mmu, uint64_t addr);
};

#define COUNT_LINES 16u

/* What calls on entries count: a line for each of a few threads. The pad keeps two lines apart
 * wherever the struct lies. */
struct entries_line {
	_Atomic(uint64_t) map, unmap, protect, remove_write, failed;
	uint64_t pad[11];
};

struct vms_mmu {
	const struct backend_ops *ops; /* [I] for a Linux guest's space; NULL: cannot serve one */
	const struct entries_ops *entries; /* [I] for a space over objects (entries.h); NULL: cannot */
	void (*destroy)(struct vms_mmu *mmu); /* [I] */
	atomic_bool attached;		      /* a space over objects uses it */
	const struct world *world;     /* [I] */
	atomic_uint refs;
	struct vms_mmu_counts counts; /* [space's lock] calls of backend_ops */
	struct entries_line line[COUNT_LINES]; /* [A] calls of entries_ops */
};

/* Counting wrappers: the only way the space and the faces call a backend (mmu.c). */
int backend_map(struct vms_mmu *mmu, const struct backend_map *m);
int backend_unmap(struct vms_mmu *mmu, uint64_t addr, uint64_t len);
int backend_protect(struct vms_mmu *mmu, uint64_t addr, uint64_t len, uint32_t prot);
int backend_move(struct vms_mmu *mmu, uint64_t addr, uint64_t old_len, uint64_t new_addr,
		 uint64_t new_len, uint32_t flags);
int backend_advise(struct vms_mmu *mmu, uint64_t addr, uint64_t len, int advice);
int backend_lock(struct vms_mmu *mmu, uint64_t addr, uint64_t len, int on);
int backend_sync(struct vms_mmu *mmu, uint64_t addr, uint64_t len, int flags);
int backend_residency(struct vms_mmu *mmu, uint64_t addr, uint64_t len, unsigned char *vec);
uint64_t backend_grown(struct vms_mmu *mmu, uint64_t start, uint64_t floor);
bool backend_seam(struct vms_mmu *mmu, uint64_t addr, uint64_t *end);

/*
 * The recording backend, for tests. All three leave other backends alone: record_last says false.
 *
 * record_fail: the n-th call from now fails with -err (err > 0), once; n 1 is the next, 0 none. Of
 * calls on entries only maps are counted, which alone can fail.
 */
void vms_mmu_record_fail(struct vms_mmu *mmu, uint64_t n, int err);

enum record_kind {
	RECORD_MAP,
	RECORD_UNMAP,
	RECORD_PROTECT,
	RECORD_MOVE,
	RECORD_ADVISE,
	RECORD_LOCK,
	RECORD_SYNC,
	RECORD_RESIDENCY,
	/* Of entries only. */
	RECORD_REMOVE_WRITE,
	RECORD_EMPTY,
};

struct record_call {
	enum record_kind kind;
	uint64_t addr, len;	    /* of a move: the source */
	uint64_t new_addr, new_len; /* move only */
	uint32_t prot;		    /* map, protect */
	uint32_t flags; /* map, move, sync; lock's `on`; advise's advice; entries_existing of a map */
	int fd;			    /* map only, else -1 */
	uint64_t off;		    /* map only */
	int result;
};

#define RECORD_KEPT 64 /* calls */

/* The call made `back` calls ago (0: the last one). False: forgotten, or there was none. */
bool record_last(const struct vms_mmu *mmu, unsigned back, struct record_call *out);

/* What the recording backend's entries lose that nobody asked to lose. */
enum record_loss {
	RECORD_LOSE_NOTHING,
	/* unmap, remove_write and protect are about whole aligned blocks; around what a protect is
	 * for, entries go. A map that fails takes the entries in its blocks. */
	RECORD_LOSE_BLOCKS,
	/* remove_write and protect of a part of a block take all entries of the block; unmap and a
	 * map that fails as above. */
	RECORD_LOSE_SPLIT,
	/* Whatever takes anything takes everything. */
	RECORD_LOSE_ALL,
};

/* block: bytes, a power of two, at least a granule. At any time; other backends are left alone. */
void record_lose(struct vms_mmu *mmu, enum record_loss loss, uint64_t block);
/* From now on it says that it is EAGER (entries.h). Before a space is attached. */
void record_eager(struct vms_mmu *mmu);

#endif
