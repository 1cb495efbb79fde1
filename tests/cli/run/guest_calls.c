// SPDX-License-Identifier: MIT
/*
 * guest_calls.c: a guest that does what is hard to get right when somebody stands between a
 * program and its kernel. Each case prints what it saw; the test compares a bare run with a run
 * under vmspace, so nothing here may print an address or a number that changes from run to run.
 *
 *	guest_calls CASE
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

extern char **environ;
static char *self;

static volatile sig_atomic_t hits, last_sig, last_code, masked_in_handler;

static void on_signal(int sig)
{
	hits++;
	last_sig = sig;
}

static void on_info(int sig, siginfo_t *info, void *uc)
{
	sigset_t now;

	hits++;
	last_sig = sig;
	last_code = info->si_code;
	sigprocmask(SIG_BLOCK, NULL, &now);
	masked_in_handler = sigismember(&now, SIGUSR2);
}

static void handle(int sig, void (*fn)(int), int flags)
{
	struct sigaction a;

	memset(&a, 0, sizeof(a));
	a.sa_handler = fn;
	a.sa_flags = flags;
	sigaction(sig, &a, NULL);
}

static void timer(int ms)
{
	struct itimerval t = {{0, 0}, {ms / 1000, ms % 1000 * 1000}};

	setitimer(ITIMER_REAL, &t, NULL);
}

static void show_status(const char *what, int st)
{
	if (WIFSIGNALED(st))
		printf("%s: killed by %d\n", what, WTERMSIG(st));
	else
		printf("%s: exit %d\n", what, WEXITSTATUS(st));
}

static int wait_for(pid_t p)
{
	int st = -1;

	while (waitpid(p, &st, 0) < 0 && errno == EINTR)
		;
	return st;
}

static void case_eintr(void)
{
	int p[2];
	char b;

	handle(SIGALRM, on_signal, 0);
	if (pipe(p) != 0)
		return;
	timer(50);
	ssize_t r = read(p[0], &b, 1);

	printf("read: %zd errno %d hits %d\n", r, errno, hits);
	handle(SIGALRM, on_signal, SA_RESTART);
	timer(50);
	pid_t c = fork();

	if (c == 0) {
		struct timespec t = {0, 150000000};

		nanosleep(&t, NULL);
		_exit(write(p[1], "x", 1) != 1);
	}
	r = read(p[0], &b, 1);
	printf("restarted read: %zd %c hits %d\n", r, b, hits);
	show_status("child", wait_for(c));
	handle(SIGALRM, on_signal, 0);
	timer(50);
	struct timespec t = {1, 0}, left = {0, 0};

	r = nanosleep(&t, &left);
	printf("nanosleep: %zd errno %d left %d\n", r, errno, left.tv_nsec > 500000000);
	handle(SIGALRM, on_signal, SA_RESTART);
	timer(50);
	t.tv_sec = 0;
	t.tv_nsec = 120000000;
	r = clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
	printf("clock_nanosleep: %zd\n", r);
}

static void case_masks(void)
{
	sigset_t full, old, wait_mask;
	struct timespec t = {0, 30000000};

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
static void case_suspend_full(void)
{
	sigset_t full;
	pid_t c = fork();

	if (c == 0) {
		sigfillset(&full);
		sigsuspend(&full);
		_exit(1);
	}
	struct timespec t = {0, 80000000};

	nanosleep(&t, NULL);
	kill(c, SIGSYS);
	nanosleep(&t, NULL);
	kill(c, SIGTERM);
	nanosleep(&t, NULL);
	int st;

	printf("alive %d\n", waitpid(c, &st, WNOHANG) == 0);
	kill(c, SIGKILL);
	show_status("child", wait_for(c));
}

static void case_sigsys(void)
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

static void case_segv(void)
{
	struct sigaction a;
	stack_t st = {.ss_sp = alt, .ss_size = sizeof(alt)}, got;

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
	struct rlimit r = {4 << 20, RLIM_INFINITY};

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
	stack_t st = {.ss_sp = alt, .ss_size = sizeof(alt)}, got;

	hits++;
	sigaltstack(NULL, &got);
	int r = sigaltstack(&st, NULL);

	printf("in handler: flags %d set %d errno %d\n", got.ss_flags, r, errno);
	if (hits == 1)
		raise(SIGUSR2);
}

static void case_altstack(void)
{
	stack_t st = {.ss_sp = alt, .ss_size = sizeof(alt)};

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
	case 10:
		recurse(0);
		break;
	}
}

static void case_deaths(void)
{
	struct rlimit none = {0, 0};
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

static void case_vfork(void)
{
	volatile int x = 0;
	pid_t c = vfork();

	if (c == 0) {
		x = 7;
		execl("/nonexistent/program", "x", (char *)NULL);
		_exit(errno);
	}
	show_status("exec fails", wait_for(c));
	printf("x %d\n", x);
	c = vfork();
	if (c == 0) {
		pid_t d = vfork();

		if (d == 0) {
			x++;
			execl("/bin/true", "true", (char *)NULL);
			_exit(9);
		}
		int st;

		waitpid(d, &st, 0);
		x += WEXITSTATUS(st) == 0 ? 10 : 100;
		pid_t e = vfork();

		if (e == 0) {
			x += 1000;
			kill(getpid(), SIGKILL);
		}
		waitpid(e, &st, 0);
		x += WIFSIGNALED(st) ? 10000 : 0;
		/* A real fork inside a vforked child. */
		pid_t f = fork();

		if (f == 0) {
			x = 0;
			_exit(5);
		}
		waitpid(f, &st, 0);
		x += WEXITSTATUS(st) * 100000;
		_exit(0);
	}
	show_status("nested", wait_for(c));
	printf("x %d\n", x);
	for (int i = 0; i < 200; i++) {
		c = vfork();
		if (c == 0)
			_exit(i & 127);
		int st = wait_for(c);

		if (WEXITSTATUS(st) != (i & 127))
			printf("wrong status %d\n", i);
	}
}

