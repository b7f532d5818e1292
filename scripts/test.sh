#!/usr/bin/env bash
# Runs every test, and says at the end how many ran and which could not run here. Arguments are passed to cargo test.
set -euo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
# Figures of the tests, and tests that could not run.
KASACAM_FIGURES=$(mktemp)
KASACAM_SKIPPED=$(mktemp)
export KASACAM_FIGURES KASACAM_SKIPPED
trap 'rm -f "$log" "$KASACAM_FIGURES" "$KASACAM_SKIPPED"' EXIT

# Tests for another target need no development cloud.
features=(--features devcloud)
[[ " $* " == *" --target "* ]] && features=()

# Most tests wait most of the time: for a broker, a GOP, a timeout.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(nproc)))}

status=0
"${CARGO:-cargo}" test --locked "${features[@]}" --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?

if [[ -s $KASACAM_FIGURES ]]; then
  echo
  cat "$KASACAM_FIGURES"
fi
if [[ -s $KASACAM_SKIPPED ]]; then
  echo
  sed 's/^/skipped: /' "$KASACAM_SKIPPED"
fi

# Cargo counts a test that cannot run here as passed; this counts it as skipped.
awk -v skipped="$(wc -l <"$KASACAM_SKIPPED")" '
  /^test result: / {
    binaries++
    for (i = 2; i <= NF; i++) {
      if ($i ~ /^passed/)  passed  += $(i - 1)
      if ($i ~ /^failed/)  failed  += $(i - 1)
      if ($i ~ /^ignored/) ignored += $(i - 1)
    }
  }
  END {
    passed -= skipped
    skipped += ignored
    printf "\nTests run: %d in %d test binaries.\n%d passed, %d failed, %d skipped\n",
      passed + failed, binaries, passed, failed, skipped
    exit (passed + failed == 0)
  }
' "$log" || status=1
exit "$status"
