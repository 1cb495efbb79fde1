// SPDX-License-Identifier: MIT
/*
 * Each call on objects, again and again, with the 1st, 2nd, ... n-th allocation and host call
 * failing. A call that ends with an error has changed nothing: what every object of the scene
 * shows, what each is charged, what the arenas have granted. One that ends well has done what it
 * does when nothing fails: that was written down in a first run. After an error the same call is
 * made again and succeeds. The validators agree after each step, and each round gives back all it
 * took.
 *
 * Two kinds of calls may stop half way, as object.h says: KEEPS may have got pages, and no
 * content has changed: commit and the like, and what copies a shared page to zero a part of it;
 * PREFIX is several calls, or a file's own writes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

#include "base/epoch.h"
#include "files.h"
#include "object/content.h"
#include "store/arena.h"
#include "vmspace/pager.h"
#include "world.h"

#define countof(a) (sizeof(a) / sizeof((a)[0]))
#define LEN	   200u /* pages of most objects: four leaves */

static struct test_world tw;
static uint64_t P;
static unsigned char *buf; /* LEN pages */

enum who {
	A,  /* anonymous, RESIZABLE; pages 0..3, 62..66, 130 */
	S,  /* a snapshot of A; page 1 written since */
	S2, /* RESIZABLE, a snapshot of S from page 62 on, 70 pages */
	B,  /* anonymous, a family of its own; pages 10..12 and 70 */
	F,  /* a file of 8 pages */
	O,  /* SNAPSHOT_LAZY of F; page 2 written */
	D,  /* DISCARDABLE; pages 0..2 */
	G,  /* filled by a file pager; pages 0..3 there, 1 dirty */
	GO, /* SNAPSHOT_LAZY of G */
	E,  /* anonymous, of an arena that has granted nothing; 1 GiB */
	ALL
};

struct facts {
	uint64_t total, owned, pinned, bytes, stream, children;
	uint64_t digest;
};

struct state {
	struct facts obj[ALL];
	uint64_t granted, granted2;
};

enum { KEEPS = 1, PREFIX = 2 };

static struct stage {
	struct vms_arena *arena, *arena2;
	struct vms_pager *pager, *made_pager;
	struct vms_object *obj[ALL];
	struct vms_object *made;
	int fd, backing;
	size_t live;
	int64_t mapped;
	const struct scenario *sc;
	struct state before, after;
	bool done; /* `after` is known */
	unsigned errors, fine;
} s;

struct scenario {
	const char *name;
	int (*run)(void);
	unsigned flags;
};

/* ---- The scene ---- */

static struct vms_object_params params(uint32_t flags, uint64_t npages)
{
	return (struct vms_object_params){ .size = sizeof(struct vms_object_params),
					   .flags = flags,
					   .bytes = npages * P,
					   .name = "n" };
}

static void put(enum who who, uint64_t first, uint64_t n, int byte)
{
	memset(buf, byte, n * P);
	assert_ok(vms_object_write(s.obj[who], first * P, buf, n * P, NULL));
}

static void anon(struct vms_arena *arena, enum who who, uint32_t flags, uint64_t npages)
{
	struct vms_object_params p = params(flags, npages);

	assert_ok(vms_object_create(arena, &p, &s.obj[who]));
}

static void child(enum who who, enum who parent, enum vms_child_kind kind, uint32_t flags,
		  uint64_t first, uint64_t n)
{
	struct vms_object_params p = params(flags, n);

	assert_ok(vms_object_child(s.obj[parent], kind, first * P, &p, &s.obj[who]));
}

