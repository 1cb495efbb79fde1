// SPDX-License-Identifier: MIT
/*
 * bytes.c: copying bytes out of guest memory and into it, and accesses of one instruction.
 *
 * The bytes are touched where the object has them, not through the backend: nothing is installed.
 * A call goes piece by piece, a piece lies in one page of one content:
 *
 *	find, hold	as a fault does (spot.h)		→ NOT_MAPPED, DENIED, BEYOND, DISCARDED
 *	have		the page satisfies the access		→ ask: drop all, get it, again
 *	touch		the bytes, under the family's lock
 *
 * A piece is copied through a buffer of ours, so that the caller's memory is never touched under a
 * lock: it may be a window of some space, and fault.
 *
 * Invariants:
 *	1 bytes are touched under a hold of the family's lock that said that the mapping stands: a
 *	  call that begins after an edit has returned touches nothing that the edit took away, nor
 *	  does one that was under way. A file's bytes alone are moved with no lock held: there the
 *	  edit may return while the host is still at it.
 *	2 writing needs an exclusive frame, dirty in a paged content, under the same hold. So no
 *	  snapshot, write-back or transfer, which take the same lock, sees a piece half written, and
 *	  none takes a frame away from under a writer. The gate need not be entered: nothing is
 *	  written outside the lock.
 *	3 *done counts the bytes of whole pieces, in order; what stopped the call lies right there
 *
 * Accesses of one instruction are one also to CPUs that use the frame at the same time. A file's
 * bytes have no place in this process: they are read and written by the host, and cas is refused.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/fail.h"
#include "object/look.h"
#include "space/spot.h"

#define PIECE  4096u /* bytes */
#define STRING 256u  /* bytes of a string that are looked at in one go; divides every granule */

enum verb { VERB_READ, VERB_WRITE, VERB_LOAD, VERB_STORE, VERB_CAS };

enum { ASKED = -3 }; /* beside those of spot.h: b->ask says what for */

struct bytes {
	struct spot spot;
	struct ask ask;
	enum verb verb;
	uint64_t at, left;    /* of the call */
	uint64_t n;	      /* of the piece */
	unsigned char *piece; /* PIECE bytes; READ, WRITE */
	/* LOAD, STORE, CAS */
	uint64_t value, expected;
	bool swapped;
};

static bool writes(const struct bytes *b)
{
	return b->verb != VERB_READ && b->verb != VERB_LOAD;
}

static void bytes_init(struct bytes *b, struct vms_space *s, enum verb verb, uint64_t addr,
		       uint64_t len, struct vms_wait *wait)
{
	static const uint32_t access[] = {
		[VERB_READ] = VMS_PROT_READ,
		[VERB_WRITE] = VMS_PROT_WRITE,
		[VERB_LOAD] = VMS_PROT_READ,
		[VERB_STORE] = VMS_PROT_WRITE,
		[VERB_CAS] = VMS_PROT_READ | VMS_PROT_WRITE,
	};

	spot_init(&b->spot, s, access[verb]);
	b->verb = verb;
	b->at = addr;
	b->left = len;
	ask_init(&b->ask, wait);
}

/* ---- One instruction ---- */

static uint64_t load(const void *at, uint64_t size)
{
	switch (size) {
	case 1:
		return __atomic_load_n((const uint8_t *)at, __ATOMIC_ACQUIRE);
	case 2:
		return __atomic_load_n((const uint16_t *)at, __ATOMIC_ACQUIRE);
	case 4:
		return __atomic_load_n((const uint32_t *)at, __ATOMIC_ACQUIRE);
	default:
		return __atomic_load_n((const uint64_t *)at, __ATOMIC_ACQUIRE);
	}
}

static void store(void *at, uint64_t size, uint64_t value)
{
	switch (size) {
	case 1:
		__atomic_store_n((uint8_t *)at, (uint8_t)value, __ATOMIC_RELEASE);
		break;
	case 2:
		__atomic_store_n((uint16_t *)at, (uint16_t)value, __ATOMIC_RELEASE);
		break;
	case 4:
		__atomic_store_n((uint32_t *)at, (uint32_t)value, __ATOMIC_RELEASE);
		break;
	default:
		__atomic_store_n((uint64_t *)at, value, __ATOMIC_RELEASE);
	}
}

