#!/bin/sh
# SPDX-License-Identifier: MIT
# The library exports what src/vmspace.map lists, and the headers declare just that.
# usage: symbols.sh LIBRARY MAP HEADER...
set -eu
lib=$1 map=$2
shift 2
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

sed -n '/global:/,/local:/s/^[[:space:]]*\([a-z_0-9]*\);.*/\1/p' "$map" | sort >"$tmp/map"
nm -D --defined-only "$lib" | awk '$2 ~ /[TDBRWV]/ { sub(/@.*/, "", $3); print $3 }' |
	sort >"$tmp/exported"
# A declaration may go on over lines: join them, drop comments, take the name before the parenthesis.
cat "$@" | tr '\n' ' ' | sed 's|/\*[^*]*\*\+\([^/*][^*]*\*\+\)*/||g; s/;/;\n/g' |
	sed -n 's/.*VMS_API [^(]*[ *]\([a-z_0-9]*\)(.*/\1/p' | sort >"$tmp/declared"

test -s "$tmp/map" || { echo "no symbols in $map"; exit 1; }
status=0
for other in exported declared; do
	if ! diff "$tmp/map" "$tmp/$other" >"$tmp/diff"; then
		echo "$map ('<') and what is $other ('>') differ:"
		cat "$tmp/diff"
		status=1
	fi
done
echo "$(wc -l <"$tmp/map") symbols"
exit $status
