#!/usr/bin/env bash
# Checks the syntax of the unit, and compares its exposure with the limit (in tenths, as systemd-analyze counts). Says so if
# no systemd-analyze is installed that can do this offline.
set -euo pipefail
cd "$(dirname "$0")/.."
unit=systemd/kasacamd.service
most=15

if ! systemd-analyze security --help 2>/dev/null | grep -q -- --offline; then
  echo "systemd-analyze 250 or newer is not installed: $unit unchecked"
  exit 0
fi
report=$(systemd-analyze security --offline=true --no-pager --threshold=$most "$unit" 2>&1) || {
  grep '✗' <<<"$report" >&2 || true
  tail -n 1 <<<"$report" >&2
  echo "$unit: the exposure is above $most tenths." >&2
  exit 1
}
tail -n 1 <<<"$report"

# Older releases do not know all keys, and the binary is not installed here: both are expected.
faults=$(systemd-analyze verify --man=no --recursive-errors=no "$unit" 2>&1 \
  | grep -F "${unit##*/}" | grep -vE "Restart(Steps|MaxDelaySec)|/usr/bin/kasacamd is not executable" || true)
[[ -z $faults ]] || { echo "$faults" >&2; exit 1; }
