// SPDX-License-Identifier: MIT
/*
 * replay.c: `vmspace replay`: recorded memory calls on the engine, compared call by call and block
 * by block with what the kernel did.
 *
 * The engine runs with the recording backend, so nothing of the traced program is needed. Two ways
 * to place what the kernel placed by itself:
 *
 *	forced	at the recorded address, which must be free
 *	free	by the engine's own rule, which must find the same address
 *
 * Terms and rules
 * 1. Files are not recorded, only descriptor numbers. A mapping of offset 0 that is not fixed, or a
 *    number not seen before, is taken for a file of its own (an endless memfd); later mappings of
 *    the number for the same one. Where two pieces of files meet, the kernel's merging cannot be
 *    known, so in both maps neighbours of equal rights and consecutive offsets are joined before
 *    comparing.
 * 2. [stack] grows without a call. When a block shows it lower, the engine is told of an access
 *    there and must come to the same start.
 * 3. A call that failed for a reason that lies in the file (EACCES, EBADF, ...) cannot be repeated;
 *    it is counted as skipped.
 * 4. First touches of memory are not recorded either. Two touched anonymous regions that meet stay
 *    two in the kernel; untouched ones are one. So anonymous neighbours are joined like files.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <vmspace/mman.h>

#include "command.h"
#include "tracefile.h"

#define TASK_SIZE 0x7ffffffff000ul
#define ENDLESS	  (1l << 46) /* bytes of a file that stands for a recorded one */
#define FILES	  4096

struct replay {
	bool forced;
	uint64_t mmap_base;
	struct vms_mm *mm;
	struct trace_maps maps; /* the engine's, of the last look */
	struct trace_maps joined[2];
	int fd_of[FILES]; /* our memfd for a recorded descriptor, 0: none yet */
	int *memfds;	  /* all of this image */
	size_t n_memfds;
	/* figures */
	unsigned images, calls, blocks, skipped;
	const char *broken; /* why it cannot go on */
	char why[256];
};

/* ---- files ---- */

static int new_file(struct replay *r)
{
	int *grown = realloc(r->memfds, (r->n_memfds + 1) * sizeof(*grown));
	int fd;

	if (grown == NULL) {
		return -ENOMEM;
	}
	r->memfds = grown;
	fd = memfd_create("replay", MFD_CLOEXEC);
	if (fd < 0) {
		return -errno;
	}
	if (ftruncate(fd, ENDLESS) != 0) {
		close(fd);
		return -errno;
	}
	r->memfds[r->n_memfds++] = fd;
	return fd;
}

/* (rule 1) */
static int file_for(struct replay *r, const struct trace_call *c)
{
	uint32_t number = (uint32_t)c->a[4];
	bool fresh = c->a[5] == 0 && !(c->a[3] & (MAP_FIXED | MAP_FIXED_NOREPLACE));

	if (number >= FILES) {
		return new_file(r);
	}
	if (fresh || r->fd_of[number] == 0) {
		int fd = new_file(r);

		if (fd < 0) {
			return fd;
		}
		r->fd_of[number] = fd;
	}
	return r->fd_of[number];
}

static void drop_image(struct replay *r)
{
	vms_mm_destroy(r->mm);
	r->mm = NULL;
	for (size_t i = 0; i < r->n_memfds; i++) {
		close(r->memfds[i]);
	}
	r->n_memfds = 0;
	memset(r->fd_of, 0, sizeof(r->fd_of));
}

static int cannot(struct replay *r, const char *what, const char *reason)
{
	snprintf(r->why, sizeof(r->why), "%s: %s", what, reason);
	r->broken = r->why;
	return -1;
}

/* ---- an image's start ---- */

static int fill_policy(struct replay *r, struct vms_mm_policy *p)
{
	struct statfs sfs;
	int fd;

	vms_mm_policy_host(p);
	p->flags = VMS_MM_OVERCOMMIT;
	p->page_size = 4096;
	p->task_size = TASK_SIZE;
	p->mmap_base = r->mmap_base;
	p->huge_size = 2ul << 20;
	p->max_map_count = 1u << 30;
	for (int i = 0; i < VMS_MM_LIMITS; i++) {
		p->limit[i].soft = p->limit[i].hard = VMS_LIMIT_INFINITY;
	}
	/* The recorded files lay on a file system with large-page placement; ours stand for them.
	 */
	fd = new_file(r);
	if (fd < 0 || fstatfs(fd, &sfs) != 0) {
		return cannot(r, "memfd", strerror(errno));
	}
	memset(p->huge_fs, 0, sizeof(p->huge_fs));
	p->huge_fs[0] = (uint64_t)sfs.f_type;
	return 0;
}

