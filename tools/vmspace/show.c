// SPDX-License-Identifier: MIT
/* show.c: `vmspace show`: which source, which face. */
#include "show.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"

struct wish {
	const char *path; /* NULL: a process */
	int pid;
	uint64_t at; /* SHOW_UNKNOWN: the end */
	bool json;
	const char *html; /* NULL: no page; "-": on stdout */
};

static void usage(FILE *out)
{
	fputs("usage: vmspace show [--at N] [--json | --html FILE] SOURCE\n"
	      "\n"
	      "Show what a guest's memory looks like. SOURCE is one of\n"
	      "  FILE.trace   a recording (vmspace record, vmspace run --trace): after its last call\n"
	      "  FILE.mm      a script of memory calls, one a line (vmspace-show(1))\n"
	      "  FILE.json    what vms_space_dump() or vmspace show --json wrote\n"
	      "  --pid PID    a running process, of vmspace run or any other\n"
	      "\n"
	      "  --at N       a recording or script: after N calls; 0: before the first\n"
	      "  --json       for programs\n"
	      "  --html FILE  as one page for a browser, with a slider over the calls; -: to stdout\n"
	      "  --help       this text\n"
	      "\n"
	      "Status: 0 shown, 2 wrong usage, or a source that cannot be read.\n",
	      out);
}

static bool parse_number(const char *text, uint64_t most, uint64_t *v)
{
	char *end;

	errno = 0;
	*v = strtoull(text, &end, 10);
	return errno == 0 && text[0] >= '0' && text[0] <= '9' && *end == '\0' && *v <= most;
}

/* What a file is shows in its first line that is no comment. */
static int show_file(struct scene *s, const struct wish *w, uint64_t at)
{
	FILE *in = fopen(w->path, "re");
	int c, ret;

	if (in == NULL)
		return show_cannot("%s: %s", w->path, strerror(errno));
	do {
		c = fgetc(in);
		if (c == '#')
			while (c != '\n' && c != EOF)
				c = fgetc(in);
	} while (c == '\n' || c == ' ' || c == '\t' || c == '\r');
	if (ferror(in)) {
		ret = show_cannot("%s: %s", w->path, strerror(errno));
	} else if (fseek(in, 0, SEEK_SET) != 0) {
		ret = show_cannot("%s: not a file that can be read twice", w->path);
	} else if (c == '{') {
		ret = show_dump(s, w->path, in);
		if (ret == 0 && w->at != SHOW_UNKNOWN)
			ret = show_cannot("--at: %s is a dump, it has no calls", w->path);
	} else if (c == 'M' || c == 'E' || c == 'C') {
		ret = show_recording(s, w->path, in, at);
	} else if (c == EOF) {
		ret = show_cannot("%s: there is nothing in it", w->path);
	} else {
		ret = show_script(s, w->path, in, at);
	}
	fclose(in);
	return ret;
}

static int draw(const struct scene *s, const struct wish *w)
{
	FILE *out = stdout;
	int err = 0;

	if (w->html != NULL && strcmp(w->html, "-") != 0) {
		out = fopen(w->html, "we");
		if (out == NULL)
			return show_cannot("%s: %s", w->html, strerror(errno));
	}
	if (w->html != NULL)
		show_html(out, s);
	else if (w->json)
		show_json(out, s);
	else
		show_text(out, s, isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL);
	if (fflush(out) != 0 || ferror(out))
		err = errno != 0 ? errno : EIO;
	if (out != stdout && fclose(out) != 0 && err == 0)
		err = errno;
	return err == 0 ? 0 : show_cannot("%s: %s", out == stdout ? "output" : w->html, strerror(err));
}

static int show(const struct wish *w)
{
	struct scene s = {.want_steps = w->html != NULL};
	int ret = scene_init(&s) == 0 ? 0 : show_cannot("no memory");

	/* A page has all calls, and opens at the one that was asked for. */
	if (ret == 0 && w->path != NULL)
		ret = show_file(&s, w, w->html != NULL ? SHOW_UNKNOWN : w->at);
	else if (ret == 0)
		ret = show_process(&s, w->pid);
	if (ret == 0 && s.has_calls && w->html != NULL && w->at != SHOW_UNKNOWN) {
		if (w->at > s.calls)
			ret = show_cannot("%s has %lu calls, so there is nothing at %lu", w->path,
					  (unsigned long)s.calls, (unsigned long)w->at);
		s.at = w->at;
	}
	if (ret == 0 && s.title == NULL) {
		s.title = strdup(w->path);
		if (s.title == NULL)
			ret = show_cannot("no memory");
	}
	if (ret == 0)
		ret = draw(&s, w);
	scene_fini(&s);
	return ret == 0 ? 0 : STATUS_USAGE;
}

int cmd_show(int argc, char **argv)
{
	static const struct option options[] = {
		{"at", required_argument, NULL, 'a'},  {"pid", required_argument, NULL, 'p'},
		{"json", no_argument, NULL, 'j'},      {"html", required_argument, NULL, 'w'},
		{"help", no_argument, NULL, 'h'},      {NULL, 0, NULL, 0},
	};
	struct wish w = {.at = SHOW_UNKNOWN};
	uint64_t v;
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
		switch (c) {
		case 'a':
			if (parse_number(optarg, UINT64_MAX - 1, &w.at))
				break;
			show_cannot("'%s' is no number of calls", optarg);
			return STATUS_USAGE;
		case 'p':
			if (parse_number(optarg, INT32_MAX, &v) && v != 0) {
				w.pid = (int)v;
				break;
			}
			show_cannot("'%s' is no process", optarg);
			return STATUS_USAGE;
		case 'j':
			w.json = true;
			break;
		case 'w':
			w.html = optarg;
			break;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return STATUS_USAGE;
		}
	}
	if (optind + (w.pid == 0) != argc || (w.json && w.html != NULL)) {
		usage(stderr);
		return STATUS_USAGE;
	}
	if (w.pid != 0 && w.at != SHOW_UNKNOWN) {
		show_cannot("--at: a process has no calls to go back to");
		return STATUS_USAGE;
	}
	w.path = w.pid == 0 ? argv[optind] : NULL;
	return show(&w);
}
