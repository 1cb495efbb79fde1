// SPDX-License-Identifier: MIT
/* The lowest layer: ranges, errors, trace names, locks, and the real host. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/lock.h"
#include "base/range.h"
#include "base/trace.h"
#include "base/world.h"
#include "check.h"
#include "vms_config.h"
#include "vmspace/vmspace.h"

static void range_last_never_wraps(void **state)
{
	uint64_t last;

	assert_false(range_last(0, 0, &last));
	assert_false(range_last(UINT64_MAX, 2, &last));
	assert_true(range_last(1, UINT64_MAX, &last) && last == UINT64_MAX);
	assert_true(range_last(0, 1, &last) && last == 0);
	assert_true(range_last(UINT64_MAX, 1, &last) && last == UINT64_MAX);
	assert_true(range_last(UINT64_MAX - 4095, 4096, &last) && last == UINT64_MAX);
	assert_true(range_last(0, UINT64_MAX, &last) && last == UINT64_MAX - 1);
	assert_false(range_last(UINT64_MAX - 4095, 4097, &last));
}

static void ranges_overlap_at_a_byte(void **state)
{
	assert_true(range_overlaps(0, 9, 9, 20));
	assert_false(range_overlaps(0, 9, 10, 20));
	assert_true(range_overlaps(5, 5, 0, UINT64_MAX));
	assert_true(range_overlaps(UINT64_MAX, UINT64_MAX, 0, UINT64_MAX));
	assert_false(range_overlaps(UINT64_MAX, UINT64_MAX, 0, UINT64_MAX - 1));
}

static void alignment(void **state)
{
	assert_int_equal(align_down(0x1fff, 0x1000), 0x1000);
	assert_int_equal(align_up(0x1001, 0x1000), 0x2000);
	assert_int_equal(align_up(0x1000, 0x1000), 0x1000);
	assert_int_equal(align_up(UINT64_MAX, 0x1000), 0);
	assert_true(is_pow2(1) && is_pow2(UINT64_C(1) << 63));
	assert_false(is_pow2(0) || is_pow2(3));
	assert_true(is_aligned(0x3000, 0x1000));
	assert_false(is_aligned(0x3001, 0x1000));
}

static void fail_keeps_the_sentence(void **state)
{
	char sent[1000];

	assert_int_equal(fail(-EINVAL, "range %#x", 0x1234), -EINVAL);
	assert_string_equal(vms_last_error(), "range 0x1234");
	/* A long one is cut, not spilt. */
	memset(sent, 'x', sizeof(sent) - 1);
	sent[sizeof(sent) - 1] = '\0';
	assert_int_equal(fail(-ENOMEM, "%s", sent), -ENOMEM);
	assert_true(strlen(vms_last_error()) < 256);
	assert_string_equal(vms_version(), VMS_VERSION);
}

static void trace_events_have_names(void **state)
{
	assert_string_equal(trace_event_name(TRACE_backend_map), "backend_map");
	assert_null(trace_event_name(TRACE_EVENTS));
	for (unsigned i = 0; i < TRACE_EVENTS; i++)
		for (unsigned k = 0; k < i; k++)
			assert_string_not_equal(trace_event_name(i), trace_event_name(k));
}

/* ---- locks ---- */

static void locks_in_order(void **state) UNCHECKED_LOCKS
{
	struct lock a, b;

	lock_init(&a, LOCK_SPACE, "a");
	lock_init(&b, LOCK_OBJECT, "b");
	for (int i = 0; i < 3; i++) {
		lock_take(&a);
		lock_take(&b);
		/* In any order. */
		lock_drop(i & 1 ? &a : &b);
		lock_drop(i & 1 ? &b : &a);
	}
	lock_take(&b);
	lock_drop(&b);
	lock_fini(&a);
	lock_fini(&b);
}

static void a_child_gets_a_fresh_lock(void **state) UNCHECKED_LOCKS
{
	struct lock a;
	int status;
	pid_t pid;

	lock_init(&a, LOCK_SPACE, "a");
	lock_take(&a);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		alarm(5); /* a lock that is still held would hang */
		lock_reset_in_child(&a);
		lock_take(&a);
		lock_drop(&a);
		_exit(0);
	}
	lock_drop(&a);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	lock_fini(&a);
}

#if VMS_DEBUG_LOCKS

/* The signal that a child dies of which takes and drops locks wrongly. */
static int fate(void (*wrong)(struct lock *a, struct lock *b))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct rlimit none = { 0, 0 };
		struct lock a, b;

		setrlimit(RLIMIT_CORE, &none);
		signal(SIGABRT, SIG_DFL);
		freopen("/dev/null", "w", stderr);
		lock_init(&a, LOCK_SPACE, "a");
		lock_init(&b, LOCK_OBJECT, "b");
		wrong(&a, &b);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void backwards(struct lock *a, struct lock *b) UNCHECKED_LOCKS
{
	lock_take(b);
	lock_take(a);
}

static void twice(struct lock *a, struct lock *b) UNCHECKED_LOCKS
{
	lock_take(a);
	lock_take(a);
}

static void unheld(struct lock *a, struct lock *b) UNCHECKED_LOCKS
{
	lock_drop(a);
}

static void wrong_order_stops_the_program(void **state)
{
	assert_int_equal(fate(backwards), SIGABRT);
	assert_int_equal(fate(twice), SIGABRT);
	assert_int_equal(fate(unheld), SIGABRT);
}

#else

static void wrong_order_stops_the_program(void **state)
{
	print_message("needs a build with -Ddebug_locks=true\n");
	skip();
}

#endif

/* ---- the real host ---- */

