// SPDX-License-Identifier: MIT
/* Blocks: every kind of memory that one can have, and a block's life. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "block_kit.h"

/* ---- Anonymous ---- */

static void anon(void **state)
{
	struct vms_block_params p = params_of(VMS_BLOCK_ANON, 3 * P, 0);
	struct vms_block_info info;
	struct vms_block *b;
	unsigned char *hva;

	p.name = "a name that is quite a bit longer than there is room for";
	b = block(*state, &p);
	info = info_of(b);
	hva = info.hva;
	assert_int_equal(info.kind, VMS_BLOCK_ANON);
	assert_int_equal(info.bytes, 3 * P);
	assert_int_equal(info.fd, -1);
	assert_int_equal(info.page_size, P);
	assert_int_equal(info.slots | info.pins, 0);
	assert_int_equal(info.resident, 0);
	assert_int_equal(strlen(info.name), sizeof(info.name) - 1);
	assert_memory_equal(info.name, p.name, sizeof(info.name) - 1);
	assert_int_equal(hva[0] | hva[3 * P - 1], 0);
	hva[P] = 1;
	hva[3 * P - 1] = 2;
	assert_true(info_of(b).resident >= 2 * P);
	done(*state, b);
}

static void large_ones_are_aligned(void **state)
{
	uint64_t sizes[] = { 2 * MIB, 2 * MIB + P, 64 * MIB, 1024 * MIB, 3 * MIB - P };
	int64_t pages = mapped_pages();

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (uint32_t kind = VMS_BLOCK_ANON; kind <= VMS_BLOCK_SHARED; kind++) {
			struct vms_block *b = plain(*state, kind, sizes[i], 0);
			unsigned char *hva = info_of(b).hva;
			/* The block and its dirty bits: what was reserved too much has gone. */
			int64_t took = mapped_pages() - pages;

			assert_int_equal((uintptr_t)hva % (2 * MIB), 0);
			assert_true(took >= (int64_t)(sizes[i] / P));
			assert_true(took <= (int64_t)(sizes[i] / P + sizes[i] / P / 8 / P + 16));
			hva[sizes[i] - 1] = 1;
			done(*state, b);
			assert_in_range(mapped_pages(), pages, pages + 16);
		}
}

/* More address space than most hosts have memory: only what is touched is taken. */
static void memory_is_not_reserved(void **state)
{
	struct vms_block *b = plain(*state, VMS_BLOCK_ANON, UINT64_C(1) << 38, 0);

	b->hva[0] = b->hva[b->bytes - 1] = 1;
	atomic_fetch_or(&b->bits[block_bits_bytes(b) / 8 - 1], 1);
	done(*state, b);
}

static void ids_differ(void **state)
{
	struct vms_block *a = plain(*state, VMS_BLOCK_ANON, P, 0);
	struct vms_block *b = plain(*state, VMS_BLOCK_ANON, P, 0);

	assert_true(info_of(a).id != info_of(b).id);
	done(*state, a);
	done(*state, b);
}

/* ---- Shared ---- */

