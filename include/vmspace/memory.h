/* SPDX-License-Identifier: MIT */
/*
 * memory.h: guest-physical memory, for virtual machine monitors and device models.
 *
 *	memory	the physical address space of a guest: slots, and holes between them
 *	block	guest RAM with identity: host memory of one kind, with a name and a count
 *	slot	a range of guest addresses that shows a range of a block, with rights; it has no
 *		handle: a slot is (memory, address). Neighbours that continue each other are one.
 *	edit	a list of changes of slots that happen all at once, or not at all
 *	port	what a device model holds: a memory, a range of it, rights, perhaps a translator.
 *		access.h has its reads and writes
 *	log	which pages were written since they were last asked for
 *
 * Guest addresses (gpa), offsets and lengths are bytes; ranges are half-open. The page is the
 * host's, P below. The last byte of the 64-bit space is an ordinary byte.
 *
 *	vms_memory_create(&mp, &mem);
 *	vms_block_create(mem, &bp, &ram);		// 1 GiB, private anonymous
 *	vms_edit_begin(mem, &edit);
 *	vms_slot_map(edit, 0, 1 << 30, ram, 0, VMS_SLOT_RAM);
 *	vms_slot_map(edit, 0xfffc0000, 256 << 10, rom, 0, VMS_SLOT_ROM);
 *	vms_edit_commit(edit);
 *	vms_kvm_attach(mem, vm_fd, &kp, &kvm);		// kvm.h: the guest sees the same
 *
 * Every call is safe from any thread. Readers take no lock: an access sees the slots as they stood
 * before an edit or after it, never between, and its memory stays until it is done.
 *
 * Errors, the same for every call; each leaves a sentence in vms_last_error():
 *	-EINVAL   bad flags, misaligned, empty, short params	-ERANGE  beyond the block or the limit
 *	-EEXIST   NOREPLACE and something stands there		-ENOENT  nothing is mapped there
 *	-EBUSY    shown, pinned, attached			-ENOTSUP this kind cannot do it
 *	-ENOMEM   no memory; nothing changed			-EACCES  rights
 *	-EIO      the memory is broken (vms_memory_info): a backend failed and could not be undone
 * Where several apply, the first in the order a call's list gives is returned.
 */
#ifndef VMSPACE_MEMORY_H
#define VMSPACE_MEMORY_H

#include <vmspace/object.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vms_memory;
struct vms_block;
struct vms_edit;
struct vms_port;
struct vms_dirty;

/* ---- Memories ---- */

/*
 * The gate keeps vCPUs out of the guest while a backend cannot change atomically. enter returns
 * when no vCPU is in KVM_RUN and none will enter it; the thread that commits may itself be a vCPU
 * in its exit handler. Called with the memory's lock held: neither may call into the memory.
 */
struct vms_gate {
	void (*enter)(void *arg); /* NULL: no gate */
	void (*leave)(void *arg);
	void *arg;
};

struct vms_memory_params {
	size_t size;	/* sizeof(struct vms_memory_params) */
	uint32_t flags; /* 0 */
	uint64_t limit; /* addresses are below it, a multiple of P; 0: 2^64 */
	struct vms_gate gate;
	const char *name; /* for people; copied; may be NULL */
};

/*
 * vms_memory_create - an empty guest-physical address space.
 *
 * Ownership: gives one reference; ports, logs, edits and attached backends hold one each. A block
 *            does not: when the last reference goes, all slots go, and blocks are left that handles
 *            or spans hold.
 * Returns:   0, or -EINVAL, -ENOMEM
 * Since:     0.4
 */
VMS_API int vms_memory_create(const struct vms_memory_params *params, struct vms_memory **mem);
VMS_API struct vms_memory *vms_memory_ref(struct vms_memory *mem);
/* NULL is fine. The last one waits as vms_memory_synchronize() does; in a bracket it does not, and
 * what ended goes when vms_leave() ends the bracket. */
VMS_API void vms_memory_unref(struct vms_memory *mem);

struct vms_range {
	uint64_t gpa, len;
};

