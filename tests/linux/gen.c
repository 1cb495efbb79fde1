// SPDX-License-Identifier: MIT
/*
 * gen.c: random operations (gen.h).
 *
 * A sequence has a taste, so that rare combinations come close together: one sequence lives in the
 * arena, one lets the kernel place everything, one plays with moves, with locks, with growth, with
 * files.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "gen.h"

#define SMALL	      (4ul << 20) /* most that one call may populate, or mark page by page */
#define GUARD_INSTALL 102	  /* MADV_GUARD_INSTALL, newer than the headers */

enum taste {
	TASTE_MIXED,
	TASTE_ARENA,
	TASTE_PLACED,
	TASTE_MOVES,
	TASTE_LOCKS,
	TASTE_GROWTH,
	TASTE_FILES,
	TASTES
};

static uint64_t rnd(struct gen *g)
{
	/* splitmix64 */
	uint64_t z = (g->state += 0x9e3779b97f4a7c15ul);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ul;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebul;
	return z ^ (z >> 31);
}

static uint64_t below(struct gen *g, uint64_t n)
{
	return rnd(g) % n;
}

/* True once in n. */
static bool once_in(struct gen *g, uint64_t n)
{
	return below(g, n) == 0;
}

#define PICK(g, array) ((array)[below(g, sizeof(array) / sizeof((array)[0]))])

void gen_start(struct gen *g, uint64_t seed, uint64_t mmap_base, uint64_t page, bool contents,
	       bool wall)
{
	*g = (struct gen){ .state = seed * 0x2545f4914f6cdd1dul + 1,
			   .mmap_base = mmap_base,
			   .page = page,
			   .contents = contents };
	g->taste = (unsigned)below(g, TASTES);
	if (wall) {
		g->wall = 3 + below(g, once_in(g, 2) ? 8 : 40);
	}
}

/* ---- addresses and lengths ---- */

static uint64_t arena_addr(struct gen *g)
{
	uint64_t pages = ARENA_PAGES * 4096 / g->page, first = (ARENA + g->page - 1) & -g->page;

	/* Half of the time in a corner of 16 pages, where things meet. */
	return first + g->page * below(g, once_in(g, 2) ? 16 : pages);
}

static const struct map_line *some_region(struct gen *g, const struct maps *maps)
{
	return maps->n == 0 ? NULL : &maps->line[below(g, maps->n)];
}

static uint64_t region_addr(struct gen *g, const struct maps *maps)
{
	const struct map_line *l = some_region(g, maps);
	uint64_t pages;

	if (l == NULL) {
		return arena_addr(g);
	}
	pages = (l->end - l->start) / g->page;
	switch (below(g, 6)) {
	case 0:
	case 1:
		return l->start;
	case 2:
		return l->end;
	case 3:
		return l->start + g->page * below(g, pages + 1);
	case 4:
		return l->end - g->page;
	default:
		return l->start - g->page * below(g, 4);
	}
}

static uint64_t hostile_addr(struct gen *g)
{
	static const uint64_t odd[] = { 0,
					0x1000,
					0xf000,
					0x10000,
					0x11000,
					1,
					GUEST_TASK,
					GUEST_TASK - 0x1000,
					GUEST_TASK - 0x2000,
					GUEST_TASK + 0x1000,
					0x800000000000,
					0x8000000000000000,
					0xffff800000000000,
					0xfffffffffffff000,
					0xffffffffffffffff,
					0xffffffffffffe000,
					GUEST_CODE,
					GUEST_CODE + 0x1000,
					GUEST_CODE - 0x1000,
					GUEST_AREA,
					GUEST_AREA - 0x1000,
					GUEST_AREA + 0x3000,
					0x40000000,
					0x80000000,
					0xfffff000 };

	return PICK(g, odd);
}

static uint64_t some_addr(struct gen *g, const struct maps *maps)
{
	uint64_t addr, r = below(g, 100);

	if (r < 48) {
		addr = arena_addr(g);
	} else if (r < 88) {
		addr = region_addr(g, maps);
	} else if (r < 94) {
		addr = g->mmap_base - g->page * below(g, 64);
	} else {
		addr = hostile_addr(g);
	}
	if (once_in(g, 40)) {
		addr += 1 + below(g, g->page - 1);
	}
	return addr;
}

