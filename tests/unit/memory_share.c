// SPDX-License-Identifier: MIT
/* Guest memory of two processes: what is exported, what is imported, and user addresses. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#include "block_kit.h"

#define ROOM 8

static const struct vms_memory_params params = { .size = sizeof(params) };

static struct vms_block *create(struct vms_memory *mem, uint32_t kind, uint64_t bytes,
				uint32_t flags, int fd, uint64_t fd_off)
{
	struct vms_block_params p = { .size = sizeof(p),
				      .kind = kind,
				      .bytes = bytes,
				      .flags = flags,
				      .fd = fd,
				      .fd_off = fd_off };
	struct vms_block *b = NULL;

	if (vms_block_create(mem, &p, &b))
		print_error("%s\n", vms_last_error());
	assert_non_null(b);
	return b;
}

static void map(struct vms_memory *mem, uint64_t gpa, uint64_t len, struct vms_block *b,
		uint64_t off, uint32_t access)
{
	struct vms_edit *e;

	assert_ok(vms_edit_begin(mem, &e));
	assert_ok(vms_slot_map(e, gpa, len, b, off, access));
	assert_ok(vms_edit_commit(e));
}

static void is_region(const struct vms_shared *s, uint64_t gpa, uint64_t len,
		      const struct vms_block *b, uint64_t off)
{
	assert_int_equal(s->gpa, gpa);
	assert_int_equal(s->len, len);
	assert_int_equal(s->uva, (uintptr_t)b->hva + off);
	assert_int_equal(s->fd_off, b->fd_off + off);
	assert_int_equal(s->fd, b->fd);
}

static size_t exports(struct vms_memory *mem, struct vms_shared *s)
{
	size_t n = ROOM;

	assert_ok(vms_memory_export(mem, s, &n));
	return n;
}

/* ---- Export ---- */

static void neighbours_are_one(void **state)
{
	struct vms_block *b = create(*state, VMS_BLOCK_SHARED, 16 * P, 0, -1, 0);
	struct vms_block *c = create(*state, VMS_BLOCK_SHARED, 16 * P, 0, -1, 0);
	struct vms_shared s[ROOM];

	assert_int_equal(exports(*state, s), 0);
	map(*state, 0, 2 * P, b, 0, VMS_SLOT_RAM);
	map(*state, 2 * P, 2 * P, b, 2 * P, VMS_SLOT_READ | VMS_SLOT_WRITE); /* other rights */
	assert_int_equal(exports(*state, s), 1);
	is_region(&s[0], 0, 4 * P, b, 0);
	map(*state, 4 * P, P, b, 5 * P, VMS_SLOT_RAM); /* not the next offset */
	map(*state, 5 * P, P, c, 6 * P, VMS_SLOT_RAM); /* another file */
	map(*state, 7 * P, P, c, 7 * P, VMS_SLOT_RAM); /* behind a hole */
	assert_int_equal(exports(*state, s), 4);
	is_region(&s[0], 0, 4 * P, b, 0);
	is_region(&s[1], 4 * P, P, b, 5 * P);
	is_region(&s[2], 5 * P, P, c, 6 * P);
	is_region(&s[3], 7 * P, P, c, 7 * P);
	/* The last byte of the 64-bit space. */
	map(*state, UINT64_MAX - P + 1, P, b, 0, VMS_SLOT_RAM);
	assert_int_equal(exports(*state, s), 5);
	is_region(&s[4], UINT64_MAX - P + 1, P, b, 0);
	vms_block_unref(b);
	vms_block_unref(c);
}

/* Two blocks of one file that happen to lie side by side in this process are one region. */
static void blocks_of_one_file(void **state)
{
	int fd = memfd_create("file", MFD_CLOEXEC);
	struct vms_shared s[ROOM];
	struct vms_block *b, *c;
	size_t n;

	assert_ok(ftruncate(fd, (off_t)(4 * P)));
	b = create(*state, VMS_BLOCK_FILE, 2 * P, 0, fd, 0);
	c = create(*state, VMS_BLOCK_FILE, 2 * P, 0, fd, 2 * P);
	map(*state, 0, 2 * P, b, 0, VMS_SLOT_RAM);
	map(*state, 2 * P, 2 * P, c, 0, VMS_SLOT_RAM);
	n = exports(*state, s);
	assert_int_equal(n, c->hva == b->hva + 2 * P ? 1 : 2);
	if (n == 1)
		is_region(&s[0], 0, 4 * P, b, 0);
	else
		is_region(&s[1], 2 * P, 2 * P, c, 0);
	close(fd);
	vms_block_unref(b);
	vms_block_unref(c);
}

