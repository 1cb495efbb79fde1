// SPDX-License-Identifier: MIT
/*
 * recover.c: out of a fault in guest memory whose backing is gone.
 *
 *	access	lands = here → touch ── fault ──→ the program's handler → vms_recover_fault()
 *		                                       writes "go on in land()" into the context
 *	        ←── longjmp ── land(), on the stack of the touch ←── the handler returns
 *
 * Nothing jumps out of a handler: it returns, the signal mask is as it was, and the thread goes on in
 * land() as if the touch had called it. Where the touch held a section or the fallback lock, the
 * function that took it is the one that is landed in, and it ends them as ever.
 *
 * Invariants
 *
 *	1 `lands` is the innermost touch of this thread, or NULL; a signal handler that touches guest
 *	  memory itself puts its own on top, and takes it off before it returns
 *	2 a fault is taken only if its address is in a page of what the innermost touch said it would
 *	  touch, and the kernel raised it: a caller's bad buffer stays the caller's fault
 *	3 between "lands = here" and "lands = outer" runs nothing but fn: memory is touched, no lock
 *	  is taken, nothing is counted
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <ucontext.h>

#include "memory/port.h"

#define FAULT_PAGE UINT64_C(4096)

struct landing {
	jmp_buf env;
	struct landing *outer;
	struct touched touched[2];
};

_Atomic(bool) recover_on;
static _Thread_local struct landing *volatile lands __attribute__((tls_model("initial-exec")));

void vms_recover_enable(bool on)
{
	atomic_store_explicit(&recover_on, on, memory_order_relaxed);
}

/* Returns twice. What lives across lies in *l, not in registers. */
static __attribute__((noinline)) int run(struct landing *l, void (*fn)(void *arg), void *arg)
{
	if (_setjmp(l->env) != 0)
		return -EFAULT;
	atomic_signal_fence(memory_order_seq_cst);
	lands = l;
	atomic_signal_fence(memory_order_seq_cst);
	fn(arg);
	return 0;
}

int recover_run(void (*fn)(void *arg), void *arg, struct touched a, struct touched b)
{
	struct landing here = { .outer = lands, .touched = { a, b } };
	int err = run(&here, fn, arg);

	atomic_signal_fence(memory_order_seq_cst);
	lands = here.outer;
	return err;
}

/* ---- From the handler ---- */

static __attribute__((noreturn)) void land(void)
{
	_longjmp(lands->env, 1);
}

static bool is_in(const struct touched *t, uintptr_t addr)
{
	uintptr_t first = align_down((uintptr_t)t->at, FAULT_PAGE);
	uintptr_t last = (uintptr_t)t->at + (t->n - 1);

	/* A memory error is told by its page. */
	return t->n && addr >= first && addr <= (last | (FAULT_PAGE - 1));
}

/* The thread goes on in land(), below what it has on its stack. */
static bool go_on(ucontext_t *uc)
{
#if defined(__x86_64__) && defined(__linux__)
	greg_t *reg = uc->uc_mcontext.gregs;

	/* Below the red zone, aligned as after a call; and no copy was going downwards. */
	reg[REG_RSP] = (greg_t)((((uint64_t)reg[REG_RSP] - 256) & ~UINT64_C(15)) - 8);
	reg[REG_RIP] = (greg_t)(uintptr_t)land;
	reg[REG_EFL] &= ~(greg_t)0x400;
	return true;
#elif defined(__aarch64__) && defined(__linux__)
	uc->uc_mcontext.sp = (uc->uc_mcontext.sp - 256) & ~UINT64_C(15);
	uc->uc_mcontext.pc = (uintptr_t)land;
	return true;
#else
	return false;
#endif
}

bool vms_recover_fault(int sig, void *siginfo, void *ucontext)
{
	const siginfo_t *info = siginfo;
	const struct landing *l = lands;
	uintptr_t addr;

	if (!l || !info || !ucontext || (sig != SIGBUS && sig != SIGSEGV) || info->si_code <= 0)
		return false;
	addr = (uintptr_t)info->si_addr;
	if (!is_in(&l->touched[0], addr) && !is_in(&l->touched[1], addr))
		return false;
	return go_on(ucontext);
}
