#!/usr/bin/env bash
# Builds everything that is published of a release for one target: program, package, bill of materials, licences, checksums.
#
#   scripts/release.sh TARGET
#
# The same commit must give the same files wherever it is built: scripts/reproducible.sh compares two builds.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=cross/target.sh
. cross/target.sh
target_is "${1:-}"

out=${CARGO_TARGET_DIR:-target}
version=$(sed -n 's/^version = "\(.*\)"/\1/p;T;q' Cargo.toml)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
if [[ -n $(git status --porcelain) ]]; then
  echo "The working tree has changes that are not committed: nobody could build this release again." >&2
fi

cross/build.sh "$target"
release=$out/release-files/$version
mkdir -p "$release"
scripts/licences.sh "$target" >"$release/third-party-licences.txt"
package=$(LICENCES=$release/third-party-licences.txt scripts/deb.sh "$target")
cp "$package" "$release/"
cp "$out/$target/release/kasacamd" "$release/kasacamd-$version-$target"
scripts/bill-of-materials.sh "$target" >"$release/kasacamd-$version-$target.cdx.json"
(cd "$release" && rm -f SHA256SUMS && sha256sum -- * | LC_ALL=C sort -k 2 >../SHA256SUMS && mv ../SHA256SUMS .)
echo "$release:"
cat "$release/SHA256SUMS"
