#!/usr/bin/env bash
# Builds a tool that only releases need, once, in the build folder, and prints the folder of its program.
#
#   scripts/release-tool.sh NAME VERSION
set -euo pipefail
cd "$(dirname "$0")/.."
name=$1 version=$2
mkdir -p "${CARGO_TARGET_DIR:-target}/tools"
tools=$(cd "${CARGO_TARGET_DIR:-target}/tools" && pwd)
if [[ $("$tools/bin/$name" --version 2>/dev/null || true) != *" $version" ]]; then
  echo "Building $name $version ..." >&2
  CARGO_TARGET_DIR=$tools/build cargo install --quiet --locked --root "$tools" --version "$version" "$name" >&2
fi
echo "$tools/bin"