static uint64_t some_len(struct gen *g, const struct maps *maps, uint64_t addr)
{
	static const uint64_t odd[] = { 0,
					1,
					0xfff,
					0x1001,
					0xffffffffffffffff,
					0xfffffffffffff000,
					0xfffffffffffff001,
					GUEST_TASK,
					GUEST_TASK - 0x1000,
					GUEST_TASK + 1,
					0x8000000000000000,
					1ul << 40,
					1ul << 33,
					1ul << 30 };
	uint64_t r = below(g, 100);
	const struct map_line *l;

	if (r < 60) {
		return g->page * (1 + below(g, once_in(g, 3) ? 24 : 6));
	}
	if (r < 82) {
		/* The rest of the region, a page less, a page more. */
		l = maps_find(maps, addr);
		if (l != NULL) {
			uint64_t len = l->end - addr;

			return once_in(g, 3) ? len + g->page * below(g, 3) : len;
		}
		return g->page * (1 + below(g, 8));
	}
	if (r < 88) {
		return (2ul << 20) * (1 + below(g, 3));
	}
	if (r < 93) {
		return g->page * (1 + below(g, 8)) - 1 - below(g, g->page - 1);
	}
	if (r < 95) {
		return g->page * (400 + below(g, 800));
	}
	return once_in(g, 2) ? PICK(g, odd) : g->page * (1 + below(g, 4));
}

static uint64_t some_prot(struct gen *g)
{
	static const uint64_t common[] = { 3, 3, 3, 3, 3, 3, 1, 1, 0, 0, 5, 7, 2, 4 };
	static const uint64_t odd[] = { 8, 0x10, 0x100, 0xb, 6, 0xffffffff, 0x1000003 };

	return once_in(g, 60) ? PICK(g, odd) : PICK(g, common);
}

static uint64_t some_role(struct gen *g)
{
	static const uint64_t common[] = { FILE_RW,	FILE_RW,    FILE_RW_AGAIN,
					   FILE_RW_DUP, FILE_MEMFD, FILE_BIG,
					   FILE_BIG,	FILE_RO,    FILE_SEALED };

	return once_in(g, 12) ? below(g, FILE_ROLES) : PICK(g, common);
}

static uint64_t some_offset(struct gen *g)
{
	static const uint64_t odd[] = { 1,
					0x800,
					0x7ffffffffffff000,
					0x7fffffffffffe000,
					0x8000000000000000,
					0xfffffffffffff000,
					0xffffffffffffffff };
	uint64_t r = below(g, 100);

	if (r < 40) {
		return 0;
	}
	if (r < 85) {
		return g->page * below(g, 70);
	}
	if (r < 94) {
		return (2ul << 20) * below(g, 16) + (once_in(g, 2) ? 0 : g->page * below(g, 8));
	}
	return once_in(g, 2) ? PICK(g, odd) : g->page * 0x100000;
}

/* ---- operations ---- */

