// SPDX-License-Identifier: MIT
/*
 * fdguard.c: our few descriptors among the guest's.
 *
 * They lie near the top of the descriptor table and are close-on-exec. For the guest they do not
 * exist: calls on them answer EBADF, close_range leaves them out, and dup2 onto one of the numbers
 * first moves ours away.
 *
 * Invariants
 *	F1 ours[] is the truth for this process; after vfork the parent's is put back (process.c).
 *	F2 All our numbers are at or above `lowest`: one comparison lets ordinary numbers through.
 */
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>

#define PLACES	64    /* room that we keep free for ourselves below the top */
#define MAX_TOP 4096u /* a sparse table costs each fork: do not go higher than that */

static int lowest(void)
{
	int low = INT_MAX;

	for (int i = 0; i < GUEST_FDS; i++)
		if (guest.proc.fd[i] >= 0 && guest.proc.fd[i] < low)
			low = guest.proc.fd[i];
	return low;
}

void fdguard_start(void)
{
	for (int i = 0; i < GUEST_FDS; i++)
		guest.proc.fd[i] = -1;
	guest.proc.fd_low = INT_MAX;
}

bool fdguard_ours(uint64_t arg)
{
	int fd = (int)arg;

	if (fd < guest.proc.fd_low)
		return false;
	for (int i = 0; i < GUEST_FDS; i++)
		if (guest.proc.fd[i] == fd)
			return true;
	return false;
}

/*
 * A guest may have lowered its limit of descriptors, or filled its table. Between these two calls
 * there is room for ours beyond; a descriptor above the limit stays valid.
 */
static struct rlimit limit_then;
static bool limit_raised;

void fdguard_room_begin(void)
{
	struct rlimit r;

	limit_raised = false;
	if (raw4(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &r) != 0)
		return;
	limit_then = r;
	if (r.rlim_cur < MAX_TOP && r.rlim_max > r.rlim_cur) {
		r.rlim_cur = r.rlim_max < MAX_TOP ? r.rlim_max : MAX_TOP;
		limit_raised = raw4(SYS_prlimit64, 0, RLIMIT_NOFILE, &r, 0) == 0;
	}
}

void fdguard_room_end(void)
{
	if (limit_raised)
		raw4(SYS_prlimit64, 0, RLIMIT_NOFILE, &limit_then, 0);
	limit_raised = false;
}

/* A copy of `fd` above what the guest uses: near the top of the table, else anywhere. */
int fdguard_dup_high(int fd, bool cloexec)
{
	int how = cloexec ? F_DUPFD_CLOEXEC : F_DUPFD;
	struct rlimit r = {1024, 1024};
	int64_t n = -EINVAL;

	fdguard_room_begin();
	raw4(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &r);
	uint64_t top = r.rlim_cur < MAX_TOP ? r.rlim_cur : MAX_TOP;

	if (limit_then.rlim_cur >= 256 && limit_then.rlim_cur < top)
		top = limit_then.rlim_cur;
	if (top > PLACES)
		n = raw3(SYS_fcntl, fd, how, top - PLACES);
	if (n < 0)
		n = raw3(SYS_fcntl, fd, how, 3);
	fdguard_room_end();
	return (int)n;
}

int fdguard_adopt(enum guest_fd which, int fd)
{
	int n = fdguard_dup_high(fd, true);

	raw1(SYS_close, fd);
	if (n < 0)
		return n;
	guest.proc.fd[which] = n;
	guest.proc.fd_low = lowest();
	return n;
}

void fdguard_drop(enum guest_fd which)
{
	if (guest.proc.fd[which] >= 0)
		raw1(SYS_close, guest.proc.fd[which]);
	guest.proc.fd[which] = -1;
	guest.proc.fd_low = lowest();
}

bool fdguard_refuses(struct call *c, unsigned fds)
{
	for (int i = 0; fds != 0; i++, fds >>= 1)
		if ((fds & 1) != 0 && fdguard_ours(c->a[i])) {
			call_done(c, -EBADF);
			return true;
		}
	return false;
}

/* The new number is ours: take another. */
void sys_dup2(struct call *c)
{
	for (int i = 0; i < GUEST_FDS; i++) {
		if (guest.proc.fd[i] < 0 || guest.proc.fd[i] != (int)c->a[1])
			continue;
		int n = fdguard_dup_high(guest.proc.fd[i], true);

		if (n < 0) {
			call_done(c, -EBADF);
			return;
		}
		raw1(SYS_close, guest.proc.fd[i]);
		guest.proc.fd[i] = n;
		guest.proc.fd_low = lowest();
	}
	call_pass(c);
}

/* In pieces around ours. Without one of ours inside the kernel may have it as it is. */
void sys_close_range(struct call *c)
{
	unsigned first = (unsigned)c->a[0], last = (unsigned)c->a[1];
	unsigned flags = (unsigned)c->a[2];
	bool inside = false;

	for (int i = 0; i < GUEST_FDS; i++)
		if (guest.proc.fd[i] >= 0 && (unsigned)guest.proc.fd[i] >= first &&
		    (unsigned)guest.proc.fd[i] <= last)
			inside = true;
	if (!inside || first > last) {
		call_pass(c);
		return;
	}
	for (;;) {
		unsigned stop = UINT_MAX; /* the lowest of ours from `first` on */
		int64_t ret = 0;

		for (int i = 0; i < GUEST_FDS; i++)
			if (guest.proc.fd[i] >= 0 && (unsigned)guest.proc.fd[i] >= first &&
			    (unsigned)guest.proc.fd[i] < stop)
				stop = (unsigned)guest.proc.fd[i];
		unsigned end = stop > last ? last : stop - 1;

		if (first < stop && first <= end)
			ret = raw3(SYS_close_range, first, end, flags);
		if (ret != 0 || stop >= last) {
			call_done(c, ret);
			return;
		}
		first = stop + 1;
	}
}
