// SPDX-License-Identifier: MIT
/*
 * world.c: the real host. Each function is one system call (two where an old kernel lacks the
 * better one) and turns errno into a negative result.
 */
#include "base/world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef F_DUPFD_QUERY
#define F_DUPFD_QUERY (1024 + 3) /* since 6.10 */
#endif
#define KCMP_FILE_TYPE 0 /* <linux/kcmp.h> is not everywhere */

static void *ptr(uint64_t addr)
{
	return (void *)(uintptr_t)addr;
}

static int result(int r)
{
	return r < 0 ? -errno : r;
}

static int sys_result(long r)
{
	return r < 0 ? -errno : (int)r;
}

static void *host_alloc(const struct world *w, size_t size)
{
	return malloc(size);
}

static void host_free(const struct world *w, void *p, size_t size)
{
	free(p);
}

static int64_t host_mmap(const struct world *w, uint64_t addr, uint64_t len, int prot, int flags,
			 int fd, uint64_t off)
{
	void *p = mmap(ptr(addr), len, prot, flags, fd, (off_t)off);

	return p == MAP_FAILED ? -errno : (int64_t)(uintptr_t)p;
}

static int host_munmap(const struct world *w, uint64_t addr, uint64_t len)
{
	return result(munmap(ptr(addr), len));
}

static int host_mprotect(const struct world *w, uint64_t addr, uint64_t len, int prot)
{
	return result(mprotect(ptr(addr), len, prot));
}

static int64_t host_mremap(const struct world *w, uint64_t addr, uint64_t old_len, uint64_t new_len,
			   int flags, uint64_t new_addr)
{
	/* Not mremap(3): glibc before 2.40 passes garbage as new_addr with MREMAP_DONTUNMAP. */
	long r = syscall(SYS_mremap, addr, old_len, new_len, (unsigned long)flags, new_addr);

	return r == -1 ? -errno : (int64_t)r;
}

static int host_madvise(const struct world *w, uint64_t addr, uint64_t len, int advice)
{
	return result(madvise(ptr(addr), len, advice));
}

static int host_msync(const struct world *w, uint64_t addr, uint64_t len, int flags)
{
	return result(msync(ptr(addr), len, flags));
}

static int host_mincore(const struct world *w, uint64_t addr, uint64_t len, unsigned char *vec)
{
	return result(mincore(ptr(addr), len, vec));
}

static int host_mlock(const struct world *w, uint64_t addr, uint64_t len, int onfault)
{
	/* Not mlock(3): the sanitizers make it do nothing. */
	return sys_result(syscall(SYS_mlock2, addr, len, onfault ? (long)MLOCK_ONFAULT : 0L));
}

static int host_munlock(const struct world *w, uint64_t addr, uint64_t len)
{
	return sys_result(syscall(SYS_munlock, addr, len));
}

static int host_fstat(const struct world *w, int fd, struct stat *st)
{
	return result(fstat(fd, st));
}

static int host_fs_type(const struct world *w, int fd, uint64_t *type, bool *noexec)
{
	struct statfs sfs;

	if (fstatfs(fd, &sfs) < 0)
		return -errno;
	*type = (uint64_t)sfs.f_type;
	*noexec = sfs.f_flags & ST_NOEXEC;
	return 0;
}

static int host_fd_seals(const struct world *w, int fd)
{
	return result(fcntl(fd, F_GET_SEALS));
}

static int host_fd_flags(const struct world *w, int fd)
{
	return result(fcntl(fd, F_GETFL));
}

static int host_fd_dup(const struct world *w, int fd)
{
	return result(fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

static void host_fd_close(const struct world *w, int fd)
{
	close(fd);
}

static int host_fd_same(const struct world *w, int a, int b)
{
	int same = fcntl(a, F_DUPFD_QUERY, b);
	long order;

	if (same >= 0)
		return same;
	if (errno != EINVAL)
		return -errno;
	order = syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE_TYPE, (long)a, (long)b);
	return order < 0 ? -errno : order == 0;
}

/* PROCMAP_QUERY, since 6.11. */
struct procmap_query {
	uint64_t size, query_flags, query_addr, vma_start, vma_end;
	uint64_t more[8]; /* flags, page size, offset, inode, device, name, build id: not asked */
};
#define PROCMAP_QUERY_IOCTL _IOWR('f', 17, struct procmap_query)

static int host_maps_open(const struct world *w)
{
	return result(open("/proc/self/maps", O_RDONLY | O_CLOEXEC));
}

static int host_region(const struct world *w, int maps, uint64_t addr, uint64_t *start,
		       uint64_t *end)
{
	struct procmap_query q = {.size = sizeof(q), .query_addr = addr};

	if (ioctl(maps, PROCMAP_QUERY_IOCTL, &q) < 0)
		return -errno;
	*start = q.vma_start;
	*end = q.vma_end;
	return 0;
}

static int host_fd_path(const struct world *w, int fd, char *buf, size_t size)
{
	char link[32];
	ssize_t n;

	if (size == 0)
		return -EINVAL;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, buf, size - 1);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return 0;
}

