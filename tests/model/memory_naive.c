// SPDX-License-Identifier: MIT
/* memory_naive.c: see memory_naive.h. */
#include "memory_naive.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "memory/dirty.h"
#include "vmspace/object.h"

__attribute__((format(printf, 1, 2))) static const char *say(const char *fmt, ...)
{
	static char text[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return text;
}

#define M2     (UINT64_C(2) << 20)
#define G1     (UINT64_C(1) << 30)
#define TWO(n) (UINT64_C(1) << (n))

const struct nlayout nlayouts[] = {
	{ "low", .n = 24 },
	{ "top", .ends = true, .n = 24 },
	{ "leaf", .base = M2 - 11 * NPAGE, .n = 24 }, /* over the border of a table's node */
	{ "limit", .base = 40 * NPAGE, .n = 24, .limit = 64 * NPAGE },
	{ "wide", .base = G1 - M2 - 4 * NPAGE, .n = 24,
	  .size = { 0,	       2 * NPAGE,      0,      M2, G1,		M2,	  M2 - NPAGE, 0,
		    3 * NPAGE, M2 - 3 * NPAGE, 2 * M2, 0,  511 * NPAGE, 511 * M2, M2,	      M2,
		    0,	       M2 - NPAGE,     0,      0,  0,		0,	  M2,	      0 } },
	/* For slow blocks: of all sizes that there are. */
	{ "huge", .ends = true, .n = 28,
	  .size = { 0,	     TWO(39), TWO(40), TWO(41), TWO(42), TWO(43),	  TWO(44),
		    TWO(45), TWO(46), TWO(47), TWO(48), TWO(49), TWO(50),	  TWO(51),
		    TWO(52), TWO(53), TWO(54), TWO(55), TWO(56), TWO(57),	  TWO(58),
		    TWO(59), TWO(60), TWO(61), TWO(62), TWO(62), TWO(62) - NPAGE, 0 } },
};

#define SLOW_WRAP (UINT64_C(1) << 20) /* bytes of a slow block are its offset modulo this */

const unsigned n_nlayouts = sizeof(nlayouts) / sizeof(nlayouts[0]);

void nmemory_lay(struct nmemory *m, const struct nlayout *layout)
{
	uint64_t all = 0;

	memset(m, 0, sizeof(*m));
	m->layout = layout;
	m->n = layout->n;
	for (unsigned i = 0; i < m->n; i++)
		all += layout->size[i] ? layout->size[i] : NPAGE;
	m->at[0] = layout->ends ? 0 - all : layout->base;
	for (unsigned i = 0; i < m->n; i++)
		m->at[i + 1] = m->at[i] + (layout->size[i] ? layout->size[i] : NPAGE);
}

/* ---- Blocks ---- */

struct nblock *nblock_new(struct nmemory *m)
{
	for (unsigned i = 0; i < NBLOCKS; i++)
		if (!m->block[i].kind) {
			m->block[i] = (struct nblock){ 0 };
			return &m->block[i];
		}
	return NULL;
}

static unsigned index_of(const struct nmemory *m, const struct nblock *b)
{
	return (unsigned)(b - m->block);
}

static bool is_equal(const struct ncell *a, const struct ncell *b)
{
	return a->b == b->b && (!a->b || (a->off == b->off && a->access == b->access));
}

/* Does cell i + 1 go on where cell i ends? */
static bool continues(const struct nmemory *m, const struct nstate *s, unsigned i)
{
	const struct ncell *a = &s->cell[i], *b = &s->cell[i + 1];

	return a->b == b->b && a->access == b->access &&
	       (!a->b || a->off + ncell_size(m, i) == b->off);
}

/* The run that starts at cell i, i the first of one: its cells. */
static unsigned run_at(const struct nmemory *m, const struct nstate *s, unsigned i)
{
	unsigned n = 1;

	while (i + n < m->n && continues(m, s, i + n - 1))
		n++;
	return n;
}

uint64_t nblock_slots(const struct nmemory *m, const struct nstate *s, const struct nblock *b)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < m->n; i += run_at(m, s, i))
		count += s->cell[i].b == b;
	return count;
}

