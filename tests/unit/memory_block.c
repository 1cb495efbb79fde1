// SPDX-License-Identifier: MIT
/* Blocks: every kind of host memory, what the kernel says of it, and a block's life. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

#include "files.h"
#include "memory/block.h"
#include "memory/memory.h"
#include "world.h"

#define MIB (UINT64_C(1) << 20)

static struct test_world tw;
static uint64_t P;

static int begin(void **state)
{
	static const struct vms_memory_params params = { .size = sizeof(params) };
	struct vms_memory *mem;

	P = (uint64_t)sysconf(_SC_PAGESIZE);
	test_world_begin(&tw);
	assert_ok(vms_memory_create(&params, &mem));
	*state = mem;
	return 0;
}

static int end(void **state)
{
	if (*state) {
		assert_ok(vms_memory_check(*state));
		vms_memory_unref(*state);
	}
	test_world_end(&tw);
	return 0;
}

static struct vms_block_params params_of(uint32_t kind, uint64_t bytes, uint32_t flags)
{
	return (struct vms_block_params){ .size = sizeof(struct vms_block_params),
					  .kind = kind,
					  .bytes = bytes,
					  .flags = flags };
}

static struct vms_block *block(struct vms_memory *mem, const struct vms_block_params *p)
{
	struct vms_block *b = NULL;

	if (vms_block_create(mem, p, &b))
		print_error("%s\n", vms_last_error());
	assert_non_null(b);
	return b;
}

static struct vms_block *plain(struct vms_memory *mem, uint32_t kind, uint64_t bytes,
			       uint32_t flags)
{
	struct vms_block_params p = params_of(kind, bytes, flags);

	return block(mem, &p);
}

static struct vms_block_info info_of(struct vms_block *b)
{
	struct vms_block_info info = { .size = sizeof(info) };

	assert_ok(vms_block_info(b, &info));
	return info;
}

/* End it, and see that it has gone. */
static void done(struct vms_memory *mem, struct vms_block *b)
{
	struct vms_memory_info before = { .size = sizeof(before) }, after = before;

	assert_ok(vms_memory_info(mem, &before));
	assert_ok(vms_block_remove(b));
	vms_block_unref(b);
	vms_memory_synchronize(mem);
	assert_ok(vms_memory_info(mem, &after));
	assert_int_equal(after.blocks, before.blocks - 1);
}

static void refused(struct vms_memory *mem, const struct vms_block_params *p, int err)
{
	struct vms_block *b = NULL;
	int fds = open_descriptors(), got = vms_block_create(mem, p, &b);

	if (got != err)
		print_error("%s\n", vms_last_error());
	assert_int_equal(got, err);
	assert_true(strlen(vms_last_error()) > 10);
	assert_null(b);
	assert_int_equal(open_descriptors(), fds);
}

/* The value of a line of /proc/self/smaps for the region that begins at addr. */
static bool smaps(const void *addr, const char *key, char *value, size_t size)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[512], start[32];
	bool here = false, found = false;

	assert_non_null(f);
	snprintf(start, sizeof(start), "%lx-", (unsigned long)addr);
	while (!found && fgets(line, sizeof(line), f)) {
		char *colon = strchr(line, ':');

		if (strchr(line, '-') && line[0] >= '0' && (line[0] <= '9' || line[0] >= 'a') &&
		    strchr(line, '-') < strchr(line, ' '))
			here = strncmp(line, start, strlen(start)) == 0;
		else if (here && colon && strlen(key) == (size_t)(colon - line) &&
			 strncmp(line, key, strlen(key)) == 0) {
			snprintf(value, size, "%s", colon + 1);
			found = true;
		}
	}
	fclose(f);
	return found;
}

static bool has_flag(const void *addr, const char *flag)
{
	char value[256], with[8];

	assert_true(smaps(addr, "VmFlags", value, sizeof(value)));
	snprintf(with, sizeof(with), " %s ", flag);
	return strstr(value, with) != NULL;
}

static unsigned long kib(const void *addr, const char *key)
{
	char value[256];

	assert_true(smaps(addr, key, value, sizeof(value)));
	return strtoul(value, NULL, 10);
}

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

/* ---- What is done to memory ---- */

