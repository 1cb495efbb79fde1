// SPDX-License-Identifier: MIT
/*
 * show_text.c: a scene for a terminal: the strip of the address axis, and a line a mapping.
 *
 *	python.trace after call 57 of 1141: mmap(0, 0x2000, r|w, private|anon, -1, 0) = 0x7ffff7fb4000
 *	42 mappings, 12M mapped
 *
 *	  ▒▒██████▒▓▓┊▓▓▓┊░░▒▒▒███▓
 *
 *	  555555554000-555555573000   124K  ▒▒▒▒▒           r--  file 3 (descriptor 3)
 *	                             ┊ 41.7T
 */
#include "show.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "picture.h"

static void put_known(FILE *out, uint64_t bytes)
{
	char size[16];

	if (bytes == SHOW_UNKNOWN)
		fprintf(out, "%9s", "?");
	else if (bytes == 0)
		fprintf(out, "%9s", "-");
	else
		fprintf(out, "%9s", picture_size(size, sizeof(size), bytes));
}

/* Names come from files and other programs: nothing of them moves the cursor. */
static void put_name(FILE *out, const char *s)
{
	for (; *s != '\0'; s++)
		if ((unsigned char)*s < ' ' || *s == '\x7f')
			fprintf(out, "\\x%02x", (unsigned)(unsigned char)*s);
		else
			fputc(*s, out);
}

static int address_width(const struct scene *s)
{
	uint64_t top = s->maps.n == 0 ? 0 : s->maps.v[s->maps.n - 1].last;
	int width = 8;

	while (width < 16 && top >> (4 * width) != 0)
		width++;
	/* The end may be a digit longer than the last byte. */
	return width < 16 && top + 1 == UINT64_C(1) << (4 * width) ? width + 1 : width;
}

static void put_heading(FILE *out, const struct scene *s, int width)
{
	fprintf(out, "  %-*s", 2 * width + 1, "addresses");
	fprintf(out, "%7s  %-*s  rights  ", "size", PICTURE_BAR, "");
	if (s->residency)
		fprintf(out, "%9s%9s  ", "resident", "shared");
	fputs("what\n", out);
}

static void put_range(FILE *out, uint64_t start, uint64_t last, int width)
{
	fprintf(out, "  %*" PRIx64 "-", width, start);
	if (last == UINT64_MAX)
		fprintf(out, "%-*s", width, "2^64");
	else
		fprintf(out, "%-*" PRIx64, width, last + 1);
}

static void put_map(FILE *out, const struct scene *s, const struct show_map *m, int width,
		    bool colour)
{
	char size[16], prot[4];

	put_range(out, m->start, m->last, width);
	fprintf(out, "%7s  ", picture_size(size, sizeof(size), m->last - m->start + 1));
	picture_bar(out, m->last - m->start + 1, m->prot, colour);
	fprintf(out, "  %s%c", show_prot(m->prot, prot), m->flags & SHOW_SHARED ? 's' : 'p');
	if (s->ceilings)
		fprintf(out, "/%s", show_prot(m->ceiling, prot));
	else
		fputs("    ", out);
	if (s->residency) {
		put_known(out, m->resident);
		put_known(out, m->shared);
		fputs("  ", out);
	}
	for (unsigned i = 0; i < m->depth; i++)
		fputs("· ", out);
	put_name(out, m->what != 0 ? s->name[m->what] : "anonymous");
	if (m->off != 0)
		fprintf(out, " +%" PRIx64, m->off);
	for (unsigned bit = 1; show_flag(bit) != NULL; bit++)
		if (m->flags & 1u << bit)
			fprintf(out, ", %s", show_flag(bit));
	if (m->swapped != SHOW_UNKNOWN && m->swapped != 0)
		fprintf(out, ", %s swapped out", picture_size(size, sizeof(size), m->swapped));
	fputc('\n', out);
}

static void put_hole(FILE *out, uint64_t bytes, int width)
{
	char size[16];

	fprintf(out, "  %*s ┊ %7s\n", width, "", picture_size(size, sizeof(size), bytes));
}

