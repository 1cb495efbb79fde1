// SPDX-License-Identifier: MIT
/* rounds.c: see rounds.h. */
#include "check.h"

#include "rounds.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmspace/vmspace.h"

struct picture {
	struct sight cast;
	void *view;
};

static const struct play *play;
static const struct scenario *scene;
static struct picture before, now, after;
static bool rehearsed; /* `after` is known */
static unsigned errors, fine;

static void look(struct picture *s)
{
	cast_look(&s->cast);
	if (play->look)
		play->look(s->view);
}

static void print_result(const char *when, int err)
{
	print_message("  %s%s, %s: %d: %s\n", scene->name, play->over, when, err, vms_last_error());
}

static void same(const char *when, const struct picture *want, bool charges, bool content)
{
	unsigned bad = cast_differs(&want->cast, &now.cast, charges, content);

	if (play->differs)
		bad += play->differs(want->view, now.view);
	if (bad)
		print_message("  %s%s, %s\n", scene->name, play->over, when);
	assert_int_equal(bad, 0);
}

static void sound_and_seen(void)
{
	cast_sound();
	play->sound();
	look(&now);
}

static void set_up(void)
{
	cast_set_up();
	play->set_up();
	look(&before);
	look(&before); /* what reading brings is there now */
}

static void tear_down(void)
{
	play->tear_down();
	cast_tear_down();
}

static void check(int result, bool failed)
{
	bool prefix = scene->flags & PREFIX, keeps = scene->flags & KEEPS;

	sound_and_seen();
	if (result) {
		if (!failed || (result != -ENOMEM && result != -EIO))
			print_result("with a failure", result);
		assert_true(failed);
		assert_true(result == -ENOMEM || result == -EIO);
		assert_false(play->made());
		errors++;
		same("after an error", &before, !prefix && !keeps, !prefix);
		result = scene->run();
		if (result)
			print_result("again", result);
		assert_int_equal(result, 0);
		sound_and_seen();
	} else {
		fine++;
	}
	if (!rehearsed) {
		after.cast = now.cast;
		memcpy(after.view, now.view, play->view_size);
	}
	rehearsed = true;
	same("at the end", &after, !prefix && !(keeps && play->spares), true);
}

/* Twice, so that what the first one brings into being (a thread's records) is there. */
static void rehearse(void)
{
	for (int i = 0; i < 2; i++) {
		int err;

		set_up();
		rehearsed = false;
		err = scene->run();
		if (err)
			print_result("rehearsed", err);
		assert_int_equal(err, 0);
		check(0, false);
		tear_down();
	}
}

unsigned rounds_fail(void (*arm)(uint64_t n), bool (*failed)(void))
{
	for (unsigned n = 1;; n++) {
		bool refused;
		int result;

		set_up();
		arm(n);
		result = scene->run();
		refused = failed();
		check(result, refused);
		tear_down();
		if (!refused)
			return n - 1;
		assert_true(n < 100000);
	}
}

static struct {
	int err;
	uint32_t mask;
	uint64_t more;
} world;

static void arm_world(uint64_t n)
{
	test_world_fail(&tw, n, world.mask, world.err);
	tw.fail_more = world.more;
}

static bool world_failed(void)
{
	bool failed = tw.failed != 0;

	test_world_fail(&tw, 0, 0, 0);
	return failed;
}

unsigned rounds_world(int err, uint32_t mask, uint64_t more)
{
	world.err = err;
	world.mask = mask;
	world.more = more;
	return rounds_fail(arm_world, world_failed);
}

void rounds_play(const struct play *p, unsigned at_least)
{
	struct picture *const all[] = { &before, &now, &after };
	unsigned failures = 0, errors_of_all = 0;

	play = p;
	for (unsigned i = 0; i < countof(all); i++)
		all[i]->view = calloc(1, p->view_size + 1);
	for (unsigned i = 0; i < p->n; i++) {
		scene = &p->scenario[i];
		errors = fine = 0;
		rehearse();
		failures += p->fail();
		errors_of_all += errors;
		if (getenv("VERBOSE"))
			print_message("%-32s %3u errors, %3u fine\n", scene->name, errors, fine);
	}
	print_message("%zu scenarios%s, %u failures, %u of them errors\n", p->n, p->over, failures,
		      errors_of_all);
	assert_true(errors_of_all > at_least);
	for (unsigned i = 0; i < countof(all); i++)
		free(all[i]->view);
}
