// SPDX-License-Identifier: MIT
/*
 * picture.c: an address space as a picture for a terminal.
 *
 *	 ▒▒██████▒▓▓┊▓▓▓┊░░▒▒▒███▓        the axis, holes folded to ┊
 *
 *	 555555554000  ▒▒▒▒▒        124K  r--p  /usr/bin/python3.11
 *	 555555573000  █████████    2.6M  r-xp  /usr/bin/python3.11
 *	               ┊ 41.7T
 *	 7ffff7c00000  ▓▓▓▓▓▓▓▓     1.0M  rw-p
 *
 * A cell of the strip stands for a share of the mapped bytes' logarithm, so that small regions
 * are seen beside large ones.
 */
#include "picture.h"

#include <stdlib.h>

#define STRIP 96 /* cells of the strip, about */
#define BAR   PICTURE_BAR

struct look {
	const char *fill, *colour;
};

/* By rights: none, readable, written to, executed, both. */
static struct look look_of(unsigned prot)
{
	if ((prot & VMS_PROT_WRITE) && (prot & VMS_PROT_EXEC))
		return (struct look){ "╳", "\033[31m" };
	if (prot & VMS_PROT_EXEC)
		return (struct look){ "█", "\033[32m" };
	if (prot & VMS_PROT_WRITE)
		return (struct look){ "▓", "\033[33m" };
	if (prot & VMS_PROT_READ)
		return (struct look){ "▒", "\033[34m" };
	return (struct look){ "░", "\033[90m" };
}

static unsigned log2_of(uint64_t x)
{
	return x == 0 ? 0 : 63 - (unsigned)__builtin_clzll(x);
}

/* Cells of a region: one for a page or less, one more for each fourfold. 0 is 2^64. */
static unsigned bar_of(uint64_t bytes)
{
	unsigned n = bytes == 0 ? BAR : bytes < 4096 ? 1 : 1 + (log2_of(bytes) - 12) / 2;

	return n > BAR ? BAR : n;
}

const char *picture_size(char *buf, size_t size, uint64_t bytes)
{
	static const char unit[] = "BKMGTPE";
	unsigned u = log2_of(bytes) / 10;
	double v = (double)bytes / (double)(UINT64_C(1) << (10 * u));

	if (bytes == 0)
		snprintf(buf, size, "16E");
	else
		snprintf(buf, size, v < 9.95 ? "%.1f%c" : "%.0f%c", v, unit[u]);
	return buf;
}

static void put_fill(FILE *out, unsigned prot, unsigned n, bool colour)
{
	struct look l = look_of(prot);

	if (colour)
		fputs(l.colour, out);
	while (n-- > 0)
		fputs(l.fill, out);
	if (colour)
		fputs("\033[0m", out);
}

void picture_bar(FILE *out, uint64_t bytes, uint32_t prot, bool colour)
{
	unsigned n = bar_of(bytes);

	put_fill(out, prot, n, colour);
	fprintf(out, "%*s", (int)(BAR - n), "");
}

/* Each region drawn so small that all of them fit in about STRIP cells, or on few lines. */
void picture_strip(FILE *out, const struct picture_part *part, size_t n, bool colour)
{
	unsigned cells = 0, column = 0, shrink;

	for (size_t i = 0; i < n; i++)
		cells += bar_of(part[i].last - part[i].start + 1);
	shrink = cells / STRIP + 1;
	fputs("  ", out);
	for (size_t i = 0; i < n; i++) {
		unsigned wide = (bar_of(part[i].last - part[i].start + 1) + shrink - 1) / shrink;

		if (i != 0 && part[i].start != part[i - 1].last + 1)
			fputs("┊", out);
		put_fill(out, part[i].prot, wide, colour);
		column += wide;
		if (column >= STRIP && i + 1 < n) {
			fputs("\n  ", out);
			column = 0;
		}
	}
	fputs("\n\n", out);
}

static void put_region(FILE *out, const struct vms_mm_region *r, bool colour)
{
	char size[16];

	fprintf(out, "  %012lx  ", (unsigned long)r->start);
	picture_bar(out, r->end - r->start, r->prot, colour);
	fprintf(out, "%7s  %c%c%c%c",
		picture_size(size, sizeof(size), r->end - r->start), r->prot & VMS_PROT_READ ? 'r' : '-',
		r->prot & VMS_PROT_WRITE ? 'w' : '-', r->prot & VMS_PROT_EXEC ? 'x' : '-',
		r->flags & VMS_MM_SHARED ? 's' : 'p');
	fprintf(out, "  %s", r->name);
	if (r->flags & VMS_MM_GROWSDOWN)
		fputs(" grows down", out);
	if (r->flags & VMS_MM_LOCKED)
		fputs(" locked", out);
	if (r->flags & VMS_MM_SEALED)
		fputs(" sealed", out);
	fputc('\n', out);
}

void picture_legend(FILE *out, bool colour)
{
	fputs("\n  ", out);
	put_fill(out, VMS_PROT_READ, 2, colour);
	fputs(" read   ", out);
	put_fill(out, VMS_PROT_READ | VMS_PROT_WRITE, 2, colour);
	fputs(" write   ", out);
	put_fill(out, VMS_PROT_READ | VMS_PROT_EXEC, 2, colour);
	fputs(" execute   ", out);
	put_fill(out, VMS_PROT_WRITE | VMS_PROT_EXEC, 2, colour);
	fputs(" write and execute   ", out);
	put_fill(out, VMS_PROT_NONE, 2, colour);
	fputs(" no access   ┊ hole\n", out);
}

/* Without memory for the strip it is left out. */
static void put_strip(FILE *out, struct vms_mm *mm, bool colour)
{
	struct vms_mm_region r = { .size = sizeof(r) };
	struct vms_mm_info info = { .size = sizeof(info) };
	struct picture_part *part;
	uint64_t cursor = 0;
	size_t n = 0;

	vms_mm_info(mm, &info);
	part = calloc(info.regions + 1, sizeof(part[0]));
	if (part == NULL)
		return;
	while (n < info.regions && vms_mm_next(mm, &cursor, &r) == 0)
		part[n++] = (struct picture_part){ r.start, r.end - 1, r.prot };
	picture_strip(out, part, n, colour);
	free(part);
}

void picture_draw(FILE *out, struct vms_mm *mm, bool colour)
{
	struct vms_mm_region r = { .size = sizeof(r) };
	uint64_t cursor = 0, end = 0;
	char size[16];

	put_strip(out, mm, colour);
	while (vms_mm_next(mm, &cursor, &r) == 0) {
		if (end != 0 && r.start != end) {
			fprintf(out, "  %12s  ┊%*s%7s\n", "", BAR - 1, "",
				picture_size(size, sizeof(size), r.start - end));
		}
		put_region(out, &r, colour);
		end = r.end;
	}
	picture_legend(out, colour);
}
