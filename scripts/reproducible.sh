#!/usr/bin/env bash
# Builds the agent of HEAD for TARGET in two folders with names of different lengths, and compares the two programs.
#
#   scripts/reproducible.sh TARGET
set -euo pipefail
cd "$(dirname "$0")/.."
target=$1
work=$(mktemp -d "${TMPDIR:-/var/tmp}/kasacam.XXXXXX")
trap 'rm -rf "$work"' EXIT
folders=("$work/a" "$work/a-folder-with-a-longer-name")
for folder in "${folders[@]}"; do
  git clone --quiet . "$folder"
  (cd "$folder" && CARGO_TARGET_DIR=$folder/target cross/build.sh "$target")
done
program=target/$target/release/kasacamd
first=${folders[0]}/$program second=${folders[1]}/$program
sha256sum "$first" "$second"
if cmp "$first" "$second"; then
  echo "The two programs are identical."
else
  echo "The two programs differ." >&2
  exit 1
fi
