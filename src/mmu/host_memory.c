// SPDX-License-Identifier: MIT
/*
 * host_memory.c: showing memory of this process that has no descriptor, and reading of its maps
 * where that memory ends.
 *
 * A second mapping of shared memory is an mremap with an old length of 0. It has the rights of the
 * first and may reach past its end, so it is made outside the window for exactly a region, gets its
 * rights there, and is moved in.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fail.h"
#include "base/range.h"
#include "mmu/host.h"

/* ---- The maps ---- */

bool host_lines_open(struct host_lines *l, const struct world *w)
{
	l->world = w;
	l->fd = w->maps_open(w);
	l->at = 0;
	l->used = l->len = 0;
	return l->fd >= 0;
}

void host_lines_close(struct host_lines *l)
{
	l->world->fd_close(l->world, l->fd);
}

/* What is left in the buffer begins the next read. */
static bool refill(struct host_lines *l)
{
	int64_t got;

	l->at += l->used;
	l->used = l->len = 0;
	got = l->world->pread(l->world, l->fd, l->buf, sizeof(l->buf), l->at);
	if (got <= 0 || !memchr(l->buf, '\n', (size_t)got))
		return false;
	l->len = (size_t)got;
	return true;
}

bool host_lines_next(struct host_lines *l, struct host_line *out)
{
	char *p, *end;

	while (!(end = memchr(l->buf + l->used, '\n', l->len - l->used)))
		if (!refill(l))
			return false;
	p = l->buf + l->used;
	*end = '\0';
	l->used = (size_t)(end + 1 - l->buf);
	return sscanf(p, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64, &out->start, &out->end,
		      out->rights, &out->off) == 4;
}

/* Where the region that holds `at` ends. False: nothing is there, or the host does not tell. */
static bool find_end(struct host *h, uint64_t at, uint64_t *end)
{
	struct host_lines lines;
	struct host_line line = { 0 };
	uint64_t start;

	if (host_region(h, at, &start, end))
		return true;
	if (!host_lines_open(&lines, h->world))
		return false;
	while (line.end <= at && host_lines_next(&lines, &line))
		;
	host_lines_close(&lines);
	*end = line.end;
	return line.start <= at && at < line.end;
}

/* ---- Showing ---- */

static int private(uint64_t at)
{
	return fail(-ENOTSUP,
		    "the memory at %#" PRIx64 " is private: the host can show shared memory only "
		    "(MAP_SHARED, a memfd) at a second place",
		    at);
}

/* Less than a region, or all of it. Addresses of the host. */
static int show_region(struct host *h, uint64_t from, uint64_t len, uint64_t to, uint32_t rights)
{
	const struct world *w = h->world;
	int64_t at = w->mremap(w, from, 0, len, MREMAP_MAYMOVE, 0), got;
	int err;

	if (at == -EINVAL)
		return private(from);
	if (at < 0)
		return (int)at;
	err = w->mprotect(w, (uint64_t)at, len, (int)rights);
	if (!err) {
		got = w->mremap(w, (uint64_t)at, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to);
		err = got < 0 ? (int)got : 0;
	}
	/* Benign failure: a second mapping stays behind. */
	if (err && w->munmap(w, (uint64_t)at, len) < 0)
		w->munmap(w, (uint64_t)at, len);
	return err;
}

int host_show_memory(struct host *h, uint64_t addr, uint64_t len, const void *hva, uint32_t rights)
{
	uint64_t from = (uintptr_t)hva, to = addr + h->delta, end, n;
	int err;

	for (; len; from += n, to += n, len -= n) {
		if (!find_end(h, from, &end))
			return fail(-ENOTSUP, "the host does not tell what memory is at %#" PRIx64,
				    from);
		n = min_u64(len, end - from);
		err = show_region(h, from, n, to, rights);
		if (err)
			return err;
	}
	return 0;
}

int host_may_show_memory(struct host *h, const void *hva, uint64_t len)
{
	const struct world *w = h->world;
	uint64_t from = (uintptr_t)hva, end, n;
	int64_t at;

	for (; len; from += n, len -= n) {
		if (!find_end(h, from, &end))
			return 0; /* a fault will see */
		n = min_u64(len, end - from);
		at = w->mremap(w, from, 0, h->host_page, MREMAP_MAYMOVE, 0);
		if (at == -EINVAL)
			return private(from);
		/* Benign failure: a second mapping stays behind. */
		if (at >= 0 && w->munmap(w, (uint64_t)at, h->host_page) < 0)
			w->munmap(w, (uint64_t)at, h->host_page);
	}
	return 0;
}
