// SPDX-License-Identifier: MIT
#include "memory_kit.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmspace/vmspace.h"

#define BACKING	       GIB
#define POPULATE_WRITE 23 /* MADV_POPULATE_WRITE is not in all headers */

uint64_t page;
char *guest_base;
volatile uint64_t sink;
struct peer_calls peer_call;

static const char *program;

void must(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "%s: %s: %s: %s\n", program, what, strerror(-err), vms_last_error());
	exit(1);
}

void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", program, what);
	exit(1);
}

static void must_host(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

double since(uint64_t t, double n)
{
	return (double)(cpu_ns() - t) / n;
}

void kit_init(const char *name)
{
	const int prot = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_FIXED;
	int fd = memfd_create(name, MFD_CLOEXEC);
	char *p;

	program = name;
	page = (uint64_t)sysconf(_SC_PAGESIZE);
	must_host(fd >= 0 && ftruncate(fd, (off_t)BACKING) == 0, "memfd");
	p = mmap(NULL, GUEST + 2 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		 0);
	must_host(p != MAP_FAILED, "mmap");
	guest_base = p + (-(uintptr_t)p & (2 * MIB - 1));
	for (uint64_t at = 0; at < GUEST; at += BACKING) {
		p = mmap(guest_base + at, BACKING, prot, flags, fd, 0);
		must_host(p != MAP_FAILED, "mmap");
		if (madvise(p, BACKING, POPULATE_WRITE) == 0)
			continue;
		for (uint64_t off = 0; off < BACKING; off += 4096)
			*(volatile char *)(p + off) = 0;
	}
	close(fd);
}

/* ---- Ours ---- */

uint32_t slot_access(unsigned i)
{
	return i % 2 ? VMS_SLOT_RAM : VMS_SLOT_READ | VMS_SLOT_WRITE;
}

static uint64_t slot_gpa(const struct guest *g, unsigned i)
{
	return i * g->slot_bytes;
}

static uint64_t slot_len(const struct guest *g, unsigned i)
{
	return i + 1 == g->slots ? GUEST - slot_gpa(g, i) : g->slot_bytes;
}

static void edit_put(const struct guest *g, struct vms_edit *edit, unsigned i, uint32_t access)
{
	uint64_t at = slot_gpa(g, i);

	must(vms_slot_map(edit, at, slot_len(g, i), g->block, at, access), "slot_map");
}

void guest_put(const struct guest *g, unsigned i, uint32_t access)
{
	struct vms_edit *edit;

	must(vms_edit_begin(g->mem, &edit), "edit_begin");
	edit_put(g, edit, i, access);
	must(vms_edit_commit(edit), "edit_commit");
}

void guest_make(struct guest *g, unsigned slots)
{
	struct vms_memory_params params = { .size = sizeof(params) };
	struct vms_block_params block = {
		.size = sizeof(block), .kind = VMS_BLOCK_HOST, .bytes = GUEST, .hva = guest_base
	};
	struct vms_edit *edit;

	*g = (struct guest){ .slots = slots, .slot_bytes = GUEST / slots & ~(page - 1) };
	must(vms_memory_create(&params, &g->mem), "memory_create");
	must(vms_block_create(g->mem, &block, &g->block), "block_create");
	must(vms_edit_begin(g->mem, &edit), "edit_begin");
	for (unsigned i = 0; i < slots; i++)
		edit_put(g, edit, i, slot_access(i));
	must(vms_edit_commit(edit), "edit_commit");
	must(vms_port_create(g->mem, NULL, &g->port), "port_create");
}

void guest_end(struct guest *g)
{
	vms_port_unref(g->port);
	vms_block_unref(g->block);
	vms_memory_unref(g->mem);
}

/* ---- Walks ---- */

#define HOT 32u

struct walk walk_hot(void)
{
	/* Each in sets of its own: of memory, and of what leads there. */
	return (struct walk){ 1, HOT - 1, GUEST / HOT - 21 * MIB - 13 * 4096 + 64 };
}

struct walk walk_random(void)
{
	return (struct walk){ 1, GUEST / 8 - 1, 8 };
}

/* ---- vm-memory ---- */

/* Beside the program, where build.sh puts it; or where the environment says. */
static void *peer_open(void)
{
	const char *at = getenv("VM_MEMORY_PEER");
	char path[4096];
	ssize_t n;

	if (at)
		return dlopen(at, RTLD_NOW);
	n = readlink("/proc/self/exe", path, sizeof(path) - 64);
	if (n <= 0)
		return NULL;
	path[n] = '\0';
	strcpy(strrchr(path, '/'), "/vm-memory/libvm_memory_peer.so");
	return dlopen(path, RTLD_NOW);
}

bool peer_init(const struct bench *b)
{
	static const char *const name[] = { "peer_new",	  "peer_free", "peer_load",
					    "peer_store", "peer_read", "peer_write" };
	void *lib = peer_open(), *call[sizeof(name) / sizeof(name[0])];

	for (size_t i = 0; lib && i < sizeof(name) / sizeof(name[0]); i++) {
		call[i] = dlsym(lib, name[i]);
		if (!call[i])
			lib = NULL;
	}
	if (!lib) {
		bench_skip(b, "vm-memory", "bench/vm-memory/build.sh has not built it");
		return false;
	}
	_Static_assert(sizeof(peer_call) == sizeof(call), "a pointer each");
	memcpy(&peer_call, call, sizeof(call));
	return true;
}

struct peer *peer_make(const struct guest *g, bool log)
{
	struct peer_region *r = malloc(g->slots * sizeof(*r));
	struct peer *peer;

	for (unsigned i = 0; i < g->slots; i++)
		r[i] = (struct peer_region){ slot_gpa(g, i), slot_len(g, i),
					     guest_base + slot_gpa(g, i) };
	peer = peer_call.new(r, g->slots, log);
	free(r);
	return peer;
}
