// SPDX-License-Identifier: MIT
/*
 * Edits of a guest-physical memory, and what else its slots need, with the 1st, 2nd, ... n-th
 * allocation, host call or step of a listener failing.
 *
 *	1 One that ends with an error has changed nothing: slots, table, bytes, counts (the array
 *	  of cells of memory_naive.h). Made again it succeeds.
 *	2 One that ends well has done all of it.
 *	3 Whoever prepared was told of the end once, commit or cancel; whoever applied and is not
 *	  told commit was told revert.
 *	4 Blocks that the edit brought are released once if it failed, and not while they are shown.
 *	5 Nothing is lost.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

#include "base/epoch.h"
#include "memory_naive.h"
#include "world.h"

#define countof(a) (sizeof(a) / sizeof((a)[0]))
#define LISTENERS  3
#define MOST	   24

static struct test_world tw;
static struct nmemory m;
static struct nblock *a, *b;

static void judge(const char *what, const char *wrong)
{
	if (wrong) {
		print_error("%s: %s\n", what, wrong);
		nstate_print(&m, &m.now);
	}
	assert_null(wrong);
}

/* ---- Listeners whose n-th step fails ---- */

static struct {
	unsigned held, applied; /* prepared and not told of the end; applied, not committed */
} listeners[LISTENERS];

static uint64_t step_at; /* this step fails from now on; 0: none, or done */
static bool step_failed, stuck, cannot_revert;

static int step(void)
{
	if (!step_at || --step_at)
		return 0;
	step_failed = true;
	return -ENXIO;
}

static int prepare(void *arg, const struct vms_slot_event *ev, size_t n)
{
	unsigned *held = &listeners[*(unsigned *)arg].held;
	int err = step();

	*held += !err;
	return err;
}

static void cancel(void *arg, const struct vms_slot_event *ev, size_t n)
{
	listeners[*(unsigned *)arg].held--;
}

static int apply(void *arg, const struct vms_slot_event *ev, size_t n, int gated)
{
	int err = step();

	listeners[*(unsigned *)arg].applied += !err;
	return err && stuck ? 1 : err;
}

static int revert(void *arg, const struct vms_slot_event *ev, size_t n, int gated)
{
	listeners[*(unsigned *)arg].applied--;
	return cannot_revert ? -EIO : 0;
}

static void commit(void *arg, const struct vms_slot_event *ev, size_t n)
{
	listeners[*(unsigned *)arg].held--;
	listeners[*(unsigned *)arg].applied--;
}

static int log_start(void *arg)
{
	return step();
}

static const struct vms_listener_ops ops = { .size = sizeof(ops),
					     .prepare = prepare,
					     .cancel = cancel,
					     .apply = apply,
					     .revert = revert,
					     .commit = commit,
					     .log_start = log_start };
static unsigned number[LISTENERS] = { 0, 1, 2 };

static void listeners_at_rest(void)
{
	for (unsigned i = 0; i < LISTENERS; i++) {
		assert_int_equal(listeners[i].held, 0);
		assert_int_equal(listeners[i].applied, 0);
	}
}

/* ---- The stage ---- */

static struct nchange change[MOST];
static unsigned n_changes;

static struct nchange *add(enum nverb verb, unsigned first, unsigned n, struct nblock *block,
			   uint32_t access)
{
	struct nchange *c = &change[n_changes++];

	*c = (struct nchange){ verb, first, n, block, 0, access };
	if (verb == NMAP)
		c->off = m.at[first] - m.at[0];
	return c;
}

static void made_at_once(void)
{
	int result;

	judge("the stage", nmemory_commit(&m, change, n_changes, &result));
	assert_ok(result);
	n_changes = 0;
}

