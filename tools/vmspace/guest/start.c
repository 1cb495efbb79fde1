// SPDX-License-Identifier: MIT
/*
 * start.c: from a found program to its first instruction.
 */
#include "guest.h"
#include "mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define HWCAP2_FSGSBASE_BIT 2
#define STATUS_USAGE	    2
#define STATUS_NO_EXEC	    126
#define K_UC_FLAGS	    6 /* UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS */

static int refuse(int status, const char *what, const char *reason)
{
	if (what != NULL)
		say("%s: %s", what, reason);
	else
		say("%s", reason);
	return status;
}

int guest_prepare(void)
{
	struct stat st;

	const char *check = getenv("VMSPACE_CHECK");

	say_init();
	guest.check = check != NULL && check[0] == '1';
	fdguard_start();
	guest.proc.pid = (int)raw0(SYS_getpid);

	fdguard_room_begin();
	int fd = (int)raw3(SYS_open, "/proc/self/exe", O_PATH | O_CLOEXEC, 0);

	fdguard_room_end();
	if (fd < 0 || raw2(SYS_fstat, fd, &st) != 0)
		return refuse(STATUS_USAGE, NULL, "/proc is not mounted; vmspace run needs it");
	guest.self_dev = st.st_dev;
	guest.self_ino = st.st_ino;
	int64_t n =
		raw3(SYS_readlink, "/proc/self/exe", guest.self_path, sizeof(guest.self_path) - 1);
	guest.self_path[n > 0 ? n : 0] = 0;
	if (fdguard_adopt(FD_SELF, fd) < 0)
		return refuse(STATUS_USAGE, NULL, "no descriptor is free");
	return 0;
}

/* The registers of a new program, for guest_enter(). */
static void *first_frame(uint64_t ip, uint64_t sp, uint64_t mask)
{
	static ucontext_t uc;

	memset(&uc, 0, sizeof(uc));
	uc.uc_flags = K_UC_FLAGS;
	uc.uc_mcontext.gregs[REG_RIP] = (greg_t)ip;
	uc.uc_mcontext.gregs[REG_RSP] = (greg_t)sp;
	uc.uc_mcontext.gregs[REG_EFL] = 0x202;
	uc.uc_mcontext.gregs[REG_CSGSFS] = 0x33 | (greg_t)0x2b << 48;
	signal_own_altstack(&uc.uc_stack);
	*uc_mask(&uc) = mask & ~SIGBIT(SIGSYS);
	return &uc;
}

int guest_run(struct start *s, const struct handover *h)
{
	const char *reason = "it cannot be loaded";
	uint64_t sp, entry;
	int ret;

	guest.opts = h->opts;
	if ((getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_BIT) == 0)
		return refuse(
			STATUS_USAGE, NULL,
			"vmspace run needs the fsgsbase instructions (Linux 5.9, Ivy Bridge)");
	/* Off is always allowed where the kernel knows it. */
	if (raw5(SYS_prctl, 59, 0, 0, 0, 0) != 0)
		return refuse(STATUS_USAGE, NULL,
			      "vmspace run needs syscall user dispatch (Linux 5.11 or later)");
	/* How guest memory is touched: by our own stack, which is outside its range. */
	char probe = 1, copy = 0;
	struct iovec l = {&copy, 1}, r = {&probe, 1};

	if (raw6(SYS_process_vm_readv, (uint64_t)guest.proc.pid, (uint64_t)&l, 1, (uint64_t)&r, 1,
		 0) != 1)
		return refuse(STATUS_USAGE, NULL,
			      "vmspace run needs process_vm_readv, which is forbidden here");
	fdguard_room_begin();
	ret = layout_start(&reason);
	if (ret != 0)
		return refuse(STATUS_USAGE, NULL, reason);
	ret = guest_mem_start(&guest.opts, &reason);
	if (ret != 0)
		return refuse(STATUS_USAGE, NULL, reason);

	char link[48];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", h->exe_fd);
	int64_t n = raw3(SYS_readlink, link, guest.exe, sizeof(guest.exe) - 1);

	guest.exe[n > 0 ? n : 0] = 0;
	if (image_load(h->exe_fd, IMAGE_PROGRAM, &s->prog, &reason) != 0)
		return refuse(STATUS_NO_EXEC, s->execfn, reason);
	raw1(SYS_close, h->exe_fd);
	entry = s->prog.entry;
	if (s->prog.interp[0] != 0) {
		int fd = (int)raw3(SYS_open, s->prog.interp, O_RDONLY | O_CLOEXEC, 0);

		if (fd < 0 || image_load(fd, IMAGE_INTERP, &s->interp, &reason) != 0)
			return refuse(STATUS_NO_EXEC, s->prog.interp, reason);
		raw1(SYS_close, fd);
		entry = s->interp.entry;
		s->dynamic = true;
	}
	fdguard_room_end();
	uint64_t mask = guest.opts.page_size - 1;
	uint64_t brk = (s->prog.end + mask) & ~mask;

	brk += layout_random(UINT64_C(0x40000)) * HOST_PAGE & ~mask;
	if (guest_mem_set_brk(brk) != 0 || layout_vdso(&s->vdso) != 0)
		return refuse(STATUS_NO_EXEC, s->execfn, "there is no room for its heap and vdso");
	if (stack_build(s, &sp) != 0)
		return refuse(STATUS_NO_EXEC, s->execfn, "there is no room for its stack");
	procfs_describe(s, sp);
	raw2(SYS_clock_gettime, CLOCK_MONOTONIC, &guest.started);
	if ((guest.opts.maps || guest.opts.stats) && !guest.opts.child)
		say_keep();
	trace_open(h->fresh);
	trace_image(strrchr(guest.exe, '/') != NULL ? strrchr(guest.exe, '/') + 1 : guest.exe);

	guest.proc.sys_masked = h->sys_masked;
	guest.proc.act[SIGSYS].handler = h->sys_ignored ? 1 : 0;
	__asm__ volatile("rdfsbase %0" : "=r"(guest_host_fs));
	if (signal_start() != 0 || dispatch_arm() != 0)
		return refuse(STATUS_USAGE, NULL, "syscall user dispatch cannot be turned on");
	guest_enter(first_frame(entry, sp, h->mask));
}
