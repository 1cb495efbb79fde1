// SPDX-License-Identifier: MIT
/* Branches of spaces whose pages the host shows, in windows. */
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "branch_kit.h"

#include "files.h"

static struct vms_space *window(void)
{
	struct vms_mmu_host_params p = { .size = sizeof(p), .hi = UINT64_C(64) << 20 };
	struct vms_mmu *mmu = NULL;
	struct vms_space_params sp = { .size = sizeof(sp), .hi = UINT64_C(64) << 20 };
	struct vms_space *s = NULL;

	assert_ok(vms_mmu_host(&p, &mmu));
	sp.mmu = mmu;
	assert_ok(vms_space_create(&sp, &s));
	vms_mmu_unref(mmu);
	return s;
}

static uint32_t rights_at(struct vms_space *s, uint64_t addr)
{
	const void *hva = NULL;
	uint32_t rights = 0;

	return s->mmu->entries->query(s->mmu, addr, &hva, &rights) ? 0 : rights;
}

static volatile unsigned char *at_host(struct vms_space *s, uint64_t addr)
{
	return vms_mmu_host_addr(s->mmu, addr);
}

/* What was there can be read at once in the branch; who writes first, faults. */
static void host_windows(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 64 * P, 0);
	struct vms_mmu_host_params p = { .size = sizeof(p), .hi = UINT64_C(64) << 20 };
	struct vms_space *s = window(), *b = NULL;
	struct vms_mmu *mmu = NULL;

	map(s, BASE, a, 0, 64 * P, 0);
	put(a, 0, 40 * P, 'a');
	assert_int_equal(vms_fault(s, BASE, VMS_PROT_WRITE, 0, NULL, NULL), VMS_FAULT_OK);
	*at_host(s, BASE) = 'w';
	assert_ok(vms_mmu_host(&p, &mmu));
	assert_ok(branch_to(s, mmu, &b));
	assert_int_equal(rights_at(s, BASE) & VMS_PROT_WRITE, 0);
	for (uint64_t i = 0; i < 40; i++) {
		assert_int_equal(rights_at(b, BASE + i * P), VMS_PROT_READ);
		assert_int_equal(*at_host(b, BASE + i * P), i ? 'a' : 'w');
	}
	assert_int_equal(vms_fault(s, BASE, VMS_PROT_WRITE, 0, NULL, NULL), VMS_FAULT_OK);
	*at_host(s, BASE) = 'x';
	assert_int_equal(vms_fault(b, BASE + P, VMS_PROT_WRITE, 0, NULL, NULL), VMS_FAULT_OK);
	*at_host(b, BASE + P) = 'y';
	assert_int_equal(*at_host(b, BASE), 'w');
	assert_int_equal(peek(b, BASE), 'w');
	assert_int_equal(peek(s, BASE + P), 'a');
	assert_int_equal(peek(b, BASE + P), 'y');
	good(s);
	good(b);
	vms_space_unref(s);
	assert_int_equal(*at_host(b, BASE), 'w');
	good(b);
	vms_space_unref(b);
	vms_object_unref(a);
}

/* A file is shown by a window of the host alone. */
static void shared_file(void **state)
{
	struct fixture *f = *state;
	struct vms_object_params op = { .size = sizeof(op) };
	struct vms_mmu_host_params p = { .size = sizeof(p), .hi = UINT64_C(64) << 20 };
	struct vms_space *s = window(), *b = NULL;
	struct vms_object *file = NULL;
	struct vms_mmu *mmu = NULL;
	int fd = file_of(4 * P, 'f');

	assert_ok(vms_object_create_file(f->arena, fd, &op, &file));
	map(s, BASE, file, 0, 4 * P, VMS_MAP_SHARE);
	refused(s, -ENOTSUP, "[0x100000, 0x103fff] shows a file, which");
	assert_ok(vms_mmu_host(&p, &mmu));
	assert_ok(branch_to(s, mmu, &b));
	poke(s, BASE, 'x');
	assert_int_equal(peek(b, BASE), 'x');
	good(b);
	assert_ok(vms_unmap(vms_space_root(s), BASE, 4 * P, 0));
	map(s, BASE + 8 * P, file, 0, P, 0);
	refused(s, -ENOTSUP, "[0x108000, 0x108fff] shows a file: no snapshot");
	vms_space_unref(s);
	vms_space_unref(b);
	vms_object_unref(file);
	close(fd);
}

static void forked_child(void **state)
{
	struct fixture *f = *state;
	struct vms_object *a = anon(f->arena, 4 * P, 0);
	struct vms_space *s = space_over(record()), *b = NULL;
	int status;
	pid_t pid;

	map(s, BASE, a, 0, 4 * P, 0);
	pid = fork();
	if (!pid)
		_exit(branch_to(s, record(), &b) == -ESTALE && !b ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	vms_space_unref(s);
	vms_object_unref(a);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(host_windows),
		TEST(shared_file),
		TEST(forked_child),
	};

	return cmocka_run_group_tests_name("vspace-branch-host", tests, NULL, NULL);
}
