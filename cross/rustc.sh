#!/bin/sh
# Runs the compiler so that no path of this machine gets into its output. The paths come from the environment: in RUSTFLAGS
# they would change the name of every crate, and each folder would give another program.
exec "$@" --remap-path-prefix="$KASACAM_SOURCE=/kasacam" --remap-path-prefix="$KASACAM_CARGO_HOME=/cargo"
