#!/usr/bin/env bash
# Prints the licences of the libraries in the agent for TARGET, as their authors wrote them.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$(scripts/release-tool.sh cargo-about 0.8.4)
PATH=$tools:$PATH
cargo about generate --fail --locked --target "$1" --config packaging/licences/about.toml packaging/licences/third-party.hbs
