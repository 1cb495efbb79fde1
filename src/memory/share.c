// SPDX-License-Identifier: MIT
/*
 * share.c: guest memory of two processes: its regions in vhost-user's shape, given and taken.
 *
 *	region	a range of guest addresses, where the exporter has it (uva), and a range of a file
 *
 * Only memory that is a file's own pages can be shared: SHARED blocks and FILE blocks that are not
 * PRIVATE. An arena's file holds other objects' pages too, so no object's are given away.
 *
 * Invariants:
 *	1 exported regions are in order of their guest addresses; no two could be one: the next one
 *	  does not go on in address, uva and offset of the same file
 *	2 an imported memory's table lists each region it was made of, whatever has become of its
 *	  slots since
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>

#include "memory/memory.h"

/* ---- Export ---- */

struct exporting {
	struct vms_shared *out; /* room for `room` */
	size_t room, n;
	struct vms_shared last;	       /* the region that may still grow; len 0: none */
	const struct vms_block *block; /* of its end */
};

static bool same_file(const struct vms_block *a, const struct vms_block *b)
{
	const struct world *w = a->object.world;

	return a == b || w->fd_same(w, a->fd, b->fd) == 1;
}

static bool goes_on(const struct exporting *x, const struct vms_shared *s,
		    const struct vms_block *b)
{
	const struct vms_shared *l = &x->last;

	return l->len && l->gpa + l->len == s->gpa && l->uva + l->len == s->uva &&
	       l->fd_off + l->len == s->fd_off && same_file(x->block, b);
}

static void flush(struct exporting *x)
{
	if (!x->last.len)
		return;
	if (x->n < x->room)
		x->out[x->n] = x->last;
	x->n++;
}

static int add_slot(struct exporting *x, const struct map *m)
{
	const struct vms_block *b = block_of(m->obj);
	struct vms_shared s = { .gpa = m->start,
				.len = m->last - m->start + 1,
				.uva = (uintptr_t)b->hva + m->off,
				.fd_off = b->fd_off + m->off,
				.fd = b->fd };

	if (!(m->prot & VMS_SLOT_WRITE) || b->kind == VMS_BLOCK_SLOW)
		return 0;
	if (b->fd < 0 || b->flags & VMS_BLOCK_PRIVATE)
		return fail(-ENOTSUP,
			    "export: the slot [%#" PRIx64 ", %#" PRIx64
			    "] shows memory that cannot be shared (block %" PRIu64 ", kind %u)",
			    m->start, m->last, b->id, b->kind);
	if (goes_on(x, &s, b)) {
		x->last.len += s.len;
	} else {
		flush(x);
		x->last = s;
	}
	x->block = b;
	return 0;
}

int vms_memory_export(struct vms_memory *mem, struct vms_shared *shares, size_t *n)
{
	struct exporting x = { .out = shares, .room = *n };
	uint64_t addr = mem->space.first;
	struct map m;
	int err = 0;

	lock_take(&mem->space.lock);
	while (!err && space_find(&mem->space, addr, &m)) {
		err = add_slot(&x, &m);
		if (m.last == UINT64_MAX)
			break;
		addr = m.last + 1;
	}
	lock_drop(&mem->space.lock);
	if (err)
		return err;
	flush(&x);
	*n = x.n;
	if (x.n > x.room)
		return fail(-ENOSPC, "export: %zu regions, and room for %zu", x.n, x.room);
	return 0;
}

/* ---- Import ---- */

struct share_table {
	size_t n;
	struct vms_shared share[];
};

static size_t table_bytes(size_t n)
{
	return sizeof(struct share_table) + n * sizeof(struct vms_shared);
}

void share_end(struct vms_memory *mem)
{
	if (mem->imported)
		mem->world->free(mem->world, mem->imported, table_bytes(mem->imported->n));
}

static int keep_table(struct vms_memory *mem, const struct vms_shared *shares, size_t n)
{
	const struct world *w = mem->world;

	if (n > SIZE_MAX / 2 / sizeof(*shares))
		return fail(-EINVAL, "import: %zu regions", n);
	mem->imported = w->alloc(w, table_bytes(n));
	if (!mem->imported)
		return fail(-ENOMEM, "no memory for a table of %zu regions", n);
	mem->imported->n = n;
	if (n)
		memcpy(mem->imported->share, shares, n * sizeof(*shares));
	return 0;
}

