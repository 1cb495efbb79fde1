// SPDX-License-Identifier: MIT
/*
 * Plans for KVM's slots against a model of pages, executed on a machine that has KVM's rules.
 *
 *	plan		all cases, and 20,000 random changes
 *	plan N		so many
 *
 * After each plan the machine shows, page for page, what the model does; slots that no change met
 * have kept their ids; no call was refused. And a plan that is given up, or undone after any number
 * of its calls, leaves the table as it was.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

#include "fake.h"
#include "memory/kvm_slots.h"
#include "random.h"

#define P     UINT64_C(4096)
#define HUGE  512u /* pages of 2 MiB */
#define PAGES 96u
#define BASE  UINT64_C(0x40000000) /* where blocks have their host memory: it is never touched */

static struct fake_kvm kvm;
static struct kvm_slots table;

/* Blocks are names here. */
static struct vms_block *block(unsigned i)
{
	return i ? (struct vms_block *)(uintptr_t)(i * 4096) : NULL;
}

static struct kvm_back back(unsigned b, uint64_t page, uint32_t flags)
{
	return (struct kvm_back){
		.block = block(b), .off = page * P, .hva = BASE * b + page * P, .flags = flags
	};
}

static void begin_with(uint32_t ids, uint64_t max)
{
	fake_begin(&kvm);
	assert_ok(kvm_slots_init(&table, &kvm.world, ids, P, max, true));
}

static void finish(void)
{
	kvm_slots_fini(&table);
	for (uint32_t i = 0; i < FAKE_SLOTS; i++)
		if (kvm.slot[i].bytes)
			assert_ok(fake_set(&kvm, i, 0, 0, 0, 0, -1, 0));
	fake_end(&kvm);
}

static void sound(void)
{
	const char *why = kvm_slots_validate(&table);

	if (why)
		broken("%s", why);
}

/* ---- Executing ---- */

static int call(const struct kvm_slot *s, uint64_t gpa, uint64_t bytes)
{
	bool guest = s->back.flags & KVM_SLOT_GUEST;

	return fake_set(&kvm, s->id, s->back.flags, gpa, bytes, s->back.hva, guest ? 1 : -1,
			s->back.off);
}

static void drop(struct kvm_slot *s)
{
	assert_ok(call(s, 0, 0));
	kvm_slots_take(&table, s);
}

static void create(struct kvm_slot *s)
{
	assert_ok(call(s, kvm_slot_gpa(s), kvm_slot_len(s)));
	kvm_slots_put(&table, s);
}

static void move(struct kvm_slot *s)
{
	assert_ok(call(s, s->other, kvm_slot_len(s)));
	kvm_slots_moved(&table, s);
}

/* The first `calls` calls of the plan, and back again if `undo`. */
static void run(struct kvm_plan *plan, unsigned calls, bool undo)
{
	struct kvm_slot *s, *done[FAKE_SLOTS * 3];
	unsigned n = 0, goes, moves;

	for (s = plan->goes; s && n < calls; s = s->next)
		drop(done[n++] = s);
	goes = n;
	for (s = plan->moves; s && n < calls; s = s->next)
		move(done[n++] = s);
	moves = n;
	for (s = plan->comes; s && n < calls; s = s->next)
		create(done[n++] = s);
	while (undo && n > 0) {
		n--;
		if (n < goes)
			create(done[n]);
		else if (n < moves)
			move(done[n]);
		else
			drop(done[n]);
	}
}

static unsigned calls_of(const struct kvm_plan *plan)
{
	return plan->n_goes + plan->n_moves + plan->n_comes;
}

static void expect(const struct kvm_change *c, size_t n, unsigned goes, unsigned moves,
		   unsigned comes)
{
	struct kvm_plan plan;

	assert_ok(kvm_plan_make(&table, c, n, &plan));
	if (plan.n_goes != goes || plan.n_moves != moves || plan.n_comes != comes)
		broken("%u deletes, %u moves, %u creates; %u, %u, %u are enough", plan.n_goes,
		       plan.n_moves, plan.n_comes, goes, moves, comes);
	run(&plan, calls_of(&plan), false);
	kvm_plan_end(&table, &plan);
	sound();
}

