// SPDX-License-Identifier: MIT
/*
 * memory_geometry.c: an edit of one range over what stands in another, in each way that two ranges
 * can lie to each other, against the array of cells in tests/model/memory_naive.h: slots, events,
 * counts, blocks, the table, and bytes.
 *
 * As it stands some of the layouts and states are looked at; with the argument "all", all of them.
 *
 * The named tests are what HAXM's slots got wrong, and how blocks that slots own come and go.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

#include "base/epoch.h"
#include "memory_naive.h"

#define countof(a) (sizeof(a) / sizeof((a)[0]))
#define NO	   VMS_SLOT_NOREPLACE

static struct nmemory m;
static char text[400]; /* what a failure is about */
static uint64_t commits;
static bool all;

static void judge(const char *wrong)
{
	if (!wrong)
		return;
	print_error("%s: %s\n", text, wrong);
	nstate_print(&m, &m.now);
	assert_null(wrong);
}

static void begin(const struct nlayout *layout)
{
	assert_non_null(nmemory_pool());
	assert_ok(nmemory_begin(&m, layout, NULL));
	assert_ok(nmemory_listen(&m));
}

static void end(void)
{
	judge(nmemory_end(&m));
}

static int commit(const struct nchange *c, unsigned n)
{
	int result;

	judge(nmemory_commit(&m, c, n, &result));
	commits++;
	return result;
}

/* A block that has as many bytes as there are cells, and more; a large layout has slow ones. */
static struct nblock *block(unsigned number)
{
	uint64_t bytes = ncells_size(&m, 0, m.n) + 512 * NPAGE;
	struct nblock *b;

	b = nblock_create(&m, VMS_BLOCK_HOST, 0, nmemory_pool() + number * 3 * NPAGE, bytes);
	assert_non_null(b);
	return b;
}

static uint64_t off_at(unsigned cell)
{
	return m.at[cell] - m.at[0];
}

/* Cells [first, end) show b as if it began with the first cell, `shift` bytes on. */
static struct nchange map(unsigned first, unsigned end_, struct nblock *b, uint64_t shift,
			  uint32_t access)
{
	return (struct nchange){ .verb = NMAP,
				 .first = first,
				 .n = end_ - first,
				 .b = b,
				 .off = off_at(first) + shift,
				 .access = access };
}

static struct nchange unmap(unsigned first, unsigned end_)
{
	return (struct nchange){ .verb = NUNMAP, .first = first, .n = end_ - first };
}

static struct nchange protect(unsigned first, unsigned end_, uint32_t access)
{
	return (struct nchange){
		.verb = NPROTECT, .first = first, .n = end_ - first, .access = access
	};
}

/* One that its slot owns, over the pool from byte `at` of it on. */
static struct nchange host(unsigned first, unsigned end_, uint64_t at, uint32_t access)
{
	struct nblock *b = nblock_for(&m, NMAP_HOST, first, end_ - first, nmemory_pool() + at);

	assert_non_null(b);
	return (struct nchange){
		.verb = NMAP_HOST, .first = first, .n = end_ - first, .b = b, .access = access
	};
}

static void one(struct nchange c, int want)
{
	assert_int_equal(commit(&c, 1), want);
}

/* Are so many slots there? */
static void slots(uint64_t n)
{
	struct vms_memory_info info = { .size = sizeof(info) };

	assert_ok(vms_memory_info(m.mem, &info));
	assert_int_equal(info.slots, n);
}

/* How many events the edit would make; it is made. */
static size_t events_of(const struct nchange *c, unsigned n)
{
	struct nstate was = m.now;

	assert_ok(commit(c, n));
	return nmemory_events(&m, &was, &m.now);
}

static void synchronized(void)
{
	vms_memory_synchronize(m.mem);
	judge(nblocks_sweep(&m, true));
}

/* ---- All relations of two ranges ---- */

/* One slot at cells [8, 16), and the edit's range. */
static const struct {
	const char *name;
	unsigned first, end;
} relations[] = {
	{ "before", 2, 6 },	  { "meets", 4, 8 },	       { "overlaps", 4, 12 },
	{ "finished by", 4, 16 }, { "contains", 4, 20 },       { "starts", 8, 12 },
	{ "equals", 8, 16 },	  { "started by", 8, 20 },     { "during", 10, 14 },
	{ "finishes", 12, 16 },	  { "overlapped by", 12, 20 }, { "met by", 16, 20 },
	{ "after", 18, 22 },
};

