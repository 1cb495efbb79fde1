// SPDX-License-Identifier: MIT
/*
 * dirty_harvest.c: from marks to runs of dirty pages. Terms and invariants are in dirty.c.
 *
 *	step	DIRTY_WORDS words of the range: collect, take this log's bits, tell the backends
 *	run	pages that touch, of one harvest, over as many steps as it takes; a page of the log
 *		is `group` pages here, and dirty if one of them is
 *
 * A run is given to the caller when the first page behind it is known to be clean, with nothing
 * held; what was taken and was not given goes back. While a page is neither in the log nor given it
 * is in the harvest's hands: no other harvest of the same log gives it, and a write to it marks it
 * again, as its fresh bit was exchanged before.
 *
 * Backends that trap writes (log_clear) are told between the taking and the reading: a write before
 * that is seen by who reads the page, and one behind it is trapped. They are told of all from the
 * step's first dirty page to its last one, in one call; they trap again only what they had given
 * before, and the marks of that are fresh or in the logs.
 */
#include <errno.h>
#include <inttypes.h>

#include "memory/dirty.h"

int dirty_collect(struct vms_memory *mem, struct vms_block *b, uint64_t at, uint64_t n)
{
	uint64_t took[DIRTY_WORDS];
	bool any = false;

	for (uint64_t k = 0; k < n; k++) {
		/* A look first: what was never marked takes no memory. */
		took[k] = atomic_load_explicit(&b->bits[at + k], memory_order_relaxed);
		if (took[k])
			took[k] = atomic_exchange(&b->bits[at + k], 0);
		any = any || took[k];
	}
	if (!any)
		return 0;
	if (!epoch_barrier()) {
		for (uint64_t k = 0; k < n; k++)
			if (took[k])
				atomic_fetch_or(&b->bits[at + k], took[k]);
		return fail(-EPERM, "dirty log: the host refuses membarrier now");
	}
	for (unsigned i = 0; i < VMS_DIRTY_LOGS; i++)
		for (uint64_t k = 0; b->log[i] && k < n; k++)
			if (took[k])
				b->log[i][at + k] |= took[k];
	return 0;
}

/* ---- Harvest ---- */

struct harvest {
	const struct vms_dirty *log;
	struct vms_block *b;
	int (*fn)(void *arg, struct vms_block *block, uint64_t off, uint64_t len);
	void *arg;
	uint64_t pages;		    /* of the block */
	uint64_t run, run_end;	    /* pages, not given yet; equal: none */
	uint64_t at, n;		    /* the step: words */
	uint64_t took[DIRTY_WORDS]; /* its bits that are in no run yet */
};

static uint64_t *own_bits(const struct harvest *h)
{
	return h->b->log[h->log->index];
}

/* Bits of word w that are pages in [first, end). */
static uint64_t mask_of(uint64_t w, uint64_t first, uint64_t end)
{
	uint64_t mask = UINT64_MAX;

	if (first > w * 64)
		mask &= UINT64_MAX << (first - w * 64);
	if (end < w * 64 + 64)
		mask &= UINT64_MAX >> (w * 64 + 64 - end);
	return mask;
}

/* The pages of [first, end) of the step out of the log. */
static int take(struct harvest *h, uint64_t first, uint64_t end)
{
	struct vms_memory *mem = h->log->mem;
	uint64_t *bits;
	int err;

	lock_take(&mem->dirty_lock);
	err = dirty_collect(mem, h->b, h->at, h->n);
	bits = own_bits(h);
	for (uint64_t k = 0; !err && k < h->n; k++) {
		h->took[k] = bits[h->at + k];
		if (!h->took[k])
			continue;
		h->took[k] &= mask_of(h->at + k, first, end);
		bits[h->at + k] &= ~h->took[k];
	}
	if (err)
		h->n = 0;
	lock_drop(&mem->dirty_lock);
	return err;
}

/* Back into the log: the run, and what the step has in no run. */
static void put_back(struct harvest *h)
{
	struct vms_memory *mem = h->log->mem;
	uint64_t *bits;

	lock_take(&mem->dirty_lock);
	bits = own_bits(h);
	for (uint64_t w = h->run / 64; h->run < h->run_end && w <= (h->run_end - 1) / 64; w++)
		bits[w] |= mask_of(w, h->run, h->run_end);
	for (uint64_t k = 0; k < h->n; k++)
		if (h->took[k])
			bits[h->at + k] |= h->took[k];
	lock_drop(&mem->dirty_lock);
}

