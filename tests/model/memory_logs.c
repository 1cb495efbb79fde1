// SPDX-License-Identifier: MIT
/* memory_logs.c: see memory_logs.h. */
#include "memory_logs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory_listeners.h"
#include "model.h"
#include "model_memory.h"

/* External logs are for the layouts below this. */
#define EXTERNAL_BYTES UINT64_C(1024)

struct log_model {
	struct vms_dirty *log; /* NULL: free */
	bool all_set, external;
	uint64_t page;
	uint64_t *bits[NBLOCKS]; /* by NPAGE */
	/* External: bits that must be there, and that may be. */
	unsigned char *memory, must[EXTERNAL_BYTES], may[EXTERNAL_BYTES];
};

static struct log_model logs[VMS_DIRTY_LOGS];
static struct nmemory *mem;

__attribute__((format(printf, 1, 2))) static const char *say(const char *fmt, ...)
{
	static char text[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return text;
}

static unsigned index_of(const struct nblock *b)
{
	return (unsigned)(b - mem->block);
}

static uint64_t pages_of(const struct nblock *b)
{
	return b->bytes / NPAGE;
}

static bool is_logged(const struct nblock *b)
{
	return b->kind && b->kind != VMS_BLOCK_SLOW;
}

/* ---- Sets of pages ---- */

static bool get(const struct log_model *l, const struct nblock *b, uint64_t page)
{
	const uint64_t *bits = l->bits[index_of(b)];

	return bits && bits[page / 64] >> page % 64 & 1;
}

static void set(struct log_model *l, const struct nblock *b, uint64_t first, uint64_t n, bool on)
{
	uint64_t **bits = &l->bits[index_of(b)];

	if (!*bits)
		*bits = calloc(pages_of(b) / 64 + 1, 8);
	if (!*bits || first + n > pages_of(b))
		die("the model is wrong");
	for (uint64_t p = first; p < first + n; p++)
		if (on)
			(*bits)[p / 64] |= UINT64_C(1) << p % 64;
		else
			(*bits)[p / 64] &= ~(UINT64_C(1) << p % 64);
}

static void set_all(struct log_model *l, const struct nblock *b)
{
	if (is_logged(b))
		set(l, b, 0, pages_of(b), true);
}

/* Guest pages that show the block's page. */
static void show_external(unsigned char *bits, const struct nblock *b, uint64_t page)
{
	for (unsigned i = 0; i < mem->n; i++) {
		const struct ncell *c = &mem->now.cell[i];
		uint64_t gpage = mem->at[i] / NPAGE;

		if (c->b == b && page * NPAGE >= c->off &&
		    page * NPAGE - c->off < ncell_size(mem, i)) {
			gpage += (page * NPAGE - c->off) / NPAGE;
			if (gpage / 8 < EXTERNAL_BYTES)
				bits[gpage / 8] |= (unsigned char)(1u << gpage % 8);
		}
	}
}

/* [off, off + len) of b was written: at gpa, or (NAMED) by somebody who names the block. */
#define NAMED UINT64_MAX /* not in any external log's range */

static void wrote(struct nblock *b, uint64_t gpa, uint64_t off, uint64_t len)
{
	uint64_t first = off / NPAGE, n = (off + len - 1) / NPAGE - first + 1;

	for (unsigned i = 0; i < VMS_DIRTY_LOGS; i++) {
		struct log_model *l = &logs[i];

		if (!l->log || !is_logged(b))
			continue;
		if (!l->external) {
			set(l, b, first, n, true);
			continue;
		}
		for (uint64_t p = first; p < first + n; p++) {
			show_external(l->may, b, p);
			if (gpa == NAMED)
				show_external(l->must, b, p);
		}
		if (gpa / NPAGE / 8 < EXTERNAL_BYTES)
			l->must[gpa / NPAGE / 8] |= (unsigned char)(1u << gpa / NPAGE % 8);
	}
}

static void told(struct nblock *b, uint64_t off, uint64_t len)
{
	wrote(b, NAMED, off, len);
}

/* ---- Harvests ---- */

struct harvest {
	struct log_model *l;
	struct nblock *b;
	uint64_t from, end; /* what may be given; from: behind the last run */
	unsigned stop;	    /* runs until fn has enough */
	const char *wrong;
};

static uint64_t group_end(const struct log_model *l, const struct nblock *b, uint64_t off)
{
	uint64_t end = off / l->page * l->page + l->page;

	return end < b->bytes ? end : b->bytes;
}

/* The first run in [from, end): false: none. Runs are of the log's pages. */
static bool next_run(const struct log_model *l, const struct nblock *b, uint64_t from, uint64_t end,
		     uint64_t *first, uint64_t *last)
{
	uint64_t at = from;

	for (*first = end; at < end; at = group_end(l, b, at)) {
		bool dirty = false;

		for (uint64_t o = at; o < group_end(l, b, at) && !dirty; o += NPAGE)
			dirty = get(l, b, o / NPAGE);
		if (dirty && *first == end)
			*first = at;
		if (!dirty && *first != end)
			break;
	}
	*last = at;
	return *first != end;
}

static int harvested(void *arg, struct vms_block *block, uint64_t off, uint64_t len)
{
	struct harvest *h = arg;
	uint64_t first, last;

	if (!next_run(h->l, h->b, h->from, h->end, &first, &last))
		h->wrong = say("harvest: [%#" PRIx64 ", +%#" PRIx64 ") is clean", off, len);
	else if (block != h->b->block || off != first || off + len != last)
		h->wrong = say("harvest: [%#" PRIx64 ", +%#" PRIx64 "), expected [%#" PRIx64
			       ", %#" PRIx64 ")",
			       off, len, first, last);
	if (h->wrong)
		return -EFAULT;
	set(h->l, h->b, off / NPAGE, len / NPAGE, false);
	h->from = last;
	return h->stop && --h->stop == 0 ? 77 : 0;
}

static const char *harvest(struct log_model *l, struct nblock *b, uint64_t off, uint64_t len,
			   unsigned stop)
{
	struct harvest h = { .l = l, .b = b, .from = off, .end = off + len, .stop = stop };
	uint64_t first, last;
	int err;

	describe("harvest of log %u, block %u [%#" PRIx64 ", +%#" PRIx64 ")", (unsigned)(l - logs),
		 index_of(b), off, len);
	err = vms_dirty_harvest(l->log, b->block, off, len, harvested, &h);
	if (h.wrong)
		return h.wrong;
	if (err != (stop && !h.stop ? 77 : 0))
		return say("harvest: %d", err);
	if (!err && next_run(l, b, h.from, h.end, &first, &last))
		return say("harvest: [%#" PRIx64 ", %#" PRIx64 ") is missing", first, last);
	return NULL;
}

static const char *external_differs(const struct log_model *l)
{
	for (unsigned i = 0; i < EXTERNAL_BYTES; i++) {
		if (l->must[i] & ~l->memory[i])
			return say("an external log lacks bits %#x of byte %u",
				   l->must[i] & ~l->memory[i], i);
		if (l->memory[i] & ~l->may[i] & ~l->must[i])
			return say("an external log has bits %#x of byte %u",
				   l->memory[i] & ~l->may[i], i);
	}
	return NULL;
}

/* ---- Steps ---- */

static struct nblock *any_logged(void)
{
	unsigned at = (unsigned)rnd(NBLOCKS);

	for (unsigned i = 0; i < NBLOCKS; i++) {
		struct nblock *b = &mem->block[(at + i) % NBLOCKS];

		/* Harvest takes a block that cannot go meanwhile. */
		if (is_logged(b) && b->handle)
			return b;
	}
	return NULL;
}

static unsigned running(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < VMS_DIRTY_LOGS; i++)
		n += logs[i].log != NULL;
	return n;
}

