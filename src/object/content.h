/* SPDX-License-Identifier: MIT */
/*
 * content.h: what is on an object's pages, and who shares them.
 *
 * Terms:
 *	content	pages and their rules: a size, a tree of pages, perhaps something below that shows
 *		where the tree is empty (a pager's or a file's content under an overlay)
 *	view	what a caller holds (struct vms_object): a whole content, a slice of one, or a
 *		reference (a second name). Everything a view does, its content does at an offset.
 *	family	contents that may share tree nodes: a content and all that was branched off it. One
 *		lock, one list. A content joins its parent's family at birth and never leaves.
 *	bias	a child's page i stands at index bias + i of its tree, so that the subtrees of its
 *		parent fit as they are
 *	overlay	a content with another below: SNAPSHOT_LAZY over a pager or a file. `below` is
 *		always the root (PAGED or FILE), never an overlay: an overlay of an overlay shares
 *		the tree of the upper one and hangs off the same root.
 *	inside	a writer that copies bytes into pages it found exclusive, after it dropped the lock.
 *		What must see no half-written page (snapshot, transfer, write-back begin) closes the
 *		family's gate and waits for those inside.
 *	ask	what a call found missing under the lock: it drops the lock, gets it, starts again
 *
 * Lock letters: [F] the family's lock; [F/a] written under it, read without it, atomic; [I] never
 * changed after birth; [A] atomic.
 *
 * Invariants, checked by content_check:
 *	1 an overlay is in its root's list and family, and the root has a count for it
 *	2 every frame in a tree lies within [bias, bias + npages)
 *	3 only overlays, their copies and paged contents have ZERO slots; only paged ones the dirty
 *	  kinds
 *	4 below_limit <= npages, and no page at or past below_limit shows the root
 *	5 a CONTIGUOUS content has a frame at each page, adjacent
 *	6 pinned frames are exclusive, and the pins of a content's frames add up to its `pins`
 *	7 a discarded content has no pages and is not locked
 *	8 the shares of all contents of a family add up to the frames that the family holds
 *	9 a page's dirty marks are those of a paged content, never both DIRTY and CLEANING
 */
#ifndef OBJECT_CONTENT_H
#define OBJECT_CONTENT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/epoch.h"
#include "base/itree.h"
#include "base/lock.h"
#include "object/object.h"
#include "object/pages.h"
#include "vmspace/object.h"
#include "vmspace/pager.h"

struct source; /* source.h: a paged content's pager side */

struct family {
	struct lock lock;	   /* LOCK_OBJECT */
	atomic_uint refs;	   /* contents */
	struct content *contents;  /* [F] all of them, by content.next; their pages by sibling */
	atomic_uint inside;	   /* writers in place */
	unsigned gates;		   /* [F] closed by that many: nobody goes inside */
	pthread_cond_t moved;	   /* [F] inside fell to 0, or gates did */
	uint64_t shown;		   /* [F] in all contents' trees of these; 0: nobody to tell */
	const struct world *world; /* [I] */
};

enum content_kind { CONTENT_ANON, CONTENT_FILE, CONTENT_HOST, CONTENT_PAGED };

struct content {
	struct family *family;	      /* [I] */
	struct content *next, **link; /* [F] in the family */
	const struct world *world;    /* [I] */
	struct vms_arena *arena;      /* [I] NULL for HOST */
	unsigned shift;		      /* [I] of the page size, in bits */
	atomic_uint refs;	      /* views and overlays above */
	enum content_kind kind;	      /* [I] */
	uint32_t flags;		  /* [I] VMS_OBJECT_* that are the content's: all but NO_WRITE */
	bool copy;		  /* [I] a snapshot or an overlay: no decommit */
	_Atomic(uint64_t) npages; /* [F/a] size */
	uint64_t stream;	  /* [F] bytes */

	struct pages pages;	/* ANON and PAGED, and overlays */
	uint64_t bias;		/* [I] */
	struct arena_nook nook; /* [F] where single frames come from */
	/*
	 * Readers without the lock take this, copy, and then look whether it has moved. It moves
	 * after a frame left the tree or a shared node was left to others, and before the lock is
	 * dropped: nobody can have written there before, as whoever has the frame now needs the
	 * lock first. (Moving before the change would miss who came in between.)
	 */
	_Atomic(uint64_t) seq; /* [F/a] */

