// SPDX-License-Identifier: MIT
/*
 * show_json.c: a scene for programs. What vms_space_dump() writes is of the same form (show_dump.c
 * reads both), so addresses are strings of hexadecimal digits: numbers of JSON may lose bits.
 */
#include "show.h"

#include <inttypes.h>
#include <string.h>

#include "base/utf8.h"

void show_quoted(FILE *out, const char *s)
{
	fputc('"', out);
	while (*s != '\0') {
		unsigned char c = (unsigned char)*s;
		size_t n = utf8_length(s);

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < ' ' || c == '<' || c == 0x7f || n == 0)
			fprintf(out, "\\u%04x", c); /* what is no UTF-8 as Latin-1 */
		else
			fwrite(s, 1, n, out);
		s += n != 0 ? n : 1;
	}
	fputc('"', out);
}

/* The byte behind the last one; 2^64 is one digit longer. */
static void put_range(FILE *out, uint64_t start, uint64_t last)
{
	fprintf(out, "\"start\":\"0x%" PRIx64 "\",\"end\":\"0x", start);
	if (last == UINT64_MAX)
		fputs("10000000000000000\"", out);
	else
		fprintf(out, "%" PRIx64 "\"", last + 1);
}

static void put_known(FILE *out, const char *name, uint64_t value)
{
	if (value != SHOW_UNKNOWN)
		fprintf(out, ",\"%s\":%" PRIu64, name, value);
}

static void put_map(FILE *out, const struct scene *s, const struct show_map *m)
{
	const char *comma = "";
	char prot[4];

	fputc('{', out);
	put_range(out, m->start, m->last);
	fprintf(out, ",\"prot\":\"%s\"", show_prot(m->prot, prot));
	if (s->ceilings)
		fprintf(out, ",\"ceiling\":\"%s\"", show_prot(m->ceiling, prot));
	fputs(",\"flags\":[", out);
	for (unsigned bit = 0; show_flag(bit) != NULL; bit++) {
		if (m->flags & 1u << bit) {
			fprintf(out, "%s\"%s\"", comma, show_flag(bit));
			comma = ",";
		}
	}
	fprintf(out, "],\"off\":\"0x%" PRIx64 "\",\"what\":", m->off);
	show_quoted(out, s->name[m->what]);
	if (s->n_regions != 0)
		fprintf(out, ",\"depth\":%u", m->depth);
	if (m->object != 0)
		fprintf(out, ",\"object\":%" PRIu64, m->object);
	put_known(out, "resident", m->resident);
	put_known(out, "shared", m->shared);
	put_known(out, "swapped", m->swapped);
	fputc('}', out);
}

static void put_region(FILE *out, const struct show_region *r)
{
	char prot[4];

	fputc('{', out);
	put_range(out, r->start, r->last);
	fprintf(out, ",\"depth\":%u,\"rights\":\"%s%c\"}", r->depth, show_prot(r->rights, prot),
		r->rights & 8 ? 's' : '-');
}

static void put_object(FILE *out, const struct scene *s, const struct show_object *o)
{
	fprintf(out, "{\"id\":%" PRIu64 ",\"kind\":", o->id);
	show_quoted(out, s->name[o->kind]);
	fputs(",\"name\":", out);
	show_quoted(out, s->name[o->name]);
	if (o->parent != 0)
		fprintf(out, ",\"parent\":%" PRIu64, o->parent);
	fprintf(out, ",\"snapshot\":%s", o->snapshot ? "true" : "false");
	put_known(out, "bytes", o->bytes);
	put_known(out, "resident", o->resident);
	put_known(out, "own", o->own);
	fputc('}', out);
}

void show_json(FILE *out, const struct scene *s)
{
	fprintf(out, "{\"vmspace\":\"%s\",\"version\":1,\"title\":", s->kind);
	show_quoted(out, s->title);
	fprintf(out, ",\"page_size\":%" PRIu64, s->page_size);
	if (s->has_calls) {
		fprintf(out, ",\"at\":%" PRIu64 ",\"calls\":%" PRIu64 ",\"call\":", s->at,
			s->calls);
		show_quoted(out, s->call != NULL ? s->call : "");
	}
	if (s->note != NULL) {
		fputs(",\"note\":", out);
		show_quoted(out, s->note);
	}
	fputs(",\n\"counters\":{", out);
	for (size_t i = 0; i < s->n_counts; i++)
		fprintf(out, "%s\"%s\":%" PRIu64, i == 0 ? "" : ",", s->count[i].name,
			s->count[i].value);
	fputs("},\n\"regions\":[", out);
	for (size_t i = 0; i < s->n_regions; i++) {
		fputs(i == 0 ? "\n" : ",\n", out);
		put_region(out, &s->region[i]);
	}
	fputs("],\n\"objects\":[", out);
	for (size_t i = 0; i < s->n_objects; i++) {
		fputs(i == 0 ? "\n" : ",\n", out);
		put_object(out, s, &s->object[i]);
	}
	fputs("],\n\"mappings\":[", out);
	for (size_t i = 0; i < s->maps.n; i++) {
		fputs(i == 0 ? "\n" : ",\n", out);
		put_map(out, s, &s->maps.v[i]);
	}
	fputs("]}\n", out);
}