enum around { ALONE, SAME, OTHER, BOTH_ENDS, AROUNDS };

static const char *const around_name[] = { "alone", "among its own", "among others",
					   "at the ends" };

/* What stands beside the slot. */
static void surround(enum around around, struct nblock *a, struct nblock *b, uint32_t access)
{
	uint32_t opposite = access == RAM ? ROM : RAM;

	if (around == SAME) {
		one(map(4, 8, a, 0, opposite), 0);
		one(map(16, 20, a, 0, opposite), 0);
	} else if (around == OTHER) {
		one(map(5, 7, b, 0, RAM), 0);
		one(map(17, 19, a, NPAGE, access), 0);
	} else if (around == BOTH_ENDS) {
		one(map(0, 3, a, 0, access), 0);
		one(map(21, m.n, b, 0, ROM), 0);
	}
}

static void relate(const struct nlayout *layout, enum around around, uint32_t old, uint32_t new)
{
	static const char *const target[] = { "same distance", "other offset", "other block" };
	static const char *const verb[] = { "map", "NOREPLACE", "unmap", "protect" };
	struct nblock *a, *b;

	begin(layout);
	a = block(0);
	b = block(1);
	for (unsigned r = 0; r < countof(relations); r++)
		for (unsigned t = 0; t < countof(target); t++)
			for (unsigned v = 0; v < countof(verb); v++) {
				unsigned first = relations[r].first, last = relations[r].end;

				if (t && v >= 2)
					continue; /* no target */
				one(unmap(0, m.n), 0);
				one(map(8, 16, a, 0, old), 0);
				surround(around, a, b, old);
				snprintf(text, sizeof(text), "%s, %s, %s access %u by %u, %s, %s",
					 layout->name, relations[r].name, verb[v], old, new,
					 target[t], around_name[around]);
				struct nchange c = v == 2   ? unmap(first, last)
						   : v == 3 ? protect(first, last, new)
							    : map(first, last, t == 2 ? b : a,
								  t == 1 ? 2 * NPAGE : 0,
								  new | (v == 1 ? NO : 0));

				commit(&c, 1);
				/* A second time it comes to nothing, or is refused again. */
				commit(&c, 1);
				if (r % 4 == 0)
					synchronized();
			}
	end();
}

static void relations_of_two(void **state)
{
	static const uint32_t rights[] = { RAM, ROM };

	for (unsigned l = 0; l < n_nlayouts; l++) {
		if (!strcmp(nlayouts[l].name, "huge") || (!all && l % 4 != 1))
			continue;
		for (unsigned around = 0; around < AROUNDS; around++)
			for (unsigned i = 0; i < 4; i++)
				relate(&nlayouts[l], around, rights[i / 2], rights[i % 2]);
	}
	print_message("%llu commits\n", (unsigned long long)commits);
	assert_true(commits > (all ? 40000 : 8000));
}

/* ---- All states of four cells, all ranges, all changes ---- */

static const struct nlayout four = { "four", .base = (UINT64_C(2) << 20) - 2 * NPAGE, .n = 4 };

static void set(unsigned cell, unsigned kind, struct nblock *a, struct nblock *b, struct nchange *c)
{
	static const uint32_t right[] = { 0, RAM, ROM, RAM, RAM };

	*c = kind ? map(cell, cell + 1, kind == 4 ? b : a, kind == 3 ? NPAGE : 0, right[kind])
		  : unmap(cell, cell + 1);
}

static void all_states(void **state)
{
	struct nchange put[4], c;
	struct nblock *a, *b;

	begin(&four);
	a = block(0);
	b = block(1);
	for (unsigned s = 0; s < 5 * 5 * 5 * 5; s += all ? 1 : 11)
		for (unsigned first = 0; first < 4; first++)
			for (unsigned last = first; last < 4; last++)
				for (unsigned k = 0; k < 9; k++) {
					unsigned rest = s;

					for (unsigned i = 0; i < 4; i++, rest /= 5)
						set(i, rest % 5, a, b, &put[i]);
					snprintf(text, sizeof(text), "state %u change %u [%u,%u]",
						 s, k, first, last);
					assert_ok(commit(put, 4));
					if (k < 5) {
						set(first, k, a, b, &c);
						c.n = last + 1 - first;
					} else if (k < 7) {
						c = protect(first, last + 1, k == 5 ? RAM : ROM);
					} else {
						c = map(first, last + 1, k == 7 ? a : b, 0,
							RAM | NO);
					}
					commit(&c, 1);
				}
	end();
}

