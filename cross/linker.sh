#!/bin/sh
# Links with the sysroot of the target. Its path comes from the environment, as in cross/rustc.sh.
exec "$KASACAM_LINKER" --sysroot="$KASACAM_SYSROOT" "$@"
