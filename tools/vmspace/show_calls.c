// SPDX-License-Identifier: MIT
/*
 * show_calls.c: recordings and scripts as sources: their calls are made on an engine of our own
 * with the recording backend, and after each the mappings are looked at.
 *
 * Terms
 *	call	one that is counted: a call of a recording or an operation of a script; a new
 *		program image (execve) counts as one too
 *	window	the bytes that a call can have changed mappings in, their neighbours included
 *
 * Where steps are wanted only a call's windows are read again, so that a long recording of a large
 * space stays fast. That they were wide enough is checked after each call by the number of mappings
 * and of mapped bytes; where these differ everything is read. Without steps everything is read once,
 * at the end.
 */
#include "show.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <vmspace/mman.h>

#include "player.h"
#include "script.h"

#define MARGIN (UINT64_C(1) << 16) /* beyond a window: rounding to guest pages, and neighbours */

struct maker {
	struct scene *scene;
	struct vms_mm *mm; /* borrowed */
	uint64_t mapped;   /* bytes of scene->maps */
	struct show_maps now;
	/* The name of a file by its inode. */
	const char *(*file_name)(struct maker *k, uint64_t ino, char *buf, size_t size);
	struct player *player;	    /* of a recording */
	const struct roles *roles; /* of a script */
};

struct window {
	uint64_t first, last;
};

/* ---- looking ---- */

static int describe(struct maker *k, const struct vms_mm_region *r, struct show_map *m)
{
	const char *what = r->name;
	char buf[64];

	m->start = r->start;
	m->last = r->end - 1;
	m->off = r->off;
	m->prot = r->prot;
	m->flags = (r->flags & VMS_MM_SHARED ? SHOW_SHARED : 0) |
		   (r->flags & VMS_MM_LOCKED ? SHOW_LOCKED : 0) |
		   (r->flags & VMS_MM_GROWSDOWN ? SHOW_GROWS : 0) |
		   (r->flags & VMS_MM_SEALED ? SHOW_SEALED : 0);
	if (!(r->flags & (VMS_MM_ANON | VMS_MM_FOREIGN)))
		what = k->file_name(k, r->ino, buf, sizeof(buf));
	else if ((r->flags & VMS_MM_ANON) && (r->flags & VMS_MM_SHARED))
		what = "shared memory";
	m->what = scene_name(k->scene, what);
	return m->what == UINT32_MAX ? -ENOMEM : 0;
}

static int read_window(struct maker *k, uint64_t first, uint64_t last)
{
	struct vms_mm_region r = {.size = sizeof(r)};
	uint64_t cursor = first;

	k->now.n = 0;
	while (vms_mm_next(k->mm, &cursor, &r) == 0 && r.start <= last) {
		struct show_map *m = show_maps_add(&k->now);

		if (m == NULL || describe(k, &r, m) != 0)
			return -ENOMEM;
	}
	return 0;
}

static uint64_t mapped_in(const struct show_maps *maps)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < maps->n; i++)
		bytes += maps->v[i].last - maps->v[i].start + 1;
	return bytes;
}

static int look_at(struct maker *k, uint64_t first, uint64_t last, struct show_step *step)
{
	struct scene *s = k->scene;
	size_t i = show_maps_find(&s->maps, first);

	for (; i < s->maps.n && s->maps.v[i].start <= last; i++)
		k->mapped -= s->maps.v[i].last - s->maps.v[i].start + 1;
	if (read_window(k, first, last) != 0)
		return -ENOMEM;
	k->mapped += mapped_in(&k->now);
	return scene_replace(s, first, last, &k->now, step);
}

static int look_at_all(struct maker *k, struct show_step *step)
{
	return look_at(k, 0, UINT64_MAX, step);
}

/* After a call that changed something in the windows only. */
static int look(struct maker *k, const struct window *w, unsigned n, struct show_step *step)
{
	struct vms_mm_info info = {.size = sizeof(info)};

	if (step == NULL)
		return 0;
	for (unsigned i = 0; i < n; i++) {
		uint64_t first = w[i].first > MARGIN ? w[i].first - MARGIN : 0;
		uint64_t last = w[i].last < UINT64_MAX - MARGIN ? w[i].last + MARGIN : UINT64_MAX;

		if (look_at(k, first, last, step) != 0)
			return -ENOMEM;
	}
	vms_mm_info(k->mm, &info);
	if (info.regions == k->scene->maps.n && info.total == k->mapped)
		return 0;
	return look_at_all(k, step);
}