static int tell_backends(struct harvest *h)
{
	struct vms_memory *mem = h->log->mem;
	uint64_t i = 0, j = h->n, first, end;
	int err;

	while (i < j && !h->took[i])
		i++;
	while (j > i && !h->took[j - 1])
		j--;
	if (i == j)
		return 0;
	first = (h->at + i) * 64 + (unsigned)__builtin_ctzll(h->took[i]);
	end = (h->at + j) * 64 - (unsigned)__builtin_clzll(h->took[j - 1]);
	lock_take(&mem->space.lock);
	err = listeners_log_clear(mem, h->b, first << DIRTY_SHIFT, (end - first) << DIRTY_SHIFT);
	lock_drop(&mem->space.lock);
	return err;
}

static int give(struct harvest *h)
{
	uint64_t first = h->run, end = h->run_end;

	h->run = h->run_end = 0;
	return first == end
		       ? 0
		       : h->fn(h->arg, h->b, first << DIRTY_SHIFT, (end - first) << DIRTY_SHIFT);
}

/* Dirty pages [first, end), above all before them: into the run, or the run is given. */
static int add(struct harvest *h, uint64_t first, uint64_t end)
{
	uint64_t group = h->log->group;
	int err = 0;

	first &= ~(group - 1);
	end = (end + group - 1) & ~(group - 1);
	if (end > h->pages)
		end = h->pages;
	if (h->run == h->run_end || first > h->run_end) {
		err = give(h);
		h->run = first;
	}
	if (end > h->run_end)
		h->run_end = end;
	return err;
}

/* The step's bits into runs. */
static int walk(struct harvest *h)
{
	for (uint64_t k = 0; k < h->n; k++)
		while (h->took[k]) {
			uint64_t bits = h->took[k], base = (h->at + k) * 64;
			unsigned from = (unsigned)__builtin_ctzll(bits), n;
			int err;

			n = ~(bits >> from) ? (unsigned)__builtin_ctzll(~(bits >> from)) : 64;
			if (n == 64)
				h->took[k] = 0;
			else
				h->took[k] &= ~(((UINT64_C(1) << n) - 1) << from);
			err = add(h, base + from, base + from + n);
			if (err)
				return err;
		}
	return 0;
}

static int check(const struct vms_dirty *log, const struct vms_block *b, uint64_t off, uint64_t len)
{
	uint64_t page = log->group << DIRTY_SHIFT;

	if (log->external)
		return fail(-EINVAL, "harvest: the log is external");
	if (!b || b->mem != log->mem)
		return fail(-EINVAL, "harvest: %s", b ? "another memory's block" : "no block");
	if (off % page || (len % page && off + len != b->bytes))
		return fail(-EINVAL,
			    "harvest: [%#" PRIx64 ", +%#" PRIx64 ") is not of pages of %#" PRIx64,
			    off, len, page);
	if (off > b->bytes || len > b->bytes - off)
		return fail(-ERANGE,
			    "harvest: %#" PRIx64 " bytes from %#" PRIx64
			    " leave block '%s' of %#" PRIx64,
			    len, off, b->name, b->bytes);
	return 0;
}

int vms_dirty_harvest(struct vms_dirty *log, struct vms_block *block, uint64_t off, uint64_t len,
		      int (*fn)(void *arg, struct vms_block *block, uint64_t off, uint64_t len),
		      void *arg)
{
	struct harvest h = { .log = log, .b = block, .fn = fn, .arg = arg };
	uint64_t first = off >> DIRTY_SHIFT, end = first + (len >> DIRTY_SHIFT);
	int err = check(log, block, off, len);

	if (err || len == 0 || !block->bits)
		return err;
	h.pages = block->bytes >> DIRTY_SHIFT;
	for (h.at = first / 64; h.at * 64 < end; h.at += h.n) {
		uint64_t words = (end - 1) / 64 + 1 - h.at;

		h.n = words < DIRTY_WORDS ? words : DIRTY_WORDS;
		err = take(&h, first, end);
		if (!err)
			err = tell_backends(&h);
		if (!err)
			err = walk(&h);
		if (err)
			break;
	}
	if (err)
		put_back(&h);
	else
		err = give(&h);
	return err;
}
