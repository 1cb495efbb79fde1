#!/bin/sh
# SPDX-License-Identifier: MIT
# programs.sh VMSPACE WHAT: one real program of this machine, bare and under vmspace. What a
# program writes besides its output (a repository, a database, a program) is compared too.
set -u
case $1 in
/*) vmspace=$1 ;;
*) vmspace=$PWD/$1 ;;
esac
what=$2
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
[ $# -ge 3 ] && case $3 in
/*) ;;
*) set -- "$1" "$2" "$PWD/$3" "$4" ;;
esac
cd "$dir" || exit 99

need() {
	for tool in "$@"; do
		command -v "$tool" >/dev/null 2>&1 && continue
		echo "$tool is not installed"
		exit 77
	done
}
same() {
	"$here/compare.sh" "$vmspace" "$@" || exit $?
}
python=/usr/bin/python3

# python_suite MODULE [LEFT-OUT...]: each test gives what it gives bare.
python_suite() {
	module=$1
	shift
	$python -c "import test.$module" 2>/dev/null || { echo "no libpython3.11-testsuite"; exit 77; }
	cat >suite.py <<-'EOF'
		import sys, unittest
		def cases(suite):
		    for t in suite:
		        if isinstance(t, unittest.TestSuite):
		            yield from cases(t)
		        elif t._testMethodName not in sys.argv[2:]:
		            yield t
		all = unittest.defaultTestLoader.loadTestsFromName('test.' + sys.argv[1])
		result = unittest.TextTestRunner(verbosity=2).run(unittest.TestSuite(cases(all)))
		sys.exit(not result.wasSuccessful())
	EOF
	python_sides suite.py "$module" "$@"
	grep -q '^Ran [1-9]' run.log || { tail -40 run.log; exit 1; }
	[ $bare = $run ] && diff bare.results run.results && return 0
	# The suite has deadlines of its own, so a busy machine can fail a test on either side. What
	# differed is asked again, alone: a difference that is ours stays.
	differ=$(diff bare.results run.results | sed -n 's/^[<>] test_[^ ]* (\([a-zA-Z0-9_.]*\)).*/\1/p' | sort -u)
	[ -n "$differ" ] || { tail -40 run.log; exit 1; }
	for name in $differ; do
		for try in 1 2 3; do
			python_sides -m unittest -v "$name"
			[ $bare = $run ] && diff bare.results run.results && continue 2
		done
		tail -40 run.log
		exit 1
	done
}

# python_sides ARGUMENTS: bare and under vmspace, into *.log and, a line a test, *.results.
python_sides() {
	$python "$@" >bare.log 2>&1 </dev/null
	bare=$?
	"$vmspace" run $python "$@" >run.log 2>&1 </dev/null
	run=$?
	for side in bare run; do
		grep -E '^(test_|Ran|OK|FAILED|ERROR)' $side.log | sed 's/ in [0-9.]*s//' >$side.results
	done
}

case $what in
echo)
	same /bin/echo hello
	same echo -n "found in PATH"
	;;
ls)
	# A folder of our own: nobody adds to it between the two runs.
	mkdir many && (cd many && seq 300 | xargs touch && ln -s 1 link && mkdir folder) || exit 99
	same ls -l "$dir/many"
	;;
pipeline)
	same sh -c 'ls / | sort'
	# A buffer of its own: without, sort asks the machine, and may write thousands of files.
	same sh -c 'seq 1 20000 | sort -S 4M -R | sort -S 4M -n | md5sum; exit 3'
	;;
perl)
	need perl
	same perl -e 'print "a\n"; print `echo b c`; system("sh", "-c", "exit 9"); print $? >> 8, "\n";
		my %h; $h{$_ % 977} .= $_ for 1 .. 100000; print length(join "", %h), "\n"; exit 5'
	;;
python)
	[ -x $python ] || { echo "no $python"; exit 77; }
	same $python -c 'import os, subprocess, json, zlib
print(subprocess.run(["echo", "a"], capture_output=True))
try:
    os.posix_spawn("/no/such", ["x"], os.environ)
except OSError as e:
    print(e)
print(len(json.dumps(list(range(20000)))), zlib.crc32(b"x" * 1000000))
raise SystemExit(6)'
	;;