static unsigned prot_of(const char *perms)
{
	return (perms[0] == 'r' ? VMS_PROT_READ : 0) | (perms[1] == 'w' ? VMS_PROT_WRITE : 0) |
	       (perms[2] == 'x' ? VMS_PROT_EXEC : 0);
}

/* A recording may begin with a heap (a forked child's). Pieces of it come by address. */
static int enter_heap(struct replay *r, const struct trace_map *m)
{
	struct vms_mm_info info = {.size = sizeof(info)};
	uint64_t len = m->end - m->start;

	vms_mm_info(r->mm, &info);
	if (info.brk_start == 0 && vms_mm_set_brk(r->mm, m->start) != 0) {
		return cannot(r, "[heap]", vms_last_error());
	}
	if (vms_brk(r->mm, m->end) != (int64_t)m->end ||
	    vms_mprotect(r->mm, m->start, len, prot_of(m->perms)) != 0) {
		return cannot(r, "[heap]", "it does not go where the block has it");
	}
	return 0;
}

static int enter_map(struct replay *r, const struct trace_map *m)
{
	uint64_t len = m->end - m->start, flags = MAP_FIXED_NOREPLACE;
	int64_t got;
	int fd = -1;

	if (strcmp(m->what, "[heap]") == 0) {
		return enter_heap(r, m);
	}
	if (strcmp(m->what, "[stack]") == 0) {
		flags |= MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN;
	} else if (strcmp(m->what, "-") == 0) {
		flags |= MAP_PRIVATE | MAP_ANONYMOUS;
	} else if (m->what[0] == '[') {
		if (vms_mm_foreign(r->mm, m->start, len, prot_of(m->perms), VMS_MM_FOREIGN_WHOLE,
				   m->what) != 0) {
			return cannot(r, m->what, vms_last_error());
		}
		return 0;
	} else {
		/* One file for the whole start: neighbours of one program lie in one file. */
		flags |= m->perms[3] == 's' ? MAP_SHARED : MAP_PRIVATE;
		fd = r->memfds[0];
	}
	got = vms_mmap(r->mm, m->start, len, prot_of(m->perms), flags, fd, fd < 0 ? 0 : m->off);
	if (got != (int64_t)m->start) {
		return cannot(r, "the first block of maps cannot be entered", strerror((int)-got));
	}
	if (strcmp(m->what, "[stack]") == 0) {
		vms_mm_set_stack(r->mm, m->end - 1);
	}
	return 0;
}

static int start_image(struct replay *r, const struct trace_maps *maps)
{
	struct vms_mm_policy policy = {.size = sizeof(policy)};
	struct vms_mmu *mmu;
	int err;

	drop_image(r);
	r->images++;
	if (fill_policy(r, &policy) != 0) {
		return -1;
	}
	err = vms_mmu_record(&mmu);
	if (err == 0) {
		err = vms_mm_create(&policy, mmu, &r->mm);
		vms_mmu_unref(mmu);
	}
	if (err != 0) {
		return cannot(r, "engine", vms_last_error());
	}
	for (size_t i = 0; i < maps->n; i++) {
		/* What lies above user space, such as [vsyscall], belongs to no call. */
		if (maps->map[i].end <= TASK_SIZE && enter_map(r, &maps->map[i]) != 0) {
			return -1;
		}
	}
	return 0;
}

/* ---- calls ---- */

/*
 * Only the first brk tells where the heap begins; and where exactly it ends, if the first block
 * held it: the maps show whole pages.
 */
static int64_t replay_brk(struct replay *r, const struct trace_call *c)
{
	struct vms_mm_info info = {.size = sizeof(info)};
	uint64_t then = (uint64_t)c->ret;

	vms_mm_info(r->mm, &info);
	if (c->a[0] < info.brk_start && then < info.brk && info.brk - then < UINT64_C(4096)) {
		vms_brk(r->mm, then);
	}
	if (info.brk_start == 0 && vms_mm_set_brk(r->mm, (uint64_t)c->ret) != 0) {
		cannot(r, "brk", vms_last_error());
		return 0;
	}
	return vms_brk(r->mm, c->a[0]);
}

static int64_t replay_mmap(struct replay *r, const struct trace_call *c)
{
	uint64_t addr = c->a[0], flags = c->a[3];
	int fd = flags & MAP_ANONYMOUS ? -1 : file_for(r, c);

	if (fd < 0 && !(flags & MAP_ANONYMOUS)) {
		cannot(r, "memfd", strerror(-fd));
		return 0;
	}
	if (r->forced && !trace_is_error(c->ret) && !(flags & MAP_FIXED)) {
		addr = (uint64_t)c->ret;
		flags |= MAP_FIXED_NOREPLACE;
	}
	return vms_mmap(r->mm, addr, c->a[1], c->a[2], flags, fd, c->a[5]);
}