/* ---- Nodes of all sizes ---- */

/* From one page to 2^62 bytes, up to the last byte of the 64-bit space. */
static void all_sizes(void **state)
{
	static const uint32_t right[] = { RAM, ROM, VMS_SLOT_READ };
	const struct nlayout *huge = &nlayouts[n_nlayouts - 1];
	struct nchange c;

	assert_string_equal(huge->name, "huge");
	begin(huge);
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < m.n; i++) {
			unsigned cell = (i * 11 + round * 5) % m.n,
				 n = cell % 5 == 0 && cell < 20 ? 2 : 1;

			snprintf(text, sizeof(text), "huge, round %u, cell %u", round, cell);
			c = (struct nchange){ .verb = NMAP_SLOW,
					      .first = cell,
					      .n = n,
					      .b = nblock_for(&m, NMAP_SLOW, cell, n,
							      nmemory_pool()),
					      .access = right[(i + round) % 3] };
			assert_non_null(c.b);
			one(c, 0);
			synchronized();
		}
	one(protect(0, m.n, RAM), 0);
	one(unmap(3, 5), 0);
	one(protect(m.n - 2, m.n, ROM), 0);
	one(unmap(m.n - 1, m.n), 0); /* the last page of all */
	one(unmap(0, m.n), 0);
	synchronized();
	slots(0);
	end();
}

/* ---- What HAXM's slots got wrong ---- */

static const struct nlayout *const low = &nlayouts[0];

/* H1: a slot that is covered whole shows the new block, or the new offset. */
static void cover_with_another_block(void **state)
{
	begin(low);
	struct nblock *a = block(0), *b = block(1);

	one(map(8, 12, a, 0, RAM), 0);
	struct nchange c = map(8, 12, b, 0, RAM);
	assert_int_equal(events_of(&c, 1), 1); /* one, CHANGED, from A to B */
	assert_int_equal(nblock_slots(&m, &m.now, a), 0);
	c = map(8, 12, b, 4 * NPAGE, RAM);
	assert_int_equal(events_of(&c, 1), 1);
	c = map(6, 14, b, 2 * NPAGE, RAM);
	assert_int_equal(events_of(&c, 1), 3);
	slots(1);
	end();
}

/* H2: the new one of two that own their block lives, the old one ends, once. */
static void cover_a_standalone_by_another(void **state)
{
	begin(low);
	struct nchange first = host(2, 10, 0, RAM), second = host(2, 10, 64 * NPAGE, RAM);

	one(first, 0);
	one(second, 0);
	vms_memory_synchronize(m.mem);
	assert_int_equal(first.b->released, 1);
	assert_int_equal(second.b->released, 0);
	synchronized();
	slots(1);
	one(unmap(0, m.n), 0);
	vms_memory_synchronize(m.mem);
	assert_int_equal(second.b->released, 1);
	synchronized();
	end();
}

/* H3: what covers several slots is one. */
static void cover_several(void **state)
{
	begin(low);
	struct nblock *a = block(0), *b = block(1);

	one(map(4, 8, a, 0, ROM), 0);
	one(map(8, 12, a, 0, RAM), 0);
	one(map(12, 16, a, 0, RAM), 0);
	slots(2); /* the last two are one */
	struct nchange c = map(0, 12, b, 0, RAM);
	assert_int_equal(events_of(&c, 1), 3);
	slots(2);
	end();
}

/* H4: each event says where its own part is. */
static void holes_between(void **state)
{
	begin(low);
	struct nblock *a = block(0);

	one(map(4, 8, a, 0, RAM), 0);
	one(map(12, 16, a, 0, RAM), 0);
	struct nchange c = map(2, 20, a, 0, RAM);
	assert_int_equal(events_of(&c, 1), 3); /* the holes before, between and behind */
	slots(1);
	end();
}

/* H5: a hole that becomes a hole is nothing. */
static void unmap_a_hole(void **state)
{
	begin(low);
	struct nblock *a = block(0);
	struct nchange c[] = { unmap(12, 16), unmap(0, 8), unmap(12, m.n), map(8, 12, a, 0, RAM) };

	one(map(8, 12, a, 0, RAM), 0);
	for (unsigned i = 0; i < countof(c); i++)
		assert_int_equal(events_of(&c[i], 1), 0);
	assert_int_equal(events_of(c, countof(c)), 0);
	assert_int_equal(m.edits, 1);
	end();
}