bool nblock_is_alive(const struct nmemory *m, const struct nblock *b)
{
	return b->kind && (b->handle || b->registered || nblock_slots(m, &m->now, b));
}

void nblock_poke(struct nblock *b, uint64_t off, unsigned char byte)
{
	if (b->mem)
		b->mem[off % b->wrap] = byte;
	else
		vms_object_write(b->object, off, &byte, 1, NULL);
}

unsigned char nblock_peek(const struct nblock *b, uint64_t off)
{
	unsigned char byte = 0;

	if (b->mem)
		return b->mem[off % b->wrap];
	vms_object_read(b->object, off, &byte, 1, NULL);
	return byte;
}

void nblock_release(void *arg)
{
	((struct nblock *)arg)->released++;
}

static int slow_read(void *arg, uint64_t off, void *buf, size_t len)
{
	struct nblock *b = arg;

	b->calls++;
	for (size_t i = 0; i < len; i++)
		((unsigned char *)buf)[i] = nblock_peek(b, off + i);
	return b->released ? -EIO : 0;
}

static int slow_write(void *arg, uint64_t off, const void *buf, size_t len)
{
	struct nblock *b = arg;

	b->calls++;
	for (size_t i = 0; i < len; i++)
		nblock_poke(b, off + i, ((const unsigned char *)buf)[i]);
	return b->released ? -EIO : 0;
}

const struct vms_slow_ops nblock_slow = {
	.size = sizeof(nblock_slow),
	.read = slow_read,
	.write = slow_write,
	.release = nblock_release,
};

struct nblock *nblock_create(struct nmemory *m, uint32_t kind, uint32_t flags, unsigned char *hva,
			     uint64_t bytes)
{
	struct nblock *b = nblock_new(m);
	struct vms_block_params p = { .size = sizeof(p),
				      .flags = flags,
				      .kind = kind,
				      .bytes = bytes,
				      .hva = hva,
				      .release = kind == VMS_BLOCK_HOST ? nblock_release : NULL,
				      .arg = b };
	struct vms_block_info info = { .size = sizeof(info) };

	if (!b || vms_block_create(m->mem, &p, &b->block) || vms_block_info(b->block, &info))
		return NULL;
	b->kind = kind;
	b->standalone = flags & VMS_BLOCK_STANDALONE;
	b->read_only = flags & VMS_BLOCK_READ;
	b->registered = !b->standalone;
	b->handle = true;
	b->bytes = b->wrap = bytes;
	b->mem = info.hva;
	b->tells = p.release != NULL;
	return b;
}

struct nblock *nblock_for(struct nmemory *m, enum nverb verb, unsigned first, unsigned n,
			  unsigned char *hva)
{
	struct nblock *b = nblock_new(m);

	if (!b)
		return NULL;
	b->kind = verb == NMAP_HOST ? VMS_BLOCK_HOST : VMS_BLOCK_SLOW;
	b->standalone = true;
	b->bytes = ncells_size(m, first, n);
	b->wrap = verb == NMAP_HOST ? b->bytes : SLOW_WRAP;
	b->mem = hva;
	b->tells = true;
	return b;
}

const char *nblocks_sweep(struct nmemory *m, bool synchronized)
{
	uint64_t alive = 0;

	for (unsigned i = 0; i < NBLOCKS; i++) {
		struct nblock *b = &m->block[i];

		if (!b->kind)
			continue;
		if (nblock_is_alive(m, b)) {
			alive++;
			if (b->released)
				return say("block %u is alive, and was released", i);
			continue;
		}
		if (b->released > 1 || (b->tells && synchronized && !b->released))
			return say("block %u was released %u times", i, b->released);
		if (b->released || !b->tells)
			b->kind = 0;
	}
	if (synchronized && m->mem) {
		struct vms_memory_info info = { .size = sizeof(info) };

		if (vms_memory_info(m->mem, &info) || info.blocks != alive)
			return say("%" PRIu64 " blocks are alive, expected %" PRIu64, info.blocks,
				   alive);
	}
	return NULL;
}

