// SPDX-License-Identifier: MIT
/*
 * listen.c: those who are told of a memory's slots. See struct vms_listener_ops.
 *
 * A step that may fail is taken back where it was taken, in the opposite order.
 */
#include <errno.h>

#include "memory/memory.h"

int listeners_prepare(struct vms_memory *mem, const struct vms_slot_event *ev, size_t n)
{
	struct listener *l, *done;
	int err = 0;

	for (l = mem->listeners; l; l = l->next) {
		err = l->ops->prepare ? l->ops->prepare(l->arg, ev, n) : 0;
		if (err)
			break;
	}
	for (done = mem->listeners; err && done != l; done = done->next)
		if (done->ops->cancel)
			done->ops->cancel(done->arg, ev, n);
	return err;
}

void listeners_cancel(struct vms_memory *mem, const struct vms_slot_event *ev, size_t n)
{
	for (struct listener *l = mem->listeners; l; l = l->next)
		if (l->ops->cancel)
			l->ops->cancel(l->arg, ev, n);
}

static bool wants_gate(struct vms_memory *mem, const struct vms_slot_event *ev, size_t n)
{
	for (struct listener *l = mem->listeners; l; l = l->next)
		if (l->ops->needs_gate && l->ops->needs_gate(l->arg, ev, n))
			return true;
	return false;
}

/* From the last one before `end` back to l. */
static void revert(struct vms_memory *mem, const struct listener *l, const struct listener *end,
		   const struct vms_slot_event *ev, size_t n, bool gated)
{
	if (l == end)
		return;
	revert(mem, l->next, end, ev, n, gated);
	if (l->ops->revert && l->ops->revert(l->arg, ev, n, gated))
		mem->broken = true;
}

int listeners_apply(struct vms_memory *mem, const struct vms_slot_event *ev, size_t n, bool *gated)
{
	*gated = mem->gate.enter && wants_gate(mem, ev, n);
	if (*gated) {
		mem->gate.enter(mem->gate.arg);
		mem->gated++;
	}
	for (struct listener *l = mem->listeners; l; l = l->next) {
		int err = l->ops->apply ? l->ops->apply(l->arg, ev, n, *gated) : 0;

		if (!err)
			continue;
		if (err > 0) {
			mem->broken = true;
			err = fail(-EIO, "a backend could neither follow an edit nor go back: the "
					 "memory is broken");
		}
		revert(mem, mem->listeners, l, ev, n, *gated);
		listeners_cancel(mem, ev, n);
		listeners_leave(mem, *gated);
		return err;
	}
	return 0;
}

void listeners_leave(struct vms_memory *mem, bool gated)
{
	if (gated && mem->gate.leave)
		mem->gate.leave(mem->gate.arg);
}

void listeners_commit(struct vms_memory *mem, const struct vms_slot_event *ev, size_t n)
{
	for (struct listener *l = mem->listeners; l; l = l->next)
		if (l->ops->commit)
			l->ops->commit(l->arg, ev, n);
}

/* ---- Logs ---- */

int listeners_log_start(struct vms_memory *mem)
{
	struct listener *l, *done;
	int err = 0;

	for (l = mem->listeners; l; l = l->next) {
		err = l->ops->log_start ? l->ops->log_start(l->arg) : 0;
		if (err)
			break;
	}
	for (done = mem->listeners; err && done != l; done = done->next)
		if (done->ops->log_stop)
			done->ops->log_stop(done->arg);
	return err;
}

void listeners_log_stop(struct vms_memory *mem)
{
	for (struct listener *l = mem->listeners; l; l = l->next)
		if (l->ops->log_stop)
			l->ops->log_stop(l->arg);
}

int listeners_log_sync(struct vms_memory *mem)
{
	int err = 0;

	for (struct listener *l = mem->listeners; l; l = l->next) {
		int one = l->ops->log_sync ? l->ops->log_sync(l->arg) : 0;

		err = err ? err : one;
	}
	return err;
}

