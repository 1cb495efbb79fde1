// SPDX-License-Identifier: MIT
/*
 * lock.c: mutexes, and the rank check of debug builds.
 *
 * In a debug build each thread keeps the list of locks that it holds, innermost last.
 *
 * Invariants of that list:
 *	1 ranks rise strictly from the first to the last, but for families, whose addresses rise
 *	2 it holds exactly the locks that the thread has taken and not dropped
 * Locks may be dropped in any order. A breach is a bug of the library, so it stops the program.
 */
#include "base/lock.h"

#include <stdbool.h>

#include "vms_config.h"

#if VMS_DEBUG_LOCKS

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HELD_INLINE 64u

/* A branch of a space takes as many families as are mapped: then the list is on the heap, until the
 * thread holds none. */
static _Thread_local struct {
	struct lock *first[HELD_INLINE];
	struct lock **more; /* NULL: first is the list */
	unsigned n, room;   /* room: of more */
} held;

static struct lock **list(void)
{
	return held.more ? held.more : held.first;
}

static void breach(const char *what, const struct lock *l, const struct lock *other)
{
	fprintf(stderr, "vmspace: %s lock %s (rank %d)", what, l->name, (int)l->rank);
	if (other)
		fprintf(stderr, " while holding %s (rank %d)", other->name, (int)other->rank);
	fputc('\n', stderr);
	abort();
}

/* Room for one more. */
static void grow(struct lock *l)
{
	unsigned room = held.more ? held.room : HELD_INLINE;
	struct lock **more;

	if (held.n < room)
		return;
	more = realloc(held.more, 2 * room * sizeof(struct lock *));
	if (!more)
		breach("too many held: taking", l, NULL);
	if (!held.more)
		memcpy(more, held.first, sizeof(held.first));
	held.more = more;
	held.room = 2 * room;
}

static void note_take(struct lock *l)
{
	const struct lock *last = held.n ? list()[held.n - 1] : NULL;
	bool several = l->rank == LOCK_OBJECT || l->rank == LOCK_MMU; /* by rising address */

	if (last && (last->rank > l->rank || (last->rank == l->rank && (!several || last >= l))))
		breach("taking", l, last);
	grow(l);
	list()[held.n++] = l;
}

static void note_drop(struct lock *l)
{
	struct lock **at = list();

	for (unsigned i = held.n; i-- > 0;) {
		if (at[i] != l)
			continue;
		for (; i + 1 < held.n; i++)
			at[i] = at[i + 1];
		if (--held.n == 0) {
			free(held.more);
			held.more = NULL;
		}
		return;
	}
	breach("dropping, without holding it,", l, NULL);
}

#else

static inline void note_take(struct lock *l)
{
}

static inline void note_drop(struct lock *l)
{
}

#endif

void lock_init(struct lock *l, enum lock_rank rank, const char *name)
{
	pthread_mutex_init(&l->mutex, NULL);
	l->rank = rank;
	l->name = name;
}

void lock_fini(struct lock *l)
{
	pthread_mutex_destroy(&l->mutex);
}

void lock_take(struct lock *l) UNCHECKED_LOCKS
{
	note_take(l); /* before waiting: a wrong order is told even where it would deadlock */
	pthread_mutex_lock(&l->mutex);
}

void lock_drop(struct lock *l) UNCHECKED_LOCKS
{
	note_drop(l);
	pthread_mutex_unlock(&l->mutex);
}

/* The thread still counts as a holder: it can take nothing meanwhile. */
void lock_wait(struct lock *l, pthread_cond_t *cond)
{
	pthread_cond_wait(cond, &l->mutex);
}

void lock_reset_in_child(struct lock *l) UNCHECKED_LOCKS
{
	note_drop(l);
	/* As pthread_atfork(3) has it: the child's only thread is the copy of the one that took it. */
	pthread_mutex_unlock(&l->mutex);
}
