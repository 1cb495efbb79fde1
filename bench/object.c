// SPDX-License-Identifier: MIT
/*
 * object.c: what snapshots, their first writes, copies in and out and look-ups cost.
 *
 *	snapshot	of a populated object, against fork() of a process that has touched as much
 *			memory: both make a copy-on-write copy at one instant
 *	first write	of one byte to each page of the parent after a snapshot, against the same
 *			in a process after fork while its child lives; into memory that the host
 *			has to find first (fresh), and into pages that an earlier snapshot left
 *			when it ended (reused), as who branches again and again does
 *	read, write	2 MiB through the API, against memcpy from and to a mapped memfd
 *	metadata	bookkeeping bytes for each granted page, against the budget of 16
 *	look-up		read of 8 bytes of the oldest page by the last of n snapshots, one page
 *			written in each, against an object that has none
 *	nested		the n-th snapshot of a snapshot, against the first
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "vmspace/object.h"

#define MIB		(UINT64_C(1) << 20)
#define GIB		(UINT64_C(1) << 30)
#define METADATA_BUDGET 16.0

static uint64_t page;
static struct vms_arena *arena;

static void must(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "bench-object: %s: %s: %s\n", what, strerror(-err), vms_last_error());
	exit(1);
}

static void *must_map(uint64_t len, int flags, int fd)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (p == MAP_FAILED) {
		perror("bench-object: mmap");
		exit(1);
	}
	return p;
}

static struct vms_object *new_object(uint64_t bytes)
{
	struct vms_object_params params = { .size = sizeof(params), .bytes = bytes };
	struct vms_object *obj;

	must(vms_object_create(arena, &params, &obj), "create");
	return obj;
}

static struct vms_object *snapshot(struct vms_object *parent, uint64_t bytes)
{
	struct vms_object_params params = { .size = sizeof(params), .bytes = bytes };
	struct vms_object *child;

	must(vms_object_child(parent, VMS_CHILD_SNAPSHOT, 0, &params, &child), "snapshot");
	return child;
}

static void populate(struct vms_object *obj, uint64_t bytes)
{
	static char buf[2 * MIB];

	memset(buf, 0x5a, sizeof(buf));
	for (uint64_t off = 0; off < bytes; off += sizeof(buf))
		must(vms_object_write(obj, off, buf,
				      bytes - off < sizeof(buf) ? bytes - off : sizeof(buf), NULL),
		     "populate");
}

/* ---- the kernel's side: a process of its own, so that only what it touched is forked ---- */

struct forked {
	double fork_ns;	 /* the call in the parent */
	double write_ns; /* a page's first write after it */
};

/* A child that waits until it is killed: the memory stays shared meanwhile. */
static pid_t fork_timed(double *ns)
{
	uint64_t t = now_ns();
	pid_t pid = fork();

	if (pid == 0) {
		for (;;)
			pause();
	}
	*ns = (double)(now_ns() - t);
	return pid;
}

static void touch(volatile char *mem, const uint64_t *order, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		mem[order[i] * page] = 1;
}

static uint64_t *make_order(uint64_t n, bool shuffled)
{
	uint64_t *order = malloc(n * sizeof(*order)), seed = 88172645463325252u;

	for (uint64_t i = 0; i < n; i++)
		order[i] = i;
	for (uint64_t i = n; shuffled && i > 1; i--) {
		uint64_t j, tmp;

		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		j = seed % i;
		tmp = order[i - 1];
		order[i - 1] = order[j];
		order[j] = tmp;
	}
	return order;
}