#define CAS(type, at, expected, desired, swapped)                                                \
	({                                                                                       \
		type old_ = (type)(expected);                                                    \
		*(swapped) =                                                                     \
			__atomic_compare_exchange_n((type *)(at), &old_, (type)(desired), false, \
						    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);         \
		(uint64_t) old_;                                                                 \
	})

/* What stood there. */
static uint64_t cas(void *at, uint64_t size, uint64_t expected, uint64_t desired, bool *swapped)
{
	switch (size) {
	case 1:
		return CAS(uint8_t, at, expected, desired, swapped);
	case 2:
		return CAS(uint16_t, at, expected, desired, swapped);
	case 4:
		return CAS(uint32_t, at, expected, desired, swapped);
	default:
		return CAS(uint64_t, at, expected, desired, swapped);
	}
}

/* ---- Touching ---- */

/* The piece's bytes are at `at`; NULL: they are zeros, and only to be read. */
static void touch(struct bytes *b, unsigned char *at)
{
	switch (b->verb) {
	case VERB_READ:
		if (at)
			bytes_copy(b->piece, at, b->n);
		else
			memset(b->piece, 0, b->n);
		break;
	case VERB_WRITE:
		bytes_copy(at, b->piece, b->n);
		break;
	case VERB_LOAD:
		b->value = at ? load(at, b->n) : 0;
		break;
	case VERB_STORE:
		store(at, b->n, b->value);
		break;
	case VERB_CAS:
		b->expected = cas(at, b->n, b->expected, b->value, &b->swapped);
		break;
	}
}

/* The same for bytes of a file, by the host. No lock is held. */
static int touch_file(struct bytes *b, const struct content *file, uint64_t off)
{
	uint64_t word = 0;
	int err;

	switch (b->verb) {
	case VERB_READ:
		return file_read(file, off, b->piece, b->n);
	case VERB_WRITE:
		return file_write(file, off, b->piece, b->n);
	case VERB_LOAD:
		err = file_read(file, off, &word, b->n);
		b->value = load(&word, b->n);
		return err;
	case VERB_STORE:
		store(&word, b->n, b->value);
		return file_write(file, off, &word, b->n);
	case VERB_CAS:
		break;
	}
	return fail(-ENOTSUP, "cas: a file's bytes are not in this process");
}

/* ---- A piece ---- */

/*
 * An absent page: its pager is asked for all that is missing of the call, not for this page alone.
 * What is missing behind the page must not stop the piece.
 */
static int have_present(struct bytes *b, uint64_t page, const struct seen *s)
	REQUIRES(b->spot.c->family->lock)
{
	struct content *c = b->spot.c;
	uint64_t rest = min_u64(b->left, b->spot.room), last;

	family_held(c);
	if (!s->absent)
		return 0;
	last = (b->spot.off + (rest - 1)) >> c->shift;
	return content_need(c, page, last - page + 1, NEED_READ, NULL, &b->ask);
}

/* A page that is overwritten whole needs no copy of what it was. */
static int write_page(struct bytes *b, uint64_t page) REQUIRES(b->spot.c->family->lock)
{
	struct content *c = b->spot.c;
	const uint64_t size = UINT64_C(1) << c->shift;
	struct content_fresh fresh = { .first = page };
	struct frame_batch freed; /* a shared one loses a count: none is freed here */
	frame_t f;
	int err;

	family_held(c);
	fresh.n = b->verb == VERB_WRITE && b->n == size;
	err = content_need(c, page, 1, NEED_WRITE, &fresh, &b->ask);
	if (err)
		return err;
	if (!fresh.frames.n) {
		touch(b, (unsigned char *)arena_addr(c->arena, content_own(c, page)) +
				 (b->spot.off & (size - 1)));
		return 0;
	}
	f = arena_take(c->arena, &fresh.frames);
	arena_touch(c->arena, f);
	memcpy(arena_addr(c->arena, f), b->piece, size);
	frame_batch_init(&freed, c->arena);
	content_install(c, page, f, &freed);
	frame_batch_end(&freed);
	return 0;
}

