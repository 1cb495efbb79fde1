/* SPDX-License-Identifier: MIT */
/*
 * snap.h: everything that a range of this process is, page by page: rights, sharing, file, and
 * bytes, also of pages that nobody may read. Where the host's regions begin and end is not part
 * of it, nor which of the kernel's own nameless files (memfd, shared anonymous memory) a page is
 * of.
 */
#ifndef TESTS_SNAP_H
#define TESTS_SNAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct snap_page {
	char rights[5];	   /* as /proc/self/maps, "" for unmapped */
	bool readable;	   /* bytes could be read (not beyond the end of a file) */
	uint64_t ino, off; /* of a file's page */
	uint64_t sum;	   /* of its bytes */
};

struct snap {
	uintptr_t start;
	size_t n;
	struct snap_page *page;
};

struct snap snap_take(const void *start, size_t len);
struct snap snap_copy(const struct snap *s);
void snap_free(struct snap *s);
/* -1: equal, else the index of the first page that differs. */
long snap_differs(const struct snap *a, const struct snap *b);
/* Asserts that they are equal, and frees both. */
void snap_assert_equal(struct snap *a, struct snap *b);
/* Regions of the host in the range, by /proc/self/maps. */
unsigned host_regions(const void *start, size_t len);
/* Has all of the range these rights? "" for unmapped. */
bool host_all_rights(const void *start, size_t len, const char *rights);
/* The rights of one address, as /proc/self/maps; "" for unmapped. Static storage. */
const char *host_rights(const void *addr);

#endif
