// SPDX-License-Identifier: MIT
/*
 * mmu.c: what all backends share: references, and the calls that count.
 *
 * A Linux guest's space calls under its lock, and counts plainly. Spaces over objects call from
 * many threads: each thread counts in a line of its own, as far as there are enough.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/fail.h"
#include "base/trace.h"
#include "mmu/backend.h"

static int counted(struct vms_mmu *mmu, uint64_t *counter, int err)
{
	(*counter)++;
	if (err < 0)
		mmu->counts.failed++;
	return err;
}

int backend_map(struct vms_mmu *mmu, const struct backend_map *m)
{
	int err = counted(mmu, &mmu->counts.map, mmu->ops->map(mmu, m));

	TRACE(backend_map, m->addr, m->len, err);
	return err;
}

int backend_unmap(struct vms_mmu *mmu, uint64_t addr, uint64_t len)
{
	int err = counted(mmu, &mmu->counts.unmap, mmu->ops->unmap(mmu, addr, len));

	TRACE(backend_unmap, addr, len, err);
	return err;
}

int backend_protect(struct vms_mmu *mmu, uint64_t addr, uint64_t len, uint32_t prot)
{
	int err = counted(mmu, &mmu->counts.protect, mmu->ops->protect(mmu, addr, len, prot));

	TRACE(backend_protect, addr, len, err);
	return err;
}

int backend_move(struct vms_mmu *mmu, uint64_t addr, uint64_t old_len, uint64_t new_addr,
		 uint64_t new_len, uint32_t flags)
{
	int err = counted(mmu, &mmu->counts.move,
			  mmu->ops->move(mmu, addr, old_len, new_addr, new_len, flags));

	TRACE(backend_move, addr, new_addr, err);
	return err;
}

int backend_advise(struct vms_mmu *mmu, uint64_t addr, uint64_t len, int advice)
{
	int err = counted(mmu, &mmu->counts.advise, mmu->ops->advise(mmu, addr, len, advice));

	TRACE(backend_advise, addr, advice, err);
	return err;
}

int backend_lock(struct vms_mmu *mmu, uint64_t addr, uint64_t len, int on)
{
	return counted(mmu, &mmu->counts.lock, mmu->ops->lock(mmu, addr, len, on));
}

int backend_sync(struct vms_mmu *mmu, uint64_t addr, uint64_t len, int flags)
{
	return counted(mmu, &mmu->counts.sync, mmu->ops->sync(mmu, addr, len, flags));
}

int backend_residency(struct vms_mmu *mmu, uint64_t addr, uint64_t len, unsigned char *vec)
{
	return counted(mmu, &mmu->counts.query, mmu->ops->residency(mmu, addr, len, vec));
}

uint64_t backend_grown(struct vms_mmu *mmu, uint64_t start, uint64_t floor)
{
	mmu->counts.query++;
	return mmu->ops->grown(mmu, start, floor);
}

bool backend_seam(struct vms_mmu *mmu, uint64_t addr, uint64_t *end)
{
	mmu->counts.query++;
	return mmu->ops->seam(mmu, addr, end);
}

/* ---- Entries ---- */

static struct entries_line *line_of(struct vms_mmu *mmu)
{
	static atomic_uint threads;
	static _Thread_local unsigned mine; /* 0: none yet */

	if (!mine)
		mine = 1 +
		       atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) % COUNT_LINES;
	return &mmu->line[mine - 1];
}

static void bump(_Atomic(uint64_t) *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

int entries_attach(struct vms_mmu *mmu, uint64_t first, uint64_t last, uint64_t page_size)
{
	int err;

	if (!mmu->entries)
		return fail(-ENOTSUP,
			    "this backend serves a Linux guest only, no space over objects");
	if (atomic_exchange(&mmu->attached, true))
		return fail(-EBUSY, "the backend serves another space");
	err = mmu->entries->attach(mmu, first, last, page_size);
	if (err)
		atomic_store(&mmu->attached, false);
	return err;
}

void entries_detach(struct vms_mmu *mmu)
{
	mmu->entries->detach(mmu);
	atomic_store(&mmu->attached, false);
}

int entries_map(struct vms_mmu *mmu, const struct entries_run *run, enum entries_existing existing)
{
	struct entries_line *line = line_of(mmu);
	int err = mmu->entries->map(mmu, run, existing);

	bump(&line->map);
	if (err)
		bump(&line->failed);
	return err;
}

void entries_unmap(struct vms_mmu *mmu, uint64_t first, uint64_t last)
{
	mmu->entries->unmap(mmu, first, last);
	bump(&line_of(mmu)->unmap);
}

void entries_remove_write(struct vms_mmu *mmu, uint64_t first, uint64_t last)
{
	mmu->entries->remove_write(mmu, first, last);
	bump(&line_of(mmu)->remove_write);
}

void entries_protect(struct vms_mmu *mmu, uint64_t first, uint64_t last, uint32_t rights)
{
	mmu->entries->protect(mmu, first, last, rights);
	bump(&line_of(mmu)->protect);
}

void entries_empty(struct vms_mmu *mmu)
{
	mmu->entries->empty(mmu);
	bump(&line_of(mmu)->unmap);
}

const void *mmu_zero_page(void)
{
	/* Not constant: memory of zeros that is only read is one page of the kernel's. No linker is
	 * asked for an alignment that an old loader does not keep. */
	static char zeros[2 * 65536];

	return (const void *)(((uintptr_t)zeros + 65535) & ~(uintptr_t)65535);
}

/* ---- Information and references ---- */

static uint64_t relaxed(const _Atomic(uint64_t) *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

int vms_mmu_counts(const struct vms_mmu *mmu, struct vms_mmu_counts *counts)
{
	size_t size = counts->size, first = offsetof(struct vms_mmu_counts, remove_write);
	struct vms_mmu_counts all;

	if (size < first)
		return fail(-EINVAL, "vms_mmu_counts: struct of %zu bytes, need %zu", size, first);
	all = mmu->counts;
	for (unsigned i = 0; i < COUNT_LINES; i++) {
		const struct entries_line *line = &mmu->line[i];

		all.map += relaxed(&line->map);
		all.unmap += relaxed(&line->unmap);
		all.protect += relaxed(&line->protect);
		all.remove_write += relaxed(&line->remove_write);
		all.failed += relaxed(&line->failed);
	}
	if (mmu->entries && mmu->entries->stat)
		mmu->entries->stat(mmu, &all);
	all.size = size;
	memcpy(counts, &all, size < sizeof(all) ? size : sizeof(all));
	return 0;
}

void *vms_mmu_host_addr(struct vms_mmu *mmu, uint64_t addr)
{
	return mmu->ops && mmu->ops->host_addr ? mmu->ops->host_addr(mmu, addr) : NULL;
}

struct vms_mmu *vms_mmu_ref(struct vms_mmu *mmu)
{
	if (mmu)
		atomic_fetch_add_explicit(&mmu->refs, 1, memory_order_relaxed);
	return mmu;
}

void vms_mmu_unref(struct vms_mmu *mmu)
{
	/* Release pairs with the last one's acquire: it sees what the others did. */
	if (!mmu || atomic_fetch_sub_explicit(&mmu->refs, 1, memory_order_acq_rel) != 1)
		return;
	mmu->destroy(mmu);
}
