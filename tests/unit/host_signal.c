// SPDX-License-Identifier: MIT
/*
 * A program over the host backend, as a sandbox would be: it touches guest memory through plain
 * pointers, and its signal handler asks the space what to do.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmspace/pager.h>
#include <vmspace/space.h>

#include "check.h"
#include "require.h"
#include "sanitize.h"
#include "world.h"

#define R      VMS_PROT_READ
#define RW     (VMS_PROT_READ | VMS_PROT_WRITE)
#define LO     (UINT64_C(1) << 32)
#define WINDOW (UINT64_C(64) << 20)

static struct test_world world;
static struct vms_arena *arena;
static struct vms_mmu *mmu;
static struct vms_space *space;
static uint64_t page;

/* ---- The handler ---- */

static struct vms_wait *waiting;	 /* what a fault may wait on; NULL: nothing */
static struct vms_signal_fault last;	 /* the last fault that was the space's */
static volatile unsigned faults, others; /* signals that were the space's, and not */
static sigjmp_buf out;

static void on_signal(int sig, siginfo_t *info, void *context)
{
	int saved = errno = 4711;

	if (!vms_fault_signal(space, sig, info, context, waiting, &last)) {
		others++;
		siglongjmp(out, 100 + sig); /* a program would call the handler before its own */
	}
	if (errno != saved)
		siglongjmp(out, 99);
	faults++;
	if (last.result == VMS_FAULT_WAIT && waiting)
		last.result = vms_wait_block(waiting, -1) ? VMS_FAULT_IO : VMS_FAULT_OK;
	if (last.result != VMS_FAULT_OK)
		siglongjmp(out, 1 + (int)last.result);
}

static void handle(int sig)
{
	struct sigaction act = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER };

	assert_ok(sigaction(sig, &act, NULL));
}

/* What a load or store of one byte comes to: OK, or the result that the guest would hear of. */
static int load(const volatile unsigned char *p, unsigned char *value)
{
	int r = sigsetjmp(out, 1);

	if (r)
		return r < 50 ? r - 1 : r;
	*value = *p;
	return VMS_FAULT_OK;
}

static int store(volatile unsigned char *p, unsigned char value)
{
	int r = sigsetjmp(out, 1);

	if (r)
		return r < 50 ? r - 1 : r;
	*p = value;
	return VMS_FAULT_OK;
}

/* ---- The stage ---- */

static int set_up(void **state)
{
	struct vms_mmu_host_params mp = { .size = sizeof(mp), .lo = LO, .hi = LO + WINDOW };
	struct vms_space_params sp = { .size = sizeof(sp), .lo = LO, .hi = LO + WINDOW };
	struct vms_arena_params ap = { .size = sizeof(ap) };

	test_world_begin(&world);
	page = (uint64_t)sysconf(_SC_PAGESIZE);
	assert_ok(vms_arena_create(&ap, &arena));
	assert_ok(vms_mmu_host(&mp, &mmu));
	sp.mmu = mmu;
	assert_ok(vms_space_create(&sp, &space));
	waiting = NULL;
	faults = others = 0;
	return 0;
}

static int tear_down(void **state)
{
	assert_ok(vms_space_check(space));
	vms_space_unref(space);
	vms_mmu_unref(mmu);
	vms_arena_unref(arena);
	test_world_end(&world);
	return 0;
}

static struct vms_object *make(uint64_t bytes)
{
	struct vms_object_params p = { .size = sizeof(p), .bytes = bytes };
	struct vms_object *obj;

	assert_ok(vms_object_create(arena, &p, &obj));
	return obj;
}

static struct vms_object *snapshot(struct vms_object *of, uint64_t bytes)
{
	struct vms_object_params p = { .size = sizeof(p), .bytes = bytes };
	struct vms_object *obj;

	assert_ok(vms_object_child(of, VMS_CHILD_SNAPSHOT, 0, &p, &obj));
	return obj;
}

