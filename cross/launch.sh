#!/usr/bin/env bash
# Fetches gst-launch-1.0 for TARGET, with which measurements compare the agent, and prints its path.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=cross/target.sh
. cross/target.sh
# shellcheck source=cross/apt.sh
. cross/apt.sh
target_is "${1:-}"

folder=$(cross_folder)/$target/launch
wanted=$(sha256sum <cross/launch.sh)
if [[ $(cat "$folder/.complete" 2>/dev/null || true) != "$wanted" ]]; then
  rm -rf "$folder"
  private_apt "$folder/apt" "$debian" "$folder/apt/status" >&2
  (cd "$folder/apt" && APT_CONFIG=$folder/apt/apt.conf apt-get -qq download gstreamer1.0-tools) >&2
  dpkg-deb --extract "$folder"/apt/*.deb "$folder/unpacked"
  mv "$folder/unpacked/usr/bin/gst-launch-1.0" "$folder/"
  rm -rf "$folder"/{apt,unpacked}
  echo "$wanted" >"$folder/.complete"
fi
echo "$folder/gst-launch-1.0"
