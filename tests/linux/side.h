/* SPDX-License-Identifier: MIT */
/*
 * side.h: one of the two that are compared: the kernel in a bare child, or the engine.
 *
 * Both perform the same operations from the same empty start and report, after each, the answer,
 * the counters and all regions. A region is compared by its extent, rights, sharing, offset and
 * what it shows; our own two regions of the bare child (guest.h), what a fill made and what lies
 * above user space are left out.
 */
#ifndef TESTS_LINUX_SIDE_H
#define TESTS_LINUX_SIDE_H

#include "guest.h"
#include "op.h"

/* What a region shows; SHOWS_FILE + role for a file, the lowest role of the file. */
enum shows { SHOWS_ANON, SHOWS_HEAP, SHOWS_STACK, SHOWS_SHARED_ANON, SHOWS_OTHER, SHOWS_FILE = 16 };

struct map_line {
	uint64_t start, end, off;
	uint8_t prot;
	uint8_t shared;
	uint16_t shows;
};

struct maps {
	struct map_line *line;
	size_t n, room;
};

struct map_line *maps_add(struct maps *m);
void maps_copy(struct maps *to, const struct maps *from);
void maps_free(struct maps *m);
bool maps_equal(const struct maps *a, const struct maps *b);
void maps_print(FILE *f, const struct maps *m, const struct maps *other, uint64_t mmap_base);

/* The line that holds addr, or NULL. */
const struct map_line *maps_find(const struct maps *m, uint64_t addr);

/* Which of the first 64 pages of 4 KiB from addr on are anonymous memory; bit i is page i's. */
uint64_t maps_anon(const struct maps *m, uint64_t addr);

/* ---- files ---- */

/* One set for each side, at fixed descriptors from `base`, so that contents never mix. */
struct fileset {
	int base;
	uint64_t page; /* every file ends in, or after, the last 4 KiB of one of these */
	uint64_t ino[FILE_ROLES], dev[FILE_ROLES];
	unsigned long disk_type; /* statfs(2)'s type of the disk files */
};

int fileset_open(struct fileset *fs, int base, uint64_t page, char *why, size_t size);
void fileset_close(struct fileset *fs);
int fileset_fd(const struct fileset *fs, uint64_t role);
/* Contents as they were at the start. */
int fileset_reset(struct fileset *fs);
uint16_t fileset_shows(const struct fileset *fs, uint64_t dev, uint64_t ino);

/* ---- sides ---- */

struct side {
	const char *name;
	/* Start anew. 0, or -1 with a sentence in `why`. */
	int (*reset)(struct side *side);
	/*
	 * Perform n operations; maps[i] are the regions after the i-th (NULL: not wanted). 0, or -1
	 * with a sentence in `why`: the side is broken, nothing was compared.
	 */
	int (*run)(struct side *side, const struct op *op, size_t n, struct answer *answer,
		   struct maps *maps);
	/* Look at the first 8 bytes of n pages of 4 KiB. NULL: cannot. */
	int (*peek)(struct side *side, uint64_t addr, size_t n, struct guest_peek *peek);
	void (*close)(struct side *side);
	char why[4096];
	const char *wrong; /* of an engine: a rule to get wrong on purpose, or NULL (engine.c) */
	uint64_t mmap_base;
	uint64_t stack_addr; /* the kernel calls a region that holds it [stack] */
};

#define ROOM_USUAL (8ul << 20)	    /* mmap_base as any process has it */
#define ROOM_PAGES (256ul << 20)    /* with larger pages: it can be moved to a multiple of them */
#define ROOM_WALL  (1ul << 30)	    /* for a fill above mmap_base */
#define WINDOW_END 0x550000000000ul /* with the host backend the guest lies below, we above */
#define LOCK_WIDE  (256ul << 20)    /* RLIMIT_MEMLOCK then: the host locks without a limit */
#define ROOM_WIDE \
	(64ul << 40) /* mmap_base in the middle: this process lies above all that is mapped */

/*
 * The kernel: `program` is the path of the bare child, `base` where the side's descriptors are,
 * `room` how much is left free above mmap_base, which is made a multiple of `page`.
 */
struct side *kernel_side(const char *program, int base, uint64_t room, uint64_t page, char *why,
			 size_t size);

/* vm.max_map_count, or 0: so many regions cannot be piled up (guest.h). */
uint64_t kernel_most_maps(void);

/*
 * The engine, with the recording backend or with the host backend over a window of this process.
 * Start `like` (a kernel side) first: mmap_base and the initial limits are taken from it.
 */
enum engine_backend { ENGINE_RECORD, ENGINE_HOST };
struct side *engine_side(enum engine_backend backend, const struct side *like, int base,
			 uint64_t page, char *why, size_t size);

#endif
