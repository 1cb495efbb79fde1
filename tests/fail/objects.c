// SPDX-License-Identifier: MIT
/*
 * Each call on objects, with the 1st, 2nd, ... n-th allocation and host call failing: rounds.h.
 *
 * Two kinds of calls may stop half way, as object.h says: KEEPS may have got pages, and no
 * content has changed: commit and the like, and what copies a shared page to zero a part of it;
 * PREFIX is several calls, or a file's own writes.
 */
#include <errno.h>
#include <string.h>

#include "check.h"

#include "object/content.h"
#include "rounds.h"

/* What the call made. */
static struct {
	struct vms_object *obj;
	struct vms_pager *pager;
} made;

/* ---- The stage ---- */

static void set_up(void)
{
	child(S2, S, VMS_CHILD_SNAPSHOT, VMS_OBJECT_RESIZABLE, 62, 70);
	anon(cast.arena, D, VMS_OBJECT_DISCARDABLE, 8);
	put(D, 0, 3, 'd');
	anon(cast.other, E, 0, (UINT64_C(1) << 30) / P);
}

static void sound(void)
{
	if (made.obj)
		assert_ok(content_check(made.obj, NULL));
}

static bool is_made(void)
{
	return made.obj || made.pager;
}

static void unmake(void)
{
	vms_object_unref(made.obj);
	made.obj = NULL;
	vms_pager_close(made.pager);
	made.pager = NULL;
}

/* ---- The scenarios ---- */

static int make_anon(uint32_t flags, uint64_t npages)
{
	struct vms_object_params p = params(flags, npages);

	return vms_object_create(cast.arena, &p, &made.obj);
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

	return vms_object_create_file(cast.arena, cast.fd, &p, &made.obj);
}

static int create_host(void)
{
	static unsigned char memory[65536 * 2];
	struct vms_object_params p = params(0, 1);
	uintptr_t at = ((uintptr_t)memory + P - 1) & ~(uintptr_t)(P - 1);

	return vms_object_create_host((void *)at, &p, &made.obj);
}

static int create_paged(void)
{
	struct vms_object_params p = params(0, 5);

	return vms_object_create_paged(cast.arena, cast.pager, P, &p, &made.obj);
}

static int create_pager(void)
{
	return vms_pager_file(cast.backing, &made.pager);
}

static int make_child(enum who parent, enum vms_child_kind kind, uint64_t first, uint64_t n)
{
	struct vms_object_params p = params(0, n);

	return vms_object_child(cast.obj[parent], kind, first * P, &p, &made.obj);
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
	return vms_object_write(cast.obj[who], off, buf, len, NULL);
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
	return vms_object_read(cast.obj[O], 0, buf, 8 * P, NULL);
}

static int read_file_object(void)
{
	return vms_object_read(cast.obj[F], 5, buf, 7 * P, NULL);
}

static int read_paged(void)
{
	return vms_object_read(cast.obj[G], 0, buf, 8 * P, NULL);
}

static int op(enum who who, enum vms_object_op what, uint64_t off, uint64_t len)
{
	return vms_object_op(cast.obj[who], what, off, len, NULL);
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
	return vms_object_resize(cast.obj[A], 63 * P + 100, NULL);
}

static int shrink_child(void)
{
	return vms_object_resize(cast.obj[S2], 2 * P + 1, NULL);
}

static int shrink_overlay(void)
{
	return vms_object_resize(cast.obj[O], 5 * P + 1, NULL);
}

static int grow_paged(void)
{
	return vms_object_resize(cast.obj[G], 300 * P, NULL);
}

static int lower_stream(void)
{
	return vms_object_set_stream_size(cast.obj[A], 64 * P + 9, NULL);
}

static int pin_shared(void)
{
	return vms_object_pin(cast.obj[S], 60 * P, 10 * P, 1, NULL);
}

static int pin_overlay(void)
{
	return vms_object_pin(cast.obj[O], P, 3 * P, 0, NULL);
}

static int transfer_across(void)
{
	return vms_object_transfer(cast.obj[A], 60 * P, 80 * P, cast.obj[B], 5 * P, 0);
}

static int transfer_shared_across(void)
{
	return vms_object_transfer(cast.obj[B], 60 * P, 80 * P, cast.obj[A], 55 * P, 0);
}

static int transfer_keep(void)
{
	return vms_object_transfer(cast.obj[B], 8 * P, 8 * P, cast.obj[A], 0, VMS_TRANSFER_KEEP);
}

static int transfer_within(void)
{
	return vms_object_transfer(cast.obj[S2], 0, 60 * P, cast.obj[A], 60 * P, 0);
}

static int transfer_over_itself(void)
{
	return vms_object_transfer(cast.obj[S], 3 * P, 100 * P, cast.obj[S], 0, 0);
}

static int supply(void)
{
	struct vms_object_params p = params(0, 8);
	struct vms_object *src = NULL;
	int err = vms_object_create(cast.arena, &p, &src);

	if (!err)
		err = vms_object_write(src, 5 * P, "k", 1, NULL);
	if (!err)
		err = vms_pager_supply(cast.pager, cast.obj[G], 4 * P, 4 * P, src, 4 * P);
	vms_object_unref(src);
	return err;
}

static int supply_bytes(void)
{
	memset(buf, 'z', 2 * P);
	return vms_pager_supply_bytes(cast.pager, cast.obj[G], 5 * P, buf, 2 * P);
}

static int sync_paged(void)
{
	return vms_pager_file_sync(cast.obj[G]);
}

static int share(void)
{
	struct vms_share rows[8];
	size_t n = countof(rows);

	return vms_object_share(cast.obj[A], rows, &n);
}

/* Discards D, and takes G's clean pages. */
static int reclaim(void)
{
	return vms_arena_reclaim(cast.arena, UINT64_MAX, NULL);
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

static unsigned fail_world(void)
{
	static const int errs[] = { ENOMEM, EIO };
	unsigned rounds = 0;

	for (unsigned k = 0; k < countof(errs); k++) {
		unsigned n = rounds_world(errs[k], EVERY_CALL, 0);

		assert_true(n > 0);
		rounds += n;
	}
	return rounds;
}

static void every_failure(void **state)
{
	static const struct play play = { .over = "",
					  .scenario = scenarios,
					  .n = countof(scenarios),
					  .set_up = set_up,
					  .tear_down = unmake,
					  .sound = sound,
					  .made = is_made,
					  .fail = fail_world };

	rounds_play(&play, 300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_failure, cast_begin, cast_end),
	};

	return cmocka_run_group_tests_name("fail-objects", tests, NULL, NULL);
}
