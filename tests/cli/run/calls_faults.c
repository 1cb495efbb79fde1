// SPDX-License-Identifier: MIT
/* calls_faults.c: faults that are handled, on which stack, and faults that kill. */
#include "calls.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static sigjmp_buf jump;
static volatile uintptr_t fault_addr, fault_code, on_alt;
static char alt[65536];

static void on_fault(int sig, siginfo_t *info, void *uc)
{
	char here;

	fault_addr = (uintptr_t)info->si_addr;
	fault_code = (uintptr_t)info->si_code;
	on_alt = &here >= alt && &here < alt + sizeof(alt);
	last_sig = sig;
	siglongjmp(jump, 1);
}

static volatile int depth_sink;
static int recurse(int n)
{
	volatile char pad[4096];

	pad[0] = (char)n;
	depth_sink = n;
	return recurse(n + 1) + pad[0];
}

void case_segv(void)
{
	struct sigaction a;
	stack_t st = { .ss_sp = alt, .ss_size = sizeof(alt) }, got;

	memset(&a, 0, sizeof(a));
	a.sa_sigaction = on_fault;
	a.sa_flags = SA_SIGINFO | SA_ONSTACK;
	sigaction(SIGSEGV, &a, NULL);
	sigaction(SIGBUS, &a, NULL);
	if (sigsetjmp(jump, 1) == 0)
		*(volatile int *)16 = 1;
	printf("null: addr %d code %d alt %d\n", (int)fault_addr, (int)fault_code, (int)on_alt);
	char *p = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (sigsetjmp(jump, 1) == 0)
		p[4096] = 1;
	printf("read-only: right addr %d code %d\n", fault_addr == (uintptr_t)p + 4096,
	       (int)fault_code);
	munmap(p, 8192);
	if (sigsetjmp(jump, 1) == 0)
		depth_sink = p[1];
	printf("unmapped: right addr %d code %d\n", fault_addr == (uintptr_t)p + 1,
	       (int)fault_code);
	sigaltstack(NULL, &got);
	printf("before: flags %d size %zu\n", got.ss_flags, got.ss_size);
	printf("sigaltstack %d\n", sigaltstack(&st, &got));
	sigaltstack(NULL, &got);
	printf("now: right %d flags %d size %zu\n", got.ss_sp == alt, got.ss_flags, got.ss_size);
	if (sigsetjmp(jump, 1) == 0)
		*(volatile int *)32 = 1;
	printf("on it: alt %d\n", (int)on_alt);
	struct rlimit r = { 4 << 20, RLIM_INFINITY };

	setrlimit(RLIMIT_STACK, &r);
	if (sigsetjmp(jump, 1) == 0)
		recurse(0);
	printf("overflow: deep %d alt %d code %d\n", depth_sink > 100, (int)on_alt,
	       (int)fault_code);
	st.ss_size = 100;
	int bad = sigaltstack(&st, NULL);

	printf("small: %d errno %d\n", bad, errno);
	st.ss_flags = 7;
	bad = sigaltstack(&st, NULL);
	printf("flags: %d errno %d\n", bad, errno);
	st.ss_flags = SS_DISABLE;
	printf("off: %d\n", sigaltstack(&st, NULL));
	sigaltstack(NULL, &got);
	printf("flags %d\n", got.ss_flags);
	if (sigsetjmp(jump, 1) == 0)
		*(volatile int *)48 = 1;
	printf("off it: alt %d\n", (int)on_alt);
	char name[] = "/tmp/guest-calls-XXXXXX";
	int fd = mkstemp(name);

	unlink(name);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (sigsetjmp(jump, 1) == 0)
		p[0] = 1;
	printf("beyond: sig %d code %d\n", last_sig, (int)fault_code);
}

static void on_alt_handler(int sig)
{
	stack_t st = { .ss_sp = alt, .ss_size = sizeof(alt) }, got;

	hits++;
	sigaltstack(NULL, &got);
	int r = sigaltstack(&st, NULL);

	printf("in handler: flags %d set %d errno %d\n", got.ss_flags, r, errno);
	if (hits == 1)
		raise(SIGUSR2);
}

void case_altstack(void)
{
	stack_t st = { .ss_sp = alt, .ss_size = sizeof(alt) };

	sigaltstack(&st, NULL);
	handle(SIGUSR1, on_alt_handler, SA_ONSTACK);
	handle(SIGUSR2, on_alt_handler, SA_ONSTACK);
	raise(SIGUSR1);
	printf("hits %d\n", hits);
	pid_t c = fork();

	if (c == 0) {
		stack_t got;

		sigaltstack(NULL, &got);
		_exit(got.ss_sp == alt ? 3 : 4);
	}
	show_status("inherited", wait_for(c));
	c = vfork();
	if (c == 0) {
		st.ss_flags = SS_DISABLE;
		sigaltstack(&st, NULL);
		signal(SIGUSR1, SIG_IGN);
		_exit(0);
	}
	wait_for(c);
	stack_t got;
	struct sigaction a;

	sigaltstack(NULL, &got);
	sigaction(SIGUSR1, NULL, &a);
	printf("after vfork: right %d handler %d\n", got.ss_sp == alt,
	       a.sa_handler == on_alt_handler);
}

static void die_of(int how)
{
	switch (how) {
	case 0:
		*(volatile int *)0 = 1;
		break;
	case 1:
		__asm__ volatile("ud2");
		break;
	case 2: {
		volatile int zero = 0;

		depth_sink = 1 / zero;
		break;
	}
	case 3:
		abort();
	case 4:
		raise(SIGSEGV);
		break;
	case 5:
		kill(getpid(), SIGBUS);
		break;
	case 6:
		((void (*)(void))0x1000)();
		break;
	case 7:
		__asm__ volatile("xor %%rsp, %%rsp; push %%rax" ::: "memory");
		break;
	case 8:
		signal(SIGSEGV, SIG_IGN);
		*(volatile int *)0 = 1;
		break;
	case 9: {
		sigset_t s;

		sigfillset(&s);
		sigprocmask(SIG_BLOCK, &s, NULL);
		*(volatile int *)0 = 1;
		break;
	}
	case 10: {
		struct rlimit r = { 4 << 20, 4 << 20 };

		setrlimit(RLIMIT_STACK, &r);
		recurse(0);
		break;
	}
	}
}

void case_deaths(void)
{
	struct rlimit none = { 0, 0 };
	char what[8];

	setrlimit(RLIMIT_CORE, &none);
	for (int i = 0; i <= 10; i++) {
		pid_t c = fork();

		if (c == 0) {
			close(2);
			die_of(i);
			_exit(99);
		}
		snprintf(what, sizeof(what), "%d", i);
		show_status(what, wait_for(c));
	}
}
