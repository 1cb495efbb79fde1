// SPDX-License-Identifier: MIT
/*
 * engine.c: libvmspace as a side (side.h), through its public headers alone.
 *
 * With the recording backend nothing is installed: a touch is vms_mm_fault(). With the host backend
 * guest addresses are addresses of this process: a touch loads or stores for real, and the engine
 * is asked about it too.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <vmspace/mman.h>

#include "side.h"

#define OWN_REGIONS 3 /* once filled: code, area, fill */

/* Answers to a touch that the kernel never gives: engine and host do not agree. */
#define DISAGREE_REFUSED (-10001) /* the engine refused what the host allowed */
#define DISAGREE_ALLOWED (-10002) /* the engine said otherwise than the host's signal */

struct engine {
	struct side side;
	const struct side *like;
	enum engine_backend backend;
	uint64_t page;
	struct fileset files;
	struct vms_mm *mm;
	struct rlimit hard[4]; /* by position in `resources` */
	unsigned char *vec;
	struct maps host, own, joined; /* see host_agrees() */
	bool fill;		       /* filled up to `left` more regions */
	uint64_t left;
	bool damaged;		       /* its own check failed: nothing more is asked of it */
};

static const struct {
	int host;
	enum vms_mm_resource guest;
} resources[4] = { { RLIMIT_AS, VMS_MM_LIMIT_AS },
		   { RLIMIT_DATA, VMS_MM_LIMIT_DATA },
		   { RLIMIT_STACK, VMS_MM_LIMIT_STACK },
		   { RLIMIT_MEMLOCK, VMS_MM_LIMIT_MEMLOCK } };

static int fail(struct engine *e, const char *what)
{
	snprintf(e->side.why, sizeof(e->side.why), "%s: %s", what, vms_last_error());
	return -1;
}

/*
 * Here the host lets regions grow by itself, and asks the limit of this process. Its limit on
 * locked memory is no use: the kernel forgets to give back some of what moves unlock.
 */
static void limit_growth(uint64_t soft)
{
	struct rlimit l;

	getrlimit(RLIMIT_STACK, &l);
	l.rlim_cur = soft;
	setrlimit(RLIMIT_STACK, &l);
}

/* Our own stack must not need to grow while the limit is low. */
static void grow_own_stack(void)
{
	volatile char room[1 << 20];

	for (size_t i = 0; i < sizeof(room); i += 4096) {
		room[i] = 0;
	}
}

/* ---- starting ---- */

static int make_mmu(struct engine *e, struct vms_mmu **mmu)
{
	struct vms_mmu_host_params p = { .size = sizeof(p),
					 .flags = VMS_MMU_REAL_HOLES,
					 .lo = 0,
					 .hi = WINDOW_END,
					 .page_size = e->page };

	return e->backend == ENGINE_RECORD ? vms_mmu_record(mmu) : vms_mmu_host(&p, mmu);
}

/*
 * Rules that can be made wrong: "gap", a page less below a growing region; "huge", no large-page
 * rule; "limit", a region more than there may be; "data", what grows is counted as data.
 */
static void fill_policy(struct engine *e, struct vms_mm_policy *p)
{
	if (e->backend == ENGINE_HOST) {
		limit_growth(8ul << 20);
	}
	vms_mm_policy_host(p);
	p->flags &= ~(VMS_MM_CAP_IPC_LOCK | VMS_MM_CAP_RAWIO);
	p->page_size = e->page;
	p->task_size = GUEST_TASK & -e->page;
	p->min_addr = (p->min_addr + e->page - 1) & -e->page;
	p->mmap_base = e->like->mmap_base;
	for (int i = 0; i < 4; i++) {
		p->limit[resources[i].guest].soft = e->hard[i].rlim_cur;
		p->limit[resources[i].guest].hard = e->hard[i].rlim_max;
	}
	p->limit[VMS_MM_LIMIT_STACK].soft = 8ul << 20;
	if (e->fill) {
		p->max_map_count = (uint32_t)e->left + OWN_REGIONS;
	}
	if (e->side.wrong != NULL && strcmp(e->side.wrong, "limit") == 0) {
		p->max_map_count++;
	}
	if (e->side.wrong != NULL && strcmp(e->side.wrong, "gap") == 0) {
		p->stack_gap -= e->page;
	}
	if (e->side.wrong != NULL && strcmp(e->side.wrong, "huge") == 0) {
		p->huge_size = 0;
	}
}

