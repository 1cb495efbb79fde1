/* SPDX-License-Identifier: MIT */
/*
 * pager.h: who fills a paged object's pages, and takes them back.
 *
 * The library tells the pager of missing pages and of first writes; the pager answers with the
 * calls below, from the same call, later, or from another thread. Offsets and lengths are bytes,
 * page aligned unless said otherwise.
 *
 * Dirty states of a page:
 *
 *	 supply        first write           writeback_begin
 *	--------> clean -----------> dirty -----------------> awaiting clean
 *	            ^                  ^                        |      |
 *	            |                  +---- write meanwhile ---+      |
 *	            +--------------------- writeback_end --------------+
 *
 * Without TRAP_DIRTY the first write dirties silently; with it the writer waits until the pager
 * answers a DIRTY request with vms_pager_dirtied().
 */
#ifndef VMSPACE_PAGER_H
#define VMSPACE_PAGER_H

#include <vmspace/object.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vms_request_kind {
	VMS_REQUEST_READ = 1, /* pages are missing: supply them, or fail */
	VMS_REQUEST_DIRTY,    /* clean pages are about to be written: dirtied, or fail */
};

/*
 * Called with no lock held, from the thread that asked or gave up. A range is requested once, until
 * it is answered or cancelled, however many wait for it. The calls may answer at once.
 * A request can arrive for a range that was answered a moment before: answer it again or not at
 * all. When a resize cuts a request's end off, or the failure of one page answers all of it, the
 * pager is not told: an answer past the new end is -ERANGE, and the part before it has still to be
 * answered.
 *
 * obj is the library's own name of the object for the calls below, not the pointer that a caller
 * created (key tells objects apart). It is good until `complete` has returned, even where only
 * children of the object are left; it cannot be kept longer by a reference.
 */
struct vms_pager_ops {
	size_t size; /* sizeof(struct vms_pager_ops) */
	void (*request)(void *arg, struct vms_object *obj, uint64_t key, enum vms_request_kind kind,
			uint64_t off, uint64_t len);
	/* Nobody waits for this request any more. May be NULL. */
	void (*cancel)(void *arg, struct vms_object *obj, uint64_t key, enum vms_request_kind kind,
		       uint64_t off, uint64_t len);
	/*
	 * No call comes for this key any more: detached, or the object has gone. Where other threads
	 * are still in a call for it, the last of them calls this. May be NULL.
	 */
	void (*complete)(void *arg, uint64_t key);
	/* After close, when the last object of the pager has gone. May be NULL. */
	void (*release)(void *arg);
};

/*
 * vms_pager_create - a pager that calls ops, the *callback* pager.
 *
 * Ownership: the ops are copied; the pager lives until vms_pager_close and its last object's end.
 * Returns:   0, or -EINVAL (short ops, no request), -ENOMEM
 * Since:     0.2
 */
VMS_API int vms_pager_create(const struct vms_pager_ops *ops, void *arg, struct vms_pager **pager);

/*
 * vms_pager_close - detach every object of the pager, without `complete` calls, and give the
 * handle back. Dirty pages stay readable.
 * Since:     0.2
 * Source:    reference row F101
 */
VMS_API void vms_pager_close(struct vms_pager *pager); /* NULL is fine */

/*
 * vms_pager_file - a stock pager over a host file: key is the offset in the file of the object's
 * byte 0, in bytes. Pages are read with pread when they are needed, in the thread that needs them;
 * past the file's end they are zero. vms_pager_file_sync() writes dirty pages back. Its objects never
 * make a caller wait: calls need no struct vms_wait.
 *
 * The descriptor is duplicated. Returns: 0, or -EINVAL, -EBADF, -ENOTSUP (not a regular file),
 * -EMFILE, -ENOMEM.	Since: 0.2
 */
VMS_API int vms_pager_file(int fd, struct vms_pager **pager);

/*
 * vms_pager_file_sync - write the object's dirty pages to the file, begin to end of the write-back.
 * A write meanwhile leaves its page dirty, and so does a pin. Bytes past the stream size are not
 * written, and their page stays dirty where the file would read otherwise. A file that was shorter than the stream is
 * as long afterwards, where zeros at its end were dirty. Works after detach and close, too.
 *
 * Blocking:  for the file, and for another sync of the object.
 * Returns:   0, or -EINVAL (not an object of a file pager), -EIO, -ENOSPC and what pwrite answers,
 *            -ENOMEM: pages not written stay dirty.	Since: 0.2
 */
VMS_API int vms_pager_file_sync(struct vms_object *obj);

