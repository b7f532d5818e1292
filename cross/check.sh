#!/usr/bin/env bash
# Has the compiler look at the agent as the 32-bit boards run it, with the oldest Rust that we support: an offset, a size or a
# time of 64 bits here that is of 32 there, or a part of the code that only ARM has, is found before anybody builds for a board.
#
#   cross/check.sh [TARGET]     armv7-unknown-linux-gnueabihf unless told
#
# Nothing is linked, so that this machine's libraries answer for the board's: what it takes is a compiler for C and Rust's
# standard library, and not the board's packages.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=cross/target.sh
. cross/target.sh
target_is "${1:-armv7-unknown-linux-gnueabihf}"
if ! command -v apt-get >/dev/null || [[ $(dpkg --print-architecture) != amd64 ]]; then
  echo "This is not Debian on amd64: nobody has looked at the code as $target has it." >&2
  exit 0
fi
scripts/debian-packages.sh "gcc-$gnu" "$libc"
cargo=$(KASACAM_RUST=debian cross/rust.sh "$target")
PATH=$(dirname "$cargo"):$PATH
export PATH PKG_CONFIG_ALLOW_CROSS=1 "CC_${target//-/_}=$gnu-gcc"
started=$SECONDS
# A warning that is of this target alone would be seen by nobody.
RUSTFLAGS="-D warnings" "$cargo" check --locked --target "$target" --lib --bins
echo "The agent for $target: checked in $((SECONDS - started)) s."
