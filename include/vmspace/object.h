/* SPDX-License-Identifier: MIT */
/*
 * object.h: content. An object is numbered pages with bytes; it knows no addresses.
 *
 *	arena		where the bytes of objects are: one sparse memfd of this process
 *	object		anonymous, a host file, the caller's memory, or filled by a pager (pager.h)
 *	child		a snapshot, an overlay, a slice or a second name of an object
 *
 * Offsets, lengths and sizes are bytes; ranges are half-open. A page is the host's page, P below.
 * Bytes that nobody wrote read as zero and take no memory.
 *
 * Every call is safe from any thread. Reading pages that are there takes no lock. A call either
 * did all of what it says or nothing, but for COMMIT, PREFETCH and ALWAYS_NEED, which keep the
 * pages they got before an error (that changes no content), and reads, whose buffer is then
 * undefined. An error may leave pages that a pager or a file brought, and one of the object's own
 * where it was about to zero a part of a shared one: shares may have changed then, no content has.
 * `buf` must not be memory that shows an object of the same family (an object, its ancestors and
 * descendants).
 *
 * Waiting: a call that needs a pager's answer links *wait and returns VMS_WAIT: vms_wait_block()
 * and call again. With wait == NULL it returns -EAGAIN instead, and asks nothing of the pager.
 *
 * Errors, the same for every call:
 *	-EINVAL   bad flags, misaligned, short params		-ERANGE  beyond the object, or wraps
 *	-ENOMEM   no memory, or past the arena's limit		-EBUSY   pinned, in use, detached
 *	-ENOTSUP  this kind of object cannot do it		-ENOENT  the content was discarded
 *	-EPERM    not resizable; the pin count is full; not locked since a discard
 *	-EACCES   the object may not be written			-EAGAIN  would have to wait
 *	-ESTALE   the arena belongs to the process that this one was forked from
 *	-EIO, -EBADMSG, -ENOSPC, -EOVERFLOW: what a pager or a file answered
 * Where several apply, the first in the order a call's list gives is returned; but -ESTALE comes
 * before all of them.
 */
#ifndef VMSPACE_OBJECT_H
#define VMSPACE_OBJECT_H

#include <vmspace/vmspace.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vms_arena;
struct vms_object;
struct vms_pager;

/* ---- Arenas ---- */

struct vms_arena_params {
	size_t size;	  /* sizeof(struct vms_arena_params) */
	uint32_t flags;	  /* 0 */
	uint64_t limit;	  /* bytes that may be granted at once; 0: as many as `reserve` */
	/* Bytes of address space for pages, rounded up, at most 16 TiB. 0: 1 TiB, or half of it and so
	 * on where the host refuses that; info tells. */
	uint64_t reserve;
};

/*
 * vms_arena_create - a place for pages.
 *
 * The arena is one memfd, mapped linearly as it is handed out, never inherited by a forked child
 * and never in a core dump. It takes address space at once and memory page by page. Freed pages are
 * kept for the next use, at most 4 MiB or an eighth of what is granted; vms_arena_reclaim() gives
 * them back at once.
 *
 * Ownership: gives one reference; every object holds one.
 * Returns:   0, or
 *            -EINVAL  short params, unknown flags, reserve above 16 TiB
 *            -ENOMEM  no memory, or no address space (RLIMIT_AS): the sentence says which
 *            -EMFILE, -ENFILE  no descriptor
 *            -ENOTSUP  the host has no memfd
 * Since:     0.2
 */
VMS_API int vms_arena_create(const struct vms_arena_params *params, struct vms_arena **arena);
VMS_API struct vms_arena *vms_arena_ref(struct vms_arena *arena);
VMS_API void vms_arena_unref(struct vms_arena *arena); /* NULL is fine */

struct vms_arena_info {
	size_t size;	     /* sizeof(struct vms_arena_info), set by the caller */
	uint64_t page_size;  /* P */
	uint64_t limit;	     /* bytes */
	uint64_t granted;    /* bytes of pages that objects have: the sum of their exact shares */
	uint64_t cached;     /* bytes of freed pages whose memory the host has not got back yet */
	uint64_t reserved;   /* bytes of address space for pages */
	uint64_t handed_out; /* bytes of it that have been mapped so far */
	uint64_t metadata;   /* bytes of bookkeeping: frames, tree nodes, objects */
	uint64_t evicted;    /* pages that were taken back under the limit so far */
};

