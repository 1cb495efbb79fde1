/* SPDX-License-Identifier: MIT */
/*
 * guest.h: the native runtime of `vmspace run`, seen from inside.
 *
 * One process holds the guest and us. The guest owns the addresses below GUEST_TASK, we own what
 * lies above. Its system calls reach us as SIGSYS (syscall user dispatch); we answer memory calls
 * ourselves and let the rest run from a stub after our handler has returned.
 *
 *	layout.c	what is ours, what is the guest's; the vdso; leaving libc's traces
 *	entry.S		the ways in and out
 *	dispatch.c	one table: call number -> who answers
 *	user.c		touching guest memory
 *	signal.c	the guest's view of signals; SIGSYS is virtual
 *	process.c	fork, vfork, clone
 *	exec.c		execve, scripts, handing over to the next image
 *	image.c		ELF files: checks and loading
 *	elfcheck.c	files linked for smaller pages than the guest's
 *	stack.c		the first stack and the auxiliary vector
 *	fdguard.c	our descriptors
 *	procfs.c	/proc/self as the guest should see it
 *	fault.c		a program that dies of a fault
 *	mem.c		memory calls, arguments and answers
 *	shm.c		System V shared memory
 *	start.c		from a found program to its first instruction
 *	trace.c report.c	what --trace, --maps and --stats write
 *	check.c		VMSPACE_CHECK=1: the engine's maps against the host's
 *	say.c		sentences on stderr
 *
 * Invariants
 *	G1 C code of ours runs with every signal blocked, on guest_stack, on our FS base.
 *	G2 After start all memory of ours lies at or above GUEST_TASK. No libc call that may map
 *	   memory or start a thread is made; malloc lives in the kernel's heap behind our bss.
 *	G3 No libc call goes through the vdso (clock_gettime, time, ...): it has been moved.
 *	G4 SIGSYS is never blocked while guest code runs.
 *	G5 Guest pointers are read and written by user.c only. The exceptions are the signal frame,
 *	   which the kernel has written a moment ago, and what a stub of ours has pushed above it.
 */
#ifndef GUEST_H
#define GUEST_H

#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <ucontext.h>

#include "raw.h"

#define GUEST_TASK  UINT64_C(0x7ff000000000) /* exclusive end of guest addresses */
#define HOST_TASK   UINT64_C(0x7ffffffff000)
#define HOST_PAGE   UINT64_C(4096)
#define MAX_PAGE    (UINT64_C(1) << 20)
#define GUEST_NSIG  64
#define GUEST_CALLS 480 /* call numbers that we know of are below */
#define SIGBIT(sig) (UINT64_C(1) << ((sig)-1))

/* ---- entry.S ---- */

extern char guest_stub_start[], guest_stub_end[];
extern char guest_restorer[], guest_stub_pass[], guest_stub_changed[], guest_stub_watched[];
extern char guest_stub_clone[], guest_stub_changed_ip[];
extern char guest_trap_watched_ip[], guest_trap_parent_ip[], guest_trap_child_ip[];
extern char guest_sigsys_entry[], guest_fault_entry[];
extern volatile uint8_t guest_selector;
extern uint64_t guest_host_fs;
extern char guest_stack[];
_Noreturn void guest_enter(void *frame);

/* ---- state ---- */

/* sigaction as the kernel has it. */
struct ksigaction {
	uint64_t handler;
	uint64_t flags;
	uint64_t restorer;
	uint64_t mask;
};

/* The descriptors we own. */
enum guest_fd {
	FD_SELF,  /* our program, O_PATH */
	FD_MAPS,  /* /proc/self/maps of the host, for the engine */
	FD_TRACE, /* the trace file */
	FD_ERR,	  /* stderr for the report at the end, when one was asked for */
	GUEST_FDS
};

/*
 * What the kernel copies at vfork while our memory stays shared: saved by the parent's record,
 * put back when it runs again (process.c).
 */
struct guest_proc {
	int pid;
	struct ksigaction act[GUEST_NSIG + 1]; /* as the guest set them */
	bool sys_masked;		       /* the guest believes SIGSYS blocked */
	bool sys_pending;		       /* a real SIGSYS came meanwhile */
	bool alt_on;			       /* the guest has an alternate stack */
	int fd[GUEST_FDS];		       /* our descriptors, -1 for none (fdguard.c) */
	int fd_low;			       /* the lowest of them */
};

struct guest_opts {
	uint64_t page_size;
	const char *trace; /* NULL: none */
	bool maps, stats;
	bool child; /* not the process that vmspace run started */
};

struct guest {
	struct guest_proc proc;
	struct guest_opts opts;
	char exe[PATH_MAX];	  /* the guest's program, as /proc/self/exe shows it */
	char self_path[PATH_MAX]; /* ours */
	uint64_t self_dev, self_ino;
	uint32_t count[GUEST_CALLS]; /* system calls by number, of this image */
	bool check;		     /* check.c */
	struct timespec started;
	uint64_t stack_top; /* initial top of the guest's stack */
	uint64_t auxv[64];  /* the guest's, for /proc/self/auxv */
	size_t auxv_bytes;
};
extern struct guest guest;

