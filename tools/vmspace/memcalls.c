// SPDX-License-Identifier: MIT
/* memcalls.c: the table behind memcalls.h. */
#include "memcalls.h"

#include <stddef.h>
#include <sys/syscall.h>

#if defined(__x86_64__) || defined(__aarch64__) /* as record.c: others lack some of them */

#ifndef SYS_mseal
#define SYS_mseal 462
#endif

static const struct {
	long nr;
	const char *name;
	bool only_looks;
} calls[] = {
	{ SYS_mmap, "mmap", false },
	{ SYS_munmap, "munmap", false },
	{ SYS_mprotect, "mprotect", false },
	{ SYS_mremap, "mremap", false },
	{ SYS_brk, "brk", false },
	{ SYS_madvise, "madvise", false },
	{ SYS_msync, "msync", true },
	{ SYS_mincore, "mincore", true },
	{ SYS_mlock, "mlock", false },
	{ SYS_mlock2, "mlock2", false },
	{ SYS_munlock, "munlock", false },
	{ SYS_mlockall, "mlockall", false },
	{ SYS_munlockall, "munlockall", false },
	{ SYS_remap_file_pages, "remap_file_pages", false },
	{ SYS_pkey_mprotect, "pkey_mprotect", false },
	{ SYS_shmat, "shmat", false },
	{ SYS_shmdt, "shmdt", false },
	{ SYS_io_setup, "io_setup", false },
	{ SYS_io_destroy, "io_destroy", false },
	{ SYS_mseal, "mseal", false },
};

const char *memory_call(uint64_t nr, bool changes_map)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if ((uint64_t)calls[i].nr == nr)
			return changes_map && calls[i].only_looks ? NULL : calls[i].name;
	return NULL;
}

#endif
