// SPDX-License-Identifier: MIT
/* What is done to the host memory of blocks: advice, locks, preallocation, nodes, huge pages. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "block_kit.h"

/* ---- What is done to memory ---- */

static void advice(void **state)
{
	struct vms_block *b;
	void *hva;

	b = plain(*state, VMS_BLOCK_ANON, 4 * MIB, 0);
	hva = info_of(b).hva;
	assert_false(has_flag(hva, "dd") || has_flag(hva, "dc") || has_flag(hva, "lo"));
	done(*state, b);
	b = plain(*state, VMS_BLOCK_ANON, 4 * MIB,
		  VMS_BLOCK_DONTDUMP | VMS_BLOCK_DONTFORK | VMS_BLOCK_THP | VMS_BLOCK_MERGE);
	hva = info_of(b).hva;
	assert_true(has_flag(hva, "dd"));
	assert_true(has_flag(hva, "dc"));
	/* Hints, if the host has them. */
	if (access("/sys/kernel/mm/transparent_hugepage/enabled", R_OK) == 0)
		assert_true(has_flag(hva, "hg"));
	if (access("/sys/kernel/mm/ksm/run", R_OK) == 0)
		assert_true(has_flag(hva, "mg"));
	done(*state, b);
	b = plain(*state, VMS_BLOCK_SHARED, 4 * MIB, VMS_BLOCK_DONTFORK | VMS_BLOCK_NO_THP);
	hva = info_of(b).hva;
	assert_true(has_flag(hva, "dc"));
	if (access("/sys/kernel/mm/transparent_hugepage/enabled", R_OK) == 0)
		assert_true(has_flag(hva, "nh"));
	done(*state, b);
}

static void locked(void **state)
{
	struct vms_block_params p = params_of(VMS_BLOCK_ANON, 2 * MIB, VMS_BLOCK_LOCK);
	struct vms_block *b;
	void *hva;

	if (vms_block_create(*state, &p, &b)) {
		assert_non_null(strstr(vms_last_error(), "RLIMIT_MEMLOCK"));
		print_message("the host does not let us lock 2 MiB\n");
		skip();
	}
	hva = info_of(b).hva;
	assert_true(has_flag(hva, "lo"));
	assert_int_equal(kib(hva, "Locked"), 2048);
	assert_int_equal(info_of(b).resident, 2 * MIB);
	done(*state, b);
	test_world_fail(&tw, 1, 1u << CALL_MLOCK, EPERM);
	refused(*state, &p, -ENOMEM);
	assert_non_null(strstr(vms_last_error(), "RLIMIT_MEMLOCK"));
}

struct told {
	uint64_t last, calls, stop_at;
	pthread_t thread;
};

static int progress(void *arg, uint64_t done, uint64_t bytes)
{
	struct told *t = arg;

	assert_true(pthread_equal(t->thread, pthread_self()));
	assert_true(done >= t->last && done <= bytes);
	t->last = done;
	t->calls++;
	return t->stop_at && t->calls >= t->stop_at ? 1 : 0;
}

static void prealloc(void **state)
{
	uint32_t kinds[] = { VMS_BLOCK_ANON, VMS_BLOCK_SHARED };
	struct told t = { .thread = pthread_self() };

	for (unsigned i = 0; i < 2; i++) {
		struct vms_block_params p = params_of(kinds[i], 40 * MIB, VMS_BLOCK_PREALLOC);
		struct vms_block *b;

		t.last = t.calls = t.stop_at = 0;
		p.progress = progress;
		p.progress_arg = &t;
		b = block(*state, &p);
		assert_int_equal(info_of(b).resident, 40 * MIB);
		assert_int_equal(t.last, 40 * MIB);
		assert_int_equal(t.calls, 3);
		done(*state, b);
		t.last = t.calls = 0;
		t.stop_at = 2;
		refused(*state, &p, -ECANCELED);
		assert_int_equal(t.calls, 2);
	}
}

static void prealloc_of_files(void **state)
{
	struct vms_block_params p = params_of(VMS_BLOCK_FILE, 0, VMS_BLOCK_PREALLOC);
	struct vms_block *b;

	p.fd = file_of(20 * MIB, 'f');
	for (unsigned i = 0; i < 3; i++) {
		static const uint32_t more[] = { 0, VMS_BLOCK_PRIVATE, VMS_BLOCK_READ };

		p.flags = VMS_BLOCK_PREALLOC | more[i];
		b = block(*state, &p);
		assert_int_equal(kib(info_of(b).hva, "Rss"), 20 * 1024);
		for (uint64_t at = 0; at < 20 * MIB; at += P)
			assert_int_equal(b->hva[at], 'f');
		done(*state, b);
	}
	close(p.fd);
}

