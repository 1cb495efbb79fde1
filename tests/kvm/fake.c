// SPDX-License-Identifier: MIT
#include "fake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "check.h"

#define P 4096u

/* ---- Slots ---- */

static bool meets_other(const struct fake_kvm *f, uint32_t id, uint64_t gpa, uint64_t bytes)
{
	for (uint32_t i = 0; i < FAKE_SLOTS; i++) {
		const struct fake_slot *s = &f->slot[i];

		if (i != id && s->bytes && s->gpa < gpa + bytes && gpa < s->gpa + s->bytes)
			return true;
	}
	return false;
}

static void log_on(struct fake_slot *s)
{
	s->dirty = calloc(1, s->bytes / P);
	s->writable = calloc(1, s->bytes / P);
}

static void log_off(struct fake_slot *s)
{
	free(s->dirty);
	free(s->writable);
	s->dirty = s->writable = NULL;
}

static int change(struct fake_kvm *f, uint32_t id, uint32_t flags, uint64_t gpa, uint64_t bytes,
		  uint64_t hva, int gmem_fd, uint64_t gmem_off)
{
	uint32_t known = KVM_MEM_LOG_DIRTY_PAGES | (f->no_readonly ? 0 : KVM_MEM_READONLY) |
			 (gmem_fd >= 0 ? KVM_MEM_GUEST_MEMFD : 0);
	struct fake_slot *s = &f->slot[id < FAKE_SLOTS ? id : 0];

	if (id >= f->slots || flags & ~known || (bytes | gpa | hva) % P || hva >> 63 ||
	    gpa + bytes < gpa || bytes / P > 0x7fffffff)
		return -EINVAL;
	if (flags & KVM_MEM_GUEST_MEMFD && flags != KVM_MEM_GUEST_MEMFD)
		return -EINVAL;
	if (!bytes) {
		if (!s->bytes)
			return -EINVAL;
		log_off(s);
		*s = (struct fake_slot){ 0 };
		f->deleted++;
		return 0;
	}
	if (!s->bytes) {
		if (meets_other(f, id, gpa, bytes))
			return -EEXIST;
		*s = (struct fake_slot){ .gpa = gpa,
					 .bytes = bytes,
					 .hva = hva,
					 .flags = flags,
					 .gmem_fd = gmem_fd,
					 .gmem_off = gmem_off };
		if (flags & KVM_MEM_LOG_DIRTY_PAGES)
			log_on(s);
		f->created++;
		return 0;
	}
	if (bytes != s->bytes || hva != s->hva || (flags ^ s->flags) & KVM_MEM_READONLY ||
	    (flags | s->flags) & KVM_MEM_GUEST_MEMFD)
		return -EINVAL;
	if (gpa != s->gpa) {
		if (meets_other(f, id, gpa, bytes))
			return -EEXIST;
		s->gpa = gpa;
		f->moved++;
	} else if (flags != s->flags) {
		f->flagged++;
	}
	if ((flags ^ s->flags) & KVM_MEM_LOG_DIRTY_PAGES) {
		if (flags & KVM_MEM_LOG_DIRTY_PAGES)
			log_on(s);
		else
			log_off(s);
	}
	s->flags = flags;
	return 0;
}

int fake_set(struct fake_kvm *f, uint32_t id, uint32_t flags, uint64_t gpa, uint64_t bytes,
	     uint64_t hva, int gmem_fd, uint64_t gmem_off)
{
	int err;

	if (f->between)
		f->between(f, f->arg);
	err = change(f, id, flags, gpa, bytes, hva, gmem_fd, gmem_off);
	fake_leave(f); /* it is made to, but only now */
	if (f->between)
		f->between(f, f->arg);
	return err;
}

struct fake_slot *fake_find(struct fake_kvm *f, uint64_t gpa)
{
	for (uint32_t i = 0; i < FAKE_SLOTS; i++)
		if (f->slot[i].bytes && gpa - f->slot[i].gpa < f->slot[i].bytes)
			return &f->slot[i];
	return NULL;
}

unsigned fake_count(const struct fake_kvm *f)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < FAKE_SLOTS; i++)
		n += f->slot[i].bytes != 0;
	return n;
}

/* ---- Logs ---- */

