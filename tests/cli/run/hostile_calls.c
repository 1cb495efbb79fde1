// SPDX-License-Identifier: MIT
/*
 * hostile_calls.c: a guest whose children make random calls with random, mostly wrong arguments.
 *
 *	hostile_calls COUNT SEED
 *
 * A child may die of what it did to its own memory. It must not be our crash: vmspace tells of
 * each fault that kills a program, and the test counts (programs.sh). With VMSPACE_CHECK=1 a child
 * that gets to its end has the engine's maps compared with the host's: status 99 is a difference.
 * Left out is what blocks for long, signals others, makes faults go untold, or lets the kernel
 * write over vmspace.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALLS 40
#define PAGES 64
#define OURS	 UINT64_C(0x7ff000000000) /* where vmspace itself lies */
#define OURS_END UINT64_C(0x7ffffffff000)

static const int numbers[] = {
	SYS_mmap,
	SYS_munmap,
	SYS_mprotect,
	SYS_mremap,
	SYS_brk,
	SYS_madvise,
	SYS_msync,
	SYS_mincore,
	SYS_mlock,
	SYS_mlock2,
	SYS_munlock,
	SYS_mlockall,
	SYS_munlockall,
	462 /* mseal */,
	SYS_remap_file_pages,
	SYS_pkey_mprotect,
	SYS_shmat,
	SYS_shmdt,
	SYS_open,
	SYS_openat,
	SYS_readlink,
	SYS_readlinkat,
	SYS_stat,
	SYS_newfstatat,
	SYS_statx,
	SYS_access,
	SYS_close,
	SYS_close_range,
	SYS_dup,
	SYS_dup2,
	SYS_dup3,
	SYS_fcntl,
	SYS_lseek,
	SYS_getdents64,
	SYS_fstat,
	SYS_sigaltstack,
	SYS_prlimit64,
	SYS_execve,
	SYS_execveat,
	SYS_fork,
	SYS_clone,
	SYS_getcwd,
	SYS_set_robust_list,
	SYS_io_setup,
	SYS_memfd_create,
	SYS_getrandom,
	470,
	-1,
	100000,
};
static const char *const paths[] = {
	"/proc/self/exe", "/proc/self/maps", "/dev/null", "/proc/self/fd", "/etc/passwd", "",
	"/nonexistent",
};

static uint64_t state;
static char *area, path[64];

static uint64_t next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static uint64_t argument(void)
{
	switch (next() % 14) {
	case 0:
		return 0;
	case 1:
		return (uint64_t)-1;
	case 2:
		return (uint64_t)area + next() % PAGES * 4096;
	case 3:
		return (uint64_t)area + next() % (PAGES * 4096);
	case 4:
		return next() % PAGES * 4096;
	case 5:
		return (uint64_t)path;
	case 6:
		return (uint64_t)AT_FDCWD;
	case 7:
		return OURS + next() % 512 * 4096;
	case 8:
		return 0x7fefffff0000 + next() % 0x20000;
	case 9: /* where its descriptors may lie */
		return 4030 + next() % 8;
	case 10:
		return next();
	case 11:
		return UINT64_C(1) << next() % 64;
	case 12:
		return next() % 0x8000;
	}
	return next() % 64;
}

/* Calls that the kernel itself answers, into memory that an argument points to. */
static int kernel_writes(int nr)
{
	switch (nr) {
	case SYS_readlink:
	case SYS_readlinkat:
	case SYS_stat:
	case SYS_newfstatat:
	case SYS_statx:
	case SYS_fstat:
	case SYS_fcntl:
	case SYS_getdents64:
	case SYS_prlimit64:
	case SYS_clone:
	case SYS_getcwd:
	case SYS_getrandom:
		return 1;
	}
	return 0;
}

static void one_call(void)
{
	int nr = numbers[next() % (sizeof(numbers) / sizeof(numbers[0]))];
	uint64_t a[6];

	strcpy(path, paths[next() % (sizeof(paths) / sizeof(paths[0]))]);
	for (int i = 0; i < 6; i++)
		a[i] = argument();
	/* Nobody keeps the kernel from writing over vmspace, which is no sandbox. */
	for (int i = 0; i < 6 && kernel_writes(nr); i++)
		if (a[i] >= OURS && a[i] < OURS_END)
			a[i] = a[i] - OURS + (uint64_t)area;
	if (nr == SYS_clone) {
		a[0] = (a[0] & (CLONE_CHILD_SETTID | CLONE_PARENT_SETTID)) | SIGCHLD;
		a[1] = 0;
	}
	if (nr == SYS_prlimit64 && (int)a[1] == RLIMIT_CPU) /* the clock would decide who dies */
		a[1] = RLIMIT_AS;
	long ret = syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);

	if ((nr == SYS_fork || nr == SYS_clone) && ret == 0)
		_exit(0);
}

int main(int argc, char **argv)
{
	long count = argc > 1 ? atol(argv[1]) : 100;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	struct rlimit none = {0, 0};
	long faults = 0, wrong = 0;

	setrlimit(RLIMIT_CORE, &none);
	for (long n = 0; n < count; n++) {
		pid_t c = fork();
		int st;

		if (c == 0) {
			state = (seed + (uint64_t)n) * UINT64_C(0x9E3779B97F4A7C15) | 1;
			alarm(5);
			area = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			for (int i = 0; i < CALLS; i++)
				one_call();
			_exit(0);
		}
		if (waitpid(c, &st, 0) != c)
			return 2;
		if (WIFSIGNALED(st)) {
			faults += WTERMSIG(st) == SIGSEGV || WTERMSIG(st) == SIGBUS ||
				  WTERMSIG(st) == SIGILL;
			wrong += WTERMSIG(st) == SIGALRM || WTERMSIG(st) == SIGKILL;
		} else {
			wrong += WEXITSTATUS(st) == 99;
		}
	}
	printf("%ld children, %ld faults, %ld wrong\n", count, faults, wrong);
	return wrong != 0;
}