static void case_spawn(void)
{
	char *args[] = {(char *)"x", NULL};
	pid_t p;

	printf("missing %d\n", posix_spawn(&p, "/no/such/file", NULL, NULL, args, environ));
	printf("directory %d\n", posix_spawn(&p, "/tmp", NULL, NULL, args, environ));
	printf("no program %d\n", posix_spawn(&p, "/etc/passwd", NULL, NULL, args, environ));
	posix_spawn_file_actions_t fa;

	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
	posix_spawnattr_t at;
	sigset_t def;

	posix_spawnattr_init(&at);
	sigfillset(&def);
	posix_spawnattr_setsigdefault(&at, &def);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGDEF);
	handle(SIGUSR1, on_signal, 0);
	printf("echo %d\n", posix_spawn(&p, "/bin/echo", &fa, &at, args, environ));
	show_status("echo", wait_for(p));
	raise(SIGUSR1);
	printf("handler kept: hits %d\n", hits);
	printf("system %d\n", system("exit 3") >> 8);
	FILE *f = popen("echo from popen; echo second", "r");
	char line[64];

	while (fgets(line, sizeof(line), f) != NULL)
		fputs(line, stdout);
	printf("pclose %d\n", pclose(f));
}

static int in_clone(void *arg)
{
	*(int *)arg += 1;
	return getppid() > 0 ? 42 : 43;
}

static void case_clone(void)
{
	static char stack[65536] __attribute__((aligned(16)));
	int v = 5;

	pid_t c = clone(in_clone, stack + sizeof(stack), SIGCHLD, &v);

	show_status("own stack", wait_for(c));
	printf("v %d\n", v);
	c = clone(in_clone, stack + sizeof(stack), SIGCHLD | CLONE_VM | CLONE_VFORK, &v);
	show_status("shared", wait_for(c));
	printf("v %d\n", v);
	pid_t ptid = 0;

	c = (pid_t)syscall(SYS_clone, CLONE_PARENT_SETTID | SIGCHLD, 0, &ptid, 0, 0);
	if (c == 0)
		_exit(6);
	printf("ptid %d\n", ptid == c);
	show_status("raw", wait_for(c));
	long r = syscall(SYS_clone, CLONE_SIGHAND | SIGCHLD, 0, 0, 0, 0);

	printf("bad flags %ld errno %d\n", r, errno);
}

static void on_child(int sig)
{
	int st, e = errno;

	if (hits++ < 3) {
		pid_t c = fork();

		if (c == 0)
			_exit(0);
	}
	while (waitpid(-1, &st, WNOHANG) > 0)
		;
	errno = e;
}

