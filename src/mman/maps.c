// SPDX-License-Identifier: MIT
/*
 * maps.c: looking at an address space: regions one by one, as lines of /proc/self/maps, counters,
 * and the check of all invariants (reference linux-mm 1.16).
 */
#include "mman/mm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fail.h"

/* The column at which a name starts. */
#define NAME_COLUMN 73

static const char *region_name(const struct vms_mm *mm, const struct map *m, uint32_t *flags)
{
	bool heap = m->start < mm->brk && m->last >= mm->brk_start;
	bool stack = mm->stack != 0 && m->start <= mm->stack && m->last + 1 >= mm->stack;

	if (m->obj->name != NULL)
		return m->obj->name;
	if (heap) {
		*flags |= VMS_MM_HEAP;
		return "[heap]";
	}
	if (stack) {
		*flags |= VMS_MM_STACK;
		return "[stack]";
	}
	return "";
}

static void describe(const struct vms_mm *mm, const struct map *m, struct vms_mm_region *r)
{
	const char *name;

	r->start = m->start;
	r->end = m->last + 1;
	r->prot = m->prot;
	r->flags = 0;
	if (m->flags & MM_SHARED)
		r->flags |= VMS_MM_SHARED;
	if (!(m->flags & (MM_FILE | MM_SPECIAL)))
		r->flags |= VMS_MM_ANON;
	if (m->flags & MM_LOCKED)
		r->flags |= VMS_MM_LOCKED;
	if (m->flags & MM_GROWSDOWN)
		r->flags |= VMS_MM_GROWSDOWN;
	if (m->flags & MM_SEALED)
		r->flags |= VMS_MM_SEALED;
	if (m->flags & MM_SPECIAL)
		r->flags |= VMS_MM_FOREIGN;
	r->off = m->flags & (MM_FILE | MM_SHARED) ? m->off : 0;
	r->dev = m->obj->dev;
	r->ino = m->obj->ino;
	name = region_name(mm, m, &r->flags);
	snprintf(r->name, sizeof(r->name), "%s", name);
}

int vms_mm_next(struct vms_mm *mm, uint64_t *cursor, struct vms_mm_region *region)
{
	struct map m;
	bool found;

	if (region->size != sizeof(*region))
		return fail(-EINVAL, "mm_next: the region's size is not that of this release");
	mm_lock(mm);
	mm_catch_up(mm);
	found = space_find(&mm->space, *cursor, &m);
	if (found) {
		describe(mm, &m, region);
		*cursor = m.last + 1;
	}
	mm_unlock(mm);
	return found ? 0 : -ENOENT;
}

/* A newline in a name is written as \012. False: no room. */
static bool put_name(char *buf, size_t size, size_t *len, const char *name)
{
	for (; *name != '\0'; name++) {
		const char *text = name;
		size_t n = 1;

		if (*name == '\n') {
			text = "\\012";
			n = 4;
		}
		if (*len + n + 2 > size)
			return false;
		memcpy(buf + *len, text, n);
		*len += n;
	}
	return true;
}

ssize_t vms_mm_maps_line(struct vms_mm *mm, uint64_t *cursor, char *buf, size_t size)
{
	struct vms_mm_region r = { .size = sizeof(r) };
	uint64_t next = *cursor;
	size_t len;
	int n;

	if (vms_mm_next(mm, &next, &r) != 0)
		return 0;
	n = snprintf(buf, size, "%08lx-%08lx %c%c%c%c %08lx %02x:%02x %lu ",
		     (unsigned long)r.start, (unsigned long)r.end,
		     r.prot & VMS_PROT_READ ? 'r' : '-', r.prot & VMS_PROT_WRITE ? 'w' : '-',
		     r.prot & VMS_PROT_EXEC ? 'x' : '-', r.flags & VMS_MM_SHARED ? 's' : 'p',
		     (unsigned long)r.off, major(r.dev), minor(r.dev), (unsigned long)r.ino);
	if (n < 0 || (size_t)n + NAME_COLUMN >= size)
		return -ERANGE;
	len = (size_t)n;
	if (r.name[0] != '\0') {
		while (len < NAME_COLUMN)
			buf[len++] = ' ';
		if (!put_name(buf, size, &len, r.name))
			return -ERANGE;
	}
	buf[len++] = '\n';
	buf[len] = '\0';
	*cursor = next;
	return (ssize_t)len;
}

int vms_mm_maps(struct vms_mm *mm, int fd)
{
	uint64_t cursor = 0;
	char line[1280];
	ssize_t len;

	while ((len = vms_mm_maps_line(mm, &cursor, line, sizeof(line))) > 0) {
		for (ssize_t done = 0; done < len;) {
			ssize_t n = write(fd, line + done, (size_t)(len - done));

			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				return fail(-errno, "mm_maps: write: %s", strerror(errno));
			done += n;
		}
	}
	return (int)len;
}

int vms_mm_info(struct vms_mm *mm, struct vms_mm_info *info)
{
	const uint64_t *bytes = mm->space.counts.bytes;

	if (info->size != sizeof(*info))
		return fail(-EINVAL, "mm_info: the struct's size is not that of this release");
	mm_lock(mm);
	mm_catch_up(mm);
	info->regions = mm->space.counts.n;
	info->total = bytes[MM_CLASS_TOTAL];
	info->locked = bytes[MM_CLASS_LOCKED] + mm->locked_lost;
	info->data = bytes[MM_CLASS_DATA];
	info->stack = bytes[MM_CLASS_STACK];
	info->brk_start = mm->brk_start;
	info->brk = mm->brk;
	info->edits = mm->space.edits;
	info->splits = mm->space.splits;
	info->merges = mm->space.merges;
	mm_unlock(mm);
	return 0;
}

/* The invariants of mm.h; the space checks its own. */
static const char *validate(struct vms_mm *mm) REQUIRES(mm->space.lock)
{
	const char *wrong = space_validate(&mm->space);
	uint64_t addr = 0;
	struct map m;

	if (wrong == NULL)
		wrong = guards_validate(&mm->guards);
	while (wrong == NULL && space_find(&mm->space, addr, &m)) {
		if (!is_aligned(m.start, mm_page(mm)) || !is_aligned(m.last + 1, mm_page(mm)) ||
		    m.last >= mm->pol.task_size)
			return "mm 1: a mapping is unaligned or outside the bounds";
		if (map_is_anon(&m) != (m.obj == mm->anon))
			return "mm 2: private anonymous memory of another object";
		if (m.ident != 0 && !map_is_private(&m))
			return "mm 3: an identity where no private page can be";
		if (m.ident > mm->last_ident)
			return "mm 3: an identity that was never given";
		addr = m.last + 1;
	}
	for (size_t i = 0; wrong == NULL && i < mm->guards.n; i++)
		if (!mm_all_mapped(mm, mm->guards.v[i].first, mm->guards.v[i].last))
			return "mm 5: a guard marker where nothing is mapped";
	return wrong;
}

int vms_mm_check(struct vms_mm *mm)
{
	const char *wrong;

	mm_lock(mm);
	wrong = validate(mm);
	mm_unlock(mm);
	return wrong == NULL ? 0 : fail(-EINVAL, "%s", wrong);
}
