// SPDX-License-Identifier: MIT
/*
 * shapes.c: loads of the shapes by which Zircon measures its virtual memory (reference section 3B),
 * against what the kernel has that comes nearest.
 *
 *	B3	map, copy all, unmap, of an object that is there; host backend; mmap of a memfd
 *	B5, B6	clone an object of 2 or 32 MiB that is mapped in so many segments, every page
 *		installed; soft backend; fork() of a process that has touched as much in as many
 *		regions. And the clone's end; the child's
 *	B8	clone, map, access all or every 8th page through the clone, unmap, close; host
 *		backend, its faults by SIGSEGV; a private mapping of a memfd
 *	B9	protect some of so many one-page mappings, with other rights or with the same;
 *		nothing is installed; mprotect
 *	B10	commit and decommit what is in so many mappings; MADV_POPULATE_WRITE, _DONTNEED
 *	B11	map 1 MiB, load from each page, unmap, each timed apart; a memfd that is there
 *	B12	the life of an object of 32 MiB; of a memfd, which has its pages from the first read
 *		on, where an object reads zeros
 *
 * What a guest does on the soft backend goes through its TLB (tlb.h), with the faults it takes.
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
#include "space_kit.h"

#define WINDOW_LO (16 * TIB)
#define WINDOW_HI (17 * TIB)
#define AT	  (WINDOW_LO + MIB)
#define KIB	  UINT64_C(1024)

static volatile uint64_t sink;

static double since(uint64_t t, double n)
{
	return (double)(cpu_ns() - t) / n;
}

/* ---- B3 ---- */

static void map_copy_unmap(const struct bench *b, uint64_t len, bool write)
{
	struct figure f = { .unit = "ns/KiB" };
	unsigned calls = b->quick ? 30 : 300;
	struct vms_object *obj = new_object(len, true);
	char *buf = malloc(len), *mem = (char *)AT;
	int fd = must_memfd(len, true);
	struct guest g;

	guest_host(&g, WINDOW_LO, WINDOW_HI);
	memset(buf, 1, len);
	for (unsigned i = 0; i < b->rounds; i++) {
		uint64_t t = cpu_ns();
		double ours;

		for (unsigned k = 0; k < calls; k++) {
			put(&g, AT, obj, 0, len, RW);
			memcpy(write ? mem : buf, write ? buf : mem, len);
			take(&g, AT, len);
		}
		ours = since(t, calls * (double)(len / KIB));
		t = cpu_ns();
		for (unsigned k = 0; k < calls; k++) {
			char *p = must_map(NULL, len, PROT_READ | PROT_WRITE,
					   MAP_SHARED | MAP_POPULATE, fd, 0);

			memcpy(write ? p : buf, write ? buf : p, len);
			munmap(p, len);
		}
		figure_round(&f, ours, since(t, calls * (double)(len / KIB)));
	}
	figure_show(b, &f, "B3 map, %s %" PRIu64 " KiB, unmap", write ? "write" : "read",
		    len / KIB);
	guest_end(&g);
	vms_object_unref(obj);
	free(buf);
	close(fd);
}

/* ---- B5, B6 ---- */

struct forked {
	double fork_ns, end_ns;
};

/* A process of its own: only what it touched is forked. */
static int peer_main(uint64_t len, uint64_t segments)
{
	char *mem = must_map(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t each = len / segments, t;
	struct forked result;
	pid_t pid;

	madvise(mem, len, MADV_NOHUGEPAGE);
	for (uint64_t i = 1; i < segments; i += 2)
		mprotect(mem + i * each, each, PROT_READ | PROT_WRITE | PROT_EXEC);
	memset(mem, 1, len);
	t = now_ns();
	pid = fork();
	if (pid == 0) {
		for (;;)
			pause();
	}
	result.fork_ns = (double)(now_ns() - t);
	t = now_ns();
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	result.end_ns = (double)(now_ns() - t);
	return write(STDOUT_FILENO, &result, sizeof(result)) == sizeof(result) ? 0 : 1;
}

static struct forked kernel_clone(uint64_t len, uint64_t segments)
{
	char arg[2][24],
		*argv[] = { (char *)"bench-shapes", (char *)"--peer", arg[0], arg[1], NULL };
	posix_spawn_file_actions_t actions;
	struct forked result;
	int out[2], status = 0;
	pid_t pid;

	snprintf(arg[0], sizeof(arg[0]), "%" PRIu64, len);
	snprintf(arg[1], sizeof(arg[1]), "%" PRIu64, segments);
	must(pipe2(out, O_CLOEXEC) ? -errno : 0, "pipe");
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
	must(-posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ), "spawn");
	posix_spawn_file_actions_destroy(&actions);
	close(out[1]);
	must(read(out[0], &result, sizeof(result)) != sizeof(result), "peer");
	must(waitpid(pid, &status, 0) != pid || status, "peer");
	close(out[0]);
	return result;
}

