// SPDX-License-Identifier: MIT
/*
 * table.c: threads that look addresses up in sections while one publishes edits.
 *
 * Edit n maps all of a few stretches so that their entries say n, and takes others away. What a
 * reader finds under one root must be of one edit: an older number for what lay under it, and never
 * a younger one than the root's, whose number stands at a fixed page. Numbers never go back.
 *
 * Argument: seconds.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/epoch.h"
#include "memory/table.h"
#include "random.h"
#include "stress.h"
#include "vmspace/memory.h"

#define PAGE	UINT64_C(0x1000)
#define SPAN	(UINT64_C(3) << 30)
#define MARK	(SPAN + 5 * PAGE)	     /* says the number of the edit */
#define TWICE	(SPAN + (UINT64_C(1) << 40)) /* and so does this, elsewhere in the tree */
#define READERS 3u

enum { EDITS, LOOKS, HOLES, SAME };
static const char *const name[] = { "edits", "looks", "holes", "roots that stayed" };

static struct table table;

static struct table_entry value(uint64_t n)
{
	return (struct table_entry){ .at = n << 12 | VMS_SLOT_RAM, .more = n };
}

static uint64_t number(uint64_t root, uint64_t gpa)
{
	const struct table_entry *e = table_find(root, gpa);

	if (!e || !e->at)
		return 0;
	if (e->at != value(e->more).at)
		bad("%#llx: half of two entries", (unsigned long long)gpa);
	return e->more;
}

static void *read_it(void *arg)
{
	uint32_t seed = 99 + (uint32_t)(uintptr_t)arg;
	uint64_t before = 0;

	while (going()) {
		uint64_t root, edit;

		if (!epoch_enter()) {
			bad("no section");
			break;
		}
		root = atomic_load_explicit(&table.root, memory_order_acquire);
		edit = number(root, MARK);
		if (edit < before || number(root, TWICE) != edit)
			bad("edit %llu after %llu", (unsigned long long)edit,
			    (unsigned long long)before);
		for (unsigned i = 0; i < 20; i++) {
			uint64_t n = number(root, next32(&seed) * PAGE % SPAN);

			counted(n ? LOOKS : HOLES);
			if (n > edit)
				bad("%llu under edit %llu", (unsigned long long)n,
				    (unsigned long long)edit);
		}
		if (edit == before)
			counted(SAME);
		before = edit;
		epoch_leave();
	}
	return NULL;
}

static void *edit_it(void *arg)
{
	uint32_t seed = 4711;

	(void)arg;
	for (uint64_t n = 1; going(); n++) {
		struct table_entry v = value(n);
		struct table_edit e;
		bool drop = next32(&seed) % 16 == 0;

		table_edit_init(&e, &table);
		for (unsigned i = 0; i < 3; i++) {
			uint64_t first = next32(&seed) * PAGE % SPAN;
			uint64_t len =
				(1 + next32(&seed) % (next32(&seed) % 32 ? 600 : 400000)) * PAGE;
			uint64_t last = len > SPAN - first ? SPAN - 1 : first + (len - 1);

			must(table_edit_set(&e, first, last, next32(&seed) % 3 ? &v : NULL), "set");
		}
		must(table_edit_set(&e, MARK, MARK + (PAGE - 1), &v), "set");
		must(table_edit_set(&e, TWICE, TWICE + (PAGE - 1), &v), "set");
		if (drop) {
			table_edit_abort(&e);
			continue;
		}
		table_edit_publish(&e);
		counted(EDITS);
		if (n % 64 == 0 && table_validate(&table))
			bad("%s", table_validate(&table));
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread[READERS + 1];

	table_init(&table, world_default);
	for (uintptr_t i = 0; i <= READERS; i++)
		if (pthread_create(&thread[i], NULL, i ? read_it : edit_it, (void *)i))
			return 2;
	rest(argc > 1 ? atof(argv[1]) : 1);
	atomic_store(&stop, true);
	for (unsigned i = 0; i <= READERS; i++)
		pthread_join(thread[i], NULL);
	table_fini(&table);
	epoch_synchronize();
	print_counts(name, sizeof(name) / sizeof(name[0]));
	if (!failures && (!counts[EDITS] || !counts[LOOKS] || !counts[HOLES]))
		bad("too little was done");
	return failures ? 1 : 0;
}