static void begin(const struct nlayout *layout)
{
	uint64_t bytes;

	assert_ok(nmemory_begin(&m, layout, NULL));
	bytes = ncells_size(&m, 0, m.n) + 512 * NPAGE;
	a = nblock_create(&m, VMS_BLOCK_HOST, 0, nmemory_pool(), bytes);
	b = nblock_create(&m, VMS_BLOCK_ANON, 0, NULL, bytes);
	assert_non_null(a);
	assert_non_null(b);
	n_changes = 0;
	add(NMAP, 4, 8, a, RAM);
	add(NMAP, 12, 4, b, ROM);
	add(NMAP, 18, 2, a, RAM);
	made_at_once();
	for (unsigned i = 0; i < LISTENERS; i++)
		assert_ok(vms_memory_listen(m.mem, &ops, &number[i]));
}

static void end(const char *what)
{
	judge(what, nmemory_end(&m));
	epoch_synchronize();
	listeners_at_rest();
}

/* ---- Edits ---- */

static struct nblock *fresh(enum nverb verb, unsigned first, unsigned n, uint64_t pages)
{
	struct nblock *nb = nblock_for(&m, verb, first, n, nmemory_pool() + pages * NPAGE);

	assert_non_null(nb);
	return nb;
}

static void map_new(void)
{
	add(NMAP, 0, 3, b, RAM);
}

static void replace_all(void)
{
	add(NMAP, 0, m.n, b, RAM);
}

static void rom_in_the_middle(void)
{
	add(NPROTECT, 6, 2, NULL, ROM);
}

static void unmap_much(void)
{
	add(NUNMAP, 5, 14, NULL, 0);
}

static void own_block(void)
{
	add(NMAP_HOST, 2, 6, fresh(NMAP_HOST, 2, 6, 64), RAM);
}

static void own_block_over_another(void)
{
	add(NMAP_HOST, 2, 6, fresh(NMAP_HOST, 2, 6, 64), RAM);
	add(NMAP_HOST, 2, 6, fresh(NMAP_HOST, 2, 6, 65), RAM);
	add(NMAP_SLOW, 14, 6, fresh(NMAP_SLOW, 14, 6, 0), RAM);
}

static void slow(void)
{
	add(NMAP_SLOW, 1, 10, fresh(NMAP_SLOW, 1, 10, 0), ROM);
}

/* Every second cell: more slots, events and nodes than have room without an allocation. */
static void many(void)
{
	for (unsigned i = 0; i < m.n; i += 2)
		add(NMAP, i, 1, i % 4 ? a : b, i % 3 ? RAM : ROM);
}

static void swap(void)
{
	add(NUNMAP, 0, m.n, NULL, 0);
	add(NMAP, 4, 8, b, RAM);
	add(NMAP, 12, 4, a, ROM);
	add(NPROTECT, 4, 12, NULL, VMS_SLOT_READ);
}

static const struct {
	const char *name;
	void (*changes)(void);
} edits[] = {
	{ "map", map_new },
	{ "replace", replace_all },
	{ "protect", rom_in_the_middle },
	{ "unmap", unmap_much },
	{ "a block of its own", own_block },
	{ "blocks of their own", own_block_over_another },
	{ "slow", slow },
	{ "many", many },
	{ "swap", swap },
};

static unsigned asked; /* changes that the edit took */

/* The edit, given up at the first error. */
static int edit(void)
{
	struct vms_edit *e;
	int err = vms_edit_begin(m.mem, &e);

	asked = 0;
	if (err)
		return err;
	while (!err && asked < n_changes) {
		err = nchange_ask(&m, e, &change[asked]);
		asked += !err;
	}
	if (!err)
		return vms_edit_commit(e);
	vms_edit_abort(e);
	return err;
}

/* Those that the edit took over are released once, the others never. */
static void own_blocks_are_gone(const char *what)
{
	vms_memory_synchronize(m.mem);
	for (unsigned i = 0; i < n_changes; i++) {
		struct nblock *own = change[i].b;

		if (change[i].verb != NMAP_HOST && change[i].verb != NMAP_SLOW)
			continue;
		if (own->released != (i < asked))
			print_error("%s: change %u, of %u: released %u times\n", what, i, asked,
				    own->released);
		assert_int_equal(own->released, i < asked);
		own->kind = 0;
	}
	judge(what, nblocks_sweep(&m, true));
}