git)
	need git
	# Neither the caller's repository, were we called from a hook, nor anybody's settings.
	unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY
	export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
	git init -q src && cd src || exit 99
	for i in 1 2 3; do
		seq $i 2000 >file$i
		git add file$i
		git -c user.name=n -c user.email=e@x commit -q -m "$i"
	done
	cd ..
	git clone -q src bare 2>bare.err
	b=$?
	"$vmspace" run git clone -q src run 2>run.err
	[ $? = $b ] && cmp bare.err run.err || { cat run.err; exit 1; }
	[ "$(git -C bare log --format=%H)" = "$(git -C run log --format=%H)" ] || exit 1
	diff -r -x .git bare run || exit 1
	git -C run fsck --full || exit 1
	;;
gcc)
	need gcc
	printf '#include <stdio.h>\nint main(void){puts("made");return 7;}\n' >a.c
	gcc -O2 -o bare a.c || exit 99
	"$vmspace" run gcc -O2 -o run a.c || exit 1
	cmp bare run || exit 1
	"$vmspace" run ./run
	[ $? = 7 ] || exit 1
	;;
sqlite)
	need sqlite3
	sql='create table t(a integer primary key, b text); with recursive c(x) as (select 1 union all
		select x + 1 from c where x < 20000) insert into t select x, hex(x * x) from c;
		create index i on t(b); delete from t where a % 3 = 0; select count(*), sum(a) from t;
		pragma integrity_check;'
	sqlite3 bare.db "$sql" >bare.out
	"$vmspace" run sqlite3 run.db "$sql" >run.out || exit 1
	cmp bare.out run.out || exit 1
	sqlite3 bare.db .dump >bare.sql
	sqlite3 run.db .dump >run.sql
	cmp bare.sql run.sql || exit 1
	;;
segv)
	same sh -c 'kill -SEGV $$'
	;;
refusals)
	check() { # status, pattern, arguments
		status=$1
		pattern=$2
		shift 2
		"$vmspace" run "$@" >out 2>err </dev/null
		got=$?
		if [ $got != "$status" ] || [ "$(wc -l <err)" != 1 ] || ! grep -q "$pattern" err; then
			echo "run $*: status $got instead of $status, or not one sentence with '$pattern':"
			cat err
			exit 1
		fi
	}
	check 127 'not found' ./missing
	check 127 'not found' no-such-command-anywhere
	check 126 'no regular file' /tmp
	echo text >text
	check 126 'not allowed' ./text
	chmod +x text
	check 126 'neither an ELF' ./text
	head -c 30 /bin/true >cut && chmod +x cut
	check 126 'cut off' ./cut
	head -c 2000 /bin/true >cut2 && chmod +x cut2
	check 126 'cut off' ./cut2
	cp /bin/true arm && printf '\267' | dd of=arm bs=1 seek=18 conv=notrunc 2>/dev/null
	check 126 'arm64' ./arm
	cp /bin/true many && printf '\377\377' | dd of=many bs=1 seek=56 conv=notrunc 2>/dev/null
	check 126 'program headers' ./many
	cp /bin/true far && printf '\377\377\377\377\377\377\377\377' |
		dd of=far bs=1 seek=32 conv=notrunc 2>/dev/null
	check 126 'beyond the end' ./far
	check 2 'page size' --page-size 5000 /bin/true
	check 2 'page size' --page-size 1k /bin/true
	check 2 'page size' --page-size '' /bin/true
	;;
