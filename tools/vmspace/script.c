// SPDX-License-Identifier: MIT
/*
 * script.c: printing and parsing operations (script.h).
 *
 * Each kind has one row: its name and one letter an argument, which says how the argument is
 * written:
 *
 *	a address	n number	p rights	f mmap flags	d file
 *	r mremap flags	v advice	s msync flags	l mlock2 flags	L mlockall flags
 *	t access	R resource	k who goes on
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "script.h"

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE  103
#endif

static const struct {
	const char *name, *args;
} rows[OP_KINDS] = {
	[OP_MMAP] = { "mmap", "anpfdn" },
	[OP_MUNMAP] = { "munmap", "an" },
	[OP_MPROTECT] = { "mprotect", "anp" },
	[OP_MREMAP] = { "mremap", "annra" },
	[OP_BRK] = { "brk", "a" },
	[OP_MADVISE] = { "madvise", "anv" },
	[OP_MSYNC] = { "msync", "ans" },
	[OP_MINCORE] = { "mincore", "an" },
	[OP_MLOCK] = { "mlock", "an" },
	[OP_MLOCK2] = { "mlock2", "anl" },
	[OP_MUNLOCK] = { "munlock", "an" },
	[OP_MLOCKALL] = { "mlockall", "L" },
	[OP_MUNLOCKALL] = { "munlockall", "" },
	[OP_MSEAL] = { "mseal", "ann" },
	[OP_TOUCH] = { "touch", "atn" },
	[OP_LIMIT] = { "limit", "Rn" },
	[OP_FORK] = { "fork", "k" },
	[OP_FILL] = { "fill", "n" },
};

struct word {
	const char *name;
	uint64_t value;
};

/* A set of bits, or a choice: the words of each letter. A choice has `mask` 0. */
static const struct word prot_words[] = { { "r", PROT_READ },
					  { "w", PROT_WRITE },
					  { "x", PROT_EXEC },
					  { "sem", 8 },
					  { "growsdown", PROT_GROWSDOWN },
					  { "growsup", PROT_GROWSUP },
					  { NULL, 0 } };
static const struct word map_words[] = { { "fixed", MAP_FIXED },
					 { "noreplace", MAP_FIXED_NOREPLACE },
					 { "anon", MAP_ANONYMOUS },
					 { "growsdown", MAP_GROWSDOWN },
					 { "locked", MAP_LOCKED },
					 { "noreserve", MAP_NORESERVE },
					 { "populate", MAP_POPULATE },
					 { "nonblock", MAP_NONBLOCK },
					 { "stack", MAP_STACK },
					 { "hugetlb", MAP_HUGETLB },
					 { "32bit", MAP_32BIT },
					 { "sync", MAP_SYNC },
					 { "denywrite", MAP_DENYWRITE },
					 { "executable", MAP_EXECUTABLE },
					 { NULL, 0 } };
/* The low four bits of mmap's flags are a choice of their own. */
static const struct word type_words[] = { { "shared", MAP_SHARED },
					  { "private", MAP_PRIVATE },
					  { "validate", MAP_SHARED_VALIDATE },
					  { "droppable", MAP_DROPPABLE },
					  { NULL, 0 } };
static const struct word mremap_words[] = { { "maymove", MREMAP_MAYMOVE },
					    { "fixed", MREMAP_FIXED },
					    { "dontunmap", MREMAP_DONTUNMAP },
					    { NULL, 0 } };
static const struct word msync_words[] = {
	{ "async", MS_ASYNC }, { "invalidate", MS_INVALIDATE }, { "sync", MS_SYNC }, { NULL, 0 }
};
static const struct word mlock2_words[] = { { "onfault", 1 }, { NULL, 0 } };
static const struct word mlockall_words[] = { { "current", MCL_CURRENT },
					      { "future", MCL_FUTURE },
					      { "onfault", MCL_ONFAULT },
					      { NULL, 0 } };
