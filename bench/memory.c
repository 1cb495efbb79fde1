// SPDX-License-Identifier: MIT
/*
 * memory.c: what accesses to guest memory cost, against what else there is.
 *
 * Guest memory of 8 GiB in n slots (memory_kit.h); hot: 32 places that are in every cache; random:
 * anywhere in the 8 GiB, where a load misses. Peers:
 *
 *	raw		base + address, one instruction
 *	3 regions	a search of three regions in C, as small monitors have it
 *	vm-memory	rust-vmm's, built with link-time optimization, its loop in Rust
 *
 * Rows:
 *
 *	load, store	vms_load_le64, vms_store_le64: out of line, with nothing around them. In a
 *			chain: each address waits for the value before, so that nothing overlaps
 *			inline: by fast.h, 64 of them in a bracket
 *	dirty		the store with a log running, of pages that are dirty already
 *	ring		the checked inline accessors of ring.h
 *	enter+leave	an empty bracket; and loads inside of one
 *	bytes		vms_read, vms_write, against memcpy
 *	split ring	one descriptor chain taken and given back, against the same through raw
 *			pointers
 *
 * memory_edit.c has what edits, migration rounds and bookkeeping cost.
 */
#include "memory_kit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmspace/fast.h"
#include "vmspace/ring.h"

#define SIZED_BUDGET 4.0 /* ns over raw, of an access out of line */
#define RING_BUDGET  1.5
#define DIRTY_BUDGET 1.5
#define ENTER_BUDGET 2.5

/* For each `chain` a loop of its own: a dependency that comes to 0 would still be one. */
#define INLINE static inline __attribute__((always_inline))

static bool have_peer;

/* ---- Sized ---- */

INLINE double our_load(struct vms_port *port, struct walk w, uint64_t n, bool chain)
{
	const uint64_t waits = chain ? UINT64_MAX : 0;
	uint64_t t = cpu_ns(), v = 0, err = 0;

	for (uint64_t k = 0; k < n; k++)
		err |= (uint64_t)vms_load_le64(port, walk_next(&w, v & waits), &v);
	if (err)
		die("load");
	sink = v;
	return since(t, (double)n);
}

INLINE double raw_load(struct walk w, uint64_t n, bool chain)
{
	const uint64_t waits = chain ? UINT64_MAX : 0;
	uint64_t t = cpu_ns(), v = 0;

	for (uint64_t k = 0; k < n; k++)
		v = *(const volatile uint64_t *)(guest_base + walk_next(&w, v & waits));
	sink = v;
	return since(t, (double)n);
}

struct region {
	uint64_t gpa, len;
	char *hva;
};

static const struct region *regions_make(void)
{
	static struct region r[3];

	for (unsigned i = 0; i < 3; i++) {
		r[i].gpa = i * (3 * GIB);
		r[i].len = i == 2 ? 2 * GIB : 3 * GIB;
		r[i].hva = guest_base + r[i].gpa;
	}
	return r;
}

INLINE double searched_load(struct walk w, uint64_t n, bool chain)
{
	const struct region *r = regions_make();
	const uint64_t waits = chain ? UINT64_MAX : 0;
	uint64_t t = cpu_ns(), v = 0;

	for (uint64_t k = 0; k < n; k++) {
		uint64_t gpa = walk_next(&w, v & waits);
		unsigned i = 0;

		while (i < 3 && (gpa < r[i].gpa || gpa - r[i].gpa > r[i].len - 8))
			i++;
		must(i == 3 ? -EFAULT : 0, "search");
		v = *(const volatile uint64_t *)(r[i].hva + (gpa - r[i].gpa));
	}
	sink = v;
	return since(t, (double)n);
}

static double peer_load(const struct peer *peer, struct walk w, uint64_t n, bool chain)
{
	uint64_t t = cpu_ns();

	must(peer_call.load(peer, &w, n, chain) ? -EFAULT : 0, "vm-memory");
	return since(t, (double)n);
}

static double our_store(struct vms_port *port, struct walk w, uint64_t n)
{
	uint64_t t = cpu_ns(), err = 0;

	for (uint64_t k = 0; k < n; k++)
		err |= (uint64_t)vms_store_le64(port, walk_next(&w, 0), 0);
	if (err)
		die("store");
	return since(t, (double)n);
}

