// SPDX-License-Identifier: MIT
/*
 * soft_entries.c: the soft MMU as the backend of a space over objects: entries.h over soft.h, and
 * the public calls that make it and register CPU threads.
 *
 * A granule is a page of the table. A registered cpu holds a reference of the backend, so the table
 * outlives its users.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/range.h"
#include "mmu/backend.h"
#include "mmu/soft.h"

struct soft_mmu {
	struct vms_mmu mmu;
	struct soft *soft; /* [I] */
	uint64_t granule;  /* [I] bytes */
};

static struct soft_mmu *soft_mmu_of(const struct vms_mmu *mmu)
{
	return (struct soft_mmu *)mmu; /* its first member */
}

static struct soft *soft_of(const struct vms_mmu *mmu)
{
	return soft_mmu_of(mmu)->soft;
}

static uint64_t granule_of(uint64_t guest_page)
{
	return min_u64(guest_page, (uint64_t)sysconf(_SC_PAGESIZE));
}

/* Granules of [first, last]: 2^54 at most. */
static uint64_t count(const struct vms_mmu *mmu, uint64_t first, uint64_t last)
{
	return (last - first) / soft_mmu_of(mmu)->granule + 1;
}

static int soft_attach(struct vms_mmu *mmu, uint64_t first, uint64_t last, uint64_t page_size)
{
	if (granule_of(page_size) != soft_mmu_of(mmu)->granule)
		return fail(-EINVAL,
			    "the soft backend has entries of %" PRIu64
			    " bytes, which does not fit pages of %" PRIu64,
			    soft_mmu_of(mmu)->granule, page_size);
	return 0;
}

static void soft_detach(struct vms_mmu *mmu)
{
	soft_empty(soft_of(mmu));
}

static int soft_entries_map(struct vms_mmu *mmu, const struct entries_run *run,
			    enum entries_existing existing)
{
	static const enum soft_existing as[] = {
		[ENTRIES_SKIP] = SOFT_SKIP,
		[ENTRIES_ERROR] = SOFT_ERROR,
		[ENTRIES_UPGRADE] = SOFT_UPGRADE,
	};
	uint32_t rights = run->immutable ? run->rights & ~(uint32_t)VMS_PROT_WRITE : run->rights;

	return soft_map_run(soft_of(mmu), run->addr, (uintptr_t)run->hva,
			    run->len / soft_mmu_of(mmu)->granule, rights, as[existing]);
}

static void soft_entries_unmap(struct vms_mmu *mmu, uint64_t first, uint64_t last)
{
	soft_unmap(soft_of(mmu), first, count(mmu, first, last));
}

static void soft_entries_remove_write(struct vms_mmu *mmu, uint64_t first, uint64_t last)
{
	soft_remove_write(soft_of(mmu), first, count(mmu, first, last));
}

static void soft_entries_protect(struct vms_mmu *mmu, uint64_t first, uint64_t last,
				 uint32_t rights)
{
	soft_protect(soft_of(mmu), first, count(mmu, first, last), rights);
}

static void soft_entries_empty(struct vms_mmu *mmu)
{
	soft_empty(soft_of(mmu));
}

static int soft_entries_query(struct vms_mmu *mmu, uint64_t addr, const void **hva,
			      uint32_t *rights)
{
	uint64_t host;
	int err = soft_query(soft_of(mmu), addr, &host, rights);

	if (!err)
		*hva = (const void *)(uintptr_t)host;
	return err;
}

static uint64_t soft_entries_max_run(struct vms_mmu *mmu, uint64_t addr)
{
	return soft_max_run(soft_of(mmu), addr) * soft_mmu_of(mmu)->granule;
}

static int soft_entries_harvest(struct vms_mmu *mmu, uint64_t first, uint64_t last, uint64_t *bits)
{
	return soft_harvest(soft_of(mmu), first, count(mmu, first, last), bits);
}

static int soft_entries_check(struct vms_mmu *mmu)
{
	return soft_check(soft_of(mmu));
}

static void soft_entries_stat(const struct vms_mmu *mmu, struct vms_mmu_counts *counts)
{
	struct soft_stats stats;

	soft_stats(soft_of(mmu), &stats);
	counts->entries = stats.entries;
	counts->shot = stats.shot;
	counts->barriers = stats.barriers;
}

static const struct entries_ops soft_entries = {
	.attach = soft_attach,
	.detach = soft_detach,
	.map = soft_entries_map,
	.unmap = soft_entries_unmap,
	.remove_write = soft_entries_remove_write,
	.protect = soft_entries_protect,
	.empty = soft_entries_empty,
	.query = soft_entries_query,
	.max_run = soft_entries_max_run,
	.harvest = soft_entries_harvest,
	.check = soft_entries_check,
	.stat = soft_entries_stat,
};

/* The last reference: no cpu holds one. */
static void soft_mmu_destroy(struct vms_mmu *mmu)
{
	soft_destroy(soft_of(mmu));
	mmu->world->free(mmu->world, mmu, sizeof(struct soft_mmu));
}

int vms_mmu_soft(const struct vms_mmu_soft_params *params, struct vms_mmu **mmu)
{
	const struct world *w = world_default;
	struct soft_mmu *m;
	uint64_t page;
	int err;

	if (!params || params->size < sizeof(*params))
		return fail(-EINVAL, "vms_mmu_soft: no params, or a short struct");
	if (params->flags)
		return fail(-EINVAL, "vms_mmu_soft: unknown flags %#x", params->flags);
	page = params->page_size ? params->page_size : (uint64_t)sysconf(_SC_PAGESIZE);
	if (!is_pow2(page) || page < SOFT_PAGE_MIN || page > SOFT_PAGE_MAX)
		return fail(-EINVAL, "vms_mmu_soft: a page of %" PRIu64 " bytes", page);
	m = w->alloc(w, sizeof(*m));
	if (!m)
		return fail(-ENOMEM, "no memory for a soft backend");
	memset(m, 0, sizeof(*m));
	m->granule = granule_of(page);
	err = soft_create(w, m->granule, &m->soft);
	if (err) {
		w->free(w, m, sizeof(*m));
		return err;
	}
	m->mmu.entries = &soft_entries;
	m->mmu.destroy = soft_mmu_destroy;
	m->mmu.world = w;
	atomic_init(&m->mmu.refs, 1);
	*mmu = &m->mmu;
	return 0;
}

int vms_cpu_init(struct vms_mmu *mmu, struct vms_cpu *cpu)
{
	if (mmu->entries != &soft_entries)
		return fail(-ENOTSUP, "vms_cpu_init: not a soft backend");
	soft_cpu_init(soft_of(mmu), cpu);
	cpu->mmu = vms_mmu_ref(mmu);
	return 0;
}

void vms_cpu_fini(struct vms_cpu *cpu)
{
	soft_cpu_fini(cpu);
	vms_mmu_unref(cpu->mmu);
}
