// SPDX-License-Identifier: MIT
/*
 * memory_edit.c: the commit of an edit: all or nothing, what listeners hear of it and in which order,
 * the gate, and what comes of a backend that fails.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "vmspace/memory.h"
#include "world.h"

#define P ((uint64_t)4096)

static struct test_world world;
static char listener_a[] = "a", listener_b[] = "b", listener_c[] = "c";
static char heard[1024]; /* what listeners were told, a letter a call */
static int refuse_at;	 /* the letter that is refused; 0: none */
static int refuse_with;

static int note(void *arg, char what)
{
	size_t n = strlen(heard);

	snprintf(heard + n, sizeof(heard) - n, "%s%c ", (const char *)arg, what);
	return refuse_at == (what | ((const char *)arg)[0] << 8) ? refuse_with : 0;
}

static int on_prepare(void *arg, const struct vms_slot_event *ev, size_t n)
{
	return note(arg, 'p');
}

static void on_cancel(void *arg, const struct vms_slot_event *ev, size_t n)
{
	note(arg, 'x');
}

static int on_needs_gate(void *arg, const struct vms_slot_event *ev, size_t n)
{
	return ((const char *)arg)[0] == 'b' && ev[0].kind != VMS_SLOT_ADDED;
}

static int on_apply(void *arg, const struct vms_slot_event *ev, size_t n, int gated)
{
	return note(arg, gated ? 'A' : 'a');
}

static int on_revert(void *arg, const struct vms_slot_event *ev, size_t n, int gated)
{
	return note(arg, 'r');
}

static void on_commit(void *arg, const struct vms_slot_event *ev, size_t n)
{
	note(arg, 'c');
}

static const struct vms_listener_ops ops = { .size = sizeof(ops),
					     .prepare = on_prepare,
					     .cancel = on_cancel,
					     .needs_gate = on_needs_gate,
					     .apply = on_apply,
					     .revert = on_revert,
					     .commit = on_commit };

static void enter(void *arg)
{
	strcat(heard, "( ");
}

static void leave(void *arg)
{
	strcat(heard, ") ");
}

static int set_up(void **state)
{
	struct vms_memory_params params = { .size = sizeof(params),
					    .gate = { .enter = enter, .leave = leave } };
	struct vms_memory *mem;

	test_world_begin(&world);
	heard[0] = '\0';
	refuse_at = 0;
	refuse_with = -ENOSPC;
	assert_ok(vms_memory_create(&params, &mem));
	*state = mem;
	return 0;
}

static int tear_down(void **state)
{
	vms_memory_unref(*state);
	test_world_end(&world);
	return 0;
}

static struct vms_block *block_of_pages(struct vms_memory *mem, uint64_t pages)
{
	struct vms_block_params p = { .size = sizeof(p), .kind = VMS_BLOCK_ANON, .bytes = pages * P };
	struct vms_block *b;

	assert_ok(vms_block_create(mem, &p, &b));
	return b;
}

static int map(struct vms_memory *mem, uint64_t page, uint64_t n, struct vms_block *b, uint64_t off,
	       uint32_t access)
{
	struct vms_edit *e;

	assert_ok(vms_edit_begin(mem, &e));
	assert_ok(vms_slot_map(e, page * P, n * P, b, off * P, access));
	return vms_edit_commit(e);
}

static int unmap(struct vms_memory *mem, uint64_t page, uint64_t n)
{
	struct vms_edit *e;

	assert_ok(vms_edit_begin(mem, &e));
	assert_ok(vms_slot_unmap(e, page * P, n * P));
	return vms_edit_commit(e);
}

/* The slots as "page+n " or "page+nr " (read-only), in order. */
static const char *slots(struct vms_memory *mem)
{
	static char text[512];
	struct vms_slot_cursor cursor = { 0 };
	struct vms_slot_info s;
	size_t n = 0;

	text[0] = '\0';
	assert_ok(vms_memory_check(mem));
	while (vms_slot_next(mem, &cursor, &s) == 0)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%d+%d%s@%d ", (int)(s.gpa / P),
				      (int)(s.len / P), s.access & VMS_SLOT_WRITE ? "" : "r",
				      (int)(s.off / P));
	return text;
}

static const char *told(void)
{
	static char copy[sizeof(heard)];

	strcpy(copy, heard);
	heard[0] = '\0';
	return copy;
}

