// SPDX-License-Identifier: MIT
/*
 * main.c: `vmspace COMMAND ...`: find the command, hand over.
 */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "vmspace/vmspace.h"

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
};

static const struct command commands[] = {
	{ "run", cmd_run, "run a Linux program on vmspace's memory" },
	{ "record", cmd_record, "write a program's memory calls to a file" },
	{ "replay", cmd_replay, "repeat recorded memory calls and compare with the kernel" },
	{ "show", cmd_show, "draw the memory of a recording, a script, a process or a dump" },
	{ "info", cmd_info, "what this build and this host can do" },
	{ NULL, NULL, NULL },
};

/* Stands for weak symbols that this static libc lacks (tools/vmspace/meson.build). */
void vmspace_nothing(void);
void vmspace_nothing(void)
{
}

static void usage(FILE *out)
{
	fprintf(out, "usage: vmspace COMMAND [ARGUMENTS]\n\ncommands:\n");
	for (const struct command *c = commands; c->name != NULL; c++)
		fprintf(out, "  %-8s %s\n", c->name, c->summary);
	fprintf(out, "\n`vmspace COMMAND --help` tells more; `vmspace --version` the version.\n");
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		usage(stderr);
		return STATUS_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		usage(stdout);
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("vmspace %s\n", vms_version());
		return 0;
	}
	for (const struct command *c = commands; c->name != NULL; c++)
		if (strcmp(argv[1], c->name) == 0)
			return c->run(argc - 1, argv + 1);
	fprintf(stderr, "vmspace: no command '%s'; see vmspace --help\n", argv[1]);
	return STATUS_USAGE;
}
