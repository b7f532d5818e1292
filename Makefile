# Two commands suffice: make demo, make test. Both see to what they need first.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo fleet test test-long mutants soak bench bench-all bench-check bench-growth bench-privacy bench-wear bench-start bench-memory test-interop lint deps build release reproducible size cross cross-test deb image qemu-test qemu-test-fast

# Debian keeps its broker in /usr/sbin, which is not on everybody's path.
export PATH := $(PATH):/usr/sbin:/sbin
OUT := $(or $(CARGO_TARGET_DIR),target)
# The boards are 32-bit ARM unless told: TARGET=aarch64-unknown-linux-gnu
TARGET ?= armv7-unknown-linux-gnueabihf

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: deps ## a camera and its whole cloud on this machine: DEMO_ARGS="--seconds 40 --summary demo.json"
	cargo build --locked --features devcloud
	$(OUT)/debug/kasacam-devcloud demo $(DEMO_ARGS)

test: deps ## every test; TEST_ARGS go to cargo test
	scripts/test.sh $(TEST_ARGS)

# Parts that each end within 15 minutes; KASACAM_BUDGET is a part's time in seconds.
test-long: deps ## the long counts, in parts of ten minutes: PART=laws, crashes, damage, kills, toggles, starts, attacks, fuzz, inject
	scripts/test-long.sh $(PART)

N ?= 200
# Half a minute at two frames a second, small: it is the broker and the store that are looked at.
fleet: deps ## N=200 real agents against one broker and one store: a cold start, a restart, an outage; plots in target/fleet
	mkdir -p $(OUT)/fleet
	ffmpeg -v error -y -f lavfi -i testsrc2=size=320x180:rate=2 -t 30 -c:v libx264 -profile:v baseline -g 4 -b:v 40k -pix_fmt yuv420p $(OUT)/fleet/clip.mp4
	cargo build --locked --release --features devcloud
	$(OUT)/release/kasacam-devcloud fleet --cameras $(N) --clip $(OUT)/fleet/clip.mp4 --plots $(OUT)/fleet

SECONDS ?= 600
soak: export KASACAM_SOAK = $(SECONDS)
soak: deps ## a camera with chance against it, for SECONDS=600, and everything compared at the end
	cargo test --locked --release --features devcloud --test system -- soak --nocapture

test-interop: deps ## the demo against a store and a broker that are not ours; builds them the first time
	scripts/test-interop.sh

mutants: deps ## breaks the product on purpose and shows which test notices
	tests/mutants.sh

bench-privacy: deps ## how long a camera goes on after do-not-record: KASACAM_TOGGLES=500, under three loads
	cargo bench --locked --features devcloud --bench privacy

bench-wear: deps ## what the flash has to write for a byte of video, for each durability
	cargo bench --locked --features devcloud --bench wear

bench-start: deps ## how long a start takes beside KASACAM_FILES=20000 segments, with a warm and a cold cache
	cargo bench --locked --features devcloud --bench start

bench-memory: deps ## the peak memory of an agent that sends a backlog of KASACAM_SEGMENTS=20
	cargo bench --locked --features devcloud --bench memory

# N is 7 here, unless it is told.
bench: ## what the agent costs beside other ways to record and upload: one table, of N=7 interleaved runs
	N=$(if $(filter command line environment,$(origin N)),$(N),7) scripts/bench.sh

bench-check: ## what is the same at every run, against the budgets in tests/bench/budgets.toml
	scripts/bench.sh check

bench-growth: ## how the cost grows with bitrate, segments in the spool and hours of an outage; draws the plots of docs/performance.md
	scripts/bench.sh growth

bench-all: bench bench-privacy bench-wear bench-start bench-memory ## every measurement

lint: deps ## format, clippy, scripts, the unit, the package, plugins of the emulated tests; cargo-deny where it is installed
	scripts/debian-packages.sh shellcheck
	cargo fmt --all --check
	cargo clippy --locked --all-targets --all-features -- -D warnings
	if command -v cargo-deny >/dev/null; then cargo deny --locked check; else echo "cargo-deny is not installed: licences and advisories unchecked"; fi
	shellcheck -x scripts/*.sh cross/*.sh tests/*.sh tests/qemu/*.sh packaging/{postinst,prerm,postrm,*.sh} .ci/run
	cross/plugins-of-tests.sh
	scripts/unit.sh
	packaging/dry.sh

deb: cross ## a Debian package for TARGET
	scripts/deb.sh $(TARGET)

deps: ## install what is missing
	@scripts/debian-packages.sh

build: deps ## everything, for development
	cargo build --locked --features devcloud

release: ## what is published for TARGET: program, package, bill of materials (CycloneDX), licences, checksums
	scripts/release.sh $(TARGET)

reproducible: ## builds the release for TARGET in two folders, and compares the two byte by byte
	scripts/reproducible.sh $(TARGET)

size: deps ## how large the agent is, built for this machine
	cargo build --locked --release --bin kasacamd
	scripts/size.sh

cross: ## the agent for a board, without containers: TARGET=armv7-unknown-linux-gnueabihf or aarch64-unknown-linux-gnu
	cross/build.sh $(TARGET)

cross-test: ## the tests of TARGET on an emulated processor; TEST_ARGS go to the test binaries
	cross/test.sh $(TARGET) $(TEST_ARGS)

# qemu-virt-aarch64 with TARGET=aarch64-unknown-linux-gnu
BOARD ?= qemu-virt-armv7
image: cross ## a system that QEMU boots, with the package in it: BOARD=qemu-virt-armv7 or qemu-virt-aarch64
	cross/image.sh $(BOARD)

qemu-test: ## boot it, record, cut the power, break camera, network and clock: SCENARIO=power_cut CUTS=8, or all
	tests/qemu/run.sh $(or $(SCENARIO),all)

qemu-test-fast: ## the first of these
	tests/qemu/run.sh fast
