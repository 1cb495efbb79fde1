// SPDX-License-Identifier: MIT
/*
 * user.c: reading and writing guest memory.
 *
 * A guest pointer may be anything. The kernel copies for us (process_vm_readv and _writev on our
 * own process), so a bad one is an error, not a fault of ours. Addresses in our own range are bad
 * ones.
 */
#include "guest.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

static bool in_guest(uint64_t addr, size_t n)
{
	return addr < GUEST_TASK && n <= GUEST_TASK - addr;
}

int user_read(void *dst, uint64_t src, size_t n)
{
	struct iovec l = {dst, n}, r = {(void *)src, n};

	if (n == 0)
		return 0;
	if (!in_guest(src, n))
		return -EFAULT;
	return raw6(SYS_process_vm_readv, (uint64_t)guest.proc.pid, (uint64_t)&l, 1, (uint64_t)&r,
		    1, 0) == (int64_t)n
		       ? 0
		       : -EFAULT;
}

int user_write(uint64_t dst, const void *src, size_t n)
{
	struct iovec l = {(void *)(uintptr_t)src, n}, r = {(void *)dst, n};

	if (n == 0)
		return 0;
	if (!in_guest(dst, n))
		return -EFAULT;
	return raw6(SYS_process_vm_writev, (uint64_t)guest.proc.pid, (uint64_t)&l, 1, (uint64_t)&r,
		    1, 0) == (int64_t)n
		       ? 0
		       : -EFAULT;
}

int64_t user_str(char *dst, uint64_t src, size_t size)
{
	size_t got = 0;

	while (got < size) {
		/* Up to the end of a page, and not far at first: most strings are short. */
		uint64_t at = src + got;
		size_t n = HOST_PAGE - (at & (HOST_PAGE - 1));

		if (n > size - got)
			n = size - got;
		if (n > 256)
			n = 256;
		if (user_read(dst + got, at, n) != 0)
			return -EFAULT;
		char *end = memchr(dst + got, 0, n);

		if (end != NULL)
			return end - dst;
		got += n;
	}
	return -ENAMETOOLONG;
}
