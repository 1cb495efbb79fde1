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
 *	faults		an enum (mman.h)
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
#define VMS_VERSION "0.1.0"

/* Rights of a mapping. The values are Linux's PROT_READ, PROT_WRITE, PROT_EXEC. */
#define VMS_PROT_NONE  0u
#define VMS_PROT_READ  1u
#define VMS_PROT_WRITE 2u
#define VMS_PROT_EXEC  4u

/*
 * vms_version - the library's version, such as "0.1.0".
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

#ifdef __cplusplus
}
#endif
#endif
