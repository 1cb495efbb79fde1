// SPDX-License-Identifier: MIT
/*
 * maps.c: lists of regions (side.h): keeping, comparing, printing.
 */
#include <stdlib.h>
#include <string.h>

#include "side.h"

struct map_line *maps_add(struct maps *m)
{
	if (m->n == m->room) {
		m->room = m->room ? m->room * 2 : 64;
		m->line = realloc(m->line, m->room * sizeof(*m->line));
		if (m->line == NULL) {
			fputs("no memory\n", stderr);
			exit(2);
		}
	}
	memset(&m->line[m->n], 0, sizeof(*m->line));
	return &m->line[m->n++];
}

void maps_copy(struct maps *to, const struct maps *from)
{
	to->n = 0;
	for (size_t i = 0; i < from->n; i++) {
		*maps_add(to) = from->line[i];
	}
}

void maps_free(struct maps *m)
{
	free(m->line);
	memset(m, 0, sizeof(*m));
}

static bool line_equal(const struct map_line *a, const struct map_line *b)
{
	return a->start == b->start && a->end == b->end && a->off == b->off && a->prot == b->prot &&
	       a->shared == b->shared && a->shows == b->shows;
}

bool maps_equal(const struct maps *a, const struct maps *b)
{
	if (a->n != b->n) {
		return false;
	}
	for (size_t i = 0; i < a->n; i++) {
		if (!line_equal(&a->line[i], &b->line[i])) {
			return false;
		}
	}
	return true;
}

const struct map_line *maps_find(const struct maps *m, uint64_t addr)
{
	size_t lo = 0, hi = m->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (addr < m->line[mid].start) {
			hi = mid;
		} else if (addr >= m->line[mid].end) {
			lo = mid + 1;
		} else {
			return &m->line[mid];
		}
	}
	return NULL;
}

uint64_t maps_anon(const struct maps *m, uint64_t addr)
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < 64; i++) {
		const struct map_line *l = maps_find(m, addr + i * 4096ul);

		if (l != NULL && l->shows < SHOWS_OTHER) {
			bits |= 1ul << i;
		}
	}
	return bits;
}

static void print_shows(FILE *f, uint16_t shows)
{
	static const char *const file[FILE_ROLES] = { "rw",   "rw",    "rw",	"rw",	  "rw",
						      "big",  "empty", "memfd", "sealed", "dir",
						      "pipe", "null",  "path",	"closed" };

	switch (shows) {
	case SHOWS_ANON:
		fputs("-", f);
		break;
	case SHOWS_HEAP:
		fputs("[heap]", f);
		break;
	case SHOWS_STACK:
		fputs("[stack]", f);
		break;
	case SHOWS_SHARED_ANON:
		fputs("shared memory", f);
		break;
	case SHOWS_OTHER:
		fputs("(unknown)", f);
		break;
	default:
		fprintf(f, "file %s", file[shows - SHOWS_FILE]);
	}
}

void maps_print(FILE *f, const struct maps *m, const struct maps *other, uint64_t mmap_base)
{
	(void)mmap_base;
	for (size_t i = 0; i < m->n; i++) {
		const struct map_line *l = &m->line[i];
		bool alike = false;

		for (size_t j = 0; other != NULL && j < other->n; j++) {
			alike |= line_equal(l, &other->line[j]);
		}
		fprintf(f, "  %c %lx-%lx %c%c%c%c %lx ", other == NULL || alike ? ' ' : '*',
			l->start, l->end, l->prot & 1 ? 'r' : '-', l->prot & 2 ? 'w' : '-',
			l->prot & 4 ? 'x' : '-', l->shared ? 's' : 'p', l->off);
		print_shows(f, l->shows);
		fputc('\n', f);
	}
}
