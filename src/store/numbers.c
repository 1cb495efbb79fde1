// SPDX-License-Identifier: MIT
/*
 * numbers.c: which frame numbers are free.
 *
 * Terms:
 *	chunk	64 adjacent numbers; a byte says how many are taken, and whether a run or a nook
 *		owns it
 *	stretch	64 chunks, with a bitmap of those that are not free
 *	taken	a number is from its grant until the host has got its memory back
 *
 * Invariants:
 *	1 a free number's frame has only zero bytes and is a hole of the file, but for `ahead`
 *	  of them that are BACKED; these lie in chunks that are not free
 *	2 a chunk's byte counts the taken numbers in it
 *	3 a chunk's bit is set exactly if it is owned or a number of it is taken; chunk 0's is
 *	  always
 *	4 below the stretch low[k] there is no aligned free run of 2^k chunks
 *	5 numbers at `mapped` and above are free
 *
 * Runs and nooks are searched from low[k] on, first fit: low numbers are used first, so that the
 * file grows late. The search looks at each full stretch once, until one below gets room again.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/fail.h"
#include "store/inside.h"

static const uint64_t aligned[ORDERS] = {
	~UINT64_C(0),
	UINT64_C(0x5555555555555555),
	UINT64_C(0x1111111111111111),
	UINT64_C(0x0101010101010101),
	UINT64_C(0x0001000100010001),
	UINT64_C(0x0000000100000001),
	UINT64_C(1),
};

/* What a chunk in use costs: for arena_count_metadata. */
#define CHUNK_METADATA ((int64_t)(CHUNK * sizeof(struct entry) + 1))

static unsigned chunk_used(const struct vms_arena *a, uint64_t c)
{
	return a->chunks[c] & CHUNK_USED;
}

/* The frames that were made ahead for an owner who is gone: as if they had been freed. */
static void chunk_sweep_locked(struct vms_arena *a, uint64_t c) REQUIRES(a->lock)
{
	for (uint64_t f = c * CHUNK; f < (c + 1) * CHUNK; f++) {
		struct frame_list one = { 0 };

		if (entry_marks(a, (frame_t)f) != (STATE_FREE | BACKED))
			continue;
		number_take_locked(a, (frame_t)f);
		entry_set_marks(a, (frame_t)f, STATE_FREED | BACKED);
		list_append(a, &one, (frame_t)f);
		list_splice(a, &a->cache, &one);
		counter_add(&a->freed, 1);
	}
}

/* Neither owned nor used any more? */
static void chunk_settle_locked(struct vms_arena *a, uint64_t c) REQUIRES(a->lock)
{
	uint32_t stretch = (uint32_t)(c / STRETCH_CHUNKS);

	if (!a->chunks[c] && counter(&a->ahead))
		chunk_sweep_locked(a, c);
	if (a->chunks[c])
		return;
	a->taken[stretch] &= ~(UINT64_C(1) << c % STRETCH_CHUNKS);
	for (unsigned k = 0; k < ORDERS; k++) {
		if (a->low[k] > stretch)
			a->low[k] = stretch;
	}
}

static void chunk_mark_locked(struct vms_arena *a, uint64_t c) REQUIRES(a->lock)
{
	a->taken[c / STRETCH_CHUNKS] |= UINT64_C(1) << c % STRETCH_CHUNKS;
}

void number_take_locked(struct vms_arena *a, frame_t f)
{
	uint64_t c = f / CHUNK;
	unsigned backed = entry_marks(a, f) & BACKED;

	counter_sub(&a->ahead, backed != 0);
	entry_set_marks(a, f, STATE_LISTED | backed);
	if (chunk_used(a, c) == 0)
		arena_count_metadata(a, CHUNK_METADATA);
	a->chunks[c]++;
	chunk_mark_locked(a, c);
}

void number_give_locked(struct vms_arena *a, frame_t f)
{
	uint64_t c = f / CHUNK;
	struct entry *e = &a->entries[f];

	atomic_store_explicit(&e->count, 0, memory_order_relaxed);
	atomic_store_explicit(&e->pins, 0, memory_order_relaxed);
	entry_set_marks(a, f, STATE_FREE);
	a->chunks[c]--;
	if (chunk_used(a, c) == 0)
		arena_count_metadata(a, -CHUNK_METADATA);
	chunk_settle_locked(a, c);
}

