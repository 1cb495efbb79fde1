// SPDX-License-Identifier: MIT
/*
 * kvm_slots.c: the table of KVM's slots, and plans for it. See kvm_slots.h.
 *
 *	table		|    1    |    2    |    3    |
 *	changes		     |- hole -|	  |B|
 *	goes		|    1    |    2    |
 *	comes		| 1' |	      | 2'|B|
 *	stays				    |    3    |
 *
 * Pieces of what goes and what changes show are met by rising address, so what continues is joined
 * on the way: `run` is what was met last and may still be continued.
 */
#include "memory/kvm_slots.h"

#include <errno.h>
#include <string.h>

#include "base/fail.h"
#include "base/range.h"

#define HUGE_PAGE (UINT64_C(2) << 20)

/* ---- The table ---- */

int kvm_slots_init(struct kvm_slots *t, const struct world *w, uint32_t n_ids, uint64_t page,
		   uint64_t max, bool by_id)
{
	size_t words = (n_ids + 63) / 64;

	*t = (struct kvm_slots){ .world = w, .n_ids = n_ids, .page = page, .max = max };
	t->used = w->alloc(w, words * 8);
	if (t->used && by_id)
		t->by_id = w->alloc(w, n_ids * sizeof(*t->by_id));
	if (!t->used || (by_id && !t->by_id)) {
		kvm_slots_fini(t);
		return -ENOMEM;
	}
	memset(t->used, 0, words * 8);
	if (n_ids % 64) /* the rest of the last word is nobody's */
		t->used[words - 1] = ~UINT64_C(0) << n_ids % 64;
	for (uint32_t i = 0; by_id && i < n_ids; i++)
		t->by_id[i] = NULL;
	return 0;
}

static void free_slot(struct kvm_slots *t, struct kvm_slot *s)
{
	if (t->by_id && t->by_id[s->id] == s)
		t->by_id[s->id] = NULL;
	kvm_slot_free_bits(t, s);
	t->world->free(t->world, s, sizeof(*s));
}

void kvm_slot_free_bits(const struct kvm_slots *t, struct kvm_slot *s)
{
	if (s->bits)
		t->world->free(t->world, s->bits, kvm_slot_bits_bytes(t, s));
	s->bits = NULL;
}

void kvm_slots_fini(struct kvm_slots *t)
{
	struct itree_node *n;

	while ((n = itree_first(&t->by_gpa, 0, UINT64_MAX))) {
		itree_erase(&t->by_gpa, n);
		free_slot(t, kvm_slot_of_gpa(n));
	}
	if (t->by_id)
		t->world->free(t->world, t->by_id, t->n_ids * sizeof(*t->by_id));
	if (t->used)
		t->world->free(t->world, t->used, (size_t)(t->n_ids + 63) / 64 * 8);
	t->by_id = NULL;
	t->used = NULL;
}

void kvm_slots_put(struct kvm_slots *t, struct kvm_slot *s)
{
	itree_insert(&t->by_gpa, &s->by_gpa);
	if (!(s->back.flags & KVM_SLOT_GUEST))
		itree_insert(&t->by_hva, &s->by_hva);
	if (t->by_id)
		t->by_id[s->id] = s;
	s->stands = true;
}

void kvm_slots_take(struct kvm_slots *t, struct kvm_slot *s)
{
	itree_erase(&t->by_gpa, &s->by_gpa);
	if (!(s->back.flags & KVM_SLOT_GUEST))
		itree_erase(&t->by_hva, &s->by_hva);
	s->stands = false;
}

void kvm_slots_moved(struct kvm_slots *t, struct kvm_slot *s)
{
	uint64_t from = kvm_slot_gpa(s), len = kvm_slot_len(s);

	itree_erase(&t->by_gpa, &s->by_gpa);
	s->by_gpa.first = s->other;
	s->by_gpa.last = s->other + (len - 1);
	s->other = from;
	s->went = !s->went;
	itree_insert(&t->by_gpa, &s->by_gpa);
}

/* ---- Ids ---- */

static void id_give_back(struct kvm_slots *t, uint32_t id)
{
	t->used[id / 64] &= ~(UINT64_C(1) << id % 64);
	t->low = (uint32_t)min_u64(t->low, id / 64);
	t->n_used--;
}

static void id_set(struct kvm_slots *t, uint32_t id)
{
	t->used[id / 64] |= UINT64_C(1) << id % 64;
	t->n_used++;
}

/* The lowest one. => one is free */
static uint32_t id_take(struct kvm_slots *t)
{
	uint32_t id;

	while (t->used[t->low] == UINT64_MAX)
		t->low++;
	id = t->low * 64 + (uint32_t)__builtin_ctzll(~t->used[t->low]);
	id_set(t, id);
	return id;
}

/* ---- Making a plan ---- */

