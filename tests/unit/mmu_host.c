// SPDX-License-Identifier: MIT
/*
 * The host backend, in every variant of its window: what the memory of this process is after each
 * call. Pictures: a letter is a guest page, '.' a hole.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "snap.h"
#include "window.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE  103
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define RW  (VMS_PROT_READ | VMS_PROT_WRITE)
#define NEW BACKEND_NOREPLACE

static int open_window(void **state)
{
	struct window *w = calloc(1, sizeof(*w));

	window_open(w, *state);
	*state = w;
	return 0;
}

static int close_window(void **state)
{
	struct window *w = *state;

	window_close(w);
	free(w);
	return 0;
}

/* ........  →  .AAA....  →  .A.A.... */
static void map_and_unmap(void **state)
{
	struct window *w = *state;

	win_check_hole(w, 0, WINDOW_PAGES);
	assert_ok(win_map(w, 1, 3, RW, NEW, -1, 0));
	win_check_zero(w, 1, 3);
	win_fill(w, 1, 3, 1);
	assert_ok(win_unmap(w, 2, 1));
	win_check(w, 1, 1, 1);
	win_check_hole(w, 2, 1);
	win_check(w, 3, 1, 1);
	assert_ok(win_unmap(w, 0, 8));
	win_check_hole(w, 0, WINDOW_PAGES);
	/* Holes join again: one reservation, or nothing. */
	assert_int_equal(host_regions(w->mem, WINDOW_PAGES * w->page),
			 w->variant->real_holes ? 0 : 1);
}

static void map_gives_the_rights(void **state)
{
	static const struct {
		uint32_t prot;
		const char *shown;
	} t[] = { { VMS_PROT_NONE, "---p" },
		  { VMS_PROT_READ, "r--p" },
		  { RW, "rw-p" },
		  { VMS_PROT_READ | VMS_PROT_EXEC, "r-xp" } };
	struct window *w = *state;

	for (unsigned i = 0; i < 4; i++) {
		assert_ok(win_map(w, i, 1, t[i].prot, NEW, -1, 0));
		assert_string_equal(host_rights(hva(w, i)), t[i].shown);
	}
	for (unsigned i = 0; i < 4; i++) {
		assert_ok(win_protect(w, 0, 4, t[i].prot));
		for (unsigned k = 0; k < 4; k++)
			assert_string_equal(host_rights(hva(w, k)), t[i].shown);
	}
}

/* AAAA  →  ABBA, and B is new */
static void map_replaces(void **state)
{
	struct window *w = *state;

	assert_ok(win_anon(w, 0, 4));
	win_fill(w, 0, 4, 1);
	assert_ok(win_anon(w, 1, 2));
	win_check(w, 0, 1, 1);
	win_check_zero(w, 1, 2);
	win_check(w, 3, 1, 1);
}

