// SPDX-License-Identifier: MIT
/*
 * arena.c: the life of an arena: reserve, grow, grant.
 *
 *	reserve		address space for every number, without memory or rights
 *	mapped		the first part of it shows the file; it grows by steps, in one region
 *	granted		frames that somebody holds or is about to
 *
 *	base                      base + mapped                           base + frames
 *	|  file, shared, read-write  |  nothing, no access                      |
 *
 * Invariants:
 *	1 `mapped` is a multiple of 64, at most `frames`; the file has as many pages; all of it is
 *	  mapped at base, not inherited on fork and not dumped
 *	2 every number is free or taken: listed, held or freed
 *	3 granted = listed + held, at most `limit`
 *	4 freed = the frames of limbo and cache (cache.c), outside of calls
 *	5 chunks and bitmaps agree with the entries (numbers.c)
 *	6 a frame without WRITTEN has only zero bytes; one without BACKED that nobody holds is a
 *	  hole of the file
 *	7 in a forked child nothing takes the lock, makes a host call or touches the file's mapping:
 *	  what remains there is to free the heap
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "store/inside.h"

#define RESERVE_DEFAULT (UINT64_C(1) << 40)
#define RESERVE_LEAST	(UINT64_C(1) << 36) /* of a default that the host refuses */
#define RESERVE_MAX	(UINT64_C(1) << 44)
#define STEP_BYTES	(UINT64_C(64) << 20)
#define AHEAD		16u  /* frames made at once */
#define AHEAD_MAX	256u /* that nobody has asked for yet, and 1 in 64 of those granted */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#define COPY_MANY	4u   /* frames: for fewer the host is not asked */
#define KEPT_OUT "arena: this arena belongs to the process that this one was forked from"

/* ---- The validator ---- */

int arena_check(struct vms_arena *a)
{
	uint64_t granted, freed, mapped = counter(&a->mapped);
	struct stat st;
	int err;

	if (mapped > a->frames || mapped % CHUNK)
		return fail(-EINVAL, "arena: %" PRIu64 " frames mapped", mapped);
	err = a->world->fstat(a->world, a->fd, &st);
	if (err)
		return fail(-EINVAL, "arena: fstat: %s", strerror(-err));
	if ((uint64_t)st.st_size != mapped << a->page_shift)
		return fail(-EINVAL, "arena: the file has %" PRIu64 " bytes, %" PRIu64 " mapped",
			    (uint64_t)st.st_size, mapped << a->page_shift);
	err = numbers_check(a, &granted, &freed);
	if (err)
		return err;
	if (granted != counter(&a->granted) || granted > a->limit)
		return fail(-EINVAL, "arena: %" PRIu64 " frames granted, %" PRIu64 " counted",
			    granted, counter(&a->granted));
	return cache_check(a, freed);
}

/* ---- Life ---- */

/* Of `bytes` of address space that the host refused with err. */
static int fail_space(const struct world *w, int err, uint64_t bytes, const char *what)
{
	uint64_t limit;

	if (err == -ENOMEM && w->rlimit(w, RLIMIT_AS, &limit) == 0 && limit != UINT64_MAX)
		return fail(-ENOMEM,
			    "arena: no address space: %" PRIu64
			    " MiB for %s, and the limit is %" PRIu64
			    " MiB (RLIMIT_AS, ulimit -v): reserve less",
			    bytes >> 20, what, limit >> 20);
	return fail(-ENOMEM, "arena: no address space: %" PRIu64 " MiB for %s: %s", bytes >> 20,
		    what, strerror(-err));
}

static int map_anon(const struct world *w, uint64_t bytes, int prot, const char *what, void **out)
{
	int64_t p = w->mmap(w, 0, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p < 0)
		return fail_space(w, (int)p, bytes, what);
	*out = (void *)(uintptr_t)p;
	return 0;
}

