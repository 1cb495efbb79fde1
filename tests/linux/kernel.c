// SPDX-License-Identifier: MIT
/*
 * kernel.c: the kernel as a side: a bare child (guest.c) that performs the operations for real.
 *
 * The child is started anew for each run: exec gives it an empty address space, with addresses not
 * randomised, so that equal operations give equal answers every time and everywhere. It has no
 * privileges even if we have (a privileged process may lock and map what others may not).
 *
 * Invariants
 * 1. area->turn is 1 while the child works and 0 while we do; only then is the area ours.
 * 2. `pid` is the process that serves the area; after a fork operation that is another one. We are
 * the subreaper, so whoever it is, it is ours to end.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "side.h"

struct kernel {
	struct side side;
	struct fileset files;
	int program; /* a memfd with the bare child: any user may execute it */
	int area_fd;
	struct guest_area *area;
	pid_t pid;
	uint64_t page;	       /* of the guest we stand for */
	uint64_t room;	       /* RLIMIT_STACK at exec */
	uint64_t most_maps;    /* vm.max_map_count */
	struct rlimit memlock; /* every child starts with that, whatever ours became */
};

static int fail(struct kernel *k, const char *what)
{
	snprintf(k->side.why, sizeof(k->side.why), "%s: %s", what, strerror(errno));
	return -1;
}

static void end_child(struct kernel *k)
{
	if (k->pid > 0) {
		kill(k->pid, SIGKILL);
		waitpid(k->pid, NULL, __WALL);
		k->pid = 0;
		/* What forks left behind; a child that lives is another side's. */
		while (waitpid(-1, NULL, __WALL | WNOHANG) > 0) {
		}
	}
}

static void drop_privileges(void)
{
	if (geteuid() == 0 &&
	    (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0)) {
		_exit(125);
	}
}

/* In the child: become the bare program. */
static void become_bare(const struct kernel *k)
{
	static char *const argv[] = { (char *)"bare", NULL }, *const envp[] = { NULL };
	struct rlimit stack;

	if (dup2(k->area_fd, GUEST_AREA_FD) < 0 || personality(ADDR_NO_RANDOMIZE) < 0) {
		_exit(124);
	}
	/* mmap_base depends on it: it leaves that much room below the end, and 128 MiB at least. */
	getrlimit(RLIMIT_STACK, &stack);
	stack.rlim_cur = k->room;
	if (setrlimit(RLIMIT_STACK, &stack) != 0) {
		_exit(123);
	}
	setrlimit(RLIMIT_MEMLOCK, &k->memlock);
	drop_privileges();
	fexecve(k->program, argv, envp);
	_exit(126);
}

/* Wait for our turn; -1 when the child is gone. */
static int await_turn(struct kernel *k)
{
	struct timespec second = { 1, 0 };

	while (__atomic_load_n(&k->area->turn, __ATOMIC_SEQ_CST) != 0) {
		if (syscall(SYS_futex, &k->area->turn, FUTEX_WAIT, 1, &second, NULL, 0) != 0 &&
		    errno == ETIMEDOUT) {
			int status = 0;
			pid_t gone = waitpid(-1, &status, __WALL | WNOHANG);

			if (gone == k->area->pid || gone == k->pid ||
			    (gone < 0 && errno == ECHILD)) {
				snprintf(k->side.why, sizeof(k->side.why),
					 "the bare child ended by itself (wait status %x)", status);
				return -1;
			}
		}
	}
	k->pid = k->area->pid; /* (inv. 2) */
	if (k->area->failed != 0) {
		snprintf(k->side.why, sizeof(k->side.why),
			 "the bare child could not go on at line %u of guest.c", k->area->failed);
		return -1;
	}
	return 0;
}

static int serve(struct kernel *k, uint32_t count)
{
	k->area->count = count;
	k->area->done = 0;
	__atomic_store_n(&k->area->turn, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &k->area->turn, FUTEX_WAKE, 1, NULL, NULL, 0);
	return await_turn(k);
}

/* ---- the maps ---- */

static const char *hex(const char *p, uint64_t *v)
{
	*v = 0;
	for (;; p++) {
		if (*p >= '0' && *p <= '9') {
			*v = *v << 4 | (uint64_t)(*p - '0');
		} else if (*p >= 'a' && *p <= 'f') {
			*v = *v << 4 | (uint64_t)(*p - 'a' + 10);
		} else {
			return p;
		}
	}
}

