// SPDX-License-Identifier: MIT
/*
 * Each call's errors, and which one wins where two conditions hold at once: a valid call is spoilt
 * in one way, then in every two ways that do not spoil the same argument. The lists below are in
 * Linux's order, so the first of the two must win, and nothing may have changed.
 */
#include "mman_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- what all calls are made of ---- */

struct call {
	uint64_t a[6];
	int fd;
};

/* What a spoiler touches; two that touch the same thing are not put together. */
#define ADDR  0x01u
#define LEN   0x02u
#define PROT  0x04u
#define FLAGS 0x08u
#define FD    0x10u
#define OFF   0x20u
#define LIMIT 0x40u /* the guest's limits */
#define PLACE 0x80u /* what stands at the address */

struct spoiler {
	const char *name;
	unsigned touches;
	int err;
	void (*spoil)(struct guest *g, struct call *c);
};

struct subject {
	void (*valid)(struct guest *g, struct call *c);
	int64_t (*call)(struct guest *g, const struct call *c);
	const struct spoiler *spoilers;
	size_t n;
};

static void limit(struct guest *g, enum vms_mm_resource which, uint64_t bytes)
{
	struct vms_mm_limit l = {bytes, bytes};

	assert_ok(vms_mm_set_limit(g->mm, which, l));
}

static void try(const struct subject *s, const struct spoiler *one, const struct spoiler *two)
{
	struct call c = {.fd = -1};
	struct guest g;
	char before[4096];
	int64_t got;

	guest_make(&g, GUEST_RECORD, 4096);
	map(&g, 0, 4, RW);
	s->valid(&g, &c);
	if (one)
		one->spoil(&g, &c);
	if (two)
		two->spoil(&g, &c);
	strcpy(before, picture(&g));
	got = s->call(&g, &c);
	if (one && got != one->err) {
		print_error("%s%s%s: %s, expected %s\n", one->name, two ? " and " : "",
			    two ? two->name : "", got < 0 ? strerrorname_np((int)-got) : "success",
			    strerrorname_np(-one->err));
		assert_int_equal(got, one->err);
	}
	if (one)
		looks(&g, before);
	else
		assert_true(got >= 0);
	if (c.fd >= 0)
		close(c.fd);
	guest_drop(&g);
}

static void try_all(const struct subject *s)
{
	try(s, NULL, NULL);
	for (size_t i = 0; i < s->n; i++) {
		try(s, &s->spoilers[i], NULL);
		for (size_t j = i + 1; j < s->n; j++)
			if (!(s->spoilers[i].touches & s->spoilers[j].touches))
				try(s, &s->spoilers[i], &s->spoilers[j]);
	}
}

#define SPOIL(name) static void name(struct guest *g, struct call *c)
#define SUBJECT(v, f, list)                                \
	{                                                  \
		v, f, list, sizeof(list) / sizeof(list[0]) \
	}

/* ---- mmap of anonymous memory, reference M1 to M26 ---- */

SPOIL(anon_valid)
{
	const struct call valid = {{at(g, 8), g->page, RW, AT, 0, 0}, .fd = -1};

	*c = valid;
}

SPOIL(off_unaligned)
{
	c->a[5] = 1;
}

SPOIL(len_zero)
{
	c->a[1] = 0;
}

SPOIL(len_wraps)
{
	c->a[1] = -g->page + 1;
}

SPOIL(len_too_long)
{
	c->a[1] = g->hi + g->page;
}

SPOIL(end_too_high)
{
	c->a[0] = g->hi;
}

SPOIL(addr_unaligned)
{
	c->a[0] += 1;
}

SPOIL(addr_low)
{
	c->a[0] = g->lo - 16 * g->page;
}

SPOIL(noreplace)
{
	c->a[0] = at(g, 3);
	c->a[3] |= MAP_FIXED_NOREPLACE;
}

SPOIL(lock_none)
{
	c->a[3] |= MAP_LOCKED;
	limit(g, VMS_MM_LIMIT_MEMLOCK, 0);
}

