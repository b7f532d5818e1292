#!/bin/sh
# Links against the sysroot of the target; its path comes by the environment, as in cross/rustc.sh.
exec "$KASACAM_LINKER" --sysroot="$KASACAM_SYSROOT" "$@"