/* The pointer to where it stands. */
static unsigned char *map(struct vms_object *obj, uint64_t len, uint32_t prot)
{
	struct vms_map_params p = { .size = sizeof(p), .prot = prot, .object = obj, .len = len };
	uint64_t addr;

	/* Here, because cmocka installs handlers of its own when a test begins. */
	handle(SIGSEGV);
	handle(SIGBUS);
	assert_ok(vms_map(vms_space_root(space), &p, &addr));
	return vms_mmu_host_addr(mmu, addr);
}

static uint64_t guest(const unsigned char *p)
{
	return LO + (uint64_t)(p - (unsigned char *)vms_mmu_host_addr(mmu, LO));
}

#define assert_load(p, want)                                      \
	do {                                                      \
		unsigned char got_;                               \
		assert_int_equal(load((p), &got_), VMS_FAULT_OK); \
		assert_int_equal(got_, (want));                   \
	} while (0)

/* ---- What it touches ---- */

static void anonymous_memory(void **state)
{
	uint64_t n = 4 << 20;
	struct vms_object *obj = make(n);
	unsigned char *p = map(obj, n, RW), byte;

	assert_load(p + 5, 0);
	for (uint64_t i = 0; i < n; i += page)
		assert_ok(store(p + i, (unsigned char)(i / page)));
	for (uint64_t i = 0; i < n; i += page)
		assert_load(p + i, (unsigned char)(i / page));
	/* A signal brings a stretch of pages. */
	assert_true(faults >= 1 && faults <= n / page / 8);
	assert_int_equal(others, 0);
	/* The object's bytes are the same memory. */
	assert_ok(vms_object_read(obj, 3 * page, &byte, 1, NULL));
	assert_int_equal(byte, 3);
	byte = 99;
	assert_ok(vms_object_write(obj, 3 * page + 1, &byte, 1, NULL));
	assert_load(p + 3 * page + 1, 99);
	vms_object_unref(obj);
}

static void a_snapshot_is_read_then_written(void **state)
{
	uint64_t n = 32 * page;
	struct vms_object *parent = make(n), *child;
	unsigned char *p = map(parent, n, RW), *c;

	for (unsigned i = 0; i < 32; i++)
		assert_ok(store(p + i * page, (unsigned char)(1 + i)));
	child = snapshot(parent, n);
	c = map(child, n, RW);
	for (unsigned i = 0; i < 32; i++)
		assert_load(c + i * page, 1 + i);
	faults = 0;
	/* The child's copy, then the parent's, at pages that both have shown before. */
	assert_ok(store(c + 3 * page, 100));
	assert_int_equal(faults, 1);
	assert_int_equal(last.access, VMS_PROT_WRITE);
	assert_int_equal(last.addr, guest(c + 3 * page));
	assert_load(p + 3 * page, 4);
	assert_ok(store(p + 4 * page, 101));
	assert_load(c + 4 * page, 5);
	assert_load(c + 3 * page, 100);
	assert_load(p + 4 * page, 101);
	for (unsigned i = 5; i < 32; i++) {
		assert_load(p + i * page, 1 + i);
		assert_load(c + i * page, 1 + i);
	}
	vms_object_unref(child);
	vms_object_unref(parent);
}

/* Answers at once: page i is full of i. */
static void answer(void *arg, struct vms_object *obj, uint64_t key, enum vms_request_kind kind,
		   uint64_t off, uint64_t len)
{
	struct vms_pager *pager = *(struct vms_pager **)arg;
	static unsigned char buf[65536];

	for (; kind == VMS_REQUEST_READ && len; off += page, len -= page) {
		memset(buf, (int)(off / page), page);
		vms_pager_supply_bytes(pager, obj, off, buf, page);
	}
}

static void a_pager_that_answers_at_once(void **state)
{
	struct vms_pager_ops ops = { .size = sizeof(ops), .request = answer };
	struct vms_object_params op = { .size = sizeof(op), .bytes = 64 * page };
	struct vms_pager *pager;
	struct vms_object *obj;
	struct vms_wait wait;
	unsigned char *p, byte;

	assert_ok(vms_pager_create(&ops, &pager, &pager));
	assert_ok(vms_object_create_paged(arena, pager, 0, &op, &obj));
	p = map(obj, 64 * page, RW);
	vms_wait_init(&wait);
	waiting = &wait;
	for (unsigned i = 0; i < 64; i += 3)
		assert_load(p + i * page + 7, i);
	assert_ok(store(p + 6 * page, 200));
	assert_load(p + 6 * page, 200);
	assert_load(p + 6 * page + 1, 6);
	assert_ok(vms_object_read(obj, 6 * page, &byte, 1, &wait));
	assert_int_equal(byte, 200);
	waiting = NULL;
	vms_object_unref(obj);
	vms_pager_close(pager);
}

