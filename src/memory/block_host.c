// SPDX-License-Identifier: MIT
/*
 * block_host.c: host memory for blocks: how it is mapped, filled, given back and counted.
 *
 *	file (SHARED, FILE) → a place → map → NUMA policy → advice → pages → lock
 *
 * The place: 2 MiB or more start at a multiple of 2 MiB (and of the huge page), so that the host
 * can use huge pages for it. We reserve too much, map inside, and give the rest back. What the host
 * does not take back just stays reserved.
 *
 * Memory is not reserved with the host (NORESERVE): a block takes what is touched. Huge pages of
 * the pool are the exception: they are set aside by the mapping, so that a pool that is too small
 * is known here and not by a SIGBUS later.
 *
 * Invariants:
 *	1 reserved NULL: nothing is mapped. Else hva lies in [reserved, reserved + reserved_bytes),
 *	  all of which is ours
 *	2 a SHARED's file has exactly b->bytes and is sealed so
 *	3 a FILE reached to the block's end when it was mapped
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/fail.h"
#include "base/range.h"
#include "memory/memory.h"
#include "object/content.h"

#define THP_BYTES (UINT64_C(2) << 20)
/* What a thread of PREALLOC does at a time, and so how often progress is told. */
#define FILL_BYTES   (UINT64_C(16) << 20)
#define FILL_THREADS 64u

/* Of newer headers than we need. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MFD_HUGE_SHIFT
#define MFD_HUGE_SHIFT 26
#endif
#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif
#ifndef F_ADD_SEALS
#define F_SEAL_SEAL   1
#define F_SEAL_SHRINK 2
#define F_SEAL_GROW   4
#endif
#ifndef O_PATH
#define O_PATH 010000000
#endif

static const struct world *world_of(const struct vms_block *b)
{
	return b->object.world;
}

static unsigned huge_shift(uint64_t bytes)
{
	return (unsigned)__builtin_ctzll(bytes);
}

/* ---- The file ---- */

static unsigned huge_memfd(const struct vms_block_params *p)
{
	if (!(p->flags & VMS_BLOCK_HUGETLB))
		return 0;
	return MFD_HUGETLB | (p->huge_page ? huge_shift(p->huge_page) << MFD_HUGE_SHIFT : 0);
}

static int fail_memfd(const struct vms_block_params *p, int err)
{
	if (p->flags & VMS_BLOCK_HUGETLB &&
	    (err == -ENODEV || err == -EINVAL || err == -ENOTSUP || err == -ENOSYS))
		return fail(-ENOTSUP, "block: the host has no huge pages of %" PRIu64 " KiB%s",
			    p->huge_page >> 10, p->huge_page ? "" : " (its default)");
	return fail(err, "block: memfd_create: %s", strerror(-err));
}

/* A memfd for the block, which may be sealed, and the size of its pages. */
static int open_memfd(struct vms_block *b, const struct vms_block_params *p)
{
	const struct world *w = world_of(b);
	struct stat st;
	int err, fd = w->memfd(w, b->name[0] ? b->name : "vmspace",
			       MFD_ALLOW_SEALING | huge_memfd(p));

	if (fd < 0)
		return fail_memfd(p, fd);
	b->fd = fd;
	if (!(p->flags & VMS_BLOCK_HUGETLB))
		return 0;
	/* The host's default size is asked for by 0: the file knows it. */
	err = w->fstat(w, fd, &st);
	if (err)
		return fail(err, "block: fstat: %s", strerror(-err));
	b->page_size = (uint64_t)st.st_blksize;
	if (!is_aligned(b->bytes, b->page_size))
		return fail(-EINVAL,
			    "block: %#" PRIx64 " bytes are no multiple of huge pages of %" PRIu64
			    " KiB",
			    b->bytes, b->page_size >> 10);
	return 0;
}

static void close_file(struct vms_block *b)
{
	if (b->fd >= 0)
		world_of(b)->fd_close(world_of(b), b->fd);
	b->fd = -1;
}

