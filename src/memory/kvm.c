// SPDX-License-Identifier: MIT
/*
 * kvm.c: a virtual machine of KVM that shows the slots of a memory. See memory/kvm.h.
 *
 *	prepare		events → changes → a plan (kvm_slots.h); memory and ids are had, or not
 *	apply		deletes, moves, creates: each is a call that may fail; then what was done
 *			is undone
 *	commit, cancel	the plan is dropped: what KVM does not have is freed
 *
 * Invariants:
 *	1. k->slots is what KVM has, at any moment: also when an undo failed. Each has a count of
 *	   its block, which lives as long as KVM may show it
 *	2. KVM shows what may be read and has one host address a page. What may not be written is
 *	   READONLY. Slow slots are not shown, so the guest's accesses exit as a device's; one of
 *	   guest_memfd is told to KVM as such. A managed block is refused: its pages move
 *	3. Before KVM forgets what was written, the logs are told (kvm_log_last), or all of the
 *	   slot is marked (kvm_log_over_mark)
 *
 * When the gate is needed: when one of several calls takes something away, as the guest could see
 * a hole that is in neither state, or one change without the other; when a slot moves over its own
 * place; and with a log, whenever a slot goes or moves.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "base/range.h"
#include "memory/kvm.h"

/* ---- guest_memfd ---- */

struct guest {
	const struct world *world;
	unsigned char *hva; /* NULL: only the guest reaches it */
	int fd;		    /* ours */
	uint64_t off;
};

static int guest_read(void *arg, uint64_t off, void *buf, size_t len)
{
	const struct guest *g = arg;

	if (!g->hva)
		return -ENOTSUP;
	memcpy(buf, g->hva + off, len);
	return 0;
}

static int guest_write(void *arg, uint64_t off, const void *buf, size_t len)
{
	const struct guest *g = arg;

	if (!g->hva)
		return -ENOTSUP;
	memcpy(g->hva + off, buf, len);
	return 0;
}

static int guest_open(void *arg, uint64_t off, size_t len, uint32_t rights, void **hva,
		      void **cookie)
{
	const struct guest *g = arg;

	if (!g->hva)
		return -ENOTSUP;
	*hva = g->hva + off;
	*cookie = NULL;
	return 0;
}

static int guest_close(void *arg, void *cookie, size_t written)
{
	return 0;
}

static int guest_discard(void *arg, uint64_t off, uint64_t len, uint64_t *freed)
{
	const struct guest *g = arg;
	int err = g->world->fallocate(g->world, g->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				      g->off + off, len);

	*freed = err ? 0 : len;
	return err;
}

static void guest_release(void *arg)
{
	struct guest *g = arg;

	g->world->fd_close(g->world, g->fd);
	g->world->free(g->world, g, sizeof(*g));
}

static const struct vms_slow_ops guest_ops = {
	.size = sizeof(guest_ops),
	.read = guest_read,
	.write = guest_write,
	.open = guest_open,
	.close = guest_close,
	.discard = guest_discard,
	.release = guest_release,
};

int vms_kvm_guest_memfd(struct vms_edit *edit, uint64_t gpa, uint64_t len, int gmem_fd,
			uint64_t off, void *hva)
{
	const struct vms_memory *mem = edit_memory(edit);
	const struct world *w = mem->world;
	struct guest *g;
	uint64_t last;
	int err;

	if (!is_aligned(off | (uintptr_t)hva, mem->page_size) || !range_last(off, len, &last))
		return fail(-EINVAL,
			    "guest_memfd: %#" PRIx64 " bytes from %#" PRIx64 " at %p: pages only",
			    len, off, hva);
	g = w->alloc(w, sizeof(*g));
	if (!g)
		return fail(-ENOMEM, "no memory for a slot of guest_memfd");
	*g = (struct guest){ .world = w, .hva = hva, .fd = w->fd_dup(w, gmem_fd), .off = off };
	err = g->fd < 0 ? fail(g->fd, "guest_memfd: descriptor %d cannot be duplicated", gmem_fd)
			: vms_slot_map_slow(edit, gpa, len, &guest_ops, g, VMS_SLOT_RAM);
	if (!err)
		return 0;
	if (g->fd >= 0)
		w->fd_close(w, g->fd);
	w->free(w, g, sizeof(*g));
	return err;
}

