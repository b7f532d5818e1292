#!/usr/bin/env bash
# Compares the cost of the agent with other ways to record and upload, in one table. Builds what it needs, makes the clip
# once, and starts the development cloud: with Garage as its store if scripts/test-interop.sh has built it, otherwise with
# the store of its own. The table says which.
#
#   scripts/bench.sh              the table
#   scripts/bench.sh check        compares size, calls, allocations and instructions with tests/bench/budgets.toml
#   scripts/bench.sh growth       how the cost grows with bitrate, spool and hours of an outage; draws plots into docs
#   scripts/bench.sh clip         makes the clip of one minute
#   scripts/bench.sh sink         builds awss3putobjectsink, which Debian does not package, for the table (20 minutes)
#
# N (7) is the number of interleaved runs, LIVE (3) the number of live runs of one minute, CLIP_SECONDS (600) the length
# of the clip.
set -euo pipefail
cd "$(dirname "$0")/.."

out=$(realpath -m "${CARGO_TARGET_DIR:-target}")
seconds=${CLIP_SECONDS:-600}
[[ ${1:-} != check && ${1:-} != growth && ${1:-} != clip ]] || seconds=60
cache=${KASACAM_INTEROP:-${XDG_CACHE_HOME:-$HOME/.cache}/kasacam/interop}

scripts/debian-packages.sh
scripts/debian-packages.sh time
if [[ ${1:-} == check ]]; then
  scripts/debian-packages.sh heaptrack valgrind zstd strace
elif [[ ${1:-} != clip ]]; then
  scripts/debian-packages.sh rclone awscli
fi

if [[ ${1:-} == sink ]]; then
  # GStreamer finds a plugin by its file name, and a dependency is not built as a shared library: so build its own source.
  version=0.14.5
  mkdir -p "$cache/sink/src"
  printf '[package]\nname = "sink"\nversion = "0.0.0"\nedition = "2021"\n\n[workspace]\n\n[dependencies]\ngst-plugin-aws = "=%s"\n' \
    "$version" >"$cache/sink/Cargo.toml"
  : >"$cache/sink/src/lib.rs"
  # Its own Cargo.lock has the versions that it was tested with.
  cd "$cache/sink"
  cargo fetch
  manifest=$(cargo metadata --format-version 1 | python3 -c '
import json, sys
print(next(it["manifest_path"] for it in json.load(sys.stdin)["packages"] if it["name"] == "gst-plugin-aws"))')
  rm -rf plugin
  cp -r "$(dirname "$manifest")" plugin
  cd plugin
  CARGO_TARGET_DIR=$cache/build CARGO_PROFILE_RELEASE_LTO=false timeout 1h nice cargo build --locked --release --lib
  install "$cache/build/release/libgstaws.so" "$cache/bin/"
  exit 0
fi

mkdir -p "$out/bench"
clip=$out/bench/clip-$seconds.mp4
if [[ ! -s $clip ]]; then
  # 2 Mbit/s at every moment, an IDR frame every two seconds.
  ffmpeg -v error -nostdin -y -f lavfi -i testsrc2=size=1920x1080:rate=15 -t "$seconds" -c:v libx264 -preset ultrafast \
    -profile:v baseline -g 30 -b:v 2M -minrate 2M -maxrate 2M -bufsize 2M -x264-params nal-hrd=cbr:scenecut=0 \
    -pix_fmt yuv420p "$out/bench/clip-part.mp4"
  mv "$out/bench/clip-part.mp4" "$clip"
fi
[[ ${1:-} != clip ]] || exit 0
cargo build --locked --release --bin kasacamd
cargo build --locked --features devcloud --bin kasacam-devcloud

export PYTHONDONTWRITEBYTECODE=1
if [[ ${1:-} == check ]]; then
  exec timeout 900 python3 tests/bench/table/check.py --kasacamd "$out/release/kasacamd" --devcloud "$out/debug/kasacam-devcloud" \
    --clip "$clip" --room "$out/bench/check" --budgets tests/bench/budgets.toml
fi
if [[ ${1:-} == growth ]]; then
  exec timeout 1800 python3 tests/bench/table/growth.py --kasacamd "$out/release/kasacamd" \
    --devcloud "$out/debug/kasacam-devcloud" --clip "$clip" --room "$out/bench/growth" --plots docs
fi
GST_PLUGIN_AWS=$cache/bin python3 tests/bench/table/table.py --kasacamd "$out/release/kasacamd" \
  --devcloud "$out/debug/kasacam-devcloud" --garage "$cache/bin/garage" --clip "$clip" --room "$out/bench/room" \
  --runs "${N:-7}" --live-runs "${LIVE:-3}"
# On a link of its own, the backlog of a minute.
ffmpeg -v error -nostdin -y -i "$clip" -t 60 -c copy "$out/bench/minute.mp4"
timeout 900 python3 tests/bench/table/link.py --kasacamd "$out/release/kasacamd" --devcloud "$out/debug/kasacam-devcloud" \
  --clip "$out/bench/minute.mp4" --room "$out/bench/link" --runs "${LIVE:-3}"
