// SPDX-License-Identifier: MIT
/*
 * Every allocation and host call of blocks, of discards and of sharing fails once. A call that ends
 * with an error has changed nothing: no block, no memory, no descriptor, nobody released; the same
 * call then works. A discard that fails left the pages as they were, or they are in the log.
 *
 * munmap is refused on its own: memory that a host does not take back is lost by the test's doing.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

#include "files.h"
#include "memory/block.h"
#include "memory/memory.h"
#include "sanitize.h"
#include "world.h"

#define MIB   (UINT64_C(1) << 20)
#define BYTES (4 * MIB)
#define MASK  (EVERY_CALL & ~(1u << CALL_MUNMAP))
/* Pages that libc may map for its own; a sanitizer keeps what is freed. */
#define SLACK (SANITIZED ? 100000 : 64)

static struct test_world tw;
static uint64_t P;
static unsigned errors; /* runs whose result was an error: each sweep must see some */

struct stage {
	struct vms_memory *mem;
	struct vms_dirty *log; /* runs, if it is not NULL */
	struct vms_arena *arena;
	struct vms_block_params params;
	struct vms_block *b;
	void *mine; /* of kind HOST */
	int fd, released, fds;
	int64_t pages;
	bool logs;
	struct vms_shared share[2];
	struct vms_memory *imported;
	uint64_t freed, skipped;
};

static void count(void *arg)
{
	++*(int *)arg;
}

static uint64_t blocks(struct vms_memory *mem)
{
	struct vms_memory_info info = { .size = sizeof(info) };

	assert_ok(vms_memory_info(mem, &info));
	return info.blocks;
}

static void set_up(struct stage *s)
{
	static const struct vms_memory_params mp = { .size = sizeof(mp) };
	static const struct vms_dirty_params dp = { .size = sizeof(dp) };

	assert_ok(vms_memory_create(&mp, &s->mem));
	if (s->logs)
		assert_ok(vms_dirty_start(s->mem, &dp, &s->log));
	s->b = NULL;
	s->released = 0;
}

static void tear_down(void *arg)
{
	struct stage *s = arg;

	if (s->b) {
		if (!(s->b->flags & VMS_BLOCK_STANDALONE))
			vms_block_remove(s->b);
		vms_block_unref(s->b);
		s->b = NULL;
	}
	vms_dirty_stop(s->log);
	s->log = NULL;
	assert_ok(vms_memory_check(s->mem));
	vms_memory_unref(s->mem);
	if (s->params.kind == VMS_BLOCK_HOST)
		assert_int_equal(s->released, 1);
}

/* ---- Creating ---- */

static void before_create(void *arg)
{
	struct stage *s = arg;

	set_up(s);
	s->pages = mapped_pages();
	s->fds = open_descriptors();
}

static int create(void *arg)
{
	struct stage *s = arg;

	s->params.size = sizeof(s->params);
	s->params.arg = s->params.kind == VMS_BLOCK_HOST ? &s->released : NULL;
	return vms_block_create(s->mem, &s->params, &s->b);
}

static void after_create(void *arg, int result, bool failed)
{
	struct stage *s = arg;

	if (result) {
		errors++;
		assert_true(failed);
		assert_null(s->b);
		assert_int_equal(blocks(s->mem), 0);
		assert_in_range(mapped_pages(), s->pages - SLACK, s->pages + SLACK);
		assert_int_equal(open_descriptors(), s->fds);
		assert_int_equal(s->released, 0);
		assert_true(strlen(vms_last_error()) > 10);
		assert_ok(create(s));
	}
	assert_int_equal(blocks(s->mem), 1);
	assert_int_equal(s->b->bytes, BYTES);
	if (s->b->hva && !(s->b->flags & VMS_BLOCK_READ))
		s->b->hva[0] = s->b->hva[BYTES - 1] = 1;
}

static void sweeps(struct stage *s, void (*before)(void *arg), int (*run)(void *arg),
		   void (*after)(void *arg, int result, bool failed), uint32_t mask, int err)
{
	struct sweep sw = { .world = &tw,
			    .set_up = before,
			    .run = run,
			    .check = after,
			    .tear_down = tear_down,
			    .arg = s,
			    .mask = mask,
			    .err = err };

	errors = 0;
	sweep(&sw);
}

static void creates(struct stage *s)
{
	static const int errs[] = { ENOMEM, EIO, EINVAL };

	for (unsigned i = 0; i < sizeof(errs) / sizeof(errs[0]); i++) {
		sweeps(s, before_create, create, after_create, MASK, errs[i]);
		assert_true(errors > 0);
	}
	s->logs = true;
	sweeps(s, before_create, create, after_create, MASK, ENOMEM);
	assert_true(errors > 0);
	s->logs = false;
}

#define ALL_ADVICE (VMS_BLOCK_THP | VMS_BLOCK_PREALLOC | VMS_BLOCK_DONTDUMP | VMS_BLOCK_DONTFORK)

