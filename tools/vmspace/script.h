/* SPDX-License-Identifier: MIT */
/*
 * script.h: scripts of memory calls, as the differential test keeps them and `vmspace show` draws
 * them.
 *
 * A script is plain text, one operation a line, '#' starts a comment:
 *
 *	# why this script is kept
 *	mmap A+4000 3000 rw private|anon|fixed none 0
 *	touch A+4000 w
 *	mprotect A+5000 1000 r
 *	fork child
 *
 * Numbers are hexadecimal. An address may be written A+x or A-x (from the arena), B+x (from the
 * heap's start) or T-x (from mmap_base); rights and flags by name joined with '|', where the last
 * part may be a number. A line is what it says on every page size: arguments are bytes.
 *
 * "fill N" stands first in a script, if at all: beside what the sides have themselves, only N more
 * regions can be. It is performed where there is room for it (linux-diff --wall).
 */
#ifndef SCRIPT_H
#define SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define SCRIPT_HEAP 0x10100000ul /* where the heap starts */
/* The arena: 256 pages of 4 KiB around it. */
#define ARENA	    0x10081000ul
#define ARENA_PAGES 256u
#define ARENA_END   (ARENA + ARENA_PAGES * 4096ul)

enum op_kind {
	OP_MMAP,
	OP_MUNMAP,
	OP_MPROTECT,
	OP_MREMAP,
	OP_BRK,
	OP_MADVISE,
	OP_MSYNC,
	OP_MINCORE,
	OP_MLOCK,
	OP_MLOCK2,
	OP_MUNLOCK,
	OP_MLOCKALL,
	OP_MUNLOCKALL,
	OP_MSEAL,
	OP_TOUCH, /* address, 0 read or 1 write, byte to write */
	OP_LIMIT, /* resource (RLIMIT_*), soft */
	OP_FORK,  /* 0: go on as the child; 1: as the parent */
	OP_FILL,  /* how many more regions can be */
	OP_KINDS
};

/* The files of a test, by role. Each side has its own set (fileset.h). */
enum file_role {
	FILE_RW,       /* 64 pages and 100 bytes, on the disk */
	FILE_RW_AGAIN, /* the same file, opened once more */
	FILE_RW_DUP,   /* dup(2) of FILE_RW */
	FILE_RO,       /* the same file, opened for reading */
	FILE_WO,       /* the same file, opened for writing */
	FILE_BIG,      /* 32 MiB, sparse, on the disk: the large-page rule applies */
	FILE_EMPTY,    /* no byte */
	FILE_MEMFD,    /* 32 pages */
	FILE_SEALED,   /* a memfd of 8 pages that can be written no more */
	FILE_DIR,
	FILE_PIPE,   /* the reading end */
	FILE_NULL,   /* /dev/null */
	FILE_PATH,   /* FILE_RW opened with O_PATH */
	FILE_CLOSED, /* a number that is not open */
	FILE_ROLES
};
#define FILE_NONE UINT64_MAX /* fd -1 */

struct op {
	enum op_kind kind;
	uint64_t a[6]; /* raw arguments; a file is its role or FILE_NONE */
};

/* A list of operations that owns its memory. */
struct script {
	struct op *op;
	size_t n, room;
};

void script_add(struct script *s, const struct op *op);
void script_free(struct script *s);

const char *op_name(enum op_kind kind);

/* Is this argument one of a list (an advice, a file), so that no value of it is a simpler one? */
bool op_is_choice(enum op_kind kind, unsigned arg);

/* Write one line, without the newline; `buf` of 256 bytes is enough. */
void op_format(const struct op *op, uint64_t mmap_base, char *buf, size_t size);

/* The operation of that name; OP_KINDS: none. */
enum op_kind op_kind_of(const char *name);
/*
 * Write a call with its answer as a program would, without a newline: mmap(0, 0x2000, rw,
 * private|anon, -1, 0) = 0x7ffff7fb4000. `roles`: files are roles, not descriptors.
 */
void op_print(FILE *out, const struct op *op, bool roles, int64_t answer);

/* Parse one line; 1: an operation, 0: nothing on it, -1: an error with its sentence in `why`. */
int op_parse(const char *line, uint64_t mmap_base, struct op *op, char *why, size_t size);

/* Read a script; 0, or -1 with the sentence in `why`. */
int script_read(FILE *in, uint64_t mmap_base, struct script *s, char *why, size_t size);

#endif