static int start(struct engine *e)
{
	struct vms_mm_policy policy = { .size = sizeof(policy) };
	struct vms_mmu *mmu;
	int r;

	/* A damaged engine may not even come to an end; its host regions are dropped for it. */
	if (!e->damaged) {
		vms_mm_destroy(e->mm);
	} else if (e->backend == ENGINE_HOST) {
		munmap(NULL, GUEST_CODE);
		munmap((void *)(GUEST_CODE + GUEST_CODE_SIZE),
		       WINDOW_END - GUEST_CODE - GUEST_CODE_SIZE);
	}
	e->mm = NULL;
	e->damaged = false;
	fill_policy(e, &policy);
	if (make_mmu(e, &mmu) != 0) {
		return fail(e, "backend");
	}
	r = vms_mm_create(&policy, mmu, &e->mm);
	vms_mmu_unref(mmu);
	if (r != 0) {
		return fail(e, "mm");
	}
	if (vms_mm_foreign(e->mm, GUEST_CODE, e->page, VMS_PROT_READ | VMS_PROT_EXEC,
			   VMS_MM_FOREIGN_FIXED, "code") != 0 ||
	    /* Read only: in the child it is shared, and so none of its data. */
	    vms_mm_foreign(e->mm, GUEST_AREA, GUEST_AREA_SIZE, VMS_PROT_READ, VMS_MM_FOREIGN_FIXED,
			   "area") != 0 ||
	    vms_mm_set_brk(e->mm, GUEST_BRK) != 0 ||
	    /* It is in the last 4 KiB, where nothing can be with larger pages. */
	    (e->like->stack_addr < policy.task_size &&
	     vms_mm_set_stack(e->mm, e->like->stack_addr) != 0) ||
	    (e->fill && vms_mm_foreign(e->mm, GUEST_FILL_AT, GUEST_FILL_END - GUEST_FILL_AT, 0,
				       VMS_MM_FOREIGN_FIXED, "fill") != 0)) {
		return fail(e, "start");
	}
	return 0;
}

static int engine_reset(struct side *side)
{
	struct engine *e = (struct engine *)side;

	e->fill = false;
	return start(e);
}

/* One region for all of the child's, and a limit that is as far away. */
static int64_t fill(struct engine *e, uint64_t left)
{
	if (left > 65536) {
		return -EINVAL;
	}
	e->fill = true;
	e->left = left;
	return start(e) == 0 ? 0 : -EIO;
}

/* ---- touching ---- */

static sigjmp_buf resume;
static volatile sig_atomic_t armed;
static volatile uint32_t seen_signal, seen_code;
static volatile uint64_t seen_addr;

static void on_signal(int sig, siginfo_t *info, void *context)
{
	(void)context;
	if (!armed) {
		signal(sig, SIG_DFL);
		raise(sig);
		return;
	}
	seen_signal = (uint32_t)sig;
	seen_code = (uint32_t)info->si_code;
	seen_addr = (uint64_t)(uintptr_t)info->si_addr;
	siglongjmp(resume, 1);
}

static void catch_signals(void)
{
	struct sigaction act = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };

	sigaction(SIGSEGV, &act, NULL);
	sigaction(SIGBUS, &act, NULL);
}

/* One access for real; false and seen_* when it raised a signal. */
static bool access_host(uint64_t addr, bool write, size_t size, uint64_t *value)
{
	seen_signal = 0;
	if (sigsetjmp(resume, 1) != 0) {
		armed = 0;
		return false;
	}
	armed = 1;
	if (write) {
		*(volatile uint8_t *)addr = (uint8_t)*value;
	} else if (size == 8) {
		*value = *(volatile uint64_t *)addr;
	} else {
		*value = *(volatile uint8_t *)addr;
	}
	armed = 0;
	return true;
}

/* What the engine says of an access. */
static void ask(struct engine *e, uint64_t addr, bool write, struct answer *a)
{
	memset(a, 0, sizeof(*a));
	switch (vms_mm_fault(e->mm, addr, write ? VMS_PROT_WRITE : VMS_PROT_READ)) {
	case VMS_MM_FAULT_NONE:
		return;
	case VMS_MM_FAULT_MAPERR:
		a->sig = SIGSEGV;
		a->code = 1;
		break;
	case VMS_MM_FAULT_ACCERR:
		a->sig = SIGSEGV;
		a->code = 2;
		break;
	case VMS_MM_FAULT_ADRERR:
		a->sig = SIGBUS;
		a->code = 2;
		break;
	}
	a->addr = addr;
}