static void protected_memory(void **state)
{
	struct vms_object *obj = make(8 * page);
	unsigned char *p = map(obj, 8 * page, RW), byte;

	assert_ok(store(p, 1));
	assert_ok(vms_protect(vms_space_root(space), guest(p), page, R, 0));
	assert_int_equal(store(p, 2), VMS_FAULT_DENIED);
	assert_int_equal(last.access, VMS_PROT_WRITE);
	assert_load(p, 1);
	assert_ok(vms_protect(vms_space_root(space), guest(p), page, 0, 0));
	assert_int_equal(load(p, &byte), VMS_FAULT_DENIED);
	assert_int_equal(last.access, VMS_PROT_READ);
	assert_ok(vms_protect(vms_space_root(space), guest(p), page, RW, 0));
	assert_ok(store(p, 3));
	assert_ok(vms_unmap(vms_space_root(space), guest(p), 8 * page, 0));
	assert_int_equal(load(p, &byte), VMS_FAULT_NOT_MAPPED);
	assert_int_equal(others, 0);
	vms_object_unref(obj);
}

static void code(void **state)
{
#if defined(__x86_64__) || defined(__aarch64__)
#if defined(__x86_64__)
	static const unsigned char ret[] = { 0xb8, 42, 0, 0, 0, 0xc3 };
#else
	static const unsigned char ret[] = { 0x40, 5, 0x80, 0x52, 0xc0, 3, 0x5f, 0xd6 };
#endif
	struct vms_object *obj = make(2 * page);
	unsigned char *p;
	int (*fn)(void);
	int r;

	assert_ok(vms_object_write(obj, page, ret, sizeof(ret), NULL));
	p = map(obj, 2 * page, R);
	*(void **)&fn = p + page;
	r = sigsetjmp(out, 1);
	if (!r)
		fn();
	assert_int_equal(r, 1 + VMS_FAULT_DENIED);
	assert_int_equal(last.access, VMS_PROT_EXEC);
	assert_ok(vms_protect(vms_space_root(space), guest(p), 2 * page, R | VMS_PROT_EXEC, 0));
	assert_int_equal(fn(), 42);
	vms_object_unref(obj);
#else
	skip();
#endif
}

/* ---- SIGBUS ---- */

static void a_file_that_is_cut_off(void **state)
{
	char path[] = "/tmp/vmspace-signal-XXXXXX";
	struct vms_object_params op = { .size = sizeof(op), .bytes = 8 * page };
	struct vms_object *obj;
	unsigned char *p, byte = 7;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	unlink(path);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(pwrite(fd, &(unsigned char){ (unsigned char)(10 + i) }, 1,
					(off_t)(i * page)),
				 1);
	assert_ok(ftruncate(fd, (off_t)(8 * page)));
	assert_ok(vms_object_create_file(arena, fd, &op, &obj));
	p = map(obj, 8 * page, RW);
	for (unsigned i = 0; i < 8; i++)
		assert_load(p + i * page, 10 + i);
	assert_ok(store(p + 2 * page, 99));
	assert_int_equal(pread(fd, &byte, 1, (off_t)(2 * page)), 1);
	assert_int_equal(byte, 99);
	assert_ok(ftruncate(fd, (off_t)(4 * page)));
	assert_load(p + 3 * page, 13);
	assert_int_equal(load(p + 4 * page, &byte), VMS_FAULT_BEYOND);
	assert_int_equal(store(p + 7 * page, 1), VMS_FAULT_BEYOND);
	/* It grows again: zeros. */
	assert_ok(ftruncate(fd, (off_t)(8 * page)));
	assert_load(p + 4 * page, 0);
	assert_ok(store(p + 7 * page, 1));
	assert_int_equal(others, 0);
	close(fd);
	vms_object_unref(obj);
}

