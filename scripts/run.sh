#!/bin/sh
# SPDX-License-Identifier: MIT
# The main job, under a minute: a program that nobody here wrote runs on vmspace and answers as it
# does bare; a page-size bug is found and named; and our answers are compared with the kernel's own.
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build}/plain
vmspace=$build/tools/vmspace/vmspace
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

say()
{
	printf '\n\033[1m%s\033[0m\n' "$*"
}

# Not every machine can run a guest; vmspace says why in a sentence, with status 2.
"$vmspace" run true || exit $?

if [ -x /usr/bin/python3 ]; then
	set -- /usr/bin/python3 -c '
import hashlib, json, re, zlib
text = json.dumps([{"n": n, "square": n * n} for n in range(20000)])
packed = zlib.compress(text.encode(), 9)
assert zlib.decompress(packed).decode() == text
print(len(text), "characters,", len(packed), "packed,", len(re.findall("7", text)), "sevens")
print(hashlib.sha256(packed).hexdigest())'
else
	set -- perl -e '
my %n; $n{$_ % 977} .= chr(65 + $_ % 26) for 1 .. 300000;
print join(",", map { length $n{$_} } sort keys %n), "\n"'
fi
say "1. $1 runs on vmspace: every one of its memory calls is answered by the engine"
"$@" >"$out/bare"
"$vmspace" run --maps --stats "$@" >"$out/guest"
cat "$out/guest"
if cmp -s "$out/bare" "$out/guest"; then
	echo "the output is the same as bare"
else
	echo "DIFFERENT from bare:"
	diff "$out/bare" "$out/guest" || true
	exit 1
fi

say "2. a program that takes 4096 for the page size, on pages of 4 KiB and of 16 KiB"
program=$build/examples/assumes-4096
"$vmspace" run --page-size 4k "$program"
if "$vmspace" run --page-size 16k "$program"; then
	echo "it should have failed at 16 KiB"
	exit 1
fi

say "3. ten seconds of random memory calls: vmspace against this machine's kernel"
"$build/tests/linux/linux-diff" --seconds 10

say "Now your own program:"
echo "  $vmspace run --maps PROGRAM ARGUMENTS..."