static void touch(struct engine *e, const struct op *op, struct answer *a)
{
	bool write = op->a[1] == GUEST_WRITE, allowed;
	uint64_t value = op->a[2];

	if (e->backend == ENGINE_RECORD || op->a[0] >= WINDOW_END) {
		ask(e, op->a[0], write, a);
		return;
	}
	/* The host first, as for a guest that runs; the engine hears of what faulted, and must
	 * agree. */
	allowed = access_host(op->a[0], write, 1, &value);
	ask(e, op->a[0], write, a);
	if (!allowed && a->sig == 0) {
		allowed = access_host(op->a[0], write, 1, &value); /* it may have grown for it */
	}
	if (allowed) {
		a->ret = a->sig != 0 ? DISAGREE_REFUSED : write ? 0 : (int64_t)value;
	} else if (a->sig != seen_signal || a->code != seen_code) {
		a->ret = DISAGREE_ALLOWED;
	}
}

/* ---- operations ---- */

static int64_t set_limit(struct engine *e, const struct op *op)
{
	for (int i = 0; i < 4; i++) {
		struct vms_mm_limit limit = { op->a[1], e->hard[i].rlim_max };

		if (resources[i].host != (int)op->a[0]) {
			continue;
		}
		if (limit.soft > limit.hard) {
			limit.soft = limit.hard;
		}
		if (e->backend == ENGINE_HOST && resources[i].host == RLIMIT_STACK) {
			limit_growth(limit.soft);
		}
		return vms_mm_set_limit(e->mm, resources[i].guest, limit);
	}
	return -EINVAL;
}

static int64_t do_fork(struct engine *e, const struct op *op)
{
	vms_mm_fork_begin(e->mm);
	if (op->a[0] == 0) {
		vms_mm_fork_child(e->mm);
	} else {
		vms_mm_fork_parent(e->mm);
	}
	return 0;
}

/* The vector is the caller's to check, where the kernel does: after the range's own bounds. */
static int64_t mincore_guest(struct engine *e, const struct op *op)
{
	uint64_t addr = op->a[0], len = op->a[1];
	uint64_t pages = len / 4096 + (len % 4096 != 0);
	bool sane = addr % e->page == 0 && len <= GUEST_TASK && addr <= GUEST_TASK - len;
	size_t filled = 0;
	int64_t r;

	if (!sane || pages <= GUEST_VEC) {
		return vms_mincore(e->mm, addr, len, e->vec, &filled);
	}
	if (pages > GUEST_TASK - GUEST_AREA - offsetof(struct guest_area, vec)) {
		return -EFAULT;
	}
	/* The child's vector ends within the range: so do we, unless the range is refused before.
	 */
	r = vms_mincore(e->mm, addr, (uint64_t)GUEST_VEC * 4096, e->vec, &filled);
	return r == 0 ? -EFAULT : r;
}

static void perform(struct engine *e, const struct op *op, struct answer *a)
{
	const uint64_t *v = op->a;
	struct vms_mm *mm = e->mm;

	memset(a, 0, sizeof(*a));
	switch (op->kind) {
	case OP_MMAP:
		a->ret = vms_mmap(mm, v[0], v[1], v[2], v[3], fileset_fd(&e->files, v[4]), v[5]);
		return;
	case OP_MUNMAP:
		a->ret = vms_munmap(mm, v[0], v[1]);
		return;
	case OP_MPROTECT:
		a->ret = vms_mprotect(mm, v[0], v[1], v[2]);
		return;
	case OP_MREMAP:
		a->ret = vms_mremap(mm, v[0], v[1], v[2], v[3], v[4]);
		return;
	case OP_BRK:
		a->ret = vms_brk(mm, v[0]);
		return;
	case OP_MADVISE:
		a->ret = vms_madvise(mm, v[0], v[1], (int)v[2]);
		return;
	case OP_MSYNC:
		a->ret = vms_msync(mm, v[0], v[1], (int)v[2]);
		return;
	case OP_MINCORE:
		a->ret = mincore_guest(e, op);
		for (uint64_t i = 0; a->ret == 0 && i < 64 && i * e->page < v[1]; i++) {
			a->addr |= (uint64_t)(e->vec[i] & 1) << i;
		}
		return;
	case OP_MLOCK:
		a->ret = vms_mlock(mm, v[0], v[1]);
		return;
	case OP_MLOCK2:
		a->ret = vms_mlock2(mm, v[0], v[1], (int)v[2]);
		return;
	case OP_MUNLOCK:
		a->ret = vms_munlock(mm, v[0], v[1]);
		return;
	case OP_MLOCKALL:
		a->ret = vms_mlockall(mm, (int)v[0]);
		return;
	case OP_MUNLOCKALL:
		a->ret = vms_munlockall(mm);
		return;
	case OP_MSEAL:
		a->ret = vms_mseal(mm, v[0], v[1], v[2]);
		return;
	case OP_TOUCH:
		touch(e, op, a);
		return;
	case OP_LIMIT:
		a->ret = set_limit(e, op);
		return;
	case OP_FORK:
		a->ret = do_fork(e, op);
		return;
	case OP_FILL:
		a->ret = fill(e, v[0]);
		return;
	case OP_KINDS:
		break;
	}
}

