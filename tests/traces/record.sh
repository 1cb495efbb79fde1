#!/bin/sh
# SPDX-License-Identifier: MIT
# record.sh VMSPACE CASE: record a real program, replay it forced and free: no difference.
vmspace=$1
trace=$(mktemp) || exit 2
trap 'rm -f "$trace" "$trace.out" "$trace.err"' EXIT
skip() { echo "SKIP: $1"; exit 77; }
need() { command -v "$1" > /dev/null || skip "no $1 here"; }

case $2 in
shell)
	expect=done
	set -- sh -c 'ls / | sort > /dev/null; echo done' ;;
perl)
	need perl
	expect=100000
	set -- perl -e 'my @a = (1..100000); print scalar(@a), "\n"' ;;
python)
	need python3
	expect=100000
	set -- python3 -c 'print(len([str(i) for i in range(100000)]))' ;;
threads)
	need python3
	expect=8
	set -- python3 -c '
import threading
def f():
    for i in range(100):
        bytearray(1 << 20)
t = [threading.Thread(target=f) for _ in range(8)]
[x.start() for x in t]; [x.join() for x in t]
print(len(t))' ;;
exec)
	expect=two
	set -- sh -c 'exec sh -c "exec echo two"' ;;
esac
"$vmspace" record "$trace" -- "$@" > "$trace.out" 2> "$trace.err"
status=$?
if grep -q 'cannot trace' "$trace.err"; then
	skip "$(cat "$trace.err")"
fi
[ $status -eq 0 ] || { cat "$trace.err"; echo "recording ended with $status"; exit 1; }
[ "$(cat "$trace.out")" = "$expect" ] || { echo "the program said: $(cat "$trace.out")"; exit 1; }
# A recording that holds nothing would replay well.
[ "$(grep -c '^C' "$trace")" -ge 10 ] || { echo "too few calls were recorded"; exit 1; }
exec "$vmspace" replay "$trace"
