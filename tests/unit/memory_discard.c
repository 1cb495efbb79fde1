// SPDX-License-Identifier: MIT
/* Discard: what each kind of block does, what is counted, and who is told. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

#include "block_kit.h"

static struct vms_block *create(struct vms_memory *mem, uint32_t kind, uint64_t bytes,
				uint32_t flags, int fd)
{
	struct vms_block_params p = { .size = sizeof(p),
				      .kind = kind,
				      .bytes = bytes,
				      .flags = flags | VMS_BLOCK_STANDALONE,
				      .fd = fd };
	struct vms_block *b = NULL;

	if (vms_block_create(mem, &p, &b))
		print_error("%s\n", vms_last_error());
	assert_non_null(b);
	return b;
}

/* The block ends with its slot, and the caller's reference is given up. */
static unsigned char *map(struct vms_memory *mem, uint64_t gpa, uint64_t len, struct vms_block *b,
			  uint64_t off, uint32_t access)
{
	struct vms_edit *e;

	assert_ok(vms_edit_begin(mem, &e));
	assert_ok(vms_slot_map(e, gpa, len, b, off, access));
	assert_ok(vms_edit_commit(e));
	return b->hva ? b->hva + off : NULL; /* managed */
}

static unsigned char *map_all(struct vms_memory *mem, uint64_t gpa, struct vms_block *b)
{
	unsigned char *hva = map(mem, gpa, b->bytes, b, 0, VMS_SLOT_RAM);

	vms_block_unref(b);
	return hva;
}

static void discards(struct vms_memory *mem, uint64_t gpa, uint64_t len, int err, uint64_t freed,
		     uint64_t skipped)
{
	uint64_t got_freed = 77, got_skipped = 77;
	int got = vms_discard(mem, gpa, len, &got_freed, &got_skipped);

	if (got != err)
		print_error("%s\n", vms_last_error());
	assert_int_equal(got, err);
	assert_int_equal(got_freed, freed);
	assert_int_equal(got_skipped, skipped);
}

static uint64_t resident(struct vms_block *b)
{
	struct vms_block_info info = { .size = sizeof(info) };

	assert_ok(vms_block_info(b, &info));
	return info.resident;
}

static void all(const unsigned char *p, uint64_t len, unsigned char byte)
{
	for (uint64_t i = 0; i < len; i += i + 64 < len ? 64 : 1)
		assert_int_equal(p[i], byte);
}

/* ---- Kinds ---- */

/* Pages 4 to 11 of 16 go, and come back as zeros. */
static void middle_goes(struct vms_memory *mem, struct vms_block *b)
{
	unsigned char *hva = map(mem, MIB, 16 * P, b, 0, VMS_SLOT_RAM);

	memset(hva, 0xaa, 16 * P);
	assert_int_equal(resident(b), 16 * P);
	discards(mem, MIB + 4 * P, 8 * P, 0, 8 * P, 0);
	assert_int_equal(resident(b), 8 * P);
	all(hva, 4 * P, 0xaa);
	all(hva + 12 * P, 4 * P, 0xaa);
	all(hva + 4 * P, 8 * P, 0);
	hva[5 * P] = 1;
	assert_int_equal(hva[5 * P], 1);
	/* Again, and what is not there at all. */
	discards(mem, MIB + 4 * P, 8 * P, 0, 8 * P, 0);
	discards(mem, MIB + 4 * P, 8 * P, 0, 8 * P, 0);
	vms_block_unref(b);
}

static void anon(void **state)
{
	middle_goes(*state, create(*state, VMS_BLOCK_ANON, 16 * P, 0, -1));
}

static void shared(void **state)
{
	struct vms_block *b = create(*state, VMS_BLOCK_SHARED, 16 * P, 0, -1);
	struct stat st;

	vms_block_ref(b);
	middle_goes(*state, b);
	assert_ok(fstat(b->fd, &st));
	assert_int_equal(st.st_size, 16 * P);
	assert_int_equal(st.st_blocks * 512, 8 * P); /* also in the file */
	vms_block_unref(b);
}