/*
 * vms_memory_from_ranges - a memory with a private anonymous block of its own in each range.
 *
 * Ranges may come in any order and may touch, not overlap; n may be 0. params as for create.
 * The blocks are stand-alone: each lives as long as something of it is shown.
 * Returns:   0, or -EINVAL, -ERANGE, -EEXIST (two overlap: the sentence names both), -ENOMEM
 * Since:     0.4
 * Source:    reference guest-memory-access 1.1 row 3
 */
VMS_API int vms_memory_from_ranges(const struct vms_memory_params *params,
				   const struct vms_range *ranges, size_t n,
				   struct vms_memory **mem);

struct vms_memory_info {
	size_t size;	   /* sizeof(struct vms_memory_info), set by the caller */
	uint64_t limit;	   /* the last address, included */
	uint64_t slots;
	uint64_t mapped;   /* bytes of slots; modulo 2^64 */
	uint64_t blocks;   /* that are alive, stand-alone ones included */
	uint64_t edits;	   /* committed, less those that changed nothing */
	uint64_t metadata; /* bytes of tables and slots */
	uint64_t gated;	   /* commits that went through the gate */
	int broken;	   /* a backend failed in a commit and could not be undone */
};

/* vms_memory_info - Returns: 0 or -EINVAL (short struct). Since: 0.4 */
VMS_API int vms_memory_info(struct vms_memory *mem, struct vms_memory_info *info);

/*
 * vms_memory_synchronize - returns when nobody reads, through the library, what was unmapped
 * before the call, and all blocks that died before it have been released. Spans hold their block
 * until they are closed; see vms_block_info.pins.
 *
 * Blocking:  yes, for brackets (vms_enter) that are open, and for release calls in other threads; in
 *            a release call for brackets alone. Not inside a bracket.
 * Since:     0.4
 */
VMS_API void vms_memory_synchronize(struct vms_memory *mem);

/* ---- Blocks ---- */

enum vms_block_kind {
	VMS_BLOCK_ANON = 1, /* private anonymous memory: the default choice */
	VMS_BLOCK_SHARED,   /* a sealed memfd of its own, from offset 0: may be exported */
	VMS_BLOCK_FILE,	    /* a file or memfd of the caller, MAP_SHARED (or _PRIVATE) */
	VMS_BLOCK_HOST,	    /* memory of the caller, with a release callback */
	VMS_BLOCK_OBJECT,   /* the pages of an object (object.h): managed, see below */
	VMS_BLOCK_SLOW,	    /* what a slow slot shows: no host address. Not for vms_block_create */
};

/* Flags of vms_block_params. */
#define VMS_BLOCK_THP	   0x1u	 /* ask for transparent huge pages (MADV_HUGEPAGE) */
#define VMS_BLOCK_NO_THP   0x2u	 /* and against them */
#define VMS_BLOCK_HUGETLB  0x4u	 /* ANON, SHARED: of huge_page bytes, from the host's pool */
#define VMS_BLOCK_LOCK	   0x8u	 /* mlock */
#define VMS_BLOCK_PREALLOC 0x10u /* have all pages before the call returns */
#define VMS_BLOCK_DONTDUMP 0x20u /* not in a core dump */
#define VMS_BLOCK_DONTFORK 0x40u /* not in a forked child */
#define VMS_BLOCK_PRIVATE  0x80u /* FILE: writes stay here (MAP_PRIVATE) */
#define VMS_BLOCK_READ	   0x100u /* FILE, HOST: may only be read; slots of it are ROM. OBJECT: set
				   * by us, where the object is NO_WRITE */
#define VMS_BLOCK_MERGE	   0x200u /* MADV_MERGEABLE */
#define VMS_BLOCK_STANDALONE 0x400u /* owned by its slots: ends with the last one, see vms_slot_map */

enum vms_numa_policy { VMS_NUMA_DEFAULT, VMS_NUMA_BIND, VMS_NUMA_PREFERRED, VMS_NUMA_INTERLEAVE };

struct vms_block_params {
	size_t size;	/* sizeof(struct vms_block_params) */
	uint32_t flags; /* VMS_BLOCK_*; unknown or unfitting bits are refused */
	uint32_t kind;	/* enum vms_block_kind */
	uint64_t bytes; /* a multiple of P (HUGETLB: of huge_page). FILE, OBJECT: 0: to its end */
	const char *name; /* for people; copied; may be NULL */