static void case_fork(void)
{
	handle(SIGCHLD, on_child, SA_RESTART);
	for (int i = 0; i < 20; i++) {
		pid_t c = fork();

		if (c == 0)
			_exit(0);
	}
	struct timespec t = {0, 20000000};

	for (int i = 0; i < 10; i++)
		nanosleep(&t, NULL);
	signal(SIGCHLD, SIG_DFL);
	while (wait(NULL) > 0)
		;
	printf("left %d hits %d\n", errno, hits >= 3);
}

static void case_storm(void)
{
	struct itimerval it = {{0, 500}, {0, 500}};
	long wrong = 0;
	pid_t me = getpid();

	handle(SIGALRM, on_signal, 0);
	setitimer(ITIMER_REAL, &it, NULL);
	for (int i = 0; i < 40000; i++) {
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
	printf("wrong %ld hits %d\n", wrong, hits > 10);
}

static void case_fds(void)
{
	struct stat st;
	int open_now = 0, dup_fails = 0;

	for (int fd = 3; fd < 5000; fd++)
		if (fcntl(fd, F_GETFD) >= 0 || fstat(fd, &st) == 0 || close(fd) == 0)
			open_now++;
	printf("open %d\n", open_now);
	struct rlimit r;

	getrlimit(RLIMIT_NOFILE, &r);
	int top = r.rlim_cur > 5000 ? 5000 : (int)r.rlim_cur;

	for (int fd = 3; fd < top; fd++)
		if (dup2(1, fd) != fd)
			dup_fails++;
	printf("dup2 failed %d\n", dup_fails);
	printf("close_range %ld\n", syscall(SYS_close_range, 3, ~0u, 0));
	open_now = 0;
	for (int fd = 3; fd < top; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			open_now++;
	printf("open %d\n", open_now);
	printf("still able: %d\n", system("exit 4") >> 8);
	printf("wrong order %ld errno %d\n", syscall(SYS_close_range, 9, 3, 0), errno);
	printf("flags %ld errno %d\n", syscall(SYS_close_range, 3, ~0u, 64), errno);
	r.rlim_cur = 8;
	setrlimit(RLIMIT_NOFILE, &r);
	fflush(stdout);
	printf("low limit: %d\n", system("exit 5") >> 8);
}

static int count_maps(FILE *f, int *mine, int *bad)
{
	char line[512];
	unsigned long start, end, last = 0;
	int n = 0, sees_stack = 0;

	*mine = *bad = 0;
	while (fgets(line, sizeof(line), f) != NULL) {
		char perms[5];

		if (sscanf(line, "%lx-%lx %4s", &start, &end, perms) != 3 || start >= end ||
		    start < last)
			(*bad)++;
		last = end;
		n++;
		if (start <= (unsigned long)count_maps && (unsigned long)count_maps < end &&
		    perms[2] == 'x')
			(*mine)++;
		if (start <= (unsigned long)&line && (unsigned long)&line < end)
			sees_stack = 1;
		if (strstr(line, "vmspace") != NULL && strstr(line, self) == NULL)
			(*bad)++;
	}
	*mine += sees_stack * 10;
	return n;
}

static void case_procfs(void)
{
	static const char *const ways[] = {"/proc/self/maps", "/proc/thread-self/maps", NULL,
					   "/proc/self/task/../maps"};
	char path[64], buf[4096], buf2[4096];
	int mine, bad;

	for (int i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "/proc/%d/maps", getpid());
		FILE *f = fopen(ways[i] != NULL ? ways[i] : path, "r");

		if (f == NULL) {
			printf("way %d: errno %d\n", i, errno);
			continue;
		}
		int n = count_maps(f, &mine, &bad);

		rewind(f);
		int again = count_maps(f, &mine, &bad);

		printf("way %d: some %d same %d mine %d bad %d\n", i, n > 5, n == again, mine, bad);
		fclose(f);
	}
	int d = open("/proc/self", O_RDONLY | O_DIRECTORY);
	int fd = openat(d, "maps", O_RDONLY);
	FILE *f = fdopen(fd, "r");

	count_maps(f, &mine, &bad);
	printf("openat: mine %d bad %d writable %zd\n", mine, bad, write(fd, "x", 1));
	ssize_t n = readlink("/proc/self/exe", buf, sizeof(buf) - 1);

	buf[n > 0 ? n : 0] = 0;
	printf("exe %d\n", strcmp(buf, self) == 0);
	n = readlinkat(d, "exe", buf, 5);
	printf("cut %zd %.5s\n", n, buf);
	struct stat a, b;

	stat(self, &a);
	fd = open("/proc/self/exe", O_RDONLY);
	fstat(fd, &b);
	printf("opened exe %d\n", a.st_ino == b.st_ino && a.st_dev == b.st_dev);
	fd = openat(d, "exe", O_RDONLY);
	fstat(fd, &b);
	printf("openat exe %d\n", a.st_ino == b.st_ino && a.st_dev == b.st_dev);
	memset(&b, 0, sizeof(b));
	stat("/proc/self/exe", &b);
	printf("stat exe %d\n", a.st_ino == b.st_ino && a.st_dev == b.st_dev);
	lstat("/proc/self/exe", &b);
	printf("lstat exe %d\n", S_ISLNK(b.st_mode));
	fd = open("/proc/self/auxv", O_RDONLY);
	n = read(fd, buf, sizeof(buf));
	unsigned long *v = (unsigned long *)buf, found = 0;

	for (ssize_t i = 0; i + 2 <= n / 8; i += 2)
		if (v[i] == AT_ENTRY || v[i] == AT_BASE || v[i] == AT_SYSINFO_EHDR ||
		    v[i] == AT_PAGESZ || v[i] == AT_EXECFN || v[i] == AT_PHDR)
			found += v[i + 1] == getauxval(v[i]);
	printf("auxv %ld right %lu\n", n % 16, found);
	fd = open("/proc/self/cmdline", O_RDONLY);
	n = read(fd, buf, sizeof(buf));
	printf("cmdline %d %s\n", strcmp(buf, self) == 0, n > 0 ? buf + strlen(buf) + 1 : "");
	fd = open("/proc/self/comm", O_RDONLY);
	n = read(fd, buf2, sizeof(buf2));
	printf("comm %.*s", n > 0 ? (int)n : 0, buf2);
	fd = open("/proc/self/environ", O_RDONLY);
	n = read(fd, buf, sizeof(buf));
	printf("environ %d\n", n > 0 && environ[0] != NULL && strcmp(buf, environ[0]) == 0);
}

static void exec_wait(const char *what, char *const argv[], const char *file)
{
	fflush(stdout);
	pid_t c = fork();

	if (c == 0) {
		execve(file, argv, environ);
		printf("%s: errno %d\n", what, errno);
		fflush(stdout);
		_exit(0);
	}
	show_status(what, wait_for(c));
}

static void write_file(const char *name, const char *text, size_t len, mode_t mode)
{
	int fd = open(name, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, text, len) != (ssize_t)len)
		printf("cannot write %s\n", name);
	fchmod(fd, mode);
	close(fd);
}

