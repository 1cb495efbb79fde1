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

/*
 * Draw all regions of mm: a strip of the address axis, folded at holes, and a line a region with
 * a bar that grows with the logarithm of its size. Rights are shown by colour if `colour`, and
 * always by the filling.
 */
void picture_draw(FILE *out, struct vms_mm *mm, bool colour);

#endif
