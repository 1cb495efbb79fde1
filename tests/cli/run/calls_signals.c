// SPDX-License-Identifier: MIT
/* calls_signals.c: waiting, masks and SIGSYS. */
#include "calls.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void timer(int ms)
{
	struct itimerval t = { { 0, 0 }, { ms / 1000, ms % 1000 * 1000 } };

	setitimer(ITIMER_REAL, &t, NULL);
}

static void timer_every(int ms)
{
	struct itimerval t = { { 0, ms * 1000 }, { 0, ms * 1000 } };

	setitimer(ITIMER_REAL, &t, NULL);
}

/*
 * The timer repeats, so a signal that comes before its call is no loss; what is to be interrupted
 * would last long.
 */
void case_eintr(void)
{
	struct timespec t = { 20, 0 }, left = { 0, 0 };
	int p[2];
	char b;

	handle(SIGALRM, on_signal, 0);
	if (pipe(p) != 0)
		return;
	timer_every(50);
	ssize_t r = read(p[0], &b, 1);

	printf("read: %zd errno %d hits %d\n", r, errno, hits > 0);
	hits = 0;
	handle(SIGALRM, on_signal, SA_RESTART);
	timer_every(50);
	pid_t c = fork();

	if (c == 0) {
		struct timespec pause = { 0, 150000000 };

		nanosleep(&pause, NULL);
		_exit(write(p[1], "x", 1) != 1);
	}
	r = read(p[0], &b, 1);
	printf("restarted read: %zd %c hits %d\n", r, b, hits > 0);
	show_status("child", wait_for(c));
	handle(SIGALRM, on_signal, 0);
	timer_every(50);
	r = nanosleep(&t, &left);
	printf("nanosleep: %zd errno %d left %d\n", r, errno, left.tv_sec > 0);
	handle(SIGALRM, on_signal, SA_RESTART);
	timer_every(50);
	r = clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
	printf("clock_nanosleep: %zd\n", r);
	timer_every(0);
}

void case_masks(void)
{
	sigset_t full, old, wait_mask;
	struct timespec t = { 0, 30000000 };

	sigfillset(&full);
	printf("set %d\n", sigprocmask(SIG_SETMASK, &full, &old));
	sigprocmask(SIG_BLOCK, NULL, &old);
	for (int s = 1; s < 32; s++)
		printf("%d", sigismember(&old, s));
	printf("\n");
	handle(SIGALRM, on_signal, 0);
	timer(30);
	sigfillset(&wait_mask);
	sigdelset(&wait_mask, SIGALRM);
	printf("sigsuspend %d errno %d hits %d\n", sigsuspend(&wait_mask), errno, hits);
	timer(30);
	printf("ppoll %d errno %d\n", ppoll(NULL, 0, NULL, &wait_mask), errno);
	timer(30);
	printf("pselect %d errno %d\n", pselect(0, NULL, NULL, NULL, NULL, &wait_mask), errno);
	int ep = epoll_create1(0);
	struct epoll_event ev;

	timer(30);
	printf("epoll_pwait %d errno %d\n", epoll_pwait(ep, &ev, 1, -1, &wait_mask), errno);
	sigfillset(&wait_mask);
	printf("full ppoll %d\n", ppoll(NULL, 0, &t, &wait_mask));
	printf("full pselect %d\n", pselect(0, NULL, NULL, NULL, &t, &wait_mask));
	printf("hits %d\n", hits);
	sigprocmask(SIG_BLOCK, NULL, &old);
	printf("still masked %d %d\n", sigismember(&old, SIGSYS), sigismember(&old, SIGUSR1));
	kill(getpid(), SIGUSR1);
	sigpending(&old);
	printf("pending %d\n", sigismember(&old, SIGUSR1));
	handle(SIGUSR1, on_signal, 0);
	sigemptyset(&full);
	sigprocmask(SIG_SETMASK, &full, NULL);
	printf("last %d\n", last_sig);
	/* Arguments the kernel refuses. */
	printf("how %d errno %d\n", sigprocmask(77, &full, NULL), errno);
	printf("size %ld errno %d\n", syscall(SYS_rt_sigprocmask, 0, &full, NULL, 4), errno);
	printf("bad %ld errno %d\n", syscall(SYS_rt_sigprocmask, 0, 8, NULL, 8), errno);
	printf("bad %ld errno %d\n", syscall(SYS_rt_sigprocmask, 0, NULL, 8, 8), errno);
	printf("bad %ld errno %d\n", syscall(SYS_rt_sigaction, SIGUSR1, 8, NULL, 8), errno);
	printf("bad %ld errno %d\n", syscall(SYS_rt_sigaction, SIGKILL, &full, NULL, 8), errno);
	printf("bad %ld errno %d\n", syscall(SYS_rt_sigaction, 65, NULL, NULL, 8), errno);
	printf("bad %ld errno %d\n", syscall(SYS_rt_sigsuspend, 8, 8), errno);
	printf("bad %ld errno %d\n", syscall(SYS_sigaltstack, 8, NULL), errno);
}

