#!/usr/bin/env bash
# Builds `seal` for TARGET, and prints its path.
#
#   tests/bench/seal/build.sh TARGET
set -euo pipefail
cd "$(dirname "$0")/../../.."
. cross/environment.sh
enter "${1:-}"
folder=$(realpath -m "${CARGO_TARGET_DIR:-target}")/bench/seal
"$cargo" build --locked --release --target "$target" --target-dir "$folder" --manifest-path tests/bench/seal/Cargo.toml >&2
echo "$folder/$target/release/seal"
