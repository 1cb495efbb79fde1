// SPDX-License-Identifier: MIT
/*
 * memory.c: random edits of a guest-physical memory, against an array of cells (memory_naive.h).
 *
 * An edit has 1 to 6 changes, over blocks of every kind: of the caller, private anonymous, of
 * objects, read-only, slow, and those that their slots own. Listeners come and go, refuse, fail,
 * and now and then cannot go back; an allocation fails; blocks are removed under an edit; readers
 * hold a bracket over edits; logs of written pages run. After every step:
 *
 *	- the answer is the naive one; an error has changed nothing
 *	- each listener was called in the documented order, with the events of the cells, and what
 *	  it has made of them is what stands
 *	- slots, counts, blocks, table and bytes are those of the cells; the validator agrees
 *	- a log has the pages that were written, those alone
 *	- what ended was released once, and not before its last reader had gone
 *
 *	model-memory [--steps N] [--seed S] [--layout NAME] [--every N] [--trace 1]
 *
 * --every N: what stands is compared after each N-th step alone, for runs of very many.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/epoch.h"
#include "memory_listeners.h"
#include "memory_logs.h"
#include "memory_naive.h"
#include "model.h"
#include "model_memory.h"

#define CHANGES 6
#define ROUND	1500 /* steps, about, that a memory lives */

static struct nmemory m;
static struct world world;
static struct vms_arena *arena; /* of the objects that blocks show */
static bool over;		/* the memory is broken */
static unsigned brackets;
static uint64_t every;
static uint64_t done[8];

enum { EDITS, REFUSED, FAILED, NO_MEMORY, BROKEN, EVENTS, BYTES, ROUNDS };

static const char *const done_name[] = { "edits",  "refused", "failed", "without memory",
					 "broken", "events",  "bytes",	"memories" };

static void judge(const char *wrong)
{
	if (wrong)
		die("%s", wrong);
}

static void show(void)
{
	fprintf(stderr, "layout %s\n", m.layout->name);
	nstate_print(&m, &m.now);
}

static bool huge(void)
{
	return !strcmp(m.layout->name, "huge");
}

/* ---- Blocks ---- */

static struct nblock *any_block(bool (*fits)(const struct nblock *b))
{
	unsigned at = (unsigned)rnd(NBLOCKS);

	for (unsigned i = 0; i < NBLOCKS; i++) {
		struct nblock *b = &m.block[(at + i) % NBLOCKS];

		if (b->kind && fits(b))
			return b;
	}
	return NULL;
}

static bool has_handle(const struct nblock *b)
{
	return b->handle;
}

static unsigned handles(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < NBLOCKS; i++)
		n += m.block[i].kind && m.block[i].handle;
	return n;
}

static void create_object_block(uint64_t bytes)
{
	struct vms_object_params o = { .size = sizeof(o),
				       .bytes = bytes,
				       .flags = rnd(2) ? VMS_OBJECT_CONTIGUOUS : 0 };
	struct nblock *b = nblock_new(&m);
	struct vms_block_params p = { .size = sizeof(p), .kind = VMS_BLOCK_OBJECT };
	struct vms_block_info info = { .size = sizeof(info) };

	if (vms_object_create(arena, &o, &p.object) || vms_block_create(m.mem, &p, &b->block) ||
	    vms_block_info(b->block, &info))
		die("no block of an object");
	if (!info.hva != !(o.flags & VMS_OBJECT_CONTIGUOUS))
		die("a block of an object: hva %p", info.hva);
	b->kind = VMS_BLOCK_OBJECT;
	b->registered = b->handle = true;
	b->bytes = b->wrap = bytes;
	b->mem = info.hva;
	b->object = p.object; /* ours until the block goes */
	logs_new_block(&m, b);
}

