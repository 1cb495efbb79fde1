// SPDX-License-Identifier: MIT
/*
 * objects_tags: threads on two families of objects, an anonymous one and one above a file pager.
 * Every byte of page i is i's tag or zero, in every object, and every operation keeps it so. Who
 * reads another tag was shown a frame that had become another page's.
 *
 *	objects_tags [rounds]
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmspace/object.h"
#include "vmspace/pager.h"

#define P	4096u
#define PAGES	96u
#define OBJECTS 6u
#define THREADS 4u
#define RUN	8u

struct slot {
	pthread_mutex_t mutex; /* of the pointer alone */
	struct vms_object *obj;
};

static struct {
	struct vms_arena *arena;
	struct slot anon[OBJECTS], over[OBJECTS];
	struct vms_object *root;
	struct vms_pager *pager;
	atomic_uint bad;
	unsigned rounds;
} s;

static unsigned char tag(uint64_t page)
{
	return (unsigned char)(page % 250 + 1);
}

static int complain(const char *what, int err)
{
	if (atomic_fetch_add(&s.bad, 1) < 10)
		fprintf(stderr, "objects_tags: %s: %d (%s)\n", what, err, vms_last_error());
	return err;
}

static struct vms_object *get(struct slot *slot)
{
	struct vms_object *obj;

	pthread_mutex_lock(&slot->mutex);
	obj = vms_object_ref(slot->obj);
	pthread_mutex_unlock(&slot->mutex);
	return obj;
}

static void put(struct slot *slot, struct vms_object *obj)
{
	struct vms_object *old;

	pthread_mutex_lock(&slot->mutex);
	old = slot->obj;
	slot->obj = obj;
	pthread_mutex_unlock(&slot->mutex);
	vms_object_unref(old);
}

/* Without a wait: the file pager answers at once. */
static void look(struct vms_object *obj, uint64_t first, uint64_t n)
{
	unsigned char buf[RUN * P];
	int err = vms_object_read(obj, first * P, buf, n * P, NULL);

	if (err == -ERANGE) /* the root was smaller for a moment */
		return;
	if (err)
		complain("read", err);
	for (uint64_t i = 0; !err && i < n * P; i++)
		if (buf[i] && buf[i] != tag(first + i / P)) {
			fprintf(stderr, "objects_tags: page %u shows the tag of page %u\n",
				(unsigned)(first + i / P), buf[i] - 1u);
			complain("a stranger's bytes", 0);
			return;
		}
}

static void mark(struct vms_object *obj, uint64_t first, uint64_t n, unsigned in)
{
	static _Thread_local unsigned char buf[PAGES * P];
	int err;

	for (uint64_t i = 0; i < n; i++)
		memset(buf + i * P, tag(first + i), P);
	err = vms_object_write(obj, first * P + in, buf + in, n * P - in, NULL);
	if (err && err != -ERANGE)
		complain("write", err);
}

static struct vms_object *snapshot(struct vms_object *obj, int kind)
{
	struct vms_object_params params = { .size = sizeof(params), .bytes = PAGES * P };
	struct vms_object *child = NULL;
	int err = vms_object_child(obj, kind, 0, &params, &child);

	if (err)
		complain("child", err);
	return child;
}

static void step_anon(unsigned r)
{
	struct slot *at = &s.anon[r / 16 % OBJECTS], *other = &s.anon[r / 128 % OBJECTS];
	struct vms_object *obj = get(at), *from = NULL, *child;
	uint64_t first = r / 1024 % (PAGES - RUN);
	int err = 0;

	switch (r % 16) {
	case 0:
	case 1:
		child = snapshot(obj, VMS_CHILD_SNAPSHOT);
		if (child)
			put(other, child);
		break;
	case 2:
		from = get(other);
		err = vms_object_transfer(obj, first * P, RUN * P, from, first * P, 0);
		break;
	case 3:
		err = vms_object_op(obj, VMS_OBJECT_ZERO, first * P + 1, RUN * P - 1, NULL);
		break;
	case 4:
		mark(obj, 0, PAGES, 1);
		break;
	case 5:
		err = vms_object_op(obj, VMS_OBJECT_COMMIT, first * P, RUN * P, NULL);
		break;
	case 6:
	case 7:
	case 8:
		mark(obj, first, 1 + r % RUN, r % 3 ? 0 : 5);
		break;
	default:
		look(obj, first, RUN);
	}
	if (err)
		complain("operation", err);
	vms_object_unref(from);
	vms_object_unref(obj);
}

