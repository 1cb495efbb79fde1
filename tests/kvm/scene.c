// SPDX-License-Identifier: MIT
#include <stdlib.h>
#include <string.h>

#include "check.h"

#include "base/epoch.h"
#include "random.h"
#include "scene.h"

const char *const way_name[WAYS] = { "bitmap", "manual", "ring" };

struct fake_kvm machine;
struct vms_memory *mem;
struct vms_kvm *kvm;
struct vms_block *block[BLOCKS];
static uint64_t hva[BLOCKS];
struct vms_dirty *log_of[LOGS];
bool written[LOGS][BLOCKS][EACH]; /* since that log was harvested */
bool gated, in_gate, quiet;
bool exact; /* logs have nothing that was not written */
enum way way;
uint32_t seed;
static uint64_t exits;

unsigned below(unsigned n)
{
	return next32(&seed) % n;
}

/* ---- The guest ---- */

void guest_write(uint64_t page)
{
	struct fake_slot *s = fake_find(&machine, page * P);

	if (!fake_write(&machine, page * P + below(P), (uint8_t)page)) {
		exits++;
		return;
	}
	for (unsigned b = 0; b < BLOCKS; b++) {
		uint64_t at = s->hva + (page * P - s->gpa) - hva[b];

		for (unsigned l = 0; at < EACH * P && l < LOGS; l++)
			written[l][b][at / P] = log_of[l] != NULL;
	}
}

static void runs(struct fake_kvm *f, void *arg)
{
	if (!in_gate && !quiet)
		guest_write(below(PAGES));
}

static void enter(void *arg)
{
	assert_false(in_gate);
	in_gate = true;
	fake_leave(&machine);
}

static void leave(void *arg)
{
	assert_true(in_gate);
	in_gate = false;
}

/* ---- The scene ---- */

static void make_blocks(void)
{
	struct vms_block_params p = { .size = sizeof(p),
				      .kind = VMS_BLOCK_ANON,
				      .bytes = EACH * P };
	struct vms_block_info info = { .size = sizeof(info) };

	for (unsigned i = 0; i < BLOCKS; i++) {
		assert_ok(vms_block_create(mem, &p, &block[i]));
		assert_ok(vms_block_info(block[i], &info));
		hva[i] = (uint64_t)(uintptr_t)info.hva;
	}
}

int attach(void)
{
	struct vms_kvm_params p = { .size = sizeof(p),
				    .flags = way == RING ? VMS_KVM_DIRTY_RING : 0,
				    .first_slot = 3 };
	int err = vms_kvm_attach(mem, FAKE_VM, &p, &kvm);

	if (!err)
		err = vms_kvm_vcpu_add(kvm, FAKE_VCPU);
	return err ? err : vms_kvm_vcpu_add(kvm, FAKE_VCPU + 1);
}

void detach(void)
{
	vms_kvm_detach(kvm);
	kvm = NULL;
	assert_int_equal(fake_count(&machine), 0);
	assert_false(machine.manual);
	/* The machine is gone: its rings too. */
	memset(machine.ring, 0, sizeof(machine.ring));
	machine.ring_bytes = 0;
}

void begin(enum way how, bool with_gate)
{
	struct vms_memory_params p = { .size = sizeof(p) };

	fake_begin(&machine);
	machine.no_manual = how == BITMAP;
	machine.between = runs;
	memset(written, 0, sizeof(written));
	way = how;
	gated = exact = with_gate;
	in_gate = quiet = false;
	seed = 7;
	if (gated)
		p.gate = (struct vms_gate){ enter, leave, NULL };
	assert_ok(vms_memory_create(&p, &mem));
	make_blocks();
}

void end(void)
{
	machine.between = NULL;
	for (unsigned i = 0; i < LOGS; i++) {
		vms_dirty_stop(log_of[i]);
		log_of[i] = NULL;
	}
	if (kvm)
		detach();
	for (unsigned i = 0; i < BLOCKS; i++)
		vms_block_unref(block[i]);
	vms_memory_unref(mem);
	epoch_synchronize();
	fake_end(&machine);
}

struct vms_edit *edit(void)
{
	struct vms_edit *e;

	assert_ok(vms_edit_begin(mem, &e));
	return e;
}

void map(struct vms_edit *e, uint64_t page, uint64_t n, unsigned b, uint64_t off, uint32_t access)
{
	assert_ok(vms_slot_map(e, page * P, n * P, block[b], off * P, access));
}

int map_one(uint64_t page, uint64_t n, unsigned b, uint64_t off, uint32_t access)
{
	struct vms_edit *e = edit();

	map(e, page, n, b, off, access);
	return vms_edit_commit(e);
}

int unmap_one(uint64_t page, uint64_t n)
{
	struct vms_edit *e = edit();

	assert_ok(vms_slot_unmap(e, page * P, n * P));
	return vms_edit_commit(e);
}

/* KVM shows what the memory shows. */
void compare(void)
{
	for (uint64_t page = 0; page < PAGES; page++) {
		const struct fake_slot *s = fake_find(&machine, page * P);
		struct vms_slot_info info;
		bool shown = vms_slot_find(mem, page * P, &info) == 0 && info.hva &&
			     info.access & VMS_SLOT_READ;

		if (shown != (s != NULL))
			broken("page %lu: KVM shows %s", (long)page, s ? "a slot" : "nothing");
		if (!shown)
			continue;
		if (s->hva - s->gpa != (uint64_t)(uintptr_t)info.hva - info.gpa)
			broken("page %lu: KVM shows something else", (long)page);
		if (!(s->flags & KVM_MEM_READONLY) != !!(info.access & VMS_SLOT_WRITE))
			broken("page %lu: KVM has other rights", (long)page);
	}
	if (vms_memory_check(mem))
		broken("%s", vms_last_error());
}

/* ---- Logs ---- */

int saw(void *arg, struct vms_block *b, uint64_t off, uint64_t len)
{
	struct harvest *h = arg;

	assert_ptr_equal(b, block[h->block]);
	for (uint64_t i = off / P; i < (off + len) / P; i++)
		h->seen[i] = true;
	return 0;
}

/* What the log gives is what was written. */
void harvest_alone(unsigned l)
{
	for (unsigned b = 0; b < BLOCKS; b++) {
		struct harvest h = { l, b, { 0 } };

		assert_ok(vms_dirty_harvest(log_of[l], block[b], 0, EACH * P, saw, &h));
		for (unsigned i = 0; i < EACH; i++) {
			if (written[l][b][i] && !h.seen[i])
				broken("log %u lost page %u of block %u", l, i, b);
			if (exact && h.seen[i] && !written[l][b][i])
				broken("log %u has page %u of block %u: nobody wrote it", l, i, b);
			written[l][b][i] = false;
		}
	}
}

void harvest(unsigned l)
{
	fake_leave(&machine);
	assert_ok(vms_dirty_sync(log_of[l]));
	harvest_alone(l);
}

void log_begin(unsigned l)
{
	struct vms_dirty_params p = { .size = sizeof(p) };
	bool was_quiet = quiet;

	/* What KVM still has of before is the older log's; it would be too much for this one. */
	for (unsigned other = 0; other < LOGS; other++)
		if (log_of[other])
			harvest(other);
	quiet = true; /* what is written before the call returns may be in the log */
	fake_leave(&machine);
	assert_ok(vms_dirty_start(mem, &p, &log_of[l]));
	quiet = was_quiet;
	memset(written[l], 0, sizeof(written[l]));
}

void log_end(unsigned l)
{
	vms_dirty_stop(log_of[l]);
	log_of[l] = NULL;
	memset(written[l], 0, sizeof(written[l]));
}
