// SPDX-License-Identifier: MIT
/*
 * Streams: bytes from a descriptor into the guest and back. What is short stays contiguous and is
 * counted on every path (defects D1, D2 and D3 of reference guest-memory-access 1.7); interrupted
 * calls are repeated; the end of a stream, offsets, slow and managed memory.
 */
#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

#include "access_kit.h"
#include "files.h"

static unsigned char buf[16 * 4096];

/* ---- A host that does as it is told ---- */

struct script {
	const struct world *below;
	unsigned n, at;
	int64_t say[16]; /* >= 0: move at most so much; < 0: this error */
	int64_t off[16]; /* asked for */
	uint64_t len[16];
};

static struct script script;
static struct world scripted;

static int64_t scripted_call(bool in, int fd, const struct iovec *iov, int n, int64_t off)
{
	struct iovec cut[64];
	uint64_t len = 0, left;
	int64_t say = INT64_MAX;
	int m = 0;

	for (int i = 0; i < n; i++)
		len += iov[i].iov_len;
	if (script.at < 16) {
		script.off[script.at] = off;
		script.len[script.at] = len;
	}
	if (script.at < script.n)
		say = script.say[script.at];
	script.at++;
	if (say < 0)
		return say;
	left = (uint64_t)say;
	for (; m < n && left; m++) {
		cut[m] = iov[m];
		if (cut[m].iov_len > left)
			cut[m].iov_len = left;
		left -= cut[m].iov_len;
	}
	if (!m)
		return 0;
	return in ? script.below->readv(script.below, fd, cut, m, off)
		  : script.below->writev(script.below, fd, cut, m, off);
}

static int64_t s_readv(const struct world *w, int fd, const struct iovec *iov, int n, int64_t off)
{
	return scripted_call(true, fd, iov, n, off);
}

static int64_t s_writev(const struct world *w, int fd, const struct iovec *iov, int n, int64_t off)
{
	return scripted_call(false, fd, iov, n, off);
}

/* From now on the calls of k's memory answer so, one after another. */
static void say(struct kit *k, unsigned n, const int64_t *what)
{
	if (k->mem->world != &scripted) {
		script.below = k->mem->world;
		scripted = *k->mem->world;
		scripted.readv = s_readv;
		scripted.writev = s_writev;
		k->mem->world = &scripted;
	}
	script.n = n;
	script.at = 0;
	memcpy(script.say, what, n * sizeof(*what));
}

#define SAY(k, ...)                                           \
	do {                                                  \
		const int64_t say_[] = { __VA_ARGS__ };       \
		say(k, sizeof(say_) / sizeof(say_[0]), say_); \
	} while (0)