static void unmap(const struct world *w, const void *p, uint64_t bytes)
{
	if (p)
		w->munmap(w, (uint64_t)(uintptr_t)p, bytes);
}

/* A word that is 1 here and 0 in every forked child. */
static int map_alive(struct vms_arena *a)
{
	const struct world *w = a->world;
	uint64_t page = UINT64_C(1) << a->page_shift;
	void *p;
	int err = map_anon(w, page, PROT_READ | PROT_WRITE, "a mark", &p);

	if (err)
		return err;
	err = w->madvise(w, (uint64_t)(uintptr_t)p, page, MADV_WIPEONFORK);
	if (err) {
		unmap(w, p, page);
		return fail(err == -EINVAL ? -ENOTSUP : -ENOMEM, "arena: MADV_WIPEONFORK: %s",
			    strerror(-err));
	}
	atomic_store_explicit((_Atomic(uint64_t) *)p, 1, memory_order_relaxed);
	a->alive = p;
	return 0;
}

/* The tables of every number, in one mapping that takes memory as it is used. */
static int map_table(struct vms_arena *a)
{
	const struct world *w = a->world;
	uint64_t page = UINT64_C(1) << a->page_shift;
	uint64_t entries = a->frames * sizeof(struct entry);
	uint64_t chunks = align_up(a->frames / CHUNK, page);
	uint64_t stretches = align_up(a->frames / STRETCH * sizeof(uint64_t), page);
	void *p;
	int err;

	a->table_bytes = entries + chunks + stretches;
	err = map_anon(w, a->table_bytes, PROT_READ | PROT_WRITE, "the frame table", &p);
	if (err)
		return err;
	a->entries = p;
	a->chunks = (uint8_t *)p + entries;
	a->taken = (void *)((uint8_t *)p + entries + chunks);
	err = w->madvise(w, (uint64_t)(uintptr_t)p, a->table_bytes, MADV_DONTDUMP);
	return err ? fail(-ENOMEM, "arena: MADV_DONTDUMP: %s", strerror(-err)) : 0;
}

/* Address space for pages, and the table of their numbers; all or nothing. */
static int map_reserve(struct vms_arena *a, uint64_t bytes, uint64_t limit)
{
	const struct world *w = a->world;
	uint64_t frames = align_up(bytes, UINT64_C(1) << a->page_shift) >> a->page_shift;
	void *p = NULL;
	int err;

	/* The numbers below FRAME_FIRST come on top of what was asked for. */
	a->frames = min_u64(align_up(frames + FRAME_FIRST, STRETCH), FRAMES_MAX);
	a->limit = limit ? limit >> a->page_shift : frames;
	a->limit = min_u64(a->limit, a->frames - FRAME_FIRST);
	err = map_anon(w, a->frames << a->page_shift, PROT_NONE, "pages", &p);
	if (err)
		return err;
	a->base = p;
	err = map_table(a);
	if (!err)
		return 0;
	unmap(w, a->entries, a->table_bytes);
	unmap(w, a->base, a->frames << a->page_shift);
	a->entries = NULL;
	a->base = NULL;
	return err;
}

static int open_file(struct vms_arena *a)
{
	const struct world *w = a->world;
	struct stat st;
	int fd = w->memfd(w, "vmspace-arena", 0), err;

	if (fd < 0) {
		err = fd == -ENOSYS || fd == -EINVAL || fd == -EPERM ? -ENOTSUP
		      : fd == -EMFILE || fd == -ENFILE		     ? fd
								     : -ENOMEM;
		return fail(err, "arena: memfd_create: %s", strerror(-fd));
	}
	a->fd = fd;
	err = w->fstat(w, fd, &st);
	if (err)
		return fail(-ENOMEM, "arena: fstat: %s", strerror(-err));
	a->fd_dev = st.st_dev;
	a->fd_ino = st.st_ino;
	return 0;
}