static void create_block(void)
{
	uint64_t all = ncells_size(&m, 0, m.n), bytes = all + 513 * NPAGE;
	uint32_t flags = rnd(4) ? 0 : VMS_BLOCK_STANDALONE;
	unsigned char *at = nmemory_pool() + rnd(8) * 3 * NPAGE;
	struct nblock *b = NULL;

	if (huge() || handles() > 8 || !nblock_new(&m))
		return;
	switch (rnd(5)) {
	case 0:
	case 1:
		b = nblock_create(&m, VMS_BLOCK_HOST, flags, at, bytes);
		break;
	case 2:
		b = nblock_create(&m, VMS_BLOCK_HOST, flags | VMS_BLOCK_READ, at, bytes);
		break;
	case 3:
		b = nblock_create(&m, VMS_BLOCK_ANON, flags, NULL, bytes);
		break;
	default:
		if (all > 1000 * NPAGE)
			return;
		create_object_block(bytes);
		return;
	}
	if (!b)
		die("no block");
	describe("block %u: kind %u flags %#x", (unsigned)(b - m.block), b->kind, flags);
	logs_new_block(&m, b);
}

static void drop_block(void)
{
	struct nblock *b = any_block(has_handle);
	uint64_t shown;
	int err;

	if (!b)
		return;
	shown = nblock_slots(&m, &m.now, b);
	if (rnd(2)) {
		describe("remove block %u", (unsigned)(b - m.block));
		err = vms_block_remove(b->block);
		if (err != (b->standalone ? -ENOTSUP : !b->registered || shown ? -EBUSY : 0))
			die("remove: %d, shown %" PRIu64, err, shown);
		if (!err)
			b->registered = false;
	} else if (!b->registered || rnd(4) == 0) {
		describe("drop block %u", (unsigned)(b - m.block));
		vms_block_unref(b->block);
		b->handle = false;
	}
}

/* Objects are ours for as long as their blocks stand. */
static void drop_objects(void)
{
	for (unsigned i = 0; i < NBLOCKS; i++)
		if (m.block[i].object && !nblock_is_alive(&m, &m.block[i])) {
			vms_object_unref(m.block[i].object);
			m.block[i].object = NULL;
		}
}

static void synchronize(bool all)
{
	if (brackets)
		all = false;
	if (all) {
		describe("synchronize");
		vms_memory_synchronize(m.mem);
	}
	drop_objects();
	logs_forget(&m);
	judge(nblocks_sweep(&m, all));
}

/* ---- Edits ---- */

static uint32_t any_access(void)
{
	static const uint32_t some[] = {
		RAM, RAM, RAM, ROM, ROM, VMS_SLOT_READ, VMS_SLOT_READ | VMS_SLOT_WRITE
	};
	uint64_t i = rnd(sizeof(some) / sizeof(some[0]) + 1);

	return i < sizeof(some) / sizeof(some[0]) ? some[i] : 1 + (uint32_t)rnd(7);
}

/* Cells whose bytes a block may have. */
static bool fits(unsigned first, unsigned n)
{
	return ncells_size(&m, first, n) - 1 < UINT64_C(1) << 62;
}

/* False: nothing that can be done now. */
static bool any_change(struct nchange *c)
{
	uint64_t what = rnd(100);

	*c = (struct nchange){ .first = (unsigned)rnd(m.n), .access = any_access() };
	c->n = 1 + (unsigned)rnd(rnd(3) ? min_u64(6, m.n - c->first) : m.n - c->first);
	if (what < 20) {
		c->verb = NUNMAP;
		c->access = 0;
		return true;
	}
	if (what < 35) {
		c->verb = NPROTECT;
		return true;
	}
	if (rnd(10) == 0)
		c->access |= VMS_SLOT_NOREPLACE;
	if (what < 55 || huge()) {
		c->verb = what < 45 && !huge() ? NMAP_HOST : NMAP_SLOW;
		while (!fits(c->first, c->n))
			c->n--;
		c->b = nblock_for(&m, c->verb, c->first, c->n,
				  nmemory_pool() +
					  (huge() ? 0 : m.at[c->first] - m.at[0] + rnd(3) * NPAGE));
		return c->b != NULL;
	}
	c->verb = NMAP;
	c->b = any_block(has_handle);
	c->off = m.at[c->first] - m.at[0];
	if (rnd(4) == 0)
		c->off += (rnd(2) ? 1 : 512) * NPAGE;
	return c->b != NULL;
}

