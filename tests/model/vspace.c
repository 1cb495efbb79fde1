// SPDX-License-Identifier: MIT
/*
 * vspace.c: random edits, faults, accesses and branches of a few small spaces, and changes of the
 * objects they show, against naive ones (vspace_naive.h, twins.h).
 *
 * After every step:
 *
 *	- each answer is the naive one; so are the mappings by vms_next, regions and mappings by
 *	  vms_walk, and what the space says of itself
 *	- an entry of the backend never shows other bytes than the object has, nor grants more than
 *	  the mapping does, nor writing to what others see or to a page that is not dirty
 *	- the pages that the arena has granted are those that the naive objects have
 *	- the validators agree
 *
 * A lazy backend is emptied at any moment; the recording one loses more than it was asked to, and
 * fails maps. Pagers answer at once, later (with other steps in between), or fail.
 *
 *	model-vspace [--backend record|soft|host] [--page BYTES] [--steps N] [--seed S] [--trace 1]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "twins.h"
#include "vspace.h"

#define LIVE_MIN 5
#define LIVE_MAX 10

/* ---- steps ---- */

static void do_reclaim(void)
{
	if (nested) /* a page that somebody waits to write stays */
		return;
	for (struct naive_content *c = naive_contents; c; c = c->next)
		c->high = false;
	for (unsigned k = 0; k < SIDES; k++)
		for (unsigned i = 0; sides[k].space && i < sides[k].n.npages; i++) {
			struct naive_view *v = sides[k].n.map[i].view;

			if (v && sides[k].n.in[i]->priority == VMS_PRIORITY_HIGH) {
				v->c->high = true;
				if (v->c->below)
					v->c->below->high = true;
			}
		}
	twin_reclaim();
}

static void do_object(void)
{
	unsigned dice = (unsigned)rnd(10);

	if (twins_live < LIVE_MIN || (twins_live < LIVE_MAX && dice == 0)) {
		if (free_twins() < 8)
			return;
		twins_pages = rnd(3) ? 10 : MAX_PAGES;
		if (twins_live && rnd(3))
			twin_child();
		else
			twin_create();
	} else if (dice == 1) {
		twin_drop(twin_any());
	} else {
		twin_change();
	}
}

void do_step(void)
{
	static void (*const actions[])(void) = {
		do_map,	      do_map,	    do_map,	      do_map,	      do_map,
		do_unmap,     do_unmap,	    do_protect,	      do_protect,     do_move,
		do_region_op, do_region_op, do_region_create, do_region_drop, do_fault,
		do_fault,     do_fault,	    do_fault_range,   do_prepare,     do_read,
		do_write,     do_write,	    do_string,	      do_word,	      do_word,
		do_cpu,	      do_tlb,	    do_cpu,	      do_tlb,	      do_cpu,
		do_cpu,	      do_look,	    do_object,	      do_object,      do_object,
		do_object,    do_object,    do_object,	      do_object,      do_trouble,
	};
	unsigned dice = (unsigned)rnd(1000);

	if (twins_live < LIVE_MIN)
		do_object();
	else if (dice < 6 && !nested)
		do_branch();
	else if (dice < 12)
		do_region_destroy();
	else if (dice < 22)
		do_priority();
	else if (dice < 32)
		do_reclaim();
	else
		actions[rnd(sizeof(actions) / sizeof(actions[0]))]();
}

/* Spaces come and go only between steps: a fault in one may be under way. */
static void do_spaces(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SIDES; i++)
		n += sides[i].space != NULL;
	if (!n || (n < SIDES && rnd(400) == 0))
		do_space_create();
	else if (n > 1 && rnd(n == SIDES ? 200 : 800) == 0)
		do_space_end(any_side());
}

int main(int argc, char **argv)
{
	const char *name;
	uint64_t steps = 20000;

	model_start("model-vspace", argc, argv, &steps);
	name = model_option("backend", "record");
	page_option = strtoull(model_option("page", "0"), NULL, 0);
	backend = !strcmp(name, "soft") ? SOFT : !strcmp(name, "host") ? HOST : RECORD;
	twins_answers = TWINS_EITHER;
	twins_refuse = backend != HOST;
	naive_eager = backend == HOST;
	twins_begin();
	cell = naive_page_size / CELLS;
	scratch = malloc(naive_page_size);
	buffers[0] = malloc(64 * naive_page_size);
	buffers[1] = malloc(64 * naive_page_size);
	for (model_step = 1; model_step <= steps; model_step++) {
		struct side *s;

		do_spaces();
		do_step();
		if (backend != HOST)
			twins_check_granted();
		s = any_side();
		check_side(s, 8);
		if (twins_live)
			twin_check(twin_any());
		if (model_step % 64 == 0)
			check_everything();
	}
	for (unsigned i = 0; i < SIDES; i++)
		if (sides[i].space)
			do_space_end(&sides[i]);
	twins_end();
	free(scratch);
	free(buffers[0]);
	free(buffers[1]);
	printf("model-vspace: %" PRIu64 " steps, backend %s, seed %" PRIu64 ", no difference\n",
	       steps, name, model_seed);
	return 0;
}