/* A bracket around many: as a device model has one for each batch of its work. */
#define BATCH 64u

INLINE double fast_load(const struct vms_fast *fast, struct walk w, uint64_t n, bool chain)
{
	const uint64_t waits = chain ? UINT64_MAX : 0;
	uint64_t t = cpu_ns(), v = 0, err = 0;

	for (uint64_t k = 0; k < n; k += BATCH) {
		must(vms_enter(fast->port), "enter");
		for (unsigned i = 0; i < BATCH; i++)
			err |= (uint64_t)vms_fast_load_le64(fast, walk_next(&w, v & waits), &v);
		vms_leave(fast->port);
	}
	if (err)
		die("load");
	sink = v;
	return since(t, (double)n);
}

static double fast_store(const struct vms_fast *fast, struct walk w, uint64_t n)
{
	uint64_t t = cpu_ns(), err = 0;

	for (uint64_t k = 0; k < n; k += BATCH) {
		must(vms_enter(fast->port), "enter");
		for (unsigned i = 0; i < BATCH; i++)
			err |= (uint64_t)vms_fast_store_le64(fast, walk_next(&w, 0), 0);
		vms_leave(fast->port);
	}
	if (err)
		die("store");
	return since(t, (double)n);
}

static double raw_store(struct walk w, uint64_t n)
{
	uint64_t t = cpu_ns();

	for (uint64_t k = 0; k < n; k++)
		*(volatile uint64_t *)(guest_base + walk_next(&w, 0)) = 0;
	return since(t, (double)n);
}

static double peer_store(const struct peer *peer, struct walk w, uint64_t n, bool log)
{
	uint64_t t = cpu_ns();

	must(peer_call.store(peer, &w, n, log) ? -EFAULT : 0, "vm-memory");
	return since(t, (double)n);
}

INLINE void loads_of(const struct bench *b, const struct guest *g, const struct peer *peer,
		     bool hot, bool chain)
{
	const uint64_t n = (b->quick ? 1 : 4) * (hot ? UINT64_C(100000) : UINT64_C(20000));
	const struct walk w = hot ? walk_hot() : walk_random();
	struct figure raw = { .unit = "ns/load" }, search = raw, other = raw, fast = raw;
	struct vms_fast f;
	char name[64];

	must(vms_fast_init(g->port, &f), "fast_init");

	/* Hot in a chain the way through the table is waited for. Random without one, the raw loads
	 * overlap as many misses as the processor can have: who does anything more has fewer. */
	raw.target = hot ? (chain ? 0 : 1.0) : (chain ? 1.15 : 0);
	for (unsigned i = 0; i < b->rounds; i++) {
		double ours = our_load(g->port, w, n, chain), bare = raw_load(w, n, chain);

		figure_round(&raw, ours, bare + (hot ? SIZED_BUDGET : 0));
		figure_round(&fast, fast_load(&f, w, n, chain), bare);
		if (g->slots == 3)
			figure_round(&search, ours, searched_load(w, n, chain));
		if (peer)
			figure_round(&other, ours, peer_load(peer, w, n, chain));
	}
	snprintf(name, sizeof(name), "load %s%s, %u slots", hot ? "hot" : "random",
		 chain ? ", chain" : "", g->slots);
	figure_show(b, &raw, "%s (peer: raw%s)", name, hot ? " + 4 ns" : "");
	figure_show(b, &fast, "%s, inline (peer: raw)", name);
	figure_show(b, &search, "%s (peer: 3 regions)", name);
	figure_show(b, &other, "%s (peer: vm-memory)", name);
}

static void loads(const struct bench *b, const struct guest *g, const struct peer *peer, bool hot)
{
	loads_of(b, g, peer, hot, false);
	loads_of(b, g, peer, hot, true);
}

static void stores(const struct bench *b, const struct guest *g, const struct peer *peer)
{
	const uint64_t n = b->quick ? 100000 : 400000;
	const struct walk w = walk_hot();
	struct figure raw = { .unit = "ns/store", .target = 1.0 }, other = { .unit = "ns/store" };
	struct figure fast = { .unit = "ns/store" };
	struct vms_fast f;

	must(vms_fast_init(g->port, &f), "fast_init");
	for (unsigned i = 0; i < b->rounds; i++) {
		double ours = our_store(g->port, w, n), bare = raw_store(w, n);

		figure_round(&raw, ours, bare + SIZED_BUDGET);
		figure_round(&fast, fast_store(&f, w, n), bare);
		if (peer)
			figure_round(&other, ours, peer_store(peer, w, n, false));
	}
	figure_show(b, &raw, "store hot, %u slots (peer: raw + 4 ns)", g->slots);
	figure_show(b, &fast, "store hot, %u slots, inline (peer: raw)", g->slots);
	figure_show(b, &other, "store hot, %u slots (peer: vm-memory)", g->slots);
}