static void shared(void **state)
{
	struct vms_block *b = plain(*state, VMS_BLOCK_SHARED, 4 * MIB, 0);
	struct vms_block_info info = info_of(b);
	unsigned char *hva = info.hva, *other;
	struct stat st;

	assert_true(info.fd >= 0);
	assert_int_equal(info.fd_off, 0);
	assert_int_equal(fcntl(info.fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	assert_ok(fstat(info.fd, &st));
	assert_int_equal(st.st_size, 4 * MIB);
	assert_int_equal(ftruncate(info.fd, 0), -1);
	assert_int_equal(info.resident, 0);
	other = mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_SHARED, info.fd, (off_t)MIB);
	assert_ptr_not_equal(other, MAP_FAILED);
	other[5] = 'x';
	assert_int_equal(hva[MIB + 5], 'x');
	assert_int_equal(info_of(b).resident, P);
	munmap(other, P);
	done(*state, b);
}

/* ---- Files ---- */

static void file_at_an_offset(void **state)
{
	struct vms_block_params p = params_of(VMS_BLOCK_FILE, 2 * P, 0);
	struct vms_block *b;
	unsigned char *hva, byte;

	p.fd = file_of(4 * P, 'f');
	p.fd_off = P;
	b = block(*state, &p);
	assert_int_equal(info_of(b).fd_off, P);
	assert_true(info_of(b).fd != p.fd);
	hva = info_of(b).hva;
	assert_int_equal(hva[0], 'f');
	hva[P + 3] = 'w';
	assert_int_equal(pread(p.fd, &byte, 1, (off_t)(2 * P + 3)), 1);
	assert_int_equal(byte, 'w');
	close(p.fd); /* ours stays */
	hva[0] = 'x';
	done(*state, b);
}

static void file_to_its_end(void **state)
{
	struct vms_block_params p = params_of(VMS_BLOCK_FILE, 0, 0);
	struct vms_block *b;

	p.fd = file_of(3 * P + 5, 'f'); /* the last page holds a part */
	b = block(*state, &p);
	assert_int_equal(info_of(b).bytes, 4 * P);
	assert_int_equal(((unsigned char *)info_of(b).hva)[3 * P + 4], 'f');
	assert_int_equal(((unsigned char *)info_of(b).hva)[3 * P + 5], 0);
	done(*state, b);
	p.fd_off = 3 * P;
	b = block(*state, &p);
	assert_int_equal(info_of(b).bytes, P);
	done(*state, b);
	p.fd_off = 4 * P;
	refused(*state, &p, -ERANGE);
	p.fd_off = 0;
	p.bytes = 5 * P;
	refused(*state, &p, -ERANGE);
	p.bytes = 2 * P;
	p.fd_off = 3 * P;
	refused(*state, &p, -ERANGE);
	p.fd_off = UINT64_MAX - P + 1;
	refused(*state, &p, -ERANGE);
	p.fd_off = 7;
	refused(*state, &p, -EINVAL);
	close(p.fd);
}

static void file_private_and_read(void **state)
{
	struct vms_block_params p = params_of(VMS_BLOCK_FILE, P, VMS_BLOCK_PRIVATE);
	struct vms_block *b;
	unsigned char byte;
	char path[64];
	int fd;

	fd = file_of(P, 'f');
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	p.fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(p.fd >= 0);
	b = block(*state, &p);
	*(unsigned char *)info_of(b).hva = 'p';
	assert_int_equal(pread(fd, &byte, 1, 0), 1);
	assert_int_equal(byte, 'f');
	done(*state, b);
	p.flags = VMS_BLOCK_READ;
	b = block(*state, &p);
	assert_false(has_flag(info_of(b).hva, "wr"));
	assert_int_equal(*(unsigned char *)info_of(b).hva, 'f');
	done(*state, b);
	p.flags = VMS_BLOCK_READ | VMS_BLOCK_PRIVATE;
	b = block(*state, &p);
	assert_false(has_flag(info_of(b).hva, "wr"));
	done(*state, b);
	p.flags = 0; /* not opened for that */
	refused(*state, &p, -EACCES);
	close(p.fd);
	p.fd = open(path, O_WRONLY | O_CLOEXEC);
	refused(*state, &p, -EACCES);
	p.flags = VMS_BLOCK_READ;
	refused(*state, &p, -EACCES);
	close(p.fd);
	close(fd);
}

static void no_such_file(void **state)
{
	struct vms_block_params p = params_of(VMS_BLOCK_FILE, P, 0);
	int ends[2], sealed;

	p.fd = -1;
	refused(*state, &p, -EBADF);
	p.fd = 999;
	refused(*state, &p, -EBADF);
	assert_ok(pipe(ends));
	p.fd = ends[0];
	refused(*state, &p, -ENOTSUP);
	close(ends[0]);
	close(ends[1]);
	p.fd = open("/", O_RDONLY | O_CLOEXEC);
	refused(*state, &p, -ENOTSUP);
	close(p.fd);
	p.fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	refused(*state, &p, -EBADF);
	close(p.fd);
	sealed = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_ok(ftruncate(sealed, (off_t)P));
	assert_ok(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE));
	p.fd = sealed;
	refused(*state, &p, -EACCES);
	close(sealed);
}

/* ---- Memory of the caller ---- */

static void count(void *arg)
{
	++*(int *)arg;
}

