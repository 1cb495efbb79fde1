/* SPDX-License-Identifier: MIT */
/*
 * pager_script.h: a pager that only writes down what it is told, so that a test can say what it
 * expects next, and a thread that touches pages. Every test ends with expect_nothing().
 */
#ifndef TESTS_PAGER_SCRIPT_H
#define TESTS_PAGER_SCRIPT_H

#include <pthread.h>
#include <stdbool.h>

#include "vmspace/pager.h"

#define P	     ((uint64_t)4096)
#define SCRIPT_NOTES 1024

enum note_kind { NOTE_READ = 1, NOTE_DIRTY, NOTE_CANCEL_READ, NOTE_CANCEL_DIRTY, NOTE_COMPLETE };

struct note {
	enum note_kind kind;
	uint64_t key, off, len; /* off, len: pages */
};

struct script {
	struct vms_pager *pager;
	pthread_mutex_t mutex;
	pthread_cond_t more;
	struct note note[SCRIPT_NOTES]; /* not yet expected */
	unsigned n;
	unsigned released;
	struct vms_object *obj; /* that the last callback named */
	/* Called in the request call, instead of a note, if set. */
	void (*answer)(struct script *s, struct vms_object *obj, enum vms_request_kind kind,
		       uint64_t off, uint64_t len);
};

void script_begin(struct script *s);
/* Closes the pager if the test has not (pager NULL); asserts that nothing was left unexpected. */
void script_end(struct script *s);

/* The next thing that the pager was told is this: waits for it up to 10 seconds. Pages. */
void expect(struct script *s, enum note_kind kind, uint64_t first, uint64_t n);
void expect_complete(struct script *s, uint64_t key);
/* Nothing was told that was not expected. */
void expect_nothing(struct script *s);

/* One arena and one paged object of the script's pager. limit: pages, 0 for none. */
struct vms_arena *arena_of(uint64_t limit);
struct vms_object *paged(struct vms_arena *a, struct script *s, uint64_t key, uint32_t flags,
			 uint64_t npages);
struct vms_object *anon(struct vms_arena *a, uint64_t npages);
/* Bytes of page i of object `seed`, all of them. */
void fill_pages(unsigned char *buf, unsigned seed, uint64_t first, uint64_t n);
/* Supply pages [first, first + n) with fill_pages(seed). */
void supply(struct script *s, struct vms_object *obj, unsigned seed, uint64_t first, uint64_t n);
/* Page i reads as fill_pages(seed) says, without asking anybody. */
void assert_page(struct vms_object *obj, unsigned seed, uint64_t page);
void assert_zero_page(struct vms_object *obj, uint64_t page);
/* The validator, and that granted pages are those of the arena's info. */
void assert_sound(struct vms_object *obj);

/* A thread that reads or writes whole pages, waiting as long as it takes. */
struct toucher {
	struct vms_object *obj;
	uint64_t first, n; /* pages */
	bool write;
	unsigned seed; /* of what is written */
	unsigned char *buf;
	int result;
	pthread_t thread;
};
void touch_start(struct toucher *t, struct vms_object *obj, bool write, uint64_t first, uint64_t n,
		 unsigned seed);
int touch_end(struct toucher *t); /* the result */
/* One access with waits of its own, in this thread. */
int touch(struct vms_object *obj, bool write, uint64_t first, uint64_t n, void *buf);

#endif
