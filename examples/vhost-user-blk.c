// SPDX-License-Identifier: MIT
/*
 * vhost-user-blk.c: a disk for a virtual machine of another process (vhost-user, virtio 1 split
 * virtqueues). The guest's memory is what the VMM sends us: imported, looked up by the VMM's user
 * addresses, read through rings and ports, and filled by preadv through spans, without a copy.
 *
 *	vhost-user-blk SOCKET DISK	serves one connection, then ends
 *	vhost-user-blk -c SOCKET DISK	and checks the log of written pages meanwhile: against what
 *					the device itself knows that it wrote
 *
 *	qemu-system-x86_64 -m 512 -object memory-backend-memfd,id=m,size=512M,share=on \
 *		-machine q35,memory-backend=m -chardev socket,id=c,path=SOCKET \
 *		-device vhost-user-blk-pci,chardev=c ...
 *
 * The VMM is trusted not to truncate the memory, because it seals it. The guest is not trusted at
 * all: whatever it puts into its rings, each access is checked, and a queue that makes no sense
 * stops.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <vmspace/ring.h>

/* ---- The protocol (vhost-user, virtio 1.1) ---- */

enum {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_MEM_TABLE = 5,
	SET_LOG_BASE = 6,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	GET_VRING_BASE = 11,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
	GET_PROTOCOL_FEATURES = 15,
	SET_PROTOCOL_FEATURES = 16,
	SET_VRING_ENABLE = 18,
	GET_CONFIG = 24,
};

#define BIT(n)	       (UINT64_C(1) << (n))
#define F_BLK_SEG_MAX  BIT(2)
#define F_BLK_BLK_SIZE BIT(6)
#define F_BLK_FLUSH    BIT(9)
#define F_LOG_ALL      BIT(26)
#define F_PROTOCOL     BIT(30)
#define F_VERSION_1    BIT(32)
#define FEATURES \
	(F_BLK_SEG_MAX | F_BLK_BLK_SIZE | F_BLK_FLUSH | F_LOG_ALL | F_PROTOCOL | F_VERSION_1)
#define P_LOG_SHMFD    BIT(1)
#define P_REPLY_ACK    BIT(3)
#define P_CONFIG       BIT(9)
#define REGIONS	       8
#define MSG_REPLY      0x4u
#define MSG_NEED_REPLY 0x8u
#define NO_DESCRIPTOR  BIT(8) /* of SET_VRING_KICK and _CALL */

struct message {
	uint32_t request, flags, size;
	union {
		uint64_t value;
		struct {
			uint32_t index, num;
		} state;
		struct {
			uint32_t index, flags;
			uint64_t desc, used, avail, log;
		} addr;
		struct {
			uint32_t n, pad;
			struct {
				uint64_t gpa, len, uva, fd_off;
			} region[REGIONS];
		} memory;
		struct {
			uint64_t bytes, fd_off;
		} log;
		struct {
			uint32_t off, bytes, flags;
			uint8_t data[256];
		} config;
	};
	int fds[REGIONS]; /* not on the wire */
	unsigned n_fds;
} __attribute__((packed, aligned(8)));

#define HEADER	offsetof(struct message, value)
#define PAYLOAD (offsetof(struct message, fds) - HEADER)

enum { BLK_IN, BLK_OUT, BLK_FLUSH = 4, BLK_GET_ID = 8 };
enum { BLK_OK, BLK_IOERR, BLK_UNSUPP };
#define SECTOR	 512u
#define ID_BYTES 20u

#define DESC_NEXT  1u
#define DESC_WRITE 2u
#define CHAIN	   128u /* descriptors of a request */
#define IOVS	   256

/* ---- The device ---- */

struct queue {
	uint32_t num;
	uint16_t last; /* of the available ring, that we have taken */
	uint16_t used_idx;
	uint64_t desc_uva, avail_uva, used_uva;
	uint64_t used_gpa;
	struct vms_ring desc, avail, used;
	int kick, call; /* eventfds, or -1 */
	bool enabled, broken;
};

/* A log of written pages: one bit for each 4096 bytes of guest addresses. */
struct dirty {
	struct vms_dirty *log;
	uint8_t *bits;
	uint64_t bytes;
};

