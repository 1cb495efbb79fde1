// SPDX-License-Identifier: MIT
/*
 * memory_jail.c: which system calls the library makes, in each phase of a VMM's life, is what
 * doc/design/jail.md says.
 *
 * Each phase runs in a forked child: the phases before it are made freely, then a seccomp filter
 * allows what the page lists for this one, and any other call ends the child with its number. One
 * child more goes through all phases on a host that refuses membarrier.
 *
 * Argument: "bare": all phases without a filter, each announced on the error output, for strace.
 */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/epoch.h"
#include "vmspace/access.h"
#include "vmspace/ring.h"

#define P   UINT64_C(4096)
#define MiB (UINT64_C(1) << 20)
#define MAX 32u /* of a list */

/* What the child tells. */
static struct {
	_Atomic(int) call; /* that was refused; -1: none */
	_Atomic(int) line; /* of a check that failed; 0: none */
} * told;

static void check_at(bool ok, int line)
{
	if (ok)
		return;
	atomic_store(&told->line, line);
	_exit(4);
}

#define CHECK(x) check_at(x, __LINE__)

/* ---- The phases ---- */

static struct vms_memory *mem;
static struct vms_block *anon, *shared, *file, *extra;
static struct vms_port *port;
static struct vms_ring ring;
static struct vms_dirty *dirty;
static int fd = -1;
static void *host;
static unsigned released;

static void on_release(void *arg)
{
	released++;
}

static struct vms_block *block(enum vms_block_kind kind, uint64_t bytes, uint32_t flags)
{
	struct vms_block_params p = {
		.size = sizeof(p), .kind = kind, .flags = flags, .bytes = bytes, .fd = fd
	};
	struct vms_block *b = NULL;

	CHECK(vms_block_create(mem, &p, &b) == 0);
	return b;
}

static void map(uint64_t gpa, uint64_t len, struct vms_block *b)
{
	struct vms_edit *e;

	CHECK(vms_edit_begin(mem, &e) == 0);
	CHECK(vms_slot_map(e, gpa, len, b, 0, VMS_SLOT_RAM) == 0);
	CHECK(vms_edit_commit(e) == 0);
}