/* ---- dispatch.c ---- */

/* One system call of the guest, as the signal frame holds it. */
struct call {
	ucontext_t *uc;
	greg_t *g;
	long nr;
	uint64_t a[6];
};

/* What guest_stub_changed finds at rsp (entry.S). */
struct stub_frame {
	uint64_t ret;
	uint64_t arg[6]; /* rdi rsi rdx r10 r8 r9 */
	uint64_t sp;
	uint64_t room[8];
};
_Static_assert(offsetof(struct stub_frame, sp) == 56, "entry.S knows this place");

/* What guest_stub_watched has pushed when it traps (entry.S). */
struct watch_frame {
	uint64_t nr;
	uint64_t ret;
	uint64_t red_zone[16];
};

static inline void call_done(struct call *c, int64_t value)
{
	c->g[REG_RAX] = value;
}

/* Run the call as it is after we have returned. */
void call_pass(struct call *c);
/*
 * Run it with the arguments in c->a, which may point into `room` of *at, where the frame will
 * be. It is to be filled in by the caller, then sent off. NULL: there is no stack for it, and the
 * call has been answered EFAULT.
 */
struct stub_frame *call_frame(struct call *c, uint64_t *at);
void call_pass_changed(struct call *c, const struct stub_frame *f, uint64_t at);
/* Run it as it is, and come by us with the result (procfs_watched). */
void call_pass_watched(struct call *c);
/* Signal handlers of ours return the signal frame to leave through (entry.S). */
void *guest_sigsys(int sig, siginfo_t *info, void *uc);
int dispatch_arm(void);

/* The frame begins with the return address; the ucontext follows. */
static inline void *uc_frame(void *uc)
{
	return (char *)uc - 8;
}

/* The kernel reads this mask as 64 bits. */
static inline uint64_t *uc_mask(ucontext_t *uc)
{
	return (uint64_t *)(void *)&uc->uc_sigmask;
}

/* ---- user.c: 0 or -EFAULT ---- */

int user_read(void *dst, uint64_t src, size_t n);
int user_write(uint64_t dst, const void *src, size_t n);
/* The length without NUL, -EFAULT, or -ENAMETOOLONG. */
int64_t user_str(char *dst, uint64_t src, size_t size);

/* ---- say.c ---- */

void say_init(void);
/* A sentence on stderr, "vmspace: " before and a newline after; never when stderr was replaced. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same, once for each place in the code. */
#define say_once(...)                     \
	do {                              \
		static bool said_;        \
		if (!said_) {             \
			said_ = true;     \
			say(__VA_ARGS__); \
		}                         \
	} while (0)
void say_text(const char *text, size_t len);
/* write(2) all of it; the signals that a refusal sends do not reach the guest. 0 or -errno. */
int quiet_write(int fd, const void *buf, size_t len);
/* A program may close stderr before it exits: keep it for --maps and --stats. */
void say_keep(void);

/* ---- signal.c ---- */

int signal_start(void);
void *signal_foreign_sigsys(siginfo_t *info, ucontext_t *uc);
void sys_rt_sigaction(struct call *c);
void sys_rt_sigprocmask(struct call *c);
void sys_rt_sigreturn(struct call *c);
void sys_rt_sigsuspend(struct call *c);
void sys_sigaltstack(struct call *c);
void sys_ppoll(struct call *c);
void sys_pselect6(struct call *c);
void sys_epoll_pwait(struct call *c);
void sys_io_pgetevents(struct call *c);
void signal_own_altstack(stack_t *st);
/* Let the kernel's default action happen for `sig` from now on. */
void signal_native_default(int sig);

/* ---- process.c ---- */

void sys_fork(struct call *c);
void sys_vfork(struct call *c);
void sys_clone(struct call *c);
void sys_clone3(struct call *c);
void sys_exit(struct call *c);
/* This process runs in the memory of its parent, which waits. */
bool process_in_vfork(void);
/*
 * Between these two the state that a vforked child shares with its parent (the engine, our heap)
 * is not whole. A child that is killed between them ends its parent too (process.c, P4).
 */
void shared_enter(void);
void shared_leave(void);
void process_parent(struct call *c);
void process_child(struct call *c);

/* ---- exec.c ---- */

/* What the next image must know, in one word of its command line. */
struct handover {
	int exe_fd;
	uint64_t mask;
	bool sys_masked, sys_ignored;
	bool fresh; /* the trace file of this process begins with this image */
	struct guest_opts opts;
};
#define HANDOVER_OPTION "--hand-over="
void sys_execve(struct call *c);
void sys_execveat(struct call *c);
int handover_parse(const char *text, struct handover *h);