/* The first of 2^k free chunks, aligned to their number, or UINT64_MAX. */
static uint64_t find_locked(struct vms_arena *a, unsigned k) REQUIRES(a->lock)
{
	uint32_t stretches = (uint32_t)(a->frames / STRETCH);

	for (; a->low[k] < stretches; a->low[k]++) {
		uint64_t room = ~a->taken[a->low[k]];

		for (unsigned i = 0; i < k; i++)
			room &= room >> (1u << i);
		room &= aligned[k];
		if (room)
			return (uint64_t)a->low[k] * STRETCH_CHUNKS +
			       (unsigned)__builtin_ctzll(room);
	}
	return UINT64_MAX;
}

/* 2^k free chunks become owned. */
static bool own_locked(struct vms_arena *a, unsigned k, frame_t *base) REQUIRES(a->lock)
{
	uint64_t c = find_locked(a, k);

	if (c == UINT64_MAX)
		return false;
	*base = (frame_t)(c * CHUNK);
	for (uint64_t i = c; i < c + (UINT64_C(1) << k); i++) {
		a->chunks[i] |= CHUNK_OWNED;
		chunk_mark_locked(a, i);
	}
	return true;
}

static void disown_locked(struct vms_arena *a, frame_t base, uint32_t len) REQUIRES(a->lock)
{
	for (uint64_t c = base / CHUNK; c < (base + (uint64_t)len) / CHUNK; c++) {
		a->chunks[c] &= (uint8_t)~CHUNK_OWNED;
		chunk_settle_locked(a, c);
	}
}

int arena_run(struct vms_arena *a, uint64_t npages, frame_t *base, uint32_t *len)
{
	unsigned k = 0;
	bool found;

	if (!arena_alive(a))
		return -ENOMEM;
	while (k < ORDERS - 1 && (uint64_t)CHUNK << k < npages)
		k++;
	lock_take(&a->lock);
	found = own_locked(a, k, base);
	lock_drop(&a->lock);
	*len = CHUNK << k;
	return found ? 0 : -ENOMEM;
}

void arena_run_drop(struct vms_arena *a, frame_t base, uint32_t len)
{
	if (len == 0 || !arena_alive(a))
		return;
	lock_take(&a->lock);
	disown_locked(a, base, len);
	lock_drop(&a->lock);
}

static void nook_drop_locked(struct vms_arena *a, struct arena_nook *nook) REQUIRES(a->lock)
{
	if (nook->end)
		disown_locked(a, nook->end - CHUNK, CHUNK);
	*nook = (struct arena_nook){ 0 };
}

void arena_nook_drop(struct vms_arena *a, struct arena_nook *nook)
{
	if (!nook->end || !arena_alive(a)) {
		*nook = (struct arena_nook){ 0 };
		return;
	}
	lock_take(&a->lock);
	nook_drop_locked(a, nook);
	lock_drop(&a->lock);
}

frame_t number_of_nook_locked(struct vms_arena *a, struct arena_nook *nook)
{
	for (;;) {
		while (nook->at < nook->end) {
			frame_t f = nook->at++;

			if (number_is_free(a, f))
				return f;
		}
		nook_drop_locked(a, nook);
		if (!own_locked(a, 0, &nook->at))
			return FRAME_NONE;
		nook->end = nook->at + CHUNK;
	}
}

frame_t number_any_locked(struct vms_arena *a)
{
	uint64_t chunks = a->frames / CHUNK;

	for (uint64_t n = 0; n < chunks; n++, a->steal++) {
		if (a->steal >= chunks)
			a->steal = 0;
		if (a->steal == 0 || chunk_used(a, a->steal) == CHUNK)
			continue;
		for (uint64_t f = a->steal * CHUNK; f < (a->steal + 1) * CHUNK; f++) {
			if (number_is_free(a, f))
				return (frame_t)f;
		}
	}
	return FRAME_NONE;
}