static int64_t replay_mremap(struct replay *r, const struct trace_call *c)
{
	uint64_t flags = c->a[3], to = c->a[4];

	if (r->forced && (uint64_t)c->ret != c->a[0] && !trace_is_error(c->ret)) {
		flags |= MREMAP_FIXED;
		to = (uint64_t)c->ret;
	}
	return vms_mremap(r->mm, c->a[0], c->a[1], c->a[2], flags, to);
}

static int64_t two(int64_t (*call)(struct vms_mm *, uint64_t, uint64_t), struct replay *r,
		   const struct trace_call *c)
{
	return call(r->mm, c->a[0], c->a[1]);
}

/* (rule 3) */
static bool lies_in_the_file(const struct trace_call *c)
{
	switch (-c->ret) {
	case EACCES:
	case EBADF:
	case ENODEV:
	case EPERM:
	case EOVERFLOW:
	case EOPNOTSUPP:
		return true;
	default:
		return false;
	}
}

/* The engine's answer; false: this call cannot be repeated, *known says whether we know the name.
 */
static bool perform(struct replay *r, const struct trace_call *c, int64_t *got, bool *known)
{
	const char *name = c->name;

	*known = true;
	if (strcmp(name, "mmap") == 0) {
		if (!(c->a[3] & MAP_ANONYMOUS) && lies_in_the_file(c)) {
			return false;
		}
		*got = replay_mmap(r, c);
	} else if (strcmp(name, "munmap") == 0) {
		*got = two(vms_munmap, r, c);
	} else if (strcmp(name, "mprotect") == 0) {
		if (c->ret == -EACCES) {
			return false;
		}
		*got = vms_mprotect(r->mm, c->a[0], c->a[1], c->a[2]);
	} else if (strcmp(name, "mremap") == 0) {
		*got = replay_mremap(r, c);
	} else if (strcmp(name, "brk") == 0) {
		*got = replay_brk(r, c);
	} else if (strcmp(name, "madvise") == 0) {
		*got = vms_madvise(r->mm, c->a[0], c->a[1], (int)c->a[2]);
	} else if (strcmp(name, "mlock") == 0) {
		*got = two(vms_mlock, r, c);
	} else if (strcmp(name, "mlock2") == 0) {
		*got = vms_mlock2(r->mm, c->a[0], c->a[1], (int)c->a[2]);
	} else if (strcmp(name, "munlock") == 0) {
		*got = two(vms_munlock, r, c);
	} else if (strcmp(name, "mlockall") == 0) {
		*got = vms_mlockall(r->mm, (int)c->a[0]);
	} else if (strcmp(name, "munlockall") == 0) {
		*got = vms_munlockall(r->mm);
	} else if (strcmp(name, "mseal") == 0) {
		*got = vms_mseal(r->mm, c->a[0], c->a[1], c->a[2]);
	} else {
		*known = false;
		return false;
	}
	return true;
}

/* ---- the maps ---- */

static int look(struct replay *r)
{
	struct vms_mm_region region = {.size = sizeof(region)};
	uint64_t cursor = 0;

	r->maps.n = 0;
	while (vms_mm_next(r->mm, &cursor, &region) == 0) {
		struct trace_map *m = trace_maps_add(&r->maps);

		if (m == NULL) {
			return cannot(r, "maps", "no memory");
		}
		m->start = region.start;
		m->end = region.end;
		m->off = region.off;
		snprintf(m->perms, sizeof(m->perms), "%c%c%c%c",
			 region.prot & VMS_PROT_READ ? 'r' : '-',
			 region.prot & VMS_PROT_WRITE ? 'w' : '-',
			 region.prot & VMS_PROT_EXEC ? 'x' : '-',
			 region.flags & VMS_MM_SHARED ? 's' : 'p');
		if (region.flags & VMS_MM_HEAP) {
			strcpy(m->what, "[heap]");
		} else if (region.flags & VMS_MM_STACK) {
			strcpy(m->what, "[stack]");
		} else if (region.flags & VMS_MM_FOREIGN) {
			snprintf(m->what, sizeof(m->what), "%.31s", region.name);
		} else if (region.flags & VMS_MM_ANON && !(region.flags & VMS_MM_SHARED)) {
			strcpy(m->what, "-");
		} else {
			strcpy(m->what, "file");
		}
	}
	return 0;
}

