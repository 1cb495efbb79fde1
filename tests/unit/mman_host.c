// SPDX-License-Identifier: MIT
/*
 * Memory calls over the host's page tables: what the bytes do, the fork bracket around a real fork,
 * guest pages larger than the host's. Every test runs with real holes and in a reserved window.
 */
#include "mman_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "snap.h"
#include "window.h"

static struct guest g;

static void put(int64_t page, char c)
{
	memset(mem(&g, page), c, g.page);
}

/* Every byte of the page is c. */
static void has(int64_t page, char c)
{
	const char *p = mem(&g, page);

	for (uint64_t i = 0; i < g.page; i++)
		if (p[i] != c) {
			print_error("page %ld, byte %lu: %d, expected %d\n", (long)page, (long)i,
				    p[i], c);
			assert_int_equal(p[i], c);
		}
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

/* ---- contents ---- */

static void contents(void)
{
	map(&g, 0, 6, RW);
	for (int64_t i = 0; i < 6; i++) {
		has(i, 0);
		put(i, (char)('a' + i));
	}
	/* Rights come and go, bytes stay. */
	assert_ok(vms_mprotect(g.mm, at(&g, 2), g.page, PROT_NONE));
	assert_int_equal(touch_read(mem(&g, 2)), SIGSEGV);
	assert_int_equal(touch_read(mem(&g, 1)), 0);
	assert_ok(vms_mprotect(g.mm, at(&g, 2), g.page, R));
	has(2, 'c');
	assert_int_equal(touch_write(mem(&g, 2)), SIGSEGV);
	/* So do they over a move, of one region and of several. */
	says(remap(0, 2, 2, MREMAP_MAYMOVE | MREMAP_FIXED, 10), (int64_t)at(&g, 10));
	has(10, 'a');
	has(11, 'b');
	assert_int_equal(touch_read(mem(&g, 0)), SIGSEGV);
	says(remap(2, 4, 4, MREMAP_MAYMOVE | MREMAP_FIXED, 20), (int64_t)at(&g, 20));
	has(20, 'c');
	has(23, 'f');
	/* Growing in place and by moving: zeroes behind. */
	says(remap(10, 2, 4, 0, 0), (int64_t)at(&g, 10));
	has(11, 'b');
	has(13, 0);
	map(&g, 14, 1, R);
	assert_true(remap(10, 4, 6, MREMAP_MAYMOVE, 0) > 0);
	assert_int_equal(touch_read(mem(&g, 10)), SIGSEGV);
	/* DONTNEED and the heap forget. */
	map(&g, 30, 2, RW);
	put(30, 'x');
	put(31, 'y');
	assert_ok(advise(30, 1, MADV_DONTNEED));
	has(30, 0);
	has(31, 'y');
	/* A replaced mapping is new. */
	map(&g, 31, 1, RW);
	has(31, 0);
	/* DONTUNMAP leaves zeroes. */
	put(30, 'x');
	says(remap(30, 1, 1, MREMAP_MAYMOVE | MREMAP_DONTUNMAP | MREMAP_FIXED, 40),
	     (int64_t)at(&g, 40));
	has(30, 0);
	has(40, 'x');
	/* Shared memory seen twice. */
	map_as(&g, 50, 2, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	put(51, 's');
	says(remap(50, 0, 2, MREMAP_MAYMOVE | MREMAP_FIXED, 60), (int64_t)at(&g, 60));
	has(61, 's');
	put(60, 't');
	has(50, 't');
	assert_ok(vms_mm_check(g.mm));
}

static void heap(void)
{
	assert_ok(vms_mm_set_brk(g.mm, at(&g, 0) + 16));
	says(vms_brk(g.mm, at(&g, 2)), (int64_t)at(&g, 2));
	put(1, 'h');
	says(vms_brk(g.mm, at(&g, 1) + 8), (int64_t)at(&g, 1) + 8);
	has(1, 'h'); /* inside one page nothing goes */
	says(vms_brk(g.mm, at(&g, 1)), (int64_t)at(&g, 1));
	says(vms_brk(g.mm, at(&g, 2)), (int64_t)at(&g, 2));
	has(1, 0);
}

/* ---- files ---- */

static void file_tail(uint64_t bytes)
{
	int fd = file_make(bytes);
	int64_t pages = (int64_t)((bytes + g.page - 1) / g.page);
	char *p;

	map_as(&g, 0, (uint64_t)pages + 2, RW, MAP_PRIVATE, fd, 0);
	p = mem(&g, 0);
	for (uint64_t i = 0; i < (uint64_t)pages * g.page; i++)
		if ((unsigned char)p[i] != (i < bytes ? file_byte(i) : 0)) {
			print_error("byte %lu of a file of %lu\n", (long)i, (long)bytes);
			assert_int_equal((unsigned char)p[i], i < bytes ? file_byte(i) : 0);
		}
	assert_int_equal(touch_read(mem(&g, pages)), SIGBUS);
	assert_int_equal(touch_read(mem(&g, pages + 1)), SIGBUS);
	/* The last guest page is as one: rights, moves and bytes. */
	p = mem(&g, pages - 1);
	p[g.page - 1] = 'z';
	assert_ok(vms_mprotect(g.mm, at(&g, pages - 1), g.page, R));
	assert_int_equal(touch_write(p + g.page - 1), SIGSEGV);
	says(remap(pages - 1, 1, 1, MREMAP_MAYMOVE | MREMAP_FIXED, 100), (int64_t)at(&g, 100));
	assert_int_equal(mem(&g, 100)[g.page - 1], 'z');
	assert_int_equal((unsigned char)mem(&g, 100)[0], file_byte((uint64_t)(pages - 1) * g.page));
	assert_int_equal(touch_read(p), SIGSEGV);
	assert_ok(vms_munmap(g.mm, at(&g, 0), 128 * g.page));
	close(fd);
	assert_ok(vms_mm_check(g.mm));
}

static void files(void)
{
	char word[4] = "";
	int fd;

	file_tail(1);
	file_tail(g.page);
	file_tail(g.page + 1);
	file_tail(2 * g.page - 1);
	file_tail(g.page + (uint64_t)sysconf(_SC_PAGESIZE));
	/* Shared is the file itself. */
	fd = file_make(2 * g.page);
	map_as(&g, 0, 2, RW, MAP_SHARED, fd, 0);
	memcpy(mem(&g, 1), "abc", 3);
	says(vms_msync(g.mm, at(&g, 0), 2 * g.page, MS_SYNC), 0);
	assert_int_equal(pread(fd, word, 3, (off_t)g.page), 3);
	assert_string_equal(word, "abc");
	assert_int_equal(pwrite(fd, "xyz", 3, 0), 3);
	assert_memory_equal(mem(&g, 0), "xyz", 3);
	/* A private one goes back to the file's bytes. */
	map_as(&g, 10, 2, RW, MAP_PRIVATE, fd, 0);
	memcpy(mem(&g, 10), "123", 3);
	assert_ok(advise(10, 1, MADV_DONTNEED));
	assert_memory_equal(mem(&g, 10), "xyz", 3);
	close(fd);
}

/* ---- fork ---- */

/* The child's half runs here; it says what went wrong by its status. */
static void forked(void (*in_child)(void))
{
	int status;
	pid_t pid;

	assert_ok(vms_mm_fork_begin(g.mm));
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		vms_mm_fork_child(g.mm);
		in_child();
		_exit(vms_mm_check(g.mm) == 0 ? 0 : 99);
	}
	vms_mm_fork_parent(g.mm);
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_ok(vms_mm_check(g.mm));
}

#define CHILD(cond)                                                   \
	do {                                                          \
		if (!(cond))                                          \
			_exit(__LINE__ & 0x7f ? __LINE__ & 0x7f : 1); \
	} while (0)

static void in_child(void)
{
	/* DONTFORK's region is not there, in our eyes and in the host's. */
	CHILD(strcmp(picture(&g), "rw:0-1 rw:4-5 rw+s:6-6 rw:8-8 rw:10-13") == 0);
	CHILD(touch_read(mem(&g, 2)) == SIGSEGV);
	CHILD(mem(&g, 0)[0] == 'p' && mem(&g, 4)[0] == 0 && mem(&g, 8)[0] == 'l');
	mem(&g, 0)[0] = 'c';
	mem(&g, 6)[0] = 'c';
	/* The lock that was held is free, and calls work: what was forked merges with no new one.
	 */
	CHILD(vms_mmap(g.mm, at(&g, 9), g.page, RW, AT, -1, 0) == (int64_t)at(&g, 9));
	CHILD(strstr(picture(&g), "rw:8-8 rw:9-13") != NULL);
	CHILD(vms_munmap(g.mm, at(&g, 0), 20 * g.page) == 0);
	CHILD(picture(&g)[0] == '\0');
	/* The hole that DONTFORK left can be mapped again. */
	CHILD(vms_mmap(g.mm, at(&g, 2), 2 * g.page, RW, AT, -1, 0) == (int64_t)at(&g, 2));
	CHILD(mem(&g, 2)[0] == 0);
}

static void fork_bracket(void)
{
	map(&g, 0, 2, RW);
	map(&g, 2, 2, RW);
	map(&g, 4, 2, RW);
	map_as(&g, 6, 1, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	map(&g, 8, 1, RW);
	map(&g, 10, 4, RW);
	assert_ok(advise(2, 2, MADV_DONTFORK));
	assert_ok(advise(4, 2, MADV_WIPEONFORK));
	for (int64_t page = 0; page < 6; page++) {
		put(page, 'p');
		touch(&g, page);
		put(page, 'p');
	}
	put(6, 'p');
	touch(&g, 8);
	put(8, 'l');
	vms_mlock(g.mm, at(&g, 8), g.page); /* the host may refuse; the mark is what matters */
	looks(&g, "rw:0-1 rw:2-3 rw:4-5 rw+s:6-6 rw+l:8-8 rw:10-13");
	forked(in_child);
	looks(&g, "rw:0-1 rw:2-3 rw:4-5 rw+s:6-6 rw+l:8-8 rw:10-13");
	has(0, 'p');
	has(4, 'p');
	assert_int_equal(mem(&g, 6)[0], 'c'); /* shared */
	/* The parent's own memory still merges. */
	map(&g, 9, 1, RW);
	says(vms_munlock(g.mm, at(&g, 8), g.page), 0);
	map(&g, 9, 1, RW);
	assert_non_null(strstr(picture(&g), "rw:8-"));
}

static void wiped_again(void)
{
	CHILD(mem(&g, 0)[0] == 0);
}

static void child_wipes(void)
{
	CHILD(mem(&g, 0)[0] == 0);
	mem(&g, 0)[0] = 'x';
	forked(wiped_again);
}

static void wipe_in_grandchild(void)
{
	map(&g, 0, 1, RW);
	assert_ok(advise(0, 1, MADV_WIPEONFORK));
	put(0, 'w');
	forked(child_wipes);
	has(0, 'w');
}

/* ---- guard markers and growth in the host ---- */

static void guards(void)
{
	map(&g, 0, 4, RW);
	put(1, 'g');
	if (advise(1, 1, GUARD_INSTALL) != 0)
		return; /* the host's kernel has none */
	assert_int_equal(touch_read(mem(&g, 1)), SIGSEGV);
	assert_int_equal(touch_read(mem(&g, 0)), 0);
	says(remap(0, 4, 4, MREMAP_MAYMOVE | MREMAP_FIXED, 10), (int64_t)at(&g, 10));
	assert_int_equal(touch_read(mem(&g, 11)), SIGSEGV);
	assert_int_equal(vms_mm_fault(g.mm, at(&g, 11), VMS_PROT_READ), VMS_MM_FAULT_MAPERR);
	assert_ok(advise(10, 4, GUARD_REMOVE));
	has(11, 0);
}

static void growth(void)
{
	map_as(&g, 1000, 2, RW, ANY | MAP_GROWSDOWN, -1, 0);
	/* Either the host grows it by itself and we notice, or the fault asks us. */
	if (touch_write(mem(&g, 990)) != 0)
		assert_int_equal(vms_mm_fault(g.mm, at(&g, 990), VMS_PROT_WRITE),
				 VMS_MM_FAULT_NONE);
	assert_int_equal(touch_write(mem(&g, 990)), 0);
	looks(&g, "rw+g:990-1001");
	has(991, 0);
	assert_int_equal(touch_read(mem(&g, 900)), g.kind == GUEST_HOLES ? 0 : SIGSEGV);
	says(vms_munmap(g.mm, at(&g, 600), 500 * g.page), 0);
	looks(&g, "");
	assert_int_equal(touch_read(mem(&g, 1000)), SIGSEGV);
}

/*
 * The host grows by its own pages. What it reached of the guest's page is completed in time, keeps
 * what was written, and grows on; two regions of which one is in parts each find their own.
 */
static void growth_by_host_pages(void)
{
	char *last = mem(&g, 995) + g.page - 1;

	if (g.kind != GUEST_HOLES)
		return;
	map_as(&g, 1000, 2, RW, ANY | MAP_GROWSDOWN, -1, 0);
	map_as(&g, 500, 2, RW, ANY | MAP_GROWSDOWN | MAP_NORESERVE, -1, 0);
	assert_int_equal(touch_write(last), 0);
	*last = 'x';
	assert_int_equal(touch_write(mem(&g, 498) + g.page / 2), 0);
	looks(&g, "rw+g:498-501 rw+g:995-1001");
	assert_int_equal(*last, 'x');
	assert_int_equal(*mem(&g, 995), 0);
	assert_int_equal(*mem(&g, 498), 0);
	/* Not looked at in between: the page is grown into twice, then cut off from below. */
	assert_int_equal(touch_write(mem(&g, 990) + g.page - 1), 0);
	assert_int_equal(touch_write(mem(&g, 990)), 0);
	says(vms_munmap(g.mm, at(&g, 991), g.page), 0);
	looks(&g, "rw+g:498-501 rw+g:990-990 rw+g:992-1001");
	/* The part above grows until it meets the one below. */
	assert_int_equal(touch_read(mem(&g, 991) + g.page - 1), 0);
	looks(&g, "rw+g:498-501 rw+g:990-990 rw+g:991-1001");
	assert_int_equal(*mem(&g, 991), 0);
	assert_int_equal(touch_write(mem(&g, 989) + g.page - 1), 0);
	says(vms_mprotect(g.mm, at(&g, 989), g.page, R), 0);
	looks(&g, "rw+g:498-501 r+g:989-989 rw+g:990-990 rw+g:991-1001");
	assert_int_equal(touch_write(mem(&g, 989)), SIGSEGV);
	/* A host that will not complete it fails the call; the next one sees to it. */
	assert_int_equal(touch_write(mem(&g, 490) + g.page - 1), 0);
	if (g.page != (uint64_t)sysconf(_SC_PAGESIZE)) {
		g.world.fail_mask = 1u << CALL_MMAP;
		g.world.fail_err = ENOMEM;
		g.world.fail_at = 1;
		says(vms_munmap(g.mm, at(&g, 600), g.page), -ENOMEM);
		assert_int_equal(g.world.failed, 1);
	}
	says(vms_munmap(g.mm, at(&g, 600), g.page), 0);
	looks(&g, "rw+g:490-501 r+g:989-989 rw+g:990-990 rw+g:991-1001");
	assert_int_equal(*mem(&g, 490), 0);
}

/* ---- every test in every window and page size ---- */

static void everywhere(void (*test)(void))
{
	static const uint64_t pages[] = {0, 16384, 65536};

	for (enum guest_kind kind = GUEST_HOLES; kind <= GUEST_WINDOW; kind++) {
		for (size_t i = 0; i < 3; i++) {
			guest_prepare(&g, kind, pages[i]);
			g.pol.flags |= VMS_MM_CAP_IPC_LOCK;
			guest_start(&g);
			test();
			guest_drop(&g);
		}
	}
}

#define EVERYWHERE(f)                      \
	static void test_##f(void **state) \
	{                                  \
		everywhere(f);             \
	}

EVERYWHERE(contents)
EVERYWHERE(heap)
EVERYWHERE(files)
EVERYWHERE(fork_bracket)
EVERYWHERE(wipe_in_grandchild)
EVERYWHERE(guards)
EVERYWHERE(growth)
EVERYWHERE(growth_by_host_pages)

/* Lengths, addresses and offsets are of the guest's pages, not the host's. */
static void test_guest_pages(void **state)
{
	int fd = file_make(100000);

	guest_make(&g, GUEST_WINDOW, 65536);
	says(vms_mmap(g.mm, at(&g, 0) + 4096, 4096, RW, AT, -1, 0), -EINVAL);
	says(vms_mmap(g.mm, at(&g, 0), 4096, R, MAP_PRIVATE | MAP_FIXED, fd, 4096), -EINVAL);
	says(vms_mmap(g.mm, at(&g, 0), 4096, R, MAP_PRIVATE | MAP_FIXED, fd, 65536),
	     (int64_t)at(&g, 0));
	looks(&g, "r+F:0-0");
	assert_int_equal((unsigned char)mem(&g, 0)[0], file_byte(65536));
	assert_int_equal(mem(&g, 0)[65535], 0);
	says(vms_munmap(g.mm, at(&g, 0) + 4096, 4096), -EINVAL);
	says(vms_mprotect(g.mm, at(&g, 0) + 4096, 4096, RW), -EINVAL);
	says(vms_munmap(g.mm, at(&g, 0), 1), 0);
	looks(&g, "");
	guest_drop(&g);
	close(fd);
}

/* What is left of the window's memory when the guest is gone: nothing. */
static void test_nothing_stays(void **state)
{
	for (enum guest_kind kind = GUEST_HOLES; kind <= GUEST_WINDOW; kind++) {
		int64_t before = mapped_pages();

		guest_make(&g, kind, 0);
		map(&g, 0, 100, RW);
		put(50, 'x');
		map_as(&g, 200, 3, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		remap(0, 50, 50, MREMAP_MAYMOVE | MREMAP_FIXED, 300);
		guest_drop(&g);
		assert_true(mapped_pages() <= before + 64); /* malloc may have grown */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_contents),
		cmocka_unit_test(test_heap),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_fork_bracket),
		cmocka_unit_test(test_wipe_in_grandchild),
		cmocka_unit_test(test_guards),
		cmocka_unit_test(test_growth),
		cmocka_unit_test(test_growth_by_host_pages),
		cmocka_unit_test(test_guest_pages),
		cmocka_unit_test(test_nothing_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