struct device {
	int sock, disk;
	uint64_t disk_bytes;
	uint64_t features, protocol;
	struct vms_memory *mem;
	struct vms_port *port;
	struct queue queue;
	struct dirty peer; /* the VMM's, for its migration */
	struct dirty own;  /* -c */
	uint8_t *wrote;	   /* -c: what it must come to */
	uint64_t requests, moved;
};

struct descriptor {
	uint64_t gpa;
	uint32_t len;
	uint16_t flags, next;
};

struct chain {
	struct descriptor d[CHAIN];
	unsigned n;
};

static int complain(const char *what, int err)
{
	fprintf(stderr, "vhost-user-blk: %s: %s\n", what, strerror(-err));
	return err;
}

/* A call of the library failed: it says why. */
static int complain_of(const char *what, int err)
{
	fprintf(stderr, "vhost-user-blk: %s: %s\n", what, vms_last_error());
	return err;
}

/* What the device knows without the log: it wrote there. */
static void note(struct device *dev, uint64_t gpa, uint64_t len)
{
	uint64_t last = (gpa + len - 1) / 4096;

	for (uint64_t page = gpa / 4096; dev->wrote && len && page <= last; page++)
		if (page / 8 < dev->own.bytes)
			dev->wrote[page / 8] |= (uint8_t)(1u << page % 8);
}

/* ---- Logs ---- */

static void log_stop(struct dirty *d)
{
	vms_dirty_stop(d->log);
	d->log = NULL;
}

/* On the memory as it is now: again after each new one. The bits stay. */
static int log_start(struct device *dev, struct dirty *d)
{
	struct vms_dirty_params p = { .size = sizeof(p),
				      .flags = VMS_DIRTY_EXTERNAL,
				      .external = d->bits,
				      .external_bytes = d->bytes };
	int err;

	if (!d->bits || !dev->mem || d->log)
		return 0;
	err = vms_dirty_start(dev->mem, &p, &d->log);
	return err ? complain_of("log", err) : 0;
}

/* The VMM's bits, in its own memory. */
static int set_log(struct device *dev, struct message *m)
{
	struct dirty *d = &dev->peer;
	void *bits;

	log_stop(d);
	if (d->bits)
		munmap(d->bits, d->bytes);
	d->bits = NULL;
	if (!m->n_fds || !m->log.bytes)
		return 0;
	bits = mmap(NULL, m->log.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m->fds[0],
		    (off_t)m->log.fd_off);
	if (bits == MAP_FAILED)
		return complain("mmap of the log", -errno);
	d->bits = bits;
	d->bytes = m->log.bytes;
	return dev->features & F_LOG_ALL ? log_start(dev, d) : 0;
}

/* ---- Memory and rings ---- */

static void queue_close(struct queue *q)
{
	vms_ring_close(&q->desc);
	vms_ring_close(&q->avail);
	vms_ring_close(&q->used);
}

/* A ring at a user address of the VMM's. */
static int ring_open(struct device *dev, uint64_t uva, uint64_t len, uint32_t rights,
		     struct vms_ring *ring)
{
	uint64_t gpa;
	int err = vms_memory_find_user(dev->mem, uva, &gpa, NULL);

	return err ? err : vms_ring_open(dev->port, gpa, len, rights, ring);
}

static int queue_open(struct device *dev)
{
	struct queue *q = &dev->queue;
	int err;

	queue_close(q);
	if (!dev->mem || !q->num || !q->desc_uva)
		return 0; /* the rest is still to come */
	err = ring_open(dev, q->desc_uva, 16 * (uint64_t)q->num, VMS_SLOT_READ, &q->desc);
	if (!err)
		err = ring_open(dev, q->avail_uva, 4 + 2 * (uint64_t)q->num, VMS_SLOT_READ,
				&q->avail);
	if (!err)
		err = ring_open(dev, q->used_uva, 4 + 8 * (uint64_t)q->num,
				VMS_SLOT_READ | VMS_SLOT_WRITE, &q->used);
	if (!err)
		err = vms_memory_find_user(dev->mem, q->used_uva, &q->used_gpa, NULL);
	if (!err && !vms_ring_load16(&q->used, 2, &q->used_idx))
		err = -EINVAL;
	if (!err)
		return 0;
	queue_close(q);
	return complain_of("rings", err);
}