static void advice(void **state)
{
	struct vms_block *b;
	void *hva;

	b = plain(*state, VMS_BLOCK_ANON, 4 * MIB, 0);
	hva = info_of(b).hva;
	assert_false(has_flag(hva, "dd") || has_flag(hva, "dc") || has_flag(hva, "lo"));
	done(*state, b);
	b = plain(*state, VMS_BLOCK_ANON, 4 * MIB,
		  VMS_BLOCK_DONTDUMP | VMS_BLOCK_DONTFORK | VMS_BLOCK_THP | VMS_BLOCK_MERGE);
	hva = info_of(b).hva;
	assert_true(has_flag(hva, "dd"));
	assert_true(has_flag(hva, "dc"));
	/* Hints, if the host has them. */
	if (access("/sys/kernel/mm/transparent_hugepage/enabled", R_OK) == 0)
		assert_true(has_flag(hva, "hg"));
	if (access("/sys/kernel/mm/ksm/run", R_OK) == 0)
		assert_true(has_flag(hva, "mg"));
	done(*state, b);
	b = plain(*state, VMS_BLOCK_SHARED, 4 * MIB, VMS_BLOCK_DONTFORK | VMS_BLOCK_NO_THP);
	hva = info_of(b).hva;
	assert_true(has_flag(hva, "dc"));
	if (access("/sys/kernel/mm/transparent_hugepage/enabled", R_OK) == 0)
		assert_true(has_flag(hva, "nh"));
	done(*state, b);
}

static void locked(void **state)
{
	struct vms_block_params p = params_of(VMS_BLOCK_ANON, 2 * MIB, VMS_BLOCK_LOCK);
	struct vms_block *b;
	void *hva;

	if (vms_block_create(*state, &p, &b)) {
		assert_non_null(strstr(vms_last_error(), "RLIMIT_MEMLOCK"));
		print_message("the host does not let us lock 2 MiB\n");
		skip();
	}
	hva = info_of(b).hva;
	assert_true(has_flag(hva, "lo"));
	assert_int_equal(kib(hva, "Locked"), 2048);
	assert_int_equal(info_of(b).resident, 2 * MIB);
	done(*state, b);
	test_world_fail(&tw, 1, 1u << CALL_MLOCK, EPERM);
	refused(*state, &p, -ENOMEM);
	assert_non_null(strstr(vms_last_error(), "RLIMIT_MEMLOCK"));
}

struct told {
	uint64_t last, calls, stop_at;
	pthread_t thread;
};

static int progress(void *arg, uint64_t done, uint64_t bytes)
{
	struct told *t = arg;

	assert_true(pthread_equal(t->thread, pthread_self()));
	assert_true(done >= t->last && done <= bytes);
	t->last = done;
	t->calls++;
	return t->stop_at && t->calls >= t->stop_at ? 1 : 0;
}

static void prealloc(void **state)
{
	uint32_t kinds[] = { VMS_BLOCK_ANON, VMS_BLOCK_SHARED };
	struct told t = { .thread = pthread_self() };

	for (unsigned i = 0; i < 2; i++) {
		struct vms_block_params p = params_of(kinds[i], 40 * MIB, VMS_BLOCK_PREALLOC);
		struct vms_block *b;

		t.last = t.calls = t.stop_at = 0;
		p.progress = progress;
		p.progress_arg = &t;
		b = block(*state, &p);
		assert_int_equal(info_of(b).resident, 40 * MIB);
		assert_int_equal(t.last, 40 * MIB);
		assert_int_equal(t.calls, 3);
		done(*state, b);
		t.last = t.calls = 0;
		t.stop_at = 2;
		refused(*state, &p, -ECANCELED);
		assert_int_equal(t.calls, 2);
	}
}

static void prealloc_of_files(void **state)
{
	struct vms_block_params p = params_of(VMS_BLOCK_FILE, 0, VMS_BLOCK_PREALLOC);
	struct vms_block *b;

	p.fd = file_of(20 * MIB, 'f');
	for (unsigned i = 0; i < 3; i++) {
		static const uint32_t more[] = { 0, VMS_BLOCK_PRIVATE, VMS_BLOCK_READ };

		p.flags = VMS_BLOCK_PREALLOC | more[i];
		b = block(*state, &p);
		assert_int_equal(kib(info_of(b).hva, "Rss"), 20 * 1024);
		for (uint64_t at = 0; at < 20 * MIB; at += P)
			assert_int_equal(b->hva[at], 'f');
		done(*state, b);
	}
	close(p.fd);
}

static int old_madvise(const struct world *w, uint64_t addr, uint64_t len, int advice)
{
	return advice == 22 || advice == 23 ? -EINVAL
					    : world_host.madvise(&world_host, addr, len, advice);
}

