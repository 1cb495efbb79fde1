// SPDX-License-Identifier: MIT
/*
 * vspace_access.c: what uses a space: faults, copies, words, CPUs; what befalls its backend;
 * looking.
 *
 * A pager may have to be waited for: then other steps happen in between.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "twins.h"
#include "vspace.h"

/* ---- waiting ---- */

/* The wait for a batch of pages failed: some of them may be there. */
static bool wait_failed;

/*
 * Call until it need not wait. While it waits other steps happen, and now and then it is given up:
 * then the result is VMS_FAULT_WAIT.
 */
#define FAULTED(may_give_up, call)                                             \
	({                                                                     \
		struct vms_wait wait;                                          \
		enum vms_fault_result got_;                                    \
		vms_wait_init(&wait);                                          \
		wait_failed = false;                                           \
		while ((got_ = (call)) == VMS_FAULT_WAIT) {                    \
			int e_ = between(&wait, may_give_up);                  \
			if (e_) {                                              \
				wait_failed = e_ < 0;                          \
				got_ = e_ > 0 ? VMS_FAULT_WAIT : VMS_FAULT_IO; \
				break;                                         \
			}                                                      \
		}                                                              \
		describe("  %s", vms_fault_name(got_));                        \
		got_;                                                          \
	})

/* 0: call again; 1: given up; else what the pager failed with. */
static int between(struct vms_wait *wait, bool may_give_up)
{
	uint64_t steps = may_give_up && !nested ? rnd(3) : 0;
	int err;

	if (steps) {
		nested++;
		for (uint64_t n = steps; n; n--)
			do_step();
		nested--;
		if (rnd(6) == 0) {
			vms_wait_cancel(wait);
			return 1;
		}
	}
	err = twins_wait(wait);
	/* Who knows what stands there now. */
	return err && steps ? 1 : err;
}

/* The page of a map that the backend refuses is there all the same. */
static bool refused(struct side *s, enum vms_fault_result got)
{
	return got == VMS_FAULT_NO_MEMORY && s->fails;
}

/* ---- faults ---- */

/* Can its bytes be told without asking anybody? */
static bool is_there(const struct side *s, uint64_t addr)
{
	uint64_t off;
	const struct naive_view *v = nspace_at(&s->n, addr, &off);

	return v && off < naive_bytes(v) && naive_present(v, (unsigned)(off / naive_page_size));
}

void do_fault(void)
{
	struct side *s = any_side();
	uint64_t addr = any_cell(s), at = addr + rnd(cell);
	uint32_t access = any_access();
	enum vms_fault_result got, want;
	uint8_t *where;

	describe("space %u: fault at %#" PRIx64 " access %u", side_index(s), at, access);
	got = FAULTED(true, vms_fault(s->space, at, access, 0, &wait, NULL));
	if (got == VMS_FAULT_WAIT)
		return;
	want = nspace_fault(&s->n, addr, cell, access);
	if (refused(s, got) && want == VMS_FAULT_OK)
		return;
	if (got != want)
		die("the fault says %s, expected %s: %s", vms_fault_name(got), vms_fault_name(want),
		    show(s, addr));
	if (got == VMS_FAULT_OK && !s->fails && !(entry_of(s, addr, &where) & access))
		die("after the fault the access would fault again");
}

void do_fault_range(void)
{
	struct side *s = any_side();
	uint64_t addr = any_cell(s), len = (1 + rnd(24)) * cell * (rnd(2) ? 1 : 4), done = 0;
	uint32_t access = any_access();
	enum vms_fault_result got, want;

	describe("space %u: fault at %#" PRIx64 " len %#" PRIx64 " access %u", side_index(s), addr,
		 len, access);
	got = FAULTED(false, vms_fault(s->space, addr, access, len, &wait, &done));
	if (done > len || (got == VMS_FAULT_OK && !done))
		die("%s, and %#" PRIx64 " bytes", vms_fault_name(got), done);
	for (uint64_t at = 0; at < done; at += cell) {
		want = nspace_fault(&s->n, addr + at, cell, access);
		if (want != VMS_FAULT_OK)
			die("%s, and %#" PRIx64 " bytes; but at %#" PRIx64 " is %s",
			    vms_fault_name(got), done, addr + at, vms_fault_name(want));
	}
	if (got == VMS_FAULT_OK || (wait_failed && is_there(s, addr + done)))
		return;
	want = nspace_fault(&s->n, addr + done, cell, access);
	if (got != want && !refused(s, got))
		die("the fault says %s at %#" PRIx64 ", expected %s", vms_fault_name(got),
		    addr + done, vms_fault_name(want));
}

