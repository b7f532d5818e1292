#!/usr/bin/env bash
# Breaks one promise of the spool after the other in a copy of the tree, and looks whether the named test notices.
# Prints a table, and fails where a mutant goes unnoticed or can no longer be applied. The copy is removed.
set -euo pipefail
cd "$(dirname "$0")/.."

root=$PWD
target=${CARGO_TARGET_DIR:-$root/target}
place=$(mktemp -d)
tree=$place/tree
trap 'git worktree remove --force "$tree" >/dev/null 2>&1 || true; rm -rf "$place"' EXIT
git worktree add --quiet --detach "$tree" HEAD

# Dependencies are taken over as links: they are the same, and only what is ours is compiled for each mutant.
export CARGO_TARGET_DIR=$place/target
mkdir -p "$CARGO_TARGET_DIR/debug/deps" "$CARGO_TARGET_DIR/debug/.fingerprint"
if [[ -d $target/debug/build ]]; then
  cp -al "$target/debug/build" "$CARGO_TARGET_DIR/debug/"
  find "$target/debug/deps" -maxdepth 1 -type f ! -name '*kasacam*' -exec cp -al -t "$CARGO_TARGET_DIR/debug/deps" {} +
  find "$target/debug/.fingerprint" -mindepth 1 -maxdepth 1 ! -name '*kasacam*' \
    -exec cp -al -t "$CARGO_TARGET_DIR/debug/.fingerprint" {} +
fi

missed=0
row() { printf '| %-26s | %-58s | %-10s |\n' "$@"; }
row mutant 'test' outcome
row --- --- ---

# mutant NAME TEST FILE OLD NEW: everywhere in FILE.
mutant() {
  local name=$1 test=$2 file=$3 outcome
  if ! OLD=$4 NEW=$5 perl -0pi -e 's/\Q$ENV{OLD}\E/$ENV{NEW}/g or $missing = 1; END { exit $missing }' "$tree/$file"; then
    row "$name" "$test" 'NOT FOUND'
    missed=1
    return
  fi
  if ! (cd "$tree" && cargo test --quiet --features devcloud --test suite --no-run) >"$place/log" 2>&1; then
    tail -20 "$place/log" >&2
    outcome='NO BUILD'
    missed=1
  elif (cd "$tree" && timeout 300 cargo test --quiet --features devcloud --test suite "$test") >"$place/log" 2>&1; then
    outcome='NOT CAUGHT'
    missed=1
  elif grep -q "^test result: FAILED" "$place/log"; then
    outcome=caught
  else
    tail -20 "$place/log" >&2
    outcome='NO RESULT'
    missed=1
  fi
  row "$name" "$test" "$outcome"
  git -C "$tree" checkout --quiet -- .
}

cut=spool_crash::a_power_cut_at_any_call_loses_nothing
mutant 'no fsync of the file' $cut src/spool/writer.rs 'self.fs.sync(file)?;' 'let _ = file;'
mutant 'no fsync of the directory' $cut src/spool/writer.rs 'self.fs.sync_dir(&self.dir)?;' ''
mutant 'rename before fsync' $cut src/disk/publish.rs \
  '.and_then(|()| fs.sync(&file).map_err(step("syncing")))
        .and_then(|()| fs.rename(&temporary, &path).map_err(step("renaming")));' \
  '.and_then(|()| fs.rename(&temporary, &path).map_err(step("renaming")))
        .and_then(|()| fs.sync(&file).map_err(step("syncing")));'
mutant 'forget before the 2xx' upload_outcomes::nothing_counts_as_stored src/domain/outcome.rs \
  'Attempt::Unanswered { why } => return Outcome::Retry { scope: Scope::Store, after: None, why },' \
  'Attempt::Unanswered { .. } => return Outcome::Stored,'
mutant 'forget on 409' upload_outcomes::a_conflict_with_nothing_stored src/domain/outcome.rs \
  '(409 | 412, Held::Nothing | Held::Untold) => retry(Scope::Segment),' \
  '(409 | 412, Held::Nothing | Held::Untold) => Outcome::Stored,'
mutant 'ignore a failed fsync' spool_crash::any_call_may_fail src/spool/writer.rs \
  'self.fs.sync(file)?;' 'let _ = self.fs.sync(file);'
mutant 'accept a torn fragment' $cut src/spool/scan.rs \
  'if all || belief.is_some_and(|belief| belief.keep_partial) {' 'if all || belief.is_some() {'
mutant 'reuse a counter' spool_cycle::serials_do_not_repeat src/spool/serials.rs \
  '(Known::Is(reserved), _) => reserved.max(seen),' '(Known::Is(_), _) => seen,'
mutant 'evict the newest' machine::a_full_spool_evicts_the_oldest src/domain/machine/pending.rs \
  'self.iter().find(|entry| !matches!' 'self.iter().rev().find(|entry| !matches!'
exit "$missed"
