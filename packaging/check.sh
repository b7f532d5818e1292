#!/usr/bin/env bash
# Installs, upgrades, removes and purges a package in a folder, and holds what is left against what ought to be. The machine's
# own packages, users and services stay as they are.
#
#   packaging/check.sh PACKAGE.deb
# shellcheck disable=SC2016  # what is held against the folder is evaluated after each stage
set -euo pipefail
package=$(realpath "$1")

for tool in dpkg systemd-sysusers systemd-tmpfiles; do
  command -v "$tool" >/dev/null || { echo "$tool is not installed: $1 unchecked"; exit 0; }
done

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{etc,var/lib/dpkg/{info,updates}}
touch "$root"/var/lib/dpkg/{status,available}
# Groups that every Debian has.
printf '%s\n' root:x:0: audio:x:29: video:x:44: >"$root/etc/group"
echo root:x:0:0:root:/root:/bin/sh >"$root/etc/passwd"

in_folder() {
  dpkg --root="$root" --force-script-chrootless --force-depends --force-architecture --force-not-root \
    --log=/dev/null "$@" >"$root/said" 2>&1 || { cat "$root/said" >&2; exit 1; }
}
is() { eval "$1" || { echo "$package: after $stage, not so: $1" >&2; exit 1; }; }

stage=installing
in_folder --install "$package"
is '[[ -x $root/usr/bin/kasacamd && -d $root/etc/kasacam ]]'
is 'grep -q "^kasacam:" "$root/etc/passwd"'
is 'grep -q "^video:.*kasacam" "$root/etc/group" && grep -q "^audio:.*kasacam" "$root/etc/group"'
is '[[ -z $(find "$root/etc/systemd" -name "kasacamd*" 2>/dev/null) ]]'

stage=upgrading
mkdir -p "$root/var/lib/kasacam/spool"
touch "$root"/var/lib/kasacam/spool/0000000001.mp4 "$root"/etc/kasacam/device.key
echo GST_DEBUG=3 >"$root/etc/kasacam/environment"
in_folder --install "$package"
is '[[ $(<"$root/etc/kasacam/environment") == GST_DEBUG=3 ]]'

stage=removing
in_folder --remove kasacam
is '[[ ! -e $root/usr/bin/kasacamd && ! -e $root/usr/lib/systemd/system/kasacamd.service ]]'
is '[[ -e $root/var/lib/kasacam/spool/0000000001.mp4 && -e $root/etc/kasacam/device.key ]]'
is '[[ -e $root/etc/kasacam/environment ]]'

stage=purging
in_folder --purge kasacam
is '[[ ! -e $root/var/lib/kasacam && ! -e $root/etc/kasacam ]]'
is '[[ -z $(find "$root" -name "*kasacam*" -print -quit) ]]'
echo "$1: installs, upgrades, removes and purges cleanly."