static void memory_close(struct device *dev)
{
	queue_close(&dev->queue);
	log_stop(&dev->peer);
	log_stop(&dev->own);
	vms_port_unref(dev->port);
	vms_memory_unref(dev->mem);
	dev->port = NULL;
	dev->mem = NULL;
}

static int set_memory(struct device *dev, const struct message *m)
{
	struct vms_memory_params params = { .size = sizeof(params), .name = "guest" };
	struct vms_shared share[REGIONS];
	uint32_t n = m->memory.n;
	int err;

	if (n > REGIONS || n != m->n_fds)
		return complain("memory table", -EINVAL);
	for (uint32_t i = 0; i < n; i++)
		share[i] = (struct vms_shared){ .gpa = m->memory.region[i].gpa,
						.len = m->memory.region[i].len,
						.uva = m->memory.region[i].uva,
						.fd_off = m->memory.region[i].fd_off,
						.fd = m->fds[i] };
	memory_close(dev);
	err = vms_memory_import(&params, 0, share, n, &dev->mem);
	if (!err)
		err = vms_port_create(dev->mem, NULL, &dev->port);
	if (err)
		return complain_of("memory table", err);
	err = log_start(dev, &dev->own);
	if (!err && dev->features & F_LOG_ALL)
		err = log_start(dev, &dev->peer);
	return err ? err : queue_open(dev);
}

/* ---- Requests ---- */

/* Descriptors of the chain that begins at head. Fetched once: the guest may change them. */
static int chain_fetch(const struct queue *q, uint16_t head, struct chain *c)
{
	uint16_t i = head;

	for (c->n = 0; c->n < CHAIN; i = c->d[c->n - 1].next) {
		struct descriptor *d = &c->d[c->n++];
		uint64_t off = 16 * (uint64_t)i;

		if (!vms_ring_load64(&q->desc, off, &d->gpa) ||
		    !vms_ring_load32(&q->desc, off + 8, &d->len) ||
		    !vms_ring_load16(&q->desc, off + 12, &d->flags) ||
		    !vms_ring_load16(&q->desc, off + 14, &d->next))
			return -EINVAL;
		if (!(d->flags & DESC_NEXT))
			return 0;
	}
	return -EINVAL; /* endless, or longer than we said */
}

/* Disk and guest, in one system call, without a copy. */
static int transfer(struct device *dev, const struct descriptor *d, unsigned n, uint64_t off,
		    bool in)
{
	uint32_t rights = in ? VMS_SLOT_WRITE : VMS_SLOT_READ;
	struct iovec iov[IOVS];
	struct vms_pin pin[CHAIN];
	uint64_t bytes = 0;
	unsigned open = 0;
	int err = 0, iovs = 0;
	ssize_t done = 0;

	for (; !err && open < n; open += !err) {
		int room = IOVS - iovs;

		err = !(d[open].flags & DESC_WRITE) == in ? -EINVAL : 0;
		if (!err)
			err = vms_span_open(dev->port, d[open].gpa, d[open].len, rights, iov + iovs,
					    &room, &pin[open]);
		if (!err) {
			iovs += room;
			bytes += d[open].len;
		}
	}
	if (!err && (off > dev->disk_bytes || bytes > dev->disk_bytes - off))
		err = -ERANGE;
	if (!err && bytes) {
		do
			done = in ? preadv(dev->disk, iov, iovs, (off_t)off)
				  : pwritev(dev->disk, iov, iovs, (off_t)off);
		while (done < 0 && errno == EINTR);
		err = done < 0 ? -errno : (uint64_t)done != bytes ? -EIO : 0;
	}
	for (unsigned i = 0; i < open; i++) {
		bool wrote = in && done > 0;

		vms_span_close(&pin[i], wrote ? SIZE_MAX : 0);
		if (wrote)
			note(dev, d[i].gpa, d[i].len);
	}
	dev->moved += done > 0 ? (uint64_t)done : 0;
	return err;
}

