#!/usr/bin/env bash
# Packs the Debian package with a stand-in for the program, and tries it: a fault of the packaging shows without a build for
# a board.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v dpkg-deb >/dev/null || { echo "dpkg-deb is not installed: the package is untried"; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
target=armv7-unknown-linux-gnueabihf
install -D --mode=755 /bin/true "$work/$target/release/kasacamd"
CARGO_TARGET_DIR=$work LICENCES=LICENSE scripts/deb.sh "$target" >/dev/null
