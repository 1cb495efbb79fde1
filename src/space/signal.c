// SPDX-License-Identifier: MIT
/*
 * signal.c: a CPU's access to the host window that the host refused, as its signal tells of it.
 *
 *	signal		where, and how?			what then
 *	SIGSEGV		no entry, or not that right	the fault (fault.c)
 *	SIGBUS		an entry, and no page for it	a file's bytes: cut off (BEYOND), not to be
 *							read (IO), or there by now (the fault)
 *							frames: the host has no memory for them
 *
 * The kind of access is in the context: of x86-64 in the page fault's error code, of arm64 in the
 * syndrome. Other machines do not say: there the first guess is a read, unless the instruction
 * itself lies there; and where the page can be read already, it was a write.
 *
 * Everything is called by a signal's handler: errno stays, and nothing but what a fault takes is
 * taken. The thread was in its own code, not in ours (space.h says so), so it holds none of it.
 */
#include <errno.h>
#include <signal.h>
#include <ucontext.h>

#include "mmu/host.h"
#include "space/vspace.h"

#define UNKNOWN 0u

/* ---- The access ---- */

#if defined(__x86_64__)
static uint32_t access_of(const ucontext_t *uc, uint64_t at)
{
	uint64_t code = (uint64_t)uc->uc_mcontext.gregs[REG_ERR];

	if (code & 0x10)
		return VMS_PROT_EXEC;
	return code & 0x2 ? VMS_PROT_WRITE : VMS_PROT_READ;
}
#elif defined(__aarch64__)
#define ESR_RECORD 0x45535201u

/* Records of a magic number and a size follow each other; 0 ends them. */
static uint32_t access_of(const ucontext_t *uc, uint64_t at)
{
	const unsigned char *p = (const unsigned char *)uc->uc_mcontext.__reserved;
	const unsigned char *end = p + sizeof(uc->uc_mcontext.__reserved);
	uint32_t magic, size;
	uint64_t esr;

	for (; end - p >= 16; p += size) {
		__builtin_memcpy(&magic, p, 4);
		__builtin_memcpy(&size, p + 4, 4);
		if (!magic || size < 16 || size > (size_t)(end - p))
			break;
		if (magic != ESR_RECORD)
			continue;
		__builtin_memcpy(&esr, p + 8, 8);
		switch (esr >> 26 & 0x3f) {
		case 0x20:
		case 0x21:
			return VMS_PROT_EXEC;
		case 0x24:
		case 0x25: /* written, and not just cleaned in a cache */
			return (esr & 0x140) == 0x40 ? VMS_PROT_WRITE : VMS_PROT_READ;
		default:
			return UNKNOWN;
		}
	}
	return UNKNOWN;
}
#elif defined(__riscv)
static uint32_t access_of(const ucontext_t *uc, uint64_t at)
{
	return (uint64_t)uc->uc_mcontext.__gregs[REG_PC] == at ? VMS_PROT_EXEC : UNKNOWN;
}
#else
static uint32_t access_of(const ucontext_t *uc, uint64_t at)
{
	return UNKNOWN;
}
#endif

/* ---- What then ---- */

/* An entry, and the host had no page behind it. */
static enum vms_fault_result no_page(struct vms_space *s, uint64_t addr, uint32_t access,
				     struct vms_wait *wait)
{
	switch (host_entries_behind(s->mmu, addr)) {
	case 0:
		return vms_fault(s, addr, access, 0, wait, NULL);
	case -ERANGE:
		return VMS_FAULT_BEYOND;
	case -ENOMEM:
		return VMS_FAULT_NO_MEMORY;
	default:
		return VMS_FAULT_IO;
	}
}

static uint32_t guess(struct vms_space *s, uint64_t addr)
{
	const void *hva;
	uint32_t rights;

	if (s->mmu->entries->query(s->mmu, addr, &hva, &rights) == 0 && rights & VMS_PROT_READ)
		return VMS_PROT_WRITE;
	return VMS_PROT_READ;
}

static bool is_access(int sig, const siginfo_t *info)
{
	if (sig == SIGSEGV)
		return info->si_code == SEGV_MAPERR || info->si_code == SEGV_ACCERR;
	return sig == SIGBUS && info->si_code == BUS_ADRERR;
}

int vms_fault_signal(struct vms_space *space, int sig, const void *siginfo, const void *context,
		     struct vms_wait *wait, struct vms_signal_fault *fault)
{
	const siginfo_t *info = siginfo;
	int saved = errno;
	uint64_t at, addr;

	if (!is_access(sig, info))
		return 0;
	at = (uintptr_t)info->si_addr;
	if (!host_guest_addr(space->mmu, at, &addr) || addr < space->space.first ||
	    addr > space->space.last)
		return 0;
	fault->addr = addr;
	fault->access = context ? access_of(context, at) : UNKNOWN;
	if (fault->access == UNKNOWN)
		fault->access = guess(space, addr);
	if (sig == SIGBUS)
		fault->result = no_page(space, addr, fault->access, wait);
	else
		fault->result = vms_fault(space, addr, fault->access, 0, wait, NULL);
	errno = saved;
	return 1;
}
