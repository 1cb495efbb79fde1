/* SPDX-License-Identifier: MIT */
/*
 * naive.h: objects that are too simple to be wrong.
 *
 * A naive object copies eagerly: a snapshot is a copy of every page. So that shares can be told,
 * each page with memory carries the number of its frame; a copy carries the same number, until it
 * is written, and then gets a new one. Who shares a frame is found by looking at every object.
 *
 * A page's bytes are CELLS cells of one value each. Every call does what the public call of the
 * same name should, and returns what it should return.
 */
#ifndef TESTS_NAIVE_H
#define TESTS_NAIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmspace/object.h"

#define CELLS 4
#ifndef MAX_PAGES
#define MAX_PAGES 10
#endif
#define BACKING MAX_PAGES

enum naive_mark { NAIVE_EMPTY, NAIVE_ZERO, NAIVE_ZERO_DIRTY, NAIVE_ZERO_CLEANING };
enum naive_dirty { NAIVE_CLEAN, NAIVE_DIRTY, NAIVE_CLEANING };

struct naive_page {
	uint64_t frame; /* 0: none, then `mark` says what stands there */
	enum naive_mark mark;
	enum naive_dirty dirty;
	bool always; /* ALWAYS_NEED */
	unsigned pins;
	uint8_t cell[CELLS];
};

struct naive_content {
	struct naive_content *next; /* all that live */
	int refs;
	enum vms_object_kind kind; /* ANON, FILE, HOST, PAGED */
	uint32_t flags;
	unsigned npages;
	uint64_t stream;
	bool copy;
	unsigned children; /* that are no slices */
	struct naive_page page[MAX_PAGES];
	struct naive_content *below;
	unsigned below_at, below_limit;
	unsigned locks, pins;
	bool discarded, detached, modified;
	bool high; /* mapped in a region of high priority: not reclaimed (F92) */
	uint8_t backing[BACKING][CELLS]; /* PAGED, FILE and HOST: the bytes behind */
	bool hole[BACKING];		 /* PAGED: the pager supplies this page as zero */
	int refuse;			 /* PAGED: the pager fails every page with it; 0: none */
};

struct naive_view {
	struct naive_content *c;
	enum vms_object_kind kind; /* ANON, ..., SLICE, REFERENCE */
	uint32_t flags;
	unsigned at, npages; /* SLICE */
	bool snapshot;
	struct naive_view *parent;
	unsigned nchildren;
	struct naive_view *next; /* all that live */
	unsigned told;		 /* how often its no_children must have been called */
	void *user;		 /* the caller's */
};

extern struct naive_content *naive_contents;
extern struct naive_view *naive_views;
extern uint64_t naive_page_size;
/* Anonymous pages that read zero may have got frames of their own: frames cannot be counted. */
extern bool naive_eager;

struct naive_view *naive_create(enum vms_object_kind kind, uint32_t flags, uint64_t bytes);
int naive_child(struct naive_view *parent, enum vms_child_kind kind, uint64_t off, uint64_t bytes,
		uint32_t flags, struct naive_view **child);
void naive_drop(struct naive_view *v);
/* A branch's copy of a content, and what the branch has for a name of it; copy is NULL for the
 * first name, and then becomes the copy. -ENOTSUP, -EBUSY. */
int naive_branch(struct naive_view *v, struct naive_content **copy, struct naive_view **twin);
int naive_may_branch(const struct naive_view *v);

uint64_t naive_bytes(const struct naive_view *v);
/* May the page be read without a pager's help? */
bool naive_present(const struct naive_view *v, unsigned page);
/* Its cells, as a reader sees them now. */
void naive_show(const struct naive_view *v, unsigned page, uint8_t cell[CELLS]);

/* The pager has supplied page i of its object. */
void naive_supplied(struct naive_content *c, unsigned i);
/* The pager gave leave to write to it. */
void naive_dirtied(struct naive_content *c, unsigned i);
/*
 * What a CPU's access to [off, off + len) does before bytes are touched: pages are there, and of a
 * write, the content's own and dirty. Whatever the rights of this name of the content.
 */
int naive_touch(struct naive_view *v, uint64_t off, uint64_t len, bool write);
/* What a file shows at the byte off becomes a page of the overlay's own, if v is one. */
void naive_bring(struct naive_view *v, uint64_t off);
/* May an MMU entry that shows the page grant writing? */
bool naive_may_write_through(const struct naive_view *v, unsigned page);
/* A byte of the cell at off, at once, as naive_may_write_through() allows. */
void naive_poke(struct naive_view *v, uint64_t off, uint8_t value);

/* In bytes that are multiples of a cell. */
int naive_read(struct naive_view *v, uint64_t off, uint64_t len);
int naive_write(struct naive_view *v, uint64_t off, uint64_t len, uint8_t value);
int naive_op(struct naive_view *v, enum vms_object_op op, uint64_t off, uint64_t len);
int naive_resize(struct naive_view *v, uint64_t bytes);
int naive_stream(struct naive_view *v, uint64_t bytes);
int naive_pin(struct naive_view *v, uint64_t off, uint64_t len, bool writing);
int naive_unpin(struct naive_view *v, uint64_t off, uint64_t len);
int naive_transfer(struct naive_view *dst, uint64_t off, uint64_t len, struct naive_view *src,
		   uint64_t src_off, uint32_t flags);
int naive_lock(struct naive_view *v, bool must_hold, int *discarded);
int naive_unlock(struct naive_view *v);
void naive_reclaim(void);
int naive_detach(struct naive_view *v);
int naive_writeback(struct naive_view *v, uint64_t off, uint64_t len, bool end);

/* Frames in all: what the arena must have granted. */
uint64_t naive_frames(void);
/* The exact share of a view's content, as vms_object_share tells it; how many rows. */
unsigned naive_share(const struct naive_view *v, struct vms_share *rows, unsigned max);

#endif
