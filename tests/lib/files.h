/* SPDX-License-Identifier: MIT */
/* files.h: nameless files for tests. After check.h. */
#ifndef TESTS_FILES_H
#define TESTS_FILES_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A file of so many bytes, each of them this one. */
static inline int file_of(uint64_t bytes, int byte)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	unsigned char *all = malloc(bytes);

	assert_true(fd >= 0);
	assert_non_null(all);
	memset(all, byte, bytes);
	assert_int_equal(pwrite(fd, all, bytes, 0), (ssize_t)bytes);
	free(all);
	return fd;
}

#endif
