// SPDX-License-Identifier: MIT
/*
 * object.c: making, finding and counting objects.
 *
 * Invariants:
 *	1 an object that anyone can reach has at least one reference
 *	2 a FILE object that was given a list is on it exactly as long as it lives
 *	3 of two FILE objects on one list, both with a kept descriptor, no two are one open file, as
 *	  far as the host could tell
 */
#include "object/object.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/fail.h"
#include "base/trace.h"

/* The name and device that Linux's maps show for shared anonymous memory. */
#define SHARED_NAME "/dev/zero (deleted)"
#define SHARED_DEV  makedev(0, 1)

static atomic_uint_fast64_t shared_inodes;

int object_create(const struct world *w, enum object_kind kind, const char *name,
		  struct vms_object **out)
{
	struct vms_object *obj = w->alloc(w, sizeof(*obj));

	if (!obj)
		return fail(-ENOMEM, "no memory for an object");
	memset(obj, 0, sizeof(*obj));
	obj->world = w;
	atomic_init(&obj->refs, 1);
	obj->kind = kind;
	obj->fd = -1;
	if (kind == OBJECT_SHARED && !name)
		name = SHARED_NAME;
	if (name) {
		obj->name_size = strlen(name) + 1;
		obj->name = w->alloc(w, obj->name_size);
		if (!obj->name) {
			w->free(w, obj, sizeof(*obj));
			return fail(-ENOMEM, "no memory for the name of an object");
		}
		memcpy(obj->name, name, obj->name_size);
	}
	if (kind == OBJECT_SHARED) {
		obj->dev = SHARED_DEV;
		obj->ino = atomic_fetch_add_explicit(&shared_inodes, 1, memory_order_relaxed) + 1;
	}
	TRACE(object_create, (uintptr_t)obj, kind, obj->ino);
	*out = obj;
	return 0;
}

static bool same_file(const struct vms_object *obj, const struct stat *st, int fd, bool keep)
{
	if (obj->dev != st->st_dev || obj->ino != st->st_ino)
		return false;
	if (!keep || obj->fd < 0)
		return true;
	/* An error means that the host cannot tell: then the inode decides. */
	return obj->world->fd_same(obj->world, obj->fd, fd) != 0;
}

int object_file(const struct world *w, int fd, bool keep, struct vms_object **list,
		struct vms_object **out)
{
	char path[PATH_MAX];
	struct vms_object *obj;
	struct stat st;
	int err;

	err = w->fstat(w, fd, &st);
	if (err)
		return fail(err, "descriptor %d: fstat: %s", fd, strerror(-err));
	for (obj = *list; obj; obj = obj->next) {
		if (same_file(obj, &st, fd, keep)) {
			*out = object_ref(obj);
			return 0;
		}
	}
	/* Benign failure: a file without a path is shown without a name. */
	if (w->fd_path(w, fd, path, sizeof(path)) < 0)
		path[0] = '\0';
	err = object_create(w, OBJECT_FILE, path[0] ? path : NULL, &obj);
	if (err)
		return err;
	obj->dev = st.st_dev;
	obj->ino = st.st_ino;
	obj->mode = st.st_mode;
	/* Benign failure: a file system of unknown type is an ordinary one. */
	if (w->fs_type(w, fd, &obj->fs_type, &obj->noexec) < 0)
		obj->fs_type = 0;
	if (keep) {
		obj->fd = w->fd_dup(w, fd);
		if (obj->fd < 0) {
			err = obj->fd;
			obj->fd = -1;
			object_unref(obj);
			return fail(err, "descriptor %d: cannot duplicate it: %s", fd,
				    strerror(-err));
		}
	}
	obj->next = *list;
	obj->list = list;
	*list = obj;
	*out = obj;
	return 0;
}

struct vms_object *object_ref(struct vms_object *obj)
{
	atomic_fetch_add_explicit(&obj->refs, 1, memory_order_relaxed);
	return obj;
}

struct vms_object *object_ref_live(struct vms_object *obj)
{
	unsigned refs = atomic_load_explicit(&obj->refs, memory_order_relaxed);

	do {
		if (!refs)
			return NULL;
	} while (!atomic_compare_exchange_weak_explicit(
		&obj->refs, &refs, refs + 1, memory_order_acquire, memory_order_relaxed));
	return obj;
}

static void unlist(struct vms_object *obj)
{
	struct vms_object **p = obj->list;

	while (*p != obj)
		p = &(*p)->next;
	*p = obj->next;
}

void object_unref(struct vms_object *obj)
{
	const struct world *w;

	/* Release pairs with the last one's acquire: it sees what the others did. */
	if (!obj || atomic_fetch_sub_explicit(&obj->refs, 1, memory_order_acq_rel) != 1)
		return;
	w = obj->world;
	TRACE(object_free, (uintptr_t)obj, obj->kind, obj->ino);
	if (obj->end) {
		obj->end(obj);
		return;
	}
	if (obj->list)
		unlist(obj);
	if (obj->fd >= 0)
		w->fd_close(w, obj->fd);
	if (obj->name)
		w->free(w, obj->name, obj->name_size);
	w->free(w, obj, sizeof(*obj));
}

int object_size(const struct vms_object *obj, uint64_t *size)
{
	struct stat st;
	int err;

	switch (obj->kind) {
	case OBJECT_SHARED:
		*size = obj->size;
		return 0;
	case OBJECT_FILE:
		if (obj->fd < 0)
			return -EBADF;
		err = obj->world->fstat(obj->world, obj->fd, &st);
		if (err)
			return err;
		*size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : UINT64_MAX;
		return 0;
	case OBJECT_ANON:
	case OBJECT_FOREIGN:
	case OBJECT_VIEW:
	case OBJECT_BLOCK:
		break;
	}
	*size = UINT64_MAX;
	return 0;
}