static struct kvm_change show(uint64_t page, uint64_t n, unsigned b, uint64_t off, uint32_t flags)
{
	return (struct kvm_change){ page * P, n * P, back(b, off, flags) };
}

static struct kvm_change hole(uint64_t page, uint64_t n)
{
	return show(page, n, 0, 0, 0);
}

/* The machine's slot `id` is this. */
static void slot_is(uint32_t id, uint64_t page, uint64_t n, unsigned b, uint64_t off,
		    uint32_t flags)
{
	const struct fake_slot *s = &kvm.slot[id];

	if (s->gpa != page * P || s->bytes != n * P || s->hva != BASE * b + off * P ||
	    s->flags != flags)
		broken("slot %u is %#lx bytes at %#lx", id, (long)s->bytes, (long)s->gpa);
}

/* ---- Cases ---- */

static void test_hole(void **state)
{
	struct kvm_change c[] = { show(0, 12, 1, 0, 0) };

	begin_with(FAKE_SLOTS, ~P + 1);
	expect(c, 1, 0, 0, 1);
	/* A hole in the middle: one delete, two creates; the ids are the lowest. */
	c[0] = hole(4, 4);
	expect(c, 1, 1, 0, 2);
	slot_is(0, 0, 4, 1, 0, 0);
	slot_is(1, 8, 4, 1, 8, 0);
	/* Filled again as it was: what stands stays, though all three continue each other. */
	c[0] = show(4, 4, 1, 4, 0);
	expect(c, 1, 0, 0, 1);
	slot_is(2, 4, 4, 1, 4, 0);
	/* The second: only that one goes. */
	c[0] = hole(4, 4);
	expect(c, 1, 1, 0, 0);
	finish();
}

static void test_rights(void **state)
{
	struct kvm_change c[] = { show(0, 12, 1, 0, 0) };

	begin_with(FAKE_SLOTS, ~P + 1);
	expect(c, 1, 0, 0, 1);
	c[0] = show(4, 4, 1, 4, KVM_SLOT_ROM);
	expect(c, 1, 1, 0, 3);
	slot_is(1, 4, 4, 1, 4, KVM_SLOT_ROM);
	/* Back: the middle alone, not one slot again. */
	c[0] = show(4, 4, 1, 4, 0);
	expect(c, 1, 1, 0, 1);
	finish();
}

static void test_joined(void **state)
{
	struct kvm_change c[] = { show(0, 4, 1, 0, KVM_SLOT_ROM), hole(0, 0), hole(0, 0) };

	begin_with(FAKE_SLOTS, ~P + 1);
	expect(c, 1, 0, 0, 1);
	/* What changed and what is new continue each other: one slot. */
	c[0] = show(0, 4, 1, 0, 0);
	c[1] = show(4, 4, 1, 4, 0);
	expect(c, 2, 1, 0, 1);
	slot_is(0, 0, 8, 1, 0, 0);
	/* A piece that is left continues it too. */
	c[0] = show(8, 4, 1, 8, 0);
	expect(c, 1, 0, 0, 1);
	c[0] = show(0, 2, 2, 0, 0);
	c[1] = show(12, 2, 1, 12, 0);
	expect(c, 2, 1, 0, 3); /* [2, 8) comes back; [8, 12) stays */
	/* Two host ranges that touch by chance are two blocks. */
	c[0] = show(20, 1, 1, 20, 0);
	c[1] = show(21, 1, 2, 21, 0);
	c[1].show.hva = c[0].show.hva + P;
	expect(c, 2, 0, 0, 2);
	finish();
}

