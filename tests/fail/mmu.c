// SPDX-License-Identifier: MIT
/*
 * Every host call of every backend operation fails once: the window must be as before, rights and
 * bytes, or the operation must have succeeded all the same. Nothing may stay outside the window.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "snap.h"
#include "window.h"

#define RW  (VMS_PROT_READ | VMS_PROT_WRITE)
#define NEW BACKEND_NOREPLACE

/*
 * What every scenario starts from, by page:
 *	4-8	seams, private anonymous		20-24	seams again
 *	10-11	shared anonymous, 12-13 private		26	read only
 *	14-17	a private file, and its end		30-32	the same file, shared
 *	58-59	private, moved here		34-35	the same file up to its tail
 */
struct stage {
	struct window win;
	const struct variant *variant;
	const char *name; /* of the scenario */
	int (*run)(struct window *w, int fd);
	int fd;
	struct snap before, after; /* after: of the run in which nothing failed */
	int64_t grown;		   /* mapped pages during the run */
	int result;		   /* of that run */
	bool learning;
};

static void set_up(void *arg)
{
	struct stage *s = arg;
	struct window *w = &s->win;

	win_seams(w, 4, 5, 1);
	assert_ok(win_map(w, 10, 2, RW, NEW | BACKEND_SHARED, -1, 0));
	assert_ok(win_map(w, 12, 2, RW, NEW, -1, 0));
	win_fill(w, 10, 4, 2);
	assert_ok(win_map(w, 14, 4, RW, NEW, s->fd, 0));
	hva(w, 14)[1] = 1;
	win_seams(w, 20, 5, 3);
	assert_ok(win_map(w, 26, 1, VMS_PROT_READ, NEW, -1, 0));
	assert_ok(win_map(w, 30, 3, VMS_PROT_READ, NEW | BACKEND_SHARED, s->fd, w->page));
	assert_ok(win_map(w, 34, 2, RW, NEW, s->fd, 0));
	hva(w, 36)[-1] = 1;
	assert_ok(win_anon(w, 46, 2));
	win_fill(w, 46, 2, 4);
	assert_ok(win_move(w, 46, 2, 58, 2, NEW));
	s->before = snap_take(w->mem, WINDOW_PAGES * w->page);
}

static int run(void *arg)
{
	struct stage *s = arg;

	int64_t pages = mapped_pages();
	int result = s->run(&s->win, s->fd);

	s->grown = mapped_pages() - pages;
	return result;
}

static void check(void *arg, int result, bool failed)
{
	struct stage *s = arg;
	struct window *w = &s->win;
	struct snap now = snap_take(w->mem, WINDOW_PAGES * w->page);

	if (s->learning) {
		assert_false(failed);
		s->after = now;
		s->result = result;
		snap_free(&s->before);
		return;
	}
	if (result < 0 && failed) {
		if (snap_differs(&s->before, &now) >= 0)
			print_error("%s: left its trace\n", s->name);
		snap_assert_equal(&s->before, &now);
		/* Staging that was borrowed is given back, and the window is what it was. */
		if (s->grown)
			print_error("%s: left memory outside\n", s->name);
		assert_int_equal(s->grown, 0);
	} else { /* untouched, or the failure was a benign one */
		struct snap after = snap_copy(&s->after);

		assert_int_equal(result, s->result);
		if (snap_differs(&after, &now) >= 0)
			print_error("%s: is not what it does otherwise\n", s->name);
		snap_assert_equal(&after, &now);
		snap_free(&s->before);
	}
	/* It still works. */
	assert_ok(win_map(w, 40, 2, RW, NEW, -1, 0));
	win_fill(w, 40, 2, 9);
	assert_ok(win_move(w, 40, 2, 44, 2, NEW));
	win_check_moved(w, 44, 2, 9, 40);
}

static void tear_down(void *arg)
{
	struct stage *s = arg;

	assert_ok(win_unmap(&s->win, 0, WINDOW_PAGES));
}

static void sweep_all(struct stage *s)
{
	/* Not EFAULT: from mremap it does not say failed, it says several regions. */
	static const int errors[3] = { ENOMEM, EAGAIN, EINVAL };
	struct sweep sw = { .world = &s->win.world,
			    .set_up = set_up,
			    .run = run,
			    .check = check,
			    .tear_down = tear_down,
			    .arg = s };

	/* Which error it is matters alike in all variants: in most of them one suffices. */
	unsigned n_errors =
		s->win.variant->scale == 1 && !s->win.variant->one_region_mremap ? 3 : 1;

	/* Warm, and learn what success looks like. */
	set_up(s);
	s->learning = true;
	check(s, run(s), false);
	s->learning = false;
	tear_down(s);
	for (unsigned i = 0; i < n_errors; i++) {
		sw.err = errors[i];
		assert_true(sweep(&sw) > 0);
	}
	snap_free(&s->after);
}

