// SPDX-License-Identifier: MIT
/*
 * kvm_log.c: which pages the guest wrote, as KVM tells.
 *
 *	bitmap	a bit a page of slot. Read: the bits are taken and the pages trap the next write
 *	manual	the same, but bits stay and pages do not trap until they are cleared: then KVM
 *		holds its lock for the pages that are harvested, not for all of a slot
 *	ring	a queue a vCPU of (slot, page). Taken: they trap again once the rings are reset
 *
 * Invariants:
 *	1. A page is marked in the logs after it was made to trap again, never before: else who
 *	   reads it at once misses a write that did not trap. With manual clearing it is marked,
 *	   then cleared, then read by who harvests (dirty.h)
 *	2. Manual: a bit is cleared only if a read has shown it since: the slot's `bits` are those.
 *	   A bit that came later is in no log yet. With an external log each read clears
 *	3. What names a slot is used while the slot has that id: rings are emptied before an id
 *	   goes to another slot
 *	4. A slot without `bits` is not read. KVM may go on to log it, where it refused to stop
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "base/range.h"
#include "memory/kvm.h"

static void mark(const struct vms_kvm *k, const struct kvm_slot *s, uint64_t page, uint64_t n)
{
	vms_dirty_mark(s->back.block, s->back.off + page * k->slots.page, n * k->slots.page);
}

/* ---- Bitmaps ---- */

static int alloc_bits(struct vms_kvm *k, struct kvm_slot *s)
{
	uint64_t bytes = kvm_slot_bits_bytes(&k->slots, s);

	if (s->bits || k->ring_bytes || !kvm_is_loggable(s))
		return 0;
	s->bits = k->world->alloc(k->world, bytes);
	if (!s->bits)
		return fail(-ENOMEM, "no memory for the dirty bits of a slot of %#" PRIx64 " bytes",
			    kvm_slot_len(s));
	memset(s->bits, 0, bytes);
	return 0;
}

int kvm_log_prepare(struct vms_kvm *k, struct kvm_slot *comes)
{
	int err = 0;

	for (struct kvm_slot *s = comes; k->logging && !err && s; s = s->next)
		err = alloc_bits(k, s);
	return err;
}

/* Each run of bits to the logs. */
static void mark_bits(const struct vms_kvm *k, const struct kvm_slot *s)
{
	uint64_t pages = kvm_slot_len(s) / k->slots.page, run = 0;

	for (uint64_t i = 0; i < pages;) {
		uint64_t word = s->bits[i / 64];

		if (i % 64 == 0 && (word == 0 || word == UINT64_MAX) && pages - i >= 64) {
			if (word)
				run += 64;
			else if (run)
				mark(k, s, i - run, run);
			if (!word)
				run = 0;
			i += 64;
			continue;
		}
		if (word >> i % 64 & 1) {
			run++;
		} else if (run) {
			mark(k, s, i - run, run);
			run = 0;
		}
		i++;
	}
	if (run)
		mark(k, s, pages - run, run);
}

/* Pages [first, end) of a slot; bits outside are zero in what KVM is given. first and end are
 * multiples of 64, or the slot's end. */
static int clear_words(struct vms_kvm *k, struct kvm_slot *s, uint64_t first, uint64_t end)
{
	struct kvm_clear_dirty_log log = { .slot = k->first_slot + s->id,
					   .first_page = first,
					   .num_pages = (uint32_t)(end - first),
					   .dirty_bitmap = s->bits + first / 64 };
	int err = k->world->ioctl(k->world, k->fd, KVM_CLEAR_DIRTY_LOG, &log);

	return err ? fail(err, "KVM does not clear the dirty log of slot %u", log.slot) : 0;
}

static bool trim(const uint64_t *bits, uint64_t *word, uint64_t *end)
{
	while (*word < *end && !bits[*word])
		(*word)++;
	while (*end > *word && !bits[*end - 1])
		(*end)--;
	return *word < *end;
}

/*
 * Who harvests an external log tells nobody here: what is read for it is cleared at once, else each
 * read would give it all that was ever written. 1: cleared; 0: not to be; or what KVM answered.
 */
static int clear_read(struct vms_kvm *k, struct kvm_slot *s)
{
	uint32_t logging = atomic_load_explicit(&k->mem->logging, memory_order_relaxed);
	uint64_t pages = kvm_slot_len(s) / k->slots.page, word = 0, end = (pages + 63) / 64;
	int err;

	if (!k->manual || !(logging & LOGGING_EXTERNAL) || !trim(s->bits, &word, &end))
		return 0;
	err = clear_words(k, s, word * 64, min_u64(end * 64, pages));
	return err ? err : 1;
}

