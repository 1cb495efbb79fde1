// SPDX-License-Identifier: MIT
/*
 * report.c: what `--maps` and `--stats` print on stderr when the program ends.
 */
#include "guest.h"
#include "mem.h"

#include "../memcalls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>

static const char *human(uint64_t bytes, char *buf, size_t size)
{
	static const char units[] = "KMGT";
	double v = (double)bytes / 1024;
	int u = 0;

	while (v >= 1024 && u < 3) {
		v /= 1024;
		u++;
	}
	snprintf(buf, size, v < 10 && u > 0 ? "%.1f %ciB" : "%.0f %ciB", v, units[u]);
	return buf;
}

/* Colours where a person looks. */
static bool colourful(void)
{
	struct termios t;

	return getenv("NO_COLOR") == NULL && raw3(SYS_ioctl, 2, TCGETS, &t) == 0;
}

static void report_picture(void)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (out == NULL)
		return;
	guest_mem_picture(out, colourful());
	if (fclose(out) == 0)
		say_text(text, len);
	free(text);
}

static void report_maps(void)
{
	static struct guest_mem_region r;
	uint64_t cursor = 0;

	say("the maps at the end:");
	while (guest_mem_next(&cursor, &r))
		say_text(r.line, strlen(r.line));
	say("the same as a picture (a bar grows by one for each fourfold):");
	report_picture();
}

static void report_stats(void)
{
	uint64_t all = 0, memory = 0;
	char line[512], text[256], size[32];
	struct timespec now;
	size_t n = 0;

	line[0] = 0;
	for (unsigned i = 0; i < GUEST_CALLS; i++) {
		const char *name = memory_call(i, false);
		uint32_t k = guest.count[i];

		all += k;
		if (name == NULL || k == 0)
			continue;
		memory += k;
		if (n < sizeof(line))
			n += (size_t)snprintf(line + n, sizeof(line) - n, " %s %u", name, k);
	}
	raw2(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
	double sec = (double)(now.tv_sec - guest.started.tv_sec) +
		     (double)(now.tv_nsec - guest.started.tv_nsec) / 1e9;
	say("%llu system calls in %.3f s, %llu of them for memory:%s", (unsigned long long)all, sec,
	    (unsigned long long)memory, line);
	if (guest_mem_stats(text, sizeof(text)))
		say("%s; stack starts below %llx; page size %s", text,
		    (unsigned long long)guest.stack_top,
		    human(guest.opts.page_size, size, sizeof(size)));
}

/* The program is about to end. */
void run_finish(void)
{
	trace_block();
	check_maps_agree();
	if (guest.opts.child)
		return;
	if (guest.opts.maps)
		report_maps();
	if (guest.opts.stats)
		report_stats();
}
