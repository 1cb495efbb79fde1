// SPDX-License-Identifier: MIT
/*
 * What the calls do to the regions that a guest sees: cutting and joining, placement, the heap,
 * growth, guard markers, the limit of regions, the text of the maps; and what hostile arguments do.
 */
#include "mman_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A flag of the guest's machine. */
#ifndef MAP_32BIT
#define MAP_32BIT 0x40
#endif

#define P ((int64_t)g.page)

static struct guest g;

static int begin(void **state)
{
	guest_make(&g, GUEST_RECORD, 4096);
	return 0;
}

static int end(void **state)
{
	guest_drop(&g);
	return 0;
}

static int64_t protect(int64_t page, uint64_t n, int prot)
{
	return vms_mprotect(g.mm, at(&g, page), n * g.page, (uint64_t)prot);
}

static int64_t unmap(int64_t page, uint64_t n)
{
	return vms_munmap(g.mm, at(&g, page), n * g.page);
}

static int64_t remap(int64_t page, uint64_t n, uint64_t new_n, int flags, int64_t to)
{
	return vms_mremap(g.mm, at(&g, page), n * g.page, new_n * g.page, (uint64_t)flags,
			  at(&g, to));
}

static int64_t advise(int64_t page, uint64_t n, int advice)
{
	return vms_madvise(g.mm, at(&g, page), n * g.page, advice);
}

/* Somewhere, without a hint: the page number. */
static int64_t anywhere(uint64_t n, int prot, int flags)
{
	int64_t got = vms_mmap(g.mm, 0, n * g.page, (uint64_t)prot, (uint64_t)flags, -1, 0);

	assert_true(got >= 0);
	return (got - (int64_t)g.base) / P;
}

/* ---- cutting and joining ---- */

static void test_cut_and_join(void **state)
{
	map(&g, 0, 10, RW);
	looks(&g, "rw:0-9");
	assert_ok(protect(3, 2, R));
	looks(&g, "rw:0-2 r:3-4 rw:5-9");
	assert_ok(protect(4, 3, PROT_NONE));
	looks(&g, "rw:0-2 r:3-3 -:4-6 rw:7-9");
	assert_ok(protect(3, 4, RW));
	looks(&g, "rw:0-9");
	assert_ok(unmap(0, 1));
	assert_ok(unmap(9, 1));
	assert_ok(unmap(4, 2));
	looks(&g, "rw:1-3 rw:6-8");
	map(&g, 4, 2, RW);
	looks(&g, "rw:1-8");
	map(&g, 4, 2, RW | X);
	looks(&g, "rw:1-3 rwx:4-5 rw:6-8");
	assert_ok(unmap(-5, 100));
	looks(&g, "");
}