static void destroy(struct vms_arena *a)
{
	const struct world *w = a->world;

	unmap(w, a->base, a->frames << a->page_shift);
	unmap(w, a->entries, a->table_bytes);
	unmap(w, (const void *)a->alive, UINT64_C(1) << a->page_shift);
	if (a->fd >= 0)
		w->fd_close(w, a->fd);
	lock_fini(&a->lock);
	w->free(w, a, sizeof(*a));
}

int arena_create(const struct world *w, const struct vms_arena_params *params,
		 struct vms_arena **out)
{
	uint64_t reserve = params->reserve ? params->reserve : RESERVE_DEFAULT;
	struct vms_arena *a;
	int err;

	if (params->flags)
		return fail(-EINVAL, "arena: unknown flags %#x", params->flags);
	if (reserve > RESERVE_MAX)
		return fail(-EINVAL, "arena: reserve of %" PRIu64 " bytes is above 16 TiB",
			    reserve);
	a = w->alloc(w, sizeof(*a));
	if (!a)
		return fail(-ENOMEM, "no memory for an arena");
	memset(a, 0, sizeof(*a));
	a->world = w;
	a->fd = -1;
	a->page_shift = (unsigned)__builtin_ctzl((unsigned long)sysconf(_SC_PAGESIZE));
	atomic_init(&a->refs, 1);
	lock_init(&a->lock, LOCK_STORE, "arena");
	a->step = STEP_BYTES >> a->page_shift;
	a->settle_at = CHUNK;
	a->cache_max = CACHE_MAX;
	a->evictables.next = a->evictables.prev = &a->evictables;
	atomic_init(&a->metadata, (int64_t)sizeof(*a));

	err = open_file(a);
	if (!err)
		err = map_alive(a);
	if (!err)
		err = map_reserve(a, reserve, params->limit);
	/* Nobody asked for that much: less will do where there is a limit, or a sanitizer's shadow. */
	while (err == -ENOMEM && !params->reserve && reserve > RESERVE_LEAST) {
		reserve /= 2;
		err = map_reserve(a, reserve, params->limit);
	}
	if (err) {
		destroy(a);
		return err;
	}
	numbers_init(a);
	*out = a;
	return 0;
}

struct vms_arena *arena_ref(struct vms_arena *a)
{
	atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
	return a;
}

/* The arena of another process: its mapping is not here, its lock may be held for ever. */
static void destroy_in_child(struct vms_arena *a)
{
	const struct world *w = a->world;
	struct stat st;

	/* The child may have closed all descriptors and opened others. */
	if (w->fstat(w, a->fd, &st) == 0 && st.st_dev == a->fd_dev && st.st_ino == a->fd_ino)
		w->fd_close(w, a->fd);
	unmap(w, a->entries, a->table_bytes);
	unmap(w, (const void *)a->alive, UINT64_C(1) << a->page_shift);
	w->free(w, a, sizeof(*a));
}

static void free_retired(struct epoch_head *head)
{
	struct vms_arena *a = (void *)((char *)head - offsetof(struct vms_arena, retired));

	if (arena_alive(a))
		destroy(a);
	else
		destroy_in_child(a);
}

void arena_unref(struct vms_arena *a)
{
	if (atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) != 1)
		return;
	/* A reader may still be copying from a frame that was freed a moment ago. */
	epoch_retire(&a->retired, free_retired);
	epoch_poll();
}

int arena_usable(const struct vms_arena *a)
{
	return __builtin_expect(arena_alive(a), 1) ? 0 : fail(-ESTALE, KEPT_OUT);
}

const struct world *arena_world(const struct vms_arena *a)
{
	return a->world;
}

unsigned arena_page_shift(const struct vms_arena *a)
{
	return a->page_shift;
}

int arena_fd(const struct vms_arena *a)
{
	return a->fd;
}

void *arena_addr(const struct vms_arena *a, frame_t f)
{
	return a->base + ((uint64_t)f << a->page_shift);
}

