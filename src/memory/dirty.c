// SPDX-License-Identifier: MIT
/*
 * dirty.c: marks, and the life of logs. The way from marks to harvests is in dirty_harvest.c.
 *
 *	fresh		block->bits: marked, by any thread, and not collected yet
 *	a log's		block->log[i]: collected for log i, and not harvested yet. One collector
 *			distributes what it took to all logs, so no log takes bits from another
 *	external	a log whose bits are somebody else's memory, by guest address: marked at
 *			once, never by a collector
 *
 * Invariants
 *
 *	1 a block of the memory that has fresh bits has a bitmap for each log of ours that runs, and
 *	  for no other
 *	2 `logging` says ON while there is such a log, EXTERNAL while there is an external one,
 *	  FENCED always or never
 *	3 a bit in a log's bitmap is behind the barrier that followed its exchange: the dirty lock is
 *	  held from the exchange until the bit is in all logs
 *	4 a store whose access began after vms_dirty_start() returned leaves a bit, fresh or in each
 *	  log, from before the access ends until it is harvested: the mark follows the store, and an
 *	  exchange hands it on under the lock
 *	5 who marks an external log looks through mem->log in an epoch section, or under the dirty
 *	  lock: so after a log was taken out and one epoch has passed, nobody looks at it, and an
 *	  external one's memory is the caller's
 *
 * A bit too many costs a page that is copied in vain; a bit too few loses a guest's write. So what is
 * marked while a log begins may be in it. What was marked before is not: vms_dirty_start() collects
 * for the others first.
 */
#include "memory/dirty.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "base/epoch_inline.h"

/* Store to load. A race detector that knows no fences gets an operation that is one in fact. */
static inline void full_fence(void)
{
#if EPOCH_TSAN
	atomic_uint here = 0;

	atomic_fetch_add(&here, 1);
#else
	atomic_thread_fence(memory_order_seq_cst);
#endif
}

/* What ring.h has of this. */
_Static_assert(LOGGING_ON == 1 && DIRTY_SHIFT == 12, "vms_ring_wrote()");

/* ---- Marking ---- */

/* What a writer has to do; 0: nothing. After its store. */
static uint32_t to_do(const struct vms_memory *mem)
{
	uint32_t logging = atomic_load_explicit(&mem->logging, memory_order_relaxed);

	if (logging & LOGGING_FENCED) {
		full_fence();
		logging = atomic_load_explicit(&mem->logging, memory_order_relaxed);
	}
	return logging & (LOGGING_ON | LOGGING_EXTERNAL) ? logging : 0;
}

/* n bits from bit number `bit` of words on. One that is set already stays untouched: most are. */
static void mark_bits(_Atomic(uint64_t) *words, uint64_t bit, uint64_t n)
{
	_Atomic(uint64_t) *word = words + bit / 64;
	unsigned from = bit % 64;

	while (n > 0) {
		uint64_t here = n < 64 - from ? n : 64 - from;
		uint64_t mask = (here == 64 ? UINT64_MAX : (UINT64_C(1) << here) - 1) << from;

		if ((atomic_load_explicit(word, memory_order_relaxed) & mask) != mask)
			atomic_fetch_or_explicit(word, mask, memory_order_release);
		word++;
		from = 0;
		n -= here;
	}
}

static uint64_t pages_of(uint64_t first, uint64_t len)
{
	return ((first + (len - 1)) >> DIRTY_SHIFT) - (first >> DIRTY_SHIFT) + 1;
}

/* The log's memory is its owner's: anybody may clear bits at any time, so always an or. */
static void mark_one_external(const struct vms_dirty *log, uint64_t gpa, uint64_t len)
{
	uint64_t page = gpa >> DIRTY_SHIFT, n = pages_of(gpa, len);

	while (n > 0 && page / 8 < log->external_bytes) {
		unsigned from = page % 8;
		uint64_t here = n < 8 - from ? n : 8 - from;

		atomic_fetch_or_explicit(&log->external[page / 8],
					 (uint8_t)(((1u << here) - 1) << from),
					 memory_order_release);
		page += here;
		n -= here;
	}
}

/* => a section, or the dirty lock: invariant 5 */
static void mark_external(struct vms_memory *mem, uint64_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < VMS_DIRTY_LOGS; i++) {
		const struct vms_dirty *log =
			atomic_load_explicit(&mem->log[i], memory_order_acquire);

		if (log && log->external)
			mark_one_external(log, gpa, len);
	}
}

