// SPDX-License-Identifier: MIT
/*
 * show_dump.c: what vms_space_dump() wrote as JSON, or `vmspace show --json`, as a source. The form
 * is in vmspace-show(1). Members that are not known are ignored, so that a newer library can be
 * looked at; those that are needed and wrong are an error that says which.
 */
#include "show.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

#define LARGEST (size_t)(1u << 30) /* of a file */

struct reader {
	struct scene *s;
	const char *path;
	const char *list; /* what is read, for the sentence */
	size_t index;
};

static int wrong(const struct reader *r, const char *member)
{
	return show_cannot("%s: %s[%zu]: \"%s\" is missing or wrong", r->path, r->list, r->index,
			   member);
}

/* "rw-", with 's' in the fourth place of a region's. */
static bool parse_rights(const char *text, uint32_t *rights)
{
	static const char letters[] = "rwxs";

	*rights = 0;
	for (unsigned i = 0; text[i] != '\0'; i++) {
		if (i == 4 || (text[i] != letters[i] && text[i] != '-'))
			return false;
		*rights |= text[i] != '-' ? 1u << i : 0;
	}
	return text[0] != '\0' && text[1] != '\0' && text[2] != '\0';
}

/* The byte behind the end may be 2^64. */
static bool parse_range(const struct json *v, uint64_t *start, uint64_t *last)
{
	const struct json *end = json_get(v, "end");

	if (!json_u64(json_get(v, "start"), start))
		return false;
	if (strcmp(json_text(end), "0x10000000000000000") == 0)
		*last = UINT64_MAX;
	else if (!json_u64(end, last) || (*last)-- == 0)
		return false;
	return *start <= *last;
}

/* SHOW_UNKNOWN where it is not there; false where it is no number. */
static bool parse_known(const struct json *v, const char *name, uint64_t *out)
{
	v = json_get(v, name);
	*out = SHOW_UNKNOWN;
	return v == NULL || v->type == JSON_NULL || json_u64(v, out);
}

static bool parse_small(const struct json *v, uint32_t most, uint32_t *out)
{
	uint64_t n = 0;

	if (v != NULL && (!json_u64(v, &n) || n > most))
		return false;
	*out = (uint32_t)n;
	return true;
}

static uint32_t parse_flags(const struct json *v)
{
	uint32_t flags = 0;

	for (v = v != NULL && v->type == JSON_ARRAY ? v->child : NULL; v != NULL; v = v->next)
		for (unsigned bit = 0; show_flag(bit) != NULL; bit++)
			if (strcmp(json_text(v), show_flag(bit)) == 0)
				flags |= 1u << bit;
	return flags;
}

static int read_map(struct reader *r, const struct json *v)
{
	struct scene *s = r->s;
	struct show_map *m = show_maps_add(&s->maps);
	const struct json *ceiling = json_get(v, "ceiling");

	if (m == NULL)
		return show_cannot("no memory");
	if (!parse_range(v, &m->start, &m->last))
		return wrong(r, "start or end");
	if (s->maps.n > 1 && m[-1].last >= m->start)
		return show_cannot("%s: %s[%zu] overlaps the one before, or is not in order",
				   r->path, r->list, r->index);
	if (!parse_rights(json_text(json_get(v, "prot")), &m->prot) || m->prot > 7)
		return wrong(r, "prot");
	if (ceiling != NULL && (!parse_rights(json_text(ceiling), &m->ceiling) || m->ceiling > 7))
		return wrong(r, "ceiling");
	s->ceilings = s->ceilings || ceiling != NULL;
	m->flags = parse_flags(json_get(v, "flags"));
	m->object = 0;
	if (json_get(v, "off") != NULL && !json_u64(json_get(v, "off"), &m->off))
		return wrong(r, "off");
	if (json_get(v, "object") != NULL && !json_u64(json_get(v, "object"), &m->object))
		return wrong(r, "object");
	if (!parse_small(json_get(v, "depth"), 64, &m->depth))
		return wrong(r, "depth");
	if (!parse_known(v, "resident", &m->resident) || !parse_known(v, "shared", &m->shared) ||
	    !parse_known(v, "swapped", &m->swapped))
		return wrong(r, "resident, shared or swapped");
	s->residency = s->residency || m->resident != SHOW_UNKNOWN;
	m->what = scene_name(s, json_text(json_get(v, "what")));
	return m->what != UINT32_MAX ? 0 : show_cannot("no memory");
}

static int read_region(struct reader *r, const struct json *v)
{
	struct scene *s = r->s;
	struct show_region *grown = realloc(s->region, (s->n_regions + 1) * sizeof(*grown)), *g;

	if (grown == NULL)
		return show_cannot("no memory");
	s->region = grown;
	g = &grown[s->n_regions++];
	*g = (struct show_region){0};
	if (!parse_range(v, &g->start, &g->last))
		return wrong(r, "start or end");
	if (!parse_small(json_get(v, "depth"), 64, &g->depth))
		return wrong(r, "depth");
	return parse_rights(json_text(json_get(v, "rights")), &g->rights) ? 0 : wrong(r, "rights");
}

