/* SPDX-License-Identifier: MIT */
/*
 * trace.h: events for a debugging person: static probes of provider `vmspace` (perf, bpftrace,
 * gdb), one nop each where no one looks; nothing without sys/sdt.h.
 *
 * Names and arguments are the list in trace.def; TRACE(name, a, b, c) is the only way in.
 */
#ifndef BASE_TRACE_H
#define BASE_TRACE_H

#include <stdint.h>

#include "vms_config.h"

enum trace_event {
#define TRACE_EVENT(name, a, b, c) TRACE_##name,
#include "base/trace.def"
#undef TRACE_EVENT
	TRACE_EVENTS
};

#if VMS_TRACE_USDT
#include <sys/sdt.h>
#define TRACE_PROBE(name, a, b, c) \
	STAP_PROBE3(vmspace, name, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c))
#else
#define TRACE_PROBE(name, a, b, c) ((void)(a), (void)(b), (void)(c))
#endif

/* TRACE_##name makes a misspelt name a compile error in every build. */
#define TRACE(name, a, b, c)                \
	do {                                \
		(void)TRACE_##name;         \
		TRACE_PROBE(name, a, b, c); \
	} while (0)

/* The name of an event, for people; NULL outside the enum. */
const char *trace_event_name(enum trace_event event);

#endif
