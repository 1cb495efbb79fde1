// SPDX-License-Identifier: MIT
/*
 * soft.c: random calls on a soft MMU, against an array.
 *
 * The address space is cut into windows of pages: at its start, around the ends of table nodes of
 * every level, and at its last page. The model holds for each page its host page and its rights.
 * Threads: one cpu makes accesses through its TLB, and each gives what the model says: the bytes of
 * the host page, or a miss at the first byte that is not granted; stores change these bytes alone.
 * Allocations fail now and then; then nothing has changed. After each step: the validator, the
 * entries of the windows one by one or their number.
 *
 *	model-soft [--steps N] [--seed S]
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/world.h"
#include "mmu/soft.h"
#include "model.h"
#include "model_memory.h"
#include "vmspace/vmspace.h"

#define WINDOWS 6u
#define SPAN	40u /* pages of a window */
#define CELLS	(WINDOWS * SPAN)
#define HOSTS	64u
#define RW	(VMS_PROT_READ | VMS_PROT_WRITE)

static struct {
	unsigned host; /* 0: none, else 1 + number */
	uint32_t rights;
} model[CELLS];
static bool seen[CELLS];
static uint64_t start[WINDOWS]; /* page numbers */
static unsigned shift;
static char *mem, *shadow; /* what stores made of it, by the model */
static struct soft *soft;
static struct vms_cpu *cpu;

/* ---- Pages ---- */

static uint64_t gva_of(unsigned cell)
{
	return (start[cell / SPAN] + cell % SPAN) << shift;
}

/* The cell of a page of this address, or -1. */
static int cell_of(uint64_t gva)
{
	for (unsigned w = 0; w < WINDOWS; w++)
		if ((gva >> shift) - start[w] < SPAN)
			return (int)(w * SPAN + (unsigned)((gva >> shift) - start[w]));
	return -1;
}

static uint64_t host_of(unsigned host)
{
	return (uint64_t)(uintptr_t)mem + ((uint64_t)host << shift);
}

/* Where the byte at gva is by the model, or NULL. */
static char *byte_at(uint64_t gva, enum vms_tlb_access access)
{
	int cell = cell_of(gva);

	if (cell < 0 || !(model[cell].rights & 1u << access))
		return NULL;
	return (char *)(uintptr_t)host_of(model[cell].host - 1) +
	       (gva & ((UINT64_C(1) << shift) - 1));
}

static void set(unsigned cell, unsigned host, uint32_t rights)
{
	if (!rights)
		host = 0;
	if (model[cell].host != host)
		seen[cell] = false;
	model[cell].host = host;
	model[cell].rights = rights;
}

/* ---- Steps ---- */

static void step_map(unsigned cell, unsigned n)
{
	enum soft_existing existing = (enum soft_existing)rnd(3);
	uint32_t rights = 1 + (uint32_t)rnd(7);
	uint64_t list[SPAN];
	unsigned host[SPAN];
	bool run = rnd(2), any = false;
	uint64_t refused_before = model_memory.refused;
	int err;

	for (unsigned i = 0; i < n; i++) {
		host[i] = run && i ? host[i - 1] + 1 : (unsigned)rnd(HOSTS);
		list[i] = host_of(host[i]);
		any |= model[cell + i].host != 0;
	}
	model_memory.fail_at = rnd(4) ? 0 : 1 + rnd(6);
	err = run ? soft_map_run(soft, gva_of(cell), list[0], n, rights, existing)
		  : soft_map(soft, gva_of(cell), list, n, rights, existing);
	model_memory.fail_at = 0;
	if (existing == SOFT_ERROR && any) {
		if (err != -EEXIST)
			die("map over entries: %d", err);
		return;
	}
	if (err != (model_memory.refused == refused_before ? 0 : -ENOMEM))
		die("map: %d", err);
	for (unsigned i = 0; !err && i < n; i++) {
		if (!model[cell + i].host)
			set(cell + i, host[i] + 1, rights);
		else if (existing == SOFT_UPGRADE && model[cell + i].host == host[i] + 1)
			set(cell + i, host[i] + 1, rights | model[cell + i].rights);
		else if (existing == SOFT_UPGRADE)
			set(cell + i, host[i] + 1, rights);
	}
}

