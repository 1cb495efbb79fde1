// SPDX-License-Identifier: MIT
/*
 * process.c: fork, vfork and clone.
 *
 * The raw call runs from a stub with every signal blocked but SIGSYS. The child turns dispatch on
 * by itself; then both sides trap into C (process_parent, process_child), where the registers and
 * the mask that the guest had are put back from a record. With vfork memory is shared, so:
 *
 * Invariants
 *	P1 records is a stack; the newest record belongs to the newest call that has not returned.
 *	   The parent of a vfork stands still meanwhile, so nobody else pushes.
 *	P2 A record names the process that made the call. A child that dies leaves records behind;
 *	   its parent drops them when it finds its own.
 *	P3 What the kernel copies at vfork and we keep in shared memory (struct guest_proc) is saved
 *	   in the record and put back in the parent.
 *	P4 While `inside` is not 0 the engine or our heap is in the middle of a change. Only SIGKILL
 *	   ends a process there (all else is blocked). Of a vforked child's death at such a point
 *	   its parent learns before any of its own code runs. What is mapped is then known to
 *	   nobody, the engine's lock is held for ever: the parent says so and ends as the child did,
 *	   and so does its own parent if that memory is shared too.
 */
#include "guest.h"
#include "mem.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#define DEPTH 64

struct record {
	int pid;     /* of the caller */
	bool shared; /* the child runs in our memory */
	uint64_t mask;
	uint64_t child_sp;
	gregset_t regs; /* as at the guest's call */
	struct guest_proc proc;
};
static struct record records[DEPTH];
static volatile int depth;

/* ---- a death in the middle ---- */

static volatile unsigned inside;

void shared_enter(void)
{
	inside++;
	atomic_signal_fence(memory_order_seq_cst);
}

void shared_leave(void)
{
	atomic_signal_fence(memory_order_seq_cst);
	inside--;
}

static _Noreturn void end_torn(void)
{
	say("a child made by vfork was killed within its own memory call and left the memory that "
	    "it shares with this program half changed: the program ends by SIGKILL");
	raw2(SYS_kill, guest.proc.pid, SIGKILL);
	for (;;) /* the first process of a PID namespace does not die of it */
		raw1(SYS_exit_group, 128 + SIGKILL);
}

/* ---- the calls ---- */

static void spawn(struct call *c, uint64_t flags, uint64_t stack)
{
	if (depth == DEPTH) {
		say_once("more than %d vforks within each other: EAGAIN", DEPTH);
		call_done(c, -EAGAIN);
		return;
	}
	struct record *r = &records[depth];

	r->pid = guest.proc.pid;
	r->shared = (flags & CLONE_VM) != 0;
	r->mask = *uc_mask(c->uc);
	memcpy(r->regs, c->g, sizeof(r->regs));
	r->child_sp = stack != 0 ? stack : (uint64_t)c->g[REG_RSP];
	r->proc = guest.proc;
	int err = r->shared ? 0 : guest_mem_fork_begin();

	if (err != 0) {
		call_done(c, -ENOMEM);
		return;
	}
	atomic_signal_fence(memory_order_seq_cst);
	depth++; /* whole: the caller may be a vforked child and be killed at any time (P2) */
	*uc_mask(c->uc) = ~SIGBIT(SIGSYS);
	c->g[REG_RIP] = (greg_t)guest_stub_clone;
	c->g[REG_RAX] = c->nr;
}

void process_parent(struct call *c)
{
	int64_t ret = c->g[REG_RAX];
	int pid = (int)raw0(SYS_getpid);

	while (depth > 1 && records[depth - 1].pid != pid)
		depth--;
	struct record *r = &records[--depth];

	memcpy(c->g, r->regs, sizeof(r->regs));
	c->g[REG_RAX] = ret;
	*uc_mask(c->uc) = r->mask;
	if (!r->shared) {
		guest_mem_fork_parent();
		return;
	}
	guest.proc = r->proc;
	if (inside != 0)
		end_torn();
	limits_again();
}

void process_child(struct call *c)
{
	struct record *r = &records[depth - 1];

	memcpy(c->g, r->regs, sizeof(r->regs));
	c->g[REG_RAX] = 0;
	c->g[REG_RSP] = (greg_t)r->child_sp;
	*uc_mask(c->uc) = r->mask;
	guest.proc.pid = (int)raw0(SYS_getpid);
	guest.proc.sys_pending = false;
	if (r->shared)
		return;
	depth = 0;
	guest_mem_fork_child();
	guest.opts.child = true;
	fdguard_drop(FD_ERR);
	memset(guest.count, 0, sizeof(guest.count));
	trace_open(true);
	trace_image(strrchr(guest.exe, '/') != NULL ? strrchr(guest.exe, '/') + 1 : guest.exe);
}

bool process_in_vfork(void)
{
	return depth > 0 && records[depth - 1].pid != guest.proc.pid;
}

void sys_fork(struct call *c)
{
	spawn(c, 0, 0);
}

void sys_vfork(struct call *c)
{
	spawn(c, CLONE_VM | CLONE_VFORK, 0);
}

void sys_clone(struct call *c)
{
	uint64_t flags = c->a[0];

	if ((flags & CLONE_THREAD) != 0) {
		say_once("threads are not supported yet: clone answers EAGAIN");
		call_done(c, -EAGAIN);
	} else if ((flags & CLONE_VM) != 0 && (flags & CLONE_VFORK) == 0) {
		say_once("processes that share memory are not supported yet: clone answers EAGAIN");
		call_done(c, -EAGAIN);
	} else {
		spawn(c, flags, c->a[1]);
	}
}

/* libc falls back to clone. */
void sys_clone3(struct call *c)
{
	call_done(c, -ENOSYS);
}

void sys_exit(struct call *c)
{
	if (!process_in_vfork())
		run_finish();
	call_pass(c);
}