/* A program to start: the ELF file that will be mapped, and the arguments scripts put in front. */
#define PROGRAM_DEPTH 5
struct program {
	int fd;	    /* the ELF file */
	int nextra; /* arguments that replace argv[0] */
	const char *extra[2 * PROGRAM_DEPTH + 2];
	char text[PROGRAM_DEPTH][PATH_MAX + 512];
	bool privileged;    /* set-uid, set-gid or file capabilities were ignored */
	bool own;	    /* it is vmspace */
	const char *reason; /* after ENOEXEC and its like */
};
/* 0 or a negative errno as execve's. Follows `#!`. */
int program_find(int dirfd, const char *path, int flags, struct program *p);

/* ---- image.c ---- */

struct image {
	uint64_t base;	/* load bias */
	uint64_t entry; /* first instruction of the program itself */
	uint64_t phdr, phnum, phent;
	uint64_t end; /* of the highest segment */
	uint64_t start_code, end_code, start_data, end_data;
	bool exec_stack;
	char interp[PATH_MAX]; /* empty: none */
};
/*
 * Is this an ELF program for this machine, whole and sane? 0, -ENOEXEC, -ELIBBAD..., and a reason.
 */
int image_check(int fd, const char **reason, char *interp, size_t interp_size);
enum image_role { IMAGE_PROGRAM, IMAGE_INTERP };
int image_load(int fd, enum image_role role, struct image *img, const char **reason);

/* ---- elfcheck.c ---- */

/* Does the layout fit? 0, or -ENOEXEC and a sentence in `why`. What is no ELF file fits. */
int elfcheck(int fd, uint64_t page, char *why, size_t size);
/* The same for a file that the guest maps executable: says so itself; 0 or -EINVAL. */
int elfcheck_mapping(int fd);

/* ---- stack.c ---- */

struct start {
	const char *execfn;
	int argc;
	char **argv;
	char **envp;
	struct image prog, interp;
	bool dynamic;
	uint64_t vdso;
	/* set by stack_build() */
	uint64_t arg_start, arg_end, env_start, env_end;
};
/* Build the first stack; 0 and the stack pointer, or a negative errno. */
int stack_build(struct start *s, uint64_t *sp);

/* ---- layout.c ---- */

int layout_start(const char **reason);
/* Move the vdso to where the guest's kernel would have put it. */
int layout_vdso(uint64_t *vdso);
extern uint64_t layout_vdso_start, layout_vdso_end; /* and its data */
uint64_t layout_random(uint64_t pages);		    /* below `pages`, 0 if randomisation is off */
bool layout_randomize(void);
/* mmap for ourselves: the address, in our range unless one was asked for, or a negative errno. */
int64_t layout_mmap(uint64_t addr, uint64_t len, int prot, int flags, int fd, uint64_t off);

/* The line of [vsyscall] in the maps, NULL if this kernel has none. */
extern const char *layout_vsyscall;

/* ---- trace.c ---- */

void trace_open(bool fresh);
void trace_image(const char *name);
void trace_block(void);
void trace_call(const char *name, const uint64_t *a, int64_t ret);

/* ---- check.c ---- */

void check_maps_agree(void);

/* ---- report.c ---- */

/* The program is about to exit: what the options ask for at the end. */
void run_finish(void);

/* ---- fdguard.c ---- */

void fdguard_start(void);
/* Move `fd` to the top of the table as ours; the new number or a negative errno. */
int fdguard_adopt(enum guest_fd which, int fd);
int fdguard_dup_high(int fd, bool cloexec);
/* Between these there is room for descriptors beyond the guest's limit. */
void fdguard_room_begin(void);
void fdguard_room_end(void);
void fdguard_drop(enum guest_fd which);
bool fdguard_ours(uint64_t fd);
/* A descriptor argument (bit n of `fds`: argument n) is ours: EBADF was answered. */
bool fdguard_refuses(struct call *c, unsigned fds);
void sys_close_range(struct call *c);
void sys_dup2(struct call *c);

/* ---- procfs.c ---- */

void sys_open(struct call *c);
void procfs_watched(struct call *c);
void sys_readlink(struct call *c);
void sys_getdents64(struct call *c);
void sys_path(struct call *c); /* calls that follow a path: /proc/self/exe is the guest's */
bool procfs_is_exe_name(const char *path);
/* Tell the kernel what to show of this process. */
void procfs_describe(const struct start *s, uint64_t sp);

/* ---- fault.c ---- */

void *guest_fault(int sig, siginfo_t *info, void *uc);

/* ---- start.c ---- */

/* First of all: our own program, descriptors and identity. 0 or an exit status. */
int guest_prepare(void);

/* Become the guest. Returns an exit status if that fails. */
int guest_run(struct start *s, const struct handover *h);

#endif