static const struct word advice_words[] = { { "normal", MADV_NORMAL },
					    { "random", MADV_RANDOM },
					    { "sequential", MADV_SEQUENTIAL },
					    { "willneed", MADV_WILLNEED },
					    { "dontneed", MADV_DONTNEED },
					    { "free", MADV_FREE },
					    { "remove", MADV_REMOVE },
					    { "dontfork", MADV_DONTFORK },
					    { "dofork", MADV_DOFORK },
					    { "mergeable", MADV_MERGEABLE },
					    { "unmergeable", MADV_UNMERGEABLE },
					    { "hugepage", MADV_HUGEPAGE },
					    { "nohugepage", MADV_NOHUGEPAGE },
					    { "dontdump", MADV_DONTDUMP },
					    { "dodump", MADV_DODUMP },
					    { "wipeonfork", MADV_WIPEONFORK },
					    { "keeponfork", MADV_KEEPONFORK },
					    { "cold", MADV_COLD },
					    { "pageout", MADV_PAGEOUT },
					    { "populate_read", MADV_POPULATE_READ },
					    { "populate_write", MADV_POPULATE_WRITE },
					    { "dontneed_locked", MADV_DONTNEED_LOCKED },
					    { "collapse", MADV_COLLAPSE },
					    { "hwpoison", MADV_HWPOISON },
					    { "soft_offline", 101 },
					    { "guard_install", MADV_GUARD_INSTALL },
					    { "guard_remove", MADV_GUARD_REMOVE },
					    { NULL, 0 } };
static const struct word file_words[] = { { "rw", FILE_RW },	     { "again", FILE_RW_AGAIN },
					  { "dup", FILE_RW_DUP },    { "ro", FILE_RO },
					  { "wo", FILE_WO },	     { "big", FILE_BIG },
					  { "empty", FILE_EMPTY },   { "memfd", FILE_MEMFD },
					  { "sealed", FILE_SEALED }, { "dir", FILE_DIR },
					  { "pipe", FILE_PIPE },     { "null", FILE_NULL },
					  { "path", FILE_PATH },     { "closed", FILE_CLOSED },
					  { "none", FILE_NONE },     { NULL, 0 } };
static const struct word touch_words[] = { { "r", 0 }, { "w", 1 }, { NULL, 0 } };
static const struct word limit_words[] = { { "as", RLIMIT_AS },
					   { "data", RLIMIT_DATA },
					   { "stack", RLIMIT_STACK },
					   { "memlock", RLIMIT_MEMLOCK },
					   { NULL, 0 } };
static const struct word fork_words[] = { { "child", 0 }, { "parent", 1 }, { NULL, 0 } };

/* The words of a letter; *choice says that exactly one of them stands. */
static const struct word *words_of(char letter, bool *choice)
{
	*choice = false;
	switch (letter) {
	case 'p':
		return prot_words;
	case 'f':
		return map_words;
	case 'r':
		return mremap_words;
	case 's':
		return msync_words;
	case 'l':
		return mlock2_words;
	case 'L':
		return mlockall_words;
	default:
		break;
	}
	*choice = true;
	switch (letter) {
	case 'v':
		return advice_words;
	case 'd':
		return file_words;
	case 't':
		return touch_words;
	case 'R':
		return limit_words;
	case 'k':
		return fork_words;
	default:
		return NULL;
	}
}

static const struct word *find_value(const struct word *w, uint64_t value)
{
	for (; w->name != NULL; w++) {
		if (w->value == value) {
			return w;
		}
	}
	return NULL;
}

static const struct word *find_name(const struct word *w, const char *name)
{
	for (; w->name != NULL; w++) {
		if (strcmp(w->name, name) == 0) {
			return w;
		}
	}
	return NULL;
}

const char *op_name(enum op_kind kind)
{
	return rows[kind].name;
}

bool op_is_choice(enum op_kind kind, unsigned arg)
{
	bool choice;

	if (arg >= strlen(rows[kind].args)) {
		return true;
	}
	words_of(rows[kind].args[arg], &choice);
	return choice && words_of(rows[kind].args[arg], &choice) != NULL;
}

/* ---- printing ---- */

