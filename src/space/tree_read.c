// SPDX-License-Identifier: MIT
/*
 * tree_read.c: the mapping tree for those who look without the space's lock.
 *
 *	reader	count even? → root, children, a value → the same count? else again, or the lock
 *	writer	count odd → nodes change where they are → count even → nodes that left are retired
 *
 * A reader may come through a node while it is changed, and see of it any mixture of before and
 * after. Whatever it saw, it notices by the count, and uses nothing of it. Until then it must only
 * not be led out of the tree, so it trusts nothing but this:
 *
 *	1 a node's level never changes while it can be reached; the children of a node are of the
 *	  level below: a reader goes down as many nodes as the first one's level says
 *	2 each word of an inner node's child[] is at every moment NULL or points to a node that is
 *	  in the tree, or was in it when this node was (tree.c clears what is not in use)
 *	3 a node that has left the tree is freed when every section has ended that was open then
 *	4 slots are below KEYS, whatever the keys say
 *
 * Objects, too, stay in memory for the section (object_ref_live()).
 */
#include "space/tree.h"
#include "space/tree_node.h"

#define TRIES 8 /* a change takes about as long as a few looks, unless its thread must wait */

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Down to the slot. What is found means nothing until the count is seen to be the same. */
static UNWATCHED bool look(const struct tree *t, uint64_t addr, struct map *out)
{
	const struct tree_node *node = __atomic_load_n(&t->root, __ATOMIC_ACQUIRE);

	while (node) {
		unsigned i = below(node, addr), level = node->level;

		if (i >= KEYS || i >= node->n)
			return false;
		if (level == 0) {
			*out = node->map[i];
			return true;
		}
		node = __atomic_load_n(&node->child[i], __ATOMIC_ACQUIRE);
		if (level == 1 && node)
			fetch_leaf(node);
	}
	return false;
}

/* Is all that was read from before the count moved on from seq? */
static inline bool is_still(const struct tree *t, uint64_t seq)
{
#ifdef TREE_TSAN
	return tree_seq(t) == seq; /* it knows no fences; they order nothing that it looks at */
#else
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&t->seq, memory_order_relaxed) == seq;
#endif
}

enum tree_look tree_read(const struct tree *t, uint64_t addr, struct map *out, uint64_t *seq)
{
	for (unsigned i = 0; t->readers && i < TRIES; i++) {
		uint64_t before = tree_seq(t);

		if (!(before & 1)) {
			bool found = look(t, addr, out);

			if (is_still(t, before)) {
				*seq = before;
				return found ? TREE_FOUND : TREE_NONE;
			}
		}
		relax();
	}
	return TREE_BUSY;
}