/* (rules 1 and 4) */
static bool joins(const struct trace_map *a, const struct trace_map *b)
{
	bool file = strcmp(a->what, "file") == 0;

	return a->end == b->start && strcmp(a->what, b->what) == 0 &&
	       strcmp(a->perms, b->perms) == 0 &&
	       (file ? a->off + (a->end - a->start) == b->off
		     : a->what[0] == '-' || strcmp(a->what, "[heap]") == 0);
}

static int join(const struct trace_maps *in, struct trace_maps *out)
{
	out->n = 0;
	for (size_t i = 0; i < in->n; i++) {
		struct trace_map *last = out->n > 0 ? &out->map[out->n - 1] : NULL;

		if (in->map[i].end > TASK_SIZE) {
			continue;
		}
		if (last != NULL && joins(last, &in->map[i])) {
			last->end = in->map[i].end;
			continue;
		}
		last = trace_maps_add(out);
		if (last == NULL) {
			return -ENOMEM;
		}
		*last = in->map[i];
	}
	return 0;
}

/* (rule 2) */
static void grow_stack(struct replay *r, const struct trace_maps *maps)
{
	for (size_t i = 0; i < maps->n; i++) {
		if (strcmp(maps->map[i].what, "[stack]") == 0) {
			vms_mm_fault(r->mm, maps->map[i].start, VMS_PROT_READ);
		}
	}
}

/* 1: the block differs from the engine's maps. */
static int compare_block(struct replay *r, const struct trace_maps *maps)
{
	grow_stack(r, maps);
	if (look(r) != 0) {
		return -1;
	}
	if (join(maps, &r->joined[0]) != 0 || join(&r->maps, &r->joined[1]) != 0) {
		return cannot(r, "maps", "no memory");
	}
	r->blocks++;
	return r->joined[0].n != r->joined[1].n ||
	       (r->joined[0].n != 0 && memcmp(r->joined[0].map, r->joined[1].map,
					      r->joined[0].n * sizeof(*r->joined[0].map)) != 0);
}

/* ---- one run over the file ---- */

static void tell_call(const struct trace_reader *t, int64_t got, FILE *out)
{
	struct trace_call engine = t->call;

	engine.ret = got;
	fprintf(out, "line %u: the answers differ\n  kernel: ", t->line);
	trace_write_call(out, &t->call);
	fputs("  engine: ", out);
	trace_write_call(out, &engine);
}

static void tell_maps(struct replay *r, const struct trace_maps *kernel, FILE *out)
{
	if (look(r) != 0 || join(kernel, &r->joined[0]) != 0 ||
	    join(&r->maps, &r->joined[1]) != 0) {
		return;
	}
	fprintf(out, "  kernel's maps:\n");
	trace_maps_print(out, &r->joined[0], &r->joined[1]);
	fprintf(out, "  engine's maps:\n");
	trace_maps_print(out, &r->joined[1], &r->joined[0]);
}

/* 0 no difference, 1 a difference (told on `out`), -1 r->broken says why. */
static int run(struct replay *r, struct trace_reader *t, FILE *out)
{
	for (;;) {
		enum trace_event event = trace_next(t);
		int64_t got = 0;
		bool known;
		int differs;

		switch (event) {
		case TRACE_END:
			return r->images == 0 ? cannot(r, "trace", "it has no maps to start from")
					      : 0;
		case TRACE_ERROR:
			r->broken = t->why;
			return -1;
		case TRACE_BLOCK:
			if (t->image || r->mm == NULL) {
				if (start_image(r, &t->maps) != 0) {
					return -1;
				}
			}
			differs = compare_block(r, &t->maps);
			if (differs > 0) {
				fprintf(out, "line %u: the maps differ\n", t->line);
				tell_maps(r, &t->maps, out);
			}
			if (differs != 0) {
				return differs;
			}
			break;
		case TRACE_CALL:
			if (r->mm == NULL) {
				return cannot(r, "trace",
					      "a call stands before the first block of maps");
			}
			if (!perform(r, &t->call, &got, &known)) {
				if (!known) {
					snprintf(r->why, sizeof(r->why),
						 "line %u: there is no replay of '%s'", t->line,
						 t->call.name);
					r->broken = r->why;
					return -1;
				}
				r->skipped++;
				break;
			}
			if (r->broken != NULL) {
				return -1;
			}
			r->calls++;
			if (got != t->call.ret) {
				tell_call(t, got, out);
				fprintf(out, "  (the kernel's maps are those of the last block)\n");
				tell_maps(r, &t->maps, out);
				return 1;
			}
			break;
		}
	}
}

