#!/usr/bin/env bash
# Runs the demo with servers that are not ours: Garage, an S3 store that checks signatures and checksums, and rumqttd, an
# MQTT 5 broker. Both are built once from their sources, in KASACAM_INTEROP (~/.cache/kasacam/interop): about 20 minutes on two
# idle cores. Every wait has a limit.
#
#   scripts/test-interop.sh          everything
#   scripts/test-interop.sh build    only builds the two servers
#
# SECONDS_OF_DEMO is the demo's length in seconds (40, at least 30). KEEP=1 keeps the logs and what was stored.
set -euo pipefail
cd "$(dirname "$0")/.."

garage_version=2.5.0
rumqttd_version=0.20.0
cache=${KASACAM_INTEROP:-${XDG_CACHE_HOME:-$HOME/.cache}/kasacam/interop}
demo_seconds=${SECONDS_OF_DEMO:-40}
out=${CARGO_TARGET_DIR:-target}

say() {
  echo "interop: $*" >&2
}

# build NAME VERSION FEATURES [--locked]: builds it in the cache, unless that version is there.
build() {
  local name=$1 version=$2 features=$3
  shift 3
  if [[ -x $cache/bin/$name && $(cat "$cache/$name.version" 2>/dev/null) == "$version" ]]; then
    return
  fi
  say "builds $name $version into $cache"
  rm -f "$cache/$name.version"
  # Built fast, not optimised: they serve one camera.
  CARGO_TARGET_DIR=$cache/build CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_DEBUG=0 \
    CARGO_PROFILE_RELEASE_LTO=false CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_STRIP=debuginfo \
    timeout 1h nice "${CARGO:-cargo}" install --force "$@" --root "$cache" --version "$version" "$name" \
    --no-default-features --features "$features"
  echo "$version" >"$cache/$name.version"
}

mkdir -p "$cache"
# Two runs at the same time would build the same thing.
exec 9>"$cache/lock"
if ! flock --wait 3600 9; then
  say "another run holds $cache/lock for more than an hour"
  exit 1
fi
build garage "$garage_version" bundled-libs,sqlite --locked
# Its Cargo.lock has metrics 0.22.1, which does not build with current compilers.
build rumqttd "$rumqttd_version" use-rustls,verify-client-cert
exec 9>&-
if [[ ${1:-} == build ]]; then
  exit 0
fi

timeout 1h "${CARGO:-cargo}" build --locked --features devcloud

work=$(mktemp -d)
declare -A running=()

# Ends only what this script started.
cleanup() {
  local name
  for name in "${!running[@]}"; do
    kill "${running[$name]}" 2>/dev/null || true
  done
  for name in "${!running[@]}"; do
    for _ in $(seq 50); do
      kill -0 "${running[$name]}" 2>/dev/null || break
      sleep 0.1
    done
    kill -KILL "${running[$name]}" 2>/dev/null || true
    wait "${running[$name]}" 2>/dev/null || true
  done
  if [[ -n ${KEEP:-} ]]; then
    say "kept: $work"
  else
    rm -rf "$work"
  fi
}
trap cleanup EXIT
trap 'exit 130' INT TERM

fail() {
  local log
  for log in "$work"/*.log; do
    [[ -s $log ]] || continue
    echo "--- ${log##*/}" >&2
    tail -n 20 "$log" >&2
  done
  say "FAILED: $1"
  exit 1
}

# Three different free ports.
read -r store_port broker_port rpc_port < <(python3 -c '
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*[s.getsockname()[1] for s in held])')

random_hex() {
  od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'
}

# wait_for SECONDS NAME COMMAND...: waits until COMMAND succeeds, at most SECONDS, and only while NAME runs.
wait_for() {
  local until=$((SECONDS + $1)) name=$2
  shift 2
  while ! "$@" >/dev/null 2>&1; do
    kill -0 "${running[$name]}" 2>/dev/null || fail "$name ended before: $*"
    ((SECONDS < until)) || fail "$name runs, and waited for in vain was: $*"
    sleep 0.2
  done
}

garage() {
  timeout 20 "$cache/bin/garage" -c "$work/garage.toml" "$@"
}

