# Sourced: the names of a target in Debian, QEMU and others. Takes the name that Rust uses, and sets the rest.

# shellcheck shell=bash disable=SC2034  # used by the scripts that source this one
known_targets="armv7-unknown-linux-gnueabihf aarch64-unknown-linux-gnu"

target_is() {
  target=$1
  case $target in
    armv7-unknown-linux-gnueabihf)
      debian=armhf gnu=arm-linux-gnueabihf qemu=qemu-arm-static libc=libc6-dev-armhf-cross
      system=qemu-system-arm kernel=linux-image-armmp
      ;;
    aarch64-unknown-linux-gnu)
      debian=arm64 gnu=aarch64-linux-gnu qemu=qemu-aarch64-static libc=libc6-dev-arm64-cross
      system=qemu-system-aarch64 kernel=linux-image-arm64
      ;;
    *)
      echo "Unknown target \"$target\"; known are: $known_targets" >&2
      return 2
      ;;
  esac
}

# The folder for everything that cross-building builds and fetches, in cargo's folder.
cross_folder() {
  local out=${CARGO_TARGET_DIR:-target}
  mkdir -p "$out/cross"
  (cd "$out/cross" && pwd)
}
