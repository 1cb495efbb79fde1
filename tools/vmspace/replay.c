// SPDX-License-Identifier: MIT
/*
 * replay.c: `vmspace replay`: recorded memory calls on the engine, compared call by call and block
 * by block with what the kernel did.
 *
 * Beside the rules of player.h:
 * 1. Where two pieces of files meet, the kernel's merging cannot be known, so in both maps
 *    neighbours of equal rights and consecutive offsets are joined before comparing.
 * 2. First touches of memory are not recorded. Two touched anonymous regions that meet stay two in
 *    the kernel; untouched ones are one. So anonymous neighbours are joined like files.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <vmspace/mman.h>

#include "command.h"
#include "player.h"

struct replay {
	struct player p;
	struct trace_maps maps; /* the engine's, of the last look */
	struct trace_maps joined[2];
	/* figures */
	unsigned images, calls, blocks, skipped;
};

/* ---- the maps ---- */

static int look(struct replay *r)
{
	struct vms_mm_region region = {.size = sizeof(region)};
	uint64_t cursor = 0;

	r->maps.n = 0;
	while (vms_mm_next(r->p.mm, &cursor, &region) == 0) {
		struct trace_map *m = trace_maps_add(&r->maps);

		if (m == NULL) {
			return player_cannot(&r->p, "maps", "no memory");
		}
		m->start = region.start;
		m->end = region.end;
		m->off = region.off;
		snprintf(m->perms, sizeof(m->perms), "%c%c%c%c",
			 region.prot & VMS_PROT_READ ? 'r' : '-',
			 region.prot & VMS_PROT_WRITE ? 'w' : '-',
			 region.prot & VMS_PROT_EXEC ? 'x' : '-',
			 region.flags & VMS_MM_SHARED ? 's' : 'p');
		if (region.flags & VMS_MM_HEAP) {
			strcpy(m->what, "[heap]");
		} else if (region.flags & VMS_MM_STACK) {
			strcpy(m->what, "[stack]");
		} else if (region.flags & VMS_MM_FOREIGN) {
			snprintf(m->what, sizeof(m->what), "%.31s", region.name);
		} else if (region.flags & VMS_MM_ANON && !(region.flags & VMS_MM_SHARED)) {
			strcpy(m->what, "-");
		} else {
			strcpy(m->what, "file");
		}
	}
	return 0;
}

/* (rules 1 and 2) */
static bool joins(const struct trace_map *a, const struct trace_map *b)
{
	bool file = strcmp(a->what, "file") == 0;

	return a->end == b->start && strcmp(a->what, b->what) == 0 &&
	       strcmp(a->perms, b->perms) == 0 &&
	       (file ? a->off + (a->end - a->start) == b->off
		     : a->what[0] == '-' || strcmp(a->what, "[heap]") == 0);
}

static int join(const struct trace_maps *in, struct trace_maps *out)
{
	out->n = 0;
	for (size_t i = 0; i < in->n; i++) {
		struct trace_map *last = out->n > 0 ? &out->map[out->n - 1] : NULL;

		if (in->map[i].end > PLAYER_TASK) {
			continue;
		}
		if (last != NULL && joins(last, &in->map[i])) {
			last->end = in->map[i].end;
			continue;
		}
		last = trace_maps_add(out);
		if (last == NULL) {
			return -ENOMEM;
		}
		*last = in->map[i];
	}
	return 0;
}

/* 1: the block differs from the engine's maps. */
static int compare_block(struct replay *r, const struct trace_maps *maps)
{
	player_grow(&r->p, maps);
	if (look(r) != 0) {
		return -1;
	}
	if (join(maps, &r->joined[0]) != 0 || join(&r->maps, &r->joined[1]) != 0) {
		return player_cannot(&r->p, "maps", "no memory");
	}
	r->blocks++;
	return r->joined[0].n != r->joined[1].n ||
	       (r->joined[0].n != 0 && memcmp(r->joined[0].map, r->joined[1].map,
					      r->joined[0].n * sizeof(*r->joined[0].map)) != 0);
}

/* ---- one run over the file ---- */

static void tell_call(const struct trace_reader *t, int64_t got, FILE *out)
{
	struct trace_call engine = t->call;

	engine.ret = got;
	fprintf(out, "line %u: the answers differ\n  kernel: ", t->line);
	trace_write_call(out, &t->call);
	fputs("  engine: ", out);
	trace_write_call(out, &engine);
}

static void tell_maps(struct replay *r, const struct trace_maps *kernel, FILE *out)
{
	if (look(r) != 0 || join(kernel, &r->joined[0]) != 0 ||
	    join(&r->maps, &r->joined[1]) != 0) {
		return;
	}
	fprintf(out, "  kernel's maps:\n");
	trace_maps_print(out, &r->joined[0], &r->joined[1]);
	fprintf(out, "  engine's maps:\n");
	trace_maps_print(out, &r->joined[1], &r->joined[0]);
}

