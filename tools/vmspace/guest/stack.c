// SPDX-License-Identifier: MIT
/*
 * stack.c: the first stack of a program, as the x86-64 ABI describes it and Linux fills it.
 *
 *	top	8 zero bytes
 *		the file name, the environment's strings, the arguments' strings
 *		"x86_64", 16 random bytes
 *		the auxiliary vector
 *		environment pointers, argument pointers
 *	sp	the number of arguments
 */
#include "guest.h"
#include "mem.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>

#define STACK_RND_PAGES UINT64_C(0x400000) /* 16 GiB */
#define STACK_ROOM	(UINT64_C(128) << 10)
#define STACK_FULL	(UINT64_C(64) << 20)
#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

static uint64_t strings_size(char *const *list)
{
	uint64_t n = 0;

	for (; *list != NULL; list++)
		n += strlen(*list) + 1 + 8;
	return n;
}

static uint64_t put(uint64_t *sp, const void *what, size_t len)
{
	*sp -= len;
	memcpy((void *)*sp, what, len);
	return *sp;
}

/* Strings so that list[0] lies lowest and they run on without gaps; the address of the first. */
static uint64_t put_strings(uint64_t *sp, char *const *list, uint64_t *ptr)
{
	size_t n = 0;

	while (list[n] != NULL)
		n++;
	for (size_t i = n; i-- > 0;)
		ptr[i] = put(sp, list[i], strlen(list[i]) + 1);
	ptr[n] = 0;
	return *sp;
}

/* Our own auxiliary vector with what is the guest's put in. */
static size_t fill_auxv(const struct start *s, const uint64_t *own, uint64_t random,
			uint64_t platform, uint64_t execfn)
{
	size_t n = 0;

	for (; own[0] != AT_NULL && n + 4 < sizeof(guest.auxv) / 8; own += 2) {
		uint64_t v = own[1];

		switch (own[0]) {
		case AT_SYSINFO_EHDR:
			if (s->vdso == 0)
				continue;
			v = s->vdso;
			break;
		case AT_MINSIGSTKSZ:
			v = 2 * v + 1024; /* the frame of our SIGSYS stands on the stack too */
			break;
		case AT_PAGESZ:
			v = guest.opts.page_size;
			break;
		case AT_PHDR:
			v = s->prog.phdr;
			break;
		case AT_PHENT:
			v = s->prog.phent;
			break;
		case AT_PHNUM:
			v = s->prog.phnum;
			break;
		case AT_BASE:
			v = s->dynamic ? s->interp.base : 0;
			break;
		case AT_ENTRY:
			v = s->prog.entry;
			break;
		case AT_RANDOM:
			v = random;
			break;
		case AT_PLATFORM:
			v = platform;
			break;
		case AT_EXECFN:
			v = execfn;
			break;
		}
		guest.auxv[n++] = own[0];
		guest.auxv[n++] = v;
	}
	guest.auxv[n++] = AT_NULL;
	guest.auxv[n++] = 0;
	return guest.auxv_bytes = n * 8;
}

/* What the limit lets a stack grow to, within reason. */
static uint64_t full_size(void)
{
	struct rlimit r = {STACK_FULL, STACK_FULL};

	raw4(SYS_prlimit64, 0, RLIMIT_STACK, 0, &r);
	return r.rlim_cur < STACK_FULL ? r.rlim_cur : STACK_FULL;
}

int stack_build(struct start *s, uint64_t *result)
{
	char *const *env = s->envp;
	uint64_t room = STACK_ROOM + 4096 + strlen(s->execfn) + strings_size(s->argv) +
			strings_size(s->envp);
	uint64_t mask = guest.opts.page_size - 1, top, sp;
	unsigned char random[16];

	room += 8192;
	if (guest.opts.page_size != HOST_PAGE && room < full_size()) {
		/* The host grows a stack by its own pages, not by the guest's: all of it at once.
		 */
		room = full_size();
	}
	room = (room + mask) & ~mask;
	top = (GUEST_TASK - layout_random(STACK_RND_PAGES) * HOST_PAGE) & ~mask;
	int64_t at = guest_mem_mmap(
		top - room, room, PROT_READ | PROT_WRITE | (s->prog.exec_stack ? PROT_EXEC : 0),
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_STACK | MAP_FIXED_NOREPLACE,
		-1ull, 0);
	if (at < 0)
		return (int)at;
	guest_mem_set_stack(top - 1);
	guest.stack_top = top;

	/* From here on this memory is known to be ours to write (G5). */
	sp = top - 8;
	uint64_t execfn = put(&sp, s->execfn, strlen(s->execfn) + 1);
	size_t nargs = (size_t)s->argc, nenv = 0;

	while (env[nenv] != NULL)
		nenv++;
	uint64_t pointers = (nargs + nenv + 3) * 8, *table;

	s->env_end = sp;
	/* The table's place depends on the strings' size: first the strings, pointers at the end.
	 */
	uint64_t low = (top - room + 8192) & ~UINT64_C(15);

	table = (uint64_t *)low; /* scratch, at the low end of the room */
	s->env_start = put_strings(&sp, s->envp, table + nargs + 1);
	s->arg_end = sp;
	s->arg_start = put_strings(&sp, s->argv, table);
	if (layout_randomize())
		sp -= layout_random(8192);
	sp &= ~UINT64_C(15);
	uint64_t platform = put(&sp, "x86_64", 7);

	if (getrandom(random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		for (size_t i = 0; i < sizeof(random); i++)
			random[i] = (unsigned char)(layout_random(256) + i);
	uint64_t rnd = put(&sp, random, sizeof(random));
	char **p = s->envp;

	while (*p != NULL)
		p++;
	fill_auxv(s, (const uint64_t *)(p + 1), rnd, platform, execfn);
	sp = (sp & ~UINT64_C(15)) - guest.auxv_bytes;
	sp -= pointers;
	sp &= ~UINT64_C(15);
	if (sp < low + pointers)
		return -E2BIG;
	uint64_t *w = (uint64_t *)sp;

	*w++ = nargs;
	memcpy(w, table, (nargs + 1 + nenv + 1) * 8);
	w += nargs + nenv + 2;
	memcpy(w, guest.auxv, guest.auxv_bytes);
	memset(table, 0, pointers);
	*result = sp;
	return 0;
}