/* vms_arena_info - copy the counters. Returns: 0 or -EINVAL (short struct). Since: 0.2 */
VMS_API int vms_arena_info(struct vms_arena *arena, struct vms_arena_info *info);

/*
 * vms_arena_reclaim - free up to `bytes`: freed pages the host has not got back, then pages with
 * the DONT_NEED hint, then unlocked discardable objects, then clean pages of paged objects. Never
 * a pinned, dirty or always-needed page.
 *
 * Cost: grows with what is freed. Does not wait.
 * Returns: 0 and *freed (bytes of memory given back; may be NULL), or -ESTALE. Since: 0.2
 */
VMS_API int vms_arena_reclaim(struct vms_arena *arena, uint64_t bytes, uint64_t *freed);

/* ---- Creating objects ---- */

/* Flags of vms_object_params; each call says which it takes. */
#define VMS_OBJECT_RESIZABLE   0x1u
#define VMS_OBJECT_DISCARDABLE 0x2u  /* may be emptied while not locked */
#define VMS_OBJECT_CONTIGUOUS  0x4u  /* all pages at birth, adjacent in the arena, for life */
#define VMS_OBJECT_TRAP_DIRTY  0x8u  /* paged: a first write waits for the pager's leave */
#define VMS_OBJECT_NO_WRITE    0x10u /* writes through this handle are refused */

struct vms_object_params {
	size_t size;	/* sizeof(struct vms_object_params) */
	uint32_t flags; /* VMS_OBJECT_*; unknown or unfitting bits are refused */
	uint64_t bytes; /* the size, rounded up to a page; the stream size keeps the value */
	/*
	 * Called when the last child of any kind has gone (reference row F82); with nothing held,
	 * from the thread that let the child go. May be NULL.
	 */
	void (*no_children)(void *arg);
	void (*release)(void *arg); /* called after the object has gone; may be NULL */
	void *arg;
	const char *name; /* for people; copied; may be NULL */
};

/*
 * vms_object_create - anonymous memory. Flags: RESIZABLE, DISCARDABLE, CONTIGUOUS, NO_WRITE.
 *
 * Ownership: gives one reference.
 * Cost:      none a page, but for CONTIGUOUS, which grants them all.
 * Returns:   0, or
 *            -EINVAL  params, flags; RESIZABLE with CONTIGUOUS or with NO_WRITE
 *            -ERANGE  bytes above 2^62 - P
 *            -ESTALE, -ENOMEM
 * Since:     0.2
 * Source:    reference rows F59, F61
 */
VMS_API int vms_object_create(struct vms_arena *arena, const struct vms_object_params *params,
			      struct vms_object **obj);

/*
 * vms_object_create_file - a host file or memfd: reads and writes are the file's own.
 *
 * The descriptor is duplicated; a write needs it opened for writing. bytes == 0: the file's size
 * now. A file that is shorter than the object, because somebody truncated it, makes the calls
 * that touch the lost part return -EIO; it never raises SIGBUS. Flags: NO_WRITE.
 * The arena is where private copies of its pages go (SNAPSHOT_LAZY).
 *
 * Returns:   0, or -EINVAL, -EBADF, -ENOTSUP (no regular file), -ERANGE, -EMFILE, -ESTALE, -ENOMEM
 * Since:     0.2
 */
VMS_API int vms_object_create_file(struct vms_arena *arena, int fd,
				   const struct vms_object_params *params, struct vms_object **obj);

/*
 * vms_object_create_host - memory that the caller owns: [hva, hva + bytes), for as long as the
 * object lives; params->release is called when its last user has gone.
 *
 * It owns no pages and has no children but slices. Flags: NO_WRITE.
 * Returns:   0, or -EINVAL (also: hva or bytes not page aligned, bytes 0), -ERANGE (wraps), -ENOMEM
 * Since:     0.2
 * Source:    reference row F60
 */
VMS_API int vms_object_create_host(void *hva, const struct vms_object_params *params,
				   struct vms_object **obj);

/*
 * vms_object_create_paged - an object whose pages come from a pager (pager.h), which gets `key`
 * with every request. Flags: RESIZABLE, TRAP_DIRTY.
 *
 * Ownership: the object holds a reference to the pager.
 * Returns:   0, or -EINVAL, -ERANGE, -EBUSY (the pager is closed), -ESTALE, -ENOMEM
 * Since:     0.2
 * Source:    reference row F94
 */
