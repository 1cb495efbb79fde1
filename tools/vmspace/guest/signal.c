// SPDX-License-Identifier: MIT
/*
 * signal.c: the guest's view of signals.
 *
 * Guest handlers are installed in the kernel as they are: the kernel builds their frames on the
 * guest's stack and they return by the guest's own restorer. Only these are ours:
 *
 *	SIGSYS	carries system calls to us. The guest's disposition of it is a record; a SIGSYS that
 *		somebody really sent is delivered by hand.
 *	faults	(SEGV, BUS, ILL, FPE) with the default action get our reporter (fault.c).
 *	the alternate stack	while the guest has none there is one of ours for the reporter, and
 *		SA_ONSTACK is kept from the guest's handlers, which would otherwise run on it.
 *
 * Masks: the kernel's mask is the one in the frame of the running SIGSYS; changing that changes
 * the guest's when we return. SIGSYS is taken out of each mask on its way in, and a bit of ours
 * remembers that the guest believes it blocked.
 *
 * Invariants
 *	S1 act[n] is what the guest set. The kernel's differs only as install() says.
 *	S2 The kernel never holds SIGSYS in a mask of the guest, nor in a sa_mask.
 */
#include "guest.h"

#include <errno.h>
#include <string.h>

#define K_SA_RESTORER	UINT64_C(0x04000000)
#define K_SA_ONSTACK	UINT64_C(0x08000000)
#define K_SA_RESETHAND	UINT64_C(0x80000000)
#define K_SA_SIGINFO	UINT64_C(4)
#define K_SA_KNOWN	UINT64_C(0xdc000807) /* flags that the kernel keeps */
#define K_SS_AUTODISARM (1 << 31)
#define K_MINSIGSTKSZ	2048
#define K_IGN		UINT64_C(1)
#define FAULTS		(SIGBIT(SIGSEGV) | SIGBIT(SIGBUS) | SIGBIT(SIGILL) | SIGBIT(SIGFPE))
#define UNBLOCKABLE	(SIGBIT(SIGKILL) | SIGBIT(SIGSTOP))

static char own_altstack[64 * 1024] __attribute__((aligned(64)));

static int64_t kernel_sigaction(int sig, const struct ksigaction *act, struct ksigaction *old)
{
	return raw4(SYS_rt_sigaction, sig, act, old, 8);
}

static bool is_fault(int sig)
{
	return (SIGBIT(sig) & FAULTS) != 0;
}

/* Make the kernel's disposition follow act[sig]. */
static void install(int sig)
{
	struct ksigaction k = guest.proc.act[sig];

	if (sig == SIGSYS || sig == SIGKILL || sig == SIGSTOP)
		return;
	k.mask &= ~SIGBIT(SIGSYS);
	if (k.handler == 0 && is_fault(sig)) {
		k.handler = (uint64_t)guest_fault_entry;
		k.flags = K_SA_SIGINFO | K_SA_ONSTACK | K_SA_RESTORER;
		k.restorer = (uint64_t)guest_restorer;
		k.mask = ~UINT64_C(0);
	} else if (!guest.proc.alt_on) {
		k.flags &= ~K_SA_ONSTACK;
	}
	kernel_sigaction(sig, &k, NULL);
}

int signal_start(void)
{
	struct ksigaction k = {(uint64_t)guest_sigsys_entry, K_SA_SIGINFO | K_SA_RESTORER,
			       (uint64_t)guest_restorer, ~UINT64_C(0)};
	stack_t st;

	for (int sig = 1; sig <= GUEST_NSIG; sig++)
		if (sig != SIGSYS) {
			kernel_sigaction(sig, NULL, &guest.proc.act[sig]);
			if (is_fault(sig))
				install(sig);
		}
	signal_own_altstack(&st);
	raw2(SYS_sigaltstack, &st, 0);
	return (int)kernel_sigaction(SIGSYS, &k, NULL);
}

void signal_own_altstack(stack_t *st)
{
	memset(st, 0, sizeof(*st));
	st->ss_sp = own_altstack;
	st->ss_size = sizeof(own_altstack);
}

void signal_native_default(int sig)
{
	struct ksigaction k = {0, 0, 0, 0};

	kernel_sigaction(sig, &k, NULL);
}

/* The guest's alternate stack came or went: SA_ONSTACK counts or does not. */
static void set_alt_on(bool on)
{
	if (on == guest.proc.alt_on)
		return;
	guest.proc.alt_on = on;
	for (int sig = 1; sig <= GUEST_NSIG; sig++)
		if (guest.proc.act[sig].handler > K_IGN &&
		    (guest.proc.act[sig].flags & K_SA_ONSTACK) != 0)
			install(sig);
}

/* The kernel resets SA_RESETHAND handlers by itself: learn of it. */
static void refresh(int sig)
{
	struct ksigaction k;

	if ((guest.proc.act[sig].flags & K_SA_RESETHAND) != 0 && sig != SIGSYS &&
	    kernel_sigaction(sig, NULL, &k) == 0 && k.handler == 0)
		guest.proc.act[sig].handler = 0;
}