static void print_addr(FILE *f, uint64_t v, uint64_t mmap_base)
{
	if (v >= ARENA - 0x100000 && v < ARENA) {
		fprintf(f, "A-%lx", ARENA - v);
	} else if (v >= ARENA && v < ARENA_END + 0x1000000) {
		fprintf(f, "A+%lx", v - ARENA);
	} else if (v <= mmap_base && v > mmap_base - 0x100000000) {
		fprintf(f, "T-%lx", mmap_base - v);
	} else {
		fprintf(f, "%lx", v);
	}
}

static void print_bits(FILE *f, const struct word *w, uint64_t v)
{
	const char *bar = "";

	if (v == 0) {
		fputs("0", f);
		return;
	}
	if (w == map_words && find_value(type_words, v & 0xf) != NULL) {
		fputs(find_value(type_words, v & 0xf)->name, f);
		v &= ~0xful;
		bar = "|";
	}
	for (; w->name != NULL; w++) {
		if ((v & w->value) == w->value) {
			fprintf(f, "%s%s", bar, w->name);
			bar = "|";
			v &= ~w->value;
		}
	}
	if (v != 0) {
		fprintf(f, "%s%lx", bar, v);
	}
}

void op_format(const struct op *op, uint64_t mmap_base, char *buf, size_t size)
{
	FILE *f = fmemopen(buf, size, "w");

	if (f == NULL) {
		buf[0] = '\0';
		return;
	}
	fputs(rows[op->kind].name, f);
	for (size_t i = 0; rows[op->kind].args[i] != '\0'; i++) {
		char letter = rows[op->kind].args[i];
		uint64_t v = op->a[i];
		bool choice;
		const struct word *w = words_of(letter, &choice);

		fputc(' ', f);
		if (letter == 'a') {
			print_addr(f, v, mmap_base);
		} else if (w == NULL) {
			fprintf(f, "%lx", v);
		} else if (choice) {
			const struct word *hit = find_value(w, v);

			if (hit != NULL) {
				fputs(hit->name, f);
			} else {
				fprintf(f, "%lx", v);
			}
		} else {
			print_bits(f, w, v);
		}
	}
	fclose(f);
}

enum op_kind op_kind_of(const char *name)
{
	enum op_kind kind = 0;

	while (kind < OP_KINDS && strcmp(name, rows[kind].name) != 0) {
		kind++;
	}
	return kind;
}

static void print_arg(FILE *out, char letter, uint64_t v, bool roles)
{
	bool choice;
	const struct word *w = words_of(letter, &choice);
	const struct word *hit = w != NULL ? find_value(w, v) : NULL;

	if (letter == 'd' && !roles) {
		fprintf(out, "%d", (int)v); /* the kernel looks at 32 bits */
	} else if (w != NULL && !choice && v != 0) {
		print_bits(out, w, v);
	} else if (hit != NULL) {
		fputs(hit->name, out);
	} else {
		fprintf(out, v < 10 ? "%lu" : "0x%lx", v);
	}
}

void op_print(FILE *out, const struct op *op, bool roles, int64_t answer)
{
	const char *args = rows[op->kind].args, *comma = "";

	fprintf(out, "%s(", rows[op->kind].name);
	for (size_t i = 0; args[i] != '\0'; i++) {
		if (op->kind == OP_MREMAP && i == 4 && !(op->a[3] & MREMAP_FIXED)) {
			break; /* not looked at: in a recording it is garbage */
		}
		fputs(comma, out);
		comma = ", ";
		print_arg(out, args[i], op->a[i], roles);
	}
	fputs(") = ", out);
	if (answer < 0 && answer >= -4095) {
		const char *name = strerrorname_np((int)-answer);

		fprintf(out, "-%s", name != NULL ? name : "?");
	} else {
		fprintf(out, answer < 10 ? "%lu" : "0x%lx", (uint64_t)answer);
	}
}

/* ---- parsing ---- */

static bool parse_number(const char *s, uint64_t *v)
{
	char *end;

	errno = 0;
	*v = strtoull(s, &end, 16);
	return errno == 0 && end != s && *end == '\0';
}