static int read_object(struct reader *r, const struct json *v)
{
	struct scene *s = r->s;
	struct show_object *grown = realloc(s->object, (s->n_objects + 1) * sizeof(*grown)), *o;

	if (grown == NULL)
		return show_cannot("no memory");
	s->object = grown;
	o = &grown[s->n_objects++];
	*o = (struct show_object){0};
	if (!json_u64(json_get(v, "id"), &o->id) || o->id == 0)
		return wrong(r, "id");
	if (json_get(v, "parent") != NULL && !json_u64(json_get(v, "parent"), &o->parent))
		return wrong(r, "parent");
	if (!parse_known(v, "bytes", &o->bytes) || !parse_known(v, "resident", &o->resident) ||
	    !parse_known(v, "own", &o->own))
		return wrong(r, "bytes, resident or own");
	o->snapshot = json_get(v, "snapshot") != NULL && json_get(v, "snapshot")->text != NULL &&
		      strcmp(json_get(v, "snapshot")->text, "true") == 0;
	o->kind = scene_name(s, json_text(json_get(v, "kind")));
	o->name = scene_name(s, json_text(json_get(v, "name")));
	return o->kind != UINT32_MAX && o->name != UINT32_MAX ? 0 : show_cannot("no memory");
}

static int read_list(struct reader *r, const struct json *root, const char *name,
		     int (*read)(struct reader *, const struct json *))
{
	const struct json *v = json_get(root, name);

	r->list = name;
	r->index = 0;
	if (v == NULL)
		return 0;
	if (v->type != JSON_ARRAY)
		return show_cannot("%s: \"%s\" is no list", r->path, name);
	for (v = v->child; v != NULL; v = v->next, r->index++)
		if (read(r, v) != 0)
			return -1;
	return 0;
}

static int read_counts(struct scene *s, const struct json *v)
{
	size_t n = 0;

	if (v == NULL || v->type != JSON_OBJECT)
		return 0;
	for (const struct json *c = v->child; c != NULL; c = c->next)
		n++;
	s->count = calloc(n + 1, sizeof(s->count[0]));
	if (s->count == NULL)
		return show_cannot("no memory");
	for (v = v->child; v != NULL; v = v->next) {
		struct show_count *c = &s->count[s->n_counts];

		/* Names stand in the output as they are. */
		if (strlen(v->key) >= sizeof(c->name) ||
		    strspn(v->key, "abcdefghijklmnopqrstuvwxyz_0123456789") != strlen(v->key) ||
		    !json_u64(v, &c->value))
			continue;
		strcpy(c->name, v->key);
		s->n_counts++;
	}
	return 0;
}

static int by_id(const void *a, const void *b)
{
	const struct show_object *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* A mapping that shows all of an object has as many pages as the object, and shares as many. */
static void spread_residency(struct scene *s)
{
	if (s->n_objects != 0)
		qsort(s->object, s->n_objects, sizeof(s->object[0]), by_id);
	for (size_t i = 0; s->n_objects != 0 && i < s->maps.n; i++) {
		struct show_map *m = &s->maps.v[i];
		struct show_object key = {.id = m->object};
		const struct show_object *o =
			bsearch(&key, s->object, s->n_objects, sizeof(key), by_id);

		if (o == NULL || m->shared != SHOW_UNKNOWN || m->off != 0 ||
		    o->resident == SHOW_UNKNOWN || o->bytes == SHOW_UNKNOWN ||
		    m->last - m->start < o->bytes - 1)
			continue;
		if (m->resident == SHOW_UNKNOWN)
			m->resident = o->resident;
		if (o->own <= o->resident)
			m->shared = o->resident - o->own;
		s->residency = true;
	}
}

static int read_scene(struct scene *s, const char *path, const struct json *root)
{
	static const char *const kinds[] = {"space", "recording", "script", "process"};
	struct reader r = {.s = s, .path = path};
	const char *kind = json_text(json_get(root, "vmspace"));

	for (unsigned i = 0; i < 4; i++)
		if (strcmp(kind, kinds[i]) == 0)
			s->kind = kinds[i];
	if (s->kind == NULL)
		return show_cannot("%s: no dump of vmspace: \"vmspace\" does not say what it is",
				   path);
	if (json_get(root, "page_size") != NULL &&
	    !json_u64(json_get(root, "page_size"), &s->page_size))
		return show_cannot("%s: \"page_size\" is wrong", path);
	if (read_counts(s, json_get(root, "counters")) != 0 ||
	    read_list(&r, root, "regions", read_region) != 0 ||
	    read_list(&r, root, "objects", read_object) != 0 ||
	    read_list(&r, root, "mappings", read_map) != 0)
		return -1;
	if (json_get(root, "note") != NULL) {
		s->note = strdup(json_text(json_get(root, "note")));
		if (s->note == NULL)
			return show_cannot("no memory");
	}
	spread_residency(s);
	return 0;
}

static int read_all(FILE *in, char **text, size_t *len)
{
	size_t room = 0;

	*text = NULL;
	*len = 0;
	do {
		char *grown;

		if (*len + 65536 > LARGEST)
			return -EFBIG;
		if (room - *len < 65536) {
			room = room * 2 + 65536;
			grown = realloc(*text, room);
			if (grown == NULL)
				return -ENOMEM;
			*text = grown;
		}
		*len += fread(*text + *len, 1, room - *len, in);
	} while (!feof(in) && !ferror(in));
	return ferror(in) ? -errno : 0;
}

int show_dump(struct scene *s, const char *path, FILE *in)
{
	struct json_doc doc = {0};
	char *text;
	size_t len;
	int err = read_all(in, &text, &len), ret;

	if (err != 0)
		ret = show_cannot("%s: %s", path, strerror(-err));
	else if (json_parse(&doc, text, len) != 0)
		ret = show_cannot("%s: %s", path, doc.why);
	else
		ret = read_scene(s, path, doc.root);
	json_free(&doc);
	free(text);
	return ret;
}
