// SPDX-License-Identifier: MIT
/* calls_entry.c: what a system call refuses, and the registers that it keeps. */
#include "calls.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void case_efault(void)
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
	static char room[65536];
	struct timespec t = { 0, 1000 };
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
	       vectors_kept(SYS_stat, (long)"/proc/self/exe", (long)room, 0, 0, 0));
}

void case_vectors(void)
{
	if (!__builtin_cpu_supports("avx2")) {
		printf("no avx2\n");
		return;
	}
	for (int i = 0; i < 8; i++)
		vectors_at(i);
	printf("\n");
}