static int map_anon_over(struct window *w, int fd)
{
	return win_map(w, 3, 20, RW, 0, -1, 0);
}

static int map_anon_new(struct window *w, int fd)
{
	return win_map(w, 50, 4, RW, NEW, -1, 0);
}

static int map_file_over(struct window *w, int fd)
{
	return win_map(w, 5, 12, RW, 0, fd, 0);
}

static int map_file_new(struct window *w, int fd)
{
	return win_map(w, 50, 4, RW, NEW, fd, 0);
}

static int map_shared_file_over(struct window *w, int fd)
{
	return win_map(w, 5, 12, RW, BACKEND_SHARED, fd, w->page);
}

static int unmap(struct window *w, int fd)
{
	return win_unmap(w, 5, 17);
}

static int protect(struct window *w, int fd)
{
	return win_protect(w, 20, 5, VMS_PROT_READ);
}

/*
 * Where it cuts two regions the host may have changed the first when it refuses to cut the second:
 * then the space asks for the old rights, and that needs no more regions.
 */
static int protect_two(struct window *w, int fd)
{
	int err = win_protect(w, 11, 2, VMS_PROT_READ);

	if (err) {
		assert_ok(win_protect(w, 11, 1, RW));
		assert_ok(win_protect(w, 12, 1, RW));
	}
	return err;
}

static int move_into_hole(struct window *w, int fd)
{
	return win_move(w, 4, 5, 50, 5, NEW);
}

static int move_over(struct window *w, int fd)
{
	return win_move(w, 4, 5, 21, 5, 0);
}

static int move_over_growing(struct window *w, int fd)
{
	return win_move(w, 4, 5, 20, 8, 0);
}

static int move_growing(struct window *w, int fd)
{
	return win_move(w, 4, 5, 50, 8, NEW);
}

static int move_one_region_growing(struct window *w, int fd)
{
	return win_move(w, 10, 2, 50, 3, NEW);
}

static int move_shrinking(struct window *w, int fd)
{
	return win_move(w, 4, 5, 22, 3, 0);
}

static int move_file_over(struct window *w, int fd)
{
	return win_move(w, 14, 4, 8, 4, 0);
}

static int move_file_growing(struct window *w, int fd)
{
	return win_move(w, 34, 2, 50, 4, NEW);
}

static int grow_in_place(struct window *w, int fd)
{
	return win_move(w, 20, 5, 20, 6, 0);
}

/* As the space grows ordinary memory. */
static int grow_by_map(struct window *w, int fd)
{
	return win_map(w, 25, 1, RW, NEW | BACKEND_GROWTH, -1, 0);
}

/* The host makes it two regions, so it is refused even when nothing fails. */
static int grow_moved_by_map(struct window *w, int fd)
{
	return win_map(w, 60, 2, RW, NEW | BACKEND_GROWTH, -1, 0);
}

static int grow_shared_in_place(struct window *w, int fd)
{
	return win_move(w, 10, 2, 10, 4, 0);
}

static int grow_file_in_place(struct window *w, int fd)
{
	return win_move(w, 34, 2, 34, 5, 0); /* it ends in its tail */
}

static int shrink_in_place(struct window *w, int fd)
{
	return win_move(w, 4, 5, 4, 2, 0);
}

static int duplicate(struct window *w, int fd)
{
	return win_move(w, 10, 0, 22, 3, 0);
}

static int duplicate_into_hole(struct window *w, int fd)
{
	return win_move(w, 10, 0, 50, 3, NEW);
}

static const struct {
	const char *name;
	int (*run)(struct window *w, int fd);
} scenarios[] = {
#define S(fn)           \
	{               \
#fn, fn \
	}
	S(map_anon_over),
	S(map_anon_new),
	S(map_file_over),
	S(map_file_new),
	S(map_shared_file_over),
	S(unmap),
	S(protect),
	S(protect_two),
	S(move_into_hole),
	S(move_over),
	S(move_over_growing),
	S(move_growing),
	S(move_one_region_growing),
	S(move_shrinking),
	S(move_file_over),
	S(move_file_growing),
	S(grow_in_place),
	S(grow_by_map),
	S(grow_moved_by_map),
	S(grow_shared_in_place),
	S(grow_file_in_place),
	S(shrink_in_place),
	S(duplicate),
	S(duplicate_into_hole),
};

#define N_SCENARIOS (sizeof(scenarios) / sizeof(scenarios[0]))

static void all_scenarios(void **state)
{
	struct stage *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->variant = *state;
	window_open(&s->win, s->variant);
	s->fd = file_make(s->win.page + s->win.host_page / 2);
	for (unsigned i = 0; i < N_SCENARIOS; i++) {
		s->run = scenarios[i].run;
		s->name = scenarios[i].name;
		sweep_all(s);
	}
	close(s->fd);
	window_close(&s->win);
	free(s);
}

