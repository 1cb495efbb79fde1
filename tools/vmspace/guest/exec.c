// SPDX-License-Identifier: MIT
/*
 * exec.c: execve.
 *
 * The new program runs under vmspace again: our own program is executed with a command line that
 * tells it the rest. Everything that can go wrong with the guest's program is found out before,
 * where the call can still fail with the errno that Linux gives. The ELF file travels as an open
 * descriptor, so what was checked is what will run.
 *
 *	vmspace run --hand-over=SETTINGS EXECFN ARGV...
 *
 * Strings of the guest are never copied: the kernel reads them where they are.
 *
 * Invariant
 *	E1 Signals are all blocked across the real execve; the guest's mask is in SETTINGS.
 */
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define SCRIPT_LINE 256 /* bytes of a script that Linux looks at */
#ifndef SYS_faccessat2
#define SYS_faccessat2 439
#endif

/* ---- finding the program ---- */

/* Open for reading what may be executed, or the errno of execve. */
static int open_program(int dirfd, const char *path, int flags, struct stat *st)
{
	char by_fd[64];
	int64_t probe, fd;

	if (path[0] == 0 && (flags & AT_EMPTY_PATH) != 0)
		probe = raw3(SYS_fcntl, dirfd, F_DUPFD_CLOEXEC, 0);
	else
		probe = raw4(SYS_openat, dirfd, path,
			     O_PATH | O_CLOEXEC |
				     ((flags & AT_SYMLINK_NOFOLLOW) != 0 ? O_NOFOLLOW : 0),
			     0);
	if (probe < 0)
		return (int)probe;
	fd = raw2(SYS_fstat, probe, st);
	if (fd == 0 && S_ISLNK(st->st_mode))
		fd = -ELOOP;
	else if (fd == 0 && !S_ISREG(st->st_mode))
		fd = -EACCES;
	if (fd == 0)
		fd = raw4(SYS_faccessat2, probe, "", X_OK, AT_EMPTY_PATH | AT_EACCESS);
	if (fd == 0) {
		snprintf(by_fd, sizeof(by_fd), "/proc/self/fd/%d", (int)probe);
		fd = raw4(SYS_openat, AT_FDCWD, by_fd, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
		if (fd == -ENOENT && path[0] != 0) /* no /proc here */
			fd = raw4(SYS_openat, dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
		if (fd == -EACCES)
			say("%s may be executed but not read: vmspace cannot load it", path);
	}
	raw1(SYS_close, probe);
	return (int)fd;
}

static bool has_privileges(int fd, const struct stat *st)
{
	char cap[64];

	if ((st->st_mode & S_ISUID) != 0 && st->st_uid != (uid_t)raw0(SYS_geteuid))
		return true;
	if ((st->st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) &&
	    st->st_gid != (gid_t)raw0(SYS_getegid))
		return true;
	return raw0(SYS_geteuid) != 0 &&
	       raw4(SYS_fgetxattr, fd, "security.capability", cap, sizeof(cap)) > 0;
}

/*
 * The line after `#!`: the interpreter, and everything after the first blank as one argument.
 * `line` holds SCRIPT_LINE bytes (a shorter file is padded with NULs) and is cut up in place.
 */
static int script_line(char *line, char **interp, char **arg)
{
	char *end = memchr(line + 2, '\n', SCRIPT_LINE - 2), *p = line + 2;
	bool cut = end == NULL && memchr(line + 2, 0, SCRIPT_LINE - 2) == NULL;

	if (end == NULL)
		end = line + strnlen(line, SCRIPT_LINE - 1); /* the last byte does not count */
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	if (p == end)
		return -ENOEXEC;
	char *word = p;

	while (p < end && *p != ' ' && *p != '\t' && *p != 0)
		p++;
	if (p == end && cut)
		return -ENOEXEC; /* the name itself may be cut */
	while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*interp = word;
	*end = 0;
	*arg = NULL;
	if (p < end) {
		*p++ = 0;
		while (p < end && (*p == ' ' || *p == '\t'))
			p++;
		if (*p != 0)
			*arg = p;
	}
	return 0;
}

/* Put `#!` words in front: interpreter, argument, script. */
static void add_script(struct program *p, const char *interp, const char *arg, const char *script)
{
	int add = arg != NULL ? 2 : 1;

	if (p->nextra == 0)
		p->extra[p->nextra++] = script;
	memmove(p->extra + add, p->extra, (size_t)p->nextra * sizeof(p->extra[0]));
	p->extra[0] = interp;
	if (arg != NULL)
		p->extra[1] = arg;
	p->nextra += add;
}

int program_find(int dirfd, const char *path, int flags, struct program *p)
{
	const char *reason;
	struct stat st;

	p->nextra = 0;
	p->reason = NULL;
	p->privileged = false;
	for (int level = 0;; level++) {
		char line[SCRIPT_LINE + 1] = "", *interp, *arg;
		char *script = p->text[level < PROGRAM_DEPTH ? level : 0];
		int fd = open_program(dirfd, path, flags, &st);

		if (fd < 0) {
			p->reason = level > 0 ? "the interpreter in its first line cannot be opened"
					      : NULL;
			return fd;
		}
		p->own = st.st_dev == guest.self_dev && st.st_ino == guest.self_ino;
		p->privileged |= has_privileges(fd, &st);
		if (p->own) {
			p->fd = fd;
			return 0;
		}
		int64_t n = raw4(SYS_pread64, fd, line, SCRIPT_LINE, 0);

		if (n < 2 || line[0] != '#' || line[1] != '!') {
			char elf_interp[PATH_MAX] = "";
			int ret = image_check(fd, &reason, elf_interp, sizeof(elf_interp));

			if (ret == 0 && elf_interp[0] != 0) {
				int ifd = open_program(AT_FDCWD, elf_interp, 0, &st);

				ret = ifd < 0 ? ifd : image_check(ifd, &reason, NULL, 0);
				if (ret == -ENOEXEC)
					ret = -ELIBBAD;
				if (ifd >= 0)
					raw1(SYS_close, ifd);
				else
					reason = "its interpreter cannot be opened";
			}
			if (ret != 0) {
				raw1(SYS_close, fd);
				p->reason = reason;
				return ret;
			}
			p->fd = fd;
			return 0;
		}
		raw1(SYS_close, fd);
		p->reason = "its first line names no interpreter";
		int ret = script_line(line, &interp, &arg);

		if (ret != 0)
			return ret;
		if (level == PROGRAM_DEPTH)
			return -ELOOP;
		/* Keep the words: "path\0interp\0arg\0" in this level's text. */
		size_t n1 = strlen(path) + 1, n2 = strlen(interp) + 1;

		if (level == 0 && dirfd != AT_FDCWD && path[0] != '/') {
			/* The script is reached by descriptor: the interpreter must be able to. */
			if (path[0] == 0)
				snprintf(script, PATH_MAX, "/dev/fd/%d", dirfd);
			else
				snprintf(script, PATH_MAX, "/dev/fd/%d/%.4000s", dirfd, path);
			if ((raw2(SYS_fcntl, dirfd, F_GETFD) & FD_CLOEXEC) != 0)
				return -ENOENT;
			n1 = strlen(script) + 1;
		} else {
			memcpy(script, path, n1);
		}
		memcpy(script + n1, interp, n2);
		if (arg != NULL)
			strcpy(script + n1 + n2, arg);
		add_script(p, script + n1, arg != NULL ? script + n1 + n2 : NULL, script);
		path = script + n1;
		dirfd = AT_FDCWD;
		flags = 0;
	}
}

/* ---- handing over ---- */

static void handover_format(char *text, size_t size, const struct handover *h)
{
	snprintf(text, size, HANDOVER_OPTION "%d,%llx,%d,%d,%llx,%d,%d,%d,%d,%s", h->exe_fd,
		 (unsigned long long)h->mask, h->sys_masked, h->sys_ignored,
		 (unsigned long long)h->opts.page_size, h->opts.maps, h->opts.stats, h->opts.child,
		 h->fresh, h->opts.trace != NULL ? h->opts.trace : "");
}

int handover_parse(const char *text, struct handover *h)
{
	int masked, ignored, maps, stats, child, fresh, at = 0;
	unsigned long long mask, page;

	if (sscanf(text, "%d,%llx,%d,%d,%llx,%d,%d,%d,%d,%n", &h->exe_fd, &mask, &masked, &ignored,
		   &page, &maps, &stats, &child, &fresh, &at) < 9 ||
	    at == 0 || page < HOST_PAGE || page > MAX_PAGE || (page & (page - 1)) != 0)
		return -EINVAL;
	h->mask = mask;
	h->sys_masked = masked != 0;
	h->sys_ignored = ignored != 0;
	h->opts.page_size = page;
	h->opts.maps = maps != 0;
	h->opts.stats = stats != 0;
	h->opts.child = child != 0;
	h->fresh = fresh != 0;
	h->opts.trace = text[at] != 0 ? text + at : NULL;
	return 0;
}

/* ---- the calls ---- */

/*
 * The pointers of the new command line, grown as needed and kept: an execve that succeeds in a
 * vforked child must not leak into the parent's memory each time.
 */
static uint64_t *words;
static size_t words_room;

static bool words_fit(size_t n)
{
	if (n <= words_room)
		return true;
	size_t room = n + n / 2 + 64;

	shared_enter();
	uint64_t *more = realloc(words, room * sizeof(words[0]));

	if (more != NULL) {
		words = more;
		words_room = room;
	}
	shared_leave();
	return more != NULL;
}

static struct program found;

/* Append the guest's argv from `from` on; the new length or a negative errno. */
static int64_t add_argv(size_t n, uint64_t argv, size_t from)
{
	for (size_t i = 0;; i++) {
		uint64_t p;

		if (argv == 0)
			p = 0;
		else if (user_read(&p, argv + i * 8, 8) != 0)
			return -EFAULT;
		if (p == 0 && i == 0) /* Linux gives a program at least an empty argv[0] */
			p = (uint64_t) "", argv = 0;
		else if (p == 0)
			break;
		if (n + 2 > 4u << 20)
			return -E2BIG;
		if (!words_fit(n + 2))
			return -ENOMEM;
		if (i >= from)
			words[n++] = p;
		if (argv == 0)
			break;
	}
	words[n] = 0;
	return (int64_t)n;
}

static void exec(struct call *c, int dirfd, uint64_t path_ptr, uint64_t argv, uint64_t envp,
		 int flags)
{
	static char path[PATH_MAX], execfn[PATH_MAX], settings[2 * PATH_MAX + 256];
	int64_t ret = user_str(path, path_ptr, sizeof(path));

	if (ret < 0) {
		call_done(c, ret);
		return;
	}
	if (path[0] == 0 && (flags & AT_EMPTY_PATH) == 0) {
		call_done(c, -ENOENT);
		return;
	}
	if (procfs_is_exe_name(path))
		strcpy(path, guest.exe);
	fdguard_room_begin();
	ret = program_find(dirfd, path, flags, &found);
	fdguard_room_end();
	if (ret < 0) {
		call_done(c, ret);
		return;
	}
	if (found.own) { /* vmspace itself, by its own name: it needs no vmspace around it */
		raw1(SYS_close, found.fd);
		call_pass(c);
		return;
	}
	if (found.privileged)
		say("%s would run with privileges of its file; under vmspace it runs without",
		    path);
	if (dirfd == AT_FDCWD || path[0] == '/')
		strcpy(execfn, path);
	else
		snprintf(execfn, sizeof(execfn), path[0] != 0 ? "/dev/fd/%d/%s" : "/dev/fd/%d",
			 dirfd, path);

	struct handover h = {
		.mask = *uc_mask(c->uc),
		.sys_masked = guest.proc.sys_masked,
		.sys_ignored = guest.proc.act[SIGSYS].handler == 1,
		.opts = guest.opts,
		.fresh = process_in_vfork(),
	};

	h.opts.child |= h.fresh;
	h.exe_fd = fdguard_dup_high(found.fd, false); /* open across the exec */
	raw1(SYS_close, found.fd);
	if (h.exe_fd < 0) {
		call_done(c, h.exe_fd);
		return;
	}
	handover_format(settings, sizeof(settings), &h);
	size_t n = 0;

	ret = -ENOMEM;
	if (words_fit(16)) {
		words[n++] = (uint64_t) "vmspace";
		words[n++] = (uint64_t) "run";
		words[n++] = (uint64_t)settings;
		words[n++] = (uint64_t)execfn;
		for (int i = 0; i < found.nextra; i++)
			words[n++] = (uint64_t)found.extra[i];
		ret = add_argv(n, argv, found.nextra > 0 ? 1 : 0);
	}
	if (ret >= 0 && !process_in_vfork())
		check_maps_agree();
	if (ret >= 0)
		ret = raw5(SYS_execveat, guest.proc.fd[FD_SELF], "", words, envp, AT_EMPTY_PATH);
	raw1(SYS_close, h.exe_fd);
	call_done(c, ret);
}

void sys_execve(struct call *c)
{
	exec(c, AT_FDCWD, c->a[0], c->a[1], c->a[2], 0);
}

void sys_execveat(struct call *c)
{
	int flags = (int)c->a[4];

	if ((flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) != 0) {
		call_done(c, -EINVAL);
		return;
	}
	exec(c, (int)c->a[0], c->a[1], c->a[2], c->a[3], flags);
}