/* ---- One call ---- */

static int set_guest(struct vms_kvm *k, const struct kvm_slot *s, uint64_t gpa, uint64_t bytes)
{
	const struct guest *g = s->back.block->slow_arg;
	struct kvm_userspace_memory_region2 r = {
		.slot = k->first_slot + s->id,
		.flags = KVM_MEM_GUEST_MEMFD,
		.guest_phys_addr = gpa,
		.memory_size = bytes,
		.userspace_addr = g->hva ? (uint64_t)(uintptr_t)g->hva + s->back.off : 0,
		.guest_memfd = (uint32_t)g->fd,
		.guest_memfd_offset = g->off + s->back.off,
	};

	return k->world->ioctl(k->world, k->fd, KVM_SET_USER_MEMORY_REGION2, &r);
}

int kvm_set(struct vms_kvm *k, const struct kvm_slot *s, uint64_t gpa, uint64_t bytes, bool logged)
{
	struct kvm_userspace_memory_region r = {
		.slot = k->first_slot + s->id,
		.flags = s->back.flags | (logged ? KVM_MEM_LOG_DIRTY_PAGES : 0),
		.guest_phys_addr = gpa,
		.memory_size = bytes,
		.userspace_addr = s->back.hva,
	};

	if (!bytes)
		r.flags = 0;
	else if (s->back.flags & KVM_SLOT_GUEST)
		return set_guest(k, s, gpa, bytes);
	return k->world->ioctl(k->world, k->fd, KVM_SET_USER_MEMORY_REGION, &r);
}

static int refused(int err, const char *what, const struct vms_kvm *k, const struct kvm_slot *s)
{
	return fail(err, "KVM refuses to %s slot %u, %#" PRIx64 " bytes at %#" PRIx64, what,
		    k->first_slot + s->id, kvm_slot_len(s), kvm_slot_gpa(s));
}

static int slot_delete(struct vms_kvm *k, struct kvm_slot *s)
{
	int err = kvm_set(k, s, 0, 0, false);

	if (err)
		return refused(err, "delete", k, s);
	kvm_slots_take(&k->slots, s);
	s->logged = false;
	k->deleted++;
	object_unref(&s->back.block->object);
	return 0;
}

/* New, or again. */
static int slot_create(struct vms_kvm *k, struct kvm_slot *s)
{
	bool logged = k->logging && kvm_is_loggable(s);
	int err = kvm_set(k, s, kvm_slot_gpa(s), kvm_slot_len(s), logged);

	if (err)
		return refused(err, "create", k, s);
	if (s->bits) /* KVM has read nothing of it yet */
		memset(s->bits, 0, kvm_slot_bits_bytes(&k->slots, s));
	kvm_slots_put(&k->slots, s);
	object_ref(&s->back.block->object);
	s->logged = logged;
	k->created++;
	return 0;
}

/* There, or back. */
static int slot_move(struct vms_kvm *k, struct kvm_slot *s)
{
	int err = kvm_set(k, s, s->other, kvm_slot_len(s), s->logged);

	if (err)
		return refused(err, "move", k, s);
	kvm_slots_moved(&k->slots, s);
	k->moved++;
	return 0;
}

/* ---- Preparing ---- */

