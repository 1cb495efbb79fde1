// SPDX-License-Identifier: MIT
/*
 * frames.c: counts, pins and marks of granted frames, without the arena's lock.
 *
 * A frame's entry is one word of 8 bytes: the count (while it is on a list: the next frame), pins,
 * marks. Who changes what:
 *	count	anybody who holds a count, atomically; whoever takes it to 0 owns the frame
 *	pins	anybody
 *	marks	the low byte: the holder's family; the state: whoever owns the frame then;
 *		BACKED and WRITTEN: set by an exclusive holder
 */
#include <errno.h>

#include "store/inside.h"

void list_append(struct vms_arena *a, struct frame_list *l, frame_t f)
{
	list_link(a, f, FRAME_NONE);
	if (l->n++ == 0)
		l->head = f;
	else
		list_link(a, l->tail, f);
	l->tail = f;
}

frame_t list_pop(struct vms_arena *a, struct frame_list *l)
{
	frame_t f = l->head;

	l->head = list_next(a, f);
	if (--l->n == 0)
		*l = (struct frame_list){ 0 };
	return f;
}

void list_splice(struct vms_arena *a, struct frame_list *l, struct frame_list *from)
{
	if (from->n == 0)
		return;
	list_link(a, from->tail, l->head);
	if (l->n == 0)
		l->tail = from->tail;
	l->head = from->head;
	l->n += from->n;
	*from = (struct frame_list){ 0 };
}

frame_t arena_take(struct vms_arena *a, struct frame_list *list)
{
	frame_t f = list_pop(a, list);
	struct entry *e = &a->entries[f];

	atomic_store_explicit(&e->pins, 0, memory_order_relaxed);
	entry_set_marks(a, f, STATE_HELD | (entry_marks(a, f) & (BACKED | WRITTEN)));
	atomic_store_explicit(&e->count, 1, memory_order_relaxed);
	return f;
}

void frame_ref(struct vms_arena *a, frame_t f)
{
	atomic_fetch_add_explicit(&a->entries[f].count, 1, memory_order_relaxed);
}

bool frame_exclusive(const struct vms_arena *a, frame_t f)
{
	return atomic_load_explicit(&a->entries[f].count, memory_order_acquire) == 1;
}

void frame_batch_init(struct frame_batch *b, struct vms_arena *a)
{
	*b = (struct frame_batch){ .arena = a };
}

void frame_unref(struct frame_batch *b, frame_t f)
{
	struct vms_arena *a = b->arena;

	/* Whoever sees 1 is the only holder: nobody else can change it. */
	if (!frame_exclusive(a, f) &&
	    atomic_fetch_sub_explicit(&a->entries[f].count, 1, memory_order_acq_rel) != 1)
		return;
	/* Reading a hole of the file fills it, too. */
	entry_set_marks(a, f, STATE_FREED | BACKED | (entry_marks(a, f) & WRITTEN));
	list_append(a, &b->list, f);
}

void frame_batch_end(struct frame_batch *b)
{
	struct vms_arena *a = b->arena;

	if (b->list.n == 0)
		return;
	if (!arena_alive(a)) { /* the lock may be held by a thread that the child has not */
		b->list = (struct frame_list){ 0 };
		return;
	}
	lock_take(&a->lock);
	limbo_add_locked(a, &b->list);
	lock_drop(&a->lock);
	cache_bound(a);
}

bool frame_pin(struct vms_arena *a, frame_t f)
{
	_Atomic(uint16_t) *pins = &a->entries[f].pins;
	uint16_t n = atomic_load_explicit(pins, memory_order_relaxed);

	do {
		if (n == UINT16_MAX)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		pins, &n, (uint16_t)(n + 1), memory_order_acq_rel, memory_order_relaxed));
	return true;
}

bool frame_unpin(struct vms_arena *a, frame_t f)
{
	_Atomic(uint16_t) *pins = &a->entries[f].pins;
	uint16_t n = atomic_load_explicit(pins, memory_order_relaxed);

	do {
		if (n == 0)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		pins, &n, (uint16_t)(n - 1), memory_order_acq_rel, memory_order_relaxed));
	return true;
}

unsigned frame_pins(const struct vms_arena *a, frame_t f)
{
	return atomic_load_explicit(&a->entries[f].pins, memory_order_acquire);
}

unsigned frame_mark(struct vms_arena *a, frame_t f, unsigned set, unsigned clear)
{
	_Atomic(uint16_t) *marks = &a->entries[f].marks;
	uint16_t old = atomic_load_explicit(marks, memory_order_relaxed);

	while (!atomic_compare_exchange_weak_explicit(
		marks, &old, (uint16_t)((old & ~(clear & MARKS)) | (set & MARKS)),
		memory_order_acq_rel, memory_order_relaxed))
		;
	return old & MARKS;
}

unsigned frame_marks(const struct vms_arena *a, frame_t f)
{
	return atomic_load_explicit(&a->entries[f].marks, memory_order_acquire) & MARKS;
}