static void test_moved(void **state)
{
	struct kvm_change c[4] = { show(0, 4, 1, 0, 0), show(8, 4, 2, 0, 0) };

	begin_with(FAKE_SLOTS, ~P + 1);
	expect(c, 2, 0, 0, 2);
	c[0] = hole(0, 4);
	c[1] = show(16, 4, 1, 0, 0);
	expect(c, 2, 0, 1, 0);
	slot_is(0, 16, 4, 1, 0, 0);
	/* By one page, over its own old place. */
	c[0] = hole(16, 1);
	c[1] = show(17, 3, 1, 0, 0);
	c[2] = show(20, 1, 1, 3, 0);
	expect(c, 3, 0, 1, 0);
	slot_is(0, 17, 4, 1, 0, 0);
	/* Over another one, which goes. */
	c[0] = show(8, 4, 1, 0, 0);
	c[1] = hole(17, 4);
	expect(c, 2, 1, 1, 0);
	slot_is(0, 8, 4, 1, 0, 0);
	/* A part of it alone is no move; nor with other rights, nor another block. */
	c[0] = hole(8, 4);
	c[1] = show(30, 3, 1, 0, 0);
	expect(c, 2, 1, 0, 1);
	c[0] = hole(30, 3);
	c[1] = show(40, 3, 1, 0, KVM_SLOT_ROM);
	expect(c, 2, 1, 0, 1);
	c[0] = hole(40, 3);
	c[1] = show(50, 3, 2, 0, KVM_SLOT_ROM);
	expect(c, 2, 1, 0, 1);
	finish();
}

/* Two that change places: one of them cannot be moved, as no slot may stand over another. */
static void test_swapped(void **state)
{
	struct kvm_change c[2] = { show(0, 4, 1, 0, 0), show(8, 4, 2, 0, 0) };
	struct kvm_plan plan;

	begin_with(FAKE_SLOTS, ~P + 1);
	expect(c, 2, 0, 0, 2);
	c[0] = show(0, 4, 2, 0, 0);
	c[1] = show(8, 4, 1, 0, 0);
	assert_ok(kvm_plan_make(&table, c, 2, &plan));
	assert_int_equal(plan.n_moves, 1);
	assert_int_equal(plan.n_goes, 1);
	assert_int_equal(plan.n_comes, 1);
	run(&plan, 3, false);
	kvm_plan_end(&table, &plan);
	sound();
	/* An alias moves: of the two that show the same, the one that goes. */
	c[0] = show(20, 4, 1, 0, 0);
	expect(c, 1, 0, 0, 1);
	c[0] = hole(20, 4);
	c[1] = show(30, 4, 1, 0, 0);
	expect(c, 2, 0, 1, 0);
	finish();
}

static void test_guest_memfd(void **state)
{
	struct kvm_change c[2] = { show(0, 8, 1, 0, KVM_SLOT_GUEST) };

	begin_with(FAKE_SLOTS, ~P + 1);
	expect(c, 1, 0, 0, 1);
	c[0] = hole(0, 8);
	c[1] = show(16, 8, 1, 0, KVM_SLOT_GUEST);
	expect(c, 2, 1, 0, 1); /* KVM does not move it */
	c[0] = hole(18, 2);
	expect(c, 1, 1, 0, 2);
	finish();
}

static void test_split(void **state)
{
	struct kvm_change c[2] = { show(0, 3 * HUGE, 1, 0, 0) };
	unsigned n = 0;

	begin_with(FAKE_SLOTS, 2 * HUGE * P);
	expect(c, 1, 0, 0, 2);
	slot_is(0, 0, 2 * HUGE, 1, 0, 0);
	slot_is(1, 2 * HUGE, HUGE, 1, 2 * HUGE, 0);
	/* From the middle of a huge page: the borders are at multiples of them. */
	c[0] = show(4 * HUGE + 5, 4 * HUGE, 2, 0, 0);
	expect(c, 1, 0, 0, 3);
	slot_is(2, 4 * HUGE + 5, 2 * HUGE - 5, 2, 0, 0);
	slot_is(3, 6 * HUGE, 2 * HUGE, 2, 2 * HUGE - 5, 0);
	slot_is(4, 8 * HUGE, 5, 2, 4 * HUGE - 5, 0);
	/* A hole in one part leaves the other. */
	c[0] = hole(2 * HUGE, 1);
	expect(c, 1, 1, 0, 1);
	finish();
	/* What KVM itself can. */
	begin_with(FAKE_SLOTS, 0x7fffffff * P);
	c[0] = show(1, UINT64_C(1) << 33, 1, 0, 0);
	expect(c, 1, 0, 0, 5);
	for (uint32_t i = 0; i < FAKE_SLOTS; i++) {
		const struct fake_slot *s = &kvm.slot[i];

		assert_true(s->bytes / P <= 0x7fffffff);
		if (s->bytes && s->gpa != P)
			assert_int_equal(s->gpa % (HUGE * P), 0);
		n += s->bytes != 0;
	}
	assert_int_equal(n, 5);
	finish();
}