/* What KVM is to show of a slot. */
static int back_of(const struct vms_kvm *k, const struct vms_slot_info *info, struct kvm_back *back)
{
	*back = (struct kvm_back){ 0 };
	if (!(info->access & VMS_SLOT_READ))
		return 0;
	if (info->kind == VMS_BLOCK_SLOW) {
		if (info->block->slow != &guest_ops)
			return 0;
		if (!(info->access & VMS_SLOT_WRITE))
			return fail(-ENOTSUP, "KVM has no read-only slots of guest_memfd");
		*back = (struct kvm_back){ .block = info->block,
					   .off = info->off,
					   .hva = info->off,
					   .flags = KVM_SLOT_GUEST };
		return 0;
	}
	if (!info->hva)
		return fail(-ENOTSUP,
			    "KVM cannot show block '%s': its pages have no address of "
			    "their own",
			    info->block->name);
	*back = (struct kvm_back){ .block = info->block,
				   .off = info->off,
				   .hva = (uint64_t)(uintptr_t)info->hva,
				   .flags = info->access & VMS_SLOT_WRITE ? 0 : KVM_SLOT_ROM };
	if (back->flags & KVM_SLOT_ROM && !k->readonly)
		return fail(-ENOTSUP, "this KVM has no read-only slots");
	if (info->gpa + info->len == 0)
		return fail(-ERANGE, "KVM has no slot at the end of the 64-bit space");
	return 0;
}

static bool is_same(const struct kvm_back *a, const struct kvm_back *b)
{
	return a->block == b->block && a->off == b->off && a->flags == b->flags;
}

/* Events that are something for KVM. */
static int list_changes(const struct vms_kvm *k, const struct vms_slot_event *ev, size_t n,
			struct kvm_change *changes, size_t *n_changes)
{
	*n_changes = 0;
	for (size_t i = 0; i < n; i++) {
		const struct vms_slot_info *at =
			ev[i].kind == VMS_SLOT_REMOVED ? &ev[i].before : &ev[i].after;
		struct kvm_back was = { 0 }, is = { 0 };
		int err = 0;

		if (ev[i].kind != VMS_SLOT_ADDED)
			err = back_of(k, &ev[i].before, &was);
		if (!err && ev[i].kind != VMS_SLOT_REMOVED)
			err = back_of(k, &ev[i].after, &is);
		if (err)
			return err;
		if (!is_same(&was, &is))
			changes[(*n_changes)++] =
				(struct kvm_change){ .gpa = at->gpa, .len = at->len, .show = is };
	}
	return 0;
}

static int plan(struct vms_kvm *k, const struct kvm_change *changes, size_t n)
{
	int err = kvm_plan_make(&k->slots, changes, n, &k->plan);

	if (err == -ENOSPC)
		return fail(err, "KVM has %u slots for us: too few", k->slots.n_ids);
	if (err)
		return fail(err, "no memory for a change of KVM's slots");
	err = kvm_log_prepare(k, k->plan.comes);
	if (err)
		kvm_plan_end(&k->slots, &k->plan);
	return err;
}

/* The first slots: a log that runs already is told later, when the guest may have written. */
static void join_logs(struct vms_kvm *k)
{
	k->logging |= memory_is_logged(k->mem);
	k->joined = true;
}

static int kvm_prepare(void *arg, const struct vms_slot_event *ev, size_t n)
{
	struct vms_kvm *k = arg;
	struct kvm_change *changes = k->world->alloc(k->world, n * sizeof(*changes));
	size_t n_changes;
	int err;

	if (!changes)
		return fail(-ENOMEM, "no memory for %zu changes of KVM's slots", n);
	if (!k->joined)
		join_logs(k);
	err = list_changes(k, ev, n, changes, &n_changes);
	if (!err)
		err = plan(k, changes, n_changes);
	k->world->free(k->world, changes, n * sizeof(*changes));
	return err;
}

static int kvm_needs_gate(void *arg, const struct vms_slot_event *ev, size_t n)
{
	const struct vms_kvm *k = arg;
	uint32_t takes = k->plan.n_goes + k->plan.n_moves;

	return takes && (k->logging || takes + k->plan.n_comes > 1 || k->plan.overlaps);
}

