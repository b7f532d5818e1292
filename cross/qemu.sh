#!/usr/bin/env bash
# Cargo's runner: a program of the target, under QEMU's emulation of its processor.
#
# On a plain host the target's libraries and plugins are those of the sysroot, which QEMU puts before the paths that the
# program opens (-L); what the program starts is the host's. In a container of cross they are installed.
set -euo pipefail
# shellcheck source=cross/target.sh
. "$(dirname "$0")/target.sh"
target_is "$1"
program=$2
shift 2

root=$(cross_folder)/$target/sysroot
if [[ -e $root/.complete ]]; then
  # By its whole path: GStreamer looks at each plugin with statx, which QEMU 7.2 does not lead to the sysroot.
  export GST_PLUGIN_SYSTEM_PATH_1_0=$root/usr/lib/$gnu/gstreamer-1.0
else
  root=/
fi
# GStreamer looks at its plugins in a process of its own, which would not be emulated.
export GST_REGISTRY_FORK=no
exec "$qemu" -L "$root" "$program" "$@"
