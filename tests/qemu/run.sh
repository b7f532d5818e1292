#!/usr/bin/env bash
# Boots the whole system in QEMU and tests it: see tests/qemu/main.rs.
#
#   tests/qemu/run.sh SCENARIO    such as privacy_closes_the_camera; all (under 40 minutes); fast; list
#   tests/qemu/run.sh shell       a shell on a new camera, with a development cloud
#
# BOARD is qemu-virt-armv7 by default. Builds first what it needs. CUTS is the number of power cuts in each scenario of power
# cuts (4 for all and for one, 1 for fast); a scenario ends within eight minutes, with as many cuts as fit. KASACAM_SEED
# repeats the moments of the cuts.
set -euo pipefail
cd "$(dirname "$0")/../.."
board=${BOARD:-qemu-virt-armv7}
case $board in
  qemu-virt-armv7) target=armv7-unknown-linux-gnueabihf ;;
  qemu-virt-aarch64) target=aarch64-unknown-linux-gnu ;;
  *) echo "Unknown board \"$board\"; known are qemu-virt-armv7 and qemu-virt-aarch64." >&2; exit 2 ;;
esac
what=${1:-all}
if [[ $what == list ]]; then
  sed -nE '/^#\[test\]/,/^fn /s/^fn ([a-z0-9_]+)\(\).*/\1/p' tests/qemu/*.rs | grep -v '^shell$'
  exit 0
fi
export KASACAM_POWER_CUTS=${CUTS:-${KASACAM_POWER_CUTS:-}}
out=${CARGO_TARGET_DIR:-target}

scripts/debian-packages.sh
if [[ -z ${KASACAM_KEEP_IMAGE:-} ]]; then
  cross/build.sh "$target" >&2
  cross/image.sh "$board" >&2
fi
KASACAM_QEMU=$(cross/qemu-system.sh "$target")
KASACAM_IMAGE=$(cd "$out/image/$board" && pwd)
# The licences of the libraries are needed only for what is published.
KASACAM_DEB=$(LICENCES=/dev/null scripts/deb.sh "$target" 2>/dev/null)
KASACAM_DEB=$(realpath "$KASACAM_DEB")
# There is no release before the first: the same program under a lower version number takes its place.
KASACAM_OLDER_DEB=${KASACAM_OLDER_DEB:-$KASACAM_IMAGE/older.deb}
if [[ ! $KASACAM_OLDER_DEB -nt $KASACAM_DEB ]]; then
  rm -rf "$KASACAM_IMAGE/older"
  dpkg-deb --raw-extract "$KASACAM_DEB" "$KASACAM_IMAGE/older"
  sed -i 's/^Version: .*/Version: 0.0.1/' "$KASACAM_IMAGE/older/DEBIAN/control"
  dpkg-deb --root-owner-group --build "$KASACAM_IMAGE/older" "$KASACAM_OLDER_DEB" >/dev/null
  rm -rf "$KASACAM_IMAGE/older"
fi
KASACAM_LAUNCH=$(cross/launch.sh "$target")
export KASACAM_LAUNCH KASACAM_QEMU KASACAM_IMAGE KASACAM_DEB KASACAM_OLDER_DEB

names=()
case $what in
  all)
    KASACAM_POWER_CUTS=${KASACAM_POWER_CUTS:-4}
    ;;
  fast)
    KASACAM_POWER_CUTS=${KASACAM_POWER_CUTS:-1}
    names=(records_and_uploads privacy_closes_the_camera power_cut)
    ;;
  shell) names=(--ignored shell) ;;
  *)
    KASACAM_POWER_CUTS=${KASACAM_POWER_CUTS:-4}
    names=("$what")
    ;;
esac
[[ -n $KASACAM_POWER_CUTS ]] || unset KASACAM_POWER_CUTS
status=0
cargo test --locked --features devcloud --test qemu -- --test-threads=1 --nocapture "${names[@]}" || status=$?
echo "qemu-test $what on $board: $SECONDS s, with building"
exit "$status"