/* H6: see tests/fail/memory.c too: each allocation fails there. */
static void rom_in_the_middle(void **state)
{
	begin(low);
	struct nblock *a = block(0);

	one(map(0, 12, a, 0, RAM), 0);
	struct nchange c = map(4, 8, a, 0, ROM);
	assert_int_equal(events_of(&c, 1), 1);
	slots(3);
	c = map(4, 8, a, 0, RAM);
	assert_int_equal(events_of(&c, 1), 1);
	slots(1);
	end();
}

/* H7: the last of a run of slots is replaced. */
static void replace_the_last_of_a_run(void **state)
{
	begin(low);
	struct nblock *a = block(0), *b = block(1);

	one(map(4, 8, a, 0, RAM), 0);
	one(map(8, 12, b, 0, RAM), 0);
	struct nchange c = map(5, 12, a, 0, ROM);
	assert_int_equal(events_of(&c, 1), 2);
	slots(2);
	end();
}

/* H8: other rights are CHANGED, never REMOVED, and not for what has them already. */
static void protect_is_a_change(void **state)
{
	begin(low);
	struct nblock *a = block(0);

	one(map(2, 8, a, 0, RAM), 0);
	one(map(6, 7, a, 0, ROM), 0);
	struct nchange c = protect(4, 8, ROM);
	assert_int_equal(events_of(&c, 1), 2); /* [4,6) and [7,8) */
	slots(2);
	end();
}

/* H9: rights end with the slot. */
static void rights_end_with_the_slot(void **state)
{
	begin(low);
	struct nblock *a = block(0);

	one(map(2, 8, a, 0, RAM), 0);
	one(protect(4, 6, ROM), 0);
	one(unmap(4, 6), 0);
	one(map(4, 6, a, 0, RAM), 0);
	slots(1);
	end();
}

/* ---- Blocks that their slots own ---- */

/* Mapped, unmapped, and mapped again over the same and over overlapping memory. */
static void standalone_again(void **state)
{
	begin(low);
	struct nchange c = host(2, 10, 0, RAM);

	one(c, 0);
	one(unmap(2, 10), 0);
	one(host(2, 10, 0, RAM), 0);
	one(unmap(2, 10), 0);
	one(host(4, 12, 4 * NPAGE, RAM), 0);
	/* The same memory while the old one stands: another block, whatever HAXM says. */
	struct nchange again = host(4, 12, 4 * NPAGE, RAM);
	assert_int_equal(events_of(&again, 1), 1);
	/* And in one edit. */
	struct nchange both[] = { unmap(0, m.n), host(3, 12, 3 * NPAGE, ROM) };
	assert_int_equal(events_of(both, 2), 2);
	synchronized();
	slots(1);
	end();
}

/* Mapped and replaced in one edit: it was never there, and is released. */
static void standalone_never_seen(void **state)
{
	begin(low);
	struct nchange c[] = { host(2, 10, 0, RAM), host(2, 10, NPAGE, RAM), unmap(4, 6) };

	assert_int_equal(events_of(c, 3), 2);
	vms_memory_synchronize(m.mem);
	assert_int_equal(c[0].b->released, 1);
	assert_int_equal(c[1].b->released, 0);
	synchronized();
	end();
}

/* The block lives until its last part has gone. */
static void standalone_in_parts(void **state)
{
	begin(low);
	struct nchange c = host(2, 14, 0, RAM);

	one(c, 0);
	one(unmap(6, 8), 0);
	one(protect(10, 12, ROM), 0);
	slots(4);
	one(unmap(2, 6), 0);
	one(unmap(10, 14), 0);
	vms_memory_synchronize(m.mem);
	assert_int_equal(c.b->released, 0);
	one(unmap(8, 10), 0);
	vms_memory_synchronize(m.mem);
	assert_int_equal(c.b->released, 1);
	synchronized();
	end();
}

