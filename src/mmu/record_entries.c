// SPDX-License-Identifier: MIT
/*
 * record_entries.c: the recording backend of a space over objects. It keeps what would be
 * installed, in a table of the soft MMU that no thread ever looks up, and the last calls.
 *
 * It uses what entries.h allows a backend: on demand the n-th map fails, and what takes away takes
 * more than was said (record_lose). Rights are never added to what was not asked for.
 *
 * The lock is not held while the table is changed, which has its own: calls of several threads
 * stand in the log as they began.
 */
#include "mmu/record.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/range.h"

/* ---- The log ---- */

static int note_locked(struct record *r, const struct record_call *call) REQUIRES(r->lock)
{
	r->made++;
	r->ring[r->made % RECORD_KEPT] = *call;
	return call->result;
}

static void note(struct record *r, struct record_call call)
{
	lock_take(&r->lock);
	note_locked(r, &call);
	lock_drop(&r->lock);
}

/* The map is refused, or else goes on under this number. */
static int note_map(struct record *r, const struct entries_run *run, enum entries_existing existing,
		    uint64_t *number)
{
	struct record_call call = { .kind = RECORD_MAP,
				    .addr = run->addr,
				    .len = run->len,
				    .prot = run->rights,
				    .flags = existing,
				    .fd = run->fd,
				    .off = run->off };
	int err;

	lock_take(&r->lock);
	if (r->fail_map && --r->fail_map == 0)
		call.result = -r->fail_err;
	err = note_locked(r, &call);
	*number = r->made;
	lock_drop(&r->lock);
	return err;
}

static void note_result(struct record *r, uint64_t number, int result)
{
	lock_take(&r->lock);
	if (r->made - number < RECORD_KEPT)
		r->ring[number % RECORD_KEPT].result = result;
	lock_drop(&r->lock);
}

/* ---- Losing ---- */

static uint64_t count(const struct record *r, uint64_t first, uint64_t last)
{
	return (last - first) / r->granule + 1;
}

/* The aligned blocks that a range touches, as far as the space goes. */
struct blocks {
	enum record_loss loss;
	uint64_t first, last;
};

static struct blocks blocks_of(struct record *r, uint64_t first, uint64_t last)
{
	struct blocks b = { RECORD_LOSE_NOTHING, first, last };

	lock_take(&r->lock);
	b.loss = r->loss;
	if (b.loss == RECORD_LOSE_ALL) {
		b.first = r->first;
		b.last = r->last;
	} else if (b.loss) {
		b.first = max_u64(first & ~(r->block - 1), r->first);
		b.last = min_u64(last | (r->block - 1), r->last);
	}
	lock_drop(&r->lock);
	return b;
}

static void drop(struct record *r, uint64_t first, uint64_t last)
{
	soft_unmap(r->soft, first, count(r, first, last));
}

/* All of the blocks but [first, last] goes. */
static void drop_around(struct record *r, const struct blocks *b, uint64_t first, uint64_t last)
{
	if (b->first < first)
		drop(r, b->first, first - 1);
	if (b->last > last)
		drop(r, last + 1, b->last);
}

/* A block that would have to be split goes. True: nothing is left of the range. */
static bool drop_split(struct record *r, const struct blocks *b, uint64_t *first, uint64_t *last)
{
	uint64_t size;

	if (b->loss != RECORD_LOSE_SPLIT)
		return false;
	lock_take(&r->lock);
	size = r->block;
	lock_drop(&r->lock);
	if (b->first < *first) {
		uint64_t end = b->first | (size - 1);

		drop(r, b->first, min_u64(end, b->last));
		if (end >= *last)
			return true;
		*first = end + 1;
	}
	if (b->last > *last) {
		uint64_t start = b->last & ~(size - 1);

		drop(r, start, b->last);
		if (start <= *first)
			return true;
		*last = start - 1;
	}
	return false;
}

/* ---- entries_ops ---- */

static int record_attach(struct vms_mmu *mmu, uint64_t first, uint64_t last, uint64_t page_size)
{
	struct record *r = record_of(mmu);
	uint64_t granule = min_u64(page_size, (uint64_t)sysconf(_SC_PAGESIZE));
	struct soft *soft;
	int err;

	err = soft_create(mmu->world, granule, &soft);
	if (err)
		return err;
	soft_destroy(r->soft);
	r->soft = soft;
	r->granule = granule;
	r->first = first;
	r->last = last;
	return 0;
}

/* The table stays for questions; it is empty. */
static void record_detach(struct vms_mmu *mmu)
{
	soft_empty(record_of(mmu)->soft);
}

static int record_map(struct vms_mmu *mmu, const struct entries_run *run,
		      enum entries_existing existing)
{
	static const enum soft_existing as[] = {
		[ENTRIES_SKIP] = SOFT_SKIP,
		[ENTRIES_ERROR] = SOFT_ERROR,
		[ENTRIES_UPGRADE] = SOFT_UPGRADE,
	};
	struct record *r = record_of(mmu);
	uint32_t rights = run->immutable ? run->rights & ~(uint32_t)VMS_PROT_WRITE : run->rights;
	uint64_t number;
	int err = note_map(r, run, existing, &number);

