// SPDX-License-Identifier: MIT
/*
 * Guests that are threads of this process, in windows of the host backend: each writes its pages in
 * order, round after round, through plain pointers, and a signal handler asks the space for what is
 * missing. Meanwhile others take rights and mappings away and give them back, and take snapshots,
 * with few regions of the host to do it in.
 *
 * A guest alone writes its object, so it must read what it wrote. At any instant its pages have the
 * numbers r, r, ..., r, r - 1, ..., r - 1: a snapshot that shows anything else is of no instant.
 * The window of each guest's branch shows a snapshot too, and is written to: nobody else may see
 * that.
 *
 *	host [seconds]
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <vmspace/space.h>

#include "random.h"
#include "require.h"
#include "sanitize.h"

#define GUESTS 2u
#define PAGES  96u
#define WINDOW (UINT64_C(64) << 20)
#define R      VMS_PROT_READ
#define RW     (VMS_PROT_READ | VMS_PROT_WRITE)

struct guest {
	struct vms_object *obj;
	uint64_t addr;
	_Atomic(uint64_t) round; /* that is being written */
	pthread_t thread;
};

static struct vms_arena *arena;
static struct vms_mmu *mmu;
static struct vms_space *space;
static uint64_t page, lo;
static struct guest guests[GUESTS];
static atomic_bool stop;
static atomic_uint faults, refused;

/* What is refused now is asked for again: the editor gives everything back. */
static void on_signal(int sig, siginfo_t *info, void *context)
{
	struct vms_signal_fault f;

	if (!vms_fault_signal(space, sig, info, context, NULL, &f)) {
		signal(sig, SIG_DFL);
		return;
	}
	atomic_fetch_add(&faults, 1);
	if (f.result == VMS_FAULT_OK)
		return;
	require(f.result == VMS_FAULT_DENIED || f.result == VMS_FAULT_NOT_MAPPED);
	atomic_fetch_add(&refused, 1);
	sched_yield();
}

static volatile uint64_t *number(uint64_t addr, unsigned i)
{
	return (volatile uint64_t *)((char *)vms_mmu_host_addr(mmu, addr) + i * page);
}

static void map_at(struct vms_object *obj, uint64_t addr, uint64_t off, uint64_t len, uint32_t prot)
{
	struct vms_map_params p = { .size = sizeof(p),
				    .prot = prot,
				    .place = { .flags = VMS_PLACE_AT | VMS_PLACE_OVER,
					       .addr = addr },
				    .object = obj,
				    .off = off,
				    .len = len };

	require(vms_map(vms_space_root(space), &p, NULL) == 0);
}

static void *guest_main(void *arg)
{
	struct guest *g = arg;

	for (uint64_t r = 1; !atomic_load(&stop); r++) {
		atomic_store(&g->round, r);
		for (unsigned i = 0; i < PAGES; i++) {
			volatile uint64_t *p = number(g->addr, i);

			require(*p == r - 1);
			*p = r;
			require(*p == r);
		}
	}
	return NULL;
}

/* Takes away and gives back. */
static void *editor_main(void *unused)
{
	uint32_t seed = 2463534242u;

	while (!atomic_load(&stop)) {
		struct guest *g = &guests[next32(&seed) % GUESTS];
		uint64_t at = next32(&seed) % PAGES;
		uint64_t n = 1 + next32(&seed) % (PAGES - at), start = g->addr + at * page;

		switch (next32(&seed) % 4) {
		case 0:
			require(vms_unmap(vms_space_root(space), start, n * page, 0) == 0);
			map_at(g->obj, start, at * page, n * page, RW);
			break;
		case 1:
			require(vms_protect(vms_space_root(space), start, n * page, R, 0) == 0);
			require(vms_protect(vms_space_root(space), start, n * page, RW, 0) == 0);
			break;
		case 2:
			map_at(g->obj, start, at * page, n * page, RW); /* over itself */
			break;
		default:
			require(vms_space_check(space) == 0);
			usleep(200);
		}
	}
	return NULL;
}

/* One instant of the guest's object. */
static void check_instant(const uint64_t *v, uint64_t from, uint64_t to)
{
	require(v[0] + 1 >= from && v[0] <= to);
	for (unsigned i = 1; i < PAGES; i++)
		require(v[i] == v[i - 1] || (v[i] + 1 == v[i - 1] && v[i - 1] == v[0]));
}

