// SPDX-License-Identifier: MIT
/*
 * info.c: `vmspace info`: what this build and this host can do, and what it is good for.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "vmspace/support.h"

static const struct fact {
	const char *key;
	bool build;
	uint32_t bit;
	const char *what, *without;
} facts[] = {
	{ "probes", true, VMS_BUILD_PROBES, "static probes for perf and bpftrace",
	  "no static probes: sys/sdt.h was missing, or -Dtrace=none" },
	{ "recover", true, VMS_BUILD_RECOVER, "recovery from truncated guest memory",
	  "no vms_recover_fault() on this processor" },
	{ "memfd", false, VMS_HOST_MEMFD, "memfd with seals: arenas, shared blocks",
	  "no sealed memfd: no arenas and no shared blocks" },
	{ "membarrier", false, VMS_HOST_MEMBARRIER, "membarrier: readers take no fence",
	  "no membarrier: readers and writers pay a fence each" },
	{ "userfaultfd", false, VMS_HOST_USERFAULTFD, "userfaultfd for this user",
	  "userfaultfd is refused here" },
	{ "populate", false, VMS_HOST_POPULATE, "MADV_POPULATE_WRITE: fast preallocation",
	  "no MADV_POPULATE_WRITE (Linux 5.14): preallocation touches each page" },
	{ "guards", false, VMS_HOST_GUARDS, "guard markers in the host's page tables",
	  "no guard markers (Linux 6.13)" },
	{ "kvm", false, VMS_HOST_KVM, "/dev/kvm", "/dev/kvm does not open" },
	{ "kvm_rom", false, VMS_HOST_KVM_ROM, "KVM read-only slots",
	  "KVM has no read-only slots" },
	{ "kvm_log", false, VMS_HOST_KVM_LOG, "KVM dirty bitmaps cleared by range",
	  "KVM clears a dirty bitmap only whole" },
	{ "kvm_ring", false, VMS_HOST_KVM_RING, "KVM dirty rings", "KVM has no dirty rings" },
	{ "kvm_guest_memfd", false, VMS_HOST_KVM_GMEM, "KVM guest_memfd",
	  "KVM has no guest_memfd" },
};

#define FACTS (sizeof(facts) / sizeof(facts[0]))

static bool has(const struct vms_support *s, const struct fact *f)
{
	return (f->build ? s->build : s->host) & f->bit;
}

static const char *thp_name(uint32_t thp)
{
	static const char *const names[] = { "never", "madvise", "always" };

	return names[thp < 3 ? thp : 0];
}

static void print_json(const struct vms_support *s)
{
	printf("{\"version\":\"%s\"", vms_version());
	for (size_t i = 0; i < FACTS; i++)
		printf(",\"%s\":%s", facts[i].key, has(s, &facts[i]) ? "true" : "false");
	printf(",\"page_size\":%" PRIu64 ",\"huge_page\":%" PRIu64 ",\"huge_free\":%" PRIu64
	       ",\"thp\":\"%s\",\"nodes\":%" PRIu32 ",\"max_maps\":%" PRIu64 ",\"kvm_slots\":%" PRIu32,
	       s->page_size, s->huge_page, s->huge_free, thp_name(s->thp), s->nodes, s->max_maps,
	       s->kvm_slots);
	if (s->lock_limit == UINT64_MAX)
		printf(",\"lock_limit\":null}\n");
	else
		printf(",\"lock_limit\":%" PRIu64 "}\n", s->lock_limit);
}

static void print_size(const char *what, uint64_t bytes)
{
	if (bytes >= 1 << 20 && bytes % (1 << 20) == 0)
		printf("      %-24s %" PRIu64 " MiB\n", what, bytes >> 20);
	else
		printf("      %-24s %" PRIu64 " KiB\n", what, bytes >> 10);
}

static void print_text(const struct vms_support *s)
{
	printf("vmspace %s\n", vms_version());
	for (int host = 0; host < 2; host++) {
		printf("\n%s\n", host ? "this host" : "this build");
		for (size_t i = 0; i < FACTS; i++)
			if (facts[i].build == !host)
				printf("  %s  %s\n", has(s, &facts[i]) ? "yes" : "no ",
				       has(s, &facts[i]) ? facts[i].what : facts[i].without);
	}
	printf("\n");
	print_size("page", s->page_size);
	if (s->huge_page) {
		print_size("huge page", s->huge_page);
		printf("      %-24s %" PRIu64 "\n", "of these free", s->huge_free);
	}
	printf("      %-24s %s\n", "transparent huge pages", thp_name(s->thp));
	printf("      %-24s %" PRIu32 "\n", "memory nodes", s->nodes);
	printf("      %-24s %" PRIu64 "\n", "regions a process", s->max_maps);
	if (s->lock_limit == UINT64_MAX)
		printf("      %-24s no limit\n", "memory to be locked");
	else
		print_size("memory to be locked", s->lock_limit);
	if (s->kvm_slots)
		printf("      %-24s %" PRIu32 "\n", "KVM slots a machine", s->kvm_slots);
}

static void usage(FILE *out)
{
	fprintf(out, "usage: vmspace info [--json]\n\n"
		     "What this build of vmspace and this host can do.\n");
}

int cmd_info(int argc, char **argv)
{
	struct vms_support s = { .size = sizeof(s) };
	bool json = false;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0) {
			json = true;
		} else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			usage(stdout);
			return 0;
		} else {
			fprintf(stderr, "vmspace info: what is '%s'? See vmspace info --help\n",
				argv[i]);
			return STATUS_USAGE;
		}
	}
	if (vms_support(&s)) {
		fprintf(stderr, "vmspace info: %s\n", vms_last_error());
		return 1;
	}
	if (json)
		print_json(&s);
	else
		print_text(&s);
	return 0;
}