	int fd;			   /* FILE: duplicated */
	uint64_t fd_off;	   /* FILE: where the block starts; page aligned */
	void *hva;		   /* HOST: page aligned */
	struct vms_object *object; /* OBJECT: a reference is taken */
	/* HOST: nobody uses the memory any more. From a thread inside some call of the library,
	 * with nothing held. May be NULL. */
	void (*release)(void *arg);
	void *arg;

	uint64_t huge_page; /* HUGETLB: 2 MiB, 1 GiB ...; 0: the host's default */
	uint32_t numa;	    /* enum vms_numa_policy; applied before pages are there */
	uint32_t node;	    /* BIND, PREFERRED: that one; INTERLEAVE: unused */
	uint64_t nodes;	    /* BIND, INTERLEAVE: bit mask of nodes 0 to 63; 0: `node` alone */

	/* PREALLOC: by up to so many threads, which end before the call does; 0: the caller's alone.
	 * progress is called from the caller's thread with bytes done; non-zero ends the call with
	 * -ECANCELED. */
	uint32_t threads;
	int (*progress)(void *arg, uint64_t done, uint64_t bytes);
	void *progress_arg;
};

/*
 * vms_block_create - guest RAM that may be shown in mem.
 *
 * All but OBJECT are *direct*: each page has one host address for life (vms_block_info.hva), aligned
 * so that huge pages fit: a block of 2 MiB or more starts at a multiple of 2 MiB. OBJECT is direct
 * over a CONTIGUOUS or a host object, else *managed*: ports reach it, by its object's reads and
 * writes, but KVM, spans, rings and export refuse it (-ENOTSUP).
 *
 * SHARED seals its memfd against resizing. A FILE that is shorter than the block is refused; one that
 * is truncated later raises SIGBUS in who touches the lost part, see vms_recover_fault().
 *
 * Ownership: gives one reference. A plain block stays registered while nothing shows it; it ends by
 *            vms_block_remove(). With VMS_BLOCK_STANDALONE it ends by itself.
 * Blocking:  PREALLOC and LOCK touch every page.
 * Returns:   0, or
 *            -EINVAL   params, flags, kind, sizes, alignment
 *            -EBADF, -EACCES  FILE: the descriptor, or it is not open for writing (and not
 *                      PRIVATE or READ)
 *            -ERANGE   FILE, OBJECT: past its end; bytes above 2^62
 *            -ENOTSUP  FILE: no regular file; HUGETLB: the host has no such pages
 *            -ENOMEM   no memory, too few huge pages, or RLIMIT_MEMLOCK: the sentence says which
 *            -ECANCELED  progress said so
 * Since:     0.4
 * Source:    reference guest-physical-slots 1.2; guest-memory-access 1.3
 */
VMS_API int vms_block_create(struct vms_memory *mem, const struct vms_block_params *params,
			     struct vms_block **block);
VMS_API struct vms_block *vms_block_ref(struct vms_block *block);
VMS_API void vms_block_unref(struct vms_block *block); /* NULL is fine */

/*
 * vms_block_remove - end a plain block. Its memory goes when the last reference has gone and nobody
 * reads it any more.
 *
 * Returns:   0; -EBUSY: shown or pinned (the sentence says how often), or removed already;
 *            -ENOTSUP: STANDALONE
 * Since:     0.4
 */
VMS_API int vms_block_remove(struct vms_block *block);

struct vms_block_info {
	size_t size;   /* sizeof(struct vms_block_info), set by the caller */
	uint64_t id;   /* unique in this process */
	uint32_t kind, flags;
	uint64_t bytes;
	void *hva;	    /* direct, else NULL */
	int fd;		    /* SHARED, FILE: borrowed; else -1 */
	uint64_t fd_off;
	uint64_t page_size; /* of its host pages: P, or huge_page */
	uint64_t slots;	    /* that show it */
	uint64_t pins;	    /* of open spans */
	uint64_t resident;  /* bytes that take memory now; UINT64_MAX: the host does not tell */
	char name[32];	    /* cut */
};

