#!/usr/bin/env bash
# Finds the QEMU program that emulates the machine of TARGET, and prints the command, one word per line.
#
# Uses the one that is installed. Otherwise, unpacks the one of Debian in the build folder: it could not be installed beside
# another version of QEMU's tools.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=cross/target.sh
. cross/target.sh
# shellcheck source=cross/apt.sh
. cross/apt.sh
target_is "${1:-}"

if command -v "$system"; then
  exit 0
fi

qemu=$(cross_folder)/qemu
wanted=$(sha256sum <cross/qemu-system.sh)
if [[ $(cat "$qemu/.complete" 2>/dev/null || true) != "$wanted" ]]; then
  echo "Fetching QEMU ..." >&2
  rm -rf --one-file-system "$qemu"
  mkdir -p "$qemu/apt"
  awk -v RS= -v ORS='\n\n' '!/^Package: qemu-/' /var/lib/dpkg/status >"$qemu/apt/status"
  private_apt "$qemu/apt" amd64 "$qemu/apt/status"
  APT_CONFIG=$qemu/apt/apt.conf apt-get -qq -y --download-only install qemu-system-arm ipxe-qemu >&2
  mkdir -p "$qemu/usr/lib"
  ln -s usr/lib "$qemu/lib"
  unpack "$qemu/apt" "$qemu"
  rm -rf "$qemu/apt/cache"
  echo "$wanted" >"$qemu/.complete"
fi
libraries=$qemu/usr/lib/x86_64-linux-gnu
printf '%s\n' env "LD_LIBRARY_PATH=$libraries:$libraries/pulseaudio" "QEMU_MODULE_DIR=$libraries/qemu" \
  "$qemu/usr/bin/$system" -L "$qemu/usr/share/qemu" -L "$qemu/usr/share/seabios" -L "$qemu/usr/lib/ipxe/qemu"
