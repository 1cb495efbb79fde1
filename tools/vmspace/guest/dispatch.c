// SPDX-License-Identifier: MIT
/*
 * dispatch.c: from SIGSYS to whoever answers the call.
 *
 * A call is *answered* (the result is put into the frame), *passed* (it runs from a stub after
 * our handler has returned, with the guest's own mask and FS base, so that it may block and be
 * interrupted as on a bare kernel), or *watched* (passed, and the result comes by us).
 *
 * Invariants
 *	D1 The handler itself never blocks, except in what memory calls wait for (files).
 *	D2 A passed call leaves no record in our memory: its return address lies on the guest's
 *	   stack, so nested signals, longjmp and children need no care.
 *	D3 Argument registers hold after a call what they held before it.
 */
#include "guest.h"
#include "mem.h"

#include <errno.h>
#include <linux/audit.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif
#define SYS_USER_DISPATCH_CODE 2

struct guest guest;

struct entry {
	void (*fn)(struct call *c); /* NULL: pass */
	uint8_t fds;		    /* bit n: argument n is a descriptor */
};

static void sys_prctl(struct call *c);
static void sys_seccomp(struct call *c);
static void sys_arch_prctl(struct call *c);
static void sys_maps_itself(struct call *c);

#define FD(nr)	  [nr] = {NULL, 1}
#define FD2(nr)	  [nr] = {NULL, 3}
#define FN(nr, f) [nr] = {f, 0}