static void test_too_many(void **state)
{
	struct kvm_change c[2] = { show(0, 12, 1, 0, 0), show(20, 4, 2, 0, 0) };
	struct kvm_plan plan;

	begin_with(3, ~P + 1);
	expect(c, 2, 0, 0, 2);
	c[0] = hole(4, 2);
	expect(c, 1, 1, 0, 2); /* all three */
	c[0] = hole(2, 1);
	assert_int_equal(kvm_plan_make(&table, c, 1, &plan), -ENOSPC);
	sound();
	/* Those that go make room. */
	c[1] = hole(20, 4);
	expect(c, 2, 2, 0, 2);
	/* A slot of 2^44 pages in parts of 2 MiB: refused before it is listed. */
	c[0] = show(100, UINT64_C(1) << 44, 3, 0, 0);
	table.max = HUGE * P;
	assert_int_equal(kvm_plan_make(&table, c, 1, &plan), -ENOSPC);
	table.max = ~P + 1;
	sound();
	finish();
}

/* The lowest id, also where a hundred are taken. */
static void test_lowest(void **state)
{
	struct kvm_change c;

	begin_with(FAKE_SLOTS, ~P + 1);
	for (unsigned i = 0; i < 130; i++) {
		c = show(2 * i, 1, 1, i, 0);
		expect(&c, 1, 0, 0, 1);
		slot_is(i, 2 * i, 1, 1, i, 0);
	}
	c = hole(2 * 70, 1);
	expect(&c, 1, 1, 0, 0);
	c = hole(2 * 5, 1);
	expect(&c, 1, 1, 0, 0);
	c = show(1000, 1, 2, 0, 0);
	expect(&c, 1, 0, 0, 1);
	slot_is(5, 1000, 1, 2, 0, 0);
	c = show(1002, 1, 2, 9, 0);
	expect(&c, 1, 0, 0, 1);
	slot_is(70, 1002, 1, 2, 9, 0);
	finish();
}

/* ---- Random changes ---- */

struct cell {
	unsigned b; /* 0: nothing */
	uint64_t off;
	uint32_t flags;
};

static struct cell model[PAGES + 1];
static uint32_t seed = 1;

static unsigned below(unsigned n)
{
	return next32(&seed) % n;
}

static bool differs(const struct cell *a, const struct cell *b)
{
	return a->b != b->b || (a->b && (a->off != b->off || a->flags != b->flags));
}

/* Some random ranges show something else. */
static void draw(struct cell *to)
{
	memcpy(to, model, sizeof(model));
	for (unsigned n = 1 + below(4); n > 0; n--) {
		unsigned at = below(PAGES), len = 1 + below(below(4) ? 12 : PAGES);
		unsigned from = below(PAGES), b = below(4), skew = below(3) * 40;
		uint32_t flags = below(3) ? 0 : KVM_SLOT_ROM;

		len = len < PAGES - at ? len : PAGES - at;
		if (b == 3 && below(2)) { /* a piece moves */
			len = len < PAGES - from ? len : PAGES - from;
			memmove(&to[at], &model[from], len * sizeof(*to));
			for (unsigned i = from; i < from + len; i++)
				if (i < at || i >= at + len)
					to[i].b = 0;
			continue;
		}
		for (unsigned i = at; i < at + len; i++)
			to[i] = (struct cell){ b, i + skew, b == 3 ? KVM_SLOT_GUEST : flags };
	}
}

/* What is different, in maximal runs. */
static size_t changes(const struct cell *to, struct kvm_change *c)
{
	size_t n = 0;

	for (unsigned i = 0; i < PAGES;) {
		unsigned first = i;

		if (!differs(&model[i], &to[i])) {
			i++;
			continue;
		}
		do
			i++;
		while (i < PAGES && differs(&model[i], &to[i]) && to[i].b == to[first].b &&
		       (!to[i].b || (to[i].off == to[first].off + i - first &&
				     to[i].flags == to[first].flags)));
		c[n++] = show(first, i - first, to[first].b, to[first].off,
			      to[first].b ? to[first].flags : 0);
	}
	return n;
}