static void done(const char *what)
{
	struct nstate was = m.now;

	for (unsigned i = 0; i < n_changes; i++)
		assert_ok(nstate_change(&m, &m.now, &change[i]));
	assert_true(nmemory_events(&m, &was, &m.now) > 0);
	m.edits++;
	judge(what, nmemory_differs(&m, 77));
	vms_memory_synchronize(m.mem);
	judge(what, nblocks_sweep(&m, true));
}

/* The result of an edit in which something was refused, or not. */
static void look(const char *what, void (*changes)(void), int result, bool failed, int want)
{
	listeners_at_rest();
	if (!result) {
		done(what);
		return;
	}
	if (!failed || result != want)
		print_error("%s: %d: %s\n", what, result, vms_last_error());
	assert_true(failed);
	assert_int_equal(result, want);
	own_blocks_are_gone(what);
	judge(what, nmemory_differs(&m, 99));
	n_changes = 0;
	changes();
	assert_ok(edit());
	listeners_at_rest();
	done(what);
}

/* What a thread and the library need once is there. */
static void warm(void)
{
	begin(&nlayouts[0]);
	map_new();
	assert_ok(edit());
	done("the first edit");
	end("the first memory");
}

static void every_call(void **state)
{
	static const char *const layouts[] = { "low", "top", "wide" };
	unsigned rounds = 0, errors = 0;

	for (unsigned l = 0; l < n_nlayouts; l++) {
		bool wanted = false;

		for (unsigned i = 0; i < countof(layouts); i++)
			wanted = wanted || !strcmp(nlayouts[l].name, layouts[i]);
		for (unsigned i = 0; wanted && i < countof(edits); i++)
			for (uint64_t n = 1, failed = 1; failed; n++) {
				int result;

				begin(&nlayouts[l]);
				edits[i].changes();
				test_world_fail(&tw, n, EVERY_CALL, ENOMEM);
				result = edit();
				failed = tw.failed;
				test_world_fail(&tw, 0, 0, 0);
				rounds += failed != 0;
				errors += result != 0;
				look(edits[i].name, edits[i].changes, result, failed, -ENOMEM);
				end(edits[i].name);
				assert_true(n < 1000);
			}
	}
	print_message("%u failures, %u of them errors\n", rounds, errors);
	assert_true(errors > 100);
}

/* Prepare of each listener, then apply of each. */
static void every_step(void **state)
{
	for (unsigned i = 0; i < countof(edits); i++)
		for (unsigned n = 1; n <= 2 * LISTENERS + 1; n++) {
			int result;

			begin(&nlayouts[0]);
			edits[i].changes();
			step_at = n;
			step_failed = false;
			result = edit();
			step_at = 0;
			assert_int_equal(step_failed, n <= 2 * LISTENERS);
			look(edits[i].name, edits[i].changes, result, step_failed, -ENXIO);
			end(edits[i].name);
		}
}

/* One cannot go on, or another cannot go back: the memory says so, and shows what it did before. */
static void broken_memory(void **state)
{
	for (unsigned n = LISTENERS + 1; n <= 2 * LISTENERS; n++)
		for (unsigned how = 0; how < 2; how++) {
			struct vms_memory_info info = { .size = sizeof(info) };
			bool breaks = how == 0 || n > LISTENERS + 1; /* somebody had applied */

			begin(&nlayouts[0]);
			stuck = how == 0;
			cannot_revert = how == 1;
			swap();
			step_at = n;
			assert_int_equal(edit(), stuck ? -EIO : -ENXIO);
			step_at = 0;
			stuck = cannot_revert = false;
			listeners_at_rest();
			assert_ok(vms_memory_info(m.mem, &info));
			assert_int_equal(info.broken, breaks);
			judge("broken", nmemory_table_differs(&m, &m.now, 5));
			judge("broken", nmemory_port_differs(&m, 5, 1));
			assert_int_equal(edit(), breaks ? -EIO : 0);
			if (!breaks)
				done("not broken");
			end("broken");
		}
}

