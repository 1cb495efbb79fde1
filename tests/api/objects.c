// SPDX-License-Identifier: MIT
/*
 * Every refusal of the calls on objects: one table for each operation, in the order in which the
 * call's list in object.h gives its errors. A row says what is asked of which object of the scene
 * and what must come of it. Where two errors that stand next to each other in a list can apply at
 * once, a row has both and the earlier one must win ("A before B"). After each row the whole scene
 * is as it was: what each object says of itself, its bytes, and what the arenas have granted.
 *
 * What is allowed stands in objects_use.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmspace/object.h>
#include <vmspace/pager.h>

#include "check.h"

#define MAX	   UINT64_MAX
#define BIG	   (UINT64_C(1) << 62)
#define HALF	   (UINT64_C(1) << 63)
#define PAGES	   8 /* of most objects */
#define PINS	   65535
#define RESERVE	   (UINT64_C(256) << 20)
#define BAD	   0x80000000u
#define countof(a) (sizeof(a) / sizeof((a)[0]))

static uint64_t P;

/* ---- The scene ---- */

enum who {
	ANON,	 /* pages 1 and 2 have bytes; has SLICE and REF */
	SLICE,	 /* of ANON: pages 2 .. 5 */
	REF,	 /* of ANON */
	REF_RO,	 /* of ANON, NO_WRITE */
	ORIGIN,	 /* like ANON; has SNAP */
	SNAP,	 /* of ORIGIN */
	SNAP_RO, /* of ORIGIN, NO_WRITE */
	LONE,	 /* like ANON; nobody's parent */
	RES,	 /* like ANON, RESIZABLE, page 2 pinned */
	PINNED,	 /* like ANON, page 1 pinned */
	PIN_RO,	 /* a reference of PINNED, NO_WRITE */
	FULL,	 /* like ANON, page 1 pinned as often as can be */
	DISC,	 /* DISCARDABLE, not locked */
	GONE,	 /* DISCARDABLE, discarded */
	GONE_RO, /* the same, NO_WRITE */
	CONTIG,	 /* CONTIGUOUS, page 1 pinned */
	FILE_RW,
	FILE_RO, /* its descriptor was opened for reading */
	OVER,	 /* SNAPSHOT_LAZY of FILE_RW, page 1 written */
	HOST,
	HOST_RO,
	PAGED,	/* page 1 was supplied; nobody answers for the others */
	TRAP,	/* the same, TRAP_DIRTY */
	POVER,	/* SNAPSHOT_LAZY of PAGED */
	OTHER,	/* like ANON, of the tight arena, which it fills */
	TGONE,	/* of the tight arena, discarded */
	TPAGED, /* of the tight arena, without pages */
	NOBODY, /* NULL */
	ALL = NOBODY
};

static struct scene {
	struct vms_arena *arena, *tight;
	struct vms_object *obj[ALL + 1];
	struct vms_pager *pager, *closed;
	struct vms_object *last; /* of `closed` */
	unsigned char *host;
	unsigned requests;
	int rw, ro, pipe[2];
} s;

static void on_request(void *arg, struct vms_object *obj, uint64_t key, enum vms_request_kind kind,
		       uint64_t off, uint64_t len)
{
	s.requests++; /* never answered */
}

static const struct vms_pager_ops ops = { .size = sizeof(ops), .request = on_request };

static struct vms_object_params params(uint32_t flags, uint64_t bytes)
{
	return (struct vms_object_params){ .size = sizeof(struct vms_object_params),
					   .flags = flags,
					   .bytes = bytes };
}

static void put(enum who who, uint64_t page, int byte)
{
	unsigned char *buf = malloc(P);

	memset(buf, byte, P);
	assert_ok(vms_object_write(s.obj[who], page * P, buf, P, NULL));
	free(buf);
}

static void anon(struct vms_arena *arena, enum who who, uint32_t flags)
{
	struct vms_object_params p = params(flags, PAGES * P);

	assert_ok(vms_object_create(arena, &p, &s.obj[who]));
	if (flags & VMS_OBJECT_NO_WRITE) {
		assert_ok(vms_object_op(s.obj[who], VMS_OBJECT_COMMIT, P, 2 * P, NULL));
		return;
	}
	put(who, 1, 'a');
	put(who, 2, 'b');
}

static void child(enum who who, enum who parent, enum vms_child_kind kind, uint32_t flags,
		  uint64_t first, uint64_t n)
{
	struct vms_object_params p = params(flags, n * P);

	assert_ok(vms_object_child(s.obj[parent], kind, first * P, &p, &s.obj[who]));
}

static void paged(struct vms_arena *arena, enum who who, uint32_t flags)
{
	struct vms_object_params p = params(flags, PAGES * P);

	assert_ok(vms_object_create_paged(arena, s.pager, who, &p, &s.obj[who]));
}

static void discard(struct vms_arena *arena, enum who who)
{
	assert_ok(vms_arena_reclaim(arena, MAX, NULL));
	assert_int_equal(vms_object_try_lock(s.obj[who]), -EPERM);
}

static void make_files(void)
{
	struct vms_object_params p = params(0, 0);
	char path[64];

	s.rw = memfd_create("objects", MFD_CLOEXEC);
	assert_true(s.rw >= 0);
	assert_ok(ftruncate(s.rw, (off_t)(PAGES * P)));
	assert_int_equal(pwrite(s.rw, "file", 4, (off_t)P), 4);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", s.rw);
	s.ro = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(s.ro >= 0);
	assert_ok(pipe(s.pipe));
	assert_ok(vms_object_create_file(s.arena, s.rw, &p, &s.obj[FILE_RW]));
	assert_ok(vms_object_create_file(s.arena, s.ro, &p, &s.obj[FILE_RO]));
	child(OVER, FILE_RW, VMS_CHILD_SNAPSHOT_LAZY, 0, 0, PAGES);
	put(OVER, 1, 'o');
}

static void make_paged(void)
{
	struct vms_object_params p = params(0, P);
	unsigned char *page = calloc(1, P);

	assert_ok(vms_pager_create(&ops, NULL, &s.pager));
	paged(s.arena, PAGED, 0);
	paged(s.arena, TRAP, VMS_OBJECT_TRAP_DIRTY);
	assert_ok(vms_pager_supply_bytes(s.pager, s.obj[PAGED], P, page, P));
	assert_ok(vms_pager_supply_bytes(s.pager, s.obj[TRAP], P, page, P));
	child(POVER, PAGED, VMS_CHILD_SNAPSHOT_LAZY, 0, 0, PAGES);
	assert_ok(vms_pager_create(&ops, NULL, &s.closed));
	assert_ok(vms_object_create_paged(s.arena, s.closed, 0, &p, &s.last));
	vms_pager_close(s.closed); /* it lives as long as its last object */
	free(page);
}

static void make_tight(void)
{
	struct vms_arena_params p = { .size = sizeof(p), .limit = 2 * P, .reserve = RESERVE };

	assert_ok(vms_arena_create(&p, &s.tight));
	anon(s.tight, TGONE, VMS_OBJECT_DISCARDABLE);
	discard(s.tight, TGONE);
	anon(s.tight, OTHER, 0);
	paged(s.tight, TPAGED, 0);
}

