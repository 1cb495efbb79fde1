// SPDX-License-Identifier: MIT
/*
 * mmap.c: mmap (reference linux-mm 1.1 and 1.2; M1 to M27 name its rows).
 *
 * One struct carries the call through the steps, in Linux's order of checks:
 *
 *	1 decode	arguments that are wrong whatever is mapped		M1 to M6
 *	2 place		an address, or why there is none			M7 to M11
 *	3 backing	the file and its rights, or what anonymous means	M12 to M22
 *	4 limits	what it would replace, sizes, commitment		M23 to M26
 *	5 the edit	one host call, then the tree
 *
 * Until step 5's host call has succeeded nothing has changed (M27).
 */
#include "mman/mm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mman.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "space/quick.h"

/* The guest's flags are x86-64's; the host's headers may be another machine's, or older. */
#ifndef MAP_32BIT
#define MAP_32BIT 0x40
#endif
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif
#ifndef MAP_UNINITIALIZED
#define MAP_UNINITIALIZED 0x4000000
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

/* What SHARED_VALIDATE knows of: everything older than the flag itself. */
#define LEGACY_FLAGS                                                                               \
	(MAP_SHARED | MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_DENYWRITE | MAP_EXECUTABLE |   \
	 MAP_UNINITIALIZED | MAP_GROWSDOWN | MAP_LOCKED | MAP_NORESERVE | MAP_POPULATE |           \
	 MAP_NONBLOCK | MAP_STACK | MAP_HUGETLB | MAP_32BIT | 0x80u | (0x3fu << MAP_HUGE_SHIFT))

struct mmap_call {
	struct vms_mm *mm;
	uint64_t addr, len, prot, flags, off; /* as given; len is rounded up by decode */
	int fd;
	int open_mode;		/* O_ACCMODE of fd; decode */
	struct vms_object *obj; /* owned; decode for files, backing for the rest */
	struct map map;		/* what will stand there */
	struct under under;	/* what it replaces; limits */
};

static int decode(struct mmap_call *c)
{
	const struct world *w = c->mm->space.world;
	uint64_t page = mm_page(c->mm);
	int flags;

	if (!is_aligned(c->off, page))
		return -EINVAL;
	if (!(c->flags & MAP_ANONYMOUS)) {
		flags = w->fd_flags(w, c->fd);
		if (flags < 0 || (flags & O_PATH))
			return -EBADF;
		c->open_mode = flags & O_ACCMODE;
		if (c->flags & MAP_HUGETLB)
			return -EINVAL;
	} else if (c->flags & MAP_HUGETLB) {
		/* No huge pages are reserved for guests. */
		return c->len ? -ENOMEM : -EINVAL;
	}
	if (c->len == 0)
		return -EINVAL;
	if (c->flags & MAP_FIXED_NOREPLACE)
		c->flags |= MAP_FIXED;
	if (!(c->flags & MAP_FIXED)) {
		c->addr = align_down(c->addr, page);
		if (c->addr != 0 && c->addr < mm_lowest(c->mm))
			c->addr = mm_lowest(c->mm);
	}
	c->len = align_up(c->len, page);
	if (c->len == 0)
		return -ENOMEM;
	if (c->mm->space.counts.n > c->mm->pol.max_map_count)
		return -ENOMEM;
	return 0;
}

static int place(struct mmap_call *c)
{
	struct vms_mm *mm = c->mm;
	bool anon = c->flags & MAP_ANONYMOUS;
	struct place p = {
		.hint = c->addr,
		.len = c->len,
		.off = c->off,
		.fixed = c->flags & MAP_FIXED,
		.low = c->flags & MAP_32BIT,
		.anon_private = anon && !(c->flags & MAP_SHARED),
	};
	int64_t addr;

	mm_held(mm);
	if (!anon) {
		int err = object_file(mm->space.world, c->fd,
				      !(mm->pol.flags & VMS_MM_KEEP_NO_FD), &mm->files, &c->obj);

		if (err)
			return err == -ENOMEM || err == -EMFILE ? -ENOMEM : -EBADF;
		p.huge_file = mm_huge_file(mm, c->obj);
	}
	addr = mm_place(mm, &p);
	if (addr < 0)
		return (int)addr;
	c->map.start = (uint64_t)addr;
	c->map.last = c->map.start + c->len - 1;
	if ((c->flags & MAP_FIXED_NOREPLACE) && mm_any_mapped(mm, c->map.start, c->map.last))
		return -EEXIST;
	return 0;
}