static void set_up_objects(void)
{
	struct vms_object_params p = params(0, 0);

	anon(s.arena, A, VMS_OBJECT_RESIZABLE, LEN);
	put(A, 0, 4, 'a');
	put(A, 62, 5, 'b');
	put(A, 130, 1, 'c');
	child(S, A, VMS_CHILD_SNAPSHOT, 0, 0, LEN);
	put(S, 1, 1, 's');
	child(S2, S, VMS_CHILD_SNAPSHOT, VMS_OBJECT_RESIZABLE, 62, 70);
	anon(s.arena, B, 0, LEN);
	put(B, 10, 3, 'x');
	put(B, 70, 1, 'y');
	assert_ok(vms_object_create_file(s.arena, s.fd, &p, &s.obj[F]));
	child(O, F, VMS_CHILD_SNAPSHOT_LAZY, VMS_OBJECT_RESIZABLE, 0, 8);
	put(O, 2, 1, 'o');
	anon(s.arena, D, VMS_OBJECT_DISCARDABLE, 8);
	put(D, 0, 3, 'd');
	assert_ok(vms_pager_file(s.backing, &s.pager));
	p = params(VMS_OBJECT_RESIZABLE, 8);
	assert_ok(vms_object_create_paged(s.arena, s.pager, 0, &p, &s.obj[G]));
	assert_ok(vms_object_read(s.obj[G], 0, buf, 4 * P, NULL));
	put(G, 1, 1, 'g');
	child(GO, G, VMS_CHILD_SNAPSHOT_LAZY, 0, 0, 4);
	anon(s.arena2, E, 0, (UINT64_C(1) << 30) / P);
}

/* ---- What is seen ---- */

static uint64_t digest(struct vms_object *obj, uint64_t off, uint64_t len)
{
	uint64_t h = 1469598103934665603u;
	int err = vms_object_read(obj, off, buf, len, NULL);
	const uint64_t *w = (const uint64_t *)(const void *)buf;

	if (err == -ENOENT)
		return 1; /* discarded */
	assert_int_equal(err, 0);
	for (uint64_t i = 0; i < len / 8; i++)
		h = (h ^ w[i]) * 1099511628211u;
	return h;
}

static uint64_t granted(struct vms_arena *arena)
{
	struct vms_arena_info info = { .size = sizeof(info) };

	assert_ok(vms_arena_info(arena, &info));
	return info.granted / P;
}

/* Sizes and charges first: reading may bring pages of G. */
static void look(struct state *st)
{
	memset(st, 0, sizeof(*st));
	st->granted = granted(s.arena);
	st->granted2 = granted(s.arena2);
	for (int i = 0; i < ALL; i++) {
		struct vms_object_info info = { .size = sizeof(info) };

		assert_ok(vms_object_info(s.obj[i], &info));
		st->obj[i] = (struct facts){ .total = info.total / P,
					     .owned = info.owned / P,
					     .pinned = info.pinned,
					     .bytes = info.bytes,
					     .stream = info.stream_size,
					     .children = info.children };
	}
	for (int i = 0; i < ALL; i++) {
		uint64_t len = st->obj[i].bytes;

		if (i == G)
			len = 4 * P; /* the others are not there yet */
		if (i == E) {
			st->obj[i].digest = digest(s.obj[i], 0, 4 * P) ^
					    digest(s.obj[i], len / 2 - 2 * P, 4 * P);
			continue;
		}
		st->obj[i].digest = digest(s.obj[i], 0, len < LEN * P ? len : LEN * P);
	}
}

static void print_facts(const char *what, const struct facts *f)
{
	print_message("    %s: total %llu owned %llu pinned %llu bytes %#llx stream %#llx children "
		      "%llu digest %llx\n",
		      what, (unsigned long long)f->total, (unsigned long long)f->owned,
		      (unsigned long long)f->pinned, (unsigned long long)f->bytes,
		      (unsigned long long)f->stream, (unsigned long long)f->children,
		      (unsigned long long)f->digest);
}