/* The windows of a call with its answer: none for a call that cannot change mappings. */
static unsigned windows_of(const struct op *op, int64_t answer, uint64_t brk_before,
			   struct window w[2])
{
	const uint64_t *a = op->a;
	uint64_t len = a[1] == 0 ? 0 : a[1] - 1, last = a[0] + len < a[0] ? UINT64_MAX : a[0] + len;
	bool failed = trace_is_error(answer);

	switch (op->kind) {
	case OP_MMAP:
		/* One that failed may have taken away what stood at a fixed address. */
		w[0] = (struct window){a[0], last};
		w[1] = (struct window){(uint64_t)answer, (uint64_t)answer + len};
		return failed ? 1 : a[0] == 0 ? (w[0] = w[1], 1u) : 2;
	case OP_BRK:
		w[0] = (struct window){brk_before, (uint64_t)answer};
		if (w[0].first > w[0].last)
			w[0] = (struct window){(uint64_t)answer, brk_before};
		return 1;
	case OP_MREMAP:
		w[0] = (struct window){a[0], last};
		w[1] = (struct window){failed ? a[4] : (uint64_t)answer, 0};
		w[1].last = w[1].first + a[2] < w[1].first ? UINT64_MAX : w[1].first + a[2];
		return failed && !(a[3] & MREMAP_FIXED) ? 1 : 2;
	case OP_MUNMAP:
	case OP_MPROTECT:
	case OP_MADVISE:
	case OP_MLOCK:
	case OP_MLOCK2:
	case OP_MUNLOCK:
	case OP_MSEAL:
		w[0] = (struct window){a[0], last};
		return 1;
	case OP_MSYNC:
	case OP_MINCORE:
	case OP_LIMIT:
		return 0;
	default:
		w[0] = (struct window){0, UINT64_MAX};
		return 1;
	}
}

static int call_text(char **text, const struct op *op, bool roles, int64_t answer, const char *more)
{
	size_t size;
	FILE *f = open_memstream(text, &size);

	if (f == NULL)
		return -ENOMEM;
	op_print(f, op, roles, answer);
	fputs(more, f);
	return fclose(f) == 0 ? 0 : -ENOMEM;
}

/* The call is the one made last, and a step of its own where steps are wanted. */
static int next_call(struct scene *s, char *text, struct show_step **step)
{
	*step = NULL;
	if (text == NULL)
		return -ENOMEM;
	free(s->call);
	s->call = text;
	s->at++;
	if (!s->want_steps)
		return 0;
	*step = scene_step(s, strdup(text));
	return *step != NULL ? 0 : -ENOMEM;
}

static int keep_before(struct scene *s)
{
	for (size_t i = 0; s->want_steps && i < s->maps.n; i++) {
		struct show_map *m = show_maps_add(&s->before);

		if (m == NULL)
			return -ENOMEM;
		*m = s->maps.v[i];
	}
	return 0;
}

static uint64_t brk_of(struct vms_mm *mm)
{
	struct vms_mm_info info = {.size = sizeof(info)};

	vms_mm_info(mm, &info);
	return info.brk;
}

static int no_memory(void)
{
	return show_cannot("no memory");
}

/* Is `at` there? */
static int check_at(const struct scene *s, const char *path, uint64_t at)
{
	if (at == SHOW_UNKNOWN || at <= s->calls)
		return 0;
	return show_cannot("%s has %lu calls, so there is nothing at %lu", path,
			   (unsigned long)s->calls, (unsigned long)at);
}

/* ---- recordings ---- */

static const char *recorded_file(struct maker *k, uint64_t ino, char *buf, size_t size)
{
	const struct player_file *f = player_file(k->player, ino);

	if (f == NULL || f->number < 0)
		return "file";
	snprintf(buf, size, "file %zu (descriptor %d)", (size_t)(f - k->player->file), f->number);
	return buf;
}

static int new_image(struct maker *k, struct trace_reader *t)
{
	struct scene *s = k->scene;
	struct show_step *step = NULL;
	bool first = k->mm == NULL;
	char *text = NULL;

	if (player_image(k->player, &t->maps) != 0)
		return show_cannot("line %u: %s", t->line, k->player->why);
	k->mm = k->player->mm;
	if (!first && (asprintf(&text, "execve(%s)", t->program) < 0 ||
		       next_call(s, text, &step) != 0))
		return no_memory();
	if (look_at_all(k, step) != 0 || (first && keep_before(s) != 0))
		return no_memory();
	return 0;
}

