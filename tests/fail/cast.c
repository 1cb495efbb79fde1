// SPDX-License-Identifier: MIT
/* cast.c: see cast.h. */
#include "check.h"

#include "cast.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/epoch.h"
#include "files.h"
#include "object/content.h"
#include "store/arena.h"

struct cast cast;
struct test_world tw;
uint64_t P;
unsigned char *buf;

int cast_begin(void **state)
{
	P = (uint64_t)sysconf(_SC_PAGESIZE);
	buf = malloc(LEN * P);
	test_world_begin(&tw);
	assert_true(epoch_enter()); /* its record is not the objects' */
	epoch_leave();
	return 0;
}

int cast_end(void **state)
{
	epoch_synchronize();
	test_world_end(&tw);
	free(buf);
	return 0;
}

/* ---- Making them ---- */

struct vms_object_params params(uint32_t flags, uint64_t npages)
{
	return (struct vms_object_params){ .size = sizeof(struct vms_object_params),
					   .flags = flags,
					   .bytes = npages * P,
					   .name = "n" };
}

void put(enum who who, uint64_t first, uint64_t n, int byte)
{
	memset(buf, byte, n * P);
	assert_ok(vms_object_write(cast.obj[who], first * P, buf, n * P, NULL));
}

void anon(struct vms_arena *arena, enum who who, uint32_t flags, uint64_t npages)
{
	struct vms_object_params p = params(flags, npages);

	assert_ok(vms_object_create(arena, &p, &cast.obj[who]));
}

void child(enum who who, enum who parent, enum vms_child_kind kind, uint32_t flags, uint64_t first,
	   uint64_t n)
{
	struct vms_object_params p = params(flags, n);

	assert_ok(vms_object_child(cast.obj[parent], kind, first * P, &p, &cast.obj[who]));
}

void cast_set_up(void)
{
	struct vms_arena_params a = { .size = sizeof(a), .reserve = UINT64_C(512) << 20 };
	struct vms_object_params p = params(0, 0);

	memset(&cast, 0, sizeof(cast));
	cast.live = tw.live;
	cast.fd = file_of(8 * P, 'f');
	cast.backing = file_of(8 * P, 'k');
	assert_ok(vms_arena_create(&a, &cast.arena));
	assert_ok(vms_arena_create(&a, &cast.other));
	anon(cast.arena, A, VMS_OBJECT_RESIZABLE, LEN);
	put(A, 0, 4, 'a');
	put(A, 62, 5, 'b');
	put(A, 130, 1, 'c');
	child(S, A, VMS_CHILD_SNAPSHOT, 0, 0, LEN);
	put(S, 1, 1, 's');
	anon(cast.arena, B, 0, LEN);
	put(B, 10, 3, 'x');
	put(B, 70, 1, 'y');
	assert_ok(vms_object_create_file(cast.arena, cast.fd, &p, &cast.obj[F]));
	child(O, F, VMS_CHILD_SNAPSHOT_LAZY, VMS_OBJECT_RESIZABLE, 0, 8);
	put(O, 2, 1, 'o');
	assert_ok(vms_pager_file(cast.backing, &cast.pager));
	p = params(VMS_OBJECT_RESIZABLE, 8);
	assert_ok(vms_object_create_paged(cast.arena, cast.pager, 0, &p, &cast.obj[G]));
	assert_ok(vms_object_read(cast.obj[G], 0, buf, 4 * P, NULL));
	put(G, 1, 1, 'g');
	child(GO, G, VMS_CHILD_SNAPSHOT_LAZY, 0, 0, 4);
}

static uint64_t granted(struct vms_arena *arena)
{
	struct vms_arena_info info = { .size = sizeof(info) };

	assert_ok(vms_arena_info(arena, &info));
	return info.granted / P;
}

void cast_tear_down(void)
{
	for (int i = 0; i < ALL; i++)
		vms_object_unref(cast.obj[i]);
	vms_pager_close(cast.pager);
	assert_int_equal(granted(cast.arena), 0);
	assert_int_equal(granted(cast.other), 0);
	epoch_synchronize();
	assert_ok(arena_check(cast.arena));
	vms_arena_unref(cast.arena);
	vms_arena_unref(cast.other);
	epoch_synchronize();
	assert_int_equal(tw.live, cast.live);
	close(cast.fd);
	close(cast.backing);
	assert_int_equal(open_descriptors(), tw.fds_before);
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

static uint64_t digest_of(enum who who, uint64_t bytes)
{
	struct vms_object *obj = cast.obj[who];

	if (who == G) /* the others are not there yet */
		return digest(obj, 0, 4 * P);
	if (who == E)
		return digest(obj, 0, 4 * P) ^ digest(obj, bytes / 2 - 2 * P, 4 * P);
	return digest(obj, 0, bytes < LEN * P ? bytes : LEN * P);
}

/* Sizes and charges first: reading may bring pages of G. */
void cast_look(struct sight *to)
{
	memset(to, 0, sizeof(*to));
	to->granted[0] = granted(cast.arena);
	to->granted[1] = granted(cast.other);
	for (int i = 0; i < ALL; i++) {
		struct vms_object_info info = { .size = sizeof(info) };

		if (!cast.obj[i])
			continue;
		assert_ok(vms_object_info(cast.obj[i], &info));
		to->obj[i] = (struct facts){ .total = info.total / P,
					     .owned = info.owned / P,
					     .pinned = info.pinned,
					     .bytes = info.bytes,
					     .stream = info.stream_size,
					     .children = info.children };
	}
	for (int i = 0; i < ALL; i++)
		if (cast.obj[i])
			to->obj[i].digest = digest_of((enum who)i, to->obj[i].bytes);
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

unsigned cast_differs(const struct sight *want, const struct sight *now, bool charges, bool content)
{
	unsigned bad = 0;

	for (int i = 0; i < ALL; i++) {
		struct facts a = want->obj[i], b = now->obj[i];

		if (!charges)
			a.total = a.owned = b.total = b.owned = 0;
		if (!content)
			a.digest = b.digest = 0;
		if (memcmp(&a, &b, sizeof(a)) == 0)
			continue;
		print_message("  object %d:\n", i);
		print_facts("expected", &a);
		print_facts("is", &b);
		bad++;
	}
	for (int i = 0; charges && i < 2; i++) {
		if (want->granted[i] == now->granted[i])
			continue;
		print_message("  arena %d: granted %llu, expected %llu\n", i,
			      (unsigned long long)now->granted[i],
			      (unsigned long long)want->granted[i]);
		bad++;
	}
	return bad;
}

void cast_sound(void)
{
	for (int i = 0; i < ALL; i++) {
		int err = cast.obj[i] ? content_check(cast.obj[i], NULL) : 0;

		if (err)
			print_message("  object %d: %s\n", i, vms_last_error());
		assert_int_equal(err, 0);
	}
	assert_ok(arena_check(cast.arena));
	assert_ok(arena_check(cast.other));
}
