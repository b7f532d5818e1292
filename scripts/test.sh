#!/usr/bin/env bash
# Runs every test and says at the end how many ran. Arguments go to cargo test.
set -euo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
# What the tests counted.
KASACAM_FIGURES=$(mktemp)
export KASACAM_FIGURES
trap 'rm -f "$log" "$KASACAM_FIGURES"' EXIT

# Where binaries are named, they need no development cloud.
features=(--features devcloud)
[[ " $* " == *" --target "* ]] && features=()

status=0
"${CARGO:-cargo}" test --locked "${features[@]}" --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?

if [[ -s $KASACAM_FIGURES ]]; then
  echo
  cat "$KASACAM_FIGURES"
fi

awk '
  /^test result: / {
    binaries++
    for (i = 2; i <= NF; i++) {
      if ($i ~ /^passed/)  passed  += $(i - 1)
      if ($i ~ /^failed/)  failed  += $(i - 1)
      if ($i ~ /^ignored/) ignored += $(i - 1)
    }
  }
  END {
    printf "\nTests run: %d in %d test binaries: %d passed, %d failed, %d ignored.\n",
      passed + failed, binaries, passed, failed, ignored
    exit (passed + failed == 0)
  }
' "$log" || status=1
exit "$status"