static void kvm_end_plan(void *arg, const struct vms_slot_event *ev, size_t n)
{
	struct vms_kvm *k = arg;

	kvm_plan_end(&k->slots, &k->plan);
}

/* ---- Applying ---- */

/*
 * As it was before the plan, wherever in it we are. Goes on after a failure: the rest may still
 * find its place. 0 or what KVM answered first.
 */
static int undo(struct vms_kvm *k, bool gated)
{
	bool unsure = k->logging && !gated;
	struct kvm_slot *s;
	int err = 0, one;

	for (s = k->plan.comes; s; s = s->next) {
		if (!s->stands)
			continue;
		one = slot_delete(k, s);
		err = err ? err : one;
		if (unsure)
			kvm_log_over_mark(k, s);
	}
	for (s = k->plan.moves; s; s = s->next) {
		if (!s->went)
			continue;
		one = slot_move(k, s);
		err = err ? err : one;
		if (unsure)
			kvm_log_over_mark(k, s);
	}
	for (s = k->plan.goes; s; s = s->next) {
		one = s->stands ? 0 : slot_create(k, s);
		err = err ? err : one;
	}
	return err;
}

/* Deletes and moves, and what was written to these slots before. */
static int take_away(struct vms_kvm *k, bool gated)
{
	bool logs = k->logging && (k->plan.goes || k->plan.moves);
	bool all = !logs || kvm_log_last(k, k->plan.goes, gated);
	struct kvm_slot *s;
	int err = 0;

	for (s = k->plan.goes; !err && s; s = s->next)
		err = slot_delete(k, s);
	for (s = k->plan.moves; !err && s; s = s->next)
		err = slot_move(k, s);
	for (s = k->plan.goes; !all && s; s = s->next)
		kvm_log_over_mark(k, s);
	for (s = k->plan.moves; !all && s; s = s->next)
		kvm_log_over_mark(k, s);
	if (logs)
		kvm_log_purge(k); /* before the ids name others */
	return err;
}

static int kvm_apply(void *arg, const struct vms_slot_event *ev, size_t n, int gated)
{
	struct vms_kvm *k = arg;
	int err = take_away(k, gated);

	for (struct kvm_slot *s = k->plan.comes; !err && s; s = s->next)
		err = slot_create(k, s);
	if (!err)
		return 0;
	return undo(k, gated) ? 1 : err;
}

static int kvm_revert(void *arg, const struct vms_slot_event *ev, size_t n, int gated)
{
	return undo(arg, gated);
}

static const struct vms_listener_ops kvm_ops = {
	.size = sizeof(kvm_ops),
	.prepare = kvm_prepare,
	.cancel = kvm_end_plan,
	.needs_gate = kvm_needs_gate,
	.apply = kvm_apply,
	.revert = kvm_revert,
	.commit = kvm_end_plan,
	.log_start = kvm_log_start,
	.log_stop = kvm_log_stop,
	.log_sync = kvm_log_sync,
	.log_clear = kvm_log_clear,
	/* Discards: KVM is told by the host's kernel. */
};

/* ---- Coming ---- */

#define MAX_PAGES UINT64_C(0x7fffffff) /* of one of KVM's slots */
#define HUGE_PAGE (UINT64_C(2) << 20)
#define RING	  65536u

static int capability(const struct vms_kvm *k, unsigned cap)
{
	return k->world->ioctl(k->world, k->fd, KVM_CHECK_EXTENSION, (void *)(uintptr_t)cap);
}

static int enable(const struct vms_kvm *k, unsigned cap, uint64_t arg)
{
	struct kvm_enable_cap e = { .cap = cap, .args = { arg } };

	return k->world->ioctl(k->world, k->fd, KVM_ENABLE_CAP, &e);
}

