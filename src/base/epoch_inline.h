/* SPDX-License-Identifier: MIT */
/*
 * epoch_inline.h: epoch_enter and epoch_leave for those to whom a call is dear. What they rest on is
 * in epoch.c, whose invariants they keep.
 *
 * The usual section, which is not inside another, loads nothing that the one before it stored: both
 * paths store constants behind a branch, so that one section need not wait for the other's stores.
 */
#ifndef BASE_EPOCH_INLINE_H
#define BASE_EPOCH_INLINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SANITIZE_THREAD__)
#define EPOCH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define EPOCH_TSAN 1
#endif
#endif
#ifndef EPOCH_TSAN
#define EPOCH_TSAN 0
#endif

#define EPOCH_INSIDE static inline __attribute__((always_inline))
#define EPOCH_HIDDEN __attribute__((visibility("hidden")))

struct epoch_record {
	_Atomic(uint64_t) epoch;      /* 0: not inside */
	_Atomic(unsigned) depth;      /* of sections; [owner] */
	_Atomic(unsigned) collecting; /* odd: the owner holds retired heads */
	_Atomic(uintptr_t) owner;     /* 0: free */
} __attribute__((aligned(64)));

extern EPOCH_HIDDEN _Thread_local struct epoch_record *epoch_self
	__attribute__((tls_model("initial-exec")));
extern EPOCH_HIDDEN _Atomic(uint64_t) epoch_current;
extern EPOCH_HIDDEN bool epoch_fences; /* the host refused membarrier */

/* The thread has no record yet, or fork took it away. */
bool epoch_enter_first(void) EPOCH_HIDDEN __attribute__((cold));

/* This thread's record, or NULL. */
EPOCH_INSIDE struct epoch_record *epoch_mine(void)
{
	struct epoch_record *r = epoch_self;

	if (__builtin_expect(!r || atomic_load_explicit(&r->owner, memory_order_relaxed) !=
					     (uintptr_t)&epoch_self,
			     0))
		return NULL;
	return r;
}

EPOCH_INSIDE void epoch_begin(struct epoch_record *r)
{
	uint64_t e = atomic_load_explicit(&epoch_current, memory_order_acquire);

#if EPOCH_TSAN
	atomic_exchange(&r->epoch, e);
#else
	atomic_store_explicit(&r->epoch, e, memory_order_release);
	if (__builtin_expect(epoch_fences, 0))
		atomic_thread_fence(memory_order_seq_cst);
#endif
}

/* First the depth: a signal handler's section in between then ends without ours. */
EPOCH_INSIDE void epoch_open(struct epoch_record *r)
{
	unsigned depth = atomic_load_explicit(&r->depth, memory_order_relaxed);

	if (__builtin_expect(depth == 0, 1)) {
		atomic_store_explicit(&r->depth, 1, memory_order_relaxed);
		atomic_signal_fence(memory_order_seq_cst);
		/* A handler that came just now is done with the epoch that it left here. */
		epoch_begin(r);
	} else {
		atomic_store_explicit(&r->depth, depth + 1, memory_order_relaxed);
		atomic_signal_fence(memory_order_seq_cst);
		/* 0: we are a handler that came between the two above. */
		if (__builtin_expect(atomic_load_explicit(&r->epoch, memory_order_relaxed) == 0, 0))
			epoch_begin(r);
	}
	atomic_signal_fence(memory_order_seq_cst);
}

EPOCH_INSIDE bool epoch_enter_inline(void)
{
	struct epoch_record *r = epoch_mine();

	if (__builtin_expect(!r, 0))
		return epoch_enter_first();
	epoch_open(r);
	return true;
}

/* The end of epoch_open(r). In a child that was forked meanwhile the depth is 0. */
EPOCH_INSIDE void epoch_close(struct epoch_record *r)
{
	unsigned depth = atomic_load_explicit(&r->depth, memory_order_relaxed);

	atomic_signal_fence(memory_order_seq_cst);
	if (__builtin_expect(depth == 1, 1)) {
		atomic_store_explicit(&r->depth, 0, memory_order_relaxed);
		atomic_signal_fence(memory_order_seq_cst);
		atomic_store_explicit(&r->epoch, 0, memory_order_release);
	} else if (depth != 0) {
		atomic_store_explicit(&r->depth, depth - 1, memory_order_relaxed);
	}
}

EPOCH_INSIDE void epoch_leave_inline(void)
{
	struct epoch_record *r = epoch_mine();

	/* Entered before fork: the child's record knows nothing of it. */
	if (__builtin_expect(r != NULL, 1))
		epoch_close(r);
}

/* Is this thread in a section? */
EPOCH_INSIDE bool epoch_inside(void)
{
	struct epoch_record *r = epoch_mine();

	return r && atomic_load_explicit(&r->depth, memory_order_relaxed) != 0;
}

#endif
