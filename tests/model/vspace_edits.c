// SPDX-License-Identifier: MIT
/* vspace_edits.c: what changes a space: its life, branches, regions, mappings, range operations. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "twins.h"
#include "vspace.h"

/* ---- spaces ---- */

static struct vms_mmu *new_mmu(uint64_t page, uint64_t lo, uint64_t hi)
{
	struct vms_mmu *mmu = NULL;
	int err = -EINVAL;

	switch (backend) {
	case RECORD:
		err = vms_mmu_record(&mmu);
		if (!err && rnd(2))
			record_lose(mmu, (enum record_loss)rnd(4), page * 8);
		break;
	case SOFT: {
		struct vms_mmu_soft_params p = { .size = sizeof(p), .page_size = page };

		err = vms_mmu_soft(&p, &mmu);
		break;
	}
	case HOST: {
		struct vms_mmu_host_params p = {
			.size = sizeof(p), .page_size = page, .lo = lo, .hi = hi
		};

		if (rnd(2))
			p.budget = 16 + rnd(64);
		err = vms_mmu_host(&p, &mmu);
		break;
	}
	}
	if (err)
		die("no backend: %d", err);
	return mmu;
}

static void register_cpu(struct side *s)
{
	if (backend != SOFT)
		return;
	s->cpu = aligned_alloc(64, (sizeof(*s->cpu) + 63) & ~(size_t)63);
	if (vms_cpu_init(s->mmu, s->cpu))
		die("no cpu");
}

void do_space_create(void)
{
	static const uint64_t pages[] = { 4096, 4096, 4096, 1024, 1024, 16384, 65536 };
	struct vms_space_params p = { .size = sizeof(p) };
	struct side *s = sides;
	unsigned npages = 64 + (unsigned)rnd(NSPACE_PAGES - 63);
	int err;

	while (s->space)
		s++;
	memset(s, 0, sizeof(*s));
	p.page_size = page_option ? page_option : pages[rnd(7)];
	if (backend == HOST && p.page_size < naive_page_size)
		p.page_size = naive_page_size;
	p.lo = rnd(256) * p.page_size + (UINT64_C(1) << 24);
	if (backend != HOST && rnd(3) == 0)
		p.lo = 0;
	p.hi = p.lo + npages * p.page_size;
	if (backend != HOST && rnd(3) == 0) {
		p.hi = 0;
		p.lo = -(npages * p.page_size);
	}
	if (rnd(2))
		p.flags = VMS_SPACE_RANDOM;
	p.seed = rnd(1000);
	p.fault_around = rnd(2) ? 0 : 1 + (uint32_t)rnd(16);
	describe("space %u: page %" PRIu64 " lo %#" PRIx64 " hi %#" PRIx64 " flags %u around %u",
		 side_index(s), p.page_size, p.lo, p.hi, p.flags, p.fault_around);
	s->mmu = new_mmu(p.page_size, p.lo, p.hi);
	p.mmu = s->mmu;
	err = vms_space_create(&p, &s->space);
	if (err)
		die("space_create: %d", err);
	nspace_init(&s->n, p.page_size, p.lo, npages);
	s->n.random = p.flags & VMS_SPACE_RANDOM;
	s->n.files = backend == HOST;
	register_cpu(s);
	s->handle[0] = vms_space_root(s->space);
}

void do_space_end(struct side *s)
{
	bool space_first = rnd(2);

	describe("space %u ends", side_index(s));
	if (s->cpu)
		vms_cpu_fini(s->cpu);
	free(s->cpu);
	if (space_first)
		vms_space_unref(s->space);
	for (unsigned i = 1; i < NSPACE_REGIONS; i++)
		vms_region_unref(s->handle[i]);
	if (!space_first)
		vms_space_unref(s->space);
	vms_mmu_unref(s->mmu);
	s->space = NULL;
	recount();
}

static int may_branch(const struct side *s)
{
	int err, want = 0;

	for (unsigned i = 0; i < s->n.npages; i++) {
		const struct naive_view *v = s->n.map[i].view;

		if (!v || (s->n.map[i].flags & VMS_MAP_SHARE))
			continue;
		err = naive_may_branch(v);
		if (err == -ENOTSUP)
			return err;
		if (err)
			want = err;
	}
	return want;
}

unsigned free_twins(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < TWINS_MAX; i++)
		n += !twins[i].naive;
	return n;
}