static int recorded_call(struct maker *k, const struct trace_reader *t, unsigned *differ)
{
	struct op op = {.kind = op_kind_of(t->call.name)};
	uint64_t brk = brk_of(k->mm);
	struct show_step *step;
	struct window w[2];
	char *text = NULL;
	int64_t got = 0;
	unsigned n = 0;
	const char *more = "";

	switch (player_call(k->player, &t->call, &got)) {
	case PLAYED_BROKEN:
		return show_cannot("line %u: %s", t->line, k->player->why);
	case PLAYED_SKIPPED:
		got = t->call.ret;
		break;
	case PLAYED_DONE:
		n = 1;
		if (got != t->call.ret) {
			more = " here, another answer in the recording";
			++*differ;
		}
		break;
	}
	if (op.kind == OP_KINDS)
		return show_cannot("line %u: '%s' is not known", t->line, t->call.name);
	memcpy(op.a, t->call.a, sizeof(op.a));
	if (call_text(&text, &op, false, got, more) != 0 || next_call(k->scene, text, &step) != 0)
		return no_memory();
	if (n != 0)
		n = windows_of(&op, got, brk, w);
	return look(k, w, n, step) != 0 ? no_memory() : 0;
}

/* The stack of a block may be lower than the calls made it: part of the call before. */
static int recorded_growth(struct maker *k, const struct trace_reader *t)
{
	struct vms_mm_info before = {.size = sizeof(before)}, after = {.size = sizeof(after)};
	struct scene *s = k->scene;

	vms_mm_info(k->mm, &before);
	player_grow(k->player, &t->maps);
	vms_mm_info(k->mm, &after);
	if (before.total == after.total || s->n_steps == 0)
		return 0;
	return look_at_all(k, &s->step[s->n_steps - 1]) != 0 ? no_memory() : 0;
}

static int play_recording(struct maker *k, struct trace_reader *t, uint64_t at, unsigned *differ)
{
	struct scene *s = k->scene;
	bool behind = false; /* what is shown has been made; only counting */

	for (;;) {
		enum trace_event event = trace_next(t);
		bool image = event == TRACE_BLOCK && (t->image || k->mm == NULL);
		bool counts = event == TRACE_CALL || (image && k->mm != NULL);

		if (event == TRACE_END)
			break;
		if (event == TRACE_ERROR)
			return show_cannot("%s", t->why);
		if (event == TRACE_CALL && k->mm == NULL)
			return show_cannot("line %u: a call stands before the first block of maps",
					   t->line);
		s->calls += counts;
		behind = behind || (counts && s->calls > at);
		if (behind)
			continue;
		if (event == TRACE_CALL) {
			if (recorded_call(k, t, differ) != 0)
				return -1;
		} else if (image) {
			if (new_image(k, t) != 0)
				return -1;
		} else if (recorded_growth(k, t) != 0) {
			return -1;
		}
	}
	if (k->mm == NULL)
		return show_cannot("the recording has no maps to start from");
	return s->want_steps || look_at_all(k, NULL) == 0 ? 0 : no_memory();
}

int show_recording(struct scene *s, const char *path, FILE *in, uint64_t at)
{
	struct player p = {.forced = true, .mmap_base = PLAYER_BASE};
	struct maker k = {.scene = s, .file_name = recorded_file, .player = &p};
	struct trace_reader t;
	unsigned differ = 0;
	int ret;

	s->kind = "recording";
	s->has_calls = true;
	s->page_size = 4096;
	player_raise_descriptors();
	trace_reader_init(&t, in);
	ret = play_recording(&k, &t, at, &differ);
	if (ret == 0)
		ret = check_at(s, path, at);
	if (ret == 0 && differ != 0 &&
	    asprintf(&s->note, "%u calls were answered otherwise than in the recording", differ) < 0)
		ret = no_memory();
	player_fini(&p);
	trace_reader_fini(&t);
	free(k.now.v);
	return ret;
}

/* ---- scripts ---- */

/* The files that a script may map. */
struct roles {
	int fd[FILE_ROLES];
	uint64_t ino[FILE_ROLES];
};

static int again(int fd, int flags)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags | O_CLOEXEC);
}

static int memory_file(const char *name, off_t bytes)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd >= 0 && ftruncate(fd, bytes) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static void roles_close(struct roles *r)
{
	for (int i = 0; i < FILE_ROLES; i++)
		if (r->fd[i] >= 0)
			close(r->fd[i]);
}

