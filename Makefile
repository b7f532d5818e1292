# Two commands are enough: make demo and make test. Both first install what they need (Debian, Ubuntu).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo fleet test test-long mutants soak bench bench-all bench-check bench-growth bench-privacy bench-wear bench-start bench-memory bench-arm test-interop lint deps build release reproducible size cross cross-test deb image qemu-test qemu-test-fast

# Debian installs mosquitto in /usr/sbin, which is not on every user's path.
export PATH := $(PATH):/usr/sbin:/sbin
OUT := $(or $(CARGO_TARGET_DIR),target)
# The default is 32-bit ARM; the other one is TARGET=aarch64-unknown-linux-gnu.
TARGET ?= armv7-unknown-linux-gnueabihf

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: deps ## run a camera and its whole cloud on this machine; DEMO_ARGS="--seconds 40 --summary demo.json" checks itself
	cargo build --locked --features devcloud
	$(OUT)/debug/kasacam-devcloud demo $(DEMO_ARGS)

test: deps ## run every test; TEST_ARGS are passed to cargo test
	scripts/test.sh $(TEST_ARGS)

# Each part ends within 15 minutes. KASACAM_BUDGET is the time of a part in seconds.
test-long: deps ## repeat random tests for ten minutes per part: PART=laws, crashes, damage, kills, toggles, starts, attacks, fuzz, inject
	scripts/test-long.sh $(PART)

N ?= 200
# A small clip, half a minute at two frames a second: the test is about the broker and the store.
fleet: deps ## run N=200 real agents with one broker and one store: cold start, broker restart, store outage; plots in target/fleet
	mkdir -p $(OUT)/fleet
	ffmpeg -v error -y -f lavfi -i testsrc2=size=320x180:rate=2 -t 30 -c:v libx264 -profile:v baseline -g 4 -b:v 40k -pix_fmt yuv420p $(OUT)/fleet/clip.mp4
	cargo build --locked --release --features devcloud
	$(OUT)/release/kasacam-devcloud fleet --cameras $(N) --clip $(OUT)/fleet/clip.mp4 --plots $(OUT)/fleet

SECONDS ?= 600
soak: export KASACAM_SOAK = $(SECONDS)
soak: deps ## run a camera with random faults for SECONDS=600, then compare what was stored with what was allowed
	cargo test --locked --release --features devcloud --test system -- soak --nocapture

test-interop: deps ## run the demo with Garage and rumqttd instead of our store and mosquitto; builds them the first time
	scripts/test-interop.sh

mutants: deps ## break the product on purpose, and show which test fails
	tests/mutants.sh

bench-privacy: deps ## measure the time from "do not record" to a closed device: KASACAM_TOGGLES=500, under three loads
	cargo bench --locked --features devcloud --bench privacy

bench-wear: deps ## measure the bytes written to flash per byte of video, for each durability
	cargo bench --locked --features devcloud --bench wear

bench-start: deps ## measure a start with KASACAM_FILES=20000 segments in the spool, with a warm and a cold cache
	cargo bench --locked --features devcloud --bench start

bench-memory: deps ## measure the peak memory of an agent that uploads a backlog of KASACAM_SEGMENTS=20
	cargo bench --locked --features devcloud --bench memory

# N is 7 here, not 200 as for the fleet.
bench: ## compare the cost of the agent with other ways to record and upload: a table of N=7 interleaved runs
	N=$(if $(filter command line environment,$(origin N)),$(N),7) scripts/bench.sh

bench-check: ## compare size, calls, allocations and instructions with the budgets in tests/bench/budgets.toml
	scripts/bench.sh check

bench-growth: ## measure how the cost grows with the bitrate, the spool and hours of an outage; draws the plots of docs/performance.md
	scripts/bench.sh growth

# Without PART both, 10 and 5 minutes; the agent is first built for the board.
bench-arm: deps ## measure the agent on 32-bit ARM: PART=instructions (video, ciphers) or memory (by part)
	scripts/bench-arm.sh $(PART)

bench-all: bench bench-privacy bench-wear bench-start bench-memory ## run every measurement

lint: deps ## check format, clippy, a 32-bit ARM build, scripts, the unit and the package; licences and advisories if cargo-deny is installed
	scripts/debian-packages.sh shellcheck
	cargo fmt --all --check
	cargo clippy --locked --all-targets --all-features -- -D warnings
	if command -v cargo-deny >/dev/null; then cargo deny --locked check; else echo "cargo-deny is not installed: licences and advisories unchecked"; fi
	cross/check.sh
	shellcheck -x scripts/*.sh cross/*.sh tests/*.sh tests/qemu/*.sh tests/bench/seal/*.sh packaging/{postinst,prerm,postrm,*.sh} .ci/run
	cross/plugins-of-tests.sh
	scripts/unit.sh
	packaging/dry.sh

deb: cross ## build a Debian package for TARGET
	scripts/deb.sh $(TARGET)

deps: ## install what is missing
	@scripts/debian-packages.sh

build: deps ## build everything for development
	cargo build --locked --features devcloud

release: ## build a release for TARGET: program, package, bill of materials (CycloneDX), licences, checksums
	scripts/release.sh $(TARGET)

reproducible: ## build the release for TARGET in two folders, and compare the two byte by byte
	scripts/reproducible.sh $(TARGET)

size: deps ## print the size of the agent, built for this machine
	cargo build --locked --release --bin kasacamd
	scripts/size.sh

cross: ## build the agent for a board, without containers: TARGET=armv7-unknown-linux-gnueabihf or aarch64-unknown-linux-gnu
	cross/build.sh $(TARGET)

cross-test: ## run the tests of TARGET on an emulated processor; TEST_ARGS are passed to the test binaries
	cross/test.sh $(TARGET) $(TEST_ARGS)

# qemu-virt-aarch64 with TARGET=aarch64-unknown-linux-gnu
BOARD ?= qemu-virt-armv7
image: cross ## build a system for QEMU with the package installed: BOARD=qemu-virt-armv7 or qemu-virt-aarch64
	cross/image.sh $(BOARD)

qemu-test: ## run scenarios in QEMU: power cuts, faults of camera, network and clock; SCENARIO=power_cut CUTS=8, or all
	tests/qemu/run.sh $(or $(SCENARIO),all)

qemu-test-fast: ## run three scenarios in QEMU: recording, privacy, one power cut
	tests/qemu/run.sh fast