static int get_id(struct device *dev, const struct descriptor *d)
{
	static const char id[ID_BYTES] = "vmspace";
	size_t len = d->len < sizeof(id) ? d->len : sizeof(id);
	int err = vms_write_exact(dev->port, d->gpa, id, len).status;

	if (!err)
		note(dev, d->gpa, len);
	return err;
}

static uint8_t perform(struct device *dev, const struct chain *c)
{
	const struct descriptor *data = c->d + 1;
	unsigned n = c->n - 2;
	uint32_t type;
	uint64_t sector;
	int err;

	err = vms_load_le32(dev->port, c->d[0].gpa, &type);
	if (!err)
		err = vms_load_le64(dev->port, c->d[0].gpa + 8, &sector);
	if (err || sector > UINT64_MAX / SECTOR)
		return BLK_IOERR;
	switch (type) {
	case BLK_IN:
	case BLK_OUT:
		err = transfer(dev, data, n, sector * SECTOR, type == BLK_IN);
		break;
	case BLK_FLUSH:
		err = fdatasync(dev->disk);
		break;
	case BLK_GET_ID:
		err = n == 1 ? get_id(dev, data) : -EINVAL;
		break;
	default:
		return BLK_UNSUPP;
	}
	return err ? BLK_IOERR : BLK_OK;
}

/* A request: what it asks for (16 bytes), data, a status byte. */
static int serve(struct device *dev, uint16_t head)
{
	struct queue *q = &dev->queue;
	const struct descriptor *status;
	uint64_t slot, written = 1;
	struct chain c;
	uint8_t result;

	if (chain_fetch(q, head, &c) || c.n < 2 || c.d[0].len < 16)
		return -EINVAL;
	status = &c.d[c.n - 1];
	if (!(status->flags & DESC_WRITE) || !status->len)
		return -EINVAL;
	result = perform(dev, &c);
	if (vms_store8(dev->port, status->gpa, result))
		return -EINVAL;
	note(dev, status->gpa, 1);
	for (unsigned i = 1; i + 1 < c.n; i++)
		written += c.d[i].flags & DESC_WRITE ? c.d[i].len : 0;
	slot = 4 + 8 * (uint64_t)(q->used_idx % q->num);
	if (!vms_ring_store32(&q->used, slot, head) ||
	    !vms_ring_store32(&q->used, slot + 4, (uint32_t)written) ||
	    !vms_ring_store16_release(&q->used, 2, ++q->used_idx))
		return -EINVAL;
	note(dev, q->used_gpa + slot, 8);
	note(dev, q->used_gpa + 2, 2);
	dev->requests++;
	return 0;
}

static void notify(struct queue *q)
{
	const uint64_t one = 1;
	uint16_t flags = 0;

	/* The used index first, then the guest's wish. */
	atomic_thread_fence(memory_order_seq_cst);
	if (!vms_ring_load16(&q->avail, 0, &flags) || flags & 1 || q->call < 0)
		return;
	if (write(q->call, &one, sizeof(one)) < 0)
		complain("notify", -errno);
}

/* All that is there to be done. */
static void queue_run(struct device *dev)
{
	struct queue *q = &dev->queue;
	uint16_t idx, head;

	while (q->enabled && !q->broken && vms_ring_load16_acquire(&q->avail, 2, &idx) &&
	       idx != q->last) {
		uint64_t at = 4 + 2 * (uint64_t)(q->last % q->num);

		if ((uint16_t)(idx - q->last) > q->num || !vms_ring_load16(&q->avail, at, &head) ||
		    serve(dev, head)) {
			q->broken = true;
			complain("the guest's queue makes no sense", -EINVAL);
			return;
		}
		q->last++;
		notify(q);
	}
}

/* ---- Messages ---- */