	struct content *below;	       /* [I] the root under an overlay, with a count */
	uint64_t below_at;	       /* [I] the root's page that shows at our page 0 */
	_Atomic(uint64_t) below_limit; /* [F/a] pages from there on show zeros; only falls */
	struct content *overlays;      /* [F] of a root: those above, by overlay_next */
	struct content *overlay_next, **overlay_link; /* [F of the root] = the same family */
	struct itree shown;			      /* [F] who shows which pages; shown.h */
	uint64_t high; /* [F] of them those that keep pages from reclaim, and overlays with such */

	uint64_t pins;	   /* [F] held on all pages */
	uint64_t locks;	   /* [F] DISCARDABLE: lock calls that are not undone */
	bool discarded;	   /* [F] */
	uint64_t children; /* [F] live children of its views that are no slices: no decommit */

	struct source *source; /* [I] PAGED */
	int fd;		       /* [I] FILE: our duplicate, else -1 */
	bool fd_writable;      /* [I] */
	unsigned char *hva;    /* [I] HOST */
	/* DISCARDABLE: registered by content.c; PAGED: by source_create, until source_destroy */
	struct arena_evictable evictable;
	void (*release)(void *arg); /* [I] called at the very end; the creator's */
	void *release_arg;	    /* [I] */
};

/* ---- Views ---- */

struct view {
	struct vms_object object;  /* kind OBJECT_VIEW; its count is the view's */
	struct content *content;   /* [I] with a count */
	enum vms_object_kind kind; /* [I] */
	uint32_t flags;		   /* [I] as created */
	uint64_t at, npages;	   /* [I] SLICE: its window, in pages of the content */
	uint64_t id;		   /* [I] */
	bool snapshot;		   /* [I] */
	/* Who is whose child, for people and for no_children; [F]. When a view ends its children
	 * become its parent's. */
	struct view *parent;
	struct view *children, *sibling, **link;
	uint64_t nchildren;
	void (*no_children)(void *arg);
	void (*release)(void *arg);
	void *arg;
	struct epoch_head retired; /* ended: memory that readers may still look at */
};

static inline struct view *view_of(struct vms_object *obj)
{
	return (struct view *)obj;
}

/* A range of a view in pages of its content; see view_range. */
struct page_range {
	struct content *content;
	uint64_t first, n; /* pages, rounded outward */
	uint64_t off;	   /* bytes, in the content */
};
/*
 * Check [off, off + len) against the view's size at this moment: 0 or -ERANGE with a sentence that
 * names both ranges. Sizes may change until the lock is taken: content_range_holds looks again.
 */
int view_range(struct vms_object *obj, uint64_t off, uint64_t len, const char *what,
	       struct page_range *r);
int content_range_holds(const struct content *c, uint64_t first, uint64_t n)
	REQUIRES(c->family->lock); /* 0 or -ERANGE with a sentence */
uint64_t view_bytes(const struct vms_object *obj);
/* -ESTALE in a forked child, -EINVAL for an object that is no view; the first check of every call.
 */
int view_usable(struct vms_object *obj);

/* ---- Life ---- */

/*
 * A new content in parent's family, or in one of its own (parent NULL), with one count. All zero
 * but for what the arguments say; not yet visible to anyone but through the family's list.
 */
int content_create(const struct world *w, struct vms_arena *arena, struct content *parent,
		   enum content_kind kind, uint32_t flags, uint64_t npages, struct content **out);
struct content *content_ref(struct content *c);
/* Ends the content at 0: its pages, its source, its descriptor. Iterative: an overlay's root after
 * it. => no lock held. */
void content_unref(struct content *c);
/* For evictable.hold and .let_go: a count of the content, unless it is ending. */
bool content_hold(struct arena_evictable *e);
void content_let_go(struct arena_evictable *e);
/* A view of c, which takes over the caller's count of c. Links it to parent (may be NULL). */
int view_create(struct content *c, enum vms_object_kind kind,
		const struct vms_object_params *params, struct view *parent, struct view **out);
/* The child, which has no parent, becomes one of parent's; NULL: of nobody's. => the lock of their
 * family. */
void view_adopt(struct view *parent, struct view *child);
/* Params as a caller gave them: 0 or -EINVAL. */
int params_flags(const struct vms_object_params *params, uint32_t allowed);
/* Their size in pages: 0 or -ERANGE. */
int params_pages(uint64_t bytes, unsigned shift, uint64_t *npages);
/* A DISCARDABLE content may be emptied from now on. */
void discard_register(struct content *c);

