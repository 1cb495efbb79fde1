// SPDX-License-Identifier: MIT
/*
 * dump.c: a space for people and for programs (`vmspace show`, whose manual page has the form).
 *
 *	collect (the space's lock) → ask the objects (their families' locks) → text → write (nothing)
 *
 * Regions and mappings are those of one instant. What objects and counters say is of slightly later
 * ones: objects are referenced meanwhile, so each of them is still there.
 *
 * JSON has addresses and offsets as strings of hexadecimal digits, since its numbers may lose bits,
 * and sizes as numbers. What is not known is left out.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/utf8.h"
#include "object/content.h"
#include "space/vspace.h"

#define NOT_KNOWN UINT64_MAX

/* A region, or a mapping with a reference of its object. */
struct item {
	bool is_map;
	uint32_t depth;
	uint64_t first, last;
	uint32_t rights;
	enum region_priority priority; /* of a region */
	struct map map;
	uint64_t there; /* of a mapping: bytes of pages that the arena has, NOT_KNOWN */
};

struct dump {
	struct vms_space *s;
	struct item *item;
	size_t n, room;
	struct vms_object_info *object; /* each once, by rising id */
	size_t n_objects;
	struct vms_space_info info;
	struct vms_mmu_counts mmu;
	/* the text */
	char *text;
	size_t len, size;
	bool no_memory;
};

/* ---- Collect ---- */

/* How many there may be at this moment. */
static size_t wanted(struct vms_space *s) REQUIRES(s->space.lock)
{
	return s->space.counts.n + s->regions.n;
}

static void add(struct dump *d, const struct item *item)
{
	d->item[d->n] = *item;
	if (item->is_map)
		object_ref(item->map.obj);
	d->n++;
}

/* All of them, in the order of the tree: a region before what is in it. */
static void collect_locked(struct dump *d, struct vms_space *s) REQUIRES(s->space.lock)
{
	struct region *root = s->regions.root;
	struct region_walk walk;
	struct region_item at;

	add(d, &(struct item){ .first = root->first, .last = root->last, .rights = root->rights,
			       .priority = root->priority });
	region_walk_init(&walk, root, root->first, root->last, false);
	while (region_walk_next(&walk, &at) == 1 && d->n < d->room) {
		struct item item = { .is_map = at.is_map,
				     .depth = (uint32_t)at.depth,
				     .first = at.first,
				     .last = at.last,
				     .there = NOT_KNOWN };

		if (at.is_map) {
			if (!space_find(&s->space, at.first, &item.map))
				break;
			item.rights = item.map.prot;
		} else {
			item.rights = at.region->rights;
			item.priority = at.region->priority;
		}
		add(d, &item);
	}
	region_walk_fini(&walk);
}

static int collect(struct dump *d)
{
	struct vms_space *s = d->s;
	const struct world *w = s->space.world;
	size_t n;

	lock_take(&s->space.lock);
	for (n = wanted(s); n > d->room; n = wanted(s)) {
		lock_drop(&s->space.lock);
		if (d->item)
			w->free(w, d->item, d->room * sizeof(d->item[0]));
		d->room = n + n / 8 + 16;
		d->item = w->alloc(w, d->room * sizeof(d->item[0]));
		if (!d->item) {
			d->room = 0;
			return fail(-ENOMEM, "vms_space_dump: no memory for %zu mappings", n);
		}
		lock_take(&s->space.lock);
	}
	collect_locked(d, s);
	lock_drop(&s->space.lock);
	return 0;
}

/* ---- Ask the objects ---- */

/* Bytes of the mapping's pages that are in the arena; those past the object's end are not there. */
static uint64_t bytes_there(const struct map *m)
{
	const struct view *v = view_of(m->obj);
	struct content *c = v->content;
	uint64_t pages = view_bytes(m->obj) >> c->shift, first = m->off >> c->shift;
	uint64_t end = ((m->off + (m->last - m->start)) >> c->shift) + 1, n = 0;

	if (c->kind == CONTENT_FILE || c->kind == CONTENT_HOST)
		return NOT_KNOWN;
	if (end > pages)
		end = pages;
	if (first >= end)
		return 0;
	lock_take(&c->family->lock);
	n = pages_count(&c->pages, c->bias + v->at + first, end - first);
	lock_drop(&c->family->lock);
	return n << c->shift;
}

static int by_id(const void *a, const void *b)
{
	uint64_t x = view_of(*(struct vms_object *const *)a)->id;
	uint64_t y = view_of(*(struct vms_object *const *)b)->id;

	return x < y ? -1 : x > y;
}

