// SPDX-License-Identifier: MIT
/*
 * check.c: with VMSPACE_CHECK=1 in the environment, the end of each process compares what the
 * engine says is mapped with what the host says, for the guest's whole range, and has the engine
 * verify its own structures. A difference is told and ends the program with status 99. The tests
 * run that way.
 *
 * Regions are compared as runs of equal rights: the host may hold as several regions what is one
 * to the guest (after moves, at a file's tail), and names differ. The vdso is left out: with large
 * pages its parts are one region to the guest.
 */
#include "guest.h"
#include "mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define STATUS_DIFFERENT 99

struct run {
	uint64_t start, end;
	char perms[5];
};

/* One after the other, runs of equal rights out of lines of maps. */
struct source {
	bool (*line)(struct source *s, struct run *r);
	uint64_t cursor;
	int fd;
	char text[8192];
	size_t have, at;
	struct run next;
	bool more;
};

static bool engine_line(struct source *s, struct run *r)
{
	static struct guest_mem_region region;

	if (!guest_mem_next(&s->cursor, &region))
		return false;
	r->start = region.start;
	r->end = region.end;
	sscanf(region.line, "%*s %4s", r->perms);
	return true;
}

static bool host_line(struct source *s, struct run *r)
{
	for (;;) {
		char *nl = memchr(s->text + s->at, '\n', s->have - s->at);

		if (nl == NULL) {
			memmove(s->text, s->text + s->at, s->have - s->at);
			s->have -= s->at;
			s->at = 0;
			int64_t n =
				raw3(SYS_read, s->fd, s->text + s->have, sizeof(s->text) - s->have);
			if (n <= 0)
				return false;
			s->have += (size_t)n;
			continue;
		}
		unsigned long start, end;
		int got = sscanf(s->text + s->at, "%lx-%lx %4s", &start, &end, r->perms);

		s->at = (size_t)(nl + 1 - s->text);
		if (got != 3 || start >= GUEST_TASK)
			return false;
		r->start = start;
		r->end = end;
		return true;
	}
}

static bool next_line(struct source *s, struct run *r)
{
	do {
		if (!s->line(s, r))
			return false;
	} while (r->start >= layout_vdso_start && r->start < layout_vdso_end);
	return true;
}

static bool next_run(struct source *s, struct run *r)
{
	struct run more;

	if (!s->more)
		return false;
	*r = s->next;
	while ((s->more = next_line(s, &more))) {
		if (more.start != r->end || memcmp(more.perms, r->perms, 5) != 0) {
			s->next = more;
			break;
		}
		r->end = more.end;
	}
	return true;
}

static void begin(struct source *s)
{
	s->more = next_line(s, &s->next);
}

static void say_run(const char *who, bool there, const struct run *r)
{
	if (there)
		say("  %s: %llx-%llx %s", who, (unsigned long long)r->start,
		    (unsigned long long)r->end, r->perms);
	else
		say("  %s: nothing more", who);
}

void check_maps_agree(void)
{
	static struct source host, engine;
	struct run h, e;
	const char *why = NULL;

	if (!guest.check)
		return;
	fdguard_room_begin();
	host = (struct source){
		.line = host_line,
		.fd = (int)raw3(SYS_open, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0)};
	fdguard_room_end();
	engine = (struct source){.line = engine_line};
	if (host.fd < 0)
		return;
	if (!guest_mem_valid(&why)) {
		say("check: the engine's structures: %s", why);
		raw1(SYS_exit_group, STATUS_DIFFERENT);
	}
	begin(&host);
	begin(&engine);
	for (;;) {
		bool have_h = next_run(&host, &h), have_e = next_run(&engine, &e);

		if (!have_h && !have_e)
			break;
		if (have_h && have_e && h.start == e.start && h.end == e.end &&
		    memcmp(h.perms, e.perms, 4) == 0)
			continue;
		say("check: the engine and the host disagree about the maps:");
		say_run("engine", have_e, &e);
		say_run("host", have_h, &h);
		raw1(SYS_exit_group, STATUS_DIFFERENT);
	}
	raw1(SYS_close, host.fd);
}
