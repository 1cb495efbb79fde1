// SPDX-License-Identifier: MIT
/*
 * Branches of spaces that are written to meanwhile. Each writer writes a number to one object and
 * then to another, and then the next number: so at no instant is the second ahead of the first. He
 * does it in a way of his own: a few bytes, whole pages (which are written with no lock held), by
 * addresses, as a CPU.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "branch_kit.h"

#define WRITERS 4
#define BIG	3 /* pages that are written at once, so that it is done outside the lock */

static struct {
	struct vms_space *s;
	struct vms_object *obj[2];
	atomic_bool stop;
	atomic_uint_fast64_t rounds[WRITERS];
} race;

/* Writer k has BIG pages of each object. */
static uint64_t place(unsigned k)
{
	return (uint64_t)k * BIG * P;
}

static void cpu_store(struct vms_cpu *cpu, uint64_t addr, uint64_t v)
{
	while (!vms_tlb_store64(cpu, addr, v))
		assert_int_equal(vms_fault(race.s, cpu->miss, VMS_PROT_WRITE, 0, NULL, NULL),
				 VMS_FAULT_OK);
}

/* One word, or all of its pages, now say v. */
static void write_one(unsigned k, unsigned which, uint64_t v, struct vms_cpu *cpu)
{
	static _Thread_local uint64_t buf[BIG * 512];
	uint64_t at = BASE + which * 64 * P + place(k);

	switch (k) {
	case 0:
		assert_ok(vms_object_write(race.obj[which], place(k), &v, sizeof(v), NULL));
		break;
	case 1:
		for (unsigned i = 0; i < BIG * 512; i++)
			buf[i] = v;
		assert_ok(vms_object_write(race.obj[which], place(k), buf, sizeof(buf), NULL));
		break;
	case 2:
		assert_int_equal(vms_space_write(race.s, at, &v, sizeof(v), NULL, NULL),
				 VMS_FAULT_OK);
		break;
	default:
		cpu_store(cpu, at, v);
	}
}

static void *writer(void *arg)
{
	unsigned k = (unsigned)(uintptr_t)arg;
	struct vms_cpu *cpu = malloc(sizeof(*cpu));

	vms_cpu_init(race.s->mmu, cpu);
	for (uint64_t v = 1; !atomic_load(&race.stop); v++) {
		write_one(k, k & 1, v, cpu);
		write_one(k, !(k & 1), v, cpu);
		atomic_store(&race.rounds[k], v);
	}
	vms_cpu_fini(cpu);
	free(cpu);
	return NULL;
}

static uint64_t word(struct vms_space *b, unsigned k, unsigned which, uint64_t i)
{
	uint64_t v = 0;

	assert_int_equal(vms_space_read(b, BASE + which * 64 * P + place(k) + i * 8, &v, sizeof(v),
					NULL, NULL),
			 VMS_FAULT_OK);
	return v;
}

static void judge(struct vms_space *b, uint64_t *seen)
{
	for (unsigned k = 0; k < WRITERS; k++) {
		uint64_t done = atomic_load(&race.rounds[k]);
		uint64_t first = word(b, k, k & 1, 0), second = word(b, k, !(k & 1), 0);

		if (second > first || first > second + 1 || first > done + 2 || first < seen[k])
			print_message("writer %u: %llu, then %llu\n", k, (unsigned long long)first,
				      (unsigned long long)second);
		assert_true(second <= first && first <= second + 1);
		assert_true(first >= seen[k]);
		seen[k] = first;
	}
	/* Not half of what was written at once. */
	for (unsigned which = 0; which < 2; which++)
		for (uint64_t i = 0; i < BIG * 512; i += 73)
			assert_int_equal(word(b, 1, which, i), word(b, 1, which, 0));
}

static void one_instant(void **state)
{
	struct fixture *f = *state;
	struct vms_space *last = NULL;
	uint64_t seen[WRITERS] = { 0 };
	pthread_t thread[WRITERS];

	race.s = space_over(soft());
	atomic_store(&race.stop, false);
	for (unsigned i = 0; i < 2; i++) {
		race.obj[i] = anon(f->arena, 64 * P, 0);
		map(race.s, BASE + i * 64 * P, race.obj[i], 0, 64 * P, 0);
	}
	for (uintptr_t k = 0; k < WRITERS; k++)
		assert_ok(pthread_create(&thread[k], NULL, writer, (void *)k));
	for (int i = 0; i < 300; i++) {
		struct vms_space *b = branch(race.s);

		judge(b, seen);
		if (i % 50 == 0) {
			good(b);
			sound(race.obj[0]);
			sound(race.obj[1]);
		}
		vms_space_unref(last);
		last = b;
		sched_yield();
	}
	atomic_store(&race.stop, true);
	for (unsigned k = 0; k < WRITERS; k++) {
		assert_ok(pthread_join(thread[k], NULL));
		assert_true(atomic_load(&race.rounds[k]) > 0);
	}
	good(race.s);
	vms_space_unref(last);
	vms_space_unref(race.s);
	sound(race.obj[0]);
	vms_object_unref(race.obj[0]);
	vms_object_unref(race.obj[1]);
}

/* Threads allocate at once, which the world of the other tests does not count right. */
static int begin_threads(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->arena = arena_of(0);
	*state = f;
	return 0;
}

static int end_threads(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(granted(f->arena), 0);
	vms_arena_unref(f->arena);
	free(f);
	return 0;
}

/* Two spaces that show the same objects, each in its own order, and two threads that branch. */
static struct {
	struct vms_space *s[2];
	struct vms_object *obj[8];
} pair;

static void *brancher(void *arg)
{
	struct vms_space *s = arg;
	unsigned char big[3 * 4096];

	for (int i = 0; i < 150; i++) {
		struct vms_space *b = branch(s);

		memset(big, i, sizeof(big));
		assert_ok(vms_object_write(pair.obj[i % 8], 0, big, sizeof(big), NULL));
		vms_space_unref(b);
	}
	return NULL;
}

static void two_that_share_families(void **state)
{
	struct fixture *f = *state;
	pthread_t thread[2];

	for (unsigned i = 0; i < 8; i++)
		pair.obj[i] = anon(f->arena, 8 * P, 0);
	for (unsigned k = 0; k < 2; k++) {
		pair.s[k] = space_over(soft());
		for (unsigned i = 0; i < 8; i++)
			map(pair.s[k], BASE + 8 * P * i, pair.obj[k ? 7 - i : i], 0, 8 * P, 0);
	}
	for (unsigned k = 0; k < 2; k++)
		assert_ok(pthread_create(&thread[k], NULL, brancher, pair.s[k]));
	for (unsigned k = 0; k < 2; k++) {
		assert_ok(pthread_join(thread[k], NULL));
		good(pair.s[k]);
		vms_space_unref(pair.s[k]);
	}
	for (unsigned i = 0; i < 8; i++) {
		sound(pair.obj[i]);
		vms_object_unref(pair.obj[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_instant, begin_threads, end_threads),
		cmocka_unit_test_setup_teardown(two_that_share_families, begin_threads,
						end_threads),
	};

	return cmocka_run_group_tests_name("vspace-branch-threads", tests, NULL, NULL);
}