static void room_is_short(void **state)
{
	struct vms_block *b = create(*state, VMS_BLOCK_SHARED, 16 * P, 0, -1, 0);
	struct vms_shared s[ROOM];
	size_t n = 0;

	for (uint64_t i = 0; i < 3; i++)
		map(*state, 2 * i * P, P, b, i * P, VMS_SLOT_RAM);
	assert_int_equal(vms_memory_export(*state, NULL, &n), -ENOSPC);
	assert_int_equal(n, 3);
	n = 2;
	memset(s, 0xee, sizeof(s));
	assert_int_equal(vms_memory_export(*state, s, &n), -ENOSPC);
	assert_int_equal(n, 3);
	assert_int_equal(s[2].fd, (int)0xeeeeeeee); /* no more than there is room */
	n = 3;
	assert_ok(vms_memory_export(*state, s, &n));
	vms_block_unref(b);
}

static void what_is_not_shared(void **state)
{
	static const struct vms_slow_ops ops = { .size = sizeof(ops) };
	struct vms_block *b = create(*state, VMS_BLOCK_SHARED, 4 * P, 0, -1, 0);
	struct vms_block *anon = create(*state, VMS_BLOCK_ANON, P, 0, -1, 0);
	struct vms_block *copy = create(*state, VMS_BLOCK_FILE, P, VMS_BLOCK_PRIVATE, b->fd, 0);
	struct vms_shared s[ROOM];
	struct vms_edit *e;
	size_t n = ROOM;

	map(*state, 0, P, b, 0, VMS_SLOT_RAM);
	map(*state, P, P, b, P, VMS_SLOT_ROM);
	map(*state, 2 * P, P, anon, 0, VMS_SLOT_ROM); /* nobody would write to it */
	assert_ok(vms_edit_begin(*state, &e));
	assert_ok(vms_slot_map_slow(e, 3 * P, P, &ops, NULL, VMS_SLOT_RAM));
	assert_ok(vms_edit_commit(e));
	assert_int_equal(exports(*state, s), 1);
	map(*state, 4 * P, P, anon, 0, VMS_SLOT_RAM);
	assert_int_equal(vms_memory_export(*state, s, &n), -ENOTSUP);
	assert_non_null(strstr(vms_last_error(), "cannot be shared"));
	map(*state, 4 * P, P, copy, 0, VMS_SLOT_RAM);
	assert_int_equal(vms_memory_export(*state, s, &n), -ENOTSUP);
	vms_block_unref(b);
	vms_block_unref(anon);
	vms_block_unref(copy);
}

static void objects_are_not_shared(void **state)
{
	struct vms_arena_params ap = { .size = sizeof(ap), .reserve = UINT64_C(1) << 30 };
	struct vms_object_params op = { .size = sizeof(op),
					.bytes = P,
					.flags = VMS_OBJECT_CONTIGUOUS };
	struct vms_block_params bp = { .size = sizeof(bp), .kind = VMS_BLOCK_OBJECT };
	struct vms_shared s[ROOM];
	struct vms_arena *a;
	struct vms_block *b;
	size_t n = ROOM;

	assert_ok(vms_arena_create(&ap, &a));
	assert_ok(vms_object_create(a, &op, &bp.object));
	assert_ok(vms_block_create(*state, &bp, &b));
	map(*state, 0, P, b, 0, VMS_SLOT_RAM);
	assert_int_equal(vms_memory_export(*state, s, &n), -ENOTSUP);
	vms_block_unref(b);
	vms_object_unref(bp.object);
	vms_arena_unref(a);
}

/* ---- Import ---- */

static struct vms_memory *import(const struct vms_shared *s, size_t n)
{
	struct vms_memory *mem = NULL;

	if (vms_memory_import(&params, 0, s, n, &mem))
		print_error("%s\n", vms_last_error());
	assert_non_null(mem);
	return mem;
}

static unsigned char *at(struct vms_memory *mem, uint64_t gpa)
{
	struct vms_slot_info info;

	assert_ok(vms_slot_find(mem, gpa, &info));
	return (unsigned char *)info.hva + (gpa - info.gpa);
}

