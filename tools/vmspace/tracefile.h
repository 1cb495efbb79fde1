/* SPDX-License-Identifier: MIT */
/*
 * tracefile.h: the text format of recorded memory calls.
 *
 *	# text		a comment; followed by a block of maps it starts a new program image
 *	M start-end perms offset what
 *	E		ends a block of M lines: the maps as they stood there
 *	C name a0 a1 a2 a3 a4 a5 = result
 *
 * Arguments are hexadecimal; a result is hexadecimal or a negative decimal errno. `what` is "file",
 * "-" for anonymous memory or the kernel's own name in brackets.
 */
#ifndef TRACEFILE_H
#define TRACEFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct trace_map {
	uint64_t start, end, off;
	char perms[5]; /* rwxp */
	char what[32];
};

struct trace_maps {
	struct trace_map *map;
	size_t n, room;
};

struct trace_call {
	char name[24];
	uint64_t a[6];
	int64_t ret; /* -1 to -4095: a negative errno */
};

enum trace_event { TRACE_END, TRACE_CALL, TRACE_BLOCK, TRACE_ERROR };

struct trace_reader {
	FILE *in;
	unsigned line;		/* of what was read last */
	bool image;		/* the block is the start of a new image */
	char program[64];	/* the last comment */
	struct trace_call call; /* of TRACE_CALL */
	struct trace_maps maps; /* of TRACE_BLOCK */
	char why[256];		/* of TRACE_ERROR */
};

struct trace_map *trace_maps_add(struct trace_maps *maps);
void trace_maps_free(struct trace_maps *maps);
void trace_maps_print(FILE *out, const struct trace_maps *maps, const struct trace_maps *other);

void trace_reader_init(struct trace_reader *r, FILE *in);
void trace_reader_fini(struct trace_reader *r);
enum trace_event trace_next(struct trace_reader *r);

void trace_write_call(FILE *out, const struct trace_call *call);
void trace_write_block(FILE *out, const struct trace_maps *maps);
bool trace_is_error(int64_t ret);

/* /proc/PID/maps in the format's terms; 0 or a negative errno. */
int trace_read_maps(int pid, struct trace_maps *maps);

#endif
