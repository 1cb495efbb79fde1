// SPDX-License-Identifier: MIT
/*
 * kvm-guest.c: the least virtual machine monitor on /dev/kvm. A guest in real mode counts in RAM,
 * reads an address where nothing is and writes to its ROM: both exit, and are ours to answer. Then
 * the RAM goes to another address, and a log has what the guest wrote.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <vmspace/access.h>
#include <vmspace/kvm.h>

#define ROM	  0x1000 /* the guest's cs */
#define RAM_BYTES 0x4000 /* its ds, wherever it is */

/* inc word [0x3000]; mov al, cs:[0x2000]; mov cs:[0x100], al; hlt */
static const unsigned char program[] = { 0xff, 0x06, 0x00, 0x30, 0x2e, 0xa0, 0x00,
					 0x20, 0x2e, 0xa2, 0x00, 0x01, 0xf4 };

static int vcpu;
static struct kvm_run *state;

static void must(int err)
{
	if (err >= 0)
		return;
	printf("error: %s\n", vms_last_error());
	exit(EXIT_FAILURE);
}

/* Until it halts. */
static void run(uint64_t ram)
{
	struct kvm_regs regs = { .rip = 0, .rflags = 2 };
	struct kvm_sregs sregs;

	printf("RAM at %#llx\n", (unsigned long long)ram);
	must(ioctl(vcpu, KVM_GET_SREGS, &sregs));
	sregs.cs.base = ROM;
	sregs.cs.selector = ROM >> 4;
	sregs.ds.base = ram;
	sregs.ds.selector = (uint16_t)(ram >> 4);
	must(ioctl(vcpu, KVM_SET_SREGS, &sregs));
	must(ioctl(vcpu, KVM_SET_REGS, &regs));
	for (;;) {
		must(ioctl(vcpu, KVM_RUN, 0));
		if (state->exit_reason != KVM_EXIT_MMIO)
			break;
		printf("  a device's %s at %#llx\n", state->mmio.is_write ? "write" : "read",
		       state->mmio.phys_addr);
		state->mmio.data[0] = 42;
	}
	must(state->exit_reason == KVM_EXIT_HLT ? 0 : -1);
}

static struct vms_block *new_block(struct vms_memory *mem, uint64_t bytes)
{
	struct vms_block_params p = { .size = sizeof(p), .kind = VMS_BLOCK_ANON, .bytes = bytes };
	struct vms_block *block;

	must(vms_block_create(mem, &p, &block));
	return block;
}

static int print_run(void *arg, struct vms_block *block, uint64_t off, uint64_t len)
{
	printf("  it wrote %#llx bytes at %#llx of RAM\n", (unsigned long long)len,
	       (unsigned long long)off);
	return 0;
}

static void machine(int vm)
{
	struct vms_memory_params mp = { .size = sizeof(mp) };
	struct vms_kvm_params kp = { .size = sizeof(kp) };
	struct vms_dirty_params dp = { .size = sizeof(dp) };
	struct vms_block_info info = { .size = sizeof(info) };
	struct vms_block *ram, *rom;
	struct vms_memory *mem;
	struct vms_dirty *log;
	struct vms_edit *edit;
	struct vms_port *port;
	struct vms_kvm *kvm;
	uint16_t count;

	must(vms_memory_create(&mp, &mem));
	must(vms_kvm_attach(mem, vm, &kp, &kvm));
	ram = new_block(mem, RAM_BYTES);
	rom = new_block(mem, 0x1000);
	must(vms_block_info(rom, &info));
	memcpy(info.hva, program, sizeof(program));

	must(vms_edit_begin(mem, &edit));
	must(vms_slot_map(edit, ROM, 0x1000, rom, 0, VMS_SLOT_ROM));
	must(vms_slot_map(edit, 0x10000, RAM_BYTES, ram, 0, VMS_SLOT_RAM));
	must(vms_edit_commit(edit));
	run(0x10000);

	must(vms_edit_begin(mem, &edit));
	must(vms_slot_unmap(edit, 0x10000, RAM_BYTES));
	must(vms_slot_map(edit, 0x20000, RAM_BYTES, ram, 0, VMS_SLOT_RAM));
	must(vms_edit_commit(edit));
	must(vms_dirty_start(mem, &dp, &log));
	run(0x20000);
	must(vms_dirty_sync(log));
	must(vms_dirty_harvest(log, ram, 0, RAM_BYTES, print_run, NULL));

	must(vms_port_create(mem, NULL, &port));
	must(vms_load_le16(port, 0x23000, &count));
	printf("it counted to %d\n", count);

	vms_port_unref(port);
	vms_dirty_stop(log);
	vms_kvm_detach(kvm);
	vms_block_unref(rom);
	vms_block_unref(ram);
	vms_memory_unref(mem);
}

int main(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm = ioctl(kvm, KVM_CREATE_VM, 0ul), bytes;

	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0ul);
	if (vcpu < 0)
		return 77; /* no KVM: the test is skipped */
	bytes = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0ul);
	must(bytes);
	state = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	must(state == MAP_FAILED ? -1 : 0);
	machine(vm);
	return EXIT_SUCCESS;
}
