// SPDX-License-Identifier: MIT
/*
 * mem_direct.c: memory calls passed straight to the host's kernel. Only our own range is kept out
 * of the guest's reach, and the break is emulated, because the kernel's is our heap.
 */
#include "mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define UP(x) (((x) + HOST_PAGE - 1) & ~(HOST_PAGE - 1))

static uint64_t next_top = GUEST_TASK - (UINT64_C(64) << 30);
static uint64_t brk_start, brk_now;

static int direct_start(const struct guest_opts *opts, const char **reason)
{
	if (opts->page_size != HOST_PAGE) {
		*reason = "pages larger than the host's need the engine";
		return -EINVAL;
	}
	return 0;
}

static bool outside(uint64_t addr, uint64_t len)
{
	return addr >= GUEST_TASK || len > GUEST_TASK - addr;
}

static int64_t direct_mmap(uint64_t addr, uint64_t len, uint64_t prot, uint64_t flags, uint64_t fd,
			   uint64_t off)
{
	if ((flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0) {
		if (outside(addr, UP(len)))
			return -ENOMEM;
		return raw6(SYS_mmap, addr, len, prot, flags, fd, off);
	}
	if (len > GUEST_TASK)
		return -ENOMEM;
	if (addr == 0 || outside(addr, UP(len)))
		addr = (next_top - UP(len)) & ~(HOST_PAGE - 1);
	if (len >= (2u << 20))
		addr &= ~((UINT64_C(2) << 20) - 1);
	int64_t ret = raw6(SYS_mmap, addr, len, prot, flags, fd, off);

	if (ret > 0 && outside((uint64_t)ret, len)) {
		raw2(SYS_munmap, ret, len);
		return -ENOMEM;
	}
	if (ret > 0 && (uint64_t)ret < next_top && (uint64_t)ret > next_top - (UINT64_C(1) << 44))
		next_top = (uint64_t)ret;
	return ret;
}

static int64_t direct_munmap(uint64_t addr, uint64_t len)
{
	return outside(addr, len) ? -EINVAL : raw2(SYS_munmap, addr, len);
}

static int64_t direct_mprotect(uint64_t addr, uint64_t len, uint64_t prot)
{
	return outside(addr, len) ? -ENOMEM : raw3(SYS_mprotect, addr, len, prot);
}

static int64_t direct_mremap(uint64_t addr, uint64_t old_len, uint64_t new_len, uint64_t flags,
			     uint64_t new_addr)
{
	if (outside(addr, old_len) || new_len > GUEST_TASK)
		return -EFAULT;
	if ((flags & MREMAP_FIXED) != 0)
		return outside(new_addr, new_len)
			       ? -EINVAL
			       : raw5(SYS_mremap, addr, old_len, new_len, flags, new_addr);
	if (flags == MREMAP_MAYMOVE) {
		int64_t ret = raw4(SYS_mremap, addr, old_len, new_len, 0);

		if (ret != -ENOMEM)
			return ret;
		int64_t to = direct_mmap(0, new_len, PROT_NONE,
					 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1ull, 0);
		if (to < 0)
			return to;
		ret = raw5(SYS_mremap, addr, old_len, new_len, MREMAP_MAYMOVE | MREMAP_FIXED, to);
		if (ret < 0)
			raw2(SYS_munmap, to, new_len);
		return ret;
	}
	return raw5(SYS_mremap, addr, old_len, new_len, flags, new_addr);
}

static int64_t direct_brk(uint64_t brk)
{
	uint64_t from = UP(brk_now), to = UP(brk);

	if (brk < brk_start || outside(brk, 0))
		return (int64_t)brk_now;
	if (to > from && raw6(SYS_mmap, from, to - from, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1ull, 0) < 0)
		return (int64_t)brk_now;
	if (to < from)
		raw2(SYS_munmap, to, from - to);
	brk_now = brk;
	return (int64_t)brk_now;
}

static int64_t direct_madvise(uint64_t addr, uint64_t len, int advice)
{
	return outside(addr, len) ? -ENOMEM : raw3(SYS_madvise, addr, len, advice);
}

static int64_t direct_msync(uint64_t addr, uint64_t len, int flags)
{
	return outside(addr, len) ? -ENOMEM : raw3(SYS_msync, addr, len, flags);
}

static int64_t direct_mincore(uint64_t addr, uint64_t len, uint64_t vec)
{
	return outside(addr, len) ? -ENOMEM : raw3(SYS_mincore, addr, len, vec);
}

static int64_t direct_mlock2(uint64_t addr, uint64_t len, int flags)
{
	return outside(addr, len) ? -ENOMEM : raw3(SYS_mlock2, addr, len, flags);
}

static int64_t direct_munlock(uint64_t addr, uint64_t len)
{
	return outside(addr, len) ? -ENOMEM : raw2(SYS_munlock, addr, len);
}

static int64_t direct_mlockall(int flags)
{
	return raw1(SYS_mlockall, flags);
}

static int64_t direct_munlockall(void)
{
	return raw0(SYS_munlockall);
}

static int64_t direct_mseal(uint64_t addr, uint64_t len, uint64_t flags)
{
	return outside(addr, len) ? -ENOMEM : raw3(462, addr, len, flags);
}

static int64_t direct_remap(uint64_t addr, uint64_t len, uint64_t prot, uint64_t pgoff,
			    uint64_t flags)
{
	return outside(addr, len) ? -EINVAL
				  : raw5(SYS_remap_file_pages, addr, len, prot, pgoff, flags);
}

static int direct_foreign(uint64_t addr, uint64_t len, unsigned prot, const char *name)
{
	return 0;
}

static int direct_set_brk(uint64_t start)
{
	brk_start = brk_now = start;
	return 0;
}

static void direct_set_stack(uint64_t addr)
{
}

static void direct_set_limit(int resource, uint64_t soft, uint64_t hard)
{
}

static void nothing(void)
{
}

/* Slow and simple: the host's own maps, read again for each region. */
static bool direct_next(uint64_t *cursor, struct guest_mem_region *r)
{
	static char text[65536];
	int fd = (int)raw3(SYS_open, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
	size_t have = 0;
	bool found = false;

	if (fd < 0)
		return false;
	for (int64_t n = 1; n > 0 && !found;) {
		n = raw3(SYS_read, fd, text + have, sizeof(text) - 1 - have);
		if (n > 0)
			have += (size_t)n;
		text[have] = 0;
		char *line = text, *nl;

		for (; (nl = strchr(line, '\n')) != NULL; line = nl + 1) {
			unsigned long start, end;

			if (sscanf(line, "%lx-%lx", &start, &end) != 2 || end <= *cursor ||
			    start >= GUEST_TASK)
				continue;
			size_t len = (size_t)(nl + 1 - line);

			if (len > sizeof(r->line) - 1)
				len = sizeof(r->line) - 1;
			memcpy(r->line, line, len);
			r->line[len] = 0;
			r->start = start;
			r->end = end;
			*cursor = end;
			found = true;
			break;
		}
		have = (size_t)(text + have - line);
		memmove(text, line, have);
	}
	raw1(SYS_close, fd);
	return found;
}

static const struct guest_mem_ops direct = {
	.start = direct_start,
	.mmap = direct_mmap,
	.munmap = direct_munmap,
	.mprotect = direct_mprotect,
	.mremap = direct_mremap,
	.brk = direct_brk,
	.madvise = direct_madvise,
	.msync = direct_msync,
	.mincore = direct_mincore,
	.mlock2 = direct_mlock2,
	.munlock = direct_munlock,
	.mlockall = direct_mlockall,
	.munlockall = direct_munlockall,
	.mseal = direct_mseal,
	.remap_file_pages = direct_remap,
	.foreign = direct_foreign,
	.set_brk = direct_set_brk,
	.set_stack = direct_set_stack,
	.set_limit = direct_set_limit,
	.fork_begin = nothing,
	.fork_parent = nothing,
	.fork_child = nothing,
	.next = direct_next,
};
const struct guest_mem_ops *const guest_mem = &direct;
