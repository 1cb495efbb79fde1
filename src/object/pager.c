// SPDX-License-Identifier: MIT
/*
 * pager.c: the pager's handle, and what it says of a whole object. The pages that it brings are in
 * supply.c, those it takes back in writeback.c.
 *
 * A pager lives as long as its handle or an object of it. Its list has the sources that close has
 * still to detach; close takes them off one by one, so that none of its locks is held meanwhile.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/fail.h"
#include "object/source_int.h"

static void callback_request(struct source *s, enum vms_request_kind kind, uint64_t first,
			     uint64_t n)
{
	unsigned shift = s->content->shift;

	s->pager->ops.request(s->pager->arg, &s->self.object, s->key, kind, first << shift,
			      n << shift);
}

/* ---- Life ---- */

struct vms_pager *pager_new(const struct world *w)
{
	struct vms_pager *p = w->alloc(w, sizeof(*p));

	if (!p)
		return NULL;
	memset(p, 0, sizeof(*p));
	p->world = w;
	p->fd = -1;
	atomic_init(&p->refs, 1);
	lock_init(&p->lock, LOCK_PAGER, "pager");
	return p;
}

int vms_pager_create(const struct vms_pager_ops *ops, void *arg, struct vms_pager **pager)
{
	const struct world *w = world_default;
	struct vms_pager *p;

	if (!ops || ops->size < sizeof(*ops))
		return fail(-EINVAL, "pager ops: size %zu, expected %zu", ops ? ops->size : 0,
			    sizeof(*ops));
	if (!ops->request)
		return fail(-EINVAL, "pager ops: no request function");
	p = pager_new(w);
	if (!p)
		return fail(-ENOMEM, "no memory for a pager");
	p->ops = *ops;
	p->arg = arg;
	p->request = callback_request;
	*pager = p;
	return 0;
}

void pager_unref(struct vms_pager *pager)
{
	const struct world *w = pager->world;

	if (atomic_fetch_sub_explicit(&pager->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (pager->ops.release)
		pager->ops.release(pager->arg);
	if (pager->fd >= 0)
		w->fd_close(w, pager->fd);
	lock_fini(&pager->lock);
	w->free(w, pager, sizeof(*pager));
}

/*
 * Take a source off the list, and a count of its content. A content that ends in this moment has no
 * count to give: its source is told that there is no more to say.
 */
static struct source *next_source(struct vms_pager *pager)
{
	struct source *s;

	lock_take(&pager->lock);
	pager->closed = true;
	while ((s = pager->sources)) {
		pager->sources = s->next;
		if (s->next)
			s->next->link = &pager->sources;
		s->link = NULL;
		if (content_hold(&s->content->evictable))
			break;
		atomic_store_explicit(&s->completed, true, memory_order_relaxed);
	}
	lock_drop(&pager->lock);
	return s;
}

void vms_pager_close(struct vms_pager *pager)
{
	struct source *s;

	if (!pager)
		return;
	while ((s = next_source(pager))) {
		source_detach(s, /* tell = */ false);
		content_unref(s->content);
	}
	pager_unref(pager);
}

/* ---- Arguments ---- */

int pager_source(struct vms_pager *pager, struct vms_object *obj, struct source **s)
{
	int err = view_usable(obj);

	if (err)
		return err;
	*s = view_of(obj)->content->source;
	if (!*s || (*s)->pager != pager)
		return fail(-EINVAL, "the object is not filled by this pager");
	return 0;
}

int pager_aligned(const struct source *s, uint64_t off, uint64_t len, const char *what)
{
	uint64_t mask = (UINT64_C(1) << s->content->shift) - 1;

	if ((off | len) & mask)
		return fail(-EINVAL, "%s: [%#" PRIx64 ", +%#" PRIx64 ") is not page aligned", what,
			    off, len);
	return 0;
}

/* ---- Answers for a whole object ---- */

int vms_pager_fail(struct vms_pager *pager, struct vms_object *obj, uint64_t off, uint64_t len,
		   int error)
{
	struct page_range r;
	struct source *s;
	int err;

	err = pager_source(pager, obj, &s);
	if (!err)
		err = pager_aligned(s, off, len, "fail");
	if (err)
		return err;
	switch (error) {
	case -EIO:
	case -EBADMSG:
	case -EBUSY:
	case -ENOSPC:
	case -EOVERFLOW:
		break;
	default:
		return fail(-EINVAL, "fail: a request does not fail with %d", error);
	}
	err = view_range(obj, off, len, "fail", &r);
	if (err)
		return err;
	source_fail(s, r.first, r.n, error);
	return 0;
}

int vms_pager_detach(struct vms_pager *pager, struct vms_object *obj)
{
	struct source *s;
	int err = pager_source(pager, obj, &s);

	if (err)
		return err;
	source_detach(s, /* tell = */ true);
	return 0;
}

int vms_pager_modified(struct vms_pager *pager, struct vms_object *obj, int reset)
{
	struct source *s;
	int err = pager_source(pager, obj, &s);

	if (err)
		return err;
	return reset ? atomic_exchange_explicit(&s->modified, false, memory_order_relaxed)
		     : source_is_modified(s);
}
