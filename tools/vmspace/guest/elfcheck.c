// SPDX-License-Identifier: MIT
/*
 * elfcheck.c: does an ELF file's layout fit the guest's page size?
 *
 * A kernel with 16 or 64 KiB pages can map a file only if, page by page,
 *
 *	1 each segment's address and file offset agree within a page, and
 *	2 no page is shared by two segments of unequal rights.
 *
 * Most files packaged for x86-64 are linked for 4 KiB. We say which file it is, which segments,
 * and what would mend it, instead of letting the program die in its loader.
 */
#include "guest.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MAX_PHDRS 64 /* of a file that is looked at here; others pass */

static const char *rights(uint32_t flags, char *buf)
{
	buf[0] = (flags & PF_R) != 0 ? 'r' : '-';
	buf[1] = (flags & PF_W) != 0 ? 'w' : '-';
	buf[2] = (flags & PF_X) != 0 ? 'x' : '-';
	buf[3] = 0;
	return buf;
}

int elfcheck(int fd, uint64_t page, char *why, size_t size)
{
	Elf64_Phdr ph[MAX_PHDRS];
	Elf64_Ehdr eh;
	char a[4], b[4];

	if (page == HOST_PAGE)
		return 0;
	if (raw4(SYS_pread64, fd, &eh, sizeof(eh), 0) != (int64_t)sizeof(eh) ||
	    memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0 || eh.e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh.e_phentsize != sizeof(ph[0]) || eh.e_phnum > MAX_PHDRS)
		return 0;
	int64_t bytes = (int64_t)(eh.e_phnum * sizeof(ph[0]));

	if (raw4(SYS_pread64, fd, ph, bytes, eh.e_phoff) != bytes)
		return 0;
	const unsigned kib = (unsigned)(page >> 10);

	for (int i = 0; i < eh.e_phnum; i++) {
		if (ph[i].p_type != PT_LOAD || ph[i].p_memsz == 0)
			continue;
		if (ph[i].p_filesz != 0 && ((ph[i].p_vaddr ^ ph[i].p_offset) & (page - 1)) != 0) {
			snprintf(why, size,
				 "segment %d (%s) has address 0x%llx and file offset 0x%llx, which "
				 "disagree within a page of %u KiB; link it with "
				 "-Wl,-z,max-page-size=65536",
				 i, rights(ph[i].p_flags, a), (unsigned long long)ph[i].p_vaddr,
				 (unsigned long long)ph[i].p_offset, kib);
			return -ENOEXEC;
		}
		for (int j = 0; j < i; j++) {
			if (ph[j].p_type != PT_LOAD || ph[j].p_memsz == 0 ||
			    ph[j].p_flags == ph[i].p_flags)
				continue;
			uint64_t first_i = ph[i].p_vaddr / page, first_j = ph[j].p_vaddr / page;
			uint64_t last_i = (ph[i].p_vaddr + ph[i].p_memsz - 1) / page;
			uint64_t last_j = (ph[j].p_vaddr + ph[j].p_memsz - 1) / page;

			if (last_j < first_i || last_i < first_j)
				continue;
			snprintf(why, size,
				 "segments %d (%s, from 0x%llx) and %d (%s, from 0x%llx) share a "
				 "page of %u KiB; link it with -Wl,-z,max-page-size=65536",
				 j, rights(ph[j].p_flags, a), (unsigned long long)ph[j].p_vaddr, i,
				 rights(ph[i].p_flags, b), (unsigned long long)ph[i].p_vaddr, kib);
			return -ENOEXEC;
		}
	}
	return 0;
}

/* The guest maps a file executable. */
int elfcheck_mapping(int fd)
{
	static char said_of[PATH_MAX];
	char why[256], link[48], path[PATH_MAX];

	if (elfcheck(fd, guest.opts.page_size, why, sizeof(why)) == 0)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	int64_t n = raw3(SYS_readlink, link, path, sizeof(path) - 1);

	path[n > 0 ? n : 0] = 0;
	if (strcmp(path, said_of) != 0)
		say("%s: %s", path, why);
	strcpy(said_of, path);
	return -EINVAL;
}
