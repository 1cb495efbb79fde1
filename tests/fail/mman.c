// SPDX-License-Identifier: MIT
/*
 * Every allocation and every host call under a guest's memory call fails once. A guest that is told
 * of an error has its maps, its rights and its bytes as before; one that is told of success has what
 * it has otherwise; and the structures are sound in both cases.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmspace/mman.h>

#include "check.h"
#include "snap.h"
#include "window.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define RW    (PROT_READ | PROT_WRITE)
#define ANON  (MAP_PRIVATE | MAP_ANONYMOUS)
#define FIXED (ANON | MAP_FIXED)
#define MAPS  8192

struct guest {
	struct window win;
	struct vms_mm *mm;
	int fd, other_fd;
	const struct scenario *scenario;
	char before_maps[MAPS], after_maps[MAPS];
	struct snap before, after; /* after: when nothing failed */
	int64_t result;		   /* then, and now */
	int64_t got;
	bool learning;
};

struct scenario {
	const char *name;
	int64_t (*run)(struct guest *g);
	bool partial; /* Linux leaves a prefix done, and so do we: only soundness is checked */
};

static uint64_t at(const struct guest *g, unsigned page)
{
	return gva(&g->win, page);
}

static uint64_t pages(const struct guest *g, unsigned n)
{
	return n * g->win.page;
}

static void maps_text(struct guest *g, char text[MAPS])
{
	uint64_t cursor = 0;
	size_t used = 0;
	ssize_t n;

	text[0] = '\0';
	while ((n = vms_mm_maps_line(g->mm, &cursor, text + used, MAPS - used)) > 0)
		used += (size_t)n;
	assert_int_equal(n, 0);
}

/* Inode numbers of shared anonymous memory are made up anew each time. */
static void without_inodes(char *text)
{
	for (char *line = text; *line; line = strchr(line, '\n') + 1) {
		char *ino = strstr(line, " 00:01 ");

		if (ino && ino < strchr(line, '\n')) {
			ino += 7;
			memmove(ino, ino + strspn(ino, "0123456789 "),
				strlen(ino + strspn(ino, "0123456789 ")) + 1);
		}
	}
}

static void ok_at(struct guest *g, int64_t got, unsigned page)
{
	assert_int_equal(got, at(g, page));
}

/* The guest's memory before each call, by page. A letter is a mapping, lower case without writes. */
static void set_up(void *arg)
{
	struct guest *g = arg;
	struct vms_mm *mm = g->mm;

	/* AAAA..bb..CCCC..DDD..EEE..F */
	ok_at(g, vms_mmap(mm, at(g, 2), pages(g, 4), RW, FIXED, -1, 0), 2);
	win_fill(&g->win, 2, 4, 1);
	ok_at(g, vms_mmap(mm, at(g, 8), pages(g, 2), PROT_READ, FIXED, -1, 0), 8);
	win_seams(&g->win, 12, 4, 2); /* the host's eyes differ from ours */
	backend_unmap(g->win.mmu, at(g, 12), pages(g, 4));
	ok_at(g, vms_mmap(mm, at(g, 12), pages(g, 4), RW, FIXED, -1, 0), 12);
	win_fill(&g->win, 12, 4, 2);
	ok_at(g, vms_mmap(mm, at(g, 18), pages(g, 3), RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED,
			  -1, 0),
	      18);
	win_fill(&g->win, 18, 3, 3);
	ok_at(g, vms_mmap(mm, at(g, 24), pages(g, 3), RW, MAP_PRIVATE | MAP_FIXED, g->fd, 0), 24);
	hva(&g->win, 24)[1] = 7;
	ok_at(g, vms_mmap(mm, at(g, 30), pages(g, 1), PROT_READ, MAP_SHARED | MAP_FIXED, g->fd, 0),
	      30);
	assert_ok(vms_mm_set_brk(mm, at(g, 40)));
	assert_int_equal(vms_brk(mm, at(g, 42)), at(g, 42));
	win_fill(&g->win, 40, 2, 4);
	maps_text(g, g->before_maps);
	g->before = snap_take(g->win.mem, WINDOW_PAGES * g->win.page);
}

static int run(void *arg)
{
	struct guest *g = arg;

	g->got = g->scenario->run(g);
	return 0;
}

static void sound(struct guest *g)
{
	int err = vms_mm_check(g->mm);

	if (err)
		print_error("%s: %s\n", g->scenario->name, vms_last_error());
	assert_ok(err);
}