static int read_bits(struct vms_kvm *k, struct kvm_slot *s)
{
	struct kvm_dirty_log log = { .slot = k->first_slot + s->id, .dirty_bitmap = s->bits };
	int err = k->world->ioctl(k->world, k->fd, KVM_GET_DIRTY_LOG, &log), cleared;

	if (err) {
		memset(s->bits, 0, kvm_slot_bits_bytes(&k->slots, s)); /* who knows what is in it */
		return fail(err, "KVM does not tell what was written to slot %u", log.slot);
	}
	cleared = clear_read(k, s);
	mark_bits(k, s);
	if (cleared > 0)
		memset(s->bits, 0, kvm_slot_bits_bytes(&k->slots, s));
	return cleared < 0 ? cleared : 0;
}

/* Clear what was read of pages [first, last]. Where KVM refuses, the bits come again with the next
 * read. */
static int clear_pages(struct vms_kvm *k, struct kvm_slot *s, uint64_t first, uint64_t last)
{
	uint64_t pages = kvm_slot_len(s) / k->slots.page, word = first / 64, end = last / 64 + 1;
	uint64_t low = ~UINT64_C(0) << first % 64, high = ~UINT64_C(0) >> (63 - last % 64);
	uint64_t *at_low = &s->bits[word], *at_high = &s->bits[end - 1];
	uint64_t keep_low = *at_low & ~low, keep_high = *at_high & ~high, w = word, e = end;
	int err = 0;

	*at_low &= low;
	*at_high &= high;
	if (trim(s->bits, &w, &e))
		err = clear_words(k, s, w * 64, min_u64(e * 64, pages));
	memset(&s->bits[word], 0, (end - word) * 8);
	*at_low |= keep_low;
	*at_high |= keep_high;
	return err;
}

int kvm_log_clear(void *arg, struct vms_block *block, uint64_t off, uint64_t len)
{
	struct vms_kvm *k = arg;
	uint64_t hva = (uint64_t)(uintptr_t)block->hva + off, page = k->slots.page;
	struct itree_node *n;
	int err = 0;

	if (!k->manual || !block->hva)
		return 0;
	for (n = itree_first(&k->slots.by_hva, hva, hva + (len - 1)); n;
	     n = itree_next(n, hva, hva + (len - 1))) {
		struct kvm_slot *s = kvm_slot_of_hva(n);
		uint64_t first = max_u64(hva, n->first) - n->first;
		uint64_t last = min_u64(hva + (len - 1), n->last) - n->first;
		int one = s->logged && s->bits ? clear_pages(k, s, first / page, last / page) : 0;

		err = err ? err : one;
	}
	return err;
}

/* ---- Rings ---- */

int kvm_rings_begin(struct vms_kvm *k, uint32_t bytes)
{
	k->taken = k->world->alloc(k->world, bytes);
	if (!k->taken)
		return fail(-ENOMEM, "no memory for dirty rings of %u bytes", bytes);
	k->ring_bytes = bytes;
	return 0;
}

void kvm_rings_end(struct vms_kvm *k)
{
	struct kvm_ring *r = atomic_load_explicit(&k->rings, memory_order_acquire), *next;

	for (; r; r = next) {
		next = r->next;
		k->world->munmap(k->world, (uint64_t)(uintptr_t)r->entry, k->ring_bytes);
		k->world->free(k->world, r, sizeof(*r));
	}
	atomic_store_explicit(&k->rings, NULL, memory_order_relaxed);
	if (k->taken)
		k->world->free(k->world, k->taken, k->ring_bytes);
	k->taken = NULL;
}

int vms_kvm_vcpu_add(struct vms_kvm *k, int vcpu_fd)
{
	struct kvm_ring *r;
	int64_t at;

	if (!k->ring_bytes)
		return 0;
	r = k->world->alloc(k->world, sizeof(*r));
	if (!r)
		return fail(-ENOMEM, "no memory for a vCPU's dirty ring");
	at = k->world->mmap(k->world, 0, k->ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_fd,
			    KVM_DIRTY_LOG_PAGE_OFFSET * k->slots.page);
	if (at < 0) {
		k->world->free(k->world, r, sizeof(*r));
		return fail((int)at, "the dirty ring of vCPU %d cannot be mapped", vcpu_fd);
	}
	*r = (struct kvm_ring){ .entry = (struct kvm_dirty_gfn *)(uintptr_t)at };
	r->next = atomic_load_explicit(&k->rings, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&k->rings, &r->next, r, memory_order_release,
						      memory_order_relaxed))
		;
	return 0;
}