/* The kernel may touch what was prepared. */
void do_prepare(void)
{
	struct side *s = any_side();
	uint64_t addr = any_cell(s), len = (1 + rnd(24)) * cell, done = 0;
	uint32_t access = any_access();
	enum vms_fault_result got, want;

	describe("space %u: prepare %#" PRIx64 " len %#" PRIx64 " access %u", side_index(s), addr,
		 len, access);
	got = FAULTED(false, vms_space_prepare(s->space, addr, len, access, &wait, &done));
	if (done > len || (got == VMS_FAULT_OK) != (done == len))
		die("%s, and %#" PRIx64 " bytes", vms_fault_name(got), done);
	for (uint64_t at = 0; at < done; at += cell) {
		uint8_t *where = NULL;

		want = nspace_fault(&s->n, addr + at, cell, access);
		if (want != VMS_FAULT_OK)
			die("%#" PRIx64 " bytes are prepared; but at %#" PRIx64 " is %s", done,
			    addr + at, vms_fault_name(want));
		if (backend == HOST && (!(entry_of(s, addr + at, &where) & access) ||
					!touch_host(where, scratch, cell, false)))
			die("%#" PRIx64 " is not prepared", addr + at);
	}
	if (got == VMS_FAULT_OK || (wait_failed && is_there(s, addr + done)))
		return;
	want = nspace_fault(&s->n, addr + done, cell, access);
	if (got != want && !refused(s, got))
		die("%s at %#" PRIx64 ", expected %s", vms_fault_name(got), addr + done,
		    vms_fault_name(want));
}

/* ---- bytes ---- */

static void poke(struct side *s, uint64_t addr, uint8_t value)
{
	uint64_t off;
	struct naive_view *v = nspace_at(&s->n, addr, &off);

	naive_poke(v, off, value);
}

/*
 * What stopped a copy at addr + done is what an access there meets; before it all went well. Of a
 * write, value is what each cell gets, and it gets it before the next one is come to: a page that
 * is copied for the next one may show this one.
 */
static void expect_stop(struct side *s, uint64_t addr, uint64_t len, uint64_t done,
			enum vms_fault_result got, const uint8_t *value)
{
	uint32_t access = value ? VMS_PROT_WRITE : VMS_PROT_READ;
	uint64_t start = addr & ~(cell - 1);
	enum vms_fault_result want;

	if (done > len || (got == VMS_FAULT_OK) != (done == len))
		die("%s, and %#" PRIx64 " of %#" PRIx64 " bytes", vms_fault_name(got), done, len);
	for (uint64_t i = 0; done && i < done + (addr - start); i += cell) {
		want = nspace_access(&s->n, start + i, cell, access);
		if (want != VMS_FAULT_OK)
			die("%#" PRIx64 " bytes were copied, but at %#" PRIx64 " is %s", done,
			    start + i, vms_fault_name(want));
		if (value)
			poke(s, start + i, *value);
	}
	if (got == VMS_FAULT_OK)
		return;
	want = nspace_access(&s->n, (addr + done) & ~(cell - 1), cell, access);
	if (got != want && !refused(s, got))
		die("%s at %#" PRIx64 ", expected %s: %s", vms_fault_name(got), addr + done,
		    vms_fault_name(want), show(s, addr + done));
}

void do_read(void)
{
	struct side *s = any_side();
	uint8_t *buf = buffers[nested];
	uint64_t addr = any_cell(s) + (rnd(2) ? 0 : rnd(cell));
	size_t len = 1 + (size_t)rnd(12 * cell), done = 0;
	enum vms_fault_result got;

	describe("space %u: read %#" PRIx64 " len %#zx", side_index(s), addr, len);
	got = FAULTED(true, vms_space_read(s->space, addr, buf, len, &wait, &done));
	if (got == VMS_FAULT_WAIT) /* what was copied before other steps is past */
		return;
	expect_stop(s, addr, len, done, got, NULL);
	for (size_t i = 0; i < done; i++)
		if (buf[i] != byte_at(&s->n, addr + i))
			die("byte %#" PRIx64 " is %#x, expected %#x", addr + i, buf[i],
			    byte_at(&s->n, addr + i));
}