struct making {
	struct kvm_slots *t;
	struct kvm_plan *plan;
	struct kvm_slot **comes, **moves; /* the lists' ends */
	uint64_t first, last;		  /* the run */
	struct kvm_back back;		  /* of its first byte; no block: there is none */
};

static struct kvm_back back_at(const struct kvm_back *b, uint64_t more)
{
	struct kvm_back at = *b;

	at.off += more;
	at.hva += more;
	return at;
}

static bool is_same_back(const struct kvm_back *a, const struct kvm_back *b)
{
	return a->block == b->block && a->off == b->off && a->hva == b->hva && a->flags == b->flags;
}

/*
 * All that stands in the new place goes, and does not move away later: no move waits for another.
 * Marks it so.
 */
static bool clear_place(struct kvm_slots *t, const struct kvm_slot *mover, uint64_t first,
			uint64_t last)
{
	struct kvm_slot *s;

	for_each_kvm_slot(s, t, first, last)
	{
		if (s != mover && s->fate == KVM_SLOT_MOVES)
			return false;
	}
	for_each_kvm_slot(s, t, first, last)
	{
		if (s != mover)
			s->fate = KVM_SLOT_GOES_FOR_SURE;
	}
	return true;
}

/* A slot that goes and is as this one shall be, but for its address. */
static struct kvm_slot *find_mover(struct kvm_slots *t, const struct kvm_plan *plan, uint64_t first,
				   uint64_t last, const struct kvm_back *back)
{
	struct itree_node *n;

	if (!plan->goes || back->flags & KVM_SLOT_GUEST)
		return NULL;
	for (n = itree_first(&t->by_hva, back->hva, back->hva); n;
	     n = itree_next(n, back->hva, back->hva)) {
		struct kvm_slot *s = kvm_slot_of_hva(n);

		if (s->fate == KVM_SLOT_GOES && kvm_slot_len(s) == last - first + 1 &&
		    is_same_back(&s->back, back) && clear_place(t, s, first, last))
			return s;
	}
	return NULL;
}

static int slot_comes(struct making *m, uint64_t first, uint64_t last, const struct kvm_back *back)
{
	struct kvm_slots *t = m->t;
	struct kvm_slot *s = find_mover(t, m->plan, first, last, back);

	if (s) {
		s->fate = KVM_SLOT_MOVES;
		s->other = first;
		m->plan->n_moves++;
		m->plan->overlaps |= s->by_gpa.first <= last && first <= s->by_gpa.last;
		return 0;
	}
	if (m->plan->n_comes >= t->n_ids - t->n_used + m->plan->n_goes)
		return -ENOSPC; /* before memory is asked for a million of them */
	s = t->world->alloc(t->world, sizeof(*s));
	if (!s)
		return -ENOMEM;
	*s = (struct kvm_slot){ .by_gpa = { .first = first, .last = last }, .back = *back };
	if (!(back->flags & KVM_SLOT_GUEST)) {
		s->by_hva.first = back->hva;
		s->by_hva.last = back->hva + (last - first);
	}
	*m->comes = s;
	m->comes = &s->next;
	m->plan->n_comes++;
	return 0;
}

/* Where a slot from `first` on ends at the latest: at a multiple of a huge page, if it is split. */
static uint64_t split_last(const struct kvm_slots *t, uint64_t first, uint64_t last)
{
	uint64_t end;

	if (last - first < t->max)
		return last;
	end = (first + t->max) & ~(HUGE_PAGE - 1);
	return (end > first ? end : first + t->max) - 1;
}

/* The run is complete. */
static int end_run(struct making *m)
{
	uint64_t first = m->first, last;
	int err = 0;

	if (!m->back.block)
		return 0;
	for (;;) {
		struct kvm_back back = back_at(&m->back, first - m->first);

		last = split_last(m->t, first, m->last);
		err = slot_comes(m, first, last, &back);
		if (err || last == m->last)
			break;
		first = last + 1;
	}
	m->back.block = NULL;
	return err;
}

/* [first, last] shall show this. */
static int meet(struct making *m, uint64_t first, uint64_t last, const struct kvm_back *back)
{
	struct kvm_back next;
	int err;

	if (m->back.block && m->last + 1 == first) {
		next = back_at(&m->back, first - m->first);
		if (is_same_back(&next, back)) {
			m->last = last;
			return 0;
		}
	}
	err = end_run(m);
	if (err || !back->block)
		return err;
	m->first = first;
	m->last = last;
	m->back = *back;
	return 0;
}

static int meet_piece(struct making *m, const struct kvm_slot *s, uint64_t first, uint64_t last)
{
	struct kvm_back back = back_at(&s->back, first - s->by_gpa.first);

	return meet(m, first, last, &back);
}

/* What goes: all that a change meets, by rising address. */
static void list_goers(struct kvm_slots *t, const struct kvm_change *changes, size_t n,
		       struct kvm_plan *plan)
{
	struct kvm_slot **end = &plan->goes, *s;

