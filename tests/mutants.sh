#!/usr/bin/env bash
# Breaks the product on purpose, one promise at a time, and shows which test fails: a test that has never failed shows
# nothing. Works in a copy of the committed tree; your tree is not changed. Takes about half a minute per mutant on two cores,
# and two minutes before the first.
#
#   tests/mutants.sh [WORD]     only those whose name contains WORD
#   tests/mutants.sh qemu       those that only a booted system shows: builds for ARM, about ten minutes
# shellcheck disable=SC2016 # perl expands what is in single quotes
set -euo pipefail
cd "$(dirname "$0")/.."

root=$PWD
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git archive HEAD | tar -x -C "$copy"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}/mutants
export CARGO_PROFILE_DEV_DEBUG=false
unset KASACAM_FIGURES

# For building and testing one mutant.
MAX_SECONDS=900
caught=0
missed=0

run() {
  cd "$copy"
  # shellcheck disable=SC2086 # several names
  case $1 in
    qemu) KASACAM_POWER_CUTS=1 tests/qemu/run.sh $2 ;;
    # A test that a mutant keeps from ending is bounded too; cargo says nothing of it.
    *) timeout "$MAX_SECONDS" cargo test --locked --quiet --features devcloud --test "$1" -- $2 ;;
  esac
}

# name, file, what perl does to the whole file, tests that must fail, and their binary
mutant() {
  local name=$1 file=$2 change=$3 tests=$4 binary=${5:-suite} log status failed
  [[ $name == *"${only:-}"* ]] || return 0
  [[ $binary != qemu || -n ${only:-} ]] || return 0
  cp "$root/$file" "$copy/$file.before"
  perl -0pi -e "$change" "$copy/$file"
  if cmp -s "$copy/$file" "$copy/$file.before"; then
    echo "the mutant \"$name\" does not match $file any more: mend it" >&2
    exit 2
  fi
  log=$(mktemp)
  status=0
  (run "$binary" "$tests") >"$log" 2>&1 || status=$?
  if ((status == 0)); then
    missed=$((missed + 1))
    failed="**nothing**"
  elif ((status == 124)); then
    # Perhaps it only builds slowly: that shows nothing.
    missed=$((missed + 1))
    failed="no end within $MAX_SECONDS s"
  elif ! grep -q '^test result: FAILED' "$log"; then
    echo "the mutant \"$name\" does not build:" >&2
    grep -m 3 -A 6 '^error' "$log" >&2
    exit 2
  else
    caught=$((caught + 1))
    failed=$(grep -E '^    [a-z0-9_]+::[a-z0-9_:]+$' "$log" | sort -u | head -1 | tr -d ' ')
    failed="\`$failed\` and $(($(grep -cE '^    [a-z0-9_]+::[a-z0-9_:]+$' "$log") - 1)) more"
  fi
  rm -f "$log"
  mv "$copy/$file.before" "$copy/$file"
  printf '| %s | `%s` | %s |\n' "$name" "$file" "$failed"
}

only=${1:-}
spool="spool_crash spool_cycle spool_damage"

echo "| mutant | in | failed |"
echo "|---|---|---|"
mutant "no fsync of the file" src/spool/writer.rs \
  's/file\.sync\(\)\?;//g' "$spool"
mutant "no fsync of the directory" src/spool/writer.rs 's/self\.fs\.sync_dir\(&self\.dir\)\?;//g' "$spool"
mutant "rename before fsync" src/disk/publish.rs \
  's/(\.and_then\(\|\(\)\| fs\.sync\(&file\)\.map_err\(step\("syncing"\)\)\))(\s*)(\.and_then\(\|\(\)\| fs\.rename\(&temporary, &path\)\.map_err\(step\("renaming"\)\)\))/$3$2$1/' "$spool"