static void anon_and_shared(void **state)
{
	struct stage s = { .params = { .kind = VMS_BLOCK_ANON, .bytes = BYTES } };

	for (; s.params.kind <= VMS_BLOCK_SHARED; s.params.kind++) {
		s.params.flags = 0;
		creates(&s);
		s.params.flags = ALL_ADVICE | VMS_BLOCK_LOCK;
		s.params.numa = VMS_NUMA_BIND;
		creates(&s);
		s.params.numa = VMS_NUMA_DEFAULT;
	}
}

static void files(void **state)
{
	struct stage s = { .params = { .kind = VMS_BLOCK_FILE } };
	static const uint32_t flags[] = { 0, VMS_BLOCK_PRIVATE | ALL_ADVICE,
					  VMS_BLOCK_READ | VMS_BLOCK_PREALLOC };

	s.params.fd = file_of(BYTES, 'f');
	for (unsigned i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		s.params.flags = flags[i];
		creates(&s);
	}
	close(s.params.fd);
}

static void host(void **state)
{
	struct stage s = { .params = { .kind = VMS_BLOCK_HOST, .bytes = BYTES, .release = count } };

	s.params.hva =
		mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* It makes no host call. */
	sweeps(&s, before_create, create, after_create, 1u << CALL_ALLOC, ENOMEM);
	assert_true(errors > 0);
	munmap(s.params.hva, BYTES);
}

static void objects(void **state)
{
	struct stage s = { .params = { .kind = VMS_BLOCK_OBJECT } };
	struct vms_arena_params ap = { .size = sizeof(ap), .reserve = UINT64_C(1) << 30 };
	struct vms_object_params op = { .size = sizeof(op), .bytes = BYTES };

	assert_ok(vms_arena_create(&ap, &s.arena));
	for (unsigned i = 0; i < 2; i++) {
		struct vms_object_info info = { .size = sizeof(info) };

		op.flags = i ? VMS_OBJECT_CONTIGUOUS : 0;
		assert_ok(vms_object_create(s.arena, &op, &s.params.object));
		sweeps(&s, before_create, create, after_create, 1u << CALL_ALLOC, ENOMEM);
		assert_true(errors > 0);
		assert_ok(vms_object_info(s.params.object, &info));
		assert_int_equal(info.pinned, 0);
		vms_object_unref(s.params.object);
	}
	vms_arena_unref(s.arena);
}

/* ---- What the host does not take back ---- */

static void after_trim(void *arg, int result, bool failed)
{
	struct stage *s = arg;

	assert_ok(result); /* it stays reserved until the block ends */
	assert_int_equal((uintptr_t)s->b->hva % (2 * MIB), 0);
	s->b->hva[BYTES - 1] = 1;
}

static void trims(void **state)
{
	struct stage s = { .params = { .kind = VMS_BLOCK_ANON, .bytes = BYTES } };
	int64_t pages = mapped_pages();

	for (unsigned i = 0; i < 8; i++)
		sweeps(&s, before_create, create, after_trim, 1u << CALL_MUNMAP, ENOMEM);
	assert_in_range(mapped_pages(), pages - SLACK, pages + SLACK);
}

/* ---- Slow blocks ---- */

static int create_slow(void *arg)
{
	static const struct vms_slow_ops ops = { .size = sizeof(ops), .release = count };
	struct stage *s = arg;

	return block_create_slow(s->mem, BYTES, &ops, &s->released, &s->b);
}

static void after_slow(void *arg, int result, bool failed)
{
	struct stage *s = arg;

	if (result) {
		errors++;
		assert_null(s->b);
		assert_int_equal(blocks(s->mem), 0);
		assert_int_equal(s->released, 0);
		assert_ok(create_slow(s));
	}
}

static void slow(void **state)
{
	struct stage s = { 0 };

	sweeps(&s, before_create, create_slow, after_slow, MASK, ENOMEM);
	assert_true(errors > 0);
	assert_int_equal(s.released, 1);
}

/* ---- Discard ---- */

static void before_discard(void *arg)
{
	struct stage *s = arg;
	struct vms_edit *e;

	s->logs = true;
	set_up(s);
	assert_ok(create(s));
	assert_ok(vms_edit_begin(s->mem, &e));
	assert_ok(vms_slot_map(e, 0, BYTES, s->b, 0, VMS_SLOT_RAM));
	assert_ok(vms_edit_commit(e));
	memset(s->b->hva, 0xaa, BYTES);
}

static int discard(void *arg)
{
	struct stage *s = arg;

	return vms_discard(s->mem, P, 2 * P, &s->freed, &s->skipped);
}

static int run(void *arg, struct vms_block *block, uint64_t off, uint64_t len)
{
	assert_int_equal(off, P);
	assert_int_equal(len, 2 * P);
	++*(int *)arg;
	return 0;
}