static void test_order_of_listeners(void **state)
{
	struct vms_memory *mem = *state;
	struct vms_block *b = block_of_pages(mem, 16);

	assert_ok(vms_memory_listen(mem, &ops, listener_a));
	assert_ok(vms_memory_listen(mem, &ops, listener_b));
	assert_ok(map(mem, 4, 8, b, 0, VMS_SLOT_RAM));
	assert_string_equal(told(), "ap bp aa ba ac bc ");
	/* One that asks for the gate has it entered for all. */
	assert_ok(map(mem, 6, 2, b, 2, VMS_SLOT_ROM));
	assert_string_equal(told(), "ap bp ( aA bA ac bc ) ");
	assert_string_equal(slots(mem), "4+2@0 6+2r@2 8+4@4 ");
	/* What changes nothing is told to nobody. */
	assert_ok(map(mem, 6, 2, b, 2, VMS_SLOT_ROM));
	assert_ok(unmap(mem, 32, 4));
	assert_string_equal(told(), "");
	assert_ok(vms_memory_unlisten(mem, &ops, listener_a));
	assert_int_equal(vms_memory_unlisten(mem, &ops, listener_a), -ENOENT);
	assert_ok(unmap(mem, 0, 64));
	assert_string_equal(told(), "bp ( bA bc ) ");
	/* A late one hears what stands. */
	assert_ok(map(mem, 1, 1, b, 0, VMS_SLOT_RAM));
	told();
	assert_ok(vms_memory_listen(mem, &ops, listener_a));
	assert_string_equal(told(), "ap aa ac ");
	vms_block_unref(b);
}

static void refuse(struct vms_memory *mem, int who, int with, const char *want, int result)
{
	char before[512];
	struct vms_edit *e;

	strcpy(before, slots(mem));
	refuse_at = who;
	refuse_with = with;
	assert_ok(vms_edit_begin(mem, &e));
	assert_ok(vms_slot_unmap(e, 5 * P, P));
	assert_int_equal(vms_edit_commit(e), result);
	assert_string_equal(told(), want);
	refuse_at = 0;
	assert_string_equal(slots(mem), before);
}

static void test_refusals(void **state)
{
	struct vms_memory_info info = { .size = sizeof(info) };
	struct vms_memory *mem = *state;
	struct vms_block *b = block_of_pages(mem, 16);

	assert_ok(map(mem, 4, 8, b, 0, VMS_SLOT_RAM));
	assert_ok(vms_memory_listen(mem, &ops, listener_a));
	assert_ok(vms_memory_listen(mem, &ops, listener_b));
	assert_ok(vms_memory_listen(mem, &ops, listener_c));
	told();
	refuse(mem, 'p' | 'a' << 8, -ENOSPC, "ap ", -ENOSPC);
	refuse(mem, 'p' | 'c' << 8, -ENOSPC, "ap bp cp ax bx ", -ENOSPC);
	refuse(mem, 'A' | 'c' << 8, -EBADF, "ap bp cp ( aA bA cA br ar ax bx cx ) ", -EBADF);
	assert_ok(vms_memory_info(mem, &info));
	assert_int_equal(info.broken, 0);
	/* One that can neither go on nor back. */
	refuse(mem, 'A' | 'b' << 8, 1, "ap bp cp ( aA bA ar ax bx cx ) ", -EIO);
	assert_ok(vms_memory_info(mem, &info));
	assert_int_equal(info.broken, 1);
	assert_int_equal(unmap(mem, 5, 1), -EIO);
	assert_string_equal(told(), "");
	vms_block_unref(b);
}

/* Two changes far from each other, one of which cannot be. */
static void test_all_or_nothing(void **state)
{
	struct vms_memory *mem = *state;
	struct vms_block *b = block_of_pages(mem, 64);
	struct vms_edit *e;

	assert_ok(map(mem, 100, 4, b, 0, VMS_SLOT_RAM));
	assert_ok(vms_edit_begin(mem, &e));
	assert_ok(vms_slot_map(e, 0, 4 * P, b, 0, VMS_SLOT_RAM));
	assert_ok(vms_slot_unmap(e, 101 * P, P));
	assert_ok(vms_slot_protect(e, 100 * P, 4 * P, VMS_SLOT_ROM));
	assert_int_equal(vms_edit_commit(e), -ENOENT);
	assert_string_equal(slots(mem), "100+4@0 ");
	/* In order: what one change makes the next one sees. */
	assert_ok(vms_edit_begin(mem, &e));
	assert_ok(vms_slot_unmap(e, 0, 200 * P));
	assert_ok(vms_slot_map(e, 100 * P, 4 * P, b, 8 * P, VMS_SLOT_RAM | VMS_SLOT_NOREPLACE));
	assert_ok(vms_slot_protect(e, 101 * P, P, VMS_SLOT_ROM));
	assert_ok(vms_edit_commit(e));
	assert_string_equal(slots(mem), "100+1@8 101+1r@9 102+2@10 ");
	assert_ok(vms_edit_begin(mem, &e));
	assert_ok(vms_slot_map(e, 0, P, b, 0, VMS_SLOT_RAM));
	assert_ok(vms_slot_map(e, 103 * P, P, b, 0, VMS_SLOT_RAM | VMS_SLOT_NOREPLACE));
	assert_int_equal(vms_edit_commit(e), -EEXIST);
	assert_non_null(strstr(vms_last_error(), "[0x66000, 0x67fff]"));
	assert_string_equal(slots(mem), "100+1@8 101+1r@9 102+2@10 ");
	vms_block_unref(b);
}