static const struct entry table[GUEST_CALLS] = {
	/* memory */
	[SYS_mmap] = {sys_mmap, 1 << 4},
	FN(SYS_munmap, sys_munmap),
	FN(SYS_mprotect, sys_mprotect),
	FN(SYS_pkey_mprotect, sys_pkey_mprotect),
	FN(SYS_mremap, sys_mremap),
	FN(SYS_brk, sys_brk),
	FN(SYS_madvise, sys_madvise),
	FN(SYS_msync, sys_msync),
	FN(SYS_mincore, sys_mincore),
	FN(SYS_mlock, sys_mlock),
	FN(SYS_mlock2, sys_mlock2),
	FN(SYS_munlock, sys_munlock),
	FN(SYS_mlockall, sys_mlockall),
	FN(SYS_munlockall, sys_munlockall),
	FN(462, sys_mseal),
	FN(SYS_remap_file_pages, sys_remap_file_pages),
	FN(SYS_setrlimit, sys_setrlimit),
	FN(SYS_prlimit64, sys_prlimit64),
	FN(SYS_shmat, sys_shmat),
	FN(SYS_shmdt, sys_shmdt),
	FN(SYS_io_setup, sys_maps_itself),
	FN(425, sys_maps_itself), /* io_uring_setup */
	FN(453, sys_maps_itself), /* map_shadow_stack */

	/* signals */
	FN(SYS_rt_sigaction, sys_rt_sigaction),
	FN(SYS_rt_sigprocmask, sys_rt_sigprocmask),
	FN(SYS_rt_sigreturn, sys_rt_sigreturn),
	FN(SYS_rt_sigsuspend, sys_rt_sigsuspend),
	FN(SYS_sigaltstack, sys_sigaltstack),
	FN(SYS_ppoll, sys_ppoll),
	FN(SYS_pselect6, sys_pselect6),
	[SYS_epoll_pwait] = {sys_epoll_pwait, 1},
	[441] = {sys_epoll_pwait, 1}, /* epoll_pwait2 */
	FN(333, sys_io_pgetevents),

	/* processes */
	FN(SYS_fork, sys_fork),
	FN(SYS_vfork, sys_vfork),
	FN(SYS_clone, sys_clone),
	FN(SYS_clone3, sys_clone3),
	FN(SYS_execve, sys_execve),
	[SYS_execveat] = {sys_execveat, 1},
	FN(SYS_exit, sys_exit),
	FN(SYS_exit_group, sys_exit),
	FN(SYS_prctl, sys_prctl),
	FN(SYS_seccomp, sys_seccomp),
	FN(SYS_arch_prctl, sys_arch_prctl),

	/* files that show the process */
	FN(SYS_open, sys_open),
	FN(SYS_creat, sys_open),
	[SYS_openat] = {sys_open, 1},
	[437] = {sys_open, 1}, /* openat2 */
	FN(SYS_readlink, sys_readlink),
	[SYS_readlinkat] = {sys_readlink, 1},
	FN(SYS_stat, sys_path),
	FN(SYS_access, sys_path),
	[SYS_newfstatat] = {sys_path, 1},
	[SYS_statx] = {sys_path, 1},
	[SYS_faccessat] = {sys_path, 1},
	[439] = {sys_path, 1}, /* faccessat2 */

	/* descriptors */
	FD(SYS_close),
	FN(SYS_close_range, sys_close_range),
	[SYS_dup2] = {sys_dup2, 1},
	[SYS_dup3] = {sys_dup2, 1},
	FD(SYS_read),
	FD(SYS_write),
	FD(SYS_fstat),
	FD(SYS_lseek),
	FD(SYS_ioctl),
	FD(SYS_pread64),
	FD(SYS_pwrite64),
	FD(SYS_readv),
	FD(SYS_writev),
	FD(SYS_dup),
	FD2(SYS_sendfile),
	FD(SYS_connect),
	FD(SYS_accept),
	FD(SYS_sendto),
	FD(SYS_recvfrom),
	FD(SYS_sendmsg),
	FD(SYS_recvmsg),
	FD(SYS_shutdown),
	FD(SYS_bind),
	FD(SYS_listen),
	FD(SYS_getsockname),
	FD(SYS_getpeername),
	FD(SYS_setsockopt),
	FD(SYS_getsockopt),
	FD(SYS_fcntl),
	FD(SYS_flock),
	FD(SYS_fsync),
	FD(SYS_fdatasync),
	FD(SYS_ftruncate),
	FD(SYS_getdents),
	FD(SYS_fchdir),
	FD(SYS_fchmod),
	FD(SYS_fchown),
	FD(SYS_fstatfs),
	FD(SYS_readahead),
	FD(SYS_fsetxattr),
	FD(SYS_fgetxattr),
	FD(SYS_flistxattr),
	FD(SYS_fremovexattr),
	[SYS_getdents64] = {sys_getdents64, 1},
	FD(SYS_fadvise64),
	FD(SYS_epoll_wait),
	[SYS_epoll_ctl] = {NULL, 1 | 1 << 2},
	FD(SYS_inotify_add_watch),
	FD(SYS_inotify_rm_watch),
	FD(SYS_mkdirat),
	FD(SYS_mknodat),
	FD(SYS_fchownat),
	FD(SYS_futimesat),
	FD(SYS_unlinkat),
	[SYS_renameat] = {NULL, 1 | 1 << 2},
	[SYS_linkat] = {NULL, 1 | 1 << 2},
	[SYS_symlinkat] = {NULL, 1 << 1},
	FD(SYS_fchmodat),
	[SYS_splice] = {NULL, 1 | 1 << 2},
	FD2(SYS_tee),
	FD(SYS_sync_file_range),
	FD(SYS_vmsplice),
	FD(SYS_utimensat),
	FD(SYS_signalfd),
	FD(SYS_timerfd_settime),
	FD(SYS_timerfd_gettime),
	FD(SYS_fallocate),
	FD(SYS_accept4),
	FD(SYS_signalfd4),
	FD(SYS_preadv),
	FD(SYS_pwritev),
	FD(SYS_recvmmsg),
	FD(SYS_name_to_handle_at),
	FD(SYS_open_by_handle_at),
	FD(SYS_syncfs),
	FD(SYS_sendmmsg),
	FD(SYS_setns),
	FD(SYS_finit_module),
	[SYS_renameat2] = {NULL, 1 | 1 << 2},
	[SYS_copy_file_range] = {NULL, 1 | 1 << 2},
	FD(SYS_preadv2),
	FD(SYS_pwritev2),
	FD(424) /* pidfd_send_signal */,
	FD(438) /* pidfd_getfd */,
	FD(452) /* fchmodat2 */,
};

void call_pass(struct call *c)
{
	c->g[REG_RCX] = c->g[REG_RIP];
	c->g[REG_RIP] = (greg_t)guest_stub_pass;
	c->g[REG_RAX] = c->nr;
}

void call_pass_watched(struct call *c)
{
	c->g[REG_RCX] = c->g[REG_RIP];
	c->g[REG_R11] = c->nr;
	c->g[REG_RIP] = (greg_t)guest_stub_watched;
	c->g[REG_RAX] = c->nr;
}

struct stub_frame *call_frame(struct call *c, uint64_t *at)
{
	static struct stub_frame frame;
	struct stub_frame *f = &frame;

	/* Below the signal frame, which the kernel will read once more. */
	*at = ((uint64_t)uc_frame(c->uc) - sizeof(*f)) & ~UINT64_C(15);
	memset(f, 0, sizeof(*f));
	if (user_write(*at, f, sizeof(*f)) != 0) {
		call_done(c, -EFAULT);
		return NULL;
	}
	f->ret = (uint64_t)c->g[REG_RIP];
	f->arg[0] = (uint64_t)c->g[REG_RDI];
	f->arg[1] = (uint64_t)c->g[REG_RSI];
	f->arg[2] = (uint64_t)c->g[REG_RDX];
	f->arg[3] = (uint64_t)c->g[REG_R10];
	f->arg[4] = (uint64_t)c->g[REG_R8];
	f->arg[5] = (uint64_t)c->g[REG_R9];
	f->sp = (uint64_t)c->g[REG_RSP];
	return f;
}