void do_write(void)
{
	struct side *s = any_side();
	uint8_t *buf = buffers[nested];
	uint64_t addr = any_cell(s);
	size_t len = rnd(2) ? cell : (size_t)(1 + rnd(12)) * cell, done = 0;
	uint8_t value = (uint8_t)rnd(256);
	enum vms_fault_result got;

	describe("space %u: write %#" PRIx64 " len %#zx value %#x", side_index(s), addr, len,
		 value);
	memset(buf, value, len);
	/* Of more than one cell, others would see the first while we wait for the last. */
	got = FAULTED(len == cell, vms_space_write(s->space, addr, buf, len, &wait, &done));
	if (got == VMS_FAULT_WAIT) /* what was copied before other steps is past */
		return;
	expect_stop(s, addr, len, done, got, &value);
}

void do_string(void)
{
	struct side *s = any_side();
	uint8_t *buf = buffers[nested];
	uint64_t addr = any_cell(s) + (rnd(2) ? 0 : rnd(cell));
	size_t len = 1 + (size_t)rnd(12 * cell), done = 0;
	enum vms_fault_result got;

	describe("space %u: string %#" PRIx64 " len %#zx", side_index(s), addr, len);
	got = FAULTED(true, vms_space_read_string(s->space, addr, (char *)buf, len, &wait, &done));
	if (got == VMS_FAULT_WAIT) /* what was copied before other steps is past */
		return;
	if (got == VMS_FAULT_OK && done < len && done && !buf[done - 1])
		len = done;
	expect_stop(s, addr, len, done, got, NULL);
	for (size_t i = 0; i < done; i++) {
		if (buf[i] != byte_at(&s->n, addr + i))
			die("byte %#" PRIx64 " is %#x, expected %#x", addr + i, buf[i],
			    byte_at(&s->n, addr + i));
		if (!buf[i] && i + 1 < done)
			die("the string goes on after its end");
	}
}

static bool is_of_file(const struct side *s, uint64_t addr)
{
	uint64_t off;
	const struct naive_view *v = nspace_at(&s->n, addr, &off);

	return v && v->c->kind == VMS_OBJECT_KIND_FILE;
}