/* vms_block_info - Cost: resident asks the host a page (mincore). Returns: 0 or -EINVAL. Since: 0.4 */
VMS_API int vms_block_info(struct vms_block *block, struct vms_block_info *info);

/* ---- Edits ---- */

/* Rights of a slot, and what is done with what stands there. */
#define VMS_SLOT_READ	   1u /* VMS_PROT_READ */
#define VMS_SLOT_WRITE	   2u /* VMS_PROT_WRITE */
#define VMS_SLOT_EXEC	   4u /* VMS_PROT_EXEC */
#define VMS_SLOT_RAM	   7u
#define VMS_SLOT_ROM	   5u	 /* writes are the device's: KVM exits with MMIO */
#define VMS_SLOT_NOREPLACE 0x10u /* map: -EEXIST where something stands; the default replaces it */

/*
 * vms_edit_begin - an empty list of changes. Nothing is looked at and nothing locked before the
 * commit; each call below checks its arguments only. One thread at a time.
 *
 * Ownership: vms_edit_commit() and vms_edit_abort() end it.
 * Returns:   0, or -ENOMEM
 * Since:     0.4
 */
VMS_API int vms_edit_begin(struct vms_memory *mem, struct vms_edit **edit);

/*
 * vms_slot_map - [gpa, gpa + len) shows [off, off + len) of block.
 *
 * What stands in the range is replaced. A block may be shown any number of times. The slots of a
 * STANDALONE block own it: after the commit that takes the last one away it ends, so its memory may
 * be mapped again, in the same edit too. The edit holds a reference to the block until it ends.
 *
 * Returns:   0, or
 *            -EINVAL  flags; no right; len 0; gpa, len or off not page aligned; another memory's
 *                     block
 *            -ERANGE  gpa + len past the memory's limit, or off + len past the block
 *            -EACCES  WRITE on a block that may only be read
 *            -EBUSY   the block was removed
 *            -ENOMEM
 * Since:     0.4
 * Source:    reference guest-physical-slots 1.3 to 1.5, 5.2
 */
VMS_API int vms_slot_map(struct vms_edit *edit, uint64_t gpa, uint64_t len,
			 struct vms_block *block, uint64_t off, uint32_t access);

/*
 * vms_slot_map_host - a stand-alone slot over memory of the caller: as vms_slot_map of a new
 * STANDALONE block of kind HOST. The memory may overlap that of other blocks.
 *
 * Ownership: release(arg) is called once the slot has gone and nobody reads it any more, or when
 *            the edit is aborted or fails; not when this call fails.
 * Returns:   as vms_slot_map; -EINVAL also: hva not page aligned, or wraps
 * Since:     0.4
 */
VMS_API int vms_slot_map_host(struct vms_edit *edit, uint64_t gpa, uint64_t len, void *hva,
			      void (*release)(void *arg), void *arg, uint32_t access);

/*
 * A slow slot: memory that has no host address for life. Every access calls the owner, with nothing
 * held, possibly from several threads at once, and with off from the slot's first byte at birth
 * (parts keep their offsets). A NULL call is answered with -ENOTSUP.
 */
struct vms_slow_ops {
	size_t size; /* sizeof(struct vms_slow_ops) */
	/* All or nothing. 0 or a negative errno, given to the caller of the access as it is. */
	int (*read)(void *arg, uint64_t off, void *buf, size_t len);
	int (*write)(void *arg, uint64_t off, const void *buf, size_t len);
	/* A span: give a host address for [off, off + len), or -ENOTSUP: then the span is refused.
	 * Give it back with close; written: bytes from off that may have changed. */
	int (*open)(void *arg, uint64_t off, size_t len, uint32_t rights, void **hva, void **cookie);
	int (*close)(void *arg, void *cookie, size_t written);
	int (*discard)(void *arg, uint64_t off, uint64_t len, uint64_t *freed);
	void (*release)(void *arg); /* the last part of the slot has gone, nobody is inside */
};

/*
 * vms_slot_map_slow - a slow slot. ops must stay until release.
 *
 * KVM does not get it: the guest's accesses exit as a device's.
 * Ownership: as vms_slot_map_host.
 * Returns:   as vms_slot_map; -EINVAL also: short ops
 * Since:     0.4
 */