/* An alias holds it too. */
static void standalone_alias(void **state)
{
	struct vms_slot_info info;

	begin(low);
	struct nchange c = host(2, 6, 0, RAM), alias;

	one(c, 0);
	assert_ok(vms_slot_find(m.mem, m.at[2], &info));
	assert_ptr_equal(info.block, c.b->block);
	alias = (struct nchange){
		.verb = NMAP, .first = 10, .n = 2, .b = c.b, .off = 2 * NPAGE, .access = ROM
	};
	one(alias, 0);
	one(unmap(2, 6), 0);
	vms_memory_synchronize(m.mem);
	assert_int_equal(c.b->released, 0);
	one(unmap(10, 12), 0);
	vms_memory_synchronize(m.mem);
	assert_int_equal(c.b->released, 1);
	synchronized();
	end();
}

/* Moved in one edit: the count never falls to nothing. */
static void standalone_moves(void **state)
{
	begin(low);
	struct nchange c = host(2, 6, 0, RAM), move[2];

	one(c, 0);
	move[0] = unmap(2, 6);
	move[1] = (struct nchange){ .verb = NMAP, .first = 9, .n = 4, .b = c.b, .access = RAM };
	assert_int_equal(events_of(move, 2), 2);
	vms_memory_synchronize(m.mem);
	assert_int_equal(c.b->released, 0);
	end();
}

/* With a handle: it may be shown again, until that is dropped too. */
static void standalone_with_a_handle(void **state)
{
	begin(low);
	struct nblock *b =
		nblock_create(&m, VMS_BLOCK_HOST, VMS_BLOCK_STANDALONE, nmemory_pool(), 8 * NPAGE);

	assert_non_null(b);
	one(map(0, 4, b, 0, RAM), 0);
	one(unmap(0, 4), 0);
	one(map(2, 6, b, 0, RAM), 0);
	assert_int_equal(vms_block_remove(b->block), -ENOTSUP);
	vms_block_unref(b->block);
	b->handle = false;
	vms_memory_synchronize(m.mem);
	assert_int_equal(b->released, 0);
	one(unmap(0, m.n), 0);
	vms_memory_synchronize(m.mem);
	assert_int_equal(b->released, 1);
	synchronized();
	/* Never shown. */
	b = nblock_create(&m, VMS_BLOCK_ANON, VMS_BLOCK_STANDALONE, NULL, 8 * NPAGE);
	assert_non_null(b);
	vms_block_unref(b->block);
	b->handle = false;
	synchronized();
	end();
}

/* An edit that is given up, or fails, releases what it brought. */
static void standalone_of_a_failed_edit(void **state)
{
	struct vms_edit *edit;

	begin(low);
	struct nchange c = host(2, 6, 0, RAM);

	assert_ok(vms_edit_begin(m.mem, &edit));
	assert_ok(nchange_ask(&m, edit, &c));
	assert_int_equal(c.b->released, 0);
	vms_edit_abort(edit);
	vms_memory_synchronize(m.mem);
	assert_int_equal(c.b->released, 1);
	synchronized();
	struct nchange fails[] = { host(2, 6, 0, RAM), protect(8, 9, ROM) };
	assert_int_equal(commit(fails, 2), -ENOENT);
	vms_memory_synchronize(m.mem);
	assert_int_equal(fails[0].b->released, 1);
	synchronized();
	end();
}

/* A write to a ROM is refused, whoever owns its block. */
static void standalone_rom(void **state)
{
	begin(low);
	one(host(2, 6, 0, ROM), 0);
	assert_int_equal(vms_store8(m.port, m.at[3], 1), -EACCES);
	end();
}

static pthread_barrier_t turns;

/* In a bracket from the first turn to the second. */
static void *read_meanwhile(void *arg)
{
	unsigned char *failed = arg;
	uint8_t byte;

	*failed = vms_enter(m.port) || vms_load8(m.port, m.at[2], &byte);
	pthread_barrier_wait(&turns);
	pthread_barrier_wait(&turns);
	vms_leave(m.port);
	return NULL;
}

/* One of another thread, too. */
static void standalone_and_another_reader(void **state)
{
	unsigned char failed = 1;
	pthread_t thread;
	unsigned early;

	begin(low);
	struct nchange c = host(2, 6, 0, RAM);

	one(c, 0);
	assert_ok(pthread_barrier_init(&turns, NULL, 2));
	assert_ok(pthread_create(&thread, NULL, read_meanwhile, &failed));
	pthread_barrier_wait(&turns);
	one(unmap(2, 6), 0);
	one(map(2, 6, block(0), 0, RAM), 0);
	early = c.b->released;
	pthread_barrier_wait(&turns);
	pthread_join(thread, NULL);
	assert_int_equal(early, 0);
	assert_int_equal(failed, 0);
	synchronized();
	pthread_barrier_destroy(&turns);
	end();
}