# One node, one bucket, and one key that may read and write it; writes the key to the file $1 in the form that the camera reads.
start_garage() {
  (
    umask 077
    cat >"$work/garage.toml" <<TOML
metadata_dir = "$work/garage/meta"
data_dir = "$work/garage/data"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:$rpc_port"
rpc_public_addr = "127.0.0.1:$rpc_port"
rpc_secret = "$(random_hex 32)"

[s3_api]
api_bind_addr = "127.0.0.1:$store_port"
s3_region = "garage"
TOML
  )
  RUST_LOG=garage=info "$cache/bin/garage" -c "$work/garage.toml" server >"$work/garage.log" 2>&1 &
  running[garage]=$!
  wait_for 30 garage timeout 5 "$cache/bin/garage" -c "$work/garage.toml" status
  local node
  node=$(garage node id 2>/dev/null | cut -d @ -f 1)
  {
    garage layout assign -z here -c 10G "$node"
    garage layout apply --version 1
    garage bucket create kasa-care
    (
      umask 077
      garage key create camera | awk -F ': +' '
        $1 == "Key ID" { printf "access_key_id = \"%s\"\n", $2 }
        $1 == "Secret key" { printf "secret_access_key = \"%s\"\n", $2 }' >"$1"
    )
    garage bucket allow --read --write kasa-care --key camera
  } >"$work/garage-setup.log" 2>&1 || fail "Garage was not set up"
  [[ $(grep -c ' = "' "$1") == 2 ]] || fail "Garage named no key"
}