/* ---- What is not the space's ---- */

static void others_signals_are_left_alone(void **state)
{
	struct vms_object *obj = make(8 * page);
	unsigned char *p = map(obj, 8 * page, RW), byte;
	unsigned char *none = mmap(NULL, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	siginfo_t info = { .si_code = SEGV_ACCERR, .si_addr = p };
	struct vms_mmu *record;
	struct vms_space_params sp = { .size = sizeof(sp), .lo = LO, .hi = LO + WINDOW };
	struct vms_space *other;
	int r;

	assert_int_equal(load(none, &byte), 100 + SIGSEGV);
	assert_int_equal(load((unsigned char *)vms_mmu_host_addr(mmu, LO) - 1, &byte),
			 100 + SIGSEGV);
	assert_int_equal(load((unsigned char *)vms_mmu_host_addr(mmu, LO) + WINDOW, &byte),
			 100 + SIGSEGV);
	r = sigsetjmp(out, 1);
	if (!r)
		kill(getpid(), SIGSEGV);
	assert_int_equal(r, 100 + SIGSEGV);
	assert_int_equal(faults, 0);
	/* Not an access by its code; a signal of another kind. */
	assert_int_equal(vms_fault_signal(space, SIGSEGV, &info, NULL, NULL, &last), 1);
	info.si_code = SI_TKILL;
	assert_int_equal(vms_fault_signal(space, SIGSEGV, &info, NULL, NULL, &last), 0);
	info.si_code = BUS_ADRALN;
	assert_int_equal(vms_fault_signal(space, SIGBUS, &info, NULL, NULL, &last), 0);
	assert_int_equal(vms_fault_signal(space, SIGILL, &info, NULL, NULL, &last), 0);
	/* Not a host backend: no address is its. */
	assert_ok(vms_mmu_record(&record));
	sp.mmu = record;
	assert_ok(vms_space_create(&sp, &other));
	info.si_code = SEGV_MAPERR;
	assert_int_equal(vms_fault_signal(other, SIGSEGV, &info, NULL, NULL, &last), 0);
	vms_space_unref(other);
	vms_mmu_unref(record);
	munmap(none, page);
	vms_object_unref(obj);
}

/* Without a context the kind of access is found by trying. */
static void a_machine_that_does_not_tell(void **state)
{
	struct vms_object *obj = make(8 * page);
	unsigned char *p = map(obj, 8 * page, RW);
	siginfo_t info = { .si_code = SEGV_MAPERR, .si_addr = p + page };
	struct vms_object *child;
	unsigned char *c;

	assert_int_equal(vms_fault_signal(space, SIGSEGV, &info, NULL, NULL, &last), 1);
	assert_int_equal(last.result, VMS_FAULT_OK);
	assert_int_equal(last.access, VMS_PROT_READ);
	assert_ok(store(p + page, 5));
	child = snapshot(obj, 8 * page);
	c = map(child, 8 * page, RW);
	info.si_addr = c + page;
	info.si_code = SEGV_ACCERR;
	/* A read that is there already was a write. */
	assert_load(c + page, 5);
	assert_int_equal(vms_fault_signal(space, SIGSEGV, &info, NULL, NULL, &last), 1);
	assert_int_equal(last.result, VMS_FAULT_OK);
	assert_int_equal(last.access, VMS_PROT_WRITE);
	faults = 0;
	assert_ok(store(c + page, 6));
	assert_int_equal(faults, 0);
	assert_load(p + page, 5);
	vms_object_unref(child);
	vms_object_unref(obj);
}

/* ---- Memory of the caller ---- */

static void host_memory(void **state)
{
	struct vms_object_params op = { .size = sizeof(op), .bytes = 4 * page };
	struct vms_map_params mp = { .size = sizeof(mp), .prot = RW, .len = 4 * page };
	unsigned char *shared =
		mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned char *private =
		mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vms_object *obj;
	unsigned char *p;

	shared[2 * page] = 5;
	assert_ok(vms_object_create_host(shared, &op, &obj));
	p = map(obj, 4 * page, RW);
	assert_load(p + 2 * page, 5);
	assert_ok(store(p + 3 * page, 6));
	assert_int_equal(shared[3 * page], 6);
	vms_object_unref(obj);
	assert_ok(vms_object_create_host(private, &op, &obj));
	mp.object = obj;
	assert_int_equal(vms_map(vms_space_root(space), &mp, NULL), -ENOTSUP);
	assert_non_null(strstr(vms_last_error(), "private"));
	vms_object_unref(obj);
	assert_ok(vms_unmap(vms_space_root(space), LO, WINDOW, 0));
	munmap(shared, 4 * page);
	munmap(private, 4 * page);
}

/* ---- The wall ---- */

#define ISLANDS (1u << 17) /* twice vm.max_map_count, as it is by default */

static unsigned char *islands;
static uint64_t made = 1;

/* Others in the process use up the regions that are left. */
static void use_up(void)
{
	while (made < ISLANDS && mprotect(islands + made * page, page, PROT_READ) == 0)
		made += 2;
}

static void give_back(unsigned n)
{
	for (; n && made > 1; n--) {
		made -= 2;
		mprotect(islands + made * page, page, PROT_NONE);
	}
}

/* A guest goes on whatever the host refuses, as long as it gets a few regions at times. */
static void store_at_wall(volatile unsigned char *p, unsigned char value)
{
	int r = store(p, value);

	if (r == VMS_FAULT_NO_MEMORY) {
		give_back(40);
		r = store(p, value);
	}
	require(r == VMS_FAULT_OK);
}

static void at_the_wall(void)
{
	enum { N = 512 };
	unsigned char want[N] = { 0 }, kept[N], byte;
	struct vms_object *obj = make(N * page), *child = NULL;
	unsigned char *p = map(obj, N * page, RW);
	unsigned refused = 0;

	islands = mmap(NULL, ISLANDS * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		       -1, 0);
	require(islands != MAP_FAILED);
	for (unsigned step = 0; step < 4 * N; step++) {
		unsigned i = step * 97 % N;

		if (step % 8 == 0)
			use_up();
		if (step % 256 == 255) { /* everything is shared, and split by the writes to come */
			if (child) {
				for (unsigned k = 0; k < N; k++) {
					require(!vms_object_read(child, k * page, &byte, 1, NULL));
					require(byte == kept[k]);
				}
				vms_object_unref(child);
			}
			child = snapshot(obj, N * page);
			memcpy(kept, want, N);
		}
		want[i] = (unsigned char)(1 + step % 251);
		store_at_wall(p + i * page, want[i]);
		if (step % 5 == 0) {
			refused += vms_protect(vms_space_root(space), guest(p + i * page), page, R,
					       0) != 0;
			refused += vms_protect(vms_space_root(space), guest(p + i * page), page, RW,
					       0) != 0;
		}
	}
	require(made < ISLANDS && refused == 0);
	require(vms_space_check(space) == 0);
	for (unsigned i = 0; i < N; i++) {
		require(load(p + i * page, &byte) == VMS_FAULT_OK || (give_back(40), 1));
		require(load(p + i * page, &byte) == VMS_FAULT_OK && byte == want[i]);
		require(vms_object_read(obj, i * page, &byte, 1, NULL) == 0 && byte == want[i]);
	}
	require(others == 0);
}

static void at_the_wall_of_regions_nothing_is_lost(void **state)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		set_up(NULL); /* a stage of its own: arenas are not inherited */
		at_the_wall();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(anonymous_memory),
		T(a_snapshot_is_read_then_written),
		T(a_pager_that_answers_at_once),
		T(protected_memory),
		T(code),
		T(a_file_that_is_cut_off),
		T(others_signals_are_left_alone),
		T(a_machine_that_does_not_tell),
		T(host_memory),
		T(at_the_wall_of_regions_nothing_is_lost),
	};

#if TSAN
	printf("the race detector takes a fault in a handler for an unsafe call\n");
	return 77;
#endif
	return cmocka_run_group_tests_name("host-signal", tests, NULL, NULL);
}