static void same(const char *when, const struct state *want, const struct state *now, bool charges)
{
	unsigned bad = 0;

	for (int i = 0; i < ALL; i++) {
		struct facts a = want->obj[i], b = now->obj[i];

		if (!charges)
			a.total = a.owned = b.total = b.owned = 0;
		if (memcmp(&a, &b, sizeof(a)) == 0)
			continue;
		print_message("  %s, %s: object %d\n", s.sc->name, when, i);
		print_facts("expected", &a);
		print_facts("is", &b);
		bad++;
	}
	if (charges && (want->granted != now->granted || want->granted2 != now->granted2)) {
		print_message("  %s, %s: granted %llu + %llu, expected %llu + %llu\n", s.sc->name,
			      when, (unsigned long long)now->granted,
			      (unsigned long long)now->granted2, (unsigned long long)want->granted,
			      (unsigned long long)want->granted2);
		bad++;
	}
	assert_int_equal(bad, 0);
}

static void sound(void)
{
	for (int i = 0; i < ALL; i++) {
		int err = content_check(s.obj[i], NULL);

		if (err)
			print_message("  %s: object %d: %s\n", s.sc->name, i, vms_last_error());
		assert_int_equal(err, 0);
	}
	if (s.made)
		assert_ok(content_check(s.made, NULL));
	assert_ok(arena_check(s.arena));
	assert_ok(arena_check(s.arena2));
}

/* ---- One round ---- */

static void set_up(void *arg)
{
	struct vms_arena_params p = { .size = sizeof(p), .reserve = UINT64_C(512) << 20 };

	s.live = tw.live;
	s.made = NULL;
	s.made_pager = NULL;
	s.fd = file_of(8 * P, 'f');
	s.backing = file_of(8 * P, 'k');
	assert_ok(vms_arena_create(&p, &s.arena));
	assert_ok(vms_arena_create(&p, &s.arena2));
	set_up_objects();
	look(&s.before);
	look(&s.before); /* what reading brings is there now */
}

static int run(void *arg)
{
	return s.sc->run();
}

/* What the call made has gone, so that it can be made again. */
static void unmake(void)
{
	vms_object_unref(s.made);
	s.made = NULL;
	vms_pager_close(s.made_pager);
	s.made_pager = NULL;
}

static void check(void *arg, int result, bool failed)
{
	struct state now;

	sound();
	look(&now);
	if (result) {
		assert_true(failed);
		if (result != -ENOMEM && result != -(int)EIO) {
			print_message("  %s: %d\n", s.sc->name, result);
			assert_int_equal(result, -ENOMEM);
		}
		assert_null(s.made);
		assert_null(s.made_pager);
		s.errors++;
		if (!(s.sc->flags & PREFIX))
			same("after an error", &s.before, &now, !(s.sc->flags & KEEPS));
		result = s.sc->run();
		if (result)
			print_message("  %s, again: %d: %s\n", s.sc->name, result,
				      vms_last_error());
		assert_int_equal(result, 0);
		sound();
		look(&now);
	} else {
		s.fine++;
	}
	if (!s.done)
		s.after = now;
	s.done = true;
	same("at the end", &s.after, &now, !(s.sc->flags & PREFIX));
}

static void tear_down(void *arg)
{
	unmake();
	for (int i = 0; i < ALL; i++)
		vms_object_unref(s.obj[i]);
	vms_pager_close(s.pager);
	assert_int_equal(granted(s.arena), 0);
	assert_int_equal(granted(s.arena2), 0);
	epoch_synchronize();
	assert_ok(arena_check(s.arena));
	vms_arena_unref(s.arena);
	vms_arena_unref(s.arena2);
	epoch_synchronize();
	assert_int_equal(tw.live, s.live);
	close(s.fd);
	close(s.backing);
	assert_int_equal(open_descriptors(), tw.fds_before);
}

/* ---- The scenarios ---- */

static int make_anon(uint32_t flags, uint64_t npages)
{
	struct vms_object_params p = params(flags, npages);

	return vms_object_create(s.arena, &p, &s.made);
}

static int create(void)
{
	return make_anon(VMS_OBJECT_RESIZABLE, 5);
}

static int create_discardable(void)
{
	return make_anon(VMS_OBJECT_DISCARDABLE, 5);
}

static int create_contiguous(void)
{
	return make_anon(VMS_OBJECT_CONTIGUOUS, 150);
}

static int create_file(void)
{
	struct vms_object_params p = params(0, 0);

	return vms_object_create_file(s.arena, s.fd, &p, &s.made);
}