void do_branch(void)
{
	struct side *s = any_side(), *b = sides;
	struct vms_branch_params p = { .size = sizeof(p) };
	struct naive_content *copy_of[TWINS_MAX], *copy[TWINS_MAX];
	struct naive_view *from[TWINS_MAX];
	struct twin *to[TWINS_MAX];
	unsigned copies = 0, names = 0, k, c;
	int err, want = may_branch(s);

	while (b < sides + SIDES && b->space)
		b++;
	if (b == sides + SIDES || free_twins() < TWINS_MAX / 2)
		return;
	describe("space %u: branch of %u", side_index(b), side_index(s));
	memset(b, 0, sizeof(*b));
	b->mmu = new_mmu(s->n.page, s->n.lo, s->n.lo + s->n.npages * s->n.page);
	p.mmu = b->mmu;
	err = vms_space_branch(s->space, &p, &b->space);
	if (err) {
		vms_mmu_unref(b->mmu);
		b->space = NULL;
	}
	expect(err, want);
	if (err)
		return;
	b->n = s->n;
	b->handle[0] = vms_space_root(b->space);
	register_cpu(b);
	for (unsigned i = 0; i < NSPACE_REGIONS; i++) {
		struct nregion *r = &b->n.region[i];

		if (!r->alive)
			r->space = NULL;
		if (r->space)
			r->space = &b->n;
		if (r->parent)
			r->parent = b->n.region + (r->parent - s->n.region);
	}
	for (unsigned i = 0; i < b->n.npages; i++) {
		struct nmap *m = &b->n.map[i];

		b->n.in[i] = b->n.region + (b->n.in[i] - s->n.region);
		if (!m->view || (m->flags & VMS_MAP_SHARE))
			continue;
		for (k = 0; k < names && from[k] != m->view;)
			k++;
		if (k == names) {
			struct vms_mapping_info info = { .size = sizeof(info) };

			for (c = 0; c < copies && copy_of[c] != m->view->c;)
				c++;
			if (c == copies) {
				copy_of[copies] = m->view->c;
				copy[copies++] = NULL;
			}
			from[names] = m->view;
			to[names++] = twin_branch(m->view->user, &copy[c]);
			if (vms_find(b->space, b->n.lo + i * b->n.page, &info))
				die("nothing is mapped at %#" PRIx64, b->n.lo + i * b->n.page);
			to[k]->id = info.object_id;
		}
		m->view = to[k]->naive;
	}
	recount();
}

/* ---- regions ---- */

static bool region_room(const struct side *s)
{
	for (unsigned i = 1; i < NSPACE_REGIONS; i++)
		if (!s->n.region[i].space)
			return true;
	return false;
}

void do_region_create(void)
{
	struct side *s = any_side();
	unsigned parent = any_region(s);
	struct nregion *r = &s->n.region[parent], *child = NULL;
	struct vms_place place = any_place(s, r);
	struct vms_region_params p = { .size = sizeof(p) };
	struct vms_region *handle = NULL;
	uint64_t addr = 1, want_addr = 1;
	bool anywhere = rnd(6) == 0;
	int err, want;

	if (!region_room(s))
		return;
	p.rights = rnd(3) ? r->rights : (uint32_t)rnd(16);
	p.len = (1 + rnd(r->n > 40 ? 40 : r->n)) * s->n.page;
	if (rnd(30) == 0)
		p.rights = (uint32_t)rnd(20);
	if (rnd(40) == 0)
		p.len = rnd(2) ? 0 : 512;
	if (rnd(60) == 0)
		p.flags = 1;
	if (rnd(100) == 0)
		p.size--;
	describe("space %u: region in %u, len %#" PRIx64 " rights %u, place %u %#" PRIx64
		 " align %#" PRIx64 " entropy %u%s",
		 side_index(s), parent, p.len, p.rights, place.flags, place.addr, place.align,
		 place.entropy, anywhere ? " (none)" : "");
	err = vms_region_create(s->handle[parent], anywhere ? NULL : &place, &p, &handle,
				rnd(8) ? &addr : NULL);
	if (!err && addr == 1) {
		struct vms_region_info info = { .size = sizeof(info) };

		vms_region_info(handle, &info);
		addr = info.addr;
	}
	want = nspace_region_create(r, anywhere ? NULL : &place, &p, addr, &child, &want_addr);
	expect(err, want);
	if (err)
		return;
	if (addr != want_addr)
		die("the region is at %#" PRIx64 ", expected %#" PRIx64, addr, want_addr);
	s->handle[child - s->n.region] = handle;
}

/* Slots of regions that are dead and have no handle can be used again. */
static void reap(struct side *s)
{
	for (unsigned i = 1; i < NSPACE_REGIONS; i++)
		if (!s->n.region[i].alive && !s->handle[i])
			s->n.region[i].space = NULL;
}

