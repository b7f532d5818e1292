#!/usr/bin/env bash
# Runs the suite and the capture tests of TARGET on an emulated processor, and says how many ran.
#
#   cross/test.sh TARGET [ARGUMENTS of the test binaries]
#
# Just the test binary is emulated: broker, ffmpeg and openssl, which it starts, are this machine's. An emulated processor
# is slow, so every wait and every limit of time in the tests is multiplied by KASACAM_PATIENCE.
set -euo pipefail
cd "$(dirname "$0")/.."
. cross/environment.sh
enter "${1:-}"
shift

scripts/debian-packages.sh
# One test after the other: where another thread is busy while a test starts a process, QEMU's copy of the process may wait
# for ever for a lock that the thread held.
export RUST_TEST_THREADS=1
export KASACAM_PATIENCE=${KASACAM_PATIENCE:-10}
export PROPTEST_CASES=${PROPTEST_CASES:-32}
# The registry of the target's plugins; that of this machine stays as it is.
XDG_CACHE_HOME=$(cross_folder)/$target/cache
export XDG_CACHE_HOME

CARGO=$cargo scripts/test.sh --profile emulated --target "$target" --test suite --test capture -- "$@"