static int old_madvise(const struct world *w, uint64_t addr, uint64_t len, int advice)
{
	return advice == 22 || advice == 23 ? -EINVAL
					    : world_host.madvise(&world_host, addr, len, advice);
}

/* A host without MADV_POPULATE_*. */
static void prealloc_by_touching(void **state)
{
	struct vms_block_params p = params_of(VMS_BLOCK_ANON, 20 * MIB, VMS_BLOCK_PREALLOC);
	struct vms_block *b;
	unsigned char byte;

	tw.world.madvise = old_madvise;
	b = block(*state, &p);
	assert_int_equal(info_of(b).resident, 20 * MIB);
	done(*state, b);
	p.kind = VMS_BLOCK_SHARED;
	b = block(*state, &p);
	assert_int_equal(info_of(b).resident, 20 * MIB);
	done(*state, b);
	p.kind = VMS_BLOCK_FILE;
	p.fd = file_of(20 * MIB, 'f');
	b = block(*state, &p);
	assert_int_equal(kib(info_of(b).hva, "Rss"), 20 * 1024);
	assert_int_equal(pread(p.fd, &byte, 1, (off_t)(3 * P)), 1);
	assert_int_equal(byte, 'f');
	done(*state, b);
	/* A file system that is full is an error, not a signal. */
	test_world_fail(&tw, 1, 1u << CALL_FALLOCATE, ENOSPC);
	refused(*state, &p, -ENOMEM);
	p.flags |= VMS_BLOCK_READ;
	b = block(*state, &p);
	assert_int_equal(kib(info_of(b).hva, "Rss"), 20 * 1024);
	done(*state, b);
	close(p.fd);
}

/* Not over a test's world: that is for one thread. */
static void prealloc_by_threads(void **state)
{
	static const struct vms_memory_params mp = { .size = sizeof(mp) };
	struct told t = { .thread = pthread_self() };
	sigset_t before, after;

	pthread_sigmask(SIG_SETMASK, NULL, &before);
	world_default = &world_host;
	for (unsigned threads = 0; threads <= 128; threads = threads * 10 + 2) {
		struct vms_block_params p =
			params_of(VMS_BLOCK_SHARED, 48 * MIB + P, VMS_BLOCK_PREALLOC);
		struct vms_memory *mem;
		struct vms_block *b = NULL;

		assert_ok(vms_memory_create(&mp, &mem));
		t.last = t.calls = t.stop_at = 0;
		p.threads = threads;
		p.progress = progress;
		p.progress_arg = &t;
		b = block(mem, &p);
		assert_int_equal(info_of(b).resident, 48 * MIB + P);
		assert_int_equal(t.last, 48 * MIB + P);
		vms_block_unref(b);
		t.last = t.calls = 0;
		t.stop_at = 1;
		refused(mem, &p, -ECANCELED);
		vms_memory_unref(mem);
	}
	world_default = &tw.world;
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	for (int sig = 1; sig < 32; sig++)
		assert_int_equal(sigismember(&before, sig), sigismember(&after, sig));
}

/* ---- NUMA ---- */

static struct {
	int mode, calls, populated;
	uint64_t nodes, addr, len;
} bound;

static int note_mbind(const struct world *w, uint64_t addr, uint64_t len, int mode, uint64_t nodes)
{
	assert_int_equal(bound.populated, 0); /* no page is there yet */
	bound.calls++;
	bound.mode = mode;
	bound.nodes = nodes;
	bound.addr = addr;
	bound.len = len;
	return 0;
}

static int note_madvise(const struct world *w, uint64_t addr, uint64_t len, int advice)
{
	bound.populated += advice == 22 || advice == 23;
	return world_host.madvise(&world_host, addr, len, advice);
}

static void numa(void **state)
{
	/* What is asked for, and the MPOL_* and nodes that the host is told. */
	static const struct {
		uint32_t numa, node;
		uint64_t nodes;
		int mode;
		uint64_t told;
	} rows[] = {
		{ VMS_NUMA_BIND, 3, 0, 2, 8 },
		{ VMS_NUMA_BIND, 3, 5, 2, 5 },
		{ VMS_NUMA_PREFERRED, 63, 1, 1, UINT64_C(1) << 63 },
		{ VMS_NUMA_INTERLEAVE, 0, 6, 3, 6 },
		{ VMS_NUMA_INTERLEAVE, 1, 0, 3, 2 },
	};

	tw.world.mbind = note_mbind;
	tw.world.madvise = note_madvise;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vms_block_params p =
			params_of(VMS_BLOCK_ANON + i % 2, 2 * MIB, VMS_BLOCK_PREALLOC);
		struct vms_block *b;

		p.numa = rows[i].numa;
		p.node = rows[i].node;
		p.nodes = rows[i].nodes;
		memset(&bound, 0, sizeof(bound));
		b = block(*state, &p);
		assert_int_equal(bound.calls, 1);
		assert_int_equal(bound.mode, rows[i].mode);
		assert_int_equal(bound.nodes, rows[i].told);
		assert_int_equal(bound.addr, (uintptr_t)info_of(b).hva);
		assert_int_equal(bound.len, 2 * MIB);
		assert_int_equal(bound.populated, 1);
		done(*state, b);
	}
	memset(&bound, 0, sizeof(bound));
	done(*state, plain(*state, VMS_BLOCK_ANON, P, 0));
	assert_int_equal(bound.calls, 0);
}

