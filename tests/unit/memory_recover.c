// SPDX-License-Identifier: MIT
/*
 * Memory whose backing is gone: every access answers -EFAULT and counts what it did, sections end,
 * and faults of others stay theirs. Each case runs in a child, as a fault that is not recovered ends it.
 */
#include "check.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "access_kit.h"
#include "files.h"
#include "memory/touch.h"

#define AT   UINT64_C(0x100000)
#define GONE (AT + 2 * PG) /* from here on */

static struct kit *k;
static unsigned char buf[16 * 4096];
static atomic_int handled, foreign;
static sigjmp_buf escape;
static bool in_foreign;

static void on_fault(int sig, siginfo_t *info, void *context)
{
	if (vms_recover_fault(sig, info, context)) {
		atomic_fetch_add(&handled, 1);
		return;
	}
	atomic_fetch_add(&foreign, 1);
	if (in_foreign)
		siglongjmp(escape, 1);
	_exit(66);
}

#define want(cond)                                                         \
	do {                                                               \
		if (!(cond)) {                                             \
			fprintf(stderr, "line %d: %s\n", __LINE__, #cond); \
			_exit(1);                                          \
		}                                                          \
	} while (0)

static bool is(struct vms_done r, size_t done, int status)
{
	if (r.done != done || r.status != status)
		fprintf(stderr, "%zu done, status %d\n", r.done, r.status);
	return r.done == done && r.status == status;
}

/* 4 pages of a file of 4 pages, of which 2 are cut off. */
static struct vms_block *map_file(int *file)
{
	struct vms_block_params p = { .size = sizeof(p), .kind = VMS_BLOCK_FILE };
	struct vms_block *b;
	int fd = file_of(4 * PG, 0x41);

	p.fd = fd;
	assert_ok(vms_block_create(k->mem, &p, &b));
	kit_map(k, AT, 4, b, 0, VMS_SLOT_RAM);
	*file = fd;
	return b;
}

static void prepare(void)
{
	struct sigaction act = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

	want(sigaction(SIGBUS, &act, NULL) == 0 && sigaction(SIGSEGV, &act, NULL) == 0);
	vms_recover_enable(true);
}

/* fn in a child, with the file cut off; it returns 0. */
static void in_child(void **state, void (*fn)(void))
{
	struct vms_block *b;
	int file, status;
	pid_t pid;

	k = kit_of(state);
	b = map_file(&file);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		want(ftruncate(file, 2 * (off_t)PG) == 0);
		prepare();
		fn();
		want(!epoch_inside());
		/* The lock, too, is free, and the memory as whole as ever. */
		want(vms_memory_check(k->mem) == 0);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		print_error("child: status %#x\n", status);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	kit_unmap(k, AT, 4);
	vms_block_unref(b);
	close(file);
}

/* ---- Bytes ---- */

static void bytes(void)
{
	int n = 0;

	memset(buf, 0x42, sizeof(buf));
	want(is(vms_read(k->port, GONE, buf, 8), 0, -EFAULT));
	want(buf[0] == 0x42);
	want(is(vms_read(k->port, AT, buf, 4 * PG), 2 * PG, 0));
	want(is(vms_read_exact(k->port, AT + 5, buf, 4 * PG - 5), 2 * PG - 5, -EFAULT));
	want(buf[2 * PG - 6] == 0x41 && buf[2 * PG] == 0x42);
	want(is(vms_read_exact(k->port, GONE - 4, buf, 8), 4, -EFAULT));
	want(is(vms_write_exact(k->port, GONE - 100, buf, 200), 100, -EFAULT));
	want(is(vms_write(k->port, GONE + PG + 8, buf, 200), 0, -EFAULT));
	want(is(vms_fill(k->port, AT, 9, 4 * PG), 2 * PG, -EFAULT));
	/* Copies: either side. */
	want(is(vms_copy(k->port, RAM, AT, 4 * PG), 2 * PG, -EFAULT));
	want(is(vms_copy(k->port, AT, RAM, 4 * PG), 2 * PG, -EFAULT));
	want(is(vms_copy(k->port, AT + PG, AT, 3 * PG), 0, -EFAULT));
	want(is(vms_copy(k->port, AT, AT + PG, 3 * PG), PG, -EFAULT));
	want(is(vms_copy(k->port, SLOW, GONE - 8, 16), 8, -EFAULT));
	n = atomic_load(&handled);
	want(n >= 12 && atomic_load(&foreign) == 0);
	/* What is there is as good as before. */
	want(is(vms_read_exact(k->port, AT, buf, 2 * PG), 2 * PG, 0));
	want(atomic_load(&handled) == n);
}

static void test_bytes(void **state)
{
	in_child(state, bytes);
}

/* ---- Values ---- */

static void values(void)
{
	uint64_t v = 77, old = 77;
	uint32_t v32 = 77;
	uint8_t v8 = 77;
	bool swapped = false;

	want(vms_load8(k->port, GONE, &v8) == -EFAULT && v8 == 77);
	want(vms_load_be32(k->port, GONE + 4, &v32) == -EFAULT && v32 == 77);
	want(vms_load_le64(k->port, GONE + 8, &v) == -EFAULT && v == 77);
	want(vms_load_le64(k->port, GONE - 3, &v) == -EFAULT && v == 77);
	want(vms_store_le64(k->port, GONE, 1) == -EFAULT);
	want(vms_store_be32(k->port, GONE - 1, 1) == -EFAULT);
	for (unsigned size = 1; size <= 8; size *= 2) {
		want(vms_atomic_load(k->port, GONE + 8, size, __ATOMIC_SEQ_CST, &old) == -EFAULT);
		want(vms_atomic_store(k->port, GONE + 8, size, __ATOMIC_SEQ_CST, 1) == -EFAULT);
		want(vms_atomic_fetch(k->port, GONE + 8, size, __ATOMIC_SEQ_CST, VMS_ATOMIC_ADD, 1,
				      &old) == -EFAULT);
		want(vms_atomic_cas(k->port, GONE + 8, size, __ATOMIC_SEQ_CST, &old, 1, &swapped) ==
		     -EFAULT);
	}
	want(old == 77 && !swapped);
	want(atomic_load(&handled) == 22 && atomic_load(&foreign) == 0);
}

static void test_values(void **state)
{
#ifdef TOUCH_TSAN
	skip(); /* its atomics hold locks of its own over the access */
#endif
	in_child(state, values);
}

/* ---- Around it ---- */

/* In a bracket, in a handler of another signal, many times, on another stack. */
static void on_usr(int sig)
{
	want(is(vms_read(k->port, GONE, buf, 8), 0, -EFAULT));
	want(is(vms_read(k->port, AT, buf, 8), 8, 0));
}

static void around(void)
{
	static unsigned char stack[65536];
	stack_t alt = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction act = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	sigset_t before = { 0 }, after = { 0 };

	want(signal(SIGUSR1, on_usr) != SIG_ERR);
	sigprocmask(SIG_SETMASK, NULL, &before);
	want(vms_enter(k->port) == 0);
	for (int i = 0; i < 1000; i++) {
		want(is(vms_read(k->port, GONE, buf, 8), 0, -EFAULT));
		want(epoch_inside());
	}
#ifndef TOUCH_TSAN /* which runs handlers with all signals blocked */
	raise(SIGUSR1);
#endif
	want(epoch_inside());
	vms_leave(k->port);
	want(sigaltstack(&alt, NULL) == 0 && sigaction(SIGBUS, &act, NULL) == 0);
	for (int i = 0; i < 1000; i++)
		want(is(vms_write_exact(k->port, GONE - 8, buf, 16), 8, -EFAULT));
	sigprocmask(SIG_SETMASK, NULL, &after);
	want(memcmp(&before, &after, sizeof(before)) == 0);
}

static void test_around(void **state)
{
	in_child(state, around);
}

/* What is not ours: the caller's buffer, the program's own pointers, signals that were only sent. */
static void others(void)
{
	unsigned char *bad = mmap(NULL, PG, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	in_foreign = true;
	if (sigsetjmp(escape, 1) == 0) {
		vms_read(k->port, AT, bad, 8);
		want(!"the buffer could be written");
	}
	want(atomic_load(&foreign) == 1 && atomic_load(&handled) == 0);
	while (epoch_inside()) /* we left the library by a jump: on our own head */
		epoch_leave();
}

static void foreign_pointer(void)
{
	volatile unsigned char *bad = mmap(NULL, PG, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	want(is(vms_read(k->port, GONE, buf, 8), 0, -EFAULT));
	in_foreign = true;
	if (sigsetjmp(escape, 1) == 0) {
		*bad = 1;
		want(!"it could be written");
	}
	want(atomic_load(&foreign) == 1 && atomic_load(&handled) == 1);
	if (sigsetjmp(escape, 1) == 0) {
		raise(SIGBUS);
		want(!"nobody heard of it");
	}
	want(atomic_load(&foreign) == 2 && atomic_load(&handled) == 1);
	want(!vms_recover_fault(SIGUSR1, NULL, NULL));
	want(!vms_recover_fault(SIGBUS, NULL, NULL));
}

static void test_others(void **state)
{
	in_child(state, others);
}

static void test_foreign_pointer(void **state)
{
	in_child(state, foreign_pointer);
}

/* Off: the fault is nobody's that could be helped. */
static void off(void)
{
	uint32_t v;

	vms_recover_enable(false);
	in_foreign = true;
	if (sigsetjmp(escape, 1) == 0) {
		vms_load_le32(k->port, GONE, &v);
		want(!"it could be read");
	}
	want(atomic_load(&foreign) == 1);
	while (epoch_inside())
		epoch_leave();
}

static void test_off(void **state)
{
	in_child(state, off);
}

/* Several threads at once, each lands in its own access. */
static void *faulting(void *arg)
{
	unsigned char mine[64];

	for (int i = 0; i < 2000; i++) {
		size_t before = (size_t)(uintptr_t)arg;

		if (!is(vms_read_exact(k->port, GONE - before, mine, 64), before, -EFAULT))
			return arg;
	}
	return NULL;
}

static void threads(void)
{
	pthread_t t[3];
	void *bad;

	for (uintptr_t i = 0; i < 3; i++)
		want(pthread_create(&t[i], NULL, faulting, (void *)(i * 8 + 8)) == 0);
	for (int i = 0; i < 3; i++)
		want(pthread_join(t[i], &bad) == 0 && !bad);
	want(atomic_load(&handled) == 6000);
}

static void test_threads(void **state)
{
	in_child(state, threads);
}

/* A log knows what may have been written before the fault. */
static int add_pages(void *arg, struct vms_block *b, uint64_t off, uint64_t len)
{
	for (uint64_t p = off; p < off + len; p += PG)
		*(uint64_t *)arg |= UINT64_C(1) << p / PG;
	return 0;
}

static void marked(void)
{
	struct vms_dirty_params p = { .size = sizeof(p) };
	struct vms_slot_info info;
	struct vms_dirty *log;
	uint64_t pages = 0;

	want(vms_slot_find(k->mem, AT, &info) == 0);
	want(vms_dirty_start(k->mem, &p, &log) == 0);
	want(is(vms_fill(k->port, AT + PG, 9, 3 * PG), PG, -EFAULT));
	want(vms_dirty_harvest(log, info.block, 0, 4 * PG, add_pages, &pages) == 0);
	want((pages & 3) == 2); /* the page before, and perhaps the one that failed */
	vms_dirty_stop(log);
}

static void test_marked(void **state)
{
	in_child(state, marked);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_bytes, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_values, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_around, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_others, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_foreign_pointer, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_off, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_threads, kit_begin, kit_end),
		cmocka_unit_test_setup_teardown(test_marked, kit_begin, kit_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