/* The file and the caller's memory are not the library's. */
static void outside(void)
{
	fd = memfd_create("file", MFD_CLOEXEC);
	CHECK(fd >= 0 && ftruncate(fd, 1 << 20) == 0);
	host = mmap(NULL, MiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(host != MAP_FAILED);
}

static void start(void)
{
	struct vms_memory_params mp = { .size = sizeof(mp) };

	CHECK(vms_memory_create(&mp, &mem) == 0);
	anon = block(VMS_BLOCK_ANON, 64 * MiB,
		     VMS_BLOCK_THP | VMS_BLOCK_DONTDUMP | VMS_BLOCK_DONTFORK);
	shared = block(VMS_BLOCK_SHARED, 4 * MiB, 0);
	file = block(VMS_BLOCK_FILE, MiB, 0);
	extra = block(VMS_BLOCK_ANON, 2 * MiB, VMS_BLOCK_PREALLOC);
	map(0, 64 * MiB, anon);
	map(64 * MiB, 4 * MiB, shared);
	map(68 * MiB, MiB, file);
	CHECK(vms_port_create(mem, NULL, &port) == 0);
	CHECK(vms_ring_open(port, MiB, 2 * P, VMS_SLOT_READ | VMS_SLOT_WRITE, &ring) == 0);
	CHECK(vms_store8(port, 0, 1) == 0); /* this thread's first access */
}

static void thread_first(void)
{
	uint64_t v;

	CHECK(vms_load_le64(port, P, &v) == 0);
}

static void *accesses_main(void *arg)
{
	thread_first();
	return NULL;
}

static void accesses(void)
{
	unsigned char buf[3 * P];
	struct iovec iov[4];
	struct vms_pin pin;
	int n = 4;
	uint64_t v;
	bool swapped;

	memset(buf, 1, sizeof(buf));
	for (unsigned i = 0; i < 100; i++) {
		CHECK(vms_write_exact(port, 64 * MiB - P, buf, sizeof(buf)).status == 0);
		CHECK(vms_read_exact(port, 64 * MiB - P, buf, sizeof(buf)).status == 0);
		CHECK(vms_copy(port, 0, 68 * MiB, 3 * P).status == 0);
		CHECK(vms_fill(port, 5 * P, 0, P).status == 0);
		CHECK(vms_read(port, 128 * MiB, buf, 1).status == -ENXIO);
		CHECK(vms_store_be32(port, 3 * P, i) == 0);
		v = i;
		CHECK(vms_atomic_cas(port, 8, 8, __ATOMIC_SEQ_CST, &v, i + 1, &swapped) == 0);
		CHECK(vms_ring_store16_release(&ring, 2, (uint16_t)i));
		CHECK(vms_enter(port) == 0);
		CHECK(vms_load_le64(port, P, &v) == 0);
		vms_leave(port);
		n = 4;
		CHECK(vms_span_open(port, 63 * MiB, 2 * MiB, VMS_SLOT_WRITE, iov, &n, &pin) == 0);
		CHECK(vms_span_close(&pin, P) == 0);
	}
}

static void streams(void)
{
	CHECK(vms_recv_exact(port, P, fd, 5 * P, 0).status == 0);
	CHECK(vms_send_exact(port, 64 * MiB - P, fd, 2 * P, 0).status == 0);
	CHECK(vms_send_exact(port, 0, fd, P, -1).status == 0);
}

static void log_start(void)
{
	struct vms_dirty_params p = { .size = sizeof(p) };

	CHECK(vms_dirty_start(mem, &p, &dirty) == 0);
}

static uint64_t harvested;

static int count(void *arg, struct vms_block *b, uint64_t off, uint64_t len)
{
	harvested += len;
	return 0;
}

static void log_rounds(void)
{
	for (unsigned i = 0; i < 3; i++) {
		accesses();
		CHECK(vms_dirty_sync(dirty) == 0);
		harvested = 0;
		CHECK(vms_dirty_harvest(dirty, anon, 0, 64 * MiB, count, NULL) == 0);
		CHECK(vms_dirty_harvest(dirty, shared, 0, 4 * MiB, count, NULL) == 0);
		/* Pages 0 to 3 and 5, the ring's first, the last of 64 MiB and two behind it, and
		 * the span's first. */
		CHECK(harvested == 10 * P);
	}
}

static void log_stop(void)
{
	vms_dirty_stop(dirty);
}

static void edits(void)
{
	struct vms_edit *e;

	for (unsigned i = 0; i < 300; i++) {
		map(512 * MiB + (i % 50) * 4 * MiB, 2 * MiB, i % 2 ? extra : anon);
		CHECK(vms_edit_begin(mem, &e) == 0);
		CHECK(vms_slot_map_host(e, 256 * MiB, MiB, host, on_release, NULL, VMS_SLOT_RAM) ==
		      0);
		CHECK(vms_slot_protect(e, 64 * MiB, MiB, i % 2 ? VMS_SLOT_ROM : VMS_SLOT_RAM) == 0);
		CHECK(vms_edit_commit(e) == 0);
		CHECK(vms_edit_begin(mem, &e) == 0);
		CHECK(vms_slot_unmap(e, 256 * MiB, MiB) == 0);
		CHECK(vms_edit_commit(e) == 0);
	}
	vms_memory_synchronize(mem);
	CHECK(released == 300);
	CHECK(vms_memory_check(mem) == 0);
}

static void discards(void)
{
	vms_ring_close(&ring); /* what a span holds is not discarded */
	CHECK(vms_discard(mem, 2 * MiB, MiB, NULL, NULL) == 0);
	CHECK(vms_discard(mem, 66 * MiB, MiB, NULL, NULL) == 0);
}

/* Blocks that come and go: their kinds' own calls at birth, as in the first phase. */
static void ends(void)
{
	struct vms_edit *e;

	CHECK(vms_edit_begin(mem, &e) == 0);
	CHECK(vms_slot_unmap(e, 64 * MiB, 1024 * MiB) == 0);
	CHECK(vms_edit_commit(e) == 0);
	CHECK(vms_block_remove(shared) == 0);
	CHECK(vms_block_remove(file) == 0);
	vms_block_unref(shared);
	vms_block_unref(file);
	vms_memory_synchronize(mem);
}

#define MALLOC SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap, SYS_getrandom

struct phase {
	const char *name;
	void (*run)(void);
	bool thread;	  /* in a thread that has done nothing yet */
	int allowed[MAX]; /* 0 ends it; read, which is 0, is in none */
};

/* clang-format off */
static const struct phase phases[] = {
	{ "start", start, false,
	  { MALLOC, SYS_membarrier, SYS_madvise, SYS_memfd_create, SYS_fcntl, SYS_ftruncate,
	    SYS_newfstatat, SYS_fstat, SYS_fstatfs, SYS_rt_sigprocmask } },
	{ "thread", thread_first, true, { SYS_membarrier, SYS_mmap, SYS_madvise, SYS_munmap } },
	{ "accesses", accesses, false, { 0 } },
	{ "streams", streams, false, { SYS_readv, SYS_writev, SYS_preadv, SYS_pwritev } },
	{ "log start", log_start, false, { MALLOC, SYS_membarrier } },
	{ "log", log_rounds, false, { SYS_membarrier } },
	{ "log stop", log_stop, false, { SYS_munmap } },
	{ "edits", edits, false, { MALLOC, SYS_membarrier, SYS_sched_yield } },
	{ "discards", discards, false, { SYS_madvise, SYS_fallocate } },
	{ "ends", ends, false, { MALLOC, SYS_membarrier, SYS_sched_yield, SYS_close } },
};
/* clang-format on */
#define PHASES (sizeof(phases) / sizeof(phases[0]))

/* ---- Filters ---- */

static void on_sys(int sig, siginfo_t *info, void *context)
{
	atomic_store(&told->call, info->si_syscall);
	_exit(3);
}

static void install(const struct sock_filter *code, unsigned short n)
{
	struct sock_fprog prog = { .len = n, .filter = (struct sock_filter *)code };

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == 0);
}