static void locked(void **state)
{
	static const uint32_t kinds[] = { VMS_BLOCK_ANON, VMS_BLOCK_SHARED };

	for (unsigned i = 0; i < 2; i++) {
		struct vms_block_params p = { .size = sizeof(p),
					      .kind = kinds[i],
					      .bytes = 16 * P,
					      .flags = VMS_BLOCK_LOCK | VMS_BLOCK_STANDALONE };
		struct vms_block *b;

		if (vms_block_create(*state, &p, &b)) {
			print_message("the host does not let us lock memory\n");
			skip();
		}
		middle_goes(*state, b);
	}
}

static void file(void **state)
{
	int fd = file_of(16 * P, 'f');
	struct stat st;

	middle_goes(*state, create(*state, VMS_BLOCK_FILE, 16 * P, 0, fd));
	assert_ok(fstat(fd, &st));
	assert_int_equal(st.st_size, 16 * P);
	assert_int_equal(st.st_blocks * 512, 8 * P);
	close(fd);
}

/* The file's bytes must not come back, and the file must stay as it is. */
static void private_file(void **state)
{
	int fd = file_of(16 * P, 'f');
	struct vms_block *b =
		create(*state, VMS_BLOCK_FILE, 16 * P, VMS_BLOCK_PRIVATE | VMS_BLOCK_DONTFORK, fd);
	unsigned char *hva = map_all(*state, 0, b), byte = 0;

	hva[5 * P] = 'w';
	discards(*state, 4 * P, 8 * P, 0, 8 * P, 0);
	all(hva, 4 * P, 'f');
	all(hva + 4 * P, 8 * P, 0);
	all(hva + 12 * P, 4 * P, 'f');
	hva[5 * P] = 'x';
	discards(*state, 4 * P, P, 0, P, 0);
	assert_int_equal(hva[5 * P], 'x');
	assert_int_equal(pread(fd, &byte, 1, (off_t)(5 * P)), 1);
	assert_int_equal(byte, 'f');
	close(fd);
}

/* The new memory is as the old was. */
static void private_file_keeps_its_advice(void **state)
{
	int fd = file_of(4 * P, 'f');
	struct vms_block *b =
		create(*state, VMS_BLOCK_FILE, 4 * P,
		       VMS_BLOCK_PRIVATE | VMS_BLOCK_DONTFORK | VMS_BLOCK_DONTDUMP, fd);
	unsigned char *hva = map_all(*state, 0, b);
	char line[512];
	unsigned dontfork = 0;
	bool here = false;
	FILE *f;

	discards(*state, P, P, 0, P, 0);
	f = fopen("/proc/self/smaps", "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		unsigned long first, last;

		if (sscanf(line, "%lx-%lx ", &first, &last) == 2)
			here = first < (uintptr_t)hva + 4 * P && last > (uintptr_t)hva;
		else if (here && strncmp(line, "VmFlags:", 8) == 0) {
			assert_non_null(strstr(line, " dd "));
			assert_non_null(strstr(line, " dc "));
			dontfork++;
		}
	}
	fclose(f);
	assert_int_equal(dontfork, 3); /* file, zeros, file */
	close(fd);
}

