#!/usr/bin/env bash
# Repeats the random tests for longer, in parts that each end within 15 minutes on two busy cores.
#
#   scripts/test-long.sh          lists the parts and runs them one after the other
#   scripts/test-long.sh PART     runs one part
#
# KASACAM_BUDGET is the time of a part in seconds (600): its tests are repeated until it is used up. The variable of a
# count, such as KASACAM_KILLS=300, sets an exact number instead. KASACAM_SEED repeats a run.
set -euo pipefail
cd "$(dirname "$0")/.."

parts=(laws crashes damage kills toggles starts attacks fuzz inject)

# What each part tests.
about() {
  case $1 in
    laws) echo "laws of the policy and the machine, random walks compared with the model, every state within 3 steps" ;;
    crashes) echo "power cuts at every call and at random calls of the spool's life, in memory" ;;
    damage) echo "spools with damaged files" ;;
    kills) echo "kill -9 of the real agent while it records" ;;
    toggles) echo "\"do not record\" at random moments: machine and spool, and the real agent" ;;
    starts) echo "starts of the real agent with a fact tampered with and no broker" ;;
    attacks) echo "hostile MQTT messages to the real agent" ;;
    fuzz) echo "random bytes at every entry point for untrusted input" ;;
    inject) echo "the real agent with system calls that fail" ;;
    *) echo "Unknown part \"$1\"; known are ${parts[*]}." >&2; return 2 ;;
  esac
}

# The tests of a part: binary, name of the test, percent of the budget.
tests() {
  case $1 in
    laws) cat <<TESTS
suite policy_laws:: 20
suite the_network_alters_nothing_of_capture 8
suite privacy_alters_neither_the_plan_nor_the_uploads_and_the_plan_not_the_privacy 8
suite what_is_unknown_behaves_as_private_whatever_else_happens 8
suite permission_waits_for_the_disk_and_prohibition_does_not 8
suite every_deletion_has_a_proof_or_a_named_rule_and_each_rule_is_met 8
suite no_fragment_captured_after_the_choice_reaches_the_flash 8
suite every_step_of_a_random_walk_is_as_the_model_says 28
suite every_state_within_reach_keeps_the_laws 4
TESTS
      ;;
    crashes) cat <<TESTS
suite power_cuts_at_random_lose_nothing_that_was_committed 90
suite spool_crash::a 10
TESTS
      ;;
    damage) cat <<TESTS
suite no_damage_stops_a_start_nor_touches_what_is_whole 50
suite no_damage_to_an_encrypted_spool_stops_a_start_nor_touches_what_is_whole 50
TESTS
      ;;
    kills) echo "system what_was_committed_before_a_kill_is_stored_once 100" ;;
    toggles) cat <<TESTS
suite k11_no_chunk_taken_after_the_choice_is_ever_written 20
system k11_nothing_taken_after_do_not_record_is_kept_at_any_moment_of_a_gop 20
system k11_nothing_taken_after_do_not_record_is_kept_while_segments_are_sealed_and_the_store_fails 20
system k11_nothing_taken_after_do_not_record_is_kept_by_a_camera_that_is_killed_right_after_it 20
system k11_nothing_taken_after_do_not_record_is_kept_while_the_camera_starts_and_stops 20
TESTS
      ;;
    starts) echo "system no_start_opens_the_camera_without_a_choice_that_can_be_read 100" ;;
    attacks) echo "system no_message_but_the_owners_and_the_clouds_changes_anything 100" ;;
    fuzz) echo "suite no_untrusted_bytes_panic_or_break_a_promise 100" ;;
    inject) cat <<TESTS
system a_write_that_fails_loses_nothing_that_was_committed 25
system a_sync_that_fails_loses_nothing_that_was_committed 25
system a_rename_that_fails_loses_nothing_that_was_committed 25
system a_file_that_cannot_be_opened_loses_nothing_that_was_committed 25
TESTS
      ;;
  esac
}

log=$(mktemp)
KASACAM_FIGURES=$(mktemp)
export KASACAM_FIGURES
trap 'rm -f "$log" "$KASACAM_FIGURES"' EXIT

# Runs one test of one binary; fails if no test has this name.
one() {
  cargo test --locked --profile long --features devcloud --test "$1" -- "$2" --test-threads=1 >"$log" 2>&1 ||
    { cat "$log"; return 1; }
  if ! grep -Eq '^test result: ok\. [1-9]' "$log"; then
    echo "No test of \"$1\" is called \"$2\"." >&2
    return 1
  fi
}

run() {
  local part=$1 budget=${KASACAM_BUDGET:-600} began=$SECONDS binary name percent rounds
  about "$part" >/dev/null || return
  : >"$KASACAM_FIGURES"
  while read -r binary name percent; do
    local share=$((budget * percent / 100))
    if [[ $name == policy_laws:: ]]; then
      # Each round draws new cases.
      rounds=0
      local until=$((SECONDS + share)) cases=${PROPTEST_CASES:-5000}
      while ((rounds == 0 || SECONDS < until)); do
        PROPTEST_CASES=$cases one "$binary" "$name"
        rounds=$((rounds + 1))
      done
      echo "each law of the policy on $((rounds * cases)) random cases" >>"$KASACAM_FIGURES"
    else
      KASACAM_BUDGET=$share one "$binary" "$name"
    fi
  done < <(tests "$part")
  # One line: what was done, how often, the seed, the time in seconds.
  echo "$part: $(paste -sd ';' "$KASACAM_FIGURES" | sed 's/;/; /g'); $((SECONDS - began)) s"
}

# The time to build does not count.
cargo test --locked --profile long --features devcloud --test suite --test system --no-run

if [[ -n ${1:-} ]]; then
  run "$1"
else
  for part in "${parts[@]}"; do printf '%-8s %s\n' "$part" "$(about "$part")"; done
  failed=()
  for part in "${parts[@]}"; do run "$part" || failed+=("$part"); done
  echo "$((${#parts[@]} - ${#failed[@]})) passed, ${#failed[@]} failed"
  ((${#failed[@]} == 0)) || { echo "failed: ${failed[*]}" >&2; exit 1; }
fi