static void pair(int fd[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
}

/* ---- D1: a short read over a border ---- */

static void test_short_is_contiguous(void **state)
{
	struct kit *k = kit_of(state);
	int fd[2];

	pair(fd);
	assert_done(vms_fill(k->port, RAM_B - 8, 0, 16), 16, 0);
	/* 4 bytes, and 4 later: what comes later is asked for later, and lies behind. */
	assert_int_equal(write(fd[1], "1234", 4), 4);
	assert_done(vms_recv(k->port, RAM_B - 8, fd[0], 16, -1), 4, 0);
	assert_int_equal(write(fd[1], "5678", 4), 4);
	assert_done(vms_recv(k->port, RAM_B - 4, fd[0], 12, -1), 4, 0);
	assert_done(vms_read_exact(k->port, RAM_B - 8, buf, 16), 16, 0);
	assert_memory_equal(buf, "12345678\0\0\0\0\0\0\0\0", 16);
	close(fd[0]);
	close(fd[1]);
}

/* The same where the host itself is short, wherever the borders of slots and of kinds lie. */
static void test_short_anywhere(void **state)
{
	struct kit *k = kit_of(state);
	const uint64_t base[] = { RAM_B - 100, SLOW - 100, MANAGED - 100, MANAGED + 2 * PG - 100 };
	int fd = file_of(PG, 0x5a);

	kit_pattern(buf, PG, 11);
	assert_int_equal(pwrite(fd, buf, PG, 0), PG);
	kit_map(k, HOLE, 2, k->shared, 0, VMS_SLOT_RAM);
	for (unsigned b = 0; b < sizeof(base) / sizeof(base[0]); b++)
		for (int64_t n = 1; n < 200; n += 13) {
			struct vms_done r;

			assert_done(vms_fill(k->port, base[b], 0xaa, 200), 200, 0);
			SAY(k, n, n, n, n);
			r = vms_recv(k->port, base[b], fd, 200, 0);
			assert_int_equal(r.status, 0);
			/* Where it had to be in two calls, the first was whole. */
			assert_true(r.done == (uint64_t)n ||
				    (r.done == 100 + (uint64_t)n && n >= 100) ||
				    (r.done == 200 && n > 100));
			assert_done(vms_read_exact(k->port, base[b], buf, 200), 200, 0);
			for (uint64_t i = 0; i < 200; i++)
				assert_int_equal(buf[i], i < r.done ? kit_byte(11 + i) : 0xaa);
			/* Exactly: all of it, in as many calls as it takes. */
			SAY(k, n, -EINTR, n, 1, n);
			assert_done(vms_recv_exact(k->port, base[b], fd, 200, 0), 200, 0);
			assert_done(vms_read_exact(k->port, base[b], buf, 200), 200, 0);
			for (uint64_t i = 0; i < 200; i++)
				assert_int_equal(buf[i], kit_byte(11 + i));
		}
	close(fd);
}

/* ---- D2, D3: counts on every path ---- */

static void test_counts(void **state)
{
	struct kit *k = kit_of(state);
	int fd = file_of(3 * PG, 1), fds[2];

	kit_pattern(k->a->hva, 4 * PG, 0);
	/* A destination that takes less: the count, not an error. */
	SAY(k, 5);
	assert_done(vms_send(k->port, RAM, fd, 100, 0), 5, 0);
	SAY(k, 5, 0);
	assert_done(vms_send_exact(k->port, RAM, fd, 100, 0), 5, -ENODATA);
	/* A real one: a socket that does not block is full some time. */
	pair(fds);
	assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	for (uint64_t all = 0;;) {
		struct vms_done r = vms_send(k->port, RAM, fds[0], 6 * PG, -1);

		all += r.done;
		if (r.status) {
			assert_int_equal(r.status, -EAGAIN);
			assert_int_equal(r.done, 0);
			assert_true(all > 0);
			break;
		}
	}
	/* An error in the second batch: the first one counts. */
	kit_map(k, HOLE, 1, k->a, 0, VMS_SLOT_RAM);
	SAY(k, INT64_MAX, -EIO);
	assert_done(vms_send_exact(k->port, HOLE, fd, 3 * PG, 0), 2 * PG, -EIO);
	SAY(k, INT64_MAX, -EIO);
	assert_done(vms_send(k->port, HOLE, fd, 3 * PG, 0), 2 * PG, 0);
	SAY(k, -EIO);
	assert_done(vms_send(k->port, HOLE, fd, 3 * PG, 0), 0, -EIO);
	assert_done(vms_recv(k->port, RAM, -1, 8, -1), 0, -EBADF);
	assert_done(vms_recv_exact(k->port, RAM, fd, 2 * PG, PG), 2 * PG, 0);
	assert_done(vms_recv_exact(k->port, RAM, fd, 3 * PG, PG), 2 * PG, -ENODATA);
	assert_done(vms_recv(k->port, RAM, fd, 3 * PG, PG), 2 * PG, 0);
	assert_done(vms_recv(k->port, RAM, fd, 8, 9 * PG), 0, 0);
	assert_done(vms_recv_exact(k->port, RAM, fd, 8, 9 * PG), 0, -ENODATA);
	close(fd);
	close(fds[0]);
	close(fds[1]);
}

static void test_memory_ends(void **state)
{
	struct kit *k = kit_of(state);
	int fd = file_of(8 * PG, 7);

	assert_done(vms_recv(k->port, HOLE, fd, 8, 0), 0, -ENXIO);
	assert_done(vms_recv(k->port, HOLE, fd, 0, 0), 0, 0);
	assert_done(vms_recv(k->port, RAM + 8, fd, 8 * PG, 0), 6 * PG - 8, 0);
	assert_done(vms_recv_exact(k->port, RAM + 8, fd, 8 * PG, 0), 6 * PG - 8, -ENXIO);
	assert_done(vms_recv(k->port, ROM, fd, 8, 0), 0, -EACCES);
	assert_done(vms_recv_exact(k->port, MANAGED, fd, 8 * PG, 0), 6 * PG, -ENXIO);
	assert_done(vms_send(k->port, WONLY, fd, 8, 0), 0, -EACCES);
	assert_done(vms_send_exact(k->port, ROM, fd, 8 * PG, 0), 7 * PG, -EACCES);
	assert_done(vms_recv_exact(k->port, TOP + 8, fd, PG, 0), PG - 8, -ERANGE);
	assert_done(vms_recv(k->port, UINT64_MAX, fd, SIZE_MAX, -1), 1, 0);
	/* Offsets that are none. */
	assert_done(vms_recv(k->port, RAM, fd, 8, -2), 0, -EINVAL);
	assert_done(vms_recv(k->port, RAM, fd, 8, INT64_MAX - 7), 0, -EINVAL);
	assert_done(vms_recv(k->port, RAM, fd, 8, INT64_MAX - 8), 0, 0);
	close(fd);
}

/* ---- Every kind of memory, there and back ---- */

static void test_there_and_back(void **state)
{
	struct kit *k = kit_of(state);
	int from = file_of(8 * PG, 0), to = file_of(8 * PG, 0);
	unsigned char got[7 * 4096];

	kit_pattern(buf, 8 * PG, 5);
	assert_int_equal(pwrite(from, buf, 8 * PG, 0), 8 * PG);
	kit_map(k, ROM, 1, k->rom, 0, VMS_SLOT_RAM);
	/* At an offset, and at the descriptor's own place. */
	assert_done(vms_recv_exact(k->port, ROM + 3, from, 7 * PG - 5, 2), 7 * PG - 5, 0);
	assert_done(vms_send_exact(k->port, ROM + 3, to, 7 * PG - 5, 9), 7 * PG - 5, 0);
	assert_int_equal(pread(to, got, 7 * PG - 5, 9), 7 * PG - 5);
	assert_memory_equal(got, buf + 2, 7 * PG - 5);
	assert_int_equal(lseek(from, 17, SEEK_SET), 17);
	assert_done(vms_recv(k->port, ROM + 1, from, 7 * PG - 5, -1), 7 * PG - 5, 0);
	assert_int_equal(lseek(from, 0, SEEK_CUR), 7 * PG - 5 + 17);
	assert_done(vms_read_exact(k->port, ROM + 1, got, 7 * PG - 5), 7 * PG - 5, 0);
	assert_memory_equal(got, buf + 17, 7 * PG - 5);
	assert_int_equal(k->owner.opens, 0);
	/* A slow owner that refuses: what is before it counts. */
	k->owner.err = -ENOLINK;
	assert_done(vms_recv(k->port, ROM, from, 2 * PG, 0), PG, 0);
	assert_done(vms_recv_exact(k->port, ROM, from, 2 * PG, 0), PG, -ENOLINK);
	assert_done(vms_send_exact(k->port, ROM, to, 2 * PG, 0), PG, -ENOLINK);
	assert_done(vms_send(k->port, SLOW, to, 8, 0), 0, -ENOLINK);
	k->owner.err = 0;
	close(from);
	close(to);
}

/* No buffer between: direct memory is given to the host as it is, all of it at once. */
static void test_no_bounce(void **state)
{
	struct kit *k = kit_of(state);
	int fd = file_of(8 * PG, 3);

	SAY(k, INT64_MAX);
	assert_done(vms_recv(k->port, RAM + 1, fd, 6 * PG - 2, 0), 6 * PG - 2, 0);
	assert_int_equal(script.at, 1);
	assert_int_equal(script.len[0], 6 * PG - 2);
	assert_int_equal(script.off[0], 0);
	assert_int_equal(k->b->hva[2 * PG - 2], 3);
	close(fd);
}

/* Long ones go in batches, at the right offsets. */
static void test_batches(void **state)
{
	struct kit *k = kit_of(state);
	const uint64_t n = UINT64_C(40) << 20, at = UINT64_C(1) << 30;
	struct vms_block *b = kit_block(k, VMS_BLOCK_ANON, n / PG, NULL);
	unsigned char byte;
	int fd = memfd_create("batches", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, (off_t)n), 0);
	for (uint64_t i = 0; i < n; i += UINT64_C(1) << 20) {
		byte = kit_byte(i >> 20);
		assert_int_equal(pwrite(fd, &byte, 1, (off_t)i), 1);
	}
	kit_map(k, at, n / PG, b, 0, VMS_SLOT_RAM);
	SAY(k, INT64_MAX);
	assert_done(vms_recv(k->port, at, fd, n, 0), n, 0);
	assert_in_range(script.at, 2, 16);
	for (uint64_t i = 0; i < n; i += UINT64_C(1) << 20)
		assert_int_equal(b->hva[i], kit_byte(i >> 20));
	kit_unmap(k, at, n / PG);
	vms_block_unref(b);
	close(fd);
}

