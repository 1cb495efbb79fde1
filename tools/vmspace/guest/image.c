// SPDX-License-Identifier: MIT
/*
 * image.c: ELF files.
 *
 * image_check() looks at a file and changes nothing; image_load() maps one that passed. Headers may
 * be hostile: each sum is checked, and nothing is believed that the file does not hold.
 *
 * Invariants
 *	I1 All guest memory of an image is mapped through mem.h.
 *	I2 After image_check() said 0, each PT_LOAD has filesz <= memsz, lies in the file, and its
 *	   end does not wrap.
 */
#include "guest.h"
#include "mem.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PHDRS_MAX     (65536 / sizeof(Elf64_Phdr))
#define PIE_BASE      UINT64_C(0x555555554000)
#define PIE_RND_PAGES (UINT64_C(1) << 28)

static Elf64_Ehdr ehdr;
static Elf64_Phdr phdrs[PHDRS_MAX];

static int no(const char **reason, const char *text, int err)
{
	*reason = text;
	return -err;
}

static bool power_of_two(uint64_t x)
{
	return x != 0 && (x & (x - 1)) == 0;
}

static const char *machine_name(unsigned machine)
{
	switch (machine) {
	case EM_386:
		return "it is a 32-bit x86 program; vmspace run is for x86-64";
	case EM_AARCH64:
		return "it is an arm64 program; vmspace run is for x86-64";
	case EM_ARM:
		return "it is a 32-bit ARM program; vmspace run is for x86-64";
	case EM_RISCV:
		return "it is a RISC-V program; vmspace run is for x86-64";
	}
	return "it is a program for another architecture; vmspace run is for x86-64";
}

int image_check(int fd, const char **reason, char *interp, size_t interp_size)
{
	struct stat st;
	bool loads = false;

	*reason = NULL;
	if (raw2(SYS_fstat, fd, &st) != 0)
		return no(reason, "it cannot be looked at", EIO);
	int64_t n = raw4(SYS_pread64, fd, &ehdr, sizeof(ehdr), 0);

	if (n < 4 || memcmp(ehdr.e_ident, ELFMAG, SELFMAG) != 0)
		return no(reason, "it is neither an ELF program nor a script with `#!`", ENOEXEC);
	if (n < (int64_t)sizeof(ehdr))
		return no(reason, "it is cut off inside its ELF header", ENOEXEC);
	if (ehdr.e_machine != EM_X86_64)
		return no(reason, machine_name(ehdr.e_machine), ENOEXEC);
	if (ehdr.e_ident[EI_CLASS] != ELFCLASS64)
		return no(reason, "it is an x32 program; vmspace run is for x86-64", ENOEXEC);
	if (ehdr.e_ident[EI_DATA] != ELFDATA2LSB)
		return no(reason, "its byte order is not this machine's", ENOEXEC);
	if (ehdr.e_type != ET_EXEC && ehdr.e_type != ET_DYN)
		return no(reason, "it is an ELF file but no program", ENOEXEC);
	if (ehdr.e_phentsize != sizeof(Elf64_Phdr) || ehdr.e_phnum == 0 || ehdr.e_phnum > PHDRS_MAX)
		return no(reason, "its ELF program headers have a wrong size or number", ENOEXEC);
	size_t bytes = ehdr.e_phnum * sizeof(Elf64_Phdr);

	if (ehdr.e_phoff > (uint64_t)st.st_size || bytes > (uint64_t)st.st_size - ehdr.e_phoff ||
	    raw4(SYS_pread64, fd, phdrs, bytes, ehdr.e_phoff) != (int64_t)bytes)
		return no(reason, "its ELF program headers lie beyond the end of the file",
			  ENOEXEC);
	for (int i = 0; i < ehdr.e_phnum; i++) {
		const Elf64_Phdr *p = &phdrs[i];

		if (p->p_type != PT_LOAD && p->p_type != PT_INTERP)
			continue;
		if (p->p_offset > (uint64_t)st.st_size ||
		    p->p_filesz > (uint64_t)st.st_size - p->p_offset)
			return no(reason, "it is cut off: a segment lies beyond its end", ENOEXEC);
		if (p->p_type == PT_INTERP) {
			if (interp == NULL || interp[0] != 0)
				continue;
			if (p->p_filesz < 2 || p->p_filesz > interp_size ||
			    raw4(SYS_pread64, fd, interp, p->p_filesz, p->p_offset) !=
				    (int64_t)p->p_filesz ||
			    interp[p->p_filesz - 1] != 0) {
				interp[0] = 0;
				return no(reason, "its interpreter has no proper name", ENOEXEC);
			}
			continue;
		}
		loads = true;
		if (p->p_filesz > p->p_memsz)
			return no(reason, "a segment is larger in the file than in memory",
				  ENOEXEC);
		if (p->p_memsz >= GUEST_TASK || p->p_vaddr >= GUEST_TASK - p->p_memsz)
			return no(reason, "a segment lies outside the guest's addresses", ENOEXEC);
		if (p->p_align > 1 && !power_of_two(p->p_align))
			return no(reason, "a segment's alignment is no power of two", ENOEXEC);
		if ((p->p_vaddr & (HOST_PAGE - 1)) != (p->p_offset & (HOST_PAGE - 1)) &&
		    p->p_filesz != 0)
			return no(reason, "a segment's address and offset disagree within a page",
				  ENOEXEC);
	}
	if (!loads)
		return no(reason, "it has no segment to load", ENOEXEC);
	return 0;
}

