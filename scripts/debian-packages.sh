#!/usr/bin/env bash
# Installs what building and testing needs.
#
# If everything is installed, it does nothing. On Debian and Ubuntu it installs missing packages with apt-get (with sudo
# if the user is not root). On other systems it says which tools are missing.
#
# With arguments: installs these packages instead of the list below.
set -euo pipefail

packages=(
  # building
  build-essential pkg-config libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev
  # capture: videotestsrc, app and others; rtp, rtsp and isomp4; parsers, openh264 and x265; x264; AAC; text overlays
  gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
  gstreamer1.0-libav gstreamer1.0-x gstreamer1.0-tools strace
  # the tests and the demo: a real broker, and other programs that read the same keys and files
  mosquitto mosquitto-clients ffmpeg openssl curl libfaketime strace python3-gi gir1.2-gst-rtsp-server-1.0
  # the page, in a real browser
  chromium
)
(($# == 0)) || packages=("$@")

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  missing=()
  for tool in cc pkg-config mosquitto mosquitto_pub ffmpeg ffprobe openssl chromium; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "$tool" >/dev/null || missing+=("$tool")
  done
  if command -v pkg-config >/dev/null; then
    for library in gstreamer-1.0 gstreamer-app-1.0 gstreamer-video-1.0; do
      pkg-config --atleast-version=1.20 "$library" || missing+=("$library >= 1.20 (development files)")
    done
  fi
  if ((${#missing[@]})); then
    echo "This is not Debian, so nothing is installed. Missing:" >&2
    printf '  %s\n' "${missing[@]}" >&2
    exit 1
  fi
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

echo "Installing: ${missing[*]}" >&2
root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || { echo "Not root, and sudo is not installed: install these packages yourself." >&2; exit 1; }
  root=(sudo)
fi

# The package mosquitto starts a broker. The tests start their own, so that one is not wanted: RUNLEVEL=1 keeps
# invoke-rc.d from starting it, and so does a policy-rc.d that exists only while apt runs, unless there is one already.
was_there=yes
[[ " ${missing[*]} " == *" mosquitto "* ]] && was_there=no
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  trap '"${root[@]}" rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null
  "${root[@]}" chmod 755 "$policy"
fi

install=(env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -o DPkg::Lock::Timeout=300 -y)
"${root[@]}" "${install[@]}" update || echo "apt-get update failed; trying with the existing lists." >&2
"${root[@]}" "${install[@]}" install --no-install-recommends "${missing[@]}"

# A broker that was installed by this script does not run, now or at the next boot. To change that:
# systemctl enable --now mosquitto.
if [[ $was_there == no ]] && [[ -d /run/systemd/system ]]; then
  "${root[@]}" systemctl disable --now mosquitto >/dev/null 2>&1 || true
fi
