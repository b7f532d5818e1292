#!/usr/bin/env bash
# Builds the agent for TARGET, and compares its size with the limit.
#
#   cross/build.sh TARGET [PROFILE]     PROFILE is release by default
set -euo pipefail
cd "$(dirname "$0")/.."
. cross/environment.sh
enter "${1:-}"
profile=${2:-release}

# The build time in the program is the time of its commit, so that the same commit gives the same program.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

started=$SECONDS
"$cargo" build --locked --profile "$profile" --target "$target" --bin kasacamd
binary=${CARGO_TARGET_DIR:-target}/$target/${profile/#dev/debug}/kasacamd
echo "Built in $((SECONDS - started)) s."
scripts/size.sh "$binary"
