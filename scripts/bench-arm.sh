#!/usr/bin/env bash
# Measures the agent on 32-bit ARM beside a pipeline of GStreamer alone, and builds what it needs. QEMU counts the instructions
# of one minute of video and of one byte that TLS encrypts; the memory by part is that of a system that QEMU boots.
#
#   scripts/bench-arm.sh instructions     10 minutes, after a build for the board
#   scripts/bench-arm.sh memory           5 minutes, after make image
#   scripts/bench-arm.sh                  both
#
# N (3) is the number of runs as fast as it goes.
set -euo pipefail
cd "$(dirname "$0")/.."
target=armv7-unknown-linux-gnueabihf
# shellcheck source=cross/target.sh
. cross/target.sh
target_is "$target"
part=${1:-all}
out=$(realpath -m "${CARGO_TARGET_DIR:-target}")
clip=$out/bench/clip-60.mp4

instructions() {
  local root launch seal major interface=1 plugin=$out/bench/instructions.so
  scripts/debian-packages.sh
  # Debian's static emulator has no plugins; this one has.
  scripts/debian-packages.sh qemu-user gcc time
  scripts/bench.sh clip
  cross/build.sh "$target" >&2
  root=$(cross/sysroot.sh "$target")
  launch=$(cross/launch.sh "$target")
  # QEMU 9 changed the version of the plugin interface, but not the functions used here.
  major=$(qemu-arm --version | sed -nE '1s/.*version ([0-9]+).*/\1/p')
  ((major < 9)) || interface=2
  gcc -O2 -Wall -Wextra -Werror -shared -fPIC -fvisibility=hidden "-DVERSION=$interface" -o "$plugin" tests/bench/table/instructions.c
  seal=$(tests/bench/seal/build.sh "$target")
  cargo build --locked --features devcloud --bin kasacam-devcloud
  PYTHONDONTWRITEBYTECODE=1 timeout 900 python3 tests/bench/table/arm.py --emulator "qemu-arm -L $root" --plugin "$plugin" \
    --gstreamer "$root/usr/lib/$gnu/gstreamer-1.0" --kasacamd "$out/$target/release/kasacamd" --launch "$launch" \
    --seal "$seal" --devcloud "$out/debug/kasacam-devcloud" --clip "$clip" \
    --room "$out/bench/arm" --runs "${N:-3}"
}

memory() {
  tests/qemu/run.sh memory_by_part
}

case $part in
  instructions | memory) "$part" ;;
  all) instructions; memory ;;
  *) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
esac
