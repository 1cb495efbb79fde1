// SPDX-License-Identifier: MIT
/*
 * place.c: the search for a place.
 *
 * One walk goes from gap to gap, upwards. It asks each source only for what it needs to see:
 * sources may answer gaps that are too small as taken, so the walk costs one question a source for
 * each gap that is large enough for the size, and one more where the sources take turns.
 *
 * A random placement draws its number before it knows how many candidates there are. Mostly there
 * are more than numbers, and one walk is enough; else that walk has counted them, the second
 * number is drawn from the count, and a second walk goes there.
 */
#include "space/place.h"

#include "base/range.h"

/* splitmix64: a counter, mixed. */
uint64_t place_random(uint64_t *state)
{
	uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

/* Uniform in [0, n), n > 0: numbers past the end are drawn again. */
static uint64_t random_below(uint64_t *state, uint64_t n)
{
	uint64_t mask = n > 1 ? UINT64_MAX >> __builtin_clzll(n - 1) : 0, x;

	do {
		x = place_random(state) & mask;
	} while (x >= n);
	return x;
}

/* The first gap of at least s->size bytes that starts at or above `from`. */
static bool next_gap(const struct search *s, uint64_t from, uint64_t *first, uint64_t *last)
{
	uint64_t a, b;

	while (from <= s->hi && s->hi - from >= s->size - 1) {
		uint64_t end = s->hi, past = 0;
		bool inside = false;

		for (unsigned i = 0; i < s->n_by; i++) {
			if (!s->by[i].next(s->by[i].arg, from, s->size, &a, &b))
				continue;
			if (a <= from) {
				inside = true;
				past = max_u64(past, b);
			} else {
				end = min_u64(end, a - 1);
			}
		}
		if (!inside && end - from >= s->size - 1) {
			*first = from;
			*last = end;
			return true;
		}
		if (!inside)
			past = end;
		if (past >= s->hi)
			return false;
		from = past + 1;
	}
	return false;
}

/* The candidate with this number. False: there are only *count. */
static bool candidate(const struct search *s, uint64_t number, uint64_t *addr, uint64_t *count)
{
	uint64_t from = s->lo, first, last;

	*count = 0;
	while (next_gap(s, from, &first, &last)) {
		uint64_t at = align_up(first, s->align);

		if (at >= first && at <= last && last - at >= s->size - 1) {
			uint64_t n = (last - at - (s->size - 1)) / s->align + 1;

			if (number - *count < n) {
				*addr = at + (number - *count) * s->align;
				return true;
			}
			*count += n;
		}
		if (last == s->hi)
			break;
		from = last + 1;
	}
	return false;
}

bool place_search(const struct search *s, unsigned bits, uint64_t *random, uint64_t *addr)
{
	uint64_t count, number;

	if (bits == 0 || !random)
		return candidate(s, 0, addr, &count);
	number = place_random(random) >> (64 - bits);
	if (candidate(s, number, addr, &count))
		return true;
	return count > 0 && candidate(s, random_below(random, count), addr, &count);
}