static void case_exec(void)
{
	char dir[] = "/tmp/guest-calls-XXXXXX", text[9000];
	char *echo[] = {(char *)"zero", (char *)"args", NULL};

	if (mkdtemp(dir) == NULL || chdir(dir) != 0)
		return;
	exec_wait("missing", echo, "./missing");
	exec_wait("directory", echo, ".");
	exec_wait("through a file", echo, "/etc/passwd/x");
	exec_wait("empty name", echo, "");
	write_file("plain", "hello\n", 6, 0755);
	exec_wait("no format", echo, "./plain");
	write_file("empty", "", 0, 0755);
	exec_wait("empty file", echo, "./empty");
	write_file("script", "#!/bin/echo  one  two \nx\n", 25, 0755);
	exec_wait("script", echo, "./script");
	write_file("noexec", "#!/bin/echo\n", 12, 0644);
	exec_wait("no permission", echo, "./noexec");
	write_file("nested", "#! ./script inner\n", 18, 0755);
	exec_wait("nested script", echo, "./nested");
	write_file("badinterp", "#!/no/such/interp\n", 18, 0755);
	exec_wait("bad interpreter", echo, "./badinterp");
	write_file("blank", "#!   \n", 6, 0755);
	exec_wait("blank interpreter", echo, "./blank");
	write_file("loop", "#!./loop\n", 9, 0755);
	exec_wait("loop", echo, "./loop");
	memset(text, 'a', sizeof(text));
	memcpy(text, "#!/", 3);
	write_file("long", text, 4000, 0755);
	exec_wait("long line", echo, "./long");
	memcpy(text, "#!/bin/echo ", 12);
	write_file("longarg", text, 4000, 0755);
	exec_wait("long argument", echo, "./longarg");
	write_file("elf", "\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\3\0\76\0\1\0\0\0", 24, 0755);
	exec_wait("cut ELF", echo, "./elf");
	if (symlink("link2", "link1") != 0 || symlink("link1", "link2") != 0)
		printf("no symlinks\n");
	exec_wait("link loop", echo, "./link1");
	memset(text, 'b', sizeof(text));
	text[5000] = 0;
	exec_wait("long name", echo, text);
	char *none[] = {NULL};

	exec_wait("no arguments", none, "/bin/true");
	exec_wait("argv0",
		  (char *[]){(char *)"sh", (char *)"-c", (char *)"echo $0 $1", (char *)"me",
			     (char *)"you", NULL},
		  "/bin/sh");
	char *big = malloc(140000);

	memset(big, 'x', 139999);
	big[139999] = 0;
	exec_wait("big argument", (char *[]){(char *)"x", big, NULL}, "/bin/true");
	big[120000] = 0;
	exec_wait("less big", (char *[]){(char *)"x", big, NULL}, "/bin/true");
	fflush(stdout);
	pid_t c = fork();

	if (c == 0) {
		syscall(SYS_execve, "/bin/true", 8, environ);
		_exit(errno);
	}
	show_status("bad argv", wait_for(c));
	c = fork();
	if (c == 0) {
		syscall(SYS_execve, "/bin/true", echo, 8);
		_exit(errno);
	}
	show_status("bad envp", wait_for(c));
	c = fork();
	if (c == 0) {
		syscall(SYS_execve, 8, echo, environ);
		_exit(errno);
	}
	show_status("bad path", wait_for(c));
	/* By descriptor. */
	int fd = open("/bin/echo", O_RDONLY);

	c = fork();
	if (c == 0) {
		fexecve(fd, echo, environ);
		_exit(errno);
	}
	show_status("fexecve", wait_for(c));
	fd = open("./script", O_RDONLY);
	c = fork();
	if (c == 0) {
		syscall(SYS_execveat, fd, "", echo, environ, AT_EMPTY_PATH);
		_exit(errno);
	}
	show_status("fexecve script", wait_for(c));
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	c = fork();
	if (c == 0) {
		syscall(SYS_execveat, fd, "", echo, environ, AT_EMPTY_PATH);
		_exit(errno);
	}
	show_status("fexecve closed script", wait_for(c));
	c = fork();
	if (c == 0) {
		syscall(SYS_execveat, AT_FDCWD, "script", echo, environ, 0x4000);
		_exit(errno);
	}
	show_status("bad flags", wait_for(c));
	/* Masks and ignored signals go over to the new program. */
	sigset_t s;

	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	sigaddset(&s, SIGSYS);
	sigprocmask(SIG_BLOCK, &s, NULL);
	signal(SIGUSR2, SIG_IGN);
	signal(SIGHUP, on_signal);
	fflush(stdout);
	c = fork();
	if (c == 0) {
		execl(self, self, "inherited", (char *)NULL);
		_exit(99);
	}
	show_status("inherited", wait_for(c));
	execl("/bin/rm", "rm", "-r", dir, (char *)NULL);
}

