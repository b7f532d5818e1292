#!/usr/bin/env bash
# Finds a cargo whose rustc has the target's standard library, and prints its path.
#
# Uses a rustup toolchain that has the target (rustup target add TARGET). Otherwise, and with KASACAM_RUST=debian, uses Debian's
# Rust 1.85, the oldest version that we support: it is unpacked in the build folder, not installed.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=cross/target.sh
. cross/target.sh
# shellcheck source=cross/apt.sh
. cross/apt.sh
target_is "${1:-}"

std=$(rustc --print target-libdir --target "$target" 2>/dev/null || true)
if [[ ${KASACAM_RUST:-} != debian && -n $std ]] && compgen -G "$std/libstd-*.rlib" >/dev/null; then
  command -v cargo
  exit 0
fi

if [[ $(dpkg --print-architecture 2>/dev/null || true) != amd64 ]]; then
  echo "This machine is not Debian on amd64; install the target with rustup: rustup target add $target" >&2
  exit 1
fi

version=1.85
rust=$(cross_folder)/rust
wanted="$version $(sha256sum <cross/rust.sh)"

if [[ $(cat "$rust/.complete" 2>/dev/null || true) != "$wanted" ]]; then
  echo "Fetching Debian's Rust $version ..." >&2
  rm -rf "$rust"
  private_apt "$rust/apt" amd64 /var/lib/dpkg/status
  if ! APT_CONFIG=$rust/apt/apt.conf apt-get -qq -y --allow-downgrades --download-only install \
    "rustc-web=$version.*" "cargo-web=$version.*" "libstd-rust-web-$version" "libstd-rust-web-dev=$version.*" >&2
  then
    echo "This release of Debian has no Rust $version for other architectures: rustup target add $target" >&2
    exit 1
  fi
  mkdir -p "$rust/usr/lib"
  ln -s usr/lib "$rust/lib"
  unpack "$rust/apt" "$rust"
  rm -rf "$rust/apt/cache"
  # Its libraries are not where the loader looks, so these scripts start the two programs.
  mkdir -p "$rust/bin"
  for program in rustc cargo rustdoc; do
    cat >"$rust/bin/$program" <<SH
#!/bin/sh
here=\$(cd "\$(dirname "\$0")/.." && pwd)
LD_LIBRARY_PATH="\$here/usr/lib/x86_64-linux-gnu\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}" exec "\$here/usr/bin/$program" "\$@"
SH
    chmod +x "$rust/bin/$program"
  done
  echo "$wanted" >"$rust/.complete"
fi

if [[ ! -d $rust/usr/lib/rustlib/$target ]]; then
  echo "Fetching its standard library for $target ..." >&2
  apt=$rust/$target
  private_apt "$apt" "$debian" "$apt/status"
  (cd "$apt" && APT_CONFIG=$apt/apt.conf apt-get -qq download "libstd-rust-web-dev=$version.*")
  dpkg-deb --extract "$apt"/*.deb "$apt/unpacked"
  mv "$apt/unpacked/usr/lib/rustlib/$target" "$rust/usr/lib/rustlib/"
  rm -rf "$apt"
fi
echo "$rust/bin/cargo"
