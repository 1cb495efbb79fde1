// SPDX-License-Identifier: MIT
/*
 * mmu.c: what all backends share: references, and the calls that count.
 */
#include <errno.h>
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

int vms_mmu_counts(const struct vms_mmu *mmu, struct vms_mmu_counts *counts)
{
	size_t size = counts->size;

	if (size < sizeof(*counts))
		return fail(-EINVAL, "vms_mmu_counts: struct of %zu bytes, need %zu", size,
			    sizeof(*counts));
	*counts = mmu->counts;
	counts->size = size;
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