VMS_API int vms_slot_map_slow(struct vms_edit *edit, uint64_t gpa, uint64_t len,
			      const struct vms_slow_ops *ops, void *arg, uint32_t access);

/* vms_slot_unmap - a hole. What is a hole already may be in the range. Returns: as vms_slot_map. */
VMS_API int vms_slot_unmap(struct vms_edit *edit, uint64_t gpa, uint64_t len);

/* vms_slot_protect - other rights. A hole in the range: the commit fails with -ENOENT; WRITE on a
 * block that may only be read: with -EACCES. Returns: as vms_slot_map. Since: 0.4 */
VMS_API int vms_slot_protect(struct vms_edit *edit, uint64_t gpa, uint64_t len, uint32_t access);

/*
 * vms_edit_commit - all changes in order, at once; ends the edit in any case.
 *
 * An edit that comes to what stands already changes nothing, and no listener hears of it.
 * Blocking:  for the memory's lock; with listeners, for them and the gate.
 * Cost:      without listeners a few microseconds, whatever the number of slots.
 * Returns:   0, or (nothing changed) -EIO: the memory is broken; or what the first change that
 *            cannot be made answers:
 *            -EEXIST   NOREPLACE: the sentence names both ranges
 *            -ENOENT   protect: a hole
 *            -EACCES   protect: WRITE on a block that may only be read
 *            -EBUSY    a block was removed since
 *            -ENOMEM, or what a listener answered
 * Since:     0.4
 */
VMS_API int vms_edit_commit(struct vms_edit *edit);
VMS_API void vms_edit_abort(struct vms_edit *edit); /* NULL is fine */

/* ---- Looking ---- */

struct vms_slot_info {
	uint64_t gpa, len;
	uint32_t access; /* VMS_SLOT_READ, _WRITE, _EXEC */
	uint32_t kind;	 /* enum vms_block_kind */
	struct vms_block *block; /* lent: while the slot stands */
	uint64_t off;
	void *hva; /* of gpa; NULL: managed or slow */
};

/* vms_slot_find - the slot that holds gpa. Returns: 0, or -ENOENT. Since: 0.4 */
VMS_API int vms_slot_find(struct vms_memory *mem, uint64_t gpa, struct vms_slot_info *info);

/*
 * vms_slot_next - the slot that holds *cursor or the first above it; *cursor: behind it. Start with
 * 0; stable across edits. Returns: 0, or -ENOENT: none. After the slot that ends with the 64-bit
 * space *cursor stays and the next call says -ENOENT. Since: 0.4
 */
struct vms_slot_cursor {
	uint64_t next;
	int end;
};
VMS_API int vms_slot_next(struct vms_memory *mem, struct vms_slot_cursor *cursor,
			  struct vms_slot_info *info);

/* ---- Listeners ---- */

enum vms_slot_event_kind { VMS_SLOT_REMOVED = 1, VMS_SLOT_ADDED, VMS_SLOT_CHANGED };

/*
 * One maximal run of addresses to which the same happened: what they showed before (but for ADDED)
 * and what they show now (but for REMOVED). A commit gives its events in address order; none for what
 * stays as it was. Blocks stay until the commit call of all listeners has returned.
 */
struct vms_slot_event {
	uint32_t kind; /* enum vms_slot_event_kind */
	struct vms_slot_info before, after; /* gpa and len are equal in both */
};

/*
 * Called under the memory's lock, in this order, one commit at a time:
 *
 *	prepare		of each listener, in the order they came. May refuse; then those already
 *			prepared are told cancel, and nothing happened
 *	(gate)		entered if some listener's needs_gate says so, and there is one
 *	apply		of each. It changed all it must, or nothing, and says which. Where one
 *			fails, those that applied are told revert
 *	commit		of each, when all stands and new readers see it
 *
 * After a failed apply every listener that was prepared is told cancel, last of all.
 *
 * A call may be NULL. None may call into the memory but for vms_dirty_mark() and vms_block_info().
 */
