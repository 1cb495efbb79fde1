// SPDX-License-Identifier: MIT
/*
 * main.c: the differential test as a program.
 *
 *	linux-diff [options]             random sequences until --calls or --seconds
 *	linux-diff [options] PATH...     replay kept scripts: files, or folders of *.mm
 *
 * With --wall both sides start with all but a few of the regions they may have (vm.max_map_count).
 *
 * Exit status: 0 no difference, 1 a difference (printed as a short script), 2 cannot run, 77 this
 * machine cannot be compared with.
 */
#include <errno.h>
#include <getopt.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "diff.h"

#define KERNEL_BASE 200 /* descriptors of the two sides */
#define OTHER_BASE  240

static struct {
	uint64_t seed, calls, page;
	double seconds;
	size_t steps;
	const char *guest, *lead, *keep, *wrong;
	bool live, contents, verbose, wall;
} opt = { .seed = 1, .page = 4096, .steps = 600, .guest = GUEST_PROGRAM, .lead = "record" };

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double started, shown;

static void show(struct diff *d)
{
	if (opt.live && now() - shown > 0.1) {
		shown = now();
		fprintf(stderr, "\r%lu calls, 0 differences, %.0f s ", d->calls, shown - started);
	}
}

static int usage(void)
{
	fputs("usage: linux-diff [--seed N] [--calls N] [--seconds S] [--steps N] [--page-size "
	      "BYTES]\n"
	      "                  [--backend record|host|kernel] [--live] [--keep FILE] "
	      "[--verbose]\n"
	      "                  [--contents] [--wall] [--wrong RULE] [FILE.mm or FOLDER...]\n",
	      stderr);
	return 2;
}

static int broken(const struct diff *d)
{
	const char *why = d->lead->why[0] != '\0' ? d->lead->why : d->follow->why;

	fprintf(stderr, "linux-diff: cannot go on: %s\n", why);
	return 2;
}

static int report(struct diff *d, struct script *s, struct difference *x, uint64_t seed)
{
	size_t full = s->n, step = x->step;

	if (opt.live) {
		fputc('\n', stderr);
	}
	fprintf(stderr, "seed %lu, step %zu: the sides differ; shrinking\n", seed, step);
	s->n = x->step + 1;
	/* A fill takes its time, and a mistake made on purpose is known. */
	if (!(opt.wall && opt.wrong != NULL) && diff_shrink(d, s, x) < 0) {
		return broken(d);
	}
	printf("# seed %lu, step %zu of %zu\n", seed, step, full);
	difference_print(stdout, d, s, x);
	if (opt.keep != NULL) {
		FILE *f = fopen(opt.keep, "w");
		char line[256];

		for (size_t i = 0; f != NULL && i < s->n; i++) {
			op_format(&s->op[i], d->follow->mmap_base, line, sizeof(line));
			fprintf(f, "%s\n", line);
		}
		if (f != NULL) {
			fclose(f);
		}
	}
	return 1;
}

static int run_random(struct diff *d)
{
	struct script s = { 0 };
	int r = 0;

	for (uint64_t seed = opt.seed; r == 0; seed++) {
		struct difference x = { 0 };

		if (opt.calls != 0 ? d->calls >= opt.calls : now() - started >= opt.seconds) {
			break;
		}
		r = diff_random(d, seed, opt.steps, &s, &x);
		if (r > 0) {
			r = report(d, &s, &x, seed);
		} else if (r < 0) {
			fprintf(stderr, "seed %lu\n", seed);
			r = broken(d);
		}
		difference_free(&x);
	}
	script_free(&s);
	if (r == 0) {
		if (opt.live) {
			fputc('\r', stderr);
		}
		printf("%lu calls, 0 differences (%s against the kernel, seeds from %lu, %.1f s)\n",
		       d->calls, d->lead->name, opt.seed, now() - started);
		for (int k = 0; opt.verbose && k < OP_KINDS; k++) {
			printf("  %-18s %9lu, refused %9lu\n", op_name(k), d->by_kind[k],
			       d->failed_by_kind[k]);
		}
	}
	return r;
}

/* One script: 0 no difference, 1 a difference, 2 cannot. */
static int run_script(struct diff *d, const char *path)
{
	struct script s = { 0 };
	struct difference x = { 0 };
	char why[256];
	FILE *f = fopen(path, "r");
	int r;

	if (f == NULL) {
		fprintf(stderr, "linux-diff: %s: %s\n", path, strerror(errno));
		return 2;
	}
	/* The base is known after a start only. */
	if (d->follow->reset(d->follow) != 0) {
		fclose(f);
		return broken(d);
	}
	r = script_read(f, d->follow->mmap_base, &s, why, sizeof(why));
	fclose(f);
	if (r != 0) {
		fprintf(stderr, "linux-diff: %s: %s\n", path, why);
		script_free(&s);
		return 2;
	}
	r = diff_script(d, &s, &x);
	if (r < 0) {
		r = broken(d);
	} else if (r > 0) {
		printf("# %s\n", path);
		difference_print(stdout, d, &s, &x);
	}
	difference_free(&x);
	script_free(&s);
	return r;
}