static int roles_open(struct roles *r)
{
	int *fd = r->fd, ends[2];
	struct stat st;

	for (int i = 0; i < FILE_ROLES; i++)
		fd[i] = -1;
	fd[FILE_RW] = memory_file("rw", 64 * 4096 + 100);
	fd[FILE_RW_AGAIN] = again(fd[FILE_RW], O_RDWR);
	fd[FILE_RW_DUP] = fcntl(fd[FILE_RW], F_DUPFD_CLOEXEC, 0);
	fd[FILE_RO] = again(fd[FILE_RW], O_RDONLY);
	fd[FILE_WO] = again(fd[FILE_RW], O_WRONLY);
	fd[FILE_PATH] = again(fd[FILE_RW], O_PATH);
	fd[FILE_BIG] = memory_file("big", 32 << 20);
	fd[FILE_EMPTY] = memory_file("empty", 0);
	fd[FILE_MEMFD] = memory_file("memfd", 32 * 4096);
	fd[FILE_SEALED] = memory_file("sealed", 8 * 4096);
	fd[FILE_DIR] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd[FILE_NULL] = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (pipe2(ends, O_CLOEXEC) == 0) {
		close(ends[1]);
		fd[FILE_PIPE] = ends[0];
	}
	if (fcntl(fd[FILE_SEALED], F_ADD_SEALS, F_SEAL_WRITE) != 0)
		return -errno;
	for (int i = 0; i < FILE_ROLES; i++) {
		if (i == FILE_CLOSED)
			continue;
		if (fd[i] < 0 || fstat(fd[i], &st) != 0)
			return -errno;
		r->ino[i] = st.st_ino;
	}
	return 0;
}

static const char *role_name(struct maker *k, uint64_t ino, char *buf, size_t size)
{
	static const char *const names[FILE_ROLES] = {
		[FILE_RW] = "file rw",	   [FILE_BIG] = "file big",	  [FILE_EMPTY] = "file empty",
		[FILE_MEMFD] = "file memfd", [FILE_SEALED] = "file sealed", [FILE_NULL] = "file null",
	};

	for (int i = 0; i < FILE_ROLES; i++)
		if (names[i] != NULL && k->roles->ino[i] == ino)
			return names[i];
	return "file";
}

/* As the differential test has it, but for limits: none but those the script sets. */
static int script_space(struct vms_mm **mm, const struct roles *roles, uint64_t left)
{
	struct vms_mm_policy p = {.size = sizeof(p)};
	struct vms_mmu *mmu;
	struct statfs fs;
	int err;

	vms_mm_policy_host(&p);
	p.flags &= ~(VMS_MM_CAP_IPC_LOCK | VMS_MM_CAP_RAWIO);
	p.page_size = 4096;
	p.task_size = PLAYER_TASK;
	p.mmap_base = PLAYER_BASE;
	p.huge_size = 2ul << 20;
	p.max_map_count = left == SHOW_UNKNOWN ? 65530 : (uint32_t)left;
	for (int i = 0; i < VMS_MM_LIMITS; i++)
		p.limit[i].soft = p.limit[i].hard = VMS_LIMIT_INFINITY;
	p.limit[VMS_MM_LIMIT_STACK].soft = 8ul << 20;
	memset(p.huge_fs, 0, sizeof(p.huge_fs));
	if (fstatfs(roles->fd[FILE_BIG], &fs) == 0)
		p.huge_fs[0] = (uint64_t)fs.f_type;
	err = vms_mmu_record(&mmu);
	if (err != 0)
		return err;
	err = vms_mm_create(&p, mmu, mm);
	vms_mmu_unref(mmu);
	return err != 0 ? err : vms_mm_set_brk(*mm, SCRIPT_HEAP);
}

static int64_t set_limit(struct vms_mm *mm, const struct op *op)
{
	static const int host[VMS_MM_LIMITS] = {
		[VMS_MM_LIMIT_AS] = RLIMIT_AS,
		[VMS_MM_LIMIT_DATA] = RLIMIT_DATA,
		[VMS_MM_LIMIT_STACK] = RLIMIT_STACK,
		[VMS_MM_LIMIT_MEMLOCK] = RLIMIT_MEMLOCK,
	};

	for (unsigned i = 0; i < VMS_MM_LIMITS; i++)
		if (host[i] == (int)op->a[0])
			return vms_mm_set_limit(mm, (enum vms_mm_resource)i,
						(struct vms_mm_limit){op->a[1], VMS_LIMIT_INFINITY});
	return -EINVAL;
}

