// SPDX-License-Identifier: MIT
/*
 * memory-vmm.c: a guest's physical memory as a small VMM has it: RAM, a ROM over a part of it, a
 * device that writes through a port, and the log of the pages that it wrote.
 */
#include <stdio.h>
#include <vmspace/access.h>

#define MIB (UINT64_C(1) << 20)

static int dirty(void *arg, struct vms_block *block, uint64_t off, uint64_t len)
{
	printf("dirty: %#llx, %llu bytes\n", (unsigned long long)off, (unsigned long long)len);
	return 0;
}

static int lay_out(struct vms_memory *mem, struct vms_block *ram)
{
	struct vms_edit *edit;
	int err = vms_edit_begin(mem, &edit);

	if (err)
		return err;
	err = vms_slot_map(edit, 0, 16 * MIB, ram, 0, VMS_SLOT_RAM);
	if (!err)
		err = vms_slot_protect(edit, 15 * MIB, MIB, VMS_SLOT_ROM);
	if (!err)
		return vms_edit_commit(edit); /* all of it at once */
	vms_edit_abort(edit);
	return err;
}

static void device(struct vms_port *port)
{
	uint32_t value = 0;

	printf("store in RAM: %d\n", vms_store_le32(port, 4 * MIB, 0x12345678));
	printf("load: %d, ", vms_load_le32(port, 4 * MIB, &value));
	printf("%#x\n", value);
	printf("store in the ROM: %d\n", vms_store_le32(port, 15 * MIB, 1)); /* -EACCES */
	printf("store in a hole: %d\n", vms_store_le32(port, 16 * MIB, 1));  /* -ENXIO */
}

int main(void)
{
	struct vms_memory_params params = { .size = sizeof(params) };
	struct vms_block_params what = { .size = sizeof(what),
					 .kind = VMS_BLOCK_ANON,
					 .bytes = 16 * MIB };
	struct vms_dirty_params how = { .size = sizeof(how), .page_size = 65536 };
	struct vms_memory *mem = NULL;
	struct vms_block *ram = NULL;
	struct vms_port *port = NULL;
	struct vms_dirty *log = NULL;
	int err = vms_memory_create(&params, &mem);

	if (!err)
		err = vms_block_create(mem, &what, &ram);
	if (!err)
		err = lay_out(mem, ram);
	if (!err)
		err = vms_port_create(mem, NULL, &port);
	if (!err)
		err = vms_dirty_start(mem, &how, &log);
	if (!err) {
		device(port);
		err = vms_dirty_harvest(log, ram, 0, 16 * MIB, dirty, NULL);
	}
	if (err)
		fprintf(stderr, "memory-vmm: %s\n", vms_last_error());
	vms_dirty_stop(log);
	vms_port_unref(port);
	vms_block_unref(ram);
	vms_memory_unref(mem); /* the last one: what is mapped goes with it */
	return err ? 1 : 0;
}