/* A host without MADV_POPULATE_*. */
static void prealloc_by_touching(void **state)
{
	struct vms_block_params p = params_of(VMS_BLOCK_ANON, 20 * MIB, VMS_BLOCK_PREALLOC);
	struct vms_block *b;
	unsigned char byte;

	tw.world.madvise = old_madvise;
	b = block(*state, &p);
	assert_int_equal(info_of(b).resident, 20 * MIB);
	done(*state, b);
	p.kind = VMS_BLOCK_SHARED;
	b = block(*state, &p);
	assert_int_equal(info_of(b).resident, 20 * MIB);
	done(*state, b);
	p.kind = VMS_BLOCK_FILE;
	p.fd = file_of(20 * MIB, 'f');
	b = block(*state, &p);
	assert_int_equal(kib(info_of(b).hva, "Rss"), 20 * 1024);
	assert_int_equal(pread(p.fd, &byte, 1, (off_t)(3 * P)), 1);
	assert_int_equal(byte, 'f');
	done(*state, b);
	/* A file system that is full is an error, not a signal. */
	test_world_fail(&tw, 1, 1u << CALL_FALLOCATE, ENOSPC);
	refused(*state, &p, -ENOMEM);
	p.flags |= VMS_BLOCK_READ;
	b = block(*state, &p);
	assert_int_equal(kib(info_of(b).hva, "Rss"), 20 * 1024);
	done(*state, b);
	close(p.fd);
}

/* Not over a test's world: that is for one thread. */
static void prealloc_by_threads(void **state)
{
	static const struct vms_memory_params mp = { .size = sizeof(mp) };
	struct told t = { .thread = pthread_self() };
	sigset_t before, after;

	pthread_sigmask(SIG_SETMASK, NULL, &before);
	world_default = &world_host;
	for (unsigned threads = 0; threads <= 128; threads = threads * 10 + 2) {
		struct vms_block_params p =
			params_of(VMS_BLOCK_SHARED, 48 * MIB + P, VMS_BLOCK_PREALLOC);
		struct vms_memory *mem;
		struct vms_block *b = NULL;

		assert_ok(vms_memory_create(&mp, &mem));
		t.last = t.calls = t.stop_at = 0;
		p.threads = threads;
		p.progress = progress;
		p.progress_arg = &t;
		b = block(mem, &p);
		assert_int_equal(info_of(b).resident, 48 * MIB + P);
		assert_int_equal(t.last, 48 * MIB + P);
		vms_block_unref(b);
		t.last = t.calls = 0;
		t.stop_at = 1;
		refused(mem, &p, -ECANCELED);
		vms_memory_unref(mem);
	}
	world_default = &tw.world;
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	for (int sig = 1; sig < 32; sig++)
		assert_int_equal(sigismember(&before, sig), sigismember(&after, sig));
}

/* ---- NUMA ---- */

static struct {
	int mode, calls, populated;
	uint64_t nodes, addr, len;
} bound;

static int note_mbind(const struct world *w, uint64_t addr, uint64_t len, int mode, uint64_t nodes)
{
	assert_int_equal(bound.populated, 0); /* no page is there yet */
	bound.calls++;
	bound.mode = mode;
	bound.nodes = nodes;
	bound.addr = addr;
	bound.len = len;
	return 0;
}

static int note_madvise(const struct world *w, uint64_t addr, uint64_t len, int advice)
{
	bound.populated += advice == 22 || advice == 23;
	return world_host.madvise(&world_host, addr, len, advice);
}

static void numa(void **state)
{
	/* What is asked for, and the MPOL_* and nodes that the host is told. */
	static const struct {
		uint32_t numa, node;
		uint64_t nodes;
		int mode;
		uint64_t told;
	} rows[] = {
		{ VMS_NUMA_BIND, 3, 0, 2, 8 },
		{ VMS_NUMA_BIND, 3, 5, 2, 5 },
		{ VMS_NUMA_PREFERRED, 63, 1, 1, UINT64_C(1) << 63 },
		{ VMS_NUMA_INTERLEAVE, 0, 6, 3, 6 },
		{ VMS_NUMA_INTERLEAVE, 1, 0, 3, 2 },
	};

	tw.world.mbind = note_mbind;
	tw.world.madvise = note_madvise;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vms_block_params p =
			params_of(VMS_BLOCK_ANON + i % 2, 2 * MIB, VMS_BLOCK_PREALLOC);
		struct vms_block *b;

		p.numa = rows[i].numa;
		p.node = rows[i].node;
		p.nodes = rows[i].nodes;
		memset(&bound, 0, sizeof(bound));
		b = block(*state, &p);
		assert_int_equal(bound.calls, 1);
		assert_int_equal(bound.mode, rows[i].mode);
		assert_int_equal(bound.nodes, rows[i].told);
		assert_int_equal(bound.addr, (uintptr_t)info_of(b).hva);
		assert_int_equal(bound.len, 2 * MIB);
		assert_int_equal(bound.populated, 1);
		done(*state, b);
	}
	memset(&bound, 0, sizeof(bound));
	done(*state, plain(*state, VMS_BLOCK_ANON, P, 0));
	assert_int_equal(bound.calls, 0);
}