static uint16_t what_shows(const struct kernel *k, const char *name, uint64_t dev, uint64_t ino)
{
	if (ino == 0) {
		if (strncmp(name, "[heap]", 6) == 0) {
			return SHOWS_HEAP;
		}
		if (strncmp(name, "[stack]", 7) == 0) {
			return SHOWS_STACK;
		}
		return SHOWS_ANON;
	}
	if (strncmp(name, "/dev/zero (deleted)", 19) == 0) {
		return SHOWS_SHARED_ANON;
	}
	return fileset_shows(&k->files, dev, ino);
}

/* The lines of /proc/PID/maps in text[0, len), less our own regions. */
static void parse_maps(const struct kernel *k, const char *text, size_t len, struct maps *maps)
{
	const char *p = text, *end = text + len;

	maps->n = 0;
	while (p < end) {
		struct map_line l = { 0 };
		uint64_t major, minor, ino = 0;

		p = hex(p, &l.start);
		p = hex(p + 1, &l.end);
		l.prot = (uint8_t)((p[1] == 'r') | (p[2] == 'w') << 1 | (p[3] == 'x') << 2);
		l.shared = p[4] == 's';
		p = hex(p + 6, &l.off);
		p = hex(p + 1, &major);
		p = hex(p + 1, &minor);
		for (p++; *p >= '0' && *p <= '9'; p++) {
			ino = ino * 10 + (uint64_t)(*p - '0');
		}
		while (*p == ' ') {
			p++;
		}
		if (l.end <= GUEST_TASK && l.start != GUEST_CODE && l.start != GUEST_AREA &&
		    (k->area->maps_end == 0 || l.start < k->area->maps_end)) {
			l.shows = what_shows(k, p, makedev(major, minor), ino);
			*maps_add(maps) = l;
		}
		while (p < end && *p != '\n') {
			p++;
		}
		p++;
	}
}

/* ---- the counters ---- */

/* The number of KiB on the line that starts with `key`, in bytes. */
static uint64_t status_bytes(const char *text, const char *key)
{
	const char *line = strstr(text, key);

	return line != NULL ? strtoull(line + strlen(key), NULL, 10) << 10 : 0;
}

/* Of /proc/PID/status, less our own two regions: neither is data, and neither stays locked. */
static void parse_status(const char *text, size_t len, struct counters *c)
{
	char copy[4096];

	len = len < sizeof(copy) - 1 ? len : sizeof(copy) - 1;
	memcpy(copy, text, len);
	copy[len] = '\0';
	c->total = status_bytes(copy, "\nVmSize:") - GUEST_CODE_SIZE - GUEST_AREA_SIZE;
	c->locked = status_bytes(copy, "\nVmLck:");
	c->data = status_bytes(copy, "\nVmData:");
	c->stack = status_bytes(copy, "\nVmStk:");
}

/* ---- operations ---- */

static const uint32_t numbers[OP_KINDS] = {
	[OP_MMAP] = SYS_mmap,
	[OP_MUNMAP] = SYS_munmap,
	[OP_MPROTECT] = SYS_mprotect,
	[OP_MREMAP] = SYS_mremap,
	[OP_BRK] = SYS_brk,
	[OP_MADVISE] = SYS_madvise,
	[OP_MSYNC] = SYS_msync,
	[OP_MINCORE] = SYS_mincore,
	[OP_MLOCK] = SYS_mlock,
	[OP_MLOCK2] = SYS_mlock2,
	[OP_MUNLOCK] = SYS_munlock,
	[OP_MLOCKALL] = SYS_mlockall,
	[OP_MUNLOCKALL] = SYS_munlockall,
	[OP_MSEAL] = GUEST_NR_MSEAL,
	[OP_TOUCH] = GUEST_TOUCH,
	[OP_LIMIT] = GUEST_LIMIT,
	[OP_FORK] = GUEST_FORK,
	[OP_FILL] = GUEST_FILL,
};

/* As many regions as leave room for `left` more, beside the child's code and its area. */
static void encode_fill(struct kernel *k, uint64_t left, uint64_t a[6])
{
	uint64_t n = k->most_maps > left + 2 ? k->most_maps - left - 2 : 0;

	k->area->maps_end = GUEST_FILL_AT;
	a[0] = GUEST_FILL_AT;
	a[1] = GUEST_FILL_END - GUEST_FILL_AT;
	a[2] = n;
}