void sys_rt_sigaction(struct call *c)
{
	int sig = (int)c->a[0];
	struct ksigaction act, old;

	if (c->a[3] != 8) {
		call_done(c, -EINVAL);
		return;
	}
	if (c->a[1] != 0 && user_read(&act, c->a[1], sizeof(act)) != 0) {
		call_done(c, -EFAULT);
		return;
	}
	if (sig < 1 || sig > GUEST_NSIG || (c->a[1] != 0 && (sig == SIGKILL || sig == SIGSTOP))) {
		call_done(c, -EINVAL);
		return;
	}
	refresh(sig);
	old = guest.proc.act[sig];
	if (c->a[1] != 0) {
		act.flags &= K_SA_KNOWN;
		act.mask &= ~UNBLOCKABLE;
		guest.proc.act[sig] = act;
		install(sig);
		if (sig == SIGSYS && act.handler == K_IGN)
			guest.proc.sys_pending = false;
	}
	call_done(c, c->a[2] != 0 ? user_write(c->a[2], &old, sizeof(old)) : 0);
}

/* The guest believes SIGSYS blocked, or no longer. A pending one is sent again. */
static void set_sys_masked(bool masked)
{
	guest.proc.sys_masked = masked;
	if (!masked && guest.proc.sys_pending) {
		guest.proc.sys_pending = false;
		raw3(SYS_tgkill, guest.proc.pid, raw0(SYS_gettid), SIGSYS);
	}
}

void sys_rt_sigprocmask(struct call *c)
{
	uint64_t *mask = uc_mask(c->uc), set = 0;
	uint64_t old = *mask | (guest.proc.sys_masked ? SIGBIT(SIGSYS) : 0), now = old;

	if (c->a[3] != 8) {
		call_done(c, -EINVAL);
		return;
	}
	if (c->a[1] != 0) {
		if (user_read(&set, c->a[1], 8) != 0) {
			call_done(c, -EFAULT);
			return;
		}
		set &= ~UNBLOCKABLE;
		switch ((int)c->a[0]) {
		case SIG_BLOCK:
			now |= set;
			break;
		case SIG_UNBLOCK:
			now &= ~set;
			break;
		case SIG_SETMASK:
			now = set;
			break;
		default:
			call_done(c, -EINVAL);
			return;
		}
		*mask = now & ~SIGBIT(SIGSYS);
		set_sys_masked((now & SIGBIT(SIGSYS)) != 0);
	}
	call_done(c, c->a[2] != 0 ? user_write(c->a[2], &old, 8) : 0);
}

/* The guest's handler returns: the same call again, from the allowed range, on its own frame. */
void sys_rt_sigreturn(struct call *c)
{
	uint64_t uc = (uint64_t)c->g[REG_RSP], mask;
	stack_t st;

	if (user_read(&mask, uc + offsetof(ucontext_t, uc_sigmask), 8) == 0 &&
	    (mask & SIGBIT(SIGSYS)) != 0) {
		mask &= ~SIGBIT(SIGSYS);
		user_write(uc + offsetof(ucontext_t, uc_sigmask), &mask, 8);
		set_sys_masked(true);
	}
	if (guest.proc.alt_on &&
	    user_read(&st, uc + offsetof(ucontext_t, uc_stack), sizeof(st)) == 0 &&
	    st.ss_sp == own_altstack)
		set_alt_on(false);
	c->g[REG_RIP] = (greg_t)guest_restorer;
}

/*
 * Calls that wait under another mask: argument `arg` points to it. When it holds SIGSYS the call
 * gets a copy without, in the stub's frame on the guest's stack. A SIGSYS that then ends the wait
 * is kept pending and the call made again (in_wait).
 */
#define WAIT_MARK UINT64_C(0x7379737761697421)

/*
 * The frame for such a call, its mask in room[0]: NULL if the call has been answered. *room is the
 * address of `room` in the guest.
 */
static struct stub_frame *wait_frame(struct call *c, uint64_t mask, uint64_t *at, uint64_t *room)
{
	struct stub_frame *f = call_frame(c, at);

	if (f == NULL)
		return NULL;
	*room = *at + offsetof(struct stub_frame, room);
	f->room[0] = mask & ~SIGBIT(SIGSYS);
	f->room[3] = (uint64_t)c->nr;
	f->room[4] = WAIT_MARK;
	return f;
}

static bool in_wait(ucontext_t *uc)
{
	greg_t *g = uc->uc_mcontext.gregs;
	struct stub_frame *f = (void *)g[REG_RSP];

	if (g[REG_RIP] != (greg_t)guest_stub_changed_ip || g[REG_RAX] != -EINTR ||
	    f->room[4] != WAIT_MARK)
		return false;
	g[REG_RIP] -= 2; /* the system call instruction */
	g[REG_RAX] = (greg_t)f->room[3];
	return true;
}

