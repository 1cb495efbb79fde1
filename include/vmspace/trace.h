/* SPDX-License-Identifier: MIT */
/*
 * trace.h: what the library did last: events in a ring in memory.
 *
 * There is one ring a process, of VMS_TRACE_EVENTS events; a new one takes the place of the oldest.
 * The events are those of the static probes (perf, bpftrace, gdb: provider "vmspace"), which are
 * there without this. Switched off, an event costs a test and a branch that is not taken.
 *
 * Every call is safe from any thread. Writing events and reading them never waits.
 */
#ifndef VMSPACE_TRACE_H
#define VMSPACE_TRACE_H

#include <vmspace/vmspace.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VMS_TRACE_EVENTS 32768u

struct vms_trace_event {
	uint64_t number; /* counted in the process; a jump: events between them are lost */
	uint64_t time;	 /* nanoseconds, CLOCK_MONOTONIC */
	uint32_t thread; /* gettid(2) */
	uint32_t event;	 /* for vms_trace_name() */
	uint64_t arg[3]; /* for vms_trace_arg() */
};

/*
 * vms_trace_start - events go to the ring from now on.
 *
 * events: names, separated by commas, such as "fault,copy"; NULL: all. A second start changes the
 *         choice. What was written before the first, or before the last stop, is not shown again.
 * Returns: 0, or -EINVAL (a name that is none: the sentence says which).
 * Since:   0.3
 */
VMS_API int vms_trace_start(const char *events);

/* vms_trace_stop - no more events. Those in the ring can still be read. Since: 0.3 */
VMS_API void vms_trace_stop(void);

/*
 * vms_trace_read - copy events, the oldest first, from number *cursor on; *cursor moves behind the
 * last one that was copied or found lost. Start with 0, and go on with what it has become.
 *
 * An event that is being written at this moment is left out, and is not seen later with this
 * cursor. No event is ever seen in part.
 * Returns: how many were copied, at most n; 0: no more for now.
 * Since:   0.3
 */
VMS_API size_t vms_trace_read(uint64_t *cursor, struct vms_trace_event *events, size_t n);

/*
 * vms_trace_name - the name of an event, from 0 on; NULL past the last.
 * vms_trace_arg - what its argument 0, 1 or 2 is, such as "first byte"; "": it has none; NULL: no
 * such event or argument.
 *
 * Lifetime: static.	Since: 0.3
 */
VMS_API const char *vms_trace_name(uint32_t event);
VMS_API const char *vms_trace_arg(uint32_t event, unsigned arg);

#ifdef __cplusplus
}
#endif
#endif
