// SPDX-License-Identifier: MIT
/*
 * tracefile.c: reading and writing traces (tracefile.h).
 *
 * A trace comes from anywhere: every field is bounded, every number checked, and what does not fit
 * is an error with its line, never a guess.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tracefile.h"

struct trace_map *trace_maps_add(struct trace_maps *maps)
{
	if (maps->n == maps->room) {
		size_t room = maps->room ? maps->room * 2 : 64;
		struct trace_map *map = realloc(maps->map, room * sizeof(*map));

		if (map == NULL) {
			return NULL;
		}
		maps->map = map;
		maps->room = room;
	}
	memset(&maps->map[maps->n], 0, sizeof(*maps->map));
	return &maps->map[maps->n++];
}

void trace_maps_free(struct trace_maps *maps)
{
	free(maps->map);
	memset(maps, 0, sizeof(*maps));
}

bool trace_is_error(int64_t ret)
{
	return ret < 0 && ret >= -4095;
}

/* ---- reading ---- */

void trace_reader_init(struct trace_reader *r, FILE *in)
{
	memset(r, 0, sizeof(*r));
	r->in = in;
}

void trace_reader_fini(struct trace_reader *r)
{
	trace_maps_free(&r->maps);
}

static enum trace_event error(struct trace_reader *r, const char *what)
{
	snprintf(r->why, sizeof(r->why), "line %u: %s", r->line, what);
	return TRACE_ERROR;
}

static bool parse_call(const char *line, struct trace_call *c)
{
	char result[32], *end;
	int n = sscanf(line,
		       "C %23s %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64
		       " = %31s",
		       c->name, &c->a[0], &c->a[1], &c->a[2], &c->a[3], &c->a[4], &c->a[5], result);

	if (n != 8) {
		return false;
	}
	errno = 0;
	if (result[0] == '-') {
		c->ret = strtoll(result, &end, 10);
		return errno == 0 && *end == '\0' && trace_is_error(c->ret);
	}
	c->ret = (int64_t)strtoull(result, &end, 16);
	return errno == 0 && end != result && *end == '\0';
}

static bool perms_fit(const char *p)
{
	return strlen(p) == 4 && (p[0] == 'r' || p[0] == '-') && (p[1] == 'w' || p[1] == '-') &&
	       (p[2] == 'x' || p[2] == '-') && (p[3] == 'p' || p[3] == 's');
}

static bool parse_map(const char *line, struct trace_map *m)
{
	int n = sscanf(line, "M %" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %31s", &m->start, &m->end,
		       m->perms, &m->off, m->what);

	return n == 5 && m->start < m->end && perms_fit(m->perms) &&
	       (m->start | m->end) % 4096 == 0;
}

enum trace_event trace_next(struct trace_reader *r)
{
	char line[512];
	bool in_block = false;

	r->image = false;
	while (fgets(line, sizeof(line), r->in) != NULL) {
		struct trace_map map = {0}, *slot;

		r->line++;
		if (strchr(line, '\n') == NULL && !feof(r->in)) {
			return error(r, "too long");
		}
		line[strcspn(line, "\n")] = '\0';
		if (in_block && line[0] != 'M' && line[0] != 'E') {
			return error(r, "a block of maps is not ended by E");
		}
		switch (line[0]) {
		case '\0':
			continue;
		case '#':
			snprintf(r->program, sizeof(r->program), "%.60s",
				 line + 1 + (line[1] == ' '));
			r->image = true;
			continue;
		case 'C':
			if (!parse_call(line, &r->call)) {
				return error(r, "not a call: C name a0 a1 a2 a3 a4 a5 = result");
			}
			return TRACE_CALL;
		case 'M':
			if (!in_block) {
				r->maps.n = 0;
				in_block = true;
			}
			if (!parse_map(line, &map)) {
				return error(r, "not a map: M start-end perms offset what");
			}
			if (r->maps.n > 0 && map.start < r->maps.map[r->maps.n - 1].end) {
				return error(r, "maps overlap or are not in order");
			}
			slot = trace_maps_add(&r->maps);
			if (slot == NULL) {
				return error(r, "no memory");
			}
			*slot = map;
			continue;
		case 'E':
			if (!in_block) {
				r->maps.n = 0;
			}
			return TRACE_BLOCK;
		default:
			return error(r, "begins with none of # M E C");
		}
	}
	if (ferror(r->in)) {
		return error(r, strerror(errno));
	}
	return in_block ? error(r, "ends within a block of maps") : TRACE_END;
}

/* ---- writing ---- */

void trace_write_call(FILE *out, const struct trace_call *c)
{
	fprintf(out, "C %s", c->name);
	for (int i = 0; i < 6; i++) {
		fprintf(out, " %" PRIx64, c->a[i]);
	}
	if (trace_is_error(c->ret)) {
		fprintf(out, " = %" PRId64 "\n", c->ret);
	} else {
		fprintf(out, " = %" PRIx64 "\n", (uint64_t)c->ret);
	}
}

static void write_map(FILE *out, const char *mark, const struct trace_map *m)
{
	fprintf(out, "%s%08" PRIx64 "-%08" PRIx64 " %s %08" PRIx64 " %s\n", mark, m->start, m->end,
		m->perms, m->off, m->what);
}

void trace_write_block(FILE *out, const struct trace_maps *maps)
{
	for (size_t i = 0; i < maps->n; i++) {
		write_map(out, "M ", &maps->map[i]);
	}
	fputs("E\n", out);
}

void trace_maps_print(FILE *out, const struct trace_maps *maps, const struct trace_maps *other)
{
	for (size_t i = 0; i < maps->n; i++) {
		const struct trace_map *m = &maps->map[i];
		bool alike = other == NULL;

		for (size_t j = 0; j < (other ? other->n : 0) && !alike; j++) {
			alike = memcmp(m, &other->map[j], sizeof(*m)) == 0;
		}
		write_map(out, alike ? "    " : "  * ", m);
	}
}

/* ---- the maps of a process ---- */

int trace_read_maps(int pid, struct trace_maps *maps)
{
	char path[64], line[4096 + 256];
	FILE *f;
	int r = 0;

	maps->n = 0;
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	if (f == NULL) {
		return -errno;
	}
	while (fgets(line, sizeof(line), f) != NULL) {
		struct trace_map *m = trace_maps_add(maps);
		uint64_t inode;
		int at = 0;

		if (m == NULL) {
			r = -ENOMEM;
			break;
		}
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %*s %" SCNu64 " %n",
			   &m->start, &m->end, m->perms, &m->off, &inode, &at) != 5) {
			r = -EPROTO;
			break;
		}
		if (line[at] == '[') {
			snprintf(m->what, sizeof(m->what), "%.*s", (int)strcspn(line + at, " \n"),
				 line + at);
		} else {
			snprintf(m->what, sizeof(m->what), "%s", inode != 0 ? "file" : "-");
		}
	}
	fclose(f);
	return r;
}
