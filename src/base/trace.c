// SPDX-License-Identifier: MIT
#include "base/trace.h"

#include <stddef.h>

static const char *const names[TRACE_EVENTS] = {
#define TRACE_EVENT(name, a, b, c) #name,
#include "base/trace.def"
#undef TRACE_EVENT
};

const char *trace_event_name(enum trace_event event)
{
	return (unsigned)event < TRACE_EVENTS ? names[event] : NULL;
}
