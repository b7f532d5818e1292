#!/usr/bin/env bash
# Holds the plugins of GStreamer that the emulated tests name against the list of cross/packages.sh, so that a missing one is
# found in a second and not after ten minutes of emulation. Elements are looked for in the strings of tests and of the capture
# code; gst-inspect-1.0 knows which plugin each is of.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v gst-inspect-1.0 >/dev/null; then
  echo "gst-inspect-1.0 is not installed: make deps" >&2
  exit 1
fi
# Names of elements stand in strings: first in a pipeline, behind an exclamation mark, or alone in quotes.
mapfile -t words < <(
  {
    grep -rhoE '(! *|launch\(")[a-z0-9_]+' tests/suite tests/capture --include=*.rs | sed 's/.*[! ("]//'
    grep -rhoE '"[a-z0-9_]+"' tests/suite/support tests/capture src/capture --include=*.rs | tr -d '"'
  } | sort -u
)
# Properties and values that are called as an element is.
declare -A other=([level]=1 [smpte]=1 [volume]=1)
# What this machine has: "plugin:  element: description".
declare -A plugin_of
while IFS=: read -r plugin element _; do
  plugin_of[${element// /}]=${plugin// /}
done < <(gst-inspect-1.0 2>/dev/null | grep -E '^[a-z0-9]+:  [a-z0-9_-]+:')

declare -A listed
while read -r plugin; do listed[$plugin]=1; done < <(cross/packages.sh plugins)

found=0
missing=0
for word in "${words[@]}"; do
  plugin=${plugin_of[$word]:-}
  [[ -n $plugin && -z ${other[$word]:-} ]] || continue
  found=$((found + 1))
  if [[ -z ${listed[$plugin]:-} ]]; then
    echo "the element $word is of the plugin $plugin, which cross/packages.sh does not list" >&2
    missing=$((missing + 1))
  fi
done
if ((found < 15)); then
  echo "only $found elements were found in the tests: the search no longer fits them" >&2
  exit 1
fi
echo "$found elements named by tests and sources, $missing of plugins that cross/packages.sh does not list"
((missing == 0))
