#!/bin/sh
# SPDX-License-Identifier: MIT
# Install what is missing of Debian's packages. As root at once; else the command is shown, and run
# with sudo if a person at a terminal agrees. Where nothing is missing the network is not touched.
#
# usage: scripts/deps.sh [test]	test: as root also a browser (60 MB) and a virtual machine (qemu,
#				busybox, a kernel that is not installed; 60 MB), for tests that else
#				skip
set -eu

want="gcc g++ libc6-dev meson ninja-build pkg-config libcmocka-dev systemtap-sdt-dev scdoc"
# The programs that the main job and the tests run under vmspace.
want="$want perl python3 git sqlite3 libpython3.11-testsuite procps"

command -v dpkg-query >/dev/null || {
	echo "vmspace: this is no Debian; please install the equivalents of: $want" >&2
	exit 0
}

# get PACKAGE...: what a test that can skip needs. Benign failure: the test says what is missing.
get()
{
	dpkg-query -W "$@" >/dev/null 2>&1 && return
	echo "vmspace: installing $*"
	export DEBIAN_FRONTEND=noninteractive
	{ apt-get install -y --no-install-recommends "$@" ||
		{ apt-get update -qq && apt-get install -y --no-install-recommends "$@"; }; } \
		>/dev/null 2>&1 </dev/null || echo "vmspace: no $* to be had"
}

# The guest's kernel: its image and the modules of its disk, where the test looks for them.
get_kernel()
{
	linux=${XDG_CACHE_HOME:-$HOME/.cache}/vmspace/linux
	[ ! -d "$linux/boot" ] || return 0
	kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: //p')
	tmp=$(mktemp -d)
	echo "vmspace: fetching $kernel, for a guest"
	chmod 755 "$tmp"
	mkdir -p "$linux"
	(cd "$tmp" && apt-get download "$kernel" >/dev/null 2>&1 &&
		dpkg --fsys-tarfile ./*.deb | tar -x -C "$linux" --wildcards './boot/vmlinuz-*' \
			'./lib/modules/*/kernel/drivers/virtio/*' \
			'./lib/modules/*/kernel/drivers/block/virtio_blk.ko') ||
		{ echo "vmspace: no kernel to be had" && rm -rf "$linux"; }
	rm -rf "$tmp"
}

if [ "${1:-}" = test ] && [ "$(id -u)" = 0 ]; then
	get chromium-headless-shell
	if [ "$(dpkg --print-architecture)" = amd64 ]; then
		get qemu-system-x86 busybox-static e2fsprogs
		get_kernel
	fi
fi

missing=
for p in $want; do
	status=$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true)
	[ "$status" = installed ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

install="apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" = 0 ]; then
	echo "vmspace: installing$missing"
	# A package list that is there may do; refresh it only when it does not.
	DEBIAN_FRONTEND=noninteractive $install >/dev/null 2>&1 && exit 0
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive $install
	exit
fi
echo "vmspace needs packages that are not installed. The command is:"
echo "  sudo $install"
if [ -t 0 ]; then
	printf "Run it now? [y/N] "
	read -r answer
	case "$answer" in
	y | Y | yes)
		# shellcheck disable=SC2086
		sudo apt-get update -qq && sudo $install
		exit
		;;
	esac
fi
exit 1