/* ---- Life ---- */

unsigned char *nmemory_pool(void)
{
	static unsigned char *pool;

	if (!pool)
		pool = mmap(NULL, 3 * G1, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return pool == MAP_FAILED ? NULL : pool;
}

int nmemory_begin(struct nmemory *m, const struct nlayout *layout, const struct vms_gate *gate)
{
	struct vms_memory_params p = { .size = sizeof(p), .limit = layout->limit };
	int err;

	if (gate)
		p.gate = *gate;

	nmemory_lay(m, layout);
	err = vms_memory_create(&p, &m->mem);
	if (!err) {
		err = vms_port_create(m->mem, NULL, &m->port);
		if (err)
			vms_memory_unref(m->mem);
	}
	return err;
}

int nmemory_listen(struct nmemory *m)
{
	int err = vms_memory_listen(m->mem, &nmemory_listener, m);

	m->listens = !err;
	return err;
}

const char *nmemory_end(struct nmemory *m)
{
	vms_port_unref(m->port);
	vms_memory_unref(m->mem);
	m->mem = NULL;
	m->port = NULL;
	memset(&m->now, 0, sizeof(m->now));
	for (unsigned i = 0; i < NBLOCKS; i++) {
		struct nblock *b = &m->block[i];

		b->registered = false;
		if (b->kind && b->handle) {
			if (b->released)
				return say("block %u was released, and has a handle", i);
			vms_block_unref(b->block);
		}
		b->handle = false;
	}
	return nblocks_sweep(m, true);
}

/* ---- Changes ---- */

int nstate_change(const struct nmemory *m, struct nstate *s, const struct nchange *c)
{
	uint32_t access = c->access & VMS_SLOT_RAM;
	bool maps = c->verb <= NMAP_SLOW;

	for (unsigned i = c->first; i < c->first + c->n; i++) {
		if (maps && c->access & VMS_SLOT_NOREPLACE && s->cell[i].b)
			return -EEXIST;
		if (c->verb == NPROTECT && !s->cell[i].b)
			return -ENOENT;
	}
	if (c->verb == NMAP && !c->b->standalone && !c->b->registered)
		return -EBUSY;
	for (unsigned i = c->first; i < c->first + c->n; i++)
		if (c->verb == NPROTECT && s->cell[i].b->read_only && access & VMS_SLOT_WRITE)
			return -EACCES;
	for (unsigned i = c->first; i < c->first + c->n; i++) {
		if (maps)
			s->cell[i] = (struct ncell){ c->b, c->off + (m->at[i] - m->at[c->first]),
						     access };
		else if (c->verb == NUNMAP)
			s->cell[i] = (struct ncell){ 0 };
		else
			s->cell[i].access = access;
	}
	return 0;
}

int nchange_ask(const struct nmemory *m, struct vms_edit *edit, const struct nchange *c)
{
	uint64_t gpa = m->at[c->first], len = ncells_size(m, c->first, c->n);

	switch (c->verb) {
	case NMAP:
		return vms_slot_map(edit, gpa, len, c->b->block, c->off, c->access);
	case NMAP_HOST:
		return vms_slot_map_host(edit, gpa, len, c->b->mem, nblock_release, c->b,
					 c->access);
	case NMAP_SLOW:
		return vms_slot_map_slow(edit, gpa, len, &nblock_slow, c->b, c->access);
	case NUNMAP:
		return vms_slot_unmap(edit, gpa, len);
	default:
		return vms_slot_protect(edit, gpa, len, c->access);
	}
}

const char *nchange_text(const struct nmemory *m, const struct nchange *c)
{
	static const char *const verb[] = { "map", "map_host", "map_slow", "unmap", "protect" };
	static char text[160];

	if (c->verb == NUNMAP)
		snprintf(text, sizeof(text), "unmap [%u,%u)", c->first, c->first + c->n);
	else if (c->verb == NPROTECT)
		snprintf(text, sizeof(text), "protect [%u,%u) access %u", c->first, c->first + c->n,
			 c->access);
	else
		snprintf(text, sizeof(text), "%s [%u,%u) block %u off %#" PRIx64 " access %#x",
			 verb[c->verb], c->first, c->first + c->n, index_of(m, c->b), c->off,
			 c->access);
	return text;
}

/* ---- Comparing ---- */

/* Is it this block? One that is not known yet is known from now on, unless it is another's. */
static bool is_block(struct nmemory *m, struct nblock *b, struct vms_block *got)
{
	if (b->block)
		return b->block == got;
	for (unsigned i = 0; i < NBLOCKS; i++)
		if (m->block[i].kind && m->block[i].block == got && !m->block[i].released)
			return false;
	b->block = got;
	return got != NULL;
}

/* What the library says of cells [first, first + n), which are one run. */
static const char *info_differs(struct nmemory *m, const struct nstate *s, unsigned first,
				unsigned n, const struct vms_slot_info *got, const char *what)
{
	const struct ncell *c = &s->cell[first];
	bool direct = c->b->mem && c->b->kind != VMS_BLOCK_SLOW;

	if (got->gpa != m->at[first] || got->len != ncells_size(m, first, n))
		return say("%s: [%#" PRIx64 ", +%#" PRIx64 "), expected cells [%u,%u)", what,
			   got->gpa, got->len, first, first + n);
	if (got->access != c->access || got->off != c->off || got->kind != c->b->kind)
		return say("%s of cells [%u,%u): access %u kind %u off %#" PRIx64
			   ", expected %u, %u, %#" PRIx64,
			   what, first, first + n, got->access, got->kind, got->off, c->access,
			   c->b->kind, c->off);
	if (!is_block(m, c->b, got->block))
		return say("%s of cells [%u,%u): not block %u", what, first, first + n,
			   index_of(m, c->b));
	if (got->hva != (direct ? c->b->mem + c->off : NULL))
		return say("%s of cells [%u,%u): hva %p", what, first, first + n, got->hva);
	return NULL;
}

static bool same_event(const struct nmemory *m, const struct nstate *was, const struct nstate *is,
		       unsigned i)
{
	return !is_equal(&was->cell[i + 1], &is->cell[i + 1]) && continues(m, was, i) &&
	       continues(m, is, i);
}

/* The event that starts at or behind cell *i: its cells, 0: none. */
static unsigned next_event(const struct nmemory *m, const struct nstate *was,
			   const struct nstate *is, unsigned *i)
{
	unsigned n = 1;

	while (*i < m->n && is_equal(&was->cell[*i], &is->cell[*i]))
		++*i;
	if (*i == m->n)
		return 0;
	while (*i + n < m->n && same_event(m, was, is, *i + n - 1))
		n++;
	return n;
}

size_t nmemory_events(const struct nmemory *m, const struct nstate *was, const struct nstate *is)
{
	size_t count = 0;
	unsigned n;

	for (unsigned i = 0; (n = next_event(m, was, is, &i)); i += n)
		count++;
	return count;
}

const char *nmemory_events_differ(struct nmemory *m, const struct nstate *was,
				  const struct nstate *is, const struct vms_slot_event *ev,
				  size_t n)
{
	size_t want = nmemory_events(m, was, is), at = 0;
	unsigned cells;

	if (n != want)
		return say("%zu events, expected %zu", n, want);
	for (unsigned i = 0; (cells = next_event(m, was, is, &i)); i += cells, at++) {
		bool before = was->cell[i].b, after = is->cell[i].b;
		uint32_t kind = !before	 ? VMS_SLOT_ADDED
				: !after ? VMS_SLOT_REMOVED
					 : VMS_SLOT_CHANGED;
		const char *wrong;

		if (ev[at].kind != kind)
			return say("event %zu, of cells [%u,%u): kind %u, expected %u", at, i,
				   i + cells, ev[at].kind, kind);
		wrong = before ? info_differs(m, was, i, cells, &ev[at].before, "before") : NULL;
		if (!wrong && after)
			wrong = info_differs(m, is, i, cells, &ev[at].after, "after");
		if (wrong)
			return wrong;
	}
	return NULL;
}

/* One block each time is asked, and a large one seldom, as the answer takes the host long. */
static const char *blocks_differ(struct nmemory *m)
{
	bool asked = false;

	for (unsigned k = 0; k < NBLOCKS; k++) {
		unsigned i = (m->turn + k) % NBLOCKS;
		struct nblock *b = &m->block[i];
		struct vms_block_info info = { .size = sizeof(info) };

		if (!nblock_is_alive(m, b))
			continue;
		if (b->released)
			return say("block %u was released, and is alive", i);
		if (asked)
			continue;
		asked = true;
		m->turn = i + 1;
		if (b->bytes > 2000 * NPAGE && m->edits % 16)
			continue;
		if (vms_block_info(b->block, &info))
			return say("block %u: no info", i);
		if (info.slots != nblock_slots(m, &m->now, b) || info.pins ||
		    info.bytes != b->bytes || info.kind != b->kind)
			return say("block %u: %" PRIu64 " slots, %" PRIu64 " pins, %#" PRIx64
				   " bytes, kind %u; expected %" PRIu64 ", 0, %#" PRIx64 ", %u",
				   i, info.slots, info.pins, info.bytes, info.kind,
				   nblock_slots(m, &m->now, b), b->bytes, b->kind);
	}
	return NULL;
}

const char *nmemory_slots_differ(struct nmemory *m)
{
	struct vms_memory_info info = { .size = sizeof(info) };
	struct vms_slot_cursor cursor = { 0 };
	uint64_t slots = 0, mapped = 0;
	struct vms_slot_info slot;
	const char *wrong;
	unsigned n;

	for (unsigned i = 0; i < m->n; i += n) {
		n = run_at(m, &m->now, i);
		/* Any byte of the run, by look-up; the middle of its last cell is as good as any.
		 */
		int err = vms_slot_find(m->mem, m->at[i + n - 1] + ncell_size(m, i + n - 1) / 2,
					&slot);

		if (!m->now.cell[i].b) {
			if (err != -ENOENT)
				return say("cell %u is found: %d", i + n - 1, err);
			continue;
		}
		if (err)
			return say("cell %u is not found: %d", i + n - 1, err);
		wrong = info_differs(m, &m->now, i, n, &slot, "find");
		if (wrong)
			return wrong;
		err = vms_slot_next(m->mem, &cursor, &slot);
		if (err)
			return say("the walk does not reach cell %u: %d", i, err);
		wrong = info_differs(m, &m->now, i, n, &slot, "next");
		if (wrong)
			return wrong;
		slots++;
		mapped += slot.len;
	}
	if (vms_slot_next(m->mem, &cursor, &slot) != -ENOENT)
		return say("a slot too many: [%#" PRIx64 ", +%#" PRIx64 ")", slot.gpa, slot.len);
	if (vms_memory_info(m->mem, &info))
		return say("no info");
	if (info.slots != slots || info.mapped != mapped || info.edits != m->edits || info.broken)
		return say("%" PRIu64 " slots of %#" PRIx64 " bytes, %" PRIu64
			   " edits, broken %d; expected %" PRIu64 ", %#" PRIx64 ", %" PRIu64 ", 0",
			   info.slots, info.mapped, info.edits, info.broken, slots, mapped,
			   m->edits);
	if (vms_memory_check(m->mem))
		return say("the validator says: %s", vms_last_error());
	return blocks_differ(m);
}

/* The cell that holds gpa, or -1. */
static int cell_at(const struct nmemory *m, uint64_t gpa)
{
	for (unsigned i = 0; i < m->n; i++)
		if (gpa - m->at[i] < ncell_size(m, i))
			return (int)i;
	return -1;
}

/* The last address that shows the same as gpa, in cell i or in none, by distance and rights. */
static uint64_t same_until(const struct nmemory *m, const struct nstate *s, uint64_t gpa, int i)
{
	if (i < 0)
		return gpa < m->at[0] && s->cell[0].b ? m->at[0] - 1 : UINT64_MAX;
	while ((unsigned)i + 1 < m->n && continues(m, s, (unsigned)i))
		i++;
	if (!s->cell[i].b && (unsigned)i + 1 == m->n)
		return UINT64_MAX;
	return m->at[i + 1] - 1;
}

static const char *entry_differs(const struct nmemory *m, const struct nstate *s, uint64_t root,
				 uint64_t gpa)
{
	const struct table_entry *e = table_find(root, gpa);
	uint64_t last, at = e ? e->at : 0, off;
	int i = cell_at(m, gpa);
	const struct ncell *c = i < 0 ? NULL : &s->cell[i];
	const struct table_entry *again = table_find_span(root, gpa, &last);

	if (last < gpa || last > same_until(m, s, gpa, i))
		return say("the table at %#" PRIx64 ": the span ends at %#" PRIx64
			   ", what is shown at %#" PRIx64,
			   gpa, last, same_until(m, s, gpa, i));
	if ((again ? again->at : 0) != at || (at && again->more != e->more))
		return say("the table at %#" PRIx64 ": two look-ups differ", gpa);
	if (!c || !c->b)
		return at ? say("the table at %#" PRIx64 ": an entry where a hole is", gpa) : NULL;
	if (!at || (at & ENTRY_RIGHTS) != c->access)
		return say("the table at %#" PRIx64 ": %#" PRIx64 ", expected access %u", gpa, at,
			   c->access);
	off = c->off + (gpa & ~(NPAGE - 1)) - m->at[i];
	if (c->b->kind == VMS_BLOCK_SLOW || !c->b->mem) {
		if (!(at & ENTRY_SLOW) || (at & ~ENTRY_BITS) + (gpa & ~(NPAGE - 1)) != off ||
		    (c->b->block && e->more != (uint64_t)(uintptr_t)c->b->block))
			return say("the table at %#" PRIx64 ": not slow at %#" PRIx64, gpa, off);
		return NULL;
	}
	if (at & ENTRY_SLOW ||
	    (at & ~ENTRY_BITS) + (gpa & ~(NPAGE - 1)) != (uint64_t)(uintptr_t)c->b->mem + off)
		return say("the table at %#" PRIx64 ": not block %u at %#" PRIx64, gpa,
			   index_of(m, c->b), off);
	if (c->b->block && e->more != dirty_delta(c->b->block, off, gpa))
		return say("the table at %#" PRIx64 ": another dirty bit", gpa);
	return NULL;
}

const char *nmemory_table_differs(const struct nmemory *m, const struct nstate *s, uint64_t choice)
{
	uint64_t root = atomic_load_explicit(&m->mem->table.root, memory_order_acquire);
	const char *wrong = NULL;

	for (unsigned i = 0; i < m->n && !wrong; i++) {
		wrong = entry_differs(m, s, root, m->at[i]);
		if (!wrong)
			wrong = entry_differs(m, s, root, m->at[i + 1] - 1);
		if (!wrong)
			wrong = entry_differs(m, s, root, m->at[i] + choice % ncell_size(m, i));
	}
	/* Around the cells. */
	if (!wrong && m->at[0])
		wrong = entry_differs(m, s, root, m->at[0] - 1);
	if (!wrong && m->at[m->n])
		wrong = entry_differs(m, s, root, m->at[m->n]);
	return wrong;
}

/* A place in a cell; of a large one near its ends, so that the tests take little memory. */
static uint64_t place_in(const struct nmemory *m, unsigned i, uint64_t choice)
{
	uint64_t size = ncell_size(m, i), near = 16 * NPAGE;

	if (size <= 2 * near)
		return choice % size;
	return choice & 1 ? choice / 2 % near : size - 1 - choice / 2 % near;
}

void (*nblock_wrote)(struct nblock *b, uint64_t gpa, uint64_t off, uint64_t len);

static const char *byte_differs(struct nmemory *m, unsigned i, uint64_t in, unsigned char byte)
{
	const struct ncell *c = &m->now.cell[i];
	uint64_t gpa = m->at[i] + in, off = c->off + in;
	unsigned calls = c->b ? c->b->calls : 0;
	uint8_t got = 0;
	int err, want;

	if (c->b)
		nblock_poke(c->b, off, byte);
	want = !c->b ? -ENXIO : c->access & VMS_SLOT_READ ? 0 : -EACCES;
	err = vms_load8(m->port, gpa, &got);
	if (err != want || (!err && got != byte))
		return say("load at %#" PRIx64 " (cell %u): %d, %#x; expected %d, %#x", gpa, i, err,
			   got, want, byte);
	byte ^= 0x5a;
	want = !c->b ? -ENXIO : c->access & VMS_SLOT_WRITE ? 0 : -EACCES;
	err = vms_store8(m->port, gpa, byte);
	if (err != want)
		return say("store at %#" PRIx64 " (cell %u): %d, expected %d", gpa, i, err, want);
	if (!err && nblock_wrote)
		nblock_wrote(c->b, gpa, off, 1);
	if (c->b && nblock_peek(c->b, off) != (err ? byte ^ 0x5a : byte))
		return say("store at %#" PRIx64 " (cell %u), %d: the byte is %#x", gpa, i, err,
			   nblock_peek(c->b, off));
	if (c->b && c->b->kind == VMS_BLOCK_SLOW &&
	    c->b->calls - calls != !!(c->access & VMS_SLOT_READ) + !!(c->access & VMS_SLOT_WRITE))
		return say("a slow slot (cell %u): %u calls", i, c->b->calls - calls);
	return NULL;
}

/* As much as there is, from the middle of cell i on: at most a page and a half. */
static const char *bytes_differ(struct nmemory *m, unsigned i, uint64_t in)
{
	unsigned char got[NPAGE + NPAGE / 2];
	uint64_t gpa = m->at[i] + in, len = 0, have;
	struct vms_done done;
	unsigned k = i;

	for (have = ncell_size(m, i) - in; len < sizeof(got); have = ncell_size(m, k)) {
		if (!m->now.cell[k].b || !(m->now.cell[k].access & VMS_SLOT_READ))
			break;
		len = have < sizeof(got) - len ? len + have : sizeof(got);
		if (++k == m->n)
			break;
	}
	if (!len || (k == m->n && !m->at[k]))
		return NULL; /* not about statuses */
	done = vms_read(m->port, gpa, got, sizeof(got));
	if (done.status || done.done != len)
		return say("read at %#" PRIx64 ": %zu bytes, %d; expected %" PRIu64, gpa, done.done,
			   done.status, len);
	k = i;
	for (uint64_t n = 0; n < len; n++, in++) {
		if (in == ncell_size(m, k)) {
			in = 0;
			k++;
		}
		if (n % 61 == 0 || in < 3 || in + 3 > ncell_size(m, k))
			if (got[n] != nblock_peek(m->now.cell[k].b, m->now.cell[k].off + in))
				return say("read at %#" PRIx64 ": byte %" PRIu64 " differs", gpa,
					   n);
	}
	return NULL;
}

const char *nmemory_port_differs(struct nmemory *m, uint64_t choice, unsigned every)
{
	const char *wrong = NULL;

	if (!m->port)
		return NULL;
	for (unsigned i = (unsigned)(choice % every); i < m->n && !wrong; i += every) {
		uint64_t in = place_in(m, i, choice / 7);

		wrong = byte_differs(m, i, in, (unsigned char)(choice / 64 + i));
		if (!wrong && i % 4 == choice % 4)
			wrong = bytes_differ(m, i, in);
	}
	return wrong;
}

const char *nmemory_differs(struct nmemory *m, uint64_t choice)
{
	const char *wrong = nmemory_slots_differ(m);

	if (!wrong)
		wrong = nmemory_table_differs(m, &m->now, choice);
	return wrong ? wrong : nmemory_port_differs(m, choice, 1);
}

/* ---- An edit ---- */

static void hear(struct nmemory *m, const struct vms_slot_event *ev, size_t n,
		 const struct nstate *stands)
{
	struct nheard *h = &m->heard;

	if (!h->wrong && !h->is)
		h->wrong = "a listener hears of an edit that should come to nothing";
	if (!h->wrong)
		h->wrong = nmemory_events_differ(m, h->was, h->is, ev, n);
	if (!h->wrong)
		h->wrong = nmemory_table_differs(m, stands, 0);
}

static int hear_prepare(void *arg, const struct vms_slot_event *ev, size_t n)
{
	struct nmemory *m = arg;

	m->heard.prepared++;
	hear(m, ev, n, m->heard.was);
	return 0;
}

static int hear_apply(void *arg, const struct vms_slot_event *ev, size_t n, int gated)
{
	struct nmemory *m = arg;

	m->heard.applied++;
	hear(m, ev, n, m->heard.was);
	return gated ? -EIO : 0;
}

static void hear_commit(void *arg, const struct vms_slot_event *ev, size_t n)
{
	struct nmemory *m = arg;

	m->heard.committed++;
	hear(m, ev, n, m->heard.is);
}

static void hear_back(void *arg, const struct vms_slot_event *ev, size_t n)
{
	((struct nmemory *)arg)->heard.wrong = "cancelled";
}

const struct vms_listener_ops nmemory_listener = {
	.size = sizeof(nmemory_listener),
	.prepare = hear_prepare,
	.apply = hear_apply,
	.commit = hear_commit,
	.cancel = hear_back,
};

const char *nmemory_commit(struct nmemory *m, const struct nchange *c, unsigned n, int *result)
{
	const struct nstate was = m->now;
	struct nstate is = m->now;
	struct vms_edit *edit;
	unsigned times;
	int want = 0, got;

	got = vms_edit_begin(m->mem, &edit);
	if (got)
		return say("no edit: %d", got);
	for (unsigned i = 0; i < n; i++) {
		got = nchange_ask(m, edit, &c[i]);
		if (got) {
			vms_edit_abort(edit);
			return say("change %u: %d (%s)", i, got, vms_last_error());
		}
		if (!want)
			want = nstate_change(m, &is, &c[i]);
	}
	m->heard = (struct nheard){ .was = &was };
	if (!want && nmemory_events(m, &was, &is))
		m->heard.is = &is;
	*result = got = vms_edit_commit(edit);
	if (got != want)
		return say("commit: %d, expected %d (%s)", got, want, vms_last_error());
	if (m->heard.wrong)
		return m->heard.wrong;
	times = m->listens && m->heard.is;
	if (m->heard.prepared != times || m->heard.applied != times || m->heard.committed != times)
		return say("a listener heard prepare %u times, apply %u, commit %u; expected %u",
			   m->heard.prepared, m->heard.applied, m->heard.committed, times);
	m->edits += !want && nmemory_events(m, &was, &is);
	if (!want)
		m->now = is;
	m->heard = (struct nheard){ 0 };
	return nmemory_differs(m, (uint64_t)(m->edits * 12345 + n));
}

void nstate_print(const struct nmemory *m, const struct nstate *s)
{
	unsigned n;

	for (unsigned i = 0; i < m->n; i += n) {
		n = run_at(m, s, i);
		if (s->cell[i].b)
			fprintf(stderr, "  [%u,%u) block %u off %#" PRIx64 " access %u\n", i, i + n,
				index_of(m, s->cell[i].b), s->cell[i].off, s->cell[i].access);
	}
}