SPOIL(lock_more)
{
	c->a[1] = 2 * g->page;
	c->a[3] |= MAP_LOCKED;
	limit(g, VMS_MM_LIMIT_MEMLOCK, g->page);
}

SPOIL(bad_type)
{
	c->a[3] = (c->a[3] & ~(uint64_t)MAP_TYPE) | MAP_SHARED_VALIDATE;
}

SPOIL(grows_shared)
{
	c->a[3] = (c->a[3] & ~(uint64_t)MAP_TYPE) | MAP_SHARED | MAP_GROWSDOWN;
}

SPOIL(as_limit)
{
	limit(g, VMS_MM_LIMIT_AS, 4 * g->page);
}

SPOIL(data_limit)
{
	limit(g, VMS_MM_LIMIT_DATA, 4 * g->page);
}

static int64_t call_mmap(struct guest *g, const struct call *c)
{
	return vms_mmap(g->mm, c->a[0], c->a[1], c->a[2], c->a[3], c->fd, c->a[5]);
}

static const struct spoiler anon_spoilers[] = {
	{"M1 offset unaligned", OFF, -EINVAL, off_unaligned},
	{"M3 length 0", LEN, -EINVAL, len_zero},
	{"M4 length rounds to 0", LEN, -ENOMEM, len_wraps},
	{"M7 longer than all", LEN, -ENOMEM, len_too_long},
	{"M7 ends too high", ADDR, -ENOMEM, end_too_high},
	{"M8 address unaligned", ADDR, -EINVAL, addr_unaligned},
	{"M9 address too low", ADDR, -EPERM, addr_low},
	{"M10 NOREPLACE of something", ADDR | FLAGS, -EEXIST, noreplace},
	{"M12 may not lock at all", FLAGS | LIMIT, -EPERM, lock_none},
	{"M13 may not lock as much", LEN | FLAGS | LIMIT, -EAGAIN, lock_more},
	{"M16 no such type", FLAGS, -EINVAL, bad_type},
	{"M22 grows, shared", FLAGS, -EINVAL, grows_shared},
	{"M23 RLIMIT_AS", LIMIT, -ENOMEM, as_limit},
	{"M24 RLIMIT_DATA", LIMIT, -ENOMEM, data_limit},
};

static void test_mmap_anon(void **state)
{
	static const struct subject s = SUBJECT(anon_valid, call_mmap, anon_spoilers);

	try_all(&s);
}

/* ---- mmap of a file ---- */

static int temp_file(int mode)
{
	char path[] = "/tmp/vmspace-test-XXXXXX";
	int fd = mkstemp(path), again;

	assert_true(fd >= 0);
	assert_ok(ftruncate(fd, 3 * 4096));
	again = open(path, mode | O_CLOEXEC);
	assert_true(again >= 0);
	close(fd);
	unlink(path);
	return again;
}

static void take_fd(struct call *c, int fd)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = fd;
}

SPOIL(file_valid)
{
	const struct call valid = {{at(g, 8), g->page, R, MAP_FIXED | MAP_SHARED, 0, 0}, .fd = -1};

	*c = valid;
	c->fd = temp_file(O_RDONLY);
}

SPOIL(fd_closed)
{
	take_fd(c, -1);
}

SPOIL(fd_path)
{
	take_fd(c, open("/tmp", O_PATH | O_CLOEXEC));
}

SPOIL(off_past_all)
{
	c->a[5] = INT64_MAX & ~(g->page - 1);
}

SPOIL(no_type)
{
	c->a[3] &= ~(uint64_t)MAP_TYPE;
}

SPOIL(new_flag)
{
	c->a[3] = MAP_FIXED | MAP_SHARED_VALIDATE | 0x200000u;
}

SPOIL(not_writable)
{
	c->a[2] = RW;
}

SPOIL(not_readable)
{
	take_fd(c, temp_file(O_WRONLY));
}