uint64_t arena_offset(const struct vms_arena *a, frame_t f)
{
	return (uint64_t)f << a->page_shift;
}

void arena_info(struct vms_arena *a, struct vms_arena_info *info)
{
	*info = (struct vms_arena_info){
		.size = sizeof(*info),
		.page_size = UINT64_C(1) << a->page_shift,
		.limit = a->limit << a->page_shift,
		.granted = counter(&a->granted) << a->page_shift,
		.cached = (counter(&a->freed) + counter(&a->ahead)) << a->page_shift,
		.reserved = a->frames << a->page_shift,
		.handed_out = counter(&a->mapped) << a->page_shift,
		.metadata = (uint64_t)atomic_load_explicit(&a->metadata, memory_order_relaxed),
		.evicted = atomic_load_explicit(&a->evicted, memory_order_relaxed),
	};
}

void arena_count_metadata(struct vms_arena *a, int64_t bytes)
{
	atomic_fetch_add_explicit(&a->metadata, bytes, memory_order_relaxed);
}

void arena_count_evicted(struct vms_arena *a, uint64_t pages)
{
	atomic_fetch_add_explicit(&a->evicted, pages, memory_order_relaxed);
}

/* ---- Growing ---- */

/* How far to grow so that `need` frames are there, under the limit of file sizes: past it the
 * kernel does not only refuse, it sends a signal that ends the program. */
static int grown_size(struct vms_arena *a, uint64_t need, uint64_t *end)
{
	const struct world *w = a->world;
	uint64_t limit;
	int err = w->rlimit(w, RLIMIT_FSIZE, &limit);

	*end = 0;
	if (err)
		return fail(-ENOMEM, "arena: getrlimit: %s", strerror(-err));
	*end = min_u64(align_up(need, a->step), a->frames);
	if (*end << a->page_shift > limit)
		*end = align_up(need, CHUNK);
	if (*end << a->page_shift > limit)
		return fail(-ENOMEM,
			    "arena: its file would grow to %" PRIu64
			    " KiB, and the limit of files is %" PRIu64
			    " KiB (RLIMIT_FSIZE, ulimit -f)",
			    *end << a->page_shift >> 10, limit >> 10);
	return 0;
}

/* Make the first `need` frames usable. */
static int grow_locked(struct vms_arena *a, uint64_t need) REQUIRES(a->lock)
{
	const struct world *w = a->world;
	uint64_t mapped = counter(&a->mapped), end, off = mapped << a->page_shift, addr, len;
	const char *what = "ftruncate";
	int64_t err;

	if (need <= mapped)
		return 0;
	err = grown_size(a, need, &end);
	if (err)
		return (int)err;
	addr = (uint64_t)(uintptr_t)a->base + off;
	len = (end << a->page_shift) - off;
	err = w->ftruncate(w, a->fd, off + len);
	if (err)
		return fail(-ENOMEM, "arena: ftruncate: %s", strerror((int)-err));
	what = "mmap";
	err = w->mmap(w, addr, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE,
		      a->fd, off);
	if (err < 0)
		goto size;
	what = "madvise";
	err = w->madvise(w, addr, len, MADV_DONTFORK);
	if (!err)
		err = w->madvise(w, addr, len, MADV_DONTDUMP);
	if (err)
		goto map;
	atomic_store_explicit(&a->mapped, end, memory_order_release);
	return 0;
map:
	/* Should the host refuse this too, a mapping stays that nobody uses; the next try covers
	 * it. */
	w->mmap(w, addr, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE,
		-1, 0);
size:
	w->ftruncate(w, a->fd, off);
	return fail(-ENOMEM, "arena: growing by %" PRIu64 " MiB: %s: %s", len >> 20, what,
		    strerror((int)-err));
}

/* ---- Granting ---- */