/* ---- The gate ---- */

/* Close the gate and wait for the writers inside. Drops the lock while it waits: look at everything
 * again. */
void family_close(struct family *f) REQUIRES(f->lock);
void family_open(struct family *f) REQUIRES(f->lock);
/* Wait until no gate is closed, as a writer must before it trusts what it sees. Also drops the
 * lock. */
void family_wait_open(struct family *f) REQUIRES(f->lock);
/* A writer found exclusive pages and goes inside, still under the lock; leaves without it. */
void family_go_inside(struct family *f) REQUIRES(f->lock);
void family_leave_inside(struct family *f) EXCLUDES(f->lock);

/* ---- What is missing ---- */

enum ask_kind {
	ASK_NOTHING,
	ASK_ROOM,    /* past the limit: evict n pages */
	ASK_FILE,    /* overlay over a file: bring pages of below into the tree */
	ASK_REQUEST, /* linked with the source under the lock: send it */
};

struct ask {
	enum ask_kind kind;
	uint64_t n;	       /* ROOM */
	struct content *c;     /* FILE: the overlay */
	uint64_t first, pages; /* FILE: pages of c */
	struct vms_wait *wait; /* the caller's, or NULL */
	struct vms_wait own;   /* used where the caller gave none but the pager answers at once */
	unsigned tries;	       /* ROOM: how often it was tried */
};
void ask_init(struct ask *ask, struct vms_wait *wait);
/*
 * After a try under the lock returned ASK: get what was missing, no lock held. 0: try again; else
 * the call's result: VMS_WAIT, -EAGAIN, -ENOMEM, or the pager's or the file's answer.
 */
int ask_serve(struct ask *ask);
#define ASK 2 /* result of a try: *ask says what for */

/* ---- Pages, under the lock ---- */

enum need {
	NEED_READ,  /* something to read there: own, below's, or zero */
	NEED_OWN,   /* a frame of its own (COMMIT, pin) */
	NEED_WRITE, /* that, and dirty where a pager wants to know */
};

/*
 * What a reader sees at page i: a frame (of c or of below), FRAME_NONE with *absent false for
 * zeros, or *absent: a pager or file must be asked (*root, *root_page: whom for what). Also
 * callable without the lock inside an epoch section.
 */
struct seen {
	frame_t frame;
	bool absent;
	bool own;    /* the slot of c itself stands for it */
	slot_t slot; /* of c */
};
struct seen content_see(const struct content *c, uint64_t page);

/*
 * Make pages [first, first + n) of c satisfy the need. All of them or none: 0 (done), ASK, or an
 * error; content never changes. Frames that are made hold the bytes that were seen before, except
 * pages in [whole_first, whole_first + whole_n) (whole pages the caller is about to overwrite):
 * these are not installed; their frames come back in *fresh, in order of their pages, for
 * content_install. Pages there that are exclusive already stay.
 */
struct content_fresh {
	uint64_t first, n;	  /* the caller overwrites these pages wholly; n == 0: none */
	struct frame_list frames; /* one for each of them that is not an exclusive frame yet */
};
int content_need(struct content *c, uint64_t first, uint64_t n, enum need need,
		 struct content_fresh *fresh, struct ask *ask) REQUIRES(c->family->lock);
/* Put a frame, written to by the caller, at page i in place of what stands there. Cannot fail after
 * content_need gave it. */
void content_install(struct content *c, uint64_t page, frame_t f, struct frame_batch *freed)
	REQUIRES(c->family->lock);
/* The exclusive frame at page i, or FRAME_NONE. */
frame_t content_own(const struct content *c, uint64_t page) REQUIRES(c->family->lock);
/* Frames or shared nodes have left c's tree, under this hold of the lock: readers without the lock
 * must look again. */
void content_bump(struct content *c) REQUIRES(c->family->lock);
/* Would a page without own frame show the root? */
bool content_shows_below(const struct content *c, uint64_t page);
/* The slot that reads as zero at page i and hides below: SLOT_EMPTY or SLOT_ZERO. (Not for PAGED.)
 */
slot_t content_zero_slot(const struct content *c, uint64_t page);

/*
 * The validator of a whole family: 0, or -EINVAL with a sentence. *frames (may be NULL): how many
 * the family holds; over all families of an arena they add up to what it has granted. For tests.
 */
int content_check(struct vms_object *any, uint64_t *frames);

#endif