/* What the call for the change must answer. */
static int asked(const struct nchange *c)
{
	if (c->verb != NMAP)
		return 0;
	if (c->b->read_only && c->access & VMS_SLOT_WRITE)
		return -EACCES;
	return !c->b->standalone && !c->b->registered ? -EBUSY : 0;
}

/* It has never been the library's. */
static void unborn(struct nchange *c)
{
	if (c->verb != NMAP_HOST && c->verb != NMAP_SLOW)
		return;
	if (c->b->released)
		die("released, though the call failed");
	c->b->kind = 0;
}

/* Put changes into the edit: how many are there. */
static unsigned fill(struct vms_edit *edit, struct nchange *c)
{
	unsigned want = 1 + (unsigned)rnd(rnd(2) ? 2 : CHANGES), n = 0;

	for (unsigned i = 0; i < want; i++) {
		uint64_t refused = model_memory.refused;
		int err, expected;

		if (!any_change(&c[n]))
			continue;
		expected = asked(&c[n]);
		if (rnd(60) == 0)
			model_memory.fail_at = 1 + rnd(4);
		err = nchange_ask(&m, edit, &c[n]);
		model_memory.fail_at = 0;
		describe("  %s%s: %d", nchange_text(&m, &c[n]),
			 model_memory.refused != refused ? " (no memory)" : "", err);
		if (err == -ENOMEM && model_memory.refused != refused) {
			unborn(&c[n]);
			continue;
		}
		if (err != expected)
			die("answered %d, expected %d", err, expected);
		if (err) {
			unborn(&c[n]);
			continue;
		}
		if (c[n].verb == NMAP_HOST)
			logs_new_block(&m, c[n].b);
		n++;
	}
	return n;
}

/* The pages that an edit makes to be, or not, are not written by it; what stands changes alone. */
static void stands_now(const struct nstate *is)
{
	m.now = *is;
	m.edits++;
}

static void commit(struct vms_edit *edit, const struct nchange *c, unsigned n)
{
	struct nstate was = m.now, is = m.now;
	uint64_t refused = model_memory.refused;
	int want = 0, err;
	size_t events;

	for (unsigned i = 0; i < n && !want; i++)
		want = nstate_change(&m, &is, &c[i]);
	events = nmemory_events(&m, &was, &is);
	listeners_expect(&m, &was, &is, !want && events);
	if (rnd(10) == 0)
		model_memory.fail_at = 1 + rnd(12);
	err = vms_edit_commit(edit);
	model_memory.fail_at = 0;
	refused = model_memory.refused - refused;
	describe("commit: %d, %zu events%s", err, want ? 0 : events, refused ? ", no memory" : "");
	done[EDITS]++;
	if (err == -ENOMEM && refused) {
		judge(listeners_silent());
		done[NO_MEMORY]++;
		return;
	}
	if (!want && events)
		want = listeners_answer();
	if (err != want)
		die("commit: %d, expected %d", err, want);
	judge(listeners_heard(&m, &over));
	done[REFUSED] += err == LISTENER_REFUSES;
	done[FAILED] += err == LISTENER_FAILS;
	done[BROKEN] += over;
	if (!err && events) {
		stands_now(&is);
		done[EVENTS] += events;
	}
}