/* Put frames that nobody has seen since their grant where they came from. */
static void ungrant_locked(struct vms_arena *a, struct frame_list *list) REQUIRES(a->lock)
{
	while (list->n) {
		frame_t f = list_pop(a, list);
		unsigned marks = entry_marks(a, f) & (BACKED | WRITTEN);
		struct frame_list one = { 0 };

		if (!marks) {
			number_give_locked(a, f);
			continue;
		}
		entry_set_marks(a, f, STATE_FREED | marks);
		list_append(a, &one, f);
		list_splice(a, &a->cache, &one);
		counter_add(&a->freed, 1);
	}
}

/* A number that is not `want`: from the cache, the nook, or wherever one is left. */
static frame_t other_number_locked(struct vms_arena *a, struct arena_nook *nook) REQUIRES(a->lock)
{
	frame_t f = FRAME_NONE;

	if (a->cache.n == 0 && limbo_length(a) >= a->settle_at)
		limbo_settle_locked(a);
	if (a->cache.n == 0) {
		f = number_of_nook_locked(a, nook);
		if (f == FRAME_NONE)
			limbo_settle_locked(a);
		if (f == FRAME_NONE && a->cache.n == 0)
			return number_any_locked(a);
	}
	if (f == FRAME_NONE) {
		f = list_pop(a, &a->cache);
		entry_set_marks(a, f, STATE_LISTED | (entry_marks(a, f) & (BACKED | WRITTEN)));
		counter_sub(&a->freed, 1);
	}
	return f;
}

static int grant_locked(struct vms_arena *a, struct arena_nook *nook, frame_t want, uint64_t n,
			struct frame_list *list) REQUIRES(a->lock)
{
	for (uint64_t i = 0; i < n; i++) {
		uint64_t wish = want + i;
		frame_t f;
		int err;

		if (want != FRAME_NONE && wish < a->frames && number_is_free(a, wish))
			f = (frame_t)wish;
		else
			f = other_number_locked(a, nook);
		if (f == FRAME_NONE)
			return fail(-ENOMEM, "arena: every frame of the reserve is in use");
		if (number_is_free(a, f)) {
			err = grow_locked(a, (uint64_t)f + 1);
			if (err)
				return err;
			number_take_locked(a, f);
		}
		list_append(a, list, f);
	}
	return 0;
}

/*
 * The first touch of a page of the file costs a fault, which is more than half of the work when
 * pages are written one by one; the host makes several at a time for less. So when frames of a run
 * are granted in sequence, the next ones are made with this one. What was made for nobody is
 * bounded: it counts as cached.
 */
static uint64_t ahead_locked(struct vms_arena *a, frame_t f) REQUIRES(a->lock)
{
	unsigned before = entry_marks(a, f - 1);

	if (entry_marks(a, f) & BACKED || !(before & BACKED) || (before & STATE) == STATE_FREED ||
	    f % CHUNK == 0 || counter(&a->ahead) >= AHEAD_MAX + counter(&a->granted) / 64)
		return 0;
	return numbers_ahead_locked(a, f, AHEAD);
}

static int fail_limit(const struct vms_arena *a, uint64_t n)
{
	return fail(-EDQUOT, "arena: %" PRIu64 " more pages would pass its limit of %" PRIu64, n,
		    a->limit);
}

int arena_grant(struct vms_arena *a, struct arena_nook *nook, frame_t want, uint64_t n,
		struct frame_list *list)
{
	struct frame_list got = { 0 };
	uint64_t ahead = 0;
	frame_t first = FRAME_NONE;
	int err = arena_usable(a);