static void pass_with_mask(struct call *c, int arg)
{
	uint64_t mask;

	if (c->a[arg] == 0 || user_read(&mask, c->a[arg], 8) != 0 || (mask & SIGBIT(SIGSYS)) == 0) {
		call_pass(c);
		return;
	}
	uint64_t at, room;
	struct stub_frame *f = wait_frame(c, mask, &at, &room);

	if (f == NULL)
		return;
	c->a[arg] = room;
	call_pass_changed(c, f, at);
}

/* The same where the argument points to {pointer, size}. */
static void pass_with_mask_pair(struct call *c, int arg)
{
	uint64_t pair[2], mask;

	if (c->a[arg] == 0 || user_read(pair, c->a[arg], sizeof(pair)) != 0 || pair[0] == 0 ||
	    user_read(&mask, pair[0], 8) != 0 || (mask & SIGBIT(SIGSYS)) == 0) {
		call_pass(c);
		return;
	}
	uint64_t at, room;
	struct stub_frame *f = wait_frame(c, mask, &at, &room);

	if (f == NULL)
		return;
	f->room[1] = room;
	f->room[2] = pair[1];
	c->a[arg] = room + 8;
	call_pass_changed(c, f, at);
}

void sys_rt_sigsuspend(struct call *c)
{
	pass_with_mask(c, 0);
}

void sys_ppoll(struct call *c)
{
	pass_with_mask(c, 3);
}

void sys_epoll_pwait(struct call *c)
{
	pass_with_mask(c, 4);
}

void sys_pselect6(struct call *c)
{
	pass_with_mask_pair(c, 5);
}

void sys_io_pgetevents(struct call *c)
{
	pass_with_mask_pair(c, 5);
}

/* The kernel takes the alternate stack from the frame when we return. */
void sys_sigaltstack(struct call *c)
{
	stack_t *cur = &c->uc->uc_stack, old, new;
	uint64_t sp = (uint64_t)c->g[REG_RSP];
	bool on = false;

	memset(&old, 0, sizeof(old));
	if (cur->ss_sp == own_altstack || cur->ss_size == 0) {
		old.ss_flags = SS_DISABLE;
	} else {
		old = *cur;
		on = (old.ss_flags & K_SS_AUTODISARM) == 0 && sp > (uint64_t)old.ss_sp &&
		     sp - (uint64_t)old.ss_sp <= old.ss_size;
		old.ss_flags = (old.ss_flags & K_SS_AUTODISARM) | (on ? SS_ONSTACK : 0);
	}
	if (c->a[0] != 0) {
		if (user_read(&new, c->a[0], sizeof(new)) != 0) {
			call_done(c, -EFAULT);
			return;
		}
		int mode = new.ss_flags & ~K_SS_AUTODISARM;

		if (on) {
			call_done(c, -EPERM);
			return;
		}
		if (mode != SS_DISABLE && mode != SS_ONSTACK && mode != 0) {
			call_done(c, -EINVAL);
			return;
		}
		if (mode != SS_DISABLE && new.ss_size < K_MINSIGSTKSZ) {
			call_done(c, -ENOMEM);
			return;
		}
		if (mode == SS_DISABLE)
			signal_own_altstack(cur);
		else
			*cur = new;
		set_alt_on(mode != SS_DISABLE);
	}
	call_done(c, c->a[1] != 0 ? user_write(c->a[1], &old, sizeof(old)) : 0);
}

/*
 * A SIGSYS that is no system call: kill(2), or a filter above us. To run the guest's handler we
 * leave not through the kernel's frame but through a copy of it whose registers say "handler
 * called", and the kernel's frame is what the handler returns through.
 */
void *signal_foreign_sigsys(siginfo_t *info, ucontext_t *uc)
{
	static ucontext_t call[1];
	static uint64_t *const frame = (uint64_t *)call - 1;
	struct ksigaction *act = &guest.proc.act[SIGSYS];

	if (act->handler == K_IGN)
		return uc_frame(uc);
	if (in_wait(uc) || guest.proc.sys_masked) {
		guest.proc.sys_pending = true;
		return uc_frame(uc);
	}
	if (act->handler == 0) {
		signal_native_default(SIGSYS);
		raw3(SYS_tgkill, guest.proc.pid, raw0(SYS_gettid), SIGSYS);
		return uc_frame(uc);
	}
	/* The kernel's part of ucontext ends with the 8 bytes of the mask. */
	memcpy(call, uc, offsetof(ucontext_t, uc_sigmask) + 8);
	*(uint64_t *)uc_frame(uc) = act->restorer;
	call->uc_mcontext.gregs[REG_RIP] = (greg_t)act->handler;
	call->uc_mcontext.gregs[REG_RSP] = (greg_t)uc_frame(uc);
	call->uc_mcontext.gregs[REG_RDI] = SIGSYS;
	call->uc_mcontext.gregs[REG_RSI] = (greg_t)info;
	call->uc_mcontext.gregs[REG_RDX] = (greg_t)uc;
	call->uc_mcontext.gregs[REG_RAX] = 0;
	*uc_mask(call) |= act->mask & ~SIGBIT(SIGSYS);
	if ((act->flags & K_SA_RESETHAND) != 0)
		act->handler = 0;
	return frame;
}