/* More slots than one call takes. */
static void test_many_slots(void **state)
{
	struct kit *k = kit_of(state);
	const uint64_t at = UINT64_C(0x100000);
	int fd = file_of(200 * PG, 0x66);

	for (unsigned i = 0; i < 200; i++)
		kit_map(k, at + i * PG, 1, i % 2 ? k->a : k->b, i / 2 % 2, VMS_SLOT_RAM);
	SAY(k, INT64_MAX);
	assert_done(vms_recv(k->port, at, fd, 200 * PG, 0), 200 * PG, 0);
	assert_in_range(script.at, 4, 16);
	assert_done(vms_send_exact(k->port, at, fd, 200 * PG, 0), 200 * PG, 0);
	assert_int_equal(k->a->hva[0], 0x66);
	close(fd);
}

/* ---- Marks ---- */

static int add_pages(void *arg, struct vms_block *b, uint64_t off, uint64_t len)
{
	for (uint64_t p = off; p < off + len; p += PG)
		*(uint64_t *)arg |= UINT64_C(1) << p / PG;
	return 0;
}

static uint64_t dirty(struct vms_dirty *log, struct vms_block *b)
{
	uint64_t pages = 0;

	assert_ok(vms_dirty_harvest(log, b, 0, b->bytes, add_pages, &pages));
	return pages;
}