static __attribute__((noinline)) void mark_entry(struct vms_memory *mem, uint64_t more,
						 uint64_t gpa, uint64_t len)
{
	uint64_t bit = more + (gpa >> DIRTY_SHIFT);
	uint32_t logging = to_do(mem);

	if (!logging || len == 0)
		return;
	if (logging & LOGGING_ON)
		mark_bits((_Atomic(uint64_t) *)(uintptr_t)(bit >> 6 << 3), bit & 63,
			  pages_of(gpa, len));
	if (!(logging & LOGGING_EXTERNAL))
		return;
	if (epoch_enter()) {
		mark_external(mem, gpa, len);
		epoch_leave();
	} else {
		lock_take(&mem->dirty_lock);
		mark_external(mem, gpa, len);
		lock_drop(&mem->dirty_lock);
	}
}

void dirty_mark_entry(struct vms_memory *mem, uint64_t more, uint64_t gpa, uint64_t len)
{
	/* The usual one: a page that was written before, for logs of ours. */
	if (__builtin_expect(atomic_load_explicit(&mem->logging, memory_order_relaxed) !=
					     LOGGING_ON ||
				     !dirty_is_marked(more, gpa, len),
			     0))
		mark_entry(mem, more, gpa, len);
}

/* Which guest addresses from gpa to last, all under entry e, show [off, off + len) of b? */
static bool entry_shows(const struct table_entry *e, const struct vms_block *b, uint64_t off,
			uint64_t len, uint64_t *gpa, uint64_t *last)
{
	uint64_t from, to; /* of the block */

	if (e->at & ENTRY_SLOW) {
		if (e->more != (uintptr_t)b)
			return false;
		from = (e->at & ~ENTRY_BITS) + *gpa;
	} else {
		uint64_t page =
			e->more + (*gpa >> DIRTY_SHIFT) - ((uint64_t)(uintptr_t)b->bits << 3);

		/* Of another block: its bits lie elsewhere. */
		if (page > (b->bytes - 1) >> DIRTY_SHIFT)
			return false;
		from = page << DIRTY_SHIFT;
	}
	to = from + (*last - *gpa);
	if (to < off || from > off + (len - 1))
		return false;
	if (to > off + (len - 1))
		*last -= to - (off + (len - 1));
	if (from < off)
		*gpa += off - from;
	return true;
}

/* Through each slot that shows it, as the table stands. => in a section */
static void mark_external_block(struct vms_memory *mem, const struct vms_block *b, uint64_t off,
				uint64_t len)
{
	uint64_t root = atomic_load_explicit(&mem->table.root, memory_order_acquire);
	uint64_t gpa = 0, last;

	do {
		const struct table_entry *e = table_find_span(root, gpa, &last);
		uint64_t first = gpa, end = last;

		gpa = last + 1;
		if (e && e->at && entry_shows(e, b, off, len, &first, &end))
			mark_external(mem, first, end - first + 1);
	} while (gpa != 0);
}

void dirty_mark_block(struct vms_block *b, uint64_t off, uint64_t len)
{
	struct vms_memory *mem = b->mem;
	uint32_t logging = to_do(mem);

	if (!logging || !b->bits || off >= b->bytes || len == 0)
		return;
	if (len > b->bytes - off)
		len = b->bytes - off;
	if (logging & LOGGING_ON)
		mark_bits(b->bits, off >> DIRTY_SHIFT, pages_of(off, len));
	if (!(logging & LOGGING_EXTERNAL))
		return;
	if (epoch_enter()) {
		mark_external_block(mem, b, off, len);
		epoch_leave();
	} else {
		/* The table cannot be looked at: rather all than one too few. */
		lock_take(&mem->dirty_lock);
		mark_external(mem, 0, UINT64_MAX);
		lock_drop(&mem->dirty_lock);
	}
}

void vms_dirty_mark(struct vms_block *block, uint64_t off, uint64_t len)
{
	dirty_mark_block(block, off, len);
}

/* ---- A log's bitmaps ---- */

static void set_all(const struct vms_block *b, uint64_t *bits)
{
	uint64_t pages = ((b->bytes - 1) >> DIRTY_SHIFT) + 1;

	memset(bits, 0xff, pages / 64 * 8);
	if (pages % 64)
		bits[pages / 64] = (UINT64_C(1) << pages % 64) - 1;
}

#define BITS_HEAP 512u /* bytes of a bitmap that is no mapping of its own */