static bool parse_addr(const char *s, uint64_t mmap_base, uint64_t *v)
{
	uint64_t base, x;

	switch (s[0] != '\0' && (s[1] == '+' || s[1] == '-') ? s[0] : '\0') {
	case 'A':
		base = ARENA;
		break;
	case 'B':
		base = SCRIPT_HEAP;
		break;
	case 'T':
		base = mmap_base;
		break;
	default:
		return parse_number(s, v);
	}
	if (!parse_number(s + 2, &x)) {
		return false;
	}
	*v = s[1] == '+' ? base + x : base - x;
	return true;
}

static bool parse_bits(char *s, const struct word *w, uint64_t *v)
{
	char *save = NULL;

	*v = 0;
	for (char *part = strtok_r(s, "|", &save); part != NULL;
	     part = strtok_r(NULL, "|", &save)) {
		const struct word *hit = find_name(w, part);
		uint64_t bits;

		if (hit == NULL && w == map_words) {
			hit = find_name(type_words, part);
		}
		if (hit != NULL) {
			bits = hit->value;
		} else if (!parse_number(part, &bits)) {
			/* rights may be written together: rwx */
			bits = 0;
			for (const char *c = part; *c != '\0'; c++) {
				char one[2] = { *c, '\0' };

				hit = w == prot_words ? find_name(w, one) : NULL;
				if (hit == NULL) {
					return false;
				}
				bits |= hit->value;
			}
		}
		*v |= bits;
	}
	return true;
}

static bool parse_arg(char letter, char *s, uint64_t mmap_base, uint64_t *v)
{
	bool choice;
	const struct word *w = words_of(letter, &choice);

	if (letter == 'a') {
		return parse_addr(s, mmap_base, v);
	}
	if (w == NULL) {
		return parse_number(s, v);
	}
	if (choice) {
		const struct word *hit = find_name(w, s);

		if (hit != NULL) {
			*v = hit->value;
			return true;
		}
		return parse_number(s, v) && (letter != 'd' || *v < FILE_ROLES);
	}
	return parse_bits(s, w, v);
}

int op_parse(const char *line, uint64_t mmap_base, struct op *op, char *why, size_t size)
{
	char copy[512], *save = NULL, *word;
	const char *args;

	snprintf(copy, sizeof(copy), "%s", line);
	copy[strcspn(copy, "#\n")] = '\0';
	word = strtok_r(copy, " \t", &save);
	if (word == NULL) {
		return 0;
	}
	memset(op, 0, sizeof(*op));
	op->kind = op_kind_of(word);
	if (op->kind == OP_KINDS) {
		snprintf(why, size, "'%s' is no operation", word);
		return -1;
	}
	args = rows[op->kind].args;
	for (size_t i = 0; args[i] != '\0'; i++) {
		word = strtok_r(NULL, " \t", &save);
		if (word == NULL) {
			/* What is left out is 0: mremap's new address, the byte of a touch. */
			break;
		}
		if (!parse_arg(args[i], word, mmap_base, &op->a[i])) {
			snprintf(why, size, "argument %zu of %s: '%s'", i + 1, rows[op->kind].name,
				 word);
			return -1;
		}
	}
	word = strtok_r(NULL, " \t", &save);
	if (word != NULL) {
		snprintf(why, size, "%s: '%s' is one argument too many", rows[op->kind].name, word);
		return -1;
	}
	return 1;
}

int script_read(FILE *in, uint64_t mmap_base, struct script *s, char *why, size_t size)
{
	char line[512], cause[256];
	unsigned number = 0;

	while (fgets(line, sizeof(line), in) != NULL) {
		struct op op;
		int r = op_parse(line, mmap_base, &op, cause, sizeof(cause));

		number++;
		if (r < 0) {
			snprintf(why, size, "line %u: %s", number, cause);
			return -1;
		}
		if (r > 0) {
			script_add(s, &op);
		}
	}
	return 0;
}

void script_add(struct script *s, const struct op *op)
{
	if (s->n == s->room) {
		s->room = s->room ? s->room * 2 : 64;
		s->op = realloc(s->op, s->room * sizeof(*s->op));
		if (s->op == NULL) {
			fputs("no memory\n", stderr);
			exit(2);
		}
	}
	s->op[s->n++] = *op;
}

void script_free(struct script *s)
{
	free(s->op);
	memset(s, 0, sizeof(*s));
}
