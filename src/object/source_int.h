/* SPDX-License-Identifier: MIT */
/*
 * source_int.h: what the files of the pager side share: source.c, pager.c, supply.c, writeback.c,
 * pager_file.c, reclaim.c and wait.c. Everything else includes source.h.
 *
 * Lock letters: [F] the lock of the paged content's family; [P] the pager's; [I] never changed
 * after birth; [A] atomic.
 */
#ifndef OBJECT_SOURCE_INT_H
#define OBJECT_SOURCE_INT_H

#include "object/source.h"

/* ---- The three structs ---- */

struct vms_pager {
	const struct world *world; /* [I] */
	struct vms_pager_ops ops;  /* [I] */
	void *arg;		   /* [I] */
	/* [I] Pages [first, first + n); nothing held. */
	void (*request)(struct source *s, enum vms_request_kind kind, uint64_t first, uint64_t n);
	bool at_once;		/* [I] request answers before it returns */
	int fd;			/* [I] the file pager's own duplicate, or -1 */
	atomic_uint refs;	/* the handle, and one a source */
	struct lock lock;	/* LOCK_PAGER */
	struct source *sources; /* [P] that close has to detach */
	bool closed;		/* [P] */
};

struct source {
	const struct world *world;    /* [I] */
	struct vms_pager *pager;      /* [I] counted */
	struct content *content;      /* [I] that owns us */
	uint64_t key;		      /* [I] */
	struct source *next, **link;  /* [P] link NULL: not on the pager's list */
	struct wait *waits, **at_end; /* [F] oldest first */
	unsigned calling;	      /* [F] callbacks of ours that have not returned */
	bool detached;		      /* [F] */
	bool complete_due;	      /* [F] the last callback that returns calls `complete` */
	atomic_bool completed;	      /* [A] `complete` was called, or never will be */
	atomic_bool modified;	      /* [A] */
	bool syncing;		      /* [F] a sync of the file pager is under way */
	uint64_t hand;		      /* [F] where reclaim goes on */
	/*
	 * What the pager's callbacks get as the object. It stands as long as the source does,
	 * whatever handles the callers have given up, and holds no count of the content.
	 */
	struct view self;
};

/* How a wait stands: waited for are LINKED and SLEEPING. */
enum {
	WAIT_IDLE = 0, /* nothing is waited for */
	WAIT_LINKED,   /* on its source's list */
	WAIT_SLEEPING, /* the same, and somebody sleeps on the word */
	WAIT_ANSWERED, /* off the list for good; result counts */
};

/* In a caller's struct vms_wait. While it is linked all but the state is [F]. */
struct wait {
	_Atomic(uint32_t) state; /* [A] a futex */
	int result;
	enum vms_request_kind kind;
	bool holds;   /* its range is a packet ... */
	bool sent;    /* ... that the pager was told of */
	bool adopted; /* ... that was not, and whoever would have told it has given up */
	struct source *source;
	struct wait *next, **link;
	uint64_t first, n; /* pages waited for */
};

_Static_assert(sizeof(struct wait) <= sizeof(struct vms_wait), "a wait fits its storage");
_Static_assert(_Alignof(struct wait) <= _Alignof(struct vms_wait), "... and is aligned there");

static inline struct wait *wait_of(struct vms_wait *wait)
{
	return (struct wait *)wait;
}

/* ---- wait.c ---- */

/* Answered: the storage is the caller's again as soon as the state is set. Unlinked before. */
void wait_answer(struct wait *w, int result);
/* If it is answered, the result, once; else VMS_WAIT. Idle: 0. */
int wait_take_result(struct wait *w);

/* ---- source.c ---- */

static inline void source_lock(const struct source *s) ACQUIRES(s->content->family->lock)
{
	lock_take(&s->content->family->lock);
}

static inline void source_unlock(const struct source *s) RELEASES(s->content->family->lock)
{
	lock_drop(&s->content->family->lock);
}

/* Entered with the lock by files that cannot say so. */
static inline void assert_family_held(const struct source *s) ASSERTS_HELD(s->content->family->lock)
{
}
/* As source.h has them, with the lock. */
void source_answered(struct source *s, uint64_t first, uint64_t n)
	REQUIRES(s->content->family->lock);

