#!/usr/bin/env bash
# Takes screenshots of the page in a real browser, 1280 and 390 pixels wide, light and dark, into target/screenshots.
# Copies two of them, cut to the window, to docs/ for the README. Look at them before you commit them.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/debian-packages.sh
scripts/debian-packages.sh fonts-inter pngquant

pictures=$(realpath -m "${CARGO_TARGET_DIR:-target}/screenshots")
mkdir -p "$pictures"
KASACAM_SCREENSHOTS=$pictures "${CARGO:-cargo}" test --locked --features devcloud --test system -- \
  page::a_user_switches_privacy_plays_zooms_and_downloads

for look in 1280-light 390-dark; do
  pngquant --force --skip-if-larger --quality 60-95 --strip --output "docs/page-$look.png" "$pictures/window-$look.png"
done
ls -l "$pictures" docs/page-*.png