static void log_page(struct fake_kvm *f, struct fake_slot *s, uint64_t page)
{
	struct fake_ring *r = &f->ring[page % 2];
	struct kvm_dirty_gfn *e;

	if (!s->dirty || s->writable[page])
		return;
	s->writable[page] = 1;
	if (!r->entry) {
		s->dirty[page] = 1;
		return;
	}
	e = &r->entry[r->at++ % (f->ring_bytes / sizeof(*e))];
	assert_int_equal(e->flags, 0); /* else it is full: the test writes too much */
	e->slot = (uint32_t)(s - f->slot);
	e->offset = page;
	__atomic_store_n(&e->flags, KVM_DIRTY_GFN_F_DIRTY, __ATOMIC_RELEASE);
}

void fake_leave(struct fake_kvm *f)
{
	while (f->n_late) {
		uint64_t gpa = f->told_late[--f->n_late];
		struct fake_slot *s = fake_find(f, gpa);

		if (s)
			log_page(f, s, (gpa - s->gpa) / P);
	}
}

bool fake_write(struct fake_kvm *f, uint64_t gpa, uint8_t value)
{
	struct fake_slot *s = fake_find(f, gpa);

	if (!s || s->flags & KVM_MEM_READONLY)
		return false;
	if (f->n_late == 64)
		fake_leave(f);
	if (f->late)
		f->told_late[f->n_late++] = gpa;
	else
		log_page(f, s, (gpa - s->gpa) / P);
	if (s->hva)
		*(volatile uint8_t *)(uintptr_t)(s->hva + (gpa - s->gpa)) = value;
	return true;
}

static int get_log(struct fake_kvm *f, struct kvm_dirty_log *log)
{
	struct fake_slot *s = &f->slot[log->slot < FAKE_SLOTS ? log->slot : 0];
	uint64_t *bits = log->dirty_bitmap;

	if (f->ring_bytes)
		return -ENXIO;
	if (log->slot >= f->slots)
		return -EINVAL;
	if (!s->dirty)
		return -ENOENT;
	fake_leave(f);
	f->got++;
	memset(bits, 0, (s->bytes / P + 63) / 64 * 8);
	for (uint64_t i = 0; i < s->bytes / P; i++) {
		bits[i / 64] |= (uint64_t)s->dirty[i] << i % 64;
		if (!f->manual)
			s->dirty[i] = s->writable[i] = 0;
	}
	return 0;
}

static int clear_log(struct fake_kvm *f, const struct kvm_clear_dirty_log *log)
{
	struct fake_slot *s = &f->slot[log->slot < FAKE_SLOTS ? log->slot : 0];
	const uint64_t *bits = log->dirty_bitmap;
	uint64_t pages = s->bytes / P;

	if (f->ring_bytes)
		return -ENXIO;
	if (!f->manual || log->slot >= f->slots || log->first_page % 64)
		return -EINVAL;
	if (!s->dirty)
		return -ENOENT;
	if (log->first_page > pages || log->num_pages > pages - log->first_page ||
	    (log->num_pages % 64 && log->first_page + log->num_pages != pages))
		return -EINVAL;
	f->cleared++;
	for (uint64_t i = 0; i < log->num_pages; i++)
		if (bits[i / 64] >> i % 64 & 1 && s->dirty[log->first_page + i])
			s->dirty[log->first_page + i] = s->writable[log->first_page + i] = 0;
	return 0;
}