static void dirty(const struct bench *b, const struct guest *g, const struct peer *peer)
{
	const uint64_t n = b->quick ? 100000 : 400000;
	struct vms_dirty_params params = { .size = sizeof(params) };
	struct figure own = { .unit = "ns/store", .target = 1.0 }, other = { .unit = "ns/store" };
	const struct walk w = walk_hot();

	for (unsigned i = 0; i < b->rounds; i++) {
		double off = our_store(g->port, w, n), on;
		struct vms_dirty *log;

		must(vms_dirty_start(g->mem, &params, &log), "dirty_start");
		our_store(g->port, w, 1000);
		on = our_store(g->port, w, n);
		vms_dirty_stop(log);
		figure_round(&own, on, off + DIRTY_BUDGET);
		if (peer)
			figure_round(&other, on, peer_store(peer, w, n, true));
	}
	figure_show(b, &own, "store dirty, %u slots (peer: no log + 1.5 ns)", g->slots);
	figure_show(b, &other, "store dirty, %u slots (peer: vm-memory)", g->slots);
}

static void sized(const struct bench *b)
{
	static const unsigned slots[] = { 1, 3, 64, 509, 4096, 32764 };

	for (size_t s = 0; s < sizeof(slots) / sizeof(slots[0]); s++) {
		struct peer *peer = NULL;
		struct guest g;

		guest_make(&g, slots[s]);
		if (have_peer)
			peer = peer_make(&g, true);
		loads(b, &g, peer, true);
		loads(b, &g, peer, false);
		stores(b, &g, peer);
		dirty(b, &g, peer);
		if (peer)
			peer_call.free(peer);
		guest_end(&g);
	}
}

/* ---- Rings ---- */

#define RING 4096u

static double ring_load(const struct vms_ring *ring, struct walk w, uint64_t n)
{
	uint64_t t = cpu_ns();
	uint16_t v;

	for (uint64_t k = 0; k < n; k++) {
		if (!vms_ring_load16(ring, walk_next(&w, 0), &v))
			die("ring load");
		sink = v;
	}
	return since(t, (double)n);
}

static double ring_store(struct vms_ring *ring, struct walk w, uint64_t n)
{
	uint64_t t = cpu_ns();

	for (uint64_t k = 0; k < n; k++)
		if (!vms_ring_store16(ring, walk_next(&w, 0), (uint16_t)k))
			die("ring store");
	return since(t, (double)n);
}

static double raw_ring(struct walk w, uint64_t n, bool store)
{
	uint64_t t = cpu_ns();

	for (uint64_t k = 0; k < n; k++) {
		volatile uint16_t *at = (volatile uint16_t *)(guest_base + walk_next(&w, 0));

		if (store)
			*at = (uint16_t)k;
		else
			sink = *at;
	}
	return since(t, (double)n);
}

static void rings(const struct bench *b, const struct guest *g)
{
	struct figure load = { .unit = "ns/load", .target = 1.0 };
	struct figure store = { .unit = "ns/store", .target = 1.0 }, marked = store;
	struct vms_dirty_params params = { .size = sizeof(params) };
	const uint64_t n = b->quick ? 100000 : 400000;
	const struct walk w = { 1, RING / 2 - 1, 2 };
	struct vms_ring ring;

	must(vms_ring_open(g->port, 0, RING, VMS_SLOT_READ | VMS_SLOT_WRITE, &ring), "ring_open");
	for (unsigned i = 0; i < b->rounds; i++) {
		struct vms_dirty *log;
		double off;

		figure_round(&load, ring_load(&ring, w, n), raw_ring(w, n, false) + RING_BUDGET);
		off = ring_store(&ring, w, n);
		figure_round(&store, off, raw_ring(w, n, true) + RING_BUDGET);
		must(vms_dirty_start(g->mem, &params, &log), "dirty_start");
		figure_round(&marked, ring_store(&ring, w, n), off + DIRTY_BUDGET);
		vms_dirty_stop(log);
	}
	vms_ring_close(&ring);
	figure_show(b, &load, "ring load (peer: raw + 1.5 ns)");
	figure_show(b, &store, "ring store (peer: raw + 1.5 ns)");
	figure_show(b, &marked, "ring store dirty (peer: no log + 1.5 ns)");
}

