#!/usr/bin/env bash
# The size of the release binary, and what it links to.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=${CARGO_TARGET_DIR:-target}/release/kasacamd
stat --format='%n: %s bytes' "$binary"
size "$binary"
echo "Shared libraries:"
readelf --dynamic "$binary" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/  \1/p'