static void check(void *arg, int unused, bool failed)
{
	struct guest *g = arg;
	struct snap now = snap_take(g->win.mem, WINDOW_PAGES * g->win.page);
	char maps[MAPS];

	sound(g);
	maps_text(g, maps);
	if (g->learning) {
		g->after = now;
		strcpy(g->after_maps, maps);
		without_inodes(g->after_maps);
		g->result = g->got;
		if (g->got < 0)
			print_error("%s: %s\n", g->scenario->name, strerror((int)-g->got));
		assert_true(g->got >= 0);
		snap_free(&g->before);
		return;
	}
	if (g->scenario->partial && failed) {
		snap_free(&now);
		snap_free(&g->before);
	} else if (g->got < 0 || (failed && g->got == g->result && !strcmp(maps, g->before_maps))) {
		assert_true(failed);
		if (strcmp(maps, g->before_maps) || snap_differs(&g->before, &now) >= 0)
			print_error("%s: left its trace (%s)\n", g->scenario->name,
				    strerror((int)-g->got));
		assert_string_equal(maps, g->before_maps);
		snap_assert_equal(&g->before, &now);
	} else {
		struct snap after = snap_copy(&g->after);

		assert_int_equal(g->got, g->result);
		without_inodes(maps);
		if (strcmp(maps, g->after_maps) || snap_differs(&after, &now) >= 0)
			print_error("%s: is not what it does otherwise\n", g->scenario->name);
		assert_string_equal(maps, g->after_maps);
		snap_assert_equal(&after, &now);
		snap_free(&g->before);
	}
}

static void tear_down(void *arg)
{
	struct guest *g = arg;

	assert_ok(vms_munmap(g->mm, at(g, 0), pages(g, WINDOW_PAGES)));
	sound(g);
}

/* ---- the calls ---- */

static int64_t map_new(struct guest *g)
{
	return vms_mmap(g->mm, 0, pages(g, 3), RW, ANON, -1, 0);
}

static int64_t map_joining(struct guest *g)
{
	return vms_mmap(g->mm, at(g, 6), pages(g, 2), RW, FIXED, -1, 0);
}

static int64_t map_over_many(struct guest *g)
{
	return vms_mmap(g->mm, at(g, 3), pages(g, 24), RW, FIXED, -1, 0);
}

static int64_t map_file_over(struct guest *g)
{
	return vms_mmap(g->mm, at(g, 9), pages(g, 8), RW, MAP_PRIVATE | MAP_FIXED, g->fd, 0);
}

static int64_t map_another_file(struct guest *g)
{
	return vms_mmap(g->mm, at(g, 50), pages(g, 1), RW, MAP_SHARED | MAP_FIXED, g->other_fd, 0);
}

static int64_t map_shared(struct guest *g)
{
	return vms_mmap(g->mm, at(g, 50), pages(g, 2), RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED,
			-1, 0);
}

static int64_t unmap_middle(struct guest *g)
{
	return vms_munmap(g->mm, at(g, 3), pages(g, 1));
}

static int64_t unmap_many(struct guest *g)
{
	return vms_munmap(g->mm, at(g, 3), pages(g, 22));
}

static int64_t protect_middle(struct guest *g)
{
	return vms_mprotect(g->mm, at(g, 3), pages(g, 2), PROT_READ);
}

static int64_t protect_joining(struct guest *g)
{
	return vms_mprotect(g->mm, at(g, 8), pages(g, 2), RW);
}

static int64_t grow_in_place(struct guest *g)
{
	return vms_mremap(g->mm, at(g, 12), pages(g, 4), pages(g, 5), 0, 0);
}

static int64_t grow_shared_in_place(struct guest *g)
{
	return vms_mremap(g->mm, at(g, 18), pages(g, 3), pages(g, 4), 0, 0);
}

static int64_t grow_moving(struct guest *g)
{
	return vms_mremap(g->mm, at(g, 12), pages(g, 4), pages(g, 9), MREMAP_MAYMOVE, 0);
}

static int64_t grow_file_moving(struct guest *g)
{
	return vms_mremap(g->mm, at(g, 24), pages(g, 3), pages(g, 9), MREMAP_MAYMOVE, 0);
}

static int64_t move_over(struct guest *g)
{
	return vms_mremap(g->mm, at(g, 12), pages(g, 4), pages(g, 4),
			  MREMAP_MAYMOVE | MREMAP_FIXED, at(g, 17));
}

static int64_t move_over_shrinking(struct guest *g)
{
	return vms_mremap(g->mm, at(g, 12), pages(g, 4), pages(g, 2),
			  MREMAP_MAYMOVE | MREMAP_FIXED, at(g, 17));
}

static int64_t move_many(struct guest *g)
{
	return vms_mremap(g->mm, at(g, 2), pages(g, 16), pages(g, 16),
			  MREMAP_MAYMOVE | MREMAP_FIXED, at(g, 44));
}

static int64_t move_leaving(struct guest *g)
{
	return vms_mremap(g->mm, at(g, 12), pages(g, 4), pages(g, 4),
			  MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0);
}

static int64_t shrink(struct guest *g)
{
	return vms_mremap(g->mm, at(g, 12), pages(g, 4), pages(g, 1), 0, 0);
}