	for (size_t i = 0; i < n; i++)
		for_each_kvm_slot(s, t, changes[i].gpa, changes[i].gpa + (changes[i].len - 1))
		{
			if (s->fate != KVM_SLOT_STAYS)
				continue; /* an earlier change met it */
			s->fate = KVM_SLOT_GOES;
			s->next = NULL;
			*end = s;
			end = &s->next;
			plan->n_goes++;
		}
}

/* What comes: pieces of what goes, and what the changes show. */
static int list_comers(struct making *m, const struct kvm_change *changes, size_t n)
{
	const struct kvm_slot *s = m->plan->goes;
	uint64_t from = 0; /* where the changes that were met end */
	int err = 0;

	for (size_t i = 0; !err && i < n; i++) {
		uint64_t first = changes[i].gpa, last = first + (changes[i].len - 1);

		while (!err && s && s->by_gpa.first < first) {
			uint64_t a = max_u64(s->by_gpa.first, from);
			uint64_t b = min_u64(s->by_gpa.last, first - 1);

			if (a <= b)
				err = meet_piece(m, s, a, b);
			if (s->by_gpa.last >= first)
				break;
			s = s->next;
		}
		if (!err)
			err = meet(m, first, last, &changes[i].show);
		while (s && s->by_gpa.last <= last)
			s = s->next;
		from = last + 1;
	}
	if (!err && s) /* the last change cut it; nothing else is left */
		err = meet_piece(m, s, max_u64(s->by_gpa.first, from), s->by_gpa.last);
	return err ? err : end_run(m);
}

/* The movers leave the list of those that go. */
static void part_movers(struct kvm_plan *plan)
{
	struct kvm_slot **from = &plan->goes, **to = &plan->moves, *s;

	while ((s = *from)) {
		if (s->fate != KVM_SLOT_MOVES) {
			from = &s->next;
			continue;
		}
		*from = s->next;
		s->next = NULL;
		*to = s;
		to = &s->next;
		plan->n_goes--;
	}
}

int kvm_plan_make(struct kvm_slots *t, const struct kvm_change *changes, size_t n,
		  struct kvm_plan *plan)
{
	struct making m = { .t = t, .plan = plan };
	struct kvm_slot *s;
	int err;

	*plan = (struct kvm_plan){ 0 };
	m.comes = &plan->comes;
	list_goers(t, changes, n, plan);
	err = list_comers(&m, changes, n);
	part_movers(plan);
	if (!err && plan->n_comes > t->n_ids - t->n_used + plan->n_goes)
		err = -ENOSPC;
	for (s = plan->goes; s; s = s->next)
		id_give_back(t, s->id);
	for (s = err ? NULL : plan->comes; s; s = s->next)
		s->id = id_take(t);
	if (!err)
		return 0;
	while ((s = plan->comes)) {
		plan->comes = s->next;
		t->world->free(t->world, s, sizeof(*s));
	}
	kvm_plan_end(t, plan);
	return err;
}

static void end_list(struct kvm_slots *t, struct kvm_slot *s)
{
	struct kvm_slot *next;

	for (; s; s = next) {
		next = s->next;
		s->next = NULL;
		s->fate = KVM_SLOT_STAYS;
		s->went = false;
		if (s->stands)
			id_set(t, s->id);
		else
			free_slot(t, s);
	}
}

void kvm_plan_end(struct kvm_slots *t, struct kvm_plan *plan)
{
	struct kvm_slot *s;

	for (s = plan->comes; s; s = s->next)
		id_give_back(t, s->id);
	for (s = plan->moves; s; s = s->next)
		id_give_back(t, s->id);
	end_list(t, plan->goes);
	end_list(t, plan->moves);
	end_list(t, plan->comes);
	*plan = (struct kvm_plan){ 0 };
}

/* ---- The validator ---- */

const char *kvm_slots_validate(const struct kvm_slots *t)
{
	const struct kvm_slot *s, *before = NULL;
	uint32_t n = 0, bits = 0;

	for_each_kvm_slot(s, t, 0, UINT64_MAX)
	{
		if (before && before->by_gpa.last >= s->by_gpa.first)
			return "two of KVM's slots meet";
		if ((s->by_gpa.first | kvm_slot_len(s)) & (t->page - 1) || !kvm_slot_len(s) ||
		    kvm_slot_len(s) > t->max || s->by_gpa.last == UINT64_MAX)
			return "a slot of KVM has a range that KVM does not take";
		if (s->id >= t->n_ids || !(t->used[s->id / 64] >> s->id % 64 & 1))
			return "a slot of KVM has an id that is not taken";
		if (!s->stands || s->fate != KVM_SLOT_STAYS)
			return "a slot of KVM is still in a plan";
		before = s;
		n++;
	}
	for (uint32_t i = 0; i < t->n_ids; i++)
		bits += t->used[i / 64] >> i % 64 & 1;
	return n == t->n_used && n == bits ? NULL : "KVM's slots are not as many as their ids";
}