static void encode(struct kernel *k, const struct op *op, bool want_maps, struct guest_op *g)
{
	memset(g, 0, sizeof(*g));
	g->nr = numbers[op->kind];
	g->want_maps = want_maps;
	memcpy(g->a, op->a, sizeof(g->a));
	if (op->kind == OP_MMAP) {
		g->a[4] = (uint64_t)(int64_t)fileset_fd(&k->files, op->a[4]);
	}
	if (op->kind == OP_FILL) {
		encode_fill(k, op->a[0], g->a);
	}
}

/* Maps of an operation whose text did not fit: nothing happened since, so ask by an op without
 * effect. */
static int maps_again(struct kernel *k, struct maps *maps, struct counters *c)
{
	struct op nothing = { .kind = OP_MUNLOCK };

	encode(k, &nothing, true, &k->area->op[0]);
	if (serve(k, 1) != 0) {
		return -1;
	}
	if (k->area->op[0].status_len == 0) {
		errno = E2BIG;
		return fail(k, "the maps are too long for the area");
	}
	parse_maps(k, k->area->text, k->area->op[0].text_len, maps);
	parse_status(k->area->text + k->area->op[0].status, k->area->op[0].status_len, c);
	return 0;
}

static int kernel_run(struct side *side, const struct op *op, size_t n, struct answer *answer,
		      struct maps *maps)
{
	struct kernel *k = (struct kernel *)side;

	while (n > 0) {
		uint32_t count = n < GUEST_QUEUE ? (uint32_t)n : GUEST_QUEUE, done;

		for (uint32_t i = 0; i < count; i++) {
			encode(k, &op[i], maps != NULL, &k->area->op[i]);
		}
		if (serve(k, count) != 0) {
			return -1;
		}
		done = k->area->done;
		for (uint32_t i = 0; i < done; i++) {
			const struct guest_op *g = &k->area->op[i];

			answer[i] = (struct answer){
				.ret = g->ret, .sig = g->sig, .code = g->code, .addr = g->addr
			};
		}
		for (uint32_t i = 0; maps != NULL && i < done; i++) {
			const struct guest_op *g = &k->area->op[i];

			if (g->status_len != 0) {
				parse_maps(k, k->area->text + g->text, g->text_len, &maps[i]);
				parse_status(k->area->text + g->status, g->status_len,
					     &answer[i].counters);
			} else if (maps_again(k, &maps[i], &answer[i].counters) != 0) {
				return -1;
			}
			if (op[i].kind == OP_MINCORE) {
				/* What the page cache holds of files is not determined. */
				answer[i].addr &= maps_anon(&maps[i], op[i].a[0]);
			}
		}
		op += done;
		answer += done;
		maps = maps != NULL ? maps + done : NULL;
		n -= done;
	}
	return 0;
}

static int kernel_peek(struct side *side, uint64_t addr, size_t n, struct guest_peek *peek)
{
	struct kernel *k = (struct kernel *)side;

	memset(&k->area->op[0], 0, sizeof(k->area->op[0]));
	k->area->op[0].nr = GUEST_PEEK;
	k->area->op[0].a[0] = addr;
	k->area->op[0].a[1] = n < GUEST_PEEKS ? n : GUEST_PEEKS;
	if (serve(k, 1) != 0) {
		return -1;
	}
	memcpy(peek, k->area->peek, k->area->op[0].a[1] * sizeof(*peek));
	return 0;
}

/* The highest address that placement gives, found by asking for a page. */
static int discover_base(struct kernel *k)
{
	struct op stack = { .kind = OP_LIMIT, .a = { RLIMIT_STACK, 8ul << 20 } };
	struct op probe = { .kind = OP_MMAP,
			    .a = { 0, 4096, 0, MAP_PRIVATE | MAP_ANONYMOUS, FILE_NONE, 0 } };
	struct answer a;

	if (kernel_run(&k->side, &stack, 1, &a, NULL) != 0 ||
	    kernel_run(&k->side, &probe, 1, &a, NULL) != 0) {
		return -1;
	}
	k->side.mmap_base = (uint64_t)a.ret + 4096;
	k->side.stack_addr = k->area->first_stack;
	probe = (struct op){ .kind = OP_MUNMAP, .a = { (uint64_t)a.ret, 4096 } };
	return kernel_run(&k->side, &probe, 1, &a, NULL);
}