/* A virtqueue of 256 entries at the start of a page each: descriptors, available, used. */
#define QUEUE 256u
#define DESC  0u
#define AVAIL 4096u
#define USED  8192u

static void queue_fill(void)
{
	uint16_t *avail = (uint16_t *)(guest_base + AVAIL);

	for (unsigned i = 0; i < QUEUE; i++) {
		uint64_t *d = (uint64_t *)(guest_base + DESC) + 2 * i;

		d[0] = 65536 + 4096 * i;
		d[1] = 1500 | UINT64_C(2)
				      << 32; /* a length, and the flag for the device's writes */
		avail[2 + i] = (uint16_t)i;
	}
}

/* What a device does for each chain of one descriptor. */
static double our_queue(struct vms_ring *desc, struct vms_ring *avail, struct vms_ring *used,
			uint64_t n)
{
	volatile uint16_t *idx = (volatile uint16_t *)(guest_base + AVAIL + 2);
	uint16_t at = *idx, seen, head, next, flags;
	uint64_t t = cpu_ns(), addr, d, u;
	uint32_t len;

	for (uint64_t k = 0; k < n; k++, at++) {
		*idx = (uint16_t)(at + 1); /* the driver */
		u = 4 + 8 * (at % QUEUE);
		if (!vms_ring_load16_acquire(avail, 2, &seen) || seen == at ||
		    !vms_ring_load16(avail, 4 + 2 * (at % QUEUE), &head))
			die("avail");
		d = 16 * (uint64_t)head;
		if (!vms_ring_load64(desc, d, &addr) || !vms_ring_load32(desc, d + 8, &len) ||
		    !vms_ring_load16(desc, d + 12, &flags) || !vms_ring_load16(desc, d + 14, &next))
			die("desc");
		sink = addr + flags + next;
		if (!vms_ring_store32(used, u, head) || !vms_ring_store32(used, u + 4, len) ||
		    !vms_ring_store16_release(used, 2, (uint16_t)(at + 1)))
			die("used");
	}
	return since(t, (double)n);
}

static double raw_queue(uint64_t n)
{
	volatile uint16_t *avail = (volatile uint16_t *)(guest_base + AVAIL);
	uint16_t at = avail[1], head, next, flags;
	uint64_t t = cpu_ns(), addr;
	uint32_t len;

	for (uint64_t k = 0; k < n; k++, at++) {
		volatile char *d;
		volatile uint32_t *u;

		avail[1] = (uint16_t)(at + 1);
		if (__atomic_load_n(&avail[1], __ATOMIC_ACQUIRE) == at)
			break;
		head = avail[2 + at % QUEUE];
		if (head >= QUEUE)
			break;
		d = guest_base + DESC + 16 * (uint64_t)head;
		addr = *(volatile uint64_t *)d;
		len = *(volatile uint32_t *)(d + 8);
		flags = *(volatile uint16_t *)(d + 12);
		next = *(volatile uint16_t *)(d + 14);
		sink = addr + flags + next;
		u = (volatile uint32_t *)(guest_base + USED + 4 + 8 * (at % QUEUE));
		u[0] = head;
		u[1] = len;
		__atomic_store_n((uint16_t *)(guest_base + USED + 2), (uint16_t)(at + 1),
				 __ATOMIC_RELEASE);
	}
	return since(t, (double)n);
}

static void queues(const struct bench *b, const struct guest *g)
{
	const uint32_t rw = VMS_SLOT_READ | VMS_SLOT_WRITE;
	struct figure f = { .unit = "ns/chain" };
	const uint64_t n = b->quick ? 50000 : 200000;
	struct vms_ring desc, avail, used;

	queue_fill();
	must(vms_ring_open(g->port, DESC, 16 * QUEUE, VMS_SLOT_READ, &desc), "ring_open");
	must(vms_ring_open(g->port, AVAIL, 6 + 2 * QUEUE, VMS_SLOT_READ, &avail), "ring_open");
	must(vms_ring_open(g->port, USED, 6 + 8 * QUEUE, rw, &used), "ring_open");
	for (unsigned i = 0; i < b->rounds; i++)
		figure_round(&f, our_queue(&desc, &avail, &used, n), raw_queue(n));
	vms_ring_close(&desc);
	vms_ring_close(&avail);
	vms_ring_close(&used);
	memset(guest_base, 0, 3 * 4096);
	figure_show(b, &f, "split ring, pop + push (peer: raw)");
}