SPOIL(directory)
{
	take_fd(c, open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

SPOIL(grows_file)
{
	c->a[3] |= MAP_GROWSDOWN;
}

static const struct spoiler file_spoilers[] = {
	{"M1 offset unaligned", OFF, -EINVAL, off_unaligned},
	{"M2 no descriptor", FD, -EBADF, fd_closed},
	{"M2 a path's descriptor", FD, -EBADF, fd_path},
	{"M3 length 0", LEN, -EINVAL, len_zero},
	{"M4 length rounds to 0", LEN, -ENOMEM, len_wraps},
	{"M7 ends too high", ADDR, -ENOMEM, end_too_high},
	{"M8 address unaligned", ADDR, -EINVAL, addr_unaligned},
	{"M9 address too low", ADDR, -EPERM, addr_low},
	{"M10 NOREPLACE of something", ADDR | FLAGS, -EEXIST, noreplace},
	{"M14 beyond all files", OFF, -EOVERFLOW, off_past_all},
	{"M16 no type", FLAGS, -EINVAL, no_type},
	{"M17 a new flag, validated", FLAGS, -EOPNOTSUPP, new_flag},
	{"M19 shared, writable, file is not", PROT | FD, -EACCES, not_writable},
	{"M18 not open for reading", FD, -EACCES, not_readable},
	{"M21 a directory", FD | OFF, -ENODEV, directory},
	{"M22 grows, a file", FLAGS, -EINVAL, grows_file},
	{"M23 RLIMIT_AS", LIMIT, -ENOMEM, as_limit},
};

static void test_mmap_file(void **state)
{
	static const struct subject s = SUBJECT(file_valid, call_mmap, file_spoilers);

	try_all(&s);
}

/* ---- munmap ---- */

SPOIL(unmap_valid)
{
	const struct call valid = {{at(g, 1), 2 * g->page}, .fd = -1};

	*c = valid;
}

SPOIL(addr_high)
{
	c->a[0] = g->hi + g->page;
}

SPOIL(len_all_ones)
{
	c->a[1] = UINT64_MAX;
}

SPOIL(sealed)
{
	assert_ok(vms_mseal(g->mm, at(g, 0), 4 * g->page, 0));
}

static int64_t call_munmap(struct guest *g, const struct call *c)
{
	return vms_munmap(g->mm, c->a[0], c->a[1]);
}

static const struct spoiler unmap_spoilers[] = {
	{"address unaligned", ADDR, -EINVAL, addr_unaligned},
	{"address too high", ADDR, -EINVAL, addr_high},
	{"length 0", LEN, -EINVAL, len_zero},
	{"length all ones", LEN, -EINVAL, len_all_ones},
	{"sealed", PLACE, -EPERM, sealed},
};

static void test_munmap(void **state)
{
	static const struct subject s = SUBJECT(unmap_valid, call_munmap, unmap_spoilers);

	try_all(&s);
}

/* ---- mprotect ---- */

SPOIL(protect_valid)
{
	const struct call valid = {{at(g, 1), 2 * g->page, R}, .fd = -1};

	*c = valid;
}

SPOIL(grows_both)
{
	c->a[2] |= PROT_GROWSDOWN | PROT_GROWSUP;
}

SPOIL(prot_unknown)
{
	c->a[2] |= 0x10;
}

SPOIL(hole_first)
{
	c->a[0] = at(g, 20);
}

SPOIL(grows_ordinary)
{
	c->a[2] |= PROT_GROWSDOWN;
}

SPOIL(ceiling)
{
	int fd = temp_file(O_RDONLY);

	map_as(g, 0, 3, R, MAP_SHARED, fd, 0);
	close(fd);
	c->a[2] = RW;
}

static int64_t call_mprotect(struct guest *g, const struct call *c)
{
	return vms_mprotect(g->mm, c->a[0], c->a[1], c->a[2]);
}

static const struct spoiler protect_spoilers[] = {
	{"GROWSDOWN and GROWSUP", PROT, -EINVAL, grows_both},
	{"address unaligned", ADDR, -EINVAL, addr_unaligned},
	{"range wraps", LEN, -ENOMEM, len_all_ones},
	{"unknown right", PROT, -EINVAL, prot_unknown},
	{"nothing there", ADDR, -ENOMEM, hole_first},
	{"GROWSDOWN of what does not", PROT, -EINVAL, grows_ordinary},
	{"a right the file lacks", PROT | PLACE, -EACCES, ceiling},
	{"sealed", PLACE, -EPERM, sealed},
};

static void test_mprotect(void **state)
{
	static const struct subject s = SUBJECT(protect_valid, call_mprotect, protect_spoilers);
	struct guest g;

	try_all(&s);
	guest_make(&g, GUEST_RECORD, 4096);
	says(vms_mprotect(g.mm, at(&g, 0), 0, 0xffff), 0); /* length 0: even unmapped, bad prot */
	says(vms_mprotect(g.mm, at(&g, 0) + 1, 0, R), -EINVAL);
	guest_drop(&g);
}

/* ---- mremap ---- */

SPOIL(remap_valid)
{
	const struct call valid = {
		{at(g, 1), 2 * g->page, g->page, MREMAP_MAYMOVE | MREMAP_FIXED, at(g, 8)},
		.fd = -1};

	*c = valid;
}

SPOIL(remap_flag)
{
	c->a[3] |= 0x100;
}

SPOIL(remap_not_may)
{
	c->a[3] &= ~(uint64_t)MREMAP_MAYMOVE;
}

SPOIL(remap_new_zero)
{
	c->a[2] = 0;
}

SPOIL(remap_new_huge)
{
	c->a[2] = g->hi + g->page;
}

SPOIL(remap_to_unaligned)
{
	c->a[4] += 1;
}

SPOIL(remap_to_high)
{
	c->a[4] = g->hi;
}

SPOIL(remap_overlap)
{
	c->a[4] = at(g, 2);
}

SPOIL(remap_dontunmap)
{
	c->a[3] |= MREMAP_DONTUNMAP; /* the lengths differ */
}

static int64_t call_mremap(struct guest *g, const struct call *c)
{
	return vms_mremap(g->mm, c->a[0], c->a[1], c->a[2], c->a[3], c->a[4]);
}

/* The first seven are all EINVAL: they win over what follows, whichever holds. */
static const struct spoiler remap_spoilers[] = {
	{"unknown flag", FLAGS, -EINVAL, remap_flag},
	{"FIXED without MAYMOVE", FLAGS, -EINVAL, remap_not_may},
	{"DONTUNMAP of another length", FLAGS, -EINVAL, remap_dontunmap},
	{"address unaligned", ADDR, -EINVAL, addr_unaligned},
	{"new length 0", LEN, -EINVAL, remap_new_zero},
	{"new length past all", LEN, -EINVAL, remap_new_huge},
	{"new address unaligned", OFF, -EINVAL, remap_to_unaligned},
	{"new address too high", OFF, -EINVAL, remap_to_high},
	{"overlaps", OFF | ADDR, -EINVAL, remap_overlap},
	{"nothing there", ADDR, -EFAULT, hole_first},
	{"sealed", PLACE, -EPERM, sealed},
};

static void test_mremap(void **state)
{
	static const struct subject s = SUBJECT(remap_valid, call_mremap, remap_spoilers);

	try_all(&s);
}

/* ---- madvise, msync, mincore, mlock, mseal ---- */

SPOIL(advise_valid)
{
	const struct call valid = {{at(g, 1), 2 * g->page, MADV_DONTNEED}, .fd = -1};

	*c = valid;
}

SPOIL(advise_unknown)
{
	c->a[2] = 77;
}

SPOIL(locked)
{
	assert_ok(vms_mlock(g->mm, at(g, 0), 4 * g->page));
}

static int64_t call_madvise(struct guest *g, const struct call *c)
{
	return vms_madvise(g->mm, c->a[0], c->a[1], (int)c->a[2]);
}

static const struct spoiler advise_spoilers[] = {
	{"unknown advice", PROT, -EINVAL, advise_unknown},
	{"address unaligned", ADDR, -EINVAL, addr_unaligned},
	{"length wraps", LEN, -EINVAL, len_all_ones},
	{"nothing there", ADDR, -ENOMEM, hole_first},
	{"locked", PLACE, -EINVAL, locked},
};

static void test_madvise(void **state)
{
	static const struct subject s = SUBJECT(advise_valid, call_madvise, advise_spoilers);
	struct guest g;

	try_all(&s);
	guest_make(&g, GUEST_RECORD, 4096);
	says(vms_madvise(g.mm, at(&g, 0), 0, MADV_DONTNEED), 0);
	says(vms_madvise(g.mm, at(&g, 0), 0, 77), -EINVAL);
	map(&g, 0, 1, RW);
	map(&g, 2, 1, RW);
	says(vms_madvise(g.mm, at(&g, 0), 3 * g.page, MADV_DONTFORK), -ENOMEM); /* on both sides */
	map(&g, 1, 1, RW);
	looks(&g, "rw:0-0 rw:1-1 rw:2-2");
	guest_drop(&g);
}

static int64_t call_msync(struct guest *g, const struct call *c)
{
	return vms_msync(g->mm, c->a[0], c->a[1], (int)c->a[2]);
}

SPOIL(sync_valid)
{
	const struct call valid = {{at(g, 1), 2 * g->page, MS_SYNC}, .fd = -1};

	*c = valid;
}

SPOIL(sync_both)
{
	c->a[2] = MS_SYNC | MS_ASYNC;
}

SPOIL(sync_unknown)
{
	c->a[2] |= 0x40;
}

SPOIL(sync_locked)
{
	locked(g, c);
	c->a[2] |= MS_INVALIDATE;
}

static const struct spoiler sync_spoilers[] = {
	{"unknown flag", PROT, -EINVAL, sync_unknown},
	{"address unaligned", ADDR, -EINVAL, addr_unaligned},
	{"SYNC and ASYNC", PROT, -EINVAL, sync_both},
	{"nothing there", ADDR, -ENOMEM, hole_first},
	{"INVALIDATE of locked memory", PROT | PLACE, -EBUSY, sync_locked},
};

static void test_msync(void **state)
{
	static const struct subject s = SUBJECT(sync_valid, call_msync, sync_spoilers);
	struct guest g;

	try_all(&s);
	guest_make(&g, GUEST_RECORD, 4096);
	says(vms_msync(g.mm, at(&g, 0), 0, MS_SYNC), 0);
	says(vms_msync(g.mm, at(&g, 0), UINT64_MAX, MS_SYNC), 0); /* rounds to 0 */
	says(vms_msync(g.mm, at(&g, 0), g.page, 0), -ENOMEM);
	guest_drop(&g);
}

static int64_t call_mlock(struct guest *g, const struct call *c)
{
	return vms_mlock2(g->mm, c->a[0], c->a[1], (int)c->a[2]);
}

SPOIL(lock_valid)
{
	const struct call valid = {{at(g, 1) + 5, g->page, 0}, .fd = -1};

	*c = valid;
}

SPOIL(lock_flag)
{
	c->a[2] = 2;
}

SPOIL(memlock_zero)
{
	limit(g, VMS_MM_LIMIT_MEMLOCK, 0);
}

SPOIL(memlock_page)
{
	limit(g, VMS_MM_LIMIT_MEMLOCK, g->page);
}

static const struct spoiler lock_spoilers[] = {
	{"unknown flag", PROT, -EINVAL, lock_flag},
	{"limit 0", LIMIT, -EPERM, memlock_zero},
	{"limit too low", LIMIT, -ENOMEM, memlock_page},
	{"nothing there", ADDR, -ENOMEM, hole_first},
};

static void test_mlock(void **state)
{
	static const struct subject s = SUBJECT(lock_valid, call_mlock, lock_spoilers);
	struct guest g;

	try_all(&s);
	guest_make(&g, GUEST_RECORD, 4096);
	map(&g, 0, 4, RW);
	map(&g, 5, 1, RW);
	says(vms_mlock(g.mm, at(&g, 2), 4 * g.page), -ENOMEM); /* up to the hole */
	looks(&g, "rw:0-1 rw+l:2-3 rw:5-5");
	says(vms_mlock(g.mm, at(&g, 0), UINT64_MAX), 0);
	says(vms_munlock(g.mm, at(&g, 0), 4 * g.page), 0);
	looks(&g, "rw:0-3 rw:5-5");
	map(&g, 8, 1, PROT_NONE);
	says(vms_mlock(g.mm, at(&g, 8), g.page), -ENOMEM); /* and locked all the same */
	looks(&g, "rw:0-3 rw:5-5 -+l:8-8");
	says(vms_mlockall(g.mm, 0), -EINVAL);
	says(vms_mlockall(g.mm, MCL_ONFAULT), -EINVAL);
	says(vms_mlockall(g.mm, 8), -EINVAL);
	limit(&g, VMS_MM_LIMIT_MEMLOCK, 5 * g.page);
	says(vms_mlockall(g.mm, MCL_CURRENT), -ENOMEM);
	limit(&g, VMS_MM_LIMIT_MEMLOCK, 0);
	says(vms_mlockall(g.mm, MCL_CURRENT), -EPERM);
	says(vms_munlockall(g.mm), 0);
	looks(&g, "rw:0-3 rw:5-5 -:8-8");
	guest_drop(&g);
}

static void test_mincore(void **state)
{
	unsigned char vec[8];
	struct guest g;
	size_t filled;

	guest_make(&g, GUEST_WINDOW, 0);
	map(&g, 0, 2, RW);
	map(&g, 3, 1, RW);
	says(vms_mincore(g.mm, at(&g, 0) + 1, g.page, vec, &filled), -EINVAL);
	says(vms_mincore(g.mm, g.hi + g.page + 1, 0, vec, &filled), -EINVAL);
	says(vms_mincore(g.mm, at(&g, 0), g.hi, vec, &filled), -ENOMEM);
	assert_int_equal(filled, 0);
	says(vms_mincore(g.mm, at(&g, 2), g.page, vec, &filled), -ENOMEM);
	touch(&g, 1);
	memset(vec, 9, sizeof(vec));
	says(vms_mincore(g.mm, at(&g, 0), 4 * g.page, vec, &filled), -ENOMEM);
	assert_int_equal(filled, 2);
	assert_int_equal(vec[0] & 1, 0);
	assert_int_equal(vec[1] & 1, 1);
	assert_int_equal(vec[2], 9);
	says(vms_mincore(g.mm, at(&g, 9), 0, vec, NULL), 0);
	guest_drop(&g);
}

static void test_mseal(void **state)
{
	struct guest g;

	guest_make(&g, GUEST_RECORD, 4096);
	map(&g, 0, 4, RW);
	says(vms_mseal(g.mm, at(&g, 0), g.page, 1), -EINVAL);
	says(vms_mseal(g.mm, at(&g, 0) + 1, g.page, 0), -EINVAL);
	says(vms_mseal(g.mm, at(&g, 0), UINT64_MAX, 0), -EINVAL);
	says(vms_mseal(g.mm, at(&g, 9), 0, 0), 0);
	says(vms_mseal(g.mm, at(&g, 3), 2 * g.page, 0), -ENOMEM);
	looks(&g, "rw:0-3");
	says(vms_mseal(g.mm, at(&g, 1), 2 * g.page, 0), 0);
	looks(&g, "rw:0-0 rw+S:1-2 rw:3-3");
	says(vms_munmap(g.mm, at(&g, 0), 4 * g.page), -EPERM);
	says(vms_mprotect(g.mm, at(&g, 2), g.page, R), -EPERM);
	says(vms_mmap(g.mm, at(&g, 1), g.page, RW, AT, -1, 0), -EPERM);
	says(vms_mremap(g.mm, at(&g, 1), g.page, g.page, 3, at(&g, 9)), -EPERM);
	says(vms_madvise(g.mm, at(&g, 1), g.page, MADV_DONTNEED), 0); /* it is writable */
	looks(&g, "rw:0-0 rw+S:1-2 rw:3-3");
	guest_drop(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mmap_anon), cmocka_unit_test(test_mmap_file),
		cmocka_unit_test(test_munmap),	  cmocka_unit_test(test_mprotect),
		cmocka_unit_test(test_mremap),	  cmocka_unit_test(test_madvise),
		cmocka_unit_test(test_msync),	  cmocka_unit_test(test_mincore),
		cmocka_unit_test(test_mlock),	  cmocka_unit_test(test_mseal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