static int create_host(void)
{
	static unsigned char memory[65536 * 2];
	struct vms_object_params p = params(0, 1);
	uintptr_t at = ((uintptr_t)memory + P - 1) & ~(uintptr_t)(P - 1);

	return vms_object_create_host((void *)at, &p, &s.made);
}

static int create_paged(void)
{
	struct vms_object_params p = params(0, 5);

	return vms_object_create_paged(s.arena, s.pager, P, &p, &s.made);
}

static int create_pager(void)
{
	return vms_pager_file(s.backing, &s.made_pager);
}

static int make_child(enum who parent, enum vms_child_kind kind, uint64_t first, uint64_t n)
{
	struct vms_object_params p = params(0, n);

	return vms_object_child(s.obj[parent], kind, first * P, &p, &s.made);
}

static int child_snapshot(void)
{
	return make_child(A, VMS_CHILD_SNAPSHOT, 0, LEN);
}

static int child_part(void)
{
	return make_child(S, VMS_CHILD_SNAPSHOT, 63, 68);
}

static int child_overlay(void)
{
	return make_child(F, VMS_CHILD_SNAPSHOT_LAZY, 1, 20);
}

static int child_modified(void)
{
	return make_child(O, VMS_CHILD_SNAPSHOT_MODIFIED, 2, 5);
}

static int child_slice(void)
{
	return make_child(B, VMS_CHILD_SLICE, 10, 70);
}

static int child_reference(void)
{
	return make_child(A, VMS_CHILD_REFERENCE, 0, 0);
}

static int put_bytes(enum who who, uint64_t off, uint64_t len, int byte)
{
	memset(buf, byte, len);
	return vms_object_write(s.obj[who], off, buf, len, NULL);
}

static int write_fresh(void)
{
	return put_bytes(B, 150 * P + 5, 10, 'w');
}

static int write_first(void)
{
	return put_bytes(E, P, 2 * P, 'w');
}

static int write_shared(void)
{
	return put_bytes(A, 130 * P + 5, 10, 'w');
}

static int write_spanning(void)
{
	return put_bytes(S, 60 * P + 5, 75 * P, 'w');
}

static int write_leaf_of_child(void)
{
	return put_bytes(S2, 2 * P, 3 * P, 'w');
}

static int write_file(void)
{
	return put_bytes(F, 3 * P + 1, P, 'w');
}

static int write_copy_up(void)
{
	return put_bytes(O, 4 * P + 1, 5, 'w');
}

static int write_copy_up_both_ends(void)
{
	return put_bytes(O, P + 1, 5 * P, 'w');
}

static int write_paged(void)
{
	return put_bytes(G, 3 * P + 1, 2 * P, 'w');
}

static int write_above_paged(void)
{
	return put_bytes(GO, P + 1, P, 'w');
}

static int write_sparse(void)
{
	for (uint64_t i = 0; i < 16; i++) {
		int err = put_bytes(E, i * (UINT64_C(64) << 20), P, 'w');

		if (err)
			return err;
	}
	return 0;
}

static int read_overlay(void)
{
	return vms_object_read(s.obj[O], 0, buf, 8 * P, NULL);
}

static int read_file_object(void)
{
	return vms_object_read(s.obj[F], 5, buf, 7 * P, NULL);
}

static int read_paged(void)
{
	return vms_object_read(s.obj[G], 0, buf, 8 * P, NULL);
}

static int op(enum who who, enum vms_object_op what, uint64_t off, uint64_t len)
{
	return vms_object_op(s.obj[who], what, off, len, NULL);
}

static int commit_snapshot(void)
{
	return op(S2, VMS_OBJECT_COMMIT, 0, 70 * P);
}

static int commit_overlay(void)
{
	return op(O, VMS_OBJECT_COMMIT, P, 6 * P);
}

static int commit_paged(void)
{
	return op(G, VMS_OBJECT_COMMIT, 0, 8 * P);
}