/* A reader that was there before the unmap keeps the memory. */
static void standalone_and_a_reader(void **state)
{
	begin(low);
	struct nchange c = host(2, 6, 0, RAM);
	uint8_t byte;

	one(c, 0);
	assert_ok(vms_enter(m.port));
	one(unmap(2, 6), 0);
	one(host(2, 6, 64 * NPAGE, RAM), 0);
	one(unmap(2, 6), 0);
	assert_int_equal(c.b->released, 0);
	assert_int_equal(vms_load8(m.port, m.at[2], &byte), -ENXIO);
	vms_leave(m.port);
	synchronized();
	end();
}

/* A span keeps it until it is closed. */
static void standalone_and_a_span(void **state)
{
	struct iovec iov[4];
	struct vms_pin pin;
	int n = 4;

	begin(low);
	struct nchange c = host(2, 6, 0, RAM);
	unsigned char *at = c.b->mem;

	one(c, 0);
	assert_ok(vms_span_open(m.port, m.at[2], 4 * NPAGE, RAM & ~VMS_SLOT_EXEC, iov, &n, &pin));
	assert_int_equal(n, 1);
	assert_ptr_equal(iov[0].iov_base, at);
	/* Pinned: not through commit(), which expects no pins. */
	struct vms_edit *edit;
	assert_ok(vms_edit_begin(m.mem, &edit));
	assert_ok(vms_slot_unmap(edit, m.at[2], 4 * NPAGE));
	m.heard = (struct nheard){ .wrong = "not looked at" };
	assert_ok(vms_edit_commit(edit));
	m.edits++;
	memset(&m.now, 0, sizeof(m.now));
	vms_memory_synchronize(m.mem);
	assert_int_equal(c.b->released, 0);
	assert_ok(vms_span_close(&pin, 0));
	vms_memory_synchronize(m.mem);
	assert_int_equal(c.b->released, 1);
	synchronized();
	end();
}

static uint64_t metadata(void)
{
	struct vms_memory_info info = { .size = sizeof(info) };

	assert_ok(vms_memory_info(m.mem, &info));
	return info.metadata;
}

/* Pairs without end take no more memory. */
static void standalone_pairs(void **state)
{
	static struct nblock owned; /* not in the model: only its release counts */
	uint64_t before = 0;

	begin(low);
	vms_memory_unlisten(m.mem, &nmemory_listener, &m);
	for (unsigned i = 0; i < 20000; i++) {
		struct vms_edit *edit;

		assert_ok(vms_edit_begin(m.mem, &edit));
		assert_ok(vms_slot_map_host(edit, m.at[i % 7], 4 * NPAGE, nmemory_pool(),
					    nblock_release, &owned, RAM));
		assert_ok(vms_edit_commit(edit));
		assert_ok(vms_edit_begin(m.mem, &edit));
		assert_ok(vms_slot_unmap(edit, m.at[i % 7], 4 * NPAGE));
		assert_ok(vms_edit_commit(edit));
		if (i == 100)
			before = metadata();
		assert_true(owned.released + 1000 > i); /* freed on the way */
	}
	assert_int_equal(metadata(), before);
	vms_memory_synchronize(m.mem);
	assert_int_equal(owned.released, 20000);
	judge(nblocks_sweep(&m, true));
	end();
}

/* ---- Plain blocks ---- */

/* Shown by nothing it stays, and may be shown again; removed it may not. */
static void plain_stays(void **state)
{
	struct vms_edit *edit;

	begin(low);
	struct nblock *a = block(0);

	one(map(0, 4, a, 0, RAM), 0);
	assert_int_equal(vms_block_remove(a->block), -EBUSY);
	one(unmap(0, 4), 0);
	one(map(2, 4, a, 0, RAM), 0);
	one(unmap(0, 4), 0);
	assert_ok(vms_block_remove(a->block));
	a->registered = false;
	assert_int_equal(vms_block_remove(a->block), -EBUSY);
	assert_ok(vms_edit_begin(m.mem, &edit));
	assert_int_equal(vms_slot_map(edit, m.at[0], NPAGE, a->block, 0, RAM), -EBUSY);
	vms_edit_abort(edit);
	vms_memory_synchronize(m.mem);
	assert_int_equal(a->released, 0); /* the handle */
	vms_block_unref(a->block);
	a->handle = false;
	vms_memory_synchronize(m.mem);
	assert_int_equal(a->released, 1);
	synchronized();
	end();
}

