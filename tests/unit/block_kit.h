/* SPDX-License-Identifier: MIT */
/* block_kit.h: a memory over a test's world, blocks in it, and what the kernel says of theirs. */
#ifndef TESTS_UNIT_BLOCK_KIT_H
#define TESTS_UNIT_BLOCK_KIT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

#include "files.h"
#include "memory/block.h"
#include "memory/memory.h"
#include "world.h"

#define MIB (UINT64_C(1) << 20)

static struct test_world tw;
static uint64_t P;

static inline int begin(void **state)
{
	static const struct vms_memory_params params = { .size = sizeof(params) };
	struct vms_memory *mem;

	P = (uint64_t)sysconf(_SC_PAGESIZE);
	test_world_begin(&tw);
	assert_ok(vms_memory_create(&params, &mem));
	*state = mem;
	return 0;
}

static inline int end(void **state)
{
	if (*state) {
		assert_ok(vms_memory_check(*state));
		vms_memory_unref(*state);
	}
	epoch_synchronize(); /* what objects retired */
	test_world_end(&tw);
	return 0;
}

static inline struct vms_block_params params_of(uint32_t kind, uint64_t bytes, uint32_t flags)
{
	return (struct vms_block_params){ .size = sizeof(struct vms_block_params),
					  .kind = kind,
					  .bytes = bytes,
					  .flags = flags };
}

static inline struct vms_block *block(struct vms_memory *mem, const struct vms_block_params *p)
{
	struct vms_block *b = NULL;

	if (vms_block_create(mem, p, &b))
		print_error("%s\n", vms_last_error());
	assert_non_null(b);
	return b;
}

static inline struct vms_block *plain(struct vms_memory *mem, uint32_t kind, uint64_t bytes,
				      uint32_t flags)
{
	struct vms_block_params p = params_of(kind, bytes, flags);

	return block(mem, &p);
}

static inline struct vms_block_info info_of(struct vms_block *b)
{
	struct vms_block_info info = { .size = sizeof(info) };

	assert_ok(vms_block_info(b, &info));
	return info;
}

/* End it, and see that it has gone. */
static inline void done(struct vms_memory *mem, struct vms_block *b)
{
	struct vms_memory_info before = { .size = sizeof(before) }, after = before;

	assert_ok(vms_memory_info(mem, &before));
	assert_ok(vms_block_remove(b));
	vms_block_unref(b);
	vms_memory_synchronize(mem);
	assert_ok(vms_memory_info(mem, &after));
	assert_int_equal(after.blocks, before.blocks - 1);
}

static inline void refused(struct vms_memory *mem, const struct vms_block_params *p, int err)
{
	struct vms_block *b = NULL;
	int fds = open_descriptors(), got = vms_block_create(mem, p, &b);

	if (got != err)
		print_error("%s\n", vms_last_error());
	assert_int_equal(got, err);
	assert_true(strlen(vms_last_error()) > 10);
	assert_null(b);
	assert_int_equal(open_descriptors(), fds);
}

/* The value of a line of /proc/self/smaps for the region that begins at addr. */
static inline bool smaps(const void *addr, const char *key, char *value, size_t size)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[512], start[32];
	bool here = false, found = false;

	assert_non_null(f);
	snprintf(start, sizeof(start), "%lx-", (unsigned long)addr);
	while (!found && fgets(line, sizeof(line), f)) {
		char *colon = strchr(line, ':');

		if (strchr(line, '-') && line[0] >= '0' && (line[0] <= '9' || line[0] >= 'a') &&
		    strchr(line, '-') < strchr(line, ' '))
			here = strncmp(line, start, strlen(start)) == 0;
		else if (here && colon && strlen(key) == (size_t)(colon - line) &&
			 strncmp(line, key, strlen(key)) == 0) {
			snprintf(value, size, "%s", colon + 1);
			found = true;
		}
	}
	fclose(f);
	return found;
}

static inline bool has_flag(const void *addr, const char *flag)
{
	char value[256], with[8];

	assert_true(smaps(addr, "VmFlags", value, sizeof(value)));
	snprintf(with, sizeof(with), " %s ", flag);
	return strstr(value, with) != NULL;
}

static inline unsigned long kib(const void *addr, const char *key)
{
	char value[256];

	assert_true(smaps(addr, key, value, sizeof(value)));
	return strtoul(value, NULL, 10);
}

#endif