/* M14. Linux asks the kind of file, not the file system: regular ones end at 2^63 - 1. */
static int file_range(const struct mmap_call *c)
{
	mode_t mode = c->obj->mode;
	uint64_t most = S_ISREG(mode) || S_ISBLK(mode) || S_ISSOCK(mode) ? INT64_MAX : UINT64_MAX;

	return c->len > most || c->off / mm_page(c->mm) > (most - c->len) / mm_page(c->mm) ?
		       -EOVERFLOW :
		       0;
}

/* M15: a memfd sealed against writing, or against writing from now on. */
static int file_seals(struct mmap_call *c)
{
	const struct world *w = c->mm->space.world;
	int seals;

	if (!(c->flags & MAP_SHARED) || c->obj->fs_type != TMPFS_MAGIC)
		return 0;
	seals = w->fd_seals(w, c->fd);
	if (seals < 0 || !(seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)))
		return 0;
	if (c->prot & PROT_WRITE)
		return -EPERM;
	c->map.ceiling &= (uint8_t)~VMS_PROT_WRITE;
	return 0;
}

/* M21. Of devices only the driver knows; those of memory that cannot are the same everywhere. */
static bool can_be_mapped(const struct mmap_call *c)
{
	const struct world *w = c->mm->space.world;
	struct stat st;

	if (S_ISREG(c->obj->mode) || S_ISBLK(c->obj->mode))
		return true;
	if (!S_ISCHR(c->obj->mode) || w->fstat(w, c->fd, &st) != 0)
		return false;
	if (major(st.st_rdev) != 1)
		return true;
	switch (minor(st.st_rdev)) {
	case 3:	 /* null */
	case 7:	 /* full */
	case 8:	 /* random */
	case 9:	 /* urandom */
	case 11: /* kmsg */
		return false;
	default:
		return true;
	}
}

/* M20. The kernel's own small file systems never execute, whatever statfs says of the mount. */
static bool noexec(const struct vms_object *obj)
{
	switch (obj->fs_type) {
	case PIPEFS_MAGIC:
	case SOCKFS_MAGIC:
	case ANON_INODE_FS_MAGIC:
	case PROC_SUPER_MAGIC:
	case SYSFS_MAGIC:
		return true;
	default:
		return obj->noexec;
	}
}

/* File systems that have MAP_SYNC, for files on persistent memory. */
static bool knows_sync(const struct vms_object *obj)
{
	return S_ISREG(obj->mode) &&
	       (obj->fs_type == EXT4_SUPER_MAGIC || obj->fs_type == XFS_SUPER_MAGIC);
}

static int file_backing(struct mmap_call *c)
{
	int err = file_range(c);

	if (err)
		return err;
	switch (c->flags & MAP_TYPE) {
	case MAP_SHARED_VALIDATE:
		if (c->flags & ~(uint64_t)(LEGACY_FLAGS | (knows_sync(c->obj) ? MAP_SYNC : 0)))
			return -EOPNOTSUPP;
		/* fallthrough */
	case MAP_SHARED:
		if ((c->prot & PROT_WRITE) && c->open_mode == O_RDONLY)
			return -EACCES;
		c->map.flags |= MM_SHARED;
		if (c->open_mode == O_RDONLY)
			c->map.ceiling &= (uint8_t)~VMS_PROT_WRITE;
		/* fallthrough */
	case MAP_PRIVATE:
		if (c->open_mode == O_WRONLY)
			return -EACCES;
		if (noexec(c->obj)) {
			if (c->prot & PROT_EXEC)
				return -EPERM;
			c->map.ceiling &= (uint8_t)~VMS_PROT_EXEC;
		}
		if (!can_be_mapped(c))
			return -ENODEV;
		if (c->map.flags & MM_GROWSDOWN)
			return -EINVAL;
		break;
	default:
		return -EINVAL;
	}
	c->map.flags |= MM_FILE;
	c->map.off = c->off;
	return file_seals(c);
}

