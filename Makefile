# SPDX-License-Identifier: MIT
# A thin front door: Meson does the work, in build/.
#
#	make run	build, then the main job: real programs on vmspace, live
#	make test	build, then every test (make quick: the first minute of them)
#	make bench	the measurements; BENCH_ARGS="--quick --json"
#	make install	PREFIX=/usr/local DESTDIR=
#	make deps	install the packages that are missing

BUILD ?= build
PREFIX ?= /usr/local
BENCH_ARGS ?=

.PHONY: all run test quick bench install deps clean

all: deps
	@[ -f $(BUILD)/plain/build.ninja ] || meson setup $(BUILD)/plain
	@ninja -C $(BUILD)/plain

run: all
	@BUILD=$(BUILD) scripts/run.sh

test:
	@scripts/deps.sh test
	@BUILD=$(BUILD) scripts/test.sh

quick: deps
	@BUILD=$(BUILD) scripts/test.sh quick

bench: all
	@BUILD=$(BUILD) scripts/bench.sh $(BENCH_ARGS)

install: deps
	@[ -f $(BUILD)/release/build.ninja ] || \
		meson setup $(BUILD)/release --prefix=$(PREFIX) --buildtype=release -Dtests=false
	@meson configure $(BUILD)/release --prefix=$(PREFIX)
	@ninja -C $(BUILD)/release
	@meson install -C $(BUILD)/release --no-rebuild

deps:
	@scripts/deps.sh

clean:
	rm -rf $(BUILD)