static int reset_ring(struct fake_kvm *f, struct fake_ring *r)
{
	int n = 0;

	for (; r->entry; n++, r->reset++) {
		struct kvm_dirty_gfn *e = &r->entry[r->reset % (f->ring_bytes / sizeof(*e))];
		struct fake_slot *s = &f->slot[e->slot];

		if (!(__atomic_load_n(&e->flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_RESET))
			break;
		e->flags = 0;
		if (s->dirty && e->offset < s->bytes / P)
			s->writable[e->offset] = 0;
	}
	return n;
}

static int reset_rings(struct fake_kvm *f)
{
	if (!f->ring_bytes)
		return -EINVAL;
	return reset_ring(f, &f->ring[0]) + reset_ring(f, &f->ring[1]);
}

/* ---- The machine ---- */

static int check_extension(struct fake_kvm *f, uintptr_t cap)
{
	switch (cap) {
	case KVM_CAP_NR_MEMSLOTS:
		return (int)f->slots;
	case KVM_CAP_READONLY_MEM:
		return !f->no_readonly;
	case KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2:
		return f->no_manual ? 0 : 3;
	case KVM_CAP_DIRTY_LOG_RING_ACQ_REL:
		return f->no_ring ? 0 : (int)(FAKE_RING * sizeof(struct kvm_dirty_gfn));
	case KVM_CAP_DISABLE_QUIRKS2:
		return 0x5ff;
	default:
		return 0;
	}
}

static int enable(struct fake_kvm *f, const struct kvm_enable_cap *cap)
{
	switch (cap->cap) {
	case KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2:
		if (f->no_manual || cap->args[0] & ~UINT64_C(3))
			return -EINVAL;
		f->manual = cap->args[0] & 1;
		return 0;
	case KVM_CAP_DISABLE_QUIRKS2:
		f->quirks = cap->args[0];
		return 0;
	case KVM_CAP_DIRTY_LOG_RING_ACQ_REL:
		if (f->no_ring || f->ring_bytes || cap->args[0] < P ||
		    cap->args[0] & (cap->args[0] - 1))
			return -EINVAL;
		if (cap->args[0] > FAKE_RING * sizeof(struct kvm_dirty_gfn))
			return -E2BIG;
		f->ring_bytes = (uint32_t)cap->args[0];
		return 0;
	default:
		return -EINVAL;
	}
}

static int call_vm(struct fake_kvm *f, unsigned long request, void *arg)
{
	const struct kvm_userspace_memory_region *r = arg;
	const struct kvm_userspace_memory_region2 *r2 = arg;

	switch (request) {
	case KVM_CHECK_EXTENSION:
		return check_extension(f, (uintptr_t)arg);
	case KVM_ENABLE_CAP:
		return enable(f, arg);
	case KVM_SET_USER_MEMORY_REGION:
		return fake_set(f, r->slot, r->flags, r->guest_phys_addr, r->memory_size,
				r->userspace_addr, -1, 0);
	case KVM_SET_USER_MEMORY_REGION2:
		return fake_set(f, r2->slot, r2->flags, r2->guest_phys_addr, r2->memory_size,
				r2->userspace_addr,
				r2->flags & KVM_MEM_GUEST_MEMFD ? (int)r2->guest_memfd : -1,
				r2->guest_memfd_offset);
	case KVM_GET_DIRTY_LOG:
		return get_log(f, arg);
	case KVM_CLEAR_DIRTY_LOG:
		return clear_log(f, arg);
	case KVM_RESET_DIRTY_RINGS:
		return reset_rings(f);
	default:
		return -ENOTTY;
	}
}

static int w_ioctl(const struct world *w, int fd, unsigned long request, void *arg)
{
	struct fake_kvm *f = (struct fake_kvm *)w->arg;

	if (fd != FAKE_VM)
		return f->test.world.ioctl(&f->world, fd, request, arg);
	/* Counted, and maybe refused: an ioctl that fails is let fail there. */
	f->test.calls[CALL_IOCTL]++;
	if (f->test.fail_mask & 1u << CALL_IOCTL && f->test.fail_at) {
		if (f->test.fail_at == 1) {
			if (f->test.fail_more)
				f->test.fail_more--;
			else
				f->test.fail_at = 0;
			f->test.failed++;
			return -f->test.fail_err;
		}
		f->test.fail_at--;
	}
	return call_vm(f, request, arg);
}

static int64_t w_mmap(const struct world *w, uint64_t addr, uint64_t len, int prot, int flags,
		      int fd, uint64_t off)
{
	struct fake_kvm *f = (struct fake_kvm *)w->arg;
	int64_t at;

	if (fd != FAKE_VCPU && fd != FAKE_VCPU + 1)
		return f->test.world.mmap(&f->world, addr, len, prot, flags, fd, off);
	if (len != f->ring_bytes || off != KVM_DIRTY_LOG_PAGE_OFFSET * P)
		return -EINVAL;
	at = f->test.world.mmap(&f->world, addr, len, prot, flags | MAP_ANONYMOUS, -1, 0);
	if (at > 0)
		f->ring[fd - FAKE_VCPU].entry = (struct kvm_dirty_gfn *)(uintptr_t)at;
	return at;
}

void fake_begin(struct fake_kvm *f)
{
	memset(f, 0, sizeof(*f));
	test_world_begin(&f->test);
	f->slots = FAKE_SLOTS;
	/* test's functions find it by arg: it is the first member of what ours is. */
	f->world = f->test.world;
	f->world.ioctl = w_ioctl;
	f->world.mmap = w_mmap;
	f->world.arg = f;
	world_default = &f->world;
}

void fake_end(struct fake_kvm *f)
{
	assert_int_equal(fake_count(f), 0);
	test_world_end(&f->test);
}