	if (err) {
		struct blocks b = blocks_of(r, run->addr, run->addr + (run->len - 1));

		if (b.loss)
			drop(r, b.first, b.last);
		return fail(err, "the recording backend refuses a map, as it was told");
	}
	err = soft_map_run(r->soft, run->addr, (uintptr_t)run->hva, run->len / r->granule, rights,
			   as[existing]);
	if (err)
		note_result(r, number, err);
	return err;
}

static void record_unmap(struct vms_mmu *mmu, uint64_t first, uint64_t last)
{
	struct record *r = record_of(mmu);
	struct blocks b = blocks_of(r, first, last);

	note(r, (struct record_call){
			.kind = RECORD_UNMAP, .addr = first, .len = last - first + 1, .fd = -1 });
	drop(r, b.first, b.last);
}

static void record_remove_write(struct vms_mmu *mmu, uint64_t first, uint64_t last)
{
	struct record *r = record_of(mmu);
	struct blocks b = blocks_of(r, first, last);

	note(r, (struct record_call){ .kind = RECORD_REMOVE_WRITE,
				      .addr = first,
				      .len = last - first + 1,
				      .fd = -1 });
	if (b.loss == RECORD_LOSE_ALL)
		drop(r, b.first, b.last);
	else if (b.loss == RECORD_LOSE_BLOCKS)
		soft_remove_write(r->soft, b.first, count(r, b.first, b.last));
	else if (!drop_split(r, &b, &first, &last))
		soft_remove_write(r->soft, first, count(r, first, last));
}

static void record_protect(struct vms_mmu *mmu, uint64_t first, uint64_t last, uint32_t rights)
{
	struct record *r = record_of(mmu);
	struct blocks b = blocks_of(r, first, last);

	note(r, (struct record_call){ .kind = RECORD_PROTECT,
				      .addr = first,
				      .len = last - first + 1,
				      .prot = rights,
				      .fd = -1 });
	if (b.loss == RECORD_LOSE_ALL) {
		drop(r, b.first, b.last);
		return;
	}
	if (b.loss == RECORD_LOSE_BLOCKS)
		drop_around(r, &b, first, last);
	if (!drop_split(r, &b, &first, &last))
		soft_protect(r->soft, first, count(r, first, last), rights);
}

static void record_empty(struct vms_mmu *mmu)
{
	struct record *r = record_of(mmu);

	note(r, (struct record_call){ .kind = RECORD_EMPTY,
				      .addr = r->first,
				      .len = r->last - r->first + 1,
				      .fd = -1 });
	soft_empty(r->soft);
}

static int record_query(struct vms_mmu *mmu, uint64_t addr, const void **hva, uint32_t *rights)
{
	uint64_t host;
	int err = soft_query(record_of(mmu)->soft, addr, &host, rights);

	if (!err)
		*hva = (const void *)(uintptr_t)host;
	return err;
}

static uint64_t record_max_run(struct vms_mmu *mmu, uint64_t addr)
{
	return soft_max_run(record_of(mmu)->soft, addr) * record_of(mmu)->granule;
}

static int record_check(struct vms_mmu *mmu)
{
	return soft_check(record_of(mmu)->soft);
}

static void record_stat(const struct vms_mmu *mmu, struct vms_mmu_counts *counts)
{
	struct soft_stats stats;

	if (!record_of(mmu)->soft)
		return;
	soft_stats(record_of(mmu)->soft, &stats);
	counts->entries = stats.entries;
}

#define RECORD_ENTRIES                                                                         \
	.attach = record_attach, .detach = record_detach, .map = record_map,                   \
	.unmap = record_unmap, .remove_write = record_remove_write, .protect = record_protect, \
	.empty = record_empty, .query = record_query, .max_run = record_max_run,               \
	.check = record_check, .stat = record_stat

const struct entries_ops record_entries = { RECORD_ENTRIES };

const struct entries_ops record_entries_eager = {
	.caps = ENTRIES_EAGER,
	.stretch = 65536,
	RECORD_ENTRIES,
};

/* ---- Told by tests ---- */

static bool is_record(const struct vms_mmu *mmu)
{
	return mmu->entries == &record_entries || mmu->entries == &record_entries_eager;
}

void record_lose(struct vms_mmu *mmu, enum record_loss loss, uint64_t block)
{
	struct record *r = record_of(mmu);

	if (!is_record(mmu))
		return;
	lock_take(&r->lock);
	r->loss = loss;
	r->block = block;
	lock_drop(&r->lock);
}

void record_eager(struct vms_mmu *mmu)
{
	if (is_record(mmu))
		mmu->entries = &record_entries_eager;
}
