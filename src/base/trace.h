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

#if VMS_TRACE_USDT
#include <sys/sdt.h>
#define TRACE(name, a, b, c)                                                                       \
	STAP_PROBE3(vmspace, name, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c))
#else
#define TRACE(name, a, b, c) ((void)(a), (void)(b), (void)(c))
#endif

#endif