/* Files, or folders with *.mm in them. */
static int run_scripts(struct diff *d, char **path)
{
	int differ = 0, worst = 0;
	size_t n = 0;

	for (; *path != NULL; path++) {
		char pattern[4096];
		struct stat st;
		glob_t g;

		snprintf(pattern, sizeof(pattern), "%s%s", *path,
			 stat(*path, &st) == 0 && S_ISDIR(st.st_mode) ? "/*.mm" : "");
		if (glob(pattern, GLOB_NOCHECK, NULL, &g) != 0) {
			fprintf(stderr, "linux-diff: %s: cannot list\n", *path);
			return 2;
		}
		for (size_t i = 0; i < g.gl_pathc; i++, n++) {
			int r = run_script(d, g.gl_pathv[i]);

			differ += r == 1;
			worst = r > worst ? r : worst;
		}
		globfree(&g);
	}
	printf("%zu scripts, %d differ (%s against the kernel)\n", n, differ, d->lead->name);
	return worst;
}

static bool parse(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "seed", 1, NULL, 's' },      { "calls", 1, NULL, 'c' },
		{ "seconds", 1, NULL, 't' },   { "steps", 1, NULL, 'n' },
		{ "page-size", 1, NULL, 'p' }, { "backend", 1, NULL, 'b' },
		{ "live", 0, NULL, 'l' },      { "keep", 1, NULL, 'k' },
		{ "guest", 1, NULL, 'g' },     { "contents", 0, NULL, 'C' },
		{ "wrong", 1, NULL, 'w' },     { "verbose", 0, NULL, 'v' },
		{ "wall", 0, NULL, 'W' },
		{ NULL, 0, NULL, 0 }
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) >= 0) {
		switch (c) {
		case 's':
			opt.seed = strtoull(optarg, NULL, 0);
			break;
		case 'c':
			opt.calls = strtoull(optarg, NULL, 0);
			break;
		case 't':
			opt.seconds = strtod(optarg, NULL);
			break;
		case 'n':
			opt.steps = strtoull(optarg, NULL, 0);
			break;
		case 'p':
			opt.page = strtoull(optarg, NULL, 0);
			break;
		case 'b':
			opt.lead = optarg;
			break;
		case 'l':
			opt.live = true;
			break;
		case 'k':
			opt.keep = optarg;
			break;
		case 'g':
			opt.guest = optarg;
			break;
		case 'C':
			opt.contents = true;
			break;
		case 'w':
			opt.wrong = optarg;
			break;
		case 'v':
			opt.verbose = true;
			break;
		case 'W':
			opt.wall = true;
			break;
		default:
			return false;
		}
	}
	return opt.page >= 4096 && opt.page <= GUEST_PAGE_MOST &&
	       (opt.page & (opt.page - 1)) == 0 && opt.steps > 0;
}

/* The engine answers as Linux 6.18 does; an older kernel is another oracle. */
static bool kernel_fits(void)
{
	struct utsname u;
	unsigned major = 0, minor = 0;

	uname(&u);
	sscanf(u.release, "%u.%u", &major, &minor);
	if (major > 6 || (major == 6 && minor >= 18)) {
		return true;
	}
	printf("SKIP: this is Linux %s; the answers compared are those of 6.18\n", u.release);
	return false;
}

static bool open_sides(struct diff *d, char *why, size_t size)
{
	bool host = strcmp(opt.lead, "host") == 0;
	uint64_t room = host		  ? ROOM_WIDE
			: opt.wall	  ? ROOM_WALL
			: opt.page > 4096 ? ROOM_PAGES
					  : ROOM_USUAL;

	d->contents = opt.contents || host;
	d->wall = opt.wall;
	d->follow = kernel_side(opt.guest, KERNEL_BASE, room, opt.page, why, size);
	if (d->follow == NULL) {
		return false;
	}
	if (strcmp(opt.lead, "kernel") == 0) {
		d->lead = kernel_side(opt.guest, OTHER_BASE, room, opt.page, why, size);
	} else if (host || strcmp(opt.lead, "record") == 0) {
		d->lead = engine_side(host ? ENGINE_HOST : ENGINE_RECORD, d->follow, OTHER_BASE,
				      opt.page, why, size);
	} else {
		snprintf(why, size, "no backend '%s'", opt.lead);
	}
	return d->lead != NULL && (!d->contents || d->lead->peek != NULL);
}

int main(int argc, char **argv)
{
	struct diff d = { .tick = show };
	char why[512] = "";
	int r;

	if (!parse(argc, argv)) {
		return usage();
	}
	if (!kernel_fits()) {
		return 77;
	}
	if (opt.wall && kernel_most_maps() == 0) {
		printf("SKIP: vm.max_map_count is not known here, or too high to be reached\n");
		return 77;
	}
	if (opt.calls == 0 && opt.seconds == 0) {
		opt.seconds = 10;
	}
	d.page = opt.page;
	if (!open_sides(&d, why, sizeof(why))) {
		fprintf(stderr, "linux-diff: %s\n", why);
		return 2;
	}
	d.lead->wrong = opt.wrong;
	started = now();
	r = optind < argc ? run_scripts(&d, argv + optind) : run_random(&d);
	if (opt.wrong != NULL && r < 2) {
		/* The engine was made wrong: the test is right if it saw that. */
		printf("the wrong rule '%s' was %s\n", opt.wrong, r == 1 ? "found" : "not found");
		r = r == 1 ? 0 : 1;
	}
	d.lead->close(d.lead);
	d.follow->close(d.follow);
	return r;
}
