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

all: deps-build
	@[ -f $(BUILD)/plain/build.ninja ] || meson setup $(BUILD)/plain -Dtests=false
	@ninja -C $(BUILD)/plain

run: deps-build
	@BUILD=$(BUILD) scripts/run.sh

test: deps
	@BUILD=$(BUILD) scripts/test.sh

quick: deps
	@BUILD=$(BUILD) scripts/test.sh quick

bench: deps-build
	@BUILD=$(BUILD) scripts/bench.sh $(BENCH_ARGS)

install: deps-build
	@[ -f $(BUILD)/release/build.ninja ] || \
		meson setup $(BUILD)/release --prefix=$(PREFIX) --buildtype=release -Dtests=false
	@meson configure $(BUILD)/release --prefix=$(PREFIX)
	@ninja -C $(BUILD)/release
	@meson install -C $(BUILD)/release --no-rebuild

deps:
	@scripts/deps.sh test

.PHONY: deps-build
deps-build:
	@scripts/deps.sh build

clean:
	rm -rf $(BUILD)
