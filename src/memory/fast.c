// SPDX-License-Identifier: MIT
/*
 * fast.c: the library's half of vmspace/fast.h, whose constants are the table's.
 */
#include "vmspace/fast.h"

#include <errno.h>

#include "memory/port.h"

_Static_assert(VMS_FAST_LEVEL == TABLE_BITS && VMS_FAST_ENTRIES == TABLE_ENTRIES, "nodes");
_Static_assert(VMS_FAST_SLOW == ENTRY_SLOW && VMS_FAST_NODE == ENTRY_NODE &&
		       VMS_FAST_BITS == ENTRY_BITS,
	       "entries");
_Static_assert(sizeof(struct vms_fast_entry) == sizeof(struct table_entry) &&
		       offsetof(struct vms_fast_entry, at) == offsetof(struct table_entry, at) &&
		       offsetof(struct vms_fast_entry, more) == offsetof(struct table_entry, more),
	       "entries");
_Static_assert(sizeof(_Atomic(uint64_t)) == sizeof(uint64_t) &&
		       sizeof(_Atomic(uint32_t)) == sizeof(uint32_t),
	       "what is atomic here is read as a plain word there");

int vms_fast_init(struct vms_port *port, struct vms_fast *fast)
{
	if (!port->plain)
		return fail(-ENOTSUP,
			    "fast: the port has a range, a translator, or not both rights");
	*fast = (struct vms_fast){ .root = (const uint64_t *)&port->mem->table.root,
				   .logging = (const uint32_t *)&port->mem->logging,
				   .port = port };
	return 0;
}

void vms_fast_mark(struct vms_port *port, uint64_t more, uint64_t gpa, unsigned size)
{
	dirty_mark_entry(port->mem, more, gpa, size);
}