/* One word; then the rest of its cell, so that a cell has one value again. */
void do_word(void)
{
	struct side *s = any_side();
	uint8_t *buf = buffers[nested];
	uint64_t addr = any_cell(s), at;
	unsigned size = 1u << rnd(4), what = (unsigned)rnd(3);
	uint64_t mask = size == 8 ? UINT64_MAX : (UINT64_C(1) << size * 8) - 1, word = 0, old = 0;
	uint8_t value = (uint8_t)rnd(256);
	enum vms_fault_result got = VMS_FAULT_OK, want;
	int swapped = 1;
	bool hit = true;

	at = addr + rnd(cell / size) * size;
	if (rnd(20) == 0 && size > 1) /* a byte is aligned anywhere, also past the cell */
		at++;
	describe("space %u: %s %u bytes at %#" PRIx64 " value %#x", side_index(s),
		 what == 0   ? "load"
		 : what == 1 ? "store"
			     : "cas",
		 size, at, value);
	memset(&word, value, 8);
	if (what == 0) {
		got = FAULTED(true, vms_space_load(s->space, at, size, &old, &wait));
	} else if (what == 1) {
		got = FAULTED(true, vms_space_store(s->space, at, size, word, &wait));
	} else {
		if (is_there(s, addr) && rnd(3))
			memset(&old, byte_at(&s->n, addr), 8);
		old &= mask;
		got = FAULTED(false, vms_space_cas(s->space, at, size, &old, word & mask, &swapped,
						   &wait));
	}
	if (got == VMS_FAULT_WAIT)
		return;
	want = at % size ? VMS_FAULT_DENIED
			 : nspace_access(&s->n, addr, cell, what ? VMS_PROT_WRITE : VMS_PROT_READ);
	/* Where the address is no multiple, nothing is said of what else is wrong there. */
	if (at % size && got != VMS_FAULT_OK)
		return;
	if (refused(s, got) && want == VMS_FAULT_OK)
		return;
	if (what == 2 && got == VMS_FAULT_DENIED && is_of_file(s, addr))
		return; /* a file's bytes are not in this process */
	if (got != want)
		die("%s, expected %s: %s", vms_fault_name(got), vms_fault_name(want),
		    show(s, addr));
	if (got != VMS_FAULT_OK)
		return;
	memset(&word, byte_at(&s->n, addr), 8);
	if (what == 0 && old != (word & mask))
		die("loaded %#" PRIx64 ", expected %#" PRIx64, old, word & mask);
	if (what == 2) {
		hit = swapped;
		if (!hit && old != (word & mask))
			die("cas found %#" PRIx64 ", expected %#" PRIx64, old, word & mask);
		if (hit && old != (word & mask))
			die("cas swapped %#" PRIx64 ", but there stood %#" PRIx64, old,
			    word & mask);
	}
	if (what == 0 || !hit)
		return;
	got = vms_space_read(s->space, addr, buf, cell, NULL, NULL);
	if (nspace_rights(&s->n, addr, VMS_PROT_READ) != VMS_FAULT_OK)
		return;
	if (got != VMS_FAULT_OK)
		die("what was written cannot be read: %s", vms_fault_name(got));
	for (size_t i = 0; i < cell; i++)
		if (buf[i] != (i - (at - addr) < size ? value : (uint8_t)word))
			die("byte %zu of the cell is %#x", i, buf[i]);
	memset(buf, value, cell);
	got = vms_space_write(s->space, addr, buf, cell, NULL, NULL);
	if (got != VMS_FAULT_OK)
		die("the cell cannot be written: %s", vms_fault_name(got));
	poke(s, addr, value);
}

/* A CPU: through the entries, and faults where they grant nothing. */
void do_cpu(void)
{
	struct side *s = any_side();
	uint8_t *buf = buffers[nested];
	uint64_t addr = any_cell(s);
	bool write = rnd(2);
	uint32_t access = write ? VMS_PROT_WRITE : VMS_PROT_READ;
	uint8_t value = (uint8_t)rnd(256), *at = NULL;
	enum vms_fault_result got, want;

	describe("space %u: cpu %s at %#" PRIx64 " value %#x", side_index(s),
		 write ? "stores" : "loads", addr, value);
	for (unsigned tries = 0; !(entry_of(s, addr, &at) & access); tries++) {
		if (tries > 20)
			die("it faults for ever");
		got = FAULTED(true, vms_fault(s->space, addr, access, 0, &wait, NULL));
		if (got == VMS_FAULT_WAIT)
			return;
		want = nspace_fault(&s->n, addr, cell, access);
		if (refused(s, got) && want == VMS_FAULT_OK)
			return;
		if (got != want)
			die("the fault says %s, expected %s: %s", vms_fault_name(got),
			    vms_fault_name(want), show(s, addr));
		if (got != VMS_FAULT_OK)
			return;
	}
	check_entry(s, addr);
	if (!write)
		return;
	memset(buf, value, cell);
	if (backend != HOST)
		memcpy(at, buf, cell);
	else if (!touch_host(at, buf, cell, true))
		die("the window cannot be written");
	poke(s, addr, value);
}

/* A TLB grants no more than the truth. */
static void check_granted(struct side *s, uint64_t addr, bool write)
{
	uint64_t off = 0;
	struct naive_view *v = nspace_at(&s->n, addr, &off);
	unsigned page = (unsigned)(off / naive_page_size);

	if (nspace_rights(&s->n, addr, write ? VMS_PROT_WRITE : VMS_PROT_READ) != VMS_FAULT_OK ||
	    off >= naive_bytes(v) || v->c->discarded || !naive_present(v, page) ||
	    (write && !naive_may_write_through(v, page)))
		die("the TLB grants the access: %s", show(s, addr));
}

