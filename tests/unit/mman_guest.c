// SPDX-License-Identifier: MIT
#include "mman_guest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define GIB  (UINT64_C(1) << 30)
#define SPAN GIB

/* Free addresses far from where the host places what asks for none. */
static uint64_t find_room(void)
{
	char *p = mmap(NULL, 33 * SPAN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		       0);

	assert_ptr_not_equal(p, MAP_FAILED);
	munmap(p, 33 * SPAN);
	return ((uintptr_t)p + SPAN - 1) & ~(SPAN - 1);
}

const char *guest_kind_name(enum guest_kind kind)
{
	static const char *const names[] = {"recording", "real holes", "reserved window"};

	return names[kind];
}

void guest_prepare(struct guest *g, enum guest_kind kind, uint64_t page)
{
	static const struct vms_mm_limit none = {VMS_LIMIT_INFINITY, VMS_LIMIT_INFINITY};

	test_world_begin(&g->world);
	g->kind = kind;
	g->page = page ? page : (uint64_t)sysconf(_SC_PAGESIZE);
	g->lo = kind == GUEST_HOLES ? find_room() : 64 * GIB;
	g->hi = g->lo + SPAN;
	g->base = g->lo + SPAN / 2;
	vms_mm_policy_host(&g->pol); /* for the fields that a later version may add */
	g->pol.flags = 0;
	g->pol.max_map_count = 65530;
	g->pol.page_size = g->page;
	g->pol.min_addr = g->lo;
	g->pol.task_size = g->hi;
	g->pol.mmap_base = g->lo + SPAN / 4 * 3;
	g->pol.stack_gap = 256 * g->page;
	g->pol.huge_size = 2 << 20;
	g->pol.commit_max = 64 * GIB;
	memset(g->pol.huge_fs, 0, sizeof(g->pol.huge_fs));
	for (int i = 0; i < VMS_MM_LIMITS; i++)
		g->pol.limit[i] = none;
}

void guest_start(struct guest *g)
{
	struct vms_mmu_host_params params = {
		.size = sizeof(params),
		.flags = g->kind == GUEST_HOLES ? VMS_MMU_REAL_HOLES : 0,
		.lo = g->lo,
		.hi = g->hi,
		.page_size = g->page,
	};

	assert_ok(g->kind == GUEST_RECORD ? vms_mmu_record(&g->mmu)
					  : vms_mmu_host(&params, &g->mmu));
	assert_ok(vms_mm_create(&g->pol, g->mmu, &g->mm));
}

void guest_make(struct guest *g, enum guest_kind kind, uint64_t page)
{
	guest_prepare(g, kind, page);
	guest_start(g);
}

void guest_drop(struct guest *g)
{
	assert_ok(vms_mm_check(g->mm));
	vms_mm_destroy(g->mm);
	vms_mmu_unref(g->mmu);
	test_world_end(&g->world);
}

char *mem(struct guest *g, int64_t page)
{
	char *p = vms_mmu_host_addr(g->mmu, at(g, page));

	assert_non_null(p);
	return p;
}

void map_as(struct guest *g, int64_t page, uint64_t n, int prot, int flags, int fd, uint64_t off)
{
	says(vms_mmap(g->mm, at(g, page), n * g->page, (uint64_t)prot,
		      (uint64_t)(flags | MAP_FIXED), fd, off),
	     (int64_t)at(g, page));
}

void map(struct guest *g, int64_t page, uint64_t n, int prot)
{
	map_as(g, page, n, prot, ANY, -1, 0);
}

void touch(struct guest *g, int64_t page)
{
	assert_int_equal(vms_mm_fault(g->mm, at(g, page), VMS_PROT_WRITE), VMS_MM_FAULT_NONE);
	if (g->kind != GUEST_RECORD)
		*(volatile char *)mem(g, page) = (char)page;
}

/* ---- pictures ---- */

static int put_region(char *buf, size_t room, const struct guest *g, const struct vms_mm_region *r)
{
	static const struct {
		uint32_t flag;
		char letter;
	} marks[] = {{VMS_MM_SHARED, 's'},
		     {VMS_MM_LOCKED, 'l'},
		     {VMS_MM_GROWSDOWN, 'g'},
		     {VMS_MM_SEALED, 'S'},
		     {VMS_MM_FOREIGN, 'f'}};
	char text[16] = "";
	size_t n = 0, plus;

	if (r->prot & VMS_PROT_READ)
		text[n++] = 'r';
	if (r->prot & VMS_PROT_WRITE)
		text[n++] = 'w';
	if (r->prot & VMS_PROT_EXEC)
		text[n++] = 'x';
	if (n == 0)
		text[n++] = '-';
	plus = n;
	text[n++] = '+';
	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
		if (r->flags & marks[i].flag)
			text[n++] = marks[i].letter;
	if (!(r->flags & (VMS_MM_ANON | VMS_MM_FOREIGN)))
		text[n++] = 'F';
	if (n == plus + 1)
		text[plus] = '\0';
	return snprintf(buf, room, "%s:%" PRId64 "-%" PRId64 " ", text,
			(int64_t)(r->start - g->base) / (int64_t)g->page,
			(int64_t)(r->end - g->base) / (int64_t)g->page - 1);
}

const char *picture(struct guest *g)
{
	static char bufs[2][4096];
	static unsigned which;
	struct vms_mm_region r = {.size = sizeof(r)};
	char *buf = bufs[which ^= 1];
	uint64_t cursor = 0;
	size_t len = 0;

	buf[0] = '\0';
	while (vms_mm_next(g->mm, &cursor, &r) == 0 && len + 64 < sizeof(bufs[0]))
		len += (size_t)put_region(buf + len, sizeof(bufs[0]) - len, g, &r);
	if (len)
		buf[len - 1] = '\0';
	return buf;
}

void looks_at(struct guest *g, const char *text, const char *file, int line)
{
	_assert_string_equal(picture(g), text, file, line);
	if (vms_mm_check(g->mm) != 0) {
		print_error("%s\n", vms_last_error());
		_fail(file, line);
	}
}

void says_at(int64_t got, int64_t want, const char *call, const char *file, int line)
{
	if (got == want)
		return;
	print_error("%s\n  says %#" PRIx64 " (%s), expected %#" PRIx64 " (%s)\n", call,
		    (uint64_t)got, got < 0 && got > -4096 ? strerrorname_np((int)-got) : "value",
		    (uint64_t)want,
		    want < 0 && want > -4096 ? strerrorname_np((int)-want) : "value");
	_fail(file, line);
}