static int ask_each(struct dump *d, struct vms_object **obj, size_t n)
{
	qsort(obj, n, sizeof(obj[0]), by_id);
	for (size_t i = 0; i < n; i++) {
		struct vms_object_info *info = &d->object[d->n_objects];
		int err;

		if (i > 0 && obj[i] == obj[i - 1])
			continue;
		info->size = sizeof(*info);
		err = vms_object_info(obj[i], info);
		if (err)
			return err;
		d->n_objects++;
	}
	return 0;
}

static int ask_objects(struct dump *d)
{
	const struct world *w = d->s->space.world;
	struct vms_object **obj;
	size_t n = 0;
	int err;

	obj = w->alloc(w, d->room * sizeof(obj[0]));
	if (!obj)
		return fail(-ENOMEM, "vms_space_dump: no memory");
	d->object = w->alloc(w, d->room * sizeof(d->object[0]));
	for (size_t i = 0; i < d->n; i++)
		if (d->item[i].is_map)
			obj[n++] = d->item[i].map.obj;
	err = d->object ? ask_each(d, obj, n) : fail(-ENOMEM, "vms_space_dump: no memory");
	w->free(w, obj, d->room * sizeof(obj[0]));
	for (size_t i = 0; i < d->n && !err; i++)
		if (d->item[i].is_map)
			d->item[i].there = bytes_there(&d->item[i].map);
	return err;
}

static const struct vms_object_info *info_of(const struct dump *d, const struct map *m)
{
	uint64_t id = view_of(m->obj)->id;
	size_t lo = 0, hi = d->n_objects;

	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (d->object[mid].id <= id)
			lo = mid;
		else
			hi = mid;
	}
	return &d->object[lo];
}

/* ---- Text ---- */

static bool room_for(struct dump *d, size_t more)
{
	const struct world *w = d->s->space.world;
	size_t size = d->size ? d->size : 65536;
	char *text;

	if (d->no_memory || d->size - d->len > more)
		return !d->no_memory;
	while (size - d->len <= more)
		size *= 2;
	text = w->alloc(w, size);
	if (!text) {
		d->no_memory = true;
		return false;
	}
	if (d->text) {
		memcpy(text, d->text, d->len);
		w->free(w, d->text, d->size);
	}
	d->text = text;
	d->size = size;
	return true;
}

static void put(struct dump *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct dump *d, const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n < 0 || !room_for(d, (size_t)n))
		return;
	memcpy(d->text + d->len, line, (size_t)n);
	d->len += (size_t)n;
}

/* A name as a string of JSON that is in no danger inside a page. */
static void put_quoted(struct dump *d, const char *s)
{
	put(d, "\"");
	while (*s) {
		unsigned char c = (unsigned char)*s;
		size_t n = utf8_length(s);

		if (c == '"' || c == '\\')
			put(d, "\\%c", c);
		else if (c < ' ' || c == 0x7f || c == '<' || n == 0)
			put(d, "\\u%04x", c); /* what is no UTF-8 as Latin-1 */
		else
			put(d, "%.*s", (int)n, s);
		s += n ? n : 1;
	}
	put(d, "\"");
}

static const char *kind_name(enum vms_object_kind kind)
{
	switch (kind) {
	case VMS_OBJECT_KIND_ANON:
		return "anonymous";
	case VMS_OBJECT_KIND_FILE:
		return "file";
	case VMS_OBJECT_KIND_HOST:
		return "host memory";
	case VMS_OBJECT_KIND_PAGED:
		return "paged";
	case VMS_OBJECT_KIND_SLICE:
		return "slice";
	case VMS_OBJECT_KIND_REFERENCE:
		return "reference";
	}
	return "";
}

static const char *rights_text(uint32_t rights, bool region, char buf[5])
{
	buf[0] = rights & VMS_PROT_READ ? 'r' : '-';
	buf[1] = rights & VMS_PROT_WRITE ? 'w' : '-';
	buf[2] = rights & VMS_PROT_EXEC ? 'x' : '-';
	buf[3] = !region ? '\0' : rights & REGION_SPECIFIC ? 's' : '-';
	buf[4] = '\0';
	return buf;
}

static const struct {
	uint32_t flag;
	const char *name;
} map_flags[] = {
	{ VMS_MAP_SHARE, "shared" },
	{ VMS_MAP_FIXED_SIZE, "fixed size" },
	{ VMS_MAP_STREAM, "stream" },
};

/* The byte behind: 2^64 has a digit more than a uint64_t can have. */
static const char *end_text(uint64_t last, char buf[24])
{
	if (last == UINT64_MAX)
		snprintf(buf, 24, "0x10000000000000000");
	else
		snprintf(buf, 24, "0x%" PRIx64, last + 1);
	return buf;
}