static void after_discard(void *arg, int result, bool failed)
{
	struct stage *s = arg;
	unsigned char now = s->b->hva[P];
	struct vms_edit *e;
	int runs = 0;

	assert_true(now == 0 || now == 0xaa);
	assert_int_equal(s->b->hva[0], 0xaa);
	assert_int_equal(s->b->hva[3 * P], 0xaa);
	for (uint64_t at = P; at < 3 * P; at++)
		assert_int_equal(s->b->hva[at], now);
	assert_ok(vms_dirty_harvest(s->log, s->b, 0, BYTES, run, &runs));
	if (now == 0)
		assert_int_equal(runs, 1);
	if (result) {
		errors++;
		assert_int_equal(s->freed, 0);
		assert_ok(discard(s));
	}
	assert_int_equal(s->freed + s->skipped, 2 * P);
	if (s->freed)
		assert_int_equal(s->b->hva[P], 0);
	assert_ok(vms_edit_begin(s->mem, &e));
	assert_ok(vms_slot_unmap(e, 0, BYTES));
	assert_ok(vms_edit_commit(e));
}

static void discards(void **state)
{
	static const struct {
		uint32_t kind, flags;
	} rows[] = {
		{ VMS_BLOCK_ANON, 0 },
		{ VMS_BLOCK_ANON, VMS_BLOCK_LOCK },
		{ VMS_BLOCK_SHARED, 0 },
		{ VMS_BLOCK_SHARED, VMS_BLOCK_LOCK },
		{ VMS_BLOCK_FILE, 0 },
		{ VMS_BLOCK_FILE, VMS_BLOCK_PRIVATE | VMS_BLOCK_DONTFORK | VMS_BLOCK_LOCK },
	};
	static const int errs[] = { ENOMEM, EINVAL, EOPNOTSUPP };
	int64_t pages;

	for (unsigned i = 0; i < 3; i++) /* libc learns to keep as much */
		close(file_of(BYTES, 'f'));
	pages = mapped_pages();
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (unsigned k = 0; k < sizeof(errs) / sizeof(errs[0]); k++) {
			struct stage s = { .params = { .kind = rows[i].kind,
						       .flags = rows[i].flags,
						       .bytes = BYTES } };

			s.params.fd = file_of(BYTES, 'f');
			sweeps(&s, before_discard, discard, after_discard, MASK, errs[k]);
			assert_true(errors > 0 || errs[k] != ENOMEM);
			close(s.params.fd);
			assert_in_range(mapped_pages(), pages - SLACK, pages + SLACK);
		}
}

/* ---- Sharing ---- */

static void before_import(void *arg)
{
	struct stage *s = arg;

	set_up(s);
	s->imported = NULL;
	s->fds = open_descriptors();
	s->pages = mapped_pages();
}

static int import(void *arg)
{
	static const struct vms_memory_params mp = { .size = sizeof(mp) };
	struct stage *s = arg;

	return vms_memory_import(&mp, 0, s->share, 2, &s->imported);
}

static void after_import(void *arg, int result, bool failed)
{
	struct stage *s = arg;
	uint64_t gpa, len;

	if (result) {
		errors++;
		assert_null(s->imported);
		assert_int_equal(open_descriptors(), s->fds);
		assert_in_range(mapped_pages(), s->pages - SLACK, s->pages + SLACK);
		assert_ok(import(s));
	}
	assert_int_equal(blocks(s->imported), 2);
	assert_ok(vms_memory_check(s->imported));
	assert_ok(vms_memory_find_user(s->imported, 5 * BYTES + 7, &gpa, &len));
	assert_int_equal(gpa, 2 * BYTES + 7);
	vms_memory_unref(s->imported);
	assert_int_equal(open_descriptors(), s->fds);
}

static void imports(void **state)
{
	struct stage s = { .fd = memfd_create("memory", MFD_CLOEXEC | MFD_ALLOW_SEALING) };
	static const int errs[] = { ENOMEM, EINVAL };

	assert_ok(ftruncate(s.fd, 2 * BYTES));
	assert_ok(fcntl(s.fd, F_ADD_SEALS, F_SEAL_SHRINK));
	s.share[0] = (struct vms_shared){ .len = BYTES, .uva = BYTES, .fd = s.fd };
	s.share[1] = (struct vms_shared){
		.gpa = 2 * BYTES, .len = BYTES, .uva = 5 * BYTES, .fd_off = BYTES, .fd = s.fd
	};
	for (unsigned i = 0; i < 2; i++) {
		sweeps(&s, before_import, import, after_import, MASK, errs[i]);
		assert_true(errors > 0);
	}
	close(s.fd);
}

static int begin(void **state)
{
	P = (uint64_t)sysconf(_SC_PAGESIZE);
	test_world_begin(&tw);
	return 0;
}

static int end(void **state)
{
	epoch_synchronize(); /* what objects and tables retired */
	test_world_end(&tw);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(anon_and_shared, begin, end),
		cmocka_unit_test_setup_teardown(files, begin, end),
		cmocka_unit_test_setup_teardown(host, begin, end),
		cmocka_unit_test_setup_teardown(objects, begin, end),
		cmocka_unit_test_setup_teardown(trims, begin, end),
		cmocka_unit_test_setup_teardown(slow, begin, end),
		cmocka_unit_test_setup_teardown(discards, begin, end),
		cmocka_unit_test_setup_teardown(imports, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