/* ---- the command ---- */

static void usage(FILE *out)
{
	fputs("usage: vmspace replay [--forced | --free] [--mmap-base ADDRESS] [--json] FILE...\n\n"
	      "Repeat recorded memory calls on the engine and compare every answer and all maps.\n"
	      "  --forced     place what the kernel placed at the recorded address\n"
	      "  --free       place it by the engine's own rule; default: both, one after the "
	      "other\n"
	      "  --mmap-base  where placement starts (default 7ffff7fff000)\n"
	      "  --json       a summary for programs\n"
	      "Status: 0 no difference, 1 a difference, 2 the file cannot be replayed.\n",
	      out);
}

/* A string of JSON. */
static void print_quoted(const char *s)
{
	putchar('"');
	for (; *s != '\0'; s++) {
		if (*s == '"' || *s == '\\')
			printf("\\%c", *s);
		else if ((unsigned char)*s < ' ')
			printf("\\u%04x", (unsigned)*s);
		else
			putchar(*s);
	}
	putchar('"');
}

/* One file in one mode: the exit status. */
static int replay_file(const char *path, bool forced, uint64_t base, bool json, const char *comma)
{
	struct replay r = {.forced = forced, .mmap_base = base};
	const char *mode = forced ? "forced" : "free";
	struct trace_reader t;
	FILE *in = fopen(path, "re");
	int result;

	if (in == NULL) {
		fprintf(stderr, "vmspace replay: %s: %s\n", path, strerror(errno));
		return STATUS_USAGE;
	}
	trace_reader_init(&t, in);
	result = run(&r, &t, json ? stderr : stdout);
	if (json) {
		printf("%s\n{\"file\":", comma);
		print_quoted(path);
		printf(",\"mode\":\"%s\",\"images\":%u,\"calls\":%u,\"blocks\":%u,\"skipped\":%u,"
		       "\"differences\":%d,\"status\":%d}",
		       mode, r.images, r.calls, r.blocks, r.skipped, result == 1,
		       result < 0 ? STATUS_USAGE : result);
	} else if (result >= 0) {
		printf("%s: %s: %u images, %u calls, %u blocks of maps%s: %s\n", path, mode,
		       r.images, r.calls, r.blocks, r.skipped != 0 ? ", some skipped" : "",
		       result == 0 ? "no difference" : "a difference");
	}
	if (result < 0) {
		fprintf(stderr, "vmspace replay: %s: %s\n", path, r.broken);
	}
	drop_image(&r);
	free(r.memfds);
	trace_maps_free(&r.maps);
	trace_maps_free(&r.joined[0]);
	trace_maps_free(&r.joined[1]);
	trace_reader_fini(&t);
	fclose(in);
	return result < 0 ? STATUS_USAGE : result;
}

/* Each recorded file is a descriptor of ours. */
static void raise_descriptors(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}

int cmd_replay(int argc, char **argv)
{
	static const struct option options[] = {
		{"forced", no_argument, NULL, 'f'}, {"free", no_argument, NULL, 'r'},
		{"json", no_argument, NULL, 'j'},   {"mmap-base", required_argument, NULL, 'b'},
		{"help", no_argument, NULL, 'h'},   {NULL, 0, NULL, 0},
	};
	bool forced = true, free_too = true, json = false;
	uint64_t base = 0x7ffff7fff000ul;
	const char *comma = "";
	char *end;
	int c, status = 0;

	optind = 1;
	while ((c = getopt_long(argc, argv, "+", options, NULL)) >= 0) {
		switch (c) {
		case 'f':
			free_too = false;
			break;
		case 'r':
			forced = false;
			break;
		case 'j':
			json = true;
			break;
		case 'b':
			base = strtoull(optarg, &end, 16);
			if (*end != '\0' || base % 4096 != 0 || base == 0 || base > TASK_SIZE) {
				fprintf(stderr, "vmspace replay: '%s' is no page's address\n",
					optarg);
				return STATUS_USAGE;
			}
			break;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return STATUS_USAGE;
		}
	}
	if (optind == argc || (!forced && !free_too)) {
		usage(stderr);
		return STATUS_USAGE;
	}
	raise_descriptors();
	if (json) {
		printf("[");
	}
	for (int i = optind; i < argc; i++) {
		for (int mode = 0; mode < 2; mode++) {
			int s;

			if (mode == 0 ? !forced : !free_too) {
				continue;
			}
			s = replay_file(argv[i], mode == 0, base, json, comma);
			comma = ",";
			status = s > status ? s : status;
		}
	}
	if (json) {
		printf("\n]\n");
	}
	return status;
}
