// SPDX-License-Identifier: MIT
/* public.c: the arena part of vmspace/object.h. */
#include <errno.h>
#include <string.h>

#include "base/fail.h"
#include "store/inside.h"

int vms_arena_create(const struct vms_arena_params *params, struct vms_arena **arena)
{
	if (!params || !arena || params->size < sizeof(*params))
		return fail(-EINVAL, "arena: params are missing or short");
	return arena_create(world_default, params, arena);
}

struct vms_arena *vms_arena_ref(struct vms_arena *arena)
{
	return arena_ref(arena);
}

void vms_arena_unref(struct vms_arena *arena)
{
	if (arena)
		arena_unref(arena);
}

int vms_arena_info(struct vms_arena *arena, struct vms_arena_info *info)
{
	if (!info || info->size < sizeof(*info))
		return fail(-EINVAL, "arena: info is missing or short");
	arena_info(arena, info);
	return 0;
}

int vms_arena_reclaim(struct vms_arena *arena, uint64_t bytes, uint64_t *freed)
{
	uint64_t got, before, page = UINT64_C(1) << arena->page_shift;
	int err = arena_usable(arena);

	if (err)
		return err;
	/* Counted where it happens: what eviction frees past the cache's bound is punched there. */
	before = atomic_load_explicit(&arena->punched, memory_order_relaxed);
	got = arena_trim(arena, bytes);
	if (got < bytes) {
		arena_evict(arena, (bytes - got - 1) / page + 1);
		arena_trim(arena, bytes - got);
	}
	if (freed)
		*freed = (atomic_load_explicit(&arena->punched, memory_order_relaxed) - before) *
			 page;
	return 0;
}
