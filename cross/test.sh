#!/usr/bin/env bash
# Runs the suite and the capture tests of TARGET on an emulated processor, and says how many tests ran.
#
#   cross/test.sh TARGET [ARGUMENTS of the test binaries]
#
# Only the test binary is emulated: the broker, ffmpeg and openssl that it starts are those of this machine. An emulated
# processor is slow, so every wait and time limit in the tests is multiplied by KASACAM_PATIENCE.
set -euo pipefail
cd "$(dirname "$0")/.."
. cross/environment.sh
enter "${1:-}"
shift

scripts/debian-packages.sh
# One test at a time: if another thread holds a lock while a test starts a process, the new process in QEMU may wait for that
# lock for ever.
export RUST_TEST_THREADS=1
export KASACAM_PATIENCE=${KASACAM_PATIENCE:-10}
export PROPTEST_CASES=${PROPTEST_CASES:-32}
# The plugin registry of the target; the one of this machine is not touched.
XDG_CACHE_HOME=$(cross_folder)/$target/cache
export XDG_CACHE_HOME

CARGO=$cargo scripts/test.sh --profile emulated --target "$target" --test suite --test capture -- "$@"