mutant "ignore a failed fsync" src/spool/writer.rs 's/file\.sync\(\)\?;/let _ = file.sync();/g' "$spool"
mutant "accept a torn fragment" src/spool/scan.rs 's/if all \|\| belief\.is_some_and\(\|belief\| belief\.keep_partial\) \{/if true {/' "$spool"
mutant "reuse a counter" src/spool/serials.rs \
  's/self\.facts\.store\(Name::Serial, &reserved\.to_string\(\)\)\?;/let _ = Name::Serial;/' "$spool"
mutant "forget before the 2xx" src/domain/machine/transfer.rs \
  's/(self\.effects\.push_back\(Effect::Upload \{)/self.effects.push_back(Effect::Forget { serial: segment.serial, why: Rule::Stored });\n            $1/' "machine"
mutant "forget on any 409" src/domain/outcome.rs 's/\(200\.\.=299 \| 409 \| 412, Held::Same\)/(409, _) | (200..=299 | 412, Held::Same)/' "upload"
mutant "forget on a 2xx without proof" src/domain/outcome.rs 's/\(200\.\.=299 \| 409 \| 412, Held::Same\)/(200..=299, _) | (409 | 412, Held::Same)/' "upload"
mutant "evict the newest" src/domain/machine/pending.rs 's/(self\.iter\(\)\.filter\(\|entry\| !entry\.segment\.is_end\(\)\))\.find\(waits\)/$1.rev().find(waits)/' "machine"
mutant "skip the epoch check" src/spool/span.rs 's/epoch > self\.revoked && self\.live\.is\(epoch\)/epoch.0 > 0/' "toggles spool machine"
mutant "close before the tail is dropped" src/domain/effect.rs 's/&\[ClosingStep::Invalidate, ClosingStep::Close, ClosingStep::DropRest\]/&[ClosingStep::Close, ClosingStep::Invalidate]/' "machine"
mutant "believe an older choice" src/domain/machine/versions.rs 's/if conflicts \{ Err\(Rejection::ConflictingVersion\) \} else \{ Ok\(order\) \}/if conflicts { Err(Rejection::ConflictingVersion) } else if order == Ordering::Less { Ok(Ordering::Greater) } else { Ok(order) }/' "machine"
mutant "unknown may record" src/domain/privacy.rs 's/Recalled::Missing \| Recalled::Unreadable => Privacy::Unknown/Recalled::Missing | Recalled::Unreadable => Privacy::Record/' "policy machine"
mutant "ignore issued_at" src/domain/machine/choice.rs 's/choice\.issued_at\.min\(now\.system\)/now.system/' "machine"
mutant "upload unheard" src/domain/policy.rs 's/Hearing::Unheard => Upload::Heard/Hearing::Unheard => Upload::On/' "machine policy"
mutant "the stricter loses a tie" src/domain/machine/choice.rs 's/== Rejection::ConflictingVersion && self\.is_stricter\(&choice\)/== Rejection::UnknownTopic/' "machine"
mutant "keep the old permission when the new one cannot be written" src/disk/facts.rs 's/match self\.withdraw\(fact\) \{/match Ok::<(), io::Error>(()) {/' "facts_lost"
mutant "believe an older version whose newer message is lost" src/domain/machine/versions.rs 's/if newest\.is_none\(\) && version\(offered\) < seen \{/if false {/' "machine_keeping"
mutant "report closed on timeout" src/domain/machine/capture.rs 's/CaptureRun::Closing \{ \.\. \} => "closing"/CaptureRun::Closing { .. } => "closed"/' "machine"
mutant "quarantine deletes" src/spool/quarantine.rs 's/self\.fs\.rename_new\(path, &self\.dir\.join\(&name\)\)\?;/self.fs.unlink(path)?;/' "spool_damage"
mutant "the light goes out before the device is closed" src/domain/machine/light.rs 's/self\.light\.wanted \|\| !self\.capture\.is_closed\(\)/self.light.wanted/' "machine_light machine_walk"
mutant "open in the dark" src/domain/machine/light.rs 's/LightState::Lighting\(\.\.\) => false,/LightState::Lighting(..) => true,/' "machine_light machine_walk"
mutant "a closing is not noted" src/domain/machine/capture.rs 's/self\.note_closed\(reason, now\);//' "machine_light machine_walk"
mutant "a journal without its front is whole" src/domain/journal.rs 's/\(does > is_to\)\.then/(does > is_to \&\& is_to == 0).then/' "privacy_journal"
mutant "go on believing a withdrawn key" src/domain/machine/durable.rs 's/\(self\.live, self\.text, self\.kept\) = \(Recalled::Unreadable, None, true\);//' "machine_keeping"
mutant "count the hold from the newest suspension" src/domain/machine/stopped.rs 's/\(Entitlement::Suspended \| Entitlement::Lapsed, None\) if trusted/(Entitlement::Suspended | Entitlement::Lapsed, _) if trusted/' "machine_keeping"
mutant "wait for a store beyond its outage" src/domain/backoff.rs 's/limit\.max\(self\.first\)\.min\(self\.most\)/limit.max(self.most)/' "machine"
mutant "remember nothing of what a broker said of retaining" src/mqtt/exchange.rs 's/std::mem::replace\(&mut self\.link\.retains, said\)/self.link.retains/' "mqtt_manners"
mutant "ask a broker that kept the session only once" src/mqtt/exchange/hearing.rs 's/if heard\.kept_session/if false/' "mqtt_manners"
mutant "take a slow link for one that stands still" src/net/progress.rs 's/if told == 0 \{/if told == 1 {/' "slow_link"
mutant "send under a time that is not durable" src/domain/machine/offsets.rs 's/&self\.pins\.kept\)/\&self.pins.decided)/' "object_times"
mutant "decide the times of a boot anew at each start" src/domain/machine/mod.rs 's/Pins::new\(start\.offsets,/Pins::new(Offsets::default(),/' "object_times"
mutant "seal over another segment" src/spool/store.rs 's/rename_new\(&open, &sealed\)/rename(\&open, \&sealed)/' "spool_aside"
mutant "distrust every fragment of what grew" src/spool/scan.rs 's/if layout\.record\.late_sync \|\|/if true ||/' "spool_damage"
mutant "write where a card was" src/spool/store.rs 's/self\.place\.is_there\(&\*self\.fs, &self\.setup\.dir\(\)\)/Ok(())/' "machine_and_spool"
mutant "put a stall down to the source" src/domain/segmenter.rs 's/\{ SpanEnd::Storage \} else/{ SpanEnd::Source } else/' "segmenter spool_thread"
mutant "take a grant that leads to another host" src/upload/grant/check.rs 's/            None\n        \}\n    \}\n\}/            Some(format!("\/{}\/{key}", self.bucket))\n        }\n    }\n}/' "grants grant_uploads"
mutant "take an answer to another request" src/upload/grant/desk.rs 's/take_if\(\|it\| it\.id == answer\.id\)/take_if(|_| true)/' "grants"
mutant "take a grant by the key of a choice" src/mqtt/payloads.rs 's/let keys = &self\.keys\.entitlement;/let keys = \&self.keys.privacy;/' "grants"
mutant "go on with a grant that the store refused" src/upload/grant/desk.rs 's/self\.kept\.remove\(key\)\.is_some_and\(\|kept\| kept\.until <= now\)/self.kept.get(key).is_some_and(|kept| kept.until <= now)/' "grants grant_uploads"
mutant "believe that H.265 of one address has two sizes" src/config/profile.rs 's/VideoFormat::H264 \| VideoFormat::H265 => true,/VideoFormat::H264 => true, VideoFormat::H265 => false,/' "config_profiles"
mutant "qemu: no fsync of the directory" src/disk/publish.rs \
  's/fs\.sync_dir\(dir\)\.map_err\(step\("syncing the directory of"\)\)/Ok(())/' lost_writes_keep_what_was_reported qemu

echo
echo "$caught mutants caught, $missed not, in $SECONDS s."
echo "$caught passed, $missed failed"
((missed == 0 && caught > 0))
