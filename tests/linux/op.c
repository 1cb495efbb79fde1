// SPDX-License-Identifier: MIT
/* op.c: printing answers (op.h). */
#include <signal.h>
#include <string.h>

#include "guest.h"
#include "op.h"

_Static_assert(SCRIPT_HEAP == GUEST_BRK && (int)GUEST_READ == 0 && (int)GUEST_WRITE == 1,
	       "scripts speak of the bare child's heap and accesses");

void answer_format(const struct op *op, const struct answer *a, char *buf, size_t size)
{
	if (op->kind == OP_TOUCH) {
		if (a->sig == 0) {
			snprintf(buf, size, "ok, %ld", a->ret);
		} else {
			snprintf(buf, size, "%s code %u at %lx%s",
				 a->sig == SIGBUS ? "SIGBUS" : "SIGSEGV", a->code, a->addr,
				 a->ret != 0 ? ", and engine and host disagree" : "");
		}
	} else if (a->ret < 0 && a->ret > -4096) {
		const char *name = strerrorname_np((int)-a->ret);

		snprintf(buf, size, "-%s", name ? name : "?");
	} else if (op->kind == OP_MINCORE) {
		snprintf(buf, size, "%lx, resident %lx", (uint64_t)a->ret, a->addr);
	} else {
		snprintf(buf, size, "%lx", (uint64_t)a->ret);
	}
}