VMS_API int vms_object_create_paged(struct vms_arena *arena, struct vms_pager *pager, uint64_t key,
				    const struct vms_object_params *params,
				    struct vms_object **obj);

enum vms_child_kind {
	VMS_CHILD_SNAPSHOT = 1,	     /* behaves like a copy of the range at this instant */
	VMS_CHILD_SNAPSHOT_LAZY,     /* a page is private from its first write on; until then it
					may show the parent's changes */
	VMS_CHILD_SNAPSHOT_MODIFIED, /* over a pager or file: what the parent has modified is
					copied at this instant, the rest is as LAZY */
	VMS_CHILD_SLICE,	     /* a window on the parent's own pages */
	VMS_CHILD_REFERENCE,	     /* a second name of the same pages and size */
};

/*
 * vms_object_child - a child of [off, off + params->bytes) of parent.
 *
 * The range may start or end past the parent: zeros there. What a child has inherited never grows
 * again when the parent shrinks and grows. RESIZABLE is the child's own property.
 *
 *	SNAPSHOT	of anonymous memory, and of anonymous snapshots. Waits for writers that
 *			are inside the family. Not of anything above a pager or a file.
 *	SNAPSHOT_LAZY	of anonymous memory: a SNAPSHOT. Above a pager or file: an overlay.
 *	SNAPSHOT_MODIFIED  of anonymous memory: a SNAPSHOT. Above a pager or file: an overlay that
 *			starts with what the parent overlay has written. Neither of a slice of an
 *			overlay.
 *	SLICE		inside a parent that cannot resize. Flags: none but NO_WRITE.
 *	REFERENCE	off and bytes 0.
 *
 * Ownership: gives one reference; the parent's content lives as long as a child needs it.
 * Cost:      independent of the parent's size: a few tree nodes at the two ends of the range.
 * Returns:   0, or
 *            -EINVAL   params, kind, flags (RESIZABLE with NO_WRITE; RESIZABLE slice), off not page
 *                      aligned
 *            -ERANGE   off + bytes wraps, bytes above 2^62 - P
 *            -EINVAL   a slice that leaves its parent; a reference with off or bytes; SNAPSHOT* of
 *                      a CONTIGUOUS object
 *            -ENOTSUP  kind and parent do not fit (above); parent DISCARDABLE; a SNAPSHOT of a
 *                      slice; a slice of a resizable object; a reference of a slice, a CONTIGUOUS or
 *                      a host object, or a resizable one of an object that is not
 *            -EBUSY    SNAPSHOT*: a page of the range is pinned
 *            -ERANGE   SNAPSHOT*: the offset from the root is too large
 *            -ESTALE, -ENOMEM
 * Since:     0.2
 * Source:    reference rows F84 to F91
 */
VMS_API int vms_object_child(struct vms_object *parent, enum vms_child_kind kind, uint64_t off,
			     const struct vms_object_params *params, struct vms_object **child);

VMS_API struct vms_object *vms_object_ref(struct vms_object *obj);
VMS_API void vms_object_unref(struct vms_object *obj); /* NULL is fine */

/* ---- Bytes ---- */

/*
 * vms_object_read, vms_object_write - copy bytes out of or into an object.
 *
 * Blocking:  only for memory; a pager is waited for through *wait.
 * Cost:      a copy; reading pages that are there takes no lock.
 * Returns:   0, VMS_WAIT, or
 *            -ERANGE  off + len beyond the object, or wraps (len 0 at the very end is fine)
 *            -EACCES  write: NO_WRITE, or a file not opened for writing
 *            -ENOENT  discarded
 *            -EAGAIN, -ENOMEM, -ESTALE, what the pager or the file answered
 * Since:     0.2
 * Source:    reference row F63
 */
VMS_API int vms_object_read(struct vms_object *obj, uint64_t off, void *buf, size_t len,
			    struct vms_wait *wait);
VMS_API int vms_object_write(struct vms_object *obj, uint64_t off, const void *buf, size_t len,
			     struct vms_wait *wait);