static void host_memory(void **state)
{
	unsigned char *mine =
		mmap(NULL, 4 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vms_block_params p = params_of(VMS_BLOCK_HOST, 2 * P, 0);
	int released = 0, never = 0;
	struct vms_block *b;

	p.hva = mine + P;
	p.release = count;
	p.arg = &released;
	b = block(*state, &p);
	assert_ptr_equal(info_of(b).hva, mine + P);
	vms_block_ref(b);
	assert_ok(vms_block_remove(b));
	vms_block_unref(b);
	vms_memory_synchronize(*state);
	assert_int_equal(released, 0);
	vms_block_unref(b);
	vms_memory_synchronize(*state);
	assert_int_equal(released, 1);
	mine[P] = 1; /* still ours */
	/* Of a call that failed it is not called. */
	p.arg = &never;
	p.hva = mine + 1;
	refused(*state, &p, -EINVAL);
	p.hva = NULL;
	refused(*state, &p, -EINVAL);
	p.hva = (void *)(UINTPTR_MAX - P + 1);
	refused(*state, &p, -EINVAL);
	p.hva = mine;
	p.bytes = 0;
	refused(*state, &p, -EINVAL);
	p.bytes = P + 1;
	refused(*state, &p, -EINVAL);
	assert_int_equal(never, 0);
	munmap(mine, 4 * P);
}

/* ---- Objects ---- */

static struct vms_arena *arena(void)
{
	struct vms_arena_params p = { .size = sizeof(p), .reserve = UINT64_C(1) << 30 };
	struct vms_arena *a;

	assert_ok(vms_arena_create(&p, &a));
	return a;
}

static struct vms_object *object(struct vms_arena *a, uint64_t bytes, uint32_t flags)
{
	struct vms_object_params p = { .size = sizeof(p), .bytes = bytes, .flags = flags };
	struct vms_object *obj;

	assert_ok(vms_object_create(a, &p, &obj));
	return obj;
}

static uint64_t pinned(struct vms_object *obj)
{
	struct vms_object_info info = { .size = sizeof(info) };

	assert_ok(vms_object_info(obj, &info));
	return info.pinned;
}

static void object_managed(void **state)
{
	struct vms_block_params p = params_of(VMS_BLOCK_OBJECT, 0, 0);
	struct vms_arena *a = arena();
	struct vms_object_params cp = { .size = sizeof(cp), .bytes = 8 * P };
	struct vms_object *snap;
	struct vms_block *b;

	p.object = object(a, 8 * P, 0);
	b = block(*state, &p);
	assert_int_equal(info_of(b).bytes, 8 * P);
	assert_null(info_of(b).hva);
	assert_int_equal(info_of(b).resident, UINT64_MAX);
	assert_non_null(b->bits);
	/* It may be branched: nothing is pinned. */
	assert_int_equal(pinned(p.object), 0);
	assert_ok(vms_object_child(p.object, VMS_CHILD_SNAPSHOT, 0, &cp, &snap));
	vms_object_unref(snap);
	done(*state, b);
	p.bytes = 9 * P;
	refused(*state, &p, -ERANGE);
	vms_object_unref(p.object);
	p.object = NULL;
	refused(*state, &p, -EINVAL);
	vms_arena_unref(a);
}

static void object_direct(void **state)
{
	struct vms_block_params p = params_of(VMS_BLOCK_OBJECT, 4 * P, 0);
	struct vms_object_params cp = { .size = sizeof(cp), .bytes = 2 * P };
	struct vms_arena *a = arena();
	struct vms_object *obj = object(a, 8 * P, VMS_OBJECT_CONTIGUOUS), *slice, *snap = NULL;
	struct vms_block *b, *c;
	void *hva;
	char byte = 0;

	p.object = obj;
	b = block(*state, &p);
	assert_ok(vms_object_contiguous(obj, 0, 4 * P, &hva));
	assert_ptr_equal(info_of(b).hva, hva);
	*(char *)hva = 'o';
	assert_ok(vms_object_read(obj, 0, &byte, 1, NULL));
	assert_int_equal(byte, 'o');
	assert_int_equal(pinned(obj), 4);
	assert_int_not_equal(vms_object_child(obj, VMS_CHILD_SNAPSHOT, 0, &cp, &snap), 0);
	assert_null(snap);
	/* A window of it that may not be written. */
	cp.flags = VMS_OBJECT_NO_WRITE;
	assert_ok(vms_object_child(obj, VMS_CHILD_SLICE, 3 * P, &cp, &slice));
	p.object = slice;
	p.bytes = 0;
	c = block(*state, &p);
	assert_ptr_equal(info_of(c).hva, (char *)hva + 3 * P);
	assert_int_equal(info_of(c).bytes, 2 * P);
	assert_int_equal(info_of(c).flags, VMS_BLOCK_READ);
	assert_int_equal(pinned(obj), 6);
	done(*state, b);
	assert_int_equal(pinned(obj), 2);
	vms_object_unref(obj);
	vms_object_unref(slice);
	vms_arena_unref(a);
	assert_int_equal(*(char *)hva, 'o'); /* the block keeps it all */
	done(*state, c);
}

static void object_of_host_memory(void **state)
{
	struct vms_block_params p = params_of(VMS_BLOCK_OBJECT, 0, 0);
	struct vms_object_params op = { .size = sizeof(op), .bytes = 2 * P };
	int released = 0;
	void *mine = mmap(NULL, 2 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vms_block *b;

	op.release = count;
	op.arg = &released;
	assert_ok(vms_object_create_host(mine, &op, &p.object));
	b = block(*state, &p);
	assert_ptr_equal(info_of(b).hva, mine);
	vms_object_unref(p.object);
	assert_int_equal(released, 0);
	done(*state, b);
	assert_int_equal(released, 1);
	munmap(mine, 2 * P);
}

/* ---- Params ---- */

static void bad_params(void **state)
{
	static const struct {
		uint32_t kind, flags;
		uint64_t bytes; /* pages */
		int err;
	} rows[] = {
		{ 0, 0, 1, -EINVAL },
		{ VMS_BLOCK_SLOW, 0, 1, -EINVAL },
		{ 99, 0, 1, -EINVAL },
		{ VMS_BLOCK_ANON, 0, 0, -EINVAL },
		{ VMS_BLOCK_ANON, 1u << 31, 1, -EINVAL },
		{ VMS_BLOCK_ANON, VMS_BLOCK_READ, 1, -EINVAL },
		{ VMS_BLOCK_ANON, VMS_BLOCK_PRIVATE, 1, -EINVAL },
		{ VMS_BLOCK_ANON, VMS_BLOCK_THP | VMS_BLOCK_NO_THP, 1, -EINVAL },
		{ VMS_BLOCK_ANON, VMS_BLOCK_THP | VMS_BLOCK_HUGETLB, 512, -EINVAL },
		{ VMS_BLOCK_ANON, VMS_BLOCK_MERGE | VMS_BLOCK_HUGETLB, 512, -EINVAL },
		{ VMS_BLOCK_SHARED, VMS_BLOCK_MERGE, 1, -EINVAL },
		{ VMS_BLOCK_SHARED, VMS_BLOCK_PRIVATE, 1, -EINVAL },
		{ VMS_BLOCK_FILE, VMS_BLOCK_HUGETLB, 512, -EINVAL },
		{ VMS_BLOCK_FILE, VMS_BLOCK_MERGE, 1, -EINVAL },
		{ VMS_BLOCK_HOST, VMS_BLOCK_LOCK, 1, -EINVAL },
		{ VMS_BLOCK_OBJECT, VMS_BLOCK_PREALLOC, 1, -EINVAL },
		{ VMS_BLOCK_ANON, 0, UINT64_C(1) << 51, -ERANGE },
		{ VMS_BLOCK_ANON, 0, UINT64_C(1) << 49, -ENOMEM },
	};
	struct vms_block_params p;

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		p = params_of(rows[i].kind, rows[i].bytes * P, rows[i].flags);
		refused(*state, &p, rows[i].err);
	}
	refused(*state, NULL, -EINVAL);
	p = params_of(VMS_BLOCK_ANON, P, 0);
	p.size--;
	refused(*state, &p, -EINVAL);
	p = params_of(VMS_BLOCK_ANON, P + 1, 0);
	refused(*state, &p, -EINVAL);
	p = params_of(VMS_BLOCK_ANON, P, 0);
	p.release = count;
	refused(*state, &p, -EINVAL);
	p = params_of(VMS_BLOCK_ANON, P, 0);
	p.huge_page = 2 * MIB; /* without HUGETLB */
	refused(*state, &p, -EINVAL);
	p = params_of(VMS_BLOCK_ANON, 6 * MIB, VMS_BLOCK_HUGETLB);
	p.huge_page = 3 * MIB;
	refused(*state, &p, -EINVAL);
	p = params_of(VMS_BLOCK_ANON, P, 0);
	p.numa = 4;
	refused(*state, &p, -EINVAL);
	p.numa = VMS_NUMA_BIND;
	p.node = 64;
	refused(*state, &p, -EINVAL);
	p = params_of(VMS_BLOCK_HOST, P, 0);
	p.hva = (void *)(uintptr_t)P;
	p.numa = VMS_NUMA_BIND;
	refused(*state, &p, -EINVAL);
}

/* ---- Life ---- */

static void removed_once(void **state)
{
	struct vms_block *b = plain(*state, VMS_BLOCK_ANON, P, 0);
	struct vms_block *own = plain(*state, VMS_BLOCK_ANON, P, VMS_BLOCK_STANDALONE);
	struct vms_block_info small = { .size = sizeof(small) - 1 };

	assert_int_equal(vms_block_info(b, &small), -EINVAL);
	assert_int_equal(vms_block_info(b, NULL), -EINVAL);
	atomic_fetch_add(&b->pins, 1);
	assert_int_equal(vms_block_remove(b), -EBUSY);
	assert_non_null(strstr(vms_last_error(), "1 spans"));
	atomic_fetch_sub(&b->pins, 1);
	assert_ok(vms_block_remove(b));
	assert_int_equal(vms_block_remove(b), -EBUSY);
	b->hva[0] = 1; /* the reference keeps it */
	vms_block_unref(b);
	assert_int_equal(vms_block_remove(own), -ENOTSUP);
	vms_block_unref(own); /* nothing ever showed it: it ends */
	vms_block_unref(NULL);
	vms_memory_synchronize(*state);
}

/* A reader that is inside when the block ends may still look. */
static void readers_hold_memory(void **state)
{
	struct vms_block *b = plain(*state, VMS_BLOCK_ANON, P, 0);
	unsigned char *hva = info_of(b).hva;
	int64_t pages;

	hva[0] = 7;
	assert_true(epoch_enter());
	assert_ok(vms_block_remove(b));
	vms_block_unref(b);
	pages = mapped_pages();
	assert_int_equal(hva[0], 7);
	epoch_leave();
	vms_memory_synchronize(*state);
	assert_true(mapped_pages() < pages);
}

static void outlives_the_memory(void **state)
{
	struct vms_block *b = plain(*state, VMS_BLOCK_SHARED, P, 0);
	struct vms_block *gone = plain(*state, VMS_BLOCK_SHARED, P, 0);

	vms_block_unref(gone); /* registered until the memory ends */
	assert_int_equal(info_of(gone).bytes, P);
	vms_memory_unref(*state);
	*state = NULL;
	b->hva[0] = 1;
	assert_int_equal(info_of(b).resident, P);
	assert_int_equal(vms_block_remove(b), -EBUSY);
	vms_block_unref(b);
}

/* What slow slots show. */
static void slow(void **state)
{
	static const struct vms_slow_ops ops = { .size = sizeof(ops), .release = count };
	int released = 0;
	struct vms_block *b;

	assert_ok(block_create_slow(*state, 3 * P, &ops, &released, &b));
	assert_int_equal(info_of(b).kind, VMS_BLOCK_SLOW);
	assert_int_equal(info_of(b).resident, UINT64_MAX);
	assert_null(b->bits);
	vms_block_unref(b);
	vms_memory_synchronize(*state);
	assert_int_equal(released, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(anon, begin, end),
		cmocka_unit_test_setup_teardown(large_ones_are_aligned, begin, end),
		cmocka_unit_test_setup_teardown(memory_is_not_reserved, begin, end),
		cmocka_unit_test_setup_teardown(ids_differ, begin, end),
		cmocka_unit_test_setup_teardown(shared, begin, end),
		cmocka_unit_test_setup_teardown(file_at_an_offset, begin, end),
		cmocka_unit_test_setup_teardown(file_to_its_end, begin, end),
		cmocka_unit_test_setup_teardown(file_private_and_read, begin, end),
		cmocka_unit_test_setup_teardown(no_such_file, begin, end),
		cmocka_unit_test_setup_teardown(host_memory, begin, end),
		cmocka_unit_test_setup_teardown(object_managed, begin, end),
		cmocka_unit_test_setup_teardown(object_direct, begin, end),
		cmocka_unit_test_setup_teardown(object_of_host_memory, begin, end),
		cmocka_unit_test_setup_teardown(bad_params, begin, end),
		cmocka_unit_test_setup_teardown(removed_once, begin, end),
		cmocka_unit_test_setup_teardown(readers_hold_memory, begin, end),
		cmocka_unit_test_setup_teardown(outlives_the_memory, begin, end),
		cmocka_unit_test_setup_teardown(slow, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