/* ---- Brackets ---- */

static double brackets(struct vms_port *port, uint64_t n)
{
	uint64_t t = cpu_ns();

	for (uint64_t k = 0; k < n; k++) {
		must(vms_enter(port), "enter");
		vms_leave(port);
	}
	return since(t, (double)n);
}

static void enter_leave(const struct bench *b, const struct guest *g)
{
	struct figure pair = { .unit = "ns/pair", .target = 1.0 }, inside = { .unit = "ns/load" };
	const uint64_t n = b->quick ? 100000 : 400000;
	const struct walk w = walk_hot();

	for (unsigned i = 0; i < b->rounds; i++) {
		double outside = our_load(g->port, w, n, false);

		figure_round(&pair, brackets(g->port, n), ENTER_BUDGET);
		must(vms_enter(g->port), "enter");
		figure_round(&inside, our_load(g->port, w, n, false), outside);
		vms_leave(g->port);
	}
	figure_show(b, &pair, "enter + leave (peer: 2.5 ns)");
	figure_show(b, &inside, "load hot in a bracket (peer: without)");
}

/* ---- Bytes ---- */

static void bytes(const struct bench *b, const struct guest *g, const struct peer *peer, size_t len,
		  bool write)
{
	struct figure copy = { .unit = "ns/call", .target = 1.05 }, other = { .unit = "ns/call" };
	uint64_t n = (b->quick ? 8 : 64) * MIB / (len + 256);
	char *buf = malloc(len);

	memset(buf, 0, len);
	for (unsigned i = 0; i < b->rounds; i++) {
		uint64_t t = cpu_ns();
		double ours;

		for (uint64_t k = 0; k < n; k++) {
			struct vms_done d = write ? vms_write_exact(g->port, GIB, buf, len)
						  : vms_read_exact(g->port, GIB, buf, len);

			must(d.status, "bytes");
		}
		ours = since(t, (double)n);
		t = cpu_ns();
		for (uint64_t k = 0; k < n; k++) {
			memcpy(write ? guest_base + GIB : buf, write ? buf : guest_base + GIB, len);
			__asm__ volatile("" : : "r"(buf) : "memory");
		}
		figure_round(&copy, ours, since(t, (double)n));
		if (!peer)
			continue;
		t = cpu_ns();
		for (uint64_t k = 0; k < n; k++) {
			bool ok = write ? peer_call.write(peer, GIB, buf, len)
					: peer_call.read(peer, GIB, buf, len);

			must(ok ? 0 : -EFAULT, "vm-memory");
		}
		figure_round(&other, ours, since(t, (double)n));
	}
	free(buf);
	figure_show(b, &copy, "%s %zu bytes (peer: memcpy)", write ? "write" : "read", len);
	figure_show(b, &other, "%s %zu bytes (peer: vm-memory)", write ? "write" : "read", len);
}

static void others(const struct bench *b)
{
	static const size_t len[] = { 64, 1500, 4096, 65536, 2 * MIB };
	struct peer *peer = NULL;
	struct guest g;

	guest_make(&g, 3);
	if (have_peer)
		peer = peer_make(&g, false);
	rings(b, &g);
	queues(b, &g);
	enter_leave(b, &g);
	for (size_t i = 0; i < sizeof(len) / sizeof(len[0]); i++) {
		bytes(b, &g, peer, len[i], false);
		bytes(b, &g, peer, len[i], true);
	}
	if (peer)
		peer_call.free(peer);
	guest_end(&g);
}

int main(int argc, char **argv)
{
	struct bench b;

	bench_init(&b, "memory", argc, argv);
	kit_init("bench-memory");
	have_peer = peer_init(&b);
	sized(&b);
	others(&b);
	bench_edits(&b);
	bench_rounds(&b);
	bench_upkeep(&b);
	return 0;
}