/* A CPU with a TLB: a word is loaded, or a cell stored word by word. */
void do_tlb(void)
{
	struct side *s = any_side();
	uint64_t addr = any_cell(s), word = 0, same = 0, at = addr + rnd(cell / 8) * 8;
	bool write = rnd(2);
	uint32_t access = write ? VMS_PROT_WRITE : VMS_PROT_READ;
	enum vms_fault_result got, want;

	if (!s->cpu)
		return;
	memset(&word, (int)rnd(256), 8);
	describe("space %u: tlb %s at %#" PRIx64 " value %#x", side_index(s),
		 write ? "stores" : "loads", at, (unsigned)(word & 255));
	for (unsigned tries = 0;
	     !(write ? vms_tlb_store64(s->cpu, at, word) : vms_tlb_load64(s->cpu, at, &same));
	     tries++) {
		if (tries > 20 || s->cpu->miss != at)
			die("it faults for ever, now at %#" PRIx64, s->cpu->miss);
		got = FAULTED(true, vms_fault(s->space, at, access, 0, &wait, NULL));
		if (got == VMS_FAULT_WAIT)
			return;
		want = nspace_fault(&s->n, addr, cell, access);
		if (got != want)
			die("the fault says %s, expected %s: %s", vms_fault_name(got),
			    vms_fault_name(want), show(s, addr));
		if (got != VMS_FAULT_OK)
			return;
	}
	check_granted(s, addr, write);
	if (!write) {
		memset(&word, byte_at(&s->n, addr), 8);
		if (same != word)
			die("the TLB shows %#" PRIx64 ", expected %#" PRIx64, same, word);
		return;
	}
	for (uint64_t i = 0; i < cell; i += 8)
		if (!vms_tlb_store64(s->cpu, addr + i, word))
			die("the right to write has gone");
	poke(s, addr, (uint8_t)word);
}

void do_trouble(void)
{
	struct side *s = any_side();
	uint64_t n = cells_of(s), first = rnd(n);

	s->fails = false;
	switch (rnd(backend == RECORD ? 4 : 2)) {
	case 0:
		describe("space %u: the backend is emptied", side_index(s));
		s->mmu->entries->empty(s->mmu);
		break;
	case 1: {
		uint64_t granule = s->n.page < naive_page_size ? s->n.page : naive_page_size;
		uint64_t a = s->n.lo + (first * cell & ~(granule - 1));

		describe("space %u: the backend loses %#" PRIx64, side_index(s), a);
		s->mmu->entries->unmap(s->mmu, a, a + granule - 1);
		break;
	}
	case 2:
		describe("space %u: how the backend loses entries", side_index(s));
		record_lose(s->mmu, (enum record_loss)rnd(4), s->n.page << rnd(5));
		break;
	default:
		describe("space %u: a map of the backend will fail", side_index(s));
		vms_mmu_record_fail(s->mmu, 1 + rnd(3), ENOMEM);
		s->fails = true;
		return;
	}
	vms_mmu_record_fail(s->mmu, 0, ENOMEM);
}

void do_look(void)
{
	struct side *s = any_side();
	unsigned i = (unsigned)rnd(s->n.npages), k, first, in = any_region(s);
	struct vms_mapping_info info = { .size = sizeof(info) };
	uint64_t addr = s->n.lo + i * s->n.page + rnd(s->n.page), len;
	struct nregion *r = &s->n.region[in];
	struct vms_walk walk;
	int err;

	describe("space %u: look at %#" PRIx64 ", walk %u", side_index(s), addr, in);
	err = vms_find(s->space, addr, &info);
	expect(err, s->n.map[i].view ? 0 : -ENOENT);
	if (!err) {
		first = nspace_run(&s->n, i, &k);
		if (info.addr != s->n.lo + first * s->n.page || info.len != k * s->n.page ||
		    info.off != s->n.map[first].off)
			die("found [%#" PRIx64 ", +%#" PRIx64 ") off %#" PRIx64, info.addr,
			    info.len, info.off);
	}
	if (!r->alive) {
		err = vms_walk_begin(&walk, s->handle[in], s->n.lo + r->first * s->n.page,
				     s->n.page, 0);
		expect(err, -EBUSY);
		return;
	}
	first = r->first + (unsigned)rnd(r->n);
	len = (1 + rnd(r->first + r->n - first)) * s->n.page;
	check_walk(s, in, s->n.lo + first * s->n.page, len);
}