void do_region_drop(void)
{
	struct side *s = any_side();
	unsigned i = any_region(s);

	if (!i)
		return;
	describe("space %u: the handle of region %u goes", side_index(s), i);
	vms_region_unref(s->handle[i]);
	s->handle[i] = NULL;
	reap(s);
}

void do_region_destroy(void)
{
	struct side *s = any_side();
	unsigned i = any_region(s);

	describe("space %u: destroy region %u", side_index(s), i);
	expect(vms_region_destroy(s->handle[i]), nspace_region_destroy(&s->n.region[i]));
	reap(s);
	recount();
}

static void set_priority(struct nregion *r, enum vms_priority priority)
{
	r->priority = priority;
	for (unsigned i = 0; i < NSPACE_REGIONS; i++)
		if (r->space->region[i].alive && r->space->region[i].parent == r)
			set_priority(&r->space->region[i], priority);
}

void do_priority(void)
{
	struct side *s = any_side();
	unsigned i = any_region(s);
	unsigned priority = (unsigned)rnd(rnd(10) ? 2 : 4);
	int err, want = priority > 1 ? -EINVAL : s->n.region[i].alive ? 0 : -EBUSY;

	describe("space %u: priority of region %u: %u", side_index(s), i, priority);
	err = vms_region_set_priority(s->handle[i], (enum vms_priority)priority);
	expect(err, want);
	if (!err)
		set_priority(&s->n.region[i], (enum vms_priority)priority);
}

/* ---- edits ---- */

/* What an edit that places something has answered, and where it is now. */
static void expect_at(int err, int want, uint64_t addr, uint64_t want_addr)
{
	expect(err, want);
	if (!err && addr != want_addr)
		die("it is at %#" PRIx64 ", expected %#" PRIx64, addr, want_addr);
	recount();
}

void do_map(void)
{
	struct side *s = any_side();
	unsigned in = any_region(s);
	struct nregion *r = &s->n.region[in];
	struct twin *t = twin_any();
	struct vms_map_params p = { .size = sizeof(p), .object = t->obj };
	uint64_t addr = 1, want_addr = 1, size = naive_bytes(t->naive) / s->n.page + 1;
	int err, want;

	p.place = any_place(s, r);
	p.prot = any_prot();
	p.off = rnd(size) * s->n.page;
	p.len = (1 + rnd(rnd(3) ? 8 : size + 3)) * s->n.page;
	if (rnd(3) == 0 && (p.place.flags & VMS_PLACE_AT)) {
		p.place.flags |= VMS_PLACE_OVER;
	} else if (rnd(4) == 0) { /* next to what is there, continuing it */
		unsigned i = (unsigned)rnd(s->n.npages - 1), beside;
		const struct nmap *m = &s->n.map[i];

		for (unsigned tries = 0; tries < 8 && (!m->view || m[1].view); tries++) {
			i = (unsigned)rnd(s->n.npages - 1);
			m = &s->n.map[i];
		}
		beside = (unsigned)(s->n.in[i + 1] - s->n.region);
		if (s->handle[beside]) { /* perhaps on the other side of a region's edge */
			in = beside;
			r = &s->n.region[in];
		}
		if (m->view && ((struct twin *)m->view->user)->obj) {
			t = m->view->user;
			p.object = t->obj;
			p.off = m->off + s->n.page;
			p.prot = m->prot;
			p.flags = m->flags;
			p.place = (struct vms_place){ .flags = VMS_PLACE_AT,
						      .addr = s->n.lo + (i + 1) * s->n.page };
			p.len = s->n.page * (1 + rnd(3));
		}
	}
	if (!p.flags) {
		p.flags = rnd(3) ? 0 : (uint32_t)rnd(rnd(10) ? 16 : 18);
		if (rnd(3)) /* mostly what can be mapped and branched */
			p.flags = (p.flags & ~(VMS_MAP_FIXED_SIZE | VMS_MAP_SHARE)) |
				  (naive_may_branch(t->naive) != -ENOTSUP ? 0 : VMS_MAP_SHARE);
	}
	if (rnd(4) == 0)
		p.ceiling = p.prot | VMS_PROT_READ | (uint32_t)rnd(8);
	if (rnd(80) == 0)
		p.ceiling = (uint32_t)rnd(9);
	if (rnd(60) == 0)
		p.off = -(rnd(6) * s->n.page);
	if (rnd(60) == 0)
		p.off += 512;
	if (rnd(40) == 0)
		p.len -= 512;
	if (rnd(80) == 0)
		p.len = rnd(2) ? 0 : UINT64_MAX - rnd(2000);
	if (rnd(200) == 0)
		p.size--;
	describe("space %u: map in %u: object %u off %#" PRIx64 " len %#" PRIx64
		 " prot %u ceiling %u flags %u place %u %#" PRIx64 " align %#" PRIx64 " entropy %u",
		 side_index(s), in, twin_index(t), p.off, p.len, p.prot, p.ceiling, p.flags,
		 p.place.flags, p.place.addr, p.place.align, p.place.entropy);
	err = vms_map(s->handle[in], &p, &addr);
	want = nspace_map(r, &p, t->naive, addr, &want_addr);
	expect_at(err, want, addr, want_addr);
}