/* ---- the maps ---- */

static uint16_t what_shows(const struct engine *e, const struct vms_mm_region *r)
{
	if (r->flags & VMS_MM_HEAP) {
		return SHOWS_HEAP;
	}
	if (r->flags & VMS_MM_STACK) {
		return SHOWS_STACK;
	}
	if (r->flags & VMS_MM_ANON) {
		return r->flags & VMS_MM_SHARED ? SHOWS_SHARED_ANON : SHOWS_ANON;
	}
	return fileset_shows(&e->files, r->dev, r->ino);
}

static int read_maps(struct engine *e, struct maps *maps)
{
	struct vms_mm_region r = { .size = sizeof(r) };
	uint64_t cursor = 0;
	int err;

	maps->n = 0;
	while ((err = vms_mm_next(e->mm, &cursor, &r)) == 0) {
		struct map_line *l;

		if (r.flags & VMS_MM_FOREIGN || (e->fill && r.start >= GUEST_FILL_AT)) {
			continue;
		}
		l = maps_add(maps);
		l->start = r.start;
		l->end = r.end;
		l->off = r.off;
		l->prot = (uint8_t)r.prot;
		l->shared = (r.flags & VMS_MM_SHARED) != 0;
		l->shows = what_shows(e, &r);
	}
	return err == -ENOENT ? 0 : fail(e, "maps");
}

/* Of the guest's own regions alone. */
static int read_counters(struct engine *e, struct counters *c)
{
	struct vms_mm_info info = { .size = sizeof(info) };

	if (vms_mm_info(e->mm, &info) != 0) {
		return fail(e, "counters");
	}
	*c = (struct counters){ info.total - e->page - GUEST_AREA_SIZE, info.locked, info.data,
				info.stack };
	if (e->side.wrong != NULL && strcmp(e->side.wrong, "data") == 0) {
		c->data += c->stack;
	}
	return 0;
}

/* ---- truth and host must be equal ---- */

/* Add a range; one that continues the last with equal rights is part of it. */
static void join_range(struct maps *m, uint64_t start, uint64_t end, uint8_t prot, uint8_t shared)
{
	struct map_line *last = m->n > 0 ? &m->line[m->n - 1] : NULL;

	if (last != NULL && last->end == start && last->prot == prot && last->shared == shared) {
		last->end = end;
		return;
	}
	last = maps_add(m);
	*last = (struct map_line){ .start = start, .end = end, .prot = prot, .shared = shared };
}

/* What this process has in the window, less the page that stands for the child's code. */
static int read_host(struct maps *m)
{
	char line[4400];
	FILE *f = fopen("/proc/self/maps", "re");

	m->n = 0;
	if (f == NULL) {
		return -1;
	}
	while (fgets(line, sizeof(line), f) != NULL) {
		uint64_t start, end;
		char p[5];

		if (sscanf(line, "%lx-%lx %4s", &start, &end, p) == 3 && start < WINDOW_END &&
		    start != GUEST_CODE) {
			join_range(
				m, start, end,
				(uint8_t)((p[0] == 'r') | (p[1] == 'w') << 1 | (p[2] == 'x') << 2),
				p[3] == 's');
		}
	}
	fclose(f);
	return 0;
}