/* ASK: also for a page that shows a file (b->ask.kind stays ASK_NOTHING). */
static int touch_page(struct bytes *b) REQUIRES(b->spot.c->family->lock)
{
	struct content *c = b->spot.c;
	const uint64_t size = UINT64_C(1) << c->shift;
	uint64_t page = b->spot.off >> c->shift;
	struct seen s;
	int err;

	family_held(c);
	s = content_see(c, page);
	err = have_present(b, page, &s);
	if (err)
		return err;
	if (writes(b))
		return write_page(b, page);
	if (s.absent)
		return ASK;
	touch(b,
	      s.frame ? (unsigned char *)arena_addr(c->arena, s.frame) + (b->spot.off & (size - 1))
		      : NULL);
	return 0;
}

/* The piece that begins at the spot ends with its page. */
static void cut(struct bytes *b) REQUIRES(b->spot.c->family->lock)
{
	const uint64_t size = UINT64_C(1) << b->spot.c->shift;

	b->n = min_u64(min_u64(b->n, b->spot.room), size - (b->spot.off & (size - 1)));
}

/* What is at the spot is a file's; then, nothing held, its bytes are moved. */
static int through_file(struct bytes *b)
{
	const struct content *c = b->spot.c, *below = c->below;
	bool again;
	int err, r;

	if (c->kind == CONTENT_FILE) {
		err = touch_file(b, c, b->spot.off);
		if (err == -ENOTSUP && b->verb == VERB_CAS)
			return VMS_FAULT_DENIED;
	} else {
		err = touch_file(b, below, (c->below_at << c->shift) + b->spot.off);
	}
	if (err)
		return spot_result(err);
	if (writes(b))
		return SPOT_HERE;
	/* Still what the mapping shows? A page of its own may have been written since. */
	r = spot_hold(&b->spot, false);
	again = r == SPOT_HERE && c->kind != CONTENT_FILE &&
		!content_see(c, b->spot.off >> c->shift).absent;
	lock_drop(&b->spot.c->family->lock);
	return again ? SPOT_AGAIN : r;
}

static int one_piece(struct bytes *b)
{
	const struct content *c = b->spot.c;
	bool file = c->kind == CONTENT_FILE;
	int r, err = 0;

	spot_move(&b->spot, b->at);
	r = spot_hold(&b->spot, writes(b));
	if (r == SPOT_HERE) {
		cut(b);
		if (c->kind == CONTENT_HOST)
			touch(b, c->hva + b->spot.off);
		else if (!file)
			err = touch_page(b);
	}
	lock_drop(&b->spot.c->family->lock);
	if (r != SPOT_HERE)
		return r;
	if (err == ASK && b->ask.kind != ASK_NOTHING)
		return ASKED;
	if (err && err != ASK)
		return spot_result(err);
	return file || err == ASK ? through_file(b) : SPOT_HERE;
}

/* ---- A call ---- */

/* Where the caller's bytes come from or go to; NULL where there are none of that kind. */
struct buffer {
	const unsigned char *in;
	unsigned char *out;
};

static void advance(struct bytes *b, struct buffer *buf)
{
	if (buf->out) {
		memcpy(buf->out, b->piece, b->n);
		buf->out += b->n;
	}
	if (buf->in)
		buf->in += b->n;
	b->at += b->n;
	b->left -= b->n;
	/* The next piece is a new piece of work. */
	b->spot.overtaken = 0;
	b->ask.tries = 0;
	b->ask.pages = 0;
}

/* Pieces of one mapping, until it ends (VMS_FAULT_OK) or something stands in the way. */
static int one_mapping(struct bytes *b, struct buffer *buf)
{
	int r = spot_find(&b->spot, b->at);

	while (r == SPOT_HERE) {
		b->n = min_u64(b->left, PIECE - (b->at & (PIECE - 1)));
		if (buf->in)
			memcpy(b->piece, buf->in, b->n);
		r = one_piece(b);
		if (r != SPOT_HERE)
			break;
		advance(b, buf);
		if (!b->left || b->at - 1 == b->spot.m.last)
			r = VMS_FAULT_OK;
	}
	spot_leave(&b->spot);
	return r;
}

static int serve(struct bytes *b)
{
	int err = ask_serve(&b->ask);

	return err ? (int)spot_result(err) : SPOT_AGAIN;
}

static enum vms_fault_result all_pieces(struct bytes *b, struct buffer buf)
{
	int r = VMS_FAULT_OK;

