// SPDX-License-Identifier: MIT
/*
 * wait.c: a caller's storage while it waits for an answer.
 *
 *	        source_ask                 wait_answer
 *	IDLE -------------> LINKED ----------------------+
 *	  ^                   |  ^                       v
 *	  |   vms_wait_block  v  | timeout           ANSWERED
 *	  |                 SLEEPING --- wait_answer --->|
 *	  +------- the result is taken, or cancelled ----+
 *
 * The state is a futex word. Who answers sets it last of all and then touches the storage no more,
 * but for the address given to the host to wake: the waiter may be gone by then, and a wake-up for
 * a word that is something else now wakes nobody, or somebody who looks again.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "object/source_int.h"

/* ---- The host's part ---- */

#define SECOND INT64_C(1000000000) /* ns */

/* Sleep while *word is `value`, until the moment (NULL: for ever). -ETIMEDOUT, or 0: look again. */
static int sleep_on(_Atomic(uint32_t) *word, uint32_t value, const struct timespec *until)
{
	long r = syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value, until, NULL,
			 FUTEX_BITSET_MATCH_ANY);

	return r < 0 && errno == ETIMEDOUT ? -ETIMEDOUT : 0;
}

static void wake_all(_Atomic(uint32_t) *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void moment_after(int64_t timeout, struct timespec *until)
{
	clock_gettime(CLOCK_MONOTONIC, until);
	until->tv_sec += (time_t)(timeout / SECOND);
	until->tv_nsec += (long)(timeout % SECOND);
	if (until->tv_nsec >= SECOND) {
		until->tv_nsec -= (long)SECOND;
		until->tv_sec++;
	}
}

/* ---- Answers ---- */

void wait_answer(struct wait *w, int result)
{
	uint32_t old;

	w->result = result;
	/* Release pairs with wait_take_result: it sees the result, and what was answered. */
	old = atomic_exchange_explicit(&w->state, WAIT_ANSWERED, memory_order_release);
	if (old == WAIT_SLEEPING)
		wake_all(&w->state);
}

int wait_take_result(struct wait *w)
{
	int result;

	switch (atomic_load_explicit(&w->state, memory_order_acquire)) {
	case WAIT_ANSWERED:
		result = w->result;
		w->result = 0;
		atomic_store_explicit(&w->state, WAIT_IDLE, memory_order_relaxed);
		return result;
	case WAIT_IDLE:
		return 0;
	default:
		return VMS_WAIT;
	}
}

void vms_wait_init(struct vms_wait *wait)
{
	struct wait *w = wait_of(wait);

	memset(wait, 0, sizeof(*wait));
	atomic_init(&w->state, WAIT_IDLE);
}

int vms_wait_block(struct vms_wait *wait, int64_t timeout)
{
	struct wait *w = wait_of(wait);
	struct timespec until;
	uint32_t state;
	int err;

	if (timeout > 0)
		moment_after(timeout, &until);
	for (;;) {
		err = wait_take_result(w);
		if (err != VMS_WAIT)
			return err;
		if (timeout == 0)
			return -ETIMEDOUT;
		state = WAIT_LINKED;
		/* Failing, it is answered, or we have been asleep before. */
		if (!atomic_compare_exchange_strong_explicit(&w->state, &state, WAIT_SLEEPING,
							     memory_order_relaxed,
							     memory_order_relaxed) &&
		    state != WAIT_SLEEPING)
			continue;
		if (sleep_on(&w->state, WAIT_SLEEPING, timeout < 0 ? NULL : &until)) {
			err = wait_take_result(w);
			return err == VMS_WAIT ? -ETIMEDOUT : err;
		}
	}
}

void vms_wait_cancel(struct vms_wait *wait)
{
	struct wait *w = wait_of(wait);

	/* The object is the caller's still, and with it the source. */
	if (wait_take_result(w) == VMS_WAIT)
		source_cancel(w->source, w);
	atomic_store_explicit(&w->state, WAIT_IDLE, memory_order_relaxed);
}