static void step_take(unsigned cell, unsigned n)
{
	uint32_t rights = (uint32_t)rnd(8);
	uint64_t bits[1] = { 0 }, host = rnd(HOSTS);
	int err = 0;

	switch (rnd(6)) {
	case 0:
	case 1:
		err = soft_unmap(soft, gva_of(cell), n);
		for (unsigned i = cell; i < cell + n; i++)
			set(i, 0, 0);
		break;
	case 2:
		err = soft_remove_write(soft, gva_of(cell), n);
		for (unsigned i = cell; i < cell + n; i++)
			set(i, model[i].host, model[i].rights & ~VMS_PROT_WRITE);
		break;
	case 3:
		err = soft_protect(soft, gva_of(cell), n, rights);
		for (unsigned i = cell; i < cell + n; i++)
			if (model[i].host)
				set(i, model[i].host,
				    (rights & ~VMS_PROT_WRITE) | (rights & model[i].rights));
		break;
	case 4:
		if (rnd(2))
			host = model[cell].host ? model[cell].host - 1 : host;
		err = soft_unmap_shown(soft, gva_of(cell), n, host_of((unsigned)host));
		for (unsigned i = cell; i < cell + n; i++)
			if (model[i].host == host + 1)
				set(i, 0, 0);
		break;
	default:
		err = soft_harvest(soft, gva_of(cell), n, bits);
		for (unsigned i = 0; i < n; i++) {
			if ((bits[0] >> i & 1) != seen[cell + i])
				die("harvest: cell %u, mark %d", cell + i, !seen[cell + i]);
			seen[cell + i] = false;
		}
	}
	if (err)
		die("a change failed: %d", err);
}

/* Many windows at once. */
static void step_wide(void)
{
	unsigned a = (unsigned)rnd(WINDOWS), b = a + (unsigned)rnd(WINDOWS - a);
	uint64_t n = start[b] + SPAN - start[a];

	if (rnd(3) == 0) {
		struct soft_stats stats;

		soft_empty(soft);
		soft_stats(soft, &stats);
		if (stats.nodes)
			die("%" PRIu64 " nodes of nothing", stats.nodes);
		a = 0;
		b = WINDOWS - 1;
	} else if (soft_unmap(soft, start[a] << shift, n)) {
		die("a wide unmap failed");
	}
	for (unsigned i = a * SPAN; i < (b + 1) * SPAN; i++)
		set(i, 0, 0);
}

static void mark_seen(uint64_t gva)
{
	seen[cell_of(gva)] = true;
}

static void step_access(unsigned cell)
{
	enum vms_tlb_access access = rnd(2) ? VMS_TLB_WRITE : VMS_TLB_READ;
	unsigned size = 1u << rnd(4);
	uint64_t gva = gva_of(cell) + rnd(UINT64_C(1) << shift), v = 0, want = 0;
	uint64_t value = rnd(UINT64_MAX), miss = 0;
	uint8_t v8 = (uint8_t)value;
	uint16_t v16 = (uint16_t)value;
	uint32_t v32 = (uint32_t)value;
	bool ok, granted = true;

	if (rnd(4) == 0) /* across */
		gva = gva_of(cell) + (UINT64_C(1) << shift) - rnd(size + 1);
	for (unsigned i = 0; i < size && granted; i++) {
		char *p = byte_at(gva + i, access);

		granted = p != NULL;
		miss = gva + i;
		if (p && access == VMS_TLB_READ)
			memcpy((char *)&want + i, p, 1);
	}
	/* A look-up marks each page that grants, up to the first that does not. */
	if (byte_at(gva, access))
		mark_seen(gva);
	if (granted)
		mark_seen(gva + size - 1);
	if (access == VMS_TLB_READ) {
		ok = size == 1	 ? vms_tlb_load8(cpu, gva, &v8)
		     : size == 2 ? vms_tlb_load16(cpu, gva, &v16)
		     : size == 4 ? vms_tlb_load32(cpu, gva, &v32)
				 : vms_tlb_load64(cpu, gva, &v);
		memcpy(&v,
		       size == 1   ? (void *)&v8
		       : size == 2 ? (void *)&v16
		       : size == 4 ? (void *)&v32
				   : (void *)&v,
		       size == 8 ? 0 : size);
		if (ok && v != want)
			die("load of %u at %#" PRIx64 ": %#" PRIx64 ", not %#" PRIx64, size, gva, v,
			    want);
	} else {
		ok = size == 1	 ? vms_tlb_store8(cpu, gva, v8)
		     : size == 2 ? vms_tlb_store16(cpu, gva, v16)
		     : size == 4 ? vms_tlb_store32(cpu, gva, v32)
				 : vms_tlb_store64(cpu, gva, value);
		memcpy(&v,
		       size == 1   ? (void *)&v8
		       : size == 2 ? (void *)&v16
		       : size == 4 ? (void *)&v32
				   : (void *)&value,
		       size);
		for (unsigned i = 0; ok && granted && i < size; i++) {
			char *p = byte_at(gva + i, access);

			shadow[p - mem] = ((char *)&v)[i];
			if (*p != shadow[p - mem])
				die("store of %u at %#" PRIx64, size, gva);
		}
	}
	if (ok != granted || (!ok && cpu->miss != miss))
		die("access of %u at %#" PRIx64 ": %d, miss at %#" PRIx64, size, gva, ok,
		    cpu->miss);
	/* A hit must not depend on what is left from before. */
	if (rnd(64) == 0) {
		soft_cpu_fini(cpu);
		soft_cpu_init(soft, cpu);
	}
}