/* Is all that is mapped in the host, and nothing else? */
static bool host_agrees(struct engine *e)
{
	bool agrees;

	if (read_host(&e->host) != 0 || read_maps(e, &e->own) != 0) {
		return false;
	}
	e->joined.n = 0;
	for (size_t i = 0; i < e->own.n; i++) {
		const struct map_line *l = &e->own.line[i];

		join_range(&e->joined, l->start, l->end, l->prot, l->shared);
	}
	agrees = maps_equal(&e->host, &e->joined);
	if (!agrees) {
		FILE *f = fmemopen(e->side.why, sizeof(e->side.why), "w");

		if (f != NULL) {
			fputs("the host has other regions:\n", f);
			maps_print(f, &e->host, &e->joined, 0);
			fclose(f);
		}
	}
	return agrees;
}

static int engine_run(struct side *side, const struct op *op, size_t n, struct answer *answer,
		      struct maps *maps)
{
	struct engine *e = (struct engine *)side;

	for (size_t i = 0; i < n; i++) {
		if (e->damaged) {
			/* It might not even return. */
			answer[i] = (struct answer){ .invalid = true };
			continue;
		}
		perform(e, &op[i], &answer[i]);
		if (vms_mm_check(e->mm) != 0) {
			answer[i].invalid = e->damaged = true;
			snprintf(side->why, sizeof(side->why), "%s", vms_last_error());
			continue;
		}
		if (e->backend == ENGINE_HOST && !host_agrees(e)) {
			answer[i].invalid = e->damaged = true;
			continue;
		}
		if (maps != NULL && (read_maps(e, &maps[i]) != 0 ||
				     read_counters(e, &answer[i].counters) != 0)) {
			return -1;
		}
		if (maps != NULL && op[i].kind == OP_MINCORE) {
			answer[i].addr &= maps_anon(&maps[i], op[i].a[0]);
		}
	}
	return 0;
}

static int engine_peek(struct side *side, uint64_t addr, size_t n, struct guest_peek *peek)
{
	(void)side;
	for (size_t i = 0; i < n; i++) {
		uint64_t value = 0;

		memset(&peek[i], 0, sizeof(peek[i]));
		if (access_host(addr + i * 4096, false, 8, &value)) {
			peek[i].value = value;
		} else {
			peek[i].sig = seen_signal;
			peek[i].code = seen_code;
		}
	}
	return 0;
}

static void engine_close(struct side *side)
{
	struct engine *e = (struct engine *)side;

	vms_mm_destroy(e->mm);
	fileset_close(&e->files);
	maps_free(&e->host);
	maps_free(&e->own);
	maps_free(&e->joined);
	free(e->vec);
	free(e);
}

struct side *engine_side(enum engine_backend backend, const struct side *like, int base,
			 uint64_t page, char *why, size_t size)
{
	struct engine *e = calloc(1, sizeof(*e));

	if (e == NULL || (e->vec = malloc(GUEST_VEC)) == NULL) {
		free(e);
		snprintf(why, size, "no memory");
		return NULL;
	}
	e->side = (struct side){ .name = backend == ENGINE_HOST ? "engine (host)" : "engine",
				 .reset = engine_reset,
				 .run = engine_run,
				 .peek = backend == ENGINE_HOST ? engine_peek : NULL,
				 .close = engine_close };
	e->backend = backend;
	e->like = like;
	e->page = page;
	for (int i = 0; i < 4; i++) {
		getrlimit(resources[i].host, &e->hard[i]);
	}
	if (backend == ENGINE_HOST) {
		struct rlimit *lock = &e->hard[3];

		lock->rlim_cur = lock->rlim_max < LOCK_WIDE ? lock->rlim_max : LOCK_WIDE;
	}
	if (fileset_open(&e->files, base, page, why, size) != 0) {
		free(e->vec);
		free(e);
		return NULL;
	}
	if (backend == ENGINE_HOST) {
		/* The child's code page stands in the way here too, so that the host says the same
		 * of it. */
		if (mmap((void *)GUEST_CODE, GUEST_CODE_SIZE, PROT_READ | PROT_EXEC,
			 MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
			 0) != (void *)GUEST_CODE) {
			snprintf(why, size, "the address of the child's code is taken here: %s",
				 strerror(errno));
			engine_close(&e->side);
			return NULL;
		}
		catch_signals();
		grow_own_stack();
	}
	return &e->side;
}
