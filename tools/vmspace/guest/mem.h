/* SPDX-License-Identifier: MIT */
/*
 * mem.h: the guest's memory calls.
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

int guest_mem_start(const struct guest_opts *opts, const char **reason);
int64_t guest_mem_mmap(uint64_t addr, uint64_t len, uint64_t prot, uint64_t flags, uint64_t fd,
		       uint64_t off);
int64_t guest_mem_munmap(uint64_t addr, uint64_t len);
int64_t guest_mem_mprotect(uint64_t addr, uint64_t len, uint64_t prot);
int64_t guest_mem_mremap(uint64_t addr, uint64_t old_len, uint64_t new_len, uint64_t flags,
			 uint64_t new_addr);
int64_t guest_mem_brk(uint64_t brk);
int64_t guest_mem_madvise(uint64_t addr, uint64_t len, int advice);
int64_t guest_mem_msync(uint64_t addr, uint64_t len, int flags);
int64_t guest_mem_mincore(uint64_t addr, uint64_t len, uint64_t vec);
int64_t guest_mem_mlock2(uint64_t addr, uint64_t len, int flags);
int64_t guest_mem_munlock(uint64_t addr, uint64_t len);
int64_t guest_mem_mlockall(int flags);
int64_t guest_mem_munlockall(void);
int64_t guest_mem_mseal(uint64_t addr, uint64_t len, uint64_t flags);

/* A mapping that stands in the host already: the vdso. */
int guest_mem_foreign(uint64_t addr, uint64_t len, unsigned prot, const char *name);
int guest_mem_set_brk(uint64_t start);
void guest_mem_set_stack(uint64_t addr);
void guest_mem_set_limit(int resource, uint64_t soft, uint64_t hard);

int guest_mem_fork_begin(void); /* 0, or a negative errno: then do not fork */
void guest_mem_fork_parent(void);
void guest_mem_fork_child(void);

/* Verify the structures; *why is a sentence. */
bool guest_mem_valid(const char **why);
/* All regions, drawn for a terminal. */
void guest_mem_picture(FILE *out, bool colour);
/* A phrase with numbers for --stats. */
bool guest_mem_stats(char *buf, size_t size);
/* The region that holds *cursor or the first above it; sets *cursor to its end. */
bool guest_mem_next(uint64_t *cursor, struct guest_mem_region *region);

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
void limits_again(void); /* after a vforked child, in its parent */
/* shm.c */
void sys_shmat(struct call *c);
void sys_shmdt(struct call *c);

#endif
