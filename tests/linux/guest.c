// SPDX-License-Identifier: MIT
/*
 * guest.c: the bare child process (guest.h). Freestanding: no library, no data segment, no
 * relocation.
 *
 * Invariants
 * 1. After start-up the address space holds the code, the area, and what the kernel refuses to
 * unmap.
 * 2. Nothing here maps, faults or frees memory on its own account, so every change of the address
 * space is one that the harness asked for. The stack is inside the area.
 * 3. A signal is expected only between the two labels of an access; anywhere else the child stops
 * and says so in area->failed.
 */
#include <asm/unistd.h>
#include <linux/futex.h>

#include "guest.h"

#define AREA ((struct guest_area *)GUEST_AREA)

static inline __attribute__((always_inline)) long sys6(long nr, unsigned long a, unsigned long b,
						       unsigned long c, unsigned long d,
						       unsigned long e, unsigned long f)
{
	register unsigned long r10 __asm__("r10") = d;
	register unsigned long r8 __asm__("r8") = e;
	register unsigned long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

#define sys3(nr, a, b, c) \
	sys6(nr, (unsigned long)(a), (unsigned long)(b), (unsigned long)(c), 0, 0, 0)

static __attribute__((noreturn)) void stop(unsigned line)
{
	AREA->failed = line;
	__atomic_store_n(&AREA->turn, 0, __ATOMIC_SEQ_CST);
	sys3(__NR_futex, &AREA->turn, FUTEX_WAKE, 1);
	for (;;) {
		sys3(__NR_exit_group, 1, 0, 0);
	}
}

/* The three fields of siginfo, and the one register of ucontext, that we need: fixed by the x86-64
 * ABI. */
struct info {
	int signo, error, code, pad;
	uint64_t addr;
};

struct context {
	uint64_t flags, link, stack[3];
	uint64_t r8_to_r15[8], rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip;
};

__attribute__((used)) static void on_signal(int sig, struct info *info, struct context *context)
{
	if (AREA->resume == 0) {
		stop(__LINE__);
	}
	AREA->sig = (uint32_t)sig;
	AREA->code = (uint32_t)info->code;
	AREA->addr = info->addr;
	context->rip = AREA->resume;
}

__asm__(".text\n"
	"restorer:\n"
	"	mov $15, %eax\n" /* rt_sigreturn */
	"	syscall\n"
	"	hlt\n"
	".globl _start\n"
	"_start:\n"
	"	xor %ebp, %ebp\n"
	"	mov %rsp, %rdi\n"
	"	call setup\n"
	"	mov %rax, %rsp\n" /* (inv. 2) the area's stack from here on */
	"	call serve\n"
	"	hlt\n");

extern char restorer[];

static uint64_t load(uint64_t addr)
{
	uint64_t value = 0;

	AREA->sig = 0;
	__asm__ volatile("lea 1f(%%rip), %%rcx\n\t"
			 "mov %%rcx, %[resume]\n\t"
			 "mov (%[addr]), %[value]\n"
			 "1:\tmovq $0, %[resume]\n"
			 : [value] "+&r"(value), [resume] "=m"(AREA->resume)
			 : [addr] "r"(addr)
			 : "rcx", "memory");
	return value;
}

static unsigned touch(uint64_t addr, uint64_t access, uint64_t byte)
{
	unsigned value = 0;

	AREA->sig = 0;
	if (access == GUEST_WRITE) {
		__asm__ volatile("lea 1f(%%rip), %%rcx\n\t"
				 "mov %%rcx, %[resume]\n\t"
				 "movb %b[byte], (%[addr])\n"
				 "1:\tmovq $0, %[resume]\n"
				 : [resume] "=m"(AREA->resume)
				 : [addr] "r"(addr), [byte] "q"(byte)
				 : "rcx", "memory");
	} else {
		__asm__ volatile("lea 1f(%%rip), %%rcx\n\t"
				 "mov %%rcx, %[resume]\n\t"
				 "movzbl (%[addr]), %[value]\n"
				 "1:\tmovq $0, %[resume]\n"
				 : [value] "+&r"(value), [resume] "=m"(AREA->resume)
				 : [addr] "r"(addr)
				 : "rcx", "memory");
	}
	return value;
}

static void open_as(const char *path, int wanted)
{
	long fd = sys3(__NR_open, path, 0, 0);

	if (fd < 0) {
		stop(__LINE__);
	}
	if (fd != wanted) {
		if (sys3(__NR_dup2, fd, wanted, 0) < 0) {
			stop(__LINE__);
		}
		sys3(__NR_close, fd, 0, 0);
	}
}

/* The open files show one address space for ever: after a fork the child needs its own. */
static void open_own(void)
{
	open_as("/proc/self/maps", GUEST_MAPS_FD);
	open_as("/proc/self/status", GUEST_STATUS_FD);
	AREA->pid = (int32_t)sys3(__NR_getpid, 0, 0, 0);
}

static long do_fork(uint64_t parent_goes_on)
{
	long pid = sys3(__NR_fork, 0, 0, 0);

	if (pid < 0) {
		return pid;
	}
	if ((pid == 0) == (parent_goes_on != 0)) {
		for (;;) {
			sys3(__NR_exit_group, 0, 0, 0);
		}
	}
	if (pid > 0) {
		sys6(__NR_wait4, (unsigned long)pid, 0, 0, 0, 0, 0);
	} else {
		open_own();
	}
	return 0;
}

/*
 * Pages without rights and pages to read by turns: no two of them are one region. A range that
 * reaches in from outside meets a sealed one first; to seal them all takes long.
 */
static long fill(uint64_t addr, uint64_t bytes, uint64_t n)
{
	/* PRIVATE | ANONYMOUS | NORESERVE | FIXED_NOREPLACE */
	long ret = sys6(__NR_mmap, addr, bytes, 0, 0x104022, -1ul, 0);

	for (uint64_t i = 1; ret >= 0 && i < n; i += 2) {
		uint64_t start = i * 4096, end = i + 1 == n ? bytes : start + 4096;

		ret = sys3(__NR_mprotect, addr + start, end - start, 1);
	}
	if (ret >= 0) {
		ret = sys3(GUEST_NR_MSEAL, addr, 4096, 0);
	}
	if (ret < 0 || n == 0) {
		return ret;
	}
	return sys3(GUEST_NR_MSEAL, addr + (n - 1) * 4096, bytes - (n - 1) * 4096, 0);
}

static void perform(struct guest_op *op)
{
	struct guest_area *area = AREA;

	op->sig = 0;
	op->code = 0;
	op->addr = 0;
	switch (op->nr) {
	case GUEST_TOUCH:
		op->ret = touch(op->a[0], op->a[1], op->a[2]);
		op->sig = area->sig;
		if (op->sig != 0) {
			op->ret = 0;
			op->code = area->code;
			op->addr = area->addr;
		}
		return;
	case GUEST_PEEK:
		for (uint64_t i = 0; i < op->a[1] && i < GUEST_PEEKS; i++) {
			area->peek[i].value = load(op->a[0] + i * 4096);
			area->peek[i].sig = area->sig;
			area->peek[i].code = area->sig != 0 ? area->code : 0;
			if (area->sig != 0) {
				area->peek[i].value = 0;
			}
		}
		op->ret = 0;
		return;
	case GUEST_FORK:
		op->ret = do_fork(op->a[0]);
		return;
	case GUEST_FILL:
		op->ret = fill(op->a[0], op->a[1], op->a[2]);
		return;
	case GUEST_LIMIT:
		op->ret = sys6(__NR_prlimit64, 0, op->a[0], 0, (unsigned long)area->limit, 0, 0);
		area->limit[0] = op->a[1] < area->limit[1] ? op->a[1] : area->limit[1];
		if (op->ret == 0) {
			op->ret = sys6(__NR_prlimit64, 0, op->a[0], (unsigned long)area->limit, 0,
				       0, 0);
		}
		return;
	case __NR_mincore:
		op->ret = sys3(__NR_mincore, op->a[0], op->a[1], area->vec);
		for (uint64_t i = 0; op->ret == 0 && i < 64 && i * 4096 < op->a[1]; i++) {
			op->addr |= (uint64_t)(area->vec[i] & 1) << i;
		}
		return;
	case __NR_mlockall:
		op->ret = sys3(__NR_mlockall, op->a[0], 0, 0);
		if (op->ret == 0 && (op->a[0] & 1)) {
			/* Our own regions count as special ones, which are never locked. */
			sys3(__NR_munlock, GUEST_CODE, GUEST_CODE_SIZE, 0);
			sys3(__NR_munlock, GUEST_AREA, GUEST_AREA_SIZE, 0);
		}
		return;
	case GUEST_EXIT:
		for (;;) {
			sys3(__NR_exit_group, 0, 0, 0);
		}
	default:
		op->ret = sys6((long)op->nr, op->a[0], op->a[1], op->a[2], op->a[3], op->a[4],
			       op->a[5]);
	}
}

/* The address that begins the last of the whole lines in text[from, to). */
static uint64_t last_address(uint32_t from, uint32_t to)
{
	const char *text = AREA->text;
	uint64_t v = 0;

	while (to > from && text[to - 1] != '\n') {
		to--;
	}
	if (to == from) {
		return 0;
	}
	for (to--; to > from && text[to - 1] != '\n'; to--) {
	}
	for (; text[to] != '-'; to++) {
		v = v << 4 | (uint64_t)(text[to] <= '9' ? text[to] - '0' : text[to] - 'a' + 10);
	}
	return v;
}

/*
 * Append a file of /proc to the text, the maps no further than they are wanted; the size, or 0 when
 * it did not fit.
 */
static uint32_t read_all(int fd, uint32_t at)
{
	uint64_t end = fd == GUEST_MAPS_FD ? AREA->maps_end : 0;
	uint32_t len = 0;

	for (;;) {
		uint32_t room = GUEST_TEXT - at - len;
		long n;

		if (room == 0) {
			return 0;
		}
		n = sys6(__NR_pread64, (unsigned long)fd, (unsigned long)(AREA->text + at + len),
			 room, len, 0, 0);
		if (n < 0) {
			stop(__LINE__);
		}
		if (n == 0) {
			return len;
		}
		len += (uint32_t)n;
		if (end != 0 && last_address(at, at + len) >= end) {
			return len;
		}
	}
}

__attribute__((used, noreturn)) static void serve(void)
{
	struct guest_area *area = AREA;
	uint64_t minute[2] = { 60, 0 };

	/* (inv. 1) What refuses, such as a sealed vdso, stays and is seen in the maps. */
	sys3(__NR_munmap, 0, GUEST_CODE, 0);
	sys3(__NR_munmap, GUEST_CODE + GUEST_CODE_SIZE, GUEST_AREA - GUEST_CODE - GUEST_CODE_SIZE,
	     0);
	sys3(__NR_munmap, GUEST_AREA + GUEST_AREA_SIZE, GUEST_TASK - GUEST_AREA - GUEST_AREA_SIZE,
	     0);
	area->sealed = sys3(GUEST_NR_MSEAL, GUEST_CODE, GUEST_CODE_SIZE, 0) == 0 &&
		       sys3(GUEST_NR_MSEAL, GUEST_AREA, GUEST_AREA_SIZE, 0) == 0;

	for (;;) {
		uint32_t text = 0, i;

		while (__atomic_load_n(&area->turn, __ATOMIC_SEQ_CST) == 0) {
			/* A harness that died must not leave children behind. */
			if (sys6(__NR_futex, (unsigned long)&area->turn, FUTEX_WAIT, 0,
				 (unsigned long)minute, 0, 0) == -110) {
				sys3(__NR_exit_group, 2, 0, 0);
			}
		}
		for (i = 0; i < area->count; i++) {
			struct guest_op *op = &area->op[i];

			perform(op);
			op->text = text;
			op->text_len = op->status_len = 0;
			if (op->want_maps) {
				op->text_len = read_all(GUEST_MAPS_FD, text);
				op->status = text + op->text_len;
				op->status_len = op->text_len == 0 ?
							 0 :
							 read_all(GUEST_STATUS_FD, op->status);
				text = op->status + op->status_len;
				if (op->status_len == 0) {
					/* Full: the last one is done but its maps must be asked
					 * again. */
					i++;
					break;
				}
			}
		}
		area->done = i;
		__atomic_store_n(&area->turn, 0, __ATOMIC_SEQ_CST);
		sys3(__NR_futex, &area->turn, FUTEX_WAKE, 1);
	}
}

/* Map the area, drop all the rest, catch the two signals. Returns the new stack. */
__attribute__((used)) static uint64_t setup(uint64_t stack)
{
	/* struct sigaction as the kernel has it. */
	struct {
		void (*handler)(int, struct info *, struct context *);
		uint64_t flags;
		void *restorer;
		uint64_t mask;
	} act = { on_signal, 0x4000004, restorer, 0 }; /* SA_SIGINFO | SA_RESTORER */
	long at;

	at = sys6(__NR_mmap, GUEST_AREA, GUEST_AREA_SIZE, 3, 0x11, GUEST_AREA_FD, 0);
	if (at != (long)GUEST_AREA) {
		sys3(__NR_exit_group, 3, 0, 0);
	}
	sys3(__NR_close, GUEST_AREA_FD, 0, 0);
	if (sys6(__NR_rt_sigaction, 11, (unsigned long)&act, 0, 8, 0, 0) != 0 ||
	    sys6(__NR_rt_sigaction, 7, (unsigned long)&act, 0, 8, 0, 0) != 0) {
		stop(__LINE__);
	}
	open_own();
	AREA->first_stack = stack;
	return (uint64_t)AREA->stack + GUEST_STACK;
}
