#!/bin/sh
# SPDX-License-Identifier: MIT
# compare.sh VMSPACE PROGRAM [ARGS]: a bare run and a run under vmspace give the same output on
# both streams and the same status. Where run cannot work the test is skipped.
set -u
full() {
	case $1 in
	/*) echo "$1" ;;
	*) echo "$PWD/$1" ;;
	esac
}
vmspace=$(full "$1")
program=$2
case $program in
*/*) program=$(full "$program") ;;
esac
shift 2
set -- "$program" "$@"
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT

if ! "$vmspace" run /bin/true 2>"$dir/probe"; then
	cat "$dir/probe"
	exit 77
fi
(cd "$dir" && "$@") >"$dir/bare.out" 2>"$dir/bare.err" </dev/null
bare=$?
(cd "$dir" && "$vmspace" run ${RUN_OPTIONS:-} "$@") >"$dir/run.out" 2>"$dir/run.err" </dev/null
run=$?

ok=0
if [ $bare != $run ]; then
	echo "status: bare $bare, under vmspace $run"
	ok=1
fi
# A sentence of ours about a fault is welcome on stderr.
grep -v '^vmspace: ' "$dir/run.err" >"$dir/run.err2"
cmp -s "$dir/bare.out" "$dir/run.out" || ok=1
cmp -s "$dir/bare.err" "$dir/run.err2" || ok=1
if [ $ok != 0 ]; then
	diff "$dir/bare.out" "$dir/run.out" | head -40
	diff "$dir/bare.err" "$dir/run.err2" | head -40
fi
exit $ok