/* One block at many places; rights and offsets that differ are slots of their own. */
static void aliases(void **state)
{
	begin(low);
	struct nblock *a = block(0);
	struct nchange c[6];

	for (unsigned i = 0; i < countof(c); i++)
		c[i] = (struct nchange){
			.verb = NMAP, .first = 3 * i, .n = 3, .b = a, .off = 0, .access = RAM
		};
	assert_int_equal(events_of(c, countof(c)), countof(c));
	slots(countof(c));
	struct nchange x = protect(3, 6, VMS_SLOT_READ | VMS_SLOT_WRITE); /* not to be executed */
	assert_int_equal(events_of(&x, 1), 1);
	slots(countof(c));
	end();
}

/* A later change of an edit sees what the earlier ones made. */
static void changes_in_order(void **state)
{
	begin(low);
	struct nblock *a = block(0), *b = block(1);
	struct nchange swap[] = { map(0, 4, a, 0, RAM), unmap(0, 4), map(0, 4, b, 0, RAM | NO) };
	struct nchange there_and_back[] = { unmap(0, 4), map(0, 4, b, 0, RAM) };
	struct nchange fails[] = { map(6, 8, a, 0, RAM), protect(0, 4, ROM),
				   map(3, 5, a, 0, RAM | NO) };

	assert_int_equal(events_of(swap, 3), 1);
	assert_int_equal(events_of(there_and_back, 2), 0);
	assert_int_equal(commit(fails, 3), -EEXIST);
	slots(1);
	end();
}

/* A listener that comes late hears all that stands. */
static void late_listener(void **state)
{
	static const struct nstate nothing;

	begin(low);
	struct nblock *a = block(0);

	one(map(0, 4, a, 0, RAM), 0);
	one(map(4, 6, a, 0, ROM), 0);
	one(map(9, m.n, a, 0, RAM), 0);
	assert_ok(vms_memory_unlisten(m.mem, &nmemory_listener, &m));
	assert_int_equal(vms_memory_unlisten(m.mem, &nmemory_listener, &m), -ENOENT);
	m.listens = false;
	one(protect(10, 12, ROM), 0); /* unheard */
	m.heard = (struct nheard){ .was = &nothing, .is = &m.now };
	/* The table shows it all along: events alone are compared. */
	struct vms_listener_ops ops = nmemory_listener;
	ops.prepare = NULL;
	ops.apply = NULL;
	assert_ok(vms_memory_listen(m.mem, &ops, &m));
	judge(m.heard.wrong);
	assert_int_equal(m.heard.committed, 1);
	assert_ok(vms_memory_unlisten(m.mem, &ops, &m));
	end();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(relations_of_two),
		cmocka_unit_test(all_states),
		cmocka_unit_test(all_sizes),
		cmocka_unit_test(cover_with_another_block),
		cmocka_unit_test(cover_a_standalone_by_another),
		cmocka_unit_test(cover_several),
		cmocka_unit_test(holes_between),
		cmocka_unit_test(unmap_a_hole),
		cmocka_unit_test(rom_in_the_middle),
		cmocka_unit_test(replace_the_last_of_a_run),
		cmocka_unit_test(protect_is_a_change),
		cmocka_unit_test(rights_end_with_the_slot),
		cmocka_unit_test(standalone_again),
		cmocka_unit_test(standalone_never_seen),
		cmocka_unit_test(standalone_in_parts),
		cmocka_unit_test(standalone_alias),
		cmocka_unit_test(standalone_moves),
		cmocka_unit_test(standalone_with_a_handle),
		cmocka_unit_test(standalone_of_a_failed_edit),
		cmocka_unit_test(standalone_rom),
		cmocka_unit_test(standalone_and_a_reader),
		cmocka_unit_test(standalone_and_another_reader),
		cmocka_unit_test(standalone_and_a_span),
		cmocka_unit_test(standalone_pairs),
		cmocka_unit_test(plain_stays),
		cmocka_unit_test(aliases),
		cmocka_unit_test(changes_in_order),
		cmocka_unit_test(late_listener),
	};

	all = argc > 1 && !strcmp(argv[1], "all");
	return cmocka_run_group_tests_name("memory-geometry", tests, NULL, NULL);
}
