// SPDX-License-Identifier: MIT
/*
 * procfs.c: /proc/self as the guest should see it.
 *
 * The kernel itself shows the guest's command line, environment, auxiliary vector and program
 * ranges: we tell it where they are (PR_SET_MM). Two things remain that it knows only of us: the
 * maps, and the program behind /proc/self/exe. They are recognised after the guest's open by what
 * the descriptor is, whatever path or directory led to it.
 */
#include "guest.h"
#include "mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#define PROC_MAGIC 0x9fa0

/* prctl(PR_SET_MM, PR_SET_MM_MAP): the kernel's layout. */
struct mm_map {
	uint64_t start_code, end_code, start_data, end_data, start_brk, brk, start_stack;
	uint64_t arg_start, arg_end, env_start, env_end;
	uint64_t auxv;
	uint32_t auxv_size, exe_fd;
};

/* The kernel took it (it need not: CONFIG_CHECKPOINT_RESTORE); else we answer ourselves. */
static bool described;
static uint64_t args[2], env[2]; /* where the strings lie on the guest's stack */

void procfs_describe(const struct start *s, uint64_t sp)
{
	args[0] = s->arg_start;
	args[1] = s->arg_end;
	env[0] = s->env_start;
	env[1] = s->env_end;

	struct mm_map m = {
		.start_code = s->prog.start_code,
		.end_code = s->prog.end_code,
		.start_data = s->prog.start_data,
		.end_data = s->prog.end_data,
		.brk = (uint64_t)sbrk(0),
		.start_stack = sp,
		.arg_start = s->arg_start,
		.arg_end = s->arg_end,
		.env_start = s->env_start,
		.env_end = s->env_end,
		.auxv = (uint64_t)guest.auxv,
		.auxv_size = (uint32_t)guest.auxv_bytes,
		.exe_fd = (uint32_t)-1,
	};
	const char *name = strrchr(s->execfn, '/');

	raw2(SYS_prctl, PR_SET_NAME, name != NULL ? name + 1 : s->execfn);
	if (m.start_code == 0)
		m.start_code = s->prog.base + HOST_PAGE, m.end_code = m.start_code + 1;
	/* Our heap stays the kernel's heap: its start as it is. */
	char text[2048];
	int fd = (int)raw3(SYS_open, "/proc/self/stat", O_RDONLY | O_CLOEXEC, 0);
	int64_t n = raw3(SYS_read, fd, text, sizeof(text) - 1);

	raw1(SYS_close, fd);
	if (n <= 0)
		return;
	text[n] = 0;
	char *p = strrchr(text, ')');

	for (int field = 2; p != NULL && field < 47; field++)
		p = strchr(p + 1, ' ');
	if (p == NULL)
		return;
	m.start_brk = strtoull(p + 1, NULL, 10);
	described = raw5(SYS_prctl, PR_SET_MM, PR_SET_MM_MAP, &m, sizeof(m), 0) == 0;
}

static bool on_proc(int fd)
{
	struct statfs fs;

	return raw2(SYS_fstatfs, fd, &fs) == 0 && fs.f_type == PROC_MAGIC;
}

/* The path behind a descriptor; its length or a negative errno. */
static int64_t fd_path(int fd, char *buf, size_t size)
{
	char link[48];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	int64_t n = raw3(SYS_readlink, link, buf, size - 1);

	buf[n > 0 ? n : 0] = 0;
	return n;
}

/* "/proc/PID/" of this process, with "task/TID/" perhaps: what follows, or NULL. */
static const char *own_entry(const char *path)
{
	char *end;

	if (strncmp(path, "/proc/", 6) != 0 || path[6] < '0' || path[6] > '9' ||
	    strtol(path + 6, &end, 10) != guest.proc.pid || *end != '/')
		return NULL;
	path = end + 1;
	if (strncmp(path, "task/", 5) == 0) {
		strtol(path + 5, &end, 10);
		if (*end != '/')
			return NULL;
		path = end + 1;
	}
	return path;
}

