/* SPDX-License-Identifier: MIT */
/*
 * mem.h: the guest's memory calls behind one table.
 *
 * Arguments are raw, hostile ones included; results are what the guest sees. All are called with
 * every signal blocked, on our stack (guest.h, G1).
 */
#ifndef GUEST_MEM_H
#define GUEST_MEM_H

#include <stdio.h>
#include "guest.h"

struct guest_mem_region {
	uint64_t start, end;
	char line[PATH_MAX + 128]; /* as in /proc/self/maps, newline included */
};

struct guest_mem_ops {
	int (*start)(const struct guest_opts *opts, const char **reason);
	int64_t (*mmap)(uint64_t addr, uint64_t len, uint64_t prot, uint64_t flags, uint64_t fd,
			uint64_t off);
	int64_t (*munmap)(uint64_t addr, uint64_t len);
	int64_t (*mprotect)(uint64_t addr, uint64_t len, uint64_t prot);
	int64_t (*mremap)(uint64_t addr, uint64_t old_len, uint64_t new_len, uint64_t flags,
			  uint64_t new_addr);
	int64_t (*brk)(uint64_t brk);
	int64_t (*madvise)(uint64_t addr, uint64_t len, int advice);
	int64_t (*msync)(uint64_t addr, uint64_t len, int flags);
	int64_t (*mincore)(uint64_t addr, uint64_t len, uint64_t vec);
	int64_t (*mlock2)(uint64_t addr, uint64_t len, int flags);
	int64_t (*munlock)(uint64_t addr, uint64_t len);
	int64_t (*mlockall)(int flags);
	int64_t (*munlockall)(void);
	int64_t (*mseal)(uint64_t addr, uint64_t len, uint64_t flags);
	int64_t (*remap_file_pages)(uint64_t addr, uint64_t len, uint64_t prot, uint64_t pgoff,
				    uint64_t flags);

	/* A mapping that stands in the host already: the vdso. */
	int (*foreign)(uint64_t addr, uint64_t len, unsigned prot, const char *name);
	int (*set_brk)(uint64_t start);
	void (*set_stack)(uint64_t addr);
	void (*set_limit)(int resource, uint64_t soft, uint64_t hard);

	int (*fork_begin)(void); /* 0, or a negative errno: then do not fork */
	void (*fork_parent)(void);
	void (*fork_child)(void);

	/* Verify the structures; *why is a sentence. */
	bool (*valid)(const char **why);
	/* All regions, drawn for a terminal. */
	void (*picture)(FILE *out, bool colour);
	/* A phrase with numbers for --stats. */
	bool (*stats)(char *buf, size_t size);
	/* The region that holds *cursor or the first above it; sets *cursor to its end. */
	bool (*next)(uint64_t *cursor, struct guest_mem_region *region);
};

extern const struct guest_mem_ops *const guest_mem;

/* mem.c: the calls */
void sys_mmap(struct call *c);
void sys_munmap(struct call *c);
void sys_mprotect(struct call *c);
void sys_pkey_mprotect(struct call *c);
void sys_mremap(struct call *c);
void sys_brk(struct call *c);
void sys_madvise(struct call *c);
void sys_msync(struct call *c);
void sys_mincore(struct call *c);
void sys_mlock(struct call *c);
void sys_mlock2(struct call *c);
void sys_munlock(struct call *c);
void sys_mlockall(struct call *c);
void sys_munlockall(struct call *c);
void sys_mseal(struct call *c);
void sys_remap_file_pages(struct call *c);
void sys_setrlimit(struct call *c);
void sys_prlimit64(struct call *c);
/* shm.c */
void sys_shmat(struct call *c);
void sys_shmdt(struct call *c);

#endif
