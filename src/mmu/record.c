// SPDX-License-Identifier: MIT
/*
 * record.c: a backend that installs nothing. It counts (mmu.c does), keeps its last calls, and
 * fails a chosen one, so that a space can be run, planned and tested without a host window. What it
 * does for spaces over objects is in record_entries.c.
 *
 * Invariants:
 *	1 `made` counts every recorded call, failed ones too; call k is in ring[k % RECORD_KEPT]
 *	2 fail_at is 0 or above `made`: the call that gets this number fails
 */
#include <errno.h>
#include <string.h>

#include "base/fail.h"
#include "mmu/record.h"

static const struct backend_ops record_ops;

static int note(struct vms_mmu *mmu, struct record_call call)
{
	struct record *r = record_of(mmu);

	r->made++;
	if (r->made == r->fail_at) {
		r->fail_at = 0;
		call.result = -r->fail_err;
	}
	r->ring[r->made % RECORD_KEPT] = call;
	return call.result;
}

static int record_map(struct vms_mmu *mmu, const struct backend_map *m)
{
	return note(mmu, (struct record_call){ .kind = RECORD_MAP,
					       .addr = m->addr,
					       .len = m->len,
					       .prot = m->prot,
					       .flags = m->flags,
					       .fd = m->fd,
					       .off = m->off });
}

static int record_unmap(struct vms_mmu *mmu, uint64_t addr, uint64_t len)
{
	return note(mmu, (struct record_call){
				 .kind = RECORD_UNMAP, .addr = addr, .len = len, .fd = -1 });
}

static int record_protect(struct vms_mmu *mmu, uint64_t addr, uint64_t len, uint32_t prot)
{
	return note(
		mmu,
		(struct record_call){
			.kind = RECORD_PROTECT, .addr = addr, .len = len, .prot = prot, .fd = -1 });
}

static int record_move(struct vms_mmu *mmu, uint64_t addr, uint64_t old_len, uint64_t new_addr,
		       uint64_t new_len, uint32_t flags)
{
	return note(mmu, (struct record_call){ .kind = RECORD_MOVE,
					       .addr = addr,
					       .len = old_len,
					       .new_addr = new_addr,
					       .new_len = new_len,
					       .flags = flags,
					       .fd = -1 });
}

static int record_advise(struct vms_mmu *mmu, uint64_t addr, uint64_t len, int advice)
{
	return note(mmu, (struct record_call){ .kind = RECORD_ADVISE,
					       .addr = addr,
					       .len = len,
					       .flags = (uint32_t)advice,
					       .fd = -1 });
}

static int record_lock(struct vms_mmu *mmu, uint64_t addr, uint64_t len, int on)
{
	return note(mmu, (struct record_call){ .kind = RECORD_LOCK,
					       .addr = addr,
					       .len = len,
					       .flags = (uint32_t)on,
					       .fd = -1 });
}

static int record_sync(struct vms_mmu *mmu, uint64_t addr, uint64_t len, int flags)
{
	return note(mmu, (struct record_call){ .kind = RECORD_SYNC,
					       .addr = addr,
					       .len = len,
					       .flags = (uint32_t)flags,
					       .fd = -1 });
}

/* Says nothing about residency: without BACKEND_CONTENT nobody may read vec. */
static int record_residency(struct vms_mmu *mmu, uint64_t addr, uint64_t len, unsigned char *vec)
{
	return note(mmu, (struct record_call){
				 .kind = RECORD_RESIDENCY, .addr = addr, .len = len, .fd = -1 });
}

static uint64_t record_grown(struct vms_mmu *mmu, uint64_t start, uint64_t floor)
{
	return start;
}

static void record_destroy(struct vms_mmu *mmu)
{
	soft_destroy(record_of(mmu)->soft);
	lock_fini(&record_of(mmu)->lock);
	mmu->world->free(mmu->world, mmu, sizeof(struct record));
}

static const struct backend_ops record_ops = {
	.caps = 0,
	.map = record_map,
	.unmap = record_unmap,
	.protect = record_protect,
	.move = record_move,
	.advise = record_advise,
	.lock = record_lock,
	.sync = record_sync,
	.residency = record_residency,
	.grown = record_grown,
};

int vms_mmu_record(struct vms_mmu **mmu)
{
	const struct world *w = world_default;
	struct record *r = w->alloc(w, sizeof(*r));

	if (!r)
		return fail(-ENOMEM, "no memory for a recording backend");
	memset(r, 0, sizeof(*r));
	lock_init(&r->lock, LOCK_MMU, "recording backend");
	r->mmu.ops = &record_ops;
	r->mmu.entries = &record_entries;
	r->mmu.destroy = record_destroy;
	r->mmu.world = w;
	atomic_init(&r->mmu.refs, 1);
	*mmu = &r->mmu;
	return 0;
}

void vms_mmu_record_fail(struct vms_mmu *mmu, uint64_t n, int err)
{
	struct record *r = record_of(mmu);

	if (mmu->ops != &record_ops)
		return;
	lock_take(&r->lock);
	r->fail_at = n ? r->made + n : 0;
	r->fail_map = n;
	r->fail_err = err;
	lock_drop(&r->lock);
}

bool record_last(const struct vms_mmu *mmu, unsigned back, struct record_call *out)
{
	struct record *r = record_of(mmu);
	bool known;

	if (mmu->ops != &record_ops)
		return false;
	lock_take(&r->lock);
	known = back < RECORD_KEPT && back < r->made;
	if (known)
		*out = r->ring[(r->made - back) % RECORD_KEPT];
	lock_drop(&r->lock);
	return known;
}
