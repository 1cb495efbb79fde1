// SPDX-License-Identifier: MIT
/*
 * shm.c: System V shared memory.
 *
 * To the engine an attached segment is shared anonymous memory, placed and accounted as such; the
 * host then attaches the segment over it. Unmapping detaches, in the host too.
 *
 * Invariant
 *	H1 attached[] holds each segment that shmat gave out and shmdt has not taken back. A guest
 *	   that unmaps one by munmap leaves an entry behind, which the next attach there replaces.
 */
#include "guest.h"
#include "mem.h"

#include <errno.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>

#define ATTACHED 256

static struct {
	uint64_t addr, len; /* len 0: free */
} attached[ATTACHED];

/* The entry for `addr`, else a free one, else -1. */
static int entry(uint64_t addr)
{
	int free_one = -1;

	for (int i = 0; i < ATTACHED; i++) {
		if (attached[i].len != 0 && attached[i].addr == addr)
			return i;
		if (attached[i].len == 0)
			free_one = i;
	}
	return free_one;
}

static int64_t attach(int id, uint64_t addr, int flags)
{
	uint64_t page = guest.opts.page_size;
	struct shmid_ds ds;
	int64_t ret = raw3(SYS_shmctl, id, IPC_STAT, &ds);
	uint64_t how = MAP_SHARED | MAP_ANONYMOUS, prot = PROT_READ;

	if (ret < 0)
		return ret == -EACCES ? -EACCES : -EINVAL;
	if (addr != 0) {
		if ((flags & SHM_RND) != 0)
			addr &= ~(page - 1);
		if ((addr & (page - 1)) != 0 || (addr == 0 && (flags & SHM_REMAP) != 0))
			return -EINVAL;
		how |= (flags & SHM_REMAP) != 0 ? MAP_FIXED : MAP_FIXED_NOREPLACE;
	} else if ((flags & SHM_REMAP) != 0) {
		return -EINVAL;
	}
	if ((flags & SHM_RDONLY) == 0)
		prot |= PROT_WRITE;
	if ((flags & SHM_EXEC) != 0)
		prot |= PROT_EXEC;
	ret = guest_mem_mmap(addr, ds.shm_segsz, prot, how, -1ull, 0);
	if (ret < 0)
		return ret == -EEXIST ? -EINVAL : ret;
	addr = (uint64_t)ret;

	int at = entry(addr);
	int64_t got = at < 0 ? -ENOMEM : raw3(SYS_shmat, id, addr, flags | SHM_REMAP);

	if (got < 0) {
		guest_mem_munmap(addr, ds.shm_segsz);
		return got;
	}
	attached[at].addr = addr;
	attached[at].len = ds.shm_segsz;
	return (int64_t)addr;
}

void sys_shmat(struct call *c)
{
	call_done(c, attach((int)c->a[0], c->a[1], (int)c->a[2]));
}

void sys_shmdt(struct call *c)
{
	int at = entry(c->a[0]);

	if (at < 0 || attached[at].len == 0 || attached[at].addr != c->a[0]) {
		call_done(c, -EINVAL);
		return;
	}
	int64_t ret = guest_mem_munmap(attached[at].addr, attached[at].len);

	if (ret == 0)
		attached[at].len = 0;
	call_done(c, ret);
}
