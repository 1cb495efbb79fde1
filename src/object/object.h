/* SPDX-License-Identifier: MIT */
/*
 * object.h: content's identity. An object knows no addresses.
 *
 * An object says whose bytes a mapping shows. Those of a window store (see mmu/host.c) have an
 * identity and no pages: the bytes live and die with their one mapping.
 *
 *	OBJECT_ANON	private anonymous memory of one address space; a page's offset is its
 *			address at birth
 *	OBJECT_SHARED	one shared anonymous memory, from offset 0
 *	OBJECT_FILE	one *open file*: dup'ed descriptors are one object, a file opened again is
 *			another (Linux's merge rule, reference linux-mm 1.14)
 *	OBJECT_FOREIGN	a region that stands in the host already
 *	OBJECT_VIEW	numbered pages with content: see content.h
 *	OBJECT_BLOCK	guest RAM: see memory/block.h
 *
 * Ownership: counted; each mapping in a tree holds one reference.
 */
#ifndef OBJECT_OBJECT_H
#define OBJECT_OBJECT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/world.h"

enum object_kind { OBJECT_ANON, OBJECT_SHARED, OBJECT_FILE, OBJECT_FOREIGN, OBJECT_VIEW, OBJECT_BLOCK };

struct vms_object {
	const struct world *world; /* [I] */
	atomic_uint refs;
	enum object_kind kind; /* [I] */
	int fd;		       /* [I] FILE: our own duplicate, or -1 when none is kept */
	uint64_t dev, ino;     /* [I] FILE, and a made-up inode for SHARED */
	uint64_t fs_type;      /* [I] FILE: statfs type */
	mode_t mode;	       /* [I] FILE: st_mode */
	bool noexec;	       /* [I] FILE: on a noexec mount */
	uint64_t size;	       /* [I] SHARED: bytes; pages past it do not exist */
	char *name;	       /* [I] path or [name]; NULL for none */
	size_t name_size;
	void (*end)(struct vms_object *obj); /* [I] VIEW, BLOCK: at the last reference, instead of freeing */
	/* The open files of one owner (see object_file_find); [owner's lock] */
	struct vms_object *next;
	struct vms_object **list;
};

int object_create(const struct world *w, enum object_kind kind, const char *name,
		  struct vms_object **out);
/*
 * The object of fd's open file: one that is on *list already, else a new one, put on it.
 * keep: hold a duplicate of the descriptor, which makes "the same open file" exact, and closes it
 * with the object (a close drops the process's POSIX record locks of that file, so a guest that
 * lives in this process must not be given it). Without it, or where the host cannot compare
 * descriptors, the same inode counts as the same open file.
 * => the caller holds the lock that guards *list, here and at the last object_unref.
 */
int object_file(const struct world *w, int fd, bool keep, struct vms_object **list,
		struct vms_object **out);
struct vms_object *object_ref(struct vms_object *obj);
/*
 * A reference of an object that may be ending: NULL if its last one is gone. Inside an epoch
 * section in which it was reachable with one; only a VIEW's memory stays that long.
 */
struct vms_object *object_ref_live(struct vms_object *obj);
void object_unref(struct vms_object *obj); /* NULL is fine */
/*
 * Bytes in the object now: the file's own size for FILE, `size` for SHARED, UINT64_MAX (no limit)
 * for the others and for files that have no size (devices).
 * Returns 0, -EBADF for a FILE that was made without keep, or fstat's error.
 */
int object_size(const struct vms_object *obj, uint64_t *size);

#endif