static void host_errors_are_results(void **state)
{
	const struct world *w = &world_host;
	char buf[8];
	unsigned char vec;
	struct stat st;
	uint64_t type, page = (uint64_t)sysconf(_SC_PAGESIZE);
	bool noexec;

	errno = 0;
	assert_int_equal(w->mmap(w, 0, 0, 0, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), -EINVAL);
	assert_int_equal(w->munmap(w, 1, page), -EINVAL);
	assert_int_equal(w->mprotect(w, 1, page, 0), -EINVAL);
	assert_int_equal(w->mremap(w, 1, page, page, 0, 0), -EINVAL);
	assert_int_equal(w->madvise(w, page, page, 9999), -EINVAL);
	assert_int_equal(w->msync(w, page, page, 9999), -EINVAL);
	assert_int_equal(w->mincore(w, 1, page, &vec), -EINVAL);
	assert_int_equal(w->fstat(w, -1, &st), -EBADF);
	assert_int_equal(w->fs_type(w, -1, &type, &noexec), -EBADF);
	assert_int_equal(w->fd_seals(w, -1), -EBADF);
	assert_int_equal(w->fd_flags(w, -1), -EBADF);
	assert_int_equal(w->fd_dup(w, -1), -EBADF);
	assert_true(w->fd_same(w, -1, -1) < 0);
	assert_true(w->fd_path(w, -1, buf, sizeof(buf)) < 0);
	assert_int_equal(w->fd_path(w, 0, buf, 0), -EINVAL);
}

static void host_memory_calls(void **state)
{
	const struct world *w = &world_host;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	int64_t at = w->mmap(w, 0, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);
	int64_t to;
	unsigned char vec[2];
	char *p;

	assert_true(at > 0);
	p = (char *)(uintptr_t)at;
	p[0] = 7;
	assert_ok(w->mincore(w, (uint64_t)at, 2 * page, vec));
	assert_int_equal(vec[0] & 1, 1);
	assert_ok(w->mlock(w, (uint64_t)at, page, 0));
	assert_ok(w->mlock(w, (uint64_t)at, page, 1));
	assert_ok(w->munlock(w, (uint64_t)at, page));
	assert_ok(w->msync(w, (uint64_t)at, page, MS_ASYNC));
	to = w->mremap(w, (uint64_t)at, 2 * page, 2 * page, MREMAP_MAYMOVE | 4 /* DONTUNMAP */, 0);
	assert_int_not_equal(to, at);
	assert_true(to > 0);
	assert_int_equal(*(char *)(uintptr_t)to, 7);
	assert_int_equal(p[0], 0);
	assert_ok(w->madvise(w, (uint64_t)to, page, MADV_DONTNEED));
	assert_ok(w->mprotect(w, (uint64_t)to, page, PROT_NONE));
	assert_ok(w->munmap(w, (uint64_t)to, 2 * page));
	assert_ok(w->munmap(w, (uint64_t)at, 2 * page));
	assert_int_equal(w->mincore(w, (uint64_t)at, page, vec), -ENOMEM);
}

static void host_regions_have_bounds(void **state)
{
	const struct world *w = &world_host;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), start, end;
	int64_t at = w->mmap(w, 0, 5 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t p = (uint64_t)at;
	int maps = w->maps_open(w);

	assert_true(at > 0 && maps >= 0);
	assert_ok(w->mprotect(w, p + page, 2 * page, PROT_READ));
	assert_ok(w->munmap(w, p + 4 * page, page));
	if (w->region(w, maps, p, &start, &end) == -ENOTTY) {
		print_message("the kernel is older than 6.11\n");
		skip();
	}
	assert_ok(w->region(w, maps, p + 2 * page, &start, &end));
	assert_int_equal(start, p + page);
	assert_int_equal(end, p + 3 * page);
	assert_int_equal(w->region(w, maps, p + 4 * page, &start, &end), -ENOENT);
	assert_ok(w->munmap(w, p, 4 * page));
	w->fd_close(w, maps);
}

static void host_descriptors(void **state)
{
	const struct world *w = &world_host;
	int a = open("/dev/null", O_RDONLY), b = open("/dev/null", O_RDONLY), c;
	char path[64];

	c = w->fd_dup(w, a);
	assert_true(a >= 0 && b >= 0 && c >= 0);
	assert_true(fcntl(c, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(w->fd_same(w, a, c), 1);
	assert_int_equal(w->fd_same(w, a, b), 0);
	assert_int_equal(w->fd_flags(w, a) & O_ACCMODE, O_RDONLY);
	assert_ok(w->fd_path(w, a, path, sizeof(path)));
	assert_string_equal(path, "/dev/null");
	assert_ok(w->fd_path(w, a, path, 5)); /* cut */
	assert_string_equal(path, "/dev");
	w->fd_close(w, a);
	w->fd_close(w, b);
	w->fd_close(w, c);
	assert_int_equal(w->fd_flags(w, c), -EBADF);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(range_last_never_wraps),
		cmocka_unit_test(ranges_overlap_at_a_byte),
		cmocka_unit_test(alignment),
		cmocka_unit_test(fail_keeps_the_sentence),
		cmocka_unit_test(trace_events_have_names),
		cmocka_unit_test(locks_in_order),
		cmocka_unit_test(a_child_gets_a_fresh_lock),
		cmocka_unit_test(wrong_order_stops_the_program),
		cmocka_unit_test(host_errors_are_results),
		cmocka_unit_test(host_memory_calls),
		cmocka_unit_test(host_regions_have_bounds),
		cmocka_unit_test(host_descriptors),
	};

	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
