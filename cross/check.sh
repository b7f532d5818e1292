#!/usr/bin/env bash
# Checks that the agent compiles for 32-bit ARM, with the oldest supported Rust. Finds an offset, a size or a time that has 64
# bits here and 32 bits there, and errors in code for ARM only.
#
#   cross/check.sh [TARGET]     armv7-unknown-linux-gnueabihf unless given
#
# Nothing is linked, so pkg-config may give the libraries of this machine: only a C compiler and the standard library of Rust
# are needed for the board, not its packages.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=cross/target.sh
. cross/target.sh
target_is "${1:-armv7-unknown-linux-gnueabihf}"
if ! command -v apt-get >/dev/null || [[ $(dpkg --print-architecture) != amd64 ]]; then
  echo "This is not Debian on amd64: the code is not checked for $target." >&2
  exit 0
fi
scripts/debian-packages.sh "gcc-$gnu" "$libc"
cargo=$(KASACAM_RUST=debian cross/rust.sh "$target")
PATH=$(dirname "$cargo"):$PATH
export PATH PKG_CONFIG_ALLOW_CROSS=1 "CC_${target//-/_}=$gnu-gcc"
started=$SECONDS
# A warning for this target only would not be seen anywhere else.
RUSTFLAGS="-D warnings" "$cargo" check --locked --target "$target" --lib --bins
echo "The agent for $target: checked in $((SECONDS - started)) s."