/* No MAP_HUGETLB: what it answers hangs on the pages the machine has set aside. */
static uint64_t some_map_flags(struct gen *g, bool *file)
{
	static const uint64_t odd[] = {
		MAP_STACK,	MAP_STACK,     MAP_NORESERVE, MAP_NORESERVE,
		MAP_GROWSDOWN,	MAP_GROWSDOWN, MAP_LOCKED,    MAP_POPULATE,
		MAP_NONBLOCK,	MAP_DENYWRITE, MAP_32BIT,     MAP_32BIT,
		MAP_EXECUTABLE, 0x4000000,     0x200000,      MAP_SYNC,
	};
	uint64_t flags;

	*file = once_in(g, g->taste == TASTE_FILES ? 2 : 6);
	if (*file) {
		flags = once_in(g, 2) ? MAP_PRIVATE : MAP_SHARED;
		if (once_in(g, 20)) {
			flags = MAP_SHARED_VALIDATE;
		}
	} else {
		flags = (once_in(g, 6) ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS;
		if (once_in(g, 60)) {
			flags = MAP_ANONYMOUS |
				(once_in(g, 2) ? 8 : below(g, 16)); /* 8: droppable */
		}
	}
	if (once_in(g, 100)) {
		flags = (flags & ~0xful) | below(g, 16);
	}
	if (once_in(g, 5)) {
		flags |= PICK(g, odd);
	}
	if (g->taste == TASTE_GROWTH && once_in(g, 3)) {
		flags |= MAP_GROWSDOWN;
	}
	if (g->taste == TASTE_LOCKS && once_in(g, 5)) {
		flags |= MAP_LOCKED;
	}
	return flags;
}

static void gen_mmap(struct gen *g, const struct maps *maps, struct op *op)
{
	bool file;
	uint64_t flags = some_map_flags(g, &file), r = below(g, 100);

	op->kind = OP_MMAP;
	op->a[0] = some_addr(g, maps);
	if (g->taste == TASTE_PLACED ? r < 70 : r < 20) {
		op->a[0] = 0;
	} else if (r < 90) {
		flags |= once_in(g, 6) ? MAP_FIXED_NOREPLACE : MAP_FIXED;
	}
	op->a[1] = some_len(g, maps, op->a[0]);
	op->a[2] = some_prot(g);
	op->a[4] = file ? some_role(g) : once_in(g, 10) ? some_role(g) : FILE_NONE;
	op->a[5] = file ? some_offset(g) : once_in(g, 10) ? some_offset(g) : 0;
	if (op->a[1] > SMALL) {
		flags &= ~(uint64_t)(MAP_POPULATE | MAP_LOCKED);
	}
	if (g->contents) {
		flags &= ~(uint64_t)MAP_SYNC; /* the engine does not tell its host of that */
	}
	op->a[3] = flags;
}

static void gen_mremap(struct gen *g, const struct maps *maps, struct op *op)
{
	static const uint64_t flags[] = { 0, 1, 1, 1, 3, 3, 5, 7 };

	op->kind = OP_MREMAP;
	op->a[0] = once_in(g, 4) ? some_addr(g, maps) : region_addr(g, maps);
	op->a[1] = some_len(g, maps, op->a[0]);
	switch (below(g, 4)) {
	case 0:
		op->a[2] = op->a[1];
		break;
	case 1:
		op->a[2] = op->a[1] + g->page * below(g, 9);
		break;
	case 2:
		op->a[2] = op->a[1] > g->page ? op->a[1] - g->page : op->a[1];
		break;
	default:
		op->a[2] = some_len(g, maps, op->a[0]);
	}
	op->a[3] = once_in(g, 40) ? below(g, 16) : PICK(g, flags);
	if (op->a[3] & MREMAP_DONTUNMAP && !once_in(g, 8)) {
		op->a[2] = op->a[1];
	}
	if (op->a[3] & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
		op->a[4] = some_addr(g, maps);
	}
	if (once_in(g, 30)) {
		op->a[1] = 0;
	}
}

/* Poisoning is left out: whether a kernel knows it is its configuration. */
static void gen_madvise(struct gen *g, const struct maps *maps, struct op *op)
{
	static const uint64_t common[] = { MADV_DONTNEED,	MADV_DONTNEED, MADV_DONTFORK,
					   MADV_DOFORK,		MADV_FREE,     MADV_WIPEONFORK,
					   MADV_KEEPONFORK,	MADV_DONTDUMP, MADV_DODUMP,
					   MADV_NOHUGEPAGE,	MADV_REMOVE,   MADV_POPULATE_READ,
					   MADV_POPULATE_WRITE, GUARD_INSTALL, 103 };
	static const uint64_t odd[] = { MADV_NORMAL,
					MADV_RANDOM,
					MADV_SEQUENTIAL,
					MADV_WILLNEED,
					MADV_MERGEABLE,
					MADV_UNMERGEABLE,
					MADV_HUGEPAGE,
					MADV_COLD,
					MADV_PAGEOUT,
					24,
					5,
					26,
					99,
					0xffffffff };

	op->kind = OP_MADVISE;
	op->a[0] = some_addr(g, maps);
	op->a[1] = some_len(g, maps, op->a[0]);
	op->a[2] = once_in(g, 4) ? PICK(g, odd) : PICK(g, common);
	if (op->a[1] > SMALL &&
	    (op->a[2] == MADV_POPULATE_READ || op->a[2] == MADV_POPULATE_WRITE ||
	     op->a[2] == MADV_WILLNEED || op->a[2] == GUARD_INSTALL)) {
		op->a[1] = g->page * (1 + below(g, 8));
	}
	if (g->contents && op->a[2] == MADV_FREE) {
		op->a[2] = MADV_DONTNEED;
	}
}

static void gen_lock(struct gen *g, const struct maps *maps, struct op *op)
{
	static const enum op_kind kinds[] = { OP_MLOCK,	  OP_MLOCK,    OP_MLOCK2,    OP_MUNLOCK,
					      OP_MUNLOCK, OP_MLOCKALL, OP_MUNLOCKALL };

	op->kind = PICK(g, kinds);
	if (op->kind == OP_MLOCKALL) {
		op->a[0] =
			once_in(g, 6) ? below(g, 16) : PICK(g, ((uint64_t[]){ 1, 2, 3, 5, 6, 7 }));
		if (g->contents && (op->a[0] & MCL_FUTURE)) {
			/*
			 * What is born locked on fault is mapped and then locked, for the host has no
			 * one call for that: in between it may join an unlocked neighbour, and take
			 * its identity. And what the host grows of locked memory by itself asks a
			 * limit that only the guest has.
			 */
			op->a[0] = (op->a[0] & ~(uint64_t)MCL_FUTURE) | MCL_CURRENT;
		}
		return;
	}
	if (op->kind == OP_MUNLOCKALL) {
		return;
	}
	op->a[0] = some_addr(g, maps);
	op->a[1] = some_len(g, maps, op->a[0]);
	if (op->kind == OP_MLOCK2) {
		op->a[2] = once_in(g, 10) ? below(g, 4) : below(g, 2);
	}
}

static void gen_touch(struct gen *g, const struct maps *maps, struct op *op)
{
	uint64_t addr;

	op->kind = OP_TOUCH;
	do {
		addr = once_in(g, 4) ? some_addr(g, maps) : region_addr(g, maps);
		addr += once_in(g, 2) ? 0 : below(g, g->page);
		/* Our own area is in use; beyond user space the hardware answers, not the maps. */
	} while ((addr >= GUEST_AREA && addr < GUEST_AREA + GUEST_AREA_SIZE) ||
		 (g->contents && addr >= GUEST_CODE && addr < GUEST_CODE + GUEST_CODE_SIZE) ||
		 addr >= 0x800000000000ul);
	op->a[0] = addr;
	op->a[1] = once_in(g, 3) ? GUEST_READ : GUEST_WRITE;
	op->a[2] = 1 + below(g, 255);
}

/*
 * With contents, no limits on sizes and no seals: what they refuse late leaves mappings in parts,
 * which the engine keeps to itself and does not do to its own host. The recording backend shows
 * those.
 */
static void gen_limit(struct gen *g, struct op *op)
{
	static const uint64_t memlock[] = {
		0, 0x1000, 0x10000, 0x10000, 0x40000, 8 << 20, 8 << 20
	};
	/* Beside what the fill has. */
	const uint64_t fill = g->wall != 0 ? GUEST_FILL_END - GUEST_FILL_AT : 0;
	static const uint64_t as[] = { 0, 0x200000, 0x400000, 0x1000000, ~0ul, ~0ul, ~0ul, ~0ul };
	static const uint64_t data[] = { 0,    0x1000, 0x10000, 0x40000, 0x400000,
					 ~0ul, ~0ul,   ~0ul,	~0ul };
	static const uint64_t stack[] = { 0, 0x2000, 0x10000, 8 << 20, 8 << 20, ~0ul };

	op->kind = OP_LIMIT;
	switch (g->contents ? 2 : below(g, 4)) {
	case 0:
		op->a[0] = RLIMIT_AS;
		op->a[1] = PICK(g, as);
		op->a[1] += op->a[1] != ~0ul ? fill : 0;
		break;
	case 1:
		op->a[0] = RLIMIT_DATA;
		op->a[1] = PICK(g, data);
		break;
	case 2:
		op->a[0] = RLIMIT_STACK;
		op->a[1] = PICK(g, stack);
		break;
	default:
		op->a[0] = RLIMIT_MEMLOCK;
		op->a[1] = PICK(g, memlock);
	}
}

static void gen_brk(struct gen *g, const struct maps *maps, struct op *op)
{
	op->kind = OP_BRK;
	op->a[0] = GUEST_BRK + g->page * below(g, once_in(g, 3) ? 160 : 16);
	if (once_in(g, 6)) {
		op->a[0] += below(g, g->page);
	}
	if (once_in(g, 20)) {
		op->a[0] = some_addr(g, maps);
	}
}

static void gen_rare(struct gen *g, const struct maps *maps, struct op *op)
{
	op->a[0] = some_addr(g, maps);
	op->a[1] = some_len(g, maps, op->a[0]);
	switch (below(g, 4)) {
	case 0:
		op->kind = OP_MSEAL;
		/* Seals never go: late, and small. */
		if (g->contents || g->step < 300 || op->a[1] > 16 * g->page) {
			op->a[2] = 1;
		}
		break;
	case 1:
		/* A forked engine with contents is another process than the one that compares. */
		op->kind = g->contents ? OP_MINCORE : OP_FORK;
		op->a[0] = g->contents ? op->a[0] : below(g, 2);
		op->a[1] = g->contents ? op->a[1] : 0;
		break;
	case 2:
		op->kind = OP_MINCORE;
		break;
	default:
		op->kind = OP_MSYNC;
		/* Rarely for real: writing back is slow and tells nothing more. */
		op->a[2] = once_in(g, 10) ? MS_SYNC : once_in(g, 6) ? below(g, 16) : below(g, 4);
	}
}

/*
 * The bare child's own regions, and the fill, are sealed, but advice still works on a sealed region,
 * and locking: neither may reach them. Ranges that wrap are refused as a whole and harm nobody.
 */
static bool reaches_ours(const struct gen *g, const struct op *op)
{
	uint64_t start = op->a[0] & ~0xffful, end = op->a[0] + op->a[1] + 0xfff;

	if (op->kind != OP_MADVISE && op->kind != OP_MLOCK && op->kind != OP_MLOCK2 &&
	    op->kind != OP_MUNLOCK) {
		return false;
	}
	if (end > start && start < GUEST_FILL_END && end > GUEST_FILL_AT && g->wall != 0) {
		return true;
	}
	return end > start && ((start < GUEST_CODE + GUEST_CODE_SIZE && end > GUEST_CODE) ||
			       (start < GUEST_AREA + GUEST_AREA_SIZE && end > GUEST_AREA));
}

/* With contents the engine is the very process that compares: the guest keeps to its window. */
static bool leaves_window(const struct op *op)
{
	/*
	 * Nor may a move be refused for its size: whether it is charged hangs on which pages exist,
	 * and over real holes the engine leaves that to the host.
	 */
	if (op->kind == OP_MREMAP &&
	    (op->a[1] - (1ul << 30) < GUEST_TASK || op->a[2] - (1ul << 30) < GUEST_TASK)) {
		return true;
	}
	for (unsigned i = 0; i < 6; i += 4) {
		uint64_t addr = op->a[i];

		if ((i == 0 || op->kind == OP_MREMAP) && addr < GUEST_TASK &&
		    (addr >= WINDOW_END ||
		     (op->a[1] < GUEST_TASK && addr + op->a[1] > WINDOW_END))) {
			return true;
		}
	}
	return false;
}

/* When there are many regions, take some away: a long list hides what happens and costs time. */
static void gen_sweep(struct gen *g, const struct maps *maps, struct op *op)
{
	const struct map_line *l = some_region(g, maps);

	op->kind = OP_MUNMAP;
	op->a[0] = once_in(g, 3) ? ARENA : l->start;
	op->a[1] = once_in(g, 3) ? ARENA_PAGES * 4096 : l->end - l->start;
}

static void draw(struct gen *g, const struct maps *maps, struct op *op)
{
	/* Of 100: mmap munmap mprotect mremap madvise touch lock brk limit; the rest is rare. */
	static const uint8_t share[TASTES][9] = {
		[TASTE_MIXED] = { 26, 12, 14, 12, 10, 14, 4, 3, 1 },
		[TASTE_ARENA] = { 32, 12, 18, 8, 8, 16, 1, 2, 0 },
		[TASTE_PLACED] = { 40, 20, 8, 14, 4, 6, 2, 2, 1 },
		[TASTE_MOVES] = { 24, 8, 8, 34, 4, 16, 1, 1, 1 },
		[TASTE_LOCKS] = { 24, 10, 12, 12, 8, 6, 20, 3, 2 },
		[TASTE_GROWTH] = { 28, 10, 12, 8, 6, 28, 2, 2, 2 },
		[TASTE_FILES] = { 30, 10, 12, 14, 14, 12, 2, 2, 1 },
	};
	uint64_t r = below(g, 100);
	unsigned kind;

	memset(op, 0, sizeof(*op));
	if (g->wall != 0 ? maps->n >= g->wall && once_in(g, 12) : maps->n > 48 && once_in(g, 4)) {
		gen_sweep(g, maps, op);
		return;
	}
	for (kind = 0; kind < 9; kind++) {
		if (r < share[g->taste][kind]) {
			break;
		}
		r -= share[g->taste][kind];
	}
	switch (kind) {
	case 0:
		gen_mmap(g, maps, op);
		return;
	case 1:
		op->kind = OP_MUNMAP;
		break;
	case 2:
		op->kind = OP_MPROTECT;
		op->a[2] = some_prot(g);
		if (once_in(g, 25)) {
			op->a[2] |= once_in(g, 4) ? PROT_GROWSUP : PROT_GROWSDOWN;
		}
		break;
	case 3:
		gen_mremap(g, maps, op);
		return;
	case 4:
		gen_madvise(g, maps, op);
		return;
	case 5:
		gen_touch(g, maps, op);
		return;
	case 6:
		gen_lock(g, maps, op);
		return;
	case 7:
		gen_brk(g, maps, op);
		return;
	case 8:
		gen_limit(g, op);
		return;
	default:
		gen_rare(g, maps, op);
		return;
	}
	op->a[0] = some_addr(g, maps);
	op->a[1] = some_len(g, maps, op->a[0]);
}

/* ---- larger pages ---- */

static uint64_t round_len(uint64_t len, uint64_t page)
{
	uint64_t up = (len + page - 1) & -page;

	return up < len ? len & -page : up;
}

/* An address or offset that no page size accepts stays: it is to be refused. */
static uint64_t round_strict(uint64_t v, uint64_t page)
{
	return v & 0xfff ? v : v & -page;
}

void gen_round(struct op *op, uint64_t page)
{
	uint64_t *a = op->a;

	if (page == 4096) {
		return;
	}
	switch (op->kind) {
	case OP_TOUCH:
		/* The first 4 KiB of a page: growth ends there, and so does a file. */
		a[0] &= -page | 0xfff;
		return;
	case OP_BRK:
		a[0] &= -page;
		return;
	case OP_LIMIT:
		a[1] = a[1] == ~0ul ? a[1] : round_len(a[1], page);
		return;
	case OP_FORK:
	case OP_FILL:
	case OP_MLOCKALL:
	case OP_MUNLOCKALL:
		return;
	case OP_MMAP:
		a[0] = a[3] & MAP_FIXED ? round_strict(a[0], page) : a[0] & -page;
		a[5] = round_strict(a[5], page);
		break;
	case OP_MLOCK:
	case OP_MLOCK2:
	case OP_MUNLOCK:
		a[0] &= -page;
		break;
	case OP_MREMAP:
		a[0] = round_strict(a[0], page);
		a[2] = round_len(a[2], page);
		a[4] &= -page;
		break;
	default:
		a[0] = round_strict(a[0], page);
	}
	a[1] = round_len(a[1], page);
}

static bool reaches_code(uint64_t addr, uint64_t len, uint64_t page)
{
	return addr < GUEST_CODE + page && addr + len > GUEST_CODE && addr + len >= addr;
}

/* The child's code is one page of 4 KiB, the engine's is one page of the guest. */
static bool meets_code(const struct op *op, uint64_t page)
{
	if (page == 4096 || op->kind == OP_LIMIT || op->kind == OP_TOUCH) {
		return false;
	}
	return reaches_code(op->a[0], op->a[1], page) ||
	       (op->kind == OP_MREMAP && reaches_code(op->a[4], op->a[2], page));
}

void gen_next(struct gen *g, const struct maps *maps, struct op *op)
{
	g->step++;
	if (g->step == 1 && g->wall != 0) {
		*op = (struct op){ .kind = OP_FILL, .a = { g->wall } };
		return;
	}
	do {
		draw(g, maps, op);
		gen_round(op, g->page);
	} while (reaches_ours(g, op) || meets_code(op, g->page) ||
		 (g->contents && leaves_window(op)));
}
