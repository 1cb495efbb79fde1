// SPDX-License-Identifier: MIT
#include "snap.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

struct region {
	uint64_t start, end, off, ino;
	char rights[5];
};

/* The next region of /proc/self/maps; false at its end. */
static bool next_region(FILE *maps, struct region *r)
{
	unsigned major, minor;
	char line[512];

	if (!fgets(line, sizeof(line), maps))
		return false;
	assert_int_equal(sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64,
				&r->start, &r->end, r->rights, &r->off, &major, &minor, &r->ino),
			 7);
	if (r->ino && major == 0 && minor == 1) /* the kernel's internal mount */
		r->ino = 1;
	return true;
}

static FILE *open_maps(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");

	assert_non_null(maps);
	return maps;
}

static uint64_t sum(const unsigned char *p, size_t n)
{
	uint64_t h = 14695981039346656037u; /* FNV-1a, eight bytes at a time */
	uint64_t word;

	for (; n; n -= sizeof(word), p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		h = (h ^ word) * 1099511628211u;
		h ^= h >> 29;
	}
	return h;
}

struct snap snap_take(const void *start, size_t len)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	struct snap s = { .start = (uintptr_t)start, .n = len / size };
	unsigned char *bytes = malloc(size);
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	struct region r;
	FILE *maps;

	s.page = calloc(s.n, sizeof(*s.page));
	assert_true(s.page && bytes && mem >= 0);
	maps = open_maps();
	while (next_region(maps, &r) && r.start < s.start + len) {
		size_t i = r.start <= s.start ? 0 : (r.start - s.start) / size;

		for (; i < s.n && s.start + i * size < r.end; i++) {
			uint64_t addr = s.start + i * size;

			memcpy(s.page[i].rights, r.rights, sizeof(r.rights));
			s.page[i].ino = r.ino;
			if (r.ino)
				s.page[i].off = r.off + (addr - r.start);
		}
	}
	fclose(maps);
	for (size_t i = 0; i < s.n; i++) {
		if (!s.page[i].rights[0])
			continue;
		s.page[i].readable =
			pread(mem, bytes, size, (off_t)(s.start + i * size)) == (ssize_t)size;
		if (s.page[i].readable)
			s.page[i].sum = sum(bytes, size);
	}
	close(mem);
	free(bytes);
	return s;
}

struct snap snap_copy(const struct snap *s)
{
	struct snap copy = *s;

	copy.page = malloc(s->n * sizeof(*s->page));
	assert_non_null(copy.page);
	memcpy(copy.page, s->page, s->n * sizeof(*s->page));
	return copy;
}

void snap_free(struct snap *s)
{
	free(s->page);
	s->page = NULL;
}

long snap_differs(const struct snap *a, const struct snap *b)
{
	assert_int_equal(a->n, b->n);
	for (size_t i = 0; i < a->n; i++) {
		const struct snap_page *p = &a->page[i], *q = &b->page[i];

		if (strcmp(p->rights, q->rights) || p->readable != q->readable ||
		    p->ino != q->ino || p->off != q->off || p->sum != q->sum)
			return (long)i;
	}
	return -1;
}

void snap_assert_equal(struct snap *a, struct snap *b)
{
	long i = snap_differs(a, b);

	if (i >= 0)
		print_error("page %ld: %s ino %" PRIu64 " off %#" PRIx64 " sum %" PRIx64
			    "; then %s ino %" PRIu64 " off %#" PRIx64 " sum %" PRIx64 "\n",
			    i, a->page[i].rights, a->page[i].ino, a->page[i].off, a->page[i].sum,
			    b->page[i].rights, b->page[i].ino, b->page[i].off, b->page[i].sum);
	assert_int_equal(i, -1);
	snap_free(a);
	snap_free(b);
}

unsigned host_regions(const void *start, size_t len)
{
	FILE *maps = open_maps();
	uintptr_t at = (uintptr_t)start;
	struct region r;
	unsigned n = 0;

	while (next_region(maps, &r) && r.start < at + len)
		n += r.end > at;
	fclose(maps);
	return n;
}

const char *host_rights(const void *addr)
{
	FILE *maps = open_maps();
	uintptr_t at = (uintptr_t)addr;
	static char rights[5];
	struct region r;

	rights[0] = '\0';
	while (next_region(maps, &r) && r.start <= at)
		if (at >= r.start && at < r.end)
			memcpy(rights, r.rights, sizeof(rights));
	fclose(maps);
	return rights;
}

bool host_all_rights(const void *start, size_t len, const char *rights)
{
	FILE *maps = open_maps();
	uint64_t at = (uintptr_t)start, end = at + len;
	bool none = rights[0] == '\0', all = true;
	struct region r;

	while (at < end && next_region(maps, &r)) {
		if (r.end <= at)
			continue;
		if (r.start >= end)
			break;
		if (none || r.start > at || strcmp(r.rights, rights) != 0) {
			all = false;
			break;
		}
		at = r.end;
	}
	fclose(maps);
	return all && (none || at >= end);
}