# Uses the certificates of the development cloud in $1: they are made before this broker starts.
start_rumqttd() {
  cat >"$work/rumqttd.toml" <<TOML
id = 0

[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10

[v5.1]
name = "v5"
listen = "127.0.0.1:$broker_port"
next_connection_delay_ms = 1

[v5.1.tls]
certpath = "$1/server.pem"
keypath = "$1/server.key"
capath = "$1/ca.pem"

[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 1048576
max_inflight_count = 100
dynamic_filters = true
TOML
  "$cache/bin/rumqttd" --quiet -v -c "$work/rumqttd.toml" >"$work/rumqttd.log" 2>&1 &
  running[rumqttd]=$!
  # shellcheck disable=SC2016 # for the inner shell
  wait_for 30 rumqttd timeout 5 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1"' bash "$broker_port"
}

cloud=$work/cloud
timeout 60 "$out/debug/kasacam-devcloud" --dir "$cloud" issue cam-0001 >/dev/null
start_garage "$cloud/storage.toml"
start_rumqttd "$cloud/pki"

timeout $((demo_seconds + 300)) "$out/debug/kasacam-devcloud" --dir "$cloud" \
  demo --seconds "$demo_seconds" --summary "$work/summary.json" \
  --store-port "$store_port" --store-region garage --broker-port "$broker_port" \
  --set 'upload.region="garage"' --set upload.tags=false || fail "the demo against Garage and rumqttd"
for name in "${!running[@]}"; do
  kill -0 "${running[$name]}" 2>/dev/null || fail "$name ended during the demo"
done
if ! grep -q '"store_replaces"' "$cloud/events.jsonl"; then
  fail "Garage $garage_version honours If-None-Match: docs/storage.md says that it does not"
fi
say "Garage $garage_version and rumqttd $rumqttd_version: the demo passed, and the event store_replaces was published"

# A camera that returns to a session that the broker has kept receives the owner's choice again; otherwise its footage would
# wait. The broker still has both commands of the demo. This time the camera speaks to Garage directly, with a key that may
# only put objects, as the key of a camera should.
garage bucket deny --read kasa-care --key camera >>"$work/garage-setup.log" 2>&1 || fail "the key could not be narrowed"
stored() {
  garage bucket info kasa-care 2>/dev/null | awk '$1 == "Objects:" { print $2 }'
}

# more_than N: whether more than N objects are stored.
more_than() {
  (($(stored) > $1))
}

start_camera() {
  "$out/debug/kasacamd" run --config "$cloud/cam-0001/agent.toml" >>"$work/kasacamd.log" 2>&1 &
  running[kasacamd]=$!
}

"$out/debug/kasacam-devcloud" --dir "$cloud" serve --broker-port "$broker_port" \
  --set "upload.endpoint=\"http://127.0.0.1:$store_port\"" --set upload.allow_plaintext=true \
  --set 'upload.region="garage"' --set upload.tags=false >"$work/serve.log" 2>&1 &
running[devcloud]=$!
wait_for 30 devcloud grep -q '"ready":true' "$work/serve.log"

# This broker and this store lack what the documents say, and nothing else. The check uses other devices, so that the session
# of the camera is not disturbed.
devcloud() {
  timeout 60 "$out/debug/kasacam-devcloud" --dir "$cloud" "$@"
}

# publish KIND CLAIMS: publishes a signed, retained command for test-0001.
publish() {
  devcloud sign "$1" "$2" | python3 -c 'import json, sys; print(json.load(sys.stdin)["jws"], end="")' >"$work/$1.jws"
  devcloud publish-raw "kasacam/v1/test-0001/$1/desired" "$work/$1.jws" >/dev/null
}

for device in test-0001 test-0002; do
  devcloud issue "$device" >/dev/null
done
issued='"device_id":"test-0001","version":1,"issued_at":"2026-11-01T00:00:00Z"'
publish privacy "{$issued,\"do_not_record\":false}"
publish entitlement "{$issued,\"not_after\":\"2099-01-01T00:00:00Z\",\"plan\":{\"id\":\"plus\",\"tier\":\"plus\"},\"status\":\"active\",
  \"features\":{\"record\":true,\"audio\":true,\"max_height\":1080,\"history_hours\":720}}"
timeout 300 "$out/debug/kasacam-devcloud" verify --broker "localhost:$broker_port" --ca "$cloud/pki/ca.pem" \
  --device test-0001 --cert "$cloud/test-0001/device.pem" --key "$cloud/test-0001/device.key" \
  --other test-0002 --other-cert "$cloud/test-0002/device.pem" --other-key "$cloud/test-0002/device.key" \
  --observer-cert "$cloud/pki/cloud.pem" --observer-key "$cloud/pki/cloud.key" \
  --lease-key "$cloud/entitlement-dev-1.pem" --store "http://127.0.0.1:$store_port" --region garage \
  --store-credentials "$cloud/storage.toml" --json "$work/verify.json" >"$work/verify.log" 2>&1 || true
lacking=$(python3 -c '
import json, sys
rows = json.load(open(sys.argv[1]))["rows"]
print(*sorted(row["id"] for row in rows if row["outcome"] == "fail"))' "$work/verify.json") || fail "verify"
[[ $lacking == "acl.command acl.publish acl.subscribe key.delete key.prefix store.condition" ]] ||
  fail "verify found: $lacking"
say "verify reports that rumqttd has no access rules for topics, that Garage replaces objects and binds a key only to a bucket, and nothing else"

for attempt in first second; do
  before=$(stored)
  start_camera
  wait_for 60 kasacamd more_than "$before"
  say "footage is stored after the $attempt return to a kept session"
  kill -KILL "${running[kasacamd]}"
  wait "${running[kasacamd]}" 2>/dev/null || true
done
before=$(stored)
start_camera
wait_for 60 kasacamd more_than "$before"
timeout 20 "$out/debug/kasacam-devcloud" --dir "$cloud" privacy on >/dev/null
closed() {
  timeout 5 "$out/debug/kasacamd" status --json --socket "$cloud/cam-0001/control.sock" |
    python3 -c 'import json, sys; sys.exit(json.load(sys.stdin)["capture"]["open"])'
}
wait_for 60 kasacamd closed
say "a choice that came in such a session closes the camera"

# The broker publishes the last will of a camera 30 s after it is gone.
offline() {
  grep -c '"topic":"kasacam/v1/cam-0001/status".*"online":false\|"online":false.*"topic":"kasacam/v1/cam-0001/status"' \
    "$cloud/events.jsonl" || true
}

# offline_more_than N: whether it was published more than N times.
offline_more_than() {
  (($(offline) > $1))
}

before=$(offline)
kill -KILL "${running[kasacamd]}"
wait "${running[kasacamd]}" 2>/dev/null || true
gone=$SECONDS
wait_for 60 devcloud offline_more_than "$before"
((SECONDS - gone >= 28)) || fail "the last will came after $((SECONDS - gone)) s, and not after 30"
say "the last will of a camera that was killed came after $((SECONDS - gone)) s"
