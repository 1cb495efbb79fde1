// SPDX-License-Identifier: MIT
/*
 * fileset.c: the files that the operations map (op.h: enum file_role).
 *
 * The first 8 bytes of every page tell the file and the page, so that a wrong page shows.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "side.h"

#define RW_PAGES     64u
#define RW_TAIL	     100u /* in the last 4 KiB of the guest page after them */
#define MEMFD_PAGES  32u
#define SEALED_PAGES 8u
#define BIG_SIZE     (32ul << 20)

static int place(struct fileset *fs, enum file_role role, int fd)
{
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0) {
		return -1;
	}
	if (dup2(fd, fs->base + (int)role) < 0) {
		return -1;
	}
	close(fd);
	fs->ino[role] = st.st_ino;
	fs->dev[role] = st.st_dev;
	return 0;
}

static int fill(int fd, uint64_t tag, unsigned pages, unsigned tail)
{
	uint64_t page[512];

	if (ftruncate(fd, (off_t)pages * 4096 + tail) != 0) {
		return -1;
	}
	for (unsigned i = 0; i < pages; i++) {
		memset(page, 0, sizeof(page));
		page[0] = tag << 32 | i;
		if (pwrite(fd, page, sizeof(page), (off_t)i * 4096) != (ssize_t)sizeof(page)) {
			return -1;
		}
	}
	return 0;
}

int fileset_reset(struct fileset *fs)
{
	/* Truncation first: what a test left behind, punched or written, goes. */
	int memfd = fs->base + FILE_MEMFD, rw = fs->base + FILE_RW;
	unsigned tail = (unsigned)fs->page - 4096 + RW_TAIL;

	if (ftruncate(memfd, 0) != 0 || fill(memfd, 0xfd, MEMFD_PAGES, 0) != 0 ||
	    ftruncate(rw, 0) != 0 || fill(rw, 0xf1, RW_PAGES, tail) != 0 ||
	    ftruncate(fs->base + FILE_BIG, 0) != 0 ||
	    ftruncate(fs->base + FILE_BIG, (off_t)BIG_SIZE) != 0) {
		return -1;
	}
	return 0;
}

static int open_all(struct fileset *fs)
{
	char rw[] = "/var/tmp/vmspace-diff-XXXXXX", big[] = "/var/tmp/vmspace-diff-XXXXXX";
	char empty[] = "/var/tmp/vmspace-diff-XXXXXX";
	unsigned sealed = SEALED_PAGES * 4096 < fs->page ? (unsigned)fs->page / 4096 : SEALED_PAGES;
	int fd = mkstemp(rw), pipes[2], r = -1;
	struct statfs sfs;

	if (fd < 0) {
		return -1;
	}
	if (fstatfs(fd, &sfs) != 0) {
		goto out;
	}
	fs->disk_type = (unsigned long)sfs.f_type;
	/* Others may read it too: the bare child has another user id. */
	if (fchmod(fd, 0666) != 0 || place(fs, FILE_RW, fd) != 0 ||
	    place(fs, FILE_RW_AGAIN, open(rw, O_RDWR)) != 0 ||
	    place(fs, FILE_RW_DUP, dup(fs->base + FILE_RW)) != 0 ||
	    place(fs, FILE_RO, open(rw, O_RDONLY)) != 0 ||
	    place(fs, FILE_WO, open(rw, O_WRONLY)) != 0 ||
	    place(fs, FILE_PATH, open(rw, O_PATH)) != 0) {
		goto out;
	}
	fd = mkstemp(big);
	if (fd < 0) {
		goto out;
	}
	unlink(big);
	if (place(fs, FILE_BIG, fd) != 0) {
		goto out;
	}
	fd = mkstemp(empty);
	if (fd < 0) {
		goto out;
	}
	unlink(empty);
	if (place(fs, FILE_EMPTY, fd) != 0 || place(fs, FILE_MEMFD, memfd_create("diff", 0)) != 0) {
		goto out;
	}
	fd = memfd_create("diff-sealed", MFD_ALLOW_SEALING);
	if (fd < 0 || fill(fd, 0x5e, sealed, 0) != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) != 0 ||
	    place(fs, FILE_SEALED, fd) != 0) {
		goto out;
	}
	if (pipe(pipes) != 0) {
		goto out;
	}
	close(pipes[1]);
	if (place(fs, FILE_PIPE, pipes[0]) != 0 || place(fs, FILE_DIR, open("/", O_RDONLY)) != 0 ||
	    place(fs, FILE_NULL, open("/dev/null", O_RDWR)) != 0) {
		goto out;
	}
	close(fs->base + FILE_CLOSED);
	r = fileset_reset(fs);
out:
	unlink(rw);
	return r;
}

int fileset_open(struct fileset *fs, int base, uint64_t page, char *why, size_t size)
{
	memset(fs, 0, sizeof(*fs));
	fs->base = base;
	fs->page = page;
	if (open_all(fs) != 0) {
		snprintf(why, size, "files of the test: %s", strerror(errno));
		fileset_close(fs);
		return -1;
	}
	return 0;
}

void fileset_close(struct fileset *fs)
{
	for (int i = 0; i < FILE_ROLES; i++) {
		close(fs->base + i);
	}
}

int fileset_fd(const struct fileset *fs, uint64_t role)
{
	return role < FILE_ROLES ? fs->base + (int)role : -1;
}

uint16_t fileset_shows(const struct fileset *fs, uint64_t dev, uint64_t ino)
{
	for (unsigned i = 0; i < FILE_ROLES; i++) {
		if (ino != 0 && fs->ino[i] == ino && fs->dev[i] == dev) {
			return (uint16_t)(SHOWS_FILE + i);
		}
	}
	return SHOWS_OTHER;
}
