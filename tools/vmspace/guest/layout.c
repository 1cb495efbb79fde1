// SPDX-License-Identifier: MIT
/*
 * layout.c: what of the address space is ours.
 *
 *	0 ............................ GUEST_TASK ................................ HOST_TASK
 *	the guest's                    our text, data, bss | our heap -> ... <- our stack
 *
 * The program is linked at GUEST_TASK, not relocated, so the kernel puts its heap behind it, and
 * the stack that the kernel gives a process is always within 16 GiB of the top. What remains is
 * the vdso, which is moved to the guest.
 */
#include "guest.h"
#include "mem.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/random.h>
#include <sys/rseq.h>

#define SCRATCH	       (GUEST_TASK + (UINT64_C(26) << 30)) /* above the parked vdso, below our stack */
#define SCRATCH_END    (GUEST_TASK + (UINT64_C(46) << 30))
#define STEP	       (UINT64_C(2) << 20)
#define RSEQ_SIGNATURE 0x53053053
#define VDSO_PARTS     8
#define VDSO_PARK      (GUEST_TASK + (UINT64_C(24) << 30)) /* between our heap and our stack */

struct part {
	uint64_t start, end;
	unsigned prot;
	char name[32];
};
const char *layout_vsyscall;
uint64_t layout_vdso_start, layout_vdso_end;

static struct part parts[VDSO_PARTS];
static int nparts;

/*
 * libc's mmap, ours instead: what asks for no address gets one in our range. It is there for
 * malloc, which turns to mmap when the heap cannot grow (RLIMIT_DATA), and for the library.
 */
void *layout_libc_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off);
__asm__(".globl mmap, mmap64, __mmap, __mmap64\n"
	".set mmap, layout_libc_mmap\n"
	".set mmap64, layout_libc_mmap\n"
	".set __mmap, layout_libc_mmap\n"
	".set __mmap64, layout_libc_mmap\n");

void *layout_libc_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	int64_t got = layout_mmap((uint64_t)addr, len, prot, flags, fd, (uint64_t)off);

	if (got < 0) {
		errno = (int)-got;
		return MAP_FAILED;
	}
	return (void *)got;
}

/* A free place in our range: one after the other, around again at the end. */
int64_t layout_mmap(uint64_t addr, uint64_t len, int prot, int flags, int fd, uint64_t off)
{
	static uint64_t next = SCRATCH;

	if (addr != 0 || (flags & MAP_FIXED) != 0)
		return raw6(SYS_mmap, addr, len, (uint64_t)prot, (uint64_t)flags, (uint64_t)fd,
			    off);
	if (len > SCRATCH_END - SCRATCH)
		return -ENOMEM;
	for (int tries = 0; tries < 64; tries++) {
		if (len > SCRATCH_END - next)
			next = SCRATCH;
		uint64_t at = next;

		next += (len + STEP - 1) & ~(STEP - 1);
		int64_t got = raw6(SYS_mmap, at, len, (uint64_t)prot,
				   (uint64_t)(flags | MAP_FIXED_NOREPLACE), (uint64_t)fd, off);
		if (got != -EEXIST)
			return got;
	}
	return -ENOMEM;
}

/* Everything of ours lies in our range; what the kernel added is noted. */
static int check_maps(const char **reason)
{
	static char text[512];
	char line[512];
	FILE *f = fopen("/proc/self/maps", "re");

	if (f == NULL) {
		*reason = "/proc/self/maps cannot be read";
		return -ENOENT;
	}
	while (fgets(line, sizeof(line), f) != NULL) {
		unsigned long start, end;
		char perms[8] = "", name[300] = "";

		if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %299[^\n]", &start, &end, perms, name) <
		    3)
			continue;
		if (strncmp(name, "[vvar", 5) == 0 || strcmp(name, "[vdso]") == 0) {
			struct part *p = &parts[nparts];

			if (nparts == VDSO_PARTS)
				continue;
			p->start = start;
			p->end = end;
			p->prot = (perms[0] == 'r' ? PROT_READ : 0) |
				  (perms[1] == 'w' ? PROT_WRITE : 0) |
				  (perms[2] == 'x' ? PROT_EXEC : 0);
			snprintf(p->name, sizeof(p->name), "%.31s", name);
			nparts++;
		} else if (strcmp(name, "[vsyscall]") == 0) {
			static char kept[128];

			snprintf(kept, sizeof(kept), "%.120s", line);
			layout_vsyscall = kept;
		} else if (start < GUEST_TASK) {
			line[strcspn(line, "\n")] = 0;
			snprintf(text, sizeof(text), "this mapping is in the guest's way: %.400s",
				 line);
			*reason = text;
			fclose(f);
			return -EEXIST;
		}
	}
	fclose(f);
	return 0;
}

