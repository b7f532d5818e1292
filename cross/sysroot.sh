#!/usr/bin/env bash
# Builds the sysroot of the target on a Debian host: headers, libraries, plugins. Prints its path.
#
# Does nothing if it exists and its list of packages has not changed.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=cross/target.sh
. cross/target.sh
# shellcheck source=cross/apt.sh
. cross/apt.sh
target_is "${1:-}"

folder=$(cross_folder)/$target
root=$folder/sysroot
wanted=$(cross/packages.sh target "$target"; cross/packages.sh plugins; sha256sum <cross/sysroot.sh)
if [[ $(cat "$root/.complete" 2>/dev/null || true) == "$wanted" ]]; then
  echo "$root"
  exit 0
fi

echo "Fetching the $debian packages of Debian ..." >&2
apt=$folder/apt
mapfile -t packages < <(cross/packages.sh target "$target")
private_apt "$apt" "$debian" "$apt/status"
APT_CONFIG=$apt/apt.conf apt-get -qq -y --download-only install "${packages[@]}" >&2

echo "Unpacking them ..." >&2
rm -rf "$root"
mkdir -p "$root"/usr/{bin,sbin,lib}
# Debian's /usr is merged: files of a package in /lib are in /usr/lib.
for merged in bin sbin lib; do ln -s "usr/$merged" "$root/$merged"; done
unpack "$apt" "$root"

# A link to a library by its absolute path would lead to a library of this machine.
find "$root/usr/lib" -type l -lname '/*' -print0 | while IFS= read -r -d '' link; do
  ln -snf "$(realpath -ms --relative-to="$(dirname "$link")" "$root$(readlink "$link")")" "$link"
done

# What update-alternatives would do; libav's plugin needs them.
ln -sf blas/libblas.so.3 lapack/liblapack.so.3 "$root/usr/lib/$gnu/"

# Only the plugins of the list: the tests then show that no others are needed, and GStreamer does not load 200 more.
plugins=$root/usr/lib/$gnu/gstreamer-1.0
mkdir "$plugins.wanted"
for plugin in $(cross/packages.sh plugins); do
  mv "$plugins/libgst$plugin.so" "$plugins.wanted/"
done
rm -rf "$plugins"
mv "$plugins.wanted" "$plugins"
# Nothing reads these, and they are large.
rm -rf "${root:?}"/usr/share/{doc,locale,man,icons,perl} "$root"/usr/lib/python3* "${root:?}"/usr/{bin,sbin}/*
rm -rf "$apt/cache"

echo "$wanted" >"$root/.complete"
echo "$root"
