// SPDX-License-Identifier: MIT
/*
 * trace.c: the names of events, and the ring in memory (vmspace/trace.h).
 *
 * Terms
 *	number	events are counted over the life of the process; event n has slot n % SLOTS
 *	slot	a sequence word and an event's words. The word is 2n + 1 while event n is being
 *		written, 2n + 2 when it stands, 0 before the first.
 *
 * Invariants
 * 1. One writer at a time is in a slot: who finds the word odd, or of a later event, or loses the
 *    race for it, gives its event up. So a writer that was held up cannot mix its event with one a
 *    whole ring later, and nobody waits.
 * 2. A slot's word never falls, but in a forked child: a slot whose writer was not copied is freed.
 * 3. A reader that finds the word 2n + 2 before and after it read the words has event n whole.
 *
 * For 3 without a fence: the words are stored with release after the odd value, and loaded with
 * acquire before the second look. Who has seen a word of a later event sees its odd value too.
 */
#include "base/trace.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fail.h"
#include "vmspace/trace.h"

#define SLOTS VMS_TRACE_EVENTS

_Static_assert(TRACE_EVENTS <= 64, "an event has a bit in trace_on");
_Static_assert((SLOTS & (SLOTS - 1)) == 0, "a slot is found by a mask");

struct slot {
	_Atomic(uint64_t) word;
	_Atomic(uint64_t) time, what; /* thread << 32 | event */
	_Atomic(uint64_t) arg[3];
} __attribute__((aligned(64)));

static const char *const names[TRACE_EVENTS] = {
#define TRACE_EVENT(name, a, b, c) #name,
#include "base/trace.def"
#undef TRACE_EVENT
};

static const char *const args[TRACE_EVENTS][3] = {
#define TRACE_EVENT(name, a, b, c) {a, b, c},
#include "base/trace.def"
#undef TRACE_EVENT
};

_Atomic(uint64_t) trace_on;
static struct slot ring[SLOTS]; /* takes no memory before it is used */
static _Atomic(uint64_t) head;	/* the next event's number */
static _Atomic(uint64_t) first; /* the oldest that is shown */
static _Thread_local uint32_t thread __attribute__((tls_model("initial-exec"))); /* 0: ask */

const char *trace_event_name(enum trace_event event)
{
	return vms_trace_name((uint32_t)event);
}

const char *vms_trace_name(uint32_t event)
{
	return event < TRACE_EVENTS ? names[event] : NULL;
}

const char *vms_trace_arg(uint32_t event, unsigned arg)
{
	return event < TRACE_EVENTS && arg < 3 ? args[event][arg] : NULL;
}

/* ---- writing ---- */

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void trace_put(enum trace_event event, uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t n = atomic_fetch_add_explicit(&head, 1, memory_order_relaxed);
	struct slot *s = &ring[n & (SLOTS - 1)];
	uint64_t seen = atomic_load_explicit(&s->word, memory_order_relaxed);

	if ((seen & 1) || seen > 2 * n ||
	    !atomic_compare_exchange_strong_explicit(&s->word, &seen, 2 * n + 1,
						     memory_order_acquire, memory_order_relaxed))
		return; /* (invariant 1) */
	if (thread == 0)
		thread = (uint32_t)gettid();
	atomic_store_explicit(&s->time, now(), memory_order_release);
	atomic_store_explicit(&s->what, (uint64_t)thread << 32 | event, memory_order_release);
	atomic_store_explicit(&s->arg[0], a, memory_order_release);
	atomic_store_explicit(&s->arg[1], b, memory_order_release);
	atomic_store_explicit(&s->arg[2], c, memory_order_release);
	atomic_store_explicit(&s->word, 2 * n + 2, memory_order_release);
}

/* ---- reading ---- */

/* Event n, if it stands. */
static bool read_slot(uint64_t n, struct vms_trace_event *e)
{
	struct slot *s = &ring[n & (SLOTS - 1)];
	uint64_t what;

	if (atomic_load_explicit(&s->word, memory_order_acquire) != 2 * n + 2)
		return false;
	e->number = n;
	e->time = atomic_load_explicit(&s->time, memory_order_acquire);
	what = atomic_load_explicit(&s->what, memory_order_acquire);
	for (int i = 0; i < 3; i++)
		e->arg[i] = atomic_load_explicit(&s->arg[i], memory_order_acquire);
	e->thread = (uint32_t)(what >> 32);
	e->event = (uint32_t)what;
	return atomic_load_explicit(&s->word, memory_order_relaxed) == 2 * n + 2;
}

size_t vms_trace_read(uint64_t *cursor, struct vms_trace_event *events, size_t n)
{
	uint64_t oldest = atomic_load_explicit(&first, memory_order_relaxed);
	uint64_t end = atomic_load_explicit(&head, memory_order_acquire);
	uint64_t at = *cursor;
	size_t got = 0;

	if (end - oldest > SLOTS)
		oldest = end - SLOTS;
	if (at < oldest)
		at = oldest;
	for (; at < end && got < n; at++)
		got += read_slot(at, &events[got]);
	*cursor = at;
	return got;
}

/* ---- on and off ---- */

static void forked(void)
{
	thread = 0;
	for (size_t i = 0; i < SLOTS; i++) /* (invariant 2) */
		if (atomic_load_explicit(&ring[i].word, memory_order_relaxed) & 1)
			atomic_store_explicit(&ring[i].word, 0, memory_order_relaxed);
}

static void watch_fork(void)
{
	pthread_atfork(NULL, NULL, forked);
}

/* The bit of a name that is len long; 0: none. */
static uint64_t bit_of(const char *name, size_t len)
{
	for (unsigned i = 0; i < TRACE_EVENTS; i++)
		if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
			return UINT64_C(1) << i;
	return 0;
}

int vms_trace_start(const char *events)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	uint64_t bits = events == NULL ? ~UINT64_C(0) : 0;

	for (const char *at = events; at != NULL;) {
		size_t len = strcspn(at, ",");
		uint64_t bit = bit_of(at, len);

		if (bit == 0)
			return fail(-EINVAL, "trace_start: there is no event '%.*s'",
				    len > 64 ? 64 : (int)len, at);
		bits |= bit;
		at = at[len] == ',' ? at + len + 1 : NULL;
	}
	pthread_once(&once, watch_fork);
	if (atomic_load_explicit(&trace_on, memory_order_relaxed) == 0)
		atomic_store_explicit(&first, atomic_load_explicit(&head, memory_order_relaxed),
				      memory_order_relaxed);
	atomic_store_explicit(&trace_on, bits, memory_order_relaxed);
	return 0;
}

void vms_trace_stop(void)
{
	atomic_store_explicit(&trace_on, 0, memory_order_relaxed);
}
