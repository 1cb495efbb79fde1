#!/bin/sh
# SPDX-License-Identifier: MIT
# Build and run all tests: the plain build, then the sanitizers' builds of the library. The last line
# is "N passed, N failed, N skipped", a number a test program.
#
# usage: scripts/test.sh [quick]	quick: the plain build and its quick suite alone
set -u
cd "$(dirname "$0")/.."
build=${BUILD:-build}
logs=
failed_builds=0

# setup NAME OPTIONS...: a configured build folder.
setup()
{
	dir=$build/$1
	shift
	if [ ! -f "$dir/build.ninja" ]; then
		meson setup "$dir" "$@" >"$build/setup.log" 2>&1 || {
			cat "$build/setup.log"
			return 1
		}
	fi
	ninja -C "$dir" >"$build/ninja.log" 2>&1 || {
		cat "$build/ninja.log"
		return 1
	}
}

# suite NAME MESON-TEST-ARGUMENTS...: run in that build, remember the log.
suite()
{
	name=$1
	shift
	meson test -C "$build/$name" --no-rebuild --print-errorlogs --logbase "log-$logs_n" "$@"
	logs="$logs $build/$name/meson-logs/log-$logs_n.json"
	logs_n=$((logs_n + 1))
}

# stage NAME: say what comes.
stage()
{
	printf '\n== %s\n' "$1"
}

mkdir -p "$build"
logs_n=0

stage "plain build"
if setup plain; then
	suite plain --suite quick
	if [ "${1:-}" != quick ]; then
		stage "comparisons with the host kernel, whole programs (some minutes)"
		suite plain --suite slow
	fi
else
	failed_builds=$((failed_builds + 1))
fi

if [ "${1:-}" != quick ]; then
	stage "address and undefined-behaviour sanitizers"
	if setup asan -Db_sanitize=address,undefined -Db_lundef=false -Dtools=false \
		-Ddebug_locks=true -Dsmall_limits=true; then
		suite asan --suite quick
	else
		failed_builds=$((failed_builds + 1))
	fi
	stage "thread sanitizer"
	if setup tsan -Db_sanitize=thread -Db_lundef=false -Dtools=false -Ddebug_locks=true; then
		suite tsan --suite quick
	else
		failed_builds=$((failed_builds + 1))
	fi
fi

# One JSON object a line and a test.
count()
{
	# shellcheck disable=SC2086
	cat $logs 2>/dev/null | grep -oE '"result": "[A-Z]+"' | grep -cE "\"($1)\""
}
passed=$(count 'OK|EXPECTEDFAIL')
skipped=$(count 'SKIP')
failed=$(count 'FAIL|TIMEOUT|ERROR|UNEXPECTEDPASS|INTERRUPT')
failed=$((failed + failed_builds))
if [ "$failed" != 0 ]; then
	stage "what failed"
	# shellcheck disable=SC2086
	cat $logs 2>/dev/null | python3 scripts/failed.py
fi
printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
