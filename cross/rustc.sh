#!/bin/sh
# Runs the compiler so that no path of this machine gets into what it makes. The paths come by the environment: as
# RUSTFLAGS they would be part of the name of every crate, and each folder would make another program.
exec "$@" --remap-path-prefix="$KASACAM_SOURCE=/kasacam" --remap-path-prefix="$KASACAM_CARGO_HOME=/cargo"