/* Nothing is asked any more. tell: call `complete` when the last callback has returned. */
void source_detach(struct source *s, bool tell);
/* Who waits for pages of the range gets the code, which may be any. No lock held. */
void source_fail(struct source *s, uint64_t first, uint64_t n, int error);
/* A wait is given up. No lock held. */
void source_cancel(struct source *s, struct wait *w);
/* Some pages of the range are about to be clean again: those who wait for more of their packets
 * look again, or nobody would tell them. */
void source_taken_back(struct source *s, uint64_t first, uint64_t n)
	REQUIRES(s->content->family->lock);

/* ---- pager.c ---- */

/* All zero, with the handle's count; NULL: no memory. */
struct vms_pager *pager_new(const struct world *w);
void pager_unref(struct vms_pager *pager);
/* The source of an object that this pager fills, or -EINVAL, -ESTALE. */
int pager_source(struct vms_pager *pager, struct vms_object *obj, struct source **s);
int pager_aligned(const struct source *s, uint64_t off, uint64_t len, const char *what);

/* ---- Runs of pages ---- */

/*
 * What a slot counts as: 0 ends a run. Classes are small and without side effect; the same slot
 * always has the same one.
 */
typedef unsigned slot_class(const struct source *s, slot_t slot, unsigned arg);
struct run {
	uint64_t first, n;
	unsigned class;
};
/* The next run of one class other than 0 in [from, end); r->first + r->n is where to go on. A
 * paged content has bias 0: pages are indices. */
bool source_next_run(const struct source *s, uint64_t from, uint64_t end, slot_class *class,
		     unsigned arg, struct run *r) REQUIRES(s->content->family->lock);
/* The same, but no need to look for more than so many pages of it. */
bool source_next_part(const struct source *s, uint64_t from, uint64_t end, uint64_t most,
		      slot_class *class, unsigned arg, struct run *r)
	REQUIRES(s->content->family->lock);

/* ---- supply.c: pages on their way in ---- */

/*
 * Frames for [first, first + n), to be filled with no lock held. In frames[i]: a frame to fill;
 * FILL_ZERO: nothing but zeros there; FRAME_NONE: the page is there already.
 */
#define FILL_ZERO 1u
struct filling {
	struct source *source;
	uint64_t first, n;
	frame_t *frames; /* of the filling: NULL when it could not be had */
};
/* 0 or -ENOMEM: the array, all FRAME_NONE. */
int filling_init(struct filling *f, struct source *s, uint64_t first, uint64_t n);
/* Give each absent page that is not FILL_ZERO a frame, evicting others' where the arena is full.
 * 0, -ERANGE, -EBUSY (detached), -ENOMEM. */
int filling_grant(struct filling *f);
/* What is there stays; the rest goes in. 0; FILL_AGAIN: a page went meanwhile that has no frame
 * here, grant again; or as filling_grant, and nothing went in. */
#define FILL_AGAIN 1
int filling_commit(struct filling *f);
/* Frames that are left are given back; the array too. */
void filling_fini(struct filling *f);

/* A failed grant: make room and say 0, or the call's result. *tries from 0. No family lock held. */
int source_make_room(struct vms_arena *a, int err, uint64_t n, unsigned *tries);

/* vms_pager_dirtied for who has the source. */
int source_dirtied(struct source *s, uint64_t first, uint64_t n);

/* ---- writeback.c ---- */

/* A step of the write-back, on frames and on zero pages. */
struct dirty_step {
	unsigned from, to; /* FRAME_DIRTY, FRAME_CLEANING or 0 */
	slot_t zero_from, zero_to;
};
extern const struct dirty_step dirty_begin, dirty_end, dirty_back;
/* 0, or -ENOMEM with nothing changed. */
int dirty_move(struct source *s, uint64_t first, uint64_t n, const struct dirty_step *step,
	       bool zero_only) REQUIRES(s->content->family->lock);
/* Classes of slots: what is dirty, or awaiting clean. */
enum { DIRTY_FRAME = 1, DIRTY_ZERO = 2 };
slot_class dirty_class;

/* ---- pager_file.c ---- */

void pager_file_request(struct source *s, enum vms_request_kind kind, uint64_t first, uint64_t n);

/* ---- reclaim.c ---- */

void reclaim_register(struct source *s);
void reclaim_unregister(struct source *s);

#endif