static void edit(void)
{
	struct nchange c[CHANGES];
	struct vms_edit *e;
	unsigned n;

	if (vms_edit_begin(m.mem, &e))
		die("no edit");
	describe("edit");
	n = fill(e, c);
	if (rnd(20) == 0)
		drop_block();
	if (rnd(20) == 0) {
		describe("abort");
		vms_edit_abort(e);
		return;
	}
	commit(e, c, n);
}

/* ---- Bytes ---- */

static void bytes(void)
{
	judge(nmemory_port_differs(&m, rnd(UINT64_C(1) << 40), 1));
	done[BYTES]++;
}

/* Brackets nest; what is unmapped in one stays until the last has ended. */
static void bracket(void)
{
	if (brackets && rnd(2)) {
		while (brackets) {
			vms_leave(m.port);
			brackets--;
		}
	} else if (brackets < 3) {
		if (vms_enter(m.port))
			die("no bracket");
		brackets++;
	}
}

/* ---- Rounds ---- */

static void begin(void)
{
	const char *name = model_option("layout", NULL);
	const struct nlayout *l;
	struct vms_arena_params a = { .size = sizeof(a), .reserve = UINT64_C(256) << 20 };

	do
		l = &nlayouts[rnd(n_nlayouts)];
	while (name && strcmp(l->name, name));
	describe("a memory: %s", l->name);
	if (!nmemory_pool() || vms_arena_create(&a, &arena))
		die("no arena");
	listeners_begin(&m);
	logs_begin(&m);
	if (nmemory_begin(&m, l, &listeners_gate))
		die("no memory");
	for (unsigned i = 0; i < 4; i++)
		create_block();
	over = false;
	done[ROUNDS]++;
}

static void end(void)
{
	struct vms_object *left[NBLOCKS];

	describe("the end of a memory");
	for (; brackets; brackets--)
		vms_leave(m.port);
	listeners_end(&m);
	logs_end(&m);
	for (unsigned i = 0; i < NBLOCKS; i++) {
		left[i] = m.block[i].object;
		m.block[i].object = NULL;
	}
	judge(nmemory_end(&m));
	for (unsigned i = 0; i < NBLOCKS; i++)
		vms_object_unref(left[i]);
	vms_arena_unref(arena);
	madvise(nmemory_pool(), UINT64_C(3) << 30, MADV_DONTNEED);
	epoch_synchronize();
	if (model_memory.blocks)
		die("%" PRIu64 " allocations of %" PRIu64 " bytes were lost", model_memory.blocks,
		    model_memory.bytes);
}

static void step(void)
{
	uint64_t what = rnd(100);

	if (over || (model_step && rnd(ROUND) == 0)) {
		if (over)
			judge(listeners_broken(&m));
		end();
		begin();
	}
	if (what < 70)
		edit();
	else if (what < 75)
		create_block();
	else if (what < 80)
		drop_block();
	else if (what < 84)
		judge(listeners_change(&m));
	else if (what < 88)
		bracket();
	else if (what < 92)
		synchronize(true);
	else
		judge(logs_step(&m, !brackets));
	if (over)
		return;
	synchronize(false);
	if (model_step % every)
		return;
	judge(nmemory_slots_differ(&m));
	judge(nmemory_table_differs(&m, &m.now, rnd(UINT64_C(1) << 40)));
	if (model_step / every % 4 == 0)
		bytes();
}

int main(int argc, char **argv)
{
	uint64_t steps = 5000;

	model_start("model-memory", argc, argv, &steps);
	model_show = show;
	every = strtoull(model_option("every", "1"), NULL, 0);
	world = world_host;
	world.alloc = model_alloc;
	world.free = model_free;
	world_default = &world;
	begin();
	for (model_step = 0; model_step < steps; model_step++)
		step();
	if (!over)
		synchronize(true);
	end();
	printf("model-memory: %" PRIu64 " steps", steps);
	for (unsigned i = 0; i < sizeof(done) / sizeof(done[0]); i++)
		printf(", %" PRIu64 " %s", done[i], done_name[i]);
	printf("\n");
	return 0;
}