static void both_see_the_same(void **state)
{
	struct vms_block *b = create(*state, VMS_BLOCK_SHARED, 16 * P, 0, -1, 0);
	struct vms_shared s[ROOM];
	uint64_t gpa, len;
	struct vms_memory *mem;
	size_t n;

	map(*state, P, 4 * P, b, 8 * P, VMS_SLOT_RAM);
	map(*state, UINT64_MAX - P + 1, P, b, 2 * P, VMS_SLOT_RAM);
	n = exports(*state, s);
	mem = import(s, n);
	at(*state, 2 * P)[5] = 'x';
	assert_int_equal(at(mem, 2 * P)[5], 'x');
	*at(mem, UINT64_MAX) = 'y';
	assert_int_equal(*at(*state, UINT64_MAX), 'y');
	assert_ptr_not_equal(at(mem, P), at(*state, P));
	/* User addresses are the exporter's. */
	assert_ok(vms_memory_find_user(mem, (uintptr_t)b->hva + 9 * P + 7, &gpa, &len));
	assert_int_equal(gpa, 2 * P + 7);
	assert_int_equal(len, 3 * P - 7);
	assert_ok(vms_memory_find_user(mem, (uintptr_t)b->hva + 12 * P - 1, &gpa, NULL));
	assert_int_equal(gpa, 5 * P - 1);
	assert_int_equal(vms_memory_find_user(mem, (uintptr_t)b->hva + 12 * P, &gpa, &len),
			 -ENOENT);
	assert_int_equal(vms_memory_find_user(mem, (uintptr_t)b->hva + 8 * P - 1, &gpa, &len),
			 -ENOENT);
	assert_int_equal(vms_memory_find_user(*state, (uintptr_t)b->hva + 9 * P, &gpa, &len),
			 -ENOENT);
	/* It needs nothing of the exporter. */
	vms_block_ref(b);
	assert_ok(vms_memory_check(mem));
	vms_memory_unref(mem);
	vms_block_unref(b);
	vms_block_unref(b);
}

static void nothing_is_a_memory(void **state)
{
	struct vms_memory *mem = import(NULL, 0);
	struct vms_slot_info info;

	assert_int_equal(vms_slot_find(mem, 0, &info), -ENOENT);
	vms_memory_unref(mem);
}