	while (b->left) {
		r = one_mapping(b, &buf);
		if (r == ASKED)
			r = serve(b);
		if (r == SPOT_AGAIN)
			count_add(b->spot.s, COUNT_AGAIN, 1);
		else if (r != VMS_FAULT_OK)
			break;
		else if (b->left && !b->at)
			return VMS_FAULT_NOT_MAPPED; /* past the last address */
	}
	return r == SPOT_AGAIN ? VMS_FAULT_OK : (enum vms_fault_result)r;
}

enum vms_fault_result vms_space_read(struct vms_space *s, uint64_t addr, void *buf, size_t len,
				     struct vms_wait *wait, size_t *done)
{
	unsigned char piece[PIECE];
	struct bytes b = { .piece = piece };
	enum vms_fault_result r;

	bytes_init(&b, s, VERB_READ, addr, len, wait);
	r = all_pieces(&b, (struct buffer){ .out = buf });
	if (done)
		*done = len - b.left;
	return r;
}

enum vms_fault_result vms_space_write(struct vms_space *s, uint64_t addr, const void *buf,
				      size_t len, struct vms_wait *wait, size_t *done)
{
	unsigned char piece[PIECE];
	struct bytes b = { .piece = piece };
	enum vms_fault_result r;

	bytes_init(&b, s, VERB_WRITE, addr, len, wait);
	r = all_pieces(&b, (struct buffer){ .in = buf });
	if (done)
		*done = len - b.left;
	return r;
}

/* What lies behind the NUL need not be mapped: it is looked at in small steps, each in one page. */
enum vms_fault_result vms_space_read_string(struct vms_space *s, uint64_t addr, char *buf,
					    size_t len, struct vms_wait *wait, size_t *done)
{
	unsigned char piece[PIECE], string[STRING];
	enum vms_fault_result r = VMS_FAULT_OK;
	struct bytes b = { .piece = piece };
	size_t there = 0;
	bool end = false;

	bytes_init(&b, s, VERB_READ, addr, 0, wait);
	while (r == VMS_FAULT_OK && !end && there < len) {
		size_t n = min_u64(len - there, STRING - (b.at & (STRING - 1)));
		const unsigned char *nul;

		if (there && !b.at) {
			r = VMS_FAULT_NOT_MAPPED; /* past the last address */
			break;
		}
		b.left = n;
		r = all_pieces(&b, (struct buffer){ .out = string });
		n -= b.left;
		nul = memchr(string, 0, n);
		end = nul != NULL;
		if (end)
			n = (size_t)(nul - string) + 1;
		memcpy(buf + there, string, n);
		there += n;
	}
	if (done)
		*done = there;
	return r;
}

static enum vms_fault_result one_word(struct bytes *b)
{
	uint64_t size = b->left;

	if ((size != 1 && size != 2 && size != 4 && size != 8) || !is_aligned(b->at, size)) {
		fail(-EINVAL, "%" PRIu64 " bytes at %#" PRIx64 " are no aligned word", size, b->at);
		return VMS_FAULT_DENIED;
	}
	return all_pieces(b, (struct buffer){ 0 });
}

enum vms_fault_result vms_space_load(struct vms_space *s, uint64_t addr, unsigned size,
				     uint64_t *value, struct vms_wait *wait)
{
	struct bytes b = { 0 };
	enum vms_fault_result r;

	bytes_init(&b, s, VERB_LOAD, addr, size, wait);
	r = one_word(&b);
	if (r == VMS_FAULT_OK)
		*value = b.value;
	return r;
}

enum vms_fault_result vms_space_store(struct vms_space *s, uint64_t addr, unsigned size,
				      uint64_t value, struct vms_wait *wait)
{
	struct bytes b = { .value = value };

	bytes_init(&b, s, VERB_STORE, addr, size, wait);
	return one_word(&b);
}

enum vms_fault_result vms_space_cas(struct vms_space *s, uint64_t addr, unsigned size,
				    uint64_t *expected, uint64_t desired, int *swapped,
				    struct vms_wait *wait)
{
	struct bytes b = { .value = desired, .expected = *expected };
	enum vms_fault_result r;

	bytes_init(&b, s, VERB_CAS, addr, size, wait);
	r = one_word(&b);
	if (r != VMS_FAULT_OK)
		return r;
	*expected = b.expected;
	*swapped = b.swapped;
	return r;
}