/* Some call that only a machine answers so. /dev/kvm itself knows capabilities too. */
static bool is_machine(const struct vms_kvm *k, uint32_t slot)
{
	struct kvm_dirty_log log = { .slot = slot };
	int err = k->world->ioctl(k->world, k->fd, KVM_GET_DIRTY_LOG, &log);

	return err == -ENOENT || err == -ENXIO;
}

static int check_params(const struct vms_kvm_params *p, uint64_t page)
{
	if (!p || p->size < sizeof(*p))
		return fail(-EINVAL, "kvm: params of %zu bytes, need %zu", p ? p->size : 0,
			    sizeof(*p));
	if (p->flags & ~(VMS_KVM_KEEP_PAGES | VMS_KVM_DIRTY_RING))
		return fail(-EINVAL, "kvm: unknown flags %#x", p->flags);
	if (p->ring_bytes &&
	    (!(p->flags & VMS_KVM_DIRTY_RING) || !is_pow2(p->ring_bytes) || p->ring_bytes < page))
		return fail(-EINVAL, "kvm: rings of %u bytes: a power of two, at least a page",
			    p->ring_bytes);
	if (!is_aligned(p->max_slot, max_u64(HUGE_PAGE, page)) || p->max_slot / page > MAX_PAGES)
		return fail(-EINVAL, "kvm: slots of at most %#" PRIx64 " bytes", p->max_slot);
	return 0;
}

/* How many slots are ours. */
static int count_slots(const struct vms_kvm *k, const struct vms_kvm_params *p, uint32_t *n)
{
	int has = capability(k, KVM_CAP_NR_MEMSLOTS);

	if (has < 0)
		return fail(-EINVAL, "kvm: descriptor %d is no virtual machine", k->fd);
	if (has == 0)
		has = 32;
	if (p->first_slot >= (uint32_t)has || p->slots > (uint32_t)has - p->first_slot)
		return fail(-EINVAL, "kvm: %u slots from %u on, but there are %d", p->slots,
			    p->first_slot, has);
	*n = p->slots ? p->slots : (uint32_t)has - p->first_slot;
	if (!is_machine(k, p->first_slot + *n - 1))
		return fail(-EINVAL,
			    "kvm: descriptor %d is no virtual machine, or slot %u is not "
			    "free",
			    k->fd, p->first_slot + *n - 1);
	return 0;
}

static int ring_capability(const struct vms_kvm *k, uint32_t bytes, unsigned *cap)
{
	int most = capability(k, KVM_CAP_DIRTY_LOG_RING_ACQ_REL);

	*cap = KVM_CAP_DIRTY_LOG_RING_ACQ_REL;
	if (most <= 0) {
		most = capability(k, KVM_CAP_DIRTY_LOG_RING);
		*cap = KVM_CAP_DIRTY_LOG_RING;
	}
	if (most <= 0)
		return fail(-ENOTSUP, "this KVM has no dirty rings");
	if (bytes > (uint32_t)most)
		return fail(-EINVAL, "kvm: rings of %u bytes, but at most %d", bytes, most);
	return 0;
}

/* What is asked of KVM. Rings and quirks cannot be taken back, so they come when all was checked.
 */
static int set_up(struct vms_kvm *k, const struct vms_kvm_params *p)
{
	bool keep = p->flags & VMS_KVM_KEEP_PAGES, ring = p->flags & VMS_KVM_DIRTY_RING;
	uint32_t bytes = p->ring_bytes ? p->ring_bytes : RING;
	unsigned cap = 0;
	int err = 0;

	k->readonly = capability(k, KVM_CAP_READONLY_MEM) > 0;
	if (keep) {
		int quirks = capability(k, KVM_CAP_DISABLE_QUIRKS2);

		if (quirks < 0 || !(quirks & KVM_X86_QUIRK_SLOT_ZAP_ALL))
			return fail(-ENOTSUP, "this KVM always drops all pages with a slot");
	}
	if (ring) {
		err = ring_capability(k, bytes, &cap);
		if (!err)
			err = kvm_rings_begin(k, bytes);
		if (err)
			return err;
		err = enable(k, cap, bytes);
		if (err)
			return fail(err, "kvm: no dirty rings of %u bytes; is there a vCPU?",
				    bytes);
	}
	if (keep) {
		err = enable(k, KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_SLOT_ZAP_ALL);
		if (err)
			return fail(err, "KVM does not disable a quirk that it has");
	}
	if (!ring && capability(k, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) > 0)
		k->manual = enable(k, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
				   KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE) == 0;
	return 0;
}

