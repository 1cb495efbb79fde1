// SPDX-License-Identifier: MIT
/*
 * space.c: a program with a space of its own, for `vmspace show`: dumps it as JSON on stdout, and
 * writes on stderr what vms_next() says: start, end, rights, offset, object.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <vmspace/space.h>

#define P 4096ul

static struct vms_arena *arena;
static int failed;

static void must(int err)
{
	if (err != 0 && !failed) {
		fprintf(stderr, "%s\n", vms_last_error());
		failed = 1;
	}
}

static struct vms_object *memory(const char *name, uint64_t pages, uint64_t written)
{
	struct vms_object_params p = {.size = sizeof(p), .bytes = pages * P, .name = name};
	struct vms_object *obj = NULL;

	must(vms_object_create(arena, &p, &obj));
	for (uint64_t i = 0; i < written; i++)
		must(vms_object_write(obj, i * P, "x", 1, NULL));
	return obj;
}

static void show_at(struct vms_region *r, struct vms_object *obj, uint64_t addr, uint64_t off,
		    uint64_t pages, uint32_t prot, uint32_t flags)
{
	struct vms_map_params p = {.size = sizeof(p),
				   .flags = flags,
				   .prot = prot,
				   .place = {.flags = VMS_PLACE_AT, .addr = addr},
				   .object = obj,
				   .off = off * P,
				   .len = pages * P};

	must(vms_map(r, &p, NULL));
}

static struct vms_region *region(struct vms_region *parent, uint64_t addr, uint64_t pages,
				 uint32_t rights)
{
	struct vms_place at = {.flags = VMS_PLACE_AT, .addr = addr};
	struct vms_region_params p = {.size = sizeof(p), .rights = rights, .len = pages * P};
	struct vms_region *r = NULL;

	must(vms_region_create(parent, &at, &p, &r, NULL));
	return r;
}

int main(void)
{
	struct vms_arena_params ap = {.size = sizeof(ap), .reserve = 1ul << 32};
	struct vms_space_params sp = {.size = sizeof(sp)};
	struct vms_object_params cp = {.size = sizeof(cp), .bytes = 64 * P, .name = "checkpoint"};
	struct vms_object *ram, *rom, *copy = NULL;
	struct vms_mapping_info m = {.size = sizeof(m)};
	struct vms_cursor cursor = {0};
	struct vms_region *root, *devices, *uart;
	struct vms_space *space = NULL;

	must(vms_arena_create(&ap, &arena));
	must(vms_mmu_record(&sp.mmu));
	must(vms_space_create(&sp, &space));
	if (failed)
		return 1;
	root = vms_space_root(space);
	ram = memory("guest ram", 64, 40);
	rom = memory("firmware </script>", 16, 16);
	must(vms_object_child(ram, VMS_CHILD_SNAPSHOT, 0, &cp, &copy));
	must(vms_object_write(copy, 0, "y", 1, NULL));
	show_at(root, ram, 0x40000000, 0, 48, 3, VMS_MAP_SHARE);
	show_at(root, ram, 0x40030000, 48, 16, 1, VMS_MAP_SHARE);
	show_at(root, copy, 0x80000000, 0, 64, 3, 0);
	devices = region(root, 0x10000000, 4096, VMS_REGION_ALL);
	show_at(devices, rom, 0x10000000, 0, 16, 5, 0);
	uart = region(devices, 0x10100000, 16, VMS_PROT_READ | VMS_REGION_SPECIFIC);
	show_at(uart, rom, 0x10101000, 4, 2, 1, 0);
	/* The last bytes there are. */
	show_at(root, rom, -4 * P, 0, 4, 1, 0);
	for (int i = 0; i < 20; i++)
		vms_fault(space, 0x40000000 + (uint64_t)i * 3 * P, i % 2 ? 1 : 2, 0, NULL, NULL);
	must(vms_space_dump(space, VMS_DUMP_JSON, 1));
	while (!failed && vms_next(space, &cursor, &m) == 0)
		fprintf(stderr, "%" PRIx64 " %" PRIx64 " %u %" PRIx64 " %" PRIu64 "\n", m.addr,
			m.addr + m.len, m.prot, m.off, m.object_id);
	vms_region_unref(uart);
	vms_region_unref(devices);
	vms_object_unref(ram);
	vms_object_unref(rom);
	vms_object_unref(copy);
	vms_space_unref(space);
	vms_mmu_unref(sp.mmu);
	vms_arena_unref(arena);
	return failed;
}