static void each_count(struct dump *d, void (*fn)(struct dump *, const char *, uint64_t, bool *))
{
	const struct vms_space_info *i = &d->info;
	const struct vms_mmu_counts *m = &d->mmu;
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{ "edits", i->edits },
		{ "splits", i->splits },
		{ "merges", i->merges },
		{ "fault_ok", i->ok },
		{ "fault_wait", i->wait },
		{ "fault_not_mapped", i->not_mapped },
		{ "fault_denied", i->denied },
		{ "fault_beyond", i->beyond },
		{ "fault_discarded", i->discarded },
		{ "fault_io", i->io },
		{ "fault_no_memory", i->no_memory },
		{ "page_own", i->own },
		{ "page_ancestor", i->ancestor },
		{ "page_zero", i->zero },
		{ "page_copied", i->copied },
		{ "page_fresh", i->fresh },
		{ "page_around", i->around },
		{ "looked_again", i->again },
		{ "backend_map", m->map },
		{ "backend_unmap", m->unmap },
		{ "backend_protect", m->protect },
		{ "backend_remove_write", m->remove_write },
		{ "backend_failed", m->failed },
		{ "backend_entries", m->entries },
		{ "backend_shot", m->shot },
		{ "backend_barriers", m->barriers },
	};
	bool first = true;

	for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++)
		fn(d, rows[k].name, rows[k].value, &first);
}

/* ---- For programs ---- */

static void json_count(struct dump *d, const char *name, uint64_t value, bool *first)
{
	put(d, "%s\"%s\":%" PRIu64, *first ? "" : ",", name, value);
	*first = false;
}

static void json_region(struct dump *d, const struct item *i)
{
	char end[24], rights[5];

	put(d, "{\"start\":\"0x%" PRIx64 "\",\"end\":\"%s\",\"depth\":%u,\"rights\":\"%s\"%s}",
	    i->first, end_text(i->last, end), i->depth, rights_text(i->rights, true, rights),
	    i->priority == REGION_HIGH ? ",\"priority\":\"high\"" : "");
}

/* In a mapping "depth" is that of its region. */
static void json_map(struct dump *d, const struct item *i)
{
	const struct vms_object_info *o = info_of(d, &i->map);
	char end[24], prot[5], ceiling[5], what[320];
	const char *comma = "";

	put(d, "{\"start\":\"0x%" PRIx64 "\",\"end\":\"%s\",\"prot\":\"%s\",\"ceiling\":\"%s\",",
	    i->first, end_text(i->last, end), rights_text(i->map.prot, false, prot),
	    rights_text(i->map.ceiling, false, ceiling));
	put(d, "\"flags\":[");
	for (size_t k = 0; k < sizeof(map_flags) / sizeof(map_flags[0]); k++) {
		if (i->map.flags & map_flags[k].flag) {
			put(d, "%s\"%s\"", comma, map_flags[k].name);
			comma = ",";
		}
	}
	put(d, "],\"off\":\"0x%" PRIx64 "\",\"object\":%" PRIu64 ",\"depth\":%u,\"what\":",
	    i->map.off, o->id, i->depth - 1);
	snprintf(what, sizeof(what), "%s%s%.250s", kind_name(o->kind), *o->name ? " " : "", o->name);
	put_quoted(d, what);
	if (i->there != NOT_KNOWN)
		put(d, ",\"resident\":%" PRIu64, i->there);
	put(d, "}");
}

static void json_object(struct dump *d, const struct vms_object_info *o)
{
	put(d, "{\"id\":%" PRIu64 ",\"kind\":\"%s\",\"name\":", o->id, kind_name(o->kind));
	put_quoted(d, o->name);
	if (o->parent_id)
		put(d, ",\"parent\":%" PRIu64, o->parent_id);
	put(d, ",\"snapshot\":%s,\"bytes\":%" PRIu64, o->snapshot ? "true" : "false", o->bytes);
	if (o->kind == VMS_OBJECT_KIND_ANON || o->kind == VMS_OBJECT_KIND_PAGED)
		put(d, ",\"resident\":%" PRIu64 ",\"own\":%" PRIu64, o->total, o->owned);
	put(d, ",\"pins\":%" PRIu64 "}", o->pinned);
}

static void json_items(struct dump *d, bool maps)
{
	const char *comma = "";

	for (size_t i = 0; i < d->n; i++) {
		if (d->item[i].is_map != maps)
			continue;
		put(d, "%s\n", comma);
		comma = ",";
		if (maps)
			json_map(d, &d->item[i]);
		else
			json_region(d, &d->item[i]);
	}
}