/* ---- the kernel's own refusals: at the limit of regions ---- */

/*
 * Memory that is as many regions as we like: every other page of it is readable. The bulk stays,
 * the top comes and goes.
 */
static char *filler;
static unsigned filled; /* steps, of two regions each */

static int fill_step(struct window *w, unsigned i, int prot)
{
	return mprotect(filler + (2 * i + 1) * w->host_page, w->host_page, prot);
}

static void fill_to(struct window *w, unsigned steps)
{
	for (; filled < steps && fill_step(w, filled, PROT_READ) == 0; filled++)
		;
	for (; filled > steps; filled--)
		assert_ok(fill_step(w, filled - 1, PROT_NONE));
}

static void at_the_limit(void **state)
{
	struct stage *s = calloc(1, sizeof(*s));
	unsigned limit = 0, bulk, refused = 0;
	FILE *f = fopen("/proc/sys/vm/max_map_count", "re");

	assert_true(s && f && fscanf(f, "%u", &limit) == 1);
	fclose(f);
	if (limit > 100000) {
		print_message("vm.max_map_count is %u: too many to fill\n", limit);
		free(s);
		skip();
	}
	/* Above the window, so that reading its part of the maps stays quick. */
	filler = mmap(NULL, (limit + 2) * (size_t)sysconf(_SC_PAGESIZE), PROT_NONE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(filler, MAP_FAILED);
	s->variant = *state;
	window_open(&s->win, s->variant);
	assert_true(filler > s->win.mem);
	s->fd = file_make(s->win.page + s->win.host_page / 2);
	bulk = limit / 2 - 100;
	fill_to(&s->win, bulk);
	for (unsigned i = 0; i < N_SCENARIOS; i++) {
		s->run = scenarios[i].run;
		s->name = scenarios[i].name;
		set_up(s);
		s->learning = true;
		check(s, run(s), false);
		s->learning = false;
		tear_down(s);
		for (unsigned slack = 0; slack < 12; slack++) {
			char *odd = NULL;
			int result;

			set_up(s);
			fill_to(&s->win, limit);
			fill_to(&s->win, filled - slack / 2);
			if (slack % 2) /* one region less to be had */
				odd = mmap(filler + 2 * limit * s->win.host_page, s->win.host_page,
					   PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			result = run(s);
			fill_to(&s->win, bulk);
			if (odd && odd != MAP_FAILED)
				munmap(odd, s->win.host_page);
			refused += result < 0;
			check(s, result, result < 0);
			tear_down(s);
		}
		snap_free(&s->after);
	}
	print_message("%u refusals\n", refused);
	assert_true(refused > 0);
	fill_to(&s->win, 0);
	munmap(filler, (limit + 2) * s->win.host_page);
	close(s->fd);
	window_close(&s->win);
	free(s);
}

/* A backend whose creation fails leaves nothing. */
static void create_set_up(void *arg)
{
}

static int create_run(void *arg)
{
	struct vms_mmu_host_params p = { .size = sizeof(p), .lo = 0x10000, .hi = 0x200000 };

	return vms_mmu_host(&p, arg);
}

static void create_check(void *arg, int result, bool failed)
{
	struct vms_mmu **mmu = arg;

	if (result == 0) { /* not to know guard markers is no failure */
		vms_mmu_unref(*mmu);
		*mmu = NULL;
	} else {
		assert_true(failed);
		assert_int_equal(result, -ENOMEM);
		assert_null(*mmu);
	}
}

static void creation(void **state)
{
	struct test_world tw;
	struct vms_mmu *mmu = NULL;
	struct sweep s = { .world = &tw,
			   .set_up = create_set_up,
			   .run = create_run,
			   .check = create_check,
			   .tear_down = create_set_up,
			   .arg = &mmu };

	test_world_begin(&tw);
	assert_int_equal(sweep(&s), 3); /* alloc, mmap, madvise */
	test_world_end(&tw);
}

/* usage: fail-mmu [limit]: injected failures, or those of the kernel at its limit of regions. */
int main(int argc, char **argv)
{
	bool limit = argc > 1 && !strcmp(argv[1], "limit");
	struct CMUnitTest all[16] = { cmocka_unit_test(creation) };
	size_t n = 1;

	for (unsigned i = 0; i < n_variants; i++) {
		if (limit && variants[i].one_region_mremap)
			continue; /* it reads all the regions each time */
		all[n++] = (struct CMUnitTest){ .name = variants[i].name,
						.test_func = limit ? at_the_limit : all_scenarios,
						.initial_state = (void *)(uintptr_t)&variants[i] };
	}
	return _cmocka_run_group_tests("fail-mmu", all, n, NULL, NULL);
}
