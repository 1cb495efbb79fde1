/* SPDX-License-Identifier: MIT */
/* branch_kit.h: spaces in one line, for the tests of branches. After objects_kit.h. */
#ifndef TESTS_BRANCH_KIT_H
#define TESTS_BRANCH_KIT_H

#include "objects_kit.h"

#include "maps.h"
#include "space/vspace.h"
#include "vmspace/space.h"
#include "vmspace/tlb.h"

#define HI   (UINT64_C(1) << 40)
#define RW   (VMS_PROT_READ | VMS_PROT_WRITE)
#define BASE UINT64_C(0x100000)

static inline struct vms_mmu *soft(void)
{
	struct vms_mmu_soft_params p = { .size = sizeof(p) };
	struct vms_mmu *mmu = NULL;

	assert_ok(vms_mmu_soft(&p, &mmu));
	return mmu;
}

static inline struct vms_mmu *record(void)
{
	struct vms_mmu *mmu = NULL;

	assert_ok(vms_mmu_record(&mmu));
	return mmu;
}

/* Takes the caller's reference of mmu. */
static inline struct vms_space *space_over(struct vms_mmu *mmu)
{
	struct vms_space_params p = { .size = sizeof(p), .hi = HI, .mmu = mmu };
	struct vms_space *s = NULL;

	assert_ok(vms_space_create(&p, &s));
	vms_mmu_unref(mmu);
	return s;
}

static inline int branch_to(struct vms_space *s, struct vms_mmu *mmu, struct vms_space **b)
{
	struct vms_branch_params p = { .size = sizeof(p), .mmu = mmu };
	int err = vms_space_branch(s, &p, b);

	vms_mmu_unref(mmu);
	return err;
}

static inline struct vms_space *branch(struct vms_space *s)
{
	struct vms_space *b = NULL;
	int err = branch_to(s, soft(), &b);

	if (err)
		print_message("%s\n", vms_last_error());
	assert_ok(err);
	return b;
}

static inline void map(struct vms_space *s, uint64_t addr, struct vms_object *obj, uint64_t off,
		       uint64_t len, uint32_t flags)
{
	int err = map_at(vms_space_root(s), addr, obj, off, len, RW, flags);

	if (err)
		print_message("%s\n", vms_last_error());
	assert_ok(err);
}

static inline void good(struct vms_space *s)
{
	int err = vms_space_check(s);

	if (err)
		print_message("%s\n", vms_last_error());
	assert_ok(err);
}

static inline void poke(struct vms_space *s, uint64_t addr, int byte)
{
	unsigned char c = (unsigned char)byte;

	assert_int_equal(vms_space_write(s, addr, &c, 1, NULL, NULL), VMS_FAULT_OK);
}

static inline int peek(struct vms_space *s, uint64_t addr)
{
	unsigned char c = 0xee;

	assert_int_equal(vms_space_read(s, addr, &c, 1, NULL, NULL), VMS_FAULT_OK);
	return c;
}

static inline uint64_t children(struct vms_object *obj)
{
	struct vms_object_info info = { .size = sizeof(info) };

	assert_ok(vms_object_info(obj, &info));
	return info.children;
}

static inline int64_t frames_of(struct vms_object *obj)
{
	uint64_t frames = 0;

	sound(obj);
	assert_ok(content_check(obj, &frames));
	return (int64_t)frames;
}

static inline struct vms_region *region_in(struct vms_region *parent, uint64_t addr, uint64_t len,
					   uint32_t rights)
{
	struct vms_place at = { .flags = VMS_PLACE_AT, .addr = addr };
	struct vms_region_params p = { .size = sizeof(p), .rights = rights, .len = len };
	struct vms_region *r = NULL;

	assert_ok(vms_region_create(parent, addr ? &at : NULL, &p, &r, NULL));
	return r;
}

/* A branch answers this, and the last error says so. */
static inline void refused(struct vms_space *s, int want, const char *what)
{
	struct vms_space *b = (void *)&b;
	int err = branch_to(s, soft(), &b);

	if (err != want || !strstr(vms_last_error(), what))
		print_message("%d, not %d: %s\n", err, want, vms_last_error());
	assert_int_equal(err, want);
	assert_non_null(strstr(vms_last_error(), what));
	assert_ptr_equal(b, &b);
	good(s);
}

#endif
