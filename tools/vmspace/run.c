// SPDX-License-Identifier: MIT
/*
 * run.c: `vmspace run [OPTIONS] PROGRAM [ARGUMENTS]`.
 */
#include "command.h"

#ifndef VMS_NATIVE_RUN
#include <stdio.h>

int cmd_run(int argc, char **argv)
{
	fputs("vmspace: run works on x86-64 Linux only, for now\n", stderr);
	return STATUS_USAGE;
}
#else
#include "guest/guest.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATUS_NOT_FOUND 127
#define STATUS_NO_EXEC	 126

static void usage(FILE *out)
{
	fputs("usage: vmspace run [OPTIONS] PROGRAM [ARGUMENTS]\n"
	      "\n"
	      "Run an x86-64 Linux program whose memory calls vmspace answers. Programs that it\n"
	      "starts run under vmspace too.\n"
	      "\n"
	      "  --page-size SIZE  the guest's pages: 4k (the default), 16k, 64k\n"
	      "  --trace FILE      write every memory call with its answer; one file a process:\n"
	      "                    FILE, and FILE.PID for those that the program makes\n"
	      "  --maps            at the end, the maps as text and as a picture\n"
	      "  --stats           at the end, how many calls and what they made\n"
	      "  --argv0 NAME      what the program is told as its own name\n"
	      "  --help            this text\n"
	      "\n"
	      "The exit status is the program's; 127 when it is not found, 126 when it cannot be\n"
	      "run, 2 for wrong usage.\n",
	      out);
}

/* As the shell looks for a command: 0 and p, or a negative errno. */
static int search(const char *name, char *path, size_t size, struct program *p)
{
	const char *dirs = getenv("PATH");
	int best = -ENOENT;

	if (strchr(name, '/') != NULL) {
		snprintf(path, size, "%s", name);
		return program_find(AT_FDCWD, path, 0, p);
	}
	if (dirs == NULL)
		dirs = "/bin:/usr/bin";
	for (const char *d = dirs; name[0] != 0; d++) {
		size_t n = strcspn(d, ":");

		snprintf(path, size, "%.*s%s%s", (int)n, d, n > 0 ? "/" : "", name);
		int ret = program_find(AT_FDCWD, path, 0, p);

		if (ret != -ENOENT && ret != -ENOTDIR && ret != -EACCES)
			return ret;
		if (ret == -EACCES)
			best = ret;
		d += n;
		if (*d == 0)
			break;
	}
	snprintf(path, size, "%s", name);
	return best;
}

static int cannot(const char *name, const struct program *p, int err)
{
	if (err == -ENOENT || err == -ENOTDIR) {
		say("%s: %s", name, p->reason != NULL ? p->reason : "not found");
		return STATUS_NOT_FOUND;
	}
	if (p->reason != NULL && (err == -ENOEXEC || err == -ELIBBAD))
		say("%s: %s", name, p->reason);
	else if (err == -EACCES)
		say("%s: not allowed to run it, or it is no regular file", name);
	else
		say("%s: %s", name, strerror(-err));
	return STATUS_NO_EXEC;
}

static uint64_t current_mask(void)
{
	uint64_t none = 0, mask = 0;

	raw4(SYS_rt_sigprocmask, SIG_BLOCK, &none, &mask, 8);
	return mask;
}

static void block_signals(void)
{
	uint64_t all = ~UINT64_C(0);

	raw4(SYS_rt_sigprocmask, SIG_SETMASK, &all, 0, 8);
}

/* "16384", "16k", "64K": 0 and the size, or -1. */
static int parse_page_size(const char *text, uint64_t *size)
{
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return -1;
	errno = 0;
	uint64_t v = strtoull(text, &end, 10);

	if (errno != 0 || v > 1 << 20)
		return -1;
	if (*end == 'k' || *end == 'K')
		v <<= 10, end++;
	if (*end != 0 || v < HOST_PAGE || v > 1 << 20 || (v & (v - 1)) != 0)
		return -1;
	*size = v;
	return 0;
}