static void test_what_keeps_regions_apart(void **state)
{
	static const int flags[] = {MAP_NORESERVE, MAP_STACK, MAP_GROWSDOWN, MAP_LOCKED,
				    MAP_DROPPABLE};
	static const int advices[] = {MADV_DONTFORK, MADV_WIPEONFORK, MADV_DONTDUMP, MADV_RANDOM};

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		int type = flags[i] == MAP_DROPPABLE ? MAP_ANONYMOUS : ANY;

		map(&g, 0, 1, RW);
		map_as(&g, 1, 1, RW, type | flags[i], -1, 0);
		assert_non_null(strchr(picture(&g), ' '));
		assert_ok(unmap(0, 2));
	}
	for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++) {
		map(&g, 0, 3, RW);
		assert_ok(advise(1, 1, advices[i]));
		looks(&g, "rw:0-0 rw:1-1 rw:2-2");
		assert_ok(advise(0, 3, advices[i]));
		looks(&g, "rw:0-2");
		assert_ok(unmap(0, 3));
	}
	/* Shared anonymous memory is an object each. */
	map_as(&g, 0, 1, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	map_as(&g, 1, 1, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	looks(&g, "rw+s:0-0 rw+s:1-1");
}

static void test_anonymous_identity(void **state)
{
	map(&g, 0, 1, RW);
	map(&g, 2, 1, RW);
	map(&g, 1, 1, RW);
	looks(&g, "rw:0-2"); /* untouched */
	assert_ok(unmap(0, 3));

	map(&g, 0, 1, RW);
	map(&g, 2, 1, RW);
	touch(&g, 0);
	touch(&g, 2);
	map(&g, 1, 1, RW);
	looks(&g, "rw:0-1 rw:2-2"); /* two identities; the new one takes the first it meets */
	assert_int_equal(remap(0, 3, 4, MREMAP_MAYMOVE, 0), -EFAULT);
	assert_ok(unmap(0, 3));

	/* An unfaulted move is a rebirth, a faulted one is not. */
	map(&g, 0, 1, RW);
	map(&g, 8, 1, RW);
	says(remap(8, 1, 1, MREMAP_MAYMOVE | MREMAP_FIXED, 1), (int64_t)at(&g, 1));
	looks(&g, "rw:0-1");
	map(&g, 8, 1, RW);
	touch(&g, 8);
	says(remap(8, 1, 1, MREMAP_MAYMOVE | MREMAP_FIXED, 2), (int64_t)at(&g, 2));
	looks(&g, "rw:0-1 rw:2-2");
}

static void test_files_join_by_open_file(void **state)
{
	char path[] = "/tmp/vmspace-test-XXXXXX";
	int fd = mkstemp(path), same, other;

	assert_true(fd >= 0);
	same = dup(fd);
	other = open(path, O_RDWR | O_CLOEXEC);
	unlink(path);
	assert_ok(ftruncate(fd, 8 * P));
	map_as(&g, 0, 1, R, MAP_PRIVATE, fd, 0);
	map_as(&g, 1, 1, R, MAP_PRIVATE, same, (uint64_t)P);
	looks(&g, "r+F:0-1");
	map_as(&g, 2, 1, R, MAP_PRIVATE, other, 2 * (uint64_t)P);
	looks(&g, "r+F:0-1 r+F:2-2");
	map_as(&g, 3, 1, R, MAP_PRIVATE, other, 4 * (uint64_t)P); /* not the next page */
	looks(&g, "r+F:0-1 r+F:2-2 r+F:3-3");
	close(fd);
	close(same);
	close(other);
}

/* ---- placement ---- */

static void test_placement(void **state)
{
	int64_t first = anywhere(1, RW, ANY), at_base = (int64_t)(g.pol.mmap_base - g.base) / P;

	assert_int_equal(first, at_base - 1);
	assert_int_equal(anywhere(3, RW, ANY), at_base - 4);
	assert_ok(unmap(at_base - 3, 1));
	assert_int_equal(anywhere(1, R, ANY), at_base - 3); /* a freed gap is used at once */

	/* Two MiB: aligned, so not the next below. */
	assert_int_equal((g.base + (uint64_t)anywhere(512, RW, ANY) * g.page) % (2 << 20), 0);

	/* A hint: taken if all of it is free, rounded down to its page. */
	says(vms_mmap(g.mm, at(&g, 7) + 9, g.page, RW, ANY, -1, 0), (int64_t)at(&g, 7));
	assert_true(vms_mmap(g.mm, at(&g, 7), g.page, RW, ANY, -1, 0) != (int64_t)at(&g, 7));

	/* A growing region keeps its distance from hints, not from those who insist. */
	map_as(&g, 1000, 1, RW, ANY | MAP_GROWSDOWN, -1, 0);
	assert_true(vms_mmap(g.mm, at(&g, 1000 - 256), g.page, RW, ANY, -1, 0) !=
		    (int64_t)at(&g, 1000 - 256));
	says(vms_mmap(g.mm, at(&g, 1000 - 257), g.page, RW, ANY, -1, 0),
	     (int64_t)at(&g, 1000 - 257));
	says(vms_mmap(g.mm, at(&g, 999), g.page, RW, AT | MAP_FIXED_NOREPLACE, -1, 0),
	     (int64_t)at(&g, 999));

	/* No gap is large enough. */
	says(vms_mmap(g.mm, 0, g.hi - g.lo, RW, ANY | MAP_NORESERVE, -1, 0), -ENOMEM);
}

/* ---- mremap ---- */

static void test_remap(void **state)
{
	map(&g, 0, 4, RW);
	says(remap(0, 4, 2, 0, 0), (int64_t)at(&g, 0));
	looks(&g, "rw:0-1");
	says(remap(0, 2, 4, 0, 0), (int64_t)at(&g, 0));
	looks(&g, "rw:0-3");
	map(&g, 4, 1, R);
	says(remap(0, 4, 5, 0, 0), -ENOMEM); /* blocked */
	says(remap(1, 2, 2, MREMAP_MAYMOVE | MREMAP_FIXED, 10), (int64_t)at(&g, 10));
	looks(&g, "rw:0-0 rw:3-3 r:4-4 rw:10-11");
	says(remap(10, 2, 2, MREMAP_MAYMOVE | MREMAP_DONTUNMAP | MREMAP_FIXED, 20),
	     (int64_t)at(&g, 20));
	looks(&g, "rw:0-0 rw:3-3 r:4-4 rw:10-11 rw:20-21");
	/* Several regions and holes, of one length: each goes to its place. */
	says(remap(0, 5, 5, MREMAP_MAYMOVE | MREMAP_FIXED, 30), (int64_t)at(&g, 30));
	looks(&g, "rw:10-11 rw:20-21 rw:30-30 rw:33-33 r:34-34");
	/* A second view of shared memory. */
	map_as(&g, 40, 2, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	says(remap(40, 0, 2, MREMAP_MAYMOVE | MREMAP_FIXED, 50), (int64_t)at(&g, 50));
	looks(&g, "rw:10-11 rw:20-21 rw:30-30 rw:33-33 r:34-34 rw+s:40-41 rw+s:50-51");
	says(remap(10, 0, 2, MREMAP_MAYMOVE | MREMAP_FIXED, 60), -EINVAL); /* private */
}

/* ---- the heap ---- */

static void test_brk(void **state)
{
	uint64_t start = at(&g, 0);

	assert_ok(vms_mm_set_brk(g.mm, start));
	says(vms_brk(g.mm, 0), (int64_t)start);
	says(vms_brk(g.mm, UINT64_MAX), (int64_t)start);
	says(vms_brk(g.mm, start + 1), (int64_t)start + 1);
	looks(&g, "rw:0-0");
	says(vms_brk(g.mm, at(&g, 4)), (int64_t)at(&g, 4));
	looks(&g, "rw:0-3");
	map(&g, 8, 1, R);
	says(vms_brk(g.mm, at(&g, 8)), (int64_t)at(&g, 4)); /* a page stays free */
	says(vms_brk(g.mm, at(&g, 7)), (int64_t)at(&g, 7));
	assert_ok(protect(2, 1, R));
	assert_ok(unmap(4, 1));
	looks(&g, "rw:0-1 r:2-2 rw:3-3 rw:5-6 r:8-8");
	says(vms_brk(g.mm, at(&g, 1) + 8), (int64_t)at(&g, 1) + 8);
	looks(&g, "rw:0-1 r:8-8");
}

/* ---- growth ---- */

static enum vms_mm_fault read_at(int64_t page)
{
	return vms_mm_fault(g.mm, at(&g, page), VMS_PROT_READ);
}

static void test_growth(void **state)
{
	struct vms_mm_limit l = {400 * (uint64_t)P, 400 * (uint64_t)P};

	map_as(&g, 1000, 4, RW, ANY | MAP_GROWSDOWN, -1, 0);
	assert_int_equal(read_at(998), VMS_MM_FAULT_NONE);
	looks(&g, "rw+g:998-1003");
	assert_int_equal(read_at(900), VMS_MM_FAULT_NONE);
	looks(&g, "rw+g:900-1003");
	/* An accessible neighbour keeps 256 pages, one without rights none. */
	map(&g, 600, 1, R);
	assert_int_equal(read_at(856), VMS_MM_FAULT_MAPERR);
	assert_int_equal(read_at(857), VMS_MM_FAULT_NONE);
	assert_ok(protect(600, 1, PROT_NONE));
	assert_ok(vms_mm_set_limit(g.mm, VMS_MM_LIMIT_STACK, l));
	assert_int_equal(read_at(603), VMS_MM_FAULT_MAPERR); /* 401 pages */
	assert_int_equal(read_at(604), VMS_MM_FAULT_NONE);
	looks(&g, "-:600-600 rw+g:604-1003");
	l.soft = l.hard = VMS_LIMIT_INFINITY;
	assert_ok(vms_mm_set_limit(g.mm, VMS_MM_LIMIT_STACK, l));
	assert_int_equal(read_at(601), VMS_MM_FAULT_NONE);
	looks(&g, "-:600-600 rw+g:601-1003");
	assert_int_equal(read_at(600), VMS_MM_FAULT_ACCERR);
	assert_int_equal(read_at(599), VMS_MM_FAULT_MAPERR);
	/* Pieces keep the flag; mprotect of all that grows. */
	assert_ok(protect(700, 1, R));
	looks(&g, "-:600-600 rw+g:601-699 r+g:700-700 rw+g:701-1003");
	says(vms_mprotect(g.mm, at(&g, 650), 350 * g.page, R | PROT_GROWSDOWN), 0);
	looks(&g, "-:600-600 r+g:601-999 rw+g:1000-1003");
}

static void test_fault_kinds(void **state)
{
	char path[] = "/tmp/vmspace-test-XXXXXX";
	int fd = mkstemp(path);

	unlink(path);
	assert_ok(ftruncate(fd, P + 1));
	map(&g, 0, 1, R);
	map_as(&g, 1, 4, RW, MAP_SHARED, fd, 0);
	close(fd);
	assert_int_equal(read_at(-1), VMS_MM_FAULT_MAPERR);
	assert_int_equal(read_at(0), VMS_MM_FAULT_NONE);
	assert_int_equal(vms_mm_fault(g.mm, at(&g, 0), VMS_PROT_WRITE), VMS_MM_FAULT_ACCERR);
	assert_int_equal(vms_mm_fault(g.mm, at(&g, 0), VMS_PROT_EXEC), VMS_MM_FAULT_ACCERR);
	assert_int_equal(read_at(2), VMS_MM_FAULT_NONE); /* partly a file */
	assert_int_equal(read_at(3), VMS_MM_FAULT_ADRERR);
	assert_int_equal(vms_mm_fault(g.mm, UINT64_MAX, VMS_PROT_READ), VMS_MM_FAULT_MAPERR);
}

/* ---- guard markers ---- */

static void guards_at(const char *text)
{
	int64_t first = 0;

	for (const char *p = text; *p; p++)
		assert_int_equal(read_at(first + (p - text)), *p == '#'	  ? VMS_MM_FAULT_MAPERR
							      : *p == '.' ? VMS_MM_FAULT_NONE
									  : VMS_MM_FAULT_MAPERR);
}

static void test_guard_markers(void **state)
{
	map(&g, 0, 8, RW);
	assert_ok(advise(2, 3, GUARD_INSTALL));
	looks(&g, "rw:0-7"); /* not a region */
	guards_at("..###...");
	assert_ok(advise(3, 1, GUARD_REMOVE));
	guards_at("..#.#...");
	assert_ok(protect(0, 8, R));
	assert_ok(advise(0, 8, MADV_DONTNEED));
	guards_at("..#.#...");
	assert_ok(protect(0, 8, RW));
	says(advise(0, 8, 22 /* POPULATE_READ */), -EFAULT);
	/* They move with their pages, and replace what was at the destination. */
	map(&g, 10, 8, RW);
	assert_ok(advise(10, 8, GUARD_INSTALL));
	says(remap(0, 4, 4, MREMAP_MAYMOVE | MREMAP_FIXED, 12), (int64_t)at(&g, 12));
	for (int64_t page = 10; page < 18; page++)
		assert_int_equal(read_at(page), page == 12 || page == 13 || page == 15
							? VMS_MM_FAULT_NONE
							: VMS_MM_FAULT_MAPERR);
	/* Gone with the mapping. */
	assert_ok(unmap(4, 1));
	map(&g, 4, 1, RW);
	assert_int_equal(read_at(4), VMS_MM_FAULT_NONE);
	/* Partly out of the moved part. */
	map(&g, 20, 4, RW);
	assert_ok(advise(20, 4, GUARD_INSTALL));
	says(remap(21, 2, 2, MREMAP_MAYMOVE | MREMAP_FIXED, 30), (int64_t)at(&g, 30));
	assert_int_equal(read_at(20), VMS_MM_FAULT_MAPERR);
	assert_int_equal(read_at(30), VMS_MM_FAULT_MAPERR);
	assert_int_equal(read_at(31), VMS_MM_FAULT_MAPERR);
	map(&g, 21, 2, RW);
	assert_int_equal(read_at(21), VMS_MM_FAULT_NONE);
	assert_int_equal(read_at(23), VMS_MM_FAULT_MAPERR);
	assert_ok(vms_mm_check(g.mm));
}

/* ---- the limit of regions ---- */

static void test_region_limit(void **state)
{
	int64_t n = 0;

	guest_drop(&g);
	guest_prepare(&g, GUEST_RECORD, 4096);
	g.pol.max_map_count = 10;
	guest_start(&g);
	map(&g, 0, 3, RW);
	for (n = 1; n < 10; n++)
		map(&g, n * 4, 3, RW);
	/* At the limit: no cut in the middle, all else. */
	says(unmap(1, 1), -ENOMEM);
	says(protect(1, 1, R), -ENOMEM);
	says(protect(0, 1, R), -ENOMEM);
	says(advise(0, 1, MADV_DONTFORK), -EAGAIN);
	assert_ok(unmap(0, 1));
	assert_ok(protect(1, 2, R));
	/* One more is allowed, a second is not; then nothing new, but whole regions may go. */
	map(&g, 100, 1, RW);
	says(vms_mmap(g.mm, at(&g, 200), g.page, RW, AT, -1, 0), -ENOMEM);
	says(remap(4, 3, 3, MREMAP_MAYMOVE | MREMAP_FIXED, 300), -ENOMEM);
	assert_ok(unmap(100, 1));
	assert_ok(unmap(4, 3));
	assert_ok(unmap(9, 1));
	looks(&g, "r:1-2 rw:8-8 rw:10-10 rw:12-14 rw:16-18 rw:20-22 rw:24-26 rw:28-30 rw:32-34 "
		  "rw:36-38");
}

/* ---- the text of the maps ---- */

static void line_is(uint64_t *cursor, const char *text, const char *name)
{
	char line[512], want[512];
	ssize_t len = vms_mm_maps_line(g.mm, cursor, line, sizeof(line));

	assert_true(len > 0);
	assert_int_equal((size_t)len, strlen(line));
	if (*name)
		snprintf(want, sizeof(want), "%-73s%s\n", text, name);
	else
		snprintf(want, sizeof(want), "%s \n", text);
	assert_string_equal(line, want);
}

static void test_maps_text(void **state)
{
	char text[256], dir[] = "/tmp/vmspace-test-XXXXXX", path[128], name[128], shown[128];
	uint64_t cursor = 0;
	struct vms_mm_region r = {.size = sizeof(r)};
	char line[128];
	int fd;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/a b\nc", dir);
	snprintf(shown, sizeof(shown), "%s/a b\\012c (deleted)", dir);
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	unlink(path);
	rmdir(dir);

	assert_ok(vms_mm_set_brk(g.mm, at(&g, 0)));
	says(vms_brk(g.mm, at(&g, 2)), (int64_t)at(&g, 2));
	map(&g, 4, 1, PROT_NONE);
	map_as(&g, 5, 2, R, MAP_PRIVATE, fd, (uint64_t)P);
	map_as(&g, 8, 2, RW, ANY | MAP_GROWSDOWN, -1, 0);
	assert_ok(vms_mm_set_stack(g.mm, at(&g, 9)));
	assert_ok(vms_mm_foreign(g.mm, at(&g, 20), g.page, R | X, VMS_MM_FOREIGN_WHOLE, "[vdso]"));
	close(fd);

	snprintf(text, sizeof(text), "%lx-%lx rw-p 00000000 00:00 0 ", (long)at(&g, 0),
		 (long)at(&g, 2));
	line_is(&cursor, text, "[heap]");
	snprintf(text, sizeof(text), "%lx-%lx ---p 00000000 00:00 0", (long)at(&g, 4),
		 (long)at(&g, 5));
	line_is(&cursor, text, "");
	r.start = 0;
	uint64_t here = cursor;
	assert_ok(vms_mm_next(g.mm, &here, &r));
	snprintf(text, sizeof(text), "%lx-%lx r--p 00001000 %02lx:%02lx %lu ", (long)at(&g, 5),
		 (long)at(&g, 7), (long)(r.dev >> 8 & 0xfff), (long)(r.dev & 0xff), (long)r.ino);
	snprintf(name, sizeof(name), "%s", shown);
	line_is(&cursor, text, name);
	snprintf(text, sizeof(text), "%lx-%lx rw-p 00000000 00:00 0 ", (long)at(&g, 8),
		 (long)at(&g, 10));
	line_is(&cursor, text, "[stack]");
	snprintf(text, sizeof(text), "%lx-%lx r-xp 00000000 00:00 0 ", (long)at(&g, 20),
		 (long)at(&g, 21));
	line_is(&cursor, text, "[vdso]");
	assert_int_equal(vms_mm_maps_line(g.mm, &cursor, line, sizeof(line)), 0);
	/* Too short a buffer says so and does not move on. */
	cursor = 0;
	assert_int_equal(vms_mm_maps_line(g.mm, &cursor, line, 20), -ERANGE);
	assert_int_equal(cursor, 0);
}

/* ---- counters ---- */

static void test_counters(void **state)
{
	struct vms_mm_info i = {.size = sizeof(i)};

	map(&g, 0, 4, RW);
	map(&g, 8, 2, R);
	map_as(&g, 16, 3, RW, ANY | MAP_GROWSDOWN, -1, 0);
	assert_ok(vms_mlock(g.mm, at(&g, 1), g.page));
	assert_ok(vms_mm_info(g.mm, &i));
	assert_int_equal(i.regions, 5);
	assert_int_equal(i.total, 9 * P);
	assert_int_equal(i.data, 4 * P);
	assert_int_equal(i.stack, 3 * P);
	assert_int_equal(i.locked, P);
	assert_ok(protect(0, 4, R));
	assert_ok(unmap(16, 3));
	assert_ok(vms_mm_info(g.mm, &i));
	assert_int_equal(i.total, 6 * P);
	assert_int_equal(i.data, 0);
	assert_int_equal(i.stack, 0);
}

/* ---- foreign regions ---- */

static void test_foreign(void **state)
{
	assert_ok(vms_mm_foreign(g.mm, at(&g, 0), g.page, R, VMS_MM_FOREIGN_FIXED, NULL));
	assert_ok(vms_mm_foreign(g.mm, at(&g, 1), 2 * g.page, R, VMS_MM_FOREIGN_WHOLE, "[vdso]"));
	assert_int_equal(vms_mm_foreign(g.mm, at(&g, 2), g.page, R, 0, NULL), -EEXIST);
	assert_int_equal(vms_mm_foreign(g.mm, at(&g, 5) + 1, g.page, R, 0, NULL), -EINVAL);
	assert_int_equal(vms_mm_foreign(g.mm, g.hi, g.page, R, 0, NULL), -EINVAL);
	says(unmap(0, 1), -EPERM);
	says(unmap(1, 1), -EINVAL);
	says(protect(0, 1, RW), -EPERM);
	says(vms_mmap(g.mm, at(&g, 0), g.page, RW, AT, -1, 0), -EPERM);
	looks(&g, "r+f:0-0 r+f:1-2");
	assert_ok(unmap(1, 2));
	looks(&g, "r+f:0-0");
}

/* ---- hostile arguments ---- */

static uint64_t nasty(unsigned i)
{
	const uint64_t values[] = {0,
				   1,
				   UINT64_MAX,
				   UINT64_MAX - 4095,
				   UINT64_MAX - 4094,
				   INT64_MAX,
				   UINT64_C(1) << 63,
				   at(&g, 0),
				   at(&g, 2),
				   at(&g, 2) + 1,
				   g.page,
				   g.page - 1,
				   4 * g.page,
				   g.lo,
				   g.hi,
				   g.hi - g.page,
				   UINT64_MAX - at(&g, 0),
				   UINT64_MAX - at(&g, 0) + 1};

	return values[i % (sizeof(values) / sizeof(values[0]))];
}

#define NASTY 18u

static void stage(void)
{
	says(vms_munmap(g.mm, g.lo, g.hi - g.lo), 0);
	map(&g, 0, 4, RW);
	map(&g, 6, 1, R);
	map_as(&g, 8, 2, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static void test_hostile(void **state)
{
	static const uint64_t flags[] = {AT, ANY, UINT64_MAX, MAP_SHARED | MAP_ANONYMOUS,
					 ANY | MAP_32BIT};
	unsigned char vec[64];

	for (unsigned i = 0; i < NASTY; i++) {
		for (unsigned j = 0; j < NASTY; j++) {
			stage();
			for (size_t f = 0; f < sizeof(flags) / sizeof(flags[0]); f++)
				vms_mmap(g.mm, nasty(i), nasty(j), nasty(i + j), flags[f], -1,
					 nasty(j + 1));
			assert_ok(vms_mm_check(g.mm));
			stage();
			for (unsigned k = 0; k < NASTY; k++) {
				vms_mremap(g.mm, nasty(i), nasty(j), nasty(k), k % 8, nasty(j + k));
				vms_mremap(g.mm, at(&g, 0), nasty(i), nasty(j), 1 + k % 8,
					   nasty(k));
			}
			assert_ok(vms_mm_check(g.mm));
			stage();
			vms_mprotect(g.mm, nasty(i), nasty(j), 1);
			vms_mprotect(g.mm, nasty(i), nasty(j), UINT64_MAX);
			vms_mlock2(g.mm, nasty(i), nasty(j), 1);
			vms_munlock(g.mm, nasty(i), nasty(j));
			vms_msync(g.mm, nasty(i), nasty(j), MS_SYNC);
			for (int advice = -1; advice < 110; advice++)
				vms_madvise(g.mm, nasty(i), nasty(j), advice);
			if (nasty(j) <= sizeof(vec) * g.page)
				vms_mincore(g.mm, nasty(i), nasty(j), vec, NULL);
			vms_brk(g.mm, nasty(i));
			vms_munmap(g.mm, nasty(i), nasty(j));
			assert_ok(vms_mm_check(g.mm));
		}
		vms_mm_fault(g.mm, nasty(i), 7);
		vms_mm_set_brk(g.mm, nasty(i));
		assert_ok(vms_mm_check(g.mm));
	}
	vms_mmap(g.mm, 0, g.page, RW, MAP_PRIVATE, INT32_MIN, 0);
	vms_mmap(g.mm, 0, g.page, RW, MAP_PRIVATE, INT32_MAX, 0);
	for (unsigned i = 0; i < NASTY; i++)
		vms_mseal(g.mm, nasty(i), nasty(i + 3), 0);
	assert_ok(vms_mm_check(g.mm));
}

static void refused(const struct vms_mm_policy *pol)
{
	struct vms_mm *mm = NULL;

	assert_int_equal(vms_mm_create(pol, g.mmu, &mm), -EINVAL);
	assert_true(vms_last_error()[0] != '\0');
}

static void test_bad_policies(void **state)
{
	struct vms_mm_policy pol;
	struct vms_mm_region r = {.size = 1};
	struct vms_mm_info i = {.size = 1};
	struct vms_mm_limit l = {2, 1};
	uint64_t cursor = 0;

#define BAD(change)            \
	do {                   \
		pol = g.pol;   \
		change;        \
		refused(&pol); \
	} while (0)
	refused(NULL);
	BAD(pol.size = 8);
	BAD(pol.flags = 1u << 31);
	BAD(pol.page_size = 0);
	BAD(pol.page_size = 2048);
	BAD(pol.page_size = 12288);
	BAD(pol.min_addr += 1);
	BAD(pol.min_addr = pol.task_size);
	BAD(pol.mmap_base = pol.task_size + g.page);
	BAD(pol.huge_size = 3 << 20);
#undef BAD
	assert_int_equal(vms_mm_next(g.mm, &cursor, &r), -EINVAL);
	assert_int_equal(vms_mm_info(g.mm, &i), -EINVAL);
	assert_int_equal(vms_mm_set_limit(g.mm, VMS_MM_LIMIT_AS, l), -EINVAL);
	assert_int_equal(vms_mm_set_limit(g.mm, VMS_MM_LIMITS, (struct vms_mm_limit){1, 1}),
			 -EINVAL);
	assert_int_equal(vms_mm_set_brk(g.mm, UINT64_MAX), -EINVAL);
	assert_int_equal(vms_mm_set_stack(g.mm, UINT64_MAX), -EINVAL);
	vms_mm_destroy(NULL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_cut_and_join),
		T(test_what_keeps_regions_apart),
		T(test_anonymous_identity),
		T(test_files_join_by_open_file),
		T(test_placement),
		T(test_remap),
		T(test_brk),
		T(test_growth),
		T(test_fault_kinds),
		T(test_guard_markers),
		T(test_region_limit),
		T(test_maps_text),
		T(test_counters),
		T(test_foreign),
		T(test_hostile),
		T(test_bad_policies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