/* ---- Checks ---- */

static void check_all(bool each)
{
	struct soft_stats stats;
	uint64_t entries = 0;

	for (unsigned i = 0; i < CELLS; i++) {
		uint64_t host = 0;
		uint32_t rights = 0;
		int err;

		entries += model[i].host != 0;
		if (!each)
			continue;
		err = soft_query(soft, gva_of(i), &host, &rights);
		if (err != (model[i].host ? 0 : -ENOENT) || rights != model[i].rights ||
		    (!err && host != host_of(model[i].host - 1)))
			die("cell %u: %d, %#" PRIx64 " rights %u, not host %u rights %u", i, err,
			    host, rights, model[i].host, model[i].rights);
	}
	soft_stats(soft, &stats);
	if (stats.entries != entries)
		die("%" PRIu64 " entries, not %" PRIu64, stats.entries, entries);
	if (soft_check(soft))
		die("%s", vms_last_error());
}

static void run(const struct world *w, uint64_t n)
{
	uint64_t last = UINT64_MAX >> shift;

	/* Rising, and apart; the second and third cross the ends of nodes. */
	start[0] = 0;
	start[1] = 512 - SPAN / 2;
	start[2] = (UINT64_C(1) << 18) - SPAN / 2;
	start[3] = start[2] + VMS_TLB_ENTRIES; /* the same TLB entries */
	start[4] = (UINT64_C(1) << 45) - SPAN / 2;
	start[5] = last - SPAN + 1;
	memset(model, 0, sizeof(model));
	memset(seen, 0, sizeof(seen));
	mem = aligned_alloc(UINT64_C(1) << shift, (uint64_t)(HOSTS + SPAN) << shift);
	for (uint64_t i = 0; i < (uint64_t)(HOSTS + SPAN) << shift; i++)
		mem[i] = (char)(i ^ i >> shift);
	shadow = malloc((uint64_t)(HOSTS + SPAN) << shift);
	memcpy(shadow, mem, (uint64_t)(HOSTS + SPAN) << shift);
	if (soft_create(w, UINT64_C(1) << shift, &soft))
		die("create");
	soft_cpu_init(soft, cpu);
	for (uint64_t i = 0; i < n; i++, model_step++) {
		unsigned cell = (unsigned)rnd(CELLS), room = SPAN - cell % SPAN;
		unsigned many = 1 + (unsigned)rnd(rnd(4) ? (room < 4 ? room : 4) : room);

		switch (rnd(8)) {
		case 0:
		case 1:
			step_map(cell, many);
			break;
		case 2:
			step_take(cell, many);
			break;
		case 3:
			if (rnd(16) == 0)
				step_wide();
			break;
		default:
			step_access(cell);
		}
		check_all(i % 16 == 0);
		if ((i % 1024 == 0 || i == n - 1) &&
		    memcmp(mem, shadow, (uint64_t)(HOSTS + SPAN) << shift))
			die("a store went astray");
	}
	soft_cpu_fini(cpu);
	if (soft_destroy(soft) || model_memory.bytes)
		die("%" PRIu64 " bytes lost", model_memory.bytes);
	free(mem);
	free(shadow);
}

int main(int argc, char **argv)
{
	uint64_t steps = 60000;
	struct world w = world_host;

	model_start("model-soft", argc, argv, &steps);
	w.alloc = model_alloc;
	w.free = model_free;
	cpu = aligned_alloc(64, sizeof(*cpu));
	for (shift = 10; shift <= 16; shift++)
		run(&w, steps / 7);
	free(cpu);
	printf("%" PRIu64 " steps, %" PRIu64 " allocations refused\n", model_step,
	       model_memory.refused);
	return model_memory.refused ? 0 : 1;
}
