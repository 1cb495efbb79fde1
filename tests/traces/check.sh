#!/bin/sh
# SPDX-License-Identifier: MIT
# check.sh VMSPACE CASE: replay must find what is wrong, and say it.
vmspace=$1
dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
here=$(dirname "$0")

# try STATUS WORDS FILE: replay ends with STATUS and says WORDS
try() {
	out=$("$vmspace" replay "$3" 2>&1)
	got=$?
	if [ $got -ne "$1" ] || ! printf '%s' "$out" | grep -q "$2"; then
		printf 'wanted status %s and "%s", got %s:\n%s\n' "$1" "$2" "$got" "$out"
		exit 1
	fi
}

case $2 in
differs)
	# another answer
	sed '0,/^C munmap .* = 0$/s//C munmap 7ffff7fb4000 b777 0 0 0 0 = -22/' "$here/git.trace" > "$dir/a"
	cmp -s "$here/git.trace" "$dir/a" && { echo "nothing was changed"; exit 1; }
	try 1 'the answers differ' "$dir/a"
	# another right in the last block
	sed '$!b' "$here/git.trace" | awk '{ line[NR] = $0 } /^M .* \[heap\]/ { at = NR }
		END { sub("rw-p", "r--p", line[at]); for (i = 1; i <= NR; i++) print line[i] }' > "$dir/b"
	try 1 'the maps differ' "$dir/b"
	# a call left out
	awk '/^C mmap 0 2000/ && !n++ { next } { print }' "$here/git.trace" > "$dir/c"
	try 1 'differ' "$dir/c"
	;;
broken)
	try 2 'No such file' "$dir/none"
	: > "$dir/a"
	try 2 'no maps to start from' "$dir/a"
	echo 'C brk 0 0 0 0 0 0 = 0' > "$dir/b"
	try 2 'before the first block' "$dir/b"
	echo 'hello' > "$dir/c"
	try 2 'line 1' "$dir/c"
	printf 'M 1000-2000 rw-p 00000000 -\nC brk\n' > "$dir/d"
	try 2 'not ended by E' "$dir/d"
	printf 'M 1000-2000 rw-p 00000000 -\nM 1000-2000 rw-p 00000000 -\nE\n' > "$dir/e"
	try 2 'overlap' "$dir/e"
	printf 'M 10000-20000 rw-p 00000000 -\nE\nC shmat 0 0 0 0 0 0 = 1000\n' > "$dir/f"
	try 2 "no replay of 'shmat'" "$dir/f"
	printf 'M 10000-20000 rw-p 0 -\nE\nC mmap 0 zz 0 0 0 0 = 1000\n' > "$dir/g"
	try 2 'not a call' "$dir/g"
	printf 'M ffffffffffff0000-fffffffffffff000 rw-p 0 -\nE\nC brk 0 0 0 0 0 0 = ffffffffffff0000\n' > "$dir/h"
	try 2 'brk' "$dir/h"
	head -c 3000 /dev/zero | tr '\0' 'C' > "$dir/i"
	try 2 'line 1' "$dir/i"
	"$vmspace" replay > /dev/null 2>&1
	[ $? -eq 2 ] || exit 1
	;;
esac