static int host_memfd(const struct world *w, const char *name, unsigned flags)
{
	return result(memfd_create(name, MFD_CLOEXEC | flags));
}

static int host_fd_add_seals(const struct world *w, int fd, int seals)
{
	return result(fcntl(fd, F_ADD_SEALS, seals));
}

static int host_ftruncate(const struct world *w, int fd, uint64_t size)
{
	return result(ftruncate(fd, (off_t)size));
}

static int host_fallocate(const struct world *w, int fd, int mode, uint64_t off, uint64_t len)
{
	return result(fallocate(fd, mode, (off_t)off, (off_t)len));
}

static int64_t host_pread(const struct world *w, int fd, void *buf, uint64_t len, uint64_t off)
{
	ssize_t n = pread(fd, buf, len, (off_t)off);

	return n < 0 ? -errno : n;
}

static int64_t host_pwrite(const struct world *w, int fd, const void *buf, uint64_t len,
			   uint64_t off)
{
	ssize_t n = pwrite(fd, buf, len, (off_t)off);

	return n < 0 ? -errno : n;
}

static int64_t host_readv(const struct world *w, int fd, const struct iovec *iov, int n,
			  int64_t off)
{
	ssize_t got = off < 0 ? readv(fd, iov, n) : preadv(fd, iov, n, (off_t)off);

	return got < 0 ? -errno : got;
}

static int64_t host_writev(const struct world *w, int fd, const struct iovec *iov, int n,
			   int64_t off)
{
	ssize_t put = off < 0 ? writev(fd, iov, n) : pwritev(fd, iov, n, (off_t)off);

	return put < 0 ? -errno : put;
}

static int host_mbind(const struct world *w, uint64_t addr, uint64_t len, int mode, uint64_t nodes)
{
	unsigned long mask[64 / (8 * sizeof(long))];
	int r;

	memcpy(mask, &nodes, sizeof(mask));
	/* The kernel takes one from the number of bits. */
	r = sys_result(syscall(SYS_mbind, addr, len, mode, nodes ? mask : NULL,
			       nodes ? 65ul : 0ul, 0));
	return r == -ENOSYS ? -ENOTSUP : r;
}

static int host_ioctl(const struct world *w, int fd, unsigned long request, void *arg)
{
	return result(ioctl(fd, request, arg));
}

static int host_rlimit(const struct world *w, int resource, uint64_t *limit)
{
	struct rlimit rl;

	if (getrlimit((unsigned)resource, &rl) < 0)
		return -errno;
	*limit = rl.rlim_cur == RLIM_INFINITY ? UINT64_MAX : rl.rlim_cur;
	return 0;
}

static int host_membarrier(const struct world *w, int command)
{
	return sys_result(syscall(SYS_membarrier, command, 0, 0));
}

const struct world world_host = {
	.alloc = host_alloc,
	.free = host_free,
	.mmap = host_mmap,
	.munmap = host_munmap,
	.mprotect = host_mprotect,
	.mremap = host_mremap,
	.madvise = host_madvise,
	.msync = host_msync,
	.mincore = host_mincore,
	.mlock = host_mlock,
	.munlock = host_munlock,
	.fstat = host_fstat,
	.fs_type = host_fs_type,
	.fd_seals = host_fd_seals,
	.fd_flags = host_fd_flags,
	.fd_dup = host_fd_dup,
	.fd_close = host_fd_close,
	.fd_same = host_fd_same,
	.fd_path = host_fd_path,
	.maps_open = host_maps_open,
	.region = host_region,
	.memfd = host_memfd,
	.fd_add_seals = host_fd_add_seals,
	.ftruncate = host_ftruncate,
	.fallocate = host_fallocate,
	.pread = host_pread,
	.pwrite = host_pwrite,
	.readv = host_readv,
	.writev = host_writev,
	.mbind = host_mbind,
	.ioctl = host_ioctl,
	.rlimit = host_rlimit,
	.membarrier = host_membarrier,
};

const struct world *world_default = &world_host;