static void step_paged(unsigned r)
{
	struct slot *at = &s.over[r / 16 % OBJECTS], *other = &s.over[r / 128 % OBJECTS];
	struct vms_object *obj = r % 5 ? get(at) : vms_object_ref(s.root), *child;
	uint64_t first = r / 1024 % (PAGES - RUN), freed;
	int err = 0;

	switch (r % 16) {
	case 0:
	case 1:
		child = snapshot(obj,
				 r % 3 ? VMS_CHILD_SNAPSHOT_LAZY : VMS_CHILD_SNAPSHOT_MODIFIED);
		if (child)
			put(other, child);
		break;
	case 2:
		err = vms_arena_reclaim(s.arena, first * P, &freed);
		break;
	case 3:
		err = vms_object_op(obj, VMS_OBJECT_ZERO, first * P + 1, RUN * P - 1, NULL);
		break;
	case 4:
		err = vms_pager_file_sync(s.root);
		break;
	case 5:
		err = vms_object_resize(s.root, (PAGES - r % 7) * P, NULL);
		if (!err)
			err = vms_object_resize(s.root, PAGES * P, NULL);
		break;
	case 6:
	case 7:
	case 8:
		mark(obj, first, 1 + r % RUN, r % 3 ? 0 : 5);
		break;
	default:
		look(obj, first, RUN);
	}
	if (err && err != -ERANGE)
		complain("operation above the pager", err);
	vms_object_unref(obj);
}

static void *work(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

	for (unsigned i = 0; i < s.rounds && !atomic_load(&s.bad); i++) {
		unsigned r;

		seed = seed * 1664525u + 1013904223u;
		r = seed >> 4;
		if (seed >> 31)
			step_anon(r);
		else
			step_paged(r);
	}
	return NULL;
}

static int set_up(void)
{
	struct vms_arena_params ap = { .size = sizeof(ap), .reserve = UINT64_C(1) << 32 };
	struct vms_object_params params = { .size = sizeof(params), .bytes = PAGES * P };
	static unsigned char bytes[PAGES * P];
	int fd = memfd_create("objects-tags", MFD_CLOEXEC);
	struct vms_pager *pager;
	int err;

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = tag(i / P);
	if (fd < 0 || write(fd, bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes))
		return complain("file", -1);
	err = vms_arena_create(&ap, &s.arena);
	if (!err)
		err = vms_pager_file(fd, &pager);
	close(fd);
	if (err)
		return complain("arena or pager", err);
	params.flags = VMS_OBJECT_RESIZABLE;
	err = vms_object_create_paged(s.arena, pager, 0, &params, &s.root);
	s.pager = pager;
	params.flags = 0;
	for (unsigned i = 0; !err && i < OBJECTS; i++) {
		pthread_mutex_init(&s.anon[i].mutex, NULL);
		pthread_mutex_init(&s.over[i].mutex, NULL);
		err = vms_object_create(s.arena, &params, &s.anon[i].obj);
		s.over[i].obj = err ? NULL : snapshot(s.root, VMS_CHILD_SNAPSHOT_LAZY);
	}
	return err ? complain("objects", err) : 0;
}

int main(int argc, char **argv)
{
	pthread_t thread[THREADS];

	if (sysconf(_SC_PAGESIZE) != (long)P) {
		printf("skipped: the host's pages are not 4 KiB\n");
		return 77;
	}
	s.rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 0) : 8000;
	if (set_up())
		return 1;
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, work, (void *)(i * 7919 + 1));
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	for (unsigned i = 0; i < OBJECTS; i++) {
		vms_object_unref(s.anon[i].obj);
		vms_object_unref(s.over[i].obj);
	}
	vms_object_unref(s.root);
	vms_pager_close(s.pager);
	vms_arena_unref(s.arena);
	printf("objects_tags: %u rounds in each of %u threads, %u bad\n", s.rounds, THREADS,
	       atomic_load(&s.bad));
	return atomic_load(&s.bad) != 0;
}