static void test_marks(void **state)
{
	struct kit *k = kit_of(state);
	struct vms_dirty_params p = { .size = sizeof(p) };
	int fd = file_of(8 * PG, 3);
	struct vms_dirty *log;

	assert_ok(vms_dirty_start(k->mem, &p, &log));
	SAY(k, PG - 10);
	assert_done(vms_recv(k->port, RAM + 10, fd, 3 * PG, 0), PG - 10, 0);
	assert_int_equal(dirty(log, k->a), 1);
	SAY(k, PG - 9);
	assert_done(vms_recv(k->port, RAM + 10, fd, 3 * PG, 0), PG - 9, 0);
	assert_int_equal(dirty(log, k->a), 3);
	assert_done(vms_send(k->port, RAM, fd, 3 * PG, 0), 3 * PG, 0);
	assert_int_equal(dirty(log, k->a), 0);
	SAY(k, -EAGAIN);
	assert_done(vms_recv(k->port, RAM, fd, 3 * PG, 0), 0, -EAGAIN);
	assert_int_equal(dirty(log, k->a), 0);
	/* Who knows how far it came. */
	SAY(k, -EIO);
	assert_done(vms_recv(k->port, RAM, fd, 3 * PG, 0), 0, -EIO);
	assert_int_equal(dirty(log, k->a), 7);
	vms_dirty_stop(log);
	close(fd);
}

/* ---- Signals ---- */

static atomic_int signalled;

static void on_signal(int sig)
{
	atomic_fetch_add(&signalled, 1);
}

static void *disturb(void *arg)
{
	int *fd = arg;

	for (int i = 0; i < 5; i++) {
		usleep(2000);
		pthread_kill(*(pthread_t *)(fd + 2), SIGUSR1);
	}
	usleep(2000);
	if (write(fd[1], "after all", 9) != 9)
		abort();
	return NULL;
}

static void test_interrupted(void **state)
{
	struct kit *k = kit_of(state);
	struct sigaction act = { .sa_handler = on_signal }, old; /* no SA_RESTART */
	struct {
		int fd[2];
		pthread_t me;
	} arg;
	pthread_t t;

	pair(arg.fd);
	arg.me = pthread_self();
	assert_int_equal(sigaction(SIGUSR1, &act, &old), 0);
	assert_int_equal(pthread_create(&t, NULL, disturb, &arg), 0);
	assert_done(vms_recv(k->port, RAM, arg.fd[0], 100, -1), 9, 0);
	pthread_join(t, NULL);
	assert_true(atomic_load(&signalled) > 0);
	assert_memory_equal(k->a->hva, "after all", 9);
	sigaction(SIGUSR1, &old, NULL);
	close(arg.fd[0]);
	close(arg.fd[1]);
}

/* ---- End ---- */

static int stream_end(void **state)
{
	struct kit *k = *state;

	if (k && k->mem->world == &scripted)
		k->mem->world = script.below;
	return kit_end(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_short_is_contiguous, kit_begin, stream_end),
		cmocka_unit_test_setup_teardown(test_short_anywhere, kit_begin, stream_end),
		cmocka_unit_test_setup_teardown(test_counts, kit_begin, stream_end),
		cmocka_unit_test_setup_teardown(test_memory_ends, kit_begin, stream_end),
		cmocka_unit_test_setup_teardown(test_there_and_back, kit_begin, stream_end),
		cmocka_unit_test_setup_teardown(test_no_bounce, kit_begin, stream_end),
		cmocka_unit_test_setup_teardown(test_batches, kit_begin, stream_end),
		cmocka_unit_test_setup_teardown(test_many_slots, kit_begin, stream_end),
		cmocka_unit_test_setup_teardown(test_marks, kit_begin, stream_end),
		cmocka_unit_test_setup_teardown(test_interrupted, kit_begin, stream_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