static int zero_whole(void)
{
	return op(A, VMS_OBJECT_ZERO, 2 * P, 129 * P);
}

static int zero_head(void)
{
	return op(A, VMS_OBJECT_ZERO, P + 7, 65 * P);
}

static int zero_parts(void)
{
	return op(A, VMS_OBJECT_ZERO, 2 * P + 7, 128 * P + 2);
}

static int zero_overlay(void)
{
	return op(O, VMS_OBJECT_ZERO, P + 7, 4 * P);
}

static int zero_file(void)
{
	return op(F, VMS_OBJECT_ZERO, P + 7, 4 * P);
}

static int zero_paged(void)
{
	return op(G, VMS_OBJECT_ZERO, P + 7, 5 * P);
}

static int prefetch(void)
{
	return op(G, VMS_OBJECT_PREFETCH, 0, 8 * P);
}

static int shrink(void)
{
	return vms_object_resize(s.obj[A], 63 * P + 100, NULL);
}

static int shrink_child(void)
{
	return vms_object_resize(s.obj[S2], 2 * P + 1, NULL);
}

static int shrink_overlay(void)
{
	return vms_object_resize(s.obj[O], 5 * P + 1, NULL);
}

static int grow_paged(void)
{
	return vms_object_resize(s.obj[G], 300 * P, NULL);
}

static int lower_stream(void)
{
	return vms_object_set_stream_size(s.obj[A], 64 * P + 9, NULL);
}

static int pin_shared(void)
{
	return vms_object_pin(s.obj[S], 60 * P, 10 * P, 1, NULL);
}

static int pin_overlay(void)
{
	return vms_object_pin(s.obj[O], P, 3 * P, 0, NULL);
}

static int transfer_across(void)
{
	return vms_object_transfer(s.obj[A], 60 * P, 80 * P, s.obj[B], 5 * P, 0);
}

static int transfer_shared_across(void)
{
	return vms_object_transfer(s.obj[B], 60 * P, 80 * P, s.obj[A], 55 * P, 0);
}

static int transfer_keep(void)
{
	return vms_object_transfer(s.obj[B], 8 * P, 8 * P, s.obj[A], 0, VMS_TRANSFER_KEEP);
}

static int transfer_within(void)
{
	return vms_object_transfer(s.obj[S2], 0, 60 * P, s.obj[A], 60 * P, 0);
}

static int transfer_over_itself(void)
{
	return vms_object_transfer(s.obj[S], 3 * P, 100 * P, s.obj[S], 0, 0);
}

static int supply(void)
{
	struct vms_object_params p = params(0, 8);
	struct vms_object *src = NULL;
	int err = vms_object_create(s.arena, &p, &src);

	if (!err)
		err = vms_object_write(src, 5 * P, "k", 1, NULL);
	if (!err)
		err = vms_pager_supply(s.pager, s.obj[G], 4 * P, 4 * P, src, 4 * P);
	vms_object_unref(src);
	return err;
}

static int supply_bytes(void)
{
	memset(buf, 'z', 2 * P);
	return vms_pager_supply_bytes(s.pager, s.obj[G], 5 * P, buf, 2 * P);
}

static int sync_paged(void)
{
	return vms_pager_file_sync(s.obj[G]);
}

static int share(void)
{
	struct vms_share rows[8];
	size_t n = countof(rows);

	return vms_object_share(s.obj[A], rows, &n);
}

/* Discards D, and takes G's clean pages. */
static int reclaim(void)
{
	return vms_arena_reclaim(s.arena, UINT64_MAX, NULL);
}

