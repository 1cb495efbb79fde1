#!/bin/sh
# SPDX-License-Identifier: MIT
# The program in README.md is the example that the tests build and run: compare them.
set -eu
cd "$(dirname "$0")/.."
shown=$(sed -n '/^```c$/,/^```$/p' README.md | sed '1d;$d')
real=$(sed -n '/^#include/,$p' examples/mman-guest.c)
[ "$shown" = "$real" ] || {
	echo "README.md shows another program than examples/mman-guest.c"
	exit 1
}