struct vms_listener_ops {
	size_t size; /* sizeof(struct vms_listener_ops) */
	int (*prepare)(void *arg, const struct vms_slot_event *events, size_t n);
	void (*cancel)(void *arg, const struct vms_slot_event *events, size_t n);
	int (*needs_gate)(void *arg, const struct vms_slot_event *events, size_t n);
	/* gated: no vCPU runs. 0; negative: nothing changed here; 1: it could neither go on nor back,
	 * and the memory is broken. revert takes back what apply did; non-zero: broken. */
	int (*apply)(void *arg, const struct vms_slot_event *events, size_t n, int gated);
	int (*revert)(void *arg, const struct vms_slot_event *events, size_t n, int gated);
	void (*commit)(void *arg, const struct vms_slot_event *events, size_t n);
	/* The first log begins (may refuse), the last one has ended. */
	int (*log_start)(void *arg);
	void (*log_stop)(void *arg);
	/* Give what was written since the last sync to vms_dirty_mark(); 0 or a negative errno,
	 * then nothing is lost. */
	int (*log_sync)(void *arg);
	/* Dirty pages of this range of a block were harvested and are about to be read: trap writes
	 * to those again that log_sync has given since they were last trapped, and to no other. */
	int (*log_clear)(void *arg, struct vms_block *block, uint64_t off, uint64_t len);
	/* The pages read as zero now. */
	void (*discard)(void *arg, struct vms_block *block, uint64_t off, uint64_t len);
};

/*
 * vms_memory_listen - from now on ops is told. Before the call returns, the slots that stand are
 * given as one commit of ADDED events (prepare, apply, commit; no gate), and a running log by
 * log_start. ops must stay until unlisten.
 *
 * Returns:   0, or -EINVAL (short ops), -ENOMEM, what prepare, apply or log_start answered
 * Since:     0.4
 */
VMS_API int vms_memory_listen(struct vms_memory *mem, const struct vms_listener_ops *ops, void *arg);
/* vms_memory_unlisten - no call is under way and none will come. Returns: 0 or -ENOENT. Since: 0.4 */
VMS_API int vms_memory_unlisten(struct vms_memory *mem, const struct vms_listener_ops *ops,
				void *arg);

/* ---- Dirty logs ---- */

#define VMS_DIRTY_LOGS 4 /* at once, in one memory */

/* Begins with all pages of all blocks set, later blocks too. EXTERNAL: of the slots that stand. */
#define VMS_DIRTY_ALL_SET  0x1u
#define VMS_DIRTY_EXTERNAL 0x2u /* bits go to the caller's memory, by guest address, at once */

struct vms_dirty_params {
	size_t size;	    /* sizeof(struct vms_dirty_params) */
	uint32_t flags;	    /* VMS_DIRTY_* */
	uint64_t page_size; /* a power of two, P to 2^30; 0: P. EXTERNAL: 0 or 4096 */
	/* EXTERNAL: bit gpa / 4096 of little-endian bytes, set by an atomic or: vhost-user's layout.
	 * What lies past external_bytes is not logged. Not harvested by us. */
	void *external;
	uint64_t external_bytes;
};

/*
 * vms_dirty_start - begin a log of what is written to the blocks of mem, now and later ones.
 *
 * Whatever write begins after the call returned is in the log: through ports, by ended spans, by
 * attached backends (after vms_dirty_sync), by discards, and what vms_dirty_mark() is told.
 * Ownership: holds a reference of the memory until vms_dirty_stop().
 * Cost:      nothing a page; a backend may need more.
 * Returns:   0, or -EINVAL, -EBUSY (VMS_DIRTY_LOGS run), -ENOMEM, what a listener answered; -EPERM:
 *            the host refuses membarrier, which it granted when the process began
 * Since:     0.4
 */
VMS_API int vms_dirty_start(struct vms_memory *mem, const struct vms_dirty_params *params,
			    struct vms_dirty **log);
/* vms_dirty_stop - NULL is fine. An external log's memory is the caller's again when it returns: then
 * it waits for brackets, and is not called inside one. Since: 0.4 */
VMS_API void vms_dirty_stop(struct vms_dirty *log);

/* vms_dirty_sync - ask the backends for what they know. Every log gets it. Returns: 0, or what a
 * listener answered. Since: 0.4 */
VMS_API int vms_dirty_sync(struct vms_dirty *log);