static int64_t duplicate(struct guest *g)
{
	return vms_mremap(g->mm, at(g, 18), 0, pages(g, 3), MREMAP_MAYMOVE, 0);
}

static int64_t brk_up(struct guest *g)
{
	/* Linux answers with the break as it stands: that is the failure. */
	int64_t r = vms_brk(g->mm, at(g, 44));

	return r == (int64_t)at(g, 44) ? r : -ENOMEM;
}

static int64_t brk_down(struct guest *g)
{
	int64_t r = vms_brk(g->mm, at(g, 41));

	return r == (int64_t)at(g, 41) ? r : -ENOMEM;
}

static int64_t dontneed(struct guest *g)
{
	return vms_madvise(g->mm, at(g, 3), pages(g, 2), MADV_DONTNEED);
}

static int64_t dontfork(struct guest *g)
{
	return vms_madvise(g->mm, at(g, 3), pages(g, 2), MADV_DONTFORK);
}

static int64_t guard(struct guest *g)
{
	return vms_madvise(g->mm, at(g, 3), pages(g, 1), MADV_GUARD_INSTALL);
}

static int64_t lock(struct guest *g)
{
	return vms_mlock(g->mm, at(g, 3), pages(g, 2));
}

static int64_t lock_all(struct guest *g)
{
	return vms_mlockall(g->mm, MCL_CURRENT);
}

static int64_t name_holes(struct guest *g)
{
	return vms_madvise(g->mm, at(g, 2), pages(g, 4), MADV_DONTDUMP);
}

static const struct scenario scenarios[] = {
#define S(fn)	      { #fn, fn, false }
#define S_PARTIAL(fn) { #fn, fn, true }
	S(map_new),
	S(map_joining),
	S(map_over_many),
	S(map_file_over),
	S(map_another_file),
	S(map_shared),
	S(unmap_middle),
	S(unmap_many),
	S(protect_middle),
	S(protect_joining),
	S(grow_in_place),
	S(grow_shared_in_place),
	S(grow_moving),
	S(grow_file_moving),
	S(move_over),
	S_PARTIAL(move_over_shrinking),
	S_PARTIAL(move_many),
	S(move_leaving),
	S(shrink),
	S(duplicate),
	S(brk_up),
	S(brk_down),
	S(dontneed),
	S(dontfork),
	S(guard),
	S_PARTIAL(lock),
	S_PARTIAL(lock_all),
	S(name_holes),
};

#define N_SCENARIOS (sizeof(scenarios) / sizeof(scenarios[0]))

static void all_calls(void **state)
{
	const struct variant *v = *state;
	struct guest *g = calloc(1, sizeof(*g));
	struct vms_mm_policy policy;

	assert_non_null(g);
	window_open(&g->win, v);
	g->fd = file_make(g->win.page + g->win.host_page / 2);
	g->other_fd = file_make(g->win.page);
	assert_ok(vms_mm_policy_host(&policy));
	policy.flags = VMS_MM_CAP_IPC_LOCK | VMS_MM_OVERCOMMIT;
	policy.page_size = g->win.page;
	policy.min_addr = at(g, 0);
	policy.hint_min = at(g, 0);
	policy.task_size = policy.mmap_base = at(g, WINDOW_PAGES);
	policy.huge_size = 0;
	policy.stack_gap = g->win.page;
	for (int i = 0; i < VMS_MM_LIMITS; i++)
		policy.limit[i] =
			(struct vms_mm_limit){ VMS_LIMIT_INFINITY, VMS_LIMIT_INFINITY };
	assert_ok(vms_mm_create(&policy, g->win.mmu, &g->mm));
	for (unsigned i = 0; i < N_SCENARIOS; i++) {
		struct sweep sw = { .world = &g->win.world,
				    .set_up = set_up,
				    .run = run,
				    .check = check,
				    .tear_down = tear_down,
				    .arg = g,
				    /* Without its path or type a file is shown with less. */
				    .mask = EVERY_CALL & ~(1u << CALL_FD_PATH) &
					    ~(1u << CALL_FS_TYPE) };

		g->scenario = &scenarios[i];
		g->learning = true;
		set_up(g);
		run(g);
		check(g, 0, false);
		tear_down(g);
		g->learning = false;
		sweep(&sw);
		snap_free(&g->after);
	}
	vms_mm_destroy(g->mm);
	close(g->fd);
	close(g->other_fd);
	window_close(&g->win);
	free(g);
}

int main(void)
{
	struct CMUnitTest all[16];
	size_t n = 0;

	for (unsigned i = 0; i < n_variants; i++) {
		if (variants[i].no_dontunmap)
			continue;
		all[n++] = (struct CMUnitTest){ .name = variants[i].name,
						.test_func = all_calls,
						.initial_state = (void *)(uintptr_t)&variants[i] };
	}
	return _cmocka_run_group_tests("fail-mman", all, n, NULL, NULL);
}