static void compare(const struct cell *want)
{
	for (unsigned i = 0; i < PAGES; i++) {
		const struct fake_slot *s = fake_find(&kvm, i * P);
		const struct cell *w = &want[i];

		if (!!w->b != !!s)
			broken("page %u: KVM shows %s", i, s ? "a slot" : "nothing");
		if (s &&
		    (s->hva + (i * P - s->gpa) != BASE * w->b + w->off * P || s->flags != w->flags))
			broken("page %u: KVM shows something else", i);
	}
	sound();
}

/* A slot that no change met is the one it was. */
static void stayed(const struct fake_slot *was, const struct kvm_change *c, size_t n)
{
	for (uint32_t id = 0; id < FAKE_SLOTS; id++) {
		bool met = !was[id].bytes;

		for (size_t i = 0; i < n; i++)
			met |= c[i].gpa < was[id].gpa + was[id].bytes &&
			       was[id].gpa < c[i].gpa + c[i].len;
		if (!met && memcmp(&was[id], &kvm.slot[id], sizeof(*was)))
			broken("slot %u had nothing to do with it", id);
	}
}

static void step(void)
{
	static struct fake_slot was[FAKE_SLOTS];
	struct kvm_change c[PAGES];
	struct cell to[PAGES + 1];
	struct kvm_plan plan;
	size_t n;
	uint64_t before = kvm.created + kvm.deleted + kvm.moved;

	draw(to);
	n = changes(to, c);
	if (!n)
		return;
	memcpy(was, kvm.slot, sizeof(was));
	assert_ok(kvm_plan_make(&table, c, n, &plan));
	if (below(8) == 0) { /* given up, or undone */
		run(&plan, below(calls_of(&plan) + 1), true);
		kvm_plan_end(&table, &plan);
		assert_memory_equal(was, kvm.slot, sizeof(was));
		compare(model);
		return;
	}
	run(&plan, calls_of(&plan), false);
	assert_int_equal(kvm.created + kvm.deleted + kvm.moved - before, calls_of(&plan));
	kvm_plan_end(&table, &plan);
	stayed(was, c, n);
	memcpy(model, to, sizeof(model));
	compare(model);
}

static unsigned steps = 20000;

static void test_random(void **state)
{
	begin_with(FAKE_SLOTS, ~P + 1);
	memset(model, 0, sizeof(model));
	for (unsigned i = 0; i < steps; i++)
		step();
	print_message("%lu created, %lu deleted, %lu moved\n", (long)kvm.created, (long)kvm.deleted,
		      (long)kvm.moved);
	assert_true(kvm.moved > 0);
	finish();
}

/* Memory runs out at any moment: no plan, and the table as it was. */
static void test_no_memory(void **state)
{
	struct kvm_change c[2] = { show(0, 24, 1, 0, 0) };
	struct kvm_plan plan;
	unsigned n;

	begin_with(FAKE_SLOTS, ~P + 1);
	expect(c, 1, 0, 0, 1);
	c[0] = show(4, 4, 2, 0, 0);
	c[1] = hole(12, 4);
	for (n = 1;; n++) {
		int err;

		test_world_fail(&kvm.test, n, 1u << CALL_ALLOC, ENOMEM);
		err = kvm_plan_make(&table, c, 2, &plan);
		if (!err)
			break;
		assert_int_equal(err, -ENOMEM);
		test_world_fail(&kvm.test, 0, 0, 0);
		sound();
	}
	assert_int_equal(n, 5); /* four come */
	test_world_fail(&kvm.test, 0, 0, 0);
	kvm_plan_end(&table, &plan);
	sound();
	finish();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hole),	  cmocka_unit_test(test_rights),
		cmocka_unit_test(test_joined),	  cmocka_unit_test(test_moved),
		cmocka_unit_test(test_swapped),	  cmocka_unit_test(test_guest_memfd),
		cmocka_unit_test(test_split),	  cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_lowest),	  cmocka_unit_test(test_random),
		cmocka_unit_test(test_no_memory),
	};

	if (argc > 1)
		steps = (unsigned)strtoul(argv[1], NULL, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