	if (err)
		return err;
	lock_take(&a->lock);
	if (n > a->limit - counter(&a->granted)) {
		err = fail_limit(a, n);
	} else {
		err = grant_locked(a, nook, want, n, &got);
		if (err) {
			ungrant_locked(a, &got);
		} else {
			counter_add(&a->granted, n);
			first = got.head;
			if (n == 1)
				ahead = ahead_locked(a, first);
			if (ahead > 1)
				entry_set_marks(a, first, entry_marks(a, first) | BACKED);
			list_splice(a, &got, list);
			*list = got;
		}
	}
	lock_drop(&a->lock);
	/* Refused or not, the bytes are zero: then each is made at its first touch. */
	if (ahead > 1) {
		a->world->madvise(a->world, (uint64_t)(uintptr_t)arena_addr(a, first),
				  ahead << a->page_shift, MADV_POPULATE_WRITE);
		lock_take(&a->lock);
		numbers_made_locked(a, first, ahead);
		lock_drop(&a->lock);
	}
	return err;
}

void arena_ungrant(struct vms_arena *a, struct frame_list *list)
{
	if (list->n == 0)
		return;
	if (!arena_alive(a)) {
		*list = (struct frame_list){ 0 };
		return;
	}
	lock_take(&a->lock);
	counter_sub(&a->granted, list->n);
	ungrant_locked(a, list);
	lock_drop(&a->lock);
	cache_bound(a);
}

static int grant_adjacent_locked(struct vms_arena *a, uint64_t n, frame_t *first) REQUIRES(a->lock)
{
	struct frame_list taken = { 0 };
	frame_t base;
	int err;

	if (n > a->limit - counter(&a->granted))
		return fail_limit(a, n);
	base = numbers_adjacent_locked(a, n);
	if (base == FRAME_NONE)
		return fail(-ENOMEM, "arena: no %" PRIu64 " adjacent frames are free", n);
	err = grow_locked(a, base + n);
	if (err)
		return err;
	counter_add(&a->granted, n);
	for (uint64_t i = 0; i < n; i++) {
		number_take_locked(a, (frame_t)(base + i));
		list_append(a, &taken, (frame_t)(base + i));
	}
	while (taken.n)
		arena_take(a, &taken);
	*first = base;
	return 0;
}

int arena_grant_contiguous(struct vms_arena *a, uint64_t n, frame_t *first)
{
	int err = arena_usable(a);

	if (err)
		return err;
	if (n == 0)
		return fail(-EINVAL, "arena: no frames asked for");
	lock_take(&a->lock);
	err = grant_adjacent_locked(a, n, first);
	lock_drop(&a->lock);
	if (err != -ENOMEM || arena_trim(a, UINT64_MAX) == 0)
		return err;
	/* Numbers of the cache may have been in the way. */
	lock_take(&a->lock);
	err = grant_adjacent_locked(a, n, first);
	lock_drop(&a->lock);
	return err;
}

/* ---- Bytes ---- */

void arena_touch(struct vms_arena *a, frame_t f)
{
	if ((entry_marks(a, f) & (BACKED | WRITTEN)) != (BACKED | WRITTEN))
		atomic_fetch_or_explicit(&a->entries[f].marks, BACKED | WRITTEN,
					 memory_order_relaxed);
}

/* Such a call is under the limit of file sizes (ulimit -f), which ends the process that passes it. */
bool arena_copy(struct vms_arena *a, frame_t f, frame_t from, uint64_t n)
{
	const struct world *w = a->world;
	uint64_t off = arena_offset(a, f), bytes = n << a->page_shift, limit;

	if (n < COPY_MANY)
		return false;
	for (uint64_t i = 0; i < n; i++)
		if (entry_marks(a, f + (frame_t)i) & BACKED)
			return false;
	if (w->rlimit(w, RLIMIT_FSIZE, &limit) || off + bytes > limit)
		return false;
	if (w->pwrite(w, a->fd, arena_addr(a, from), bytes, off) != (int64_t)bytes)
		return false;
	for (uint64_t i = 0; i < n; i++)
		arena_touch(a, f + (frame_t)i);
	return true;
}

void arena_clear(struct vms_arena *a, frame_t f)
{
	if (entry_marks(a, f) & WRITTEN)
		memset(arena_addr(a, f), 0, (size_t)1 << a->page_shift);
}