static const struct scenario scenarios[] = {
	{ "create", create },
	{ "create discardable", create_discardable },
	{ "create contiguous", create_contiguous },
	{ "create file", create_file },
	{ "create host", create_host },
	{ "create paged", create_paged },
	{ "create pager", create_pager },
	{ "snapshot", child_snapshot },
	{ "snapshot of a part", child_part },
	{ "overlay", child_overlay },
	{ "modified", child_modified },
	{ "slice", child_slice },
	{ "reference", child_reference },
	{ "write, fresh page", write_fresh },
	{ "write, first page of an arena", write_first },
	{ "write, shared page", write_shared },
	{ "write, over leaves", write_spanning },
	{ "write, child", write_leaf_of_child },
	{ "write, file", write_file },
	{ "write, copy up", write_copy_up, KEEPS },
	{ "write, copy up both ends", write_copy_up_both_ends, KEEPS },
	{ "write, paged", write_paged, KEEPS },
	{ "write, above paged", write_above_paged, KEEPS },
	{ "write, sparse", write_sparse, PREFIX },
	{ "read, overlay", read_overlay },
	{ "read, file", read_file_object },
	{ "read, paged", read_paged, KEEPS },
	{ "commit, snapshot", commit_snapshot, KEEPS },
	{ "commit, overlay", commit_overlay, KEEPS },
	{ "commit, paged", commit_paged, KEEPS },
	{ "zero, whole pages", zero_whole },
	{ "zero, head", zero_head },
	{ "zero, both parts", zero_parts, KEEPS },
	{ "zero, overlay", zero_overlay, KEEPS },
	{ "zero, file", zero_file, PREFIX },
	{ "zero, paged", zero_paged, KEEPS },
	{ "prefetch", prefetch, KEEPS },
	{ "shrink", shrink, KEEPS },
	{ "shrink, child", shrink_child, KEEPS },
	{ "shrink, overlay", shrink_overlay, KEEPS },
	{ "grow, paged", grow_paged },
	{ "lower the stream", lower_stream, KEEPS },
	{ "pin, shared", pin_shared },
	{ "pin, overlay", pin_overlay, KEEPS },
	{ "transfer across", transfer_across },
	{ "transfer shared pages across", transfer_shared_across },
	{ "transfer and keep", transfer_keep },
	{ "transfer within", transfer_within },
	{ "transfer over itself", transfer_over_itself },
	{ "supply", supply },
	{ "supply bytes", supply_bytes },
	{ "sync", sync_paged, PREFIX },
	{ "share", share },
	{ "reclaim", reclaim, KEEPS | PREFIX },
};

/* What happens when nothing fails; and twice, so that what the first one brings into being (a
 * thread's records) is there. */
static void rehearse(void)
{
	for (int i = 0; i < 2; i++) {
		int err;

		set_up(NULL);
		s.done = false;
		err = s.sc->run();
		if (err)
			print_message("  %s: %d: %s\n", s.sc->name, err, vms_last_error());
		assert_int_equal(err, 0);
		check(NULL, 0, false);
		tear_down(NULL);
	}
}

static void every_failure(void **state)
{
	static const int errs[] = { ENOMEM, EIO };
	unsigned rounds = 0, errors = 0;

	for (unsigned i = 0; i < countof(scenarios); i++) {
		s.sc = &scenarios[i];
		rehearse();
		for (unsigned k = 0; k < countof(errs); k++) {
			struct sweep sw = { .world = &tw,
					    .set_up = set_up,
					    .run = run,
					    .check = check,
					    .tear_down = tear_down,
					    .err = errs[k] };

			rounds += sweep(&sw);
		}
		errors += s.errors;
		if (getenv("VERBOSE"))
			print_message("%-32s %3u errors, %3u fine\n", s.sc->name, s.errors, s.fine);
		s.errors = s.fine = 0;
	}
	print_message("%zu scenarios, %u failures, %u of them errors\n", countof(scenarios), rounds,
		      errors);
	assert_true(errors > 300);
}

static int begin(void **state)
{
	P = (uint64_t)sysconf(_SC_PAGESIZE);
	buf = malloc(LEN * P);
	test_world_begin(&tw);
	assert_true(epoch_enter()); /* its record is not the objects' */
	epoch_leave();
	return 0;
}

static int end(void **state)
{
	epoch_synchronize();
	test_world_end(&tw);
	free(buf);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_failure, begin, end),
	};

	return cmocka_run_group_tests_name("fail-objects", tests, NULL, NULL);
}