static void numa_of_this_host(void **state)
{
	struct vms_block_params p = params_of(VMS_BLOCK_ANON, 4 * P, 0);
	char line[512], start[32];
	struct vms_block *b;
	bool found = false;
	FILE *f;

	p.numa = VMS_NUMA_BIND;
	if (vms_block_create(*state, &p, &b)) {
		print_message("the host knows no nodes: %s\n", vms_last_error());
		skip();
	}
	f = fopen("/proc/self/numa_maps", "r");
	snprintf(start, sizeof(start), "%lx bind:0", (unsigned long)info_of(b).hva);
	while (f && fgets(line, sizeof(line), f))
		found |= strncmp(line, start, strlen(start)) == 0;
	assert_true(!f || found);
	if (f)
		fclose(f);
	done(*state, b);
	p.node = 63; /* such a host has not been seen */
	if (access("/sys/devices/system/node/node63", F_OK))
		refused(*state, &p, -EINVAL);
}

/* ---- Huge pages ---- */

static unsigned long free_huge_pages(void)
{
	FILE *f = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "r");
	unsigned long n = 0;

	if (f && fscanf(f, "%lu", &n) != 1)
		n = 0;
	if (f)
		fclose(f);
	return n;
}

static void huge_pages_that_are_not_there(void **state)
{
	uint32_t kinds[] = { VMS_BLOCK_ANON, VMS_BLOCK_SHARED };

	if (access("/sys/kernel/mm/hugepages/hugepages-2048kB", F_OK)) {
		print_message("the host has no huge pages of 2 MiB\n");
		skip();
	}
	for (unsigned i = 0; i < 2; i++) {
		struct vms_block_params p =
			params_of(kinds[i], (free_huge_pages() + 1) * 2 * MIB, VMS_BLOCK_HUGETLB);

		p.huge_page = 2 * MIB;
		refused(*state, &p, -ENOMEM);
		assert_non_null(strstr(vms_last_error(), "pool"));
		p.huge_page = 0; /* the default's size is the host's to say */
		p.bytes = (UINT64_C(1) << 30) + P;
		refused(*state, &p, -EINVAL);
		p.huge_page = 8 * MIB; /* nobody's */
		p.bytes = 8 * MIB;
		refused(*state, &p, -ENOTSUP);
	}
}

static void huge_pages(void **state)
{
	uint32_t kinds[] = { VMS_BLOCK_ANON, VMS_BLOCK_SHARED };

	if (free_huge_pages() < 3) {
		print_message("the host's pool has no 3 pages of 2 MiB\n");
		skip();
	}
	for (unsigned i = 0; i < 2; i++) {
		struct vms_block_params p =
			params_of(kinds[i], 6 * MIB, VMS_BLOCK_HUGETLB | VMS_BLOCK_PREALLOC);
		struct vms_block *b;

		p.huge_page = 2 * MIB;
		b = block(*state, &p);
		assert_int_equal(info_of(b).page_size, 2 * MIB);
		assert_int_equal((uintptr_t)info_of(b).hva % (2 * MIB), 0);
		assert_int_equal(kib(info_of(b).hva, "KernelPageSize"), 2048);
		assert_int_equal(info_of(b).resident, 6 * MIB);
		done(*state, b);
	}
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
		cmocka_unit_test_setup_teardown(advice, begin, end),
		cmocka_unit_test_setup_teardown(locked, begin, end),
		cmocka_unit_test_setup_teardown(prealloc, begin, end),
		cmocka_unit_test_setup_teardown(prealloc_of_files, begin, end),
		cmocka_unit_test_setup_teardown(prealloc_by_touching, begin, end),
		cmocka_unit_test_setup_teardown(prealloc_by_threads, begin, end),
		cmocka_unit_test_setup_teardown(numa, begin, end),
		cmocka_unit_test_setup_teardown(numa_of_this_host, begin, end),
		cmocka_unit_test_setup_teardown(huge_pages_that_are_not_there, begin, end),
		cmocka_unit_test_setup_teardown(huge_pages, begin, end),
		cmocka_unit_test_setup_teardown(bad_params, begin, end),
		cmocka_unit_test_setup_teardown(removed_once, begin, end),
		cmocka_unit_test_setup_teardown(readers_hold_memory, begin, end),
		cmocka_unit_test_setup_teardown(outlives_the_memory, begin, end),
		cmocka_unit_test_setup_teardown(slow, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
