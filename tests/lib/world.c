// SPDX-License-Identifier: MIT
#include "world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

static struct test_world *test_of(const struct world *w)
{
	return w->arg;
}

/* Count the call; true: it is to fail. */
static bool refuse(const struct world *w, enum world_call call)
{
	struct test_world *tw = test_of(w);

	tw->calls[call]++;
	if (!(tw->fail_mask & 1u << call) || tw->fail_at == 0)
		return false;
	if (tw->fail_at > 1) {
		tw->fail_at--;
		return false;
	}
	if (tw->fail_more > 0)
		tw->fail_more--;
	else
		tw->fail_at = 0;
	tw->failed++;
	return true;
}

#define PASS(call, w, name, ...) \
	(refuse(w, call) ? -test_of(w)->fail_err : world_host.name(&world_host, ##__VA_ARGS__))

static void *w_alloc(const struct world *w, size_t size)
{
	struct test_world *tw = test_of(w);
	void *p;

	if (refuse(w, CALL_ALLOC))
		return NULL;
	p = malloc(size);
	assert_non_null(p);
	memset(p, 0xa5, size); /* nobody may count on zeroes */
	tw->live++;
	tw->live_bytes += size;
	return p;
}

static void w_free(const struct world *w, void *p, size_t size)
{
	struct test_world *tw = test_of(w);

	assert_non_null(p);
	assert_true(tw->live > 0 && tw->live_bytes >= size);
	tw->live--;
	tw->live_bytes -= size;
	memset(p, 0x5a, size);
	free(p);
}

static int64_t w_mmap(const struct world *w, uint64_t addr, uint64_t len, int prot, int flags,
		      int fd, uint64_t off)
{
	if (test_of(w)->no_noreplace)
		flags &= ~MAP_FIXED_NOREPLACE;
	return PASS(CALL_MMAP, w, mmap, addr, len, prot, flags, fd, off);
}

static int w_munmap(const struct world *w, uint64_t addr, uint64_t len)
{
	return PASS(CALL_MUNMAP, w, munmap, addr, len);
}

static int w_mprotect(const struct world *w, uint64_t addr, uint64_t len, int prot)
{
	return PASS(CALL_MPROTECT, w, mprotect, addr, len, prot);
}

/* Does a region of this process begin or end inside (addr, addr + len)? */
static bool has_seam(uint64_t addr, uint64_t len)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	bool seam = false;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps)) {
		uint64_t start, end;

		if (sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) != 2)
			continue;
		if ((start > addr && start < addr + len) || (end > addr && end < addr + len))
			seam = true;
	}
	fclose(maps);
	return seam;
}

static int64_t w_mremap(const struct world *w, uint64_t addr, uint64_t old_len, uint64_t new_len,
			int flags, uint64_t new_addr)
{
	const struct test_world *tw = test_of(w);

	if (tw->no_dontunmap && flags & MREMAP_DONTUNMAP)
		return -EINVAL;
	if (tw->one_region_mremap && has_seam(addr, old_len))
		return -EFAULT;
	return PASS(CALL_MREMAP, w, mremap, addr, old_len, new_len, flags, new_addr);
}

static int w_madvise(const struct world *w, uint64_t addr, uint64_t len, int advice)
{
	return PASS(CALL_MADVISE, w, madvise, addr, len, advice);
}

static int w_msync(const struct world *w, uint64_t addr, uint64_t len, int flags)
{
	return PASS(CALL_MSYNC, w, msync, addr, len, flags);
}

static int w_mincore(const struct world *w, uint64_t addr, uint64_t len, unsigned char *vec)
{
	return PASS(CALL_MINCORE, w, mincore, addr, len, vec);
}

static int w_mlock(const struct world *w, uint64_t addr, uint64_t len, int onfault)
{
	return PASS(CALL_MLOCK, w, mlock, addr, len, onfault);
}

static int w_munlock(const struct world *w, uint64_t addr, uint64_t len)
{
	return PASS(CALL_MUNLOCK, w, munlock, addr, len);
}

static int w_fstat(const struct world *w, int fd, struct stat *st)
{
	return PASS(CALL_FSTAT, w, fstat, fd, st);
}

static int w_fs_type(const struct world *w, int fd, uint64_t *type, bool *noexec)
{
	return PASS(CALL_FS_TYPE, w, fs_type, fd, type, noexec);
}

static int w_fd_seals(const struct world *w, int fd)
{
	return PASS(CALL_FD_SEALS, w, fd_seals, fd);
}

static int w_fd_flags(const struct world *w, int fd)
{
	return PASS(CALL_FD_FLAGS, w, fd_flags, fd);
}

static int w_fd_dup(const struct world *w, int fd)
{
	return PASS(CALL_FD_DUP, w, fd_dup, fd);
}

static void w_fd_close(const struct world *w, int fd)
{
	world_host.fd_close(&world_host, fd);
}

static int w_fd_same(const struct world *w, int a, int b)
{
	return PASS(CALL_FD_SAME, w, fd_same, a, b);
}

static int w_fd_path(const struct world *w, int fd, char *buf, size_t size)
{
	return PASS(CALL_FD_PATH, w, fd_path, fd, buf, size);
}

static int w_maps_open(const struct world *w)
{
	return PASS(CALL_REGION, w, maps_open);
}