page-size)
	need gcc
	printf '#include <stdio.h>\n#include <unistd.h>\nint main(void){printf("%%ld\\n",sysconf(_SC_PAGESIZE));}\n' >a.c
	gcc -static -Wl,-z,max-page-size=65536 -o large a.c || exit 77
	gcc -static -Wl,-z,max-page-size=4096 -o small a.c || exit 99
	for size in 4096 16384 65536; do
		[ "$("$vmspace" run --page-size $size ./large)" = $size ] || exit 1
	done
	[ "$("$vmspace" run --page-size 64k ./large)" = 65536 ] || exit 1
	"$vmspace" run --page-size 16k ./small >out 2>err
	[ $? = 126 ] || exit 1
	grep 'small: segments [0-9]* (r--.*(r-x.*share a page of 16 KiB.*max-page-size=65536' err ||
		{ cat err; exit 1; }
	# The option goes over to programs that the program starts, the check too.
	cat >b.c <<-'EOF'
		#include <errno.h>
		#include <stdio.h>
		#include <sys/mman.h>
		#include <fcntl.h>
		#include <unistd.h>
		int main(int argc, char **argv)
		{
			int fd = open("./small", O_RDONLY);
			void *p = mmap(0, 65536, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
			printf("%d %d\n", p == MAP_FAILED, errno);
			fflush(stdout);
			return execl("./large", "large", (char *)0);
		}
	EOF
	gcc -static -Wl,-z,max-page-size=65536 -o b b.c || exit 99
	"$vmspace" run --page-size 16k ./b >out 2>err || exit 1
	printf '1 22\n16384\n' | cmp - out || exit 1
	grep -q 'small: segments' err || exit 1
	;;
nested)
	[ "$("$vmspace" run sh -c "'$vmspace' run echo inner; '$vmspace' run sh -c 'exit 5'; echo \$?")" = \
		"inner
5" ] || exit 1
	;;
hostile)
	# $3 is the guest, $4 how many children. No fault may go untold, no maps may differ.
	# Without rseq: a child may unmap its rseq area, and whenever the kernel then happens to preempt
	# it within our handler, it forces a SIGSEGV that is blocked there, and nobody can tell of it.
	GLIBC_TUNABLES=glibc.pthread.rseq=0 \
		timeout 100 "$vmspace" run "$3" "$4" 20261 >out 2>err </dev/null || { cat out; tail err; exit 1; }
	cat out
	faults=$(sed -n 's/.* children, \([0-9]*\) faults.*/\1/p' out)
	told=$(grep -c 'the program died of' err)
	[ -n "$faults" ] && [ "$told" -ge "$faults" ] || { echo "$told told"; exit 1; }
	! grep -A3 'check:' err || exit 1
	;;
killed)
	# $3 is the guest, $4 its milliseconds. Each parent that was ended has been told of. A hang
	# is what the time limit is for.
	timeout 60 "$vmspace" run "$3" "$4" >out 2>err </dev/null || { echo "status $?"; cat out; tail err; exit 1; }
	cat out
	ended=$(sed -n 's/.* rounds, \([0-9]*\) ended/\1/p' out)
	told=$(grep -c 'killed within its own memory call' err)
	[ "$ended" -gt 0 ] && [ "$told" = "$ended" ] || { echo "$told told"; exit 1; }
	;;
trace)
	need perl
	"$vmspace" run --trace tr perl -e '$x = "a" x 5000000; system("/bin/true"); print length $x, "\n"' >out ||
		exit 1
	[ "$(cat out)" = 5000000 ] || exit 1
	[ "$(ls tr tr.[0-9]* | wc -l)" = 2 ] || { ls; exit 1; }
	for f in tr tr.*; do
		# Whole lines of the format only; calls; two blocks at least.
		! grep -vE '^(# .*|M [0-9a-f]+-[0-9a-f]+ [r-][w-][x-][ps] [0-9a-f]+ (file|-|\[.*\])|E|C [a-z0-9_]+( [0-9a-f]+){6} = (-[0-9]+|[0-9a-f]+))$' $f ||
			exit 1
		[ "$(grep -c '^C mmap' $f)" -ge 5 ] && [ "$(grep -c '^E$' $f)" -ge 2 ] || exit 1
	done
	grep -q '^# true' tr.* || exit 1
	"$vmspace" replay --forced tr >log 2>&1 || { cat log; exit 1; }
	;;
report)
	"$vmspace" run --maps --stats /bin/echo hi >out 2>err || exit 1
	[ "$(cat out)" = hi ] || exit 1
	grep -q '\[stack\]$' err && grep -q 'hole$' err &&
		grep -qE 'system calls in [0-9.]+ s, [0-9]+ of them for memory: mmap [0-9]+' err &&
		grep -qE '[0-9]+ regions, .* edits' err || { cat err; exit 1; }
	;;
python-mmap)
	python_suite test_mmap
	;;
python-subprocess)
	# The two that are left out start threads.
	python_suite test_subprocess test_threadsafe_wait test_double_close_on_error
	;;
*)
	echo "programs.sh: what is '$what'?"
	exit 99
	;;
esac
exit 0