/* libc told the kernel of places in its thread block; the guest brings its own. */
static void leave_libc(void)
{
	raw2(SYS_set_robust_list, 0, 24);
	if (__rseq_size != 0)
		raw4(SYS_rseq, (char *)__builtin_thread_pointer() + __rseq_offset, 32, 1,
		     RSEQ_SIGNATURE);
}

/* From the lowest to the highest of its parts; false: there is none. */
static bool vdso_bounds(uint64_t *low, uint64_t *high)
{
	*low = UINT64_MAX;
	*high = 0;
	for (int i = 0; i < nparts; i++) {
		if (parts[i].start < *low)
			*low = parts[i].start;
		if (parts[i].end > *high)
			*high = parts[i].end;
	}
	return nparts != 0;
}

/* All parts, as they are to each other, so that the lowest comes from `low` to `to`. */
static int vdso_move(uint64_t low, uint64_t to)
{
	for (int i = 0; i < nparts; i++) {
		uint64_t len = parts[i].end - parts[i].start, at = to + (parts[i].start - low);
		int64_t ret = raw5(SYS_mremap, parts[i].start, len, len,
				   MREMAP_MAYMOVE | MREMAP_FIXED, at);

		if (ret < 0)
			return (int)ret;
		parts[i].start = at;
		parts[i].end = at + len;
	}
	return 0;
}

/* Out of the guest's range at once, so that nothing is placed over the vdso meanwhile. */
static int park_vdso(void)
{
	uint64_t low, high, to = VDSO_PARK;

	if (!vdso_bounds(&low, &high))
		return 0;
	if (low < to + (high - low) && to < high)
		to += high - low + (UINT64_C(1) << 30);
	return vdso_move(low, to);
}

int layout_start(const char **reason)
{
	/* One heap, the kernel's, and never given back piecemeal. */
	mallopt(M_MMAP_MAX, 0);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	mallopt(M_TOP_PAD, 256 * 1024);
	mallopt(M_ARENA_MAX, 1);
	int ret = check_maps(reason);

	if (ret != 0)
		return ret;
	leave_libc();
	ret = park_vdso();
	if (ret != 0)
		*reason = "the vdso cannot be moved";
	return ret;
}

bool layout_randomize(void)
{
	return ((unsigned long)personality(0xffffffff) & ADDR_NO_RANDOMIZE) == 0;
}

uint64_t layout_random(uint64_t below)
{
	uint64_t x = 0;

	if (!layout_randomize() || getrandom(&x, sizeof(x), GRND_NONBLOCK) != sizeof(x))
		return 0;
	return x % below;
}

int layout_vdso(uint64_t *vdso)
{
	uint64_t low, high;

	*vdso = 0;
	if (!vdso_bounds(&low, &high))
		return 0;
	/* The parts stay as they are to each other: the code reaches its data relative to itself.
	 */
	uint64_t mask = guest.opts.page_size - 1, whole = (high - low + mask) & ~mask;
	int64_t to = guest_mem_mmap(0, whole, PROT_NONE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1ull, 0);
	if (to < 0)
		return (int)to;
	guest_mem_munmap((uint64_t)to, whole);
	bool fits = true;

	layout_vdso_start = (uint64_t)to;
	layout_vdso_end = (uint64_t)to + whole;

	int err = vdso_move(low, (uint64_t)to);

	if (err != 0)
		return err;
	for (int i = 0; i < nparts; i++) {
		uint64_t at = parts[i].start, len = parts[i].end - at;

		fits = fits && ((at | len) & (guest.opts.page_size - 1)) == 0;
		if (strcmp(parts[i].name, "[vdso]") == 0)
			*vdso = at;
	}
	/* Parts that are no whole pages of the guest's are one to it. */
	if (!fits)
		return guest_mem_foreign((uint64_t)to, whole, PROT_READ | PROT_EXEC, "[vdso]");
	for (int i = 0; i < nparts; i++) {
		int ret = guest_mem_foreign(parts[i].start, parts[i].end - parts[i].start,
					    parts[i].prot, parts[i].name);
		if (ret < 0)
			return ret;
	}
	return 0;
}
