// SPDX-License-Identifier: MIT
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* Where things are in the system's 2 MiB. */
#define CODE  0x1000u
#define PML4  0x10000u
#define PDPT  0x11000u
#define PD    0x12000u /* four of them: a GiB each */
#define TSS   0x18000u /* zeroes: all ports are allowed */
#define GDT   0x19000u
#define STACK 0x20000u
#define OPS   0x100000u

#define PORT 0x10

/* rdi: orders, rcx: how many, not 0. Each is done by one load or one store. */
__asm__(".pushsection .rodata\n"
	"guest_code:\n"
	"	mov (%rdi), %rbx\n"
	"	cmpq $0, 8(%rdi)\n"
	"	jne 1f\n"
	"	mov (%rbx), %rax\n"
	"	mov %rax, 16(%rdi)\n"
	"	jmp 2f\n"
	"1:	mov 16(%rdi), %rax\n"
	"	mov %rax, (%rbx)\n"
	"2:	add $32, %rdi\n"
	"	dec %rcx\n"
	"	jnz guest_code\n"
	"	out %al, $0x10\n"
	"	hlt\n"
	"guest_code_end:\n"
	".popsection\n");
extern const unsigned char guest_code[], guest_code_end[];

static void put64(struct guest *g, uint32_t at, uint64_t value)
{
	memcpy(g->system + at, &value, sizeof(value));
}

/* 2 MiB pages, all the user's. */
static void make_tables(struct guest *g)
{
	put64(g, PML4, PDPT | 7);
	for (uint32_t gib = 0; gib < 4; gib++) {
		put64(g, PDPT + gib * 8, (PD + gib * 4096) | 7);
		for (uint32_t i = 0; i < 512; i++)
			put64(g, PD + gib * 4096 + i * 8,
			      ((uint64_t)gib << 30) + ((uint64_t)i << 21) + 0x87);
	}
	put64(g, GDT + 0x18, 0x00cff3000000ffff); /* data, DPL 3 */
	put64(g, GDT + 0x20, 0x00affb000000ffff); /* 64-bit code, DPL 3 */
}

static struct kvm_segment segment(uint16_t selector, uint8_t type, bool code)
{
	return (struct kvm_segment){ .limit = 0xffffffff,
				     .selector = selector,
				     .type = type,
				     .present = 1,
				     .dpl = 3,
				     .db = !code,
				     .s = 1,
				     .l = code,
				     .g = 1 };
}

static int set_mode(struct guest *g)
{
	struct kvm_sregs s;

	if (ioctl(g->vcpu, KVM_GET_SREGS, &s) < 0)
		return -errno;
	s.cs = segment(0x23, 11, true);
	s.ds = s.es = s.fs = s.gs = s.ss = segment(0x1b, 3, false);
	s.tr = (struct kvm_segment){
		.base = TSS, .limit = 0x2fff, .selector = 0x28, .type = 11, .present = 1
	};
	s.gdt.base = GDT;
	s.gdt.limit = 0x3f;
	s.idt.limit = 0;
	s.cr0 = 0x80000011; /* paging, protection */
	s.cr3 = PML4;
	s.cr4 = 0x20;	/* PAE */
	s.efer = 0x500; /* long mode */
	return ioctl(g->vcpu, KVM_SET_SREGS, &s) < 0 ? -errno : 0;
}

/* What the host can, so that the guest is in 64-bit mode by right. */
static int set_cpuid(struct guest *g)
{
	enum { ENTRIES = 256 };
	size_t bytes = sizeof(struct kvm_cpuid2) + ENTRIES * sizeof(struct kvm_cpuid_entry2);
	struct kvm_cpuid2 *c = calloc(1, bytes);
	int err = 0;

	if (!c)
		return -ENOMEM;
	c->nent = ENTRIES;
	if (ioctl(g->kvm, KVM_GET_SUPPORTED_CPUID, c) < 0 || ioctl(g->vcpu, KVM_SET_CPUID2, c) < 0)
		err = -errno;
	free(c);
	return err;
}

const char *guest_open(struct guest *g)
{
	struct kvm_userspace_memory_region r = { .memory_size = GUEST_SYSTEM };

	*g = (struct guest){ .vm = -1, .vcpu = -1, .system = MAP_FAILED };
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->change, NULL);
	g->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (g->kvm < 0)
		return "there is no /dev/kvm";
	g->vm = ioctl(g->kvm, KVM_CREATE_VM, 0ul);
	if (g->vm < 0)
		return "KVM makes no virtual machine";
	g->system = mmap(NULL, GUEST_SYSTEM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	if (g->system == MAP_FAILED)
		return "no memory for the guest's system";
	memcpy(g->system + CODE, guest_code, (size_t)(guest_code_end - guest_code));
	make_tables(g);
	r.userspace_addr = (uintptr_t)g->system;
	return ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &r) < 0 ? "KVM takes no memory" : NULL;
}

