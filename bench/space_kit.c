// SPDX-License-Identifier: MIT
#include "space_kit.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

uint64_t page;
struct vms_arena *arena;

static const char *program;
static struct vms_space *windows[4]; /* whose faults the handler serves */

void must(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "%s: %s: %d (%s)\n", program, what, err, vms_last_error());
	exit(1);
}

void *must_map(void *at, uint64_t len, int prot, int flags, int fd, uint64_t off)
{
	void *p = mmap(at, len, prot, flags, fd, (off_t)off);

	must(p == MAP_FAILED ? -errno : 0, "mmap");
	return p;
}

int must_memfd(uint64_t len, bool filled)
{
	int fd = memfd_create("peer", MFD_CLOEXEC);

	must(fd < 0 || ftruncate(fd, (off_t)len) ? -errno : 0, "memfd");
	if (filled) {
		void *p = must_map(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		memset(p, 0x5a, len);
		munmap(p, len);
	}
	return fd;
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	struct vms_signal_fault fault;

	for (unsigned i = 0; i < 4 && windows[i]; i++)
		if (vms_fault_signal(windows[i], sig, info, context, NULL, &fault) == 1 &&
		    fault.result == VMS_FAULT_OK)
			return;
	signal(sig, SIG_DFL); /* again, and that is the end */
}

void kit_init(const char *name)
{
	struct vms_arena_params params = { .size = sizeof(params) };
	struct sigaction act = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

	program = name;
	page = (uint64_t)sysconf(_SC_PAGESIZE);
	must(vms_arena_create(&params, &arena), "arena");
	sigaction(SIGSEGV, &act, NULL);
	sigaction(SIGBUS, &act, NULL);
}

static void make_space(struct guest *g, uint64_t lo, uint64_t hi)
{
	struct vms_space_params params = {
		.size = sizeof(params), .mmu = g->mmu, .lo = lo, .hi = hi
	};

	must(vms_space_create(&params, &g->space), "space");
	g->root = vms_space_root(g->space);
}

void guest_soft(struct guest *g)
{
	struct vms_mmu_soft_params params = { .size = sizeof(params) };

	must(vms_mmu_soft(&params, &g->mmu), "soft mmu");
	make_space(g, page, 64 * TIB);
	g->cpu = aligned_alloc(64, sizeof(*g->cpu));
	must(vms_cpu_init(g->mmu, g->cpu), "cpu");
}

void guest_host(struct guest *g, uint64_t lo, uint64_t hi)
{
	struct vms_mmu_host_params params = {
		.size = sizeof(params), .flags = VMS_MMU_REAL_HOLES, .lo = lo, .hi = hi
	};
	unsigned i = 0;

	must(vms_mmu_host(&params, &g->mmu), "host mmu");
	make_space(g, lo, hi);
	g->cpu = NULL;
	while (windows[i])
		i++;
	windows[i] = g->space;
}

void guest_end(struct guest *g)
{
	for (unsigned i = 0; i < 4; i++)
		if (windows[i] == g->space)
			windows[i] = NULL; /* the last one made ends first */
	vms_space_unref(g->space);
	if (g->cpu)
		vms_cpu_fini(g->cpu);
	free(g->cpu);
	vms_mmu_unref(g->mmu);
}

struct vms_object *new_object(uint64_t bytes, bool committed)
{
	struct vms_object_params params = { .size = sizeof(params), .bytes = bytes };
	struct vms_object *obj;

	must(vms_object_create(arena, &params, &obj), "object");
	if (committed)
		op(obj, VMS_OBJECT_COMMIT, bytes);
	return obj;
}

uint64_t put(const struct guest *g, uint64_t addr, struct vms_object *obj, uint64_t off,
	     uint64_t len, uint32_t prot)
{
	struct vms_map_params params = {
		.size = sizeof(params), .prot = prot, .object = obj, .off = off, .len = len
	};

	if (addr) {
		params.place.flags = VMS_PLACE_AT;
		params.place.addr = addr;
	}
	must(vms_map(g->root, &params, &addr), "map");
	return addr;
}

void take(const struct guest *g, uint64_t addr, uint64_t len)
{
	must(vms_unmap(g->root, addr, len, 0), "unmap");
}

void op(struct vms_object *obj, enum vms_object_op what, uint64_t len)
{
	must(vms_object_op(obj, what, 0, len, NULL), "op");
}
