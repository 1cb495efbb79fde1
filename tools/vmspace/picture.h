/* SPDX-License-Identifier: MIT */
/*
 * picture.h: an address space as a picture for a terminal.
 */
#ifndef PICTURE_H
#define PICTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "vmspace/mman.h"

#define PICTURE_BAR 14 /* cells of the longest bar */

/* A stretch of the address axis, both ends included. */
struct picture_part {
	uint64_t start, last;
	uint32_t prot;
};

/*
 * Draw all regions of mm: a strip of the address axis, folded at holes, and a line a region with
 * a bar that grows with the logarithm of its size. Rights are shown by colour if `colour`, and
 * always by the filling.
 */
void picture_draw(FILE *out, struct vms_mm *mm, bool colour);

/* Its parts, for other pictures of the kind. */
void picture_strip(FILE *out, const struct picture_part *part, size_t n, bool colour);
/* A bar, and blanks up to the longest one's length. */
void picture_bar(FILE *out, uint64_t bytes, uint32_t prot, bool colour);
void picture_legend(FILE *out, bool colour);
/* 4.0K, 124K, 2.6M: at most five columns. 0 is 2^64. */
const char *picture_size(char *buf, size_t size, uint64_t bytes);

#endif