void call_pass_changed(struct call *c, const struct stub_frame *f, uint64_t at)
{
	if (user_write(at, f, sizeof(*f)) != 0) {
		call_done(c, -EFAULT);
		return;
	}
	c->g[REG_RDI] = (greg_t)c->a[0];
	c->g[REG_RSI] = (greg_t)c->a[1];
	c->g[REG_RDX] = (greg_t)c->a[2];
	c->g[REG_R10] = (greg_t)c->a[3];
	c->g[REG_R8] = (greg_t)c->a[4];
	c->g[REG_R9] = (greg_t)c->a[5];
	c->g[REG_RSP] = (greg_t)at;
	c->g[REG_RIP] = (greg_t)guest_stub_changed;
	c->g[REG_RAX] = c->nr;
}

/* The call is over: back to the guest, RAX is the result. */
static void watched_return(struct call *c)
{
	const struct watch_frame *f = (const void *)c->g[REG_RSP];

	c->nr = (long)f->nr;
	c->g[REG_RIP] = (greg_t)f->ret;
	c->g[REG_RSP] += (greg_t)sizeof(*f);
}

int dispatch_arm(void)
{
	return (int)raw5(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, 1, guest_stub_start, HOST_PAGE,
			 &guest_selector);
}

/* Another architecture's call (int 0x80): the numbers mean something else. */
static void wrong_arch(struct call *c)
{
	say_once("the program made a 32-bit system call (number %ld): not supported, ENOSYS",
		 c->nr);
	call_done(c, -ENOSYS);
}

void *guest_sigsys(int sig, siginfo_t *info, void *ucontext)
{
	ucontext_t *uc = ucontext;
	struct call c = {.uc = uc, .g = uc->uc_mcontext.gregs, .nr = info->si_syscall};
	uint64_t ip = (uint64_t)c.g[REG_RIP];

	if (info->si_code != SYS_USER_DISPATCH_CODE) {
		return signal_foreign_sigsys(info, uc);
	}
	c.a[0] = (uint64_t)c.g[REG_RDI];
	c.a[1] = (uint64_t)c.g[REG_RSI];
	c.a[2] = (uint64_t)c.g[REG_RDX];
	c.a[3] = (uint64_t)c.g[REG_R10];
	c.a[4] = (uint64_t)c.g[REG_R8];
	c.a[5] = (uint64_t)c.g[REG_R9];
	if (ip == (uint64_t)guest_trap_watched_ip) {
		watched_return(&c);
		procfs_watched(&c);
	} else if (ip == (uint64_t)guest_trap_parent_ip) {
		process_parent(&c);
	} else if (ip == (uint64_t)guest_trap_child_ip) {
		process_child(&c);
	} else if (info->si_arch != AUDIT_ARCH_X86_64) {
		wrong_arch(&c);
	} else if (c.nr < 0 || c.nr >= GUEST_CALLS) {
		call_pass(&c);
	} else if (guest.count[c.nr]++, !fdguard_refuses(&c, table[c.nr].fds)) {
		if (table[c.nr].fn != NULL)
			table[c.nr].fn(&c);
		else
			call_pass(&c);
	}
	return uc_frame(uc);
}

/* ---- calls that could pull the rug from under us ---- */

static void sys_prctl(struct call *c)
{
	switch ((int)c->a[0]) {
	case PR_SET_SYSCALL_USER_DISPATCH:
		say_once("the program asked for syscall user dispatch, which vmspace itself uses: "
			 "EINVAL");
		call_done(c, -EINVAL);
		return;
	case 22: /* PR_SET_SECCOMP */
		sys_seccomp(c);
		return;
	case 35: /* PR_SET_MM */
		call_done(c, -EPERM);
		return;
	}
	call_pass(c);
}

static void sys_seccomp(struct call *c)
{
	say_once("the program asked for a seccomp filter: not supported, EINVAL");
	call_done(c, -EINVAL);
}

/* The kernel would map memory by itself, behind the engine's back. */
static void sys_maps_itself(struct call *c)
{
	if (c->nr == SYS_io_setup || c->nr == 425)
		say_once("the program asked for asynchronous I/O rings: not supported yet, ENOSYS");
	call_done(c, -ENOSYS);
}

static void sys_arch_prctl(struct call *c)
{
	if ((int)c->a[0] >= 0x5001 && (int)c->a[0] <= 0x5004) { /* ARCH_SHSTK_* */
		call_done(c, -EOPNOTSUPP);
		return;
	}
	call_pass(c); /* runs on the guest's own FS and GS base */
}