static struct vms_object *clone_of(struct vms_object *obj, uint64_t len)
{
	struct vms_object_params params = { .size = sizeof(params), .bytes = len };
	struct vms_object *child;

	must(vms_object_child(obj, VMS_CHILD_SNAPSHOT, 0, &params, &child), "clone");
	return child;
}

static void clone_mapped(const struct bench *b, const char *shape, uint64_t len, uint64_t segments)
{
	struct figure clones = { .unit = "ns/call" }, ends = clones;
	unsigned rounds = b->quick ? 3 : 15;
	struct vms_object *obj = new_object(len, true), *child;
	uint64_t each = len / segments, v, t;
	struct guest g;

	guest_soft(&g);
	for (unsigned i = 0; i < rounds; i++) {
		struct forked kernel = kernel_clone(len, segments);
		double ours;

		for (uint64_t s = 0; s < segments; s++)
			put(&g, AT + s * each, obj, s * each, each,
			    s % 2 ? RW | VMS_PROT_EXEC : RW);
		for (uint64_t off = 0; off < len; off += page)
			guest_load(&g, AT + off, &v);
		t = now_ns();
		child = clone_of(obj, len);
		ours = (double)(now_ns() - t);
		figure_round(&clones, ours, kernel.fork_ns);
		t = now_ns();
		vms_object_unref(child);
		figure_round(&ends, (double)(now_ns() - t), kernel.end_ns);
		take(&g, AT, len);
	}
	figure_show(b, &clones, "%s clone %" PRIu64 " KiB in %" PRIu64 " segments", shape,
		    len / KIB, segments);
	figure_show(b, &ends, "%s its end", shape);
	guest_end(&g);
	vms_object_unref(obj);
}

/* ---- B8 ---- */

static void access_pages(char *mem, uint64_t len, unsigned step, bool write)
{
	for (uint64_t off = 0; off < len; off += step * page) {
		if (write)
			*(volatile char *)(mem + off) = 1;
		else
			sink += *(volatile char *)(mem + off);
	}
}