static int scene_begin(void **state)
{
	struct vms_arena_params a = { .size = sizeof(a), .reserve = RESERVE };
	struct vms_object_params p;

	P = (uint64_t)sysconf(_SC_PAGESIZE);
	memset(&s, 0, sizeof(s));
	assert_ok(vms_arena_create(&a, &s.arena));
	anon(s.arena, GONE, VMS_OBJECT_DISCARDABLE);
	anon(s.arena, GONE_RO, VMS_OBJECT_DISCARDABLE | VMS_OBJECT_NO_WRITE);
	discard(s.arena, GONE);
	discard(s.arena, GONE_RO);
	anon(s.arena, ANON, 0);
	child(SLICE, ANON, VMS_CHILD_SLICE, 0, 2, 4);
	child(REF, ANON, VMS_CHILD_REFERENCE, 0, 0, 0);
	child(REF_RO, ANON, VMS_CHILD_REFERENCE, VMS_OBJECT_NO_WRITE, 0, 0);
	anon(s.arena, ORIGIN, 0);
	child(SNAP, ORIGIN, VMS_CHILD_SNAPSHOT, 0, 0, PAGES);
	child(SNAP_RO, ORIGIN, VMS_CHILD_SNAPSHOT, VMS_OBJECT_NO_WRITE, 0, PAGES);
	anon(s.arena, LONE, 0);
	anon(s.arena, RES, VMS_OBJECT_RESIZABLE);
	assert_ok(vms_object_pin(s.obj[RES], 2 * P, P, 0, NULL));
	anon(s.arena, PINNED, 0);
	assert_ok(vms_object_pin(s.obj[PINNED], P, P, 0, NULL));
	child(PIN_RO, PINNED, VMS_CHILD_REFERENCE, VMS_OBJECT_NO_WRITE, 0, 0);
	anon(s.arena, FULL, 0);
	for (unsigned i = 0; i < PINS; i++)
		assert_ok(vms_object_pin(s.obj[FULL], P, P, 0, NULL));
	anon(s.arena, DISC, VMS_OBJECT_DISCARDABLE);
	anon(s.arena, CONTIG, VMS_OBJECT_CONTIGUOUS);
	assert_ok(vms_object_pin(s.obj[CONTIG], P, P, 0, NULL));
	make_files();
	p = params(0, PAGES * P);
	s.host = mmap(NULL, PAGES * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(s.host, MAP_FAILED);
	assert_ok(vms_object_create_host(s.host, &p, &s.obj[HOST]));
	p.flags = VMS_OBJECT_NO_WRITE;
	assert_ok(vms_object_create_host(s.host, &p, &s.obj[HOST_RO]));
	make_paged();
	make_tight();
	return 0;
}

static int scene_end(void **state)
{
	assert_ok(vms_object_unpin(s.obj[RES], 2 * P, P));
	for (int i = 0; i < ALL; i++)
		vms_object_unref(s.obj[i]);
	vms_object_unref(s.last);
	vms_pager_close(s.pager);
	vms_arena_unref(s.arena);
	vms_arena_unref(s.tight);
	munmap(s.host, PAGES * P);
	close(s.rw);
	close(s.ro);
	close(s.pipe[0]);
	close(s.pipe[1]);
	return 0;
}

/* ---- What must not change ---- */

struct seen {
	struct vms_object_info info;
	uint64_t bytes; /* a digest; of page 1 alone, where others may be absent */
};

struct state {
	struct seen obj[ALL];
	uint64_t granted, tight;
	unsigned requests;
};

static uint64_t digest(enum who who)
{
	static unsigned char buf[PAGES * 65536];
	struct vms_object *obj = s.obj[who];
	struct vms_object_info info = { .size = sizeof(info) };
	uint64_t h = 1469598103934665603u, off = 0, len;

	assert_ok(vms_object_info(obj, &info));
	len = info.bytes;
	if (who == GONE || who == GONE_RO || who == TGONE) {
		assert_int_equal(vms_object_read(obj, 0, buf, 1, NULL), -ENOENT);
		return 0;
	}
	if (who == TPAGED)
		return 0;
	if (who == PAGED || who == TRAP || who == POVER) {
		off = P;
		len = P;
	}
	assert_ok(vms_object_read(obj, off, buf, len, NULL));
	for (uint64_t i = 0; i < len; i++)
		h = (h ^ buf[i]) * 1099511628211u;
	return h;
}

static uint64_t granted(struct vms_arena *arena)
{
	struct vms_arena_info info = { .size = sizeof(info) };

	assert_ok(vms_arena_info(arena, &info));
	return info.granted;
}

static void look(struct state *st)
{
	memset(st, 0, sizeof(*st));
	for (int i = 0; i < ALL; i++) {
		st->obj[i].info.size = sizeof(st->obj[i].info);
		assert_ok(vms_object_info(s.obj[i], &st->obj[i].info));
		st->obj[i].bytes = digest((enum who)i);
	}
	st->granted = granted(s.arena);
	st->tight = granted(s.tight);
	st->requests = s.requests;
}

#define SAME(field) (a->field == b->field)
static bool same_object(const struct seen *a, const struct seen *b)
{
	return SAME(bytes) && SAME(info.id) && SAME(info.parent_id) && SAME(info.flags) &&
	       SAME(info.bytes) && SAME(info.stream_size) && SAME(info.children) &&
	       SAME(info.total) && SAME(info.owned) && SAME(info.pinned) && SAME(info.modified);
}

static struct state before;
static unsigned failures;

static void table_begin(void)
{
	look(&before);
	failures = 0;
}

static void judge(const char *what, int got, int want)
{
	struct state now;

	if (got != -want) {
		print_message("  %s: %d (%s), expected %d (%s); it says \"%s\"\n", what, -got,
			      strerror(-got), want, strerror(want), vms_last_error());
		failures++;
	}
	look(&now);
	for (int i = 0; i < ALL; i++) {
		if (same_object(&now.obj[i], &before.obj[i]))
			continue;
		print_message("  %s: object %d has changed\n", what, i);
		failures++;
	}
	if (now.granted != before.granted || now.tight != before.tight ||
	    now.requests != before.requests) {
		print_message("  %s: granted, or requests, have changed\n", what);
		failures++;
	}
	before = now;
}

static void table_end(void)
{
	assert_int_equal(failures, 0);
}

/* ---- Arenas ---- */

static void arenas_are_refused(void **state)
{
	static const struct {
		const char *what;
		bool short_params;
		uint32_t flags;
		uint64_t reserve, short_info;
		int err;
	} row[] = {
		{ "short", .short_params = true, .err = EINVAL },
		{ "flags", .flags = 1, .err = EINVAL },
		{ "flags, all", .flags = UINT32_MAX, .err = EINVAL },
		{ "reserve above 16 TiB", .reserve = (UINT64_C(16) << 40) + 1, .err = EINVAL },
		{ "reserve of everything", .reserve = MAX, .err = EINVAL },
	};
	struct vms_arena_info info = { .size = sizeof(info) - 1 };
	struct vms_arena *arena = NULL;

	table_begin();
	for (unsigned i = 0; i < countof(row); i++) {
		struct vms_arena_params p = { .size = sizeof(p) - row[i].short_params,
					      .flags = row[i].flags,
					      .reserve = row[i].reserve };

		judge(row[i].what, vms_arena_create(&p, &arena), row[i].err);
		assert_null(arena);
	}
	judge("no params", vms_arena_create(NULL, &arena), EINVAL);
	judge("short info", vms_arena_info(s.arena, &info), EINVAL);
	judge("no info", vms_arena_info(s.arena, NULL), EINVAL);
	vms_arena_unref(NULL);
	table_end();
}

/* ---- Creating ---- */

enum maker {
	MAKE_ANON,
	MAKE_FILE,
	MAKE_PIPE,
	MAKE_BAD_FD,
	MAKE_HOST,
	MAKE_PAGED,
	MAKE_NO_PAGER,
	MAKE_CLOSED
};

static int make(enum maker maker, uintptr_t hva, struct vms_object_params *p,
		struct vms_object **obj)
{
	switch (maker) {
	case MAKE_ANON:
		return vms_object_create(s.arena, p, obj);
	case MAKE_FILE:
		return vms_object_create_file(s.arena, s.rw, p, obj);
	case MAKE_PIPE:
		return vms_object_create_file(s.arena, s.pipe[0], p, obj);
	case MAKE_BAD_FD:
		return vms_object_create_file(s.arena, 100000, p, obj);
	case MAKE_HOST:
		return vms_object_create_host((void *)hva, p, obj);
	case MAKE_PAGED:
		return vms_object_create_paged(s.arena, s.pager, 7, p, obj);
	case MAKE_NO_PAGER:
		return vms_object_create_paged(s.arena, NULL, 7, p, obj);
	case MAKE_CLOSED:
		return vms_object_create_paged(s.arena, s.closed, 7, p, obj);
	}
	return 0;
}

static void creations_are_refused(void **state)
{
	const uint32_t R = VMS_OBJECT_RESIZABLE, C = VMS_OBJECT_CONTIGUOUS, N = VMS_OBJECT_NO_WRITE,
		       D = VMS_OBJECT_DISCARDABLE, T = VMS_OBJECT_TRAP_DIRTY;
	const uintptr_t hva = (uintptr_t)s.host;
	const struct {
		const char *what;
		enum maker maker;
		uint64_t bytes;
		uint32_t flags;
		bool short_params;
		uintptr_t hva;
		int err;
	} row[] = {
		{ "short", MAKE_ANON, P, 0, true, 0, EINVAL },
		{ "unknown flag", MAKE_ANON, P, BAD, false, 0, EINVAL },
		{ "all flags", MAKE_ANON, P, UINT32_MAX, false, 0, EINVAL },
		{ "anonymous TRAP_DIRTY", MAKE_ANON, P, T, false, 0, EINVAL },
		{ "RESIZABLE CONTIGUOUS", MAKE_ANON, P, R | C, false, 0, EINVAL },
		{ "RESIZABLE NO_WRITE", MAKE_ANON, P, R | N, false, 0, EINVAL },
		{ "EINVAL before ERANGE", MAKE_ANON, MAX, BAD, false, 0, EINVAL },
		{ "pair before ERANGE", MAKE_ANON, MAX, R | C, false, 0, EINVAL },
		{ "one too large", MAKE_ANON, BIG - P + 1, 0, false, 0, ERANGE },
		{ "2^62", MAKE_ANON, BIG, 0, false, 0, ERANGE },
		{ "2^63", MAKE_ANON, HALF, 0, false, 0, ERANGE },
		{ "rounding wraps", MAKE_ANON, MAX, R, false, 0, ERANGE },
		{ "ERANGE before ENOMEM", MAKE_ANON, BIG, C, false, 0, ERANGE },
		{ "2^61 contiguous bytes", MAKE_ANON, BIG / 2, C, false, 0, ENOMEM },

		{ "file: short", MAKE_FILE, 0, 0, true, 0, EINVAL },
		{ "file: RESIZABLE", MAKE_FILE, 0, R, false, 0, EINVAL },
		{ "file: DISCARDABLE", MAKE_FILE, 0, D, false, 0, EINVAL },
		{ "file: EINVAL before EBADF", MAKE_BAD_FD, 0, C, false, 0, EINVAL },
		{ "file: no descriptor", MAKE_BAD_FD, 0, 0, false, 0, EBADF },
		{ "file: EBADF before ERANGE", MAKE_BAD_FD, MAX, 0, false, 0, EBADF },
		{ "file: a pipe", MAKE_PIPE, 0, 0, false, 0, ENOTSUP },
		{ "file: ENOTSUP before ERANGE", MAKE_PIPE, MAX, 0, false, 0, ENOTSUP },
		{ "file: too large", MAKE_FILE, BIG - P + 1, 0, false, 0, ERANGE },

		{ "host: short", MAKE_HOST, P, 0, true, hva, EINVAL },
		{ "host: flags", MAKE_HOST, P, R, false, hva, EINVAL },
		{ "host: no bytes", MAKE_HOST, 0, 0, false, hva, EINVAL },
		{ "host: part of a page", MAKE_HOST, P + 1, 0, false, hva, EINVAL },
		{ "host: misaligned", MAKE_HOST, P, 0, false, hva + 1, EINVAL },
		{ "host: NULL", MAKE_HOST, P, 0, false, 0, EINVAL },
		{ "host: EINVAL before ERANGE", MAKE_HOST, MAX, 0, false, hva, EINVAL },
		{ "host: EINVAL before wrap", MAKE_HOST, P, 0, false, UINTPTR_MAX, EINVAL },
		{ "host: wraps", MAKE_HOST, 2 * P, 0, false, (uintptr_t)0 - P, ERANGE },
		{ "host: 2^64 - P", MAKE_HOST, 0 - P, 0, false, hva, ERANGE },

		{ "paged: short", MAKE_PAGED, P, 0, true, 0, EINVAL },
		{ "paged: DISCARDABLE", MAKE_PAGED, P, D, false, 0, EINVAL },
		{ "paged: CONTIGUOUS", MAKE_PAGED, P, C, false, 0, EINVAL },
		{ "paged: NO_WRITE", MAKE_PAGED, P, N, false, 0, EINVAL },
		{ "paged: no pager", MAKE_NO_PAGER, P, 0, false, 0, EINVAL },
		{ "paged: EINVAL before ERANGE", MAKE_NO_PAGER, MAX, 0, false, 0, EINVAL },
		{ "paged: too large", MAKE_PAGED, BIG - P + 1, 0, false, 0, ERANGE },
		{ "paged: ERANGE before EBUSY", MAKE_CLOSED, MAX, 0, false, 0, ERANGE },
		{ "paged: closed", MAKE_CLOSED, P, 0, false, 0, EBUSY },
	};
	struct vms_object *obj = NULL;

	table_begin();
	for (unsigned i = 0; i < countof(row); i++) {
		struct vms_object_params p = params(row[i].flags, row[i].bytes);

		p.size -= row[i].short_params;
		judge(row[i].what, make(row[i].maker, row[i].hva, &p, &obj), row[i].err);
		assert_null(obj);
	}
	for (enum maker m = MAKE_ANON; m <= MAKE_CLOSED; m++)
		judge("no params", make(m, hva, NULL, &obj), EINVAL);
	table_end();
}

static void arenas_must_be_given(void **state)
{
	struct vms_object_params p = params(0, P);
	struct vms_object *obj = NULL;

	assert_int_equal(vms_object_create(NULL, &p, &obj), -EINVAL);
	assert_int_equal(vms_object_create_file(NULL, s.rw, &p, &obj), -EINVAL);
	assert_int_equal(vms_object_create_paged(NULL, s.pager, 0, &p, &obj), -EINVAL);
	assert_null(obj);
}

static void descriptors_run_out(void **state)
{
	struct vms_object_params p = params(0, 0);
	struct vms_object *obj = NULL;
	struct rlimit old, none;
	int fd = dup(s.rw);

	assert_true(fd >= 0);
	close(fd);
	assert_ok(getrlimit(RLIMIT_NOFILE, &old));
	none = old;
	none.rlim_cur = (rlim_t)fd;
	table_begin();
	assert_ok(setrlimit(RLIMIT_NOFILE, &none));
	fd = vms_object_create_file(s.arena, s.rw, &p, &obj);
	assert_ok(setrlimit(RLIMIT_NOFILE, &old));
	judge("no descriptor is free", fd, EMFILE);
	assert_null(obj);
	table_end();
}

/* ---- Children ---- */

static void children_are_refused(void **state)
{
	const enum vms_child_kind SN = VMS_CHILD_SNAPSHOT, LAZY = VMS_CHILD_SNAPSHOT_LAZY,
				  MOD = VMS_CHILD_SNAPSHOT_MODIFIED, SL = VMS_CHILD_SLICE,
				  RF = VMS_CHILD_REFERENCE;
	const uint32_t R = VMS_OBJECT_RESIZABLE, N = VMS_OBJECT_NO_WRITE;
	const struct {
		const char *what;
		enum who parent;
		enum vms_child_kind kind;
		uint64_t off, bytes;
		uint32_t flags;
		bool short_params;
		int err;
	} row[] = {
		{ "short", ANON, SN, 0, P, 0, true, EINVAL },
		{ "no parent", NOBODY, SN, 0, P, 0, false, EINVAL },
		{ "kind 0", ANON, (enum vms_child_kind)0, 0, P, 0, false, EINVAL },
		{ "kind 6", ANON, (enum vms_child_kind)6, 0, P, 0, false, EINVAL },
		{ "unknown flag", ANON, SN, 0, P, BAD, false, EINVAL },
		{ "DISCARDABLE", ANON, SN, 0, P, VMS_OBJECT_DISCARDABLE, false, EINVAL },
		{ "CONTIGUOUS", ANON, SN, 0, P, VMS_OBJECT_CONTIGUOUS, false, EINVAL },
		{ "TRAP_DIRTY", PAGED, LAZY, 0, P, VMS_OBJECT_TRAP_DIRTY, false, EINVAL },
		{ "RESIZABLE NO_WRITE", ANON, SN, 0, P, R | N, false, EINVAL },
		{ "misaligned", ANON, SN, 1, P, 0, false, EINVAL },
		{ "misaligned slice", ANON, SL, P - 1, P, 0, false, EINVAL },
		{ "misaligned reference", ANON, RF, 1, 0, 0, false, EINVAL },
		{ "RESIZABLE slice", ANON, SL, 0, P, R, false, EINVAL },
		{ "kind before ERANGE", ANON, (enum vms_child_kind)9, 0 - P, BIG, 0, false,
		  EINVAL },
		{ "flags before ERANGE", ANON, SN, 0 - P, 2 * P, BAD, false, EINVAL },
		{ "misaligned before ERANGE", ANON, SN, 1, MAX, 0, false, EINVAL },
		{ "RESIZABLE slice before ERANGE", ANON, SL, 0 - P, 2 * P, R, false, EINVAL },

		{ "wraps", ANON, SN, 0 - P, 2 * P, 0, false, ERANGE },
		{ "too large", ANON, SN, 0, BIG - P + 1, 0, false, ERANGE },
		{ "a slice that wraps", ANON, SL, 0 - P, 2 * P, 0, false, ERANGE },
		{ "a reference that wraps", ANON, RF, 0 - P, 2 * P, 0, false, ERANGE },
		{ "ERANGE before ENOTSUP", FILE_RW, SN, 0 - P, 2 * P, 0, false, ERANGE },
		{ "ERANGE before EBUSY", PINNED, SN, P, MAX, 0, false, ERANGE },

		{ "slice past the end", ANON, SL, 7 * P, 2 * P, 0, false, EINVAL },
		{ "slice behind the end", ANON, SL, 9 * P, 0, 0, false, EINVAL },
		{ "slice at 2^63", ANON, SL, HALF, P, 0, false, EINVAL },
		{ "slice leaves a slice", SLICE, SL, 3 * P, 2 * P, 0, false, EINVAL },
		{ "empty slice behind a slice", SLICE, SL, 5 * P, 0, 0, false, EINVAL },
		{ "slice far behind a slice", SLICE, SL, HALF, P, 0, false, EINVAL },
		{ "reference with offset", ANON, RF, P, 0, 0, false, EINVAL },
		{ "reference with size", ANON, RF, 0, P, 0, false, EINVAL },
		{ "contiguous snapshot", CONTIG, SN, 0, P, 0, false, EINVAL },
		{ "contiguous lazy", CONTIG, LAZY, 0, P, 0, false, EINVAL },
		{ "contiguous modified", CONTIG, MOD, 0, P, 0, false, EINVAL },
		{ "EINVAL before ENOTSUP, slice", RES, SL, 7 * P, 2 * P, 0, false, EINVAL },
		{ "EINVAL before ENOTSUP, reference", HOST, RF, P, 0, 0, false, EINVAL },
		{ "EINVAL before EBUSY", CONTIG, SN, P, P, 0, false, EINVAL },

		{ "file snapshot", FILE_RW, SN, 0, P, 0, false, ENOTSUP },
		{ "overlay snapshot", OVER, SN, 0, P, 0, false, ENOTSUP },
		{ "paged snapshot", PAGED, SN, 0, P, 0, false, ENOTSUP },
		{ "paged overlay snapshot", POVER, SN, 0, P, 0, false, ENOTSUP },
		{ "host snapshot", HOST, SN, 0, P, 0, false, ENOTSUP },
		{ "host lazy", HOST, LAZY, 0, P, 0, false, ENOTSUP },
		{ "host modified", HOST, MOD, 0, P, 0, false, ENOTSUP },
		{ "host reference", HOST, RF, 0, 0, 0, false, ENOTSUP },
		{ "slice snapshot", SLICE, SN, 0, P, 0, false, ENOTSUP },
		{ "slice lazy", SLICE, LAZY, 0, P, 0, false, ENOTSUP },
		{ "slice reference", SLICE, RF, 0, 0, 0, false, ENOTSUP },
		{ "discardable snapshot", DISC, SN, 0, P, 0, false, ENOTSUP },
		{ "discardable slice", DISC, SL, 0, P, 0, false, ENOTSUP },
		{ "discardable reference", DISC, RF, 0, 0, 0, false, ENOTSUP },
		{ "discarded snapshot", GONE, SN, 0, P, 0, false, ENOTSUP },
		{ "resizable slice", RES, SL, 0, P, 0, false, ENOTSUP },
		{ "contiguous reference", CONTIG, RF, 0, 0, 0, false, ENOTSUP },
		{ "resizable reference", ANON, RF, 0, 0, R, false, ENOTSUP },
		{ "snapshot of a pinned page", PINNED, SN, 0, 4 * P, 0, false, EBUSY },
		{ "lazy of a pinned page", PINNED, LAZY, P, P, 0, false, EBUSY },
		{ "modified of a pinned page", PINNED, MOD, P, P, 0, false, EBUSY },
		{ "pinned through a reference", PIN_RO, SN, P, P, 0, false, EBUSY },
	};
	struct vms_object *obj = NULL;

	table_begin();
	for (unsigned i = 0; i < countof(row); i++) {
		struct vms_object_params p = params(row[i].flags, row[i].bytes);

		p.size -= row[i].short_params;
		judge(row[i].what,
		      vms_object_child(s.obj[row[i].parent], row[i].kind, row[i].off, &p, &obj),
		      row[i].err);
		assert_null(obj);
	}
	for (int kind = 0; kind < 8; kind++)
		judge("no params",
		      vms_object_child(s.obj[ANON], (enum vms_child_kind)kind, 0, NULL, &obj),
		      EINVAL);
	table_end();
}

/* A slice of an overlay has no overlays, and names of names are no way round a rule. */
static void children_of_names_are_refused(void **state)
{
	static const struct {
		enum who parent;
		enum vms_child_kind name, kind;
		uint32_t flags;
	} row[] = {
		{ OVER, VMS_CHILD_SLICE, VMS_CHILD_SNAPSHOT_LAZY, 0 },
		{ OVER, VMS_CHILD_SLICE, VMS_CHILD_SNAPSHOT_MODIFIED, 0 },
		{ POVER, VMS_CHILD_SLICE, VMS_CHILD_SNAPSHOT_MODIFIED, 0 },
		{ OVER, VMS_CHILD_REFERENCE, VMS_CHILD_SNAPSHOT, 0 },
		{ SNAP, VMS_CHILD_SLICE, VMS_CHILD_SNAPSHOT, 0 },
		{ HOST, VMS_CHILD_SLICE, VMS_CHILD_SNAPSHOT, 0 },
		{ RES, VMS_CHILD_REFERENCE, VMS_CHILD_SLICE, 0 },
		{ RES, VMS_CHILD_REFERENCE, VMS_CHILD_REFERENCE, VMS_OBJECT_RESIZABLE },
	};
	struct vms_object *name = NULL, *obj = NULL;

	table_begin();
	for (unsigned i = 0; i < countof(row); i++) {
		bool ref = row[i].name == VMS_CHILD_REFERENCE;
		struct vms_object_params p = params(0, ref ? 0 : 2 * P);

		assert_ok(vms_object_child(s.obj[row[i].parent], row[i].name, 0, &p, &name));
		p = params(row[i].flags, row[i].kind == VMS_CHILD_REFERENCE ? 0 : P);
		assert_int_equal(vms_object_child(name, row[i].kind, 0, &p, &obj), -ENOTSUP);
		assert_null(obj);
		vms_object_unref(name);
		judge("a name went", 0, 0);
	}
	table_end();
}

/* ---- Bytes ---- */

static void bytes_are_refused(void **state)
{
	static unsigned char buf[16];
	const struct {
		const char *what;
		enum who who;
		bool write;
		uint64_t off, len;
		int err;
	} row[] = {
		{ "read of nobody", NOBODY, false, 0, 1, EINVAL },
		{ "write of nobody", NOBODY, true, 0, 1, EINVAL },
		{ "read past the end", ANON, false, PAGES * P, 1, ERANGE },
		{ "read over the end", ANON, false, PAGES * P - 1, 2, ERANGE },
		{ "read nothing past the end", ANON, false, PAGES * P + 1, 0, ERANGE },
		{ "read that wraps", ANON, false, 1, MAX, ERANGE },
		{ "read at 2^63", ANON, false, HALF, 1, ERANGE },
		{ "read of 2^63", ANON, false, 0, HALF, ERANGE },
		{ "read at 2^64 - 1", ANON, false, MAX, MAX, ERANGE },
		{ "slice: read over the window", SLICE, false, 4 * P - 1, 2, ERANGE },
		{ "slice: read that wraps in the parent", SLICE, false, 0 - 2 * P, P, ERANGE },
		{ "file: read over the end", FILE_RW, false, PAGES * P - 1, 2, ERANGE },
		{ "host: read over the end", HOST, false, PAGES * P - 1, 2, ERANGE },
		{ "ERANGE before ENOENT", GONE, false, PAGES * P, 1, ERANGE },
		{ "discarded", GONE, false, 0, 1, ENOENT },
		{ "nobody answers", PAGED, false, 0, 1, EAGAIN },
		{ "nobody answers, above", POVER, false, 3 * P, 1, EAGAIN },

		{ "write past the end", ANON, true, PAGES * P, 1, ERANGE },
		{ "write that wraps", ANON, true, MAX, 2, ERANGE },
		{ "ERANGE before EACCES", REF_RO, true, PAGES * P, 1, ERANGE },
		{ "ERANGE before EACCES, file", FILE_RO, true, PAGES * P, 1, ERANGE },
		{ "NO_WRITE", REF_RO, true, 0, 1, EACCES },
		{ "NO_WRITE snapshot", SNAP_RO, true, 0, 1, EACCES },
		{ "NO_WRITE host memory", HOST_RO, true, 0, 1, EACCES },
		{ "NO_WRITE, nothing", REF_RO, true, 0, 0, EACCES },
		{ "descriptor for reading", FILE_RO, true, 0, 1, EACCES },
		{ "EACCES before ENOENT", GONE_RO, true, 0, 1, EACCES },
		{ "write discarded", GONE, true, P, 1, ENOENT },
		{ "ENOENT before ENOMEM", TGONE, true, P, 1, ENOENT },
		{ "write absent", PAGED, true, 0, 1, EAGAIN },
		{ "write without leave", TRAP, true, P, 1, EAGAIN },
		{ "EAGAIN before ENOMEM", TPAGED, true, P, 1, EAGAIN },
		{ "past the limit", OTHER, true, 5 * P, 1, ENOMEM },
	};

	table_begin();
	for (unsigned i = 0; i < countof(row); i++) {
		struct vms_object *obj = s.obj[row[i].who];

		judge(row[i].what,
		      row[i].write ? vms_object_write(obj, row[i].off, buf, row[i].len, NULL)
				   : vms_object_read(obj, row[i].off, buf, row[i].len, NULL),
		      row[i].err);
	}
	table_end();
}

static void operations_are_refused(void **state)
{
	const enum vms_object_op CO = VMS_OBJECT_COMMIT, DE = VMS_OBJECT_DECOMMIT,
				 ZE = VMS_OBJECT_ZERO, PR = VMS_OBJECT_PREFETCH,
				 AL = VMS_OBJECT_ALWAYS_NEED, DO = VMS_OBJECT_DONT_NEED;
	const struct {
		const char *what;
		enum who who;
		enum vms_object_op op;
		uint64_t off, len;
		int err;
	} row[] = {
		{ "nobody", NOBODY, ZE, 0, P, EINVAL },
		{ "op 0", ANON, (enum vms_object_op)0, 0, P, EINVAL },
		{ "op 7", ANON, (enum vms_object_op)7, 0, P, EINVAL },
		{ "decommit: off", ANON, DE, 1, P, EINVAL },
		{ "decommit: len", ANON, DE, 0, P - 1, EINVAL },
		{ "EINVAL before ERANGE, op", ANON, (enum vms_object_op)9, MAX, P, EINVAL },
		{ "EINVAL before ERANGE, decommit", ANON, DE, MAX, P, EINVAL },
		{ "EINVAL before ENOTSUP", SNAP, DE, 1, P, EINVAL },

		{ "commit behind", ANON, CO, PAGES * P + 1, 0, ERANGE },
		{ "commit wraps", ANON, CO, P, MAX, ERANGE },
		{ "decommit over the end", LONE, DE, 7 * P, 2 * P, ERANGE },
		{ "decommit wraps", LONE, DE, P, 0 - P, ERANGE },
		{ "decommit over the window", SLICE, DE, 3 * P, 2 * P, ERANGE },
		{ "zero over the end", ANON, ZE, PAGES * P - 1, 2, ERANGE },
		{ "zero wraps", ANON, ZE, 1, MAX, ERANGE },
		{ "zero at 2^63", ANON, ZE, HALF, 0, ERANGE },
		{ "prefetch over the end", PAGED, PR, 7 * P, 2 * P, ERANGE },
		{ "need over the end", PAGED, AL, 7 * P, 2 * P, ERANGE },
		{ "need not over the end", PAGED, DO, 7 * P, 2 * P, ERANGE },
		{ "ERANGE before ENOTSUP", SNAP, DE, PAGES * P, P, ERANGE },
		{ "ERANGE before EACCES", REF_RO, ZE, PAGES * P, P, ERANGE },
		{ "ERANGE before ENOENT", GONE, CO, PAGES * P + 1, P, ERANGE },

		{ "decommit a snapshot", SNAP, DE, 0, P, ENOTSUP },
		{ "decommit what has one", ORIGIN, DE, 0, P, ENOTSUP },
		{ "decommit nothing of it", ORIGIN, DE, 0, 0, ENOTSUP },
		{ "decommit a file", FILE_RW, DE, 0, P, ENOTSUP },
		{ "decommit an overlay", OVER, DE, 0, P, ENOTSUP },
		{ "decommit host memory", HOST, DE, 0, P, ENOTSUP },
		{ "decommit paged", PAGED, DE, 0, P, ENOTSUP },
		{ "EACCES before ENOTSUP", SNAP_RO, DE, 0, P, EACCES },
		{ "ENOTSUP before EBUSY", CONTIG, DE, P, P, ENOTSUP },

		{ "zero NO_WRITE", REF_RO, ZE, 0, P, EACCES },
		{ "zero nothing, NO_WRITE", REF_RO, ZE, 0, 0, EACCES },
		{ "zero a file for reading", FILE_RO, ZE, 0, P, EACCES },
		{ "zero host memory, NO_WRITE", HOST_RO, ZE, 0, P, EACCES },
		{ "decommit discardable, NO_WRITE", GONE_RO, DE, 0, P, EACCES },

		{ "commit discarded", GONE, CO, P, P, ENOENT },
		{ "ENOENT before ENOMEM", TGONE, CO, P, P, ENOENT },
		{ "commit absent", PAGED, CO, 0, P, EAGAIN },
		{ "prefetch absent", PAGED, PR, 0, 3 * P, EAGAIN },
		{ "prefetch absent, above", POVER, PR, 2 * P, P, EAGAIN },
		{ "need absent", PAGED, AL, 2 * P, P, EAGAIN },
		{ "zero part of absent", PAGED, ZE, 1, 2, EAGAIN },
		{ "zero without leave", TRAP, ZE, P, P, EAGAIN },
		{ "EAGAIN before ENOMEM", TPAGED, CO, P, P, EAGAIN },
		{ "past the limit", OTHER, CO, 4 * P, P, ENOMEM },
	};

	table_begin();
	for (unsigned i = 0; i < countof(row); i++)
		judge(row[i].what,
		      vms_object_op(s.obj[row[i].who], row[i].op, row[i].off, row[i].len, NULL),
		      row[i].err);
	/* Pinned pages alone stand in the way once the names are gone. */
	vms_object_unref(s.obj[PIN_RO]);
	s.obj[PIN_RO] = vms_object_ref(s.obj[PINNED]);
	look(&before);
	judge("decommit pinned", vms_object_op(s.obj[PINNED], DE, 0, 2 * P, NULL), EBUSY);
	table_end();
}

static void sizes_are_refused(void **state)
{
	const struct {
		const char *what;
		enum who who;
		bool stream;
		uint64_t bytes;
		int err;
	} row[] = {
		{ "resize nobody", NOBODY, false, 0, EINVAL },
		{ "not resizable", ANON, false, P, EPERM },
		{ "not resizable, no change", ANON, false, PAGES * P, EPERM },
		{ "a slice", SLICE, false, P, EPERM },
		{ "a file", FILE_RW, false, P, EPERM },
		{ "host memory", HOST, false, P, EPERM },
		{ "EPERM before ERANGE", ANON, false, MAX, EPERM },
		{ "too large", RES, false, BIG - P + 1, ERANGE },
		{ "2^63", RES, false, HALF, ERANGE },
		{ "rounding wraps", RES, false, MAX, ERANGE },
		{ "a pinned page", RES, false, 0, EBUSY },
		{ "a pinned page, just", RES, false, 2 * P, EBUSY },

		{ "stream of nobody", NOBODY, true, 0, EINVAL },
		{ "stream above", ANON, true, PAGES * P + 1, ERANGE },
		{ "stream 2^64 - 1", ANON, true, MAX, ERANGE },
		{ "stream above a slice", SLICE, true, 4 * P + 1, ERANGE },
		{ "stream, ERANGE before ENOTSUP", FILE_RW, true, PAGES * P + 1, ERANGE },
		{ "stream, ERANGE before ENOTSUP, host", HOST, true, MAX, ERANGE },
		{ "stream of a file", FILE_RW, true, P, ENOTSUP },
		{ "stream of host memory", HOST, true, P, ENOTSUP },
		{ "stream of a slice", SLICE, true, P, ENOTSUP },
		{ "stream, ERANGE before EACCES", REF_RO, true, PAGES * P + 1, ERANGE },
		{ "stream, ENOTSUP before EACCES", HOST_RO, true, P, ENOTSUP },
		{ "stream NO_WRITE", REF_RO, true, P, EACCES },
		{ "stream cuts an absent page", PAGED, true, 5 * P + 1, EAGAIN },
		{ "stream cuts without leave", TRAP, true, P + 1, EAGAIN },
		{ "stream, EAGAIN before ENOMEM", TPAGED, true, P + 1, EAGAIN },
	};

	table_begin();
	for (unsigned i = 0; i < countof(row); i++) {
		struct vms_object *obj = s.obj[row[i].who];

		judge(row[i].what,
		      row[i].stream ? vms_object_set_stream_size(obj, row[i].bytes, NULL)
				    : vms_object_resize(obj, row[i].bytes, NULL),
		      row[i].err);
	}
	table_end();
}

static void pins_are_refused(void **state)
{
	const struct {
		const char *what;
		enum who who;
		enum { PIN, PIN_WRITE, UNPIN } how;
		uint64_t off, len;
		int err;
	} row[] = {
		{ "pin nobody", NOBODY, PIN, 0, P, EINVAL },
		{ "pin nothing", ANON, PIN, 0, 0, EINVAL },
		{ "EINVAL before ERANGE", ANON, PIN, MAX, 0, EINVAL },
		{ "EINVAL before ENOTSUP", FILE_RW, PIN, 0, 0, EINVAL },
		{ "pin over the end", ANON, PIN, PAGES * P - 1, 2, ERANGE },
		{ "pin over the window", SLICE, PIN, 3 * P, P + 1, ERANGE },
		{ "pin that wraps", ANON, PIN, 1, MAX, ERANGE },
		{ "pin host memory over the end", HOST, PIN, 0, PAGES * P + 1, ERANGE },
		{ "ERANGE before ENOTSUP", FILE_RW, PIN, PAGES * P, 1, ERANGE },
		{ "ERANGE before ENOENT", GONE, PIN, PAGES * P, 1, ERANGE },
		{ "pin a file", FILE_RW, PIN, 0, P, ENOTSUP },
		{ "pin for writing, NO_WRITE", REF_RO, PIN_WRITE, P, P, EACCES },
		{ "pin host memory for writing", HOST_RO, PIN_WRITE, P, P, EACCES },
		{ "ENOTSUP before EACCES", FILE_RO, PIN_WRITE, P, P, ENOTSUP },
		{ "EACCES before ENOENT", GONE_RO, PIN_WRITE, P, P, EACCES },
		{ "pin discarded", GONE, PIN, P, P, ENOENT },
		{ "ENOENT before ENOMEM", TGONE, PIN, P, P, ENOENT },
		{ "pinned too often", FULL, PIN, P, 1, EPERM },
		{ "all or nothing", FULL, PIN, 0, 3 * P, EPERM },
		{ "pin absent", PAGED, PIN, 0, P, EAGAIN },
		{ "EAGAIN before ENOMEM", TPAGED, PIN, 0, P, EAGAIN },
		{ "past the limit", OTHER, PIN, 0, 4 * P, ENOMEM },

		{ "unpin nobody", NOBODY, UNPIN, 0, P, EINVAL },
		{ "unpin nothing", PINNED, UNPIN, P, 0, EINVAL },
		{ "unpin, EINVAL before ERANGE", PINNED, UNPIN, MAX, 0, EINVAL },
		{ "unpin over the end", PINNED, UNPIN, P, PAGES * P, ERANGE },
		{ "unpin what is not", ANON, UNPIN, P, P, EBUSY },
		{ "unpin a hole", ANON, UNPIN, 5 * P, P, EBUSY },
		{ "unpin too much", PINNED, UNPIN, P, P + 1, EBUSY },
		{ "unpin, ERANGE before EBUSY", ANON, UNPIN, P, PAGES * P, ERANGE },
	};

	table_begin();
	for (unsigned i = 0; i < countof(row); i++) {
		struct vms_object *obj = s.obj[row[i].who];

		judge(row[i].what,
		      row[i].how == UNPIN ? vms_object_unpin(obj, row[i].off, row[i].len)
					  : vms_object_pin(obj, row[i].off, row[i].len,
							   row[i].how == PIN_WRITE, NULL),
		      row[i].err);
	}
	table_end();
}

/* A count that is full is told before the pager is asked for the rest of the range. */
static void full_pins_come_before_the_pager(void **state)
{
	struct vms_object *obj = s.obj[PAGED];

	for (unsigned i = 0; i < PINS; i++)
		assert_ok(vms_object_pin(obj, P, P, 0, NULL));
	table_begin();
	judge("EPERM before EAGAIN", vms_object_pin(obj, P, 2 * P, 0, NULL), EPERM);
	table_end();
	for (unsigned i = 0; i < PINS; i++)
		assert_ok(vms_object_unpin(obj, P, P));
}

/* ---- Where pages are ---- */

static int stop(void *arg, uint64_t off, void *hva, uint64_t len)
{
	(*(unsigned *)arg)++;
	return -77;
}

static void lookups_are_refused(void **state)
{
	const struct {
		const char *what;
		enum who who;
		bool run; /* vms_object_contiguous */
		uint64_t off, len;
		int err;
	} row[] = {
		{ "look up nobody", NOBODY, false, 0, P, EINVAL },
		{ "look up over the end", ANON, false, P, PAGES * P, ERANGE },
		{ "look up, wraps", ANON, false, P, MAX, ERANGE },
		{ "look up over the window", SLICE, false, P, 4 * P, ERANGE },
		{ "ERANGE before ENOTSUP", FILE_RW, false, PAGES * P, P, ERANGE },
		{ "look up a file", FILE_RW, false, 0, P, ENOTSUP },
		{ "fn's own", ANON, false, P, P, 77 },

		{ "run of nobody", NOBODY, true, 0, P, EINVAL },
		{ "empty run", CONTIG, true, 0, 0, EINVAL },
		{ "misaligned run", CONTIG, true, 1, P, EINVAL },
		{ "run of part of a page", CONTIG, true, 0, P - 1, EINVAL },
		{ "EINVAL before ERANGE", CONTIG, true, MAX, P, EINVAL },
		{ "run over the end", CONTIG, true, 7 * P, 2 * P, ERANGE },
		{ "host run over the end", HOST, true, 7 * P, 2 * P, ERANGE },
		{ "run, ERANGE before ENOENT", ANON, true, 0, 9 * P, ERANGE },
		{ "run, ERANGE before ENOTSUP", FILE_RW, true, 0, 9 * P, ERANGE },
		{ "a hole", ANON, true, 0, 2 * P, ENOENT },
		{ "shared pages", SNAP, true, P, P, ENOENT },
		{ "discarded pages", GONE, true, P, P, ENOENT },
		{ "run of a file", FILE_RW, true, 0, P, ENOTSUP },
	};
	unsigned told = 0;

	table_begin();
	for (unsigned i = 0; i < countof(row); i++) {
		struct vms_object *obj = s.obj[row[i].who];
		void *hva = NULL;

		judge(row[i].what,
		      row[i].run ? vms_object_contiguous(obj, row[i].off, row[i].len, &hva)
				 : vms_object_lookup(obj, row[i].off, row[i].len, stop, &told),
		      row[i].err);
		assert_null(hva);
	}
	assert_int_equal(told, 1);
	table_end();
}

/* ---- Transfer ---- */

static void transfers_are_refused(void **state)
{
	const struct {
		const char *what;
		enum who dst, src;
		uint64_t off, len, src_off;
		uint32_t flags;
		int err;
	} row[] = {
		{ "to nobody", NOBODY, LONE, 0, P, 0, 0, EINVAL },
		{ "from nobody", LONE, NOBODY, 0, P, 0, 0, EINVAL },
		{ "flags", LONE, ANON, 0, P, P, 2, EINVAL },
		{ "off misaligned", LONE, ANON, 1, P, P, 0, EINVAL },
		{ "len misaligned", LONE, ANON, 0, P + 1, P, 0, EINVAL },
		{ "src_off misaligned", LONE, ANON, 0, P, P - 1, 0, EINVAL },
		{ "EINVAL before EACCES", REF_RO, LONE, 1, P, P, 0, EINVAL },
		{ "flags before EACCES", LONE, REF_RO, 0, P, P, BAD, EINVAL },
		{ "to NO_WRITE", REF_RO, LONE, 0, P, P, 0, EACCES },
		{ "from NO_WRITE", LONE, REF_RO, 0, P, P, 0, EACCES },
		{ "EACCES before ERANGE", REF_RO, LONE, PAGES * P, P, P, 0, EACCES },
		{ "EACCES before ENOTSUP", FILE_RO, LONE, 0, P, P, 0, EACCES },
		{ "over dst's end", LONE, ANON, 7 * P, 2 * P, P, 0, ERANGE },
		{ "over src's end", LONE, ANON, 0, 2 * P, 7 * P, 0, ERANGE },
		{ "over dst's window", SLICE, LONE, 3 * P, 2 * P, P, 0, ERANGE },
		{ "dst wraps", LONE, ANON, P, 0 - P, 0, 0, ERANGE },
		{ "src wraps", LONE, ANON, 0, 2 * P, 0 - P, 0, ERANGE },
		{ "ERANGE before ENOTSUP", FILE_RW, LONE, PAGES * P, P, P, 0, ERANGE },
		{ "ERANGE before EBUSY", PINNED, LONE, P, PAGES * P, 0, 0, ERANGE },
		{ "to paged", PAGED, LONE, 0, P, P, 0, ENOTSUP },
		{ "from paged", LONE, PAGED, 0, P, P, 0, ENOTSUP },
		{ "to a file", FILE_RW, LONE, 0, P, P, 0, ENOTSUP },
		{ "from host memory", LONE, HOST, 0, P, P, 0, ENOTSUP },
		{ "to discardable", DISC, LONE, 0, P, P, 0, ENOTSUP },
		{ "from discarded", LONE, GONE, 0, P, P, 0, ENOTSUP },
		{ "from contiguous", LONE, CONTIG, 0, P, 4 * P, 0, ENOTSUP },
		{ "to an overlay", OVER, LONE, 0, P, P, 0, ENOTSUP },
		{ "two arenas", LONE, OTHER, 0, P, P, 0, ENOTSUP },
		{ "ENOTSUP before EBUSY", CONTIG, PINNED, P, P, P, 0, ENOTSUP },
		{ "to pinned", PINNED, LONE, P, P, P, 0, EBUSY },
		{ "from pinned", LONE, PINNED, 0, 4 * P, 0, 0, EBUSY },
		{ "pinned through itself", PINNED, PINNED, 4 * P, P, P, 0, EBUSY },
	};

	table_begin();
	for (unsigned i = 0; i < countof(row); i++)
		judge(row[i].what,
		      vms_object_transfer(s.obj[row[i].dst], row[i].off, row[i].len,
					  s.obj[row[i].src], row[i].src_off, row[i].flags),
		      row[i].err);
	table_end();
}

/* ---- Locks, and asking ---- */

static void locks_are_refused(void **state)
{
	int discarded = 5;

	table_begin();
	judge("lock nobody", vms_object_lock(NULL, NULL), EINVAL);
	judge("try nobody", vms_object_try_lock(NULL), EINVAL);
	judge("unlock nobody", vms_object_unlock(NULL), EINVAL);
	for (enum who w = 0; w < ALL; w++) {
		if (w == DISC || w == GONE || w == GONE_RO || w == TGONE)
			continue;
		judge("lock", vms_object_lock(s.obj[w], &discarded), ENOTSUP);
		judge("try", vms_object_try_lock(s.obj[w]), ENOTSUP);
		judge("unlock", vms_object_unlock(s.obj[w]), ENOTSUP);
	}
	judge("try discarded", vms_object_try_lock(s.obj[GONE]), EPERM);
	judge("unlock discarded", vms_object_unlock(s.obj[GONE]), EBUSY);
	judge("unlock unlocked", vms_object_unlock(s.obj[DISC]), EBUSY);
	assert_int_equal(discarded, 5);
	table_end();
}

static void questions_are_refused(void **state)
{
	struct vms_object_info info = { .size = sizeof(info) - 1 };
	struct vms_share rows[1] = { 0 };
	size_t n = 1;

	table_begin();
	judge("info of nobody", vms_object_info(NULL, &info), EINVAL);
	judge("no info", vms_object_info(s.obj[ANON], NULL), EINVAL);
	judge("short info", vms_object_info(s.obj[ANON], &info), EINVAL);
	judge("share of nobody", vms_object_share(NULL, rows, &n), EINVAL);
	judge("no count", vms_object_share(s.obj[ANON], rows, NULL), EINVAL);
	judge("no rows", vms_object_share(s.obj[ANON], NULL, &n), EINVAL);
	n = 0;
	judge("too few rows", vms_object_share(s.obj[ANON], NULL, &n), EOVERFLOW);
	assert_int_equal(n, 1);
	judge("names have none", vms_object_share(s.obj[SLICE], rows, &n), 0);
	assert_int_equal(n, 0);
	table_end();
}

/* ---- A forked child ---- */

static int in_child(void)
{
	static unsigned char buf[8];
	struct vms_object_params p = params(0, P);
	struct vms_object_info info = { .size = sizeof(info) };
	struct vms_object *obj = NULL;
	struct vms_share row[4];
	size_t n = 4;
	void *hva;
	int stale = 0, calls = 0;

#define STALE(call) (calls++, stale += (call) == -ESTALE)
	for (enum who w = 0; w < ALL; w++) {
		struct vms_object *o = s.obj[w];

		if (w == HOST || w == HOST_RO)
			continue; /* the caller's memory is in the child too */
		STALE(vms_object_read(o, 0, buf, 8, NULL));
		STALE(vms_object_write(o, 0, buf, 8, NULL));
		/* Whatever else is wrong. */
		STALE(vms_object_read(o, MAX, buf, 8, NULL));
		STALE(vms_object_write(o, MAX, buf, 8, NULL));
		STALE(vms_object_op(o, VMS_OBJECT_COMMIT, 0, P, NULL));
		STALE(vms_object_op(o, VMS_OBJECT_DECOMMIT, 1, P, NULL));
		STALE(vms_object_op(o, VMS_OBJECT_ZERO, 0, P, NULL));
		STALE(vms_object_resize(o, 0, NULL));
		STALE(vms_object_set_stream_size(o, 0, NULL));
		STALE(vms_object_pin(o, 0, P, 0, NULL));
		STALE(vms_object_unpin(o, P, P));
		STALE(vms_object_lookup(o, 0, P, stop, NULL));
		STALE(vms_object_contiguous(o, 0, P, &hva));
		STALE(vms_object_transfer(s.obj[LONE], 0, P, o, 0, 0));
		STALE(vms_object_transfer(o, 0, P, s.obj[LONE], 0, 0));
		STALE(vms_object_lock(o, NULL));
		STALE(vms_object_try_lock(o));
		STALE(vms_object_unlock(o));
		STALE(vms_object_info(o, &info));
		STALE(vms_object_share(o, row, &n));
		for (int kind = 0; kind < 7; kind++)
			STALE(vms_object_child(o, (enum vms_child_kind)kind, 0, &p, &obj));
	}
	STALE(vms_object_create(s.arena, &p, &obj));
	STALE(vms_object_create_file(s.arena, s.rw, &p, &obj));
	STALE(vms_object_create_paged(s.arena, s.pager, 0, &p, &obj));
	STALE(vms_arena_reclaim(s.arena, MAX, NULL));
	if (stale != calls || obj)
		return 2;
	/* Ending them is safe, in any order, and then the arenas. */
	for (int i = ALL; i-- > 0;)
		vms_object_unref(s.obj[i]);
	vms_object_unref(s.last);
	vms_pager_close(s.pager);
	vms_arena_unref(s.arena);
	vms_arena_unref(s.tight);
	return 0;
}

static void a_forked_child_is_refused(void **state)
{
	int status = -1;
	pid_t pid;

	table_begin();
	pid = fork();
	if (pid == 0)
		_exit(in_child());
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	judge("the parent", 0, 0); /* nothing of it was touched */
	table_end();
}

#define T(name) cmocka_unit_test_setup_teardown(name, scene_begin, scene_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(arenas_are_refused),
		T(creations_are_refused),
		T(arenas_must_be_given),
		T(descriptors_run_out),
		T(children_are_refused),
		T(children_of_names_are_refused),
		T(bytes_are_refused),
		T(operations_are_refused),
		T(sizes_are_refused),
		T(pins_are_refused),
		T(full_pins_come_before_the_pager),
		T(lookups_are_refused),
		T(transfers_are_refused),
		T(locks_are_refused),
		T(questions_are_refused),
		T(a_forked_child_is_refused),
	};

	return cmocka_run_group_tests_name("objects", tests, NULL, NULL);
}