static void *snapshots_main(void *unused)
{
	struct vms_object_params p = { .size = sizeof(p), .bytes = PAGES * page };
	uint64_t branch = lo + WINDOW / 2, v[PAGES];
	uint32_t seed = 88172645u;

	for (uint64_t k = 1; !atomic_load(&stop); k++) {
		struct guest *g = &guests[next32(&seed) % GUESTS];
		uint64_t from = atomic_load(&g->round), to;
		struct vms_object *s;

		require(vms_object_child(g->obj, VMS_CHILD_SNAPSHOT, 0, &p, &s) == 0);
		to = atomic_load(&g->round);
		for (unsigned i = 0; i < PAGES; i++)
			require(vms_object_read(s, i * page, &v[i], 8, NULL) == 0);
		check_instant(v, from, to);
		/* In the window, and written there. */
		map_at(s, branch, 0, PAGES * page, RW);
		for (unsigned i = 0; i < PAGES; i++) {
			require(*number(branch, i) == v[i]);
			if (next32(&seed) % 2)
				*number(branch, i) = v[i] = ~k;
		}
		for (unsigned i = 0; i < PAGES; i++) {
			uint64_t now;

			require(*number(branch, i) == v[i]);
			require(vms_object_read(s, i * page, &now, 8, NULL) == 0 && now == v[i]);
		}
		require(vms_unmap(vms_space_root(space), branch, PAGES * page, 0) == 0);
		vms_object_unref(s);
	}
	return NULL;
}

/* Free addresses, far below where mmap places things by itself, an arena of 1 TiB among them. */
static uint64_t find_room(void)
{
	char *p = mmap(NULL, WINDOW, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	require(p != MAP_FAILED);
	munmap(p, WINDOW);
	return ((uintptr_t)p - (UINT64_C(4) << 40)) & ~UINT64_C(0xffffff);
}

static void set_up(uint32_t flags)
{
	struct vms_mmu_host_params mp = {
		.size = sizeof(mp), .flags = flags, .lo = lo, .hi = lo + WINDOW, .budget = 64
	};
	struct vms_space_params sp = { .size = sizeof(sp), .lo = lo, .hi = lo + WINDOW };
	struct vms_arena_params ap = { .size = sizeof(ap) };
	struct vms_object_params op = { .size = sizeof(op), .bytes = PAGES * page };

	require(vms_arena_create(&ap, &arena) == 0);
	require(vms_mmu_host(&mp, &mmu) == 0);
	sp.mmu = mmu;
	require(vms_space_create(&sp, &space) == 0);
	for (unsigned i = 0; i < GUESTS; i++) {
		guests[i].addr = lo + i * (WINDOW / 8);
		atomic_store(&guests[i].round, 0);
		require(vms_object_create(arena, &op, &guests[i].obj) == 0);
		map_at(guests[i].obj, guests[i].addr, 0, PAGES * page, RW);
	}
}

static void run(uint32_t flags, double seconds)
{
	struct timespec t = { .tv_sec = (time_t)seconds,
			      .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9) };
	pthread_t editor, snapshots;
	uint64_t rounds = 0;

	set_up(flags);
	atomic_store(&stop, false);
	for (unsigned i = 0; i < GUESTS; i++)
		require(pthread_create(&guests[i].thread, NULL, guest_main, &guests[i]) == 0);
	require(pthread_create(&editor, NULL, editor_main, NULL) == 0);
	require(pthread_create(&snapshots, NULL, snapshots_main, NULL) == 0);
	nanosleep(&t, NULL);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < GUESTS; i++)
		pthread_join(guests[i].thread, NULL);
	pthread_join(editor, NULL);
	pthread_join(snapshots, NULL);
	require(vms_space_check(space) == 0);
	for (unsigned i = 0; i < GUESTS; i++) {
		rounds += atomic_load(&guests[i].round);
		vms_object_unref(guests[i].obj);
	}
	printf("%s: %" PRIu64 " rounds, %u faults, %u refused\n", flags ? "real holes" : "reserved",
	       rounds, atomic_load(&faults), atomic_load(&refused));
	require(rounds > GUESTS && atomic_load(&faults) > 100);
	vms_space_unref(space);
	vms_mmu_unref(mmu);
	vms_arena_unref(arena);
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 2;
	struct sigaction act = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER };

#if TSAN
	printf("the race detector takes a fault in a handler for an unsafe call\n");
	return 77;
#endif
	page = (uint64_t)sysconf(_SC_PAGESIZE);
	lo = find_room();
	sigaction(SIGSEGV, &act, NULL);
	sigaction(SIGBUS, &act, NULL);
	run(0, seconds / 2);
	run(VMS_MMU_REAL_HOLES, seconds / 2);
	return 0;
}