/* What a process of its own does: our memory is no part of its fork, nor is ours copied for it. */
static int peer_main(uint64_t bytes, uint64_t writes, int shuffled)
{
	uint64_t *order = make_order(shuffled ? bytes / page : writes, shuffled), t;
	char *mem = must_map(bytes, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	struct forked result;
	pid_t child;

	/* As our pages are: no large ones, which would be copied by 2 MiB or split. */
	madvise(mem, bytes, MADV_NOHUGEPAGE);
	memset(mem, 0x5a, bytes);
	child = fork_timed(&result.fork_ns);
	t = now_ns();
	touch(mem, order, writes);
	result.write_ns = (double)(now_ns() - t) / (double)writes;
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return write(STDOUT_FILENO, &result, sizeof(result)) == sizeof(result) ? 0 : 1;
}

static struct forked kernel_side(uint64_t bytes, uint64_t writes, int shuffled)
{
	char arg[3][24], *argv[] = {
		(char *)"bench-object", (char *)"--peer", arg[0], arg[1], arg[2], NULL
	};
	posix_spawn_file_actions_t actions;
	struct forked result;
	int out[2], status = 0;
	pid_t pid;

	snprintf(arg[0], sizeof(arg[0]), "%" PRIu64, bytes);
	snprintf(arg[1], sizeof(arg[1]), "%" PRIu64, writes);
	snprintf(arg[2], sizeof(arg[2]), "%d", shuffled);
	if (pipe2(out, O_CLOEXEC) || posix_spawn_file_actions_init(&actions) ||
	    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO) ||
	    posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ)) {
		perror("bench-object: peer");
		exit(1);
	}
	posix_spawn_file_actions_destroy(&actions);
	close(out[1]);
	if (read(out[0], &result, sizeof(result)) != sizeof(result) ||
	    waitpid(pid, &status, 0) != pid || status) {
		fprintf(stderr, "bench-object: the peer failed\n");
		exit(1);
	}
	close(out[0]);
	return result;
}

static void write_pages(struct vms_object *obj, const uint64_t *order, uint64_t n)
{
	const char one = 1;

	for (uint64_t i = 0; i < n; i++)
		must(vms_object_write(obj, order[i] * page, &one, 1, NULL), "first write");
}

static double first_writes(struct vms_object *obj, const uint64_t *order, uint64_t n)
{
	uint64_t t = now_ns();

	write_pages(obj, order, n);
	return (double)(now_ns() - t) / (double)n;
}

static void snapshots(const struct bench *b, uint64_t bytes, const char *size)
{
	static const char *const name[] = { "in order", "random" };
	struct vms_object *obj = new_object(bytes);
	uint64_t writes = bytes / page < 16384 ? bytes / page : 16384;
	struct figure snap = { .unit = "ns/call", .target = 0.01 };

	populate(obj, bytes);
	for (int shuffled = 0; shuffled < 2; shuffled++) {
		struct figure fresh = { .unit = "ns/page", .target = 1.0 }, reused = fresh;
		uint64_t *order = make_order(shuffled ? bytes / page : writes, shuffled);

		for (unsigned i = 0; i < b->rounds; i++) {
			struct forked kernel = kernel_side(bytes, writes, shuffled);
			struct vms_object *child;
			uint64_t t;

			must(vms_arena_reclaim(arena, UINT64_MAX, NULL), "reclaim");
			t = now_ns();
			child = snapshot(obj, bytes);
			figure_round(&snap, (double)(now_ns() - t), kernel.fork_ns);
			figure_round(&fresh, first_writes(obj, order, writes), kernel.write_ns);
			vms_object_unref(child);
			child = snapshot(obj, bytes);
			figure_round(&reused, first_writes(obj, order, writes), kernel.write_ns);
			vms_object_unref(child);
		}
		figure_show(b, &fresh, "first write after a snapshot of %s, %s, fresh", size,
			    name[shuffled]);
		figure_show(b, &reused, "first write after a snapshot of %s, %s, reused", size,
			    name[shuffled]);
		free(order);
	}
	figure_show(b, &snap, "snapshot of %s", size);
	vms_object_unref(obj);
}

/* ---- copies ---- */

#define COPY (2 * MIB)

static void copies(const struct bench *b)
{
	struct figure rd = { .unit = "ns/MiB", .target = 1.05 }, wr = rd;
	struct vms_object *obj = new_object(COPY);
	int fd = memfd_create("peer", MFD_CLOEXEC);
	unsigned repeat = b->quick ? 20 : 100;
	char *buf = must_map(COPY, MAP_PRIVATE | MAP_ANONYMOUS, -1), *mem;

	if (fd < 0 || ftruncate(fd, (off_t)COPY)) {
		perror("bench-object: memfd");
		exit(1);
	}
	mem = must_map(COPY, MAP_SHARED, fd);
	memset(buf, 1, COPY);
	memcpy(mem, buf, COPY);
	populate(obj, COPY);
	for (unsigned i = 0; i < b->rounds; i++) {
		uint64_t t0 = now_ns(), t1, t2, t3, t4;

		for (unsigned k = 0; k < repeat; k++)
			must(vms_object_read(obj, 0, buf, COPY, NULL), "read");
		t1 = now_ns();
		for (unsigned k = 0; k < repeat; k++) {
			memcpy(buf, mem, COPY);
			__asm__ volatile("" : : "r"(buf) : "memory");
		}
		t2 = now_ns();
		for (unsigned k = 0; k < repeat; k++)
			must(vms_object_write(obj, 0, buf, COPY, NULL), "write");
		t3 = now_ns();
		for (unsigned k = 0; k < repeat; k++) {
			memcpy(mem, buf, COPY);
			__asm__ volatile("" : : "r"(mem) : "memory");
		}
		t4 = now_ns();
		figure_round(&rd, (double)(t1 - t0) / repeat / 2, (double)(t2 - t1) / repeat / 2);
		figure_round(&wr, (double)(t3 - t2) / repeat / 2, (double)(t4 - t3) / repeat / 2);
	}
	figure_show(b, &rd, "read 2 MiB");
	figure_show(b, &wr, "write 2 MiB");
	munmap(mem, COPY);
	munmap(buf, COPY);
	close(fd);
	vms_object_unref(obj);
}