frame_t numbers_adjacent_locked(struct vms_arena *a, uint64_t n)
{
	uint64_t chunks = a->frames / CHUNK, need = (n + CHUNK - 1) / CHUNK, found = 0;

	for (uint64_t c = (uint64_t)a->low[0] * STRETCH_CHUNKS; c < chunks; c++) {
		uint64_t bits = a->taken[c / STRETCH_CHUNKS];

		if (c % STRETCH_CHUNKS == 0 && bits == ~UINT64_C(0)) { /* a full stretch at once */
			found = 0;
			c += STRETCH_CHUNKS - 1;
			continue;
		}
		found = bits >> c % STRETCH_CHUNKS & 1 ? 0 : found + 1;
		if (found == need)
			return (frame_t)((c + 1 - need) * CHUNK);
	}
	return FRAME_NONE;
}

uint64_t numbers_ahead_locked(struct vms_arena *a, frame_t f, uint64_t n)
{
	uint64_t end = (uint64_t)f + 1;

	while (end < f + n && end % CHUNK && end < counter(&a->mapped) &&
	       entry_marks(a, (frame_t)end) == STATE_FREE)
		number_take_locked(a, (frame_t)end++);
	return end - f;
}

void numbers_made_locked(struct vms_arena *a, frame_t f, uint64_t n)
{
	/* The chunk stays in use: the caller has f. */
	for (uint64_t i = 1; i < n; i++) {
		entry_set_marks(a, (frame_t)(f + i), STATE_FREE | BACKED);
		a->chunks[f / CHUNK]--;
		counter_add(&a->ahead, 1);
	}
}

void numbers_init(struct vms_arena *a)
{
	a->chunks[0] = CHUNK_OWNED; /* below FRAME_FIRST */
	a->taken[0] = 1;
	a->steal = 1;
}

/* ---- The validator's part ---- */

static int check_entry(const struct vms_arena *a, uint64_t f, uint64_t *granted, uint64_t *freed,
		       uint64_t *ahead)
{
	const struct entry *e = &a->entries[f];
	unsigned marks = atomic_load(&e->marks);
	uint32_t count = atomic_load(&e->count);

	switch (marks & STATE) {
	case STATE_FREE:
		*ahead += marks == BACKED;
		if (marks & ~BACKED || count || atomic_load(&e->pins))
			return fail(-EINVAL,
				    "arena: the entry of free number %" PRIu64 " is not zero", f);
		return 0;
	case STATE_FREED:
		++*freed;
		return 0;
	case STATE_HELD:
		if (count == 0)
			return fail(-EINVAL, "arena: held frame %" PRIu64 " has count 0", f);
		break;
	}
	++*granted;
	return 0;
}

int numbers_check(struct vms_arena *a, uint64_t *granted, uint64_t *freed)
{
	uint64_t mapped = counter(&a->mapped), ahead = 0;

	*granted = *freed = 0;
	for (uint64_t c = 0; c < a->frames / CHUNK; c++) {
		uint64_t before = *granted + *freed, used;
		bool bit = a->taken[c / STRETCH_CHUNKS] >> c % STRETCH_CHUNKS & 1;

		for (uint64_t f = c * CHUNK; f < (c + 1) * CHUNK && f < mapped; f++) {
			int err = check_entry(a, f, granted, freed, &ahead);

			if (err)
				return err;
		}
		used = *granted + *freed - before;
		if (chunk_used(a, c) != used)
			return fail(-EINVAL,
				    "arena: chunk %" PRIu64 " says %u, has %" PRIu64 " taken", c,
				    chunk_used(a, c), used);
		if (bit != (a->chunks[c] != 0))
			return fail(-EINVAL, "arena: the bit of chunk %" PRIu64 " is %d", c, bit);
	}
	if (ahead != counter(&a->ahead))
		return fail(-EINVAL, "arena: %" PRIu64 " frames made ahead, %" PRIu64 " counted",
			    ahead, counter(&a->ahead));
	if (!(a->taken[0] & 1))
		return fail(-EINVAL, "arena: chunk 0 is free");
	for (unsigned k = 0; k < ORDERS; k++) {
		for (uint32_t s = 0; s < a->low[k]; s++) {
			uint64_t room = ~a->taken[s];

			for (unsigned i = 0; i < k; i++)
				room &= room >> (1u << i);
			if (room & aligned[k])
				return fail(-EINVAL, "arena: room of order %u below its mark", k);
		}
	}
	return 0;
}