static int start_child(struct kernel *k)
{
	pid_t pid;

	end_child(k);
	memset(k->area, 0, offsetof(struct guest_area, op));
	k->area->turn = 1;
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		return fail(k, "fork");
	}
	if (pid == 0) {
		become_bare(k);
	}
	k->pid = pid;
	k->area->pid = pid;
	return await_turn(k) == 0 && discover_base(k) == 0 ? 0 : -1;
}

static int kernel_reset(struct side *side)
{
	struct kernel *k = (struct kernel *)side;

	if (start_child(k) != 0) {
		return -1;
	}
	if (side->mmap_base % k->page != 0) {
		/* A little more room moves it down to a multiple. */
		k->room += side->mmap_base % k->page;
		if (start_child(k) != 0) {
			return -1;
		}
		if (side->mmap_base % k->page != 0) {
			errno = EINVAL;
			return fail(k, "mmap_base at a multiple of the page size");
		}
	}
	if (!k->area->sealed) {
		errno = ENOSYS;
		return fail(k, "mseal, which protects the bare child from its own calls");
	}
	return 0;
}

static void kernel_close(struct side *side)
{
	struct kernel *k = (struct kernel *)side;

	end_child(k);
	munmap(k->area, GUEST_AREA_SIZE);
	close(k->area_fd);
	close(k->program);
	fileset_close(&k->files);
	free(k);
}

/* A copy that every user may execute, wherever the build directory is. */
static int copy_program(const char *path)
{
	int from = open(path, O_RDONLY | O_CLOEXEC), to = memfd_create("bare", MFD_CLOEXEC);
	char buf[4096];
	ssize_t n;

	if (from < 0 || to < 0) {
		return -1;
	}
	while ((n = read(from, buf, sizeof(buf))) > 0) {
		if (write(to, buf, (size_t)n) != n) {
			return -1;
		}
	}
	close(from);
	return fchmod(to, 0755) == 0 ? to : -1;
}

/* Aligned as its type says, which is more than a page. */
static void *map_area(int fd)
{
	size_t room = GUEST_AREA_SIZE + GUEST_PAGE_MOST;
	char *p = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *at;

	if (p == MAP_FAILED) {
		return p;
	}
	at = p + (-(uintptr_t)p & (GUEST_PAGE_MOST - 1));
	if (at > p) {
		munmap(p, (size_t)(at - p));
	}
	munmap(at + GUEST_AREA_SIZE, (size_t)(p + room - at) - GUEST_AREA_SIZE);
	return mmap(at, GUEST_AREA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
}

uint64_t kernel_most_maps(void)
{
	FILE *f = fopen("/proc/sys/vm/max_map_count", "re");
	unsigned long n = 0;

	if (f != NULL && fscanf(f, "%lu", &n) != 1) {
		n = 0;
	}
	if (f != NULL) {
		fclose(f);
	}
	/* More than fit into the room for them cannot be made. */
	return n <= (GUEST_FILL_END - GUEST_FILL_AT) / 4096 ? n : 0;
}

struct side *kernel_side(const char *program, int base, uint64_t room, uint64_t page, char *why,
			 size_t size)
{
	struct kernel *k = calloc(1, sizeof(*k));

	if (k == NULL) {
		return NULL;
	}
	k->side = (struct side){ .name = "kernel",
				 .reset = kernel_reset,
				 .run = kernel_run,
				 .peek = kernel_peek,
				 .close = kernel_close };
	k->room = room;
	k->page = page;
	k->most_maps = kernel_most_maps();
	getrlimit(RLIMIT_MEMLOCK, &k->memlock);
	if (room == ROOM_WIDE) {
		k->memlock.rlim_cur =
			k->memlock.rlim_max < LOCK_WIDE ? k->memlock.rlim_max : LOCK_WIDE;
	}
	if (fileset_open(&k->files, base, page, why, size) != 0) {
		free(k);
		return NULL;
	}
	k->program = copy_program(program);
	k->area_fd = memfd_create("area", MFD_CLOEXEC);
	k->area = MAP_FAILED;
	if (k->area_fd >= 0 && ftruncate(k->area_fd, (off_t)GUEST_AREA_SIZE) == 0) {
		k->area = map_area(k->area_fd);
	}
	if (k->program < 0 || k->area == MAP_FAILED || prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) {
		snprintf(why, size, "bare child '%s': %s", program, strerror(errno));
		return NULL;
	}
	return &k->side;
}