static void make_json(struct dump *d)
{
	put(d, "{\"vmspace\":\"space\",\"version\":1,\"page_size\":%" PRIu64 ",\n\"counters\":{",
	    d->info.page_size);
	each_count(d, json_count);
	put(d, "},\n\"regions\":[");
	json_items(d, false);
	put(d, "],\n\"objects\":[");
	for (size_t i = 0; i < d->n_objects; i++) {
		put(d, "%s\n", i == 0 ? "" : ",");
		json_object(d, &d->object[i]);
	}
	put(d, "],\n\"mappings\":[");
	json_items(d, true);
	put(d, "]}\n");
}

/* ---- For people ---- */

/* Nothing of a name moves a terminal's cursor. */
static void put_name(struct dump *d, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		put(d, c < ' ' || c == 0x7f ? "\\x%02x" : "%c", c);
	}
}

static void text_count(struct dump *d, const char *name, uint64_t value, bool *first)
{
	if (!value)
		return;
	put(d, "%s%s %" PRIu64, *first ? "counters: " : ", ", name, value);
	*first = false;
}

static void text_item(struct dump *d, const struct item *i)
{
	char end[24], rights[5], ceiling[5];

	put(d, "%*s0x%" PRIx64 "-%s %s", (int)(2 * i->depth), "", i->first,
	    end_text(i->last, end), rights_text(i->rights, !i->is_map, rights));
	if (!i->is_map) {
		put(d, i->depth ? " region%s\n" : " root%s\n",
		    i->priority == REGION_HIGH ? ", high priority" : "");
		return;
	}
	put(d, "/%s object %" PRIu64 " +0x%" PRIx64, rights_text(i->map.ceiling, false, ceiling),
	    info_of(d, &i->map)->id, i->map.off);
	if (i->there != NOT_KNOWN)
		put(d, ", %" PRIu64 " bytes there", i->there);
	for (size_t k = 0; k < sizeof(map_flags) / sizeof(map_flags[0]); k++)
		if (i->map.flags & map_flags[k].flag)
			put(d, ", %s", map_flags[k].name);
	put(d, "\n");
}

static void text_object(struct dump *d, const struct vms_object_info *o)
{
	put(d, "object %" PRIu64 ": %s", o->id, kind_name(o->kind));
	if (*o->name) {
		put(d, " ");
		put_name(d, o->name);
	}
	put(d, ", %" PRIu64 " bytes", o->bytes);
	if (o->kind == VMS_OBJECT_KIND_ANON || o->kind == VMS_OBJECT_KIND_PAGED)
		put(d, ", %" PRIu64 " there, %" PRIu64 " of them its own", o->total, o->owned);
	if (o->parent_id)
		put(d, ", %s of %" PRIu64, o->snapshot ? "snapshot" : "child", o->parent_id);
	if (o->pinned)
		put(d, ", %" PRIu64 " pins", o->pinned);
	put(d, "\n");
}

static void make_text(struct dump *d)
{
	put(d, "%" PRIu64 " regions, %" PRIu64 " mappings of %" PRIu64 " bytes, pages of %" PRIu64
	    "\n", d->info.regions, d->info.mappings, d->info.mapped, d->info.page_size);
	for (size_t i = 0; i < d->n; i++)
		text_item(d, &d->item[i]);
	for (size_t i = 0; i < d->n_objects; i++)
		text_object(d, &d->object[i]);
	each_count(d, text_count);
	put(d, "\n");
}

/* ---- Write ---- */

static int write_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(-errno, "vms_space_dump: write: %s", strerror(errno));
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

static int make(struct dump *d, enum vms_dump_format format)
{
	int err;

	err = collect(d);
	if (!err)
		err = ask_objects(d);
	if (!err)
		err = vms_space_info(d->s, &d->info);
	if (!err)
		err = vms_mmu_counts(d->s->mmu, &d->mmu);
	if (err)
		return err;
	if (format == VMS_DUMP_JSON)
		make_json(d);
	else
		make_text(d);
	return d->no_memory ? fail(-ENOMEM, "vms_space_dump: no memory for the text") : 0;
}

int vms_space_dump(struct vms_space *space, enum vms_dump_format format, int fd)
{
	const struct world *w = space->space.world;
	struct dump d = { .s = space,
			  .info.size = sizeof(d.info),
			  .mmu.size = sizeof(d.mmu) };
	int err;

	if (format != VMS_DUMP_TEXT && format != VMS_DUMP_JSON)
		return fail(-EINVAL, "vms_space_dump: %d is no format", (int)format);
	err = make(&d, format);
	for (size_t i = 0; i < d.n; i++)
		if (d.item[i].is_map)
			object_unref(d.item[i].map.obj);
	if (d.item)
		w->free(w, d.item, d.room * sizeof(d.item[0]));
	if (d.object)
		w->free(w, d.object, d.room * sizeof(d.object[0]));
	if (!err)
		err = write_all(fd, d.text, d.len);
	if (d.text)
		w->free(w, d.text, d.size);
	return err;
}
