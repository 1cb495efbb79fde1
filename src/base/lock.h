/* SPDX-License-Identifier: MIT */
/*
 * lock.h: mutexes with clang's thread-safety annotations and, in debug builds, ranks.
 *
 * A lock may be taken only while every lock that the thread holds has a lower rank, or is one of an
 * object family or an MMU at a lower address, as the lock taken is. The order is the
 * architecture's: space, object, pager, MMU, store, trace. With -Ddebug_locks=true a wrong order
 * stops the program with both names; that is our bug, never a caller's.
 */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include <pthread.h>

#if defined(__clang__)
#define CAPABILITY(name) __attribute__((capability(name)))
#define REQUIRES(...)	 __attribute__((requires_capability(__VA_ARGS__)))
#define EXCLUDES(...)	 __attribute__((locks_excluded(__VA_ARGS__)))
#define ACQUIRES(...)	 __attribute__((acquire_capability(__VA_ARGS__)))
#define RELEASES(...)	 __attribute__((release_capability(__VA_ARGS__)))
#define ASSERTS_HELD(...) __attribute__((assert_capability(__VA_ARGS__)))
#define UNCHECKED_LOCKS	 __attribute__((no_thread_safety_analysis))
#else
#define CAPABILITY(name)
#define REQUIRES(...)
#define EXCLUDES(...)
#define ACQUIRES(...)
#define RELEASES(...)
#define ASSERTS_HELD(...)
#define UNCHECKED_LOCKS
#endif

enum lock_rank {
	LOCK_SPACE = 1,
	LOCK_OBJECT, /* an object family; several are taken by rising address */
	LOCK_PAGER,
	LOCK_MMU, /* several of one MMU, by rising address */
	LOCK_STORE,
	LOCK_TRACE,
};

struct CAPABILITY("mutex") lock {
	pthread_mutex_t mutex;
	enum lock_rank rank;
	const char *name;
};

void lock_init(struct lock *l, enum lock_rank rank, const char *name);
void lock_fini(struct lock *l);
void lock_take(struct lock *l) ACQUIRES(l);
void lock_drop(struct lock *l) RELEASES(l);
/* Wait on the condition; the lock is free meanwhile and held again on return. May wake for nothing. */
void lock_wait(struct lock *l, pthread_cond_t *cond) REQUIRES(l);
/* After fork, in the child, by the thread that took it before: free, with nobody waiting. */
void lock_reset_in_child(struct lock *l) RELEASES(l);

#endif