static int64_t do_fork(struct vms_mm *mm, const struct op *op)
{
	int err = vms_mm_fork_begin(mm);

	if (err != 0)
		return err;
	if (op->a[0] == 0)
		vms_mm_fork_child(mm);
	else
		vms_mm_fork_parent(mm);
	return 0;
}

static int64_t perform(struct vms_mm *mm, const struct roles *roles, const struct op *op,
		       const char **more)
{
	static const char *const faults[] = {"", ", SIGSEGV: nothing is there",
					     ", SIGSEGV: not allowed", ", SIGBUS: past the file's end"};
	const uint64_t *v = op->a;

	switch (op->kind) {
	case OP_MMAP:
		return vms_mmap(mm, v[0], v[1], v[2], v[3],
				v[4] < FILE_ROLES ? roles->fd[v[4]] : -1, v[5]);
	case OP_MUNMAP:
		return vms_munmap(mm, v[0], v[1]);
	case OP_MPROTECT:
		return vms_mprotect(mm, v[0], v[1], v[2]);
	case OP_MREMAP:
		return vms_mremap(mm, v[0], v[1], v[2], v[3], v[4]);
	case OP_BRK:
		return vms_brk(mm, v[0]);
	case OP_MADVISE:
		return vms_madvise(mm, v[0], v[1], (int)v[2]);
	case OP_MSYNC:
		return vms_msync(mm, v[0], v[1], (int)v[2]);
	case OP_MLOCK:
		return vms_mlock(mm, v[0], v[1]);
	case OP_MLOCK2:
		return vms_mlock2(mm, v[0], v[1], (int)v[2]);
	case OP_MUNLOCK:
		return vms_munlock(mm, v[0], v[1]);
	case OP_MLOCKALL:
		return vms_mlockall(mm, (int)v[0]);
	case OP_MUNLOCKALL:
		return vms_munlockall(mm);
	case OP_MSEAL:
		return vms_mseal(mm, v[0], v[1], v[2]);
	case OP_TOUCH:
		*more = faults[vms_mm_fault(mm, v[0],
					    v[1] == 1 ? VMS_PROT_WRITE : VMS_PROT_READ)];
		return **more == '\0' ? 0 : -EFAULT;
	case OP_LIMIT:
		return set_limit(mm, op);
	case OP_FORK:
		return do_fork(mm, op);
	case OP_MINCORE: /* its answer depends on residency, which there is none of here */
	case OP_FILL:
	case OP_KINDS:
		break;
	}
	return 0;
}

static int play_script(struct maker *k, const struct script *ops, uint64_t at)
{
	struct scene *s = k->scene;

	s->calls = ops->n;
	if (keep_before(s) != 0)
		return no_memory();
	for (size_t i = 0; i < ops->n && i < at; i++) {
		uint64_t brk = brk_of(k->mm);
		struct show_step *step;
		struct window w[2];
		const char *more = "";
		char *text = NULL;
		int64_t got = perform(k->mm, k->roles, &ops->op[i], &more);

		if (call_text(&text, &ops->op[i], true, got, more) != 0 ||
		    next_call(s, text, &step) != 0 ||
		    look(k, w, windows_of(&ops->op[i], got, brk, w), step) != 0)
			return no_memory();
	}
	return s->want_steps || look_at_all(k, NULL) == 0 ? 0 : no_memory();
}

int show_script(struct scene *s, const char *path, FILE *in, uint64_t at)
{
	struct script ops = {0};
	struct roles roles;
	struct maker k = {.scene = s, .file_name = role_name, .roles = &roles};
	char why[512];
	int ret, err;

	s->kind = "script";
	s->has_calls = true;
	s->page_size = 4096;
	if (script_read(in, PLAYER_BASE, &ops, why, sizeof(why)) != 0) {
		script_free(&ops);
		return show_cannot("%s: %s", path, why);
	}
	err = roles_open(&roles);
	if (err == 0)
		err = script_space(&k.mm, &roles,
				   ops.n != 0 && ops.op[0].kind == OP_FILL ? ops.op[0].a[0]
									    : SHOW_UNKNOWN);
	ret = err == 0 ? play_script(&k, &ops, at) : show_cannot("%s", strerror(-err));
	if (ret == 0)
		ret = check_at(s, path, at);
	vms_mm_destroy(k.mm);
	roles_close(&roles);
	script_free(&ops);
	free(k.now.v);
	return ret;
}