static int make_shared(struct vms_block *b, const struct vms_block_params *p)
{
	const struct world *w = world_of(b);
	int err = open_memfd(b, p);

	if (err)
		return err;
	err = w->ftruncate(w, b->fd, b->bytes);
	if (err)
		return fail(err, "block: ftruncate to %#" PRIx64 " bytes: %s", b->bytes,
			    strerror(-err));
	err = w->fd_add_seals(w, b->fd, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	return err ? fail(err, "block: sealing a memfd: %s", strerror(-err)) : 0;
}

/* An anonymous block of huge pages needs their size alone, which a memfd tells. */
static int learn_huge_page(struct vms_block *b, const struct vms_block_params *p)
{
	int err = open_memfd(b, p);

	close_file(b);
	return err;
}

static int check_rights(const struct vms_block *b, int fd)
{
	const struct world *w = world_of(b);
	int flags = w->fd_flags(w, fd);

	if (flags < 0)
		return fail(flags, "block: descriptor %d: %s", fd, strerror(-flags));
	if (flags & O_PATH)
		return fail(-EBADF, "block: descriptor %d is a path alone", fd);
	if ((flags & O_ACCMODE) == O_WRONLY)
		return fail(-EACCES, "block: descriptor %d may not be read", fd);
	if ((flags & O_ACCMODE) == O_RDONLY && !(b->flags & (VMS_BLOCK_READ | VMS_BLOCK_PRIVATE)))
		return fail(-EACCES, "block: descriptor %d may not be written", fd);
	return 0;
}

static int take_file(struct vms_block *b, const struct vms_block_params *p)
{
	const struct world *w = world_of(b);
	uint64_t type, size;
	bool noexec;
	struct stat st;
	int err = w->fstat(w, p->fd, &st);

	if (err)
		return fail(err, "block: descriptor %d: %s", p->fd, strerror(-err));
	if (!S_ISREG(st.st_mode))
		return fail(-ENOTSUP, "block: descriptor %d is no regular file", p->fd);
	err = check_rights(b, p->fd);
	if (err)
		return err;
	/* Benign failure: then the mapping says what does not fit. */
	if (!w->fs_type(w, p->fd, &type, &noexec) && type == HUGETLBFS_MAGIC)
		b->page_size = (uint64_t)st.st_blksize;
	size = align_up((uint64_t)st.st_size, b->mem->page_size);
	if (!b->bytes && size > p->fd_off)
		b->bytes = size - p->fd_off;
	if (!b->bytes || p->fd_off > size || b->bytes > size - p->fd_off)
		return fail(-ERANGE,
			    "block: [%#" PRIx64 ", +%#" PRIx64 ") of a file of %#" PRIx64 " bytes",
			    p->fd_off, b->bytes, (uint64_t)st.st_size);
	if (!is_aligned(b->bytes | p->fd_off, b->page_size))
		return fail(-EINVAL,
			    "block: [%#" PRIx64 ", +%#" PRIx64
			    ") of a file of huge pages of %" PRIu64 " KiB",
			    p->fd_off, b->bytes, b->page_size >> 10);
	b->fd = w->fd_dup(w, p->fd);
	if (b->fd < 0) {
		err = b->fd;
		b->fd = -1;
		return fail(err, "block: descriptor %d: cannot duplicate it: %s", p->fd,
			    strerror(-err));
	}
	b->fd_off = p->fd_off;
	return 0;
}

static int make_file(struct vms_block *b, const struct vms_block_params *p)
{
	switch (b->kind) {
	case VMS_BLOCK_SHARED:
		return make_shared(b, p);
	case VMS_BLOCK_FILE:
		return take_file(b, p);
	default:
		return p->flags & VMS_BLOCK_HUGETLB ? learn_huge_page(b, p) : 0;
	}
}

/* ---- The place ---- */

/* Of huge pages of the pool: HUGETLB, or a FILE on a file system of such. */
static bool is_huge(const struct vms_block *b)
{
	return b->page_size != b->mem->page_size;
}

static int fail_map(const struct vms_block *b, int err)
{
	if (err == -ENOMEM && is_huge(b))
		return fail(-ENOMEM,
			    "block: the host's pool has too few huge pages: %" PRIu64 " of %" PRIu64
			    " KiB are wanted",
			    b->bytes / b->page_size, b->page_size >> 10);
	if (err == -ENOMEM || err == -EAGAIN)
		return fail(-ENOMEM, "block: the host refuses to map %" PRIu64 " KiB: %s",
			    b->bytes >> 10, strerror(-err));
	if (err == -EPERM || err == -EACCES)
		return fail(-EACCES, "block: the file may not be mapped so: %s", strerror(-err));
	if (err == -ENODEV)
		return fail(-ENOTSUP, "block: the file cannot be mapped");
	return fail(err, "block: mmap of %#" PRIx64 " bytes: %s", b->bytes, strerror(-err));
}

static int map_flags(const struct vms_block *b)
{
	bool shared = b->kind != VMS_BLOCK_ANON && !(b->flags & VMS_BLOCK_PRIVATE);
	int flags = shared ? MAP_SHARED : MAP_PRIVATE;

	if (b->kind == VMS_BLOCK_ANON)
		flags |= MAP_ANONYMOUS;
	if (!is_huge(b))
		return flags | MAP_NORESERVE;
	if (b->kind == VMS_BLOCK_ANON)
		flags |= (int)(MAP_HUGETLB | huge_shift(b->page_size) << MAP_HUGE_SHIFT);
	return flags;
}

static int map_prot(const struct vms_block *b)
{
	return b->flags & VMS_BLOCK_READ ? PROT_READ : PROT_READ | PROT_WRITE;
}

/* What the host takes back of [from, to), at one end of the reserved. */
static bool trim(const struct vms_block *b, uint64_t from, uint64_t to)
{
	const struct world *w = world_of(b);

	return from == to || w->munmap(w, from, to - from) == 0;
}

static int map(struct vms_block *b)
{
	const struct world *w = world_of(b);
	uint64_t align = b->bytes >= THP_BYTES ? max_u64(THP_BYTES, b->page_size) : b->page_size;
	uint64_t more = align - b->mem->page_size, at = 0, end;
	int fixed = 0;
	int64_t p;

	if (more) {
		p = w->mmap(w, 0, b->bytes + more, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (p < 0)
			return fail(-ENOMEM, "block: no address space for %" PRIu64 " KiB: %s",
				    b->bytes >> 10, strerror((int)-p));
		b->reserved = (unsigned char *)(uintptr_t)p;
		b->reserved_bytes = b->bytes + more;
		at = align_up((uint64_t)p, align);
		fixed = MAP_FIXED;
	}
	p = w->mmap(w, at, b->bytes, map_prot(b), map_flags(b) | fixed, b->fd, b->fd_off);
	if (p < 0)
		return fail_map(b, (int)p);
	b->hva = (unsigned char *)(uintptr_t)p;
	if (!more) {
		b->reserved = b->hva;
		b->reserved_bytes = b->bytes;
		return 0;
	}
	end = (uint64_t)(uintptr_t)b->reserved + b->reserved_bytes;
	if (trim(b, at + b->bytes, end))
		b->reserved_bytes -= end - (at + b->bytes);
	if (trim(b, (uintptr_t)b->reserved, at)) {
		b->reserved_bytes -= at - (uintptr_t)b->reserved;
		b->reserved = b->hva;
	}
	return 0;
}

/* ---- Policy and advice ---- */

static void numa_of(struct vms_block *b, const struct vms_block_params *p)
{
	static const int modes[] = {
		[VMS_NUMA_DEFAULT] = MPOL_DEFAULT,
		[VMS_NUMA_BIND] = MPOL_BIND,
		[VMS_NUMA_PREFERRED] = MPOL_PREFERRED,
		[VMS_NUMA_INTERLEAVE] = MPOL_INTERLEAVE,
	};

	b->numa_mode = modes[p->numa];
	b->numa_nodes =
		p->numa == VMS_NUMA_PREFERRED || !p->nodes ? UINT64_C(1) << p->node : p->nodes;
}

static int set_policy(const struct vms_block *b, uint64_t addr, uint64_t len)
{
	const struct world *w = world_of(b);
	int err;

	if (b->numa_mode == MPOL_DEFAULT)
		return 0;
	err = w->mbind(w, addr, len, b->numa_mode, b->numa_nodes);
	if (!err)
		return 0;
	return fail(err == -EIO || err == -EFAULT ? -EINVAL : err,
		    "block: NUMA policy %d on nodes %#" PRIx64 ": %s", b->numa_mode, b->numa_nodes,
		    strerror(-err));
}

/* Must: it protects something. The others are hints, which a host may not know. */
static int advise(const struct vms_block *b, uint64_t addr, uint64_t len, uint32_t flag, int advice,
		  bool must)
{
	const struct world *w = world_of(b);
	int err = b->flags & flag ? w->madvise(w, addr, len, advice) : 0;

	if (!err || (err == -EINVAL && !must))
		return 0;
	return fail(err, "block: madvise %d: %s", advice, strerror(-err));
}

static int set_advice(const struct vms_block *b, uint64_t addr, uint64_t len)
{
	int err = advise(b, addr, len, VMS_BLOCK_DONTDUMP, MADV_DONTDUMP, true);

	if (!err)
		err = advise(b, addr, len, VMS_BLOCK_DONTFORK, MADV_DONTFORK, true);
	if (!err)
		err = advise(b, addr, len, VMS_BLOCK_THP, MADV_HUGEPAGE, false);
	if (!err)
		err = advise(b, addr, len, VMS_BLOCK_NO_THP, MADV_NOHUGEPAGE, false);
	if (!err)
		err = advise(b, addr, len, VMS_BLOCK_MERGE, MADV_MERGEABLE, false);
	return err;
}

/* ---- PREALLOC ---- */

struct fill {
	const struct vms_block *b;
	const struct vms_block_params *params;
	_Atomic(uint64_t) next; /* offset that nobody has taken yet */
	_Atomic(uint64_t) done; /* bytes */
	_Atomic(int) err;	/* the first one: everybody stops */
};

/* As the host would, page by page, where it cannot: nothing that stands there changes. */
static int touch(const struct vms_block *b, uint64_t off, uint64_t len)
{
	const struct world *w = world_of(b);
	int err = 0;

	/* What is not there, now, would be a SIGBUS. */
	if (b->fd >= 0 && !(b->flags & (VMS_BLOCK_READ | VMS_BLOCK_PRIVATE)))
		err = w->fallocate(w, b->fd, FALLOC_FL_KEEP_SIZE, b->fd_off + off, len);
	if (err && err != -EOPNOTSUPP)
		return err;
	for (uint64_t at = off; at < off + len; at += b->page_size) {
		_Atomic(unsigned char) *p = (_Atomic(unsigned char) *)(b->hva + at);

		if (b->flags & VMS_BLOCK_READ)
			(void)atomic_load_explicit(p, memory_order_relaxed);
		else
			atomic_fetch_or_explicit(p, 0, memory_order_relaxed);
	}
	return 0;
}

static int populate(const struct vms_block *b, uint64_t off, uint64_t len)
{
	const struct world *w = world_of(b);
	int advice = b->flags & VMS_BLOCK_READ ? MADV_POPULATE_READ : MADV_POPULATE_WRITE;
	int err;

	do
		err = w->madvise(w, (uintptr_t)b->hva + off, len, advice);
	while (err == -EINTR || err == -EAGAIN);
	return err == -EINVAL ? touch(b, off, len) : err; /* before Linux 5.14 */
}

/* The next piece: 0, or no more is to be done. */
static bool fill_piece(struct fill *f)
{
	uint64_t bytes = f->b->bytes, unit = max_u64(FILL_BYTES, f->b->page_size), len;
	uint64_t off = atomic_fetch_add_explicit(&f->next, unit, memory_order_relaxed);
	int err, none = 0;

	if (off >= bytes || atomic_load_explicit(&f->err, memory_order_relaxed))
		return false;
	len = min_u64(unit, bytes - off);
	err = populate(f->b, off, len);
	if (err)
		atomic_compare_exchange_strong(&f->err, &none, err);
	else
		atomic_fetch_add_explicit(&f->done, len, memory_order_relaxed);
	return !err;
}

static void *fill_thread(void *arg)
{
	while (fill_piece(arg))
		;
	return NULL;
}

static void tell(struct fill *f)
{
	const struct vms_block_params *p = f->params;
	uint64_t done = atomic_load_explicit(&f->done, memory_order_relaxed);
	int none = 0;

	if (p->progress && p->progress(p->progress_arg, done, f->b->bytes))
		atomic_compare_exchange_strong(&f->err, &none, -ECANCELED);
}

static int fail_fill(const struct vms_block *b, int err)
{
	if (err == -ECANCELED)
		return fail(err, "block: preallocation was stopped by its progress call");
	return fail(-ENOMEM, "block: the host has no memory for all of %" PRIu64 " KiB now: %s",
		    b->bytes >> 10, strerror(-err));
}

/* Helpers take no signals: these are the program's own threads' business. A helper that cannot be
 * had is no error: the others do its part. */
static unsigned start_helpers(struct fill *f, pthread_t *thread, unsigned n)
{
	sigset_t all, before;
	unsigned i = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (i < n && pthread_create(&thread[i], NULL, fill_thread, f) == 0)
		i++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return i;
}

static int prealloc(const struct vms_block *b, const struct vms_block_params *p)
{
	struct fill f = { .b = b, .params = p };
	unsigned helpers = p->threads ? p->threads - 1 : 0;
	pthread_t thread[FILL_THREADS];
	bool last;
	int err;

	if (!(p->flags & VMS_BLOCK_PREALLOC))
		return 0;
	helpers = (unsigned)min_u64(min_u64(helpers, FILL_THREADS), b->bytes / FILL_BYTES);
	helpers = start_helpers(&f, thread, helpers);
	while (fill_piece(&f))
		tell(&f);
	/* Told all of it already, unless somebody else was the last. */
	last = atomic_load(&f.done) != b->bytes || helpers;
	for (unsigned i = 0; i < helpers; i++)
		pthread_join(thread[i], NULL);
	if (last && !atomic_load(&f.err))
		tell(&f);
	err = atomic_load(&f.err);
	return err ? fail_fill(b, err) : 0;
}

/* ---- LOCK ---- */

static int lock_pages(const struct vms_block *b)
{
	const struct world *w = world_of(b);
	int err = b->flags & VMS_BLOCK_LOCK ? w->mlock(w, (uintptr_t)b->hva, b->bytes, false) : 0;

	if (!err)
		return 0;
	return fail(-ENOMEM, "block: cannot lock %" PRIu64 " KiB (RLIMIT_MEMLOCK, ulimit -l): %s",
		    b->bytes >> 10, strerror(-err));
}

/* ---- All of it ---- */

int block_host_map(struct vms_block *b, const struct vms_block_params *p)
{
	int err;

	numa_of(b, p);
	err = make_file(b, p);
	if (!err)
		err = map(b);
	if (!err)
		err = set_policy(b, (uintptr_t)b->hva, b->bytes);
	if (!err)
		err = set_advice(b, (uintptr_t)b->hva, b->bytes);
	if (!err)
		err = prealloc(b, p);
	if (!err)
		err = lock_pages(b);
	if (err)
		block_host_unmap(b);
	return err;
}

void block_host_unmap(struct vms_block *b)
{
	const struct world *w = world_of(b);

	if (b->reserved) {
		w->munmap(w, (uintptr_t)b->reserved, b->reserved_bytes);
		b->reserved = b->hva = NULL;
	}
	close_file(b);
}

/* ---- Discard ---- */

/* Private memory, of which the host forgets the pages. */
static int drop_anon(const struct vms_block *b, uint64_t addr, uint64_t len)
{
	const struct world *w = world_of(b);
	int err;

	if (!(b->flags & VMS_BLOCK_LOCK))
		return w->madvise(w, addr, len, MADV_DONTNEED);
	err = w->madvise(w, addr, len, MADV_DONTNEED_LOCKED);
	if (err != -EINVAL)
		return err;
	/* Before Linux 5.18. Locked again as it comes back. */
	err = w->munlock(w, addr, len);
	if (err)
		return err;
	err = w->madvise(w, addr, len, MADV_DONTNEED);
	return w->mlock(w, addr, len, true) ?: err;
}

/* A hole in the file; through the mapping, so that who watches the mapping hears of it. */
static int punch(const struct vms_block *b, uint64_t off, uint64_t addr, uint64_t len)
{
	const struct world *w = world_of(b);
	int err = w->madvise(w, addr, len, MADV_REMOVE);

	if (err != -EINVAL || b->fd < 0) /* of locked memory it is refused */
		return err;
	return w->fallocate(w, b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, b->fd_off + off,
			    len);
}

/*
 * Over a private file: without its own pages the block would show the file's again. The new memory
 * is complete before it takes the place of the old.
 */
static int replace(const struct vms_block *b, uint64_t addr, uint64_t len)
{
	const struct world *w = world_of(b);
	int64_t p = w->mmap(w, 0, len, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int64_t moved;
	int err;

	if (p < 0)
		return (int)p;
	err = set_policy(b, (uint64_t)p, len);
	if (!err)
		err = set_advice(b, (uint64_t)p, len);
	if (!err && b->flags & VMS_BLOCK_LOCK)
		err = w->mlock(w, (uint64_t)p, len, true);
	if (!err) {
		moved = w->mremap(w, (uint64_t)p, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, addr);
		err = moved < 0 ? (int)moved : 0;
	}
	if (err)
		w->munmap(w, (uint64_t)p, len);
	return err;
}

static bool can_punch(const struct vms_block *b)
{
	/* An arena's pages are those of a memfd, mapped shared. */
	if (b->kind == VMS_BLOCK_OBJECT)
		return view_of(b->content)->content->kind != CONTENT_HOST;
	return b->kind == VMS_BLOCK_SHARED || b->kind == VMS_BLOCK_FILE;
}

int block_host_discard(struct vms_block *b, uint64_t off, uint64_t len, uint64_t *freed)
{
	uint64_t from = align_up(off, b->page_size), to = align_down(off + len, b->page_size);
	uint64_t addr = (uintptr_t)b->hva + from;
	int err;

	*freed = 0;
	if (from >= to || b->flags & VMS_BLOCK_READ)
		return 0;
	if (b->kind == VMS_BLOCK_ANON)
		err = drop_anon(b, addr, to - from);
	else if (b->flags & VMS_BLOCK_PRIVATE && !is_huge(b))
		err = replace(b, addr, to - from);
	else if (!(b->flags & VMS_BLOCK_PRIVATE) && can_punch(b))
		err = punch(b, from, addr, to - from);
	else
		return 0;
	if (!err)
		*freed = to - from;
	/* This host, or this file system, cannot. */
	if (err == -EINVAL || err == -EOPNOTSUPP || err == -ENOSYS)
		return 0;
	return err ? fail(err, "discard: %s", strerror(-err)) : 0;
}

/* ---- How much is there ---- */

uint64_t block_host_resident(const struct vms_block *b)
{
	const struct world *w = world_of(b);
	unsigned char there[1024];
	uint64_t page = b->mem->page_size, n, pages = 0;

	if (!b->hva)
		return UINT64_MAX;
	for (uint64_t off = 0; off < b->bytes; off += n) {
		n = min_u64(b->bytes - off, sizeof(there) * page);
		if (w->mincore(w, (uintptr_t)b->hva + off, n, there))
			return UINT64_MAX;
		for (uint64_t i = 0; i < n / page; i++)
			pages += there[i] & 1;
	}
	return pages * page;
}
