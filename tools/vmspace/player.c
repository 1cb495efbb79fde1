// SPDX-License-Identifier: MIT
/* player.c: recorded memory calls on an engine (player.h). */
#include "player.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define ENDLESS (1l << 46) /* bytes of a file that stands for a recorded one */

/* ---- files ---- */

static int new_file(struct player *r, int number)
{
	struct player_file *grown = realloc(r->file, (r->n_files + 1) * sizeof(*grown));
	struct stat st;
	int fd;

	if (grown == NULL) {
		return -ENOMEM;
	}
	r->file = grown;
	fd = memfd_create("replay", MFD_CLOEXEC);
	if (fd < 0) {
		return -errno;
	}
	if (ftruncate(fd, ENDLESS) != 0 || fstat(fd, &st) != 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	r->file[r->n_files++] = (struct player_file){.fd = fd, .number = number, .ino = st.st_ino};
	return fd;
}

/* (rule 1) */
static int file_for(struct player *r, const struct trace_call *c)
{
	uint32_t number = (uint32_t)c->a[4];
	bool fresh = c->a[5] == 0 && !(c->a[3] & (MAP_FIXED | MAP_FIXED_NOREPLACE));

	if (number >= PLAYER_FILES) {
		return new_file(r, -1);
	}
	if (fresh || r->fd_of[number] == 0) {
		int fd = new_file(r, (int)number);

		if (fd < 0) {
			return fd;
		}
		r->fd_of[number] = fd;
	}
	return r->fd_of[number];
}

static void drop_image(struct player *r)
{
	vms_mm_destroy(r->mm);
	r->mm = NULL;
	for (size_t i = 0; i < r->n_files; i++) {
		close(r->file[i].fd);
	}
	r->n_files = 0;
	memset(r->fd_of, 0, sizeof(r->fd_of));
}

void player_fini(struct player *r)
{
	drop_image(r);
	free(r->file);
	r->file = NULL;
}

const struct player_file *player_file(const struct player *r, uint64_t ino)
{
	for (size_t i = 0; i < r->n_files; i++) {
		if (r->file[i].ino == ino) {
			return &r->file[i];
		}
	}
	return NULL;
}

int player_cannot(struct player *r, const char *what, const char *reason)
{
	snprintf(r->why, sizeof(r->why), "%s: %s", what, reason);
	r->broken = r->why;
	return -1;
}

/* ---- an image's start ---- */

static int fill_policy(struct player *r, struct vms_mm_policy *p)
{
	struct statfs sfs;
	int fd;

	vms_mm_policy_host(p);
	p->flags = VMS_MM_OVERCOMMIT;
	p->page_size = 4096;
	p->task_size = PLAYER_TASK;
	p->mmap_base = r->mmap_base;
	p->huge_size = 2ul << 20;
	p->max_map_count = 1u << 30;
	for (int i = 0; i < VMS_MM_LIMITS; i++) {
		p->limit[i].soft = p->limit[i].hard = VMS_LIMIT_INFINITY;
	}
	/* The recorded files lay on a file system with large-page placement; ours stand for them.
	 */
	fd = new_file(r, -1);
	if (fd < 0 || fstatfs(fd, &sfs) != 0) {
		return player_cannot(r, "memfd", strerror(errno));
	}
	memset(p->huge_fs, 0, sizeof(p->huge_fs));
	p->huge_fs[0] = (uint64_t)sfs.f_type;
	return 0;
}

static unsigned prot_of(const char *perms)
{
	return (perms[0] == 'r' ? VMS_PROT_READ : 0) | (perms[1] == 'w' ? VMS_PROT_WRITE : 0) |
	       (perms[2] == 'x' ? VMS_PROT_EXEC : 0);
}

/* A recording may begin with a heap (a forked child's). Pieces of it come by address. */
static int enter_heap(struct player *r, const struct trace_map *m)
{
	struct vms_mm_info info = {.size = sizeof(info)};
	uint64_t len = m->end - m->start;

	vms_mm_info(r->mm, &info);
	if (info.brk_start == 0 && vms_mm_set_brk(r->mm, m->start) != 0) {
		return player_cannot(r, "[heap]", vms_last_error());
	}
	if (vms_brk(r->mm, m->end) != (int64_t)m->end ||
	    vms_mprotect(r->mm, m->start, len, prot_of(m->perms)) != 0) {
		return player_cannot(r, "[heap]", "it does not go where the block has it");
	}
	return 0;
}

static int enter_map(struct player *r, const struct trace_map *m)
{
	uint64_t len = m->end - m->start, flags = MAP_FIXED_NOREPLACE;
	int64_t got;
	int fd = -1;

	if (strcmp(m->what, "[heap]") == 0) {
		return enter_heap(r, m);
	}
	if (strcmp(m->what, "[stack]") == 0) {
		flags |= MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN;
	} else if (strcmp(m->what, "-") == 0) {
		flags |= MAP_PRIVATE | MAP_ANONYMOUS;
	} else if (m->what[0] == '[') {
		if (vms_mm_foreign(r->mm, m->start, len, prot_of(m->perms), VMS_MM_FOREIGN_WHOLE,
				   m->what) != 0) {
			return player_cannot(r, m->what, vms_last_error());
		}
		return 0;
	} else {
		/* One file for the whole start: neighbours of one program lie in one file. */
		flags |= m->perms[3] == 's' ? MAP_SHARED : MAP_PRIVATE;
		fd = r->file[0].fd;
	}
	got = vms_mmap(r->mm, m->start, len, prot_of(m->perms), flags, fd, fd < 0 ? 0 : m->off);
	if (got != (int64_t)m->start) {
		return player_cannot(r, "the first block of maps cannot be entered", strerror((int)-got));
	}
	if (strcmp(m->what, "[stack]") == 0) {
		vms_mm_set_stack(r->mm, m->end - 1);
	}
	return 0;
}

int player_image(struct player *r, const struct trace_maps *maps)
{
	struct vms_mm_policy policy = {.size = sizeof(policy)};
	struct vms_mmu *mmu;
	int err;

	drop_image(r);
	if (fill_policy(r, &policy) != 0) {
		return -1;
	}
	err = vms_mmu_record(&mmu);
	if (err == 0) {
		err = vms_mm_create(&policy, mmu, &r->mm);
		vms_mmu_unref(mmu);
	}
	if (err != 0) {
		return player_cannot(r, "engine", vms_last_error());
	}
	for (size_t i = 0; i < maps->n; i++) {
		/* What lies above user space, such as [vsyscall], belongs to no call. */
		if (maps->map[i].end <= PLAYER_TASK && enter_map(r, &maps->map[i]) != 0) {
			return -1;
		}
	}
	return 0;
}

/* ---- calls ---- */

/*
 * Only the first brk tells where the heap begins; and where exactly it ends, if the first block
 * held it: the maps show whole pages.
 */
static int64_t replay_brk(struct player *r, const struct trace_call *c)
{
	struct vms_mm_info info = {.size = sizeof(info)};
	uint64_t then = (uint64_t)c->ret;

	vms_mm_info(r->mm, &info);
	if (c->a[0] < info.brk_start && then < info.brk && info.brk - then < UINT64_C(4096)) {
		vms_brk(r->mm, then);
	}
	if (info.brk_start == 0 && vms_mm_set_brk(r->mm, (uint64_t)c->ret) != 0) {
		player_cannot(r, "brk", vms_last_error());
		return 0;
	}
	return vms_brk(r->mm, c->a[0]);
}

static int64_t replay_mmap(struct player *r, const struct trace_call *c)
{
	uint64_t addr = c->a[0], flags = c->a[3];
	int fd = flags & MAP_ANONYMOUS ? -1 : file_for(r, c);

	if (fd < 0 && !(flags & MAP_ANONYMOUS)) {
		player_cannot(r, "memfd", strerror(-fd));
		return 0;
	}
	if (r->forced && !trace_is_error(c->ret) && !(flags & MAP_FIXED)) {
		addr = (uint64_t)c->ret;
		flags |= MAP_FIXED_NOREPLACE;
	}
	return vms_mmap(r->mm, addr, c->a[1], c->a[2], flags, fd, c->a[5]);
}

static int64_t replay_mremap(struct player *r, const struct trace_call *c)
{
	uint64_t flags = c->a[3], to = c->a[4];

	if (r->forced && (uint64_t)c->ret != c->a[0] && !trace_is_error(c->ret)) {
		flags |= MREMAP_FIXED;
		to = (uint64_t)c->ret;
	}
	return vms_mremap(r->mm, c->a[0], c->a[1], c->a[2], flags, to);
}

static int64_t two(int64_t (*call)(struct vms_mm *, uint64_t, uint64_t), struct player *r,
		   const struct trace_call *c)
{
	return call(r->mm, c->a[0], c->a[1]);
}

/* (rule 3) */
static bool lies_in_the_file(const struct trace_call *c)
{
	switch (-c->ret) {
	case EACCES:
	case EBADF:
	case ENODEV:
	case EPERM:
	case EOVERFLOW:
	case EOPNOTSUPP:
		return true;
	default:
		return false;
	}
}

enum played player_call(struct player *r, const struct trace_call *c, int64_t *got)
{
	const char *name = c->name;

	if (strcmp(name, "mmap") == 0) {
		if (!(c->a[3] & MAP_ANONYMOUS) && lies_in_the_file(c)) {
			return PLAYED_SKIPPED;
		}
		*got = replay_mmap(r, c);
	} else if (strcmp(name, "munmap") == 0) {
		*got = two(vms_munmap, r, c);
	} else if (strcmp(name, "mprotect") == 0) {
		if (c->ret == -EACCES) {
			return PLAYED_SKIPPED;
		}
		*got = vms_mprotect(r->mm, c->a[0], c->a[1], c->a[2]);
	} else if (strcmp(name, "mremap") == 0) {
		*got = replay_mremap(r, c);
	} else if (strcmp(name, "brk") == 0) {
		*got = replay_brk(r, c);
	} else if (strcmp(name, "madvise") == 0) {
		*got = vms_madvise(r->mm, c->a[0], c->a[1], (int)c->a[2]);
	} else if (strcmp(name, "mlock") == 0) {
		*got = two(vms_mlock, r, c);
	} else if (strcmp(name, "mlock2") == 0) {
		*got = vms_mlock2(r->mm, c->a[0], c->a[1], (int)c->a[2]);
	} else if (strcmp(name, "munlock") == 0) {
		*got = two(vms_munlock, r, c);
	} else if (strcmp(name, "mlockall") == 0) {
		*got = vms_mlockall(r->mm, (int)c->a[0]);
	} else if (strcmp(name, "munlockall") == 0) {
		*got = vms_munlockall(r->mm);
	} else if (strcmp(name, "mseal") == 0) {
		*got = vms_mseal(r->mm, c->a[0], c->a[1], c->a[2]);
	} else {
		snprintf(r->why, sizeof(r->why), "there is no replay of '%s'", name);
		r->broken = r->why;
	}
	return r->broken == NULL ? PLAYED_DONE : PLAYED_BROKEN;
}

/* ---- the stack ---- */

/* (rule 2) */
void player_grow(struct player *r, const struct trace_maps *maps)
{
	for (size_t i = 0; i < maps->n; i++) {
		if (strcmp(maps->map[i].what, "[stack]") == 0) {
			vms_mm_fault(r->mm, maps->map[i].start, VMS_PROT_READ);
		}
	}
}

/* Each recorded file is a descriptor of ours. */
void player_raise_descriptors(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}