static int memfd(uint64_t bytes, int seals)
{
	int fd = memfd_create("memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_ok(ftruncate(fd, (off_t)bytes));
	if (seals)
		assert_ok(fcntl(fd, F_ADD_SEALS, seals));
	return fd;
}

static void import_refused(uint32_t flags, const struct vms_shared *s, size_t n, int err)
{
	struct vms_memory *mem = NULL;
	int got = vms_memory_import(&params, flags, s, n, &mem);

	if (got != err)
		print_error("%s\n", vms_last_error());
	assert_int_equal(got, err);
	assert_null(mem);
}

static void is_refused(void **state)
{
	int fd = memfd(4 * P, F_SEAL_SHRINK), open_one = memfd(4 * P, 0);
	struct vms_shared good = { .gpa = 0, .len = 2 * P, .uva = P, .fd = fd }, s[2];
	struct vms_memory *mem;

	vms_memory_unref(import(&good, 1));
	import_refused(2, &good, 1, -EINVAL);
	for (unsigned i = 0; i < 6; i++) {
		s[0] = good;
		if (i == 0)
			s[0].gpa = 1;
		else if (i == 1)
			s[0].len = 0;
		else if (i == 2)
			s[0].len = P + 1;
		else if (i == 3)
			s[0].fd_off = 7;
		else if (i == 4)
			s[0].gpa = UINT64_MAX - P + 1;
		else
			s[0].uva = UINT64_MAX - P;
		import_refused(0, s, 1, -EINVAL);
	}
	s[0] = good;
	s[0].fd_off = 3 * P;
	import_refused(0, s, 1, -ERANGE);
	s[0].fd_off = UINT64_MAX - P + 1;
	import_refused(0, s, 1, -ERANGE);
	s[0] = good;
	s[0].fd = -1;
	import_refused(0, s, 1, -EBADF);
	import_refused(VMS_IMPORT_TRUSTED, s, 1, -EBADF);
	s[0] = s[1] = good;
	s[1].gpa = P;
	import_refused(0, s, 2, -EEXIST);
	/* Who may truncate it must be trusted. */
	s[0] = good;
	s[0].fd = open_one;
	import_refused(0, s, 1, -EPERM);
	assert_ok(vms_memory_import(&params, VMS_IMPORT_TRUSTED, s, 1, &mem));
	vms_memory_unref(mem);
	close(fd);
	close(open_one);
}

/* Huge pages: a region may begin and end inside one, its block may not. */
static void huge_pages(void **state)
{
	uint64_t huge = UINT64_C(2) << 20;
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | 21u << 26);
	struct vms_shared s[2];
	struct vms_memory *mem;
	int err;

	if (fd < 0 || ftruncate(fd, (off_t)(2 * huge))) {
		print_message("the host has no huge pages of 2 MiB\n");
		skip();
	}
	assert_ok(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
	s[0] = (struct vms_shared){ .len = 0xa0000, .uva = huge, .fd = fd };
	s[1] = (struct vms_shared){ .gpa = 0xc0000,
				    .len = 2 * huge - 0xc0000,
				    .uva = 0xc0000,
				    .fd_off = 0xc0000,
				    .fd = fd };
	err = vms_memory_import(&params, 0, s, 2, &mem);
	close(fd);
	if (err) {
		assert_int_equal(err, -ENOMEM);
		print_message("the host's pool has no huge pages: %s\n", vms_last_error());
		skip();
	}
	*at(mem, 0xc0000) = 1;
	assert_int_equal((uintptr_t)at(mem, 0xc0000) % huge, 0xc0000);
	vms_memory_unref(mem);
}

/* ---- Another process ---- */

static void send_region(int sock, const struct vms_shared *s)
{
	struct vms_shared copy = *s;
	char room[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = { 0 };
	struct iovec iov = { &copy, sizeof(copy) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = room,
			      .msg_controllen = sizeof(room) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &s->fd, sizeof(int));
	assert_int_equal(sendmsg(sock, &msg, 0), (ssize_t)sizeof(copy));
}

static bool receive_region(int sock, struct vms_shared *s)
{
	char room[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
	struct iovec iov = { s, sizeof(*s) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = room,
			      .msg_controllen = sizeof(room) };

	if (recvmsg(sock, &msg, 0) != (ssize_t)sizeof(*s) || !CMSG_FIRSTHDR(&msg))
		return false;
	memcpy(&s->fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	return true;
}

/* The child gets descriptors alone: it writes where the parent's user address says. */
static int child(int sock, uint64_t uva)
{
	struct vms_slot_info info;
	struct vms_memory *mem;
	struct vms_shared s;
	uint64_t gpa;

	world_default = &world_host;
	if (!receive_region(sock, &s) || vms_memory_import(&params, 0, &s, 1, &mem) ||
	    vms_memory_find_user(mem, uva, &gpa, NULL) || vms_slot_find(mem, gpa, &info))
		return 1;
	close(s.fd);
	((unsigned char *)info.hva)[gpa - info.gpa] ^= 0xff;
	vms_memory_unref(mem);
	return 0;
}

static void another_process(void **state)
{
	struct vms_block *b = create(*state, VMS_BLOCK_SHARED, 16 * P, 0, -1, 0);
	struct vms_shared s[ROOM];
	int socks[2], status;
	pid_t pid;

	map(*state, 3 * P, 4 * P, b, P, VMS_SLOT_RAM);
	b->hva[2 * P + 9] = 0x0f;
	assert_int_equal(exports(*state, s), 1);
	assert_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks));
	pid = fork();
	if (pid == 0)
		_exit(child(socks[1], (uintptr_t)b->hva + 2 * P + 9));
	send_region(socks[0], &s[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(b->hva[2 * P + 9], 0xf0);
	close(socks[0]);
	close(socks[1]);
	vms_block_unref(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(neighbours_are_one, begin, end),
		cmocka_unit_test_setup_teardown(blocks_of_one_file, begin, end),
		cmocka_unit_test_setup_teardown(room_is_short, begin, end),
		cmocka_unit_test_setup_teardown(what_is_not_shared, begin, end),
		cmocka_unit_test_setup_teardown(objects_are_not_shared, begin, end),
		cmocka_unit_test_setup_teardown(both_see_the_same, begin, end),
		cmocka_unit_test_setup_teardown(nothing_is_a_memory, begin, end),
		cmocka_unit_test_setup_teardown(is_refused, begin, end),
		cmocka_unit_test_setup_teardown(huge_pages, begin, end),
		cmocka_unit_test_setup_teardown(another_process, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
