#!/usr/bin/env bash
# Compares the GStreamer elements that the emulated tests use with the plugins in cross/packages.sh, so that a missing one is
# found in a second, not after ten minutes of emulation. The elements are found in the strings of the tests and the capture
# code; gst-inspect-1.0 knows the plugin of each.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v gst-inspect-1.0 >/dev/null; then
  echo "gst-inspect-1.0 is not installed: make deps" >&2
  exit 1
fi
# Names of elements are in strings: first in a pipeline, after an exclamation mark, or alone in quotes.
mapfile -t words < <(
  {
    grep -rhoE '(! *|launch\(")[a-z0-9_]+' tests/suite tests/capture --include=*.rs | sed 's/.*[! ("]//'
    grep -rhoE '"[a-z0-9_]+"' tests/suite/support tests/capture src/capture --include=*.rs | tr -d '"'
  } | sort -u
)
# Properties and values with the name of an element.
declare -A other=([level]=1 [smpte]=1 [volume]=1)
# The elements of this machine: "plugin:  element: description".
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
    echo "the element $word belongs to the plugin $plugin, which is not in cross/packages.sh" >&2
    missing=$((missing + 1))
  fi
done
if ((found < 15)); then
  echo "only $found elements were found in the tests: the search does not match them any more" >&2
  exit 1
fi
echo "$found elements in tests and sources, $missing of them in plugins that are not in cross/packages.sh"
((missing == 0))
