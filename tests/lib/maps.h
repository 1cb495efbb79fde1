/* SPDX-License-Identifier: MIT */
/* maps.h: a mapping in one line. */
#ifndef TESTS_MAPS_H
#define TESTS_MAPS_H

#include "vmspace/space.h"

/* [addr, addr + len) shows the object from off on. */
static inline int map_at(struct vms_region *r, uint64_t addr, struct vms_object *obj, uint64_t off,
			 uint64_t len, uint32_t prot, uint32_t flags)
{
	struct vms_map_params p = { .size = sizeof(p),
				    .flags = flags,
				    .prot = prot,
				    .place = { .flags = VMS_PLACE_AT, .addr = addr },
				    .object = obj,
				    .off = off,
				    .len = len };

	return vms_map(r, &p, NULL);
}

#endif