static void access_clone(const struct bench *b, unsigned step, bool write)
{
	const uint64_t len = 2 * MIB;
	struct figure f = { .unit = "ns/page" };
	unsigned calls = b->quick ? 4 : 40;
	double pages = (double)(len / page / step) * calls;
	struct vms_object *obj = new_object(len, true), *child;
	int fd = must_memfd(len, true);
	struct guest g;

	guest_host(&g, WINDOW_LO, WINDOW_HI);
	for (unsigned i = 0; i <= b->rounds; i++) {
		uint64_t t = cpu_ns();
		double ours;

		for (unsigned k = 0; k < calls; k++) {
			child = clone_of(obj, len);
			put(&g, AT, child, 0, len, RW);
			access_pages((char *)AT, len, step, write);
			take(&g, AT, len);
			vms_object_unref(child);
		}
		ours = since(t, pages);
		t = cpu_ns();
		for (unsigned k = 0; k < calls; k++) {
			char *p = must_map(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

			access_pages(p, len, step, write);
			munmap(p, len);
		}
		if (i > 0)
			figure_round(&f, ours, since(t, pages));
	}
	figure_show(b, &f, "B8 clone, %s %s, close", write ? "write" : "read",
		    step == 1 ? "all" : "every 8th page");
	guest_end(&g);
	vms_object_unref(obj);
	close(fd);
}

/* ---- B9 ---- */

static void protects(const struct bench *b, unsigned total, unsigned some, bool same)
{
	struct figure f = { .unit = "ns/call" };
	unsigned calls = b->quick ? 1000 : 10000, from = (total - some) / 2;
	struct vms_object *obj = new_object(2 * total * page, false);
	int fd = must_memfd(2 * total * page, false);
	char *row = must_map(NULL, total * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct guest g;

	guest_soft(&g);
	for (unsigned i = 0; i < total; i++) {
		put(&g, AT + i * page, obj, 2 * i * page, page, RW);
		must_map(row + i * page, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
			 2 * i * page);
	}
	for (unsigned i = 0; i < b->rounds; i++) {
		uint64_t t = cpu_ns();
		double ours;

		for (unsigned k = 0; k < calls; k++)
			must(vms_protect(g.root, AT + from * page, some * page,
					 same || k % 2 ? RW : R, 0),
			     "protect");
		ours = since(t, calls);
		t = cpu_ns();
		for (unsigned k = 0; k < calls; k++)
			must(mprotect(row + from * page, some * page,
				      same || k % 2 ? PROT_READ | PROT_WRITE : PROT_READ),
			     "mprotect");
		figure_round(&f, ours, since(t, calls));
	}
	figure_show(b, &f, "B9 protect %s, %u of %u mappings", same ? "same" : "toggle", some,
		    total);
	guest_end(&g);
	vms_object_unref(obj);
	munmap(row, total * page);
	close(fd);
}

/* ---- B10 ---- */

static void commits(const struct bench *b, unsigned mappings, unsigned pages)
{
	struct figure commit = { .unit = "ns/page" }, decommit = commit;
	uint64_t len = (uint64_t)mappings * pages * page, each = pages * page;
	char *mem = must_map(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vms_object *obj = new_object(2 * len, false);
	double n = (double)mappings * pages;
	struct guest g;

	madvise(mem, len, MADV_NOHUGEPAGE);
	guest_soft(&g);
	for (unsigned i = 0; i < mappings; i++)
		put(&g, AT + i * each, obj, 2 * i * each, each, RW);
	for (unsigned i = 0; i < b->rounds; i++) {
		uint64_t t[5];

		t[0] = cpu_ns();
		must(vms_region_op(g.root, VMS_REGION_COMMIT, AT, len, NULL), "commit");
		t[1] = cpu_ns();
		must(vms_region_op(g.root, VMS_REGION_DECOMMIT, AT, len, NULL), "decommit");
		t[2] = cpu_ns();
		must(madvise(mem, len, MADV_POPULATE_WRITE) ? -errno : 0, "populate");
		t[3] = cpu_ns();
		must(madvise(mem, len, MADV_DONTNEED) ? -errno : 0, "dontneed");
		t[4] = cpu_ns();
		figure_round(&commit, (double)(t[1] - t[0]) / n, (double)(t[3] - t[2]) / n);
		figure_round(&decommit, (double)(t[2] - t[1]) / n, (double)(t[4] - t[3]) / n);
	}
	figure_show(b, &commit, "B10 commit %u x %u pages", mappings, pages);
	figure_show(b, &decommit, "B10 decommit %u x %u pages", mappings, pages);
	guest_end(&g);
	vms_object_unref(obj);
	munmap(mem, len);
}

/* ---- B11 ---- */

static void map_fault_unmap(const struct bench *b)
{
	const uint64_t len = MIB;
	struct figure f[3] = { { "ns/call" }, { "ns/page" }, { "ns/call" } };
	static const char *const name[] = { "map", "load from each page", "unmap" };
	double per[3] = { 1, (double)(len / page), 1 };
	unsigned calls = b->quick ? 20 : 200;
	struct vms_object *obj = new_object(len, true);
	int fd = must_memfd(len, true);
	struct guest g;

	guest_soft(&g);
	for (unsigned i = 0; i < b->rounds; i++) {
		double ours[3] = { 0 }, peer[3] = { 0 };
		uint64_t t[4], v;

		for (unsigned k = 0; k < calls; k++) {
			t[0] = cpu_ns();
			put(&g, AT, obj, 0, len, RW);
			t[1] = cpu_ns();
			for (uint64_t off = 0; off < len; off += page)
				guest_load(&g, AT + off, &v);
			t[2] = cpu_ns();
			take(&g, AT, len);
			t[3] = cpu_ns();
			for (unsigned s = 0; s < 3; s++)
				ours[s] += (double)(t[s + 1] - t[s]) / per[s] / calls;
		}
		for (unsigned k = 0; k < calls; k++) {
			char *p;

			t[0] = cpu_ns();
			p = must_map(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
			t[1] = cpu_ns();
			access_pages(p, len, 1, false);
			t[2] = cpu_ns();
			munmap(p, len);
			t[3] = cpu_ns();
			for (unsigned s = 0; s < 3; s++)
				peer[s] += (double)(t[s + 1] - t[s]) / per[s] / calls;
		}
		for (unsigned s = 0; s < 3; s++)
			figure_round(&f[s], ours[s], peer[s]);
	}
	for (unsigned s = 0; s < 3; s++)
		figure_show(b, &f[s], "B11 %s", name[s]);
	guest_end(&g);
	vms_object_unref(obj);
	close(fd);
}

/* ---- B12 ---- */

enum step {
	EMPTY,	    /* create and close */
	READ_FIRST, /* nothing there: zeros */
	READ_AGAIN,
	WRITE_FIRST, /* over the zeros */
	WRITE_AGAIN,
	UNMAP,
	READ_OTHER, /* from a second mapping */
	WRITE_OTHER,
	CLOSE,
	WRITE_FRESH,
	COMMIT,
	COMMIT_AGAIN,
	DECOMMIT,
	STEPS
};

static const char *const step_name[STEPS] = {
	"create, close",    "read, nothing there",
	"read again",	    "write over zeros",
	"write again",	    "unmap",
	"second map, read", "second map, write",
	"close, all there", "write, nothing there",
	"commit",	    "commit again",
	"decommit",
};

#define LIFE (32 * MIB)

static void guest_access(const struct guest *g, bool write)
{
	uint64_t v;

	for (uint64_t off = 0; off < LIFE; off += page) {
		if (write)
			guest_store(g, AT + off, 1);
		else
			guest_load(g, AT + off, &v);
	}
}

static void our_life(const struct guest *g, double *ns)
{
	struct vms_object *obj;
	uint64_t t[STEPS + 1];

	t[EMPTY] = cpu_ns();
	vms_object_unref(new_object(LIFE, false));
	ns[EMPTY] = (double)(cpu_ns() - t[EMPTY]);
	obj = new_object(LIFE, false);
	put(g, AT, obj, 0, LIFE, RW);
	for (int s = READ_FIRST; s <= WRITE_AGAIN; s++) {
		t[s] = cpu_ns();
		guest_access(g, s >= WRITE_FIRST);
		ns[s] = (double)(cpu_ns() - t[s]);
	}
	t[UNMAP] = cpu_ns();
	take(g, AT, LIFE);
	ns[UNMAP] = (double)(cpu_ns() - t[UNMAP]);
	put(g, AT, obj, 0, LIFE, RW);
	for (int s = READ_OTHER; s <= WRITE_OTHER; s++) {
		t[s] = cpu_ns();
		guest_access(g, s == WRITE_OTHER);
		ns[s] = (double)(cpu_ns() - t[s]);
	}
	take(g, AT, LIFE);
	t[CLOSE] = cpu_ns();
	vms_object_unref(obj);
	ns[CLOSE] = (double)(cpu_ns() - t[CLOSE]);

	obj = new_object(LIFE, false);
	put(g, AT, obj, 0, LIFE, RW);
	t[WRITE_FRESH] = cpu_ns();
	guest_access(g, true);
	ns[WRITE_FRESH] = (double)(cpu_ns() - t[WRITE_FRESH]);
	take(g, AT, LIFE);
	vms_object_unref(obj);

	obj = new_object(LIFE, false);
	for (int s = COMMIT; s <= DECOMMIT; s++) {
		t[s] = cpu_ns();
		op(obj, s == DECOMMIT ? VMS_OBJECT_DECOMMIT : VMS_OBJECT_COMMIT, LIFE);
		ns[s] = (double)(cpu_ns() - t[s]);
	}
	vms_object_unref(obj);
}

static char *map_file(int fd)
{
	return must_map(NULL, LIFE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

static void kernel_life(double *ns)
{
	uint64_t t[STEPS + 1];
	char *p;
	int fd;

	t[EMPTY] = cpu_ns();
	close(must_memfd(LIFE, false));
	ns[EMPTY] = (double)(cpu_ns() - t[EMPTY]);
	fd = must_memfd(LIFE, false);
	p = map_file(fd);
	for (int s = READ_FIRST; s <= WRITE_AGAIN; s++) {
		t[s] = cpu_ns();
		access_pages(p, LIFE, 1, s >= WRITE_FIRST);
		ns[s] = (double)(cpu_ns() - t[s]);
	}
	t[UNMAP] = cpu_ns();
	munmap(p, LIFE);
	ns[UNMAP] = (double)(cpu_ns() - t[UNMAP]);
	p = map_file(fd);
	for (int s = READ_OTHER; s <= WRITE_OTHER; s++) {
		t[s] = cpu_ns();
		access_pages(p, LIFE, 1, s == WRITE_OTHER);
		ns[s] = (double)(cpu_ns() - t[s]);
	}
	munmap(p, LIFE);
	t[CLOSE] = cpu_ns();
	close(fd);
	ns[CLOSE] = (double)(cpu_ns() - t[CLOSE]);

	fd = must_memfd(LIFE, false);
	p = map_file(fd);
	t[WRITE_FRESH] = cpu_ns();
	access_pages(p, LIFE, 1, true);
	ns[WRITE_FRESH] = (double)(cpu_ns() - t[WRITE_FRESH]);
	munmap(p, LIFE);
	close(fd);

	fd = must_memfd(LIFE, false);
	for (int s = COMMIT; s <= DECOMMIT; s++) {
		int mode = s == DECOMMIT ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : 0;

		t[s] = cpu_ns();
		must(fallocate(fd, mode, 0, (off_t)LIFE) ? -errno : 0, "fallocate");
		ns[s] = (double)(cpu_ns() - t[s]);
	}
	close(fd);
}

static void life(const struct bench *b)
{
	unsigned rounds = b->quick ? 3 : 15;
	struct figure f[STEPS] = { 0 };
	struct guest g;

	guest_soft(&g);
	for (unsigned i = 0; i < rounds; i++) {
		double ours[STEPS], peer[STEPS];

		our_life(&g, ours);
		kernel_life(peer);
		for (int s = 0; s < STEPS; s++) {
			double n = s == EMPTY ? 1 : (double)(LIFE / page);

			f[s].unit = s == EMPTY ? "ns/call" : "ns/page";
			figure_round(&f[s], ours[s] / n, peer[s] / n);
		}
	}
	for (int s = 0; s < STEPS; s++)
		figure_show(b, &f[s], "B12 %s", step_name[s]);
	guest_end(&g);
}

int main(int argc, char **argv)
{
	static const unsigned protected[][2] = {
		{ 1, 1 }, { 16, 16 }, { 128, 1 }, { 128, 16 }, { 128, 128 }
	};
	struct bench b;

	kit_init("bench-shapes");
	if (argc == 4 && !strcmp(argv[1], "--peer")) /* ourselves: kernel_clone() */
		return peer_main(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
	bench_init(&b, "shapes", argc, argv);
	for (unsigned write = 0; write < 2; write++)
		for (uint64_t len = 128 * KIB; len <= 2048 * KIB; len *= 4)
			map_copy_unmap(&b, len, write);
	clone_mapped(&b, "B5", 2 * MIB, 1);
	for (unsigned s = 1; s <= 8192; s = s == 1 ? 16 : s == 16 ? 512 : s * 16)
		clone_mapped(&b, "B6", 32 * MIB, s);
	for (unsigned write = 0; write < 2; write++) {
		access_clone(&b, 1, write);
		access_clone(&b, 8, write);
	}
	for (unsigned i = 0; i < 5; i++) {
		protects(&b, protected[i][0], protected[i][1], false);
		protects(&b, protected[i][0], protected[i][1], true);
	}
	commits(&b, 1, 128);
	commits(&b, 4, 128);
	commits(&b, 32, 128);
	commits(&b, 1, 1024);
	map_fault_unmap(&b);
	life(&b);
	vms_arena_unref(arena);
	return 0;
}