static int anon_backing(struct mmap_call *c)
{
	int err;

	switch (c->flags & MAP_TYPE) {
	case MAP_SHARED:
		if (c->map.flags & MM_GROWSDOWN)
			return -EINVAL;
		err = object_create(c->mm->space.world, OBJECT_SHARED, NULL, &c->obj);
		if (err)
			return err;
		c->obj->size = c->len;
		c->map.flags |= MM_SHARED;
		c->map.off = 0;
		return 0;
	case MAP_DROPPABLE:
		if ((c->flags & (MAP_LOCKED | MAP_HUGETLB)) || (c->map.flags & MM_GROWSDOWN))
			return -EINVAL;
		c->map.flags |= MM_DROPPABLE | MM_NORESERVE | MM_WIPEONFORK | MM_DONTDUMP;
		/* fallthrough */
	case MAP_PRIVATE:
		c->obj = object_ref(c->mm->anon);
		c->map.off = c->map.start;
		return 0;
	default:
		return -EINVAL;
	}
}

static int backing(struct mmap_call *c)
{
	struct vms_mm *mm = c->mm;
	int err;

	mm_held(mm);
	c->map.prot = c->prot & MM_PROT_ALL;
	c->map.ceiling = MM_PROT_ALL;
	c->map.flags = mm->def_flags;
	if (c->flags & MAP_GROWSDOWN)
		c->map.flags |= MM_GROWSDOWN;
	if (c->flags & MAP_LOCKED)
		c->map.flags |= MM_LOCKED;
	if (c->flags & MAP_STACK)
		c->map.flags |= MM_NOHUGEPAGE;
	if (c->flags & MAP_SYNC)
		c->map.flags |= MM_SYNC;
	if ((c->flags & MAP_LOCKED) && !mm_may_lock_at_all(mm))
		return -EPERM;
	if (!mm_lock_fits(mm, c->map.flags, c->len))
		return -EAGAIN;
	err = c->flags & MAP_ANONYMOUS ? anon_backing(c) : file_backing(c);
	if (err)
		return err;
	if (c->flags & MAP_NORESERVE)
		c->map.flags |= MM_NORESERVE;
	c->map.obj = c->obj;
	return 0;
}

/*
 * What Linux finds out only when the old mapping is gone already, so that it stays gone: the exceptions
 * to M27. Shared memory too big for its own file system, and MAP_SYNC where the file system has it but
 * not for this file.
 */
static int late_refusal(const struct mmap_call *c)
{
	if (!(c->map.flags & MM_FILE))
		return (c->map.flags & MM_SHARED) && !(c->map.flags & MM_NORESERVE) &&
				       !mm_commit_fits(c->mm, c->len) ?
			       -ENOMEM :
			       0;
	return (c->map.flags & MM_SYNC) && knows_sync(c->obj) ? -EOPNOTSUPP : 0;
}

static int limits(struct mmap_call *c)
{
	struct vms_mm *mm = c->mm;
	int err;

	mm_held(mm);
	err = mm_unmap_check(mm, c->map.start, c->map.last, &c->under);
	if (err)
		return err;
	if (!mm_may_expand(mm, &c->map, (int64_t)(c->len - c->under.mapped)))
		err = -ENOMEM;
	if ((c->map.prot & VMS_PROT_WRITE) && !(c->map.flags & (MM_SHARED | MM_NORESERVE))) {
		if (c->len > c->under.charged && !mm_commit_fits(mm, c->len - c->under.charged))
			err = -ENOMEM;
		c->map.flags |= MM_ACCOUNT;
	}
	if (!err && late_refusal(c)) {
		mm_unmap(mm, c->map.start, c->map.last);
		return late_refusal(c);
	}
	/* What it would have replaced stays, but in parts. */
	if (err)
		mm_part(mm, c->map.start, c->map.last);
	return err;
}