static int w_region(const struct world *w, int maps, uint64_t addr, uint64_t *start,
		    uint64_t *end)
{
	return PASS(CALL_REGION, w, region, maps, addr, start, end);
}

static int w_memfd(const struct world *w, const char *name, unsigned flags)
{
	return PASS(CALL_MEMFD, w, memfd, name, flags);
}

static int w_fd_add_seals(const struct world *w, int fd, int seals)
{
	return PASS(CALL_FD_ADD_SEALS, w, fd_add_seals, fd, seals);
}

static int w_ftruncate(const struct world *w, int fd, uint64_t size)
{
	return PASS(CALL_FTRUNCATE, w, ftruncate, fd, size);
}

static int w_fallocate(const struct world *w, int fd, int mode, uint64_t off, uint64_t len)
{
	return PASS(CALL_FALLOCATE, w, fallocate, fd, mode, off, len);
}

static int64_t w_pread(const struct world *w, int fd, void *buf, uint64_t len, uint64_t off)
{
	return PASS(CALL_PREAD, w, pread, fd, buf, len, off);
}

static int64_t w_pwrite(const struct world *w, int fd, const void *buf, uint64_t len, uint64_t off)
{
	return PASS(CALL_PWRITE, w, pwrite, fd, buf, len, off);
}

static int64_t w_readv(const struct world *w, int fd, const struct iovec *iov, int n, int64_t off)
{
	return PASS(CALL_READV, w, readv, fd, iov, n, off);
}

static int64_t w_writev(const struct world *w, int fd, const struct iovec *iov, int n, int64_t off)
{
	return PASS(CALL_WRITEV, w, writev, fd, iov, n, off);
}

static int w_mbind(const struct world *w, uint64_t addr, uint64_t len, int mode, uint64_t nodes)
{
	return PASS(CALL_MBIND, w, mbind, addr, len, mode, nodes);
}

static int w_ioctl(const struct world *w, int fd, unsigned long request, void *arg)
{
	return PASS(CALL_IOCTL, w, ioctl, fd, request, arg);
}

static int w_rlimit(const struct world *w, int resource, uint64_t *limit)
{
	return PASS(CALL_RLIMIT, w, rlimit, resource, limit);
}

static int w_membarrier(const struct world *w, int command)
{
	return PASS(CALL_MEMBARRIER, w, membarrier, command);
}

int open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

int64_t mapped_pages(void)
{
	char text[128] = "";
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	assert_true(fd >= 0);
	n = read(fd, text, sizeof(text) - 1);
	assert_true(n > 0);
	close(fd);
	return strtoll(text, NULL, 10);
}

void test_world_begin(struct test_world *tw)
{
	static bool warm;

	if (!warm) { /* what libc maps at its first stdio and malloc is not ours */
		has_seam(0, 1);
		open_descriptors();
		warm = true;
	}
	*tw = (struct test_world){
		.world = { .alloc = w_alloc,
			   .free = w_free,
			   .mmap = w_mmap,
			   .munmap = w_munmap,
			   .mprotect = w_mprotect,
			   .mremap = w_mremap,
			   .madvise = w_madvise,
			   .msync = w_msync,
			   .mincore = w_mincore,
			   .mlock = w_mlock,
			   .munlock = w_munlock,
			   .fstat = w_fstat,
			   .fs_type = w_fs_type,
			   .fd_seals = w_fd_seals,
			   .fd_flags = w_fd_flags,
			   .fd_dup = w_fd_dup,
			   .fd_close = w_fd_close,
			   .fd_same = w_fd_same,
			   .fd_path = w_fd_path,
			   .region = w_region,
			   .maps_open = w_maps_open,
			   .memfd = w_memfd,
			   .fd_add_seals = w_fd_add_seals,
			   .ftruncate = w_ftruncate,
			   .fallocate = w_fallocate,
			   .pread = w_pread,
			   .pwrite = w_pwrite,
			   .readv = w_readv,
			   .writev = w_writev,
			   .mbind = w_mbind,
			   .ioctl = w_ioctl,
			   .rlimit = w_rlimit,
			   .membarrier = w_membarrier,
			   .arg = tw },
	};
	world_default = &tw->world;
	tw->fds_before = open_descriptors();
}

void test_world_end(struct test_world *tw)
{
	world_default = &world_host;
	assert_int_equal(tw->live, 0);
	assert_int_equal(tw->live_bytes, 0);
	assert_int_equal(open_descriptors(), tw->fds_before);
}

void test_world_fail(struct test_world *tw, uint64_t n, uint32_t mask, int err)
{
	tw->fail_at = n;
	tw->fail_more = 0;
	tw->fail_mask = mask;
	tw->fail_err = err;
	tw->failed = 0;
}

unsigned sweep(const struct sweep *s)
{
	uint32_t mask = s->mask ? s->mask : EVERY_CALL;
	unsigned runs = 0;

	for (uint64_t n = 1;; n++) {
		uint64_t failed;
		int result;

		s->set_up(s->arg);
		test_world_fail(s->world, n, mask, s->err ? s->err : ENOMEM);
		result = s->run(s->arg);
		failed = s->world->failed;
		test_world_fail(s->world, 0, 0, 0);
		s->check(s->arg, result, failed != 0);
		s->tear_down(s->arg);
		if (failed == 0)
			break;
		runs++;
		assert_true(n < 100000);
	}
	assert_true(runs > 0);
	return runs;
}