enum vms_object_op {
	VMS_OBJECT_COMMIT = 1, /* have pages of its own for the range, rounded outward and cut at
				  the object's end */
	VMS_OBJECT_DECOMMIT,   /* give whole pages back; they read zero. Page aligned */
	VMS_OBJECT_ZERO,       /* any bytes read zero; whole pages are given back */
	VMS_OBJECT_PREFETCH,   /* have the pages, wherever they belong; never copies into a child */
	VMS_OBJECT_ALWAYS_NEED, /* commit what a pager fills, zeros too; keep it from reclaim */
	VMS_OBJECT_DONT_NEED,	/* pages that are there are the first to be reclaimed */
};

/*
 * vms_object_op - an operation on a range.
 *
 * Returns:   0, VMS_WAIT, or
 *            -EINVAL   unknown op; DECOMMIT: off or len not page aligned
 *            -ERANGE   beyond the object (or the slice's window), or wraps
 *            -EACCES   ZERO, DECOMMIT: may not be written
 *            -ENOTSUP  DECOMMIT of a child with copies, an object that has such children, a paged,
 *                      file, host or contiguous object
 *            -EBUSY    DECOMMIT: a page is pinned
 *            -ENOENT   COMMIT: discarded
 *            -EAGAIN, -ENOMEM, -ESTALE, what the pager or the file answered
 * Since:     0.2
 * Source:    reference rows F65 to F67, F78, F79
 */
VMS_API int vms_object_op(struct vms_object *obj, enum vms_object_op op, uint64_t off, uint64_t len,
			  struct vms_wait *wait);

/*
 * vms_object_resize - set the size, rounded up to a page; the stream size becomes `bytes`.
 *
 * Shrinking drops pages, and what children inherited of them; growing shows zeros. Where the stream
 * ends inside a page from now on, the rest of that page becomes zero: an overlay may have to wait for
 * it. Of a paged object it is left alone if it is absent.
 * Returns:   0, VMS_WAIT, or -EPERM (not RESIZABLE), -ERANGE, -EBUSY (a page beyond is pinned),
 *            -EAGAIN, -ENOMEM, -ESTALE, what the pager or the file answered
 * Since:     0.2
 * Source:    reference rows F62, F106
 */
VMS_API int vms_object_resize(struct vms_object *obj, uint64_t bytes, struct vms_wait *wait);

/*
 * vms_object_set_stream_size - the length of the content, at most the object's size.
 *
 * Lowering it zeroes the rest of its last page. Nothing else depends on it here.
 * Returns:   0, VMS_WAIT, or -ERANGE, -ENOTSUP (file and host objects, slices), -EACCES (NO_WRITE),
 *            -EAGAIN, -ENOMEM, -ESTALE, what the pager or the file answered
 * Since:     0.2
 * Source:    reference row F64
 */
VMS_API int vms_object_set_stream_size(struct vms_object *obj, uint64_t bytes,
				       struct vms_wait *wait);

/*
 * vms_object_pin, vms_object_unpin - keep pages where they are: not moved, evicted, decommitted,
 * shared with a snapshot or dropped by a resize. Counted a page; all of the range or nothing.
 * Pinning commits first, and with `writing` also dirties.
 *
 * Returns:   0, VMS_WAIT, or -EINVAL (len 0), -ERANGE, -ENOTSUP (file objects), -EACCES (`writing`:
 *            may not be written), -ENOENT (discarded), -EPERM (a count would pass 65,535), -EAGAIN,
 *            -ENOMEM, -ESTALE; what the pager answered.
 *            unpin: -EINVAL (len 0), -ERANGE, -ENOTSUP (file objects), -EBUSY (a page is not
 *            pinned; nothing changed), -ESTALE
 * Since:     0.2
 * Source:    reference row F68
 */
VMS_API int vms_object_pin(struct vms_object *obj, uint64_t off, uint64_t len, int writing,
			   struct vms_wait *wait);
VMS_API int vms_object_unpin(struct vms_object *obj, uint64_t off, uint64_t len);

/*
 * vms_object_lookup - tell fn of each run of pages that are there and the object's own alone.
 *
 * fn(arg, off, hva, len): adjacent bytes in this process, valid while the pages are pinned.
 * fn returns 0 to go on; anything else stops and is returned. Called with nothing held.
 * Returns:   0, fn's value, or -ERANGE, -ENOTSUP (file objects), -ESTALE
 * Since:     0.2
 * Source:    reference row F69
 */
VMS_API int vms_object_lookup(struct vms_object *obj, uint64_t off, uint64_t len,
			      int (*fn)(void *arg, uint64_t off, void *hva, uint64_t len),
			      void *arg);