static int map_in_host(struct mmap_call *c)
{
	static const struct {
		uint32_t ours, backend;
	} known[] = {
		{ MM_SHARED, BACKEND_SHARED },	     { MM_NORESERVE, BACKEND_NORESERVE },
		{ MM_GROWSDOWN, BACKEND_GROWSDOWN }, { MM_NOHUGEPAGE, BACKEND_STACK },
		{ MM_DROPPABLE, BACKEND_DROPPABLE },
	};
	struct backend_map b = {
		.addr = c->map.start,
		.len = c->len,
		.prot = c->map.prot,
		.fd = c->map.flags & MM_FILE ? c->fd : -1,
		.off = c->off,
	};
	int err;

	/* A table: of a row of ifs gcc makes a path for each combination. */
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (c->map.flags & known[i].ours)
			b.flags |= known[i].backend;
	if ((c->map.flags & MM_LOCK_MASK) == MM_LOCKED)
		b.flags |= BACKEND_LOCKED;
	/* What is locked as it is touched is not populated, asked or not. */
	if ((c->flags & (MAP_POPULATE | MAP_NONBLOCK)) == MAP_POPULATE &&
	    !(c->map.flags & MM_LOCKONFAULT))
		b.flags |= BACKEND_POPULATE;
	if (c->under.n == 0)
		b.flags |= BACKEND_NOREPLACE;
	err = backend_map(c->mm->space.mmu, &b);
	/* Locked as it is touched: no flag of mmap says that, so a second call does, as well as it can. */
	if (!err && (c->map.flags & MM_LOCKONFAULT))
		backend_lock(c->mm->space.mmu, b.addr, b.len, 2);
	return err;
}

/* The host call and the edit around it. */
static int install(struct mmap_call *c, bool apart)
{
	struct vms_mm *mm = c->mm;
	struct quick q;
	struct edit e;
	int err = QUICK_NOT;

	mm_held(mm);
	if (!apart && c->under.n <= 1)
		err = quick_prepare(&q, &mm->space, &c->under.spot, c->map.start, c->map.last,
				    &c->map, /* fresh = */ true);
	if (err != QUICK_NOT) {
		if (!err)
			err = map_in_host(c);
		if (!err)
			quick_commit(&q);
		return err;
	}
	edit_init(&e, &mm->space);
	if (apart) {
		e.plan.keep_first = c->map.start;
		e.plan.keep_last = c->map.last + 1;
	}
	err = edit_map(&e, &c->map);
	if (!err)
		err = edit_prepare(&e);
	if (!err)
		err = map_in_host(c);
	if (!err)
		edit_commit(&e);
	edit_abort(&e);
	return err;
}

static int64_t finish(struct mmap_call *c)
{
	struct vms_mm *mm = c->mm;
	bool locked = c->map.flags & MM_LOCKED, apart = false;
	int err = guards_reserve(&mm->guards, mm->space.world, 1);

	mm_held(mm);
	if (locked && (c->map.flags & MM_DROPPABLE)) {
		/*
		 * It is never locked, but until it stands it looks so, and finds no neighbour
		 * alike; and it is populated.
		 */
		c->map.flags &= ~MM_LOCK_MASK;
		c->flags = (c->flags & ~(uint64_t)MAP_NONBLOCK) | MAP_POPULATE;
		apart = true;
	}
	if (!err)
		err = install(c, apart);
	if (err)
		return err;
	guards_clear(&mm->guards, c->map.start, c->map.last);
	mm_note_growing(mm, c->map.flags & MM_GROWSDOWN);
	if (locked || (c->flags & (MAP_POPULATE | MAP_NONBLOCK)) == MAP_POPULATE)
		mm_populated(mm, c->map.start, c->map.last);
	return (int64_t)c->map.start;
}

int64_t vms_mmap(struct vms_mm *mm, uint64_t addr, uint64_t len, uint64_t prot, uint64_t flags,
		 int fd, uint64_t off)
{
	struct mmap_call c = { .mm = mm, .addr = addr, .len = len, .prot = prot, .flags = flags,
			       .off = off, .fd = fd };
	int64_t result;

	mm_lock(mm);
	result = mm_catch_up(mm);
	if (!result)
		result = decode(&c);
	if (!result)
		result = place(&c);
	if (!result)
		result = backing(&c);
	if (!result)
		result = limits(&c);
	if (!result)
		result = finish(&c);
	object_unref(c.obj);
	mm_unlock(mm);
	return result;
}
