// SPDX-License-Identifier: MIT
/* calls_memory.c: memory calls and System V shared memory. */
#include "calls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

static __thread int tls = 11;

void case_memory(void)
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

void case_shm(void)
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