void do_unmap(void)
{
	struct side *s = any_side();
	unsigned in = any_region(s);
	uint64_t addr, len;
	uint32_t flags = rnd(4) ? 0 : (uint32_t)rnd(rnd(10) ? 2 : 4);

	any_range(s, &s->n.region[in], &addr, &len);
	describe("space %u: unmap in %u: [%#" PRIx64 ", +%#" PRIx64 ") flags %u", side_index(s), in,
		 addr, len, flags);
	expect(vms_unmap(s->handle[in], addr, len, flags),
	       nspace_unmap(&s->n.region[in], addr, len, flags));
	reap(s);
	recount();
}

void do_protect(void)
{
	struct side *s = any_side();
	unsigned in = any_region(s);
	uint64_t addr, len;
	uint32_t prot = any_prot(), flags = rnd(4) ? 0 : (uint32_t)rnd(rnd(10) ? 2 : 4);

	any_range(s, &s->n.region[in], &addr, &len);
	describe("space %u: protect in %u: [%#" PRIx64 ", +%#" PRIx64 ") prot %u flags %u",
		 side_index(s), in, addr, len, prot, flags);
	expect(vms_protect(s->handle[in], addr, len, prot, flags),
	       nspace_protect(&s->n.region[in], addr, len, prot, flags));
}

void do_move(void)
{
	struct side *s = any_side();
	unsigned in = any_region(s);
	struct nregion *r = &s->n.region[in];
	struct vms_place place = any_place(s, r);
	bool anywhere = rnd(4) == 0;
	uint64_t addr, len, new_len, got = 1, at = 1;
	int err, want;

	any_range(s, r, &addr, &len);
	new_len = rnd(2) ? len : (1 + rnd(10)) * s->n.page - (rnd(10) ? 0 : 512);
	if (rnd(40) == 0)
		new_len = rnd(2) ? 0 : -rnd(3000);
	if (rnd(2) && (place.flags & VMS_PLACE_AT))
		place.flags |= VMS_PLACE_OVER;
	describe("space %u: move in %u: [%#" PRIx64 ", +%#" PRIx64 ") new len %#" PRIx64
		 " place %u %#" PRIx64 " align %#" PRIx64 " entropy %u%s",
		 side_index(s), in, addr, len, new_len, place.flags, place.addr, place.align,
		 place.entropy, anywhere ? " (none)" : "");
	err = vms_move(s->handle[in], addr, len, anywhere ? NULL : &place, new_len, &got);
	want = nspace_move(r, addr, len, anywhere ? NULL : &place, new_len, got, &at);
	if (!r->alive && err == -EBUSY) /* what the list does not tell apart */
		return;
	expect_at(err, want, got, at);
}

/* ---- operations on ranges ---- */

void do_region_op(void)
{
	struct side *s = any_side();
	unsigned in = any_region(s);
	enum vms_region_op op = (enum vms_region_op)(rnd(40) ? 1 + rnd(7) : rnd(9));
	uint64_t addr, len;
	struct vms_wait wait;
	int err, want;

	any_range(s, &s->n.region[in], &addr, &len);
	describe("space %u: op %d in %u: [%#" PRIx64 ", +%#" PRIx64 ")", side_index(s), op, in,
		 addr, len);
	if (s->fails) { /* how far it came would not be told */
		vms_mmu_record_fail(s->mmu, 0, ENOMEM);
		s->fails = false;
	}
	vms_wait_init(&wait);
	while ((err = vms_region_op(s->handle[in], op, addr, len, &wait)) == VMS_WAIT) {
		err = twins_wait(&wait);
		if (err)
			break;
	}
	want = nspace_region_op(&s->n.region[in], op, addr, len);
	expect(err, want);
}
