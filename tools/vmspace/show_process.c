// SPDX-License-Identifier: MIT
/*
 * show_process.c: a running process as a source: /proc/PID/smaps.
 *
 * For a program under `vmspace run` these are the host's regions below vmspace's own range, which
 * the engine keeps equal to the guest's maps, with what only the kernel knows: which bytes are in
 * memory, shared, swapped out. vmspace's own part is left out and counted. Of another process all
 * is shown.
 *
 * The kernel gives the file out in pieces and the process goes on meanwhile, so regions of
 * different moments may stand beside each other. The reader keeps them sorted: what would overlap
 * is left out.
 */
#include "show.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "picture.h"
#ifdef VMS_NATIVE_RUN
#include "guest/guest.h"
#define OWN_START GUEST_TASK
#else
#define OWN_START UINT64_C(0x7ff000000000)
#endif

/* A line of /proc/PID/maps: 1 and the mapping, 0: another line, -ENOMEM. */
static int parse_region(struct scene *s, char *line, struct show_map *m)
{
	char perms[5];
	uint64_t end;
	int at = 0;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %*s %*s %n", &m->start, &end,
		   perms, &m->off, &at) != 4 ||
	    at == 0 || end <= m->start)
		return 0;
	m->last = end - 1;
	m->prot = (perms[0] == 'r' ? VMS_PROT_READ : 0) | (perms[1] == 'w' ? VMS_PROT_WRITE : 0) |
		  (perms[2] == 'x' ? VMS_PROT_EXEC : 0);
	m->flags = perms[3] == 's' ? SHOW_SHARED : 0;
	line[strcspn(line, "\n")] = '\0';
	m->what = scene_name(s, line + at);
	m->resident = m->shared = m->swapped = 0;
	return m->what == UINT32_MAX ? -ENOMEM : 1;
}

/* "Rss:      1234 kB" and its like. */
static void parse_detail(const char *line, struct show_map *m)
{
	uint64_t kib;
	char name[32];

	if (strncmp(line, "VmFlags:", 8) == 0) {
		m->flags |= (strstr(line, " lo") != NULL ? SHOW_LOCKED : 0) |
			    (strstr(line, " gd") != NULL ? SHOW_GROWS : 0) |
			    (strstr(line, " sl") != NULL ? SHOW_SEALED : 0);
	} else if (sscanf(line, "%31[^:]: %" SCNu64 " kB", name, &kib) == 2) {
		if (strcmp(name, "Rss") == 0)
			m->resident = kib << 10;
		else if (strcmp(name, "Shared_Clean") == 0 || strcmp(name, "Shared_Dirty") == 0)
			m->shared += kib << 10;
		else if (strcmp(name, "Swap") == 0)
			m->swapped = kib << 10;
		else if (strcmp(name, "KernelPageSize") == 0)
			return;
	}
}

static int read_regions(struct scene *s, FILE *f)
{
	static char line[8192]; /* a path is at most 4096 bytes, in octal escapes some of them */
	struct show_map *m = NULL;
	uint64_t next = 0;

	while (fgets(line, sizeof(line), f) != NULL) {
		struct show_map one = {0};
		int is_region = parse_region(s, line, &one);

		if (is_region < 0)
			return is_region;
		if (is_region == 0) {
			if (m != NULL)
				parse_detail(line, m);
			continue;
		}
		m = NULL;
		if (one.start < next)
			continue;
		m = show_maps_add(&s->maps);
		if (m == NULL)
			return -ENOMEM;
		*m = one;
		next = one.last + 1;
	}
	return ferror(f) ? -errno : 0;
}

/* vmspace is linked to stand at the start of its own range. */
static bool under_run(const struct scene *s)
{
	size_t i = show_maps_find(&s->maps, OWN_START);

	return i < s->maps.n && s->maps.v[i].start == OWN_START;
}

static int leave_out_own(struct scene *s)
{
	size_t first = show_maps_find(&s->maps, OWN_START);
	uint64_t bytes = 0;
	char size[16];

	for (size_t i = first; i < s->maps.n; i++)
		bytes += s->maps.v[i].resident;
	s->maps.n = first;
	return asprintf(&s->note, "left out: vmspace's own %s of memory, above %" PRIx64,
			picture_size(size, sizeof(size), bytes), OWN_START) < 0
		       ? -ENOMEM
		       : 0;
}

static int fill(struct scene *s, int pid, FILE *f)
{
	char path[64], name[64] = "";
	FILE *comm;
	int err = read_regions(s, f);

	if (err != 0)
		return err;
	if (s->maps.n == 0)
		return -ESRCH; /* it ended, or is no program but a part of the kernel */
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	comm = fopen(path, "re");
	if (comm != NULL) {
		if (fgets(name, sizeof(name), comm) != NULL)
			name[strcspn(name, "\n")] = '\0';
		fclose(comm);
	}
	if (asprintf(&s->title, "%s, process %d", name, pid) < 0) {
		s->title = NULL;
		return -ENOMEM;
	}
	if (under_run(s))
		return leave_out_own(s);
	s->note = strdup("not under vmspace run: all of the process is shown");
	return s->note == NULL ? -ENOMEM : 0;
}

int show_process(struct scene *s, int pid)
{
	char path[64];
	FILE *f;
	int err;

	s->kind = "process";
	s->page_size = 4096;
	s->residency = true;
	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	f = fopen(path, "re");
	err = f == NULL ? (errno == ENOENT ? -ESRCH : -errno) : fill(s, pid, f);
	if (f != NULL)
		fclose(f);
	if (err == -ESRCH)
		return show_cannot("process %d: there is none, or it has no memory of its own", pid);
	return err == 0 ? 0 : show_cannot("process %d: %s", pid, strerror(-err));
}