bool procfs_is_exe_name(const char *path)
{
	if (strncmp(path, "/proc/", 6) != 0)
		return false;
	if (strcmp(path + 6, "self/exe") == 0 || strcmp(path + 6, "thread-self/exe") == 0)
		return true;
	const char *rest = own_entry(path);

	return rest != NULL && strcmp(rest, "exe") == 0;
}

/* A link of the proc file system to this process's program? */
static bool is_exe_link(int dirfd, const char *path)
{
	char where[PATH_MAX];
	int fd = (int)raw4(SYS_openat, dirfd, path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
	bool yes = false;

	if (fd < 0)
		return false;
	if (on_proc(fd) && fd_path(fd, where, sizeof(where)) > 0) {
		const char *rest = own_entry(where);

		yes = rest != NULL && strcmp(rest, "exe") == 0;
	}
	raw1(SYS_close, fd);
	return yes;
}

/* ---- open ---- */

void sys_open(struct call *c)
{
	call_pass_watched(c);
}

/* Put `new` in the place of the descriptor the guest got, with its close-on-exec. */
static int64_t replace(int fd, int new)
{
	int cloexec = (int)raw2(SYS_fcntl, fd, F_GETFD) & FD_CLOEXEC;
	int64_t ret = raw3(SYS_dup3, new, fd, cloexec ? O_CLOEXEC : 0);

	raw1(SYS_close, new);
	return ret < 0 ? ret : fd;
}

/* What was written to `mem` so far, read-only and at its beginning, in the place of `fd`. */
static int64_t give(int fd, int mem)
{
	char link[48];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", mem);
	int ro = (int)raw3(SYS_open, link, O_RDONLY | O_CLOEXEC, 0);

	raw1(SYS_close, mem);
	return ro < 0 ? ro : replace(fd, ro);
}

static int64_t give_bytes(int fd, uint64_t from, uint64_t to)
{
	int mem = (int)raw2(SYS_memfd_create, "proc", MFD_CLOEXEC);

	if (mem < 0)
		return mem;
	raw3(SYS_write, mem, from, to - from); /* guest memory is the kernel's to check */
	return give(fd, mem);
}

static int64_t give_maps(int fd)
{
	static struct guest_mem_region r;
	uint64_t cursor = 0;
	int mem = (int)raw2(SYS_memfd_create, "maps", MFD_CLOEXEC);

	if (mem < 0)
		return mem;
	while (guest_mem_next(&cursor, &r)) {
		if (quiet_write(mem, r.line, strlen(r.line)) != 0) {
			raw1(SYS_close, mem);
			return -ENOMEM;
		}
	}
	if (layout_vsyscall != NULL)
		quiet_write(mem, layout_vsyscall, strlen(layout_vsyscall));
	return give(fd, mem);
}

/* struct linux_dirent64 */
struct entry64 {
	uint64_t ino;
	int64_t off;
	uint16_t len;
	uint8_t type;
	char name[];
};

/* The guest reads a directory of the proc file system: it may list our descriptors. */
void sys_getdents64(struct call *c)
{
	if (on_proc((int)c->a[0]))
		call_pass_watched(c);
	else
		call_pass(c);
}

/* Take the names of our descriptors out of what was read from a descriptor directory. */
static void hide_descriptors(struct call *c)
{
	static char list[32768];
	int64_t n = c->g[REG_RAX], kept = 0;
	char path[64];

	if (n <= 0 || n > (int64_t)sizeof(list) || fd_path((int)c->a[0], path, sizeof(path)) < 0)
		return;
	const char *rest = own_entry(path);

	if (rest == NULL || (strcmp(rest, "fd") != 0 && strcmp(rest, "fdinfo") != 0) ||
	    user_read(list, c->a[1], (size_t)n) != 0)
		return;
	for (int64_t at = 0; at < n;) {
		struct entry64 *e = (void *)(list + at);
		int64_t len = e->len;

		at += len;
		if (e->name[0] >= '0' && e->name[0] <= '9' &&
		    fdguard_ours(strtoull(e->name, NULL, 10)))
			continue;
		memmove(list + kept, e, (size_t)len);
		kept += len;
	}
	/* All of it ours: nothing would mean the end, which is not far (ours are the last). */
	if (user_write(c->a[1], list, (size_t)kept) == 0)
		call_done(c, kept);
}

/* An open of the guest is over. */
static void opened(struct call *c)
{
	int64_t fd = c->g[REG_RAX];
	char path[PATH_MAX];
	struct stat st;

	if (fd < 0 || raw2(SYS_fstat, fd, &st) != 0)
		return;
	if (st.st_dev == guest.self_dev && st.st_ino == guest.self_ino) {
		bool at = c->nr == SYS_openat || c->nr == 437;
		int dirfd = at ? (int)c->a[0] : AT_FDCWD;

		if (user_str(path, c->a[at ? 1 : 0], sizeof(path)) < 0 || !is_exe_link(dirfd, path))
			return;
		int new = (int)raw3(SYS_open, guest.exe, O_RDONLY | O_CLOEXEC, 0);

		if (new >= 0)
			replace((int)fd, new);
		return;
	}
	if (!S_ISREG(st.st_mode) || !on_proc((int)fd) || fd_path((int)fd, path, sizeof(path)) < 0)
		return;
	const char *rest = own_entry(path);

	int64_t ret = fd;

	if (rest == NULL)
		return;
	if (strcmp(rest, "maps") == 0)
		ret = give_maps((int)fd);
	else if (!described && strcmp(rest, "auxv") == 0)
		ret = give_bytes((int)fd, (uint64_t)guest.auxv,
				 (uint64_t)guest.auxv + guest.auxv_bytes);
	else if (!described && strcmp(rest, "cmdline") == 0)
		ret = give_bytes((int)fd, args[0], args[1]);
	else if (!described && strcmp(rest, "environ") == 0)
		ret = give_bytes((int)fd, env[0], env[1]);
	else if (strcmp(rest, "smaps") == 0 || strcmp(rest, "numa_maps") == 0 ||
		 strcmp(rest, "smaps_rollup") == 0)
		say_once("/proc/self/%s shows vmspace's own memory too", rest);
	if (ret < 0) {
		raw1(SYS_close, fd);
		call_done(c, ret);
	}
}

/* A watched call of the guest is over: the result is in RAX, c holds the call as it was made. */
void procfs_watched(struct call *c)
{
	if (c->nr == SYS_getdents64)
		hide_descriptors(c);
	else
		opened(c);
}

/* ---- links and other calls with a path ---- */

void sys_readlink(struct call *c)
{
	bool at = c->nr == SYS_readlinkat;
	int dirfd = at ? (int)c->a[0] : AT_FDCWD;
	uint64_t buf = c->a[at ? 2 : 1], size = c->a[at ? 3 : 2];
	static char path[PATH_MAX], to[PATH_MAX];

	if (user_str(path, c->a[at ? 1 : 0], sizeof(path)) <= 0) {
		call_pass(c);
		return;
	}
	int64_t n = raw4(SYS_readlinkat, dirfd, path, to, sizeof(to) - 1);

	if (n > 0)
		to[n] = 0;
	if (n <= 0 || strcmp(to, guest.self_path) != 0 || !is_exe_link(dirfd, path) ||
	    (int)size <= 0) {
		call_pass(c);
		return;
	}
	size_t len = strlen(guest.exe);

	if (len > size)
		len = size;
	call_done(c, user_write(buf, guest.exe, len) != 0 ? -EFAULT : (int64_t)len);
}

/* stat and its relatives: /proc/self/exe leads to the guest's program. */
void sys_path(struct call *c)
{
	int arg = c->nr == SYS_stat || c->nr == SYS_access ? 0 : 1;
	char path[32];

	if (user_str(path, c->a[arg], sizeof(path)) <= 0 || !procfs_is_exe_name(path) ||
	    (c->nr == SYS_newfstatat && (c->a[3] & AT_SYMLINK_NOFOLLOW) != 0) ||
	    (c->nr == SYS_statx && (c->a[2] & AT_SYMLINK_NOFOLLOW) != 0)) {
		call_pass(c);
		return;
	}
	uint64_t at;
	struct stub_frame *f = call_frame(c, &at);

	if (f == NULL)
		return;
	c->a[arg] = (uint64_t)guest.exe;
	call_pass_changed(c, f, at);
}
