// SPDX-License-Identifier: MIT
/*
 * show_html.c: a scene as one page for a browser. The page itself is in page/, made a part of the
 * program by page/embed.py; here its data are written: the mappings before the first call, and for
 * each call what went and what came (page/show.js has them put together).
 *
 * Lists instead of objects with names, and hexadecimal without 0x, keep a long recording's page
 * small.
 */
#include "show.h"

#include <inttypes.h>
#include <string.h>

static void put_address(FILE *out, uint64_t v)
{
	fprintf(out, "\"%" PRIx64 "\"", v);
}

static void put_range(FILE *out, uint64_t start, uint64_t last)
{
	put_address(out, start);
	fputc(',', out);
	if (last == UINT64_MAX)
		fputs("\"10000000000000000\"", out);
	else
		put_address(out, last + 1);
}

static void put_known(FILE *out, uint64_t v)
{
	if (v == SHOW_UNKNOWN)
		fputs(",null", out);
	else
		fprintf(out, ",%" PRIu64, v);
}

static void put_map(FILE *out, const struct scene *s, const struct show_map *m)
{
	fputc('[', out);
	put_range(out, m->start, m->last);
	fprintf(out, ",%u,%u,%u,\"%" PRIx64 "\"", m->prot, m->flags, m->what, m->off);
	if (s->residency || s->ceilings || m->object != 0 || m->depth != 0) {
		put_known(out, m->resident);
		put_known(out, m->shared);
		put_known(out, m->swapped);
		put_known(out, s->ceilings ? m->ceiling : SHOW_UNKNOWN);
		fprintf(out, ",%" PRIu64 ",%u", m->object, m->depth);
	}
	fputc(']', out);
}

static void put_maps(FILE *out, const struct scene *s, const struct show_map *v, size_t n)
{
	fputc('[', out);
	for (size_t i = 0; i < n; i++) {
		if (i != 0)
			fputc(',', out);
		put_map(out, s, &v[i]);
	}
	fputc(']', out);
}

static void put_step(FILE *out, const struct scene *s, const struct show_step *step)
{
	fputc('[', out);
	show_quoted(out, step->call);
	fputs(",[", out);
	for (size_t i = 0; i < step->n_gone; i++) {
		if (i != 0)
			fputc(',', out);
		put_address(out, s->gone.v[step->gone + i].start);
	}
	fputs("],", out);
	put_maps(out, s, s->came.v + step->came, step->n_came);
	fputc(']', out);
}

static void put_beside(FILE *out, const struct scene *s)
{
	char prot[4];

	fputs("\"regions\":[", out);
	for (size_t i = 0; i < s->n_regions; i++) {
		const struct show_region *r = &s->region[i];

		fputs(i == 0 ? "[" : ",[", out);
		put_range(out, r->start, r->last);
		fprintf(out, ",%u,\"%s%c\"]", r->depth, show_prot(r->rights, prot),
			r->rights & 8 ? 's' : '-');
	}
	fputs("],\n\"objects\":[", out);
	for (size_t i = 0; i < s->n_objects; i++) {
		const struct show_object *o = &s->object[i];

		fprintf(out, "%s[%" PRIu64 ",%u,%u", i == 0 ? "" : ",", o->id, o->kind, o->name);
		put_known(out, o->bytes);
		put_known(out, o->resident);
		put_known(out, o->own);
		fprintf(out, ",%" PRIu64 ",%d]", o->parent, o->snapshot);
	}
	fputs("],\n\"counts\":{", out);
	for (size_t i = 0; i < s->n_counts; i++)
		fprintf(out, "%s\"%s\":%" PRIu64, i == 0 ? "" : ",", s->count[i].name,
			s->count[i].value);
	fputs("},\n", out);
}

void show_html(FILE *out, const struct scene *s)
{
	const struct show_maps *first = s->has_calls ? &s->before : &s->maps;

	fwrite(show_page_before, 1, show_page_before_size, out);
	fprintf(out, "{\"kind\":\"%s\",\"title\":", s->kind);
	show_quoted(out, s->title);
	fputs(",\"note\":", out);
	show_quoted(out, s->note != NULL ? s->note : "");
	fprintf(out,
		",\"page\":%" PRIu64 ",\"residency\":%s,\"ceilings\":%s,\"has_calls\":%s,"
		"\"at\":%" PRIu64 ",\n\"names\":[",
		s->page_size != 0 ? s->page_size : 4096, s->residency ? "true" : "false",
		s->ceilings ? "true" : "false", s->has_calls ? "true" : "false", s->at);
	for (size_t i = 0; i < s->n_names; i++) {
		if (i != 0)
			fputc(',', out);
		show_quoted(out, s->name[i]);
	}
	fputs("],\n", out);
	put_beside(out, s);
	fputs("\"maps\":", out);
	put_maps(out, s, first->v, first->n);
	fputs(",\n\"steps\":[", out);
	for (size_t i = 0; i < s->n_steps; i++) {
		fputs(i == 0 ? "\n" : ",\n", out);
		put_step(out, s, &s->step[i]);
	}
	fputs("]}", out);
	fwrite(show_page_behind, 1, show_page_behind_size, out);
}