static void release(struct log_model *l)
{
	for (unsigned i = 0; i < NBLOCKS; i++)
		free(l->bits[i]);
	free(l->memory);
	memset(l, 0, sizeof(*l));
}

static const char *start(void)
{
	struct vms_dirty_params p = { .size = sizeof(p), .page_size = NPAGE << rnd(12) };
	uint64_t refused = model_memory.refused;
	struct vms_dirty *log = NULL;
	struct log_model *l = logs;
	int err, want = 0;

	while (l < logs + VMS_DIRTY_LOGS && l->log)
		l++;
	if (rnd(4) == 0)
		p.flags |= VMS_DIRTY_ALL_SET;
	if (l == logs + VMS_DIRTY_LOGS) {
		err = vms_dirty_start(mem->mem, &p, &log);
		return err == -EBUSY ? NULL : say("a log too many: %d", err);
	}
	if (rnd(4) == 0) {
		p.flags = VMS_DIRTY_EXTERNAL;
		p.page_size = 0;
		p.external = l->memory = calloc(1, EXTERNAL_BYTES);
		p.external_bytes = EXTERNAL_BYTES;
	}
	if (!running())
		want = listeners_log_expect();
	if (rnd(8) == 0)
		model_memory.fail_at = 1 + rnd(6);
	err = vms_dirty_start(mem->mem, &p, &log);
	model_memory.fail_at = 0;
	describe("start of log %u, flags %#x, page %#" PRIx64 ": %d", (unsigned)(l - logs), p.flags,
		 p.page_size, err);
	if (err) {
		release(l);
		if (err == -ENOMEM && model_memory.refused != refused)
			return NULL;
	}
	if (err != want)
		return say("start of a log: %d, expected %d", err, want);
	if (err)
		return NULL;
	l->log = log;
	l->external = p.flags & VMS_DIRTY_EXTERNAL;
	l->all_set = p.flags & VMS_DIRTY_ALL_SET;
	l->page = p.page_size;
	for (unsigned i = 0; i < NBLOCKS && l->all_set; i++)
		set_all(l, &mem->block[i]);
	listeners_log_on = true;
	return NULL;
}

