# Sourced: installs compiler, libraries and Rust for a target on this machine, and sets the variables that cargo needs.

# shellcheck shell=bash
# shellcheck source=cross/target.sh
. cross/target.sh

enter() {
  local packages root upper
  target_is "$1" || exit
  if ! command -v apt-get >/dev/null || [[ $(dpkg --print-architecture) != amd64 ]]; then
    echo "make cross needs Debian on amd64. Elsewhere: cross build --release --target $target" >&2
    exit 1
  fi
  mapfile -t packages < <(cross/packages.sh host "$target")
  scripts/debian-packages.sh "${packages[@]}"
  root=$(cross/sysroot.sh "$target")
  cargo=$(cross/rust.sh "$target")
  PATH=$(dirname "$cargo"):$PATH

  # .cargo/config.toml sets the runner. This sets what depends on the paths of the sysroot and the sources.
  upper=${target^^}
  upper=${upper//-/_}
  export PATH PKG_CONFIG_ALLOW_CROSS=1
  export KASACAM_SOURCE=$PWD KASACAM_CARGO_HOME=${CARGO_HOME:-$HOME/.cargo} KASACAM_SYSROOT=$root KASACAM_LINKER=$gnu-gcc
  export RUSTC_WRAPPER=$PWD/cross/rustc.sh "CARGO_TARGET_${upper}_LINKER=$PWD/cross/linker.sh"
  export "CC_${target//-/_}=$gnu-gcc"
  export "CFLAGS_${target//-/_}=--sysroot=$root -ffile-prefix-map=$PWD=/kasacam -ffile-prefix-map=$KASACAM_CARGO_HOME=/cargo"
  export "PKG_CONFIG_SYSROOT_DIR_${target//-/_}=$root"
  export "PKG_CONFIG_LIBDIR_${target//-/_}=$root/usr/lib/$gnu/pkgconfig:$root/usr/share/pkgconfig"
}
