#!/bin/sh
# SPDX-License-Identifier: MIT
# build.sh FOLDER: build the peer as FOLDER/libvm_memory_peer.so, with what Debian has installed and
# no network; or say why not. Never fails: without the peer bench-memory skips its rows.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
registry=/usr/share/cargo/registry
skip() {
	echo "bench-memory: no vm-memory to compare with: $1" >&2
	exit 0
}
command -v cargo >/dev/null || skip "no cargo"
[ -d $registry/vm-memory-0.10.0 ] || skip "librust-vm-memory-dev is not installed"
mkdir -p "$1"
out=$(cd "$1" && pwd)
[ "$out/libvm_memory_peer.so" -nt "$here/src/lib.rs" ] && exit 0
# cargo writes Cargo.lock beside the sources: into a copy.
rm -rf "$out/crate"
cp -R "$here" "$out/crate"
(cd "$out/crate" && cargo build --quiet --release --offline --target-dir "$out/target" \
	--config 'source.crates-io.replace-with="debian"' \
	--config "source.debian.directory=\"$registry\"") || skip "it does not build"
cp "$out/target/release/libvm_memory_peer.so" "$out/"
