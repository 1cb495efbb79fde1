#!/bin/sh
# SPDX-License-Identifier: MIT
# Run every benchmark of bench/ one after the other; arguments (--quick, --json) go to each.
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build}/bench
[ -f "$build/build.ninja" ] || meson setup "$build" --buildtype=release -Dtests=false >/dev/null
ninja -C "$build" >/dev/null
bench/vm-memory/build.sh "$build/bench/vm-memory"
status=0
for program in "$build"/bench/bench-*; do
	[ -f "$program" ] && [ -x "$program" ] || continue
	"$program" "$@" || status=$?
done
exit $status