static void put_objects(FILE *out, const struct scene *s)
{
	if (s->n_objects == 0)
		return;
	fprintf(out, "\n  %-8s%-12s%9s%9s%9s  name\n", "object", "kind", "size", "there", "own");
	for (size_t i = 0; i < s->n_objects; i++) {
		const struct show_object *o = &s->object[i];

		fprintf(out, "  %-8" PRIu64 "%-12s", o->id, s->name[o->kind]);
		put_known(out, o->bytes);
		put_known(out, o->resident);
		put_known(out, o->own);
		fputs("  ", out);
		put_name(out, s->name[o->name]);
		if (o->parent != 0)
			fprintf(out, "%s%s of %" PRIu64, *s->name[o->name] != '\0' ? ", " : "",
				o->snapshot ? "snapshot" : "child", o->parent);
		fputc('\n', out);
	}
}

static void put_regions(FILE *out, const struct scene *s, int width)
{
	if (s->n_regions < 2)
		return;
	fprintf(out, "\n  %-*s%7s  rights  region\n", 2 * width + 1, "addresses", "size");
	for (size_t i = 0; i < s->n_regions; i++) {
		const struct show_region *r = &s->region[i];
		char size[16], prot[4];

		put_range(out, r->start, r->last, width);
		fprintf(out, "%7s  %s%c    ",
			picture_size(size, sizeof(size), r->last - r->start + 1), show_prot(r->rights, prot), r->rights & 8 ? 's' : '-');
		for (unsigned d = 0; d < r->depth; d++)
			fputs("· ", out);
		fputs(r->depth == 0 ? "root\n" : "region\n", out);
	}
}

static void put_counts(FILE *out, const struct scene *s)
{
	unsigned column = 0;

	for (size_t i = 0; i < s->n_counts; i++) {
		if (s->count[i].value == 0)
			continue;
		fprintf(out, "%s%s %" PRIu64, column == 0 ? "\n  " : ", ", s->count[i].name,
			s->count[i].value);
		column = (column + 1) % 8;
	}
	if (s->n_counts != 0)
		fputc('\n', out);
}

static void put_title(FILE *out, const struct scene *s)
{
	uint64_t bytes = 0, there = 0;
	char size[16];

	put_name(out, s->title);
	if (s->has_calls && s->at == 0)
		fprintf(out, " before the first of %" PRIu64 " calls", s->calls);
	else if (s->has_calls)
		fprintf(out, " after call %" PRIu64 " of %" PRIu64, s->at, s->calls);
	if (s->call != NULL) {
		fputs(": ", out);
		put_name(out, s->call);
	}
	for (size_t i = 0; i < s->maps.n; i++) {
		bytes += s->maps.v[i].last - s->maps.v[i].start + 1;
		there += s->maps.v[i].resident == SHOW_UNKNOWN ? 0 : s->maps.v[i].resident;
	}
	fprintf(out, "\n%zu mapping%s, %s mapped", s->maps.n, s->maps.n == 1 ? "" : "s",
		bytes == 0 && s->maps.n == 0 ? "nothing" : picture_size(size, sizeof(size), bytes));
	if (s->residency && there != 0)
		fprintf(out, ", %s of it resident", picture_size(size, sizeof(size), there));
	fputc('\n', out);
	if (s->note != NULL) {
		put_name(out, s->note);
		fputc('\n', out);
	}
	fputc('\n', out);
}

void show_text(FILE *out, const struct scene *s, bool colour)
{
	struct picture_part *part = calloc(s->maps.n + 1, sizeof(part[0]));
	int width = address_width(s);

	put_title(out, s);
	for (size_t i = 0; part != NULL && i < s->maps.n; i++)
		part[i] = (struct picture_part){s->maps.v[i].start, s->maps.v[i].last,
						s->maps.v[i].prot};
	if (part != NULL && s->maps.n != 0)
		picture_strip(out, part, s->maps.n, colour);
	free(part);
	if (s->maps.n != 0)
		put_heading(out, s, width);
	for (size_t i = 0; i < s->maps.n; i++) {
		const struct show_map *m = &s->maps.v[i];

		if (i != 0 && m[-1].last + 1 != m->start)
			put_hole(out, m->start - m[-1].last - 1, width);
		put_map(out, s, m, width, colour);
	}
	put_regions(out, s, width);
	put_objects(out, s);
	put_counts(out, s);
	picture_legend(out, colour);
}
