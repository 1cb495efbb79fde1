/* SPDX-License-Identifier: MIT */
/*
 * vmspace.h: what every part of the library shares: version, rights, errors.
 *
 * The library installs no signal handler, starts no thread and never forks. It never aborts
 * on what a caller, a guest or a file gives it.
 *
 * Three kinds of result, never mixed:
 *
 *	library calls	0, or a negative errno; the sentence for a person is vms_last_error()
 *	faults		an enum (mman.h, space.h)
 *	guest calls	what the guest sees: a value, or the guest's own negative errno (mman.h)
 */
#ifndef VMSPACE_VMSPACE_H
#define VMSPACE_VMSPACE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define VMS_API __attribute__((visibility("default")))
#else
#define VMS_API
#endif

/* Version of the header; vms_version() tells that of the library. */
#define VMS_VERSION "0.4.0"

/* Rights of a mapping. The values are Linux's PROT_READ, PROT_WRITE, PROT_EXEC. */
#define VMS_PROT_NONE  0u
#define VMS_PROT_READ  1u
#define VMS_PROT_WRITE 2u
#define VMS_PROT_EXEC  4u

/*
 * vms_version - the library's version, such as "0.4.0".
 *
 * Lifetime: static.	Since: 0.1
 */
VMS_API const char *vms_version(void);

/*
 * vms_last_error - a sentence about this thread's last library call that failed.
 *
 * It names what clashed: both ranges, the file, the limit. Empty when nothing failed yet. Guest
 * calls (mman.h) set none: their errno is the whole answer, and they are hot.
 *
 * Lifetime: until this thread's next library call that fails; do not free.	Since: 0.1
 */
VMS_API const char *vms_last_error(void);

/*
 * A wait: the caller's storage for one answer that is still to come, of a pager. Embed it or put it
 * on the stack; it must stay where it is while a call has returned VMS_WAIT for it and it was
 * neither answered nor cancelled. One call at a time uses a wait.
 */
#define VMS_WAIT 1 /* result of a call: wait on the vms_wait it was given, then call again */

struct vms_wait {
	uint64_t opaque[24];
};

/* vms_wait_init - make it ready. Since: 0.2 */
VMS_API void vms_wait_init(struct vms_wait *wait);

/*
 * vms_wait_block - wait for the answer, at most `timeout` nanoseconds; negative: for ever.
 *
 * Blocking:  yes.
 * Returns:   0: call again; -ETIMEDOUT: not yet, it stays linked; or the code that the pager failed
 *            with. 0 at once when nothing is waited for.
 * Since:     0.2
 */
VMS_API int vms_wait_block(struct vms_wait *wait, int64_t timeout);

/*
 * vms_wait_cancel - do not wait any more. If others wait for the same pages the request stays with
 * them, else the pager is told. Must be called before the storage goes, unless it was answered.
 * Since:     0.2
 */
VMS_API void vms_wait_cancel(struct vms_wait *wait);

#ifdef __cplusplus
}
#endif
#endif
