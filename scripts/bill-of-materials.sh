#!/usr/bin/env bash
# Prints the bill of materials of the agent for TARGET: CycloneDX 1.5, as JSON.
set -euo pipefail
cd "$(dirname "$0")/.."
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
tools=$(scripts/release-tool.sh cargo-cyclonedx 0.5.9)
PATH=$tools:$PATH
# The tool writes one file per binary, beside each Cargo.toml.
trap 'rm -f kasacamd_bin.cdx.json kasacam-devcloud_bin.cdx.json' EXIT
cargo cyclonedx --quiet --format json --spec-version 1.5 --target "$1" --describe binaries --no-build-deps >&2
# Remove the paths of this machine: they are private, and would make each copy differ.
sed 's|path+file://[^"#]*#|path+kasacam#|' kasacamd_bin.cdx.json