static void host_memory_is_skipped(void **state)
{
	unsigned char *mine =
		mmap(NULL, 4 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vms_edit *e;

	memset(mine, 9, 4 * P);
	assert_ok(vms_edit_begin(*state, &e));
	assert_ok(vms_slot_map_host(e, 0, 4 * P, mine, NULL, NULL, VMS_SLOT_RAM));
	assert_ok(vms_edit_commit(e));
	discards(*state, 0, 4 * P, 0, 0, 4 * P);
	all(mine, 4 * P, 9);
	assert_ok(vms_edit_begin(*state, &e));
	assert_ok(vms_slot_unmap(e, 0, 4 * P));
	assert_ok(vms_edit_commit(e));
	vms_memory_synchronize(*state);
	munmap(mine, 4 * P);
}

static struct vms_block *of_object(struct vms_memory *mem, struct vms_object *obj)
{
	struct vms_block_params p = { .size = sizeof(p),
				      .kind = VMS_BLOCK_OBJECT,
				      .object = obj,
				      .flags = VMS_BLOCK_STANDALONE };
	struct vms_block *b;

	assert_ok(vms_block_create(mem, &p, &b));
	return b;
}

static void objects(void **state)
{
	struct vms_arena_params ap = { .size = sizeof(ap), .reserve = UINT64_C(1) << 30 };
	struct vms_object_params op = { .size = sizeof(op), .bytes = 16 * P };
	struct vms_object *obj, *flat;
	struct vms_arena_info info = { .size = sizeof(info) };
	struct vms_arena *a;
	unsigned char bytes[64], byte;

	memset(bytes, 0xaa, sizeof(bytes));
	assert_ok(vms_arena_create(&ap, &a));
	assert_ok(vms_object_create(a, &op, &obj));
	op.flags = VMS_OBJECT_CONTIGUOUS;
	assert_ok(vms_object_create(a, &op, &flat));
	middle_goes(*state, of_object(*state, flat));
	assert_ok(vms_object_read(flat, 4 * P, &byte, 1, NULL));
	assert_int_equal(byte, 0);
	map_all(*state, 0, of_object(*state, obj));
	for (uint64_t at = 0; at < 16 * P; at += P)
		assert_ok(vms_object_write(obj, at, bytes, sizeof(bytes), NULL));
	assert_ok(vms_arena_info(a, &info));
	assert_int_equal(info.granted, 32 * P);
	discards(*state, 4 * P, 8 * P, 0, 8 * P, 0);
	assert_ok(vms_arena_info(a, &info));
	assert_int_equal(info.granted, 24 * P);
	for (uint64_t at = 0; at < 16 * P; at += P) {
		assert_ok(vms_object_read(obj, at, &byte, 1, NULL));
		assert_int_equal(byte, at < 4 * P || at >= 12 * P ? 0xaa : 0);
	}
	vms_object_unref(obj);
	vms_object_unref(flat);
	vms_arena_unref(a);
}

/* ---- Hosts that cannot ---- */

static int no_madvise(const struct world *w, uint64_t addr, uint64_t len, int advice)
{
	return advice == MADV_REMOVE || advice == 24 /* DONTNEED_LOCKED */ ? -EINVAL
									   : world_host.madvise(
										     &world_host,
										     addr, len,
										     advice);
}

/* Older kernels, and locked memory: by the file, or unlocked and locked again. */
static void by_other_calls(void **state)
{
	tw.world.madvise = no_madvise;
	shared(state);
	locked(state);
}

static int no_hole(const struct world *w, uint64_t addr, uint64_t len, int advice)
{
	return advice == MADV_REMOVE ? -EOPNOTSUPP
				     : world_host.madvise(&world_host, addr, len, advice);
}

static void file_system_without_holes(void **state)
{
	int fd = file_of(4 * P, 'f');
	unsigned char *hva = map_all(*state, 0, create(*state, VMS_BLOCK_FILE, 4 * P, 0, fd));

	tw.world.madvise = no_hole;
	discards(*state, 0, 4 * P, 0, 0, 4 * P);
	all(hva, 4 * P, 'f');
	close(fd);
}

/* ---- Ranges ---- */

static void several_slots(void **state)
{
	struct vms_block *ram = create(*state, VMS_BLOCK_ANON, 8 * P, 0, -1);
	struct vms_block *rom = create(*state, VMS_BLOCK_ANON, 2 * P, 0, -1);
	unsigned char *hva, *bios;

	hva = map(*state, 0, 4 * P, ram, 0, VMS_SLOT_RAM);
	bios = map(*state, 4 * P, 2 * P, rom, 0, VMS_SLOT_ROM);
	map(*state, 6 * P, 4 * P, ram, 4 * P, VMS_SLOT_RAM);
	memset(hva, 1, 8 * P);
	memset(bios, 2, 2 * P);
	discards(*state, P, 8 * P, 0, 6 * P, 2 * P);
	all(bios, 2 * P, 2);
	all(hva, P, 1);
	all(hva + P, 6 * P, 0);
	all(hva + 7 * P, P, 1);
	/* Up to the hole. */
	discards(*state, 0, 12 * P, -ENXIO, 8 * P, 2 * P);
	discards(*state, 10 * P, P, -ENXIO, 0, 0);
	discards(*state, UINT64_MAX - P + 1, P, -ENXIO, 0, 0);
	/* No range. */
	discards(*state, 0, 0, -EINVAL, 0, 0);
	discards(*state, 1, P, -EINVAL, 0, 0);
	discards(*state, 0, P + 1, -EINVAL, 0, 0);
	discards(*state, UINT64_MAX - P + 1, 2 * P, -ERANGE, 0, 0);
	assert_ok(vms_discard(*state, 0, P, NULL, NULL));
	vms_block_unref(ram);
	vms_block_unref(rom);
}

static void the_last_page(void **state)
{
	struct vms_block *b = create(*state, VMS_BLOCK_ANON, 2 * P, 0, -1);
	unsigned char *hva = map_all(*state, UINT64_MAX - 2 * P + 1, b);

	memset(hva, 1, 2 * P);
	discards(*state, UINT64_MAX - 2 * P + 1, 2 * P, 0, 2 * P, 0);
	all(hva, 2 * P, 0);
}

/* More than one step at a time. */
static void large(void **state)
{
	struct vms_block *b = create(*state, VMS_BLOCK_ANON, 1024 * MIB, 0, -1);
	unsigned char *hva = map(*state, 0, 1024 * MIB - P, b, P, VMS_SLOT_RAM) - P;

	for (uint64_t at = 0; at < 1024 * MIB; at += 4 * MIB)
		hva[at] = 1;
	discards(*state, 0, 1024 * MIB - P, 0, 1024 * MIB - P, 0);
	assert_int_equal(hva[0], 1);
	for (uint64_t at = 4 * MIB; at < 1024 * MIB; at += 4 * MIB)
		assert_int_equal(hva[at], 0);
	vms_block_unref(b);
}

static void huge_pages_go_whole(void **state)
{
	struct vms_block_params p = { .size = sizeof(p),
				      .kind = VMS_BLOCK_ANON,
				      .bytes = 6 * MIB,
				      .huge_page = 2 * MIB,
				      .flags = VMS_BLOCK_HUGETLB | VMS_BLOCK_STANDALONE };

	for (; p.kind <= VMS_BLOCK_SHARED; p.kind++) {
		unsigned char *hva;
		struct vms_block *b;

		if (vms_block_create(*state, &p, &b)) {
			print_message("%s\n", vms_last_error());
			skip();
		}
		hva = map_all(*state, 0, b);
		memset(hva, 1, 6 * MIB);
		discards(*state, P, 4 * MIB, 0, 2 * MIB, 2 * MIB);
		all(hva, 2 * MIB, 1);
		all(hva + 2 * MIB, 2 * MIB, 0);
		all(hva + 4 * MIB, 2 * MIB, 1);
		discards(*state, P, MIB, 0, 0, MIB);
	}
}

/* ---- Who forbids it, who is told ---- */

static void pinned(void **state)
{
	struct vms_block *a = create(*state, VMS_BLOCK_ANON, 2 * P, 0, -1);
	struct vms_block *b = create(*state, VMS_BLOCK_ANON, 2 * P, 0, -1);
	unsigned char *free_one = map(*state, 0, 2 * P, a, 0, VMS_SLOT_RAM);
	unsigned char *held = map(*state, 2 * P, 2 * P, b, 0, VMS_SLOT_RAM);

	memset(free_one, 1, 2 * P);
	memset(held, 1, 2 * P);
	atomic_fetch_add(&b->pins, 1);
	discards(*state, 0, 4 * P, -EBUSY, 2 * P, 0);
	all(held, 2 * P, 1);
	atomic_fetch_sub(&b->pins, 1);
	discards(*state, 0, 4 * P, 0, 4 * P, 0);
	all(held, 2 * P, 0);
	vms_block_unref(a);
	vms_block_unref(b);
}

struct heard {
	struct vms_block *block;
	uint64_t off, len;
	unsigned calls;
};

static void hear(void *arg, struct vms_block *block, uint64_t off, uint64_t len)
{
	*(struct heard *)arg = (struct heard){
		.block = block, .off = off, .len = len, .calls = ((struct heard *)arg)->calls + 1
	};
}

static int run(void *arg, struct vms_block *block, uint64_t off, uint64_t len)
{
	struct heard *h = arg;

	hear(h, block, off, len);
	return 0;
}

static void is_told(void **state)
{
	static const struct vms_listener_ops ops = { .size = sizeof(ops), .discard = hear };
	static const struct vms_dirty_params dp = { .size = sizeof(dp) };
	struct vms_block *b = create(*state, VMS_BLOCK_SHARED, 8 * P, 0, -1);
	struct heard told = { 0 }, dirty = { 0 };
	struct vms_dirty *log;

	map(*state, 4 * P, 4 * P, b, 2 * P, VMS_SLOT_RAM);
	map(*state, 8 * P, P, b, 0, VMS_SLOT_ROM);
	assert_ok(vms_memory_listen(*state, &ops, &told));
	assert_ok(vms_dirty_start(*state, &dp, &log));
	discards(*state, 5 * P, 2 * P, 0, 2 * P, 0);
	assert_int_equal(told.calls, 1);
	assert_ptr_equal(told.block, b);
	assert_int_equal(told.off, 3 * P);
	assert_int_equal(told.len, 2 * P);
	assert_ok(vms_dirty_harvest(log, b, 0, 8 * P, run, &dirty));
	assert_int_equal(dirty.calls, 1);
	assert_int_equal(dirty.off, 3 * P);
	assert_int_equal(dirty.len, 2 * P);
	/* Of what is skipped nobody hears. */
	discards(*state, 8 * P, P, 0, 0, P);
	assert_int_equal(told.calls, 1);
	assert_ok(vms_dirty_harvest(log, b, 0, 8 * P, run, &dirty));
	assert_int_equal(dirty.calls, 1);
	/* A host that fails in the middle may have done some of it. */
	test_world_fail(&tw, 1, 1u << CALL_MADVISE, EIO);
	discards(*state, 5 * P, P, -EIO, 0, 0);
	assert_int_equal(told.calls, 2);
	assert_ok(vms_dirty_harvest(log, b, 0, 8 * P, run, &dirty));
	assert_int_equal(dirty.calls, 2);
	vms_dirty_stop(log);
	assert_ok(vms_memory_unlisten(*state, &ops, &told));
	vms_block_unref(b);
}

/* ---- Slow slots ---- */

struct slow {
	uint64_t off, len, frees;
	unsigned calls;
	int err;
};

static int slow_discard(void *arg, uint64_t off, uint64_t len, uint64_t *freed)
{
	struct slow *s = arg;

	s->calls++;
	s->off = off;
	s->len = len;
	*freed = s->frees;
	return s->err;
}

static void slow(void **state)
{
	static const struct vms_slow_ops ops = { .size = sizeof(ops), .discard = slow_discard };
	static const struct vms_slow_ops none = { .size = sizeof(ops) };
	struct slow s = { .frees = P };
	struct vms_edit *e;

	assert_ok(vms_edit_begin(*state, &e));
	assert_ok(vms_slot_map_slow(e, 0, 4 * P, &ops, &s, VMS_SLOT_RAM));
	assert_ok(vms_slot_map_slow(e, 4 * P, P, &none, NULL, VMS_SLOT_RAM));
	assert_ok(vms_slot_unmap(e, 0, P));
	assert_ok(vms_edit_commit(e));
	discards(*state, 2 * P, 3 * P, 0, P, 2 * P);
	assert_int_equal(s.calls, 1);
	assert_int_equal(s.off, 2 * P); /* of the slot's first byte at birth */
	assert_int_equal(s.len, 2 * P);
	s.frees = 99 * P; /* more than there is */
	discards(*state, P, P, 0, P, 0);
	s.err = -ENOSPC;
	s.frees = 0;
	discards(*state, P, P, -ENOSPC, 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(anon, begin, end),
		cmocka_unit_test_setup_teardown(shared, begin, end),
		cmocka_unit_test_setup_teardown(locked, begin, end),
		cmocka_unit_test_setup_teardown(file, begin, end),
		cmocka_unit_test_setup_teardown(private_file, begin, end),
		cmocka_unit_test_setup_teardown(private_file_keeps_its_advice, begin, end),
		cmocka_unit_test_setup_teardown(host_memory_is_skipped, begin, end),
		cmocka_unit_test_setup_teardown(objects, begin, end),
		cmocka_unit_test_setup_teardown(by_other_calls, begin, end),
		cmocka_unit_test_setup_teardown(file_system_without_holes, begin, end),
		cmocka_unit_test_setup_teardown(several_slots, begin, end),
		cmocka_unit_test_setup_teardown(the_last_page, begin, end),
		cmocka_unit_test_setup_teardown(large, begin, end),
		cmocka_unit_test_setup_teardown(huge_pages_go_whole, begin, end),
		cmocka_unit_test_setup_teardown(pinned, begin, end),
		cmocka_unit_test_setup_teardown(is_told, begin, end),
		cmocka_unit_test_setup_teardown(slow, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