/*
 * vms_pager_supply - move pages from [src_off, src_off + len) of an anonymous object `src` of the
 * same arena to obj. Holes of src supply zeros. Pages that obj has are kept; src's range ends
 * empty. Whoever waits for pages of the range is woken.
 *
 * Returns:   0, or
 *            -EINVAL   misaligned, obj is not paged by `pager`
 *            -ERANGE   beyond either
 *            -ENOTSUP  src is not plain anonymous memory (discardable, contiguous), or of another
 *                      arena
 *            -EACCES   src may not be written
 *            -EBUSY    src is a child, has children, or is pinned; obj is detached
 *            -ENOMEM, -ESTALE
 * Since:     0.2
 * Source:    reference row F96
 */
VMS_API int vms_pager_supply(struct vms_pager *pager, struct vms_object *obj, uint64_t off,
			     uint64_t len, struct vms_object *src, uint64_t src_off);

/*
 * vms_pager_supply_bytes - the same, with a copy of the caller's bytes.
 * Since:     0.2
 */
VMS_API int vms_pager_supply_bytes(struct vms_pager *pager, struct vms_object *obj, uint64_t off,
				   const void *buf, uint64_t len);

/*
 * vms_pager_fail - whoever waits for a page of the range, to read or to write it, gets `error`:
 * -EIO, -EBADMSG, -EBUSY, -ENOSPC or -EOVERFLOW. Not sticky: the next access asks again.
 *
 * Returns:   0, or -EINVAL (also another error code), -ERANGE.	Since: 0.2
 * Source:    reference row F97
 */
VMS_API int vms_pager_fail(struct vms_pager *pager, struct vms_object *obj, uint64_t off,
			   uint64_t len, int error);

/*
 * vms_pager_dirtied - answer DIRTY: the range is dirty now; its writers are woken. Zero pages of
 * the range get memory.
 *
 * Returns:   0, or -EINVAL (also misaligned), -ERANGE, -ENOENT (a page is absent, or detached:
 * nothing changed), -ENOTSUP (no TRAP_DIRTY), -ENOMEM.	Since: 0.2 Source:    reference row F103
 */
VMS_API int vms_pager_dirtied(struct vms_pager *pager, struct vms_object *obj, uint64_t off,
			      uint64_t len);

struct vms_dirty_range {
	uint64_t off, len; /* bytes */
	uint32_t zero;	   /* 1: known to be zero, need not be read */
};

/*
 * vms_pager_query_dirty - dirty ranges (also awaiting clean) of [off, off + len), ascending,
 * joined.
 *
 * ranges: room for *n; on return *n are filled and *more says whether some were left out: go on
 * after the last one. off and len are rounded outward.
 * Returns:   0, or -EINVAL, -ERANGE.	Since: 0.2
 * Source:    reference row F104
 */
VMS_API int vms_pager_query_dirty(struct vms_pager *pager, struct vms_object *obj, uint64_t off,
				  uint64_t len, struct vms_dirty_range *ranges, size_t *n,
				  int *more);

/* The write-back is only of what query_dirty reported as zero. */
#define VMS_WRITEBACK_ZERO 0x1u

/*
 * vms_pager_writeback_begin, _end - dirty pages of the range become awaiting clean; at the end,
 * those that are still awaiting become clean. begin waits for writers that are inside. A pinned
 * page may be written at any moment: it stays dirty.
 *
 * Returns:   0, or -EINVAL, -ERANGE, -ENOMEM.	Since: 0.2
 * Source:    reference row F105
 */
VMS_API int vms_pager_writeback_begin(struct vms_pager *pager, struct vms_object *obj, uint64_t off,
				      uint64_t len, uint32_t flags);
VMS_API int vms_pager_writeback_end(struct vms_pager *pager, struct vms_object *obj, uint64_t off,
				    uint64_t len, uint32_t flags);

/*
 * vms_pager_detach - no request is made for obj any more: reads that wait or come fail -EBUSY,
 * clean pages are dropped, dirty ones stay; `complete` is called once. Snapshots keep what they
 * have.
 *
 * Returns:   0, or -EINVAL (not an object of this pager).	Since: 0.2
 * Source:    reference row F100
 */
VMS_API int vms_pager_detach(struct vms_pager *pager, struct vms_object *obj);

/*
 * vms_pager_modified - was the object written or resized since the last reset? Returns: 1, 0 or
 * -EINVAL.	Since: 0.2
 * Source:    reference row F107
 */
VMS_API int vms_pager_modified(struct vms_pager *pager, struct vms_object *obj, int reset);

#ifdef __cplusplus
}
#endif
#endif
