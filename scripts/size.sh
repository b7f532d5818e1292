#!/usr/bin/env bash
# Prints the size of the release binary (or of the one named), and the libraries that it links to. Fails if it is above the
# limit for 32-bit ARM.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=${1:-${CARGO_TARGET_DIR:-target}/release/kasacamd}
# bytes on armv7: the goal, and the limit
goal=3500000 gate=5000000

bytes=$(stat --format=%s "$binary")
echo "$binary: $bytes bytes"
if command -v file >/dev/null; then file --brief "$binary"; fi
echo "Shared libraries:"
readelf --dynamic "$binary" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/  \1/p'

machine=$(readelf --file-header "$binary" | sed -n 's/ *Machine: *//p')
[[ $machine == ARM ]] || exit 0
((bytes <= goal)) || echo "That is $((bytes - goal)) bytes above the goal of $goal."
if ((bytes > gate)); then
  echo "That is above the gate of $gate bytes." >&2
  exit 1
fi
