// SPDX-License-Identifier: MIT
/*
 * fault.c: a program that dies of a fault.
 *
 * The kernel sends us SIGSEGV, SIGBUS, SIGILL and SIGFPE while the guest leaves them at their
 * default. We say where the program died and what is mapped there, then let the kernel's default
 * act: the instruction faults again, so status and core are those of a bare run.
 */
#include "guest.h"
#include "mem.h"

#include <string.h>

static const char *signal_text(int sig)
{
	switch (sig) {
	case SIGSEGV:
		return "SIGSEGV";
	case SIGBUS:
		return "SIGBUS";
	case SIGILL:
		return "SIGILL";
	}
	return "SIGFPE";
}

static const char *code_text(int sig, int code)
{
	if (sig == SIGSEGV)
		return code == SEGV_MAPERR   ? "nothing is mapped there"
		       : code == SEGV_ACCERR ? "the mapping does not allow it"
					     : "no address given";
	if (sig == SIGBUS)
		return code == BUS_ADRERR ? "the file ends before that page" : "bus error";
	return sig == SIGILL ? "not an instruction" : "arithmetic error";
}

static void say_region(const char *where, const struct guest_mem_region *r)
{
	say("  %s %.*s", where, (int)strcspn(r->line, "\n"), r->line);
}

static void report(int sig, const siginfo_t *info, const ucontext_t *uc)
{
	static struct guest_mem_region below, here;
	const greg_t *g = uc->uc_mcontext.gregs;
	uint64_t addr = (uint64_t)info->si_addr, cursor = 0;
	const char *access = "";
	bool have_below = false, have_here = false;

	if (sig == SIGSEGV || sig == SIGBUS)
		access = (g[REG_ERR] & 16) != 0	 ? "executing "
			 : (g[REG_ERR] & 2) != 0 ? "writing "
						 : "reading ";
	say("the program died of %s %sat 0x%llx (%s), instruction at 0x%llx", signal_text(sig),
	    access, (unsigned long long)addr, code_text(sig, info->si_code),
	    (unsigned long long)g[REG_RIP]);
	while (guest_mem_next(&cursor, &here)) {
		if (here.end > addr) {
			have_here = true;
			break;
		}
		below = here;
		have_below = true;
	}
	if (have_below)
		say_region("below:", &below);
	if (have_here && here.start <= addr) {
		say_region("there:", &here);
		have_here = guest_mem_next(&cursor, &here);
	}
	if (have_here)
		say_region("above:", &here);
}

void *guest_fault(int sig, siginfo_t *info, void *ucontext)
{
	if (info->si_code > 0)
		report(sig, info, ucontext);
	else /* somebody sent it: it will not come again by itself */
		raw3(SYS_tgkill, guest.proc.pid, raw0(SYS_gettid), sig);
	if (!process_in_vfork())
		run_finish();
	signal_native_default(sig);
	return uc_frame(ucontext);
}