static int check_region(const struct vms_memory *mem, uint32_t flags, const struct vms_shared *s)
{
	const struct world *w = mem->world;
	uint64_t last;
	int seals;

	if (!is_aligned(s->gpa | s->len | s->fd_off, mem->page_size) ||
	    !range_last(s->gpa, s->len, &last) || !range_last(s->uva, s->len, &last))
		return fail(-EINVAL,
			    "import: [%#" PRIx64 ", +%#" PRIx64 ") at %#" PRIx64
			    " of a file: empty, not page aligned, or wraps",
			    s->gpa, s->len, s->fd_off);
	seals = flags & VMS_IMPORT_TRUSTED ? F_SEAL_SHRINK : w->fd_seals(w, s->fd);
	if (seals == -EBADF)
		return fail(-EBADF, "import: descriptor %d", s->fd);
	if (seals < 0 || !(seals & F_SEAL_SHRINK))
		return fail(-EPERM,
			    "import: the file of [%#" PRIx64 ", +%#" PRIx64
			    ") may be truncated under us: it is not sealed, and not TRUSTED",
			    s->gpa, s->len);
	return 0;
}

/* Bytes of the pages that the file is made of: a block of it starts and ends at such. */
static uint64_t file_page(const struct vms_memory *mem, int fd)
{
	const struct world *w = mem->world;
	uint64_t type;
	struct stat st;
	bool noexec;

	/* Benign failure: the block says what does not fit. */
	if (w->fs_type(w, fd, &type, &noexec) || type != HUGETLBFS_MAGIC || w->fstat(w, fd, &st))
		return mem->page_size;
	return (uint64_t)st.st_blksize;
}

static int map_region(struct vms_edit *e, struct vms_memory *mem, const struct vms_shared *s)
{
	uint64_t page = file_page(mem, s->fd), from = align_down(s->fd_off, page);
	struct vms_block_params p = { .size = sizeof(p),
				      .kind = VMS_BLOCK_FILE,
				      .flags = VMS_BLOCK_STANDALONE,
				      .fd = s->fd,
				      .fd_off = from };
	struct vms_block *b;
	int err;

	if (s->fd_off > UINT64_MAX / 2 || s->len > UINT64_MAX / 2)
		return fail(-ERANGE, "import: [%#" PRIx64 ", +%#" PRIx64 ") of a file", s->fd_off,
			    s->len);
	p.bytes = align_up(s->fd_off + s->len, page) - from;
	err = block_create(mem, &p, &b);
	if (err)
		return err;
	err = vms_slot_map(e, s->gpa, s->len, b, s->fd_off - from,
			   VMS_SLOT_RAM | VMS_SLOT_NOREPLACE);
	vms_block_unref(b);
	return err;
}

static int map_regions(struct vms_memory *mem, uint32_t flags, const struct vms_shared *shares,
		       size_t n)
{
	struct vms_edit *e;
	int err = vms_edit_begin(mem, &e);

	if (err)
		return err;
	for (size_t i = 0; !err && i < n; i++) {
		err = check_region(mem, flags, &shares[i]);
		if (!err)
			err = map_region(e, mem, &shares[i]);
	}
	if (!err)
		return vms_edit_commit(e);
	vms_edit_abort(e);
	return err;
}

int vms_memory_import(const struct vms_memory_params *params, uint32_t flags,
		      const struct vms_shared *shares, size_t n, struct vms_memory **out)
{
	struct vms_memory *mem;
	int err;

	if (flags & ~VMS_IMPORT_TRUSTED)
		return fail(-EINVAL, "import: unknown flags %#x", flags);
	err = vms_memory_create(params, &mem);
	if (err)
		return err;
	err = keep_table(mem, shares, n);
	if (!err)
		err = map_regions(mem, flags, shares, n);
	if (err) {
		vms_memory_unref(mem);
		return err;
	}
	*out = mem;
	return 0;
}

int vms_memory_find_user(struct vms_memory *mem, uint64_t uva, uint64_t *gpa, uint64_t *len)
{
	const struct share_table *t = mem->imported;

	for (size_t i = 0; t && i < t->n; i++) {
		const struct vms_shared *s = &t->share[i];

		if (uva < s->uva || uva - s->uva >= s->len)
			continue;
		*gpa = s->gpa + (uva - s->uva);
		if (len)
			*len = s->len - (uva - s->uva);
		return 0;
	}
	return fail(-ENOENT, "no imported region holds the user address %#" PRIx64, uva);
}