/* ---- metadata ---- */

static void metadata(const struct bench *b)
{
	struct vms_arena_info before = { .size = sizeof(before) }, after = before;
	struct figure f = { .unit = "bytes/page", .target = 1.0 };
	struct vms_object *obj;

	must(vms_arena_info(arena, &before), "info");
	obj = new_object(256 * MIB);
	populate(obj, 256 * MIB);
	must(vms_arena_info(arena, &after), "info");
	figure_round(&f,
		     (double)(after.metadata - before.metadata) /
			     (double)((after.granted - before.granted) / page),
		     METADATA_BUDGET);
	figure_show(b, &f, "metadata of a dense object");
	vms_object_unref(obj);
}

/* ---- chains ---- */

static double look_up(struct vms_object *obj, unsigned n)
{
	uint64_t t = now_ns(), value;

	for (unsigned i = 0; i < n; i++)
		must(vms_object_read(obj, 0, &value, sizeof(value), NULL), "look-up");
	return (double)(now_ns() - t) / n;
}

static double nested(struct vms_object *obj, uint64_t bytes, unsigned n)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < n; i++) {
		uint64_t t = now_ns();
		struct vms_object *child = snapshot(obj, bytes);

		total += now_ns() - t;
		vms_object_unref(child);
	}
	return (double)total / n;
}

static void chain(const struct bench *b, unsigned depth)
{
	const uint64_t bytes = 16 * MIB;
	struct figure find = { .unit = "ns/call" }, snap = { .unit = "ns/call" };
	struct vms_object **objs = calloc(depth + 1, sizeof(*objs)), *alone = new_object(bytes);
	unsigned repeat = b->quick ? 20000 : 200000;
	char one = 1;

	objs[0] = new_object(bytes);
	populate(objs[0], bytes);
	populate(alone, bytes);
	for (unsigned i = 1; i <= depth; i++) {
		objs[i] = snapshot(objs[i - 1], bytes);
		must(vms_object_write(objs[i], (1 + i % (bytes / page - 1)) * page, &one, 1, NULL),
		     "write");
	}
	for (unsigned i = 0; i < b->rounds; i++) {
		figure_round(&find, look_up(objs[depth], repeat), look_up(alone, repeat));
		figure_round(&snap, nested(objs[depth], bytes, 200), nested(alone, bytes, 200));
	}
	figure_show(b, &find, "look-up through %u snapshots", depth);
	figure_show(b, &snap, "snapshot below %u snapshots", depth);
	for (unsigned i = 0; i <= depth; i++)
		vms_object_unref(objs[i]);
	vms_object_unref(alone);
	free(objs);
}

int main(int argc, char **argv)
{
	struct vms_arena_params params = { .size = sizeof(params) };
	struct bench b;

	page = (uint64_t)sysconf(_SC_PAGESIZE);
	if (argc == 5 && !strcmp(argv[1], "--peer")) /* ourselves: kernel_side() */
		return peer_main(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10),
				 atoi(argv[4]));
	bench_init(&b, "object", argc, argv);
	must(vms_arena_create(&params, &arena), "arena");
	if (b.quick && b.rounds > 4)
		b.rounds = 4; /* each forks a process of 1 GiB */
	copies(&b);
	metadata(&b);
	chain(&b, 10);
	chain(&b, 100);
	chain(&b, 1000);
	snapshots(&b, 64 * MIB, "64 MiB");
	snapshots(&b, GIB, "1 GiB");
	vms_arena_unref(arena);
	return 0;
}