/*
 * vms_object_contiguous - the address of a range that is one run, of a contiguous, host or fully
 * present object.
 * Returns: 0, or -EINVAL (misaligned, len 0), -ERANGE, -ENOENT (a hole, or not one run), -ENOTSUP
 * Since:     0.2
 */
VMS_API int vms_object_contiguous(struct vms_object *obj, uint64_t off, uint64_t len, void **hva);

/* Keep pages that are in dst already, instead of replacing them (reference row F70). */
#define VMS_TRANSFER_KEEP 0x1u

/*
 * vms_object_transfer - dst's range gets the content of src's range, which becomes zero. Pages
 * move where they can and are copied where others share them.
 *
 * dst and src may be one object, also overlapping: src's bytes outside dst become zero.
 * Returns:   0, or
 *            -EINVAL   flags, off, len or src_off not page aligned
 *            -EACCES   either may not be written
 *            -ERANGE   beyond either, or wraps
 *            -ENOTSUP  paged, file, host or contiguous; above a pager or a file;
 *                      discardable; objects of two arenas
 *            -EBUSY    a page of either range is pinned
 *            -ENOMEM, -ESTALE
 * Since:     0.2
 * Source:    reference row F71
 */
VMS_API int vms_object_transfer(struct vms_object *dst, uint64_t off, uint64_t len,
				struct vms_object *src, uint64_t src_off, uint32_t flags);

/*
 * vms_object_lock, _try_lock, _unlock - of discardable objects: between lock and unlock the content
 * stays. An object is born unlocked. Locks are counted.
 *
 * lock succeeds after a discard and says so: *discarded (may be NULL) = 1; everything reads zero
 * then. try_lock fails instead.
 * Returns:   0, or -ENOTSUP (not discardable), -EPERM (try_lock: discarded), -EBUSY (unlock: not
 *            locked), -ESTALE
 * Since:     0.2
 * Source:    reference row F77
 */
VMS_API int vms_object_lock(struct vms_object *obj, int *discarded);
VMS_API int vms_object_try_lock(struct vms_object *obj);
VMS_API int vms_object_unlock(struct vms_object *obj);

/* ---- Asking ---- */

/* vms_object_info.kind */
enum vms_object_kind {
	VMS_OBJECT_KIND_ANON = 1,
	VMS_OBJECT_KIND_FILE,
	VMS_OBJECT_KIND_HOST,
	VMS_OBJECT_KIND_PAGED,
	VMS_OBJECT_KIND_SLICE,
	VMS_OBJECT_KIND_REFERENCE,
};

struct vms_object_info {
	size_t size;		/* sizeof(struct vms_object_info), set by the caller */
	uint64_t id, parent_id; /* unique in the process, from 1; parent 0: none */
	enum vms_object_kind kind;
	uint32_t flags;	      /* as created */
	uint32_t snapshot;    /* 1: a snapshot or overlay */
	uint64_t bytes;	      /* size */
	uint64_t stream_size; /* bytes */
	uint64_t children;
	uint64_t total;	   /* bytes of pages that it sees and the arena has; slice, reference: 0 */
	uint64_t owned;	   /* bytes of them that nobody else sees */
	uint64_t pinned;   /* pins that are held */
	uint32_t modified; /* paged: written or resized since the last reset (pager.h) */
	const char *name;  /* lives as long as the object; "" for none */
};

/* vms_object_info - Returns: 0 or -EINVAL (short struct), -ESTALE. `owned` is computed. Since: 0.2
 */
VMS_API int vms_object_info(struct vms_object *obj, struct vms_object_info *info);

/* `pages` pages are seen by `sharers` objects each. */
struct vms_share {
	uint64_t sharers, pages;
};

/*
 * vms_object_share - the exact share of the granted pages that is this object's: a page seen by
 * three objects counts a third in each. The share is the sum of pages / sharers over the rows,
 * in pages; over all objects of an arena the shares add up to what it has granted.
 *
 * rows: *n of them on entry, used ones on return, by rising sharers. References and slices have
 * none: their pages are those of the object they name.
 * Cost:      grows with the tree nodes of the object's family.
 * Returns:   0, -EINVAL, -EOVERFLOW (more rows: *n says how many), -ESTALE
 * Since:     0.2
 * Source:    reference row F111
 */
VMS_API int vms_object_share(struct vms_object *obj, struct vms_share *rows, size_t *n);

#ifdef __cplusplus
}
#endif
#endif
