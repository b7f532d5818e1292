#!/usr/bin/env bash
# The Debian packages for cross-building and emulated tests: one list for the containers of `cross` and for a plain host.
#
#   cross/packages.sh host TARGET      tools that run on the building machine, one to a line
#   cross/packages.sh target TARGET    libraries and plugins of the target
#   cross/packages.sh plugins          GStreamer's plugins that kasacamd and its tests need, file by file
#   cross/packages.sh image TARGET     installs all of it, as root, in the image that is being built
#   cross/packages.sh system TARGET    the userland of a system that QEMU boots
#   cross/packages.sh system-plugins   GStreamer's plugins of that system
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=cross/target.sh
. ./target.sh

host_packages() {
  printf '%s\n' "gcc-$gnu" "$libc" gcc libc6-dev pkg-config file qemu-user-static
}

target_packages() {
  printf '%s\n' \
    libc6-dev libgcc-12-dev libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev \
    gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly \
    gstreamer1.0-libav gstreamer1.0-alsa gstreamer1.0-x
}

# docs/flashing.md says which of them a board needs.
plugins() {
  printf '%s\n' \
    coreelements \
    app typefindfunctions videoconvertscale playback videotestsrc audiotestsrc audioconvert audioresample tcp alsa pango rawparse \
    audioparsers isomp4 matroska video4linux2 jpeg rtp rtpmanager rtsp udp \
    mulaw alaw opus videorate jpegformat de265 \
    videoparsersbad openh264 \
    x264 x265 libav voaacenc
}

# A small system with what kasacamd and its tests need.
system_packages() {
  printf '%s\n' \
    base-files base-passwd bash busybox-static coreutils dash diffutils dpkg e2fsprogs f2fs-tools findutils grep iproute2 kmod libc-bin login mount \
    passwd procps sed systemd systemd-sysv tar udev util-linux v4l-utils \
    gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
}

system_plugins() {
  printf '%s\n' \
    coreelements app typefindfunctions playback jpeg videoconvertscale videotestsrc audiotestsrc audioconvert audioresample \
    audioparsers isomp4 video4linux2 openh264 x264
}

# Programs that the tests start; they are not emulated.
test_packages() {
  printf '%s\n' mosquitto ffmpeg openssl python3-gi gir1.2-gst-rtsp-server-1.0 \
    gstreamer1.0-plugins-{base,good,bad,ugly} gstreamer1.0-libav
}

# Nothing else runs in the container, so the packages of the target are installed normally.
image() {
  local packages
  dpkg --add-architecture "$debian"
  apt-get update
  mapfile -t packages < <(host_packages; test_packages; target_packages | sed "s/\$/:$debian/")
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates "${packages[@]}"
  rm -rf /var/lib/apt/lists/*
}

what=${1:-}
case $what in
  plugins) plugins ;;
  system-plugins) system_plugins ;;
  host | target | system) target_is "${2:-}" && "${what}_packages" ;;
  image) target_is "${2:-}" && image ;;
  *) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
esac
