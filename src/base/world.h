/* SPDX-License-Identifier: MIT */
/*
 * world.h: the one door to the host.
 *
 * Every allocation and every host call of the library goes through a struct world, so that the
 * library is an ordinary program in tests: a test world counts, records, and makes the n-th call
 * fail. Functions return a value or a negative errno, never set errno as their answer.
 *
 * Allocation never returns memory that must not be used in a forked child.
 */
#ifndef BASE_WORLD_H
#define BASE_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct stat;
struct iovec;

struct world {
	void *(*alloc)(const struct world *w, size_t size); /* NULL: no memory; not zeroed */
	void (*free)(const struct world *w, void *p, size_t size);

	/* The address, or a negative errno (addresses of user space are below 2^63). */
	int64_t (*mmap)(const struct world *w, uint64_t addr, uint64_t len, int prot, int flags,
			int fd, uint64_t off);
	int (*munmap)(const struct world *w, uint64_t addr, uint64_t len);
	int (*mprotect)(const struct world *w, uint64_t addr, uint64_t len, int prot);
	int64_t (*mremap)(const struct world *w, uint64_t addr, uint64_t old_len, uint64_t new_len,
			  int flags, uint64_t new_addr);
	int (*madvise)(const struct world *w, uint64_t addr, uint64_t len, int advice);
	int (*msync)(const struct world *w, uint64_t addr, uint64_t len, int flags);
	int (*mincore)(const struct world *w, uint64_t addr, uint64_t len, unsigned char *vec);
	int (*mlock)(const struct world *w, uint64_t addr, uint64_t len, int onfault);
	int (*munlock)(const struct world *w, uint64_t addr, uint64_t len);

	/* 0 and *st, or a negative errno. */
	int (*fstat)(const struct world *w, int fd, struct stat *st);
	/* statfs f_type; *noexec: is the mount noexec? */
	int (*fs_type)(const struct world *w, int fd, uint64_t *type, bool *noexec);
	int (*fd_seals)(const struct world *w, int fd); /* F_GET_SEALS */
	int (*fd_flags)(const struct world *w, int fd);		       /* F_GETFL */
	int (*fd_dup)(const struct world *w, int fd);		       /* close-on-exec */
	void (*fd_close)(const struct world *w, int fd);
	/* 1: the two are one open file; 0: two; negative errno: cannot tell. */
	int (*fd_same)(const struct world *w, int a, int b);
	/* The path of an open file, as /proc/self/fd/N shows it; NUL ended, cut at size. */
	int (*fd_path)(const struct world *w, int fd, char *buf, size_t size);
	/* A descriptor of this process's maps, for region(); fd_close ends it. Not for a child. */
	int (*maps_open)(const struct world *w);
	/* The bounds of the region that holds addr; -ENOENT: none, -ENOTTY: cannot tell. */
	int (*region)(const struct world *w, int maps, uint64_t addr, uint64_t *start,
		      uint64_t *end);
	/* Memory and files for the arena and the pagers. */
	/* MFD_* flags; close-on-exec. -ENOTSUP: the host has no memfd, or not such a one. */
	int (*memfd)(const struct world *w, const char *name, unsigned flags);
	int (*fd_add_seals)(const struct world *w, int fd, int seals);
	int (*ftruncate)(const struct world *w, int fd, uint64_t size);
	int (*fallocate)(const struct world *w, int fd, int mode, uint64_t off, uint64_t len);
	/* Bytes moved, maybe fewer than asked for, or a negative errno. */
	int64_t (*pread)(const struct world *w, int fd, void *buf, uint64_t len, uint64_t off);
	int64_t (*pwrite)(const struct world *w, int fd, const void *buf, uint64_t len,
			  uint64_t off);
	/* The same for many buffers. off < 0: at the descriptor's own position (readv, writev). */
	int64_t (*readv)(const struct world *w, int fd, const struct iovec *iov, int n, int64_t off);
	int64_t (*writev)(const struct world *w, int fd, const struct iovec *iov, int n,
			  int64_t off);
	/* mode: MPOL_*; nodes: bit mask of the first 64. -ENOTSUP: the host knows no nodes. */
	int (*mbind)(const struct world *w, uint64_t addr, uint64_t len, int mode, uint64_t nodes);
	int (*ioctl)(const struct world *w, int fd, unsigned long request, void *arg);
	/* The soft limit of a resource (RLIMIT_*); UINT64_MAX: none. */
	int (*rlimit)(const struct world *w, int resource, uint64_t *limit);
	int (*membarrier)(const struct world *w, int command);
	void *arg; /* of the world's maker */
};

/* The real host. */
extern const struct world world_host;

/*
 * The world that newly created handles use, world_host unless a test or the command put another
 * one here before the first call. Handles keep the one they were created with.
 */
extern const struct world *world_default;

#endif