/* ---- What else slots need ---- */

static struct vms_memory *other;
static struct vms_port *port;
static struct vms_dirty *dirty_log;

static int create(void)
{
	struct vms_memory_params p = { .size = sizeof(p), .name = "another" };

	return vms_memory_create(&p, &other);
}

static int from_ranges(void)
{
	static const struct vms_range ranges[] = {
		{ UINT64_C(1) << 32, UINT64_C(4) << 20 },
		{ 0, 160 * NPAGE },
		{ UINT64_C(5) << 32, NPAGE },
		{ 0xfffff000, NPAGE },
	};
	struct vms_memory_params p = { .size = sizeof(p) };

	return vms_memory_from_ranges(&p, ranges, countof(ranges), &other);
}

static int listen(void)
{
	static unsigned last = 0;

	return vms_memory_listen(m.mem, &ops, &last);
}

static int create_port(void)
{
	struct vms_port_params p = { .size = sizeof(p), .rights = VMS_SLOT_READ, .gpa = NPAGE };

	return vms_port_create(m.mem, &p, &port);
}

static int start_log(void)
{
	struct vms_dirty_params p = { .size = sizeof(p), .flags = VMS_DIRTY_ALL_SET };

	return vms_dirty_start(m.mem, &p, &dirty_log);
}

static const struct {
	const char *name;
	int (*run)(void);
	unsigned steps; /* of listeners that may fail */
} calls[] = {
	{ "create", create, 0 },
	{ "from ranges", from_ranges, 0 },
	{ "listen", listen, 2 },
	{ "create a port", create_port, 0 },
	{ "start a log", start_log, LISTENERS },
};

static void unmake(void)
{
	vms_memory_unref(other);
	vms_port_unref(port);
	vms_dirty_stop(dirty_log);
	other = NULL;
	port = NULL;
	dirty_log = NULL;
}

static void look_at_call(unsigned i, int result, bool failed, int want)
{
	listeners_at_rest();
	if (result) {
		if (!failed || result != want)
			print_error("%s: %d: %s\n", calls[i].name, result, vms_last_error());
		assert_true(failed);
		assert_int_equal(result, want);
		assert_null(other);
		assert_null(port);
		assert_null(dirty_log);
		judge(calls[i].name, nmemory_differs(&m, 3));
		assert_ok(calls[i].run());
	}
	if (other)
		assert_ok(vms_memory_check(other));
	judge(calls[i].name, nmemory_differs(&m, 4));
	unmake();
	end(calls[i].name);
}

static void other_calls(void **state)
{
	for (unsigned i = 0; i < countof(calls); i++) {
		unsigned errors = 0;

		for (uint64_t n = 1, failed = 1; failed; n++) {
			int result;

			begin(&nlayouts[0]);
			test_world_fail(&tw, n, EVERY_CALL, ENOMEM);
			result = calls[i].run();
			failed = tw.failed;
			test_world_fail(&tw, 0, 0, 0);
			errors += result != 0;
			look_at_call(i, result, failed, -ENOMEM);
		}
		assert_true(errors > 0);
		for (unsigned n = 1; n <= calls[i].steps; n++) {
			int result;

			begin(&nlayouts[0]);
			step_at = n;
			step_failed = false;
			result = calls[i].run();
			step_at = 0;
			assert_true(step_failed);
			look_at_call(i, result, true, -ENXIO);
		}
	}
}

static int world_begin(void **state)
{
	assert_non_null(nmemory_pool());
	test_world_begin(&tw);
	warm();
	return 0;
}

static int world_end(void **state)
{
	epoch_synchronize();
	test_world_end(&tw);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_call, world_begin, world_end),
		cmocka_unit_test_setup_teardown(every_step, world_begin, world_end),
		cmocka_unit_test_setup_teardown(broken_memory, world_begin, world_end),
		cmocka_unit_test_setup_teardown(other_calls, world_begin, world_end),
	};

	return cmocka_run_group_tests_name("fail-memory", tests, NULL, NULL);
}