/* KVM has nothing of ours any more, and we nothing of KVM's. */
static void finish(struct vms_kvm *k)
{
	const struct world *w = k->world;
	struct kvm_slot *s;

	for_each_kvm_slot(s, &k->slots, 0, UINT64_MAX)
	{
		kvm_set(k, s, 0, 0, false);
		kvm_slot_free_bits(&k->slots, s);
		object_unref(&s->back.block->object);
	}
	if (k->manual)
		enable(k, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 0);
	kvm_rings_end(k);
	kvm_slots_fini(&k->slots);
	w->free(w, k, sizeof(*k));
}

int vms_kvm_attach(struct vms_memory *mem, int vm_fd, const struct vms_kvm_params *p,
		   struct vms_kvm **out)
{
	const struct world *w = mem->world;
	uint64_t max = align_down(MAX_PAGES * mem->page_size, HUGE_PAGE);
	struct vms_kvm *k;
	uint32_t n = 0;
	int err = check_params(p, mem->page_size);

	if (err)
		return err;
	k = w->alloc(w, sizeof(*k));
	if (!k)
		return fail(-ENOMEM, "no memory to attach a virtual machine");
	*k = (struct vms_kvm){ .mem = mem, .world = w, .fd = vm_fd, .first_slot = p->first_slot };
	err = count_slots(k, p, &n);
	if (!err) {
		err = kvm_slots_init(&k->slots, w, n, mem->page_size,
				     p->max_slot ? p->max_slot : max,
				     p->flags & VMS_KVM_DIRTY_RING);
		if (err)
			fail(err, "no memory for a table of %u slots", n);
	}
	if (!err)
		err = set_up(k, p);
	if (!err)
		err = vms_memory_listen(mem, &kvm_ops, k);
	if (err) {
		finish(k);
		return err;
	}
	vms_memory_ref(mem);
	*out = k;
	return 0;
}

void vms_kvm_detach(struct vms_kvm *k)
{
	struct vms_memory *mem;
	struct kvm_slot *s;

	if (!k)
		return;
	mem = k->mem;
	lock_take(&mem->space.lock);
	if (k->logging && kvm_log_sync(k)) /* what was written until now */
		for_each_kvm_slot(s, &k->slots, 0, UINT64_MAX) kvm_log_over_mark(k, s);
	lock_drop(&mem->space.lock);
	vms_memory_unlisten(mem, &kvm_ops, k);
	finish(k);
	memory_reap_soon(mem);
	vms_memory_unref(mem);
}

int vms_kvm_info(struct vms_kvm *k, struct vms_kvm_info *info)
{
	if (!info || info->size < sizeof(*info))
		return fail(-EINVAL, "kvm: info of %zu bytes, need %zu", info ? info->size : 0,
			    sizeof(*info));
	lock_take(&k->mem->space.lock);
	*info = (struct vms_kvm_info){ .size = info->size,
				       .slots = k->slots.n_used,
				       .max_slots = k->slots.n_ids,
				       .created = k->created,
				       .deleted = k->deleted,
				       .moved = k->moved,
				       .flagged = k->flagged,
				       .over_marked = k->over_marked,
				       .ring_entries = k->ring_entries };
	lock_drop(&k->mem->space.lock);
	return 0;
}