void *dirty_bits_make(const struct world *w, uint64_t bytes)
{
	void *bits;
	int64_t p;

	if (bytes <= BITS_HEAP) {
		bits = w->alloc(w, bytes);
		if (bits)
			memset(bits, 0, bytes);
		return bits;
	}
	p = w->mmap(w, 0, bytes, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return p < 0 ? NULL : (void *)(uintptr_t)p;
}

void dirty_bits_free(const struct world *w, void *bits, uint64_t bytes)
{
	if (!bits)
		return;
	if (bytes <= BITS_HEAP)
		w->free(w, bits, bytes);
	else
		w->munmap(w, (uintptr_t)bits, bytes);
}

static int bitmap_begin(struct vms_memory *mem, struct vms_block *b, const struct vms_dirty *log)
	REQUIRES(mem->dirty_lock)
{
	uint64_t *bits;

	if (!b->bits || log->external)
		return 0;
	bits = dirty_bits_make(mem->world, block_bits_bytes(b));
	if (!bits)
		return fail(-ENOMEM, "dirty log: no memory for block '%s' of %#" PRIx64 " bytes",
			    b->name, b->bytes);
	if (log->flags & VMS_DIRTY_ALL_SET)
		set_all(b, bits);
	b->log[log->index] = bits;
	return 0;
}

static void bitmap_end(struct vms_memory *mem, struct vms_block *b, unsigned i)
	REQUIRES(mem->dirty_lock)
{
	dirty_bits_free(mem->world, b->log[i], block_bits_bytes(b));
	b->log[i] = NULL;
}

int dirty_block_begin(struct vms_memory *mem, struct vms_block *b)
{
	int err = 0;

	lock_take(&mem->dirty_lock);
	for (unsigned i = 0; !err && i < VMS_DIRTY_LOGS; i++)
		if (mem->log[i])
			err = bitmap_begin(mem, b, mem->log[i]);
	for (unsigned i = 0; err && i < VMS_DIRTY_LOGS; i++)
		bitmap_end(mem, b, i);
	lock_drop(&mem->dirty_lock);
	return err;
}

void dirty_block_end(struct vms_block *b)
{
	struct vms_memory *mem = b->mem;

	lock_take(&mem->dirty_lock);
	for (unsigned i = 0; i < VMS_DIRTY_LOGS; i++)
		bitmap_end(mem, b, i);
	lock_drop(&mem->dirty_lock);
}

/* What is marked already is not the new log's; then a bitmap for each block. */
static int bitmaps_begin(struct vms_memory *mem, const struct vms_dirty *log)
	REQUIRES(mem->space.lock, mem->dirty_lock)
{
	int err = 0;

	for (struct vms_block *b = mem->blocks; !err && b; b = b->next) {
		uint64_t words = b->bits ? block_bits_bytes(b) / 8 : 0;

		for (uint64_t at = 0; !err && at < words; at += DIRTY_WORDS)
			err = dirty_collect(mem, b, at,
					    words - at < DIRTY_WORDS ? words - at : DIRTY_WORDS);
		if (!err)
			err = bitmap_begin(mem, b, log);
	}
	return err;
}

static void bitmaps_end(struct vms_memory *mem, unsigned i)
	REQUIRES(mem->space.lock, mem->dirty_lock)
{
	for (struct vms_block *b = mem->blocks; b; b = b->next)
		bitmap_end(mem, b, i);
}

/* ---- Logs ---- */

void dirty_init(struct vms_memory *mem)
{
	lock_init(&mem->dirty_lock, LOCK_OBJECT, "dirty logs");
	atomic_init(&mem->logging, epoch_needs_fences() ? LOGGING_FENCED : 0);
}

/* mem->log[i] becomes log, and `logging` says so. */
static void put(struct vms_memory *mem, unsigned i, struct vms_dirty *log)
	REQUIRES(mem->space.lock, mem->dirty_lock)
{
	uint32_t logging =
		atomic_load_explicit(&mem->logging, memory_order_relaxed) & LOGGING_FENCED;

	if (log)
		log->seen = true;
	atomic_store_explicit(&mem->log[i], log, memory_order_release);
	for (unsigned j = 0; j < VMS_DIRTY_LOGS; j++)
		if (mem->log[j])
			logging |= mem->log[j]->external ? LOGGING_EXTERNAL : LOGGING_ON;
	atomic_store(&mem->logging, logging);
}

static int check_params(const struct vms_memory *mem, const struct vms_dirty_params *p)
{
	if (!p || p->size < sizeof(*p))
		return fail(-EINVAL, "dirty log: params of %zu bytes, need %zu", p ? p->size : 0,
			    sizeof(*p));
	if (p->flags & ~(VMS_DIRTY_ALL_SET | VMS_DIRTY_EXTERNAL))
		return fail(-EINVAL, "dirty log: unknown flags %#x", p->flags);
	if (p->flags & VMS_DIRTY_EXTERNAL) {
		if (!p->external || !p->external_bytes)
			return fail(-EINVAL, "dirty log: an external log without memory");
		if (p->page_size && p->page_size != UINT64_C(1) << DIRTY_SHIFT)
			return fail(-EINVAL, "dirty log: an external log has pages of 4096");
		return 0;
	}
	if (p->external || p->external_bytes)
		return fail(-EINVAL, "dirty log: memory for a log that is not external");
	if (p->page_size && (p->page_size & (p->page_size - 1) || p->page_size < mem->page_size ||
			     p->page_size > UINT64_C(1) << 30))
		return fail(-EINVAL, "dirty log: a page of %#" PRIx64 " bytes", p->page_size);
	return 0;
}

/* All that stands, in the log of an address. => a log of nobody else */
static void set_slots(struct vms_memory *mem, const struct vms_dirty *log) REQUIRES(mem->space.lock)
{
	struct map m;

	for (uint64_t addr = 0; space_find(&mem->space, addr, &m); addr = m.last + 1) {
		mark_one_external(log, m.start, m.last - m.start);
		mark_one_external(log, m.last, 1);
		if (m.last == UINT64_MAX)
			break;
	}
}

static int begin_bitmaps(struct vms_memory *mem, const struct vms_dirty *log)
	REQUIRES(mem->space.lock)
{
	int err;

	lock_take(&mem->dirty_lock);
	err = bitmaps_begin(mem, log);
	if (err)
		bitmaps_end(mem, log->index);
	lock_drop(&mem->dirty_lock);
	return err;
}

static int begin(struct vms_memory *mem, struct vms_dirty *log) REQUIRES(mem->space.lock)
{
	bool first = !memory_is_logged(mem), started;
	int err;

	while (log->index < VMS_DIRTY_LOGS && mem->log[log->index])
		log->index++;
	if (log->index == VMS_DIRTY_LOGS)
		return fail(-EBUSY, "dirty log: %u run already", VMS_DIRTY_LOGS);
	/* Before anybody sees the log: an external one could not be taken back. */
	if (!epoch_barrier())
		return fail(-EPERM, "dirty log: the host refuses membarrier now");
	err = begin_bitmaps(mem, log);
	if (err)
		return err;
	/* Listeners may mark: not under the dirty lock. */
	err = first ? listeners_log_start(mem) : 0;
	started = first && !err;
	lock_take(&mem->dirty_lock);
	if (!err) {
		put(mem, log->index, log);
		if (!epoch_barrier()) {
			put(mem, log->index, NULL);
			err = fail(-EPERM, "dirty log: the host refuses membarrier now");
		}
	}
	if (err)
		bitmaps_end(mem, log->index);
	lock_drop(&mem->dirty_lock);
	if (err && started)
		listeners_log_stop(mem);
	if (!err && log->external && log->flags & VMS_DIRTY_ALL_SET)
		set_slots(mem, log);
	return err;
}

static void free_log(struct epoch_head *head)
{
	struct vms_dirty *log = (struct vms_dirty *)head;

	log->world->free(log->world, log, sizeof(*log));
}

/* Who marks may still look at it: invariant 5. */
static void let_go(struct vms_dirty *log)
{
	bool wait = log->external && log->seen;

	epoch_retire(&log->retired, free_log);
	if (wait)
		epoch_synchronize();
}

int vms_dirty_start(struct vms_memory *mem, const struct vms_dirty_params *params,
		    struct vms_dirty **out)
{
	const struct world *w = mem->world;
	struct vms_dirty *log;
	int err = check_params(mem, params);

	if (err)
		return err;
	log = w->alloc(w, sizeof(*log));
	if (!log)
		return fail(-ENOMEM, "no memory for a dirty log");
	*log = (struct vms_dirty){ .world = w, .mem = mem, .flags = params->flags };
	log->group = (params->page_size ? params->page_size : mem->page_size) >> DIRTY_SHIFT;
	if (params->flags & VMS_DIRTY_EXTERNAL) {
		log->external = params->external;
		log->external_bytes = params->external_bytes;
	}
	lock_take(&mem->space.lock);
	err = begin(mem, log);
	lock_drop(&mem->space.lock);
	if (err) {
		let_go(log);
		return err;
	}
	vms_memory_ref(mem);
	*out = log;
	return 0;
}

void vms_dirty_stop(struct vms_dirty *log)
{
	struct vms_memory *mem;

	if (!log)
		return;
	mem = log->mem;
	lock_take(&mem->space.lock);
	lock_take(&mem->dirty_lock);
	put(mem, log->index, NULL);
	bitmaps_end(mem, log->index);
	lock_drop(&mem->dirty_lock);
	if (!memory_is_logged(mem))
		listeners_log_stop(mem);
	lock_drop(&mem->space.lock);
	let_go(log);
	vms_memory_unref(mem);
}

int vms_dirty_sync(struct vms_dirty *log)
{
	struct vms_memory *mem = log->mem;
	int err;

	lock_take(&mem->space.lock);
	err = listeners_log_sync(mem);
	lock_drop(&mem->space.lock);
	return err;
}