int listeners_log_clear(struct vms_memory *mem, struct vms_block *b, uint64_t off, uint64_t len)
{
	int err = 0;

	for (struct listener *l = mem->listeners; l; l = l->next) {
		int one = l->ops->log_clear ? l->ops->log_clear(l->arg, b, off, len) : 0;

		err = err ? err : one;
	}
	return err;
}

void listeners_discard(struct vms_memory *mem, struct vms_block *b, uint64_t off, uint64_t len)
{
	for (struct listener *l = mem->listeners; l; l = l->next)
		if (l->ops->discard)
			l->ops->discard(l->arg, b, off, len);
}

/* ---- Coming and going ---- */

/* All slots that stand, as ADDED. */
static size_t standing(struct vms_memory *mem, struct vms_slot_event *ev, size_t room)
	REQUIRES(mem->space.lock)
{
	uint64_t addr = 0;
	struct map m;
	size_t n = 0;

	while (n < room && space_find(&mem->space, addr, &m)) {
		ev[n++] = (struct vms_slot_event){ .kind = VMS_SLOT_ADDED };
		slot_tell(&m, &ev[n - 1].after);
		if (m.last == UINT64_MAX)
			break;
		addr = m.last + 1;
	}
	return n;
}

/* One listener hears what stands. */
static int replay(struct vms_memory *mem, struct listener *l) REQUIRES(mem->space.lock)
{
	const struct vms_listener_ops *ops = l->ops;
	size_t room = mem->space.counts.n, bytes = room * sizeof(struct vms_slot_event), n;
	struct vms_slot_event *ev = NULL;
	int err = 0;

	if (room) {
		ev = mem->world->alloc(mem->world, bytes);
		if (!ev)
			return fail(-ENOMEM, "no memory to tell a listener of %zu slots", room);
		n = standing(mem, ev, room);
		err = ops->prepare ? ops->prepare(l->arg, ev, n) : 0;
		if (!err && ops->apply) {
			err = ops->apply(l->arg, ev, n, 0);
			if (err && ops->cancel)
				ops->cancel(l->arg, ev, n);
			err = err > 0 ? -EIO : err;
		}
		if (!err && memory_is_logged(mem) && ops->log_start) {
			err = ops->log_start(l->arg);
			if (err && ops->revert)
				ops->revert(l->arg, ev, n, 0);
			if (err && ops->cancel)
				ops->cancel(l->arg, ev, n);
		}
		if (!err && ops->commit)
			ops->commit(l->arg, ev, n);
		mem->world->free(mem->world, ev, bytes);
	} else if (memory_is_logged(mem) && ops->log_start) {
		err = ops->log_start(l->arg);
	}
	return err;
}

int vms_memory_listen(struct vms_memory *mem, const struct vms_listener_ops *ops, void *arg)
{
	struct listener *l, **end;
	int err;

	if (!ops || ops->size < sizeof(*ops))
		return fail(-EINVAL, "listener: ops of %zu bytes, need %zu", ops ? ops->size : 0,
			    sizeof(*ops));
	l = mem->world->alloc(mem->world, sizeof(*l));
	if (!l)
		return fail(-ENOMEM, "no memory for a listener");
	*l = (struct listener){ .ops = ops, .arg = arg };
	lock_take(&mem->space.lock);
	err = replay(mem, l);
	if (!err) {
		for (end = &mem->listeners; *end; end = &(*end)->next)
			;
		*end = l;
	}
	lock_drop(&mem->space.lock);
	if (err)
		mem->world->free(mem->world, l, sizeof(*l));
	return err;
}

int vms_memory_unlisten(struct vms_memory *mem, const struct vms_listener_ops *ops, void *arg)
{
	struct listener *l = NULL;

	lock_take(&mem->space.lock);
	for (struct listener **at = &mem->listeners; *at; at = &(*at)->next)
		if ((*at)->ops == ops && (*at)->arg == arg) {
			l = *at;
			*at = l->next;
			break;
		}
	lock_drop(&mem->space.lock);
	if (!l)
		return fail(-ENOENT, "that listener does not listen");
	mem->world->free(mem->world, l, sizeof(*l));
	return 0;
}
