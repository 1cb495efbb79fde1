/* SPDX-License-Identifier: MIT */
/*
 * trace.h: events for a debugging person. Each goes to a static probe of provider `vmspace` (perf,
 * bpftrace, gdb), one nop where no one looks and nothing without sys/sdt.h; and, while it is
 * switched on, to a ring in memory (vmspace/trace.h).
 *
 * Names and arguments are the list in trace.def; TRACE(name, a, b, c) is the only way in. It may be
 * used anywhere: it takes no lock, allocates nothing, and changes nothing but the ring.
 */
#ifndef BASE_TRACE_H
#define BASE_TRACE_H

#include <stdatomic.h>
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
#define TRACE_PROBE(name, a, b, c) STAP_PROBE3(vmspace, name, a, b, c)
#else
#define TRACE_PROBE(name, a, b, c) ((void)0)
#endif

/* A bit for each event that goes to the ring. */
extern _Atomic(uint64_t) trace_on __attribute__((visibility("hidden")));
void trace_put(enum trace_event event, uint64_t a, uint64_t b, uint64_t c)
	__attribute__((cold, noinline, visibility("hidden")));

/* TRACE_##name makes a misspelt name a compile error in every build. */
#define TRACE(name, a, b, c)                                                                     \
	do {                                                                                     \
		uint64_t trace_a_ = (uint64_t)(a), trace_b_ = (uint64_t)(b),                     \
			 trace_c_ = (uint64_t)(c);                                               \
		TRACE_PROBE(name, trace_a_, trace_b_, trace_c_);                                 \
		if (__builtin_expect((atomic_load_explicit(&trace_on, memory_order_relaxed) >>   \
				      TRACE_##name & 1) != 0,                                    \
				     0))                                                         \
			trace_put(TRACE_##name, trace_a_, trace_b_, trace_c_);                   \
	} while (0)

/* The name of an event, for people; NULL outside the enum. */
const char *trace_event_name(enum trace_event event);

#endif