static bool read_all(int fd, void *buf, size_t len)
{
	while (len) {
		ssize_t n = read(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		buf = (char *)buf + n;
		len -= (size_t)n;
	}
	return true;
}

/* The header, with the descriptors that came along, then the payload. */
static bool receive(int sock, struct message *m)
{
	char room[CMSG_SPACE(sizeof(m->fds))] __attribute__((aligned(8)));
	struct iovec iov = { m, HEADER };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = room,
			      .msg_controllen = sizeof(room) };
	ssize_t n;

	memset(m, 0, sizeof(*m));
	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return false;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			m->n_fds = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(m->fds, CMSG_DATA(c), m->n_fds * sizeof(int));
		}
	return read_all(sock, (char *)m + n, HEADER - (size_t)n) && m->size <= PAYLOAD &&
	       read_all(sock, &m->value, m->size);
}

static bool reply(struct device *dev, struct message *m, uint32_t size)
{
	size_t len = HEADER + size;

	m->flags = 1 | MSG_REPLY;
	m->size = size;
	return send(dev->sock, m, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* Keep the descriptor that came, instead of *fd. */
static void take_fd(struct message *m, int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	if (m->n_fds && !(m->value & NO_DESCRIPTOR)) {
		*fd = m->fds[0];
		m->fds[0] = -1;
	}
}

static int get_config(struct device *dev, struct message *m)
{
	uint64_t capacity = htole64(dev->disk_bytes / SECTOR);
	uint32_t seg_max = htole32(CHAIN - 2), blk_size = htole32(SECTOR);
	uint8_t all[60] = { 0 };

	memcpy(all, &capacity, 8);
	memcpy(all + 12, &seg_max, 4);
	memcpy(all + 20, &blk_size, 4);
	if (m->config.off > sizeof(all) || m->config.bytes > sizeof(all) - m->config.off)
		return -EINVAL;
	memcpy(m->config.data, all + m->config.off, m->config.bytes);
	return 0;
}

static int set_features(struct device *dev, uint64_t features)
{
	dev->features = features;
	if (!(features & F_PROTOCOL))
		dev->queue.enabled = true;
	if (features & F_LOG_ALL)
		return log_start(dev, &dev->peer);
	log_stop(&dev->peer);
	return 0;
}

static int set_addr(struct device *dev, const struct message *m)
{
	struct queue *q = &dev->queue;

	q->desc_uva = m->addr.desc;
	q->avail_uva = m->addr.avail;
	q->used_uva = m->addr.used;
	return queue_open(dev);
}

/* What a message asks for. *size: of the payload of its answer, 0: it has none. */
static int handle(struct device *dev, struct message *m, uint32_t *size)
{
	struct queue *q = &dev->queue;

	*size = 0;
	switch (m->request) {
	case GET_FEATURES:
		m->value = FEATURES;
		*size = 8;
		return 0;
	case GET_PROTOCOL_FEATURES:
		m->value = P_LOG_SHMFD | P_REPLY_ACK | P_CONFIG;
		*size = 8;
		return 0;
	case SET_FEATURES:
		return set_features(dev, m->value);
	case SET_PROTOCOL_FEATURES:
		dev->protocol = m->value;
		return 0;
	case SET_MEM_TABLE:
		return set_memory(dev, m);
	case SET_LOG_BASE:
		*size = 8;
		return set_log(dev, m);
	case SET_VRING_NUM:
		q->num = m->state.num <= 32768 ? m->state.num : 0;
		return q->num ? queue_open(dev) : -EINVAL;
	case SET_VRING_ADDR:
		return set_addr(dev, m);
	case SET_VRING_BASE:
		q->last = (uint16_t)m->state.num;
		q->broken = false;
		return 0;
	case GET_VRING_BASE: /* and stop */
		queue_close(q);
		q->desc_uva = 0;
		m->state.num = q->last;
		*size = 8;
		return 0;
	case SET_VRING_KICK:
		take_fd(m, &q->kick);
		return 0;
	case SET_VRING_CALL:
		take_fd(m, &q->call);
		return 0;
	case SET_VRING_ENABLE:
		q->enabled = m->state.num != 0;
		return 0;
	case GET_CONFIG:
		*size = (uint32_t)(offsetof(struct message, config.data) - HEADER) +
			m->config.bytes;
		return get_config(dev, m);
	default: /* nothing that concerns us */
		return 0;
	}
}

static bool talk(struct device *dev)
{
	struct message m;
	uint32_t size;
	bool more = receive(dev->sock, &m);

	if (more) {
		bool wanted = dev->protocol & P_REPLY_ACK && m.flags & MSG_NEED_REPLY;
		int err = handle(dev, &m, &size);

		if (size) {
			more = reply(dev, &m, err ? 0 : size);
		} else if (wanted) {
			m.value = err != 0;
			more = reply(dev, &m, 8);
		}
	}
	for (unsigned i = 0; i < m.n_fds; i++)
		if (m.fds[i] >= 0)
			close(m.fds[i]);
	/* It may have become ready, with requests in it. */
	queue_run(dev);
	return more;
}

static void serve_connection(struct device *dev)
{
	uint64_t kicks;

	for (;;) {
		struct pollfd fds[2] = { { .fd = dev->sock, .events = POLLIN },
					 { .fd = dev->queue.kick, .events = POLLIN } };

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return;
		if (fds[1].revents & POLLIN &&
		    read(dev->queue.kick, &kicks, sizeof(kicks)) == sizeof(kicks))
			queue_run(dev);
		if (fds[0].revents && !talk(dev))
			return;
	}
}

/* ---- Begin and end ---- */

static int wait_for_peer(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), sock = -1;

	if (strlen(path) >= sizeof(at.sun_path))
		return -ENAMETOOLONG;
	strcpy(at.sun_path, path);
	unlink(path);
	if (listening >= 0 && bind(listening, (struct sockaddr *)&at, sizeof(at)) == 0 &&
	    listen(listening, 1) == 0)
		sock = accept(listening, NULL, NULL);
	if (sock < 0)
		sock = -errno;
	if (listening >= 0)
		close(listening);
	unlink(path);
	return sock;
}

/* The log for -c: of the first 64 GiB of guest addresses. */
static int check_begin(struct device *dev)
{
	dev->own.bytes = UINT64_C(2) << 20;
	dev->own.bits = calloc(1, dev->own.bytes);
	dev->wrote = calloc(1, dev->own.bytes);
	return dev->own.bits && dev->wrote ? 0 : -ENOMEM;
}

/* Does the log say what the device did? */
static int check_end(const struct device *dev)
{
	unsigned long logged = 0, wrote = 0, missing = 0, extra = 0;

	for (uint64_t i = 0; i < dev->own.bytes; i++) {
		unsigned log = dev->own.bits[i], did = dev->wrote[i];

		logged += (unsigned)__builtin_popcount(log);
		wrote += (unsigned)__builtin_popcount(did);
		missing += (unsigned)__builtin_popcount(did & ~log);
		extra += (unsigned)__builtin_popcount(log & ~did);
	}
	printf("pages written: %lu, logged: %lu, missing: %lu, too many: %lu\n", wrote, logged,
	       missing, extra);
	return missing || extra;
}

int main(int argc, char **argv)
{
	struct device dev = { .sock = -1, .disk = -1, .queue = { .kick = -1, .call = -1 } };
	bool check = argc == 4 && strcmp(argv[1], "-c") == 0;
	struct stat st;
	int result = 0;

	if (argc != 3 && !check) {
		fprintf(stderr, "usage: vhost-user-blk [-c] SOCKET DISK\n");
		return 2;
	}
	dev.disk = open(argv[argc - 1], O_RDWR | O_CLOEXEC);
	if (dev.disk < 0 || fstat(dev.disk, &st) < 0)
		return complain(argv[argc - 1], -errno), 1;
	dev.disk_bytes = (uint64_t)st.st_size;
	if (check && check_begin(&dev))
		return complain("log", -ENOMEM), 1;
	dev.sock = wait_for_peer(argv[argc - 2]);
	if (dev.sock < 0)
		return complain(argv[argc - 2], dev.sock), 1;
	serve_connection(&dev);
	memory_close(&dev);
	printf("requests: %lu, bytes: %lu\n", (unsigned long)dev.requests,
	       (unsigned long)dev.moved);
	if (check)
		result = check_end(&dev);
	free(dev.own.bits);
	free(dev.wrote);
	if (dev.peer.bits)
		munmap(dev.peer.bits, dev.peer.bytes);
	close(dev.sock);
	close(dev.disk);
	return result;
}