/* A full mask: only SIGKILL gets through. */
void case_suspend_full(void)
{
	sigset_t full, old;

	/* The child is born with it: however late it runs, no signal comes too early. */
	sigfillset(&full);
	sigprocmask(SIG_SETMASK, &full, &old);
	pid_t c = fork();

	if (c == 0) {
		sigsuspend(&full);
		_exit(1);
	}
	struct timespec t = { 0, 80000000 };

	nanosleep(&t, NULL);
	kill(c, SIGSYS);
	nanosleep(&t, NULL);
	kill(c, SIGTERM);
	nanosleep(&t, NULL);
	int st;

	printf("alive %d\n", waitpid(c, &st, WNOHANG) == 0);
	kill(c, SIGKILL);
	sigprocmask(SIG_SETMASK, &old, NULL);
	show_status("child", wait_for(c));
}

static volatile sig_atomic_t last_code, masked_in_handler;

static void on_info(int sig, siginfo_t *info, void *uc)
{
	sigset_t now;

	hits++;
	last_sig = sig;
	last_code = info->si_code;
	sigprocmask(SIG_BLOCK, NULL, &now);
	masked_in_handler = sigismember(&now, SIGUSR2);
}

void case_sigsys(void)
{
	struct sigaction a, old;
	sigset_t s;

	memset(&a, 0, sizeof(a));
	a.sa_sigaction = on_info;
	a.sa_flags = SA_SIGINFO;
	sigemptyset(&a.sa_mask);
	sigaddset(&a.sa_mask, SIGUSR2);
	printf("sigaction %d\n", sigaction(SIGSYS, &a, &old));
	printf("was default %d\n", old.sa_handler == SIG_DFL);
	sigaction(SIGSYS, NULL, &old);
	printf("is ours %d mask %d flags %d\n", old.sa_sigaction == on_info,
	       sigismember(&old.sa_mask, SIGUSR2), old.sa_flags & SA_SIGINFO);
	kill(getpid(), SIGSYS);
	printf("hits %d sig %d code %d masked %d\n", hits, last_sig, last_code, masked_in_handler);
	sigprocmask(SIG_BLOCK, NULL, &s);
	printf("after: %d\n", sigismember(&s, SIGUSR2));
	raise(SIGSYS);
	printf("hits %d code %d\n", hits, last_code == SI_TKILL);
	sigemptyset(&s);
	sigaddset(&s, SIGSYS);
	sigprocmask(SIG_BLOCK, &s, NULL);
	kill(getpid(), SIGSYS);
	printf("blocked: hits %d\n", hits);
	sigprocmask(SIG_UNBLOCK, &s, NULL);
	printf("unblocked: hits %d\n", hits);
	signal(SIGSYS, SIG_IGN);
	kill(getpid(), SIGSYS);
	printf("ignored: hits %d\n", hits);
	fflush(stdout);
	pid_t c = fork();

	if (c == 0) {
		signal(SIGSYS, SIG_DFL);
		kill(getpid(), SIGSYS);
		_exit(1);
	}
	show_status("default", wait_for(c));
}

void case_storm(void)
{
	struct itimerval it = { { 0, 500 }, { 0, 500 } };
	long wrong = 0;
	pid_t me = getpid();

	handle(SIGALRM, on_signal, 0);
	setitimer(ITIMER_REAL, &it, NULL);
	for (int i = 0; i < 40000 || hits <= 10; i++) {
		if (syscall(SYS_getpid) != me)
			wrong++;
		if (i % 100 == 0) {
			void *p = mmap(NULL, 4096 * 3, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

			memset(p, 1, 4096 * 3);
			munmap(p, 4096 * 3);
		}
	}
	memset(&it, 0, sizeof(it));
	setitimer(ITIMER_REAL, &it, NULL);
	printf("wrong %ld\n", wrong);
}