/* The last byte of the 64-bit space, and all of it but one page. */
static void test_ends_of_the_space(void **state)
{
	struct vms_memory *mem = *state;
	struct vms_block *b = block_of_pages(mem, 4);
	struct vms_slot_cursor cursor = { 0 };
	struct vms_slot_info s;
	struct vms_edit *e;

	assert_ok(vms_edit_begin(mem, &e));
	assert_ok(vms_slot_map(e, -P, P, b, 3 * P, VMS_SLOT_RAM));
	assert_ok(vms_slot_map(e, 0, P, b, 0, VMS_SLOT_RAM));
	assert_int_equal(vms_slot_map(e, -P, 2 * P, b, 0, VMS_SLOT_RAM), -ERANGE);
	assert_ok(vms_edit_commit(e));
	assert_ok(vms_memory_check(mem));
	assert_ok(vms_slot_find(mem, UINT64_MAX, &s));
	assert_int_equal(s.gpa, -P);
	assert_ok(vms_slot_next(mem, &cursor, &s));
	assert_ok(vms_slot_next(mem, &cursor, &s));
	assert_int_equal(s.gpa, -P);
	assert_int_equal(vms_slot_next(mem, &cursor, &s), -ENOENT);
	assert_int_equal(vms_slot_next(mem, &cursor, &s), -ENOENT);
	assert_ok(vms_edit_begin(mem, &e));
	assert_ok(vms_slot_unmap(e, P, -P));
	assert_ok(vms_edit_commit(e));
	assert_string_equal(slots(mem), "0+1@0 ");
	vms_block_unref(b);
}

static void test_from_ranges(void **state)
{
	struct vms_memory_params params = { .size = sizeof(params), .limit = 64 * P };
	static const struct vms_range good[] = { { 8 * P, P }, { 0, 4 * P }, { 4 * P, P } },
				      overlap[] = { { 0, 4 * P }, { 3 * P, P } },
				      empty[] = { { 0, 0 } }, high[] = { { 63 * P, 2 * P } };
	struct vms_memory *mem;

	assert_ok(vms_memory_from_ranges(&params, good, 3, &mem));
	assert_string_equal(slots(mem), "0+4@0 4+1@0 8+1@0 ");
	vms_memory_unref(mem);
	assert_ok(vms_memory_from_ranges(&params, good, 0, &mem));
	assert_string_equal(slots(mem), "");
	vms_memory_unref(mem);
	assert_int_equal(vms_memory_from_ranges(&params, overlap, 2, &mem), -EEXIST);
	assert_non_null(strstr(vms_last_error(), "[0x3000, 0x3fff]"));
	assert_non_null(strstr(vms_last_error(), "[0, 0x3fff]"));
	assert_int_equal(vms_memory_from_ranges(&params, empty, 1, &mem), -EINVAL);
	assert_int_equal(vms_memory_from_ranges(&params, high, 1, &mem), -ERANGE);
}

static unsigned released;

static void release(void *arg)
{
	released++;
}

/* Stand-alone memory goes with its last slot, also where one edit maps and replaces it. */
static void test_stand_alone(void **state)
{
	struct vms_memory *mem = *state;
	struct vms_edit *e;
	void *hva = mmap(NULL, 8 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(hva, MAP_FAILED);
	released = 0;
	assert_ok(vms_edit_begin(mem, &e));
	assert_ok(vms_slot_map_host(e, 0, 8 * P, hva, release, NULL, VMS_SLOT_RAM));
	assert_ok(vms_edit_commit(e));
	assert_ok(unmap(mem, 2, 2));
	vms_memory_synchronize(mem);
	assert_int_equal(released, 0);
	/* The same memory again, over what is left of the first: one edit. */
	assert_ok(vms_edit_begin(mem, &e));
	assert_ok(vms_slot_map_host(e, 0, 8 * P, hva, release, NULL, VMS_SLOT_RAM));
	assert_ok(vms_edit_commit(e));
	vms_memory_synchronize(mem);
	assert_int_equal(released, 1);
	/* Mapped and replaced in one list, and one that is given up. */
	assert_ok(vms_edit_begin(mem, &e));
	assert_ok(vms_slot_map_host(e, 16 * P, P, hva, release, NULL, VMS_SLOT_RAM));
	assert_ok(vms_slot_unmap(e, 16 * P, P));
	assert_ok(vms_edit_commit(e));
	vms_memory_synchronize(mem);
	assert_int_equal(released, 2);
	assert_ok(vms_edit_begin(mem, &e));
	assert_ok(vms_slot_map_host(e, 16 * P, P, hva, release, NULL, VMS_SLOT_RAM));
	vms_edit_abort(e);
	vms_memory_synchronize(mem);
	assert_int_equal(released, 3);
	assert_string_equal(slots(mem), "0+8@0 ");
	assert_ok(unmap(mem, 0, 8));
	vms_memory_synchronize(mem);
	assert_int_equal(released, 4);
	munmap(hva, 8 * P);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order_of_listeners, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_refusals, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_all_or_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_ends_of_the_space, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_from_ranges, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stand_alone, set_up, tear_down),
	};

	if (sysconf(_SC_PAGESIZE) != (long)P)
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