static bool have_seccomp(void)
{
	return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 0 &&
	       syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &(uint32_t){ SECCOMP_RET_TRAP }) ==
		       0;
}

/* Allow the phase's calls, and what ends a child; trap the others. */
static void jail(const struct phase *p)
{
	static const int always[] = { SYS_exit_group, SYS_exit, SYS_rt_sigreturn, SYS_futex };
	struct sock_filter code[2 * (MAX + 8) + 4];
	struct sigaction act = { .sa_sigaction = on_sys, .sa_flags = SA_SIGINFO };
	unsigned short n = 0;

	CHECK(sigaction(SIGSYS, &act, NULL) == 0);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						 offsetof(struct seccomp_data, nr));
	for (unsigned i = 0; i < MAX + 4; i++) {
		int nr = i < 4 ? always[i] : p->allowed[i - 4];

		if (i >= 4 && nr == 0)
			break;
		code[n++] =
			(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)nr, 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
	install(code, n);
}

static atomic_int thread_go; /* 1: jail yourself and go; 2: done */

static void *thread_main(void *arg)
{
	const struct phase *p = arg;

	while (atomic_load(&thread_go) != 1)
		;
	jail(p);
	p->run();
	atomic_store(&thread_go, 2);
	for (;;)
		;
	return NULL;
}

static void run_in_thread(const struct phase *p)
{
	pthread_t t;

	CHECK(pthread_create(&t, NULL, thread_main, (void *)p) == 0);
	atomic_store(&thread_go, 1);
	while (atomic_load(&thread_go) != 2)
		;
}

static void run_freely(const struct phase *p)
{
	pthread_t t;

	if (!p->thread) {
		p->run();
		return;
	}
	CHECK(pthread_create(&t, NULL, accesses_main, NULL) == 0);
	CHECK(pthread_join(t, NULL) == 0);
}

static void child(unsigned phase)
{
	outside();
	for (unsigned i = 0; i < phase; i++)
		run_freely(&phases[i]);
	if (phases[phase].thread) {
		run_in_thread(&phases[phase]);
	} else {
		jail(&phases[phase]);
		phases[phase].run();
	}
	_exit(0);
}

static void expect_well(pid_t pid, const char *what)
{
	int status;

	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (atomic_load(&told->call) >= 0)
		print_error("%s: system call %d is not in its list\n", what,
			    atomic_load(&told->call));
	if (atomic_load(&told->line))
		print_error("%s: line %d\n", what, atomic_load(&told->line));
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_phases(void **state)
{
	if (!have_seccomp())
		skip();
	for (unsigned i = 0; i < PHASES; i++) {
		pid_t pid;

		atomic_store(&told->call, -1);
		atomic_store(&told->line, 0);
		pid = fork();
		if (pid == 0)
			child(i);
		expect_well(pid, phases[i].name);
	}
}

/* A filter that allows what it must not be found out by: the test can fail. */
static void nothing_allowed(void)
{
	edits();
}

static void test_filter_works(void **state)
{
	static const struct phase p = { "edits", nothing_allowed, false, { SYS_sched_yield } };
	int status;
	pid_t pid;

	if (!have_seccomp())
		skip();
	atomic_store(&told->call, -1);
	atomic_store(&told->line, 0);
	pid = fork();
	if (pid == 0) {
		outside();
		start();
		jail(&p);
		p.run();
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 3);
	assert_true(atomic_load(&told->call) >= 0);
}

/* Refused from the beginning on: readers and writers fence, and all else is as before. */
static void refuse(int err)
{
	const struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)err),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	install(code, sizeof(code) / sizeof(code[0]));
}

static void test_no_membarrier(void **state)
{
	static const int errs[] = { EPERM, ENOSYS };

	if (!have_seccomp())
		skip();
	for (unsigned i = 0; i < 2; i++) {
		pid_t pid;

		atomic_store(&told->call, -1);
		atomic_store(&told->line, 0);
		pid = fork();
		if (pid == 0) {
			outside();
			refuse(errs[i]);
			for (unsigned k = 0; k < PHASES; k++)
				run_freely(&phases[k]);
			CHECK(epoch_needs_fences());
			_exit(0);
		}
		expect_well(pid, "no membarrier");
	}
}

static void announce(const char *name)
{
	if (write(2, name, strlen(name)) < 0)
		_exit(5);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_phases),
		cmocka_unit_test(test_filter_works),
		cmocka_unit_test(test_no_membarrier),
	};

	told = mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (argc > 1 && strcmp(argv[1], "bare") == 0) {
		outside();
		for (unsigned i = 0; i < PHASES; i++) {
			announce(phases[i].name);
			run_freely(&phases[i]);
		}
		announce("end");
		return atomic_load(&told->line);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