static const char *stop(struct log_model *l)
{
	const char *wrong = l->external ? external_differs(l) : NULL;

	describe("stop of log %u", (unsigned)(l - logs));
	vms_dirty_stop(l->log);
	release(l);
	listeners_log_on = running();
	return wrong;
}

static const char *any_harvest(struct log_model *l, struct nblock *b)
{
	uint64_t groups = (b->bytes - 1) / l->page + 1, first, n, off, len;

	if (rnd(2))
		return harvest(l, b, 0, b->bytes, (unsigned)rnd(4));
	first = rnd(groups);
	n = 1 + rnd(groups - first);
	off = first * l->page;
	len = n * l->page;
	if (len > b->bytes - off)
		len = b->bytes - off;
	return harvest(l, b, off, len, (unsigned)rnd(3));
}

static const char *sync(struct log_model *l)
{
	int err;

	describe("sync of log %u", (unsigned)(l - logs));
	err = vms_dirty_sync(l->log);
	return err ? say("sync: %d", err) : NULL;
}

const char *logs_step(struct nmemory *m, bool waits)
{
	struct log_model *l = &logs[rnd(VMS_DIRTY_LOGS)];
	const char *wrong = NULL;
	uint64_t off, len;
	struct nblock *b;

	mem = m;
	b = any_logged();
	if (!l->log || rnd(8) == 0) {
		wrong = l->log && waits && rnd(2) ? stop(l) : start();
		return wrong ? wrong : listeners_log_differ();
	}
	if (l->external)
		return external_differs(l);
	if (!b)
		return NULL;
	off = rnd(2) ? rnd(b->bytes) : rnd(32 * NPAGE < b->bytes ? 32 * NPAGE : b->bytes);
	len = 1 + rnd(3 * NPAGE);
	if (len > b->bytes - off)
		len = b->bytes - off;
	switch (rnd(4)) {
	case 0:
		describe("mark block %u [%#" PRIx64 ", +%#" PRIx64 ")", index_of(b), off, len);
		vms_dirty_mark(b->block, off, len);
		wrote(b, NAMED, off, len);
		return NULL;
	case 1:
		listeners_saw(b, off, len);
		return NULL;
	case 2:
		return sync(l);
	default:
		return any_harvest(l, b);
	}
}

/* ---- Life ---- */

void logs_begin(struct nmemory *m)
{
	mem = m;
	listeners_told = told;
	nblock_wrote = wrote;
	listeners_log_on = false;
}

void logs_end(struct nmemory *m)
{
	mem = m;
	for (unsigned i = 0; i < VMS_DIRTY_LOGS; i++)
		if (logs[i].log) {
			const char *wrong = stop(&logs[i]);

			if (wrong)
				die("%s", wrong);
		}
}

void logs_new_block(struct nmemory *m, struct nblock *b)
{
	mem = m;
	for (unsigned i = 0; i < VMS_DIRTY_LOGS; i++) {
		struct log_model *l = &logs[i];

		free(l->bits[index_of(b)]);
		l->bits[index_of(b)] = NULL;
		if (l->log && l->all_set)
			set_all(l, b);
	}
}

void logs_forget(struct nmemory *m)
{
	mem = m;
	for (unsigned i = 0; i < VMS_DIRTY_LOGS; i++)
		for (unsigned k = 0; k < NBLOCKS; k++)
			if (logs[i].bits[k] && !nblock_is_alive(m, &m->block[k])) {
				free(logs[i].bits[k]);
				logs[i].bits[k] = NULL;
			}
}