static void case_inherited(void)
{
	struct sigaction a;
	sigset_t s;

	sigprocmask(SIG_BLOCK, NULL, &s);
	printf("blocked usr1 %d sys %d int %d\n", sigismember(&s, SIGUSR1), sigismember(&s, SIGSYS),
	       sigismember(&s, SIGINT));
	sigaction(SIGUSR2, NULL, &a);
	printf("ignored %d\n", a.sa_handler == SIG_IGN);
	sigaction(SIGHUP, NULL, &a);
	printf("default %d\n", a.sa_handler == SIG_DFL);
	sigaction(SIGSEGV, NULL, &a);
	printf("default %d flags %d\n", a.sa_handler == SIG_DFL, a.sa_flags);
}

static __thread int tls = 11;

static void case_memory(void)
{
	char *p = sbrk(0), *q;

	printf("brk %d\n", sbrk(1 << 20) == p);
	memset(p, 1, 1 << 20);
	printf("shrink %d\n", sbrk(-(1 << 20)) == p + (1 << 20) && sbrk(0) == p);
	p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	p[100] = 5;
	q = mremap(p, 1 << 20, 4 << 20, MREMAP_MAYMOVE);
	printf("mremap %d kept %d\n", q != MAP_FAILED, q[100]);
	printf("munmap %d\n", munmap(q, 4 << 20));
	printf("refused %d", mmap((void *)(1ul << 60), 4096, PROT_READ,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED);
	printf(" errno %d\n", errno);
	int r = munmap((void *)4097, 4096);

	printf("unaligned %d errno %d\n", r, errno);
	r = mprotect((void *)0x10000, 4096, PROT_READ);
	printf("hole %d errno %d\n", r, errno);
	printf("tls %d page %d\n", tls, sysconf(_SC_PAGESIZE) == (long)getauxval(AT_PAGESZ));
	volatile char *deep = __builtin_alloca(4 << 20);

	deep[0] = 3;
	printf("stack %d\n", deep[0]);
	int fd = open("/etc/passwd", O_RDONLY);

	q = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
	printf("file %d\n", memchr(q, ':', 100) != NULL);
	q = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	printf("shared read-only %d errno %d\n", q == MAP_FAILED, errno);
	q = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	q[0] = 1;
	pid_t c = fork();

	if (c == 0) {
		q[0] = 9;
		_exit(tls);
	}
	show_status("child", wait_for(c));
	printf("shared %d\n", q[0]);
}

static void case_efault(void)
{
	struct stat st;

	printf("open %ld errno %d\n", syscall(SYS_open, 8, 0), errno);
	printf("stat %ld errno %d\n", syscall(SYS_stat, 8, &st), errno);
	printf("stat2 %ld errno %d\n", syscall(SYS_stat, "/", 8), errno);
	printf("readlink %ld errno %d\n", syscall(SYS_readlink, 8, 8, 8), errno);
	printf("readlink2 %ld errno %d\n", syscall(SYS_readlink, "/proc/self/exe", 8, 8), errno);
	printf("readlink3 %ld errno %d\n", syscall(SYS_readlink, "/proc/self/exe", &st, 0), errno);
	printf("read %ld errno %d\n", syscall(SYS_read, 0, 8, 8), errno);
	printf("ppoll %ld errno %d\n", syscall(SYS_ppoll, NULL, 0, NULL, 8, 8), errno);
	printf("unknown %ld errno %d\n", syscall(470, 0), errno);
	printf("unknown %ld errno %d\n", syscall(100000, 0), errno);
	printf("unknown %ld errno %d\n", syscall(-5, 0), errno);
	printf("prlimit %ld errno %d\n", syscall(SYS_prlimit64, 0, RLIMIT_AS, 8, NULL), errno);
	printf("setrlimit %ld errno %d\n", syscall(SYS_setrlimit, 77, &st), errno);
}

/* A system call keeps all registers but rax, rcx and r11: the upper halves of ymm too. */
__attribute__((target("avx2"), noinline)) static int vectors_kept(long nr, long a, long b, long c,
								  long d, long e)
{
	static unsigned char in[16][32], out[16][32];
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = 8;
	long ret, kept_a, kept_b, kept_c;

	for (int i = 0; i < 16; i++)
		memset(in[i], 17 * i + 3, 32);
	__asm__ volatile(
		"vmovdqu 0(%[in]), %%ymm0\n vmovdqu 32(%[in]), %%ymm1\n"
		"vmovdqu 224(%[in]), %%ymm7\n vmovdqu 256(%[in]), %%ymm8\n"
		"vmovdqu 448(%[in]), %%ymm14\n vmovdqu 480(%[in]), %%ymm15\n"
		"syscall\n"
		"vmovdqu %%ymm0, 0(%[out])\n vmovdqu %%ymm1, 32(%[out])\n"
		"vmovdqu %%ymm7, 224(%[out])\n vmovdqu %%ymm8, 256(%[out])\n"
		"vmovdqu %%ymm14, 448(%[out])\n vmovdqu %%ymm15, 480(%[out])\n"
		"vzeroupper\n"
		: "=a"(ret), "=D"(kept_a), "=S"(kept_b), "=d"(kept_c), "+r"(r10), "+r"(r8), "+r"(r9)
		: "a"(nr), "D"(a), "S"(b), "d"(c), [in] "r"(in), [out] "r"(out)
		: "rcx", "r11", "memory", "xmm0", "xmm1", "xmm7", "xmm8", "xmm14", "xmm15");
	int good = kept_a == a && kept_b == b && kept_c == c && r10 == d && r8 == e && r9 == 8;

	for (int i = 0; i < 16; i++)
		if (i < 2 || i == 7 || i == 8 || i >= 14)
			good &= memcmp(in[i], out[i], 32) == 0;
	return good;
}

static void vectors_at(int shift)
{
	/* Where the frames fall relative to the stack's alignment must not matter. */
	volatile char *pad = __builtin_alloca(16 + 16 * shift);
	struct timespec t = {0, 1000};
	uint64_t full = ~UINT64_C(0);
	stack_t st;

	pad[0] = 1;
	printf("%d%d%d%d%d%d%d%d ", vectors_kept(SYS_getppid, 1, 2, 3, 4, 5),
	       vectors_kept(SYS_openat, AT_FDCWD, (long)"/dev/null", O_RDONLY, 0, 7),
	       vectors_kept(SYS_openat, AT_FDCWD, (long)"/proc/self/maps", O_RDONLY, 0, 7),
	       vectors_kept(SYS_ppoll, 0, 0, (long)&t, (long)&full, 8),
	       vectors_kept(SYS_rt_sigprocmask, 0, 0, 0, 8, 1),
	       vectors_kept(SYS_mmap, 0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1),
	       vectors_kept(SYS_sigaltstack, 0, (long)&st, 0, 0, 0),
	       vectors_kept(SYS_stat, (long)"/proc/self/exe", (long)alt, 0, 0, 0));
}

static void case_vectors(void)
{
	if (!__builtin_cpu_supports("avx2")) {
		printf("no avx2\n");
		return;
	}
	for (int i = 0; i < 8; i++)
		vectors_at(i);
	printf("\n");
}

static void case_shm(void)
{
	int id = shmget(IPC_PRIVATE, 10000, IPC_CREAT | 0600);
	char *p = shmat(id, NULL, 0);

	printf("attached %d\n", p != (char *)-1);
	p[9999] = 5;
	pid_t c = fork();

	if (c == 0) {
		p[0] = 7;
		_exit(shmdt(p) == 0 ? p == NULL : 2);
	}
	show_status("child", wait_for(c));
	char *q = shmat(id, NULL, SHM_RDONLY);

	printf("seen %d %d twice %d\n", p[0], q[9999], p != q);
	struct shmid_ds ds;

	shmctl(id, IPC_STAT, &ds);
	printf("attaches %d\n", (int)ds.shm_nattch);
	printf("detach %d %d\n", shmdt(p), shmdt(q));
	int r = shmdt(p);

	printf("again %d errno %d\n", r, errno);
	shmctl(id, IPC_STAT, &ds);
	printf("attaches %d\n", (int)ds.shm_nattch);
	p = mmap(NULL, 3 * 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	q = (char *)(((uintptr_t)p + 65535) & ~65535ul);
	r = shmat(id, q, 0) == (void *)-1;
	printf("occupied %d errno %d\n", r, errno);
	r = shmat(id, q + 1, SHM_REMAP) == (void *)-1;
	printf("unaligned %d errno %d\n", r, errno);
	printf("over it %d\n", shmat(id, q + 1, SHM_REMAP | SHM_RND) == q && q[9999] == 5);
	shmctl(id, IPC_RMID, NULL);
	r = shmat(-1, NULL, 0) == (void *)-1;
	printf("no segment %d errno %d\n", r, errno);
}

static const struct {
	const char *name;
	void (*fn)(void);
} cases[] = {
	{"eintr", case_eintr},
	{"masks", case_masks},
	{"suspend", case_suspend_full},
	{"sigsys", case_sigsys},
	{"segv", case_segv},
	{"altstack", case_altstack},
	{"deaths", case_deaths},
	{"vfork", case_vfork},
	{"spawn", case_spawn},
	{"clone", case_clone},
	{"fork", case_fork},
	{"storm", case_storm},
	{"fds", case_fds},
	{"procfs", case_procfs},
	{"exec", case_exec},
	{"inherited", case_inherited},
	{"memory", case_memory},
	{"efault", case_efault},
	{"shm", case_shm},
	{"vectors", case_vectors},
};

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOFBF, 65536);
	self = argv[0];
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (argc > 1 && strcmp(argv[1], cases[i].name) == 0) {
			cases[i].fn();
			return 0;
		}
	fprintf(stderr, "usage: guest_calls CASE\n");
	return 2;
}
