/* SPDX-License-Identifier: MIT */
/*
 * guest.h: what the bare child process and the harness share.
 *
 * The child is a program without a C library. It owns nothing but its code, at a fixed address,
 * and one shared area, at another. Everything else of its address space belongs to the test.
 * The area holds a queue of operations; the child performs them in order and leaves beside each one
 * the answer of the kernel and, if asked, the text of /proc/self/maps and of /proc/self/status
 * right after it.
 *
 *   GUEST_CODE                GUEST_BRK                    GUEST_AREA
 *   | code |      ...         | heap ->       ...  mmap_base |  area  |   TASK
 */
#ifndef TESTS_LINUX_GUEST_H
#define TESTS_LINUX_GUEST_H

#include <stdint.h>

#define GUEST_CODE	0x10000000ul /* the program's only kept segment; see guest.ld */
#define GUEST_CODE_SIZE 0x1000ul
#define GUEST_NR_MSEAL	462		 /* newer than the headers */
#define GUEST_BRK	0x10100000ul	 /* where the kernel starts its heap; see guest.ld */
#define GUEST_AREA	0x7ffffc000000ul /* above mmap_base, so placement never meets it */
#define GUEST_TASK	0x7ffffffff000ul
#define GUEST_AREA_FD	190
#define GUEST_MAPS_FD	191
#define GUEST_STATUS_FD 192

/* Where regions are piled up to the limit: above mmap_base if ROOM_WALL (side.h) is left there. */
#define GUEST_FILL_AT  0x7fffe0000000ul
#define GUEST_FILL_END 0x7ffff8000000ul

#define GUEST_PAGE_MOST 65536u /* heap and area are aligned to it */

#define GUEST_STACK (32u << 10)
#define GUEST_QUEUE 64u
#define GUEST_TEXT  (768u << 10)
#define GUEST_VEC   (128u << 10)
#define GUEST_PEEKS 1024u

/* Operations that are no system calls. */
enum guest_op_number {
	GUEST_TOUCH = 0x10000, /* a0 address, a1 one of enum guest_access, a2 the byte to store */
	GUEST_FORK,	       /* a0: 0 the child goes on, 1 the parent goes on */
	GUEST_PEEK,	       /* a0 address, a1 pages of 4 KiB: answers in peek[] */
	GUEST_LIMIT,	       /* a0 resource, a1 soft; the hard limit stays */
	GUEST_FILL,	       /* a0 address, a1 bytes, a2 regions to make of them */
	GUEST_EXIT,
};

enum guest_access { GUEST_READ, GUEST_WRITE };

struct guest_op {
	uint32_t nr;
	uint32_t want_maps;
	uint64_t a[6];
	/* the answer */
	int64_t ret;
	uint32_t sig, code; /* of a touch: signal (0: none) and si_code */
	uint64_t addr;	    /* of a touch: si_addr; of mincore: bit i is page i's, for 64 pages */
	uint32_t text, text_len;     /* in text[]: the maps, */
	uint32_t status, status_len; /* and after them the status */
};

struct guest_peek {
	uint64_t value;
	uint32_t sig, code;
};

struct guest_area {
	/* Taken by turns: the harness sets turn 1, the child answers by setting it to 0. */
	uint32_t turn;
	uint32_t count;	 /* operations asked */
	uint32_t done;	 /* operations performed: fewer when the text was full */
	uint32_t failed; /* line of guest.c where the child could not go on */
	uint32_t sealed; /* code and area are sealed: the kernel itself refuses to damage them */
	int32_t pid;
	uint64_t first_stack; /* the stack pointer at exec */
	/* A touch: where to go on after a signal, and what it was. */
	uint64_t resume;
	uint32_t sig, code;
	uint64_t addr;
	uint64_t limit[2];
	uint64_t maps_end; /* regions from here on need not be told; 0: all are */
	struct guest_op op[GUEST_QUEUE];
	struct guest_peek peek[GUEST_PEEKS];
	unsigned char stack[GUEST_STACK] __attribute__((aligned(4096)));
	char text[GUEST_TEXT] __attribute__((aligned(4096)));
	/*
	 * mincore's answer; last, so that too long a one is EFAULT. Aligned as the largest guest
	 * page, so that the area begins and ends on one.
	 */
	unsigned char vec[GUEST_VEC] __attribute__((aligned(GUEST_PAGE_MOST)));
};

#define GUEST_AREA_SIZE ((sizeof(struct guest_area) + 4095) & ~4095ul)

#endif
