#!/usr/bin/env bash
# The runner of cargo: runs a program of the target with QEMU's emulation of its processor.
#
# On a plain host, libraries and plugins of the target are in the sysroot, which QEMU puts before the paths that the program
# opens (-L); programs that it starts are those of the host. In a container of cross they are installed.
set -euo pipefail
# shellcheck source=cross/target.sh
. "$(dirname "$0")/target.sh"
target_is "$1"
program=$2
shift 2

root=$(cross_folder)/$target/sysroot
if [[ -e $root/.complete ]]; then
  # The full path: GStreamer calls statx for each plugin, which QEMU 7.2 does not redirect to the sysroot.
  export GST_PLUGIN_SYSTEM_PATH_1_0=$root/usr/lib/$gnu/gstreamer-1.0
else
  root=/
fi
# GStreamer would load its plugins in another process, which would not be emulated.
export GST_REGISTRY_FORK=no
exec "$qemu" -L "$root" "$program" "$@"