static uint64_t prot_of(const Elf64_Phdr *p)
{
	return ((p->p_flags & PF_R) != 0 ? PROT_READ : 0) |
	       ((p->p_flags & PF_W) != 0 ? PROT_WRITE : 0) |
	       ((p->p_flags & PF_X) != 0 ? PROT_EXEC : 0);
}

static int zero(uint64_t addr, uint64_t len)
{
	static const char zeros[4096];
	int ret = 0;

	while (len > 0 && ret == 0) {
		size_t n = len < sizeof(zeros) ? len : sizeof(zeros);

		ret = user_write(addr, zeros, n);
		addr += n;
		len -= n;
	}
	return ret;
}

/* One segment: the file's part, zeros to the end of its last page, fresh pages behind. */
static int load_segment(int fd, const Elf64_Phdr *p, uint64_t base, uint64_t *mapped)
{
	uint64_t page = guest.opts.page_size, mask = page - 1;
	uint64_t va = base + p->p_vaddr, in_page = va & mask;
	uint64_t file_end = va + p->p_filesz, mem_end = va + p->p_memsz;
	uint64_t from = va - in_page;
	/* Two segments of equal rights may share a page of the file. */
	uint64_t how = MAP_PRIVATE | (from < *mapped ? MAP_FIXED : MAP_FIXED_NOREPLACE);
	int64_t ret;

	if (p->p_memsz == 0)
		return 0;
	if (p->p_filesz != 0) {
		ret = guest_mem_mmap(from, p->p_filesz + in_page, prot_of(p), how, (uint64_t)fd,
				     p->p_offset - in_page);
		if (ret < 0)
			return (int)ret;
		from = (file_end + mask) & ~mask;
		if (p->p_memsz > p->p_filesz && (p->p_flags & PF_W) != 0 &&
		    zero(file_end, from - file_end) != 0)
			return -EFAULT;
	}
	if (mem_end > from) {
		ret = guest_mem_mmap(from, mem_end - from, prot_of(p), how | MAP_ANONYMOUS, -1ull,
				     0);
		if (ret < 0)
			return (int)ret;
	}
	*mapped = (mem_end + mask) & ~mask;
	return 0;
}

int image_load(int fd, enum image_role role, struct image *img, const char **reason)
{
	uint64_t mask = guest.opts.page_size - 1, low = UINT64_MAX, high = 0, align = mask + 1;
	uint64_t mapped = 0;
	static char why[256];
	int ret;

	memset(img, 0, sizeof(*img));
	ret = image_check(fd, reason, img->interp, sizeof(img->interp));
	if (ret != 0)
		return ret;
	ret = elfcheck(fd, guest.opts.page_size, why, sizeof(why));
	if (ret != 0)
		return no(reason, why, -ret);
	for (int i = 0; i < ehdr.e_phnum; i++) {
		const Elf64_Phdr *p = &phdrs[i];

		if (p->p_type == PT_GNU_STACK)
			img->exec_stack = (p->p_flags & PF_X) != 0;
		if (p->p_type != PT_LOAD)
			continue;
		if (p->p_vaddr < low)
			low = p->p_vaddr;
		if (p->p_vaddr + p->p_memsz > high)
			high = p->p_vaddr + p->p_memsz;
		if (p->p_align > align)
			align = p->p_align;
	}
	low &= ~mask;
	high = (high + mask) & ~mask;
	if (ehdr.e_type == ET_DYN && role == IMAGE_PROGRAM && img->interp[0] != 0) {
		img->base = PIE_BASE + layout_random(PIE_RND_PAGES) * HOST_PAGE;
		img->base = (img->base & ~(align - 1)) - low;
	} else if (ehdr.e_type == ET_DYN) {
		/* Where the guest's kernel would put a mapping of this size. */
		int64_t at = guest_mem_mmap(0, high - low, PROT_NONE,
					    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1ull, 0);
		if (at < 0)
			return no(reason, "there is no room for it", ENOMEM);
		guest_mem_munmap((uint64_t)at, high - low);
		img->base = ((uint64_t)at & ~(align - 1)) - low;
	}
	for (int i = 0; i < ehdr.e_phnum; i++) {
		const Elf64_Phdr *p = &phdrs[i];
		uint64_t va = img->base + p->p_vaddr;

		if (p->p_type != PT_LOAD)
			continue;
		if (va >= GUEST_TASK || p->p_memsz > GUEST_TASK - va)
			return no(reason, "a segment lies outside the guest's addresses", ENOMEM);
		ret = load_segment(fd, p, img->base, &mapped);
		if (ret != 0) {
			static char text[96];

			snprintf(text, sizeof(text),
				 "its segment %d at 0x%llx cannot be mapped: %s", i,
				 (unsigned long long)va, strerror(-ret));
			return no(reason, text, -ret);
		}
		if (p->p_offset <= ehdr.e_phoff && ehdr.e_phoff - p->p_offset < p->p_filesz)
			img->phdr = va + (ehdr.e_phoff - p->p_offset);
		if (va + p->p_memsz > img->end)
			img->end = va + p->p_memsz;
		if ((p->p_flags & PF_X) != 0 && (img->start_code == 0 || va < img->start_code))
			img->start_code = va;
		if ((p->p_flags & PF_X) != 0 && va + p->p_filesz > img->end_code)
			img->end_code = va + p->p_filesz;
		if (va > img->start_data)
			img->start_data = va;
		if (va + p->p_filesz > img->end_data)
			img->end_data = va + p->p_filesz;
	}
	img->entry = img->base + ehdr.e_entry;
	img->phnum = ehdr.e_phnum;
	img->phent = sizeof(Elf64_Phdr);
	return 0;
}