/* What was taken traps again: into the logs with it. */
static int reset_taken(struct vms_kvm *k)
{
	int err;

	if (!k->n_taken)
		return 0;
	err = k->world->ioctl(k->world, k->fd, KVM_RESET_DIRTY_RINGS, NULL);
	for (uint32_t i = 0; i < k->n_taken; i++) {
		const struct kvm_dirty_gfn *e = &k->taken[i];
		uint32_t id = e->slot - k->first_slot;
		const struct kvm_slot *s = id < k->slots.n_ids ? k->slots.by_id[id] : NULL;

		if (s && e->offset < kvm_slot_len(s) / k->slots.page)
			mark(k, s, e->offset, 1);
	}
	/* Not reset: these pages do not trap, so they are marked again after the next attempt. */
	if (err < 0)
		return fail(err, "KVM does not reset the dirty rings");
	k->ring_entries += k->n_taken;
	k->n_taken = 0;
	return 0;
}

static void take_entries(struct vms_kvm *k, struct kvm_ring *r)
{
	uint32_t mask = k->ring_bytes / (uint32_t)sizeof(*r->entry) - 1;

	while (k->n_taken <= mask) {
		struct kvm_dirty_gfn *e = &r->entry[r->at & mask];

		if ((__atomic_load_n(&e->flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_MASK) !=
		    KVM_DIRTY_GFN_F_DIRTY)
			break;
		k->taken[k->n_taken++] = *e;
		__atomic_store_n(&e->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
		r->at++;
	}
}

static int read_rings(struct vms_kvm *k)
{
	struct kvm_ring *r = atomic_load_explicit(&k->rings, memory_order_acquire);
	int err = reset_taken(k); /* of before */

	for (; !err && r; r = r->next) {
		take_entries(k, r);
		err = reset_taken(k);
	}
	return err;
}

/* ---- The listener ---- */

int kvm_log_sync(void *arg)
{
	struct vms_kvm *k = arg;
	struct kvm_slot *s;
	int err = 0;

	if (k->ring_bytes)
		return read_rings(k);
	for_each_kvm_slot(s, &k->slots, 0, UINT64_MAX)
	{
		int one = s->logged && s->bits ? read_bits(k, s) : 0;

		err = err ? err : one;
	}
	return err;
}

/* Flags alone. */
static int set_logged(struct vms_kvm *k, struct kvm_slot *s, bool logged)
{
	int err;

	if (s->logged == logged || !kvm_is_loggable(s))
		return 0;
	err = kvm_set(k, s, kvm_slot_gpa(s), kvm_slot_len(s), logged);
	if (err)
		return fail(err, "KVM refuses to %s the log of slot %u", logged ? "begin" : "end",
			    k->first_slot + s->id);
	s->logged = logged;
	k->flagged++;
	return 0;
}

/* What a slot that KVM goes on logging says later is read by nobody, or marks too much. */
void kvm_log_stop(void *arg)
{
	struct vms_kvm *k = arg;
	struct kvm_slot *s;

	k->logging = false;
	for_each_kvm_slot(s, &k->slots, 0, UINT64_MAX)
	{
		set_logged(k, s, false);
		kvm_slot_free_bits(&k->slots, s);
	}
	kvm_log_purge(k);
}

int kvm_log_start(void *arg)
{
	struct vms_kvm *k = arg;
	struct kvm_slot *s;
	int err = 0;

	k->logging = true;
	for_each_kvm_slot(s, &k->slots, 0, UINT64_MAX) err = err ? err : alloc_bits(k, s);
	for_each_kvm_slot(s, &k->slots, 0, UINT64_MAX) err = err ? err : set_logged(k, s, true);
	if (err)
		kvm_log_stop(k);
	return err;
}

/* ---- In an edit ---- */

void kvm_log_purge(struct vms_kvm *k)
{
	if (k->ring_bytes)
		read_rings(k);
}

bool kvm_log_last(struct vms_kvm *k, struct kvm_slot *goes, bool gated)
{
	bool all = gated;

	if (k->ring_bytes)
		return read_rings(k) == 0 && gated;
	/* Without a gate everything is marked afterwards. */
	for (struct kvm_slot *s = goes; gated && s; s = s->next)
		all &= !s->logged || !s->bits || read_bits(k, s) == 0;
	return all;
}

void kvm_log_over_mark(struct vms_kvm *k, const struct kvm_slot *s)
{
	if (!kvm_is_loggable(s))
		return;
	mark(k, s, 0, kvm_slot_len(s) / k->slots.page);
	k->over_marked += kvm_slot_len(s);
}
