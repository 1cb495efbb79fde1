// SPDX-License-Identifier: MIT
/*
 * mem.c: from a system call to the engine (mem.h) and back.
 */
#include "mem.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

/*
 * On pages larger than the host's a program that takes 4096 for the page size gets EINVAL where it
 * got none before. Say which call it was, and which argument is to blame.
 */
static void explain(const struct call *c, const char *name)
{
	static const char *const what[6] = {"address", "length", "", "", "new address", "offset"};
	bool is_mmap = strcmp(name, "mmap") == 0;

	for (int i = 0; i < 6; i++) {
		bool counts =
			i == 0 ? !is_mmap || (c->a[3] & MAP_FIXED) != 0
			       : (i == 5 && is_mmap) || (i == 4 && strcmp(name, "mremap") == 0);

		if (counts && c->a[i] % HOST_PAGE == 0 && c->a[i] % guest.opts.page_size != 0) {
			say_once("%s(%#llx, %#llx, ...) answers EINVAL: the %s %#llx is a multiple "
				 "of "
				 "%llu but not of the page size, %llu (sysconf(_SC_PAGESIZE) tells "
				 "it)",
				 name, (unsigned long long)c->a[0], (unsigned long long)c->a[1],
				 what[i], (unsigned long long)c->a[i],
				 (unsigned long long)HOST_PAGE,
				 (unsigned long long)guest.opts.page_size);
			return;
		}
	}
}

static void answer(struct call *c, const char *name, int64_t ret)
{
	if (ret == -EINVAL && guest.opts.page_size != HOST_PAGE)
		explain(c, name);
	call_done(c, ret);
	trace_call(name, c->a, ret);
}

void sys_mmap(struct call *c)
{
	if (guest.opts.page_size != HOST_PAGE && (c->a[2] & PROT_EXEC) != 0 &&
	    (c->a[3] & MAP_ANONYMOUS) == 0 && elfcheck_mapping((int)c->a[4]) != 0) {
		answer(c, "mmap", -EINVAL);
		return;
	}
	answer(c, "mmap", guest_mem_mmap(c->a[0], c->a[1], c->a[2], c->a[3], c->a[4], c->a[5]));
}

void sys_munmap(struct call *c)
{
	answer(c, "munmap", guest_mem_munmap(c->a[0], c->a[1]));
}

void sys_mprotect(struct call *c)
{
	answer(c, "mprotect", guest_mem_mprotect(c->a[0], c->a[1], c->a[2]));
}

void sys_pkey_mprotect(struct call *c)
{
	if ((int)c->a[3] != -1) {
		say_once("protection keys are not supported yet: pkey_mprotect answers EINVAL");
		answer(c, "mprotect", -EINVAL);
		return;
	}
	sys_mprotect(c);
}

void sys_mremap(struct call *c)
{
	answer(c, "mremap", guest_mem_mremap(c->a[0], c->a[1], c->a[2], c->a[3], c->a[4]));
}

void sys_brk(struct call *c)
{
	answer(c, "brk", guest_mem_brk(c->a[0]));
}

void sys_madvise(struct call *c)
{
	answer(c, "madvise", guest_mem_madvise(c->a[0], c->a[1], (int)c->a[2]));
}

void sys_msync(struct call *c)
{
	answer(c, "msync", guest_mem_msync(c->a[0], c->a[1], (int)c->a[2]));
}

void sys_mincore(struct call *c)
{
	answer(c, "mincore", guest_mem_mincore(c->a[0], c->a[1], c->a[2]));
}

void sys_mlock(struct call *c)
{
	answer(c, "mlock", guest_mem_mlock2(c->a[0], c->a[1], 0));
}

void sys_mlock2(struct call *c)
{
	answer(c, "mlock2", guest_mem_mlock2(c->a[0], c->a[1], (int)c->a[2]));
}

void sys_munlock(struct call *c)
{
	answer(c, "munlock", guest_mem_munlock(c->a[0], c->a[1]));
}

void sys_mlockall(struct call *c)
{
	answer(c, "mlockall", guest_mem_mlockall((int)c->a[0]));
}

void sys_munlockall(struct call *c)
{
	answer(c, "munlockall", guest_mem_munlockall());
}

void sys_mseal(struct call *c)
{
	answer(c, "mseal", guest_mem_mseal(c->a[0], c->a[1], c->a[2]));
}

void sys_remap_file_pages(struct call *c)
{
	say_once("remap_file_pages is not supported: ENOSYS");
	answer(c, "remap_file_pages", -ENOSYS);
}

/*
 * Limits: the kernel holds them, and the engine enforces them too. It is told what the kernel has
 * afterwards, for a call may answer EFAULT and yet have set one. A vforked child has limits of its
 * own but shares the engine: its parent tells again when it goes on (limits_again).
 */
static const int limits[] = { RLIMIT_AS, RLIMIT_DATA, RLIMIT_STACK, RLIMIT_MEMLOCK };
static bool limits_strayed;

static void tell_limits(void)
{
	struct rlimit r;

	limits_strayed = process_in_vfork();
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		if (raw4(SYS_prlimit64, 0, limits[i], 0, &r) == 0)
			guest_mem_set_limit(limits[i], r.rlim_cur, r.rlim_max);
}

void limits_again(void)
{
	if (limits_strayed)
		tell_limits();
}

void sys_setrlimit(struct call *c)
{
	int64_t ret = raw2(SYS_setrlimit, c->a[0], c->a[1]);

	if (ret == 0)
		tell_limits();
	call_done(c, ret);
}

void sys_prlimit64(struct call *c)
{
	bool own = (int)c->a[0] == 0 || (int)c->a[0] == guest.proc.pid;
	int64_t ret = raw4(SYS_prlimit64, c->a[0], c->a[1], c->a[2], c->a[3]);

	if (own && c->a[2] != 0)
		tell_limits();
	call_done(c, ret);
}