static void new_map_never_replaces(void **state)
{
	struct window *w = *state;
	char *p;

	p = mmap(hva(w, 3), w->host_page, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	assert_ptr_equal(p, hva(w, 3));
	*p = 77;
	for (int old_kernel = 0; old_kernel < 2; old_kernel++) {
		w->world.no_noreplace = old_kernel;
		assert_int_equal(win_map(w, 2, 3, RW, NEW, -1, 0), -EEXIST);
		assert_int_equal(*p, 77);
		win_check_hole(w, 2, 1);
		assert_ok(win_map(w, 8, 1, RW, NEW, -1, 0));
		win_fill(w, 8, 1, 1);
		assert_int_equal(win_move(w, 8, 1, 3, 1, NEW), -EEXIST);
		assert_int_equal(*p, 77);
		win_check(w, 8, 1, 1);
		assert_ok(win_unmap(w, 8, 1));
	}
}

static void files(void **state)
{
	struct window *w = *state;
	int fd = file_make(4 * w->page);
	unsigned char got;

	assert_ok(win_map(w, 0, 3, RW, NEW, fd, w->page));
	assert_ok(win_map(w, 4, 3, RW, BACKEND_SHARED, fd, w->page));
	for (uint64_t i = 0; i < 3 * w->page; i += 97) {
		assert_int_equal((unsigned char)hva(w, 0)[i], file_byte(w->page + i));
		assert_int_equal((unsigned char)hva(w, 4)[i], file_byte(w->page + i));
	}
	hva(w, 0)[5] = 1; /* a private copy */
	hva(w, 4)[6] = 2; /* the file itself */
	assert_int_equal(pread(fd, &got, 1, (off_t)w->page + 5), 1);
	assert_int_equal(got, file_byte(w->page + 5));
	assert_int_equal(pread(fd, &got, 1, (off_t)w->page + 6), 1);
	assert_int_equal(got, 2);
	assert_ok(backend_sync(w->mmu, gva(w, 4), w->page, MS_SYNC));
	/* The last guest page of this one is beyond the end. */
	assert_ok(win_map(w, 8, 2, RW, 0, fd, 3 * w->page));
	assert_int_equal(touch_read(hva(w, 8)), 0);
	assert_int_equal(touch_read(hva(w, 9)), SIGBUS);
	close(fd);
}

static void refused_file_changes_nothing(void **state)
{
	struct window *w = *state;
	int fds[2];

	assert_ok(pipe(fds));
	assert_ok(win_anon(w, 0, 3));
	win_fill(w, 0, 3, 1);
	assert_int_equal(win_map(w, 0, 3, RW, 0, fds[0], 0), -ENODEV);
	assert_int_equal(win_map(w, 4, 3, RW, NEW, fds[0], 0), -ENODEV);
	win_check(w, 0, 3, 1);
	win_check_hole(w, 4, 3);
	close(fds[0]);
	close(fds[1]);
}

/* AAA  →  AAA..AAAA, one memory */
static void shared_anonymous_memory_duplicates(void **state)
{
	struct window *w = *state;

	assert_ok(win_map(w, 0, 3, RW, BACKEND_SHARED, -1, 0));
	win_fill(w, 0, 3, 1);
	assert_ok(win_move(w, 0, 0, 5, 4, 0));
	win_check_moved(w, 5, 3, 1, 0);
	assert_int_equal(touch_read(hva(w, 8)), SIGBUS); /* beyond its size */
	hva(w, 5)[9] = 42;
	assert_int_equal(hva(w, 0)[9], 42);
	/* Private memory has no second mapping. */
	assert_ok(win_anon(w, 10, 1));
	assert_int_equal(win_move(w, 10, 0, 12, 1, NEW), -EINVAL);
	win_check_hole(w, 12, 1);
}

/* AAAB....CC  with A to where C is, in every size */
static void moves(void **state)
{
	struct window *w = *state;

	for (unsigned new_n = 1; new_n <= 5; new_n++) {
		for (int into_hole = 0; into_hole < 2; into_hole++) {
			assert_ok(win_anon(w, 0, 3));
			win_fill(w, 0, 3, 1);
			assert_ok(win_map(w, 3, 1, VMS_PROT_READ, 0, -1, 0));
			if (!into_hole) {
				assert_ok(win_anon(w, 8, 2));
				win_fill(w, 8, 2, 2);
			}
			assert_ok(win_move(w, 0, 3, 8, new_n, into_hole ? NEW : 0));
			win_check_moved(w, 8, new_n < 3 ? new_n : 3, 1, 0);
			if (new_n > 3)
				win_check_zero(w, 11, new_n - 3);
			if (new_n == 1 && !into_hole)
				win_check(w, 9, 1, 2); /* outside the destination */
			win_check_hole(w, 0, 3);
			assert_string_equal(host_rights(hva(w, 3)), "r--p");
			assert_ok(win_unmap(w, 0, 16));
		}
	}
	assert_ok(win_anon(w, 0, 3));
	assert_int_equal(win_move(w, 0, 3, 2, 3, 0), -EINVAL);
	assert_int_equal(win_move(w, 2, 1, 1, 3, 0), -EINVAL);
}

/* AAA...  →  AAAAA.  →  A.....  */
static void resizes_in_place(void **state)
{
	struct window *w = *state;
	int fd = file_make(8 * w->page);

	assert_ok(win_anon(w, 1, 3));
	win_fill(w, 1, 3, 1);
	assert_ok(win_move(w, 1, 3, 1, 5, 0));
	win_check(w, 1, 3, 1);
	win_check_zero(w, 4, 2);
	assert_ok(win_move(w, 1, 5, 1, 1, 0));
	win_check(w, 1, 1, 1);
	win_check_hole(w, 2, 5);
	assert_ok(win_move(w, 1, 1, 1, 1, 0));
	win_check(w, 1, 1, 1);

	for (unsigned shared = 0; shared < 2; shared++) {
		assert_ok(win_map(w, 8, 1, RW, shared ? BACKEND_SHARED : 0, fd, w->page));
		assert_ok(win_move(w, 8, 1, 8, 3, 0));
		for (uint64_t i = 0; i < 3 * w->page; i += 97)
			assert_int_equal((unsigned char)hva(w, 8)[i], file_byte(w->page + i));
		win_check_hole(w, 11, 1);
		assert_ok(win_unmap(w, 8, 3));
	}
	close(fd);
}

static void move_leaving_the_source(void **state)
{
	struct window *w = *state;

	assert_ok(win_anon(w, 0, 2));
	win_fill(w, 0, 2, 1);
	assert_ok(win_move(w, 0, 2, 4, 2, MREMAP_DONTUNMAP | NEW));
	win_check_moved(w, 4, 2, 1, 0);
	win_check_zero(w, 0, 2);
	assert_int_equal(touch_write(hva(w, 0)), 0);
	assert_int_equal(win_move(w, 0, 2, 8, 3, MREMAP_DONTUNMAP), -EINVAL);
	/* Several regions. */
	win_seams(w, 10, 4, 3);
	assert_ok(win_move(w, 10, 4, 20, 4, MREMAP_DONTUNMAP));
	win_check_moved(w, 20, 4, 3, 10);
	win_check_zero(w, 10, 4);
}

/* What the host has split finer moves, grows, and shrinks as one. */
static void moves_over_seams(void **state)
{
	struct window *w = *state;

	for (unsigned n = 3; n <= 9; n += 2) {
		for (unsigned new_n = 1; new_n <= n + 2; new_n++) {
			for (int into_hole = 0; into_hole < 2; into_hole++) {
				win_seams(w, 1, n, 1);
				if (!into_hole) /* .BBBB.B */
					win_seams(w, 20, 4, 2);
				if (!into_hole && n > 6)
					assert_ok(win_anon(w, 25, 1));
				assert_ok(win_move(w, 1, n, 20, new_n, into_hole ? NEW : 0));
				win_check_moved(w, 20, new_n < n ? new_n : n, 1, 1);
				if (new_n > n)
					win_check_zero(w, 20 + n, new_n - n);
				win_check_hole(w, 1, n);
				assert_ok(win_unmap(w, 0, 40));
			}
		}
		win_seams(w, 1, n, 1);
		assert_ok(win_move(w, 1, n, 1, n + 3, 0));
		win_check(w, 1, n, 1);
		win_check_zero(w, 1 + n, 3);
		assert_ok(win_unmap(w, 0, 40));
	}
}

/*
 * On the kernels that we know no new memory joins what a child inherited, so growth is refused. If
 * the backend did not know that it was forked, there would be two regions.
 */
static void growth_in_a_child(void **state)
{
	struct window *w = *state;
	int status;
	pid_t pid;

	assert_ok(win_anon(w, 2, 1));
	win_fill(w, 2, 1, 1);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int err;

		w->mmu->ops->forked(w->mmu);
		err = win_map(w, 3, 1, RW, NEW | BACKEND_GROWTH, -1, 0);
		_exit(err == -EFAULT || (err == 0 && host_regions(hva(w, 2), 2 * w->page) == 1)
			      ? 0
			      : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* AAA..  →  AAAaa: by a map of the new part, which becomes one region with A, or is refused. */
static void growth_by_map(void **state)
{
	struct window *w = *state;

	assert_ok(win_anon(w, 2, 3));
	win_fill(w, 2, 3, 1);
	assert_ok(win_map(w, 5, 2, RW, NEW | BACKEND_GROWTH, -1, 0));
	win_check(w, 2, 3, 1);
	win_check_zero(w, 5, 2);
	assert_int_equal(host_regions(hva(w, 2), 5 * w->page), 1);
	/* What was moved is numbered as where it was, so that nothing new continues it. */
	assert_ok(win_move(w, 2, 3, 20, 3, NEW));
	assert_int_equal(win_map(w, 23, 2, RW, NEW | BACKEND_GROWTH, -1, 0), -EFAULT);
	win_check_moved(w, 20, 3, 1, 2);
	win_check_hole(w, 23, 2);
	assert_ok(win_move(w, 20, 3, 20, 5, 0));
	win_check_moved(w, 20, 3, 1, 2);
	win_check_zero(w, 23, 2);
	assert_int_equal(host_regions(hva(w, 20), 5 * w->page), 1);
	/* What was not moved grows as before. */
	assert_ok(win_anon(w, 40, 1));
	win_fill(w, 40, 1, 2);
	assert_ok(win_map(w, 41, 1, RW, NEW | BACKEND_GROWTH, -1, 0));
	win_check(w, 40, 1, 2);
	assert_int_equal(host_regions(hva(w, 40), 2 * w->page), 1);
}

static void growth_is_told(void **state)
{
	struct window *w = *state;
	uint64_t floor = gva(w, 0);

	if (!(w->mmu->ops->caps & BACKEND_GROWS)) {
		assert_true(!w->variant->real_holes || w->variant->scale > 1);
		assert_ok(win_map(w, 60, 2, RW, NEW | BACKEND_GROWSDOWN, -1, 0));
		assert_int_equal(backend_grown(w->mmu, gva(w, 60), floor), gva(w, 60));
		return;
	}
	assert_ok(win_map(w, 60, 2, RW, NEW | BACKEND_GROWSDOWN, -1, 0));
	assert_int_equal(backend_grown(w->mmu, gva(w, 60), floor), gva(w, 60));
	for (unsigned page = 59; page > 0; page -= page > 50 ? 1 : 7) {
		if (page < 7)
			break;
		hva(w, page)[3] = 1;
		assert_int_equal(backend_grown(w->mmu, gva(w, 60), floor), gva(w, page));
		assert_int_equal(backend_grown(w->mmu, gva(w, 60), gva(w, page)), gva(w, page));
	}
	hva(w, 0)[3] = 1;
	assert_int_equal(backend_grown(w->mmu, gva(w, 60), floor), floor);
}

/* Does the host's region of pages [8, 12) end at `page`? Was it asked? */
static bool seam_at(struct window *w, unsigned page, bool *asked)
{
	uint64_t before = w->world.calls[CALL_REGION], end = 0;
	bool seam = backend_seam(w->mmu, gva(w, page), &end);

	*asked = w->world.calls[CALL_REGION] != before;
	assert_true(seam || end == 0 || end > gva(w, page));
	return seam;
}

static int grow_8_to_12(struct window *w)
{
	win_unmap(w, 8, 4);
	assert_ok(win_anon(w, 8, 2));
	return win_move(w, 8, 2, 8, 4, 0);
}

/* Where a region grew in its place there is no seam, until something else is changed. */
static void growth_answers_for_seams(void **state)
{
	struct window *w = *state;
	bool asked;

	if (!(w->mmu->ops->caps & BACKEND_SEAMS))
		return;
	assert_ok(win_anon(w, 20, 1));
	if (!seam_at(w, 20, &asked)) {
		print_message("the kernel is older than 6.11\n");
		skip();
	}
	assert_true(asked);
	assert_ok(grow_8_to_12(w));
	assert_false(seam_at(w, 10, &asked));
	assert_false(asked);
	assert_true(seam_at(w, 8, &asked)); /* where it begins is another question */
	assert_true(asked);

	assert_ok(win_protect(w, 10, 1, VMS_PROT_READ));
	assert_true(seam_at(w, 10, &asked));
	assert_ok(grow_8_to_12(w));
	assert_ok(backend_advise(w->mmu, gva(w, 10), w->page, MADV_DONTFORK));
	assert_true(seam_at(w, 10, &asked));
	assert_ok(grow_8_to_12(w));
	assert_ok(backend_lock(w->mmu, gva(w, 10), w->page, 2));
	assert_true(seam_at(w, 10, &asked));
	assert_ok(grow_8_to_12(w));
	assert_ok(win_map(w, 10, 1, VMS_PROT_READ, 0, -1, 0));
	assert_true(seam_at(w, 10, &asked));
	assert_ok(grow_8_to_12(w));
	assert_ok(win_move(w, 20, 1, 10, 1, 0));
	assert_ok(win_protect(w, 10, 1, VMS_PROT_READ));
	assert_true(seam_at(w, 10, &asked));
	assert_ok(grow_8_to_12(w));
	assert_ok(win_unmap(w, 9, 1));
	assert_true(seam_at(w, 10, &asked));
	/* A growth that was refused says nothing. */
	assert_ok(win_anon(w, 9, 1));
	assert_ok(win_protect(w, 10, 1, VMS_PROT_READ));
	assert_true(win_move(w, 8, 2, 8, 4, 0) < 0);
	assert_true(seam_at(w, 10, &asked));
}

static void advice_locks_and_residency(void **state)
{
	struct window *w = *state;
	unsigned char vec[4];

	assert_ok(win_anon(w, 0, 4));
	assert_ok(backend_residency(w->mmu, gva(w, 0), 4 * w->page, vec));
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(vec[i] & 1, 0);
	hva(w, 1)[w->page - 1] = 1; /* its last host page makes a guest page resident */
	hva(w, 3)[0] = 1;
	assert_ok(backend_residency(w->mmu, gva(w, 0), 4 * w->page, vec));
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(vec[i] & 1, i & 1);
	assert_ok(backend_advise(w->mmu, gva(w, 1), w->page, MADV_DONTNEED));
	win_check_zero(w, 1, 1);

	assert_ok(backend_lock(w->mmu, gva(w, 2), w->page, 2));
	assert_ok(backend_residency(w->mmu, gva(w, 2), w->page, vec));
	assert_int_equal(vec[0] & 1, 0);
	assert_ok(backend_lock(w->mmu, gva(w, 2), w->page, 1));
	assert_ok(backend_residency(w->mmu, gva(w, 2), w->page, vec));
	assert_int_equal(vec[0] & 1, 1);
	assert_int_equal(backend_advise(w->mmu, gva(w, 2), w->page, MADV_DONTNEED), -EINVAL);
	assert_ok(backend_lock(w->mmu, gva(w, 2), w->page, 0));
	assert_ok(backend_advise(w->mmu, gva(w, 2), w->page, MADV_DONTNEED));

	assert_ok(win_map(w, 8, 1, RW, NEW | BACKEND_POPULATE, -1, 0));
	assert_ok(backend_residency(w->mmu, gva(w, 8), w->page, vec));
	assert_int_equal(vec[0] & 1, 1);
}

static void guard_markers(void **state)
{
	struct window *w = *state;

	if (!(w->mmu->ops->caps & BACKEND_GUARDS)) {
		print_message("the kernel is older than 6.13\n");
		skip();
	}
	assert_ok(win_anon(w, 0, 3));
	win_fill(w, 0, 3, 1);
	assert_ok(backend_advise(w->mmu, gva(w, 1), w->page, MADV_GUARD_INSTALL));
	assert_int_equal(touch_read(hva(w, 1)), SIGSEGV);
	/* They move along. */
	assert_ok(win_move(w, 0, 3, 8, 3, 0));
	assert_int_equal(touch_read(hva(w, 9)), SIGSEGV);
	win_check_moved(w, 8, 1, 1, 0);
	assert_ok(backend_advise(w->mmu, gva(w, 9), w->page, MADV_GUARD_REMOVE));
	win_check_zero(w, 9, 1);
	win_check_moved(w, 10, 1, 1, 2);
}

/* ---- guest pages larger than the host's: the end of a file inside a guest page ---- */

/* File bytes up to `bytes`, zero to the end of their guest page, SIGBUS for the rest. */
static void check_file(struct window *w, unsigned page, unsigned n, uint64_t bytes)
{
	const unsigned char *p = (unsigned char *)hva(w, page);
	uint64_t end = (bytes + w->page - 1) / w->page * w->page;

	for (uint64_t i = 0; i < n * w->page && i < end; i += i < bytes ? 97 : 256)
		assert_int_equal(p[i], i < bytes ? file_byte(i) : 0);
	for (uint64_t i = end; i < n * w->page; i += w->host_page)
		assert_int_equal(touch_read(p + i), SIGBUS);
}

static const uint64_t sizes[] = { 0, 1, 100, 4095, 4096, 4097, 3 * 4096, 15 * 4096 + 1 };

static void tail_of_a_file(void **state)
{
	struct window *w = *state;

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (unsigned shared = 0; shared < 2; shared++) {
			uint32_t flags = shared ? BACKEND_SHARED : 0;
			uint64_t bytes = w->page + sizes[i] % w->page;
			int fd = file_make(bytes);

			/* Into a hole, and over something. */
			assert_ok(win_map(w, 0, 4, RW, flags | NEW, fd, 0));
			check_file(w, 0, 4, bytes);
			win_seams(w, 8, 5, 1);
			assert_ok(win_map(w, 9, 3, RW, flags, fd, 0));
			check_file(w, 9, 3, bytes);
			win_check(w, 8, 1, 1);
			win_check(w, 12, 1, 1);
			/* Rights, holes and moves follow. */
			assert_ok(win_protect(w, 9, 3, VMS_PROT_READ));
			check_file(w, 9, 3, bytes);
			assert_true(host_all_rights(hva(w, 9), 3 * w->page,
						    shared ? "r--s" : "r--p"));
			assert_ok(win_move(w, 9, 3, 20, 3, NEW));
			check_file(w, 20, 3, bytes);
			win_check_hole(w, 9, 3);
			assert_ok(win_unmap(w, 21, 1));
			check_file(w, 20, 1, bytes);
			win_check_hole(w, 21, 1);
			assert_ok(win_unmap(w, 0, WINDOW_PAGES));
			win_check_hole(w, 0, WINDOW_PAGES);
			close(fd);
		}
	}
}

/* A private mapping that ends in its tail grows by pages of the file, which are beyond its end. */
static void growth_past_a_tail(void **state)
{
	struct window *w = *state;

	for (unsigned i = 1; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t bytes = w->page + (sizes[i] - 1) % w->page + 1;
		int fd = file_make(bytes);
		unsigned char *p;

		assert_ok(win_map(w, 0, 2, RW, NEW, fd, 0));
		p = (unsigned char *)hva(w, 0) + 2 * w->page - 1;
		*p = 99;
		assert_ok(win_move(w, 0, 2, 0, 4, 0));
		assert_int_equal(*p, 99);
		*p = bytes == 2 * w->page ? file_byte(bytes - 1) : 0;
		check_file(w, 0, 4, bytes);
		assert_ok(win_move(w, 0, 2, 16, 5, NEW));
		check_file(w, 16, 5, bytes);
		win_check_hole(w, 0, 2);
		assert_ok(win_unmap(w, 0, WINDOW_PAGES));
		close(fd);
	}
}

/* ---- outside memory, refusals ---- */

static void nothing_is_left_outside(void **state)
{
	struct window *w = *state;
	int64_t before;

	win_seams(w, 0, 5, 1);
	win_seams(w, 20, 5, 2);
	assert_ok(win_unmap(w, 0, WINDOW_PAGES));
	before = mapped_pages();
	for (unsigned i = 0; i < 20; i++) {
		win_seams(w, 0, 5, 1);
		win_seams(w, 20, 5, 2);
		assert_ok(win_move(w, 0, 5, 20, 7, 0));
		assert_ok(win_unmap(w, 0, WINDOW_PAGES));
	}
	assert_int_equal(mapped_pages(), before);
}

static void a_window_that_cannot_be_undone_is_broken(void **state)
{
	struct window *w = *state;

	assert_ok(win_anon(w, 0, 2));
	/* Moved; then the hole is refused, both times. */
	test_world_fail(&w->world, 1, 1u << CALL_MMAP, ENOMEM);
	w->world.fail_more = 1;
	assert_ok(win_move(w, 0, 2, 8, 2, 0));
	assert_int_equal(w->world.failed, 2);
	test_world_fail(&w->world, 0, 0, 0);
	assert_int_equal(win_anon(w, 16, 1), -EIO);
	assert_int_equal(win_unmap(w, 0, 1), -EIO);
	assert_int_equal(win_protect(w, 8, 1, RW), -EIO);
	assert_int_equal(win_move(w, 8, 1, 9, 1, 0), -EIO);
	assert_non_null(strstr(vms_last_error(), "broken"));
}

static void addresses(void **state)
{
	struct window *w = *state;
	uint64_t len = WINDOW_PAGES * w->page;

	assert_ptr_equal(vms_mmu_host_addr(w->mmu, w->lo + len - 1), w->mem + len - 1);
	assert_null(vms_mmu_host_addr(w->mmu, w->lo + len));
	assert_null(vms_mmu_host_addr(w->mmu, w->lo - 1));
	/* Large pages of the guest can be large pages of the host. */
	assert_int_equal(((uintptr_t)w->mem ^ w->lo) & ((2 << 20) - 1), 0);
}

/* Whatever the space thinks: outside the window is our own process. */
static void nothing_outside_is_touched(void **state)
{
	struct window *w = *state;
	unsigned char vec[2];

	assert_int_equal(win_map(w, WINDOW_PAGES - 1, 2, RW, 0, -1, 0), -ENOMEM);
	assert_int_equal(win_map(w, WINDOW_PAGES, 1, RW, 0, -1, 0), -ENOMEM);
	assert_int_equal(win_map(w, (unsigned)-1, 2, RW, 0, -1, 0), -ENOMEM);
	assert_int_equal(win_protect(w, WINDOW_PAGES - 1, 2, RW), -ENOMEM);
	assert_ok(win_anon(w, WINDOW_PAGES - 2, 2));
	win_fill(w, WINDOW_PAGES - 2, 2, 1);
	assert_int_equal(win_move(w, WINDOW_PAGES - 2, 2, WINDOW_PAGES - 2, 3, 0), -ENOMEM);
	assert_int_equal(win_move(w, WINDOW_PAGES - 2, 2, WINDOW_PAGES + 2, 2, 0), -ENOMEM);
	assert_int_equal(win_move(w, WINDOW_PAGES, 2, 0, 2, 0), -ENOMEM);
	win_check(w, WINDOW_PAGES - 2, 2, 1);
	assert_int_equal(backend_advise(w->mmu, gva(w, WINDOW_PAGES), w->page, MADV_DONTNEED),
			 -ENOMEM);
	assert_int_equal(backend_lock(w->mmu, gva(w, WINDOW_PAGES), w->page, 1), -ENOMEM);
	assert_int_equal(backend_sync(w->mmu, gva(w, WINDOW_PAGES), w->page, MS_SYNC), -ENOMEM);
	assert_int_equal(backend_residency(w->mmu, gva(w, WINDOW_PAGES), w->page, vec), -ENOMEM);
	/* Holes reach as far as they like. */
	assert_ok(backend_unmap(w->mmu, 0, UINT64_MAX));
	win_check_hole(w, 0, WINDOW_PAGES);
	assert_ok(win_unmap(w, WINDOW_PAGES, 5));
}

static bool has_real_holes(const struct variant *v)
{
	return v->real_holes;
}

static bool has_dontunmap(const struct variant *v)
{
	return !v->no_dontunmap;
}

static bool is_plain(const struct variant *v)
{
	return v == variants; /* one way to break is enough */
}

static const struct window_test tests[] = {
#define T(fn)		  { #fn, fn, NULL }
#define T_IF(applies, fn) { #fn, fn, applies }
	T(map_and_unmap),
	T(map_gives_the_rights),
	T(map_replaces),
	T_IF(has_real_holes, new_map_never_replaces),
	T(files),
	T(refused_file_changes_nothing),
	T(shared_anonymous_memory_duplicates),
	T(moves),
	T(resizes_in_place),
	T_IF(has_dontunmap, move_leaving_the_source),
	T(moves_over_seams),
	T(growth_by_map),
	T(growth_in_a_child),
	T(growth_is_told),
	T(growth_answers_for_seams),
	T(advice_locks_and_residency),
	T(guard_markers),
	T(tail_of_a_file),
	T(growth_past_a_tail),
	T(nothing_is_left_outside),
	T_IF(is_plain, a_window_that_cannot_be_undone_is_broken),
	T(addresses),
	T(nothing_outside_is_touched),
};

int main(void)
{
	static const struct window_tests all = { .name = "mmu-host",
						 .test = tests,
						 .n = sizeof(tests) / sizeof(tests[0]),
						 .set_up = open_window,
						 .tear_down = close_window };

	return run_over_variants(&all);
}