/* 0 no difference, 1 a difference (told on `out`), -1 r->p.broken says why. */
static int run(struct replay *r, struct trace_reader *t, FILE *out)
{
	char why[sizeof(r->p.why) + 16];

	for (;;) {
		enum trace_event event = trace_next(t);
		int64_t got = 0;
		int differs;

		switch (event) {
		case TRACE_END:
			return r->images == 0 ? player_cannot(&r->p, "trace", "it has no maps to start from")
					      : 0;
		case TRACE_ERROR:
			r->p.broken = t->why;
			return -1;
		case TRACE_BLOCK:
			if (t->image || r->p.mm == NULL) {
				r->images++;
				if (player_image(&r->p, &t->maps) != 0) {
					return -1;
				}
			}
			differs = compare_block(r, &t->maps);
			if (differs > 0) {
				fprintf(out, "line %u: the maps differ\n", t->line);
				tell_maps(r, &t->maps, out);
			}
			if (differs != 0) {
				return differs;
			}
			break;
		case TRACE_CALL:
			if (r->p.mm == NULL) {
				return player_cannot(&r->p, "trace",
					      "a call stands before the first block of maps");
			}
			switch (player_call(&r->p, &t->call, &got)) {
			case PLAYED_SKIPPED:
				r->skipped++;
				continue;
			case PLAYED_BROKEN:
				snprintf(why, sizeof(why), "line %u: %s", t->line, r->p.why);
				memcpy(r->p.why, why, sizeof(r->p.why) - 1);
				return -1;
			case PLAYED_DONE:
				break;
			}
			r->calls++;
			if (got != t->call.ret) {
				tell_call(t, got, out);
				fprintf(out, "  (the kernel's maps are those of the last block)\n");
				tell_maps(r, &t->maps, out);
				return 1;
			}
			break;
		}
	}
}

/* ---- the command ---- */

static void usage(FILE *out)
{
	fputs("usage: vmspace replay [--forced | --free] [--mmap-base ADDRESS] [--json] FILE...\n\n"
	      "Repeat recorded memory calls on the engine and compare every answer and all maps.\n"
	      "  --forced     place what the kernel placed at the recorded address\n"
	      "  --free       place it by the engine's own rule; default: both, one after the "
	      "other\n"
	      "  --mmap-base  where placement starts (default 7ffff7fff000)\n"
	      "  --json       a summary for programs\n"
	      "Status: 0 no difference, 1 a difference, 2 the file cannot be replayed.\n",
	      out);
}

/* A string of JSON. */
static void print_quoted(const char *s)
{
	putchar('"');
	for (; *s != '\0'; s++) {
		if (*s == '"' || *s == '\\')
			printf("\\%c", *s);
		else if ((unsigned char)*s < ' ')
			printf("\\u%04x", (unsigned)*s);
		else
			putchar(*s);
	}
	putchar('"');
}

/* One file in one mode: the exit status. */
static int replay_file(const char *path, bool forced, uint64_t base, bool json, const char *comma)
{
	struct replay r = {.p = {.forced = forced, .mmap_base = base}};
	const char *mode = forced ? "forced" : "free";
	struct trace_reader t;
	FILE *in = fopen(path, "re");
	int result;

	if (in == NULL) {
		fprintf(stderr, "vmspace replay: %s: %s\n", path, strerror(errno));
		return STATUS_USAGE;
	}
	trace_reader_init(&t, in);
	result = run(&r, &t, json ? stderr : stdout);
	if (json) {
		printf("%s\n{\"file\":", comma);
		print_quoted(path);
		printf(",\"mode\":\"%s\",\"images\":%u,\"calls\":%u,\"blocks\":%u,\"skipped\":%u,"
		       "\"differences\":%d,\"status\":%d}",
		       mode, r.images, r.calls, r.blocks, r.skipped, result == 1,
		       result < 0 ? STATUS_USAGE : result);
	} else if (result >= 0) {
		printf("%s: %s: %u images, %u calls, %u blocks of maps%s: %s\n", path, mode,
		       r.images, r.calls, r.blocks, r.skipped != 0 ? ", some skipped" : "",
		       result == 0 ? "no difference" : "a difference");
	}
	if (result < 0) {
		fprintf(stderr, "vmspace replay: %s: %s\n", path, r.p.broken);
	}
	player_fini(&r.p);
	trace_maps_free(&r.maps);
	trace_maps_free(&r.joined[0]);
	trace_maps_free(&r.joined[1]);
	trace_reader_fini(&t);
	fclose(in);
	return result < 0 ? STATUS_USAGE : result;
}

int cmd_replay(int argc, char **argv)
{
	static const struct option options[] = {
		{"forced", no_argument, NULL, 'f'}, {"free", no_argument, NULL, 'r'},
		{"json", no_argument, NULL, 'j'},   {"mmap-base", required_argument, NULL, 'b'},
		{"help", no_argument, NULL, 'h'},   {NULL, 0, NULL, 0},
	};
	bool forced = true, free_too = true, json = false;
	uint64_t base = PLAYER_BASE;
	const char *comma = "";
	char *end;
	int c, status = 0;

	optind = 1;
	while ((c = getopt_long(argc, argv, "+", options, NULL)) >= 0) {
		switch (c) {
		case 'f':
			free_too = false;
			break;
		case 'r':
			forced = false;
			break;
		case 'j':
			json = true;
			break;
		case 'b':
			base = strtoull(optarg, &end, 16);
			if (*end != '\0' || base % 4096 != 0 || base == 0 || base > PLAYER_TASK) {
				fprintf(stderr, "vmspace replay: '%s' is no page's address\n",
					optarg);
				return STATUS_USAGE;
			}
			break;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return STATUS_USAGE;
		}
	}
	if (optind == argc || (!forced && !free_too)) {
		usage(stderr);
		return STATUS_USAGE;
	}
	player_raise_descriptors();
	if (json) {
		printf("[");
	}
	for (int i = optind; i < argc; i++) {
		for (int mode = 0; mode < 2; mode++) {
			int s;

			if (mode == 0 ? !forced : !free_too) {
				continue;
			}
			s = replay_file(argv[i], mode == 0, base, json, comma);
			comma = ",";
			status = s > status ? s : status;
		}
	}
	if (json) {
		printf("\n]\n");
	}
	return status;
}