static void woken(int sig)
{
}

const char *guest_start(struct guest *g)
{
	struct sigaction sa = { .sa_handler = woken };
	struct guest_op op = guest_write(STACK, 1);
	int bytes;

	sigaction(SIGUSR1, &sa, NULL);
	g->vcpu = ioctl(g->vm, KVM_CREATE_VCPU, 0ul);
	bytes = ioctl(g->kvm, KVM_GET_VCPU_MMAP_SIZE, 0ul);
	if (g->vcpu < 0 || bytes < 0)
		return "KVM makes no vCPU";
	g->run_bytes = (uint64_t)bytes;
	g->run = mmap(NULL, g->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, g->vcpu, 0);
	if (g->run == MAP_FAILED) {
		g->run = NULL;
		return "a vCPU's state cannot be mapped";
	}
	if (set_cpuid(g) || set_mode(g))
		return "KVM has no 64-bit mode";
	return guest_do(g, &op, 1) || op.value != 1 ? "this KVM does not run the guest" : NULL;
}

void guest_close(struct guest *g)
{
	if (g->run)
		munmap(g->run, g->run_bytes);
	if (g->vcpu >= 0)
		close(g->vcpu);
	if (g->vm >= 0)
		close(g->vm);
	if (g->kvm >= 0)
		close(g->kvm);
	if (g->system != MAP_FAILED)
		munmap(g->system, GUEST_SYSTEM);
	pthread_cond_destroy(&g->change);
	pthread_mutex_destroy(&g->lock);
}

/* KVM_RUN, unless the gate is closed. */
static int run_once(struct guest *g)
{
	int err;

	pthread_mutex_lock(&g->lock);
	g->thread = pthread_self();
	while (g->paused)
		pthread_cond_wait(&g->change, &g->lock);
	g->run->immediate_exit = 0;
	g->inside = true;
	pthread_mutex_unlock(&g->lock);

	err = ioctl(g->vcpu, KVM_RUN, 0) < 0 ? -errno : 0;

	pthread_mutex_lock(&g->lock);
	g->inside = false;
	pthread_cond_broadcast(&g->change);
	pthread_mutex_unlock(&g->lock);
	return err;
}

static void serve_device(struct guest *g)
{
	uint64_t value = ~UINT64_C(0);

	g->exits++;
	if (g->run->mmio.is_write)
		memcpy(&value, g->run->mmio.data, sizeof(value));
	if (g->device)
		g->device(g->arg, g->run->mmio.phys_addr, g->run->mmio.is_write, &value);
	if (!g->run->mmio.is_write)
		memcpy(g->run->mmio.data, &value, sizeof(value));
}

static int run_to_end(struct guest *g)
{
	for (;;) {
		int err = run_once(g);

		if (err == -EINTR || err == -EAGAIN)
			continue;
		if (err)
			return err;
		switch (g->run->exit_reason) {
		case KVM_EXIT_IO:
			return g->run->io.port == PORT ? 0 : -EIO;
		case KVM_EXIT_MMIO:
			serve_device(g);
			break;
		case KVM_EXIT_DIRTY_RING_FULL:
			if (g->full)
				g->full(g->arg);
			break;
		default:
			fprintf(stderr, "the guest stopped with exit %u\n", g->run->exit_reason);
			return -EIO;
		}
	}
}

int guest_do(struct guest *g, struct guest_op *ops, uint32_t n)
{
	struct kvm_regs regs = {
		.rip = CODE, .rdi = OPS, .rcx = n, .rsp = STACK, .rflags = 0x3002 /* IOPL 3 */
	};
	int err;

	if (n == 0 || n > GUEST_OPS)
		return -EINVAL;
	memcpy(g->system + OPS, ops, n * sizeof(*ops));
	if (ioctl(g->vcpu, KVM_SET_REGS, &regs) < 0)
		return -errno;
	err = run_to_end(g);
	memcpy(ops, g->system + OPS, n * sizeof(*ops));
	return err;
}

void guest_enter_gate(void *arg)
{
	struct guest *g = arg;

	pthread_mutex_lock(&g->lock);
	g->paused = true;
	if (g->inside) {
		/* What enters KVM_RUN now leaves it at once; what is in it is woken. */
		__atomic_store_n(&g->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
		pthread_kill(g->thread, SIGUSR1);
	}
	while (g->inside)
		pthread_cond_wait(&g->change, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

void guest_leave_gate(void *arg)
{
	struct guest *g = arg;

	pthread_mutex_lock(&g->lock);
	g->paused = false;
	pthread_cond_broadcast(&g->change);
	pthread_mutex_unlock(&g->lock);
}