/*
 * vms_dirty_harvest - the written pages of [off, off + len) of a block, taken out of the log.
 *
 * fn is called for each run of dirty pages, in order, with nothing held; it may read the pages: what
 * was written before they were taken out is there to be read, and what is written later is in the
 * log again. fn non-zero: stop; what it was not given stays in the log. Sync first.
 *
 * Returns:   0, what fn returned, or (nothing is lost) -EINVAL (an external log, another memory's
 *            block, not multiples of the log's page, but for the block's end), -ERANGE, what a
 *            listener answered, -EPERM as vms_dirty_start
 * Since:     0.4
 */
VMS_API int vms_dirty_harvest(struct vms_dirty *log, struct vms_block *block, uint64_t off,
			      uint64_t len,
			      int (*fn)(void *arg, struct vms_block *block, uint64_t off,
					uint64_t len),
			      void *arg);

/* vms_dirty_mark - these bytes of a block were written by somebody we do not see. Since: 0.4 */
VMS_API void vms_dirty_mark(struct vms_block *block, uint64_t off, uint64_t len);

/* ---- Discard ---- */

/*
 * vms_discard - the pages of [gpa, gpa + len) read as zero and give their memory back.
 *
 * The right host call for each kind of block; a discarded page is dirty, and listeners are told.
 * *freed: bytes that were discarded. *skipped: bytes that could not be: parts of huge pages, blocks
 * of a kind that cannot (HOST without leave to, PRIVATE files are replaced by anonymous memory), ROM
 * and slow slots without discard. Both may be NULL.
 * Returns:   0, or -EINVAL (not page aligned, len 0), -ERANGE (past the end of the 64-bit space),
 *            -ENXIO (a hole: what lies before it is done),
 *            -EBUSY (pinned by a span), what the host answered; *freed is right in any case
 * Since:     0.4
 * Source:    reference guest-memory-access 4.8
 */
VMS_API int vms_discard(struct vms_memory *mem, uint64_t gpa, uint64_t len, uint64_t *freed,
			uint64_t *skipped);

/* ---- Sharing ---- */

/* A region of guest memory in vhost-user's shape. */
struct vms_shared {
	uint64_t gpa, len;
	uint64_t uva;	 /* where the exporter has it: vhost-user's user address */
	uint64_t fd_off; /* in the file */
	int fd;		 /* export: borrowed, while the slot stands */
};

/*
 * vms_memory_export - the slots as others may map them: neighbours with consecutive offsets of one
 * file are one region.
 *
 * Returns:   0 and *n (in: room, out: how many there are); -ENOSPC: *n is how many there are;
 *            -ENOTSUP: a slot is private or managed memory (the sentence names it). ROM and slow
 *            slots are left out.
 * Since:     0.4
 */
VMS_API int vms_memory_export(struct vms_memory *mem, struct vms_shared *shares, size_t *n);

#define VMS_IMPORT_TRUSTED 0x1u /* the files need not be sealed against shrinking */

/*
 * vms_memory_import - a memory that shows what another process exported. Descriptors are duplicated.
 *
 * Each file must be sealed against shrinking (F_SEAL_SHRINK) unless TRUSTED: else its owner could
 * make our accesses raise SIGBUS, see vms_recover_fault().
 * Returns:   0, or -EINVAL, -EEXIST (two overlap), -EPERM (not sealed), -ERANGE (past the file's
 *            end or the limit), -EBADF, -EACCES (the descriptor may not be written), -ENOTSUP (no
 *            regular file), -ENOMEM
 * Since:     0.4
 */
VMS_API int vms_memory_import(const struct vms_memory_params *params, uint32_t flags,
			      const struct vms_shared *shares, size_t n, struct vms_memory **mem);

/* vms_memory_find_user - the guest address of an exporter's user address; *len: bytes from there
 * in its region (may be NULL). Imported memories only. Returns: 0, or -ENOENT. Since: 0.4 */
VMS_API int vms_memory_find_user(struct vms_memory *mem, uint64_t uva, uint64_t *gpa,
				 uint64_t *len);

/* vms_memory_check - the validator, for tests: 0, or -EINVAL with the broken invariant. Since: 0.4 */
VMS_API int vms_memory_check(struct vms_memory *mem);

#ifdef __cplusplus
}
#endif
#endif
