#!/usr/bin/env bash
# Builds the camera's binary for TARGET, and holds its size against the limit.
#
#   cross/build.sh TARGET [PROFILE]     PROFILE is release unless told
set -euo pipefail
cd "$(dirname "$0")/.."
. cross/environment.sh
enter "${1:-}"
profile=${2:-release}

started=$SECONDS
"$cargo" build --locked --profile "$profile" --target "$target" --bin kasacamd
binary=${CARGO_TARGET_DIR:-target}/$target/${profile/#dev/debug}/kasacamd
echo "Built in $((SECONDS - started)) s."
scripts/size.sh "$binary"
