#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: compare.sh EXPECTED PROGRAM [ARGS]: the program succeeds and prints what EXPECTED holds.
set -eu
expected=$1
shift
out=$(mktemp)
trap 'rm -f "$out"' EXIT
"$@" >"$out"
diff "$expected" "$out"