static void numa_of_this_host(void **state)
{
	struct vms_block_params p = params_of(VMS_BLOCK_ANON, 4 * P, 0);
	char line[512], start[32];
	struct vms_block *b;
	bool found = false;
	FILE *f;

	p.numa = VMS_NUMA_BIND;
	if (vms_block_create(*state, &p, &b)) {
		print_message("the host knows no nodes: %s\n", vms_last_error());
		skip();
	}
	f = fopen("/proc/self/numa_maps", "r");
	snprintf(start, sizeof(start), "%lx bind:0", (unsigned long)info_of(b).hva);
	while (f && fgets(line, sizeof(line), f))
		found |= strncmp(line, start, strlen(start)) == 0;
	assert_true(!f || found);
	if (f)
		fclose(f);
	done(*state, b);
	p.node = 63; /* such a host has not been seen */
	if (access("/sys/devices/system/node/node63", F_OK))
		refused(*state, &p, -EINVAL);
}

/* ---- Huge pages ---- */

static unsigned long free_huge_pages(void)
{
	FILE *f = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "r");
	unsigned long n = 0;

	if (f && fscanf(f, "%lu", &n) != 1)
		n = 0;
	if (f)
		fclose(f);
	return n;
}

static void huge_pages_that_are_not_there(void **state)
{
	uint32_t kinds[] = { VMS_BLOCK_ANON, VMS_BLOCK_SHARED };

	if (access("/sys/kernel/mm/hugepages/hugepages-2048kB", F_OK)) {
		print_message("the host has no huge pages of 2 MiB\n");
		skip();
	}
	for (unsigned i = 0; i < 2; i++) {
		struct vms_block_params p =
			params_of(kinds[i], (free_huge_pages() + 1) * 2 * MIB, VMS_BLOCK_HUGETLB);

		p.huge_page = 2 * MIB;
		refused(*state, &p, -ENOMEM);
		assert_non_null(strstr(vms_last_error(), "pool"));
		p.huge_page = 0; /* the default's size is the host's to say */
		p.bytes = (UINT64_C(1) << 30) + P;
		refused(*state, &p, -EINVAL);
		p.huge_page = 8 * MIB; /* nobody's */
		p.bytes = 8 * MIB;
		refused(*state, &p, -ENOTSUP);
	}
}

static void huge_pages(void **state)
{
	uint32_t kinds[] = { VMS_BLOCK_ANON, VMS_BLOCK_SHARED };

	if (free_huge_pages() < 3) {
		print_message("the host's pool has no 3 pages of 2 MiB\n");
		skip();
	}
	for (unsigned i = 0; i < 2; i++) {
		struct vms_block_params p =
			params_of(kinds[i], 6 * MIB, VMS_BLOCK_HUGETLB | VMS_BLOCK_PREALLOC);
		struct vms_block *b;

		p.huge_page = 2 * MIB;
		b = block(*state, &p);
		assert_int_equal(info_of(b).page_size, 2 * MIB);
		assert_int_equal((uintptr_t)info_of(b).hva % (2 * MIB), 0);
		assert_int_equal(kib(info_of(b).hva, "KernelPageSize"), 2048);
		assert_int_equal(info_of(b).resident, 6 * MIB);
		done(*state, b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(advice, begin, end),
		cmocka_unit_test_setup_teardown(locked, begin, end),
		cmocka_unit_test_setup_teardown(prealloc, begin, end),
		cmocka_unit_test_setup_teardown(prealloc_of_files, begin, end),
		cmocka_unit_test_setup_teardown(prealloc_by_touching, begin, end),
		cmocka_unit_test_setup_teardown(prealloc_by_threads, begin, end),
		cmocka_unit_test_setup_teardown(numa, begin, end),
		cmocka_unit_test_setup_teardown(numa_of_this_host, begin, end),
		cmocka_unit_test_setup_teardown(huge_pages_that_are_not_there, begin, end),
		cmocka_unit_test_setup_teardown(huge_pages, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