/* The program may change its directory; the trace stays where it was meant. */
static const char *absolute(const char *name)
{
	static char path[2 * PATH_MAX];
	char here[PATH_MAX];

	if (name[0] == '/' || getcwd(here, sizeof(here)) == NULL)
		return name;
	snprintf(path, sizeof(path), "%s/%s", here, name);
	return path;
}

/* The image that another one of ours left for us. */
static int resume(int argc, char **argv)
{
	struct start s = {.execfn = argv[2], .argc = argc - 3, .argv = argv + 3, .envp = environ};
	struct handover h;

	if (argc < 4 || handover_parse(argv[1] + strlen(HANDOVER_OPTION), &h) != 0) {
		say("%s is for vmspace's own use", HANDOVER_OPTION);
		return STATUS_USAGE;
	}
	return guest_run(&s, &h);
}

int cmd_run(int argc, char **argv)
{
	enum { OPT_ARGV0 = 256, OPT_PAGE_SIZE, OPT_TRACE, OPT_MAPS, OPT_STATS };
	static const struct option options[] = {
		{"argv0", required_argument, NULL, OPT_ARGV0},
		{"page-size", required_argument, NULL, OPT_PAGE_SIZE},
		{"trace", required_argument, NULL, OPT_TRACE},
		{"maps", no_argument, NULL, OPT_MAPS},
		{"stats", no_argument, NULL, OPT_STATS},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	static char path[PATH_MAX];
	static struct program p;
	struct handover h = {.opts.page_size = HOST_PAGE, .fresh = true};
	struct start s = {.envp = environ};
	const char *argv0 = NULL;
	int opt, ret;

	ret = guest_prepare();
	if (ret != 0)
		return ret;
	if (argc > 1 && strncmp(argv[1], HANDOVER_OPTION, strlen(HANDOVER_OPTION)) == 0)
		return resume(argc, argv);
	while ((opt = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
		switch (opt) {
		case 'h':
			usage(stdout);
			return 0;
		case OPT_ARGV0:
			argv0 = optarg;
			break;
		case OPT_PAGE_SIZE:
			if (parse_page_size(optarg, &h.opts.page_size) == 0)
				break;
			say("page size '%s' is no power of two from 4k to 1024k", optarg);
			return STATUS_USAGE;
		case OPT_TRACE:
			h.opts.trace = absolute(optarg);
			break;
		case OPT_MAPS:
			h.opts.maps = true;
			break;
		case OPT_STATS:
			h.opts.stats = true;
			break;
		default:
			usage(stderr);
			return STATUS_USAGE;
		}
	}
	if (optind == argc) {
		usage(stderr);
		return STATUS_USAGE;
	}
	h.mask = current_mask();
	block_signals();
	ret = search(argv[optind], path, sizeof(path), &p);
	if (ret == 0 && p.own) {
		say("%s is vmspace itself", argv[optind]);
		return STATUS_NO_EXEC;
	}
	if (ret != 0)
		return cannot(argv[optind], &p, ret);
	if (p.privileged)
		say("%s would run with privileges of its file; under vmspace it runs without",
		    path);
	/* A script puts its interpreter's words in the place of the program's name. */
	int rest = argc - optind - 1;
	char **v = calloc((size_t)rest + (size_t)p.nextra + 2, sizeof(v[0]));
	int n = 0;

	if (v == NULL)
		return STATUS_NO_EXEC;
	for (int i = 0; i < p.nextra; i++)
		v[n++] = (char *)(uintptr_t)p.extra[i];
	if (p.nextra == 0)
		v[n++] = argv0 != NULL ? (char *)(uintptr_t)argv0 : argv[optind];
	for (int i = 0; i < rest; i++)
		v[n++] = argv[optind + 1 + i];
	s.execfn = path;
	s.argc = n;
	s.argv = v;
	h.exe_fd = p.fd;
	return guest_run(&s, &h);
}
#endif
